"""Every test has a home of its own, no settings but its own, and leaves no thread, store or registration behind."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from Execution import executor, order_manager, registry
from Execution.common import clock, settings
from Execution.simulation import account

PREFIXES = ("EXECUTION_", "PAPER_", "RISK_", "OKX_", "BINANCE_", "GATE_", "HYPERLIQUID_", "DYDX_", "SOLANA_", "SERUM_")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty EXECUTION_HOME; the process's default executor and order manager are made anew."""
    for name in list(os.environ):
        if name.startswith(PREFIXES):
            monkeypatch.delenv(name)
    folder = tmp_path / "home"
    monkeypatch.setenv("EXECUTION_HOME", str(folder))
    monkeypatch.chdir(tmp_path)
    _forget()
    yield folder
    if executor.default_executor.cache_info().currsize:
        executor.default_executor().close()
    if order_manager.default_manager.cache_info().currsize:
        order_manager.default_manager().close()
    clock.set_clock(None)
    _forget()


def _forget() -> None:
    settings.forget()
    executor.default_executor.cache_clear()
    order_manager.default_manager.cache_clear()
    for name in registry.names():
        if name not in (*registry.BUILT, *registry.PLANNED):
            registry.unregister(name)
    registry.reset()
    account.forget()
