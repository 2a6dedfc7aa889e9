"""One paper account: an engine in memory, its file, its prices. Every call is one transaction on the file.

    lock, BEGIN IMMEDIATE -> what did other processes do? -> play the market up to now -> act -> write -> COMMIT

Where writing fails, memory is thrown away and built anew from the file at the next call: nothing is half done.
"""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Callable
from decimal import Decimal
from typing import TypeVar

from msgspec.structs import replace

from Execution.common import clock, log
from Execution.common.errors import ExecutionError, Refused, StoreError
from Execution.common.precision import Rules
from Execution.matching.engine import Engine
from Execution.matching.model import AccountState, Changes, Order, Rejected, Spec
from Execution.simulation import forms, instruments, sources
from Execution.simulation.account_store import NEWEST, AccountStore, MarketRow, Saved
from Execution.simulation.config import read
from Execution.simulation.prices import Prices
from Execution.simulation.sources import Source

ME = "paper"
T = TypeVar("T")
_NEVER = math.inf
_MOST_FUNDINGS = 1000  # after a longer absence the earlier ones are let go


class PaperAccount:
    """See the module. Made from the PAPER_* settings in force at first use."""

    def __init__(self, alias: str) -> None:
        config = self.config = read(alias)
        self.default_market = config.default_market
        self.specs: dict[str, Spec] = instruments.default_specs(config.maker_fee, config.taker_fee)
        self.source = sources.make(config.source, config.seed, self.specs)
        self.store = AccountStore(config.path, durability=config.durability, timeout=config.timeout)
        self._delays = bool(config.order_delay or config.cancel_delay)
        self._driven = False
        self._rules: dict[str, Rules] = {}
        self.forget()

    def forget(self) -> None:
        """Have memory built anew from the file at the next call."""
        self.store.forget()
        self.engine: Engine | None = None
        self._saved = Saved(AccountState(ME, {}, [], {}))
        self._version = 0
        self._active: set[str] = set()
        self._played = 0.0
        self._set_due(_NEVER, _NEVER)
        self._dirty = False

    def close(self) -> None:
        """Close the file and forget what is in memory."""
        with self.store.database.lock:
            self.forget()
            self.store.database.close()

    # Acting

    def run(self, action: Callable[[Engine, float], T], *symbols: str) -> tuple[T, Changes]:
        """Carry out an action on the engine at the present moment and write what came of it.

        Args:
            symbols: whose market the action is about; those of live orders and positions are played anyway.

        Raises:
            Rejected: the engine refused; what the market did meanwhile is written all the same.
            StoreError: nothing was done.
        """
        if self.source.remote:
            self._fetch(symbols)
        with self.store.database.lock:
            try:
                return self._run(action, symbols)
            except Rejected:
                raise
            except BaseException:
                self.forget()
                raise

    def _run(self, action: Callable[[Engine, float], T], symbols: tuple[str, ...]) -> tuple[T, Changes]:
        refusal: Rejected | None = None
        with self.store.database as connection:
            engine = self._current(connection)
            now = self._play(engine, symbols)
            if engine.has_changes or self._dirty:
                self._save(connection, engine, engine.drain(), now)
            try:
                result = action(engine, now)
            except Rejected as error:
                refusal = error
            changes = engine.drain()
            if changes.accounts or self._dirty:
                self._save(connection, engine, changes, now)
        if refusal is not None:
            raise refusal
        return result, changes

    def _fetch(self, symbols: tuple[str, ...]) -> None:
        now = clock.now()
        for symbol in symbols:
            self.source.fetch(symbol, now)
        for symbol in self._active.difference(symbols):
            try:
                self.source.fetch(symbol, now)
            except ExecutionError as error:
                log.warning(f"paper: the price of {symbol} stands still: {error.message}")

    def _save(self, connection: sqlite3.Connection, engine: Engine, changes: Changes, now: float) -> None:
        saved = self._saved
        saved.account = engine.account_state(ME)
        saved.next_order_id, saved.next_trade_id = engine.next_ids
        saved.time = now
        saved.switch = 0.0 if self._switch == _NEVER else self._switch
        if saved.cancels:
            saved.cancels = {order_id: due for order_id, due in saved.cancels.items() if due > now}
        self._version += 1
        self._dirty = False
        self.store.save(connection, self._version, changes, saved)

    # The market

    def _play(self, engine: Engine, symbols: tuple[str, ...]) -> float:
        """Bring the engine to the present: prices, funding, the dead-man's switch, each in its turn."""
        now = clock.now()
        self._active.update(symbols)
        if now >= self._funding_due:
            self._let_go(engine, now)
        while (due := self.due) <= now:
            self.source.play(engine, self._active, self._played, due)
            engine.advance(due)
            if due == self._switch:
                self._trip(engine, due)
            else:
                self._fund(engine, due)
            self._played = due
        self.source.play(engine, self._active, self._played, now)
        if self._delays:
            engine.advance(now)
        self._played = now
        return now

    def _trip(self, engine: Engine, due: float) -> None:
        for order in list(engine.open_orders(ME)):
            engine.cancel(ME, order.order_id, due)
        self._set_due(_NEVER, self._funding_due)
        self._dirty = True

    def _fund(self, engine: Engine, due: float) -> None:
        for symbol in dict.fromkeys(position.symbol for position in engine.positions(ME)):
            try:
                engine.on_funding(symbol, self.config.funding_rate, due)
            except Rejected as error:
                log.warning(f"paper: no funding of {symbol} at {due}: {error}")
        self._set_due(self._switch, self._next_funding(due))

    def _let_go(self, engine: Engine, now: float) -> None:
        """Pass over the funding that nobody pays, and what is too long ago."""
        longest = _MOST_FUNDINGS * self.config.funding_interval
        if not engine.positions(ME) and not engine.open_orders(ME):
            self._set_due(self._switch, self._next_funding(now))
        elif now - self._funding_due > longest:
            self._set_due(self._switch, self._next_funding(now - longest))

    def _set_due(self, switch: float, funding: float) -> None:
        self._switch, self._funding_due = switch, funding
        self.due = min(switch, funding)

    def _next_funding(self, now: float) -> float:
        return (math.floor(now / self.config.funding_interval) + 1) * self.config.funding_interval

    def arm(self, when: float) -> None:
        """Set when the dead-man's switch falls; 0 disarms it. Call inside an action."""
        self._set_due(when or _NEVER, self._funding_due)
        self._dirty = True

    def cancel_later(self, order_id: int, due: float) -> None:
        """Keep a cancel that is on its way, so that it arrives even where this process ends. Call inside an action."""
        self._saved.cancels[order_id] = due
        self._dirty = True

    # Agreeing with the file

    def _current(self, connection: sqlite3.Connection) -> Engine:
        row = connection.execute(NEWEST).fetchone()
        newest: int = row[0] if row else 0
        if self._driven and newest != self._version:
            raise StoreError(f"another process traded on {self.store.path} while a replay ran on it")
        if self.engine is not None and newest == self._version:
            return self.engine
        if newest == 0:
            return self._open(connection)
        if self.engine is not None and newest > self._version:
            found = self.store.since(connection, self._version, newest)
            if found is not None:
                self._catch_up(connection, self.engine, *found, newest)
                return self.engine
        return self._load(connection, newest)

    def _catch_up(
        self, connection: sqlite3.Connection, engine: Engine, saved: Saved, orders: list[Order], newest: int
    ) -> None:
        if saved.market != self._saved.market:
            self._read_market(connection, engine)
        engine.adopt(saved.account, orders, saved.next_order_id, saved.next_trade_id)
        self._send_cancels(engine, saved)
        self._active.update(order.request.symbol for order in orders)
        self._active.update(position.symbol for position in saved.account.positions)
        if saved.time > self._played or self.source.settable:
            self.source.play(engine.onlooker(), self._active, saved.time, saved.time)
        self._adopted(saved, newest)

    def _load(self, connection: sqlite3.Connection, newest: int) -> Engine:
        saved, orders = self.store.load(connection, newest)
        engine = self._new_engine(saved)
        self._read_market(connection, engine)
        self._active = {order.request.symbol for order in orders}
        self._active.update(position.symbol for position in saved.account.positions if position.size)
        self._check_listed()
        self.source.play(engine.onlooker(), self._active, 0.0, saved.time)
        engine.load_account(saved.account)
        for order in orders:
            engine.load_order(order)
        self._send_cancels(engine, saved)
        engine.drain()
        if saved.account.position_mode != self.config.position_mode:
            self._change_mode(engine)
        self._played = 0.0
        self._adopted(saved, newest)
        self.engine = engine
        return engine

    def _adopted(self, saved: Saved, newest: int) -> None:
        self._saved, self._version = saved, newest
        self._played = max(self._played, saved.time)
        self._set_due(saved.switch or _NEVER, self._next_funding(self._played))

    def _send_cancels(self, engine: Engine, saved: Saved) -> None:
        for order_id, due in saved.cancels.items():
            if engine.order(ME, order_id) is not None:
                engine.cancel(ME, order_id, due - self.config.cancel_delay)

    def _open(self, connection: sqlite3.Connection) -> Engine:
        """Begin a new account in an empty file."""
        now = clock.now()
        self._saved = Saved(AccountState(ME, {}, [], {}), epoch=now)
        engine = self._new_engine(self._saved)
        self._read_market(connection, engine)
        engine.open_account(ME, self.config.balances, position_mode=self.config.position_mode)
        self._adopted(self._saved, 0)
        self._played = now
        self._set_due(_NEVER, self._next_funding(now))
        self.engine = engine
        return engine

    def _new_engine(self, saved: Saved) -> Engine:
        self.source.restart(saved.epoch)
        return Engine(
            self.specs.values(),
            order_delay=self.config.order_delay,
            cancel_delay=self.config.cancel_delay,
            default_leverage=self.config.leverage,
            next_order_id=saved.next_order_id,
            next_trade_id=saved.next_trade_id,
        )

    def _read_market(self, connection: sqlite3.Connection, engine: Engine) -> None:
        rows = self.store.market(connection)
        for symbol, row in rows.items():
            if row.spec is not None and symbol not in self.specs:
                self.specs[symbol] = row.spec
                engine.add_spec(row.spec)
        self.source.set_market(rows)

    def _check_listed(self) -> None:
        if missing := sorted(symbol for symbol in self._active if symbol not in self.specs):
            names = ", ".join(missing)
            raise Refused(
                "CONFIGURATION", f"the account {self.store.path} holds {names}: name it in PAPER_INSTRUMENTS again"
            )

    def _change_mode(self, engine: Engine) -> None:
        try:
            engine.set_position_mode(ME, self.config.position_mode)
        except Rejected as error:
            log.warning(f"PAPER_POSITION_MODE={self.config.position_mode} not in force yet: {error}")

    # A replay drives the market by hand

    def drive(self, source: Source, start: float) -> Engine:
        """Hand the market over: from now on only the returned engine's on_* functions move it, until `release`."""
        with self.store.database.lock:
            self.flush()
            assert self.engine is not None
            self._own_source, self.source, self._driven = self.source, source, True
            self._played = start
            self._set_due(self._switch, self._next_funding(start))
            return self.engine

    def release(self) -> None:
        """Take the market back; what passed between the recorded time and now did not happen to the account."""
        with self.store.database.lock:
            self.source, self._driven = self._own_source, False
            try:
                with self.store.database as connection:
                    if self.engine is not None and self.store.newest() == self._version:
                        self._save(connection, self.engine, self.engine.drain(), clock.now())
            finally:
                self.forget()

    # Setting the stage

    def set_market(self, symbol: str, row: MarketRow) -> None:
        """Keep prices or rules for a symbol and show them to the market."""

        def write(engine: Engine, now: float) -> None:
            connection = self.store.database.connection
            old = self.store.market(connection).get(symbol, MarketRow())
            self._saved.market += 1
            serial = self._saved.market
            if row.bid is None:
                merged = replace(old, spec=row.spec, serial=serial)
            else:
                merged = replace(row, spec=old.spec, serial=serial)
            self.store.set_market(connection, symbol, merged)
            self._dirty = True
            self._read_market(connection, engine)
            self.source.play(engine, self._active, now, now)

        self.run(write)

    def reset(self, balances: dict[str, Decimal] | None) -> None:
        """Begin anew: no orders, no fills, no prices set by hand; ids go on."""
        try:
            with self.store.database as connection:
                newest = self.store.newest()
                engine = self._load_ids(connection, newest)
                self.store.clear(connection)
                engine.open_account(ME, balances or self.config.balances, position_mode=self.config.position_mode)
                self._version = newest + 1  # a gap in the versions makes other processes load everything anew
                self._saved.market += 1
                self._save(connection, engine, engine.drain(), clock.now())
        finally:
            self.forget()

    def _load_ids(self, connection: sqlite3.Connection, newest: int) -> Engine:
        old = self.store.load(connection, newest)[0] if newest else Saved(AccountState(ME, {}, [], {}))
        self._saved = Saved(AccountState(ME, {}, [], {}), epoch=clock.now(), market=old.market)
        self._set_due(_NEVER, _NEVER)
        return self._new_engine(old)

    # Looking

    def flush(self) -> None:
        """Bring the account to the present moment and write what the market did."""
        self.run(_nothing)

    def prices(self, symbol: str) -> Prices:
        """Answer the best prices of a listed symbol; the account is not touched where the source knows them."""
        now = clock.now()
        if self._driven and self.engine is not None:
            with self.store.database.lock:
                return _engine_prices(self.engine, symbol)
        if self.source.settable and self._stale():
            self.flush()
        if self.source.remote:
            self.source.fetch(symbol, now)
        found = self.source.prices(symbol, now)
        return self.run(lambda engine, _now: _engine_prices(engine, symbol), symbol)[0] if found is None else found

    def _stale(self) -> bool:
        return self.engine is None or self.store.newest() != self._version

    def rules(self, symbol: str) -> Rules:
        """Answer the exact rules of a symbol for rounding."""
        found = self._rules.get(symbol)
        if found is None:
            if symbol not in self.specs and self._stale():
                self.flush()
            found = self._rules[symbol] = forms.rules_of(self.spec(symbol))
        return found

    def make_spec(
        self, symbol: str, tick: Decimal, lot: Decimal, min_notional: Decimal, min_amount: Decimal | None
    ) -> Spec:
        """Answer the rules of a new instrument at the fees of this account."""
        return instruments.make_spec(
            symbol, tick, lot, min_notional, self.config.maker_fee, self.config.taker_fee, min_amount
        )

    def spec(self, symbol: str) -> Spec:
        """Answer the rules of a symbol.

        Raises:
            Refused: INVALID_SYMBOL with near matches.
        """
        spec = self.specs.get(symbol)
        if spec is None:
            raise instruments.unknown(symbol, self.specs)
        return spec


def _nothing(_engine: Engine, _now: float) -> None:
    """An action that only brings the account up to date."""


def _engine_prices(engine: Engine, symbol: str) -> Prices:
    seen = engine.ticker(symbol)
    return Prices(seen.bid, seen.bid_size, seen.ask, seen.ask_size, seen.last, seen.mark, seen.time)
