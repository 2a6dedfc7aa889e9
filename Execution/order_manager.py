"""Our book of orders: what was sent, what became of it, and who says so.

An order is recorded before it is sent (`record`) and again when its outcome is known (`settle`). Open orders live in
memory; every order, with its history and fills, lives in the store. Several threads and processes share one store:
each write first takes in what the others appended.
"""

from __future__ import annotations

import atexit
from collections.abc import Iterable, Mapping
from decimal import Decimal
from functools import cache
from typing import Any

from Execution import registry
from Execution.common import clock, log, process, settings
from Execution.common.envelope import failure, ok
from Execution.common.errors import ExecutionError, Refused
from Execution.common.journal import Journal, decode_event
from Execution.common.journal_rows import fill_facts, public_fill
from Execution.common.ledger import Ledger
from Execution.common.order import PROTECTION, ZERO, OrderRecord, is_legal, public, terms_of
from Execution.common.precision import exact, positive
from Execution.common.store import on_fork
from Execution.common.types import ORDER_TYPES, SIDES, STATUSES, Envelope
from Execution.drafts import is_fresh

_UNSETTLED = ("pending", "unknown")
_RECENT = 1000
_KEY_PATIENCE = 86400.0
_in_flight: set[str] = set()
"""client_order_ids that threads of this process are sending, whichever order manager they use."""

on_fork(_in_flight.clear)


class OrderManager(Ledger):
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
        super().__init__(
            Journal(
                path.removeprefix("sqlite:///"),
                durability=settings.choice("EXECUTION_DURABILITY", ("NORMAL", "FULL"), value=durability),
                timeout=settings.number("EXECUTION_STORE_TIMEOUT") if timeout is None else timeout,
            )
        )
        self.has_abandoned = False
        self._lacking_fills: set[str] = set()
        """Whether this process left orders without an outcome, so that the next call looks after them."""

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
                known = self.find(record.order_id, record.exchange) if record.order_id else None
                if known is None or known.order_id != record.order_id:
                    known = self.find_ours(record.client_order_id)
                if known is not None and known.exchange != record.exchange:
                    raise Refused("DUPLICATE_ORDER", f"{record.client_order_id!r} is an order on {known.exchange}")
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

    def record(self, record: OrderRecord, key: str | None = None) -> None:
        """Write down the intent to send an order; inside `writing()`. It leaves only after the commit."""
        taken = self._book.orders.get(record.client_order_id)
        if taken is None and not is_fresh(record.client_order_id):
            taken = self.find_ours(record.client_order_id)
        if taken is not None:
            raise Refused("DUPLICATE_ORDER", f"client_order_id {record.client_order_id!r} was used before")
        self._insert(record, key)
        _in_flight.add(record.client_order_id)

    def settle(self, record: OrderRecord, answer: Envelope) -> None:
        """Write down what a send led to; inside `writing()`."""
        _in_flight.discard(record.client_order_id)
        if answer["success"]:
            self.apply(record, answer["data"], "send")
            if record.filled and not answer["data"].get("fills"):
                self._lacking_fills.add(record.client_order_id)
        else:
            self._settle_failure(record, answer)

    def _settle_failure(self, record: OrderRecord, answer: Envelope) -> None:
        data = answer["data"]
        status = "unknown" if data["outcome"] == "unknown" else "rejected"
        self._renew(record)
        if record.status not in _UNSETTLED:
            # Somebody else asked the venue meanwhile, and it has the order.
            facts = {"client_order_id": record.client_order_id, "is": record.status}
            self.journal.note(
                "refused", {**facts, "seen": {"status": status, "error": data["error"], "source": "send"}}
            )
            return
        self._change(record, status, "send", outcome=data["outcome"], error=data["error"], message=answer["message"])

    def journal_resend(self, record: OrderRecord) -> bool:
        """Write down that this process sends an order which provably never arrived again, under the same id.

        False where it may not: somebody else is sending it, or knows by now what became of it.
        """
        words = "sent again: the venue never received it"
        with self.writing():
            self._renew(record)
            if record.status not in _UNSETTLED or (record.status == "pending" and not self._is_orphan(record)):
                return False
            _in_flight.add(record.client_order_id)
            self._change(record, "pending", "resend", message=words, owner=process.me())
            self.journal.project()
            self.journal.set_owner(record.rid, process.me())
        return True

    def abandon(self, records: Iterable[OrderRecord]) -> None:
        """Leave orders whose outcome could not be written down to whoever recovers next."""
        self.has_abandoned = True
        for record in records:
            _in_flight.discard(record.client_order_id)

    def apply(self, record: OrderRecord, order: Mapping[str, Any], source: str) -> bool:
        """Bring a record up to what the venue reports; inside `writing()`. False where the change is illegal.

        `filled` never shrinks, an ended order never comes back to life, fills are kept once by trade id.
        """
        self._renew(record)
        status = order["status"]
        filled = exact(order["filled"]) if order["filled"] else ZERO
        same = status == record.status and filled == record.filled and bool(record.order_id or not order["order_id"])
        if same and not _is_corrected(record, order):
            return True
        written_off = record.status == "rejected" and record.outcome == "not_sent"
        if not same and (filled < record.filled or not (written_off or is_legal(record.status, status))):
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

    # -- asking the venue

    def refresh(self, record: OrderRecord, *, final: bool = True) -> Envelope:
        """Ask the venue about one order and write down the answer.

        Args:
            final: whether an order that provably never arrived is written off now; False leaves it to be sent again.
                Not written off: an order of a signal key without a result, which waits a day for that key to come
                again, and one that protects an entry, which the executor sends.
        """
        arguments: dict[str, Any] = {"client_order_id": record.client_order_id}
        if record.order_id:
            arguments = {"order_id": record.order_id}
        answer = registry.call(record.exchange, "get_order_status", record.symbol, **arguments)
        fills = self.ask_fills(record, answer["data"]) if answer["success"] else []
        final = final and not answer["success"] and not record.parent and not self.is_waiting(record)
        with self.writing():
            if answer["success"]:
                self.apply(record, answer["data"], "sync")
                self.keep_fills(record, fills)
            elif final and self.is_absent(record, answer):
                self._change(record, "rejected", "resolve", outcome="not_sent", message="the venue never received it")
                return ok(public(record), "the venue never received it")
        return answer

    @staticmethod
    def is_late(record: OrderRecord) -> bool:
        """Tell whether an order is past its time."""
        return bool(record.deadline) and clock.now() >= record.deadline

    def is_waiting(self, record: OrderRecord) -> bool:
        """Tell whether an order waits for its signal key to come again: without a result, less than a day old."""
        if self.is_late(record) or clock.now() - record.created > _KEY_PATIENCE:
            return False
        key = self.key_of(record)
        row = self.journal.signal(key) if key else None
        return row is not None and row.answer is None

    def keep_fills(self, record: OrderRecord, fills: list[tuple[Any, ...]]) -> None:
        """Write down executions that the book does not have; inside `writing()`."""
        known = {row.trade_id for row in self.journal.fills("WHERE rid = ?", (record.rid,))} if fills else set()
        new = [fill for fill in fills if fill[0] not in known]
        if new:
            self.journal.change(record, "fills", {"client_order_id": record.client_order_id, "fills": new})

    def ask_fills(self, record: OrderRecord, order: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        """Ask the venue for the executions of an order whose status came without them."""
        if "fills" in order or not order["filled"]:
            return []
        order_id = record.order_id or order["order_id"]
        found = registry.call(record.exchange, "get_fills", record.symbol, order_id=order_id)
        return [fill_facts(fill) for fill in found["data"]] if found["success"] else []

    def is_absent(self, record: OrderRecord, answer: Envelope) -> bool:
        """Tell whether "no such order" proves that it never arrived: no id, nobody sending it, and past the grace time.

        The venue's grace time counts from the last thing that is known: the last send, or the end of its time-out.
        """
        if (
            answer["data"]["error"] != "ORDER_NOT_FOUND"
            or record.order_id
            or record.status not in _UNSETTLED
            or (record.status == "pending" and not self._is_orphan(record))
        ):
            return False
        return clock.now() - record.updated >= registry.find(record.exchange)[0].absence_grace

    def sync(self, exchange_name: str | None = None) -> list[dict[str, Any]]:
        """Bring every open order up to date with its venue; answer those that changed."""
        changed = []
        name = registry.canonical(exchange_name) if exchange_name else None
        self._fetch_lacking_fills()
        for venue in sorted({record.exchange for record in self.open_records(name)}):
            changed += self._sync_venue(venue)
        return changed

    def _fetch_lacking_fills(self) -> None:
        """Ask for the executions of orders that ended with their send, where the answer did not carry them."""
        for client_order_id in list(self._lacking_fills):
            record = self.find_ours(client_order_id)
            fills = self.ask_fills(record, {"filled": record.filled, "order_id": record.order_id}) if record else []
            if record is None or fills:
                self._lacking_fills.discard(client_order_id)
            if record is not None and fills:
                body = {"client_order_id": client_order_id, "fills": fills}
                with self.writing():
                    self.journal.change(record, "fills", body)

    def _sync_venue(self, name: str) -> list[dict[str, Any]]:
        answer = registry.call(name, "get_open_orders")
        if not answer["success"]:
            log.warning(f"open orders of {name} cannot be read: {answer['message']}")
            return []
        live = {order["client_order_id"]: order for order in answer["data"]}
        by_id = {order["order_id"]: order for order in answer["data"]}
        changed = []
        for record in self.open_records(name):
            if record.status == "pending" and not self._is_orphan(record):
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
        return [r for r in records if r.status == "unknown" or (r.status == "pending" and self._is_orphan(r))]

    def unprotected(self) -> list[OrderRecord]:
        """Answer entries that filled with nothing recorded to protect them, though they were given a stop or a target.

        That is what is left where the process that learned of the fill died, or was not an executor's. Only the newest
        orders are looked at, as the table has them.
        """
        lacks = (
            "(instr(CAST(options AS TEXT), '\"{}\":') AND NOT EXISTS "
            "(SELECT 1 FROM orders child WHERE child.client_order_id = orders.client_order_id || '{}0'))"
        )
        where = " OR ".join(lacks.format(word, kind[0]) for word, kind in PROTECTION)
        found = self.journal.orders(f"WHERE rid > ? AND filled != '0' AND ({where})", (self._last_rid - _RECENT,))
        return [self._live(record) for record in found if not self._is_anothers(record)]

    def _is_orphan(self, record: OrderRecord) -> bool:
        """Tell whether nobody alive is sending an order that is recorded and has no outcome."""
        if record.client_order_id in _in_flight:
            return False
        return not self._is_anothers(record)

    def _is_anothers(self, record: OrderRecord) -> bool:
        """Tell whether the process that recorded an order is another one and alive."""
        owner = self.journal.owner_of(record.rid)
        return owner != process.me() and process.alive(owner)

    def _select(self, where: str, parameters: tuple[Any, ...]) -> list[dict[str, Any]]:
        self.journal.project()
        return [public(self._live(record)) for record in self.journal.orders(f"WHERE {where}", parameters)]


def _is_corrected(record: OrderRecord, order: Mapping[str, Any]) -> bool:
    """Tell whether a venue has found out a fee or an average price of an order that is otherwise as we know it."""
    fee, average = order["fee"], order["average_price"]
    return bool(fee and fee != float(record.fee)) or bool(average and average != float(record.average_price or 0))


def filled_late(record: OrderRecord, order: Mapping[str, Any]) -> Decimal | None:
    """Answer the larger filled amount that a venue reports for an order whose end we know already, else None."""
    filled = exact(order["filled"])
    if record.status in ("cancelled", "expired") and filled > record.filled:
        return filled
    return None


@cache
def default_manager() -> OrderManager:
    """Answer the order manager of this process's settings; it is closed when the process ends."""
    manager = OrderManager()
    atexit.register(manager.close)
    return manager


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
    wrong += [_wrong_text(info[key], key) for key in ("order_id", "client_order_id", "strategy") if info.get(key)]
    wrong = list(filter(None, wrong))
    if wrong:
        raise Refused("INVALID_ORDER", "; ".join(wrong))
    name = registry.canonical(info["exchange"])
    order_id = str(info.get("order_id") or "")
    now = clock.now()
    price, stop, average = (info.get(field) for field in ("price", "stop_price", "average_price"))
    amount = positive(info["amount"], "amount")
    filled = positive(info["filled"], "filled") if info.get("filled") else ZERO
    if filled > amount:
        raise Refused("INVALID_ORDER", f"filled {filled} is more than amount {amount}")
    return OrderRecord(
        client_order_id=str(info.get("client_order_id") or f"{name}/{order_id}"),
        exchange=name,
        symbol=registry.symbol_of(name, info["symbol"]),
        side=info["side"],
        type=info["type"],
        amount=amount,
        price=None if price is None else positive(price, "price"),
        stop_price=None if stop is None else positive(stop, "stop_price"),
        terms=terms_of("GTC", False, bool(info.get("reduce_only"))),
        status=info.get("status", "open"),
        order_id=order_id,
        filled=filled,
        average_price=None if average is None else positive(average, "average_price"),
        created=float(positive(info["timestamp"], "timestamp")) if info.get("timestamp") else now,
        updated=now,
        strategy=str(info.get("strategy") or ""),
    )


def _wrong_text(value: object, name: str) -> str:
    """Name what is wrong with a text that the store shall keep; "" where nothing is."""
    text = str(value)
    return "" if text.isprintable() and len(text) <= 200 else f"{name} must be printable text, not {value!r:.80}"
