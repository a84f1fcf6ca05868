"""The Django app of embeddings and documents."""

from __future__ import annotations

from django.apps import AppConfig


class RagConfig(AppConfig):
    """Below everything else: it imports no other app of ours."""

    name = "rag"
    verbose_name = "Documents"
