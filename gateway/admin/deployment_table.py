"""The table of deployments on the pages of models and providers."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from typing_extensions import override

from gateway.admin.theme import TabularInline
from gateway.models import Deployment, Model, Provider


class DeploymentTable(TabularInline[Deployment, Model | Provider]):
    """Shows the deployments, leads to each, and takes new ones.

    Existing rows are text: a choice field each would cost a query a row.
    """

    model = Deployment
    extra = 0
    can_delete = False
    hide_title = True  # the theme's: the row says it all
    readonly_fields = ("page",)

    @admin.display(description="")
    def page(self, row: Deployment) -> str:
        """Lead to the deployment's own page."""
        if not row.pk:  # the row that is filled in for a new one
            return ""
        url = reverse("admin:gateway_deployment_change", args=[row.pk])
        return format_html('<a href="{}" class="text-link">Edit</a>', url)

    @override
    def get_queryset(self, request: HttpRequest) -> QuerySet[Deployment]:
        """Read both ends with the rows."""
        return super().get_queryset(request).select_related("model", "provider")

    @override
    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Say no: they are changed on their own pages."""
        return False


class DeploymentsOfModel(DeploymentTable):
    """On the page of a model."""

    fields = (
        "provider",
        "upstream_model",
        "version",
        "weight",
        "priority",
        "enabled",
        "page",
    )
    autocomplete_fields = ("provider",)


class DeploymentsOfProvider(DeploymentTable):
    """On the page of a provider."""

    fields = (
        "model",
        "upstream_model",
        "version",
        "weight",
        "priority",
        "enabled",
        "page",
    )
    autocomplete_fields = ("model",)
