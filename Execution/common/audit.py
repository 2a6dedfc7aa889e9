"""Whether the store still says what was written: the chain of events, and the tables that must follow from it.

Everything is read inside one snapshot, so others may go on writing. A row of a table that was changed by hand shows,
as does an event that was changed, taken out or put in, and an end of the chain that was cut off after the tables
had taken it in.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgspec

from Execution.common.envelope import ok
from Execution.common.journal import Event, Journal, decode_event, decode_intent
from Execution.common.journal_rows import FIELDS, FillRow, columns_of
from Execution.common.ledger import advance
from Execution.common.order import OrderRecord
from Execution.common.types import Envelope

_NAMES = [*FIELDS.split(", "), "owner", "key"]


class _Broken(Exception):
    """The first row that cannot be right."""

    def __init__(self, table: str, row: Any, problem: str) -> None:
        super().__init__(problem)
        self.facts = {"table": table, "row": row, "problem": problem}


class Verification:
    """One reading of a store from its beginning."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._orders: dict[int, tuple[OrderRecord, str, str | None]] = {}
        self._fills: dict[tuple[str, int], FillRow] = {}
        # A row may be ahead of `projected`: an order is taken into the table as it is, not as it was.
        self._ahead: dict[int, OrderRecord] = {}
        self._states: dict[int, list[tuple[Any, ...]]] = {}
        self._later_fills: dict[tuple[str, int], FillRow] = {}
        self.events = self.orders = 0

    def run(self) -> Envelope:
        """Answer {"events", "orders", "fills", "head", "tables_at", "broken": None or {"table", "row", "problem"}}."""
        head, projected, broken = "", 0, None
        with _snapshot(self._journal):
            try:
                projected = self._journal.projected()
                head = self._read_events(projected)
                self._compare_orders()
                self._compare_fills()
            except _Broken as found:
                broken = found.facts
        data = {
            "events": self.events,
            "orders": self.orders,
            "fills": len(self._fills),
            "head": head,
            "tables_at": projected,
            "broken": broken,
        }
        if broken is None:
            return ok(data)
        words = f"{broken['table']}, row {broken['row']}: {broken['problem']}"
        return {"success": False, "data": data, "message": words}

    def _read_events(self, projected: int) -> str:
        head = ""
        for event, problem in self._journal.chain():
            if problem:
                raise _Broken("events", event.seq, problem)
            self.events, head = event.seq, event.hash.hex()
            self.orders += event.kind == "intent"
            if event.seq <= projected:
                self._follow(event)
            else:
                self._look_ahead(event)
        if self.events < projected:
            words = f"the chain ends at {self.events}, but the tables hold what was written up to {projected}"
            raise _Broken("events", self.events + 1, words)
        return head

    def _follow(self, event: Event) -> None:
        if event.kind == "intent":
            self._orders[event.rid] = decode_intent(event)
        elif event.rid:
            if event.rid not in self._orders:
                raise _Broken("events", event.seq, f"it tells of order {event.rid}, which was never recorded")
            order, owner, key = self._orders[event.rid]
            body = _advance(order, event, self._fills)
            self._orders[event.rid] = order, body.get("owner", owner), key

    def _look_ahead(self, event: Event) -> None:
        if event.kind == "intent":
            self._ahead[event.rid] = decode_intent(event)[0]
        elif event.rid:
            order = self._ahead.get(event.rid)
            if order is None:
                if event.rid not in self._orders:
                    raise _Broken("events", event.seq, f"it tells of order {event.rid}, which was never recorded")
                order = self._ahead[event.rid] = msgspec.structs.replace(self._orders[event.rid][0])
            _advance(order, event, self._later_fills)
            self._states.setdefault(event.rid, []).append(columns_of(order))

    def _compare_orders(self) -> None:
        stored = {order.rid: order for order in self._journal.orders()}
        owners = {row[0]: row[1:] for row in self._journal.database.read("SELECT rid, owner, key FROM orders")}
        for rid, (order, owner, key) in self._orders.items():
            if rid not in stored:
                raise _Broken("orders", rid, f"the row is missing ({order.client_order_id})")
            columns = columns_of(stored.pop(rid))
            found = (*columns, *owners[rid])
            if columns in self._states.get(rid, ()) and owners[rid] == (owner, key):
                continue
            _compare("orders", rid, _NAMES, (*columns_of(order), owner, key), found)
        if stored:
            raise _Broken("orders", next(iter(stored)), "no event tells of it")

    def _compare_fills(self) -> None:
        rows = map(FillRow._make, self._journal.database.read("SELECT * FROM fills"))
        stored = {row[2:4]: row for row in rows}
        for name, row in self._fills.items():
            if name not in stored:
                raise _Broken("fills", row.trade_id, "the row is missing")
            _compare("fills", row.trade_id, list(FillRow._fields), row, stored.pop(name))
        for name, row in self._later_fills.items():
            if name in stored:
                _compare("fills", row.trade_id, list(FillRow._fields), row, stored.pop(name))
        if stored:
            raise _Broken("fills", next(iter(stored))[0], "no event tells of it")


def _advance(order: OrderRecord, event: Event, fills: dict[tuple[str, int], FillRow]) -> dict[str, Any]:
    body = decode_event(event)
    advance(order, event, body)
    for fill in body.get("fills", ()):
        row = FillRow(order.exchange, order.symbol, fill[0], order.rid, *fill[1:])
        fills.setdefault(row[2:4], row)
    return body


def _compare(table: str, row: Any, names: list[str], expected: tuple[Any, ...], found: tuple[Any, ...]) -> None:
    for name, told, stands in zip(names, expected, found, strict=True):
        if told != stands:
            raise _Broken(table, row, f"{name} is {stands!r:.60}, the events say {told!r:.60}")


@contextmanager
def _snapshot(journal: Journal) -> Iterator[None]:
    connection = journal.database.connection
    connection.execute("BEGIN")
    try:
        yield
    finally:
        connection.execute("ROLLBACK")
