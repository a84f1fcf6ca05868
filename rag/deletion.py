"""What happens to chunks when what they belong to is deleted through the ORM."""

from __future__ import annotations

from typing import Any

from django.apps import apps
from django.db.models import Field, QuerySet
from django.db.models.deletion import Collector


def delete_chunks(
    collector: Collector, field: Field[Any, Any], sub_objs: QuerySet[Any], using: str
) -> None:
    """Delete chunks and their vectors in two statements; an `on_delete`.

    CASCADE would read each of what may be a hundred thousand, and the admin's page that
    asks whether to delete a collection would name every one.
    """
    vectors = apps.get_model("rag.ChunkVector")
    of_chunks: QuerySet[Any] = vectors._base_manager.using(using)  # noqa: SLF001 - as Django does here
    collector.fast_deletes += [
        of_chunks.filter(chunk__in=sub_objs.values("pk")),
        sub_objs,
    ]


# Django need not look whether there are any.
delete_chunks.lazy_sub_objs = True  # type: ignore[attr-defined]  # Django's way
