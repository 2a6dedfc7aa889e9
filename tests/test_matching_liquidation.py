"""Liquidation, deficits and the bands that decide whom to look at."""

from __future__ import annotations

import msgspec
import pytest

from Execution.matching.engine import Engine
from tests.test_matching_kit import (
    ETH,
    SWAP,
    D,
    check_sums,
    engine,
    levels,
    lever,
    limit,
    market,
    place,
    size,
    totals,
)

SYMBOL = SWAP.symbol


@pytest.mark.parametrize("side", ["buy", "sell"])
def test_liquidation_comes_exactly_where_equity_meets_maintenance(side: str) -> None:
    made = engine()
    made.open_account("c", {"USDT": D(100)})
    lever(made, 100, "c")
    place(made, market(side, 5, SYMBOL), "c")
    order = place(made, limit(side, 1, 50 if side == "buy" else 150, SYMBOL), "c")
    price = made.positions("c")[0].liquidation_price
    assert price is not None
    step = D("0.0001") if side == "buy" else D("-0.0001")
    made.on_mark(SYMBOL, price + step, 3.0)
    assert size(made, "c")
    made.drain()
    made.on_mark(SYMBOL, price - step, 3.0)
    assert not size(made, "c")
    assert (order.status, order.reason) == ("cancelled", "liquidation")
    changes = made.drain()
    assert all(fill.liquidation for fill in changes.fills)
    assert [(o.status, o.reason) for o in changes.orders if o.filled] == [("filled", "liquidation")]
    check_sums(made)


def test_liquidation_sells_into_the_book_and_the_house_takes_the_rest_at_mark() -> None:
    made = engine()
    made.open_account("c", {"USDT": D(150)})
    lever(made, 100, "c")
    place(made, market("buy", 5, SYMBOL), "c")
    bid = place(made, limit("buy", 1, "70.1", SYMBOL), "b")
    made.on_mark(SYMBOL, D(101), 3.0)
    made.on_snapshot(SYMBOL, levels((70, 2), (60, 50)), levels((71, 5)), 3.0)
    before = totals(made)
    made.drain()
    made.on_mark(SYMBOL, D(70), 3.0)
    fills = [(fill.amount, fill.price) for fill in made.drain().fills if fill.account == "c"]
    assert fills == [(D(1), D("70.1")), (D(2), D(70)), (D(2), D(70))]
    assert bid.status == "filled"
    assert made.account_state("c").balances["USDT"] == 0
    assert made._world.house.insurance["USDT"] == 5 * 101 - D("350.1") + D("0.0005") * (505 + D("350.1")) - 150
    assert totals(made) == before


def test_equity_equal_to_maintenance_is_enough_to_be_liquidated() -> None:
    made = engine(msgspec.structs.replace(SWAP, maintenance_rate=D(0), taker_fee=D(0)))
    made.open_account("c", {"USDT": D(100)})
    lever(made, 100, "c")
    place(made, market("buy", 5, SYMBOL), "c")
    made.on_mark(SYMBOL, D("81.1"), 3.0)
    assert made.positions("c")
    assert made.summary("c").margin_ratio == 0
    made.on_mark(SYMBOL, D(81), 3.0)
    assert made.positions("c") == []


@pytest.mark.parametrize("side", ["buy", "sell"])
def test_one_account_leaving_its_band_does_not_hide_the_next(side: str) -> None:
    made = engine(ETH, quote=False)
    names = ("poor", "middle", "rich")
    for name, money in zip(names, (30, 60, 90), strict=True):
        made.open_account(name, {"USDT": D(money)})
        lever(made, 50, name, ETH.symbol)
        made.on_snapshot(ETH.symbol, levels(("99.99", 5)), levels((100, 5)), 1.0)
        place(made, market(side, 5, ETH.symbol), name)
    left = []
    for step in range(20):
        made.on_mark(ETH.symbol, D(100) + (step if side == "sell" else -step), 3.0)
        left.append([name for name in names if made.positions(name)])
    assert [len(each) for each in left] == sorted((len(each) for each in left), reverse=True)
    assert left[6:8] == [["middle", "rich"]] * 2
    assert left[12:14] == [["rich"]] * 2
    assert left[-1] == []


def test_the_band_notices_losses_spread_over_several_positions() -> None:
    made = engine(SWAP, ETH)
    made.open_account("c", {"USDT": D(100)})
    for symbol in (SYMBOL, ETH.symbol):
        lever(made, 50, "c", symbol)
        place(made, market("buy", 5, symbol), "c")
    for step in range(12):
        for symbol in (SYMBOL, ETH.symbol):
            made.on_mark(symbol, D(100) - step, 3.0)
            summary = made.summary("c")
            if not size(made, "c"):
                assert 8 <= step <= 9
                return
            assert summary.margin_ratio < 1
    pytest.fail("never liquidated")


def test_after_a_restart_nobody_is_judged_before_all_marks_are_known() -> None:
    made = engine(SWAP, ETH)
    for symbol, side in ((SYMBOL, "buy"), (ETH.symbol, "sell")):
        lever(made, 50, "a", symbol)
        place(made, market(side, 5, symbol))
    state = made.account_state("a")
    state.balances["USDT"] = D(2)
    again = Engine([SWAP, ETH])
    again.load_account(msgspec.json.decode(msgspec.json.encode(state), type=type(state)))
    again.on_mark(SYMBOL, D(50), 1.0)
    assert len(again.positions("a")) == 2
    again.on_mark(ETH.symbol, D(30), 1.0)
    assert len(again.positions("a")) == 2
    again.on_mark(ETH.symbol, D(90), 1.0)
    assert again.positions("a") == []


# Deficits


def test_a_loss_that_eats_locked_money_cancels_the_newest_holders() -> None:
    made = engine()
    made.open_account("c", {"USDT": D(600)})
    lever(made, 10, "c")
    place(made, market("buy", 5, SYMBOL), "c")
    first, second = place(made, limit("buy", 1, 90), "c"), place(made, limit("buy", 4, 90), "c")
    made.on_snapshot(SYMBOL, levels((70, 50)), levels((71, 5)), 3.0)
    place(made, market("sell", 5, SYMBOL), "c")
    assert (first.status, second.status, second.reason) == ("open", "cancelled", "insufficient_funds")
    assert made.summary("c").balances["USDT"].locked == 90
    check_sums(made)


@pytest.mark.parametrize("event", ["trade", "quote"])
def test_a_maker_loss_frees_locked_money_at_once(event: str) -> None:
    made = engine()
    made.open_account("c", {"USDT": D(600)})
    lever(made, 10, "c")
    place(made, market("buy", 5, SYMBOL), "c")
    holder = place(made, limit("buy", 5, 90), "c")
    made.on_snapshot(SYMBOL, levels((70, 50)), levels((72, 5)), 3.0)
    close = place(made, limit("sell", 5, 71, SYMBOL), "c")
    if event == "trade":
        made.on_trade(SYMBOL, D(71), D(5), "buy", 4.0)
    else:
        made.on_quote(SYMBOL, D(71), D(5), D(72), D(5), 4.0)
    assert (close.status, holder.status) == ("filled", "cancelled")
    check_sums(made)


def test_money_spent_on_spot_narrows_the_band() -> None:
    made = engine()
    made.open_account("c", {"USDT": D(1000)})
    lever(made, 50, "c")
    place(made, market("buy", 5, SYMBOL), "c")
    made.on_mark(SYMBOL, D(101), 3.0)
    assert place(made, market("buy", 9), "c").status == "filled"
    made.on_mark(SYMBOL, D(90), 4.0)
    assert size(made, "c") == 5
    made.on_mark(SYMBOL, D(80), 5.0)
    assert size(made, "c") == 0


def test_a_realised_loss_is_paid_from_open_profit_before_the_insurance() -> None:
    made = engine(SWAP, ETH)
    made.open_account("c", {"USDT": D(120)})
    for symbol in (SYMBOL, ETH.symbol):
        lever(made, 10, "c", symbol)
        place(made, market("buy", 5, symbol), "c")
    before = totals(made)
    made.on_mark(ETH.symbol, D(301), 3.0)
    made.on_snapshot(SYMBOL, levels((1, 50)), levels((2, 5)), 3.0)
    place(made, market("sell", 5, SYMBOL), "c")
    position = made.positions("c")[0]
    assert (position.symbol, position.entry_price, position.realized_pnl) == (ETH.symbol, D(301), D(1000))
    assert made.account_state("c").balances["USDT"] == 120 + 1000 - 500 - D("0.0005") * (505 + 505 + 5)
    assert made._world.house.insurance == {}
    assert totals(made) == before
