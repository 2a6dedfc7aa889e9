"""Gate's client: gate-api builds and signs, common/transport sends; the clock, the facts and the pages around it.

What the SDK silently does otherwise: it resends what got no answer, waits without end, stamps with the local clock, and
its models turn an enum that they do not know into an error after the order is live. `call_api`, the generic entry of
its methods, is used without them.
"""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Iterator, Mapping
from decimal import Decimal
from types import FunctionType, MethodType, SimpleNamespace
from typing import Any, NamedTuple
from urllib.parse import urlencode

from Execution.common import settings, symbols, transport
from Execution.common.accounts import Facts, PerAccount
from Execution.common.answers import before_sending
from Execution.common.clients import sdk_import
from Execution.common.codecs.gate_account import parse_hedge_mode, parse_instrument
from Execution.common.codecs.gate_errors import parse_error
from Execution.common.codecs.gate_values import seconds_of, venue_symbol
from Execution.common.errors import ExecutionError, Refused
from Execution.common.offset import ClockOffset
from Execution.common.precision import Rules, rules_of
from Execution.common.types import Instrument

NAME = "gate"
PAGE = 100
_LIVE, _TEST = "https://api.gateio.ws", "https://api-testnet.gateapi.io"
_PREFIX = "/api/v4"
_VALIDITY_MS = 5000  # an order that arrives later than this is refused by Gate


class Market(NamedTuple):
    """A market and its rules. `orders` and `triggers` are the paths of its plain and its conditional orders."""

    symbol: str
    name: str
    swap: bool
    instrument: Instrument
    rules: Rules

    @property
    def size(self) -> Decimal:
        return self.rules.contract_size

    @property
    def orders(self) -> str:
        return orders_path(self.swap)

    @property
    def triggers(self) -> str:
        return triggers_path(self.swap)


def orders_path(swap: bool) -> str:
    return "/futures/usdt/orders" if swap else "/spot/orders"


def triggers_path(swap: bool) -> str:
    return "/futures/usdt/price_orders" if swap else "/spot/price_orders"


class _Answer:
    """A reply in the form that gate-api looks at."""

    def __init__(self, reply: transport.Reply) -> None:
        self.reply = reply

    def getheader(self, name: str, default: str | None = None) -> str | None:
        return self.reply.headers.get(name, default)


def _send(method: str, url: str, query_params: Any = None, headers: Any = None, body: Any = None, **_: Any) -> _Answer:
    """Stands where gate-api asks urllib3."""
    if query_params:
        url += "?" + urlencode(query_params)
    reply = transport.send(method, url, headers, b"" if body is None else json.dumps(body).encode())
    if not 200 <= reply.status < 300:
        raise _refusal(reply)
    return _Answer(reply)


def _refusal(reply: transport.Reply) -> ExecutionError:
    if reply.status == 429:
        words, wait = f"too many requests: {reply.text[:120]}", _retry_after(reply)
        return ExecutionError("RATE_LIMITED", words, outcome="not_sent", exchange_code="429", retry_after=wait)
    return parse_error(reply.json(), reply.status)


def _retry_after(reply: transport.Reply) -> float | None:
    if reply.retry_after is not None:
        return reply.retry_after
    return wait_of(reply.headers)


def wait_of(headers: Mapping[str, str]) -> float | None:
    """Answer the seconds until a rate limit begins anew, where the headers say."""
    reset = headers.get("x-gate-ratelimit-reset-timestamp", "")
    return max(0.0, seconds_of(reset) - time.time()) if reset.isascii() and reset.isdigit() else None


class Session:
    """One account's client, its view of Gate's clock, and what is known of the account for a while."""

    def __init__(self) -> None:
        try:
            with sdk_import():
                from gate_api import ApiClient, Configuration
        except ImportError:
            raise Refused("CONFIGURATION", "gate needs its SDK: pip install gate-api") from None
        base = settings.for_account(NAME, "BASE_URL") or (_TEST if _flag("TESTNET") else _LIVE)
        self.host = base.rstrip("/").removesuffix(_PREFIX) + _PREFIX
        self.missing = [name for name in ("API_KEY", "API_SECRET") if not settings.for_account(NAME, name)]
        self.clock = ClockOffset(server_time)
        self.instruments = Facts(600.0)
        self.modes = Facts(60.0)
        self.client = ApiClient(
            Configuration(
                host=self.host,
                key=settings.for_account(NAME, "API_KEY"),
                secret=settings.for_account(NAME, "API_SECRET"),
            )
        )
        self.client.request = _send
        # Its signature is stamped with time.time(); here the same code sees the venue's clock instead.
        sign: Any = ApiClient.gen_sign
        stamped = {**sign.__globals__, "time": SimpleNamespace(time=self.now)}
        self.client.gen_sign = MethodType(
            FunctionType(sign.__code__, stamped, sign.__name__, sign.__defaults__), self.client
        )

    def now(self) -> float:
        """Answer Gate's time, for what is about to be sent."""
        with before_sending():
            return self.clock.now()


sessions = PerAccount(Session)


def _flag(name: str) -> bool:
    alias = settings.account.get().upper()
    own = f"{NAME.upper()}_{alias}_{name}"
    return settings.flag(own if alias and settings.get(own) else f"{NAME.upper()}_{name}")


def setting(name: str, allowed: tuple[str, ...]) -> str:
    value = settings.for_account(NAME, name) or allowed[0]
    return settings.choice(f"{NAME.upper()}_{name}", allowed, value=value)


def spot_account() -> str:
    """Answer where spot orders are kept: spot or unified."""
    return setting("ACCOUNT", ("spot", "unified"))


def ask(
    method: str,
    path: str,
    query: Mapping[str, Any] | None = None,
    body: Any = None,
    *,
    order_id: str = "",
    signed: bool = True,
) -> Any:
    """Send one request, signed unless it is public, and answer its JSON."""
    session = sessions.get()
    headers = {"Accept": "application/json", "Content-Type": "application/json"}
    if signed:
        if session.missing:
            names = ", ".join(f"{NAME.upper()}_{name}" for name in session.missing)
            raise Refused("CONFIGURATION", f"{names} is not set: gate needs it for this call")
        if method != "GET":
            headers["x-gate-exptime"] = str(int(session.now() * 1000) + _VALIDITY_MS)
    try:
        answer = session.client.call_api(
            path + ("/{order_id}" if order_id else ""),
            method,
            {"order_id": order_id} if order_id else {},
            list((query or {}).items()),
            headers,
            body=body,
            auth_settings=["apiv4"] if signed else [],
            _return_http_data_only=True,
            _preload_content=False,
        )
    except ExecutionError as error:
        if error.code == "CLOCK_SKEW":
            session.clock.doubt()
        raise
    return answer.reply.json()


def public(path: str, query: Mapping[str, Any] | None = None) -> Any:
    return ask("GET", path, query, signed=False)


def server_time() -> float:
    return int(public("/spot/time")["server_time"]) / 1000


def pages(path: str, query: Mapping[str, Any], *, numbered: bool, limit: int = PAGE) -> Iterator[Any]:
    """Answer everything in a list of Gate's, page after page; `numbered` pages, else offsets."""
    page: Any = []
    for number in itertools.count():
        where = {"page": number + 1} if numbered else {"offset": number * limit}
        page = ask("GET", path, {**query, "limit": limit, **where})
        yield from page
        if len(page) < limit:
            return


def market_of(symbol: object) -> Market:
    """Answer a market that Gate has, with its rules of not long ago."""
    with before_sending():
        default = settings.choice("GATE_DEFAULT_MARKET", ("spot", "swap"), value=_default_market())
        unified = symbols.normalize(symbol, default)
        return sessions.get().instruments.get(unified, lambda: _asked_market(unified))


def _default_market() -> str:
    return settings.for_account(NAME, "DEFAULT_MARKET") or "spot"


def _asked_market(symbol: str) -> Market:
    swap, name = symbols.is_swap(symbol), venue_symbol(symbol)
    if swap and not name.endswith("_USDT"):
        raise Refused("INVALID_SYMBOL", f"{symbol} is not settled in USDT; gate's other perpetuals are not traded here")
    raw = public(f"/futures/usdt/contracts/{name}" if swap else f"/spot/currency_pairs/{name}")
    instrument = parse_instrument(raw)
    return Market(symbol, name, swap, instrument, rules_of(instrument))


def is_hedge() -> bool:
    """Tell whether the account holds long and short apart; asked once a minute."""
    session = sessions.get()
    return session.modes.get("hedge", lambda: parse_hedge_mode(ask("GET", "/futures/usdt/accounts")))
