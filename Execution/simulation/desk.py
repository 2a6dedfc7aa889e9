"""What a trader asks of a paper account, each in one transaction."""

from __future__ import annotations

import os
from collections.abc import Sequence
from decimal import Decimal
from itertools import count
from secrets import token_hex
from typing import Any

from msgspec.structs import replace

from Execution.common import clock, log
from Execution.common.errors import ExecutionError, Refused
from Execution.common.precision import ZERO, positive
from Execution.common.types import Kline
from Execution.matching import model, views
from Execution.matching.engine import Engine
from Execution.simulation.account_store import MarketRow
from Execution.simulation.instruments import QUOTES
from Execution.simulation.paper_account import ME, PaperAccount
from Execution.simulation.sources import FixedSource

Result = model.Order | model.Rejected

_counter = count(1)
_prefix = f"paper-{token_hex(6)}"


def _renew() -> None:
    global _prefix
    _prefix = f"paper-{token_hex(6)}"


os.register_at_fork(after_in_child=_renew)


def place(account: PaperAccount, request: model.Request) -> tuple[model.Order, list[model.Fill]]:
    """Place one order; answer it as it now stands, with the fills it had at once.

    Raises:
        Rejected: by the engine, or because the client order id was used before.
    """

    ours = request.client_order_id

    def act(engine: Engine, now: float) -> model.Order:
        used = bool(ours) and account.store.is_used(account.store.database.connection, ours)
        return _enter(engine, request, now, used=used)

    order, changes = account.run(act, request.symbol)
    return order, [fill for fill in changes.fills if fill.order_id == order.order_id]


def place_many(
    account: PaperAccount, requests: Sequence[model.Request]
) -> tuple[list[Result], dict[int, list[model.Fill]]]:
    """Place several orders in one transaction; answer each with its order or its refusal, and fills by order."""

    def act(engine: Engine, now: float) -> list[Result]:
        given = [request.client_order_id for request in requests if request.client_order_id]
        used = account.store.used_client_ids(given)
        return [_tried(engine, request, now, used) for request in requests]

    results, changes = account.run(act, *{request.symbol for request in requests})
    fills: dict[int, list[model.Fill]] = {}
    for fill in changes.fills:
        fills.setdefault(fill.order_id, []).append(fill)
    return results, fills


def _tried(engine: Engine, request: model.Request, now: float, used: set[str]) -> Result:
    try:
        order = _enter(engine, request, now, used=request.client_order_id in used)
    except model.Rejected as error:
        return error
    used.add(order.request.client_order_id)
    return order


def _enter(engine: Engine, request: model.Request, now: float, *, used: bool) -> model.Order:
    if not request.client_order_id:
        request = replace(request, client_order_id=f"{_prefix}-{next(_counter)}")
    elif used:
        raise model.Rejected(
            "DUPLICATE_ORDER", "duplicate_client_order_id", f"client_order_id {request.client_order_id} was used before"
        )
    return replace(engine.place(ME, request, now))


def cancel(account: PaperAccount, symbol: str, order_id: int | None, client_order_id: str | None) -> model.Order:
    """Cancel one live order.

    Raises:
        Rejected: ORDER_NOT_FOUND, saying whether it is unknown or how it ended.
    """

    def act(engine: Engine, now: float) -> model.Order:
        found = _live(engine, symbol, order_id, client_order_id)
        if found is None:
            raise _not_live(account, symbol, order_id, client_order_id)
        return _cancelled(account, engine, found.order_id, now)

    return account.run(act)[0]


def cancel_all(account: PaperAccount, symbol: str | None) -> list[str]:
    """Cancel every live order of a symbol or of the account; answer their ids."""

    def act(engine: Engine, now: float) -> list[str]:
        ids = [order.order_id for order in engine.open_orders(ME, symbol)]
        return [str(_cancelled(account, engine, order_id, now).order_id) for order_id in ids]

    return account.run(act)[0]


def _cancelled(account: PaperAccount, engine: Engine, order_id: int, now: float) -> model.Order:
    if account.config.cancel_delay:
        account.cancel_later(order_id, now + account.config.cancel_delay)
    return replace(engine.cancel(ME, order_id, now))


def find(account: PaperAccount, symbol: str, order_id: int | None, client_order_id: str | None) -> model.Order:
    """Answer an order, live or finished.

    Raises:
        Rejected: ORDER_NOT_FOUND.
    """

    def act(engine: Engine, _now: float) -> model.Order | None:
        live = _live(engine, symbol, order_id, client_order_id)
        return account.store.order(order_id, client_order_id) if live is None else replace(live)

    found = account.run(act)[0]
    if found is None or found.request.symbol != symbol:
        name = client_order_id if order_id is None else order_id
        raise model.Rejected("ORDER_NOT_FOUND", "unknown_order", f"no order {name} of {symbol}")
    return found


def open_orders(account: PaperAccount, symbol: str | None) -> list[model.Order]:
    """Answer every live order, oldest first."""
    return account.run(lambda engine, _now: [replace(order) for order in engine.open_orders(ME, symbol)])[0]


def fills(account: PaperAccount, symbol: str | None, order_id: int | None, since: float | None) -> list[model.Fill]:
    """Answer executions, oldest first."""
    return account.run(lambda _engine, _now: account.store.fills(symbol, order_id, since))[0]


def positions(account: PaperAccount, symbol: str | None) -> list[views.PositionView]:
    """Answer perpetual positions that are not flat."""
    return account.run(lambda engine, _now: engine.positions(ME, symbol))[0]


def reducible(account: PaperAccount, symbol: str, side: str) -> Decimal:
    """Answer how much of a position there is to reduce; of a spot holding, what is free."""
    spec = account.spec(symbol)
    if spec.kind == "spot":
        balance = summary(account)[0].balances.get(spec.base)
        return balance.free if balance else ZERO
    sign = 1 if side == "long" else -1
    return sum((abs(view.size) for view in positions(account, symbol) if view.size * sign > 0), ZERO)


def summary(account: PaperAccount) -> tuple[views.Summary, str]:
    """Answer the engine's summary in the account's settle currency, and the position mode."""

    def act(engine: Engine, _now: float) -> tuple[views.Summary, str]:
        state = engine.account_state(ME)
        used = {position.symbol.split("-")[1] for position in state.positions if position.size}
        each = [engine.summary(ME, asset) for asset in QUOTES if asset in used or asset in state.balances]
        return _together(each or [engine.summary(ME, QUOTES[0])]), state.position_mode

    return account.run(act)[0]


def _together(each: list[views.Summary]) -> views.Summary:
    """Add up what settles in different dollars; the margin ratio is that of the worst."""
    first = each[0]
    if len(each) == 1:
        return first
    return replace(
        first,
        available=sum((one.available for one in each), ZERO),
        used_margin=sum((one.used_margin for one in each), ZERO),
        maintenance=sum((one.maintenance for one in each), ZERO),
        unrealized_pnl=sum((one.unrealized_pnl for one in each), ZERO),
        margin_ratio=max(one.margin_ratio for one in each),
    )


def holdings(account: PaperAccount, symbol: str | None) -> list[tuple[str, Decimal, Decimal | None]]:
    """Answer (symbol, amount, price) of each spot asset held that is no quote currency."""
    balances = summary(account)[0].balances
    if symbol is not None:
        names = {symbol: account.spec(symbol).base}
    else:
        names = {f"{asset}-{QUOTES[0]}": asset for asset in balances if asset not in QUOTES}
    return [
        (name, balances[asset].total, price_of(account, name))
        for name, asset in names.items()
        if asset in balances and balances[asset].total > 0
    ]


def value_of(account: PaperAccount, asset: str, amount: Decimal) -> Decimal | None:
    """Answer what an amount of an asset is worth in dollars; None where it has no price."""
    if asset in QUOTES or not amount:
        return amount
    price = price_of(account, f"{asset}-{QUOTES[0]}")
    return None if price is None else amount * price


def price_of(account: PaperAccount, symbol: str) -> Decimal | None:
    """Answer the mark of a symbol, of its perpetual where only that has one."""
    for name in (symbol, f"{symbol}-SWAP"):
        if name in account.specs and (mark := _mark(account, name)) is not None:
            return mark
    return None


def _mark(account: PaperAccount, symbol: str) -> Decimal | None:
    try:
        return account.prices(symbol).mark
    except ExecutionError as error:
        log.warning(f"paper: {symbol} has no price: {error.message}")
        return None


def arm(account: PaperAccount, seconds: float) -> float | None:
    """Arm the dead-man's switch, or disarm it with 0; answer when it falls."""

    def act(_engine: Engine, now: float) -> float | None:
        account.arm(now + seconds if seconds else 0.0)
        return now + seconds if seconds else None

    return account.run(act)[0]


def set_leverage(account: PaperAccount, symbol: str, leverage: int) -> None:
    """Set the leverage of a perpetual."""
    account.run(lambda engine, _now: engine.set_leverage(ME, symbol, leverage), symbol)


def klines(account: PaperAccount, symbol: str, seconds: int, start: float | None, limit: int) -> list[Kline]:
    """Answer candles of the price source."""
    account.prices(symbol)
    return account.source.klines(symbol, seconds, start, limit, clock.now())


def set_price(account: PaperAccount, symbol: str, row: MarketRow) -> None:
    """Keep prices and let the market react to them.

    Raises:
        Refused: CONFIGURATION, where prices come from elsewhere.
    """
    if not isinstance(account.source, FixedSource):
        raise Refused("CONFIGURATION", f"set_price needs PAPER_SOURCE=fixed; prices come from: {account.source.label}")
    account.set_market(symbol, row)


def add_instrument(
    account: PaperAccount, symbol: str, tick: Any, lot: Any, min_amount: Any, min_notional: Any
) -> model.Spec:
    """List an instrument that is not listed yet."""
    if symbol in account.specs:
        raise Refused("INVALID_SYMBOL", f"{symbol} is listed already")
    spec = account.make_spec(
        symbol,
        positive(tick, "tick_size"),
        positive(lot, "lot_size"),
        ZERO if min_notional is None else positive(min_notional, "min_notional"),
        None if min_amount is None else positive(min_amount, "min_amount"),
    )
    account.set_market(symbol, MarketRow(spec))
    return spec


def _live(engine: Engine, symbol: str, order_id: int | None, client_order_id: str | None) -> model.Order | None:
    found = engine.order_by_client_id(ME, client_order_id or "") if order_id is None else engine.order(ME, order_id)
    return found if found is not None and found.request.symbol == symbol else None


def _not_live(account: PaperAccount, symbol: str, order_id: int | None, client_order_id: str | None) -> model.Rejected:
    ended = account.store.order(order_id, client_order_id)
    name = client_order_id if order_id is None else order_id
    if ended is None or ended.request.symbol != symbol:
        return model.Rejected("ORDER_NOT_FOUND", "unknown_order", f"no order {name} of {symbol}")
    return model.Rejected("ORDER_NOT_FOUND", ended.status, f"order {name} of {symbol} is {ended.status} already")
