"""What happens to a session's turns when it is deleted through the ORM."""

from __future__ import annotations

from typing import Any

from django.apps import apps
from django.db.models import Field, QuerySet
from django.db.models.deletion import Collector


def delete_unread(
    collector: Collector, field: Field[Any, Any], sub_objs: QuerySet[Any], using: str
) -> None:
    """Delete turns and their vectors in two statements; an `on_delete`.

    CASCADE would read each of what may be a hundred thousand, and the admin's page that
    asks whether to delete a tenant would name every one.
    """
    vectors = apps.get_model("memory.TurnVector")
    on_turn: QuerySet[Any] = vectors._base_manager.using(using)  # noqa: SLF001 - as Django does here
    collector.fast_deletes += [on_turn.filter(turn__in=sub_objs.values("pk")), sub_objs]


# Django need not look whether there are any.
delete_unread.lazy_sub_objs = True  # type: ignore[attr-defined]  # Django's way
