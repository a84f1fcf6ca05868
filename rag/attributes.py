"""Attributes of documents, and the filters that requests put on them (pure).

In the grammar of OpenAI's vector stores.
"""

from __future__ import annotations

import math
from typing import TypeAlias

MAX_ATTRIBUTES = 16
MAX_KEY_CHARS = 64
MAX_VALUE_CHARS = 512

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
        if not (isinstance(key, str) and 0 < len(key) <= MAX_KEY_CHARS):
            raise ValueError(
                f"The name of an attribute has 1 to {MAX_KEY_CHARS} characters."
            )
        check_value(key, value)
    return attributes


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
    if isinstance(value, int | float) and math.isfinite(value):
        return value
    raise ValueError(f"The attribute '{key}' is a text, a number, true or false.")
