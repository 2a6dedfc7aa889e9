"""Every test has a home of its own, no settings but its own, and leaves no thread, store or registration behind."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from Execution import executor, order_manager, registry
from Execution.common import clock, settings, transport
from Execution.simulation import account
from tests.venues.server import stop_all

PREFIXES = ("EXECUTION_", "PAPER_", "RISK_", "OKX_", "BINANCE_", "GATE_", "HYPERLIQUID_", "DYDX_", "SOLANA_", "SERUM_")
KNOWN = (*registry.BUILT, *registry.PLANNED)  # as they are before a test changes them


@pytest.fixture(autouse=True)
def loopback_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reaches the internet: a venue that no test has given an address to cannot be reached."""
    connect = socket.create_connection

    def create_connection(address: tuple[str, int], *given: Any, **options: Any) -> socket.socket:
        if address[0] not in ("127.0.0.1", "localhost", "::1"):
            raise OSError(errno.ENETUNREACH, "tests stay on this machine")
        return connect(address, *given, **options)

    monkeypatch.setattr(socket, "create_connection", create_connection)


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
    stop_all()
    transport.shared.close()
    _forget()


def _forget() -> None:
    settings.forget()
    executor.default_executor.cache_clear()
    order_manager.default_manager.cache_clear()
    for name in registry.names():
        if name not in KNOWN:
            registry.unregister(name)
    registry.reset()
    account.forget()
