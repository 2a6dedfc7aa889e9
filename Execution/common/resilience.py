"""Circuit breaker, rate budget and back-off: mechanisms without a policy. The registry decides when they are asked."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Mapping

import msgspec


class Breaker:
    """Opens after `threshold` failures in a row; after `cooldown` seconds one trial call may close it again.

    Failures of submits and of other calls are counted apart: a venue that answers reads and swallows orders is sick.
    """

    def __init__(self, threshold: int = 5, cooldown: float = 30.0) -> None:
        self.threshold = threshold
        self.cooldown = cooldown
        self.failures = 0
        self._counts = {True: 0, False: 0}
        self._opened = 0.0
        self._trial = 0.0
        self._lock = threading.Lock()

    def refuses(self) -> float:
        """Answer 0.0 where a call may go, else the seconds until a trial call may."""
        if self.failures < self.threshold:
            return 0.0
        with self._lock:
            now = time.monotonic()
            wait = max(self._opened, self._trial) + self.cooldown - now
            if wait > 0:
                return wait
            self._trial = now
            return 0.0

    def untried(self) -> None:
        """Give a trial back that was never made."""
        self._trial = 0.0

    def succeeded(self, *, submit: bool = True) -> None:
        """Forget failures: a submit that is answered closes it, another call only forgets those of its kind."""
        if self.failures:
            with self._lock:
                self._counts[False] = 0
                if submit:
                    self._counts[True] = 0
                self.failures = max(self._counts.values())

    def failed(self, *, submit: bool = True) -> None:
        """Count a failure."""
        with self._lock:
            self._counts[submit] += 1
            self.failures = max(self._counts.values())
            if self.failures >= self.threshold:
                self._opened = time.monotonic()
                self._trial = 0.0


class Limit(msgspec.Struct, frozen=True):
    """`calls` per `seconds`, of which the last `reserve` may be used by cancels only."""

    calls: int
    seconds: float
    reserve: int = 0


class Budget:
    """Token buckets by kind of call ("order", "cancel", "read"); a kind without a limit is free."""

    def __init__(self, limits: Mapping[str, Limit]) -> None:
        self._limits = dict(limits)
        self._tokens = {kind: float(limit.calls) for kind, limit in self._limits.items()}
        self._updated = {kind: time.monotonic() for kind in self._limits}
        self._blocked_until = 0.0
        self._slow_until = 0.0
        self._lock = threading.Lock()

    def take(self, kind: str) -> float:
        """Take one token; answer 0.0, or (nothing taken) the seconds until there is one."""
        with self._lock:
            now = time.monotonic()
            if now < self._blocked_until:
                return self._blocked_until - now
            if kind != "cancel" and now < self._slow_until:
                return self._slow_until - now
            bucket = kind if kind in self._limits else "order" if kind == "cancel" else kind
            limit = self._limits.get(bucket)
            if limit is None:
                return 0.0
            rate = limit.calls / limit.seconds
            tokens = min(float(limit.calls), self._tokens[bucket] + (now - self._updated[bucket]) * rate)
            self._updated[bucket] = now
            self._tokens[bucket] = tokens
            needed = 1.0 if kind == "cancel" else 1.0 + limit.reserve
            if tokens < needed:
                return (needed - tokens) / rate
            self._tokens[bucket] = tokens - 1.0
            return 0.0

    def block(self, seconds: float) -> None:
        """Stop everything for a while: the venue asked for it."""
        with self._lock:
            self._blocked_until = max(self._blocked_until, time.monotonic() + seconds)

    def spare(self, seconds: float) -> None:
        """Leave what is left of the venue's limit to cancels for a while."""
        with self._lock:
            self._slow_until = max(self._slow_until, time.monotonic() + seconds)


def backoff(attempt: int, *, base: float = 0.1, most: float = 2.0) -> float:
    """Answer the seconds to wait before attempt number `attempt` + 1, with jitter."""
    return min(most, base * 2.0**attempt) * random.uniform(0.5, 1.0)  # noqa: S311  # not a secret
