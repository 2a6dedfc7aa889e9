"""Who is told of the headers of HTTP answers: the guard, which reads from them how much of a limit is left."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextvars import ContextVar

on_reply: ContextVar[Callable[[str, Mapping[str, str]], None] | None] = ContextVar("on_reply", default=None)
"""Called with the host and the headers (lower-case names) of each answer that arrives for the call being made."""
