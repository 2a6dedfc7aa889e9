"""What time and the market do to the world: delayed commands, reactions to prices, funding."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from heapq import heappop, heappush

from .book import Book
from .entry import amend, arrive, cancel, fire
from .exact import GRAIN, ROUGH
from .liquidation import check_marks
from .matcher import cross
from .model import LIVE, Order, Rejected
from .settle import cover, pay
from .world import World, lock


def react(world: World, book: Book, now: float) -> None:
    """After prices changed: resting orders, then conditional ones, then liquidations."""
    cross(world, book, now)
    if world.short:
        cover(world, now)
    after_order(world, book, now)
    check_marks(world, book, now)


def after_order(world: World, book: Book, now: float) -> None:
    if book.rises.count or book.falls.count:
        fire(world, book, now)


def schedule(world: World, due: float, command: Callable[[float], None]) -> None:
    heappush(world.delayed, (due, world.next_command, command))
    world.next_command += 1


def advance(world: World, now: float) -> None:
    """Carry out the delayed commands whose time has come, each at its own time."""
    delayed = world.delayed
    while delayed and delayed[0][0] <= now:
        due, _, command = heappop(delayed)
        command(due)


def send(world: World, book: Book, order: Order, due: float) -> None:
    """Let an accepted order travel; its funds are held meanwhile."""
    account = world.accounts[order.account]
    order.status = "pending"
    lock(world, account, book, order)

    def reach(now: float) -> None:
        if order.status == "pending":
            arrive(world, book, account, order, now)
            after_order(world, book, now)

    schedule(world, due, reach)


def send_cancel(world: World, order: Order, due: float) -> None:
    def reach(now: float) -> None:
        if order.status in LIVE:
            cancel(world, world.accounts[order.account], order, now)

    schedule(world, due, reach)


def send_amend(world: World, order: Order, amount: Decimal | None, price: Decimal | None, due: float) -> None:
    """An amend refused on arrival leaves the order as it was, with the refusal as its reason."""

    def reach(now: float) -> None:
        if order.status not in LIVE:
            return
        try:
            amend(world, world.accounts[order.account], order, amount, price, now)
        except Rejected as refusal:
            order.reason = f"amend_{refusal.reason}"
            order.updated = now
            world.changed[order.order_id] = order
        after_order(world, world.books[order.request.symbol], now)

    schedule(world, due, reach)


def fund(world: World, book: Book, rate: Decimal, now: float) -> None:
    """Longs pay size x mark x rate, to twelve decimals, shorts receive it; a negative rate turns it round."""
    mark = book.mark()
    if mark is None:
        raise Rejected("VENUE_REJECTED", "no_market", f"no price for {book.spec.symbol} to fund at")
    for exposure in book.exposed.values():
        for position in exposure.positions.values():
            paid = ROUGH.multiply(position.size * mark, rate).quantize(GRAIN, context=ROUGH)
            position.funding -= paid
            pay(world, exposure.owner, book.spec.quote, -paid)
        world.touched.add(exposure.owner.name)
        world.suspects[exposure.owner.name] = None
    cover(world, now)
    check_marks(world, book, now)
