"""The pages of tenants."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

from django.contrib import admin
from django.db.models import Count, QuerySet, Sum
from django.http import HttpRequest, HttpResponseRedirect
from django.shortcuts import redirect
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from typing_extensions import override

from gateway.admin import figures
from gateway.admin.quotas import BudgetTable, LimitTable
from gateway.admin.theme import ChangeList, ModelAdmin, badge
from gateway.models import Tenant, UsageRollup
from gateway.models.access import ANONYMOUS, DEFAULT_TENANT

REPORTED_DAYS = 30
KEPT = {
    ANONYMOUS: "For requests without a key, as far as AILB_AUTH lets them in. It has no "
    "keys and cannot be deleted; disable it to serve nobody without a key.",
    DEFAULT_TENANT: "For AILB_API_KEY and the first key. It cannot be deleted.",
}
ORDINARY = (
    "A customer, team or application: keys, sessions and collections belong to it."
)


class TenantList(ChangeList):
    """Reads the usage of the shown tenants in one query."""

    @override
    def get_results(self, request: HttpRequest) -> None:
        """Hang the sums of the last days on each row, as `usage`; None without any."""
        super().get_results(request)
        rows: list[Any] = list(self.result_list)
        usage = usage_by_tenant([row.name for row in rows])
        for row in rows:
            row.usage = usage.get(row.name)
        self.result_list = rows


@admin.register(Tenant)
class TenantPages(ModelAdmin[Tenant]):
    """Customers, teams or applications, with their limits and budgets."""

    ordering = ("name",)  # the count below undoes the model's own
    list_display = ("name", "state", "keys", "requests", "cost", "usage_link")
    list_filter = ("enabled",)
    search_fields = ("name",)
    readonly_fields = ("about", "keys", "usage_link", "created_at")
    fieldsets = (
        (None, {"fields": ("name", "enabled", "about")}),
        ("Belonging to it", {"fields": ("keys", "usage_link", "created_at")}),
    )

    @override
    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        """Read the usage with the list."""
        return TenantList

    @override
    def get_queryset(self, request: HttpRequest) -> QuerySet[Tenant]:
        """Count the keys in the same query."""
        rows: QuerySet[Tenant] = super().get_queryset(request)
        return rows.annotate(keys_in_all=Count("api_keys"))

    @override
    def get_fieldsets(self, request: HttpRequest, obj: Tenant | None = None) -> Any:
        """Leave out what a new row does not have yet."""
        if obj is not None:
            return self.fieldsets
        return [(None, {"fields": ("name", "enabled")})]

    @override
    def get_inlines(self, request: HttpRequest, obj: Tenant | None) -> Any:
        """Give limits and budgets to tenants that are there already."""
        if obj is None:
            return ()
        return (LimitTable, BudgetTable)

    @override
    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """Keep the names that AILB itself looks for."""
        is_kept = obj is not None and obj.name in KEPT
        return (*self.readonly_fields, "name") if is_kept else self.readonly_fields

    @override
    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Say no for the tenants that AILB itself needs."""
        is_kept = isinstance(obj, Tenant) and obj.name in KEPT
        return not is_kept and super().has_delete_permission(request, obj)

    @override
    def response_post_save_add(
        self, request: HttpRequest, obj: Tenant
    ) -> HttpResponseRedirect:
        """Go on to the new tenant's page, where limits and budgets are."""
        return redirect("admin:gateway_tenant_change", obj.pk)

    @badge("State", {"enabled": "success", "disabled": "warning"})
    def state(self, row: Tenant) -> str:
        """Say whether its keys open the door."""
        return "enabled" if row.enabled else "disabled"

    @admin.display(description="About")
    def about(self, row: Tenant) -> str:
        """Say what it is for."""
        return KEPT.get(row.name, ORDINARY)

    @admin.display(description="Keys", ordering="keys_in_all")
    def keys(self, row: Any) -> str:
        """Lead to its keys."""
        if row.is_anonymous:
            return "-"
        url = reverse("admin:gateway_apikey_changelist")
        query = urlencode({"tenant__id__exact": row.pk})
        text = "1 key" if row.keys_in_all == 1 else f"{row.keys_in_all:,} keys"
        return link(f"{url}?{query}", text)

    @admin.display(description=f"Requests, {REPORTED_DAYS} days")
    def requests(self, row: Any) -> str:
        """Write how many requests reached a provider."""
        return figures.count(row.usage["total"]) if row.usage else "0"

    @admin.display(description=f"Cost, {REPORTED_DAYS} days")
    def cost(self, row: Any) -> str:
        """Write what they cost, as far as it is known."""
        if not row.usage:
            return figures.usd(0)
        return figures.cost(
            row.usage["nano_usd"],
            requests=row.usage["total"],
            unpriced=row.usage["unpriced"],
        )

    @admin.display(description="Usage")
    def usage_link(self, row: Tenant) -> str:
        """Lead to its requests."""
        url = reverse("admin:gateway_usagerecord_changelist")
        return link(f"{url}?{urlencode({'tenant': row.name})}", "Requests")


def usage_by_tenant(names: list[str]) -> dict[str, dict[str, Any]]:
    """Sum the last days' requests and cost by tenant, from the daily roll-ups."""
    since = timezone.now() - timedelta(days=REPORTED_DAYS)
    rollups = UsageRollup.objects.filter(
        grain=UsageRollup.Grain.DAY, start__gte=since, tenant__in=names
    )
    sums = (
        rollups.order_by()
        .values("tenant")
        .annotate(
            total=Sum("requests"),
            nano_usd=Sum("cost_nano_usd"),
            unpriced=Sum("unpriced_requests"),
        )
    )
    return {each["tenant"]: dict(each) for each in sums}


def link(url: str, text: str) -> str:
    """Write a link."""
    return format_html('<a href="{}" class="text-link">{}</a>', url, text)
