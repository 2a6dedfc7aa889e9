"""Other processes for tests: Python code in a process of its own, and forks."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = str(Path(__file__).resolve().parent.parent)


def start(code: str, *words: str, **options: Any) -> subprocess.Popen[str]:
    """Start Python code that can import the package and the tests, with pipes for all it reads and writes."""
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", code, *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": ROOT},
        **options,
    )


def run(code: str, *words: str, **options: Any) -> str:
    """Run Python code to its end; answer what it printed. It must not fail."""
    with start(code, *words, **options) as child:
        out, err = child.communicate(timeout=60)
    assert child.returncode == 0, err
    return out


def fork(work: Callable[[], Any]) -> int:
    """Start work in a forked child; answer its pid. It exits with 1 where the work raises, and says why."""
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        work()
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        # Whatever happens, the child must not go on with the tests of its parent.
        try:
            _save_coverage()
        finally:
            os._exit(code)


def _save_coverage() -> None:
    measuring = sys.modules["coverage"].Coverage.current() if "coverage" in sys.modules else None
    if measuring is not None:
        measuring.stop()
        with contextlib.suppress(Exception):  # a child without rights cannot write what it measured
            measuring.save()


def ended(pid: int) -> int:
    """Wait for a forked child; answer its exit code."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
