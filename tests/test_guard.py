"""The guard around every venue call: breaker, rate budget, what is repeated, and answers that make no sense."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from Execution import registry
from Execution.common import guard, resilience
from Execution.common.envelope import fail, ok
from Execution.common.errors import Refused
from Execution.common.replies import on_reply
from Execution.common.resilience import Breaker, Limit
from tests.fakes import FakeVenue

LIMIT = ("place_limit_order", "BTC-USDT", "buy", "1", "100")
SUBMITS = [
    LIMIT,
    ("place_market_order", "BTC-USDT", "buy", "1"),
    ("place_stop_order", "BTC-USDT", "buy", "1", "110"),
    ("place_take_profit_order", "BTC-USDT", "buy", "1", "90"),
    ("adjust_position", "BTC-USDT", "long", "1"),
]
CANCELS = [("cancel_order", "BTC-USDT", "1"), ("cancel_all_orders",), ("cancel_all_after", 10)]
READS = [
    ("get_order_status", "BTC-USDT", "1"),
    ("get_open_orders",),
    ("get_fills",),
    ("get_account_info",),
    ("get_positions",),
    ("get_ticker", "BTC-USDT"),
    ("get_instrument", "BTC-USDT"),
    ("get_klines", "BTC-USDT", "1m"),
    ("get_server_time",),
]


class Time:
    """Time that passes only by sleeping."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.slept: list[float] = []

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        assert seconds >= 0
        self.slept.append(seconds)
        self.now += seconds


@pytest.fixture
def ticks(monkeypatch: pytest.MonkeyPatch) -> Time:
    made = Time()
    monkeypatch.setattr(guard, "time", made)
    monkeypatch.setattr(resilience, "time", made)
    return made


@pytest.fixture
def venue(ticks: Time) -> FakeVenue:
    made = FakeVenue("fake")
    registry.register(made)  # type: ignore[arg-type]
    return made


def limited(**limits: Limit) -> FakeVenue:
    """Answer a registered venue with rate limits."""
    made = FakeVenue("fake")
    made.RATE_LIMITS = limits  # type: ignore[attr-defined]
    registry.register(made)  # type: ignore[arg-type]
    return made


def call(words: tuple[Any, ...], name: str = "fake", **kwargs: Any) -> Any:
    return registry.call(name, words[0], *words[1:], **kwargs)


def verdict(answer: Any) -> tuple[str, str]:
    return answer["data"]["error"], answer["data"]["outcome"]


def breaker_of(name: str = "fake") -> Breaker:
    venue, account, _ = registry.find(name)
    return venue.guard(account)[0]


def sicken(venue: FakeVenue, name: str = "fake") -> None:
    """Open the breaker with submits whose outcome is unknown."""
    venue.failing["place_limit_order"] = ("TIMEOUT", "unknown")
    for _ in range(breaker_of(name).threshold):
        assert verdict(call(LIMIT, name)) == ("TIMEOUT", "unknown")
    del venue.failing["place_limit_order"]
    venue.calls.clear()


# -- the breaker


def test_the_breaker_opens_after_failures_in_a_row_only(venue: FakeVenue) -> None:
    lost, fine = fail("TIMEOUT", "silence", "unknown"), None
    venue.then("place_limit_order", *[lost] * 4, fine, *[lost] * 4)
    for _ in range(9):
        call(LIMIT)
    assert venue.called("place_limit_order") == 9
    assert call(LIMIT)["success"]


@pytest.mark.parametrize("error", ["TIMEOUT", "VENUE_DOWN", "BAD_RESPONSE"])
def test_an_open_breaker_refuses_new_exposure(venue: FakeVenue, error: str) -> None:
    venue.failing["place_limit_order"] = (error, "unknown")
    for _ in range(5):
        call(LIMIT)
    venue.failing.clear()
    venue.calls.clear()
    for words in SUBMITS:
        answer = call(words)
        assert verdict(answer) == ("VENUE_DOWN", "not_sent")
        assert "failed 5 times in a row" in answer["message"]
        assert 0 < answer["data"]["retry_after"] <= 30
        assert answer["data"]["decisions"] == ["breaker open: new exposure refused"]
        assert answer["data"]["attempts"] == 0
    assert venue.calls == []


@pytest.mark.parametrize("error", ["INSUFFICIENT_FUNDS", "RATE_LIMITED", "INVALID_ORDER"])
def test_a_venue_that_says_no_is_not_sick(venue: FakeVenue, error: str) -> None:
    venue.failing["place_limit_order"] = (error, "rejected")
    for _ in range(8):
        call(LIMIT)
    assert venue.called("place_limit_order") == 8


@pytest.mark.parametrize("words", [*CANCELS, *READS])
def test_cancels_and_reads_pass_an_open_breaker(venue: FakeVenue, words: tuple[Any, ...]) -> None:
    sicken(venue)
    call(words)
    assert venue.called(words[0]) == 1


@pytest.mark.parametrize("words", SUBMITS[:4])
def test_reduce_only_passes_an_open_breaker(venue: FakeVenue, words: tuple[Any, ...]) -> None:
    sicken(venue)
    assert call(words, reduce_only=True)["success"]
    assert venue.called(words[0]) == 1


@pytest.mark.parametrize("amount", [-1, -0.5, "-0.5", " -1", "-1e-3"])
@pytest.mark.parametrize("by_name", [False, True])
def test_reducing_a_position_passes_an_open_breaker(venue: FakeVenue, amount: Any, by_name: bool) -> None:
    sicken(venue)
    if by_name:
        registry.call("fake", "adjust_position", symbol="BTC-USDT", side="long", amount=amount)
    else:
        call(("adjust_position", "BTC-USDT", "long", amount))
    assert venue.called("adjust_position") == 1


def test_adding_to_a_position_does_not(venue: FakeVenue) -> None:
    sicken(venue)
    assert verdict(call(("adjust_position", "BTC-USDT", "long", 1))) == ("VENUE_DOWN", "not_sent")
    assert verdict(registry.call("fake", "adjust_position", "BTC-USDT", "long")) == ("VENUE_DOWN", "not_sent")
    assert venue.calls == []


def test_the_breaker_is_one_for_each_account(venue: FakeVenue) -> None:
    sicken(venue, "fake:alpha")
    assert call(LIMIT)["success"]
    assert verdict(call(LIMIT, "FAKE:Alpha")) == ("VENUE_DOWN", "not_sent")


def test_one_trial_after_the_pause_and_its_success_closes(venue: FakeVenue, ticks: Time) -> None:
    sicken(venue)
    ticks.now += 29.9
    assert not call(LIMIT)["success"]
    ticks.now += 0.2
    inside: list[Any] = []
    venue.then("place_limit_order", lambda *_args, **_kwargs: inside.append(call(LIMIT)))
    assert call(LIMIT)["success"]
    assert verdict(inside[0]) == ("VENUE_DOWN", "not_sent")
    assert call(LIMIT)["success"]


def test_a_trial_that_fails_opens_for_another_pause(venue: FakeVenue, ticks: Time) -> None:
    sicken(venue)
    ticks.now += 31
    venue.then("place_limit_order", fail("TIMEOUT", "silence", "unknown"))
    assert verdict(call(LIMIT)) == ("TIMEOUT", "unknown")
    ticks.now += 29
    assert verdict(call(LIMIT)) == ("VENUE_DOWN", "not_sent")
    ticks.now += 2
    assert call(LIMIT)["success"]


def test_a_refusal_on_our_side_says_nothing_of_the_venue(venue: FakeVenue) -> None:
    sicken(venue)
    for error in ("NOT_SUPPORTED", "CONFIGURATION", "INVALID_ORDER"):
        venue.then("place_limit_order", fail(error, "never left", "not_sent"))  # type: ignore[arg-type]
        call(LIMIT, reduce_only=True)
    assert verdict(call(LIMIT)) == ("VENUE_DOWN", "not_sent")


def test_a_trial_that_the_budget_refuses_is_no_trial(ticks: Time) -> None:
    venue = limited(order=Limit(6, 60.0))
    sicken(venue)
    ticks.now += 30.5
    registry.find("fake")[0].guard("")[1].block(5.0)  # type: ignore[union-attr]
    assert verdict(call(LIMIT)) == ("RATE_LIMITED", "not_sent")
    ticks.now += 5
    assert call(LIMIT)["success"]


def test_registry_reset_closes_the_breaker(venue: FakeVenue) -> None:
    sicken(venue)
    registry.reset()
    assert call(LIMIT)["success"]


# -- the budget


def test_cancels_have_a_reserve(ticks: Time) -> None:
    venue = limited(order=Limit(5, 50.0, reserve=2))
    assert all(call(LIMIT)["success"] for _ in range(3))
    answer = call(LIMIT)
    assert verdict(answer) == ("RATE_LIMITED", "not_sent")
    assert answer["data"]["retry_after"] == pytest.approx(10.0)
    call(CANCELS[0])
    call(CANCELS[1])
    assert venue.called("cancel_order") == venue.called("cancel_all_orders") == 1
    assert verdict(call(CANCELS[0])) == ("RATE_LIMITED", "not_sent")
    assert venue.called("place_limit_order") == 3
    assert call(READS[0])["success"]


def test_cancels_may_have_a_limit_of_their_own(ticks: Time) -> None:
    venue = limited(order=Limit(1, 100.0), cancel=Limit(1, 100.0))
    assert call(LIMIT)["success"]
    call(CANCELS[0])
    assert venue.called("cancel_order") == 1


def test_a_short_wait_is_waited_and_said(ticks: Time) -> None:
    limited(order=Limit(2, 1.0))
    for _ in range(2):
        assert call(LIMIT)["message"] == ""
    answer = call(LIMIT)
    assert answer["success"]
    assert ticks.slept == [pytest.approx(0.5)]
    assert answer["message"] == "waited 0.50 s for the rate budget"


def test_whoever_waited_in_vain_is_told_when_to_come_again(ticks: Time, monkeypatch: pytest.MonkeyPatch) -> None:
    venue = limited(order=Limit(1, 1.0))
    assert call(LIMIT)["success"]
    monkeypatch.setattr(ticks, "sleep", lambda seconds: None)
    answer = call(LIMIT)
    assert verdict(answer) == ("RATE_LIMITED", "not_sent")
    assert answer["data"]["retry_after"] == pytest.approx(1.0)
    assert answer["data"]["decisions"] == ["waited 1.00 s for the rate budget"]
    assert venue.called("place_limit_order") == 1


def test_a_kind_without_a_limit_is_free(ticks: Time) -> None:
    limited(read=Limit(1, 100.0))
    assert all(call(LIMIT)["success"] for _ in range(10))


def test_the_budget_never_grows_past_its_size(ticks: Time) -> None:
    limited(order=Limit(2, 10.0))
    ticks.now += 1000
    assert [call(LIMIT)["success"] for _ in range(3)] == [True, True, False]


def test_the_budget_is_one_for_each_account(ticks: Time) -> None:
    limited(order=Limit(1, 100.0))
    assert call(LIMIT)["success"]
    assert call(LIMIT, "fake:alpha")["success"]
    assert not call(LIMIT)["success"]


def test_a_venue_that_says_rate_limited_is_left_alone(ticks: Time) -> None:
    venue = limited(order=Limit(100, 1.0))
    venue.then("place_limit_order", fail("RATE_LIMITED", "slow down", "not_sent", retry_after=7.0))
    answer = call(LIMIT)
    assert verdict(answer) == ("RATE_LIMITED", "not_sent")
    assert (answer["data"]["retry_after"], answer["data"]["attempts"]) == (7.0, 1)
    for words in (LIMIT, CANCELS[0], READS[0]):
        refused = call(words)
        assert verdict(refused) == ("RATE_LIMITED", "not_sent")
        assert refused["data"]["retry_after"] == pytest.approx(7.0)
    assert len(venue.calls) == 1
    ticks.now += 7.0
    assert call(LIMIT)["success"]


def test_orders_that_a_budget_counts_go_one_by_one(ticks: Time) -> None:
    venue = limited(order=Limit(100, 1.0))
    venue.place_orders = lambda orders: [fail("INTERNAL", "not to be called", "unknown")] * 2  # type: ignore[attr-defined]
    assert registry.call_batch("fake", [{}, {}]) is None


def test_without_retry_after_the_pause_is_a_second(ticks: Time) -> None:
    venue = limited(order=Limit(100, 1.0))
    venue.then("place_limit_order", fail("RATE_LIMITED", "slow down", "rejected"))
    call(LIMIT)
    answer = call(LIMIT)
    assert answer["success"]
    assert ticks.slept == [pytest.approx(1.0)]


# -- what is repeated


@pytest.mark.parametrize("error", ["TIMEOUT", "VENUE_DOWN", "RATE_LIMITED", "CLOCK_SKEW", "BAD_RESPONSE"])
@pytest.mark.parametrize("words", [*SUBMITS, *CANCELS, ("set_leverage", "BTC-USDT", 3)])
def test_an_unknown_outcome_is_never_repeated(venue: FakeVenue, words: tuple[Any, ...], error: str) -> None:
    venue.failing[words[0]] = (error, "unknown")
    answer = call(words)
    assert verdict(answer) == (error, "unknown")
    assert (answer["data"]["attempts"], answer["data"]["decisions"]) == (1, [])
    assert venue.called(words[0]) == 1


@pytest.mark.parametrize("error", ["TIMEOUT", "VENUE_DOWN", "RATE_LIMITED", "CLOCK_SKEW"])
def test_a_submit_that_never_left_is_repeated_under_the_same_id(venue: FakeVenue, error: Any, ticks: Time) -> None:
    gone = fail(error, "no connection", "not_sent")
    venue.then("place_limit_order", gone, gone)
    answer = call(LIMIT, client_order_id="mine")
    assert answer["success"]
    assert [kwargs["client_order_id"] for _, _, kwargs in venue.calls] == ["mine"] * 3
    assert [args for _, args, _ in venue.calls] == [venue.calls[0][1]] * 3
    assert answer["message"].count("repeated after") == 2
    assert f"attempt 1: {error}" in answer["message"]
    assert len(ticks.slept) == 2
    assert all(0 < seconds <= 0.2 for seconds in ticks.slept)


def test_three_attempts_are_all(venue: FakeVenue) -> None:
    venue.failing["place_limit_order"] = ("VENUE_DOWN", "not_sent")
    answer = call(LIMIT)
    assert verdict(answer) == ("VENUE_DOWN", "not_sent")
    assert answer["data"]["attempts"] == 3
    assert len(answer["data"]["decisions"]) == 2
    assert venue.called("place_limit_order") == 3


def test_a_repeat_that_ends_unknown_is_the_last(venue: FakeVenue) -> None:
    venue.then("place_limit_order", fail("TIMEOUT", "", "not_sent"), fail("TIMEOUT", "", "unknown"))
    answer = call(LIMIT)
    assert verdict(answer) == ("TIMEOUT", "unknown")
    assert answer["data"]["attempts"] == 2
    assert venue.called("place_limit_order") == 2


@pytest.mark.parametrize("words", READS)
@pytest.mark.parametrize("outcome", ["unknown", "not_sent", "rejected"])
def test_reads_are_repeated(venue: FakeVenue, words: tuple[Any, ...], outcome: Any) -> None:
    venue.then(words[0], fail("TIMEOUT", "", outcome), fail("VENUE_DOWN", "", outcome))
    call(words)
    assert venue.called(words[0]) == 3


@pytest.mark.parametrize("error", ["BAD_RESPONSE", "AUTHENTICATION", "INVALID_SYMBOL", "NOT_SUPPORTED"])
def test_what_will_not_pass_is_not_repeated(venue: FakeVenue, error: str) -> None:
    venue.failing["get_ticker"] = (error, "not_sent")
    venue.failing["place_limit_order"] = (error, "not_sent")
    call(LIMIT)
    call(("get_ticker", "BTC-USDT"))
    assert len(venue.calls) == 2


def test_the_venues_own_pause_is_kept_where_it_is_short(venue: FakeVenue, ticks: Time) -> None:
    venue.then("get_ticker", fail("RATE_LIMITED", "", "not_sent", retry_after=1.5))
    assert call(("get_ticker", "BTC-USDT"))["success"]
    assert ticks.slept == [1.5]
    venue.then("get_ticker", fail("RATE_LIMITED", "", "not_sent", retry_after=2.5))
    answer = call(("get_ticker", "BTC-USDT"))
    assert (answer["data"]["retry_after"], answer["data"]["attempts"]) == (2.5, 1)
    assert ticks.slept == [1.5]


def test_the_breaker_opens_between_repeats(venue: FakeVenue) -> None:
    venue.failing["place_limit_order"] = ("VENUE_DOWN", "not_sent")
    call(LIMIT)
    answer = call(LIMIT)
    assert venue.called("place_limit_order") == 5
    assert verdict(answer) == ("VENUE_DOWN", "not_sent")
    assert answer["data"]["decisions"][-1] == "breaker open: new exposure refused"
    assert answer["data"]["attempts"] == 2


# -- answers that make no sense

Nonsense = [
    None,
    7,
    "ok",
    [],
    [ok({})],
    (True, {}, ""),
    {},
    {"success": True},
    {"success": True, "data": {}},
    {"success": True, "a": 1, "b": 2},
    {"success": "yes", "data": {}, "message": ""},
    {"success": 1, "data": {}, "message": ""},
    {"success": True, "data": {}, "message": "", "more": 1},
    {"success": False, "data": {}, "message": ""},
    {"success": False, "data": None, "message": ""},
    {"success": False, "data": "TIMEOUT", "message": ""},
    {"success": False, "data": {"error": "OOPS", "outcome": "rejected"}, "message": ""},
    {"success": False, "data": {"error": "TIMEOUT", "outcome": "maybe"}, "message": ""},
    {"success": False, "data": {"error": [], "outcome": {}}, "message": ""},
]


@pytest.mark.parametrize("nonsense", Nonsense, ids=range(len(Nonsense)))
def test_nonsense_is_a_bad_response(venue: FakeVenue, nonsense: Any) -> None:
    for words, outcome in ((LIMIT, "unknown"), (CANCELS[0], "unknown"), (READS[0], "not_sent")):
        venue.then(words[0], lambda *_args, **_kwargs: nonsense if nonsense is not None else float("nan"))
        answer = call(words)
        assert set(answer) == {"success", "data", "message"}
        assert verdict(answer) == ("BAD_RESPONSE", outcome)
        assert set(answer["data"]) >= {"error", "outcome", "exchange_code", "retry_after"}
        assert "something else than an envelope" in answer["message"]
        assert venue.called(words[0]) == 1


@pytest.mark.parametrize("retry_after", ["soon", -1, float("nan"), float("inf"), [], True])
def test_a_failure_with_a_senseless_pause_is_taken_without_it(venue: FakeVenue, retry_after: Any, ticks: Time) -> None:
    failure = fail("RATE_LIMITED", "slow", "not_sent")
    failure["data"]["retry_after"] = retry_after
    venue.then("get_ticker", failure)
    assert call(("get_ticker", "BTC-USDT"))["success"]
    assert 0 < ticks.slept[0] <= 0.1


def test_a_failure_that_lacks_keys_keeps_its_code_and_outcome(venue: FakeVenue) -> None:
    venue.then(
        "place_limit_order", {"success": False, "data": {"error": "TIMEOUT", "outcome": "unknown"}, "message": ""}
    )
    answer = call(LIMIT)
    assert verdict(answer) == ("TIMEOUT", "unknown")
    assert (answer["data"]["exchange_code"], answer["data"]["retry_after"]) == ("", None)


def order(**change: Any) -> dict[str, Any]:
    """Answer the Order that a venue answers, changed; None takes a key away."""
    whole = FakeVenue().add()
    return {key: value for key, value in {**whole, **change}.items() if value != "gone"}


NO_ORDERS = [
    None,
    [],
    {},
    order(status="gone"),
    order(status="weird"),
    order(order_id="gone"),
    order(order_id=None),
    order(filled="gone"),
    order(filled="abc"),
    order(filled=float("nan")),
    order(filled=-1.0),
    order(average_price="gone"),
    order(average_price=float("inf")),
    order(fee=None),
]


@pytest.mark.parametrize("data", NO_ORDERS, ids=range(len(NO_ORDERS)))
@pytest.mark.parametrize("words", [*SUBMITS, CANCELS[0], READS[0]])
def test_a_success_without_an_order_is_a_bad_response(venue: FakeVenue, words: tuple[Any, ...], data: Any) -> None:
    venue.then(words[0], ok(data))
    answer = call(words)
    assert verdict(answer) == ("BAD_RESPONSE", "not_sent" if words in READS else "unknown")
    assert "is no order" in answer["message"]


@pytest.mark.parametrize("words", [*SUBMITS, *CANCELS])
def test_a_venue_that_raises_leaves_the_outcome_unknown(venue: FakeVenue, words: tuple[Any, ...]) -> None:
    venue.raising[words[0]] = ValueError("inside")
    answer = call(words)
    assert verdict(answer) == ("BAD_RESPONSE", "unknown")
    assert f"fake.{words[0]} raised ValueError: inside" in answer["message"]
    assert venue.called(words[0]) == 1


@pytest.mark.parametrize("words", READS)
def test_a_read_that_raises_has_sent_no_order(venue: FakeVenue, words: tuple[Any, ...]) -> None:
    venue.raising[words[0]] = ValueError("inside")
    assert verdict(call(words)) == ("BAD_RESPONSE", "not_sent")


def test_a_type_error_inside_is_unknown_one_of_the_call_itself_is_not_sent(venue: FakeVenue) -> None:
    venue.then("place_limit_order", TypeError("deep inside, perhaps after sending"))
    assert verdict(call(LIMIT)) == ("BAD_RESPONSE", "unknown")
    assert verdict(registry.call("fake", "place_limit_order", 1, 2)) == ("BAD_RESPONSE", "not_sent")
    assert verdict(registry.call("fake", "NAME")) == ("BAD_RESPONSE", "not_sent")


def test_a_venues_own_exceptions_carry_their_outcome(venue: FakeVenue) -> None:
    venue.then("place_limit_order", Refused("AUTHENTICATION", "no key", exchange_code="401"))
    answer = call(LIMIT)
    assert verdict(answer) == ("AUTHENTICATION", "not_sent")
    assert (answer["message"], answer["data"]["exchange_code"]) == ("AUTHENTICATION: no key", "401")


# -- batches


def batch(venue: FakeVenue, answer: Callable[[list[Any]], Any], count: int = 3) -> list[Any]:
    venue.place_orders = answer  # type: ignore[attr-defined]
    answers = registry.call_batch("fake", [{"client_order_id": str(n)} for n in range(count)])
    assert answers is not None
    return answers


def test_a_venue_without_a_batch_function_is_said_to_have_none(venue: FakeVenue) -> None:
    assert registry.call_batch("fake", [{}]) is None


def test_a_batch_is_sent_once_and_answers_stay_in_order(venue: FakeVenue) -> None:
    calls: list[Any] = []
    refused = fail("INSUFFICIENT_FUNDS", "poor", "rejected")

    def answer(orders: list[Any]) -> list[Any]:
        calls.append(orders)
        return [ok(order(order_id="a")), refused, None]

    answers = batch(venue, answer)
    assert len(calls) == 1
    assert answers[0]["data"]["order_id"] == "a"
    assert answers[1] == refused
    assert verdict(answers[2]) == ("BAD_RESPONSE", "unknown")


@pytest.mark.parametrize("count", [0, 1, 2, 4])
def test_too_few_or_too_many_answers_make_every_order_unknown(venue: FakeVenue, count: int) -> None:
    answers = batch(venue, lambda orders: [ok(order())] * count)
    assert [verdict(answer) for answer in answers] == [("BAD_RESPONSE", "unknown")] * 3
    assert f"answered {count} of 3 orders" in answers[0]["message"]


@pytest.mark.parametrize("nonsense", [None, ok([ok({})]), ok({}), (1, 2, 3), "ok"], ids=repr)
def test_a_batch_answered_with_nonsense_is_unknown(venue: FakeVenue, nonsense: Any) -> None:
    answers = batch(venue, lambda orders: nonsense)
    assert [verdict(answer) for answer in answers] == [("BAD_RESPONSE", "unknown")] * 3


def test_a_batch_that_fails_as_a_whole_is_not_repeated(venue: FakeVenue) -> None:
    calls: list[Any] = []

    def answer(orders: list[Any]) -> Any:
        calls.append(orders)
        return fail("VENUE_DOWN", "no connection", "not_sent")

    answers = batch(venue, answer)
    assert [verdict(a) for a in answers] == [("VENUE_DOWN", "not_sent")] * 3
    assert len(calls) == 1


def test_an_open_breaker_stops_a_batch_unless_all_of_it_reduces(venue: FakeVenue) -> None:
    sicken(venue)
    calls: list[Any] = []
    venue.place_orders = lambda orders: calls.append(orders) or [ok(order())] * len(orders)  # type: ignore[attr-defined, func-returns-value]
    mixed = registry.call_batch("fake", [{"reduce_only": True}, {"reduce_only": False}])
    assert mixed is not None
    assert [verdict(a) for a in mixed] == [("VENUE_DOWN", "not_sent")] * 2
    assert calls == []
    reducing = registry.call_batch("fake", [{"reduce_only": True}] * 2)
    assert reducing is not None
    assert all(a["success"] for a in reducing)


def test_batches_count_for_the_breaker(venue: FakeVenue) -> None:
    for _ in range(5):
        batch(venue, lambda orders: fail("TIMEOUT", "", "unknown"))
    assert verdict(call(LIMIT)) == ("VENUE_DOWN", "not_sent")


# -- threads


def test_only_one_of_many_threads_makes_the_trial(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 5000.0
    monkeypatch.setattr(resilience, "time", SimpleNamespace(monotonic=lambda: now))
    breaker = Breaker(threshold=1, cooldown=3600.0)
    breaker.failed()
    assert breaker.refuses() == 3600.0
    now += 3600.0
    start, passed = threading.Barrier(8), []

    def work() -> None:
        start.wait()
        if breaker.refuses() == 0.0:
            passed.append(1)

    run([work] * 8)
    assert passed == [1]


def test_threads_never_take_more_than_the_budget_has() -> None:
    budget = resilience.Budget({"order": Limit(20, 3600.0, reserve=5)})
    taken: list[str] = []

    def work(kind: str) -> None:
        for _ in range(20):
            if budget.take(kind) == 0.0:
                taken.append(kind)

    run([lambda: work("order")] * 4)
    assert len(taken) == 15
    run([lambda: work("cancel")] * 4)
    assert len(taken) == 20


def run(works: list[Callable[[], None]]) -> None:
    threads = [threading.Thread(target=work) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_a_module_may_be_any_object(ticks: Time) -> None:
    functions = {name: (lambda *_a, **_k: ok({})) for name in registry.VENUE_FUNCTIONS}
    registry.register(SimpleNamespace(NAME="plain", UNSUPPORTED={}, **functions))  # type: ignore[arg-type]
    assert registry.call("plain", "get_account_info") == ok({})


def test_a_venue_that_answers_reads_and_swallows_orders_is_sick(venue: FakeVenue) -> None:
    for _ in range(5):
        venue.then("place_market_order", fail("TIMEOUT", "no answer", "unknown"))
        registry.call("fake", "place_market_order", "BTC-USDT", "buy", 1)
        assert registry.call("fake", "get_ticker", "BTC-USDT")["success"]
    refused = registry.call("fake", "place_market_order", "BTC-USDT", "buy", 1)
    assert refused["data"]["outcome"] == "not_sent"
    assert "no new exposure" in refused["message"]


def test_an_open_breaker_lets_a_spot_holding_be_sold(venue: FakeVenue) -> None:
    for _ in range(5):
        venue.then("place_market_order", fail("TIMEOUT", "no answer", "unknown"))
        registry.call("fake", "place_market_order", "BTC-USDT", "buy", 1)
    assert registry.call("fake", "place_market_order", "BTC-USDT", "sell", 1)["success"]


def test_what_the_headers_of_an_answer_say_of_the_limit_is_heeded(ticks: Time) -> None:
    made = FakeVenue("fake")
    made.rate_pause = lambda _host, headers: 20.0 if headers.get("used") == "95" else 0.0  # type: ignore[attr-defined]
    place = made.place_limit_order

    def place_and_tell(*args: Any, **kwargs: Any) -> Any:
        tell = on_reply.get()
        assert tell is not None
        tell("host", {"used": "95"} if args[2] == "9" else {})
        return place(*args, **kwargs)

    made.place_limit_order = place_and_tell  # type: ignore[method-assign]
    registry.register(made)  # type: ignore[arg-type]
    assert call(LIMIT)["success"]
    assert call(LIMIT)["success"]
    assert call(("place_limit_order", "BTC-USDT", "buy", "9", "100"))["success"]
    for words in (LIMIT, READS[0]):
        refused = call(words)
        assert verdict(refused) == ("RATE_LIMITED", "not_sent")
        assert refused["data"]["retry_after"] == pytest.approx(20.0)
    assert call(CANCELS[1])["success"]
    ticks.now += 20
    assert call(LIMIT)["success"]
    assert on_reply.get() is None
