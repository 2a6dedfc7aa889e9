"""What risk makes of a venue's answers, and of fills that came after them."""

from __future__ import annotations

from decimal import Decimal as D

import pytest

from Execution.common.risk_limits import limits_of, thresholds_of
from Execution.common.risk_state import (
    Account,
    Quote,
    doubtful,
    metrics_of,
    money,
    parse_account,
    parse_quote,
    price,
    rate_symbols,
    same_money,
)
from tests.fakes import FakeVenue, position

SYMBOL = "BTC-USDT-SWAP"


def account(long=0, short=0, filled=0, doubt=0, hedge=False):
    return Account(
        hedge=hedge,
        longs={SYMBOL: D(long)},
        shorts={SYMBOL: D(short)},
        filled={SYMBOL: D(filled)},
        doubt={SYMBOL: D(doubt)} if doubt else {},
    )


@pytest.mark.parametrize(
    ("known", "now", "buying", "selling"),
    [
        (account(), 0, 0, 0),
        (account(long=5), 0, 5, 5),
        (account(short=5), 0, -5, -5),
        (account(long=5, filled=7), 9, 7, 7),
        (account(long=5, filled=7), 3, 1, 1),
        (account(long=5, doubt=2), 0, 7, 5),
        (account(long=5, doubt=-2), 0, 5, 3),
        (account(long=5, filled=1, doubt=-2), 4, 8, 6),
        (account(long=5, short=3, hedge=True), 0, 5, -3),
    ],
)
def test_the_position_that_an_order_is_judged_by(known, now, buying, selling):
    assert known.position(SYMBOL, "buy", {SYMBOL: D(now)}) == buying
    assert known.position(SYMBOL, "sell", {SYMBOL: D(now)}) == selling


def test_a_leg_grows_by_what_opened_it():
    known = Account(
        hedge=True,
        longs={SYMBOL: D(5)},
        shorts={SYMBOL: D(3)},
        filled={f"{SYMBOL} buy": D(1)},
        doubt={f"{SYMBOL} sell": D(2)},
    )
    now = {SYMBOL: D(0), f"{SYMBOL} buy": D(4), f"{SYMBOL} sell": D(4)}
    assert (known.position(SYMBOL, "buy", now), known.position(SYMBOL, "sell", now)) == (8, -9)


def test_doubt_is_what_was_filled_in_between():
    assert doubtful({"A": D(1), "B": D(2)}, {"A": D(1), "B": D(5), "C": D(-1)}) == {"B": D(3), "C": D(-1)}


@pytest.mark.parametrize(
    ("value", "exact"), [(1.5, D("1.5")), (0, None), (0.0, None), (-1.0, None), (None, None), (float("inf"), None)]
)
def test_a_price_is_positive_and_finite_or_none(value, exact):
    assert price(value) == exact


def test_money_may_be_zero_or_less_but_not_infinite():
    assert [money(v) for v in (0.0, -1.5, None, float("inf"), float("nan"))] == [0, D("-1.5"), None, None, None]


def test_prices_that_did_not_change_are_not_parsed_again():
    first = parse_quote({"bid": 1.0, "ask": 2.0, "mark": 1.5}, 10.0, None)  # type: ignore[typeddict-item]
    same = parse_quote({"bid": 1.0, "ask": 2.0, "mark": 1.5}, 11.0, first)  # type: ignore[typeddict-item]
    assert (same.bid, same.read) == (D(1), 11.0)
    assert same.bid is first.bid
    other = parse_quote({"bid": 1.0, "ask": None, "mark": 1.6}, 12.0, same)  # type: ignore[typeddict-item]
    assert other == Quote(D(1), None, D("1.6"), 12.0, (1.0, None, 1.6))


def test_an_account_adds_up_its_positions():
    venue = FakeVenue()
    found = [
        position(SYMBOL, "long", 2, leverage=3.0),
        position(SYMBOL, "short", 1, leverage=5.0, notional=-100.0),
        position("ETH-USDT", "long", 1, leverage=None),
        position("XRP-USDT", "none", 9),
    ]
    parsed = parse_account(venue.get_account_info()["data"], found)
    assert (parsed.longs, parsed.shorts) == ({SYMBOL: 2, "ETH-USDT": 1}, {SYMBOL: 1})
    assert (parsed.gross, parsed.notionals[SYMBOL], parsed.leverages) == (400, 300, {SYMBOL: 5})
    assert (parsed.hedge, parsed.currency, parsed.trouble) == (False, "USDT", "")
    assert metrics_of(parsed)["gross_notional"] == 400.0


def test_metrics_that_are_not_known_are_none():
    venue = FakeVenue()
    venue.equity = float("nan")
    parsed = parse_account(venue.get_account_info()["data"], [])
    assert parsed.equity is None
    assert "nan" in parsed.trouble
    for unknown in (parsed, Account()):
        assert set(metrics_of(unknown).values()) == {None}


@pytest.mark.parametrize(
    ("one", "other", "same"), [("BTC", "BTC", True), ("USDT", "USDC", True), ("USDT", "BTC", False), ("A", "B", False)]
)
def test_dollars_count_one_for_one(one, other, same):
    assert same_money(one, other) is same
    assert same_money(other, one) is same


def test_where_a_rate_is_looked_for():
    assert rate_symbols("BTC", "USDC") == ["BTC-USDC", "BTC-USDT", "BTC-USD"]
    assert rate_symbols("ETH", "BTC") == ["ETH-BTC"]


def test_the_edges_of_what_a_limit_may_be():
    assert limits_of({"max_loss_ratio": 1, "price_collar": "1", "max_open_orders": 1}).max_loss_ratio == 1
    same = thresholds_of({"warning_drawdown": 0.1, "danger_drawdown": 0.1}, None)
    assert same.warning_drawdown == same.danger_drawdown
    never = thresholds_of({"danger_margin_ratio": float("inf")}, None)
    assert never.warning_margin_ratio == D("inf")
    with pytest.raises(ValueError, match="max_leverage"):
        limits_of({"max_leverage": None, "price_collar": None} | {"max_leverage": object()})
