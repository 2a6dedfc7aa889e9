"""The book of orders: states, history, fills, memory, and several processes on one store."""

from __future__ import annotations

import itertools
import sqlite3
from decimal import Decimal
from typing import Any

import pytest

from Execution import registry
from Execution.common import journal
from Execution.common.envelope import fail, ok
from Execution.common.order import TRANSITIONS, OrderRecord, is_legal
from Execution.common.types import FINAL_STATUSES, OPEN_STATUSES, STATUSES
from Execution.exchanges import paper
from Execution.order_manager import OrderManager, default_manager

SYMBOL = "BTC-USDT-SWAP"


def record_of(cid: str = "a1", **more: Any) -> OrderRecord:
    fields: dict[str, Any] = {
        "client_order_id": cid,
        "exchange": "paper",
        "symbol": SYMBOL,
        "side": "buy",
        "type": "limit",
        "amount": Decimal("0.01"),
        "price": Decimal("50000.5"),
        "created": 1000.0,
        "updated": 1000.0,
    }
    return OrderRecord(**(fields | more))


def seen(status: str, filled: float = 0.0, **more: Any) -> dict[str, Any]:
    average = 50000.0 if filled else None
    return {
        "status": status,
        "filled": filled,
        "order_id": "77",
        "average_price": average,
        "fee": filled * 2,
        "fee_currency": "USDT",
        **more,
    }


def fill(number: int, amount: float = 0.005) -> dict[str, Any]:
    return {
        "trade_id": str(number),
        "order_id": "77",
        "side": "buy",
        "amount": amount,
        "price": 50000.0,
        "fee": 0.01,
        "fee_currency": "USDT",
        "maker": True,
        "timestamp": 1001.0,
    }


@pytest.fixture
def book() -> OrderManager:
    return default_manager()


def enter(book: OrderManager, record: OrderRecord, key: str | None = None) -> OrderRecord:
    with book.writing():
        book.record(record, key)
    return record


def apply(book: OrderManager, record: OrderRecord, order: dict[str, Any]) -> bool:
    with book.writing():
        return book.apply(record, order, "sync")


# -- states


def test_every_status_has_its_transitions() -> None:
    assert set(TRANSITIONS) == set(STATUSES) == OPEN_STATUSES | FINAL_STATUSES
    for before, after in itertools.product(STATUSES, STATUSES):
        if before in FINAL_STATUSES:
            assert is_legal(before, after) == (after == "filled" and before in ("cancelled", "expired"))


@pytest.mark.parametrize("end", sorted(FINAL_STATUSES))
def test_a_late_open_never_overwrites_an_end(book: OrderManager, end: str) -> None:
    record = enter(book, record_of())
    assert apply(book, record, seen(end, 0.01 if end == "filled" else 0.0))
    assert not apply(book, record, seen("open", 0.01 if end == "filled" else 0.0))
    assert record.status == end
    assert book.get_order("a1")["status"] == end
    assert [e.kind for e in book.journal.events()][-1] == "refused"


def test_filled_never_shrinks(book: OrderManager) -> None:
    record = enter(book, record_of())
    assert apply(book, record, seen("partially_filled", 0.006))
    assert not apply(book, record, seen("partially_filled", 0.004))
    assert record.filled == Decimal("0.006")


def test_a_fill_after_the_cancel_is_booked(book: OrderManager) -> None:
    record = enter(book, record_of())
    apply(book, record, seen("cancelled", 0.004))
    assert apply(book, record, seen("cancelled", 0.006))
    assert (record.status, record.filled) == ("cancelled", Decimal("0.006"))
    assert apply(book, record, seen("filled", 0.01))
    assert book.get_order("a1")["status"] == "filled"
    assert book.net_filled("paper")[1][SYMBOL] == Decimal("0.01")


def test_fills_are_stored_once_by_trade_id(book: OrderManager) -> None:
    record = enter(book, record_of())
    apply(book, record, seen("partially_filled", 0.005, fills=[fill(1)]))
    apply(book, record, seen("filled", 0.01, fills=[fill(1), fill(2)]))
    assert [f["trade_id"] for f in book.get_fills("a1")] == ["1", "2"]
    assert sum(f["amount"] for f in book.get_fills(exchange_name="paper")) == 0.01
    assert book.get_fills() == book.get_fills("77")


def test_a_send_that_ends_unknown_stays_open(book: OrderManager) -> None:
    record = enter(book, record_of())
    with book.writing():
        book.settle(record, fail("TIMEOUT", "no answer", "unknown"))
    assert record.status == record.outcome == "unknown"
    assert book.unresolved("paper", SYMBOL) == [record]
    assert book.get_open_orders("paper")[0]["client_order_id"] == "a1"
    apply(book, record, seen("open"))
    assert book.unresolved("paper", SYMBOL) == []


@pytest.mark.parametrize("outcome", ["not_sent", "rejected"])
def test_a_send_that_is_refused_ends(book: OrderManager, outcome: str) -> None:
    record = enter(book, record_of())
    with book.writing():
        book.settle(record, fail("INSUFFICIENT_FUNDS", "too little", outcome))  # type: ignore[arg-type]
    assert (record.status, record.outcome) == ("rejected", outcome)
    assert book.open_order_count("paper") == 0
    assert book.exposure("paper", SYMBOL) == (0, 0)


# -- sums


def test_exposure_counts_what_is_open_and_not_reduce_only(book: OrderManager) -> None:
    first = enter(book, record_of("a1"))
    enter(book, record_of("a2", side="sell", amount=Decimal("0.03")))
    enter(book, record_of("a3", terms="GTC,reduce_only"))
    assert book.exposure("paper", SYMBOL) == (Decimal("0.01"), Decimal("0.03"))
    assert book.open_order_count("paper") == 3
    apply(book, first, seen("partially_filled", 0.004))
    assert book.exposure("paper", SYMBOL)[0] == Decimal("0.006")
    apply(book, first, seen("cancelled", 0.004))
    assert book.exposure("paper", SYMBOL) == (0, Decimal("0.03"))
    assert book.open_order_count("paper") == 2


def test_intents_are_counted_over_restarts(book: OrderManager) -> None:
    from Execution.common import clock

    now = clock.now()
    day = now - now % 86400
    enter(book, record_of("old", created=day - 10))
    enter(book, record_of("new", created=max(day, now - 30)))
    assert book.intent_count("paper", 86400) == 1
    enter(book, record_of("newer", created=now))
    assert book.intent_count("paper", 60) == 2
    other = OrderManager(book.journal.database.path)
    assert other.intent_count("paper", 86400) == 2
    other.close()


def test_an_id_is_used_once(book: OrderManager) -> None:
    record = enter(book, record_of())
    apply(book, record, seen("filled", 0.01))
    for _ in range(2):
        with pytest.raises(Exception, match="used before"), book.writing():
            book.record(record_of("a1"))
        book.journal.project()
    assert len(book.get_orders_by_symbol("paper", SYMBOL)) == 1


# -- memory and store


def test_finished_orders_leave_memory_and_stay_in_the_store(
    book: OrderManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "_BEHIND_AT_MOST", 600)
    monkeypatch.setattr(journal, "_SLICE", 100)
    for number in range(1200):
        record = record_of(f"n{number}")
        with book.writing():
            book.record(record)
        apply(book, record, seen("filled", 0.01, order_id=str(number)))
    assert not book._book.orders
    assert 500 <= len(book.journal._new) <= 600
    book.journal.project_some(50)
    assert 450 <= len(book.journal._new) <= 550
    other = OrderManager(book.journal.database.path)
    assert len(other.get_orders_by_status("filled")) == 1200
    other.close()
    assert len(book.get_orders_by_status("filled")) == 1200
    assert book.get_order("n3")["order_id"] == "3"
    assert book.get_order("3")["client_order_id"] == "n3"


def test_a_book_opened_anew_is_the_same(book: OrderManager) -> None:
    apply(book, enter(book, record_of("a1", options={"parent": "x"}, strategy="s")), seen("open"))
    apply(book, enter(book, record_of("a2"), "key-2"), seen("filled", 0.01, fills=[fill(1), fill(2)]))
    enter(book, record_of("a3"))
    before = {name: book.get_order(name) for name in ("a1", "a2", "a3")}
    other = OrderManager(book.journal.database.path)
    assert {name: other.get_order(name) for name in before} == before
    assert [o["client_order_id"] for o in other.get_open_orders()] == ["a1", "a3"]
    assert other.get_orders_by_key("key-2") == [before["a2"]]
    assert len(other.get_fills("a2")) == 2
    assert other.find("a1").options == {"parent": "x"}
    assert other.exposure("paper", SYMBOL) == book.exposure("paper", SYMBOL)
    other.close()


def test_two_books_on_one_store_see_each_other(book: OrderManager) -> None:
    other = OrderManager(book.journal.database.path)
    first = enter(book, record_of("a1"))
    second = enter(other, record_of("b1"))
    assert (first.rid, second.rid) == (1, 2)
    assert [o["client_order_id"] for o in book.get_open_orders()] == ["a1", "b1"]
    apply(book, first, seen("partially_filled", 0.004, fills=[fill(1, 0.004)]))
    assert other.exposure("paper", SYMBOL)[0] == Decimal("0.02")
    assert other.get_order("a1")["filled"] == 0.004
    assert other.exposure("paper", SYMBOL)[0] == Decimal("0.016")
    with other.writing():
        other.apply(other.find("a1"), seen("filled", 0.01, fills=[fill(2, 0.006)]), "sync")
    assert book.get_order("a1")["status"] == "filled"
    assert book.net_filled("paper")[1][SYMBOL] == Decimal("0.01")
    assert [f["amount"] for f in book.get_fills("a1")] == [0.004, 0.006]
    other.close()


def test_the_history_of_an_order(book: OrderManager) -> None:
    record = enter(book, record_of(), "k")
    apply(book, record, seen("open"))
    apply(book, record, seen("filled", 0.01))
    history = book.get_history("77")
    assert [e["event"] for e in history] == ["intent", "open", "filled"]
    assert history[0]["amount"] == "0.01"
    assert history[0]["key"] == "k"
    assert history[2]["filled"] == "0.01"
    assert book.get_history("nobody") == []


def test_orders_by_time_and_status(book: OrderManager) -> None:
    enter(book, record_of("a1", created=10.0))
    enter(book, record_of("a2", created=20.0))
    assert [o["client_order_id"] for o in book.get_orders_by_time(15.0)] == ["a2"]
    assert [o["client_order_id"] for o in book.get_orders_by_time(5.0, 15.0)] == ["a1"]
    assert len(book.get_orders_by_status("pending", "paper")) == 2
    with pytest.raises(ValueError, match="status must be one of"):
        book.get_orders_by_status("done")


def test_the_days_first_equity_is_kept(book: OrderManager) -> None:
    assert book.day_start_equity("paper", Decimal(1000)) == 1000
    assert book.day_start_equity("paper", Decimal(900)) == 1000
    other = OrderManager(book.journal.database.path)
    assert other.day_start_equity("paper", Decimal(800)) == 1000
    other.close()


def test_a_failed_commit_leaves_memory_as_the_store(book: OrderManager) -> None:
    enter(book, record_of("a1"))
    with pytest.raises(RuntimeError), book.writing():
        book.record(record_of("a2"))
        raise RuntimeError
    assert [o["client_order_id"] for o in book.get_open_orders()] == ["a1"]
    assert book.exposure("paper", SYMBOL)[0] == Decimal("0.01")
    assert enter(book, record_of("a3")).rid == 2


# -- orders of others


def test_add_order_takes_what_users_were_promised(book: OrderManager) -> None:
    info = {
        "order_id": "9",
        "exchange": "PAPER",
        "symbol": "BTC/USDT:USDT",
        "side": "sell",
        "type": "limit",
        "amount": 0.5,
        "price": 60000,
        "status": "open",
        "timestamp": 5.0,
    }
    answer = book.add_order(info)
    assert answer["success"], answer
    assert answer["data"]["symbol"] == SYMBOL
    assert book.get_order("9", "paper")["amount"] == 0.5
    again = book.add_order(info)
    assert again["success"]
    assert len(book.get_orders_by_symbol("paper", SYMBOL)) == 1


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"side": "up"}, "side must be one of"),
        ({"type": "iceberg"}, "type must be one of"),
        ({"status": "done"}, "status must be one of"),
        ({"amount": float("nan")}, "amount"),
        ({"exchange": "nyse"}, "unknown exchange 'nyse'"),
        ({"symbol": "BTC"}, "symbol 'BTC'"),
        ({"order_id": ""}, "order_id is missing"),
    ],
)
def test_add_order_names_what_is_wrong(book: OrderManager, change: dict[str, Any], words: str) -> None:
    good = {"order_id": "9", "exchange": "paper", "symbol": SYMBOL, "side": "buy", "type": "limit", "amount": 1}
    answer = book.add_order(good | change)
    assert not answer["success"]
    assert answer["data"]["outcome"] == "not_sent"
    assert words in answer["message"]
    assert book.get_open_orders() == []
    assert not book.add_order([1])["success"]  # type: ignore[arg-type]


# -- asking the venue


def test_update_order_status_asks_the_venue(book: OrderManager) -> None:
    paper.set_price(SYMBOL, 60000, 60001)
    placed = paper.place_limit_order(SYMBOL, "buy", 0.01, 50000)["data"]
    book.add_order(placed | {"exchange": "paper", "client_order_id": "", "status": "open"})
    paper.cancel_order(SYMBOL, placed["order_id"])
    answer = book.update_order_status("paper", placed["order_id"])
    assert answer["success"], answer
    assert answer["data"]["status"] == "cancelled"
    assert book.get_open_orders() == []
    missing = book.update_order_status("paper", "404")
    assert missing["data"]["error"] == "ORDER_NOT_FOUND"
    assert book.update_order_status("nyse", "1")["data"]["error"] == "UNKNOWN_VENUE"


class Venue:
    """A venue whose answers a test sets; everything else is the paper exchange."""

    NAME = "fake"
    LOCAL = True
    ABSENCE_GRACE = 0.0

    def __init__(self) -> None:
        self.status: Any = fail("ORDER_NOT_FOUND", "no such order", "rejected")
        self.open: Any = ok([])
        self.fills: Any = ok([])
        self.asked: list[Any] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(paper, name)

    def get_order_status(self, symbol: str, order_id: str | None = None, *, client_order_id: str | None = None) -> Any:
        self.asked.append((symbol, order_id, client_order_id))
        return self.status

    def get_open_orders(self, symbol: str | None = None) -> Any:
        return self.open

    def get_fills(self, symbol: str | None = None, *, order_id: str | None = None, since: float | None = None) -> Any:
        return self.fills


@pytest.fixture
def venue() -> Venue:
    venue = Venue()
    registry.register(venue)  # type: ignore[arg-type]
    return venue


def test_an_order_that_never_arrived_is_written_off_after_the_grace_time(book: OrderManager, venue: Venue) -> None:
    record = enter(book, record_of(exchange="fake"))
    venue.ABSENCE_GRACE = 1e12
    registry.register(venue)  # type: ignore[arg-type]
    book.abandon([record])
    book.refresh(record)
    assert record.status == "pending"
    venue.ABSENCE_GRACE = 0.0
    registry.register(venue)  # type: ignore[arg-type]
    book.refresh(record, final=False)
    assert record.status == "pending"
    book.refresh(record)
    assert (record.status, record.outcome) == ("rejected", "not_sent")
    assert venue.asked[-1] == (SYMBOL, None, "a1")


def test_an_order_that_the_venue_once_named_is_never_written_off(book: OrderManager, venue: Venue) -> None:
    record = enter(book, record_of(exchange="fake"))
    apply(book, record, seen("open"))
    book.refresh(record)
    assert record.status == "open"
    assert venue.asked[-1] == (SYMBOL, "77", None)


def test_sync_reads_open_orders_once_and_asks_for_the_missing(book: OrderManager, venue: Venue) -> None:
    first = enter(book, record_of("a1", exchange="fake"))
    second = enter(book, record_of("a2", exchange="fake"))
    book.abandon([first, second])
    full = {"client_order_id": "a1", "order_id": "1", "status": "partially_filled", "filled": 0.004}
    venue.open = ok([seen("open") | full])
    venue.status = ok(seen("filled", 0.01, order_id="2", client_order_id="a2"))
    venue.fills = ok([fill(5, 0.01)])
    changed = book.sync("fake")
    assert [(o["client_order_id"], o["status"]) for o in changed] == [("a1", "partially_filled"), ("a2", "filled")]
    assert venue.asked == [(SYMBOL, None, "a2")]
    assert book.get_fills("a2")[0]["trade_id"] == "5"
    venue.open = fail("VENUE_DOWN", "down", "not_sent")
    assert book.sync() == []
    assert first.status == "partially_filled"


def test_leftovers_are_those_nobody_alive_is_sending(book: OrderManager) -> None:
    sending = enter(book, record_of("a1"))
    assert book.leftovers() == []
    book.abandon([sending])
    assert book.leftovers() == [sending]
    dead = enter(book, record_of("a2"))
    book.journal.project()
    with sqlite3.connect(book.journal.database.path) as connection:
        connection.execute("UPDATE orders SET owner = '1:1' WHERE client_order_id = 'a2'")
    connection.close()
    book.abandon([dead])
    other = OrderManager(book.journal.database.path)
    assert [r.client_order_id for r in other.leftovers()] == ["a1", "a2"]
    other.close()


def test_what_a_living_process_is_sending_is_left_alone(book: OrderManager) -> None:
    record = enter(book, record_of("a1"))
    other = OrderManager(book.journal.database.path)
    assert other.sync() == []
    assert other.leftovers() == []
    assert not other.update_order_status("paper", "a1")["success"]
    assert other.get_order("a1")["status"] == "pending"
    book.abandon([record])
    assert [o["outcome"] for o in other.sync()] == ["not_sent"]
    other.close()


def test_a_fee_that_the_venue_finds_out_later_is_taken_over(book: OrderManager) -> None:
    record = enter(book, record_of())
    apply(book, record, seen("filled", 0.01, fee=0.0))
    assert apply(book, record, seen("filled", 0.01, fee=0.5))
    assert book.get_order("a1")["fee"] == 0.5
    assert apply(book, record, seen("filled", 0.01, fee=0.0))
    assert (record.fee, record.status) == (Decimal("0.5"), "filled")
    assert [e.kind for e in book.journal.events()] == ["intent", "filled", "filled"]
