"""Keeping two engines of one account equal: what another process did is taken over without doing it again."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from .account import Account
from .admin import load_order
from .book import Quotes
from .model import LIVE, AccountState, Order, Position, Side
from .world import World, finish, note_position


def adopt(world: World, state: AccountState, orders: Sequence[Order], next_order_id: int, next_trade_id: int) -> None:
    """Replace an account's money, positions and the given orders by what they have become elsewhere.

    Args:
        orders: every order that changed since this engine last agreed with the other, in its present form.
    """
    account = world.accounts[state.name]
    for order in orders:
        _drop(world, account, order)
    account.balances = dict(state.balances)
    account.next_funding = dict(state.next_funding)
    account.leverage = dict(state.leverage)
    account.mode = state.position_mode
    _replace_positions(world, account, state)
    world.next_order_id = max(world.next_order_id, next_order_id)
    world.next_trade_id = max(world.next_trade_id, next_trade_id)
    for order in orders:
        if order.status in LIVE:
            load_order(world, account, order)
            del world.changed[order.order_id]


def _drop(world: World, account: Account, order: Order) -> None:
    mine = account.orders.get(order.order_id)
    if mine is not None:
        finish(world, account, world.books[mine.request.symbol], mine, "cancelled", "adopted", order.updated)
        del world.changed[order.order_id]


def _replace_positions(world: World, account: Account, state: AccountState) -> None:
    for exposure in account.exposures.values():
        exposure.positions.clear()
        exposure.hedged = account.mode == "hedge"
        leverage = account.leverage.get(exposure.book.spec.symbol, exposure.leverage)
        if leverage != exposure.leverage:
            exposure.set_leverage(leverage)
    for position in state.positions:
        exposure = world.exposure(account, world.book(position.symbol))
        exposure.positions[position.side] = Position(**{f: getattr(position, f) for f in position.__struct_fields__})
    for exposure in account.exposures.values():
        note_position(world, exposure)


class Onlooker:
    """Takes market events as the engine does, and lets nothing come of them: they were acted on elsewhere."""

    def __init__(self, world: World) -> None:
        self._world = world

    def on_snapshot(self, symbol: str, bids: Quotes, asks: Quotes, now: float) -> None:
        self._world.book(symbol).snapshot(bids, asks, now)

    def on_depth(self, symbol: str, bids: Quotes, asks: Quotes, now: float, update_id: int = 0) -> None:
        self._world.book(symbol).depth(bids, asks, now, update_id)

    def on_quote(
        self,
        symbol: str,
        bid: Decimal | None,
        bid_size: Decimal,
        ask: Decimal | None,
        ask_size: Decimal,
        now: float,
        update_id: int = 0,
    ) -> None:
        self._world.book(symbol).quote(bid, bid_size, ask, ask_size, now, update_id)

    def on_trade(self, symbol: str, price: Decimal, _amount: Decimal, _aggressor: Side, now: float) -> None:
        book = self._world.book(symbol)
        book.last, book.traded, book.time = price, True, now
