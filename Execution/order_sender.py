"""place_order: the one door through which an order leaves.

    round to the instrument -> choose the client_order_id -> record the intent (durable) -> send -> record the outcome

Nothing is sent before its intent is committed. What is refused on the way says so with outcome not_sent.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from Execution import registry
from Execution.common import log
from Execution.common.envelope import failure
from Execution.common.errors import ExecutionError, StoreError
from Execution.common.order import OrderRecord, public
from Execution.common.types import Envelope
from Execution.drafts import draft_of, prepare
from Execution.order_manager import OrderManager, default_manager

_FUNCTIONS = {
    "limit": "place_limit_order",
    "market": "place_market_order",
    "stop": "place_stop_order",
    "take_profit": "place_take_profit_order",
}

Check = Callable[[OrderRecord], Envelope | None]
"""Called for each order inside the transaction that records it: None lets it pass, a failure keeps it from leaving."""


def place_order(
    exchange_name: str,
    symbol: str,
    side: str,
    order_type: str,
    amount: Any,
    price: Any = None,
    stop_price: Any = None,
    **options: Any,
) -> dict[str, Any]:
    """Place one order and keep it in the book. Risk rules are not asked here: `execute_signal` does that.

    Args:
        order_type: "limit", "market", "stop" or "take_profit"; price is required for limit, stop_price for the others.
        options: client_order_id, time_in_force, post_only, reduce_only, max_slippage (fraction), timeout (seconds after
            which `Executor` cancels what is open), strategy.

    Returns:
        {"success", "order_id", "client_order_id", "symbol", "side", "amount", "price", "status", "message", "data"};
        amount and price as sent; data is the Order, or the Failure.
    """
    draft = {"symbol": symbol, "side": side, "type": order_type, "amount": amount, "price": price}
    return place_orders(exchange_name, [{**draft, "stop_price": stop_price, **options}])[0]


def place_orders(exchange_name: str, orders: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Place several orders of one venue, in their order, with one commit before and one after.

    Args:
        orders: dicts with symbol, side, order_type (or type), amount, price, stop_price and the options of place_order.

    Returns:
        The answers of place_order, in the same order.
    """
    answers: list[dict[str, Any]] = [{}] * len(orders)
    records: list[tuple[int, OrderRecord]] = []
    for index, order in enumerate(orders):
        try:
            records.append((index, prepare(exchange_name, draft_of(order))))
        except ExecutionError as error:
            answers[index] = _flat(order, None, failure(error))
    results = _submit_to_default([record for _, record in records])
    for (index, record), answer in zip(records, results, strict=True):
        answers[index] = _flat(orders[index], record, answer)
    return answers


def _submit_to_default(records: list[OrderRecord]) -> list[Envelope]:
    if not records:
        return []
    try:
        manager = default_manager()
    except ExecutionError as error:
        return [failure(error) for _ in records]
    return submit(manager, records)


def submit(
    manager: OrderManager,
    records: Sequence[OrderRecord],
    *,
    check: Check | None = None,
    key: str | None = None,
    before: Callable[[], None] | None = None,
    after: Callable[[list[Envelope]], None] | None = None,
    marks: list[float] | None = None,
) -> list[Envelope]:
    """Record intents in one commit, send them, record the outcomes in one commit.

    Args:
        check: asked for each order inside the first transaction.
        before: run at the start of the first transaction.
        after: run with the answers at the end of the second one.
        marks: gets the time (perf_counter) when all is recorded, and when all is answered.

    Returns:
        One envelope for each record: data is the Order of our book, or the Failure.
    """
    answers: list[Envelope | None] = [None] * len(records)
    try:
        with manager.writing():
            if before is not None:
                before()
            for index, record in enumerate(records):
                answers[index] = _record(manager, record, check, key)
    except ExecutionError as error:
        manager.abandon(record for record in records if record.rid)
        return [failure(error) for _ in records]
    if marks is not None:
        marks.append(time.perf_counter())
    leaving = [index for index, answer in enumerate(answers) if answer is None]
    for index, answer in zip(leaving, _send(manager, [records[i] for i in leaving]), strict=True):
        answers[index] = answer
    if marks is not None:
        marks.append(time.perf_counter())
    return settle(manager, records, [a for a in answers if a is not None], leaving, after)


def dispatch(manager: OrderManager, records: Sequence[OrderRecord], *, again: bool = False) -> list[Envelope]:
    """Send orders that are recorded, and record the outcomes in one commit.

    Args:
        again: they were sent before and not found; one that the venue calls a duplicate now has arrived after all.
    """
    replies = _send(manager, records)
    for reply in replies if again else ():
        if not reply["success"] and reply["data"]["error"] == "DUPLICATE_ORDER":
            reply["data"]["outcome"] = "unknown"
    return settle(manager, records, replies, range(len(records)))


def _send(manager: OrderManager, records: Sequence[OrderRecord]) -> list[Envelope]:
    try:
        return send(records)
    except BaseException:
        # Interrupted in the middle: what became of them is for the resolver to find out.
        manager.abandon(records)
        raise


def _record(manager: OrderManager, record: OrderRecord, check: Check | None, key: str | None) -> Envelope | None:
    if check is not None and (refusal := check(record)) is not None:
        return refusal
    try:
        manager.record(record, key)
    except StoreError:
        raise
    except ExecutionError as error:
        return failure(error)
    return None


def settle(
    manager: OrderManager,
    records: Sequence[OrderRecord],
    answers: list[Envelope],
    sent: Sequence[int],
    after: Callable[[list[Envelope]], None] | None = None,
) -> list[Envelope]:
    """Record what sends led to. Where the store fails now, the answers say so and the resolver will ask the venue."""
    if not sent and after is None:
        return answers
    try:
        with manager.writing():
            for index in sent:
                manager.settle(records[index], answers[index])
                answers[index] = _answer(records[index], answers[index])
            if after is not None:
                after(answers)
    except StoreError as error:
        manager.abandon(records[index] for index in sent)
        log.error(f"{len(sent)} outcomes could not be recorded: {error}")
        return [_unrecorded(answer, error) if i in set(sent) else answer for i, answer in enumerate(answers)]
    return answers


def _answer(record: OrderRecord, answer: Envelope) -> Envelope:
    if answer["success"]:
        return {"success": True, "data": public(record), "message": answer["message"]}
    data = answer["data"] | {"client_order_id": record.client_order_id, "status": record.status}
    return {"success": False, "data": data, "message": answer["message"]}


def _unrecorded(answer: Envelope, error: StoreError) -> Envelope:
    words = f"outcome not recorded yet ({error}); the next signal or `orders --sync` asks the venue"
    message = f"{answer['message']}; {words}" if answer["message"] else words
    return {"success": answer["success"], "data": {**answer["data"], "recorded": False}, "message": message}


def send(records: Sequence[OrderRecord]) -> list[Envelope]:
    """Hand recorded orders to their venues: each venue's in order, several venues side by side."""
    if len(records) == 1:
        return [_send_one(records[0])]
    venues: dict[str, list[int]] = {}
    for index, record in enumerate(records):
        venues.setdefault(record.exchange, []).append(index)
    if len(venues) <= 1:
        return _send_to_one(records)
    groups = list(venues.values())
    replies: list[list[Envelope]] = [[] for _ in groups]

    def work(number: int) -> None:
        replies[number] = _send_to_one([records[index] for index in groups[number]])

    threads = [threading.Thread(target=work, args=(n,), name=f"execution-send-{n}") for n in range(len(groups))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    answers: dict[int, Envelope] = {}
    for indices, answered in zip(groups, replies, strict=True):
        answers |= dict(zip(indices, answered, strict=True))
    return [answers[index] for index in range(len(records))]


def _send_to_one(records: Sequence[OrderRecord]) -> list[Envelope]:
    """Hand orders of one venue to it: as one batch where it takes batches."""
    if len(records) > 1:
        answers = registry.call_batch(records[0].exchange, [_batch_arguments(record) for record in records])
        if answers is not None:
            return answers
    return [_send_one(record) for record in records]


def _send_one(record: OrderRecord) -> Envelope:
    arguments = _arguments(record)
    return registry.call(record.exchange, _FUNCTIONS[record.type], *_POSITIONAL[record.type](record), **arguments)


_POSITIONAL: dict[str, Callable[[OrderRecord], tuple[Any, ...]]] = {
    "limit": lambda r: (r.symbol, r.side, r.amount, r.price),
    "market": lambda r: (r.symbol, r.side, r.amount),
    "stop": lambda r: (r.symbol, r.side, r.amount, r.stop_price, r.price),
    "take_profit": lambda r: (r.symbol, r.side, r.amount, r.stop_price, r.price),
}


def _arguments(record: OrderRecord) -> dict[str, Any]:
    """Answer the keyword arguments that a venue's function takes for an order of its type."""
    arguments: dict[str, Any] = {
        "client_order_id": record.client_order_id,
        "reduce_only": "reduce_only" in record.terms,
    }
    if record.type == "limit":
        arguments["time_in_force"] = record.terms[:3]
        arguments["post_only"] = "post_only" in record.terms
    elif record.type == "market" and record.options and "max_slippage" in record.options:
        arguments["max_slippage"] = record.options["max_slippage"]
    return arguments


def _batch_arguments(record: OrderRecord) -> dict[str, Any]:
    """Answer an order as `place_orders` of a venue takes it."""
    arguments = _arguments(record)
    arguments |= {"type": record.type, "symbol": record.symbol, "side": record.side, "amount": record.amount}
    if record.type == "limit":
        arguments["price"] = record.price
    elif record.type != "market":
        arguments |= {"stop_price": record.stop_price, "price": record.price}
    return arguments


def _flat(order: Mapping[str, Any], record: OrderRecord | None, answer: Envelope) -> dict[str, Any]:
    """Spread an envelope into the flat answer of place_order."""
    data = answer["data"]
    asked = order if isinstance(order, Mapping) else {}
    return {
        "success": answer["success"],
        "order_id": data.get("order_id", ""),
        "client_order_id": record.client_order_id if record else "",
        "symbol": record.symbol if record else asked.get("symbol"),
        "side": record.side if record else asked.get("side"),
        "amount": float(record.amount) if record else asked.get("amount"),
        "price": _price(record) if record else asked.get("price"),
        "status": record.status if record else "rejected",
        "message": answer["message"],
        "data": data,
    }


def _price(record: OrderRecord) -> float | None:
    return None if record.price is None else float(record.price)
