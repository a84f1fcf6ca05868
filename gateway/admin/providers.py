"""The pages of providers, with connection tests and discovery."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from asgiref.sync import async_to_sync
from django.contrib import admin, messages
from django.db.models import Count, Q, QuerySet
from django.http import HttpRequest
from typing_extensions import override

from gateway import discovery
from gateway.admin.deployment_table import DeploymentsOfProvider
from gateway.admin.forms import ProviderForm
from gateway.admin.ownership import COLOURS, OwnedPages, serving_state
from gateway.admin.quotas import LimitTable
from gateway.admin.theme import ModelAdmin, badge
from gateway.dialects.record import UpstreamModel
from gateway.discovery import ConnectionReport, counted
from gateway.errors import ConfigurationError, UpstreamError
from gateway.kinds import Source
from gateway.models import Provider
from gateway.operations import OWNED_FIELDS, Changes, credential_hint
from gateway.snapshot import Provider as CompiledProvider
from gateway.upstream import Upstream

NAMES_IN_MESSAGE = 10

Discovered = tuple[UpstreamModel, ...] | str  # the models, or what went wrong


@admin.register(Provider)
class ProviderAdmin(OwnedPages, ModelAdmin[Provider]):
    """Vendors' endpoints; their credentials are entered here and never shown."""

    form = ProviderForm
    owned = (*OWNED_FIELDS[Provider], "remove_credential")
    ordering = ("name",)  # the counts below undo the model's own
    list_display = (
        "name",
        "kind",
        "base_url",
        "state",
        "credential_hint",
        "priority",
        "weight",
        "deployment_count",
    )
    list_filter = ("enabled", "kind", "source")
    search_fields = ("name", "base_url")
    readonly_fields = ("credential_hint", "ownership")
    actions = ("test_connection", "discover_models")
    inlines = (DeploymentsOfProvider, LimitTable)
    fieldsets = (
        (None, {"fields": ("name", "kind", "base_url", "enabled", "ownership")}),
        (
            "Credential",
            {"fields": ("credential_hint", "credential", "remove_credential")},
        ),
        ("Routing", {"fields": ("priority", "weight", "max_concurrency")}),
        (
            "Timeouts",
            {
                "fields": (
                    "connect_timeout_s",
                    "first_byte_timeout_s",
                    "response_timeout_s",
                    "idle_timeout_s",
                ),
                "description": "A deployment may have its own; each is cut to what is "
                "left of the request's deadline.",
            },
        ),
        ("Network", {"fields": ("extra_headers", "egress_proxy", "ca_file")}),
    )

    @override
    def get_fieldsets(self, request: HttpRequest, obj: Provider | None = None) -> Any:
        """Leave out what a new row does not have yet, and others' credentials."""
        if obj is None:
            hidden = {"credential_hint", "remove_credential", "ownership"}
        elif obj.source == Source.OPERATOR:
            hidden = set()
        else:
            hidden = {"credential", "remove_credential"}
        return [
            (
                title,
                {
                    **options,
                    "fields": [f for f in options["fields"] if f not in hidden],
                },
            )
            for title, options in self.fieldsets
        ]

    @override
    def get_queryset(self, request: HttpRequest) -> QuerySet[Provider]:
        """Count the deployments in the same query."""
        rows: QuerySet[Provider] = super().get_queryset(request)
        return rows.annotate(
            deployments_in_all=Count("deployments"),
            deployments_enabled=Count(
                "deployments", filter=Q(deployments__enabled=True)
            ),
        )

    @badge("State", COLOURS)
    def state(self, row: Provider) -> str:
        """Say whether it may serve."""
        said = serving_state(row)
        is_unreadable = self.credential_hint(row) == "unreadable"
        return "credential unreadable" if said == "enabled" and is_unreadable else said

    @admin.display(description="Stored credential")
    def credential_hint(self, row: Provider) -> str:
        """Show the last four characters of a credential, or that there is none."""
        return credential_hint(row)

    @admin.display(description="Deployments", ordering="deployments_in_all")
    def deployment_count(self, row: Any) -> str:
        """Count its deployments, and how many of them are enabled."""
        return shown_count(row.deployments_enabled, row.deployments_in_all)

    @admin.action(description="Test connection", permissions=["change"])
    def test_connection(
        self, request: HttpRequest, queryset: QuerySet[Provider]
    ) -> None:
        """Ask each selected provider for its models, which costs nothing."""
        providers = self.compiled(request, queryset)
        for provider, report in zip(
            providers, async_to_sync(test_all)(providers), strict=True
        ):
            self.message_user(
                request,
                f"{provider.name}: {report.message} ({report.latency_ms:.0f} ms)",
                messages.SUCCESS if report.is_ok else messages.ERROR,
            )

    @admin.action(description="Discover models", permissions=["change"])
    def discover_models(
        self, request: HttpRequest, queryset: QuerySet[Provider]
    ) -> None:
        """Make deployments for what the selected providers have and none serves yet."""
        providers = self.compiled(request, queryset)
        rows = {row.pk: row for row in queryset}
        for provider, found in zip(
            providers, async_to_sync(discover_all)(providers), strict=True
        ):
            if isinstance(found, str):
                self.message_user(request, f"{provider.name}: {found}", messages.ERROR)
                continue
            row = rows[provider.id]
            apply = (
                discovery.apply_discovered
                if discovery.is_followed(row)
                else discovery.add_discovered
            )
            text = told(len(found), apply(row, found))
            self.message_user(request, f"{provider.name}: {text}", messages.SUCCESS)

    def compiled(
        self, request: HttpRequest, queryset: QuerySet[Provider]
    ) -> list[CompiledProvider]:
        """Compile the selected rows; those that cannot be are told about and left out."""
        providers = []
        for row in queryset:
            try:
                providers.append(discovery.compiled(row))
            except ConfigurationError as error:
                self.message_user(request, error.message, messages.ERROR)
        return providers


def shown_count(enabled: int, in_all: int) -> str:
    """Write a count of deployments, and how many are enabled where not all are."""
    return str(in_all) if enabled == in_all else f"{enabled} of {in_all} enabled"


def told(listed: int, changes: Changes) -> str:
    """Say in a sentence what discovery found and changed."""
    parts = [f"It lists {counted(listed, 'model')}; {new_ones(changes.made)}."]
    if changes.disabled:
        parts.append(f"{counted(len(changes.disabled), 'deployment')} withdrawn.")
    return " ".join(parts)


def new_ones(made: Sequence[str]) -> str:
    """Say which deployments were made."""
    if not made:
        return "nothing to add"
    named = ", ".join(
        text.removeprefix("deployment ") for text in made[:NAMES_IN_MESSAGE]
    )
    more = ", …" if len(made) > NAMES_IN_MESSAGE else ""
    return f"{counted(len(made), 'deployment')} made: {named}{more}"


async def test_all(providers: Sequence[CompiledProvider]) -> list[ConnectionReport]:
    """Test every connection at once, in the order given."""
    upstream = Upstream()
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(discovery.test_connection(provider, upstream))
                for provider in providers
            ]
    finally:
        await upstream.aclose()
    return [task.result() for task in tasks]


async def discover_all(providers: Sequence[CompiledProvider]) -> list[Discovered]:
    """Ask every provider at once, in the order given."""
    upstream = Upstream()
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(discovered_or_problem(provider, upstream))
                for provider in providers
            ]
    finally:
        await upstream.aclose()
    return [task.result() for task in tasks]


async def discovered_or_problem(
    provider: CompiledProvider, upstream: Upstream
) -> Discovered:
    """Ask one provider; a failure is text, so that the others are still told."""
    try:
        return await discovery.discover(provider, upstream)
    except UpstreamError as error:
        return discovery.advice(error, provider)
