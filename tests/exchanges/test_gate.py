"""Gate: recorded requests and answers of the real venue, and what is peculiar to it over a local server."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import threading
import time
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import ccxt
import pytest

from Execution import drafts, registry
from Execution.common import accounts, settings, transport
from Execution.common.clients import gate as client_module
from Execution.common.codecs import gate as codec
from Execution.common.errors import Refused
from Execution.common.precision import Rules
from Execution.common.types import AccountInfo, Fill, Instrument, Kline, Order, Position, Ticker
from Execution.exchanges import gate
from tests import shapes
from tests.venues import ccxt_clients
from tests.venues import gate as venue_module
from tests.venues.gate import GateServer

SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "fixtures"
CASES: list[dict[str, Any]] = []
if (SHARED / "gate.json").exists():
    CASES = [case for case in json.loads((SHARED / "gate.json").read_bytes()) if case.get("in_scope") is not False]
recorded = pytest.mark.skipif(not CASES, reason="the recorded answers (../shared/fixtures) are not here")

_BATCH = "a batch: orders go and are cancelled one by one here"
_EDIT = "orders are not edited: cancelled and placed anew"
_OTHER = "no order, position, balance or price of the contract is in it"
_QUOTE = "a market buy in quote: ours says base, as a limit order that may not rest"
_UNTIL = "asks up to a time (`until`); ours asks for a number of candles"
_PLACEHOLDERS = "a mock with placeholders instead of numbers"
NOT_APPLICABLE = {
    "gate.account_update.001": _OTHER,
    "gate.account_update.002": _OTHER,
    "gate.account_update.007": _OTHER,
    "gate.account_update.008": _OTHER,
    "gate.account_update.009": _OTHER,
    "gate.cancel_order.014": _BATCH,
    "gate.cancel_order.019": _BATCH,
    "gate.cancel_order.023": _PLACEHOLDERS,
    "gate.edit_order.004": _EDIT,
    "gate.edit_order.005": _EDIT,
    "gate.error.021": "an answer that lacks what a rule needs, not an error of the venue",
    "gate.get_account_info.010": _OTHER,
    "gate.get_account_info.011": _OTHER,
    "gate.get_account_info.015": _PLACEHOLDERS,
    "gate.get_fills.010": "an example of the documentation without its currency pair",
    "gate.get_fills.012": _PLACEHOLDERS,
    "gate.get_instruments.023": _PLACEHOLDERS,
    "gate.get_klines.005": "asks for more candles than one answer has: ours refuses that",
    "gate.get_klines.007": _UNTIL,
    "gate.get_klines.009": _UNTIL,
    "gate.get_klines.015": _UNTIL,
    "gate.get_open_orders.004": "ccxt asks the list of all pairs for one; ours asks the pair's own list",
    "gate.get_order_status.005": "a symbol outside the unified alphabet",
    "gate.get_order_status.012": "the archive of years: not asked for one order",
    "gate.get_order_status.035": _PLACEHOLDERS,
    "gate.get_positions.007": "ours reads the list: a single position's address differs between the position modes",
    "gate.get_ticker.012": "all tickers at once",
    "gate.order_update.010": _OTHER,
    "gate.order_update.011": _OTHER,
    "gate.order_update.025": _OTHER,
    "gate.order_update.027": _PLACEHOLDERS,
    "gate.order_update.028": _PLACEHOLDERS,
    "gate.order_update.033": _PLACEHOLDERS,
    "gate.order_update.034": _PLACEHOLDERS,
    "gate.order_update.037": _PLACEHOLDERS,
    "gate.order_update.038": _OTHER,
    "gate.order_update.039": _OTHER,
    "gate.place_limit_order.007": _BATCH,
    "gate.place_limit_order.015": _PLACEHOLDERS,
    "gate.place_market_order.003": _QUOTE,
    "gate.place_market_order.004": _QUOTE,
    "gate.place_market_order.009": "closes by size 0; ours reduces by a number",
    "gate.place_stop_order.006": "the id alone: the order is made of what was asked",
}
RUN = [case for case in CASES if case["id"] not in NOT_APPLICABLE]
REQUESTS = [c for c in RUN if c["request"] and c["request"].get("url") and c["source"] == "ccxt static request"]
ANSWERS = [c for c in RUN if c["response"] is not None and c["operation"] != "error"]
ERRORS = [c for c in RUN if c["operation"] == "error"]


def ids(cases: list[dict[str, Any]]) -> list[str]:
    return [case["id"] for case in cases]


@recorded
def test_every_recorded_case_is_run_or_named() -> None:
    ran = {case["id"] for case in (*REQUESTS, *ANSWERS, *ERRORS)}
    assert ran | (NOT_APPLICABLE.keys() & set(ids(CASES))) == set(ids(CASES))
    print(f"{len(ran)} of {len(CASES)} recorded cases ran, {len(CASES) - len(ran)} do not apply")


# Requests


def rules_for(meta: dict[str, Any]) -> Rules:
    size = Decimal(str(meta["contractSize"] or 1))
    swap = "-SWAP" if meta["type"] == "swap" else ""
    return Rules(
        f"{meta['base']}-{meta['quote']}{swap}", Decimal(str(meta["precision"]["price"])),
        Decimal(str(meta["precision"]["amount"])) * size, Decimal(0), Decimal("1e15"), Decimal(0), size, 100,
    )  # fmt: skip


def raw_market(meta: dict[str, Any]) -> dict[str, Any]:
    if meta["type"] == "swap":
        return {
            "name": meta["id"], "quanto_multiplier": str(meta["contractSize"]), "order_size_min": 1,
            "in_delisting": False, "order_price_round": str(meta["precision"]["price"]), "order_size_max": 10**6,
            "leverage_max": "100",
            "maker_fee_rate": "0", "taker_fee_rate": "0",
        }  # fmt: skip
    return {
        "base": meta["base"], "quote": meta["quote"], "fee": "0.2", "amount_precision": 6, "precision": 1,
        "trade_status": "tradable",
    }  # fmt: skip


class Wire:
    """Takes requests instead of the network and says nothing much."""

    def __init__(self, meta: dict[str, Any]) -> None:
        self.meta = meta
        self.seen: list[tuple[str, str, dict[str, list[str]]]] = []

    def send(self, method: str, url: str, headers: Any, body: bytes = b"") -> transport.Reply:
        parts = urlsplit(url)
        self.seen.append((method, parts.path, parse_qs(parts.query)))
        data: Any = []
        if "/currency_pairs/" in url or "/contracts/" in url:
            data = raw_market(self.meta)
        elif url.endswith("/spot/time"):
            data = {"server_time": 1700000000000}
        elif "/tickers" in url:
            data = [{"contract": self.meta["id"], "currency_pair": self.meta["id"], "last": "1"}]
        elif "orders/" in url and method == "GET":
            return transport.Reply("gate", 404, {}, b'{"label":"ORDER_NOT_FOUND","message":"Order not found"}')
        return transport.Reply("gate", 200, {}, json.dumps(data).encode())


def calls(case: dict[str, Any], symbol: str) -> None:
    """Do what the recorded call did, as far as our functions have it."""
    operation, given = case["operation"], case["expected"]["intent"]["input"]
    if operation == "cancel_all_orders":
        gate.cancel_all_orders(symbol)
    elif operation == "get_account_info":
        gate.get_account_info()
    elif operation == "get_fills":
        gate.get_fills(symbol, since=given[1] / 1000 if len(given) > 1 and given[1] else None)
    elif operation == "get_klines":
        most = 1999 if symbol.endswith("SWAP") else 1000
        limit = given[3] if len(given) > 3 and given[3] else most
        gate.get_klines(symbol, given[1], start=given[2] / 1000 if len(given) > 2 else None, limit=limit)
    elif operation == "get_open_orders":
        gate.get_open_orders(symbol)
    elif operation == "get_positions":
        gate.get_positions(symbol if given else None)
    elif operation == "get_ticker":
        gate.get_ticker(symbol)
    elif case["expected"]["intent"]["method"] == "fetchClosedOrders":
        gate.get_order_status(symbol, client_order_id="none")
    else:
        market = client_module.market_of(symbol)
        if "price_orders" in case["request"]["url"]:
            gate._find_trigger(market, given[0], None, [])
            if operation == "cancel_order":  # found or not, this is what is asked then
                client_module.ask("DELETE", market.triggers, gate._trigger_query(market), order_id=given[0])
        else:
            which = gate.build_cancel(symbol, given[0], account=client_module.spot_account())
            query = {name: value for name, value in which.items() if name != "order_id"}
            method = "DELETE" if operation == "cancel_order" else "GET"
            client_module.ask(method, market.orders, query, order_id=which["order_id"]) if method == "DELETE" else (
                gate._find_plain(market, which)
            )


def built(rules: Rules, given: list[Any], account: str) -> dict[str, Any]:
    """What we make of the recorded arguments: symbol, type, side, amount, price."""
    amount = contracts(rules, given)
    if given[1] == "limit":
        return gate.build_limit_order(rules, given[2], amount, given[4], account=account)
    return gate.build_market_order(rules, given[2], amount, account=account)


def contracts(rules: Rules, given: list[Any]) -> Decimal:
    return Decimal(str(given[3])) * rules.contract_size


def as_text(value: Any) -> Any:
    """Numbers and their texts are alike: Gate takes sizes in both forms."""
    if isinstance(value, dict):
        return {name: as_text(each) for name, each in value.items()}
    return value if isinstance(value, bool) else str(value)


@recorded
@pytest.mark.parametrize("case", [c for c in REQUESTS if c["operation"].startswith("place")], ids=lambda c: c["id"])
def test_recorded_orders_are_built_alike(case: dict[str, Any]) -> None:
    given, expected = case["expected"]["intent"]["input"], case["request"]["body"]
    rules = rules_for(case["market_meta"])
    options = given[5] if len(given) > 5 else {}
    account = "unified" if options.get("unifiedAccount") else "spot"
    stop = options.get("stopLossPrice") or options.get("triggerPrice")
    if stop:
        amount, price = contracts(rules, given), given[4]
        body = gate.build_stop_order(rules, given[2], amount, stop, price, account=account)
        expected = {**expected, "initial": {k: v for k, v in expected["initial"].items() if k != "text"}}
    else:
        body = built(rules, given, account)
    assert as_text(body) == as_text({k: v for k, v in expected.items() if k not in case["volatile_keys"]})


IGNORED = {"limit", "page", "offset", "timezone", "holding"}  # how many at a time


@recorded
@pytest.mark.parametrize("case", [c for c in REQUESTS if not c["operation"].startswith("place")], ids=lambda c: c["id"])
def test_recorded_questions_are_asked_alike(case: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    meta = case["market_meta"] or {"id": "BTC_USDT", "base": "BTC", "quote": "USDT", "type": "swap", "contractSize": 1,
                                   "precision": {"price": 1, "amount": 1}}  # fmt: skip
    wire = Wire(meta)
    options = [each for each in case["expected"]["intent"]["input"] if isinstance(each, dict)]
    monkeypatch.setattr(transport, "send", wire.send)
    monkeypatch.setenv("GATE_API_KEY", "k")
    monkeypatch.setenv("GATE_API_SECRET", "s")
    if any(each.get("unifiedAccount") for each in options):
        monkeypatch.setenv("GATE_ACCOUNT", "unified")
    accounts.forget()
    swap = "/futures/" in case["request"]["url"]
    calls(case, f"{meta['base']}-{meta['quote']}{'-SWAP' if swap else ''}")
    accounts.forget()
    wanted = urlsplit(case["request"]["url"])
    fields = {name: value for name, value in parse_qs(wanted.query).items() if name not in IGNORED}
    if case["operation"] == "get_fills":
        fields.pop("account", None)  # deprecated there
    if case["operation"] == "get_order_status" and "price_orders" in wanted.path:
        fields.pop("account", None)
    same = [query for method, path, query in wire.seen if (method, path) == (case["request"]["method"], wanted.path)]
    assert same, (wanted.path, wire.seen)
    extra = {"to"} if "to" not in fields else set()
    compared = [{k: v for k, v in query.items() if k not in IGNORED | extra} for query in same]
    assert fields in compared, (fields, compared)


# Answers

STATUSES = {"open": ("open", "partially_filled"), "closed": ("filled", "unknown"), "canceled": ("cancelled",)}


def same_order(order: Order, expected: dict[str, Any], size: float) -> None:
    shown = (order["order_id"], order["client_order_id"], order["side"], order["post_only"])
    assert shown == (expected["id"], expected["clientOrderId"] or "", expected["side"], expected["postOnly"])
    assert order["symbol"].replace("-SWAP", ":USDT").replace("-", "/", 1) == expected["symbol"]
    assert order["status"] in STATUSES[expected["status"]]
    assert order["timestamp"] == pytest.approx(expected["timestamp"] / 1000)
    assert order["time_in_force"] == expected["timeInForce"]
    assert order["price"] == (expected["price"] if expected["type"] == "limit" else None)
    assert order["stop_price"] == expected["triggerPrice"]
    for ours, theirs in (("amount", "amount"), ("filled", "filled"), ("remaining", "remaining")):
        assert order[ours] == pytest.approx(expected[theirs] * size), ours  # type: ignore[literal-required]
    assert order["average_price"] == expected["average"]
    assert order["reduce_only"] == bool(expected["reduceOnly"])
    paid = [(fee["cost"], fee["currency"]) for fee in expected["fees"] if fee["cost"]] or [(0.0, order["fee_currency"])]
    assert (order["fee"], order["fee_currency"]) == paid[0]


def size_of(case: dict[str, Any]) -> Decimal:
    meta = case.get("market_meta")
    found = meta[0] if isinstance(meta, list) and meta else meta
    return Decimal(str((found or {}).get("contractSize") or 1))


def orders_in(response: Any) -> list[Any]:
    if isinstance(response, dict) and "data" in response:
        return orders_in(response["data"]["result"])
    rows = response if isinstance(response, list) else [response]
    return [order for row in rows for order in row.get("orders", [row])]


ORDERS = ("cancel_all_orders", "cancel_order", "edit_order", "get_open_orders", "get_order_status", "place_limit_order",
          "place_market_order", "place_stop_order")  # fmt: skip


@recorded
@pytest.mark.parametrize("case", [c for c in ANSWERS if c["operation"] in ORDERS], ids=lambda c: c["id"])
def test_recorded_orders_are_read(case: dict[str, Any]) -> None:
    size, rows = size_of(case), orders_in(case["response"])
    assert rows
    expected = case["expected"] if isinstance(case["expected"], list) else [case["expected"]] * len(rows)
    for row, wanted in zip(rows, expected, strict=True):
        order = gate.parse_order(row, size)
        shapes.check(order, Order)
        assert order["order_id"] == str(row["id"])
        if wanted:
            same_order(order, wanted, float(size))


def test_a_recorded_market_buy_in_quote_is_read_in_base() -> None:
    row = {
        "id": "342251629898", "text": "t-valid-market-buy-order", "create_time_ms": 1685830058451, "status": "closed",
        "update_time_ms": 1685830058451, "currency_pair": "BTC_USDT", "type": "market", "side": "buy", "amount": "20",
        "price": "0", "time_in_force": "ioc", "left": "1.07319", "filled_total": "18.92681",
        "avg_deal_price": "27038.3", "fee": "0.0000014", "fee_currency": "BTC", "finish_as": "filled",
    }  # fmt: skip
    order = gate.parse_order(row)
    assert order["filled"] == pytest.approx(0.0007)
    assert (order["average_price"], order["client_order_id"]) == (27038.3, "valid-market-buy-order")


@recorded
@pytest.mark.parametrize("case", [c for c in ANSWERS if c["operation"] == "order_update"], ids=lambda c: c["id"])
def test_recorded_messages_are_read(case: dict[str, Any]) -> None:
    if case["response"]["channel"].endswith("usertrades"):
        for row in case["response"]["result"]:
            shapes.check(gate.parse_fill(row, size_of(case)), Fill)
        return
    orders = gate.parse_order_update(case["response"], size_of(case))
    result = case["response"]["result"]
    rows = result if isinstance(result, list) else [result]
    assert [order["order_id"] for order in orders] == [str(row["id"]) for row in rows]
    for order, row in zip(orders, rows, strict=True):
        shapes.check(order, Order)
        finished = {
            "filled": "filled",
            "cancelled": "cancelled",
            "liquidated": "cancelled",
            "position_closed": "cancelled",
        }
        if row.get("status") == "finished":
            assert order["status"] == finished[row["finish_as"]]


@recorded
@pytest.mark.parametrize("case", [c for c in ANSWERS if c["operation"] not in (*ORDERS, "order_update")],
                         ids=lambda c: c["id"])  # fmt: skip
def test_recorded_answers_are_read(case: dict[str, Any]) -> None:
    rows = case["response"] if isinstance(case["response"], list) else [case["response"]]
    READERS[case["operation"]](case, rows, size_of(case))


def _accounts(case: dict[str, Any], rows: list[Any], _: Decimal) -> None:
    if "unified_account_total" in rows[0]:
        info = gate.parse_unified_account(rows[0], hedge=False, now=1.0)
        shapes.check(info, AccountInfo)
        assert (info["total_equity"], info["used_margin"]) == (100016.1, 1025.0524665088)
    else:
        balances = gate.parse_balances(rows)
        assert balances == {"USDT": {"free": 4.1, "locked": 1.1, "total": pytest.approx(5.2)}}


def _fills(case: dict[str, Any], rows: list[Any], size: Decimal) -> None:
    found = {fill["trade_id"]: fill for fill in (gate.parse_fill(row, size) for row in rows)}
    for fill in found.values():
        shapes.check(fill, Fill)
    for wanted in case["expected"] or ():
        fill = found[wanted["id"]]
        assert (fill["side"], fill["amount"], fill["price"]) == (wanted["side"], wanted["amount"], wanted["price"])
        assert (fill["fee"], fill["fee_currency"]) == (wanted["fee"]["cost"], wanted["fee"]["currency"])
        assert fill["maker"] == (wanted["takerOrMaker"] == "maker")
        assert fill["timestamp"] == pytest.approx(wanted["timestamp"] / 1000, abs=0.001)


def _instruments(case: dict[str, Any], rows: list[Any], _: Decimal) -> None:
    for row in rows:
        found = gate.parse_instrument(row)
        shapes.check(found, Instrument)
        wanted = case["expected"]
        if not wanted:
            continue
        size = wanted["contractSize"] or 1
        assert found["symbol"].replace("-SWAP", ":USDT").replace("-", "/", 1) == wanted["symbol"]
        assert (found["tick_size"], found["contract_size"]) == (wanted["precision"]["price"], size)
        assert found["lot_size"] == pytest.approx(wanted["precision"]["amount"] * size)
        assert found["min_amount"] == pytest.approx(
            max(wanted["limits"]["amount"]["min"], wanted["precision"]["amount"]) * size
        )
        assert found["active"] == wanted["active"]
        if wanted["contract"]:
            assert found["max_leverage"] == wanted["limits"]["leverage"]["max"]
            assert found["max_amount"] == pytest.approx(wanted["limits"]["amount"]["max"] * size)
        else:
            assert found["min_notional"] == wanted["limits"]["cost"]["min"]
            assert (found["taker_fee"], found["maker_fee"]) == (wanted["taker"], wanted["maker"])


def _klines(case: dict[str, Any], rows: list[Any], size: Decimal) -> None:
    for row, wanted in zip(rows, case["expected"] or [None] * len(rows), strict=True):
        kline = gate.parse_kline(row, 3600, 0.0, size)
        shapes.check(kline, Kline)
        assert kline["closed"] == (row[7] == "true")
        if wanted:
            names = ("open", "high", "low", "close", "volume")
            assert [kline["timestamp"] * 1000, *(kline[name] for name in names)] == wanted  # type: ignore[literal-required]


def _positions(case: dict[str, Any], rows: list[Any], size: Decimal) -> None:
    for row, wanted in zip(rows, case["expected"] or [None] * len(rows), strict=True):
        found = gate.parse_position(row, size)
        shapes.check(found, Position)
        if not wanted:
            continue
        assert found["size"] == pytest.approx(wanted["contracts"] * wanted["contractSize"])
        assert (found["side"], found["entry_price"], found["mark_price"]) == (
            wanted["side"], wanted["entryPrice"], wanted["markPrice"],
        )  # fmt: skip
        assert (found["notional"], found["leverage"]) == (wanted["notional"], wanted["leverage"])
        assert (found["unrealized_pnl"], found["realized_pnl"]) == (wanted["unrealizedPnl"], wanted["realizedPnl"])
        assert (found["liquidation_price"], found["margin_mode"]) == (wanted["liquidationPrice"], wanted["marginMode"])
        assert found["margin"] == (wanted["initialMargin"] or 0.0)


def _tickers(case: dict[str, Any], rows: list[Any], size: Decimal) -> None:
    for row in rows:
        found = gate.parse_ticker(row, size)
        shapes.check(found, Ticker)
        if wanted := case["expected"]:
            assert (found["bid"], found["ask"], found["last"]) == (wanted["bid"], wanted["ask"], wanted["last"])


READERS = {
    "get_account_info": _accounts,
    "get_fills": _fills,
    "get_instruments": _instruments,
    "get_klines": _klines,
    "get_positions": _positions,
    "get_ticker": _tickers,
}
MEANINGS = {
    "FORBIDDEN": ("AUTHENTICATION", "rejected"),
    "INVALID_CURRENCY": ("INVALID_SYMBOL", "rejected"),
    "INVALID_KEY": ("AUTHENTICATION", "rejected"),
    "INVALID_PARAM_VALUE": ("INVALID_ORDER", "rejected"),
    "INSUFFICIENT_AVAILABLE": ("INSUFFICIENT_FUNDS", "rejected"),
    "AUTO_INVALID_PARAM_TRIGGER_RULE": ("INVALID_ORDER", "rejected"),
    "AUTO_INVALID_PARAM_PRICE": ("INVALID_ORDER", "rejected"),
    "AUTO_INVALID_REQUEST_BODY": ("INVALID_ORDER", "rejected"),
    "ORDER_NOT_FOUND": ("ORDER_NOT_FOUND", "rejected"),
}


@recorded
@pytest.mark.parametrize("case", ERRORS, ids=lambda c: c["id"])
def test_recorded_errors_are_understood(case: dict[str, Any]) -> None:
    error = gate.parse_error(case["response"], case.get("http_status") or 400)
    assert (error.code, error.outcome) == MEANINGS[error.exchange_code]
    assert error.exchange_code in error.message


@pytest.mark.parametrize(
    ("label", "status", "meaning"),
    [
        ("BALANCE_NOT_ENOUGH", 400, ("INSUFFICIENT_FUNDS", "rejected")),
        ("NOT_LISTED_ANYWHERE", 400, ("VENUE_REJECTED", "rejected")),
        ("NOT_LISTED_ANYWHERE", 500, ("VENUE_DOWN", "unknown")),
        ("SERVER_ERROR", 500, ("VENUE_DOWN", "unknown")),
        ("TOO_BUSY", 400, ("VENUE_DOWN", "unknown")),
        ("BALANCE_NOT_ENOUGH", 502, ("VENUE_DOWN", "unknown")),
        ("TOO_MANY_REQUESTS", 429, ("RATE_LIMITED", "not_sent")),
        ("REQUEST_EXPIRED", 403, ("CLOCK_SKEW", "not_sent")),
        ("INVALID_PARAM_VALUE", 408, ("VENUE_DOWN", "unknown")),
    ],
)
def test_what_a_failure_proves(label: str, status: int, meaning: tuple[str, str]) -> None:
    error = gate.parse_error({"label": label, "message": "words"}, status)
    assert (error.code, error.outcome, error.exchange_code) == (*meaning, label)


@pytest.mark.parametrize("raw", [None, [], "no", {}, {"label": ""}, {"data": {}}, {"data": {"errs": 1}}, {"data": 1}])
def test_what_is_no_answer_of_the_api_proves_nothing(raw: Any) -> None:
    for status, code in ((400, "BAD_RESPONSE"), (404, "BAD_RESPONSE"), (502, "VENUE_DOWN")):
        error = gate.parse_error(raw, status)
        assert (error.code, error.outcome, error.exchange_code) == (code, "unknown", str(status))


@pytest.mark.parametrize("status", ["new", "Open", None])
def test_a_status_nobody_knows_is_not_guessed(status: Any) -> None:
    row = {"id": 1, "contract": "BTC_USDT", "size": "1", "left": "1", "price": "1", "tif": "gtc", "create_time": 1.0}
    with pytest.raises(KeyError):
        gate.parse_order({**row, "status": "finished", "finish_as": status})


# Signatures


@pytest.mark.skipif(not (SHARED / "signing_vectors.json").exists(), reason="no signing vectors here")
def test_the_vectors_of_the_documentation_are_signed(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = [v for v in json.loads((SHARED / "signing_vectors.json").read_bytes()) if v["venue"] == "gate"]
    assert vectors
    for vector in vectors:
        given = vector["input"]
        monkeypatch.setenv("GATE_API_KEY", given["key"])
        monkeypatch.setenv("GATE_API_SECRET", given["secret"])
        accounts.forget()
        session = client_module.sessions.get()
        stamp = SimpleNamespace(time=lambda given=given: given["timestamp"])
        session.client.gen_sign.__func__.__globals__["time"] = stamp
        signed = session.client.gen_sign(given["method"], given["path"], given["query"], given["body"] or None)
        assert signed == {"KEY": given["key"], "Timestamp": given["timestamp"], "SIGN": vector["expected"]}
    accounts.forget()


# Client order ids


GENERATED = (
    drafts.new_client_order_id(),
    drafts.new_client_order_id() + "s0",
    drafts.new_client_order_id() + "-12t3",
    drafts.keyed_client_order_id("2026-01-01:BTC", 0),
    drafts.keyed_client_order_id("another", 255) + "s0",
    drafts.keyed_client_order_id("another", 1) + "t12",
)
CHOSEN = ("a", "x" * 28, "a.b-c_d", "once:1", "a/b:c_d", "_.", "_.k", "_.e", "_", "strategy/btc:2026-01")


def test_our_ids_go_there_and_back() -> None:
    for ours in (*GENERATED, *CHOSEN):
        text = codec.encode_client_order_id(ours)
        assert venue_module._TEXT.fullmatch(text)
        assert codec.decode_client_order_id(text) == ours


def test_ids_do_not_meet() -> None:
    many = [
        "a:b",
        "a/b",
        "a_b",
        "_.ea_cb",
        "_.ea_sb",
        "a.b",
        *(drafts.keyed_client_order_id(str(n), 0) for n in range(500)),
    ]
    assert len({codec.encode_client_order_id(each) for each in many}) == len(many)


@pytest.mark.parametrize("ours", ["x" * 29, "a:" * 9, "exk" + "g" * 27, "f" * 64])
def test_an_id_without_room_is_refused(ours: str) -> None:
    with pytest.raises(Refused) as refused:
        codec.encode_client_order_id(ours)
    assert refused.value.code == "INVALID_ORDER"


# Over the local server

SPOT, SWAP = "BTC-USDT", "BTC-USDT-SWAP"
PATHS = {
    (SPOT, "place_limit_order"): "POST /api/v4/spot/orders",
    (SWAP, "place_limit_order"): "POST /api/v4/futures/usdt/orders",
    (SPOT, "place_stop_order"): "POST /api/v4/spot/price_orders",
    (SWAP, "place_stop_order"): "POST /api/v4/futures/usdt/price_orders",
}
GIVEN = {"place_limit_order": ("buy", 0.01, 50000), "place_stop_order": ("buy", 0.01, 70000, 70100)}


@pytest.fixture
def venue(monkeypatch: pytest.MonkeyPatch, home: Path) -> GateServer:
    server = venue_module.serve()
    monkeypatch.setenv("GATE_BASE_URL", server.url)
    monkeypatch.setenv("GATE_API_KEY", venue_module.KEY)
    monkeypatch.setenv("GATE_API_SECRET", venue_module.SECRET)
    accounts.forget()
    return server


@pytest.fixture
def hedged(venue: GateServer, monkeypatch: pytest.MonkeyPatch) -> GateServer:
    venue.open_account("hedge-key", "hedge-secret", hedge=True)
    monkeypatch.setenv("GATE_API_KEY", "hedge-key")
    monkeypatch.setenv("GATE_API_SECRET", "hedge-secret")
    accounts.forget()
    return venue


def call(function: str, *args: Any, **kwargs: Any) -> Any:
    return registry.call("gate", function, *args, **kwargs)


def good(function: str, *args: Any, **kwargs: Any) -> Any:
    answer = call(function, *args, **kwargs)
    assert answer["success"], answer
    return answer["data"]


def failed(answer: Any) -> tuple[str, str]:
    assert answer["success"] is False, answer
    return answer["data"]["error"], answer["data"]["outcome"]


@pytest.mark.parametrize("kind", ["silent", "drop", "broken", "garbage", "html"])
@pytest.mark.parametrize(("symbol", "function"), PATHS)
def test_an_order_without_an_answer_is_unknown_and_sent_once(
    venue: GateServer, monkeypatch: pytest.MonkeyPatch, kind: str, symbol: str, function: str
) -> None:
    monkeypatch.setenv("EXECUTION_READ_TIMEOUT", "0.3" if kind == "silent" else "5")
    good("get_open_orders", symbol)
    venue.server.fault(kind, PATHS[symbol, function])
    answer = call(function, symbol, *GIVEN[function], client_order_id="lost-1")
    code = {"silent": "TIMEOUT", "garbage": "BAD_RESPONSE"}.get(kind, "VENUE_DOWN")
    assert failed(answer) == (code, "unknown")
    assert len(venue.server.sent(PATHS[symbol, function])) == 1
    (order,) = good("get_open_orders", symbol)
    assert order["client_order_id"] == "lost-1"
    found = good("get_order_status", symbol, client_order_id="lost-1")
    assert found["order_id"] == order["order_id"]


@pytest.mark.parametrize(("symbol", "function"), PATHS)
def test_a_server_error_on_an_order_is_not_repeated(venue: GateServer, symbol: str, function: str) -> None:
    venue.server.fault("error", PATHS[symbol, function])
    assert failed(call(function, symbol, *GIVEN[function])) == ("VENUE_DOWN", "unknown")
    assert len(venue.server.sent(PATHS[symbol, function])) == 1


def test_an_order_that_finds_no_server_was_not_sent(venue: GateServer) -> None:
    good("get_open_orders", SPOT)
    venue.stop()
    answer = gate.place_limit_order(SPOT, "buy", 0.01, 50000)
    assert failed(answer) == ("VENUE_DOWN", "not_sent")


@pytest.mark.parametrize(
    "where", ["GET /api/v4/spot/currency_pairs", "GET /api/v4/spot/time", "GET /api/v4/spot/tickers"]
)
def test_what_fails_before_the_order_was_not_sent(venue: GateServer, where: str) -> None:
    venue.server.fault("html", where, times=9)
    assert failed(gate.place_market_order(SPOT, "buy", 0.01)) == ("VENUE_DOWN", "not_sent")
    assert venue.server.sent("POST") == []


def test_too_many_requests(venue: GateServer) -> None:
    venue.server.fault("limited", "POST")
    answer = gate.place_limit_order(SPOT, "buy", 0.01, 50000)
    assert failed(answer) == ("RATE_LIMITED", "not_sent")
    assert answer["data"]["retry_after"] == 1.0
    assert good("get_open_orders", SPOT) == []


@pytest.mark.parametrize("unit", [1, 1000])
def test_gates_own_header_says_how_long_to_wait(unit: int) -> None:
    """It is a time stamp; whether of seconds or milliseconds differs between Gate's own examples."""
    for ahead, wait in ((-50, 0.0), (50, 50.0)):
        reset = str(int(time.time() + ahead) * unit)
        reply = transport.Reply("gate", 429, {"x-gate-ratelimit-reset-timestamp": reset}, b"{}")
        assert client_module._refusal(reply).retry_after == pytest.approx(wait, abs=2)


def test_a_wrong_clock_is_noticed_and_corrected(venue: GateServer) -> None:
    venue.skew = 500.0
    good("place_limit_order", SPOT, "buy", 0.01, 50000)
    venue.skew = -500.0
    assert failed(gate.place_limit_order(SPOT, "buy", 0.01, 50000)) == ("CLOCK_SKEW", "not_sent")
    venue.skew = 500.0
    assert gate.place_limit_order(SPOT, "buy", 0.01, 50000)["success"]
    venue.skew = -500.0
    good("place_limit_order", SPOT, "buy", 0.01, 50000)  # the guard repeats what was not taken
    assert len(good("get_open_orders", SPOT)) == 3


def test_an_order_that_comes_late_is_not_taken(venue: GateServer) -> None:
    good("get_open_orders", SPOT)
    venue.skew = 20.0  # within the window of signatures, past the order's own
    assert failed(gate.place_limit_order(SPOT, "buy", 0.01, 50000)) == ("CLOCK_SKEW", "not_sent")
    assert good("get_open_orders", SPOT) == []


@pytest.mark.parametrize(("name", "label"), [("GATE_API_KEY", "INVALID_KEY"), ("GATE_API_SECRET", "INVALID_SIGNATURE")])
def test_wrong_credentials(venue: GateServer, monkeypatch: pytest.MonkeyPatch, name: str, label: str) -> None:
    monkeypatch.setenv(name, "wrong-one-of-mine")
    accounts.forget()
    answer = call("place_limit_order", SPOT, "buy", 0.01, 50000)
    assert failed(answer) == ("AUTHENTICATION", "rejected")
    assert answer["data"]["exchange_code"] == label
    assert "wrong-one-of-mine" not in json.dumps(answer)


def test_without_credentials_the_market_is_read_and_nothing_else(
    venue: GateServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GATE_API_SECRET")
    accounts.forget()
    for function in ("get_ticker", "get_instrument"):
        good(function, SWAP)
    good("get_klines", SPOT, "1m")
    answer = call("get_account_info")
    assert failed(answer) == ("CONFIGURATION", "not_sent")
    assert "GATE_API_SECRET" in answer["message"]
    assert failed(call("place_limit_order", SPOT, "buy", 0.01, 50000)) == ("CONFIGURATION", "not_sent")


def test_a_testnet_is_another_address(monkeypatch: pytest.MonkeyPatch) -> None:
    accounts.forget()
    assert client_module.sessions.get().host == "https://api.gateio.ws/api/v4"
    monkeypatch.setenv("GATE_TESTNET", "1")
    accounts.forget()
    assert client_module.sessions.get().host == "https://api-testnet.gateapi.io/api/v4"
    accounts.forget()


def test_nothing_but_what_was_asked_is_on_an_order(venue: GateServer) -> None:
    good("place_limit_order", SWAP, "sell", 0.012, 70000, client_order_id="mine")
    good("place_limit_order", SPOT, "buy", 0.012, 50000, client_order_id="mine")
    swap, spot = [json.loads(each.body) for each in venue.server.sent("POST")]
    assert swap == {"contract": "BTC_USDT", "size": "-12", "price": "70000", "text": "t-mine"}
    assert spot == {
        "currency_pair": "BTC_USDT", "type": "limit", "account": "spot", "side": "buy", "amount": "0.012",
        "price": "50000", "text": "t-mine",
    }  # fmt: skip
    assert all(
        "broker" not in name and "channel" not in name for each in venue.server.requests for name in each.headers
    )


def test_a_spot_market_buy_counts_base(venue: GateServer) -> None:
    order = good("place_market_order", SPOT, "buy", 0.1)
    assert (order["type"], order["filled"], order["price"]) == ("market", 0.1, None)
    (sent,) = venue.server.sent("POST /api/v4/spot/orders")
    body = json.loads(sent.body)
    assert (body["type"], body["amount"], body["time_in_force"], body["price"]) == ("limit", "0.1", "ioc", "61801")
    venue.move(SPOT, 60000.0, 60000.1)
    assert good("place_market_order", SPOT, "sell", 0.05)["filled"] == 0.05


@pytest.mark.parametrize("symbol", [SPOT, SWAP])
def test_slippage_bounds_a_market_order(venue: GateServer, symbol: str) -> None:
    order = good("place_market_order", symbol, "buy", 0.01, max_slippage=0.001)
    assert (order["type"], order["filled"]) == ("market", 0.01)
    body = json.loads(venue.server.sent("POST")[-1].body)
    assert body["price"] == "60061"


def test_a_market_without_an_ask_is_not_bought(venue: GateServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate, "_ticker", lambda _: {"lowest_ask": "", "highest_bid": "1"})
    assert failed(call("place_market_order", SPOT, "buy", 0.1)) == ("INVALID_ORDER", "not_sent")
    assert venue.server.sent("POST") == []


def test_hedge_mode(hedged: GateServer) -> None:
    assert good("get_account_info")["position_mode"] == "hedge"
    good("place_market_order", SWAP, "buy", 0.03)
    good("place_market_order", SWAP, "sell", 0.02)
    sides = {each["side"]: each["size"] for each in good("get_positions", SWAP)}
    assert sides == {"long": 0.03, "short": 0.02}
    good("adjust_position", SWAP, "short", 0.01)
    closing = good("adjust_position", SWAP, "long", -5)
    assert (closing["side"], closing["filled"], closing["reduce_only"]) == ("sell", 0.03, True)
    assert {each["side"]: each["size"] for each in good("get_positions", SWAP)} == {"short": 0.03}
    assert failed(call("adjust_position", SWAP, "long", -1)) == ("REDUCE_ONLY_REJECTED", "rejected")
    assert good("set_leverage", SWAP, 5)["leverage"] == 5
    assert hedged.server.sent("POST /api/v4/futures/usdt/dual_comp/positions/BTC_USDT/leverage")


def test_adjusting_never_flips_a_one_way_position(venue: GateServer) -> None:
    good("adjust_position", SWAP, "long", 0.01)
    before = len(venue.server.sent("POST"))
    assert failed(call("adjust_position", SWAP, "short", 0.02)) == ("INVALID_ORDER", "not_sent")
    assert len(venue.server.sent("POST")) == before
    good("adjust_position", SWAP, "long", -7)
    body = json.loads(venue.server.sent("POST")[-1].body)
    assert (body["size"], body["reduce_only"]) == ("-10", True)
    assert good("get_positions", SWAP) == []


@pytest.mark.parametrize(
    ("mode", "query"), [("cross", "leverage=0&cross_leverage_limit=7"), ("isolated", "leverage=7")]
)
def test_margin_mode(venue: GateServer, monkeypatch: pytest.MonkeyPatch, mode: str, query: str) -> None:
    monkeypatch.setenv("GATE_MARGIN_MODE", mode)
    good("set_leverage", SWAP, 7)
    assert venue.server.sent("POST")[-1].query == query
    good("place_market_order", SWAP, "buy", 0.01)
    (position,) = good("get_positions", SWAP)
    assert (position["leverage"], position["margin_mode"]) == (7.0, mode)
    monkeypatch.setenv("GATE_MARGIN_MODE", "both")
    assert failed(call("set_leverage", SWAP, 7)) == ("CONFIGURATION", "not_sent")


@pytest.mark.parametrize("symbol", [SPOT, SWAP])
def test_a_conditional_order_from_birth_to_the_end_of_its_child(venue: GateServer, symbol: str) -> None:
    placed = good("place_stop_order", symbol, "buy", 0.01, 61000, 60900, client_order_id="wake:1")
    assert (placed["type"], placed["stop_price"], placed["price"]) == ("stop", 61000.0, 60900.0)
    (listed,) = good("get_open_orders", symbol)
    keys = ("order_id", "client_order_id", "type", "side", "amount", "price", "stop_price", "status")
    assert [listed[key] for key in keys] == [placed[key] for key in keys]
    venue.move(symbol, 61000.0, 61001.0)
    for key in ({"order_id": placed["order_id"]}, {"client_order_id": "wake:1"}):
        woken = good("get_order_status", symbol, **key)
        assert (woken["order_id"], woken["status"], woken["stop_price"]) == (placed["order_id"], "open", 61000.0)
    (child,) = good("get_open_orders", symbol)
    assert child["order_id"] != placed["order_id"]
    ended = good("cancel_order", symbol, placed["order_id"])
    assert (ended["order_id"], ended["status"], ended["type"]) == (placed["order_id"], "cancelled", "stop")
    assert good("get_open_orders", symbol) == []
    answer = call("cancel_order", symbol, placed["order_id"])
    assert failed(answer) == ("ORDER_NOT_FOUND", "rejected")


def test_a_conditional_order_that_ended_says_how(venue: GateServer) -> None:
    placed = good("place_stop_order", SWAP, "sell", 0.01, 59000)
    ended = good("cancel_order", SWAP, placed["order_id"])
    assert ended["status"] == "cancelled"
    answer = call("cancel_order", SWAP, placed["order_id"])
    assert failed(answer) == ("ORDER_NOT_FOUND", "rejected")
    assert "cancelled" in answer["message"]


def test_a_woken_order_without_money_is_rejected(venue: GateServer) -> None:
    placed = good("place_stop_order", SPOT, "sell", 1, 59000)
    venue.move(SPOT, 58000.0, 58001.0)
    found = good("get_order_status", SPOT, placed["order_id"])
    assert (found["status"], found["reason"]) == ("rejected", "BALANCE_NOT_ENOUGH")


def test_a_refused_reduction_that_gate_took_is_a_refusal(venue: GateServer, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = venue._swap_order

    def ended(order: Any, call: Any) -> dict[str, Any]:
        row = shown(order, call)
        return {**row, "status": "finished", "finish_as": "reduce_only", "left": row["size"]}

    monkeypatch.setattr(venue, "_swap_order", ended)
    answer = call("place_limit_order", SWAP, "buy", 0.01, 50000)
    assert failed(answer) == ("REDUCE_ONLY_REJECTED", "rejected")


@pytest.mark.parametrize("symbol", [SPOT, SWAP])
def test_a_finished_order_is_found_by_our_id_when_gate_forgot_it(venue: GateServer, symbol: str) -> None:
    good("place_market_order", symbol, "buy", 0.01, client_order_id="old:1")
    for number in range(120):
        call_id = f"n-{number}"
        good(
            "cancel_order",
            symbol,
            good("place_limit_order", symbol, "buy", 0.01, 50000, client_order_id=call_id)["order_id"],
        )
    venue.skew = 7200.0
    accounts.forget()
    found = good("get_order_status", symbol, client_order_id="old:1")
    assert (found["status"], found["filled"], found["client_order_id"]) == ("filled", 0.01, "old:1")


@pytest.mark.parametrize("symbol", [SPOT, SWAP, None])
def test_cancel_all_and_open_orders_know_no_page(venue: GateServer, symbol: str | None) -> None:
    for where in (SPOT, SWAP):
        for number in range(103):
            user = next(iter(venue.users.values()))
            venue.house.place(user.account(where == SWAP), _resting(where, number))
    for _ in range(103):
        good("place_stop_order", SWAP, "buy", 0.001, 70000)
    expected = {SPOT: 103, SWAP: 206, None: 309}[symbol]
    assert len(good("get_open_orders", symbol)) == expected
    done = good("cancel_all_orders", symbol)
    assert (len(set(done["cancelled"])), done["failed"]) == (expected, [])
    assert good("get_open_orders", symbol) == []
    assert len(good("get_open_orders")) == 309 - expected


def _resting(symbol: str, number: int) -> Any:
    return venue_module.Wanted(symbol, "buy", "limit", Decimal("0.001"), Decimal(40000 + number))


def test_each_order_that_could_not_be_cancelled_is_named(venue: GateServer) -> None:
    orders = [good("place_limit_order", SPOT, "buy", 0.01, 50000 + n)["order_id"] for n in range(3)]
    venue.stuck.add(orders[1])
    answer = call("cancel_all_orders", SPOT)
    assert answer["success"] is False
    assert sorted(answer["data"]["cancelled"]) == sorted([orders[0], orders[2]])
    (left,) = answer["data"]["failed"]
    assert (left["order_id"], left["error"]) == (orders[1], "VENUE_DOWN")


def test_one_kind_that_cannot_be_cancelled_stops_no_other(venue: GateServer) -> None:
    spot = good("place_limit_order", SPOT, "buy", 0.01, 50000)["order_id"]
    swap = good("place_stop_order", SWAP, "buy", 0.01, 70000)["order_id"]
    venue.server.fault("error", "DELETE /api/v4/futures/usdt/orders")
    answer = call("cancel_all_orders")
    assert failed(answer) == ("VENUE_DOWN", "unknown")
    assert answer["data"]["cancelled"] == [spot, swap]
    assert len(answer["data"]["failed"]) == 1


def test_fills_are_read_over_pages_and_windows(venue: GateServer) -> None:
    order = good("place_market_order", SPOT, "buy", 0.01)
    since = good("get_server_time")["timestamp"] - 70 * 86400
    (fill,) = good("get_fills", SPOT, since=since)
    assert fill["order_id"] == order["order_id"]
    assert len({each.query for each in venue.server.sent("GET /api/v4/spot/my_trades")}) == 3
    good("place_market_order", SWAP, "buy", 0.01)
    assert len(good("get_fills", since=since)) == 2
    assert good("get_fills", order_id=order["order_id"]) == [fill]


def test_the_fee_of_a_perpetuals_order_is_what_its_executions_paid(venue: GateServer) -> None:
    placed = good("place_limit_order", SWAP, "buy", 0.01, 50000)
    venue.move(SWAP, 49900.0, 49901.0)
    order = good("get_order_status", SWAP, placed["order_id"])
    assert (order["status"], order["fee_currency"]) == ("filled", "USDT")
    assert order["fee"] == pytest.approx(0.01 * 50000 * 0.0002)


def test_a_partly_filled_order_keeps_its_fill_when_cancelled(venue: GateServer) -> None:
    placed = good("place_limit_order", SPOT, "buy", 0.01, 50000)
    venue.house.move(SPOT, 49900.0, 50000.0, Decimal("0.004"))
    order = good("get_order_status", SPOT, placed["order_id"])
    assert (order["status"], order["filled"]) == ("partially_filled", 0.004)
    ended = good("cancel_order", SPOT, placed["order_id"])
    assert (ended["status"], ended["filled"], ended["average_price"]) == ("cancelled", 0.004, 50000.0)


def test_a_cancel_of_what_is_over_says_so(venue: GateServer) -> None:
    for symbol, word in ((SPOT, "ORDER_CLOSED"), (SWAP, "ORDER_FINISHED")):
        filled = good("place_market_order", symbol, "buy", 0.01)
        answer = call("cancel_order", symbol, filled["order_id"])
        assert failed(answer) == ("ORDER_NOT_FOUND", "rejected")
        assert word in answer["message"]


def test_a_unified_account(venue: GateServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATE_ACCOUNT", "unified")
    info = good("get_account_info")
    shapes.check(info, AccountInfo)
    assert (info["currency"], info["total_equity"]) == ("USD", 100000.0)
    good("place_limit_order", SPOT, "buy", 0.01, 50000)
    assert json.loads(venue.server.sent("POST")[-1].body)["account"] == "unified"
    assert len(good("get_open_orders", SPOT)) == 1
    good("place_stop_order", SPOT, "buy", 0.01, 70000, 70100)
    assert json.loads(venue.server.sent("POST")[-1].body)["put"]["account"] == "unified"
    good("place_stop_order", SPOT, "buy", 0.01, 70000, 70100, client_order_id="u-1")
    assert good("get_order_status", SPOT, client_order_id="u-1")["status"] == "open"
    assert "account=unified" in venue.server.sent("GET /api/v4/spot/price_orders")[-1].query
    assert good("cancel_all_orders")["failed"] == []


def test_the_dead_mans_switch_needs_five_seconds(venue: GateServer) -> None:
    answer = call("cancel_all_after", 3)
    assert failed(answer) == ("INVALID_ORDER", "not_sent")
    assert "5" in answer["message"]
    assert good("cancel_all_after", 5.2)["seconds"] == 6.0
    good("place_limit_order", SPOT, "buy", 0.01, 50000)
    venue.skew = 30.0
    assert good("get_open_orders") == []


@pytest.mark.parametrize("symbol", [SPOT, SWAP])
@pytest.mark.parametrize("interval", gate.INTERVALS)
def test_klines_of_every_interval(venue: GateServer, symbol: str, interval: str) -> None:
    seconds = gate.INTERVALS[interval]
    latest = good("get_klines", symbol, interval, limit=3)
    assert [kline["closed"] for kline in latest] == [True, True, False]
    begin = latest[0]["timestamp"] - 10 * seconds
    asked = good("get_klines", symbol, interval, start=begin, limit=4)
    assert [kline["timestamp"] for kline in asked] == [begin + n * seconds for n in range(4)]
    assert latest[0]["volume"] == (0.007 if symbol == SWAP else 0.5)


def test_two_accounts_at_once_do_not_mix(venue: GateServer, monkeypatch: pytest.MonkeyPatch) -> None:
    venue.open_account("alpha-key", "alpha-secret")
    monkeypatch.setenv("GATE_ALPHA_API_KEY", "alpha-key")
    monkeypatch.setenv("GATE_ALPHA_API_SECRET", "alpha-secret")
    monkeypatch.setenv("GATE_ALPHA_BASE_URL", venue.url)
    wrong: list[Any] = []

    def trade(name: str, tag: str) -> None:
        for number in range(15):
            answer = registry.call(
                name, "place_limit_order", SPOT, "buy", 0.001, 50000, client_order_id=f"{tag}-{number}"
            )
            wrong.extend([] if answer["success"] else [answer])

    threads = [
        threading.Thread(target=trade, args=given)
        for given in (("gate", "one"), ("gate:alpha", "two"), ("gate", "three"), ("gate:alpha", "four"))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    ours = {order["client_order_id"].split("-")[0] for order in good("get_open_orders")}
    theirs = {o["client_order_id"].split("-")[0] for o in registry.call("gate:alpha", "get_open_orders")["data"]}
    assert (ours, theirs) == ({"one", "three"}, {"two", "four"})


def test_a_named_account_without_credentials_has_none(venue: GateServer) -> None:
    with settings.using_account("beta"):
        assert failed(gate.get_open_orders())[0] == "CONFIGURATION"


def test_secrets_appear_nowhere(
    venue: GateServer,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    key, secret = "MARKERKEY5e1f", "MARKERSECRET77aa"
    venue.open_account(key, secret)
    monkeypatch.setenv("GATE_API_KEY", key)
    monkeypatch.setenv("GATE_API_SECRET", secret)
    monkeypatch.setenv("EXECUTION_READ_TIMEOUT", "0.3")
    accounts.forget()
    caplog.set_level(logging.DEBUG)
    logging.getLogger("gate_api").setLevel(logging.DEBUG)
    seen = [call("place_limit_order", SPOT, "buy", 0.01, 50000), call("get_open_orders")]
    for kind in ("silent", "drop", "broken", "garbage", "html", "error"):
        venue.server.fault(kind, "POST")
        seen.append(call("place_limit_order", SWAP, "buy", 0.01, 50000))
    venue.users[key].secret = "another"
    seen.append(call("get_account_info"))
    out, err = capfd.readouterr()
    text = json.dumps(seen) + caplog.text + out + err + repr(client_module.sessions.get())
    signatures = [each.headers["sign"] for each in venue.server.requests if "sign" in each.headers]
    assert signatures
    for hidden in (key, secret, *signatures):
        assert hidden not in text


def test_no_socket_but_our_own(venue: GateServer, monkeypatch: pytest.MonkeyPatch) -> None:
    import urllib3

    def never(*_: Any, **__: Any) -> Any:
        raise AssertionError("urllib3 was asked")

    monkeypatch.setattr(urllib3.PoolManager, "request", never)
    monkeypatch.setattr(urllib3.connectionpool.HTTPConnectionPool, "urlopen", never)
    accounts.forget()
    good("place_limit_order", SPOT, "buy", 0.01, 50000)
    assert len(good("get_open_orders")) == 1


# What another client says of the local server


@pytest.mark.parametrize(("symbol", "ours", "amount"), [("BTC/USDT", SPOT, 0.01), ("BTC/USDT:USDT", SWAP, 10)])
def test_ccxt_and_we_see_the_same_conditional_orders(venue: GateServer, symbol: str, ours: str, amount: float) -> None:
    client = ccxt_clients.client("gate")
    client.load_markets()
    bought = client.create_order(symbol, "market", "buy", amount, 60001)
    assert (bought["status"], bought["average"]) == ("closed", 60001.0)
    found = good("get_order_status", ours, bought["id"])
    assert (found["status"], found["average_price"]) == ("filled", 60001.0)
    stop = client.create_order(symbol, "limit", "sell", amount / 2, 58000, {"stopLossPrice": 59000})
    (listed,) = client.fetch_open_orders(symbol, params={"trigger": True})
    assert (listed["id"], listed["triggerPrice"]) == (stop["id"], 59000.0)
    (seen,) = good("get_open_orders", ours)
    assert (seen["order_id"], seen["type"], seen["stop_price"], seen["amount"]) == (stop["id"], "stop", 59000.0, 0.005)
    assert client.cancel_order(stop["id"], symbol, {"trigger": True})["status"] == "canceled"
    assert good("get_order_status", ours, stop["id"])["status"] == "cancelled"
    mine = good("place_take_profit_order", ours, "sell", 0.004, 65000, 64000)
    assert client.fetch_order(mine["order_id"], symbol, {"trigger": True})["triggerPrice"] == 65000.0
    with pytest.raises(ccxt.OrderImmediatelyFillable):
        client.create_order(symbol, "limit", "buy", amount, 70000, {"postOnly": True})
    client.session.close()


# What is hard to see from outside


def test_a_post_only_order_that_gate_took_and_ended_is_a_refusal(
    venue: GateServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = venue._swap_order

    def ended(order: Any, call: Any) -> dict[str, Any]:
        row = shown(order, call)
        return {**row, "status": "finished", "finish_as": "poc", "left": row["size"]}

    monkeypatch.setattr(venue, "_swap_order", ended)
    answer = call("place_limit_order", SWAP, "buy", 0.01, 50000, post_only=True)
    assert failed(answer) == ("POST_ONLY_WOULD_CROSS", "rejected")


def test_a_child_that_gate_forgot_ended_without_an_execution(venue: GateServer) -> None:
    placed = good("place_stop_order", SWAP, "buy", 0.01, 61000, 60900)
    venue.move(SWAP, 61000.0, 61001.0)
    (child,) = good("get_open_orders", SWAP)
    good("cancel_order", SWAP, child["order_id"])
    venue.skew = 1000.0
    accounts.forget()
    found = good("get_order_status", SWAP, placed["order_id"])
    assert (found["status"], found["filled"]) == ("cancelled", 0.0)


def test_a_child_that_cannot_be_seen_yet_is_not_guessed(venue: GateServer, monkeypatch: pytest.MonkeyPatch) -> None:
    placed = good("place_stop_order", SWAP, "buy", 0.01, 61000, 60900)
    venue.move(SWAP, 61000.0, 61001.0)
    monkeypatch.setattr(gate, "_find_plain", lambda *_: None)
    assert good("get_order_status", SWAP, placed["order_id"])["status"] == "unknown"


def test_executions_of_many_years_are_not_asked_for(venue: GateServer) -> None:
    answer = call("get_fills", since=0)
    assert failed(answer) == ("INVALID_ORDER", "not_sent")


def test_a_clock_that_cannot_be_asked_again_fails_before_the_order(venue: GateServer) -> None:
    good("get_open_orders", SWAP)
    client_module.sessions.get().clock.doubt()
    venue.server.fault("html", "GET /api/v4/spot/time", times=9)
    answer = gate.place_stop_order(SWAP, "buy", 0.01, 70000)
    assert failed(answer) == ("VENUE_DOWN", "not_sent")
    assert venue.server.sent("POST") == []


def test_a_spot_stop_of_a_buy_is_bounded(venue: GateServer) -> None:
    good("place_stop_order", SPOT, "buy", 0.01, 70000)
    good("place_stop_order", SPOT, "sell", 0.01, 50000)
    buy, sell = [json.loads(each.body)["put"] for each in venue.server.sent("POST")]
    assert (buy["type"], buy["price"], buy["time_in_force"]) == ("limit", "72100", "ioc")
    assert (sell["type"], sell["price"], sell["time_in_force"]) == ("market", "0", "ioc")


def test_a_fraction_of_a_contract_goes_as_text(venue: GateServer) -> None:
    rules = Rules("ETH-USDT-SWAP", Decimal("0.01"), Decimal("0.001"), Decimal("0.001"), Decimal("1e9"), Decimal(0),
                  Decimal("0.01"), 100)  # fmt: skip
    part = gate.build_stop_order(rules, "sell", "0.015", "1000")["initial"]
    assert (part["amount"], "size" in part) == ("-1.5", False)
    assert gate.build_limit_order(rules, "sell", "0.015", "1000")["size"] == "-1.5"


def test_without_the_sdk_nothing_is_sent(venue: GateServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gate_api", None)
    accounts.forget()
    answer = call("place_limit_order", SWAP, "buy", 0.01, 50000)
    assert failed(answer) == ("CONFIGURATION", "not_sent")
    assert "gate-api" in answer["message"]


@pytest.mark.parametrize("symbol", [SPOT, SWAP])
def test_the_executions_of_a_conditional_order_are_its_childs(venue: GateServer, symbol: str) -> None:
    placed = good("place_stop_order", symbol, "buy", 0.01, 61000, client_order_id="wake-2")
    venue.move(symbol, 61000.0, 61001.0)
    order = good("get_order_status", symbol, placed["order_id"])
    assert (order["status"], order["filled"]) == ("filled", 0.01)
    (fill,) = good("get_fills", symbol, order_id=placed["order_id"])
    assert (fill["order_id"], fill["client_order_id"], fill["amount"]) == (placed["order_id"], "wake-2", 0.01)
    assert fill["fee"] == pytest.approx(order["fee"])


def test_a_conditional_order_that_lost_its_id_is_not_called_absent(venue: GateServer) -> None:
    lost = good("place_stop_order", SPOT, "buy", 0.01, 70000, client_order_id="kept-1")
    assert failed(call("get_order_status", SPOT, client_order_id="never-1")) == ("ORDER_NOT_FOUND", "rejected")
    venue.triggers[int(lost["order_id"])].body["put"]["text"] = "api"
    assert failed(call("get_order_status", SPOT, client_order_id="kept-1")) == ("BAD_RESPONSE", "unknown")
    assert failed(call("cancel_order", SPOT, client_order_id="kept-1")) == ("BAD_RESPONSE", "unknown")
    assert good("get_order_status", SPOT, lost["order_id"])["client_order_id"] == "api"
    good("place_market_order", SPOT, "buy", 0.001, client_order_id="plain-1")
    assert good("get_order_status", SPOT, client_order_id="plain-1")["status"] == "filled"


def test_positions_say_their_margin_mode() -> None:
    row = {
        "contract": "BTC_USDT", "size": "-3", "entry_price": "1", "mark_price": "1", "value": "3", "margin": "1",
        "unrealised_pnl": "0", "realised_pnl": "0",
    }  # fmt: skip
    for given, shown in (
        ({"leverage": "0", "cross_leverage_limit": "20"}, ("cross", 20.0)),
        ({"leverage": "7"}, ("isolated", 7.0)),
        ({"leverage": "0", "lever": "9", "pos_margin_mode": "cross"}, ("cross", 9.0)),
        ({"leverage": "0", "lever": "9", "pos_margin_mode": "isolated"}, ("isolated", 9.0)),
    ):
        found = gate.parse_position(row | given, Decimal("0.1"))
        assert (found["margin_mode"], found["leverage"]) == shown
        assert (found["side"], found["size"]) == ("short", 0.3)


@pytest.mark.parametrize(
    ("given", "used", "maintenance", "available"),
    [
        ({"position_margin": "38", "order_margin": "2", "available": "1960"}, 40.0, 0.0, 1960.0),
        (
            {"cross_initial_margin": "30", "isolated_position_margin": "10", "position_margin": "10",
             "order_margin": "5", "cross_order_margin": "5", "cross_maintenance_margin": "4", "cross_available": "1955",
             "available": "0"},
            45.0, 4.0, 1955.0,
        ),
    ],
)  # fmt: skip
def test_accounts_of_both_kinds(given: dict[str, str], used: float, maintenance: float, available: float) -> None:
    futures = {"currency": "USDT", "total": "2000", "unrealised_pnl": "-100", "in_dual_mode": False, **given}
    info = gate.parse_account({}, futures, {}, 1.0)
    shapes.check(info, AccountInfo)
    assert (info["total_equity"], info["unrealized_pnl"], info["used_margin"]) == (1900.0, -100.0, used)
    assert (info["available"], info["margin_ratio"]) == (available, pytest.approx(maintenance / 1900))
    assert info["balances"]["USDT"]["total"] == 2000.0


def test_what_moves_on_to_the_next_page_is_told_once(venue: GateServer, monkeypatch: pytest.MonkeyPatch) -> None:
    first = good("place_market_order", SPOT, "buy", 0.001)
    for number in range(100):
        good("place_limit_order", SWAP, "buy", 0.001, 40000 + number)
    paged = venue_module._page

    def shifted(rows: list[Any], query: dict[str, str], most: int) -> list[Any]:
        """Every page begins with the last row of the one before, as when something new has come in between."""
        moved = "offset" in query and int(query["offset"]) > 0
        return paged(rows, {**query, "offset": str(int(query["offset"]) - 1)} if moved else query, most)

    monkeypatch.setattr(venue_module, "_page", shifted)
    assert len(good("get_open_orders", SWAP)) == 100
    assert [fill["order_id"] for fill in good("get_fills")] == [first["order_id"]]


def test_a_search_without_an_end_proves_nothing(venue: GateServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate, "_MOST_PAGES", 0)
    good("place_market_order", SPOT, "buy", 0.001)
    answer = call("get_order_status", SPOT, client_order_id="never-2")
    assert failed(answer) == ("BAD_RESPONSE", "unknown")
    assert "order_id" in answer["message"]


def test_the_module_has_all_of_its_pure_functions_and_loads_no_sdk() -> None:
    names = ["limit_order", "market_order", "stop_order", "take_profit_order", "cancel"]
    parts = ["order", "position", "account", "instrument", "ticker", "kline", "fill", "error", "order_update"]
    code = f"""
import sys
from Execution.exchanges import gate
assert all(callable(getattr(gate, f"build_{{name}}")) for name in {names})
assert all(callable(getattr(gate, f"parse_{{name}}")) for name in {parts})
assert not {{"gate_api", "urllib3", "requests"}} & set(sys.modules)
"""
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_a_window_that_is_almost_used_up_is_heeded() -> None:
    reset = str(int(time.time()) + 5)
    names = ("x-gate-ratelimit-requests-remain", "x-gate-ratelimit-limit", "x-gate-ratelimit-reset-timestamp")
    for left, most, spared in (("2", "10", False), ("1", "10", True), ("0", "10", True), ("x", "10", False)):
        pause = gate.rate_pause("host", dict(zip(names, (left, most, reset), strict=True)))
        assert (0 < pause <= 5) is spared
    assert gate.rate_pause("host", {}) == 0.0
