"""What risk reads of a venue, and how long it is used again: tickers, accounts with their positions, the day's start.

The venue is asked through `call` (the registry's guard), never while the book's transaction is held.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from decimal import Decimal
from threading import Lock
from typing import Protocol

from Execution.common import clock, log, symbols
from Execution.common.book import leg_of
from Execution.common.errors import ExecutionError
from Execution.common.order import OrderRecord
from Execution.common.risk import ONE, ZERO
from Execution.common.risk_state import (
    Account,
    Quote,
    doubtful,
    parse_account,
    parse_quote,
    rate_symbols,
    same_money,
)
from Execution.common.types import Envelope

_UNREADABLE = (ArithmeticError, KeyError, TypeError, ValueError)


class OrderBook(Protocol):
    """What risk asks of the order manager."""

    def writing(self) -> AbstractContextManager[None]: ...
    def exposure(self, exchange: str, symbol: str) -> tuple[Decimal, Decimal]: ...
    def open_order_count(self, exchange: str) -> int: ...
    def intent_count(self, exchange: str, seconds: float) -> int: ...
    def unresolved(self, exchange: str, symbol: str) -> list[OrderRecord]: ...
    def net_filled(self, exchange: str) -> tuple[int, dict[str, Decimal]]: ...
    def day_start_equity(self, exchange: str, equity: Decimal) -> Decimal: ...


class Reader:
    """The caches of one risk manager. Any number of threads."""

    def __init__(
        self,
        call: Callable[..., Envelope],
        book: Callable[[], OrderBook],
        *,
        mark_max_age: float,
        account_max_age: float,
    ) -> None:
        """Remember whom to ask; ages are seconds for which an answer is used again, 0 = never."""
        self._call = call
        self._book = book
        self._mark_max_age = mark_max_age
        self._account_max_age = account_max_age
        self._lock = Lock()
        self._quotes: dict[tuple[str, str], Quote] = {}
        self._accounts: dict[str, Account] = {}
        self._told: dict[str, dict[str, Decimal]] = {}
        self._day_starts: dict[tuple[str, int], Decimal] = {}

    def tell(self, exchange: str, symbol: str, signed_amount: Decimal) -> None:
        """Count a fill that the book does not hold."""
        with self._lock:
            told = dict(self._told.get(exchange, {}))
            told[symbol] = told.get(symbol, ZERO) + signed_amount
            leg = leg_of(symbol, "buy" if signed_amount > 0 else "sell")
            told[leg] = told.get(leg, ZERO) + abs(signed_amount)
            self._told[exchange] = told

    def forget(self, exchange: str) -> None:
        """Have the account read at the next use."""
        self._accounts.pop(exchange, None)

    def recent_account(self, exchange: str) -> Account:
        """Answer the account, read anew where it is too old; on a clock that went back it is."""
        account = self._accounts.get(exchange)
        if account is None or not 0 <= clock.now() - account.read < self._account_max_age:
            return self.account(exchange)
        return account

    def recent_quote(self, exchange: str, symbol: str, *, local: bool) -> tuple[Quote, str]:
        """Answer the ticker, and why there is none; of a local venue always a fresh one."""
        return self.quote(exchange, symbol, 0.0 if local else self._mark_max_age)

    def rate(self, exchange: str, symbol: str, account: Account, quote: Quote) -> Decimal | None:
        """Answer the price of a symbol's quote currency in the account's currency; None where nobody knows it."""
        base, money, _ = symbols.split(symbol)
        if not account.currency or same_money(money, account.currency):
            return ONE
        if base == account.currency:
            return ONE / quote.mark if quote.mark else None
        return self._rate(exchange, money, account.currency)

    def quote(self, exchange: str, symbol: str, max_age: float) -> tuple[Quote, str]:
        """Answer the ticker, and why there is none."""
        now, known = clock.now(), self._quotes.get((exchange, symbol))
        if known is not None and 0 <= now - known.read < max_age:
            return known, ""
        answer = self._call(exchange, "get_ticker", symbol)
        if not answer["success"]:
            return Quote(None, None, None, now), answer["message"]
        try:
            quote = parse_quote(answer["data"], now, known)
        except _UNREADABLE as error:
            return Quote(None, None, None, now), f"its ticker cannot be read: {error!r:.80}"
        self._quotes[exchange, symbol] = quote
        return quote, ""

    def _rate(self, exchange: str, money: str, currency: str) -> Decimal | None:
        for symbol in rate_symbols(money, currency):
            quote, _ = self.quote(exchange, symbol, self._account_max_age)
            if quote.mark is not None:
                return quote.mark
        return None

    def account(self, exchange: str) -> Account:
        """Read account and positions, between two looks at what the book counted as filled.

        Where only the positions cannot be read the account is answered without them, with `trouble`, and not kept.
        """
        load, before = self._look(exchange)
        now = clock.now()
        info = self._call(exchange, "get_account_info")
        if not info["success"]:
            return Account(trouble=info["message"], load=load)
        positions = self._call(exchange, "get_positions")
        load_after, after = self._look(exchange) if load >= 0 else (-1, {})
        try:
            account = parse_account(
                info["data"],
                positions["data"] if positions["success"] else (),
                read=now,
                load=load if load == load_after else -1,
                filled=after,
                doubt=doubtful(before, after),
            )
        except _UNREADABLE as error:
            return Account(trouble=f"its answer cannot be read: {error!r:.80}", load=load)
        if account.equity is not None:
            account.day_start_equity = self._day_start(exchange, account.equity, stored=load >= 0)
        if not positions["success"]:
            account.trouble = positions["message"]
        elif account.equity is not None:
            self._accounts[exchange] = account
        return account

    def _look(self, exchange: str) -> tuple[int, dict[str, Decimal]]:
        """Answer a copy of the sums of fills, those of other processes taken in; (-1, {}) without a store."""
        try:
            book = self._book()
            with book.writing():
                load, filled = self.filled(exchange, book)
                return load, dict(filled)
        except ExecutionError as error:
            log.warning(f"risk reads {exchange} without the store: {error.message}")
            return -1, {}

    def filled(self, exchange: str, book: OrderBook) -> tuple[int, dict[str, Decimal]]:
        """Answer the book's sums of fills, with those that were only told."""
        load, filled = book.net_filled(exchange)
        told = self._told.get(exchange)
        if not told:
            return load, filled
        return load, {s: filled.get(s, ZERO) + told.get(s, ZERO) for s in {*filled, *told}}

    def _day_start(self, exchange: str, equity: Decimal, *, stored: bool) -> Decimal:
        """Answer the day's first equity: the store's, or without a store what this process saw first."""
        first = self._day_starts.setdefault((exchange, int(clock.now() // 86400)), equity)
        if not stored:
            return first
        try:
            return self._book().day_start_equity(exchange, first)
        except ExecutionError as error:
            log.warning(f"the day's first equity of {exchange} is this process's: {error.message}")
            return first
