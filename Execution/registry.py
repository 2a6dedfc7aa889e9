"""Name -> venue module, accounts, trading rules; every venue call goes through `call` and so through the guard.

call("okx:alpha", "place_limit_order", ...)
"""

from __future__ import annotations

import difflib
import importlib
import threading
import time
from collections.abc import Callable
from types import ModuleType
from typing import Any, cast

from Execution.common import accounts, guard, symbols
from Execution.common.envelope import fail, failure
from Execution.common.errors import ExecutionError, Refused
from Execution.common.guard import Venue
from Execution.common.precision import Rules, rules_of
from Execution.common.types import VENUE_FUNCTIONS, Envelope, Exchange

BUILT = ("binance", "gate", "okx", "paper")
PLANNED = ("dYdX", "hyperliquid", "serum")

_RULES_MAX_AGE = 3600.0


class Placeholder:
    """Stands for a venue that is not built yet: every function answers NOT_SUPPORTED / not_sent."""

    def __init__(self, name: str) -> None:
        self.NAME = name
        self.UNSUPPORTED = dict.fromkeys(VENUE_FUNCTIONS, "this venue is not built yet")

    def __getattr__(self, function: str) -> Callable[..., Envelope]:
        if function not in VENUE_FUNCTIONS:
            raise AttributeError(function)
        return lambda *_args, **_kwargs: fail(
            "NOT_SUPPORTED", f"{self.NAME} is not built yet: {function} does nothing", "not_sent"
        )


_lock = threading.Lock()
_canonical: dict[str, str] = {name.lower(): name for name in (*BUILT, *PLANNED)}
_venues: dict[str, Venue] = {}
_resolved: dict[str, tuple[Venue, str, str]] = {}


def names() -> list[str]:
    """Answer every known venue name, sorted."""
    return sorted(_canonical.values(), key=str.lower)


def built() -> list[str]:
    """Answer the names of venues that can be traded on, sorted."""
    return [name for name in names() if name not in PLANNED or (name in _venues and not is_placeholder(name))]


def is_placeholder(name: str) -> bool:
    """Tell whether a venue is listed but not built yet."""
    return isinstance(find(name)[0].module, Placeholder)


def register(module: ModuleType | Exchange, name: str | None = None) -> str:
    """Add a venue of your own, or replace one, under its NAME (or `name`). Answers the registered name.

    Args:
        module: a module or object with every function of `common.types.Exchange`.

    Raises:
        Refused: CONFIGURATION, naming the functions that are missing.
    """
    venue_name = name or str(getattr(module, "NAME", ""))
    if not venue_name or ":" in venue_name or not venue_name.isascii():
        raise Refused("CONFIGURATION", f"a venue needs a NAME of plain characters without a colon, not {venue_name!r}")
    missing = [function for function in VENUE_FUNCTIONS if not callable(getattr(module, function, None))]
    if missing:
        raise Refused("CONFIGURATION", f"the module for {venue_name} lacks {', '.join(missing)}")
    with _lock:
        before = _canonical.get(venue_name.lower(), venue_name)
        if before in (*BUILT, *PLANNED):
            venue_name = before
        _venues.pop(before, None)
        _canonical[venue_name.lower()] = venue_name
        _venues[venue_name] = Venue(venue_name, cast(Exchange, module))
        _resolved.clear()
    return venue_name


def unregister(name: str) -> None:
    """Take a venue of your own away again; a venue of the package returns to its own module."""
    with _lock:
        canonical = _canonical.get(name.lower(), name)
        _venues.pop(canonical, None)
        if canonical not in (*BUILT, *PLANNED):
            _canonical.pop(name.lower(), None)
        _resolved.clear()


def find(exchange_name: object) -> tuple[Venue, str, str]:
    """Answer (venue, account, canonical name) for a name such as "okx" or "okx:alpha", in any case.

    Raises:
        Refused: UNKNOWN_VENUE, naming it and listing the known ones.
    """
    try:
        return _resolved[exchange_name]  # type: ignore[index]
    except (KeyError, TypeError):
        return _find(exchange_name)


def _find(exchange_name: object) -> tuple[Venue, str, str]:
    known = ", ".join(names())
    if not isinstance(exchange_name, str):
        raise Refused("UNKNOWN_VENUE", f"exchange name must be text, not {exchange_name!r:.60}; known: {known}")
    head, colon, account = exchange_name.strip().partition(":")
    name = _canonical.get(head.lower())
    if name is None:
        near = difflib.get_close_matches(head.lower(), list(_canonical), n=1)
        hint = f" (did you mean {_canonical[near[0]]!r}?)" if near else ""
        raise Refused("UNKNOWN_VENUE", f"unknown exchange {exchange_name!r:.60}{hint}; known: {known}")
    if colon and not (account.isascii() and account.replace("_", "").isalnum() and len(account) <= 32):
        raise Refused("UNKNOWN_VENUE", f"account in {exchange_name!r:.60} must be letters, digits or _; known: {known}")
    account = account.lower()
    with _lock:
        venue = _venues.get(name)
        if venue is None:
            venue = _venues[name] = Venue(name, _load(name))
        found = (venue, account, f"{name}:{account}" if account else name)
        if len(_resolved) < 1000:
            _resolved[exchange_name] = found
    return found


def _load(name: str) -> Exchange:
    if name in PLANNED:
        return cast(Exchange, Placeholder(name))
    module = importlib.import_module(f"Execution.exchanges.{name}")
    if hasattr(module, "use_tickers"):
        module.use_tickers(lambda other, symbol: call(other, "get_ticker", symbol))
    return cast(Exchange, module)


def canonical(exchange_name: object) -> str:
    """Answer the one spelling of an exchange name."""
    return find(exchange_name)[2]


def symbol_of(exchange_name: object, symbol: object) -> str:
    """Answer the unified symbol, the short form read as the venue's default market."""
    return symbols.normalize(symbol, find(exchange_name)[0].default_market)


def market(exchange_name: object, symbol: object) -> tuple[str, str]:
    """Answer the one spelling of an exchange name, and the unified symbol."""
    venue, _, name = find(exchange_name)
    return name, symbols.normalize(symbol, venue.default_market)


def capabilities() -> dict[str, dict[str, str]]:
    """Answer, for each venue, why each function of the contract is missing ("" = it is there)."""
    return {
        name: {function: find(name)[0].module.UNSUPPORTED.get(function, "") for function in VENUE_FUNCTIONS}
        for name in names()
    }


def reset() -> None:
    """Forget breakers and budgets, and load modules anew at the next use: for tests and after settings changed."""
    with _lock:
        for name in list(_venues):
            if name in BUILT or name in PLANNED:
                del _venues[name]
        for venue in _venues.values():
            venue.reset()
        _resolved.clear()
    accounts.forget()


def call(exchange_name: str, function: str, *args: Any, **kwargs: Any) -> Envelope:
    """Call a venue function through the guard. Never raises; answers an envelope.

    What the guard decided (waited, repeated, refused) stands in `data["decisions"]` of a failure and in `message` of
    a success.
    """
    try:
        venue, account, _ = find(exchange_name)
    except ExecutionError as error:
        return failure(error)
    return guard.call(venue, account, function, args, kwargs)


def call_batch(exchange_name: str, orders: list[dict[str, Any]]) -> list[Envelope] | None:
    """Place several orders in one venue call; None where the venue has no batch function. Nothing is repeated."""
    venue, account, _ = find(exchange_name)
    return guard.call_batch(venue, account, orders)


def rules(exchange_name: str, symbol: str, *, reducing: bool = False) -> Rules:
    """Answer the trading rules of an instrument, read from the venue once an hour.

    Args:
        reducing: also of an instrument that is closed for new orders; whether it lets positions go the venue says.

    Raises:
        Refused: what the venue answered: INVALID_SYMBOL, VENUE_DOWN ...
    """
    venue, account, name = find(exchange_name)
    cached = venue.rules.get((account, symbol))
    if cached is not None and time.monotonic() - cached[0] < _RULES_MAX_AGE:
        return cached[1]
    answer = call(name, "get_instrument", symbol)
    if not answer["success"]:
        data = answer["data"]
        words = answer["message"].partition(": ")[2]
        raise Refused(data["error"], words, exchange_code=data["exchange_code"], retry_after=data["retry_after"])
    try:
        found, active = rules_of(answer["data"]), answer["data"]["active"]
    except (ArithmeticError, KeyError, TypeError, ValueError) as error:
        raise Refused("BAD_RESPONSE", f"{name} answered no rules for {symbol}: {error!r:.80}") from None
    if not active and not reducing:
        raise Refused("INVALID_SYMBOL", f"{symbol} is not open for trading on {name}")
    if not (found.tick_size > 0 and found.lot_size > 0):
        raise Refused("BAD_RESPONSE", f"{name} answered tick {found.tick_size} and lot {found.lot_size} for {symbol}")
    if active:
        venue.rules[account, symbol] = (time.monotonic(), found)
    return found
