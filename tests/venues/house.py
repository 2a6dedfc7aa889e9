"""What a local venue server trades on: the matching engine with one account for each key, its orders and fills kept."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any, Literal

from msgspec.structs import replace

from Execution.matching.engine import Engine
from Execution.matching.model import Fill, Order, Request, Spec

ANY_SIZE = Decimal("1e6")


def specs(spot_step: str = "0.00001", swap_step: str = "0.001", contract: str = "1") -> list[Spec]:
    """Answer the instruments every local venue lists: BTC and ETH, spot and perpetual."""
    found = []
    for base, tick in (("BTC", "0.1"), ("ETH", "0.01")):
        for kind, lot, notional in (("spot", spot_step, "5"), ("swap", swap_step, "5")):
            symbol = f"{base}-USDT" + ("-SWAP" if kind == "swap" else "")
            found.append(
                Spec(
                    symbol, base, "USDT", kind, Decimal(tick), Decimal(lot), Decimal(lot), Decimal(10000),  # type: ignore[arg-type]
                    Decimal(notional), Decimal("0.0002"), Decimal("0.0005"),
                    contract_size=Decimal(contract) if kind == "swap" else Decimal(1), max_leverage=100,
                    maintenance_rate=Decimal("0.005"),
                )
            )  # fmt: skip
    return found


class House:
    """One engine, its accounts, every order and fill there ever was. Called by one thread at a time."""

    def __init__(self, instruments: Iterable[Spec]) -> None:
        self.specs: dict[str, Spec] = {spec.symbol: spec for spec in instruments}
        self.engine = Engine(self.specs.values(), default_leverage=10)
        self.orders: dict[int, Order] = {}
        self.fills: list[Fill] = []
        self.marks: dict[str, tuple[Decimal, Decimal]] = {}
        for symbol, bid in (
            ("BTC-USDT", "60000"),
            ("BTC-USDT-SWAP", "60000"),
            ("ETH-USDT", "3000"),
            ("ETH-USDT-SWAP", "3000"),
        ):
            if symbol in self.specs:
                self.move(symbol, float(bid), float(bid) + 1)

    def open(self, account: str, balances: Mapping[str, Any], mode: Literal["net", "hedge"] = "net") -> None:
        """Open an account."""
        self.engine.open_account(account, {k: Decimal(str(v)) for k, v in balances.items()}, position_mode=mode)
        self._note()

    def move(self, symbol: str, bid: float, ask: float, size: Decimal = ANY_SIZE) -> None:
        """Set the best prices; resting and conditional orders react."""
        low, high, now = Decimal(str(bid)), Decimal(str(ask)), time.time()
        self.marks[symbol] = low, high
        self.engine.on_quote(symbol, low, size, high, size, now)
        self.engine.on_trade(symbol, (low + high) / 2, Decimal(0), "buy", now)
        self._note()

    def place(self, account: str, request: Request) -> Order:
        """Place an order; raises model.Rejected."""
        try:
            return replace(self.engine.place(account, request, time.time()))
        finally:
            self._note()

    def cancel(self, account: str, order_id: int) -> Order:
        """Cancel a live order; raises model.Rejected."""
        try:
            return replace(self.engine.cancel(account, order_id, time.time()))
        finally:
            self._note()

    def of(self, account: str) -> list[Order]:
        """Answer every order of an account, oldest first."""
        return [order for order in self.orders.values() if order.account == account]

    def fills_of(self, order_id: int) -> list[Fill]:
        """Answer the fills of an order."""
        return [fill for fill in self.fills if fill.order_id == order_id]

    def _note(self) -> None:
        changes = self.engine.drain()
        for order in changes.orders:
            self.orders[order.order_id] = replace(order)
        self.fills += changes.fills
