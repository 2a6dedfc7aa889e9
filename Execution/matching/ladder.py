"""Price levels of one side of a book, best first: the recorded volume (Ladder) and our accounts' orders (Resting).

A sorted list of keys with the best at its end, beside a dict from price to content. Quotes move the end of the list,
so they cost O(1); a new deep price costs a bisection. A level that empties stays in both until it reaches the end or
too many have gathered, so a price that comes and goes is inserted once.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterable, Iterator
from decimal import Decimal
from typing import Generic, TypeVar

from .model import ZERO, Order, Side

V = TypeVar("V")

_ROOM = 1024


class Levels(Generic[V]):
    """Levels of one side. `at` maps price to content, a false content is a dead level; `top` is the best live price."""

    __slots__ = ("_bid", "_keys", "_room", "at", "top")

    def __init__(self, side: Side) -> None:
        self._bid = side == "buy"
        self._keys: list[Decimal] = []
        self._room = _ROOM
        self.at: dict[Decimal, V] = {}
        self.top: Decimal | None = None

    def better(self, price: Decimal, than: Decimal) -> bool:
        return price > than if self._bid else price < than

    def reaches(self, limit: Decimal | None) -> bool:
        """Whether an incoming order with this limit (None: any price) meets the best level."""
        top = self.top
        return top is not None and (limit is None or (top >= limit if self._bid else top <= limit))

    def insert(self, price: Decimal, content: V) -> None:
        """Add a price that is not in `at`."""
        self.at[price] = content
        key = price if self._bid else price.copy_negate()
        keys = self._keys
        if not keys or key > keys[-1]:
            keys.append(key)
        else:
            insort(keys, key)
            if len(keys) > self._room:
                self._compact()

    def settle(self) -> None:
        """Drop dead levels from the end and note the best live price."""
        keys, at = self._keys, self.at
        while keys:
            price = keys[-1] if self._bid else keys[-1].copy_negate()
            if at[price]:
                self.top = price
                return
            keys.pop()
            del at[price]
        self.top = None

    def walk(self) -> Iterator[tuple[Decimal, V]]:
        """Live levels, best first. The side must not change meanwhile."""
        at, bid = self.at, self._bid
        for key in reversed(self._keys):
            price = key if bid else key.copy_negate()
            content = at[price]
            if content:
                yield price, content

    def _compact(self) -> None:
        self.at = {price: content for price, content in self.at.items() if content}
        self._keys = sorted(self.at) if self._bid else sorted(price.copy_negate() for price in self.at)
        self._room = max(_ROOM, 2 * len(self._keys))


class Ladder(Levels[Decimal]):
    """Displayed volume of one side as the feed reports it, less what our accounts have taken since."""

    __slots__ = ()

    def replace(self, levels: Iterable[tuple[Decimal, Decimal]]) -> None:
        self.at = {price: size for price, size in levels if size}
        self._compact()
        self.settle()

    def update(self, levels: Iterable[tuple[Decimal, Decimal]]) -> None:
        at = self.at
        for price, size in levels:
            if price in at:
                at[price] = size
            elif size:
                self.insert(price, size)
                at = self.at
        self.settle()

    def quote(self, price: Decimal | None, size: Decimal) -> bool:
        """Make this the best level: whatever is better is gone. True when the best price moved."""
        if price is not None and size:
            if price == self.top:
                self.at[price] = size
                return False
            self._set_top(price, size)
            return True
        self._keys.clear()
        self.at.clear()
        moved, self.top = self.top is not None, None
        return moved

    def _set_top(self, price: Decimal, size: Decimal) -> None:
        bid, keys, at = self._bid, self._keys, self.at
        key = price if bid else price.copy_negate()
        while keys and keys[-1] > key:
            gone = keys.pop()
            del at[gone if bid else gone.copy_negate()]
        if price not in at:
            keys.append(key)
        at[price] = size
        self.top = price

    def drop_through(self, price: Decimal) -> None:
        """Remove levels at or better than a price of the other side: they cannot be there any more."""
        while (top := self.top) is not None and not self.better(price, top):
            self.at[top] = ZERO
            self.settle()

    def take(self, price: Decimal, amount: Decimal) -> None:
        self.at[price] = left = self.at[price] - amount
        if not left and price == self.top:
            self.settle()


class Resting(Levels[dict[int, Order]]):
    """Our accounts' orders of one side; within a price, first come first."""

    __slots__ = ()

    def add(self, price: Decimal, order: Order) -> None:
        level = self.at.get(price)
        if level is None:
            self.insert(price, {order.order_id: order})
        else:
            level[order.order_id] = order
        if self.top is None or self.better(price, self.top):
            self.top = price

    def remove(self, price: Decimal, order: Order) -> None:
        level = self.at[price]
        del level[order.order_id]
        if not level and price == self.top:
            self.settle()

    def restore(self, price: Decimal, order: Order) -> None:
        """Add an order that had a place before: among equals by priority, whatever the order of loading."""
        last = next(reversed(self.at.get(price) or {}), None)
        self.add(price, order)
        level = self.at[price]
        if last is None or level[last].priority <= order.priority:
            return
        ranked = sorted(level.values(), key=lambda each: each.priority)
        level.clear()
        level.update((each.order_id, each) for each in ranked)
