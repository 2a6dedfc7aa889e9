"""Checks a public dict against its TypedDict: the keys, and the type of every value."""

from __future__ import annotations

import types
from typing import Any, Literal, NotRequired, Required, Union, get_args, get_origin, get_type_hints, is_typeddict


def check(value: Any, expected: Any, where: str = "data") -> None:
    """Assert that a value has the declared shape; a float must be a float, never an int or a Decimal."""
    origin = get_origin(expected)
    if expected is Any:
        return
    if is_typeddict(expected):
        _check_dict(value, expected, where)
    elif origin in (NotRequired, Required):
        check(value, get_args(expected)[0], where)
    elif origin is Literal:
        assert value in get_args(expected), f"{where} is {value!r}, not one of {get_args(expected)}"
    elif origin in (Union, types.UnionType):
        _check_union(value, expected, where)
    elif origin is list:
        assert type(value) is list, f"{where} is {type(value)}"
        for index, item in enumerate(value):
            check(item, get_args(expected)[0], f"{where}[{index}]")
    elif origin is dict:
        for key, item in value.items():
            check(item, get_args(expected)[1], f"{where}[{key!r}]")
    else:
        assert type(value) is (type(None) if expected is None else expected), f"{where} is {value!r}, not {expected}"


def _check_dict(value: Any, expected: Any, where: str) -> None:
    assert type(value) is dict, f"{where} is {value!r}"
    hints = get_type_hints(expected, include_extras=True)
    missing = {key for key, hint in hints.items() if get_origin(hint) is not NotRequired} - set(value)
    assert not missing, f"{where} lacks {sorted(missing)}"
    for key, item in value.items():
        if key in hints:
            check(item, hints[key], f"{where}.{key}")


def _check_union(value: Any, expected: Any, where: str) -> None:
    options = [option for option in get_args(expected) if option is not type(None)]
    if value is None:
        assert type(None) in get_args(expected), f"{where} is None"
    else:
        check(value, options[0], where)
