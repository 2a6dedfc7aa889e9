"""Settings of accounts and instruments, and bringing back what lived before a restart."""

from __future__ import annotations

from typing import Literal

import msgspec

from .account import Account
from .book import Book
from .exact import ZERO
from .margin import available, plain
from .model import LIVE, Order, Rejected, Spec
from .reactions import send
from .rules import invalid
from .triggers import waits
from .world import World, lock, register


def add_spec(world: World, spec: Spec) -> None:
    if spec.symbol in world.books:
        raise invalid("spec_exists", f"{spec.symbol} is listed already")
    if spec.tick <= 0 or spec.lot <= 0:
        raise invalid("spec", f"{spec.symbol} needs a tick and a lot above zero")
    world.books[spec.symbol] = Book(spec)


def set_leverage(world: World, account: Account, book: Book, leverage: int) -> None:
    spec = book.spec
    if book.spot:
        raise Rejected("NOT_SUPPORTED", "spot", f"{spec.symbol} is spot and has no leverage")
    if not 1 <= leverage <= spec.max_leverage:
        raise invalid("leverage", f"leverage {leverage} is outside 1 to {spec.max_leverage}")
    exposure = world.exposure(account, book)
    old = exposure.leverage
    exposure.set_leverage(leverage)
    if leverage < old and (free := available(account, spec.quote)) < 0:
        exposure.set_leverage(old)
        raise Rejected(
            "INSUFFICIENT_FUNDS",
            "insufficient_funds",
            f"leverage {leverage} needs {plain(-free)} {spec.quote} more margin than available",
        )
    account.leverage[spec.symbol] = leverage
    world.touched.add(account.name)
    for order in account.orders.values():
        if order.locked and order.request.symbol == spec.symbol:
            order.locked = (order.request.amount - order.filled) * order.lock_price * exposure.lock_rate()
            world.changed[order.order_id] = order


def set_position_mode(world: World, account: Account, mode: Literal["net", "hedge"]) -> None:
    if mode not in ("net", "hedge"):
        raise invalid("position_mode", f"position_mode must be net or hedge, got {mode}")
    if mode == account.mode:
        return
    if account.held or any(not world.books[order.request.symbol].spot for order in account.orders.values()):
        raise invalid("position_mode", "position_mode cannot change while perpetual positions or orders exist")
    account.mode = mode
    for exposure in account.exposures.values():
        exposure.hedged = mode == "hedge"
    world.touched.add(account.name)


def load_order(world: World, account: Account, stored: Order) -> None:
    """Bring back a live order: its locks, its place in the queue, or its journey. Load its account first."""
    if stored.status not in LIVE:
        raise invalid("not_live", f"order {stored.order_id} is {stored.status}")
    if stored.order_id in account.orders:
        raise invalid("loaded", f"order {stored.order_id} is loaded already")
    book = world.book(stored.request.symbol)
    order = msgspec.structs.replace(stored, locked=ZERO)
    world.next_order_id = max(world.next_order_id, order.order_id + 1)
    world.next_priority = max(world.next_priority, order.priority + 1)
    register(world, account, order)
    if order.status == "pending":
        send(world, book, order, order.created + world.order_delay)
        return
    lock(world, account, book, order)
    if waits(order):
        book.triggers(order).add(order)
    else:
        assert order.request.price is not None
        book.own(order.request.side).restore(order.request.price, order)
