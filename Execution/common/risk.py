"""The nouns of risk: what may be done, what is asked, what is known, and the judgement.

Amounts are base units, prices quote per base, money is in the account's currency, ratios are fractions.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Literal, get_args

import msgspec

ZERO = Decimal(0)
ONE = Decimal(1)

RiskCode = Literal[
    "ACCOUNT_UNREADABLE",
    "DAILY_LOSS",
    "LEVERAGE",
    "LOSS_RATIO",
    "NO_MARK",
    "OPEN_ORDERS",
    "ORDERS_PER_DAY",
    "ORDERS_PER_MINUTE",
    "ORDER_NOTIONAL",
    "POSITION_SIZE",
    "PRICE_COLLAR",
    "STATE_STALE",
    "STOP_SIDE",
    "SYMBOL_NOTIONAL",
    "SYMBOL_NOT_ALLOWED",
    "UNRESOLVED_ORDER",
]
RISK_CODES: tuple[str, ...] = get_args(RiskCode)
Level = Literal["low", "medium", "high"]
AccountLevel = Literal["safe", "warning", "danger"]
_MEDIUM, _HIGH = Decimal("0.5"), Decimal("0.8")


class Limits(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """What an order may do. None = no such limit.

    `max_position_size`, `max_loss_ratio` and `price_collar` are fractions (of equity, of the day's first equity, of
    the mark); notionals and `max_daily_loss` are money.
    """

    max_position_size: Decimal | None = None
    max_loss_ratio: Decimal | None = None
    price_collar: Decimal | None = None
    max_order_notional: Decimal | None = None
    max_symbol_notional: Decimal | None = None
    max_open_orders: int | None = None
    max_orders_per_minute: int | None = None
    max_orders_per_day: int | None = None
    max_daily_loss: Decimal | None = None
    max_leverage: Decimal | None = None
    allowed_symbols: frozenset[str] | None = None
    block_unresolved: bool = False


class Thresholds(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """From where on an account is in warning or in danger: fractions, each danger >= its warning."""

    warning_margin_ratio: Decimal
    danger_margin_ratio: Decimal
    warning_drawdown: Decimal
    danger_drawdown: Decimal
    warning_unrealized_loss: Decimal
    danger_unrealized_loss: Decimal


class AccountState(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """What an account is judged by. `margin_ratio` = maintenance margin / equity."""

    equity: Decimal
    day_start_equity: Decimal | None
    unrealized_pnl: Decimal = ZERO
    margin_ratio: Decimal = ZERO


class OrderView(msgspec.Struct, frozen=True, gc=False):
    """What the rules look at in an order. `leverage` is what was asked for with it, or None."""

    exchange: str
    symbol: str
    side: str
    type: str
    amount: Decimal
    price: Decimal | None = None
    stop_price: Decimal | None = None
    reduce_only: bool = False
    leverage: Decimal | None = None


class RiskState(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """What is known when an order is judged. None = not known.

    `position` is signed; `open_buys` and `open_sells` are what open orders that are not reduce-only may still fill.
    `rate` is the price of the quote currency in the account's currency. `other_notional` is the money in positions
    of other symbols.
    """

    equity: Decimal | None = None
    day_start_equity: Decimal | None = None
    mark: Decimal | None = None
    bid: Decimal | None = None
    ask: Decimal | None = None
    position: Decimal = ZERO
    open_buys: Decimal = ZERO
    open_sells: Decimal = ZERO
    open_orders: int = 0
    orders_last_minute: int = 0
    orders_today: int = 0
    unresolved: int = 0
    leverage: Decimal | None = None
    other_notional: Decimal = ZERO
    rate: Decimal | None = ONE
    trouble: str = ""


class Verdict(msgspec.Struct, frozen=True, gc=False):
    """The judgement of one order. `position_after` is money: the worst case position at the mark."""

    allowed: bool
    code: str = ""
    reason: str = ""
    notional: Decimal = ZERO
    position_after: Decimal = ZERO
    equity: Decimal | None = None
    limit: Decimal | None = None
    reducing: bool = False
    details: dict[str, Any] | None = None

    @property
    def fraction(self) -> Decimal | None:
        """The worst case position as a fraction of equity."""
        return self.position_after / self.equity if self.equity else None

    @property
    def risk_level(self) -> Level:
        """high: denied, or 0.8 of the position limit used; medium: 0.5 of it."""
        if not self.allowed:
            return "high"
        if self.reducing or self.limit is None or not self.equity:
            return "low"
        used = self.position_after / (self.equity * self.limit)
        return "high" if used >= _HIGH else "medium" if used >= _MEDIUM else "low"

    @property
    def numbers(self) -> dict[str, Any]:
        """The numbers behind the judgement, as floats."""
        if self.allowed:
            equity, fraction = self.equity, self.fraction
            return {
                "notional": float(self.notional),
                "position_after": None if fraction is None else float(fraction),
                "equity": None if equity is None else float(equity),
            }
        return {name: _public(value) for name, value in (self.details or {}).items()}

    def to_dict(self) -> dict[str, Any]:
        """Answer the judgement as a public dict."""
        return {
            "allowed": self.allowed,
            "reason": self.reason,
            "risk_level": self.risk_level,
            "code": self.code,
            "numbers": self.numbers,
            "reducing": self.reducing,
        }


def _public(value: Any) -> Any:
    return float(value) if isinstance(value, Decimal) else value


def denied(code: str, reason: str, **details: Any) -> Verdict:
    """Answer a refusal with its code, one sentence and the numbers."""
    return Verdict(False, code, reason, details=details)
