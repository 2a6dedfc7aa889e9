"""A small strategy: long while the fast average of prices is above the slow one, flat or short while it is below.

It is called with a bar and trades through `execute_signal`, as it would on any venue:

    python -m Execution replay recording.gz --symbol BTC-USDT-SWAP --strategy scripts/moving_average.py:MovingAverage
"""

from __future__ import annotations

from collections import deque
from typing import Any

from Execution import execute_signal


class MovingAverage:
    """Follows the trend. Always in the market once both averages are known, each entry protected by a stop."""

    def __init__(
        self, fast: int = 12, slow: int = 48, size: float = 0.08, stop: float = 0.01, band: float = 0.0001
    ) -> None:
        """Choose the averages.

        Args:
            fast, slow: bars in each average.
            size: of a position, a fraction of equity.
            stop: how far from the price the stop lies, a fraction.
            band: how far apart the averages must be to act, a fraction: less noise, fewer fees.
        """
        self.size, self.stop, self.band = size, stop, band
        self.fast: deque[float] = deque(maxlen=fast)
        self.slow: deque[float] = deque(maxlen=slow)
        self.side = ""
        self.refused: list[str] = []

    def __call__(self, bar: dict[str, Any]) -> None:
        """Look at a bar; turn round where the averages have crossed."""
        self.fast.append(bar["close"])
        self.slow.append(bar["close"])
        if len(self.slow) < (self.slow.maxlen or 0):
            return
        fast, slow = sum(self.fast) / len(self.fast), sum(self.slow) / len(self.slow)
        if fast > slow * (1 + self.band) and self.side != "buy":
            self.turn(bar, "buy")
        elif fast < slow * (1 - self.band) and self.side != "sell":
            self.turn(bar, "sell")

    def turn(self, bar: dict[str, Any], side: str) -> None:
        """Close what is open, then enter on the other side with a stop."""
        exchange, symbol, price = bar["exchange"], bar["symbol"], bar["close"]
        self.send(exchange, symbol, {"action": "close"})
        away = -self.stop if side == "buy" else self.stop
        entry = {"action": side, "equity_fraction": self.size, "stop_loss": round(price * (1 + away), 1)}
        if self.send(exchange, symbol, {**entry, "strategy": "moving_average"}):
            self.side = side

    def send(self, exchange: str, symbol: str, signal: dict[str, Any]) -> bool:
        """Send a signal; remember why where it fails."""
        answer = execute_signal(exchange, symbol, signal)
        if not answer["success"]:
            self.refused.append(answer["message"])
        return answer["success"]


on_bar = MovingAverage()
