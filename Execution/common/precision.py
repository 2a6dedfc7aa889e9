"""Whether a number is legal, and how it is rounded: down for amounts, to the passive side for prices.

A float means its shortest decimal form. Everything inside is Decimal; nothing is ever rounded past what was asked.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import (
    ROUND_DOWN,
    ROUND_HALF_EVEN,
    Context,
    Decimal,
    DivisionByZero,
    InvalidOperation,
    Overflow,
    getcontext,
    setcontext,
)
from functools import lru_cache, wraps
from typing import Any, ParamSpec, TypeVar

import msgspec

from Execution.common.errors import Refused
from Execution.common.types import Instrument

ZERO = Decimal(0)
_LARGEST = Decimal("1e15")
_SMALLEST = Decimal("1e-18")
# The caller's own decimal context may be too short for 1e15 in steps of 1e-18, or round up.
_exact = Context(prec=160, rounding=ROUND_DOWN)
OURS = Context(prec=60, rounding=ROUND_HALF_EVEN, traps=[InvalidOperation, DivisionByZero, Overflow])

P = ParamSpec("P")
T = TypeVar("T")


def exactly(function: Callable[P, T]) -> Callable[P, T]:
    """Have a function reckon in a decimal context of ours: the caller's may be short, round up, or raise."""

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        before = getcontext()
        if before is OURS:
            return function(*args, **kwargs)
        setcontext(OURS)
        try:
            return function(*args, **kwargs)
        finally:
            setcontext(before)

    return call


class Rules(msgspec.Struct, frozen=True, gc=False):
    """An instrument's rules as exact numbers."""

    symbol: str
    tick_size: Decimal
    lot_size: Decimal
    min_amount: Decimal
    max_amount: Decimal
    min_notional: Decimal
    contract_size: Decimal
    max_leverage: int
    significant_figures: int = 0


def exact(value: float | str) -> Decimal:
    """Answer the Decimal a public float stands for."""
    return Decimal(str(value))


def positive(value: object, name: str) -> Decimal:
    """Answer `value` as a Decimal greater than zero.

    Raises:
        Refused: INVALID_ORDER naming the field and the value: not a number, NaN, infinite, zero, negative, a bool,
            or too large or too small to be meant.
    """
    number = number_of(value, name)
    if _SMALLEST <= number <= _LARGEST:
        return number
    if number <= 0:
        raise Refused("INVALID_ORDER", f"{name} must be greater than zero, not {_show(value)}")
    raise Refused("INVALID_ORDER", f"{name} must lie between 1e-18 and 1e15, not {_show(value)}")


def number_of(value: object, name: str) -> Decimal:
    """Answer `value` as a finite Decimal; a bool is not a number."""
    if type(value) is Decimal:
        number = value
    elif type(value) is float or type(value) is int:
        number = Decimal(str(value)) if abs(value) < 1e40 else Decimal("Infinity")
    elif isinstance(value, bool) or not isinstance(value, (int, float, str, Decimal)):
        raise Refused("INVALID_ORDER", f"{name} must be a number, not {_show(value)}")
    else:
        number = _parse(value, name)
    if not number.is_finite():
        raise Refused("INVALID_ORDER", f"{name} must be a finite number, not {_show(value)}")
    return number


def _parse(value: float | str | Decimal, name: str) -> Decimal:
    text = str(value).strip() if not isinstance(value, str) else value.strip()
    if len(text) > 80 or "_" in text or not text.isascii():
        raise Refused("INVALID_ORDER", f"{name} must be a plain number, not {_show(value)}")
    try:
        return Decimal(text)
    except InvalidOperation:
        raise Refused("INVALID_ORDER", f"{name} must be a number, not {_show(value)}") from None


def _show(value: Any) -> str:
    if isinstance(value, int) and value.bit_length() > 10_000:
        return f"a number of {value.bit_length()} bits"
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


@lru_cache(maxsize=1024)
def _rules(items: tuple[Any, ...]) -> Rules:
    symbol, tick, lot, least, most, notional, contract, leverage, figures = items
    return Rules(
        symbol, exact(tick), exact(lot), exact(least), exact(most), exact(notional), exact(contract), leverage, figures
    )


def rules_of(instrument: Instrument) -> Rules:
    """Answer the exact rules of a public instrument."""
    return _rules(
        (
            instrument["symbol"],
            instrument["tick_size"],
            instrument["lot_size"],
            instrument["min_amount"],
            instrument["max_amount"] or 1e15,
            instrument["min_notional"],
            instrument["contract_size"],
            int(instrument["max_leverage"] or 1),
            int(instrument.get("price_significant_figures", 0)),
        )
    )


def round_down(value: Decimal, step: Decimal) -> Decimal:
    """Round towards zero to a multiple of step."""
    return _exact.multiply(_exact.divide_int(value, step), step)


def round_amount(amount: Decimal, rules: Rules, price: Decimal | None) -> Decimal:
    """Round an amount down to the lot and check the minimums.

    Args:
        price: the price that the minimum notional is reckoned with; None skips that rule.

    Raises:
        Refused: INVALID_ORDER with the numbers.
    """
    rounded = round_down(amount, rules.lot_size)
    if rounded < rules.min_amount or rounded <= 0:
        raise Refused(
            "INVALID_ORDER",
            f"amount {amount} of {rules.symbol} rounds down to {rounded} (lot {rules.lot_size}), "
            f"below the minimum {rules.min_amount}",
        )
    if rounded > rules.max_amount:
        raise Refused("INVALID_ORDER", f"amount {rounded} of {rules.symbol} is over the maximum {rules.max_amount}")
    if price is not None and (notional := _exact.multiply(rounded, price)) < rules.min_notional:
        raise Refused(
            "INVALID_ORDER",
            f"notional {notional} of {rules.symbol} ({rounded} x {price}) is below the minimum {rules.min_notional}",
        )
    return rounded


def round_price(price: Decimal, side: str, rules: Rules, name: str = "price") -> Decimal:
    """Round to the tick on the passive side: a buy down, a sell up; never past what was asked."""
    tick = tick_at(price, rules)
    if not _exact.remainder(price, tick):
        return price
    rounded = round_down(price, tick)
    if side != "buy":
        rounded = _exact.add(rounded, tick)
    if rounded <= 0:
        raise Refused("INVALID_ORDER", f"{name} {price} of {rules.symbol} rounds to {rounded} (tick {tick})")
    return rounded


def tick_at(price: Decimal, rules: Rules) -> Decimal:
    """Answer the tick in force at a price: some venues limit the significant figures as well."""
    if not rules.significant_figures or price == _exact.to_integral_value(price):
        return rules.tick_size
    return max(rules.tick_size, Decimal((0, (1,), price.adjusted() + 1 - rules.significant_figures)))
