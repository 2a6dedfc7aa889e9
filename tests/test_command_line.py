"""The command line: exit codes that scripts can rely on, JSON and nothing else, help that teaches by example."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

import Execution
from Execution import canceler, executor, order_manager, registry
from Execution.command_line import checkup, output, stage, trading
from Execution.command_line.app import app
from Execution.common import clock, settings
from Execution.common.envelope import fail, ok
from Execution.common.types import VENUE_FUNCTIONS
from Execution.signals import parse as signals

ROOT = Path(__file__).resolve().parent.parent
SWAP = "BTC-USDT-SWAP"
COMMANDS = [
    "signal", "order", "cancel", "cancel-all", "orders", "positions", "account", "ticker", "risk", "run", "replay",
    "doctor", "audit", "audit verify", "audit show",
]  # fmt: skip


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    yield
    output.Mode.debug = False


def call(*words: str, typed: str | None = None) -> Result:
    return CliRunner().invoke(app, list(words), input=typed)


def answer_of(*words: str, code: int = 0) -> Any:
    """Run a command with --json: one document on standard output, nothing else."""
    result = call(*words, "--json")
    assert result.exit_code == code, result.output
    return json.loads(result.stdout)


def environment(**more: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), **more}


def process(*words: str, **more: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", "-m", "Execution", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment(), **more)


class Venue:
    """A venue that answers what it is told to."""

    def __init__(self, **answers: Any) -> None:
        self.UNSUPPORTED: dict[str, str] = {}
        self.answers = answers
        self.calls: list[str] = []

    def __getattr__(self, name: str) -> Any:
        if name not in VENUE_FUNCTIONS:
            raise AttributeError(name)

        def function(*_args: Any, **_kwargs: Any) -> Any:
            self.calls.append(name)
            return self.answers.get(name, fail("NOT_SUPPORTED", f"no {name}", "not_sent"))

        return function


@pytest.fixture
def venue() -> Iterator[Venue]:
    made = Venue()
    registry.register(made, "fake")  # type: ignore[arg-type]
    yield made
    registry.unregister("fake")


# -- help


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_every_command_ends_with_examples(command: str) -> None:
    result = call(*command.split(), "--help")
    assert result.exit_code == 0
    head, found, tail = result.stdout.partition("Examples:")
    assert found
    assert f"python -m Execution {command.split()[0]}" in tail
    assert "Usage:" in head


def test_no_command_is_left_out_of_the_help_test() -> None:
    listed = re.findall(r"^  ([a-z-]+)  ", call("--help").stdout.partition("Commands:")[2].partition("Exit")[0], re.M)
    assert sorted(listed) == sorted({command.split()[0] for command in COMMANDS})


def test_help_documents_every_exit_code() -> None:
    text = call("--help").stdout
    for code, meaning in output.EXIT_CODES.items():
        assert re.search(rf"^ +{code} +{re.escape(meaning)}$", text, re.M)


@pytest.mark.parametrize("command", ["signal", "order", "cancel", "cancel-all", "orders", "account", "ticker", "risk"])
def test_examples_parse(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An example that the parser refuses teaches a mistake: exit code 2 without an answer would show it."""
    monkeypatch.setattr(registry, "PLANNED", tuple(name for name in registry.names() if name != "paper"))
    monkeypatch.setattr(registry, "BUILT", ("paper",))
    for line in re.findall(r"python -m Execution (.*)", call(command, "--help").stdout):
        words = line.partition("|")[0].split()
        result = call(*words)
        assert "Usage:" not in result.stderr, (line, result.stderr)
        assert result.exit_code in (0, 1), (line, result.output)


def test_signal_takes_every_key_of_a_signal() -> None:
    text = call("signal", "--help").stdout
    assert [key for key in signals.KEYS if key != "action" and f"--{key.replace('_', '-')}" not in text] == []


# -- JSON and nothing else


def test_json_is_the_function_s_own_answer() -> None:
    data = answer_of("signal", "paper", SWAP, "buy", "--amount", "0.01", "--strategy", "s1")
    assert set(data) == {"success", "data", "message"}
    assert data["success"] is True
    assert data["data"]["order"]["strategy"] == "s1"
    assert data["data"]["status"] == "filled"
    assert data["data"]["timing"]["total"] > 0


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        (("ticker", "paper", SWAP), dict),
        (("positions", "paper"), dict),
        (("orders",), list),
        (("doctor",), list),
    ],
)
def test_json_is_pure_also_in_a_process_of_its_own(words: tuple[str, ...], kind: type) -> None:
    done = process(*words, "--json")
    assert done.returncode == 0, done.stderr
    assert isinstance(json.loads(done.stdout), kind)


def test_json_of_a_failure_is_the_answer_too() -> None:
    data = answer_of("signal", "paper", SWAP, "buy", code=1)
    assert data["data"]["error"] == "INVALID_ORDER"
    assert data["data"]["outcome"] == "not_sent"


def test_people_get_tables_on_stdout_and_remarks_on_stderr() -> None:
    result = call("signal", "paper", SWAP, "buy", "--amount", "0.01")
    assert "filled" in result.stdout
    assert "simulated prices" in result.stderr
    assert "simulated prices" not in result.stdout


def test_words_in_brackets_are_shown_and_not_taken_for_markup(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(executor, "execute_signal", lambda *_: fail("INVALID_ORDER", "[red]no[/red] [x]", "not_sent"))
    assert "[red]no[/red] [x]" in call("signal", "paper", SWAP, "close").stderr


# -- exit codes


def test_0_for_a_round_trip() -> None:
    assert call("signal", "paper", SWAP, "buy", "--amount", "0.01").exit_code == 0
    assert answer_of("positions", "paper")["data"][0]["size"] == 0.01
    assert call("signal", "paper", SWAP, "close").exit_code == 0
    assert answer_of("positions", "paper")["data"] == []


def test_1_for_what_risk_denies_and_nothing_is_sent() -> None:
    result = call("signal", "paper", SWAP, "buy", "--amount", "100")
    assert result.exit_code == 1
    assert "RISK_DENIED" in result.stderr
    assert answer_of("orders", "--all") == []


def test_1_for_an_order_that_nobody_knows() -> None:
    assert call("cancel", "paper", SWAP, "4711").exit_code == 1
    assert call("audit", "show", "nobody").exit_code == 1


def test_1_for_a_venue_that_is_not_built() -> None:
    data = answer_of("ticker", "serum", "BTC-USDT", code=1)
    assert data["data"]["error"] == "NOT_SUPPORTED"


@pytest.mark.parametrize(
    "words",
    [
        ("ticker", "papre", SWAP),
        ("signal", "papre", SWAP, "buy", "--amount", "1"),
        ("orders", "papre"),
        ("positions", "papre"),
        ("risk", "papre"),
        ("cancel", "papre", SWAP, "1"),
        ("cancel-all", "papre"),
    ],
)
def test_2_for_an_unknown_venue_with_the_known_ones(words: tuple[str, ...]) -> None:
    result = call(*words)
    assert result.exit_code == 2
    assert "did you mean 'paper'?" in result.stderr
    assert "hyperliquid" in result.stderr


@pytest.mark.parametrize(
    "words",
    [
        ("nonsense",),
        ("signal", "paper", SWAP, "hold"),
        ("order", "paper", SWAP, "buy", "iceberg", "1"),
        ("signal", "paper", SWAP, "buy", "--amonut", "1"),
        ("cancel-all",),
        ("cancel-all", "paper", "--everywhere"),
        ("run",),
        ("orders", "--status", "lost"),
        ("replay", "nowhere.gz"),
    ],
)
def test_2_for_wrong_usage(words: tuple[str, ...]) -> None:
    result = call(*words)
    assert result.exit_code == 2
    assert result.stderr
    assert result.stdout == ""


def test_2_for_a_configuration_that_cannot_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RISK_MAX_POSITION_SIZE", "plenty")
    result = call("signal", "paper", SWAP, "buy", "--amount", "0.01")
    assert result.exit_code == 2
    assert "RISK_MAX_POSITION_SIZE" in result.stderr


def test_3_for_an_order_that_may_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    lost = fail("TIMEOUT", "no answer", "unknown", order=None)
    monkeypatch.setattr(executor, "execute_signal", lambda *_: lost)
    result = call("signal", "paper", SWAP, "close")
    assert result.exit_code == 3
    assert "may exist" in result.stderr


def test_3_through_the_whole_of_it(venue: Venue) -> None:
    """The venue accepts and stays silent: the answer, the book and the exit code say that nobody knows."""
    rules = {
        "symbol": SWAP, "base": "BTC", "quote": "USDT", "market": "swap", "tick_size": 0.1, "lot_size": 0.001,
        "min_amount": 0.001, "max_amount": None, "min_notional": 5.0, "contract_size": 1.0, "max_leverage": 100,
        "maker_fee": 0.0, "taker_fee": 0.0, "active": True,
    }  # fmt: skip
    venue.answers = {
        "get_instrument": ok(rules),
        "place_limit_order": fail("TIMEOUT", "no answer within 10 s", "unknown"),
    }
    data = answer_of("order", "fake", SWAP, "buy", "limit", "0.01", "--price", "50000", code=3)
    assert data["status"] == "unknown"
    assert venue.calls.count("place_limit_order") == 1
    assert [order["status"] for order in answer_of("orders")] == ["unknown"]


def test_a_read_of_unknown_outcome_is_only_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "call", lambda *_a, **_k: fail("TIMEOUT", "no answer", "unknown"))
    assert call("ticker", "paper", SWAP).exit_code == 1


def test_4_for_a_store_that_is_broken(home: Path) -> None:
    home.mkdir()
    (home / "execution.db").write_bytes(b"this is no database, whatever its name says" * 40)
    for words in (("signal", "paper", SWAP, "buy", "--amount", "0.01"), ("orders",), ("audit", "verify")):
        result = call(*words)
        assert result.exit_code == 4, (words, result.output)
        assert "execution.db" in result.stderr
    assert answer_of("positions", "paper")["data"] == []


def test_4_where_the_outcome_could_not_be_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    sent = ok({"orders": [], "recorded": False}, "outcome not recorded yet")
    monkeypatch.setattr(executor, "execute_signal", lambda *_: sent)
    assert call("signal", "paper", SWAP, "close").exit_code == 4


def test_70_for_a_fault_of_ours_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> None:
        raise KeyError("surprise")

    monkeypatch.setattr(executor, "execute_signal", broken)
    result = call("signal", "paper", SWAP, "close")
    assert result.exit_code == 70
    assert result.stderr.strip().splitlines() == ["internal error: KeyError: 'surprise' (--debug shows where)"]
    assert "Traceback" in call("--debug", "signal", "paper", SWAP, "close").stderr


def test_130_for_ctrl_c(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(executor, "execute_signal", interrupted)
    assert call("signal", "paper", SWAP, "close").exit_code == 130


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (ok({}), 0),
        ({"success": True, "data": [], "message": ""}, 0),
        (fail("RISK_DENIED", "x", "not_sent"), 1),
        (fail("VENUE_REJECTED", "x", "rejected"), 1),
        (fail("CONFIGURATION", "x", "not_sent"), 2),
        (fail("UNKNOWN_VENUE", "x", "not_sent"), 2),
        (fail("BAD_RESPONSE", "x", "unknown"), 3),
        ({"success": False, "data": {"state": "unknown"}, "message": ""}, 3),
        ({"success": False, "data": {"state": "unknown", "outcome": "not_sent"}, "message": ""}, 1),
        (fail("STORE_FAILED", "x", "not_sent"), 4),
        (ok({"recorded": False}), 4),
    ],
)
def test_code_of(answer: Any, code: int) -> None:
    assert output.code_of(answer) == code


# -- cancelling


def resting(price: str = "20000") -> str:
    data = answer_of("order", "paper", SWAP, "buy", "limit", "0.01", "--price", price)
    assert data["status"] == "open"
    return str(data["order_id"])


def test_cancel_one_and_several() -> None:
    assert call("cancel", "paper", SWAP, resting()).exit_code == 0
    first, second = resting(), resting("21000")
    data = answer_of("cancel", "paper", SWAP, first, second)
    assert data["cancelled_count"] == 2
    result = call("cancel", "paper", SWAP, resting(), "4711")
    assert result.exit_code == 1
    assert "not_found" in result.stdout
    assert answer_of("orders") == []


def test_cancel_all_proves_that_nothing_is_left() -> None:
    resting(), resting("21000")
    data = answer_of("cancel-all", "paper")
    assert data["cancelled_count"] == 2
    assert data["data"]["proven_empty"] is True
    assert answer_of("cancel-all", "--everywhere")["success"] is True


def test_cancel_all_shows_what_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    left = [{"order_id": "17", "symbol": SWAP, "side": "buy", "status": "open"}]
    stuck = {"success": False, "cancelled_count": 0, "message": "1 LEFT: 17", "data": {"left": left}}
    monkeypatch.setattr(canceler, "cancel_all_orders", lambda *_a, **_k: stuck)
    result = call("cancel-all", "paper")
    assert result.exit_code == 1
    assert "LEFT OVER" in result.stdout
    stuck["data"] = {"left": []}
    assert call("cancel-all", "paper").exit_code == 3


# -- looking


def test_orders_are_found_by_key_status_symbol_and_time() -> None:
    call("signal", "paper", SWAP, "buy", "--amount", "0.01", "--key", "k1")
    resting()
    assert len(answer_of("orders")) == 1
    assert len(answer_of("orders", "--all")) == 2
    assert [order["status"] for order in answer_of("orders", "--key", "k1")] == ["filled"]
    assert [order["type"] for order in answer_of("orders", "--status", "filled")] == ["market"]
    assert len(answer_of("orders", "paper", "--hours", "1")) == 2
    assert answer_of("orders", "--all", "--symbol", "ETH/USDT:USDT") == []
    assert "time (UTC)" in call("orders").stdout
    assert "no such orders" in call("orders", "--status", "expired").stderr


def test_orders_of_a_process_that_is_gone_are_seen_by_the_next() -> None:
    assert process("signal", "paper", SWAP, "buy", "--amount", "0.01").returncode == 0
    assert len(answer_of("orders", "--all")) == 1
    assert len(order_manager.default_manager().get_fills()) == 1


def test_orders_sync_asks_the_venue() -> None:
    number = resting()
    assert registry.call("paper", "cancel_order", SWAP, number)["success"]
    assert len(answer_of("orders")) == 1
    assert answer_of("orders", "paper", "--sync") == []


def test_risk_shows_the_limits_in_force(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RISK_MAX_OPEN_ORDERS", "7")
    data = answer_of("risk", "paper")
    assert data["risk_level"] == "safe"
    assert data["limits"]["max_open_orders"] == 7
    assert data["thresholds"]["danger_margin_ratio"] == "0.8"
    assert "max_open_orders" in call("risk", "paper").stdout


def test_risk_of_an_account_that_cannot_be_read_fails() -> None:
    assert answer_of("risk", "okx", code=1)["code"] == "ACCOUNT_UNREADABLE"


def test_accounts_and_tickers_are_readable() -> None:
    assert "total equity" in call("account", "paper").stdout
    assert "bid" in call("ticker", "paper", "btc/usdt:usdt").stdout
    assert "no positions" in call("positions", "paper").stderr


# -- run

LINE = json.dumps({"exchange": "paper", "symbol": SWAP, "action": "buy", "amount": 0.01})


def test_run_carries_out_a_file_once(tmp_path: Path) -> None:
    (tmp_path / "signals.jsonl").write_text(f"{LINE}\n{LINE}\n")
    result = call("run", "signals.jsonl", "--no-follow", "--json")
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert result.exit_code == 0
    assert [line["answer"]["success"] for line in lines[:-1]] == [True, True]
    assert lines[-1] == {"received": 2, "succeeded": 2, "failed": 0, "unreadable": 0, "left": 0, "unfinished": []}
    stage.forget()
    again = call("run", "signals.jsonl", "--no-follow", "--json")
    assert json.loads(again.stdout)["received"] == 0
    assert answer_of("positions", "paper")["data"][0]["size"] == 0.02


def test_run_reads_standard_input_and_ends_with_the_worst_code() -> None:
    done = process("run", "-", "--no-follow", "--json", input=f'{LINE}\nnot json\n{{"exchange": "papre"}}\n')
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 2
    assert lines[-1]["succeeded"] == 1
    assert lines[-1]["unreadable"] == 1


def test_run_for_people_says_what_happened(tmp_path: Path) -> None:
    (tmp_path / "signals.jsonl").write_text(f"{LINE}\n")
    result = call("run", "signals.jsonl", "--no-follow")
    assert "ok  paper BTC-USDT-SWAP  buy 0.01 filled" in result.stderr
    assert "succeeded" in result.stdout


def test_run_stops_on_sigterm_after_what_it_has_begun(tmp_path: Path) -> None:
    (tmp_path / "signals.jsonl").write_text(f"{LINE}\n")
    command = [sys.executable, "-m", "Execution", "run", "signals.jsonl", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment()) as running:
        assert running.stdout is not None
        first = json.loads(running.stdout.readline())
        assert first["answer"]["success"] is True
        running.send_signal(signal.SIGTERM)
        rest, _ = running.communicate(timeout=20)
    assert running.returncode == 0
    assert json.loads(rest)["received"] == 1


# -- replay

STRATEGY = """
import time
from pathlib import Path

from Execution import execute_signal

def on_bar(bar):
    if bar["open"] > 105 and not answers:
        answers.append(execute_signal(bar["exchange"], bar["symbol"], {"action": "buy", "notional": 1000}))

def broken(bar):
    raise ZeroDivisionError("too clever")

def slow(bar):
    Path("playing").touch()
    time.sleep(30)

answers = []
nothing = 17
"""


@pytest.fixture
def candles(tmp_path: Path) -> str:
    rows = [f"{1_700_000_000 + 60 * n},{100 + n},{101 + n},{99 + n},{100 + n},1000000" for n in range(12)]
    (tmp_path / "candles.csv").write_text("\n".join(["timestamp,open,high,low,close,volume", *rows]))
    (tmp_path / "mine.py").write_text(STRATEGY)
    return "candles.csv"


def test_replay_plays_candles_to_a_strategy_and_leaves_the_store_alone(candles: str, home: Path) -> None:
    data = answer_of("replay", candles, "--every", "60", "--strategy", "mine.py")["data"]
    assert data["bars"] >= 10
    assert data["fills"] == 1
    assert data["equity_end"] > data["equity_start"] - 1000
    assert not (home / "execution.db").exists()
    assert time.time() - answer_of("ticker", "paper", SWAP)["data"]["timestamp"] < 60


def test_replay_keeps_its_book_where_it_is_told_to(
    candles: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("replay", candles, "--every", "60", "--strategy", "mine.py", "--home", "kept")
    assert call(*words).exit_code == 0
    assert call(*words).exit_code == 2
    monkeypatch.setenv("EXECUTION_HOME", str(tmp_path / "kept"))
    stage.forget()
    assert len(answer_of("orders", "--all")) == 1


def test_replay_says_where_a_strategy_failed(candles: str) -> None:
    result = call("replay", candles, "--every", "60", "--strategy", "mine.py:broken")
    assert result.exit_code == 1
    assert "the strategy failed at 2023-11-14" in result.stderr
    assert "ZeroDivisionError: too clever" in result.stderr


@pytest.mark.parametrize("name", ["mine.py:nothing", "mine.py:missing", "missing.py", "no_such_module:on_bar"])
def test_replay_refuses_what_is_no_strategy(candles: str, name: str) -> None:
    assert call("replay", candles, "--strategy", name).exit_code == 2


def test_replay_takes_a_module_of_the_working_folder(candles: str) -> None:
    assert answer_of("replay", candles, "--every", "60", "--strategy", "mine:on_bar")["data"]["orders"] == 1


# -- audit


def change_store(home: Path, sql: str) -> None:
    connection = sqlite3.connect(home / "execution.db")
    with connection:
        connection.execute(sql)
    connection.close()


@pytest.fixture
def traded(home: Path) -> Path:
    call("signal", "paper", SWAP, "buy", "--amount", "0.01", "--stop-loss", "20000")
    resting()
    stage.forget()
    return home


def test_audit_of_a_store_that_is_whole(traded: Path) -> None:
    data = answer_of("audit", "verify")["data"]
    assert data["broken"] is None
    assert data["orders"] == 3
    assert data["fills"] == 1
    assert data["tables_at"] == data["events"]


@pytest.mark.parametrize(
    ("sql", "table"),
    [
        ("UPDATE events SET body = replace(body, '0.01', '0.02') WHERE seq = 2", "events"),
        ("UPDATE events SET time = time + 1 WHERE seq = 3", "events"),
        ("DELETE FROM events WHERE seq = 2", "events"),
        ("DELETE FROM events WHERE seq = (SELECT max(seq) FROM events)", "events"),
        ("UPDATE orders SET filled = '0.009' WHERE rid = 1", "orders"),
        ("UPDATE orders SET status = 'cancelled' WHERE rid = 1", "orders"),
        ("UPDATE orders SET key = 'k' WHERE rid = 1", "orders"),
        ("DELETE FROM orders WHERE rid = 2", "orders"),
        ("UPDATE fills SET price = '1'", "fills"),
        ("DELETE FROM fills", "fills"),
        ("INSERT INTO fills SELECT exchange, symbol, 'x', rid, order_id, side, amount, price, fee, fee_currency, maker,"
         " time FROM fills", "fills"),
    ],
)  # fmt: skip
def test_audit_finds_the_first_row_that_was_changed(traded: Path, sql: str, table: str) -> None:
    change_store(traded, sql)
    data = answer_of("audit", "verify", code=1)
    assert data["data"]["broken"]["table"] == table
    assert table in call("audit", "verify").stderr


def test_audit_takes_another_store(traded: Path, tmp_path: Path) -> None:
    (tmp_path / "copy.db").write_bytes((traded / "execution.db").read_bytes())
    change_store(traded, "DELETE FROM fills")
    assert call("audit", "verify", "--store", str(tmp_path / "copy.db")).exit_code == 0
    assert call("audit", "verify", "--store", "nowhere.db").exit_code == 4


def test_audit_show_tells_the_story_of_an_order(traded: Path) -> None:
    data = answer_of("audit", "show", "1")
    assert data["history"][0]["event"] == "intent"
    assert data["order"]["status"] == "filled"
    assert len(data["fills"]) == 1
    shown = call("audit", "show", "1").stdout
    assert "intent" in shown
    assert "Fills" in shown


# -- doctor


def finding(name: str, code: int = 0) -> dict[str, str]:
    rows = {row["check"]: row for row in answer_of("doctor", code=code)}
    return rows[name]


def test_doctor_finds_nothing_wrong_here() -> None:
    call("signal", "paper", SWAP, "buy", "--amount", "0.01")
    rows = answer_of("doctor")
    assert {row["check"] for row in rows} == set(checkup.CHECKS)
    assert [row for row in rows if row["level"] == "wrong"] == []


def test_doctor_names_settings_that_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RISK_MAX_POSITON_SIZE", "0.5")
    rows = [row for row in answer_of("doctor") if row["level"] == "warning"]
    assert rows[0]["advice"] == "did you mean RISK_MAX_POSITION_SIZE?"


def test_doctor_reads_the_settings_file_and_its_mode(home: Path) -> None:
    home.mkdir()
    file = home / "execution.toml"
    file.write_text('[okx]\napi_key = "k-1234567"\napi_secret = "s-1234567"\n')
    file.chmod(0o644)
    settings.forget()
    row = finding("settings", code=2)
    assert "chmod 600" in row["found"]
    file.chmod(0o600)
    settings.forget()
    result = call("doctor")
    assert "there are keys for okx" in result.stdout
    assert "1234567" not in result.output


def test_doctor_says_what_is_wrong_with_the_store(home: Path) -> None:
    home.mkdir()
    (home / "execution.db").write_bytes(b"no database" * 100)
    assert "execution.db" in finding("store", code=4)["found"]


def test_doctor_sees_a_changed_end_of_the_chain(traded: Path) -> None:
    change_store(traded, "UPDATE events SET body = 'x' WHERE seq = (SELECT max(seq) FROM events)")
    assert finding("audit chain", code=4)["level"] == "wrong"


def test_doctor_counts_orders_of_unknown_outcome(venue: Venue) -> None:
    test_3_through_the_whole_of_it(venue)
    row = finding("open orders", code=3)
    assert "1 of unknown outcome" in row["found"]
    assert "orders --sync" in row["advice"]


def test_doctor_checks_limits_and_paper(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RISK_MAX_LOSS_RATIO", "-1")
    monkeypatch.setenv("PAPER_SOURCE", "crystal-ball")
    stage.forget()
    rows = {row["check"]: row for row in answer_of("doctor", code=2)}
    assert "RISK_MAX_LOSS_RATIO" in rows["limits"]["found"]
    assert "PAPER_SOURCE" in rows["paper"]["found"]


def test_doctor_warns_of_a_home_that_others_can_read(home: Path) -> None:
    home.mkdir(mode=0o755)
    home.chmod(0o755)
    assert finding("home")["advice"].startswith("chmod 700")


# -- the program itself


def test_python_m_execution_without_words_shows_the_help() -> None:
    done = process()
    assert done.returncode == 2
    assert "Usage: python -m Execution" in done.stdout + done.stderr


def test_version() -> None:
    assert call("--version").stdout == f"{Execution.__version__}\n"


def test_a_missing_library_is_said_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "typer.py").write_text("raise ModuleNotFoundError(\"No module named 'typer'\", name='typer')")
    path = os.pathsep.join([str(tmp_path), str(ROOT)])
    done = subprocess.run(
        [sys.executable, "-m", "Execution", "doctor"],
        capture_output=True, text=True, timeout=60, env=environment(PYTHONPATH=path),
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr == "typer is missing; install what is needed: pip install -r requirements.txt\n"


def test_completion_knows_the_venues() -> None:
    environ = environment(COMP_WORDS="execution ticker pa", COMP_CWORD="2", _EXECUTION_COMPLETE="complete_bash")
    done = subprocess.run(
        [str(ROOT / "scripts" / "execution")], capture_output=True, text=True, timeout=60,
        env={**environ, "EXECUTION_PYTHON": sys.executable},
    )  # fmt: skip
    assert done.stdout.split() == ["paper"]


def test_numbers_and_moments_as_people_read_them() -> None:
    assert output.number(0.00001) == "0.00001"
    assert output.number(1234567.25) == "1,234,567.25"
    assert output.number(100000.0) == "100,000"
    assert output.number(float("inf")) == "inf"
    assert output.moment(0) == "1970-01-01 00:00:00.000"
    assert str(output.cell(None)) == "-"
    assert str(output.cell(True)) == "yes"


def test_trading_commands_show_a_table_of_the_order() -> None:
    result = call("order", "paper", SWAP, "buy", "market", "0.01")
    assert result.exit_code == 0
    assert re.search(r"buy\s+market\s+0\.01", result.stdout)
    assert trading._ORDER[0][0] == "client_order_id"


def test_audit_finds_an_event_of_an_order_that_was_never_recorded(traded: Path) -> None:
    book = order_manager.default_manager()
    with book.writing():
        book.journal.append("filled", 99, b'{"client_order_id": "ghost"}', time.time())
    assert resting("22000")
    stage.forget()
    broken = answer_of("audit", "verify", code=1)["data"]["broken"]
    assert broken["table"] == "events"
    assert "order 99" in broken["problem"]


# -- what doctor says where something is wrong


def without(monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    real = checkup.importlib.metadata.version

    def version(name: str) -> str:
        if name == missing:
            raise checkup.importlib.metadata.PackageNotFoundError(name)
        return real(name)

    monkeypatch.setattr(checkup.importlib.metadata, "version", version)


def test_doctor_misses_a_library(monkeypatch: pytest.MonkeyPatch) -> None:
    without(monkeypatch, "plotly")
    assert finding("dependencies")["found"] == "plotly is missing (the demo's report)"
    monkeypatch.undo()
    without(monkeypatch, "msgspec")
    assert checkup.examine("dependencies")[0]["code"] == output.USAGE


def test_doctor_wants_a_newer_sqlite(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkup.sqlite3, "sqlite_version_info", (3, 30, 0))
    assert finding("python", code=2)["level"] == "wrong"


def test_doctor_looks_at_the_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkup.shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10, 9, 1_000_000))
    assert "make room" in finding("home")["advice"]
    monkeypatch.setattr(checkup.os, "access", lambda *_: False)
    assert "cannot be written to" in checkup.examine("home")[0]["found"]


def test_doctor_knows_the_settings_of_a_second_paper_account(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PAPER_ALPHA_SEED", "PAPER_INSTRUMENTS", "PAPER_SEED", "EXECUTION_STORE_TIMEOUT"):
        monkeypatch.setenv(name, "")
    monkeypatch.setenv("PAPER_SEED", "2")
    monkeypatch.setenv("EXECUTION_STORE_TIMEOUT", "3")
    assert [row for row in checkup.examine("settings") if row["level"] != "ok"] == []


def test_doctor_names_a_misspelt_setting_of_a_venue(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OKX_API_KEY", "OKX_ALPHA_API_KEY", "BINANCE_FUTURES_BASE_URL", "GATE_TESTNET", "BINANCE_MARKETS"):
        monkeypatch.setenv(name, "x")
    assert not [row for row in checkup.examine("settings") if row["level"] == "warning"]
    monkeypatch.setenv("OKX_MARGIN_MOD", "cross")
    monkeypatch.setenv("GATE_SOMETHING", "x")
    rows = [row for row in checkup.examine("settings") if row["level"] == "warning"]
    assert [row["found"] for row in rows] == [
        "GATE_SOMETHING is no setting of Gate",
        "OKX_MARGIN_MOD is no setting of Okx",
    ]
    assert rows[1]["advice"] == "did you mean OKX_MARGIN_MODE?"


def test_doctor_sees_a_damaged_page(traded: Path) -> None:
    store = traded / "execution.db"
    content = bytearray(store.read_bytes())
    content[4096:] = bytes(len(content) - 4096)
    store.write_bytes(content)
    assert checkup.examine("store")[0]["code"] == output.STORE


def test_doctor_sees_a_clock_that_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    with clock.use(lambda: time.time() + 7200):
        assert resting()
    late = [row for row in checkup.examine("audit chain") if row["level"] == "warning"]
    assert "in the future" in late[0]["found"]
    made = Venue(get_server_time=ok({"timestamp": time.time() - 30}))
    registry.register(made, "slow")  # type: ignore[arg-type]
    assert "away from slow" in checkup.examine("clock")[0]["found"]
    monkeypatch.setattr(checkup.time, "time", lambda: 0.0)
    assert "set the clock" in checkup.examine("clock")[0]["advice"]


def test_doctor_says_when_paper_has_no_price(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "call", lambda *_a, **_k: fail("VENUE_DOWN", "no price", "not_sent"))
    assert checkup.examine("paper")[0]["level"] == "warning"


def test_facts_are_shown_one_below_the_other() -> None:
    call("signal", "paper", "BTC-USDT", "buy", "--notional", "100")
    assert re.search(r"long\s+0\.0", call("positions", "paper").stdout)


def test_replay_at_a_speed_takes_its_time(candles: str) -> None:
    began = time.monotonic()
    words = ("replay", candles, "--every", "60", "--strategy", "mine.py", "--speed", "600")
    assert answer_of(*words)["data"]["bars"] >= 10
    assert time.monotonic() - began >= 12 * 60 / 600


def test_ctrl_c_ends_a_replay_with_130(candles: str) -> None:
    command = [sys.executable, "-m", "Execution", "replay", candles, "--every", "60", "--strategy", "mine.py:slow"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment()
    ) as playing:
        deadline = time.monotonic() + 30
        while not Path("playing").exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        playing.send_signal(signal.SIGINT)
        out, err = playing.communicate(timeout=30)
    assert playing.returncode == 130, err
    assert out == ""
    assert "Traceback" not in err
