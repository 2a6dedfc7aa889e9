"""ccxt drives the local venue servers and agrees with what our functions answer for the same state."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from Execution import registry
from tests.venues import ccxt_clients
from tests.venues.harness import HARNESSES, Harness

SWAP, SPOT = "BTC/USDT:USDT", "BTC/USDT"
STATUSES = {
    "open": "open",
    "closed": "filled",
    "canceled": "cancelled",
    "cancelled": "cancelled",
    "expired": "expired",
    "rejected": "rejected",
}


@pytest.fixture(params=[name for name in registry.BUILT if name in ccxt_clients.ADDRESSES])
def venue(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Harness:
    return HARNESSES[request.param](monkeypatch)


@pytest.fixture
def theirs(venue: Harness) -> Iterator[Any]:
    found = ccxt_clients.client(venue.name)
    found.load_markets()
    yield found
    if found.session is not None:
        found.session.close()


def base(theirs: Any, symbol: str, amount: float | None) -> float:
    """Answer base units of ccxt's amount, which is in contracts for perpetuals."""
    size = theirs.market(symbol)["contractSize"] or 1
    return float(Decimal(str(amount or 0)) * Decimal(str(size)))


def agree(theirs: Any, symbol: str, their: dict[str, Any], our: dict[str, Any]) -> None:
    """Assert that two accounts of one order are the same."""
    assert their["id"] == our["order_id"]
    assert their["side"] == our["side"]
    if their["price"] and our["price"] is not None:
        assert their["price"] == our["price"]
    assert base(theirs, symbol, their["amount"]) == pytest.approx(our["amount"])
    assert base(theirs, symbol, their["filled"]) == pytest.approx(our["filled"])
    if their["status"] is not None and our["status"] != "partially_filled":
        assert STATUSES[their["status"]] == our["status"]
    if their["average"]:
        assert their["average"] == pytest.approx(our["average_price"])


def contracts(theirs: Any, symbol: str, amount: str) -> float:
    """Answer ccxt's amount for base units."""
    size = theirs.market(symbol)["contractSize"] or 1
    return float(Decimal(amount) / Decimal(str(size)))


@pytest.mark.parametrize("symbol", [SWAP, SPOT])
def test_an_order_of_theirs_is_the_same_to_us(venue: Harness, theirs: Any, symbol: str) -> None:
    ours = venue.swap if symbol == SWAP else venue.spot
    theirs.options["defaultType"] = theirs.markets[symbol]["type"]
    amount = contracts(theirs, symbol, "0.02")
    placed = theirs.create_order(symbol, "limit", "buy", amount, 50000)
    seen = venue.good("get_order_status", ours, placed["id"])
    agree(theirs, symbol, theirs.fetch_order(placed["id"], symbol), seen)
    (their_open,) = theirs.fetch_open_orders(symbol)
    (our_open,) = venue.good("get_open_orders", ours)
    agree(theirs, symbol, their_open, our_open)
    theirs.cancel_order(placed["id"], symbol)
    assert venue.good("get_order_status", ours, placed["id"])["status"] == "cancelled"
    assert theirs.fetch_open_orders(symbol) == venue.good("get_open_orders", ours) == []


@pytest.mark.parametrize("symbol", [SWAP, SPOT])
def test_an_order_of_ours_is_the_same_to_them(venue: Harness, theirs: Any, symbol: str) -> None:
    ours = venue.swap if symbol == SWAP else venue.spot
    theirs.options["defaultType"] = theirs.markets[symbol]["type"]
    placed = venue.good("place_limit_order", ours, "buy", 0.02, 50000)
    agree(theirs, symbol, theirs.fetch_order(placed["order_id"], symbol), placed)
    cancelled = venue.good("cancel_order", ours, placed["order_id"])
    agree(theirs, symbol, theirs.fetch_order(placed["order_id"], symbol), cancelled)


def test_positions_and_balances_are_the_same(venue: Harness, theirs: Any) -> None:
    filled = venue.good("place_market_order", venue.swap, "buy", 0.05)
    agree(
        theirs,
        SWAP,
        theirs.fetch_order(filled["order_id"], SWAP),
        venue.good("get_order_status", venue.swap, filled["order_id"]),
    )
    (ours,) = venue.good("get_positions", venue.swap)
    (found,) = [each for each in theirs.fetch_positions([SWAP]) if each["contracts"]]
    assert base(theirs, SWAP, found["contracts"]) == pytest.approx(ours["size"])
    assert found["side"] == ours["side"]
    assert found["entryPrice"] == pytest.approx(ours["entry_price"])
    assert found["leverage"] in (None, 0.0, ours["leverage"])  # to ccxt, Gate's cross margin has leverage 0
    wallets = [theirs.fetch_balance({"type": kind} if kind else {}) for kind in venue.wallets]
    balance = sum(wallet["USDT"]["total"] for wallet in wallets)
    info = venue.good("get_account_info")
    assert balance == pytest.approx(info["balances"]["USDT"]["total"], rel=1e-3)


def test_trades_are_the_same(venue: Harness, theirs: Any) -> None:
    venue.good("place_market_order", venue.swap, "buy", 0.05)
    found = {each["id"]: each for each in theirs.fetch_my_trades(SWAP)}
    ours = venue.good("get_fills", venue.swap)
    assert ours
    for fill in ours:
        their = found[fill["trade_id"]]
        assert their["price"] == fill["price"]
        assert their["side"] == fill["side"]
        assert base(theirs, SWAP, their["amount"]) == pytest.approx(fill["amount"])
        assert their["fee"]["cost"] == pytest.approx(fill["fee"])
        assert their["fee"]["currency"] == fill["fee_currency"]


def test_prices_are_the_same(venue: Harness, theirs: Any) -> None:
    their, our = theirs.fetch_ticker(SWAP), venue.good("get_ticker", venue.swap)
    assert (their["last"], their["bid"] or our["bid"], their["ask"] or our["ask"]) == (
        our["last"],
        our["bid"],
        our["ask"],
    )
