"""What the cases of scripts/bench.py share: figures and their verdicts, a home of their own, the peers' process."""

from __future__ import annotations

import gc
import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, Self

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
PREFIXES = ("EXECUTION_", "PAPER_", "RISK_", "OKX_", "BINANCE_", "GATE_", "HYPERLIQUID_", "DYDX_", "SOLANA_", "SERUM_")
SETTINGS = {
    "PAPER_SOURCE": "fixed",
    "PAPER_BALANCES": "USDT=1000000000",
    "RISK_MAX_POSITION_SIZE": "100",
    "RISK_MAX_LOSS_RATIO": "0.9",
    "RISK_MAX_ORDER_NOTIONAL": "1e9",
    "RISK_MAX_SYMBOL_NOTIONAL": "1e12",
    "RISK_MAX_OPEN_ORDERS": "10000000",
    "RISK_MAX_DAILY_LOSS": "1e9",
    "RISK_MAX_LEVERAGE": "100",
}
"""Every rule of risk is asked, none of them denies; prices stand still so that every order does the same."""


class Unavailable(Exception):
    """A case cannot be measured here; the message says why."""


@dataclass
class Figure:
    """One number, measured once in each round."""

    name: str
    unit: str
    values: list[float]
    target: float | None = None
    more_is_better: bool = False

    @property
    def value(self) -> float:
        """The median of the rounds."""
        return median(self.values)

    @property
    def verdict(self) -> str:
        """Answer "met" or "missed", "" where there is no target."""
        if self.target is None:
            return ""
        met = self.value >= self.target if self.more_is_better else self.value <= self.target
        return "met" if met else "missed"


@dataclass
class Result:
    """What came of a case: its figures, and remarks that belong beside them."""

    name: str
    title: str
    method: str = ""
    figures: list[Figure] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    seconds: float = 0.0
    load: float = 0.0
    failed: bool = False

    def add(
        self, name: str, unit: str, values: Sequence[float], *, at_least: float | None = None, most: float | None = None
    ) -> None:
        """Add a figure, with the target it must reach or not exceed."""
        target = most if at_least is None else at_least
        self.figures.append(Figure(name, unit, list(values), target, at_least is not None))

    def rate(self, name: str, seconds: Sequence[float], count: int, at_least: float | None = None) -> None:
        """Add orders (or messages) per second of rounds that handled `count` of them."""
        self.add(name, "/s", [count / each for each in seconds], at_least=at_least)

    def ratio(self, name: str, upper: Sequence[float], lower: Sequence[float], most: float | None = None) -> None:
        """Add the ratio of two measurements, round by round."""
        self.add(name, "x", [a / b for a, b in zip(upper, lower, strict=True)], most=most)


class Peers:
    """The process that runs the other systems; see bench_peers.py. `versions` is empty where there is none."""

    def __init__(self, python: Path | None) -> None:
        """Start it. None, or an environment without peers: nobody answers, and `why` says so."""
        self.versions: dict[str, str] = {}
        self.why = ""
        self._process: subprocess.Popen[bytes] | None = None
        self._rest = b""
        if python is None or not python.exists():
            self.why = "no peers were measured: there is no such Python (see scripts/requirements-bench.txt)"
            return
        self._process = subprocess.Popen(
            [python, HERE / "bench_peers.py"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
        )
        try:
            self.versions = self._read(120.0)["versions"]
        except Unavailable as error:
            self.why = str(error)
        if missing := {"nautilus_trader", "backtrader"} - set(self.versions):
            self.why = self.why or f"not measured, {python} does not have it: {', '.join(sorted(missing))}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()

    def has(self, name: str) -> bool:
        """Tell whether a peer is there."""
        return name in self.versions

    def run(self, job: str, orders: int, limit: float = 120.0) -> dict[str, tuple[float, float]]:
        """Have a peer do a job; answer its seconds on the clock and of CPU, by what was timed.

        Raises:
            Unavailable: it failed, or took longer than the limit.
        """
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"job": job, "orders": orders}).encode() + b"\n")
        return self._read(limit)

    def _read(self, limit: float) -> dict[str, Any]:
        assert self._process is not None
        assert self._process.stdout is not None
        until = time.monotonic() + limit
        while b"\n" not in self._rest:
            if not select.select([self._process.stdout], [], [], max(0.0, until - time.monotonic()))[0]:
                raise Unavailable(f"the peers did not answer within {limit:g} s")
            some = os.read(self._process.stdout.fileno(), 65536)
            if not some:
                raise Unavailable("the peers' process ended, see its words above")
            self._rest += some
        line, _, self._rest = self._rest.partition(b"\n")
        answer: dict[str, Any] = json.loads(line)
        return answer


@dataclass
class Plan:
    """How much is measured."""

    quick: bool
    rounds: int
    peers_python: Path | None

    def size(self, full: int, quick: int) -> int:
        """Answer how many, by the kind of run."""
        return quick if self.quick else full


@contextmanager
def home(**more: str) -> Iterator[Path]:
    """A new, empty EXECUTION_HOME with our settings and no others, for the time of a block."""
    folder = tempfile.mkdtemp(prefix="execution-bench-")
    before, place = dict(os.environ), Path.cwd()
    for name in [name for name in os.environ if name.startswith(PREFIXES)]:
        del os.environ[name]
    os.environ.update({"EXECUTION_HOME": folder, **SETTINGS, **more})
    os.chdir(folder)
    forget()
    try:
        yield Path(folder)
    finally:
        forget()
        os.chdir(place)
        os.environ.clear()
        os.environ.update(before)
        shutil.rmtree(folder, ignore_errors=True)


def forget() -> None:
    """Close the process's stores and accounts, and have the settings read anew."""
    from Execution import executor, order_manager, registry
    from Execution.common import settings
    from Execution.simulation import account

    if executor.default_executor.cache_info().currsize:
        executor.default_executor().close()
    if order_manager.default_manager.cache_info().currsize:
        order_manager.default_manager().close()
    executor.default_executor.cache_clear()
    order_manager.default_manager.cache_clear()
    for name in registry.names():
        if name not in (*registry.BUILT, *registry.PLANNED):
            registry.unregister(name)
    registry.reset()
    account.forget()
    settings.forget()


def timed_each(work: Callable[[], object], count: int) -> tuple[float, float]:
    """Do some work of so many parts; answer the seconds of one, on the clock and of this process's CPU time."""
    gc.collect()
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return (time.perf_counter() - wall) / count, (time.process_time() - cpu) / count


def quantile(values: Sequence[float], share: float) -> float:
    """Answer the value that this share of the others does not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def resident() -> int:
    """Answer the bytes of memory that this process holds."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def pin() -> str:
    """Keep this process, and those it starts, on one CPU; answer which, "" where the system cannot."""
    if not hasattr(os, "sched_setaffinity"):
        return ""
    cpu = max(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cpu})
    return str(cpu)


def environment() -> dict[str, str]:
    """Answer what a process that is timed runs in: ours, and Python keeps what it has compiled as for any user."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {**kept, "PYTHONPATH": str(ROOT)}


def python_seconds(code: str) -> tuple[float, float]:
    """Answer how long a new Python process takes for a piece of code, on the clock and of CPU time."""
    before, started = os.times(), time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True, env=environment())
    wall, after = time.perf_counter() - started, os.times()
    return wall, after.children_user + after.children_system - before.children_user - before.children_system
