"""Our book of orders: what was sent, what became of it, and who says so.

An order is recorded before it is sent (`record`) and again when its outcome is known (`settle`). Open orders live in
memory; every order, with its history and fills, lives in the store. Several threads and processes share one store:
each write first takes in what the others appended.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from decimal import Decimal
from functools import cache
from typing import Any

from Execution import registry
from Execution.common import clock, log, process, settings
from Execution.common.book import Book
from Execution.common.envelope import failure, ok
from Execution.common.errors import ExecutionError, Refused, StoreError
from Execution.common.journal import Event, Journal, decode_event, fill_facts, public_fill
from Execution.common.order import ZERO, OrderRecord, is_legal, public, terms_of
from Execution.common.precision import exact, positive
from Execution.common.types import FINAL_STATUSES, ORDER_TYPES, SIDES, STATUSES, Envelope
from Execution.drafts import is_fresh

_OPEN_SQL = "status IN ('pending','open','partially_filled','unknown')"


class OrderManager:
    """The book. One for each store and process; any number of threads."""

    def __init__(
        self, store: str | None = None, *, durability: str | None = None, timeout: float | None = None
    ) -> None:
        """Open the book at a store.

        Args:
            store: a path, sqlite:///path or ":memory:"; None = EXECUTION_STORE.
            durability: "NORMAL" survives the death of the process, "FULL" also a power cut; None = the setting.
            timeout: seconds to wait for another process's transaction; None = the setting.
        """
        path = settings.database("EXECUTION_STORE", "execution.db") if store is None else store
        self.journal = Journal(
            path.removeprefix("sqlite:///"),
            durability=settings.choice("EXECUTION_DURABILITY", ("NORMAL", "FULL"), value=durability)
            if durability
            else settings.choice("EXECUTION_DURABILITY", ("NORMAL", "FULL")),
            timeout=settings.number("EXECUTION_STORE_TIMEOUT") if timeout is None else timeout,
        )
        self.journal.on_events = self._take_in
        self.lock = self.journal.lock
        self.on_deadline: Callable[[OrderRecord], None] | None = None
        self._book = Book()
        self._recent: dict[str, deque[float]] = {}
        self._in_flight: set[str] = set()
        self._last_rid = 0

    # -- what users were promised

    def add_order(self, order_info: dict[str, Any]) -> Envelope:
        """Put an order that was placed elsewhere into the book.

        Args:
            order_info: order_id, exchange, symbol, side, type, amount, price, status, timestamp; optional
                client_order_id, stop_price, filled, average_price, strategy.

        Returns:
            Envelope around the order. One that the book has already is answered as it is.
        """
        try:
            record = _external(order_info)
            with self.journal:
                known = self.find(record.order_id or record.client_order_id, record.exchange)
                if known is not None:
                    return ok(public(known), "already in the book")
                self._insert(record, None)
            return ok(public(record))
        except ExecutionError as error:
            return failure(error)

    def update_order_status(self, exchange_name: str, order_id: str) -> Envelope:
        """Ask the venue what became of an order, update the book, answer the order.

        Args:
            order_id: the venue's id or our client_order_id.
        """
        try:
            name = registry.canonical(exchange_name)
            record = self.find(str(order_id), name)
            if record is None:
                raise Refused("ORDER_NOT_FOUND", f"the book has no order {order_id!r:.80} on {name}")
            answer = self.refresh(record)
            return ok(public(record), answer["message"]) if answer["success"] else answer
        except ExecutionError as error:
            return failure(error)

    def get_order(self, order_id: str, exchange_name: str | None = None) -> dict[str, Any] | None:
        """Answer an order by the venue's id or by our client_order_id; None where the book has none."""
        record = self.find(str(order_id), registry.canonical(exchange_name) if exchange_name else None)
        return public(record) if record else None

    def get_orders_by_symbol(self, exchange_name: str, symbol: str) -> list[dict[str, Any]]:
        """Answer every order of a symbol, oldest first."""
        name = registry.canonical(exchange_name)
        return self._select("exchange = ? AND symbol = ?", (name, registry.symbol_of(name, symbol)))

    def get_open_orders(self, exchange_name: str | None = None) -> list[dict[str, Any]]:
        """Answer the orders that may still fill, oldest first."""
        name = registry.canonical(exchange_name) if exchange_name else None
        return [public(record) for record in self.open_records(name)]

    def get_orders_by_status(self, status: str, exchange_name: str | None = None) -> list[dict[str, Any]]:
        """Answer the orders in a status, oldest first."""
        if status not in STATUSES:
            raise ValueError(f"status must be one of {', '.join(STATUSES)}, not {status!r:.40}")
        if exchange_name:
            return self._select("status = ? AND exchange = ?", (status, registry.canonical(exchange_name)))
        return self._select("status = ?", (status,))

    def get_orders_by_key(self, key: str) -> list[dict[str, Any]]:
        """Answer the orders that the signal with this key led to."""
        return self._select("key = ?", (key,))

    def get_orders_by_time(self, start: float, end: float | None = None) -> list[dict[str, Any]]:
        """Answer the orders recorded between two times, seconds UTC."""
        return self._select("created >= ? AND created <= ?", (start, clock.now() if end is None else end))

    def get_history(self, order_id: str) -> list[dict[str, Any]]:
        """Answer everything recorded about an order, oldest first: {"seq", "time", "event", and its content}."""
        record = self.find(str(order_id))
        if record is None:
            return []
        events = self.journal.events(rid=record.rid)
        return [{"seq": e.seq, "time": e.time, "event": e.kind, **decode_event(e)} for e in events]

    def get_fills(self, order_id: str | None = None, exchange_name: str | None = None) -> list[dict[str, Any]]:
        """Answer the recorded executions of an order, of a venue, or all, oldest first."""
        if order_id is not None:
            record = self.find(str(order_id))
            rows = self.journal.fills("WHERE rid = ?", (record.rid,)) if record else []
        elif exchange_name is not None:
            rows = self.journal.fills("WHERE exchange = ?", (registry.canonical(exchange_name),))
        else:
            rows = self.journal.fills()
        return [public_fill(row) for row in rows]

    # -- before and after a send

    def writing(self) -> AbstractContextManager[None]:
        """Hold the book for writing over all threads and processes; everything inside is one commit."""
        return self.journal

    def record(self, record: OrderRecord, key: str | None = None) -> None:
        """Write down the intent to send an order; inside `writing()`. It leaves only after the commit."""
        taken = self._book.orders.get(record.client_order_id)
        if taken is None and not is_fresh(record.client_order_id):
            taken = self.find(record.client_order_id)
        if taken is not None:
            raise Refused("DUPLICATE_ORDER", f"client_order_id {record.client_order_id!r} was used before")
        self._insert(record, key)
        self._in_flight.add(record.client_order_id)

    def settle(self, record: OrderRecord, answer: Envelope) -> None:
        """Write down what a send led to; inside `writing()`."""
        self._in_flight.discard(record.client_order_id)
        if answer["success"]:
            self.apply(record, answer["data"], "send")
        else:
            data = answer["data"]
            status = "unknown" if data["outcome"] == "unknown" else "rejected"
            self._change(
                record, status, "send", outcome=data["outcome"], error=data["error"], message=answer["message"]
            )

    def journal_resend(self, record: OrderRecord) -> None:
        """Write down that an order which provably never arrived is sent again under the same id."""
        with self.writing():
            self._in_flight.add(record.client_order_id)
            self._change(record, "pending", "resend", message="sent again: the venue never received it")

    def _look(self) -> None:
        """Take in what other processes wrote, and open the store on the first call."""
        if self.journal.is_behind():
            with self.writing():
                pass

    def abandon(self, records: Iterable[OrderRecord]) -> None:
        """Leave orders whose outcome could not be written down to the resolver."""
        for record in records:
            self._in_flight.discard(record.client_order_id)

    def apply(self, record: OrderRecord, order: Mapping[str, Any], source: str) -> bool:
        """Bring a record up to what the venue reports; inside `writing()`. False where the change is illegal.

        `filled` never shrinks, an ended order never comes back to life, fills are kept once by trade id.
        """
        status = order["status"]
        filled = exact(order["filled"]) if order["filled"] else ZERO
        if status == record.status and filled == record.filled and (record.order_id or not order["order_id"]):
            return True
        if filled < record.filled or not is_legal(record.status, status):
            return self._refuse(record, order, source)
        if not record.order_id:
            record.order_id = order["order_id"]
        fills = order.get("fills")
        average = order["average_price"]
        self._change(
            record,
            status,
            source,
            filled=filled,
            average=None if average is None else exact(average),
            fee=exact(order["fee"]) if order["fee"] else ZERO,
            fee_currency=order["fee_currency"],
            message=order.get("reason", ""),
            fills=[fill_facts(fill) for fill in fills] if fills else None,
        )
        return True

    # -- asking the venue

    def refresh(self, record: OrderRecord, *, final: bool = True) -> Envelope:
        """Ask the venue about one order and write down the answer.

        Args:
            final: whether an order that provably never arrived is written off now; False leaves it to be sent again.
        """
        arguments: dict[str, Any] = {"client_order_id": record.client_order_id}
        if record.order_id:
            arguments = {"order_id": record.order_id}
        answer = registry.call(record.exchange, "get_order_status", record.symbol, **arguments)
        with self.writing():
            if answer["success"]:
                self.apply(record, answer["data"], "sync")
            elif self.is_absent(record, answer) and final:
                self._change(record, "rejected", "resolve", outcome="not_sent", message="the venue never received it")
                return ok(public(record), "the venue never received it")
        if answer["success"] and "fills" not in answer["data"] and record.filled:
            self.fetch_fills(record)
        return answer

    def is_absent(self, record: OrderRecord, answer: Envelope) -> bool:
        """Tell whether "no such order" proves that it never arrived: no id, and past the venue's grace time."""
        if (
            answer["data"]["error"] != "ORDER_NOT_FOUND"
            or record.order_id
            or record.status not in ("pending", "unknown")
        ):
            return False
        return clock.now() - record.created >= registry.find(record.exchange)[0].absence_grace

    def fetch_fills(self, record: OrderRecord) -> None:
        """Ask the venue for the executions of an order and keep those that are new."""
        answer = registry.call(record.exchange, "get_fills", record.symbol, order_id=record.order_id)
        if answer["success"]:
            fills = [fill_facts(fill) for fill in answer["data"]]
            with self.writing():
                self.journal.change(record, "fills", {"client_order_id": record.client_order_id, "fills": fills})

    def sync(self, exchange_name: str | None = None) -> list[dict[str, Any]]:
        """Bring every open order up to date with its venue; answer those that changed."""
        changed = []
        name = registry.canonical(exchange_name) if exchange_name else None
        for venue in sorted({record.exchange for record in self.open_records(name)}):
            changed += self._sync_venue(venue)
        return changed

    def _sync_venue(self, name: str) -> list[dict[str, Any]]:
        answer = registry.call(name, "get_open_orders")
        if not answer["success"]:
            log.warning(f"open orders of {name} cannot be read: {answer['message']}")
            return []
        live = {order["client_order_id"]: order for order in answer["data"]}
        by_id = {order["order_id"]: order for order in answer["data"]}
        changed = []
        for record in self.open_records(name):
            if record.client_order_id in self._in_flight:
                continue
            before = record.status, record.filled
            seen = live.get(record.client_order_id) or by_id.get(record.order_id)
            if seen is not None:
                with self.writing():
                    self.apply(record, seen, "sync")
            else:
                self.refresh(record)
            if (record.status, record.filled) != before:
                changed.append(public(record))
        return changed

    def leftovers(self) -> list[OrderRecord]:
        """Answer orders without a known outcome that no living process is sending."""
        with self.writing():
            records = list(self._book.orders.values())
        waiting = [
            r for r in records if r.status in ("pending", "unknown") and r.client_order_id not in self._in_flight
        ]
        return [r for r in waiting if r.status == "unknown" or self._is_orphan(r)]

    def _is_orphan(self, record: OrderRecord) -> bool:
        owner = self.journal.owner_of(record.rid)
        return owner == process.me() or not process.alive(owner)

    # -- the book in memory, and what risk asks of it

    def find(self, name: str, exchange: str | None = None) -> OrderRecord | None:
        """Answer a record by client_order_id or the venue's order_id, open or finished."""
        with self.lock:
            self._look()
            record = self._book.orders.get(name) or self.journal.pending(name)
        if record is not None and (exchange is None or record.exchange == exchange):
            return record
        where, parameters = "WHERE (client_order_id = ? OR order_id = ?)", (name, name)
        stored = self.journal.orders(
            where + (" AND exchange = ?" if exchange else ""), (*parameters, *filter(None, [exchange]))
        )
        return self._live(stored[-1]) if stored else None

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
                sql = "SELECT created FROM orders WHERE exchange = ? AND created >= ? ORDER BY rid"
                rows = self.journal.database.read(sql, (exchange, min(now - now % 86400, now - 3600)))
                times = self._recent[exchange] = deque(row[0] for row in rows)
            while times and times[0] < min(now - now % 86400, now - 3600):
                times.popleft()
            return sum(1 for _ in _takewhile_since(times, since))

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

    def close(self) -> None:
        """Close the store. The next use opens it again."""
        with self.lock:
            try:
                with self.writing():
                    self._remember_oldest()
                self.journal.project()
            except StoreError as error:
                log.warning(f"closing: {error}")
            self.journal.close()
            self._book.clear()

    # -- inside

    def _insert(self, record: OrderRecord, key: str | None) -> None:
        self._last_rid = record.rid = self._last_rid + 1
        self.journal.add(record, process.me(), key)
        self._enter(record)
        if record.deadline and self.on_deadline is not None:
            self.on_deadline(record)

    def _enter(self, record: OrderRecord) -> None:
        """Take an open order into memory."""
        times = self._recent.get(record.exchange)
        if times is not None:
            times.append(record.created)
        if record.status in FINAL_STATUSES:
            return
        self._book.enter(record)

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
    ) -> None:
        """Move a record to a new state, in memory and in the journal."""
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
        for name, value in (("outcome", outcome), ("error", error), ("message", message)):
            if value:
                body[name] = value
        if fills:
            body["fills"] = fills
        self.journal.change(record, status, body)
        if was_open:
            self._book.changed(record, before)
        else:
            self._book.traded(record, before)

    def _refuse(self, record: OrderRecord, order: Mapping[str, Any], source: str) -> bool:
        seen = {"status": order["status"], "filled": order["filled"], "source": source}
        late = filled_late(record, order)
        if late is not None:
            self._change(record, record.status, source, filled=late, average=record.average_price, fee=record.fee,
                         fee_currency=record.fee_currency, message="late fill")  # fmt: skip
            return True
        log.debug(f"order {record.client_order_id}: {record.status} does not become {order['status']}")
        self.journal.note("refused", {"client_order_id": record.client_order_id, "is": record.status, "seen": seen})
        return False

    def _live(self, record: OrderRecord) -> OrderRecord:
        """Answer the object in memory for a stored record, so that there is one truth for an open order."""
        return self._book.orders.get(record.client_order_id, record)

    def _select(self, where: str, parameters: tuple[Any, ...]) -> list[dict[str, Any]]:
        self.journal.project()
        return [public(self._live(record)) for record in self.journal.orders(f"WHERE {where}", parameters)]

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
            found = self._known(body["client_order_id"])
            if found is not None:
                self._follow(found, event, body)

    def _follow(self, record: OrderRecord, event: Event, body: Mapping[str, Any]) -> None:
        """Bring a record to where an event left it."""
        before, was_open = record.filled, record.client_order_id in self._book.orders
        record.updated = event.time
        if "status" in body:
            record.status, record.outcome = body["status"], body.get("outcome", "")
            record.order_id = body["order_id"]
        if "filled" in body:
            average = body["average_price"]
            record.filled, record.fee = Decimal(body["filled"]), Decimal(body["fee"])
            record.average_price = None if average is None else Decimal(average)
            record.fee_currency = body["fee_currency"]
        self.journal.touch(record, event.seq, body.get("fills"))
        if was_open:
            self._book.changed(record, before)
        else:
            self._book.traded(record, before)

    def _known(self, name: str) -> OrderRecord | None:
        """Answer a record by client_order_id or order_id from memory or the table, without bringing that up to date."""
        record = self._book.orders.get(name) or self.journal.pending(name)
        if record is None:
            stored = self.journal.orders("WHERE client_order_id = ? OR order_id = ?", (name, name))
            record = self._live(stored[-1]) if stored else None
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

    def _remember_oldest(self) -> None:
        """Store where the open orders begin, so that the next start need not look at all that ended before."""
        oldest = min((record.rid for record in self._book.orders.values()), default=self._last_rid)
        self.journal.set_meta("oldest_open", str(oldest))


def filled_late(record: OrderRecord, order: Mapping[str, Any]) -> Decimal | None:
    """Answer the larger filled amount that a venue reports for an order whose end we know already, else None."""
    filled = exact(order["filled"])
    if record.status in ("cancelled", "expired") and filled > record.filled:
        return filled
    return None


@cache
def default_manager() -> OrderManager:
    """Answer the order manager of this process's settings."""
    return OrderManager()


def _takewhile_since(times: deque[float], since: float) -> Iterator[float]:
    for moment in reversed(times):
        if moment < since:
            return
        yield moment


def _external(info: dict[str, Any]) -> OrderRecord:
    """Make a record of an order that somebody else placed; everything wrong with it is named at once."""
    if not isinstance(info, dict):
        raise Refused("INVALID_ORDER", f"order_info must be a dict, not {info!r:.60}")
    wrong = [f"{name} is missing" for name in ("exchange", "symbol", "side", "type", "amount") if name not in info]
    for name, allowed in (("side", SIDES), ("type", ORDER_TYPES), ("status", STATUSES)):
        if name in info and info[name] not in allowed:
            wrong.append(f"{name} must be one of {', '.join(allowed)}, not {info[name]!r:.40}")
    if not info.get("order_id") and not info.get("client_order_id"):
        wrong.append("order_id is missing")
    if wrong:
        raise Refused("INVALID_ORDER", "; ".join(wrong))
    name = registry.canonical(info["exchange"])
    order_id = str(info.get("order_id") or "")
    now = clock.now()
    price, stop, average = (info.get(field) for field in ("price", "stop_price", "average_price"))
    return OrderRecord(
        client_order_id=str(info.get("client_order_id") or f"{name}/{order_id}"),
        exchange=name,
        symbol=registry.symbol_of(name, info["symbol"]),
        side=info["side"],
        type=info["type"],
        amount=positive(info["amount"], "amount"),
        price=None if price is None else positive(price, "price"),
        stop_price=None if stop is None else positive(stop, "stop_price"),
        terms=terms_of("GTC", False, bool(info.get("reduce_only"))),
        status=info.get("status", "open"),
        order_id=order_id,
        filled=positive(info["filled"], "filled") if info.get("filled") else ZERO,
        average_price=None if average is None else positive(average, "average_price"),
        created=float(info.get("timestamp") or now),
        updated=now,
        strategy=str(info.get("strategy") or ""),
    )
