"""The Django app of embeddings and documents."""

from __future__ import annotations

from django.apps import AppConfig
from django.db.models.signals import post_migrate, pre_migrate
from typing_extensions import override


class RagConfig(AppConfig):
    """Below everything else: it imports no other app of ours."""

    name = "rag"
    verbose_name = "Documents"

    @override
    def ready(self) -> None:
        """Connect what must be done before and after migrations."""
        from rag.triggers import install, remove  # noqa: PLC0415 - needs the models

        pre_migrate.connect(remove, sender=self)
        post_migrate.connect(install, sender=self)
