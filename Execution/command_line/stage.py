"""A market played to a strategy on the package's clock: the code that trades live, at any speed, in a home of its own.

    with Stage("replay:recording.gz", "BTC-USDT-SWAP", start=begin, stop=end, every=1.0, home=folder) as stage:
        for bar in stage.bars():
            strategy(bar)
        stage.summary()

A strategy is anything that can be called with a bar, a dict: exchange, symbol, timestamp (the end of the bar), open,
high, low, close (mid prices), bid, ask. It trades through `execute_signal(bar["exchange"], bar["symbol"], ...)`.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any, Self

from Execution import executor, order_manager, registry
from Execution.common import clock, settings
from Execution.common.errors import Refused
from Execution.matching import candles, feed
from Execution.simulation import account

Bar = dict[str, Any]
Strategy = Callable[[Bar], object]

EXCHANGE = "paper"
_LOOKS = 4
"""How often the market is looked at within a bar; candles are shown in four steps."""


class Stage:
    """See the module. Samples, one for each bar, are taken before the strategy is called."""

    def __init__(
        self,
        source: str,
        symbol: str,
        *,
        start: float,
        stop: float,
        every: float,
        home: Path,
        speed: float = 0.0,
        more: dict[str, str] | None = None,
    ) -> None:
        """Set up what will be played.

        Args:
            source: PAPER_SOURCE.
            start, stop: seconds UTC of the market.
            every: seconds in a bar.
            home: where the book and the paper account are written.
            speed: times real time; 0 = as fast as it goes.
            more: further settings.
        """
        self.symbol, self.start, self.stop, self.every, self.speed = symbol, start, stop, every, speed
        self.samples: list[dict[str, float]] = []
        self._clock = clock.ManualClock(start)
        self._settings = {
            "EXECUTION_HOME": str(home),
            "EXECUTION_STORE": "",
            "PAPER_STORE": "",
            "PAPER_SOURCE": source,
            **(more or {}),
        }
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        if (Path(self._settings["EXECUTION_HOME"]) / "paper.db").exists():
            home = self._settings["EXECUTION_HOME"]
            raise Refused("CONFIGURATION", f"{home} holds a paper account already; a play begins with a new one")
        config = settings.config_path()
        if config is not None:
            self._settings.setdefault("EXECUTION_CONFIG", str(config))
        before = dict(os.environ)
        self._stack.callback(_restore, before)
        os.environ.update(self._settings)
        forget()
        self._stack.enter_context(clock.use(self._clock))
        # A recording begins with the account's first use: now, not at the first look.
        registry.call(EXCHANGE, "get_account_info")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        executor.default_executor().close()
        self._stack.close()

    @property
    def count(self) -> int:
        """How many bars there will be, at most."""
        return max(0, int((self.stop - self.start) / self.every))

    def bars(self) -> Iterator[Bar]:
        """Play the market; yield each bar when it has ended."""
        began = time.monotonic()
        for number in range(1, self.count + 1):
            bar = self._bar(self.start + (number - 1) * self.every)
            if bar is not None:
                self._sample(bar)
                yield bar
                executor.default_executor().sync(EXCHANGE)
            if self.speed:
                time.sleep(max(0.0, began + number * self.every / self.speed - time.monotonic()))

    def _bar(self, begin: float) -> Bar | None:
        mids: list[float] = []
        seen: dict[str, Any] = {}
        for look in range(1, _LOOKS + 1):
            self._clock.time = begin + self.every * look / _LOOKS
            executor.default_executor().poll_deadlines()
            answer = registry.call(EXCHANGE, "get_ticker", self.symbol)
            if not answer["success"]:
                raise Refused(answer["data"]["error"], answer["message"].partition(": ")[2])
            if answer["data"]["bid"] is not None and answer["data"]["ask"] is not None:
                seen = answer["data"]
                mids.append((seen["bid"] + seen["ask"]) / 2)
        if not mids:
            return None
        prices = {"open": mids[0], "high": max(mids), "low": min(mids), "close": mids[-1]}
        best = {"bid": seen["bid"], "ask": seen["ask"]}
        return {"exchange": EXCHANGE, "symbol": self.symbol, "timestamp": self._clock.time, **prices, **best}

    def _sample(self, bar: Bar) -> None:
        info = registry.call(EXCHANGE, "get_account_info")["data"]
        sizes = registry.call(EXCHANGE, "get_positions", self.symbol)["data"]
        position = sum(p["size"] if p["side"] == "long" else -p["size"] for p in sizes)
        self.samples.append(
            {
                "time": bar["timestamp"],
                "bid": bar["bid"],
                "ask": bar["ask"],
                "mid": bar["close"],
                "equity": info["total_equity"],
                "position": position,
            }
        )

    def orders(self) -> list[dict[str, Any]]:
        """Answer every order of this play, oldest first."""
        return order_manager.default_manager().get_orders_by_time(0.0, self.stop + self.every)

    def fills(self) -> list[dict[str, Any]]:
        """Answer every execution of this play, oldest first."""
        return order_manager.default_manager().get_fills()

    def summary(self) -> dict[str, Any]:
        """Answer what came of it, in numbers."""
        self._settle()
        equity = [sample["equity"] for sample in self.samples]
        fills = self.fills()
        first, last = (equity[0], equity[-1]) if equity else (0.0, 0.0)
        return {
            "symbol": self.symbol,
            "start": self.start,
            "stop": self._clock.time,
            "bars": len(equity),
            "orders": len(self.orders()),
            "fills": len(fills),
            "fees": sum(fill["fee"] for fill in fills),
            "equity_start": first,
            "equity_end": last,
            "profit": last - first,
            "max_drawdown": max_drawdown(equity),
        }

    def _settle(self) -> None:
        """Take in what filled after the last bar, and the equity it left."""
        executor.default_executor().sync(EXCHANGE)
        answer = registry.call(EXCHANGE, "get_ticker", self.symbol)
        seen = answer["data"]
        if self.samples and answer["success"] and seen["bid"] is not None and seen["ask"] is not None:
            mid = (seen["bid"] + seen["ask"]) / 2
            self._sample({"timestamp": self._clock.time, "close": mid, "bid": seen["bid"], "ask": seen["ask"]})


def max_drawdown(equity: list[float]) -> float:
    """Answer the largest fall from a high before it, as a fraction of that high."""
    high, worst = float("-inf"), 0.0
    for value in equity:
        high = max(high, value)
        worst = max(worst, (high - value) / high if high > 0 else 0.0)
    return worst


def span_of(path: Path, symbol: str) -> tuple[str, float, float]:
    """Answer PAPER_SOURCE, first and last moment of a recording or a CSV of candles.

    Raises:
        Refused: CONFIGURATION, naming the file and the fault.
    """
    try:
        if path.name.lower().removesuffix(".gz").endswith(".csv"):
            times = [candle.time for candle in candles.read_candles(path)]
            step = min((b - a for a, b in pairwise(times)), default=60.0)
            return f"candles:{path}", times[0], times[-1] + step
        recording = feed.read(path, symbol=symbol)
        first = last = next(recording).time
        for event in recording:
            last = event.time
        return f"replay:{path}", first, last
    except (OSError, IndexError, StopIteration, candles.CandleError, feed.FeedError) as error:
        raise Refused("CONFIGURATION", f"{path} cannot be played: {error}") from None


def load_strategy(name: str) -> Strategy:
    """Answer the strategy that `module:function`, `path.py` or `path.py:function` names; without a name, on_bar.

    A class is made an object of, without arguments.

    Raises:
        Refused: CONFIGURATION, naming what is missing.
    """
    where, _, attribute = name.rpartition(":") if ":" in name else (name, "", "on_bar")
    module = _module(where)
    found = getattr(module, attribute, None)
    if isinstance(found, type):
        found = found()
    if not callable(found):
        raise Refused("CONFIGURATION", f"{where} has no strategy {attribute!r}: it must be callable with a bar")
    return found  # type: ignore[no-any-return]


def _module(where: str) -> ModuleType:
    if not where.endswith(".py"):
        sys.path.insert(0, str(Path.cwd()))
        try:
            return importlib.import_module(where)
        except ModuleNotFoundError as error:
            raise Refused("CONFIGURATION", f"there is no module {error.name}") from None
        finally:
            sys.path.pop(0)
    path = Path(where).expanduser().resolve()
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None or not path.is_file():
        raise Refused("CONFIGURATION", f"there is no file {where}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


def forget() -> None:
    """Close what is open and have everything read its settings anew."""
    if order_manager.default_manager.cache_info().currsize:
        order_manager.default_manager().close()
    executor.default_executor.cache_clear()
    order_manager.default_manager.cache_clear()
    account.forget()
    settings.forget()
    registry.reset()


def _restore(before: dict[str, str]) -> None:
    os.environ.clear()
    os.environ.update(before)
    forget()
