"""The one guard around every venue call: breaker -> rate budget -> call -> may it be repeated?

What is repeated: reads on any transient failure; submits and cancels only where the venue's answer proves that
nothing left (outcome not_sent). A submit whose outcome is unknown is never repeated here.
What the breaker stops: orders that may add exposure. Cancels, reduce-only orders and reads always pass.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from decimal import getcontext, setcontext
from functools import partial
from typing import Any

from Execution.common import log, settings
from Execution.common.envelope import fail, failure
from Execution.common.errors import ERROR_CODES, OUTCOMES, ExecutionError, Outcome
from Execution.common.precision import OURS, Rules
from Execution.common.replies import on_reply
from Execution.common.resilience import Breaker, Budget, Limit, backoff
from Execution.common.types import STATUSES, VENUE_FUNCTIONS, Envelope, Exchange

SUBMITS = frozenset(
    (
        "place_limit_order",
        "place_market_order",
        "place_stop_order",
        "place_take_profit_order",
        "place_orders",
        "adjust_position",
    )
)
CANCELS = frozenset(("cancel_order", "cancel_all_orders", "cancel_all_after"))
READS = frozenset(VENUE_FUNCTIONS) - SUBMITS - CANCELS - {"set_leverage"}
_TRANSIENT = frozenset(("TIMEOUT", "VENUE_DOWN", "RATE_LIMITED", "CLOCK_SKEW"))
_VENUE_SICK = frozenset(("TIMEOUT", "VENUE_DOWN", "BAD_RESPONSE"))
_ANSWER_ORDERS = (SUBMITS - {"place_orders"}) | {"cancel_order", "get_order_status"}
_FILL_KEYS = frozenset(("trade_id", "order_id", "side", "amount", "price", "fee", "fee_currency", "maker", "timestamp"))
_INFINITE = float("inf")
_ATTEMPTS = 3
_LONGEST_WAIT = 2.0


class Venue:
    """A registered module with what guards it: one breaker and one budget for each account."""

    def __init__(self, name: str, module: Exchange) -> None:
        self.name = name
        self.module = module
        self.local = bool(getattr(module, "LOCAL", False))
        self.tells_fills = bool(getattr(module, "TELLS_FILLS", True))
        self.absence_grace = float(getattr(module, "ABSENCE_GRACE", 10.0))
        self.default_market = settings.choice(
            f"{name.upper()}_DEFAULT_MARKET",
            ("spot", "swap"),
            value=settings.get(f"{name.upper()}_DEFAULT_MARKET") or "spot",
        )
        self._limits: dict[str, Limit] = dict(getattr(module, "RATE_LIMITS", {}))
        self.rate_pause: Callable[[str, Mapping[str, str]], float] | None = getattr(module, "rate_pause", None)
        self.rules: dict[tuple[str, str], tuple[float, Rules]] = {}
        self.guards: dict[str, tuple[Breaker, Budget | None]] = {}

    def reset(self) -> None:
        """Forget breakers, budgets and rules."""
        self.guards.clear()
        self.rules.clear()

    def guard(self, account: str) -> tuple[Breaker, Budget | None]:
        """Answer the breaker and the budget of an account."""
        found = self.guards.get(account)
        if found is None:
            limited = bool(self._limits or self.rate_pause)
            found = self.guards.setdefault(account, (Breaker(), Budget(self._limits) if limited else None))
        return found

    def heed(self, account: str, host: str, headers: Mapping[str, str]) -> None:
        """Take from an answer's headers how much of the venue's limit is left."""
        budget = self.guard(account)[1]
        if self.rate_pause is not None and budget is not None and (pause := self.rate_pause(host, headers)) > 0:
            budget.spare(pause)


def call(venue: Venue, account: str, function: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Envelope:
    """Call a venue function for an account. Never raises; answers an envelope."""
    target = getattr(venue.module, function, None)
    if target is None:
        return fail("NOT_SUPPORTED", f"{venue.name} has no function {function!r:.60}", "not_sent")
    breaker, budget = venue.guards.get(account) or venue.guard(account)
    if breaker.failures >= breaker.threshold or budget is not None:
        return _guarded(venue, account, function, target, args, kwargs, [])
    answer: Envelope = _once(venue, account, function, target, args, kwargs)
    if answer["success"]:
        if breaker.failures:
            breaker.succeeded(submit=function in SUBMITS)
        return answer
    return _guarded(venue, account, function, target, args, kwargs, [], answer)


def call_batch(venue: Venue, account: str, orders: list[dict[str, Any]]) -> list[Envelope] | None:
    """Place several orders in one venue call; None where they must go one by one. Nothing is repeated.

    One by one: where the venue has no batch function, or a rate budget counts its orders.
    """
    target = getattr(venue.module, "place_orders", None)
    breaker, budget = venue.guard(account)
    if target is None or budget is not None:
        return None
    exposing = not all(
        order.get("reduce_only") or _is_spot_sell(order.get("symbol"), order.get("side")) for order in orders
    )
    stop = _stop(venue, breaker, budget, "order", exposing=exposing, decisions=[])
    if stop is not None:
        return [stop] * len(orders)
    answers = _once(venue, account, "place_orders", target, (orders,), {})
    if isinstance(answers, list) and len(answers) == len(orders):
        checked = [_checked(answer, "place_limit_order", venue) for answer in answers]
        _judge(breaker, checked[-1], "place_orders")
        return checked
    if isinstance(answers, list):
        answers = fail("BAD_RESPONSE", f"{venue.name} answered {len(answers)} of {len(orders)} orders", "unknown")
    _judge(breaker, answers, "place_orders")
    return [answers] * len(orders)


def _guarded(
    venue: Venue,
    account: str,
    function: str,
    target: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    decisions: list[str],
    answer: Envelope | None = None,
) -> Envelope:
    """The slow path: a limit is set, the breaker is open, or the first attempt failed."""
    breaker, budget = venue.guard(account)
    kind = "order" if function in SUBMITS else "cancel" if function in CANCELS else "read"
    exposing = kind == "order" and not kwargs.get("reduce_only") and not _reduces(function, args, kwargs)
    attempt = 0 if answer is None else 1
    while True:
        if answer is None:
            stop = _stop(venue, breaker, budget, kind, exposing=exposing, decisions=decisions)
            if stop is not None:
                return _explained(stop, attempt, decisions)
            answer = _once(venue, account, function, target, args, kwargs)
            attempt += 1
        _judge(breaker, answer, function)
        wait = _wait_before_repeat(answer, function, attempt)
        if wait is None:
            _heed(budget, answer)
            return _explained(answer, attempt, decisions)
        decisions.append(f"attempt {attempt}: {answer['data']['error']}, repeated after {wait:.2f} s")
        time.sleep(wait)
        answer = None


def _reduces(function: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Tell whether an order cannot add exposure: it takes from a position, or sells what is held on spot."""
    if function != "adjust_position":
        return len(args) > 1 and _is_spot_sell(args[0], args[1])
    amount = kwargs.get("amount", args[2] if len(args) > 2 else 0)
    return str(amount).strip().startswith("-")


def _is_spot_sell(symbol: Any, side: Any) -> bool:
    return side == "sell" and isinstance(symbol, str) and not symbol.endswith("-SWAP")


def _stop(
    venue: Venue, breaker: Breaker, budget: Budget | None, kind: str, *, exposing: bool, decisions: list[str]
) -> Envelope | None:
    """Answer why a call may not go, or None; wait a little for the budget where that helps."""
    if exposing and (wait := breaker.refuses()) > 0:
        decisions.append("breaker open: new exposure refused")
        return fail(
            "VENUE_DOWN",
            f"{venue.name} failed {breaker.failures} times in a row: no new exposure for {wait:.1f} s "
            "(cancels, reduce-only orders and reads pass)",
            "not_sent",
            retry_after=wait,
        )
    if budget is None:
        return None
    wait = budget.take(kind)
    if 0 < wait <= _LONGEST_WAIT:
        decisions.append(f"waited {wait:.2f} s for the rate budget")
        time.sleep(wait)
        wait = budget.take(kind)
    if wait > 0:
        breaker.untried()
        return fail("RATE_LIMITED", f"the rate budget of {venue.name} is used up", "not_sent", retry_after=wait)
    return None


def _once(
    venue: Venue,
    account: str,
    function: str,
    target: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> Any:
    before = getcontext()
    setcontext(OURS)
    token = settings.account.set(account)
    heard = on_reply.set(partial(venue.heed, account)) if venue.rate_pause is not None else None
    try:
        answer = target(*args, **kwargs)
    except ExecutionError as error:
        answer = failure(error)
    except Exception as error:  # noqa: BLE001  # a venue module must not raise; what it did is not known
        log.error(f"{venue.name}.{function} raised {type(error).__name__}: {error}")
        harmless = function in READS or (isinstance(error, TypeError) and _bad_call(error))
        outcome: Outcome = "not_sent" if harmless else "unknown"
        return fail(
            "BAD_RESPONSE", f"{venue.name}.{function} raised {type(error).__name__}: {log.redact(str(error))}", outcome
        )
    finally:
        settings.account.reset(token)
        if heard is not None:
            on_reply.reset(heard)
        setcontext(before)
    if function == "place_orders" and isinstance(answer, list):
        return answer
    return _checked(answer, function, venue)


def _bad_call(error: TypeError) -> bool:
    """Tell whether a TypeError comes from the call itself (a wrong parameter) and not from inside the function."""
    trace = error.__traceback__
    return trace is not None and trace.tb_next is None


def _checked(answer: Any, function: str, venue: Venue) -> Envelope:
    """Answer what a venue answered where it keeps the contract, else BAD_RESPONSE.

    What a success of a local venue carries is our own work and not looked through.
    """
    wrong = "something else than an envelope"
    if type(answer) is dict and len(answer) == 3 and "data" in answer and "message" in answer:
        data = answer["data"]
        if answer.get("success") is True:
            wrong = "" if venue.local else _wrong_data(data, function)
            if not wrong:
                return answer  # type: ignore[return-value]
        elif isinstance(data, dict) and _is_failure(data):
            facts = {"exchange_code": "", **data, "retry_after": _pause(data.get("retry_after"))}
            return {"success": False, "data": facts, "message": log.redact(str(answer["message"]))}
    outcome: Outcome = "not_sent" if function in READS else "unknown"
    words = f"{venue.name}.{function} answered {wrong}: {log.redact(repr(answer))[:200]}"
    log.error(words)
    return fail("BAD_RESPONSE", words, outcome)


def _wrong_data(data: Any, function: str) -> str:
    """Say what a success carries instead of what the book needs to read; "" where nothing is wrong."""
    if function in _ANSWER_ORDERS:
        return "" if _is_order(data) else "a success that is no order"
    if function == "get_open_orders":
        return "" if isinstance(data, list) and all(map(_is_order, data)) else "a success that is no list of orders"
    if function == "get_fills":
        return "" if _are_fills(data) else "a success that is no list of executions"
    return "a success that is no report" if function == "place_orders" else ""


def _is_order(data: Any) -> bool:
    try:
        average, fills = data["average_price"], data.get("fills")
        return (
            data["status"] in STATUSES
            and isinstance(data["order_id"], str)
            and isinstance(data["client_order_id"], str)
            and 0 <= data["filled"] < _INFINITE
            and (average is None or -_INFINITE < average < _INFINITE)
            and -_INFINITE < data["fee"] < _INFINITE
            and isinstance(data["fee_currency"], str)
            and (not fills or _are_fills(fills))
        )
    except (AttributeError, KeyError, TypeError):
        return False


def _are_fills(data: Any) -> bool:
    return isinstance(data, list) and all(map(_is_fill, data))


def _is_fill(data: Any) -> bool:
    try:
        return (
            data.keys() >= _FILL_KEYS
            and all(isinstance(data[name], str) for name in ("trade_id", "order_id", "side", "fee_currency"))
            and 0 < data["amount"] < _INFINITE
            and -_INFINITE < data["price"] < _INFINITE
            and -_INFINITE < data["fee"] < _INFINITE
            and 0 <= data["timestamp"] < _INFINITE
        )
    except (AttributeError, TypeError):
        return False


def _is_failure(data: dict[str, Any]) -> bool:
    error, outcome = data.get("error"), data.get("outcome")
    return isinstance(error, str) and error in ERROR_CODES and isinstance(outcome, str) and outcome in OUTCOMES


def _pause(value: Any) -> float | None:
    return float(value) if type(value) in (int, float) and 0 <= value < _INFINITE else None


def _judge(breaker: Breaker, answer: Envelope, function: str) -> None:
    if answer["success"]:
        breaker.succeeded(submit=function in SUBMITS)
    elif answer["data"]["error"] in _VENUE_SICK:
        breaker.failed(submit=function in SUBMITS)
    elif answer["data"]["outcome"] == "not_sent":
        # It was refused before it left: that says nothing of the venue.
        breaker.untried()
    else:
        breaker.succeeded(submit=function in SUBMITS)


def _heed(budget: Budget | None, answer: Envelope) -> None:
    if budget is not None and not answer["success"] and answer["data"]["error"] == "RATE_LIMITED":
        budget.block(float(answer["data"]["retry_after"] or 1.0))


def _wait_before_repeat(answer: Envelope, function: str, attempt: int) -> float | None:
    """Answer the seconds to wait before the same call again, or None where it must not or need not be repeated."""
    if answer["success"] or attempt >= _ATTEMPTS or answer["data"]["error"] not in _TRANSIENT:
        return None
    if function not in READS and answer["data"]["outcome"] != "not_sent":
        return None
    wait = float(answer["data"]["retry_after"] or backoff(attempt - 1))
    return wait if wait <= _LONGEST_WAIT else None


def _explained(answer: Envelope, attempts: int, decisions: list[str]) -> Envelope:
    if not answer["success"]:
        answer["data"]["attempts"] = attempts
        answer["data"]["decisions"] = decisions
    elif decisions:
        answer["message"] = "; ".join([*([answer["message"]] if answer["message"] else []), *decisions])
    return answer
