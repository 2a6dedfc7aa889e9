"""What scripts/bench.py measures, one function for each case. Its docstring says what is in and what is out.

A case runs in a process of its own, in a home of its own. Its rounds take turns: ours, then each peer, then ours again,
so that a slow moment of the machine meets them all.
"""

from __future__ import annotations

import gc
import gzip
import itertools
import json
import os
import sqlite3
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any, Protocol

from bench_kit import ROOT, Peers, Plan, Result, Unavailable, home, python_seconds, quantile, resident, timed_each
from bench_peers import ASK, BID, SIZE, expect, resting_price
from moving_average import MovingAverage

from Execution import execute_signal, execute_signals, registry
from Execution.canceler import cancel_order
from Execution.common import clock
from Execution.common.deadlines import Deadlines
from Execution.common.envelope import fail, ok
from Execution.common.journal import Journal
from Execution.common.ledger import Ledger
from Execution.common.order import OrderRecord
from Execution.common.types import VENUE_FUNCTIONS, Envelope
from Execution.drafts import new_client_order_id
from Execution.exchanges import paper
from Execution.executor import Executor
from Execution.matching import feed
from Execution.matching.engine import Engine
from Execution.matching.events import Quote
from Execution.matching.model import Request
from Execution.order_manager import OrderManager, default_manager
from Execution.risk_manager import RiskManager
from Execution.simulation.account import current
from Execution.simulation.replay import replay as play

SWAP = "BTC-USDT-SWAP"
MARKET = ({"action": "buy", "amount": SIZE}, {"action": "sell", "amount": SIZE})
RECORDING = ROOT.parent / "shared" / "market_data" / "usdm_btcusdt_20240808.gz"
SDKS = ("okx", "binance", "gate_api", "hyperliquid", "dydx_v4_client")
MICRO, MILLI = 1e6, 1e3


def open_market() -> None:
    """Put a price on paper that stands still and has no end of size."""
    answer = paper.set_price(SWAP, BID, ASK)
    assert answer["success"], answer


def limit_signal(number: int) -> dict[str, Any]:
    """Answer a signal for an order that rests on the n-th level."""
    return {"action": "buy", "amount": SIZE, "price": resting_price(number)}


def batch_of(signals: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Answer signals as execute_signals takes them."""
    return [{"exchange_name": "paper", "symbol": SWAP, **signal} for signal in signals]


def send(signals: Iterable[dict[str, Any]], status: str) -> None:
    """Send signals one by one; every order must end up in this status."""
    for signal in signals:
        answer = execute_signal("paper", SWAP, signal)
        if answer["data"]["status"] != status:
            raise RuntimeError(f"no order {status}: {answer['message'] or answer['data']}")


def send_batches(signals: list[dict[str, Any]], length: int, status: str) -> None:
    """Send signals in lists of a length; every order must end up in this status."""
    for start in range(0, len(signals), length):
        answers = execute_signals(signals[start : start + length])
        expect(sum(answer["data"]["status"] == status for answer in answers), len(answers), f"orders {status}")


# -- 1 one signal at a time


def signal(plan: Plan, peers: Peers) -> Result:
    """One thread calls execute_signal("paper", ...) with market orders that alternate between buy and sell.

    In: everything a user's call does: validation, the rules of risk with wide limits, the intent's commit, matching
    with fees and margin, the paper account's commit, the outcome's commit, the answer. Durability NORMAL, prices fixed.
    Two rules have a figure of their own, max_orders_per_minute and max_orders_per_day, since what they cost may grow
    with the orders that they count: it is that of the last quarter of the orders of a round.
    The peers match one market order per tick or bar in memory; neither writes anything down.
    """
    found = Result("signal", "execute_signal on paper, one at a time")
    count = plan.size(10_000, 2_000)
    ours: list[tuple[float, float]] = []
    rivals = Rivals(plan, peers)
    with home() as folder:
        open_market()
        send(alternating(200), "filled")
        for _ in range(plan.rounds):
            ours.append(timed_each(lambda: send(alternating(count), "filled"), count))
            rivals.round()
        floor = [_sqlite_floor(folder / "floor.db", plan.size(3000, 1000)) for _ in range(plan.rounds)]
    with home():
        open_market()
        resting = [_resting_round(number, plan.size(1000, 300)) for number in range(plan.rounds)]
    counted = [_counted_round(count) for _ in range(min(plan.rounds, 2))]
    seconds = [wall for wall, _ in ours]
    found.rate("market orders", seconds, 1, at_least=10_000)
    found.add("market orders, CPU time of each", "µs", [cpu * MICRO for _, cpu in ours])
    found.add("the same with orders per minute and day counted", "µs", [cpu * MICRO for cpu in counted])
    found.rate("limit orders that rest", resting, 1)
    found.add("three bare SQLite commits of one row", "µs", [each * MICRO for each in floor])
    found.ratio("an order, in sets of three bare commits", seconds, floor)
    rivals.compare(found, ours)
    return found


def alternating(count: int) -> Iterator[dict[str, Any]]:
    """Answer market orders that leave no position behind."""
    return itertools.islice(itertools.cycle(MARKET), count)


class Rivals:
    """What the peers need for one market order in the rounds of a case: seconds on the clock, and of CPU."""

    def __init__(self, plan: Plan, peers: Peers) -> None:
        self._plan, self._peers = plan, peers
        self._seconds: dict[str, list[tuple[float, float]]] = {}

    def round(self) -> None:
        """Have each peer do its round."""
        for peer, full in (("nautilus_trader", 3000), ("backtrader", 5000)):
            if not self._peers.has(peer):
                continue
            count = self._plan.size(full, 1000)
            for name, (wall, cpu) in self._peers.run(f"{peer}_market", count).items():
                self._seconds.setdefault(f"{peer}, {name}", []).append((wall / count, cpu / count))

    def compare(self, found: Result, ours: list[tuple[float, float]]) -> None:
        """Add what they did, and how many times as many orders per second we do."""
        for name, theirs in self._seconds.items():
            found.rate(name, [wall for wall, _ in theirs], 1)
            for unit, n in (("", 0), (", by CPU time", 1)):
                found.ratio(f"ours / {name}{unit}", [each[n] for each in theirs], [each[n] for each in ours])


def _resting_round(number: int, count: int) -> float:
    signals = [limit_signal(number * count + n) for n in range(count)]
    return timed_each(lambda: send(signals, "open"), count)[0]


def _counted_round(count: int) -> float:
    """Answer the CPU time of an order where orders per minute and day are limited, after three quarters of them."""
    with home(RISK_MAX_ORDERS_PER_MINUTE="1000000000", RISK_MAX_ORDERS_PER_DAY="1000000000"):
        open_market()
        send(alternating(count * 3 // 4), "filled")
        return timed_each(lambda: send(alternating(count // 4), "filled"), count // 4)[1]


def _sqlite_floor(path: Path, count: int) -> float:
    """Answer the seconds of three commits, each of one row of 400 bytes, WAL and NORMAL as in our store."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")
        connection.execute("PRAGMA wal_autocheckpoint=20000")
        connection.execute("CREATE TABLE IF NOT EXISTS rows(id INTEGER PRIMARY KEY, body BLOB)")

        def commits() -> None:
            for _ in range(3 * count):
                connection.execute("BEGIN IMMEDIATE")
                connection.execute("INSERT INTO rows(body) VALUES(?)", (b"x" * 400,))
                connection.execute("COMMIT")

        return timed_each(commits, count)[0]


# -- 1b many signals at once


def batch(plan: Plan, peers: Peers) -> Result:
    """One thread calls execute_signals with lists of market orders on paper: one commit before, one after each list.

    In and out: as in `signal`. The lists themselves are made beforehand.
    """
    found = Result("batch", "execute_signals on paper, lists of orders")
    count = plan.size(20_000, 4_000)
    signals = batch_of(alternating(count))
    lengths = (100, 500, 1000)
    seconds: dict[int, list[tuple[float, float]]] = {length: [] for length in lengths}
    rivals = Rivals(plan, peers)
    with home():
        open_market()
        send_batches(signals[:1000], 500, "filled")
        for _ in range(plan.rounds):
            for length in lengths:
                seconds[length].append(timed_each(lambda size=length: send_batches(signals, size, "filled"), count))
            rivals.round()
    for length in lengths:
        found.rate(f"market orders, lists of {length}", [wall for wall, _ in seconds[length]], 1, at_least=40_000)
    found.add("lists of 1000, CPU time of an order", "µs", [cpu * MICRO for _, cpu in seconds[1000]])
    rivals.compare(found, seconds[1000])
    return found


# -- 2 our own logic


class Stub:
    """A venue that answers at once with an answer made beforehand: what is left is our own work."""

    NAME = "stub"
    ABSENCE_GRACE = 0.0

    def __init__(self) -> None:
        self.UNSUPPORTED: dict[str, str] = {}
        self.cancelled: dict[str, float] = {}
        self._ids = itertools.count(1)
        done = {"filled": SIZE, "remaining": 0.0, "average_price": ASK, "fee": 0.3, "fee_currency": "USDT"}
        self._filled = ok({**state_of("filled", "1"), **done, "type": "market", "price": None, "fills": [FILL]})
        self._ticker = ok({"bid": BID, "ask": ASK, "last": BID, "mark": BID})

    def __getattr__(self, function: str) -> Callable[..., Envelope]:
        if function not in VENUE_FUNCTIONS:
            raise AttributeError(function)
        return lambda *_args, **_options: fail("NOT_SUPPORTED", f"the stub has no {function}", "not_sent")

    def place_market_order(self, *_args: Any, **_options: Any) -> Envelope:
        return self._filled

    def place_limit_order(self, *_args: Any, **_options: Any) -> Envelope:
        return ok(state_of("open", str(next(self._ids))))

    def cancel_order(self, _symbol: str, order_id: str | None = None, **_options: Any) -> Envelope:
        self.cancelled[str(order_id)] = time.time()
        return ok(state_of("cancelled", str(order_id)))

    def get_order_status(self, _symbol: str, order_id: str | None = None, **_options: Any) -> Envelope:
        return ok(state_of("cancelled", str(order_id)))

    def get_ticker(self, _symbol: str) -> Envelope:
        return self._ticker

    def get_positions(self, _symbol: str | None = None) -> Envelope:
        return ok([])

    def get_account_info(self) -> Envelope:
        names = ("available", "total_equity", "used_margin", "maintenance_margin", "margin_ratio", "unrealized_pnl")
        numbers = dict(zip(names, (1e9, 1e9, 0.0, 0.0, 0.0, 0.0), strict=True))
        return ok({**numbers, "currency": "USDT", "position_mode": "net", "balances": {}, "timestamp": clock.now()})

    def get_instrument(self, symbol: str) -> Envelope:
        sizes = {"tick_size": 0.1, "lot_size": 0.001, "min_amount": 0.001, "max_amount": None, "min_notional": 5.0}
        fees = {"contract_size": 1.0, "max_leverage": 50, "maker_fee": 0.0, "taker_fee": 0.0, "active": True}
        return ok({"symbol": symbol, "base": "BTC", "quote": "USDT", "market": "swap", **sizes, **fees})


FILL = {
    "trade_id": "1", "order_id": "1", "client_order_id": "", "symbol": SWAP, "side": "buy", "amount": SIZE,
    "price": ASK, "fee": 0.3, "fee_currency": "USDT", "maker": False, "timestamp": 1.7e9,
}  # fmt: skip


def state_of(status: str, order_id: str) -> dict[str, Any]:
    """Answer an order without executions as a venue reports it."""
    asked = {"symbol": SWAP, "side": "buy", "type": "limit", "amount": SIZE, "price": BID, "stop_price": None}
    terms = {"time_in_force": "GTC", "post_only": False, "reduce_only": False, "timestamp": 1.7e9, "updated": 1.7e9}
    state = {"status": status, "filled": 0.0, "remaining": SIZE, "average_price": None, "fee": 0.0, "fee_currency": ""}
    return {"order_id": order_id, "client_order_id": "", **asked, **terms, **state}


class Unwritten(Journal):
    """A journal that keeps nothing and takes its lock all the same."""

    def __enter__(self) -> None:
        self.lock.acquire()

    def __exit__(self, *_: object) -> None:
        self.lock.release()

    def add(self, *_: object) -> None:
        """Nothing is encoded, chained or written."""

    change = note = touch = project = add

    def is_behind(self) -> bool:
        """Nobody else writes here."""
        return False


def executor_on(path: Path, *, written: bool) -> Executor:
    """Answer an executor with a store of its own, or with none."""
    manager = OrderManager(str(path))
    if not written:
        Ledger.__init__(manager, Unwritten(str(path)))
    return Executor(manager, RiskManager(book=manager))


def logic(plan: Plan, peers: Peers) -> Result:  # noqa: ARG001
    """The same executor with nothing under it: a venue that answers at once, and once with, once without a journal.

    "own logic" is execute_signal from call to answer with the venue a stub and the journal replaced by one that only
    takes its lock. In: validation, names and symbols, rounding, ids, the verdict of risk, both passes of the order
    manager (state machine, book, sums), the guard, public answers, timing. Out: encoding, hash chain, SQLite, the
    tables, the venue; the ticker is read once a second and the account every five, as with any venue on a network.
    "about to send" is what an answer says itself, timing.check + timing.record: from the call to after the intent's
    commit, when nothing is left but to call the venue. Each figure is the median over the orders of a round.
    """
    found = Result("logic", "Our own work for an order")
    count = plan.size(10_000, 2_000)
    bare: list[float] = []
    whole: list[float] = []
    ready: list[list[float]] = []
    on_paper: list[list[float]] = []
    with home() as folder:
        registry.register(Stub())
        open_market()
        written = executor_on(folder / "written.db", written=True)
        unwritten = executor_on(folder / "unwritten.db", written=False)
        for executor in (written, unwritten):
            _times(executor, "stub", 200)
        for _ in range(plan.rounds):
            bare.append(quantile(_times(unwritten, "stub", count)[0], 0.5))
            times, about_to_send = _times(written, "stub", count)
            whole.append(quantile(times, 0.5))
            ready.append(about_to_send)
            on_paper.append(_times(written, "paper", plan.size(5000, 1000))[1])
        written.close()
        unwritten.close()
    found.add("own logic: no journal, no venue", "µs", [each * MICRO for each in bare], most=15)
    found.add("with the journal, two commits", "µs", [each * MICRO for each in whole])
    found.add("the journal's part", "µs", [(a - b) * MICRO for a, b in zip(whole, bare, strict=True)])
    for name, rounds in (("stub venue", ready), ("paper", on_paper)):
        found.add(f"signal to about to send, {name}", "µs", [quantile(each, 0.5) * MICRO for each in rounds], most=50)
        found.add(f"signal to about to send, {name}, p99", "µs", [quantile(each, 0.99) * MICRO for each in rounds])
    return found


def _times(executor: Executor, venue: str, count: int) -> tuple[list[float], list[float]]:
    """Send market orders; answer for each how long it took, and how long until it was about to be sent."""
    whole, ready = [], []
    gc.collect()
    for each in alternating(count):
        started = time.perf_counter()
        answer = executor.execute_signal(venue, SWAP, each)
        whole.append(time.perf_counter() - started)
        timing = answer["data"]["timing"]
        ready.append(timing["check"] + timing["record"])
        assert answer["data"]["status"] == "filled", answer
    return whole, ready


# -- 3 resting orders

FEW, MANY = 100, 10_000


class Layer(Protocol):
    """Where limit orders rest."""

    def rest(self, levels: range) -> None:
        """Rest an order on each of these levels."""

    def place_and_cancel(self, level: int) -> None:
        """Rest one more and take it away again."""


class Signals:
    """execute_signal and cancel_order: journal, book and venue."""

    def rest(self, levels: range) -> None:
        send_batches(batch_of(map(limit_signal, levels)), 1000, "open")

    def place_and_cancel(self, level: int) -> None:
        answer = execute_signal("paper", SWAP, limit_signal(level))
        assert cancel_order("paper", SWAP, answer["data"]["order_id"])["success"]


class PaperVenue:
    """The paper venue's own functions: its account's file and the engine."""

    def rest(self, levels: range) -> None:
        for level in levels:
            paper.place_limit_order(SWAP, "buy", SIZE, resting_price(level))

    def place_and_cancel(self, level: int) -> None:
        answer = paper.place_limit_order(SWAP, "buy", SIZE, resting_price(level))
        assert paper.cancel_order(SWAP, answer["data"]["order_id"])["success"]


class BareEngine:
    """The matching engine alone, in memory."""

    def __init__(self) -> None:
        self.engine = Engine([current().spec(SWAP)])
        self.engine.open_account("a", {"USDT": Decimal(10**9)})
        self.engine.on_quote(SWAP, Decimal(str(BID)), Decimal(1), Decimal(str(ASK)), Decimal(1), 1.0)

    def place(self, level: int) -> int:
        price = Decimal(str(resting_price(level)))
        return self.engine.place("a", Request(SWAP, "buy", "limit", Decimal(str(SIZE)), price), 1.0).order_id

    def rest(self, levels: range) -> None:
        for level in levels:
            self.place(level)
        self.engine.drain()

    def place_and_cancel(self, level: int) -> None:
        self.engine.cancel("a", self.place(level), 1.0)
        self.engine.drain()


Cost = tuple[float, float]
"""Of placing and cancelling one order: the median on the clock, and the CPU time on average, in seconds."""

LAYERS: dict[str, type[Layer]] = {
    "execute_signal + cancel_order": Signals,
    "paper venue": PaperVenue,
    "engine": BareEngine,
}


def resting(plan: Plan, peers: Peers) -> Result:
    """Place and cancel one limit order among 100 and among 10,000 that rest, each on a price level of its own.

    Three layers: execute_signal and cancel_order (journal, book and venue), the bare paper venue (its account's
    commits), the bare engine. The orders in question go to levels spread over all the others. Microseconds are those
    of the median pair.
    The peers have no such call; they rest one order per tick or bar, and what an order costs on average when 500 do so
    is compared with 2,000 (10,000 take them minutes). Ours is given for the same numbers, by execute_signal.
    """
    found = Result("resting", "Among resting orders")
    costs: dict[str, list[tuple[Cost, Cost]]] = {name: [] for name in LAYERS}
    for _ in range(plan.rounds):
        for name, layer in LAYERS.items():
            with home():
                open_market()
                costs[name].append(_few_and_many(layer(), plan.size(400, 100)))
    for name, rounds in costs.items():
        found.add(f"{name}: place and cancel among {FEW:,}", "µs", [few[0] * MICRO for few, _ in rounds])
        found.add(f"{name}: the same among {MANY:,}", "µs", [many[0] * MICRO for _, many in rounds])
        for unit, n in (("", 0), (", by CPU time of all", 1)):
            few, many = [each[n] for each, _ in rounds], [each[n] for _, each in rounds]
            found.ratio(f"{name}: {MANY:,} / {FEW:,}{unit}", many, few, most=1.2)
    _growth(plan, peers, found)
    return found


def _few_and_many(layer: Layer, count: int) -> tuple[Cost, Cost]:
    layer.rest(range(FEW))
    few = _pair_cost(layer, FEW, count)
    layer.rest(range(FEW, MANY))
    return few, _pair_cost(layer, MANY, count)


def _pair_cost(layer: Layer, resting: int, count: int) -> Cost:
    """Place and cancel orders on levels spread over those that rest."""
    levels = [n * 7919 % resting for n in range(count + 20)]
    times: list[float] = []

    def work() -> None:
        for level in levels[20:]:
            started = time.perf_counter()
            layer.place_and_cancel(level)
            times.append(time.perf_counter() - started)

    for level in levels[:20]:
        layer.place_and_cancel(level)
    _, cpu = timed_each(work, count)
    return quantile(times, 0.5), cpu


def _growth(plan: Plan, peers: Peers, found: Result) -> None:
    """Compare what an order costs where few and where many come to rest, ours and the peers'."""
    few, many = (500, 2000) if not plan.quick else (200, 800)
    rounds = min(plan.rounds, 3)
    jobs: dict[str, Callable[[int], float]] = {"execute_signal": _rest_once}
    for name, job in (("nautilus_trader", "nautilus_trader_resting"), ("backtrader", "backtrader_resting")):
        if peers.has(name):
            jobs[name] = lambda count, job=job: peers.run(job, count)["first to last"][0] / count
    costs: dict[str, list[tuple[float, float]]] = {name: [] for name in jobs}
    for _ in range(rounds):
        for name, job in jobs.items():
            costs[name].append((job(few), job(many)))
    for name, rows in costs.items():
        found.add(f"{name}: an order when {many:,} come to rest", "µs", [b * MICRO for _, b in rows])
        found.ratio(f"{name}: {many:,} / {few:,}", [b for _, b in rows], [a for a, _ in rows])


def _rest_once(count: int) -> float:
    with home():
        open_market()
        send(alternating(2), "filled")
        return _resting_round(0, count)


# -- 4 a million orders


def memory(plan: Plan, peers: Peers) -> Result:  # noqa: ARG001
    """Track a million open orders in the order manager, on a store on disk, and let them all end; then all over again.

    An order is recorded (`record`, in groups of 500 with one commit, as execute_signals does), then settled as open
    with the venue's id. Memory of an order is what the process grows by from the first order to the last, divided by
    the orders; that counts everything, SQLite's cache too. Beside it stand the same from the 250,000th order
    on, when that cache is full, and the plain sum of sys.getsizeof over an order, its own values and its place in the
    book. The target is held against both measurements of the process.
    Pauses: each record() and settle() alone, and each end of a block (encoding is done by then; it writes the events,
    brings the tables up to date every so often, commits, and now and then SQLite moves its log into the file). The
    garbage collector is on as everywhere.
    """
    found = Result("memory", "A million open orders")
    count = plan.size(1_000_000, 50_000)
    with home() as folder:
        manager = OrderManager(str(folder / "orders.db"))
        Tracker(manager).run(5_000)
        start = resident()
        passes = [Tracker(manager) for _ in range(2)]
        for each in passes:
            each.run(count)
        manager.close()
    first, second = passes
    each_more = (first.peak - first.quarter) / (count - count // 4)
    # In a quick run SQLite's cache outweighs the orders, so that there is nothing to judge.
    most = None if plan.quick else 700
    found.add("memory of an order, caches included", "B", [(first.peak - start) / count], most=most)
    found.add("memory of each further order, from the 250,000th on", "B", [each_more], most=most)
    found.add("memory of an order, sys.getsizeof", "B", [first.accounted])
    found.add("worst single pause while inserting", "ms", [max(first.worst.values()) * MILLI], most=50)
    for name, seconds in first.worst.items():
        found.add(f"worst {name}", "ms", [seconds * MILLI])
    found.add("an order recorded and settled, commits in groups", "µs", [first.seconds / count * MICRO])
    found.add("memory after all have ended, over the start", "MB", [(first.after - start) / 1e6])
    found.ratio("peak of the second pass / the first", [second.peak], [first.peak], most=1.05)
    found.ratio("after the second pass / after the first", [second.after], [first.after], most=1.05)
    found.remarks.append(f"{count:,} orders in each of two passes")
    return found


class Tracker:
    """One pass: orders enter the book until all are in, then all of them end."""

    GROUP = 500

    def __init__(self, manager: OrderManager) -> None:
        self.manager = manager
        self.worst = dict.fromkeys(("record()", "commit of 500 records", "settle()", "commit of 500 outcomes"), 0.0)
        self.quarter = self.peak = self.after = 0
        self.accounted = self.seconds = 0.0

    def run(self, count: int) -> None:
        """Insert, look, end all, look."""
        started = time.perf_counter()
        for start in range(0, count, self.GROUP):
            if start == count // 4:
                self.quarter = resident()
            records = [new_record(start + n) for n in range(self.GROUP)]
            self._block("record()", "commit of 500 records", records, lambda each: self.manager.record(each))
            self._block("settle()", "commit of 500 outcomes", records, self._settle)
        self.seconds = time.perf_counter() - started
        self.peak = resident()
        left = deque(self.manager.open_records())
        expect(len(left), count, "orders in the book")
        self.accounted = accounted_size([left[-n] for n in range(1, 2001)])
        self.accounted += sys.getsizeof(self.manager._book.orders) / count
        self._end_all(left)

    def _settle(self, record: OrderRecord) -> None:
        self.manager.settle(record, ok(state_of("open", str(10**9 + record.rid))))

    def _block(self, one: str, commit: str, records: list[OrderRecord], work: Callable[[OrderRecord], None]) -> None:
        now, worst = time.perf_counter, 0.0
        with self.manager.writing():
            last = now()
            for record in records:
                work(record)
                before, last = last, now()
                worst = max(worst, last - before)
        self.worst[commit] = max(self.worst[commit], now() - last)
        self.worst[one] = max(self.worst[one], worst)

    def _end_all(self, records: deque[OrderRecord]) -> None:
        ended = state_of("cancelled", "")
        while records:
            with self.manager.writing():
                for _ in range(min(self.GROUP, len(records))):
                    record = records.popleft()
                    self.manager.apply(record, {**ended, "order_id": record.order_id}, "sync")
        gc.collect()
        self.after = resident()


def new_record(number: int) -> OrderRecord:
    """Answer an order as the executor makes one, with numbers of its own."""
    now = clock.now()
    return OrderRecord(
        client_order_id=new_client_order_id(),
        exchange="paper",
        symbol=SWAP,
        side="buy",
        type="limit",
        amount=Decimal(str(1 + number % 977 / 1000)),
        price=Decimal(str(resting_price(number % 400_000))),
        created=now,
        updated=now,
        deadline=0.0,
    )


def accounted_size(records: list[OrderRecord]) -> float:
    """Answer the bytes of an order and its values by sys.getsizeof, what orders share divided among them."""
    seen = {id(record): sys.getsizeof(record) for record in records}
    for record in records:
        for name in record.__struct_fields__:
            value = getattr(record, name)
            seen.setdefault(id(value), sys.getsizeof(value))
    return sum(seen.values()) / len(records)


# -- 5 time-outs


def timeouts(plan: Plan, peers: Peers) -> Result:  # noqa: ARG001
    """Watch 10,000 deadlines with nothing else to do, and see how late the ones that come are noticed.

    "timer" is common/deadlines.py alone: from the deadline to its callback. "cancel" is the whole way: orders placed by
    execute_signals with a timeout; from the deadline to the moment when the venue, a stub, is called to cancel. They
    come 5 ms apart, so that none waits for the one before it; 9,000 of 10,000 are an hour away.
    "at once" lets 500 orders expire at one moment and takes the time until the last one's cancel reaches the venue.
    """
    found = Result("timeouts", "Time-outs of 10,000 orders")
    due, rounds = plan.size(1000, 150), min(plan.rounds, 3)
    timer = [_timer_lateness(due) for _ in range(rounds)]
    with home():
        stub = Stub()
        registry.register(stub)
        execute_signals(_timed_signals([3600.0] * (10_000 - due)))
        cancels = [_cancel_lateness(stub, due) for _ in range(rounds)]
        together = [_cancel_together(stub, 500) for _ in range(rounds)]
    for name, lateness in (("timer", timer), ("cancel", cancels)):
        found.add(f"{name}: lateness, median", "ms", [quantile(each, 0.5) * MILLI for each in lateness])
        found.add(f"{name}: lateness, p99", "ms", [quantile(each, 0.99) * MILLI for each in lateness], most=1.0)
    found.add("500 at once: until the last is being cancelled", "ms", [each * MILLI for each in together])
    return found


def _timer_lateness(due: int) -> list[float]:
    late: list[float] = []
    when: dict[str, float] = {}
    deadlines = Deadlines(lambda name: late.append(time.time() - when[name]))
    start = time.time() + 0.2
    for number in range(10_000):
        name = str(number)
        when[name] = start + (number * 0.005 if number < due else 3600.0 + number)
        deadlines.add(when[name], name)
    time.sleep(max(0.0, start - time.time()) + due * 0.005 + 0.2)
    deadlines.stop()
    expect(len(late), due, "deadlines")
    return late


def _cancel_lateness(stub: Stub, due: int) -> list[float]:
    start = time.time() + 0.8
    near = execute_signals(_timed_signals([start - time.time() + number * 0.005 for number in range(due)]))
    deadlines = {answer["data"]["order_id"]: answer["data"]["order"]["deadline"] for answer in near}
    time.sleep(max(deadlines.values()) - time.time() + 0.3)
    return [stub.cancelled[name] - deadline for name, deadline in deadlines.items()]


def _cancel_together(stub: Stub, count: int) -> float:
    answers = execute_signals(_timed_signals([1.0] * count))
    deadlines = {answer["data"]["order_id"]: answer["data"]["order"]["deadline"] for answer in answers}
    last = max(deadlines.values())
    while not stub.cancelled.keys() >= deadlines.keys() and time.time() < last + 20:
        time.sleep(0.01)
    return max(stub.cancelled[name] for name in deadlines) - last


def _timed_signals(timeouts: list[float]) -> list[dict[str, Any]]:
    return [
        {"exchange_name": "stub", "symbol": SWAP, **limit_signal(0), "timeout": round(timeout, 6)}
        for timeout in timeouts
    ]


# -- 6 replay


BAR = 1.0


def replay(plan: Plan, peers: Peers) -> Result:  # noqa: ARG001
    """Play a recording of BTC-USDT-SWAP (depth, trades, best prices) on paper to the strategy of the demo.

    In: unpacking, JSON, checks of continuity, the engine's book, the paper account, bars of one second made of the best
    prices, the moving average, and its orders: execute_signal with a stop, each durable as ever. Messages are the lines
    of the recording. Beside it: reading alone, and reading into the engine with nobody trading.
    """
    found = Result("replay", "Replay of a recording with a strategy")
    if not RECORDING.is_file():
        raise Unavailable(f"the recording {RECORDING.name} is not here")
    with gzip.open(RECORDING) as lines:
        count = sum(1 for _ in lines)
    seconds: dict[str, list[float]] = {"read": [], "read and matched": [], "with the strategy and its orders": []}
    orders: list[int] = []
    cpu: list[float] = []
    for _ in range(plan.rounds):
        seconds["read"].append(timed_each(_read, count)[0])
        seconds["read and matched"].append(_play(None, count)[0])
        strategy = MovingAverage()
        wall, used = _play(strategy, count, orders)
        seconds["with the strategy and its orders"].append(wall)
        cpu.append(used)
        expect(len(strategy.refused), 0, "refusals")
    for name, each in seconds.items():
        found.rate(f"messages {name}", each, 1, at_least=100_000 if "orders" in name else None)
    found.add("CPU time of a message with them", "µs", [each * MICRO for each in cpu])
    found.remarks.append(f"{count:,} messages; the strategy sent {min(orders)} orders")
    return found


def _read() -> None:
    deque(feed.read(RECORDING, symbol=SWAP), maxlen=0)


def _play(strategy: MovingAverage | None, count: int, orders: list[int] | None = None) -> tuple[float, float]:
    with home(PAPER_SOURCE="random"):
        work = (lambda: deque(play(RECORDING, SWAP), maxlen=0)) if strategy is None else (lambda: _trade(strategy))
        seconds = timed_each(work, count)
        if orders is not None:
            orders.append(len(default_manager().get_orders_by_symbol("paper", SWAP)))
    return seconds


def _trade(strategy: MovingAverage) -> None:
    """Hand the strategy a bar for each second that had a price."""
    mids: list[float] = []
    end = 0.0
    for event in play(RECORDING, SWAP):
        if event.time >= end:
            if mids:
                strategy(_bar(mids, end))
                mids.clear()
            end = event.time // BAR * BAR + BAR
        if type(event) is Quote:
            mids.append(float(event.bid + event.ask) / 2)


def _bar(mids: list[float], end: float) -> dict[str, Any]:
    prices = {"open": mids[0], "high": max(mids), "low": min(mids), "close": mids[-1]}
    return {"exchange": "paper", "symbol": SWAP, "timestamp": end, **prices}


# -- 7 import


def importing(plan: Plan, peers: Peers) -> Result:  # noqa: ARG001
    """Start Python with and without `import Execution`, in turns, and compare.

    Whole processes, from start to end; the files are compiled and cached before the first one that counts.
    """
    found = Result("import", "import Execution")
    bare: list[tuple[float, float]] = []
    ours: list[tuple[float, float]] = []
    with home():
        for _ in range(2):
            python_seconds("import Execution")
        for _ in range(plan.size(25, 15)):
            bare.append(python_seconds("pass"))
            ours.append(python_seconds("import Execution"))
        loaded = _loaded_modules()
    found.add("bare Python", "ms", [wall * MILLI for wall, _ in bare])
    for unit, n, most in (("", 0, 80), (", CPU time", 1, None)):
        over = [(with_us[n] - without[n]) * MILLI for with_us, without in zip(ours, bare, strict=True)]
        found.add(f"import Execution, over bare Python{unit}", "ms", over, most=most)
    sdks = sorted(set(loaded) & set(SDKS))
    found.add("venue SDKs loaded", "", [len(sdks)], most=0)
    found.remarks.append(f"SDKs loaded: {', '.join(sdks) or 'none'} (looked for {', '.join(SDKS)})")
    found.remarks.append(f"third-party packages loaded: {', '.join(_third_party(loaded))}")
    return found


def _loaded_modules() -> list[str]:
    code = "import json, sys, Execution; print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    answer = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, env=environment)
    names: list[str] = json.loads(answer.stdout)
    return names


def _third_party(names: list[str]) -> list[str]:
    known = {*sys.stdlib_module_names, "Execution", "__main__", "__mp_main__", "sitecustomize", "usercustomize"}
    return [name for name in names if name not in known and not name.startswith("_")] or ["none"]


CASES: dict[str, Callable[[Plan, Peers], Result]] = {
    "signal": signal,
    "batch": batch,
    "logic": logic,
    "resting": resting,
    "memory": memory,
    "timeouts": timeouts,
    "replay": replay,
    "import": importing,
}
