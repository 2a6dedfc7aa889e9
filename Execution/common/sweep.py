"""Cancel one order, or all, and prove it by reading back. The venue is asked through `call` (the registry's guard)."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

from Execution.common.types import OPEN_STATUSES, CancelFailure, Envelope, Order

Call = Callable[..., Envelope]
T = TypeVar("T")

_PASSING = frozenset(("BAD_RESPONSE", "CLOCK_SKEW", "RATE_LIMITED", "TIMEOUT", "VENUE_DOWN"))
_UNANSWERED = frozenset((*_PASSING, "ORDER_NOT_FOUND", "VENUE_REJECTED"))
_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 1.0


def cancel_one(
    call: Call, exchange: str, symbol: str, order_id: str | None, client_order_id: str | None
) -> tuple[str, Order | None, Envelope]:
    """Cancel an order by the venue's id or ours.

    Returns:
        (state, the Order where known, the venue's answer). state: cancelled, filled, already_done, not_found, unknown.
    """
    order: Order | None = None
    for attempt in range(2):
        if attempt:
            time.sleep(2 * _FIRST_PAUSE)
        ids, answer = _cancel(call, exchange, symbol, order_id, client_order_id)
        error = "" if answer["success"] else answer["data"]["error"]
        if not error and answer["data"]["status"] not in OPEN_STATUSES:
            return _end_of(answer["data"], "cancelled"), answer["data"], answer
        if error and error not in _UNANSWERED:
            break
        read = call(exchange, "get_order_status", symbol, **ids)
        if read["success"]:
            order = read["data"]
            if read["data"]["status"] not in OPEN_STATUSES:
                return (
                    _end_of(read["data"], "already_done" if error == "ORDER_NOT_FOUND" else "cancelled"),
                    order,
                    answer,
                )
        elif error == "ORDER_NOT_FOUND" == read["data"]["error"]:
            return "not_found", None, answer
        # A cancel may be repeated freely, and is the only way to learn more about one that got lost.
    return "unknown", order, answer


def _cancel(
    call: Call, exchange: str, symbol: str, order_id: str | None, client_order_id: str | None
) -> tuple[dict[str, Any], Envelope]:
    """Cancel; an id that the venue does not know may be one of ours."""
    ids: dict[str, Any] = {"client_order_id": client_order_id} if client_order_id else {"order_id": order_id}
    answer = call(exchange, "cancel_order", symbol, **ids)
    if client_order_id or answer["success"] or answer["data"]["error"] not in ("ORDER_NOT_FOUND", "INVALID_ORDER"):
        return ids, answer
    # Digits are a venue's id: taken for one of ours, they could name another order.
    if order_id is None or order_id.isdigit():
        return ids, answer
    ours = {"client_order_id": order_id}
    second = call(exchange, "cancel_order", symbol, **ours)
    if second["success"]:
        return ours, second
    known = call(exchange, "get_order_status", symbol, **ours)
    return (ours, second) if known["success"] else (ids, answer)


def _end_of(order: Order, otherwise: str) -> str:
    if order["status"] == "filled":
        return "filled"
    return otherwise if order["status"] == "cancelled" else "already_done"


class Sweep:
    """What cancelling everything led to. `proven`: a read after the last cancel showed nothing open."""

    def __init__(self) -> None:
        self.cancelled: dict[str, None] = {}
        self.seen: dict[str, None] = {}
        self.failed: dict[str, CancelFailure] = {}
        self.left: list[Order] = []
        self.proven = False
        self.attempts = 0
        self.trouble: Envelope | None = None

    def data(self) -> dict[str, Any]:
        """Answer it as a public dict; `gone`: ended while we cancelled, but not by us (filled, mostly)."""
        # An order that is open at the last look was not cancelled, whatever an answer said.
        open_ids = {order["order_id"] for order in self.left}
        cancelled = [key for key in self.cancelled if key not in open_ids]
        failed = [] if self.proven else [fault for key, fault in self.failed.items() if key not in cancelled]
        gone = [key for key in self.seen if key not in self.cancelled] if self.proven else []
        return {
            "cancelled": cancelled,
            "left": self.left,
            "proven_empty": self.proven,
            "attempts": self.attempts,
            "failed": failed,
            "gone": gone,
        }


def sweep(call: Call, exchange: str, symbol: str | None, until: float) -> Sweep:
    """Cancel all, read back, cancel one by one what is left, until a read shows nothing or `until` has passed.

    Args:
        symbol: None = every symbol.
        until: on time.monotonic(); a cancel-all and a read are always made.
    """
    result = Sweep()
    while True:
        result.attempts += 1
        answer = call(exchange, "cancel_all_orders", symbol)
        _take(result, answer)
        read = _read(call, exchange, symbol, result)
        if result.left:
            _one_by_one(call, exchange, result, until)
            read = _read(call, exchange, symbol, result)
        result.trouble = next((a for a in (read, answer) if not a["success"]), None)
        if result.proven or (not read["success"] and read["data"]["error"] not in _PASSING):
            return result
        pause = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2.0 ** (result.attempts - 1))
        if time.monotonic() + pause >= until:
            return result
        time.sleep(pause)


def _take(result: Sweep, answer: Envelope) -> None:
    """Note which orders a cancel-all reports as cancelled or not; a failed one may carry the report too."""
    report = answer["data"] if isinstance(answer["data"], dict) else {}
    result.cancelled.update(dict.fromkeys(map(str, report.get("cancelled") or ())))
    for failure in report.get("failed") or ():
        result.failed[failure["order_id"]] = failure
        result.seen[failure["order_id"]] = None


def _read(call: Call, exchange: str, symbol: str | None, result: Sweep) -> Envelope:
    answer = call(exchange, "get_open_orders", symbol)
    if answer["success"]:
        result.left = list(answer["data"])
        result.seen.update(dict.fromkeys(order["order_id"] for order in result.left))
    result.proven = bool(answer["success"]) and not result.left
    return answer


def _one_by_one(call: Call, exchange: str, result: Sweep, until: float) -> None:
    for order in result.left:
        if time.monotonic() >= until:
            return
        answer = call(exchange, "cancel_order", order["symbol"], order_id=order["order_id"])
        if answer["success"]:
            if answer["data"]["status"] != "filled":
                result.cancelled[order["order_id"]] = None
        else:
            result.failed[order["order_id"]] = {
                "order_id": order["order_id"],
                "symbol": order["symbol"],
                "error": answer["data"]["error"],
                "message": answer["message"],
            }


def side_by_side(names: Sequence[str], work: Callable[[str], T], until: float) -> dict[str, T | Exception | None]:
    """Work on each name in a thread of its own, until `until` on time.monotonic().

    Returns:
        For each name what `work` answered or raised; None where it had not come back. A thread that hangs holds up
        neither this call nor the end of the process.
    """
    done: SimpleQueue[tuple[str, T | Exception]] = SimpleQueue()

    def run(name: str) -> None:
        try:
            done.put((name, work(name)))
        except Exception as error:  # noqa: BLE001  # one name's fault must not become everybody's
            done.put((name, error))

    for name in names:
        threading.Thread(target=run, args=(name,), name=f"cancel-{name}", daemon=True).start()
    answers: dict[str, T | Exception | None] = dict.fromkeys(names)
    for _ in names:
        try:
            name, answer = done.get(timeout=max(0.0, until - time.monotonic()))
        except Empty:
            break
        answers[name] = answer
    return answers
