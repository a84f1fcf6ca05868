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
from gateway.admin.price_trial import PriceTrials
from gateway.admin.prices import brief_prices, explained_prices
from gateway.admin.providers import shown_count
from gateway.admin.quotas import LimitTable
from gateway.admin.theme import ModelAdmin, badge
from gateway.admin.unknown_prices import UnknownPriceFilter
from gateway.admin.version_facts import with_version_weight
from gateway.models import Deployment, Model
from gateway.operations import OWNED_FIELDS


@admin.register(Model)
class ModelPages(OwnedPages, ModelAdmin[Model]):
    """What clients ask for by name."""

    form = ModelForm
    owned = OWNED_FIELDS[Model]
    ordering = ("name",)  # the counts below undo the model's own
    list_display = ("name", "strategy", "fallback_names", "state", "deployment_count")
    list_filter = ("enabled", "source", "strategy")
    list_select_related = ("strategy",)
    search_fields = ("name",)
    autocomplete_fields = ("strategy",)
    readonly_fields = ("ownership",)
    inlines = (DeploymentsOfModel, LimitTable)
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
class DeploymentPages(OwnedPages, PriceTrials, ModelAdmin[Deployment]):
    """Which provider serves which model, at what weight, priority and price."""

    owned = OWNED_FIELDS[Deployment]
    list_display = (
        "model",
        "provider",
        "upstream_model",
        "version",
        "version_share",
        "weight",
        "priority",
        "prices",
        "state",
    )
    list_display_links = ("model", "upstream_model")
    list_filter = (UnknownPriceFilter, "enabled", "provider", "version", "source")
    list_select_related = ("model", "provider")
    search_fields = ("model__name", "provider__name", "upstream_model")
    autocomplete_fields = ("model", "provider")
    readonly_fields = ("ownership", "effective_prices")
    actions = ("try_prices",)
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
                    "cache_write_1h_price_per_mtok_usd",
                    "audio_input_price_per_mtok_usd",
                    "audio_output_price_per_mtok_usd",
                    "effective_prices",
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
        rows = super().get_queryset(request).select_related("model", "provider")
        return with_version_weight(rows)

    @admin.display(description="Version gets", ordering="version_weight")
    def version_share(self, row: Any) -> str:
        """Write the weight of its version."""
        return f"{row.version_weight} %"

    @admin.display(description="USD/Mtok in, out")
    def prices(self, row: Deployment) -> str:
        """Write the prices of input and output tokens; a dash for an unknown one."""
        return brief_prices(row)

    @admin.display(description="Effective prices (USD/Mtok)")
    def effective_prices(self, row: Deployment) -> str:
        """Write what each kind of token is billed at, and why."""
        return explained_prices(row)

    @badge("State", COLOURS)
    def state(self, row: Deployment) -> str:
        """Say whether it may serve."""
        return serving_state(row)
