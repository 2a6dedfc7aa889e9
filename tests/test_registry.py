"""Names, accounts, modules of users, placeholders, trading rules."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any

import pytest

from Execution import registry
from Execution.common import settings
from Execution.common.envelope import fail, ok
from Execution.common.errors import Refused
from Execution.common.types import VENUE_FUNCTIONS
from tests.fakes import FakeVenue

KNOWN = ["binance", "dYdX", "gate", "hyperliquid", "okx", "paper", "serum"]


@pytest.fixture
def venue() -> FakeVenue:
    made = FakeVenue("fake")
    registry.register(made)  # type: ignore[arg-type]
    return made


# -- names


def test_the_known_names_are_sorted_whatever_their_case() -> None:
    assert registry.names() == KNOWN


@pytest.mark.parametrize("spelling", ["dYdX", "DYDX", "dydx", " dYdX "])
def test_a_name_is_found_in_any_case(spelling: str) -> None:
    assert registry.canonical(spelling) == "dYdX"
    assert registry.find(spelling)[0] is registry.find("dYdX")[0]


@pytest.mark.parametrize(
    ("name", "canonical", "account"),
    [("okx:alpha", "okx:alpha", "alpha"), ("OKX:Alpha", "okx:alpha", "alpha"), ("okx:a_1", "okx:a_1", "a_1")],
)
def test_an_account_follows_a_colon(name: str, canonical: str, account: str) -> None:
    assert registry.find(name)[1:] == (account, canonical)


@pytest.mark.parametrize(
    "name", ["okx:", "okx: ", "okx:a b", "okx:a:b", "okx:é", "okx:" + "a" * 33, "okx:__", "okx:a-b"]
)
def test_a_bad_account_is_refused_with_the_list(name: str) -> None:
    with pytest.raises(Refused, match="letters, digits or _") as caught:
        registry.find(name)
    assert caught.value.code == "UNKNOWN_VENUE"
    assert ", ".join(KNOWN) in caught.value.message


def test_an_unknown_name_is_named_with_the_nearest_one_and_the_list() -> None:
    with pytest.raises(Refused) as caught:
        registry.find("binanse")
    message = caught.value.message
    assert "'binanse'" in message
    assert "did you mean 'binance'?" in message
    assert ", ".join(KNOWN) in message


def test_a_name_near_nothing_gets_no_suggestion() -> None:
    answer = registry.call("zzzzzz", "get_ticker", "BTC-USDT")
    assert answer["data"]["error"] == "UNKNOWN_VENUE"
    assert answer["data"]["outcome"] == "not_sent"
    assert "did you mean" not in answer["message"]


@pytest.mark.parametrize("name", [None, 7, ["okx"], {"okx": 1}, b"okx"])
def test_a_name_that_is_no_text_is_refused(name: Any) -> None:
    answer = registry.call(name, "get_ticker", "BTC-USDT")
    assert (answer["data"]["error"], answer["data"]["outcome"]) == ("UNKNOWN_VENUE", "not_sent")
    assert "must be text" in answer["message"]


def test_the_short_symbol_means_the_default_market(venue: FakeVenue, monkeypatch: pytest.MonkeyPatch) -> None:
    assert registry.symbol_of("fake", "btc/usdt") == "BTC-USDT"
    monkeypatch.setenv("FAKE_DEFAULT_MARKET", "SWAP")
    registry.register(venue)  # type: ignore[arg-type]
    assert registry.symbol_of("fake:alpha", "BTC-USDT") == "BTC-USDT-SWAP"


def test_a_bad_default_market_is_an_answer_not_an_exception(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATE_DEFAULT_MARKET", "futures")
    answer = registry.call("gate", "get_ticker", "BTC-USDT")
    assert answer["data"]["error"] == "CONFIGURATION"
    assert "GATE_DEFAULT_MARKET must be one of spot, swap" in answer["message"]


# -- modules of users


def test_a_users_module_is_found_called_and_taken_away(venue: FakeVenue) -> None:
    assert "fake" in registry.names()
    assert "fake" in registry.built()
    assert registry.call("FAKE", "get_server_time")["success"]
    registry.unregister("Fake")
    assert registry.names() == KNOWN
    assert registry.call("fake", "get_server_time")["data"]["error"] == "UNKNOWN_VENUE"
    registry.unregister("fake")


def test_missing_functions_are_named() -> None:
    half = SimpleNamespace(NAME="half", UNSUPPORTED={}, get_ticker=lambda s: ok({}), get_klines="no function")
    with pytest.raises(Refused) as caught:
        registry.register(half)  # type: ignore[arg-type]
    assert caught.value.code == "CONFIGURATION"
    missing = caught.value.message.partition("lacks ")[2].split(", ")
    assert missing == [name for name in VENUE_FUNCTIONS if name != "get_ticker"]
    assert "half" not in registry.names()


@pytest.mark.parametrize("name", ["", "a:b", "börse"])
def test_a_name_that_could_not_be_called_is_refused(name: str) -> None:
    with pytest.raises(Refused, match="plain characters"):
        registry.register(FakeVenue(name))  # type: ignore[arg-type]


def test_a_venue_may_be_replaced_and_returns() -> None:
    assert registry.is_placeholder("serum")
    assert "serum" not in registry.built()
    registry.register(FakeVenue("serum"))  # type: ignore[arg-type]
    assert not registry.is_placeholder("serum:alpha")
    assert "serum" in registry.built()
    registry.unregister("SERUM")
    assert registry.is_placeholder("serum")


def test_registering_in_another_spelling_replaces_the_venue() -> None:
    registry.register(FakeVenue("fake"))  # type: ignore[arg-type]
    registry.register(FakeVenue("FAKE"))  # type: ignore[arg-type]
    assert [name for name in registry.names() if name.lower() == "fake"] == ["FAKE"]
    registry.unregister("fake")
    assert registry.names() == KNOWN
    registry.register(FakeVenue("OKX"))  # type: ignore[arg-type]
    registry.unregister("okx")
    assert registry.names() == KNOWN


# -- placeholders


@pytest.mark.parametrize("function", VENUE_FUNCTIONS)
def test_a_placeholder_answers_not_supported(function: str) -> None:
    answer = registry.call("serum", function, "BTC-USDT", anything=1)
    assert (answer["data"]["error"], answer["data"]["outcome"]) == ("NOT_SUPPORTED", "not_sent")
    assert "serum is not built yet" in answer["message"]
    assert function in answer["message"]


def test_a_placeholder_has_nothing_else() -> None:
    with pytest.raises(AttributeError):
        _ = registry.find("serum")[0].module.place_orders  # type: ignore[attr-defined]
    assert registry.call("serum", "mint_money")["data"]["error"] == "NOT_SUPPORTED"


def test_capabilities_say_why_a_function_is_missing(venue: FakeVenue) -> None:
    venue.UNSUPPORTED["cancel_all_after"] = "it has no such switch"
    table = registry.capabilities()
    assert list(table) == registry.names()
    assert all(set(row) == set(VENUE_FUNCTIONS) for row in table.values())
    assert set(table["serum"].values()) == {"this venue is not built yet"}
    assert table["fake"]["cancel_all_after"] == "it has no such switch"
    assert table["fake"]["get_ticker"] == ""


# -- rules


def test_rules_are_read_once_for_each_account(venue: FakeVenue, monkeypatch: pytest.MonkeyPatch) -> None:
    first = registry.rules("fake", "BTC-USDT")
    assert registry.rules("FAKE", "BTC-USDT") is first
    assert venue.called("get_instrument") == 1
    registry.rules("fake:alpha", "BTC-USDT")
    registry.rules("fake", "ETH-USDT")
    assert venue.called("get_instrument") == 3
    monkeypatch.setattr(registry, "_RULES_MAX_AGE", 0.0)
    registry.rules("fake", "BTC-USDT")
    assert venue.called("get_instrument") == 4
    registry.reset()
    monkeypatch.undo()
    registry.rules("fake", "BTC-USDT")
    assert venue.called("get_instrument") == 5


def test_failed_rules_say_what_the_venue_said_and_are_asked_for_again(venue: FakeVenue) -> None:
    refusal = fail("INVALID_SYMBOL", "no such: thing", "rejected", exchange_code="51001", retry_after=None)
    venue.then("get_instrument", refusal)
    with pytest.raises(Refused) as caught:
        registry.rules("fake", "BTC-USDT")
    error = caught.value
    assert (error.code, error.outcome, error.exchange_code) == ("INVALID_SYMBOL", "not_sent", "51001")
    assert error.message == "no such: thing"
    assert registry.rules("fake", "BTC-USDT").symbol == "BTC-USDT"


def test_an_instrument_that_is_not_traded_is_refused_and_not_kept(venue: FakeVenue) -> None:
    closed = venue.get_instrument("BTC-USDT")
    closed["data"]["active"] = False
    venue.then("get_instrument", closed)
    with pytest.raises(Refused, match="BTC-USDT is not open for trading on fake:alpha") as caught:
        registry.rules("fake:alpha", "BTC-USDT")
    assert caught.value.code == "INVALID_SYMBOL"
    assert registry.rules("fake:alpha", "BTC-USDT")


def test_a_position_may_be_reduced_where_nothing_new_is_traded(venue: FakeVenue) -> None:
    closed = venue.get_instrument("BTC-USDT-SWAP")
    closed["data"]["active"] = False
    venue.then("get_instrument", closed, closed)
    assert registry.rules("fake", "BTC-USDT-SWAP", reducing=True).symbol == "BTC-USDT-SWAP"
    with pytest.raises(Refused, match="not open for trading"):
        registry.rules("fake", "BTC-USDT-SWAP")


@pytest.mark.parametrize(
    "change",
    [{"tick_size": 0.0}, {"lot_size": 0}, {"lot_size": -1.0}, {"tick_size": None}, {"min_amount": "much"}, None],
)
def test_an_instrument_without_sense_is_a_bad_answer(venue: FakeVenue, change: dict[str, Any] | None) -> None:
    wrong = venue.get_instrument("BTC-USDT")
    wrong["data"] = None if change is None else wrong["data"] | change
    venue.then("get_instrument", wrong)
    with pytest.raises(Refused) as caught:
        registry.rules("fake", "BTC-USDT")
    assert (caught.value.code, caught.value.outcome) == ("BAD_RESPONSE", "not_sent")


# -- accounts and threads


def test_the_venue_sees_the_account_and_it_is_reset_after(venue: FakeVenue) -> None:
    seen: list[str] = []
    venue.before = lambda _: seen.append(settings.account.get())
    registry.call("fake:Alpha", "get_server_time")
    venue.raising["get_ticker"] = RuntimeError("boom")
    registry.call("fake:beta", "get_ticker", "BTC-USDT")
    with settings.using_account("outer"):
        registry.call("fake", "get_server_time")
        assert settings.account.get() == "outer"
    assert seen == ["alpha", "beta", ""]
    assert settings.account.get() == ""


def test_threads_find_one_venue_and_keep_their_accounts_apart(venue: FakeVenue) -> None:
    registry.reset()
    start, wrong, found = threading.Barrier(8), [], set()
    names = threading.local()

    def before(_: str) -> None:
        if settings.account.get() != names.mine:
            wrong.append((settings.account.get(), names.mine))

    venue.before = before

    def work(number: int) -> None:
        names.mine = f"a{number}"
        start.wait()
        found.add(id(registry.find("paper")[0]))
        for _ in range(50):
            assert registry.call(f"fake:a{number}", "get_server_time")["success"]

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert len(found) == 1
    assert venue.called("get_server_time") == 400
