from __future__ import annotations

import math
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from itertools import islice, pairwise
from pathlib import Path
from statistics import fmean, pvariance

import pytest

from Execution.matching import walk as module
from Execution.matching.events import Quote, Snapshot
from Execution.matching.walk import ANCHOR, SPAN, YEAR, Walk, motion, split

D = Decimal
KEY = b"some market"
NOW = 1_760_000_000

SCRIPT = """
from Execution.matching.walk import Walk
walk = Walk(seed=11)
print([str(walk.price(s, t)) for s in ("BTC-USDT", "ETH-BTC", "ODD-USDC") for t in (1, 1700000007, 1760000000)])
print(list(walk.quotes("SOL-USDT", 1760000000, 1760000002)))
"""


def test_two_processes_agree() -> None:
    root = Path(__file__).resolve().parents[1]
    said = [
        subprocess.run(
            [sys.executable, "-c", SCRIPT],
            cwd=root,
            env={"PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
            text=True,
        ).stdout
        for seed in ("1", "2")
    ]
    assert said[0] == said[1]
    walk = Walk(seed=11)
    assert str(walk.price("ETH-BTC", 1_700_000_007)) in said[0]


def test_the_market_is_the_same_tomorrow() -> None:
    """Known answers: a change here changes every stored run."""
    walk = Walk()
    assert [str(walk.price("BTC-USDT", step)) for step in (ANCHOR, 1_700_000_000, 1_763_600_000)] == [
        "60000.0",
        "41767.3",
        "139645.4",
    ]


def test_the_order_of_asking_does_not_matter() -> None:
    steps = [NOW + 977 * n for n in range(200)]
    module._block.cache_clear()
    forward = [motion(KEY, step) for step in steps]
    module._block.cache_clear()
    assert [motion(KEY, step) for step in reversed(steps)] == forward[::-1]


def test_threads_agree() -> None:
    steps = [NOW + 31 * n for n in range(2000)]
    module._block.cache_clear()
    with ThreadPoolExecutor(4) as pool:
        told = list(pool.map(lambda _: [motion(KEY, step) for step in steps], range(4)))
    assert told.count(told[0]) == 4


@pytest.mark.parametrize("stride", [1, 2, 4, 7, 8, 60, 3600])
def test_increments_have_the_variance_of_their_length_and_no_drift(stride: int) -> None:
    n = 20_000
    values = [motion(KEY, NOW + stride * k) for k in range(n + 1)]
    moves = [b - a for a, b in pairwise(values)]
    assert pvariance(moves) / stride == pytest.approx(1, abs=5 * math.sqrt(2 / n))
    assert abs(fmean(moves)) / math.sqrt(stride) < 5 / math.sqrt(n)
    neighbours = fmean(a * b for a, b in pairwise(moves)) / stride
    assert abs(neighbours) < 5 / math.sqrt(n)
    kurtosis = fmean(move**4 for move in moves) / pvariance(moves) ** 2
    assert kurtosis == pytest.approx(3, abs=0.25)


def test_many_markets_spread_as_one_would_over_a_year() -> None:
    year = int(YEAR)
    for step in (ANCHOR + year, ANCHOR - year):
        ends = [motion(b"market %d" % n, step) / math.sqrt(year) for n in range(2000)]
        assert pvariance(ends) == pytest.approx(1, abs=0.16)
        assert abs(fmean(ends)) < 5 / math.sqrt(2000)


@pytest.mark.parametrize("level", range(1, module.TOP + 1))
def test_blocks_meet_where_levels_change(level: int) -> None:
    for index in (0, 3, -1) if level < module.TOP else (0,):
        left = module._block(KEY, level, index - 1)
        right = module._block(KEY, level, index)
        assert left[8] == right[0]
    edge = ANCHOR + 3 * 8**level if level < module.TOP else ANCHOR
    assert abs(motion(KEY, edge) - motion(KEY, edge - 1)) < 6


def test_the_variance_across_block_edges_is_that_of_any_step() -> None:
    for size in (8, 64, 512):
        moves = [motion(KEY, e) - motion(KEY, e - 1) for e in range(ANCHOR + size, ANCHOR + 4000 * size, size)]
        assert pvariance(moves) == pytest.approx(1, abs=0.12)


def test_the_ends_of_time() -> None:
    walk = Walk()
    assert motion(KEY, ANCHOR) == 0
    for step in (ANCHOR - SPAN, ANCHOR + SPAN - 1):
        assert walk.price("BTC-USDT", step) > 0
    for step in (ANCHOR - SPAN - 1, ANCHOR + SPAN):
        with pytest.raises(ValueError, match="not within"):
            walk.price("BTC-USDT", step)


def test_seeds_and_assets_differ_and_a_swap_is_its_spot() -> None:
    a, b = Walk(1), Walk(2)
    assert a.price("BTC-USDT", NOW) != b.price("BTC-USDT", NOW)
    assert a.price("BTC-USDT", NOW) == a.price("BTC-USDT-SWAP", NOW) == a.price("BTC/USDC:USDC", NOW)
    assert a.price("QQQ-USDT", ANCHOR) != a.price("QQR-USDT", ANCHOR)
    assert D("0.01") <= a.price("QQQ-USDT", ANCHOR) <= 100


def test_a_cross_pair_leaves_nothing_to_arbitrage() -> None:
    walk = Walk(3)
    for step in range(NOW, NOW + 50):
        implied = walk.price("ETH-USDT", step) / walk.price("BTC-USDT", step)
        assert float(walk.price("ETH-BTC", step) / implied) == pytest.approx(1, abs=1e-4)


def test_volatility_is_annual() -> None:
    walk = Walk(sigma=0.6)
    logs = [math.log(walk.price("BTC-USDT", NOW + 60 * n)) for n in range(20_000)]
    moves = [b - a for a, b in pairwise(logs)]
    assert math.sqrt(pvariance(moves) * YEAR / 60) == pytest.approx(0.6, rel=0.03)
    assert Walk(sigma=0).price("BTC-USDT", NOW) == 60_000


def test_prices_are_on_the_tick() -> None:
    walk = Walk(bases={"NEW": 3.0}, ticks={"NEW-USDT": D("0.25")}, lots={"NEW-USDT": D(7)})
    for step in range(NOW, NOW + 100):
        assert walk.price("NEW-USDT", step) % D("0.25") == 0
    for event in walk.quotes("NEW-USDT", NOW, NOW + 20):
        if isinstance(event, Snapshot):
            assert all(price % D("0.25") == 0 and size % 7 == 0 for price, size in event.bids + event.asks)


@pytest.mark.parametrize("symbol", ["BTC-USDT", "ETH-BTC", "PEPE-USDT", "ODD-USDC"])
def test_the_book_is_a_book_around_the_price(symbol: str) -> None:
    walk = Walk(5)
    events = list(walk.quotes(symbol, NOW, NOW + 300, levels=7))
    assert len(events) == 600
    for book, quote in zip(events[::2], events[1::2], strict=True):
        assert isinstance(book, Snapshot)
        assert isinstance(quote, Quote)
        assert book.time == quote.time == book.update_id == quote.update_id
        bids, asks = [price for price, _ in book.bids], [price for price, _ in book.asks]
        assert len(bids) == len(asks) == 7
        assert bids == sorted(set(bids), reverse=True)
        assert asks == sorted(set(asks))
        assert 0 < bids[-1] < bids[0] <= walk.price(symbol, quote.update_id) <= asks[0]
        assert bids[0] < asks[0]
        assert (quote.bid, quote.bid_size, quote.ask, quote.ask_size) == (*book.bids[0], *book.asks[0])
        assert all(size > 0 for _, size in book.bids + book.asks)
    assert list(walk.quotes(symbol, NOW + 100, NOW + 102, levels=7)) == events[200:204]


def test_the_best_level_is_worth_what_was_asked() -> None:
    quotes = [e for e in Walk().quotes("ETH-BTC", NOW, NOW + 2000, notional=9_000) if isinstance(e, Quote)]
    rate = [Walk().price("ETH-USDT", q.update_id) for q in quotes]
    worth = fmean(float(q.bid_size * price) for q, price in zip(quotes, rate, strict=True))
    assert worth == pytest.approx(9_000, rel=0.03)


def test_a_price_near_one_tick_still_has_a_book() -> None:
    walk = Walk(bases={"DUST": 1e-9}, ticks={"DUST-USDT": D("1e-6")})
    book, quote = islice(walk.quotes("DUST-USDT", NOW, NOW + 1), 2)
    assert isinstance(quote, Quote)
    assert isinstance(book, Snapshot)
    assert walk.price("DUST-USDT", NOW) == quote.bid == D("1e-6")
    assert len(book.bids) == 1


@pytest.mark.parametrize("symbol", ["BTC", "BTC-", "-USDT", "BTC-USDT-PERP", "", "A-B-C"])
def test_what_is_no_symbol(symbol: str) -> None:
    with pytest.raises(ValueError, match="is not a symbol"):
        split(symbol)


def test_what_the_walk_refuses() -> None:
    for sigma in (-1.0, math.nan, math.inf):
        with pytest.raises(ValueError, match="sigma"):
            Walk(sigma=sigma)
    with pytest.raises(ValueError, match="bases"):
        Walk(bases={"BTC": 0.0})
    with pytest.raises(ValueError, match="ticks"):
        Walk(ticks={"BTC-USDT": D(0)})
    for options in ({"levels": 0}, {"levels": 17}, {"spread": -0.1}, {"spread": 0.5}, {"notional": 0.0}):
        with pytest.raises(ValueError, match="out of range"):
            list(Walk().quotes("BTC-USDT", NOW, NOW + 1, **options))  # type: ignore[arg-type]


def test_memory_is_bounded() -> None:
    assert module._block.cache_info().maxsize == 16_384
    walk = Walk()
    for n in range(1_200):
        walk.price(f"X{n}-USDT", NOW)
    assert len(walk._pairs) <= 1_000
