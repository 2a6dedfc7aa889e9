"""The other systems' half of scripts/bench.py: reads jobs from standard input, answers each with its seconds, on the
clock and of CPU time.

    {"job": "nautilus_trader_market", "orders": 2000}  ->  {"whole run": [1.6, 1.6], "first to last": [0.8, 0.8]}

Runs in the environment of scripts/requirements-bench.txt, one process for a whole benchmark, so that rounds can be
taken in turns with ours. Neither peer keeps a journal; each trades one instrument in memory.

    nautilus_trader   BacktestEngine, margin account, one order for each quote tick. "whole run" is engine.run() with
                      its statistics at the end, "first to last" goes from the first tick to the last. Logging is
                      bypassed, and the limit of 100 orders a second raised out of the way; all else is the default.
    backtrader        Cerebro without observers, the default broker, one order for each bar. "whole run" is
                      cerebro.run(), "first to last" goes from the first bar to the last.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

CASH = 10_000_000
BID, ASK, SIZE = 60_000.0, 60_000.1, 0.01
RESTING_FROM, TICK = 50_000.0, 0.1
# A recording never begins in 1970, and nautilus_trader does not expect one that does.
FIRST_TICK = 1_700_000_000 * 10**9

Moment = tuple[float, float]
Seconds = dict[str, Moment]
Job = Callable[[int], Seconds]


def resting_price(number: int) -> float:
    """Answer the price of the n-th resting order: each on a level of its own, far below the market."""
    return round(RESTING_FROM - number * TICK, 1)


def now() -> Moment:
    """Answer the clock and this process's CPU time."""
    return time.perf_counter(), time.process_time()


def between(first: Moment, last: Moment) -> Moment:
    """Answer the seconds from one moment to another."""
    return last[0] - first[0], last[1] - first[1]


def expect(count: int, wanted: int, what: str) -> None:
    """Refuse to time something else than what is claimed."""
    if count != wanted:
        raise RuntimeError(f"{count} of {wanted} {what}")


def nautilus() -> dict[str, Job]:
    """Answer the jobs of nautilus_trader."""
    from nautilus_trader.backtest.engine import BacktestEngine, BacktestEngineConfig
    from nautilus_trader.config import LoggingConfig, RiskEngineConfig
    from nautilus_trader.model.currencies import USDT
    from nautilus_trader.model.data import QuoteTick
    from nautilus_trader.model.enums import AccountType, OmsType, OrderSide
    from nautilus_trader.model.identifiers import Venue
    from nautilus_trader.model.objects import Money
    from nautilus_trader.test_kit.providers import TestInstrumentProvider
    from nautilus_trader.trading.strategy import Strategy

    instrument = TestInstrumentProvider.btcusdt_perp_binance()

    class OneOrderPerTick(Strategy):  # type: ignore[misc]
        """Market orders that alternate, or limit orders that rest."""

        rests = False
        seen = filled = 0
        first = last = (0.0, 0.0)

        def on_start(self) -> None:
            self.subscribe_quote_ticks(instrument.id)
            self.size = instrument.make_qty(SIZE)

        def on_quote_tick(self, _tick: Any) -> None:
            if not self.seen:
                self.first = now()
            self.submit_order(self.resting() if self.rests else self.market())
            self.seen += 1
            self.last = now()

        def market(self) -> Any:
            side = OrderSide.SELL if self.seen % 2 else OrderSide.BUY
            return self.order_factory.market(instrument.id, side, self.size)

        def resting(self) -> Any:
            price = instrument.make_price(resting_price(self.seen))
            return self.order_factory.limit(instrument.id, OrderSide.BUY, self.size, price)

        def on_order_filled(self, _event: Any) -> None:
            self.filled += 1

    def engine_with(ticks: int) -> Any:
        limit = RiskEngineConfig(max_order_submit_rate="1000000/00:00:01")
        config = BacktestEngineConfig(logging=LoggingConfig(bypass_logging=True), risk_engine=limit)
        engine = BacktestEngine(config)
        money = [Money(CASH, USDT)]
        engine.add_venue(Venue("BINANCE"), OmsType.NETTING, AccountType.MARGIN, money, base_currency=USDT)
        engine.add_instrument(instrument)
        bid, ask, size = instrument.make_price(BID), instrument.make_price(ASK), instrument.make_qty(900)
        times = range(FIRST_TICK, FIRST_TICK + ticks * 1_000_000, 1_000_000)
        engine.add_data([QuoteTick(instrument.id, bid, ask, size, size, t, t) for t in times])
        return engine

    def run(orders: int, *, rests: bool) -> Seconds:
        engine, strategy = engine_with(orders), OneOrderPerTick()
        strategy.rests = rests
        engine.add_strategy(strategy)
        started = now()
        engine.run()
        whole = between(started, now())
        expect(len(engine.cache.orders_open()) if rests else strategy.filled, orders, "orders of nautilus_trader")
        engine.dispose()
        return {"whole run": whole, "first to last": between(strategy.first, strategy.last)}

    return {
        "nautilus_trader_market": lambda n: run(n, rests=False),
        "nautilus_trader_resting": lambda n: run(n, rests=True),
    }


def backtrader() -> dict[str, Job]:
    """Answer the jobs of backtrader."""
    import backtrader as bt

    class Bars(bt.feed.DataBase):  # type: ignore[misc]
        """One-minute bars at one price."""

        params = (("bars", 0),)
        shown = 0

        def _load(self) -> bool:
            if self.shown >= self.p.bars:
                return False
            self.lines.datetime[0] = 738_000 + self.shown / 1440
            for line in (self.lines.open, self.lines.high, self.lines.low, self.lines.close):
                line[0] = BID
            self.lines.volume[0] = self.lines.openinterest[0] = 0.0
            self.shown += 1
            return True

    class OneOrderPerBar(bt.Strategy):  # type: ignore[misc]
        """Market orders that alternate, or limit orders that rest."""

        params = (("rests", False),)
        seen = filled = 0
        first = last = (0.0, 0.0)

        def next(self) -> None:
            if not self.seen:
                self.first = now()
            self.order()
            self.seen += 1
            self.last = now()

        def order(self) -> None:
            if self.p.rests:
                self.buy(size=SIZE, exectype=bt.Order.Limit, price=resting_price(self.seen))
            elif self.seen % 2:
                self.sell(size=SIZE)
            else:
                self.buy(size=SIZE)

        def notify_order(self, order: Any) -> None:
            self.filled += order.status == order.Completed

    def run(orders: int, *, rests: bool) -> Seconds:
        cerebro = bt.Cerebro(stdstats=False)
        cerebro.broker.setcash(CASH)
        cerebro.adddata(Bars(bars=orders))
        cerebro.addstrategy(OneOrderPerBar, rests=rests)
        started = now()
        (strategy,) = cerebro.run()
        whole = between(started, now())
        # What is sent at the last bar has no next one to be taken up at.
        count = len(cerebro.broker.get_orders_open()) if rests else strategy.filled
        expect(count + 1, orders, "orders of backtrader")
        return {"whole run": whole, "first to last": between(strategy.first, strategy.last)}

    return {"backtrader_market": lambda n: run(n, rests=False), "backtrader_resting": lambda n: run(n, rests=True)}


def version_of(distribution: str) -> str:
    """Answer the installed version, "" where it is not installed."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(distribution)
    except PackageNotFoundError:
        return ""


def main() -> None:
    """Say who is here, then work until the input ends. Answers go to the standard output that we were given."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    versions: dict[str, str] = {}
    jobs: dict[str, Job] = {}
    for name, load in (("nautilus_trader", nautilus), ("backtrader", backtrader)):
        try:
            jobs |= load()
            versions[name] = version_of(name)
        except ImportError as error:
            print(f"{name}: {error}", file=sys.stderr)
    print(json.dumps({"versions": versions}), file=answers)
    for line in sys.stdin:
        job = json.loads(line)
        print(json.dumps(jobs[job["job"]](job["orders"])), file=answers)


if __name__ == "__main__":
    main()
