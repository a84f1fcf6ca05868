"""A session's own settings: a JSON object that overrides its policy."""

from __future__ import annotations

from collections.abc import Mapping

from django.core.exceptions import ValidationError

from memory.config import Override

# What a session may say about itself, with the smallest and the largest value.
NUMBERS = {"max_tokens": 1_000_000, "recent_turns": 200, "recall_turns": 100}


def validate_settings(value: object) -> None:
    """Accept an object of known names, whole numbers in range, and one switch.

    Raises:
        ValidationError: Names the setting at fault.

    """
    if not isinstance(value, dict):
        raise ValidationError("Settings are a JSON object.")
    for name, given in value.items():
        if name == "is_enabled":
            if type(given) is not bool:
                raise ValidationError("is_enabled is true or false.")
        elif name not in NUMBERS:
            raise ValidationError(f"'{name}' is not a setting of a session.")
        elif type(given) is not int or not 0 <= given <= NUMBERS[name]:
            raise ValidationError(f"{name} is a number from 0 to {NUMBERS[name]}.")


def read_settings(value: Mapping[str, object]) -> Override:
    """Read stored settings; what does not belong there is passed over."""
    enabled = value.get("is_enabled")

    def number(name: str) -> int | None:
        given = value.get(name)
        if type(given) is not int or not 0 <= given <= NUMBERS[name]:
            return None
        return given

    return Override(
        is_enabled=enabled if type(enabled) is bool else None,
        max_tokens=number("max_tokens"),
        recent_turns=number("recent_turns"),
        recall_turns=number("recall_turns"),
    )
