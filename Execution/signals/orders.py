"""From a checked signal to its orders: the amount, the bound of a market order, what a close has to send."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from Execution import registry
from Execution.common.errors import ExecutionError, Refused
from Execution.common.holding import is_too_small
from Execution.common.order import OrderRecord
from Execution.common.precision import Rules, exact, round_down
from Execution.common.risk_state import Snapshot
from Execution.common.symbols import is_swap, split
from Execution.common.types import Position
from Execution.drafts import Draft, keyed_client_order_id, prepare
from Execution.position_manager import free_of
from Execution.signals.parse import Signal


def order_of(name: str, symbol: str, signal: Signal, snapshot: Snapshot, collar: Decimal | None) -> OrderRecord:
    """Make the order of a buy or a sell.

    Args:
        collar: what bounds a market order that names no max_slippage.

    Raises:
        Refused: INVALID_ORDER: no price to size it by, protection that would trigger at once, the instrument's rules.
    """
    reference = signal.price or signal.stop_price or snapshot.quote.mark
    extra: dict[str, Any] = {
        k: str(v) for k, v in (("stop_loss", signal.stop_loss), ("take_profit", signal.take_profit)) if v
    }
    if extra:
        _check_protection(signal, symbol, reference)
    if signal.leverage:
        extra["leverage"] = signal.leverage
    draft = Draft(
        symbol=symbol,
        side=signal.action,
        type=signal.order_type,
        amount=signal.amount or _amount(signal, snapshot, reference),
        price=signal.price,
        stop_price=signal.stop_price,
        client_order_id=_id_of(signal, 0),
        time_in_force=signal.time_in_force,
        post_only=signal.post_only,
        reduce_only=signal.reduce_only,
        max_slippage=(signal.max_slippage or collar) if signal.order_type == "market" else None,
        timeout=signal.timeout,
        strategy=signal.strategy,
        extra=extra or None,
    )
    return prepare(name, draft, reference, checked=True)


def _id_of(signal: Signal, leg: int) -> str | None:
    """Answer the id that a signal names or its key stands for; None where any new one will do."""
    if signal.client_order_id and leg == 0:
        return signal.client_order_id
    return keyed_client_order_id(signal.key, leg) if signal.key else None


def _amount(signal: Signal, snapshot: Snapshot, reference: Decimal | None) -> Decimal:
    """Answer base units from a notional or a fraction of equity."""
    if reference is None:
        raise Refused("INVALID_ORDER", "notional and equity_fraction need a price, and none is known")
    if signal.notional is not None:
        return signal.notional / reference
    if signal.equity_fraction is None or snapshot.account.equity is None or snapshot.rate is None:
        raise Refused("INVALID_ORDER", "equity_fraction needs the account's equity, and none is known")
    return signal.equity_fraction * snapshot.account.equity / (reference * snapshot.rate)


def _check_protection(signal: Signal, symbol: str, reference: Decimal | None) -> None:
    """Refuse protection that would trigger at once or that the market cannot have."""
    if not is_swap(symbol):
        if signal.action == "sell":
            raise Refused("INVALID_ORDER", "stop_loss and take_profit protect an entry; a spot sell is none")
        if signal.stop_loss and signal.take_profit:
            raise Refused("INVALID_ORDER", "a spot holding can back one of stop_loss and take_profit, not both")
    if reference is None:
        return
    direction = 1 if signal.action == "buy" else -1
    for word, value, sign in (("stop_loss", signal.stop_loss, 1), ("take_profit", signal.take_profit, -1)):
        if value is not None and (reference - value) * direction * sign <= 0:
            raise Refused("INVALID_ORDER", f"{word} {value} would trigger at once: the price is {reference}")


def closing_orders(
    name: str, symbol: str, signal: Signal, positions: Sequence[Position], collar: Decimal | None
) -> tuple[list[OrderRecord], list[str]]:
    """Make the orders that close what is open: one for each leg in hedge mode.

    Returns:
        (orders, a remark for each part of a spot holding that stays: too small to sell, or locked by open orders).

    Raises:
        Refused: INSUFFICIENT_FUNDS, where open orders lock so much of a spot holding that nothing can be sold.
    """
    orders: list[OrderRecord] = []
    remarks: list[str] = []
    for position in positions:
        if position["symbol"] != symbol or position["size"] <= 0:
            continue
        rules = registry.rules(name, symbol)
        held = exact(position["size"])
        base = split(symbol)[0]
        free = held if is_swap(symbol) else min(held, _free(name, base, held))
        size = round_down(free, rules.lot_size)
        if not _is_too_small(size, signal, position, rules):
            orders.append(_closing_order(name, position, signal, size, collar, len(orders)))
            if free < held:
                remarks.append(f"{held - free} {base} is locked by open orders and stays")
        elif not _is_too_small(round_down(held, rules.lot_size), signal, position, rules):
            words = f"{held - free} of {held} {base} is locked by open orders; cancel them first"
            raise Refused("INSUFFICIENT_FUNDS", words)
        else:
            remarks.append(f"{held} {base} is below the smallest order and stays")
    return orders, remarks


def _is_too_small(size: Decimal, signal: Signal, position: Position, rules: Rules) -> bool:
    """Tell whether so much of a position is less than the smallest order; reduce-only ones have no least notional."""
    price = signal.price or (exact(position["mark_price"]) if position["mark_price"] else None)
    return is_too_small(size, rules, None if is_swap(rules.symbol) else price)


def _free(name: str, asset: str, held: Decimal) -> Decimal:
    """Answer what open orders leave free of a spot holding; all of it where the account cannot be read just now.

    A close must not wait for that: the venue itself refuses to sell what is locked.
    """
    try:
        return free_of(name, asset, held)
    except ExecutionError:
        return held


def _closing_order(
    name: str, position: Position, signal: Signal, size: Decimal, collar: Decimal | None, leg: int
) -> OrderRecord:
    draft = Draft(
        symbol=position["symbol"],
        side="sell" if position["side"] == "long" else "buy",
        type=signal.order_type,
        amount=size,
        price=signal.price,
        client_order_id=_id_of(signal, leg),
        time_in_force=signal.time_in_force,
        post_only=signal.post_only,
        reduce_only=is_swap(position["symbol"]),
        max_slippage=(signal.max_slippage or collar) if signal.order_type == "market" else None,
        timeout=signal.timeout,
        strategy=signal.strategy,
    )
    return prepare(name, draft)
