"""Candles of the paper venue: which ones are meant, and those made of trades."""

from __future__ import annotations

from Execution.common.errors import Refused
from Execution.common.types import Kline
from Execution.matching.events import Trade

_MINUTE = 60


def first_candle(seconds: int, start: float | None, limit: int, now: float) -> int:
    """Answer where the first candle asked for begins."""
    if start is None:
        return int(now) // seconds * seconds - (limit - 1) * seconds
    return -(-int(start) // seconds) * seconds


def kline(begin: float, prices: list[float], volume: float, *, closed: bool) -> Kline:
    """Answer a candle from the prices in it, in their order."""
    return {
        "timestamp": float(begin),
        "open": prices[0],
        "high": max(prices),
        "low": min(prices),
        "close": prices[-1],
        "volume": volume,
        "closed": closed,
    }


class Bars:
    """One-minute bars of trades, given out in any whole number of minutes."""

    def __init__(self) -> None:
        self._bars: dict[int, list[float]] = {}

    def add(self, trade: Trade) -> None:
        """Take in a trade."""
        minute = int(trade.time) // _MINUTE
        price, amount = float(trade.price), float(trade.amount)
        bar = self._bars.get(minute)
        if bar is None:
            self._bars[minute] = [price, price, price, price, amount]
            return
        bar[1] = max(bar[1], price)
        bar[2] = min(bar[2], price)
        bar[3] = price
        bar[4] += amount

    def klines(self, seconds: int, start: float | None, limit: int, now: float) -> list[Kline]:
        """Answer the candles that have trades, oldest first."""
        if seconds % _MINUTE:
            raise Refused("NOT_SUPPORTED", "recorded prices have candles of one minute and longer")
        first = first_candle(seconds, start, limit, now)
        groups: dict[int, list[list[float]]] = {}
        for minute, bar in self._bars.items():
            begin = minute * _MINUTE // seconds * seconds
            if first <= begin < first + limit * seconds and begin <= now:
                groups.setdefault(begin, []).append(bar)
        return [_joined(begin, bars, closed=begin + seconds <= now) for begin, bars in sorted(groups.items())]


def _joined(begin: int, bars: list[list[float]], *, closed: bool) -> Kline:
    prices = [bars[0][0], max(bar[1] for bar in bars), min(bar[2] for bar in bars), bars[-1][3]]
    return kline(begin, prices, sum(bar[4] for bar in bars), closed=closed)
