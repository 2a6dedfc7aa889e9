"""The demo: its strategy, the numbers and charts of its report, and the whole of it on a short walk."""

from __future__ import annotations

import importlib
import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from Execution.command_line.stage import max_drawdown

ROOT = Path(__file__).resolve().parent.parent
RECORDING = ROOT.parent / "shared" / "market_data" / "usdm_btcusdt_20240808.gz"


@pytest.fixture(autouse=True)
def _scripts_on_the_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))


@pytest.fixture
def report() -> ModuleType:
    return importlib.import_module("report")


def sample(time: float, mid: float, equity: float, position: float = 0.0) -> dict[str, float]:
    return {"time": time, "bid": mid - 1, "ask": mid + 1, "mid": mid, "equity": equity, "position": position}


def order(side: str, time: float, average: float | None, **more: Any) -> dict[str, Any]:
    filled = 0.0 if average is None else 0.5
    return {
        "client_order_id": f"c{time:g}", "side": side, "type": "market", "amount": 0.5, "price": None,
        "stop_price": None, "status": "filled", "filled": filled, "average_price": average, "fee": 0.1,
        "timestamp": time, "updated": time, "strategy": "s", **more,
    }  # fmt: skip


SAMPLES = [sample(10, 100, 1000), sample(20, 110, 1010, 0.5), sample(30, 120, 980, 0.5), sample(40, 90, 1005)]
FILLS = [
    {"timestamp": 12.0, "amount": 0.5, "price": 101.0, "fee": 0.1},
    {"timestamp": 31.0, "amount": 0.5, "price": 118.0, "fee": 0.2},
]


# -- numbers


def test_slippage_is_the_average_fill_against_the_mid_at_decision(report: ModuleType) -> None:
    rows = report.slippages([order("buy", 10, 101), order("sell", 30, 118), order("buy", 30, 118)], SAMPLES)
    assert [row["reference"] for row in rows] == [100, 120, 120]
    assert [row["slippage"] for row in rows] == pytest.approx([0.01, 2 / 120, -2 / 120])
    assert [row["cost"] for row in rows] == pytest.approx([0.5, 1.0, -1.0])


def test_slippage_of_a_moment_between_bars_takes_the_bar_before(report: ModuleType) -> None:
    assert report.slippages([order("buy", 29.9, 111)], SAMPLES)[0]["reference"] == 110
    assert report.slippages([order("buy", 9.9, 111)], SAMPLES) == []


def test_slippage_of_stops_and_limits_is_against_their_own_price(report: ModuleType) -> None:
    stop = order("sell", 20, 94, type="stop", stop_price=95.0)
    limit = order("buy", 20, 99, type="limit", price=100.0)
    assert [row["reference"] for row in report.slippages([stop, limit], SAMPLES)] == [95.0, 100.0]
    assert report.slippages([order("buy", 20, None)], SAMPLES) == []


def test_statistics(report: ModuleType) -> None:
    numbers = report.statistics(SAMPLES, [order("buy", 10, 101), order("sell", 30, None)], FILLS)
    assert numbers["profit"] == 5
    assert numbers["return"] == pytest.approx(0.005)
    assert numbers["max_drawdown"] == pytest.approx(30 / 1010)
    assert numbers["fees"] == pytest.approx(0.3)
    assert numbers["slippage"] == pytest.approx(0.01)
    assert numbers["slippage_cost"] == pytest.approx(0.5)
    assert numbers["turnover"] == pytest.approx(0.5 * 101 + 0.5 * 118)
    assert (numbers["orders"], numbers["filled"], numbers["fills"]) == (2, 1, 2)
    assert numbers["time_in_market"] == 0.5


def test_nothing_happened_is_no_division_by_zero(report: ModuleType) -> None:
    numbers = report.statistics([], [], [])
    assert numbers["profit"] == numbers["slippage"] == numbers["time_in_market"] == 0
    assert len(report.tiles(numbers)) == 9
    assert report.figure([], [], []).to_dict()["data"]


@pytest.mark.parametrize(
    ("equity", "fall"),
    [([], 0.0), ([5.0], 0.0), ([1, 2, 3], 0.0), ([100, 50, 200, 150], 0.5), ([100, 90, 200, 150], 0.25)],
)
def test_max_drawdown(equity: list[float], fall: float) -> None:
    assert max_drawdown(equity) == fall


# -- charts


def traces(report: ModuleType) -> dict[str, Any]:
    orders = [order("buy", 10, 101), order("sell", 30, 118), order("sell", 31, None)]
    return {trace.name: trace for trace in report.figure(SAMPLES, orders, FILLS).data}


def test_charts_show_equity_position_orders_fees_and_slippage(report: ModuleType) -> None:
    found = traces(report)
    assert list(found["equity"].y) == [1000, 1010, 980, 1005]
    assert list(found["position"].y) == [0, 0.5, 0.5, 0]
    assert list(found["mid price"].y) == [100, 110, 120, 90]
    assert list(found["buys filled"].y) == [101]
    assert list(found["sells filled"].y) == [118]
    assert list(found["fees"].y) == pytest.approx([0, 0.1, 0.3, 0.3])
    assert list(found["slippage"].y) == pytest.approx([100, 1e4 * 2 / 120])
    assert f"{found['equity'].x[0]:%H:%M:%S}" == "00:00:10"


def test_every_chart_names_its_unit(report: ModuleType) -> None:
    layout = report.figure(SAMPLES, [], FILLS, base="ETH", quote="USDC").layout
    assert [layout[f"yaxis{n}"].title.text for n in ("", 2, 3, 4, 5)] == ["USDC", "USDC", "ETH", "USDC", "bp"]


def test_page_is_one_file_that_needs_no_network(report: ModuleType) -> None:
    orders = [order("buy", 10, 101, client_order_id="<b>&c"), order("sell", 31, None, status="cancelled")]
    text = report.page(
        "T & <t>", "about", report.figure(SAMPLES, orders, FILLS), report.statistics(SAMPLES, orders, FILLS), orders
    )
    outside = re.sub(r"<script\b.*?</script>", "", text, flags=re.S)
    assert "T &amp; &lt;t&gt;" in outside
    assert "&lt;b&gt;&amp;c" in outside
    assert not re.search(r"<(script|link|img|iframe)[^>]*\b(src|href)=", text)
    assert "http" not in outside
    assert "Plotly.newPlot" in text
    assert len(text) > 1_000_000


# -- the strategy


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    module = importlib.import_module("moving_average")
    found: list[dict[str, Any]] = []

    def execute(exchange: str, symbol: str, signal: dict[str, Any]) -> dict[str, Any]:
        found.append({"exchange": exchange, "symbol": symbol, **signal})
        return {"success": signal.get("action") != "sell", "data": {}, "message": "denied"}

    monkeypatch.setattr(module, "execute_signal", execute)
    return found


def bar(close: float) -> dict[str, Any]:
    return {"exchange": "paper", "symbol": "BTC-USDT-SWAP", "close": close}


def test_the_strategy_buys_when_the_fast_average_crosses_the_slow_one(sent: list[dict[str, Any]]) -> None:
    strategy = importlib.import_module("moving_average").MovingAverage(fast=2, slow=4)
    for price in (100, 100, 100, 100, 100):
        strategy(bar(price))
    assert sent == []
    strategy(bar(110))
    assert [signal["action"] for signal in sent] == ["close", "buy"]
    assert sent[1]["stop_loss"] == pytest.approx(108.9)
    assert sent[1]["equity_fraction"] == 0.08
    strategy(bar(112))
    assert len(sent) == 2


def test_the_strategy_tries_again_what_was_refused(sent: list[dict[str, Any]]) -> None:
    strategy = importlib.import_module("moving_average").MovingAverage(fast=2, slow=4)
    for price in (100, 100, 100, 90, 80):
        strategy(bar(price))
    assert [signal["action"] for signal in sent] == ["close", "sell", "close", "sell"]
    assert strategy.refused == ["denied", "denied"]


# -- all of it


def run_demo(tmp_path: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environ = {k: v for k, v in os.environ.items() if not k.startswith(("EXECUTION_", "PAPER_", "RISK_"))}
    return subprocess.run(
        [sys.executable, "-W", "error", str(ROOT / "scripts" / "demo.py"), *words], cwd=tmp_path, text=True,
        capture_output=True, timeout=100, env={**environ, "EXECUTION_HOME": str(tmp_path / "mine"), "COLUMNS": "120"},
    )  # fmt: skip


def test_demo_on_a_walk_trades_and_leaves_a_report(tmp_path: Path) -> None:
    done = run_demo(tmp_path, "--walk", "--bars", "150", "--seed", "7")
    assert done.returncode == 0, done.stderr
    assert "profit after fees" in done.stdout
    assert "refused" not in done.stdout
    filled = re.search(r"orders / filled\s+(\d+) / (\d+)", done.stdout)
    assert filled is not None
    assert int(filled[2]) >= 2
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert text.count("<tr>") == int(filled[1]) + 1
    assert not (tmp_path / "mine").exists()


def test_demo_is_the_same_for_the_same_seed(tmp_path: Path) -> None:
    first, second = (run_demo(tmp_path, "--walk", "--fast", "--seed", "3").stdout for _ in range(2))
    table = re.compile(r"^  .*$", re.M)
    assert table.findall(first) == table.findall(second) != []


def test_demo_keeps_its_book_where_it_is_told_to(tmp_path: Path) -> None:
    words = ("--walk", "--bars", "60", "--home", str(tmp_path / "kept"), "--output", "walk.html")
    assert run_demo(tmp_path, *words).returncode == 0
    assert (tmp_path / "kept" / "execution.db").exists()
    assert (tmp_path / "walk.html").exists()
    again = run_demo(tmp_path, *words)
    assert again.returncode == 2
    assert "holds a paper account already" in " ".join(again.stdout.split())


@pytest.mark.skipif(not RECORDING.is_file(), reason="the recorded market is not beside this repository")
def test_demo_on_a_recording(tmp_path: Path) -> None:
    done = run_demo(tmp_path, "--bars", "120")
    assert done.returncode == 0, done.stderr + done.stdout
    assert "recording usdm_btcusdt_20240808.gz" in " ".join(done.stdout.split())
