"""Many signals at once: one commit before, one after, and between them each venue is sent its own in order."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from Execution import registry
from Execution.common.envelope import failure
from Execution.common.errors import ExecutionError, Refused
from Execution.common.order import OrderRecord
from Execution.common.risk import Verdict
from Execution.common.risk_state import Snapshot
from Execution.common.types import Envelope
from Execution.order_sender import submit
from Execution.signals.answers import STATE_STALE, answer_of, timing_of
from Execution.signals.parse import Signal, parse

if TYPE_CHECKING:
    from Execution.executor import Executor

Item = tuple[int, OrderRecord, Signal, Snapshot]


def execute_batch(executor: Executor, batch: Sequence[Mapping[str, Any]]) -> list[Envelope]:
    """Carry out signals in their order; see `Executor.execute_signals`."""
    answers: list[Envelope | None] = [None] * len(batch)
    group: list[Item] = []
    snapshots: dict[tuple[str, str], Snapshot] = {}
    for index, entry in enumerate(batch):
        try:
            name, symbol, content = _split(entry)
            parsed = parse(content)
            if parsed.key or not parsed.is_plain:
                _send(executor, group, answers)
                snapshots.clear()
                answers[index] = executor.execute_signal(name, symbol, content)
                continue
            snapshot = snapshots.get((name, symbol))
            if snapshot is None:
                snapshot = snapshots[name, symbol] = executor.risk.prepare(name, symbol)
            group.append((index, executor.order_of(name, symbol, parsed, snapshot), parsed, snapshot))
        except ExecutionError as error:
            answers[index] = failure(error)
    _send(executor, group, answers)
    return [answer for answer in answers if answer is not None]


def _split(entry: Mapping[str, Any]) -> tuple[str, str, dict[str, Any]]:
    """Take a signal of a batch apart: exchange, symbol, the signal itself."""
    if type(entry) is not dict and not isinstance(entry, Mapping):
        raise Refused("INVALID_ORDER", f"a signal must be a dict, not {entry!r:.60}")
    content = dict(entry)
    exchange = content.pop("exchange_name", None) or content.pop("exchange", None)
    symbol = content.pop("symbol", None)
    if not exchange or not symbol:
        missing = [name for name, value in (("exchange_name", exchange), ("symbol", symbol)) if not value]
        raise Refused("INVALID_ORDER", "; ".join(f"{name} is missing" for name in missing))
    return *registry.market(exchange, symbol), content


def _send(executor: Executor, group: list[Item], answers: list[Envelope | None]) -> None:
    """Record, send and settle what has gathered; empties the group."""
    if not group:
        return
    started = time.perf_counter()
    marks = [started, started]
    records = [item[1] for item in group]
    verdicts: list[Verdict | None] = []
    position = iter(group)

    def check(record: OrderRecord) -> Envelope | None:
        verdict = executor.risk.verdict(record, next(position)[3])
        verdicts.append(verdict)
        return None if verdict.allowed else executor.deny(record, verdict)

    results = submit(executor.orders, records, check=check, marks=marks)
    timing = timing_of(marks)
    verdicts += [None] * (len(group) - len(verdicts))
    for (index, record, signal, _), result, verdict in zip(group, results, verdicts, strict=True):
        if verdict is not None and verdict.code == STATE_STALE:
            answers[index] = executor.send_checked(record, signal, started)
        else:
            answers[index] = answer_of([record], [result], timing, verdict, signal.remark)
    group.clear()
