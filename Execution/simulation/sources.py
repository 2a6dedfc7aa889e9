"""Where the paper venue's prices come from: one small Protocol, and the setting PAPER_SOURCE that chooses.

    random                   a seeded walk (PAPER_SEED); the default, needs nothing, and every answer says so
    fixed                    what `paper.set_price` says, kept in the account's file
    candles:<path>[@speed]   a CSV of candles, played against the wall clock from the account's first use on
    replay:<path>[@speed]    a recorded stream, the same, `speed` times as fast
    venue:<name>             another venue's public get_ticker

A source is asked twice: `fetch` may take its time and holds no lock, `play` brings the engine to a moment and waits
for nothing. Several processes on one account play the same prices; what one of them has played and committed, the
others only look at (`market` is then an onlooker, see matching/adopt.py).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from decimal import Decimal
from typing import Protocol

from Execution.common import clock
from Execution.common.errors import ExecutionError, Refused
from Execution.common.precision import ZERO, exact
from Execution.common.types import Envelope, Kline
from Execution.matching.events import Market, Quote
from Execution.matching.model import Spec
from Execution.matching.walk import Walk
from Execution.simulation import recorded
from Execution.simulation.account_store import MarketRow
from Execution.simulation.klines import first_candle, kline
from Execution.simulation.prices import Prices, prices_of

ticker_of: Callable[[str, str], Envelope] | None = None
"""Asks another venue for its ticker; set by the registry, since a venue may not import another."""

_VENUE_MAX_AGE = 0.5
_EVERY_SECOND = 3600  # of the walk, for so many seconds; what happened before is played in longer and longer strides
_WALK_NOTIONAL = 500_000.0
_SAMPLES = 16
_ANY_SIZE = exact("1e9")


class Source(Protocol):
    """What the paper account asks of its prices."""

    @property
    def label(self) -> str:
        """Answer what kind of prices these are."""
        ...

    @property
    def remark(self) -> str:
        """Answer what every answer must say about them, or ""."""
        ...

    remote: bool
    """Whether `fetch` has anything to do."""
    settable: bool
    """Whether prices are set by hand, perhaps by another process."""

    def fetch(self, symbol: str, now: float, /) -> None:
        """Get what `play` and `prices` will need, outside of every lock."""
        ...

    def restart(self, epoch: float, /) -> None:
        """Begin with an engine that has seen nothing; a recording began at `epoch`."""
        ...

    def play(self, market: Market, symbols: Collection[str], since: float, now: float, /) -> None:
        """Bring these symbols from one moment to another; what is already shown is not shown again."""
        ...

    def set_market(self, rows: Mapping[str, MarketRow], /) -> None:
        """Take over what was set by hand."""
        ...

    def prices(self, symbol: str, now: float, /) -> Prices | None:
        """Answer the best prices, or None where only the engine's book knows them."""
        ...

    def klines(self, symbol: str, seconds: int, start: float | None, limit: int, now: float, /) -> list[Kline]:
        """Answer candles, oldest first."""
        ...


class _Steps(Mapping[str, Decimal]):
    """The ticks or lots of what is listed, now or later."""

    def __init__(self, specs: Mapping[str, Spec], step: Callable[[Spec], Decimal]) -> None:
        self._specs, self._step = specs, step

    def __getitem__(self, symbol: str) -> Decimal:
        return self._step(self._specs[symbol])

    def __iter__(self) -> Iterator[str]:
        return iter(self._specs)

    def __len__(self) -> int:
        return len(self._specs)


class RandomSource:
    """The seeded walk: the same for every process, computable for any second."""

    remote = settable = False

    def __init__(self, seed: int, specs: Mapping[str, Spec]) -> None:
        self.label = f"random walk, seed {seed}"
        self.remark = f"simulated prices ({self.label})"
        self._walk = Walk(
            seed,
            ticks=_Steps(specs, lambda spec: spec.tick),
            lots=_Steps(specs, lambda spec: spec.lot),
        )
        self._shown: dict[str, int] = {}
        self._prices: dict[str, tuple[int, Prices]] = {}

    def fetch(self, _symbol: str, _now: float) -> None:
        """Nothing to get."""

    def restart(self, _epoch: float) -> None:
        """Show the present second anew."""
        self._shown.clear()

    def set_market(self, _rows: Mapping[str, MarketRow]) -> None:
        """Nothing is set by hand here."""

    def play(self, market: Market, symbols: Collection[str], since: float, now: float) -> None:
        """Show every second since; a symbol that nothing depended on starts with the present one."""
        step, shown = int(now), self._shown
        behind = [symbol for symbol in symbols if shown.get(symbol, -1) < step]
        if not behind:
            return
        first = min((shown[symbol] + 1 for symbol in behind if symbol in shown), default=step)
        for second in _seconds(max(first, int(since) + 1), step):
            for symbol in behind:
                if second == step or shown.get(symbol, step) < second:
                    for event in self._walk.quotes(symbol, second, second + 1, notional=_WALK_NOTIONAL):
                        event.apply(market, symbol)
        shown.update(dict.fromkeys(behind, step))

    def prices(self, symbol: str, now: float) -> Prices:
        """Answer the walk's best prices at this second."""
        step = int(now)
        found = self._prices.get(symbol)
        if found is None or found[0] != step:
            *_, last = self._walk.quotes(symbol, step, step + 1, notional=_WALK_NOTIONAL)
            assert isinstance(last, Quote)
            found = self._prices[symbol] = step, prices_of(last, self._walk.price(symbol, step))
        return found[1]

    def klines(self, symbol: str, seconds: int, start: float | None, limit: int, now: float) -> list[Kline]:
        """Answer candles of the walk; a high or low is that of some twenty moments inside the candle."""
        first = first_candle(seconds, start, limit, now)
        price = self._walk.price
        found: list[Kline] = []
        for begin in range(first, min(first + limit * seconds, int(now) + 1), seconds):
            end = min(begin + seconds, int(now))
            moments = sorted({begin + (end - begin) * n // _SAMPLES for n in range(_SAMPLES + 1)})
            prices = [float(price(symbol, moment)) for moment in moments]
            volume = _WALK_NOTIONAL * (end - begin) / 60 / prices[0]
            found.append(kline(begin, prices, round(volume, 4), closed=begin + seconds <= now))
        return found


def _seconds(first: int, last: int) -> Iterator[int]:
    """Answer the seconds from first to last: all of the last hour, fewer the longer they are ago."""
    present = max(last, int(clock.now()))
    while first < last:
        yield first
        first += 1 + (present - first) // _EVERY_SECOND
    yield last


class FixedSource:
    """Prices stand where `paper.set_price` has put them."""

    label = "fixed"
    remark = ""
    remote, settable = False, True

    def __init__(self) -> None:
        self._rows: dict[str, MarketRow] = {}
        self._prices: dict[str, Prices] = {}
        self._pending: dict[str, MarketRow] = {}

    def fetch(self, _symbol: str, _now: float) -> None:
        """Nothing to get."""

    def restart(self, _epoch: float) -> None:
        """Forget what was set: it is told again."""
        self._rows.clear()
        self._prices.clear()
        self._pending.clear()

    def set_market(self, rows: Mapping[str, MarketRow]) -> None:
        """Take over prices; those that changed are shown at the next play."""
        for symbol, row in rows.items():
            if row.bid is not None and self._rows.get(symbol) != row:
                self._rows[symbol] = self._pending[symbol] = row
                self._prices[symbol] = prices_of(_row_quote(row, 0.0), row.last)

    def play(self, market: Market, _symbols: Collection[str], _since: float, now: float) -> None:
        """Show the prices that were set since the last time."""
        while self._pending:
            symbol, row = self._pending.popitem()
            quote = _row_quote(row, now)
            quote.apply(market, symbol)
            market.on_trade(symbol, row.last or (quote.bid + quote.ask) / 2, ZERO, "buy", now)

    def prices(self, symbol: str, now: float) -> Prices | None:
        """Answer what was set, if anything was."""
        p = self._prices.get(symbol)
        return None if p is None else Prices(p.bid, p.bid_size, p.ask, p.ask_size, p.last, p.mark, now)

    def klines(self, symbol: str, seconds: int, start: float | None, limit: int, now: float) -> list[Kline]:
        """Answer flat candles: a price that stands still has no other history."""
        prices = self.prices(symbol, now)
        if prices is None or prices.last is None:
            return []
        first = first_candle(seconds, start, limit, now)
        price = float(prices.last)
        begins = range(first, min(first + limit * seconds, int(now) + 1), seconds)
        return [kline(begin, [price], 0.0, closed=begin + seconds <= now) for begin in begins]


class VenueSource:
    """Another venue's public ticker, asked at most twice a second for each symbol."""

    remark = ""
    remote, settable = True, False

    def __init__(self, name: str) -> None:
        self.label = f"live prices of {name}"
        self._name = name
        self._quotes: dict[str, Quote] = {}
        self._shown: dict[str, float] = {}

    def fetch(self, symbol: str, now: float) -> None:
        """Ask for what is out of date."""
        known = self._quotes.get(symbol)
        if known is None or not 0 <= now - known.time < _VENUE_MAX_AGE:
            self._quotes[symbol] = self._ask(symbol, now)

    def restart(self, _epoch: float) -> None:
        """Show the last quotes anew."""
        self._shown.clear()

    def set_market(self, _rows: Mapping[str, MarketRow]) -> None:
        """Nothing is set by hand here."""

    def play(self, market: Market, symbols: Collection[str], _since: float, _now: float) -> None:
        """Show quotes that were fetched since the last time."""
        for symbol in symbols:
            quote = self._quotes.get(symbol)
            if quote is not None and quote.time > self._shown.get(symbol, 0.0):
                self._shown[symbol] = quote.time
                quote.apply(market, symbol)

    def prices(self, symbol: str, _now: float) -> Prices | None:
        """Answer what was fetched."""
        quote = self._quotes.get(symbol)
        return None if quote is None else prices_of(quote, None)

    def klines(self, _symbol: str, _seconds: int, _start: float | None, _limit: int, _now: float) -> list[Kline]:
        """Refused: only the ticker is borrowed."""
        raise Refused("NOT_SUPPORTED", f"paper has no candles while its prices come from {self._name}")

    def _ask(self, symbol: str, now: float) -> Quote:
        if ticker_of is None:
            raise Refused("CONFIGURATION", f"PAPER_SOURCE venue:{self._name} works through the registry only")
        answer = ticker_of(self._name, symbol)
        if not answer["success"]:
            error = answer["data"]["error"]
            raise ExecutionError(error, f"no price for {symbol}: {answer['message']}", outcome="not_sent")
        data = answer["data"]
        if not (data["bid"] and data["ask"] and data["bid"] < data["ask"]):
            raise Refused("VENUE_DOWN", f"{self._name} shows no two-sided market for {symbol}")
        size = exact(data["bid_size"] or 1e9), exact(data["ask_size"] or 1e9)
        return Quote(now, 0, exact(data["bid"]), size[0], exact(data["ask"]), size[1])


def make(text: str, seed: int, specs: Mapping[str, Spec]) -> Source:
    """Answer the source that PAPER_SOURCE names.

    Raises:
        Refused: CONFIGURATION, naming what is wrong.
    """
    kind, _, rest = text.strip().partition(":")
    if kind == "random" and not rest:
        return RandomSource(seed, specs)
    if kind == "fixed" and not rest:
        return FixedSource()
    if kind == "candles" and rest:
        return recorded.from_candles(rest, specs)
    if kind == "replay" and rest:
        return recorded.from_stream(rest)
    if kind == "venue" and rest and rest.lower() != "paper":
        return VenueSource(rest)
    raise Refused(
        "CONFIGURATION",
        "PAPER_SOURCE must be random, fixed, candles:<path>[@speed], replay:<path>[@speed] or venue:<name>, "
        f"not {text!r:.120}",
    )


def _row_quote(row: MarketRow, now: float) -> Quote:
    assert row.bid is not None
    assert row.ask is not None
    size = row.size or _ANY_SIZE
    return Quote(now, 0, row.bid, size, row.ask, size)
