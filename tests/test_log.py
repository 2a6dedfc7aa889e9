"""Lines of the log: nothing below the level is written, and no secret ever."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from loguru import logger

from Execution import registry
from Execution.common import log, settings
from Execution.common.envelope import fail
from Execution.common.errors import Refused
from Execution.order_manager import default_manager
from Execution.order_sender import place_order
from tests.fakes import FakeVenue


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    monkeypatch.setattr(log, "_secrets", ())
    monkeypatch.setattr(log, "_least", log._least)
    written: list[str] = []
    sink = logger.add(lambda line: written.append(str(line)), level=0, format="{level}|{function}|{message}")
    yield written
    logger.remove(sink)


@pytest.mark.parametrize("level", log.LEVELS)
def test_only_the_level_and_above_is_written(lines: list[str], level: str) -> None:
    log.set_level(level.lower())
    for write in (log.debug, log.info, log.warning, log.error):
        write(write.__name__)
    least = log.LEVELS.index(level)
    assert [line.split("|")[0] for line in lines] == [
        name for name in ("DEBUG", "INFO", "WARNING", "ERROR") if log.LEVELS.index(name) >= least
    ]


def test_the_level_is_a_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    assert log.LEVELS[log._threshold()] == "WARNING"
    monkeypatch.setenv("EXECUTION_LOG_LEVEL", "debug")
    assert log.LEVELS[log._threshold()] == "DEBUG"
    monkeypatch.setenv("EXECUTION_LOG_LEVEL", "loud")
    assert log.LEVELS[log._threshold()] == "WARNING"


def test_a_line_names_its_writer_and_carries_its_fields(lines: list[str]) -> None:
    log.warning("braces {stay} {0}", order="a1", price=1.5)
    assert lines == [
        "WARNING|test_a_line_names_its_writer_and_carries_its_fields|braces {stay} {0} order=a1 price=1.5\n"
    ]


def test_secrets_are_blotted_out_of_messages_and_fields(lines: list[str]) -> None:
    log.hide("s3cret-value")
    log.hide("abc")
    log.error("it is s3cret-value, twice: s3cret-value", header={"key": "s3cret-value"}, short="abc")
    assert lines[0].endswith("it is ***, twice: *** header={'key': '***'} short=abc\n")


def test_a_secret_that_begins_another_does_not_uncover_it(lines: list[str]) -> None:
    for number in range(50):
        log.hide(f"key{number}")
        log.hide(f"key{number}-and-the-rest-{number}")
    for number in range(50):
        assert log.redact(f"key{number}-and-the-rest-{number}") == "***"


def test_secrets_may_be_added_while_others_log(lines: list[str]) -> None:
    errors: list[BaseException] = []
    stop = threading.Event()

    def read() -> None:
        try:
            while not stop.is_set():
                log.redact("something else")
        except RuntimeError as error:
            errors.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for number in range(300):
            log.hide(f"secret-{number}")
    finally:
        stop.set()
        reader.join()
    assert errors == []


def test_planted_secrets_are_nowhere(lines: list[str], home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secrets = {
        "FAKE_API_KEY": "planted-key-1",
        "FAKE_API_SECRET": "planted-secret-2",
        "FAKE_PASSPHRASE": "planted phrase 3",
        "FAKE_PRIVATE_KEY": "planted-private-4\nsecond line",
    }
    for name, value in secrets.items():
        monkeypatch.setenv(name, value)
        settings.get(name)
    log.set_level("TRACE")
    spilled = " ".join(secrets.values())
    venue = FakeVenue("fake")
    registry.register(venue)  # type: ignore[arg-type]
    venue.then(
        "place_limit_order",
        RuntimeError(f"headers: {spilled}"),
        {"headers": spilled},
        "x" * 195 + spilled,
        fail("AUTHENTICATION", f"bad signature for {spilled}", "rejected"),
        Refused("AUTHENTICATION", f"cannot sign with {spilled}"),
        fail("TIMEOUT", f"after {spilled}", "unknown"),
    )
    answers: list[Any] = [place_order("fake", "BTC-USDT", "buy", "limit", 1, 100) for _ in range(6)]
    assert not any(answer["success"] for answer in answers)
    default_manager().close()
    everything = repr(answers) + "".join(lines) + "".join(f.read_bytes().decode("latin-1") for f in home.iterdir())
    assert "headers" in everything
    for part in ("planted-key-1", "planted-secret-2", "planted phrase 3", "planted-private-4", "planted"):
        assert part not in everything
