"""The PAPER_* settings of one account, read and checked once, at the account's first use."""

from __future__ import annotations

from decimal import Decimal
from typing import Literal

import msgspec

from Execution.common import settings
from Execution.common.errors import Refused
from Execution.common.precision import number_of, positive


class Config(msgspec.Struct, frozen=True):
    """How an account trades. Fees and rates are fractions of notional, delays and intervals seconds."""

    path: str
    source: str
    seed: int
    balances: dict[str, Decimal]
    position_mode: Literal["net", "hedge"]
    leverage: int
    maker_fee: Decimal
    taker_fee: Decimal
    order_delay: float
    cancel_delay: float
    funding_rate: Decimal
    funding_interval: float
    default_market: str
    durability: str
    timeout: float


def read(alias: str) -> Config:
    """Answer the settings of the account in force; PAPER_<ALIAS>_X goes before PAPER_X.

    Raises:
        Refused: CONFIGURATION, naming the setting and its value.
    """
    market = settings.choice("PAPER_DEFAULT_MARKET", ("spot", "swap"), value=_text("DEFAULT_MARKET") or "spot")
    mode = settings.choice("PAPER_POSITION_MODE", ("net", "hedge"), value=_text("POSITION_MODE"))
    return Config(
        path=_path(alias),
        source=_text("SOURCE").strip(),
        seed=int(_number("SEED")),
        balances=parse_balances(_text("BALANCES")),
        position_mode="hedge" if mode == "hedge" else "net",
        leverage=int(_number("LEVERAGE", least=1)),
        maker_fee=_fraction("MAKER_FEE"),
        taker_fee=_fraction("TAKER_FEE"),
        order_delay=_number("ORDER_DELAY"),
        cancel_delay=_number("CANCEL_DELAY"),
        funding_rate=_fraction("FUNDING_RATE"),
        funding_interval=_number("FUNDING_INTERVAL", least=1),
        default_market=market,
        durability=settings.choice("EXECUTION_DURABILITY", ("NORMAL", "FULL")),
        timeout=settings.number("EXECUTION_STORE_TIMEOUT"),
    )


def parse_balances(text: str) -> dict[str, Decimal]:
    """Answer "USDT=100000,BTC=1" as exact amounts by asset.

    Raises:
        Refused: CONFIGURATION, naming the text.
    """
    found: dict[str, Decimal] = {}
    for part in str(text).replace(" ", "").split(","):
        asset, _, amount = part.partition("=")
        if not (asset.isascii() and asset.isalnum()) or asset.upper() in found:
            raise _unreadable(text)
        try:
            found[asset.upper()] = positive(amount, "amount")
        except Refused:
            raise _unreadable(text) from None
    return found


def _unreadable(text: object) -> Refused:
    return Refused("CONFIGURATION", f"PAPER_BALANCES must be like 'USDT=100000,BTC=1', not {text!r:.120}")


def _text(name: str) -> str:
    return settings.for_account("paper", name)


def _number(name: str, *, least: float = 0.0) -> float:
    return settings.number(f"PAPER_{name}", least=least, value=_text(name))


def _fraction(name: str) -> Decimal:
    text = _text(name)
    try:
        value = number_of(text, f"PAPER_{name}")
    except Refused as error:
        raise Refused("CONFIGURATION", error.message) from None
    if not -1 < value < 1:
        raise Refused("CONFIGURATION", f"PAPER_{name} must be a fraction between -1 and 1, not {text!r:.60}")
    return value


def _path(alias: str) -> str:
    if not alias:
        return settings.database("PAPER_STORE", "paper.db")
    if settings.get(f"PAPER_{alias.upper()}_STORE"):
        return settings.database(f"PAPER_{alias.upper()}_STORE", "")
    shared = settings.database("PAPER_STORE", "paper.db")
    return shared if shared == ":memory:" else f"{shared.removesuffix('.db')}-{alias}.db"
