"""What is peculiar to paper: a durable account that processes share, hedge mode, funding, liquidation, delays."""

from __future__ import annotations

import math
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from Execution import registry
from Execution.common import clock, settings
from Execution.common.clock import ManualClock
from Execution.common.types import VENUE_FUNCTIONS
from Execution.exchanges import paper
from Execution.simulation import account

ROOT = Path(__file__).resolve().parent.parent.parent
SWAP, SPOT, ETH = "BTC-USDT-SWAP", "BTC-USDT", "ETH-USDT-SWAP"
START = 1_700_000_000.0 // 28800 * 28800 + 10


@pytest.fixture(autouse=True)
def fixed(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    """Prices stand where a test puts them."""
    monkeypatch.setenv("PAPER_SOURCE", "fixed")


def good(answer: dict[str, Any]) -> Any:
    assert answer["success"], answer
    return answer["data"]


def price(symbol: str = SWAP, bid: float = 60000, ask: float | None = None, **more: Any) -> None:
    good(paper.set_price(symbol, bid, bid + 1 if ask is None else ask, **more))


def restart(**settings_: str) -> None:
    """Forget everything in memory, as a new process would know nothing; with other settings."""
    for name, value in settings_.items():
        os.environ[name] = value
    settings.forget()
    account.forget()


def child(code: str, **more: Any) -> subprocess.Popen[str]:
    """Run Python in a process of its own on the same account."""
    prelude = "import sys\nfrom Execution.exchanges import paper\nS = 'BTC-USDT-SWAP'\n"
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", prelude + code],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stdin=subprocess.PIPE,
        text=True,
        **more,
    )


def run(code: str, **more: Any) -> str:
    process = child(code, **more)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    return out.strip()


def database() -> sqlite3.Connection:
    return sqlite3.connect(account.current().store.path)


def money() -> Decimal:
    """Cash plus what the fills of perpetuals took out of it: what the account began with, whatever happened."""
    fills = good(paper.get_fills())
    cash = account.current().engine.account_state("paper").balances["USDT"]  # type: ignore[union-attr]
    paid = sum((Decimal(str(f["fee"])) - Decimal(str(f["realized_pnl"])) for f in fills), Decimal(0))
    return cash + paid


# Durability


def test_an_account_outlives_the_process() -> None:
    price()
    resting = good(paper.place_limit_order(SWAP, "buy", 0.01, 50000, client_order_id="a"))
    good(paper.place_market_order(SWAP, "buy", "0.123", client_order_id="b"))
    good(paper.place_stop_order(SWAP, "sell", 0.01, 55000))
    good(paper.set_leverage(SWAP, 20))
    before = [paper.get_open_orders(), paper.get_positions(), paper.get_fills(), paper.get_account_info()["data"]]
    restart()
    after = [paper.get_open_orders(), paper.get_positions(), paper.get_fills(), paper.get_account_info()["data"]]
    del before[3]["timestamp"], after[3]["timestamp"]
    assert after == before
    assert paper.place_limit_order(SWAP, "buy", 0.01, 50000, client_order_id="b")["data"]["error"] == "DUPLICATE_ORDER"
    price(bid=49990)
    assert good(paper.get_order_status(SWAP, resting["order_id"]))["status"] == "filled"
    assert good(paper.place_market_order(SWAP, "buy", 0.01))["order_id"] == "4"


def test_amounts_are_kept_exactly() -> None:
    price(bid="0.00012345", ask="0.00012346", symbol="PEPE-USDT")
    good(paper.place_market_order("PEPE-USDT", "buy", "98765432"))
    restart()
    paper.get_open_orders()
    balances = account.current().engine.account_state("paper").balances  # type: ignore[union-attr]
    assert balances["USDT"] == Decimal(100000) - Decimal("0.00012346") * 98765432
    assert balances["PEPE"] == 98765432 - 98765432 * Decimal("0.0005")


def test_another_process_sees_orders_prices_and_instruments() -> None:
    price()
    good(paper.place_limit_order(SWAP, "buy", 0.01, 50000, client_order_id="mine"))
    good(paper.add_instrument("FOO-USDT", 0.5, 2, min_notional=10))
    code = """
assert [o["client_order_id"] for o in paper.get_open_orders()["data"]] == ["mine"]
assert paper.get_ticker(S)["data"]["bid"] == 60000.0
assert paper.get_instrument("FOO-USDT")["data"]["lot_size"] == 2.0
assert paper.set_price("FOO-USDT", 7)["data"]["ask"] == 7.5
assert paper.cancel_order(S, client_order_id="mine")["success"]
print(paper.place_limit_order(S, "buy", 0.02, 51000, client_order_id="theirs")["data"]["order_id"])
paper.set_price(S, 50500, 50501)
"""
    number = run(code)
    filled = good(paper.get_order_status(SWAP, number))
    assert (filled["status"], filled["average_price"]) == ("filled", 51000.0)
    assert good(paper.get_ticker(SWAP))["bid"] == 50500.0
    assert good(paper.get_ticker("FOO-USDT"))["bid"] == 7.0
    assert good(paper.get_open_orders()) == []
    assert good(paper.get_positions(SWAP))[0]["size"] == 0.02
    assert len(good(paper.get_fills())) == 1


def test_what_another_process_was_filled_is_not_filled_again() -> None:
    price()
    order = good(paper.place_limit_order(SWAP, "buy", 0.3, 59000))
    run("assert paper.set_price(S, 58000, 58001, size=0.1)['success']")
    for _ in range(2):
        seen = good(paper.get_order_status(SWAP, order["order_id"]))
        assert (seen["status"], seen["filled"]) == ("partially_filled", 0.1)
        restart()
    price(bid=58000, size=0.1)
    assert good(paper.get_order_status(SWAP, order["order_id"]))["filled"] == 0.2


TRADER = """
name, count = sys.argv[1], int(sys.argv[2])
sys.stdin.readline()
for i in range(count):
    side = "buy" if i % 2 else "sell"
    a = paper.place_market_order(S, side, 0.001, client_order_id=f"{name}-{i}")
    assert a["success"], a
    b = paper.place_limit_order(S, "buy", 0.001, 50000 - i, client_order_id=f"{name}-l{i}")
    assert b["success"], b
    if i % 3 == 0:
        assert paper.cancel_order(S, client_order_id=f"{name}-l{i}")["success"]
    if i % 10 == 5:
        assert len(paper.get_open_orders()["data"]) > 0
"""


def test_processes_trade_on_one_account_at_once_and_no_money_is_lost() -> None:
    price()
    count = 150
    children = [child(f"sys.argv = ['', 'p{n}', '{count}']\n" + TRADER) for n in range(3)]
    for process in children:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    for i in range(50):
        good(paper.place_market_order(SWAP, "buy" if i % 2 else "sell", 0.001, client_order_id=f"own-{i}"))
    for process in children:
        process.communicate(timeout=60)
        assert process.returncode == 0
    fills = good(paper.get_fills())
    assert len(fills) == 3 * count + 50
    assert len({f["trade_id"] for f in fills}) == len(fills)
    assert len({f["client_order_id"] for f in fills}) == len(fills)
    assert good(paper.get_positions(SWAP)) == []
    assert len(good(paper.get_open_orders())) == 3 * 100
    assert money() == 100000
    in_memory = paper.get_account_info()["data"]["balances"], paper.get_open_orders()["data"]
    restart()
    assert (paper.get_account_info()["data"]["balances"], paper.get_open_orders()["data"]) == in_memory
    assert good(paper.cancel_all_orders())["failed"] == []
    balance = good(paper.get_account_info())["balances"]["USDT"]
    assert balance["free"] == balance["total"]


def test_threads_trade_at_once() -> None:
    price()
    errors: list[Any] = []

    def trade(name: int) -> None:
        for i in range(40):
            answer = paper.place_market_order(SWAP, "buy" if i % 2 else "sell", 0.001, client_order_id=f"t{name}-{i}")
            if not answer["success"]:
                errors.append(answer)
            paper.get_ticker(SWAP)

    threads = [threading.Thread(target=trade, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert len(good(paper.get_fills())) == 240
    assert money() == 100000


def test_a_forked_child_trades_on_the_same_account() -> None:
    price()
    good(paper.place_limit_order(SWAP, "buy", 0.01, 50000))
    number = os.fork()
    if not number:
        answer = paper.place_limit_order(SWAP, "buy", 0.01, 50001)
        os._exit(0 if answer["success"] and len(paper.get_open_orders()["data"]) == 2 else 1)
    assert os.waitpid(number, 0)[1] == 0
    assert len(good(paper.get_open_orders())) == 2
    ids = {o["client_order_id"] for o in good(paper.get_open_orders())}
    assert len(ids) == 2


def test_a_process_that_is_killed_leaves_nothing_half_done() -> None:
    price()
    code = """
i = 0
while True:
    i += 1
    a = paper.place_limit_order(S, "buy", 0.001, 60001 if i % 2 else 50000, client_order_id=f"k-{i}")
    print(i, a["data"]["order_id"], flush=True)
"""
    process = child(code)
    assert process.stdout is not None
    answered = [process.stdout.readline().split() for _ in range(300)]
    process.send_signal(signal.SIGKILL)
    rest = [line.split() for line in process.stdout.read().splitlines() if line.count(" ") == 1]
    process.wait()
    process.stdout.close()
    assert process.stdin is not None
    process.stdin.close()
    answered += [each for each in rest if len(each) == 2]
    for i, order_id in answered:
        order = good(paper.get_order_status(SWAP, client_order_id=f"k-{i}"))
        assert order["order_id"] == order_id
    orders = []
    while (answer := paper.get_order_status(SWAP, str(len(orders) + 1)))["success"]:
        orders.append(answer["data"])
    assert len(orders) >= len(answered) >= 300
    assert [o["client_order_id"] for o in orders] == [f"k-{n + 1}" for n in range(len(orders))]
    fills = good(paper.get_fills())
    assert [f["order_id"] for f in fills] == [o["order_id"] for o in orders if o["status"] == "filled"]
    assert good(paper.get_positions(SWAP))[0]["size"] == pytest.approx(0.001 * len(fills))
    assert money() == 100000


# Files that cannot be used


def test_a_full_disk_refuses_and_nothing_is_half_done() -> None:
    price()
    good(paper.place_limit_order(SWAP, "buy", 0.01, 50000, client_order_id="before"))
    code = """
import resource
opened = [o["client_order_id"] for o in paper.get_open_orders()["data"]]
from Execution.simulation.account import current
import os
size = os.path.getsize(current().store.path + "-wal")
resource.setrlimit(resource.RLIMIT_FSIZE, (size + 30_000, size + 30_000))
placed = []
for i in range(500):
    a = paper.place_market_order(S, "buy", 0.001, client_order_id=f"d-{i}")
    if not a["success"]:
        break
    placed.append(a["data"]["order_id"])
assert 0 < len(placed) < 100, len(placed)
assert (a["data"]["error"], a["data"]["outcome"]) == ("STORE_FAILED", "not_sent"), a
held = paper.get_positions(S)
assert held["success"], held
assert abs(held["data"][0]["size"] - 0.001 * len(placed)) < 1e-9
b = paper.get_order_status(S, client_order_id=f"d-{i}")
assert b["data"]["error"] == "ORDER_NOT_FOUND", b
assert [o["client_order_id"] for o in paper.get_open_orders()["data"]] == opened
print(len(placed))
"""
    count = int(run(code))
    assert len(good(paper.get_fills())) == count
    assert good(paper.get_positions(SWAP))[0]["size"] == pytest.approx(0.001 * count)
    good(paper.place_market_order(SWAP, "buy", 0.001, client_order_id=f"d-{count}"))
    assert money() == 100000


def failed(answer: dict[str, Any], *words: str) -> None:
    assert not answer["success"]
    assert (answer["data"]["error"], answer["data"]["outcome"]) == ("STORE_FAILED", "not_sent"), answer
    for word in words:
        assert word in answer["message"]


def test_a_failing_commit_is_rolled_back_in_memory_too(monkeypatch: pytest.MonkeyPatch) -> None:
    price()
    good(paper.place_market_order(SWAP, "buy", 0.01))
    book = account.current().store
    save = book.save

    def broken(*_args: Any) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(book, "save", broken)
    failed(paper.place_market_order(SWAP, "buy", 0.5, client_order_id="lost"), "full", book.path)
    batch: list[Any] = [{"type": "market", "symbol": SWAP, "side": "buy", "amount": 0.5}, {"type": "x"}]
    answers = paper.place_orders(batch)
    failed(answers[0], "full")
    assert answers[1]["data"]["error"] == "INVALID_ORDER"
    monkeypatch.setattr(book, "save", save)
    assert good(paper.get_positions(SWAP))[0]["size"] == 0.01
    assert good(paper.place_market_order(SWAP, "buy", 0.01, client_order_id="lost"))["filled"] == 0.01


def test_a_locked_file_is_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EXECUTION_STORE_TIMEOUT", "0.05")
    price()
    other = database()
    other.execute("BEGIN IMMEDIATE")
    failed(paper.place_market_order(SWAP, "buy", 0.01), "locked")
    other.rollback()
    other.close()
    good(paper.place_market_order(SWAP, "buy", 0.01))


def test_a_file_that_is_no_database(home: Path) -> None:
    home.mkdir(parents=True)
    (home / "paper.db").write_bytes(b"this is no database at all" * 100)
    failed(paper.place_market_order(SWAP, "buy", 0.01), "damaged", "paper.db")
    failed(paper.get_open_orders())
    assert (home / "paper.db").read_bytes().startswith(b"this is no database")


def test_a_row_that_is_damaged() -> None:
    price()
    good(paper.place_limit_order(SWAP, "buy", 0.01, 50000))
    connection = database()
    connection.execute("UPDATE commits SET body = '[[' WHERE version = (SELECT max(version) FROM commits)")
    connection.commit()
    connection.close()
    restart()
    failed(paper.get_open_orders(), "damaged", "paper.db")


def test_a_file_of_a_newer_version() -> None:
    price()
    connection = database()
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    restart()
    failed(paper.get_open_orders(), "99", "upgrade")


def test_a_database_of_another_program(home: Path) -> None:
    home.mkdir(parents=True)
    connection = sqlite3.connect(home / "paper.db")
    connection.execute("CREATE TABLE theirs (a)")
    connection.close()
    failed(paper.get_open_orders(), "another program")


@pytest.fixture
def others_may_look(tmp_path: Path) -> Iterator[None]:
    """Let another user into the folders above the test's own."""
    modes = {folder: folder.stat().st_mode for folder in tmp_path.parents if folder.stat().st_uid == os.geteuid()}
    modes[tmp_path] = tmp_path.stat().st_mode
    for folder, mode in modes.items():
        folder.chmod(mode | 0o011)
    yield
    for folder, mode in modes.items():
        folder.chmod(mode)


def test_a_file_that_may_not_be_written_or_read(home: Path, others_may_look: None) -> None:
    # One test and not two: they share the folders above, and would close them to each other.
    for folder, file, code in ((0o555, 0o444, "STORE_FAILED"), (0o500, 0o400, "CONFIGURATION")):
        price()
        restart()
        for each in home.iterdir():
            each.chmod(file)
        home.chmod(folder)
        if not os.geteuid():
            become = "import os; os.setegid(65534); os.seteuid(65534)\n"
        elif code == "STORE_FAILED":
            become = ""
        else:
            home.chmod(0o700)
            pytest.skip("needs a user to become another one")
        try:
            answer = run(become + "print(paper.place_market_order(S, 'buy', 0.01))", cwd="/")
        finally:
            home.chmod(0o700)
            for each in home.iterdir():
                each.chmod(0o600)
        assert f"'error': '{code}', 'outcome': 'not_sent'" in answer
        good(paper.place_market_order(SWAP, "buy", 0.01))


def test_the_file_is_private() -> None:
    price()
    assert Path(account.current().store.path).stat().st_mode & 0o777 == 0o600


def test_many_commits_are_folded_and_pruned_and_others_still_follow() -> None:
    price()
    other = child("""
sys.stdin.readline()
assert not paper.get_open_orders()["data"]
print("ready", flush=True)
sys.stdin.readline()
print(len(paper.get_open_orders()["data"]), len(paper.get_fills()["data"]))
""")
    assert other.stdin is not None
    assert other.stdout is not None
    other.stdin.write("\n")
    other.stdin.flush()
    assert other.stdout.readline() == "ready\n"
    batch = [{"type": "market", "symbol": SWAP, "side": side, "amount": 0.001} for side in ("buy", "sell")] * 10
    for _ in range(300):
        assert all(a["success"] for a in paper.place_orders(batch))  # type: ignore[arg-type]
    for i in range(20):
        good(paper.place_limit_order(SWAP, "buy", 0.001, 50000 - i))
    assert other.communicate("\n", timeout=60)[0].split() == ["20", "6000"]
    connection = database()
    assert connection.execute("SELECT count(*) FROM orders").fetchone()[0] >= 4000
    connection.execute("DELETE FROM commits WHERE version < (SELECT max(version) FROM commits)")
    connection.commit()
    connection.close()
    good(paper.place_limit_order(SWAP, "buy", 0.001, 49000))
    assert len(good(paper.get_open_orders())) == 21


def test_memory_holds_live_orders_only() -> None:
    price()
    for i in range(600):
        good(paper.place_market_order(SWAP, "buy" if i % 2 else "sell", 0.001))
    held = account.current()
    assert held.engine is not None
    assert held.engine.open_orders("paper") == []
    assert len(held.store._orders) < 300
    assert good(paper.get_order_status(SWAP, "1"))["status"] == "filled"
    assert len(good(paper.get_fills())) == 600
    assert len(good(paper.get_fills(order_id="1"))) == 1
    assert len(good(paper.get_fills(order_id="600"))) == 1


def test_in_memory_account(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    monkeypatch.setenv("PAPER_STORE", ":memory:")
    price()
    good(paper.place_market_order(SWAP, "buy", 0.01))
    assert len(good(paper.get_fills())) == 1
    assert not home.exists()


def test_accounts_have_files_of_their_own(monkeypatch: pytest.MonkeyPatch, home: Path, tmp_path: Path) -> None:
    monkeypatch.setenv("PAPER_ALPHA_BALANCES", "USDT=5")
    monkeypatch.setenv("PAPER_BETA_STORE", str(tmp_path / "b.db"))
    for name, equity in (("paper", 100000.0), ("paper:alpha", 5.0), ("paper:beta", 100000.0)):
        assert good(registry.call(name, "set_leverage", SWAP, 5))["leverage"] == 5
        assert good(registry.call(name, "get_account_info"))["total_equity"] == equity
    assert sorted(p.name for p in home.glob("*.db")) == ["paper-alpha.db", "paper.db"]
    assert (tmp_path / "b.db").exists()


def test_reset_begins_anew_for_every_process() -> None:
    price()
    good(paper.place_limit_order(SWAP, "buy", 0.01, 50000, client_order_id="a"))
    good(paper.place_market_order(SWAP, "buy", 0.01))
    other = child("n = len(paper.get_open_orders()['data'])\nprint(n, flush=True)\nsys.stdin.readline()\n"
                  "print(len(paper.get_open_orders()['data']), len(paper.get_positions()['data']))")  # fmt: skip
    assert other.stdout is not None
    assert other.stdout.readline() == "1\n"
    assert good(paper.reset("USDT=7,BTC=1"))["balances"]["USDT"]["total"] == 7.0
    assert other.communicate("\n", timeout=30)[0].split() == ["0", "1"]
    assert good(paper.get_fills()) == []
    assert good(paper.get_open_orders()) == []
    price(SPOT)
    good(paper.place_limit_order(SPOT, "sell", 0.5, 70000, client_order_id="a"))
    assert "PAPER_BALANCES" in paper.reset("USDT")["message"]


# Settings


@pytest.mark.parametrize(
    ("name", "value", "word"),
    [
        ("PAPER_SOURCE", "moon", "PAPER_SOURCE"),
        ("PAPER_SOURCE", "candles:/no/such.csv", "/no/such.csv"),
        ("PAPER_SOURCE", "replay:/no/such.gz@10", "/no/such.gz"),
        ("PAPER_SOURCE", f"replay:{__file__}@fast", "fast"),
        ("PAPER_SOURCE", f"candles:{__file__}", "test_paper.py"),
        ("PAPER_SOURCE", "venue:", "PAPER_SOURCE"),
        ("PAPER_SOURCE", "venue:paper", "PAPER_SOURCE"),
        ("PAPER_BALANCES", "USDT", "PAPER_BALANCES"),
        ("PAPER_BALANCES", "USDT=-5", "PAPER_BALANCES"),
        ("PAPER_BALANCES", "USDT=1,USDT=2", "PAPER_BALANCES"),
        ("PAPER_POSITION_MODE", "both", "PAPER_POSITION_MODE"),
        ("PAPER_TAKER_FEE", "5", "PAPER_TAKER_FEE"),
        ("PAPER_TAKER_FEE", "free", "PAPER_TAKER_FEE"),
        ("PAPER_LEVERAGE", "0", "PAPER_LEVERAGE"),
        ("PAPER_ORDER_DELAY", "-1", "PAPER_ORDER_DELAY"),
        ("PAPER_FUNDING_INTERVAL", "0", "PAPER_FUNDING_INTERVAL"),
        ("PAPER_INSTRUMENTS", "FOO", "PAPER_INSTRUMENTS"),
        ("PAPER_DEFAULT_MARKET", "futures", "PAPER_DEFAULT_MARKET"),
    ],
)
def test_a_wrong_setting_is_named(monkeypatch: pytest.MonkeyPatch, name: str, value: str, word: str) -> None:
    monkeypatch.setenv(name, value)
    for answer in (paper.place_market_order(SWAP, "buy", 0.01), paper.get_account_info()):
        assert (answer["data"]["error"], answer["data"]["outcome"]) == ("CONFIGURATION", "not_sent")
        assert word in answer["message"]


def test_fees_balances_and_instruments_come_from_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAPER_BALANCES", "USDT=1000, eth=3")
    monkeypatch.setenv("PAPER_TAKER_FEE", "0.01")
    monkeypatch.setenv("PAPER_MAKER_FEE", "-0.001")
    monkeypatch.setenv("PAPER_INSTRUMENTS", "FOO-USDT-SWAP=0.5/2/10, BAR-USDT=1/1")
    monkeypatch.setenv("PAPER_DEFAULT_MARKET", "swap")
    price("FOO-USDT", 10, 10.5)
    assert good(paper.get_instrument("foo-usdt"))["symbol"] == "FOO-USDT-SWAP"
    bought = good(paper.place_market_order("FOO-USDT", "buy", 3))
    assert (bought["filled"], bought["fee"]) == (2.0, 0.21)
    good(paper.place_limit_order("FOO-USDT", "sell", 2, 11))
    price("FOO-USDT", 11, 11.5)
    assert good(paper.get_fills())[1]["fee"] == pytest.approx(-0.022)
    assert set(good(paper.get_account_info())["balances"]) == {"USDT", "ETH"}


def test_an_instrument_that_is_not_listed_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAPER_INSTRUMENTS", "FOO-USDT=1/1")
    price("FOO-USDT", 10)
    good(paper.place_limit_order("FOO-USDT", "buy", 1, 9))
    monkeypatch.delenv("PAPER_INSTRUMENTS")
    restart()
    answer = paper.get_open_orders()
    assert answer["data"]["error"] == "CONFIGURATION"
    assert "FOO-USDT" in answer["message"]


def test_an_unknown_symbol_has_neighbours() -> None:
    assert "BTC-USDT" in paper.get_ticker("BTX-USDT")["message"]
    assert good(paper.add_instrument("NEW-USDT-SWAP", 0.1, 0.1))["symbol"] == "NEW-USDT-SWAP"
    assert paper.add_instrument("NEW-USDT-SWAP", 0.1, 0.1)["data"]["error"] == "INVALID_SYMBOL"
    assert paper.add_instrument("OLD-USDT", 0, 0.1)["data"]["error"] == "INVALID_ORDER"


# Prices set by hand


def test_without_a_price_nothing_trades() -> None:
    answer = paper.place_market_order(SWAP, "buy", 0.01)
    assert answer["data"]["error"] == "VENUE_REJECTED"
    assert SWAP in answer["message"]
    assert good(paper.get_ticker(SWAP))["bid"] is None
    assert good(paper.get_klines(SWAP, "1m")) == []


def test_size_last_and_default_ask() -> None:
    ticker = good(paper.set_price(SWAP, 60000, size=0.5, last=60000.05))
    assert (ticker["bid"], ticker["ask"], ticker["ask_size"], ticker["last"]) == (60000.0, 60000.1, 0.5, 60000.05)
    part = good(paper.place_market_order(SWAP, "buy", 0.8))
    assert (part["status"], part["filled"], part["reason"]) == ("cancelled", 0.5, "no_liquidity")
    stop = good(paper.place_stop_order(SWAP, "sell", 0.1, 59000))
    good(paper.set_price(SWAP, 60000, last=58999))
    assert good(paper.get_order_status(SWAP, stop["order_id"]))["status"] == "filled"


@pytest.mark.parametrize(
    ("given", "word"), [((0,), "bid"), ((5, 5), "ask"), ((5, 4), "ask"), ((float("nan"),), "bid"), (("x",), "bid")]
)
def test_prices_that_cannot_be(given: tuple[Any, ...], word: str) -> None:
    answer = paper.set_price(SWAP, *given)
    assert answer["data"]["error"] == "INVALID_ORDER"
    assert word in answer["message"]


def test_prices_are_set_with_the_fixed_source_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAPER_SOURCE", "random")
    answer = paper.set_price(SWAP, 5)
    assert answer["data"]["error"] == "CONFIGURATION"
    assert "random walk" in answer["message"]


def test_max_slippage_bounds_the_fills() -> None:
    price(size=1)
    order = good(paper.place_market_order(SWAP, "buy", 0.5, max_slippage="0.0000000001"))
    assert (order["filled"], order["average_price"]) == (0.5, 60001.0)


# Time: funding, delays, the dead-man's switch


@pytest.fixture
def time_() -> ManualClock:
    """Time that stands still until it is moved."""
    hand = ManualClock(START)
    clock.set_clock(hand)
    return hand


def test_funding_is_paid_once_each_interval(monkeypatch: pytest.MonkeyPatch, time_: ManualClock) -> None:
    monkeypatch.setenv("PAPER_FUNDING_RATE", "0.001")
    price()
    good(paper.place_market_order(SWAP, "buy", 1))
    before = good(paper.get_account_info())["balances"]["USDT"]["total"]
    time_.advance(28700)
    assert good(paper.get_account_info())["balances"]["USDT"]["total"] == before
    time_.advance(100)
    paid = 60000.5 * 0.001
    assert good(paper.get_account_info())["balances"]["USDT"]["total"] == pytest.approx(before - paid)
    restart()
    assert good(paper.get_account_info())["balances"]["USDT"]["total"] == pytest.approx(before - paid)
    time_.advance(3 * 28800)
    restart()
    assert good(paper.get_account_info())["balances"]["USDT"]["total"] == pytest.approx(before - 4 * paid)
    good(paper.place_market_order(SWAP, "sell", 3))
    short = good(paper.get_account_info())["balances"]["USDT"]["total"]
    time_.advance(28800)
    assert good(paper.get_account_info())["balances"]["USDT"]["total"] == pytest.approx(short + 2 * paid)


def test_the_dead_mans_switch_falls_at_its_time(time_: ManualClock) -> None:
    price()
    early = good(paper.place_limit_order(SWAP, "buy", 0.01, 50000))
    stop = good(paper.place_stop_order(SWAP, "sell", 0.01, 50000))
    assert good(paper.cancel_all_after(10))["trigger_time"] == START + 10
    time_.advance(9)
    assert len(good(paper.get_open_orders())) == 2
    restart()
    time_.advance(5)
    assert good(paper.get_open_orders()) == []
    for order in (early, stop):
        ended = good(paper.get_order_status(SWAP, order["order_id"]))
        assert (ended["status"], ended["updated"]) == ("cancelled", START + 10)
    late = good(paper.place_limit_order(SWAP, "buy", 0.01, 50000))
    time_.advance(1000)
    assert good(paper.get_order_status(SWAP, late["order_id"]))["status"] == "open"


def test_the_switch_can_be_pushed_back_and_disarmed(time_: ManualClock) -> None:
    price()
    good(paper.place_limit_order(SWAP, "buy", 0.01, 50000))
    good(paper.cancel_all_after(10))
    time_.advance(9)
    good(paper.cancel_all_after(10))
    time_.advance(9)
    assert len(good(paper.get_open_orders())) == 1
    good(paper.cancel_all_after(0))
    time_.advance(1000)
    assert len(good(paper.get_open_orders())) == 1


def test_another_process_carries_out_the_switch() -> None:
    price()
    good(paper.place_limit_order(SWAP, "buy", 0.01, 50000))
    good(paper.cancel_all_after(0.05))
    time.sleep(0.06)
    assert run("print(len(paper.get_open_orders()['data']))") == "0"
    assert good(paper.get_open_orders()) == []


def test_order_delay(monkeypatch: pytest.MonkeyPatch, time_: ManualClock) -> None:
    monkeypatch.setenv("PAPER_ORDER_DELAY", "0.5")
    price()
    order = good(paper.place_market_order(SWAP, "buy", 0.01))
    assert (order["status"], order["filled"]) == ("pending", 0.0)
    price(bid=61000)
    restart()
    time_.advance(0.6)
    ended = good(paper.get_order_status(SWAP, order["order_id"]))
    assert (ended["status"], ended["average_price"]) == ("filled", 61001.0)


@pytest.mark.parametrize("dies", [False, True])
def test_cancel_delay(monkeypatch: pytest.MonkeyPatch, time_: ManualClock, dies: bool) -> None:
    monkeypatch.setenv("PAPER_CANCEL_DELAY", "0.5")
    price()
    first = good(paper.place_limit_order(SWAP, "buy", 0.01, 50000))["order_id"]
    second = good(paper.place_limit_order(SWAP, "buy", 0.01, 50000))["order_id"]
    assert good(paper.cancel_order(SWAP, first))["status"] == "open"
    if dies:
        restart()
    time_.advance(0.4)
    assert len(good(paper.get_open_orders())) == 2
    time_.advance(0.2)
    assert [o["order_id"] for o in good(paper.get_open_orders())] == [second]
    assert good(paper.get_order_status(SWAP, first))["status"] == "cancelled"


def test_liquidation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAPER_BALANCES", "USDT=1000")
    monkeypatch.setenv("PAPER_LEVERAGE", "50")
    price()
    good(paper.place_market_order(SWAP, "buy", 0.5))
    (position,) = good(paper.get_positions(SWAP))
    assert 58000 < position["liquidation_price"] < 58500
    assert good(paper.get_account_info())["margin_ratio"] < 1
    resting = good(paper.place_limit_order(SWAP, "sell", 0.1, 70000, reduce_only=True))
    price(bid=position["liquidation_price"] - 50)
    assert good(paper.get_positions(SWAP)) == []
    last = good(paper.get_fills())[-1]
    assert (last["liquidation"], last["side"], last["amount"]) == (True, "sell", 0.5)
    assert good(paper.get_order_status(SWAP, resting["order_id"]))["reason"] == "liquidation"
    assert 0 <= good(paper.get_account_info())["total_equity"] < 200


def test_hedge_mode(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAPER_POSITION_MODE", "hedge")
    price()
    assert good(paper.get_account_info())["position_mode"] == "hedge"
    good(paper.adjust_position(SWAP, "long", 0.3))
    good(paper.adjust_position(SWAP, "short", 0.2))
    sizes = {p["side"]: p["size"] for p in good(paper.get_positions(SWAP))}
    assert sizes == {"long": 0.3, "short": 0.2}
    good(paper.adjust_position(SWAP, "short", -9))
    good(paper.adjust_position(SWAP, "long", -0.1))
    assert {p["side"]: p["size"] for p in good(paper.get_positions(SWAP))} == {"long": 0.2}
    restart(PAPER_POSITION_MODE="net")
    assert good(paper.get_account_info())["position_mode"] == "hedge"
    good(paper.adjust_position(SWAP, "long", -9))
    restart()
    assert good(paper.get_account_info())["position_mode"] == "net"


# Where prices come from


def test_simulated_prices_say_so_in_every_answer(monkeypatch: pytest.MonkeyPatch, time_: ManualClock) -> None:
    monkeypatch.setenv("PAPER_SOURCE", "random")
    monkeypatch.setenv("PAPER_SEED", "7")
    words = "random walk, seed 7"
    ticker, info = paper.get_ticker(SWAP), paper.get_account_info()
    for data in (ticker["data"], info["data"]):
        assert (data["simulated"], data["price_source"]) == (True, words)
    answers = [
        ticker,
        info,
        paper.place_market_order(SWAP, "buy", 0.01),
        paper.place_limit_order(SWAP, "buy", -1, 5),
        paper.place_limit_order(SWAP, "buy", 500, 90000),
        paper.get_klines(SWAP, "1h", limit=5),
        paper.get_open_orders(),
        paper.cancel_order(SWAP, "77"),
        paper.get_server_time(),
        *paper.place_orders([{"type": "market", "symbol": SWAP, "side": "buy", "amount": 0.01}]),
    ]
    for answer in answers:
        assert words in answer["message"], answer


def test_a_resting_order_meets_the_walk_while_nobody_looks(monkeypatch: pytest.MonkeyPatch, time_: ManualClock) -> None:
    monkeypatch.setenv("PAPER_SOURCE", "random")
    bid = good(paper.get_ticker(SWAP))["bid"]
    below = [good(paper.place_limit_order(SWAP, "buy", 0.001, bid * (1 - n * 0.0004))) for n in range(1, 6)]
    restart()
    time_.advance(1800)
    prices = [Decimal(str(k["low"])) for k in good(paper.get_klines(SWAP, "1s", limit=1500))]
    orders = [good(paper.get_order_status(SWAP, order["order_id"])) for order in below]
    assert any(order["status"] == "filled" for order in orders)
    for order in orders:
        if order["status"] == "open":
            assert min(prices) >= Decimal(str(order["price"])) * Decimal("0.9998")
        else:
            assert START < order["updated"] <= START + 1800
            assert order["updated"] == math.floor(order["updated"])
    restart()
    assert [good(paper.get_order_status(SWAP, order["order_id"])) for order in below] == orders


def test_random_prices_are_the_same_for_every_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAPER_SOURCE", "random")
    code = "from Execution.common import clock\nclock.set_clock(lambda: 1.8e9)\nprint(paper.get_ticker(S)['data'])"
    clock.set_clock(lambda: 1.8e9)
    assert run(code) == str(paper.get_ticker(SWAP)["data"])


class Other:
    """A venue whose ticker is borrowed."""

    NAME = "other"

    def __init__(self) -> None:
        self.UNSUPPORTED: dict[str, str] = {}
        self.bid = 60000.0
        self.down = False
        self.asked = 0

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name not in VENUE_FUNCTIONS:
            raise AttributeError(name)
        return lambda *_a, **_k: None

    def get_ticker(self, symbol: str) -> Any:
        self.asked += 1
        if self.down:
            data = {"error": "VENUE_DOWN", "outcome": "not_sent", "exchange_code": "", "retry_after": 9.0}
            return {"success": False, "data": data, "message": "VENUE_DOWN: closed"}
        data = {"symbol": symbol, "bid": self.bid, "ask": self.bid + 1, "bid_size": 2.0, "ask_size": 3.0}
        return {"success": True, "data": data, "message": ""}


def test_prices_of_another_venue(monkeypatch: pytest.MonkeyPatch, time_: ManualClock) -> None:
    monkeypatch.setenv("PAPER_SOURCE", "venue:other")
    other = Other()
    registry.register(other, "other")  # type: ignore[arg-type]
    ticker = good(registry.call("paper", "get_ticker", SWAP))
    assert (ticker["bid"], ticker["ask_size"], ticker["price_source"]) == (60000.0, 3.0, "live prices of other")
    assert good(registry.call("paper", "place_market_order", SWAP, "buy", 0.01))["average_price"] == 60001.0
    order = good(registry.call("paper", "place_limit_order", SWAP, "buy", 0.01, 59000))
    assert other.asked == 1
    other.bid = 58000.0
    time_.advance(1)
    assert good(registry.call("paper", "get_order_status", SWAP, order["order_id"]))["status"] == "filled"
    resting = good(registry.call("paper", "place_limit_order", SWAP, "buy", 0.01, 50000))
    other.down = True
    time_.advance(1)
    refused = registry.call("paper", "place_market_order", SWAP, "buy", 0.01)
    assert (refused["data"]["error"], refused["data"]["outcome"]) == ("VENUE_DOWN", "not_sent")
    assert good(registry.call("paper", "cancel_all_orders"))["cancelled"] == [resting["order_id"]]
    assert paper.get_klines(SWAP, "1m")["data"]["error"] in ("NOT_SUPPORTED", "VENUE_DOWN")
    registry.unregister("other")
