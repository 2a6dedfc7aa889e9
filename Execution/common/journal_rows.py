"""The tables of the orders' store: their schema, and how orders and executions become rows and come back."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, NamedTuple

import msgspec

from Execution.common.order import ZERO, OrderRecord

_SCHEMA_1 = """
CREATE TABLE meta(name TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID;
CREATE TABLE events(
    seq INTEGER PRIMARY KEY, time REAL NOT NULL, kind TEXT NOT NULL, rid INTEGER NOT NULL,
    body BLOB NOT NULL, hash BLOB NOT NULL);
CREATE TABLE orders(
    rid INTEGER PRIMARY KEY, client_order_id TEXT NOT NULL UNIQUE, exchange TEXT NOT NULL, symbol TEXT NOT NULL,
    side TEXT NOT NULL, type TEXT NOT NULL, amount TEXT NOT NULL, price TEXT, stop_price TEXT, terms TEXT NOT NULL,
    status TEXT NOT NULL, order_id TEXT, filled TEXT NOT NULL, average_price TEXT, fee TEXT NOT NULL,
    fee_currency TEXT NOT NULL, created REAL NOT NULL, updated REAL NOT NULL, deadline REAL NOT NULL,
    strategy TEXT NOT NULL, outcome TEXT NOT NULL, options TEXT, owner TEXT NOT NULL, key TEXT);
CREATE INDEX orders_by_order_id ON orders(order_id) WHERE order_id IS NOT NULL;
CREATE INDEX orders_by_key ON orders(key) WHERE key IS NOT NULL;
CREATE TABLE fills(
    exchange TEXT NOT NULL, symbol TEXT NOT NULL, trade_id TEXT NOT NULL, rid INTEGER NOT NULL, order_id TEXT NOT NULL,
    side TEXT NOT NULL, amount TEXT NOT NULL, price TEXT NOT NULL, fee TEXT NOT NULL, fee_currency TEXT NOT NULL,
    maker INTEGER NOT NULL, time REAL NOT NULL, PRIMARY KEY(rid, trade_id)) WITHOUT ROWID;
CREATE TABLE signals(
    key TEXT PRIMARY KEY, digest TEXT NOT NULL, owner TEXT NOT NULL, created REAL NOT NULL, answer BLOB) WITHOUT ROWID;
CREATE TABLE inbox(source TEXT PRIMARY KEY, position INTEGER NOT NULL, updated REAL NOT NULL) WITHOUT ROWID;
CREATE TABLE days(exchange TEXT, day TEXT, equity TEXT NOT NULL, PRIMARY KEY(exchange, day)) WITHOUT ROWID;
"""
MIGRATIONS = (_SCHEMA_1,)

FIELDS = (
    "rid, client_order_id, exchange, symbol, side, type, amount, price, stop_price, terms, status, order_id, filled, "
    "average_price, fee, fee_currency, created, updated, deadline, strategy, outcome, options"
)
INSERT_ORDER = f"INSERT INTO orders({FIELDS}, owner, key) VALUES(?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)"
UPDATE_ORDER = (
    "UPDATE orders SET status=?, order_id=?, filled=?, average_price=?, fee=?, fee_currency=?, updated=?, deadline=?, "
    "outcome=? WHERE rid=?"
)
INSERT_FILL = "INSERT OR IGNORE INTO fills VALUES(?,?,?,?,?,?,?,?,?,?,?,?)"

encode = msgspec.json.Encoder(decimal_format="string").encode
decode = msgspec.json.decode


class FillRow(NamedTuple):
    """One execution as the store keeps it: exact decimal text."""

    exchange: str
    symbol: str
    trade_id: str
    rid: int
    order_id: str
    side: str
    amount: str
    price: str
    fee: str
    fee_currency: str
    maker: int
    time: float


def fill_facts(fill: Mapping[str, Any]) -> tuple[Any, ...]:
    """Answer what an event keeps of a public Fill: FillRow without exchange, symbol and rid."""
    return (
        fill["trade_id"],
        fill["order_id"],
        fill["side"],
        str(fill["amount"]),
        str(fill["price"]),
        str(fill["fee"]),
        fill["fee_currency"],
        int(fill["maker"]),
        fill["timestamp"],
    )


def public_fill(row: FillRow) -> dict[str, Any]:
    """Answer a stored execution as a public dict."""
    fill = row._asdict() | {"maker": bool(row.maker), "timestamp": row.time}
    fill |= {name: float(fill[name]) for name in ("amount", "price", "fee")}
    del fill["time"], fill["rid"]
    return fill


def changes_of(order: OrderRecord) -> tuple[Any, ...]:
    """Answer the row that UPDATE_ORDER takes."""
    average = order.average_price
    return (
        order.status,
        order.order_id or None,
        str(order.filled),
        None if average is None else str(average),
        str(order.fee),
        order.fee_currency,
        order.updated,
        order.deadline,
        order.outcome,
        order.rid,
    )


def columns_of(order: OrderRecord) -> tuple[Any, ...]:
    """Answer the values of FIELDS."""
    price, stop, average = order.price, order.stop_price, order.average_price
    return (
        order.rid,
        order.client_order_id,
        order.exchange,
        order.symbol,
        order.side,
        order.type,
        str(order.amount),
        None if price is None else str(price),
        None if stop is None else str(stop),
        order.terms,
        order.status,
        order.order_id or None,
        str(order.filled),
        None if average is None else str(average),
        str(order.fee),
        order.fee_currency,
        order.created,
        order.updated,
        order.deadline,
        order.strategy,
        order.outcome,
        None if order.options is None else encode(order.options),
    )


def record_of(row: tuple[Any, ...]) -> OrderRecord:
    """Answer the order of a row of FIELDS."""
    return OrderRecord(
        rid=row[0],
        client_order_id=row[1],
        exchange=row[2],
        symbol=row[3],
        side=row[4],
        type=row[5],
        amount=Decimal(row[6]),
        price=None if row[7] is None else Decimal(row[7]),
        stop_price=None if row[8] is None else Decimal(row[8]),
        terms=row[9],
        status=row[10],
        order_id=row[11] or "",
        filled=Decimal(row[12]) if row[12] != "0" else ZERO,
        average_price=None if row[13] is None else Decimal(row[13]),
        fee=Decimal(row[14]) if row[14] != "0" else ZERO,
        fee_currency=row[15],
        created=row[16],
        updated=row[17],
        deadline=row[18],
        strategy=row[19],
        outcome=row[20],
        options=None if row[21] is None else decode(row[21]),
    )
