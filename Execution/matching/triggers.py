"""Conditional orders of one symbol, waiting for the last price to reach them."""

from __future__ import annotations

from decimal import Decimal
from heapq import heapify, heappop, heappush

from .model import LIVE, Order, Request

_ROOM = 64


def rising(request: Request) -> bool:
    """A stop buy and a take-profit sell wait for a rise, the other two for a fall."""
    return (request.kind == "stop") == (request.side == "buy")


def reached(request: Request, last: Decimal) -> bool:
    stop = request.stop_price
    return stop is not None and (last >= stop if rising(request) else last <= stop)


def waits(order: Order) -> bool:
    """Whether a live order is still a condition rather than part of the book."""
    return order.request.kind in ("stop", "take_profit") and not order.triggered


class Triggers:
    """A heap for one direction; entries of cancelled orders are skipped when met and swept when they are the most."""

    __slots__ = ("_heap", "_sign", "count")

    def __init__(self, *, rises: bool) -> None:
        self._sign = 1 if rises else -1
        self._heap: list[tuple[Decimal, int, Order]] = []
        self.count = 0

    def add(self, order: Order) -> None:
        stop = order.request.stop_price
        assert stop is not None
        heappush(self._heap, (stop * self._sign, order.order_id, order))
        self.count += 1

    def discard(self) -> None:
        """One waiting order was finished by someone else."""
        self.count -= 1
        if len(self._heap) > _ROOM + 2 * self.count:
            self._heap = [entry for entry in self._heap if _alive(entry[2])]
            heapify(self._heap)

    def due(self, last: Decimal) -> Order | None:
        """Take out one order this price triggers: nearest first, earliest first."""
        heap, level = self._heap, last * self._sign
        while heap and heap[0][0] <= level:
            order = heappop(heap)[2]
            if _alive(order):
                self.count -= 1
                return order
        return None


def _alive(order: Order) -> bool:
    return order.status in LIVE and not order.triggered
