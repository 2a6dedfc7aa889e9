"""OKX v5: spot and linear perpetuals over REST. python-okx builds and signs, common/transport sends.

Settings: OKX_API_KEY, OKX_API_SECRET, OKX_PASSPHRASE; OKX_TESTNET=1 for demo trading; OKX_BASE_URL, since accounts of
some regions have another address than www.okx.com; OKX_MARGIN_MODE=cross|isolated (cross) for swaps. Market functions
work without keys. The position mode, and how spot is margined, are read from the account.

Quirks:
    - Swaps are counted in contracts by the venue, in base units here. There is no minimum notional.
    - Placing is answered with an id alone. A GTC limit order is told as "open" then, though it may be filled already;
      of any other the venue's end is read back, and where that fails the answer is a success with status "pending"
      that says so. A post-only order that would cross is taken and then cancelled: it is refused here.
    - Conditional orders are "algo" orders with ids of their own. What a triggered one placed is told as that order:
      same order_id, same client_order_id. It must not be met already, and looks at the last price.
    - In hedge mode a buy opens the long side, or with reduce_only closes the short one.
    - A cancelled order without a fill is forgotten by the venue after two hours.
    - cancel_all_after spares conditional orders; 10 to 120 seconds.
    - Plain orders carry expTime: the venue drops one that reaches it more than 5 s late.
    - Fees in get_instrument are those of an ordinary user.

Source: https://www.okx.com/docs-v5/en/
"""

from __future__ import annotations

import os
from collections.abc import Callable
from decimal import ROUND_CEILING, Decimal
from functools import partial
from typing import Any

from Execution.common import settings, symbols
from Execution.common.accounts import PerAccount
from Execution.common.answers import BAD_ANSWER, answers, before_sending
from Execution.common.asked import slippage_of, whole_of
from Execution.common.clients.okx import PAGE, Client, data_of
from Execution.common.codecs.okx import (
    INTERVALS,
    POST_ONLY_CROSSED,
    WAITING,
    Row,
    Terms,
    build_cancel,
    build_limit_order,
    build_market_order,
    build_stop_order,
    build_take_profit_order,
    free_of,
    parse_account,
    parse_error,
    parse_fill,
    parse_holding,
    parse_instrument,  # noqa: F401  # pure functions are this file's too
    parse_kline,
    parse_order,
    parse_order_update,  # noqa: F401  # for streams
    parse_position,
    parse_ticker,
    words_of,
)
from Execution.common.envelope import fail, ok
from Execution.common.errors import ExecutionError, Refused
from Execution.common.precision import Rules, number_of, positive, round_down
from Execution.common.types import FINAL_STATUSES, CancelFailure, Envelope, Order, OrderStatus, Position

NAME = "okx"
UNSUPPORTED: dict[str, str] = {}
TELLS_FILLS = False
ABSENCE_GRACE = 35.0
"""A signed request is taken for 30 seconds: only then can an order that is not there not come any more."""

_CANCEL_BATCH, _CONDITIONAL_BATCH = 20, 10
# The venue lists one kind at a time; "conditional,oco" is the one pair it takes.
_CONDITIONAL_KINDS = ("conditional,oco", "trigger", "move_order_stop", "iceberg", "twap", "chase")
# "Being cancelled already", and one that means "timed out" or "triggered already": the order itself tells.
_ENDING = frozenset(("51410", "51412"))
_KLINES_PAGE, _OLD_KLINES_PAGE, _MOST_KLINES = 300, 100, 1440
_RECENT_FILLS = 2.9 * 86400
_SETTLED_IN = frozenset(("USD", "USDC", "USDT"))

CLIENTS = PerAccount(Client)


def _symbol(symbol: object) -> str:
    return symbols.normalize(symbol, settings.for_account(NAME, "DEFAULT_MARKET") or "spot")


def _public(symbol: object) -> tuple[Client, str]:
    """Answer the client and the unified symbol."""
    client, name = CLIENTS.get(), _symbol(symbol)
    with before_sending():
        client.instrument(name)
    return client, name


def _one(symbol: object) -> tuple[Client, str]:
    """As _public, for a call that needs keys: without them nothing is asked."""
    CLIENTS.get().check_keys()
    return _public(symbol)


def _scope(symbol: object) -> tuple[Client, str]:
    """As _one; the symbol is "" for all."""
    CLIENTS.get().check_keys()
    return (CLIENTS.get(), "") if symbol is None else _one(symbol)


def _market(symbol: object) -> tuple[Client, Rules, Terms]:
    """Answer what an order needs to be built."""
    client = CLIENTS.get()
    client.check_keys()
    name = _symbol(symbol)
    with before_sending():
        return client, client.rules(name), client.terms()


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
    """Place a limit order; post-only, IOC and FOK are order types of the venue."""
    client, rules, terms = _market(symbol)
    fields = build_limit_order(
        rules,
        side,
        amount,
        price,
        client_order_id=_id(client_order_id),
        time_in_force=time_in_force,
        post_only=post_only,
        reduce_only=reduce_only,
        terms=terms,
    )
    return _submit(client, rules, fields)


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
    """Place a market order; with max_slippage an IOC limit order at the best price and so much more."""
    client, rules, terms = _market(symbol)
    best = None
    if max_slippage is not None:
        slippage_of(max_slippage)
        with before_sending():
            row = data_of(client.public.get_ticker(rules.symbol))[0]
            text = row["askPx" if side == "buy" else "bidPx"]
            best = Decimal(text) if text else None
    fields = build_market_order(
        rules,
        side,
        amount,
        client_order_id=_id(client_order_id),
        reduce_only=reduce_only,
        max_slippage=max_slippage,
        best_price=best,
        terms=terms,
    )
    return _submit(client, rules, fields)


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
    """Place a conditional order of the venue with its stop-loss side set."""
    return _place_conditional(build_stop_order, symbol, side, amount, stop_price, price, client_order_id, reduce_only)


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
    """Place a conditional order of the venue with its take-profit side set."""
    build = build_take_profit_order
    return _place_conditional(build, symbol, side, amount, stop_price, price, client_order_id, reduce_only)


def _place_conditional(
    build: Callable[..., dict[str, str]],
    symbol: str,
    side: str,
    amount: Any,
    stop_price: Any,
    price: Any,
    client_order_id: str | None,
    reduce_only: bool,
) -> Envelope:
    client, rules, terms = _market(symbol)
    fields = build(
        rules,
        side,
        amount,
        stop_price,
        price,
        client_order_id=_id(client_order_id),
        reduce_only=reduce_only,
        terms=terms,
    )
    return _submit(client, rules, fields)


def _id(client_order_id: str | None) -> str:
    return f"ex{os.urandom(12).hex()}" if client_order_id is None else client_order_id


def _submit(client: Client, rules: Rules, fields: dict[str, str]) -> Envelope:
    """Send an order once, then read it. From its acceptance on, nothing that goes wrong makes it a failure."""
    conditional = "algoClOrdId" in fields
    try:
        taken = client.ask("place_algo_order" if conditional else "place_order", **fields)[0]
    except ExecutionError as error:
        raise _explained(error, fields) from None
    order_id = taken["algoId" if conditional else "ordId"]
    if fields["ordType"] == "limit":
        # It rests, or it is filled: get_order_status tells, at the price of a second round trip.
        return ok(_accepted(fields, order_id, _stamp(client, taken), rules, "open"))
    try:
        row, children = _find(client, rules.symbol, order_id, None, conditional=conditional)
        order = parse_order(row, rules.contract_size, children)
    except (ExecutionError, *BAD_ANSWER) as error:
        words = error.code if isinstance(error, ExecutionError) else type(error).__name__
        accepted = _accepted(fields, order_id, _stamp(client, taken), rules, "pending")
        return ok(accepted, f"accepted; it could not be read back ({words})")
    if row.get("cancelSource") == POST_ONLY_CROSSED and not order["filled"]:
        crossed = ExecutionError(
            "POST_ONLY_WOULD_CROSS",
            "the venue cancelled it: it would have taken liquidity",
            outcome="rejected",
            exchange_code=f"cancelSource {POST_ONLY_CROSSED}",
        )
        raise _explained(crossed, fields)
    return ok(order)


def _explained(error: ExecutionError, fields: dict[str, str]) -> ExecutionError:
    """Add to the venue's words what they are about: it names neither ids nor prices."""
    return ExecutionError(
        error.code,
        f"{error.message} ({words_of(fields)})",
        outcome=error.outcome,
        exchange_code=error.exchange_code,
        retry_after=error.retry_after,
    )


def _stamp(client: Client, taken: Row) -> str:
    return taken.get("ts") or str(int(client.clock.now() * 1000))


def _accepted(fields: dict[str, str], order_id: str, taken_ms: str, rules: Rules, status: OrderStatus) -> Order:
    """Answer an order of which nothing is known but that it was taken."""
    row: dict[str, Any] = {"px": "", "clOrdId": "", "cTime": taken_ms, "uTime": taken_ms, "state": "live", **fields}
    if "algoClOrdId" in fields:
        row["algoId"] = order_id
    else:
        row.update(ordId=order_id, accFillSz="0", avgPx="")
    order = parse_order(row, rules.contract_size)
    order["status"] = status
    return order


@answers
def cancel_order(symbol: str, order_id: str | None = None, *, client_order_id: str | None = None) -> Envelope:
    """Cancel one order by either id: a plain one, a conditional one, or what a triggered one placed."""
    client, name = _one(symbol)
    plain = build_cancel(name, order_id, client_order_id)
    _check_digits(order_id)
    refusal = _refusal(client, "cancel_order", **plain)
    if refusal is None:
        return ok(_after_cancel(client, name, order_id, client_order_id))
    # Either it is no plain order, or it is live no more.
    waiting = build_cancel(name, order_id, client_order_id, conditional=True)
    other = _refusal(client, "cancel_algo_order", [waiting])
    if other is None:
        return ok(_after_cancel(client, name, order_id, client_order_id, conditional=True))
    row, children = _find(client, name, order_id, client_order_id)
    order = parse_order(row, client.contract_size(name), children)
    if order["status"] in FINAL_STATUSES:
        words = f"order {order['order_id']} is {order['status']} already, filled {order['filled']} of {order['amount']}"
        raise ExecutionError("ORDER_NOT_FOUND", words, outcome="rejected", exchange_code=refusal.exchange_code)
    live = [child for child in children if child is not None and child["state"] in ("live", "partially_filled")]
    for child in live:
        _refusal(client, "cancel_order", **build_cancel(name, child["ordId"]))
    if live:
        return ok(_after_cancel(client, name, order_id, client_order_id))
    if "accFillSz" not in row:
        refusal = other
    if refusal.code == "ORDER_NOT_FOUND" or refusal.exchange_code in _ENDING:
        return ok(order, f"the venue would not cancel it: {refusal.message}")
    raise refusal


def _after_cancel(
    client: Client, name: str, order_id: str | None, client_order_id: str | None, *, conditional: bool = False
) -> Order:
    """Read an order whose cancel was taken: where that fails, what it had filled by then is not known."""
    try:
        return _order(client, name, order_id, client_order_id, conditional=conditional)
    except ExecutionError as error:
        words = f"the cancel was taken; what became of the order is not known: {error.message}"
        raise ExecutionError(error.code, words, outcome="unknown", exchange_code=error.exchange_code) from None


def _refusal(client: Client, method: str, *args: Any, **kwargs: Any) -> ExecutionError | None:
    """Cancel; answer why the venue would not, None where it did. Whatever is no such refusal is raised."""
    try:
        client.ask(method, *args, **kwargs)
    except ExecutionError as error:
        if error.exchange_code not in _ENDING and (error.outcome != "rejected" or error.code == "AUTHENTICATION"):
            raise
        return error
    return None


@answers
def cancel_all_orders(symbol: str | None = None) -> Envelope:
    """Cancel in batches whatever is listed as live, of whatever kind; futures and options of the account as well.

    One list is read and cancelled after the other, so that one that cannot be read keeps no other from it.
    """
    client, name = _scope(symbol)
    cancelled: list[str] = []
    failed: list[CancelFailure] = []
    trouble: ExecutionError | None = None
    for kind in ("", *_CONDITIONAL_KINDS):
        try:
            _cancel_list(client, name, kind, cancelled, failed)
        except ExecutionError as error:
            trouble = error
            if error.outcome != "rejected" or error.code == "AUTHENTICATION":
                break
    if trouble is not None and not cancelled and not failed:
        raise trouble
    left = [each for each in failed if each["error"] != "ORDER_NOT_FOUND"]
    if trouble is None and not left:
        return ok({"cancelled": cancelled, "failed": failed}, f"{len(failed)} were live no more" if failed else "")
    unknown = trouble is not None or any(each["error"] in ("TIMEOUT", "VENUE_DOWN", "BAD_RESPONSE") for each in left)
    words = (
        f"{len(left)} orders could not be cancelled: {left[0]['message']}" if left else "not all lists could be read"
    )
    code = "VENUE_REJECTED" if trouble is None else trouble.code
    return fail(
        code,
        words if trouble is None else f"{words}: {trouble.message}",
        "unknown" if unknown else "rejected",
        cancelled=cancelled,
        failed=failed,
    )


def _cancel_list(client: Client, name: str, kind: str, cancelled: list[str], failed: list[CancelFailure]) -> None:
    """Cancel one list: the plain orders ("") or one kind of conditional ones."""
    rows = _conditional_rows(client, name, kind) if kind else _plain_rows(client, name)
    key, size = ("algoId", _CONDITIONAL_BATCH) if kind else ("ordId", _CANCEL_BATCH)
    method = "cancel_algo_order" if kind else "cancel_multiple_orders"
    named = [
        (row, row.get("algoId") or row["ordId"], build_cancel(row["instId"], row[key], conditional=bool(kind)))
        for row in rows
    ]
    for start in range(0, len(named), size):
        _cancel_batch(client, method, key, named[start : start + size], cancelled, failed)


def _cancel_batch(
    client: Client,
    method: str,
    key: str,
    batch: list[tuple[Row, str, dict[str, str]]],
    cancelled: list[str],
    failed: list[CancelFailure],
) -> None:
    """Cancel one batch and sort its orders. A conditional order that is live no more may have placed one that is."""
    try:
        items = {item[key]: item for item in client.batch(method, [fields for _, _, fields in batch])}
        trouble = ExecutionError("BAD_RESPONSE", "the venue did not answer for it")
    except ExecutionError as error:
        items, trouble = {}, error
    for row, order_id, fields in batch:
        item = items.get(fields[key])
        if item is not None and item["sCode"] == "0":
            cancelled.append(order_id)
            continue
        why = trouble if item is None else parse_error({"data": [item]})
        code = "VENUE_REJECTED" if why.code == "ORDER_NOT_FOUND" and key == "algoId" else why.code
        failed.append({"order_id": order_id, "symbol": row["instId"], "error": code, "message": why.message})


@answers
def get_order_status(symbol: str, order_id: str | None = None, *, client_order_id: str | None = None) -> Envelope:
    """Read one order by either id; a triggered one with what became of the orders that it placed."""
    client, name = _one(symbol)
    build_cancel(name, order_id, client_order_id)
    return ok(_order(client, name, order_id, client_order_id))


def _order(
    client: Client, name: str, order_id: str | None, client_order_id: str | None, *, conditional: bool = False
) -> Order:
    row, children = _find(client, name, order_id, client_order_id, conditional=conditional)
    return parse_order(row, client.contract_size(name), children)


def _find(
    client: Client, name: str, order_id: str | None, client_order_id: str | None, *, conditional: bool = False
) -> tuple[Row, list[Row | None]]:
    """Answer the venue's row of an order, and those of the orders that it placed if it was a triggered one.

    Raises:
        ExecutionError: ORDER_NOT_FOUND, where neither list of the venue has it.
    """
    _check_digits(order_id)
    row = None if conditional else client.one("get_order", **build_cancel(name, order_id, client_order_id))
    if row is not None and not row.get("algoId"):
        return row, []
    key = build_cancel(name, row["algoId"] if row else order_id, client_order_id, conditional=True)
    key.pop("instId")
    parent = client.one("get_algo_order_details", **key)
    if parent is not None and parent["instId"] == name:
        return parent, [_child(client, name, each, row) for each in _child_ids(parent)]
    if row is not None:
        return row, []
    shown = order_id if order_id is not None else client_order_id
    raise ExecutionError("ORDER_NOT_FOUND", f"OKX knows no order {shown} of {name}", outcome="rejected")


def _child(client: Client, name: str, order_id: str, known: Row | None) -> Row | None:
    if known is not None and known["ordId"] == order_id:
        return known
    return client.one("get_order", **build_cancel(name, order_id))


def _child_ids(row: Row) -> list[str]:
    """Answer the plain orders that a conditional one placed: several where a market order was split."""
    found: list[str] = list(row.get("ordIdList") or [])
    return found or ([row["ordId"]] if row.get("ordId") else [])


def _check_digits(order_id: object) -> None:
    if order_id is not None and not (str(order_id).isascii() and str(order_id).isdigit()):
        words = f"no order of OKX has an id like {order_id!r:.60}: they are digits"
        raise ExecutionError("ORDER_NOT_FOUND", words, outcome="rejected")


@answers
def get_open_orders(symbol: str | None = None) -> Envelope:
    """Read every live order: one list of plain ones, six of conditional ones. Futures and options are left out."""
    client, name = _scope(symbol)
    orders: dict[str, Order] = {}
    others = set()
    waiting = [row for kind in _CONDITIONAL_KINDS for row in _conditional_rows(client, name, kind)]
    # The plain ones are read last: an order that is triggered meanwhile is told once, as it stands then.
    for row in (*waiting, *_plain_rows(client, name)):
        if not _is_ours(row):
            others.add(row["instId"])
        elif row.get("algoId") and "accFillSz" in row:
            orders[row["algoId"]] = _woken(client, row)
        else:
            order = parse_order(row, client.contract_size(row["instId"]))
            orders[order["order_id"]] = order
    found = sorted(orders.values(), key=lambda order: order["timestamp"])
    return ok(found, f"not told, since not traded here: {', '.join(sorted(others))}" if others else "")


def _woken(client: Client, row: Row) -> Order:
    """Answer the conditional order that placed this plain one, with all that it placed."""
    name, size = row["instId"], client.contract_size(row["instId"])
    parent = client.one("get_algo_order_details", algoId=row["algoId"])
    if parent is None:
        return parse_order(row, size)
    return parse_order(parent, size, [_child(client, name, each, row) for each in _child_ids(parent)])


def _plain_rows(client: Client, name: str) -> list[Row]:
    def ask(after: str) -> list[Row]:
        return client.ask("get_order_list", instId=name, after=after, limit=str(PAGE))

    return client.pages("ordId", ask)


def _conditional_rows(client: Client, name: str, kind: str) -> list[Row]:
    def ask(after: str) -> list[Row]:
        return client.ask("order_algos_list", ordType=kind, instId=name, after=after, limit=str(PAGE))

    return [row for row in client.pages("algoId", ask) if row["state"] in WAITING]


def _is_ours(row: Row) -> bool:
    """Tell spot and linear swaps from what is not traded here: futures, options, inverse swaps."""
    return row["instType"] in ("SPOT", "MARGIN", "SWAP") and not row["instId"].endswith("-USD-SWAP")


@answers
def get_fills(symbol: str | None = None, *, order_id: str | None = None, since: float | None = None) -> Envelope:
    """Read executions of the last three days, or since when asked (the venue keeps three months)."""
    after = None if since is None else number_of(since, "since")
    client, name = _scope(symbol)
    if order_id is not None and not str(order_id).isdigit():
        return ok([])
    parents: dict[str, Row] = {}
    rows = _fill_rows(client, name, order_id, after)
    if order_id is not None and not rows:
        # It may be the id of a conditional order: the executions are those of what it placed.
        parent = client.one("get_algo_order_details", algoId=order_id)
        parents = dict.fromkeys(_child_ids(parent), parent) if parent else {}
        rows = [row for child in parents for row in _fill_rows(client, name, child, after)]
    elif rows and order_id is None:
        parents = _triggered(client, name)
    rows = [row for row in rows if _is_ours(row)]
    rows.sort(key=lambda row: (int(row["ts"]), int(row["billId"])))
    fills = [parse_fill(_as_parents(row, parents), client.contract_size(row["instId"])) for row in rows]
    return ok([fill for fill in fills if after is None or fill["timestamp"] >= float(after)])


def _fill_rows(client: Client, name: str, order_id: str | None, after: Decimal | None) -> list[Row]:
    chosen = {"instId": name, "ordId": order_id or "", "limit": str(PAGE)}
    if after is not None:
        chosen["begin"] = str(int(after * 1000))
    if after is None or float(after) > client.clock.now() - _RECENT_FILLS:
        return client.pages("billId", lambda last: client.ask("get_fills", **chosen, after=last))

    def ask(kind: str, last: str) -> list[Row]:
        # The SDK's get_fills_history knows no begin.
        params = {"instType": kind, **chosen, "after": last}
        return client.ask("_request_with_params", "GET", "/api/v5/trade/fills-history", params)

    rows: list[Row] = []
    # Spot orders of accounts with several currencies as margin are "MARGIN".
    for kind in ("SWAP",) if symbols.is_swap(name) else ("SPOT", "MARGIN") if name else ("SPOT", "MARGIN", "SWAP"):
        rows += client.pages("billId", partial(ask, kind))
    return rows


def _triggered(client: Client, name: str) -> dict[str, Row]:
    """Answer the conditional orders triggered of late, by the ids of what they placed: fills do not name them."""
    rows = client.ask("order_algos_history", "conditional", state="effective", instId=name, limit=str(PAGE))
    return {child: row for row in rows for child in _child_ids(row)}


def _as_parents(row: Row, parents: dict[str, Row]) -> Row:
    parent = parents.get(row["ordId"])
    if parent is None:
        return row
    return {**row, "ordId": parent["algoId"], "clOrdId": parent.get("algoClOrdId") or ""}


# Account


@answers
def get_account_info() -> Envelope:
    """Read equity, margin and balances of the trading account, reckoned in US dollars by the venue."""
    client = CLIENTS.get()
    terms = client.terms()
    return ok(parse_account(client.ask("get_account_balance")[0], terms.position_mode))


@answers
def get_positions(symbol: str | None = None) -> Envelope:
    """Read linear swap positions, and what is held of other currencies than USD, USDC and USDT."""
    client, name = _scope(symbol)
    found: list[Position] = []
    others = set()
    if not name or symbols.is_swap(name):
        for row in client.ask("get_positions", instType="SWAP", instId=name):
            if not _is_ours(row):
                others.add(row["instId"])
                continue
            position = parse_position(row, client.contract_size(row["instId"]))
            found += [position] if position["size"] else []
    if not name or not symbols.is_swap(name):
        base = symbols.split(name)[0] if name else ""
        for row in client.ask("get_account_balance", ccy=base)[0]["details"]:
            holding = parse_holding(row, name or f"{row['ccy']}-USDT")
            if holding["size"] > 0 and (row["ccy"] == base if base else row["ccy"] not in _SETTLED_IN):
                found.append(holding)
    return ok(found, f"not told, since not traded here: {', '.join(sorted(others))}" if others else "")


@answers
def adjust_position(symbol: str, side: str, amount: Any, price: Any = None) -> Envelope:
    """Add to a position or reduce it; what is reduced is never more than is there, in either position mode."""
    client, rules, terms = _market(symbol)
    swap = symbols.is_swap(rules.symbol)
    if side != "long" and not (side == "short" and swap):
        allowed = "long or short" if swap else "long, since it is spot"
        raise Refused("INVALID_ORDER", f"side of {rules.symbol} must be {allowed}, not {side!r:.60}")
    change = number_of(amount, "amount")
    size = positive(abs(change), "amount")
    limit = None if price is None else positive(price, "price")
    reduces = change < 0
    if reduces:
        with before_sending():
            held, terms = _reducible(client, rules, side, terms)
        size = min(size, round_down(held, rules.lot_size))
        if not size:
            raise ExecutionError("REDUCE_ONLY_REJECTED", f"no {side} {rules.symbol} to reduce", outcome="rejected")
    order_side = "buy" if (side == "long") is not reduces else "sell"
    options: dict[str, Any] = {"client_order_id": _id(None), "reduce_only": reduces and swap, "terms": terms}
    if limit is None:
        return _submit(client, rules, build_market_order(rules, order_side, size, **options))
    return _submit(client, rules, build_limit_order(rules, order_side, size, limit, **options))


def _reducible(client: Client, rules: Rules, side: str, terms: Terms) -> tuple[Decimal, Terms]:
    """Answer the base units that may be taken from a position, and terms with the margin mode it stands in."""
    if not symbols.is_swap(rules.symbol):
        base = symbols.split(rules.symbol)[0]
        rows = client.ask("get_account_balance", ccy=base)[0]["details"]
        return sum((free_of(row) for row in rows if row["ccy"] == base), Decimal(0)), terms
    for row in client.ask("get_positions", instType="SWAP", instId=rules.symbol):
        if parse_position(row)["side"] == side:
            return abs(Decimal(row["pos"])) * rules.contract_size, terms._replace(margin_mode=row["mgnMode"])
    return Decimal(0), terms


@answers
def set_leverage(symbol: str, leverage: int) -> Envelope:
    """Set the leverage of a perpetual in the margin mode of the settings; isolated in hedge mode, of both sides."""
    client, rules, terms = _market(symbol)
    if not symbols.is_swap(rules.symbol):
        raise Refused("NOT_SUPPORTED", f"{rules.symbol} is spot and has no leverage")
    value = whole_of(leverage, "leverage", rules.max_leverage)
    both = terms.position_mode == "hedge" and terms.margin_mode == "isolated"
    for position_side in ("long", "short") if both else ("",):
        client.ask("set_leverage", str(value), terms.margin_mode, instId=rules.symbol, posSide=position_side)
    return ok({"symbol": rules.symbol, "leverage": value})


@answers
def cancel_all_after(seconds: float) -> Envelope:
    """Arm the venue's dead-man's switch, from 10 to 120 seconds, rounded up to a whole one; 0 disarms."""
    client = CLIENTS.get()
    wait = number_of(seconds, "seconds").to_integral_value(ROUND_CEILING)
    if wait and not 10 <= wait <= 120:
        raise Refused("INVALID_ORDER", f"seconds must be 0, or from 10 to 120 on OKX, not {seconds!r:.60}")
    # The SDK has no method for it.
    found = client.ask("_request_with_params", "POST", "/api/v5/trade/cancel-all-after", {"timeOut": str(wait)})
    trigger = int(found[0]["triggerTime"] or 0) / 1000
    remark = "conditional orders are not cancelled by it" if wait else ""
    return ok({"seconds": float(wait), "trigger_time": trigger or None}, remark)


# Market


@answers
def get_ticker(symbol: str) -> Envelope:
    """Read the best prices; of a swap with the venue's mark price, in a second request."""
    client, name = _public(symbol)
    row = data_of(client.public.get_ticker(name))[0]
    mark = ""
    if symbols.is_swap(name):
        mark = data_of(client.public.get_mark_price("SWAP", instId=name))[0]["markPx"]
    return ok(parse_ticker(row, client.contract_size(name), mark))


@answers
def get_instrument(symbol: str) -> Envelope:
    """Read the trading rules, kept for an hour."""
    client, name = _public(symbol)
    return ok({**client.instrument(name)})


@answers
def get_klines(symbol: str, interval: str, *, start: float | None = None, limit: int = 500) -> Envelope:
    """Read at most 1440 candles; days and longer begin at midnight UTC."""
    if not isinstance(interval, str) or interval not in INTERVALS:
        raise Refused("INVALID_ORDER", f"interval must be one of {', '.join(INTERVALS)}, not {interval!r:.60}")
    count = whole_of(limit, "limit", _MOST_KLINES)
    begin = None if start is None else int(number_of(start, "start") * 1000)
    client, name = _public(symbol)
    rows = _latest(client, name, interval, count) if begin is None else _since(client, name, interval, begin, count)
    size = client.contract_size(name)
    return ok([parse_kline(row, size) for row in sorted(rows, key=lambda row: int(row[0]))])


def _latest(client: Client, name: str, interval: str, count: int) -> list[list[str]]:
    rows: list[list[str]] = []
    while len(rows) < count:
        wanted = min(_KLINES_PAGE, count - len(rows))
        after = rows[-1][0] if rows else ""
        page = data_of(client.public.get_candlesticks(name, bar=INTERVALS[interval][0], after=after, limit=str(wanted)))
        rows += page
        if len(page) < wanted:
            break
    return rows


def _since(client: Client, name: str, interval: str, begin: int, count: int) -> list[list[str]]:
    """Read forward in windows, `count` intervals far: the venue answers the newest of a range, not the oldest."""
    bar, seconds = INTERVALS[interval]
    now, step = client.clock.now_ms(), seconds * 1000
    recent = begin >= now - _MOST_KLINES * step
    ask = client.public.get_candlesticks if recent else client.public.get_history_candlesticks
    rows: list[list[str]] = []
    for first in range(begin, min(begin + count * step, now + 1), _OLD_KLINES_PAGE * step):
        last = min(first + _OLD_KLINES_PAGE * step, begin + count * step)
        rows += data_of(ask(name, bar=bar, before=str(first - 1), after=str(last), limit=str(_OLD_KLINES_PAGE)))
    return rows


@answers
def get_server_time() -> Envelope:
    """Read the venue's clock."""
    return ok({"timestamp": int(data_of(CLIENTS.get().public.get_system_time())[0]["ts"]) / 1000})
