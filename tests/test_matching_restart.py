"""Listing, opening, storing and loading: what the engine is given, and what it gives back."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from Execution.matching.engine import Engine
from Execution.matching.model import AccountState, Order, Rejected
from tests.test_matching_kit import SPOT, SWAP, D, check_sums, engine, free, levels, limit, market, place, stop

SYMBOL = SPOT.symbol


def stored(value: Any) -> Any:
    """Through bytes and back, as a store would do."""
    return msgspec.json.decode(msgspec.json.encode(value), type=type(value))


def reload(made: Engine, orders: list[Order] | None = None, **options: Any) -> Engine:
    again = Engine([SPOT, SWAP], **options)
    for name in "ab":
        again.load_account(stored(made.account_state(name)))
    for order in orders or [*made.open_orders("a"), *made.open_orders("b")]:
        again.load_order(stored(order))
    check_sums(again)
    return again


@pytest.mark.parametrize("change", [{}, {"symbol": "X", "tick": D(0)}, {"symbol": "X", "lot": D(0)}])
def test_a_symbol_is_listed_once_and_needs_tick_and_lot(change: dict[str, Any]) -> None:
    with pytest.raises(Rejected) as caught:
        engine().add_spec(msgspec.structs.replace(SPOT, **change))
    assert caught.value.code == "INVALID_ORDER"


def test_an_account_is_opened_once_and_its_state_is_a_copy() -> None:
    made = engine()
    with pytest.raises(Rejected, match="account a is open already"):
        made.open_account("a", {})
    made.account_state("a").balances["USDT"] = D(0)
    assert free(made, "USDT") == 10_000


def test_a_position_in_an_unlisted_symbol_is_refused_and_the_account_is_not_half_loaded() -> None:
    made = engine()
    place(made, market("buy", 1, SWAP.symbol))
    again = Engine([SPOT])
    with pytest.raises(Rejected, match="no such symbol"):
        again.load_account(made.account_state("a"))
    with pytest.raises(Rejected, match="no such account"):
        again.account_state("a")


def test_position_mode_changes_only_while_nothing_is_open() -> None:
    made = engine()
    order = place(made, limit("buy", 1, 90, SWAP.symbol))
    made.set_position_mode("a", "net")
    for mode, words in (("hedge", "cannot change"), ("both", "must be net or hedge")):
        with pytest.raises(Rejected, match=words):
            made.set_position_mode("a", mode)
    made.cancel("a", order.order_id, 2.0)
    made.set_position_mode("a", "hedge")
    assert made.account_state("a").position_mode == "hedge"
    assert place(made, market("buy", 1, SWAP.symbol)).position_side == "long"


def test_a_restart_keeps_locks_places_and_numbers() -> None:
    made = engine()
    orders = [place(made, limit("buy", 1, 100), "ab"[number % 2]) for number in range(4)]
    made.amend("a", orders[0].order_id, amount=D(2), now=2.0)
    waiting = place(made, stop("sell", 1, 90))
    state = AccountState("n", {"USDT": D(1)}, [], {SWAP.symbol: 7}, next_funding={SWAP.symbol: 8.0})
    again = reload(made, [waiting, *reversed(orders)], next_trade_id=100)
    again.load_account(stored(state))
    assert again.account_state("n") == state
    assert free(again, "USDT") == 10_000 - 300
    assert again.order("a", orders[0].order_id) == orders[0]
    again.on_snapshot(SYMBOL, levels((100, 5)), levels((101, 5)), 3.0)
    again.on_trade(SYMBOL, D(100), D(10), "sell", 3.0)
    fills = again.drain().fills
    assert [fill.order_id for fill in fills] == [2, 3, 4, 1]
    assert fills[0].trade_id == 100
    again.on_trade(SYMBOL, D(90), D(1), "sell", 4.0)
    assert again.drain().fills[-1].order_id == waiting.order_id
    assert place(again, limit("buy", 1, 90)).order_id == waiting.order_id + 1


def test_an_order_on_its_way_goes_on_after_a_restart() -> None:
    made = engine(order_delay=5.0)
    order = place(made, limit("buy", 1, 90), now=2.0)
    again = reload(made, order_delay=5.0)
    assert free(again, "USDT") == 9910
    again.advance(6.9)
    assert again.open_orders("a")[0].status == "pending"
    again.advance(7.0)
    assert again.open_orders("a")[0].status == "open"
    assert order.status == "pending"


def test_only_live_orders_are_loaded_and_only_once() -> None:
    made = engine()
    order = place(made, limit("buy", 1, 90))
    with pytest.raises(Rejected, match="loaded already"):
        made.load_order(order)
    made.cancel("a", order.order_id, 2.0)
    with pytest.raises(Rejected, match="is cancelled"):
        made.load_order(order)


def test_accounts_settle_in_the_first_perpetual_currency_unless_asked() -> None:
    assert engine().summary("a").currency == "USDT"
    assert Engine([SPOT])._settle_currency() == "USDT"
    made = engine()
    place(made, limit("sell", 1, 200))
    summary = made.summary("a", "BTC")
    assert (summary.equity, summary.available, summary.margin_ratio) == (D(50), D(49), D(0))
    assert (summary.balances["BTC"].free, summary.balances["BTC"].locked) == (D(49), D(1))
