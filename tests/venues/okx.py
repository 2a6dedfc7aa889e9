"""A local OKX: its v5 REST protocol over the matching engine. Signatures, time stamps and rules are checked as there.

`serve(port)` starts one with an account "key-1"; `Okx.add_account` opens others, in net or hedge mode.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Literal
from urllib.parse import parse_qsl

from msgspec.structs import replace

from Execution.matching import model
from tests.venues.house import House, specs
from tests.venues.server import Request, Response, VenueServer

PLAIN, CONDITIONAL = 2_500_000_000_000_000_000, 710_000_000_000_000_000
WINDOW = 30.0
BARS = {"1s": 1, "1m": 60, "3m": 180, "5m": 300, "15m": 900, "30m": 1800, "1H": 3600, "2H": 7200, "4H": 14400,
        "6Hutc": 21600, "12Hutc": 43200, "1Dutc": 86400, "2Dutc": 172800, "3Dutc": 259200, "1Wutc": 604800,
        "1Mutc": 2678400, "3Mutc": 7948800}  # fmt: skip
SOURCES = {"": "1", "fok": "13", "ioc": "14", "post_only": "31", "self_trade": "32", "cancel_all_after": "20"}
TRIGGERED_AT_ONCE = {("sl", "buy"): "51278", ("sl", "sell"): "51280", ("tp", "buy"): "51277", ("tp", "sell"): "51279"}
ZERO = Decimal(0)


class Refusal(Exception):
    """The venue says no to one request or one item of it."""

    def __init__(self, code: str, words: str, status: int = 200, *, item: bool = False) -> None:
        super().__init__(words)
        self.code, self.words, self.status, self.item = code, words, status, item


@dataclass
class Account:
    """One API key. `level` 2 bears margin in each currency, 3 in all of them together."""

    key: str
    secret: str
    passphrase: str
    mode: Literal["net", "hedge"] = "net"
    level: str = "2"
    ids: dict[str, int] = field(default_factory=dict)
    asked: dict[int, dict[str, str]] = field(default_factory=dict)
    stillborn: list[model.Order] = field(default_factory=list)
    switch: float = 0.0


class Okx:
    """The venue. `clock_ahead` seconds are added to its clock."""

    def __init__(self, port: int = 0) -> None:
        self.house = House([replace(spec, min_notional=ZERO) for spec in specs(contract="0.01")])
        self.accounts: dict[str, Account] = {}
        self.clock_ahead = 0.0
        self.server = VenueServer(self.answer, port)
        self.server.limited = Response(429, b'{"code":"50011","data":[],"msg":"Too Many Requests"}')
        get, post = "GET /api/v5/", "POST /api/v5/"
        self.public: dict[str, Callable[[dict[str, str]], list[Any]]] = {
            f"{get}public/time": lambda _: [{"ts": self.ms()}],
            f"{get}public/instruments": self.instruments,
            f"{get}public/mark-price": self.mark_price,
            f"{get}market/ticker": self.ticker,
            f"{get}market/candles": lambda q: self.candles(q, 300, 1440),
            f"{get}market/history-candles": lambda q: self.candles(q, 100, 10**9),
        }
        self.private: dict[str, Callable[[Account, Any], list[Any]]] = {
            f"{post}trade/order": lambda a, body: [self.place(a, body)],
            f"{post}trade/batch-orders": lambda a, body: self.batch(a, body, self.place, 20),
            f"{post}trade/order-algo": lambda a, body: [self.place_conditional(a, body)],
            f"{post}trade/cancel-order": lambda a, body: [self.cancel(a, body)],
            f"{post}trade/cancel-batch-orders": lambda a, body: self.batch(a, body, self.cancel, 20),
            f"{post}trade/cancel-algos": lambda a, body: self.batch(a, body, self.cancel_conditional, 10),
            f"{post}trade/cancel-all-after": self.cancel_all_after,
            f"{post}account/set-leverage": self.set_leverage,
            f"{get}trade/order": self.order,
            f"{get}trade/order-algo": self.conditional,
            f"{get}trade/orders-pending": self.pending,
            f"{get}trade/orders-algo-pending": lambda a, q: self.conditionals(a, q, ("live",)),
            f"{get}trade/orders-algo-history": lambda a, q: self.conditionals(a, q, (q["state"],)),
            f"{get}trade/fills": self.fills,
            f"{get}trade/fills-history": self.fills,
            f"{get}account/config": self.config,
            f"{get}account/balance": self.balance,
            f"{get}account/positions": self.positions,
        }

    @property
    def url(self) -> str:
        return self.server.url

    def stop(self) -> None:
        self.server.stop()

    def add_account(
        self,
        key: str,
        mode: Literal["net", "hedge"] = "net",
        level: str = "2",
        balances: Mapping[str, Any] | None = None,
    ) -> Account:
        account = self.accounts[key] = Account(key, f"secret-of-{key}", f"phrase-of-{key}", mode, level)
        self.house.open(key, balances or {"USDT": 100000, "ETH": 2}, mode)
        return account

    def move(self, symbol: str, bid: float, ask: float) -> None:
        self.house.move(symbol, bid, ask)

    def now(self) -> float:
        return time.time() + self.clock_ahead

    def ms(self, seconds: float | None = None) -> str:
        return str(int((self.now() if seconds is None else seconds) * 1000))

    # Requests

    def answer(self, request: Request) -> Response:
        name = f"{request.method} {request.path}"
        query = dict(parse_qsl(request.query, keep_blank_values=True))
        try:
            if name in self.public:
                return _json({"code": "0", "data": self.public[name](query), "msg": ""})
            account = self.authorize(request)
            self.fire_switches()
            data = self.private.get(name, _nothing)(
                account, json.loads(request.body) if request.method == "POST" else query
            )
        except Refusal as refusal:
            item = [{"sCode": refusal.code, "sMsg": refusal.words, "ordId": "", "clOrdId": ""}] if refusal.item else []
            code, words = ("1", "All operations failed") if refusal.item else (refusal.code, refusal.words)
            return _json({"code": code, "data": item, "msg": words}, refusal.status)
        failed = sum(isinstance(item, dict) and item.get("sCode", "0") != "0" for item in data)
        code = "0" if not failed else "1" if failed == len(data) else "2"
        return _json({"code": code, "data": data, "msg": "" if code == "0" else "All operations failed"})

    def authorize(self, request: Request) -> Account:
        headers = request.headers
        for header, code in (("key", "50103"), ("passphrase", "50104"), ("sign", "50106"), ("timestamp", "50107")):
            if not headers.get(f"ok-access-{header}"):
                raise Refusal(code, f'Request header "OK-ACCESS-{header.upper()}" can\'t be empty.', 401)
        account = self.accounts.get(headers["ok-access-key"])
        if account is None:
            raise Refusal("50111", "Invalid OK-ACCESS-KEY", 401)
        stamp = headers["ok-access-timestamp"]
        if not re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", stamp):
            raise Refusal("50112", "Invalid OK-ACCESS-TIMESTAMP", 401)
        if abs(datetime.strptime(stamp, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC).timestamp() - self.now()) > WINDOW:
            raise Refusal("50102", "Timestamp request expired", 401)
        signed = stamp.encode() + request.method.encode() + request.target.encode() + request.body
        digest = hmac.new(account.secret.encode(), signed, hashlib.sha256).digest()
        if not hmac.compare_digest(base64.b64encode(digest).decode(), headers["ok-access-sign"]):
            raise Refusal("50113", "Invalid Sign", 401)
        if headers["ok-access-passphrase"] != account.passphrase:
            raise Refusal("50105", 'Request header "OK-ACCESS-PASSPHRASE" incorrect.', 401)
        deadline = headers.get("exptime")
        if deadline is not None and int(deadline) < self.now() * 1000:
            raise Refusal("51149", "Order timed out. Please try again.", 500)
        return account

    # Orders

    def spec(self, symbol: Any) -> model.Spec:
        if symbol not in self.house.specs:
            raise Refusal("51001", "Instrument ID doesn't exist.", item=True)
        return self.house.specs[symbol]

    def request(self, account: Account, body: Mapping[str, str], id_field: str) -> tuple[model.Spec, dict[str, Any]]:
        """Check what every order has and answer it as the engine wants it."""
        spec = self.spec(body.get("instId"))
        swap = spec.kind == "swap"
        spot_mode = "cash" if account.level in ("1", "2") else "cross"
        if body.get("tdMode") not in (("cross", "isolated") if swap else (spot_mode,)):
            raise Refusal("51000", "Parameter tdMode error", item=True)
        if body.get("side") not in ("buy", "sell"):
            raise Refusal("51000", "Parameter side error", item=True)
        if not re.fullmatch(r"[A-Za-z0-9]{0,16}", body.get("tag") or ""):
            raise Refusal("51000", "Parameter tag error", item=True)
        position_side = body.get("posSide") or ""
        hedge = swap and account.mode == "hedge"
        if (position_side not in ("long", "short")) if hedge else position_side not in ("", "net"):
            raise Refusal("51000", "Parameter posSide error ", item=True)
        given = body.get(id_field) or ""
        if given and not re.fullmatch(r"[A-Za-z0-9]{1,32}", given):
            raise Refusal("51000", f"Parameter {id_field} error", item=True)
        if given in account.ids:
            code = "51016" if id_field == "clOrdId" else "51065"
            raise Refusal(code, f"{id_field} already exists.", item=True)
        size = self.size(spec, body)
        opens = "buy" if position_side == "long" else "sell"
        reduces = body.get("reduceOnly") == "true" or (hedge and body["side"] != opens)
        if hedge and reduces and size > self.held(account, spec.symbol, position_side):
            raise Refusal("51112", "Close order size exceeds available size for this position.", item=True)
        return spec, {
            "side": body["side"],
            "amount": size,
            "client_order_id": given,
            "reduce_only": reduces,
            "position_side": position_side if hedge else "",
        }

    def size(self, spec: model.Spec, body: Mapping[str, str]) -> Decimal:
        if not re.fullmatch(r"\d+(\.\d+)?", body.get("sz", "")):
            raise Refusal("51000", "Parameter sz error", item=True)
        size = Decimal(body["sz"])
        market = spec.kind == "spot" and body["ordType"] == "market" and body["side"] == "buy"
        if market and body.get("tgtCcy") != "base_ccy":
            return size / self.house.marks[spec.symbol][1] // spec.lot * spec.lot
        amount = size * spec.contract_size if spec.kind == "swap" else size
        if amount % spec.lot:
            raise Refusal("51121", "Order quantity must be a multiple of the lot size.", item=True)
        if amount < spec.min_amount:
            raise Refusal("51020", "Your order should meet or exceed the minimum order amount.", item=True)
        if amount > spec.max_amount:
            raise Refusal("51005", "Your order amount exceeds the max order amount.", item=True)
        return amount

    def held(self, account: Account, symbol: str, side: str) -> Decimal:
        views = self.house.engine.positions(account.key, symbol)
        return sum((abs(view.size) for view in views if view.side == side), ZERO)

    def price(self, spec: model.Spec, text: str, name: str) -> Decimal:
        if not re.fullmatch(r"\d+(\.\d+)?", text or "") or Decimal(text) <= 0 or Decimal(text) % spec.tick:
            raise Refusal("51000", f"Parameter {name} error", item=True)
        return Decimal(text)

    def place(self, account: Account, body: dict[str, str]) -> dict[str, str]:
        spec, given = self.request(account, body, "clOrdId")
        kind = body["ordType"]
        if kind not in ("limit", "market", "post_only", "ioc", "fok"):
            raise Refusal("51000", "Parameter ordType error", item=True)
        if kind != "market":
            given["price"] = self.price(spec, body.get("px", ""), "px")
        request = model.Request(
            symbol=spec.symbol,
            kind="market" if kind == "market" else "limit",
            time_in_force={"ioc": "IOC", "fok": "FOK"}.get(kind, "GTC"),  # type: ignore[arg-type]
            post_only=kind == "post_only",
            **given,
        )
        try:
            order = self.house.place(account.key, request)
        except model.Rejected as rejected:
            if rejected.reason != "post_only":
                raise self.refusal(account, rejected, body) from None
            number = 10**9 + len(account.stillborn)
            now = time.time()
            order = model.Order(number, account.key, request, "cancelled", now, now, reason="post_only")
            account.stillborn.append(order)
        self.keep(account, order, body, given["client_order_id"])
        return {"ordId": str(PLAIN + order.order_id), "clOrdId": body.get("clOrdId", ""), "tag": "", "sCode": "0",
                "sMsg": "Order placed", "ts": self.ms()}  # fmt: skip

    def place_conditional(self, account: Account, body: dict[str, str]) -> dict[str, str]:
        spec, given = self.request(account, body, "algoClOrdId")
        if body["ordType"] != "conditional":
            raise Refusal("51000", "Parameter ordType error", item=True)
        side = "sl" if body.get("slTriggerPx") else "tp"
        stop = self.price(spec, body.get(f"{side}TriggerPx", ""), f"{side}TriggerPx")
        limit = body.get(f"{side}OrdPx", "")
        request = model.Request(
            symbol=spec.symbol,
            kind="stop" if side == "sl" else "take_profit",
            stop_price=stop,
            price=None if limit == "-1" else self.price(spec, limit, f"{side}OrdPx"),
            **given,
        )
        try:
            order = self.house.place(account.key, request)
        except model.Rejected as rejected:
            if rejected.reason == "would_trigger":
                code = TRIGGERED_AT_ONCE[side, body["side"]]
                raise Refusal(
                    code, f"{side.upper()} trigger price is on the wrong side of the last price", item=True
                ) from None
            raise self.refusal(account, rejected, body) from None
        self.keep(account, order, body, given["client_order_id"])
        return {"algoId": str(CONDITIONAL + order.order_id), "algoClOrdId": given["client_order_id"],
                "clOrdId": given["client_order_id"], "sCode": "0", "sMsg": "", "tag": ""}  # fmt: skip

    def refusal(self, account: Account, rejected: model.Rejected, body: Mapping[str, str]) -> Refusal:
        if rejected.code == "INSUFFICIENT_FUNDS":
            return Refusal("51008", "Order failed. Insufficient USDT margin in account ", item=True)
        if rejected.code == "REDUCE_ONLY_REJECTED":
            held = self.house.engine.positions(account.key, body["instId"])
            code = "51170" if held else "51169"
            return Refusal(code, "Order failed because you don't have any positions to reduce or close.", item=True)
        return Refusal("51000", f"Parameter error: {rejected.reason}", item=True)

    def keep(self, account: Account, order: model.Order, body: dict[str, str], given: str) -> None:
        account.asked[order.order_id] = body
        if given:
            account.ids[given] = order.order_id

    def all_of(self, account: Account) -> list[model.Order]:
        """Answer every order, newest first."""
        return sorted([*self.house.of(account.key), *account.stillborn], key=lambda o: -o.order_id)

    def cancel(self, account: Account, body: dict[str, str]) -> dict[str, str]:
        order = self.plain(account, body)
        if order is None or order.status not in model.LIVE:
            words = "Order cancellation failed as the order has been filled, canceled or does not exist."
            raise Refusal("51400", words, item=True)
        self.house.cancel(account.key, order.order_id)
        return {"ordId": str(PLAIN + order.order_id), "clOrdId": "", "sCode": "0", "sMsg": "", "ts": self.ms()}

    def cancel_conditional(self, account: Account, body: dict[str, str]) -> dict[str, str]:
        order = self.waiting(account, body)
        if order is None or order.triggered or order.status not in model.LIVE or order.request.symbol != body["instId"]:
            raise Refusal("51400", "Cancellation failed as the order does not exist.", item=True)
        self.house.cancel(account.key, order.order_id)
        return {"algoId": str(CONDITIONAL + order.order_id), "algoClOrdId": "", "clOrdId": "", "sCode": "0",
                "sMsg": "", "tag": ""}  # fmt: skip

    def batch(self, account: Account, body: Any, one: Callable[..., dict[str, str]], most: int) -> list[dict[str, str]]:
        if not isinstance(body, list) or not body:
            raise Refusal("50002", "JSON syntax error", 400)
        if len(body) > most:
            raise Refusal("51406", f"Canceled - order count exceeds the limit {most}.", 400)
        items = []
        for each in body:
            try:
                items.append(one(account, each))
            except Refusal as refusal:
                items.append({"ordId": each.get("ordId", ""), "algoId": each.get("algoId", ""), "clOrdId": "",
                              "sCode": refusal.code, "sMsg": refusal.words})  # fmt: skip
        return items

    def cancel_all_after(self, account: Account, body: Mapping[str, str]) -> list[dict[str, str]]:
        wait = int(body["timeOut"])
        if wait and not 10 <= wait <= 120:
            raise Refusal("51000", "Parameter timeOut error")
        account.switch = self.now() + wait if wait else 0.0
        return [{"triggerTime": self.ms(account.switch) if wait else "0", "tag": "", "ts": self.ms()}]

    def fire_switches(self) -> None:
        for account in self.accounts.values():
            if account.switch and self.now() >= account.switch:
                account.switch = 0.0
                for order in self.all_of(account):
                    if order.status in model.LIVE and (order.request.stop_price is None or order.triggered):
                        self.house.cancel(account.key, order.order_id)

    # Reading orders

    def plain(self, account: Account, ids: Mapping[str, str]) -> model.Order | None:
        """Find a plain order, or one that a triggered one placed, by the ids of a plain one."""
        for order in self.all_of(account):
            if order.request.symbol != ids.get("instId") or (
                order.request.stop_price is not None and not order.triggered
            ):
                continue
            own = order.request.client_order_id if order.request.stop_price is None else ""
            if ids.get("ordId"):
                if str(PLAIN + order.order_id) == ids["ordId"]:
                    return order
            elif ids.get("clOrdId") and own == ids["clOrdId"]:
                return order
        return None

    def waiting(self, account: Account, ids: Mapping[str, str]) -> model.Order | None:
        for order in self.house.of(account.key):
            if order.request.stop_price is None:
                continue
            if ids.get("algoId"):
                if str(CONDITIONAL + order.order_id) == ids["algoId"]:
                    return order
            elif ids.get("algoClOrdId") and order.request.client_order_id == ids["algoClOrdId"]:
                return order
        return None

    def order(self, account: Account, query: Mapping[str, str]) -> list[dict[str, Any]]:
        order = self.plain(account, query)
        if order is None:
            raise Refusal("51603", "Order does not exist")
        return [self.plain_row(account, order)]

    def conditional(self, account: Account, query: Mapping[str, str]) -> list[dict[str, Any]]:
        order = self.waiting(account, query)
        if order is None:
            raise Refusal("51603", "Order does not exist")
        return [self.conditional_row(account, order)]

    def pending(self, account: Account, query: Mapping[str, str]) -> list[dict[str, Any]]:
        live = [order for order in self.all_of(account) if order.status in model.LIVE]
        found = [order for order in live if order.request.stop_price is None or order.triggered]
        return _page([self.plain_row(account, order) for order in found], query, "ordId")

    def conditionals(self, account: Account, query: Mapping[str, str], states: tuple[str, ...]) -> list[dict[str, Any]]:
        if not query.get("ordType"):
            raise Refusal("50014", "Parameter ordType can not be empty.", 400)
        if "conditional" not in query["ordType"].split(","):
            return []
        rows = [self.conditional_row(account, o) for o in self.all_of(account) if o.request.stop_price is not None]
        return _page([row for row in rows if row["state"] in states], query, "algoId")

    def plain_row(self, account: Account, order: model.Order) -> dict[str, Any]:
        request, body = order.request, account.asked[order.order_id]
        size = self.house.specs[request.symbol].contract_size
        child = request.stop_price is not None
        state = {"open": "live", "pending": "live", "cancelled": "canceled", "expired": "canceled"}
        kind = ("market" if request.price is None else "limit") if child else body["ordType"]
        swap = request.symbol.endswith("-SWAP")
        return {
            "instType": "SWAP" if swap else "SPOT",
            "instId": request.symbol,
            "ordId": str(PLAIN + order.order_id),
            "clOrdId": "" if child else request.client_order_id,
            "algoId": str(CONDITIONAL + order.order_id) if child else "",
            "algoClOrdId": request.client_order_id if child else "",
            "side": request.side,
            "posSide": body.get("posSide") or ("net" if swap else ""),
            "ordType": kind,
            "px": "" if request.price is None else _text(request.price),
            "sz": _text(request.amount / size),
            "accFillSz": _text(order.filled / size),
            "avgPx": _text(order.cost / order.filled) if order.filled else "",
            "fee": _text(-order.fee),
            "feeCcy": order.fee_currency,
            "rebate": "0",
            "rebateCcy": "USDT",
            "state": state.get(order.status, order.status),
            "cancelSource": SOURCES.get(order.reason, "0") if order.status == "cancelled" else "",
            "cancelSourceReason": "",
            "category": "normal",
            "reduceOnly": "true" if body.get("reduceOnly") == "true" else "false",
            "tdMode": body["tdMode"],
            "tgtCcy": body.get("tgtCcy", ""),
            "tag": "",
            "cTime": self.ms(order.created),
            "uTime": self.ms(order.updated),
        }

    def conditional_row(self, account: Account, order: model.Order) -> dict[str, Any]:
        request, body = order.request, account.asked[order.order_id]
        state = "effective" if order.triggered else "canceled" if order.status == "cancelled" else "live"
        failed = order.triggered and order.status == "cancelled" and not order.filled and order.reason not in SOURCES
        size = self.house.specs[request.symbol].contract_size
        child = str(PLAIN + order.order_id) if order.triggered and not failed else ""
        return {
            **dict.fromkeys(
                ("triggerPx", "ordPx", "actualPx", "actualSide", "triggerTime", "closeFraction", "tag"), ""
            ),
            "instType": "SWAP" if request.symbol.endswith("-SWAP") else "SPOT",
            "instId": request.symbol,
            "algoId": str(CONDITIONAL + order.order_id),
            "algoClOrdId": request.client_order_id,
            "clOrdId": request.client_order_id,
            "ordId": child,
            "ordIdList": [child] if child else [],
            "side": request.side,
            "posSide": body.get("posSide") or "net",
            "ordType": "conditional",
            "sz": _text(Decimal(body["sz"])),
            "actualSz": _text(request.amount / size) if child else "0",
            **{name: body.get(name, "") for name in ("slTriggerPx", "slOrdPx", "tpTriggerPx", "tpOrdPx", "tgtCcy")},
            "reduceOnly": "true" if body.get("reduceOnly") == "true" else "false",
            "state": "order_failed" if failed else state,
            "failCode": "51008" if failed else "0",
            "tdMode": body["tdMode"],
            "cTime": self.ms(order.created),
            "uTime": self.ms(order.updated),
        }

    def fills(self, account: Account, query: Mapping[str, str]) -> list[dict[str, Any]]:
        rows = []
        for fill in reversed(self.house.fills):
            order = self.house.orders[fill.order_id]
            size = self.house.specs[fill.symbol].contract_size
            swap = fill.symbol.endswith("-SWAP")
            row = {
                "instType": "SWAP" if swap else "SPOT",
                "instId": fill.symbol,
                "tradeId": str(fill.trade_id),
                "billId": str(PLAIN + fill.trade_id),
                "ordId": str(PLAIN + fill.order_id),
                "clOrdId": "" if order.request.stop_price is not None else fill.client_order_id,
                "side": fill.side,
                "posSide": "net",
                "fillSz": _text(fill.amount / size),
                "fillPx": _text(fill.price),
                "fillPnl": _text(fill.realized_pnl),
                "fee": _text(-fill.fee),
                "feeCcy": fill.fee_currency,
                "execType": "M" if fill.maker else "T",
                "fillTime": self.ms(fill.time),
                "ts": self.ms(fill.time),
                "tag": "",
            }
            wanted = all(row[name] == query[name] for name in ("instType", "instId", "ordId") if query.get(name))
            if fill.account == account.key and wanted and int(row["ts"]) >= int(query.get("begin") or 0):
                rows.append(row)
        return _page(rows, query, "billId")

    # Account

    def config(self, account: Account, _: Any) -> list[dict[str, str]]:
        mode = {"net": "net_mode", "hedge": "long_short_mode"}[account.mode]
        return [{"uid": "1", "acctLv": account.level, "posMode": mode, "autoLoan": False, "level": "Lv1"}]  # type: ignore[dict-item]

    def balance(self, account: Account, query: Mapping[str, str]) -> list[dict[str, Any]]:
        summary = self.house.engine.summary(account.key)
        details, total, now = [], ZERO, self.ms()
        wanted = query.get("ccy", "").split(",") if query.get("ccy") else list(summary.balances)
        for asset, each in summary.balances.items():
            settle = asset == summary.currency
            equity = each.total + (summary.unrealized_pnl if settle else ZERO)
            worth = equity * (Decimal(1) if settle else sum(self.house.marks[f"{asset}-USDT"]) / 2)
            total += worth
            shared = account.level in ("3", "4") or not settle
            row = {
                "ccy": asset, "eq": _text(equity), "cashBal": _text(each.total), "eqUsd": _text(worth),
                "availBal": _text(each.free), "availEq": _text(summary.available if settle else each.free),
                "frozenBal": _text(equity - each.free), "upl": _text(summary.unrealized_pnl) if settle else "0",
                "imr": "" if shared else _text(summary.used_margin),
                "mmr": "" if shared else _text(summary.maintenance),
                "openAvgPx": "", "uTime": now,
            }  # fmt: skip
            if asset in wanted and each.total:
                details.append(row)
        shared = account.level in ("3", "4")
        return [{
            "totalEq": _text(total), "adjEq": _text(total) if shared else "",
            "availEq": _text(summary.available) if shared else "",
            "imr": _text(summary.used_margin) if shared else "", "mmr": _text(summary.maintenance) if shared else "",
            "upl": _text(summary.unrealized_pnl) if shared else "", "details": details, "uTime": now,
        }]  # fmt: skip

    def positions(self, account: Account, query: Mapping[str, str]) -> list[dict[str, str]]:
        rows = []
        for view in self.house.engine.positions(account.key, query.get("instId") or None):
            contracts = view.size / self.house.specs[view.symbol].contract_size
            mark = view.mark_price or view.entry_price
            rows.append({
                "instType": "SWAP", "instId": view.symbol, "mgnMode": "cross",
                "posSide": "net" if account.mode == "net" else view.side,
                "pos": _text(contracts if account.mode == "net" else abs(contracts)),
                "avgPx": _text(view.entry_price), "markPx": _text(mark), "lever": str(view.leverage),
                "liqPx": _text(view.liquidation_price) if view.liquidation_price is not None else "",
                "upl": _text(view.unrealized_pnl), "realizedPnl": _text(view.realized_pnl),
                "imr": _text(view.margin), "mmr": _text(abs(view.size) * mark * Decimal("0.005")), "margin": "",
                "ccy": "USDT", "cTime": self.ms(), "uTime": self.ms(),
            })  # fmt: skip
        return rows

    def set_leverage(self, account: Account, body: Mapping[str, str]) -> list[dict[str, str]]:
        spec = self.spec(body.get("instId"))
        if body.get("mgnMode") not in ("cross", "isolated"):
            raise Refusal("51000", "Parameter mgnMode error")
        if int(body["lever"]) > spec.max_leverage:
            raise Refusal("59102", "Leverage exceeds the maximum limit.")
        self.house.engine.set_leverage(account.key, spec.symbol, int(body["lever"]))
        return [{name: body.get(name, "") for name in ("instId", "lever", "mgnMode", "posSide")}]

    # Market

    def listed(self, query: Mapping[str, str]) -> model.Spec:
        if query.get("instId") not in self.house.specs:
            raise Refusal("51001", "Instrument ID doesn't exist.")
        return self.house.specs[query["instId"]]

    def instruments(self, query: Mapping[str, str]) -> list[dict[str, Any]]:
        if query.get("instType") not in ("SPOT", "SWAP"):
            raise Refusal("51000", "Parameter instType error", 400)
        chosen = [self.listed(query)] if query.get("instId") else list(self.house.specs.values())
        return [self.instrument(spec) for spec in chosen if spec.kind.upper() == query["instType"]]

    def instrument(self, spec: model.Spec) -> dict[str, Any]:
        swap = spec.kind == "swap"
        size = spec.contract_size if swap else Decimal(1)
        return {
            "instType": spec.kind.upper(), "instId": spec.symbol, "state": "live", "tickSz": _text(spec.tick),
            "lotSz": _text(spec.lot / size), "minSz": _text(spec.min_amount / size),
            "maxLmtSz": _text(spec.max_amount / size), "maxMktSz": _text(spec.max_amount / size),
            "lever": str(spec.max_leverage if swap else 10), "ctVal": _text(size) if swap else "",
            "ctMult": "1" if swap else "", "ctType": "linear" if swap else "", "ctValCcy": spec.base if swap else "",
            "settleCcy": spec.quote if swap else "", "baseCcy": "" if swap else spec.base,
            "quoteCcy": "" if swap else spec.quote, "uly": f"{spec.base}-{spec.quote}" if swap else "",
            "instFamily": f"{spec.base}-{spec.quote}" if swap else "",
        }  # fmt: skip

    def ticker(self, query: Mapping[str, str]) -> list[dict[str, str]]:
        spec = self.listed(query)
        bid, ask = self.house.marks[spec.symbol]
        size = _text(Decimal(1000) / spec.contract_size)
        return [{"instType": spec.kind.upper(), "instId": spec.symbol, "bidPx": _text(bid), "askPx": _text(ask),
                 "bidSz": size, "askSz": size, "last": _text((bid + ask) / 2), "ts": self.ms()}]  # fmt: skip

    def mark_price(self, query: Mapping[str, str]) -> list[dict[str, str]]:
        spec = self.listed(query)
        bid, ask = self.house.marks[spec.symbol]
        return [{"instType": "SWAP", "instId": spec.symbol, "markPx": _text((bid + ask) / 2), "ts": self.ms()}]

    def candles(self, query: Mapping[str, str], most: int, kept: int) -> list[list[str]]:
        spec = self.listed(query)
        if query.get("bar") not in BARS:
            raise Refusal("51000", "Parameter bar error", 400)
        seconds = BARS[query["bar"]]
        newest = int(self.now()) // seconds * seconds
        last = int(query["after"]) // 1000 - 1 if query.get("after") else newest
        first = max(int(query.get("before") or -1) // 1000 + 1, newest - seconds * (kept - 1))
        start = min(last // seconds * seconds, newest)
        middle = _text(sum(self.house.marks[spec.symbol]) / 2)
        rows = []
        while start >= first and len(rows) < min(int(query.get("limit") or 100), most):
            closed = "1" if start < newest else "0"
            rows.append([str(start * 1000), middle, middle, middle, middle, "100", "1", "60000", closed])
            start -= seconds
        return rows


def _nothing(*_: Any) -> list[Any]:
    raise Refusal("404", "Not Found", 404)


def _page(rows: list[dict[str, Any]], query: Mapping[str, str], key: str) -> list[dict[str, Any]]:
    """Answer one page of rows that are newest first."""
    if query.get("instId"):
        rows = [row for row in rows if row["instId"] == query["instId"]]
    if query.get("after"):
        rows = [row for row in rows if int(row[key]) < int(query["after"])]
    return rows[: min(int(query.get("limit") or 100), 100)]


def _json(payload: Any, status: int = 200) -> Response:
    return Response(status, json.dumps(payload).encode())


def _text(value: Decimal) -> str:
    text = format(value, "f")
    return text.rstrip("0").rstrip(".") or "0" if "." in text else text


def serve(port: int = 0) -> Okx:
    """Start a venue with an account whose key is "key-1" (secret-of-key-1, phrase-of-key-1)."""
    venue = Okx(port)
    venue.add_account("key-1")
    return venue
