"""Who we are, and whether another process still lives."""

from __future__ import annotations

import os

import pytest

from Execution.common import process
from tests import children


def test_we_are_alive_and_always_the_same() -> None:
    assert process.me() == process.me()
    assert process.me().startswith(f"{os.getpid()}:")
    assert process.alive(process.me())


@pytest.mark.parametrize("owner", ["", "x", ":", "12", "-1:5", "1.5:3", "²:1", f"{2**70}:1", "0:", "{me}:1", "{me}:"])
def test_what_names_no_running_process_is_dead(owner: str) -> None:
    assert not process.alive(owner.format(me=os.getpid()))


def test_a_child_is_alive_until_it_ends_and_dead_as_a_zombie() -> None:
    code = "import sys; from Execution.common import process; print(process.me(), flush=True); sys.stdin.read()"
    with children.start(code) as child:
        assert child.stdout is not None
        owner = child.stdout.readline().strip()
        assert owner.startswith(f"{child.pid}:")
        assert process.alive(owner)
        child.kill()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert not process.alive(owner.format(me=os.getpid()))
    assert not process.alive(owner.format(me=os.getpid()))


def test_a_forked_child_is_somebody_else() -> None:
    before = process.me()
    reader, writer = os.pipe()
    pid = children.fork(lambda: os.write(writer, process.me().encode()))
    os.close(writer)
    with os.fdopen(reader) as pipe:
        name = pipe.read()
    assert children.ended(pid) == 0
    assert name.startswith(f"{pid}:")
    assert process.me() == before


def test_a_process_of_another_user_is_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    def kill(pid: int, signal: int) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "kill", kill)
    assert process.alive(process.me())
