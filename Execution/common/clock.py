"""The package's clock: wall time, unless a replay or a test sets another.

Call `clock.now()` through the module, so that a replaced clock is seen everywhere.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

now: Callable[[], float] = time.time


def set_clock(source: Callable[[], float] | None) -> None:
    """Make `source` the clock of the whole process; None restores wall time."""
    global now
    now = source or time.time


@contextmanager
def use(source: Callable[[], float]) -> Iterator[None]:
    """Use another clock inside a with block."""
    before = now
    set_clock(source)
    try:
        yield
    finally:
        set_clock(before)


class ManualClock:
    """A clock that stands still until it is moved: for replays and tests."""

    def __init__(self, start: float = 0.0) -> None:
        self.time = start

    def __call__(self) -> float:
        return self.time

    def advance(self, seconds: float) -> None:
        """Move forward."""
        self.time += seconds
