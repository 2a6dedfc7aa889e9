"""Recorded market data: one `<local receive time, ns> <JSON>` per line, gzip or plain, as exact events.

The JSON is what Binance sends on a combined stream (USD-M or spot): `depth`, `trade`, `bookTicker`, and REST depth
snapshots between them. Time is when we received the message, never when the venue says it happened: a strategy cannot
have known it earlier.

    feed = read("btcusdt.gz", symbol="BTC-USDT-SWAP")
    for event in feed:
        event.apply(engine, "BTC-USDT-SWAP")
    feed.skipped, feed.reasons, feed.gaps, feed.ignored

What becomes of bad input:

- A line that is no message (not JSON, a wrong type, a number that is not a plain decimal, a price or trade of zero, a
  crossed quote) is skipped and counted in `skipped`; the first reasons are kept in `reasons`. After `max_skipped`
  such lines the file is refused.
- A stamp up to a second before its predecessor is a clock being corrected: the event takes the later time, `clamped`
  counts. Further back is a bad line. So is a single leap forward by more than a day; two in a row are a pause.
- Streams that were not asked for are counted by name in `ignored`, trades outside the book (liquidations taken over by
  the venue) in `off_book`, depth older than the book in `stale`.
- A file that is cut, damaged or without a message of the symbol gives every event before the fault, then raises
  FeedError. Damaged gzip shows only where it no longer unpacks, or at its end, where the checksum is.
- Depth before the first snapshot waits for it; the venue's rule decides what is older and what bridges. A hole in the
  update ids is yielded as a Gap. Depth after it is still delivered, since its sizes are absolute, and once more on
  top of the next snapshot.

Source: Binance API documentation, "How to manage a local order book correctly".
"""

from __future__ import annotations

import gzip
import io
import re
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from Execution.matching.continuity import Continuity
from Execution.matching.events import Depth, Event, Gap, Levels, Market, Quote, Snapshot, Trade
from Execution.matching.wire import BAD_LINE, Parser, parsers, read_head

__all__ = ["Depth", "Event", "Feed", "FeedError", "Gap", "Levels", "Market", "Quote", "Snapshot", "Trade", "read"]

CHUNK: Final = 1 << 17
LONGEST_LINE: Final = 1 << 24
REASONS: Final = 10
NAMES: Final = 100
BACK: Final = 1.0
LEAP: Final = 86_400.0

_NAMED = re.compile(rb' \{"stream": ?"[^"\\]{1,100}"')
_CHANNEL = re.compile(r"(bookTicker|trade|depth)(@[0-9]+ms)?", re.ASCII)


class FeedError(Exception):
    """The recording cannot be read further. What came before it stands, unless the checksum is what failed."""

    def __init__(self, path: Path, line: int, what: str) -> None:
        super().__init__(f"{path}, line {line}: {what}")
        self.path, self.line, self.what = path, line, what


class Feed:
    """One pass over one recording: iterate for the events, read the counters at any time."""

    def __init__(self, path: Path, venue_symbol: str, max_skipped: int) -> None:
        self.path = path
        self.line = 0
        self.time = 0.0
        self.skipped = self.clamped = self.off_book = 0
        self.reasons: list[str] = []
        self.ignored: Counter[str] = Counter()
        self._symbol = venue_symbol
        self._max_skipped = max_skipped
        self._book = Continuity()
        self._parse = parsers()
        self._direct: dict[bytes, Parser] = {}
        self._streams: dict[bytes, str] = {}
        self._heard = self._unended = False
        self._leapt = 0.0
        self._iterator = self._guarded()

    @property
    def gaps(self) -> int:
        return self._book.gaps

    @property
    def stale(self) -> int:
        return self._book.stale

    def __iter__(self) -> Iterator[Event]:
        return self._iterator

    def __next__(self) -> Event:
        return next(self._iterator)

    def _guarded(self) -> Iterator[Event]:
        fault: FeedError | None = None
        try:
            yield from self._messages()
        except FeedError as error:
            fault = error
        except EOFError:
            fault = self._fault("the compressed file is cut off")
        except (OSError, zlib.error) as error:
            fault = self._fault(f"cannot be read: {error}")
        yield from self._book.end(self.time, self.line)
        if fault is None and not self._heard:
            wanted = self._symbol or "any symbol"
            fault = self._fault(f"no message of {wanted}; streams ignored: {sorted(self.ignored)}")
        if fault is not None:
            raise fault

    def _messages(self) -> Iterator[Event]:
        direct = self._direct.get
        for lines in self._blocks():
            for line in lines:
                self.line += 1
                try:
                    stamp = line[:19]
                    now = int(stamp) / 1e9
                    if not (self.time <= now <= self.time + LEAP and stamp.isdigit()):
                        now = self._settled(stamp, now)
                    parse = direct(line[19 : line.find(b",", 20)])
                    if parse is None:
                        events = self._other(line, now)
                    else:
                        event = parse(line, now)
                except BAD_LINE as error:
                    self._skip(line, error)
                    continue
                self.time = now
                if parse is None:
                    yield from events
                elif event is None:
                    self.off_book += 1
                else:
                    yield event

    def _blocks(self) -> Iterator[list[bytes]]:
        rest = b""
        with _open(self.path) as file:
            while chunk := file.read1(CHUNK):
                lines = (rest + chunk).split(b"\n")
                rest = lines.pop()
                yield lines
                if len(rest) > LONGEST_LINE:
                    raise self._fault(f"the line after it is longer than {LONGEST_LINE} bytes")
        if rest:
            self._unended = True
            yield [rest]

    def _other(self, line: bytes, now: float) -> Iterable[Event]:
        """Everything but the quotes and trades of streams already known."""
        key = line[19 : line.find(b",", 20)]
        stream = self._streams.get(key) or _stream(line)
        kind, symbol = _kind(stream)
        if not kind or (symbol and self._symbol not in ("", symbol)):
            self._ignore(stream)
            return ()
        event = self._parse[kind](line, now)
        self._heard = True
        self._symbol = self._symbol or symbol
        self._learn(key, stream, kind)
        if isinstance(event, Snapshot):
            return self._book.snapshot(event, self.line)
        if isinstance(event, Depth):
            return self._book.depth(event, self.line)
        self.off_book += event is None
        return () if event is None else (event,)

    def _learn(self, key: bytes, stream: str, kind: str) -> None:
        if len(self._streams) < NAMES and _NAMED.fullmatch(key):
            self._streams[key] = stream
            if kind in ("bookTicker", "trade"):
                self._direct[key] = self._parse[kind]

    def _ignore(self, stream: str) -> None:
        self.ignored[stream if stream in self.ignored or len(self.ignored) < NAMES else "others"] += 1

    def _settled(self, stamp: bytes, now: float) -> float:
        if not stamp.isdigit() or len(stamp) != 19:
            raise ValueError("no receive time of 19 digits")
        if self.time - BACK <= now < self.time:
            self.clamped += 1
            return self.time
        if now < self.time:
            raise ValueError(f"time goes back by {self.time - now:.3f} s")
        if self.time and not self._leapt <= now <= self._leapt + LEAP:
            self._leapt = now
            raise ValueError(f"time leaps forward by {now - self.time:.0f} s")
        return now

    def _skip(self, line: bytes, error: Exception) -> None:
        if not line.strip():
            return
        if self._unended:
            raise self._fault(f"cut off in the middle of a message: {error}")
        self.skipped += 1
        if len(self.reasons) < REASONS:
            self.reasons.append(f"line {self.line}: {error}")
        if self.skipped > self._max_skipped:
            raise self._fault(f"more than {self._max_skipped} bad lines; the first: {self.reasons[0]}")

    def _fault(self, what: str) -> FeedError:
        return FeedError(self.path, self.line, what)


def read(path: str | Path, *, symbol: str = "", max_skipped: int = 1_000) -> Feed:
    """Open a recording; events come as they are iterated, never more than a block of the file is held.

    Args:
        symbol: Whose messages to give: "BTC-USDT", "BTC-USDT-SWAP", "BTC/USDT:USDT" or the venue's own "BTCUSDT".
            Empty: that of the first stream in the file.
        max_skipped: How many bad lines are still a recording.
    """
    return Feed(Path(path), _venue_symbol(symbol), max_skipped)


def _venue_symbol(symbol: str) -> str:
    pair = symbol.partition(":")[0].removesuffix("-SWAP")
    return pair.replace("-", "").replace("/", "").lower()


def _stream(line: bytes) -> str:
    head = read_head(line)
    if head.update_id is None and not head.stream:
        raise ValueError("neither a stream nor a snapshot")
    return head.stream


def _kind(stream: str) -> tuple[str, str]:
    """What a stream carries ("" for what we do not read) and whose it is. Only the snapshot has no stream."""
    if not stream:
        return "snapshot", ""
    symbol, _, channel = stream.partition("@")
    known = _CHANNEL.fullmatch(channel)
    return (known[1] if known else ""), symbol.lower()


def _open(path: Path) -> gzip.GzipFile | io.BufferedReader:
    with path.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    return gzip.open(path) if packed else path.open("rb")
