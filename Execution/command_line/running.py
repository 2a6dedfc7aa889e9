"""The command that stays: run."""

from __future__ import annotations

import contextlib
from typing import Annotated, Any

import typer

from Execution import executor
from Execution.command_line import output
from Execution.command_line.options import Json
from Execution.command_line.output import answered


@answered
def run(
    source: Annotated[
        list[str], typer.Argument(metavar="SOURCE...", help="Files or folders of JSON lines; - is standard input.")
    ],
    follow: Annotated[
        bool, typer.Option("--follow/--no-follow", help="Stay for what is appended, or end with the sources.")
    ] = True,
    liquidate: Annotated[
        bool, typer.Option("--liquidate/--no-liquidate", help="Carry out liquidations that the risk level calls for.")
    ] = True,
    sync_every: Annotated[float, typer.Option(metavar="SECONDS", min=0.01, help="Between looks at open orders.")] = 1.0,
    risk_every: Annotated[float, typer.Option(metavar="SECONDS", min=0.01, help="Between looks at accounts.")] = 5.0,
    stop_timeout: Annotated[
        float, typer.Option(metavar="SECONDS", min=0.0, help="What is in flight may take this long after a stop.")
    ] = 10.0,
    json: Json = False,
) -> int:
    """Stay and carry out signals as they are written.

    SIGTERM or Ctrl-C stops it: what is in flight is finished, what was not begun stays with its source.

    With --json every answer is a line, the counts are the last one.
    """
    worst = output.OK

    def on_answer(report: dict[str, Any]) -> None:
        nonlocal worst
        worst = max(worst, output.code_of(report["answer"]))
        # The loop must go on when nobody reads what it prints.
        with contextlib.suppress(OSError, ValueError):
            _report(report, json)

    options: dict[str, Any] = {"follow": follow, "liquidate": liquidate, "sync_every": sync_every}
    options |= {"risk_every": risk_every, "stop_timeout": stop_timeout, "on_answer": on_answer}
    if not json:
        output.say(f"carrying out signals of {', '.join(source)}; Ctrl-C stops")
    counts = executor.default_executor().run(*source, **options)
    executor.default_executor().close()
    if json:
        output.print_json(counts, line=True)
    else:
        output.print_facts("", counts)
    return output.UNKNOWN if counts["unfinished"] else worst


def _report(report: dict[str, Any], json: bool) -> None:
    if json:
        output.print_json(report, line=True)
        return
    answer = report["answer"]
    word = "ok" if answer["success"] else "FAILED"
    where = f"{report['exchange'] or '-'} {report['symbol'] or '-'}"
    order = answer["data"].get("order") or {}
    what = f"{order['side']} {order['amount']} {order['status']}" if order else ""
    output.say("  ".join(filter(None, [word, where, what, answer["message"]])))
