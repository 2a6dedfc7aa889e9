"""execute_signal, and the Executor behind it: check, record, send, record, answer.

execute_signal("paper", "BTC-USDT-SWAP", {"action": "buy", "amount": 0.01})
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from functools import cache
from typing import Any

from Execution import canceler, registry
from Execution.common import clock, log
from Execution.common.deadlines import Deadlines
from Execution.common.envelope import fail, failure, ok
from Execution.common.errors import ExecutionError, Refused
from Execution.common.order import OrderRecord, public
from Execution.common.precision import exactly
from Execution.common.risk import Verdict
from Execution.common.risk_state import Snapshot
from Execution.common.store import on_fork
from Execution.common.types import Envelope
from Execution.order_manager import OrderManager, default_manager
from Execution.order_sender import submit
from Execution.position_manager import PositionManager
from Execution.risk_manager import RiskManager
from Execution.signals import loop, protection
from Execution.signals.answers import STATE_STALE, answer_of, denied, is_open_question, reply_of, timing_of
from Execution.signals.batch import execute_batch
from Execution.signals.liquidation import liquidate
from Execution.signals.once import Once, resend
from Execution.signals.orders import closing_orders, order_of
from Execution.signals.parse import Signal, digest, parse

Claim = Callable[[], None] | None


class Executor:
    """Carries out signals. Owns an order, a risk and a position manager; any thread may call it."""

    def __init__(
        self,
        order_manager: OrderManager | None = None,
        risk_manager: RiskManager | None = None,
        position_manager: PositionManager | None = None,
    ) -> None:
        """Put the parts together; what is not given is made from the settings."""
        self.orders = order_manager or default_manager()
        self.risk = risk_manager or RiskManager(book=self.orders)
        self.positions = position_manager or PositionManager()
        self._once = Once(self.orders)
        self._deadlines = Deadlines(self._timed_out)
        self._mended: set[str] = set()
        self._started = False
        self._start_lock = threading.Lock()
        self._filled: set[str] = set()
        self.orders.on_deadline = self._watch
        self.orders.on_fill = self._note_fill

    # -- signals

    @exactly
    def execute_signal(self, exchange_name: str, symbol: str, signal: Mapping[str, Any]) -> Envelope:
        """Check a signal, size it, record it durably, send it, answer what became of it.

        Args:
            signal: action "buy", "sell" or "close"; for buy and sell exactly one of amount (base units), notional
                (quote), equity_fraction. Optional: price, order_type, stop_price, stop_loss, take_profit,
                time_in_force, post_only, reduce_only, max_slippage, leverage, timeout (seconds), strategy,
                client_order_id, and key: the same key again answers the first result and sends nothing, from any
                process.

        Returns:
            Envelope. data: order, orders, order_id, client_order_id, status, risk, timing (seconds), `protection`
            where stop_loss or take_profit was given; on failure also error, outcome, exchange_code, retry_after.

        Errors:
            INVALID_ORDER with all that is wrong, RISK_DENIED with rule and numbers, STORE_FAILED (not_sent); what the
            venue refuses (rejected); TIMEOUT, VENUE_DOWN, BAD_RESPONSE, INTERNAL (maybe unknown).
        """
        started = time.perf_counter()
        try:
            self.start()
            parsed = parse(signal)
            name, unified = registry.market(exchange_name, symbol)
            if not parsed.key:
                return self._carry_out(name, unified, parsed, started, None)
            return self._once.run(
                parsed.key,
                digest(signal, name, unified),
                lambda claim: self._carry_out(name, unified, parsed, started, claim),
                lambda records: self._resumed(records, started),
            )
        except ExecutionError as error:
            return failure(error)
        except Exception as error:  # noqa: BLE001  # a fault of ours may strike after the order has left
            log.error(f"execute_signal failed: {type(error).__name__}: {error}")
            return fail("INTERNAL", f"{type(error).__name__}: {log.redact(str(error))}", "unknown")

    def _carry_out(self, name: str, symbol: str, signal: Signal, started: float, claim: Claim) -> Envelope:
        if signal.action == "close":
            return self._close(name, symbol, signal, started, claim)
        try:
            snapshot = self.risk.prepare(name, symbol)
            record = self.order_of(name, symbol, signal, snapshot)
            if signal.leverage and not self._is_denied(record, snapshot):
                _set_leverage(name, symbol, signal.leverage)
        except ExecutionError as error:
            return answer_of([], [failure(error)], timing_of([started]), None)
        return self._send([record], signal, started, claim, snapshot)

    def _is_denied(self, record: OrderRecord, snapshot: Snapshot) -> bool:
        """Tell whether risk will deny an order, before anything at the venue is changed for it."""
        with self.orders.writing():
            verdict = self.risk.verdict(record, snapshot)
        return not verdict.allowed and verdict.code != STATE_STALE

    def order_of(self, name: str, symbol: str, signal: Signal, snapshot: Snapshot) -> OrderRecord:
        """Make the order of a buy or a sell; a market order is bounded by the price collar unless it says otherwise."""
        return order_of(name, symbol, signal, snapshot, self._bound())

    def _bound(self) -> Decimal | None:
        """Answer the bound of a market order that names none: the price collar, where it is one."""
        collar = self.risk.limits.price_collar
        return collar if collar is not None and collar < 1 else None

    def _close(self, name: str, symbol: str, signal: Signal, started: float, claim: Claim) -> Envelope:
        """Close exactly what is open; both legs in hedge mode. A spot holding is sold down to the lot."""
        read = registry.call(name, "get_positions", symbol)
        if not read["success"]:
            return answer_of([], [read], timing_of([started]), None)
        try:
            records, dust = closing_orders(name, symbol, signal, read["data"], self._bound())
        except ExecutionError as error:
            return answer_of([], [failure(error)], timing_of([started]), None)
        if records:
            signal.remark = "; ".join(filter(None, [signal.remark, *dust]))
            return self._send(records, signal, started, claim, self.risk.prepare(name, symbol))
        nothing = ok({}, "; ".join(["nothing to close", *dust]))
        answer = answer_of([], [nothing], timing_of([started]), None, signal.remark)
        answer["data"]["nothing_to_do"] = True
        if claim is not None:
            with self.orders.writing():
                claim()
                self.orders.journal.answer_signal(signal.key, answer)
        return answer

    def _send(
        self,
        records: list[OrderRecord],
        signal: Signal,
        started: float,
        claim: Claim,
        snapshot: Snapshot,
        tries: int = 3,
    ) -> Envelope:
        """Judge and record in one commit, send, record the outcomes and the answer in one commit."""
        verdicts: list[Verdict] = []
        is_stale = False
        marks = [started, time.perf_counter()]
        answers: list[Envelope] = []
        guarded: list[protection.Protection] = []

        def check(record: OrderRecord) -> Envelope | None:
            nonlocal is_stale
            verdict = self.risk.verdict(record, snapshot)
            verdicts.append(verdict)
            if verdict.allowed or (signal.urgent and verdict.code == "PRICE_COLLAR"):
                return None
            is_stale = is_stale or verdict.code == STATE_STALE
            return self.deny(record, verdict)

        def after(replies: list[Envelope]) -> None:
            if is_stale:
                return
            remark = signal.remark
            if signal.action == "close":
                remark = "; ".join(filter(None, [remark, _rest_of(records)]))
            answers.append(answer_of(records, replies, timing_of(marks), verdicts[0], remark))
            if protection.wants_protection(records[0]):
                guarded.append(protection.record_protection(self.orders, records[0]))
            if signal.key and not guarded and not is_open_question(answers[0]):
                self.orders.journal.answer_signal(signal.key, answers[0])

        replies = submit(
            self.orders, records, check=check, key=signal.key or None, before=claim, after=after, marks=marks
        )
        if tries > 1 and is_stale:
            fresh = self.risk.prepare(records[0].exchange, records[0].symbol)
            return self._send(records, signal, started, None, fresh, tries - 1)
        if not answers or any([reply["data"].get("recorded") is False for reply in replies]):  # noqa: C419  # no generator
            return answer_of(records, replies, timing_of(marks), verdicts[0] if verdicts else None, signal.remark)
        if guarded:
            self._protect_entry(records[0], answers[0], guarded[0], signal.key)
        return answers[0]

    def deny(self, record: OrderRecord, verdict: Verdict) -> Envelope:
        """Refuse by risk, and leave a trace in the journal; inside its transaction."""
        if verdict.code != STATE_STALE:
            facts = {name: getattr(record, name) for name in ("exchange", "symbol", "side", "amount", "price")}
            facts |= {"strategy": record.strategy, "rule": verdict.code, "reason": verdict.reason}
            self.orders.journal.note("denied", facts)
        return denied(verdict)

    def _protect_entry(self, entry: OrderRecord, answer: Envelope, recorded: protection.Protection, key: str) -> None:
        """Send what protects an entry, and put what came of it into the answer."""
        placed = protection.send_protection(self.orders, recorded) + self._look_again(entry, answer)
        if all(each["success"] for each in placed):
            self._filled.discard(entry.client_order_id)
        answer["data"]["protection"] = placed
        remark = protection.remark_on(entry, placed) if answer["success"] else ""
        answer["message"] = "; ".join(filter(None, [answer["message"], remark]))
        if key and not is_open_question(answer):
            self._once.keep(key, answer)

    def _look_again(self, entry: OrderRecord, answer: Envelope) -> list[Envelope]:
        """Ask for an entry whose venue does not tell with its answer what a limit order filled at once."""
        if entry.status != "open" or registry.find(entry.exchange)[0].tells_fills:
            return []
        try:
            self.orders.refresh(entry)
        except ExecutionError as error:
            log.error(f"entry {entry.client_order_id} is looked at again later: {error.message}")
            return []
        order = public(entry)
        answer["data"] |= {"order": order, "orders": [order], "status": entry.status}
        return self._protect_if_wanted(entry) if entry.filled else []

    def _resumed(self, records: list[OrderRecord], started: float) -> Envelope:
        """Answer a keyed signal whose orders were recorded by a process that died; protect what they filled."""
        replies = [reply_of(record) for record in records]
        answer = answer_of(records, replies, timing_of([started]), None, "resumed after an interruption")
        if protection.wants_protection(records[0]):
            standing = protection.standing(self.orders, records[0])
            answer["data"]["protection"] = placed = standing + self._protect_if_wanted(records[0])
            remark = protection.remark_on(records[0], placed) if answer["success"] else ""
            answer["message"] = "; ".join(filter(None, [answer["message"], remark]))
        return answer

    def send_checked(self, record: OrderRecord, signal: Signal, started: float) -> Envelope:
        """Check and send an order made earlier, by a snapshot of now."""
        return self._send([record], signal, started, None, self.risk.prepare(record.exchange, record.symbol))

    @exactly
    def execute_signals(self, batch: Sequence[Mapping[str, Any]]) -> list[Envelope]:
        """Carry out many signals with one commit before and one after; each has its own answer, in their order.

        Args:
            batch: signals, each with exchange_name (or exchange) and symbol beside the keys of execute_signal.

        Signals of one symbol keep their order. One that needs more than one step (close, key, leverage, stop_loss,
        take_profit) is carried out alone, between those before and those after it.
        """
        try:
            entries = list(batch)
        except TypeError:
            return [fail("INVALID_ORDER", f"signals must be a list of dicts, not {batch!r:.60}", "not_sent")]
        try:
            self.start()
        except ExecutionError as error:
            return [failure(error) for _ in entries]
        return execute_batch(self, entries)

    @exactly
    def handle_risk_signal(self, risk_signal: Mapping[str, Any]) -> Envelope:
        """Carry out a liquidation signal: cancel every order, then close every position, of a symbol or of all.

        Args:
            risk_signal: {"signal": "liquidate", "exchange", "symbol" (None = all), "timestamp"}.

        Returns:
            Envelope around {"exchange", "symbol", "cancelled", "orders_left", "closed": answers of the closes,
            "positions_left": closing orders that were not filled}. success: no order and no position is left.
        """
        return liquidate(risk_signal, self._close_now)

    def _close_now(self, name: str, symbol: str) -> Envelope:
        """Close a position at the market; the collar bounds the price, but a wide market does not forbid it."""
        signal = parse({"action": "close"})
        signal.urgent = True
        try:
            return self._close(name, symbol, signal, time.perf_counter(), None)
        except ExecutionError as error:
            return failure(error)

    # -- keeping up

    def sync(self, exchange_name: str | None = None) -> list[dict[str, Any]]:
        """Bring open orders up to date with their venues, protect what filled, answer what changed."""
        changed = self.orders.sync(exchange_name)
        names, self._filled = self._filled, set()
        names.update(order["client_order_id"] for order in changed)
        for name in names:
            record = self.orders.find_ours(name)
            if record is not None and protection.is_lost(record):
                record = self.orders.find_ours(record.parent)
            if record is not None:
                self._protect_if_wanted(record)
        self._mend_protection()
        return changed

    def recover(self) -> list[dict[str, Any]]:
        """Settle what processes that died have left without an outcome; answer the orders that are settled now.

        One that provably never arrived is written off; one of a signal key waits for that key to come again, and one
        that protects an entry is sent now.
        """
        leftovers = self.orders.leftovers()
        for record in leftovers:
            if not record.parent:
                self.orders.refresh(record)
                self._protect_if_wanted(record)
        self.orders.journal.project()
        self._mend_protection()
        return [public(record) for record in leftovers if record.status not in ("pending", "unknown")]

    def _protect_if_wanted(self, record: OrderRecord) -> list[Envelope]:
        if not protection.wants_protection(record):
            return []
        placed = protection.protect(self.orders, record)
        for answer in placed:
            if protection.is_passing(answer):
                self._filled.add(record.client_order_id)
            if not answer["success"]:
                log.error(f"entry {record.client_order_id} is NOT PROTECTED: {answer['message']}")
        return placed

    def _mend_protection(self) -> None:
        """Send protective orders that were recorded only, and protect entries whose fill nobody answered."""
        for record in self.orders.leftovers():
            if record.parent:
                resend(self.orders, record)
        for entry in self.orders.unprotected():
            if entry.client_order_id not in self._mended:
                self._mended.add(entry.client_order_id)
                self._protect_if_wanted(entry)

    def start(self) -> None:
        """Settle leftovers, on first use and after an outcome could not be recorded; watch deadlines."""
        if not self._started or self.orders.has_abandoned:
            with self._start_lock:
                self._start_once()

    def _start_once(self) -> None:
        if self._started and not self.orders.has_abandoned:
            return
        self.recover()
        self.orders.has_abandoned = False
        if not self._started:
            for record in self.orders.open_records():
                if record.deadline:
                    self._watch(record)
        self._started = True

    def _note_fill(self, record: OrderRecord) -> None:
        """Have the next `sync` look whether a fill is protected: another process may have noticed it, and no more."""
        if protection.wants_protection(record):
            self._filled.add(record.client_order_id)

    def _watch(self, record: OrderRecord) -> None:
        self._deadlines.add(record.deadline, record.client_order_id)

    def _timed_out(self, client_order_id: str) -> None:
        """Cancel an order that is still open past its deadline."""
        record = self.orders.find_ours(client_order_id)
        if record is None or not record.is_open:
            return
        ids = {"order_id": record.order_id} if record.order_id else {"client_order_id": record.client_order_id}
        answer = canceler.cancel_order(record.exchange, record.symbol, **ids)
        self.orders.refresh(record)
        self._protect_if_wanted(record)
        if record.is_open:
            log.warning(f"order {client_order_id} is past its time and still open: {answer['message']}")
            self._deadlines.add(clock.now() + 1.0, client_order_id)

    def poll_deadlines(self) -> int:
        """Cancel what is past its time now; needed only under a replaced clock."""
        return self._deadlines.poll()

    def run(self, *sources: Any, **options: Any) -> dict[str, Any]:
        """Stay and carry out signals as they come; see `signals.loop.run`."""
        return loop.run(self, *sources, **options)

    def close(self) -> None:
        """End the background thread and close the store."""
        self._deadlines.stop()
        self._started = False
        self.orders.close()


def _rest_of(records: Sequence[OrderRecord]) -> str:
    """Say what closing orders that have ended did not close."""
    rest = [r for r in records if r.rid and not r.is_open and r.filled < r.amount]
    return "; ".join(f"{r.remaining.normalize():f} of {r.amount.normalize():f} {r.symbol} is still open" for r in rest)


def _set_leverage(name: str, symbol: str, leverage: int) -> None:
    answer = registry.call(name, "set_leverage", symbol, leverage)
    if not answer["success"]:
        data = answer["data"]
        words = f"leverage {leverage} could not be set, nothing was sent: {answer['message']}"
        raise Refused(data["error"], words, exchange_code=data["exchange_code"], retry_after=data["retry_after"])


@cache
def default_executor() -> Executor:
    """Answer the executor of this process's settings."""
    return Executor()


on_fork(default_executor.cache_clear)


def execute_signal(exchange_name: str, symbol: str, signal: Mapping[str, Any]) -> Envelope:
    """Carry out one signal; see `Executor.execute_signal`."""
    try:
        executor = default_executor()
    except ExecutionError as error:
        return failure(error)
    return executor.execute_signal(exchange_name, symbol, signal)


def execute_signals(batch: Sequence[Mapping[str, Any]]) -> list[Envelope]:
    """Carry out many signals; see `Executor.execute_signals`."""
    try:
        executor = default_executor()
    except ExecutionError as error:
        return [failure(error) for _ in batch or ()]
    return executor.execute_signals(batch)
