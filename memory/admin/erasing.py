"""Erasing sessions in the admin: the page that says what goes, and the erasing."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from django.contrib import messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.template.response import TemplateResponse

from memory.admin.theme import ModelAdmin
from memory.erasure import erase_sessions
from memory.models import Session, Turn, TurnVector

TEMPLATE = "memory/erase.html"
NAMED = 20  # sessions by name on the page; the others are counted


@dataclass(frozen=True, slots=True)
class Loss:
    """What erasing some sessions takes away; `more` sessions have no name in `named`."""

    named: tuple[str, ...]
    more: int
    counts: tuple[str, ...]


def loss_of(sessions: QuerySet[Session]) -> Loss:
    """Count what goes with these sessions; their texts are not read."""
    rows = sessions.order_by("pk")
    count = rows.count()
    pks = rows.values("pk")
    turns = Turn.objects.filter(session__in=pks).count()
    vectors = TurnVector.objects.filter(turn__session__in=pks).count()
    summaries = rows.exclude(summary="").count()
    first = rows.select_related("tenant")[:NAMED]
    return Loss(
        named=tuple(f"{row.session_id} of {row.tenant}" for row in first),
        more=max(0, count - NAMED),
        counts=(
            counted(count, "session", "with all settings"),
            counted(turns, "turn", "with all that was said"),
            counted(vectors, "vector", "here and in the vector store"),
            *([counted(summaries, "summary")] if summaries else []),
        ),
    )


def counted(number: int, noun: str, what: str = "") -> str:
    """Write how many there are of what."""
    many = f"{noun[:-1]}ies" if noun.endswith("y") else f"{noun}s"
    text = f"{number:,} {noun if number == 1 else many}"
    return f"{text}, {what}" if what else text


def erase_page(
    pages: ModelAdmin[Session],
    request: HttpRequest,
    sessions: QuerySet[Session],
    *,
    title: str,
    hidden: Iterable[tuple[str, str]],
) -> TemplateResponse:
    """Ask whether these sessions are to be erased; `hidden` is sent with the yes."""
    context = {
        **pages.admin_site.each_context(request),
        **erase_context(sessions, hidden),
        "title": title,
        "opts": pages.opts,
        "media": pages.media,
    }
    return TemplateResponse(request, TEMPLATE, context)


def erase_context(
    sessions: QuerySet[Session], hidden: Iterable[tuple[str, str]]
) -> dict[str, Any]:
    """Give the template what it asks about."""
    return {"loss": loss_of(sessions), "hidden": tuple(hidden)}


def erase(
    pages: ModelAdmin[Session], request: HttpRequest, sessions: QuerySet[Session]
) -> None:
    """Erase sessions, note who did it, and say how many went."""
    pages.log_deletions(request, sessions)
    erased = erase_sessions(list(sessions.values_list("pk", flat=True)))
    said = "1 session was" if erased == 1 else f"{erased:,} sessions were"
    pages.message_user(request, f"{said} erased.", messages.SUCCESS)
