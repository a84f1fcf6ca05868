"""The sidebar, which is also the first page: what there is, by what it is for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.contrib import admin
from django.contrib.auth.models import Group, User
from django.http import HttpRequest
from django.urls import reverse

from gateway.models import (
    ApiKey,
    Budget,
    Deployment,
    Heartbeat,
    Limit,
    Model,
    Promotion,
    Provider,
    RoutingStrategy,
    Tenant,
    TrafficChange,
    TrafficPolicy,
    UsageRecord,
    VersionWeight,
)
from memory.models import MemoryPolicy, Session
from rag.models import Collection, Document


@dataclass(frozen=True, slots=True)
class Entry:
    """One page: a row's list, or `view`; `icon` is a symbol of the theme's font."""

    title: str
    row: type[Any]
    icon: str
    view: str = ""

    @property
    def url(self) -> str:
        """Where it is."""
        opts = self.row._meta
        listing = f"{opts.app_label}_{opts.model_name}_changelist"
        return reverse(f"admin:{self.view or listing}")

    def is_allowed(self, request: HttpRequest) -> bool:
        """Say whether the user may see it."""
        return admin.site.get_model_admin(self.row).has_view_permission(request)

    def add_url(self, request: HttpRequest) -> str:
        """Where such a row is made; empty if the user may not."""
        if self.view or not admin.site.get_model_admin(self.row).has_add_permission(
            request
        ):
            return ""
        return f"{self.url}add/"


SUMMARY = Entry("Summary", UsageRecord, "monitoring", view="gateway_usage_summary")
GROUPS = {
    "Routing": (
        Entry("Providers", Provider, "dns"),
        Entry("Models", Model, "neurology"),
        Entry("Deployments", Deployment, "lan"),
        Entry("Strategies", RoutingStrategy, "alt_route"),
    ),
    "Traffic": (
        Entry("Versions", VersionWeight, "call_split"),
        Entry("Promotions", Promotion, "trending_up"),
        Entry("Policy", TrafficPolicy, "rule"),
        Entry("History", TrafficChange, "history"),
    ),
    "Access": (
        Entry("Tenants", Tenant, "domain"),
        Entry("API keys", ApiKey, "key"),
        Entry("Limits", Limit, "speed"),
        Entry("Budgets", Budget, "savings"),
    ),
    "Memory": (
        Entry("Sessions", Session, "forum"),
        Entry("Memory policies", MemoryPolicy, "tune"),
    ),
    "Documents": (
        Entry("Collections", Collection, "library_books"),
        Entry("Documents", Document, "description"),
    ),
    "Usage": (SUMMARY, Entry("Requests", UsageRecord, "receipt_long")),
    "System": (
        Entry("Processes", Heartbeat, "memory"),
        Entry("Users", User, "person"),
        Entry("Groups", Group, "group"),
    ),
}


def sidebar(request: HttpRequest) -> list[dict[str, Any]]:
    """Give the theme the groups, each with those pages that the user may see."""
    return [
        {
            "title": title,
            "items": [
                {
                    "title": entry.title,
                    "icon": entry.icon,
                    "link": entry.url,
                    "add": entry.add_url(request),
                    "active": is_open(request, entry),
                }
                for entry in entries
                if entry.is_allowed(request)
            ],
        }
        for title, entries in GROUPS.items()
    ]


def is_open(request: HttpRequest, entry: Entry) -> bool:
    """Say whether the page is this one, or one below it that has no entry of its own."""
    if entry.view:
        return request.path == entry.url
    return request.path.startswith(entry.url) and request.path != SUMMARY.url
