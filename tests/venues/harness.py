"""How the contract test runs each built venue: settings, symbols, and a hand on the market."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from Execution import registry
from Execution.exchanges import paper


@dataclass
class Harness:
    """One venue ready to be traded on. `move` sets the best prices of a symbol; money for a few trades is there."""

    name: str
    spot: str
    swap: str
    move: Callable[[str, float, float], None]

    def call(self, function: str, *args: Any, **kwargs: Any) -> Any:
        return registry.call(self.name, function, *args, **kwargs)

    def good(self, function: str, *args: Any, **kwargs: Any) -> Any:
        """Answer the data of a call that must succeed."""
        answer = self.call(function, *args, **kwargs)
        assert answer["success"], answer
        return answer["data"]


def _paper(monkeypatch: pytest.MonkeyPatch) -> Harness:
    monkeypatch.setenv("PAPER_SOURCE", "fixed")
    monkeypatch.setenv("PAPER_BALANCES", "USDT=100000,ETH=2")

    def move(symbol: str, bid: float, ask: float) -> None:
        assert paper.set_price(symbol, bid, ask)["success"]

    harness = Harness("paper", "BTC-USDT", "BTC-USDT-SWAP", move)
    for symbol in (harness.spot, harness.swap):
        move(symbol, 60000.0, 60001.0)
    return harness


HARNESSES: dict[str, Callable[[pytest.MonkeyPatch], Harness]] = {"paper": _paper}
