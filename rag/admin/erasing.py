"""Deleting collections and documents: the page that says what goes, and the deleting.

Never within one transaction, as Django's own pages do it: what hangs on a collection is
deleted in parts, and files go only with rows that are gone for good.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from django.contrib import messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.db.models import Count, QuerySet, Sum
from django.http import HttpRequest
from django.template.response import TemplateResponse

from rag.admin import figures
from rag.admin.figures import counted
from rag.admin.service import Refused, library, refusals, scope_of
from rag.admin.theme import ModelAdmin
from rag.models import Collection, Document, Version

TEMPLATE = "rag/erase.html"
NAMED = 20  # by name on the page; the others are counted
CONFIRMED = ("post", "yes")


@dataclass(frozen=True, slots=True)
class Loss:
    """What deleting some rows takes away; `more` of them have no name in `named`."""

    named: tuple[str, ...]
    more: int
    counts: tuple[str, ...]


def loss_of_collections(collections: QuerySet[Collection]) -> Loss:
    """Count what goes with these collections."""
    rows = collections.order_by("pk")
    count = rows.count()
    first = rows.select_related("tenant")[:NAMED]
    return Loss(
        named=tuple(f"{row.name} of {row.tenant}" for row in first),
        more=max(0, count - NAMED),
        counts=(
            counted(count, "collection"),
            *counts_of(Document.objects.filter(collection__in=rows.values("pk"))),
        ),
    )


def loss_of_documents(documents: QuerySet[Document]) -> Loss:
    """Count what goes with these documents."""
    rows = documents.order_by("pk")
    counts = counts_of(rows)
    first = rows.select_related("collection")[:NAMED]
    return Loss(
        named=tuple(f"{row.filename} of {row.collection}" for row in first),
        more=max(0, rows.count() - NAMED),
        counts=tuple(counts),
    )


def counts_of(documents: QuerySet[Document]) -> Iterable[str]:
    """Say how much documents are, from their versions; chunks are not counted one by one."""
    versions = Version.objects.filter(document__in=documents.order_by().values("pk"))
    sums = versions.order_by().aggregate(
        versions=Count("pk"), size=Sum("size"), chunks=Sum("chunks")
    )
    yield counted(documents.order_by().count(), "document")
    files = counted(sums["versions"], "file")
    yield f"{files}, {figures.size(sums['size'] or 0)}, with the text of each"
    yield f"{counted(sums['chunks'] or 0, 'chunk')}, here and in the vector store"


def erase_page(
    pages: ModelAdmin[Any],
    request: HttpRequest,
    loss: Loss,
    *,
    title: str,
    back_to: str,
    hidden: Iterable[tuple[str, str]],
) -> TemplateResponse:
    """Ask whether it is to be deleted; `hidden` is sent with the yes."""
    context = {
        **pages.admin_site.each_context(request),
        "title": title,
        "opts": pages.opts,
        "media": pages.media,
        "loss": loss,
        "back_to": back_to,
        "hidden": tuple(hidden),
    }
    return TemplateResponse(request, TEMPLATE, context)


def erase_collections(
    pages: ModelAdmin[Collection],
    request: HttpRequest,
    collections: QuerySet[Collection],
) -> None:
    """Delete collections, note who did it, and say how many went."""
    erased = 0
    for row in collections.order_by("pk"):
        try:
            with refusals():
                library().delete_collection(scope_of(row), row.name)
        except Refused:  # gone already
            continue
        note(pages, request, row)
        erased += 1
    say(pages, request, erased, "collection")


def erase_documents(
    pages: ModelAdmin[Document], request: HttpRequest, documents: QuerySet[Document]
) -> None:
    """Delete documents, note who did it, and say how many went."""
    erased = 0
    for row in list(documents.select_related("collection").order_by("pk")):
        scope, name = scope_of(row.collection), row.collection.name
        try:
            with refusals():
                library().delete_document(scope, name, row.uid)
        except Refused:  # gone already
            continue
        note(pages, request, row)
        erased += 1
    say(pages, request, erased, "document")


def note(pages: ModelAdmin[Any], request: HttpRequest, row: Any) -> None:
    """Write into the history that a row was deleted."""
    rows: Any = [row]  # any number that can be gone through
    pages.log_deletions(request, rows)


def say(pages: ModelAdmin[Any], request: HttpRequest, erased: int, noun: str) -> None:
    """Say how many went."""
    were = "was" if erased == 1 else "were"
    text = f"{counted(erased, noun)} {were} deleted."
    pages.message_user(request, text, messages.SUCCESS)


def is_confirmed(request: HttpRequest) -> bool:
    """Say whether the page's question was answered with yes."""
    return request.POST.get(CONFIRMED[0]) == CONFIRMED[1]


def selected(request: HttpRequest, action: str) -> list[tuple[str, str]]:
    """Repeat which rows were selected: those on the page, or all that were found."""
    pks = request.POST.getlist(ACTION_CHECKBOX_NAME)
    again = [("action", action), CONFIRMED]
    if request.POST.get("select_across") == "1":
        return [*again, ("select_across", "1"), (ACTION_CHECKBOX_NAME, pks[0])]
    return [*again, *((ACTION_CHECKBOX_NAME, pk) for pk in pks)]
