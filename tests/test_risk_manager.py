"""The risk manager around the rules: settings, what it reads and when, and what processes share."""

from __future__ import annotations

from contextlib import nullcontext
from decimal import Decimal as D
from typing import Any

import pytest

from Execution.common import clock
from Execution.common.clock import ManualClock
from Execution.common.errors import Refused, StoreError, StoreLocked
from Execution.common.order import OrderRecord, terms_of
from Execution.order_manager import OrderManager
from Execution.risk_manager import RiskManager
from tests.fakes import FakeVenue, at_home, position

SYMBOL = "BTC-USDT-SWAP"


# -- the constructor


@pytest.mark.parametrize("value", [0, -1, float("nan"), True, "many", [], "0"])
@pytest.mark.parametrize("name", ["max_position_size", "max_loss_ratio", "max_order_notional", "max_open_orders"])
def test_nonsense_is_refused_by_name_and_value(name, value):
    with pytest.raises(ValueError) as caught:
        RiskManager(**{name: value})
    assert name in str(caught.value)
    assert repr(value) in str(caught.value)


@pytest.mark.parametrize(
    ("given_", "word"),
    [
        ({"max_loss_ratio": 5}, "max_loss_ratio"),
        ({"price_collar": 1.5}, "price_collar"),
        ({"max_open_orders": 1.5}, "whole"),
        ({"allowed_symbols": "BTC-USDT"}, "allowed_symbols"),
        ({"allowed_symbols": ["nonsense"]}, "nonsense"),
        ({"allowed_symbols": 5}, "allowed_symbols"),
        ({"mark_max_age": -1}, "mark_max_age"),
        ({"account_max_age": "x"}, "account_max_age"),
        ({"warning_drawdown": 0.5, "danger_drawdown": 0.1}, "warning_drawdown"),
    ],
)
def test_more_nonsense_is_refused(given_, word):
    with pytest.raises(ValueError, match=word):
        RiskManager(**given_)


def test_what_is_not_said_comes_from_the_settings(monkeypatch):
    plain = RiskManager()
    assert (plain.max_position_size, plain.max_loss_ratio) == (0.1, 0.05)
    assert plain.limits.price_collar == D("0.05")
    off = (plain.limits.max_order_notional, plain.limits.max_open_orders, plain.limits.max_leverage)
    assert off == (None, None, None)
    assert (plain.thresholds.warning_drawdown, plain.thresholds.danger_drawdown) == (D("0.025"), D("0.05"))
    assert (plain.thresholds.warning_margin_ratio, plain.thresholds.danger_margin_ratio) == (D("0.5"), D("0.8"))
    monkeypatch.setenv("RISK_MAX_POSITION_SIZE", "0.3")
    monkeypatch.setenv("RISK_MAX_OPEN_ORDERS", "7")
    monkeypatch.setenv("RISK_ALLOWED_SYMBOLS", "btc/usdt:usdt, ETH-USDT")
    monkeypatch.setenv("RISK_PRICE_COLLAR", "")
    told = RiskManager()
    assert told.max_position_size == 0.3
    assert told.limits.max_open_orders == 7
    assert told.limits.allowed_symbols == {SYMBOL, "ETH-USDT"}
    assert told.limits.price_collar is None
    assert RiskManager(0.2).max_position_size == 0.2
    assert RiskManager(float("inf")).limits.max_position_size is None
    assert RiskManager(float("inf")).max_position_size == float("inf")


@pytest.mark.parametrize("name", ["RISK_MAX_POSITION_SIZE", "RISK_MAX_ORDERS_PER_DAY", "RISK_DANGER_DRAWDOWN"])
def test_a_wrong_setting_is_named(name, monkeypatch):
    monkeypatch.setenv(name, "many")
    with pytest.raises(Refused, match=name):
        RiskManager()


def test_losing_what_may_be_lost_is_the_danger_unless_said_otherwise(monkeypatch):
    assert RiskManager(max_loss_ratio=0.2).thresholds.danger_drawdown == D("0.2")
    assert RiskManager(max_loss_ratio=0.2).thresholds.warning_drawdown == D("0.1")
    assert RiskManager(max_loss_ratio=0.2, danger_drawdown=0.3).thresholds.danger_drawdown == D("0.3")
    monkeypatch.setenv("RISK_DANGER_DRAWDOWN", "0.4")
    assert RiskManager(max_loss_ratio=0.2).thresholds.danger_drawdown == D("0.4")


# -- the manager


class StubBook:
    """What risk asks of the order manager, as plain attributes."""

    def __init__(self) -> None:
        self.open = (D(0), D(0))
        self.count, self.recent, self.today = 0, 0, 0
        self.load = 1
        self.filled: dict[str, D] = {}
        self.first: D | None = None
        self.fault: StoreError | None = None
        self.lost: list[OrderRecord] = []

    def writing(self):
        if self.fault:
            raise self.fault
        return nullcontext()

    def exposure(self, exchange, symbol):
        return self.open

    def open_order_count(self, exchange):
        return self.count

    def intent_count(self, exchange, seconds):
        return self.today if seconds == 86400 else self.recent

    def unresolved(self, exchange, symbol):
        return self.lost

    def net_filled(self, exchange):
        return self.load, self.filled

    def day_start_equity(self, exchange, equity):
        self.first = self.first or equity
        return self.first


def record(side="buy", amount="1", price="100", *, symbol=SYMBOL, reduce_only=False, number=0, **more) -> OrderRecord:
    return OrderRecord(
        client_order_id=f"x{number}",
        exchange="fake",
        symbol=symbol,
        side=side,
        type="limit" if price else "market",
        amount=D(amount),
        price=D(price) if price else None,
        terms=terms_of("GTC", False, reduce_only),
        created=clock.now(),
        **more,
    )


@pytest.fixture
def venue(tmp_path):
    fake = FakeVenue("fake")
    with at_home(tmp_path, fake):
        yield fake


@pytest.fixture
def book():
    return StubBook()


@pytest.fixture
def risk(venue, book):
    return RiskManager(book=book)


@pytest.fixture
def hands():
    """A clock that is moved by hand."""
    with clock.use(ManualClock(1_700_000_000.0)):
        yield clock.now


def test_check_order_risk_answers_what_was_promised(risk):
    assert risk.check_order_risk("FAKE", "btc/usdt:usdt", "buy", 1, 100) == {
        "allowed": True,
        "reason": "",
        "risk_level": "low",
        "code": "",
        "numbers": {"notional": 100.0, "position_after": 0.001, "equity": 100_000.0},
        "reducing": False,
        "exchange": "FAKE",
        "symbol": "btc/usdt:usdt",
    }
    assert risk.check_order_risk("fake", SYMBOL, "buy", 101, None)["code"] == "POSITION_SIZE"
    assert risk.check_order_risk("fake", SYMBOL, "buy", 101, 100, reduce_only=True)["allowed"]
    stop = risk.check_order_risk("fake", SYMBOL, "buy", 1, order_type="stop", stop_price=50)
    assert stop["code"] == "STOP_SIDE"


@pytest.mark.parametrize(
    ("args", "code", "word"),
    [
        (("nowhere", SYMBOL, "buy", 1, 100), "UNKNOWN_VENUE", "nowhere"),
        (("fake", "nonsense", "buy", 1, 100), "INVALID_SYMBOL", "nonsense"),
        (("fake", SYMBOL, "up", 1, 100), "INVALID_ORDER", "up"),
        (("fake", SYMBOL, "buy", -1, 100), "INVALID_ORDER", "-1"),
        (("fake", SYMBOL, "buy", float("nan"), 100), "INVALID_ORDER", "nan"),
        (("fake", SYMBOL, "buy", 1, True), "INVALID_ORDER", "True"),
    ],
)
def test_a_nonsensical_order_is_denied_not_raised(risk, args, code, word):
    answer = risk.check_order_risk(*args)
    assert (answer["allowed"], answer["code"], answer["risk_level"]) == (False, code, "high")
    assert word in answer["reason"]


@pytest.mark.parametrize(("kind", "field"), [("limit", "price"), ("stop", "stop_price"), ("take_profit", "stop_price")])
def test_a_missing_price_is_named(risk, kind, field):
    answer = risk.check_order_risk("fake", SYMBOL, "buy", 1, order_type=kind)
    assert answer["code"] == "INVALID_ORDER"
    assert field in answer["reason"]


def test_a_store_that_fails_denies(risk, book):
    book.fault = StoreLocked("the store is locked")
    answer = risk.check_order_risk("fake", SYMBOL, "buy", 1, 100)
    assert (answer["allowed"], answer["code"]) == (False, "STORE_FAILED")


@pytest.mark.parametrize("function", ["get_account_info", "get_positions"])
def test_no_new_exposure_while_the_account_cannot_be_read(risk, venue, function):
    venue.failing[function] = ("VENUE_REJECTED", "rejected")
    answer = risk.check_order_risk("fake", SYMBOL, "buy", 1, 100)
    assert (answer["allowed"], answer["code"]) == (False, "ACCOUNT_UNREADABLE")
    assert "fake says so" in answer["reason"]
    assert risk.check_order_risk("fake", SYMBOL, "sell", 1, 100, reduce_only=True)["allowed"]
    venue.failing.clear()
    assert risk.check_order_risk("fake", SYMBOL, "buy", 1, 100)["allowed"]


def test_an_unreadable_answer_is_no_account(risk, venue):
    venue.positions = [{"symbol": SYMBOL}]
    assert risk.check_order_risk("fake", SYMBOL, "buy", 1, 100)["code"] == "ACCOUNT_UNREADABLE"
    venue.positions, venue.equity = [], float("nan")
    assert risk.check_order_risk("fake", SYMBOL, "buy", 1, 100)["code"] == "ACCOUNT_UNREADABLE"


def test_no_mark_no_new_exposure(risk, venue):
    venue.failing["get_ticker"] = ("VENUE_REJECTED", "rejected")
    answer = risk.check_order_risk("fake", SYMBOL, "buy", 1, 100)
    assert answer["code"] == "NO_MARK"
    assert "fake says so" in answer["reason"]
    venue.failing.clear()
    venue.default_quote = (None, None, None)
    assert risk.check_order_risk("fake", SYMBOL, "buy", 1, 100)["code"] == "NO_MARK"


def test_what_was_read_is_used_again_for_a_while(risk, venue, hands):
    for seconds, tickers, accounts in ((0, 1, 1), (0.9, 1, 1), (0.2, 2, 1), (3.5, 3, 1), (0.5, 3, 2)):
        hands.advance(seconds)
        risk.prepare("fake", SYMBOL)
        assert (venue.called("get_ticker"), venue.called("get_account_info")) == (tickers, accounts)


def test_on_a_clock_that_went_back_everything_is_stale(risk, venue, hands):
    risk.prepare("fake", SYMBOL)
    hands.advance(-86_400)
    risk.prepare("fake", SYMBOL)
    assert (venue.called("get_ticker"), venue.called("get_account_info")) == (2, 2)


def test_a_local_venue_is_always_asked_for_the_price(book, tmp_path, hands):
    local = FakeVenue("near", local=True)
    with at_home(tmp_path, local):
        risk = RiskManager(book=book)
        risk.prepare("near", SYMBOL)
        local.default_quote = (199.0, 201.0, 200.0)
        assert risk.prepare("near", SYMBOL).mark == 200
        assert local.called("get_account_info") == 1


def test_fills_in_the_book_move_the_position_without_asking_the_venue(risk, venue, book, hands):
    snapshot = risk.prepare("fake", SYMBOL)
    assert risk.verdict(record(amount="60"), snapshot).allowed
    book.filled = {SYMBOL: D(60)}
    assert risk.verdict(record(amount="60"), snapshot).code == "POSITION_SIZE"
    assert risk.verdict(record("sell", "60"), snapshot).reducing
    assert risk.verdict(record("sell", "161"), snapshot).code == "POSITION_SIZE"
    assert risk.verdict(record("sell", "160"), snapshot).allowed
    assert venue.called("get_positions") == 1
    venue.positions = [position(SYMBOL, "long", 60)]
    hands.advance(6)
    fresh = risk.prepare("fake", SYMBOL)
    assert risk.verdict(record("sell", "60"), fresh).reducing
    assert risk.verdict(record(amount="40"), fresh).allowed
    assert not risk.verdict(record(amount="41"), fresh).allowed


def test_a_fill_that_came_while_the_account_was_read_counts_where_it_is_worse(risk, venue, book, monkeypatch):
    """Whether the venue's positions hold it already is not known."""
    read = venue.get_positions

    def reading(symbol=None):
        book.filled = {SYMBOL: D(-60)}
        return read(symbol)

    monkeypatch.setattr(venue, "get_positions", reading)
    snapshot = risk.prepare("fake", SYMBOL)
    assert not risk.verdict(record("sell", "41"), snapshot).allowed
    assert risk.verdict(record("sell", "40"), snapshot).allowed
    assert not risk.verdict(record("buy", "60"), snapshot).reducing
    assert not risk.verdict(record("buy", "101"), snapshot).allowed


def test_only_what_the_book_does_not_hold_needs_to_be_told(risk, book):
    snapshot = risk.prepare("fake", SYMBOL)
    risk.on_fill("fake", SYMBOL, 60, 100)
    assert risk.verdict(record(amount="60"), snapshot).allowed
    risk.on_fill("fake", SYMBOL, D(60), in_book=False)
    assert risk.verdict(record(amount="60"), snapshot).code == "POSITION_SIZE"
    assert risk.verdict(record("sell", "60"), snapshot).reducing


def test_a_book_that_was_loaded_anew_makes_the_snapshot_stale(risk, venue, book):
    snapshot = risk.prepare("fake", SYMBOL)
    book.load = 2
    assert risk.verdict(record(), snapshot).code == "STATE_STALE"
    assert risk.verdict(record(reduce_only=True), snapshot).allowed
    assert risk.verdict(record(), risk.prepare("fake", SYMBOL)).allowed
    book.load = 3
    assert risk.check_order_risk("fake", SYMBOL, "buy", 1, 100)["allowed"]


def test_open_orders_counts_and_unresolved_ones_come_from_the_book(venue, book):
    everything = RiskManager(
        max_open_orders=2, max_orders_per_minute=2, max_orders_per_day=2, block_unresolved=True, book=book
    )
    assert everything.check_order_risk("fake", SYMBOL, "buy", 1, 100)["allowed"]
    for field, value, code in (
        ("open", (D(100), D(0)), "POSITION_SIZE"),
        ("count", 2, "OPEN_ORDERS"),
        ("recent", 2, "ORDERS_PER_MINUTE"),
        ("today", 2, "ORDERS_PER_DAY"),
        ("lost", [record()], "UNRESOLVED_ORDER"),
    ):
        before = getattr(book, field)
        setattr(book, field, value)
        assert everything.check_order_risk("fake", SYMBOL, "buy", 1, 100)["code"] == code
        setattr(book, field, before)


def test_in_hedge_mode_an_order_is_judged_by_the_leg_that_it_opens(risk, venue):
    venue.position_mode = "hedge"
    venue.positions = [position(SYMBOL, "long", 60), position(SYMBOL, "short", 50)]
    snapshot = risk.prepare("fake", SYMBOL)
    assert not risk.verdict(record("sell", "1"), snapshot).reducing
    assert risk.verdict(record("sell", "50"), snapshot).allowed
    assert not risk.verdict(record("sell", "51"), snapshot).allowed
    assert risk.verdict(record("buy", "40"), snapshot).allowed
    assert not risk.verdict(record("buy", "41"), snapshot).allowed
    assert risk.verdict(record("sell", "60", reduce_only=True), snapshot).allowed


def test_all_positions_count_for_leverage(venue, book):
    venue.positions = [position("ETH-USDT-SWAP", "short", 4000, leverage=3.0)]
    risk = RiskManager(max_leverage=5, max_position_size=float("inf"), book=book)
    assert risk.check_order_risk("fake", SYMBOL, "buy", 1000, 100)["allowed"]
    assert risk.check_order_risk("fake", SYMBOL, "buy", 1001, 100)["code"] == "LEVERAGE"
    assert risk.check_order_risk("fake", SYMBOL, "buy", 1, 100, leverage=6)["code"] == "LEVERAGE"
    assert risk.check_order_risk("fake", "ETH-USDT-SWAP", "sell", 1, 100)["allowed"]


def test_another_quote_currency_is_converted_or_the_order_denied(risk, venue):
    venue.quotes = {"ETH-BTC": (0.0499, 0.0501, 0.05), "BTC-USDT": (49_999.0, 50_001.0, 50_000.0)}
    assert risk.check_order_risk("fake", "ETH-BTC", "buy", 4, "0.05")["allowed"]
    answer = risk.check_order_risk("fake", "ETH-BTC", "buy", "4.01", "0.05")
    assert answer["code"] == "POSITION_SIZE"
    assert answer["numbers"]["value"] == 10_025.0
    venue.quotes["XYZ-ABC"] = (1.0, 1.0, 1.0)
    venue.default_quote = (None, None, None)
    answer = risk.check_order_risk("fake", "XYZ-ABC", "buy", 1, 1)
    assert answer["code"] == "NO_MARK"
    assert "quote currency" in answer["reason"]


def test_an_account_in_the_base_currency(risk, venue):
    venue.currency, venue.equity = "BTC", 1.0
    venue.quotes = {"BTC-USDT": (49_999.0, 50_001.0, 50_000.0)}
    assert risk.check_order_risk("fake", "BTC-USDT", "buy", "0.1", 50_000)["allowed"]
    assert risk.check_order_risk("fake", "BTC-USDT", "buy", "0.101", 50_000)["code"] == "POSITION_SIZE"


def test_the_loss_counts_from_the_days_first_equity(risk, venue, book):
    assert risk.check_order_risk("fake", SYMBOL, "buy", 1, 100)["allowed"]
    venue.equity = 94_000.0
    assert risk.check_account_risk("fake")["risk_level"] == "danger"
    answer = risk.check_order_risk("fake", SYMBOL, "buy", 1, 100)
    assert (answer["code"], answer["numbers"]["loss_ratio"]) == ("LOSS_RATIO", 0.06)
    assert risk.check_order_risk("fake", SYMBOL, "sell", 1, 100, reduce_only=True)["allowed"]


def test_check_account_risk_answers_what_was_promised(risk, venue, book, hands):
    venue.equity, venue.margin_ratio, venue.unrealized_pnl = 97_000.0, 0.1, -1000.0
    book.first = D(100_000)
    answer = risk.check_account_risk("fake")
    assert (answer["risk_level"], answer["should_liquidate"]) == ("warning", False)
    assert "drawdown" in answer["message"]
    assert answer["metrics"] == {
        "total_equity": 97_000.0,
        "available": 97_000.0,
        "used_margin": 0.0,
        "maintenance_margin": 9_700.0,
        "margin_ratio": 0.1,
        "unrealized_pnl": -1000.0,
        "day_start_equity": 100_000.0,
        "drawdown": 0.03,
        "unrealized_loss": pytest.approx(1000 / 97_000),
        "gross_notional": 0.0,
        "currency": "USDT",
    }
    venue.margin_ratio = 0.9
    answer = risk.check_account_risk("fake")
    assert (answer["risk_level"], answer["should_liquidate"]) == ("danger", True)
    venue.equity, venue.margin_ratio, venue.unrealized_pnl = 101_000.0, 0.1, 0.0
    answer = risk.check_account_risk("fake")
    assert (answer["risk_level"], answer["should_liquidate"], answer["reasons"]) == ("safe", False, [])


@pytest.mark.parametrize("name", ["fake", "nowhere"])
def test_an_account_that_cannot_be_read_is_a_warning_and_never_liquidated(risk, venue, name):
    venue.failing["get_account_info"] = ("AUTHENTICATION", "rejected")
    answer = risk.check_account_risk(name)
    assert (answer["risk_level"], answer["should_liquidate"]) == ("warning", False)
    assert answer["code"] == "ACCOUNT_UNREADABLE"
    assert set(answer["metrics"].values()) == {None}
    assert "total_equity" in answer["metrics"]


def test_without_positions_the_account_is_watched_but_nothing_is_opened(risk, venue):
    venue.failing["get_positions"] = ("VENUE_REJECTED", "rejected")
    venue.margin_ratio = 0.9
    answer = risk.check_account_risk("fake")
    assert (answer["risk_level"], answer["metrics"]["margin_ratio"], answer["code"]) == (
        "danger",
        0.9,
        "ACCOUNT_DANGER",
    )
    venue.margin_ratio = 0.0
    answer = risk.check_account_risk("fake")
    assert (answer["risk_level"], answer["should_liquidate"], answer["code"]) == ("warning", False, "")
    assert "no positions" in answer["message"]
    assert risk.check_order_risk("fake", SYMBOL, "buy", 1, 100)["code"] == "ACCOUNT_UNREADABLE"


def test_the_account_can_be_watched_without_a_store(risk, venue, book):
    book.fault = StoreLocked("the store is locked")
    assert risk.check_account_risk("fake")["risk_level"] == "safe"
    venue.equity = 90_000.0
    answer = risk.check_account_risk("fake")
    assert (answer["risk_level"], answer["metrics"]["drawdown"]) == ("danger", 0.1)


def test_the_day_begins_anew_at_midnight_utc(venue, tmp_path, hands):
    manager = OrderManager(str(tmp_path / "own.db"))
    risk = RiskManager(book=manager)
    hands.time = 1_700_000_000.0 - 1_700_000_000.0 % 86_400 + 86_399
    assert risk.check_account_risk("fake")["metrics"]["drawdown"] == 0
    venue.equity = 90_000.0
    assert risk.check_account_risk("fake")["metrics"]["drawdown"] == 0.1
    assert RiskManager(book=manager).check_account_risk("fake")["metrics"]["drawdown"] == 0.1
    hands.advance(2)
    assert risk.check_account_risk("fake")["metrics"]["drawdown"] == 0
    manager.close()


def test_send_liquidation_signal(risk, hands):
    now = clock.now()
    everything = risk.send_liquidation_signal("FAKE")
    assert everything == {"signal": "liquidate", "exchange": "fake", "symbol": None, "timestamp": now}
    assert risk.send_liquidation_signal("fake", "btc/usdt:usdt")["symbol"] == SYMBOL
    unknown = risk.send_liquidation_signal("nowhere", SYMBOL)
    assert (unknown["signal"], unknown["exchange"]) == ("liquidate", "nowhere")


# -- with a real book


@pytest.fixture
def shared(tmp_path):
    """Two books on one store: what two processes have."""
    one, two = OrderManager(str(tmp_path / "shared.db")), OrderManager(str(tmp_path / "shared.db"))
    yield one, two
    one.close()
    two.close()


def attempt(manager: OrderManager, risk: RiskManager, snapshot: Any, asked: OrderRecord) -> str:
    with manager.writing():
        verdict = risk.verdict(asked, snapshot)
        if verdict.allowed:
            manager.record(asked)
    return verdict.code


def test_ten_in_flight_from_two_processes_share_one_limit(venue, shared):
    risks = [RiskManager(book=manager) for manager in shared]
    snapshots = [risk.prepare("fake", SYMBOL) for risk in risks]
    codes = [attempt(shared[n % 2], risks[n % 2], snapshots[n % 2], record(amount="30", number=n)) for n in range(10)]
    assert codes == [""] * 3 + ["POSITION_SIZE"] * 7


def test_a_fill_of_one_process_is_seen_by_the_other_with_its_old_snapshot(venue, shared):
    """The order is no longer open and the cached position is old: only the book's sums can tell."""
    risks = [RiskManager(book=manager) for manager in shared]
    snapshots = [risk.prepare("fake", SYMBOL) for risk in risks]
    first = record(amount="80", number=1)
    assert attempt(shared[0], risks[0], snapshots[0], first) == ""
    with shared[0].writing():
        done = {
            "order_id": "1",
            "status": "filled",
            "filled": 80.0,
            "average_price": 100.0,
            "fee": 0,
            "fee_currency": "",
        }
        shared[0].apply(first, done, "send")
    for manager, risk, snapshot in zip(shared, risks, snapshots, strict=True):
        assert attempt(manager, risk, snapshot, record(amount="30", number=2)) == "POSITION_SIZE"
    assert attempt(shared[1], risks[1], snapshots[1], record("sell", "80", number=3)) == ""
    assert attempt(shared[1], risks[1], snapshots[1], record("sell", "101", number=4)) == "POSITION_SIZE"


def test_a_fill_of_the_other_process_while_the_account_is_read_is_not_counted_twice(venue, shared):
    first = record(amount="80", number=1)
    with shared[1].writing():
        shared[1].record(first)

    def fill_elsewhere(name):
        if name == "get_positions" and not venue.positions:
            venue.positions = [position(SYMBOL, "long", 80)]
            done = {"order_id": "1", "status": "filled", "filled": 80.0, "average_price": 100.0}
            with shared[1].writing():
                shared[1].apply(first, done | {"fee": 0, "fee_currency": ""}, "send")

    venue.before = fill_elsewhere
    risk = RiskManager(book=shared[0])
    snapshot = risk.prepare("fake", SYMBOL)
    assert attempt(shared[0], risk, snapshot, record("sell", "81", number=2)) == ""
    assert attempt(shared[0], risk, snapshot, record("sell", "100", number=3)) == "POSITION_SIZE"


def test_a_late_fill_of_an_ended_order_counts(venue, shared):
    manager, risk = shared[0], RiskManager(book=shared[0])
    snapshot = risk.prepare("fake", SYMBOL)
    first = record(amount="80", number=1)
    assert attempt(manager, risk, snapshot, first) == ""
    end = {"order_id": "1", "status": "cancelled", "filled": 0.0, "average_price": None, "fee": 0, "fee_currency": ""}
    with manager.writing():
        manager.apply(first, end, "send")
        manager.apply(first, end | {"filled": 80.0, "average_price": 100.0}, "sync")
    assert attempt(manager, risk, snapshot, record(amount="30", number=2)) == "POSITION_SIZE"


def test_after_a_failed_transaction_the_old_snapshot_is_not_trusted(venue, shared):
    manager, risk = shared[0], RiskManager(book=shared[0])
    snapshot = risk.prepare("fake", SYMBOL)
    with pytest.raises(RuntimeError), manager.writing():
        raise RuntimeError
    assert attempt(manager, risk, snapshot, record(number=1)) == "STATE_STALE"
    assert attempt(manager, risk, risk.prepare("fake", SYMBOL), record(number=1)) == ""
