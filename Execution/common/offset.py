"""How far a venue's clock is from ours: what signatures are stamped with."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable

_SAMPLES = 5
_GOOD_FOR = 1800.0


class ClockOffset:
    """The offset to one venue, estimated at first use and again when it is old or the venue complains.

    Seconds to add to `time.time()`. The median over several samples; each takes the middle of its round trip.
    """

    def __init__(self, ask: Callable[[], float]) -> None:
        """`ask` answers the venue's time, seconds UTC."""
        self._ask = ask
        self._lock = threading.Lock()
        self._seconds = 0.0
        self._until = 0.0

    def now(self) -> float:
        """Answer the venue's present time."""
        if time.monotonic() >= self._until:
            self._estimate()
        return time.time() + self._seconds

    def now_ms(self) -> int:
        """Answer the venue's present time in milliseconds."""
        return int(self.now() * 1000)

    def doubt(self) -> None:
        """Have it estimated anew at the next use: the venue has called a time stamp wrong."""
        self._until = 0.0

    def _estimate(self) -> None:
        with self._lock:
            if time.monotonic() < self._until:
                return
            samples = []
            for _ in range(_SAMPLES):
                before = time.time()
                theirs = self._ask()
                samples.append(theirs - (before + time.time()) / 2)
            self._seconds = statistics.median(samples)
            self._until = time.monotonic() + _GOOD_FOR
