"""The page of worker processes, read only."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from typing_extensions import override

from gateway.admin.theme import ModelAdmin
from gateway.models import Heartbeat


@admin.register(Heartbeat)
class HeartbeatAdmin(ModelAdmin[Heartbeat]):
    """What each process last reported of itself."""

    list_display = ("instance", "worker", "pid", "beat_at", "config_revision")
    list_filter = ("instance",)
    search_fields = ("instance", "worker")
    ordering = ("-beat_at",)

    @override
    def has_add_permission(self, request: HttpRequest) -> bool:
        """Say no: processes write these rows."""
        return False

    @override
    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Say no."""
        return False

    @override
    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Say no."""
        return False
