"""ccxt and we read the same orders: rows as the venues' protocols have them, with their contents varied."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from Execution import registry
from Execution.exchanges import binance, gate, okx
from tests.test_ccxt import SPOT, STATUSES, SWAP, base, contracts
from tests.venues import ccxt_clients
from tests.venues.harness import HARNESSES, Harness

Row = dict[str, Any]
BITS = 10**4


def okx_row(row: Row, side: str, status: str, size: int, filled: int, price: Decimal, average: Decimal) -> Row:
    state = {"open": "live", "cancelled": "canceled"}.get(status, status)
    return {
        **row,
        "side": side,
        "state": state,
        "sz": str(size),
        "accFillSz": str(filled),
        "px": str(price),
        "avgPx": str(average) if filled else "",
        "fee": str(-average * filled / BITS) if filled else "0",
    }


def binance_row(row: Row, side: str, status: str, size: int, filled: int, price: Decimal, average: Decimal) -> Row:
    word = {"open": "NEW", "partially_filled": "PARTIALLY_FILLED", "filled": "FILLED", "cancelled": "CANCELED"}[status]
    total = "cumQuote" if "cumQuote" in row else "cummulativeQuoteQty"
    found = {
        **row,
        "side": side.upper(),
        "status": word,
        "origQty": str(Decimal(size) / 1000),
        "executedQty": str(Decimal(filled) / 1000),
        "price": str(price),
        total: str(average * filled / 1000),
    }
    return {**found, "avgPrice": str(average) if filled else "0"} if "avgPrice" in row else found


def gate_row(row: Row, side: str, status: str, size: int, filled: int, price: Decimal, average: Decimal) -> Row:
    live = status in ("open", "partially_filled")
    if "contract" in row:
        sign = 1 if side == "buy" else -1
        ended = {} if live else {"finish_as": status}
        amounts = {"size": str(sign * size), "left": str(sign * (size - filled))}
        return {
            **{name: value for name, value in row.items() if name != "finish_as"},
            **amounts,
            **ended,
            "status": "open" if live else "finished",
            "price": str(price),
            "fill_price": str(average) if filled else "0",
        }
    return {
        **row,
        "side": side,
        "status": "open" if live else {"filled": "closed", "cancelled": "cancelled"}[status],
        "finish_as": "open" if live else status,
        "amount": str(Decimal(size) / 1000),
        "left": str(Decimal(size - filled) / 1000),
        "filled_amount": str(Decimal(filled) / 1000),
        "filled_total": str(average * filled / 1000),
        "avg_deal_price": str(average) if filled else "0",
        "price": str(price),
    }


VARY: dict[str, Callable[..., Row]] = {"okx": okx_row, "binance": binance_row, "gate": gate_row}


def ours(venue: str, row: Row, symbol: str, contract_size: Decimal) -> Any:
    if venue == "binance":
        return binance.parse_order(row, symbol)
    return {"okx": okx, "gate": gate}[venue].parse_order(row, contract_size)


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


@pytest.mark.parametrize("symbol", [SWAP, SPOT])
def test_orders_are_read_alike(venue: Harness, theirs: Any, symbol: str) -> None:
    theirs.options["defaultType"] = theirs.markets[symbol]["type"]
    market = theirs.market(symbol)
    name = venue.swap if symbol == SWAP else venue.spot
    contract_size = Decimal(str(market["contractSize"] or 1))
    placed = theirs.create_order(symbol, "limit", "buy", contracts(theirs, symbol, "0.02"), 50000)
    row = theirs.fetch_order(placed["id"], symbol)["info"]

    @given(
        side=st.sampled_from(["buy", "sell"]),
        status=st.sampled_from(["open", "partially_filled", "filled", "cancelled"]),
        size=st.integers(2, 10**6),
        part=st.integers(0, 10**6),
        price=st.integers(1, 10**8).map(lambda number: Decimal(number) / 10),
        worse=st.integers(-5, 5),
    )
    @settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    def vary(side: str, status: str, size: int, part: int, price: Decimal, worse: int) -> None:
        filled = {"open": 0, "filled": size, "partially_filled": 1 + part % (size - 1)}.get(status, part % size)
        average = max(Decimal("0.1"), price + Decimal(worse) / 10)
        varied = VARY[venue.name](row, side, status, size, filled, price, average)
        we, they = ours(venue.name, varied, name, contract_size), theirs.parse_order(varied, market)
        assert (we["order_id"], we["side"], we["price"]) == (they["id"], they["side"], they["price"])
        assert we["amount"] == pytest.approx(base(theirs, symbol, they["amount"]))
        assert we["filled"] == pytest.approx(base(theirs, symbol, they["filled"]))
        assert we["remaining"] == pytest.approx(base(theirs, symbol, they["remaining"]))
        assert (we["average_price"] or 0) == pytest.approx(they["average"] or 0)
        assert we["status"] == ("partially_filled" if status == "partially_filled" else STATUSES[they["status"]])
        assert we["status"] == status

    vary()
