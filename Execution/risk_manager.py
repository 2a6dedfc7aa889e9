"""Whether to trade: deny before sending, watch the account after.

    snapshot = risk.prepare("okx", "BTC-USDT-SWAP")      asks the venue for what is stale; no transaction may be held
    with manager.writing():                               one transaction over all threads and processes
        verdict = risk.verdict(record, snapshot)          snapshot + book; asks nobody
        if verdict.allowed: manager.record(record)

The rules themselves are `common.risk_rules`. The position an order is judged by is the venue's, brought up to date with
what the book saw filled since it was read, so that no process judges by a position that another has enlarged.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from Execution import registry
from Execution.common import clock, log, symbols
from Execution.common.errors import ExecutionError
from Execution.common.order import OrderRecord
from Execution.common.precision import exact, exactly, number_of
from Execution.common.risk import ZERO, AccountLevel, OrderView, RiskState, Verdict, denied
from Execution.common.risk_limits import age_or_setting, limits_of, thresholds_of
from Execution.common.risk_reader import OrderBook, Reader
from Execution.common.risk_rules import evaluate, judge_account
from Execution.common.risk_state import Account, Snapshot, metrics_of, order_of
from Execution.order_manager import default_manager


class RiskManager:
    """Limits, and the caches of what they are compared with. Any number of threads."""

    def __init__(
        self,
        max_position_size: float | None = None,
        max_loss_ratio: float | None = None,
        *,
        max_order_notional: float | None = None,
        max_symbol_notional: float | None = None,
        max_open_orders: int | None = None,
        max_orders_per_minute: int | None = None,
        max_orders_per_day: int | None = None,
        max_daily_loss: float | None = None,
        max_leverage: float | None = None,
        allowed_symbols: Iterable[str] | None = None,
        price_collar: float | None = None,
        block_unresolved: bool = False,
        warning_margin_ratio: float | None = None,
        danger_margin_ratio: float | None = None,
        warning_drawdown: float | None = None,
        danger_drawdown: float | None = None,
        warning_unrealized_loss: float | None = None,
        danger_unrealized_loss: float | None = None,
        mark_max_age: float | None = None,
        account_max_age: float | None = None,
        book: OrderBook | None = None,
    ) -> None:
        """Set the limits. None = the setting RISK_<NAME>; infinity = no such limit.

        Args:
            max_position_size: worst case position in a symbol, as a fraction of equity (0.1 unless set).
            max_loss_ratio: loss since the day's start from which on nothing is opened, a fraction (0.05 unless set).
            max_order_notional, max_symbol_notional, max_daily_loss: money in the account's currency.
            max_leverage: of the symbol's setting, and of all positions together against equity.
            price_collar: fraction that a price may be worse than the mark (0.05 unless set).
            block_unresolved: open nothing in a symbol while an order of unknown outcome is in it.
            warning_*, danger_*: where the levels of an account begin, fractions.
            mark_max_age, account_max_age: seconds for which what was read of the venue is used again.
            book: whose open orders count; None = the process's own.

        Raises:
            ValueError: naming the argument and its value.
            Refused: CONFIGURATION, naming the setting.
        """
        given = dict(locals())
        self.limits = limits_of(given)
        self.thresholds = thresholds_of(given, self.limits.max_loss_ratio)
        self._given_book = book
        self._reader = Reader(
            registry.call,
            lambda: self.book,
            mark_max_age=age_or_setting("mark_max_age", mark_max_age),
            account_max_age=age_or_setting("account_max_age", account_max_age),
        )

    @property
    def max_position_size(self) -> float:
        """The limit in force; infinity = none."""
        return float("inf") if self.limits.max_position_size is None else float(self.limits.max_position_size)

    @property
    def max_loss_ratio(self) -> float:
        """The limit in force; infinity = none."""
        return float("inf") if self.limits.max_loss_ratio is None else float(self.limits.max_loss_ratio)

    @property
    def book(self) -> OrderBook:
        """Whose open orders count."""
        return self._given_book or default_manager()

    # -- what users were promised

    @exactly
    def check_order_risk(
        self,
        exchange_name: str,
        symbol: str,
        side: str,
        amount: Any,
        price: Any = None,
        *,
        order_type: str | None = None,
        stop_price: Any = None,
        reduce_only: bool = False,
        leverage: Any = None,
    ) -> dict[str, Any]:
        """Judge an order without sending it.

        Args:
            price: None = a market order, unless `order_type` says otherwise.

        Returns:
            {"allowed", "reason", "risk_level": "low"|"medium"|"high", "code", "numbers", "reducing"}. `code` is one of
            `common.risk.RISK_CODES`, or of the errors where the order itself is nonsense or the store fails.
        """
        try:
            name = registry.canonical(exchange_name)
            unified = registry.symbol_of(name, symbol)
            record = order_of(name, unified, side, amount, price, order_type, stop_price, reduce_only, leverage)
            verdict = self._judge(record)
        except ExecutionError as error:
            verdict = denied(error.code, error.message)
        return {**verdict.to_dict(), "exchange": exchange_name, "symbol": symbol}

    def _judge(self, record: OrderRecord) -> Verdict:
        for _ in range(2):
            snapshot = self.prepare(record.exchange, record.symbol)
            with self.book.writing():
                verdict = self.verdict(record, snapshot)
            if verdict.code != "STATE_STALE":
                break
        return verdict

    @exactly
    def check_account_risk(self, exchange_name: str) -> dict[str, Any]:
        """Read the account and say how it stands.

        Returns:
            {"risk_level": "safe"|"warning"|"danger", "should_liquidate", "message", "metrics", "reasons", "exchange",
            "timestamp", "code"}. An account that cannot be read is "warning", never liquidated, its metrics None.
        """
        try:
            name = registry.canonical(exchange_name)
            account = self._reader.account(name)
        except ExecutionError as error:
            name, account = str(exchange_name), Account(trouble=error.message)
        metrics = metrics_of(account)
        if account.info is None or account.equity is None:
            message, code = f"the account of {name} cannot be read: {account.trouble}", "ACCOUNT_UNREADABLE"
            return _report(name, "warning", [message], metrics, code)
        level, reasons = judge_account(account.judged(), self.thresholds)
        if account.trouble:
            level, reasons = "warning" if level == "safe" else level, [*reasons, f"no positions: {account.trouble}"]
        return _report(name, level, reasons, metrics, "ACCOUNT_DANGER" if level == "danger" else "")

    def send_liquidation_signal(self, exchange_name: str, symbol: str | None = None) -> dict[str, Any]:
        """Answer the signal by which `Executor.handle_risk_signal`, and a line of `run`, close positions.

        Args:
            symbol: None = every position of the exchange.
        """
        try:
            name = registry.canonical(exchange_name)
            symbol = None if symbol is None else registry.symbol_of(name, symbol)
        except ExecutionError as error:
            log.error(f"liquidation signal for {exchange_name!r:.60}: {error.message}")
            name = exchange_name
        log.warning(f"liquidation signal: {name} {symbol or 'every position'}")
        return {"signal": "liquidate", "exchange": name, "symbol": symbol, "timestamp": clock.now()}

    # -- around a send

    def prepare(self, exchange_name: str, symbol: str) -> Snapshot:
        """Ask the venue for what is stale, and answer what an order is judged by. No transaction may be held.

        Raises:
            Refused: UNKNOWN_VENUE, INVALID_SYMBOL.
        """
        venue, _, exchange = registry.find(exchange_name)
        symbol = symbols.normalize(symbol, venue.default_market)
        account = self._reader.recent_account(exchange)
        quote, trouble = self._reader.recent_quote(exchange, symbol, local=venue.local)
        rate = self._reader.rate(exchange, symbol, account, quote)
        return Snapshot(exchange, symbol, account, quote, rate, trouble)

    def verdict(self, order: OrderRecord, snapshot: Snapshot) -> Verdict:
        """Judge an order that is not in the book yet; inside the book's transaction, where it must be fast.

        STATE_STALE means that the book was loaded anew since the account was read: prepare again and ask again.
        """
        book, limits, account, quote = self.book, self.limits, snapshot.account, snapshot.quote
        exchange, symbol = order.exchange, order.symbol
        load, filled = self._reader.filled(exchange, book)
        reduce_only = order.reduce_only
        if load != account.load and account.equity is not None and not reduce_only:
            self._reader.forget(exchange)
            return denied("STATE_STALE", f"the book was loaded anew since the account of {exchange} was read")
        buys, sells = book.exposure(exchange, symbol)
        options = order.options
        view = OrderView(
            exchange,
            symbol,
            order.side,
            order.type,
            order.amount,
            order.price,
            order.stop_price,
            reduce_only,
            _leverage(options["leverage"]) if options and options.get("leverage") else None,
        )
        state = RiskState(
            equity=None if account.trouble else account.equity,
            day_start_equity=account.day_start_equity,
            mark=quote.mark,
            bid=quote.bid,
            ask=quote.ask,
            position=account.position(symbol, order.side, filled),
            open_buys=buys,
            open_sells=sells,
            open_orders=0 if limits.max_open_orders is None else book.open_order_count(exchange),
            orders_last_minute=0 if limits.max_orders_per_minute is None else book.intent_count(exchange, 60),
            orders_today=0 if limits.max_orders_per_day is None else book.intent_count(exchange, 86400),
            unresolved=len(book.unresolved(exchange, symbol)) if limits.block_unresolved else 0,
            leverage=account.leverages.get(symbol),
            other_notional=account.gross - account.notionals.get(symbol, ZERO),
            rate=snapshot.rate,
            trouble=snapshot.trouble or account.trouble,
        )
        return evaluate(view, state, limits)

    def on_fill(
        self,
        exchange: str,
        symbol: str,
        signed_amount: Any,
        price: Any = None,  # noqa: ARG002
        *,
        in_book: bool = True,
    ) -> None:
        """Tell of a fill. Those of orders in the book are counted there and change nothing here.

        Args:
            signed_amount: base units, bought > 0, sold < 0.
            price: not needed; positions are reckoned at the mark.
            in_book: False for what the book does not hold: a manual trade, a liquidation.
        """
        if in_book:
            return
        name = registry.canonical(exchange)
        amount = number_of(signed_amount, "signed_amount")
        self._reader.tell(name, registry.symbol_of(name, symbol), amount)


def _leverage(value: Any) -> Decimal:
    return value if isinstance(value, Decimal) else exact(value)


def _report(name: str, level: AccountLevel, reasons: list[str], metrics: dict[str, Any], code: str) -> dict[str, Any]:
    return {
        "risk_level": level,
        "should_liquidate": level == "danger",
        "message": "; ".join(reasons) or f"the account of {name} is safe",
        "metrics": metrics,
        "reasons": reasons,
        "code": code,
        "exchange": name,
        "timestamp": clock.now(),
    }
