"""The pages of models and deployments."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import Count, Q, QuerySet
from django.http import HttpRequest
from typing_extensions import override

from gateway.admin.deployment_table import DeploymentsOfModel
from gateway.admin.forms import ModelForm
from gateway.admin.ownership import COLOURS, OwnedPages, serving_state
from gateway.admin.providers import shown_count
from gateway.admin.theme import ModelAdmin, badge
from gateway.models import Deployment, Model


@admin.register(Model)
class ModelPages(OwnedPages, ModelAdmin[Model]):
    """What clients ask for by name."""

    form = ModelForm
    owned = ("name",)
    ordering = ("name",)  # the counts below undo the model's own
    list_display = ("name", "strategy", "fallback_names", "state", "deployment_count")
    list_filter = ("enabled", "source", "strategy")
    list_select_related = ("strategy",)
    search_fields = ("name",)
    autocomplete_fields = ("strategy",)
    readonly_fields = ("ownership",)
    inlines = (DeploymentsOfModel,)
    fieldsets = (
        (None, {"fields": ("name", "enabled", "ownership")}),
        ("Routing", {"fields": ("strategy", "fallbacks")}),
        ("Requests", {"fields": ("defaults",)}),
    )

    @override
    def get_queryset(self, request: HttpRequest) -> QuerySet[Model]:
        """Count the deployments in the same query."""
        rows: QuerySet[Model] = super().get_queryset(request)
        return rows.annotate(
            deployments_in_all=Count("deployments"),
            deployments_enabled=Count(
                "deployments", filter=Q(deployments__enabled=True)
            ),
        )

    @badge("State", COLOURS)
    def state(self, row: Model) -> str:
        """Say whether it may serve."""
        return serving_state(row)

    @admin.display(description="Fallbacks")
    def fallback_names(self, row: Model) -> str:
        """Write the fallbacks in their order."""
        return ", ".join(row.fallbacks) or "-"

    @admin.display(description="Deployments", ordering="deployments_in_all")
    def deployment_count(self, row: Any) -> str:
        """Count its deployments, and how many of them are enabled."""
        return shown_count(row.deployments_enabled, row.deployments_in_all)


@admin.register(Deployment)
class DeploymentPages(OwnedPages, ModelAdmin[Deployment]):
    """Which provider serves which model, at what weight, priority and price."""

    owned = ("model", "provider", "upstream_model")
    list_display = (
        "model",
        "provider",
        "upstream_model",
        "version",
        "weight",
        "priority",
        "prices",
        "state",
    )
    list_display_links = ("model", "upstream_model")
    list_filter = ("enabled", "provider", "version", "source")
    list_select_related = ("model", "provider")
    search_fields = ("model__name", "provider__name", "upstream_model")
    autocomplete_fields = ("model", "provider")
    readonly_fields = ("ownership",)
    fieldsets = (
        (
            None,
            {"fields": ("model", "provider", "upstream_model", "enabled", "ownership")},
        ),
        ("Routing", {"fields": ("weight", "priority", "version")}),
        (
            "Prices",
            {
                "fields": (
                    "input_price_per_mtok_usd",
                    "output_price_per_mtok_usd",
                    "cache_read_price_per_mtok_usd",
                    "cache_write_price_per_mtok_usd",
                )
            },
        ),
        ("Abilities", {"fields": ("context_window", "capabilities", "options")}),
        (
            "Timeouts",
            {
                "fields": (
                    "connect_timeout_s",
                    "first_byte_timeout_s",
                    "response_timeout_s",
                    "idle_timeout_s",
                )
            },
        ),
    )

    @override
    def get_queryset(self, request: HttpRequest) -> QuerySet[Deployment]:
        """Read both ends with the rows, on every page: they are in the title."""
        return super().get_queryset(request).select_related("model", "provider")

    @admin.display(description="USD/Mtok in, out")
    def prices(self, row: Deployment) -> str:
        """Write the prices of input and output tokens; a dash for an unknown one."""
        pair = (row.input_price_per_mtok_usd, row.output_price_per_mtok_usd)
        return ", ".join(
            "-" if price is None else f"{float(price):g}" for price in pair
        )

    @badge("State", COLOURS)
    def state(self, row: Deployment) -> str:
        """Say whether it may serve."""
        return serving_state(row)
