"""What an instrument accepts. The engine refuses, it never rounds; every refusal carries the numbers."""

from __future__ import annotations

from decimal import Decimal

from .margin import plain
from .model import Order, Rejected, Request, Spec

_MAX_EXPONENT = 15


def invalid(reason: str, message: str) -> Rejected:
    return Rejected("INVALID_ORDER", reason, message)


def check_request(spec: Spec, request: Request, *, reducing: bool) -> None:
    """The rules that need no market: shape, tick, lot, minima and maxima."""
    check_amount(spec, request.amount)
    kind, price = request.kind, request.price
    if price is not None:
        _check_price(spec, price, "price")
        if not reducing and price * request.amount < spec.min_notional:
            raise too_small(spec, price * request.amount)
    elif kind == "limit":
        raise invalid("price", "a limit order needs a price")
    if kind == "market" and price is not None:
        raise invalid("price", "a market order takes no price; max_slippage bounds it")
    if (kind in ("stop", "take_profit")) != (request.stop_price is not None):
        raise invalid("stop_price", "a stop or take-profit order needs a stop_price, others take none")
    if request.stop_price is not None:
        _check_price(spec, request.stop_price, "stop_price")
        if price is None and not reducing and request.stop_price * request.amount < spec.min_notional:
            raise too_small(spec, request.stop_price * request.amount)
    if request.post_only and (price is None or request.time_in_force != "GTC"):
        raise invalid("post_only", "post_only needs a price and time_in_force GTC")
    _check_slippage(request)


def check_amount(spec: Spec, amount: Decimal) -> None:
    if not amount.is_finite() or amount <= 0 or amount.adjusted() > _MAX_EXPONENT:
        raise invalid("amount", f"amount must be a positive number, got {amount}")
    if amount % spec.lot:
        raise invalid("lot", f"amount {plain(amount)} is not a multiple of the lot {plain(spec.lot)}")
    if amount < spec.min_amount:
        raise invalid("min_amount", f"amount {plain(amount)} is below the minimum {plain(spec.min_amount)}")
    if spec.max_amount and amount > spec.max_amount:
        raise invalid("max_amount", f"amount {plain(amount)} is above the maximum {plain(spec.max_amount)}")


def too_small(spec: Spec, notional: Decimal) -> Rejected:
    return invalid("min_notional", f"notional {plain(notional)} is below the minimum {plain(spec.min_notional)}")


def _check_price(spec: Spec, price: Decimal, name: str) -> None:
    if not price.is_finite() or price <= 0 or price.adjusted() > _MAX_EXPONENT:
        raise invalid(name, f"{name} must be a positive number, got {price}")
    if price % spec.tick:
        raise invalid("tick", f"{name} {plain(price)} is not a multiple of the tick {plain(spec.tick)}")


def _check_slippage(request: Request) -> None:
    slippage = request.max_slippage
    if slippage is not None and not (slippage.is_finite() and 0 <= slippage < 1):
        raise invalid("max_slippage", f"max_slippage must be a fraction from 0 to below 1, got {slippage}")


def aim(order: Order, mode: str) -> None:
    """Work out which position the order is for and whether it can only reduce it."""
    request = order.request
    if mode == "net":
        order.position_side, order.reducing = "net", request.reduce_only
        return
    opening = "long" if request.side == "buy" else "short"
    closing = "short" if request.side == "buy" else "long"
    side = request.position_side or (closing if request.reduce_only else opening)
    if request.reduce_only and side == opening:
        raise invalid("position_side", f"a reduce-only {request.side} cannot reduce a {side} position")
    order.position_side, order.reducing = ("long" if side == "long" else "short"), side == closing
