"""Commands that act: signal, order, cancel, cancel-all."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import typer

from Execution import canceler, executor, order_sender
from Execution.command_line import output
from Execution.command_line.options import Exchange, Json, OptionalExchange, OptionalSymbol, Symbol
from Execution.command_line.output import answered
from Execution.common.types import OrderType, Side, TimeInForce

Price = Annotated[str | None, typer.Option(metavar="PRICE", help="Limit price, quote per base; none = market.")]
StopPrice = Annotated[str | None, typer.Option(metavar="PRICE", help="Where a stop or take_profit order wakes.")]
Terms = Annotated[TimeInForce | None, typer.Option(help="Of a limit order; GTC unless given.")]
PostOnly = Annotated[bool, typer.Option("--post-only", help="Refused by the venue rather than executed at once.")]
ReduceOnly = Annotated[bool, typer.Option("--reduce-only", help="Never opens or flips a position.")]
MaxSlippage = Annotated[str | None, typer.Option(metavar="FRACTION", help="Worst fill of a market order: 0.01 = 1 %.")]
Timeout = Annotated[str | None, typer.Option(metavar="SECONDS", help="Cancel what is still open after this time.")]
Strategy = Annotated[str | None, typer.Option(metavar="NAME", help="Whose order it is, kept in the book.")]
OurId = Annotated[str | None, typer.Option(metavar="ID", help="Our own id of the order; generated where left out.")]

_ORDER = (
    ("client_order_id", "client order id"), ("order_id", "order id"), ("symbol", "symbol"), ("side", "side"),
    ("type", "type"), ("amount", "amount"), ("price", "price"), ("stop_price", "stop price"), ("status", "status"),
    ("filled", "filled"), ("average_price", "average"), ("fee", "fee"), ("fee_currency", ""),
)  # fmt: skip


@answered
def signal(
    exchange: Exchange,
    symbol: Symbol,
    action: Annotated[Literal["buy", "sell", "close"], typer.Argument(help="What to do.")],
    amount: Annotated[str | None, typer.Option(metavar="AMOUNT", help="Size in base units.")] = None,
    notional: Annotated[str | None, typer.Option(metavar="MONEY", help="Size in quote, instead of amount.")] = None,
    equity_fraction: Annotated[
        str | None, typer.Option(metavar="FRACTION", help="Size as a part of equity, instead of amount.")
    ] = None,
    price: Price = None,
    order_type: Annotated[OrderType | None, typer.Option(help="Follows from the prices unless given.")] = None,
    stop_price: StopPrice = None,
    stop_loss: Annotated[str | None, typer.Option(metavar="PRICE", help="Protect the entry by a stop.")] = None,
    take_profit: Annotated[str | None, typer.Option(metavar="PRICE", help="Take profit of the entry there.")] = None,
    time_in_force: Terms = None,
    post_only: PostOnly = False,
    reduce_only: ReduceOnly = False,
    max_slippage: MaxSlippage = None,
    leverage: Annotated[int | None, typer.Option(metavar="N", help="Set the symbol's leverage first.")] = None,
    timeout: Timeout = None,
    strategy: Strategy = None,
    key: Annotated[
        str | None, typer.Option(metavar="KEY", help="The same key again answers the first result, sends nothing.")
    ] = None,
    client_order_id: OurId = None,
    json: Json = False,
) -> int:
    """Carry out a signal: risk check, record, send, answer."""
    given = dict(locals())
    wanted = {name: value for name, value in given.items() if name not in ("exchange", "symbol", "json")}
    content = {name: value for name, value in wanted.items() if value is not None and value is not False}
    answer = executor.execute_signal(exchange, symbol, content)
    return output.show(answer, json=json, people=lambda: _show_orders(answer["data"]["orders"]))


@answered
def order(
    exchange: Exchange,
    symbol: Symbol,
    side: Annotated[Side, typer.Argument(help="buy or sell.")],
    order_type: Annotated[OrderType, typer.Argument(metavar="TYPE", help="limit, market, stop or take_profit.")],
    amount: Annotated[str, typer.Argument(metavar="AMOUNT", help="Size in base units.")],
    price: Price = None,
    stop_price: StopPrice = None,
    time_in_force: Terms = None,
    post_only: PostOnly = False,
    reduce_only: ReduceOnly = False,
    max_slippage: MaxSlippage = None,
    timeout: Timeout = None,
    strategy: Strategy = None,
    client_order_id: OurId = None,
    json: Json = False,
) -> int:
    """Place one order and keep it in the book. Risk limits are NOT asked: `signal` does that."""
    options: dict[str, Any] = {
        "time_in_force": time_in_force,
        "post_only": post_only or None,
        "reduce_only": reduce_only or None,
        "max_slippage": max_slippage,
        "timeout": timeout,
        "strategy": strategy,
        "client_order_id": client_order_id,
    }
    given = {name: value for name, value in options.items() if value is not None}
    answer = order_sender.place_order(exchange, symbol, side, order_type, amount, price, stop_price, **given)
    return output.show(answer, json=json, people=lambda: _show_orders([answer["data"]]))


@answered
def cancel(
    exchange: Exchange,
    symbol: Symbol,
    order_id: Annotated[list[str], typer.Argument(metavar="ORDER_ID...", help="The venue's ids, or ours.")],
    json: Json = False,
) -> int:
    """Cancel one order or several, and say what became of each."""
    if len(order_id) == 1:
        answer = canceler.cancel_order(exchange, symbol, order_id[0])
        return output.show(answer, json=json, people=lambda: _show_cancelled([answer]))
    answer = canceler.cancel_orders(exchange, order_id, symbol=symbol)
    results = answer["data"]["results"]
    output.show(answer, json=json)
    if not json:
        _show_cancelled(results)
    return max((output.code_of(result) for result in results), default=output.OK)


@answered
def cancel_all(
    exchange: OptionalExchange = None,
    symbol: OptionalSymbol = None,
    everywhere: Annotated[bool, typer.Option("--everywhere", help="Every venue that is set up.")] = False,
    deadline: Annotated[float, typer.Option(metavar="SECONDS", help="Begin no further attempt after this.")] = 10.0,
    json: Json = False,
) -> int:
    """Cancel every order and prove that none is left."""
    if (exchange is None) != everywhere:
        raise typer.BadParameter("name an exchange, or say --everywhere")
    if exchange is not None:
        answer = canceler.cancel_all_orders(exchange, symbol, deadline=deadline)
    else:
        answer = canceler.cancel_everything(symbol=symbol, deadline=deadline)
    if not json and (left := answer["data"]["left"]):
        output.print_table("LEFT OVER", left, (("exchange", "exchange"), *_ORDER))
    code = output.show(answer, json=json)
    is_open_question = not answer["data"]["left"] and answer["data"].get("error") != "NOT_SUPPORTED"
    return output.UNKNOWN if code == output.FAILED and is_open_question else code


def _show_orders(orders: list[dict[str, Any]]) -> None:
    if orders:
        output.print_table("", orders, _ORDER)


def _show_cancelled(results: list[dict[str, Any]]) -> None:
    rows: list[Mapping[str, Any]] = [
        {**answer["data"], **answer, "state": answer["data"]["state"]} for answer in results
    ]
    columns = (("order_id", "order id"), ("state", "state"), ("filled", "filled"), ("message", "remark"))
    output.print_table("", rows, columns)
