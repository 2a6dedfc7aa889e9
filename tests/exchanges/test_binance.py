"""Binance over a local server that speaks its protocol: what only Binance does, and everything that can go wrong."""

from __future__ import annotations

import itertools
import logging
import threading
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qs

import pytest

from Execution import drafts, registry
from Execution.common import log, transport
from Execution.common.clients import binance_reads as reads
from Execution.common.codecs.binance import from_client_id, to_client_id
from Execution.common.errors import Refused
from Execution.exchanges import binance
from tests.venues.binance import FIRST_ALGO, ROUTES, Binance, serve

SPOT, SWAP = "BTC-USDT", "BTC-USDT-SWAP"
KEY, SECRET = "MARKER-KEY-1f6c0d5a", "MARKER-SECRET-94b7e2aa"
POST_ORDER, POST_ALGO, POST_SPOT = "POST /fapi/v1/order", "POST /fapi/v1/algoOrder", "POST /api/v3/order"


@pytest.fixture
def venue(monkeypatch: pytest.MonkeyPatch, home: Path) -> Iterator[Binance]:
    """A local Binance with one account, and our settings for it."""
    server = serve()
    server.open(KEY, SECRET, {"USDT": 100000, "ETH": 2}, {"USDT": 100000})
    for name in ("BINANCE_SPOT_BASE_URL", "BINANCE_FUTURES_BASE_URL"):
        monkeypatch.setenv(name, server.url)
    monkeypatch.setenv("BINANCE_API_KEY", KEY)
    monkeypatch.setenv("BINANCE_API_SECRET", SECRET)
    monkeypatch.setenv("EXECUTION_READ_TIMEOUT", "0.3")
    binance.forget()
    yield server
    binance.forget()
    transport.shared.close()
    server.stop()


@pytest.fixture
def hedged(venue: Binance, monkeypatch: pytest.MonkeyPatch) -> Binance:
    """The same with an account in hedge mode."""
    venue.open("hedger", "hedge-secret", {"USDT": 1000}, {"USDT": 100000}, hedge=True)
    monkeypatch.setenv("BINANCE_API_KEY", "hedger")
    monkeypatch.setenv("BINANCE_API_SECRET", "hedge-secret")
    return venue


def call(function: str, *args: Any, **kwargs: Any) -> Any:
    return registry.call("binance", function, *args, **kwargs)


def good(function: str, *args: Any, **kwargs: Any) -> Any:
    answer = call(function, *args, **kwargs)
    assert answer["success"], answer
    return answer["data"]


def bad(answer: Any) -> tuple[str, str]:
    assert answer["success"] is False, answer
    return answer["data"]["error"], answer["data"]["outcome"]


def warm() -> None:
    """Have everything read that is read before an order: what is then sent is the order alone."""
    for symbol in (SPOT, SWAP):
        good("cancel_order", symbol, good("place_limit_order", symbol, "buy", 0.01, 50000)["order_id"])


def fields(request: Any) -> dict[str, str]:
    raw = request.query or request.body.decode()
    return {name: values[0] for name, values in parse_qs(raw).items()}


# What is sent


def test_an_order_carries_our_id_and_nothing_of_a_broker(venue: Binance) -> None:
    good("place_limit_order", SPOT, "buy", 0.01, 50000, client_order_id="ex12-1")
    good("place_limit_order", SWAP, "buy", 0.01, 50000, client_order_id="ex12-2")
    good("place_stop_order", SWAP, "buy", 0.01, 70000, client_order_id="ex12-3")
    good("place_limit_order", SPOT, "buy", 0.01, 50000)
    good("place_limit_order", SWAP, "buy", 0.01, 50000)
    good("place_stop_order", SWAP, "buy", 0.01, 70000)
    posts = [fields(r) for r in venue.server.requests if r.method == "POST"]
    ids = [each.get("newClientOrderId") or each["clientAlgoId"] for each in posts]
    assert ids[:3] == ["ex12-1", "ex12-2", "ex12-3"]
    assert all(each.startswith("ex") for each in ids)
    assert len(set(ids)) == 6
    assert not any("x-" in value for each in posts for value in each.values())
    assert {each["recvWindow"] for each in posts} == {"5000"}


def test_numbers_are_sent_as_plain_decimals(venue: Binance) -> None:
    good("place_limit_order", SPOT, "buy", "0.00020", 1e5 / 2)
    sent = fields(venue.server.sent(POST_SPOT)[-1])
    assert (sent["quantity"], sent["price"]) == ("0.0002", "50000")
    good("place_limit_order", SPOT, "buy", 0.00012, "49999.9")
    assert fields(venue.server.sent(POST_SPOT)[-1])["quantity"] == "0.00012"


@pytest.mark.parametrize("symbol", [SPOT, SWAP])
@pytest.mark.parametrize("ours", ["a.b:c/d_e-1", "_x", "_xa", "once:1", "web_cost", "x" * 36, "a/b", "__"])
def test_ids_of_ours_go_there_and_back(venue: Binance, symbol: str, ours: str) -> None:
    placed = good("place_limit_order", symbol, "buy", 0.01, 50000, client_order_id=ours)
    assert placed["client_order_id"] == ours
    assert good("get_order_status", symbol, client_order_id=ours)["client_order_id"] == ours
    assert good("get_open_orders", symbol)[0]["client_order_id"] == ours
    assert good("cancel_order", symbol, client_order_id=ours)["client_order_id"] == ours
    assert good("get_order_status", symbol, placed["order_id"])["client_order_id"] == ours


def test_an_id_that_does_not_fit_is_refused_before_sending(venue: Binance) -> None:
    for ours in ("x" * 37, "a:" * 15, "_" * 30 + "."):
        answer = call("place_market_order", SWAP, "buy", 0.01, client_order_id=ours)
        assert bad(answer) == ("INVALID_ORDER", "not_sent")
        assert "36" in answer["message"]
    assert not [r for r in venue.server.requests if r.method == "POST"]


def test_ids_that_the_package_makes_fit() -> None:
    longest = drafts.keyed_client_order_id("k" * 100, 255)
    for ours in (drafts.new_client_order_id(), longest, f"{longest}s99", f"{longest}t99"):
        assert from_client_id(to_client_id(ours)) == ours


def test_what_others_wrote_is_told_as_it_is() -> None:
    for theirs in ("web_1a2b", "x-R4BD3S82abc", "_x_q", "_xa_", "android_cost", "autoclose-1", "a.b:c/d"):
        assert from_client_id(theirs) == theirs
    with pytest.raises(Refused):
        to_client_id("")


def test_a_slippage_bound_is_an_ioc_limit_order(venue: Binance) -> None:
    order = good("place_market_order", SPOT, "buy", 0.01, max_slippage=0.001)
    sent = fields(venue.server.sent(POST_SPOT)[-1])
    assert (sent["type"], sent["timeInForce"], sent["price"]) == ("LIMIT", "IOC", "60061")
    assert (order["status"], order["filled"]) == ("filled", 0.01)
    assert order["fills"][0]["maker"] is False


def test_a_slippage_bound_stays_inside_the_prices_that_perpetuals_take(venue: Binance) -> None:
    assert good("place_market_order", SWAP, "buy", 0.02, max_slippage=0.2)["filled"] == 0.02
    assert good("place_market_order", SWAP, "sell", 0.02, max_slippage=0.2, reduce_only=True)["filled"] == 0.02
    good("place_market_order", SWAP, "buy", 0.02, max_slippage=0.001)
    prices = [fields(r)["price"] for r in venue.server.sent(POST_ORDER)]
    assert prices == ["62940.5", "57060.5", "60061"]
    assert bad(call("place_limit_order", SWAP, "buy", 0.02, 64000)) == ("INVALID_ORDER", "rejected")


def test_the_price_is_asked_only_where_the_amount_may_be_too_small(venue: Binance) -> None:
    good("place_market_order", SWAP, "buy", 0.01)
    before = len(venue.server.sent("GET /fapi/v1/ticker/bookTicker"))
    good("place_market_order", SWAP, "buy", 0.01)
    assert len(venue.server.sent("GET /fapi/v1/ticker/bookTicker")) == before
    venue.house.move(SWAP, 3000, 3001)
    good("place_market_order", SWAP, "sell", 0.001, reduce_only=True)
    venue.house.move(SPOT, 100, 101)
    registry.reset()
    binance.forget()
    assert bad(call("place_market_order", SPOT, "buy", 0.01)) == ("INVALID_ORDER", "not_sent")


# What can go wrong on the way


@pytest.mark.parametrize("kind", ["silent", "drop", "broken", "garbage", "html"])
@pytest.mark.parametrize(
    ("where", "function", "given"),
    [
        (POST_SPOT, "place_limit_order", (SPOT, "buy", 0.01, 50000)),
        (POST_ORDER, "place_market_order", (SWAP, "buy", 0.01)),
        (POST_ALGO, "place_stop_order", (SWAP, "buy", 0.01, 70000)),
    ],
)
def test_an_order_that_was_taken_and_not_answered_is_unknown_and_never_sent_again(
    venue: Binance, kind: str, where: str, function: str, given: tuple[Any, ...]
) -> None:
    warm()
    before = len(venue.server.sent(where))
    venue.server.fault(kind, where)
    answer = call(function, *given, client_order_id="lost-1")
    assert answer["data"]["outcome"] == "unknown", answer
    assert len(venue.server.sent(where)) == before + 1
    found = good("get_order_status", given[0], client_order_id="lost-1")
    assert found["client_order_id"] == "lost-1"
    placed = [o for o in venue.house.orders.values() if o.request.client_order_id == "lost-1"]
    assert len(placed) == 1


def test_a_5xx_on_an_order_is_unknown_and_not_repeated(venue: Binance) -> None:
    warm()
    before = len(venue.server.sent(POST_ORDER))
    venue.server.fault("error", POST_ORDER)
    assert bad(call("place_limit_order", SWAP, "buy", 0.01, 50000)) == ("VENUE_DOWN", "unknown")
    assert len(venue.server.sent(POST_ORDER)) == before + 1


def test_a_connection_that_is_refused_means_nothing_left(venue: Binance) -> None:
    warm()
    venue.server.stop()
    answer = call("place_limit_order", SWAP, "buy", 0.01, 50000)
    assert bad(answer) == ("VENUE_DOWN", "not_sent")


@pytest.mark.parametrize("kind", ["silent", "drop", "garbage", "html", "error", "limited"])
@pytest.mark.parametrize(
    "where", ["GET /fapi/v1/exchangeInfo", "GET /fapi/v1/time", "GET /fapi/v1/positionSide/dual", "GET /fapi/v1/symbol"]
)
def test_what_is_read_before_an_order_fails_before_it(venue: Binance, kind: str, where: str) -> None:
    venue.server.fault(kind, where, times=9)
    answer = binance.place_limit_order(SWAP, "buy", 0.01, 50000)
    assert answer["data"]["outcome"] == "not_sent", answer
    assert venue.server.sent(POST_ORDER) == []


def test_too_many_requests_are_told_with_the_pause(venue: Binance) -> None:
    warm()
    venue.server.fault("limited", POST_ORDER)
    answer = binance.place_limit_order(SWAP, "buy", 0.01, 50000)
    assert bad(answer) == ("RATE_LIMITED", "not_sent")
    assert answer["data"]["retry_after"] == 1.0
    assert good("get_open_orders") == []


def test_a_clock_that_is_off_is_noticed_and_corrected(venue: Binance) -> None:
    venue.skew = 3600.0
    good("place_limit_order", SWAP, "buy", 0.01, 50000)
    venue.skew = -3600.0
    assert bad(binance.place_limit_order(SWAP, "buy", 0.01, 50000)) == ("CLOCK_SKEW", "not_sent")
    good("place_limit_order", SWAP, "buy", 0.01, 50000)
    venue.skew = 0.0
    good("place_limit_order", SWAP, "buy", 0.01, 50000)
    assert len(good("get_open_orders")) == 3


def test_keys_that_are_wrong_or_missing(venue: Binance, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BINANCE_API_SECRET", "not-the-secret")
    binance.forget()
    assert bad(call("place_limit_order", SWAP, "buy", 0.01, 50000)) == ("AUTHENTICATION", "not_sent")
    assert bad(call("get_open_orders"))[0] == "AUTHENTICATION"
    monkeypatch.setenv("BINANCE_API_KEY", "nobody")
    binance.forget()
    assert bad(call("get_open_orders")) == ("AUTHENTICATION", "rejected")
    monkeypatch.delenv("BINANCE_API_SECRET")
    binance.forget()
    answer = call("place_limit_order", SPOT, "buy", 0.01, 50000)
    assert bad(answer) == ("CONFIGURATION", "not_sent")
    assert "BINANCE_API_SECRET" in answer["message"]
    for function in ("get_ticker", "get_instrument"):
        good(function, SWAP)
        good(function, SPOT)
    assert len(good("get_klines", SPOT, "1m", limit=2)) == 2


def test_an_answer_with_a_status_nobody_has_seen_is_unknown(venue: Binance, monkeypatch: pytest.MonkeyPatch) -> None:
    warm()
    monkeypatch.setattr("tests.venues.binance.STATUSES", {"open": "HALF_DONE"})
    assert bad(call("place_limit_order", SWAP, "buy", 0.01, 50000)) == ("BAD_RESPONSE", "unknown")


def test_no_other_http_library_is_used(venue: Binance, monkeypatch: pytest.MonkeyPatch) -> None:
    import requests
    import urllib3

    def fail(*_: Any, **__: Any) -> None:
        raise AssertionError("a socket that is not ours")

    monkeypatch.setattr(requests.Session, "request", fail)
    monkeypatch.setattr(urllib3.connectionpool.HTTPConnectionPool, "urlopen", fail)
    for symbol in (SPOT, SWAP):
        good("place_market_order", symbol, "buy", 0.01)
        good("get_ticker", symbol)
    good("get_account_info")
    assert all(r.headers["x-mbx-apikey"] == KEY for r in venue.server.requests)


def test_a_refusal_in_a_success_is_a_refusal(venue: Binance, monkeypatch: pytest.MonkeyPatch) -> None:
    warm()
    told = {"code": -2019, "msg": "Margin is insufficient."}
    monkeypatch.setitem(
        ROUTES, ("POST", "/fapi/v1/order"), (True, ROUTES["POST", "/fapi/v1/order"][1], lambda *_: told)
    )
    assert bad(call("place_limit_order", SWAP, "buy", 0.01, 50000)) == ("INSUFFICIENT_FUNDS", "rejected")
    monkeypatch.setitem(ROUTES, ("POST", "/fapi/v1/order"), (True, ROUTES["POST", "/fapi/v1/order"][1], lambda *_: {}))
    assert bad(call("place_limit_order", SWAP, "buy", 0.01, 50000)) == ("BAD_RESPONSE", "unknown")
    monkeypatch.setitem(ROUTES, ("POST", "/fapi/v1/order"), (True, ROUTES["POST", "/fapi/v1/order"][1], lambda *_: []))
    assert bad(call("place_limit_order", SWAP, "buy", 0.01, 50000)) == ("BAD_RESPONSE", "unknown")


def test_secrets_are_shown_nowhere(
    venue: Binance, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(log, "_least", 0)
    caplog.set_level(logging.DEBUG)
    told = [call("place_limit_order", SWAP, "buy", 0.01, 50000), call("get_account_info"), call("cancel_all_orders")]
    for kind in ("silent", "broken", "garbage", "html", "error"):
        venue.server.fault(kind, POST_ORDER)
        told.append(call("place_limit_order", SWAP, "buy", 0.01, 50000))
    venue.server.fault("drop", "GET /fapi", times=9)
    told.append(call("get_positions"))
    signatures = {fields(r)["signature"] for r in venue.server.requests if b"signature" in r.query.encode() + r.body}
    shown = f"{told}{caplog.text}{capfd.readouterr()}"
    for secret in (KEY, SECRET, "signature=", *signatures):
        assert secret not in shown


# Futures: modes of the account


def test_hedge_mode_opens_and_closes_each_side(hedged: Binance) -> None:
    good("place_market_order", SWAP, "buy", 0.02)
    good("place_market_order", SWAP, "sell", 0.03)
    assert {p["side"]: p["size"] for p in good("get_positions", SWAP)} == {"long": 0.02, "short": 0.03}
    assert good("get_account_info")["position_mode"] == "hedge"
    closing = good("place_market_order", SWAP, "sell", 0.01, reduce_only=True)
    assert closing["reduce_only"] is True
    stop = good("place_stop_order", SWAP, "buy", 0.03, 70000, reduce_only=True)
    assert stop["reduce_only"] is True
    sent = [fields(r) for r in hedged.server.requests if r.method == "POST"]
    assert [(s["side"], s["positionSide"]) for s in sent] == [
        ("BUY", "LONG"), ("SELL", "SHORT"), ("SELL", "LONG"), ("BUY", "SHORT"),
    ]  # fmt: skip
    assert not any("reduceOnly" in s for s in sent)
    assert {p["side"]: p["size"] for p in good("get_positions", SWAP)} == {"long": 0.01, "short": 0.03}


def test_adjusting_never_flips_in_hedge_mode(hedged: Binance) -> None:
    good("adjust_position", SWAP, "long", 0.02)
    good("adjust_position", SWAP, "short", 0.01)
    assert good("adjust_position", SWAP, "long", -5)["filled"] == 0.02
    assert bad(call("adjust_position", SWAP, "long", -0.01)) == ("REDUCE_ONLY_REJECTED", "rejected")
    assert {p["side"]: p["size"] for p in good("get_positions", SWAP)} == {"short": 0.01}


def test_adjusting_never_flips_in_one_way_mode(venue: Binance) -> None:
    good("adjust_position", SWAP, "short", 0.02)
    assert bad(call("adjust_position", SWAP, "long", 0.05)) == ("INVALID_ORDER", "not_sent")
    assert good("adjust_position", SWAP, "short", -0.05)["filled"] == 0.02
    assert good("get_positions", SWAP) == []


def test_a_position_mode_that_has_changed_is_read_again(venue: Binance) -> None:
    good("place_limit_order", SWAP, "buy", 0.01, 50000)
    good("cancel_all_orders")
    venue.owners[KEY].hedge = True
    venue.house.engine.set_position_mode(venue.owners[KEY].wallet("swap"), "hedge")
    answer = call("place_limit_order", SWAP, "buy", 0.01, 50000)
    assert bad(answer) == ("INVALID_ORDER", "rejected")
    assert answer["data"]["exchange_code"] == "-4061"
    good("place_limit_order", SWAP, "buy", 0.01, 50000)


def test_the_margin_mode_is_set_before_the_first_order(venue: Binance, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BINANCE_MARGIN_MODE", "isolated")
    good("place_market_order", SWAP, "buy", 0.01)
    good("place_market_order", SWAP, "buy", 0.01)
    assert [fields(r)["marginType"] for r in venue.server.sent("POST /fapi/v1/marginType")] == ["ISOLATED"]
    (position,) = good("get_positions", SWAP)
    assert position["margin_mode"] == "isolated"
    monkeypatch.setenv("BINANCE_MARGIN_MODE", "cross")
    binance.forget()
    answer = call("place_market_order", SWAP, "buy", 0.01)
    assert bad(answer) == ("CONFIGURATION", "not_sent")
    assert "BINANCE_MARGIN_MODE" in answer["message"]
    good("place_market_order", SWAP, "sell", 0.02, reduce_only=True)
    monkeypatch.setenv("BINANCE_MARGIN_MODE", "both")
    binance.forget()
    assert bad(call("place_market_order", SWAP, "buy", 0.01)) == ("CONFIGURATION", "not_sent")


# Futures: conditional orders


def test_a_conditional_order_is_told_with_what_it_produced(venue: Binance) -> None:
    good("place_market_order", SWAP, "buy", 0.02)
    placed = good("place_stop_order", SWAP, "sell", 0.02, 59000, client_order_id="stop:1", reduce_only=True)
    assert int(placed["order_id"]) > FIRST_ALGO
    assert (placed["status"], placed["client_order_id"], placed["reduce_only"]) == ("open", "stop:1", True)
    venue.house.move(SWAP, 58990, 58991)
    for key in ({"order_id": placed["order_id"]}, {"client_order_id": "stop:1"}):
        woken = good("get_order_status", SWAP, **key)
        assert (woken["order_id"], woken["client_order_id"]) == (placed["order_id"], "stop:1")
        assert (woken["status"], woken["filled"], woken["average_price"]) == ("filled", 0.02, 58990.0)
        assert woken["fee"] > 0
        assert [(f["order_id"], f["client_order_id"]) for f in woken["fills"]] == [(placed["order_id"], "stop:1")]
    (fill,) = good("get_fills", SWAP, order_id=placed["order_id"])
    assert fill == woken["fills"][0]
    refused = call("cancel_order", SWAP, placed["order_id"])
    assert bad(refused) == ("ORDER_NOT_FOUND", "rejected")
    assert "filled already, 0.02 filled" in refused["message"]


def test_cancelling_a_triggered_order_cancels_what_it_produced(venue: Binance) -> None:
    placed = good("place_stop_order", SWAP, "buy", 0.02, 61000, 60500, client_order_id="sl")
    venue.house.move(SWAP, 61000, 61001)
    (live,) = good("get_open_orders")
    assert (live["type"], live["price"]) == ("limit", 60500.0)
    ended = good("cancel_order", SWAP, client_order_id="sl")
    assert (ended["order_id"], ended["status"], ended["stop_price"]) == (placed["order_id"], "cancelled", 61000.0)
    assert good("get_open_orders") == []
    assert good("get_order_status", SWAP, placed["order_id"])["status"] == "cancelled"


def test_cancelling_a_waiting_order(venue: Binance) -> None:
    placed = good("place_take_profit_order", SWAP, "sell", 0.02, 70000, 69000, client_order_id="tp")
    assert good("cancel_order", SWAP, placed["order_id"])["status"] == "cancelled"
    refused = call("cancel_order", SWAP, client_order_id="tp")
    assert bad(refused) == ("ORDER_NOT_FOUND", "rejected")
    assert "cancelled already" in refused["message"]


def test_an_order_that_triggers_while_it_is_cancelled(venue: Binance, monkeypatch: pytest.MonkeyPatch) -> None:
    placed = good("place_stop_order", SWAP, "buy", 0.02, 61000, 60500)
    signed, allowed, read = ROUTES["GET", "/fapi/v1/algoOrder"]

    def old(server: Binance, asked: Any) -> Any:
        found = read(server, asked)
        server.house.move(SWAP, 61000, 61001)
        return found

    monkeypatch.setitem(ROUTES, ("GET", "/fapi/v1/algoOrder"), (signed, allowed, old))
    ended = good("cancel_order", SWAP, placed["order_id"])
    assert (ended["order_id"], ended["status"]) == (placed["order_id"], "cancelled")
    assert good("get_open_orders") == []


def test_an_order_on_its_way_to_the_book_is_not_called_gone(venue: Binance, monkeypatch: pytest.MonkeyPatch) -> None:
    placed = good("place_stop_order", SWAP, "buy", 0.02, 61000, 60500)
    venue.house.move(SWAP, 61000, 61001)
    signed, allowed, read = ROUTES["GET", "/fapi/v1/algoOrder"]
    on_its_way = {"algoStatus": "TRIGGERING", "actualOrderId": ""}
    told = (signed, allowed, lambda server, asked: {**read(server, asked), **on_its_way})
    monkeypatch.setitem(ROUTES, ("GET", "/fapi/v1/algoOrder"), told)
    assert good("get_order_status", SWAP, placed["order_id"])["status"] == "open"
    assert bad(call("cancel_order", SWAP, placed["order_id"])) == ("VENUE_REJECTED", "rejected")


@pytest.mark.parametrize("kind", ["silent", "drop", "html"])
def test_a_cancel_that_was_not_answered_is_unknown_and_not_repeated(venue: Binance, kind: str) -> None:
    placed = good("place_limit_order", SWAP, "buy", 0.01, 50000)
    venue.server.fault(kind, "DELETE /fapi/v1/order")
    assert call("cancel_order", SWAP, placed["order_id"])["data"]["outcome"] == "unknown"
    assert len(venue.server.sent("DELETE /fapi/v1/order")) == 1
    refused = call("cancel_order", SWAP, placed["order_id"])
    assert bad(refused) == ("ORDER_NOT_FOUND", "rejected")
    assert "cancelled already" in refused["message"]


def test_what_was_filled_survives_a_cancel(venue: Binance) -> None:
    venue.house.move(SWAP, 60000, 60001, size=Decimal("0.01"))
    placed = good("place_limit_order", SWAP, "buy", 0.03, 60001)
    assert (placed["status"], placed["filled"]) == ("partially_filled", 0.01)
    ended = good("cancel_order", SWAP, placed["order_id"])
    assert (ended["status"], ended["filled"], ended["average_price"]) == ("cancelled", 0.01, 60001.0)
    read = good("get_order_status", SWAP, placed["order_id"])
    assert (read["status"], read["filled"], read["remaining"]) == ("cancelled", 0.01, 0.02)
    assert read["fee"] > 0


# Cancel all


def test_cancel_all_of_more_than_one_request_holds(venue: Binance) -> None:
    plain = [good("place_limit_order", SWAP, "buy", 0.01, 50000 + i)["order_id"] for i in range(23)]
    waiting = [good("place_stop_order", SWAP, "buy", 0.01, 70000 + i)["order_id"] for i in range(12)]
    other = [good("place_limit_order", "ETH-USDT-SWAP", "buy", 0.1, 2000)["order_id"]]
    spot = [good("place_limit_order", SPOT, "buy", 0.01, 50000)["order_id"] for _ in range(3)]
    data = good("cancel_all_orders")
    assert sorted(data["cancelled"]) == sorted(plain + waiting + other + spot)
    assert data["failed"] == []
    assert good("get_open_orders") == []
    assert len(venue.server.sent("DELETE /fapi/v1/batchOrders")) == 4
    assert good("cancel_all_orders")["cancelled"] == []


def test_cancel_all_lists_what_it_could_not_cancel(venue: Binance) -> None:
    orders = [good("place_limit_order", SWAP, "buy", 0.01, 50000 + i)["order_id"] for i in range(3)]
    venue.refuse_cancel.add(orders[1])
    answer = call("cancel_all_orders", SWAP)
    assert bad(answer) == ("VENUE_REJECTED", "unknown")
    assert sorted(answer["data"]["cancelled"]) == [orders[0], orders[2]]
    assert [(f["order_id"], f["symbol"], f["error"]) for f in answer["data"]["failed"]] == [
        (orders[1], SWAP, "VENUE_REJECTED")
    ]


def test_a_market_that_fails_does_not_keep_the_other_from_being_emptied(venue: Binance) -> None:
    spot = good("place_limit_order", SPOT, "buy", 0.01, 50000)["order_id"]
    swap = good("place_limit_order", SWAP, "buy", 0.01, 50000)["order_id"]
    venue.server.fault("error", "GET /fapi/v1/open", times=9)
    answer = call("cancel_all_orders")
    assert bad(answer) == ("VENUE_DOWN", "unknown")
    assert answer["data"]["cancelled"] == [spot]
    venue.server.faults.clear()
    venue.server.fault("error", "DELETE /fapi/v1/batch", times=9)
    answer = call("cancel_all_orders")
    assert [f["order_id"] for f in answer["data"]["failed"]] == [swap]
    venue.server.faults.clear()
    assert good("cancel_all_orders")["cancelled"] == [swap]


def test_orders_that_end_by_themselves_are_no_failure(venue: Binance, monkeypatch: pytest.MonkeyPatch) -> None:
    swap = good("place_limit_order", SWAP, "buy", 0.01, 50000)["order_id"]
    spot = good("place_limit_order", SPOT, "buy", 0.01, 50000)["order_id"]
    listed = {"spot": [(SPOT, {"orderId": spot})], "futures": [(SWAP, {"orderId": swap})]}
    monkeypatch.setattr(reads, "live_orders", lambda account, _: listed[account.market])
    venue.house.move(SWAP, 49000, 49001)
    venue.house.move(SPOT, 49000, 49001)
    assert good("cancel_all_orders") == {"cancelled": [], "failed": []}


def test_an_order_that_cannot_be_read_is_cancelled_like_the_others(
    venue: Binance, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = [good("place_limit_order", symbol, "buy", 0.01, 50000)["order_id"] for symbol in (SWAP, SPOT)]
    ids += [good("place_stop_order", SWAP, "buy", 0.01, 70000)["order_id"]]
    monkeypatch.setattr("Execution.common.codecs.binance.TYPES", {})
    assert bad(call("get_open_orders"))[0] == "BAD_RESPONSE"
    assert sorted(good("cancel_all_orders")["cancelled"]) == sorted(ids)


def test_conditional_orders_that_are_left_are_listed(venue: Binance) -> None:
    stop = good("place_stop_order", SWAP, "buy", 0.01, 70000)["order_id"]
    venue.server.fault("error", "DELETE /fapi/v1/algoOpenOrders", times=9)
    answer = call("cancel_all_orders", SWAP)
    assert [(f["order_id"], f["error"]) for f in answer["data"]["failed"]] == [(stop, "VENUE_DOWN")]
    venue.server.fault("garbage", "GET /fapi/v1/openAlgoOrders", times=9)
    assert bad(call("cancel_all_orders"))[0] in ("BAD_RESPONSE", "VENUE_DOWN")


# Accounts


def test_two_accounts_at_once_do_not_mix(venue: Binance, monkeypatch: pytest.MonkeyPatch) -> None:
    venue.open("alpha-key", "alpha-secret", {"USDT": 1000}, {"USDT": 50000}, hedge=True)
    monkeypatch.setenv("BINANCE_ALPHA_API_KEY", "alpha-key")
    monkeypatch.setenv("BINANCE_ALPHA_API_SECRET", "alpha-secret")
    answers: dict[str, list[Any]] = {"binance": [], "binance:alpha": []}

    def trade(name: str, side: str) -> None:
        for number in range(8):
            ours = f"{name.replace(':', '-')}-{number}"
            answers[name].append(
                registry.call(name, "place_limit_order", SWAP, side, 0.01, 60000, client_order_id=ours)
            )

    threads = [threading.Thread(target=trade, args=each) for each in (("binance", "buy"), ("binance:alpha", "buy")) * 2]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for name, key in (("binance", KEY), ("binance:alpha", "alpha-key")):
        assert sum(a["success"] for a in answers[name]) == 8, answers[name]
        assert {a["data"]["error"] for a in answers[name] if not a["success"]} == {"DUPLICATE_ORDER"}
        assert len(venue.house.of(venue.owners[key].wallet("swap"))) == 8
    assert good("get_account_info")["position_mode"] == "net"
    assert registry.call("binance:alpha", "get_account_info")["data"]["position_mode"] == "hedge"


def test_two_wallets_are_one_account(venue: Binance) -> None:
    good("place_market_order", SWAP, "buy", 0.1)
    info = good("get_account_info")
    assert info["balances"]["USDT"]["free"] == 100000.0
    assert info["balances"]["USDT"]["total"] == pytest.approx(200000 - 0.1 * 60001 * 0.0005)
    assert info["available"] < 100000
    assert info["balances"]["ETH"] == {"free": 2.0, "locked": 0.0, "total": 2.0}
    assert info["total_equity"] == pytest.approx(200000 + 2 * 3000.5, abs=10)


def test_one_market_alone(venue: Binance, monkeypatch: pytest.MonkeyPatch) -> None:
    good("place_limit_order", SPOT, "buy", 0.01, 50000)
    good("place_limit_order", SWAP, "buy", 0.01, 50000)
    monkeypatch.setenv("BINANCE_MARKETS", "spot")
    venue.server.requests.clear()
    assert [o["symbol"] for o in good("get_open_orders")] == [SPOT]
    assert good("get_account_info")["total_equity"] == pytest.approx(100000 + 2 * 3000.5)
    assert {p["symbol"] for p in good("get_positions")} == {"ETH-USDT"}
    assert venue.server.sent("GET /fapi") == []
    monkeypatch.setenv("BINANCE_MARKETS", "futures")
    assert [o["symbol"] for o in good("get_open_orders")] == [SWAP]
    assert good("get_account_info")["total_equity"] == 100000.0
    monkeypatch.setenv("BINANCE_MARKETS", "moon")
    assert bad(call("get_open_orders")) == ("CONFIGURATION", "not_sent")


def test_the_test_networks_are_chosen_by_a_setting(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def send(method: str, url: str, headers: Any, body: bytes = b"") -> Any:
        asked.append(url)
        raise transport.NotSent("VENUE_DOWN", "no network in tests")

    monkeypatch.setattr(transport, "send", send)
    for flag, addresses in (
        ("0", ("https://api.binance.com/api/v3/time", "https://fapi.binance.com/fapi/v1/time")),
        ("1", ("https://testnet.binance.vision/api/v3/time", "https://testnet.binancefuture.com/fapi/v1/time")),
    ):
        monkeypatch.setenv("BINANCE_TESTNET", flag)
        for market, address in zip(("spot", "swap"), addresses, strict=True):
            monkeypatch.setenv("BINANCE_DEFAULT_MARKET", market)
            binance.forget()
            assert bad(binance.get_server_time()) == ("VENUE_DOWN", "not_sent")
            assert asked[-1] == address
    binance.forget()


# Reads


@pytest.mark.parametrize("step", [0.0, 0.1, 86400.0])
@pytest.mark.parametrize("symbol", [SPOT, SWAP])
def test_fills_of_more_than_a_page(venue: Binance, monkeypatch: pytest.MonkeyPatch, symbol: str, step: float) -> None:
    monkeypatch.setattr(reads, "TRADES_AT_ONCE", 2)
    start = float(int(time.time())) - 20 * 86400
    times = itertools.count()
    clock = SimpleNamespace(time=lambda: start + 100 + next(times) * step)
    monkeypatch.setattr("tests.venues.house.time", clock)
    ids = [good("place_market_order", symbol, "buy", 0.001 * (1 + n))["order_id"] for n in range(5)]
    fills = good("get_fills", symbol, since=start)
    assert [f["order_id"] for f in fills] == ids
    assert len({f["trade_id"] for f in fills}) == 5
    (one,) = good("get_fills", symbol, order_id=ids[2])
    assert (one["order_id"], one["amount"]) == (ids[2], 0.003)
    assert bad(call("get_fills")) == ("NOT_SUPPORTED", "not_sent")


def test_every_interval_and_its_candles(venue: Binance) -> None:
    for interval in binance.INTERVALS:
        assert [k["closed"] for k in good("get_klines", SWAP, interval, limit=2)] == [True, False]
    assert len(good("get_klines", SPOT, "1s", limit=3)) == 3
    assert bad(call("get_klines", SWAP, "1s")) == ("INVALID_ORDER", "not_sent")
    start = good("get_server_time")["timestamp"] - 600
    found = good("get_klines", SPOT, "1m", start=start, limit=5)
    assert len(found) == 5
    assert found[0]["timestamp"] >= start
    assert bad(call("get_klines", SPOT, "1m", limit=1001)) == ("INVALID_ORDER", "not_sent")
    assert len(good("get_klines", SWAP, "1m", limit=1500)) == 1500


def test_rules_of_several_spot_symbols_are_read_at_once(venue: Binance) -> None:
    for symbol, price in ((SPOT, 50000), ("ETH-USDT", 2000)):
        good("place_limit_order", symbol, "buy", 0.1, price)
    binance.forget()
    before = len(venue.server.sent("GET /api/v3/exchangeInfo"))
    assert {o["symbol"] for o in good("get_open_orders")} == {SPOT, "ETH-USDT"}
    assert len(good("cancel_all_orders")["cancelled"]) == 2
    assert len(venue.server.sent("GET /api/v3/exchangeInfo")) == before + 1


def test_rules_are_read_once(venue: Binance) -> None:
    for _ in range(3):
        good("get_instrument", SWAP)
        good("get_instrument", SPOT)
        good("get_instrument", "ETH-USDT-SWAP")
    assert len(venue.server.sent("GET /fapi/v1/exchangeInfo")) == 1
    assert len(venue.server.sent("GET /api/v3/exchangeInfo")) == 1


def test_the_short_form_may_mean_the_perpetual(venue: Binance, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BINANCE_DEFAULT_MARKET", "swap")
    registry.reset()
    assert good("get_ticker", "BTC-USDT")["symbol"] == SWAP
    assert good("place_limit_order", "ETH/USDT", "buy", 0.1, 2000)["symbol"] == "ETH-USDT-SWAP"


def test_the_dead_mans_switch_is_armed_by_symbol(venue: Binance) -> None:
    owner = venue.owners[KEY]
    answer = call("cancel_all_after", 30)
    assert (answer["success"], answer["data"]["trigger_time"]) == (True, None)
    assert "nothing is armed" in answer["message"]
    for symbol, price in (("BTC-USDT-SWAP", 50000), ("ETH-USDT-SWAP", 2500)):
        assert call("place_limit_order", symbol, "buy", 0.1, price)["success"]
    answer = call("cancel_all_after", "30.0001")
    assert owner.countdowns == {"BTCUSDT": 30001, "ETHUSDT": 30001}
    assert "armed for BTCUSDT, ETHUSDT" in answer["message"]
    assert call("cancel_all_orders")["success"]
    assert call("cancel_all_after", 0)["data"] == {"seconds": 0.0, "trigger_time": None}
    assert owner.countdowns == {"BTCUSDT": 0, "ETHUSDT": 0}


def test_the_weight_that_is_used_is_heeded() -> None:
    for host, used, spared in (
        ("api.binance.com", "5399", False),
        ("api.binance.com", "5400", True),
        ("fapi.binance.com", "2159", False),
        ("fapi.binance.com", "2160", True),
        ("fapi.binance.com", "many", False),
    ):
        pause = binance.rate_pause(host, {"x-mbx-used-weight-1m": used})
        assert (0 < pause <= 60) is spared
    assert binance.rate_pause("api.binance.com", {}) == 0.0


def test_a_used_up_weight_leaves_room_for_cancels(venue: Binance, monkeypatch: pytest.MonkeyPatch) -> None:
    place = call("place_limit_order", SWAP, "buy", 0.01, 50000)
    monkeypatch.setattr(venue.server, "headers", {"X-MBX-USED-WEIGHT-1M": "6001"})
    assert call("get_open_orders")["success"]
    refused = call("place_limit_order", SWAP, "buy", 0.01, 50000)
    assert (refused["data"]["error"], refused["data"]["outcome"]) == ("RATE_LIMITED", "not_sent")
    assert call("cancel_order", SWAP, place["data"]["order_id"])["success"]
