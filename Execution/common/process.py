"""Who we are among the processes of this machine, and whether another one still lives."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

from Execution.common.store import on_fork


@cache
def me() -> str:
    """Answer this process's name, "pid:start", which no later process can have."""
    return f"{os.getpid()}:{_started(os.getpid())}"


on_fork(me.cache_clear)


def alive(owner: str) -> bool:
    """Tell whether the process that called itself `owner` is still running."""
    pid, _, started = owner.partition(":")
    if not (pid.isascii() and pid.isdigit() and int(pid) > 0):
        return False
    try:
        os.kill(int(pid), 0)
    except (OverflowError, ProcessLookupError):
        return False
    except PermissionError:
        pass
    return _started(int(pid)) == started


def _started(pid: int) -> str:
    # Without /proc a reused pid looks alive, which only delays recovery.
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return ""
    fields = text.rpartition(")")[2].split()
    return "" if fields[0] == "Z" else fields[19]
