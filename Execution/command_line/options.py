"""Arguments and options that several commands share."""

from __future__ import annotations

from typing import Annotated

import typer

from Execution import registry


def _complete_exchange(incomplete: str) -> list[str]:
    return [name for name in registry.names() if name.lower().startswith(incomplete.lower())]


Exchange = Annotated[
    str,
    typer.Argument(
        metavar="EXCHANGE", help="A venue, or venue:account: paper, okx:alpha.", autocompletion=_complete_exchange
    ),
]
OptionalExchange = Annotated[
    str | None,
    typer.Argument(
        metavar="[EXCHANGE]", help="A venue, or venue:account; left out: all.", autocompletion=_complete_exchange
    ),
]
Symbol = Annotated[
    str, typer.Argument(metavar="SYMBOL", help="BTC-USDT is spot, BTC-USDT-SWAP the perpetual; ccxt's names work too.")
]
OptionalSymbol = Annotated[str | None, typer.Option("--symbol", "-s", metavar="SYMBOL", help="Only this symbol.")]
Json = Annotated[bool, typer.Option("--json", help="Print the answer as one JSON document, and nothing else.")]


def examples(*lines: str) -> str:
    """Answer the end of a help text: commands to try."""
    return "\n".join(["\b", "Examples:", *(f"  python -m Execution {line}" for line in lines)])
