"""The recorded book and the queue model: what a feed says, and when it fills an order of ours."""

from __future__ import annotations

from decimal import Decimal

import pytest

from Execution.matching.engine import Engine
from Execution.matching.ladder import Ladder
from Execution.matching.model import Order
from tests.test_matching_kit import SPOT, D, brief, check_sums, engine, levels, limit, market, place, quote

SYMBOL = SPOT.symbol


def book(made: Engine) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    depth = made.depth(SYMBOL, 10)
    return [(int(p), int(s)) for p, s in depth.bids], [(int(p), int(s)) for p, s in depth.asks]


# The recorded book


def test_quotes_set_the_top_and_drop_what_is_better_or_crossed() -> None:
    made = engine()
    quote(made, 99, 102, size=7)
    assert book(made) == ([(99, 7), (98, 5)], [(102, 7), (103, 5)])
    quote(made, 103, 104, size=1)
    assert book(made) == ([(103, 1), (99, 7), (98, 5)], [(104, 1)])
    made.on_quote(SYMBOL, None, D(0), D(104), D(2), 3.0)
    assert book(made) == ([], [(104, 2)])
    ticker = made.ticker(SYMBOL)
    assert (ticker.bid, ticker.bid_size, ticker.ask, ticker.last, ticker.mark) == (None, None, D(104), None, None)


def test_depth_sets_and_removes_levels_and_a_crossed_stale_level_goes() -> None:
    made = engine()
    made.on_depth(SYMBOL, levels((100, 0), (97, 3)), levels((101, 2)), 3.0)
    assert book(made) == ([(99, 5), (98, 5), (97, 3)], [(101, 2), (102, 5), (103, 5)])
    made.on_depth(SYMBOL, levels((102, 1)), [], 3.0)
    assert book(made) == ([(102, 1), (99, 5), (98, 5), (97, 3)], [(103, 5)])
    made.on_depth(SYMBOL, [], levels((99, 4)), 3.0)
    assert book(made) == ([(98, 5), (97, 3)], [(99, 4), (103, 5)])


def test_an_older_depth_message_does_not_bring_back_what_a_quote_removed() -> None:
    made = engine()
    quote(made, 98, 103, update_id=50)
    made.on_depth(SYMBOL, levels((100, 9), (98, 9), (97, 9)), levels((101, 9), (103, 9), (104, 9)), 3.0, update_id=49)
    assert book(made) == ([(98, 5), (97, 9)], [(103, 5), (104, 9)])
    made.on_depth(SYMBOL, levels((99, 1)), levels((102, 1)), 3.0, update_id=51)
    assert book(made)[0][0] == (99, 1)
    quote(made, 98, 103, update_id=50)
    assert book(made)[0][0] == (99, 1), "a quote older than the depth is old news"


def test_a_ladder_equals_a_sorted_dict_through_many_updates() -> None:
    for side in ("buy", "sell"):
        ladder, plain = Ladder(side), {}
        for step in range(12_000):
            price = D(step * 7919 % 5003)
            size = D(step % 3)
            ladder.update([(price, size)])
            plain[price] = size
        expected = sorted(((p, s) for p, s in plain.items() if s), reverse=side == "buy")
        assert list(ladder.walk()) == expected
        assert ladder.top == expected[0][0]
        for price, _ in expected[: len(expected) // 2]:
            ladder.take(price, ladder.at[price])
        assert list(ladder.walk()) == expected[len(expected) // 2 :]


def test_levels_that_come_and_go_do_not_gather() -> None:
    ladder, own = Ladder("buy"), engine()
    ladder.update([(D(100_000), D(1))])
    for step in range(20_000):
        ladder.update([(D(step + 1), D(1))])
        ladder.update([(D(step + 1), D(0))])
    assert len(ladder.at) < 3000
    for step in range(5000):
        own.cancel("a", place(own, limit("sell", 1, D(200) + step)).order_id, 2.0)
    assert len(own._world.books[SYMBOL].sells.at) < 3000
    assert own.depth(SYMBOL, 10).asks == levels((101, 5), (102, 5), (103, 5))


# Our place in the queue


def resting(side: str = "buy", amount: object = 3, price: object = 100) -> tuple[Engine, Order]:
    made = engine()
    order = place(made, limit(side, amount, price))
    assert order.queue_ahead == 5
    return made, order


def trade(made: Engine, price: object, amount: object, aggressor: str = "sell") -> None:
    made.on_trade(SYMBOL, D(str(price)), D(str(amount)), aggressor, 3.0)


@pytest.mark.parametrize(("side", "price", "aggressor"), [("buy", 100, "sell"), ("sell", 101, "buy")])
def test_a_trade_at_our_price_eats_the_volume_ahead_first(side: str, price: int, aggressor: str) -> None:
    made, order = resting(side, 3, price)
    trade(made, price, 4, aggressor)
    assert (order.queue_ahead, order.filled) == (D(1), D(0))
    trade(made, price, 3, aggressor)
    assert (order.queue_ahead, order.filled, order.status) == (D(0), D(2), "partially_filled")
    trade(made, price, 5, aggressor)
    assert order.status == "filled"
    assert {fill.price for fill in made.drain().fills} == {D(price)}


def test_trades_of_the_same_side_or_worse_prices_do_not_touch_us() -> None:
    made, order = resting()
    trade(made, 100, 50, "buy")
    trade(made, "100.1", 50)
    assert (order.queue_ahead, order.filled) == (D(5), D(0))


def test_a_shrinking_display_means_cancels_behind_us_until_it_forces_otherwise() -> None:
    made, order = resting()
    place(made, limit("buy", 1, 99), "b")
    made.on_depth(SYMBOL, levels((100, 9)), [], 3.0)
    later = place(made, limit("buy", 1, 100), "b")
    made.on_depth(SYMBOL, levels((100, 7)), [], 3.0)
    assert (order.queue_ahead, later.queue_ahead) == (D(5), D(7))
    quote(made, 100, 101, size=2)
    assert (order.queue_ahead, later.queue_ahead) == (D(2), D(2))
    quote(made, 99, 101)
    assert (order.queue_ahead, order.filled) == (D(0), D(0))


def test_a_trade_through_our_price_fills_at_our_price_up_to_its_amount() -> None:
    made, order = resting()
    deeper = place(made, limit("buy", 1, 99))
    trade(made, 98, 2)
    assert (order.filled, order.cost, order.queue_ahead) == (D(2), D(200), D(0))
    assert (deeper.filled, deeper.queue_ahead) == (D(0), D(0))
    trade(made, 98, 2)
    assert (order.status, deeper.status) == ("filled", "filled")


def test_a_crossing_quote_fills_us_as_maker_up_to_its_size_once() -> None:
    made, order = resting()
    quote(made, 97, 98, size=2)
    assert (order.filled, order.cost) == (D(2), D(200))
    assert made.drain().fills[0].maker
    made.on_depth(SYMBOL, levels((90, 1)), [], 3.0)
    trade(made, 103, 5, "buy")
    assert order.filled == 2, "the same displayed volume is not used twice"
    quote(made, 97, 98, size=2)
    assert order.status == "filled"
    assert made.ticker(SYMBOL).ask_size == 1


def test_recorded_volume_ahead_of_a_resting_order_is_taken_before_it() -> None:
    made, maker = resting("sell", 3, 101)
    made.on_depth(SYMBOL, [], levels((101, 8)), 3.0)
    taker = place(made, market("buy", 9), "b")
    assert brief(made.drain().fills) == [
        (taker.order_id, "5", "101", False),
        (taker.order_id, "3", "101", False),
        (maker.order_id, "3", "101", True),
        (taker.order_id, "1", "101", False),
    ]
    assert made.ticker(SYMBOL).ask_size == 2


def test_recorded_sizes_finer_than_our_lot_fill_whole_lots_only() -> None:
    made = engine()
    quote(made, 100, 101, size="2.0009")
    assert place(made, limit("buy", 3, 101, time_in_force="IOC")).filled == 2
    made.on_depth(SYMBOL, [], levels((101, "2.0005"), (102, "0.9995")), 3.0)
    assert place(made, limit("buy", 3, 102, time_in_force="FOK")).reason == "fok"
    order = place(made, limit("sell", 1, 102), "b")
    trade(made, 103, "0.0005", "buy")
    assert order.filled == 0
    trade(made, 103, "0.0025", "buy")
    assert order.filled == D("0.002")
    quote(made, 104, 105, size="0.0019")
    assert order.filled == D("0.003")
    quote(made, 104, 105, size="0.0009")
    assert order.filled == D("0.003")


def test_depth_and_ticker_show_recorded_volume_and_accounts_together() -> None:
    made, _ = resting()
    place(made, limit("buy", 2, "100.5"))
    depth = made.depth(SYMBOL, 3)
    assert depth.bids == levels(("100.5", 2), (100, 8), (99, 5))
    assert made.ticker(SYMBOL).bid == Decimal("100.5")
    assert made.ticker(SYMBOL).mark == Decimal("100.5")


def test_without_a_feed_accounts_trade_with_each_other_and_make_the_last_price() -> None:
    made = engine(quote=False)
    place(made, limit("sell", 2, 100))
    place(made, market("buy", 1), "b")
    ticker = made.ticker(SYMBOL)
    assert (ticker.last, ticker.mark, ticker.ask_size, ticker.time) == (D(100), D(100), D(1), None)


def test_the_oldest_of_many_equal_orders_is_served_first() -> None:
    made = engine()
    orders = [place(made, limit("buy", 1, "100.5"), "ab"[number % 2]) for number in range(50)]
    for order in orders[10:40]:
        made.cancel(order.account, order.order_id, 3.0)
    made.drain()
    trade(made, "100.5", 20)
    assert [fill.order_id for fill in made.drain().fills] == [o.order_id for o in orders[:10] + orders[40:]]
    check_sums(made)
