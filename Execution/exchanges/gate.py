"""Gate: spot and USDT perpetuals over API v4.

Quirks:
    - gate-api builds and signs (through `call_api`, the generic entry of its methods: its models turn an enum they do
      not know into an error after the order is live, and its defaults resend); only `common/transport` sends.
    - A spot market buy counts quote there, so ours is a limit order that may not rest, 3 % above the best ask: it buys
      what was asked in base, or less. It locks 3 % more, and later reads show it as a limit order.
    - Conditional orders live apart, with ids of their own, and place another order when they wake; its fate is answered
      under the id of the conditional one. Among open orders it stands under its own. On spot they expire after 30 days.
    - Gate finds a finished order by our id for a short while or not at all; then its lists are searched. An order on
      perpetuals that was cancelled without a fill is gone after 10 minutes, for every question.
    - Whether a conditional order on spot keeps our id is not documented. Where one of ours may have lost it, an order
      that is not found is not called absent.
    - Nothing says that Gate refuses an id of ours that it has seen: only our own book keeps orders from doubling.
    - Contracts that Gate counts in decimals are traded in whole ones: it does not say in which steps they go.
    - Hedge mode needs no other fields: a buy opens the long side, or with reduce_only closes the short one.
    - The `fee` of a perpetual's order is reckoned from rates when placed or cancelled; get_order_status is exact.
    - The dead-man's switch takes 5 seconds at least and spares conditional orders.

Settings: GATE_API_KEY, GATE_API_SECRET, GATE_TESTNET, GATE_BASE_URL, GATE_MARGIN_MODE (cross, isolated: what
set_leverage sets), GATE_ACCOUNT (spot, unified: where spot orders are kept).

Source: https://www.gate.com/docs/developers/apiv4/en/
"""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable, Iterator, Mapping
from decimal import ROUND_CEILING, Decimal
from typing import Any

from Execution.common import symbols
from Execution.common.answers import answers, before_sending
from Execution.common.asked import whole_of
from Execution.common.clients.gate import (
    NAME,
    PAGE,
    Market,
    ask,
    is_hedge,
    market_of,
    orders_path,
    pages,
    public,
    server_time,
    sessions,
    setting,
    spot_account,
    triggers_path,
    wait_of,
)
from Execution.common.codecs.gate import (
    AWAKE,
    build_cancel,
    build_limit_order,
    build_market_order,
    build_stop_order,
    build_take_profit_order,
    encode_client_order_id,
    parse_child_id,
    parse_fill,
    parse_order,
    parse_order_update,
    with_child,
)
from Execution.common.codecs.gate_account import (
    parse_account,
    parse_balances,
    parse_hedge_mode,
    parse_holding,
    parse_instrument,
    parse_kline,
    parse_position,
    parse_ticker,
    parse_unified_account,
)
from Execution.common.codecs.gate_errors import parse_error
from Execution.common.codecs.gate_values import unified_symbol
from Execution.common.envelope import fail, ok
from Execution.common.errors import ExecutionError, Refused
from Execution.common.precision import number_of, positive, round_down
from Execution.common.types import CancelFailure, Envelope, Fill, Order, Position

__all__ = ["NAME", "parse_instrument", "parse_order_update"]

UNSUPPORTED: dict[str, str] = {}
ABSENCE_GRACE = 30.0  # no order is taken after 5 s; the rest is for lists of finished orders to catch up

_TRADES_PAGE, _MOST_PAGES = 1000, 100
_TRADES_SPAN, _MOST_SPANS = 30 * 86400, 36  # the longest that one question for executions may reach
_FORGOTTEN_AFTER = 600.0  # a perpetual's order that was cancelled without a fill is gone then
_SOURCES = frozenset(("api", "apiv4"))  # what stands for a text that was not kept
_LEAST_COUNTDOWN = 5
_MOST_KLINES = {False: 1000, True: 2000}  # on spot, on perpetuals
INTERVALS = {
    "10s": 10, "1m": 60, "5m": 300, "15m": 900, "30m": 1800, "1h": 3600, "4h": 14400, "8h": 28800, "1d": 86400,
    "1w": 604800, "7d": 604800,
}  # fmt: skip
_INTERVAL_NAMES = {"1w": "7d"}
# How an order that Gate took and ended at once was refused.
_REFUSALS: dict[str, Any] = {
    "poc": ("POST_ONLY_WOULD_CROSS", "it would have been executed at once"),
    "reduce_only": ("REDUCE_ONLY_REJECTED", "there is nothing to reduce"),
    "reduce_out": ("REDUCE_ONLY_REJECTED", "there is nothing to reduce"),
}


def _fresh_id(client_order_id: str | None) -> str:
    return f"ex{os.urandom(10).hex()}" if client_order_id is None else client_order_id


# Orders


@answers
def place_limit_order(
    symbol: str,
    side: str,
    amount: Any,
    price: Any,
    *,
    client_order_id: str | None = None,
    time_in_force: str = "GTC",
    post_only: bool = False,
    reduce_only: bool = False,
) -> Envelope:
    """Place a limit order: POST /spot/orders, POST /futures/usdt/orders."""
    market = market_of(symbol)
    body = build_limit_order(
        market.rules,
        side,
        amount,
        price,
        client_order_id=_fresh_id(client_order_id),
        time_in_force=time_in_force,
        post_only=post_only,
        reduce_only=reduce_only,
        account=spot_account(),
    )
    return ok(_placed(market, body))


@answers
def place_market_order(
    symbol: str,
    side: str,
    amount: Any,
    *,
    client_order_id: str | None = None,
    reduce_only: bool = False,
    max_slippage: Any = None,
) -> Envelope:
    """Place a market order. A spot buy, and any with max_slippage, is a limit order that may not rest."""
    return ok(
        _market_order(
            market_of(symbol),
            side,
            amount,
            client_order_id=_fresh_id(client_order_id),
            reduce_only=reduce_only,
            max_slippage=max_slippage,
        )
    )


def rate_pause(_host: str, headers: Mapping[str, str]) -> float:
    """Answer how long what is left of an endpoint's window is kept for cancels: once nine tenths of it are used."""
    left, most = headers.get("x-gate-ratelimit-requests-remain", ""), headers.get("x-gate-ratelimit-limit", "")
    if not (left.isascii() and left.isdigit() and most.isascii() and most.isdigit() and int(left) * 10 <= int(most)):
        return 0.0
    return wait_of(headers) or 0.0


def _market_order(market: Market, side: str, amount: Any, **options: Any) -> Order:
    best: Decimal | None = None
    if options.get("max_slippage") is not None or (not market.swap and side == "buy"):
        # What is wrong with the arguments is said before the price is asked for.
        build_market_order(market.rules, side, amount, best=_LARGEST, **options)
        with before_sending():
            best = _best(market, side)
    order = _placed(
        market, build_market_order(market.rules, side, amount, best=best, account=spot_account(), **options)
    )
    return {**order, "type": "market", "price": None}


_LARGEST = Decimal("1e12")


def _best(market: Market, side: str) -> Decimal:
    price = _ticker(market)["lowest_ask" if side == "buy" else "highest_bid"]
    if not price or not Decimal(price):
        raise Refused("INVALID_ORDER", f"{market.symbol} has no {'ask' if side == 'buy' else 'bid'} to trade against")
    return Decimal(price)


@answers
def place_stop_order(
    symbol: str,
    side: str,
    amount: Any,
    stop_price: Any,
    price: Any = None,
    *,
    client_order_id: str | None = None,
    reduce_only: bool = False,
) -> Envelope:
    """Place a price-triggered order: POST /spot/price_orders, POST /futures/usdt/price_orders."""
    market = market_of(symbol)
    build = build_stop_order
    return ok(_triggered(market, build, side, amount, stop_price, price, client_order_id, reduce_only))


@answers
def place_take_profit_order(
    symbol: str,
    side: str,
    amount: Any,
    stop_price: Any,
    price: Any = None,
    *,
    client_order_id: str | None = None,
    reduce_only: bool = False,
) -> Envelope:
    """As place_stop_order, waking in the other direction."""
    market = market_of(symbol)
    build = build_take_profit_order
    return ok(_triggered(market, build, side, amount, stop_price, price, client_order_id, reduce_only))


def _triggered(
    market: Market,
    build: Callable[..., dict[str, Any]],
    side: str,
    amount: Any,
    stop_price: Any,
    price: Any,
    client_order_id: str | None,
    reduce_only: bool,
) -> Order:
    body = build(
        market.rules,
        side,
        amount,
        stop_price,
        price,
        client_order_id=_fresh_id(client_order_id),
        reduce_only=reduce_only,
        account=spot_account(),
    )
    now = sessions.get().now()
    try:
        raw = ask("POST", market.triggers, body=body)
    except ExecutionError as error:
        if error.code == "INVALID_ORDER":
            error.message += f" (stop_price {body['trigger']['price']})"
        raise
    # Gate answers the id only; the rest is what was asked.
    order = parse_order({**body, **raw, "status": "open", "create_time": now, "ctime": now}, market.size)
    return {**order, "price": None} if price is None else order


def _placed(market: Market, body: dict[str, Any]) -> Order:
    raw = ask("POST", market.orders, body=body)
    order = parse_order(raw, market.size)
    refused = _REFUSALS.get(order.get("reason", ""))
    if refused and not order["filled"]:
        code, words = refused
        raise ExecutionError(code, f"{words} ({order['reason']})", outcome="rejected", exchange_code=order["reason"])
    return order


@answers
def cancel_order(symbol: str, order_id: str | None = None, *, client_order_id: str | None = None) -> Envelope:
    """Cancel one order: DELETE of the plain one, else of the conditional one, else of the order that it placed."""
    market = market_of(symbol)
    which = _which(market, order_id, client_order_id)
    try:
        return ok(_cancelled(market, which))
    except ExecutionError as error:
        if not _is_absent(error):
            raise
        doubts: list[str] = []
        trigger = _find_trigger(market, order_id, client_order_id, doubts)
        if doubts and trigger is None:
            raise _absent(market, client_order_id, doubts) from None
        if trigger is None:
            raise
    child = parse_child_id(trigger)
    if _state_of(trigger) in AWAKE and child:
        ended = _cancelled(market, _which(market, child, None))
        return ok(with_child(parse_order(trigger, market.size), ended))
    if trigger["status"] not in ("open", "inactive"):
        ended = parse_order(trigger, market.size)
        words = f"conditional order {ended['order_id']} has ended before: {_state_of(trigger) or ended['status']}"
        raise ExecutionError("ORDER_NOT_FOUND", words, outcome="rejected")
    ask("DELETE", market.triggers, _trigger_query(market), order_id=str(trigger["id"]))
    return ok(parse_order({**trigger, "status": "cancelled"}, market.size))


def _cancelled(market: Market, which: dict[str, Any]) -> Order:
    query = {name: value for name, value in which.items() if name != "order_id"}
    return parse_order(ask("DELETE", market.orders, query, order_id=which["order_id"]), market.size)


def _which(market: Market, order_id: object, client_order_id: object) -> dict[str, Any]:
    """Answer what names a plain order. An id that is no number is none of Gate's."""
    which = build_cancel(market.symbol, order_id, client_order_id, account=spot_account())
    if order_id is not None and not (which["order_id"].isascii() and which["order_id"].isdigit()):
        raise ExecutionError("ORDER_NOT_FOUND", f"{order_id!r:.60} is no order id of gate's", outcome="rejected")
    return which


def _is_absent(error: ExecutionError) -> bool:
    """Tell whether Gate knows no such plain order; one that has ended is known."""
    return error.exchange_code in ("ORDER_NOT_FOUND", "CLIENT_ID_NOT_FOUND")


def _state_of(trigger: Mapping[str, Any]) -> str:
    return str(trigger.get("finish_as") or trigger["status"])


@answers
def cancel_all_orders(symbol: str | None = None) -> Envelope:
    """Cancel all: one DELETE for each of plain and conditional orders, spot and perpetuals."""
    market = None if symbol is None else market_of(symbol)
    cancelled: list[str] = []
    failed: list[CancelFailure] = []
    trouble: list[ExecutionError] = []
    for swap in (False, True) if market is None else (market.swap,):
        for path, query in _everything(swap, market):
            try:
                rows = ask("DELETE", path, query)
            except ExecutionError as error:  # the others are cancelled all the same, and this is told below
                trouble.append(error)
                failed.append({"order_id": "", "symbol": symbol or "", "error": error.code, "message": error.message})
                continue
            for row in rows:
                order_id = str(row.get("id_string") or row.get("id") or row.get("order_id"))
                if row.get("succeeded", True):
                    cancelled.append(order_id)
                else:
                    wrong = parse_error(row)
                    name = unified_symbol(row["currency_pair"], swap) if "currency_pair" in row else symbol or ""
                    failed.append({"order_id": order_id, "symbol": name, "error": wrong.code, "message": wrong.message})
    report: dict[str, Any] = {"cancelled": cancelled, "failed": failed}
    if trouble:
        worst = next((error for error in trouble if error.outcome == "unknown"), trouble[0])
        words = "; ".join(dict.fromkeys(error.message for error in trouble))
        code = worst.exchange_code
        return fail(worst.code, words, worst.outcome, exchange_code=code, retry_after=worst.retry_after, **report)
    if failed:
        words = "; ".join(f"{each['order_id']}: {each['message']}" for each in failed)
        return fail("VENUE_REJECTED", words, "rejected", **report)
    return ok(report)


def _everything(swap: bool, market: Market | None) -> list[tuple[str, dict[str, str]]]:
    if swap:
        scope = {"contract": market.name} if market else {}
        return [(orders_path(swap), scope), (triggers_path(swap), scope)]
    account = spot_account()
    plain, waiting = {"account": account}, {"account": "normal" if account == "spot" else account}
    if market:
        plain["currency_pair"] = waiting["market"] = market.name
    return [(orders_path(swap), plain), (triggers_path(swap), waiting)]


@answers
def get_order_status(symbol: str, order_id: str | None = None, *, client_order_id: str | None = None) -> Envelope:
    """Read one order by either id: among plain orders, finished ones too, then among conditional ones."""
    market = market_of(symbol)
    which = _which(market, order_id, client_order_id)
    raw = _find_plain(market, which)
    if raw is not None:
        return ok(_settled(market, raw))
    doubts: list[str] = []
    trigger = _find_trigger(market, order_id, client_order_id, doubts)
    if trigger is not None:
        return ok(_settled_trigger(market, trigger))
    if order_id is None:
        text, scope = which["order_id"], _scope(market, "finished")
        raw = _find_by_text(market.orders, scope, text, doubts, numbered=not market.swap)
        if raw is not None:
            return ok(_settled(market, raw))
    raise _absent(market, client_order_id if order_id is None else order_id, doubts)


def _absent(market: Market, name: object, doubts: list[str]) -> ExecutionError:
    """Answer that Gate knows no such order; or, where a search left doubts, that this is not known."""
    if not doubts:
        return ExecutionError("ORDER_NOT_FOUND", f"gate knows no order {name} of {market.symbol}", outcome="rejected")
    words = f"whether gate has order {name} of {market.symbol} is not known ({'; '.join(doubts)}): ask by its order_id"
    return ExecutionError("BAD_RESPONSE", words, outcome="unknown")


def _scope(market: Market, status: str) -> dict[str, str]:
    if market.swap:
        return {"contract": market.name, "status": status}
    return {"currency_pair": market.name, "status": status, "account": spot_account()}


def _find_plain(market: Market, which: dict[str, Any]) -> Any:
    """Answer a plain order, None where Gate knows none of this market."""
    query = {name: value for name, value in which.items() if name != "order_id"}
    try:
        raw = ask("GET", market.orders, query, order_id=which["order_id"])
    except ExecutionError as error:
        if error.code == "ORDER_NOT_FOUND":
            return None
        raise
    return raw if raw["contract" if market.swap else "currency_pair"] == market.name else None


def _find_trigger(market: Market, order_id: object, client_order_id: object, doubts: list[str]) -> Any:
    """Answer a conditional order, None where Gate knows none of this market."""
    if order_id is None:
        text = encode_client_order_id(client_order_id)
        query = {"contract" if market.swap else "market": market.name}
        if not market.swap and spot_account() != "spot":
            query["account"] = spot_account()  # a unified account's are listed only when asked for
        for status in ("open", "finished"):
            found = _find_by_text(market.triggers, {**query, "status": status}, text, doubts, numbered=False)
            if found is not None:
                return found
        return None
    try:
        raw = ask("GET", market.triggers, _trigger_query(market), order_id=str(order_id))
    except ExecutionError as error:
        if error.code == "ORDER_NOT_FOUND":
            return None
        raise
    return raw if (raw["initial"]["contract"] if market.swap else raw["market"]) == market.name else None


def _trigger_query(market: Market) -> dict[str, str]:
    return {"contract": market.name} if market.swap else {}


def _find_by_text(path: str, query: Mapping[str, str], text: str, doubts: list[str], *, numbered: bool) -> Any:
    """Answer the newest order of a list that has this text; None, and what speaks against it, where none has it."""
    nameless = 0
    for number, raw in enumerate(pages(path, query, numbered=numbered)):
        found = (raw.get("initial") or raw.get("put") or raw).get("text")
        if found == text:
            return raw
        nameless += "put" in raw and found in _SOURCES
        if number >= PAGE * _MOST_PAGES:
            doubts.append(f"only the last {number} of {path} were searched")
            return None
    if nameless:
        doubts.append(f"{nameless} {query['status']} ones of {path} have lost their text")
    return None


def _settled(market: Market, raw: Mapping[str, Any]) -> Order:
    """Answer a plain order; what a perpetual's has paid only its executions tell."""
    order = parse_order(raw, market.size)
    if not market.swap or not order["filled"]:
        return order
    fills = _order_fills(market, order["order_id"])
    return {**order, "fee": float(sum(Decimal(str(fill["fee"])) for fill in fills))} if fills else order


def _order_fills(market: Market, order_id: str) -> list[Fill]:
    rows = (_swap_trades if market.swap else _spot_trades)(market, order_id, None)
    return [parse_fill(row, market.size) for row in rows]


def _settled_trigger(market: Market, trigger: Mapping[str, Any]) -> Order:
    """Answer a conditional order; where it woke, with what became of the order that it placed."""
    order = parse_order(trigger, market.size)
    child = parse_child_id(trigger)
    if _state_of(trigger) not in AWAKE or not child:
        return order
    raw = _find_plain(market, _which(market, child, None))
    if raw is not None:
        return with_child(order, _settled(market, raw))
    if sessions.get().clock.now() - order["updated"] < _FORGOTTEN_AFTER or _order_fills(market, child):
        return order
    return {**order, "status": "cancelled", "reason": "the order it placed ended without an execution"}


@answers
def get_open_orders(symbol: str | None = None) -> Envelope:
    """Read live orders: plain and conditional, spot and perpetuals, all pages."""
    market = None if symbol is None else market_of(symbol)
    found: dict[tuple[str, bool], Order] = {}  # an order that moves on to the next page is read twice
    for swap in (False, True) if market is None else (market.swap,):
        for row in _open_rows(swap, market):
            order = parse_order(row, _size_of(row, market))
            found[order["order_id"], "trigger" in row] = order
    return ok(list(found.values()))


def _open_rows(swap: bool, market: Market | None) -> Iterator[Any]:
    if swap:
        query = {"status": "open", **({"contract": market.name} if market else {})}
        yield from pages(orders_path(swap), query, numbered=False)
        yield from pages(triggers_path(swap), query, numbered=False)
        return
    account = spot_account()
    if market:
        yield from pages(orders_path(swap), _scope(market, "open"), numbered=True)
    else:
        yield from _open_by_pair(account)
    query = {"status": "open", "account": "normal" if account == "spot" else account}
    yield from pages(triggers_path(swap), {**query, **({"market": market.name} if market else {})}, numbered=False)


def _open_by_pair(account: str) -> Iterator[Any]:
    """Answer open spot orders; here a page is one of every pair."""
    for number in itertools.count(1):
        groups = ask("GET", "/spot/open_orders", {"account": account, "page": number, "limit": PAGE})
        for group in groups:
            yield from group["orders"]
        if all(len(group["orders"]) < PAGE for group in groups):
            return


def _size_of(raw: Mapping[str, Any], market: Market | None) -> Decimal:
    """Answer the contract size of a row's market."""
    if market is not None:
        return market.size
    name = raw.get("contract") or raw.get("initial", {}).get("contract")
    return market_of(f"{name.replace('_', '-')}-SWAP").size if name else Decimal(1)


@answers
def get_fills(symbol: str | None = None, *, order_id: str | None = None, since: float | None = None) -> Envelope:
    """Read executions; of a conditional order, those of the order it placed. Without `since` spot's last 7 days."""
    market = None if symbol is None else market_of(symbol)
    after = None if since is None else number_of(since, "since")
    if after is not None and after < 0:
        raise Refused("INVALID_ORDER", f"since must not be negative, not {since!r:.60}")
    name = None if order_id is None else str(order_id)
    if name is not None and not (name.isascii() and name.isdigit()):
        return ok([])
    found: dict[tuple[str, str], Fill] = {}  # an execution that moves on to the next page is read twice
    for swap in (False, True) if market is None else (market.swap,):
        for row in _swap_trades(market, name, after) if swap else _spot_trades(market, name, after):
            fill = parse_fill(row, _size_of(row, market))
            found[fill["symbol"], fill["trade_id"]] = fill
    fills = [fill for fill in found.values() if name is None or fill["order_id"] == name]
    if market is not None and name is not None and not fills:
        fills = _child_fills(market, name)
    wanted = [fill for fill in fills if after is None or fill["timestamp"] >= float(after)]
    return ok(sorted(wanted, key=lambda fill: (fill["timestamp"], len(fill["trade_id"]), fill["trade_id"])))


def _child_fills(market: Market, order_id: str) -> list[Fill]:
    """Answer the executions of the order that a conditional one placed, under the ids of the conditional one."""
    trigger: Any = _find_trigger(market, order_id, None, [])
    child = parse_child_id(trigger) if trigger else ""
    if not child:
        return []
    ours = parse_order(trigger, market.size)["client_order_id"]
    return [{**fill, "order_id": order_id, "client_order_id": ours} for fill in _order_fills(market, child)]


def _spot_trades(market: Market | None, order_id: str | None, after: Decimal | None) -> Iterator[Any]:
    query: dict[str, Any] = {"currency_pair": market.name} if market else {}
    if market and order_id is not None:
        query["order_id"] = order_id
    for span in _spans(after) if after is not None and "order_id" not in query else ({},):
        yield from pages("/spot/my_trades", {**query, **span}, numbered=True, limit=_TRADES_PAGE)


def _swap_trades(market: Market | None, order_id: str | None, after: Decimal | None) -> Iterator[Any]:
    query: dict[str, Any] = {"contract": market.name} if market else {}
    if order_id is not None or after is None:
        query |= {} if order_id is None else {"order": order_id}
        yield from pages("/futures/usdt/my_trades", query, numbered=False, limit=_TRADES_PAGE)
        return
    for span in _spans(after):
        where = "/futures/usdt/my_trades_timerange"
        yield from pages(where, {**query, **span}, numbered=False, limit=_TRADES_PAGE)


def _spans(after: Decimal) -> list[dict[str, int]]:
    """Answer the time from `after` to now in parts that Gate answers."""
    start, now = int(after), int(sessions.get().clock.now()) + 1
    if now - start > _TRADES_SPAN * _MOST_SPANS:
        days = _TRADES_SPAN * _MOST_SPANS // 86400
        raise Refused("INVALID_ORDER", f"since may lie {days} days back: gate answers 30 days at a time")
    starts = range(start, max(now, start + 1), _TRADES_SPAN)
    return [{"from": each, "to": max(each, min(each + _TRADES_SPAN, now))} for each in starts]


# Account


@answers
def get_account_info() -> Envelope:
    """Read the account of perpetuals and the spot balances, at their present prices; or the unified account."""
    futures = ask("GET", "/futures/usdt/accounts")
    if spot_account() == "unified":
        raw = ask("GET", "/unified/accounts")
        return ok(parse_unified_account(raw, parse_hedge_mode(futures), sessions.get().clock.now()))
    spot = parse_balances(ask("GET", "/spot/accounts"))
    held = {asset for asset, balance in spot.items() if balance["total"]}
    prices = _prices(held)
    unpriced = ", ".join(sorted(held - set(prices)))
    worth = {asset: price for asset, price in prices.items() if asset in held}
    data = parse_account(spot, futures, worth, sessions.get().clock.now())
    return ok(data, f"not counted, without a price: {unpriced}" if unpriced else "")


def _prices(assets: set[str]) -> dict[str, float]:
    """Answer the last price in USDT of each asset that has one."""
    found = {"USDT": 1.0}
    if assets - {"USDT"}:
        last = {row["currency_pair"]: row["last"] for row in public("/spot/tickers")}
        found |= {asset: float(price) for asset in assets if (price := last.get(f"{asset}_USDT"))}
    return found


@answers
def get_positions(symbol: str | None = None) -> Envelope:
    """Read perpetual positions (each side in hedge mode), and spot holdings as long positions of leverage 1."""
    market = None if symbol is None else market_of(symbol)
    found: list[Position] = []
    if market is None or market.swap:
        found += _positions(market)
    if market is None or not market.swap:
        found += _holdings(market)
    return ok(found)


def _positions(market: Market | None) -> list[Position]:
    rows = list(pages("/futures/usdt/positions", {"holding": "true"}, numbered=False))
    wanted = [row for row in rows if Decimal(str(row["size"])) and (market is None or row["contract"] == market.name)]
    return [parse_position(row, _size_of(row, market)) for row in wanted]


def _holdings(market: Market | None) -> list[Position]:
    base, quote = symbols.split(market.symbol)[:2] if market else ("", "USDT")
    held = {
        asset: balance["total"]
        for asset, balance in _spot_balances(base).items()
        if balance["total"] and asset != quote and asset in (base or asset)
    }
    prices = _prices(set(held)) if not market or quote == "USDT" else {}
    return [parse_holding(f"{asset}-{quote}", total, prices.get(asset)) for asset, total in sorted(held.items())]


def _spot_balances(asset: str = "") -> dict[str, Any]:
    if spot_account() == "unified":
        return dict(parse_unified_account(ask("GET", "/unified/accounts"), False, 0.0)["balances"])
    return dict(parse_balances(ask("GET", "/spot/accounts", {"currency": asset} if asset else {})))


@answers
def adjust_position(symbol: str, side: str, amount: Any, price: Any = None) -> Envelope:
    """Add to a position or reduce it: never more than it is, always reduce-only. On spot there is only a long one."""
    market = market_of(symbol)
    if side != "long" and not (side == "short" and market.swap):
        allowed = "long or short" if market.swap else "long, since it is spot"
        raise Refused("INVALID_ORDER", f"side of {market.symbol} must be {allowed}, not {side!r:.60}")
    change = number_of(amount, "amount")
    size = positive(abs(change), "amount")
    reduces = change < 0
    if price is not None:
        positive(price, "price")
    if reduces:
        with before_sending():
            size = min(size, round_down(_reducible(market, side), market.rules.lot_size))
        if not size:
            words = f"no {side} {market.symbol} to reduce"
            raise ExecutionError("REDUCE_ONLY_REJECTED", words, outcome="rejected")
    elif market.swap:
        with before_sending():
            _no_opposite(market, side)
    order_side = "buy" if (side == "long") is not reduces else "sell"
    options: dict[str, Any] = {"client_order_id": _fresh_id(None), "reduce_only": reduces and market.swap}
    if price is None:
        return ok(_market_order(market, order_side, size, **options))
    return ok(
        _placed(market, build_limit_order(market.rules, order_side, size, price, account=spot_account(), **options))
    )


def _reducible(market: Market, side: str) -> Decimal:
    if not market.swap:
        base = symbols.split(market.symbol)[0]
        balance = _spot_balances(base).get(base)
        return Decimal(str(balance["free"])) if balance else Decimal(0)
    found = (each for each in _positions(market) if each["side"] == side)
    return sum((Decimal(str(each["size"])) for each in found), Decimal(0))


def _no_opposite(market: Market, side: str) -> None:
    """Refuse to add to a side where, in one-way mode, the other one would be reduced or flipped by it."""
    if any(each["side"] != side for each in _positions(market)) and not is_hedge():
        words = f"the {market.symbol} position is not {side}, and the account is in one-way mode: reduce it first"
        raise Refused("INVALID_ORDER", words)


@answers
def set_leverage(symbol: str, leverage: int) -> Envelope:
    """Set the leverage of a perpetual in the margin mode of GATE_MARGIN_MODE; Gate writes cross as leverage 0."""
    market = market_of(symbol)
    if not market.swap:
        raise Refused("NOT_SUPPORTED", f"{market.symbol} is spot and has no leverage")
    value = whole_of(leverage, "leverage", market.rules.max_leverage)
    cross = setting("MARGIN_MODE", ("cross", "isolated")) == "cross"
    query = {"leverage": "0", "cross_leverage_limit": str(value)} if cross else {"leverage": str(value)}
    with before_sending():
        kind = "dual_comp/positions" if is_hedge() else "positions"
    ask("POST", f"/futures/usdt/{kind}/{market.name}/leverage", query)
    return ok({"symbol": market.symbol, "leverage": value})


@answers
def cancel_all_after(seconds: float) -> Envelope:
    """Arm the countdowns of spot and of perpetuals: 0 or at least 5 s, rounded up to whole ones."""
    wait = number_of(seconds, "seconds")
    whole = int(wait) + (wait != int(wait))
    if wait < 0 or 0 < whole < _LEAST_COUNTDOWN:
        raise Refused("INVALID_ORDER", f"seconds must be 0 or at least {_LEAST_COUNTDOWN}, not {seconds!r:.60}")
    body = {"timeout": whole}
    times = [
        ask("POST", f"/{kind}/countdown_cancel_all", body=body)["triggerTime"] for kind in ("spot", "futures/usdt")
    ]
    return ok({"seconds": float(whole), "trigger_time": max(map(int, times)) / 1000 if whole else None})


# Market


@answers
def get_ticker(symbol: str) -> Envelope:
    """Read best prices; the time is ours, of just after they were read."""
    market = market_of(symbol)
    return ok(parse_ticker(_ticker(market), market.size, int(time.time() * 1000) / 1000))


def _ticker(market: Market) -> Any:
    kind, name = ("futures/usdt", "contract") if market.swap else ("spot", "currency_pair")
    return public(f"/{kind}/tickers", {name: market.name})[0]


@answers
def get_instrument(symbol: str) -> Envelope:
    """Read the trading rules, asked every ten minutes. The fees are those of the market, not of the account."""
    return ok(market_of(symbol).instrument)


@answers
def get_klines(symbol: str, interval: str, *, start: float | None = None, limit: int = 500) -> Envelope:
    """Read at most 1000 candles (perpetuals: 2000); Gate keeps the last 10 000 of an interval."""
    market = market_of(symbol)
    seconds = INTERVALS.get(interval) if isinstance(interval, str) else None
    if seconds is None:
        raise Refused("INVALID_ORDER", f"interval must be one of {', '.join(INTERVALS)}, not {interval!r:.60}")
    count = whole_of(limit, "limit", _MOST_KLINES[market.swap])
    kind, name = ("futures/usdt", "contract") if market.swap else ("spot", "currency_pair")
    query: dict[str, Any] = {name: market.name, "interval": _INTERVAL_NAMES.get(interval, interval)}
    if start is None:
        query["limit"] = count
    else:
        begin = int(number_of(start, "start").to_integral_value(ROUND_CEILING))
        query |= {"from": begin, "to": max(begin, min(begin + (count - 1) * seconds, int(time.time())))}
    rows = public(f"/{kind}/candlesticks", query)
    found = [parse_kline(row, seconds, time.time(), market.size) for row in rows]
    return ok(sorted(found, key=lambda kline: kline["timestamp"])[:count])


@answers
def get_server_time() -> Envelope:
    """Read Gate's clock."""
    return ok({"timestamp": server_time()})
