"""OKX v5 on the wire: requests from arguments, public dicts from the venue's JSON, its error codes. Pure.

Amounts are base units outside and contracts (`sz`, `pos`, `fillSz`) inside: base = contracts x ctVal x ctMult. Every
value sent is text. Client ids: the venue takes 1 to 32 letters and digits; `encode_id` says how ours fit.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from functools import lru_cache
from typing import Any, Literal, NamedTuple, cast

from Execution.common.asked import check_side, check_terms, slippage_of
from Execution.common.errors import ErrorCode, ExecutionError, Outcome, Refused
from Execution.common.precision import ZERO, Rules, positive, round_amount, round_price
from Execution.common.symbols import is_swap, split
from Execution.common.types import (
    SIDES,
    AccountInfo,
    Balance,
    Fill,
    Instrument,
    Kline,
    Order,
    OrderStatus,
    OrderType,
    Position,
    Side,
    Ticker,
    TimeInForce,
)

Row = Mapping[str, Any]
ONE = Decimal(1)

STATES: dict[str, OrderStatus] = {
    "live": "open",
    "partially_filled": "partially_filled",
    "filled": "filled",
    "canceled": "cancelled",
    "mmp_canceled": "cancelled",
}
CONDITIONAL_STATES: dict[str, OrderStatus] = {
    "live": "open",
    "pause": "open",
    "partially_effective": "open",
    "order_placed": "open",
    "effective": "open",  # it was triggered: its end is that of the orders it placed
    "filled": "filled",
    "canceled": "cancelled",
    "order_failed": "rejected",
    "partially_failed": "rejected",
}
WAITING = frozenset(("live", "pause", "partially_effective"))
TYPES: dict[str, tuple[OrderType, TimeInForce, bool]] = {
    "limit": ("limit", "GTC", False),
    "post_only": ("limit", "GTC", True),
    "fok": ("limit", "FOK", False),
    "ioc": ("limit", "IOC", False),
    "market": ("market", "IOC", False),
    "optimal_limit_ioc": ("market", "IOC", False),
    "elp": ("limit", "GTC", True),
}
CONDITIONAL_TYPES: dict[str, OrderType] = {
    "conditional": "stop",
    "oco": "stop",
    "trigger": "stop",
    "move_order_stop": "stop",
    "iceberg": "limit",
    "twap": "limit",
    "chase": "limit",
}
INTERVALS: dict[str, tuple[str, int]] = {  # the venue's days begin at 16:00 UTC unless "utc" is said
    "1s": ("1s", 1), "1m": ("1m", 60), "3m": ("3m", 180), "5m": ("5m", 300), "15m": ("15m", 900),
    "30m": ("30m", 1800), "1h": ("1H", 3600), "2h": ("2H", 7200), "4h": ("4H", 14400), "6h": ("6Hutc", 21600),
    "12h": ("12Hutc", 43200), "1d": ("1Dutc", 86400), "2d": ("2Dutc", 172800), "3d": ("3Dutc", 259200),
    "1w": ("1Wutc", 604800), "1M": ("1Mutc", 2678400), "3M": ("3Mutc", 7948800),
}  # fmt: skip
POST_ONLY_CROSSED = "31"
CANCEL_SOURCES = {
    "2": "reduce_only_margin",
    "3": "risk",
    "6": "adl",
    "9": "funding",
    "13": "fok",
    "14": "ioc",
    "15": "price_limit",
    "17": "position_closed",
    "20": "cancel_all_after",
    "21": "position_closed",
    POST_ONLY_CROSSED: "post_only",
    "32": "self_trade",
}
ORDINARY_FEES = {"spot": (0.0008, 0.001), "swap": (0.0002, 0.0005)}

_REFUSALS: dict[tuple[ErrorCode, Outcome], str] = {
    ("AUTHENTICATION", "rejected"): (
        "50008 50030 50035 50100 50101 50103 50104 50105 50106 50107 50110 50111 50113 50114 50119 50120"
    ),
    ("CLOCK_SKEW", "not_sent"): "50102 50112",
    ("DUPLICATE_ORDER", "rejected"): "51011 51016 51065 51068",
    ("INSUFFICIENT_FUNDS", "rejected"): "51008 51119 51127 51131 51143 51502 51736 59103 59108 59200 59201",
    ("INVALID_ORDER", "rejected"): (
        "50000 50002 50014 50015 50016 50024 50025 51000 51003 51005 51006 51007 51020 51031 51046 51047 51048 51049 "
        "51050 51051 51052 51053 51101 51110 51116 51118 51120 51121 51122 51123 51124 51135 51136 51137 51138 51150 "
        "51180 51185 51201 51202 51203 51204 51250 51252 51275 51276 51277 51278 51279 51280 51281 51300 51302 51303 "
        "51304 51305 51306 51307 51308 51407 51415 59102 59104 59105"
    ),
    ("INVALID_SYMBOL", "rejected"): "51001 51002 51012 51014 51015 51021 51022 51027 51028 51087",
    ("ORDER_NOT_FOUND", "rejected"): "51063 51400 51401 51402 51405 51416 51503 51509 51510 51603",
    ("POST_ONLY_WOULD_CROSS", "rejected"): "51511",
    ("RATE_LIMITED", "not_sent"): "50011 50040 50061",
    ("REDUCE_ONLY_REJECTED", "rejected"): "51023 51043 51058 51112 51134 51169 51170 51205",
    ("TIMEOUT", "unknown"): "50004 51054 51149 51412",
    ("VENUE_DOWN", "unknown"): "50001 50005 50013 50026",
}
ERRORS: dict[str, tuple[ErrorCode, Outcome]] = {
    code: meaning for meaning, codes in _REFUSALS.items() for code in codes.split()
}
LIMIT_WINDOW = 2.0
"""The seconds that the venue's rate limits are counted in."""


class Terms(NamedTuple):
    """What an account trades under: its position mode, and how swaps and spot are margined (`tdMode`)."""

    position_mode: Literal["net", "hedge"] = "net"
    margin_mode: str = "cross"
    spot_mode: str = "cash"


ORDINARY = Terms()

# Client ids. Letters and digits up to 32 go as they are. Others are marked: "Zz" and the id with its signs written as
# Z0 to Z4, or, where that is too long, "Zy" and the id as one number (lower-case hex ids, UUIDs: up to 40 characters).
# encode_id(decode_id(x)) == x for whatever anybody placed, and decode_id(encode_id(y)) == y for whatever is sent.

_PLAIN = re.compile(r"[A-Za-z0-9]{1,32}")
_OURS = re.compile(r"[A-Za-z0-9._:/-]{1,64}")
_ESCAPES = {".": "Z0", "_": "Z1", ":": "Z2", "/": "Z3", "-": "Z4", "Z": "ZZ"}
_ESCAPED = re.compile(r"Z([0-4Z])")
_SIGNS = {mark[1]: sign for sign, mark in _ESCAPES.items()}
_PACKED = "0123456789abcdefkstx-"
_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_LONGEST_ID = 32


@lru_cache(maxsize=4096)
def encode_id(client_order_id: str) -> str:
    """Answer the venue's form of an id of ours.

    Raises:
        Refused: INVALID_ORDER, where none of 32 letters and digits stands for it.
    """
    if _PLAIN.fullmatch(client_order_id) and decode_id(client_order_id) == client_order_id:
        return client_order_id
    text = "Zz" + "".join(_ESCAPES.get(sign, sign) for sign in client_order_id)
    if len(text) > _LONGEST_ID and set(client_order_id) <= set(_PACKED):
        text = "Zy" + _rebase(client_order_id, _PACKED, _DIGITS)
    if len(text) > _LONGEST_ID:
        raise Refused(
            "INVALID_ORDER", f"client_order_id {client_order_id} is too long: OKX takes 32 letters and digits in all"
        )
    return text


def decode_id(text: str) -> str:
    """Answer the id of ours that a venue's stands for; one that others gave is answered as it is."""
    found = ""
    if text.startswith("Zz"):
        found = _ESCAPED.sub(lambda match: _SIGNS[match[1]], text[2:])
    elif text.startswith("Zy"):
        found = _rebase(text[2:], _DIGITS, _PACKED)
    return found if found and _OURS.fullmatch(found) and _is_form_of(text, found) else text


def _is_form_of(text: str, found: str) -> bool:
    if _PLAIN.fullmatch(found) and not found.startswith(("Zz", "Zy")):
        # Letters and digits are sent as they are, unless they are too long.
        return False
    escaped = "Zz" + "".join(_ESCAPES.get(sign, sign) for sign in found)
    if len(escaped) <= _LONGEST_ID:
        return escaped == text
    return set(found) <= set(_PACKED) and "Zy" + _rebase(found, _PACKED, _DIGITS) == text


def _rebase(text: str, old: str, new: str) -> str:
    """Write a text as a number of another base; bijective, so that leading zeros count."""
    number = 0
    for sign in text:
        if sign not in old:
            return ""
        number = number * len(old) + old.index(sign) + 1
    signs = []
    while number:
        number, digit = divmod(number - 1, len(new))
        signs.append(new[digit])
    return "".join(reversed(signs))


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
    terms: Terms = ORDINARY,
) -> dict[str, str]:
    """Answer the fields of POST /api/v5/trade/order for a limit order."""
    fields = _fields(rules, side, client_order_id, reduce_only, terms, "clOrdId")
    check_terms(time_in_force, post_only)
    limit = round_price(positive(price, "price"), side, rules)
    kind = "post_only" if post_only else "limit" if time_in_force == "GTC" else time_in_force.lower()
    return {**fields, "ordType": kind, "sz": _size(rules, amount, None if reduce_only else limit), "px": text_of(limit)}


def build_market_order(
    rules: Rules,
    side: str,
    amount: Any,
    *,
    client_order_id: str | None = None,
    reduce_only: bool = False,
    max_slippage: Any = None,
    best_price: Decimal | None = None,
    terms: Terms = ORDINARY,
) -> dict[str, str]:
    """Answer the fields of a market order; with max_slippage an IOC limit order that far from `best_price`."""
    fields = _fields(rules, side, client_order_id, reduce_only, terms, "clOrdId")
    size = _size(rules, amount, None)
    if max_slippage is None:
        return {**fields, "ordType": "market", "sz": size}
    share = slippage_of(max_slippage)
    if best_price is None:
        raise Refused("INVALID_ORDER", f"max_slippage: there is no price of {rules.symbol} to keep to")
    limit = round_price(best_price * (ONE + share if side == "buy" else ONE - share), side, rules)
    return {**fields, "ordType": "ioc", "sz": size, "px": text_of(limit)}


def build_stop_order(
    rules: Rules,
    side: str,
    amount: Any,
    stop_price: Any,
    price: Any = None,
    *,
    client_order_id: str | None = None,
    reduce_only: bool = False,
    terms: Terms = ORDINARY,
) -> dict[str, str]:
    """Answer the fields of POST /api/v5/trade/order-algo for a stop order on the last price."""
    return _conditional("sl", rules, side, amount, stop_price, price, client_order_id, reduce_only, terms)


def build_take_profit_order(
    rules: Rules,
    side: str,
    amount: Any,
    stop_price: Any,
    price: Any = None,
    *,
    client_order_id: str | None = None,
    reduce_only: bool = False,
    terms: Terms = ORDINARY,
) -> dict[str, str]:
    """Answer the fields of POST /api/v5/trade/order-algo for a take-profit order on the last price."""
    return _conditional("tp", rules, side, amount, stop_price, price, client_order_id, reduce_only, terms)


def _conditional(
    kind: str,
    rules: Rules,
    side: str,
    amount: Any,
    stop_price: Any,
    price: Any,
    client_order_id: str | None,
    reduce_only: bool,
    terms: Terms,
) -> dict[str, str]:
    fields = _fields(rules, side, client_order_id, reduce_only, terms, "algoClOrdId")
    stop = round_price(positive(stop_price, "stop_price"), side, rules, "stop_price")
    limit = None if price is None else round_price(positive(price, "price"), side, rules)
    return {
        **fields,
        "ordType": "conditional",
        "sz": _size(rules, amount, None if reduce_only else limit or stop),
        f"{kind}TriggerPx": text_of(stop),
        f"{kind}OrdPx": "-1" if limit is None else text_of(limit),
        f"{kind}TriggerPxType": "last",
    }


def build_cancel(
    symbol: str, order_id: object = None, client_order_id: object = None, *, conditional: bool = False
) -> dict[str, str]:
    """Answer the fields that name one order: for POST /trade/cancel-order, or (conditional) for /trade/cancel-algos."""
    if order_id is None and client_order_id is None:
        raise Refused("INVALID_ORDER", "order_id or client_order_id is needed, both are None")
    if order_id is not None:
        return {"instId": symbol, "algoId" if conditional else "ordId": str(order_id)}
    return {"instId": symbol, "algoClOrdId" if conditional else "clOrdId": encode_id(_checked_id(client_order_id))}


def text_of(value: Decimal) -> str:
    """Write a number down in full, without an exponent."""
    text = format(value, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def words_of(fields: Row) -> str:
    """Say what a request asks for, in our words."""
    told = [f"{fields['side']} {fields['instId']}"]
    for name, ours in (("px", "price"), ("slTriggerPx", "stop_price"), ("tpTriggerPx", "stop_price")):
        if name in fields:
            told.append(f"{ours} {fields[name]}")
    if given := fields.get("clOrdId") or fields.get("algoClOrdId"):
        told.append(f"client_order_id {decode_id(given)}")
    return ", ".join(told)


def _fields(
    rules: Rules, side: object, client_order_id: str | None, reduce_only: object, terms: Terms, id_field: str
) -> dict[str, str]:
    """Answer what every order has. In hedge mode `posSide` says what is opened or closed, in net mode reduceOnly."""
    check_side(rules, side, reduce_only)
    swap = is_swap(rules.symbol)
    fields = {"instId": rules.symbol, "tdMode": terms.margin_mode if swap else terms.spot_mode, "side": str(side)}
    if client_order_id is not None:
        fields[id_field] = encode_id(_checked_id(client_order_id))
    if not swap:
        if side == "buy":
            fields["tgtCcy"] = "base_ccy"  # a market buy would be reckoned in quote
    elif terms.position_mode == "hedge":
        fields["posSide"] = "long" if (side == "buy") is not reduce_only else "short"
    elif reduce_only:
        fields["reduceOnly"] = "true"
    return fields


def _checked_id(client_order_id: object) -> str:
    if not (isinstance(client_order_id, str) and _OURS.fullmatch(client_order_id)):
        raise Refused(
            "INVALID_ORDER", f"client_order_id must be 1 to 64 of A-Z a-z 0-9 . _ : / -, not {client_order_id!r:.80}"
        )
    return client_order_id


def _size(rules: Rules, amount: Any, price: Decimal | None) -> str:
    return text_of(round_amount(positive(amount, "amount"), rules, price) / rules.contract_size)


# Answers


def parse_order(row: Row, contract_size: Decimal = ONE, children: Sequence[Row | None] = ()) -> Order:
    """Answer an order as a public dict.

    Args:
        row: of a plain order, or of a conditional one (/trade/order-algo).
        children: the plain orders that a triggered conditional one placed; None for one that is not found any more.
    """
    if "accFillSz" not in row:
        return _parse_conditional(row, contract_size, children)
    kind, time_in_force, post_only = TYPES[row["ordType"]]
    data = _skeleton(row, contract_size)
    data["order_id"], data["client_order_id"] = row["ordId"], decode_id(row["clOrdId"])
    data["type"], data["time_in_force"], data["post_only"] = kind, time_in_force, post_only
    data["price"] = None if kind == "market" else _price(row["px"])
    data["status"] = STATES[row["state"]]
    _add_fills(data, [row], contract_size)
    reason = row.get("cancelSourceReason") or CANCEL_SOURCES.get(row.get("cancelSource", ""), "")
    if row.get("category", "normal") not in ("normal", ""):
        reason = row["category"]
    if reason:
        data["reason"] = reason
    return data


def _parse_conditional(row: Row, contract_size: Decimal, children: Sequence[Row | None]) -> Order:
    data = _skeleton(row, contract_size)
    data["order_id"], data["client_order_id"] = row["algoId"], decode_id(row.get("algoClOrdId") or "")
    data["type"] = CONDITIONAL_TYPES[row["ordType"]]
    data["time_in_force"] = "GTC"
    stop, limit = _condition(row)
    if row.get("tpTriggerPx") and not row.get("slTriggerPx"):
        data["type"] = "take_profit"
    data["stop_price"], data["price"] = _price(stop), _price("" if limit == "-1" else limit)
    data["status"] = CONDITIONAL_STATES[row["state"]]
    found = [child for child in children if child is not None]
    if found:
        data["status"] = _status_of(found)
        data["updated"] = max(data["updated"], *(_seconds(child["uTime"]) for child in found))
    if len(found) < len(children):
        data["status"] = "unknown"
        data["reason"] = "the order that it placed when triggered is not found any more"
    _add_fills(data, found, contract_size)
    if row["state"] == "filled" and not found:
        data["filled"], data["remaining"] = data["amount"], 0.0
        data["average_price"] = _price(row.get("actualPx", ""))
    if row.get("failCode") not in (None, "", "0"):
        data["reason"] = f"failed when triggered: {row['failCode']}"
    return data


def _condition(row: Row) -> tuple[str, str]:
    """Answer (trigger price, limit price) of a conditional order as the venue has them."""
    for kind in ("sl", "tp"):
        if row.get(f"{kind}TriggerPx"):
            return row[f"{kind}TriggerPx"], row.get(f"{kind}OrdPx", "")
    return row.get("triggerPx") or row.get("moveTriggerPx") or "", row.get("ordPx") or row.get("orderPx") or ""


def _status_of(children: Sequence[Row]) -> OrderStatus:
    states = {STATES[child["state"]] for child in children}
    if "open" in states or "partially_filled" in states:
        return "partially_filled" if any(_number(child["accFillSz"]) for child in children) else "open"
    return "filled" if states == {"filled"} else "cancelled"


def _skeleton(row: Row, contract_size: Decimal) -> Order:
    side, position_side = _side(row["side"]), row.get("posSide", "")
    closes = (position_side, side) in (("long", "sell"), ("short", "buy"))
    created = _seconds(row["cTime"])
    return {
        "order_id": "",
        "client_order_id": "",
        "symbol": row["instId"],
        "side": side,
        "type": "limit",
        "amount": float(_amount(row, contract_size)),
        "price": None,
        "stop_price": None,
        "status": "unknown",
        "filled": 0.0,
        "remaining": 0.0,
        "average_price": None,
        "fee": 0.0,
        "fee_currency": "",
        "time_in_force": "GTC",
        "post_only": False,
        "reduce_only": row.get("reduceOnly") == "true" or closes,
        "timestamp": created,
        "updated": _seconds(row["uTime"]) if row.get("uTime") else created,
    }


def _amount(row: Row, contract_size: Decimal) -> Decimal:
    """Answer the base units ordered. Others may have placed spot orders in quote: what was filled, or sz / price."""
    size = _number(row["sz"])
    if not _in_quote(row):
        return size * contract_size
    filled = _number(row.get("accFillSz", ""))
    price = _number(row.get("px", "")) or _number(_condition(row)[0])
    return filled or (size / price if price else ZERO)


def _in_quote(row: Row) -> bool:
    if is_swap(row["instId"]) or row.get("tgtCcy") == "base_ccy":
        return False
    return row.get("tgtCcy") == "quote_ccy" or (
        row["ordType"] == "market" and row["side"] == "buy" and row.get("instType") == "SPOT"
    )


def _add_fills(data: Order, rows: Sequence[Row], contract_size: Decimal) -> None:
    """Add what plain orders executed; the amount of one that was placed in quote follows from it."""
    filled, cost, fee = ZERO, ZERO, ZERO
    for row in rows:
        size = _number(row["accFillSz"]) * contract_size
        filled, cost = filled + size, cost + size * _number(row["avgPx"])
        paid, data["fee_currency"] = _fee(row)
        fee += paid
    amount = Decimal(str(data["amount"]))
    data["filled"], data["remaining"] = float(filled), float(max(ZERO, amount - filled))
    data["average_price"] = float(cost / filled) if filled and cost else None
    data["fee"] = float(fee) + 0.0


def _fee(row: Row) -> tuple[Decimal, str]:
    """Answer (paid, currency): the venue's fee is negative where paid; a spot maker's rebate has fields of its own."""
    fee, rebate = -_number(row.get("fee", "")), _number(row.get("rebate", ""))
    if rebate and (not fee or row.get("rebateCcy") == row.get("feeCcy")):
        return fee - rebate, row["rebateCcy"]
    return fee, row.get("feeCcy", "")


def parse_order_update(message: Row, contract_sizes: Mapping[str, Decimal]) -> list[Order]:
    """Answer the orders in a message of the channels "orders" and "orders-algo": one message may carry several.

    Args:
        contract_sizes: base units of one contract by symbol, for the swaps.
    """
    return [
        parse_order(row, contract_sizes[row["instId"]] if is_swap(row["instId"]) else ONE) for row in message["data"]
    ]


def parse_fill(row: Row, contract_size: Decimal = ONE) -> Fill:
    """Answer an execution as a public dict."""
    return {
        "trade_id": row["tradeId"],
        "order_id": row["ordId"],
        "client_order_id": decode_id(row.get("clOrdId", "")),
        "symbol": row["instId"],
        "side": _side(row["side"]),
        "amount": float(_number(row["fillSz"]) * contract_size),
        "price": float(row["fillPx"]),
        "fee": float(-_number(row["fee"])) + 0.0,
        "fee_currency": row["feeCcy"],
        "maker": {"T": False, "M": True, "": False}[row["execType"]],
        "timestamp": _seconds(row.get("fillTime") or row["ts"]),
        "realized_pnl": float(_number(row.get("fillPnl", ""))),
    }


def parse_position(row: Row, contract_size: Decimal = ONE) -> Position:
    """Answer a swap position as a public dict; one that is flat has the side "none"."""
    contracts = _number(row["pos"])
    size = abs(contracts) * contract_size
    side: Literal["long", "short", "none"] = "none"
    if contracts:
        short = row["posSide"] == "short" or (row["posSide"] == "net" and contracts < 0)
        side = "short" if short else "long"
    mark, entry = _price(row["markPx"]), _price(row["avgPx"])
    margin = row["margin"] if row["mgnMode"] == "isolated" else row["imr"]
    return {
        "symbol": row["instId"],
        "side": side,
        "size": float(size),
        "entry_price": entry,
        "mark_price": mark,
        "liquidation_price": _price(row["liqPx"]),
        "notional": float(size * (_number(row["markPx"]) or _number(row["avgPx"]))),
        "unrealized_pnl": float(_number(row["upl"])),
        "realized_pnl": float(_number(row.get("realizedPnl", ""))),
        "leverage": float(_number(row["lever"])),
        "margin": float(_number(margin)),
        "margin_mode": row["mgnMode"],
    }


def parse_holding(row: Row, symbol: str) -> Position:
    """Answer a currency of the balance as a long spot position."""
    size, worth = _total(row), _number(row.get("eqUsd", ""))
    return {
        "symbol": symbol,
        "side": "long",
        "size": float(size),
        "entry_price": _price(row.get("openAvgPx", "")),
        "mark_price": float(worth / size) if size and worth else None,
        "liquidation_price": None,
        "notional": float(worth),
        "unrealized_pnl": float(_number(row.get("spotUpl", ""))),
        "realized_pnl": 0.0,
        "leverage": 1.0,
        "margin": float(worth),
        "margin_mode": "spot",
    }


def parse_account(row: Row, position_mode: Literal["net", "hedge"] = "net") -> AccountInfo:
    """Answer the account as a public dict, in US dollars as the venue reckons it.

    Accounts of several currencies have sums of their own; in the other modes each currency bears its own margin, and
    they are added up here.
    """
    details: list[Row] = row["details"]
    whole = bool(row.get("adjEq"))

    def added(name: str) -> Decimal:
        if whole and row.get(name):
            return _number(row[name])
        return sum((_number(each.get(name, "")) * _dollars(each) for each in details), ZERO)

    equity, maintenance = _number(row["totalEq"]), added("mmr")
    bearing = _number(row["adjEq"]) if whole else sum(
        (_number(each["eq"]) * _dollars(each) for each in details if _number(each.get("mmr", ""))), ZERO
    )  # fmt: skip
    return {
        "total_equity": float(equity),
        "available": float(_number(row["availEq"]) if row.get("availEq") else added("availEq")),
        "used_margin": float(added("imr")),
        "maintenance_margin": float(maintenance),
        "margin_ratio": (float(maintenance / bearing) if bearing > 0 else 1.0) if maintenance else 0.0,
        "unrealized_pnl": float(added("upl")),
        "currency": "USD",
        "position_mode": position_mode,
        "balances": {each["ccy"]: _balance(each) for each in details},
        "timestamp": _seconds(row["uTime"]),
    }


def _balance(row: Row) -> Balance:
    total, free = _total(row), free_of(row)
    return {"free": float(free), "locked": float(max(ZERO, total - free)), "total": float(total)}


def _total(row: Row) -> Decimal:
    return _number(row["eq"]) or _number(row.get("cashBal", "")) or free_of(row) + _number(row.get("frozenBal", ""))


def free_of(row: Row) -> Decimal:
    """Answer what of a currency may be used."""
    return _number(row.get("availBal") or row.get("availEq") or "")


def _dollars(row: Row) -> Decimal:
    equity = _number(row["eq"])
    return _number(row["eqUsd"]) / equity if equity else ZERO


def parse_instrument(row: Row) -> Instrument:
    """Answer trading rules as a public dict. Fees are an ordinary user's; no minimum notional.

    Raises:
        Refused: INVALID_SYMBOL, of an inverse contract.
    """
    symbol = row["instId"]
    base, quote, swap = split(symbol)
    if swap and row["ctType"] != "linear":
        raise Refused("INVALID_SYMBOL", f"{symbol} is an inverse contract; only linear ones are traded")
    contract_size = _number(row["ctVal"]) * (_number(row["ctMult"]) or ONE) if swap else ONE
    maker, taker = ORDINARY_FEES["swap" if swap else "spot"]
    most = _number(row.get("maxLmtSz", ""))
    return {
        "symbol": symbol,
        "base": base,
        "quote": quote,
        "market": "swap" if swap else "spot",
        "tick_size": float(row["tickSz"]),
        "lot_size": float(_number(row["lotSz"]) * contract_size),
        "min_amount": float(_number(row["minSz"]) * contract_size),
        "max_amount": float(most * contract_size) if most else None,
        "min_notional": 0.0,
        "contract_size": float(contract_size),
        "max_leverage": int(_number(row["lever"]) or 1) if swap else 1,
        "maker_fee": maker,
        "taker_fee": taker,
        "active": row["state"] == "live",
    }


def parse_ticker(row: Row, contract_size: Decimal = ONE, mark: str = "") -> Ticker:
    """Answer best prices as a public dict; `mark` is the venue's mark price, the middle where there is none."""
    bid, ask = _number(row["bidPx"]), _number(row["askPx"])
    middle = (bid + ask) / 2 if bid and ask else ZERO
    bid_size, ask_size = _number(row["bidSz"]), _number(row["askSz"])
    return {
        "symbol": row["instId"],
        "bid": float(bid) or None,
        "ask": float(ask) or None,
        "bid_size": float(bid_size * contract_size) if bid else None,
        "ask_size": float(ask_size * contract_size) if ask else None,
        "last": _price(row["last"]),
        "mark": float(_number(mark) or middle) or None,
        "timestamp": _seconds(row["ts"]),
    }


def parse_kline(row: Sequence[str], contract_size: Decimal = ONE) -> Kline:
    """Answer a candle as a public dict."""
    return {
        "timestamp": _seconds(row[0]),
        "open": float(row[1]),
        "high": float(row[2]),
        "low": float(row[3]),
        "close": float(row[4]),
        "volume": float(_number(row[5]) * contract_size),
        "closed": row[8] == "1",
    }


def parse_error(payload: Row, status: int = 200, retry_after: float | None = None) -> ExecutionError:
    """Answer what a refusal means: the item's own code (sCode) before the answer's, the status where neither is known.

    A server error never proves that nothing was done.
    """
    data = payload.get("data") or []
    item: Row = next((each for each in data if isinstance(each, dict) and each.get("sCode", "0") != "0"), {})
    code = str(item.get("sCode") or payload.get("code") or status)
    words = str(item.get("sMsg") or payload.get("msg") or f"the venue answered {status}").strip()
    fallback: tuple[ErrorCode, Outcome] = ("VENUE_REJECTED", "rejected")
    if status == 429:
        fallback = ("RATE_LIMITED", "not_sent")
    elif status >= 500:
        fallback = ("VENUE_DOWN", "unknown")
    error, outcome = ERRORS.get(code, fallback)
    if status >= 500:
        outcome = "unknown"
    pause = (retry_after or LIMIT_WINDOW) if error == "RATE_LIMITED" else retry_after
    return ExecutionError(error, words, outcome=outcome, exchange_code=code, retry_after=pause)


def _side(text: str) -> Side:
    if text not in SIDES:
        raise ValueError(f"side {text!r:.20}")
    return cast(Side, text)


def _number(text: str) -> Decimal:
    return Decimal(text) if text else ZERO


def _price(text: str) -> float | None:
    return float(text) or None if text else None


def _seconds(milliseconds: str) -> float:
    return int(milliseconds) / 1000
