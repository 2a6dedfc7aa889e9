"""How many things happened since a moment, without counting them one by one."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable

_TRIM = 1024


class Recent:
    """Times in order; those that nobody asks about any more are dropped a thousand at a time."""

    def __init__(self, times: Iterable[float] = ()) -> None:
        self._times = sorted(times)

    def __len__(self) -> int:
        return len(self._times)

    def add(self, time: float) -> None:
        """Take in a time; mostly it is the latest."""
        if not self._times or time >= self._times[-1]:
            self._times.append(time)
        else:
            insort(self._times, time)

    def count_since(self, time: float) -> int:
        """Answer how many times lie at or after this one."""
        return len(self._times) - bisect_left(self._times, time)

    def drop_before(self, time: float) -> None:
        """Forget what lies before this time, once it is worth the trouble."""
        if len(self._times) > _TRIM and self._times[_TRIM] < time:
            del self._times[: bisect_left(self._times, time)]
