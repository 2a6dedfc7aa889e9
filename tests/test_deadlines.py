"""The timer for many deadlines, under a replaced clock and with its thread."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from Execution.common import clock
from Execution.common.clock import ManualClock
from Execution.common.deadlines import Deadlines
from tests import children

PATIENCE = 20.0


class Noted:
    """Notes what expired, and lets a test wait for it."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.threads: set[str] = set()
        self.raising: dict[str, Exception] = {}
        self._news = threading.Condition()

    def __call__(self, name: str) -> None:
        with self._news:
            self.names.append(name)
            self.threads.add(threading.current_thread().name)
            self._news.notify_all()
        if name in self.raising:
            raise self.raising.pop(name)

    def wait_for(self, count: int) -> None:
        with self._news:
            assert self._news.wait_for(lambda: len(self.names) >= count, PATIENCE), self.names


@pytest.fixture
def noted() -> Noted:
    return Noted()


@pytest.fixture
def deadlines(noted: Noted) -> Iterator[Deadlines]:
    made = Deadlines(noted)
    yield made
    made.stop()
    assert not timers()


def timers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "execution-deadlines"]


# -- a replaced clock


def test_under_a_replaced_clock_nothing_happens_until_polled(deadlines: Deadlines, noted: Noted) -> None:
    hands = ManualClock(100.0)
    clock.set_clock(hands)
    for when, name in ((110.0, "b"), (105.0, "a"), (120.0, "c")):
        deadlines.add(when, name)
    assert not timers()
    assert (deadlines.poll(), noted.names) == (0, [])
    hands.advance(10.0)
    assert (deadlines.poll(), noted.names) == (2, ["a", "b"])
    assert (deadlines.poll(), len(deadlines)) == (0, 1)
    hands.advance(10.0)
    assert (deadlines.poll(), noted.names, len(deadlines)) == (1, ["a", "b", "c"], 0)


def test_what_is_called_may_set_another_deadline() -> None:
    hands = ManualClock(100.0)
    clock.set_clock(hands)
    names: list[str] = []

    def expired(name: str) -> None:
        names.append(name)
        if len(names) < 3:
            later.add(hands.time, f"again{len(names)}")

    later = Deadlines(expired)
    later.add(100.0, "first")
    assert later.poll() == 3
    assert names == ["first", "again1", "again2"]


def test_one_that_raises_comes_again_and_stops_no_other(deadlines: Deadlines, noted: Noted) -> None:
    hands = ManualClock(100.0)
    clock.set_clock(hands)
    noted.raising["a"] = RuntimeError("the store is locked")
    deadlines.add(100.0, "a")
    deadlines.add(100.0, "b")
    assert (deadlines.poll(), noted.names) == (2, ["a", "b"])
    hands.advance(1.0)
    assert (deadlines.poll(), noted.names) == (1, ["a", "b", "a"])
    assert len(deadlines) == 0


# -- the thread


def test_the_thread_starts_with_the_first_deadline_and_calls_in_order(deadlines: Deadlines, noted: Noted) -> None:
    assert not timers()
    now = time.time()
    for later, name in ((0.06, "c"), (0.02, "a"), (0.04, "b")):
        deadlines.add(now + later, name)
    assert len(timers()) == 1
    noted.wait_for(3)
    assert noted.names == ["a", "b", "c"]
    assert noted.threads == {"execution-deadlines"}
    assert time.time() >= now + 0.06


def test_a_nearer_deadline_wakes_the_thread(deadlines: Deadlines, noted: Noted) -> None:
    deadlines.add(time.time() + 3600, "far")
    deadlines.add(time.time() - 1, "now")
    noted.wait_for(1)
    assert noted.names == ["now"]


def test_a_deadline_that_raises_does_not_end_the_thread(deadlines: Deadlines, noted: Noted) -> None:
    noted.raising["a"] = RuntimeError("the store is locked")
    deadlines.add(time.time(), "a")
    noted.wait_for(1)
    deadlines.add(time.time(), "b")
    noted.wait_for(2)
    noted.wait_for(3)
    assert sorted(noted.names) == ["a", "a", "b"]


def test_stop_joins_the_thread_and_forgets(deadlines: Deadlines, noted: Noted) -> None:
    deadlines.stop()
    deadlines.add(time.time() + 3600, "far")
    (thread,) = timers()
    deadlines.stop()
    assert not thread.is_alive()
    assert len(deadlines) == 0
    deadlines.stop()


def test_it_may_be_used_again_after_a_stop(deadlines: Deadlines, noted: Noted) -> None:
    deadlines.add(time.time() + 3600, "far")
    deadlines.stop()
    deadlines.add(time.time(), "near")
    noted.wait_for(1)
    assert noted.names == ["near"]


def test_stop_waits_for_the_call_that_is_running() -> None:
    running, done = threading.Event(), []

    def expired(name: str) -> None:
        running.set()
        time.sleep(0.05)
        done.append(name)

    slow = Deadlines(expired)
    slow.add(time.time(), "a")
    assert running.wait(PATIENCE)
    slow.stop()
    assert done == ["a"]


def test_stopping_from_inside_ends_the_thread() -> None:
    ended = threading.Event()

    def expired(_: str) -> None:
        inside.stop()
        ended.set()

    inside = Deadlines(expired)
    inside.add(time.time(), "a")
    assert ended.wait(PATIENCE)
    until = time.monotonic() + PATIENCE
    while timers() and time.monotonic() < until:
        time.sleep(0.002)
    assert not timers()


def test_many_threads_add_at_once(deadlines: Deadlines, noted: Noted) -> None:
    def work(number: int) -> None:
        for i in range(50):
            deadlines.add(time.time() + 0.0001 * i, f"{number}-{i}")

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    noted.wait_for(200)
    assert len(set(noted.names)) == len(noted.names) == 200


def test_a_forked_child_watches_its_own_deadlines(deadlines: Deadlines, noted: Noted) -> None:
    deadlines.add(time.time() + 3600, "the parent's")

    def child() -> None:
        assert len(deadlines) == 0
        deadlines.add(time.time(), "the child's")
        noted.wait_for(1)
        assert noted.names == ["the child's"]

    assert children.ended(children.fork(child)) == 0
    assert len(deadlines) == 1
    assert noted.names == []
