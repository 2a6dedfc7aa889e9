"""What may be asked of an order, whichever venue it goes to; checked before anything is built."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from Execution.common.errors import Refused
from Execution.common.precision import Rules, number_of, positive
from Execution.common.symbols import is_swap
from Execution.common.types import SIDES, TIMES_IN_FORCE, Side


def check_side(rules: Rules, side: object, reduce_only: object) -> Side:
    """Answer the side of an order that may be reduce-only on a perpetual."""
    if side != "buy" and side != "sell":
        raise Refused("INVALID_ORDER", f"side must be {' or '.join(SIDES)}, not {side!r:.60}")
    if reduce_only is not False:
        if reduce_only is not True:
            raise Refused("INVALID_ORDER", f"reduce_only must be True or False, not {reduce_only!r:.60}")
        if not is_swap(rules.symbol):
            raise Refused("INVALID_ORDER", f"reduce_only: {rules.symbol} is spot and has no position to reduce")
    return "buy" if side == "buy" else "sell"


def check_terms(time_in_force: object, post_only: object) -> None:
    """Refuse terms of a limit order that nobody has, or that exclude each other."""
    if time_in_force not in TIMES_IN_FORCE:
        raise Refused("INVALID_ORDER", f"time_in_force must be GTC, IOC or FOK, not {time_in_force!r:.60}")
    if post_only is not False:
        if post_only is not True:
            raise Refused("INVALID_ORDER", f"post_only must be True or False, not {post_only!r:.60}")
        if time_in_force != "GTC":
            raise Refused("INVALID_ORDER", f"post_only needs time_in_force GTC, not {time_in_force}")


def slippage_of(value: Any) -> Decimal:
    """Answer max_slippage as a fraction below 1."""
    share = positive(value, "max_slippage")
    if share >= 1:
        raise Refused("INVALID_ORDER", f"max_slippage must be a fraction below 1, not {value!r:.60}")
    return share


def whole_of(value: object, name: str, most: int) -> int:
    """Answer a whole number from 1 on."""
    number = number_of(value, name)
    if number != number.to_integral_value() or not 1 <= number <= most:
        raise Refused("INVALID_ORDER", f"{name} must be a whole number from 1 to {most}, not {value!r:.60}")
    return int(number)
