"""Stops and profit targets that protect an entry: as large as what it has filled, placed once.

A protective order's client_order_id is that of its entry, a letter for its kind and a count. It is recorded in the same
commit as the fill that it protects where the executor sent the entry, so that a process that dies in between leaves it
to be sent by the next one.
"""

from __future__ import annotations

from decimal import Decimal

from Execution import registry
from Execution.common.envelope import failure
from Execution.common.errors import ExecutionError
from Execution.common.order import PROTECTION, ZERO, OrderRecord
from Execution.common.symbols import is_swap
from Execution.common.types import Envelope
from Execution.drafts import Draft, prepare
from Execution.order_manager import OrderManager
from Execution.order_sender import dispatch
from Execution.signals.answers import reply_of

_PASSING = frozenset(("CLOCK_SKEW", "RATE_LIMITED", "STORE_FAILED", "TIMEOUT", "VENUE_DOWN"))
_WORDS = frozenset(word for word, _ in PROTECTION)
Protection = tuple[list[OrderRecord], list[Envelope]]


def wants_protection(entry: OrderRecord) -> bool:
    """Tell whether an order was given a stop or a profit target."""
    options = entry.options
    return options is not None and not _WORDS.isdisjoint(options)


def record_protection(orders: OrderManager, entry: OrderRecord) -> Protection:
    """Record what protects what an entry filled; inside `writing()`. Answers the orders to send, and refusals."""
    recorded: list[OrderRecord] = []
    refused: list[Envelope] = []
    for word, kind in PROTECTION:
        if entry.options and word in entry.options and entry.filled:
            try:
                order = _next_order(orders, entry, word, kind)
                if order is not None:
                    orders.record(order)
                    recorded.append(order)
            except ExecutionError as error:
                refused.append(failure(error))
    return recorded, refused


def send_protection(orders: OrderManager, protection: Protection) -> list[Envelope]:
    """Send protective orders that are recorded; answers each, refusals included."""
    recorded, refused = protection
    return [*(dispatch(orders, recorded) if recorded else []), *refused]


def protect(orders: OrderManager, entry: OrderRecord) -> list[Envelope]:
    """Place what protects the part of an entry that filled since it was last protected."""
    try:
        registry.rules(entry.exchange, entry.symbol)  # asked now, and not while the store is held
        with orders.writing():
            protection = record_protection(orders, entry)
    except ExecutionError as error:
        return [failure(error)]
    return send_protection(orders, protection)


def standing(orders: OrderManager, entry: OrderRecord) -> list[Envelope]:
    """Answer the protective orders that an entry has, each as its send was answered."""
    children = [child for _, kind in PROTECTION for child in _children(orders, entry, kind)]
    return [reply_of(child) for child in children if child.status != "rejected"]


def remark_on(entry: OrderRecord, placed: list[Envelope]) -> str:
    """Say plainly what is not protected."""
    failed = [answer["message"] for answer in placed if not answer["success"]]
    if failed:
        return "NOT PROTECTED: " + "; ".join(failed)
    if entry.is_open:
        return "stop_loss and take_profit are placed as it fills, by run() or the next call of sync()"
    return ""


def is_passing(answer: Envelope) -> bool:
    """Tell whether protection failed for a reason that may be gone when it is tried again."""
    return not answer["success"] and answer["data"]["outcome"] == "not_sent" and answer["data"]["error"] in _PASSING


def is_lost(record: OrderRecord) -> bool:
    """Tell whether a protective order provably never arrived."""
    return bool(record.parent) and record.status == "rejected" and record.outcome == "not_sent"


def _next_order(orders: OrderManager, entry: OrderRecord, word: str, kind: str) -> OrderRecord | None:
    children = _children(orders, entry, kind)
    covered = sum((child.amount for child in children if child.status != "rejected"), ZERO)
    swap = is_swap(entry.symbol)
    amount = (entry.filled if swap else _held(entry)) - covered
    if amount <= 0:
        return None
    draft = Draft(
        symbol=entry.symbol,
        side="sell" if entry.side == "buy" else "buy",
        type=kind,
        amount=amount,
        stop_price=entry.options[word] if entry.options else None,
        client_order_id=f"{entry.client_order_id}{kind[0]}{len(children)}",
        reduce_only=swap,
        strategy=entry.strategy,
        extra={"parent": entry.client_order_id},
    )
    return prepare(entry.exchange, draft)


def _children(orders: OrderManager, entry: OrderRecord, kind: str) -> list[OrderRecord]:
    """Answer the orders of one kind that protect an entry, oldest first."""
    children: list[OrderRecord] = []
    while child := orders.find_ours(f"{entry.client_order_id}{kind[0]}{len(children)}"):
        children.append(child)
    return children


def _held(entry: OrderRecord) -> Decimal:
    # A spot fee taken in base leaves less than was bought.
    base = entry.symbol.partition("-")[0]
    return entry.filled - entry.fee if entry.fee_currency == base else entry.filled
