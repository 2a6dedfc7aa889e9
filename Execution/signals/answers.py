"""What the caller of a signal gets."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from Execution.common.envelope import fail, ok
from Execution.common.errors import Outcome
from Execution.common.order import OrderRecord, public
from Execution.common.risk import Verdict
from Execution.common.types import Envelope

STATE_STALE = "STATE_STALE"
"""The verdict that asks for a new look at the account before the order is judged again."""


def answer_of(
    records: Sequence[OrderRecord],
    replies: Sequence[Envelope],
    timing: dict[str, float],
    verdict: Verdict | None,
    remark: str = "",
) -> Envelope:
    """Answer a signal from the answers of its orders: success where all of them are."""
    bad = next((reply for reply in replies if not reply["success"]), None)
    first = bad or replies[0]
    orders = [_order_of(record, reply) for record, reply in zip(records, replies, strict=False) if record.rid]
    data: dict[str, Any] = {
        **(first["data"] if bad else {}),
        "order": orders[0] if orders else None,
        "orders": orders,
        "order_id": orders[0]["order_id"] if orders else "",
        "client_order_id": orders[0]["client_order_id"] if orders else "",
        "status": orders[0]["status"] if orders else "rejected" if bad else "none",
        "risk": verdict.to_dict() if verdict else None,
        "timing": timing,
    }
    message = first["message"]
    if remark:
        message = f"{message}; {remark}" if message else remark
    return {"success": bad is None, "data": data, "message": message}


def _order_of(record: OrderRecord, reply: Envelope) -> dict[str, Any]:
    """Answer the public order of a record, the one that its reply holds already where it does."""
    data: dict[str, Any] = reply["data"]
    return data if reply["success"] and "client_order_id" in data else public(record)


def denied(verdict: Verdict) -> Envelope:
    """Answer an order that risk denies."""
    facts = verdict.to_dict()
    more = {"rule": verdict.code, "numbers": facts["numbers"], "risk": facts}
    return fail("RISK_DENIED", verdict.reason, "not_sent", **more)


def reply_of(record: OrderRecord) -> Envelope:
    """Answer a record as its send would have been answered."""
    if record.status in ("unknown", "pending"):
        return fail("TIMEOUT", "its outcome is not known yet", "unknown")
    if record.outcome in ("", "unknown") or record.filled:
        return ok(public(record))
    outcome: Outcome = "rejected" if record.outcome == "rejected" else "not_sent"
    words = "the venue refused it" if outcome == "rejected" else "it never reached the venue"
    return fail("VENUE_REJECTED" if outcome == "rejected" else "TIMEOUT", words, outcome)


def is_open_question(answer: Envelope) -> bool:
    """Tell whether the outcome is unknown, so that the same key must ask again."""
    return not answer["success"] and answer["data"].get("outcome") == "unknown"


_STEPS = ("check", "record", "send")


def timing_of(marks: Sequence[float]) -> dict[str, float]:
    """Name the seconds between the marks: check, record, send; `total` runs until now."""
    timing = {_STEPS[i]: marks[i + 1] - marks[i] for i in range(len(marks) - 1)}
    timing["total"] = time.perf_counter() - marks[0]
    return timing
