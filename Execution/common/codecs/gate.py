"""Gate's orders, as it wants to hear and tells of them: pure functions, no clock, no network.

A contract counts `contract_size` base units; every parse_* of a perpetual takes it, every build_* has it in its rules.

Client order ids: Gate's `text` is "t-" and up to 28 of 0-9 A-Z a-z _ - . ; ours go in as they are where they fit.
    - With ":" or "/" in it: "_.e", then "_" for an escape ("__" = "_", "_c" = ":", "_s" = "/").
    - The long id of a keyed signal ("exk", 26 hex digits, up to 7 more): "_.k", the hex digits to base 64, the rest.
    - What does not fit after that is refused before it is sent.
    Texts of others ("web", "api", "t-..." of another program) are read back as they stand, without the "t-".
"""

from __future__ import annotations

import re
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import Any

from Execution.common.asked import check_side, check_terms, slippage_of
from Execution.common.codecs.gate_values import (
    Raw,
    Request,
    number,
    seconds_of,
    side_of,
    time_of,
    unified_symbol,
    venue_symbol,
)
from Execution.common.errors import Refused
from Execution.common.precision import ZERO, Rules, exactly, positive, round_amount, round_price
from Execution.common.types import Fill, Order, OrderStatus, TimeInForce

# Gate's market buys on spot count quote, so ours are limit orders that may not rest, this far above the best price.
SPOT_SLIPPAGE = Decimal("0.03")
TRIGGER_EXPIRATION = 30 * 86400  # the longest that a conditional order on spot may wait

TIMES_IN_FORCE = {"GTC": "gtc", "IOC": "ioc", "FOK": "fok"}
_TIMES_IN_FORCE: dict[str, TimeInForce] = {"gtc": "GTC", "poc": "GTC", "ioc": "IOC", "fok": "FOK"}
_SPOT_STATUSES: dict[str, OrderStatus] = {"open": "open", "closed": "filled", "cancelled": "cancelled"}
_STREAM_EVENTS = {"put": "open", "update": "open"}
_FINISHED: dict[str, OrderStatus] = {
    "filled": "filled",
    "cancelled": "cancelled",
    "liquidated": "cancelled",
    "ioc": "cancelled",
    "auto_deleveraged": "cancelled",
    "reduce_only": "cancelled",
    "position_closed": "cancelled",
    "reduce_out": "cancelled",
    "stp": "cancelled",
    "poc": "cancelled",
    "fok": "cancelled",
}
_TRIGGERS: dict[str, OrderStatus] = {
    "open": "open",
    "inactive": "pending",
    "invalid": "rejected",
    "cancelled": "cancelled",
    "canceled": "cancelled",
    "failed": "rejected",
    "expired": "expired",
    "finish": "unknown",  # it woke: what became of it only the order that it placed can tell
    "succeeded": "unknown",
    "": "unknown",
}
AWAKE = frozenset(("finish", "succeeded"))
_RULES = {"1": ">=", "2": "<=", ">=": ">=", "<=": "<="}

# Client order ids


_PLAIN_TEXT = re.compile(r"[0-9A-Za-z_.-]{1,28}")
_OURS = re.compile(r"[A-Za-z0-9._:/-]{1,64}")
_KEYED = re.compile(r"exk([0-9a-f]{26})([0-9A-Za-z-]{1,7})")
_MARK = "_."
_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-."
_ESCAPES = {"_": "__", ":": "_c", "/": "_s"}
_ESCAPED = {value: key for key, value in _ESCAPES.items()}


def encode_client_order_id(client_order_id: object) -> str:
    """Answer the `text` that stands for one of our ids.

    Raises:
        Refused: INVALID_ORDER: not an id of ours, or one that has no room in Gate's 28 characters.
    """
    if not isinstance(client_order_id, str) or not _OURS.fullmatch(client_order_id):
        raise Refused(
            "INVALID_ORDER", f"client_order_id must be 1 to 64 of A-Z a-z 0-9 . _ : / -, not {client_order_id!r:.80}"
        )
    if _PLAIN_TEXT.fullmatch(client_order_id) and not client_order_id.startswith(_MARK):
        return f"t-{client_order_id}"
    if keyed := _KEYED.fullmatch(client_order_id):
        number, digits = int(keyed[1], 16), ""
        for _ in range(18):
            number, digit = divmod(number, 64)
            digits = _DIGITS[digit] + digits
        return f"t-{_MARK}k{digits}{keyed[2]}"
    text = f"{_MARK}e" + "".join(_ESCAPES.get(mark, mark) for mark in client_order_id)
    if len(text) > 28:
        raise Refused("INVALID_ORDER", f"client_order_id {client_order_id!r} is too long for Gate's 28 characters")
    return f"t-{text}"


def decode_client_order_id(text: object) -> str:
    """Answer our id that a `text` stands for; "" where the order has none."""
    if not isinstance(text, str) or text in ("", "-"):
        return ""
    body = text.removeprefix("t-")
    if body.startswith(f"{_MARK}e"):
        return re.sub("__|_c|_s", lambda found: _ESCAPED[found[0]], body[3:])
    if body.startswith(f"{_MARK}k") and len(body) > 21 and all(mark in _DIGITS for mark in body[3:21]):
        number = 0
        for mark in body[3:21]:
            number = number * 64 + _DIGITS.index(mark)
        return f"exk{number:026x}{body[21:]}"
    return body


# Requests


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
    account: str = "spot",
) -> Request:
    """Answer the body of a limit order. One-way and hedge mode are written alike: reduce_only is what closes."""
    text = _checked(rules, side, client_order_id, reduce_only)
    check_terms(time_in_force, post_only)
    limit = round_price(positive(price, "price"), side, rules)
    size = round_amount(positive(amount, "amount"), rules, None if reduce_only else limit)
    tif = "poc" if post_only else TIMES_IN_FORCE[time_in_force]
    return _order(rules, side, size, limit, "" if tif == "gtc" else tif, text, reduce_only, account)


def build_market_order(
    rules: Rules,
    side: str,
    amount: Any,
    *,
    client_order_id: str | None = None,
    reduce_only: bool = False,
    max_slippage: Any = None,
    best: Decimal | None = None,
    account: str = "spot",
) -> Request:
    """Answer the body of a market order.

    Args:
        best: the best price of the other side. Needed for a spot buy, whose `amount` Gate reads as quote, and with
            max_slippage: both become limit orders that may not rest.
    """
    text = _checked(rules, side, client_order_id, reduce_only)
    slippage = None if max_slippage is None else slippage_of(max_slippage)
    wanted = positive(amount, "amount")
    spot = not rules.symbol.endswith("-SWAP")
    if slippage is None and not (spot and side == "buy"):
        size = round_amount(wanted, rules, None)
        return _order(rules, side, size, None, "ioc", text, reduce_only, account)
    if best is None:
        raise Refused("INVALID_ORDER", f"a market {side} of {rules.symbol} needs the best price, and there is none")
    bound = _bound(best, side, SPOT_SLIPPAGE if slippage is None else slippage, rules)
    size = round_amount(wanted, rules, best if spot else None)
    return _order(rules, side, size, bound, "ioc", text, reduce_only, account)


def build_stop_order(
    rules: Rules,
    side: str,
    amount: Any,
    stop_price: Any,
    price: Any = None,
    *,
    client_order_id: str | None = None,
    reduce_only: bool = False,
    account: str = "spot",
) -> Request:
    """Answer the body of a stop order: a buy wakes at or above stop_price, a sell at or below; by the last price."""
    rule = ">=" if side == "buy" else "<="
    return _conditional(rule, rules, side, amount, stop_price, price, client_order_id, reduce_only, account)


def build_take_profit_order(
    rules: Rules,
    side: str,
    amount: Any,
    stop_price: Any,
    price: Any = None,
    *,
    client_order_id: str | None = None,
    reduce_only: bool = False,
    account: str = "spot",
) -> Request:
    """As build_stop_order, waking in the other direction."""
    rule = "<=" if side == "buy" else ">="
    return _conditional(rule, rules, side, amount, stop_price, price, client_order_id, reduce_only, account)


def build_cancel(
    symbol: str, order_id: object = None, client_order_id: object = None, *, account: str = "spot"
) -> Request:
    """Answer what names a plain order: its id or our text for the path, and the query's fields."""
    if order_id is None and client_order_id is None:
        raise Refused("INVALID_ORDER", "order_id or client_order_id is needed, both are None")
    name = str(order_id) if order_id is not None else encode_client_order_id(client_order_id)
    if symbol.endswith("-SWAP"):
        return {"order_id": name, "contract": venue_symbol(symbol)}
    return {"order_id": name, "currency_pair": venue_symbol(symbol), "account": account}


def _order(
    rules: Rules,
    side: str,
    size: Decimal,
    price: Decimal | None,
    tif: str,
    text: str,
    reduce_only: bool,
    account: str,
) -> Request:
    if rules.symbol.endswith("-SWAP"):
        body: Request = {
            "contract": venue_symbol(rules.symbol),
            "size": number_text(_contracts(side, size, rules)),
            "price": "0" if price is None else number_text(price),
        }
        body |= {"tif": tif} if tif else {}
        body |= {"reduce_only": True} if reduce_only else {}
        return body | ({"text": text} if text else {})
    body = {
        "currency_pair": venue_symbol(rules.symbol),
        "type": "market" if price is None else "limit",
        "account": account,
        "side": side,
        "amount": number_text(size),
    }
    body |= {} if price is None else {"price": number_text(price)}
    body |= {"time_in_force": tif} if tif else {}
    return body | ({"text": text} if text else {})


def _conditional(
    rule: str,
    rules: Rules,
    side: str,
    amount: Any,
    stop_price: Any,
    price: Any,
    client_order_id: str | None,
    reduce_only: bool,
    account: str,
) -> Request:
    text = _checked(rules, side, client_order_id, reduce_only)
    stop = round_price(positive(stop_price, "stop_price"), side, rules, "stop_price")
    limit = None if price is None else round_price(positive(price, "price"), side, rules)
    size = round_amount(positive(amount, "amount"), rules, None if reduce_only else limit or stop)
    if rules.symbol.endswith("-SWAP"):
        contracts = _contracts(side, size, rules)
        initial: Request = {"contract": venue_symbol(rules.symbol)}
        # A JSON number here, and only a whole one; the decimal text goes into `amount`.
        whole = contracts == contracts.to_integral_value()
        initial |= {"size": int(contracts)} if whole else {"amount": number_text(contracts)}
        initial |= {"price": "0", "tif": "ioc"} if limit is None else {"price": number_text(limit)}
        initial |= {"reduce_only": True} if reduce_only else {}
        initial |= {"text": text} if text else {}
        trigger = {"price_type": 0, "price": number_text(stop), "rule": 1 if rule == ">=" else 2}
        return {"initial": initial, "trigger": trigger}
    put: Request = {"type": "limit", "side": side, "amount": number_text(size)}
    if limit is not None:
        put |= {"price": number_text(limit), "time_in_force": "gtc"}
    elif side == "buy":
        put |= {"price": number_text(_bound(stop, side, SPOT_SLIPPAGE, rules)), "time_in_force": "ioc"}
    else:
        put |= {"type": "market", "price": "0", "time_in_force": "ioc"}
    put |= {"account": "normal" if account == "spot" else account}
    put |= {"text": text} if text else {}
    return {
        "trigger": {"price": number_text(stop), "rule": rule, "expiration": TRIGGER_EXPIRATION},
        "put": put,
        "market": venue_symbol(rules.symbol),
    }


def number_text(number: Decimal) -> str:
    """Answer a number as Gate wants it: plain digits, exactly."""
    return format(number.normalize(), "f")


@exactly
def _contracts(side: str, size: Decimal, rules: Rules) -> Decimal:
    contracts = size / rules.contract_size
    return contracts if side == "buy" else -contracts


@exactly
def _bound(best: Decimal, side: str, slippage: Decimal, rules: Rules) -> Decimal:
    worst = best * (1 + slippage if side == "buy" else 1 - slippage)
    steps = (worst / rules.tick_size).to_integral_value(ROUND_FLOOR if side == "buy" else ROUND_CEILING)
    return steps * rules.tick_size


def _checked(rules: Rules, side: object, client_order_id: object, reduce_only: object) -> str:
    """Check what all orders have in common; answer the text for the client order id."""
    check_side(rules, side, reduce_only)
    return "" if client_order_id is None else encode_client_order_id(client_order_id)


# Answers


@exactly
def parse_order(raw: Raw, contract_size: Decimal = Decimal(1), fee: Decimal | None = None) -> Order:
    """Answer an order, plain or conditional, as a public dict.

    Args:
        fee: what a perpetual's order paid. Gate's order only knows the rates; without it the fee is reckoned by the
            taker's (of a post-only order: the maker's).
    """
    if "trigger" in raw:
        return _parse_conditional(raw, contract_size)
    if "contract" in raw:
        return _parse_contract_order(raw, contract_size, fee)
    return _parse_spot_order(raw)


def _parse_spot_order(raw: Raw) -> Order:
    total, left, cost = number(raw["amount"]), number(raw["left"]), number(raw["filled_total"])
    average = number(raw.get("avg_deal_price"))
    market = raw["type"] == "market"
    if market and raw["side"] == "buy":  # amount and left are quote here
        amount = total / average if average else ZERO
        filled = number(raw.get("filled_amount")) or (cost / average if average else ZERO)
    else:
        amount, filled = total, total - left
        average = average or (cost / filled if filled else ZERO)
    status = _SPOT_STATUSES[raw["status"]] if raw.get("status") else _streamed(raw, left)
    fee, currency = _spot_fee(raw)
    tif = raw["time_in_force"]
    data: Order = {
        "order_id": str(raw["id"]),
        "client_order_id": decode_client_order_id(raw.get("text")),
        "symbol": unified_symbol(raw["currency_pair"], swap=False),
        "side": raw["side"],
        "type": "market" if market else "limit",
        "amount": float(amount),
        "price": None if market else float(raw["price"]),
        "stop_price": None,
        "status": "partially_filled" if status == "open" and filled else status,
        "filled": float(filled),
        "remaining": float(amount - filled),
        "average_price": float(average) if filled and average else None,
        "fee": float(fee),
        "fee_currency": currency,
        "time_in_force": _TIMES_IN_FORCE[tif],
        "post_only": tif == "poc",
        "reduce_only": False,
        "timestamp": time_of(raw, "create_time"),
        "updated": time_of(raw, "update_time"),
    }
    return _with_reason(data, raw.get("finish_as"))


def _streamed(raw: Raw, left: Decimal) -> OrderStatus:
    """Answer the status of an order in the stream, which has an event instead."""
    if raw["event"] != "finish":
        return _SPOT_STATUSES[_STREAM_EVENTS[raw["event"]]]
    return "cancelled" if left else "filled"


def _spot_fee(raw: Raw) -> tuple[Decimal, str]:
    """Answer what was paid, in what: the coin received, GT, or (less than nothing) a rebate."""
    fee, gt, rebate = (number(raw.get(name)) for name in ("fee", "gt_fee", "rebated_fee"))
    if fee or not (gt or rebate):
        return fee, str(raw.get("fee_currency") or "")
    return (gt, "GT") if gt else (-rebate, str(raw["rebated_fee_currency"]))


def _parse_contract_order(raw: Raw, contract_size: Decimal, fee: Decimal | None) -> Order:
    size, left, tif = number(raw["size"]), number(raw["left"]), raw["tif"]
    amount, remaining = abs(size) * contract_size, abs(left) * contract_size
    filled, price = amount - remaining, number(raw["price"])
    average = number(raw.get("fill_price"))
    market = not price and tif == "ioc"
    status: OrderStatus
    if raw["status"] == "open":
        status = "partially_filled" if filled else "open"
    else:
        status = "filled" if raw["finish_as"] == "ioc" and not left else _FINISHED[raw["finish_as"]]
    if fee is None:
        fee = filled * average * number(raw.get("mkfr" if tif == "poc" else "tkfr"))
    created = time_of(raw, "create_time")
    data: Order = {
        "order_id": str(raw["id"]),
        "client_order_id": decode_client_order_id(raw.get("text")),
        "symbol": unified_symbol(raw["contract"], swap=True),
        "side": side_of(size, raw.get("auto_size")),
        "type": "market" if market else "limit",
        "amount": float(amount),
        "price": None if market else float(price),
        "stop_price": None,
        "status": status,
        "filled": float(filled),
        "remaining": float(remaining),
        "average_price": float(average) if filled and average else None,
        "fee": float(fee),
        "fee_currency": raw["contract"].rpartition("_")[2],
        "time_in_force": _TIMES_IN_FORCE[tif],
        "post_only": tif == "poc",
        "reduce_only": bool(raw.get("is_reduce_only") or raw.get("reduce_only") or raw.get("is_close")),
        "timestamp": created,
        "updated": max(created, time_of(raw, "finish_time"), time_of(raw, "update_time")),
    }
    return _with_reason(data, raw.get("finish_as") if raw["status"] != "open" else None)


def _parse_conditional(raw: Raw, contract_size: Decimal) -> Order:
    swap = "initial" in raw
    put, trigger = raw["initial" if swap else "put"], raw["trigger"]
    size = number(put.get("amount") or put.get("size")) * (contract_size if swap else 1)
    price = number(put["price"])
    side = side_of(size, put.get("auto_size"), raw.get("order_type")) if swap else put["side"]
    tif = str(put.get("tif" if swap else "time_in_force") or "gtc")
    market = not price or (not swap and put["type"] == "market")
    created = time_of(raw, "create_time" if swap else "ctime")
    status = _TRIGGERS[raw["finish_as"] if raw["status"] == "finished" else raw["status"]]
    data: Order = {
        "order_id": str(raw.get("id_string") or raw["id"]),
        "client_order_id": decode_client_order_id(put.get("text")),
        "symbol": unified_symbol(put["contract"] if swap else raw["market"], swap),
        "side": side,
        "type": "stop" if (_RULES[str(trigger["rule"])] == ">=") == (side == "buy") else "take_profit",
        "amount": float(abs(size)),
        "price": None if market else float(price),
        "stop_price": float(trigger["price"]),
        "status": status,
        "filled": 0.0,
        "remaining": float(abs(size)),
        "average_price": None,
        "fee": 0.0,
        "fee_currency": "",
        "time_in_force": _TIMES_IN_FORCE[tif],
        "post_only": tif == "poc",
        "reduce_only": bool(put.get("is_reduce_only") or put.get("reduce_only") or put.get("is_close")),
        "timestamp": created,
        "updated": max(created, time_of(raw, "finish_time" if swap else "ftime")),
    }
    return _with_reason(data, raw.get("reason"))


def parse_child_id(raw: Raw) -> str:
    """Answer the id of the order that a conditional order placed when it woke; "" where it placed none."""
    for name in ("trade_id_string", "trade_id", "fired_order_id", "me_order_id_string", "me_order_id"):
        found = str(raw.get(name) or "0")
        if found != "0":
            return found
    return ""


def with_child(parent: Order, child: Order) -> Order:
    """Answer a conditional order that woke with what became of the order that it placed."""
    data: Order = {
        **parent,
        "status": child["status"],
        "filled": child["filled"],
        "remaining": child["remaining"],
        "average_price": child["average_price"],
        "fee": child["fee"],
        "fee_currency": child["fee_currency"],
        "updated": max(parent["updated"], child["updated"]),
    }
    return _with_reason(data, child.get("reason"))


def parse_order_update(message: Raw, contract_size: Decimal = Decimal(1)) -> list[Order]:
    """Answer the orders in a message of the private streams: spot.orders, spot.priceorders, futures.orders,
    futures.autoorders. One message may have several."""
    result = message["result"]
    items = result if isinstance(result, list) else [result]
    if message["channel"] == "spot.priceorders":
        items = [_unflattened(item) for item in items]
    elif message["channel"] not in ("spot.orders", "futures.orders", "futures.autoorders"):
        raise ValueError(f"no orders in {message['channel']}")
    return [parse_order(item, contract_size) for item in items]


def _unflattened(item: Raw) -> Request:
    """Answer a conditional spot order of the stream in the shape that the rest of Gate uses."""
    awake, over = str(item["fired_order_id"]) != "0", str(item["ftime"]) != "0"
    return {
        "id": item["id"],
        "market": item["market"],
        "trigger": {"price": item["trigger_price"], "rule": item["trigger_rule"]},
        "put": {
            "type": item["order_type"],
            "side": item["side"],
            "price": item["price"],
            "amount": item["amount"],
            "text": item.get("source"),
        },
        "status": "finish" if awake else ("" if over else "open"),
        "reason": item.get("reason") or item.get("err_msg"),
        "fired_order_id": item["fired_order_id"],
        "ctime": seconds_of(item["ctime"]),
        "ftime": seconds_of(item["ftime"]),
    }


def parse_fill(raw: Raw, contract_size: Decimal = Decimal(1)) -> Fill:
    """Answer an execution as a public dict."""
    swap = "contract" in raw
    size = number(raw["size"]) * contract_size if swap else number(raw["amount"])
    fee, currency = _spot_fee({"rebated_fee": 0, **raw})
    return {
        "trade_id": str(raw.get("trade_id") or raw["id"]),
        "order_id": str(raw["order_id"]),
        "client_order_id": decode_client_order_id(raw.get("text")),
        "symbol": unified_symbol(raw["contract" if swap else "currency_pair"], swap),
        "side": side_of(size, None) if swap else raw["side"],
        "amount": float(abs(size)),
        "price": float(raw["price"]),
        "fee": float(fee),
        "fee_currency": raw["contract"].rpartition("_")[2] if swap else currency,
        "maker": {"maker": True, "taker": False}[raw["role"]],
        "timestamp": time_of(raw, "create_time"),
    }


def _with_reason(data: Order, reason: Any) -> Order:
    if reason and reason not in ("open", "filled", "-", "_new", "_update"):
        data["reason"] = str(reason)
    return data
