"""Error codes, outcomes, and the exceptions that carry them inside the package.

    ExecutionError            code + outcome + the venue's own words
     +-- Refused              we refuse before anything is sent (outcome not_sent)
     +-- StoreError           the journal cannot be read or written
          +-- StoreLocked     another process holds it longer than we may wait
          +-- StoreTooNew     written by a newer version of this package

No exception crosses a public border: envelope.failure() turns each into an answer.
"""

from __future__ import annotations

from typing import Literal, get_args

ErrorCode = Literal[
    "AUTHENTICATION",
    "BAD_RESPONSE",
    "CLOCK_SKEW",
    "CONFIGURATION",
    "DUPLICATE_ORDER",
    "INSUFFICIENT_FUNDS",
    "INTERNAL",
    "INVALID_ORDER",
    "INVALID_SYMBOL",
    "NOT_SUPPORTED",
    "ORDER_NOT_FOUND",
    "POST_ONLY_WOULD_CROSS",
    "RATE_LIMITED",
    "REDUCE_ONLY_REJECTED",
    "RISK_DENIED",
    "STORE_FAILED",
    "TIMEOUT",
    "UNKNOWN_VENUE",
    "VENUE_DOWN",
    "VENUE_REJECTED",
]
Outcome = Literal["not_sent", "rejected", "unknown"]

ERROR_CODES: frozenset[str] = frozenset(get_args(ErrorCode))
OUTCOMES: frozenset[str] = frozenset(get_args(Outcome))


class ExecutionError(Exception):
    """A failure with everything an answer needs to say about it."""

    outcome: Outcome = "unknown"

    def __init__(
        self,
        code: ErrorCode,
        message: str,
        *,
        outcome: Outcome | None = None,
        exchange_code: str = "",
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.outcome = outcome or self.outcome
        self.exchange_code = exchange_code
        self.retry_after = retry_after


class Refused(ExecutionError):
    """Refused on our side: nothing has left."""

    outcome: Outcome = "not_sent"


class StoreError(ExecutionError):
    """The store failed. Raised before a send it means that nothing was sent."""

    outcome: Outcome = "not_sent"

    def __init__(self, message: str) -> None:
        super().__init__("STORE_FAILED", message)


class StoreLocked(StoreError):
    """The store stayed locked past the waiting time."""


class StoreTooNew(StoreError):
    """The store's schema is newer than this package."""
