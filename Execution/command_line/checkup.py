"""The command `doctor`: one line for each thing that must be right, and what to do where it is not."""

from __future__ import annotations

import difflib
import importlib.metadata
import os
import shutil
import sqlite3
import stat
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from Execution import order_manager, registry
from Execution.command_line import output
from Execution.command_line.options import Json
from Execution.command_line.output import answered
from Execution.common import settings
from Execution.common.errors import ExecutionError
from Execution.common.journal import Journal
from Execution.risk_manager import RiskManager

Finding = tuple[str, str, str, int]
"""Level (ok, warning, wrong), what was found, what to do, the exit code where it is wrong."""

_NEEDED = ("msgspec", "loguru", "typer", "rich")
_OPTIONAL = {"plotly": "the demo's report"}
_OTHER_SETTINGS = (
    "EXECUTION_COMMAND",
    "EXECUTION_CONFIG",
    "EXECUTION_PYTHON",
    "EXECUTION_VENV",
    "PAPER_DEFAULT_MARKET",
    "PAPER_INSTRUMENTS",
)
_LEAST_DISK = 200_000_000
_TAIL = 2_000
_MOST_SKEW = 1.0


def _ok(words: str) -> Finding:
    return "ok", words, "", output.OK


def _warning(words: str, advice: str) -> Finding:
    return "warning", words, advice, output.OK


def _wrong(words: str, advice: str, code: int) -> Finding:
    return "wrong", words, advice, code


def check_python() -> Iterator[Finding]:
    words = f"{sys.version.split()[0]}, SQLite {sqlite3.sqlite_version}"
    if sqlite3.sqlite_version_info < (3, 37):
        yield _wrong(words, "install a Python with SQLite 3.37 or newer", output.USAGE)
    else:
        yield _ok(words)


def check_dependencies() -> Iterator[Finding]:
    found, missing = [], []
    for name in (*_NEEDED, *_OPTIONAL):
        try:
            found.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            missing.append(name)
    advice = "pip install -r requirements.txt"
    if needed := [name for name in missing if name in _NEEDED]:
        yield _wrong(f"missing: {', '.join(needed)}", advice, output.USAGE)
    elif missing:
        yield _warning("; ".join(f"{name} is missing ({_OPTIONAL[name]})" for name in missing), advice)
    else:
        yield _ok(", ".join(found))


def check_settings() -> Iterator[Finding]:
    path = settings.config_path()
    given = settings.given()
    if path is None:
        yield _ok("no execution.toml: environment and defaults")
    else:
        yield _ok(f"{path}, mode {stat.S_IMODE(path.stat().st_mode):04o}")
    for name in sorted(given):
        if name.startswith(("EXECUTION_", "RISK_", "PAPER_")) and not _is_setting(name):
            near = difflib.get_close_matches(name, settings.DEFAULTS, n=1)
            yield _warning(f"{name} is no setting", f"did you mean {near[0]}?" if near else "see the README's table")
        venue, _, rest = name.partition("_")
        if venue in _VENUES and not f"_{rest}".endswith(_OF_A_VENUE):
            near = difflib.get_close_matches(f"_{rest}", _OF_A_VENUE, n=1)
            advice = f"did you mean {venue}{near[0]}?" if near else "see the README's table"
            yield _warning(f"{name} is no setting of {venue.title()}", advice)


_VENUES = frozenset(name.upper() for name in registry.BUILT if name != "paper")
_OF_A_VENUE = (
    "_API_KEY",
    "_API_SECRET",
    "_BASE_URL",
    "_DEFAULT_MARKET",
    "_MARGIN_MODE",
    "_MARKETS",
    "_PASSPHRASE",
    "_TESTNET",
)
"""How the settings of a venue end, whichever account they are for: OKX_ALPHA_API_KEY."""


def _is_setting(name: str) -> bool:
    """Tell whether a name is a setting, or one of a second paper account: PAPER_ALPHA_SEED."""
    if name in settings.DEFAULTS or name in _OTHER_SETTINGS:
        return True
    paper = [known.removeprefix("PAPER") for known in settings.DEFAULTS if known.startswith("PAPER_")]
    return name.startswith("PAPER_") and name.removeprefix("PAPER").endswith((*paper, "_DEFAULT_MARKET"))


def check_limits() -> Iterator[Finding]:
    settings.choice("EXECUTION_DURABILITY", ("NORMAL", "FULL"))
    settings.number("EXECUTION_STORE_TIMEOUT")
    try:
        manager = RiskManager()
    except ValueError as error:
        yield _wrong(str(error), "correct the RISK_* setting", output.USAGE)
        return
    yield _ok(f"position {manager.max_position_size:g} and loss {manager.max_loss_ratio:g} of equity at most")


def check_home() -> Iterator[Finding]:
    path = settings.home()
    if not os.access(path, os.W_OK | os.X_OK):
        yield _wrong(f"{path} cannot be written to", f"chown or chmod u+rwx {path}", output.USAGE)
        return
    mode = stat.S_IMODE(path.stat().st_mode)
    free = shutil.disk_usage(path).free
    yield _ok(str(path))
    if free < _LEAST_DISK:
        yield _warning(f"only {free // 1_000_000} MB are left", "make room: a full disk stops all orders")
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        yield _warning(f"its mode is {mode:04o}: others can read the orders", f"chmod 700 {path}")


def _store_path() -> Path | None:
    path = Path(settings.database("EXECUTION_STORE", "execution.db"))
    return path if path.is_file() else None


def check_store() -> Iterator[Finding]:
    path = _store_path()
    if path is None:
        yield _ok("none yet; the first order makes it")
        return
    journal = Journal(str(path), timeout=settings.number("EXECUTION_STORE_TIMEOUT"))
    try:
        result = journal.database.read("PRAGMA quick_check(1)")[0][0]
    finally:
        journal.close()
    if result != "ok":
        advice = "stop trading, keep a copy of the file, restore the last good one, then: audit verify"
        yield _wrong(f"{path}: {result}", advice, output.STORE)
    else:
        durability = settings.get("EXECUTION_DURABILITY")
        yield _ok(f"{path}, {path.stat().st_size / 1e6:.1f} MB, durability {durability}")


def check_chain() -> Iterator[Finding]:
    path = _store_path()
    if path is None:
        return
    journal = Journal(str(path), timeout=settings.number("EXECUTION_STORE_TIMEOUT"))
    try:
        newest = journal.database.read("SELECT coalesce(max(seq), 0), coalesce(max(time), 0) FROM events")[0]
        faults = [(e.seq, problem) for e, problem in journal.chain(max(0, newest[0] - _TAIL)) if problem]
        projected = journal.projected()
    finally:
        journal.close()
    if faults or newest[0] < projected:
        seq, problem = faults[0] if faults else (newest[0] + 1, "the end of the chain is missing")
        yield _wrong(
            f"event {seq}: {problem}", "keep a copy of the store; `audit verify` reads all of it", output.STORE
        )
    else:
        yield _ok(f"the last {min(newest[0], _TAIL)} of {newest[0]} events hold together")
    if newest[1] > time.time() + _MOST_SKEW:
        yield _warning(f"the last event is {newest[1] - time.time():.0f} s in the future", "set this machine's clock")


def check_orders() -> Iterator[Finding]:
    if _store_path() is None:
        return
    records = order_manager.default_manager().open_records()
    unknown = [record for record in records if record.status in ("pending", "unknown")]
    if unknown:
        names = ", ".join(f"{record.exchange} {record.client_order_id}" for record in unknown[:5])
        advice = "python -m Execution orders --sync asks the venue"
        yield _wrong(f"{len(unknown)} of unknown outcome: {names}", advice, output.UNKNOWN)
    else:
        yield _ok(f"{len(records)} open, none of unknown outcome")


def check_paper() -> Iterator[Finding]:
    answer = registry.call("paper", "get_ticker", "BTC-USDT-SWAP")
    source = settings.get("PAPER_SOURCE")
    if answer["success"]:
        yield _ok(f"{source}: {answer['message'] or 'prices are there'}")
    elif answer["data"]["error"] == "CONFIGURATION":
        yield _wrong(answer["message"], "correct the PAPER_* setting", output.USAGE)
    else:
        yield _warning(f"{source}: {answer['message']}", "paper orders will be refused while there is no price")


def check_venues() -> Iterator[Finding]:
    planned = [name for name in registry.names() if name not in registry.built()]
    yield _ok(f"built: {', '.join(registry.built())}; planned: {', '.join(planned)}")


def check_keys() -> Iterator[Finding]:
    found = []
    for name in registry.names():
        accounts = settings.accounts(name)
        found += [f"{name}:{account}" if account else name for account in accounts]
    yield _ok(f"there are keys for {', '.join(found)}" if found else "no venue has keys; paper needs none")


def check_clock() -> Iterator[Finding]:
    now = time.time()
    newest_file = Path(__file__).stat().st_mtime
    if now < newest_file - 86_400:
        yield _wrong(f"it is {output.moment(now)} UTC, before this program was written", "set the clock", output.USAGE)
        return
    skews = []
    for name in registry.built():
        before = time.time()
        answer = registry.call(name, "get_server_time")
        if answer["success"]:
            skews.append((abs(answer["data"]["timestamp"] - (before + time.time()) / 2), name))
    worst, name = max(skews, default=(0.0, ""))
    if worst > _MOST_SKEW:
        yield _warning(f"{worst:.1f} s away from {name}", "let NTP set the clock: signed requests will be refused")
    else:
        yield _ok(f"{output.moment(now)} UTC, at most {worst:.3f} s away from venues")


CHECKS: dict[str, Callable[[], Iterator[Finding]]] = {
    "python": check_python,
    "dependencies": check_dependencies,
    "settings": check_settings,
    "limits": check_limits,
    "home": check_home,
    "store": check_store,
    "audit chain": check_chain,
    "open orders": check_orders,
    "paper": check_paper,
    "venues": check_venues,
    "keys": check_keys,
    "clock": check_clock,
}


def examine(name: str) -> list[dict[str, Any]]:
    """Answer what a check found; what it raises is a finding too."""
    rows = []
    try:
        for finding in CHECKS[name]():
            rows.append(dict(zip(("level", "found", "advice", "code"), finding, strict=True)))
    except ExecutionError as error:
        code = output.STORE if error.code == "STORE_FAILED" else output.USAGE
        rows.append({"level": "wrong", "found": error.message, "advice": "see the message", "code": code})
    return [{"check": name, **row} for row in rows]


@answered
def doctor(json: Json = False) -> int:
    """Check all that trading needs, and say what to do.

    The exit code is that of the worst of what is wrong.
    """
    rows = [row for name in CHECKS for row in examine(name)]
    if json:
        output.print_json([{key: value for key, value in row.items() if key != "code"} for row in rows])
    else:
        columns = (("level", ""), ("check", "check"), ("found", "found"), ("advice", "what to do"))
        output.print_table("", rows, columns)
    return max(int(row["code"]) for row in rows)
