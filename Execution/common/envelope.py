"""The one shape of every answer: {"success", "data", "message"}, exactly three keys."""

from __future__ import annotations

from typing import Any

from Execution.common.errors import ErrorCode, ExecutionError, Outcome
from Execution.common.types import Envelope


def ok(data: Any, message: str = "") -> Envelope:
    """Answer success."""
    return {"success": True, "data": data, "message": message}


def fail(
    code: ErrorCode,
    message: str,
    outcome: Outcome,
    *,
    exchange_code: str = "",
    retry_after: float | None = None,
    **more: Any,
) -> Envelope:
    """Answer failure: a code of ours, what is known of the order's fate, and the words of whoever refused."""
    data = {"error": code, "outcome": outcome, "exchange_code": exchange_code, "retry_after": retry_after, **more}
    return {"success": False, "data": data, "message": f"{code}: {message}"}


def failure(error: ExecutionError, **more: Any) -> Envelope:
    """Turn an exception of ours into an answer."""
    return fail(
        error.code,
        error.message,
        error.outcome,
        exchange_code=error.exchange_code,
        retry_after=error.retry_after,
        **more,
    )
