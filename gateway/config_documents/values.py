"""Values of a document: rows' fields as JSON's own types, and nothing that looks alike."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.core.exceptions import ValidationError
from django.db import models

from gateway.operations import canonical

# The first class that fits decides; whatever else is a text.
JSON_TYPES: tuple[tuple[type[models.Field[Any, Any]], tuple[type, ...], str], ...] = (
    (models.BooleanField, (bool,), "true or false"),
    (models.IntegerField, (int,), "a whole number"),
    (models.FloatField, (int, float), "a number"),
    (models.DecimalField, (int, float), "a number"),
    (models.JSONField, (dict, list), "a JSON object or list"),
    (models.Field, (str,), "a text"),
)


class References:
    """Finds rows by the text that names them, each table read once."""

    def __init__(self) -> None:
        """Begin with nothing read."""
        self._tables: dict[type[Any], Mapping[str, Any]] = {}

    def find(self, model: type[Any], slug: str, value: object) -> Any:
        """Give the row that is named.

        Raises:
            ValidationError: There is none.

        """
        if model not in self._tables:
            rows = model.objects.all()
            self._tables[model] = {getattr(row, slug): row for row in rows}
        found = self._tables[model].get(value) if isinstance(value, str) else None
        if found is None:
            raise ValidationError(f"There is no {model._meta.verbose_name} {value!r}.")
        return found


def as_json(value: Any) -> Any:
    """Write a field's value: numbers for decimals, ISO 8601 for moments."""
    match value:
        case Decimal():
            return float(value)
        case datetime():
            return value.isoformat()
        case _:
            return value


def is_other(given: Any, value: Any) -> bool:
    """Compare JSON as it is written: `true` is not `1`."""
    return canonical(given) != canonical(value)


def from_json(field: models.Field[Any, Any], value: Any) -> Any:
    """Read a field's value; whether it is allowed is for the row to say.

    Raises:
        ValidationError: It is of another JSON type.

    """
    if value is None:
        if not field.null:
            raise ValidationError("It may not be null.")
        return None
    for kind, types, words in JSON_TYPES:
        if isinstance(field, kind):
            if type(value) not in types:
                raise ValidationError(f"It must be {words}.")
            break
    return field.to_python(str(value) if type(value) is float else value)
