"""How the list of requests stays fast with a million of them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.functional import cached_property
from typing_extensions import override

from gateway.admin.theme import ChangeList
from gateway.kinds import FaultDomain
from gateway.models import ApiKey, Model, Provider, Tenant, UsageRecord

MAX_COUNTED = 10_000

Choices = Iterable[tuple[str, str]]

if TYPE_CHECKING:
    Pages = Paginator[UsageRecord]
else:  # Django's own class takes no parameter
    Pages = Paginator


class BoundedPaginator(Pages):
    """Counts no further than MAX_COUNTED rows: older ones are found by filters."""

    @cached_property
    @override
    def count(self) -> int:
        """Count the rows, with a database that stops there."""
        rows: Any = self.object_list
        counted: int = rows.order_by()[:MAX_COUNTED].count()
        return counted


class RequestList(ChangeList):
    """Newest first, whatever the URL asks for; reads the shown keys' names at once."""

    @override
    def get_ordering(self, request: HttpRequest, queryset: Any) -> list[Any]:
        """Keep the order that needs no sorting."""
        return ["-id"]

    @override
    def get_results(self, request: HttpRequest) -> None:
        """Hang the key's name on each row, as `key_name`."""
        super().get_results(request)
        rows: list[Any] = list(self.result_list)
        names = key_names({row.api_key for row in rows})
        for row in rows:
            row.key_name = names.get(row.api_key, row.api_key)
        self.result_list = rows


def key_names(public_ids: Iterable[str]) -> dict[str, str]:
    """Give the names of those keys that are still there."""
    wanted = {each for each in public_ids if each}
    if not wanted:
        return {}
    rows = ApiKey.objects.filter(public_id__in=wanted)
    return dict(rows.values_list("public_id", "name"))


class NameFilter(admin.SimpleListFilter):
    """Rows by a name they carry; the choices come from the rows that bear it today."""

    @override
    def lookups(self, request: HttpRequest, model_admin: Any) -> Choices:
        """Offer the names of today; one of the past can still be asked for."""
        offered = list(self.names())
        value = self.value()
        if value and value not in {name for name, _ in offered}:
            offered.append((value, value))
        return offered

    @abstractmethod
    def names(self) -> Choices:
        """Give what to choose from: the name in the rows, and the one for people."""

    @override
    def queryset(
        self, request: HttpRequest, queryset: QuerySet[UsageRecord]
    ) -> QuerySet[UsageRecord]:
        """Keep the rows with the chosen name."""
        value = self.value()
        return (
            queryset.filter(**{self.parameter_name or "": value}) if value else queryset
        )


class TenantFilter(NameFilter):
    """Requests of a tenant."""

    title = "tenant"
    parameter_name = "tenant"

    @override
    def names(self) -> Choices:
        names = Tenant.objects.values_list("name", flat=True)
        return [(name, name) for name in names]


class KeyFilter(NameFilter):
    """Requests of a key."""

    title = "API key"
    parameter_name = "api_key"

    @override
    def names(self) -> Choices:
        keys = ApiKey.objects.order_by("name").values_list("public_id", "name")
        return [(public_id, f"{name} ({public_id})") for public_id, name in keys]


class ModelFilter(NameFilter):
    """Requests that a model served."""

    title = "model"
    parameter_name = "model"

    @override
    def names(self) -> Choices:
        names = Model.objects.order_by("name").values_list("name", flat=True)
        return [(name, name) for name in names]


class ProviderFilter(NameFilter):
    """Requests that a provider served."""

    title = "provider"
    parameter_name = "provider"

    @override
    def names(self) -> Choices:
        names = Provider.objects.order_by("name").values_list("name", flat=True)
        return [(name, name) for name in names]


class FaultFilter(NameFilter):
    """Failed requests, by whose fault it was."""

    title = "fault"
    parameter_name = "fault_domain"

    @override
    def names(self) -> Choices:
        return [(each.value, each.value) for each in FaultDomain]


class TimeFilter(admin.SimpleListFilter):
    """The newest requests."""

    title = "time"
    parameter_name = "since"
    spans = {
        "hour": timedelta(hours=1),
        "day": timedelta(days=1),
        "week": timedelta(days=7),
    }

    @override
    def lookups(self, request: HttpRequest, model_admin: Any) -> Choices:
        """Offer the spans."""
        return [(name, f"Last {name}") for name in self.spans]

    @override
    def queryset(
        self, request: HttpRequest, queryset: QuerySet[UsageRecord]
    ) -> QuerySet[UsageRecord]:
        """Keep the rows of the chosen span."""
        span = self.spans.get(self.value() or "")
        return queryset.filter(at__gte=timezone.now() - span) if span else queryset
