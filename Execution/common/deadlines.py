"""A timer for many deadlines: one heap, one thread that sleeps until the nearest of them."""

from __future__ import annotations

import heapq
import threading
import time
import weakref
from collections.abc import Callable

from Execution.common import clock, log
from Execution.common.store import on_fork

_RETRY = 1.0
_NEVER = float("inf")
_all: weakref.WeakSet[Deadlines] = weakref.WeakSet()


class Deadlines:
    """Calls `expired(name)` soon after each deadline, from a thread that starts with the first one.

    Deadlines are times of `clock.now()`. Under a replaced clock no thread is started: `poll()` is called instead.
    A deadline that no longer matters is not taken out; whoever is called looks whether it still matters.
    One whose handling raised comes again a second later: a locked store must not end the watch over all others.
    """

    def __init__(self, expired: Callable[[str], None]) -> None:
        self._expired = expired
        self._heap: list[tuple[float, str]] = []
        self._nearest: dict[str, float] = {}
        self._wake = threading.Condition()
        self._thread: threading.Thread | None = None
        self._stopping = False
        _all.add(self)

    def __len__(self) -> int:
        return len(self._heap)

    def add(self, when: float, name: str) -> None:
        """Have `expired(name)` called at `when`, seconds UTC; once, however often it is told."""
        with self._wake:
            if self._nearest.get(name, _NEVER) <= when:
                return
            self._nearest[name] = when
            heapq.heappush(self._heap, (when, name))
            if self._thread is None and clock.now is time.time and not self._stopping:
                self._thread = threading.Thread(target=self._run, name="execution-deadlines", daemon=True)
                self._thread.start()
            elif self._heap[0][1] == name:
                self._wake.notify()

    def poll(self) -> int:
        """Handle what is due now; answer how many were."""
        count = 0
        while name := self._due():
            count += 1
            try:
                self._expired(name)
            except Exception as error:  # noqa: BLE001  # whatever it was, the other deadlines must be met
                log.error(f"the deadline of {name} could not be handled: {type(error).__name__}: {error}")
                self.add(clock.now() + _RETRY, name)
        return count

    def stop(self) -> None:
        """End the thread and wait for it; deadlines that were not reached are forgotten."""
        with self._wake:
            self._stopping = True
            self._heap.clear()
            self._nearest.clear()
            self._wake.notify()
            thread, self._thread = self._thread, None
        if thread is not None and thread is not threading.current_thread():
            thread.join()
        with self._wake:
            self._stopping = False

    def _after_fork(self) -> None:
        # The thread stayed with the parent, which keeps its deadlines; the lock may have been held by it.
        self._wake = threading.Condition()
        self._heap.clear()
        self._nearest.clear()
        self._thread = None
        self._stopping = False

    def _due(self) -> str:
        with self._wake:
            if self._heap and self._heap[0][0] <= clock.now():
                name = heapq.heappop(self._heap)[1]
                self._nearest.pop(name, None)
                return name
        return ""

    def _run(self) -> None:
        while True:
            with self._wake:
                if self._thread is not threading.current_thread():
                    return
                if not self._heap:
                    self._wake.wait()
                elif (left := self._heap[0][0] - clock.now()) > 0:
                    self._wake.wait(min(left, 3600.0))
            self.poll()


def _forked() -> None:
    for deadlines in list(_all):
        deadlines._after_fork()


on_fork(_forked)
