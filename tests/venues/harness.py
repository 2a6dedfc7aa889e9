"""How the contract test runs each built venue: settings, symbols, and a hand on the market."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from Execution import registry
from Execution.exchanges import paper
from tests.venues import binance as binance_venue
from tests.venues import gate as gate_venue
from tests.venues import okx as okx_venue


@dataclass
class Harness:
    """One venue ready to be traded on. `move` sets the best prices of a symbol; money for a few trades is there.

    What not every venue can do, and what the tests do then:
        min_notional: its perpetuals have a least notional.
        fills_of_all: tells executions of all symbols at once; else they are asked for symbol by symbol.
        fills_name_ids: tells our id with each execution; else only with those of one order.
        tells_fees_at_once: the answer to an order has its fee; else its status has.
        unique_ids: refuses a client order id that it has seen: "always", while its order is "live", or "never".
        fok_ends: takes a FOK order that cannot be filled and ends it, rather than refusing it.
        wallets: where ccxt sees its money, in ccxt's words; ours adds them up.
    """

    name: str
    spot: str
    swap: str
    move: Callable[[str, float, float], None]
    min_notional: bool = True
    fills_of_all: bool = True
    fills_name_ids: bool = True
    tells_fees_at_once: bool = True
    unique_ids: str = "always"
    fok_ends: bool = True
    wallets: tuple[str, ...] = ("",)

    def call(self, function: str, *args: Any, **kwargs: Any) -> Any:
        return registry.call(self.name, function, *args, **kwargs)

    def good(self, function: str, *args: Any, **kwargs: Any) -> Any:
        """Answer the data of a call that must succeed."""
        answer = self.call(function, *args, **kwargs)
        assert answer["success"], answer
        return answer["data"]

    def fills(self, **options: Any) -> Any:
        """Answer the executions of all symbols, oldest first."""
        if self.fills_of_all:
            return self.good("get_fills", **options)
        found = [fill for symbol in (self.spot, self.swap) for fill in self.good("get_fills", symbol, **options)]
        return sorted(found, key=lambda fill: fill["timestamp"])

    def settled(self, order: Any) -> Any:
        """Answer an order with its fee."""
        return order if self.tells_fees_at_once else self.good("get_order_status", order["symbol"], order["order_id"])


def _paper(monkeypatch: pytest.MonkeyPatch) -> Harness:
    monkeypatch.setenv("PAPER_SOURCE", "fixed")
    monkeypatch.setenv("PAPER_BALANCES", "USDT=100000,ETH=2")

    def move(symbol: str, bid: float, ask: float) -> None:
        assert paper.set_price(symbol, bid, ask)["success"]

    harness = Harness("paper", "BTC-USDT", "BTC-USDT-SWAP", move)
    for symbol in (harness.spot, harness.swap):
        move(symbol, 60000.0, 60001.0)
    return harness


def _okx(monkeypatch: pytest.MonkeyPatch) -> Harness:
    server = okx_venue.serve()
    for name, value in (
        ("BASE_URL", server.url),
        ("API_KEY", "key-1"),
        ("API_SECRET", "secret-of-key-1"),
        ("PASSPHRASE", "phrase-of-key-1"),
    ):
        monkeypatch.setenv(f"OKX_{name}", value)
    return Harness("okx", "BTC-USDT", "BTC-USDT-SWAP", server.move, min_notional=False)


def _binance(monkeypatch: pytest.MonkeyPatch) -> Harness:
    server = binance_venue.serve()
    for name in ("BINANCE_SPOT_BASE_URL", "BINANCE_FUTURES_BASE_URL"):
        monkeypatch.setenv(name, server.url)
    monkeypatch.setenv("BINANCE_API_KEY", "key")
    monkeypatch.setenv("BINANCE_API_SECRET", "secret")
    return Harness(
        "binance",
        "BTC-USDT",
        "BTC-USDT-SWAP",
        server.house.move,
        fills_of_all=False,
        fills_name_ids=False,
        tells_fees_at_once=False,
        unique_ids="live",
        wallets=("spot", "swap"),
    )


def _gate(monkeypatch: pytest.MonkeyPatch) -> Harness:
    server = gate_venue.serve()
    monkeypatch.setenv("GATE_BASE_URL", server.url)
    monkeypatch.setenv("GATE_API_KEY", gate_venue.KEY)
    monkeypatch.setenv("GATE_API_SECRET", gate_venue.SECRET)
    # Gate documents no uniqueness of `text`, perpetuals have a least number of contracts instead of a notional, and
    # there are error labels for a FOK order that cannot be filled.
    return Harness(
        "gate",
        "BTC-USDT",
        "BTC-USDT-SWAP",
        server.move,
        min_notional=False,
        unique_ids="never",
        fok_ends=False,
        wallets=("spot", "swap"),
    )


HARNESSES: dict[str, Callable[[pytest.MonkeyPatch], Harness]] = {
    "binance": _binance,
    "gate": _gate,
    "okx": _okx,
    "paper": _paper,
}
