"""Candles from CSV, and the cautious path of quotes and trades that a matching engine is shown for each of them."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Final, Literal, NoReturn

from msgspec import Struct

from Execution.matching.events import Quote, Trade

PRICES: Final = ("open", "high", "low", "close")
TIMES: Final = ("timestamp", "datetime", "time", "date")
EPOCHS: Final = {10: 1, 13: 10**3, 16: 10**6, 19: 10**9}
LONGEST: Final = 40
# Where in a candle its four prices are shown. The close is known only when the candle ends.
MOMENTS: Final = (0.0, 1 / 3, 2 / 3, 0.999)


class CandleError(Exception):
    """The candles cannot be trusted. Names the file, the line, the field and its value."""

    def __init__(self, path: Path, line: int, field: str, value: str, what: str) -> None:
        super().__init__(f"{path}, line {line}: {field} {value!r} {what}")
        self.path, self.line, self.field, self.value, self.what = path, line, field, value, what


class Candle(Struct, frozen=True, gc=False):
    """What was traded from `time` on, for one interval."""

    time: float
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal


def read_candles(path: str | Path) -> Iterator[Candle]:
    """Give the candles of a CSV file with a header, one by one; the first wrong one raises CandleError.

    Columns go by name, in any order and case: timestamp (datetime, time, date), open, high, low, close, volume; others
    are left alone. Times are ISO, UTC unless they say otherwise, or digits since 1970 (s, ms, us or ns by their
    number), and must increase; a pause between two candles is none of our business. They are taken as the start of the
    candle: were they its end, the candle would be played late, which gives nothing away.
    """
    return _Table(Path(path)).candles()


class _Table:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.line = 0
        self.row: dict[str, str] = {}

    def candles(self) -> Iterator[Candle]:
        last = float("-inf")
        try:
            for row in self._rows():
                self.row = row
                candle = self._candle()
                if candle.time <= last:
                    self._refuse(self._time_column, "is not later than the candle before it")
                last = candle.time
                yield candle
        except (OSError, UnicodeError, csv.Error) as error:
            raise CandleError(self.path, self.line, "file", self.path.name, f"cannot be read: {error}") from error

    def _rows(self) -> Iterator[dict[str, str]]:
        with self.path.open(encoding="utf-8-sig", newline="") as file:
            table = csv.reader(file)
            header = [name.strip().lower() for name in next(table, [])]
            self._check(header)
            for values in table:
                self.line = table.line_num
                if values and len(values) != len(header):
                    raise CandleError(self.path, self.line, "row", ",".join(values), f"has not {len(header)} fields")
                if values:
                    yield dict(zip(header, values, strict=True))

    def _check(self, header: list[str]) -> None:
        self.line = 1
        self._time_column = next((name for name in TIMES if name in header), TIMES[0])
        for name in (self._time_column, *PRICES, "volume"):
            if header.count(name) != 1:
                raise CandleError(self.path, 1, "header", ",".join(header), f"must have one column {name}")

    def _candle(self) -> Candle:
        volume = self._number("volume")
        prices = {name: self._number(name) for name in PRICES}
        for name, price in prices.items():
            if not price:
                self._refuse(name, "must be greater than zero")
            if price > prices["high"]:
                self._refuse(name, f"is above the high {prices['high']}")
            if price < prices["low"]:
                self._refuse(name, f"is below the low {prices['low']}")
        return Candle(self._time(), **prices, volume=volume)

    def _number(self, name: str) -> Decimal:
        text = self.row[name].strip()
        if not (len(text) <= LONGEST and text.isascii() and text.replace(".", "", 1).isdigit()):
            self._refuse(name, "is not a plain decimal number")
        return Decimal(text)

    def _time(self) -> float:
        text = self.row[self._time_column].strip()
        if text.isascii() and text.isdigit() and len(text) in EPOCHS:
            return int(text) / EPOCHS[len(text)]
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            self._refuse(self._time_column, "is not a time")
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()

    def _refuse(self, name: str, what: str) -> NoReturn:
        raise CandleError(self.path, self.line, name, self.row[name], what)


def path(candle: Candle) -> list[tuple[Decimal, Decimal, float]]:
    """Give (price, volume, part of the interval that has passed) for each price the candle is taken to have visited.

    Open, then the extreme nearer to it, then the other, then close; where both are equally near, first the one the
    close turned away from. A quarter of the volume is traded at each; equal neighbours are one visit, at the earlier
    moment.
    """
    up, down = candle.high - candle.open, candle.open - candle.low
    low_first = down < up or (down == up and candle.close >= candle.open)
    extremes = (candle.low, candle.high) if low_first else (candle.high, candle.low)
    share = candle.volume / 4
    visits: list[tuple[Decimal, Decimal, float]] = []
    for price, moment in zip((candle.open, *extremes, candle.close), MOMENTS, strict=True):
        if visits and visits[-1][0] == price:
            visits[-1] = (price, visits[-1][1] + share, visits[-1][2])
        else:
            visits.append((price, share, moment))
    return visits


def replay(
    candles: Iterable[Candle], *, interval: float, tick: Decimal, depth: Decimal = Decimal("0.05")
) -> Iterator[Quote | Trade]:
    """Turn candles into quotes and trades, as little favourable to our orders as the candles allow.

    The model: a candle is its `path`, and each visit is a quote, then one trade at the visited price. The price that
    moved up was bought at the ask, the price that moved down was sold at the bid; the other side is one tick away.
    Nothing trades between two visits, so an order fills only from the candle that is being played, and never because a
    later one says so; at an extreme only what trades there reaches it. The trades of a candle add up to its volume.

    Depth is `depth` x the volume of the last candle that is over, because nobody knows the volume of one that is not;
    the first candle has only its own. What the model gives away all the same: once the path has turned, the extreme
    behind it is known to hold until the next candle.

    Args:
        interval: Seconds a candle lasts; candles closer together than this are refused.
        tick: The spread.
        depth: Size of the best bid and ask, as a fraction of volume.
    """
    if interval <= 0 or tick <= 0 or depth <= 0:
        raise ValueError(f"interval {interval}, tick {tick} and depth {depth} must be greater than zero")
    player = _Player(tick)
    ended, size = float("-inf"), Decimal(0)
    for candle in candles:
        if candle.time < ended - interval * 1e-6:
            raise ValueError(f"the candle at {candle.time} starts before the one of {interval} s before it ends")
        if candle.low <= tick:
            raise ValueError(f"low {candle.low} is within one tick {tick} of zero")
        yield from player.play(candle, interval, size or candle.volume * depth)
        ended, size = candle.time + interval, candle.volume * depth or size


class _Player:
    def __init__(self, tick: Decimal) -> None:
        self.tick = tick
        self.price = Decimal(0)
        self.aggressor: Literal["buy", "sell"] = "buy"
        self.count = 0

    def play(self, candle: Candle, interval: float, size: Decimal) -> Iterator[Quote | Trade]:
        for price, volume, moment in path(candle):
            if price != self.price:
                self.aggressor = "buy" if price > self.price else "sell"
            self.price = price
            self.count += 1
            now = candle.time + interval * moment
            bid = price - self.tick if self.aggressor == "buy" else price
            yield Quote(now, self.count, bid, size, bid + self.tick, size)
            if volume:
                yield Trade(now, self.count, price, volume, self.aggressor)
