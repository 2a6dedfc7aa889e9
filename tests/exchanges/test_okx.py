"""OKX: its recorded requests and answers, then its own ways over the local server."""

from __future__ import annotations

import base64
import hashlib
import hmac
import io
import json
import logging
import random
import socket
import string
import threading
import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from Execution import cancel_all_orders, drafts, execute_signal, registry
from Execution.common import transport
from Execution.common.clients.okx import data_of
from Execution.common.codecs.okx import Terms, decode_id, encode_id
from Execution.common.errors import ExecutionError, Refused
from Execution.common.precision import rules_of
from Execution.common.types import Fill, Instrument, Kline, Order, Position, Ticker
from Execution.exchanges import okx
from Execution.executor import default_executor
from Execution.order_manager import default_manager
from tests import shapes
from tests.venues.okx import Okx, Refusal, serve

SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "fixtures"
RECORDED = SHARED / "okx.json"
CASES: dict[str, dict[str, Any]] = {}
if RECORDED.exists():
    CASES = {case["id"]: case for case in json.loads(RECORDED.read_text())}
SPOT, SWAP = "BTC-USDT", "BTC-USDT-SWAP"
ORDER = "POST /api/v5/trade/order"

# What the recorded cases hold that does not apply here, and why.
_UNFILLED = "its numbers are left out: placeholders of another project's tests"
_LISTS = "lists of past orders are not asked for: the venue finds one by its id"
_FUTURES = "not traded here: futures, options or inverse contracts"
_STREAM = "no order: a message of another channel"
_AMEND = "orders are not amended"
NOT_HERE = {
    "okx.account_update.004": _FUTURES,
    "okx.account_update.008": _FUTURES,
    "okx.account_update.009": _FUTURES,
    "okx.account_update.010": "the confirmation of a subscription",
    "okx.account_update.012": "the confirmation of a subscription",
    "okx.cancel_order.021": _UNFILLED,
    "okx.cancel_order.022": _UNFILLED,
    **dict.fromkeys([f"okx.edit_order.{n:03}" for n in (1, 2, 7, 8, 9, 11)], _AMEND),
    "okx.error.010": _UNFILLED,
    "okx.error.012": _UNFILLED,
    "okx.get_account_info.001": "the funding account",
    "okx.get_account_info.006": "the funding account",
    "okx.get_fills.010": _UNFILLED,
    "okx.get_fills.011": _UNFILLED,
    "okx.get_instruments.024": _UNFILLED,
    "okx.get_instruments.025": _UNFILLED,
    "okx.get_leverage.001": "the leverage is not read",
    **dict.fromkeys([f"okx.get_order_status.{n:03}" for n in (6, 7, 8, 9, 10, 11, 12, 16)], _LISTS),
    "okx.get_order_status.026": _UNFILLED,
    "okx.get_order_status.027": _UNFILLED,
    "okx.get_positions.002": "past positions",
    "okx.get_positions.012": "past positions",
    "okx.get_positions.013": "margin tiers",
    "okx.get_positions.015": "the position mode is read, not set",
    "okx.get_positions.016": _FUTURES,
    "okx.get_ticker.005": "all tickers at once",
    "okx.order_update.014": _STREAM,
    "okx.order_update.019": _FUTURES,
    "okx.order_update.024": _STREAM,
    "okx.order_update.025": _UNFILLED,
    "okx.order_update.026": _UNFILLED,
    "okx.order_update.029": _STREAM,
    "okx.order_update.034": _UNFILLED,
    "okx.order_update.035": _UNFILLED,
    "okx.place_limit_order.014": "sent over the stream",
    "okx.place_limit_order.015": _UNFILLED,
    "okx.place_market_order.007": "amounts are never in quote",
    "okx.place_market_order.009": "amounts are never in quote",
    "okx.place_market_order.014": "positions are closed by orders of ours",
    "okx.place_stop_order.002": "a trigger order, which knows no direction",
    "okx.place_stop_order.007": "a trailing order",
    "okx.place_take_profit_order.001": "closeFraction: amounts are always said",
}
ERRORS = {
    "okx.error.002": ("INSUFFICIENT_FUNDS", "rejected", "51008"),
    "okx.error.004": ("INVALID_ORDER", "rejected", "51000"),
    "okx.error.006": ("CLOCK_SKEW", "not_sent", "50102"),
    "okx.error.009": ("ORDER_NOT_FOUND", "rejected", "51400"),
    "okx.error.013": ("VENUE_REJECTED", "rejected", "1"),
}
IDS = {"clOrdId", "tag", "algoClOrdId", "attachAlgoOrds"}
# Our call for a recorded request, with the account it is for: (function, arguments, options, position mode, level).
REQUESTS: dict[str, tuple[Any, ...]] = {
    "okx.cancel_all_after.002": ("cancel_all_after", (0,), {}),
    "okx.cancel_order.002": ("cancel_order", ("LTC-USDT", "635561007938625536"), {}),
    "okx.cancel_order.003": ("cancel_order", ("BTC-USDT-SWAP", "642666885133189120"), {}),
    "okx.get_account_info.008": ("get_account_info", (), {}),
    "okx.get_fills.002": ("get_fills", (), {"since": 0}),
    "okx.get_fills.003": ("get_fills", ("LTC-USDT",), {"since": 0}),
    "okx.get_fills.004": ("get_fills", ("LTC-USDT-SWAP",), {"since": 0}),
    "okx.get_klines.004": ("get_klines", ("BTC-USDT", "1m"), {"limit": 100}),
    "okx.get_open_orders.003": ("get_open_orders", (), {}),
    "okx.get_open_orders.004": ("get_open_orders", ("LTC-USDT",), {}),
    "okx.get_open_orders.005": ("get_open_orders", ("ADA-USDT-SWAP",), {}),
    "okx.get_open_orders.008": ("get_open_orders", (), {}),
    "okx.get_order_status.003": ("get_order_status", ("LTC-USDT", "636708553755021312"), {}),
    "okx.get_position_mode.001": ("get_account_info", (), {}),
    "okx.get_positions.009": ("get_positions", ("BTC-USDT-SWAP",), {}),
    "okx.get_ticker.002": ("get_ticker", ("BTC-USDT-SWAP",), {}),
    "okx.place_limit_order.001": ("place_limit_order", ("LTC-USDT-SWAP", "sell", 0.4, 100), {}),
    "okx.place_limit_order.002": ("place_limit_order", ("LTC-USDT", "buy", 2, 50), {}),
    "okx.place_limit_order.003": ("place_limit_order", ("ADA-USDT-SWAP", "buy", 5000, 0.2), {}, "hedge"),
    "okx.place_limit_order.006": ("place_limit_order", (SWAP, "buy", 0.01, 25000), {"post_only": True}, "hedge"),
    "okx.place_limit_order.009": ("place_limit_order", (SWAP, "buy", 0.01, 25000), {}, "hedge"),
    "okx.place_market_order.002": ("place_market_order", (SWAP, "buy", 0.001), {}),
    "okx.place_market_order.003": ("place_market_order", ("LTC-USDT", "buy", 0.1), {}),
    "okx.place_market_order.008": (
        "place_market_order", ("ETH-USDT-SWAP", "sell", 0.1), {"reduce_only": True}, "hedge",
    ),
    "okx.place_stop_order.004": ("place_stop_order", ("LTC-USDT", "sell", 0.1, 90), {}, "net", "3"),
    "okx.place_stop_order.006": (
        "place_stop_order", ("LTC-USDT-SWAP", "sell", 1, 50, 49), {"reduce_only": True}, "hedge",
    ),
    "okx.place_take_profit_order.002": ("place_take_profit_order", ("LTC-USDT", "buy", 2, 90), {}, "net", "3"),
    "okx.place_take_profit_order.004": (
        "place_take_profit_order", (SWAP, "sell", 0.01, 49000, 50000), {"reduce_only": True}, "hedge",
    ),
    "okx.set_leverage.001": ("set_leverage", ("LTC-USDT-SWAP", 5), {}),
    "okx.set_margin_mode.001": ("set_leverage", ("ADA-USDT-SWAP", 10), {}, "net", "2", "isolated"),
}  # fmt: skip
ORDINARY = ("net", "2", "cross")
CONTRACTS = {"ADA-USDT-SWAP": "100", "BTC-USDT-SWAP": "0.01", "ETH-USDT-SWAP": "0.1", "LTC-USDT-SWAP": "1"}


def chosen(has: Callable[[dict[str, Any]], bool], *operations: str) -> list[str]:
    """The ids of the cases in scope that a test is for."""
    return [
        key
        for key, case in CASES.items()
        if case.get("in_scope") is not False
        and key not in NOT_HERE
        and (not operations or case["operation"] in operations)
        and has(case)
    ]


def has_url(case: dict[str, Any]) -> bool:
    request = case["request"]
    return bool(request and request.get("url", "").startswith("https://") and case["response"] is None)


def answered(case: dict[str, Any]) -> bool:
    return case["response"] is not None


def reply(case: dict[str, Any], status: int = 200) -> transport.Reply:
    return transport.Reply("okx", case.get("http_status") or status, {}, json.dumps(case["response"]).encode())


def size_of(case: dict[str, Any], symbol: str) -> Decimal:
    """The base units of one contract as the case itself says."""
    known = case.get("market_meta") or []
    for market in known if isinstance(known, list) else [known]:
        if market["id"] == symbol and market["contractSize"]:
            return Decimal(str(market["contractSize"]))
    return Decimal("0.01") if symbol.endswith("-SWAP") else Decimal(1)


def same(ours: dict[str, Any], theirs: dict[str, Any], pairs: dict[str, str], size: Decimal = Decimal(1)) -> None:
    """Compare fields of ours with ccxt's; amounts are contracts there."""
    for mine, other in pairs.items():
        if theirs.get(other) is None:
            continue
        expected = theirs[other]
        if mine in ("amount", "filled", "remaining", "size"):
            expected = float(Decimal(str(expected)) * size)
        if mine in ("timestamp", "updated"):
            expected = expected / 1000
        found = ours[mine]
        assert found == (pytest.approx(expected) if isinstance(expected, (int, float)) else expected), (mine, other)


@pytest.mark.skipif(not CASES, reason=f"{RECORDED.name} is not beside the repository")
def test_every_recorded_case_is_run_or_named() -> None:
    scope = {key for key, case in CASES.items() if case.get("in_scope") is not False}
    run = {*REQUESTS, *ERRORS, *chosen(answered), *chosen(lambda case: case["operation"] == "cancel_order")}
    assert scope - run - set(NOT_HERE) == set()
    assert not set(NOT_HERE) & run
    print(f"okx: {len(scope & run)} of {len(scope)} recorded cases are run, {len(NOT_HERE)} do not apply")


@pytest.fixture
def wire(monkeypatch: pytest.MonkeyPatch, home: Path) -> Iterator[list[tuple[str, str, dict[str, str], Any]]]:
    """What goes out, as (method, path, query, body); every list is empty, every order is taken."""
    sent: list[tuple[str, str, dict[str, str], Any]] = []

    def send(method: str, url: str, headers: dict[str, str], body: bytes = b"") -> transport.Reply:
        parts = urlsplit(url)
        query = dict(parse_qsl(parts.query))
        sent.append((method, parts.path, query, json.loads(body) if body else None))
        return transport.Reply("okx", 200, {}, json.dumps({"code": "0", "data": told(parts.path, query)}).encode())

    def told(path: str, query: dict[str, str]) -> list[Any]:
        symbol = query.get("instId", "")
        if path.endswith("/instruments"):
            return [{
                "instId": symbol, "ctType": "linear", "ctVal": CONTRACTS.get(symbol, ""), "ctMult": "",
                "tickSz": "0.0001", "lotSz": "0.00001", "minSz": "0.00001", "lever": "50", "state": "live",
            }]  # fmt: skip
        if path.endswith("/config"):
            return [{"posMode": ACCOUNT["mode"], "acctLv": ACCOUNT["level"]}]
        if path.endswith("/time"):
            return [{"ts": str(int(time.time() * 1000))}]
        if path.endswith(("/trade/order", "/trade/order-algo")) and not query:
            return [{"ordId": "1", "algoId": "1", "sCode": "0", "ts": "1"}]
        return [{"triggerTime": "0", "ts": "1", "details": []}] if "cancel-all" in path else []

    for name in ("API_KEY", "API_SECRET", "PASSPHRASE"):
        monkeypatch.setenv(f"OKX_{name}", "x" * 8)
    monkeypatch.setattr(transport, "send", send)
    okx.CLIENTS.forget()
    yield sent
    okx.CLIENTS.forget()


ACCOUNT: dict[str, str] = {}


@pytest.mark.parametrize("key", [key for key in REQUESTS if key in CASES])
def test_requests_are_the_recorded_ones(
    key: str, wire: list[tuple[str, str, dict[str, str], Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    function, given, options, mode, level, margin = (*REQUESTS[key], *ORDINARY[len(REQUESTS[key]) - 3 :])
    ACCOUNT.update(mode={"net": "net_mode", "hedge": "long_short_mode"}[mode], level=level)
    monkeypatch.setenv("OKX_MARGIN_MODE", margin)
    getattr(okx, function)(*given, **options)
    request = CASES[key]["request"]
    parts = urlsplit(request["url"])
    body = request["body"][0] if isinstance(request["body"], list) else request["body"]
    path = parts.path.replace("batch-orders", "order")
    expected = {**dict(parse_qsl(parts.query)), **{name: text(value) for name, value in (body or {}).items()}}
    expected = {name: value for name, value in expected.items() if name not in IDS}
    found = [
        {name: value for name, value in {**query, **(body or {})}.items() if value not in ("", None, [])}
        for method, where, query, body in wire
        if (method, where) == (request["method"], path)
    ]
    ours = {"instType", "limit", "begin"} - expected.keys()  # said by us for the sake of pages, where ccxt is silent
    assert expected in [{k: v for k, v in each.items() if k not in IDS | ours} for each in found], (expected, found)


def text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


@pytest.mark.parametrize("key", chosen(lambda case: case["request"] and case["request"].get("body"), "cancel_order"))
def test_cancels_are_the_recorded_ones(key: str) -> None:
    request = CASES[key]["request"]
    conditional = request["url"].endswith("cancel-algos")
    for item in request["body"] if isinstance(request["body"], list) else [request["body"]]:
        order_id = item["algoId" if conditional else "ordId"]
        assert okx.build_cancel(item["instId"], order_id, conditional=conditional) == item


@pytest.mark.parametrize("key", chosen(answered, "place_market_order", "place_stop_order", "cancel_order"))
def test_acknowledgements_are_read(key: str) -> None:
    for item in data_of(reply(CASES[key])):
        assert item.get("ordId") or item["algoId"]


@pytest.mark.parametrize("key", [key for key in ERRORS if key in CASES])
def test_refusals_are_understood(key: str) -> None:
    with pytest.raises(ExecutionError) as caught:
        data_of(reply(CASES[key]))
    assert (caught.value.code, caught.value.outcome, caught.value.exchange_code) == ERRORS[key]
    assert caught.value.message == caught.value.message.strip()


ORDER_PAIRS = {"order_id": "id", "client_order_id": "clientOrderId", "amount": "amount", "filled": "filled",
               "remaining": "remaining", "average_price": "average", "side": "side", "timestamp": "timestamp",
               "updated": "lastUpdateTimestamp", "reduce_only": "reduceOnly"}  # fmt: skip
CCXT_STATUS = {"closed": {"filled"}, "open": {"open", "partially_filled"}, "canceled": {"cancelled"}}


@pytest.mark.parametrize("key", chosen(answered, "get_order_status", "get_open_orders"))
def test_orders_are_read(key: str) -> None:
    case = CASES[key]
    for row in data_of(reply(case)):
        size = size_of(case, row["instId"])
        order = okx.parse_order(row, size)
        shapes.check(order, Order)
        assert order["symbol"] == row["instId"]
        if row.get("tgtCcy") != "quote_ccy" and row["sz"]:
            assert order["amount"] == float(Decimal(row["sz"]) * size)
        expected = case["expected"]
        if expected:
            expected = expected[0] if isinstance(expected, list) else expected
            same(order, expected, ORDER_PAIRS, size)
            assert order["status"] in CCXT_STATUS[expected["status"]]
            if expected["fee"]:
                assert (order["fee"], order["fee_currency"]) == (expected["fee"]["cost"], expected["fee"]["currency"])
            if expected["stopLossPrice"]:
                assert (order["type"], order["stop_price"]) == ("stop", expected["stopLossPrice"])


@pytest.mark.parametrize("key", chosen(answered, "order_update"))
def test_messages_of_the_stream_are_read(key: str) -> None:
    message = CASES[key]["response"]
    orders = okx.parse_order_update(message, {SWAP: Decimal("0.01")})
    assert len(orders) == len(message["data"]) > 0
    for order, row in zip(orders, message["data"], strict=True):
        shapes.check(order, Order)
        if "accFillSz" in row:
            size = Decimal("0.01") if row["instId"] == SWAP else Decimal(1)
            assert order["filled"] == float(Decimal(row["accFillSz"]) * size)
            assert order["fee"] == -float(row["fee"])
            assert order["average_price"] == float(row["avgPx"])


def test_a_liquidation_says_so() -> None:
    if "okx.order_update.006" not in CASES:
        pytest.skip(f"{RECORDED.name} is not beside the repository")
    (order,) = okx.parse_order_update(CASES["okx.order_update.006"]["response"], {SWAP: Decimal("0.01")})
    assert (order["reason"], order["reduce_only"], order["filled"]) == ("full_liquidation", True, 0.005)


@pytest.mark.parametrize("key", chosen(answered, "get_fills"))
def test_fills_are_read(key: str) -> None:
    case = CASES[key]
    for number, row in enumerate(data_of(reply(case))):
        fill = okx.parse_fill(row, size_of(case, row["instId"]))
        shapes.check(fill, Fill)
        if case["expected"]:
            expected = case["expected"][number]
            pairs = {"trade_id": "id", "order_id": "order", "side": "side", "price": "price", "amount": "amount"}
            same(fill, expected, pairs, size_of(case, row["instId"]))
            assert (fill["fee"], fill["fee_currency"]) == (expected["fee"]["cost"], expected["fee"]["currency"])
            assert fill["maker"] is (expected["takerOrMaker"] == "maker")


@pytest.mark.parametrize("key", chosen(answered, "get_instruments"))
def test_instruments_are_read(key: str) -> None:
    case = CASES[key]
    response = case["response"]
    for row in response.get("data", [response]):
        rules = okx.parse_instrument(row)
        shapes.check(rules, Instrument)
        expected = case["expected"]
        if expected:
            size = expected["contractSize"] or 1
            assert (rules["base"], rules["quote"], rules["active"]) == (
                expected["base"], expected["quote"], expected["active"],
            )  # fmt: skip
            assert rules["contract_size"] == size
            assert rules["tick_size"] == expected["precision"]["price"]
            assert rules["lot_size"] == pytest.approx(expected["precision"]["amount"] * size)
            assert rules["min_amount"] == pytest.approx(expected["limits"]["amount"]["min"] * size)
            if rules["market"] == "swap":
                assert rules["max_leverage"] == expected["limits"]["leverage"]["max"]


@pytest.mark.parametrize("key", chosen(answered, "get_klines"))
def test_klines_are_read(key: str) -> None:
    case = CASES[key]
    klines = [okx.parse_kline(row) for row in data_of(reply(case))]
    for kline in klines:
        shapes.check(kline, Kline)
    if case["expected"]:
        ours = [[k["timestamp"] * 1000, k["open"], k["high"], k["low"], k["close"], k["volume"]] for k in klines]
        assert sorted(ours) == case["expected"]


@pytest.mark.parametrize("key", chosen(answered, "get_ticker"))
def test_tickers_are_read(key: str) -> None:
    case = CASES[key]
    for row in data_of(reply(case)):
        ticker = okx.parse_ticker(row)
        shapes.check(ticker, Ticker)
        if case["expected"]:
            pairs = {"bid": "bid", "ask": "ask", "bid_size": "bidVolume", "ask_size": "askVolume", "last": "last"}
            same(ticker, case["expected"], {**pairs, "timestamp": "timestamp"})


@pytest.mark.parametrize("key", chosen(answered, "get_positions"))
def test_positions_are_read(key: str) -> None:
    case = CASES[key]
    for row in data_of(reply(case)):
        size = size_of(case, row["instId"])
        position = okx.parse_position(row, size)
        shapes.check(position, Position)
        expected = case["expected"][0] if isinstance(case["expected"], list) else case["expected"]
        pairs = {"side": "side", "entry_price": "entryPrice", "mark_price": "markPrice", "leverage": "leverage",
                 "unrealized_pnl": "unrealizedPnl", "margin": "initialMargin", "margin_mode": "marginMode"}  # fmt: skip
        same(position, expected, {**pairs, "size": "contracts"}, size)


@pytest.mark.parametrize("key", chosen(answered, "get_account_info", "account_update"))
def test_accounts_are_read(key: str) -> None:
    case = CASES[key]
    if "ccy" in case["response"]:
        holding = okx.parse_holding(case["response"], "USDT-USD")
        assert (holding["size"], holding["notional"]) == (100.0, 100.0)
        return
    row = case["response"]["data"][0]
    account = okx.parse_account(row)
    assert account["total_equity"] == float(row["totalEq"])
    for asset, balance in account["balances"].items():
        assert balance["total"] == pytest.approx(balance["free"] + balance["locked"])
        if case["expected"]:
            expected = case["expected"][asset]
            assert balance == pytest.approx(
                {"free": expected["free"], "locked": expected["used"], "total": expected["total"]}
            )


@pytest.mark.skipif(not SHARED.exists(), reason="no recorded signatures beside the repository")
def test_the_sdk_signs_as_recorded() -> None:
    from okx import utils

    vectors = [v for v in json.loads((SHARED / "signing_vectors.json").read_text()) if v["venue"] == "okx"]
    assert vectors
    for vector in vectors:
        given = vector["input"]
        words = utils.pre_hash(given["timestamp"], given["method"], given["path"], given["body"], False)
        assert utils.sign(words, given["secret"]).decode() == vector["expected"]


# Ids


def test_ids_of_ours_always_fit_and_come_back() -> None:
    longest = drafts.keyed_client_order_id("a signal", 255) + "s123"
    for mine in (
        drafts.new_client_order_id(), drafts.keyed_client_order_id("k", 0) + "t0", longest, "life-1", "once:1",
        "550e8400-e29b-41d4-a716-446655440000", "Zz", "ZzZ4", "Zy0", "Z", "a.b_c:d/e-fZ", "0", "00", "x" * 32,
    ):  # fmt: skip
        theirs = encode_id(mine)
        assert theirs.isalnum()
        assert theirs.isascii()
        assert len(theirs) <= 32
        assert decode_id(theirs) == mine


def test_ids_map_one_to_one() -> None:
    chance = random.Random(7)
    signs = string.ascii_letters + string.digits + "._:/-" + "Zzy" * 8
    for _ in range(20000):
        mine = "".join(chance.choices(signs, k=chance.randint(1, 14)))
        assert decode_id(encode_id(mine)) == mine
        plain = "".join(chance.choices("Zzy" * 3 + string.ascii_letters + string.digits, k=chance.randint(1, 32)))
        theirs = chance.choice(("", "Zz", "Zy")) + plain[:30]
        assert encode_id(decode_id(theirs)) == theirs


def test_an_id_that_cannot_fit_is_refused_before_sending(venue: Okx) -> None:
    answer = registry.call("okx", "place_limit_order", SWAP, "buy", 0.01, 50000, client_order_id="My.Own_Id/" * 6)
    assert (answer["data"]["error"], answer["data"]["outcome"]) == ("INVALID_ORDER", "not_sent")
    assert "32" in answer["message"]
    assert venue.server.sent(ORDER) == []


# Over the local server


@pytest.fixture
def venue(monkeypatch: pytest.MonkeyPatch, home: Path) -> Okx:
    """A local OKX with the accounts okx (net), okx:hedge, okx:multi (several currencies as margin)."""
    server = serve()
    server.add_account("key-hedge", "hedge")
    server.add_account("key-multi", "net", "3")
    monkeypatch.setenv("OKX_BASE_URL", server.url)
    for alias, key in (("", "key-1"), ("HEDGE_", "key-hedge"), ("MULTI_", "key-multi")):
        monkeypatch.setenv(f"OKX_{alias}API_KEY", key)
        monkeypatch.setenv(f"OKX_{alias}API_SECRET", f"secret-of-{key}")
        monkeypatch.setenv(f"OKX_{alias}PASSPHRASE", f"phrase-of-{key}")
    monkeypatch.setenv("EXECUTION_READ_TIMEOUT", "0.3")
    okx.CLIENTS.forget()
    return server


def good(name: str, function: str, *given: Any, **options: Any) -> Any:
    answer = registry.call(name, function, *given, **options)
    assert answer["success"], answer
    return answer["data"]


def bad(name: str, function: str, *given: Any, **options: Any) -> tuple[str, str]:
    answer = registry.call(name, function, *given, **options)
    assert not answer["success"], answer
    return answer["data"]["error"], answer["data"]["outcome"]


@pytest.mark.parametrize(
    ("fault", "code"),
    [("drop", "VENUE_DOWN"), ("silent", "TIMEOUT"), ("broken", "VENUE_DOWN"), ("garbage", "BAD_RESPONSE"),
     ("html", "VENUE_DOWN")],
)  # fmt: skip
@pytest.mark.parametrize("function", ["place_limit_order", "place_stop_order"])
def test_an_order_without_an_answer_is_unknown_and_sent_once(venue: Okx, function: str, fault: str, code: str) -> None:
    where = ORDER if function == "place_limit_order" else f"{ORDER}-algo"
    price = 50000 if function == "place_limit_order" else 70000
    good("okx", "get_account_info")
    venue.server.fault(fault, where)
    assert bad("okx", function, SWAP, "buy", 0.01, price, client_order_id="lost-1") == (code, "unknown")
    assert len(venue.server.sent(where)) == 1
    (order,) = good("okx", "get_open_orders")
    assert order["client_order_id"] == "lost-1"
    assert good("okx", "get_order_status", SWAP, client_order_id="lost-1")["order_id"] == order["order_id"]


def test_a_server_error_is_unknown_and_not_repeated(venue: Okx) -> None:
    venue.server.fault("error", ORDER)
    assert bad("okx", "place_limit_order", SWAP, "buy", 0.01, 50000) == ("VENUE_DOWN", "unknown")
    assert len(venue.server.sent(ORDER)) == 1


def test_a_connection_that_is_refused_is_not_sent(venue: Okx, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        monkeypatch.setenv("OKX_BASE_URL", f"http://127.0.0.1:{free.getsockname()[1]}")
        okx.CLIENTS.forget()
        assert bad("okx", "place_limit_order", SWAP, "buy", 0.01, 50000) == ("VENUE_DOWN", "not_sent")


@pytest.mark.parametrize("path", ["public/instruments", "public/time", "account/config"])
@pytest.mark.parametrize("fault", ["silent", "error", "html", "garbage"])
def test_what_fails_before_the_order_is_sent_says_so(venue: Okx, path: str, fault: str) -> None:
    venue.server.fault(fault, f"GET /api/v5/{path}", times=9)
    assert bad("okx", "place_limit_order", SWAP, "buy", 0.01, 50000)[1] == "not_sent"
    assert venue.server.sent(ORDER) == []


def test_an_order_that_cannot_be_read_back_is_a_success_that_says_so(venue: Okx) -> None:
    good("okx", "get_account_info")
    for fault in ("error", "silent", "broken"):
        venue.server.fault(fault, "GET /api/v5/trade/order")
        given = (SWAP, "buy", 0.01, 50000)
        answer = registry.call("okx", "place_limit_order", *given, client_order_id=f"taken-{fault}", post_only=True)
        shapes.check(answer["data"], Order)
        assert (answer["success"], answer["data"]["status"]) == (True, "pending")
        assert "could not be read back" in answer["message"]
        read = good("okx", "get_order_status", SWAP, answer["data"]["order_id"])
        assert (read["status"], read["client_order_id"]) == ("open", f"taken-{fault}")


def test_too_many_requests(venue: Okx) -> None:
    venue.server.fault("limited", ORDER, times=9)
    answer = okx.place_limit_order(SWAP, "buy", 0.01, 50000)
    assert (answer["data"]["error"], answer["data"]["outcome"]) == ("RATE_LIMITED", "not_sent")
    assert answer["data"]["retry_after"] == 2.0
    assert good("okx", "get_open_orders") == []


def test_a_limited_answer_in_other_words_heeds_retry_after(venue: Okx) -> None:
    venue.server.limited = venue.server.limited._replace(body=b"slow down", headers={"Retry-After": "7"})
    venue.server.fault("limited", ORDER)
    answer = okx.place_limit_order(SWAP, "buy", 0.01, 50000)
    assert (answer["data"]["error"], answer["data"]["retry_after"]) == ("RATE_LIMITED", 7.0)


def test_a_clock_that_is_off_is_reckoned_with(venue: Okx) -> None:
    venue.clock_ahead = -120.0
    good("okx", "get_account_info")
    venue.clock_ahead = 300.0
    placed = good("okx", "place_limit_order", SWAP, "buy", 0.01, 50000)
    assert len(venue.server.sent(ORDER)) == 2
    assert [order["order_id"] for order in good("okx", "get_open_orders")] == [placed["order_id"]]


def test_orders_expire_at_the_venue(venue: Okx) -> None:
    good("okx", "place_limit_order", SWAP, "buy", 0.01, 50000)
    (sent,) = venue.server.sent(ORDER)
    assert 0 < int(sent.headers["exptime"]) / 1000 - sent.received <= 5


def test_wrong_keys(venue: Okx, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("API_KEY", "API_SECRET", "PASSPHRASE"):
        with monkeypatch.context() as changed:
            changed.setenv(f"OKX_{name}", "wrong-wrong")
            okx.CLIENTS.forget()
            assert bad("okx", "get_account_info") == ("AUTHENTICATION", "rejected")
    monkeypatch.delenv("OKX_API_SECRET")
    okx.CLIENTS.forget()
    answer = registry.call("okx", "place_limit_order", SWAP, "buy", 0.01, 50000)
    assert (answer["data"]["error"], answer["data"]["outcome"]) == ("CONFIGURATION", "not_sent")
    assert "OKX_API_SECRET" in answer["message"]
    assert good("okx", "get_ticker", SWAP)["bid"] == 60000.0
    venue.server.requests.clear()
    for function, given in (
        ("place_market_order", (SWAP, "buy", 0.01)), ("cancel_order", (SWAP, "1")), ("cancel_all_orders", ()),
        ("get_open_orders", ()), ("get_fills", ()), ("get_positions", ()), ("get_account_info", ()),
        ("adjust_position", (SWAP, "long", 1)), ("set_leverage", (SWAP, 3)), ("cancel_all_after", (60,)),
    ):  # fmt: skip
        assert bad("okx", function, *given) == ("CONFIGURATION", "not_sent"), function
    assert venue.server.requests == []


def test_demo_trading_is_said_in_a_header(venue: Okx, monkeypatch: pytest.MonkeyPatch) -> None:
    good("okx", "get_account_info")
    monkeypatch.setenv("OKX_TESTNET", "1")
    okx.CLIENTS.forget()
    good("okx", "get_account_info")
    marks = [each.headers["x-simulated-trading"] for each in venue.server.sent("GET /api/v5/account/balance")]
    assert marks == ["0", "1"]


def test_what_is_sent_carries_no_tag_and_only_text(venue: Okx) -> None:
    good("okx", "place_limit_order", SWAP, "buy", "0.0123456", 50000.19, client_order_id="a-1")
    good("okx", "place_market_order", SPOT, "buy", 0.00001)
    good("okx", "place_stop_order", SWAP, "sell", 0.01, 50000)
    for sent in venue.server.sent("POST"):
        body = json.loads(sent.body)
        assert not body["tag"]
        assert all(isinstance(value, str) for value in body.values() if value not in (None, []))
    first, second = (json.loads(sent.body) for sent in venue.server.sent(ORDER)[:2])
    assert (first["sz"], first["px"], first["clOrdId"]) == ("1.2", "50000.1", "Zza" + "Z41")
    assert (second["sz"], second["tgtCcy"]) == ("0.00001", "base_ccy")


def test_signatures_cover_the_bytes_that_are_sent(venue: Okx) -> None:
    good("okx", "get_open_orders", SWAP)
    for sent in venue.server.sent("GET /api/v5/trade/"):
        words = f"{sent.headers['ok-access-timestamp']}GET{sent.target}".encode()
        digest = hmac.new(b"secret-of-key-1", words, hashlib.sha256).digest()
        assert sent.headers["ok-access-sign"] == base64.b64encode(digest).decode()


# Position modes


def test_hedge_mode_keeps_both_sides(venue: Okx) -> None:
    good("okx:hedge", "place_market_order", SWAP, "buy", 0.02)
    good("okx:hedge", "place_market_order", SWAP, "sell", 0.01)
    held = {p["side"]: p["size"] for p in good("okx:hedge", "get_positions", SWAP)}
    assert held == {"long": 0.02, "short": 0.01}
    assert good("okx:hedge", "get_account_info")["position_mode"] == "hedge"
    closed = good("okx:hedge", "place_market_order", SWAP, "sell", 0.005, reduce_only=True)
    assert closed["reduce_only"] is True
    held = {p["side"]: p["size"] for p in good("okx:hedge", "get_positions", SWAP)}
    assert held == {"long": 0.015, "short": 0.01}
    assert bad("okx:hedge", "place_market_order", SWAP, "sell", 0.5, reduce_only=True) == (
        "REDUCE_ONLY_REJECTED", "rejected",
    )  # fmt: skip
    stop = good("okx:hedge", "place_stop_order", SWAP, "sell", 0.015, 59000, reduce_only=True)
    venue.move(SWAP, 58990.0, 58991.0)
    assert good("okx:hedge", "get_order_status", SWAP, stop["order_id"])["status"] == "filled"
    assert [p["side"] for p in good("okx:hedge", "get_positions", SWAP)] == ["short"]


@pytest.mark.parametrize("name", ["okx", "okx:hedge"])
def test_reducing_never_flips(venue: Okx, name: str) -> None:
    good(name, "adjust_position", SWAP, "long", 0.02)
    reduced = good(name, "adjust_position", SWAP, "long", -5)
    assert (reduced["amount"], reduced["filled"]) == (0.02, 0.02)
    assert good(name, "get_positions", SWAP) == []
    assert bad(name, "adjust_position", SWAP, "long", -0.01) == ("REDUCE_ONLY_REJECTED", "rejected")
    good(name, "adjust_position", SWAP, "short", 0.02)
    assert bad(name, "adjust_position", SWAP, "long", -0.01) == ("REDUCE_ONLY_REJECTED", "rejected")
    assert [(p["side"], p["size"]) for p in good(name, "get_positions") if p["symbol"] == SWAP] == [("short", 0.02)]


def test_the_position_mode_is_read_anew_when_the_venue_complains(venue: Okx) -> None:
    good("okx", "place_limit_order", SWAP, "buy", 0.01, 50000)
    good("okx", "cancel_all_orders")
    account = venue.accounts["key-1"]
    account.mode = "hedge"
    venue.house.engine.set_position_mode("key-1", "hedge")
    assert bad("okx", "place_limit_order", SWAP, "buy", 0.01, 50000) == ("INVALID_ORDER", "rejected")
    good("okx", "place_limit_order", SWAP, "buy", 0.01, 50000)


def test_an_account_of_several_currencies(venue: Okx) -> None:
    bought = good("okx:multi", "place_market_order", SPOT, "buy", 0.01)
    assert bought["filled"] == 0.01
    good("okx:multi", "place_market_order", SWAP, "buy", 0.1)
    info = good("okx:multi", "get_account_info")
    (position,) = good("okx:multi", "get_positions", SWAP)
    assert info["used_margin"] == pytest.approx(position["margin"])
    assert 0 < info["margin_ratio"] < 1
    modes = [json.loads(sent.body)["tdMode"] for sent in venue.server.sent(ORDER)]
    assert modes == ["cross", "cross"]


def test_isolated_margin_is_a_setting(venue: Okx, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OKX_MARGIN_MODE", "isolated")
    okx.CLIENTS.forget()
    good("okx", "place_limit_order", SWAP, "buy", 0.01, 50000)
    good("okx:hedge", "set_leverage", SWAP, 5)
    assert json.loads(venue.server.sent(ORDER)[0].body)["tdMode"] == "isolated"
    sides = [json.loads(s.body)["posSide"] for s in venue.server.sent("POST /api/v5/account/set-leverage")]
    assert sides == ["long", "short"]
    monkeypatch.setenv("OKX_MARGIN_MODE", "portfolio")
    okx.CLIENTS.forget()
    assert bad("okx", "get_account_info") == ("CONFIGURATION", "not_sent")


# Conditional orders


def test_what_a_triggered_order_placed_is_told_as_that_order(venue: Okx) -> None:
    placed = good("okx", "place_stop_order", SWAP, "buy", 0.02, 61000, 60500, client_order_id="stop-1")
    assert (placed["status"], placed["stop_price"], placed["price"]) == ("open", 61000.0, 60500.0)
    venue.move(SWAP, 61000.0, 61001.0)
    (woken,) = good("okx", "get_open_orders")
    assert (woken["order_id"], woken["client_order_id"], woken["type"]) == (placed["order_id"], "stop-1", "stop")
    for ids in ({"order_id": placed["order_id"]}, {"client_order_id": "stop-1"}):
        assert good("okx", "get_order_status", SWAP, **ids)["status"] == "open"
    venue.move(SWAP, 60400.0, 60450.0)
    filled = good("okx", "get_order_status", SWAP, client_order_id="stop-1")
    assert (filled["status"], filled["filled"], filled["average_price"]) == ("filled", 0.02, 60500.0)
    assert filled["fee"] != 0
    for fills in (good("okx", "get_fills", SWAP, order_id=placed["order_id"]), good("okx", "get_fills")):
        assert {(f["order_id"], f["client_order_id"]) for f in fills} == {(placed["order_id"], "stop-1")}
        assert sum(f["amount"] for f in fills) == pytest.approx(0.02)
    assert bad("okx", "cancel_order", SWAP, placed["order_id"]) == ("ORDER_NOT_FOUND", "rejected")


def test_an_order_triggered_while_the_lists_are_read_is_told_once(venue: Okx) -> None:
    placed = good("okx", "place_stop_order", SWAP, "buy", 0.02, 61000, 60500)
    pending = venue.pending

    def late(account: Any, query: dict[str, str]) -> Any:
        venue.move(SWAP, 61000.0, 61001.0)
        return pending(account, query)

    venue.private["GET /api/v5/trade/orders-pending"] = late
    assert [order["order_id"] for order in good("okx", "get_open_orders")] == [placed["order_id"]]


@pytest.mark.parametrize("by", ["order_id", "client_order_id"])
def test_a_triggered_order_is_cancelled_by_its_own_id(venue: Okx, by: str) -> None:
    placed = good("okx", "place_stop_order", SWAP, "buy", 0.02, 61000, 60500, client_order_id="stop-2")
    venue.move(SWAP, 61000.0, 61001.0)
    ended = good("okx", "cancel_order", SWAP, **{by: placed[by]})
    assert (ended["order_id"], ended["status"], ended["filled"]) == (placed["order_id"], "cancelled", 0.0)
    assert good("okx", "get_open_orders") == []


def test_a_waiting_order_is_cancelled_and_says_so(venue: Okx) -> None:
    placed = good("okx", "place_take_profit_order", SWAP, "sell", 0.02, 70000, client_order_id="tp-1")
    ended = good("okx", "cancel_order", SWAP, client_order_id="tp-1")
    assert (ended["order_id"], ended["status"], ended["type"]) == (placed["order_id"], "cancelled", "take_profit")
    answer = registry.call("okx", "cancel_order", SWAP, placed["order_id"])
    assert "cancelled already" in answer["message"]


def test_a_filled_order_says_how_it_ended_when_cancelled(venue: Okx) -> None:
    order = good("okx", "place_market_order", SWAP, "buy", 0.02)
    answer = registry.call("okx", "cancel_order", SWAP, order["order_id"])
    assert answer["data"]["error"] == "ORDER_NOT_FOUND"
    assert "filled already" in answer["message"]


def test_a_partly_filled_order_keeps_its_fills_when_cancelled(venue: Okx) -> None:
    order = good("okx", "place_limit_order", SWAP, "buy", 0.02, 60001)
    assert good("okx", "get_order_status", SWAP, order["order_id"])["status"] == "filled"
    venue.house.move(SWAP, 60000.0, 60001.0, Decimal("0.005"))
    partly = good("okx", "place_limit_order", SWAP, "buy", 0.02, 60001)
    assert partly["status"] == "open"
    partly = good("okx", "get_order_status", SWAP, partly["order_id"])
    assert (partly["status"], partly["filled"]) == ("partially_filled", 0.005)
    ended = good("okx", "cancel_order", SWAP, partly["order_id"])
    assert (ended["status"], ended["filled"], ended["average_price"]) == ("cancelled", 0.005, 60001.0)


def test_an_order_that_fails_when_triggered_is_rejected(venue: Okx) -> None:
    placed = good("okx", "place_stop_order", SWAP, "buy", 0.02, 61000, client_order_id="poor")
    row = venue.conditional_row

    def failed(*given: Any) -> dict[str, Any]:
        return {**row(*given), "state": "order_failed", "failCode": "51008"}

    venue.conditional_row = failed  # type: ignore[method-assign]
    read = good("okx", "get_order_status", SWAP, placed["order_id"])
    assert (read["status"], read["reason"]) == ("rejected", "failed when triggered: 51008")


def test_an_order_whose_child_is_forgotten_is_unknown(venue: Okx) -> None:
    placed = good("okx", "place_stop_order", SWAP, "buy", 0.02, 61000, 60500)
    venue.move(SWAP, 61000.0, 61001.0)
    venue.plain = lambda *_: None  # type: ignore[method-assign]
    read = good("okx", "get_order_status", SWAP, placed["order_id"])
    assert (read["status"], read["filled"]) == ("unknown", 0.0)
    assert "not found" in read["reason"]
    # There may be nothing left to cancel, but nothing proves that.
    assert good("okx", "cancel_order", SWAP, placed["order_id"])["status"] == "unknown"


def test_an_order_triggered_while_it_is_cancelled(venue: Okx) -> None:
    placed = good("okx", "place_stop_order", SWAP, "buy", 0.02, 61000, 60500)
    cancel = venue.cancel_conditional

    def late(*given: Any) -> dict[str, str]:
        venue.move(SWAP, 61000.0, 61001.0)
        venue.cancel_conditional = cancel  # type: ignore[method-assign]
        raise Refusal("51412", "The order has been triggered and can't be canceled.", item=True)

    venue.cancel_conditional = late  # type: ignore[method-assign]
    venue.private["POST /api/v5/trade/cancel-algos"] = lambda a, body: venue.batch(a, body, late, 10)
    ended = good("okx", "cancel_order", SWAP, placed["order_id"])
    assert (ended["order_id"], ended["status"]) == (placed["order_id"], "cancelled")
    assert good("okx", "get_open_orders") == []


@pytest.mark.parametrize(
    ("code", "expected"),
    [("51400", None), ("51410", None), ("51403", ("VENUE_REJECTED", "rejected")),
     ("50011", ("RATE_LIMITED", "not_sent")), ("50004", ("TIMEOUT", "unknown"))],
)  # fmt: skip
def test_a_live_order_is_never_said_to_be_gone(venue: Okx, code: str, expected: tuple[str, str] | None) -> None:
    placed = good("okx", "place_limit_order", SWAP, "buy", 0.02, 50000)

    def refuse(*_: Any) -> Any:
        raise Refusal(code, "no", item=True)

    venue.private["POST /api/v5/trade/cancel-order"] = refuse
    answer = okx.cancel_order(SWAP, placed["order_id"])
    if expected is None:
        assert (answer["success"], answer["data"]["status"]) == (True, "open")
    else:
        assert (answer["data"]["error"], answer["data"]["outcome"]) == expected


def test_a_cancel_that_the_venue_takes_and_then_is_silent_about(venue: Okx) -> None:
    placed = good("okx", "place_limit_order", SWAP, "buy", 0.02, 50000)
    venue.server.fault("silent", "GET /api/v5/trade/order")
    assert bad("okx", "cancel_order", SWAP, placed["order_id"]) == ("TIMEOUT", "unknown")
    assert good("okx", "get_order_status", SWAP, placed["order_id"])["status"] == "cancelled"


# What is not traded here


def test_other_markets_are_named_and_left_out(venue: Okx) -> None:
    good("okx", "place_limit_order", SWAP, "buy", 0.01, 50000)
    good("okx", "place_market_order", SWAP, "buy", 0.01)
    rows, held = venue.plain_row, venue.positions

    def strange(*given: Any) -> dict[str, Any]:
        return {**rows(*given), "instType": "FUTURES", "instId": "BTC-USD-261225", "ordType": "limit"}

    venue.plain_row = strange  # type: ignore[method-assign]
    answer = registry.call("okx", "get_open_orders")
    assert (answer["success"], answer["data"]) == (True, [])
    assert "BTC-USD-261225" in answer["message"]
    answer = registry.call("okx", "cancel_all_orders")
    (sent,) = venue.server.sent("POST /api/v5/trade/cancel-batch-orders")
    assert [item["instId"] for item in json.loads(sent.body)] == ["BTC-USD-261225"]
    assert [failure["error"] for failure in answer["data"]["failed"]] == ["ORDER_NOT_FOUND"]
    assert answer["message"] == "1 were live no more"
    venue.plain_row = rows  # type: ignore[method-assign]
    venue.private["GET /api/v5/account/positions"] = lambda a, q: [
        {**row, "instId": "BTC-USD-SWAP"} for row in held(a, q)
    ]
    answer = registry.call("okx", "get_positions")
    assert [position["symbol"] for position in answer["data"]] == ["ETH-USDT"]
    assert "BTC-USD-SWAP" in answer["message"]


def test_an_inverse_contract_is_no_symbol_of_ours() -> None:
    with pytest.raises(Refused, match="inverse"):
        okx.parse_instrument({"instId": "BTC-USD-SWAP", "ctType": "inverse"})


def test_rebates_are_negative_fees() -> None:
    row = {
        "instType": "SPOT", "instId": SPOT, "ordId": "1", "clOrdId": "", "side": "buy", "ordType": "post_only",
        "px": "1", "sz": "1", "accFillSz": "1", "avgPx": "1", "state": "filled", "cTime": "1", "uTime": "1",
    }  # fmt: skip
    spot = okx.parse_order({**row, "fee": "0", "feeCcy": "BTC", "rebate": "0.01", "rebateCcy": "USDT"})
    assert (spot["fee"], spot["fee_currency"], spot["post_only"]) == (-0.01, "USDT", True)
    swap = okx.parse_order({**row, "fee": "0.02", "feeCcy": "USDT", "rebate": "0", "rebateCcy": "USDT"})
    assert (swap["fee"], swap["fee_currency"]) == (-0.02, "USDT")


def test_an_answer_that_makes_no_sense_before_an_order_is_sent(venue: Okx) -> None:
    venue.private["GET /api/v5/account/config"] = lambda *_: [{"posMode": "both", "acctLv": "2"}]
    assert bad("okx", "place_limit_order", SWAP, "buy", 0.01, 50000) == ("BAD_RESPONSE", "not_sent")
    assert venue.server.sent(ORDER) == []


def test_an_acknowledgement_that_makes_no_sense_is_unknown(venue: Okx) -> None:
    for data in ([], [{}], [{"sCode": "0"}], ["ordId"]):
        venue.private[ORDER] = lambda *_, data=data: data  # type: ignore[misc]
        assert bad("okx", "place_limit_order", SWAP, "buy", 0.01, 50000) == ("BAD_RESPONSE", "unknown"), data


def test_a_list_without_an_end_is_not_read_for_ever(venue: Okx) -> None:
    good("okx", "place_limit_order", SWAP, "buy", 0.01, 50000)
    pending = venue.pending
    venue.private["GET /api/v5/trade/orders-pending"] = lambda a, q: pending(a, {}) * 100
    assert bad("okx", "get_open_orders") == ("BAD_RESPONSE", "unknown")


# All at once


def test_cancel_all_goes_over_pages_and_batches(venue: Okx) -> None:
    ids = set()
    for number in range(105):
        ids.add(good("okx", "place_limit_order", SWAP, "buy", 0.001, 40000 + number)["order_id"])
    for number in range(13):
        ids.add(good("okx", "place_stop_order", SWAP, "buy", 0.001, 70000 + number)["order_id"])
    assert {order["order_id"] for order in good("okx", "get_open_orders")} == ids
    assert len(venue.server.sent("GET /api/v5/trade/orders-pending")) == 2
    assert set(good("okx", "cancel_all_orders", SWAP)["cancelled"]) == ids
    assert len(venue.server.sent("POST /api/v5/trade/cancel-batch-orders")) == 6
    assert len(venue.server.sent("POST /api/v5/trade/cancel-algos")) == 2
    assert good("okx", "get_open_orders") == []
    assert len(good("okx", "get_fills")) == 0


def test_cancel_all_lists_what_it_could_not_cancel(venue: Okx) -> None:
    kept = good("okx", "place_limit_order", SWAP, "buy", 0.01, 50000)
    good("okx", "place_stop_order", SWAP, "buy", 0.01, 70000)
    venue.server.fault("error", "POST /api/v5/trade/cancel-batch-orders")
    answer = registry.call("okx", "cancel_all_orders")
    assert (answer["success"], answer["data"]["outcome"]) == (False, "unknown")
    assert len(answer["data"]["cancelled"]) == 1
    assert [failure["order_id"] for failure in answer["data"]["failed"]] == [kept["order_id"]]
    assert [order["order_id"] for order in good("okx", "get_open_orders")] == [kept["order_id"]]


def test_a_list_that_cannot_be_read_keeps_no_other_from_being_cancelled(venue: Okx) -> None:
    plain = good("okx", "place_limit_order", SWAP, "buy", 0.01, 50000)
    stop = good("okx", "place_stop_order", SWAP, "buy", 0.01, 70000)
    listed = venue.private["GET /api/v5/trade/orders-algo-pending"]

    def refuse(account: Any, query: dict[str, str]) -> Any:
        if query["ordType"] == "chase":
            raise Refusal("51000", "Parameter ordType error", 400)
        return listed(account, query)

    venue.private["GET /api/v5/trade/orders-algo-pending"] = refuse
    answer = registry.call("okx", "cancel_all_orders")
    assert (answer["success"], answer["data"]["error"], answer["data"]["outcome"]) == (
        False,
        "INVALID_ORDER",
        "unknown",
    )
    assert set(answer["data"]["cancelled"]) == {plain["order_id"], stop["order_id"]}
    venue.private["GET /api/v5/trade/orders-algo-pending"] = listed
    again = good("okx", "place_limit_order", SWAP, "buy", 0.01, 50000)
    venue.server.fault("silent", "GET /api/v5/trade/orders-algo-pending")
    answer = registry.call("okx", "cancel_all_orders")
    assert (answer["data"]["error"], answer["data"]["cancelled"]) == ("TIMEOUT", [again["order_id"]])


def test_fills_come_in_pages(venue: Okx) -> None:
    for _ in range(103):
        good("okx", "place_market_order", SWAP, "buy", 0.001)
    fills = good("okx", "get_fills", SWAP)
    assert len(fills) == 103
    assert [f["timestamp"] for f in fills] == sorted(f["timestamp"] for f in fills)
    assert len(good("okx", "get_fills", since=1)) == 103


def test_klines_of_every_interval_and_in_windows(venue: Okx) -> None:
    for interval in okx.INTERVALS:
        assert len(good("okx", "get_klines", SWAP, interval, limit=2)) == 2
    latest = good("okx", "get_klines", SWAP, "1m", limit=700)
    assert len(latest) == 700
    assert [k["closed"] for k in latest] == [True] * 699 + [False]
    start = latest[100]["timestamp"]
    since = good("okx", "get_klines", SWAP, "1m", start=start, limit=250)
    assert [k["timestamp"] for k in since] == [start + 60 * n for n in range(250)]
    old = good("okx", "get_klines", SWAP, "1m", start=start - 30 * 86400, limit=150)
    assert (len(old), old[0]["timestamp"]) == (150, start - 30 * 86400)


def test_the_dead_mans_switch_has_the_venues_bounds(venue: Okx) -> None:
    assert bad("okx", "cancel_all_after", 5) == ("INVALID_ORDER", "not_sent")
    assert bad("okx", "cancel_all_after", 121) == ("INVALID_ORDER", "not_sent")
    good("okx", "place_limit_order", SWAP, "buy", 0.01, 50000)
    assert good("okx", "cancel_all_after", 10.2)["seconds"] == 11.0
    venue.clock_ahead += 12
    assert good("okx", "get_open_orders") == []


def test_max_slippage_bounds_the_price(venue: Okx) -> None:
    order = good("okx", "place_market_order", SWAP, "buy", 0.01, max_slippage=0.001)
    assert (order["status"], order["average_price"]) == ("filled", 60001.0)
    body = json.loads(venue.server.sent(ORDER)[0].body)
    assert (body["ordType"], body["px"]) == ("ioc", "60061")
    sold = good("okx", "place_market_order", SPOT, "buy", 0.01, max_slippage="0.00001")
    assert sold["status"] == "filled"


# Accounts, threads, secrets


def test_two_accounts_at_once_do_not_mix(venue: Okx) -> None:
    names = {"okx": "key-1", "okx:hedge": "key-hedge", "okx:multi": "key-multi"}
    failures: list[Any] = []

    def work(name: str) -> None:
        for number in range(8):
            answer = registry.call(
                name, "place_limit_order", SWAP, "buy", 0.001, 50000, client_order_id=f"{names[name]}-{number}"
            )
            if not answer["success"]:
                failures.append(answer)

    threads = [threading.Thread(target=work, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    for name, key in names.items():
        ours = {order["client_order_id"] for order in good(name, "get_open_orders")}
        assert ours == {f"{key}-{number}" for number in range(8)}


def test_nothing_secret_is_ever_shown(
    venue: Okx, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    from loguru import logger

    written = io.StringIO()
    sink = logger.add(written, level=0)
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("EXECUTION_LOG_LEVEL", "DEBUG")
    answers = []
    try:
        for fault in ("", "html", "garbage", "drop", "limited", "error"):
            venue.server.faults.clear()
            if fault:
                venue.server.fault(fault, ORDER, times=9)
            answers.append(registry.call("okx", "place_limit_order", SWAP, "buy", 0.001, 50000))
        venue.server.faults.clear()
        monkeypatch.setenv("OKX_API_SECRET", "another-secret")
        okx.CLIENTS.forget()
        answers.append(registry.call("okx", "get_account_info"))
    finally:
        logger.remove(sink)
    shown = json.dumps(answers) + written.getvalue() + caplog.text + "".join(capfd.readouterr())
    signatures = {each.headers["ok-access-sign"] for each in venue.server.requests if "ok-access-sign" in each.headers}
    for secret in ("key-1", "secret-of-key-1", "phrase-of-key-1", "another-secret", *signatures):
        assert secret not in shown, secret


def test_the_client_is_built_by_none_of_the_sdks_constructors(venue: Okx, monkeypatch: pytest.MonkeyPatch) -> None:
    import httpx

    def never(*_: Any, **__: Any) -> None:
        raise AssertionError("an HTTP client of its own")

    monkeypatch.setattr(httpx.Client, "__init__", never)
    monkeypatch.setattr(httpx.Client, "send", never)
    okx.CLIENTS.forget()
    good("okx", "place_limit_order", SWAP, "buy", 0.001, 50000)


@pytest.mark.parametrize("name", ["okx", "okx:hedge"])
def test_a_signal_with_its_protection_from_entry_to_exit(venue: Okx, name: str) -> None:
    signal = {"action": "buy", "amount": 0.01, "stop_loss": 59000, "take_profit": 62000, "key": "a signal"}
    answer = execute_signal(name, SWAP, signal)
    assert answer["success"], answer
    entry = answer["data"]["client_order_id"]
    assert execute_signal(name, SWAP, signal)["data"]["client_order_id"] == entry
    assert len(venue.server.sent(ORDER)) == 3  # the entry, and each of its two conditional orders
    live = {order["client_order_id"]: order for order in good(name, "get_open_orders")}
    assert {key: (each["type"], each["stop_price"]) for key, each in live.items()} == {
        f"{entry}s0": ("stop", 59000.0),
        f"{entry}t0": ("take_profit", 62000.0),
    }
    venue.move(SWAP, 58990.0, 58991.0)
    changed = {order["client_order_id"]: order["status"] for order in default_manager().sync()}
    assert changed == {f"{entry}s0": "filled", f"{entry}t0": "cancelled"}
    assert good(name, "get_positions", SWAP) == []
    assert cancel_all_orders(name)["data"]["proven_empty"] is True


# Pure


def test_pure_functions_take_the_terms_of_an_account() -> None:
    rules = rules_of(okx.parse_instrument({
        "instId": SWAP, "ctType": "linear", "ctVal": "0.01", "ctMult": "1", "tickSz": "0.1", "lotSz": "0.01",
        "minSz": "0.01", "lever": "100", "state": "live",
    }))  # fmt: skip
    hedge = Terms("hedge", "isolated", "cash")
    assert okx.build_limit_order(rules, "sell", "0.0123", 50000, reduce_only=True, terms=hedge) == {
        "instId": SWAP, "tdMode": "isolated", "side": "sell", "posSide": "long", "ordType": "limit", "sz": "1.23",
        "px": "50000",
    }  # fmt: skip
    assert okx.build_stop_order(rules, "buy", 1, 60000, reduce_only=True) == {
        "instId": SWAP, "tdMode": "cross", "side": "buy", "reduceOnly": "true", "ordType": "conditional", "sz": "100",
        "slTriggerPx": "60000", "slOrdPx": "-1", "slTriggerPxType": "last",
    }  # fmt: skip
    with pytest.raises(Refused):
        okx.build_cancel(SWAP)


def test_a_state_nobody_has_seen_is_not_guessed(venue: Okx, monkeypatch: pytest.MonkeyPatch) -> None:
    order = good("okx", "place_limit_order", SWAP, "buy", 0.01, 50000)
    row = venue.plain_row

    def strange(*given: Any) -> dict[str, Any]:
        return {**row(*given), "state": "frozen"}

    monkeypatch.setattr(venue, "plain_row", strange)
    assert bad("okx", "get_order_status", SWAP, order["order_id"]) == ("BAD_RESPONSE", "unknown")


def test_an_entry_that_fills_at_once_is_protected_at_once(venue: Okx) -> None:
    entry = {"action": "buy", "amount": 0.02, "price": 60001, "stop_loss": 59000}
    answer = execute_signal("okx", SWAP, entry)
    assert answer["success"], answer
    assert (answer["data"]["order"]["status"], answer["data"]["status"]) == ("filled", "filled")
    (stop,) = answer["data"]["protection"]
    assert (stop["data"]["type"], stop["data"]["amount"], stop["data"]["stop_price"]) == ("stop", 0.02, 59000.0)
    venue.server.fault("error", "GET /api/v5/trade/order", times=9)
    answer = execute_signal("okx", SWAP, {**entry, "amount": 0.01})
    assert (answer["success"], answer["data"]["order"]["status"], answer["data"]["protection"]) == (True, "open", [])
    venue.server.faults.clear()
    default_executor().sync("okx")
    assert sorted(order["amount"] for order in good("okx", "get_open_orders")) == [0.01, 0.02]
