"""The chain of events and the tables that follow it: tampering, crashes, several processes.

What the chain alone cannot show: rows cut off its end (the chain that is left is whole; `audit` finds it where the
tables had taken those rows in), and a chain computed anew by somebody who means it (nothing in it is secret).
"""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import threading
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from Execution import registry
from Execution.common import audit
from Execution.common import journal as journal_module
from Execution.common.envelope import fail
from Execution.common.errors import StoreError
from Execution.common.journal import Journal
from Execution.common.order import OrderRecord
from Execution.order_manager import OrderManager, default_manager
from Execution.order_sender import place_order, place_orders
from tests import children
from tests.fakes import FakeVenue

ORDER: dict[str, Any] = {"symbol": "BTC-USDT", "side": "buy", "order_type": "limit", "amount": 1, "price": 100}


@pytest.fixture
def venue() -> FakeVenue:
    made = FakeVenue("fake")
    registry.register(made)  # type: ignore[arg-type]
    return made


@pytest.fixture
def file(home: Path) -> Path:
    return home / "execution.db"


def limit(**options: Any) -> dict[str, Any]:
    return place_order("fake", "BTC-USDT", "buy", "limit", 1, 100, **options)


def faults() -> list[tuple[int, str]]:
    """Answer where the chain of the default store is broken."""
    return [(event.seq, problem) for event, problem in default_manager().journal.chain() if problem]


def tamper(file: Path, *statements: str) -> None:
    """Change the store behind the package's back."""
    default_manager().close()
    connection = sqlite3.connect(file)
    with connection:
        for statement in statements:
            assert connection.execute(statement).rowcount != 0, statement
    connection.close()


# -- the chain

CHANGED = "its content or the row before it was changed"


@pytest.mark.parametrize(
    ("statement", "found"),
    [
        ("UPDATE events SET body = replace(body, '\"1\"', '\"2\"') WHERE seq = 3", [(3, CHANGED)]),
        ("UPDATE events SET body = CAST(body AS TEXT) WHERE seq = 3", [(3, CHANGED)]),
        ("UPDATE events SET time = time + 0.001 WHERE seq = 4", [(4, CHANGED)]),
        ("UPDATE events SET kind = 'filled' WHERE seq = 4", [(4, CHANGED)]),
        ("UPDATE events SET rid = rid + 1 WHERE seq = 5", [(5, CHANGED)]),
        ("UPDATE events SET hash = zeroblob(32) WHERE seq = 5", [(5, CHANGED), (6, CHANGED)]),
        ("DELETE FROM events WHERE seq = 1", [(2, "events 1 to 1 are missing")]),
        ("DELETE FROM events WHERE seq = 4", [(5, "events 4 to 4 are missing")]),
        ("DELETE FROM events WHERE seq IN (2, 3, 4)", [(5, "events 2 to 4 are missing")]),
        ("INSERT INTO events SELECT 0, time, kind, rid, body, hash FROM events WHERE seq = 1",
         [(0, "it stands before the first event"), (1, CHANGED)]),
        ("INSERT INTO events SELECT -7, time, kind, rid, body, hash FROM events WHERE seq = 1",
         [(-7, "it stands before the first event"), (1, CHANGED)]),
        ("INSERT INTO events SELECT 7, time, kind, rid, body, hash FROM events WHERE seq = 6", [(7, CHANGED)]),
        ("INSERT INTO events SELECT 9, time, kind, rid, body, hash FROM events WHERE seq = 6",
         [(9, "events 7 to 8 are missing")]),
    ],
)  # fmt: skip
def test_the_first_row_that_was_tampered_with_is_named(
    venue: FakeVenue, file: Path, statement: str, found: list[tuple[int, str]]
) -> None:
    for _ in range(3):
        limit()
    assert faults() == []
    tamper(file, statement)
    assert faults() == found
    assert not audit.Verification(default_manager().journal).run()["success"]


def test_rows_that_changed_places_are_found(venue: FakeVenue, file: Path) -> None:
    for _ in range(3):
        limit()
    tamper(
        file,
        "UPDATE events SET seq = 100 WHERE seq = 3",
        "UPDATE events SET seq = 3 WHERE seq = 5",
        "UPDATE events SET seq = 5 WHERE seq = 100",
    )
    assert [seq for seq, _ in faults()] == [3, 4, 5, 6]


def test_a_row_put_in_between_with_its_numbers_moved_on_is_found(venue: FakeVenue, file: Path) -> None:
    for _ in range(3):
        limit()
    tamper(
        file,
        "UPDATE events SET seq = -seq WHERE seq > 3",
        "UPDATE events SET seq = 1 - seq WHERE seq < 0",
        "INSERT INTO events SELECT 4, time, kind, rid, body, hash FROM events WHERE seq = 3",
    )
    assert [seq for seq, _ in faults()] == [4, 5, 6, 7]


def test_an_end_that_was_cut_off_is_found_by_the_tables_only(venue: FakeVenue, file: Path) -> None:
    for _ in range(3):
        limit()
    tamper(file, "DELETE FROM events WHERE seq > 4")
    journal = Journal(str(file))
    assert [problem for _, problem in journal.chain() if problem] == []
    answer = audit.Verification(journal).run()
    assert not answer["success"]
    assert answer["data"]["broken"]["row"] == 5
    journal.close()


def test_a_chain_may_be_walked_from_an_event_that_is_trusted(venue: FakeVenue, file: Path) -> None:
    for _ in range(3):
        limit()
    tamper(file, "UPDATE events SET time = 7 WHERE seq = 2")
    walked = [(event.seq, problem) for event, problem in default_manager().journal.chain(3)]
    assert walked == [(4, ""), (5, ""), (6, "")]
    assert faults() == [(2, CHANGED)]


def test_a_long_chain_is_walked_in_parts(file: Path, home: Path) -> None:
    home.mkdir()
    journal = Journal(str(file))
    with journal:
        for number in range(5003):
            journal.note("note", {"n": number})
    assert [(event.seq, problem) for event, problem in journal.chain()] == [(n, "") for n in range(1, 5004)]
    journal.close()


# -- transactions


def test_a_part_that_failed_spoils_the_whole_even_where_somebody_caught_it(venue: FakeVenue) -> None:
    limit()
    manager = default_manager()

    def work() -> None:
        with manager.writing():
            manager.journal.note("before", {})
            with contextlib.suppress(ZeroDivisionError), manager.writing():
                _ = 1 / 0
            manager.journal.note("after", {})

    with pytest.raises(StoreError, match="a part of the transaction failed: nothing of it was written"):
        work()
    assert limit()["success"]
    assert faults() == []
    assert [event.kind for event in manager.journal.events()] == ["intent", "open"] * 2


def test_a_failed_write_is_not_half_remembered(venue: FakeVenue, monkeypatch: pytest.MonkeyPatch) -> None:
    limit()
    manager = default_manager()

    def work() -> None:
        with manager.writing():
            manager.journal.note("never", {})

    def full(*_: Any) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(journal_module, "_insert", full)
    with pytest.raises((StoreError, sqlite3.Error)):
        work()
    monkeypatch.undo()
    limit()
    assert faults() == []
    assert [event.kind for event in manager.journal.events()] == ["intent", "open"] * 2
    assert len(manager.get_open_orders()) == 2


def test_a_write_that_fails_after_the_send_is_a_store_failure(
    venue: FakeVenue, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = journal_module._insert, []

    def full(connection: Any, sql: str, rows: Any) -> None:
        calls.append(sql)
        if len(calls) > 1:
            raise sqlite3.OperationalError("database or disk is full")
        real(connection, sql, rows)

    monkeypatch.setattr(journal_module, "_insert", full)
    answer = limit()
    assert answer["success"]
    assert answer["data"]["recorded"] is False
    monkeypatch.undo()
    assert len(default_manager().leftovers()) == 1


@pytest.mark.parametrize("body", ["not json", "[]", "[{}, 1, 2]", "{}"])
def test_an_event_that_cannot_be_read_is_a_failed_store_not_an_exception(
    venue: FakeVenue, file: Path, body: str
) -> None:
    limit()
    other = OrderManager(str(file))
    assert len(other.get_open_orders()) == 1
    limit()
    connection = sqlite3.connect(file)
    with connection:
        connection.execute("UPDATE events SET body = ? WHERE seq = 3", (body.encode(),))
    connection.close()
    with pytest.raises(StoreError, match="is damaged: an event cannot be read"):
        other.get_open_orders()
    default_manager().journal.close()
    answer = limit()
    assert (answer["data"]["error"], answer["data"]["outcome"]) == ("STORE_FAILED", "not_sent")
    other.journal.close()


# -- the tables


def test_the_tables_follow_before_anybody_reads_them(venue: FakeVenue, file: Path) -> None:
    first = limit()
    assert rows(file, "SELECT status FROM orders") == []
    assert [o["status"] for o in default_manager().get_orders_by_symbol("fake", "BTC-USDT")] == ["open"]
    assert rows(file, "SELECT status FROM orders") == [("open",)]
    venue.orders[first["order_id"]]["status"] = "cancelled"
    default_manager().update_order_status("fake", first["order_id"])
    assert rows(file, "SELECT status FROM orders") == [("open",)]
    assert default_manager().get_order(first["order_id"])["status"] == "cancelled"  # type: ignore[index]
    assert default_manager().get_order(first["client_order_id"], "fake")["status"] == "cancelled"  # type: ignore[index]
    assert default_manager().get_orders_by_status("open") == []
    assert rows(file, "SELECT status FROM orders") == [("cancelled",)]


def test_executions_that_come_late_leave_an_ended_order_ended(venue: FakeVenue, file: Path) -> None:
    first = limit()
    manager = default_manager()
    manager.get_orders_by_status("open")
    venue.orders[first["order_id"]] |= {"status": "cancelled", "filled": 0.5, "average_price": 100.0}
    venue.then(
        "get_fills", fail("TIMEOUT", "", "not_sent"), fail("TIMEOUT", "", "not_sent"), fail("TIMEOUT", "", "not_sent")
    )
    manager.update_order_status("fake", first["order_id"])
    other = OrderManager(str(file))
    record = other.find(first["order_id"])
    assert record is not None
    with other.writing():
        other.journal.change(record, "fills", {"client_order_id": record.client_order_id, "fills": [fill_row()]})
    other.close()
    assert [(o["status"], o["filled"]) for o in manager.get_orders_by_time(0)] == [("cancelled", 0.5)]
    assert [f["trade_id"] for f in manager.get_fills()] == ["t1"]
    assert audit.Verification(manager.journal).run()["success"]


def fill_row() -> tuple[Any, ...]:
    return ("t1", "1", "buy", "0.5", "100", "0.1", "USDT", 1, 1000.0)


def rows(file: Path, sql: str) -> list[tuple[Any, ...]]:
    connection = sqlite3.connect(file)
    found = connection.execute(sql).fetchall()
    connection.close()
    return found


def test_tables_that_are_far_behind_follow_by_themselves(
    venue: FakeVenue, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_module, "_BEHIND_AT_MOST", 10)
    monkeypatch.setattr(journal_module, "_SLICE", 4)
    place_orders("fake", [ORDER] * 12)
    place_orders("fake", [ORDER] * 12)
    assert 0 < rows(file, "SELECT count(*) FROM orders")[0][0] < 24
    assert verified() == []


def verified() -> list[str]:
    """Answer what the verification of the default store complains of, as another process would see it."""
    journal = Journal(default_manager().journal.database.path)
    message = audit.Verification(journal).run()["message"]
    journal.close()
    return [message] if message else []


@pytest.mark.parametrize("most", [1, 2, 3])
def test_a_slice_of_the_tables_is_right_and_taken_up_after_a_crash(venue: FakeVenue, file: Path, most: int) -> None:
    """Rows are ahead of the event that the tables are said to be at; so are executions."""
    first, second, third = limit(), limit(), limit()
    manager = default_manager()
    for order, change in (
        (second, {"status": "partially_filled", "filled": 0.25, "average_price": 100.0, "fills": [public_fill("t1")]}),
        (first, {"status": "cancelled"}),
        (second, {"status": "filled", "filled": 1.0, "average_price": 100.0, "fills": [public_fill("t2")]}),
    ):
        venue.orders[order["order_id"]] |= change
        manager.update_order_status("fake", order["order_id"])
    for _ in range(4):
        manager.journal.project_some(most)
        assert verified() == []
        crashed = OrderManager(str(file))
        stored = crashed.get_open_orders()
        assert [o["client_order_id"] for o in stored] == [third["client_order_id"]]
        assert crashed.find(first["order_id"]).status == "cancelled"  # type: ignore[union-attr]
        assert crashed.find(second["order_id"]).filled == 1  # type: ignore[union-attr]
        crashed.journal.close()
    assert [o["status"] for o in manager.get_orders_by_time(0)] == ["cancelled", "filled", "open"]
    assert verified() == []


def test_a_row_changed_by_hand_is_found(venue: FakeVenue, file: Path) -> None:
    limit()
    limit()
    tamper(file, "UPDATE orders SET filled = '1' WHERE rid = 2")
    assert verified() == ["orders, row 2: filled is '1', the events say '0'"]


def public_fill(name: str) -> dict[str, Any]:
    return {
        "trade_id": name,
        "order_id": "2",
        "client_order_id": "",
        "symbol": "BTC-USDT",
        "side": "buy",
        "amount": 0.5,
        "price": 100.0,
        "fee": 0.1,
        "fee_currency": "USDT",
        "maker": True,
        "timestamp": 1000.0,
    }


@pytest.mark.parametrize("count", [1, 7, 30])
def test_a_killed_process_leaves_tables_that_can_be_made_from_the_events(file: Path, home: Path, count: int) -> None:
    read, write = os.pipe()

    def child() -> None:
        journal_module._BEHIND_AT_MOST, journal_module._SLICE = 16, 5
        venue = FakeVenue("fake")
        registry.register(venue)  # type: ignore[arg-type]
        for number in range(count):
            answer = place_order("fake", "BTC-USDT", "buy", ("limit", "market")[number % 2], 1, (100, None)[number % 2])
            if number % 6 == 0:
                venue.orders[answer["order_id"]]["status"] = "cancelled"
                default_manager().update_order_status("fake", answer["order_id"])
            os.write(write, f"{answer['client_order_id']} {answer['status']}\n".encode())
        os.kill(os.getpid(), signal.SIGKILL)

    pid = children.fork(child)
    os.close(write)
    with os.fdopen(read) as pipe:
        told = dict(line.split() for line in pipe)
    assert children.ended(pid) == -signal.SIGKILL
    assert len(told) == count
    manager = default_manager()
    stored = {o["client_order_id"]: o for o in manager.get_orders_by_time(0)}
    assert set(stored) == set(told)
    assert audit.Verification(manager.journal).run() == {
        "success": True,
        "message": "",
        "data": {**audit.Verification(manager.journal).run()["data"], "orders": count, "broken": None},
    }
    for name, order in stored.items():
        history = manager.get_history(name)
        assert history[0]["event"] == "intent"
        assert order["status"] == history[-1]["event"]
        assert order["order_id"] == history[-1]["order_id"]
        assert order["filled"] == float(history[-1].get("filled", 0))
    assert [o["status"] for o in manager.get_open_orders()] == ["open"] * sum(
        stored[name]["status"] == "open" for name in stored
    )


# -- several at once


def test_two_processes_append_to_one_chain(venue: FakeVenue, file: Path) -> None:
    limit()

    def child() -> None:
        for _ in range(30):
            assert limit()["success"]
        default_manager().close()

    pids = [children.fork(child) for _ in range(2)]
    for _ in range(30):
        assert limit()["success"]
    assert [children.ended(pid) for pid in pids] == [0, 0]
    manager = default_manager()
    assert faults() == []
    assert len(manager.get_open_orders()) == 91
    assert len({o["client_order_id"] for o in manager.get_orders_by_time(0)}) == 91
    assert audit.Verification(manager.journal).run()["success"]


def test_a_fork_while_another_thread_writes_blocks_nobody(venue: FakeVenue) -> None:
    limit()
    manager = default_manager()
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            limit()

    def child() -> None:
        signal.alarm(30)
        assert manager.get_open_orders()
        assert limit()["success"]
        assert manager.find("1") is not None
        manager.close()

    threads = [threading.Thread(target=write) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        pids = [children.fork(child) for _ in range(5)]
        assert [children.ended(pid) for pid in pids] == [0] * 5
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert faults() == []
    assert audit.Verification(manager.journal).run()["success"]


def test_a_child_forked_inside_a_transaction_cannot_write(venue: FakeVenue) -> None:
    limit()
    manager = default_manager()

    def child() -> None:
        with pytest.raises(StoreError):
            manager.journal.__exit__(None, None, None)
        answer = limit()
        assert (answer["data"]["error"], answer["data"]["outcome"]) == ("STORE_FAILED", "not_sent")

    with manager.writing():
        manager.journal.note("parent", {})
        assert children.ended(children.fork(child)) == 0
    assert [event.kind for event in manager.journal.events()] == ["intent", "open", "parent"]
    assert faults() == []


def test_threads_append_to_one_chain(venue: FakeVenue) -> None:
    def work() -> None:
        for _ in range(20):
            assert limit()["success"]

    run([work] * 5)
    assert faults() == []
    assert len(default_manager().get_open_orders()) == 100


def run(works: list[Callable[[], Any]]) -> None:
    threads = [threading.Thread(target=work) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


# -- signals and notes


def test_a_key_is_claimed_once_and_taken_over_once(file: Path, home: Path) -> None:
    home.mkdir()
    journal = Journal(str(file))
    with journal:
        assert journal.claim_signal("k", "digest", "a")
        assert not journal.claim_signal("k", "digest", "b")
    with journal:
        assert journal.take_over_signal("k", "a", "b")
        assert not journal.take_over_signal("k", "a", "c")
    assert journal.signal("k") == ("digest", "b", None)
    with journal:
        journal.answer_signal("k", {"success": True})
    row = journal.signal("k")
    assert row is not None
    assert row.answer is not None
    assert journal_module.decode_answer(row.answer) == {"success": True}
    with journal:
        assert not journal.take_over_signal("k", "b", "c")
    assert journal.signal("other") is None
    journal.close()


def test_an_order_of_another_book_is_added_once(venue: FakeVenue) -> None:
    """Also where the book knows it by our id only, and where another venue has that id."""
    venue.failing["place_limit_order"] = ("TIMEOUT", "unknown")
    lost = limit(client_order_id="mine")
    assert lost["status"] == "unknown"
    manager = default_manager()
    info = {"order_id": "9", "client_order_id": "mine", "exchange": "fake", "symbol": "BTC-USDT", "side": "buy",
            "type": "limit", "amount": 1, "price": 100, "status": "open", "timestamp": 1000.0}  # fmt: skip
    answer = manager.add_order(info)
    assert (answer["success"], answer["message"]) == (True, "already in the book")
    registry.register(FakeVenue("second"))  # type: ignore[arg-type]
    refused = manager.add_order({**info, "exchange": "second"})
    assert refused["data"]["error"] == "DUPLICATE_ORDER"
    assert len(manager.get_orders_by_time(0)) == 1
    assert manager.get_order("mine")["amount"] == 1.0  # type: ignore[index]


def test_numbers_are_kept_exact(file: Path, home: Path) -> None:
    home.mkdir()
    manager = OrderManager(str(file))
    record = OrderRecord(
        client_order_id="a",
        exchange="fake",
        symbol="BTC-USDT",
        side="buy",
        type="limit",
        amount=Decimal("0.123456789012345678"),
        price=Decimal("1e-18"),
        created=1000.0,
        options={"max_slippage": "0.1"},
    )
    with manager.writing():
        manager.record(record)
    manager.abandon([record])
    manager.close()
    (stored,) = manager.journal.orders()
    assert (stored.amount, stored.price, stored.options) == (record.amount, record.price, record.options)
    found = manager.find("a")
    assert found is not None
    assert found.amount == record.amount
    manager.close()
