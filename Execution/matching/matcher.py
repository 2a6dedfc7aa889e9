"""Price-time matching: takers against the recorded book and resting orders, resting orders against market events.

Recorded sizes may be finer than our lot; what is less than a lot cannot be traded, so fills are always whole lots.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

from .book import Book, eat
from .exact import ZERO
from .ladder import Ladder
from .model import LIVE, Order, Side
from .settle import fill
from .world import World, finish

Offer = tuple[Decimal, Decimal]


def opposite(side: Side) -> Side:
    return "sell" if side == "buy" else "buy"


def whole(amount: Decimal, lot: Decimal) -> Decimal:
    return amount - amount % lot


def take(
    world: World, book: Book, order: Order, limit: Decimal | None, now: float, *, liquidation: bool = False
) -> str:
    """Fill a taker, best price first. Returns "self_trade" when it met its own account's order and must stop."""
    ladder, resting = (book.asks, book.sells) if order.request.side == "buy" else (book.bids, book.buys)
    left = order.request.amount - order.filled
    while left:
        ours = resting.top
        if ours is not None and resting.reaches(limit) and (ladder.top is None or not ladder.better(ladder.top, ours)):
            left, stop = _take_level(world, book, order, ours, left, now, liquidation=liquidation)
            if stop:
                return "self_trade"
        elif (price := ladder.top) is not None and ladder.reaches(limit):
            amount = _take_shown(ladder, price, left, book.spec.lot)
            if amount:
                fill(world, book, order, price, amount, now, maker=False, liquidation=liquidation)
                left -= amount
        else:
            break
    return ""


def _take_shown(ladder: Ladder, price: Decimal, amount: Decimal, lot: Decimal) -> Decimal:
    """Take up to an amount at one price; a remainder below a lot is dropped, or it would be met again and again."""
    shown = ladder.at[price]
    if shown >= amount:
        ladder.take(price, amount)
        return amount
    ladder.take(price, shown)
    return whole(shown, lot)


def _take_level(
    world: World, book: Book, order: Order, price: Decimal, left: Decimal, now: float, *, liquidation: bool
) -> tuple[Decimal, bool]:
    """Trade with the orders resting at one price; recorded volume ahead of each of them goes first."""
    other = opposite(order.request.side)
    ladder, level = book.external(other), book.own(other).at[price]
    for maker in _reach(level, order.account, left):
        if maker.status not in LIVE:
            continue
        ahead = min(left, maker.queue_ahead, ladder.at.get(price, ZERO))
        if ahead and (ahead := whole(ahead, book.spec.lot)):
            ladder.take(price, ahead)
            eat(level.values(), ahead)
            fill(world, book, order, price, ahead, now, maker=False, liquidation=liquidation)
            left -= ahead
            if not left:
                break
        if maker.account == order.account:
            if world.self_trade == "cancel_taker":
                return left, True
            finish(world, world.accounts[maker.account], book, maker, "cancelled", "self_trade", now)
            continue
        amount = min(left, maker.request.amount - maker.filled)
        fill(world, book, order, price, amount, now, maker=False, liquidation=liquidation)
        fill(world, book, maker, price, amount, now, maker=True)
        left -= amount
        if not left:
            break
    _note_own_trade(book, price)
    return left, False


def _reach(level: dict[int, Order], account: str, amount: Decimal) -> list[Order]:
    """The first orders of a level, as many as this amount may reach."""
    found = []
    for maker in level.values():
        found.append(maker)
        if maker.account != account:
            amount -= maker.request.amount - maker.filled
            if amount <= 0:
                break
    return found


def _note_own_trade(book: Book, price: Decimal) -> None:
    """Where no feed says what the last trade was, trades between our accounts do."""
    if not book.traded:
        book.last = price


def offers(world: World, book: Book, side: Side, account: str, limit: Decimal | None) -> Iterator[Offer]:
    """What a taker of this side would be given, in order, without touching anything."""
    other = opposite(side)
    lot, ladder, resting = book.spec.lot, book.external(other), book.own(other)
    shown, ours = ladder.walk(), resting.walk()
    next_shown, next_ours = next(shown, None), next(ours, None)
    while next_shown is not None or next_ours is not None:
        if next_ours is None or (next_shown is not None and ladder.better(next_shown[0], next_ours[0])):
            assert next_shown is not None
            price, displayed, level = next_shown[0], next_shown[1], None
        else:
            price, level = next_ours
            displayed = next_shown[1] if next_shown is not None and next_shown[0] == price else ZERO
        if limit is not None and resting.better(limit, price):
            return
        if level is not None:
            for maker in level.values():
                if maker.account != account:
                    yield price, maker.request.amount - maker.filled
                elif world.self_trade == "cancel_taker":
                    yield price, whole(min(maker.queue_ahead, displayed), lot)
                    return
            next_ours = next(ours, None)
        if displayed:
            yield price, whole(displayed, lot)
            next_shown = next(shown, None)


def probe(
    world: World, book: Book, side: Side, account: str, amount: Decimal, limit: Decimal | None
) -> tuple[Decimal, Decimal]:
    """How much of an amount a taker would get now, and its cost."""
    ladder, resting = (book.asks, book.sells) if side == "buy" else (book.bids, book.buys)
    best = ladder.top
    if resting.top is None and best is not None and ladder.reaches(limit) and ladder.at[best] >= amount:
        return amount, amount * best
    left, cost = amount, ZERO
    for price, offered in offers(world, book, side, account, limit):
        taken = min(left, offered)
        cost += taken * price
        left -= taken
        if not left:
            break
    return amount - left, cost


def cross(world: World, book: Book, now: float) -> None:
    """Fill resting orders that the recorded book has crossed, at their own price, up to the displayed size."""
    _cross_side(world, book, "buy", now)
    _cross_side(world, book, "sell", now)


def _cross_side(world: World, book: Book, side: Side, now: float) -> None:
    resting, ladder = book.own(side), book.external(opposite(side))
    while (price := resting.top) is not None and ladder.reaches(price) and ladder.top is not None:
        maker = next(iter(resting.at[price].values()))
        amount = _take_shown(ladder, ladder.top, maker.request.amount - maker.filled, book.spec.lot)
        if amount:
            fill(world, book, maker, price, amount, now, maker=True)


def print_trade(world: World, book: Book, price: Decimal, amount: Decimal, aggressor: Side, now: float) -> None:
    """Let a recorded trade reach our resting orders: those it went through first, then the queue at its price."""
    resting = book.own(opposite(aggressor))
    while amount and (top := resting.top) is not None and resting.better(top, price):
        maker = next(iter(resting.at[top].values()))
        part = min(whole(amount, book.spec.lot), maker.request.amount - maker.filled)
        if not part:
            break
        amount -= part
        fill(world, book, maker, top, part, now, maker=True)
    _free_queues(book, opposite(aggressor), price)
    level = resting.at.get(price)
    if amount and level:
        _trade_at(world, book, level, price, amount, now)


def _free_queues(book: Book, side: Side, price: Decimal) -> None:
    """Volume displayed at prices a trade went through is gone, whatever the display still says."""
    resting = book.own(side)
    for better, level in resting.walk():
        if not resting.better(better, price):
            return
        eat(level.values(), max(order.queue_ahead for order in level.values()))


def _trade_at(world: World, book: Book, level: dict[int, Order], price: Decimal, amount: Decimal, now: float) -> None:
    eaten = ZERO
    for maker in list(level.values()):
        if maker.status not in LIVE:
            continue
        ahead = min(amount, max(ZERO, maker.queue_ahead - eaten))
        eaten += ahead
        amount -= ahead
        part = min(whole(amount, book.spec.lot), maker.request.amount - maker.filled)
        if not part:
            break
        amount -= part
        fill(world, book, maker, price, part, now, maker=True)
    eat(level.values(), eaten)
