"""From one recorded line to one event: the venue's JSON, typed and checked.

Numbers arrive as JSON strings. Each distinct text is checked and converted once and then found again: prices and sizes
repeat so much that this costs no more than converting without looking.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Annotated, Literal

from msgspec import DecodeError, Meta, Struct, field
from msgspec.json import Decoder

from Execution.matching.events import Depth, Levels, Quote, Snapshot, Trade

Parser = Callable[[bytes, float], "Snapshot | Depth | Quote | Trade | None"]
Id = Annotated[int, Meta(ge=0)]
Texts = list[tuple[str, str]]

# What converting a line may raise; nesting deep enough to exhaust the decoder's stack is one of the hostile inputs.
BAD_LINE = (DecodeError, ValueError, RecursionError)
LONGEST = 40
REMEMBERED = 100_000
BODY = len("1723161255030314667 ")


class Numbers(dict[str, Decimal]):
    """Decimals by their text. Only plain ones: no sign, exponent, NaN, underscore or digit of another script."""

    zero = True

    def __missing__(self, text: str) -> Decimal:
        if not (len(text) <= LONGEST and text.isascii() and text.replace(".", "", 1).isdigit()):
            raise ValueError(f"{text[:LONGEST]!r} is not a plain decimal number")
        value = Decimal(text)
        if not value and not self.zero:
            raise ValueError(f"{text!r} must be greater than zero")
        if len(self) >= REMEMBERED:
            self.clear()
        self[text] = value
        return value


class Positive(Numbers):
    """The same, without zero."""

    zero = False


class _Quote(Struct, gc=False):
    u: Id
    b: str
    B: str
    a: str
    A: str


class _Trade(Struct, gc=False):
    t: Id
    p: str
    q: str
    m: bool
    e: Literal["trade"]
    X: str = "MARKET"


class _Depth(Struct, gc=False):
    U: Id
    u: Id
    b: Texts
    a: Texts
    e: Literal["depthUpdate"]
    pu: Id | None = None


class _QuoteLine(Struct, gc=False):
    data: _Quote


class _TradeLine(Struct, gc=False):
    data: _Trade


class _DepthLine(Struct, gc=False):
    data: _Depth


class _Snapshot(Struct, gc=False):
    update_id: Id = field(name="lastUpdateId")
    bids: Texts
    asks: Texts


class Head(Struct, gc=False):
    """Enough of any line to know what it is."""

    stream: str = ""
    update_id: int | None = field(default=None, name="lastUpdateId")


_decode_head = Decoder(Head).decode


def read_head(line: bytes) -> Head:
    return _decode_head(line[BODY:])


def parsers() -> dict[str, Parser]:
    """A parser for each kind of message; they share the numbers they have seen. None is a trade outside the book."""
    prices, sizes = Positive(), Numbers()
    return {
        "bookTicker": _quotes(prices, sizes),
        "trade": _trades(prices, Positive()),
        "depth": _depths(prices, sizes),
        "snapshot": _snapshots(prices, sizes),
    }


def _quotes(prices: Numbers, sizes: Numbers) -> Parser:
    decode = Decoder(_QuoteLine).decode

    def parse(line: bytes, now: float) -> Quote:
        data = decode(line[BODY:]).data
        bid, ask = prices[data.b], prices[data.a]
        if bid >= ask:
            raise ValueError(f"bid {bid} is not below ask {ask}")
        return Quote(now, data.u, bid, sizes[data.B], ask, sizes[data.A])

    return parse


def _trades(prices: Numbers, sizes: Numbers) -> Parser:
    decode = Decoder(_TradeLine).decode

    def parse(line: bytes, now: float) -> Trade | None:
        data = decode(line[BODY:]).data
        if data.X != "MARKET":
            return None
        return Trade(now, data.t, prices[data.p], sizes[data.q], "sell" if data.m else "buy")

    return parse


def _depths(prices: Numbers, sizes: Numbers) -> Parser:
    decode = Decoder(_DepthLine).decode

    def parse(line: bytes, now: float) -> Depth:
        data = decode(line[BODY:]).data
        inclusive = data.pu is not None
        previous = data.U - 1 if data.pu is None else data.pu
        if not previous < data.u or data.u < data.U:
            raise ValueError(f"update ids {previous}, {data.U}, {data.u} do not ascend")
        return Depth(now, previous, data.u, _levels(data.b, prices, sizes), _levels(data.a, prices, sizes), inclusive)

    return parse


def _snapshots(prices: Numbers, sizes: Numbers) -> Parser:
    decode = Decoder(_Snapshot).decode

    def parse(line: bytes, now: float) -> Snapshot:
        data = decode(line[BODY:])
        bids, asks = _levels(data.bids, prices, sizes), _levels(data.asks, prices, sizes)
        if bids and asks and max(bids)[0] >= min(asks)[0]:
            raise ValueError(f"bid {max(bids)[0]} is not below ask {min(asks)[0]}")
        return Snapshot(now, data.update_id, bids, asks)

    return parse


def _levels(texts: Texts, prices: Numbers, sizes: Numbers) -> Levels:
    return [(prices[price], sizes[size]) for price, size in texts]
