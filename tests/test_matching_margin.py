"""Perpetuals in the matching engine: margin, positions, funding, liquidation, and exact money."""

from __future__ import annotations

from decimal import Decimal, localcontext

import msgspec
import pytest

from Execution.matching.engine import Engine
from Execution.matching.model import Rejected
from tests.test_matching_kit import (
    ETH,
    SPOT,
    SWAP,
    D,
    check_sums,
    engine,
    free,
    levels,
    lever,
    limit,
    market,
    place,
    size,
    stop,
    totals,
)

SYMBOL = SWAP.symbol


def opened(side: str = "buy", amount: object = 5, leverage: int = 10, **options: object) -> Engine:
    made = engine(**options)
    lever(made, leverage)
    assert place(made, market(side, amount, SYMBOL)).status == "filled"
    made.drain()
    return made


# Margin


def test_an_order_holds_margin_and_a_fee_reserve() -> None:
    made = engine()
    lever(made, 10)
    order = place(made, limit("buy", 5, 90, SYMBOL))
    held = D(450) / 10 + 450 * D("0.0005")
    assert order.locked == held
    summary = made.summary("a")
    assert (summary.used_margin, summary.available, summary.equity) == (held, 10_000 - held, D(10_000))
    assert summary.balances["USDT"].locked == held
    lever(made, 5)
    assert made.summary("a").used_margin == order.locked == D(450) / 5 + 450 * D("0.0005")


def test_both_sides_hold_the_dearer_margin_and_both_fees() -> None:
    made = engine()
    place(made, limit("buy", 5, 90, SYMBOL))
    place(made, limit("sell", 5, 110, SYMBOL))
    assert made.summary("a").used_margin == 550 + D("0.0005") * (450 + 550)


def test_orders_that_close_hold_nothing_and_those_that_flip_hold_the_rest() -> None:
    made = opened("buy", 5)
    margin = made.summary("a").used_margin
    assert margin == 5 * D(101) / 10
    place(made, limit("sell", 5, 110, SYMBOL))
    assert made.summary("a").used_margin == margin
    place(made, limit("sell", 5, 110, SYMBOL))
    assert made.summary("a").used_margin == margin + 55 + D("0.275")
    check_sums(made)


def test_too_little_margin_is_refused_with_the_numbers() -> None:
    made = engine()
    with pytest.raises(Rejected, match=r"needs 10105.05 USDT, available 10000 USDT"):
        place(made, limit("buy", 100, 101, SYMBOL))
    place(made, limit("buy", 98, 101, SYMBOL))
    with pytest.raises(Rejected, match=r"needs 180\.09 USDT"):
        place(made, limit("buy", 2, 90, SYMBOL))


def test_an_aggressive_sell_needs_margin_for_the_price_it_will_get() -> None:
    made = engine()
    made.on_depth(SYMBOL, levels((100, 500)), [], 2.0)
    with pytest.raises(Rejected, match="needs 10005 USDT"):
        place(made, limit("sell", 100, 50, SYMBOL))


def test_unrealised_profit_is_margin_but_not_spending_money() -> None:
    made = opened("buy", 5, 1)
    made.on_mark(SYMBOL, D(3000), 3.0)
    summary = made.summary("a")
    assert summary.unrealized_pnl == 5 * (3000 - 101)
    assert summary.available == summary.equity - 15_000
    assert free(made, "USDT") == 0
    with pytest.raises(Rejected) as caught:
        place(made, limit("buy", 1, 90))
    assert caught.value.code == "INSUFFICIENT_FUNDS"


def test_leverage_is_bounded_and_cannot_outgrow_the_margin() -> None:
    made = engine()
    for leverage, symbol, code in (
        (0, SYMBOL, "INVALID_ORDER"),
        (101, SYMBOL, "INVALID_ORDER"),
        (2, SPOT.symbol, "NOT_SUPPORTED"),
    ):
        with pytest.raises(Rejected) as caught:
            made.set_leverage("a", symbol, leverage)
        assert caught.value.code == code
    lever(made, 100)
    place(made, limit("buy", 900, 90, SYMBOL))
    with pytest.raises(Rejected, match="more margin than available"):
        lever(made, 2)
    assert made.summary("a").used_margin == 810 + D("40.5")
    assert made.account_state("a").leverage == {SYMBOL: 100}


def test_default_leverage_is_capped_by_the_instrument() -> None:
    made = engine(SWAP, ETH, default_leverage=80)
    assert place(made, limit("buy", 1, 80, SYMBOL)).locked == 1 + D("0.04")
    assert place(made, limit("buy", 1, 80, ETH.symbol)).locked == D("1.6") + D("0.04")


# Positions


def test_profit_is_realised_into_the_balance_and_the_average_entry_stays() -> None:
    made = opened("buy", 5)
    place(made, market("buy", 2, SYMBOL))
    position = made.positions("a", SYMBOL)[0]
    assert (position.size, position.entry_price) == (D(7), Decimal(5 * 101 + 2 * 102) / 7 // D("1e-17") * D("1e-17"))
    place(made, market("sell", 5, SYMBOL))
    fill = made.drain().fills[-1]
    cost = (D(709) * 5 / 7).quantize(D("1e-12"))
    assert fill.realized_pnl == 500 - cost
    assert made.account_state("a").positions[0].cost == 709 - cost
    fees = D("0.0005") * (709 + 500)
    assert made.account_state("a").balances["USDT"] == 10_000 + 500 - cost - fees
    assert made.house()["USDT"] == cost - 500 + fees


def test_a_plain_order_flips_and_a_reduce_only_order_never_does() -> None:
    made = opened("buy", 2)
    order = place(made, market("sell", 5, SYMBOL, reduce_only=True))
    assert (order.status, order.filled, order.request.amount) == ("filled", D(2), D(2))
    made = opened("buy", 2)
    place(made, market("sell", 5, SYMBOL))
    assert size(made) == -3


def test_reduce_only_orders_shrink_and_go_with_the_position() -> None:
    made = opened("buy", 5)
    order = place(made, limit("sell", 4, 110, SYMBOL, reduce_only=True))
    guard = place(made, stop("sell", 5, 50, SYMBOL, reduce_only=True))
    assert (order.locked, guard.locked) == (D(0), D(0))
    place(made, market("sell", 3, SYMBOL))
    assert (order.request.amount, guard.request.amount) == (D(2), D(5))
    place(made, market("sell", 2, SYMBOL))
    assert {(each.status, each.reason) for each in (order, guard)} == {("cancelled", "reduce_only")}
    check_sums(made)


def test_a_guarding_stop_closes_what_is_there_when_it_triggers() -> None:
    made = opened("buy", 5)
    guard = place(made, stop("sell", 5, 95, SYMBOL, reduce_only=True))
    place(made, market("sell", 3, SYMBOL))
    made.on_trade(SYMBOL, D(95), D(1), "sell", 3.0)
    assert (guard.status, guard.filled, size(made)) == ("filled", D(2), D(0))


def test_hedge_mode_keeps_long_and_short_apart() -> None:
    made = engine()
    made.set_position_mode("a", "hedge")
    place(made, market("buy", 3, SYMBOL))
    place(made, market("sell", 2, SYMBOL))
    assert [(p.side, p.size) for p in made.positions("a")] == [("long", D(3)), ("short", D(-2))]
    order = place(made, market("sell", 5, SYMBOL, position_side="long"))
    assert (order.filled, order.reducing) == (D(3), True)
    place(made, market("buy", 1, SYMBOL, reduce_only=True))
    assert [(p.side, p.size) for p in made.positions("a")] == [("short", D(-1))]
    with pytest.raises(Rejected, match="cannot reduce a long position"):
        place(made, market("buy", 1, SYMBOL, reduce_only=True, position_side="long"))
    with pytest.raises(Rejected, match="cannot change while"):
        made.set_position_mode("a", "net")
    check_sums(made)


# Funding


def test_longs_pay_shorts_at_the_mark() -> None:
    made = opened("buy", 5)
    place(made, market("sell", 5, SYMBOL), "b")
    before = [made.account_state(name).balances["USDT"] for name in "ab"]
    made.on_mark(SYMBOL, D(200), 3.0)
    made.on_funding(SYMBOL, D("0.001"), 3.0)
    after = [made.account_state(name).balances["USDT"] for name in "ab"]
    assert [new - old for old, new in zip(before, after, strict=True)] == [D(-1), D(1)]
    assert made.positions("a")[0].funding == -1
    assert made.drain().accounts >= {"a", "b"}
    with pytest.raises(Rejected, match="no price"):
        engine(quote=False).on_funding(SYMBOL, D("0.001"), 3.0)


# Exactness


def test_money_is_exact_for_long_numbers_in_any_context_of_the_caller() -> None:
    fine = msgspec.structs.replace(
        SWAP,
        min_notional=D(0),
        tick=D("1e-8"),
        lot=D("1e-8"),
        min_amount=D("1e-8"),
        max_amount=D(10) ** 13,
        taker_fee=D("0.00045123"),
    )
    made = Engine([fine])
    for name in "ab":
        made.open_account(name, {"USDT": D("999999999999999999.12345678")})
    start = totals(made)
    amount, price = D("123456789012.12345678"), D("98765.43210987")
    with localcontext() as context:
        context.prec = 3
        place(made, limit("sell", amount, price, SYMBOL))
        place(made, limit("buy", amount, price, SYMBOL), "b")
    with localcontext() as context:
        context.prec = 100
        paid = D("999999999999999999.12345678") - made.account_state("b").balances["USDT"]
        assert paid == amount * price * D("0.00045123")
    place(made, limit("sell", D("0.00000003"), price, SYMBOL), "b")
    place(made, limit("buy", D("0.00000003"), price, SYMBOL))
    assert totals(made) == start
    check_sums(made)
