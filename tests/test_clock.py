"""The replaceable clock."""

from __future__ import annotations

import time

import pytest

from Execution.common import clock


def test_it_is_wall_time_unless_replaced() -> None:
    assert clock.now is time.time
    clock.set_clock(lambda: 7.0)
    assert clock.now() == 7.0
    clock.set_clock(None)
    assert clock.now is time.time


def test_a_manual_clock_moves_only_when_moved() -> None:
    hands = clock.ManualClock(10.0)
    with clock.use(hands):
        assert (clock.now(), clock.now()) == (10.0, 10.0)
        hands.advance(2.5)
        assert clock.now() == 12.5
        with clock.use(lambda: 1.0):
            assert clock.now() == 1.0
        assert clock.now() == 12.5
    assert clock.now is time.time


def test_the_clock_before_returns_when_the_block_raises() -> None:
    with pytest.raises(ZeroDivisionError), clock.use(lambda: 1.0):
        _ = 1 / 0
    assert clock.now is time.time
