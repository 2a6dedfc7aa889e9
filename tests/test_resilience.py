"""Breaker, budget and back-off as mechanisms; what they are used for is tested with the guard."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from Execution.common import resilience
from Execution.common.resilience import Breaker, Budget, Limit, backoff


class Hands:
    now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def hands(monkeypatch: pytest.MonkeyPatch) -> Hands:
    made = Hands()
    monkeypatch.setattr(resilience, "time", SimpleNamespace(monotonic=made.monotonic))
    return made


def test_a_breaker_opens_waits_tries_once_and_closes(hands: Hands) -> None:
    breaker = Breaker(threshold=2, cooldown=10.0)
    breaker.failed()
    assert breaker.refuses() == 0.0
    breaker.failed()
    assert breaker.refuses() == 10.0
    hands.now = 10.0
    assert breaker.refuses() == 0.0
    assert breaker.refuses() == 10.0
    breaker.untried()
    assert breaker.refuses() == 0.0
    hands.now = 15.0
    breaker.failed()
    assert breaker.refuses() == 10.0
    breaker.succeeded()
    assert breaker.refuses() == 0.0
    breaker.failed()
    assert breaker.refuses() == 0.0


def test_a_trial_that_never_answers_does_not_keep_the_breaker_open_for_ever(hands: Hands) -> None:
    breaker = Breaker(threshold=1, cooldown=10.0)
    breaker.failed()
    hands.now = 10.0
    assert breaker.refuses() == 0.0
    hands.now = 20.0
    assert breaker.refuses() == 0.0


def test_tokens_come_back_with_time(hands: Hands) -> None:
    budget = Budget({"order": Limit(2, 10.0)})
    assert [budget.take("order") for _ in range(3)] == [0.0, 0.0, 5.0]
    hands.now = 2.5
    assert budget.take("order") == 2.5
    hands.now = 5.0
    assert budget.take("order") == 0.0
    assert budget.take("order") == 5.0


def test_a_block_stops_every_kind_and_the_longest_one_counts(hands: Hands) -> None:
    budget = Budget({"order": Limit(9, 1.0)})
    budget.block(5.0)
    budget.block(1.0)
    assert [budget.take(kind) for kind in ("order", "cancel", "read")] == [5.0, 5.0, 5.0]
    hands.now = 5.0
    assert [budget.take(kind) for kind in ("order", "cancel", "read")] == [0.0, 0.0, 0.0]


@pytest.mark.parametrize(("attempt", "most"), [(0, 0.1), (1, 0.2), (3, 0.8), (5, 2.0), (60, 2.0)])
def test_the_pause_doubles_up_to_a_limit_with_jitter(attempt: int, most: float) -> None:
    pauses = {backoff(attempt) for _ in range(50)}
    assert len(pauses) > 1
    assert all(most / 2 <= pause <= most for pause in pauses)
