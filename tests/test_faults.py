"""Faults that lost money or truth once: sent twice, lost, wrongly told. None of them may come back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from Execution.exchanges import paper
from Execution.order_manager import default_manager
from Execution.signals.inbox import FileSource

SWAP = "BTC-USDT-SWAP"
SPOT = "BTC-USDT"


@pytest.fixture(autouse=True)
def _prices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAPER_SOURCE", "fixed")
    for symbol in (SWAP, SPOT):
        assert paper.set_price(symbol, 60000, 60001, size=100)["success"]


def buy(**more: Any) -> dict[str, Any]:
    return {"action": "buy", "amount": 0.01, **more}


# -- signal files


def line(**more: Any) -> str:
    return json.dumps({"exchange": "paper", "symbol": SWAP, **buy(**more)})


def test_a_line_whose_newline_follows_later_is_one_signal(tmp_path: Path) -> None:
    path = tmp_path / "signals.jsonl"
    source = FileSource(path, default_manager())
    path.write_text(line())
    first = list(source.poll())
    with path.open("a") as stream:
        stream.write("\n")
    assert len(first) == 1
    assert list(source.poll()) == []
    restarted = list(FileSource(path, default_manager()).poll())
    assert [entry.key for entry in restarted] == [entry.key for entry in first]


def test_what_was_begun_in_a_file_that_was_replaced_marks_nothing_of_the_new_one(tmp_path: Path) -> None:
    path = tmp_path / "signals.jsonl"
    path.write_text(line() + "\n" + line() + "\n")
    source = FileSource(path, default_manager())
    old = list(source.poll())
    path.write_text(line(price=50000) + "\n" + line(price=50001) + "\n")
    assert len(list(source.poll())) == 2
    for entry in old:
        assert entry.acknowledge is not None
        entry.acknowledge()
    assert len(list(FileSource(path, default_manager()).poll())) == 2
