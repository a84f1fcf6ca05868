"""How the list of sessions is searched, and stays fast with many of them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.apps import apps
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from typing_extensions import override

from memory.admin.conversation import may_read
from memory.admin.theme import ChangeList
from memory.models import Session, Turn

BY_ID = "A part of a session id"
BY_TEXT = "A part of a session id, or words as they were said"


class SessionList(ChangeList):
    """Reads the names of the shown keys at once."""

    @override
    def get_results(self, request: HttpRequest) -> None:
        """Hang the key's name on each row, as `key_name`."""
        super().get_results(request)
        self.search_help_text = BY_TEXT if may_read(request) else BY_ID
        rows: list[Any] = list(self.result_list)
        names = key_names({row.owner for row in rows})
        for row in rows:
            row.key_name = names.get(row.owner, row.owner)
        self.result_list = rows


def key_names(public_ids: Iterable[str]) -> dict[str, str]:
    """Give the names of those keys that are still there."""
    wanted = {each for each in public_ids if each}
    if not wanted:
        return {}
    keys: Any = apps.get_model("gateway.ApiKey")
    rows = keys.objects.filter(public_id__in=wanted)
    return dict(rows.values_list("public_id", "name"))


def search(
    request: HttpRequest, sessions: QuerySet[Session], term: str
) -> QuerySet[Session]:
    """Keep sessions by id, and by what was said in them if the user may read it."""
    found = Q(session_id__icontains=term)
    if may_read(request):
        said = Turn.objects.filter(text__icontains=term).order_by()
        found |= Q(pk__in=said.values("session"))
    return sessions.filter(found)
