"""The emergency script, as cron runs it: a process of its own, from anywhere, with any kind of store or none."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SCRIPT = ROOT / "scripts" / "emergency_cancel_all.py"

PRELUDE = """
import runpy, sys, threading
from Execution import registry
from tests.fakes import FakeVenue
venues = {name: FakeVenue(name) for name in ("one", "two")}
for venue in venues.values():
    registry.register(venue)
    venue.add(); venue.add(kind="stop")
registry.built = lambda: ["one", "two"]
one, two = venues.values()
"""
RUN = "\nsys.argv[0] = 'emergency'; runpy.run_path({script!r}, run_name='__main__')"


@pytest.fixture
def environment(tmp_path):
    kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    return {**kept, "EXECUTION_HOME": str(tmp_path / "home"), "EXECUTION_STORE": str(tmp_path / "book.db")}


@pytest.fixture
def run(tmp_path, environment):
    """Run the script with two fake venues set up by some lines of Python."""

    def start(*words: str, setup: str = "") -> tuple[int, str, float]:
        code = PRELUDE + setup + RUN.format(script=str(SCRIPT))
        started = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", code, *words],
            cwd=tmp_path,
            env={**environment, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert "Traceback" not in done.stderr, done.stderr
        return done.returncode, done.stdout, time.monotonic() - started

    return start


def direct(tmp_path, environment, *words):
    return subprocess.run(
        [sys.executable, str(SCRIPT), *words], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60
    )


def test_proven_empty_is_exit_0(run):
    code, out, _ = run()
    assert code == 0
    assert "one: 2 cancelled; nothing is left" in out
    assert "two: 2 cancelled; nothing is left" in out


def test_only_the_venues_that_are_named(run):
    code, out, _ = run("one")
    assert code == 0
    assert "two" not in out


def test_only_one_symbol(run):
    setup = "one.add('ETH-USDT')\n"
    assert "one: 1 cancelled" in run("one", "--symbol", "ETH-USDT", setup=setup)[1]


def test_what_is_left_is_exit_1_and_printed(run):
    code, out, _ = run("--deadline", "0.5", setup="one.undying = {'2'}\n")
    assert code == 1
    assert "LEFT one BTC-USDT-SWAP buy stop 1 at 90.0 id 2" in out
    assert "NOT PROVEN EMPTY" in out
    assert "two: 2 cancelled; nothing is left" in out


def test_conditional_orders_that_the_venue_forgets_are_cancelled_too(run):
    assert run(setup="one.leaves_conditional = True\n")[0] == 0


def test_one_failing_venue_is_exit_1_and_stops_nobody(run):
    setup = "one.raising = {'cancel_all_orders': OSError('x'), 'get_open_orders': OSError('x')}\n"
    code, out, _ = run("--deadline", "1", setup=setup)
    assert code == 1
    assert "two: 2 cancelled; nothing is left" in out


def test_a_hung_venue_is_exit_1_by_the_deadline(run):
    code, out, seconds = run("--deadline", "1", setup="one.hang = threading.Event()\n")
    assert code == 1
    assert seconds < 10
    assert "one: TIMEOUT" in out
    assert "two: 2 cancelled; nothing is left" in out


def test_json(run):
    code, out, _ = run("--json")
    report = json.loads(out)
    assert code == 0
    assert (report["success"], report["cancelled_count"]) == (True, 4)
    assert report["data"]["venues"]["one"]["data"]["proven_empty"] is True


def test_a_venue_that_is_not_set_up_is_exit_2_where_it_was_named(run):
    setup = "one.failing = {n: ('CONFIGURATION', 'not_sent') for n in ('cancel_all_orders', 'get_open_orders')}\n"
    assert run("one", "two", setup=setup)[0] == 2
    code, out, _ = run(setup=setup)
    assert code == 0
    assert "one: skipped" in out


def test_left_orders_weigh_more_than_configuration(run):
    setup = "one.failing = {n: ('CONFIGURATION', 'not_sent') for n in ('cancel_all_orders', 'get_open_orders')}\n"
    assert run("one", "two", "--deadline", "0.3", setup=setup + "two.undying = {'1'}\n")[0] == 1


def test_broken_settings_are_exit_2(run, tmp_path):
    (tmp_path / "broken.toml").write_text("no toml")
    setup = "import os; os.environ['EXECUTION_CONFIG'] = 'broken.toml'\n"
    code, out, _ = run(setup=setup + "from Execution.common import settings; settings.forget()\n")
    assert code == 2
    assert "broken.toml cannot be read" in out
    assert "one: 2 cancelled; nothing is left" in out


@pytest.mark.parametrize("words", [["nowhere"], ["--deadline", "0"], ["--deadline", "nan"], ["--symbol"], ["--what"]])
def test_what_cannot_be_understood_is_exit_2_from_any_folder_by_absolute_path(tmp_path, environment, words):
    done = direct(tmp_path, environment, *words)
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert words[0].strip("-") in done.stdout + done.stderr


def test_an_unknown_venue_is_named_with_the_known_ones(tmp_path, environment):
    out = direct(tmp_path, environment, "nowhere").stdout
    assert "'nowhere'" in out
    assert "okx" in out


def test_it_makes_no_store(run, tmp_path):
    assert run()[0] == 0
    assert not (tmp_path / "book.db").exists()


def test_a_broken_store_does_not_matter(run, tmp_path):
    (tmp_path / "book.db").write_bytes(b"no database" * 999)
    assert run()[0] == 0


def test_a_locked_store_does_not_matter(run, tmp_path):
    book = "from Execution.order_manager import default_manager\n"
    book += "default_manager().add_order({**one.orders['1'], 'exchange': 'one'})\n"
    assert run("one", setup=book)[0] == 0
    other = sqlite3.connect(tmp_path / "book.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    code, out, seconds = run()
    other.close()
    assert code == 0
    assert "nothing is left" in out
    assert seconds < 10


def test_a_folder_where_nothing_may_be_written_does_not_matter(run, environment):
    environment["EXECUTION_HOME"] = "/proc/none"
    environment.pop("EXECUTION_STORE")
    assert run()[0] == 0
