"""The rules an order and an account are judged by: pure functions of (order, state, limits).

    reduces?  yes -> only its price is judged
              no  -> price, what is known, how many orders, how much was lost, how large the position becomes

Exposure is counted in the worst case: the position, plus every open order in the direction of the new one, plus the
new one.
"""

from __future__ import annotations

from decimal import Decimal

from Execution.common.risk import (
    ONE,
    ZERO,
    AccountLevel,
    AccountState,
    Limits,
    OrderView,
    RiskState,
    Thresholds,
    Verdict,
    denied,
)


def reduces(order: OrderView, state: RiskState) -> bool:
    """Tell whether an order can only shrink the position, whatever else of the open orders fills."""
    if order.reduce_only:
        return True
    if order.side == "buy":
        return state.position < 0 and order.amount + state.open_buys <= -state.position
    return state.position > 0 and order.amount + state.open_sells <= state.position


def evaluate(order: OrderView, state: RiskState, limits: Limits) -> Verdict:
    """Judge an order. Pure; builds no text unless it denies.

    An order that only reduces is judged by its price alone, and without a known mark not even by that: a missing
    ticker must not keep a position open.
    """
    if state.mark is not None and limits.price_collar is not None:
        fault = _price(order, state, state.mark, limits.price_collar)
        if fault is not None:
            return fault
    if reduces(order, state):
        notional = order.amount * (order.price or state.mark or ZERO) * (state.rate or ZERO)
        return Verdict(True, "", "", notional, ZERO, state.equity, limits.max_position_size, True)
    return _activity(order, state, limits) or _loss(order, state, limits) or _exposure(order, state, limits)


def _price(order: OrderView, state: RiskState, mark: Decimal, collar: Decimal) -> Verdict | None:
    """Deny a price that is worse for the trader than the reference by more than the collar."""
    buying = order.side == "buy"
    reference, price = mark, order.price
    if order.stop_price is not None:
        fault = _stop_side(order, order.stop_price, mark, collar)
        if fault is not None:
            return fault
        reference = order.stop_price
    elif price is None:
        price = state.ask if buying else state.bid
    if price is None:
        return None
    if price <= reference * (1 + collar) if buying else price >= reference * (1 - collar):
        return None
    what = "best ask" if buying else "best bid"
    what = what if order.price is None else "price"
    against = "mark" if reference is mark else "stop price"
    return denied(
        "PRICE_COLLAR",
        f"{what} {price} of this {order.side} is more than {collar} {'above' if buying else 'below'} the {against} "
        f"{reference}",
        price=price,
        reference=reference,
        collar=collar,
        distance=abs(price - reference) / reference,
    )


def _stop_side(order: OrderView, stop: Decimal, mark: Decimal, collar: Decimal) -> Verdict | None:
    # Venues trigger on prices that differ a little from the mark: only a stop plainly on the wrong side is ours.
    above = (order.side == "buy") == (order.type == "stop")
    if stop >= mark * (1 - collar) if above else stop <= mark * (1 + collar):
        return None
    return denied(
        "STOP_SIDE",
        f"stop price {stop} of this {order.side} {order.type} is {'below' if above else 'above'} the mark {mark} "
        f"by more than {collar}: it would trigger at once",
        stop_price=stop,
        mark=mark,
        collar=collar,
    )


def _activity(order: OrderView, state: RiskState, limits: Limits) -> Verdict | None:
    """Deny by symbol, and by how many orders there are and were."""
    allowed = limits.allowed_symbols
    if allowed is not None and order.symbol not in allowed:
        names = ", ".join(sorted(allowed))
        return denied("SYMBOL_NOT_ALLOWED", f"{order.symbol} is not among the allowed symbols: {names}", allowed=names)
    if limits.block_unresolved and state.unresolved:
        return denied(
            "UNRESOLVED_ORDER",
            f"{state.unresolved} earlier order(s) of {order.symbol} have no known outcome yet",
            unresolved=state.unresolved,
        )
    most = limits.max_open_orders
    if most is not None and state.open_orders >= most:
        return _count("OPEN_ORDERS", "orders are open", state.open_orders, most)
    most = limits.max_orders_per_minute
    if most is not None and state.orders_last_minute >= most:
        return _count("ORDERS_PER_MINUTE", "orders were sent in the last minute", state.orders_last_minute, most)
    most = limits.max_orders_per_day
    if most is not None and state.orders_today >= most:
        return _count("ORDERS_PER_DAY", "orders were sent today", state.orders_today, most)
    return None


def _count(code: str, what: str, count: int, most: int) -> Verdict:
    return denied(code, f"{count} {what}, the limit is {most}", count=count, limit=most)


def _loss(order: OrderView, state: RiskState, limits: Limits) -> Verdict | None:
    """Deny new exposure where the account cannot be read or has lost too much since the day's start."""
    equity, start = state.equity, state.day_start_equity
    if equity is None:
        words = state.trouble or "nothing is known of it"
        reason = f"no new exposure while the account cannot be read: {words}"
        return denied("ACCOUNT_UNREADABLE", reason, amount=order.amount, equity=None)
    if start is None or equity >= start:
        return None
    lost = start - equity
    ratio, most = limits.max_loss_ratio, limits.max_daily_loss
    if ratio is not None and lost >= ratio * start:
        share = drawdown(equity, start)
        return denied(
            "LOSS_RATIO",
            f"equity fell from {start} to {equity} today, {share:.4f} of it; the limit is {ratio}",
            equity=equity,
            day_start_equity=start,
            loss_ratio=share,
            limit=ratio,
        )
    if most is not None and lost >= most:
        return denied(
            "DAILY_LOSS",
            f"equity fell by {lost} today, from {start} to {equity}; the limit is {most}",
            equity=equity,
            day_start_equity=start,
            loss=lost,
            limit=most,
        )
    return None


def _exposure(order: OrderView, state: RiskState, limits: Limits) -> Verdict:
    """Judge how large the order and the position become."""
    mark, rate, equity = state.mark, state.rate, state.equity or ZERO
    if mark is None or rate is None:
        what = "mark price" if mark is None else "price of its quote currency"
        reason = f"no {what} of {order.symbol} is known: {state.trouble or 'the venue shows none'}"
        return denied("NO_MARK", reason, amount=order.amount, mark=mark, rate=rate)
    amount = order.amount
    notional = amount * (order.price or order.stop_price or mark) * rate
    most = limits.max_order_notional
    if most is not None and notional > most:
        return _too_large("ORDER_NOTIONAL", "the notional of this order", notional, most, equity, notional)
    # What does not reduce ends on its own side of zero, so the worst case needs no sign.
    size = state.position + state.open_buys if order.side == "buy" else state.open_sells - state.position
    after = (size + amount) * mark * rate
    most = limits.max_symbol_notional
    if most is not None and after > most:
        return _too_large(
            "SYMBOL_NOTIONAL", f"the position in {order.symbol}, open orders included,", after, most, equity, notional
        )
    most = limits.max_position_size
    if most is not None and after > most * equity:
        return _too_large(
            "POSITION_SIZE",
            f"the position in {order.symbol}, open orders included,",
            after,
            most,
            equity,
            notional,
            ratio=True,
        )
    most = limits.max_leverage
    if most is not None and (fault := _leverage(order, state, after, most, equity)) is not None:
        return fault
    return Verdict(True, "", "", notional, after, equity, limits.max_position_size)


def _too_large(
    code: str, what: str, value: Decimal, most: Decimal, equity: Decimal, notional: Decimal, *, ratio: bool = False
) -> Verdict:
    if ratio:
        share = value / equity if equity > 0 else None
        shown = "no equity left" if share is None else f"{share:.4f} of equity {equity}"
        reason = f"{what} would be {value:.2f}, {shown}; the limit is {most}"
        return denied(code, reason, value=value, fraction=share, limit=most, equity=equity, notional=notional)
    reason = f"{what} would be {value:.2f}, the limit is {most}"
    return denied(code, reason, value=value, limit=most, equity=equity, notional=notional)


def _leverage(order: OrderView, state: RiskState, after: Decimal, most: Decimal, equity: Decimal) -> Verdict | None:
    """Deny by the leverage that is set, and by all positions together against equity."""
    total = after + state.other_notional
    setting = order.leverage or state.leverage or ONE
    used = total / equity if equity > 0 else setting
    if setting <= most and total <= most * equity:
        return None
    reason = f"leverage {setting} is set and all positions would be {used:.2f} of equity; the limit is {most}"
    return denied("LEVERAGE", reason, leverage=setting, used=used, limit=most, equity=equity)


def drawdown(equity: Decimal, day_start: Decimal | None) -> Decimal:
    """Answer the fraction of the day's first equity that is gone; 0 where none is."""
    if day_start is None or equity >= day_start:
        return ZERO
    return (day_start - equity) / day_start if day_start > 0 else ONE


def unrealized_loss(equity: Decimal, unrealized_pnl: Decimal) -> Decimal:
    """Answer the open loss as a fraction of equity; 0 in profit, 1 where no equity is left to compare with."""
    if unrealized_pnl >= 0:
        return ZERO
    return -unrealized_pnl / equity if equity > 0 else ONE


def judge_account(account: AccountState, thresholds: Thresholds) -> tuple[AccountLevel, list[str]]:
    """Answer how the account stands, and a sentence for each measure that is not safe."""
    measures = (
        ("margin ratio", account.margin_ratio, thresholds.warning_margin_ratio, thresholds.danger_margin_ratio),
        (
            "drawdown since the day's start",
            drawdown(account.equity, account.day_start_equity),
            thresholds.warning_drawdown,
            thresholds.danger_drawdown,
        ),
        (
            "unrealised loss",
            unrealized_loss(account.equity, account.unrealized_pnl),
            thresholds.warning_unrealized_loss,
            thresholds.danger_unrealized_loss,
        ),
    )
    level: AccountLevel = "danger" if account.equity < 0 else "safe"
    reasons = [f"equity {account.equity} is below zero"] if account.equity < 0 else []
    for name, value, warning, danger in measures:
        if value >= danger:
            level = "danger"
            reasons.append(f"{name} {value:.4f} has reached the danger level {danger}")
        elif value >= warning:
            level = "warning" if level == "safe" else level
            reasons.append(f"{name} {value:.4f} has reached the warning level {warning}")
    return level, reasons
