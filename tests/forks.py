"""Processes for tests: forked from this warm one, killed where a test wants it.

A forked child starts with everything imported, so that hundreds of them cost seconds. `die_at` has the child kill
itself (SIGKILL: no handler, no cleanup, nothing flushed) just before it executes its n-th step.
"""

from __future__ import annotations

import os
import pickle
import shutil
import signal
import sys
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path
from types import FrameType
from typing import Any

import loguru  # noqa: F401  # loaded here once, not in each child that writes a line

import Execution
from Execution.common import settings

PACKAGE = Path(Execution.__file__).parent


class Child:
    """A forked process carrying out a task. `result()` waits for it; None where it was killed."""

    def __init__(self, task: Callable[..., Any], *args: Any, home: Path) -> None:
        read, write = os.pipe()
        self.pid = os.fork()
        if not self.pid:
            os.close(read)
            _carry_out(write, task, args, home)
        os.close(write)
        self.home = home
        self._read = read
        self._result: list[Any] | None = None
        self.killed = False

    def kill(self) -> None:
        """Kill it now."""
        os.kill(self.pid, signal.SIGKILL)

    def result(self) -> Any:
        """Answer what the task returned; None where the process was killed."""
        if self._result is None:
            with os.fdopen(self._read, "rb") as stream:
                data = stream.read()
            status = os.waitpid(self.pid, 0)[1]
            self.killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
            if not self.killed and not data:
                raise AssertionError(f"the child ended with status {status} and no result")
            self._result = [None] if self.killed else [pickle.loads(data)]
            if isinstance(self._result[0], BaseException):
                raise self._result[0]
        return self._result[0]


def _carry_out(write: int, task: Callable[..., Any], args: tuple[Any, ...], home: Path) -> None:
    result: Any
    try:
        os.environ["EXECUTION_HOME"] = str(home)
        settings.forget()
        result = task(*args)
    except BaseException:
        result = AssertionError(f"in the child:\n{traceback.format_exc()}")
    sys.settrace(None)
    with os.fdopen(write, "wb") as stream:
        stream.write(pickle.dumps(result))
    os._exit(0)


def in_child(task: Callable[..., Any], *args: Any, home: Path) -> Any:
    """Carry out a task in a process of its own and answer its result."""
    return Child(task, *args, home=home).result()


def copy_home(template: Path, home: Path) -> Path:
    """Make a home with the files of another one that nobody has open."""
    home.mkdir(mode=0o700)
    for path in template.iterdir():
        shutil.copyfile(path, home / path.name)
    return home


def _existing(name: str) -> str:
    """Answer the path of a file of the package; one that was moved would have no steps, and nobody would know."""
    path = PACKAGE / name
    assert path.is_file(), f"{path} is no file"
    return str(path)


class Steps:
    """Which lines count as steps: all of some files, and within others those of some functions."""

    def __init__(self, files: Iterable[str], functions: Iterable[tuple[str, str]] = ()) -> None:
        self._files = {_file(name) for name in files}
        self._functions = {(_file(name), function) for name, function in functions}

    def count(self, code: Any) -> bool:
        return code.co_filename in self._files or (code.co_filename, code.co_name) in self._functions


def _file(name: str) -> str:
    path = PACKAGE / name
    assert path.is_file(), path
    return str(path)


class die_at:
    """A with block whose n-th step kills this process; `seen` is the number of steps so far."""

    def __init__(self, step: int, steps: Steps) -> None:
        self.seen = 0
        self._step = step
        self._steps = steps

    def __enter__(self) -> die_at:
        sys.settrace(self._enter_frame)
        return self

    def __exit__(self, *_: object) -> None:
        sys.settrace(None)

    def _enter_frame(self, frame: FrameType, event: str, arg: Any) -> Any:
        return self._in_frame if self._steps.count(frame.f_code) else None

    def _in_frame(self, frame: FrameType, event: str, arg: Any) -> Any:
        if event == "line":
            self.seen += 1
            if self.seen == self._step:
                os.kill(os.getpid(), signal.SIGKILL)
        return self._in_frame
