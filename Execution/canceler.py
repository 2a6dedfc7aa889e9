"""Cancelling: one order, several, all of a symbol, all of a venue, all of every venue; and the proof that none is left.

Nothing here needs the store. Our book is told afterwards where there is one; a book that cannot be written neither
fails nor holds up a cancel.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from Execution import registry
from Execution.common import log, settings
from Execution.common.envelope import fail, failure
from Execution.common.errors import ExecutionError, Refused
from Execution.common.store import on_fork
from Execution.common.sweep import Sweep, cancel_one, side_by_side, sweep
from Execution.common.types import Envelope, Order
from Execution.order_manager import OrderManager, default_manager

_TELL_SECONDS = 1.0
_REMARKS = {
    "cancelled": "",
    "already_done": "it had ended before",
    "filled": "it was filled before it could be cancelled",
    "not_found": "the venue knows no such order",
    "unknown": "what became of it is not known",
}


def cancel_order(
    exchange_name: str, symbol: str, order_id: str | None = None, *, client_order_id: str | None = None
) -> dict[str, Any]:
    """Cancel one order, plain or conditional, and say what became of it.

    Args:
        order_id: the venue's id; ours is understood too.

    Returns:
        {"success", "order_id", "message", "data"}. data: "state", and the fields of the Order where it is known, and
        of the Failure where there is one. state: cancelled, already_done (it had ended before; both are success),
        filled, not_found, unknown.
    """
    answer = _cancel(exchange_name, symbol, order_id, client_order_id)
    if "status" in answer["data"]:
        _tell({registry.canonical(exchange_name): [answer["data"]]})
    return answer


def _cancel(exchange_name: str, symbol: str, order_id: Any, client_order_id: Any = None) -> dict[str, Any]:
    asked = str(order_id or client_order_id or "")
    try:
        name = registry.canonical(exchange_name)
        if not asked:
            raise Refused("INVALID_ORDER", "cancelling needs an order_id or a client_order_id")
        unified = registry.symbol_of(name, symbol)
        state, order, answer = cancel_one(
            registry.call, name, unified, str(order_id) if order_id else None, client_order_id
        )
    except ExecutionError as error:
        state, order, answer = "unknown", None, failure(error)
    success = state in ("cancelled", "already_done")
    trouble = {} if success or answer["success"] else answer["data"]
    words = ["" if trouble.get("outcome") == "not_sent" else _REMARKS[state], answer["message"] if trouble else ""]
    return {
        "success": success,
        "order_id": asked,
        "message": ": ".join(filter(None, words)),
        "data": {**(order or {}), **trouble, "state": state},
    }


def cancel_orders(exchange_name: str, orders: Iterable[Any], *, symbol: str | None = None) -> dict[str, Any]:
    """Cancel several orders of one venue.

    Args:
        orders: ids, pairs (symbol, id), or dicts with symbol and order_id or client_order_id (as place_order answers).
        symbol: of the plain ids; None looks it up among the venue's open orders.

    Returns:
        {"success", "cancelled_count", "message", "data": {"results": [answers of cancel_order], "cancelled", "failed"}}
    """
    if isinstance(orders, (str, Mapping)):
        orders = [orders]  # one id is not the list of its characters
    wanted = [_wanted(item, symbol) for item in orders]
    listed = {} if all(item["symbol"] for item in wanted) else _listed(exchange_name)
    results = []
    for item in wanted:
        found = [item["symbol"]] if item["symbol"] else listed.get(item["order_id"] or item["client_order_id"], [])
        if len(found) == 1:
            results.append(_cancel(exchange_name, found[0], item["order_id"], item["client_order_id"]))
        else:
            results.append(_unlisted(exchange_name, item["order_id"], found))
    ended = [answer["data"] for answer in results if "status" in answer["data"]]
    if ended:
        _tell({registry.canonical(exchange_name): ended})
    cancelled = [answer["order_id"] for answer in results if answer["data"]["state"] == "cancelled"]
    failed = [answer for answer in results if not answer["success"]]
    return {
        "success": not failed,
        "cancelled_count": len(cancelled),
        "message": "; ".join(f"{answer['order_id']}: {answer['message']}" for answer in failed),
        "data": {"results": results, "cancelled": cancelled, "failed": failed},
    }


def _wanted(item: Any, symbol: str | None) -> dict[str, Any]:
    if isinstance(item, Mapping):
        order_id = str(item.get("order_id") or "")
        ours = "" if order_id else str(item.get("client_order_id") or "")
        return {"symbol": item.get("symbol") or symbol, "order_id": order_id, "client_order_id": ours}
    if isinstance(item, Sequence) and not isinstance(item, str) and len(item) == 2:
        return {"symbol": item[0], "order_id": str(item[1]), "client_order_id": ""}
    return {"symbol": symbol, "order_id": str(item), "client_order_id": ""}


def _listed(exchange_name: str) -> dict[str, list[str]]:
    """Answer the symbols of each id among the open orders: on some venues ids are counted per symbol."""
    read = registry.call(exchange_name, "get_open_orders")
    listed: dict[str, list[str]] = {}
    for order in read["data"] if read["success"] else ():
        for key in (order["order_id"], order["client_order_id"]):
            listed.setdefault(key, []).append(order["symbol"])
    return listed


def _unlisted(exchange_name: str, order_id: str, found: list[str]) -> dict[str, Any]:
    """Answer for an id that is of no open order, or of several."""
    words = f"it is an order of each of {', '.join(found)}" if found else "it is not among the open orders"
    try:
        registry.find(exchange_name)
        error: Envelope = fail("ORDER_NOT_FOUND", f"{words}; give its symbol", "not_sent")
    except ExecutionError as unknown:
        error = failure(unknown)
    data = {**error["data"], "state": "not_found"}
    return {"success": False, "order_id": order_id, "message": error["message"], "data": data}


def cancel_all_orders(exchange_name: str, symbol: str | None = None, *, deadline: float = 10.0) -> dict[str, Any]:
    """Cancel every order, plain and conditional, and read back until none is left.

    Args:
        symbol: None = every symbol.
        deadline: seconds after which no further attempt begins.

    Returns:
        {"success", "cancelled_count", "message", "data"}. data: cancelled (ids), left (Orders), proven_empty,
        attempts, failed, gone (ended, but not by us). success only where a read after the last cancel showed nothing.
    """
    answer = _sweep(exchange_name, symbol, time.monotonic() + deadline)
    if answer["data"].get("attempts"):
        _tell({registry.canonical(exchange_name): None})
    return answer


def _sweep(exchange_name: str, symbol: str | None, until: float) -> dict[str, Any]:
    try:
        name = registry.canonical(exchange_name)
        unified = None if symbol is None else registry.symbol_of(name, symbol)
        result = sweep(registry.call, name, unified, until)
    except ExecutionError as error:
        return _swept(Sweep(), failure(error))
    return _swept(result, result.trouble)


def _swept(result: Sweep, trouble: Envelope | None) -> dict[str, Any]:
    data = result.data()
    words = [f"{len(data['cancelled'])} cancelled"]
    if result.proven:
        words.append("nothing is left")
    elif result.left:
        words.append(f"{len(result.left)} LEFT: {', '.join(order['order_id'] for order in result.left[:20])}")
    else:
        words.append("whether anything is left is not known")
    if trouble is not None and not result.proven:
        data |= trouble["data"] | {"failed": data["failed"], "cancelled": data["cancelled"]}
        words = [*words, trouble["message"]] if result.attempts else [trouble["message"]]
    return {
        "success": result.proven,
        "cancelled_count": len(data["cancelled"]),
        "message": "; ".join(words),
        "data": data,
    }


def cancel_everything(
    exchange_names: Iterable[str] | None = None,
    *,
    symbol: str | None = None,
    deadline: float = 30.0,
    tell_book: bool = True,
) -> dict[str, Any]:
    """Cancel every order of several venues, side by side, and prove that none is left. For emergencies.

    Args:
        exchange_names: None = every built venue with every account that the settings hold credentials for.
        deadline: seconds; a venue that does not answer by then is reported as such.
        tell_book: bring our book up to date afterwards, where there is one.

    Returns:
        {"success", "cancelled_count", "message", "data"}. data: venues ({name: answer of cancel_all_orders}), left,
        proven_empty, failed (names), skipped ({name: why}: venues that nobody asked for and that are not set up).
    """
    until = time.monotonic() + deadline
    names, trouble = _all_names() if exchange_names is None else (_named(exchange_names), None)
    margin = min(0.5, 0.05 * deadline)
    found = side_by_side(names, lambda name: _sweep(name, symbol, until - margin), until)
    answers = {name: answer if isinstance(answer, dict) else _lost(answer) for name, answer in found.items()}
    skipped = {}
    if exchange_names is None and trouble is None:
        skipped = {name: answers.pop(name)["message"] for name in names if _is_not_set_up(name, answers[name])}
    if trouble is not None:
        answers["settings"] = _swept(Sweep(), failure(trouble))
    if tell_book:
        swept = {registry.canonical(name): None for name, answer in answers.items() if answer["data"].get("attempts")}
        _tell(swept, until - time.monotonic())
    failed = [name for name, answer in answers.items() if not answer["success"]]
    return {
        "success": not failed,
        "cancelled_count": sum(answer["cancelled_count"] for answer in answers.values()),
        "message": "; ".join(f"{name}: {answer['message']}" for name, answer in answers.items()),
        "data": {
            "venues": answers,
            "left": [{"exchange": n, **order} for n, answer in answers.items() for order in answer["data"]["left"]],
            "proven_empty": not failed,
            "failed": failed,
            "skipped": skipped,
        },
    }


def _named(exchange_names: Iterable[str]) -> list[str]:
    names = [exchange_names] if isinstance(exchange_names, str) else list(exchange_names)
    unique: dict[str, None] = {}
    for name in names:
        try:
            unique[registry.canonical(name)] = None
        except ExecutionError:
            unique[str(name)] = None
    return list(unique)


def _all_names() -> tuple[list[str], ExecutionError | None]:
    """Answer every venue with its accounts; where the settings cannot be read, the plain venues and why."""
    names = registry.built()
    try:
        accounts = {name: settings.accounts(name) or [""] for name in names}
    except ExecutionError as error:
        return names, error
    return [f"{name}:{account}" if account else name for name in names for account in accounts[name]], None


def _is_not_set_up(name: str, answer: dict[str, Any]) -> bool:
    return answer["data"].get("error") == "CONFIGURATION" and not settings.accounts(name.partition(":")[0])


def _lost(fault: Exception | None) -> dict[str, Any]:
    if fault is None:
        words = "no answer by the deadline; what is left there is not known"
        return _swept(Sweep(), fail("TIMEOUT", words, "unknown"))
    return _swept(Sweep(), fail("BAD_RESPONSE", f"{type(fault).__name__}: {log.redact(str(fault))}", "unknown"))


# -- our book


Ended = Mapping[str, list[Order] | None]


class _Teller:
    """One thread that writes into the book, so that a book which is stuck holds up nobody's cancel."""

    def __init__(self) -> None:
        self._waiting: SimpleQueue[tuple[Ended, threading.Event]] = SimpleQueue()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def tell(self, ended: Ended, patience: float) -> None:
        """Have it written down; wait for that as long as patience lasts."""
        done = threading.Event()
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="tell-book", daemon=True)
                self._thread.start()
        self._waiting.put((ended, done))
        done.wait(max(0.0, patience))

    def _work(self) -> None:
        while True:
            ended, done = self._waiting.get()
            _write_down(ended)
            done.set()


_teller = _Teller()


def _new_teller() -> None:
    global _teller
    _teller = _Teller()


on_fork(_new_teller)


def _tell(ended: Ended, patience: float = _TELL_SECONDS) -> None:
    """Bring our book up to date, for a moment: with these orders, or (None) by asking for all that it holds open."""
    _teller.tell(ended, min(patience, _TELL_SECONDS))


def _write_down(ended: Mapping[str, list[Order] | None]) -> None:
    for name, orders in ended.items():
        try:
            manager = default_manager()
            path = manager.journal.database.path
            if path != ":memory:" and not Path(path).exists():
                return
            if orders is None:
                manager.sync(name)
            else:
                _apply(manager, name, orders)
        except Exception as error:  # noqa: BLE001  # the cancel is done, whatever the book says
            log.warning(f"the book was not told of cancelled orders of {name}: {error}")


def _apply(manager: OrderManager, name: str, orders: list[Order]) -> None:
    for order in orders:
        record = manager.find_ours(order["client_order_id"]) or manager.find(order["order_id"], name)
        if record is not None and (record.exchange, record.order_id or order["order_id"]) == (name, order["order_id"]):
            fills = manager.ask_fills(record, order)
            with manager.writing():
                manager.apply(record, order, "cancel")
                manager.keep_fills(record, fills)
