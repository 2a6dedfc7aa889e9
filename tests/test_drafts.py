"""Orders as they are asked for: everything wrong is named, at once; what is right is rounded and never past it."""

from __future__ import annotations

import os
import threading
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from Execution import registry
from Execution.common import clock
from Execution.common.errors import Refused
from Execution.drafts import (
    Draft,
    draft_of,
    is_fresh,
    keyed_client_order_id,
    new_client_order_id,
    prepare,
    prices_of,
    unknown_key,
)
from tests import children
from tests.fakes import FakeVenue

GOOD: dict[str, Any] = {"symbol": "BTC-USDT", "side": "buy", "type": "limit", "amount": 1, "price": 100}


@pytest.fixture
def venue() -> FakeVenue:
    made = FakeVenue("fake")
    registry.register(made)  # type: ignore[arg-type]
    return made


def order(**change: Any) -> dict[str, Any]:
    return {key: value for key, value in {**GOOD, **change}.items() if value != "gone"}


def refusal(words: dict[str, Any]) -> str:
    with pytest.raises(Refused) as caught:
        prepare("fake", draft_of(words))
    assert (caught.value.code, caught.value.outcome) == ("INVALID_ORDER", "not_sent")
    return caught.value.message


# -- keys


@pytest.mark.parametrize("wrong", [None, 7, "buy", [("side", "buy")]])
def test_an_order_must_be_a_dict(wrong: Any) -> None:
    with pytest.raises(Refused, match="an order must be a dict, not"):
        draft_of(wrong)


@pytest.mark.parametrize(
    ("key", "near"),
    [("prise", "price"), ("ammount", "amount"), ("postonly", "post_only"), ("reduceOnly", "reduce_only"),
     ("tif_in_force", "time_in_force"), ("stopPrice", "stop_price"), ("client_id", "client_order_id")],
)  # fmt: skip
def test_an_unknown_key_is_named_with_the_nearest(key: str, near: str) -> None:
    with pytest.raises(Refused, match=f"unknown key '{key}' \\(did you mean '{near}'\\?\\)"):
        draft_of(order(**{key: 1}))


def test_a_key_near_nothing_gets_the_list() -> None:
    assert unknown_key("zzz", ("side", "amount")) == "unknown key 'zzz' (known: amount, side)"
    with pytest.raises(Refused, match="unknown key 7 "):
        draft_of({**GOOD, 7: 1})  # type: ignore[dict-item]


def test_all_wrong_and_missing_keys_are_named_at_once() -> None:
    with pytest.raises(Refused) as caught:
        draft_of({"prise": 1, "sise": "buy", "symbol": "BTC-USDT"})
    parts = caught.value.message.split("; ")
    assert [part.split(" (")[0] for part in parts] == [
        "unknown key 'prise'",
        "unknown key 'sise'",
        "side is missing",
        "type is missing",
        "amount is missing",
    ]


def test_order_type_is_another_word_for_type() -> None:
    assert draft_of(order(type="gone", order_type="market", price="gone")).type == "market"


# -- values


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"side": "BUY"}, "side must be 'buy' or 'sell', not 'BUY'"),
        ({"side": None}, "side must be 'buy' or 'sell', not None"),
        ({"side": ["buy"]}, "side must be 'buy' or 'sell'"),
        ({"type": "iceberg"}, "order_type must be one of limit, market, stop, take_profit, not 'iceberg'"),
        ({"amount": None}, "amount must be a number, not None"),
        ({"amount": 0}, "amount must be greater than zero, not 0"),
        ({"amount": True}, "amount must be a number, not True"),
        ({"amount": "1e400"}, "amount must lie between"),
        ({"price": -1}, "price must be greater than zero, not -1"),
        ({"price": float("nan")}, "price must be a finite number, not nan"),
        ({"price": None}, "price is required for a limit order"),
        ({"stop_price": 90}, "stop_price is not used by a limit order"),
        ({"type": "market"}, "price is not used by a market order; max_slippage bounds it"),
        ({"type": "market", "price": None, "stop_price": 9}, "stop_price is not used by a market order"),
        ({"type": "stop"}, "stop_price is required for a stop order"),
        ({"type": "take_profit"}, "stop_price is required for a take_profit order"),
        ({"time_in_force": "GTD"}, "time_in_force must be one of GTC, IOC, FOK, not 'GTD'"),
        ({"time_in_force": None}, "time_in_force must be one of"),
        ({"type": "market", "price": None, "time_in_force": "IOC"}, "time_in_force 'IOC' goes with a limit order only"),
        ({"post_only": 1}, "post_only must be True or False, not 1"),
        ({"reduce_only": "yes"}, "reduce_only must be True or False, not 'yes'"),
        ({"post_only": None}, "post_only must be True or False, not None"),
        ({"post_only": True, "time_in_force": "IOC"}, "post_only goes with a GTC limit order only"),
        ({"post_only": True, "type": "market", "price": None}, "post_only goes with a GTC limit order only"),
        ({"client_order_id": ""}, "client_order_id must be 1 to 64 characters"),
        ({"client_order_id": "a b"}, "client_order_id must be 1 to 64 characters"),
        ({"client_order_id": "é"}, "client_order_id must be 1 to 64 characters"),
        ({"client_order_id": "a" * 65}, "client_order_id must be 1 to 64 characters"),
        ({"client_order_id": "a\n"}, "client_order_id must be 1 to 64 characters"),
        ({"client_order_id": 7}, "client_order_id must be 1 to 64 characters"),
        ({"strategy": "s" * 65}, "strategy must be printable text of at most 64 characters"),
        ({"strategy": 7}, "strategy must be printable text of at most 64 characters, not 7"),
        ({"max_slippage": 0.01}, "max_slippage goes with a market order only"),
        ({"type": "market", "price": None, "max_slippage": 0}, "max_slippage must be greater than zero"),
        ({"timeout": 0}, "timeout must be greater than zero"),
        ({"timeout": "soon"}, "timeout must be a number, not 'soon'"),
    ],
)
def test_every_bad_value_is_named(venue: FakeVenue, change: dict[str, Any], words: str) -> None:
    assert words in refusal(order(**change))
    assert venue.calls == []


def test_everything_wrong_is_named_at_once(venue: FakeVenue) -> None:
    message = refusal(
        {
            "symbol": "BTC-USDT",
            "side": "hold",
            "type": "stop",
            "amount": "x",
            "price": 0,
            "time_in_force": "DAY",
            "post_only": 3,
            "client_order_id": "",
            "strategy": None,
            "max_slippage": -1,
            "timeout": True,
        }
    )
    for name in ("side", "amount", "price", "time_in_force", "post_only", "client_order_id", "strategy", "max_slippage",
                 "timeout", "stop_price"):  # fmt: skip
        assert f"{name} " in message
    assert venue.calls == []


def test_the_names_of_exchange_and_symbol_are_checked_first(venue: FakeVenue) -> None:
    for name, symbol, code in (("nowhere", "BTC-USDT", "UNKNOWN_VENUE"), ("fake", "BTC", "INVALID_SYMBOL")):
        with pytest.raises(Refused) as caught:
            prepare(name, draft_of(order(symbol=symbol, side="hold")))
        assert caught.value.code == code


@pytest.mark.parametrize("kind", ["limit", "market", "stop", "take_profit", "iceberg"])
def test_prices_of_a_kind(kind: str) -> None:
    needs = {"limit": (True, False), "market": (False, False), "stop": (False, True), "take_profit": (False, True)}
    if kind in needs:
        assert prices_of(kind, *needs[kind]) == []
    assert prices_of("stop", True, True) == []


# -- what is right


def test_a_good_order_becomes_a_record(venue: FakeVenue) -> None:
    with clock.use(lambda: 1000.0):
        record = prepare(
            "FAKE:Alpha",
            draft_of(
                order(
                    symbol="btc/usdt:usdt",
                    amount="0.1239",
                    price=100.19,
                    timeout=5,
                    strategy="s1",
                    client_order_id="mine",
                    post_only=True,
                    reduce_only=True,
                )
            ),
        )
    assert (record.exchange, record.symbol) == ("fake:alpha", "BTC-USDT-SWAP")
    assert (record.amount, record.price, record.stop_price) == (Decimal("0.123"), Decimal("100.1"), None)
    assert record.terms == "GTC,post_only,reduce_only"
    assert (record.created, record.updated, record.deadline) == (1000.0, 1000.0, 1005.0)
    assert (record.client_order_id, record.strategy, record.status) == ("mine", "s1", "pending")


@pytest.mark.parametrize("side", ["buy", "sell"])
@pytest.mark.parametrize("kind", ["stop", "take_profit"])
def test_a_stop_price_is_rounded_to_the_later_side(venue: FakeVenue, side: str, kind: str) -> None:
    record = prepare("fake", draft_of(order(type=kind, side=side, price=100.05, stop_price=90.05)))
    assert record.price == Decimal("100.0" if side == "buy" else "100.1")
    assert record.stop_price == Decimal("90.1" if side == "buy" else "90.0")


def test_what_rounds_to_nothing_is_refused_with_the_numbers(venue: FakeVenue) -> None:
    assert "rounds down to" in refusal(order(amount=0.0009))
    assert "is below the minimum 5" in refusal(order(amount=0.049, price=100))
    assert "stop_price 0.05 of BTC-USDT rounds to" in refusal(order(type="stop", side="sell", stop_price=0.05))


def test_reduce_only_has_no_minimum_notional(venue: FakeVenue) -> None:
    assert prepare("fake", draft_of(order(amount=0.001, reduce_only=True))).amount == Decimal("0.001")


def test_a_market_order_is_reckoned_with_the_reference_price(venue: FakeVenue) -> None:
    draft = draft_of(order(type="market", price=None, amount=0.01, max_slippage=0.02))
    assert prepare("fake", draft).options == {"max_slippage": "0.02"}
    with pytest.raises(Refused, match="below the minimum 5"):
        prepare("fake", draft, Decimal(100))


def test_what_was_checked_before_is_not_checked_again(venue: FakeVenue) -> None:
    record = prepare("fake", Draft("BTC-USDT", "buy", "limit", 1, 100, strategy=None, extra={"leg": 1}), checked=True)
    assert (record.strategy, record.options) == ("", {"leg": 1})


numbers = st.one_of(
    st.floats(1e-9, 1e9),
    st.decimals("1e-9", "1e9", allow_nan=False, allow_infinity=False),
    st.integers(1, 10**9),
    st.floats(1e-9, 1e9).map(str),
)


@given(numbers, numbers, numbers, st.sampled_from(["buy", "sell"]), st.sampled_from(["limit", "stop", "take_profit"]))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_rounding_never_goes_past_what_was_asked(
    venue: FakeVenue, amount: Any, price: Any, stop: Any, side: str, kind: str
) -> None:
    asked = order(side=side, type=kind, amount=amount, price=price, stop_price=None if kind == "limit" else stop)
    try:
        record = prepare("fake", draft_of(asked))
    except Refused:
        return
    exact_amount, exact_price = Decimal(str(amount)), Decimal(str(price))
    assert 0 <= exact_amount - record.amount < Decimal("0.001")
    assert record.amount % Decimal("0.001") == 0
    assert record.price is not None
    difference = exact_price - record.price if side == "buy" else record.price - exact_price
    assert 0 <= difference < Decimal("0.1")
    if record.stop_price is not None:
        difference = record.stop_price - Decimal(str(stop)) if side == "buy" else Decimal(str(stop)) - record.stop_price
        assert 0 <= difference < Decimal("0.1")


# -- ids


def test_ids_are_ours_short_and_plain() -> None:
    name = new_client_order_id()
    assert name.startswith("ex")
    assert name.isalnum()
    assert len(name) <= 32
    assert is_fresh(name)
    assert not is_fresh("mine")
    assert not is_fresh("ex" + "0" * 12 + "1")


def test_ids_are_unique_over_threads_and_forks() -> None:
    made: list[str] = []

    def work() -> None:
        made.extend([new_client_order_id() for _ in range(500)])

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    read, write = os.pipe()
    mine = new_client_order_id()

    def child() -> None:
        assert not is_fresh(mine)
        os.write(write, " ".join(new_client_order_id() for _ in range(100)).encode() + b" ")

    pids = [children.fork(child) for _ in range(2)]
    assert [children.ended(pid) for pid in pids] == [0, 0]
    os.close(write)
    with os.fdopen(read) as pipe:
        made += pipe.read().split()
    made += [mine, new_client_order_id()]
    assert len(made) == 2202
    assert len(set(made)) == len(made)


def test_an_id_that_a_caller_hands_back_is_not_taken_for_a_new_one(venue: FakeVenue) -> None:
    first = prepare("fake", draft_of(order()))
    assert is_fresh(first.client_order_id)
    again = prepare("fake", draft_of(order(client_order_id=first.client_order_id)))
    assert again.client_order_id == first.client_order_id
    assert not is_fresh(again.client_order_id)


def test_a_keys_ids_are_the_same_everywhere() -> None:
    here = keyed_client_order_id("a key", 1)
    there = children.run("from Execution.drafts import *; print(keyed_client_order_id('a key', 1), end='')")
    assert here == there
    assert len(here) <= 32
    assert len({keyed_client_order_id(key, leg) for key in ("a", "b") for leg in range(3)}) == 6
    assert not is_fresh(here)
