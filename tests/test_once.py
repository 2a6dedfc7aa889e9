"""A key is carried out once: by many threads, by many processes at once, after deaths and after lost answers."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from Execution import execute_signal, registry
from Execution.common import clock
from Execution.common.envelope import fail
from Execution.common.errors import StoreError
from Execution.exchanges import paper
from Execution.executor import default_executor
from Execution.order_manager import default_manager
from tests.fakes import FakeVenue
from tests.forks import Child, in_child

SWAP = "BTC-USDT-SWAP"
LIMIT = {"action": "buy", "amount": 0.01, "price": 49_000}
CALM = {"action": "buy", "amount": 1, "price": 100}


@pytest.fixture(autouse=True)
def _prices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAPER_SOURCE", "fixed")


def stage() -> None:
    assert paper.set_price(SWAP, 50_000, 50_010)["success"]


def everything_sent() -> list[str]:
    """Answer the client_order_ids of all orders that the paper venue has."""
    return [order["client_order_id"] for order in paper.get_open_orders()["data"]]


# -- at the same time


def test_many_threads(home: Path) -> None:
    stage()
    start = threading.Barrier(16)

    def ask(_: int) -> Any:
        start.wait()
        return execute_signal("paper", SWAP, {**LIMIT, "key": "k"})

    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(ask, range(16)))
    assert answers[0]["success"], answers[0]
    assert all(answer == answers[0] for answer in answers)
    assert everything_sent() == [answers[0]["data"]["client_order_id"]]


class Gate:
    """Holds forked processes until all of them are there."""

    def __init__(self) -> None:
        self._read, self._write = os.pipe()

    def wait(self) -> None:
        os.close(self._write)
        os.read(self._read, 1)

    def open(self) -> None:
        os.close(self._write)
        os.close(self._read)


def at_once(home: Path, tasks: list[Callable[[], Any]]) -> list[Any]:
    """Carry out tasks in processes of their own that begin at the same moment."""
    gate = Gate()

    def begin(task: Callable[[], Any]) -> Any:
        gate.wait()
        return task()

    children = [Child(begin, task, home=home) for task in tasks]
    gate.open()
    return [child.result() for child in children]


@pytest.mark.parametrize("signal", [LIMIT, {"action": "sell", "amount": 0.01}, {"action": "close"}])
def test_eight_processes(home: Path, signal: dict[str, Any]) -> None:
    in_child(stage, home=home)
    for number in range(4):
        asked = {**signal, "key": f"k{number}"}
        answers = at_once(home, [lambda asked=asked: execute_signal("paper", SWAP, asked) for _ in range(8)])
        assert answers[0]["success"], answers[0]
        assert all(answer == answers[0] for answer in answers)
        assert len(default_manager().get_orders_by_key(asked["key"])) == (signal["action"] != "close")
    sent = {"buy": everything_sent(), "sell": paper.get_fills()["data"], "close": [None] * 4}[signal["action"]]
    assert len(sent) == 4


def test_eight_processes_on_stores_that_do_not_exist_yet(home: Path) -> None:
    for number in range(3):
        fresh = home / str(number)
        answers = at_once(fresh, [lambda: execute_signal("paper", SWAP, {**LIMIT, "price": 1_000, "key": "k"})] * 8)
        assert all(answer == answers[0] for answer in answers), {answer["message"] for answer in answers}
        assert len(in_child(everything_sent, home=fresh)) <= 1


def test_processes_with_keys_of_their_own(home: Path) -> None:
    in_child(stage, home=home)

    def ask(process: int) -> list[Any]:
        return [execute_signal("paper", SWAP, {**LIMIT, "amount": 0.001, "key": f"{process}-{n}"}) for n in range(5)]

    answers = at_once(home, [lambda process=process: ask(process) for process in range(6)])
    assert all(answer["success"] for group in answers for answer in group)
    assert len(set(everything_sent())) == 30
    assert [problem for _, problem in default_manager().journal.chain() if problem] == []


# -- again


def test_a_key_is_not_used_for_another_signal() -> None:
    stage()
    first = execute_signal("paper", SWAP, {**LIMIT, "key": "k"})
    for other in ({**LIMIT, "amount": 0.02}, {**LIMIT, "action": "sell"}, {"action": "close"}):
        answer = execute_signal("paper", SWAP, {**other, "key": "k"})
        assert (answer["data"]["error"], answer["data"]["outcome"]) == ("INVALID_ORDER", "not_sent")
        assert "'k' was used before for a different signal" in answer["message"]
    assert not execute_signal("paper", "ETH-USDT-SWAP", {**LIMIT, "key": "k"})["success"]
    # Another way to write the same numbers is no other signal.
    assert execute_signal("paper", SWAP, {**LIMIT, "amount": "0.010", "price": 49_000.0, "key": "k"}) == first
    assert len(everything_sent()) == 1


def test_the_answer_of_a_protected_entry_is_the_same_again() -> None:
    stage()
    signal = {"action": "buy", "amount": 0.01, "stop_loss": 45_000, "take_profit": 60_000, "key": "k"}
    first = execute_signal("paper", SWAP, signal)
    assert [order["success"] for order in first["data"]["protection"]] == [True, True]
    assert execute_signal("paper", SWAP, signal) == first


def test_a_denial_is_answered_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RISK_MAX_ORDER_NOTIONAL", "100")
    stage()
    first = execute_signal("paper", SWAP, {**LIMIT, "key": "k"})
    assert (first["data"]["error"], first["data"]["outcome"]) == ("RISK_DENIED", "not_sent")
    assert execute_signal("paper", SWAP, {**LIMIT, "key": "k"}) == first
    assert default_manager().get_orders_by_key("k") == []


def test_a_process_that_died_with_its_key_denied_leaves_it_to_the_next(home: Path) -> None:
    in_child(stage, home=home)

    def die() -> None:
        manager = default_manager()
        default_executor().risk.verdict = _deny_all  # type: ignore[method-assign]
        manager.journal.answer_signal = lambda *_: os._exit(9)  # type: ignore[method-assign]
        execute_signal("paper", SWAP, {**LIMIT, "key": "k"})

    with pytest.raises(AssertionError, match="no result"):
        in_child(die, home=home)
    row = default_manager().journal.signal("k")
    assert row is not None
    assert row.answer is None
    answer = execute_signal("paper", SWAP, {**LIMIT, "key": "k"})
    assert answer["success"], answer
    assert execute_signal("paper", SWAP, {**LIMIT, "key": "k"}) == answer
    assert len(everything_sent()) == 1


def _deny_all(*_: Any) -> Any:
    from Execution.common.risk import denied

    return denied("PAUSED", "nothing today")


# -- lost answers


class Forgetful(FakeVenue):
    """Takes orders and loses the answers, as often as `lost` says; never takes a client_order_id twice."""

    def __init__(self) -> None:
        super().__init__("forgetful")
        self.lost: list[str] = []
        """For each coming order: "answer" (taken, the answer is lost), "order" (never arrives), "" (no fault)."""
        self.unfindable = 0
        """So many reads of an order find nothing."""

    def place_limit_order(self, symbol: str, side: str, amount: Any, price: Any, **options: Any) -> Any:
        fault = self.lost.pop(0) if self.lost else ""
        if fault == "order":
            self._enter("place_limit_order", symbol, side, amount, price=price, **options)
            return fail("TIMEOUT", "no answer", "unknown")
        if any(order["client_order_id"] == options["client_order_id"] for order in self.orders.values()):
            return fail("DUPLICATE_ORDER", "that id was used", "rejected")
        answer = super().place_limit_order(symbol, side, amount, price, **options)
        return fail("TIMEOUT", "no answer", "unknown") if fault == "answer" else answer

    def get_order_status(self, symbol: str, order_id: str | None = None, *, client_order_id: str | None = None) -> Any:
        if self.unfindable:
            self.unfindable -= 1
            return fail("ORDER_NOT_FOUND", "unknown", "rejected")
        return super().get_order_status(symbol, order_id, client_order_id=client_order_id)

    @property
    def sent(self) -> list[str]:
        return [options["client_order_id"] for name, _, options in self.calls if name == "place_limit_order"]


@pytest.fixture
def venue() -> Forgetful:
    fake = Forgetful()
    registry.register(fake)  # type: ignore[arg-type]
    return fake


@pytest.fixture
def now() -> Iterator[clock.ManualClock]:
    manual = clock.ManualClock(1_700_000_000.0)
    with clock.use(manual):
        yield manual


def ask() -> Any:
    return execute_signal("forgetful", SWAP, {**CALM, "key": "k"})


def test_a_lost_answer_is_found(venue: Forgetful) -> None:
    venue.lost = ["answer"]
    first = ask()
    assert (first["success"], first["data"]["outcome"], first["data"]["status"]) == (False, "unknown", "unknown")
    second = ask()
    assert second["success"], second
    assert second["data"]["order"]["status"] == "open"
    assert ask() == second
    assert len(venue.sent) == 1


def test_a_lost_order_is_sent_again_once_under_its_id(venue: Forgetful) -> None:
    venue.lost = ["order"]
    assert ask()["data"]["outcome"] == "unknown"
    second = ask()
    assert second["success"], second
    assert ask() == second
    assert len(venue.sent) == 2
    assert set(venue.sent) == {second["data"]["client_order_id"]}
    assert len(venue.orders) == 1


def test_absence_is_believed_only_after_the_grace_time(venue: Forgetful, now: clock.ManualClock) -> None:
    venue.ABSENCE_GRACE = 10.0
    registry.register(venue)  # type: ignore[arg-type]
    venue.lost = ["order", "order"]
    ask()
    now.advance(9.0)
    assert ask()["data"]["outcome"] == "unknown"
    assert len(venue.sent) == 1
    now.advance(2.0)
    assert ask()["data"]["outcome"] == "unknown"
    assert len(venue.sent) == 2, "past the grace time it is sent again"
    now.advance(9.0)
    assert ask()["data"]["outcome"] == "unknown"
    assert len(venue.sent) == 2, "the grace time begins anew with every send"
    now.advance(2.0)
    assert ask()["success"]
    assert len(venue.sent) == 3
    assert len(set(venue.sent)) == len(venue.orders) == 1


def test_a_venue_that_could_not_find_the_order_says_duplicate_when_it_is_sent_again(venue: Forgetful) -> None:
    venue.lost, venue.unfindable = ["answer"], 1
    assert ask()["data"]["outcome"] == "unknown"
    second = ask()
    assert second["success"], second
    assert second["data"]["order"]["status"] == "open"
    assert ask() == second
    assert len(venue.orders) == 1


def test_what_the_venue_refuses_is_answered_again(venue: Forgetful) -> None:
    venue.failing["place_limit_order"] = ("INSUFFICIENT_FUNDS", "rejected")
    first = ask()
    assert (first["data"]["error"], first["data"]["outcome"]) == ("INSUFFICIENT_FUNDS", "rejected")
    venue.failing.clear()
    assert ask() == first
    assert len(venue.sent) == 1


def test_what_cannot_be_judged_does_not_use_up_the_key(venue: Forgetful) -> None:
    venue.failing["get_instrument"] = ("VENUE_DOWN", "not_sent")
    assert ask()["data"]["error"] == "VENUE_DOWN"
    venue.failing.clear()
    assert ask()["success"]
    assert len(venue.sent) == 1


# -- several processes on one store


def slow_paper(seconds: float) -> None:
    """Have the paper venue take its time before an order reaches it, in this process."""
    real = paper.place_limit_order

    def slow(*args: Any, **kwargs: Any) -> Any:
        time.sleep(seconds)
        return real(*args, **kwargs)

    paper.place_limit_order = slow


def wait_until(condition: Callable[[], Any]) -> None:
    patience = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < patience
        time.sleep(0.002)


@pytest.mark.parametrize("key", [None, "k"])
def test_an_order_that_a_process_is_sending_is_not_written_off_by_another(home: Path, key: str | None) -> None:
    in_child(stage, home=home)

    def send_slowly() -> Any:
        slow_paper(0.3)
        return execute_signal("paper", SWAP, {**LIMIT, "key": key})

    sender = Child(send_slowly, home=home)
    wait_until(default_manager().get_open_orders)
    (pending,) = default_manager().get_open_orders()
    assert pending["status"] == "pending"
    default_executor().sync()
    default_executor().recover()
    default_manager().update_order_status("paper", pending["client_order_id"])
    answer = sender.result()
    assert answer["success"], answer
    order = default_manager().get_order(pending["client_order_id"])
    assert order is not None
    assert order["status"] == "open"
    assert everything_sent() == [pending["client_order_id"]]


@pytest.mark.parametrize("key", [None, "k"])
def test_what_a_dead_process_did_not_send_is_written_off_unless_its_key_may_come_again(
    home: Path, key: str | None
) -> None:
    in_child(stage, home=home)

    def die_before_sending() -> None:
        paper.place_limit_order = lambda *_, **__: os._exit(9)  # type: ignore[assignment]
        execute_signal("paper", SWAP, {**LIMIT, "key": key})

    with pytest.raises(AssertionError, match="no result"):
        in_child(die_before_sending, home=home)
    default_manager().sync()
    (order,) = default_manager().get_orders_by_time(0)
    assert (order["status"], order["outcome"]) == (("pending", "") if key else ("rejected", "not_sent"))
    assert everything_sent() == []
    answer = execute_signal("paper", SWAP, {**LIMIT, "key": key})
    assert answer["success"], answer
    assert everything_sent() == [answer["data"]["client_order_id"]]


def test_a_fork_in_the_middle_of_another_threads_transaction(home: Path) -> None:
    stage()
    manager = default_manager()
    default_executor().start()
    inside, leave = threading.Event(), threading.Event()

    def hold() -> None:
        with manager.writing():
            manager.journal.note("test", {"text": "never seen by the child"})
            inside.set()
            leave.wait(10)

    thread = threading.Thread(target=hold)
    thread.start()
    assert inside.wait(10)
    threading.Timer(0.2, leave.set).start()
    child = Child(lambda: execute_signal("paper", SWAP, {**LIMIT, "key": "k"}), home=home)
    leave.set()
    thread.join()
    patience = threading.Timer(10, child.kill)
    patience.start()
    answer = child.result()
    patience.cancel()
    assert answer is not None, "the child never came back"
    assert answer["success"], answer
    assert execute_signal("paper", SWAP, {**LIMIT, "key": "k"}) == answer
    assert [problem for _, problem in manager.journal.chain() if problem] == []
    assert [event.kind for event in manager.journal.events()].count("test") == 1


# -- a store that fails


@pytest.mark.parametrize("key", [None, "k"])
def test_an_outcome_that_could_not_be_recorded_is_found_out_by_the_next_call(
    monkeypatch: pytest.MonkeyPatch, key: str | None
) -> None:
    stage()
    manager = default_manager()
    settle = manager.settle

    def broken(*_: Any) -> None:
        raise StoreError("the disk is full")

    monkeypatch.setattr(manager, "settle", broken)
    answer = execute_signal("paper", SWAP, {**LIMIT, "key": key})
    assert answer["success"]
    assert answer["data"]["orders"][0]["status"] == "open"
    assert "outcome not recorded yet" in answer["message"]
    name = answer["data"]["client_order_id"]
    order = manager.get_order(name)
    assert order is not None
    assert order["status"] == "pending"
    monkeypatch.setattr(manager, "settle", settle)
    if key:
        again = execute_signal("paper", SWAP, {**LIMIT, "key": key})
        assert again["success"], again
        assert again["data"]["client_order_id"] == name
    else:
        assert not execute_signal("paper", SWAP, {"action": "sell", "amount": 1_000})["success"]
    order = manager.get_order(name)
    assert order is not None
    assert order["status"] == "open"
    assert everything_sent() == [name]
