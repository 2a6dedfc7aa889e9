"""Trading signals: what a strategy asks for, validated completely before anything is done."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import msgspec

from Execution.common.errors import Refused
from Execution.common.precision import number_of, positive
from Execution.common.types import ORDER_TYPES, TIMES_IN_FORCE
from Execution.drafts import LONGEST_STRATEGY, prices_of, unknown_key, wrong_fraction, wrong_id

ACTIONS = ("buy", "sell", "close")
KEYS = (
    "action",
    "amount",
    "client_order_id",
    "equity_fraction",
    "key",
    "leverage",
    "max_slippage",
    "notional",
    "order_type",
    "post_only",
    "price",
    "reduce_only",
    "stop_loss",
    "stop_price",
    "strategy",
    "take_profit",
    "time_in_force",
    "timeout",
)
_NUMBERS = (
    "amount",
    "equity_fraction",
    "max_slippage",
    "notional",
    "price",
    "stop_loss",
    "stop_price",
    "take_profit",
    "timeout",
)
_SIMPLE = frozenset(("action", "amount", "price"))
_SIZES = ("amount", "notional", "equity_fraction")


class Signal(msgspec.Struct, gc=False):
    """A valid signal. Exactly one of amount, notional and equity_fraction is set, none for a close.

    `urgent` is ours: a liquidation, which the price collar must not hold up.
    """

    action: str
    order_type: str
    amount: Decimal | None = None
    notional: Decimal | None = None
    equity_fraction: Decimal | None = None
    price: Decimal | None = None
    stop_price: Decimal | None = None
    stop_loss: Decimal | None = None
    take_profit: Decimal | None = None
    time_in_force: str = "GTC"
    post_only: bool = False
    reduce_only: bool = False
    max_slippage: Decimal | None = None
    timeout: Decimal | None = None
    leverage: int = 0
    strategy: str = ""
    key: str = ""
    client_order_id: str = ""
    remark: str = ""
    urgent: bool = False

    @property
    def is_plain(self) -> bool:
        """Whether it leads to one order and nothing else."""
        return self.action != "close" and not self.leverage and self.stop_loss is None and self.take_profit is None


def parse(signal: object) -> Signal:
    """Answer the signal, checked.

    Raises:
        Refused: INVALID_ORDER with everything that is wrong with it, field by field.
    """
    if type(signal) is not dict and not isinstance(signal, Mapping):
        raise Refused("INVALID_ORDER", f"a signal must be a dict, not {signal!r:.60}")
    if (simple := _parse_simple(signal)) is not None:
        return simple
    wrong: list[str] = []
    values: dict[str, Any] = {}
    for key, value in signal.items():
        if key not in KEYS:
            wrong.append(unknown_key(key, KEYS))
        elif value is not None:
            sized = key in _NUMBERS and not (key == "amount" and signal.get("action") == "close")
            values[key] = _number(value, key, wrong) if sized else value
    _check_words(values, wrong)
    if values.get("action") == "close":
        _check_close(values, wrong)
    else:
        _check_open(values, wrong)
    if wrong:
        raise Refused("INVALID_ORDER", "; ".join(wrong))
    return Signal(**values)


def _parse_simple(signal: Mapping[str, Any]) -> Signal | None:
    """Answer a plain market or limit signal without the long way; None for all others and for what is wrong."""
    if not _SIMPLE.issuperset(signal):
        return None
    action, amount, price = signal.get("action"), signal.get("amount"), signal.get("price")
    if action not in ("buy", "sell") or amount is None:
        return None
    try:
        if price is None:
            return Signal(action, "market", positive(amount, "amount"))
        return Signal(action, "limit", positive(amount, "amount"), None, None, positive(price, "price"))
    except Refused:
        return None


def digest(signal: Mapping[str, Any], exchange: str, symbol: str) -> str:
    """Answer a fingerprint of a signal's content without its key, numbers in their plain form."""
    parts = [exchange, symbol]
    for key in sorted(signal):
        value = signal[key]
        if key == "key" or value is None:
            continue
        parts.append(f"{key}={number_of(value, key).normalize() if key in _NUMBERS else value}")
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _number(value: object, name: str, wrong: list[str]) -> Decimal | None:
    try:
        return positive(value, name)
    except Refused as error:
        wrong.append(error.message)
        return None


def _check_words(values: dict[str, Any], wrong: list[str]) -> None:
    action = values.get("action")
    if action not in ACTIONS:
        wrong.append(
            "action is missing" if action is None else f"action must be one of {', '.join(ACTIONS)}, not {action!r:.40}"
        )
    for name in ("post_only", "reduce_only"):
        if name in values and not isinstance(values[name], bool):
            wrong.append(f"{name} must be True or False, not {values[name]!r:.40}")
    tif = values.get("time_in_force", "GTC")
    if tif not in TIMES_IN_FORCE:
        wrong.append(f"time_in_force must be one of {', '.join(TIMES_IN_FORCE)}, not {tif!r:.40}")
    leverage = values.get("leverage", 1)
    if isinstance(leverage, bool) or not isinstance(leverage, int) or not 1 <= leverage <= 1000:
        wrong.append(f"leverage must be a whole number from 1, not {leverage!r:.40}")
    for name, longest in (("key", 200), ("strategy", LONGEST_STRATEGY)):
        text = values.get(name, "x")
        if not isinstance(text, str) or not 1 <= len(text) <= longest or not text.isprintable():
            wrong.append(f"{name} must be 1 to {longest} printable characters, not {text!r:.80}")
    if "client_order_id" in values:
        wrong += wrong_id(values["client_order_id"], "client_order_id")


def _check_open(values: dict[str, Any], wrong: list[str]) -> None:
    """Check what a buy or a sell needs, and choose the order type where it was left open."""
    sizes = [name for name in _SIZES if name in values]
    if len(sizes) != 1:
        wrong.append(f"exactly one of {', '.join(_SIZES)} is needed, not {' and '.join(sizes) or 'none'}")
    kind = values.get("order_type")
    if kind is None:
        kind = values["order_type"] = "stop" if "stop_price" in values else "limit" if "price" in values else "market"
    elif kind not in ORDER_TYPES:
        wrong.append(f"order_type must be one of {', '.join(ORDER_TYPES)}, not {kind!r:.40}")
    wrong += prices_of(kind, "price" in values, "stop_price" in values)
    if kind != "limit":
        if values.get("post_only"):
            wrong.append("post_only goes with a limit order only")
        if values.get("time_in_force", "GTC") != "GTC":
            wrong.append("time_in_force IOC and FOK go with a limit order only")
    elif values.get("post_only") and values.get("time_in_force", "GTC") != "GTC":
        wrong.append("post_only goes with time_in_force GTC only")
    if values.get("max_slippage") is not None:
        wrong += wrong_fraction(values["max_slippage"], "max_slippage")
    if "max_slippage" in values and kind != "market":
        wrong.append("max_slippage goes with a market order only")
    if "stop_loss" in values or "take_profit" in values:
        _check_protection(values, wrong)


def _check_protection(values: dict[str, Any], wrong: list[str]) -> None:
    """Check that stop_loss and take_profit lie on the losing and the winning side of the entry."""
    loss, profit, entry = values.get("stop_loss"), values.get("take_profit"), values.get("price")
    if (loss or profit) and values.get("reduce_only"):
        wrong.append("stop_loss and take_profit protect an entry; a reduce_only order has none")
    direction = -1 if values.get("action") == "sell" else 1
    if loss and entry and (entry - loss) * direction <= 0:
        wrong.append(f"stop_loss {loss} is on the winning side of price {entry} for a {values.get('action')}")
    if profit and entry and (profit - entry) * direction <= 0:
        wrong.append(f"take_profit {profit} is on the losing side of price {entry} for a {values.get('action')}")
    if loss and profit and (profit - loss) * direction <= 0:
        wrong.append(f"stop_loss {loss} and take_profit {profit} are the wrong way round for a {values.get('action')}")


def _check_close(values: dict[str, Any], wrong: list[str]) -> None:
    """A close takes its size from the position; what would size or protect it has no place."""
    for name in ("stop_price", "stop_loss", "take_profit", "leverage", "notional", "equity_fraction"):
        if name in values:
            wrong.append(f"{name} has no place in a close")
    if values.pop("amount", None) is not None:
        values["remark"] = "amount is not used: close closes all that is open"
    kind = values.setdefault("order_type", "limit" if "price" in values else "market")
    if kind not in ("limit", "market"):
        wrong.append(f"order_type of a close must be limit or market, not {kind!r:.40}")
    elif (kind == "limit") != ("price" in values):
        wrong.append("a close is a limit order with a price or a market order without one")
