"""Attributes of documents, and the filters that requests put on them (pure).

In the grammar of OpenAI's vector stores.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeAlias

MAX_ATTRIBUTES = 16
MAX_KEY_CHARS = 64
MAX_VALUE_CHARS = 512
# Of a filter as a whole, and of the values that one condition lists.
MAX_DEPTH = 8
MAX_CONDITIONS = 64
MAX_LISTED = 256

Value: TypeAlias = str | float | bool


def check_attributes(attributes: object) -> dict[str, Value]:
    """Give attributes as they came.

    Raises:
        ValueError: They are no object of at most 16 texts (of at most 512 characters),
            numbers and truth values, whose names have 1 to 64 characters.

    """
    if not isinstance(attributes, dict):
        raise ValueError("Attributes are a JSON object.")  # noqa: TRY004 - as all others
    if len(attributes) > MAX_ATTRIBUTES:
        raise ValueError(f"There are at most {MAX_ATTRIBUTES} attributes.")
    for key, value in attributes.items():
        check_value(check_key(key), value)
    return attributes


def check_key(key: object) -> str:
    """Give an attribute's name as it came.

    Raises:
        ValueError: It is none that an attribute can have.

    """
    if not (isinstance(key, str) and 0 < len(key) <= MAX_KEY_CHARS) or "\0" in key:
        raise ValueError(
            f"The name of an attribute has 1 to {MAX_KEY_CHARS} characters."
        )
    return key


def check_value(key: str, value: object) -> Value:
    """Give one attribute's value as it came.

    Raises:
        ValueError: It is none that an attribute can have.

    """
    if isinstance(value, bool):
        return value
    if isinstance(value, str):
        if len(value) > MAX_VALUE_CHARS or "\0" in value:
            raise ValueError(
                f"The attribute '{key}' has at most {MAX_VALUE_CHARS} characters, none "
                "of them NUL."
            )
        return value
    if isinstance(value, int | float) and _is_finite(value):
        return value
    raise ValueError(f"The attribute '{key}' is a text, a number, true or false.")


def _is_finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer that no float can hold
        return False


# --- Filters ---------------------------------------------------------------------------


class Comparison(StrEnum):
    """How an attribute is compared with a value, or with a list of them."""

    EQ = "eq"
    NE = "ne"
    GT = "gt"
    GTE = "gte"
    LT = "lt"
    LTE = "lte"
    IN = "in"
    NIN = "nin"


class Junction(StrEnum):
    """How many of several filters must hold."""

    AND = "and"
    OR = "or"


@dataclass(frozen=True, slots=True)
class Condition:
    """One comparison; `values` is one value, for `in` and `nin` any number."""

    comparison: Comparison
    key: str
    values: tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class Compound:
    """Several filters, at least one."""

    junction: Junction
    filters: tuple[Filter, ...]


Filter: TypeAlias = Condition | Compound

_ORDERINGS: Mapping[Comparison, Callable[[Any, Any], bool]] = {
    Comparison.GT: operator.gt,
    Comparison.GTE: operator.ge,
    Comparison.LT: operator.lt,
    Comparison.LTE: operator.le,
}
_LISTS = (Comparison.IN, Comparison.NIN)
_TYPES = ", ".join((*Comparison, *Junction))


def parse_filter(value: object) -> Filter:
    """Read a filter as a request has it.

    Raises:
        ValueError: It is none; the text is one sentence for the caller.

    """
    parsed = _parsed(value, depth=1)
    if _size(parsed) > MAX_CONDITIONS:
        raise ValueError(f"A filter has at most {MAX_CONDITIONS} conditions.")
    return parsed


def matches(filters: Filter, attributes: Mapping[str, object]) -> bool:
    """Tell whether a document is meant.

    Texts, numbers and truth values are three kinds: values of two kinds are not equal,
    and neither is greater. An attribute that is not there is equal to nothing, so that
    `ne` and `nin` hold for it, and nothing else does.
    """
    if isinstance(filters, Compound):
        each = (matches(one, attributes) for one in filters.filters)
        return all(each) if filters.junction is Junction.AND else any(each)
    actual = attributes.get(filters.key)
    if ordering := _ORDERINGS.get(filters.comparison):
        (limit,) = filters.values
        return _kind(actual) == _kind(limit) and ordering(actual, limit)
    is_listed = any(_is_equal(actual, value) for value in filters.values)
    return is_listed == (filters.comparison in (Comparison.EQ, Comparison.IN))


def _is_equal(actual: object, value: Value) -> bool:
    return _kind(actual) == _kind(value) and actual == value


def _kind(value: object) -> type | None:
    """Tell apart what Python takes for one: True is 1 there."""
    if isinstance(value, bool | str):
        return type(value)
    return float if isinstance(value, int | float) else None


def _parsed(value: object, *, depth: int) -> Filter:
    if not isinstance(value, dict):
        raise ValueError("A filter is a JSON object with a 'type'.")  # noqa: TRY004 - as all others
    if depth > MAX_DEPTH:
        raise ValueError(f"Filters are nested at most {MAX_DEPTH} deep.")
    kind = value.get("type")
    if kind in tuple(Junction):
        _check_fields(value, "type", "filters")
        return _compound(Junction(kind), value["filters"], depth=depth)
    if kind in tuple(Comparison):
        _check_fields(value, "type", "key", "value")
        return _condition(Comparison(kind), check_key(value["key"]), value["value"])
    raise ValueError(f"The 'type' of a filter is one of {_TYPES}.")


def _check_fields(value: Mapping[object, object], *names: str) -> None:
    if set(value) != set(names):
        listed = ", ".join(f"'{name}'" for name in names)
        raise ValueError(f"A filter of type '{value['type']}' has exactly {listed}.")


def _compound(junction: Junction, filters: object, *, depth: int) -> Compound:
    if not (isinstance(filters, list) and 0 < len(filters) <= MAX_CONDITIONS):
        raise ValueError(
            f"The 'filters' of '{junction}' are a list of 1 to {MAX_CONDITIONS} filters."
        )
    return Compound(junction, tuple(_parsed(one, depth=depth + 1) for one in filters))


def _condition(comparison: Comparison, key: str, value: object) -> Condition:
    if comparison not in _LISTS:
        checked = check_value(key, value)
        if comparison in _ORDERINGS and isinstance(checked, bool):
            raise ValueError(f"'{comparison}' compares with a text or a number.")
        return Condition(comparison, key, (checked,))
    if not (isinstance(value, list) and 0 < len(value) <= MAX_LISTED):
        raise ValueError(
            f"The 'value' of '{comparison}' is a list of 1 to {MAX_LISTED} values."
        )
    return Condition(comparison, key, tuple(check_value(key, one) for one in value))


def _size(filters: Filter) -> int:
    if isinstance(filters, Compound):
        return sum(_size(one) for one in filters.filters)
    return 1
