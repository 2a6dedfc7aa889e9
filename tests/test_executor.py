"""Signals from end to end on the paper exchange, prices set by hand."""

from __future__ import annotations

import json
import math
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from Execution import execute_signal, execute_signals, registry
from Execution.common import clock
from Execution.common.envelope import fail, ok
from Execution.exchanges import paper
from Execution.executor import Executor, default_executor
from Execution.order_manager import default_manager
from Execution.risk_manager import RiskManager
from Execution.signals.orders import closing_orders
from Execution.signals.parse import parse
from tests import fakes

SWAP = "BTC-USDT-SWAP"
SPOT = "BTC-USDT"


@pytest.fixture(autouse=True)
def _prices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAPER_SOURCE", "fixed")
    for symbol in (SWAP, SPOT):
        assert paper.set_price(symbol, 60000, 60001, size=100)["success"]


def position(symbol: str = SWAP) -> float:
    held = paper.get_positions(symbol)["data"]
    return sum(p["size"] if p["side"] == "long" else -p["size"] for p in held)


def sent() -> int:
    """How many orders the venue ever saw."""
    return len(paper.get_fills()["data"]) + len(paper.get_open_orders()["data"])


# -- orders


def test_a_market_buy() -> None:
    answer = execute_signal("paper", SWAP, {"action": "buy", "amount": 0.01, "price": None})
    assert answer["success"], answer
    data = answer["data"]
    assert data["order"]["status"] == data["status"] == "filled"
    assert data["order"]["filled"] == 0.01
    assert data["order_id"] == data["order"]["order_id"] != ""
    assert data["risk"]["allowed"]
    assert data["risk"]["risk_level"] == "low"
    assert {"check", "record", "send", "total"} <= set(data["timing"])
    assert position() == 0.01
    assert default_manager().get_order(data["client_order_id"]) == data["order"]
    assert set(answer) == {"success", "data", "message"}


def test_a_limit_buy_rests_and_is_rounded_down() -> None:
    answer = execute_signal("PAPER", "BTC/USDT:USDT", {"action": "buy", "amount": 0.0129, "price": 58000.19})
    order = answer["data"]["order"]
    assert (order["amount"], order["price"], order["status"]) == (0.012, 58000.1, "open")
    assert [o["order_id"] for o in paper.get_open_orders()["data"]] == [order["order_id"]]


def test_a_sell_is_rounded_up() -> None:
    order = execute_signal("paper", SWAP, {"action": "sell", "amount": 0.01, "price": 61000.11})["data"]["order"]
    assert order["price"] == 61000.2


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ({"amount": 0.01}, 0.01),
        ({"notional": 900}, 0.015),
        ({"equity_fraction": 0.03}, 0.05),
        ({"amount": "0.01"}, 0.01),
    ],
)
def test_sizes(size: dict[str, Any], expected: float) -> None:
    answer = execute_signal("paper", SWAP, {"action": "buy", "price": 60000, **size})
    assert answer["success"], answer
    assert answer["data"]["order"]["amount"] == expected


def test_terms_reach_the_venue() -> None:
    base = {"action": "buy", "amount": 0.01, "price": 59000}
    assert execute_signal("paper", SWAP, base | {"post_only": True})["data"]["order"]["post_only"]
    ioc = execute_signal("paper", SWAP, base | {"time_in_force": "IOC"})["data"]["order"]
    assert ioc["status"] in ("cancelled", "expired")
    crossing = execute_signal("paper", SWAP, base | {"price": 60100, "post_only": True})
    assert (crossing["data"]["error"], crossing["data"]["outcome"]) == ("POST_ONLY_WOULD_CROSS", "rejected")
    nothing = execute_signal("paper", SWAP, base | {"reduce_only": True})
    assert nothing["data"]["error"] == "REDUCE_ONLY_REJECTED"
    assert nothing["data"]["order"]["status"] == "rejected"
    stop = execute_signal("paper", SWAP, {"action": "buy", "amount": 0.01, "stop_price": 61000})["data"]["order"]
    assert (stop["type"], stop["stop_price"], stop["status"]) == ("stop", 61000.0, "open")
    named = execute_signal("paper", SWAP, base | {"client_order_id": "mine-1", "strategy": "grid"})["data"]["order"]
    assert (named["client_order_id"], named["strategy"]) == ("mine-1", "grid")


def test_leverage_is_set_before_the_order() -> None:
    answer = execute_signal("paper", SWAP, {"action": "buy", "amount": 0.01, "leverage": 3})
    assert answer["success"], answer
    assert paper.get_positions(SWAP)["data"][0]["leverage"] == 3
    bad = execute_signal("paper", SWAP, {"action": "buy", "amount": 0.01, "leverage": 999})
    assert bad["data"]["outcome"] == "not_sent"
    assert "leverage 999" in bad["message"]


def test_a_market_order_carries_the_collar() -> None:
    order = execute_signal("paper", SWAP, {"action": "buy", "amount": 0.01})["data"]["order"]
    record = default_manager().find(order["client_order_id"])
    assert record is not None
    assert record.options == {"max_slippage": "0.05"}


# -- bad input: everything wrong is named at once, nothing is sent


@pytest.mark.parametrize(
    ("signal", "words"),
    [
        ([], ["a signal must be a dict"]),
        ("buy", ["a signal must be a dict"]),
        (None, ["a signal must be a dict"]),
        ({}, ["action is missing", "exactly one of amount"]),
        ({"action": "hold", "amount": 1}, ["action must be one of buy, sell, close, not 'hold'"]),
        ({"action": "buy"}, ["exactly one of amount, notional, equity_fraction is needed, not none"]),
        ({"action": "buy", "amount": 1, "notional": 5}, ["not amount and notional"]),
        ({"action": "buy", "amount": math.nan}, ["amount must be a finite number, not nan"]),
        ({"action": "buy", "amount": math.inf}, ["amount must be a finite number, not inf"]),
        ({"action": "buy", "amount": -1}, ["amount must be greater than zero, not -1"]),
        ({"action": "buy", "amount": 0}, ["amount must be greater than zero, not 0"]),
        ({"action": "buy", "amount": True}, ["amount must be a number, not True"]),
        ({"action": "buy", "amount": "lots"}, ["amount must be a number, not 'lots'"]),
        ({"action": "buy", "amount": [1]}, ["amount must be a number, not [1]"]),
        ({"action": "buy", "amount": 1e300}, ["amount must"]),
        ({"action": "buy", "amount": 10**400}, ["amount must"]),
        ({"action": "buy", "amount": 1e-30}, ["amount must lie between"]),
        ({"action": "buy", "amount": 0.0001}, ["rounds down to 0.000", "lot 0.001"]),
        ({"action": "buy", "amount": 1, "order_type": "limit"}, ["price is required for a limit order"]),
        ({"action": "buy", "amount": 1, "order_type": "stop"}, ["stop_price is required for a stop order"]),
        ({"action": "buy", "amount": 1, "order_type": "twap"}, ["order_type must be one of"]),
        ({"action": "buy", "amount": 1, "order_type": "market", "price": 5}, ["price is not used by a market order"]),
        ({"action": "buy", "amount": 1, "prise": 5}, ["unknown key 'prise' (did you mean 'price'?)"]),
        ({"action": "buy", "amount": 1, 7: 5}, ["unknown key 7"]),
        ({"action": "buy", "amount": 1, "price": 5, "time_in_force": "DAY"}, ["time_in_force must be one of"]),
        ({"action": "buy", "amount": 1, "post_only": "yes", "price": 5}, ["post_only must be True or False"]),
        ({"action": "buy", "amount": 1, "post_only": True}, ["post_only goes with a limit order only"]),
        ({"action": "buy", "amount": 1, "max_slippage": 5}, ["max_slippage is a fraction"]),
        ({"action": "buy", "amount": 1, "leverage": 0}, ["leverage must be a whole number"]),
        ({"action": "buy", "amount": 1, "key": "x" * 300}, ["key must be 1 to 200 printable"]),
        ({"action": "buy", "amount": 1, "key": ""}, ["key must be 1 to 200 printable"]),
        ({"action": "buy", "amount": 1, "client_order_id": "ü"}, ["client_order_id must be 1 to 64 characters"]),
        ({"action": "buy", "amount": 1, "client_order_id": "x" * 65}, ["client_order_id must be 1 to 64 characters"]),
        ({"action": "buy", "amount": 1, "timeout": -3}, ["timeout must be greater than zero"]),
        ({"action": "buy", "amount": 1, "price": 100, "stop_loss": 110}, ["stop_loss 110 is on the winning side"]),
        ({"action": "sell", "amount": 1, "price": 100, "take_profit": 110}, ["take_profit 110 is on the losing side"]),
        ({"action": "close", "stop_price": 5, "notional": 1}, ["stop_price has no place", "notional has no place"]),
        (
            {"action": "up", "amount": -1, "prise": 2, "leverage": True, "time_in_force": 3},
            ["action must be", "amount must be", "unknown key 'prise'", "leverage must be", "time_in_force must be"],
        ),
    ],
)
def test_bad_signals_are_refused_with_all_that_is_wrong(signal: Any, words: list[str]) -> None:
    answer = execute_signal("paper", SWAP, signal)
    assert not answer["success"]
    assert answer["data"]["error"] == "INVALID_ORDER"
    assert answer["data"]["outcome"] == "not_sent"
    for word in words:
        assert word in answer["message"]
    assert sent() == 0
    assert len(answer["message"]) < 1000


@pytest.mark.parametrize(
    ("exchange", "symbol", "code", "word"),
    [
        ("nyse", SWAP, "UNKNOWN_VENUE", "nyse"),
        ("papr", SWAP, "UNKNOWN_VENUE", "did you mean 'paper'"),
        (None, SWAP, "UNKNOWN_VENUE", "None"),
        ("paper", "BTC", "INVALID_SYMBOL", "BTC"),
        ("paper", 5, "INVALID_SYMBOL", "5"),
        ("paper", "XYZ-USDT", "INVALID_SYMBOL", "XYZ"),
        ("serum", SWAP, "NOT_SUPPORTED", "not built yet"),
    ],
)
def test_unknown_places_are_named(exchange: Any, symbol: Any, code: str, word: str) -> None:
    answer = execute_signal(exchange, symbol, {"action": "buy", "amount": 0.01})
    assert not answer["success"]
    assert (answer["data"]["error"], answer["data"]["outcome"]) == (code, "not_sent")
    assert word in answer["message"]


# -- risk


def test_a_denied_signal_says_why_and_sends_nothing() -> None:
    answer = execute_signal("paper", SWAP, {"action": "buy", "amount": 5})
    assert not answer["success"]
    data = answer["data"]
    assert (data["error"], data["outcome"], data["rule"]) == ("RISK_DENIED", "not_sent", "POSITION_SIZE")
    assert data["numbers"]["limit"] == 0.1
    assert sent() == 0
    assert default_manager().get_orders_by_symbol("paper", SWAP) == []
    assert [e.kind for e in default_manager().journal.events()] == ["denied"]


def test_ten_orders_in_flight_cannot_each_pass_alone() -> None:
    answers = [execute_signal("paper", SWAP, {"action": "buy", "amount": 0.03, "price": 59000}) for _ in range(10)]
    passed = sum(answer["success"] for answer in answers)
    assert passed == 5  # 0.1 x 100000 / 60000.5 = 0.1666 BTC
    assert answers[-1]["data"]["rule"] == "POSITION_SIZE"
    batch = [{"exchange": "paper", "symbol": SWAP, "action": "sell", "amount": 0.03, "price": 61000}] * 10
    assert sum(answer["success"] for answer in execute_signals(batch)) == 5


def test_a_reducing_order_passes_where_an_opening_one_would_not() -> None:
    executor = Executor(risk_manager=RiskManager(max_position_size=1, book=default_manager()))
    assert executor.execute_signal("paper", SWAP, {"action": "buy", "amount": 1})["success"]
    assert not execute_signal("paper", SWAP, {"action": "buy", "amount": 0.01})["success"]
    assert execute_signal("paper", SWAP, {"action": "sell", "amount": 0.5})["success"]
    assert execute_signal("paper", SWAP, {"action": "close"})["success"]
    assert position() == 0


# -- close


def test_close_closes_exactly_what_is_open() -> None:
    execute_signal("paper", SWAP, {"action": "sell", "amount": 0.123})
    answer = execute_signal("paper", SWAP, {"action": "close", "amount": 0.0, "price": None})
    assert answer["success"], answer
    assert answer["data"]["order"]["side"] == "buy"
    assert answer["data"]["order"]["amount"] == 0.123
    assert answer["data"]["order"]["reduce_only"]
    assert position() == 0


def test_close_with_nothing_open_is_a_clear_success() -> None:
    answer = execute_signal("paper", SWAP, {"action": "close"})
    assert answer["success"]
    assert answer["message"].startswith("nothing to close")
    assert answer["data"]["nothing_to_do"]
    assert answer["data"]["order"] is None
    assert sent() == 0


def test_close_of_a_spot_holding_leaves_only_dust() -> None:
    assert execute_signal("paper", SPOT, {"action": "buy", "amount": 0.0123})["success"]
    held = position(SPOT)
    answer = execute_signal("paper", SPOT, {"action": "close"})
    assert answer["success"], answer
    assert answer["data"]["order"]["amount"] == pytest.approx(held, abs=1e-5)
    assert 0 <= position(SPOT) < 1e-5
    again = execute_signal("paper", SPOT, {"action": "close"})
    assert again["success"]
    assert "nothing to close" in again["message"]


def test_close_in_hedge_mode_closes_both_legs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAPER_POSITION_MODE", "hedge")
    monkeypatch.setenv("PAPER_STORE", "hedge.db")
    from Execution.simulation import account

    account.forget()
    paper.set_price(SWAP, 60000, 60001, size=100)
    execute_signal("paper", SWAP, {"action": "buy", "amount": 0.02})
    execute_signal("paper", SWAP, {"action": "sell", "amount": 0.03})
    assert {p["side"]: p["size"] for p in paper.get_positions(SWAP)["data"]} == {"long": 0.02, "short": 0.03}
    answer = execute_signal("paper", SWAP, {"action": "close"})
    assert answer["success"], answer
    assert len(answer["data"]["orders"]) == 2
    assert paper.get_positions(SWAP)["data"] == []


# -- keys


def test_the_same_key_answers_the_first_result() -> None:
    signal = {"action": "buy", "amount": 0.01, "key": "bar-1"}
    first = execute_signal("paper", SWAP, signal)
    assert first["success"], first
    assert execute_signal("paper", SWAP, signal) == first
    assert execute_signal("paper", "btc/usdt:usdt", signal | {"amount": "0.010"}) == first
    assert position() == 0.01
    other = execute_signal("paper", SWAP, signal | {"amount": 0.02})
    assert not other["success"]
    assert "different signal" in other["message"]
    assert position() == 0.01
    assert default_manager().get_orders_by_key("bar-1")[0] == first["data"]["order"]


def test_without_a_key_every_call_is_new() -> None:
    for _ in range(2):
        execute_signal("paper", SWAP, {"action": "buy", "amount": 0.01})
    assert position() == 0.02


def test_a_keyed_denial_and_a_keyed_nothing_are_answered_again() -> None:
    denied = {"action": "buy", "amount": 5, "key": "big"}
    first = execute_signal("paper", SWAP, denied)
    assert first["data"]["error"] == "RISK_DENIED"
    assert execute_signal("paper", SWAP, denied) == first
    nothing = {"action": "close", "key": "c"}
    first = execute_signal("paper", SWAP, nothing)
    execute_signal("paper", SWAP, {"action": "buy", "amount": 0.01})
    assert execute_signal("paper", SWAP, nothing) == first
    assert position() == 0.01


def test_a_key_survives_a_new_process() -> None:
    signal = {"action": "buy", "amount": 0.01, "key": "bar-1"}
    first = execute_signal("paper", SWAP, signal)
    default_executor().close()
    default_executor.cache_clear()
    default_manager.cache_clear()
    assert execute_signal("paper", SWAP, signal) == first
    assert position() == 0.01


def test_an_invalid_signal_does_not_use_up_its_key() -> None:
    assert not execute_signal("paper", SWAP, {"action": "buy", "amount": -1, "key": "k"})["success"]
    assert execute_signal("paper", SWAP, {"action": "buy", "amount": 0.01, "key": "k"})["success"]


# -- protection


def test_stop_loss_and_take_profit_protect_what_filled() -> None:
    answer = execute_signal("paper", SWAP, {"action": "buy", "amount": 0.02, "stop_loss": 58000, "take_profit": 65000})
    assert answer["success"], answer
    assert [p["success"] for p in answer["data"]["protection"]] == [True, True]
    waiting = {o["type"]: o for o in paper.get_open_orders(SWAP)["data"]}
    assert waiting["stop"]["stop_price"] == 58000
    assert waiting["take_profit"]["stop_price"] == 65000
    assert all(o["reduce_only"] and o["side"] == "sell" and o["amount"] == 0.02 for o in waiting.values())
    default_executor().sync()
    assert len(paper.get_open_orders(SWAP)["data"]) == 2


def test_a_keyed_entry_is_answered_with_its_protection_again() -> None:
    signal = {"action": "buy", "amount": 0.02, "stop_loss": 58000, "key": "k"}
    first = execute_signal("paper", SWAP, signal)
    assert first["data"]["protection"][0]["success"]
    assert execute_signal("paper", SWAP, signal) == first
    assert len(paper.get_open_orders(SWAP)["data"]) == 1


def test_protection_that_a_dead_process_left_unsent_is_sent_at_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    from Execution.signals import protection

    monkeypatch.setattr(protection, "send_protection", lambda *_args: 1 / 0)
    broken = execute_signal("paper", SWAP, {"action": "buy", "amount": 0.02, "stop_loss": 58000})
    assert broken["data"]["outcome"] == "unknown"
    assert paper.get_open_orders(SWAP)["data"] == []
    monkeypatch.undo()
    monkeypatch.setenv("PAPER_SOURCE", "fixed")
    child = default_manager().get_orders_by_status("pending")[0]
    default_manager().abandon([default_manager().find(child["client_order_id"])])
    assert [o["status"] for o in default_executor().recover()] == ["open"]
    assert [o["stop_price"] for o in paper.get_open_orders(SWAP)["data"]] == [58000]


def test_protection_of_a_resting_entry_follows_its_fills() -> None:
    signal = {"action": "buy", "amount": 0.02, "price": 59000, "stop_loss": 58000}
    answer = execute_signal("paper", SWAP, signal)
    assert "as it fills" in answer["message"]
    assert len(paper.get_open_orders(SWAP)["data"]) == 1
    paper.set_price(SWAP, 58990, 58991, size=100)
    default_executor().sync()
    (stop,) = paper.get_open_orders(SWAP)["data"]
    assert (stop["type"], stop["amount"]) == ("stop", 0.02)
    assert stop["client_order_id"].startswith(answer["data"]["client_order_id"])


def test_protection_that_would_trigger_at_once_is_refused() -> None:
    answer = execute_signal("paper", SWAP, {"action": "buy", "amount": 0.02, "stop_loss": 61000})
    assert not answer["success"]
    assert "would trigger at once" in answer["message"]
    both = {"action": "buy", "amount": 0.02, "stop_loss": 50000, "take_profit": 70000}
    assert "not both" in execute_signal("paper", SPOT, both)["message"]
    assert sent() == 0


def test_an_entry_without_its_protection_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    refusal = fail("VENUE_REJECTED", "no stops today", "rejected")
    monkeypatch.setattr(paper, "place_stop_order", lambda *_a, **_k: refusal)
    answer = execute_signal("paper", SWAP, {"action": "buy", "amount": 0.02, "stop_loss": 58000})
    assert answer["success"]
    assert "NOT PROTECTED" in answer["message"]


# -- time-outs


def until(condition: Callable[[], Any], seconds: float = 5.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.01)


def test_an_order_past_its_time_is_cancelled() -> None:
    answer = execute_signal("paper", SWAP, {"action": "buy", "amount": 0.01, "price": 59000, "timeout": 0.1})
    assert answer["data"]["status"] == "open"
    until(lambda: not paper.get_open_orders()["data"])
    until(lambda: default_manager().get_order(answer["data"]["client_order_id"])["status"] == "cancelled")


def test_deadlines_outlive_the_process() -> None:
    execute_signal("paper", SWAP, {"action": "buy", "amount": 0.01, "price": 59000, "timeout": 0.2})
    default_executor().close()
    default_executor.cache_clear()
    default_manager.cache_clear()
    time.sleep(0.3)
    assert len(paper.get_open_orders()["data"]) == 1
    default_executor().start()
    until(lambda: not paper.get_open_orders()["data"])


def test_under_a_replaced_clock_deadlines_are_polled() -> None:
    manual = clock.ManualClock(1e9)
    with clock.use(manual):
        paper.set_price(SWAP, 60000, 60001, size=100)
        answer = execute_signal("paper", SWAP, {"action": "buy", "amount": 0.01, "price": 59000, "timeout": 30})
        assert answer["success"], answer
        assert default_executor().poll_deadlines() == 0
        manual.advance(31)
        assert default_executor().poll_deadlines() == 1
        assert paper.get_open_orders()["data"] == []


def test_close_joins_the_thread() -> None:
    execute_signal("paper", SWAP, {"action": "buy", "amount": 0.01, "price": 59000, "timeout": 60})
    assert any(t.name == "execution-deadlines" for t in threading.enumerate())
    default_executor().close()
    assert not any(t.name == "execution-deadlines" for t in threading.enumerate())


# -- many at once


def test_a_batch_answers_each_in_order() -> None:
    batch = [
        {"exchange": "paper", "symbol": SWAP, "action": "buy", "amount": 0.01},
        {"exchange": "nyse", "symbol": SWAP, "action": "buy", "amount": 0.01},
        {"exchange_name": "paper", "symbol": SWAP, "action": "buy", "amount": -1},
        {"exchange_name": "paper", "symbol": SPOT, "action": "buy", "amount": 0.01, "price": 59000},
        {"exchange_name": "paper", "symbol": SWAP, "action": "close", "key": "k"},
        "nonsense",
        {"symbol": SWAP, "action": "buy", "amount": 1},
        {"exchange_name": "paper", "symbol": SWAP, "action": "sell", "amount": 0.03},
    ]
    answers = execute_signals(batch)  # type: ignore[arg-type]
    assert [a["success"] for a in answers] == [True, False, False, True, True, False, False, True]
    assert "nyse" in answers[1]["message"]
    assert "exchange_name is missing" in answers[6]["message"]
    assert answers[4]["data"]["order"]["amount"] == 0.01
    assert position() == -0.03
    assert execute_signals([]) == []


def test_a_batch_is_two_commits() -> None:
    batch = [{"exchange": "paper", "symbol": SWAP, "action": "buy", "amount": 0.001}] * 50
    execute_signals(batch)
    connection = default_manager().journal.database.connection
    statements: list[str] = []
    connection.set_trace_callback(statements.append)
    answers = execute_signals(batch)
    connection.set_trace_callback(None)
    assert all(a["success"] for a in answers)
    assert statements.count("COMMIT") <= 3
    assert position() == 0.1


def test_a_batch_over_venues_sends_each_its_own() -> None:
    seen: list[tuple[str, str]] = []

    class Second:
        NAME = "second"
        LOCAL = True

        def __getattr__(self, name: str) -> Any:
            if name == "place_orders":
                raise AttributeError(name)
            return getattr(paper, name)

        def place_market_order(self, symbol: str, side: str, amount: Any, **options: Any) -> Any:
            seen.append((symbol, side))
            return paper.place_market_order(symbol, side, amount, **options)

    registry.register(Second())  # type: ignore[arg-type]
    batch = [
        {"exchange": name, "symbol": SWAP, "action": side, "amount": 0.01}
        for name, side in (("paper", "buy"), ("second", "buy"), ("paper", "buy"), ("second", "sell"))
    ]
    answers = execute_signals(batch)
    assert all(a["success"] for a in answers), answers
    assert seen == [(SWAP, "buy"), (SWAP, "sell")]
    assert [a["data"]["order"]["exchange"] for a in answers] == ["paper", "second", "paper", "second"]


# -- liquidation


def test_a_liquidation_signal_cancels_and_closes() -> None:
    executor = default_executor()
    execute_signal("paper", SWAP, {"action": "buy", "amount": 0.02})
    execute_signal("paper", SWAP, {"action": "buy", "amount": 0.01, "price": 59000})
    execute_signal("paper", SPOT, {"action": "buy", "amount": 0.02})
    answer = executor.handle_risk_signal(executor.risk.send_liquidation_signal("paper", SWAP))
    assert answer["success"], answer
    assert answer["data"]["cancelled"] == 1
    assert position() == 0
    assert position(SPOT) > 0
    assert executor.handle_risk_signal(executor.risk.send_liquidation_signal("paper"))["success"]
    assert position(SPOT) < 1e-5
    assert executor.handle_risk_signal({"signal": "panic"})["data"]["error"] == "INVALID_ORDER"
    assert executor.handle_risk_signal({"signal": "liquidate", "exchange": "nyse"})["data"]["error"] == "UNKNOWN_VENUE"


def test_a_liquidation_that_fails_says_what_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    executor = default_executor()
    execute_signal("paper", SWAP, {"action": "buy", "amount": 0.02})
    monkeypatch.setattr(paper, "place_market_order", lambda *_a, **_k: fail("VENUE_DOWN", "closed", "rejected"))
    answer = executor.handle_risk_signal({"signal": "liquidate", "exchange": "paper", "symbol": None})
    assert not answer["success"]
    assert answer["data"]["closed"][0]["data"]["error"] == "VENUE_DOWN"


# -- unknown outcomes


def test_an_unknown_outcome_is_recorded_and_settled_later(monkeypatch: pytest.MonkeyPatch) -> None:
    real = paper.place_market_order

    def silent(*args: Any, **kwargs: Any) -> Any:
        real(*args, **kwargs)
        return fail("TIMEOUT", "no answer in time", "unknown")

    monkeypatch.setattr(paper, "place_market_order", silent)
    signal = {"action": "buy", "amount": 0.01, "key": "k"}
    answer = execute_signal("paper", SWAP, signal)
    assert not answer["success"]
    assert answer["data"]["outcome"] == "unknown"
    assert answer["data"]["order"]["status"] == "unknown"
    assert position() == 0.01
    again = execute_signal("paper", SWAP, signal)
    assert again["success"], again
    assert again["data"]["order"]["status"] == "filled"
    assert position() == 0.01
    assert execute_signal("paper", SWAP, signal) == again


def test_what_an_earlier_process_left_is_settled_at_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    real = paper.place_limit_order

    def silent(*args: Any, **kwargs: Any) -> Any:
        real(*args, **kwargs)
        return fail("TIMEOUT", "no answer in time", "unknown")

    monkeypatch.setattr(paper, "place_limit_order", silent)
    there = execute_signal("paper", SWAP, {"action": "buy", "amount": 0.01, "price": 59000})
    lost = fail("TIMEOUT", "no answer in time", "unknown")
    monkeypatch.setattr(paper, "place_limit_order", lambda *_a, **_k: lost)
    absent = execute_signal("paper", SWAP, {"action": "buy", "amount": 0.01, "price": 59000})
    default_executor().close()
    default_executor.cache_clear()
    default_manager.cache_clear()
    settled = {order["client_order_id"]: order for order in default_executor().recover()}
    assert settled[there["data"]["client_order_id"]]["status"] == "open"
    missing = settled[absent["data"]["client_order_id"]]
    assert (missing["status"], missing["outcome"]) == ("rejected", "not_sent")
    assert len(paper.get_open_orders()["data"]) == 1


def test_a_broken_store_sends_nothing(home: Any) -> None:
    home.mkdir(exist_ok=True)
    (home / "execution.db").write_bytes(b"this is no database at all, just text" * 100)
    answer = execute_signal("paper", SWAP, {"action": "buy", "amount": 0.01})
    assert not answer["success"]
    assert (answer["data"]["error"], answer["data"]["outcome"]) == ("STORE_FAILED", "not_sent")
    assert "damaged" in answer["message"]
    assert position() == 0
    assert execute_signals([{"exchange": "paper", "symbol": SWAP, "action": "buy", "amount": 1}])[0]["data"][
        "error"
    ] == ("STORE_FAILED")


def test_answers_are_json() -> None:
    for signal in ({"action": "buy", "amount": 0.01}, {"action": "buy", "amount": 5}, {"action": "close"}, {}):
        json.dumps(execute_signal("paper", SWAP, signal), allow_nan=False)
    assert ok(None)["success"]


def test_a_fault_of_ours_is_an_answer_of_unknown_outcome(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_args: Any) -> None:
        raise ZeroDivisionError("oops")

    monkeypatch.setattr(default_manager(), "settle", broken)
    answer = execute_signal("paper", SWAP, {"action": "buy", "amount": 0.01, "key": "k"})
    assert (answer["data"]["error"], answer["data"]["outcome"]) == ("INTERNAL", "unknown")
    assert position() == 0.01
    monkeypatch.undo()


def test_a_wide_market_does_not_hold_up_a_liquidation() -> None:
    assert execute_signal("paper", SWAP, {"action": "buy", "amount": 0.01})["success"]
    paper.set_price(SWAP, 50000, 60001, size=100)
    assert execute_signal("paper", SWAP, {"action": "close"})["data"]["rule"] == "PRICE_COLLAR"
    answer = default_executor().handle_risk_signal({"signal": "liquidate", "exchange": "paper"})
    assert answer["success"], answer
    assert position() == 0


def test_a_collar_of_one_is_no_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RISK_PRICE_COLLAR", "1")
    assert execute_signal("paper", SWAP, {"action": "buy", "amount": 0.01})["success"]


def test_a_close_that_fills_in_part_says_what_is_left() -> None:
    execute_signal("paper", SWAP, {"action": "buy", "amount": 0.1})
    paper.set_price(SWAP, 60000, 60001, size=0.02)
    answer = execute_signal("paper", SWAP, {"action": "close"})
    assert "0.08 of 0.1" in answer["message"]


def test_two_executors_of_one_process_share_their_keys() -> None:
    other = Executor(default_manager())
    signal = {"action": "buy", "amount": 0.01, "key": "k"}
    answers: list[Any] = []
    threads = [
        threading.Thread(target=lambda e=e: answers.append(e.execute_signal("paper", SWAP, signal)))
        for e in (other, default_executor()) * 4
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(answer == answers[0] for answer in answers)
    assert position() == 0.01


def test_executions_that_the_answer_did_not_carry_are_fetched() -> None:
    class Terse:
        NAME = "terse"
        LOCAL = True

        def __getattr__(self, name: str) -> Any:
            return getattr(paper, name)

        def place_market_order(self, symbol: str, side: str, amount: Any, **options: Any) -> Any:
            answer = paper.place_market_order(symbol, side, amount, **options)
            del answer["data"]["fills"]
            return answer

    registry.register(Terse())  # type: ignore[arg-type]
    name = execute_signal("terse", SWAP, {"action": "buy", "amount": 0.01})["data"]["client_order_id"]
    assert default_manager().get_fills(name) == []
    default_executor().sync()
    assert sum(fill["amount"] for fill in default_manager().get_fills(name)) == 0.01


def test_a_spot_holding_is_closed_though_what_is_locked_of_it_cannot_be_read() -> None:
    made = fakes.FakeVenue("fake")
    registry.register(made)  # type: ignore[arg-type]
    made.failing["get_account_info"] = ("VENUE_DOWN", "not_sent")
    held = fakes.position("BTC-USDT", "long", 2.0, margin_mode="spot")
    orders, remarks = closing_orders("fake", "BTC-USDT", parse({"action": "close"}), [held], None)  # type: ignore[list-item]
    assert ([order.amount for order in orders], remarks) == ([2], [])
