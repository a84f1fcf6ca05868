"""Deployments that serve at a price nobody knows."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet, Sum
from django.http import HttpRequest
from django.utils import timezone
from typing_extensions import override

from gateway.admin.prices import prices_of
from gateway.models import Deployment, UsageRollup
from gateway.snapshot import Prices

UNKNOWN = "unknown"


def unpriced_deployments() -> dict[int, int]:
    """Count the last day's requests of unknown price, by deployment id.

    A deployment that has got its prices since then does not count any more.
    """
    rollups = UsageRollup.objects.filter(
        grain=UsageRollup.Grain.HOUR,
        start__gte=timezone.now() - timedelta(days=1),
        unpriced_requests__gt=0,
    )
    sums = rollups.order_by().values("deployment_id")
    counts = {
        each["deployment_id"]: each["total"]
        for each in sums.annotate(total=Sum("unpriced_requests"))
    }
    if not counts:
        return {}
    rows = Deployment.objects.filter(pk__in=counts).select_related("provider")
    return {row.pk: counts[row.pk] for row in rows if has_gap(prices_of(row))}


def has_gap(prices: Prices) -> bool:
    """Say whether the price of input or output is unknown."""
    return None in (prices.input_per_mtok_usd, prices.output_per_mtok_usd)


class UnknownPriceFilter(admin.SimpleListFilter):
    """Deployments that served in the last day at an unknown price."""

    title = "price"
    parameter_name = "price"

    @override
    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[Any]:
        """Offer the one choice."""
        return [(UNKNOWN, "Unknown, with traffic in the last day")]

    @override
    def queryset(
        self, request: HttpRequest, queryset: QuerySet[Deployment]
    ) -> QuerySet[Deployment]:
        """Keep those deployments, if they are asked for."""
        if self.value() != UNKNOWN:
            return queryset
        return queryset.filter(pk__in=list(unpriced_deployments()))
