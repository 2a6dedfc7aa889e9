"""What a fill does to an account: money, position, fee, and the orders that no longer fit afterwards."""

from __future__ import annotations

from decimal import Decimal

import msgspec

from .account import Account, Exposure, trade
from .book import Book
from .exact import ZERO
from .model import Fill, Order, Position
from .triggers import waits
from .world import World, change_open, finish, note_position


def fill(
    world: World, book: Book, order: Order, price: Decimal, amount: Decimal, now: float, *, maker: bool,
    liquidation: bool = False,
) -> None:  # fmt: skip
    """Execute part of an order. A maker's funds are locked and are released as they are used; a taker's are not."""
    account = world.accounts[order.account]
    notional = price * amount
    order.filled += amount
    order.cost += notional
    order.status = "partially_filled"
    order.updated = now
    spec, request = book.spec, order.request
    rate = spec.maker_fee if maker else spec.taker_fee
    profit, currency = ZERO, spec.quote
    if not book.spot:
        fee = notional * rate
        profit = _trade_swap(world, account, book, order, price, amount, fee, maker=maker)
    elif request.side == "buy":
        currency, fee = spec.base, amount * rate
        if maker:
            _release(account, spec.quote, order, amount * order.lock_price)
        pay(world, account, spec.quote, -notional)
        pay(world, account, spec.base, amount, fee)
    else:
        fee = notional * rate
        if maker:
            _release(account, spec.base, order, amount)
        pay(world, account, spec.base, -amount)
        pay(world, account, spec.quote, notional, fee)
    order.fee += fee
    order.fee_currency = currency
    world.changed[order.order_id] = order
    world.fills.append(
        Fill(
            world.next_trade_id, order.order_id, order.account, spec.symbol, request.side, amount, price, fee, currency,
            maker, now, profit, request.client_order_id, liquidation,
        )
    )  # fmt: skip
    world.next_trade_id += 1
    if maker and order.filled == request.amount:
        finish(world, account, book, order, "filled", "", now)
    if not book.spot:
        _after_position(world, book, account, now)
    elif account.held:
        world.suspects[account.name] = None


def pay(world: World, account: Account, asset: str, amount: Decimal, fee: Decimal = ZERO) -> None:
    """Move money between the house and an account; a fee goes the other way."""
    flows = world.house.flows
    flows[asset] = flows.get(asset, ZERO) - amount
    if fee:
        fees = world.house.fees
        fees[asset] = fees.get(asset, ZERO) + fee
        amount -= fee
    balances = account.balances
    balances[asset] = balance = balances.get(asset, ZERO) + amount
    if amount < 0 and balance < account.locked.get(asset, ZERO):
        world.short[account.name, asset] = None


def _release(account: Account, asset: str, order: Order, amount: Decimal) -> None:
    account.locked[asset] -= amount
    order.locked -= amount


def _trade_swap(
    world: World, account: Account, book: Book, order: Order, price: Decimal, amount: Decimal, fee: Decimal, *,
    maker: bool,
) -> Decimal:  # fmt: skip
    exposure = world.exposure(account, book)
    if maker and not order.reducing:
        change_open(exposure, order, -amount)
        order.locked = (order.request.amount - order.filled) * order.lock_price * exposure.lock_rate()
    side = order.position_side
    position = exposure.positions.get(side)
    if position is None:
        position = exposure.positions[side] = Position(book.spec.symbol, side)
    profit = trade(position, amount if order.request.side == "buy" else -amount, price)
    pay(world, account, book.spec.quote, profit, fee)
    return profit


def _after_position(world: World, book: Book, account: Account, now: float) -> None:
    exposure = account.exposures[book.spec.symbol]
    note_position(world, exposure)
    if exposure.reducers:
        _fit_reducers(world, book, account, exposure, now)


def _fit_reducers(world: World, book: Book, account: Account, exposure: Exposure, now: float) -> None:
    """A reduce-only order never outgrows the position: shrink it, or cancel it when nothing is left to reduce.

    A conditional one keeps its amount, the position may grow again; it is capped when it triggers.
    """
    for order in list(exposure.reducers.values()):
        room = exposure.closable(order.request.side, order.position_side)
        if not room:
            finish(world, account, book, order, "cancelled", "reduce_only", now)
        elif not waits(order) and order.request.amount - order.filled > room:
            order.request = msgspec.structs.replace(order.request, amount=order.filled + room)
            order.updated = now
            world.changed[order.order_id] = order


def cover(world: World, now: float) -> None:
    """Make every balance that lost money hold at least what is locked in it.

    First the newest orders holding the asset are cancelled. If the balance itself is negative, profits of winning
    positions are realised at the mark (their entry moves there), and the house's insurance pays what then is missing.
    """
    while world.short:
        (name, asset), _ = world.short.popitem()
        account = world.accounts[name]
        _cancel_holders(world, account, asset, now)
        if account.balances[asset] < 0:
            _realise_profits(world, account, asset)
        if (missing := -account.balances[asset]) > 0:
            insurance = world.house.insurance
            insurance[asset] = insurance.get(asset, ZERO) + missing
            account.balances[asset] = ZERO
            world.touched.add(name)


def _cancel_holders(world: World, account: Account, asset: str, now: float) -> None:
    floor = max(account.balances[asset], ZERO)
    for _, order in sorted(account.orders.items(), reverse=True):
        if account.locked.get(asset, ZERO) <= floor:
            return
        book = world.books[order.request.symbol]
        held = book.spec.quote if order.request.side == "buy" else book.spec.base
        if book.spot and held == asset:
            finish(world, account, book, order, "cancelled", "insufficient_funds", now)


def _realise_profits(world: World, account: Account, asset: str) -> None:
    for _, exposure in sorted(account.held.items()):
        mark = exposure.book.mark()
        if exposure.book.spec.quote != asset or mark is None:
            continue
        for position in exposure.positions.values():
            profit = position.size * mark - position.cost
            if profit > 0:
                position.cost += profit
                position.realized_pnl += profit
                pay(world, account, asset, profit)
                if account.balances[asset] >= 0:
                    return
