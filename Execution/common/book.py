"""The open orders in memory, with the running sums that risk asks for: nothing here grows with the orders ever sent."""

from __future__ import annotations

from decimal import Decimal

from Execution.common.order import ZERO, OrderRecord
from Execution.common.types import OPEN_STATUSES


def leg_of(symbol: str, side: str) -> str:
    """Answer the name that a sum of one side has among those of a symbol."""
    return f"{symbol} {side}"


_SIZES = 4096


class Book:
    """Open orders by client_order_id; per (exchange, symbol) what they may still buy and sell; counts per exchange."""

    def __init__(self) -> None:
        self.orders: dict[str, OrderRecord] = {}
        self._exposure: dict[tuple[str, str], list[Decimal]] = {}
        self._counts: dict[str, int] = {}
        self._sizes: dict[Decimal, Decimal] = {}
        self.unknown: dict[str, OrderRecord] = {}
        self._net_filled: dict[str, dict[str, Decimal]] = {}
        self._loads = 0

    def clear(self) -> None:
        """Forget everything."""
        self._loads += 1
        self._net_filled.clear()
        self.orders.clear()
        self._exposure.clear()
        self._counts.clear()
        self.unknown.clear()

    def enter(self, record: OrderRecord) -> None:
        """Take in an open order; order sizes repeat, so equal ones share one number."""
        if len(self._sizes) < _SIZES:
            record.amount = self._sizes.setdefault(record.amount, record.amount)
        else:
            record.amount = self._sizes.get(record.amount, record.amount)
        self.orders[record.client_order_id] = record
        self._counts[record.exchange] = self._counts.get(record.exchange, 0) + 1
        self._expose(record, record.amount - record.filled)
        if record.status == "unknown":
            self.unknown[record.client_order_id] = record

    def replace(self, record: OrderRecord) -> None:
        """Keep this object where another one of the same order was kept."""
        for orders in (self.orders, self.unknown):
            if record.client_order_id in orders:
                orders[record.client_order_id] = record

    def changed(self, record: OrderRecord, filled_before: Decimal) -> None:
        """Keep the sums right after an order changed; let it go where it ended."""
        if record.status == "unknown":
            self.unknown[record.client_order_id] = record
        elif self.unknown:
            self.unknown.pop(record.client_order_id, None)
        self.traded(record, filled_before)
        if record.status in OPEN_STATUSES:
            if record.filled != filled_before:
                self._expose(record, filled_before - record.filled)
            return
        self._expose(record, filled_before - record.amount)
        del self.orders[record.client_order_id]
        self._counts[record.exchange] -= 1

    def exposure(self, exchange: str, symbol: str) -> tuple[Decimal, Decimal]:
        """Answer what open orders may still buy and sell, in base units, reduce-only ones left out."""
        sums = self._exposure.get((exchange, symbol))
        return (sums[0], sums[1]) if sums else (ZERO, ZERO)

    def count(self, exchange: str) -> int:
        """Answer the number of open orders."""
        return self._counts.get(exchange, 0)

    def traded(self, record: OrderRecord, filled_before: Decimal) -> None:
        """Count what an order filled, open or ended."""
        if record.filled != filled_before:
            sums = self._net_filled.setdefault(record.exchange, {})
            amount = record.filled - filled_before
            sums[record.symbol] = sums.get(record.symbol, ZERO) + (amount if record.side == "buy" else -amount)
            if "reduce_only" not in record.terms:
                leg = leg_of(record.symbol, record.side)
                sums[leg] = sums.get(leg, ZERO) + amount

    def net_filled(self, exchange: str) -> tuple[int, dict[str, Decimal]]:
        """Answer (n, sums since the book was loaded for the n-th time); do not change them.

        {symbol: bought less sold, leg_of(symbol, side): filled on a side by orders that are not reduce-only}.
        """
        return self._loads, self._net_filled.get(exchange) or {}

    def _expose(self, record: OrderRecord, amount: Decimal) -> None:
        if "reduce_only" in record.terms:
            return
        sums = self._exposure.get((record.exchange, record.symbol))
        if sums is None:
            sums = self._exposure[record.exchange, record.symbol] = [ZERO, ZERO]
        sums[record.side == "sell"] += amount
