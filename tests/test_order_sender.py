"""The one door: flat answers, intents on disk first, batches, ids, and stores that fail before or after a send."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from Execution import registry
from Execution.common.envelope import fail, ok
from Execution.common.errors import Refused, StoreError
from Execution.common.order import OrderRecord
from Execution.drafts import draft_of, prepare
from Execution.order_manager import OrderManager, default_manager
from Execution.order_sender import place_order, place_orders, submit
from tests import children
from tests.fakes import FakeVenue

KEYS = {
    "success", "order_id", "client_order_id", "symbol", "side", "amount", "price", "status", "message", "data",
}  # fmt: skip
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


def events(file: Path) -> list[tuple[str, bytes]]:
    """Read the events with a connection that has nothing to do with the package."""
    connection = sqlite3.connect(f"file:{file}?mode=ro", uri=True)
    rows = connection.execute("SELECT kind, body FROM events ORDER BY seq").fetchall()
    connection.close()
    return rows


def lock(file: Path) -> sqlite3.Connection:
    """Hold the store as another process would."""
    connection = sqlite3.connect(file, isolation_level=None, check_same_thread=False)
    connection.execute("BEGIN IMMEDIATE")
    return connection


# -- the flat answer


@pytest.mark.parametrize(
    ("kind", "price", "stop", "status"),
    [("limit", 100, None, "open"), ("market", None, None, "filled"), ("stop", None, 110, "open"),
     ("stop", 111, 110, "open"), ("take_profit", None, 90, "open")],
)  # fmt: skip
def test_a_placed_order_answers_flat(venue: FakeVenue, kind: str, price: Any, stop: Any, status: str) -> None:
    answer = place_order("fake", "btc/usdt", "buy", kind, 1.0009, price, stop)
    assert set(answer) == KEYS
    assert answer["success"] is True
    assert (answer["symbol"], answer["side"], answer["amount"]) == ("BTC-USDT", "buy", 1.0)
    assert answer["price"] == price
    assert (answer["status"], answer["data"]["status"]) == (status, status)
    assert answer["order_id"] == answer["data"]["order_id"] == "1"
    assert answer["client_order_id"] == answer["data"]["client_order_id"]
    assert (answer["data"]["type"], answer["data"]["stop_price"]) == (kind, stop)
    assert default_manager().get_order("1") == answer["data"]


def test_options_reach_the_venue(venue: FakeVenue) -> None:
    limit(client_order_id="mine", time_in_force="GTC", post_only=True, reduce_only=True, strategy="s")
    place_order("fake", "BTC-USDT", "sell", "market", 1, max_slippage="0.01")
    first, second = (kwargs for function, _, kwargs in venue.calls if function.startswith("place"))
    assert first["client_order_id"] == "mine"
    assert (first["time_in_force"], first["post_only"], first["reduce_only"]) == ("GTC", True, True)
    assert second["max_slippage"] == "0.01"
    assert default_manager().get_order("mine")["strategy"] == "s"  # type: ignore[index]


def test_a_refused_order_answers_what_was_asked(venue: FakeVenue) -> None:
    answer = place_order("fake", "BTC-USDT", "hold", "limit", "x", 100)
    assert set(answer) == KEYS
    assert (answer["success"], answer["order_id"], answer["client_order_id"]) == (False, "", "")
    assert (answer["symbol"], answer["side"], answer["amount"], answer["price"]) == ("BTC-USDT", "hold", "x", 100)
    assert answer["status"] == "rejected"
    assert (answer["data"]["error"], answer["data"]["outcome"]) == ("INVALID_ORDER", "not_sent")
    assert answer["message"].startswith("INVALID_ORDER: side must be")
    assert venue.calls == []


@pytest.mark.parametrize(
    ("error", "outcome", "status"),
    [("INSUFFICIENT_FUNDS", "rejected", "rejected"), ("TIMEOUT", "unknown", "unknown"),
     ("AUTHENTICATION", "not_sent", "rejected")],
)  # fmt: skip
def test_a_failed_order_says_what_is_known_of_it(venue: FakeVenue, error: str, outcome: str, status: str) -> None:
    venue.failing["place_limit_order"] = (error, outcome)
    answer = limit()
    assert (answer["success"], answer["status"], answer["order_id"]) == (False, status, "")
    assert (answer["data"]["error"], answer["data"]["outcome"]) == (error, outcome)
    assert answer["data"]["client_order_id"] == answer["client_order_id"]
    assert answer["data"]["attempts"] == 1
    assert default_manager().get_order(answer["client_order_id"])["status"] == status  # type: ignore[index]


@pytest.mark.parametrize("name", [None, 7, "nowhere", "serum"])
def test_a_venue_that_is_none_is_an_answer(name: Any) -> None:
    answer = place_order(name, "BTC-USDT", "buy", "market", 1)
    assert answer["success"] is False
    assert answer["data"]["error"] in ("UNKNOWN_VENUE", "NOT_SUPPORTED")
    assert answer["data"]["outcome"] == "not_sent"


@pytest.mark.parametrize(
    ("setting", "value"),
    [("EXECUTION_DURABILITY", "fast"), ("EXECUTION_STORE", "mysql://x"), ("EXECUTION_STORE_TIMEOUT", "long"),
     ("EXECUTION_HOME", "/proc/nowhere")],
)  # fmt: skip
def test_bad_settings_are_an_answer(
    venue: FakeVenue, setting: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(setting, value)
    answer = limit()
    assert (answer["data"]["error"], answer["data"]["outcome"]) == ("CONFIGURATION", "not_sent")
    assert setting in answer["message"]
    assert venue.called("place_limit_order") == 0


def test_many_orders_are_answered_in_their_order(venue: FakeVenue) -> None:
    orders: list[Any] = [
        ORDER,
        {**ORDER, "amount": -1},
        None,
        {**ORDER, "side": "sell", "price": 120},
        {**ORDER, "prise": 1},
        {**ORDER, "client_order_id": "mine"},
        {**ORDER, "client_order_id": "mine"},
        {**ORDER, "order_type": "market", "price": None},
    ]
    answers = place_orders("fake", orders)
    assert [a["success"] for a in answers] == [True, False, False, True, False, True, False, True]
    assert [a["order_id"] for a in answers] == ["1", "", "", "2", "", "3", "", "4"]
    assert answers[6]["data"]["error"] == "DUPLICATE_ORDER"
    assert answers[2]["symbol"] is None
    sent = [kwargs["client_order_id"] for function, _, kwargs in venue.calls if function.startswith("place")]
    assert sent == [answers[i]["client_order_id"] for i in (0, 3, 5, 7)]
    assert place_orders("fake", []) == []


def test_no_order_that_could_leave_touches_no_store(venue: FakeVenue, file: Path) -> None:
    place_orders("fake", [{**ORDER, "amount": 0}])
    assert not file.exists()


# -- on disk first


@pytest.mark.parametrize("kind", ["limit", "market", "stop", "take_profit"])
def test_the_intent_is_on_disk_before_the_venue_is_called(venue: FakeVenue, file: Path, kind: str) -> None:
    seen: list[list[tuple[str, bytes]]] = []
    venue.before = lambda function: seen.append(events(file)) if function.startswith("place") else None
    price, stop = (100 if kind == "limit" else None), (110 if kind in ("stop", "take_profit") else None)
    answer = place_order("fake", "BTC-USDT", "buy", kind, 1, price, stop)
    ((intent, body),) = seen[0]
    assert intent == "intent"
    assert answer["client_order_id"].encode() in body
    assert [name for name, _ in events(file)] == ["intent", answer["status"]]


def test_all_intents_of_many_orders_are_on_disk_before_the_first_leaves(venue: FakeVenue, file: Path) -> None:
    seen: list[int] = []
    venue.before = lambda function: seen.append(len(events(file))) if function.startswith("place") else None
    place_orders("fake", [ORDER] * 3)
    assert seen == [3, 3, 3]
    venue.place_orders = lambda orders: (  # type: ignore[attr-defined]
        seen.append(len(events(file))) or [venue.place_limit_order(o["symbol"], o["side"], 1, 1) for o in orders]  # type: ignore[func-returns-value]
    )
    place_orders("fake", [ORDER] * 2)
    assert seen[3] == 8


def test_a_store_that_fails_before_the_send_lets_nothing_leave(
    venue: FakeVenue, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EXECUTION_STORE_TIMEOUT", "0.05")
    limit()
    venue.calls.clear()
    other = lock(file)
    answers = [limit(client_order_id="mine"), *place_orders("fake", [ORDER, ORDER])]
    for answer in answers:
        assert (answer["data"]["error"], answer["data"]["outcome"]) == ("STORE_FAILED", "not_sent")
        assert "stayed locked for 0.05 s" in answer["message"]
    assert venue.calls == []
    other.close()
    assert len(default_manager().get_orders_by_time(0)) == 1
    assert limit(client_order_id="mine")["success"]
    assert default_manager().leftovers() == []


def test_a_store_that_cannot_be_opened_lets_nothing_leave(venue: FakeVenue, home: Path) -> None:
    home.mkdir()
    (home / "execution.db").write_text("my diary, " * 200)
    answer = limit()
    assert (answer["data"]["error"], answer["data"]["outcome"]) == ("STORE_FAILED", "not_sent")
    assert venue.called("place_limit_order") == 0


@pytest.mark.parametrize("succeeds", [True, False])
def test_a_store_that_fails_after_the_send_keeps_the_order_known(
    venue: FakeVenue, file: Path, monkeypatch: pytest.MonkeyPatch, succeeds: bool
) -> None:
    monkeypatch.setenv("EXECUTION_STORE_TIMEOUT", "0.05")
    held: list[sqlite3.Connection] = []

    def before(function: str) -> None:
        if function.startswith("place"):
            held.append(lock(file))

    venue.before = before
    if not succeeds:
        venue.then("place_limit_order", fail("TIMEOUT", "silence", "unknown"))
    answer = limit()
    assert set(answer) == KEYS
    assert answer["success"] is succeeds
    assert answer["data"]["recorded"] is False
    assert "outcome not recorded yet" in answer["message"]
    assert answer["order_id"] == ("1" if succeeds else "")
    venue.before = lambda function: None
    if not succeeds:
        venue.add(symbol="BTC-USDT", client_order_id=answer["client_order_id"])
    held[0].close()
    manager = default_manager()
    (left,) = manager.leftovers()
    assert (left.client_order_id, left.status) == (answer["client_order_id"], "pending")
    assert [order["status"] for order in manager.sync("fake")] == ["open"]
    assert manager.get_order("1")["client_order_id"] == answer["client_order_id"]  # type: ignore[index]
    assert manager.leftovers() == []


def test_one_failed_record_after_the_send_marks_all_that_were_sent_and_no_other(
    venue: FakeVenue, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit(client_order_id="taken")

    def broken(*_: Any) -> None:
        raise StoreError("the disk is full")

    monkeypatch.setattr(OrderManager, "settle", broken)
    first, taken, second = place_orders("fake", [ORDER, {**ORDER, "client_order_id": "taken"}, ORDER])
    assert (first["data"]["recorded"], second["data"]["recorded"]) == (False, False)
    assert (taken["data"]["error"], "recorded" in taken["data"]) == ("DUPLICATE_ORDER", False)
    monkeypatch.undo()
    assert len(default_manager().leftovers()) == 2


def test_an_interrupted_send_is_left_to_the_resolver(venue: FakeVenue) -> None:
    venue.then("place_limit_order", KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        limit(client_order_id="mine")
    (left,) = default_manager().leftovers()
    assert (left.client_order_id, left.status) == ("mine", "pending")
    assert default_manager().sync("fake")[0]["status"] == "rejected"


# -- ids


def test_an_id_is_used_once_whoever_made_it(venue: FakeVenue) -> None:
    """Also one of our own that is handed back after its order ended and left memory."""
    first = place_order("fake", "BTC-USDT", "buy", "market", 1)
    mine = place_order("fake", "BTC-USDT", "buy", "market", 1, client_order_id="mine")
    venue.calls.clear()
    for before in (first, mine):
        again = place_order("fake", "BTC-USDT", "buy", "market", 1, client_order_id=before["client_order_id"])
        assert (again["data"]["error"], again["data"]["outcome"]) == ("DUPLICATE_ORDER", "not_sent")
    assert venue.called("place_market_order") == 0
    assert len(default_manager().get_orders_by_time(0)) == 2
    default_manager().close()
    again = place_order("fake:other", "BTC-USDT", "buy", "market", 1, client_order_id=first["client_order_id"])
    assert again["data"]["error"] == "DUPLICATE_ORDER"


def test_an_id_may_be_used_again_where_nothing_was_recorded(venue: FakeVenue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(OrderManager, "record", lambda *_: (_ for _ in ()).throw(StoreError("full")))
    refused = limit()
    monkeypatch.undo()
    assert refused["data"]["error"] == "STORE_FAILED"
    assert limit(client_order_id=refused["client_order_id"])["success"]


def test_ids_are_unique_over_threads_processes_and_forks(venue: FakeVenue, home: Path) -> None:
    limit()
    code = f"""
from Execution import registry
from Execution.order_manager import default_manager
from Execution.order_sender import place_order
from tests.fakes import FakeVenue
registry.register(FakeVenue("fake"))
for _ in range(20):
    assert place_order(**{dict(ORDER, exchange_name="fake")!r})["success"]
default_manager().close()
"""

    def work() -> None:
        for _ in range(20):
            assert limit()["success"]

    def child() -> None:
        work()
        default_manager().close()

    with children.start(code) as other:
        pids = [children.fork(child) for _ in range(2)]
        run([work] * 3)
        assert [children.ended(pid) for pid in pids] == [0, 0]
        _, err = other.communicate(timeout=60)
    assert other.returncode == 0, err
    orders = default_manager().get_orders_by_time(0)
    assert len({order["client_order_id"] for order in orders}) == len(orders) == 1 + 20 * 6
    assert [problem for _, problem in default_manager().journal.chain() if problem] == []


def test_two_threads_with_one_id_send_one_order(venue: FakeVenue) -> None:
    answers: list[dict[str, Any]] = []
    run([lambda: answers.append(limit(client_order_id="mine"))] * 6)
    assert sorted(a["success"] for a in answers) == [False] * 5 + [True]
    assert {a["data"]["error"] for a in answers if not a["success"]} == {"DUPLICATE_ORDER"}
    assert venue.called("place_limit_order") == 1


def run(works: list[Callable[[], Any]]) -> None:
    threads = [threading.Thread(target=work) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


# -- batches


def test_a_batch_is_used_where_the_venue_has_one(venue: FakeVenue) -> None:
    batches: list[list[dict[str, Any]]] = []

    def answer(orders: list[dict[str, Any]]) -> list[Any]:
        batches.append(orders)
        return [ok(venue.add("BTC-USDT", client_order_id=o["client_order_id"])) for o in orders]

    venue.place_orders = answer  # type: ignore[attr-defined]
    kinds = [
        ORDER,
        {**ORDER, "order_type": "market", "price": None, "max_slippage": 0.1},
        {**ORDER, "order_type": "stop", "stop_price": 110},
    ]
    answers = place_orders("fake", kinds)
    assert [a["success"] for a in answers] == [True] * 3
    (orders,) = batches
    assert [set(o) - {"client_order_id", "reduce_only", "type", "symbol", "side", "amount"} for o in orders] == [
        {"price", "time_in_force", "post_only"},
        {"max_slippage"},
        {"price", "stop_price"},
    ]
    assert not [function for function, _, _ in venue.calls if function.startswith("place")]
    limit()
    assert len(batches) == 1


def test_without_a_batch_each_is_sent_alone(venue: FakeVenue) -> None:
    assert [a["success"] for a in place_orders("fake", [ORDER] * 3)] == [True] * 3
    assert venue.called("place_limit_order") == 3


def test_a_batch_with_an_unreadable_answer_leaves_all_unknown(venue: FakeVenue) -> None:
    venue.place_orders = lambda orders: None  # type: ignore[attr-defined]
    answers = place_orders("fake", [ORDER] * 2)
    assert [(a["status"], a["data"]["outcome"]) for a in answers] == [("unknown", "unknown")] * 2
    assert len({a["data"]["client_order_id"] for a in answers}) == 2


def test_orders_of_several_venues_each_go_to_their_own_in_order(venue: FakeVenue) -> None:
    second = FakeVenue("second")
    registry.register(second)  # type: ignore[arg-type]
    records = [prepare(name, draft_of(ORDER)) for name in ("fake", "second", "fake:alpha", "second")]
    answers = submit(default_manager(), records)
    assert [a["data"]["exchange"] for a in answers] == ["fake", "second", "fake:alpha", "second"]
    sent = [kwargs["client_order_id"] for function, _, kwargs in second.calls if function.startswith("place")]
    assert sent == [records[1].client_order_id, records[3].client_order_id]


# -- submit


def test_a_check_that_refuses_keeps_an_order_from_leaving(venue: FakeVenue, file: Path) -> None:
    records = [prepare("fake", draft_of({**ORDER, "amount": n})) for n in (1, 2, 3)]
    denied = fail("RISK_DENIED", "too much", "not_sent")
    marks = [0.0]
    heard: list[Any] = []
    answers = submit(
        default_manager(),
        records,
        check=lambda record: denied if record.amount == 2 else None,
        before=lambda: heard.append("before"),
        after=lambda answers: heard.append([a["success"] for a in answers]),
        marks=marks,
    )
    assert answers[1] == denied
    assert heard == ["before", [True, False, True]]
    assert venue.called("place_limit_order") == 2
    assert marks == sorted(marks)
    assert len(marks) == 3


def test_a_check_that_raises_lets_nothing_leave(venue: FakeVenue) -> None:
    def check(record: OrderRecord) -> Any:
        raise Refused("CONFIGURATION", "the rule is broken")

    answers = submit(default_manager(), [prepare("fake", draft_of(ORDER))], check=check)
    assert answers[0]["data"]["error"] == "CONFIGURATION"
    assert venue.called("place_limit_order") == 0
    assert default_manager().get_open_orders() == []
