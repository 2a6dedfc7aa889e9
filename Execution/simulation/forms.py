"""Between the public border and the engine: requests from arguments, public dicts from the engine's answers. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal
from typing import Any, cast

from Execution.common.asked import check_side, check_terms, slippage_of
from Execution.common.envelope import fail
from Execution.common.errors import ErrorCode, Refused
from Execution.common.precision import Rules, positive, round_amount, round_price
from Execution.common.types import (
    AccountInfo,
    Balance,
    Envelope,
    Fill,
    Instrument,
    Kline,
    Order,
    OrderStatus,
    Position,
    Ticker,
)
from Execution.matching import model, views
from Execution.simulation.account_store import MarketRow
from Execution.simulation.prices import Prices

STATUSES: dict[str, OrderStatus] = {
    "pending": "pending",
    "open": "open",
    "partially_filled": "partially_filled",
    "filled": "filled",
    "cancelled": "cancelled",
    "rejected": "rejected",
    "expired": "expired",
}
CLIENT_ORDER_ID = re.compile(r"[A-Za-z0-9._:/-]{1,64}")
_SLIPPAGE_STEP = Decimal("1e-8")
_NOT_SENT = frozenset(("min_notional",))  # a rule of ours that needs the market to be checked


def build_limit_order(
    rules: Rules,
    side: str,
    amount: Any,
    price: Any,
    *,
    client_order_id: str | None = None,
    time_in_force: str = "GTC",
    post_only: bool = False,
    reduce_only: bool = False,
) -> model.Request:
    """Answer the engine's request for a limit order."""
    direction = _check(rules, side, client_order_id, reduce_only)
    check_terms(time_in_force, post_only)
    limit = round_price(positive(price, "price"), side, rules)
    size = round_amount(positive(amount, "amount"), rules, None if reduce_only else limit)
    return model.Request(
        rules.symbol,
        direction,
        "limit",
        size,
        limit,
        None,
        client_order_id or "",
        time_in_force,  # type: ignore[arg-type]
        post_only,
        reduce_only,
    )


def build_market_order(
    rules: Rules,
    side: str,
    amount: Any,
    *,
    client_order_id: str | None = None,
    reduce_only: bool = False,
    max_slippage: Any = None,
) -> model.Request:
    """Answer the engine's request for a market order."""
    direction = _check(rules, side, client_order_id, reduce_only)
    size = round_amount(positive(amount, "amount"), rules, None)
    slippage = None if max_slippage is None else _slippage(max_slippage)
    return model.Request(
        rules.symbol,
        direction,
        "market",
        size,
        None,
        None,
        client_order_id or "",
        "GTC",
        False,
        reduce_only,
        "",
        slippage,
    )


def build_stop_order(
    rules: Rules,
    side: str,
    amount: Any,
    stop_price: Any,
    price: Any = None,
    *,
    client_order_id: str | None = None,
    reduce_only: bool = False,
) -> model.Request:
    """Answer the engine's request for a stop order."""
    return _conditional("stop", rules, side, amount, stop_price, price, client_order_id, reduce_only)


def build_take_profit_order(
    rules: Rules,
    side: str,
    amount: Any,
    stop_price: Any,
    price: Any = None,
    *,
    client_order_id: str | None = None,
    reduce_only: bool = False,
) -> model.Request:
    """Answer the engine's request for a take-profit order."""
    return _conditional("take_profit", rules, side, amount, stop_price, price, client_order_id, reduce_only)


def _conditional(
    kind: model.Kind,
    rules: Rules,
    side: str,
    amount: Any,
    stop_price: Any,
    price: Any,
    client_order_id: str | None,
    reduce_only: bool,
) -> model.Request:
    direction = _check(rules, side, client_order_id, reduce_only)
    stop = round_price(positive(stop_price, "stop_price"), side, rules, "stop_price")
    limit = None if price is None else round_price(positive(price, "price"), side, rules)
    size = round_amount(positive(amount, "amount"), rules, None if reduce_only else limit or stop)
    return model.Request(
        rules.symbol, direction, kind, size, limit, stop, client_order_id or "", reduce_only=reduce_only
    )


def _slippage(value: Any) -> Decimal:
    number = slippage_of(value)
    return number - number % _SLIPPAGE_STEP


def build_prices(rules: Rules, bid: Any, ask: Any, size: Any, last: Any) -> MarketRow:
    """Answer prices set by hand."""
    best_bid = positive(bid, "bid")
    best_ask = best_bid + rules.tick_size if ask is None else positive(ask, "ask")
    if best_bid >= best_ask:
        raise Refused("INVALID_ORDER", f"bid {best_bid} of {rules.symbol} must be below ask {best_ask}")
    return MarketRow(
        None,
        best_bid,
        best_ask,
        None if size is None else positive(size, "size"),
        None if last is None else positive(last, "last"),
    )


def build_cancel(order_id: object, client_order_id: object) -> tuple[int | None, str | None]:
    """Answer the engine's number or our id of the order meant; a text that is no number of ours is order 0."""
    if order_id is None and client_order_id is None:
        raise Refused("INVALID_ORDER", "order_id or client_order_id is needed, both are None")
    if order_id is None:
        if not isinstance(client_order_id, str):
            raise Refused("INVALID_ORDER", f"client_order_id must be text, not {client_order_id!r:.60}")
        return None, client_order_id
    text = str(order_id)
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else 0, None


def _check(rules: Rules, side: object, client_order_id: object, reduce_only: object) -> model.Side:
    direction = check_side(rules, side, reduce_only)
    if client_order_id is not None and not (
        isinstance(client_order_id, str) and CLIENT_ORDER_ID.fullmatch(client_order_id)
    ):
        raise Refused(
            "INVALID_ORDER", f"client_order_id must be 1 to 64 of A-Z a-z 0-9 . _ : / -, not {client_order_id!r:.80}"
        )
    return direction


def parse_error(error: model.Rejected) -> Envelope:
    """Answer the envelope of a refusal of the engine. Nothing was changed by it."""
    outcome = "not_sent" if error.reason in _NOT_SENT else "rejected"
    return fail(cast(ErrorCode, error.code), str(error), cast(Any, outcome), exchange_code=error.reason)


def parse_order(order: model.Order, fills: Sequence[model.Fill] = ()) -> Order:
    """Answer an order of the engine as a public dict, with the fills that its placing brought."""
    request = order.request
    amount, filled, price, stop = request.amount, order.filled, request.price, request.stop_price
    data: Order = {
        "order_id": str(order.order_id),
        "client_order_id": request.client_order_id,
        "symbol": request.symbol,
        "side": request.side,
        "type": request.kind,
        "amount": float(amount),
        "price": None if price is None else float(price),
        "stop_price": None if stop is None else float(stop),
        "status": STATUSES[order.status],
        "filled": float(filled),
        "remaining": float(amount - filled),
        "average_price": float(order.cost / filled) if filled else None,
        "fee": float(order.fee),
        "fee_currency": order.fee_currency,
        "time_in_force": request.time_in_force,
        "post_only": request.post_only,
        "reduce_only": request.reduce_only,
        "timestamp": order.created,
        "updated": order.updated,
    }
    if fills:
        data["fills"] = [parse_fill(fill) for fill in fills]
    if order.reason:
        data["reason"] = order.reason
    return data


def parse_fill(fill: model.Fill) -> Fill:
    """Answer an execution as a public dict."""
    data: Fill = {
        "trade_id": str(fill.trade_id),
        "order_id": str(fill.order_id),
        "client_order_id": fill.client_order_id,
        "symbol": fill.symbol,
        "side": fill.side,
        "amount": float(fill.amount),
        "price": float(fill.price),
        "fee": float(fill.fee),
        "fee_currency": fill.fee_currency,
        "maker": fill.maker,
        "timestamp": fill.time,
        "realized_pnl": float(fill.realized_pnl),
    }
    if fill.liquidation:
        data["liquidation"] = True
    return data


def parse_position(view: views.PositionView) -> Position:
    """Answer a perpetual position as a public dict."""
    mark = view.mark_price
    return {
        "symbol": view.symbol,
        "side": "long" if view.size > 0 else "short",
        "size": float(abs(view.size)),
        "entry_price": _float(view.entry_price),
        "mark_price": _float(mark),
        "liquidation_price": _float(view.liquidation_price),
        "notional": float(abs(view.size) * (view.entry_price if mark is None else mark)),
        "unrealized_pnl": float(view.unrealized_pnl),
        "realized_pnl": float(view.realized_pnl),
        "leverage": float(view.leverage),
        "margin": float(view.margin),
        "margin_mode": "cross",
    }


def parse_holding(symbol: str, amount: Decimal, price: Decimal | None) -> Position:
    """Answer a spot holding as a long position; what it was bought for is not kept."""
    value = float(amount * price) if price is not None else 0.0
    return {
        "symbol": symbol,
        "side": "long",
        "size": float(amount),
        "entry_price": None,
        "mark_price": _float(price),
        "liquidation_price": None,
        "notional": value,
        "unrealized_pnl": 0.0,
        "realized_pnl": 0.0,
        "leverage": 1.0,
        "margin": value,
        "margin_mode": "spot",
    }


def parse_account(summary: views.Summary, equity: Decimal, position_mode: str, now: float, label: str) -> AccountInfo:
    """Answer the account as a public dict; `equity` counts what the margin of perpetuals does not: spot holdings."""
    balances: dict[str, Balance] = {
        asset: {"free": float(each.free), "locked": float(each.locked), "total": float(each.total)}
        for asset, each in summary.balances.items()
    }
    return {
        "total_equity": float(equity),
        "available": float(summary.available),
        "used_margin": float(summary.used_margin),
        "maintenance_margin": float(summary.maintenance),
        "margin_ratio": float(summary.margin_ratio),
        "unrealized_pnl": float(summary.unrealized_pnl),
        "currency": summary.currency,
        "position_mode": "hedge" if position_mode == "hedge" else "net",
        "balances": balances,
        "timestamp": now,
        "simulated": True,
        "price_source": label,
    }


def parse_instrument(spec: model.Spec) -> Instrument:
    """Answer trading rules as a public dict."""
    return {
        "symbol": spec.symbol,
        "base": spec.base,
        "quote": spec.quote,
        "market": spec.kind,
        "tick_size": float(spec.tick),
        "lot_size": float(spec.lot),
        "min_amount": float(spec.min_amount),
        "max_amount": float(spec.max_amount) if spec.max_amount else None,
        "min_notional": float(spec.min_notional),
        "contract_size": float(spec.contract_size),
        "max_leverage": spec.max_leverage,
        "maker_fee": float(spec.maker_fee),
        "taker_fee": float(spec.taker_fee),
        "active": True,
    }


def rules_of(spec: model.Spec) -> Rules:
    """Answer trading rules as the exact numbers that rounding needs."""
    return Rules(
        spec.symbol,
        spec.tick,
        spec.lot,
        spec.min_amount,
        spec.max_amount or Decimal("1e15"),
        spec.min_notional,
        spec.contract_size,
        spec.max_leverage,
    )


def parse_ticker(symbol: str, prices: Prices, label: str) -> Ticker:
    """Answer best prices as a public dict that says where they come from."""
    bid, ask, bid_size, ask_size = prices.bid, prices.ask, prices.bid_size, prices.ask_size
    last, mark = prices.last, prices.mark
    return {
        "symbol": symbol,
        "bid": None if bid is None else float(bid),
        "ask": None if ask is None else float(ask),
        "bid_size": None if bid_size is None else float(bid_size),
        "ask_size": None if ask_size is None else float(ask_size),
        "last": None if last is None else float(last),
        "mark": None if mark is None else float(mark),
        "timestamp": prices.time or 0.0,
        "simulated": True,
        "price_source": label,
    }


def parse_kline(kline: Kline) -> Kline:
    """Answer a candle; a source of ours makes them in the public shape already."""
    return kline


def _float(value: Decimal | None) -> float | None:
    return None if value is None else float(value)
