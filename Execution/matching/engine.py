"""The matching engine: several accounts, spot and linear perpetuals, against recorded markets and each other.

Deterministic and pure: time is passed in, equal calls give equal results. Every public call computes exactly
(see exact.py); what it cannot do it refuses with Rejected and leaves everything as it was. Orders that are handed out
are the engine's own and change as they live: read them, copy them, do not write to them.

Liquidations happen on market events: a fill that leaves an account under water is acted upon by the next of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal, getcontext, setcontext
from functools import wraps
from typing import Concatenate, Literal, ParamSpec, TypeVar

from . import admin, entry, reactions, views
from . import adopt as adoption
from .book import Book, Quotes
from .exact import EXACT, GRAIN, ROUGH
from .liquidation import check_marks
from .matcher import print_trade
from .model import AccountState, Changes, Order, Request, Side, Spec
from .settle import cover
from .world import SelfTrade, World

P = ParamSpec("P")
R = TypeVar("R")


def _exactly(method: Callable[Concatenate[Engine, P], R]) -> Callable[Concatenate[Engine, P], R]:
    """Run a public call in the exact context, whatever the caller's is."""

    @wraps(method)
    def run(self: Engine, /, *args: P.args, **kwargs: P.kwargs) -> R:
        saved = getcontext()
        setcontext(EXACT)
        try:
            return method(self, *args, **kwargs)
        finally:
            setcontext(saved)

    return run


class Engine:
    """See the module. List symbols, open or load accounts, then send orders and market events."""

    def __init__(
        self,
        specs: Iterable[Spec],
        *,
        self_trade: SelfTrade = "cancel_maker",
        order_delay: float = 0.0,
        cancel_delay: float = 0.0,
        default_leverage: int = 1,
        next_order_id: int = 1,
        next_trade_id: int = 1,
    ) -> None:
        self._world = World(
            self_trade=self_trade, order_delay=order_delay, cancel_delay=cancel_delay, leverage=default_leverage
        )
        self._world.next_order_id = next_order_id
        self._world.next_trade_id = next_trade_id
        for spec in specs:
            self.add_spec(spec)

    def add_spec(self, spec: Spec) -> None:
        admin.add_spec(self._world, spec)

    # Accounts

    @_exactly
    def open_account(
        self, name: str, balances: Mapping[str, Decimal], *, position_mode: Literal["net", "hedge"] = "net"
    ) -> None:
        self._world.load(AccountState(name, dict(balances), [], {}, position_mode))
        self._world.touched.add(name)

    @_exactly
    def load_account(self, state: AccountState) -> None:
        """Bring an account back as account_state gave it. Its open orders follow, with load_order."""
        self._world.load(state)

    def account_state(self, name: str) -> AccountState:
        return self._world.account(name).state()

    @_exactly
    def set_leverage(self, account: str, symbol: str, leverage: int) -> None:
        world = self._world
        admin.set_leverage(world, world.account(account), world.book(symbol), leverage)

    @_exactly
    def set_position_mode(self, account: str, mode: Literal["net", "hedge"]) -> None:
        admin.set_position_mode(self._world, self._world.account(account), mode)

    @_exactly
    def summary(self, account: str, currency: str | None = None) -> views.Summary:
        """One account; currency defaults to what the first perpetual settles in, else the first symbol's quote."""
        return views.summary(self._world.account(account), currency or self._settle_currency())

    def _settle_currency(self) -> str:
        specs = [book.spec for book in self._world.books.values()]
        return next((spec.quote for spec in [*(s for s in specs if s.kind == "swap"), *specs]), "")

    @_exactly
    def positions(self, account: str, symbol: str | None = None) -> list[views.PositionView]:
        return views.positions(self._world.account(account), symbol)

    @_exactly
    def house(self) -> dict[str, Decimal]:
        """What the house holds by asset, negative where it owes: with all accounts it adds up to a constant."""
        return self._world.house.totals()

    # Orders

    def place(self, account: str, request: Request, now: float) -> Order:
        """Accept an order and do with it what can be done now. Raises Rejected, and then nothing has changed."""
        world = self._world
        saved = getcontext()
        setcontext(EXACT)
        try:
            if world.delayed:
                reactions.advance(world, now)
            owner = world.account(account)
            book, order = entry.draft(world, owner, request, now)
            entry.admit(world, book, owner, order, arriving=not world.order_delay)
            entry.launch(world, owner, order)
            if world.order_delay:
                reactions.send(world, book, order, now + world.order_delay)
            else:
                entry.enter(world, book, owner, order, now)
                reactions.after_order(world, book, now)
            return order
        finally:
            setcontext(saved)

    def cancel(self, account: str, order_id: int, now: float) -> Order:
        world = self._world
        saved = getcontext()
        setcontext(EXACT)
        try:
            if world.delayed:
                reactions.advance(world, now)
            owner = world.account(account)
            order = world.live(owner, order_id)
            if world.cancel_delay:
                reactions.send_cancel(world, order, now + world.cancel_delay)
            else:
                entry.cancel(world, owner, order, now)
            return order
        finally:
            setcontext(saved)

    @_exactly
    def amend(
        self, account: str, order_id: int, *, amount: Decimal | None = None, price: Decimal | None = None, now: float
    ) -> Order:
        """Change amount (the whole, filled part included) or price. A smaller amount alone keeps the place in line."""
        world = self._world
        reactions.advance(world, now)
        owner = world.account(account)
        order = world.live(owner, order_id)
        book = world.books[order.request.symbol]
        if world.order_delay:
            entry.check_amend(book, order, amount, price)
            reactions.send_amend(world, order, amount, price, now + world.order_delay)
        else:
            entry.amend(world, owner, order, amount, price, now)
            reactions.after_order(world, book, now)
        return order

    def open_orders(self, account: str, symbol: str | None = None) -> list[Order]:
        orders = self._world.account(account).orders.values()
        return [order for order in orders if symbol is None or order.request.symbol == symbol]

    def order(self, account: str, order_id: int) -> Order | None:
        """A live order; a finished one is only told about by drain."""
        return self._world.account(account).orders.get(order_id)

    def order_by_client_id(self, account: str, client_order_id: str) -> Order | None:
        return self._world.account(account).by_client_id.get(client_order_id)

    @_exactly
    def load_order(self, order: Order) -> None:
        admin.load_order(self._world, self._world.account(order.account), order)

    @_exactly
    def adopt(self, state: AccountState, orders: Sequence[Order], next_order_id: int, next_trade_id: int) -> None:
        """Take over what another process did to a loaded account: its state, and the orders that changed."""
        adoption.adopt(self._world, state, orders, next_order_id, next_trade_id)

    def onlooker(self) -> adoption.Onlooker:
        """Answer who takes market events that were acted on elsewhere already."""
        return adoption.Onlooker(self._world)

    @property
    def next_ids(self) -> tuple[int, int]:
        """The ids that the next order and the next fill will have."""
        return self._world.next_order_id, self._world.next_trade_id

    @property
    def has_changes(self) -> bool:
        """Whether drain would tell of anything."""
        world = self._world
        return bool(world.changed or world.touched or world.fills)

    # Market

    @_exactly
    def on_snapshot(self, symbol: str, bids: Quotes, asks: Quotes, now: float) -> None:
        """Replace the recorded book."""
        book = self._at(symbol, now)
        book.snapshot(bids, asks, now)
        reactions.react(self._world, book, now)

    def on_depth(self, symbol: str, bids: Quotes, asks: Quotes, now: float, update_id: int = 0) -> None:
        """Set single levels; size 0 removes one. update_id orders depth and quotes, 0 where the feed has none."""
        book = self._at(symbol, now)
        book.depth(bids, asks, now, update_id)
        if self._world.suspects or not book.idle():
            self._react(book, now)

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
        """Set the best bid and ask (None or size 0: that side is empty); better recorded levels are gone."""
        book = self._at(symbol, now)
        if book.quote(bid, bid_size, ask, ask_size, now, update_id) and (self._world.suspects or not book.idle()):
            self._react(book, now)

    @_exactly
    def on_trade(self, symbol: str, price: Decimal, amount: Decimal, aggressor: Side, now: float) -> None:
        """A trade was recorded; it may have reached our resting orders."""
        book, world = self._at(symbol, now), self._world
        book.last, book.traded, book.time = price, True, now
        if book.idle() and not world.suspects:
            return
        print_trade(world, book, price, amount, aggressor, now)
        if world.short:
            cover(world, now)
        reactions.after_order(world, book, now)
        check_marks(world, book, now)

    @_exactly
    def on_mark(self, symbol: str, price: Decimal, now: float) -> None:
        """Set the mark, to twelve decimals; from now on it no longer follows the mid."""
        book = self._at(symbol, now)
        book.marked = price.quantize(GRAIN, context=ROUGH)
        check_marks(self._world, book, now)

    @_exactly
    def on_funding(self, symbol: str, rate: Decimal, now: float) -> None:
        """Longs pay shorts rate x notional at the mark."""
        reactions.fund(self._world, self._at(symbol, now), rate, now)

    @_exactly
    def advance(self, now: float) -> None:
        reactions.advance(self._world, now)

    @_exactly
    def ticker(self, symbol: str) -> views.Ticker:
        return views.ticker(self._world.book(symbol))

    @_exactly
    def depth(self, symbol: str, n: int) -> views.Depth:
        return views.depth(self._world.book(symbol), n)

    def drain(self) -> Changes:
        """What happened since the last drain; the engine forgets it."""
        world = self._world
        orders, fills = list(world.changed.values()), world.fills
        accounts = world.touched
        for order in orders:
            accounts.add(order.account)
        world.changed, world.fills, world.touched = {}, [], set()
        return Changes(orders, fills, accounts)

    def _at(self, symbol: str, now: float) -> Book:
        if self._world.delayed:
            self.advance(now)
        return self._world.books.get(symbol) or self._world.book(symbol)

    def _react(self, book: Book, now: float) -> None:
        saved = getcontext()
        setcontext(EXACT)
        try:
            reactions.react(self._world, book, now)
        finally:
            setcontext(saved)
