"""What the engine answers when asked: copies, never its own state."""

from __future__ import annotations

from decimal import Decimal
from itertools import islice

import msgspec

from .account import Account, Exposure, entry_price
from .book import Book
from .exact import ONE, SHOWN, ZERO
from .margin import available, liquidation_price, spendable, worth
from .model import Position, Side


class Balance(msgspec.Struct, frozen=True, gc=False):
    """One asset. `free` is what spot orders may use, `locked` the rest of the total."""

    total: Decimal
    free: Decimal
    locked: Decimal


class Summary(msgspec.Struct, frozen=True):
    """An account in one settle currency, and all its balances. margin_ratio 1 means liquidation."""

    account: str
    currency: str
    equity: Decimal
    used_margin: Decimal
    available: Decimal
    unrealized_pnl: Decimal
    maintenance: Decimal
    margin_ratio: Decimal
    balances: dict[str, Balance]


class PositionView(msgspec.Struct, frozen=True, gc=False):
    """A position at the present mark. `liquidation_price` is approximate: other marks stand still, no fees."""

    symbol: str
    side: str
    size: Decimal
    entry_price: Decimal
    mark_price: Decimal | None
    unrealized_pnl: Decimal
    realized_pnl: Decimal
    funding: Decimal
    leverage: int
    margin: Decimal
    liquidation_price: Decimal | None


class Ticker(msgspec.Struct, frozen=True, gc=False):
    """Best prices of the recorded book and our accounts' orders together; None where unknown."""

    symbol: str
    bid: Decimal | None
    bid_size: Decimal | None
    ask: Decimal | None
    ask_size: Decimal | None
    last: Decimal | None
    mark: Decimal | None
    time: float | None


class Depth(msgspec.Struct, frozen=True, gc=False):
    symbol: str
    bids: list[tuple[Decimal, Decimal]]
    asks: list[tuple[Decimal, Decimal]]
    time: float | None


def summary(account: Account, currency: str) -> Summary:
    sums = worth(account, currency)
    equity = account.balances.get(currency, ZERO) + sums.profit
    ratio = ZERO
    if sums.maintenance:
        ratio = SHOWN.divide(sums.maintenance, equity) if equity > sums.maintenance else ONE
    return Summary(
        account=account.name,
        currency=currency,
        equity=equity,
        used_margin=sums.margin + account.reserved.get(currency, ZERO),
        available=max(ZERO, available(account, currency)),
        unrealized_pnl=sums.profit,
        maintenance=sums.maintenance,
        margin_ratio=ratio,
        balances={asset: _balance(account, asset, total) for asset, total in account.balances.items()},
    )


def _balance(account: Account, asset: str, total: Decimal) -> Balance:
    free = min(total, max(ZERO, spendable(account, asset)))
    return Balance(total, free, total - free)


def positions(account: Account, symbol: str | None) -> list[PositionView]:
    return [
        _position(account, exposure, position)
        for name, exposure in account.held.items()
        if symbol is None or name == symbol
        for position in exposure.positions.values()
        if position.size
    ]


def _position(account: Account, exposure: Exposure, position: Position) -> PositionView:
    mark = exposure.book.mark()
    value = position.cost if mark is None else position.size * mark
    entry = entry_price(position)
    assert entry is not None
    return PositionView(
        symbol=position.symbol,
        side=position.side,
        size=position.size,
        entry_price=entry,
        mark_price=mark,
        unrealized_pnl=value - position.cost,
        realized_pnl=position.realized_pnl,
        funding=position.funding,
        leverage=exposure.leverage,
        margin=abs(value) * exposure.margin_rate,
        liquidation_price=liquidation_price(account, exposure),
    )


def ticker(book: Book) -> Ticker:
    bid, ask = book.best("buy"), book.best("sell")
    return Ticker(
        symbol=book.spec.symbol,
        bid=bid,
        bid_size=_size_at(book, "buy", bid),
        ask=ask,
        ask_size=_size_at(book, "sell", ask),
        last=book.reference(),
        mark=book.mark(),
        time=book.time,
    )


def _size_at(book: Book, side: Side, price: Decimal | None) -> Decimal | None:
    if price is None:
        return None
    ours = book.own(side).at.get(price) or {}
    return book.external(side).at.get(price, ZERO) + sum(
        (order.request.amount - order.filled for order in ours.values()), ZERO
    )


def depth(book: Book, count: int) -> Depth:
    return Depth(book.spec.symbol, _levels(book, "buy", count), _levels(book, "sell", count), book.time)


def _levels(book: Book, side: Side, count: int) -> list[tuple[Decimal, Decimal]]:
    prices = {price for price, _ in islice(book.external(side).walk(), count)}
    prices.update(price for price, _ in islice(book.own(side).walk(), count))
    best_first = sorted(prices, reverse=side == "buy")[:count]
    return [(price, _size_at(book, side, price) or ZERO) for price in best_first]
