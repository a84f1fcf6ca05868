"""Limits and budgets as JSON, on their own and as part of a key or tenant."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

from django.db.models import QuerySet
from rest_framework import serializers
from typing_extensions import override

from gateway.access import NANO_PER_USD
from gateway.kinds import Period
from gateway.models import ApiKey, Budget, Limit, Model, Provider, Tenant
from gateway.spending import current_period, with_spending
from gateway.views.management.fields import AddressField, NameOfField
from gateway.views.management.rows import RowSerializer

OWN_LIMIT = ("id", "measure", "amount", "window", "enabled")
OWN_BUDGET = (
    "id",
    "period",
    "amount_usd",
    "warn_percent",
    "is_hard",
    "blocks_unknown_price",
    "webhook_url",
    "enabled",
)
MOMENTS = ("created_at", "updated_at")
OPTIONAL: dict[str, Any] = {"required": False, "allow_null": True}


class OwnLimitSerializer(RowSerializer[Limit]):
    """A limit of the key or tenant that it is shown with."""

    class Meta:
        model = Limit
        fields = OWN_LIMIT
        read_only_fields = ("id",)

    @override
    def validate(self, attrs: Any) -> Any:
        """Have the row judge itself, for faults to be named by their place."""
        Limit(**attrs).clean()
        return attrs


class OwnBudgetSerializer(RowSerializer[Budget]):
    """A budget of the key or tenant that it is shown with."""

    class Meta:
        model = Budget
        fields = OWN_BUDGET
        read_only_fields = ("id",)


class LimitSerializer(RowSerializer[Limit]):
    """A limit; of a key, tenant, model, provider or address, of everybody without one."""

    tenant = NameOfField(slug_field="name", queryset=Tenant.objects.all(), **OPTIONAL)
    key = NameOfField(
        source="api_key",
        slug_field="public_id",
        queryset=ApiKey.objects.all(),
        **OPTIONAL,
    )
    model = NameOfField(slug_field="name", queryset=Model.objects.all(), **OPTIONAL)
    provider = NameOfField(
        slug_field="name", queryset=Provider.objects.all(), **OPTIONAL
    )
    address = AddressField(**OPTIONAL)

    class Meta:
        model = Limit
        fields = (
            *OWN_LIMIT,
            "tenant",
            "key",
            "model",
            "provider",
            "address",
            "rate_limit_id",
            *MOMENTS,
        )
        read_only_fields = ("id", "rate_limit_id", *MOMENTS)


class BudgetSerializer(RowSerializer[Budget]):
    """A budget of a key or a tenant, and how much of its current period is spent."""

    tenant = NameOfField(slug_field="name", queryset=Tenant.objects.all(), **OPTIONAL)
    key = NameOfField(
        source="api_key",
        slug_field="public_id",
        queryset=ApiKey.objects.all(),
        **OPTIONAL,
    )
    spent_usd = serializers.SerializerMethodField()
    spent_percent = serializers.SerializerMethodField()
    period_start = serializers.SerializerMethodField()
    resets_at = serializers.SerializerMethodField()

    class Meta:
        model = Budget
        fields = (
            *OWN_BUDGET,
            "tenant",
            "key",
            "spent_usd",
            "spent_percent",
            "period_start",
            "resets_at",
            *MOMENTS,
        )
        read_only_fields = ("id", *MOMENTS)

    def get_spent_usd(self, row: Any) -> float:
        """Say what the current period's requests have cost, as last written down."""
        return float(row.spent_nano_usd / NANO_PER_USD)

    def get_spent_percent(self, row: Any) -> float | None:
        """Say which share of the amount that is; null when the amount is zero."""
        if not row.amount_usd:
            return None
        return round(100 * self.get_spent_usd(row) / float(row.amount_usd), 3)

    def get_period_start(self, row: Budget) -> date:
        """Give the first day of the current period, in UTC."""
        return current_period(Period(row.period)).starts.date()

    def get_resets_at(self, row: Budget) -> datetime | None:
        """Say when the next period begins; null for a budget in total."""
        return current_period(Period(row.period)).ends


def limits() -> QuerySet[Limit]:
    """Read limits with the rows that they name."""
    return Limit.objects.select_related("tenant", "api_key", "model", "provider")


def budgets() -> QuerySet[Budget]:
    """Read budgets with their owners, and what is spent of the current periods."""
    return with_spending(Budget.objects.select_related("tenant", "api_key"))
