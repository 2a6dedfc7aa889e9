"""How a venue file turns what goes wrong into an answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import getcontext, setcontext
from functools import wraps
from typing import ParamSpec

from Execution.common.envelope import failure
from Execution.common.errors import ExecutionError, Refused
from Execution.common.precision import OURS
from Execution.common.types import Envelope

P = ParamSpec("P")
BAD_ANSWER = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
"""What reading an answer raises that is not what the venue documents."""


def answers(function: Callable[P, Envelope]) -> Callable[P, Envelope]:
    """Turn errors of ours into answers; numbers are reckoned in a decimal context of ours.

    A call with the wrong arguments is INVALID_ORDER. A key, index or value that a venue's answer lacks, or has where
    the file's tables do not know it, is BAD_RESPONSE with outcome unknown: whatever was asked may have been done.
    """

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> Envelope:
        before = getcontext()
        setcontext(OURS)
        try:
            return function(*args, **kwargs)
        except ExecutionError as error:
            return failure(error)
        except TypeError as error:
            if error.__traceback__ is not None and error.__traceback__.tb_next is None:
                return failure(Refused("INVALID_ORDER", str(error)))
            return failure(_unreadable(error))
        except BAD_ANSWER as error:
            return failure(_unreadable(error))
        finally:
            setcontext(before)

    return call


@contextmanager
def before_sending() -> Iterator[None]:
    """What fails in here fails before the order, or the cancel, leaves, whatever became of what was asked for it."""
    try:
        yield
    except ExecutionError as error:
        error.outcome = "not_sent"
        raise
    except BAD_ANSWER as error:
        error_of_ours = _unreadable(error)
        error_of_ours.outcome = "not_sent"
        raise error_of_ours from None


def _unreadable(error: Exception) -> ExecutionError:
    return ExecutionError(
        "BAD_RESPONSE", f"the venue's answer cannot be read: {type(error).__name__}: {error!s:.80}", outcome="unknown"
    )
