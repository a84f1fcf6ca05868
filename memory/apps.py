"""The Django app of conversation memory."""

from __future__ import annotations

from django.apps import AppConfig
from django.db.models.signals import post_migrate
from typing_extensions import override


class MemoryConfig(AppConfig):
    """Above `rag`, below `gateway`: tenants and keys are named by string."""

    name = "memory"
    verbose_name = "Memory"

    @override
    def ready(self) -> None:
        """Connect what a migration must be followed by."""
        from memory.erasure_trigger import install  # noqa: PLC0415 - needs the models

        post_migrate.connect(install, sender=self)
