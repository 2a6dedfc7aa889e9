"""How the paper venue turns refusals into answers."""

from __future__ import annotations

from collections.abc import Callable
from decimal import getcontext, setcontext
from functools import wraps
from typing import ParamSpec

from Execution.common.envelope import failure
from Execution.common.errors import ExecutionError, Refused
from Execution.common.precision import OURS
from Execution.common.types import Envelope
from Execution.matching import model
from Execution.simulation.account import remark_of_current
from Execution.simulation.forms import parse_error

P = ParamSpec("P")


def answers(function: Callable[P, Envelope]) -> Callable[P, Envelope]:
    """Turn refusals into answers; numbers are reckoned in a decimal context of ours."""

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> Envelope:
        before = getcontext()
        setcontext(OURS)
        try:
            return function(*args, **kwargs)
        except (model.Rejected, ExecutionError) as error:
            return refusal(error)
        except TypeError as error:
            if error.__traceback__ is None or error.__traceback__.tb_next is not None:
                raise  # a fault in here, and not a call with the wrong arguments
            return refusal(Refused("INVALID_ORDER", str(error)))
        finally:
            setcontext(before)

    return call


def refusal(error: model.Rejected | ExecutionError) -> Envelope:
    """Answer a refusal, with what is to be said about the prices."""
    answer = parse_error(error) if isinstance(error, model.Rejected) else failure(error)
    remark = remark_of_current()
    if remark:
        answer["message"] += f" [{remark}]"
    return answer
