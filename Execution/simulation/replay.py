"""A recorded stream as the market of the paper account, in simulated time, as fast as the strategy can follow.

    for event in replay("btcusdt.gz", "BTC-USDT-SWAP"):
        if isinstance(event, Quote) and ...:
            paper.place_limit_order("BTC-USDT-SWAP", "buy", 0.01, price)

The package's clock shows the time of the event. Orders are durable when they are answered, as ever; what the market
then does to them is written with the next call, every few hundred changes, and at the end. The account belongs to the
replay while it runs: a commit of another process ends it with an error.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from itertools import chain
from pathlib import Path

from Execution.common import clock, symbols
from Execution.common.clock import ManualClock
from Execution.common.errors import Refused, StoreError
from Execution.common.types import Kline
from Execution.matching.events import Event, Market, Trade
from Execution.matching.feed import Feed, FeedError, read
from Execution.simulation.account import current
from Execution.simulation.account_store import MarketRow
from Execution.simulation.klines import Bars
from Execution.simulation.paper_account import PaperAccount
from Execution.simulation.prices import Prices

_CHANGES = 500


class HandDriven:
    """The source while a replay runs: the replay shows the market itself."""

    remark = ""
    remote = settable = False

    def __init__(self, label: str) -> None:
        self.label = label
        self.bars = Bars()

    def fetch(self, _symbol: str, _now: float) -> None:
        """Nothing to get."""

    def restart(self, _epoch: float) -> None:
        """The replay ends where its engine is lost."""

    def set_market(self, _rows: Mapping[str, MarketRow]) -> None:
        """Nothing is set by hand here."""

    def play(self, _market: Market, _symbols: Collection[str], _since: float, _now: float) -> None:
        """Everything up to now is shown already."""

    def prices(self, _symbol: str, _now: float) -> Prices | None:
        """The engine's book knows."""
        return None

    def klines(self, _symbol: str, seconds: int, start: float | None, limit: int, now: float) -> list[Kline]:
        """Answer candles of the trades replayed so far."""
        return self.bars.klines(seconds, start, limit, now)


def replay(path: str | Path, symbol: str) -> Iterator[Event]:
    """Play a recording on the paper account in force, and give each event after the engine has seen it.

    Raises:
        Refused: CONFIGURATION, where the file is missing or holds nothing of the symbol; INVALID_SYMBOL.
        FeedError: the recording is damaged; what came before the damage has been played.
        StoreError: the account could not be written, or another process traded on it.
    """
    account = current()
    name = symbols.normalize(symbol, account.default_market)
    account.spec(name)
    if not Path(path).is_file():
        raise Refused("CONFIGURATION", f"replay: there is no file {path}")
    feed = read(path, symbol=name)
    try:
        first = next(feed, None)
    except FeedError as error:
        raise Refused("CONFIGURATION", f"replay: {error}") from None
    if first is None:
        return iter(())
    return _driven(account, name, first, feed, HandDriven(f"replay of {Path(path).name}"))


def _driven(account: PaperAccount, symbol: str, first: Event, feed: Feed, source: HandDriven) -> Iterator[Event]:
    time = ManualClock(first.time)
    before, changes, add = clock.now, 0, source.bars.add
    clock.set_clock(time)
    try:
        engine = account.drive(source, first.time)
        for event in chain((first,), feed):
            time.time = now = event.time
            if now >= account.due:
                account.flush()
            event.apply(engine, symbol)
            if type(event) is Trade:
                add(event)
            if engine.has_changes:
                changes += 1
                if not changes % _CHANGES:
                    account.flush()
            yield event
            if account.engine is not engine:
                raise StoreError(f"the replay lost its account {account.store.path}: its file could not be written")
        account.flush()
    finally:
        clock.set_clock(before)
        account.release()
