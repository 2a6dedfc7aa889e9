"""Cancelling one, several, all; what became of each; and the proof that none is left."""

from __future__ import annotations

import sqlite3
import threading
import time

import pytest

from Execution import canceler, registry
from Execution.canceler import cancel_all_orders, cancel_everything, cancel_order, cancel_orders
from Execution.common import settings
from Execution.order_manager import default_manager
from tests.fakes import FakeVenue, at_home

SYMBOL = "BTC-USDT-SWAP"


@pytest.fixture
def home(tmp_path):
    return tmp_path / "home"


@pytest.fixture
def venue(home):
    fake = FakeVenue("fake")
    with at_home(home, fake):
        yield fake


# -- one


def test_cancel_order_answers_what_was_promised(venue):
    order = venue.add(kind="stop")
    answer = cancel_order("FAKE", "btc/usdt:usdt", order["order_id"])
    assert set(answer) == {"success", "order_id", "message", "data"}
    assert (answer["success"], answer["order_id"], answer["message"]) == (True, "1", "")
    assert (answer["data"]["state"], answer["data"]["status"]) == ("cancelled", "cancelled")
    assert venue.orders["1"]["status"] == "cancelled"


def test_an_order_can_be_named_by_our_id(venue):
    first, second = venue.add(), venue.add()
    assert cancel_order("fake", SYMBOL, client_order_id=first["client_order_id"])["data"]["state"] == "cancelled"
    assert cancel_order("fake", SYMBOL, second["client_order_id"])["data"]["state"] == "cancelled"
    third = venue.add(status="filled", filled=1.0)
    assert cancel_order("fake", SYMBOL, third["client_order_id"])["data"]["state"] == "filled"


def test_digits_are_never_taken_for_one_of_our_ids(venue):
    other = venue.add(client_order_id="77")
    assert cancel_order("fake", SYMBOL, "77")["data"]["state"] == "not_found"
    assert other["status"] == "open"


@pytest.mark.parametrize(
    ("status", "state", "success"),
    [
        ("filled", "filled", False),
        ("cancelled", "already_done", True),
        ("expired", "already_done", True),
        ("rejected", "already_done", True),
    ],
)
def test_what_had_ended_before_is_told_apart(venue, status, state, success):
    venue.add(status=status, filled=1.0 if status == "filled" else 0.0)
    answer = cancel_order("fake", SYMBOL, "1")
    assert (answer["success"], answer["data"]["state"], answer["data"]["status"]) == (success, state, status)
    assert answer["message"]


def test_what_the_venue_does_not_know_is_not_found(venue):
    answer = cancel_order("fake", SYMBOL, "9")
    assert (answer["success"], answer["data"]["state"]) == (False, "not_found")
    assert answer["data"]["error"] == "ORDER_NOT_FOUND"


def test_a_lost_answer_is_settled_by_reading_the_order(venue):
    venue.add()
    venue.lost_cancel_answers = 1
    assert cancel_order("fake", SYMBOL, "1")["data"]["state"] == "cancelled"
    assert venue.called("cancel_order") == 1


def test_a_lost_cancel_is_sent_again(venue):
    venue.add()
    venue.silent_cancels = 1
    assert cancel_order("fake", SYMBOL, "1")["data"]["state"] == "cancelled"
    assert venue.called("cancel_order") == 2


def test_an_order_whose_end_nobody_can_tell_is_unknown(venue):
    venue.add()
    venue.failing |= {"cancel_order": ("TIMEOUT", "unknown"), "get_order_status": ("VENUE_REJECTED", "rejected")}
    answer = cancel_order("fake", SYMBOL, "1")
    assert (answer["success"], answer["data"]["state"], answer["data"]["error"]) == (False, "unknown", "TIMEOUT")
    assert venue.called("cancel_order") == 2


def test_an_order_that_the_venue_will_not_cancel_is_said_to_be_open(venue):
    venue.add()
    venue.undying = {"1"}
    answer = cancel_order("fake", SYMBOL, "1")
    assert (answer["success"], answer["data"]["state"], answer["data"]["status"]) == (False, "unknown", "open")
    assert "will not die" in answer["message"]


def test_a_cancel_that_is_only_accepted_is_read_back(venue):
    venue.add()
    venue.slow_cancels = True
    assert cancel_order("fake", SYMBOL, "1")["data"]["state"] == "cancelled"
    assert venue.called("get_order_status") == 1


def test_what_refuses_before_the_order_is_not_repeated(venue):
    venue.failing["cancel_order"] = ("AUTHENTICATION", "rejected")
    answer = cancel_order("fake", SYMBOL, "1")
    assert (answer["success"], answer["data"]["error"]) == (False, "AUTHENTICATION")
    assert venue.called("cancel_order") == 1


@pytest.mark.parametrize(
    ("args", "word"),
    [(("nowhere", SYMBOL, "1"), "nowhere"), (("fake", "junk", "1"), "junk"), (("fake", SYMBOL, ""), "order_id")],
)
def test_what_makes_no_sense_is_answered_not_raised(venue, args, word):
    answer = cancel_order(*args)
    assert answer["success"] is False
    assert word in answer["message"]
    assert venue.calls == []


@pytest.mark.parametrize("cancel", [cancel_all_orders, lambda name: cancel_order(name, SYMBOL, "1")])
def test_an_unknown_exchange_is_named_with_the_known_ones(cancel):
    answer = cancel("nowhere")
    assert answer["success"] is False
    assert "'nowhere'" in answer["message"]
    assert all(name in answer["message"] for name in registry.names())


# -- several


def test_cancel_orders_takes_ids_pairs_and_dicts(venue):
    ids = [venue.add("ETH-USDT")["order_id"], venue.add()["order_id"], venue.add()["order_id"]]
    answer = cancel_orders("fake", [ids[0], (SYMBOL, ids[1]), {"symbol": SYMBOL, "client_order_id": "c-3"}])
    assert (answer["success"], answer["cancelled_count"], answer["message"]) == (True, 3, "")
    assert [result["data"]["state"] for result in answer["data"]["results"]] == ["cancelled"] * 3
    assert {order["status"] for order in venue.orders.values()} == {"cancelled"}


def test_cancel_orders_says_which_failed(venue):
    venue.add()
    venue.add(status="filled", filled=1.0)
    answer = cancel_orders("fake", ["1", "2", "9"], symbol=SYMBOL)
    assert (answer["success"], answer["cancelled_count"]) == (False, 1)
    assert [failed["order_id"] for failed in answer["data"]["failed"]] == ["2", "9"]
    assert "2: it was filled" in answer["message"]


def test_an_id_that_several_symbols_have_needs_its_symbol(venue):
    venue.add(client_order_id="same")
    venue.add("ETH-USDT", client_order_id="same")
    answer = cancel_orders("fake", [{"client_order_id": "same"}, "gone"])
    assert answer["success"] is False
    assert {order["status"] for order in venue.orders.values()} == {"open"}
    assert "ETH-USDT" in answer["data"]["results"][0]["message"]
    assert cancel_orders("nowhere", ["1"])["success"] is False


# -- all of a venue


def test_cancel_all_orders_answers_what_was_promised(venue):
    for kind in ("limit", "stop", "take_profit"):
        venue.add(kind=kind)
    kept = venue.add("ETH-USDT")
    answer = cancel_all_orders("fake", SYMBOL)
    assert set(answer) == {"success", "cancelled_count", "message", "data"}
    assert (answer["success"], answer["cancelled_count"]) == (True, 3)
    assert answer["data"] == {
        "cancelled": ["1", "2", "3"],
        "left": [],
        "proven_empty": True,
        "attempts": 1,
        "failed": [],
        "gone": [],
    }
    assert kept["status"] == "open"
    assert cancel_all_orders("fake")["cancelled_count"] == 1
    assert cancel_all_orders("fake")["data"]["proven_empty"]


def test_conditional_orders_that_a_venue_forgets_are_cancelled_one_by_one(venue):
    for kind in ("limit", "stop", "take_profit"):
        venue.add(kind=kind)
    venue.leaves_conditional = True
    answer = cancel_all_orders("fake")
    assert (answer["success"], answer["cancelled_count"]) == (True, 3)
    assert {order["status"] for order in venue.orders.values()} == {"cancelled"}


def test_the_last_call_is_a_read(venue):
    venue.add()
    venue.leaves_conditional = True
    venue.add(kind="stop")
    cancel_all_orders("fake")
    assert venue.calls[-1][0] == "get_open_orders"


def test_a_lagging_read_is_not_believed_forever(venue):
    order = venue.add()
    venue.lagging_reads.extend([[dict(order)], [dict(order)], [dict(order)]])
    answer = cancel_all_orders("fake")
    assert answer["success"]
    assert (answer["cancelled_count"], answer["data"]["gone"]) == (1, [])
    assert answer["data"]["attempts"] == 2
    assert answer["data"]["left"] == []


def test_what_is_left_at_the_deadline_is_listed(venue):
    venue.add()
    venue.add(kind="stop")
    venue.undying = {"2"}
    started = time.monotonic()
    answer = cancel_all_orders("fake", deadline=0.4)
    assert time.monotonic() - started < 1.5
    assert (answer["success"], answer["cancelled_count"]) == (False, 1)
    assert [order["order_id"] for order in answer["data"]["left"]] == ["2"]
    assert answer["data"]["proven_empty"] is False
    assert answer["data"]["attempts"] > 1
    assert [(failed["order_id"], failed["error"]) for failed in answer["data"]["failed"]] == [("2", "VENUE_REJECTED")]
    assert "1 LEFT: 2" in answer["message"]


def test_an_order_that_dies_at_the_second_try_is_cancelled_and_did_not_fail(venue):
    venue.add()
    venue.undying = {"1"}
    venue.before = lambda name: venue.called("get_open_orders") == 2 and venue.undying.clear()
    data = cancel_all_orders("fake")["data"]
    assert (data["cancelled"], data["failed"], data["gone"], data["attempts"]) == (["1"], [], [], 2)


def test_what_was_seen_open_is_cancelled_even_where_the_next_read_fails(venue):
    venue.add(kind="stop")
    venue.leaves_conditional = True
    venue.silent_cancels = 1
    fault = {"get_open_orders": ("BAD_RESPONSE", "unknown")}
    venue.before = lambda name: venue.failing.update(fault if venue.called("get_open_orders") > 1 else {})
    answer = cancel_all_orders("fake", deadline=0.5)
    assert venue.orders["1"]["status"] == "cancelled"
    assert (answer["success"], answer["data"]["proven_empty"]) == (False, False)


def test_many_orders_that_are_left_do_not_stretch_the_deadline(venue):
    venue.undying = {venue.add()["order_id"] for _ in range(100)}
    venue.before = lambda name: name == "cancel_order" and time.sleep(0.02)
    started = time.monotonic()
    answer = cancel_all_orders("fake", deadline=0.3)
    assert time.monotonic() - started < 1.0
    assert len(answer["data"]["left"]) == 100


def test_an_order_that_fills_meanwhile_is_gone_not_cancelled(venue, monkeypatch):
    order = venue.add()
    venue.undying = {"1"}
    cancel = venue.cancel_order

    def filled_first(*args, **kwargs):
        venue.fill(order)
        return cancel(*args, **kwargs)

    monkeypatch.setattr(venue, "cancel_order", filled_first)
    answer = cancel_all_orders("fake")
    assert (answer["success"], answer["cancelled_count"], answer["data"]["gone"]) == (True, 0, ["1"])


def test_no_read_no_proof(venue):
    venue.add()
    venue.failing["get_open_orders"] = ("AUTHENTICATION", "rejected")
    answer = cancel_all_orders("fake")
    assert (answer["success"], answer["cancelled_count"], answer["data"]["proven_empty"]) == (False, 1, False)
    assert "not known" in answer["message"]
    assert venue.called("get_open_orders") == 1


def test_a_passing_fault_is_tried_again(venue):
    venue.add()
    venue.failing["cancel_all_orders"] = ("TIMEOUT", "unknown")
    answer = cancel_all_orders("fake")
    assert (answer["success"], answer["cancelled_count"]) == (True, 1)


def test_a_venue_without_cancel_all_is_emptied_one_by_one(venue):
    venue.add()
    venue.add("ETH-USDT", kind="stop")
    venue.failing["cancel_all_orders"] = ("NOT_SUPPORTED", "not_sent")
    answer = cancel_all_orders("fake")
    assert (answer["success"], answer["cancelled_count"]) == (True, 2)


def test_a_venue_that_is_not_built_proves_nothing():
    name = next((name for name in registry.names() if registry.is_placeholder(name)), None)
    if name is None:
        pytest.skip("every venue is built")
    answer = cancel_all_orders(name)
    assert (answer["success"], answer["data"]["error"]) == (False, "NOT_SUPPORTED")


# -- everything


@pytest.fixture
def three(home, monkeypatch):
    venues = [FakeVenue("one"), FakeVenue("two"), FakeVenue("three")]
    with at_home(home, *venues):
        monkeypatch.setattr(registry, "built", lambda: ["one", "three", "two"])
        yield venues


def test_cancel_everything_empties_every_venue(three):
    for fake in three:
        fake.add()
        fake.add(kind="stop")
    answer = cancel_everything()
    assert (answer["success"], answer["cancelled_count"]) == (True, 6)
    assert sorted(answer["data"]["venues"]) == ["one", "three", "two"]
    assert answer["data"]["proven_empty"]
    assert (answer["data"]["left"], answer["data"]["failed"], answer["data"]["skipped"]) == ([], [], {})


def test_one_failing_venue_never_stops_the_others(three):
    for fake in three:
        fake.add()
    three[0].raising = {name: RuntimeError("broken") for name in ("cancel_all_orders", "get_open_orders")}
    answer = cancel_everything(["one", "two", "nowhere", "TWO"], deadline=2)
    assert (answer["success"], answer["data"]["failed"]) == (False, ["one", "nowhere"])
    assert answer["data"]["venues"]["two"]["success"]
    assert three[1].orders["1"]["status"] == "cancelled"
    assert three[2].orders["1"]["status"] == "open"
    assert "known:" in answer["data"]["venues"]["nowhere"]["message"]


def test_a_fault_in_the_sweep_itself_is_one_venues_fault(three, monkeypatch):
    sweep = canceler.sweep

    def broken(call, name, *args):
        if name == "one":
            raise ZeroDivisionError("oops")
        return sweep(call, name, *args)

    monkeypatch.setattr(canceler, "sweep", broken)
    answer = cancel_everything()
    assert answer["data"]["failed"] == ["one"]
    assert "ZeroDivisionError" in answer["data"]["venues"]["one"]["message"]


def test_a_hung_venue_does_not_hold_the_answer_past_the_deadline(three):
    for fake in three:
        fake.add()
    three[0].hang = threading.Event()
    started = time.monotonic()
    answer = cancel_everything(deadline=0.6)
    assert time.monotonic() - started < 1.2
    hanging = [thread for thread in threading.enumerate() if thread.name == "cancel-one"]
    assert len(hanging) == 1
    assert hanging[0].daemon
    three[0].hang.set()
    hanging[0].join(10)
    assert answer["data"]["failed"] == ["one"]
    assert answer["data"]["venues"]["one"]["data"]["error"] == "TIMEOUT"
    assert answer["cancelled_count"] == 2


def test_venues_are_emptied_side_by_side(three):
    gate = threading.Barrier(3, timeout=5)
    for fake in three:
        fake.before = lambda function: function == "cancel_all_orders" and gate.wait()
    assert cancel_everything(deadline=10)["success"]


def test_what_is_left_is_listed_with_its_venue(three):
    three[2].add()
    three[2].undying = {"1"}
    answer = cancel_everything(deadline=0.3)
    assert [(order["exchange"], order["order_id"]) for order in answer["data"]["left"]] == [("three", "1")]


def test_accounts_with_credentials_are_found(three, monkeypatch):
    for name in ("ONE_API_KEY", "ONE_ALPHA_API_KEY", "TWO_BETA_PRIVATE_KEY"):
        monkeypatch.setenv(name, "secret-secret")
    assert sorted(cancel_everything()["data"]["venues"]) == ["one", "one:alpha", "three", "two:beta"]


def test_a_venue_whose_key_has_another_name_is_found_too(monkeypatch):
    assert settings.accounts("serum") == []
    monkeypatch.setenv("SOLANA_PRIVATE_KEY", "secret-secret")
    monkeypatch.setenv("SERUM_MARKETS", "x")
    monkeypatch.setenv("OKX_PASSPHRASE", "")
    assert (settings.accounts("serum"), settings.accounts("okx")) == ([""], [])


def test_venues_that_are_not_set_up_are_skipped_unless_named_or_half_set_up(three, monkeypatch):
    for fake in three[:2]:
        fake.failing = dict.fromkeys(("cancel_all_orders", "get_open_orders"), ("CONFIGURATION", "not_sent"))
    answer = cancel_everything()
    assert answer["success"]
    assert sorted(answer["data"]["skipped"]) == ["one", "two"]
    assert cancel_everything(["one"])["data"]["failed"] == ["one"]
    monkeypatch.setenv("ONE_API_KEY", "secret-secret")
    answer = cancel_everything()
    assert (answer["data"]["failed"], list(answer["data"]["skipped"])) == (["one"], ["two"])


def test_settings_that_cannot_be_read_are_a_failure_and_stop_nothing(three, home, monkeypatch):
    home.mkdir()
    (home / "bad.toml").write_text("this is no toml")
    monkeypatch.setenv("EXECUTION_CONFIG", str(home / "bad.toml"))
    settings.forget()
    three[0].add()
    answer = cancel_everything()
    assert answer["success"] is False
    assert answer["data"]["venues"]["settings"]["data"]["error"] == "CONFIGURATION"
    assert three[0].orders["1"]["status"] == "cancelled"


# -- the book


def put_in_book(venue, order):
    return default_manager().add_order({**order, "exchange": venue.NAME})


def test_the_book_is_told(venue):
    one, two = venue.add(), venue.add()
    for order in (one, two):
        put_in_book(venue, order)
    cancel_order("fake", SYMBOL, "1")
    assert default_manager().get_order("1")["status"] == "cancelled"
    assert default_manager().get_order("2")["status"] == "open"
    cancel_all_orders("fake")
    assert default_manager().get_order("2")["status"] == "cancelled"


def test_without_a_store_none_is_made(venue, home):
    venue.add()
    assert cancel_order("fake", SYMBOL, "1")["success"]
    assert cancel_all_orders("fake")["success"]
    assert not (home / "book.db").exists()


def test_a_broken_store_does_not_matter(venue, home):
    home.mkdir(exist_ok=True)
    (home / "book.db").write_bytes(b"this is no database" * 100)
    venue.add()
    venue.add()
    assert cancel_order("fake", SYMBOL, "1")["success"]
    assert cancel_all_orders("fake")["success"]


def test_a_locked_store_holds_nothing_up(venue, home):
    for _ in range(2):
        put_in_book(venue, venue.add())
    other = sqlite3.connect(home / "book.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    started = time.monotonic()
    assert cancel_order("fake", SYMBOL, "1")["success"]
    assert cancel_all_orders("fake")["success"]
    assert time.monotonic() - started < 3
    other.execute("ROLLBACK")
    other.close()
    for thread in threading.enumerate():
        if thread.name == "tell-book":
            thread.join(10)
    assert default_manager().get_order("1")["status"] == "cancelled"
