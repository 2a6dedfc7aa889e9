"""Symbols: "BTC-USDT" is spot, "BTC-USDT-SWAP" the linear perpetual; ccxt's spellings are read too."""

from __future__ import annotations

import re
from functools import lru_cache

from Execution.common.errors import Refused

_PART = r"[A-Z0-9$@.]{1,24}"
_UNIFIED = re.compile(rf"({_PART})-({_PART})(-SWAP)?")
_CCXT = re.compile(rf"({_PART})/({_PART})(?::({_PART}))?")


def normalize(symbol: object, default_market: str = "spot") -> str:
    """Answer the unified symbol.

    Args:
        symbol: "BTC-USDT", "BTC-USDT-SWAP", "BTC/USDT" or "BTC/USDT:USDT", in any case.
        default_market: what the short form means: "spot" or "swap".

    Raises:
        Refused: INVALID_SYMBOL, naming what was given.
    """
    if not isinstance(symbol, str):
        raise Refused("INVALID_SYMBOL", f"symbol must be text such as 'BTC-USDT', not {symbol!r:.60}")
    return _normalize(symbol, default_market)


@lru_cache(maxsize=4096)
def _normalize(symbol: str, default_market: str) -> str:
    text = symbol.strip().upper()
    if match := _UNIFIED.fullmatch(text):
        base, quote, swap = match.groups()
        return f"{base}-{quote}-SWAP" if swap or default_market == "swap" else f"{base}-{quote}"
    if match := _CCXT.fullmatch(text):
        base, quote, settle = match.groups()
        if settle not in (None, quote):
            raise Refused(
                "INVALID_SYMBOL", f"symbol {symbol!r:.60} is an inverse contract; only linear ones are traded"
            )
        return f"{base}-{quote}-SWAP" if settle or default_market == "swap" else f"{base}-{quote}"
    raise Refused("INVALID_SYMBOL", f"symbol {symbol!r:.60} is not of the form 'BTC-USDT' or 'BTC-USDT-SWAP'")


def split(symbol: str) -> tuple[str, str, bool]:
    """Answer (base, quote, is_swap) of a unified symbol."""
    parts = symbol.split("-")
    return parts[0], parts[1], len(parts) == 3


def is_swap(symbol: str) -> bool:
    """Tell whether a unified symbol is a perpetual."""
    return symbol.endswith("-SWAP")
