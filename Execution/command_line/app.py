"""The commands put together, each with examples."""

from __future__ import annotations

import os
from typing import Annotated

import typer

import Execution
from Execution.command_line import auditing, checkup, output, reading, replaying, running, trading
from Execution.command_line.options import examples

_HELP = """Order execution: every order is recorded before it is sent, and what became of it afterwards.

Tables are for people; with --json a command prints its answer as one JSON document on standard output and nothing
else there. What is said beside the answer goes to standard error."""

_CODES = "\n".join(f"  {code:<4} {meaning}" for code, meaning in output.EXIT_CODES.items())
_FIRST = examples("signal paper BTC-USDT-SWAP buy --amount 0.01", "orders", "cancel-all paper", "doctor")
_EPILOG = f"\b\nExit codes:\n{_CODES}\n\n{_FIRST}"


_CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 110}

app = typer.Typer(
    help=_HELP,
    epilog=_EPILOG,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings=_CONTEXT,
)
audit = typer.Typer(
    help="Prove the store, or show the history of an order.",
    epilog=examples("audit verify", "audit verify --store backup/execution.db --json", "audit show 17"),
    no_args_is_help=True,
    rich_markup_mode=None,
    context_settings=_CONTEXT,
)

_EXAMPLES = {
    "signal": (
        "signal paper BTC-USDT-SWAP buy --amount 0.01",
        "signal paper BTC-USDT-SWAP buy --notional 500 --stop-loss 55000 --key morning-entry",
        "signal paper BTC-USDT sell --amount 0.01 --price 70000 --post-only --timeout 60",
        "signal paper BTC-USDT-SWAP close --json",
    ),
    "order": (
        "order paper BTC-USDT-SWAP buy limit 0.01 --price 50000 --time-in-force GTC",
        "order paper BTC-USDT-SWAP sell stop 0.01 --stop-price 45000 --reduce-only",
    ),
    "cancel": ("cancel paper BTC-USDT-SWAP 17", "cancel paper BTC-USDT-SWAP 17 18 19 --json"),
    "cancel-all": (
        "cancel-all paper",
        "cancel-all okx:alpha --symbol BTC-USDT-SWAP",
        "cancel-all --everywhere --deadline 20 --json",
    ),
    "orders": ("orders", "orders paper --sync", "orders --hours 24 --json", "orders --status unknown"),
    "positions": ("positions paper", "positions paper --symbol BTC-USDT-SWAP --json"),
    "account": ("account paper", "account paper --json | jq .data.total_equity"),
    "ticker": ("ticker paper BTC-USDT-SWAP", "ticker paper BTC/USDT:USDT --json"),
    "risk": ("risk paper", "risk paper --json | jq .limits.max_position_size"),
    "run": (
        "run signals.jsonl",
        "run inbox/ --no-liquidate --sync-every 2",
        'echo \'{"exchange": "paper", "symbol": "BTC-USDT-SWAP", "action": "buy", "amount": 0.01}\' | '
        "python -m Execution run - --no-follow --json",
    ),
    "replay": (
        "replay recording.gz --symbol BTC-USDT-SWAP",
        "replay candles.csv --symbol BTC-USDT-SWAP --every 60 --strategy my_strategy.py",
        "replay recording.gz --symbol BTC-USDT-SWAP --speed 10 --strategy my_package.momentum:on_bar",
    ),
    "doctor": ("doctor", "doctor --json"),
}


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(Execution.__version__)
        raise typer.Exit


@app.callback()
def _root(
    _version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show where in the program an internal error arose.")] = False,
) -> None:
    output.Mode.debug = debug


for _name, _function in (
    ("signal", trading.signal),
    ("order", trading.order),
    ("cancel", trading.cancel),
    ("cancel-all", trading.cancel_all),
    ("orders", reading.orders),
    ("positions", reading.positions),
    ("account", reading.account),
    ("ticker", reading.ticker),
    ("risk", reading.risk),
    ("run", running.run),
    ("replay", replaying.replay),
    ("doctor", checkup.doctor),
):
    app.command(_name, epilog=examples(*_EXAMPLES[_name]))(_function)

audit.command("verify", epilog=examples("audit verify", "audit verify --store backup/execution.db"))(auditing.verify)
audit.command("show", epilog=examples("audit show 17", "audit show 17 --json"))(auditing.show)
app.add_typer(audit, name="audit")


def main() -> None:
    """Run the command line, and leave with its exit code."""
    app(prog_name=os.environ.get("EXECUTION_COMMAND") or "python -m Execution")
