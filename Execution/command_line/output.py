"""What every command shares: exit codes, tables for people, JSON for machines, words where something fails."""

from __future__ import annotations

import os
import sys
import threading
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from functools import wraps
from typing import Any, ParamSpec

import msgspec
import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from Execution.common import log
from Execution.common.envelope import failure
from Execution.common.errors import ExecutionError

OK, FAILED, USAGE, UNKNOWN, STORE, INTERNAL, INTERRUPTED = 0, 1, 2, 3, 4, 70, 130
EXIT_CODES = {
    OK: "success",
    FAILED: "the answer is a failure: refused, denied, something left over",
    USAGE: "wrong usage, or a configuration that cannot be used",
    UNKNOWN: "the outcome is unknown: an order may exist; ask with `orders EXCHANGE --sync`",
    STORE: "the store failed; where it failed after sending, the answer says recorded: false",
    INTERNAL: "a fault of this program; --debug shows where",
    INTERRUPTED: "stopped by Ctrl-C",
}

_USAGE_ERRORS = frozenset(("CONFIGURATION", "UNKNOWN_VENUE"))
_WIDE = 200
_STYLES = {
    "buy": "green", "long": "green", "filled": "green", "safe": "green", "ok": "green",
    "sell": "red", "short": "red", "rejected": "red", "danger": "bold red", "unknown": "bold red", "wrong": "bold red",
    "warning": "yellow", "partially_filled": "yellow", "cancelled": "dim", "expired": "dim", "none": "dim",
}  # fmt: skip
_lock = threading.Lock()

P = ParamSpec("P")
Column = tuple[str, str]
"""The key of a row's dict, and the heading."""


class Mode:
    """What the options before the command said."""

    debug = False


def answered(function: Callable[P, int]) -> Callable[P, None]:
    """Make a command of a function that answers an exit code; whatever it raises becomes one line and a code."""

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            code = function(*args, **kwargs)
        except (typer.Exit, typer.Abort, typer.BadParameter, BrokenPipeError):
            raise
        except KeyboardInterrupt:
            code = INTERRUPTED
        except ExecutionError as error:
            code = show(failure(error), json=bool(kwargs.get("json")))
        except Exception as error:  # noqa: BLE001  # the last one who can say it in one line
            code = _internal(error)
        raise typer.Exit(code)

    return call


def _internal(error: Exception) -> int:
    if Mode.debug:
        sys.stderr.write(log.redact("".join(traceback.format_exception(error))))
    say(f"internal error: {type(error).__name__}: {error}" + ("" if Mode.debug else " (--debug shows where)"))
    return INTERNAL


def code_of(answer: Mapping[str, Any], *, sends: bool = True) -> int:
    """Answer the exit code of an answer.

    Args:
        sends: whether an unknown outcome means that an order may exist, and not just that nothing could be read.
    """
    data = answer["data"] if isinstance(answer["data"], Mapping) else {}
    if data.get("error") == "STORE_FAILED" or data.get("recorded") is False:
        return STORE
    if answer["success"]:
        return OK
    if data.get("error") in _USAGE_ERRORS:
        return USAGE
    return UNKNOWN if sends and (data.get("outcome") or data.get("state")) == "unknown" else FAILED


def show(answer: Mapping[str, Any], *, json: bool, people: Callable[[], None] | None = None, sends: bool = True) -> int:
    """Print an answer: itself as JSON, or for people a table of a success and the words of a failure."""
    code = code_of(answer, sends=sends)
    if json:
        print_json(answer)
        return code
    if people is not None and answer["success"]:
        people()
    if answer["message"]:
        say(answer["message"] if answer["success"] else f"FAILED: {answer['message']}")
    if code == UNKNOWN:
        say("The outcome is not known: the order may exist. Do not send it again; ask: orders EXCHANGE --sync")
    return code


def say(message: str) -> None:
    """Tell people something, beside the answer."""
    with _lock:
        Console(stderr=True, highlight=False, soft_wrap=True).print(Text(log.redact(message)))


def print_json(content: Any, *, line: bool = False) -> None:
    """Print one JSON document, indented or on one line."""
    text = msgspec.json.encode(content, enc_hook=_plain)
    if not line:
        text = msgspec.json.format(text, indent=2)
    with _lock:
        sys.stdout.write(text.decode() + "\n")
        sys.stdout.flush()


def _plain(value: Any) -> Any:
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    raise TypeError(f"{type(value).__name__} has no place in JSON")


def print_table(title: str, rows: Iterable[Mapping[str, Any]], columns: Sequence[Column]) -> None:
    """Print rows as a table; columns that are empty in every row are left out."""
    rows = list(rows)
    shown = [column for column in columns if any(row.get(column[0]) not in (None, "", []) for row in rows)] or columns
    table = Table(title=title, title_justify="left", title_style="bold", box=SIMPLE_HEAD, pad_edge=False)
    for key, heading in shown:
        table.add_column(
            heading, overflow="fold", justify="right" if any(_is_number(row.get(key)) for row in rows) else "left"
        )
    for row in rows:
        table.add_row(*[cell(row.get(key), key) for key, _ in shown])
    _print(table)


def print_facts(title: str, facts: Mapping[str, Any]) -> None:
    """Print names and values, one below the other."""
    table = Table(title=title, title_justify="left", title_style="bold", box=None, show_header=False, pad_edge=False)
    for name, value in facts.items():
        table.add_row(Text(name.replace("_", " "), style="dim"), cell(value, name))
    _print(table)


def _print(table: Table) -> None:
    with _lock:
        console = Console(highlight=False)
        if not console.is_terminal:
            console = Console(highlight=False, width=_WIDE)
        console.print(table)


def cell(value: Any, key: str = "") -> Text:
    """Answer a value as people read it."""
    if key in ("timestamp", "updated", "time", "deadline") and _is_number(value):
        return Text(moment(value))
    if isinstance(value, bool):
        return Text("yes" if value else "no")
    if _is_number(value):
        return Text(number(value))
    text = "-" if value is None or value == "" else str(value)
    return Text(text, style=_STYLES.get(text, ""))


def number(value: float | Decimal) -> str:
    """Answer a number in ten digits, with thousands apart."""
    exact = Decimal(f"{value:.10g}" if isinstance(value, float) else str(value))
    return format(exact, ",f") if exact.is_finite() else str(value)


def moment(seconds: float) -> str:
    """Answer a time in UTC, to the millisecond."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float, Decimal)) and not isinstance(value, bool)
