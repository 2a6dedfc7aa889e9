"""Binance's messages, spot and USD-M futures: requests from arguments, public dicts from answers. Pure.

A client order id of ours that Binance would take (1 to 36 of A-Z a-z 0-9 _ -) is sent as it is. Any other is written
behind "_x" with `.` as "_d", `:` as "_c", `/` as "_s" and `_` as "__", and read back the same way; what is longer than
36 characters then is refused. Binance takes `.:/` on futures only, and signs values that need percent-encoding
differently than the SDK does: none is ever sent.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from Execution.common import symbols
from Execution.common.asked import check_side, check_terms, slippage_of
from Execution.common.errors import ErrorCode, ExecutionError, Outcome, Refused
from Execution.common.precision import Rules, positive, round_amount, round_price
from Execution.common.types import (
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

STATUSES: dict[str, OrderStatus] = {
    "PENDING_NEW": "pending",
    "NEW": "open",
    "PARTIALLY_FILLED": "partially_filled",
    "FILLED": "filled",
    "CANCELED": "cancelled",
    "PENDING_CANCEL": "open",
    "REJECTED": "rejected",
    "EXPIRED": "expired",
    "EXPIRED_IN_MATCH": "expired",
    "NEW_INSURANCE": "open",  # a liquidation that the insurance fund or others take over
    "NEW_ADL": "open",
}
# Once it has triggered, the order it produced says what became of it.
ALGO_STATUSES: dict[str, OrderStatus] = {
    "NEW": "open",
    "TRIGGERING": "open",
    "TRIGGERED": "open",
    "CANCELED": "cancelled",
    "EXPIRED": "expired",
    "REJECTED": "rejected",
}
TYPES: dict[str, OrderType] = {
    "LIMIT": "limit",
    "LIMIT_MAKER": "limit",
    "MARKET": "market",
    "LIQUIDATION": "market",
    "STOP_LOSS": "stop",
    "STOP_LOSS_LIMIT": "stop",
    "STOP": "stop",
    "STOP_MARKET": "stop",
    "TRAILING_STOP_MARKET": "stop",
    "TAKE_PROFIT": "take_profit",
    "TAKE_PROFIT_LIMIT": "take_profit",
    "TAKE_PROFIT_MARKET": "take_profit",
}
TIMES: dict[str, TimeInForce] = {
    "GTC": "GTC", "IOC": "IOC", "FOK": "FOK", "GTX": "GTC", "GTD": "GTC", "GTE_GTC": "GTC", "RPI": "GTC",
}  # fmt: skip
_SIDES: dict[str, Side] = {"BUY": "buy", "SELL": "sell"}
# (market, wakes as, with a price) -> Binance's type
_CONDITIONAL = {
    ("spot", "stop", False): "STOP_LOSS",
    ("spot", "stop", True): "STOP_LOSS_LIMIT",
    ("spot", "take_profit", False): "TAKE_PROFIT",
    ("spot", "take_profit", True): "TAKE_PROFIT_LIMIT",
    ("swap", "stop", False): "STOP_MARKET",
    ("swap", "stop", True): "STOP",
    ("swap", "take_profit", False): "TAKE_PROFIT_MARKET",
    ("swap", "take_profit", True): "TAKE_PROFIT",
}
PERPETUAL = frozenset(("PERPETUAL", "TRADIFI_PERPETUAL"))
MOST_LEVERAGE = 125  # the most any of its perpetuals has; what one allows depends on the position and stands elsewhere
_INSIDE = Decimal("0.98")
FEES = {"spot": (0.001, 0.001), "swap": (0.0002, 0.0005)}  # of an account without a discount

_R: Outcome = "rejected"
_U: Outcome = "unknown"
_N: Outcome = "not_sent"  # refused before it was looked at: it may be sent again
ERRORS: dict[int, tuple[ErrorCode, Outcome]] = {
    -1000: ("VENUE_DOWN", _U), -1001: ("VENUE_DOWN", _U), -1002: ("AUTHENTICATION", _R), -1003: ("RATE_LIMITED", _N),
    -1004: ("VENUE_DOWN", _U), -1006: ("VENUE_DOWN", _U), -1007: ("TIMEOUT", _U), -1008: ("RATE_LIMITED", _N),
    -1010: ("VENUE_REJECTED", _R), -1011: ("AUTHENTICATION", _R), -1013: ("INVALID_ORDER", _R),
    -1014: ("INVALID_ORDER", _R), -1015: ("RATE_LIMITED", _N), -1016: ("VENUE_DOWN", _R),
    -1020: ("NOT_SUPPORTED", _R), -1021: ("CLOCK_SKEW", _N), -1022: ("AUTHENTICATION", _R),
    -1034: ("RATE_LIMITED", _N), -1099: ("AUTHENTICATION", _R),
    **dict.fromkeys((-1100, -1101, -1102, -1103, -1104, -1105, -1106, -1108, -1111, -1112, -1114, -1115, -1116, -1117,
                     -1118, -1119, -1120, -1127, -1128, -1130, -1131, -1134, -1135, -1136, -1145, -1151, -1165, -1166),
                    ("INVALID_ORDER", _R)),
    -1109: ("AUTHENTICATION", _R), -1110: ("INVALID_SYMBOL", _R), -1121: ("INVALID_SYMBOL", _R),
    -1122: ("INVALID_SYMBOL", _R), -1126: ("INVALID_SYMBOL", _R),
    -2010: ("VENUE_REJECTED", _R), -2011: ("ORDER_NOT_FOUND", _R), -2012: ("VENUE_REJECTED", _R),
    -2013: ("ORDER_NOT_FOUND", _R), -2014: ("AUTHENTICATION", _R), -2015: ("AUTHENTICATION", _R),
    -2017: ("AUTHENTICATION", _R), -2018: ("INSUFFICIENT_FUNDS", _R), -2019: ("INSUFFICIENT_FUNDS", _R),
    -2020: ("VENUE_REJECTED", _R), -2021: ("INVALID_ORDER", _R), -2022: ("REDUCE_ONLY_REJECTED", _R),
    -2023: ("VENUE_REJECTED", _R), -2024: ("REDUCE_ONLY_REJECTED", _R), -2025: ("VENUE_REJECTED", _R),
    -2026: ("INVALID_ORDER", _R), -2027: ("VENUE_REJECTED", _R), -2028: ("INSUFFICIENT_FUNDS", _R),
    -2039: ("INVALID_ORDER", _R),
    **dict.fromkeys((-4000, -4001, -4002, -4003, -4004, -4005, -4006, -4007, -4013, -4014, -4015, -4016, -4017, -4018,
                     -4020, -4021, -4023, -4024, -4025, -4026, -4028, -4029, -4030, -4055, -4060, -4061, -4107, -4120,
                     -4130, -4131, -4135, -4136, -4137, -4138, -4139, -4164, -4183, -4184), ("INVALID_ORDER", _R)),
    **dict.fromkeys((-4050, -4051), ("INSUFFICIENT_FUNDS", _R)),
    **dict.fromkeys((-4062, -4118), ("REDUCE_ONLY_REJECTED", _R)),
    -4087: ("AUTHENTICATION", _R), -4088: ("AUTHENTICATION", _R), -4108: ("INVALID_SYMBOL", _R),
    -4109: ("AUTHENTICATION", _R), -4116: ("DUPLICATE_ORDER", _R),
    -4140: ("INVALID_SYMBOL", _R), -4141: ("INVALID_SYMBOL", _R), -4144: ("INVALID_SYMBOL", _R),
    -5021: ("VENUE_REJECTED", _R), -5022: ("POST_ONLY_WOULD_CROSS", _R),
}  # fmt: skip
# One code, several meanings: the first words found decide.
_WORDS: dict[int, tuple[tuple[str, ErrorCode, Outcome], ...]] = {
    -1003: (("unknown error", "VENUE_DOWN", _U), ("internal error", "VENUE_DOWN", _U)),
    -1013: (("market is closed", "INVALID_SYMBOL", _R),),
    -2010: (
        ("insufficient balance", "INSUFFICIENT_FUNDS", _R),
        ("duplicate order", "DUPLICATE_ORDER", _R),
        ("immediately match", "POST_ONLY_WOULD_CROSS", _R),
        ("trigger immediately", "INVALID_ORDER", _R),
        ("market is closed", "INVALID_SYMBOL", _R),
        ("reduce only", "REDUCE_ONLY_REJECTED", _R),
    ),
    -2011: (("cancel restrictions", "VENUE_REJECTED", _R),),
    -2026: (("archived", "ORDER_NOT_FOUND", _R),),
}

_OURS = re.compile(r"[A-Za-z0-9._:/-]{1,64}")
_THEIRS = re.compile(r"[A-Za-z0-9_-]{1,36}")
_MARK = "_x"
_ESCAPES = {"_": "__", ".": "_d", ":": "_c", "/": "_s"}
_MEANINGS = {code: char for char, code in _ESCAPES.items()}
_ESCAPED = re.compile(r"(?:[A-Za-z0-9-]|__|_[dcs])+")
_CODE = re.compile(r"_[_dcs]")


def to_client_id(client_order_id: object) -> str:
    """Answer Binance's form of an id of ours.

    Raises:
        Refused: INVALID_ORDER: not an id, or too long for Binance.
    """
    if not isinstance(client_order_id, str) or not _OURS.fullmatch(client_order_id):
        raise Refused(
            "INVALID_ORDER", f"client_order_id must be 1 to 64 of A-Z a-z 0-9 . _ : / -, not {client_order_id!r:.80}"
        )
    if _THEIRS.fullmatch(client_order_id) and not client_order_id.startswith(_MARK):
        return client_order_id
    text = _MARK + "".join(_ESCAPES.get(char, char) for char in client_order_id)
    if len(text) > 36:
        raise Refused(
            "INVALID_ORDER", f"client_order_id {client_order_id!r} needs {len(text)} characters, Binance takes 36"
        )
    return text


def from_client_id(text: str) -> str:
    """Answer our form of an id that Binance tells."""
    rest = text.removeprefix(_MARK)
    if rest == text or not _ESCAPED.fullmatch(rest):
        return text
    return _CODE.sub(lambda match: _MEANINGS[match[0]], rest)


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
    hedged: bool = False,
) -> dict[str, str]:
    """Answer the fields of POST order. Post-only is a type on spot, a time in force on futures."""
    request = _basis(rules, side, client_order_id, reduce_only, hedged)
    check_terms(time_in_force, post_only)
    limit = round_price(positive(price, "price"), side, rules)
    size = round_amount(positive(amount, "amount"), rules, None if reduce_only else limit)
    swap = symbols.is_swap(rules.symbol)
    request |= {"type": "LIMIT_MAKER" if post_only and not swap else "LIMIT", "quantity": _text(size)}
    request["price"] = _text(limit)
    if swap or not post_only:
        request["timeInForce"] = "GTX" if post_only else time_in_force
    return request


def build_market_order(
    rules: Rules,
    side: str,
    amount: Any,
    *,
    client_order_id: str | None = None,
    reduce_only: bool = False,
    max_slippage: Any = None,
    best: Decimal | None = None,
    band: tuple[Decimal, Decimal] | None = None,
    hedged: bool = False,
) -> dict[str, str]:
    """Answer the fields of POST order. With max_slippage it is an IOC limit order at the bound, reckoned from `best`.

    Args:
        best: the best price on the other side; the minimum notional is checked with it. None leaves that to Binance.
        band: the lowest and the highest limit price that Binance takes now; the bound stays inside.
    """
    slippage = None if max_slippage is None else slippage_of(max_slippage)
    request = _basis(rules, side, client_order_id, reduce_only, hedged)
    size = round_amount(positive(amount, "amount"), rules, None if reduce_only else best)
    if slippage is None:
        return {**request, "type": "MARKET", "quantity": _text(size)}
    if best is None:
        raise Refused("INVALID_ORDER", f"max_slippage needs a price of {rules.symbol}, and there is none")
    worst = best * (1 + slippage if side == "buy" else 1 - slippage)
    if band is not None:
        worst = min(worst, band[1]) if side == "buy" else max(worst, band[0])
    bound = _text(round_price(worst, side, rules))
    return {**request, "type": "LIMIT", "quantity": _text(size), "price": bound, "timeInForce": "IOC"}


def build_stop_order(
    rules: Rules,
    side: str,
    amount: Any,
    stop_price: Any,
    price: Any = None,
    *,
    client_order_id: str | None = None,
    reduce_only: bool = False,
    hedged: bool = False,
) -> dict[str, str]:
    """Answer the fields of POST order (spot) or POST algoOrder (futures) for a stop order."""
    return _conditional("stop", rules, side, amount, stop_price, price, client_order_id, reduce_only, hedged)


def build_take_profit_order(
    rules: Rules,
    side: str,
    amount: Any,
    stop_price: Any,
    price: Any = None,
    *,
    client_order_id: str | None = None,
    reduce_only: bool = False,
    hedged: bool = False,
) -> dict[str, str]:
    """Answer the fields of POST order (spot) or POST algoOrder (futures) for a take-profit order."""
    return _conditional("take_profit", rules, side, amount, stop_price, price, client_order_id, reduce_only, hedged)


def build_cancel(
    symbol: str, order_id: object = None, client_order_id: object = None, *, conditional: bool = False
) -> dict[str, str]:
    """Answer the fields that name one order, in DELETE and GET of order, or (conditional) of algoOrder."""
    if order_id is None and client_order_id is None:
        raise Refused("INVALID_ORDER", "order_id or client_order_id is needed, both are None")
    request = {"symbol": venue_symbol(symbol)}
    if order_id is None:
        request["clientAlgoId" if conditional else "origClientOrderId"] = to_client_id(client_order_id)
        return request
    text = str(order_id)
    if not (text.isascii() and text.isdigit() and len(text) <= 19):
        raise ExecutionError("ORDER_NOT_FOUND", f"no id of Binance's: order_id {text!r:.60}", outcome="rejected")
    request["algoId" if conditional else "orderId"] = text
    return request


def venue_symbol(symbol: str) -> str:
    """Answer Binance's name of a unified symbol; spot and perpetual share it."""
    base, quote, _ = symbols.split(symbol)
    return f"{base}{quote}"


def _conditional(
    kind: str,
    rules: Rules,
    side: str,
    amount: Any,
    stop_price: Any,
    price: Any,
    client_order_id: str | None,
    reduce_only: bool,
    hedged: bool,
) -> dict[str, str]:
    market = "swap" if symbols.is_swap(rules.symbol) else "spot"
    request = _basis(rules, side, client_order_id, reduce_only, hedged)
    stop = round_price(positive(stop_price, "stop_price"), side, rules, "stop_price")
    limit = None if price is None else round_price(positive(price, "price"), side, rules)
    size = round_amount(positive(amount, "amount"), rules, None if reduce_only else limit or stop)
    request |= {"type": _CONDITIONAL[market, kind, limit is not None], "quantity": _text(size)}
    if limit is not None:
        request["price"] = _text(limit)
    if market == "spot":
        request["stopPrice"] = _text(stop)
        if limit is not None:
            request["timeInForce"] = "GTC"
        return request
    request |= {"algoType": "CONDITIONAL", "triggerPrice": _text(stop)}
    if "newClientOrderId" in request:
        # futures_create_order drops newClientOrderId here and makes one up.
        request["clientAlgoId"] = request.pop("newClientOrderId")
    return request


def _basis(rules: Rules, side: object, client_order_id: object, reduce_only: object, hedged: bool) -> dict[str, str]:
    check_side(rules, side, reduce_only)
    swap = symbols.is_swap(rules.symbol)
    request = {
        "symbol": venue_symbol(rules.symbol),
        "side": "BUY" if side == "buy" else "SELL",
        "newOrderRespType": "RESULT" if swap else "FULL",
    }
    if client_order_id is not None:
        request["newClientOrderId"] = to_client_id(client_order_id)
    if swap and hedged:
        # reduceOnly is refused here: an order on the side of a position can only open or only close it.
        request["positionSide"] = "LONG" if (side == "buy") is not reduce_only else "SHORT"
    elif reduce_only:
        request["reduceOnly"] = "true"
    return request


def _text(number: Decimal) -> str:
    return format(number.normalize(), "f")


# Answers


def parse_order(raw: Mapping[str, Any], symbol: str, fills: Sequence[Fill] = ()) -> Order:
    """Answer an order of spot, of futures, or of the algo service as a public dict."""
    if "algoId" in raw:
        return _parse_algo(raw, symbol)
    found = list(fills) or [_instant_fill(raw, each, symbol) for each in raw.get("fills", ())]
    amount, filled = Decimal(raw["origQty"]), Decimal(raw["executedQty"])
    cost = Decimal(raw.get("cummulativeQuoteQty", raw.get("cumQuote", "0")))
    average = Decimal(raw.get("avgPrice") or 0) or (cost / filled if filled else Decimal(0))
    kind = raw.get("origType") or raw["type"]
    made = raw.get("time") or raw.get("transactTime") or raw.get("updateTime") or 0
    fee, fee_currency = total_fee(found)
    data: Order = {
        "order_id": str(raw["orderId"]),
        "client_order_id": from_client_id(raw.get("origClientOrderId") or raw.get("clientOrderId") or ""),
        "symbol": symbol,
        "side": _SIDES[raw["side"]],
        "type": TYPES[kind],
        "amount": float(amount),
        "price": _number(raw.get("price")),
        "stop_price": _number(raw.get("stopPrice")),
        "status": STATUSES[raw["status"]],
        "filled": float(filled),
        "remaining": float(amount - filled),
        "average_price": float(average) if filled and average else None,
        "fee": fee,
        "fee_currency": fee_currency,
        "time_in_force": TIMES[raw["timeInForce"]],
        "post_only": kind == "LIMIT_MAKER" or raw["timeInForce"] == "GTX",
        "reduce_only": _reduces(raw.get("reduceOnly"), raw.get("positionSide"), raw["side"]),
        "timestamp": int(made) / 1000,
        "updated": int(raw.get("updateTime") or raw.get("transactTime") or made) / 1000,
    }
    if found:
        data["fills"] = found
    return data


def _parse_algo(raw: Mapping[str, Any], symbol: str) -> Order:
    """Answer a conditional order of futures; FINISHED says only that the order it produced has ended."""
    amount, filled = Decimal(raw["quantity"]), Decimal(raw.get("actualQty") or 0)
    finished = raw["algoStatus"] == "FINISHED"
    return {
        "order_id": str(raw["algoId"]),
        "client_order_id": from_client_id(raw["clientAlgoId"]),
        "symbol": symbol,
        "side": _SIDES[raw["side"]],
        "type": TYPES[raw.get("orderType") or raw["type"]],
        "amount": float(amount),
        "price": _number(raw.get("price")),
        "stop_price": _number(raw.get("triggerPrice")),
        "status": _finished(amount, filled) if finished else ALGO_STATUSES[raw["algoStatus"]],
        "filled": float(filled),
        "remaining": float(amount - filled),
        "average_price": _number(raw.get("actualPrice")) if filled else None,
        "fee": 0.0,
        "fee_currency": "",
        "time_in_force": TIMES[raw.get("timeInForce") or "GTC"],
        "post_only": raw.get("timeInForce") == "GTX",
        "reduce_only": _reduces(raw.get("reduceOnly"), raw.get("positionSide"), raw["side"]),
        "timestamp": int(raw.get("createTime") or 0) / 1000,
        "updated": int(raw.get("updateTime") or raw.get("createTime") or 0) / 1000,
    }


def _finished(amount: Decimal, filled: Decimal) -> OrderStatus:
    return "filled" if filled >= amount else "cancelled" if filled else "unknown"


def join_child(parent: Order, child: Order) -> Order:
    """Answer a conditional order with what became of the order that it produced."""
    data: Order = {**parent}
    for key in ("status", "filled", "remaining", "average_price", "fee", "fee_currency", "updated"):
        data[key] = child[key]
    if "fills" in child:
        data["fills"] = [{**fill, "order_id": parent["order_id"]} for fill in child["fills"]]
    return data


def _instant_fill(raw: Mapping[str, Any], fill: Mapping[str, Any], symbol: str) -> Fill:
    """Answer a fill that spot tells with the order itself: it took what was there."""
    whole = {
        "id": fill["tradeId"], "orderId": raw["orderId"], "isBuyer": raw["side"] == "BUY", "isMaker": False,
        "time": raw["transactTime"],
    }  # fmt: skip
    return parse_fill({**fill, **whole}, symbol, from_client_id(raw.get("clientOrderId") or ""))


def total_fee(fills: Iterable[Fill]) -> tuple[float, str]:
    """Answer the sum of fees; where they were taken in several currencies, of those in the last one."""
    found = list(fills)
    if not found:
        return 0.0, ""
    currency = found[-1]["fee_currency"]
    return float(sum(Decimal(str(f["fee"])) for f in found if f["fee_currency"] == currency)), currency


def parse_fill(raw: Mapping[str, Any], symbol: str, client_order_id: str = "") -> Fill:
    """Answer an execution as a public dict. Binance does not tell the client order id with it."""
    buys = raw["side"] == "BUY" if "side" in raw else raw["isBuyer"]
    data: Fill = {
        "trade_id": str(raw["id"]),
        "order_id": str(raw["orderId"]),
        "client_order_id": client_order_id,
        "symbol": symbol,
        "side": "buy" if buys else "sell",
        "amount": float(raw["qty"]),
        "price": float(raw["price"]),
        "fee": float(raw["commission"]),
        "fee_currency": str(raw["commissionAsset"] or ""),
        "maker": bool(raw["isMaker"] if "isMaker" in raw else raw["maker"]),
        "timestamp": int(raw["time"]) / 1000,
    }
    if "realizedPnl" in raw:
        data["realized_pnl"] = float(raw["realizedPnl"])
    return data


def parse_position(raw: Mapping[str, Any], symbol: str, config: Mapping[str, Any] | None = None) -> Position:
    """Answer a position of futures; `config` is its symbolConfig, since positionRisk v3 tells no leverage."""
    settings = {**raw, **(config or {})}
    size, mark = Decimal(raw["positionAmt"]), Decimal(raw.get("markPrice") or 0)
    value = abs(size) * mark
    leverage = Decimal(settings.get("leverage") or 0) or Decimal(1)
    margin = Decimal(raw.get("positionInitialMargin") or raw.get("initialMargin") or 0) or value / leverage
    return {
        "symbol": symbol,
        "side": "none" if not size else "long" if size > 0 else "short",
        "size": float(abs(size)),
        "entry_price": _number(raw["entryPrice"]),
        "mark_price": float(mark) or None,
        "liquidation_price": _number(raw.get("liquidationPrice")),
        "notional": float(value),
        "unrealized_pnl": float(raw.get("unRealizedProfit") or raw.get("unrealizedProfit") or 0),
        "realized_pnl": 0.0,
        "leverage": float(leverage),
        "margin": float(margin),
        "margin_mode": str(settings.get("marginType") or "cross").lower().replace("crossed", "cross"),
    }


def parse_holding(symbol: str, amount: Decimal, price: Decimal | None) -> Position:
    """Answer a spot holding as a long position; what it was bought for is not told."""
    value = float(amount * price) if price is not None else 0.0
    return {
        "symbol": symbol,
        "side": "long",
        "size": float(amount),
        "entry_price": None,
        "mark_price": None if price is None else float(price),
        "liquidation_price": None,
        "notional": value,
        "unrealized_pnl": 0.0,
        "realized_pnl": 0.0,
        "leverage": 1.0,
        "margin": value,
        "margin_mode": "spot",
    }


def parse_balances(raw: Mapping[str, Any]) -> dict[str, tuple[Decimal, Decimal]]:
    """Answer (free, total) of every asset that the wallet of an account (spot or futures) holds."""
    if "balances" in raw:
        spot = {e["asset"]: (Decimal(e["free"]), Decimal(e["free"]) + Decimal(e["locked"])) for e in raw["balances"]}
        return {asset: pair for asset, pair in spot.items() if pair[1]}
    found = {}
    for each in raw["assets"]:
        total = Decimal(each["walletBalance"])
        if total:
            found[each["asset"]] = (max(Decimal(0), min(total, Decimal(each["availableBalance"]))), total)
    return found


def parse_account(
    spot: Mapping[str, Any] | None,
    futures: Mapping[str, Any] | None,
    prices: Mapping[str, Decimal],
    now: float,
    hedged: bool = False,
) -> AccountInfo:
    """Answer both wallets as one account in USDT. `margin_ratio` is the futures wallet's: the other one is no margin.

    `free` of a balance is what spot orders may use; what lies in the futures wallet counts as locked.

    Args:
        prices: USDT for one of an asset held on spot; one without a price does not count.
    """
    spot_wallet = parse_balances(spot) if spot else {}
    wallet = parse_balances(futures) if futures else {}
    margin = {key: Decimal(str(value)) for key, value in (futures or {}).items() if key in _MARGIN_KEYS}
    equity = margin.get("totalMarginBalance", Decimal(0))
    maintenance = margin.get("totalMaintMargin", Decimal(0))
    held = sum((total * _price_of(asset, prices) for asset, (_, total) in spot_wallet.items()), Decimal(0))
    balances: dict[str, Balance] = {}
    for asset in sorted({*spot_wallet, *wallet}):
        free = (wallet if spot is None else spot_wallet).get(asset, (Decimal(0),))[0]
        total = sum((w[asset][1] for w in (spot_wallet, wallet) if asset in w), Decimal(0))
        balances[asset] = {"free": float(free), "locked": float(total - free), "total": float(total)}
    return {
        "total_equity": float(equity + held),
        "available": float(margin.get("availableBalance", spot_wallet.get("USDT", (Decimal(0), 0))[0])),
        "used_margin": float(margin.get("totalInitialMargin", 0)),
        "maintenance_margin": float(maintenance),
        "margin_ratio": float(maintenance / equity if equity > maintenance else 1 if maintenance else 0),
        "unrealized_pnl": float(margin.get("totalUnrealizedProfit", 0)),
        "currency": "USDT",
        "position_mode": "hedge" if hedged else "net",
        "balances": balances,
        "timestamp": now,
    }


_MARGIN_KEYS = frozenset(
    ("totalMarginBalance", "totalMaintMargin", "availableBalance", "totalInitialMargin", "totalUnrealizedProfit")
)


def _price_of(asset: str, prices: Mapping[str, Decimal]) -> Decimal:
    return Decimal(1) if asset == "USDT" else prices.get(asset, Decimal(0))


def parse_instrument(raw: Mapping[str, Any]) -> Instrument:
    """Answer trading rules, one of `symbols` of exchangeInfo. Fees are those of an account without a discount."""
    swap = "contractType" in raw
    filters = {each["filterType"]: each for each in raw["filters"]}
    lot = filters["LOT_SIZE"]
    least = filters.get("NOTIONAL") or filters.get("MIN_NOTIONAL") or {}
    maker, taker = FEES["swap" if swap else "spot"]
    return {
        "symbol": f"{raw['baseAsset']}-{raw['quoteAsset']}{'-SWAP' if swap else ''}",
        "base": raw["baseAsset"],
        "quote": raw["quoteAsset"],
        "market": "swap" if swap else "spot",
        "tick_size": float(filters["PRICE_FILTER"]["tickSize"]),
        "lot_size": float(lot["stepSize"]),
        "min_amount": float(lot["minQty"]),
        "max_amount": float(lot["maxQty"]) or None,
        "min_notional": float(least.get("minNotional") or least.get("notional") or 0),
        "contract_size": 1.0,
        "max_leverage": MOST_LEVERAGE if swap else 1,
        "maker_fee": maker,
        "taker_fee": taker,
        "active": raw["status"] == "TRADING",
    }


def parse_band(raw: Mapping[str, Any], mark: Decimal) -> tuple[Decimal, Decimal] | None:
    """Answer the lowest and the highest limit price of a perpetual at a mark price, a little inside: the mark moves."""
    for each in raw["filters"]:
        if each["filterType"] == "PERCENT_PRICE":
            down, up = Decimal(each["multiplierDown"]) - 1, Decimal(each["multiplierUp"]) - 1
            return mark * (1 + down * _INSIDE), mark * (1 + up * _INSIDE)
    return None


def parse_ticker(raw: Mapping[str, Any], symbol: str) -> Ticker:
    """Answer best prices from ticker/24hr, or from bookTicker, ticker/price and premiumIndex laid into one."""
    bid, ask = _number(raw.get("bidPrice")), _number(raw.get("askPrice"))
    middle = float((Decimal(raw["bidPrice"]) + Decimal(raw["askPrice"])) / 2) if bid and ask else None
    swap = symbols.is_swap(symbol)
    return {
        "symbol": symbol,
        "bid": bid,
        "ask": ask,
        "bid_size": _number(raw.get("bidQty")),
        "ask_size": _number(raw.get("askQty")),
        "last": _number(raw.get("lastPrice") or raw.get("price")),
        "mark": _number(raw.get("markPrice")) if swap else middle,
        "timestamp": int(raw.get("time") or raw.get("closeTime") or 0) / 1000,
    }


def parse_kline(raw: Sequence[Any], now: float) -> Kline:
    """Answer a candle; `now` is the venue's time."""
    return {
        "timestamp": int(raw[0]) / 1000,
        "open": float(raw[1]),
        "high": float(raw[2]),
        "low": float(raw[3]),
        "close": float(raw[4]),
        "volume": float(raw[5]),
        "closed": int(raw[6]) < now * 1000,
    }


def parse_order_update(message: Mapping[str, Any], symbol: str) -> Order:
    """Answer the order of a message of the private stream: executionReport, ORDER_TRADE_UPDATE or ALGO_UPDATE."""
    event = message.get("data") or message.get("event") or message
    return _UPDATES[event["e"]](event, symbol)


def update_symbol(message: Mapping[str, Any]) -> str:
    """Answer Binance's name of the symbol that a message of the private stream is about."""
    event = message.get("data") or message.get("event") or message
    return str(event["s"] if "s" in event else event["o"]["s"])


def _spot_update(raw: Mapping[str, Any], symbol: str) -> Order:
    asked = {
        "orderId": raw["i"], "origClientOrderId": raw.get("C") or raw["c"], "side": raw["S"], "type": raw["o"],
        "timeInForce": raw["f"], "origQty": raw["q"], "price": raw["p"], "stopPrice": raw["P"], "status": raw["X"],
        "executedQty": raw["z"], "cummulativeQuoteQty": raw["Z"], "time": raw.get("O") or raw["T"],
        "updateTime": raw["T"],
    }  # fmt: skip
    return _with_execution(asked, raw, symbol)


def _futures_update(event: Mapping[str, Any], symbol: str) -> Order:
    raw = event["o"]
    asked = {
        "orderId": raw["i"], "clientOrderId": raw["c"], "side": raw["S"], "type": raw["o"], "origType": raw.get("ot"),
        "timeInForce": raw["f"], "origQty": raw["q"], "price": raw["p"], "stopPrice": raw["sp"], "status": raw["X"],
        "executedQty": raw["z"], "avgPrice": raw["ap"], "reduceOnly": raw["R"], "positionSide": raw["ps"],
        "time": raw["T"], "updateTime": raw["T"],
    }  # fmt: skip
    return _with_execution(asked, raw, symbol)


def _with_execution(asked: Mapping[str, Any], raw: Mapping[str, Any], symbol: str) -> Order:
    """Answer an order of the stream with the one execution that the message tells of."""
    if raw["x"] not in ("TRADE", "CALCULATED") or not Decimal(raw["l"]):
        return parse_order(asked, symbol)
    client_id = from_client_id(asked.get("origClientOrderId") or asked.get("clientOrderId") or "")
    fill = parse_fill(
        {
            "id": raw["t"], "orderId": raw["i"], "side": raw["S"], "qty": raw["l"], "price": raw["L"],
            "commission": raw.get("n") or 0, "commissionAsset": raw.get("N"), "maker": raw["m"], "time": raw["T"],
        },
        symbol,
        client_id,
    )  # fmt: skip
    return parse_order(asked, symbol, [fill])


def _algo_update(event: Mapping[str, Any], symbol: str) -> Order:
    raw = event["o"]
    told = {
        "algoId": raw["aid"], "clientAlgoId": raw["caid"], "orderType": raw["o"], "side": raw["S"],
        "positionSide": raw["ps"], "timeInForce": raw["f"], "quantity": raw["q"], "algoStatus": raw["X"],
        "actualPrice": raw["ap"], "actualQty": raw["aq"], "triggerPrice": raw["tp"], "price": raw["p"],
        "reduceOnly": raw["R"], "createTime": event["T"], "updateTime": event["T"],
    }  # fmt: skip
    return _parse_algo(told, symbol)


_UPDATES = {"executionReport": _spot_update, "ORDER_TRADE_UPDATE": _futures_update, "ALGO_UPDATE": _algo_update}


def parse_error(status: int, body: Any, retry_after: float | None = None) -> ExecutionError:
    """Answer the error of a refusal: HTTP status, body (bytes, text or JSON), and the Retry-After of the answer.

    Unknown is whatever is not documented to have been refused: every 5xx, the codes for "status unknown".
    """
    found = _as_dict(body)
    code, words = _code_of(found), str(found.get("msg") or "no reason given")[:300]
    if status in (418, 429):
        return ExecutionError("RATE_LIMITED", words, outcome=_N, exchange_code=str(code), retry_after=retry_after)
    if not code:
        error: tuple[ErrorCode, Outcome] = ("VENUE_DOWN", _U) if status >= 500 else ("BAD_RESPONSE", _U)
        return ExecutionError(error[0], f"{status} without a reason", outcome=_U, exchange_code=str(status))
    kind, outcome = ERRORS.get(code, ("VENUE_REJECTED", _R))
    for part, other, result in _WORDS.get(code, ()):
        if part in words.lower():
            kind, outcome = other, result
            break
    if status >= 500 and code != -1008:
        kind, outcome = ("TIMEOUT" if kind == "TIMEOUT" else "VENUE_DOWN"), _U
    return ExecutionError(kind, words, outcome=outcome, exchange_code=str(code), retry_after=retry_after)


def _as_dict(body: Any) -> Mapping[str, Any]:
    if isinstance(body, (bytes, str)):
        try:
            body = json.loads(body)
        except (ValueError, RecursionError):
            return {}
    return body if isinstance(body, Mapping) else {}


def _code_of(found: Mapping[str, Any]) -> int:
    text = str(found.get("code", ""))
    return int(text) if re.fullmatch(r"-?\d{1,6}", text) else 0


def _reduces(flag: object, position_side: object, side: str) -> bool:
    """Tell whether an order only takes from a position: said so, or by the side of a hedged one."""
    return flag in (True, "true") or (position_side, side) in (("LONG", "SELL"), ("SHORT", "BUY"))


def _number(value: Any) -> float | None:
    return float(value) or None if value not in (None, "") else None
