"""Commands that look: orders, positions, account, ticker, risk."""

from __future__ import annotations

import time
from typing import Annotated, Any

import msgspec
import typer

from Execution import executor, order_manager, registry
from Execution.command_line import output
from Execution.command_line.options import Exchange, Json, OptionalExchange, OptionalSymbol, Symbol
from Execution.command_line.output import answered
from Execution.common.types import OrderStatus
from Execution.order_manager import OrderManager
from Execution.risk_manager import RiskManager

_ORDERS = (
    ("timestamp", "time (UTC)"), ("client_order_id", "client order id"), ("order_id", "order id"),
    ("exchange", "exchange"), ("symbol", "symbol"), ("side", "side"), ("type", "type"), ("amount", "amount"),
    ("price", "price"), ("stop_price", "stop price"), ("status", "status"), ("filled", "filled"),
    ("average_price", "average"), ("strategy", "strategy"),
)  # fmt: skip
_POSITIONS = (
    ("symbol", "symbol"), ("side", "side"), ("size", "size"), ("entry_price", "entry"), ("mark_price", "mark"),
    ("notional", "notional"), ("unrealized_pnl", "unrealized"), ("leverage", "leverage"), ("margin", "margin"),
    ("liquidation_price", "liquidation"),
)  # fmt: skip


@answered
def orders(
    exchange: OptionalExchange = None,
    symbol: OptionalSymbol = None,
    status: Annotated[OrderStatus | None, typer.Option(help="Only in this status, finished ones too.")] = None,
    key: Annotated[str | None, typer.Option(metavar="KEY", help="Only what the signal with this key led to.")] = None,
    hours: Annotated[
        float | None, typer.Option(metavar="N", help="All of the last N hours, finished ones too.")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Finished ones too.")] = False,
    sync: Annotated[bool, typer.Option("--sync", help="Ask the venues first what became of open orders.")] = False,
    json: Json = False,
) -> int:
    """Show our orders: the open ones, unless asked for others."""
    name = registry.canonical(exchange) if exchange else None
    unified = registry.symbol_of(name or "paper", symbol) if symbol else None
    if sync:
        executor.default_executor().recover()
        executor.default_executor().sync(name)
    found = _select(order_manager.default_manager(), name, status, key, hours, everything)
    found = [
        o for o in found if (name is None or o["exchange"] == name) and (unified is None or o["symbol"] == unified)
    ]
    if json:
        output.print_json(found)
    elif found:
        output.print_table("", found, _ORDERS)
    else:
        output.say("no open orders" if not (everything or status or key or hours) else "no such orders")
    return output.OK


def _select(
    book: OrderManager, name: str | None, status: str | None, key: str | None, hours: float | None, everything: bool
) -> list[dict[str, Any]]:
    if key is not None:
        return book.get_orders_by_key(key)
    if status is not None:
        return book.get_orders_by_status(status, name)
    if hours is not None or everything:
        return book.get_orders_by_time(0.0 if hours is None else time.time() - hours * 3600)
    return book.get_open_orders(name)


@answered
def positions(exchange: Exchange, symbol: OptionalSymbol = None, json: Json = False) -> int:
    """Show the positions of an account.

    A spot holding is a long position of leverage 1.
    """
    unified = registry.symbol_of(exchange, symbol) if symbol else None
    answer = registry.call(exchange, "get_positions", unified)

    def people() -> None:
        if answer["data"]:
            output.print_table("", answer["data"], _POSITIONS)
        else:
            output.say("no positions")

    return output.show(answer, json=json, people=people, sends=False)


@answered
def account(exchange: Exchange, json: Json = False) -> int:
    """Show equity, margin and balances of an account."""
    answer = registry.call(exchange, "get_account_info")

    def people() -> None:
        facts = {name: value for name, value in answer["data"].items() if name != "balances"}
        output.print_facts(registry.canonical(exchange), facts)
        rows = [{"asset": asset, **balance} for asset, balance in sorted(answer["data"]["balances"].items())]
        output.print_table("", rows, (("asset", "asset"), ("free", "free"), ("locked", "locked"), ("total", "total")))

    return output.show(answer, json=json, people=people, sends=False)


@answered
def ticker(exchange: Exchange, symbol: Symbol, json: Json = False) -> int:
    """Show the best prices of a symbol."""
    answer = registry.call(exchange, "get_ticker", registry.symbol_of(exchange, symbol))
    return output.show(
        answer, json=json, people=lambda: output.print_facts(answer["data"]["symbol"], answer["data"]), sends=False
    )


@answered
def risk(exchange: Exchange, json: Json = False) -> int:
    """Show how an account stands, and the limits in force.

    An account that is in danger or cannot be read ends with exit code 1.
    """
    registry.find(exchange)
    manager = RiskManager(book=order_manager.default_manager())
    limits = msgspec.to_builtins(manager.limits, builtin_types=(frozenset,))
    thresholds = msgspec.to_builtins(manager.thresholds)
    answer = manager.check_account_risk(exchange)
    if json:
        output.print_json({**answer, "limits": limits, "thresholds": thresholds})
    else:
        output.print_facts(answer["exchange"], {"risk_level": answer["risk_level"], **answer["metrics"]})
        rows = [{"name": name, "value": "none" if value is None else value} for name, value in limits.items()]
        output.print_table("Limits", rows, (("name", "limit"), ("value", "value")))
        rows = [
            {"measure": name, **_levels(thresholds, name)} for name in ("margin_ratio", "drawdown", "unrealized_loss")
        ]
        output.print_table("Levels", rows, (("measure", "measure"), ("warning", "warning"), ("danger", "danger")))
        output.say(answer["message"])
    return output.FAILED if answer["risk_level"] == "danger" or answer["code"] == "ACCOUNT_UNREADABLE" else output.OK


def _levels(thresholds: dict[str, Any], measure: str) -> dict[str, Any]:
    return {level: thresholds[f"{level}_{measure}"] for level in ("warning", "danger")}
