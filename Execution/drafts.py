"""Orders before they are orders: what was asked, checked completely and rounded to the instrument; their ids."""

from __future__ import annotations

import difflib
import hashlib
import itertools
import os
import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import msgspec

from Execution import registry
from Execution.common import clock
from Execution.common.errors import Refused
from Execution.common.order import OrderRecord, terms_of
from Execution.common.precision import positive, round_amount, round_price
from Execution.common.store import on_fork
from Execution.common.types import ORDER_TYPES, SIDES, TIMES_IN_FORCE

OURS = "ex"
"""What every client_order_id of ours begins with."""

OPTIONS = (
    "client_order_id",
    "max_slippage",
    "post_only",
    "reduce_only",
    "strategy",
    "time_in_force",
    "timeout",
)
LONGEST_STRATEGY = 64
_CLIENT_ID = re.compile(r"[A-Za-z0-9._:/-]{1,64}")


class Draft(msgspec.Struct, gc=False):
    """An order as somebody asked for it, nothing checked yet."""

    symbol: Any
    side: Any
    type: Any
    amount: Any
    price: Any = None
    stop_price: Any = None
    client_order_id: object = None
    time_in_force: object = "GTC"
    post_only: object = False
    reduce_only: object = False
    max_slippage: object = None
    timeout: object = None
    strategy: object = ""
    extra: dict[str, Any] | None = None


def draft_of(order: Mapping[str, Any]) -> Draft:
    """Make a draft of an order dict; a key nobody knows is named with the nearest known one."""
    if not isinstance(order, Mapping):
        raise Refused("INVALID_ORDER", f"an order must be a dict, not {order!r:.60}")
    fields = dict(order)
    if "order_type" in fields:
        fields["type"] = fields.pop("order_type")
    known = ("symbol", "side", "type", "amount", "price", "stop_price", *OPTIONS)
    wrong = [unknown_key(key, known) for key in fields if key not in known]
    wrong += [f"{key} is missing" for key in ("symbol", "side", "type", "amount") if key not in fields]
    if wrong:
        raise Refused("INVALID_ORDER", "; ".join(wrong))
    return Draft(**fields)


def unknown_key(key: object, known: Sequence[str]) -> str:
    """Say that nobody knows a key, and which one was probably meant."""
    near = difflib.get_close_matches(str(key), known, n=1)
    hint = f" (did you mean {near[0]!r}?)" if near else f" (known: {', '.join(sorted(known))})"
    return f"unknown key {key!r:.60}{hint}"


def prepare(
    exchange_name: str, draft: Draft, reference_price: Decimal | None = None, *, checked: bool = False
) -> OrderRecord:
    """Check an order completely and round it to its instrument.

    Args:
        reference_price: what the minimum notional of a market order is reckoned with, where known.
        checked: the draft was made of a valid signal, its names are the registry's; only the instrument's rules are
            left to apply.

    Raises:
        Refused: INVALID_ORDER with everything that is wrong; INVALID_SYMBOL, UNKNOWN_VENUE ...
    """
    name, symbol = exchange_name, draft.symbol
    if not checked:
        name, symbol = registry.market(exchange_name, draft.symbol)
        _check(draft)
    rules = registry.rules(name, symbol, reducing=bool(draft.reduce_only))
    side, amount, price, stop = str(draft.side), draft.amount, draft.price, draft.stop_price
    if price is not None:
        price = round_price(positive(price, "price"), side, rules)
    if stop is not None:
        stop = round_price(positive(stop, "stop_price"), "sell" if side == "buy" else "buy", rules, "stop_price")
    reference = None if draft.reduce_only else price or stop or reference_price
    now = clock.now()
    return OrderRecord(
        client_order_id=_chosen(draft.client_order_id) if draft.client_order_id else new_client_order_id(),
        exchange=name,
        symbol=symbol,
        side=side,
        type=str(draft.type),
        amount=round_amount(positive(amount, "amount"), rules, reference),
        price=price,
        stop_price=stop,
        terms=terms_of(str(draft.time_in_force), bool(draft.post_only), bool(draft.reduce_only)),
        created=now,
        updated=now,
        deadline=0.0 if draft.timeout is None else now + float(positive(draft.timeout, "timeout")),
        strategy=str(draft.strategy or ""),
        options=_options(draft),
    )


def _check(draft: Draft) -> None:
    """Refuse a draft with everything that is wrong with it."""
    wrong: list[str] = []
    if draft.side not in SIDES:
        wrong.append(f"side must be 'buy' or 'sell', not {draft.side!r:.40}")
    if draft.type not in ORDER_TYPES:
        wrong.append(f"order_type must be one of {', '.join(ORDER_TYPES)}, not {draft.type!r:.40}")
    wrong += _wrong_terms(draft)
    numbers = {"amount": draft.amount, "price": draft.price, "stop_price": draft.stop_price}
    for name, value in numbers.items():
        if value is not None or name == "amount":
            wrong += wrong_number(value, name)
    wrong += prices_of(draft.type, draft.price is not None, draft.stop_price is not None)
    if wrong:
        raise Refused("INVALID_ORDER", "; ".join(wrong))


def prices_of(kind: object, price: bool, stop_price: bool) -> list[str]:
    """Name the prices that an order type lacks or has no use for."""
    wrong = []
    if kind == "limit" and not price:
        wrong.append("price is required for a limit order")
    if kind == "market" and price:
        wrong.append("price is not used by a market order; max_slippage bounds it")
    if kind in ("stop", "take_profit") and not stop_price:
        wrong.append(f"stop_price is required for a {kind} order")
    if kind in ("limit", "market") and stop_price:
        wrong.append(f"stop_price is not used by a {kind} order")
    return wrong


def wrong_number(value: object, name: str) -> list[str]:
    """Name what is wrong with a number that must be greater than zero; [] where nothing is."""
    try:
        positive(value, name)
    except Refused as error:
        return [error.message]
    return []


def wrong_fraction(value: object, name: str) -> list[str]:
    """Name what is wrong with a fraction between 0 and 1; [] where nothing is."""
    wrong = wrong_number(value, name)
    if not wrong and positive(value, name) >= 1:
        wrong.append(f"{name} is a fraction, 0.01 for one percent, and below 1, not {value!r:.40}")
    return wrong


def _wrong_terms(draft: Draft) -> list[str]:
    """Name what is wrong with everything but numbers, side and type."""
    wrong = []
    if draft.time_in_force not in TIMES_IN_FORCE:
        wrong.append(f"time_in_force must be one of {', '.join(TIMES_IN_FORCE)}, not {draft.time_in_force!r:.40}")
    if draft.post_only is not False or draft.reduce_only is not False:
        flags = {"post_only": draft.post_only, "reduce_only": draft.reduce_only}
        wrong += [f"{n} must be True or False, not {v!r:.40}" for n, v in flags.items() if not isinstance(v, bool)]
        if draft.post_only and (draft.type != "limit" or draft.time_in_force != "GTC"):
            wrong.append("post_only goes with a GTC limit order only")
    if draft.time_in_force != "GTC" and draft.type != "limit":
        wrong.append(f"time_in_force {draft.time_in_force!r:.40} goes with a limit order only")
    if draft.client_order_id is not None:
        wrong += wrong_id(draft.client_order_id, "client_order_id")
    if draft.strategy != "" and not (
        isinstance(draft.strategy, str) and len(draft.strategy) <= LONGEST_STRATEGY and draft.strategy.isprintable()
    ):
        words = f"strategy must be printable text of at most {LONGEST_STRATEGY} characters"
        wrong.append(f"{words}, not {draft.strategy!r:.40}")
    if draft.max_slippage is not None:
        wrong += wrong_fraction(draft.max_slippage, "max_slippage")
        if draft.type != "market":
            wrong.append("max_slippage goes with a market order only")
    if draft.timeout is not None:
        wrong += wrong_number(draft.timeout, "timeout")
    return wrong


def wrong_id(value: object, name: str) -> list[str]:
    """Name what is wrong with an id that a caller chose; [] where nothing is."""
    if isinstance(value, str) and _CLIENT_ID.fullmatch(value):
        return []
    return [f"{name} must be 1 to 64 characters of A-Z a-z 0-9 . _ : / -, not {value!r:.80}"]


def _options(draft: Draft) -> dict[str, Any] | None:
    if draft.max_slippage is None:
        return draft.extra or None
    return {**(draft.extra or {}), "max_slippage": str(draft.max_slippage)}


# -- client order ids

_tag = ""
_given: set[str] = set()
_counter = itertools.count(1)


def new_client_order_id() -> str:
    """Answer an id that no process has used: ours, the process's random tag, a count."""
    global _tag
    if not _tag:
        _tag = os.urandom(6).hex()
    return f"{OURS}{_tag}{next(_counter):x}"


def _forget_tag() -> None:
    global _tag
    _tag = ""
    _given.clear()


on_fork(_forget_tag)


def is_fresh(client_order_id: str) -> bool:
    """Tell whether an id came from `new_client_order_id` of this process, so that no order can have it yet."""
    return bool(_tag) and client_order_id.startswith(_tag, len(OURS)) and client_order_id not in _given


def _chosen(client_order_id: object) -> str:
    """Answer the id that a caller chose; it may be one that we made for an order of his before."""
    chosen = str(client_order_id)
    if is_fresh(chosen):
        _given.add(chosen)
    return chosen


def keyed_client_order_id(key: str, leg: int) -> str:
    """Answer the id of a keyed signal's order: the same in every process, on every try."""
    return f"{OURS}k{hashlib.sha256(key.encode()).hexdigest()[:26]}{leg:x}"
