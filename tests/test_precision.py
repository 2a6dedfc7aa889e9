"""Legal numbers, and rounding that never goes past what was asked."""

from __future__ import annotations

import decimal
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal, localcontext
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from Execution.common import precision
from Execution.common.errors import Refused
from Execution.common.precision import Rules, number_of, positive, round_amount, round_down, round_price, tick_at


def rules(**change: Any) -> Rules:
    usual: dict[str, Any] = {
        "symbol": "BTC-USDT",
        "tick_size": Decimal("0.1"),
        "lot_size": Decimal("0.001"),
        "min_amount": Decimal("0.001"),
        "max_amount": Decimal("1e15"),
        "min_notional": Decimal(5),
        "contract_size": Decimal(1),
        "max_leverage": 10,
    }
    return Rules(**(usual | change))


# -- what is a number


@pytest.mark.parametrize(
    ("value", "exact"),
    [
        (1, "1"),
        (0.1, "0.1"),
        (1e-7, "1E-7"),
        (0.1 + 0.2, "0.30000000000000004"),
        ("0.10", "0.10"),
        (" 5e-3 ", "0.005"),
        ("+2", "2"),
        (Decimal("0.3"), "0.3"),
        (10**15, "1E15"),
        (1e-18, "1E-18"),
    ],
)
def test_a_float_means_its_shortest_form_and_text_what_it_says(value: Any, exact: str) -> None:
    assert positive(value, "amount") == Decimal(exact)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (True, "must be a number, not True"),
        (False, "must be a number, not False"),
        (None, "must be a number, not None"),
        ([], "must be a number"),
        (b"1", "must be a number"),
        (1j, "must be a number"),
        ("", "must be a number, not ''"),
        ("one", "must be a number, not 'one'"),
        ("1,5", "must be a number"),
        ("0x10", "must be a number"),
        ("1_000", "must be a plain number"),
        ("１", "must be a plain number"),
        ("1" * 81, "must be a plain number"),
        (float("nan"), "must be a finite number, not nan"),
        (float("inf"), "must be a finite number, not inf"),
        (float("-inf"), "must be a finite number"),
        ("NaN", "must be a finite number"),
        ("-Infinity", "must be a finite number"),
        (Decimal("sNaN"), "must be a finite number"),
        (10**400, "must be a finite number"),
        (0, "must be greater than zero, not 0"),
        (0.0, "must be greater than zero"),
        (-0.0, "must be greater than zero"),
        ("-0", "must be greater than zero"),
        (-1, "must be greater than zero, not -1"),
        ("-1e-30", "must be greater than zero"),
        (Decimal("1e-19"), "must lie between 1e-18 and 1e15"),
        (1.1e15, "must lie between 1e-18 and 1e15"),
        ("1e999999", "must lie between 1e-18 and 1e15"),
    ],
)
def test_what_is_no_amount_is_refused_with_the_field_and_the_value(value: Any, words: str) -> None:
    with pytest.raises(Refused) as caught:
        positive(value, "stop_price")
    assert (caught.value.code, caught.value.outcome) == ("INVALID_ORDER", "not_sent")
    assert caught.value.message.startswith(f"stop_price {words}")
    assert len(caught.value.message) < 150


def test_a_number_too_long_to_be_written_is_refused() -> None:
    with pytest.raises(Refused, match="amount must be a finite number, not a number of 16610 bits"):
        positive(10**5000, "amount")


def test_a_float_of_another_make_is_a_float() -> None:
    class Other(float):
        pass

    assert number_of(Other(0.1), "amount") == Decimal("0.1")
    assert number_of(-3, "amount") == -3


# -- rounding, by example


def test_amounts_go_down_to_the_lot() -> None:
    assert round_amount(Decimal("0.0129"), rules(), None) == Decimal("0.012")
    assert round_down(Decimal("-1.29"), Decimal("0.1")) == Decimal("-1.2")


def test_an_amount_that_rounds_to_nothing_is_refused_with_the_numbers() -> None:
    with pytest.raises(
        Refused, match=r"amount 0.0009 of BTC-USDT rounds down to 0.0\d* \(lot 0.001\), below the minimum"
    ):
        round_amount(Decimal("0.0009"), rules(), None)
    with pytest.raises(Refused, match="below the minimum 0.01$"):
        round_amount(Decimal("0.009"), rules(min_amount=Decimal("0.01")), None)
    with pytest.raises(Refused, match="rounds down to"):
        round_amount(Decimal("0.0009"), rules(min_amount=Decimal(0)), None)
    with pytest.raises(Refused, match="amount 3.000 of BTC-USDT is over the maximum 2"):
        round_amount(Decimal(3), rules(max_amount=Decimal(2)), None)


def test_the_minimum_notional_counts_the_rounded_amount() -> None:
    assert round_amount(Decimal("0.05"), rules(), Decimal(100)) == Decimal("0.05")
    with pytest.raises(Refused, match=r"notional 4.90* of BTC-USDT \(0.0490* x 100\) is below the minimum 5"):
        round_amount(Decimal("0.0499"), rules(), Decimal(100))
    assert round_amount(Decimal("0.001"), rules(), None) == Decimal("0.001")


@pytest.mark.parametrize(("side", "rounded"), [("buy", "100.1"), ("sell", "100.2")])
def test_prices_go_to_the_passive_side(side: str, rounded: str) -> None:
    assert round_price(Decimal("100.15"), side, rules()) == Decimal(rounded)
    assert round_price(Decimal("100.1"), side, rules()) == Decimal("100.1")


def test_a_price_that_rounds_to_nothing_is_refused() -> None:
    with pytest.raises(Refused, match=r"stop_price 0.05 of BTC-USDT rounds to 0.0\d* \(tick 0.1\)"):
        round_price(Decimal("0.05"), "buy", rules(), "stop_price")
    assert round_price(Decimal("0.05"), "sell", rules()) == Decimal("0.1")


@pytest.mark.parametrize(
    ("price", "tick"),
    [("12345.6", "1"), ("123456.7", "10"), ("123456", "0.001"), ("1234.56", "0.1"), ("0.012345", "0.001")],
)
def test_significant_figures_make_the_tick_coarser_but_not_for_whole_numbers(price: str, tick: str) -> None:
    assert tick_at(Decimal(price), rules(tick_size=Decimal("0.001"), significant_figures=5)) == Decimal(tick)


def test_rules_come_exact_from_public_floats() -> None:
    instrument: Any = {
        "symbol": "A-B",
        "tick_size": 1e-7,
        "lot_size": 0.1,
        "min_amount": 0.3,
        "max_amount": None,
        "min_notional": 0.0,
        "contract_size": 0.01,
        "max_leverage": 0,
        "price_significant_figures": 5,
    }
    found = precision.rules_of(instrument)
    assert (found.tick_size, found.lot_size, found.min_amount) == (Decimal("1e-7"), Decimal("0.1"), Decimal("0.3"))
    assert (found.max_amount, found.max_leverage, found.significant_figures) == (Decimal("1e15"), 1, 5)
    assert precision.rules_of({**instrument}) is found


# -- rounding, by property


steps = st.one_of(
    st.sampled_from([Decimal(s) for s in ("1", "10", "0.5", "0.25", "0.05", "0.00001", "1e-8", "1e-18", "3", "0.007")]),
    st.decimals("1e-18", "1e6", allow_nan=False, allow_infinity=False, places=18).filter(lambda d: d > 0),
)
numbers = st.one_of(
    st.decimals("1e-18", "1e15", allow_nan=False, allow_infinity=False),
    st.floats(1e-18, 1e15).map(lambda f: Decimal(str(f))),
    st.integers(1, 10**15).map(Decimal),
    st.tuples(st.integers(1, 10**33), st.integers(-33, -18)).map(lambda p: Decimal(p[0]).scaleb(p[1])),
    st.from_regex(r"[1-9][0-9]{0,14}\.[0-9]{0,40}", fullmatch=True).map(Decimal),
).filter(lambda d: Decimal("1e-18") <= d <= Decimal("1e15"))
contexts = st.sampled_from([(28, "ROUND_HALF_EVEN"), (6, "ROUND_UP"), (4, "ROUND_HALF_EVEN"), (50, "ROUND_CEILING")])


def multiple(value: Decimal, step: Decimal, rounding: str) -> Decimal:
    """Answer the multiple of step next to value, worked out with fractions."""
    ratio = Fraction(value) / Fraction(step)
    count = (
        ratio.numerator // ratio.denominator if rounding == ROUND_FLOOR else -(-ratio.numerator // ratio.denominator)
    )
    with localcontext() as context:
        context.prec = 200
        return count * step


@given(numbers, steps, contexts)
def test_an_amount_is_the_lots_that_fit_and_never_more(amount: Decimal, lot: Decimal, context: tuple[int, str]) -> None:
    with localcontext() as here:
        here.prec, here.rounding = context
        try:
            rounded = round_amount(amount, rules(lot_size=lot, min_amount=Decimal(0)), None)
        except Refused:
            rounded = None
    if rounded is None:
        assert amount < lot
        return
    assert 0 < rounded <= amount
    assert rounded == multiple(amount, lot, ROUND_FLOOR)


@given(numbers, steps, st.sampled_from(["buy", "sell"]), contexts)
def test_a_price_is_the_next_tick_on_the_passive_side(
    price: Decimal, tick: Decimal, side: str, context: tuple[int, str]
) -> None:
    with localcontext() as here:
        here.prec, here.rounding = context
        try:
            rounded = round_price(price, side, rules(tick_size=tick))
        except Refused:
            rounded = None
    if rounded is None:
        assert (side, price < tick) == ("buy", True)
        return
    assert rounded == multiple(price, tick, ROUND_FLOOR if side == "buy" else ROUND_CEILING)
    assert rounded <= price if side == "buy" else rounded >= price


@given(numbers, st.integers(1, 8), st.sampled_from(["buy", "sell"]))
def test_a_price_has_no_more_significant_figures_than_allowed(price: Decimal, figures: int, side: str) -> None:
    limited = rules(tick_size=Decimal("1e-18"), significant_figures=figures)
    try:
        rounded = round_price(price, side, limited)
    except Refused:
        return
    assert rounded <= price if side == "buy" else rounded >= price
    digits = len(str(rounded.normalize(decimal.Context(prec=80)).as_tuple().digits).replace(", ", "").strip("(,)"))
    assert digits <= figures or rounded == rounded.to_integral_value()


@given(st.one_of(st.text(max_size=30), st.floats(), st.integers(), st.booleans(), st.none(), st.decimals()))
def test_whatever_is_given_is_a_legal_number_or_refused(value: Any) -> None:
    try:
        number = positive(value, "amount")
    except Refused:
        return
    assert Decimal("1e-18") <= number <= Decimal("1e15")
    assert not isinstance(value, bool)
