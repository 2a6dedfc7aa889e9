"""A paper account in a SQLite file: one row per order, one per fill, one per commit.

The row of a commit holds its version, the ids of the orders it changed and the account as it then was. The newest row
is the account; the rows since a version are all that another process must read to be up to date. Old ones are pruned.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any, TypeVar

import msgspec

from Execution.common.errors import StoreError
from Execution.common.store import Database
from Execution.matching.model import LIVE, AccountState, Changes, Fill, Order, Spec

_SCHEMA = """
CREATE TABLE orders (
    id INTEGER PRIMARY KEY,
    client_order_id TEXT UNIQUE,
    symbol TEXT NOT NULL,
    live INTEGER NOT NULL,
    first_fill INTEGER,
    last_fill INTEGER,
    body TEXT NOT NULL
);
CREATE INDEX orders_live ON orders (id) WHERE live = 1;
CREATE TABLE fills (
    id INTEGER PRIMARY KEY,
    order_id INTEGER NOT NULL,
    symbol TEXT NOT NULL,
    time REAL NOT NULL,
    body TEXT NOT NULL
);
CREATE TABLE commits (version INTEGER PRIMARY KEY, orders TEXT NOT NULL, saved TEXT NOT NULL);
CREATE TABLE market (symbol TEXT PRIMARY KEY, body TEXT NOT NULL) WITHOUT ROWID
"""
MIGRATIONS = (_SCHEMA,)
_KEPT_COMMITS = 4096
_PRUNE_EVERY = 1024
_MANY = 500

_UPSERT = (
    "INSERT INTO orders VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET live = excluded.live, "
    "first_fill = coalesce(first_fill, excluded.first_fill), last_fill = coalesce(excluded.last_fill, last_fill), "
    "body = excluded.body"
)
_INSERT_FILL = "INSERT INTO fills VALUES (?, ?, ?, ?, ?)"
_INSERT_COMMIT = "INSERT INTO commits VALUES (?, ?, ?)"
_USED = "SELECT client_order_id FROM orders WHERE client_order_id"
_NEWEST = "SELECT version FROM commits ORDER BY version DESC LIMIT 1"


class Saved(msgspec.Struct, omit_defaults=True):
    """What is written with every commit besides the orders it changed.

    `time` is how far the market has been played, `switch` when the dead-man's switch falls, `epoch` when a recording
    played against the wall clock began, `market` counts changes of the market table.
    """

    account: AccountState
    next_order_id: int = 1
    next_trade_id: int = 1
    time: float = 0.0
    switch: float = 0.0
    epoch: float = 0.0
    market: int = 0


class MarketRow(msgspec.Struct, omit_defaults=True):
    """What was set by hand for a symbol: its rules, its prices."""

    spec: Spec | None = None
    bid: Decimal | None = None
    ask: Decimal | None = None
    size: Decimal | None = None
    last: Decimal | None = None


T = TypeVar("T")
_encoder = msgspec.json.Encoder()
_encode = _encoder.encode
_order_decoder = msgspec.json.Decoder(Order)
_fill_decoder = msgspec.json.Decoder(Fill)
_saved_decoder = msgspec.json.Decoder(Saved)
_market_decoder = msgspec.json.Decoder(MarketRow)


class AccountStore:
    """Reading and writing one account's file. Writers hold `database` as a transaction around every call."""

    def __init__(self, path: str, *, durability: str = "NORMAL", timeout: float = 5.0) -> None:
        self.path = path
        self.database = Database(path, MIGRATIONS, durability=durability, timeout=timeout)

    def newest(self) -> int:
        """Answer the version of the last commit, 0 for a new file."""
        rows = self.database.read(_NEWEST)
        return int(rows[0][0]) if rows else 0

    def saved(self, connection: sqlite3.Connection, version: int) -> Saved:
        """Answer the account as of the last commit."""
        row = connection.execute("SELECT saved FROM commits WHERE version = ?", (version,)).fetchone()
        return self._decoded(_saved_decoder.decode, row[0])

    def live_orders(self, connection: sqlite3.Connection) -> list[Order]:
        """Answer every live order, oldest first."""
        rows = connection.execute("SELECT body FROM orders WHERE live = 1 ORDER BY id").fetchall()
        return [self._decoded(_order_decoder.decode, row[0]) for row in rows]

    def changed_since(self, connection: sqlite3.Connection, version: int, newest: int) -> list[Order] | None:
        """Answer the present form of every order changed after `version`; None where that is too far back to tell."""
        rows = connection.execute("SELECT orders FROM commits WHERE version > ?", (version,)).fetchall()
        if len(rows) != newest - version:
            return None
        ids = sorted({int(text) for row in rows for text in row[0].split(",") if text})
        found: list[Order] = []
        for start in range(0, len(ids), _MANY):
            some = ids[start : start + _MANY]
            marks = ",".join("?" * len(some))
            query = f"SELECT body FROM orders WHERE id IN ({marks}) ORDER BY id"  # noqa: S608  # only question marks
            found += [self._decoded(_order_decoder.decode, row[0]) for row in connection.execute(query, some)]
        return found

    def save(self, connection: sqlite3.Connection, version: int, changes: Changes, saved: Saved) -> None:
        """Write what changed as commit number `version`."""
        spans: dict[int, tuple[int, int]] = {}
        for fill in changes.fills:
            first = spans.get(fill.order_id, (fill.trade_id, 0))[0]
            spans[fill.order_id] = (first, fill.trade_id)
        _execute(connection, _UPSERT, [_order_row(order, spans) for order in changes.orders])
        _execute(connection, _INSERT_FILL, [_fill_row(fill) for fill in changes.fills])
        ids = ",".join([str(order.order_id) for order in changes.orders])
        connection.execute(_INSERT_COMMIT, (version, ids, _encode(saved).decode()))
        if not version % _PRUNE_EVERY:
            connection.execute("DELETE FROM commits WHERE version <= ?", (version - _KEPT_COMMITS,))

    def used_client_ids(self, client_order_ids: Sequence[str]) -> set[str]:
        """Answer which of these ids were ever used."""
        if len(client_order_ids) == 1:
            return {row[0] for row in self.database.read(f"{_USED} = ?", client_order_ids)}
        found: set[str] = set()
        for start in range(0, len(client_order_ids), _MANY):
            some = client_order_ids[start : start + _MANY]
            found.update(row[0] for row in self.database.read(f"{_USED} IN ({','.join('?' * len(some))})", some))
        return found

    def order(self, order_id: int | None, client_order_id: str | None) -> Order | None:
        """Answer an order, live or finished, by either id."""
        column, value = ("id", order_id) if order_id is not None else ("client_order_id", client_order_id)
        rows = self.database.read(f"SELECT body FROM orders WHERE {column} = ?", (value,))  # noqa: S608  # two names
        return self._decoded(_order_decoder.decode, rows[0][0]) if rows else None

    def fills(self, symbol: str | None, order_id: int | None, since: float | None) -> list[Fill]:
        """Answer executions, oldest first."""
        conditions, values = ["1 = 1"], list[Any]()
        if order_id is not None:
            spans = self.database.read("SELECT first_fill, last_fill FROM orders WHERE id = ?", (order_id,))
            if not spans or spans[0][0] is None:
                return []
            conditions.append("id BETWEEN ? AND ? AND order_id = ?")
            values += [*spans[0], order_id]
        if symbol is not None:
            conditions.append("symbol = ?")
            values.append(symbol)
        if since is not None:
            conditions.append("time >= ?")
            values.append(since)
        query = f"SELECT body FROM fills WHERE {' AND '.join(conditions)} ORDER BY id"  # noqa: S608  # fixed words
        return [self._decoded(_fill_decoder.decode, row[0]) for row in self.database.read(query, values)]

    def market(self, connection: sqlite3.Connection) -> dict[str, MarketRow]:
        """Answer what was set by hand, by symbol."""
        rows = connection.execute("SELECT symbol, body FROM market").fetchall()
        return {symbol: self._decoded(_market_decoder.decode, body) for symbol, body in rows}

    def set_market(self, connection: sqlite3.Connection, symbol: str, market: MarketRow) -> None:
        """Write what was set by hand for a symbol."""
        connection.execute("INSERT OR REPLACE INTO market VALUES (?, ?)", (symbol, _encode(market).decode()))

    def clear(self, connection: sqlite3.Connection) -> None:
        """Remove every order, fill and price; versions go on, so that other processes notice."""
        for table in ("orders", "fills", "market"):
            connection.execute(f"DELETE FROM {table}")  # noqa: S608  # three names
        connection.execute("DELETE FROM commits WHERE version < (SELECT max(version) FROM commits)")

    def _decoded(self, decode: Callable[[str], T], text: str) -> T:
        try:
            return decode(text)
        except msgspec.MsgspecError as error:
            raise StoreError(f"the store {self.path} is damaged ({error}); move it away and restore a copy") from None


def _execute(connection: sqlite3.Connection, sql: str, rows: Sequence[tuple[Any, ...]]) -> None:
    if len(rows) == 1:
        connection.execute(sql, rows[0])
    elif rows:
        connection.executemany(sql, rows)


def _order_row(order: Order, spans: dict[int, tuple[int, int]]) -> tuple[Any, ...]:
    request = order.request
    first, last = spans.get(order.order_id, (None, None))
    return (
        order.order_id,
        request.client_order_id or None,
        request.symbol,
        order.status in LIVE,
        first,
        last,
        _encode(order).decode(),
    )


def _fill_row(fill: Fill) -> tuple[Any, ...]:
    return fill.trade_id, fill.order_id, fill.symbol, fill.time, _encode(fill).decode()
