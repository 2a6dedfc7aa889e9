"""One spelling for every symbol."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from Execution.common.errors import Refused
from Execution.common.symbols import is_swap, normalize, split


@pytest.mark.parametrize(
    ("given_as", "spot", "swap"),
    [
        ("BTC-USDT", "BTC-USDT", "BTC-USDT-SWAP"),
        (" btc-usdt ", "BTC-USDT", "BTC-USDT-SWAP"),
        ("BTC/USDT", "BTC-USDT", "BTC-USDT-SWAP"),
        ("BTC-USDT-SWAP", "BTC-USDT-SWAP", "BTC-USDT-SWAP"),
        ("btc-usdt-swap", "BTC-USDT-SWAP", "BTC-USDT-SWAP"),
        ("BTC/USDT:USDT", "BTC-USDT-SWAP", "BTC-USDT-SWAP"),
        ("1000SHIB/USDT:USDT", "1000SHIB-USDT-SWAP", "1000SHIB-USDT-SWAP"),
        ("@107/USDC", "@107-USDC", "@107-USDC-SWAP"),
    ],
)
def test_every_spelling_has_one_meaning(given_as: str, spot: str, swap: str) -> None:
    assert normalize(given_as) == spot
    assert normalize(given_as, "swap") == swap


@pytest.mark.parametrize("inverse", ["BTC/USD:BTC", "BTC/USDT:USDC"])
def test_inverse_contracts_are_refused_as_such(inverse: str) -> None:
    with pytest.raises(Refused, match=f"'{inverse}' is an inverse contract") as caught:
        normalize(inverse)
    assert caught.value.code == "INVALID_SYMBOL"


@pytest.mark.parametrize(
    "wrong",
    ["", "BTC", "BTCUSDT", "BTC-", "-USDT", "BTC--USDT", "BTC-USDT-", "BTC-USDT-SWAP-SWAP", "BTC-USDT-230929",
     "BTC_USDT",
     "BTC USDT", "BTC/USDT-SWAP", "BTC/USDT:", "BTC-USDT\n-SWAP", "B" * 25 + "-USDT", "БТС-USDT", "BTC-USDT;DROP"],
)  # fmt: skip
def test_what_is_no_symbol_is_named(wrong: str) -> None:
    with pytest.raises(Refused, match="is not of the form 'BTC-USDT' or 'BTC-USDT-SWAP'") as caught:
        normalize(wrong)
    assert (caught.value.code, caught.value.outcome) == ("INVALID_SYMBOL", "not_sent")
    assert repr(wrong)[:40] in caught.value.message


@pytest.mark.parametrize("wrong", [None, 7, ["BTC-USDT"], {"BTC": "USDT"}, b"BTC-USDT"])
def test_what_is_no_text_is_refused(wrong: Any) -> None:
    with pytest.raises(Refused, match="must be text"):
        normalize(wrong)


def test_taking_apart() -> None:
    assert split("BTC-USDT") == ("BTC", "USDT", False)
    assert split("BTC-USDT-SWAP") == ("BTC", "USDT", True)
    assert is_swap("BTC-USDT-SWAP")
    assert not is_swap("SWAP-USDT")


@given(st.text(max_size=40))
def test_whatever_is_given_is_unified_or_refused(text: str) -> None:
    try:
        unified = normalize(text)
    except Refused:
        return
    assert normalize(unified) == unified
    assert unified.isascii()
    base, quote, swap = split(unified)
    assert unified == f"{base}-{quote}" + "-SWAP" * swap
