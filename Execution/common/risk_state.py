"""What risk knows of an account and a symbol, parsed from the venue's answers; nothing here asks anybody."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

import msgspec

from Execution.common.book import leg_of
from Execution.common.errors import Refused
from Execution.common.order import OrderRecord, terms_of
from Execution.common.precision import exact, positive
from Execution.common.risk import ONE, ZERO, AccountState
from Execution.common.risk_rules import drawdown, unrealized_loss
from Execution.common.types import ORDER_TYPES, SIDES, AccountInfo, Position, Ticker

USD_LIKE = frozenset(("USD", "USDT", "USDC", "BUSD", "DAI", "FDUSD", "TUSD", "USDE", "USDP", "PYUSD"))
"""Currencies counted as one dollar when a symbol's quote and the account's currency differ."""

METRICS = (
    "total_equity",
    "available",
    "used_margin",
    "maintenance_margin",
    "margin_ratio",
    "unrealized_pnl",
    "day_start_equity",
    "drawdown",
    "unrealized_loss",
    "gross_notional",
    "currency",
)


class Quote(msgspec.Struct, frozen=True, gc=False):
    """Best prices and mark as exact numbers, and when they were read. `raw` is what they were parsed from."""

    bid: Decimal | None
    ask: Decimal | None
    mark: Decimal | None
    read: float
    raw: tuple[float | None, float | None, float | None] = (None, None, None)


class Account(msgspec.Struct, kw_only=True):
    """An account when it was read. `equity` None: it could not be read, and `trouble` says why.

    `filled` and `load` are the book's sums of fills after the read; `doubt` holds the fills that the book learned of
    while it was read, which the venue's positions may hold already or not.
    """

    equity: Decimal | None = None
    day_start_equity: Decimal | None = None
    info: AccountInfo | None = None
    currency: str = ""
    hedge: bool = False
    longs: dict[str, Decimal] = {}
    shorts: dict[str, Decimal] = {}
    notionals: dict[str, Decimal] = {}
    leverages: dict[str, Decimal] = {}
    gross: Decimal = ZERO
    read: float = 0.0
    load: int = 0
    filled: dict[str, Decimal] = {}
    doubt: dict[str, Decimal] = {}
    trouble: str = ""

    def position(self, symbol: str, side: str, filled: Mapping[str, Decimal]) -> Decimal:
        """Answer the signed position that an order of `side` is judged by; where fills are in doubt, the worse one.

        In hedge mode an order that is not reduce-only always opens, so that it is judged by its own leg, enlarged by
        what opened there since; what closed counts when the account is read again.
        """
        name = leg_of(symbol, side) if self.hedge else symbol
        moved = filled.get(name, ZERO) - self.filled.get(name, ZERO)
        doubt = self.doubt.get(name, ZERO) if self.doubt else ZERO
        long, short = self.longs.get(symbol, ZERO), self.shorts.get(symbol, ZERO)
        if self.hedge:
            return long + moved + doubt if side == "buy" else -short - moved - doubt
        return long - short + moved + (max(doubt, ZERO) if side == "buy" else min(doubt, ZERO))

    def judged(self) -> AccountState:
        """Answer what its level depends on."""
        info = self.info
        assert info is not None
        assert self.equity is not None
        return AccountState(
            equity=self.equity,
            day_start_equity=self.day_start_equity,
            unrealized_pnl=money(info["unrealized_pnl"]) or ZERO,
            margin_ratio=money(info["margin_ratio"]) or ZERO,
        )


class Snapshot(msgspec.Struct, frozen=True):
    """What is known before an order is judged. `rate`: quote currency in the account's currency, None = not known."""

    exchange: str
    symbol: str
    account: Account
    quote: Quote
    rate: Decimal | None = ONE
    trouble: str = ""

    @property
    def mark(self) -> Decimal | None:
        """The mark price."""
        return self.quote.mark

    @property
    def equity(self) -> Decimal | None:
        """The account's equity."""
        return self.account.equity


def money(value: float | None) -> Decimal | None:
    """Answer a public number exactly; None where there is none or it is not finite."""
    return exact(value) if value is not None and math.isfinite(value) else None


def price(value: float | None) -> Decimal | None:
    """Answer a public price exactly; None where there is none."""
    return exact(value) if value and 0 < value < math.inf else None


def parse_quote(ticker: Ticker, now: float, before: Quote | None) -> Quote:
    """Answer a ticker as exact numbers; prices that did not change are not parsed again."""
    raw = ticker["bid"], ticker["ask"], ticker["mark"]
    if before is not None and before.raw == raw:
        return Quote(before.bid, before.ask, before.mark, now, raw)
    return Quote(price(raw[0]), price(raw[1]), price(raw[2]), now, raw)


def parse_account(info: AccountInfo, positions: Iterable[Position], **more: Any) -> Account:
    """Answer an account and its positions as exact numbers."""
    equity = money(info["total_equity"])
    account = Account(
        equity=equity,
        info=info,
        currency=info["currency"],
        hedge=info["position_mode"] == "hedge",
        trouble="" if equity is not None else f"its equity is {info['total_equity']}",
        **more,
    )
    for position in positions:
        if position["side"] != "none":
            _add(account, position)
    return account


def _add(account: Account, position: Position) -> None:
    symbol = position["symbol"]
    legs = account.longs if position["side"] == "long" else account.shorts
    legs[symbol] = legs.get(symbol, ZERO) + exact(position["size"])
    notional = abs(money(position["notional"]) or ZERO)
    account.notionals[symbol] = account.notionals.get(symbol, ZERO) + notional
    account.gross += notional
    leverage = money(position["leverage"])
    if leverage is not None:
        account.leverages[symbol] = max(leverage, account.leverages.get(symbol, ZERO))


def metrics_of(account: Account) -> dict[str, Any]:
    """Answer the public metrics of an account; None for each where it could not be read."""
    info, equity = account.info, account.equity
    if info is None or equity is None:
        return dict.fromkeys(METRICS)
    start = account.day_start_equity
    return {
        **{name: info[name] for name in METRICS[:6]},  # type: ignore[literal-required]
        "day_start_equity": None if start is None else float(start),
        "drawdown": float(drawdown(equity, start)),
        "unrealized_loss": float(unrealized_loss(equity, money(info["unrealized_pnl"]) or ZERO)),
        "gross_notional": float(account.gross),
        "currency": info["currency"],
    }


def doubtful(before: Mapping[str, Decimal], after: Mapping[str, Decimal]) -> dict[str, Decimal]:
    """Answer what was filled between two looks at the book's sums."""
    return {s: total - before.get(s, ZERO) for s, total in after.items() if total != before.get(s, ZERO)}


def same_money(one: str, other: str) -> bool:
    """Tell whether two currencies count one for one."""
    return one == other or (one in USD_LIKE and other in USD_LIKE)


def rate_symbols(quote: str, currency: str) -> list[str]:
    """Answer the symbols that may tell the price of `quote` in `currency`, the best first."""
    settle = [currency, "USDT", "USDC", "USD"] if currency in USD_LIKE else [currency]
    return [f"{quote}-{name}" for name in dict.fromkeys(settle)]


def order_of(
    exchange: str,
    symbol: str,
    side: str,
    amount: Any,
    price: Any,
    order_type: str | None,
    stop_price: Any,
    reduce_only: bool,
    leverage: Any,
) -> OrderRecord:
    """Answer a checked order that is in no book; exchange and symbol are unified names.

    Raises:
        Refused: INVALID_ORDER, naming the field and the value.
    """
    kind = order_type or ("market" if price is None else "limit")
    for field, value, allowed in (("side", side, SIDES), ("order_type", kind, ORDER_TYPES)):
        if value not in allowed:
            raise Refused("INVALID_ORDER", f"{field} must be one of {', '.join(allowed)}, not {value!r:.40}")
    if kind == "limit" and price is None:
        raise Refused("INVALID_ORDER", "a limit order needs a price")
    if kind in ("stop", "take_profit") and stop_price is None:
        raise Refused("INVALID_ORDER", f"a {kind} order needs a stop_price")
    return OrderRecord(
        client_order_id="",
        exchange=exchange,
        symbol=symbol,
        side=side,
        type=kind,
        amount=positive(amount, "amount"),
        price=None if price is None else positive(price, "price"),
        stop_price=None if stop_price is None else positive(stop_price, "stop_price"),
        terms=terms_of("GTC", False, bool(reduce_only)),
        options=None if leverage is None else {"leverage": positive(leverage, "leverage")},
    )
