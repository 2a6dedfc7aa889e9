"""The life of an order: checked, admitted, matched, rested, triggered, amended.

A market order, IOC or FOK ends "cancelled" with what it did not fill; `reason` says why: "no_liquidity" (the book
was empty), "max_slippage", "ioc", "fok", "self_trade". Orders refused only after they were accepted (delayed or
triggered ones) end "cancelled" with the reason of the refusal.
"""

from __future__ import annotations

from decimal import Decimal

import msgspec

from .account import Account
from .book import Book
from .exact import ONE, ZERO
from .margin import check_funds, plain
from .matcher import opposite, probe, take
from .model import Order, Rejected, Request
from .rules import aim, check_request, invalid, too_small
from .settle import cover
from .triggers import reached, waits
from .world import World, average_up, close, finish, lock, register, unlock


def draft(world: World, account: Account, request: Request, now: float) -> tuple[Book, Order]:
    """Check what needs no market and shape the order; it has no id and nobody knows it yet."""
    book = world.book(request.symbol)
    order = Order(0, account.name, request, "open", now, now)
    if not book.spot:
        aim(order, account.mode)
    elif request.reduce_only:
        raise invalid("reduce_only", f"{request.symbol} is spot and has no position to reduce")
    check_request(book.spec, request, reducing=order.reducing)
    if request.client_order_id in account.by_client_id:
        raise Rejected(
            "DUPLICATE_ORDER", "duplicate_client_order_id", f"client_order_id {request.client_order_id} is live already"
        )
    return book, order


def admit(world: World, book: Book, account: Account, order: Order, *, arriving: bool) -> None:
    """Refuse what this moment does not allow. Sets lock_price and caps reduce-only amounts, changes nothing else.

    An order still on its way (not `arriving`) is not yet held to what only the book it will find can tell.
    """
    exposure = None if book.spot else world.exposure(account, book)
    if exposure is not None and order.reducing:
        _cap(order, exposure.closable(order.request.side, order.position_side))
    request = order.request
    left = request.amount - order.filled
    if waits(order):
        last = book.reference()
        if arriving and last is not None and reached(request, last):
            raise invalid("would_trigger", f"stop_price {request.stop_price} is reached already, last is {plain(last)}")
        assert request.stop_price is not None
        order.lock_price = request.stop_price if request.price is None else request.price
        notional = left * order.lock_price
    elif request.price is None:
        notional = _market_cost(world, book, order, left)
        if not arriving:
            order.lock_price = average_up(notional, left)
    else:
        order.lock_price = price = request.price
        best = book.best(opposite(request.side))
        if best is not None and (best <= price if request.side == "buy" else best >= price):
            if request.post_only and arriving:
                raise Rejected(
                    "POST_ONLY_WOULD_CROSS", "post_only", f"price {plain(price)} would cross the best, {plain(best)}"
                )
            price = max(price, best)
        notional = left * (order.lock_price if book.spot else price)
    check_funds(account, exposure, book, order, notional)


def _cap(order: Order, room: Decimal) -> None:
    if not room:
        raise Rejected(
            "REDUCE_ONLY_REJECTED",
            "reduce_only",
            f"no {order.position_side} position for a {order.request.side} to reduce",
        )
    if not waits(order) and order.request.amount - order.filled > room:
        order.request = msgspec.structs.replace(order.request, amount=order.filled + room)


def _market_cost(world: World, book: Book, order: Order, left: Decimal) -> Decimal:
    request = order.request
    best = book.best(opposite(request.side))
    if best is None:
        if book.time is None:
            raise Rejected("VENUE_REJECTED", "no_market", f"no market data for {request.symbol} yet")
        return ZERO
    if request.kind == "market" and not order.reducing and left * best < book.spec.min_notional:
        raise too_small(book.spec, left * best)
    return probe(world, book, request.side, order.account, left, bound(book, request))[1]


def bound(book: Book, request: Request) -> Decimal | None:
    """The worst price a taker may pay; None where any will do."""
    if request.price is not None or request.max_slippage is None:
        return request.price
    best = book.best(opposite(request.side))
    if best is None:
        return None
    return best * (ONE + request.max_slippage if request.side == "buy" else ONE - request.max_slippage)


def launch(world: World, account: Account, order: Order) -> None:
    """Give a drafted, admitted order its number and make it known."""
    order.order_id = world.next_order_id
    world.next_order_id += 1
    register(world, account, order)


def enter(world: World, book: Book, account: Account, order: Order, now: float) -> None:
    """Bring an admitted order, which holds no funds, to the book."""
    order.updated = now
    world.changed[order.order_id] = order
    if waits(order):
        order.status = "open"
        lock(world, account, book, order)
        book.triggers(order).add(order)
    else:
        _match(world, book, account, order, now)
    if world.short:
        cover(world, now)


def _match(world: World, book: Book, account: Account, order: Order, now: float) -> None:
    request = order.request
    limit = bound(book, request)
    if request.time_in_force == "FOK":
        left = request.amount - order.filled
        if probe(world, book, request.side, order.account, left, limit)[0] < left:
            close(world, account, order, "cancelled", "fok", now)
            return
    stopped = take(world, book, order, limit, now)
    if order.filled == request.amount:
        close(world, account, order, "filled", "", now)
    elif stopped:
        close(world, account, order, "cancelled", stopped, now)
    elif request.price is None:
        empty = book.best(opposite(request.side)) is None
        close(world, account, order, "cancelled", "no_liquidity" if empty else "max_slippage", now)
    elif request.time_in_force != "GTC":
        close(world, account, order, "cancelled", "ioc", now)
    else:
        _rest(world, book, account, order, request.price)


def _rest(world: World, book: Book, account: Account, order: Order, price: Decimal) -> None:
    side = order.request.side
    order.status = "partially_filled" if order.filled else "open"
    order.lock_price = price
    order.queue_ahead = book.external(side).at.get(price, ZERO)
    order.priority = world.next_priority
    world.next_priority += 1
    lock(world, account, book, order)
    book.own(side).add(price, order)


def arrive(world: World, book: Book, account: Account, order: Order, now: float) -> None:
    """Admit an order that was accepted before, holds its funds and is no part of the book yet."""
    unlock(world, account, book, order)
    if order.status != "pending":
        order.triggered = True
    try:
        admit(world, book, account, order, arriving=True)
    except Rejected as refusal:
        close(world, account, order, "cancelled", refusal.reason, now)
    else:
        enter(world, book, account, order, now)


def fire(world: World, book: Book, now: float) -> None:
    """Release the conditional orders that the last price has reached, one by one: each may move the next."""
    while (last := book.reference()) is not None:
        order = book.rises.due(last) or book.falls.due(last)
        if order is None:
            return
        arrive(world, book, world.accounts[order.account], order, now)


def amend(
    world: World, account: Account, order: Order, amount: Decimal | None, price: Decimal | None, now: float
) -> None:
    """Change amount or price. Only a smaller amount at the same price keeps the place in the queue."""
    book, old = world.books[order.request.symbol], order.request
    new = check_amend(book, order, amount, price)
    unlock(world, account, book, order)
    order.request = new
    if new.price == old.price and new.amount <= old.amount:
        lock(world, account, book, order)
        order.updated = now
        world.changed[order.order_id] = order
        return
    lock_price = order.lock_price
    try:
        admit(world, book, account, order, arriving=not waits(order))
    except Rejected:
        order.request, order.lock_price = old, lock_price
        lock(world, account, book, order)
        raise
    if waits(order):
        lock(world, account, book, order)
        order.updated = now
        world.changed[order.order_id] = order
        return
    assert old.price is not None
    book.own(old.side).remove(old.price, order)
    enter(world, book, account, order, now)


def check_amend(book: Book, order: Order, amount: Decimal | None, price: Decimal | None) -> Request:
    old = order.request
    if order.status == "pending":
        raise invalid("pending", f"order {order.order_id} has not reached the book yet")
    if price is not None and old.price is None:
        raise invalid("price", f"order {order.order_id} executes at market and has no price to amend")
    new = msgspec.structs.replace(
        old, amount=old.amount if amount is None else amount, price=old.price if price is None else price
    )
    check_request(book.spec, new, reducing=order.reducing)
    if new.amount <= order.filled:
        raise invalid("amount", f"amount {plain(new.amount)} is not above the filled {plain(order.filled)}")
    return new


def cancel(world: World, account: Account, order: Order, now: float) -> None:
    finish(world, account, world.books[order.request.symbol], order, "cancelled", "", now)
