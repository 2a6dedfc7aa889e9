"""An order of our book: what was asked, what became of it, and which changes of state are legal."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec

from Execution.common.precision import OURS
from Execution.common.types import FINAL_STATUSES, OPEN_STATUSES

ZERO = Decimal(0)
PROTECTION = (("stop_loss", "stop"), ("take_profit", "take_profit"))
"""What an entry may be given, and the type of the order that it becomes."""

TRANSITIONS: dict[str, frozenset[str]] = {
    "pending": frozenset(("open", "partially_filled", "filled", "cancelled", "rejected", "expired", "unknown")),
    "unknown": frozenset(("pending", "open", "partially_filled", "filled", "cancelled", "rejected", "expired")),
    "open": frozenset(("open", "partially_filled", "filled", "cancelled", "rejected", "expired")),
    "partially_filled": frozenset(("partially_filled", "filled", "cancelled", "expired")),
    # A fill that the venue reports after the end is booked; the end itself never becomes an open order again.
    "cancelled": frozenset(("filled",)),
    "expired": frozenset(("filled",)),
    "filled": frozenset(),
    "rejected": frozenset(),
}


class OrderRecord(msgspec.Struct, gc=False, kw_only=True, omit_defaults=True):
    """One order. Amounts in base units, exact; times float seconds UTC.

    `terms` joins time_in_force and the words post_only and reduce_only, as in "GTC,reduce_only".
    `outcome` is "" while the order is alive or ended well, else not_sent, rejected or unknown.
    """

    rid: int = 0
    client_order_id: str
    exchange: str
    symbol: str
    side: str
    type: str
    amount: Decimal
    price: Decimal | None = None
    stop_price: Decimal | None = None
    terms: str = "GTC"
    status: str = "pending"
    order_id: str = ""
    filled: Decimal = ZERO
    average_price: Decimal | None = None
    fee: Decimal = ZERO
    fee_currency: str = ""
    created: float = 0.0
    updated: float = 0.0
    deadline: float = 0.0
    strategy: str = ""
    outcome: str = ""
    options: dict[str, Any] | None = None

    @property
    def is_open(self) -> bool:
        """Whether it may still fill."""
        return self.status in OPEN_STATUSES

    @property
    def remaining(self) -> Decimal:
        """What is not filled yet."""
        return self.amount - self.filled

    @property
    def parent(self) -> str:
        """The client_order_id of the entry that it protects, "" where it protects none."""
        return str(self.options.get("parent", "")) if self.options else ""

    @property
    def reduce_only(self) -> bool:
        """Whether it can only shrink a position."""
        return "reduce_only" in self.terms

    @property
    def post_only(self) -> bool:
        """Whether it may only rest."""
        return "post_only" in self.terms

    @property
    def time_in_force(self) -> str:
        """GTC, IOC or FOK."""
        return self.terms[:3]


def terms_of(time_in_force: str, post_only: bool, reduce_only: bool) -> str:
    """Answer the terms of an order as one word, the same object for the same terms."""
    return _TERMS[time_in_force, post_only, reduce_only]


_TERMS = {
    (tif, post, reduce): ",".join([tif, *(["post_only"] if post else []), *(["reduce_only"] if reduce else [])])
    for tif in ("GTC", "IOC", "FOK")
    for post in (False, True)
    for reduce in (False, True)
}


def is_legal(before: str, after: str) -> bool:
    """Tell whether an order may change from one status to another."""
    return after in TRANSITIONS[before] or (before == after and before not in FINAL_STATUSES)


def public(record: OrderRecord) -> dict[str, Any]:
    """Answer the record as a public dict: an Order, with what our book adds."""
    price = record.price
    stop = record.stop_price
    average = record.average_price
    return {
        "order_id": record.order_id,
        "client_order_id": record.client_order_id,
        "exchange": record.exchange,
        "symbol": record.symbol,
        "side": record.side,
        "type": record.type,
        "amount": float(record.amount),
        "price": None if price is None else float(price),
        "stop_price": None if stop is None else float(stop),
        "status": record.status,
        "filled": float(record.filled),
        "remaining": float(OURS.subtract(record.amount, record.filled)),
        "average_price": None if average is None else float(average),
        "fee": float(record.fee),
        "fee_currency": record.fee_currency,
        "time_in_force": record.terms[:3],
        "post_only": "post_only" in record.terms,
        "reduce_only": "reduce_only" in record.terms,
        "timestamp": record.created,
        "updated": record.updated,
        "deadline": record.deadline or None,
        "strategy": record.strategy,
        "outcome": record.outcome,
    }
