"""Tenants and keys as JSON, with their limits and budgets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from django.db.models import QuerySet
from rest_framework import serializers
from typing_extensions import override

from gateway.allowances import NAMES, Owner, allowances, owned_by, set_allowances
from gateway.keyring import create_key
from gateway.models import ApiKey, Tenant
from gateway.operations import save_changes
from gateway.views.management.fields import (
    NameOfField,
    allowance_fields,
    names_field,
    rights_field,
)
from gateway.views.management.quotas import OwnBudgetSerializer, OwnLimitSerializer
from gateway.views.management.rows import RowSerializer

QUOTAS = ("limits", "budgets")
SET_LATER = "Set when it is made; afterwards at /api/limits and /api/budgets."

O = TypeVar("O", bound=Owner)  # noqa: E741 - whose limits and budgets they are


class OwnerSerializer(RowSerializer[O]):
    """What keys and tenants share: limits and budgets, the everyday ones by name."""

    limits = OwnLimitSerializer(many=True, required=False)
    budgets = OwnBudgetSerializer(many=True, required=False)

    @override
    def get_fields(self) -> Any:
        """Add the everyday limits and budgets."""
        return {**super().get_fields(), **allowance_fields()}

    @override
    def to_representation(self, instance: O) -> Any:
        """Show the everyday limits and budgets, which no column holds."""
        shown = super().to_representation(instance)
        for name, value in allowances(instance).items():
            field = self.fields[name]
            shown[name] = None if value is None else field.to_representation(value)
        return shown

    @override
    def create(self, validated_data: Any) -> O:
        """Make a row with its limits and budgets."""
        columns, quotas, wanted = divided(validated_data)
        row = self.make(columns)
        for serializer, values in (
            (OwnLimitSerializer(), quotas.get("limits", ())),
            (OwnBudgetSerializer(), quotas.get("budgets", ())),
        ):
            for each in values:
                serializer.create({**each, **owned_by(row)})
        set_allowances(row, wanted)
        return row

    @override
    def update(self, instance: O, validated_data: Any) -> O:
        """Change a row; of its limits and budgets only the everyday ones."""
        columns, quotas, wanted = divided(validated_data)
        for name in quotas:
            raise serializers.ValidationError({name: [SET_LATER]})
        row = super().update(instance, columns)
        set_allowances(row, wanted)
        return row

    def make(self, values: Mapping[str, Any]) -> O:
        """Make the row itself."""
        return super().create(values)


class TenantSerializer(OwnerSerializer[Tenant]):
    """A customer, team or application."""

    class Meta:
        model = Tenant
        fields = ("name", "enabled", *QUOTAS, "created_at", "updated_at")
        read_only_fields = ("created_at", "updated_at")


class KeySerializer(OwnerSerializer[ApiKey]):
    """A virtual key, without its secret but in the answer that made it."""

    id = serializers.CharField(source="public_id", read_only=True)
    tenant = NameOfField(
        slug_field="name",
        queryset=Tenant.objects.all(),
        required=False,
        help_text="Whose key it is. Default: a tenant of its own, named like the key.",
    )
    rights = rights_field()
    models = names_field(source="allowed_models", required=False)
    collections = names_field(source="allowed_collections", required=False)
    last_used_at = serializers.DateTimeField(
        source="use.last_used_at", read_only=True, allow_null=True
    )

    class Meta:
        model = ApiKey
        fields = (
            "id",
            "name",
            "tenant",
            "enabled",
            "rights",
            "models",
            "collections",
            "expires_at",
            *QUOTAS,
            "source",
            "is_withdrawn",
            "previous_until",
            "last_used_at",
            "created_at",
            "updated_at",
        )
        read_only_fields = (
            "source",
            "is_withdrawn",
            "previous_until",
            "created_at",
            "updated_at",
        )

    secret: str | None = None

    @override
    def make(self, values: Mapping[str, Any]) -> ApiKey:
        """Mint the key, and keep it for the answer."""
        given = {**values}
        enabled = given.pop("enabled", True)
        row, self.secret = create_key(**given)
        save_changes(row, enabled=enabled)
        return row

    @override
    def to_representation(self, instance: ApiKey) -> Any:
        """Show the key once: when it was made just now."""
        shown = super().to_representation(instance)
        return shown if self.secret is None else {**shown, "key": self.secret}


class MintedKeySerializer(KeySerializer):
    """A key as the answer shows it that made or rotated it."""

    key = serializers.CharField(
        read_only=True, help_text="The key itself. Nothing shows it again."
    )

    class Meta(KeySerializer.Meta):
        fields = (*KeySerializer.Meta.fields, "key")  # type: ignore[assignment]  # longer


def divided(
    values: Mapping[str, Any],
) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Divide what was sent: columns, lists of limits and budgets, everyday ones."""
    quotas = {name: values[name] for name in QUOTAS if name in values}
    wanted = {name: values[name] for name in NAMES if name in values}
    columns = {
        name: value
        for name, value in values.items()
        if name not in quotas and name not in wanted
    }
    return columns, quotas, wanted


def tenants() -> QuerySet[Tenant]:
    """Read tenants with what they may."""
    return Tenant.objects.prefetch_related("limits", "budgets")


def keys() -> QuerySet[ApiKey]:
    """Read keys with their tenants, use, and what they may."""
    rows = ApiKey.objects.select_related("tenant", "use")
    return rows.prefetch_related("limits", "budgets")
