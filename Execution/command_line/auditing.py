"""The commands of `audit`: verify, show."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from Execution import order_manager
from Execution.command_line import output
from Execution.command_line.options import Json
from Execution.command_line.output import answered
from Execution.common import settings
from Execution.common.audit import Verification
from Execution.common.envelope import fail
from Execution.common.journal import Journal

_FILLS = (
    ("timestamp", "time (UTC)"), ("trade_id", "trade id"), ("side", "side"), ("amount", "amount"), ("price", "price"),
    ("fee", "fee"), ("fee_currency", ""), ("maker", "maker"),
)  # fmt: skip
_SHOWN_FIRST = ("seq", "time", "event")


@answered
def verify(
    store: Annotated[
        str | None, typer.Option(metavar="PATH", help="A store, in place of the one that the settings name.")
    ] = None,
    json: Json = False,
) -> int:
    """Check the chain of events, and that the tables follow from it.

    Says where the first fault is and ends with exit code 1 where there is one.
    """
    path = store or settings.database("EXECUTION_STORE", "execution.db")
    path = path.removeprefix("sqlite:///")
    if not Path(path).is_file():
        return output.show(fail("STORE_FAILED", f"there is no store {path} yet", "not_sent"), json=json)
    journal = Journal(path, timeout=settings.number("EXECUTION_STORE_TIMEOUT"))
    try:
        answer = Verification(journal).run()
    finally:
        journal.close()

    def people() -> None:
        output.print_facts(f"{path} is whole", {k: v for k, v in answer["data"].items() if k != "broken"})

    return output.show(answer, json=json, people=people)


@answered
def show(
    order_id: Annotated[str, typer.Argument(metavar="ORDER_ID", help="The venue's id, or ours.")],
    json: Json = False,
) -> int:
    """Show all that was recorded about an order."""
    book = order_manager.default_manager()
    order = book.get_order(order_id)
    if order is None:
        return output.show(fail("ORDER_NOT_FOUND", f"the book has no order {order_id!r:.80}", "rejected"), json=json)
    found: dict[str, Any] = {"order": order, "history": book.get_history(order_id), "fills": book.get_fills(order_id)}
    if json:
        output.print_json(found)
        return output.OK
    output.print_facts(order["client_order_id"], order)
    output.print_table("History", map(_story, found["history"]), (*((k, k) for k in _SHOWN_FIRST), ("told", "told")))
    if found["fills"]:
        output.print_table("Fills", found["fills"], _FILLS)
    return output.OK


def _story(event: dict[str, Any]) -> dict[str, Any]:
    """Put what an event says beyond its time and kind into one line."""
    left_out = {*_SHOWN_FIRST, "client_order_id", "fills", "status"}
    told = [f"{name}={value}" for name, value in event.items() if name not in left_out and value not in (None, "")]
    return {**{name: event[name] for name in _SHOWN_FIRST}, "told": " ".join(told)}
