"""The process is killed (SIGKILL) between every two steps of a signal and started again: never two orders, none lost.

A step is a line of code: for one kind of signal every line of everything between `execute_signal` and the two stores,
ours and the paper venue's; for the others every line of the files that decide, and of every transaction. What the venue
has is read from its own file, not through the package.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import shutil
import sqlite3
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from msgspec.json import decode

from Execution import executor, registry
from Execution.common.precision import exact
from Execution.exchanges import paper
from Execution.matching.model import Fill, Order
from Execution.simulation import account
from Execution.simulation.account_store import Commit
from tests.forks import Child, Steps, copy_home, die_at, in_child

SWAP = "BTC-USDT-SWAP"
ETHER = "ETH-USDT-SWAP"

STORE = "common/store.py"
SIGNALS = ("executor.py", "signals/once.py", "signals/batch.py", "signals/protection.py", "order_sender.py")
EVERY_LINE = Steps(
    (*SIGNALS, "order_manager.py", "common/journal.py", "common/ledger.py", "exchanges/paper.py"),
    [(STORE, name) for name in ("__enter__", "__exit__", "_finish", "read")],
)
DECISIONS = Steps(SIGNALS, [(STORE, "_finish")])
SENDING = Steps(
    ("signals/once.py", "signals/batch.py", "order_sender.py"),
    [
        (STORE, "_finish"),
        ("executor.py", "recover"),
        *[("order_manager.py", name) for name in ("record", "refresh", "settle", "journal_resend")],
    ],
)


# -- what the processes do


def stage(*, holding: bool = False) -> None:
    """Set prices that stand still, hold a position where it is wanted, and make both stores."""
    assert paper.set_price(SWAP, 50_000, 50_010)["success"]
    assert paper.set_price(ETHER, 3_000, 3_001)["success"]
    if holding:
        answer = executor.execute_signal("paper", SWAP, {"action": "buy", "amount": 0.02})
        assert answer["success"], answer
    settle()


def settle() -> None:
    """Start as a process does, and end it in good order, so that the files can be copied."""
    executor.default_executor().start()
    executor.default_executor().close()
    executor.default_executor.cache_clear()
    account.forget()


def carry_out(signals: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Carry out signals one by one, or as a batch where they are several."""
    if len(signals) > 1:
        return executor.execute_signals(signals)
    (content,) = signals
    return [executor.execute_signal("paper", content["symbol"], {k: v for k, v in content.items() if k not in PLACE})]


PLACE = ("exchange", "symbol")


def do_and_die(task: Callable[[], Any], steps: Steps, step: int) -> int:
    """Answer the number of steps, where the process lives to see the end."""
    with die_at(step, steps) as watch:
        task()
    return watch.seen


def carry_out_again(signals: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """A process that starts after the crash: the same again, and again."""
    return {"second": carry_out(signals), "third": carry_out(signals), **book()}


def start_again() -> dict[str, Any]:
    """A process that starts after the crash and sends nothing."""
    executor.default_executor().start()
    return book()


def book() -> dict[str, Any]:
    """Answer what our book holds, and what is wrong with its chain."""
    orders = executor.default_executor().orders
    return {
        "orders": orders.get_orders_by_time(0),
        "fills": orders.get_fills(),
        "broken": [problem for _, problem in orders.journal.chain() if problem],
    }


# -- what the venue has, read by nobody but this file


class Venue:
    """The paper account as its file has it: orders, what was asked and became of them, fills, signed positions."""

    def __init__(self, home: Path) -> None:
        with closing(sqlite3.connect(home / "paper.db")) as connection:
            folded = connection.execute("SELECT folded FROM progress").fetchone()[0]
            commits = connection.execute("SELECT version, body FROM commits ORDER BY version").fetchall()
            orders = dict(connection.execute("SELECT id, body FROM orders"))
            fills = dict(connection.execute("SELECT id, body FROM fills"))
        found = {number: decode(body, type=Order) for number, body in orders.items()}
        trades = {number: decode(body, type=Fill) for number, body in fills.items()}
        for version, body in commits:
            commit = decode(body, type=Commit)
            if version > folded:
                found |= {order.order_id: order for order in commit.orders}
                trades |= {fill.trade_id: fill for fill in commit.fills}
        self.orders = [found[number] for number in sorted(found)]
        self.fills = [trades[number] for number in sorted(trades)]
        self.positions = {p.symbol: p.size for p in commit.saved.account.positions if p.size}
        self.names = [order.request.client_order_id for order in self.orders]
        self.told = [(o.request.side, o.request.kind, str(o.request.amount), o.status) for o in self.orders]


def has_recorded(home: Path) -> int:
    """Answer how many orders our journal has recorded."""
    with closing(sqlite3.connect(home / "execution.db")) as connection:
        return int(connection.execute("SELECT count(*) FROM events WHERE kind = 'intent'").fetchone()[0])


def agree(home: Path, book: dict[str, Any]) -> Venue:
    """Check that book and venue tell the same: orders, fills, positions; and that the book's chain is whole."""
    venue = Venue(home)
    assert book["broken"] == []
    assert len(set(venue.names)) == len(venue.names), "an order is on the venue twice"
    assert not [o["client_order_id"] for o in book["orders"] if o["status"] in ("pending", "unknown")]
    never_sent = [o for o in book["orders"] if o["status"] == "rejected" and o["outcome"] == "not_sent"]
    ours = [o for o in book["orders"] if o not in never_sent]
    assert [o["client_order_id"] for o in ours] == venue.names
    for mine, theirs in zip(ours, venue.orders, strict=True):
        asked = theirs.request
        facts = (asked.symbol, asked.side, asked.kind, float(asked.amount), float(theirs.filled))
        assert (mine["symbol"], mine["side"], mine["type"], mine["amount"], mine["filled"]) == facts
        assert (mine["status"], mine["order_id"]) == (theirs.status, str(theirs.order_id))
    seen = [(f["trade_id"], f["order_id"], f["symbol"], f["side"], f["amount"], f["price"]) for f in book["fills"]]
    assert sorted(seen, key=lambda fill: int(fill[0])) == [
        (str(f.trade_id), str(f.order_id), f.symbol, f.side, float(f.amount), float(f.price)) for f in venue.fills
    ]
    held: Counter[str] = Counter()
    for order in ours:
        held[order["symbol"]] += exact(order["filled"]) * (1 if order["side"] == "buy" else -1)
    assert {symbol: size for symbol, size in held.items() if size} == venue.positions
    return venue


# -- one signal with a key


def key(name: str, **signal: Any) -> list[dict[str, Any]]:
    return [{"exchange": "paper", "symbol": SWAP, "key": name, **signal}]


LIMIT = key("limit", action="buy", amount=0.01, price=49_000)
MARKET = key("market", action="sell", amount=0.01)
CLOSE = key("close", action="close")
PROTECTED = key("protected", action="buy", amount=0.01, stop_loss=45_000, take_profit=60_000)
BATCH = [
    {"exchange": "paper", "symbol": SWAP, "action": "buy", "amount": 0.011},
    {"exchange": "paper", "symbol": ETHER, "action": "sell", "amount": 0.12},
    {"exchange": "paper", "symbol": SWAP, "action": "buy", "amount": 0.013, "price": 49_000},
    {"exchange": "paper", "symbol": SWAP, "action": "sell", "amount": 0.014},
]
KEYED_BATCH = [{**signal, "key": f"batch-{number}"} for number, signal in enumerate(BATCH[:3])]


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory where there is one: what is tested is the death of processes, not of disks."""
    memory = Path("/dev/shm")
    if not os.access(memory, os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir=memory) as name:
        yield Path(name)


@pytest.fixture
def template(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home with prices set, nothing traded."""
    return make_template(folder, monkeypatch, holding=False)


@pytest.fixture
def template_with_position(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home with prices set and a position of 0.02."""
    return make_template(folder, monkeypatch, holding=True)


def make_template(folder: Path, monkeypatch: pytest.MonkeyPatch, *, holding: bool) -> Path:
    monkeypatch.setenv("PAPER_SOURCE", "fixed")
    in_child(partial(stage, holding=holding), home=folder / "template")
    registry.find("paper")
    return folder / "template"


def kill_points(template: Path, signals: Sequence[dict[str, Any]], steps: Steps) -> Iterator[Path]:
    """Yield a home for each step of the signals at which a process can die; it has died there."""
    return deaths_of(template, partial(carry_out, signals), steps)


def deaths_of(template: Path, task: Callable[[], Any], steps: Steps) -> Iterator[Path]:
    """Yield a home for each step of a task at which a process can die."""

    def die(step: int) -> Child:
        home = copy_home(template, template.with_name(f"{template.name}-{step}"))
        return Child(do_and_die, task, steps, step, home=home)

    child = die(1)
    for step in itertools.count(1):
        seen, home = child.result(), child.home
        if not child.killed:
            assert seen == step - 1
            return
        child = die(step + 1)
        try:
            yield home
        finally:
            shutil.rmtree(home)
            if sys.exc_info()[0] is GeneratorExit:
                child.result()
                shutil.rmtree(child.home)


@pytest.mark.parametrize(
    ("signals", "steps", "least", "before", "orders", "position"),
    [
        pytest.param(LIMIT, EVERY_LINE, 500, 0, [("buy", "limit", "0.010", "open")], 0, id="limit, every line"),
        pytest.param(MARKET, SENDING, 60, 0, [("sell", "market", "0.010", "filled")], -0.01, id="market"),
        pytest.param(CLOSE, SENDING, 60, 1, [("sell", "market", "0.020", "filled")], 0, id="close"),
        pytest.param(
            PROTECTED,
            DECISIONS,
            150,
            0,
            [
                ("buy", "market", "0.010", "filled"),
                ("sell", "stop", "0.010", "open"),
                ("sell", "take_profit", "0.010", "open"),
            ],
            0.01,
            id="stop loss and take profit",
        ),
    ],
)
def test_a_keyed_signal_is_carried_out_once(
    request: pytest.FixtureRequest,
    signals: list[dict[str, Any]],
    steps: Steps,
    least: int,
    before: int,
    orders: list[tuple[str, ...]],
    position: float,
) -> None:
    template = request.getfixturevalue("template_with_position" if before else "template")
    deaths: Counter[str] = Counter()
    for home in kill_points(template, signals, steps):
        sent, recorded = len(Venue(home).orders) - before, has_recorded(home) - before
        assert sent <= recorded, "sent before it was recorded"
        deaths[f"{recorded} recorded, {sent} sent"] += 1
        after = in_child(carry_out_again, signals, home=home)
        venue = agree(home, after)
        assert venue.told[before:] == orders
        assert float(venue.positions.get(SWAP, 0)) == position
        for answer in after["second"]:
            assert answer["success"], answer
            assert answer["data"]["order"]["client_order_id"] == venue.names[before]
            placed = [order["data"]["order_id"] for order in answer["data"].get("protection", ())]
            assert len(placed) == len(orders) - 1
        assert after["third"] == after["second"]
    assert deaths.total() >= least, deaths
    before_and_after = {"0 recorded, 0 sent", "1 recorded, 0 sent", "1 recorded, 1 sent"}
    assert before_and_after | {f"{len(orders)} recorded, {len(orders)} sent"} <= set(deaths)


def test_a_process_that_dies_while_it_recovers(template: Path) -> None:
    """The first process dies with the order recorded, or sent; the second at every step of finding out."""
    count = 0
    for sent in (0, 1):
        with closing(kill_points(template, MARKET, SENDING)) as points:
            first = next(home for home in points if has_recorded(home) and len(Venue(home).orders) == sent)
            left = copy_home(first, template.with_name(f"sent-{sent}"))
        for home in kill_points(left, MARKET, SENDING):
            after = in_child(carry_out_again, MARKET, home=home)
            venue = agree(home, after)
            assert venue.told == [("sell", "market", "0.010", "filled")]
            assert after["second"][0]["success"]
            assert after["third"] == after["second"]
            count += 1
    assert count >= 150


# -- without a key


def test_a_signal_without_a_key_is_sent_once_or_not_at_all(template: Path) -> None:
    signals = [{"exchange": "paper", "symbol": SWAP, "action": "buy", "amount": 0.01}]
    outcomes: Counter[int] = Counter()
    for home in kill_points(template, signals, SENDING):
        sent = len(Venue(home).orders)
        venue = agree(home, in_child(start_again, home=home))
        assert len(venue.orders) == sent <= 1, "what was not sent by a process must not be sent by the next"
        outcomes[sent] += 1
    assert set(outcomes) == {0, 1}


def test_an_entry_without_a_key_is_protected_by_the_next_process(template: Path) -> None:
    signals = [{"exchange": "paper", "symbol": SWAP, "action": "buy", "amount": 0.01, "stop_loss": 45_000}]
    outcomes: Counter[int] = Counter()
    for home in kill_points(template, signals, SENDING):
        sent = len(Venue(home).orders)
        in_child(start_again, home=home)
        venue = agree(home, in_child(start_again, home=home))
        entry, stop = ("buy", "market", "0.010", "filled"), ("sell", "stop", "0.010", "open")
        assert venue.told == ([entry, stop] if sent else [])
        outcomes[sent] += 1
    assert set(outcomes) == {0, 1, 2}


def test_an_entry_is_protected_though_the_process_that_finds_it_filled_dies_too(template: Path) -> None:
    signals = [{"exchange": "paper", "symbol": SWAP, "action": "buy", "amount": 0.01, "stop_loss": 45_000}]
    with closing(kill_points(template, signals, SENDING)) as points:
        first = next(home for home in points if len(Venue(home).orders) == 1)
        left = copy_home(first, template.with_name("entered"))
    count = 0
    for home in deaths_of(left, start_again, SENDING):
        venue = agree(home, in_child(start_again, home=home))
        assert venue.told == [("buy", "market", "0.010", "filled"), ("sell", "stop", "0.010", "open")]
        count += 1
    assert count >= 50


# -- many at once


def test_a_batch_sends_each_signal_at_most_once(template: Path) -> None:
    outcomes: Counter[int] = Counter()
    for home in kill_points(template, BATCH, SENDING):
        sent = len(Venue(home).orders)
        after = in_child(start_again, home=home)
        venue = agree(home, after)
        assert len(after["orders"]) in (0, len(BATCH)), "the batch is recorded as a whole"
        assert len(venue.orders) == sent
        outcomes[sent] += 1
    assert set(outcomes) == {0, len(BATCH)}


def test_a_batch_with_keys_is_carried_out_once_and_in_order(template: Path) -> None:
    for home in kill_points(template, KEYED_BATCH, SENDING):
        after = in_child(carry_out_again, KEYED_BATCH, home=home)
        venue = agree(home, after)
        asked = [(order.request.symbol, float(order.request.amount)) for order in venue.orders]
        assert asked == [(signal["symbol"], signal["amount"]) for signal in KEYED_BATCH]
        assert all(answer["success"] for answer in after["second"])
        assert after["third"] == after["second"]


# -- the loop


def run_file(path: Path) -> dict[str, Any]:
    return executor.default_executor().run(path, follow=False, sync_every=0.005, risk_every=0.01)


def test_a_loop_killed_again_and_again_carries_out_its_file_once(template: Path, tmp_path: Path) -> None:
    dice = random.Random(20_240_501)
    path = tmp_path / "signals.jsonl"
    signals: list[dict[str, Any]] = []
    for number in range(30):
        # Amounts tell the signals apart; buys and sells take turns, so that no position grows large.
        signal = {"action": ("buy", "sell")[number // 2 % 2], "amount": round(0.01 + number / 1000, 3)}
        if number % 3 == 0:
            signal["price"] = (40_000, 60_000)[signal["action"] == "sell"] // (1, 20)[number % 2]
        if number % 5 == 0:
            signal["key"] = f"own-{number}"
        signals.append({"exchange": "paper", "symbol": (SWAP, ETHER)[number % 2], **signal})
    path.write_text("".join(json.dumps(signal) + "\n" for signal in signals))
    deaths, sent, patience = 0, 0, 0.002
    while True:
        child = Child(run_file, path, home=template)
        time.sleep(dice.uniform(0.0, patience))
        child.kill()
        done = child.result()
        if not child.killed:
            break
        deaths += 1
        # A busy machine may need longer before it gets anything done.
        before, sent = sent, len(Venue(template).orders)
        patience *= 0.9 if sent > before else 1.3
        assert deaths < 1000
    assert (done["unfinished"], done["left"]) == ([], 0)
    assert deaths >= 5
    venue = agree(template, in_child(start_again, home=template))
    for symbol in (SWAP, ETHER):
        asked = [float(order.request.amount) for order in venue.orders if order.request.symbol == symbol]
        assert asked == [signal["amount"] for signal in signals if signal["symbol"] == symbol]
