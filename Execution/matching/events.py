"""What a market-data recording says, and how each thing said enters a matching engine.

`time` is float seconds UTC at which we received it. Prices and sizes are exact and as written; a level of size zero
is a level that is gone.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Literal, Protocol

from msgspec import Struct

Level = tuple[Decimal, Decimal]
Levels = list[Level]


class Market(Protocol):
    """The part of the matching engine that listens to the market."""

    def on_snapshot(self, symbol: str, bids: Levels, asks: Levels, now: float) -> object: ...
    def on_depth(self, symbol: str, bids: Levels, asks: Levels, now: float, update_id: int) -> object: ...
    def on_quote(
        self, symbol: str, bid: Decimal, bid_size: Decimal, ask: Decimal, ask_size: Decimal, now: float, update_id: int
    ) -> object: ...
    def on_trade(
        self, symbol: str, price: Decimal, amount: Decimal, aggressor: Literal["buy", "sell"], now: float
    ) -> object: ...


class Snapshot(Struct, frozen=True, gc=False):
    """The whole book (as deep as it was asked for) as of `update_id`. Best level first."""

    time: float
    update_id: int
    bids: Levels
    asks: Levels

    def apply(self, engine: Market, symbol: str) -> None:
        engine.on_snapshot(symbol, self.bids, self.asks, self.time)


class Depth(Struct, frozen=True, gc=False):
    """Absolute sizes of the levels that changed after `previous_id`, up to and including `update_id`.

    `inclusive`: the venue (USD-M) applies an update that ends exactly on a snapshot's id, where others drop it.
    """

    time: float
    previous_id: int
    update_id: int
    bids: Levels
    asks: Levels
    inclusive: bool = False

    def apply(self, engine: Market, symbol: str) -> None:
        engine.on_depth(symbol, self.bids, self.asks, self.time, self.update_id)


class Quote(Struct, frozen=True, gc=False):
    """The best bid and ask."""

    time: float
    update_id: int
    bid: Decimal
    bid_size: Decimal
    ask: Decimal
    ask_size: Decimal

    def apply(self, engine: Market, symbol: str) -> None:
        engine.on_quote(symbol, self.bid, self.bid_size, self.ask, self.ask_size, self.time, self.update_id)


class Trade(Struct, frozen=True, gc=False):
    """One execution in the book. `aggressor` took, the other side rested."""

    time: float
    trade_id: int
    price: Decimal
    amount: Decimal
    aggressor: Literal["buy", "sell"]

    def apply(self, engine: Market, symbol: str) -> None:
        engine.on_trade(symbol, self.price, self.amount, self.aggressor, self.time)


class Gap(Struct, frozen=True, gc=False):
    """Depth is missing between `expected` and `found` (update ids): levels may be stale until the next Snapshot."""

    time: float
    line: int
    expected: int
    found: int
    reason: str

    def apply(self, engine: Market, symbol: str) -> None:
        """Nothing enters the engine: a gap is for whoever judges the result."""


Event = Snapshot | Depth | Quote | Trade | Gap
