"""The durable record: an append-only chain of events, and the tables of orders and fills that they add up to.

Each event row carries the SHA-256 of its own content and of the row before it, so that a changed, missing or inserted
row breaks the chain from there on. Events are written at once, in one transaction per `with journal:` block; they are
the truth. The tables of orders and fills follow when there is time, and before anybody reads them:
`meta.projected` is the last event they hold, and whoever opens the store after a crash brings them up to date.
"""

from __future__ import annotations

import sqlite3
import struct
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from decimal import getcontext, setcontext
from hashlib import sha256
from itertools import islice, takewhile
from types import TracebackType
from typing import Any, NamedTuple, TypeVar

import msgspec

from Execution.common import clock
from Execution.common.errors import StoreError
from Execution.common.journal_rows import (
    FIELDS,
    INSERT_FILL,
    INSERT_ORDER,
    MIGRATIONS,
    UPDATE_ORDER,
    FillRow,
    changes_of,
    columns_of,
    decode,
    encode,
    record_of,
)
from Execution.common.order import OrderRecord
from Execution.common.precision import OURS
from Execution.common.store import Database

_ORIGIN = b"\0" * 32
_pack = struct.Struct(">qqd").pack
_decode_intent = msgspec.json.Decoder(tuple[OrderRecord, str, str | None]).decode
_UNREADABLE = (ArithmeticError, KeyError, TypeError, ValueError, msgspec.MsgspecError)
_BEHIND_AT_MOST = 20_000
_SLICE = 500
_NEWEST_EVENT = "SELECT seq, hash FROM events ORDER BY seq DESC LIMIT 1"
_INSERT_EVENT = "INSERT INTO events(seq, time, kind, rid, body, hash) VALUES(?,?,?,?,?,?)"


_Waiting = TypeVar("_Waiting", bound=tuple[Any, ...])


class Event(NamedTuple):
    """One row of the chain."""

    seq: int
    time: float
    kind: str
    rid: int
    body: bytes
    hash: bytes


class SignalRow(NamedTuple):
    """What is known of a signal key; `answer` is None while it is being executed."""

    digest: str
    owner: str
    answer: bytes | None


class Journal:
    """The orders' store. Every write happens inside `with journal:`, which holds it over all threads and processes."""

    def __init__(self, path: str, *, durability: str = "NORMAL", timeout: float = 5.0) -> None:
        """Remember where the file is; it is opened at the first use."""
        self.database = Database(path, MIGRATIONS, durability=durability, timeout=timeout)
        self.database.after_fork = self._after_fork
        self.on_events: Callable[[list[Event] | None], None] | None = None
        self._sequence = -1
        self._head = _ORIGIN
        self._depth = 0
        self._callers_context = OURS
        self._spoiled = False
        self._events: list[tuple[Any, ...]] = []
        self._new: dict[int, tuple[int, OrderRecord, str, str | None]] = {}
        self._new_by_id: dict[str, OrderRecord] = {}
        self._changed: dict[int, tuple[int, OrderRecord]] = {}
        self._numbers: dict[tuple[str, str], OrderRecord] = {}
        self._exchanges: set[str] = set()
        self._fills: list[tuple[Any, ...]] = []

    @property
    def lock(self) -> threading.RLock:
        """What every reader and writer of this process holds; another one after a fork."""
        return self.database.lock

    # -- writing

    def __enter__(self) -> None:
        """Begin; what other processes appended is handed to `on_events` first, None meaning: read all anew."""
        connection = self.database.__enter__()
        self._depth += 1
        if self._depth == 1:
            self._callers_context = getcontext()
            setcontext(OURS)
            self._spoiled = False
            try:
                row = connection.execute(_NEWEST_EVENT).fetchone()
                if row is None or row[0] != self._sequence or row[1] != self._head:
                    self._catch_up(row or (0, _ORIGIN))
            except BaseException as error:
                self.__exit__(type(error), error, error.__traceback__)
                raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Write and commit; nothing of the block is kept where it raised or the store fails."""
        # Held over the commit: nobody may build on what is in memory before a commit that failed is forgotten.
        with self.database.lock:
            self._depth = max(0, self._depth - 1)
            try:
                if kind is None and self._depth == 0:
                    self._flush(self.database.connection)
            except BaseException as fault:
                self._forget()
                setcontext(self._callers_context)
                self.database.__exit__(type(fault), fault, fault.__traceback__)
                raise
            if kind is not None:
                self._forget()
                self._spoiled = True
            try:
                self.database.__exit__(kind, error, trace)
            except BaseException:
                self._forget()
                raise
            finally:
                if not self._depth:
                    setcontext(self._callers_context)

    def append(self, kind: str, rid: int, body: bytes, time: float) -> None:
        """Add an event to the chain."""
        sequence = self._sequence + 1
        self._head = digest = _digest(self._head, sequence, time, kind, rid, body)
        self._sequence = sequence
        self._events.append((sequence, time, kind, rid, body, digest))

    def add(self, order: OrderRecord, owner: str, key: str | None) -> None:
        """Record a new order with an `intent` event."""
        self.append("intent", order.rid, encode((order, owner, key)), order.created)
        self._new[order.rid] = self._sequence, order, owner, key
        self._new_by_id[order.client_order_id] = order
        if order.order_id:
            self._note_number(order)

    def _note_number(self, order: OrderRecord) -> None:
        if order.order_id:
            self._numbers[order.exchange, order.order_id] = order
            self._exchanges.add(order.exchange)

    def change(self, order: OrderRecord, kind: str, body: dict[str, Any]) -> None:
        """Record what became of an order, with an event of this kind."""
        self.append(kind, order.rid, encode(body), order.updated)
        self.touch(order, self._sequence, body.get("fills"))

    def touch(self, order: OrderRecord, sequence: int, fills: Sequence[Sequence[Any]] | None) -> None:
        """Have the tables follow an event: the order as it is now, and the executions that came with it."""
        if order.rid not in self._new:
            known = self._changed.get(order.rid)
            self._changed[order.rid] = (known[0] if known else sequence), order
        self._note_number(order)
        if fills:
            self._fills += [(order.exchange, order.symbol, fill[0], order.rid, *fill[1:]) for fill in fills]

    def touch_new(self, event: Event) -> OrderRecord:
        """Have the tables follow an `intent` event that this process did not write; answer its order."""
        order, owner, key = decode_intent(event)
        self._new[order.rid] = event.seq, order, owner, key
        self._new_by_id[order.client_order_id] = order
        self._note_number(order)
        return order

    def pending_ours(self, client_order_id: str) -> OrderRecord | None:
        """Answer an order that the tables do not hold yet, by client_order_id."""
        return self._new_by_id.get(client_order_id)

    def pending(self, name: str, exchange: str | None = None) -> OrderRecord | None:
        """Answer an order that the tables do not hold as it is now, by client_order_id or the venue's id."""
        found = self._new_by_id.get(name)
        if found is not None and exchange in (None, found.exchange):
            return found
        for each in self._exchanges if exchange is None else (exchange,):
            if (found := self._numbers.get((each, name))) is not None:
                return found
        return None

    def pending_rid(self, rid: int) -> OrderRecord | None:
        """Answer an order that the tables do not hold yet."""
        found = self._new.get(rid)
        return found[1] if found else None

    def replace(self, order: OrderRecord) -> None:
        """Have the tables follow this object where they followed another one of the same order."""
        if order.rid in self._new:
            sequence, _, owner, key = self._new[order.rid]
            self._new[order.rid] = sequence, order, owner, key
            self._new_by_id[order.client_order_id] = order
        if order.rid in self._changed:
            self._changed[order.rid] = self._changed[order.rid][0], order
        if (order.exchange, order.order_id) in self._numbers:
            self._note_number(order)

    def set_owner(self, rid: int, owner: str) -> None:
        """Note that another process sends an order now; the table must hold the order. Inside a writing block."""
        self.execute("UPDATE orders SET owner = ? WHERE rid = ?", (owner, rid))

    def follow_owner(self, rid: int, owner: str) -> None:
        """Take over which process sends an order, from an event of another process."""
        if rid in self._new:
            sequence, order, _, key = self._new[rid]
            self._new[rid] = sequence, order, owner, key

    def changed(self, rid: int) -> OrderRecord | None:
        """Answer an order whose row in the table is not up to date."""
        found = self._changed.get(rid)
        return found[1] if found else None

    def note(self, kind: str, body: dict[str, Any]) -> None:
        """Add an event that belongs to no order."""
        self.append(kind, 0, encode(body), clock.now())

    def execute(self, sql: str, parameters: tuple[Any, ...]) -> int:
        """Run one more statement inside the transaction; answer the number of rows changed."""
        return self.database.connection.execute(sql, parameters).rowcount

    def _catch_up(self, row: tuple[int, bytes]) -> None:
        if row == (self._sequence, self._head):
            return
        before, (self._sequence, self._head) = self._sequence, row
        if before >= row[0]:
            before = -1  # not what this process wrote or saw: an older copy of the file was put in its place
        if self.on_events is not None:
            try:
                self.on_events(self.events(before) if before >= 0 else None)
            except _UNREADABLE as error:
                raise StoreError(
                    f"the store {self.database.path} is damaged: an event cannot be read: {error}"
                ) from error

    def _flush(self, connection: sqlite3.Connection) -> None:
        if self._spoiled:
            raise StoreError("a part of the transaction failed: nothing of it was written")
        _insert(connection, _INSERT_EVENT, self._events)
        self._events.clear()
        if len(self._new) + len(self._changed) >= _BEHIND_AT_MOST:
            self._project(connection, _SLICE)

    def _project(self, connection: sqlite3.Connection, most: int) -> None:
        """Bring the tables up to an event: to the last one, or as far as `most` orders of each kind reach."""
        done, end = self.projected(), self._sequence + 1
        end = min(end, _nth_event(self._new.values(), most, end), _nth_event(self._changed.values(), most, end))
        new = _take(self._new, end)
        changed = [order for _, order in _take(self._changed, end)]
        for entry in new:
            self._new_by_id.pop(entry[1].client_order_id, None)
        _insert(connection, INSERT_ORDER, [(*columns_of(o), owner, key) for seq, o, owner, key in new if seq > done])
        # What another process has put into the table meanwhile is only brought up to date.
        changed += [entry[1] for entry in new if entry[0] <= done]
        for order in (*changed, *(entry[1] for entry in new)):
            self._numbers.pop((order.exchange, order.order_id), None)
        _insert(connection, UPDATE_ORDER, [changes_of(order) for order in changed])
        _insert(connection, INSERT_FILL, self._fills)
        self._fills.clear()
        self.set_meta("projected", str(max(done, end - 1)))

    def _clear(self) -> None:
        self._new.clear()
        self._new_by_id.clear()
        self._changed.clear()
        self._numbers.clear()
        self._fills.clear()

    def _forget(self) -> None:
        # The transaction is lost, and with it what was kept in memory of it.
        self._events.clear()
        self._clear()
        self._sequence, self._head = -1, _ORIGIN

    def _after_fork(self) -> None:
        self._depth = 0
        self._forget()

    def is_behind(self) -> bool:
        """Tell whether other processes have written since this one looked, or this one never looked."""
        with self.lock:
            if self._depth:
                return False
            rows = self.database.read(_NEWEST_EVENT)
            return self._sequence < 0 or bool(rows and rows[0] != (self._sequence, self._head))

    def project(self) -> None:
        """Bring the tables of orders and fills up to the last event, where they are behind."""
        with self.lock:
            if self._new or self._changed or self._fills or self.is_behind():
                with self:
                    self._project(self.database.connection, sys.maxsize)

    def catch_tables_up(self) -> None:
        """Bring the tables up to date where a process has left much of it undone; inside a block."""
        if len(self._new) + len(self._changed) >= _SLICE:
            self._project(self.database.connection, sys.maxsize)

    def project_some(self, most: int = 200) -> None:
        """Bring a part of the tables up to date: for when there is nothing else to do."""
        if self._new or self._changed:
            with self:
                self._project(self.database.connection, most)

    # -- reading

    @property
    def sequence(self) -> int:
        """The last event this process has seen or written; -1 before the first look."""
        return self._sequence

    def events(self, after: int = 0, rid: int | None = None) -> list[Event]:
        """Answer the events after a sequence number, of one order or of all."""
        sql, parameters = "SELECT seq, time, kind, rid, body, hash FROM events WHERE seq > ?", [after]
        if rid is not None:
            sql, parameters = sql + " AND rid = ?", [after, rid]
        return [Event(*row) for row in self.database.read(sql + " ORDER BY seq", parameters)]

    def projected(self) -> int:
        """Answer the last event that the tables of orders and fills hold."""
        return int(self.get_meta("projected") or 0)

    def orders(self, where: str = "", parameters: tuple[Any, ...] = ()) -> list[OrderRecord]:
        """Answer rows of the orders' table by a condition, oldest first; `project()` first to have them all."""
        rows = self.database.read(f"SELECT {FIELDS} FROM orders {where} ORDER BY rid", parameters)  # noqa: S608
        return [record_of(row) for row in rows]

    def owner_of(self, rid: int) -> str:
        """Answer which process recorded the intent of an order."""
        if rid in self._new:
            return self._new[rid][2]
        rows = self.database.read("SELECT owner FROM orders WHERE rid = ?", (rid,))
        return rows[0][0] if rows else ""

    def fills(self, where: str = "", parameters: tuple[Any, ...] = ()) -> list[FillRow]:
        """Answer stored executions by a condition, oldest first."""
        self.project()
        rows = self.database.read(f"SELECT * FROM fills {where} ORDER BY time, trade_id", parameters)  # noqa: S608
        return [FillRow(*row) for row in rows]

    def signal(self, key: str) -> SignalRow | None:
        """Answer what is known of a signal key."""
        rows = self.database.read("SELECT digest, owner, answer FROM signals WHERE key = ?", (key,))
        return SignalRow(*rows[0]) if rows else None

    def claim_signal(self, key: str, digest: str, owner: str) -> bool:
        """Write down that a process executes this key; False where it is known already. Inside a writing block."""
        sql = "INSERT OR IGNORE INTO signals VALUES(?,?,?,?,NULL)"
        return self.execute(sql, (key, digest, owner, clock.now())) == 1

    def take_over_signal(self, key: str, before: str, owner: str) -> bool:
        """Pass an unanswered key from a dead process to this one. Inside a writing block."""
        sql = "UPDATE signals SET owner = ? WHERE key = ? AND owner = ? AND answer IS NULL"
        return self.execute(sql, (owner, key, before)) == 1

    def answer_signal(self, key: str, answer: Any) -> None:
        """Keep the first result of a key. Inside a writing block."""
        self.execute("UPDATE signals SET answer = ? WHERE key = ?", (encode(answer), key))

    def last_rid(self) -> int:
        """Answer the number of the newest order."""
        return int(self.database.read("SELECT coalesce(max(rid), 0) FROM orders")[0][0])

    def get_meta(self, name: str) -> str | None:
        """Answer a stored value."""
        rows = self.database.read("SELECT value FROM meta WHERE name = ?", (name,))
        return rows[0][0] if rows else None

    def set_meta(self, name: str, value: str) -> None:
        """Store a value; inside a writing block."""
        self.execute("INSERT OR REPLACE INTO meta VALUES(?,?)", (name, value))

    def chain(self, after: int = 0) -> Iterator[tuple[Event, str]]:
        """Walk the chain, from its beginning or from an event that is trusted; with each event comes "" or a fault."""
        trusted = self.database.read("SELECT hash FROM events WHERE seq = ?", (after,)) if after else []
        head, expected, last = (trusted[0][0], after + 1, after) if trusted else (_ORIGIN, 1, -(2**63))
        while rows := self.database.read(
            "SELECT seq, time, kind, rid, body, hash FROM events WHERE seq > ? ORDER BY seq LIMIT 5000", (last,)
        ):
            for event in map(Event._make, rows):
                yield event, _problem(event, expected, head)
                head, expected, last = event.hash, max(1, event.seq + 1), event.seq

    def close(self) -> None:
        """Close the file; the next use opens it again."""
        with self.lock:
            self.database.close()
            self._forget()


def decode_answer(text: bytes) -> Any:
    """Answer the first result of a signal as it was given."""
    return decode(text)


def decode_intent(event: Event) -> tuple[OrderRecord, str, str | None]:
    """Answer what an `intent` event recorded: the order, the process that sends it, the key of its signal."""
    return _decode_intent(event.body)


def decode_event(event: Event) -> dict[str, Any]:
    """Answer the content of an event."""
    if event.kind == "intent":
        order, owner, key = decode(event.body)
        return {**order, "owner": owner, "key": key}
    body: dict[str, Any] = decode(event.body)
    return body


def _problem(event: Event, expected: int, head: bytes) -> str:
    if event.seq < expected:
        return "it stands before the first event"
    if event.seq != expected:
        return f"events {expected} to {event.seq - 1} are missing"
    try:
        is_whole = event.hash == _digest(head, event.seq, event.time, event.kind, event.rid, event.body)
    except (AttributeError, TypeError, struct.error):
        is_whole = False  # a value of another type than was written
    return "" if is_whole else "its content or the row before it was changed"


def _digest(head: bytes, sequence: int, time: float, kind: str, rid: int, body: bytes) -> bytes:
    return sha256(head + _pack(sequence, rid, time) + kind.encode() + b"|" + body).digest()


def _nth_event(waiting: Iterable[tuple[Any, ...]], number: int, otherwise: int) -> int:
    entry = next(islice(waiting, number, None), None) if number < sys.maxsize else None
    return int(entry[0]) if entry else otherwise


def _take(entries: dict[int, _Waiting], end: int) -> list[_Waiting]:
    """Take out the entries before an event; they are in the order of their events."""
    taken = list(takewhile(lambda item: item[1][0] < end, entries.items()))
    for rid, _ in taken:
        del entries[rid]
    return [entry for _, entry in taken]


def _insert(connection: sqlite3.Connection, sql: str, rows: Sequence[tuple[Any, ...]]) -> None:
    if len(rows) == 1:
        connection.execute(sql, rows[0])
    elif rows:
        connection.executemany(sql, rows)
