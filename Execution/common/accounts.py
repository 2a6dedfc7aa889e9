"""What a venue file keeps: one client for each account, and facts that are good for a while."""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Callable, Hashable
from typing import Any, Generic, TypeVar

from Execution.common import settings, store

T = TypeVar("T")


_all: weakref.WeakSet[PerAccount[Any]] = weakref.WeakSet()


def forget() -> None:
    """Have the clients of every venue made anew, from the settings then in force."""
    for each in list(_all):
        each.forget()


class PerAccount(Generic[T]):
    """One object for each account of a venue (`settings.account`), made at its first use, gone in a forked child."""

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._found: dict[str, T] = {}
        self._lock = threading.RLock()
        _all.add(self)
        store.on_fork(self._forked)

    def get(self) -> T:
        """Answer the object of the account in force."""
        alias = settings.account.get()
        found = self._found.get(alias)
        return self._made(alias) if found is None else found

    def _made(self, alias: str) -> T:
        with self._lock:
            if alias not in self._found:
                self._found[alias] = self._make()
            return self._found[alias]

    def forget(self) -> None:
        """Have all made anew, from the settings then in force."""
        with self._lock:
            self._found.clear()

    def _forked(self) -> None:
        self._lock = threading.RLock()
        self._found.clear()


class Facts:
    """Answers that are used again for a while. Two threads may ask for the same at once; both are right."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._found: dict[Hashable, tuple[float, Any]] = {}

    def get(self, key: Hashable, ask: Callable[[], T]) -> T:
        """Answer what is known, asking where it is not known or too old."""
        found = self._found.get(key)
        now = time.monotonic()
        if found is not None and now - found[0] < self._seconds:
            value: T = found[1]
            return value
        value = ask()
        self._found[key] = (now, value)
        return value

    def forget(self, key: Hashable = None) -> None:
        """Have one asked anew, or all."""
        if key is None:
            self._found.clear()
        else:
            self._found.pop(key, None)
