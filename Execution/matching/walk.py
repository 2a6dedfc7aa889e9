"""A market that any process can look up: a seeded random walk, the same for everyone, at any second, without history.

The logarithm of each asset is a Brownian motion, built by halving: between two known points the middle is their mean
plus a Gaussian that depends on nothing but seed, asset and place. One hash decides the seven points inside a block of
eight, so a second is a dozen hashes away from nothing, and one from its neighbour.

    walk = Walk(seed=7)
    walk.price("BTC-USDT-SWAP", int(time.time()))
    for event in walk.quotes("BTC-USDT", start, stop):
        event.apply(engine, "BTC-USDT")

Every pair follows from the dollar prices of its two assets: ETH-BTC is ETH-USDT over BTC-USDT, and a swap is its spot.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from decimal import Decimal
from functools import lru_cache
from hashlib import blake2b
from statistics import NormalDist
from struct import Struct as Packing
from types import MappingProxyType
from typing import Final

from Execution.matching.events import Levels, Quote, Snapshot

ANCHOR: Final = 1_735_689_600  # 2025-01-01 UTC, where every price is its base
TOP: Final = 11
SPAN: Final = 8**TOP  # 272 years to either side
YEAR: Final = 365.25 * 86_400
DOLLARS: Final = frozenset(("USD", "USDT", "USDC", "DAI", "FDUSD", "TUSD", "BUSD", "USDE"))
BASES: Final[Mapping[str, float]] = MappingProxyType(
    {
        "BTC": 60_000.0, "ETH": 2_600.0, "BNB": 550.0, "SOL": 150.0, "XRP": 0.6, "DOGE": 0.12, "ADA": 0.4,
        "AVAX": 27.0, "LINK": 12.0, "DOT": 5.0, "LTC": 65.0, "BCH": 350.0, "TRX": 0.14, "TON": 6.0, "ATOM": 5.5,
        "UNI": 7.0, "NEAR": 4.5, "APT": 7.0, "ARB": 0.6, "OP": 1.6, "SUI": 1.2, "SRM": 0.04, "HYPE": 20.0,
        "DYDX": 1.1, "OKB": 40.0, "GT": 8.0, "PEPE": 0.00001, "SHIB": 0.000015,
    }
)  # fmt: skip

_SEVEN = Packing(">7Q").unpack
_SIZES = Packing(">32H").unpack
_gauss = NormalDist().inv_cdf
Block = tuple[float, ...]


def _normals(key: bytes, level: int, index: int) -> Block:
    words = _SEVEN(blake2b(b"%d/%d" % (level, index), digest_size=56, key=key).digest())
    return tuple([_gauss(((word >> 12) + 0.5) * 2.0**-52) for word in words])


@lru_cache(maxsize=16_384)
def _block(key: bytes, level: int, index: int) -> Block:
    """The motion at the nine points that divide the `index`-th stretch of 8**level seconds from the anchor."""
    if level == TOP:
        far = math.sqrt(SPAN) * _normals(key, TOP + 1, index)[0]
        first, last = (0.0, far) if index == 0 else (far, 0.0)
    else:
        parent = _block(key, level + 1, index >> 3)
        first, last = parent[index & 7], parent[(index & 7) + 1]
    unit = math.sqrt(8.0**level) / 2
    n = _normals(key, level, index)
    middle = (first + last) / 2 + unit * n[0]
    half = unit * math.sqrt(0.5)
    early, late = (first + middle) / 2 + half * n[1], (middle + last) / 2 + half * n[2]
    quarter = unit / 2
    return (
        first,
        (first + early) / 2 + quarter * n[3],
        early,
        (early + middle) / 2 + quarter * n[4],
        middle,
        (middle + late) / 2 + quarter * n[5],
        late,
        (late + last) / 2 + quarter * n[6],
        last,
    )


def motion(key: bytes, step: int) -> float:
    """Standard Brownian motion at a whole second since 1970: zero at the anchor, variance 1 per second."""
    place = step - ANCHOR
    if not -SPAN <= place < SPAN:
        raise ValueError(f"step {step} is not within {SPAN} s of {ANCHOR}")
    return _block(key, 1, place >> 3)[place & 7]


class _Pair:
    """What a symbol is made of, worked out once."""

    def __init__(self, walk: Walk, symbol: str) -> None:
        base, quote = split(symbol)
        self.keys = walk.key(base), b"" if quote in DOLLARS else walk.key(quote)
        self.sizes = walk.key(f"sizes of {base}-{quote}")
        self.dollars = walk.base(base)
        self.base = self.dollars / (1.0 if quote in DOLLARS else walk.base(quote))
        self.tick = walk.ticks.get(symbol) or _power(math.floor(math.log10(self.base)) - 5)
        self.lot = walk.lots.get(symbol) or _power(math.floor(1 - math.log10(self.dollars)))
        self.tick_float, self.lot_float = float(self.tick), float(self.lot)


class Walk:
    """A seeded market. Two of them with the same arguments agree on everything, wherever they run.

    Args:
        seed: Which of the possible markets.
        sigma: Annual volatility of the logarithm of every price, 0.6 = 60 %.
        bases: Dollar prices at the anchor by asset, in place of the built-in ones.
        ticks: Price steps by symbol; by default five digits below the first one of the base price.
        lots: Amount steps by symbol; by default about ten dollars or less.
    """

    def __init__(
        self,
        seed: int = 0,
        *,
        sigma: float = 0.6,
        bases: Mapping[str, float] = MappingProxyType({}),
        ticks: Mapping[str, Decimal] = MappingProxyType({}),
        lots: Mapping[str, Decimal] = MappingProxyType({}),
    ) -> None:
        if not (0 <= sigma < math.inf and all(math.isfinite(base) and base > 0 for base in bases.values())):
            raise ValueError(f"sigma {sigma} must not be negative, bases must be greater than zero: {dict(bases)}")
        if not all(step > 0 for step in (*ticks.values(), *lots.values())):
            raise ValueError("ticks and lots must be greater than zero")
        self.seed, self.sigma = seed, sigma
        self.ticks, self.lots = ticks, lots
        self._bases = {**BASES, **bases}
        self._scale = sigma / math.sqrt(YEAR)
        self._pairs: dict[str, _Pair] = {}

    def price(self, symbol: str, step: int) -> Decimal:
        """The price at a whole second since 1970, rounded to the tick."""
        pair = self._pair(symbol)
        return max(1, round(self._value(pair, step) / pair.tick_float)) * pair.tick

    def quotes(
        self, symbol: str, start: int, stop: int, *, levels: int = 5, spread: float = 1e-4, notional: float = 50_000.0
    ) -> Iterator[Snapshot | Quote]:
        """Give the book, then its best bid and ask, for every second from `start` up to but not including `stop`.

        Args:
            levels: Levels on each side, 1 to 16, half a spread apart.
            spread: Distance from best bid to best ask as a fraction of price; never less than a tick.
            notional: Dollars on the best level on average; each level further out holds one more of it.
        """
        if not (1 <= levels <= 16 and 0 <= spread < 0.1 and notional > 0):
            raise ValueError(f"levels {levels}, spread {spread} or notional {notional} is out of range")
        pair = self._pair(symbol)
        for step in range(start, stop):
            bids, asks = self._ladder(pair, step, levels, spread, notional)
            yield Snapshot(float(step), step, bids, asks)
            yield Quote(float(step), step, *bids[0], *asks[0])

    def key(self, name: str) -> bytes:
        return blake2b(f"{self.seed}/{name}".encode(), digest_size=16).digest()

    def base(self, asset: str) -> float:
        """The dollar price of an asset at the anchor: well known, given, or between 0.01 and 100 by its name."""
        known = self._bases.get(asset)
        return known if known is not None else float(10.0 ** (4 * _uniform(asset) - 2))

    def _pair(self, symbol: str) -> _Pair:
        pair = self._pairs.get(symbol)
        if pair is None:
            if len(self._pairs) >= 1_000:
                self._pairs.clear()
            pair = self._pairs[symbol] = _Pair(self, symbol)
        return pair

    def _value(self, pair: _Pair, step: int) -> float:
        base, quote = pair.keys
        moved = motion(base, step) - (motion(quote, step) if quote else 0.0)
        return pair.base * math.exp(self._scale * moved)

    def _ladder(self, pair: _Pair, step: int, levels: int, spread: float, notional: float) -> tuple[Levels, Levels]:
        value, tick, lot = self._value(pair, step), pair.tick, pair.lot
        ticks = value / pair.tick_float
        apart = max(1, round(ticks * spread / 2))
        bid = max(1, math.floor(ticks * (1 - spread / 2)))
        ask = max(bid + 1, math.ceil(ticks * (1 + spread / 2)))
        dollars = pair.dollars * math.exp(self._scale * motion(pair.keys[0], step))
        lots = notional / (dollars * pair.lot_float) / 65_536
        dice = _SIZES(blake2b(b"%d" % step, key=pair.sizes).digest())
        sizes = [max(1, round(lots * (die + 32_768) * (n // 2 + 1))) * lot for n, die in enumerate(dice[: 2 * levels])]
        bids = [((bid - n * apart) * tick, sizes[2 * n]) for n in range(levels) if bid > n * apart]
        asks = [((ask + n * apart) * tick, sizes[2 * n + 1]) for n in range(levels)]
        return bids, asks


def split(symbol: str) -> tuple[str, str]:
    """Base and quote of "BTC-USDT", "BTC-USDT-SWAP" or "BTC/USDT:USDT"."""
    pair = symbol.partition(":")[0].removesuffix("-SWAP").replace("/", "-").split("-")
    if len(pair) != 2 or not all(pair):
        raise ValueError(f"{symbol!r} is not a symbol like BTC-USDT or BTC-USDT-SWAP")
    return pair[0], pair[1]


def _power(exponent: int) -> Decimal:
    return Decimal(10**exponent) if exponent > 0 else Decimal((0, (1,), exponent))


def _uniform(name: str) -> float:
    return int.from_bytes(blake2b(name.encode(), digest_size=6).digest()) / 2.0**48
