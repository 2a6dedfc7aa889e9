"""The command `replay`: a recording, the paper exchange and a strategy."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import track

from Execution.command_line import output
from Execution.command_line.options import Json
from Execution.command_line.output import answered
from Execution.command_line.stage import Stage, Strategy, load_strategy, span_of
from Execution.common.envelope import ok
from Execution.common.errors import Refused
from Execution.common.types import Envelope

_DEMO = Path(__file__).resolve().parents[2] / "scripts" / "moving_average.py"


@answered
def replay(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A recorded stream (.gz or plain), or candles as .csv.")],
    symbol: Annotated[str, typer.Option("--symbol", "-s", metavar="SYMBOL", help="What is traded.")] = "BTC-USDT-SWAP",
    strategy: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="module:function, path.py or path.py:function; none = a moving average."),
    ] = None,
    every: Annotated[float, typer.Option(metavar="SECONDS", min=0.01, help="Length of a bar.")] = 1.0,
    speed: Annotated[float, typer.Option(metavar="N", min=0.0, help="Times real time; 0 = as fast as it goes.")] = 0.0,
    home: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Keep the book and the account here; none = thrown away.")
    ] = None,
    json: Json = False,
) -> int:
    """Play a recording through the paper exchange to a strategy.

    A strategy is a callable that gets each bar, a dict with exchange, symbol, timestamp, open, high, low, close, bid
    and ask, and may call execute_signal. `path.py` alone means its on_bar; a class is made an object of. Your own
    store is not touched.
    """
    if not file.is_file():
        raise Refused("CONFIGURATION", f"there is no file {file}")
    if strategy is None and not _DEMO.is_file():
        raise typer.BadParameter("the demo's strategy is not installed; name one with --strategy")
    source, start, stop = span_of(file.resolve(), symbol)
    call = load_strategy(strategy or f"{_DEMO}:MovingAverage")
    with tempfile.TemporaryDirectory() as folder:
        stage = Stage(source, symbol, start=start, stop=stop, every=every, speed=speed, home=home or Path(folder))
        answer = _play(stage, call, quiet=json)
    return output.show(answer, json=json, people=lambda: output.print_facts(file.name, _readable(answer)), sends=False)


def _play(stage: Stage, strategy: Strategy, *, quiet: bool) -> Envelope:
    with stage:
        bars = track(stage.bars(), "playing", stage.count, transient=True, disable=quiet, console=Console(stderr=True))
        for bar in bars:
            try:
                strategy(bar)
            except Exception as error:
                if output.Mode.debug:
                    raise
                words = f"the strategy failed at {output.moment(bar['timestamp'])}: {type(error).__name__}: {error}"
                return {"success": False, "data": stage.summary(), "message": words}
        return ok(stage.summary())


def _readable(answer: Envelope) -> dict[str, object]:
    data = answer["data"]
    return {**data, "start": output.moment(data["start"]), "stop": output.moment(data["stop"])}
