"""Exact arithmetic: sums and products never lose a digit, and an operation that would is an error, not a rounding.

EXACT is the context of every public call of the engine; its Inexact trap turns a lost digit into an exception.
Divisions cannot be exact; they name their context: ROUGH, or UP and DOWN where an error must fall on one side, or
SHOWN where the result is only told.
"""

from __future__ import annotations

from decimal import (
    ROUND_CEILING,
    ROUND_FLOOR,
    ROUND_HALF_EVEN,
    Context,
    Decimal,
    DivisionByZero,
    Inexact,
    InvalidOperation,
    Overflow,
)

_ERRORS = [InvalidOperation, DivisionByZero, Overflow]

EXACT = Context(prec=60, rounding=ROUND_HALF_EVEN, traps=[*_ERRORS, Inexact])
ROUGH = Context(prec=60, rounding=ROUND_HALF_EVEN, traps=_ERRORS)
UP = Context(prec=60, rounding=ROUND_CEILING, traps=_ERRORS)
DOWN = Context(prec=60, rounding=ROUND_FLOOR, traps=_ERRORS)
SHOWN = Context(prec=20, rounding=ROUND_HALF_EVEN, traps=_ERRORS)

ZERO = Decimal(0)
ONE = Decimal(1)
HALF = Decimal("0.5")
GRAIN = Decimal("1e-12")


def share(whole: Decimal, part: Decimal, total: Decimal) -> Decimal:
    """whole x part / total to twelve decimals; the caller keeps the exact difference."""
    return ROUGH.divide(whole * part, total).quantize(GRAIN, context=ROUGH)


def ratio_up(numerator: Decimal, denominator: Decimal) -> Decimal:
    """numerator / denominator, twelve decimals, rounded up: a requirement is never understated."""
    return UP.divide(numerator, denominator).quantize(GRAIN, context=UP)
