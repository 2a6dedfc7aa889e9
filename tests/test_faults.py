"""Faults that lost money or truth once: sent twice, lost, wrongly told. None of them may come back."""

from __future__ import annotations

import decimal
import json
import queue
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from Execution import (
    PositionManager,
    RiskManager,
    cancel_all_orders,
    cancel_order,
    cancel_orders,
    execute_signal,
    execute_signals,
    order_manager,
    place_order,
    registry,
)
from Execution.common import clock, process
from Execution.common.audit import Verification
from Execution.common.envelope import fail, ok
from Execution.common.errors import StoreError
from Execution.exchanges import paper
from Execution.executor import default_executor
from Execution.order_manager import OrderManager, default_manager
from Execution.signals.inbox import FileSource
from Execution.simulation import account
from tests import children
from tests.fakes import FakeVenue

SWAP = "BTC-USDT-SWAP"
SPOT = "BTC-USDT"


@pytest.fixture(autouse=True)
def _prices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAPER_SOURCE", "fixed")
    for symbol in (SWAP, SPOT):
        assert paper.set_price(symbol, 60000, 60001, size=100)["success"]


def buy(**more: Any) -> dict[str, Any]:
    return {"action": "buy", "amount": 0.01, **more}


@pytest.fixture
def venue() -> FakeVenue:
    made = FakeVenue()
    registry.register(made)
    return made


# -- the book


def test_orders_of_two_accounts_with_one_number_are_told_apart() -> None:
    mine, others = (place_order(name, SWAP, "buy", "limit", 0.01, 50000) for name in ("paper", "paper:alpha"))
    assert mine["order_id"] == others["order_id"]
    book = default_manager()
    for name, answer in (("paper", mine), ("paper:alpha", others)):
        found = book.get_order(answer["order_id"], name)
        assert found is not None
        assert found["client_order_id"] == answer["client_order_id"]


def test_an_order_is_found_by_a_number_that_its_row_does_not_have_yet(venue: FakeVenue) -> None:
    book = default_manager()
    venue.before = lambda function: book.get_orders_by_time(0) if function == "place_limit_order" else None
    answer = place_order("fake", SWAP, "buy", "limit", 1, 100)
    assert book.get_order(answer["order_id"]) is not None


def test_an_event_is_of_its_own_order_though_another_has_that_number(tmp_path: Path) -> None:
    store = str(tmp_path / "book.db")
    book, other = OrderManager(store), OrderManager(store)
    facts = {"exchange": "paper", "symbol": SWAP, "side": "buy", "type": "limit", "amount": 1, "price": 1}
    book.add_order({**facts, "order_id": "1", "client_order_id": "2", "status": "cancelled"})
    book.add_order({**facts, "order_id": "2", "client_order_id": "b", "status": "cancelled"})
    assert len(other.get_orders_by_time(0)) == 2
    late = {"order_id": "1", "filled": 1.0, "status": "filled", "average_price": 1.0, "fee": 0, "fee_currency": ""}
    record = book.find("1")
    assert record is not None
    with book.writing():
        book.apply(record, late, "sync")
    assert [order["filled"] for order in other.get_orders_by_time(0)] == [1.0, 0.0]
    book.close(), other.close()


def test_an_order_that_has_no_number_yet_is_cancelled_by_our_id_and_no_other(venue: FakeVenue) -> None:
    other = venue.add(client_order_id="other")
    venue.failing["place_limit_order"] = ("TIMEOUT", "unknown")
    hands = clock.ManualClock(time.time())
    with clock.use(hands):
        executor = default_executor()
        order = {"amount": 1, "price": 100, "timeout": 1, "client_order_id": other["order_id"]}
        executor.execute_signal("fake", SWAP, buy(**order))
        hands.advance(5)
        executor.poll_deadlines()
    assert venue.orders[other["order_id"]]["status"] == "open"


def test_nobody_builds_on_a_commit_that_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    book = default_manager()
    held: list[bool] = []
    forget = book.journal._forget
    monkeypatch.setattr(book.journal, "_forget", lambda: (held.append(book.lock._is_owned()), forget()))  # type: ignore[attr-defined]
    connection = book.journal.database.connection
    connection.execute("PRAGMA foreign_keys=ON")
    with pytest.raises(StoreError, match="FOREIGN KEY"), book.writing():
        book.journal.note("test", {})
        connection.execute("CREATE TEMP TABLE parent(id INTEGER PRIMARY KEY)")
        connection.execute("CREATE TEMP TABLE child(id REFERENCES parent(id) DEFERRABLE INITIALLY DEFERRED)")
        connection.execute("INSERT INTO child VALUES(1)")  # such a commit fails
    assert held == [True]
    assert not connection.in_transaction
    assert book.journal.events() == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"timestamp": float("inf")},
        {"timestamp": float("nan")},
        {"timestamp": "yesterday"},
        {"timestamp": []},
        {"order_id": "\ud800"},
        {"strategy": "a\0b"},
        {"filled": 2},
    ],
)
def test_nothing_enters_the_book_that_nobody_can_read_again(wrong: dict[str, Any]) -> None:
    facts = {"order_id": "1", "exchange": "paper", "symbol": SWAP, "side": "buy", "type": "limit", "amount": 1}
    answer = default_manager().add_order({**facts, "status": "open", **wrong})
    assert answer["data"].get("error", "") == ("INVALID_ORDER" if wrong != {"timestamp": []} else "")
    other = OrderManager()
    assert len(other.get_open_orders()) == answer["success"]
    other.close()


def test_a_strategy_that_cannot_be_written_is_refused() -> None:
    assert place_order("paper", SWAP, "buy", "limit", 0.01, 50000, strategy="\ud800")["data"]["outcome"] == "not_sent"


# -- outcomes


def test_a_sync_leaves_the_order_of_a_waiting_key_to_that_key(venue: FakeVenue) -> None:
    executor, signal = default_executor(), buy(amount=1, price=100, key="k")
    venue.raising["place_limit_order"] = KeyboardInterrupt()  # type: ignore[assignment]
    with pytest.raises(KeyboardInterrupt):
        executor.execute_signal("fake", SWAP, signal)
    venue.raising.clear()
    executor.sync()
    assert executor.execute_signal("fake", SWAP, signal)["success"]
    assert [order["status"] for order in venue.orders.values()] == ["open"]


def test_an_order_whose_time_is_over_is_not_sent_again(venue: FakeVenue) -> None:
    signal = buy(amount=1, price=100, key="k", timeout=60)
    venue.raising["place_limit_order"] = KeyboardInterrupt()  # type: ignore[assignment]
    hands = clock.ManualClock(time.time())
    with clock.use(hands):
        with pytest.raises(KeyboardInterrupt):
            default_executor().execute_signal("fake", SWAP, signal)
        venue.raising.clear()
        hands.advance(3600)
        answer = default_executor().execute_signal("fake", SWAP, signal)
    assert answer["data"]["outcome"] == "not_sent"
    assert venue.orders == {}


def test_a_failed_answer_does_not_undo_what_is_known(venue: FakeVenue) -> None:
    def place(symbol: str, side: str, amount: Any, price: Any, **options: Any) -> Any:
        venue.fill(venue.add(symbol, side, amount=float(amount), client_order_id=options["client_order_id"]))
        default_manager().update_order_status("fake", options["client_order_id"])
        return fail("TIMEOUT", "no answer", "unknown")

    venue.then("place_limit_order", place)
    answer = place_order("fake", SWAP, "buy", "limit", 1, 100)
    order = default_manager().get_order(answer["client_order_id"])
    assert order is not None
    assert order["status"] == "filled"
    assert answer["status"] == "filled"


def test_an_order_written_off_comes_back_where_the_venue_has_it(venue: FakeVenue) -> None:
    book = default_manager()
    venue.then("place_limit_order", fail("TIMEOUT", "no answer", "unknown"))
    answer = place_order("fake", SWAP, "buy", "limit", 1, 100)
    assert book.update_order_status("fake", answer["client_order_id"])["data"]["status"] == "rejected"
    venue.add(client_order_id=answer["client_order_id"])
    assert book.update_order_status("fake", answer["client_order_id"])["data"]["status"] == "open"
    assert [order["status"] for order in book.get_open_orders()] == ["open"]


def test_the_book_may_be_loaded_anew_while_an_order_is_on_its_way(venue: FakeVenue) -> None:
    book = default_manager()

    def spoil(function: str) -> None:
        if function == "place_limit_order":
            with pytest.raises(ValueError), book.writing():
                raise ValueError
            assert [order["status"] for order in book.get_open_orders()] == ["pending"]

    venue.before = spoil
    answer = place_order("fake", SWAP, "buy", "limit", 1, 100)
    for _ in range(2):
        (order,) = book.get_open_orders()
        assert (order["status"], order["order_id"]) == ("open", answer["order_id"])
        assert book.get_orders_by_time(0) == [order]
        book.close()


def test_one_process_at_a_time_sends_an_order_again(venue: FakeVenue, monkeypatch: pytest.MonkeyPatch) -> None:
    books = [default_manager(), OrderManager()]
    venue.raising["place_limit_order"] = KeyboardInterrupt()  # type: ignore[assignment]
    with pytest.raises(KeyboardInterrupt):
        place_order("fake", SWAP, "buy", "limit", 1, 100)
    monkeypatch.setattr(process, "alive", lambda owner: owner == "another")
    monkeypatch.setattr(process, "me", lambda: "another")
    (record,) = books[0].open_records()
    assert books[0].journal_resend(record)
    monkeypatch.setattr(process, "me", lambda: "a third")
    monkeypatch.setattr(order_manager, "_in_flight", set())
    (same,) = books[1].open_records()
    assert not books[1].journal_resend(same)
    assert Verification(books[0].journal).run()["success"]
    books[1].close()


# -- closing


@pytest.fixture
def spot(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RISK_MAX_POSITION_SIZE", "10")
    assert paper.set_price("DOGE-USDT", "0.1", "0.1001", size=1_000_000)["success"]


@pytest.mark.usefixtures("spot")
def test_a_holding_that_orders_lock_is_not_called_closed() -> None:
    assert execute_signal("paper", SPOT, buy(stop_loss=50000))["success"]
    answer = execute_signal("paper", SPOT, {"action": "close"})
    assert not answer["success"]
    assert (answer["data"]["error"], answer["data"]["outcome"]) == ("INSUFFICIENT_FUNDS", "not_sent")


@pytest.mark.usefixtures("spot")
def test_closing_a_part_of_a_holding_tells_of_the_locked_rest() -> None:
    assert execute_signal("paper", SPOT, buy(amount=0.02))["success"]
    assert place_order("paper", SPOT, "sell", "limit", 0.01, 70000)["success"]
    answer = execute_signal("paper", SPOT, {"action": "close"})
    assert answer["success"]
    assert "locked by open orders" in answer["message"]


@pytest.mark.usefixtures("spot")
def test_a_holding_worth_less_than_the_smallest_order_is_dust() -> None:
    assert execute_signal("paper", "DOGE-USDT", buy(amount=100))["success"]
    assert execute_signal("paper", "DOGE-USDT", {"action": "sell", "amount": 80})["success"]
    answer = execute_signal("paper", "DOGE-USDT", {"action": "close"})
    assert answer["success"]
    assert answer["data"]["nothing_to_do"]


def test_a_liquidation_that_the_market_did_not_fill_is_no_success() -> None:
    assert execute_signal("paper", SWAP, buy(amount=0.1))["success"]
    paper.set_price(SWAP, 60000, 60001, size=0.02)
    signal = {"signal": "liquidate", "exchange": "paper", "symbol": None}
    answer = default_executor().handle_risk_signal(signal)
    assert not answer["success"]
    assert [order["remaining"] for order in answer["data"]["positions_left"]] == [0.08]
    paper.set_price(SWAP, 60000, 60001, size=10)
    assert default_executor().handle_risk_signal(signal)["success"]


# -- executions


def test_a_cancelled_order_keeps_what_it_filled() -> None:
    answer = place_order("paper", SWAP, "buy", "limit", 0.05, 59000)
    paper.set_price(SWAP, 58990, 59000, size=0.02)
    assert cancel_order("paper", SWAP, answer["order_id"])["data"]["filled"] == 0.02
    until = time.monotonic() + 10
    while not (fills := default_manager().get_fills(answer["order_id"])) and time.monotonic() < until:
        time.sleep(0.01)
    assert [fill["amount"] for fill in fills] == [0.02]


def test_asking_again_and_again_writes_nothing_new(venue: FakeVenue) -> None:
    answer = place_order("fake", SWAP, "buy", "limit", 1, 100)
    order = venue.orders[answer["order_id"]]
    order |= {"filled": 0.4, "status": "partially_filled", "average_price": 100.0}
    facts = {"trade_id": "t", "amount": 0.4, "price": 100.0, "fee": 0.0, "fee_currency": "USDT", "maker": True}
    fill = {**facts, "timestamp": 1.0, **{key: order[key] for key in ("order_id", "client_order_id", "symbol", "side")}}
    lengths = []
    for _ in range(3):
        venue.then("get_fills", ok([fill]))
        default_manager().update_order_status("fake", answer["order_id"])
        lengths.append(len(default_manager().get_history(answer["order_id"])))
    assert lengths[0] == lengths[2]
    assert [fill["trade_id"] for fill in default_manager().get_fills(answer["order_id"])] == ["t"]


# -- protection


def protective() -> list[tuple[str, float]]:
    return [(order["type"], order["amount"]) for order in paper.get_open_orders()["data"] if order["type"] != "limit"]


def test_a_fill_that_somebody_else_noticed_is_protected() -> None:
    answer = execute_signal("paper", SWAP, buy(price=59000, stop_loss=55000))
    paper.set_price(SWAP, 58990, 58991, size=100)
    assert default_manager().update_order_status("paper", answer["data"]["order_id"])["data"]["status"] == "filled"
    default_executor().sync()
    assert protective() == [("stop", 0.01)]
    default_executor().sync()
    assert protective() == [("stop", 0.01)]


def test_what_an_entry_filled_before_it_was_cancelled_is_protected() -> None:
    answer = execute_signal("paper", SWAP, buy(amount=0.05, price=59000, stop_loss=55000))
    paper.set_price(SWAP, 58990, 59000, size=0.02)
    assert cancel_order("paper", SWAP, answer["data"]["order_id"])["success"]
    default_executor().sync()
    assert protective() == [("stop", 0.02)]


def test_a_stop_that_never_arrived_is_placed_again(venue: FakeVenue) -> None:
    venue.then("place_stop_order", fail("TIMEOUT", "no answer", "unknown"))
    assert execute_signal("fake", SWAP, buy(amount=1, stop_loss=90))["success"]
    for _ in range(3):
        default_executor().sync()
    assert [order["type"] for order in venue.orders.values() if order["status"] == "open"] == ["stop"]


def test_a_stop_is_tried_again_while_the_venue_is_down(venue: FakeVenue) -> None:
    venue.failing["place_stop_order"] = ("VENUE_DOWN", "not_sent")
    assert execute_signal("fake", SWAP, buy(amount=1, stop_loss=90))["success"]
    default_executor().sync()
    venue.failing.clear()
    for _ in range(2):
        default_executor().sync()
    assert [order["type"] for order in venue.orders.values() if order["status"] == "open"] == ["stop"]


def test_no_venue_is_asked_while_the_store_is_held(venue: FakeVenue) -> None:
    answer = execute_signal("fake", SWAP, buy(amount=1, price=100, stop_loss=90))
    venue.fill(venue.orders[answer["data"]["order_id"]])
    registry.find("fake")[0].rules.clear()
    held: list[bool] = []
    venue.before = lambda function: held.append(default_manager().lock._is_owned())  # type: ignore[attr-defined]
    default_executor().sync()
    assert True not in held


def test_an_answer_that_cannot_be_kept_is_still_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail_to_keep(*_: Any) -> None:
        raise StoreError("the disk is full")

    executor, signal = default_executor(), buy(stop_loss=55000, key="k")
    monkeypatch.setattr(executor.orders.journal, "answer_signal", fail_to_keep)
    assert executor.execute_signal("paper", SWAP, signal)["success"]
    monkeypatch.undo()
    monkeypatch.setenv("PAPER_SOURCE", "fixed")
    assert executor.execute_signal("paper", SWAP, signal)["success"]
    assert (len(paper.get_fills()["data"]), protective()) == (1, [("stop", 0.01)])


# -- several processes, and files that vanish


def test_the_deadline_of_an_order_is_met_when_its_process_has_ended() -> None:
    default_executor().start()
    children.run(
        "from Execution import place_order\n"
        f"assert place_order('paper', {SWAP!r}, 'buy', 'limit', 0.01, 50000, timeout=0.2)['success']"
    )
    until = time.monotonic() + 10
    while paper.get_open_orders()["data"] and time.monotonic() < until:
        default_executor().sync()
        time.sleep(0.02)
    assert paper.get_open_orders()["data"] == []


def test_a_store_that_was_removed_is_noticed(home: Path) -> None:
    assert execute_signal("paper", SWAP, buy())["success"]
    (home / "execution.db").unlink()
    time.sleep(0.15)
    answer = execute_signal("paper", SWAP, buy())
    assert (answer["data"]["error"], answer["data"]["outcome"]) == ("STORE_FAILED", "not_sent")
    assert execute_signal("paper", SWAP, buy())["success"]
    assert (home / "execution.db").is_file()


# -- the caller's decimal context


@pytest.mark.usefixtures("spot")
@pytest.mark.parametrize("trapping", [False, True])
def test_the_callers_decimal_context_changes_nothing(trapping: bool) -> None:
    with decimal.localcontext() as here:
        here.prec, here.rounding, here.traps[decimal.Inexact] = 3, decimal.ROUND_UP, trapping
        answer = execute_signal("paper", SWAP, {"action": "buy", "notional": "2000.77", "price": 59123.4})
        assert answer["data"]["order"]["amount"] == 0.033
        assert place_order("paper", SWAP, "buy", "limit", "1.2345", 50000.1)["success"]
        assert default_manager().exposure("paper", SWAP)[0] == decimal.Decimal("1.267")
        assert execute_signal("paper", SPOT, buy(amount="0.012345"))["success"]
        assert PositionManager().decrease_position("paper", SPOT, "0.00123")["success"]
        assert RiskManager().check_account_risk("paper")["metrics"]["total_equity"] == pytest.approx(99999.5, abs=1)
        assert RiskManager().check_order_risk("paper", SWAP, "buy", "0.001", 60000.1)["allowed"]
        assert execute_signal("paper", SPOT, {"action": "close"})["success"]
        facts = {"symbol": SWAP, "side": "buy", "type": "limit", "amount": "1.23456789", "filled": "0.1", "price": 1}
        assert default_manager().add_order({**facts, "order_id": "z", "exchange": "paper", "status": "open"})["success"]
        assert default_manager().get_order("z")["remaining"] == 1.13456789  # type: ignore[index]
        assert cancel_all_orders("paper")["success"]
        assert decimal.getcontext().prec == 3


def test_executions_that_cannot_be_kept_are_no_answer(venue: FakeVenue) -> None:
    fill = dict.fromkeys(("trade_id", "order_id", "side", "fee_currency"), "1") | {"maker": True, "client_order_id": ""}
    for wrong in ({"amount": None}, {"timestamp": None}, {"price": float("nan")}, {"trade_id": 7}):
        venue.then("get_fills", ok([{**fill, "amount": 1.0, "price": 1.0, "fee": 0.0, "timestamp": 1.0, **wrong}]))
        assert registry.call("fake", "get_fills", SWAP)["data"]["error"] == "BAD_RESPONSE"


# -- the loop


def test_a_loop_looks_after_what_was_opened_before_it_began() -> None:
    assert execute_signal("paper", SWAP, buy())["success"]
    looked: list[str] = []
    executor, stop = default_executor(), threading.Event()

    def look(name: str) -> dict[str, Any]:
        looked.append(name)
        stop.set()
        return {"risk_level": "safe"}

    executor.risk.check_account_risk = look  # type: ignore[method-assign]
    executor.run(queue.Queue(), risk_every=0.01, stop=stop)
    assert looked == ["paper"]


# -- limits


def test_a_leg_is_as_large_as_its_own_orders_made_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAPER_POSITION_MODE", "hedge")
    account.forget()
    assert paper.set_price(SWAP, 60000, 60001, size=100)["success"]
    for _ in range(3):
        execute_signal("paper", SWAP, buy(amount=0.1))
        execute_signal("paper", SWAP, {"action": "sell", "amount": 0.1})
    assert {p["side"]: p["size"] for p in paper.get_positions(SWAP)["data"]} == {"long": 0.1, "short": 0.1}


def test_the_leverage_limit_is_for_the_leverage_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RISK_MAX_LEVERAGE", "3")
    answer = execute_signal("paper", SWAP, buy(leverage=50))
    assert answer["data"]["rule"] == "LEVERAGE"
    assert execute_signal("paper", SWAP, buy(leverage=2))["success"]
    assert paper.get_positions(SWAP)["data"][0]["leverage"] == 2
    execute_signal("paper", SWAP, buy(leverage=50))
    assert paper.get_positions(SWAP)["data"][0]["leverage"] == 2


def test_an_old_order_taken_into_the_book_hides_no_new_one_from_the_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RISK_MAX_ORDERS_PER_DAY", "3")
    for _ in range(3):
        assert execute_signal("paper", SWAP, buy(price=50000))["success"]
    old = {"exchange": "paper", "symbol": SWAP, "side": "buy", "type": "limit", "amount": 1, "price": 1}
    when = time.time() - 100_000
    assert default_manager().add_order({**old, "order_id": "x", "status": "filled", "timestamp": when})["success"]
    assert execute_signal("paper", SWAP, buy(price=50000))["data"]["rule"] == "ORDERS_PER_DAY"


# -- the border


def test_a_batch_settles_first_what_a_process_that_died_left(venue: FakeVenue) -> None:
    venue.raising["place_limit_order"] = KeyboardInterrupt()  # type: ignore[assignment]
    with pytest.raises(KeyboardInterrupt):
        place_order("fake", SWAP, "buy", "limit", 1, 100)
    assert execute_signals([{"exchange": "paper", "symbol": SWAP, **buy()}])[0]["success"]
    assert [order["status"] for order in default_manager().get_orders_by_symbol("fake", SWAP)] == ["rejected"]


@pytest.mark.parametrize("batch", [None, 5])
def test_what_is_no_batch_is_answered(batch: Any) -> None:
    (answer,) = execute_signals(batch)
    assert answer["data"]["error"] == "INVALID_ORDER"


def test_one_id_is_not_the_list_of_its_characters() -> None:
    ids = [place_order("paper", SWAP, "buy", "limit", 0.01, 50000)["order_id"] for _ in range(12)]
    assert cancel_orders("paper", ids[-1], symbol=SWAP)["data"]["cancelled"] == [ids[-1]]
    assert len(paper.get_open_orders()["data"]) == 11


def test_a_side_of_any_kind_is_answered() -> None:
    assert not PositionManager().increase_position("paper", SWAP, [], 1)["success"]  # type: ignore[arg-type]


def test_a_collar_without_end_is_no_collar_for_positions_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RISK_PRICE_COLLAR", "inf")
    assert PositionManager().increase_position("paper", SWAP, "long", 0.01)["success"]


# -- signal files


def line(**more: Any) -> str:
    return json.dumps({"exchange": "paper", "symbol": SWAP, **buy(**more)})


def test_a_line_whose_newline_follows_later_is_one_signal(tmp_path: Path) -> None:
    path = tmp_path / "signals.jsonl"
    source = FileSource(path, default_manager())
    path.write_text(line())
    first = list(source.poll())
    with path.open("a") as stream:
        stream.write("\n")
    assert len(first) == 1
    assert list(source.poll()) == []
    restarted = list(FileSource(path, default_manager()).poll())
    assert [entry.key for entry in restarted] == [entry.key for entry in first]


def test_what_was_begun_in_a_file_that_was_replaced_marks_nothing_of_the_new_one(tmp_path: Path) -> None:
    path = tmp_path / "signals.jsonl"
    path.write_text(line() + "\n" + line() + "\n")
    source = FileSource(path, default_manager())
    old = list(source.poll())
    path.write_text(line(price=50000) + "\n" + line(price=50001) + "\n")
    assert len(list(source.poll())) == 2
    for entry in old:
        assert entry.acknowledge is not None
        entry.acknowledge()
    assert len(list(FileSource(path, default_manager()).poll())) == 2
