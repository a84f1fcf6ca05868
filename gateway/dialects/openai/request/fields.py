"""Checks of single request fields, with messages in OpenAI's words that name the field."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TypeVar

from gateway.errors import InvalidRequest

MAX_NAME_CHARS = 256

Check = Callable[[str, object], None]
T = TypeVar("T")

# Control characters, and the marks that make text read other than it is stored.
_FORBIDDEN_IN_NAMES = re.compile(
    "[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]"
)
_ARTICLES = {
    dict: "an object",
    list: "an array",
    str: "a string",
    bool: "a boolean",
    int: "an integer",
    float: "a number",
    type(None): "null",
}


def wrong_type(path: str, expected: str, value: object) -> InvalidRequest:
    """Say which type the field should have had."""
    got = _ARTICLES.get(type(value), "something else")
    return InvalidRequest(
        f"Invalid type for '{path}': expected {expected}, but got {got} instead.",
        param=path,
        code="invalid_type",
    )


def wrong_value(path: str, problem: str) -> InvalidRequest:
    """Say what is wrong with a value of the right type."""
    return InvalidRequest(
        f"Invalid value for '{path}': {problem}.", param=path, code="invalid_value"
    )


def missing(path: str) -> InvalidRequest:
    """Say that a required field is not there."""
    return InvalidRequest(
        f"Missing required parameter: '{path}'.",
        param=path,
        code="missing_required_parameter",
    )


def check_number(low: float, high: float) -> Check:
    """Accept numbers from `low` to `high`."""

    def check(path: str, value: object) -> None:
        if type(value) is not float and type(value) is not int:
            raise wrong_type(path, "a number", value)
        if not low <= value <= high:
            raise wrong_value(path, f"must be between {low} and {high}")

    return check


def check_integer(low: int | None = None, high: int | None = None) -> Check:
    """Accept integers from `low` to `high`; None = no bound but 64 bits."""

    def check(path: str, value: object) -> None:
        if type(value) is not int:
            raise wrong_type(path, "an integer", value)
        if low is not None and value < low:
            raise wrong_value(path, f"must be at least {low}")
        if high is not None and value > high:
            raise wrong_value(path, f"must be at most {high}")

    return check


def check_boolean(path: str, value: object) -> None:
    """Accept true and false."""
    if type(value) is not bool:
        raise wrong_type(path, "a boolean", value)


def check_string(path: str, value: object) -> None:
    """Accept any string."""
    if type(value) is not str:
        raise wrong_type(path, "a string", value)


def check_object(path: str, value: object) -> None:
    """Accept any object."""
    if type(value) is not dict:
        raise wrong_type(path, "an object", value)


def check_objects(path: str, value: object) -> None:
    """Accept a list of objects."""
    if type(value) is not list:
        raise wrong_type(path, "an array of objects", value)
    for index, entry in enumerate(value):
        if type(entry) is not dict:
            raise wrong_type(f"{path}[{index}]", "an object", entry)


def check_name(path: str, value: object) -> None:
    """Accept a string of 1 to 256 characters without control characters."""
    if type(value) is not str:
        raise wrong_type(path, "a string", value)
    if not value:
        raise wrong_value(path, "must not be empty")
    if len(value) > MAX_NAME_CHARS:
        raise wrong_value(path, f"must be at most {MAX_NAME_CHARS} characters long")
    if _FORBIDDEN_IN_NAMES.search(value):
        raise wrong_value(path, "must not contain control characters")


def check_known(
    body: Mapping[str, object], checks: Mapping[str, Check], *, required: str
) -> None:
    """Check every field that is given and not null; other fields are left alone.

    Raises:
        InvalidRequest: Also when the `required` field is missing or null.

    """
    if body.get(required) is None:
        raise missing(required)
    for name, value in body.items():
        if value is not None and (check := checks.get(name)) is not None:
            check(name, value)


def read_string(value: object, path: str) -> str:
    """Give the string, or say that the field is missing or of another type."""
    if type(value) is str:
        return value
    raise missing(path) if value is None else wrong_type(path, "a string", value)


def read_object(value: object, path: str) -> dict[str, object]:
    """Give the object, or say that the field is missing or of another type."""
    if type(value) is dict:
        return value
    raise missing(path) if value is None else wrong_type(path, "an object", value)


def read_objects(value: object, path: str) -> list[dict[str, object]]:
    """Give the list of objects, or say what is wrong with it; null is an empty list."""
    if value is None:
        return []
    if type(value) is not list:
        raise wrong_type(path, "an array of objects", value)
    return [read_object(entry, f"{path}[{i}]") for i, entry in enumerate(value)]


def read_optional(body: Mapping[str, object], name: str, kind: type[T]) -> T | None:
    """Give the field when it is of exactly this type, else None; never raises."""
    value = body.get(name)
    return value if type(value) is kind else None
