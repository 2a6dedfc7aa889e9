"""Recordings as a price source: a CSV of candles, or a recorded stream, played against the wall clock.

The first moment of the recording is the account's first use (or its last reset), so every process is at the same place
of it. Every symbol that is traded plays the same file. At its end the last prices stay, and answers say so.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import TypeVar

from msgspec.structs import replace

from Execution.common import log
from Execution.common.errors import Refused
from Execution.common.types import Kline
from Execution.matching import candles, feed
from Execution.matching.events import Event, Market, Trade
from Execution.matching.model import Spec
from Execution.simulation.account_store import MarketRow
from Execution.simulation.klines import Bars
from Execution.simulation.prices import Prices

T = TypeVar("T")
FAULTS = (feed.FeedError, candles.CandleError, ValueError)


class Player:
    """One symbol's pass over the recording, shifted to begin at `epoch`, `speed` times as fast."""

    def __init__(self, symbol: str, events: Iterator[Event], epoch: float, speed: float) -> None:
        self.bars = Bars()
        self.ended = ""
        self._symbol = symbol
        self._events = events
        self._epoch, self._speed = epoch, speed
        self._next = self._following()
        self.began = self._next is not None
        self._start = self._next.time if self._next else 0.0

    def play(self, market: Market, until: float) -> None:
        """Show everything up to a moment."""
        while self._next is not None:
            moment = self._epoch + (self._next.time - self._start) / self._speed
            if moment > until:
                return
            event = replace(self._next, time=moment)
            event.apply(market, self._symbol)
            if isinstance(event, Trade):
                self.bars.add(event)
            self._next = self._following()

    def _following(self) -> Event | None:
        try:
            found = next(self._events, None)
        except FAULTS as error:
            log.warning(f"the recording ends early: {error}")
            self.ended = f"the recording ended early: {error}"
            return None
        if found is None:
            self.ended = "the recording has ended"
        return found


class RecordedSource:
    """See the module."""

    remote = settable = False

    def __init__(self, label: str, read: Callable[[str], Iterator[Event]], speed: float) -> None:
        self.label = label
        self._read = read
        self._epoch, self._speed = 0.0, speed
        self._players: dict[str, Player] = {}

    @property
    def remark(self) -> str:
        """Answer what must be known about these prices."""
        players = self._players.values()
        return next((player.ended for player in players if player.began and player.ended), "")

    def fetch(self, _symbol: str, _now: float) -> None:
        """Nothing to get."""

    def restart(self, epoch: float) -> None:
        """Play from the beginning."""
        self._epoch = epoch
        self._players.clear()

    def set_market(self, _rows: Mapping[str, MarketRow]) -> None:
        """Nothing is set by hand here."""

    def play(self, market: Market, symbols: Collection[str], _since: float, now: float) -> None:
        """Show what was recorded up to now."""
        for symbol in symbols:
            player = self._players.get(symbol)
            if player is None:
                player = self._players[symbol] = Player(symbol, self._read(symbol), self._epoch, self._speed)
            player.play(market, now)

    def prices(self, _symbol: str, _now: float) -> Prices | None:
        """The engine's book knows."""
        return None

    def klines(self, symbol: str, seconds: int, start: float | None, limit: int, now: float) -> list[Kline]:
        """Answer candles of the trades played so far."""
        player = self._players.get(symbol)
        return [] if player is None else player.bars.klines(seconds, start, limit, now)


def from_candles(text: str, specs: Mapping[str, Spec]) -> RecordedSource:
    """Answer the source `candles:<path>[@speed]`."""
    path, speed = _path_and_speed(text, "candles")
    first = _checked(lambda: list(islice(candles.read_candles(path), 2)), path)
    if len(first) < 2:
        raise Refused("CONFIGURATION", f"PAPER_SOURCE: {path} holds fewer than two candles")
    interval = first[1].time - first[0].time

    def read(symbol: str) -> Iterator[Event]:
        return candles.replay(candles.read_candles(path), interval=interval, tick=specs[symbol].tick)

    return RecordedSource(f"candles of {Path(path).name}", read, speed)


def from_stream(text: str) -> RecordedSource:
    """Answer the source `replay:<path>[@speed]`."""
    path, speed = _path_and_speed(text, "replay")

    def read(symbol: str) -> Iterator[Event]:
        return iter(feed.read(path, symbol=symbol))

    return RecordedSource(f"replay of {Path(path).name}", read, speed)


def _checked(read: Callable[[], T], path: str) -> T:
    try:
        return read()
    except FAULTS as error:
        raise Refused("CONFIGURATION", f"PAPER_SOURCE: {path} cannot be read: {error}") from None


def _path_and_speed(text: str, kind: str) -> tuple[str, float]:
    path, at, speed = text.rpartition("@")
    if not at or "/" in speed:
        path, speed = text, "1"
    try:
        factor = float(speed)
    except ValueError:
        factor = 0.0
    if not 0 < factor < float("inf"):
        raise Refused("CONFIGURATION", f"PAPER_SOURCE {kind}: the speed must be a number above zero, not {speed!r:.40}")
    found = Path(path).expanduser()
    if not found.is_file():
        raise Refused("CONFIGURATION", f"PAPER_SOURCE {kind}: there is no file {path}")
    return str(found), factor
