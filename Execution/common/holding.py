"""Positions as exact numbers: value and profit, alone and added up. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Any

import msgspec

from Execution.common.precision import ZERO, Rules, exact
from Execution.common.symbols import split
from Execution.common.types import Position


class Holding(msgspec.Struct, frozen=True, kw_only=True):
    """One position, or one leg in hedge mode; `size` >= 0 in base units. None = not known."""

    symbol: str
    side: str
    size: Decimal
    entry_price: Decimal | None = None
    mark_price: Decimal | None = None
    liquidation_price: Decimal | None = None
    unrealized_pnl: Decimal = ZERO
    notional: Decimal = ZERO
    realized_pnl: Decimal = ZERO
    leverage: Decimal = Decimal(1)
    margin: Decimal = ZERO
    margin_mode: str = ""


def notional(size: Decimal, price: Decimal) -> Decimal:
    """Answer the value of a position in quote."""
    return size * price


def unrealized_pnl(side: str, size: Decimal, entry: Decimal, mark: Decimal) -> Decimal:
    """Answer the open profit of a position in quote; a loss is below zero."""
    return size * (mark - entry) if side == "long" else size * (entry - mark)


def is_too_small(amount: Decimal, rules: Rules, price: Decimal | None) -> bool:
    """Tell whether so much of a spot holding is less than the smallest order; without a price by the amount alone."""
    return amount <= 0 or amount < rules.min_amount or (price is not None and amount * price < rules.min_notional)


def signed_size(side: str, size: Decimal) -> Decimal:
    """Answer the size, below zero for a short."""
    return -size if side == "short" else size


def holding_of(position: Position) -> Holding:
    """Answer a venue's position, with value and profit computed wherever entry and mark allow it."""
    holding = Holding(
        symbol=position["symbol"],
        side=position["side"],
        size=exact(position["size"]) if position["side"] != "none" else ZERO,
        entry_price=_price(position["entry_price"]),
        liquidation_price=_price(position["liquidation_price"]),
        unrealized_pnl=exact(position["unrealized_pnl"]),
        notional=abs(exact(position["notional"])),
        realized_pnl=exact(position["realized_pnl"]),
        leverage=exact(position["leverage"] or 1),
        margin=exact(position["margin"]),
        margin_mode=position["margin_mode"],
    )
    mark = _price(position["mark_price"])
    return holding if mark is None else with_mark(holding, mark)


def with_mark(holding: Holding, mark: Decimal) -> Holding:
    """Answer a position valued at a mark price."""
    entry = holding.entry_price
    profit = holding.unrealized_pnl if entry is None else unrealized_pnl(holding.side, holding.size, entry, mark)
    value = notional(holding.size, mark)
    return msgspec.structs.replace(holding, mark_price=mark, notional=value, unrealized_pnl=profit)


def as_dict(holding: Holding) -> dict[str, Any]:
    """Answer a position as a public dict."""
    return {key: _public(value) for key, value in msgspec.structs.asdict(holding).items()}


def flat(symbol: str) -> dict[str, Any]:
    """Answer the public dict of no position."""
    return as_dict(Holding(symbol=symbol, side="none", size=ZERO))


def totals(holdings: Iterable[Holding]) -> dict[str, dict[str, float]]:
    """Add positions up by their quote currency."""
    sums: dict[str, dict[str, Decimal]] = {}
    for holding in holdings:
        group = sums.setdefault(split(holding.symbol)[1], dict.fromkeys(_SUMS, ZERO))
        signed = signed_size(holding.side, holding.notional)
        group["count"] += 1
        group[f"{holding.side}_notional"] += holding.notional
        group["gross_notional"] += holding.notional
        group["net_notional"] += signed
        group["unrealized_pnl"] += holding.unrealized_pnl
        group["margin"] += holding.margin
    return {quote: {name: float(value) for name, value in group.items()} for quote, group in sums.items()}


_SUMS = (
    "count",
    "long_notional",
    "short_notional",
    "gross_notional",
    "net_notional",
    "unrealized_pnl",
    "margin",
)


def _price(value: float | None) -> Decimal | None:
    return exact(value) if value else None


def _public(value: Any) -> Any:
    return float(value) if isinstance(value, Decimal) else value
