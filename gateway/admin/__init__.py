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
    usage,
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
    "usage",
]

admin.site.index_title = "Overview"
admin.site.index_template = admin.site.app_index_template = "gateway/index.html"
