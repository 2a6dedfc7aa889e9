"""Logging through loguru, which is loaded with the first line written: a plain import of the package stays fast.

Lines below EXECUTION_LOG_LEVEL (default WARNING) cost nothing. Known secrets are blotted out of every line. Sinks
belong to the application: a script that sets up loguru itself keeps its own.
"""

from __future__ import annotations

import os
import threading
from typing import Any

LEVELS = ("TRACE", "DEBUG", "INFO", "SUCCESS", "WARNING", "ERROR", "CRITICAL")
_secrets: tuple[str, ...] = ()
_lock = threading.Lock()


def _threshold() -> int:
    level = os.environ.get("EXECUTION_LOG_LEVEL", "WARNING").upper()
    return LEVELS.index(level) if level in LEVELS else LEVELS.index("WARNING")


_least = _threshold()


def set_level(level: str) -> None:
    """Write lines of this level and above."""
    global _least
    _least = LEVELS.index(level.upper())


def hide(secret: str) -> None:
    """Blot out this text in every line written from now on, also where it is written line by line or escaped."""
    global _secrets
    if secret in _secrets:
        return
    parts = {part for part in (secret, repr(secret)[1:-1], *secret.splitlines()) if len(part) >= 4}
    # The longest first: one that begins another would leave the rest of it to be read.
    with _lock:
        _secrets = tuple(sorted(parts.union(_secrets), key=len, reverse=True))


def redact(text: str) -> str:
    """Answer the text without known secrets."""
    for secret in _secrets:
        text = text.replace(secret, "***")
    return text


def debug(message: str, **fields: Any) -> None:
    """Write a line for whoever looks for a fault."""
    _write("DEBUG", message, fields)


def info(message: str, **fields: Any) -> None:
    """Write a line of ordinary progress."""
    _write("INFO", message, fields)


def warning(message: str, **fields: Any) -> None:
    """Write a line that somebody should read."""
    _write("WARNING", message, fields)


def error(message: str, **fields: Any) -> None:
    """Write a line that somebody must act on."""
    _write("ERROR", message, fields)


def _write(level: str, message: str, fields: dict[str, Any]) -> None:
    if LEVELS.index(level) < _least:
        return
    from loguru import logger

    logger.opt(depth=2).log(level, redact(" ".join([message, *(f"{name}={value}" for name, value in fields.items())])))
