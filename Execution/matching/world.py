"""Everything the engine remembers, and the bookkeeping every change of an order goes through."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Literal

from .account import Account, Exposure, OpenSide
from .book import Book
from .exact import GRAIN, UP, ZERO
from .model import AccountState, Fill, Order, Position, Rejected, Status
from .triggers import waits

SelfTrade = Literal["cancel_maker", "cancel_taker"]
Command = tuple[float, int, Callable[[float], None]]


class House:
    """The other side of everything, by asset: unknown counterparties' flows, fees earned, deficits covered.

    Accounts plus house are constant for every asset.
    """

    __slots__ = ("fees", "flows", "insurance")

    def __init__(self) -> None:
        self.flows: dict[str, Decimal] = {}
        self.fees: dict[str, Decimal] = {}
        self.insurance: dict[str, Decimal] = {}

    def totals(self) -> dict[str, Decimal]:
        total = dict(self.flows)
        for ledger, sign in ((self.fees, 1), (self.insurance, -1)):
            for asset, amount in ledger.items():
                total[asset] = total.get(asset, ZERO) + sign * amount
        return total


class World:
    """Books, accounts, counters, and what changed since the last drain."""

    __slots__ = (
        "accounts", "books", "cancel_delay", "changed", "default_leverage", "delayed", "fills", "house", "next_command",
        "next_order_id", "next_priority", "next_trade_id", "order_delay", "self_trade", "short", "suspects", "touched",
    )  # fmt: skip

    def __init__(self, *, self_trade: SelfTrade, order_delay: float, cancel_delay: float, leverage: int) -> None:
        self.self_trade = self_trade
        self.order_delay = order_delay
        self.cancel_delay = cancel_delay
        self.default_leverage = leverage
        self.books: dict[str, Book] = {}
        self.accounts: dict[str, Account] = {}
        self.house = House()
        self.delayed: list[Command] = []
        self.next_command = 0
        self.next_order_id = 1
        self.next_trade_id = 1
        self.next_priority = 1
        self.changed: dict[int, Order] = {}
        self.fills: list[Fill] = []
        self.touched: set[str] = set()
        self.suspects: dict[str, None] = {}
        self.short: dict[tuple[str, str], None] = {}

    def book(self, symbol: str) -> Book:
        try:
            return self.books[symbol]
        except KeyError:
            raise Rejected("INVALID_SYMBOL", "unknown_symbol", f"no such symbol: {symbol}") from None

    def account(self, name: str) -> Account:
        try:
            return self.accounts[name]
        except KeyError:
            raise Rejected("INVALID_ORDER", "unknown_account", f"no such account: {name}") from None

    def exposure(self, account: Account, book: Book) -> Exposure:
        symbol = book.spec.symbol
        found = account.exposures.get(symbol)
        if found is None:
            default = max(1, min(self.default_leverage, book.spec.max_leverage))
            found = Exposure(account, book, account.leverage.get(symbol, default))
            account.exposures[symbol] = found
        return found

    def live(self, account: Account, order_id: int) -> Order:
        try:
            return account.orders[order_id]
        except KeyError:
            raise Rejected("ORDER_NOT_FOUND", "not_live", f"order {order_id} is unknown or finished") from None

    def load(self, state: AccountState) -> None:
        account = Account(state)
        if account.name in self.accounts:
            raise Rejected("INVALID_ORDER", "account_exists", f"account {account.name} is open already")
        pairs = [(self.book(position.symbol), position) for position in state.positions]
        self.accounts[account.name] = account
        for book, position in pairs:
            exposure = self.exposure(account, book)
            exposure.positions[position.side] = Position(
                **{f: getattr(position, f) for f in position.__struct_fields__}
            )
            note_position(self, exposure)


def register(world: World, account: Account, order: Order) -> None:
    """From here on the order is live and found by its ids."""
    account.orders[order.order_id] = order
    if order.request.client_order_id:
        account.by_client_id[order.request.client_order_id] = order
    world.changed[order.order_id] = order


def lock(world: World, account: Account, book: Book, order: Order) -> None:
    """Hold the funds that the remainder of this order may need, at its lock_price."""
    _hold(world, account, book, order, 1)
    if order.reducing:
        world.exposure(account, book).reducers[order.order_id] = order


def unlock(world: World, account: Account, book: Book, order: Order) -> None:
    _hold(world, account, book, order, -1)
    if order.reducing:
        world.exposure(account, book).reducers.pop(order.order_id, None)


def _hold(world: World, account: Account, book: Book, order: Order, sign: int) -> None:
    request = order.request
    amount = request.amount - order.filled
    if book.spot:
        held = amount * order.lock_price if request.side == "buy" else amount
        asset = book.spec.quote if request.side == "buy" else book.spec.base
        account.locked[asset] = account.locked.get(asset, ZERO) + sign * held
        order.locked = held if sign > 0 else ZERO
    elif not order.reducing and not waits(order):
        exposure = world.exposure(account, book)
        change_open(exposure, order, sign * amount)
        order.locked = amount * order.lock_price * exposure.lock_rate() if sign > 0 else ZERO
        exposure.refresh()


def change_open(exposure: Exposure, order: Order, amount: Decimal) -> None:
    side: OpenSide = exposure.buys if order.request.side == "buy" else exposure.sells
    side.amount += amount
    side.notional += amount * order.lock_price


def finish(world: World, account: Account, book: Book, order: Order, status: Status, reason: str, now: float) -> None:
    """End a live order wherever it is: resting, conditional or still on its way."""
    if order.status != "pending":
        if waits(order):
            book.triggers(order).discard()
        elif (price := order.request.price) is not None:
            book.own(order.request.side).remove(price, order)
    unlock(world, account, book, order)
    close(world, account, order, status, reason, now)


def close(world: World, account: Account, order: Order, status: Status, reason: str, now: float) -> None:
    """Forget an order that holds neither funds nor a place."""
    order.status, order.reason, order.updated = status, reason, now
    account.orders.pop(order.order_id, None)
    cid = order.request.client_order_id
    if cid and account.by_client_id.get(cid) is order:
        del account.by_client_id[cid]
    world.changed[order.order_id] = order


def note_position(world: World, exposure: Exposure) -> None:
    """Keep the lists of who holds what right after a position changed."""
    account, book = exposure.owner, exposure.book
    symbol = book.spec.symbol
    if exposure.held():
        account.held[symbol] = exposure
        book.exposed[account.name] = exposure
        world.suspects[account.name] = None
    elif symbol in account.held:
        del account.held[symbol]
        del book.exposed[account.name]
        exposure.low = exposure.high = None
    exposure.refresh()


def average_up(cost: Decimal, amount: Decimal) -> Decimal:
    return UP.divide(cost, amount).quantize(GRAIN, context=UP)
