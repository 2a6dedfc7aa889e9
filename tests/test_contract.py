"""Every built venue against every rule of the contract, and the placeholders of those still to come."""

from __future__ import annotations

import inspect
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from Execution import exchanges, registry
from Execution.common.errors import ERROR_CODES
from Execution.common.types import (
    VENUE_FUNCTIONS,
    AccountInfo,
    CancelAll,
    Exchange,
    Fill,
    Instrument,
    Kline,
    Order,
    Position,
    Ticker,
)
from tests import shapes
from tests.venues.harness import HARNESSES, Harness

NAN, INF = float("nan"), float("inf")


@pytest.fixture(params=registry.BUILT)
def venue(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, home: Path) -> Harness:
    """One built venue, ready to be traded on."""
    return HARNESSES[request.param](monkeypatch)


def supports(venue: Harness, function: str) -> bool:
    """Tell whether a venue has a function of the contract."""
    return function not in registry.find(venue.name)[0].module.UNSUPPORTED


def refused(answer: Any, code: str, outcome: str, *words: str) -> None:
    """Assert a failure with this code and outcome, whose message has these words."""
    assert set(answer) == {"success", "data", "message"}
    assert answer["success"] is False, answer
    assert {"error", "outcome", "exchange_code", "retry_after"} <= set(answer["data"])
    assert answer["data"]["error"] in ERROR_CODES
    assert (answer["data"]["error"], answer["data"]["outcome"]) == (code, outcome), answer
    assert answer["message"].startswith(f"{code}: ")
    for word in words:
        assert word in answer["message"], (word, answer["message"])


# Names and signatures


def test_the_files_are_the_registered_venues() -> None:
    files = {path.stem for path in Path(exchanges.__file__).parent.glob("*.py")} - {"__init__"}
    assert files == set(registry.BUILT)
    assert set(HARNESSES) == set(registry.BUILT)
    assert not set(registry.BUILT) & set(registry.PLANNED)


@pytest.mark.parametrize("function", VENUE_FUNCTIONS)
@pytest.mark.parametrize("name", registry.BUILT)
def test_a_signature_is_the_contracts(name: str, function: str) -> None:
    promised = list(inspect.signature(getattr(Exchange, function)).parameters.values())[1:]
    given = list(inspect.signature(getattr(registry.find(name)[0].module, function)).parameters.values())
    assert [(p.name, p.kind, p.default) for p in given] == [(p.name, p.kind, p.default) for p in promised]


@pytest.mark.parametrize("name", registry.BUILT)
def test_what_a_module_says_of_itself(name: str) -> None:
    module = registry.find(name)[0].module
    assert name == module.NAME
    assert set(module.UNSUPPORTED) <= set(VENUE_FUNCTIONS)
    assert all(module.UNSUPPORTED.values())
    assert all(getattr(module, function).__doc__ for function in VENUE_FUNCTIONS)


@pytest.mark.parametrize("function", VENUE_FUNCTIONS)
@pytest.mark.parametrize("name", registry.PLANNED)
def test_a_planned_venue_supports_nothing_and_says_so(name: str, function: str) -> None:
    refused(registry.call(name, function), "NOT_SUPPORTED", "not_sent", name, function)


def test_a_function_that_is_not_supported_says_so(venue: Harness) -> None:
    for function in registry.find(venue.name)[0].module.UNSUPPORTED:
        parameters = inspect.signature(getattr(Exchange, function)).parameters.values()
        given = [venue.swap for p in parameters if p.default is inspect.Parameter.empty and p.name != "self"]
        refused(venue.call(function, *given), "NOT_SUPPORTED", "not_sent")


def test_names_are_read_in_any_case(venue: Harness) -> None:
    for spelling in (venue.name, venue.name.upper(), venue.name.title()):
        answer = registry.call(spelling, "get_server_time")
        assert answer["success"]
    refused(registry.call("nowhere", "get_server_time"), "UNKNOWN_VENUE", "not_sent", "nowhere", venue.name)


def test_a_wrong_argument_is_an_answer_too(venue: Harness) -> None:
    answer = venue.call("place_market_order", venue.swap, "buy", 0.01, colour="red")
    assert answer["success"] is False
    assert answer["data"]["outcome"] == "not_sent"
    assert venue.fills() == []


# Shapes


def test_every_answer_has_its_shape(venue: Harness) -> None:
    placed = {"client_order_id": "shape-1"}
    checks: list[tuple[Any, Any]] = [
        (venue.call("place_market_order", venue.swap, "buy", 0.01), Order),
        (venue.call("place_limit_order", venue.swap, "buy", 0.01, 50000, **placed), Order),
        (venue.call("place_stop_order", venue.swap, "sell", 0.01, 50000), Order),
        (venue.call("place_take_profit_order", venue.swap, "sell", 0.01, 70000, 69000), Order),
        (venue.call("place_market_order", venue.spot, "buy", 0.01), Order),
        (venue.call("get_order_status", venue.swap, **placed), Order),
        (venue.call("get_open_orders"), list[Order]),
        (venue.call("cancel_order", venue.swap, **placed), Order),
        (venue.call("cancel_all_orders"), CancelAll),
        (venue.call("get_fills", venue.swap), list[Fill]),
        (venue.call("get_account_info"), AccountInfo),
        (venue.call("get_positions"), list[Position]),
        (venue.call("adjust_position", venue.swap, "long", 0.01), Order),
        (venue.call("get_ticker", venue.swap), Ticker),
        (venue.call("get_ticker", venue.spot), Ticker),
        (venue.call("get_instrument", venue.swap), Instrument),
        (venue.call("get_klines", venue.swap, "1m", limit=3), list[Kline]),
    ]
    for answer, expected in checks:
        assert set(answer) == {"success", "data", "message"}
        assert answer["success"] is True, answer
        assert type(answer["message"]) is str
        shapes.check(answer["data"], expected)
    assert type(venue.good("get_server_time")["timestamp"]) is float


def test_market_data_makes_sense(venue: Harness) -> None:
    ticker = venue.good("get_ticker", venue.swap)
    assert (ticker["symbol"], ticker["bid"], ticker["ask"]) == (venue.swap, 60000.0, 60001.0)
    assert 60000 <= ticker["mark"] <= 60001
    now = venue.good("get_server_time")["timestamp"]
    assert 0 <= now - ticker["timestamp"] < 60
    klines = venue.good("get_klines", venue.swap, "1m", limit=3)
    assert [k["timestamp"] for k in klines] == sorted({k["timestamp"] for k in klines})
    assert len(klines) <= 3
    for k in klines:
        assert k["low"] <= min(k["open"], k["close"]) <= max(k["open"], k["close"]) <= k["high"]
        assert k["timestamp"] % 60 == 0
    rules = venue.good("get_instrument", venue.spot)
    assert (rules["symbol"], rules["base"], rules["quote"], rules["market"]) == (venue.spot, "BTC", "USDT", "spot")
    assert rules["max_leverage"] == 1
    assert venue.good("get_instrument", venue.swap)["market"] == "swap"


# Refusals before anything is sent

BAD_NUMBERS = (0, -1, NAN, INF, -INF, True, None, "", "abc", "1_000", "\u0661", [1], b"1", "NaN", "1e400", 10**400, 1j)
BAD_CALLS: list[tuple[str, tuple[Any, ...], dict[str, Any], str]] = [
    *[("place_limit_order", ("buy", bad, 50000), {}, "amount") for bad in BAD_NUMBERS],
    *[("place_limit_order", ("buy", 0.01, bad), {}, "price") for bad in BAD_NUMBERS],
    *[("place_market_order", ("buy", bad), {}, "amount") for bad in BAD_NUMBERS],
    *[("place_stop_order", ("buy", bad, 70000), {}, "amount") for bad in BAD_NUMBERS],
    *[("place_stop_order", ("buy", 0.01, bad), {}, "stop_price") for bad in BAD_NUMBERS],
    *[("place_stop_order", ("buy", 0.01, 70000, bad), {}, "price") for bad in BAD_NUMBERS if bad is not None],
    *[("place_take_profit_order", ("sell", 0.01, bad), {}, "stop_price") for bad in BAD_NUMBERS],
    *[
        ("place_market_order", ("buy", 0.01), {"max_slippage": bad}, "max_slippage")
        for bad in (-0.1, NAN, True, 1, "x")
    ],
    *[("place_market_order", (bad, 0.01), {}, "side") for bad in ("BUY", "long", "", None, 1, True, ["buy"])],
    *[("place_limit_order", (bad, 0.01, 50000), {}, "side") for bad in ("Sell", "short", b"buy")],
    *[("place_stop_order", (bad, 0.01, 70000), {}, "side") for bad in ("Sell", None)],
    *[
        ("place_limit_order", ("buy", 0.01, 50000), {"time_in_force": bad}, "time_in_force")
        for bad in ("DAY", "", None)
    ],
    *[("place_limit_order", ("buy", 0.01, 50000), {"post_only": bad}, "post_only") for bad in ("yes", 1, None)],
    *[("place_limit_order", ("buy", 0.01, 50000), {"reduce_only": bad}, "reduce_only") for bad in ("no", 1, None)],
    *[
        (function, given, {"client_order_id": bad}, "client_order_id")
        for function, given in (("place_market_order", ("buy", 0.01)), ("place_limit_order", ("buy", 0.01, 50000)))
        for bad in ("", "a b", "grün", "x" * 65, "a\n", 7, b"x")
    ],
    ("place_limit_order", ("buy", 0.01, 50000), {"post_only": True, "time_in_force": "IOC"}, "post_only"),
    *[("adjust_position", (bad, 0.01), {}, "side") for bad in ("buy", "none", None, 1)],
    *[("adjust_position", ("long", bad), {}, "amount") for bad in (0, NAN, True, None, "x")],
    *[("adjust_position", ("long", 0.01, bad), {}, "price") for bad in (0, -1, NAN, "x")],
    *[("set_leverage", (bad,), {}, "leverage") for bad in (0, -1, 1.5, NAN, True, None, "x", 10**6)],
    *[("get_klines", (bad,), {}, "interval") for bad in ("7m", "", None, 60, ["1m"])],
    *[("get_klines", ("1m",), {"limit": bad}, "limit") for bad in (0, -1, 1.5, True, "x", 10**9)],
    *[("get_klines", ("1m",), {"start": bad}, "start") for bad in (NAN, True, "x")],
    ("get_order_status", (), {}, "order_id"),
    ("cancel_order", (), {}, "order_id"),
]


@pytest.mark.parametrize(("function", "given", "options", "field"), BAD_CALLS, ids=lambda each: repr(each)[:40])
def test_bad_input_is_refused_before_sending(
    venue: Harness, function: str, given: tuple[Any, ...], options: dict[str, Any], field: str
) -> None:
    answer = venue.call(function, venue.swap, *given, **options)
    refused(answer, "INVALID_ORDER", "not_sent", field)
    assert venue.good("get_open_orders") == []
    assert venue.fills() == []


def test_bad_arguments_of_the_other_functions(venue: Harness) -> None:
    for bad in (-1, NAN, INF, True, None, "x") if supports(venue, "cancel_all_after") else ():
        refused(venue.call("cancel_all_after", bad), "INVALID_ORDER", "not_sent", "seconds")
    for bad in (NAN, True, "x"):
        refused(venue.call("get_fills", venue.swap, since=bad), "INVALID_ORDER", "not_sent", "since")


def test_a_refusal_names_the_value(venue: Harness) -> None:
    refused(venue.call("place_limit_order", venue.swap, "byu", 1, 1), "INVALID_ORDER", "not_sent", "side", "'byu'")
    refused(venue.call("place_limit_order", venue.swap, "buy", -7, 1), "INVALID_ORDER", "not_sent", "amount", "-7")
    long = venue.call("place_limit_order", venue.swap, "buy", "9" * 5000, 1)
    assert len(long["message"]) < 400


@pytest.mark.parametrize("symbol", ["NOPE-USDT", "BTC-USDT-FUT", "btc", "", None, 5, ["BTC-USDT"], "BTC/USDT:BTC"])
def test_an_unknown_symbol_is_refused(venue: Harness, symbol: Any) -> None:
    calls: dict[str, tuple[Any, ...]] = {
        "place_limit_order": ("buy", 0.01, 50000),
        "place_market_order": ("buy", 0.01),
        "place_stop_order": ("buy", 0.01, 70000),
        "place_take_profit_order": ("buy", 0.01, 50000),
        "cancel_order": ("1",),
        "get_order_status": ("1",),
        "adjust_position": ("long", 1),
        "set_leverage": (3,),
        "get_ticker": (),
        "get_instrument": (),
        "get_klines": ("1m",),
    }
    for function, given in calls.items():
        refused(venue.call(function, symbol, *given), "INVALID_SYMBOL", "not_sent")
    if symbol is not None:
        for function in ("cancel_all_orders", "get_open_orders", "get_fills", "get_positions"):
            refused(venue.call(function, symbol), "INVALID_SYMBOL", "not_sent")


def test_symbols_are_read_in_ccxts_spelling(venue: Harness) -> None:
    assert venue.good("get_ticker", "BTC/USDT:USDT")["symbol"] == venue.swap
    assert venue.good("get_ticker", "btc/usdt")["symbol"] == venue.spot
    placed = venue.good("place_limit_order", "BTC/USDT:USDT", "buy", 0.01, 50000)
    assert placed["symbol"] == venue.swap
    assert venue.good("get_open_orders", "btc-usdt-swap")[0]["order_id"] == placed["order_id"]


# Numbers


@pytest.mark.parametrize("number", [0.0123456, "0.0123456", Decimal("0.0123456"), " 0.0123456 "])
def test_amounts_are_rounded_down_to_the_lot(venue: Harness, number: Any) -> None:
    assert venue.good("get_instrument", venue.swap)["lot_size"] == 0.001
    assert venue.good("place_limit_order", venue.swap, "buy", number, 50000)["amount"] == 0.012


def test_prices_are_rounded_to_the_passive_side(venue: Harness) -> None:
    assert venue.good("get_instrument", venue.swap)["tick_size"] == 0.1
    assert venue.good("place_limit_order", venue.swap, "buy", 0.01, 50000.19)["price"] == 50000.1
    assert venue.good("place_limit_order", venue.swap, "sell", 0.01, 70000.11)["price"] == 70000.2


def test_below_a_minimum_is_refused_with_the_numbers(venue: Harness) -> None:
    refused(venue.call("place_limit_order", venue.swap, "buy", 0.0009, 60000), "INVALID_ORDER", "not_sent", "0.0009")
    refused(
        venue.call("place_market_order", venue.swap, "buy", "0.0009"), "INVALID_ORDER", "not_sent", "0.0009", "0.001"
    )
    if not venue.min_notional:
        return  # some venues count amounts only
    small = venue.call("place_limit_order", venue.swap, "buy", 0.001, 4000)
    refused(small, "INVALID_ORDER", "not_sent", "notional", "4", "5")
    refused(venue.call("place_market_order", venue.spot, "buy", 0.00001), "INVALID_ORDER", "not_sent", "notional", "5")


def test_a_position_of_any_size_can_be_closed(venue: Harness) -> None:
    venue.good("place_market_order", venue.swap, "buy", 0.001)
    venue.move(venue.swap, 3000.0, 3001.0)
    closed = venue.good("place_limit_order", venue.swap, "sell", 0.001, 3000, reduce_only=True)
    assert venue.good("get_order_status", venue.swap, closed["order_id"])["status"] == "filled"


# The life of orders


def test_a_resting_order_from_birth_to_cancel(venue: Harness) -> None:
    placed = venue.good("place_limit_order", venue.swap, "buy", 0.01, 50000, client_order_id="life-1")
    assert (placed["status"], placed["filled"], placed["remaining"], placed["client_order_id"]) == (
        "open", 0.0, 0.01, "life-1",
    )  # fmt: skip
    order_id = placed["order_id"]
    assert type(order_id) is str
    for key in ({"order_id": order_id}, {"client_order_id": "life-1"}):
        assert venue.good("get_order_status", venue.swap, **key)["order_id"] == order_id
    assert [o["order_id"] for o in venue.good("get_open_orders", venue.swap)] == [order_id]
    assert venue.good("get_open_orders", venue.spot) == []
    ended = venue.good("cancel_order", venue.swap, order_id)
    assert (ended["status"], ended["filled"]) == ("cancelled", 0.0)
    assert venue.good("get_open_orders") == []
    assert venue.good("get_order_status", venue.swap, order_id)["status"] == "cancelled"
    refused(venue.call("cancel_order", venue.swap, order_id), "ORDER_NOT_FOUND", "rejected")


def test_a_resting_order_fills_when_the_market_comes(venue: Harness) -> None:
    order_id = venue.good("place_limit_order", venue.swap, "buy", 0.01, 50000)["order_id"]
    venue.move(venue.swap, 49990.0, 49995.0)
    filled = venue.good("get_order_status", venue.swap, order_id)
    assert (filled["status"], filled["filled"], filled["average_price"]) == ("filled", 0.01, 50000.0)
    fills = venue.good("get_fills", venue.swap, order_id=order_id)
    assert [(f["amount"], f["price"], f["maker"]) for f in fills] == [(0.01, 50000.0, True)]
    assert sum(f["fee"] for f in fills) == pytest.approx(filled["fee"])


def test_a_market_order_fills_and_is_accounted_for(venue: Harness) -> None:
    before = venue.good("get_account_info")
    order = venue.settled(venue.good("place_market_order", venue.swap, "buy", 0.1, client_order_id="m-1"))
    assert (order["status"], order["filled"], order["average_price"]) == ("filled", 0.1, 60001.0)
    assert order["fee"] > 0
    (fill,) = venue.good("get_fills", venue.swap, order_id=order["order_id"])
    assert (fill["side"], fill["amount"], fill["price"], fill["maker"]) == ("buy", 0.1, 60001.0, False)
    assert fill["client_order_id"] == "m-1"
    if "fills" in order:
        assert order["fills"] == [fill]
    (position,) = venue.good("get_positions", venue.swap)
    assert (position["side"], position["size"], position["entry_price"]) == ("long", 0.1, 60001.0)
    after = venue.good("get_account_info")
    assert after["unrealized_pnl"] == pytest.approx(0.1 * (position["mark_price"] - 60001))
    assert after["total_equity"] == pytest.approx(before["total_equity"] - order["fee"] + after["unrealized_pnl"])
    assert after["used_margin"] == pytest.approx(position["margin"])
    assert 0 < after["margin_ratio"] < 1
    venue.good("place_market_order", venue.swap, "sell", 0.1)
    assert venue.good("get_positions", venue.swap) == []
    assert venue.fills()[0]["order_id"] == order["order_id"]
    assert venue.fills()[0]["client_order_id"] == ("m-1" if venue.fills_name_ids else "")
    assert venue.fills(since=fill["timestamp"] + 3600) == []
    assert len(venue.fills(since=fill["timestamp"])) == 2


def test_spot_moves_balances(venue: Harness) -> None:
    before = venue.good("get_account_info")["balances"]
    bought = venue.good("place_market_order", venue.spot, "buy", 0.1)
    assert bought["filled"] == 0.1
    balances = venue.good("get_account_info")["balances"]
    paid_in_base = bought["fee"] if bought["fee_currency"] == "BTC" else 0.0
    assert balances["BTC"]["total"] == pytest.approx(0.1 - paid_in_base)
    assert balances["USDT"]["total"] == pytest.approx(before["USDT"]["total"] - 6000.1)
    (held,) = venue.good("get_positions", venue.spot)
    assert (held["side"], held["leverage"], held["symbol"]) == ("long", 1.0, venue.spot)
    assert held["size"] == pytest.approx(balances["BTC"]["total"])
    resting = venue.good("place_limit_order", venue.spot, "sell", 0.05, 70000)
    locked = venue.good("get_account_info")["balances"]["BTC"]
    assert locked["locked"] == pytest.approx(0.05)
    assert locked["total"] == pytest.approx(locked["free"] + locked["locked"])
    venue.good("cancel_order", venue.spot, resting["order_id"])
    assert venue.good("get_account_info")["balances"]["BTC"]["locked"] == 0.0


def test_holdings_count_in_the_equity(venue: Harness) -> None:
    before = venue.good("get_account_info")["total_equity"]
    venue.good("place_market_order", venue.spot, "buy", 0.1)
    assert venue.good("get_account_info")["total_equity"] == pytest.approx(before, abs=10)


def test_too_much_is_refused_by_the_venue(venue: Harness) -> None:
    refused(venue.call("place_market_order", venue.spot, "buy", 50), "INSUFFICIENT_FUNDS", "rejected")
    refused(venue.call("place_market_order", venue.spot, "sell", 1), "INSUFFICIENT_FUNDS", "rejected")
    refused(venue.call("place_limit_order", venue.swap, "buy", 900, 59000), "INSUFFICIENT_FUNDS", "rejected")
    assert venue.good("get_open_orders") == []


def test_post_only(venue: Harness) -> None:
    crossing = venue.call("place_limit_order", venue.swap, "buy", 0.01, 60001, post_only=True)
    refused(crossing, "POST_ONLY_WOULD_CROSS", "rejected")
    resting = venue.good("place_limit_order", venue.swap, "buy", 0.01, 60000, post_only=True)
    assert (resting["status"], resting["post_only"]) == ("open", True)


def test_time_in_force(venue: Harness) -> None:
    gone = venue.good("place_limit_order", venue.swap, "buy", 0.01, 50000, time_in_force="IOC")
    assert gone["status"] in ("cancelled", "expired")
    killed = venue.call("place_limit_order", venue.swap, "buy", 0.01, 50000, time_in_force="FOK")
    if venue.fok_ends:
        assert killed["data"]["status"] in ("cancelled", "expired")
    else:
        refused(killed, "VENUE_REJECTED", "rejected")
    taken = venue.good("place_limit_order", venue.swap, "buy", 0.01, 60001, time_in_force="FOK")
    assert (taken["status"], taken["time_in_force"]) == ("filled", "FOK")
    assert venue.good("get_open_orders") == []


def test_reduce_only(venue: Harness) -> None:
    nothing = venue.call("place_market_order", venue.swap, "sell", 0.01, reduce_only=True)
    refused(nothing, "REDUCE_ONLY_REJECTED", "rejected")
    venue.good("place_market_order", venue.swap, "buy", 0.01)
    adding = venue.call("place_market_order", venue.swap, "buy", 0.01, reduce_only=True)
    refused(adding, "REDUCE_ONLY_REJECTED", "rejected")
    reduced = venue.good("place_market_order", venue.swap, "sell", 0.05, reduce_only=True)
    assert reduced["filled"] == 0.01
    assert venue.good("get_positions", venue.swap) == []
    spot = venue.call("place_market_order", venue.spot, "sell", 0.01, reduce_only=True)
    refused(spot, "INVALID_ORDER", "not_sent", "reduce_only", venue.spot)


@pytest.mark.parametrize(
    ("function", "side", "trigger", "bid"),
    [
        ("place_stop_order", "sell", 59000, 58990.0),
        ("place_stop_order", "buy", 61000, 61000.0),
        ("place_take_profit_order", "sell", 61000, 61005.0),
        ("place_take_profit_order", "buy", 59000, 58990.0),
    ],
)
def test_conditional_orders_wake_in_their_direction(
    venue: Harness, function: str, side: str, trigger: float, bid: float
) -> None:
    placed = venue.good(function, venue.swap, side, 0.01, trigger)
    assert (placed["status"], placed["stop_price"], placed["price"]) == ("open", float(trigger), None)
    assert placed["type"] == function.removeprefix("place_").removesuffix("_order")
    venue.move(venue.swap, 60100.0 if trigger > 60000 else 59900.0, 60101.0 if trigger > 60000 else 59901.0)
    assert [o["order_id"] for o in venue.good("get_open_orders")] == [placed["order_id"]]
    venue.move(venue.swap, bid, bid + 1)
    woken = venue.good("get_order_status", venue.swap, placed["order_id"])
    assert (woken["status"], woken["average_price"]) == ("filled", bid if side == "sell" else bid + 1)


def test_a_stop_limit_rests_when_it_wakes(venue: Harness) -> None:
    placed = venue.good("place_stop_order", venue.swap, "buy", 0.01, 61000, 60500)
    venue.move(venue.swap, 61000.0, 61001.0)
    assert venue.good("get_order_status", venue.swap, placed["order_id"])["status"] == "open"
    venue.move(venue.swap, 60400.0, 60450.0)
    filled = venue.good("get_order_status", venue.swap, placed["order_id"])
    assert (filled["status"], filled["average_price"]) == ("filled", 60500.0)


def test_a_condition_that_is_met_already_is_refused(venue: Harness) -> None:
    for function, side, trigger in (
        ("place_stop_order", "sell", 61000),
        ("place_stop_order", "buy", 59000),
        ("place_take_profit_order", "sell", 59000),
        ("place_take_profit_order", "buy", 61000),
    ):
        answer = venue.call(function, venue.swap, side, 0.01, trigger)
        assert answer["data"]["error"] == "INVALID_ORDER", answer
        assert str(trigger) in answer["message"]
    assert venue.good("get_open_orders") == []


def test_a_client_order_id_is_used_once(venue: Harness) -> None:
    if venue.unique_ids == "never":
        pytest.skip(f"{venue.name} takes a client_order_id twice: only our own book keeps orders from doubling")
    if venue.unique_ids == "live":
        venue.good("place_limit_order", venue.swap, "buy", 0.01, 50000, client_order_id="once:1")
        resting = venue.call("place_limit_order", venue.swap, "buy", 0.01, 50000, client_order_id="once:1")
        refused(resting, "DUPLICATE_ORDER", "rejected", "once:1")
        assert len(venue.good("get_open_orders")) == 1
        return
    venue.good("place_market_order", venue.swap, "buy", 0.01, client_order_id="once:1")
    again = venue.call("place_market_order", venue.swap, "buy", 0.01, client_order_id="once:1")
    refused(again, "DUPLICATE_ORDER", "rejected", "once:1")
    resting = venue.call("place_limit_order", venue.swap, "buy", 0.01, 50000, client_order_id="once:1")
    refused(resting, "DUPLICATE_ORDER", "rejected", "once:1")
    assert len(venue.fills()) == 1
    assert venue.good("get_order_status", venue.swap, client_order_id="once:1")["status"] == "filled"


def test_every_order_gets_a_client_order_id(venue: Harness) -> None:
    ids = {venue.good("place_limit_order", venue.swap, "buy", 0.01, 50000)["client_order_id"] for _ in range(3)}
    assert len(ids) == 3
    assert all(ids)


def test_orders_nobody_knows(venue: Harness) -> None:
    for function in ("get_order_status", "cancel_order"):
        for key in ({"order_id": "987654321"}, {"order_id": "no-such"}, {"client_order_id": "no-such"}):
            refused(venue.call(function, venue.swap, **key), "ORDER_NOT_FOUND", "rejected")
    placed = venue.good("place_limit_order", venue.swap, "buy", 0.01, 50000, client_order_id="here")
    for key in ({"order_id": placed["order_id"]}, {"client_order_id": "here"}):
        refused(venue.call("cancel_order", venue.spot, **key), "ORDER_NOT_FOUND", "rejected")
        refused(venue.call("get_order_status", venue.spot, **key), "ORDER_NOT_FOUND", "rejected")
    assert venue.good("get_order_status", venue.swap, client_order_id="here")["status"] == "open"
    assert venue.good("get_fills", venue.swap, order_id="987654321") == []


def test_cancel_all_reaches_conditional_orders(venue: Harness) -> None:
    swap = [
        venue.good("place_limit_order", venue.swap, "buy", 0.01, 50000),
        venue.good("place_stop_order", venue.swap, "buy", 0.01, 70000),
        venue.good("place_take_profit_order", venue.swap, "sell", 0.01, 70000, 69000),
    ]
    spot = venue.good("place_limit_order", venue.spot, "buy", 0.01, 50000)
    data = venue.good("cancel_all_orders", venue.swap)
    assert sorted(data["cancelled"]) == sorted(order["order_id"] for order in swap)
    assert data["failed"] == []
    assert [o["order_id"] for o in venue.good("get_open_orders")] == [spot["order_id"]]
    assert venue.good("cancel_all_orders")["cancelled"] == [spot["order_id"]]
    assert venue.good("cancel_all_orders")["cancelled"] == []
    assert venue.good("get_open_orders") == []


def test_a_batch_answers_each_order_in_order(venue: Harness) -> None:
    if not hasattr(registry.find(venue.name)[0].module, "place_orders"):
        pytest.skip(f"{venue.name} has no place_orders")
    base = {"type": "limit", "symbol": venue.swap, "side": "buy", "amount": 0.01, "price": 50000}
    answers = registry.call_batch(
        venue.name,
        [
            base | {"client_order_id": "b-1"},
            base | {"amount": -1},
            {"type": "market", "symbol": venue.swap, "side": "sell", "amount": 0.02, "price": None},
            base | {"client_order_id": "b-1"},
            base | {"symbol": "NOPE-USDT"},
            {"type": "stop", "symbol": venue.swap, "side": "buy", "amount": 0.01, "stop_price": 70000},
            base | {"type": "iceberg"},
            {"type": "limit", "symbol": venue.swap, "side": "buy", "amount": 0.01},
            base | {"amount": 10_001},
        ],
    )
    assert answers is not None
    codes = [None if a["success"] else (a["data"]["error"], a["data"]["outcome"]) for a in answers]
    assert codes == [
        None,
        ("INVALID_ORDER", "not_sent"),
        None,
        ("DUPLICATE_ORDER", "rejected"),
        ("INVALID_SYMBOL", "not_sent"),
        None,
        ("INVALID_ORDER", "not_sent"),
        ("INVALID_ORDER", "not_sent"),
        ("INVALID_ORDER", "not_sent"),
    ]
    for answer in answers:
        if answer["success"]:
            shapes.check(answer["data"], Order)
    assert answers[2]["data"]["status"] == "filled"
    assert len(venue.good("get_open_orders")) == 2


# Positions


def test_adjusting_a_position_never_flips_it(venue: Harness) -> None:
    refused(venue.call("adjust_position", venue.swap, "long", -0.01), "REDUCE_ONLY_REJECTED", "rejected")
    venue.good("adjust_position", venue.swap, "short", 0.02)
    (position,) = venue.good("get_positions", venue.swap)
    assert (position["side"], position["size"]) == ("short", 0.02)
    refused(venue.call("adjust_position", venue.swap, "long", -0.01), "REDUCE_ONLY_REJECTED", "rejected")
    venue.good("adjust_position", venue.swap, "short", "-0.005")
    assert venue.good("get_positions", venue.swap)[0]["size"] == 0.015
    closing = venue.good("adjust_position", venue.swap, "short", -5)
    assert closing["filled"] == 0.015
    assert venue.good("get_positions", venue.swap) == []
    limit = venue.good("adjust_position", venue.swap, "long", 0.01, 50000)
    assert (limit["type"], limit["side"], limit["status"]) == ("limit", "buy", "open")


def test_adjusting_a_spot_holding(venue: Harness) -> None:
    refused(venue.call("adjust_position", venue.spot, "short", 0.01), "INVALID_ORDER", "not_sent", "side")
    refused(venue.call("adjust_position", venue.spot, "long", -0.01), "REDUCE_ONLY_REJECTED", "rejected")
    venue.good("adjust_position", venue.spot, "long", 0.01)
    sold = venue.good("adjust_position", venue.spot, "long", -1)
    assert sold["side"] == "sell"
    assert 0 < sold["filled"] <= 0.01


def test_leverage(venue: Harness) -> None:
    assert venue.good("set_leverage", venue.swap, 7) == {"symbol": venue.swap, "leverage": 7}
    venue.good("place_market_order", venue.swap, "buy", 0.01)
    (position,) = venue.good("get_positions", venue.swap)
    assert position["leverage"] == 7.0
    assert position["margin"] == pytest.approx(position["notional"] / 7)
    refused(venue.call("set_leverage", venue.spot, 3), "NOT_SUPPORTED", "not_sent", venue.spot)


def test_the_dead_mans_switch_is_armed_and_disarmed(venue: Harness) -> None:
    if not supports(venue, "cancel_all_after"):
        pytest.skip(f"{venue.name} has no cancel_all_after")
    venue.good("place_limit_order", venue.swap, "buy", 0.01, 50000)
    armed = venue.good("cancel_all_after", 60)
    assert armed["seconds"] == 60.0
    assert armed["trigger_time"] == pytest.approx(venue.good("get_server_time")["timestamp"] + 60, abs=5)
    assert venue.good("cancel_all_after", 0) == {"seconds": 0.0, "trigger_time": None}


def test_accounts_are_apart(venue: Harness) -> None:
    other = registry.call(f"{venue.name}:alpha", "get_open_orders")
    venue.good("place_limit_order", venue.swap, "buy", 0.01, 50000)
    if other["success"]:
        assert registry.call(f"{venue.name}:alpha", "get_open_orders")["data"] == []
    else:
        assert other["data"]["error"] in ("AUTHENTICATION", "CONFIGURATION")
    assert len(venue.good("get_open_orders")) == 1
