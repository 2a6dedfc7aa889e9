"""What one account owns and owes: balances, locks, and per perpetual its positions and open-order sums.

All sums are kept up to date as orders come and go; nothing here loops over orders.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Literal

import msgspec

from .exact import ONE, SHOWN, ZERO, ratio_up, share
from .model import AccountState, Order, Position, Side

if TYPE_CHECKING:
    from .book import Book


class OpenSide(msgspec.Struct, gc=False):
    """Sum over the live, position-increasing orders of one side."""

    amount: Decimal = ZERO
    notional: Decimal = ZERO


class Exposure:
    """One account's dealings in one perpetual."""

    __slots__ = (
        "book", "buys", "hedged", "high", "leverage", "low", "margin_rate", "owner", "positions", "reducers",
        "reserved", "sells", "taker_fee",
    )  # fmt: skip

    def __init__(self, owner: Account, book: Book, leverage: int) -> None:
        self.owner = owner
        self.book = book
        self.hedged = owner.mode == "hedge"
        self.positions: dict[str, Position] = {}
        self.buys = OpenSide()
        self.sells = OpenSide()
        self.reserved = ZERO
        self.reducers: dict[int, Order] = {}
        self.low: Decimal | None = None
        self.high: Decimal | None = None
        self.taker_fee = max(book.spec.taker_fee, ZERO)
        self.leverage = leverage
        self.margin_rate = ratio_up(ONE, Decimal(leverage))

    def size(self, side: str) -> Decimal:
        position = self.positions.get(side)
        return ZERO if position is None else position.size

    def held(self) -> bool:
        return any([position.size for position in self.positions.values()])  # noqa: C419  # no frame for a generator

    def closable(self, side: Side, position_side: str) -> Decimal:
        """How much an order of this side can take off the position."""
        size = self.size(position_side)
        return max(ZERO, -size if side == "buy" else size)

    def requirement(self, side: Side, amount: Decimal, notional: Decimal) -> Decimal:
        """Margin and fee reserve for all open orders plus one more.

        Net mode reserves margin for the dearer of the two sides, since both cannot increase the position together;
        fees for both. What would only close the position needs nothing.
        """
        buys, sells = self.buys, self.sells
        bought, sold = buys.notional, sells.notional
        if side == "buy":
            bought, amount, other = bought + notional, buys.amount + amount, sells.amount
        else:
            sold, amount, other = sold + notional, sells.amount + amount, buys.amount
        if not self.hedged and (size := self.size("net")):
            if size < 0:
                bought = _increasing(bought, amount if side == "buy" else other, -size)
            else:
                sold = _increasing(sold, amount if side == "sell" else other, size)
        margin = bought + sold if self.hedged else max(bought, sold)
        return margin * self.margin_rate + (bought + sold) * self.taker_fee

    def refresh(self) -> None:
        """Bring the reserve up to date after the order sums, the position or the leverage changed."""
        if not (self.buys.amount or self.sells.amount or self.reserved):
            return
        need = self.requirement("buy", ZERO, ZERO)
        quote = self.book.spec.quote
        reserved = self.owner.reserved
        reserved[quote] = reserved.get(quote, ZERO) + need - self.reserved
        self.reserved = need

    def set_leverage(self, leverage: int) -> None:
        self.leverage = leverage
        self.margin_rate = ratio_up(ONE, Decimal(leverage))
        self.refresh()

    def lock_rate(self) -> Decimal:
        return self.margin_rate + self.taker_fee


def _increasing(notional: Decimal, amount: Decimal, closable: Decimal) -> Decimal:
    return ZERO if amount <= closable else share(notional, amount - closable, amount)


class Account:
    """One trader. `locked` is what spot orders hold by asset, `reserved` what perpetual orders hold by settle asset."""

    __slots__ = (
        "balances", "by_client_id", "exposures", "held", "leverage", "locked", "mode", "name", "next_funding", "orders",
        "reserved",
    )  # fmt: skip

    def __init__(self, state: AccountState) -> None:
        self.name = state.name
        self.mode: Literal["net", "hedge"] = state.position_mode
        self.balances = dict(state.balances)
        self.leverage = dict(state.leverage)
        self.next_funding = dict(state.next_funding)
        self.locked: dict[str, Decimal] = {}
        self.reserved: dict[str, Decimal] = {}
        self.exposures: dict[str, Exposure] = {}
        self.held: dict[str, Exposure] = {}
        self.orders: dict[int, Order] = {}
        self.by_client_id: dict[str, Order] = {}

    def state(self) -> AccountState:
        positions = [
            msgspec.structs.replace(position)
            for _, exposure in sorted(self.exposures.items())
            for _, position in sorted(exposure.positions.items())
        ]
        return AccountState(
            name=self.name,
            balances=dict(self.balances),
            positions=positions,
            leverage=dict(self.leverage),
            position_mode=self.mode,
            next_funding=dict(self.next_funding),
        )


def trade(position: Position, signed: Decimal, price: Decimal) -> Decimal:
    """Move a position by a fill and return the profit it realises.

    A partial close takes cost x closed / size off the cost, to twelve decimals; the rest keeps the exact difference,
    so cash paid in and out always adds up.
    """
    size = position.size
    if not size or (size > 0) == (signed > 0):
        position.size = size + signed
        position.cost += signed * price
        return ZERO
    if abs(signed) < abs(size):
        removed = share(position.cost, -signed, size)
        profit = -signed * price - removed
        position.size = size + signed
        position.cost -= removed
    else:
        profit = size * price - position.cost
        position.size = size + signed
        position.cost = position.size * price
    position.realized_pnl += profit
    return profit


def entry_price(position: Position) -> Decimal | None:
    return SHOWN.divide(position.cost, position.size) if position.size else None
