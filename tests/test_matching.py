"""Orders of the matching engine one rule at a time: what is accepted, refused, filled, amended, delayed."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pytest

from Execution.matching.engine import Engine
from Execution.matching.model import Rejected, Request
from tests.test_matching_kit import SPOT, SWAP, D, brief, check_sums, engine, free, levels, limit, market, place, stop

SPOT_SYMBOL, SWAP_SYMBOL = SPOT.symbol, SWAP.symbol


def refused(made: Engine, request: Request, account: str = "a") -> Rejected:
    before = msgspec.json.encode((made.account_state(account), made.open_orders(account)))
    with pytest.raises(Rejected) as caught:
        made.place(account, request, 2.0)
    assert msgspec.json.encode((made.account_state(account), made.open_orders(account))) == before
    assert made.drain().orders == []
    return caught.value


# What is refused, with the numbers


@pytest.mark.parametrize(
    ("request_", "code", "reason", "words"),
    [
        (limit("buy", 1, 100, "DOGE-USDT"), "INVALID_SYMBOL", "unknown_symbol", "DOGE-USDT"),
        (limit("buy", "1.0005", 100), "INVALID_ORDER", "lot", "1.0005 is not a multiple of the lot 0.001"),
        (limit("buy", 1, "100.05"), "INVALID_ORDER", "tick", "100.05 is not a multiple of the tick 0.1"),
        (limit("buy", 1001, 1), "INVALID_ORDER", "max_amount", "1001 is above the maximum 1000"),
        (limit("buy", "0.01", 100), "INVALID_ORDER", "min_notional", "1 is below the minimum 5"),
        (market("buy", "0.01"), "INVALID_ORDER", "min_notional", "1.01 is below the minimum 5"),
        (stop("buy", "0.01", 120), "INVALID_ORDER", "min_notional", "1.2 is below the minimum 5"),
        (limit("buy", 0, 100), "INVALID_ORDER", "amount", "0"),
        (limit("buy", -1, 100), "INVALID_ORDER", "amount", "-1"),
        (limit("buy", "NaN", 100), "INVALID_ORDER", "amount", "NaN"),
        (limit("buy", "1e30", 100), "INVALID_ORDER", "amount", "1E+30"),
        (limit("buy", 1, "Infinity"), "INVALID_ORDER", "price", "Infinity"),
        (limit("buy", 1, -1), "INVALID_ORDER", "price", "-1"),
        (Request(SPOT_SYMBOL, "buy", "limit", D(1)), "INVALID_ORDER", "price", "needs a price"),
        (market("buy", 1, price=D(100)), "INVALID_ORDER", "price", "takes no price"),
        (Request(SPOT_SYMBOL, "buy", "stop", D(1)), "INVALID_ORDER", "stop_price", "needs a stop_price"),
        (market("buy", 1, stop_price=D(100)), "INVALID_ORDER", "stop_price", "others take none"),
        (market("buy", 1, post_only=True), "INVALID_ORDER", "post_only", "needs a price"),
        (limit("buy", 1, 99, post_only=True, time_in_force="IOC"), "INVALID_ORDER", "post_only", "GTC"),
        (market("buy", 1, max_slippage=D(1)), "INVALID_ORDER", "max_slippage", "1"),
        (limit("sell", 1, 110, reduce_only=True), "INVALID_ORDER", "reduce_only", "spot"),
        (limit("buy", 101, 100), "INSUFFICIENT_FUNDS", "insufficient_funds", "10100 USDT, available 10000 USDT"),
        (limit("sell", "50.001", 200), "INSUFFICIENT_FUNDS", "insufficient_funds", "50.001 BTC, available 50 BTC"),
        (limit("buy", 1, 101, post_only=True), "POST_ONLY_WOULD_CROSS", "post_only", "101"),
        (limit("sell", 1, 100, post_only=True), "POST_ONLY_WOULD_CROSS", "post_only", "100"),
        (stop("buy", 1, "100.5"), "INVALID_ORDER", "would_trigger", "100.5"),
        (stop("sell", 1, "100.5"), "INVALID_ORDER", "would_trigger", "100.5"),
        (stop("sell", 1, 100, kind="take_profit"), "INVALID_ORDER", "would_trigger", "100"),
        (limit("sell", 1, 101, SWAP_SYMBOL, reduce_only=True), "REDUCE_ONLY_REJECTED", "reduce_only", "no net posi"),
    ],
)  # fmt: skip
def test_refusals_carry_code_reason_and_numbers(request_: Request, code: str, reason: str, words: str) -> None:
    refusal = refused(engine(), request_)
    assert (refusal.code, refusal.reason) == (code, reason)
    assert words in str(refusal)


def test_market_order_without_market_data_is_refused() -> None:
    refusal = refused(engine(quote=False), market("buy", 1))
    assert (refusal.code, refusal.reason) == ("VENUE_REJECTED", "no_market")


def test_unknown_account_is_refused() -> None:
    with pytest.raises(Rejected, match="no such account: nobody"):
        engine().place("nobody", market("buy", 1), 2.0)


def test_client_order_id_is_unique_among_live_orders_of_one_account() -> None:
    made = engine()
    first = place(made, limit("buy", 1, 90, client_order_id="x"))
    assert made.order_by_client_id("a", "x") is first
    made.drain()
    assert refused(made, limit("buy", 1, 91, client_order_id="x")).code == "DUPLICATE_ORDER"
    assert place(made, limit("buy", 1, 90, client_order_id="x"), "b").status == "open"
    made.cancel("a", first.order_id, 3.0)
    assert made.order_by_client_id("a", "x") is None
    assert place(made, limit("buy", 1, 90, client_order_id="x")).status == "open"


# Fills


def test_market_order_walks_the_book() -> None:
    made = engine()
    order = place(made, market("buy", 7))
    assert (order.status, order.filled, order.cost) == ("filled", D(7), D(5 * 101 + 2 * 102))
    assert brief(made.drain().fills) == [(1, "5", "101", False), (1, "2", "102", False)]
    assert made.ticker(SPOT_SYMBOL).ask == 102
    assert made.ticker(SPOT_SYMBOL).ask_size == 3


def test_spot_fees_are_taken_from_what_is_received() -> None:
    made = engine()
    bought = place(made, market("buy", 2))
    assert (bought.fee, bought.fee_currency) == (D("0.002"), "BTC")
    sold = place(made, market("sell", 1))
    assert (sold.fee, sold.fee_currency) == (D("0.1"), "USDT")
    balances = made.account_state("a").balances
    assert balances == {"USDT": 10_000 - 202 + 100 - D("0.1"), "BTC": 50 + 2 - D("0.002") - 1}


def test_maker_rebate_is_paid_to_the_maker() -> None:
    made = engine()
    place(made, limit("sell", 1, "100.5"))
    place(made, limit("buy", 1, "100.5"), "b")
    maker, taker = (fill for fill in sorted(made.drain().fills, key=lambda fill: not fill.maker))
    assert (maker.account, maker.fee, maker.fee_currency) == ("a", D("-0.01005"), "USDT")
    assert (taker.account, taker.fee, taker.fee_currency) == ("b", D("0.001"), "BTC")
    assert made.account_state("a").balances["USDT"] == D("10100.51005")
    assert made.house()["USDT"] == D("-0.01005")


def test_max_slippage_bounds_the_walk() -> None:
    made = engine()
    order = place(made, market("buy", 12, max_slippage=D("0.01")))
    assert (order.status, order.filled, order.reason) == ("cancelled", D(10), "max_slippage")


def test_market_order_into_an_empty_side_ends_cancelled() -> None:
    made = engine()
    order = place(made, market("buy", 20))
    assert (order.status, order.filled, order.reason) == ("cancelled", D(15), "no_liquidity")
    order = place(made, market("buy", 1))
    assert (order.status, order.filled, order.reason) == ("cancelled", D(0), "no_liquidity")


def test_ioc_cancels_its_remainder_and_fok_takes_all_or_nothing() -> None:
    made = engine()
    ioc = place(made, limit("buy", 7, 101, time_in_force="IOC"))
    assert (ioc.status, ioc.filled, ioc.reason) == ("cancelled", D(5), "ioc")
    fok = place(made, limit("buy", 11, 103, time_in_force="FOK"))
    assert (fok.status, fok.filled, fok.reason) == ("cancelled", D(0), "fok")
    assert place(made, limit("buy", 10, 103, time_in_force="FOK")).status == "filled"
    assert made.open_orders("a") == []


def test_crossing_limit_takes_first_and_rests_with_the_rest() -> None:
    made = engine()
    order = place(made, limit("buy", 7, 101))
    assert (order.status, order.filled, order.locked) == ("partially_filled", D(5), D(202))
    assert made.ticker(SPOT_SYMBOL).bid == 101
    check_sums(made)


def test_taken_volume_is_gone_until_the_feed_reports_the_level_again() -> None:
    made = engine()
    place(made, market("buy", 5))
    assert place(made, limit("buy", 1, 101, time_in_force="IOC")).filled == 0
    made.on_depth(SPOT_SYMBOL, [], levels((101, 2)), 3.0)
    assert place(made, limit("buy", 3, 101, time_in_force="IOC")).filled == 2


@pytest.mark.parametrize(
    ("policy", "filled", "maker", "taker"),
    [("cancel_maker", 5, "cancelled", "open"), ("cancel_taker", 0, "open", "cancelled")],
)
def test_self_trade_policies(policy: Any, filled: int, maker: str, taker: str) -> None:
    made = engine(self_trade=policy)
    mine = place(made, limit("sell", 1, "100.5"))
    order = place(made, limit("buy", 2, "100.5"))
    assert (mine.status, order.status, order.filled) == (maker, taker, D(0))
    assert "self_trade" in (mine.reason, order.reason)
    fok = place(made, limit("buy", 5, 101, time_in_force="FOK"))
    assert (fok.filled, fok.reason) == (filled, "" if filled else "fok")
    check_sums(made)


def test_fok_does_not_count_what_self_trade_would_cancel() -> None:
    made = engine()
    place(made, limit("sell", 3, 101))
    assert place(made, limit("buy", 8, 101, time_in_force="FOK")).reason == "fok"
    assert place(made, limit("buy", 8, 101, time_in_force="FOK"), "b").filled == 8


# Cancel, amend, look up


def test_cancel_frees_the_funds_and_a_second_cancel_finds_nothing() -> None:
    made = engine()
    order = place(made, limit("buy", 2, 90))
    assert free(made, "USDT") == 9820
    assert made.cancel("a", order.order_id, 3.0).status == "cancelled"
    assert free(made, "USDT") == 10_000
    for account, number in (("a", order.order_id), ("b", order.order_id), ("a", 99)):
        with pytest.raises(Rejected) as caught:
            made.cancel(account, number, 3.0)
        assert caught.value.code == "ORDER_NOT_FOUND"


def test_open_orders_and_lookup_know_live_orders_only() -> None:
    made = engine()
    spot, swap = place(made, limit("buy", 1, 90)), place(made, limit("buy", 1, 90, SWAP_SYMBOL))
    assert made.open_orders("a") == [spot, swap]
    assert made.open_orders("a", SWAP_SYMBOL) == [swap]
    assert made.order("a", 1) is spot
    assert made.order("b", 1) is None
    made.cancel("a", 1, 2.0)
    assert made.order("a", 1) is None
    assert [order.order_id for order in made.drain().orders] == [1, 2]
    assert made.drain() == type(made.drain())([], [], set())


def first_filled(made: Engine) -> int:
    place(made, limit("sell", 1, "100.5"), "b")
    return next(fill.order_id for fill in made.drain().fills if fill.maker)


def test_a_smaller_amount_keeps_the_place_in_line() -> None:
    made = engine()
    first, _ = place(made, limit("buy", 3, "100.5")), place(made, limit("buy", 1, "100.5"))
    made.amend("a", first.order_id, amount=D(2), now=2.0)
    assert (first.request.amount, first.locked) == (D(2), D(201))
    assert first_filled(made) == first.order_id


@pytest.mark.parametrize("change", [{"amount": D(4)}, {"price": D("100.4")}])
def test_any_other_amend_goes_to_the_end_of_the_line(change: dict[str, Decimal]) -> None:
    made = engine()
    first, second = place(made, limit("buy", 3, "100.5")), place(made, limit("buy", 1, "100.5"))
    made.amend("a", first.order_id, **change, now=2.0)
    made.amend("a", first.order_id, price=D("100.5"), now=2.0)
    assert first_filled(made) == second.order_id
    check_sums(made)


def test_amend_may_take_and_a_refused_amend_changes_nothing() -> None:
    made = engine()
    order = place(made, limit("buy", 3, 99, post_only=True))
    other = place(made, limit("buy", 3, 99))
    kept = msgspec.structs.replace(order)
    for change, code in (
        ({"amount": D(200)}, "INSUFFICIENT_FUNDS"),
        ({"price": D(101)}, "POST_ONLY_WOULD_CROSS"),
        ({"price": D("99.05")}, "INVALID_ORDER"),
    ):
        with pytest.raises(Rejected) as caught:
            made.amend("a", order.order_id, **change, now=2.0)
        assert caught.value.code == code
        assert order == kept
        check_sums(made)
    made.amend("a", other.order_id, price=D(101), now=2.0)
    assert other.status == "filled"
    with pytest.raises(Rejected, match="unknown or finished"):
        made.amend("a", other.order_id, amount=D(5), now=2.0)


def test_amend_below_the_filled_amount_is_refused() -> None:
    made = engine()
    order = place(made, limit("buy", 7, 101))
    with pytest.raises(Rejected, match="5 is not above the filled 5"):
        made.amend("a", order.order_id, amount=D(5), now=2.0)
