"""Gate's API v4 on the loopback: spot and USDT perpetuals, plain and conditional orders, on the matching engine.

    python -m tests.venues gate --port 8001

Every user has two accounts of the engine, as Gate keeps spot and perpetuals apart. Signatures are checked over the
bytes that arrived, in Gate's own order: method, path, query, SHA512 of the body, time stamp.
What the real venue is known to do and this one does too: an order is found by its `text` only while it is open (on
perpetuals for a little longer), a text may be used twice, conditional orders live apart, a market buy on spot counts
quote, sizes of contracts are texts where the client asks for them, prices in JSON must be texts.
"""

from __future__ import annotations

import hashlib
import hmac
import itertools
import json
import re
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qsl, unquote, unquote_plus

from msgspec.structs import replace as with_changes

from Execution.matching.model import LIVE, Fill, Order, Rejected, Spec
from Execution.matching.model import Request as Wanted
from tests.venues.house import House, specs
from tests.venues.server import Request, Response, VenueServer

KEY, SECRET = "gate-key-of-test", "gate-secret-of-test"
CONTRACT = Decimal("0.001")
_FIRST_ORDER, _FIRST_TRADE, _FIRST_TRIGGER = 745_000_000_000, 7_342_000_000, 916_000_000
_PREFIX = "/api/v4"
_TEXT = re.compile(r"t-[0-9A-Za-z_.-]{1,28}")
_DECIMAL = re.compile(r"-?[0-9]+(\.[0-9]+)?")
_TIFS: dict[str, Any] = {"gtc": "GTC", "poc": "GTC", "ioc": "IOC", "fok": "FOK"}
_SPOT_LABELS = {
    "INSUFFICIENT_FUNDS": "BALANCE_NOT_ENOUGH",
    "POST_ONLY_WOULD_CROSS": "POC_FILL_IMMEDIATELY",
    "INVALID_ORDER": "INVALID_PARAM_VALUE",
    "ORDER_NOT_FOUND": "ORDER_NOT_FOUND",
}
_SWAP_LABELS = {
    "INSUFFICIENT_FUNDS": "INSUFFICIENT_AVAILABLE",
    "POST_ONLY_WOULD_CROSS": "ORDER_POC_IMMEDIATE",
    "REDUCE_ONLY_REJECTED": "INCREASE_POSITION",
    "INVALID_ORDER": "INVALID_PARAM_VALUE",
    "ORDER_NOT_FOUND": "ORDER_NOT_FOUND",
}


class Refusal(Exception):
    """An answer that is no success."""

    def __init__(self, status: int, label: str, message: str) -> None:
        super().__init__(message)
        self.status, self.label = status, label


@dataclass
class User:
    """Who a key belongs to, and how the account is set."""

    name: str
    secret: str
    hedge: bool = False
    isolated: dict[str, int] = field(default_factory=dict)
    countdown: dict[str, float] = field(default_factory=dict)

    def account(self, swap: bool) -> str:
        return f"{self.name}:{'futures' if swap else 'spot'}"


@dataclass
class Trigger:
    """A conditional order."""

    id: int
    user: User
    swap: bool
    body: dict[str, Any]
    created: int
    status: str = "open"
    reason: str = ""
    finished: int = 0
    child: int = 0

    @property
    def name(self) -> str:
        return str(self.body["initial"]["contract"] if self.swap else self.body["market"])


class GateServer:
    """The venue. `move` sets prices; `server` has the faults and what arrived; `skew` sets its clock wrong."""

    def __init__(self, port: int = 0) -> None:
        swap = [with_changes(spec, min_notional=Decimal(0)) for spec in specs(contract=str(CONTRACT))]
        self.house = House([spec if spec.kind == "swap" else old for spec, old in zip(swap, specs(), strict=True)])
        self.users: dict[str, User] = {}
        self.texts: dict[int, str] = {}
        self.bodies: dict[int, dict[str, Any]] = {}
        self.triggers: dict[int, Trigger] = {}
        self.stuck: set[str] = set()
        self.skew = 0.0
        self.window = 60.0
        self._count = itertools.count(_FIRST_TRIGGER)
        self.open_account(KEY, SECRET)
        self.server = VenueServer(self._answer, port)
        words = b'{"label":"TOO_MANY_REQUESTS","message":"Request Rate Limit Exceeded"}'
        self.server.limited = Response(429, words, {"Retry-After": "1"})

    @property
    def url(self) -> str:
        return self.server.url

    def stop(self) -> None:
        self.server.stop()

    def open_account(self, key: str, secret: str, *, hedge: bool = False, usdt: int = 100_000) -> User:
        """Give a key an account with money on both sides."""
        user = self.users[key] = User(f"user-{len(self.users) + 1}", secret, hedge)
        self.house.open(user.account(swap=False), {"USDT": usdt, "ETH": 2})
        self.house.open(user.account(swap=True), {"USDT": usdt}, mode="hedge" if hedge else "net")
        return user

    def now(self) -> float:
        return time.time() + self.skew

    def move(self, symbol: str, bid: float, ask: float) -> None:
        """Set the best prices; conditional orders wake by the last trade."""
        self.house.move(symbol, bid, ask)
        for trigger in [each for each in self.triggers.values() if each.status == "open"]:
            if _symbol(trigger.name, trigger.swap) == symbol and self._is_met(trigger.body["trigger"], symbol):
                self._wake(trigger)

    def last(self, symbol: str) -> Decimal:
        low, high = self.house.marks[symbol]
        return (low + high) / 2

    # The door

    def _answer(self, request: Request) -> Response:
        try:
            data = self._routed(request)
        except Refusal as refusal:
            return _json(refusal.status, {"label": refusal.label, "message": str(refusal)})
        created = request.method == "POST" and request.path.endswith("/orders")
        return _json(201 if created else 200, data)

    def _routed(self, request: Request) -> Any:
        path = request.path.removeprefix(_PREFIX)
        query = dict(parse_qsl(request.query))
        for method, pattern, public, handler in _ROUTES:
            found = re.fullmatch(pattern, path)
            if found and method == request.method:
                if public:
                    return handler(self, query, *map(unquote, found.groups()))
                user = self._signed(request)
                body = _parsed(request.body)
                call = Call(user, query, body, request.headers.get("x-gate-size-decimal") == "1")
                self._count_down(user)
                return handler(self, call, *map(unquote, found.groups()))
        raise Refusal(404, "NOT_FOUND", f"{request.method} {path}")

    def _signed(self, request: Request) -> User:
        key, sign, stamp = (request.headers.get(name, "") for name in ("key", "sign", "timestamp"))
        if not (key and sign and stamp):
            raise Refusal(400, "MISSING_REQUIRED_HEADER", "Missing required header: KEY, SIGN or Timestamp")
        if abs(self.now() - float(stamp)) > self.window:
            raise Refusal(403, "REQUEST_EXPIRED", "gap between request Timestamp and server time exceeds 60")
        if key not in self.users:
            raise Refusal(401, "INVALID_KEY", "Invalid key provided")
        digest = hashlib.sha512(request.body).hexdigest()
        text = "\n".join((request.method, request.path, unquote_plus(request.query), digest, stamp))
        secret = self.users[key].secret.encode()
        if not hmac.compare_digest(hmac.new(secret, text.encode(), hashlib.sha512).hexdigest(), sign):
            raise Refusal(401, "INVALID_SIGNATURE", "Signature mismatch")
        latest = request.headers.get("x-gate-exptime")
        if latest and self.now() * 1000 > int(latest):
            raise Refusal(400, "REQUEST_EXPIRED", "Request expired")
        return self.users[key]

    # Plain orders

    def place(self, call: Call, swap: bool) -> Any:
        body = call.body
        text = body.get("text", "")
        if text and not _TEXT.fullmatch(text):
            raise Refusal(400, "INVALID_PARAM_VALUE", f"Invalid request parameter `text` value: {text}")
        wanted = self._swap_request(body) if swap else self._spot_request(body)
        return self._order(self._placed(call.user, swap, wanted, text, body), call)

    def _placed(self, user: User, swap: bool, wanted: Wanted, text: str, body: dict[str, Any]) -> Order:
        labels = _SWAP_LABELS if swap else _SPOT_LABELS
        try:
            order = self.house.place(user.account(swap), wanted)
        except Rejected as refusal:
            if refusal.code == "REDUCE_ONLY_REJECTED" and not self._positions(user, wanted.symbol):
                raise Refusal(400, "POSITION_EMPTY", "position is empty") from None
            raise Refusal(400, labels.get(refusal.code, "INVALID_PARAM_VALUE"), str(refusal)) from None
        if wanted.time_in_force == "FOK" and order.status != "filled":
            raise Refusal(400, "ORDER_FOK" if swap else "FOK_NOT_FILL", "Order cannot be filled completely")
        self.texts[order.order_id] = text or "apiv4"
        self.bodies[order.order_id] = body
        return self.house.orders[order.order_id]

    def _spot_request(self, body: dict[str, Any]) -> Wanted:
        spec = self._spec(body.get("currency_pair"), swap=False)
        kind: Any = body.get("type", "limit")
        tif = body.get("time_in_force", "gtc" if kind == "limit" else "ioc")
        amount = _positive(body, "amount")
        price = _positive(body, "price") if kind == "limit" else None
        if kind not in ("limit", "market") or tif not in _TIFS or body.get("side") not in ("buy", "sell"):
            raise Refusal(400, "INVALID_PARAM_VALUE", "type, side or time_in_force")
        if kind == "market" and tif not in ("ioc", "fok"):
            raise Refusal(400, "INVALID_PARAM_VALUE", "a market order supports ioc and fok only")
        if kind == "market" and body["side"] == "buy":
            amount = amount / self.house.marks[spec.symbol][1] // spec.lot * spec.lot
        _fits(spec, amount, price)
        worth = amount * (price or self.last(spec.symbol))
        if worth < spec.min_notional:
            words = f"Your order size {worth} USDT is too small. The minimum is {spec.min_notional} USDT"
            raise Refusal(400, "INVALID_PARAM_VALUE", words)
        return Wanted(spec.symbol, body["side"], kind, amount, price, time_in_force=_TIFS[tif], post_only=tif == "poc")

    def _swap_request(self, body: dict[str, Any]) -> Wanted:
        spec = self._spec(body.get("contract"), swap=True)
        size, price, tif = Decimal(str(body.get("size"))), _text(body, "price"), body.get("tif", "gtc")
        if not size or size != int(size) or tif not in _TIFS:
            raise Refusal(400, "INVALID_PARAM_VALUE", "size or tif")
        market = not price
        if market and tif not in ("ioc", "fok"):
            raise Refusal(400, "INVALID_PARAM_VALUE", "a market order supports ioc and fok only")
        amount = abs(size) * CONTRACT
        _fits(spec, amount, None if market else price)
        return Wanted(
            spec.symbol,
            "buy" if size > 0 else "sell",
            "market" if market else "limit",
            amount,
            None if market else price,
            time_in_force="GTC" if market else _TIFS[tif],
            post_only=tif == "poc",
            reduce_only=bool(body.get("reduce_only")),
        )

    def _spec(self, name: Any, *, swap: bool) -> Spec:
        found = self.house.specs.get(_symbol(str(name), swap))
        if found is None:
            label = "CONTRACT_NOT_FOUND" if swap else "INVALID_CURRENCY_PAIR"
            raise Refusal(400, label, f"Invalid {'contract' if swap else 'currency pair'} {name}")
        return found

    def _find(self, user: User, swap: bool, key: str) -> Order:
        """An order by Gate's id, or by its text while it is open and (perpetuals) for a while after."""
        for order in reversed(self.house.of(user.account(swap))):
            if key == str(_FIRST_ORDER + order.order_id):
                gone = swap and order.status not in LIVE and not order.filled and self.now() - order.updated > 600
                if not gone:
                    return order
            if key.startswith("t-") and self.texts.get(order.order_id) == key:
                memory = 0 if not swap else 3600 if order.filled else 60
                if order.status in LIVE or self.now() - order.updated < memory:
                    return order
        raise Refusal(404, "ORDER_NOT_FOUND", "Order not found")

    def find(self, call: Call, key: str, swap: bool) -> Any:
        order = self._find(call.user, swap, key)
        if not swap and order.request.symbol != _symbol(call.query.get("currency_pair", ""), swap=False):
            raise Refusal(404, "ORDER_NOT_FOUND", "Order not found")
        return self._order(order, call)

    def cancel(self, call: Call, key: str, swap: bool) -> Any:
        order = self._find(call.user, swap, key)
        name = call.query.get("contract" if swap else "currency_pair")
        if (name or not swap) and order.request.symbol != _symbol(str(name), swap):
            raise Refusal(404, "ORDER_NOT_FOUND", "Order not found")
        if order.status not in LIVE:
            label = "ORDER_FINISHED" if swap else "ORDER_CLOSED" if order.status == "filled" else "ORDER_CANCELLED"
            raise Refusal(400, label, f"order already {order.status}")
        return self._order(self._cancelled(call.user, swap, order), call)

    def _cancelled(self, user: User, swap: bool, order: Order) -> Order:
        self.house.cancel(user.account(swap), order.order_id)
        return self.house.orders[order.order_id]

    def _live(self, call: Call, swap: bool) -> list[Order]:
        name = call.query.get("contract" if swap else "currency_pair")
        return [
            order
            for order in reversed(self.house.of(call.user.account(swap)))
            if order.status in LIVE
            and order.request.symbol.endswith("-SWAP") == swap
            and (not name or order.request.symbol == _symbol(name, swap))
        ]

    def cancel_all(self, call: Call, swap: bool) -> Any:
        done = []
        for order in self._live(call, swap):
            shown = self._order(order, call)
            if str(shown["id"]) in self.stuck:
                if not swap:
                    wrong = {"succeeded": False, "label": "SERVER_ERROR", "message": "cancel failed"}
                    done.append({"id": shown["id"], "currency_pair": shown["currency_pair"], **wrong})
                continue
            shown = self._order(self._cancelled(call.user, swap, order), call)
            done.append(shown if swap else {**shown, "succeeded": True, "label": "", "message": ""})
        return done

    def listed(self, call: Call, swap: bool) -> Any:
        query = call.query
        if query.get("status") == "open":
            if not swap and "currency_pair" not in query:
                raise Refusal(400, "MISSING_REQUIRED_PARAM", "Missing required parameter: currency_pair")
            found = self._live(call, swap)
        else:
            name = query.get("contract" if swap else "currency_pair")
            found = [
                order
                for order in reversed(self.house.of(call.user.account(swap)))
                if order.status not in LIVE
                and not (swap and not order.filled and self.now() - order.updated > 600)
                and (not name or order.request.symbol == _symbol(name, swap))
            ]
        return _page([self._order(order, call) for order in found], query, 100)

    def open_by_pair(self, call: Call) -> Any:
        groups: dict[str, list[Any]] = {}
        for order in self._live(call, swap=False):
            shown = self._order(order, call)
            groups.setdefault(shown["currency_pair"], []).append(shown)
        return [
            {"currency_pair": name, "total": len(found), "orders": _page(found, call.query, 100)}
            for name, found in groups.items()
        ]

    def _order(self, order: Order, call: Call) -> dict[str, Any]:
        return self._swap_order(order, call) if order.request.symbol.endswith("-SWAP") else self._spot_order(order)

    def _spot_order(self, order: Order) -> dict[str, Any]:
        wanted, body = order.request, self.bodies.get(order.order_id, {})
        left = wanted.amount - order.filled
        amount = wanted.amount
        if wanted.kind == "market" and wanted.side == "buy":
            amount = Decimal(body["amount"])
            left = amount - order.cost
        tif = body.get("time_in_force") or ("ioc" if wanted.kind == "market" else "gtc")
        ended = "filled" if order.status == "filled" else tif if tif in ("ioc", "fok") else "cancelled"
        average = order.cost / order.filled if order.filled else None
        return {
            "id": str(_FIRST_ORDER + order.order_id),
            "text": self.texts.get(order.order_id, "apiv4"),
            "amend_text": "-",
            "create_time": str(int(order.created)),
            "update_time": str(int(order.updated)),
            "create_time_ms": int(order.created * 1000),
            "update_time_ms": int(order.updated * 1000),
            "status": "open" if order.status in LIVE else "closed" if order.status == "filled" else "cancelled",
            "currency_pair": _name(wanted.symbol),
            "type": wanted.kind,
            "account": body.get("account", "spot"),
            "side": wanted.side,
            "amount": _plain(amount),
            "price": _plain(wanted.price or Decimal(0)),
            "time_in_force": tif,
            "iceberg": "0",
            "left": _plain(left),
            "filled_amount": _plain(order.filled),
            "fill_price": _plain(order.cost),
            "filled_total": _plain(order.cost),
            **({"avg_deal_price": _plain(average)} if average else {}),
            "fee": _plain(order.fee),
            "fee_currency": order.fee_currency or (wanted.symbol.split("-")[0] if wanted.side == "buy" else "USDT"),
            "point_fee": "0",
            "gt_fee": "0",
            "gt_discount": False,
            "rebated_fee": "0",
            "rebated_fee_currency": "USDT",
            "finish_as": "open" if order.status in LIVE else ended,
        }

    def _swap_order(self, order: Order, call: Call) -> dict[str, Any]:
        wanted, body = order.request, self.bodies.get(order.order_id, {})
        spec, sign = self.house.specs[wanted.symbol], 1 if wanted.side == "buy" else -1
        over = order.status not in LIVE
        tif = body.get("tif", "ioc" if wanted.kind == "market" else "gtc")
        ended = "filled" if order.status == "filled" else order.reason if order.reason == "reduce_only" else "cancelled"
        if over and tif in ("ioc", "fok") and ended == "cancelled":
            ended = "ioc"
        # A reduce-only order that is larger than the position ends with it.
        amount = order.filled if ended == "filled" else wanted.amount
        return {
            "id": _FIRST_ORDER + order.order_id,
            "user": 100000,
            "contract": _name(wanted.symbol),
            "create_time": round(order.created, 3),
            "update_time": round(order.updated, 3),
            **({"finish_time": round(order.updated, 3), "finish_as": ended} if over else {}),
            "status": "finished" if over else "open",
            "size": call.size(sign * amount / CONTRACT),
            "left": call.size(sign * (amount - order.filled) / CONTRACT),
            "iceberg": call.size(Decimal(0)),
            "price": _plain(wanted.price or Decimal(0)),
            "fill_price": _plain(order.cost / order.filled) if order.filled else "0",
            "mkfr": _plain(spec.maker_fee),
            "tkfr": _plain(spec.taker_fee),
            "tif": tif,
            "refu": 0,
            "is_reduce_only": wanted.reduce_only,
            "is_close": False,
            "is_liq": False,
            "text": self.texts.get(order.order_id, "-"),
            "stp_id": 0,
            "stp_act": "-",
            "amend_text": "-",
        }

    # Conditional orders

    def arm(self, call: Call, swap: bool) -> Any:
        body = call.body
        if swap:
            part, trigger = body["initial"], body["trigger"]
            if not isinstance(part.get("price"), str) or not isinstance(trigger.get("price"), str):
                words = "invalid json json: cannot unmarshal number into Go struct field of type string"
                raise Refusal(400, "AUTO_INVALID_REQUEST_BODY", words)
            if trigger.get("rule") not in (1, 2):
                raise Refusal(400, "AUTO_INVALID_PARAM_TRIGGER_RULE", "invalid argument: Trigger.rule")
            spec = self._spec(part["contract"], swap=True)
            if Decimal(part["price"]) % spec.tick:
                words = "invalid argument: initial.price price is not an integer multiple of a price unit"
                raise Refusal(400, "AUTO_INVALID_PARAM_PRICE", words)
            self._swap_request(self._child(body, swap))
        else:
            spec = self._spec(body.get("market"), swap=False)
            if (
                body["trigger"].get("rule") not in (">=", "<=")
                or not 0 < body["trigger"].get("expiration", 0) <= 2592000
            ):
                raise Refusal(400, "INVALID_PARAM_VALUE", "invalid argument: trigger")
            if body["put"].get("account") not in ("normal", "margin", "unified"):
                raise Refusal(400, "INVALID_PARAM_VALUE", "invalid argument: put.account")
            self._spot_request(self._child(body, swap))
        if self._is_met(body["trigger"], spec.symbol):
            above = body["trigger"]["rule"] in (1, ">=")
            label = f"AUTO_TRIGGER_PRICE_{'GREATE' if above else 'LESS'}_LAST" if swap else "INVALID_PARAM_VALUE"
            raise Refusal(400, label, f"invalid argument: Trigger.Price must {'>' if above else '<'} last_price")
        trigger = Trigger(next(self._count), call.user, swap, body, int(self.now()))
        self.triggers[trigger.id] = trigger
        return {"id": trigger.id, "id_string": str(trigger.id)} if swap else {"id": trigger.id}

    def _child(self, body: dict[str, Any], swap: bool) -> dict[str, Any]:
        """What is placed when a condition is met."""
        if swap:
            return {"size": body["initial"].get("amount", body["initial"].get("size")), **body["initial"]}
        account = {"normal": "spot"}.get(body["put"]["account"], body["put"]["account"])
        return {**body["put"], "currency_pair": body["market"], "account": account}

    def _is_met(self, trigger: dict[str, Any], symbol: str) -> bool:
        price, last = Decimal(trigger["price"]), self.last(symbol)
        return last >= price if trigger["rule"] in (1, ">=") else last <= price

    def _wake(self, trigger: Trigger) -> None:
        body = self._child(trigger.body, trigger.swap)
        trigger.finished = int(self.now())
        try:
            wanted = self._swap_request(body) if trigger.swap else self._spot_request(body)
            order = self._placed(trigger.user, trigger.swap, wanted, f"ao-{trigger.id}", body)
        except Refusal as refusal:
            trigger.status, trigger.reason = "failed", refusal.label
            return
        trigger.status, trigger.child = "succeeded", _FIRST_ORDER + order.order_id

    def _trigger(self, trigger: Trigger) -> dict[str, Any]:
        if not trigger.swap:
            status = "finish" if trigger.status == "succeeded" else trigger.status
            return {
                **trigger.body,
                "id": trigger.id,
                "user": 100000,
                "ctime": trigger.created,
                "ftime": trigger.finished,
                "fired_order_id": trigger.child,
                "status": status,
                "reason": trigger.reason,
            }
        initial = trigger.body["initial"]
        over = trigger.status != "open"
        return {
            "user": 100000,
            "trigger": {"strategy_type": 0, "expiration": 0, **trigger.body["trigger"]},
            "initial": {
                "tif": "gtc", "iceberg": 0, "is_close": False, "auto_size": "", "size": 0, **initial,
                "amount": str(initial.get("amount", initial.get("size"))),
                "is_reduce_only": bool(initial.get("reduce_only")),
            },
            "id": trigger.id,
            "id_string": str(trigger.id),
            "trade_id": trigger.child,
            "trade_id_string": str(trigger.child or ""),
            "me_order_id": trigger.child,
            "status": "finished" if over else "open",
            **({"finish_as": trigger.status} if over else {}),
            "reason": trigger.reason,
            "create_time": trigger.created,
            "finish_time": trigger.finished or trigger.created,
            "order_type": "",
        }  # fmt: skip

    def _own_trigger(self, call: Call, key: str, swap: bool) -> Trigger:
        found = self.triggers.get(int(key)) if key.isdigit() else None
        if found is None or found.user is not call.user or found.swap != swap:
            raise Refusal(
                400 if swap else 404, "AUTO_ORDER_NOT_FOUND" if swap else "ORDER_NOT_FOUND", "order not found"
            )
        return found

    def find_trigger(self, call: Call, key: str, swap: bool) -> Any:
        return self._trigger(self._own_trigger(call, key, swap))

    def cancel_trigger(self, call: Call, key: str, swap: bool) -> Any:
        found = self._own_trigger(call, key, swap)
        if found.status != "open":
            raise Refusal(400, "AUTO_ORDER_NOT_FOUND" if swap else "ORDER_NOT_FOUND", "order not found")
        found.status, found.finished = "cancelled", int(self.now())
        return self._trigger(found)

    def _triggers_of(self, call: Call, swap: bool) -> Iterable[Trigger]:
        name = call.query.get("contract" if swap else "market")
        for found in reversed(self.triggers.values()):
            if found.user is call.user and found.swap == swap and (not name or found.name == name):
                yield found

    def triggers_listed(self, call: Call, swap: bool) -> Any:
        want_open = call.query["status"] == "open"
        found = [each for each in self._triggers_of(call, swap) if (each.status == "open") == want_open]
        return _page([self._trigger(each) for each in found], call.query, 100)

    def cancel_triggers(self, call: Call, swap: bool) -> Any:
        found = [each for each in self._triggers_of(call, swap) if each.status == "open"]
        return [self.cancel_trigger(call, str(each.id), swap) for each in found]

    # Executions and accounts

    def _fills(self, call: Call, swap: bool) -> list[Fill]:
        account = call.user.account(swap)
        name = call.query.get("contract" if swap else "currency_pair")
        first, last = float(call.query.get("from", 0)), float(call.query.get("to", "inf"))
        return [
            fill
            for fill in reversed(self.house.fills)
            if fill.account == account and (not name or fill.symbol == _symbol(name, swap))
            and first <= int(fill.time) <= last
        ]  # fmt: skip

    def spot_trades(self, call: Call) -> Any:
        query = call.query
        if "order_id" in query and "currency_pair" not in query:
            raise Refusal(400, "MISSING_REQUIRED_PARAM", "Missing required parameter: currency_pair")
        if float(query.get("to", self.now())) - float(query.get("from", self.now())) > 30 * 86400 + 1:
            raise Refusal(400, "INVALID_PARAM_VALUE", "time range is limited to 30 days")
        rows = [
            {
                "id": str(_FIRST_TRADE + fill.trade_id),
                "create_time": str(int(fill.time)),
                "create_time_ms": f"{fill.time * 1000:.6f}",
                "currency_pair": _name(fill.symbol),
                "side": fill.side,
                "role": "maker" if fill.maker else "taker",
                "amount": _plain(fill.amount),
                "price": _plain(fill.price),
                "order_id": str(_FIRST_ORDER + fill.order_id),
                "fee": _plain(fill.fee),
                "fee_currency": fill.fee_currency,
                "point_fee": "0",
                "gt_fee": "0",
                "amend_text": "-",
                "text": self.texts.get(fill.order_id, "apiv4"),
            }
            for fill in self._fills(call, swap=False)
            if query.get("order_id", "") in ("", str(_FIRST_ORDER + fill.order_id))
        ]
        return _page(rows, query, 1000)

    def swap_trades(self, call: Call) -> Any:
        order = call.query.get("order", "0")
        rows = [
            {
                "id": _FIRST_TRADE + fill.trade_id,
                "create_time": round(fill.time, 6),
                "contract": _name(fill.symbol),
                "order_id": str(_FIRST_ORDER + fill.order_id),
                "size": call.size((1 if fill.side == "buy" else -1) * fill.amount / CONTRACT),
                "close_size": call.size(Decimal(0)),
                "price": _plain(fill.price),
                "text": self.texts.get(fill.order_id, "-"),
                "fee": _plain(fill.fee),
                "point_fee": "0",
                "role": "maker" if fill.maker else "taker",
            }
            for fill in self._fills(call, swap=True)
            if order in ("0", str(_FIRST_ORDER + fill.order_id))
        ]
        return _page(rows, call.query, 1000)

    def spot_accounts(self, call: Call) -> Any:
        balances = self.house.engine.summary(call.user.account(swap=False)).balances
        only = call.query.get("currency")
        return [
            {"currency": asset, "available": _plain(each.free), "locked": _plain(each.locked), "update_id": 1}
            for asset, each in balances.items()
            if not only or asset == only
        ]

    def futures_account(self, call: Call) -> Any:
        summary = self.house.engine.summary(call.user.account(swap=True))
        held = sum((view.margin for view in self._positions(call.user)), Decimal(0))
        return {
            "user": 100000,
            "currency": "USDT",
            "total": _plain(summary.equity - summary.unrealized_pnl),
            "unrealised_pnl": _plain(summary.unrealized_pnl),
            "position_margin": _plain(held),
            "order_margin": _plain(max(summary.used_margin - held, Decimal(0))),
            "available": _plain(summary.available),
            "maintenance_margin": _plain(summary.maintenance),
            "cross_initial_margin": _plain(held),
            "cross_order_margin": _plain(max(summary.used_margin - held, Decimal(0))),
            "cross_maintenance_margin": _plain(summary.maintenance),
            "cross_available": _plain(summary.available),
            "point": "0",
            "bonus": "0",
            "margin_mode": 0,
            "in_dual_mode": call.user.hedge,
            "position_mode": "dual" if call.user.hedge else "single",
            "history": {"pnl": "0", "fee": "0"},
        }

    def unified_account(self, call: Call) -> Any:
        """The spot money alone: enough to see the shape read."""
        balances = self.house.engine.summary(call.user.account(swap=False)).balances
        usdt = _plain(balances["USDT"].total)
        return {
            "user_id": 100000,
            "locked": False,
            "balances": {
                asset: {"available": _plain(each.free), "freeze": _plain(each.locked), "equity": _plain(each.total)}
                for asset, each in balances.items()
            },
            "total_initial_margin": "0",
            "total_margin_balance": usdt,
            "total_maintenance_margin": "0",
            "total_available_margin": usdt,
            "unified_account_total": usdt,
            "unified_account_total_equity": usdt,
        }

    def _positions(self, user: User, symbol: str | None = None) -> list[Any]:
        return [view for view in self.house.engine.positions(user.account(swap=True), symbol) if view.size]

    def positions(self, call: Call) -> Any:
        rows = []
        for view in self._positions(call.user):
            mark, name = view.mark_price or view.entry_price, _name(view.symbol)
            leverage = view.leverage
            isolated = name in call.user.isolated
            rows.append(
                {
                    "user": 100000,
                    "contract": name,
                    "size": call.size(view.size / CONTRACT),
                    "leverage": str(leverage) if isolated else "0",
                    "cross_leverage_limit": "0" if isolated else str(leverage),
                    "leverage_max": "100",
                    "value": _plain(abs(view.size) * mark),
                    "margin": _plain(view.margin),
                    "initial_margin": _plain(view.margin),
                    "maintenance_margin": _plain(abs(view.size) * mark * Decimal("0.005")),
                    "entry_price": _plain(view.entry_price),
                    "liq_price": _plain(view.liquidation_price or Decimal(0)),
                    "mark_price": _plain(mark),
                    "unrealised_pnl": _plain(view.unrealized_pnl),
                    "realised_pnl": _plain(view.realized_pnl),
                    "mode": ("dual_long" if view.size > 0 else "dual_short") if call.user.hedge else "single",
                    "update_time": int(self.now()),
                }
            )
        return _page(rows, call.query, 100)

    def leverage(self, call: Call, name: str, dual: bool) -> Any:
        if dual != call.user.hedge:
            raise Refusal(400, "POSITION_DUAL_MODE", "not the endpoint of this position mode")
        cross = call.query["leverage"] == "0"
        value = int(call.query["cross_leverage_limit" if cross else "leverage"])
        spec = self._spec(name, swap=True)
        if value > spec.max_leverage:
            raise Refusal(400, "LEVERAGE_TOO_HIGH", f"leverage {value} too high")
        if cross:
            call.user.isolated.pop(name, None)
        else:
            call.user.isolated[name] = value
        self.house.engine.set_leverage(call.user.account(swap=True), spec.symbol, value)
        row = {"contract": name, "leverage": call.query["leverage"], "cross_leverage_limit": str(value)}
        return [row, row] if dual else row

    def countdown(self, call: Call, kind: str) -> Any:
        timeout = call.body.get("timeout")
        if not isinstance(timeout, int) or (timeout != 0 and timeout < 5):
            raise Refusal(400, "INVALID_PARAM_VALUE", "Invalid request parameter `timeout`")
        call.user.countdown[kind] = self.now() + timeout if timeout else 0.0
        return {"triggerTime": int(call.user.countdown[kind] * 1000)}

    def _count_down(self, user: User) -> None:
        for kind, due in user.countdown.items():
            if due and self.now() >= due:
                user.countdown[kind] = 0.0
                self.cancel_all(Call(user, {}, {}, True), swap=kind != "spot")

    # Public

    def server_time(self, _: Any) -> Any:
        return {"server_time": int(self.now() * 1000)}

    def pair(self, _: Any, name: str) -> Any:
        spec = self._spec(name, swap=False)
        return {
            "id": name,
            "base": spec.base,
            "quote": spec.quote,
            "fee": _plain(spec.taker_fee * 100),
            "min_base_amount": _plain(spec.min_amount),
            "max_base_amount": _plain(spec.max_amount),
            "min_quote_amount": _plain(spec.min_notional),
            "amount_precision": -spec.lot.normalize().as_tuple().exponent,  # type: ignore[operator]
            "precision": -spec.tick.normalize().as_tuple().exponent,  # type: ignore[operator]
            "trade_status": "tradable",
            "type": "normal",
            "slippage": "0.03",
        }

    def contract(self, _: Any, name: str) -> Any:
        spec = self._spec(name, swap=True)
        return {
            "name": name,
            "type": "direct",
            "quanto_multiplier": _plain(CONTRACT),
            "order_price_round": _plain(spec.tick),
            "order_size_min": 1,
            "order_size_max": int(spec.max_amount / CONTRACT),
            "leverage_min": "1",
            "leverage_max": str(spec.max_leverage),
            "maker_fee_rate": _plain(spec.maker_fee),
            "taker_fee_rate": _plain(spec.taker_fee),
            "maintenance_rate": _plain(spec.maintenance_rate),
            "in_delisting": False,
            "enable_decimal": False,
            "mark_price": _plain(self.last(spec.symbol)),
            "last_price": _plain(self.last(spec.symbol)),
        }

    def pairs(self, query: Any) -> Any:
        return [self.pair(query, _name(symbol)) for symbol, spec in self.house.specs.items() if spec.kind == "spot"]

    def contracts(self, query: Any) -> Any:
        return [self.contract(query, _name(symbol)) for symbol, spec in self.house.specs.items() if spec.kind == "swap"]

    def tickers(self, query: dict[str, str], swap: bool) -> Any:
        name = query.get("contract" if swap else "currency_pair")
        if name:
            self._spec(name, swap=swap)
        rows = []
        for symbol, (bid, ask) in self.house.marks.items():
            if symbol.endswith("-SWAP") != swap or (name and symbol != _symbol(name, swap)):
                continue
            row = {
                "last": _plain(self.last(symbol)),
                "highest_bid": _plain(bid),
                "lowest_ask": _plain(ask),
                "highest_size": "1000",
                "lowest_size": "1000",
                "change_percentage": "0",
            }
            if swap:
                rows.append({"contract": _name(symbol), "mark_price": _plain(self.last(symbol)), **row})
            else:
                rows.append({"currency_pair": _name(symbol), **row})
        return rows

    def candles(self, query: dict[str, str], swap: bool) -> Any:
        spec = self._spec(query.get("contract" if swap else "currency_pair"), swap=swap)
        units = {"s": 1, "m": 60, "h": 3600, "d": 86400}
        step = int(query["interval"][:-1]) * units[query["interval"][-1]]
        if "from" in query and "limit" in query:
            raise Refusal(400, "INVALID_PARAM_VALUE", "limit conflicts with from and to")
        newest = int(self.now()) // step * step
        last = min(newest, int(query["to"]) // step * step) if "to" in query else newest
        first = int(query["from"]) if "from" in query else last - (int(query.get("limit", 100)) - 1) * step
        price = _plain(self.last(spec.symbol))
        times = range(first, last + 1, step)
        if swap:
            return [{"t": t, "v": "7", "c": price, "h": price, "l": price, "o": price, "sum": "1"} for t in times]
        return [[str(t), "1", price, price, price, price, "0.5", str(t < newest).lower()] for t in times]


@dataclass
class Call:
    """A signed request. `decimal`: the client wants sizes as texts."""

    user: User
    query: dict[str, str]
    body: Any
    decimal: bool

    def size(self, contracts: Decimal) -> Any:
        return _plain(contracts) if self.decimal else int(contracts)


_Handler = Callable[..., Any]
_ROUTES: list[tuple[str, str, bool, _Handler]] = [
    ("GET", "/spot/time", True, GateServer.server_time),
    ("GET", "/spot/currency_pairs", True, GateServer.pairs),
    ("GET", "/spot/currency_pairs/([^/]+)", True, GateServer.pair),
    ("GET", "/margin/currency_pairs", True, lambda *_: []),
    ("GET", "/spot/tickers", True, lambda s, q: s.tickers(q, False)),
    ("GET", "/spot/candlesticks", True, lambda s, q: s.candles(q, False)),
    ("GET", "/futures/usdt/contracts", True, GateServer.contracts),
    ("GET", "/futures/usdt/contracts/([^/]+)", True, GateServer.contract),
    ("GET", "/futures/usdt/tickers", True, lambda s, q: s.tickers(q, True)),
    ("GET", "/futures/usdt/candlesticks", True, lambda s, q: s.candles(q, True)),
    ("GET", "/spot/open_orders", False, GateServer.open_by_pair),
    ("GET", "/spot/my_trades", False, GateServer.spot_trades),
    ("GET", "/spot/accounts", False, GateServer.spot_accounts),
    ("GET", "/unified/accounts", False, GateServer.unified_account),
    ("GET", "/futures/usdt/my_trades", False, GateServer.swap_trades),
    ("GET", "/futures/usdt/my_trades_timerange", False, GateServer.swap_trades),
    ("GET", "/futures/usdt/accounts", False, GateServer.futures_account),
    ("GET", "/futures/usdt/positions", False, GateServer.positions),
    ("POST", "/futures/usdt/positions/([^/]+)/leverage", False, lambda s, c, n: s.leverage(c, n, False)),
    ("POST", "/futures/usdt/dual_comp/positions/([^/]+)/leverage", False, lambda s, c, n: s.leverage(c, n, True)),
    ("POST", "/(spot|futures/usdt)/countdown_cancel_all", False, GateServer.countdown),
]
for _base, _swap in (("/spot", False), ("/futures/usdt", True)):
    for _method, _path, _function in (
        ("POST", "/orders", GateServer.place),
        ("GET", "/orders", GateServer.listed),
        ("DELETE", "/orders", GateServer.cancel_all),
        ("GET", "/orders/([^/]+)", GateServer.find),
        ("DELETE", "/orders/([^/]+)", GateServer.cancel),
        ("POST", "/price_orders", GateServer.arm),
        ("GET", "/price_orders", GateServer.triggers_listed),
        ("DELETE", "/price_orders", GateServer.cancel_triggers),
        ("GET", "/price_orders/([^/]+)", GateServer.find_trigger),
        ("DELETE", "/price_orders/([^/]+)", GateServer.cancel_trigger),
    ):
        _handle: _Handler = lambda s, c, *keys, f=_function, swap=_swap: f(s, c, *keys, swap)  # noqa: E731
        _ROUTES.append((_method, _base + _path, False, _handle))


def _symbol(name: str, swap: bool) -> str:
    return name.replace("_", "-") + ("-SWAP" if swap else "")


def _name(symbol: str) -> str:
    return symbol.removesuffix("-SWAP").replace("-", "_")


def _plain(number: Decimal) -> str:
    return format(number.normalize(), "f") if number else "0"


def _json(status: int, data: Any) -> Response:
    return Response(status, json.dumps(data).encode())


def _parsed(body: bytes) -> Any:
    try:
        return json.loads(body) if body else {}
    except ValueError:
        raise Refusal(400, "INVALID_REQUEST_BODY", "invalid json") from None


def _text(body: dict[str, Any], name: str) -> Decimal:
    value = body.get(name)
    if not isinstance(value, str) or not _DECIMAL.fullmatch(value):
        raise Refusal(400, "INVALID_PARAM_VALUE", f"Invalid request parameter `{name}` value: {value}")
    return Decimal(value)


def _positive(body: dict[str, Any], name: str) -> Decimal:
    number = _text(body, name)
    if number <= 0:
        raise Refusal(400, "INVALID_PARAM_VALUE", f"Invalid request parameter `{name}` value: {number}")
    return number


def _fits(spec: Spec, amount: Decimal, price: Decimal | None) -> None:
    if amount % spec.lot or (price is not None and price % spec.tick):
        raise Refusal(400, "INVALID_PRECISION", f"amount step {spec.lot}, price step {spec.tick}")
    if amount < spec.min_amount:
        raise Refusal(400, "AMOUNT_TOO_LITTLE", f"amount {amount} below {spec.min_amount}")


def _page(rows: list[Any], query: dict[str, str], most: int) -> list[Any]:
    limit = min(int(query.get("limit", 100)), most)
    start = (int(query["page"]) - 1) * limit if "page" in query else int(query.get("offset", 0))
    return rows[start : start + limit]


def serve(port: int = 0) -> GateServer:
    """Start the venue."""
    return GateServer(port)
