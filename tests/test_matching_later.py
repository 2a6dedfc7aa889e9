"""Orders that act later: conditional ones, and those that take time to arrive."""

from __future__ import annotations

from decimal import Decimal

import pytest

from Execution.matching.model import Rejected
from tests.test_matching_kit import SPOT, D, check_sums, engine, free, limit, market, place, quote, stop

SPOT_SYMBOL = SPOT.symbol


@pytest.mark.parametrize(
    ("side", "kind", "at", "near", "hit"),
    [
        ("buy", "stop", 110, "109.9", "110"),
        ("sell", "stop", 90, "90.1", "90"),
        ("buy", "take_profit", 90, "90.1", "90"),
        ("sell", "take_profit", 110, "109.9", "110"),
    ],
)
@pytest.mark.parametrize("price", [None, D(100)])
def test_conditional_orders_wait_for_the_last_price(
    side: str, kind: str, at: int, near: str, hit: str, price: Decimal | None
) -> None:
    made = engine()
    order = place(made, stop(side, 1, at, kind=kind, price=price))
    made.on_trade(SPOT_SYMBOL, D(near), D(1), "buy", 3.0)
    assert (order.status, order.triggered) == ("open", False)
    made.on_trade(SPOT_SYMBOL, D(hit), D(1), "buy", 4.0)
    assert order.triggered
    resting = side == "buy" and price is not None
    assert order.status == ("open" if resting else "filled")
    check_sums(made)


def test_quotes_trigger_by_their_mid_until_a_trade_was_seen() -> None:
    made = engine()
    first, second = place(made, stop("buy", 1, 110)), place(made, stop("buy", 1, 120))
    quote(made, 109, 111)
    assert first.status == "filled"
    made.on_trade(SPOT_SYMBOL, D(100), D(1), "buy", 3.0)
    quote(made, 129, 131)
    assert second.status == "open"
    assert made.ticker(SPOT_SYMBOL).last == 100


def test_a_triggered_order_that_cannot_be_paid_is_cancelled_with_the_reason() -> None:
    made = engine()
    order = place(made, stop("buy", 80, 120))
    quote(made, 149, 151, size=100)
    assert (order.status, order.reason) == ("cancelled", "insufficient_funds")
    check_sums(made)


def test_stops_trigger_in_order_of_nearness_then_time() -> None:
    made = engine()
    far, near, later = (place(made, stop("sell", 1, at)) for at in (90, 95, 95))
    made.on_trade(SPOT_SYMBOL, D(80), D(1), "sell", 3.0)
    assert [fill.order_id for fill in made.drain().fills] == [near.order_id, later.order_id, far.order_id]


def test_a_thousand_cancelled_stops_leave_nothing_behind() -> None:
    made = engine()
    for _ in range(1000):
        made.cancel("a", place(made, stop("buy", 1, 110)).order_id, 2.0)
    book = made._world.books[SPOT_SYMBOL]
    assert book.rises.count == 0
    assert len(book.rises._heap) < 100
    assert book.idle()


# Delays


def test_a_delayed_order_reaches_the_book_at_its_time() -> None:
    made = engine(order_delay=1.0)
    order = place(made, market("buy", 1), now=2.0)
    assert (order.status, order.locked) == ("pending", D(101))
    made.on_quote(SPOT_SYMBOL, D(100), D(5), D(100) + 5, D(5), 2.9)
    assert order.status == "pending"
    made.on_quote(SPOT_SYMBOL, D(100), D(5), D(100) + 9, D(5), 3.1)
    assert (order.status, order.cost, order.updated) == ("filled", D(105), 3.0)
    check_sums(made)


def test_delayed_orders_are_judged_on_arrival() -> None:
    made = engine(order_delay=1.0)
    post, buy_stop = place(made, limit("buy", 1, 101, post_only=True)), place(made, stop("buy", 1, 102))
    made.on_trade(SPOT_SYMBOL, D(103), D(1), "buy", 2.5)
    made.advance(3.0)
    assert (post.status, post.reason) == ("cancelled", "post_only")
    assert (buy_stop.status, buy_stop.reason) == ("cancelled", "would_trigger")
    assert free(made, "USDT") == 10_000


def test_a_delayed_cancel_may_come_too_late() -> None:
    made = engine(cancel_delay=1.0)
    filled, gone = place(made, limit("buy", 1, "100.5")), place(made, limit("buy", 1, 90))
    assert made.cancel("a", filled.order_id, 2.0).status == "open"
    made.cancel("a", gone.order_id, 2.0)
    place(made, limit("sell", 1, "100.5"), "b", now=2.5)
    made.advance(3.0)
    assert (filled.status, gone.status, gone.updated) == ("filled", "cancelled", 3.0)


def test_a_pending_order_can_be_cancelled_but_not_amended() -> None:
    made = engine(order_delay=1.0)
    order = place(made, limit("buy", 1, 90))
    with pytest.raises(Rejected, match="has not reached the book"):
        made.amend("a", order.order_id, amount=D(2), now=2.0)
    assert made.cancel("a", order.order_id, 2.0).status == "cancelled"
    made.advance(9.0)
    assert order.status == "cancelled"
    check_sums(made)


def test_a_delayed_amend_refused_on_arrival_leaves_the_order_as_it_was() -> None:
    made = engine(order_delay=1.0)
    order = place(made, limit("buy", 1, 90))
    made.advance(3.0)
    made.amend("a", order.order_id, amount=D(200), now=4.0)
    made.advance(5.0)
    assert (order.status, order.request.amount, order.reason) == ("open", D(1), "amend_insufficient_funds")
    made.amend("a", order.order_id, price=D(91), now=6.0)
    made.advance(7.0)
    assert order.request.price == 91
