"""A moving-average strategy trades on a played market through `execute_signal`, and leaves a report.

Started by scripts/demo, which makes the environment first. Uses a book and a paper account of its own: yours are not
touched.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
sys.path.insert(0, str(ROOT / "scripts"))

import report  # noqa: E402
from moving_average import MovingAverage  # noqa: E402

from Execution.command_line.stage import Stage, span_of  # noqa: E402
from Execution.common.errors import ExecutionError  # noqa: E402

SYMBOL = "BTC-USDT-SWAP"
RECORDING = ROOT.parent / "shared" / "market_data" / "usdm_btcusdt_20240808.gz"
WALK_BEGINS = 1_735_689_600.0
WALK_BAR, RECORDED_BAR = 60.0, 1.0
BARS, FAST_BARS = 600, 120


def make_stage(home: Path, bars: int | None, seed: int, recording: Path | None) -> tuple[Stage, str]:
    """Answer what will be played, and in words what that is."""
    if recording is not None:
        source, start, stop = span_of(recording, SYMBOL)
        if bars is not None:
            stop = min(stop, start + bars * RECORDED_BAR)
        return Stage(
            source, SYMBOL, start=start, stop=stop, every=RECORDED_BAR, home=home
        ), f"recording {recording.name}"
    stop = WALK_BEGINS + (bars or BARS) * WALK_BAR
    more = {"PAPER_SEED": str(seed)}
    stage = Stage("random", SYMBOL, start=WALK_BEGINS, stop=stop, every=WALK_BAR, home=home, more=more)
    return stage, f"random walk, seed {seed}"


def play(stage: Stage, strategy: MovingAverage, console: Console) -> None:
    """Hand every bar to the strategy."""
    columns = (TextColumn("trading"), BarColumn(bar_width=40), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("trading", total=stage.count)
        for bar in stage.bars():
            strategy(bar)
            progress.advance(task)


def show(console: Console, numbers: dict[str, float], title: str) -> None:
    """Print the numbers."""
    console.print(title, style="bold", markup=False)
    table = Table(box=SIMPLE_HEAD, show_header=False)
    for name, value in report.tiles(numbers):
        table.add_row(name, value)
    console.print(table)


def main(
    output: Annotated[Path, typer.Option(help="Where the report goes.")] = Path("report.html"),
    bars: Annotated[int | None, typer.Option(min=60, help="How many bars are played.")] = None,
    seed: Annotated[int, typer.Option(help="Which random walk.")] = 7,
    fast: Annotated[bool, typer.Option("--fast", help=f"Only {FAST_BARS} bars.")] = False,
    walk: Annotated[
        bool, typer.Option("--walk", help="Play the random walk even where the recording is there.")
    ] = False,
    home: Annotated[Path | None, typer.Option(help="Keep the book and the account here; none = thrown away.")] = None,
) -> None:
    """Trade a moving average on a played market and leave a report.

    \b
    Examples:
      scripts/demo
      scripts/demo --walk --seed 3 --bars 1000 --output walk.html
    """
    console = Console()
    began = time.monotonic()
    recording = RECORDING if RECORDING.is_file() and not walk else None
    strategy = MovingAverage()
    with tempfile.TemporaryDirectory() as folder:
        try:
            stage, what = make_stage(home or Path(folder), bars or (FAST_BARS if fast else None), seed, recording)
            with stage:
                play(stage, strategy, console)
                summary = stage.summary()
                samples, orders, fills = stage.samples, stage.orders(), stage.fills()
        except ExecutionError as error:
            console.print(f"the demo cannot be played: {error.message}", style="red", markup=False)
            raise typer.Exit(2) from None
    numbers = report.statistics(samples, orders, fills)
    title = f"Moving average on {SYMBOL}"
    start, stop = report.moment(summary["start"]), report.moment(summary["stop"])
    when = f"{start:%Y-%m-%d %H:%M:%S} to {stop:%H:%M:%S} UTC"
    about = f"{what}, {when}, bars of {stage.every:g} s. Simulated: paper exchange, no money."
    chart = report.figure(samples, orders, fills)
    output.write_text(report.page(title, about, chart, numbers, orders), encoding="utf-8")
    show(console, numbers, f"{title}: {what}")
    for words in strategy.refused[:3]:
        console.print(f"refused: {words}", markup=False)
    console.print(f"{output} holds the report; {time.monotonic() - began:.1f} s", markup=False)


if __name__ == "__main__":
    typer.run(main)
