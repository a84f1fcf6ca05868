"""The Django app of conversation memory."""

from __future__ import annotations

from django.apps import AppConfig


class MemoryConfig(AppConfig):
    """Above `rag`, below `gateway`: tenants and keys are named by string."""

    name = "memory"
    verbose_name = "Memory"
