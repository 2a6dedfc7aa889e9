"""Limits and thresholds from what a caller said, else from the RISK_* settings.

None = the setting; infinity = no such limit. What the caller said wrongly is a ValueError that names the argument and
the value; what the settings say wrongly is CONFIGURATION, naming the setting.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal, InvalidOperation
from typing import Any

from Execution.common import settings, symbols
from Execution.common.errors import ExecutionError, Refused
from Execution.common.precision import exactly
from Execution.common.risk import Limits, Thresholds

_FRACTIONS_OF_ONE = frozenset(
    (
        "danger_drawdown",
        "danger_margin_ratio",
        "max_loss_ratio",
        "price_collar",
        "warning_drawdown",
        "warning_margin_ratio",
    )
)
_COUNTS = frozenset(("max_open_orders", "max_orders_per_minute", "max_orders_per_day"))


def limits_of(given: dict[str, Any]) -> Limits:
    """Answer the limits; `given` may hold any field of `Limits`.

    Raises:
        ValueError: an argument is nonsense.
        Refused: CONFIGURATION, a setting is.
    """
    numbers: dict[str, Any] = {
        name: number_or_setting(name, given.get(name))
        for name in Limits.__struct_fields__
        if name not in ("allowed_symbols", "block_unresolved")
    }
    numbers.update({name: None if numbers[name] is None else int(numbers[name]) for name in _COUNTS})
    return Limits(
        **numbers,
        allowed_symbols=_symbols(given.get("allowed_symbols")),
        block_unresolved=bool(given.get("block_unresolved")),
    )


@exactly
def thresholds_of(given: dict[str, Any], max_loss_ratio: Decimal | None) -> Thresholds:
    """Answer the account's thresholds; `given` may hold any field of `Thresholds`.

    Where nobody set `danger_drawdown`, losing `max_loss_ratio` is the danger; where nobody set a warning, it keeps the
    proportion to its danger that the defaults have.
    """
    values = {}
    for measure in ("margin_ratio", "drawdown", "unrealized_loss"):
        warning, danger = f"warning_{measure}", f"danger_{measure}"
        most = _chosen(danger, given.get(danger))
        if most is None:
            most = max_loss_ratio if measure == "drawdown" else None
        most = _default(danger) if most is None else most
        least = _chosen(warning, given.get(warning))
        least = _default(warning) * most / _default(danger) if least is None else least
        if least > most:
            raise ValueError(f"{warning} must not be above {danger} {most}, not {least}")
        values[warning], values[danger] = least, most
    return Thresholds(**values)


def number_or_setting(name: str, given: Any) -> Decimal | None:
    """Answer an argument, or where it is None the setting RISK_<NAME>; None where neither is set."""
    if given is not None:
        return _checked(name, given)
    text = settings.get(f"RISK_{name.upper()}").strip()
    return _setting(name, text) if text else None


def _chosen(name: str, given: Any) -> Decimal | None:
    """Answer what was said of a threshold, the built-in default not counting as said."""
    if given is not None:
        number = _checked(name, given)
        return Decimal("Infinity") if number is None else number
    text = settings.get(f"RISK_{name.upper()}", "").strip()
    return _setting(name, text) if text else None


def _default(name: str) -> Decimal:
    return Decimal(settings.DEFAULTS[f"RISK_{name.upper()}"])


def _setting(name: str, text: str) -> Decimal | None:
    try:
        return _checked(name, text)
    except ValueError as error:
        raise Refused("CONFIGURATION", f"RISK_{name.upper()}: {error}") from None


def _checked(name: str, value: Any) -> Decimal | None:
    """Answer a number greater than zero; None for infinity."""
    number = _number(value)
    if number is None or number.is_nan() or number <= 0:
        raise ValueError(f"{name} must be a number greater than zero, not {value!r:.60}")
    if number.is_infinite():
        return None
    if name in _FRACTIONS_OF_ONE and number > 1:
        raise ValueError(f"{name} is a fraction and must not be above 1, not {value!r:.60}")
    if name in _COUNTS and number != number.to_integral_value():
        raise ValueError(f"{name} must be a whole number, not {value!r:.60}")
    return number


def _number(value: Any) -> Decimal | None:
    if isinstance(value, bool) or not isinstance(value, (int, float, str, Decimal)):
        return None
    try:
        return Decimal(str(value).strip())
    except InvalidOperation:
        return None


def age_or_setting(name: str, given: Any) -> float:
    """Answer a length of time in seconds, 0 included: an argument, or where it is None its setting."""
    setting = f"RISK_{name.upper()}"
    if given is None:
        return settings.number(setting)
    number = _number(given)
    if number is None or number.is_nan() or number < 0:
        raise ValueError(f"{name} must be a number of seconds, 0 or more, not {given!r:.60}")
    return float(number)


def _symbols(given: Any) -> frozenset[str] | None:
    """Answer the allowed symbols as their unified names; None allows all."""
    if given is None:
        text = settings.get("RISK_ALLOWED_SYMBOLS")
        words: Iterable[Any] = [word for word in text.split(",") if word.strip()]
        return frozenset(map(symbols.normalize, words)) if words else None
    if isinstance(given, str) or not isinstance(given, Iterable):
        raise ValueError(f"allowed_symbols must be a list of symbols, not {given!r:.60}")  # noqa: TRY004
    try:
        return frozenset(symbols.normalize(word) for word in given)
    except ExecutionError as error:
        raise ValueError(f"allowed_symbols: {error.message}") from None
