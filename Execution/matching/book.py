"""One symbol: the recorded book, our accounts' resting and conditional orders, last and mark price.

Queue model, conservative. An order joins behind all volume displayed at its price (`queue_ahead`). A recorded trade at
its price by the opposite aggressor eats that volume first and fills the order with the rest. A depth update or quote
lowers it to the displayed size at most: cancels are taken to be behind us until the display says otherwise. A trade
through the price fills up to the trade's amount, and an opposite quote that crosses it up to the displayed size, both
at our price. What our accounts take is gone from the ladder until the feed reports that level again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal

from .account import Exposure
from .exact import HALF
from .ladder import Ladder, Resting
from .model import ZERO, Order, Side, Spec
from .triggers import Triggers, rising

Quotes = Sequence[tuple[Decimal, Decimal]]


class Book:
    """State of one symbol. Matching lives in matcher.py."""

    __slots__ = (
        "asks", "bids", "buys", "depth_id", "exposed", "falls", "high", "last", "low", "marked", "quote_ask",
        "quote_bid", "quote_id", "rises", "sells", "spec", "spot", "time", "traded",
    )  # fmt: skip

    def __init__(self, spec: Spec) -> None:
        self.spec = spec
        self.spot = spec.kind == "spot"
        self.bids, self.asks = Ladder("buy"), Ladder("sell")
        self.buys, self.sells = Resting("buy"), Resting("sell")
        self.rises, self.falls = Triggers(rises=True), Triggers(rises=False)
        self.last: Decimal | None = None
        self.marked: Decimal | None = None
        self.traded = False
        self.time: float | None = None
        self.quote_id = 0
        self.depth_id = 0
        self.quote_bid: Decimal | None = None
        self.quote_ask: Decimal | None = None
        self.exposed: dict[str, Exposure] = {}
        self.low: Decimal | None = None
        self.high: Decimal | None = None

    def own(self, side: Side) -> Resting:
        return self.buys if side == "buy" else self.sells

    def external(self, side: Side) -> Ladder:
        return self.bids if side == "buy" else self.asks

    def triggers(self, order: Order) -> Triggers:
        return self.rises if rising(order.request) else self.falls

    def best(self, side: Side) -> Decimal | None:
        """Best price of one side, recorded volume and our accounts' orders together."""
        ladder, resting = (self.bids, self.buys) if side == "buy" else (self.asks, self.sells)
        shown, ours = ladder.top, resting.top
        if shown is None or (ours is not None and resting.better(ours, shown)):
            return ours
        return shown

    def mid(self) -> Decimal | None:
        bid, ask = self.bids.top, self.asks.top
        return None if bid is None or ask is None else (bid + ask) * HALF

    def mark(self) -> Decimal | None:
        if self.marked is not None:
            return self.marked
        mid = self.mid()
        return self.last if mid is None else mid

    def reference(self) -> Decimal | None:
        """The price that triggers conditional orders: last trade; the mid where the feed has only quotes."""
        if self.traded:
            return self.last
        mid = self.mid()
        return self.last if mid is None else mid

    def idle(self) -> bool:
        """Nothing of ours depends on this market."""
        return (
            self.buys.top is None
            and self.sells.top is None
            and not self.exposed
            and not self.rises.count
            and not self.falls.count
        )

    def quote(
        self,
        bid: Decimal | None,
        bid_size: Decimal,
        ask: Decimal | None,
        ask_size: Decimal,
        now: float,
        update_id: int,
    ) -> bool:
        """Apply a best bid and ask; False when a newer update has been seen."""
        if update_id:
            if update_id < self.quote_id or update_id < self.depth_id:
                return False
            self.quote_id = update_id
        self.time = now
        self.quote_bid, self.quote_ask = bid, ask
        bid_moved = self.bids.quote(bid, bid_size)
        ask_moved = self.asks.quote(ask, ask_size)
        if self.buys.top is not None:
            _clip_top(self.buys, self.bids, moved=bid_moved)
        if self.sells.top is not None:
            _clip_top(self.sells, self.asks, moved=ask_moved)
        return True

    def depth(self, bids: Quotes, asks: Quotes, now: float, update_id: int) -> None:
        self.time = now
        if update_id:
            self.depth_id = max(self.depth_id, update_id)
            if update_id < self.quote_id:
                bids = _behind(self.bids, bids, self.quote_bid)
                asks = _behind(self.asks, asks, self.quote_ask)
        self.bids.update(bids)
        self.asks.update(asks)
        self._uncross(bids)
        if self.buys.top is not None:
            _clip_levels(self.buys, self.bids, bids)
        if self.sells.top is not None:
            _clip_levels(self.sells, self.asks, asks)

    def snapshot(self, bids: Quotes, asks: Quotes, now: float) -> None:
        self.time = now
        self.bids.replace(bids)
        self.asks.replace(asks)
        self._uncross(bids)
        _clip_levels(self.buys, self.bids, [(price, ZERO) for price in self.buys.at])
        _clip_levels(self.sells, self.asks, [(price, ZERO) for price in self.sells.at])

    def _uncross(self, fresh_bids: Quotes) -> None:
        """Of two recorded levels that cross, the one this message did not bring is out of date."""
        bid, ask = self.bids.top, self.asks.top
        if bid is None or ask is None or bid < ask:
            return
        if any(price == bid for price, _ in fresh_bids):
            self.asks.drop_through(bid)
            _clip_top(self.sells, self.asks, moved=True)
        else:
            self.bids.drop_through(ask)
            _clip_top(self.buys, self.bids, moved=True)


def _behind(ladder: Ladder, levels: Quotes, top: Decimal | None) -> Quotes:
    """Levels worse than the quoted top: an older message knows nothing true about the others."""
    return [] if top is None else [level for level in levels if ladder.better(top, level[0])]


def clip(level: Iterable[Order], displayed: Decimal) -> None:
    """Nobody can be behind more than is displayed. `level` latest first: queue_ahead never falls along a queue."""
    for order in level:
        if order.queue_ahead <= displayed:
            return
        order.queue_ahead = displayed


def eat(level: Iterable[Order], amount: Decimal) -> None:
    """Volume displayed ahead of these orders was traded away."""
    for order in level:
        if order.queue_ahead:
            order.queue_ahead = max(ZERO, order.queue_ahead - amount)


def _clip_top(own: Resting, shown: Ladder, *, moved: bool) -> None:
    top = shown.top
    if moved:
        for price, level in own.walk():
            if top is not None and not own.better(price, top):
                break
            clip(reversed(level.values()), ZERO)
    if top is not None and (level := own.at.get(top) or {}):
        clip(reversed(level.values()), shown.at[top])


def _clip_levels(own: Resting, shown: Ladder, levels: Quotes) -> None:
    for price, _ in levels:
        level = own.at.get(price)
        if level:
            clip(reversed(level.values()), shown.at.get(price, ZERO))
