"""Cross-margin liquidation. Accounts are looked at when a mark leaves the band in which nothing can happen to them."""

from __future__ import annotations

from decimal import Decimal

from .account import Account, Exposure
from .book import Book
from .exact import ONE, ZERO
from .margin import set_bands, watch_unknown, worth
from .matcher import opposite, take
from .model import Order, Position, Request, Side
from .settle import cover, fill
from .world import World, close, finish, register


def check_marks(world: World, book: Book, now: float) -> None:
    """Look at accounts that changed since, and at all with a position here if the mark left the narrowest band."""
    if book.exposed and (mark := book.mark()) is not None:
        low, high = book.low, book.high
        if (low is not None and mark <= low) or (high is not None and mark >= high):
            _check_band(world, book, mark)
    while world.suspects:
        name, _ = world.suspects.popitem()
        _check(world, world.accounts[name], now)


def _check_band(world: World, book: Book, mark: Decimal) -> None:
    book.low = book.high = None
    for exposure in book.exposed.values():
        low, high = exposure.low, exposure.high
        if (low is not None and mark <= low) or (high is not None and mark >= high):
            world.suspects[exposure.owner.name] = None
        elif low is not None:
            book.low = low if book.low is None else max(book.low, low)
        elif high is not None:
            book.high = high if book.high is None else min(book.high, high)


def _check(world: World, account: Account, now: float) -> None:
    for asset in dict.fromkeys(exposure.book.spec.quote for exposure in account.held.values()):
        if watch_unknown(account, asset):
            continue
        sums = worth(account, asset)
        equity = account.balances.get(asset, ZERO) + sums.profit
        if equity <= sums.maintenance:
            _liquidate(world, account, asset, now)
        else:
            set_bands(account, asset, equity, sums.maintenance)


def _liquidate(world: World, account: Account, asset: str, now: float) -> None:
    """Cancel the account's perpetual orders in this asset, close every position, let the insurance pay a deficit."""
    for _, order in sorted(account.orders.items()):
        book = world.books[order.request.symbol]
        if not book.spot and book.spec.quote == asset:
            finish(world, account, book, order, "cancelled", "liquidation", now)
    for _, exposure in sorted(account.held.items()):
        for _, position in sorted(exposure.positions.items()):
            if position.size and exposure.book.spec.quote == asset:
                _close_position(world, account, exposure, position, now)
    cover(world, now)


def _close_position(world: World, account: Account, exposure: Exposure, position: Position, now: float) -> None:
    """Sell into the book no further from the mark than the maintenance margin can pay; the house takes the rest."""
    book = exposure.book
    side: Side = "sell" if position.size > 0 else "buy"
    amount = abs(position.size)
    mark = book.mark()
    assert mark is not None
    request = Request(book.spec.symbol, side, "market", amount, reduce_only=True)
    order = Order(
        world.next_order_id, account.name, request, "open", now, now, position_side=position.side, reducing=True,
        reason="liquidation",
    )  # fmt: skip
    world.next_order_id += 1
    register(world, account, order)
    slip = book.spec.maintenance_rate
    limit = mark * (ONE - slip if side == "sell" else ONE + slip)
    if book.best(opposite(side)) is not None:
        take(world, book, order, limit, now, liquidation=True)
    if left := amount - order.filled:
        fill(world, book, order, mark, left, now, maker=False, liquidation=True)
    close(world, account, order, "filled", "liquidation", now)
