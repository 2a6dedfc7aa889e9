"""A paper account in a SQLite file. What is durable is the list of commits; the tables of orders and fills follow.

A commit is one row: the orders it changed, its fills, the account as it then was. That is all a call must write before
it may answer, and all another process must read to be up to date. Every few hundred commits somebody folds them into
`orders` (one row each, by both ids) and `fills`; readers look at both, and old commits are pruned.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any, TypeVar

import msgspec
from msgspec.structs import replace

from Execution.common.errors import StoreError
from Execution.common.store import Database
from Execution.matching.model import LIVE, AccountState, Changes, Fill, Order, Spec

_SCHEMA = """
CREATE TABLE commits (version INTEGER PRIMARY KEY, body TEXT NOT NULL);
CREATE TABLE progress (id INTEGER PRIMARY KEY, folded INTEGER NOT NULL);
INSERT INTO progress VALUES (1, 0);
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
CREATE TABLE market (symbol TEXT PRIMARY KEY, body TEXT NOT NULL) WITHOUT ROWID
"""
MIGRATIONS = (_SCHEMA,)
_KEPT_COMMITS = 4096
_PAGE_SIZE = 4096
_FOLD_COMMITS = 256
_FOLD_ORDERS = 2048
_MANY = 500

_UPSERT = (
    "INSERT INTO orders VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET live = excluded.live, "
    "first_fill = coalesce(first_fill, excluded.first_fill), last_fill = coalesce(excluded.last_fill, last_fill), "
    "body = excluded.body"
)
_INSERT_FILL = "INSERT OR IGNORE INTO fills VALUES (?, ?, ?, ?, ?)"
_INSERT_COMMIT = "INSERT INTO commits VALUES (?, ?)"
_USED = "SELECT client_order_id FROM orders WHERE client_order_id"
_IS_USED = "SELECT 1 FROM orders WHERE client_order_id = ?"
NEWEST = "SELECT version FROM commits ORDER BY version DESC LIMIT 1"
_SINCE = "SELECT body FROM commits WHERE version > ? ORDER BY version"


class Saved(msgspec.Struct, omit_defaults=True, gc=False):
    """What is written with every commit besides the orders it changed.

    `time` is how far the market has been played, `switch` when the dead-man's switch falls, `epoch` when a recording
    played against the wall clock began, `market` counts changes of the market table, `cancels` are on their way.
    """

    account: AccountState
    next_order_id: int = 1
    next_trade_id: int = 1
    time: float = 0.0
    switch: float = 0.0
    epoch: float = 0.0
    market: int = 0
    cancels: dict[int, float] = {}


class MarketRow(msgspec.Struct, omit_defaults=True):
    """What was set by hand for a symbol: its rules, its prices. `serial` tells one setting from the next."""

    spec: Spec | None = None
    bid: Decimal | None = None
    ask: Decimal | None = None
    size: Decimal | None = None
    last: Decimal | None = None
    serial: int = 0


class Commit(msgspec.Struct, omit_defaults=True, gc=False):
    """The body of a commit."""

    saved: Saved
    orders: list[Order] = []
    fills: list[Fill] = []


T = TypeVar("T")
_encode = msgspec.json.Encoder().encode
_order_decoder = msgspec.json.Decoder(Order)
_fill_decoder = msgspec.json.Decoder(Fill)
_commit_decoder = msgspec.json.Decoder(Commit)
_market_decoder = msgspec.json.Decoder(MarketRow)


class AccountStore:
    """Reading and writing one account's file. Except for `newest`, call inside a transaction on `database`."""

    def __init__(self, path: str, *, durability: str = "NORMAL", timeout: float = 5.0) -> None:
        self.path = path
        self.database = Database(path, MIGRATIONS, durability=durability, timeout=timeout, page_size=_PAGE_SIZE, kind=1)
        self.forget()

    def forget(self) -> None:
        """Forget what is waiting to be folded; `load` finds it again."""
        self._orders: dict[int, Order] = {}
        self._fills: list[Fill] = []
        self._by_client_id: dict[str, int] = {}
        self._waiting = 0

    def newest(self) -> int:
        """Answer the version of the last commit, 0 for a new file."""
        with self.database.lock:
            try:
                row = self.database.connection.execute(NEWEST).fetchone()
            except sqlite3.Error as error:
                raise self.database.translate(error) from error
        return row[0] if row else 0

    def load(self, connection: sqlite3.Connection, newest: int) -> tuple[Saved, list[Order]]:
        """Answer the account as of the last commit and its live orders, oldest first."""
        self.forget()
        rows = connection.execute("SELECT body FROM orders WHERE live = 1").fetchall()
        live = {order.order_id: order for order in (self._decoded(_order_decoder.decode, row[0]) for row in rows)}
        folded = connection.execute("SELECT folded FROM progress").fetchone()[0]
        commits = self._commits(connection, min(folded, newest - 1))
        for commit in commits:
            self._keep(commit)
            live.update({order.order_id: order for order in commit.orders})
        return commits[-1].saved, [live[number] for number in sorted(live) if live[number].status in LIVE]

    def since(self, connection: sqlite3.Connection, version: int, newest: int) -> tuple[Saved, list[Order]] | None:
        """Answer the account and the orders that changed after `version`; None where that is too far back to tell."""
        commits = self._commits(connection, version)
        if len(commits) != newest - version:
            return None
        changed: dict[int, Order] = {}
        for commit in commits:
            self._keep(commit)
            changed.update({order.order_id: order for order in commit.orders})
        return commits[-1].saved, list(changed.values())

    def _commits(self, connection: sqlite3.Connection, version: int) -> list[Commit]:
        return [
            self._decoded(_commit_decoder.decode, row[0]) for row in connection.execute(_SINCE, (version,)).fetchall()
        ]

    def save(self, connection: sqlite3.Connection, version: int, changes: Changes, saved: Saved) -> None:
        """Write what changed as commit number `version`."""
        commit = Commit(saved, changes.orders, changes.fills)
        connection.execute(_INSERT_COMMIT, (version, _encode(commit).decode()))
        self._keep(commit)
        if self._waiting >= _FOLD_COMMITS or len(self._orders) >= _FOLD_ORDERS:
            self.fold(connection, version)

    def _keep(self, commit: Commit) -> None:
        for order in commit.orders:
            self._orders[order.order_id] = order
            if order.request.client_order_id:
                self._by_client_id[order.request.client_order_id] = order.order_id
        self._fills += commit.fills
        self._waiting += 1

    def fold(self, connection: sqlite3.Connection, version: int) -> None:
        """Bring the tables of orders and fills up to a version. Doing it twice does no harm."""
        if not self._waiting:
            return
        spans: dict[int, tuple[int, int]] = {}
        for fill in self._fills:
            spans[fill.order_id] = (spans.get(fill.order_id, (fill.trade_id, 0))[0], fill.trade_id)
        connection.executemany(_UPSERT, [_order_row(order, spans) for order in self._orders.values()])
        connection.executemany(_INSERT_FILL, [_fill_row(fill) for fill in self._fills])
        connection.execute("UPDATE progress SET folded = ?", (version,))
        connection.execute("DELETE FROM commits WHERE version <= ?", (version - _KEPT_COMMITS,))
        self.forget()

    def is_used(self, connection: sqlite3.Connection, client_order_id: str) -> bool:
        """Tell whether a client order id was ever used."""
        return (
            client_order_id in self._by_client_id
            or connection.execute(_IS_USED, (client_order_id,)).fetchone() is not None
        )

    def used_client_ids(self, client_order_ids: Sequence[str]) -> set[str]:
        """Answer which of these ids were ever used."""
        found = {each for each in client_order_ids if each in self._by_client_id}
        for start in range(0, len(client_order_ids), _MANY):
            some = client_order_ids[start : start + _MANY]
            found.update(row[0] for row in self.database.read(f"{_USED} IN ({','.join('?' * len(some))})", some))
        return found

    def order(self, order_id: int | None, client_order_id: str | None) -> Order | None:
        """Answer an order, live or finished, by either id."""
        number = self._by_client_id.get(client_order_id or "") if order_id is None else order_id
        if number is not None and number in self._orders:
            return replace(self._orders[number])
        column, value = ("id", order_id) if order_id is not None else ("client_order_id", client_order_id)
        rows = self.database.read(f"SELECT body FROM orders WHERE {column} = ?", (value,))  # noqa: S608  # two names
        return self._decoded(_order_decoder.decode, rows[0][0]) if rows else None

    def fills(self, symbol: str | None, order_id: int | None, since: float | None) -> list[Fill]:
        """Answer executions, oldest first."""
        found = self._folded_fills(symbol, order_id, since)
        last = found[-1].trade_id if found else 0
        waiting = [
            fill
            for fill in self._fills
            if fill.trade_id > last
            and (symbol is None or fill.symbol == symbol)
            and (order_id is None or fill.order_id == order_id)
            and (since is None or fill.time >= since)
        ]
        return found + waiting

    def _folded_fills(self, symbol: str | None, order_id: int | None, since: float | None) -> list[Fill]:
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
        """Remove every order, fill and price; a new commit must follow."""
        self.forget()
        for table in ("commits", "orders", "fills", "market"):
            connection.execute(f"DELETE FROM {table}")  # noqa: S608  # four names

    def _decoded(self, decode: Callable[[str], T], text: str) -> T:
        try:
            return decode(text)
        except msgspec.MsgspecError as error:
            raise StoreError(f"the store {self.path} is damaged ({error}); move it away and restore a copy") from None


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
