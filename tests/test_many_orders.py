"""Eight threads at once on each venue: every answer is that of its own question, and nothing is lost."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from Execution import registry
from tests.venues.harness import HARNESSES, Harness

THREADS, EACH = 8, 250


@pytest.fixture(params=registry.BUILT)
def venue(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, home: Path) -> Harness:
    return HARNESSES[request.param](monkeypatch)


def test_two_thousand_orders_of_eight_threads(venue: Harness) -> None:
    answers: dict[str, Any] = {}

    def work(number: int) -> None:
        for count in range(EACH):
            name = f"many-{number}-{count}"
            price = 20000 + number * 1000 + count
            answers[name] = venue.call("place_limit_order", venue.swap, "buy", 0.001, price, client_order_id=name)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == THREADS * EACH
    for name, answer in answers.items():
        assert answer["success"], answer
        number, count = map(int, name.split("-")[1:])
        assert answer["data"]["client_order_id"] == name
        assert answer["data"]["price"] == 20000 + number * 1000 + count
    ids = {answer["data"]["order_id"] for answer in answers.values()}
    assert len(ids) == THREADS * EACH
    live = venue.good("get_open_orders")
    assert {order["order_id"] for order in live} == ids
    assert {order["client_order_id"] for order in live} == set(answers)
    done = venue.good("cancel_all_orders")
    assert (set(done["cancelled"]), done["failed"]) == (ids, [])
    assert venue.good("get_open_orders") == []
