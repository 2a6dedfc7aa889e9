"""A SQLite file shared by threads and processes: opening, schema, transactions, and errors in our words.

WAL mode. Durability NORMAL survives the death of the process at any moment; a power cut may lose the last commits
(never the file). FULL waits for the disk at every commit and closes that gap. A connection belongs to one process:
before a fork every idle file is closed, and parent and child open it again. SQLite carried over a fork believes in
locks that the child does not hold, and the commits of the child are lost when the parent closes the file.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from Execution.common.errors import StoreError, StoreLocked, StoreTooNew

_PAGE_SIZE = 2048
_CHECKPOINT_PAGES = 4_000
_CHECK_FILE_EVERY = 0.1
_APPLICATION_ID = 0x45584543
_FORK_PATIENCE = 10.0
_COURTESY = 0.005
_all: weakref.WeakSet[Database] = weakref.WeakSet()
_torn: set[str] = set()
"""Files that were open in the middle of a transaction when this process was forked from its parent."""


class Database:
    """One SQLite file. Use `with database:` for a write transaction; nested blocks join the outer one."""

    def __init__(
        self,
        path: str,
        migrations: Sequence[str],
        *,
        durability: str = "NORMAL",
        timeout: float = 5.0,
        page_size: int = _PAGE_SIZE,
        kind: int = 0,
    ) -> None:
        """Remember where; nothing is opened before the first use.

        Args:
            path: a file, or ":memory:".
            migrations: scripts; the n-th brings the schema from version n to n + 1.
            durability: "NORMAL" or "FULL".
            timeout: seconds to wait for another process's transaction.
            page_size: bytes; the best is a few times the size of a row.
            kind: what tells files of one schema from those of another.
        """
        self.path = path
        self.lock = threading.RLock()
        self._migrations = migrations
        self._durability = durability
        self._timeout = timeout
        self._page_size = page_size
        self._application_id = _APPLICATION_ID + kind
        self._connection: sqlite3.Connection | None = None
        self._file: tuple[int, int] | None = None
        self._checked = 0.0
        self._forked: list[sqlite3.Connection] = []
        self._depth = 0
        self.after_fork: Callable[[], None] | None = None
        _all.add(self)

    @property
    def connection(self) -> sqlite3.Connection:
        """The open connection of this process."""
        if self._connection is None:
            self._connection = self._open()
        return self._connection

    def __enter__(self) -> sqlite3.Connection:
        """Begin a write transaction: from here to the end no other process writes."""
        if _forking:
            time.sleep(_COURTESY)
        self.lock.acquire()
        try:
            if self._depth:
                connection = self.connection
            else:
                if time.monotonic() - self._checked >= _CHECK_FILE_EVERY:
                    self._check_file()
                connection = self._connection or self.connection
                connection.execute("BEGIN IMMEDIATE")
        except sqlite3.Error as error:
            self.lock.release()
            raise self.translate(error) from error
        except BaseException:
            self.lock.release()
            raise
        self._depth += 1
        return connection

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Commit, or roll back where the block raised or the commit fails."""
        if self._depth == 0:
            raise StoreError(f"the process was forked inside a transaction of {self.path}: this half writes nothing")
        try:
            self._depth -= 1
            if self._depth == 0:
                connection = self._connection or self.connection
                if kind is not None:
                    self._roll_back(connection)
                    return
                try:
                    connection.execute("COMMIT")
                except sqlite3.Error as fault:
                    self._roll_back(connection)
                    raise self.translate(fault) from fault
        finally:
            self.lock.release()
            if isinstance(error, sqlite3.Error):
                raise self.translate(error) from error

    @staticmethod
    def _roll_back(connection: sqlite3.Connection) -> None:
        if connection.in_transaction:
            connection.execute("ROLLBACK")

    def read(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Answer all rows of a query."""
        with self.lock:
            try:
                return self.connection.execute(sql, parameters).fetchall()
            except sqlite3.Error as error:
                raise self.translate(error) from error

    def close(self) -> None:
        """Close the file. The next use opens it again."""
        with self.lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def translate(self, error: sqlite3.Error) -> StoreError:
        """Say an error of SQLite in our words."""
        text = str(error)
        if "locked" in text or "busy" in text:
            return StoreLocked(f"the store {self.path} stayed locked for {self._timeout:g} s by another process")
        if "full" in text:
            return StoreError(f"the store {self.path} cannot grow: the disk is full")
        if "readonly" in text or "read-only" in text:
            return StoreError(f"the store {self.path} is read-only")
        if "not a database" in text or "malformed" in text:
            return StoreError(f"the store {self.path} is damaged ({text}); move it away and restore a copy")
        return StoreError(f"the store {self.path} failed: {text}")

    def _check_file(self) -> None:
        """Refuse, once, to go on writing into a file that is no longer at its path: nobody would ever read it."""
        self._checked = time.monotonic()
        if self._connection is None or self._file is None:
            return
        if _identity(self.path) != self._file:
            self._connection.close()
            self._connection = None
            raise StoreError(f"the store {self.path} was removed or replaced while it was open; nothing was written")

    def _open(self) -> sqlite3.Connection:
        if self.path in _torn:
            raise StoreError(
                f"the store {self.path} cannot be used: this process was forked in the middle of a transaction"
            )
        self._create_private()
        try:
            connection = sqlite3.connect(
                self.path,
                timeout=self._timeout,
                isolation_level=None,
                check_same_thread=False,
                cached_statements=128,
            )
        except sqlite3.Error as error:
            raise self.translate(error) from error
        try:
            self._prepare(connection)
        except sqlite3.Error as error:
            connection.close()
            raise self.translate(error) from error
        except BaseException:
            connection.close()
            raise
        self._file = _identity(self.path)
        return connection

    def _create_private(self) -> None:
        if self.path == ":memory:":
            return
        path = Path(self.path)
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        except PermissionError:
            if not os.access(path, os.R_OK):
                _refuse(path, "may not be written here")
        except OSError as error:
            _refuse(path, error.strerror or str(error))

    def _prepare(self, connection: sqlite3.Connection) -> None:
        # One moment for all three: another process may be making the file.
        connection.execute("BEGIN")
        version = self._version(connection)
        owner = connection.execute("PRAGMA application_id").fetchone()[0]
        is_empty = connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone() is None
        connection.execute("COMMIT")
        if owner != self._application_id and not is_empty:
            raise StoreError(f"{self.path} is a database of another program or for another purpose")
        connection.execute(f"PRAGMA page_size={self._page_size}")
        self._use_wal(connection)
        for pragma in (
            f"synchronous={self._durability}",
            f"wal_autocheckpoint={_CHECKPOINT_PAGES}",
            "temp_store=MEMORY",
            "cache_size=-8192",
            "foreign_keys=OFF",
        ):
            connection.execute(f"PRAGMA {pragma}")
        if version < len(self._migrations):
            self._migrate(connection)

    def _use_wal(self, connection: sqlite3.Connection) -> None:
        """Switch to WAL; SQLite itself does not wait where another process is doing the same."""
        until = time.monotonic() + self._timeout
        while True:
            try:
                connection.execute("PRAGMA journal_mode=WAL")
                return
            except sqlite3.OperationalError as error:
                if "locked" not in str(error) or time.monotonic() > until:
                    raise
            time.sleep(0.005)

    def _migrate(self, connection: sqlite3.Connection) -> None:
        connection.execute("BEGIN IMMEDIATE")
        # Another process may have been faster, and newer.
        version = self._version(connection)
        for script in self._migrations[version:]:
            for statement in script.split(";"):
                if statement.strip():
                    connection.execute(statement)
        connection.execute(f"PRAGMA application_id={self._application_id}")
        connection.execute(f"PRAGMA user_version={len(self._migrations)}")
        connection.execute("COMMIT")

    def _version(self, connection: sqlite3.Connection) -> int:
        version = int(connection.execute("PRAGMA user_version").fetchone()[0])
        if version > len(self._migrations):
            raise StoreTooNew(
                f"the store {self.path} has schema {version}, this version knows {len(self._migrations)}: upgrade it"
            )
        return version

    def _before_fork(self) -> None:
        if self._depth == 0 and self.path != ":memory:":
            self.close()

    def _after_fork(self) -> None:
        if self._connection is not None:
            # Neither used, nor closed by the garbage collector, in the child.
            self._forked.append(self._connection)
            self._connection = None
            if self.path != ":memory:":
                _torn.add(self.path)
        self.lock = threading.RLock()
        self._depth = 0
        if self.after_fork is not None:
            self.after_fork()


def _identity(path: str) -> tuple[int, int] | None:
    """Answer which file is at a path; None where there is none."""
    try:
        found = os.stat(path)  # noqa: PTH116  # a Path costs more than the question
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _refuse(path: Path, reason: str) -> None:
    raise StoreError(f"the store {path} cannot be made: {reason}")


class _Fork(threading.local):
    """The databases that a thread holds while it forks."""

    held: Sequence[Database] = ()


_fork = _Fork()
_forking: list[int] = []
"""One entry for each thread that waits to fork; writers let it go first, or it might never come to its turn."""


def _before_fork() -> None:
    _forking.append(1)
    _fork.held = _hold_all(time.monotonic() + _FORK_PATIENCE)
    for database in _fork.held:
        database._before_fork()
    _forking.pop()


def _hold_all(until: float) -> list[Database]:
    """Take the locks of all databases; without those that are still held by others when the time is up."""
    while True:
        everything = list(_all)
        held = [database for database in everything if database.lock.acquire(timeout=_COURTESY)]
        if len(held) == len(everything) or time.monotonic() > until:
            return held
        # Whoever holds one of them may be waiting for another.
        for database in held:
            database.lock.release()
        time.sleep(_COURTESY)


def _forked_parent() -> None:
    for database in _fork.held:
        database.lock.release()
    _fork.held = ()


def _forked_child() -> None:
    _fork.held = ()
    _forking.clear()
    for database in list(_all):
        database._after_fork()
    for callback in _fork_callbacks:
        callback()


_fork_callbacks: list[Callable[[], None]] = []


def on_fork(callback: Callable[[], None]) -> None:
    """Have `callback` called in a forked child, after its databases were reset."""
    _fork_callbacks.append(callback)


os.register_at_fork(before=_before_fork, after_in_parent=_forked_parent, after_in_child=_forked_child)
