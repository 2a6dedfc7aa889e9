"""A local Binance: spot (api/v3) and USD-M futures (fapi) in Binance's own words, on the paper matching engine.

    venue = serve()                     venue.url stands for both base URLs
    venue.open("key", "secret", hedge=True)

Like Binance it keeps two wallets for each key, signs over the raw bytes it receives, refuses fields it does not know,
remembers a client order id as long as its order lives, and keeps conditional orders of futures apart: their ids are
algo ids, and what one produces when it triggers is an order with an id and a client id of Binance's own.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

from Execution.matching import model
from tests.venues.house import House, specs
from tests.venues.server import Request, Response, VenueServer

FIRST_ORDER, FIRST_ALGO = 4_000_000_000, 3_000_000_000_000_000
STATUSES = {"open": "NEW", "partially_filled": "PARTIALLY_FILLED", "filled": "FILLED", "pending": "PENDING_NEW"}
SPOT_TYPES = {
    "LIMIT": "limit", "LIMIT_MAKER": "limit", "MARKET": "market", "STOP_LOSS": "stop", "STOP_LOSS_LIMIT": "stop",
    "TAKE_PROFIT": "take_profit", "TAKE_PROFIT_LIMIT": "take_profit",
}  # fmt: skip
ALGO_TYPES = {
    "STOP": "stop", "STOP_MARKET": "stop", "TAKE_PROFIT": "take_profit", "TAKE_PROFIT_MARKET": "take_profit",
}  # fmt: skip
INTERVALS = {
    "1s": 1, "1m": 60, "3m": 180, "5m": 300, "15m": 900, "30m": 1800, "1h": 3600, "2h": 7200, "4h": 14400, "6h": 21600,
    "8h": 28800, "12h": 43200, "1d": 86400, "3d": 259200, "1w": 604800, "1M": 2592000,
}  # fmt: skip
SIGNED = frozenset(("timestamp", "recvWindow", "signature"))
NUMBER = re.compile(r"\d{1,20}(\.\d{1,20})?")
CLIENT_ID = {"spot": re.compile(r"[a-zA-Z0-9_-]{1,36}"), "swap": re.compile(r"[.A-Z:/a-z0-9_-]{1,36}")}
FILTERS = {
    "tick": "PRICE_FILTER", "price": "PRICE_FILTER", "lot": "LOT_SIZE", "min_amount": "LOT_SIZE",
    "max_amount": "LOT_SIZE", "min_notional": "NOTIONAL",
}  # fmt: skip


class Refusal(Exception):
    """What Binance answers instead."""

    def __init__(self, code: int, words: str, status: int = 400) -> None:
        super().__init__(words)
        self.code, self.words, self.status = code, words, status


# The engine's word of why -> futures' code and words; what is not here is a margin or an unknown refusal.
FUTURES_REFUSALS = {
    "tick": (-4014, "Price not increased by tick size."),
    "lot": (-1111, "Precision is over the maximum defined for this asset."),
    "min_amount": (-4003, "Quantity less than or equal to zero."),
    "max_amount": (-4005, "Quantity greater than max quantity."),
    "min_notional": (-4164, "Order's notional must be no smaller than 5 (unless you choose reduce only)."),
    "would_trigger": (-2021, "Order would immediately trigger."),
    "post_only": (-5022, "The order could not be executed as maker, the Post Only order will be rejected."),
    "reduce_only": (-2022, "ReduceOnly Order is rejected."),
    "insufficient_funds": (-2019, "Margin is insufficient."),
    "duplicate_client_order_id": (-4116, "ClientOrderId is duplicated."),
}
SPOT_REFUSALS = {
    "would_trigger": (-2010, "Order would trigger immediately."),
    "post_only": (-2010, "Order would immediately match and take."),
    "insufficient_funds": (-2010, "Account has insufficient balance for requested action."),
    "duplicate_client_order_id": (-2010, "Duplicate order sent."),
}


@dataclass
class Owner:
    """Whoever a key belongs to: two wallets, and what is set for futures."""

    name: str
    secret: str
    hedge: bool = False
    leverage: dict[str, int] = field(default_factory=dict)
    isolated: set[str] = field(default_factory=set)
    countdowns: dict[str, int] = field(default_factory=dict)

    def wallet(self, market: str) -> str:
        return f"{self.name}|{market}"


class Call(NamedTuple):
    """One request that may be carried out."""

    owner: Owner
    market: str
    given: Mapping[str, str]


class Binance:
    """The venue behind one server."""

    def __init__(self, port: int = 0) -> None:
        self.house = House(specs())
        self.owners: dict[str, Owner] = {}
        self.skew = 0.0
        self.refuse_cancel: set[str] = set()  # order ids that a cancel is refused of
        self.server = VenueServer(self.answer, port)

    @property
    def url(self) -> str:
        return self.server.url

    def stop(self) -> None:
        self.server.stop()

    def open(
        self, key: str, secret: str, spot: Mapping[str, Any], futures: Mapping[str, Any], hedge: bool = False
    ) -> None:
        """Open an account with money in both wallets."""
        owner = self.owners[key] = Owner(key, secret, hedge)
        self.house.open(owner.wallet("spot"), spot)
        self.house.open(owner.wallet("swap"), futures, "hedge" if hedge else "net")

    def now_ms(self) -> int:
        return int((time.time() + self.skew) * 1000)

    def answer(self, request: Request) -> Response:
        """Answer one request."""
        market = "spot" if request.path.startswith("/api/") else "swap"
        try:
            signed, allowed, carry_out = _route(request)
            call = self._call(request, market, signed, frozenset(allowed.split()))
            return _reply(200, carry_out(self, call))
        except Refusal as refusal:
            return _reply(refusal.status, {"code": refusal.code, "msg": refusal.words})
        except model.Rejected as rejected:
            code, words = _words(rejected, market)
            return _reply(400, {"code": code, "msg": words})

    def _call(self, request: Request, market: str, signed: bool, allowed: frozenset[str]) -> Call:
        body = request.body.decode("ascii")
        raw = "&".join(filter(None, (request.query, body)))
        pairs = parse_qsl(raw, keep_blank_values=True)
        given = dict(pairs)
        if len(given) != len(pairs):
            raise Refusal(-1101, "Duplicate values for a parameter detected.")
        unread = given.keys() - allowed - (SIGNED if signed else set())
        if unread:
            raise Refusal(-1104, f"Not all sent parameters were read; unread: {sorted(unread)}.")
        symbol = given.get("symbol")
        if symbol is not None and not re.fullmatch(r"[A-Z0-9-_.]{1,20}", symbol):
            raise Refusal(
                -1100, "Illegal characters found in parameter 'symbol'; legal range is '^[A-Z0-9-_.]{1,20}$'."
            )
        owner = self._owner(request, raw, given) if signed else Owner("", "")
        if symbol is not None and _unified(symbol, market) not in self.house.specs:
            raise Refusal(-1121, "Invalid symbol.")
        return Call(owner, market, given)

    def _owner(self, request: Request, raw: str, given: Mapping[str, str]) -> Owner:
        key = request.headers.get("x-mbx-apikey", "")
        owner = self.owners.get(key)
        if owner is None:
            raise Refusal(-2015, "Invalid API-key, IP, or permissions for action.", 401)
        payload, mark, signature = raw.rpartition("&signature=")
        right = hmac.new(owner.secret.encode(), payload.encode(), hashlib.sha256).hexdigest()
        if not mark or not hmac.compare_digest(right, signature):
            raise Refusal(-1022, "Signature for this request is not valid.")
        stamp, window, now = int(given["timestamp"]), int(given.get("recvWindow", "5000")), self.now_ms()
        if stamp > now + 1000:
            raise Refusal(-1021, f"Timestamp for this request was {stamp - now}ms ahead of the server's time.")
        if now - stamp > window:
            raise Refusal(-1021, "Timestamp for this request is outside of the recvWindow.")
        return owner

    # Orders

    def place(self, call: Call) -> Any:
        given, spot = call.given, call.market == "spot"
        if not spot and given.get("type") in ALGO_TYPES:
            raise Refusal(-4120, "Order type not supported for this endpoint. Please use the Algo Order API endpoints.")
        kinds = SPOT_TYPES if spot else {"LIMIT": "limit", "MARKET": "market"}
        kind = self._choice(given, "type", kinds)
        limit = given["type"] in ("LIMIT", "LIMIT_MAKER", "STOP_LOSS_LIMIT", "TAKE_PROFIT_LIMIT")
        timed = limit and given["type"] != "LIMIT_MAKER"
        self._need(
            given, "symbol", "side", "quantity", *(["price"] if limit else []), *(["timeInForce"] if timed else [])
        )
        if not limit and "price" in given:
            raise Refusal(-1106, "Parameter 'price' sent when not required.")
        if not spot and limit:
            self._check_band(call)
        order = self._enter(call, kind, "stopPrice", "newClientOrderId", timed, post=given["type"] == "LIMIT_MAKER")
        return self._spot_placed(call, order) if spot else self._futures_order(order)

    def _check_band(self, call: Call) -> None:
        price, mark = _number(call.given, "price"), self._prices(call)[2]
        if call.given["side"] == "BUY" and price > mark * Decimal("1.05"):
            raise Refusal(-4016, f"Limit price can't be higher than {mark * Decimal('1.05')}.")
        if call.given["side"] == "SELL" and price < mark * Decimal("0.95"):
            raise Refusal(-4024, f"Limit price can't be lower than {mark * Decimal('0.95')}.")

    def place_algo(self, call: Call) -> Any:
        given = call.given
        if given.get("algoType") != "CONDITIONAL":
            raise Refusal(-1102, "Mandatory parameter 'algoType' was not sent, was empty/null, or malformed.")
        kind = self._choice(given, "type", ALGO_TYPES)
        limit = given["type"] in ("STOP", "TAKE_PROFIT")
        self._need(given, "symbol", "side", "quantity", "triggerPrice", *(["price"] if limit else []))
        return self._algo(self._enter(call, kind, "triggerPrice", "clientAlgoId", timed=False, post=False))

    def _enter(self, call: Call, kind: str, stop_name: str, id_name: str, timed: bool, post: bool) -> model.Order:
        given, market = call.given, call.market
        side = self._choice(given, "side", {"BUY": "buy", "SELL": "sell"})
        times = {"GTC": "GTC", "IOC": "IOC", "FOK": "FOK"} | ({} if market == "spot" else {"GTX": "GTC"})
        force = self._choice(given, "timeInForce", times) if timed else "GTC"
        client_id = given.get(id_name, "")
        if id_name in given and not CLIENT_ID[market].fullmatch(client_id):
            raise Refusal(-1100, f"Illegal characters found in parameter '{id_name}'.")
        request = model.Request(
            _unified(given["symbol"], market), side, kind, _number(given, "quantity"),  # type: ignore[arg-type]
            _number(given, "price") if "price" in given else None,
            _number(given, stop_name) if stop_name in given else None,
            client_id or f"web_{time.time_ns():x}", force, post or given.get("timeInForce") == "GTX",  # type: ignore[arg-type]
            given.get("reduceOnly") == "true", self._position_side(call),  # type: ignore[arg-type]
        )  # fmt: skip
        return self.house.place(call.owner.wallet(market), request)

    @staticmethod
    def _position_side(call: Call) -> str:
        side = call.given.get("positionSide", "BOTH")
        if call.market == "spot":
            return ""
        if (side in ("LONG", "SHORT")) is not call.owner.hedge:
            raise Refusal(-4061, "Order's position side does not match user's setting.")
        if call.owner.hedge and "reduceOnly" in call.given:
            raise Refusal(-1106, "Parameter 'reduceonly' sent when not required.")
        return side.lower() if call.owner.hedge else ""

    @staticmethod
    def _need(given: Mapping[str, str], *names: str) -> None:
        for name in names:
            if not given.get(name):
                raise Refusal(-1102, f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed.")

    @staticmethod
    def _choice(given: Mapping[str, str], name: str, known: Mapping[str, str]) -> str:
        if given.get(name) not in known:
            code = {"side": -1117, "type": -1116, "timeInForce": -1115}[name]
            raise Refusal(code, f"Invalid {name}.")
        return known[given[name]]

    def _orders(self, call: Call, *, algo: bool = False) -> list[model.Order]:
        """An account's orders in a symbol or in all, of one of the two services."""
        symbol = call.given.get("symbol")
        return [
            order
            for order in self.house.of(call.owner.wallet(call.market))
            if symbol is None or order.request.symbol == _unified(symbol, call.market)
            if (_is_algo(order) if algo else not _is_algo(order) or order.triggered)
        ]

    def _one(self, call: Call, code: int) -> model.Order:
        given = call.given
        if not ("orderId" in given or "origClientOrderId" in given):
            raise Refusal(-1102, "Param 'origClientOrderId' or 'orderId' must be sent, but both were empty/null!")
        for order in reversed(self._orders(call)):
            if "orderId" in given:
                if given["orderId"] == str(FIRST_ORDER + order.order_id):
                    return order
            elif given["origClientOrderId"] == _client_id(order):
                return order
        raise Refusal(code, "Unknown order sent." if code == -2011 else "Order does not exist.")

    def _one_algo(self, call: Call, code: int) -> model.Order:
        given = call.given
        for order in reversed(self._orders(call, algo=True)):
            if given.get("algoId") == str(FIRST_ALGO + order.order_id):
                return order
            if "algoId" not in given and given.get("clientAlgoId") == order.request.client_order_id:
                return order
        raise Refusal(code, "Unknown order sent." if code == -2011 else "Order does not exist.")

    def status(self, call: Call) -> Any:
        return self._order(call, self._one(call, -2013))

    def algo_status(self, call: Call) -> Any:
        return self._algo(self._one_algo(call, -2013))

    def open_orders(self, call: Call) -> Any:
        return [self._order(call, order) for order in self._orders(call) if order.status in model.LIVE]

    def open_algos(self, call: Call) -> Any:
        waiting = [each for each in self._orders(call, algo=True) if each.status in model.LIVE and not each.triggered]
        return [self._algo(order) for order in waiting]

    def _cancelled(self, call: Call, order: model.Order) -> model.Order:
        if str(FIRST_ORDER + order.order_id) in self.refuse_cancel:
            raise Refusal(-2011, "Order was not canceled due to cancel restrictions.")
        try:
            return self.house.cancel(call.owner.wallet(call.market), order.order_id)
        except model.Rejected:
            raise Refusal(-2011, "Unknown order sent.") from None

    def cancel(self, call: Call) -> Any:
        order = self._cancelled(call, self._one(call, -2011))
        if call.market == "swap":
            told = self._futures_order(order)
            del told["avgPrice"]
            return told
        return self._spot_cancelled(order)

    def _spot_cancelled(self, order: model.Order) -> Any:
        told = self._spot_order(order)
        for name in ("time", "updateTime", "isWorking"):
            del told[name]
        return {
            **told, "origClientOrderId": told["clientOrderId"], "clientOrderId": f"c{time.time_ns():x}",
            "transactTime": self.now_ms(),
        }  # fmt: skip

    def cancel_algo(self, call: Call) -> Any:
        order = self._one_algo(call, -2011)
        if order.triggered:
            raise Refusal(-2011, "Unknown order sent.")
        self._cancelled(call, order)
        return {
            "algoId": FIRST_ALGO + order.order_id, "clientAlgoId": order.request.client_order_id, "code": "200",
            "msg": "success",
        }  # fmt: skip

    def cancel_spot_all(self, call: Call) -> Any:
        live = [order for order in self._orders(call) if order.status in model.LIVE]
        if not live:
            raise Refusal(-2011, "Unknown order sent.")
        return [self._spot_cancelled(self._cancelled(call, order)) for order in live]

    def cancel_algos(self, call: Call) -> Any:
        for order in self._orders(call, algo=True):
            if order.status in model.LIVE and not order.triggered:
                self._cancelled(call, order)
        return {"code": 200, "msg": "The operation of cancel all open order is done."}

    def cancel_some(self, call: Call) -> Any:
        ids = json.loads(call.given.get("orderidlist") or call.given["orderIdList"])
        if not 1 <= len(ids) <= 10:
            raise Refusal(-4082, "Invalid number of batch place orders")
        told = []
        for each in ids:
            try:
                one = Call(call.owner, call.market, {"symbol": call.given["symbol"], "orderId": str(each)})
                told.append(self.cancel(one))
            except Refusal as refusal:
                told.append({"code": refusal.code, "msg": refusal.words})
        return told

    # How orders and fills are told

    def _order(self, call: Call, order: model.Order) -> dict[str, Any]:
        return self._spot_order(order) if call.market == "spot" else self._futures_order(order)

    def _spot_order(self, order: model.Order) -> dict[str, Any]:
        request = order.request
        names = {kind: name for name, kind in SPOT_TYPES.items() if name not in ("LIMIT_MAKER", "LIMIT")}
        kind = "LIMIT_MAKER" if request.post_only else "LIMIT"
        if request.kind in ("stop", "take_profit"):
            base = "STOP_LOSS" if request.kind == "stop" else "TAKE_PROFIT"
            kind = base if request.price is None else f"{base}_LIMIT"
        elif request.kind == "market":
            kind = names["market"]
        return {
            "symbol": _listed(request.symbol), "orderId": FIRST_ORDER + order.order_id, "orderListId": -1,
            "clientOrderId": request.client_order_id, "price": _eight(request.price), "origQty": _eight(request.amount),
            "executedQty": _eight(order.filled), "origQuoteOrderQty": _eight(None),
            "cummulativeQuoteQty": _eight(order.cost), "status": _status(order), "timeInForce": request.time_in_force,
            "type": kind, "side": request.side.upper(), "stopPrice": _eight(request.stop_price),
            "time": _ms(order.created), "updateTime": _ms(order.updated), "isWorking": True,
            "selfTradePreventionMode": "NONE",
        }  # fmt: skip

    def _spot_placed(self, call: Call, order: model.Order) -> dict[str, Any]:
        told = self._spot_order(order)
        for name in ("time", "updateTime", "isWorking"):
            del told[name]
        fills = [
            {
                "price": _eight(fill.price), "qty": _eight(fill.amount), "commission": _eight(fill.fee),
                "commissionAsset": fill.fee_currency, "tradeId": fill.trade_id,
            }
            for fill in self.house.fills_of(order.order_id)
        ]  # fmt: skip
        return {**told, "transactTime": _ms(order.created), "fills": fills}

    def _futures_order(self, order: model.Order) -> dict[str, Any]:
        request = order.request
        child = _is_algo(order)
        kind = "LIMIT" if request.price is not None else "MARKET"
        average = order.cost / order.filled if order.filled else Decimal(0)
        return {
            "orderId": FIRST_ORDER + order.order_id, "symbol": _listed(request.symbol), "status": _status(order),
            "clientOrderId": _client_id(order), "price": _plain(request.price), "avgPrice": f"{average:.5f}",
            "origQty": _plain(request.amount), "executedQty": _plain(order.filled), "cumQuote": _plain(order.cost),
            "timeInForce": "GTX" if request.post_only else request.time_in_force, "type": kind,
            "reduceOnly": request.reduce_only, "closePosition": False, "side": request.side.upper(),
            "positionSide": _side(order), "stopPrice": "0", "workingType": "CONTRACT_PRICE", "priceProtect": False,
            "origType": kind, "priceMatch": "NONE", "selfTradePreventionMode": "NONE", "goodTillDate": 0,
            "time": _ms(order.updated if child else order.created), "updateTime": _ms(order.updated),
        }  # fmt: skip

    def _algo(self, order: model.Order) -> dict[str, Any]:
        request = order.request
        live = order.status in model.LIVE
        status = {(True, True): "TRIGGERED", (True, False): "FINISHED", (False, True): "NEW"}
        base = "STOP" if request.kind == "stop" else "TAKE_PROFIT"
        return {
            "algoId": FIRST_ALGO + order.order_id, "clientAlgoId": request.client_order_id, "algoType": "CONDITIONAL",
            "orderType": base if request.price is not None else f"{base}_MARKET", "symbol": _listed(request.symbol),
            "side": request.side.upper(), "positionSide": _side(order), "timeInForce": "GTC",
            "quantity": _plain(request.amount), "algoStatus": status.get((order.triggered, live), "CANCELED"),
            "actualOrderId": str(FIRST_ORDER + order.order_id) if order.triggered else "",
            "actualPrice": _plain(order.cost / order.filled if order.filled else None),
            "triggerPrice": _plain(request.stop_price), "price": _plain(request.price), "icebergQuantity": None,
            "selfTradePreventionMode": "EXPIRE_MAKER", "workingType": "CONTRACT_PRICE", "priceMatch": "NONE",
            "closePosition": False, "priceProtect": False, "reduceOnly": request.reduce_only,
            "createTime": _ms(order.created), "updateTime": _ms(order.updated), "triggerTime": 0, "goodTillDate": 0,
        }  # fmt: skip

    def trades(self, call: Call) -> Any:
        given, spot = call.given, call.market == "spot"
        if "fromId" in given and ("startTime" in given or "endTime" in given):
            raise Refusal(-1128, "Combination of optional parameters invalid.")
        start, end = int(given.get("startTime", 0)), int(given.get("endTime", 1 << 60))
        span = 86_400_000 if spot else 7 * 86_400_000
        if "startTime" in given and "endTime" in given and end - start > span:
            raise Refusal(-4166, "Search window is restricted to recent days only.")
        mine = {order.order_id for order in self.house.of(call.owner.wallet(call.market))}
        found = [
            fill
            for fill in self.house.fills
            if fill.order_id in mine and _listed(fill.symbol) == given["symbol"]
            if start <= _ms(fill.time) <= end
            if fill.trade_id >= int(given.get("fromId", 0))
            if given.get("orderId", str(FIRST_ORDER + fill.order_id)) == str(FIRST_ORDER + fill.order_id)
        ]
        limit = int(given.get("limit", "500"))
        if limit > 1000:
            raise Refusal(-1130, "Data sent for parameter 'limit' is not valid.")
        kept = found[:limit] if "fromId" in given or "startTime" in given else found[-limit:]
        return [self._trade(fill, spot) for fill in kept]

    @staticmethod
    def _trade(fill: model.Fill, spot: bool) -> dict[str, Any]:
        told = {
            "symbol": _listed(fill.symbol), "id": fill.trade_id, "orderId": FIRST_ORDER + fill.order_id,
            "price": _plain(fill.price), "qty": _plain(fill.amount), "quoteQty": _plain(fill.price * fill.amount),
            "commission": _plain(fill.fee), "commissionAsset": fill.fee_currency, "time": _ms(fill.time),
        }  # fmt: skip
        buys = fill.side == "buy"
        if spot:
            return {**told, "orderListId": -1, "isBuyer": buys, "isMaker": fill.maker, "isBestMatch": True}
        more = {"side": fill.side.upper(), "realizedPnl": _plain(fill.realized_pnl), "positionSide": "BOTH"}
        return {**told, **more, "buyer": buys, "maker": fill.maker, "marginAsset": "USDT"}

    # Accounts

    def spot_account(self, call: Call) -> Any:
        found = self.house.engine.summary(call.owner.wallet("spot")).balances
        return {
            "makerCommission": 10, "takerCommission": 10, "canTrade": True, "updateTime": self.now_ms(),
            "accountType": "SPOT",
            "balances": [
                {"asset": asset, "free": _eight(each.free), "locked": _eight(each.locked)}
                for asset, each in found.items()
            ],
        }  # fmt: skip

    def futures_account(self, call: Call) -> Any:
        found = self.house.engine.summary(call.owner.wallet("swap"))
        wallet = found.balances["USDT"].total
        return {
            "multiAssetsMargin": False, "totalInitialMargin": _eight(found.used_margin),
            "totalMaintMargin": _eight(found.maintenance), "totalWalletBalance": _eight(wallet),
            "totalUnrealizedProfit": _eight(found.unrealized_pnl), "totalMarginBalance": _eight(found.equity),
            "availableBalance": _eight(found.available), "updateTime": 0,
            "assets": [
                {
                    "asset": asset, "walletBalance": _eight(total), "marginBalance": _eight(margin),
                    "availableBalance": _eight(free), "initialMargin": _eight(used), "maintMargin": "0",
                }
                for asset, total, margin, free, used in (
                    ("USDT", wallet, found.equity, found.available, found.used_margin), ("BNB", *[None] * 4),
                )
            ],
            "positions": [],
        }  # fmt: skip

    def positions(self, call: Call) -> Any:
        wanted = call.given.get("symbol")
        found = self.house.engine.positions(call.owner.wallet("swap"))
        return [
            {
                "symbol": _listed(view.symbol), "positionSide": {"net": "BOTH"}.get(view.side, view.side.upper()),
                "positionAmt": _plain(-abs(view.size) if view.side == "short" else view.size),
                "entryPrice": _plain(view.entry_price), "markPrice": _eight(view.mark_price),
                "unRealizedProfit": _eight(view.unrealized_pnl), "liquidationPrice": _plain(view.liquidation_price),
                "isolatedMargin": "0", "notional": _eight(view.size * (view.mark_price or view.entry_price)),
                "marginAsset": "USDT", "initialMargin": _eight(view.margin),
                "positionInitialMargin": _eight(view.margin), "openOrderInitialMargin": "0",
                "updateTime": self.now_ms(),
            }
            for view in found
            if wanted in (None, _listed(view.symbol))
        ]  # fmt: skip

    def configs(self, call: Call) -> Any:
        swaps = [_listed(name) for name, spec in self.house.specs.items() if spec.kind == "swap"]
        return [
            {
                "symbol": symbol, "marginType": "ISOLATED" if symbol in call.owner.isolated else "CROSSED",
                "isAutoAddMargin": False, "leverage": call.owner.leverage.get(symbol, 10),
                "maxNotionalValue": "40000000",
            }
            for symbol in swaps
            if call.given.get("symbol") in (None, symbol)
        ]  # fmt: skip

    def brackets(self, _: Call) -> Any:
        one = {
            "bracket": 1, "initialLeverage": 100, "notionalCap": 40000000, "notionalFloor": 0,
            "maintMarginRatio": 0.005, "cum": 0.0,
        }  # fmt: skip
        swaps = [_listed(name) for name, spec in self.house.specs.items() if spec.kind == "swap"]
        return [{"symbol": symbol, "brackets": [one]} for symbol in swaps]

    def set_leverage(self, call: Call) -> Any:
        symbol, leverage = call.given["symbol"], int(call.given["leverage"])
        if not 1 <= leverage <= 100:
            raise Refusal(-4028, f"Leverage {leverage} is not valid")
        self.house.engine.set_leverage(call.owner.wallet("swap"), f"{_unified(symbol, 'swap')}", leverage)
        call.owner.leverage[symbol] = leverage
        return {"symbol": symbol, "leverage": leverage, "maxNotionalValue": "40000000"}

    def countdown(self, call: Call) -> Any:
        symbol, wait = call.given["symbol"], int(call.given["countdownTime"])
        call.owner.countdowns[symbol] = wait
        return {"symbol": symbol, "countdownTime": str(wait)}

    def set_margin(self, call: Call) -> Any:
        symbol, isolated = call.given["symbol"], call.given["marginType"] == "ISOLATED"
        if isolated is (symbol in call.owner.isolated):
            raise Refusal(-4046, "No need to change margin type.")
        if self.positions(call) or self.open_orders(call):
            raise Refusal(-4048, "Margin type cannot be changed if there exists position.")
        call.owner.isolated.symmetric_difference_update({symbol})
        return {"code": 200, "msg": "success"}

    def position_mode(self, call: Call) -> Any:
        return {"dualSidePosition": call.owner.hedge}

    # Market

    def no_margin(self, _: Call) -> Any:
        return []

    def time(self, _: Call) -> Any:
        return {"serverTime": self.now_ms()}

    def info(self, call: Call) -> Any:
        wanted = json.loads(call.given.get("symbols", "[]")) or [call.given.get("symbol")]
        names = {_unified(each, call.market) for each in wanted if each}
        if not names <= self.house.specs.keys():
            raise Refusal(-1121, "Invalid symbol.")
        return {
            "timezone": "UTC", "serverTime": self.now_ms(), "rateLimits": [], "exchangeFilters": [],
            "symbols": [
                _spec(spec)
                for spec in self.house.specs.values()
                if spec.kind == call.market and (wanted == [None] or _listed(spec.symbol) in wanted)
            ],
        }  # fmt: skip

    def _prices(self, call: Call) -> tuple[Decimal, Decimal, Decimal]:
        bid, ask = self.house.marks[_unified(call.given["symbol"], call.market)]
        return bid, ask, (bid + ask) / 2

    def book(self, call: Call) -> Any:
        bid, ask, _ = self._prices(call)
        told = {"symbol": call.given["symbol"], "bidPrice": _eight(bid), "bidQty": "5", "askPrice": _eight(ask)}
        return {**told, "askQty": "7"} | ({} if call.market == "spot" else {"time": self.now_ms()})

    def day(self, call: Call) -> Any:
        bid, ask, last = self._prices(call)
        return {
            "symbol": call.given["symbol"], "lastPrice": _eight(last), "bidPrice": _eight(bid), "bidQty": "5",
            "askPrice": _eight(ask), "askQty": "7", "closeTime": self.now_ms(),
        }  # fmt: skip

    def price(self, call: Call) -> Any:
        if "symbol" in call.given:
            return {"symbol": call.given["symbol"], "price": _plain(self._prices(call)[2]), "time": self.now_ms()}
        return [
            {"symbol": _listed(name), "price": _eight((low + high) / 2)}
            for name, (low, high) in self.house.marks.items()
            if self.house.specs[name].kind == call.market
        ]

    def mark(self, call: Call) -> Any:
        return {
            "symbol": call.given["symbol"], "markPrice": _eight(self._prices(call)[2]), "indexPrice": "0",
            "lastFundingRate": "0.0001", "nextFundingTime": 0, "time": self.now_ms(),
        }  # fmt: skip

    def klines(self, call: Call) -> Any:
        limit, most = int(call.given.get("limit", "500")), 1000 if call.market == "spot" else 1500
        if limit > most:
            raise Refusal(-1130, "Data sent for parameter 'limit' is not valid.")
        if call.given.get("interval") not in INTERVALS:
            raise Refusal(-1120, "Invalid interval.")
        width = INTERVALS[call.given["interval"]] * 1000
        last = self.now_ms() // width * width
        first = -(-int(call.given.get("startTime", last - (limit - 1) * width)) // width) * width
        price = _eight(self._prices(call)[2])
        return [
            [at, price, price, price, price, "1.5", at + width - 1, "0", 3, "0", "0", "0"]
            for at in range(first, min(last, first + (limit - 1) * width) + 1, width)
        ]


def _route(request: Request) -> Route:
    route = ROUTES.get((request.method, request.path))
    if route is None:
        raise Refusal(-5000, "Path or method is invalid", 404)
    return route


def _words(rejected: model.Rejected, market: str) -> tuple[int, str]:
    if market == "swap":
        return FUTURES_REFUSALS.get(rejected.reason, (-2020, f"Unable to fill: {rejected.reason}."))
    if rejected.reason in FILTERS:
        return -1013, f"Filter failure: {FILTERS[rejected.reason]}"
    return SPOT_REFUSALS.get(rejected.reason, (-2010, f"Rejected: {rejected.reason}."))


def _reply(status: int, told: Any) -> Response:
    headers = {"X-MBX-USED-WEIGHT-1M": "1", "Content-Type": "application/json;charset=UTF-8"}
    return Response(status, json.dumps(told).encode(), headers)


def _unified(symbol: str, market: str) -> str:
    return f"{symbol.removesuffix('USDT')}-USDT{'-SWAP' if market == 'swap' else ''}"


def _listed(symbol: str) -> str:
    return symbol.removesuffix("-SWAP").replace("-", "")


def _number(given: Mapping[str, str], name: str) -> Decimal:
    if not NUMBER.fullmatch(given[name]):
        raise Refusal(-1100, f"Illegal characters found in parameter '{name}'.")
    return Decimal(given[name])


def _is_algo(order: model.Order) -> bool:
    return order.request.symbol.endswith("-SWAP") and order.request.kind in ("stop", "take_profit")


def _client_id(order: model.Order) -> str:
    return f"algo{order.order_id}" if _is_algo(order) else order.request.client_order_id


def _side(order: model.Order) -> str:
    return {"net": "BOTH"}.get(order.position_side, order.position_side.upper())


def _status(order: model.Order) -> str:
    if order.status == "cancelled":
        return "EXPIRED" if order.reason else "CANCELED"
    return STATUSES[order.status]


def _ms(seconds: float) -> int:
    return int(seconds * 1000)


def _plain(number: Decimal | None) -> str:
    return "0" if number is None else format(number, "f")


def _eight(number: Decimal | None) -> str:
    return f"{number or Decimal(0):.8f}"


def _spec(spec: model.Spec) -> dict[str, Any]:
    swap = spec.kind == "swap"
    notional: dict[str, Any] = {"filterType": "NOTIONAL", "minNotional": _eight(spec.min_notional)}
    if swap:
        notional = {"filterType": "MIN_NOTIONAL", "notional": _plain(spec.min_notional)}
    told: dict[str, Any] = {
        "symbol": _listed(spec.symbol), "status": "TRADING", "baseAsset": spec.base, "quoteAsset": spec.quote,
        "filters": [
            {"filterType": "PRICE_FILTER", "minPrice": _eight(spec.tick), "maxPrice": "1000000",
             "tickSize": _eight(spec.tick)},
            {"filterType": "LOT_SIZE", "stepSize": _eight(spec.lot), "minQty": _eight(spec.min_amount),
             "maxQty": _eight(spec.max_amount)},
            notional,
        ],
    }  # fmt: skip
    if swap:
        kinds = ["LIMIT", "MARKET", *ALGO_TYPES, "TRAILING_STOP_MARKET"]
        times = ["GTC", "IOC", "FOK", "GTX", "GTD"]
        told |= {"pair": told["symbol"], "contractType": "PERPETUAL", "marginAsset": "USDT", "timeInForce": times}
        told["filters"].append({"filterType": "PERCENT_PRICE", "multiplierUp": "1.0500", "multiplierDown": "0.9500"})
        return {**told, "orderTypes": kinds, "deliveryDate": 4133404800000, "onboardDate": 1569398400000}
    allowed = {"isSpotTradingAllowed": True, "isMarginTradingAllowed": False, "permissionSets": [["SPOT"]]}
    return {**told, **allowed, "orderTypes": list(SPOT_TYPES), "quoteOrderQtyMarketAllowed": True}


Route = tuple[bool, str, Callable[[Binance, Call], Any]]
_ORDER = "symbol side type timeInForce quantity price newClientOrderId newOrderRespType"
_ONE = "symbol orderId origClientOrderId"
_TRADES = "symbol orderId startTime endTime fromId limit"
_KLINES = "symbol interval startTime endTime limit"
ROUTES: dict[tuple[str, str], Route] = {
    ("GET", "/api/v3/time"): (False, "", Binance.time),
    ("GET", "/api/v3/exchangeInfo"): (False, "symbol symbols", Binance.info),
    ("GET", "/api/v3/ticker/24hr"): (False, "symbol", Binance.day),
    ("GET", "/api/v3/ticker/bookTicker"): (False, "symbol", Binance.book),
    ("GET", "/api/v3/ticker/price"): (False, "symbol", Binance.price),
    ("GET", "/api/v3/klines"): (False, _KLINES, Binance.klines),
    ("POST", "/api/v3/order"): (True, f"{_ORDER} stopPrice", Binance.place),
    ("GET", "/api/v3/order"): (True, _ONE, Binance.status),
    ("DELETE", "/api/v3/order"): (True, _ONE, Binance.cancel),
    ("GET", "/api/v3/openOrders"): (True, "symbol", Binance.open_orders),
    ("DELETE", "/api/v3/openOrders"): (True, "symbol", Binance.cancel_spot_all),
    ("GET", "/api/v3/myTrades"): (True, _TRADES, Binance.trades),
    ("GET", "/api/v3/account"): (True, "omitZeroBalances", Binance.spot_account),
    ("GET", "/sapi/v1/margin/allPairs"): (True, "", Binance.no_margin),
    ("GET", "/sapi/v1/margin/isolated/allPairs"): (True, "", Binance.no_margin),
    ("GET", "/fapi/v1/time"): (False, "", Binance.time),
    ("GET", "/fapi/v1/exchangeInfo"): (False, "", Binance.info),
    ("GET", "/fapi/v1/ticker/24hr"): (False, "symbol", Binance.day),
    ("GET", "/fapi/v1/ticker/bookTicker"): (False, "symbol", Binance.book),
    ("GET", "/fapi/v2/ticker/price"): (False, "symbol", Binance.price),
    ("GET", "/fapi/v1/premiumIndex"): (False, "symbol", Binance.mark),
    ("GET", "/fapi/v1/klines"): (False, _KLINES, Binance.klines),
    ("POST", "/fapi/v1/order"): (True, f"{_ORDER} positionSide reduceOnly", Binance.place),
    ("GET", "/fapi/v1/order"): (True, _ONE, Binance.status),
    ("DELETE", "/fapi/v1/order"): (True, _ONE, Binance.cancel),
    ("GET", "/fapi/v1/openOrders"): (True, "symbol", Binance.open_orders),
    ("DELETE", "/fapi/v1/batchOrders"): (True, "symbol orderIdList orderidlist", Binance.cancel_some),
    ("POST", "/fapi/v1/algoOrder"): (
        True,
        "symbol side type algoType timeInForce quantity price triggerPrice clientAlgoId newOrderRespType positionSide "
        "reduceOnly workingType",
        Binance.place_algo,
    ),
    ("GET", "/fapi/v1/algoOrder"): (True, "symbol algoId clientAlgoId", Binance.algo_status),
    ("DELETE", "/fapi/v1/algoOrder"): (True, "symbol algoId clientAlgoId", Binance.cancel_algo),
    ("GET", "/fapi/v1/openAlgoOrders"): (True, "symbol", Binance.open_algos),
    ("DELETE", "/fapi/v1/algoOpenOrders"): (True, "symbol", Binance.cancel_algos),
    ("GET", "/fapi/v1/userTrades"): (True, _TRADES, Binance.trades),
    ("GET", "/fapi/v3/account"): (True, "", Binance.futures_account),
    ("GET", "/fapi/v3/positionRisk"): (True, "symbol", Binance.positions),
    ("GET", "/fapi/v1/leverageBracket"): (True, "symbol", Binance.brackets),
    ("GET", "/fapi/v1/symbolConfig"): (True, "symbol", Binance.configs),
    ("GET", "/fapi/v1/positionSide/dual"): (True, "", Binance.position_mode),
    ("POST", "/fapi/v1/countdownCancelAll"): (True, "symbol countdownTime", Binance.countdown),
    ("POST", "/fapi/v1/leverage"): (True, "symbol leverage", Binance.set_leverage),
    ("POST", "/fapi/v1/marginType"): (True, "symbol marginType", Binance.set_margin),
}


def serve(port: int = 0) -> Binance:
    """Start it with one account, "key" with the secret "secret"."""
    venue = Binance(port)
    venue.open("key", "secret", {"USDT": 100000, "ETH": 2}, {"USDT": 100000})
    return venue
