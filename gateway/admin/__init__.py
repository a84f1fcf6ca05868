"""The admin's pages: importing this registers them."""

from __future__ import annotations

from django.contrib import admin

from gateway.admin import (
    accounts,
    catalogue,
    keys,
    processes,
    providers,
    quotas,
    strategies,
    tenants,
    traffic,
    usage,
    versions,
)

__all__ = [
    "accounts",
    "catalogue",
    "keys",
    "processes",
    "providers",
    "quotas",
    "strategies",
    "tenants",
    "traffic",
    "usage",
    "versions",
]

admin.site.index_title = "Overview"
admin.site.index_template = admin.site.app_index_template = "gateway/index.html"
