"""The store and the open orders in memory, kept in step over all threads and processes that share the store."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from decimal import Decimal
from typing import Any

from Execution.common import clock, log, process
from Execution.common.book import Book
from Execution.common.errors import StoreError
from Execution.common.journal import Event, Journal, decode_event
from Execution.common.order import ZERO, OrderRecord
from Execution.common.recent import Recent
from Execution.common.types import FINAL_STATUSES

_STATE = ("status", "outcome", "order_id", "filled", "average_price", "fee", "fee_currency", "updated")
_OPEN_SQL = "status IN ('pending','open','partially_filled','unknown')"


class Ledger:
    """Our orders: the open ones in memory, all of them in the store. One for each store and process."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self.journal.on_events = self._take_in
        self.on_deadline: Callable[[OrderRecord], None] | None = None
        """Told of each open order that has a deadline, whichever process sent it."""
        self.on_fill: Callable[[OrderRecord], None] | None = None
        """Told of each order with options of its own that filled more, whoever noticed it."""
        self._book = Book()
        self._recent: dict[str, Recent] = {}
        self._last_rid = 0

    @property
    def lock(self) -> threading.RLock:
        """What every reader and writer of this process holds."""
        return self.journal.lock

    def writing(self) -> AbstractContextManager[None]:
        """Hold the book for writing over all threads and processes; everything inside is one commit."""
        return self.journal

    def _look(self) -> None:
        """Take in what other processes wrote, and open the store on the first call."""
        if self.journal.is_behind():
            with self.writing():
                pass

    def find(self, name: str, exchange: str | None = None) -> OrderRecord | None:
        """Answer a record by client_order_id or the venue's order_id, open or finished."""
        with self.lock:
            self._look()
            record = self._book.orders.get(name)
            if record is None or exchange not in (None, record.exchange):
                record = self.journal.pending(name, exchange)
            if record is not None:
                return record
            where, parameters = "WHERE (client_order_id = ? OR order_id = ?)", (name, name)
            stored = self.journal.orders(
                where + (" AND exchange = ?" if exchange else ""), (*parameters, *filter(None, [exchange]))
            )
            return self._live(stored[-1]) if stored else None

    def find_ours(self, client_order_id: str) -> OrderRecord | None:
        """Answer a record by client_order_id only: another order may have it as the venue's number."""
        with self.lock:
            self._look()
            record = self._book.orders.get(client_order_id) or self.journal.pending_ours(client_order_id)
            if record is not None:
                return record
            stored = self.journal.orders("WHERE client_order_id = ?", (client_order_id,))
            return self._live(stored[0]) if stored else None

    def open_records(self, exchange: str | None = None) -> list[OrderRecord]:
        """Answer the open orders, those of other processes included, oldest first."""
        with self.writing():
            return [r for r in self._book.orders.values() if exchange is None or r.exchange == exchange]

    def key_of(self, record: OrderRecord) -> str:
        """Answer the key of the signal that led to an order; "" where it had none."""
        self.journal.project()
        rows = self.journal.database.read("SELECT key FROM orders WHERE rid = ?", (record.rid,))
        return rows[0][0] or "" if rows else ""

    def records_by_key(self, key: str) -> list[OrderRecord]:
        """Answer the records that a signal key led to."""
        self._look()
        self.journal.project()
        return [self._live(record) for record in self.journal.orders("WHERE key = ?", (key,))]

    def exposure(self, exchange: str, symbol: str) -> tuple[Decimal, Decimal]:
        """Answer what open orders may still buy and sell, in base units, reduce-only ones left out."""
        return self._book.exposure(exchange, symbol)

    def open_order_count(self, exchange: str) -> int:
        """Answer the number of open orders."""
        return self._book.count(exchange)

    def net_filled(self, exchange: str) -> tuple[int, dict[str, Decimal]]:
        """Answer (n, {symbol: bought less sold by all processes since the book was loaded for the n-th time}).

        With two of these, a position read in between is brought up to date without asking the venue; where n differs,
        fills may have been missed.
        """
        return self._book.net_filled(exchange)

    def intent_count(self, exchange: str, seconds: float) -> int:
        """Answer how many orders were recorded within the last seconds; 86400 means since midnight UTC."""
        now = clock.now()
        since = now - now % 86400 if seconds >= 86400 else now - seconds
        with self.lock:
            times = self._recent.get(exchange)
            if times is None:
                self.journal.project()
                sql = "SELECT created FROM orders WHERE exchange = ? AND created >= ?"
                rows = self.journal.database.read(sql, (exchange, min(now - now % 86400, now - 3600)))
                times = self._recent[exchange] = Recent(row[0] for row in rows)
            times.drop_before(min(now - now % 86400, now - 3600))
            return times.count_since(since)

    def unresolved(self, exchange: str, symbol: str) -> list[OrderRecord]:
        """Answer the orders of a symbol whose outcome is unknown."""
        with self.lock:
            return [r for r in self._book.unknown.values() if r.symbol == symbol and r.exchange == exchange]

    def inbox_position(self, source: str) -> int | None:
        """Answer how far a source of signals was carried out; None where it was never seen."""
        rows = self.journal.database.read("SELECT position FROM inbox WHERE source = ?", (source,))
        return int(rows[0][0]) if rows else None

    def set_inbox_position(self, source: str, position: int) -> None:
        """Remember how far a source of signals was carried out."""
        with self.writing():
            self.journal.execute("INSERT OR REPLACE INTO inbox VALUES(?,?,?)", (source, position, clock.now()))

    def day_start_equity(self, exchange: str, equity: Decimal) -> Decimal:
        """Answer the first equity seen on this UTC day; `equity` becomes it where there was none."""
        day = str(int(clock.now() // 86400))
        with self.writing():
            self.journal.execute("INSERT OR IGNORE INTO days VALUES(?,?,?)", (exchange, day, str(equity)))
            rows = self.journal.database.read("SELECT equity FROM days WHERE exchange=? AND day=?", (exchange, day))
        return Decimal(rows[0][0])

    def recent_exchanges(self) -> list[str]:
        """Answer the exchanges whose account was looked at in the last seven days, sorted."""
        first = int(clock.now() // 86400) - 7
        sql = "SELECT DISTINCT exchange FROM days WHERE CAST(day AS INTEGER) >= ? ORDER BY exchange"
        return [row[0] for row in self.journal.database.read(sql, (first,))]

    def close(self) -> None:
        """Close the store. The next use opens it again."""
        with self.lock:
            try:
                if self.journal.sequence >= 0:
                    with self.writing():
                        self._remember_oldest()
                    self.journal.project()
            except StoreError as error:
                log.warning(f"closing: {error}")
            self.journal.close()
            self._book.clear()

    def _insert(self, record: OrderRecord, key: str | None) -> None:
        self._last_rid = record.rid = self._last_rid + 1
        self.journal.add(record, process.me(), key)
        self._enter(record)

    def _enter(self, record: OrderRecord) -> None:
        """Take an open order into memory."""
        times = self._recent.get(record.exchange)
        if times is not None:
            times.add(record.created)
        if record.status in FINAL_STATUSES:
            return
        self._book.enter(record)
        if record.deadline and self.on_deadline is not None:
            self.on_deadline(record)

    def _change(
        self,
        record: OrderRecord,
        status: str,
        source: str,
        *,
        filled: Decimal | None = None,
        average: Decimal | None = None,
        fee: Decimal | None = None,
        fee_currency: str = "",
        outcome: str = "",
        error: str = "",
        message: str = "",
        fills: list[tuple[Any, ...]] | None = None,
        owner: str = "",
    ) -> None:
        """Move a record to a new state, in memory and in the journal."""
        self._renew(record)
        was_open, before = record.client_order_id in self._book.orders, record.filled
        record.status, record.outcome, record.updated = status, outcome, clock.now()
        body: dict[str, Any] = {
            "client_order_id": record.client_order_id,
            "status": status,
            "source": source,
            "order_id": record.order_id,
        }
        if filled is not None:
            record.filled, record.average_price, record.fee = filled, average, fee or ZERO
            record.fee_currency = fee_currency
            body |= {"filled": filled, "average_price": average, "fee": record.fee, "fee_currency": fee_currency}
        if outcome or error or message or owner:
            words = {"outcome": outcome, "error": error, "message": message, "owner": owner}
            body |= {name: value for name, value in words.items() if value}
        if fills:
            body["fills"] = fills
        self.journal.change(record, status, body)
        self._count(record, before, was_open=was_open)

    def _count(self, record: OrderRecord, filled_before: Decimal, *, was_open: bool) -> None:
        """Keep the book's sums right after an order changed."""
        if record.options is not None and record.filled != filled_before and self.on_fill is not None:
            self.on_fill(record)
        if was_open:
            self._book.changed(record, filled_before)
            return
        self._book.traded(record, filled_before)
        if record.is_open:  # it was written off, and the venue has it
            self._book.enter(record)

    def _renew(self, record: OrderRecord) -> None:
        """Bring a record to the book's state, and the book to this object, where the book was loaded anew meanwhile.

        Whoever sends an order or asks for it holds its record for as long as the venue takes; inside `writing()`.
        """
        if self._book.orders.get(record.client_order_id) is record:
            return
        live = self._known(record.rid, record.client_order_id)
        if live is None or live is record or live.client_order_id != record.client_order_id:
            return
        for name in _STATE:
            setattr(record, name, getattr(live, name))
        self._book.replace(record)
        self.journal.replace(record)

    def _live(self, record: OrderRecord) -> OrderRecord:
        """Answer the object in memory for a stored record, so that there is one truth for an order."""
        return self._book.orders.get(record.client_order_id) or self.journal.changed(record.rid) or record

    def _take_in(self, events: list[Event] | None) -> None:
        """Bring memory up to what other processes wrote; None means: read everything anew."""
        if events is None:
            self._reload()
        else:
            for event in events:
                self._replay(event)

    def _replay(self, event: Event) -> None:
        if event.kind == "intent":
            record = self.journal.touch_new(event)
            self._last_rid = max(self._last_rid, record.rid)
            self._enter(record)
        elif event.rid:
            body = decode_event(event)
            found = self._known(event.rid, body["client_order_id"])
            if found is not None:
                self._follow(found, event, body)

    def _follow(self, record: OrderRecord, event: Event, body: Mapping[str, Any]) -> None:
        """Bring a record to where an event left it."""
        before, was_open = record.filled, record.client_order_id in self._book.orders
        advance(record, event, body)
        self.journal.touch(record, event.seq, body.get("fills"))
        if "owner" in body:
            self.journal.follow_owner(record.rid, body["owner"])
        self._count(record, before, was_open=was_open)

    def _known(self, rid: int, client_order_id: str) -> OrderRecord | None:
        """Answer a record from memory or the table, without bringing that up to date."""
        record = self._book.orders.get(client_order_id) or self.journal.pending_rid(rid)
        if record is None:
            stored = self.journal.orders("WHERE rid = ?", (rid,))
            record = self._live(stored[0]) if stored else None
        return record

    def _reload(self) -> None:
        self._book.clear()
        self._recent.clear()
        self._last_rid = self.journal.last_rid()
        oldest = int(self.journal.get_meta("oldest_open") or 0)
        for record in self.journal.orders(f"WHERE rid >= ? AND {_OPEN_SQL}", (oldest,)):
            self._enter(record)
        for event in self.journal.events(self.journal.projected()):
            self._replay(event)
        self._remember_oldest()
        self.journal.catch_tables_up()

    def _remember_oldest(self) -> None:
        """Store where the open orders begin, so that the next start need not look at all that ended before."""
        oldest = min((record.rid for record in self._book.orders.values()), default=self._last_rid)
        self.journal.set_meta("oldest_open", str(oldest))


def advance(record: OrderRecord, event: Event, body: Mapping[str, Any]) -> None:
    """Bring an order to where an event left it."""
    record.updated = event.time
    if "status" in body:
        record.status, record.outcome = body["status"], body.get("outcome", "")
        record.order_id = body["order_id"]
    if "filled" in body:
        average = body["average_price"]
        record.filled, record.fee = Decimal(body["filled"]), Decimal(body["fee"])
        record.average_price = None if average is None else Decimal(average)
        record.fee_currency = body["fee_currency"]
