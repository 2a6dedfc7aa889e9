"""The instruments of the paper venue: well-known assets against stable coins, spot and perpetual, plausible rules.

Add others with the setting PAPER_INSTRUMENTS ("FOO-USDT-SWAP=0.01/0.1/5", tick/lot/least notional) or with
`paper.add_instrument`, which keeps them in the account's file.
"""

from __future__ import annotations

import difflib
from decimal import Decimal
from functools import lru_cache

from Execution.common import settings, symbols
from Execution.common.errors import Refused
from Execution.common.precision import ZERO, positive
from Execution.matching.model import Spec

QUOTES = ("USDT", "USDC")
_LEAST_NOTIONAL = Decimal(5)
_LARGEST_SPOT = 10**8  # lots
_LARGEST_SWAP = 10**7

# base: spot tick, spot lot, swap tick, swap lot
_RULES: dict[str, tuple[str, str, str, str]] = {
    "BTC": ("0.01", "0.00001", "0.1", "0.001"),
    "ETH": ("0.01", "0.0001", "0.01", "0.001"),
    "BNB": ("0.01", "0.001", "0.01", "0.01"),
    "SOL": ("0.01", "0.001", "0.01", "0.01"),
    "XRP": ("0.0001", "0.1", "0.0001", "0.1"),
    "DOGE": ("0.00001", "1", "0.00001", "1"),
    "ADA": ("0.0001", "0.1", "0.0001", "1"),
    "AVAX": ("0.01", "0.01", "0.001", "1"),
    "LINK": ("0.01", "0.01", "0.001", "0.01"),
    "DOT": ("0.001", "0.01", "0.001", "0.1"),
    "LTC": ("0.01", "0.001", "0.01", "0.001"),
    "BCH": ("0.1", "0.001", "0.01", "0.001"),
    "TRX": ("0.0001", "0.1", "0.00001", "1"),
    "TON": ("0.001", "0.01", "0.0001", "0.1"),
    "ATOM": ("0.001", "0.01", "0.001", "0.01"),
    "UNI": ("0.001", "0.01", "0.001", "1"),
    "NEAR": ("0.001", "0.1", "0.001", "1"),
    "APT": ("0.001", "0.01", "0.0001", "0.1"),
    "ARB": ("0.0001", "0.1", "0.0001", "0.1"),
    "OP": ("0.001", "0.01", "0.0001", "0.1"),
    "SUI": ("0.0001", "0.1", "0.0001", "0.1"),
    "SRM": ("0.0001", "0.1", "0.0001", "1"),
    "HYPE": ("0.001", "0.01", "0.001", "0.01"),
    "DYDX": ("0.001", "0.01", "0.001", "0.1"),
    "OKB": ("0.01", "0.001", "0.01", "0.01"),
    "GT": ("0.001", "0.01", "0.001", "0.1"),
    "PEPE": ("0.00000001", "1", "0.0000001", "1"),
    "SHIB": ("0.00000001", "1", "0.000000001", "1"),
}
_LEVERAGE = {"BTC": (125, "0.004"), "ETH": (100, "0.005")}
_OTHERS = (50, "0.01")


def default_specs(maker_fee: Decimal, taker_fee: Decimal) -> dict[str, Spec]:
    """Answer the built-in instruments and those of PAPER_INSTRUMENTS, by symbol."""
    found = dict(_built_in(maker_fee, taker_fee))
    for part in settings.get("PAPER_INSTRUMENTS").replace(" ", "").split(","):
        if part:
            spec = _configured(part, maker_fee, taker_fee)
            found[spec.symbol] = spec
    return found


@lru_cache(maxsize=16)
def _built_in(maker_fee: Decimal, taker_fee: Decimal) -> dict[str, Spec]:
    found = {}
    for base, (spot_tick, spot_lot, swap_tick, swap_lot) in _RULES.items():
        for quote in QUOTES:
            for symbol, tick, lot in (
                (f"{base}-{quote}", spot_tick, spot_lot),
                (f"{base}-{quote}-SWAP", swap_tick, swap_lot),
            ):
                found[symbol] = make_spec(symbol, Decimal(tick), Decimal(lot), _LEAST_NOTIONAL, maker_fee, taker_fee)
    return found


def make_spec(
    symbol: str,
    tick: Decimal,
    lot: Decimal,
    min_notional: Decimal,
    maker_fee: Decimal,
    taker_fee: Decimal,
    min_amount: Decimal | None = None,
) -> Spec:
    """Answer the rules of one instrument; what is not said follows from the asset and the market."""
    base, quote, swap = symbols.split(symbol)
    leverage, maintenance = _LEVERAGE.get(base, _OTHERS) if swap else (1, "0")
    return Spec(
        symbol=symbol,
        base=base,
        quote=quote,
        kind="swap" if swap else "spot",
        tick=tick,
        lot=lot,
        min_amount=min_amount or lot,
        max_amount=lot * (_LARGEST_SWAP if swap else _LARGEST_SPOT),
        min_notional=min_notional,
        maker_fee=maker_fee,
        taker_fee=taker_fee,
        max_leverage=leverage,
        maintenance_rate=Decimal(maintenance),
    )


def _configured(part: str, maker_fee: Decimal, taker_fee: Decimal) -> Spec:
    name, _, rules = part.partition("=")
    texts = rules.split("/")
    try:
        symbol = symbols.normalize(name)
        tick, lot = positive(texts[0], "tick"), positive(texts[1], "lot")
        least = positive(texts[2], "least notional") if len(texts) > 2 else ZERO
    except (Refused, IndexError):
        raise Refused(
            "CONFIGURATION", f"PAPER_INSTRUMENTS must be like 'FOO-USDT-SWAP=0.01/0.1/5', not {part!r:.80}"
        ) from None
    return make_spec(symbol, tick, lot, least, maker_fee, taker_fee)


def unknown(symbol: str, known: dict[str, Spec]) -> Refused:
    """Answer the refusal of a symbol that is not traded here, with near matches."""
    near = difflib.get_close_matches(symbol, list(known), n=3)
    hint = f"; near: {', '.join(near)}" if near else ""
    return Refused("INVALID_SYMBOL", f"paper has no instrument {symbol}{hint}")
