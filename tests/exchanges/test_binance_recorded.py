"""Binance's recorded requests, answers, stream messages and errors through the functions that build and read them."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from Execution.common import symbols, transport
from Execution.common.clients import binance_reads as reads
from Execution.common.clients.binance import Session, _encoded
from Execution.common.codecs.binance import ALGO_STATUSES, parse_balances, update_symbol
from Execution.common.errors import ERROR_CODES
from Execution.common.types import AccountInfo, Fill, Instrument, Kline, Order, Position, Ticker
from Execution.exchanges import binance
from tests import shapes

SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "fixtures"
FILE = SHARED / "binance.json"
pytestmark = pytest.mark.skipif(not FILE.is_file(), reason="the recorded cases are not here")
CASES: list[dict[str, Any]] = json.loads(FILE.read_text(encoding="utf-8")) if FILE.is_file() else []
IN_SCOPE = [case for case in CASES if case.get("in_scope", True) and not case.get("unresolved")]

_EDIT = "orders are not edited in place here"
_LIST = "an order list (OCO, OTO): not one order"
_TEST = "the answer of a test order has no order"
NOT_APPLICABLE = {
    "binance.cancel_all_orders.003": "futures are cancelled by id in batches, which tell of each order",
    "binance.get_instruments.019": "an example whose symbols have no filters",
    "binance.get_instruments.027": "an example whose symbols have no filters",
    "binance.get_klines.008": "candles of the mark price are not in the contract",
    "binance.get_klines.010": "candles of the index price are not in the contract",
    "binance.get_klines.014": "an end of the range is not in the contract",
    "binance.get_order_status.030": "lists of finished orders are not in the contract",
    "binance.get_order_status.066": _LIST,
    "binance.get_order_status.067": "the history of amendments",
    "binance.get_positions.016": "positions are read from positionRisk",
    "binance.get_positions.023": "the position mode, no position",
    "binance.get_positions.026": "statistics of other accounts",
    "binance.get_ticker.004": "several tickers at once are not in the contract",
    "binance.get_ticker.008": "several tickers at once are not in the contract",
    "binance.get_ticker.009": "the 24-hour ticker of futures has no best prices: bookTicker is read",
    "binance.place_limit_order.011": "a test order",
    "binance.place_limit_order.029": _LIST,
    "binance.place_limit_order.032": _TEST,
    "binance.place_limit_order.035": _LIST,
    "binance.place_limit_order.037": _TEST,
    "binance.place_limit_order.045": _TEST,
    "binance.place_limit_order.048": _LIST,
    "binance.place_limit_order.051": _LIST,
    "binance.place_market_order.005": "amounts are base units, never a cost in quote",
    "binance.place_market_order.007": "amounts are base units, never a cost in quote",
    "binance.place_market_order.008": "amounts are base units, never a cost in quote",
    "binance.place_stop_order.010": "trailing stops are not in the contract",
    "binance.order_update.057": "the refusal of a trigger names no order fields",
    "binance.order_update.062": _LIST,
    "binance.order_update.066": _LIST,
    "binance.get_account_info.004": "portfolio margin is another account",
    "binance.get_account_info.014": "balances are read from account",
    "binance.get_account_info.021": "balances are read from account",
    "binance.get_account_info.024": "balances are read from account",
    "binance.get_open_orders.019": "the TWAP service of another product",
}
_OPERATIONS_ELSEWHERE = {
    "edit_order": _EDIT,
    "set_position_mode": "the position mode is read, never set",
    "account_update": "balances are read, not streamed",
}
RAN: Counter[str] = Counter()


def reason(case: dict[str, Any]) -> str:
    return NOT_APPLICABLE.get(case["id"], "") or _OPERATIONS_ELSEWHERE.get(case["operation"], "")


def chosen(of: Callable[[dict[str, Any]], bool]) -> list[Any]:
    return [pytest.param(case, id=case["id"]) for case in IN_SCOPE if of(case) and not reason(case)]


def intent(case: dict[str, Any]) -> dict[str, Any] | None:
    expected = case.get("expected")
    return expected.get("intent") if isinstance(expected, dict) else None


def unified(case: dict[str, Any], listed: str) -> str:
    """Our name of Binance's, by the quote currencies that the cases have."""
    quote = next((q for q in ("USDT", "USDC", "BTC", "BNB", "USD") if listed.endswith(q)), listed[-4:])
    return f"{listed[: -len(quote)]}-{quote}" + ("-SWAP" if case["market"] == "swap" else "")


# Requests


class Recorder:
    """Takes what would be sent, and answers just enough to go on."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, str, dict[str, str]]] = []
        self.margin = "CROSSED"

    def __call__(self, method: str, url: str, headers: Any, body: bytes = b"") -> transport.Reply:
        parts = urlsplit(url)
        raw = "&".join(filter(None, (parts.query, body.decode())))
        fields = dict(parse_qsl(raw, keep_blank_values=True))
        self.sent.append((method, parts.path, fields))
        status, told = self.answer(method, parts.path, fields)
        return transport.Reply("local", status, {}, json.dumps(told).encode())

    def answer(self, method: str, path: str, fields: dict[str, str]) -> tuple[int, Any]:
        order = {
            "symbol": fields.get("symbol"), "orderId": fields.get("orderId", 1), "clientOrderId": "a", "price": "1",
            "origQty": "1", "executedQty": "1", "status": "FILLED", "timeInForce": "GTC", "type": "LIMIT",
            "side": "BUY",
        }  # fmt: skip
        algo = {"algoId": fields.get("algoId"), "clientAlgoId": "a", "orderType": "STOP", "quantity": "1"}
        told: dict[tuple[str, str], Any] = {
            ("GET", "/api/v3/time"): {"serverTime": 1700000000000},
            ("GET", "/fapi/v1/time"): {"serverTime": 1700000000000},
            ("GET", "/fapi/v1/algoOrder"): {**order, **algo, "algoStatus": "NEW"},
            ("GET", "/api/v3/openOrders"): [order],
            ("GET", "/api/v3/order"): order,
            ("GET", "/fapi/v1/symbolConfig"): [{"symbol": fields.get("symbol"), "marginType": self.margin}],
        }
        if (method, path) in told:
            return 200, told[method, path]
        return 400, {"code": -2011 if method == "DELETE" else -2013, "msg": "Unknown order sent."}


def _create(call: dict[str, Any]) -> None:
    symbol, kind, side, amount, price, params = (call["input"] + [None] * 6)[:6]
    options = dict(params or {})
    stop, reduces = options.pop("triggerPrice", None), bool(options.pop("reduceOnly", False))
    hedged = bool(options.pop("hedged", False))
    assert not options, options
    binance._futures.get().brief.get("hedged", lambda: hedged)
    if stop is not None:
        binance.place_stop_order(symbol, side, amount, stop, price)
    elif kind == "limit":
        binance.place_limit_order(symbol, side, amount, price, reduce_only=reduces)
    else:
        binance.place_market_order(symbol, side, amount, reduce_only=reduces)


def _klines(call: dict[str, Any]) -> None:
    symbol, interval, start, limit = (call["input"] + [None] * 4)[:4]
    binance.get_klines(symbol, interval or "1m", start=None if start is None else start / 1000, limit=limit or 500)


def _modes(call: dict[str, Any]) -> None:
    reads.hedged(binance._futures.get())


INTENTS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "createOrder": _create,
    "cancelOrder": lambda call: binance.cancel_order(call["input"][1], str(call["input"][0])),
    "cancelOrderWithClientOrderId": lambda call: binance.cancel_order(
        call["input"][1], client_order_id=call["input"][0]
    ),
    "cancelAllOrders": lambda call: binance.cancel_all_orders(call["input"][0]),
    "fetchOrder": lambda call: binance.get_order_status(call["input"][1], str(call["input"][0])),
    "fetchOrderTrades": lambda call: binance.get_fills(call["input"][1], order_id=str(call["input"][0])),
    "fetchOpenOrders": lambda call: binance.get_open_orders(call["input"][0]),
    "fetchOHLCV": _klines,
    "fetchPositions": lambda call: binance._perpetuals(binance._futures.get(), None),
    "fetchPositionMode": _modes,
    "fetchLeverage": lambda call: reads.configs(binance._futures.get()),
    "setLeverage": lambda call: binance.set_leverage(call["input"][1], call["input"][0]),
    "setMarginMode": lambda call: binance._set_margin_mode(
        binance._futures.get(), binance._market(call["input"][1])[1]
    ),
}


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch, home: Path) -> Iterator[Recorder]:
    """Ours in the place of the network, with an instrument for every symbol."""
    monkeypatch.setenv("BINANCE_API_KEY", "key")
    monkeypatch.setenv("BINANCE_API_SECRET", "secret")
    found = Recorder()
    monkeypatch.setattr(transport, "send", found)
    binance.forget()
    yield found
    binance.forget()


@pytest.mark.parametrize("case", chosen(lambda case: bool(intent(case))))
def test_a_request_is_the_recorded_one(
    case: dict[str, Any], recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    call = intent(case)
    assert call is not None
    meta = case.get("market_meta") or {}
    meta = meta[0] if isinstance(meta, list) else meta
    steps = meta.get("precision") or {"amount": 0.001, "price": 0.01}

    def instrument(_: Any, name: str) -> Instrument:
        base, quote, swap = symbols.split(name)
        # The minimum of today is not that of the day of the request.
        return {
            "symbol": name, "base": base, "quote": quote, "market": "swap" if swap else "spot",
            "tick_size": float(steps["price"]), "lot_size": float(steps["amount"]), "min_amount": 1e-8,
            "max_amount": None, "min_notional": 0.0, "contract_size": 1.0, "max_leverage": 125, "maker_fee": 0.0,
            "taker_fee": 0.0, "active": True,
        }  # fmt: skip

    monkeypatch.setattr(reads, "instrument", instrument)
    monkeypatch.setattr(reads, "unified", lambda _, listed: unified(case, listed))
    monkeypatch.setattr(binance, "_best", lambda *_, **__: None)
    if call["method"] == "setMarginMode":
        wanted = str(call["input"][0]).lower()
        monkeypatch.setenv("BINANCE_MARGIN_MODE", wanted)
        recorder.margin = "CROSSED" if wanted == "isolated" else "ISOLATED"
    try:
        INTENTS[call["method"]](call)
    except Exception as error:  # the recorder refuses what it does not know
        assert getattr(error, "exchange_code", ""), error
    request = case["request"]
    parts = urlsplit(request["url"])
    raw = "&".join(filter(None, (parts.query, request["body"])))
    volatile = {*case["volatile_keys"], "clientAlgoId"}
    expected = {k: v for k, v in parse_qsl(raw, keep_blank_values=True) if k not in volatile}
    sent = [
        {k: v for k, v in fields.items() if k not in volatile}
        for method, path, fields in recorder.sent
        if (method, path) == (request["method"], parts.path)
    ]
    assert sent, (request["method"], parts.path, recorder.sent)
    if request["method"] == "GET":
        sent = [{k: v for k, v in each.items() if k in expected} for each in sent]
    assert expected in sent
    RAN["requests"] += 1


# Answers


def payloads(case: dict[str, Any]) -> list[dict[str, Any]]:
    """The objects of an answer, out of what a list, a socket or an order list wraps around them."""
    told = case["response"]
    if isinstance(told, dict) and "result" in told and "id" in told:
        told = told["result"]
    found = told if isinstance(told, list) else [told]
    return [item for each in found for item in each.get("orderReports", [each])]


def expectations(case: dict[str, Any], count: int) -> list[dict[str, Any] | None]:
    expected = case.get("expected") if case.get("expected_reliable", True) else None
    found = expected if isinstance(expected, list) else [expected]
    return list(found) if len(found) == count else [None] * count


ORDERS = ("cancel_all_orders", "cancel_order", "get_open_orders", "get_order_status", "place_limit_order")
ORDERS += ("place_market_order", "place_stop_order", "place_take_profit_order")
DONE_ONLY = {"code", "msg", "algoId", "clientAlgoId"}


@pytest.mark.parametrize(
    "case", chosen(lambda case: case["operation"] in ORDERS and bool(case["response"]) and not intent(case))
)
def test_an_order_is_read_as_recorded(case: dict[str, Any]) -> None:
    found = payloads(case)
    for raw, expected in zip(found, expectations(case, len(found)), strict=True):
        if raw.keys() <= DONE_ONLY:
            assert int(raw["code"]) in (200, -2022)
            continue
        order = binance.parse_order(raw, unified(case, raw["symbol"]))
        shapes.check(order, Order)
        if expected is not None:
            _same_order(order, expected)
    RAN["orders"] += 1


def _same_order(order: Order, expected: dict[str, Any]) -> None:
    symbol = expected["symbol"]
    assert order["symbol"] == symbol.replace("/", "-").replace(":USDT", "-SWAP").replace(":USDC", "-SWAP")
    assert (order["order_id"], order["client_order_id"]) == (expected["id"], expected["clientOrderId"])
    assert order["side"] == expected["side"]
    # ccxt says of a conditional order how it executes, we say why it wakes.
    if order["type"] in ("limit", "market"):
        assert order["type"] == expected["type"]
    assert order["amount"] == expected["amount"]
    if order["type"] != "market":  # ccxt puts the average there
        assert order["price"] == expected["price"]
    assert order["stop_price"] == expected["triggerPrice"]
    assert (order["filled"], order["remaining"]) == (expected["filled"], expected["remaining"])
    assert order["average_price"] == expected["average"]
    assert {"open": ("open", "partially_filled"), "closed": ("filled",), "canceled": ("cancelled",)}[
        expected["status"]
    ].count(order["status"])
    assert order["time_in_force"] == expected["timeInForce"].replace("PO", "GTC")
    assert order["post_only"] == expected["postOnly"]
    assert order["reduce_only"] == bool(expected["reduceOnly"])
    if expected["timestamp"] and expected["timestamp"] > 0:
        assert order["timestamp"] == expected["timestamp"] / 1000


@pytest.mark.parametrize("case", chosen(lambda case: case["operation"] == "order_update"))
def test_a_message_of_the_stream_is_read(case: dict[str, Any]) -> None:
    message = case["response"]
    listed = update_symbol(message)
    order = binance.parse_order_update(message, unified(case, listed))
    shapes.check(order, Order)
    event = message.get("data") or message.get("event") or message
    raw = event.get("o") if isinstance(event.get("o"), dict) else event
    assert order["order_id"] == str(raw.get("i") or raw["aid"])
    assert order["amount"] == float(raw["q"])
    assert order["status"] == {**binance_statuses(), **ALGO_STATUSES}[raw["X"]]
    if raw.get("x") in ("TRADE", "CALCULATED") and float(raw["l"]):
        (fill,) = order["fills"]
        shapes.check(fill, Fill)
        assert (fill["amount"], fill["price"]) == (float(raw["l"]), float(raw["L"]))
    RAN["stream messages"] += 1


def binance_statuses() -> dict[str, Any]:
    from Execution.common.codecs.binance import STATUSES

    return dict(STATUSES)


@pytest.mark.parametrize("case", chosen(lambda case: case["operation"] == "get_fills" and bool(case["response"])))
def test_a_fill_is_read_as_recorded(case: dict[str, Any]) -> None:
    found = payloads(case)
    for raw, expected in zip(found, expectations(case, len(found)), strict=True):
        fill = binance.parse_fill(raw, unified(case, raw["symbol"]))
        shapes.check(fill, Fill)
        assert (fill["amount"], fill["price"], fill["fee"]) == tuple(
            float(raw[k]) for k in ("qty", "price", "commission")
        )
        if expected is not None:
            ours = (fill["trade_id"], fill["order_id"], fill["side"], fill["fee"], fill["fee_currency"])
            fee = expected["fee"]
            assert ours == (expected["id"], expected["order"], expected["side"], fee["cost"], fee["currency"])
            assert fill["maker"] is (expected["takerOrMaker"] == "maker")
            assert fill["timestamp"] == expected["timestamp"] / 1000
    RAN["fills"] += 1


@pytest.mark.parametrize("case", chosen(lambda case: case["operation"] == "get_positions" and bool(case["response"])))
def test_a_position_is_read_as_recorded(case: dict[str, Any]) -> None:
    found = payloads(case)
    for raw, expected in zip(found, expectations(case, len(found)), strict=True):
        position = binance.parse_position(raw, unified(case, raw["symbol"]), {"leverage": 20, **raw})
        shapes.check(position, Position)
        if expected is not None:
            assert (position["side"], position["size"]) == (expected["side"], expected["contracts"])
            assert (position["entry_price"], position["mark_price"]) == (expected["entryPrice"], expected["markPrice"])
            assert position["unrealized_pnl"] == expected["unrealizedPnl"]
            assert position["liquidation_price"] == expected["liquidationPrice"]
            assert position["notional"] == pytest.approx(expected["notional"])
            assert position["margin"] == expected["initialMargin"]
            assert position["margin_mode"] == expected["marginMode"]
    RAN["positions"] += 1


@pytest.mark.parametrize(
    "case", chosen(lambda case: case["operation"] == "get_account_info" and bool(case["response"]))
)
def test_an_account_is_read_as_recorded(case: dict[str, Any]) -> None:
    (raw,) = payloads(case)
    info = binance.parse_account(*((raw, None) if "balances" in raw else (None, raw)), {}, 1.0)
    shapes.check(info, AccountInfo)
    if "totalMarginBalance" in raw:
        assert info["total_equity"] == float(raw["totalMarginBalance"])
        assert info["available"] == float(raw["availableBalance"])
    expected = case.get("expected")
    if isinstance(expected, dict):
        held = {asset: total for asset, total in expected["total"].items() if total}
        assert {asset: balance["total"] for asset, balance in info["balances"].items()} == held
        assert {asset: balance["free"] for asset, balance in info["balances"].items()} == {
            asset: free for asset, free in expected["free"].items() if asset in held
        }
        assert parse_balances(raw).keys() == held.keys()
    RAN["accounts"] += 1


@pytest.mark.parametrize("case", chosen(lambda case: case["operation"] == "get_instruments" and bool(case["response"])))
def test_trading_rules_are_read_as_recorded(case: dict[str, Any]) -> None:
    for whole in payloads(case):
        for raw in whole.get("symbols", [whole]):
            if raw.get("contractType", "PERPETUAL") != "PERPETUAL":
                continue
            rules = binance.parse_instrument(raw)
            shapes.check(rules, Instrument)
            if isinstance(case.get("expected"), dict):
                expected = case["expected"]
                assert (rules["tick_size"], rules["lot_size"]) == (
                    expected["precision"]["price"], expected["precision"]["amount"],
                )  # fmt: skip
                limits = expected["limits"]
                assert rules["min_amount"] == limits["amount"]["min"]
                assert rules["max_amount"] == limits["amount"]["max"]
                assert rules["min_notional"] == limits["cost"]["min"]
                assert (rules["maker_fee"], rules["taker_fee"]) == (expected["maker"], expected["taker"])
                assert (rules["base"], rules["quote"]) == (expected["base"], expected["quote"])
                assert rules["active"] is expected["active"]
    RAN["instruments"] += 1


@pytest.mark.parametrize("case", chosen(lambda case: case["operation"] == "get_ticker" and bool(case["response"])))
def test_a_ticker_is_read_as_recorded(case: dict[str, Any]) -> None:
    for raw in payloads(case):
        ticker = binance.parse_ticker(raw, unified(case, raw["symbol"]))
        shapes.check(ticker, Ticker)
        for key, names in (("bid", ("bidPrice",)), ("ask", ("askPrice",)), ("last", ("lastPrice", "price"))):
            told = [float(raw[name]) for name in names if name in raw]
            assert ticker[key] == (told[0] or None if told else None)  # type: ignore[literal-required]
    RAN["tickers"] += 1


@pytest.mark.parametrize("case", chosen(lambda case: case["operation"] == "get_klines" and bool(case["response"])))
def test_candles_are_read_as_recorded(case: dict[str, Any]) -> None:
    told = case["response"]["result"] if isinstance(case["response"], dict) else case["response"]
    klines = [binance.parse_kline(raw, 1.9e9) for raw in told]
    for kline, raw in zip(klines, told, strict=True):
        shapes.check(kline, Kline)
        assert (kline["timestamp"], kline["close"], kline["closed"]) == (raw[0] / 1000, float(raw[4]), True)
    if isinstance(case.get("expected"), list):
        ours = [[int(k["timestamp"] * 1000), k["open"], k["high"], k["low"], k["close"], k["volume"]] for k in klines]
        assert ours == case["expected"]
    RAN["candles"] += 1


MEANINGS = {
    "insufficient_balance": ("INSUFFICIENT_FUNDS", "rejected"),
    "duplicate_client_id": ("DUPLICATE_ORDER", "rejected"),
    "bad_trigger": ("INVALID_ORDER", "rejected"),
    "bad_precision": ("INVALID_ORDER", "rejected"),
    "min_notional": ("INVALID_ORDER", "rejected"),
    "timestamp_skew": ("CLOCK_SKEW", "not_sent"),
    "bad_signature": ("AUTHENTICATION", "rejected"),
    "bad_symbol": ("INVALID_SYMBOL", "rejected"),
    "unknown_order": ("ORDER_NOT_FOUND", "rejected"),
    "post_only": ("POST_ONLY_WOULD_CROSS", "rejected"),
    "rate_limit": ("RATE_LIMITED", "not_sent"),
}


@pytest.mark.parametrize("case", chosen(lambda case: case["operation"] == "error"))
def test_an_error_is_read_as_recorded(case: dict[str, Any]) -> None:
    overloaded = "server_overloaded" in (case["note"] or "")
    status = case.get("http_status") or (503 if overloaded else 400)
    error = binance.parse_error(status, case["response"])
    assert error.exchange_code == str(case["response"]["code"])
    if case.get("error_kind") in MEANINGS:
        assert (error.code, error.outcome) == MEANINGS[case["error_kind"]]
    if overloaded:
        assert (error.code, error.outcome) == ("VENUE_DOWN", "unknown")
    assert error.code in ERROR_CODES
    RAN["errors"] += 1


def test_every_documented_code_has_a_meaning() -> None:
    table = json.loads((SHARED / "binance_spot_error_table.json").read_text(encoding="utf-8"))
    unknown = {each["code"] for each in table["codes"] if each["code"] in (-1000, -1001, -1006, -1007)}
    for each in table["codes"]:
        error = binance.parse_error(400, {"code": each["code"], "msg": (each["messages"] or [""])[0]})
        assert (error.outcome == "unknown") is (each["code"] in unknown), each
    for status in (500, 502, 503, 504):
        assert binance.parse_error(status, {"code": -2010, "msg": "x"}).outcome == "unknown"
    for status in (418, 429):
        error = binance.parse_error(status, b"<html>", 7.0)
        assert (error.code, error.outcome, error.retry_after) == ("RATE_LIMITED", "not_sent", 7.0)
    assert binance.parse_error(400, b"<html>").outcome == "unknown"
    assert binance.parse_error(400, {"code": -9999, "msg": "new"}).code == "VENUE_REJECTED"


# Signatures


VECTORS = SHARED / "signing_vectors.json"


@pytest.mark.skipif(not VECTORS.is_file(), reason="the signing vectors are not here")
def test_signatures_are_those_of_the_documents(recorder: Recorder) -> None:
    vectors = [v for v in json.loads(VECTORS.read_text(encoding="utf-8")) if v["venue"] == "binance"]
    assert vectors
    client = binance._spot.get().public
    for vector in vectors:
        client.API_SECRET = vector["input"]["secretKey"]
        assert client._hmac_signature(vector["input"]["payload"]) == vector["expected"]


def test_what_is_signed_is_what_is_sent(recorder: Recorder) -> None:
    client = binance._spot.get().client
    bodies: list[bytes] = []
    client.session = Session(client._get_headers(), client.clock)
    client.session.post = lambda url, headers, data, **_: bodies.append(_encoded(data)) or _Done()
    client.create_order(symbol="\uff11\uff12", side="BUY", quantity="1", newClientOrderId="ex1-1")
    payload, _, signature = bodies[0].decode().rpartition("&signature=")
    assert "symbol=%EF%BC%91%EF%BC%92" in payload
    assert hmac.new(b"secret", payload.encode(), hashlib.sha256).hexdigest() == signature


class _Done:
    status_code, text = 200, "{}"

    def json(self) -> Any:
        return {}


def test_how_many_cases_ran(capsys: pytest.CaptureFixture[str]) -> None:
    """Every case in scope is either run or listed with a reason."""
    skipped = {case["id"]: reason(case) for case in IN_SCOPE if reason(case)}
    unresolved = sum(1 for case in CASES if case.get("in_scope", True) and case.get("unresolved"))
    assert set(NOT_APPLICABLE) <= {case["id"] for case in CASES}
    runs = sum(RAN.values())
    with capsys.disabled():
        print(
            f"\nbinance: {runs} recorded cases ran {dict(RAN)}, {len(skipped)} do not apply, "
            f"{unresolved} are templates without values, of {len(CASES)}"
        )
