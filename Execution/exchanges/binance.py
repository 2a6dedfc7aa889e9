"""Binance: spot (api/v3) and USD-M perpetuals (fapi), through python-binance 1.0.37.

Settings: BINANCE_API_KEY, BINANCE_API_SECRET (BINANCE_<ALIAS>_... for more accounts), BINANCE_TESTNET,
BINANCE_SPOT_BASE_URL, BINANCE_FUTURES_BASE_URL, BINANCE_MARGIN_MODE (cross or isolated, default cross),
BINANCE_MARKETS (spot, futures or both, default both), BINANCE_DEFAULT_MARKET.

Quirks:
    - Spot and futures are two wallets under one key. An account here is both: equity and balances are their sum
      (`free` is what spot may use), margin figures are those of futures. Moving money between them is not done here.
    - The dead-man's switch counts down by symbol, on futures alone: cancel_all_after arms it for the perpetuals that
      have live plain orders at that moment, and says for which. Call it again as symbols change.
    - Conditional orders of futures live in a service of their own (algoOrder) with ids of its own. One that has
      triggered is told with what became of the order it produced; that order has an id of its own as well.
    - A client order id is refused as a duplicate among live orders only: Binance takes that of a finished one again.
    - The answer to an order on futures has no fee; get_order_status reads the trades for it.
    - Trades are told for one symbol at a time: get_fills needs a symbol, and without `since` goes back seven days on
      futures, over the last thousand on spot.
    - Position mode (one-way or hedge) is the account's own, read every five minutes and when an order shows that it
      has changed. Margin mode is set per symbol before the first order that may open a position there; an order is
      refused where that cannot be done.
    - BINANCE_MARKETS=spot or futures leaves the other one out of what is asked of the whole account: a key may be
      for one of them only, and on the test networks always is.
    - What python-binance adds or drops is kept from doing so: a broker's prefix on missing client ids, the client id
      of conditional orders. Its socket is common.transport, its window five seconds, its clock Binance's.

Source: https://developers.binance.com/docs/binance-spot-api-docs/rest-api,
https://developers.binance.com/docs/derivatives/usds-margined-futures
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping
from decimal import ROUND_CEILING, Decimal
from functools import partial
from typing import Any

from Execution.common import settings, symbols
from Execution.common.accounts import PerAccount
from Execution.common.answers import answers, before_sending
from Execution.common.clients import binance_reads as reads
from Execution.common.clients.binance import Account, setting
from Execution.common.codecs.binance import (
    build_cancel,
    build_limit_order,
    build_market_order,
    build_stop_order,
    build_take_profit_order,
    join_child,
    parse_account,
    parse_balances,
    parse_band,
    parse_error,
    parse_fill,
    parse_holding,
    parse_instrument,
    parse_kline,
    parse_order,
    parse_order_update,
    parse_position,
    parse_ticker,
    total_fee,
    venue_symbol,
)
from Execution.common.envelope import fail, ok
from Execution.common.errors import ExecutionError, Refused
from Execution.common.precision import Rules, number_of, positive, round_down, rules_of
from Execution.common.types import OPEN_STATUSES, CancelAll, CancelFailure, Envelope, Order, Position

__all__ = [
    "build_cancel",
    "build_limit_order",
    "build_market_order",
    "build_stop_order",
    "build_take_profit_order",
    "parse_account",
    "parse_error",
    "parse_fill",
    "parse_instrument",
    "parse_kline",
    "parse_order",
    "parse_order_update",
    "parse_position",
    "parse_ticker",
]

NAME = "binance"
UNSUPPORTED: dict[str, str] = {}
ABSENCE_GRACE = 10.0

INTERVALS = ("1m", "3m", "5m", "15m", "30m", "1h", "2h", "4h", "6h", "8h", "12h", "1d", "3d", "1w", "1M")
MOST_KLINES = {"spot": 1000, "futures": 1500}
_CANCELS_AT_ONCE = 10
_SPOT_WEIGHT, _FUTURES_WEIGHT = 6000, 2400
_MANY = 10  # times the minimum notional: what is worth more by an old price needs no fresh one


def rate_pause(host: str, headers: Mapping[str, str]) -> float:
    """Answer how long what is left of the minute's weight is kept for cancels: once nine tenths of it are used."""
    used = headers.get("x-mbx-used-weight-1m", "")
    most = _FUTURES_WEIGHT if host.startswith(("fapi.", "testnet.binancefuture")) else _SPOT_WEIGHT
    return 60 - time.time() % 60 if used.isascii() and used.isdigit() and int(used) >= 0.9 * most else 0.0


# Accounts and instruments


_spot = PerAccount(lambda: Account("spot"))
_futures = PerAccount(lambda: Account("futures"))


def forget() -> None:
    """Have clients made anew from the settings then in force."""
    _spot.forget()
    _futures.forget()


def _market(symbol: object) -> tuple[Account, str]:
    """Answer the account on the market of a symbol, and the unified symbol."""
    default = settings.choice("BINANCE_DEFAULT_MARKET", ("spot", "swap"), value=_default_market())
    name = symbols.normalize(symbol, default)
    return (_futures if symbols.is_swap(name) else _spot).get(), name


def _default_market() -> str:
    return settings.get("BINANCE_DEFAULT_MARKET") or "spot"


def _markets() -> list[Account]:
    """Answer the accounts on the markets that BINANCE_MARKETS names: spot, futures, or both."""
    name = setting("MARKETS")
    chosen = settings.choice(name, ("both", "spot", "futures"), value=settings.get(name) or "both")
    return [each.get() for market, each in (("futures", _futures), ("spot", _spot)) if chosen in (market, "both")]


def _scope(symbol: str | None) -> list[tuple[Account, str | None]]:
    return [(each, None) for each in _markets()] if symbol is None else [_known(symbol)]


def _known(symbol: object) -> tuple[Account, str]:
    """As _market, for a call that needs keys, of a symbol that Binance lists."""
    account, name = _market(symbol)
    account.need_keys()
    reads.instrument(account, name)
    return account, name


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
    """Place a limit order; on spot the answer carries the fills it had at once."""
    build = partial(build_limit_order, time_in_force=time_in_force, post_only=post_only)
    return _place(build, symbol, side, amount, price, ours=client_order_id, reduces=reduce_only)


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
    """Place a market order. With max_slippage it is an IOC limit order at the bound.

    Perpetuals refuse limit prices too far beyond the mark price (5 % as a rule): the bound stays inside of that.
    """
    account, rules = _rules(symbol)
    check = partial(build_market_order, max_slippage=max_slippage, best=Decimal("1e15"))
    check(rules, side, amount, client_order_id=client_order_id, reduce_only=reduce_only)
    best = _best(account, rules, side, amount, always=max_slippage is not None, never=reduce_only)
    band = None if max_slippage is None or account.market == "spot" else _band(account, rules.symbol)
    build = partial(build_market_order, max_slippage=max_slippage, best=best, band=band)
    return _place(build, symbol, side, amount, ours=client_order_id, reduces=reduce_only)


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
    """Place a stop order; on futures in the algo service, watching the last price of the contract."""
    given = (symbol, side, amount, stop_price, price)
    return _place(build_stop_order, *given, ours=client_order_id, reduces=reduce_only)


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
    given = (symbol, side, amount, stop_price, price)
    return _place(build_take_profit_order, *given, ours=client_order_id, reduces=reduce_only)


def _place(build: Callable[..., dict[str, str]], symbol: str, *given: Any, ours: str | None, reduces: bool) -> Envelope:
    """Build, see to the modes of the account, and send once. Wrong arguments are refused before anything is asked."""
    account, rules = _rules(symbol)
    # Without an id python-binance would send a broker's.
    ours = f"ex{os.urandom(12).hex()}" if ours is None else ours
    request = build(rules, *given, client_order_id=ours, reduce_only=reduces)
    if _ready(account, rules.symbol, reduces):
        request = build(rules, *given, client_order_id=ours, reduce_only=reduces, hedged=True)
    return _submit(account, rules.symbol, request, ours)


def _rules(symbol: object) -> tuple[Account, Rules]:
    account, name = _market(symbol)
    account.need_keys()
    return account, rules_of(reads.instrument(account, name))


def _submit(account: Account, name: str, request: dict[str, str], ours: str) -> Envelope:
    client = account.client
    send = client.futures_create_order if symbols.is_swap(name) else client.create_order
    try:
        raw = send(**request)
    except ExecutionError as error:
        if error.exchange_code == "-4061":
            account.brief.forget("hedged")
        stop = request.get("triggerPrice") or request.get("stopPrice")
        about = f"client_order_id {ours}" + (f", stop_price {stop}" if stop else "")
        error.message = f"{error.message} ({about})"
        raise
    return ok(parse_order(raw, name))


def _ready(account: Account, name: str, reduces: bool) -> bool:
    """Answer whether the account holds long and short apart; see to the margin mode before what may open."""
    if not symbols.is_swap(name):
        return False
    with before_sending():
        if not reduces:
            account.brief.get(("margin", name), lambda: _set_margin_mode(account, name))
        return reads.hedged(account)


def _set_margin_mode(account: Account, name: str) -> str:
    named = setting("MARGIN_MODE")
    wanted = settings.choice(named, ("cross", "isolated"), value=settings.get(named) or "cross")
    listed, theirs = venue_symbol(name), "CROSSED" if wanted == "cross" else "ISOLATED"
    if reads.configs(account, listed)[listed]["marginType"] != theirs:
        try:
            account.client.futures_change_margin_type(symbol=listed, marginType=theirs)
        except ExecutionError as error:
            if error.outcome != "rejected":
                raise
            words = f"{name} is not in margin mode {wanted} ({named}) and cannot be: {error.message}"
            raise Refused("CONFIGURATION", words, exchange_code=error.exchange_code) from None
    return wanted


def _best(account: Account, rules: Rules, side: str, amount: Any, *, always: bool, never: bool) -> Decimal | None:
    """Answer the best price on the other side; None where it is not needed.

    An amount that an old price already shows to be worth more than the minimum by far needs no fresh one.
    """
    if never and not always:
        return None
    size, key = positive(amount, "amount"), ("price", rules.symbol)
    with before_sending():
        old = account.facts.get(key, lambda: reads.touch(account, rules.symbol, side))
        if not always and old is not None and size * old > _MANY * rules.min_notional:
            return None
        return reads.touch(account, rules.symbol, side)


def _band(account: Account, name: str) -> tuple[Decimal, Decimal] | None:
    with before_sending():
        mark = Decimal(account.public.futures_mark_price(symbol=venue_symbol(name))["markPrice"])
        return parse_band(reads.listing(account, venue_symbol(name)), mark)


@answers
def cancel_order(symbol: str, order_id: str | None = None, *, client_order_id: str | None = None) -> Envelope:
    """Cancel one order by either id; of a conditional one that has triggered, the order that it produced."""
    account, name = _known(symbol)
    wanted = build_cancel(name, order_id, client_order_id)
    client = account.client
    cancelled = reads.known(client.cancel_order if account.market == "spot" else client.futures_cancel_order, wanted)
    if cancelled is not None:
        return ok(parse_order(cancelled, name))
    if account.market == "futures":
        algo = reads.algo_order(client, build_cancel(name, order_id, client_order_id, conditional=True))
        if algo is not None:
            return ok(_cancel_algo(account, name, algo))
    raise _gone(reads.plain_order(account, wanted), name, order_id or client_order_id)


def _cancel_algo(account: Account, name: str, algo: Mapping[str, Any]) -> Order:
    """Cancel a conditional order as it was read a moment ago, or what it has produced, perhaps since then."""
    client, parent = account.client, parse_order(algo, name)
    wanted = {"symbol": venue_symbol(name), "algoId": parent["order_id"]}
    if not algo.get("actualOrderId") and parent["status"] in OPEN_STATUSES:
        if reads.known(client.futures_cancel_algo_order, wanted) is not None:
            return {**parent, "status": "cancelled"}
        algo = reads.known(client.futures_get_algo_order, wanted) or algo
    if not algo.get("actualOrderId"):
        raise _gone(algo, name, parent["order_id"])
    child = {"symbol": venue_symbol(name), "orderId": str(algo["actualOrderId"])}
    cancelled = reads.known(client.futures_cancel_order, child)
    if cancelled is None:
        raise _gone(reads.plain_order(account, child), name, parent["order_id"])
    return join_child(parent, parse_order(cancelled, name))


def _gone(raw: Mapping[str, Any] | None, name: str, wanted: object) -> ExecutionError:
    """Answer why an order was not cancelled, from what was read of it after the refusal."""
    if raw is None:
        words = f"Binance knows no order {wanted!r:.80} of {name}"
        return ExecutionError("ORDER_NOT_FOUND", words, outcome="rejected", exchange_code="-2011")
    order = parse_order(raw, name)
    words = f"order {wanted!r:.80} of {name} is {order['status']}"
    if order["status"] in OPEN_STATUSES:
        return ExecutionError("VENUE_REJECTED", f"{words}, and Binance did not cancel it", outcome="rejected")
    words = f"{words} already, {order['filled']} filled"
    return ExecutionError("ORDER_NOT_FOUND", words, outcome="rejected", exchange_code="-2011")


@answers
def cancel_all_orders(symbol: str | None = None) -> Envelope:
    """Cancel all, conditional ones first: one that triggers meanwhile is found among the plain ones afterwards.

    One market that fails does not keep the other from being emptied, nor an order that cannot be read the others.
    """
    data: CancelAll = {"cancelled": [], "failed": []}
    scope = _scope(symbol)
    trouble = [error for account, name in scope if (error := _emptied(account, name, data)) is not None]
    if len(trouble) == len(scope) and not data["cancelled"]:
        raise trouble[0]
    if trouble:
        first = trouble[0]
        return fail(first.code, first.message, "unknown", exchange_code=first.exchange_code, **data)
    if data["failed"]:
        words = f"{len(data['failed'])} orders could not be cancelled: {data['failed'][0]['message']}"
        return fail("VENUE_REJECTED", words, "unknown", **data)
    return ok(data)


def _emptied(account: Account, name: str | None, data: CancelAll) -> ExecutionError | None:
    """Cancel all on one market, and answer what kept it from being done."""
    try:
        (_empty_futures if account.market == "futures" else _empty_spot)(account, name, data)
    except ExecutionError as error:
        return error
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        words = f"Binance's answer cannot be read: {type(error).__name__}: {error!s:.80}"
        return ExecutionError("BAD_RESPONSE", words, outcome="unknown")
    return None


def _empty_spot(account: Account, name: str | None, data: CancelAll) -> None:
    for symbol, ids in _ids(reads.live_orders(account, name), "orderId").items():
        try:
            told = account.client.cancel_all_open_orders(symbol=venue_symbol(symbol))
        except ExecutionError as error:
            if error.code != "ORDER_NOT_FOUND":  # all of them have ended by themselves
                data["failed"] += [_failed(symbol, each, error) for each in ids]
            continue
        flat = [item for each in told for item in each.get("orderReports", (each,))]
        data["cancelled"] += [str(item["orderId"]) for item in flat]


def _empty_futures(account: Account, name: str | None, data: CancelAll) -> None:
    waiting, refused = _ids(reads.live_algos(account, name), "algoId"), dict[str, ExecutionError]()
    for symbol in waiting:
        try:
            account.client.futures_cancel_all_algo_open_orders(symbol=venue_symbol(symbol))
        except ExecutionError as error:
            refused[symbol] = error
    left = _ids(reads.live_algos(account, name), "algoId") if waiting else {}
    nothing = ExecutionError("VENUE_REJECTED", "still open after it was cancelled", outcome="unknown")
    for symbol, ids in waiting.items():
        data["cancelled"] += [each for each in ids if each not in left.get(symbol, ())]
    for symbol, ids in left.items():
        data["failed"] += [_failed(symbol, each, refused.get(symbol, nothing)) for each in ids]
    for symbol, ids in _ids(reads.live_orders(account, name), "orderId").items():
        for start in range(0, len(ids), _CANCELS_AT_ONCE):
            _cancel_some(account, symbol, ids[start : start + _CANCELS_AT_ONCE], data)


def _cancel_some(account: Account, symbol: str, ids: list[str], data: CancelAll) -> None:
    """Cancel a few orders of one symbol in one request, which tells of each."""
    try:
        told = account.client.futures_cancel_orders(symbol=venue_symbol(symbol), orderidlist=[int(i) for i in ids])
    except ExecutionError as error:
        data["failed"] += [_failed(symbol, each, error) for each in ids]
        return
    for order_id, item in zip(ids, told, strict=True):
        if "orderId" in item:
            data["cancelled"].append(order_id)
        elif (refusal := parse_error(400, item)).code != "ORDER_NOT_FOUND":
            data["failed"].append(_failed(symbol, order_id, refusal))


def _ids(orders: Iterable[tuple[str, Mapping[str, Any]]], key: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for symbol, raw in orders:
        found.setdefault(symbol, []).append(str(raw[key]))
    return found


def _failed(symbol: str, order_id: str, error: ExecutionError) -> CancelFailure:
    return {"order_id": order_id, "symbol": symbol, "error": error.code, "message": error.message}


@answers
def get_order_status(symbol: str, order_id: str | None = None, *, client_order_id: str | None = None) -> Envelope:
    """Read one order by either id, with its fills and fee; plain orders are looked for before conditional ones."""
    account, name = _known(symbol)
    found = _order(account, name, order_id, client_order_id)
    if found is None:
        raise _gone(None, name, order_id or client_order_id)
    return ok(found)


def _order(account: Account, name: str, order_id: str | None, client_order_id: str | None) -> Order | None:
    """Answer an order with its fills, a conditional one joined with the order that it produced."""
    raw = reads.plain_order(account, build_cancel(name, order_id, client_order_id))
    if raw is not None:
        return _with_fills(account, name, parse_order(raw, name))
    if account.market == "spot":
        return None
    algo = reads.algo_order(account.client, build_cancel(name, order_id, client_order_id, conditional=True))
    if algo is None:
        return None
    parent = parse_order(algo, name)
    if not algo.get("actualOrderId"):
        return parent
    child = reads.plain_order(account, {"symbol": venue_symbol(name), "orderId": str(algo["actualOrderId"])})
    if child is None:
        return parent
    order = {**parse_order(child, name), "client_order_id": parent["client_order_id"]}
    return join_child(parent, _with_fills(account, name, order))  # type: ignore[arg-type]


def _with_fills(account: Account, name: str, order: Order) -> Order:
    if not order["filled"]:
        return order
    fills = [
        parse_fill(each, name, order["client_order_id"])
        for each in reads.order_trades(account, name, order["order_id"])
    ]
    fee, currency = total_fee(fills)
    return {**order, "fills": fills, "fee": fee, "fee_currency": currency}


@answers
def get_open_orders(symbol: str | None = None) -> Envelope:
    """Read every live order; neither list has pages. Orders of dated futures are left out."""
    found: list[Order] = []
    for account, name in _scope(symbol):
        told = reads.live_orders(account, name) + (
            reads.live_algos(account, name) if account.market == "futures" else []
        )
        found += [parse_order(raw, name) for name, raw in told]
    return ok(found)


@answers
def get_fills(symbol: str | None = None, *, order_id: str | None = None, since: float | None = None) -> Envelope:
    """Read executions of one symbol, all pages. Our id is told only of those of one order, which is read for it."""
    after = None if since is None else int(number_of(since, "since") * 1000)
    if symbol is None:
        raise Refused("NOT_SUPPORTED", "Binance tells executions of one symbol at a time: symbol is needed")
    account, name = _known(symbol)
    if order_id is None:
        told = reads.trades(account, name, after)
        fills = [parse_fill(each, name) for each in told]
    else:
        order = _order(account, name, order_id, None)
        fills = [] if order is None else order.get("fills", [])
    kept = [fill for fill in fills if after is None or fill["timestamp"] * 1000 >= after]
    return ok(sorted(kept, key=lambda fill: (fill["timestamp"], int(fill["trade_id"]))))


# Account


@answers
def get_account_info() -> Envelope:
    """Read both wallets as one account. What spot holds counts in the equity at its last price in USDT."""
    held: set[str] = set()
    wallet = margin = None
    hedged, prices = False, dict[str, Decimal]()
    for account in _markets():
        now = account.clock.now()
        if account.market == "futures":
            # The SDK's own choice, v2, tells every symbol there is.
            margin, hedged = account.client.futures_account(version=3), reads.hedged(account)
        else:
            wallet = account.client.get_account(omitZeroBalances="true")
            held = {asset for asset in parse_balances(wallet) if asset != "USDT"}
            prices = reads.last_prices(account) if held else {}
    data = parse_account(wallet, margin, prices, now, hedged)
    unpriced = ", ".join(sorted(held - prices.keys()))
    return ok(data, f"not counted, without a price: {unpriced}" if unpriced else "")


@answers
def get_positions(symbol: str | None = None) -> Envelope:
    """Read perpetual positions, and spot holdings that have a market in USDT as long positions."""
    found: list[Position] = []
    for account, name in _scope(symbol):
        if account.market == "futures":
            found += _perpetuals(account, name)
        else:
            found += _holdings(account) if name is None else _holding(account, name)
    return ok(found)


def _perpetuals(account: Account, name: str | None) -> list[Position]:
    told = [
        e for e in account.client.futures_position_information(**reads.of_symbol(name)) if Decimal(e["positionAmt"])
    ]
    if not told:
        return []
    configs = reads.configs(account, None if name is None else venue_symbol(name))
    return [parse_position(raw, symbol, configs[raw["symbol"]]) for symbol, raw in reads.with_names(account, told)]


def _holding(account: Account, name: str) -> list[Position]:
    base = symbols.split(name)[0]
    found = parse_balances(account.client.get_account(omitZeroBalances="true")).get(base)
    if found is None:
        return []
    book = reads.book_ticker(account, name)
    return [parse_holding(name, found[1], (Decimal(book["bidPrice"]) + Decimal(book["askPrice"])) / 2 or None)]


def _holdings(account: Account) -> list[Position]:
    wallet = parse_balances(account.client.get_account(omitZeroBalances="true"))
    held = {asset: total for asset, (_, total) in wallet.items() if asset != "USDT"}
    prices = reads.last_prices(account) if held else {}
    return [parse_holding(f"{e}-USDT", total, prices[e]) for e, total in sorted(held.items()) if e in prices]


@answers
def adjust_position(symbol: str, side: str, amount: Any, price: Any = None) -> Envelope:
    """Add to a position or reduce it. In one-way mode a side is not opened against the other: that would reduce it."""
    account, rules = _rules(symbol)
    swap = account.market == "futures"
    if side != "long" and not (side == "short" and swap):
        allowed = "long or short" if swap else "long, since it is spot"
        raise Refused("INVALID_ORDER", f"side of {rules.symbol} must be {allowed}, not {side!r:.60}")
    change = number_of(amount, "amount")
    size, reduces = positive(abs(change), "amount"), change < 0
    if price is not None:
        positive(price, "price")
    with before_sending():
        held = _reducible(account, rules.symbol)
        opposed = swap and not reads.hedged(account) and held["short" if side == "long" else "long"]
    if reduces:
        size = min(size, round_down(held[side], rules.lot_size))
        if not size:
            raise ExecutionError("REDUCE_ONLY_REJECTED", f"no {side} {rules.symbol} to reduce", outcome="rejected")
    elif opposed:
        raise Refused("INVALID_ORDER", f"side: {rules.symbol} has the other side open, and the account is one-way")
    order_side = "buy" if (side == "long") is not reduces else "sell"
    only = reduces and swap
    if price is None:
        return place_market_order(symbol, order_side, size, reduce_only=only)
    return place_limit_order(symbol, order_side, size, price, reduce_only=only)


def _reducible(account: Account, name: str) -> dict[str, Decimal]:
    """Answer what can be taken from each side: positions, or what is free of a spot asset."""
    if account.market == "spot":
        wallet = parse_balances(account.client.get_account(omitZeroBalances="true"))
        return {"long": wallet.get(symbols.split(name)[0], (Decimal(0), Decimal(0)))[0], "short": Decimal(0)}
    found = {"long": Decimal(0), "short": Decimal(0)}
    for each in account.client.futures_position_information(symbol=venue_symbol(name)):
        size = Decimal(each["positionAmt"])
        if size:
            found["long" if size > 0 else "short"] += abs(size)
    return found


@answers
def set_leverage(symbol: str, leverage: int) -> Envelope:
    """Set the leverage of a perpetual for the account; Binance refuses what the position's bracket does not allow."""
    account, rules = _rules(symbol)
    if account.market == "spot":
        raise Refused("NOT_SUPPORTED", f"{rules.symbol} is spot and has no leverage")
    value = _whole(leverage, "leverage", rules.max_leverage)
    told = account.client.futures_change_leverage(symbol=venue_symbol(rules.symbol), leverage=str(value))
    return ok({"symbol": rules.symbol, "leverage": int(told["leverage"])})


def _whole(value: object, name: str, most: int) -> int:
    if type(value) is not int or not 1 <= value <= most:
        raise Refused("INVALID_ORDER", f"{name} must be a whole number from 1 to {most}, not {value!r:.60}")
    return value


@answers
def cancel_all_after(seconds: float) -> Envelope:
    """Arm the countdown of each perpetual that has live orders now: it counts by symbol, and there is none on spot."""
    wait = number_of(seconds, "seconds")
    if wait < 0:
        raise Refused("INVALID_ORDER", f"seconds must not be negative, not {seconds!r:.60}")
    account, milliseconds = _futures.get(), int((wait * 1000).to_integral_value(ROUND_CEILING))
    live = {row["symbol"] for row in account.client.futures_get_open_orders()}
    for listed in sorted(live if wait else live | account.armed):
        account.client.futures_countdown_cancel_all(symbol=listed, countdownTime=str(milliseconds))
        (account.armed.add if wait else account.armed.discard)(listed)
    trigger = account.clock.now() + milliseconds / 1000 if wait and live else None
    data = {"seconds": milliseconds / 1000, "trigger_time": trigger}
    if not wait:
        return ok(data)
    armed = f"armed for {', '.join(sorted(live))}" if live else "nothing is armed: no perpetual has live orders"
    return ok(data, f"{armed}; other symbols, conditional and spot orders are not covered")


# Market


@answers
def get_ticker(symbol: str) -> Envelope:
    """Read best prices: one request on spot; bookTicker, price and premiumIndex on futures."""
    account, name = _market(symbol)
    reads.instrument(account, name)
    client, listed = account.public, venue_symbol(name)
    if account.market == "spot":
        return ok(parse_ticker(client.get_ticker(symbol=listed), name))
    told = {**client.futures_mark_price(symbol=listed), **client.futures_symbol_ticker(symbol=listed)}
    return ok(parse_ticker({**told, **reads.book_ticker(account, name)}, name))


@answers
def get_instrument(symbol: str) -> Envelope:
    """Read the trading rules. max_leverage is the venue's highest; fees are those without a discount."""
    account, name = _market(symbol)
    return ok(dict(reads.instrument(account, name)))


@answers
def get_klines(symbol: str, interval: str, *, start: float | None = None, limit: int = 500) -> Envelope:
    """Read candles; at most 1000 at once on spot, which has "1s" too, and 1500 on futures."""
    account, name = _market(symbol)
    spot = account.market == "spot"
    if not isinstance(interval, str) or (interval not in INTERVALS and not (spot and interval == "1s")):
        known = ", ".join((*(("1s",) if spot else ()), *INTERVALS))
        raise Refused("INVALID_ORDER", f"interval must be one of {known}, not {interval!r:.60}")
    wanted = {"interval": interval, "limit": str(_whole(limit, "limit", MOST_KLINES[account.market]))}
    if start is not None:
        wanted["startTime"] = str(int(number_of(start, "start") * 1000))
    reads.instrument(account, name)
    read = account.public.get_klines if spot else account.public.futures_klines
    now = account.clock.now()
    return ok([parse_kline(each, now) for each in read(symbol=venue_symbol(name), **wanted)])


@answers
def get_server_time() -> Envelope:
    """Read the clock of futures with BINANCE_DEFAULT_MARKET=swap, else that of spot."""
    account = (_futures if _default_market() == "swap" else _spot).get()
    return ok({"timestamp": account.server_time()})
