"""The best prices of a symbol, exact."""

from __future__ import annotations

from decimal import Decimal

from msgspec import Struct

from Execution.matching.events import Quote


class Prices(Struct, frozen=True, gc=False):
    """None where unknown. `mark` is the middle where the source has no mark of its own."""

    bid: Decimal | None
    bid_size: Decimal | None
    ask: Decimal | None
    ask_size: Decimal | None
    last: Decimal | None
    mark: Decimal | None
    time: float | None


def prices_of(quote: Quote, last: Decimal | None) -> Prices:
    """Answer the prices of a quote; without a trade the last price is the middle."""
    middle = (quote.bid + quote.ask) / 2
    return Prices(quote.bid, quote.bid_size, quote.ask, quote.ask_size, last or middle, middle, quote.time)
