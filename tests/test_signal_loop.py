"""The loop of `Executor.run`: its sources, the order of what it does, how it stops, and what it keeps in between."""

from __future__ import annotations

import json
import queue
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from Execution import registry
from Execution.common.envelope import fail
from Execution.common.errors import StoreError
from Execution.exchanges import paper
from Execution.executor import Executor, default_executor
from Execution.order_manager import default_manager
from Execution.signals import inbox, loop
from tests import children
from tests.fakes import FakeVenue, position

SWAP = "BTC-USDT-SWAP"
ETHER = "ETH-USDT-SWAP"


@pytest.fixture
def venue() -> FakeVenue:
    return add_venue("fake")


def add_venue(name: str) -> FakeVenue:
    fake = FakeVenue(name)
    registry.register(fake)  # type: ignore[arg-type]
    return fake


def line(amount: float = 1.0, *, exchange: str = "fake", symbol: str = SWAP, **more: Any) -> dict[str, Any]:
    return {"exchange": exchange, "symbol": symbol, "action": "buy", "amount": amount, "price": 100, **more}


def text(*signals: Any) -> str:
    return "".join((one if isinstance(one, str) else json.dumps(one)) + "\n" for one in signals)


def read(*sources: Any, **options: Any) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Run the loop to the end of its sources; answer its counts and its answers."""
    answers: list[dict[str, Any]] = []
    counts = default_executor().run(*sources, follow=False, on_answer=answers.append, **options)
    return counts, answers


class Running:
    """A loop in a thread."""

    def __init__(self, *sources: Any, executor: Executor | None = None, **options: Any) -> None:
        self.stop = threading.Event()
        self.answers: list[dict[str, Any]] = []
        self.counts: dict[str, Any] = {}
        options = {"on_answer": self.answers.append, "stop": self.stop, **options}
        self.thread = threading.Thread(target=self._run, args=(executor or default_executor(), sources, options))
        self.thread.start()

    def _run(self, executor: Executor, sources: Any, options: Any) -> None:
        self.counts = executor.run(*sources, **options)

    def end(self) -> dict[str, Any]:
        self.stop.set()
        self.thread.join(20)
        assert not self.thread.is_alive()
        return self.counts


@contextmanager
def running(*sources: Any, **options: Any) -> Iterator[Running]:
    it = Running(*sources, **options)
    try:
        yield it
    finally:
        it.end()


def wait_for(condition: Callable[[], Any], seconds: float = 15.0) -> None:
    patience = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < patience, "it never came"
        time.sleep(0.005)


def amounts(venue: FakeVenue, symbol: str | None = None) -> list[float]:
    return [order["amount"] for order in venue.orders.values() if symbol in (None, order["symbol"])]


def rows() -> dict[str, int]:
    """Answer how far each source is acknowledged."""
    found = default_manager().journal.database.read("SELECT source, position FROM inbox")
    return {source.partition("|")[0]: position for source, position in found}


# -- queues


def test_a_queue_is_followed_until_none(venue: FakeVenue) -> None:
    items: queue.Queue[Any] = queue.Queue()
    for amount in (1.0, 2.0, 3.0):
        items.put(line(amount))
    items.put(None)
    answers: list[dict[str, Any]] = []
    counts = default_executor().run(items, on_answer=answers.append)
    assert counts == {"received": 3, "succeeded": 3, "failed": 0, "unreadable": 0, "left": 0, "unfinished": []}
    assert amounts(venue) == [1.0, 2.0, 3.0]
    assert [(a["source"], a["position"], a["exchange"], a["symbol"]) for a in answers] == [
        ("queue", number, "fake", SWAP) for number in (1, 2, 3)
    ]
    assert [a["answer"]["data"]["order"]["amount"] for a in answers] == [1.0, 2.0, 3.0]


def test_an_empty_queue_ends_a_loop_that_does_not_follow() -> None:
    counts, answers = read(queue.SimpleQueue())
    assert (counts["received"], answers) == (0, [])


@pytest.mark.parametrize(
    "item", [7, "buy", ["x"], {}, {"exchange": "fake"}, line(float("nan")), line(True), line("1e999")]
)
def test_a_queue_may_hold_anything(venue: FakeVenue, item: Any) -> None:
    items: queue.SimpleQueue[Any] = queue.SimpleQueue()
    items.put(item)
    items.put(line())
    counts, answers = read(items)
    assert (counts["succeeded"], counts["failed"]) == (1, 1)
    failed = next(a["answer"] for a in answers if not a["answer"]["success"])
    assert failed["data"]["outcome"] == "not_sent"
    assert len(venue.orders) == 1


def test_an_unknown_exchange_is_answered_with_the_known_ones(venue: FakeVenue) -> None:
    items: queue.SimpleQueue[Any] = queue.SimpleQueue()
    items.put(line(exchange="fkae"))
    items.put({"symbol": SWAP, "action": "buy", "amount": 1})
    _, answers = read(items)
    assert [a["answer"]["data"]["error"] for a in answers] == ["UNKNOWN_VENUE"] * 2
    assert "'fkae'" in answers[0]["answer"]["message"]
    assert all("binance" in a["answer"]["message"] for a in answers)
    assert answers[0]["exchange"] == "fkae"


@pytest.mark.parametrize("kind", [queue.Queue, queue.SimpleQueue])
def test_what_was_not_begun_goes_back_to_the_head_of_its_own_queue(venue: FakeVenue, kind: Any) -> None:
    first, second = kind(), kind()
    other = add_venue("other")
    venue.hang, other.hang = threading.Event(), threading.Event()
    for number in range(1, 4):
        first.put(line(float(number)))
        second.put(line(float(10 * number), exchange="other"))
    with running(first, second, stop_timeout=10.0) as it:
        wait_for(lambda: first.empty() and second.empty() and venue.calls and other.calls)
        first.put(line(4.0))
        it.stop.set()
        venue.hang.set()
        other.hang.set()
        counts = it.end()
    assert (counts["succeeded"], counts["unfinished"]) == (2, [])
    assert counts["left"] in (4, 5)  # the last one may have been taken already
    assert [first.get_nowait()["amount"] for _ in range(first.qsize())] == [2.0, 3.0, 4.0]
    assert [second.get_nowait()["amount"] for _ in range(second.qsize())] == [20.0, 30.0]
    assert (amounts(venue), amounts(other)) == ([1.0], [10.0])


def test_a_full_queue_takes_back_what_was_not_begun(venue: FakeVenue) -> None:
    items: queue.Queue[Any] = queue.Queue(maxsize=2)
    venue.hang = threading.Event()
    items.put(line(1.0))
    with running(items) as it:
        wait_for(lambda: venue.calls)
        for amount in (2.0, 3.0):
            items.put(line(amount))
        wait_for(items.empty)
        for amount in (4.0, 5.0):
            items.put(line(amount), timeout=5)
        it.stop.set()
        venue.hang.set()
        it.end()
    left = [items.get_nowait()["amount"] for _ in range(items.qsize())]
    assert [*amounts(venue), *left] == [1.0, 2.0, 3.0, 4.0, 5.0]


def test_what_takes_longer_than_a_stop_may_take_is_carried_out_all_the_same(venue: FakeVenue) -> None:
    real = venue.place_limit_order

    def slow(*args: Any, **options: Any) -> Any:
        time.sleep(0.05)
        return real(*args, **options)

    venue.place_limit_order = slow  # type: ignore[method-assign]
    items: queue.SimpleQueue[Any] = queue.SimpleQueue()
    for number in range(1, 11):
        items.put(line(float(number)))
    counts, _ = read(items, stop_timeout=0.1)
    assert (counts["succeeded"], counts["left"], counts["unfinished"]) == (10, 0, [])
    assert amounts(venue) == [float(number) for number in range(1, 11)]


# -- files


def test_a_file_is_read_to_its_end_and_once(venue: FakeVenue, tmp_path: Path) -> None:
    path = tmp_path / "signals.jsonl"
    path.write_text(text(line(1.0), "", "   ", line(2.0)) + json.dumps(line(3.0)))
    counts, answers = read(path)
    assert (counts["received"], counts["succeeded"]) == (3, 3)
    assert [a["source"] for a in answers] == [str(path)] * 3
    assert amounts(venue) == [1.0, 2.0, 3.0]
    assert read(path)[0]["received"] == 0
    with path.open("a") as stream:
        stream.write("\n" + text(line(4.0)))
    assert read(str(path))[0]["received"] == 1
    assert amounts(venue) == [1.0, 2.0, 3.0, 4.0]


def test_equal_lines_are_signals_of_their_own(venue: FakeVenue, tmp_path: Path) -> None:
    path = tmp_path / "signals.jsonl"
    path.write_text(text(line(), line(), line()))
    read(path)
    assert len(venue.orders) == 3


def test_a_key_of_its_own_goes_before_that_of_its_place(venue: FakeVenue, tmp_path: Path) -> None:
    path = tmp_path / "signals.jsonl"
    path.write_text(text(line(key="k"), line(key="k"), line(key="other")))
    counts, answers = read(path)
    assert counts["succeeded"] == 3
    assert answers[0]["answer"] == answers[1]["answer"]
    assert len(venue.orders) == 2


def test_a_file_that_is_appended_to_while_it_is_read(venue: FakeVenue, tmp_path: Path) -> None:
    path = tmp_path / "not" / "there" / "yet.jsonl"
    with running(path) as it:
        time.sleep(0.05)
        path.parent.mkdir(parents=True)
        whole = json.dumps(line(1.0))
        with path.open("w") as stream:
            for part in (whole[:20], whole[20:], "\n", json.dumps(line(2.0)), "\n" + json.dumps(line(3.0))[:-1]):
                stream.write(part)
                stream.flush()
                time.sleep(0.06)
            wait_for(lambda: len(it.answers) == 2)
            stream.write("}")
            stream.flush()
            wait_for(lambda: len(it.answers) == 3)
            # A line need not end at once; that its end comes later makes no other line of it.
            stream.write("\n")
        time.sleep(0.06)
        counts = it.end()
    assert amounts(venue) == [1.0, 2.0, 3.0]
    assert counts["received"] == 3
    assert rows() == {str(path): path.stat().st_size - 1}


def test_a_half_written_last_line_is_told_of_and_read_when_it_is_whole(venue: FakeVenue, tmp_path: Path) -> None:
    path = tmp_path / "signals.jsonl"
    whole = json.dumps(line(2.0))
    path.write_text(text(line(1.0)) + whole[:-10])
    counts, answers = read(path)
    assert (counts["succeeded"], counts["unreadable"]) == (1, 1)
    (bad,) = [each["answer"] for each in answers if not each["answer"]["success"]]
    assert "not complete" in bad["message"]
    with path.open("a") as stream:
        stream.write(whole[-10:] + "\n")
    assert read(path)[0]["succeeded"] == 1
    assert amounts(venue) == [1.0, 2.0]


def test_a_file_that_cannot_be_read_is_told_of_and_the_others_are_read(venue: FakeVenue, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "a.jsonl").symlink_to("/proc/self/mem")  # opens, and fails at the first read
    (folder / "b.jsonl").write_text(text(line(2.0)))
    loops = tmp_path / "loop.jsonl"
    loops.symlink_to(loops)
    for source, unreadable in ((folder, folder / "a.jsonl"), (loops, loops)):
        counts, answers = read(source)
        assert counts["unreadable"] == 1
        (bad,) = [each["answer"] for each in answers if not each["answer"]["success"]]
        assert f"{unreadable} cannot be read: " in bad["message"]
    assert amounts(venue) == [2.0]
    with running(loops) as it:
        time.sleep(0.1)
        loops.unlink()
        loops.write_text(text(line(3.0)))
        wait_for(lambda: len(it.answers) == 1)
    assert amounts(venue) == [2.0, 3.0]


@pytest.mark.parametrize("follow", [True, False])
def test_a_source_that_fails_is_asked_again(venue: FakeVenue, monkeypatch: pytest.MonkeyPatch, follow: bool) -> None:
    monkeypatch.setattr(loop, "_RETRY", 0.01)
    monkeypatch.setattr(loop, "_MOST_WAITING", 1)

    class Shaky:
        tries = 0

        def entries(self, stopping: threading.Event, _follow: bool) -> Iterator[inbox.Entry]:
            self.tries += 1
            for number in range(3):
                yield inbox.Entry("shaky", number, content=line(self.tries + number / 10))
            if self.tries < 2:
                raise ConnectionError("gone")
            stopping.wait(0 if not follow else 30)

    counts: dict[str, Any] = {}
    if follow:
        with running(Shaky()) as it:
            wait_for(lambda: len(it.answers) == 6)
        counts = it.counts
    else:
        counts, _ = read(Shaky())
    assert counts["succeeded"] == 6
    assert amounts(venue) == [1.0, 1.1, 1.2, 2.0, 2.1, 2.2]


def test_a_source_that_never_recovers_is_given_up_where_nobody_waits_for_more(
    venue: FakeVenue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "_RETRY", 0.0)

    class Broken:
        tries = 0

        def entries(self, _stopping: threading.Event, _follow: bool) -> Iterator[inbox.Entry]:
            self.tries += 1
            raise ConnectionError("gone")

    broken = Broken()
    assert read(broken)[0]["received"] == 0
    assert broken.tries == loop._TRIES


BAD_LINES = {
    "malformed": ('{"exchange": "fake", ', "not JSON"),
    "no object": ("[1, 2]", "not a JSON object"),
    "nan": (json.dumps(line()).replace("1.0", "NaN", 1), "NaN is not a number"),
    "infinity": (json.dumps(line()).replace("1.0", "-Infinity", 1), "not a number"),
    "deep": ("[" * 100_000, "not JSON"),
    "many digits": (json.dumps(line()).replace("1.0", "9" * 10_000, 1), "not JSON"),
}


@pytest.mark.parametrize("name", list(BAD_LINES))
def test_a_line_that_cannot_be_read_is_answered_noted_and_passed_over(
    venue: FakeVenue, tmp_path: Path, name: str
) -> None:
    bad, words = BAD_LINES[name]
    path = tmp_path / "signals.jsonl"
    path.write_text(text(line(1.0), bad, line(2.0)))
    counts, answers = read(path)
    assert (counts["received"], counts["succeeded"], counts["failed"], counts["unreadable"]) == (3, 2, 1, 1)
    assert amounts(venue) == [1.0, 2.0]
    failed = next(a["answer"] for a in answers if not a["answer"]["success"])
    assert (failed["data"]["error"], failed["data"]["outcome"]) == ("INVALID_ORDER", "not_sent")
    assert words in failed["message"]
    assert [event.kind for event in default_manager().journal.events()].count("unreadable") == 1
    assert rows() == {str(path): path.stat().st_size}
    assert read(path)[0]["received"] == 0


def test_bytes_that_are_no_text_are_never_carried_out(venue: FakeVenue, tmp_path: Path) -> None:
    path = tmp_path / "signals.jsonl"
    bad = json.dumps(line(1.0, strategy="caf@")).encode().replace(b"@", b"\xe9")
    path.write_bytes(bad + b"\n" + json.dumps(line(2.0, strategy="café"), ensure_ascii=False).encode() + b"\n")
    counts, _ = read(path)
    assert (counts["succeeded"], counts["unreadable"]) == (1, 1)
    assert amounts(venue) == [2.0]


def test_a_line_that_is_too_long_is_one_line(venue: FakeVenue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inbox, "_LONGEST_LINE", 1000)
    path = tmp_path / "signals.jsonl"
    # What is left of it after 1000 bytes is a signal; it must not be taken for one.
    path.write_text(text(line(1.0), " " * 1000 + json.dumps(line(2.0)), line(3.0)))
    counts, answers = read(path)
    assert (counts["succeeded"], counts["unreadable"]) == (2, 1)
    assert any("longer than 1000" in a["answer"]["message"] for a in answers)
    assert amounts(venue) == [1.0, 3.0]


def test_a_line_that_is_too_long_and_still_growing_is_waited_for(
    venue: FakeVenue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inbox, "_LONGEST_LINE", 1000)
    path = tmp_path / "signals.jsonl"
    path.write_text(" " * 2500)
    with running(path) as it:
        time.sleep(0.06)
        assert it.answers == []
        with path.open("a") as stream:
            stream.write(text(line(1.0), line(2.0)))
        wait_for(lambda: len(it.answers) == 2)
    assert amounts(venue) == [2.0]


@pytest.mark.parametrize("first", ["same", "other"])
def test_a_file_that_is_cut_and_begun_anew(venue: FakeVenue, tmp_path: Path, first: str) -> None:
    path = tmp_path / "signals.jsonl"
    path.write_text(text(line(1.0), line(2.0), line(3.0)))
    again = 1.0 if first == "same" else 4.0
    with running(path) as it:
        wait_for(lambda: len(it.answers) == 3)
        path.write_text(text(line(again)))
        wait_for(lambda: len(it.answers) == 4)
        with path.open("a") as stream:
            # It grows past the old position: it is the new file all the same.
            stream.write(text(*[line(float(number)) for number in range(5, 10)]))
        wait_for(lambda: len(it.answers) == 9)
        time.sleep(0.1)
        assert it.end()["received"] == 9
    assert amounts(venue) == [1.0, 2.0, 3.0, again, 5.0, 6.0, 7.0, 8.0, 9.0]
    assert read(path)[0]["received"] == 0
    with path.open("a") as stream:
        stream.write(text(line(10.0)))
    assert read(path)[0]["received"] == 1


def test_a_file_that_is_begun_anew_while_nobody_reads(venue: FakeVenue, tmp_path: Path) -> None:
    path = tmp_path / "signals.jsonl"
    path.write_text(text(line(1.0), line(2.0)))
    read(path)
    path.write_text(text(line(1.0)))
    assert read(path)[0]["received"] == 1
    path.write_text(text(line(1.0), line(5.0), line(6.0)))
    assert read(path)[0]["received"] == 2
    assert amounts(venue) == [1.0, 2.0, 1.0, 5.0, 6.0]


def test_a_folder_in_which_files_appear(venue: FakeVenue, tmp_path: Path) -> None:
    folder = tmp_path / "signals"
    folder.mkdir()
    (folder / "b.jsonl").write_text(text(line(2.0)))
    (folder / "a.json").write_text(json.dumps(line(1.0)))
    (folder / "notes.txt").write_text(text(line(9.0)))
    (folder / "folder.json").mkdir()
    with running(folder) as it:
        wait_for(lambda: len(it.answers) == 2)
        (folder / "c.ndjson").write_text(text(line(3.0)))
        wait_for(lambda: len(it.answers) == 3)
        with (folder / "b.jsonl").open("a") as stream:
            stream.write(text(line(4.0)))
        wait_for(lambda: len(it.answers) == 4)
    assert amounts(venue) == [1.0, 2.0, 3.0, 4.0]
    assert read(folder)[0]["received"] == 0


def test_a_source_that_fails_does_not_take_the_others_down(venue: FakeVenue) -> None:
    class Broken:
        def entries(self, stopping: threading.Event, follow: bool) -> Iterator[inbox.Entry]:
            raise OSError("gone")

    items: queue.SimpleQueue[Any] = queue.SimpleQueue()
    items.put(line())
    assert read(Broken(), items)[0]["succeeded"] == 1


def test_a_loop_without_a_source_says_so() -> None:
    with pytest.raises(Exception, match="needs a source"):
        default_executor().run()
    with pytest.raises(ValueError, match="a queue, '-', a file or a folder"):
        default_executor().run(7)


# -- order


def test_signals_of_a_symbol_stay_in_order_and_venues_run_side_by_side(venue: FakeVenue) -> None:
    slow = add_venue("slow")
    slow.hang = threading.Event()
    items: queue.SimpleQueue[Any] = queue.SimpleQueue()
    items.put(line(0.5, exchange="slow"))
    items.put(line(0.6, exchange="slow:alpha"))
    for number in range(1, 41):
        items.put(line(number / 10, symbol=(SWAP, ETHER)[number % 2]))
    with running(items) as it:
        wait_for(lambda: len(it.answers) == 40)
        assert {a["exchange"] for a in it.answers} == {"fake"}
        slow.hang.set()
        wait_for(lambda: len(it.answers) == 42)
    for symbol in (SWAP, ETHER):
        assert amounts(venue, symbol) == sorted(amounts(venue, symbol))
        assert len(amounts(venue, symbol)) == 20
    assert sorted(amounts(slow)) == [0.5, 0.6]


# -- between signals


def test_open_orders_are_looked_after_between_signals(venue: FakeVenue) -> None:
    items: queue.SimpleQueue[Any] = queue.SimpleQueue()
    items.put(line(1.0, stop_loss=90))
    with running(items, sync_every=0.02) as it:
        wait_for(lambda: it.answers)
        entry = venue.orders["1"]
        venue.fill(entry)
        wait_for(lambda: venue.called("place_stop_order"))
        wait_for(lambda: default_manager().get_order("1", "fake")["status"] == "filled")  # type: ignore[index]
    stop = venue.orders["2"]
    assert (stop["type"], stop["amount"], stop["stop_price"]) == ("stop", 1.0, 90.0)


def test_an_account_in_danger_is_liquidated_once(venue: FakeVenue) -> None:
    items: queue.SimpleQueue[Any] = queue.SimpleQueue()
    items.put(line(1.0))
    with running(items, risk_every=0.02, sync_every=0.02) as it:
        wait_for(lambda: it.answers)
        venue.positions = [position(SWAP, "long", 2.0)]
        venue.margin_ratio = 0.95
        wait_for(lambda: not venue.positions)
        time.sleep(0.2)
    closes = [order for order in venue.orders.values() if order["reduce_only"]]
    assert [(order["side"], order["amount"], order["type"]) for order in closes] == [("sell", 2.0, "market")]
    assert venue.orders["1"]["status"] == "cancelled"
    assert [event.kind for event in default_manager().journal.events()].count("liquidate") == 1


def test_an_account_in_danger_is_only_told_of_where_nothing_shall_be_liquidated(venue: FakeVenue) -> None:
    venue.positions = [position(SWAP, "long", 2.0)]
    venue.margin_ratio = 0.95
    items: queue.SimpleQueue[Any] = queue.SimpleQueue()
    items.put(line(1.0, action="sell", reduce_only=True))
    with running(items, risk_every=0.01, liquidate=False) as it:
        wait_for(lambda: it.answers)
        wait_for(lambda: venue.called("get_account_info") > 5)
    assert venue.positions
    assert venue.called("cancel_all_orders") == 0


@pytest.mark.parametrize("symbol", [None, SWAP])
def test_a_liquidation_signal_is_carried_out(venue: FakeVenue, tmp_path: Path, symbol: str | None) -> None:
    venue.positions = [position(SWAP, "long", 2.0), position(ETHER, "short", 3.0)]
    path = tmp_path / "signals.jsonl"
    path.write_text(text(line(1.0), {"signal": "liquidate", "exchange": "fake", "symbol": symbol, "timestamp": 1.0}))
    counts, answers = read(path)
    assert counts["succeeded"] == 2
    assert answers[1]["answer"]["data"]["cancelled"] == 1
    assert [p["symbol"] for p in venue.positions] == ([] if symbol is None else [ETHER])
    assert read(path)[0]["received"] == 0


# -- acknowledgement


def test_a_signal_is_acknowledged_only_when_its_outcome_is_recorded(
    venue: FakeVenue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "_RETRY", 0.05)
    path = tmp_path / "signals.jsonl"
    path.write_text(text(line(1.0), line(2.0)))
    manager, broken = default_manager(), threading.Event()
    default_executor().start()
    broken.set()
    append = manager.journal.append

    def fails(*args: Any) -> None:
        if broken.is_set():
            raise StoreError("the disk is full")
        append(*args)

    monkeypatch.setattr(manager.journal, "append", fails)
    with running(path, sync_every=100, risk_every=100) as it:
        time.sleep(0.3)
        assert it.answers == []
        assert rows() == {}
        assert venue.orders == {}
        broken.clear()
        wait_for(lambda: len(it.answers) == 2)
    assert [a["answer"]["success"] for a in it.answers] == [True, True]
    assert amounts(venue) == [1.0, 2.0]
    assert rows() == {str(path): path.stat().st_size}


def test_an_outcome_that_could_not_be_recorded_is_asked_for_before_the_signal_is_acknowledged(
    venue: FakeVenue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "_RETRY", 0.05)
    path = tmp_path / "signals.jsonl"
    path.write_text(text(line(1.0), line(2.0)))
    manager, faults = default_manager(), [StoreError("the disk is full")] * 2
    real = manager.settle

    def settle(*args: Any) -> None:
        if faults:
            raise faults.pop()
        real(*args)

    monkeypatch.setattr(manager, "settle", settle)
    _, answers = read(path)
    assert [a["answer"]["success"] for a in answers] == [True, True]
    assert amounts(venue) == [1.0, 2.0]
    assert [order["status"] for order in manager.get_orders_by_time(0)] == ["open", "open"]
    assert rows() == {str(path): path.stat().st_size}


def test_a_signal_whose_outcome_is_unknown_is_tried_again_until_it_is_known(
    venue: FakeVenue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "_RETRY", 0.05)
    path = tmp_path / "signals.jsonl"
    path.write_text(text(line(1.0), line(2.0)))
    venue.failing = {"place_limit_order": ("TIMEOUT", "unknown"), "get_order_status": ("VENUE_DOWN", "not_sent")}
    with running(path, sync_every=0.05) as it:
        wait_for(lambda: venue.called("get_order_status") > 1)
        assert it.answers == []
        assert rows() == {}
        venue.failing = {}
        wait_for(lambda: len(it.answers) == 2)
    assert [a["answer"]["success"] for a in it.answers] == [True, True]
    assert amounts(venue) == [1.0, 2.0]


def test_what_stays_unknown_stays_with_its_source(
    venue: FakeVenue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "_RETRY", 0.0)
    path = tmp_path / "signals.jsonl"
    path.write_text(text(line(1.0), line(2.0, exchange="paper", price=1)))
    venue.failing = {"place_limit_order": ("TIMEOUT", "unknown"), "get_order_status": ("BAD_RESPONSE", "not_sent")}
    counts, answers = read(path)
    assert counts["failed"] >= 1
    assert next(a["answer"] for a in answers if a["exchange"] == "fake")["data"]["outcome"] == "unknown"
    assert rows() == {}
    venue.failing = {}
    registry.reset()
    counts, answers = read(path)
    assert next(a["answer"] for a in answers if a["exchange"] == "fake")["success"]
    assert amounts(venue) == [1.0]
    assert rows() == {str(path): path.stat().st_size}


def test_answers_are_told_one_at_a_time(venue: FakeVenue) -> None:
    add_venue("other")
    items: queue.SimpleQueue[Any] = queue.SimpleQueue()
    for number in range(1, 21):
        items.put(line(number / 10, exchange=("fake", "other", "nowhere")[number % 3]))
    inside: list[int] = []
    most: list[int] = []

    def tell(_: Any) -> None:
        inside.append(1)
        most.append(len(inside))
        time.sleep(0.002)
        inside.pop()

    default_executor().run(items, follow=False, on_answer=tell)
    assert most == [1] * 20


def test_a_callback_that_fails_ends_nothing(venue: FakeVenue) -> None:
    items: queue.SimpleQueue[Any] = queue.SimpleQueue()
    for item in (line(1.0), line(exchange="nowhere"), line(2.0)):
        items.put(item)

    def broken(_: Any) -> None:
        raise ValueError("the caller's")

    counts = default_executor().run(items, follow=False, on_answer=broken)
    assert (counts["succeeded"], counts["failed"]) == (2, 1)
    assert amounts(venue) == [1.0, 2.0]


# -- stopping


def test_run_in_another_thread_leaves_the_signals_of_the_process_alone(venue: FakeVenue) -> None:
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    items: queue.SimpleQueue[Any] = queue.SimpleQueue()
    items.put(line())
    with running(items) as it:
        wait_for(lambda: it.answers)
        assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before
    assert it.counts["succeeded"] == 1


def test_run_gives_the_signals_of_the_process_back(venue: FakeVenue) -> None:
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    read(queue.SimpleQueue())
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before


def test_a_venue_that_hangs_does_not_hold_up_the_stop(venue: FakeVenue, tmp_path: Path) -> None:
    hanging = add_venue("hanging")
    path = tmp_path / "signals.jsonl"
    path.write_text(text(line(1.0, exchange="hanging"), line(2.0)))
    with running(path, stop_timeout=0.3, sync_every=0.02, risk_every=0.02) as it:
        wait_for(lambda: len(it.answers) == 2)
        hanging.hang = threading.Event()
        with path.open("a") as stream:
            stream.write(text(line(3.0, exchange="hanging"), line(4.0, exchange="hanging")))
        seen = len(hanging.calls)
        wait_for(lambda: len(hanging.calls) > seen + 1)
        begun = time.monotonic()
        counts = it.end()
        assert time.monotonic() - begun < 2
        hanging.hang.set()
    assert counts["unfinished"] == ["hanging"]
    assert counts["left"] == 1
    # What was in flight ends behind the loop's back, and is recorded; the rest is there at the next start.
    wait_for(lambda: len(hanging.orders) == 2)
    hanging.hang = None
    counts, _ = read(path)
    assert sorted(amounts(hanging)) == [1.0, 3.0, 4.0]


LOOP = """
import json, sys
from Execution.executor import default_executor
def tell(a):
    print(json.dumps(a["answer"]["success"]), flush=True)
counts = default_executor().run(*sys.argv[1:], on_answer=tell)
print(json.dumps(counts))
"""


@pytest.fixture
def prices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAPER_SOURCE", "fixed")
    monkeypatch.setenv("PAPER_BALANCES", "USDT=100000000")
    assert paper.set_price(SWAP, 50_000, 50_010)["success"]


def paper_line(amount: float) -> dict[str, Any]:
    return line(amount, exchange="paper", price=40_000)


def sent() -> list[float]:
    return [order["amount"] for order in paper.get_open_orders()["data"]]


@contextmanager
def started(*words: str) -> Iterator[subprocess.Popen[str]]:
    """A loop in a process of its own, which does not outlive the test."""
    with children.start(LOOP, *words) as child:
        try:
            yield child
        finally:
            child.kill()


def end(child: subprocess.Popen[str], number: signal.Signals) -> tuple[list[str], str, float]:
    begun = time.monotonic()
    child.send_signal(number)
    out, err = child.communicate(timeout=20)
    return out.splitlines(), err, time.monotonic() - begun


@pytest.mark.usefixtures("prices")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_of_the_system_ends_the_loop_and_loses_nothing(tmp_path: Path, number: signal.Signals) -> None:
    path = tmp_path / "signals.jsonl"
    wanted = [round(0.001 * number, 3) for number in range(1, 201)]
    path.write_text(text(*[paper_line(amount) for amount in wanted]))
    with started(str(path)) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "true\n"
        told, err, seconds = end(child, number)
    assert (child.returncode, err) == (0, "")
    assert seconds < 5
    counts = json.loads(told[-1])
    assert counts["unfinished"] == []
    assert len(sent()) == counts["succeeded"] < 200
    assert read(path)[0]["received"] == 200 - counts["succeeded"]
    assert sent() == wanted


@pytest.mark.usefixtures("prices")
def test_standard_input_is_read_to_its_end() -> None:
    lines = text(paper_line(0.001), "", "no signal", paper_line(0.002), json.dumps(paper_line(0.003))[:-2])
    with started("-") as child:
        told, err = child.communicate(lines + json.dumps(paper_line(0.004)), timeout=20)
    assert sorted(told.splitlines()[:-1]) == ["false", "false", "true", "true", "true"]
    assert json.loads(told.splitlines()[-1])["unreadable"] == 2
    assert sent() == [0.001, 0.002, 0.004]
    assert "unreadable" in err


@pytest.mark.usefixtures("prices")
def test_bytes_that_are_no_text_do_not_end_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONIOENCODING", "utf-8:strict")
    with started("-") as child:
        assert child.stdin is not None
        child.stdin.buffer.write(b"\xff\xfe\n" + text(paper_line(0.001)).encode())
        child.stdin.close()
        child.stdin = None
        told, _ = child.communicate(timeout=20)
    assert sorted(told.splitlines()[:-1]) == ["false", "true"]
    assert sent() == [0.001]


@pytest.mark.usefixtures("prices")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_loop_that_waits_for_standard_input_ends_when_it_is_told(number: signal.Signals) -> None:
    with started("-") as child:
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdin.write(text(paper_line(0.001)))
        child.stdin.flush()
        assert child.stdout.readline() == "true\n"
        child.send_signal(number)
        assert child.wait(10) == 0
        assert json.loads(child.stdout.read())["succeeded"] == 1


def test_a_line_of_standard_input_that_is_too_long(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(inbox, "_LONGEST_LINE", 1000)
    venue = add_venue("fake")
    path = tmp_path / "input"
    path.write_text(text(line(1.0), " " * 200_000 + json.dumps(line(2.0)), line(3.0)) + json.dumps(line(4.0)))
    with path.open() as stream:
        counts, _ = read(inbox.StreamSource(stream))
    assert (counts["succeeded"], counts["unreadable"]) == (3, 1)
    assert amounts(venue) == [1.0, 3.0, 4.0]


def test_an_error_of_the_venue_is_an_answer_like_any_other(venue: FakeVenue, tmp_path: Path) -> None:
    venue.raising["place_limit_order"] = RuntimeError("boom")
    path = tmp_path / "signals.jsonl"
    path.write_text(text(line(1.0)))
    venue.get_order_status = lambda *_, **__: fail("ORDER_NOT_FOUND", "no", "rejected")  # type: ignore[method-assign]
    with running(path, sync_every=100) as it:
        wait_for(lambda: venue.called("place_limit_order"))
        venue.raising.clear()
        wait_for(lambda: it.answers)
    assert it.answers[0]["answer"]["success"]
    assert amounts(venue) == [1.0]
