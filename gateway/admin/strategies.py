"""The pages of routing strategies."""

from __future__ import annotations

from django.conf import settings
from django.contrib import admin
from django.db.models import Count, QuerySet
from django.http import HttpRequest
from typing_extensions import override

from gateway.admin.theme import ModelAdmin, badge
from gateway.models import RoutingStrategy


@admin.register(RoutingStrategy)
class RoutingStrategyAdmin(ModelAdmin[RoutingStrategy]):
    """Algorithms with their parameters."""

    ordering = ("name",)  # the count below undoes the model's own
    list_display = (
        "name",
        "algorithm",
        "role",
        "max_attempts",
        "request_deadline_s",
        "model_count",
    )
    list_filter = ("algorithm",)
    search_fields = ("name",)
    fieldsets = (
        (None, {"fields": ("name", "algorithm", "latency_decay_s")}),
        (
            "Attempts",
            {"fields": ("max_attempts", "request_deadline_s", "stream_deadline_s")},
        ),
        (
            "Breaker",
            {
                "fields": (
                    "breaker_failures",
                    "breaker_failure_rate",
                    "breaker_minimum_requests",
                    "breaker_window_s",
                    "breaker_open_s",
                    "breaker_max_open_s",
                ),
                "description": "When a deployment that fails is left alone, and for "
                "how long.",
            },
        ),
    )

    @override
    def get_queryset(self, request: HttpRequest) -> QuerySet[RoutingStrategy]:
        """Count the models in the same query."""
        return super().get_queryset(request).annotate(models_in_all=Count("model"))

    @badge("Role", {"default": "success"})
    def role(self, row: RoutingStrategy) -> str:
        """Mark the one that models without a strategy have (ROUTING_STRATEGY)."""
        return "default" if row.name == settings.ROUTING_STRATEGY else "-"

    @admin.display(description="Models", ordering="models_in_all")
    def model_count(self, row: RoutingStrategy) -> int:
        """Count the models that name it."""
        count: int = row.models_in_all  # type: ignore[attr-defined]  # annotated
        return count
