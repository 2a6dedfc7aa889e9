"""The SQLite file below the books: transactions, sharing, permissions, damage, full disks, forks."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import stat
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from Execution.common import store
from Execution.common.errors import StoreError, StoreLocked, StoreTooNew
from Execution.common.store import _APPLICATION_ID, Database
from tests import children

TABLE = "CREATE TABLE things(name TEXT PRIMARY KEY)"
INSERT = "INSERT INTO things VALUES(?)"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "folder" / "a.db"


@pytest.fixture
def database(path: Path) -> Iterator[Database]:
    made = opened(path)
    yield made
    made.close()


def opened(path: Path | str, *migrations: str, **options: Any) -> Database:
    return Database(str(path), migrations or (TABLE,), **options)


def names(database: Database) -> list[str]:
    return [row[0] for row in database.read("SELECT name FROM things ORDER BY name")]


def add(database: Database, *values: str) -> None:
    with database as connection:
        for value in values:
            connection.execute(INSERT, (value,))


# -- opening


def test_nothing_is_opened_before_the_first_use(database: Database, path: Path) -> None:
    assert not path.parent.exists()
    add(database, "a")
    assert path.is_file()


def test_it_is_a_private_file_in_a_private_folder_in_wal_mode(database: Database, path: Path) -> None:
    old = os.umask(0)
    try:
        add(database, "a")
    finally:
        os.umask(old)
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()} == {
        "a.db": 0o600,
        "a.db-wal": 0o600,
        "a.db-shm": 0o600,
    }
    assert database.read("PRAGMA journal_mode") == [("wal",)]


@pytest.mark.parametrize(("durability", "level"), [("NORMAL", 1), ("FULL", 2)])
def test_durability_is_chosen(path: Path, durability: str, level: int) -> None:
    database = opened(path, durability=durability, page_size=4096)
    assert database.read("PRAGMA synchronous") == [(level,)]
    assert database.read("PRAGMA page_size") == [(4096,)]
    database.close()


def test_it_may_live_in_memory() -> None:
    database = opened(":memory:")
    add(database, "a")
    assert names(database) == ["a"]
    database.close()


def test_closing_ends_nothing(database: Database) -> None:
    database.close()
    add(database, "a")
    database.close()
    database.close()
    assert names(database) == ["a"]


# -- transactions


def test_a_block_that_raises_leaves_nothing(database: Database) -> None:
    with pytest.raises(ZeroDivisionError), database as connection:
        connection.execute(INSERT, ("a",))
        _ = 1 / 0
    assert names(database) == []
    add(database, "b")
    assert names(database) == ["b"]


def test_nested_blocks_are_one_transaction(database: Database, path: Path) -> None:
    other = opened(path)
    with database:
        add(database, "a")
        with database:
            add(database, "b")
        assert names(other) == []
    assert names(other) == ["a", "b"]
    with pytest.raises(ZeroDivisionError), database:
        add(database, "c")
        _ = 1 / 0
    assert names(database) == ["a", "b"]
    other.close()


def test_an_error_of_sqlite_comes_in_our_words(database: Database, path: Path) -> None:
    add(database, "a")
    with pytest.raises(StoreError, match=f"the store {path} failed: UNIQUE constraint failed") as caught:
        add(database, "b", "a")
    assert (caught.value.code, caught.value.outcome) == ("STORE_FAILED", "not_sent")
    assert names(database) == ["a"]
    with pytest.raises(StoreError, match="no such table: nowhere"):
        database.read("SELECT * FROM nowhere")


def test_a_commit_that_fails_is_rolled_back(database: Database) -> None:
    add(database, "a")
    with pytest.raises(StoreError), database as connection:
        connection.execute("PRAGMA foreign_keys=OFF")
        connection.execute(INSERT, ("b",))
        connection.execute("COMMIT")
        connection.execute("BEGIN")
        connection.execute("ROLLBACK")
    assert names(database) == ["a", "b"]
    add(database, "c")
    assert names(database) == ["a", "b", "c"]


def test_a_reader_sees_the_last_commit_while_another_writes(database: Database, path: Path) -> None:
    add(database, "a")
    other = opened(path, timeout=0.05)
    with database as connection:
        connection.execute(INSERT, ("b",))
        assert names(other) == ["a"]
    assert names(other) == ["a", "b"]
    other.close()


@pytest.mark.parametrize(("patience", "opens"), [(20.0, True), (0.0, False)])
def test_switching_to_wal_waits_for_a_reader(database: Database, path: Path, patience: float, opens: bool) -> None:
    add(database, "a")
    database.close()
    reader = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    reader.execute("PRAGMA journal_mode=DELETE")
    reader.execute("BEGIN")
    reader.execute("SELECT * FROM things").fetchone()
    other = opened(path, timeout=patience)
    if opens:
        leaving = threading.Timer(0.05, reader.rollback)
        leaving.start()
        assert names(other) == ["a"]
        leaving.join()
    else:
        with pytest.raises(StoreLocked):
            names(other)
    reader.close()
    other.close()


@pytest.mark.parametrize("timeout", [0.0, 0.2])
def test_a_store_that_stays_locked_is_said_to_be_in_time(database: Database, path: Path, timeout: float) -> None:
    add(database, "a")
    code = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN IMMEDIATE")
print("locked", flush=True)
sys.stdin.readline()
connection.execute("COMMIT")
print("free", flush=True)
sys.stdin.readline()
"""
    impatient = opened(path, timeout=timeout)
    assert names(impatient) == ["a"]
    with children.start(code, str(path)) as child:
        assert child.stdout is not None
        assert child.stdin is not None
        assert child.stdout.readline() == "locked\n"
        began = os.times().elapsed
        with pytest.raises(StoreLocked, match=f"stayed locked for {timeout:g} s by another process") as caught:
            add(impatient, "b")
        assert timeout - 0.05 <= os.times().elapsed - began < 10
        assert (caught.value.code, caught.value.outcome) == ("STORE_FAILED", "not_sent")
        assert names(impatient) == ["a"]
        print(file=child.stdin, flush=True)
        assert child.stdout.readline() == "free\n"
        add(impatient, "b")
        child.stdin.close()
    assert names(database) == ["a", "b"]
    impatient.close()


def test_many_threads_write_one_after_another(database: Database) -> None:
    add(database)
    errors: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for i in range(25):
                with database as connection:
                    before = connection.execute("SELECT count(*) FROM things").fetchone()[0]
                    connection.execute(INSERT, (f"{number}-{i}",))
                    assert connection.execute("SELECT count(*) FROM things").fetchone()[0] == before + 1
                database.read("SELECT 1")
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert len(names(database)) == 200


def test_several_processes_write_one_after_another(path: Path) -> None:
    def work(number: int) -> None:
        database = opened(path, timeout=30.0)
        for i in range(20):
            add(database, f"{number}-{i}")

    pids = [children.fork(lambda number=number: work(number)) for number in range(4)]
    assert [children.ended(pid) for pid in pids] == [0] * 4
    database = opened(path)
    assert len(names(database)) == 80
    database.close()


# -- what cannot be opened


def unprivileged(work: Callable[[], Any]) -> int:
    """Work in a child as a user who may not do everything; answer its exit code."""

    def child() -> None:
        if os.getuid() == 0:
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
        work()

    return children.ended(children.fork(child))


@pytest.fixture
def public() -> Iterator[Path]:
    """A folder that another user may reach."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    for inner in folder.iterdir():
        if inner.is_dir():
            inner.chmod(0o700)
    shutil.rmtree(folder)


def test_a_read_only_file_can_be_read_but_not_written(public: Path) -> None:
    file = public / "a.db"
    database = opened(file)
    add(database, "a")
    file.chmod(0o444)
    public.chmod(0o777)

    def work() -> None:
        mine = opened(file)
        assert names(mine) == ["a"]
        with pytest.raises(StoreError, match=f"the store {file} is read-only"):
            add(mine, "b")

    for side in ("a.db-wal", "a.db-shm"):
        (public / side).chmod(0o666)
    assert unprivileged(work) == 0
    database.close()


@pytest.mark.parametrize("mode", [0o555, 0o000])
@pytest.mark.parametrize("name", ["a.db", "deeper/a.db"])
def test_a_folder_that_may_not_be_written_is_refused(public: Path, mode: int, name: str) -> None:
    folder = public / "closed"
    folder.mkdir()
    if os.getuid() == 0:
        os.chown(folder, 65534, 65534)
    folder.chmod(mode)

    def work() -> None:
        with pytest.raises(StoreError) as caught:
            names(opened(folder / name))
        assert caught.value.message == f"the store {folder / name} cannot be made: may not be written here"

    assert unprivileged(work) == 0


def test_a_file_that_may_not_be_read_is_refused(public: Path) -> None:
    file = public / "a.db"
    database = opened(file)
    add(database, "a")
    database.close()
    file.chmod(0o000)

    def work() -> None:
        with pytest.raises(StoreError, match="may not be written here"):
            names(opened(file))

    assert unprivileged(work) == 0


def test_a_folder_in_the_files_place_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=f"the store {tmp_path} cannot be made: Is a directory"):
        names(opened(tmp_path))


def test_a_file_in_the_folders_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("")
    with pytest.raises(StoreError, match="cannot be made: (Not a directory|File exists)"):
        names(opened(tmp_path / "x" / "a.db"))


def test_what_is_no_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "a.db"
    file.write_text("my diary, " * 1000)
    before = file.read_bytes()
    with pytest.raises(StoreError, match="is damaged .*not a database.*; move it away and restore a copy"):
        names(opened(file))
    assert file.read_bytes() == before


def test_a_database_of_another_program_is_refused_and_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "a.db"
    with sqlite3.connect(file) as connection:
        connection.execute("CREATE TABLE recipes(name TEXT)")
    connection.close()
    before = file.read_bytes()
    with pytest.raises(StoreError, match="is a database of another program"):
        names(opened(file))
    assert file.read_bytes() == before


def test_another_programs_database_with_a_version_of_its_own_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "a.db"
    with sqlite3.connect(file) as connection:
        connection.execute("CREATE TABLE recipes(name TEXT)")
        connection.execute("PRAGMA user_version=1")
    connection.close()
    with pytest.raises(StoreError, match="is a database of another program"):
        names(opened(file))


@pytest.mark.parametrize("size", [50, 1000, 3000])
def test_a_truncated_file_is_said_to_be_damaged(database: Database, path: Path, size: int) -> None:
    add(database, *[f"{number:04}" * 10 for number in range(200)])
    database.close()
    os.truncate(path, size)
    with pytest.raises(StoreError, match="is damaged"):
        names(database)
    database.close()


def test_pages_overwritten_in_the_middle_are_said_to_be_damaged(database: Database, path: Path) -> None:
    add(database, *[f"{number:04}" * 10 for number in range(500)])
    database.close()
    with path.open("r+b") as file:
        file.seek(2048)
        file.write(b"\xaa" * (path.stat().st_size - 2048))
    with pytest.raises(StoreError, match="is damaged"):
        names(database)
    with pytest.raises(StoreError):
        add(database, "new")
    database.close()


# -- schema


def test_a_newer_schema_is_refused_and_left_alone(database: Database, path: Path) -> None:
    newer = opened(path, TABLE, "ALTER TABLE things ADD COLUMN size REAL")
    names(newer)
    newer.close()
    with pytest.raises(StoreTooNew, match="has schema 2, this version knows 1: upgrade it") as caught:
        add(database, "a")
    assert caught.value.code == "STORE_FAILED"
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (2,)
    connection.close()


def test_an_older_schema_is_brought_up_to_date_with_its_rows(database: Database, path: Path) -> None:
    add(database, "a")
    assert database.read("PRAGMA application_id") == [(_APPLICATION_ID,)]
    database.close()
    more = "ALTER TABLE things ADD COLUMN size REAL; CREATE TABLE others(n INTEGER);"
    newer = opened(path, TABLE, more, "UPDATE things SET size = 7")
    assert newer.read("SELECT name, size FROM things") == [("a", 7.0)]
    assert newer.read("SELECT * FROM others") == []
    assert newer.read("PRAGMA user_version") == [(3,)]
    newer.close()


def test_a_migration_that_fails_changes_nothing(database: Database, path: Path) -> None:
    add(database, "a")
    database.close()
    broken = opened(path, TABLE, "ALTER TABLE things ADD COLUMN size REAL; UPDATE nowhere SET x = 1")
    with pytest.raises(StoreError, match="no such table: nowhere"):
        names(broken)
    assert database.read("PRAGMA user_version") == [(1,)]
    assert database.read("SELECT * FROM things") == [("a",)]


def test_processes_that_open_a_new_file_at_once_make_it_once(path: Path) -> None:
    read, write = os.pipe()

    def work() -> None:
        os.close(write)
        os.read(read, 1)
        add(opened(path, timeout=30.0), str(os.getpid()))

    pids = [children.fork(work) for _ in range(4)]
    os.close(write)
    os.close(read)
    assert [children.ended(pid) for pid in pids] == [0] * 4
    database = opened(path)
    assert names(database) == sorted(map(str, pids))
    database.close()


def test_a_version_that_another_process_brought_meanwhile_is_not_lowered(path: Path) -> None:
    newer = opened(path, TABLE, "ALTER TABLE things ADD COLUMN size REAL")
    add(newer)
    older = opened(path)
    connection = sqlite3.connect(path, isolation_level=None)
    with pytest.raises(StoreTooNew):
        older._migrate(connection)
    connection.close()
    assert newer.read("PRAGMA user_version") == [(2,)]
    newer.close()


# -- a full disk

FULL = """
import resource, sys
from Execution.common.errors import StoreError
from Execution.common.store import Database
database = Database(sys.argv[1], ("CREATE TABLE things(name TEXT PRIMARY KEY)",))
def add(name):
    with database as connection:
        connection.execute("INSERT INTO things VALUES(?)", (name,))
def names():
    return [row[0] for row in database.read("SELECT name FROM things ORDER BY name")]
add("a")
soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, hard))
try:
    add("b" * 100_000)
except StoreError as error:
    print(error.code, error.outcome)
print(names())
resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
add("c")
print(names())
"""


def test_a_full_disk_fails_the_transaction_and_nothing_else(path: Path) -> None:
    assert children.run(FULL, str(path)).splitlines() == ["STORE_FAILED not_sent", "['a']", "['a', 'c']"]
    database = opened(path)
    assert names(database) == ["a", "c"]
    assert database.read("PRAGMA integrity_check") == [("ok",)]
    database.close()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("database or disk is full", "cannot grow: the disk is full"),
        ("attempt to write a readonly database", "is read-only"),
        ("database table is locked", "stayed locked for 5 s"),
        ("disk I/O error", "failed: disk I/O error"),
    ],
)
def test_what_sqlite_says_is_said_in_our_words(database: Database, text: str, words: str) -> None:
    assert words in database.translate(sqlite3.OperationalError(text)).message


# -- forks


def test_parent_and_child_each_open_their_own(database: Database) -> None:
    add(database, "a")

    def child() -> None:
        add(database, "child")
        assert names(database) == ["a", "child"]

    assert children.ended(children.fork(child)) == 0
    add(database, "b")
    assert names(database) == ["a", "b", "child"]


def test_what_a_child_commits_stays_when_the_parent_closes(database: Database) -> None:
    add(database, "parent")
    (written, tell), (closed, go_on) = os.pipe(), os.pipe()

    def child() -> None:
        add(database, "before")
        os.write(tell, b"x")
        os.read(closed, 1)
        add(database, "after")

    pid = children.fork(child)
    os.close(tell)
    assert os.read(written, 1) == b"x"
    database.close()
    os.write(go_on, b"x")
    assert children.ended(pid) == 0
    assert names(database) == ["after", "before", "parent"]
    for end in (written, closed, go_on):
        os.close(end)


def test_a_fork_waits_for_the_transaction_of_another_thread(database: Database, path: Path) -> None:
    second = opened(path.with_name("b.db"))
    add(second)
    writing = threading.Event()

    def write() -> None:
        with database as connection:
            connection.execute(INSERT, ("parent",))
            writing.set()
            time.sleep(0.05)
            add(second, "parent")

    def child() -> None:
        signal.alarm(20)
        add(database, "child")
        add(second, "child")

    thread = threading.Thread(target=write)
    thread.start()
    assert writing.wait(20)
    pid = children.fork(child)
    thread.join()
    assert children.ended(pid) == 0
    assert names(database) == names(second) == ["child", "parent"]
    second.close()


def test_threads_go_on_writing_while_others_fork(database: Database) -> None:
    def write() -> None:
        for i in range(100):
            add(database, f"thread-{i}")

    thread = threading.Thread(target=write)
    thread.start()
    pids = [children.fork(lambda number=number: add(database, f"child-{number}")) for number in range(10)]
    thread.join()
    assert [children.ended(pid) for pid in pids] == [0] * 10
    assert len(names(database)) == 110


def test_a_fork_inside_a_transaction_leaves_it_to_the_parent(database: Database, path: Path) -> None:
    def half() -> None:
        with pytest.raises(StoreError, match="forked inside a transaction"):
            database.__exit__(None, None, None)
        for each in (database, opened(path)):
            with pytest.raises(StoreError, match="this process was forked in the middle of a transaction"):
                names(each)

    with database as connection:
        connection.execute(INSERT, ("parent",))
        assert children.ended(children.fork(half)) == 0
    assert names(database) == ["parent"]


def test_a_transaction_that_does_not_end_holds_no_fork_up_for_ever(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "_FORK_PATIENCE", 0.05)
    writing, go_on = threading.Event(), threading.Event()

    def write() -> None:
        with database as connection:
            connection.execute(INSERT, ("parent",))
            writing.set()
            go_on.wait(20)

    def child() -> None:
        with pytest.raises(StoreError, match="forked in the middle"):
            names(database)

    thread = threading.Thread(target=write)
    thread.start()
    assert writing.wait(20)
    assert children.ended(children.fork(child)) == 0
    go_on.set()
    thread.join()
    assert names(database) == ["parent"]


def test_what_is_in_memory_stays_with_the_parent() -> None:
    database = opened(":memory:")
    add(database, "a")
    assert children.ended(children.fork(lambda: add(database, "a"))) == 0
    assert names(database) == ["a"]
    database.close()
