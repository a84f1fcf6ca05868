"""The page of the processes that serve, as their heartbeats show them."""

from __future__ import annotations

from django.contrib import admin

from gateway.admin.read_only import ReadOnlyPages
from gateway.models import Heartbeat


@admin.register(Heartbeat)
class HeartbeatAdmin(ReadOnlyPages):
    """What each process last reported of itself."""

    list_display = (
        "instance",
        "version",
        "worker",
        "pid",
        "state",
        "beat_at",
        "config_revision",
    )
    list_filter = ("instance", "version", "state")
    search_fields = ("instance", "worker")
    ordering = ("-beat_at",)
