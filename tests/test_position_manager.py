"""Positions: reading, adding, reducing, closing exactly, never flipping."""

from __future__ import annotations

from decimal import Decimal as D

import pytest
from hypothesis import given
from hypothesis import strategies as st

from Execution.common.holding import notional, signed_size, unrealized_pnl
from Execution.order_manager import default_manager
from Execution.position_manager import PositionManager
from tests.fakes import FakeVenue, at_home, position

SWAP, SPOT = "BTC-USDT-SWAP", "BTC-USDT"
PLACED = ("success", "order_id", "client_order_id", "symbol", "side", "amount", "price", "status", "message", "data")
PROMISED = ("symbol", "side", "size", "entry_price", "mark_price", "unrealized_pnl", "leverage")

manager = PositionManager()


@pytest.fixture
def venue(tmp_path):
    fake = FakeVenue("fake")
    with at_home(tmp_path, fake):
        yield fake


def sent(venue):
    """Answer the orders that reached the venue: (function, symbol, side, amount, options)."""
    return [(name[6:-6], *args[:3], options) for name, args, options in venue.calls if name.startswith("place_")]


def hold(venue, size, free=None, asset="BTC"):
    """Give the venue a spot holding."""
    venue.positions = [position(f"{asset}-USDT", "long", size, None)]
    free = size if free is None else free
    venue.balances = {asset: {"free": free, "locked": size - free, "total": size}}


# -- pure

exact = st.decimals(min_value="0", max_value="100000", places=4)


@given(exact, exact, exact)
def test_profit_of_long_and_short_mirror_each_other(size, entry, mark):
    long, short = unrealized_pnl("long", size, entry, mark), unrealized_pnl("short", size, entry, mark)
    assert long == -short
    assert long == notional(size, mark) - notional(size, entry)
    assert signed_size("long", size) == size == -signed_size("short", size)


def test_profit_by_hand():
    assert unrealized_pnl("long", D(2), D(100), D(110)) == 20
    assert unrealized_pnl("short", D(2), D(100), D(110)) == -20


# -- reading


def test_get_position_answers_what_was_promised(venue):
    venue.positions = [position(SWAP, "short", 2, 110.0, mark_price=100.0, unrealized_pnl=7.0, leverage=5.0)]
    answer = manager.get_position("FAKE", "btc/usdt:usdt")
    assert {key: answer[key] for key in PROMISED} == {
        "symbol": SWAP,
        "side": "short",
        "size": 2.0,
        "entry_price": 110.0,
        "mark_price": 100.0,
        "unrealized_pnl": 20.0,
        "leverage": 5.0,
    }
    assert (answer["notional"], answer["exchange"], answer["success"]) == (200.0, "fake", True)
    assert answer["message"] == ""
    assert len(answer["legs"]) == 1


def test_a_flat_position_has_the_same_keys(venue):
    venue.positions = [position("ETH-USDT-SWAP", "long", 1)]
    answer = manager.get_position("fake", SWAP)
    assert (answer["side"], answer["size"], answer["success"], answer["unrealized_pnl"]) == ("none", 0.0, True, 0.0)
    assert answer["message"] == ""
    venue.positions = [position(SWAP, "long", 1)]
    assert set(manager.get_position("fake", SWAP)) == set(answer)


@pytest.mark.parametrize(("name", "symbol", "word"), [("nowhere", SWAP, "nowhere"), ("fake", "junk", "junk")])
def test_a_failure_has_the_same_keys_and_says_why(venue, name, symbol, word):
    flat = manager.get_position("fake", SWAP)
    answer = manager.get_position(name, symbol)
    assert set(answer) >= set(flat)
    assert (answer["success"], answer["side"], answer["size"], answer["symbol"]) == (False, None, None, symbol)
    assert word in answer["message"]


def test_a_venue_that_fails_is_not_flat(venue):
    venue.failing["get_positions"] = ("AUTHENTICATION", "rejected")
    answer = manager.get_position("fake", SWAP)
    assert (answer["success"], answer["side"]) == (False, None)
    assert "AUTHENTICATION" in answer["message"]


def test_a_missing_mark_is_asked_for(venue):
    venue.quotes = {SPOT: (119.0, 121.0, 120.0)}
    venue.positions = [position(SPOT, "long", 2, 100.0, mark_price=None)]
    answer = manager.get_position("fake", SPOT)
    assert (answer["mark_price"], answer["unrealized_pnl"], answer["notional"]) == (120.0, 40.0, 240.0)
    venue.failing["get_ticker"] = ("VENUE_REJECTED", "rejected")
    assert manager.get_position("fake", SPOT)["mark_price"] is None


def test_an_unknown_entry_leaves_the_venues_own_profit(venue):
    venue.positions = [position(SPOT, "long", 2, None, unrealized_pnl=3.0)]
    answer = manager.get_position("fake", SPOT)
    assert (answer["entry_price"], answer["unrealized_pnl"], answer["leverage"]) == (None, 3.0, 1.0)


def test_both_legs_of_hedge_mode_are_shown(venue):
    venue.positions = [position(SWAP, "long", 1), position(SWAP, "short", 3)]
    answer = manager.get_position("fake", SWAP)
    assert (answer["side"], answer["size"], len(answer["legs"])) == ("short", 3.0, 2)
    assert "both legs" in answer["message"]
    assert manager.get_position("fake", SWAP, side="long")["size"] == 1.0


def test_get_positions_adds_up_by_quote_currency(venue):
    venue.positions = [
        position(SWAP, "long", 2, 90.0, margin=10.0),
        position("ETH-USDT-SWAP", "short", 1, 90.0),
        position("ETH-BTC", "long", 1, 100.0),
    ]
    answer = manager.get_positions("fake")
    assert [p["symbol"] for p in answer["positions"]] == [SWAP, "ETH-USDT-SWAP", "ETH-BTC"]
    assert answer["totals"]["USDT"] == {
        "count": 2.0,
        "long_notional": 200.0,
        "short_notional": 100.0,
        "gross_notional": 300.0,
        "net_notional": 100.0,
        "unrealized_pnl": 10.0,
        "margin": 10.0,
    }
    assert answer["totals"]["BTC"]["count"] == 1
    failed = manager.get_positions("nowhere")
    assert (failed["success"], failed["positions"], failed["totals"]) == (False, [], {})


# -- adding


@pytest.mark.parametrize(("side", "order_side"), [("long", "buy"), ("short", "sell")])
def test_increase_sends_one_order_of_place_orders_shape(venue, side, order_side):
    answer = manager.increase_position("fake", SWAP, side, "0.5")
    assert tuple(answer) == PLACED
    assert (answer["success"], answer["side"], answer["amount"], answer["status"]) == (True, order_side, 0.5, "filled")
    (kind, symbol, sent_side, amount, options) = sent(venue)[0]
    assert (kind, symbol, sent_side, amount, options["reduce_only"]) == ("market", SWAP, order_side, D("0.5"), False)
    assert D(options["max_slippage"]) == D("0.05")
    assert manager.get_position("fake", SWAP)["side"] == side
    assert default_manager().get_order(answer["client_order_id"])["status"] == "filled"


def test_with_a_price_it_is_a_limit_order(venue):
    answer = manager.increase_position("fake", SWAP, "long", 1, 90, post_only=True, strategy="test")
    assert (answer["success"], answer["price"], answer["status"]) == (True, 90.0, "open")
    assert sent(venue)[0][4]["post_only"] is True
    assert default_manager().get_order(answer["client_order_id"])["strategy"] == "test"


def test_another_slippage_is_the_callers(venue, monkeypatch):
    manager.increase_position("fake", SWAP, "long", 1, max_slippage="0.01")
    monkeypatch.setenv("RISK_PRICE_COLLAR", "")
    manager.increase_position("fake", SWAP, "long", 1)
    assert [options.get("max_slippage") for *_, options in sent(venue)] == ["0.01", None]


def test_adding_to_the_same_side_is_fine_and_the_other_side_is_refused(venue):
    venue.positions = [position(SWAP, "short", 2)]
    assert manager.increase_position("fake", SWAP, "short", 1)["success"]
    answer = manager.increase_position("fake", SWAP, "long", 5)
    assert (answer["success"], answer["status"], answer["data"]["outcome"]) == (False, "rejected", "not_sent")
    assert "short position of 3" in answer["message"]
    assert len(sent(venue)) == 1


def test_in_hedge_mode_both_sides_may_be_open(venue):
    venue.position_mode = "hedge"
    venue.positions = [position(SWAP, "short", 2)]
    assert manager.increase_position("fake", SWAP, "long", 1)["success"]


@pytest.mark.parametrize(
    ("args", "word"),
    [
        (("nowhere", SWAP, "long", 1), "nowhere"),
        (("fake", SWAP, "up", 1), "up"),
        (("fake", SPOT, "short", 1), "spot"),
        (("fake", SWAP, "long", -1), "-1"),
        (("fake", SWAP, "long", float("nan")), "nan"),
        (("fake", SWAP, "long", 1, -5), "-5"),
    ],
)
def test_nonsense_is_answered_in_place_orders_shape_and_nothing_is_sent(venue, args, word):
    answer = manager.increase_position(*args)
    assert tuple(answer) == PLACED
    assert (answer["success"], answer["status"], answer["data"]["outcome"]) == (False, "rejected", "not_sent")
    assert word in answer["message"]
    assert sent(venue) == []


@pytest.mark.parametrize("act", ["increase", "decrease", "close"])
def test_nothing_is_sent_while_the_position_cannot_be_read(venue, act):
    venue.failing["get_positions"] = ("BAD_RESPONSE", "unknown")
    answer = {
        "increase": lambda: manager.increase_position("fake", SWAP, "long", 1),
        "decrease": lambda: manager.decrease_position("fake", SWAP, 1),
        "close": lambda: manager.close_position("fake", SWAP),
    }[act]()
    assert (answer["success"], answer["data"]["error"], answer["data"]["outcome"]) == (
        False,
        "BAD_RESPONSE",
        "not_sent",
    )
    assert sent(venue) == []


# -- reducing


@pytest.mark.parametrize(("side", "order_side"), [("long", "sell"), ("short", "buy")])
def test_decrease_is_reduce_only_and_on_the_other_side(venue, side, order_side):
    venue.positions = [position(SWAP, side, 2)]
    answer = manager.decrease_position("fake", SWAP, "1.5")
    assert tuple(answer) == PLACED
    assert (answer["success"], answer["side"], answer["amount"]) == (True, order_side, 1.5)
    assert sent(venue)[0][4]["reduce_only"] is True
    left = manager.get_position("fake", SWAP)
    assert (left["side"], left["size"]) == (side, 0.5)


def test_more_than_there_is_is_refused_with_the_numbers(venue):
    venue.positions = [position(SWAP, "long", 2)]
    answer = manager.decrease_position("fake", SWAP, "2.001")
    assert (answer["success"], answer["data"]["error"]) == (False, "REDUCE_ONLY_REJECTED")
    assert "2.001" in answer["message"]
    assert "position of 2 " in answer["message"]
    assert sent(venue) == []
    assert manager.decrease_position("fake", SWAP, 2)["success"]


def test_nothing_can_be_taken_from_a_flat_position(venue):
    answer = manager.decrease_position("fake", SWAP, 1)
    assert (answer["success"], answer["data"]["error"]) == (False, "REDUCE_ONLY_REJECTED")


def test_with_both_legs_open_the_side_must_be_named(venue):
    venue.position_mode = "hedge"
    venue.positions = [position(SWAP, "long", 1), position(SWAP, "short", 3)]
    assert "name the side" in manager.decrease_position("fake", SWAP, 1)["message"]
    assert manager.decrease_position("fake", SWAP, 1, side="short")["side"] == "buy"
    assert "no up position" in manager.decrease_position("fake", SWAP, 1, side="up")["message"]


def test_a_spot_holding_is_reduced_by_a_plain_sell(venue):
    hold(venue, 2.0)
    answer = manager.decrease_position("fake", SPOT, 1)
    assert (answer["success"], answer["side"]) == (True, "sell")
    assert sent(venue)[0][4]["reduce_only"] is False


# -- closing


@pytest.mark.parametrize("side", ["long", "short"])
def test_close_takes_exactly_what_is_open(venue, side):
    venue.positions = [position(SWAP, side, 0.123)]
    answer = manager.close_position("fake", SWAP)
    assert (answer["success"], answer["amount"], answer["status"]) == (True, 0.123, "filled")
    assert sent(venue)[0][3] == D("0.123")
    assert sent(venue)[0][4]["reduce_only"] is True
    assert venue.positions == []


def test_closing_a_flat_position_is_a_clear_success(venue):
    answer = manager.close_position("fake", SWAP)
    assert tuple(answer) == PLACED
    assert (answer["success"], answer["amount"], answer["status"], answer["order_id"]) == (True, 0.0, "none", "")
    assert "flat" in answer["message"]
    assert sent(venue) == []


def test_close_with_a_price_rests(venue):
    venue.positions = [position(SWAP, "long", 1)]
    assert manager.close_position("fake", SWAP, 120)["status"] == "open"


def test_close_takes_both_legs_or_the_one_that_is_named(venue):
    venue.positions = [position(SWAP, "long", 1), position(SWAP, "short", 3)]
    assert manager.close_position("fake", SWAP, side="long")["side"] == "sell"
    venue.calls.clear()
    venue.positions = [position(SWAP, "long", 1), position(SWAP, "short", 3)]
    answer = manager.close_position("fake", SWAP)
    assert answer["success"]
    assert [(order[2], order[3]) for order in sent(venue)] == [("sell", D(1)), ("buy", D(3))]
    assert len(answer["data"]["legs"]) == 2


def test_one_leg_that_fails_fails_the_close(venue):
    venue.positions = [position(SWAP, "long", 1), position(SWAP, "short", 0.0001)]
    answer = manager.close_position("fake", SWAP)
    assert answer["success"] is False
    assert [leg["success"] for leg in answer["data"]["legs"]] == [True, False]
    assert "0.0001" in answer["message"]


def test_a_spot_holding_is_sold_down_to_the_lot_and_the_dust_named(venue):
    hold(venue, 1.23456)
    answer = manager.close_position("fake", SPOT)
    assert (answer["success"], answer["amount"], answer["data"]["dust"]) == (True, 1.234, 0.00056)
    assert answer["message"] == "0.00056 BTC-USDT stays: less than a lot"
    hold(venue, 1.0)
    answer = manager.close_position("fake", SPOT)
    assert (answer["amount"], answer["data"]["dust"], answer["message"]) == (1.0, 0.0, "")


def test_what_is_just_large_enough_is_sold(venue):
    hold(venue, 0.05)
    assert manager.close_position("fake", SPOT)["amount"] == 0.05
    hold(venue, 1.0)
    venue.min_notional, venue.least = 0.0, 1.0
    assert manager.close_position("fake", SPOT)["amount"] == 1.0


@pytest.mark.parametrize("size", [0.0004, 0.03])
def test_what_is_too_small_to_be_sold_is_dust_and_the_close_a_success(venue, size):
    hold(venue, size)
    answer = manager.close_position("fake", SPOT)
    assert (answer["success"], answer["status"], answer["data"]) == (True, "none", {"closed": True, "dust": size})
    assert "dust" in answer["message"]
    assert sent(venue) == []


def test_what_open_orders_lock_is_not_sold(venue):
    hold(venue, 2.0, free=1.5)
    answer = manager.close_position("fake", SPOT)
    assert (answer["success"], answer["amount"], answer["data"]["dust"]) == (True, 1.5, 0.5)
    assert "locked" in answer["message"]
    hold(venue, 2.0, free=0.0)
    answer = manager.close_position("fake", SPOT)
    assert (answer["success"], answer["data"]["error"]) == (False, "INSUFFICIENT_FUNDS")
    assert "2.0 BTC-USDT is locked" in answer["message"]


def test_closing_what_makes_no_sense(venue):
    assert manager.close_position("nowhere", SWAP)["success"] is False
    hold(venue, 1.0)
    assert manager.close_position("fake", SPOT, "x")["success"] is False
    assert sent(venue) == []
