"""The commands put together."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from Execution.command_line import auditing, checkup, output, reading, replaying, running, trading

_CODES = "\n\n".join(f"{code}  {meaning}" for code, meaning in output.EXIT_CODES.items())

app = typer.Typer(
    name="execution",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
