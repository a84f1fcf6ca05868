"""Fields that take JSON's own types and nothing that only looks like them."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from rest_framework import serializers
from typing_extensions import override

from gateway.allowances import NAMES
from gateway.caller_address import normal_address
from gateway.kinds import Right
from gateway.models.quotas import MAX_AMOUNT

MAX_NAME_LENGTH = 200
MONEY_DIGITS = 15
MONEY_PLACES = 6


class TextField(serializers.CharField):
    """A text, as it was sent."""

    def __init__(self, **kwargs: Any) -> None:
        """Keep blanks: whether they are allowed is the row's to say."""
        super().__init__(**{"trim_whitespace": False, **kwargs})

    @override
    def to_internal_value(self, data: Any) -> str:
        """Refuse numbers."""
        if not isinstance(data, str):
            self.fail("invalid")
        return str(super().to_internal_value(data))


class WholeNumberField(serializers.IntegerField):
    """An integer."""

    @override
    def to_internal_value(self, data: Any) -> int:
        """Refuse texts, truth values and fractions."""
        if type(data) is not int:
            self.fail("invalid")
        return data


class NumberField(serializers.FloatField):
    """A number."""

    @override
    def to_internal_value(self, data: Any) -> float:
        """Refuse texts and truth values."""
        if type(data) not in {int, float}:
            self.fail("invalid")
        return float(data)


class MoneyField(serializers.DecimalField):
    """An amount of USD, a number on both ways."""

    def __init__(self, **kwargs: Any) -> None:
        """Take what the row's field has; none of ours may be negative."""
        # An integer, because the OpenAPI document would write a decimal as a text.
        super().__init__(**{**kwargs, "coerce_to_string": False, "min_value": 0})

    @override
    def to_internal_value(self, data: Any) -> Decimal:
        """Refuse texts and truth values."""
        if type(data) not in {int, float}:
            self.fail("invalid")
        return super().to_internal_value(data)

    @override
    def to_representation(self, value: Any) -> Any:
        """Write a number: fifteen digits fit a double."""
        return float(value)


class TruthField(serializers.BooleanField):
    """True or false."""

    @override
    def to_internal_value(self, data: Any) -> bool:
        """Refuse words and numbers."""
        if type(data) is not bool:
            self.fail("invalid", input=data)
        return data


class NameOfField(serializers.SlugRelatedField[Any]):
    """Another row, by the text that names it."""

    @override
    def to_internal_value(self, data: Any) -> Any:
        """Refuse what is not a text."""
        if not isinstance(data, str):
            self.fail("invalid")
        return super().to_internal_value(data)


class AddressField(serializers.IPAddressField):
    """An IP address, written in its one normal form."""

    @override
    def to_internal_value(self, data: Any) -> str:
        """Refuse what is no address."""
        if not isinstance(data, str):
            self.fail("invalid")
        try:
            return normal_address(data)
        except ValueError:
            self.fail("invalid")


def names_field(**kwargs: Any) -> serializers.ListField:
    """Make a field for a list of names."""
    return serializers.ListField(child=TextField(max_length=MAX_NAME_LENGTH), **kwargs)


def rights_field() -> serializers.ListField:
    """Make the field of a key's rights."""
    rights = serializers.ChoiceField([right.value for right in Right])
    return serializers.ListField(child=rights, required=False)


def allowance_field(name: str) -> serializers.Field[Any, Any, Any, Any]:
    """Make the field of an everyday limit or budget; null removes it."""
    optional: dict[str, Any] = {"required": False, "allow_null": True}
    if name.startswith("budget_usd"):
        return MoneyField(
            max_digits=MONEY_DIGITS,
            decimal_places=MONEY_PLACES,
            **optional,
        )
    return WholeNumberField(min_value=1, max_value=MAX_AMOUNT, **optional)


def allowance_fields(
    names: Iterable[str] = NAMES,
) -> dict[str, serializers.Field[Any, Any, Any, Any]]:
    """Make the fields of all of them."""
    return {name: allowance_field(name) for name in names}
