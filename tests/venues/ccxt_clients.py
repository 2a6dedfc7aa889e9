"""ccxt's own clients of the local venue servers: somebody else's word for what the servers speak."""

from __future__ import annotations

import os
import re
from typing import Any

import ccxt

PASSPHRASE = {"okx": "OKX_PASSPHRASE"}
ADDRESSES = {
    "okx": {"": "OKX_BASE_URL"},
    "gate": {"": "GATE_BASE_URL"},
    "binance": {"": "BINANCE_SPOT_BASE_URL", "fapi": "BINANCE_FUTURES_BASE_URL"},
}
OPTIONS: dict[str, dict[str, Any]] = {
    "okx": {"fetchMarkets": {"types": ["spot", "swap"]}},
    "gate": {"fetchMarkets": {"types": ["spot", "swap"]}, "swap": {"fetchMarkets": {"settlementCurrencies": ["usdt"]}}},
    "binance": {"fetchMarkets": {"types": ["spot", "linear"]}},
}


def client(venue: str) -> Any:
    """Answer a ccxt client with the keys and addresses of the environment; it knows no markets yet."""
    config = {
        "apiKey": os.environ[f"{venue.upper()}_API_KEY"],
        "secret": os.environ[f"{venue.upper()}_API_SECRET"],
        "options": {"defaultType": "swap", **OPTIONS[venue]},
        "enableRateLimit": False,
    }
    if venue in PASSPHRASE:
        config["password"] = os.environ[PASSPHRASE[venue]]
    found = getattr(ccxt, venue)(config)
    found.has["fetchCurrencies"] = False
    found.urls["api"] = {name: _redirected(value, venue, name) for name, value in found.urls["api"].items()}
    return found


def _redirected(value: Any, venue: str, name: str) -> Any:
    """Put the address of our server before the path of each of ccxt's."""
    if isinstance(value, dict):
        return {key: _redirected(each, venue, name) for key, each in value.items()}
    table = ADDRESSES[venue]
    setting = next((table[prefix] for prefix in sorted(table, reverse=True) if name.startswith(prefix)), table[""])
    base = re.match(r"https?://[^/]+", os.environ[setting])
    assert base is not None
    return re.sub(r"^https?://[^/]+", base[0], value)
