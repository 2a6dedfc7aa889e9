"""A venue in memory that satisfies the contract, with switches for what real ones do wrong.

    venue = FakeVenue("fake"); registry.register(venue)

Limit, stop and take-profit orders rest until `fill` or a cancel; market orders fill at once at bid or ask. Positions
are whatever `positions` holds. `calls` notes every call.
"""

from __future__ import annotations

import itertools
import os
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from Execution import registry
from Execution.common import clock, settings
from Execution.common.envelope import fail, ok
from Execution.common.precision import exact
from Execution.order_manager import default_manager


class FakeVenue:
    """Switches: see the attributes set in `__init__`."""

    def __init__(self, name: str = "fake", *, local: bool = False) -> None:
        self.UNSUPPORTED: dict[str, str] = {}
        self.NAME = name
        self.LOCAL = local
        self.ABSENCE_GRACE = 0.0
        self.calls: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = []
        self.lock = threading.Lock()
        self.ids = itertools.count(1)
        self.orders: dict[str, dict[str, Any]] = {}
        self.positions: list[dict[str, Any]] = []
        self.equity = 100_000.0
        self.unrealized_pnl = 0.0
        self.margin_ratio = 0.0
        self.currency = "USDT"
        self.position_mode = "net"
        self.balances: dict[str, dict[str, float]] = {}
        self.quotes: dict[str, tuple[float | None, float | None, float | None]] = {}
        self.default_quote: tuple[float | None, float | None, float | None] = (99.0, 101.0, 100.0)
        self.lot, self.least, self.min_notional = 0.001, 0.001, 5.0
        # Faults.
        self.failing: dict[str, tuple[str, str]] = {}
        """function -> (error, outcome): it answers that and does nothing."""
        self.raising: dict[str, Exception] = {}
        self.before: Callable[[str], Any] = lambda function: None
        """Called with the name of each function before it does anything."""
        self.script: dict[str, deque[Any]] = {}
        """function -> what its next calls answer, or raise, or (a callable) do; None = as usual."""
        self.hang: threading.Event | None = None
        """Every call waits for it."""
        self.leaves_conditional = False
        """cancel_all_orders forgets stop and take-profit orders and says success."""
        self.undying: set[str] = set()
        """Orders that no cancel reaches."""
        self.lost_cancel_answers = 0
        """So many cancels work, but their answer is lost."""
        self.silent_cancels = 0
        """So many cancels answer a time-out and do nothing."""
        self.slow_cancels = False
        """cancel_order answers the order as still open though it is cancelled."""
        self.lagging_reads: deque[list[dict[str, Any]]] = deque()
        """Open orders as the next reads will still show them."""

    def _enter(self, function: str, *args: Any, **kwargs: Any) -> Any:
        with self.lock:
            self.calls.append((function, args, kwargs))
        self.before(function)
        if self.hang is not None:
            self.hang.wait(30)
        if function in self.raising:
            raise self.raising[function]
        if function in self.failing:
            error, outcome = self.failing[function]
            return fail(error, f"{self.NAME} says so", outcome)  # type: ignore[arg-type]
        if self.script.get(function):
            return self._play(self.script[function].popleft(), args, kwargs)
        return None

    @staticmethod
    def _play(item: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if isinstance(item, BaseException):
            raise item
        return item(*args, **kwargs) if callable(item) else item

    def then(self, function: str, *answers: Any) -> None:
        """Script the next calls of a function."""
        self.script.setdefault(function, deque()).extend(answers)

    def called(self, function: str) -> int:
        """Answer how often a function was called."""
        return sum(1 for name, _, _ in self.calls if name == function)

    # -- orders

    def add(self, symbol: str = "BTC-USDT-SWAP", side: str = "buy", kind: str = "limit", **more: Any) -> dict[str, Any]:
        """Put an order on the venue."""
        number = str(next(self.ids))
        order: dict[str, Any] = {
            "order_id": number,
            "client_order_id": f"c-{number}",
            "symbol": symbol,
            "side": side,
            "type": kind,
            "amount": 1.0,
            "price": 100.0 if kind == "limit" else None,
            "stop_price": 90.0 if kind in ("stop", "take_profit") else None,
            "status": "open",
            "filled": 0.0,
            "remaining": 1.0,
            "average_price": None,
            "fee": 0.0,
            "fee_currency": "USDT",
            "time_in_force": "GTC",
            "post_only": False,
            "reduce_only": False,
            "timestamp": clock.now(),
            "updated": clock.now(),
            **more,
        }
        order["remaining"] = order["amount"] - order["filled"]
        self.orders[number] = order
        return order

    def fill(self, order: dict[str, Any], price: float | None = None) -> None:
        """Fill an order and move the position."""
        price = price or order["price"] or 100.0
        amount = order["remaining"]
        order |= {"status": "filled", "filled": order["amount"], "remaining": 0.0, "average_price": price}
        order["fills"] = []
        self.move(order["symbol"], amount if order["side"] == "buy" else -amount, price)

    def move(self, symbol: str, signed: float, price: float = 100.0) -> None:
        """Change the net position."""
        held = next((p for p in self.positions if p["symbol"] == symbol), None)
        size = 0.0 if held is None else held["size"] * (1 if held["side"] == "long" else -1)
        size = float(exact(size) + exact(signed))
        self.positions = [p for p in self.positions if p["symbol"] != symbol]
        if size:
            self.positions.append(position(symbol, "long" if size > 0 else "short", abs(size), price))

    def _place(self, kind: str, symbol: str, side: str, amount: Any, **more: Any) -> Any:
        if (failed := self._enter(f"place_{kind}_order", symbol, side, amount, **more)) is not None:
            return failed
        client_order_id = more.pop("client_order_id", None) or f"c-{len(self.orders)}"
        more.pop("max_slippage", None)
        prices = {key: float(more.pop(key)) for key in ("price", "stop_price") if more.get(key) is not None}
        order = self.add(
            symbol, side, kind, amount=float(amount), client_order_id=client_order_id, **{**more, **prices}
        )
        if kind == "market":
            bid, ask, _ = self.quotes.get(symbol, self.default_quote)
            self.fill(order, ask if side == "buy" else bid)
        return ok(dict(order))

    def place_limit_order(self, symbol: str, side: str, amount: Any, price: Any, **options: Any) -> Any:
        return self._place("limit", symbol, side, amount, price=price, **options)

    def place_market_order(self, symbol: str, side: str, amount: Any, **options: Any) -> Any:
        return self._place("market", symbol, side, amount, **options)

    def place_stop_order(
        self, symbol: str, side: str, amount: Any, stop_price: Any, price: Any = None, **options: Any
    ) -> Any:
        return self._place("stop", symbol, side, amount, stop_price=stop_price, price=price, **options)

    def place_take_profit_order(
        self, symbol: str, side: str, amount: Any, stop_price: Any, price: Any = None, **options: Any
    ) -> Any:
        return self._place("take_profit", symbol, side, amount, stop_price=stop_price, price=price, **options)

    def _find(self, symbol: str, order_id: str | None, client_order_id: str | None) -> dict[str, Any] | None:
        for order in self.orders.values():
            known = order["order_id"] == order_id if order_id else order["client_order_id"] == client_order_id
            if known and order["symbol"] == symbol:
                return order
        return None

    def cancel_order(self, symbol: str, order_id: str | None = None, *, client_order_id: str | None = None) -> Any:
        failed = self._enter("cancel_order", symbol, order_id, client_order_id=client_order_id)
        if failed is not None:
            return failed
        if self.silent_cancels:
            self.silent_cancels -= 1
            return fail("TIMEOUT", "no answer", "unknown")
        order = self._find(symbol, order_id, client_order_id)
        if order is None or order["status"] not in ("open", "partially_filled"):
            return fail("ORDER_NOT_FOUND", "unknown or finished", "rejected")
        if order["order_id"] in self.undying:
            return fail("VENUE_REJECTED", "it will not die", "rejected")
        order["status"] = "cancelled"
        if self.lost_cancel_answers:
            self.lost_cancel_answers -= 1
            return fail("TIMEOUT", "no answer", "unknown")
        return ok({**order, "status": "open"} if self.slow_cancels else dict(order))

    def cancel_all_orders(self, symbol: str | None = None) -> Any:
        if (failed := self._enter("cancel_all_orders", symbol)) is not None:
            return failed
        cancelled = []
        for order in self._open(symbol):
            skipped = self.leaves_conditional and order["type"] in ("stop", "take_profit")
            if not skipped and order["order_id"] not in self.undying:
                order["status"] = "cancelled"
                cancelled.append(order["order_id"])
        return ok({"cancelled": cancelled, "failed": []})

    def _open(self, symbol: str | None) -> list[dict[str, Any]]:
        live = [order for order in self.orders.values() if order["status"] in ("open", "partially_filled")]
        return [order for order in live if symbol in (None, order["symbol"])]

    def get_order_status(self, symbol: str, order_id: str | None = None, *, client_order_id: str | None = None) -> Any:
        failed = self._enter("get_order_status", symbol, order_id, client_order_id=client_order_id)
        if failed is not None:
            return failed
        order = self._find(symbol, order_id, client_order_id)
        return ok(dict(order)) if order else fail("ORDER_NOT_FOUND", "unknown", "rejected")

    def get_open_orders(self, symbol: str | None = None) -> Any:
        if (failed := self._enter("get_open_orders", symbol)) is not None:
            return failed
        if self.lagging_reads:
            return ok([dict(order) for order in self.lagging_reads.popleft()])
        return ok([dict(order) for order in self._open(symbol)])

    def get_fills(self, symbol: str | None = None, *, order_id: str | None = None, since: float | None = None) -> Any:
        return self._enter("get_fills", symbol, order_id=order_id, since=since) or ok([])

    # -- account

    def get_account_info(self) -> Any:
        return self._enter("get_account_info") or ok(
            {
                "total_equity": self.equity,
                "available": self.equity,
                "used_margin": 0.0,
                "maintenance_margin": self.margin_ratio * self.equity,
                "margin_ratio": self.margin_ratio,
                "unrealized_pnl": self.unrealized_pnl,
                "currency": self.currency,
                "position_mode": self.position_mode,
                "balances": self.balances,
                "timestamp": clock.now(),
            }
        )

    def get_positions(self, symbol: str | None = None) -> Any:
        if (failed := self._enter("get_positions", symbol)) is not None:
            return failed
        return ok([dict(p) for p in self.positions if symbol in (None, p["symbol"])])

    def adjust_position(self, symbol: str, side: str, amount: Any, price: Any = None) -> Any:
        return self._enter("adjust_position", symbol, side, amount, price) or fail("NOT_SUPPORTED", "no", "not_sent")

    def set_leverage(self, symbol: str, leverage: int) -> Any:
        return self._enter("set_leverage", symbol, leverage) or ok({"symbol": symbol, "leverage": leverage})

    def cancel_all_after(self, seconds: float) -> Any:
        return self._enter("cancel_all_after", seconds) or ok({"seconds": seconds, "trigger_time": None})

    # -- market

    def get_ticker(self, symbol: str) -> Any:
        if (failed := self._enter("get_ticker", symbol)) is not None:
            return failed
        bid, ask, mark = self.quotes.get(symbol, self.default_quote)
        return ok(
            {
                "symbol": symbol,
                "bid": bid,
                "ask": ask,
                "bid_size": 1.0,
                "ask_size": 1.0,
                "last": mark,
                "mark": mark,
                "timestamp": clock.now(),
            }
        )

    def get_instrument(self, symbol: str) -> Any:
        base, quote = symbol.split("-")[:2]
        return self._enter("get_instrument", symbol) or ok(
            {
                "symbol": symbol,
                "base": base,
                "quote": quote,
                "market": "swap" if symbol.endswith("-SWAP") else "spot",
                "tick_size": 0.1,
                "lot_size": self.lot,
                "min_amount": self.least,
                "max_amount": None,
                "min_notional": self.min_notional,
                "contract_size": 1.0,
                "max_leverage": 50,
                "maker_fee": 0.0,
                "taker_fee": 0.0,
                "active": True,
            }
        )

    def get_klines(self, symbol: str, interval: str, *, start: float | None = None, limit: int = 500) -> Any:
        return self._enter("get_klines", symbol, interval, start=start, limit=limit) or ok([])

    def get_server_time(self) -> Any:
        return self._enter("get_server_time") or ok({"timestamp": clock.now()})


def position(symbol: str, side: str, size: float, entry: float | None = 100.0, **more: Any) -> dict[str, Any]:
    """Answer a position as a venue reports it."""
    return {
        "symbol": symbol,
        "side": side,
        "size": size,
        "entry_price": entry,
        "mark_price": 100.0,
        "liquidation_price": None,
        "notional": size * 100.0,
        "unrealized_pnl": 0.0,
        "realized_pnl": 0.0,
        "leverage": 1.0,
        "margin": 0.0,
        "margin_mode": "cross",
        **more,
    }


@contextmanager
def at_home(path: Path, *venues: FakeVenue) -> Iterator[None]:
    """Register venues and keep everything that is stored in a folder, for the length of a with block."""
    before = {name: os.environ.get(name) for name in ("EXECUTION_HOME", "EXECUTION_STORE")}
    os.environ |= {"EXECUTION_HOME": str(path), "EXECUTION_STORE": str(path / "book.db")}
    settings.forget()
    default_manager.cache_clear()
    for venue in venues:
        registry.register(venue)  # type: ignore[arg-type]
    try:
        yield
    finally:
        if default_manager.cache_info().currsize:
            default_manager().close()
        default_manager.cache_clear()
        for venue in venues:
            registry.unregister(venue.NAME)
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})
        settings.forget()
