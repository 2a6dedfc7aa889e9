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

from Execution import canceler, registry, signal_loop, signals
from Execution.batch import execute_batch
from Execution.common import clock, log
from Execution.common.deadlines import Deadlines
from Execution.common.envelope import fail, failure, ok
from Execution.common.errors import ExecutionError, Refused
from Execution.common.order import ZERO, OrderRecord, public
from Execution.common.precision import exact, round_down
from Execution.common.risk import Verdict
from Execution.common.risk_state import Snapshot
from Execution.common.store import on_fork
from Execution.common.types import Envelope
from Execution.drafts import Draft, keyed_client_order_id, prepare
from Execution.once import Once
from Execution.order_manager import OrderManager, default_manager
from Execution.order_sender import submit, timing_of
from Execution.position_manager import PositionManager
from Execution.risk_manager import RiskManager
from Execution.signals import Signal

STATE_STALE = "STATE_STALE"


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
        self._started = False
        self._start_lock = threading.Lock()
        self.orders.on_deadline = self._watch

    # -- signals

    def execute_signal(self, exchange_name: str, symbol: str, signal: Mapping[str, Any]) -> Envelope:
        """Check a signal, size it, record it durably, send it, answer what became of it.

        Args:
            signal: action "buy", "sell" or "close"; for buy and sell exactly one of amount (base units), notional
                (quote), equity_fraction. Optional: price, order_type, stop_price, stop_loss, take_profit,
                time_in_force, post_only, reduce_only, max_slippage, leverage, timeout (seconds), strategy, and
                key: the same key again answers the first result and sends nothing, from any process.

        Returns:
            Envelope. data on success: order, orders, order_id, client_order_id, status, risk, timing (seconds).
            data on failure: error, outcome, exchange_code, retry_after, risk, timing; order where one was recorded.

        Errors:
            INVALID_ORDER with all that is wrong, RISK_DENIED with rule and numbers (not_sent); STORE_FAILED
            (not_sent); what the venue refuses (rejected); TIMEOUT, VENUE_DOWN, BAD_RESPONSE (maybe unknown).
        """
        started = time.perf_counter()
        try:
            self.start()
            parsed = signals.parse(signal)
            name = registry.canonical(exchange_name)
            unified = registry.symbol_of(name, symbol)
            if parsed.key:
                fingerprint = signals.digest(signal, name, unified)
                return self._once.run(
                    parsed.key,
                    fingerprint,
                    lambda claim: self._carry_out(name, unified, parsed, started, claim),
                    lambda records: self._answer_resumed(records, started),
                )
            return self._carry_out(name, unified, parsed, started, None)
        except ExecutionError as error:
            return failure(error)
        except Exception as error:  # noqa: BLE001  # a fault of ours may strike after the order has left
            log.error(f"execute_signal failed: {type(error).__name__}: {error}")
            return fail("INTERNAL", f"{type(error).__name__}: {log.redact(str(error))}", "unknown")

    def _carry_out(
        self, name: str, symbol: str, signal: Signal, started: float, claim: Callable[[], None] | None
    ) -> Envelope:
        if signal.action == "close":
            return self._close(name, symbol, signal, started, claim)
        try:
            snapshot = self.risk.prepare(name, symbol)
            record = self.record_of(name, symbol, signal, snapshot)
            if signal.leverage:
                self._set_leverage(name, symbol, signal.leverage)
        except ExecutionError as error:
            return self._conclude([], [failure(error)], signal, started, [], None, claim)
        return self._send([record], signal, started, claim, snapshot)

    def _send(
        self,
        records: list[OrderRecord],
        signal: Signal,
        started: float,
        claim: Callable[[], None] | None,
        snapshot: Snapshot,
        tries: int = 3,
    ) -> Envelope:
        verdicts: list[Verdict] = []
        marks: list[float] = [started, time.perf_counter()]

        def check(record: OrderRecord) -> Envelope | None:
            verdict = self.risk.verdict(record, snapshot)
            verdicts.append(verdict)
            return None if verdict.allowed else self.deny(record, verdict)

        answer: list[Envelope] = []

        def after(answers: list[Envelope]) -> None:
            if any(verdict.code == STATE_STALE for verdict in verdicts):
                return
            answer.append(self.answer(records, answers, signal, timing_of(marks), verdicts))
            if signal.key and not _is_open_question(answer[0]):
                self.orders.journal.answer_signal(signal.key, answer[0])

        answers = submit(
            self.orders, records, check=check, key=signal.key or None, before=claim, after=after, marks=marks
        )
        if tries > 1 and any(verdict.code == STATE_STALE for verdict in verdicts):
            snapshot = self.risk.prepare(records[0].exchange, records[0].symbol)
            return self._send(records, signal, started, None, snapshot, tries - 1)
        if not answer or any(result["data"].get("recorded") is False for result in answers):
            return self.answer(records, answers, signal, timing_of(marks), verdicts)
        if signal.stop_loss is not None or signal.take_profit is not None:
            self._protect_entry(records[0], answer[0])
        return answer[0]

    def record_of(self, name: str, symbol: str, signal: Signal, snapshot: Snapshot) -> OrderRecord:
        """Make the order of a buy or a sell."""
        reference = signal.price or signal.stop_price or snapshot.quote.mark
        slippage = signal.max_slippage
        if signal.order_type == "market" and slippage is None:
            slippage = self.risk.limits.price_collar
        protection = {k: str(v) for k, v in (("stop_loss", signal.stop_loss), ("take_profit", signal.take_profit)) if v}
        if protection:
            _check_protection(signal, symbol, reference)
        draft = Draft(
            symbol=symbol,
            side=signal.action,
            type=signal.order_type,
            amount=self._amount(signal, snapshot, reference),
            price=signal.price,
            stop_price=signal.stop_price,
            client_order_id=keyed_client_order_id(signal.key, 0) if signal.key else signal.client_order_id or None,
            time_in_force=signal.time_in_force,
            post_only=signal.post_only,
            reduce_only=signal.reduce_only,
            max_slippage=slippage if signal.order_type == "market" else None,
            timeout=signal.timeout,
            strategy=signal.strategy,
            extra=protection or None,
        )
        return prepare(name, draft, reference, checked=True)

    @staticmethod
    def _amount(signal: Signal, snapshot: Snapshot, reference: Decimal | None) -> Decimal:
        """Answer base units from whichever size the signal gave."""
        if signal.amount is not None:
            return signal.amount
        if reference is None:
            raise Refused("INVALID_ORDER", "notional and equity_fraction need a price, and none is known")
        if signal.notional is not None:
            return signal.notional / reference
        if snapshot.account.equity is None or snapshot.rate is None:
            raise Refused("INVALID_ORDER", "equity_fraction needs the account's equity, and none is known")
        assert signal.equity_fraction is not None
        return signal.equity_fraction * snapshot.account.equity / (reference * snapshot.rate)

    def _set_leverage(self, name: str, symbol: str, leverage: int) -> None:
        answer = registry.call(name, "set_leverage", symbol, leverage)
        if not answer["success"]:
            data = answer["data"]
            words = f"leverage {leverage} could not be set, nothing was sent: {answer['message']}"
            raise Refused(data["error"], words, exchange_code=data["exchange_code"], retry_after=data["retry_after"])

    def deny(self, record: OrderRecord, verdict: Verdict) -> Envelope:
        """Refuse by risk, and leave a trace in the journal."""
        facts = verdict.to_dict()
        if verdict.code == STATE_STALE:
            return fail("RISK_DENIED", verdict.reason, "not_sent", rule=verdict.code, risk=facts)
        self.orders.journal.note(
            "denied",
            {
                "exchange": record.exchange,
                "symbol": record.symbol,
                "side": record.side,
                "amount": record.amount,
                "price": record.price,
                "rule": verdict.code,
                "reason": verdict.reason,
                "strategy": record.strategy,
            },
        )
        return fail(
            "RISK_DENIED", verdict.reason, "not_sent", rule=verdict.code, numbers=facts.get("numbers", {}), risk=facts
        )

    # -- answers

    def answer(
        self,
        records: Sequence[OrderRecord],
        answers: Sequence[Envelope],
        signal: Signal,
        timing: dict[str, float],
        verdicts: Sequence[Verdict],
    ) -> Envelope:
        """Answer the signal from the answers of its orders."""
        bad = next((answer for answer in answers if not answer["success"]), None)
        first = bad or answers[0]
        orders = [_order_of(record, reply) for record, reply in zip(records, answers, strict=False) if record.rid]
        data: dict[str, Any] = {
            **(first["data"] if bad else {}),
            "order": orders[0] if orders else None,
            "orders": orders,
            "order_id": orders[0]["order_id"] if orders else "",
            "client_order_id": orders[0]["client_order_id"] if orders else "",
            "status": orders[0]["status"] if orders else "rejected",
            "risk": verdicts[0].to_dict() if verdicts else None,
            "timing": timing,
        }
        message = first["message"]
        if signal.remark:
            message = f"{message}; {signal.remark}" if message else signal.remark
        return {"success": bad is None, "data": data, "message": message}

    def _conclude(
        self,
        records: list[OrderRecord],
        answers: list[Envelope],
        signal: Signal,
        started: float,
        verdicts: list[Verdict],
        data: dict[str, Any] | None,
        claim: Callable[[], None] | None,
    ) -> Envelope:
        """Answer a signal that led to no order; a keyed one is recorded as done."""
        answer = self.answer(records, answers, signal, timing_of([started]), verdicts)
        answer["data"] |= data or {}
        if claim is not None and answer["success"]:
            with self.orders.writing():
                claim()
                self.orders.journal.answer_signal(signal.key, answer)
        return answer

    def _answer_resumed(self, records: list[OrderRecord], started: float) -> Envelope:
        """Answer a keyed signal whose orders were recorded by a process that died."""
        answers = [_answer_of(record) for record in records]
        signal = Signal(action=records[0].side, order_type=records[0].type, remark="resumed after an interruption")
        return self.answer(records, answers, signal, timing_of([started]), [])

    # -- close

    def _close(
        self, name: str, symbol: str, signal: Signal, started: float, claim: Callable[[], None] | None
    ) -> Envelope:
        """Close exactly what is open; both legs in hedge mode. A spot holding is sold down to the lot."""
        answer = registry.call(name, "get_positions", symbol)
        if not answer["success"]:
            return self._conclude([], [answer], signal, started, [], None, claim)
        records: list[OrderRecord] = []
        dust: list[str] = []
        for position in answer["data"]:
            if position["symbol"] == symbol and position["size"] > 0:
                record = self._closing_order(name, position, signal, len(records))
                if record is None:
                    dust.append(f"{position['size']} {symbol.split('-')[0]} is below the smallest order and stays")
                else:
                    records.append(record)
        if not records:
            words = "; ".join(["nothing to close", *dust])
            facts = {"status": "none", "nothing_to_do": True}
            return self._conclude([], [ok(None, words)], signal, started, [], facts, claim)
        snapshot = self.risk.prepare(name, symbol)
        return self._send(records, signal, started, claim, snapshot)

    def _closing_order(self, name: str, position: Mapping[str, Any], signal: Signal, leg: int) -> OrderRecord | None:
        symbol = position["symbol"]
        rules = registry.rules(name, symbol)
        size = round_down(exact(position["size"]), rules.lot_size)
        if size < rules.min_amount:
            return None
        market = signal.order_type == "market"
        draft = Draft(
            symbol=symbol,
            side="sell" if position["side"] == "long" else "buy",
            type=signal.order_type,
            amount=size,
            price=signal.price,
            client_order_id=keyed_client_order_id(signal.key, leg) if signal.key else None,
            time_in_force=signal.time_in_force,
            post_only=signal.post_only,
            reduce_only=symbol.endswith("-SWAP"),
            max_slippage=(signal.max_slippage or self.risk.limits.price_collar) if market else None,
            timeout=signal.timeout,
            strategy=signal.strategy,
        )
        return prepare(name, draft)

    # -- protection of entries

    def _protect_entry(self, record: OrderRecord, answer: Envelope) -> None:
        """Place what protects the filled part of an entry; say plainly what is not protected."""
        if not record.rid or record.outcome:
            return
        answer["data"]["protection"] = placed = self.protect(record)
        failed = [item["message"] for item in placed if not item["success"]]
        if failed:
            remark = "NOT PROTECTED: " + "; ".join(failed)
        elif record.is_open:
            remark = "stop_loss and take_profit are placed as it fills, by run() or the next call of sync()"
        else:
            return
        answer["message"] = "; ".join(filter(None, [answer["message"], remark]))

    def protect(self, record: OrderRecord) -> list[Envelope]:
        """Place protective orders for what an entry has filled beyond what is protected already."""
        placed = []
        for word, kind in (("stop_loss", "stop"), ("take_profit", "take_profit")):
            if record.options and word in record.options and record.filled:
                order = self._protective(record, word, kind)
                if order is not None:
                    placed += submit(self.orders, [order])
        return placed

    def _protective(self, entry: OrderRecord, word: str, kind: str) -> OrderRecord | None:
        """Make the next protective order of an entry; its id tells entry, kind and count, so it is placed once."""
        covered, count = ZERO, 0
        while child := self.orders.find(f"{entry.client_order_id}{kind[0]}{count}"):
            covered, count = covered + (child.amount if child.status != "rejected" else ZERO), count + 1
        if entry.filled <= covered:
            return None
        swap = entry.symbol.endswith("-SWAP")
        draft = Draft(
            symbol=entry.symbol,
            side="sell" if entry.side == "buy" else "buy",
            type=kind,
            amount=entry.filled - covered if swap else self._sellable(entry, entry.filled - covered),
            stop_price=entry.options[word] if entry.options else None,
            client_order_id=f"{entry.client_order_id}{kind[0]}{count}",
            reduce_only=swap,
            strategy=entry.strategy,
            extra={"parent": entry.client_order_id},
        )
        return prepare(entry.exchange, draft)

    @staticmethod
    def _sellable(entry: OrderRecord, amount: Decimal) -> Decimal:
        # A spot fee taken in base leaves less than was bought.
        base = entry.symbol.partition("-")[0]
        return amount - entry.fee if entry.fee_currency == base else amount

    # -- many at once

    def send_checked(self, record: OrderRecord, signal: Signal, started: float) -> Envelope:
        """Check and send an order made earlier, by a snapshot of now."""
        return self._send([record], signal, started, None, self.risk.prepare(record.exchange, record.symbol))

    def execute_signals(self, batch: Sequence[Mapping[str, Any]]) -> list[Envelope]:
        """Carry out many signals with one commit before and one after; each has its own answer, in their order.

        Args:
            batch: signals, each with exchange_name (or exchange) and symbol beside the keys of execute_signal.

        Signals of one symbol keep their order. One that needs more than one step (close, key, leverage, stop_loss,
        take_profit) is carried out alone, between those before and those after it.
        """
        return execute_batch(self, batch)

    # -- risk signals

    def handle_risk_signal(self, risk_signal: Mapping[str, Any]) -> Envelope:
        """Carry out a liquidation signal: cancel every order, then close every position, of a symbol or of all.

        Args:
            risk_signal: {"signal": "liquidate", "exchange", "symbol" (None = all), "timestamp"}.

        Returns:
            Envelope around {"exchange", "symbol", "cancelled", "closed": list, "left": list}.
        """
        try:
            if not isinstance(risk_signal, Mapping) or risk_signal.get("signal") != "liquidate":
                raise Refused("INVALID_ORDER", f"a risk signal must say signal 'liquidate', not {risk_signal!r:.80}")
            name = registry.canonical(risk_signal.get("exchange"))
            symbol = risk_signal.get("symbol")
            unified = None if symbol is None else registry.symbol_of(name, symbol)
        except ExecutionError as error:
            return failure(error)
        cancelled = canceler.cancel_all_orders(name, unified)
        closed = self._close_all(name, unified)
        data = {
            "exchange": name,
            "symbol": unified,
            "cancelled": cancelled["cancelled_count"],
            "orders_left": [] if cancelled["success"] else cancelled["data"].get("left", []),
            "closed": closed,
        }
        bad = [answer["message"] for answer in closed if not answer["success"]]
        if not cancelled["success"]:
            bad.insert(0, cancelled["message"])
        if bad:
            first = next((a["data"] for a in closed if not a["success"]), cancelled["data"])
            code = first.get("error", "VENUE_REJECTED")
            return fail(code, "; ".join(bad), first.get("outcome", "unknown"), **data)
        return ok(data, f"{data['cancelled']} orders cancelled, {len(closed)} positions closed")

    def _close_all(self, name: str, symbol: str | None) -> list[Envelope]:
        answer = registry.call(name, "get_positions", symbol)
        if not answer["success"]:
            return [answer]
        wanted = {p["symbol"] for p in answer["data"] if p["size"] > 0 and (symbol is None or p["symbol"] == symbol)}
        return [self.execute_signal(name, one, {"action": "close"}) for one in sorted(wanted)]

    # -- keeping up

    def sync(self, exchange_name: str | None = None) -> list[dict[str, Any]]:
        """Bring open orders up to date with their venues, protect what filled, answer what changed."""
        changed = self.orders.sync(exchange_name)
        for order in changed:
            record = self.orders.find(order["client_order_id"], order["exchange"])
            if record is not None and record.options:
                self.protect(record)
        return changed

    def recover(self) -> list[dict[str, Any]]:
        """Settle what processes that died have left without an outcome; answer the orders that are settled now."""
        settled = []
        for record in self.orders.leftovers():
            self.orders.refresh(record, final=not self._once.is_waiting(record))
            if record.status not in ("pending", "unknown"):
                settled.append(public(record))
        return settled

    def start(self) -> None:
        """On first use: settle leftovers, and watch the deadlines of orders that are open."""
        if not self._started:
            with self._start_lock:
                self._start_once()

    def _start_once(self) -> None:
        if self._started:
            return
        self.recover()
        for record in self.orders.open_records():
            if record.deadline:
                self._watch(record)
        self._started = True

    def _watch(self, record: OrderRecord) -> None:
        self._deadlines.add(record.deadline, record.client_order_id)

    def _timed_out(self, client_order_id: str) -> None:
        """Cancel an order that is still open past its deadline."""
        record = self.orders.find(client_order_id)
        if record is None or not record.is_open:
            return
        answer = canceler.cancel_order(record.exchange, record.symbol, record.order_id or record.client_order_id)
        self.orders.refresh(record)
        if record.is_open:
            log.warning(f"order {client_order_id} is past its time and still open: {answer['message']}")
            self._deadlines.add(clock.now() + 1.0, client_order_id)

    def poll_deadlines(self) -> int:
        """Cancel what is past its time now; needed only under a replaced clock."""
        return self._deadlines.poll()

    def run(self, *sources: Any, **options: Any) -> dict[str, Any]:
        """Stay and carry out signals as they come; see `signal_loop.run`."""
        return signal_loop.run(self, *sources, **options)

    def close(self) -> None:
        """End the background thread and close the store."""
        self._deadlines.stop()
        self.orders.close()


def _check_protection(signal: Signal, symbol: str, reference: Decimal | None) -> None:
    """Refuse protection that would trigger at once or that the market cannot have."""
    if not symbol.endswith("-SWAP"):
        if signal.action == "sell":
            raise Refused("INVALID_ORDER", "stop_loss and take_profit protect an entry; a spot sell is none")
        if signal.stop_loss and signal.take_profit:
            raise Refused("INVALID_ORDER", "a spot holding can back one of stop_loss and take_profit, not both")
    if reference is None:
        return
    direction = 1 if signal.action == "buy" else -1
    if signal.stop_loss and (reference - signal.stop_loss) * direction <= 0:
        raise Refused("INVALID_ORDER", f"stop_loss {signal.stop_loss} would trigger at once: the price is {reference}")
    if signal.take_profit and (signal.take_profit - reference) * direction <= 0:
        raise Refused(
            "INVALID_ORDER", f"take_profit {signal.take_profit} would trigger at once: the price is {reference}"
        )


def _is_open_question(answer: Envelope) -> bool:
    """Tell whether the outcome is unknown, so that the same key must ask again."""
    return not answer["success"] and answer["data"].get("outcome") == "unknown"


def _answer_of(record: OrderRecord) -> Envelope:
    """Answer a record as its send would have been answered."""
    if record.outcome == "" or record.filled:
        return ok(public(record))
    words = "the venue refused it" if record.outcome == "rejected" else "it never reached the venue"
    words = "its outcome is not known yet" if record.status in ("unknown", "pending") else words
    outcome: Any = "unknown" if record.status in ("unknown", "pending") else record.outcome
    return fail("VENUE_REJECTED" if outcome == "rejected" else "TIMEOUT", words, outcome)


def _order_of(record: OrderRecord, answer: Envelope) -> dict[str, Any]:
    """Answer the public order of a record, the one that its answer holds already where it does."""
    data: dict[str, Any] = answer["data"]
    return data if answer["success"] and "client_order_id" in data else public(record)


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
        return [failure(error) for _ in batch]
    return executor.execute_signals(batch)
