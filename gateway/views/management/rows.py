"""What every row's serialiser does: strict fields, no unknown ones, the row's own rules."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from django.db import models
from rest_framework import serializers
from rest_framework.exceptions import ErrorDetail, ValidationError
from typing_extensions import override

from gateway.views.management.fields import (
    MoneyField,
    NumberField,
    TextField,
    TruthField,
    WholeNumberField,
)

R = TypeVar("R", bound=models.Model)


class RowSerializer(serializers.ModelSerializer[R]):
    """A row as JSON, and back.

    What is saved has passed the row's own `full_clean`, as in the admin. Raises the
    ValidationError of DRF or of Django.
    """

    serializer_field_mapping = {
        **serializers.ModelSerializer.serializer_field_mapping,
        models.CharField: TextField,
        models.BooleanField: TruthField,
        models.IntegerField: WholeNumberField,
        models.BigIntegerField: WholeNumberField,
        models.PositiveIntegerField: WholeNumberField,
        models.PositiveSmallIntegerField: WholeNumberField,
        models.FloatField: NumberField,
        models.DecimalField: MoneyField,
    }

    @override
    def to_internal_value(self, data: Any) -> Any:
        """Refuse fields that are not there to be set: nothing sent is ignored."""
        if isinstance(data, Mapping):
            for name in data:
                self._check_known(name)
        return super().to_internal_value(data)

    def _check_known(self, name: str) -> None:
        field = self.fields.get(name)
        if field is None:
            fault = ErrorDetail("There is no such field here.", code="unknown")
        elif field.read_only:
            fault = ErrorDetail("This field cannot be set.", code="read_only")
        else:
            return
        raise ValidationError({name: [fault]})

    @override
    def create(self, validated_data: Any) -> R:
        """Make a row."""
        new: Callable[[], R] = self.Meta.model
        return self.store(new(), validated_data)

    @override
    def update(self, instance: R, validated_data: Any) -> R:
        """Change a row."""
        return self.store(instance, validated_data)

    def store(self, row: R, values: Mapping[str, Any]) -> R:
        """Set fields, have the row judge itself, and save it."""
        for name, value in values.items():
            setattr(row, name, value)
        row.full_clean()
        row.save()
        return row

    def wire_name(self, field: str) -> str:
        """Give the name under which clients know a field of the row."""
        for name, each in self.fields.items():
            if each.source == field:
                return name
        return field
