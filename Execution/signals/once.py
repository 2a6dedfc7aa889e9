"""A signal with a key is carried out once, whoever asks, however often, from whatever process.

new            claimed in the transaction that records its orders
answered       the first result again
being done     by a living process or thread: wait for its result
left undone    by a dead one: ask the venue for each recorded order; one that provably never arrived is sent
               again under the same client_order_id
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from Execution.common import log, process
from Execution.common.envelope import fail
from Execution.common.errors import Refused, StoreError
from Execution.common.journal import SignalRow, decode_answer
from Execution.common.order import OrderRecord
from Execution.common.store import on_fork
from Execution.common.types import Envelope
from Execution.order_manager import OrderManager
from Execution.order_sender import dispatch

_LONGEST_WAIT = 10.0
_POLL = 0.01


class Claimed(Exception):
    """Another process claimed the key in between; nothing was recorded or sent. It passes through to `run`."""


_active: set[tuple[str, str]] = set()
"""(store, key) of what threads of this process are carrying out, whichever executor they use."""
_lock = threading.Lock()


def _forked() -> None:
    global _lock
    _active.clear()
    _lock = threading.Lock()


on_fork(_forked)


class Once:
    """Carries out keyed signals for one order manager."""

    def __init__(self, orders: OrderManager) -> None:
        self._orders = orders
        self._store = orders.journal.database.path

    def run(
        self,
        key: str,
        digest: str,
        carry_out: Callable[[Callable[[], None]], Envelope],
        answer_resumed: Callable[[list[OrderRecord]], Envelope],
    ) -> Envelope:
        """Answer the first result of a key, carrying the signal out where there is none yet.

        Args:
            digest: fingerprint of the signal; the same key with another one is refused.
            carry_out: does it; gets a function to call inside the transaction that records the orders.
            answer_resumed: makes the answer from orders that were recorded earlier.
        """
        patience = time.monotonic() + _LONGEST_WAIT
        while True:
            row = self._orders.journal.signal(key)
            if row is not None and row.digest != digest:
                raise Refused("INVALID_ORDER", f"key {key!r:.80} was used before for a different signal")
            if row is not None and row.answer is not None:
                answer: Envelope = decode_answer(row.answer)
                return answer
            if self._enter(key, row):
                try:
                    if row is None:
                        return carry_out(lambda: self._claim(key, digest))
                    if self._take_over(key, row.owner):
                        return self._resume(key, carry_out, answer_resumed)
                except Claimed:
                    pass
                finally:
                    self._leave(key)
            if time.monotonic() > patience:
                return fail("TIMEOUT", f"key {key!r:.80} is still being carried out", "unknown")
            time.sleep(_POLL)

    def _enter(self, key: str, row: SignalRow | None) -> bool:
        """Reserve the key among the threads of this process; not while another living process has it."""
        if row is not None and row.owner != process.me() and process.alive(row.owner):
            return False
        with _lock:
            if (self._store, key) in _active:
                return False
            _active.add((self._store, key))
            return True

    def _leave(self, key: str) -> None:
        with _lock:
            _active.discard((self._store, key))

    def _claim(self, key: str, digest: str) -> None:
        if not self._orders.journal.claim_signal(key, digest, process.me()):
            raise Claimed

    def _take_over(self, key: str, owner: str) -> bool:
        with self._orders.writing():
            return self._orders.journal.take_over_signal(key, owner, process.me())

    def _resume(
        self,
        key: str,
        carry_out: Callable[[Callable[[], None]], Envelope],
        answer_resumed: Callable[[list[OrderRecord]], Envelope],
    ) -> Envelope:
        records = self._orders.records_by_key(key)
        if not records:
            # Whoever claimed the key was denied, or died, before an order was recorded: nothing can have left.
            return carry_out(lambda: None)
        for record in records:
            if record.status in ("pending", "unknown"):
                resend(self._orders, record)
        answer = answer_resumed(records)
        if not any(record.status in ("pending", "unknown") for record in records):
            self.keep(key, answer)
        return answer

    def keep(self, key: str, answer: Envelope) -> None:
        """Keep the first result of a key. Where the store fails, the next call with it asks the venue again."""
        try:
            with self._orders.writing():
                self._orders.journal.answer_signal(key, answer)
        except StoreError as error:
            log.error(f"the result of key {key!r:.80} could not be kept: {error}")


def resend(orders: OrderManager, record: OrderRecord) -> None:
    """Ask the venue for an order whose send was interrupted; send it again where it provably never arrived."""
    seen = orders.refresh(record)
    if seen["success"] or not orders.is_absent(record, seen):
        return
    if not orders.journal_resend(record):
        return
    (reply,) = dispatch(orders, [record], again=True)
    if not reply["success"] and reply["data"]["error"] == "DUPLICATE_ORDER":
        orders.refresh(record, final=False)
