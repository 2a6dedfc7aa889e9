"""The loop of `Executor.run`: takes signals from its sources and keeps the house between them.

Each exchange has one worker, so the signals of an (exchange, symbol) stay in order while exchanges run side by side.
A signal is acknowledged to its source only when its outcome is recorded. SIGTERM and SIGINT: what is in flight is
finished, nothing new is begun, what was not begun stays with its source.
"""

from __future__ import annotations

import queue
import signal as os_signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from Execution import registry
from Execution.common import log
from Execution.common.envelope import fail, failure
from Execution.common.errors import ExecutionError, Refused
from Execution.common.types import Envelope
from Execution.signals.answers import is_open_question
from Execution.signals.inbox import Entry, QueueSource, Source, open_source

if TYPE_CHECKING:
    from Execution.executor import Executor

Report = Callable[[dict[str, Any]], None]

_RETRY = 1.0
_TRIES = 10
_MOST_WAITING = 10_000


class Loop:
    """One run of the loop."""

    def __init__(
        self,
        executor: Executor,
        *,
        on_answer: Report | None,
        sync_every: float,
        risk_every: float,
        stop_timeout: float,
        liquidate: bool,
    ) -> None:
        self.executor = executor
        self.stopping = threading.Event()
        self._ended = threading.Event()
        self.counts = {"received": 0, "succeeded": 0, "failed": 0, "unreadable": 0}
        self._on_answer = on_answer
        self._sync_every = sync_every
        self._risk_every = risk_every
        self._stop_timeout = stop_timeout
        self._liquidate = liquidate
        self._workers: dict[str, tuple[threading.Thread, queue.SimpleQueue[Entry | None]]] = {}
        self._lock = threading.Lock()
        self._telling = threading.Lock()
        self._left: list[Entry] = []

    # -- sources

    def read(self, source: Source, follow: bool) -> None:
        """Hand the entries of a source to the workers, until it ends or the loop stops.

        A source that fails is asked again, from where it was: its disk or the store may come back.
        """
        tries = 0
        while not self.stopping.is_set():
            try:
                for entry in source.entries(self.stopping, follow):
                    self._hand_over(entry)
                    tries = 0
                return
            except Exception as error:  # noqa: BLE001  # one source that fails must not take the others down
                tries += 1
                log.error(f"a signal source failed: {type(error).__name__}: {error}")
            if tries >= _TRIES and not follow:
                return
            self.stopping.wait(_RETRY)

    def _hand_over(self, entry: Entry) -> None:
        with self._lock:
            self.counts["received"] += 1
        if entry.problem:
            self._unreadable(entry)
            return
        try:
            name = registry.canonical(_exchange_of(entry.content))
        except ExecutionError as error:
            self._answered(entry, failure(error))
            return
        inbox = self._worker(name)
        while inbox.qsize() >= _MOST_WAITING and not self.stopping.is_set():
            self.stopping.wait(0.02)
        inbox.put(entry)

    def _unreadable(self, entry: Entry) -> None:
        with self._lock:
            self.counts["unreadable"] += 1
        log.warning(f"signal at {entry.source}:{entry.position} is unreadable: {entry.problem}")
        facts = {"source": entry.source, "position": entry.position, "problem": entry.problem}
        self._record("unreadable", facts)
        self._answered(entry, fail("INVALID_ORDER", entry.problem, "not_sent"))

    def _record(self, kind: str, facts: dict[str, Any]) -> None:
        try:
            with self.executor.orders.writing():
                self.executor.orders.journal.note(kind, facts)
        except ExecutionError as error:
            log.error(f"could not be recorded: {error}")

    # -- workers

    def _worker(self, name: str) -> queue.SimpleQueue[Entry | None]:
        with self._lock:
            if name not in self._workers:
                inbox: queue.SimpleQueue[Entry | None] = queue.SimpleQueue()
                thread = threading.Thread(target=self._work, args=(inbox,), name=f"execution-{name}", daemon=True)
                self._workers[name] = thread, inbox
                thread.start()
            return self._workers[name][1]

    def _work(self, inbox: queue.SimpleQueue[Entry | None]) -> None:
        while (entry := inbox.get()) is not None:
            if self.stopping.is_set():
                self._left.append(entry)
                continue
            answer, tries = self._carry_out(entry), 1
            while _must_try_again(entry, answer, tries) and not self.stopping.is_set():
                log.error(f"{answer['message']}; trying again")
                self.stopping.wait(_RETRY)
                answer, tries = self._carry_out(entry), tries + 1
            if _must_try_again(entry, answer, tries):
                self._left.append(entry)
            else:
                self._answered(entry, answer)

    def _carry_out(self, entry: Entry) -> Envelope:
        content = dict(entry.content)
        try:
            if content.get("signal") == "liquidate":
                return self.executor.handle_risk_signal(content)
            exchange = _exchange_of(content)
            symbol = content.pop("symbol", None)
            content.pop("exchange", None), content.pop("exchange_name", None)
            order = content.pop("signal", None)
            signal = dict(order) if isinstance(order, Mapping) and not content else content
            if entry.key and not signal.get("key"):
                signal["key"] = entry.key
            return self.executor.execute_signal(str(exchange), symbol, signal)
        except Exception as error:  # noqa: BLE001  # the loop goes on
            log.error(f"signal at {entry.source}:{entry.position}: {type(error).__name__}: {error}")
            return fail("INTERNAL", f"{type(error).__name__}: {error}", "unknown")

    def _answered(self, entry: Entry, answer: Envelope) -> None:
        with self._lock:
            self.counts["succeeded" if answer["success"] else "failed"] += 1
        if entry.acknowledge is not None and (_is_known(answer) or not _is_keyed(entry)):
            # Else it stays with its source, and the next start asks what became of it.
            try:
                entry.acknowledge()
            except ExecutionError as error:
                log.error(f"{entry.source}:{entry.position} is done but not acknowledged: {error}")
        if self._on_answer is not None:
            with self._telling:
                self._guarded(partial(self._on_answer, _report(entry, answer)))

    # -- between signals

    def keep_house(self) -> None:
        """Sync open orders and look after the account until the loop stops or has ended."""
        next_sync = time.monotonic() + self._sync_every
        next_risk = time.monotonic() + self._risk_every
        while not self.stopping.is_set() and not self._ended.is_set():
            self.stopping.wait(0.02)
            self._guarded(self.executor.orders.journal.project_some)
            now = time.monotonic()
            if now >= next_sync:
                self._guarded(self.executor.sync)
                next_sync = time.monotonic() + self._sync_every
            if now >= next_risk:
                self._guarded(self._look_after_all)
                next_risk = time.monotonic() + self._risk_every

    def _look_after_all(self) -> None:
        """Look after every account that may hold something, traded on since this loop began or before."""
        for name in sorted({*self._workers, *self.executor.orders.recent_exchanges()}):
            self._guarded(partial(self._look_after, name))

    def _look_after(self, name: str) -> None:
        verdict = self.executor.risk.check_account_risk(name)
        if verdict["risk_level"] == "safe":
            return
        log.warning(f"{name}: {verdict['message']}")
        if verdict["should_liquidate"] and self._liquidate and self._has_something(name):
            self._record("liquidate", {"exchange": name, "message": verdict["message"], "metrics": verdict["metrics"]})
            answer = self.executor.handle_risk_signal(self.executor.risk.send_liquidation_signal(name))
            log.error(f"{name} liquidated: {answer['message']}")

    @staticmethod
    def _has_something(name: str) -> bool:
        return any(
            not answer["success"] or answer["data"]
            for answer in (registry.call(name, "get_positions"), registry.call(name, "get_open_orders"))
        )

    def _guarded(self, task: Callable[[], Any]) -> None:
        try:
            task()
        except Exception as error:  # noqa: BLE001  # neither housekeeping nor a caller's callback may end the loop
            log.error(f"{task} failed: {type(error).__name__}: {error}")

    # -- the end

    def attend(self, readers: list[threading.Thread]) -> None:
        """Wait until the loop is stopped, or its sources have ended and all they gave is carried out."""
        self._wait_for(readers)
        if not self.stopping.is_set():
            self._dismiss()
        self._wait_for([thread for thread, _ in self._workers.values()])

    def _wait_for(self, threads: list[threading.Thread]) -> None:
        while not self.stopping.is_set() and any(thread.is_alive() for thread in threads):
            self.stopping.wait(0.02)

    def _dismiss(self) -> None:
        for _, inbox in self._workers.values():
            inbox.put(None)

    def finish(self, readers: list[threading.Thread], house: threading.Thread) -> list[str]:
        """Let everything end; answer the names of the exchanges that did not within the deadline."""
        deadline = time.monotonic() + self._stop_timeout
        self._ended.set()
        for reader in readers:
            reader.join(max(0.0, deadline - time.monotonic()))
        self._dismiss()
        for thread in (*[thread for thread, _ in self._workers.values()], house):
            thread.join(max(0.0, deadline - time.monotonic()))
        for _, inbox in self._workers.values():
            self._left += _rest_of(inbox)
        return [name for name, (thread, _) in self._workers.items() if thread.is_alive()]

    @property
    def left(self) -> list[Entry]:
        """What was taken from a source and not begun."""
        return self._left


def run(
    executor: Executor,
    *sources: Any,
    on_answer: Report | None = None,
    follow: bool = True,
    sync_every: float = 1.0,
    risk_every: float = 5.0,
    stop_timeout: float = 10.0,
    liquidate: bool = True,
    stop: threading.Event | None = None,
) -> dict[str, Any]:
    """Carry out signals as they come, until stopped by SIGTERM, SIGINT or `stop`.

    Args:
        sources: queues of dicts, "-" for standard input, paths of files or folders of JSON lines. A line is a signal
            with exchange and symbol beside its keys, or a liquidation signal.
        on_answer: called with {"source", "position", "exchange", "symbol", "answer"} for each signal, one at
            a time.
        follow: stay when a file has been read to its end; False: end when all sources are read.
        sync_every, risk_every: seconds between looks at open orders and at the account.
        stop_timeout: seconds that what is in flight may take after a stop.
        liquidate: whether a liquidation that the account's risk level calls for is carried out.

    Returns:
        {"received", "succeeded", "failed", "unreadable", "left", "unfinished"}.
    """
    loop = Loop(
        executor,
        on_answer=on_answer,
        sync_every=sync_every,
        risk_every=risk_every,
        stop_timeout=stop_timeout,
        liquidate=liquidate,
    )
    if stop is not None:
        loop.stopping = stop
    executor.start()
    opened = [open_source(source, executor.orders) for source in sources]
    if not opened:
        raise Refused("CONFIGURATION", "run() needs a source of signals")
    readers = [
        threading.Thread(target=loop.read, args=(source, follow), name="execution-source", daemon=True)
        for source in opened
    ]
    # What waits for a slow venue must not keep the loop from stopping.
    house = threading.Thread(target=loop.keep_house, name="execution-house", daemon=True)
    with _stopped_by_signals(loop.stopping):
        for thread in (house, *readers):
            thread.start()
        loop.attend(readers)
        unfinished = loop.finish(readers, house)
    for source in opened:
        if isinstance(source, QueueSource):
            source.give_back([entry for entry in loop.left if entry.origin is source])
    return {**loop.counts, "left": len(loop.left), "unfinished": unfinished}


@contextmanager
def _stopped_by_signals(stopping: threading.Event) -> Iterator[None]:
    """Let SIGTERM and SIGINT set the event; only the main thread can arrange that."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handler = lambda *_: stopping.set()  # noqa: E731
    before = {number: os_signal.signal(number, handler) for number in (os_signal.SIGTERM, os_signal.SIGINT)}
    try:
        yield
    finally:
        for number, old in before.items():
            os_signal.signal(number, old)


def _report(entry: Entry, answer: Envelope) -> dict[str, Any]:
    content = entry.content if isinstance(entry.content, dict) else {}
    return {
        "source": entry.source.partition("|")[0],
        "position": entry.position,
        "exchange": content.get("exchange_name") or content.get("exchange"),
        "symbol": content.get("symbol"),
        "answer": answer,
    }


def _exchange_of(content: object) -> object:
    if not isinstance(content, Mapping):
        raise Refused("INVALID_ORDER", f"a signal must be a dict, not {content!r:.60}")
    name = content.get("exchange_name") or content.get("exchange")
    if name is None:
        raise Refused("UNKNOWN_VENUE", f"exchange is missing; known: {', '.join(registry.names())}")
    return name


def _must_try_again(entry: Entry, answer: Envelope, tries: int) -> bool:
    """Tell whether a signal must be tried again: nothing could be recorded, or its key finds out what became of it."""
    if not answer["success"] and answer["data"].get("error") == "STORE_FAILED":
        return True
    return tries < _TRIES and not _is_known(answer) and _is_keyed(entry)


def _is_keyed(entry: Entry) -> bool:
    content = entry.content
    return (
        isinstance(content, Mapping) and content.get("signal") != "liquidate" and bool(entry.key or content.get("key"))
    )


def _is_known(answer: Envelope) -> bool:
    """Tell whether an outcome is known and recorded."""
    orders = answer["data"].get("orders") or ()
    return not is_open_question(answer) and all(order.get("recorded", True) for order in orders)


def _rest_of(inbox: queue.SimpleQueue[Entry | None]) -> list[Entry]:
    rest: list[Entry] = []
    while True:
        try:
            entry = inbox.get_nowait()
        except queue.Empty:
            return rest
        if entry is not None:
            rest.append(entry)
