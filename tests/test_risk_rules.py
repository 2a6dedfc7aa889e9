"""The rules one by one, and what holds for all of them."""

from __future__ import annotations

from decimal import Decimal as D
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from Execution.common.risk import RISK_CODES, AccountState, Limits, OrderView, RiskState, Thresholds
from Execution.common.risk_rules import evaluate, judge_account

SYMBOL = "BTC-USDT-SWAP"
STANDARD = Limits(max_position_size=D("0.1"), max_loss_ratio=D("0.05"), price_collar=D("0.05"))
CALM = RiskState(equity=D(10_000), day_start_equity=D(10_000), mark=D(100), bid=D("99.9"), ask=D("100.1"))


def order(side: str = "buy", amount: Any = 1, price: Any = 100, kind: str = "limit", **more: Any) -> OrderView:
    more["stop_price"] = None if more.get("stop_price") is None else D(str(more["stop_price"]))
    return OrderView("fake", SYMBOL, side, kind, D(str(amount)), None if price is None else D(str(price)), **more)


def market(side: str = "buy", amount: Any = 1, **more: Any) -> OrderView:
    return order(side, amount, None, "market", **more)


def state(**more: Any) -> RiskState:
    exact = {k: v if v is None or k in PLAIN else D(str(v)) for k, v in more.items()}
    return msgspec.structs.replace(CALM, **exact)


PLAIN = ("open_orders", "orders_last_minute", "orders_today", "trouble", "unresolved")


def limits(**more: Any) -> Limits:
    return msgspec.structs.replace(STANDARD, **more)


# -- each rule, just inside and just outside

CASES = [
    ("POSITION_SIZE", order(amount=10), order(amount="10.001"), CALM, CALM, STANDARD),
    ("POSITION_SIZE", order(amount=4), order(amount=4), state(position=6), state(position="6.001"), STANDARD),
    ("POSITION_SIZE", order(amount=4), order(amount=4), state(open_buys=6), state(open_buys="6.001"), STANDARD),
    ("POSITION_SIZE", order("sell", 4), order("sell", 4), state(open_sells=6), state(open_sells=7), STANDARD),
    ("POSITION_SIZE", order("sell", 4), order("sell", 4), state(position=-6), state(position=-7), STANDARD),
    ("POSITION_SIZE", order("sell", 16), order("sell", 17), state(position=6), state(position=6), STANDARD),
    ("POSITION_SIZE", order(amount=1), order(amount=1), CALM, state(equity=0, day_start_equity=0), STANDARD),
    ("POSITION_SIZE", order(amount=1), order(amount=1), state(rate="0.01"), state(rate=11), STANDARD),
    ("LOSS_RATIO", order(), order(), state(equity="9500.01"), state(equity=9500), STANDARD),
    ("LOSS_RATIO", order(), order(), CALM, state(equity=-5, day_start_equity=0), STANDARD),
    ("DAILY_LOSS", order(), order(), state(equity=9801), state(equity=9800), limits(max_daily_loss=D(200))),
    ("ORDER_NOTIONAL", order(), order(amount=2), CALM, CALM, limits(max_order_notional=D(100))),
    ("ORDER_NOTIONAL", market(), market(amount=2), CALM, CALM, limits(max_order_notional=D(100))),
    ("SYMBOL_NOTIONAL", order(), order(), CALM, state(position="0.001"), limits(max_symbol_notional=D(100))),
    ("OPEN_ORDERS", order(), order(), state(open_orders=2), state(open_orders=3), limits(max_open_orders=3)),
    (
        "ORDERS_PER_MINUTE",
        order(),
        order(),
        state(orders_last_minute=2),
        state(orders_last_minute=3),
        limits(max_orders_per_minute=3),
    ),
    ("ORDERS_PER_DAY", order(), order(), state(orders_today=2), state(orders_today=3), limits(max_orders_per_day=3)),
    ("UNRESOLVED_ORDER", order(), order(), CALM, state(unresolved=1), limits(block_unresolved=True)),
    ("LEVERAGE", order(leverage=D(5)), order(leverage=D(6)), CALM, CALM, limits(max_leverage=D(5))),
    ("LEVERAGE", order(), order(), state(leverage=5), state(leverage=6), limits(max_leverage=D(5))),
    (
        "LEVERAGE",
        order(),
        order(),
        state(other_notional=49_900),
        state(other_notional=49_901),
        limits(max_leverage=D(5)),
    ),
    (
        "SYMBOL_NOT_ALLOWED",
        order(),
        order(),
        CALM,
        CALM,
        (limits(allowed_symbols=frozenset([SYMBOL])), limits(allowed_symbols=frozenset(["ETH-USDT"]))),
    ),
    ("NO_MARK", order(), order(), CALM, state(mark=None), STANDARD),
    ("NO_MARK", market(), market(), CALM, state(mark=None), STANDARD),
    ("NO_MARK", order(), order(), CALM, state(rate=None), STANDARD),
    ("ACCOUNT_UNREADABLE", order(), order(), CALM, state(equity=None, trouble="TIMEOUT"), STANDARD),
    ("PRICE_COLLAR", order(price=105), order(price="105.1"), CALM, CALM, STANDARD),
    ("PRICE_COLLAR", order("sell", price=95), order("sell", price="94.9"), CALM, CALM, STANDARD),
    ("PRICE_COLLAR", market(), market(), state(ask=105), state(ask="105.1"), STANDARD),
    ("PRICE_COLLAR", market("sell"), market("sell"), state(bid=95), state(bid="94.9"), STANDARD),
    (
        "PRICE_COLLAR",
        order(price=126, kind="stop", stop_price=120),
        order(price=127, kind="stop", stop_price=120),
        CALM,
        CALM,
        STANDARD,
    ),
    (
        "STOP_SIDE",
        order(kind="stop", price=None, stop_price=95),
        order(kind="stop", price=None, stop_price=94),
        CALM,
        CALM,
        STANDARD,
    ),
    (
        "STOP_SIDE",
        order("sell", kind="stop", price=None, stop_price=105),
        order("sell", kind="stop", price=None, stop_price=106),
        CALM,
        CALM,
        STANDARD,
    ),
    (
        "STOP_SIDE",
        order("sell", kind="take_profit", price=None, stop_price=95),
        order("sell", kind="take_profit", price=None, stop_price=94),
        CALM,
        CALM,
        STANDARD,
    ),
]


@pytest.mark.parametrize(("code", "good", "bad", "calm", "bad_state", "rules"), CASES)
def test_each_rule_denies_just_beyond_its_limit(code, good, bad, calm, bad_state, rules):
    before, after = rules if isinstance(rules, tuple) else (rules, rules)
    allowed = evaluate(good, calm, before)
    assert allowed.allowed, allowed.reason
    assert allowed.code == ""
    denied = evaluate(bad, bad_state, after)
    assert (denied.allowed, denied.code) == (False, code)
    assert denied.risk_level == "high"
    assert denied.reason
    assert "\n" not in denied.reason


def test_every_code_has_a_case():
    assert {case[0] for case in CASES} | {"STATE_STALE"} == set(RISK_CODES)
    assert list(RISK_CODES) == sorted(RISK_CODES)


@pytest.mark.parametrize("price", ["0.01", "50", "100"])
def test_a_price_far_on_the_passive_side_is_harmless(price):
    assert evaluate(order("buy", price=price), CALM, STANDARD).allowed
    assert evaluate(order("sell", amount="0.01", price=D(10000) / D(price)), CALM, STANDARD).allowed


def test_without_a_quote_a_market_order_is_left_to_the_venues_bound():
    assert evaluate(market(), state(ask=None), STANDARD).allowed


def test_a_limit_that_is_off_does_not_deny():
    huge = order(amount=10**6, price=10**6)
    busy = state(open_orders=10**6, orders_last_minute=10**6, orders_today=10**6, leverage=1000, unresolved=9)
    assert evaluate(huge, busy, Limits()).allowed


@pytest.mark.parametrize(
    ("used", "level"), [(1, "low"), (4.9, "low"), (5, "medium"), (7.9, "medium"), (8, "high"), (10, "high")]
)
def test_the_level_of_an_allowed_order_is_how_much_of_the_limit_it_uses(used, level):
    verdict = evaluate(order(amount=used), CALM, STANDARD)
    assert (verdict.allowed, verdict.risk_level) == (True, level)


def test_an_allowed_order_tells_its_numbers():
    verdict = evaluate(order(amount=2, price=99), state(position=3, open_buys=1), STANDARD).to_dict()
    assert verdict == {
        "allowed": True,
        "reason": "",
        "risk_level": "medium",
        "code": "",
        "numbers": {"notional": 198.0, "position_after": 0.06, "equity": 10_000.0},
        "reducing": False,
    }


def test_a_denial_tells_limit_and_value():
    verdict = evaluate(order(amount=20), CALM, STANDARD).to_dict()
    assert verdict["numbers"]["fraction"] == 0.2
    assert verdict["numbers"]["limit"] == 0.1
    assert "0.2000 of equity 10000" in verdict["reason"]


@pytest.mark.parametrize(
    ("view", "known", "reducing"),
    [
        (order("sell", 5), {"position": 5}, True),
        (order("sell", "5.001"), {"position": 5}, False),
        (order("sell", 3), {"position": 5, "open_sells": 2}, True),
        (order("sell", "3.001"), {"position": 5, "open_sells": 2}, False),
        (order("sell", 5), {"position": 5, "open_buys": 2}, True),
        (order("buy", 5), {"position": -5}, True),
        (order("buy", "5.001"), {"position": -5}, False),
        (order("buy", 3), {"position": -5, "open_buys": 2}, True),
        (order("buy", "3.001"), {"position": -5, "open_buys": 2}, False),
        (order("buy", 1), {"position": 5}, False),
        (order("sell", 1), {"position": -5}, False),
        (order("sell", 1, reduce_only=True), {"position": 0}, True),
    ],
)
def test_only_what_shrinks_the_position_passes_after_a_loss(view, known, reducing):
    verdict = evaluate(view, state(equity=9000, **known), STANDARD)
    assert (verdict.allowed, verdict.reducing) == (reducing, reducing)
    assert verdict.code == ("" if reducing else "LOSS_RATIO")
    assert not reducing or verdict.notional == view.amount * 100


@pytest.mark.parametrize(
    ("view", "known", "rules", "sentence"),
    [
        (order(price=106), CALM, STANDARD, "price 106 of this buy is more than 0.05 above the mark 100"),
        (order("sell", price=94), CALM, STANDARD, "price 94 of this sell is more than 0.05 below the mark 100"),
        (market(), state(ask=106), STANDARD, "best ask 106 of this buy is more than 0.05 above the mark 100"),
        (market("sell"), state(bid=94), STANDARD, "best bid 94 of this sell is more than 0.05 below the mark 100"),
        (
            order(price=130, kind="stop", stop_price=120),
            CALM,
            STANDARD,
            "price 130 of this buy is more than 0.05 above the stop price 120",
        ),
        (
            order(price=None, kind="stop", stop_price=90),
            CALM,
            STANDARD,
            "stop price 90 of this buy stop is below the mark 100 by more than 0.05: it would trigger at once",
        ),
        (
            order(price=None, kind="take_profit", stop_price=110),
            CALM,
            STANDARD,
            "stop price 110 of this buy take_profit is above the mark 100 by more than 0.05: it would trigger at once",
        ),
        (order(), state(mark=None), STANDARD, "no mark price of BTC-USDT-SWAP is known: the venue shows none"),
        (
            order(),
            state(rate=None, trouble="TIMEOUT"),
            STANDARD,
            "no price of its quote currency of BTC-USDT-SWAP is known: TIMEOUT",
        ),
        (
            order(),
            state(equity=None),
            STANDARD,
            "no new exposure while the account cannot be read: nothing is known of it",
        ),
        (order(), state(equity=None, trouble="x"), STANDARD, "no new exposure while the account cannot be read: x"),
        (order(leverage=D(9)), CALM, limits(max_leverage=D(5)), "leverage 9 is set and all positions would be 0.01 of"),
        (
            order(),
            state(equity=0, day_start_equity=0),
            limits(max_leverage=D(5), max_position_size=None),
            "leverage 1 is set and all positions would be 1.00 of",
        ),
    ],
)
def test_what_a_denial_says(view, known, rules, sentence):
    verdict = evaluate(view, known, rules)
    assert verdict.reason.startswith(sentence)


def test_the_collar_tells_how_far_the_price_is_away():
    assert evaluate(order("sell", price=90), CALM, STANDARD).numbers["distance"] == 0.1


# -- what holds for every order

money = st.decimals(min_value="0.01", max_value="100000", places=2)
amounts = st.decimals(min_value="0.001", max_value="1000", places=3)
maybe = lambda values: st.one_of(st.none(), values)  # noqa: E731
sizes = st.decimals(min_value="-1000", max_value="1000", places=3)
counts = st.integers(0, 10)
views = st.builds(
    OrderView,
    st.just("fake"),
    st.sampled_from([SYMBOL, "ETH-USDT"]),
    st.sampled_from(["buy", "sell"]),
    st.sampled_from(["limit", "market", "stop", "take_profit"]),
    amounts,
    maybe(money),
    maybe(money),
    st.booleans(),
    maybe(amounts),
)
states = st.builds(
    RiskState,
    equity=maybe(st.decimals(min_value="-1000", max_value="100000", places=2)),
    day_start_equity=maybe(money),
    mark=maybe(money),
    bid=maybe(money),
    ask=maybe(money),
    position=sizes,
    open_buys=st.one_of(st.just(D(0)), amounts),
    open_sells=st.one_of(st.just(D(0)), amounts),
    open_orders=counts,
    orders_last_minute=counts,
    orders_today=counts,
    unresolved=counts,
    leverage=maybe(amounts),
    other_notional=money,
    rate=maybe(money),
)
fractions = maybe(st.decimals(min_value="0.01", max_value="1", places=2))
rules = st.builds(
    Limits,
    max_position_size=fractions,
    max_loss_ratio=fractions,
    price_collar=fractions,
    max_order_notional=maybe(money),
    max_symbol_notional=maybe(money),
    max_open_orders=maybe(counts),
    max_orders_per_minute=maybe(counts),
    max_orders_per_day=maybe(counts),
    max_daily_loss=maybe(money),
    max_leverage=maybe(amounts),
    allowed_symbols=maybe(st.just(frozenset([SYMBOL]))),
    block_unresolved=st.booleans(),
)


@given(views, states, rules, st.decimals(min_value="1.001", max_value="1000", places=3))
@settings(max_examples=400, deadline=None)
def test_a_larger_order_is_never_allowed_where_a_smaller_one_is_denied(view, known, limit, factor):
    larger = msgspec.structs.replace(view, amount=view.amount * factor)
    if not evaluate(view, known, limit).allowed:
        assert not evaluate(larger, known, limit).allowed


@given(views, states, rules)
@settings(max_examples=400, deadline=None)
def test_a_denial_has_a_known_code_a_sentence_and_public_numbers(view, known, limit):
    verdict = evaluate(view, known, limit)
    public = verdict.to_dict()
    assert public["risk_level"] in ("low", "medium", "high")
    assert all(value is None or isinstance(value, (int, float, str)) for value in public["numbers"].values())
    if verdict.allowed:
        assert (verdict.code, verdict.reason) == ("", "")
    else:
        assert verdict.code in RISK_CODES
        assert verdict.reason
        assert public["numbers"]
        assert public["risk_level"] == "high"


@given(views, states, rules)
@settings(max_examples=400, deadline=None)
def test_what_is_reduce_only_is_denied_for_its_price_alone(view, known, limit):
    verdict = evaluate(msgspec.structs.replace(view, reduce_only=True), known, limit)
    assert verdict.code in ("", "PRICE_COLLAR", "STOP_SIDE")
    if known.mark is None:
        assert verdict.allowed


@given(views, states, rules)
@settings(max_examples=400, deadline=None)
def test_what_is_allowed_stays_within_the_position_limit_or_shrinks_the_position(view, known, limit):
    verdict = evaluate(view, known, limit)
    if not verdict.allowed or view.reduce_only or limit.max_position_size is None:
        return
    signed = view.amount if view.side == "buy" else -view.amount
    open_orders = known.open_buys if view.side == "buy" else -known.open_sells
    after = known.position + open_orders + signed
    if abs(after) <= abs(known.position) and after * known.position >= 0:
        return
    assert abs(after) * known.mark * known.rate <= limit.max_position_size * known.equity


@given(st.lists(st.tuples(amounts, st.booleans()), min_size=10, max_size=10), sizes)
@settings(max_examples=200, deadline=None)
def test_ten_orders_in_flight_cannot_each_pass_alone(batch, start):
    """Whatever fills of the allowed ones, the position never leaves the larger of its limit and where it began."""
    known = state(position=start)
    for amount, buying in batch:
        view = order("buy" if buying else "sell", amount)
        if evaluate(view, known, STANDARD).allowed:
            field = "open_buys" if buying else "open_sells"
            known = msgspec.structs.replace(known, **{field: getattr(known, field) + amount})
    for end in (known.position + known.open_buys, known.position - known.open_sells):
        assert abs(end) <= max(abs(start), 10)


# -- the account's level

LEVELS = Thresholds(
    warning_margin_ratio=D("0.5"),
    danger_margin_ratio=D("0.8"),
    warning_drawdown=D("0.025"),
    danger_drawdown=D("0.05"),
    warning_unrealized_loss=D("0.025"),
    danger_unrealized_loss=D("0.05"),
)


@pytest.mark.parametrize(
    ("account", "level", "count"),
    [
        ({}, "safe", 0),
        ({"margin_ratio": D("0.49")}, "safe", 0),
        ({"margin_ratio": D("0.5")}, "warning", 1),
        ({"margin_ratio": D("0.8")}, "danger", 1),
        ({"day_start_equity": D(1025)}, "safe", 0),
        ({"day_start_equity": D(1030)}, "warning", 1),
        ({"day_start_equity": D(1053)}, "danger", 1),
        ({"unrealized_pnl": D(-25)}, "warning", 1),
        ({"unrealized_pnl": D(-50)}, "danger", 1),
        ({"unrealized_pnl": D(500)}, "safe", 0),
        ({"unrealized_pnl": D(-50), "margin_ratio": D("0.5")}, "danger", 2),
        ({"margin_ratio": D("0.5"), "unrealized_pnl": D(-50)}, "danger", 2),
        ({"equity": D(0), "day_start_equity": None}, "safe", 0),
        ({"equity": D(0), "unrealized_pnl": D(-1)}, "danger", 2),
        ({"equity": D(-1), "day_start_equity": None}, "danger", 1),
    ],
)
def test_the_level_of_an_account(account, level, count):
    known = AccountState(**{"equity": D(1000), "day_start_equity": D(1000), **account})
    assert (judge_account(known, LEVELS)[0], len(judge_account(known, LEVELS)[1])) == (level, count)
