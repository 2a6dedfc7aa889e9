"""How Gate writes names, numbers, sides and times."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from Execution.common.precision import ZERO
from Execution.common.types import Balance

Request = dict[str, Any]
Raw = Mapping[str, Any]


def venue_symbol(symbol: str) -> str:
    """Answer Gate's name of a market: BTC_USDT, on spot and as a contract."""
    base, quote = symbol.split("-")[:2]
    return f"{base}_{quote}"


def unified_symbol(name: str, swap: bool) -> str:
    """Answer the unified symbol of one of Gate's names."""
    base, _, quote = name.rpartition("_")
    return f"{base}-{quote}-SWAP" if swap else f"{base}-{quote}"


def number(value: Any) -> Decimal:
    """Answer a number of Gate's; one that is missing is 0."""
    return Decimal(str(value)) if value not in (None, "") else ZERO


def price_of(value: Any) -> float | None:
    """Answer a price; Gate writes 0 or nothing where there is none."""
    return float(number(value)) or None


def balance(free: Decimal, locked: Decimal) -> Balance:
    return {"free": float(free), "locked": float(locked), "total": float(free + locked)}


def either(raw: Raw, *names: str) -> Decimal:
    """Answer the first of some fields that is not zero: which one is filled depends on the kind of account."""
    return next((found for name in names if (found := number(raw.get(name)))), ZERO)


def side_of(size: Decimal, auto_size: Any, order_type: Any = "") -> Any:
    """Answer the side of a signed size; one that closes a whole side has size 0 and says which side it closes."""
    if size:
        return "buy" if size > 0 else "sell"
    closes = str(auto_size or order_type or "")
    return {True: "sell", False: "buy"}["long" in closes] if "long" in closes or "short" in closes else _no_side()


def _no_side() -> str:
    raise ValueError("an order of size 0 that does not say which side it closes")


def seconds_of(value: Any) -> float:
    """Answer seconds, given seconds or milliseconds."""
    found = number(value)
    return float(found / 1000 if found > Decimal("1e11") else found)


def time_of(raw: Raw, name: str) -> float:
    """Answer a time in seconds, by its milliseconds where there are any."""
    return seconds_of(raw.get(f"{name}_ms") or raw.get(name))
