"""What a collection's page shows of its documents and indexes, and how it is followed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest
from django.template.loader import render_to_string

from rag.admin import figures
from rag.admin.service import is_switched_on, scope_of
from rag.catalogue import record
from rag.document_rows import NO_FILE, rows_of
from rag.models import Collection, Document, DocumentState
from rag.packaged_model import NAME, NAMES
from rag.records import CollectionRecord, IndexRecord

PAGE_DOCUMENTS = 20
MAX_FOLLOWED = 100  # documents that one page asks about at a time
OLDER = "older"  # in the URL: documents that were added before this one
READ = "rag.view_document"
CHANGE = "rag.change_collection"


@dataclass(frozen=True, slots=True)
class ShownDocument:
    """A document in a table, as its newest version is.

    `percent` is None where nothing can be said; `note` says which other version is found.
    """

    pk: int
    name: str
    kind: str
    size: str
    pages: str
    chunks: str
    version: int
    state: str
    reason: str
    percent: int | None
    note: str
    added: str

    @property
    def is_final(self) -> bool:
        """Whether nothing more becomes of it by itself."""
        return self.state in figures.FINAL


@dataclass(frozen=True, slots=True)
class ShownIndex:
    """An index of a collection; `percent` of its documents are in it."""

    model: str
    record: IndexRecord
    percent: int


@dataclass(frozen=True, slots=True)
class Shelf:
    """A page of a collection's documents, the newest first, and its indexes.

    `documents` is None for those who may not see them. `older` begins the next page,
    None for none; `is_first` tells the first one.
    """

    collection: Collection
    record: CollectionRecord
    documents: tuple[ShownDocument, ...] | None
    is_first: bool
    older: int | None
    serving: ShownIndex | None
    building: ShownIndex | None
    previous: ShownIndex | None

    @property
    def is_moving(self) -> bool:
        """Whether something is under way that is worth looking at again."""
        counts = self.record.counts
        return bool(counts.in_progress) or self.building is not None


def may_read(request: HttpRequest) -> bool:
    """Say whether the user may see documents and what is in them."""
    return request.user.has_perm(READ)


def shelf_of(request: HttpRequest, collection: Collection) -> Shelf:
    """Read what the page shows, in some queries."""
    told = record(collection, scope_of(collection))
    older = number_in(request.GET.get(OLDER, ""))
    rows = rows_of(collection).order_by("-pk")
    if older:
        rows = rows.filter(pk__lt=older)
    found = list(rows[: PAGE_DOCUMENTS + 1]) if may_read(request) else []
    page = found[:PAGE_DOCUMENTS]
    return Shelf(
        collection=collection,
        record=told,
        documents=tuple(map(shown, page)) if may_read(request) else None,
        is_first=not older,
        older=page[-1].pk if len(found) > len(page) else None,
        serving=shown_index(told.index),
        building=shown_index(told.building),
        previous=shown_index(told.previous),
    )


def shown(document: Document) -> ShownDocument:
    """Give a document, with its versions at hand, as tables show it."""
    version = document.newest
    if version is None:
        state, reason = DocumentState.FAILED.value, NO_FILE
    else:
        state, reason = version.state, version.reason
    return ShownDocument(
        pk=document.pk,
        name=document.filename,
        kind=figures.kind(version.media_type) if version else figures.NONE,
        size=figures.size(version.size if version else None),
        pages=figures.count(version.pages if version else None),
        chunks=figures.count(version.chunks if version else None),
        version=version.number if version else 0,
        state=state,
        reason=reason,
        percent=percent_of(document),
        note=note_of(document),
        added=figures.moment(document.created_at),
    )


def percent_of(document: Document) -> int | None:
    """Give how much of the newest version is indexed."""
    version = document.newest
    if version is None:
        return None
    match version.state:
        case DocumentState.READY:
            return 100
        case DocumentState.EMBEDDING if version.chunks:
            return min(99, figures.percent(version.chunks_done, version.chunks))
        case DocumentState.QUEUED:
            return 0
        case _:
            return None


def note_of(document: Document) -> str:
    """Say which version is found, where it is not the newest."""
    current = document.current
    if current is None or document.current_id == document.newest_id:
        return ""
    newest = document.newest
    if newest is None or newest.state == DocumentState.FAILED:
        return f"Version {current.number} is still found."
    return f"Version {current.number} is found until this one is ready."


def shown_index(told: IndexRecord | None) -> ShownIndex | None:
    """Give an index as the page shows it."""
    if told is None:
        return None
    model = f"{NAME} (packaged)" if told.model in NAMES else told.model
    return ShownIndex(model, told, figures.percent(told.done, told.total))


def context_of(request: HttpRequest, shelf: Shelf) -> dict[str, Any]:
    """Give the templates of documents and indexes what they show."""
    return {
        "shelf": shelf,
        "may_change": is_switched_on() and request.user.has_perm(CHANGE),
    }


def progress(request: HttpRequest, collection: Collection) -> dict[str, Any]:
    """Give what has become of the page since: its parts anew, by the id of their place.

    `followed` in the URL are documents, by row, whose state is told beside.
    """
    shelf = shelf_of(request, collection)
    context = context_of(request, shelf)
    parts = {"rag-indexes": "rag/indexes.html"}
    if shelf.documents is not None:
        parts["rag-documents"] = "rag/documents.html"
    return {
        "is_moving": shelf.is_moving,
        "parts": {
            place: render_to_string(template, context, request)
            for place, template in parts.items()
        },
        "documents": followed(request, collection),
    }


def followed(request: HttpRequest, collection: Collection) -> dict[str, Any]:
    """Give the states of the documents that the URL names, by row."""
    asked = request.GET.get("followed", "").split(",")[:MAX_FOLLOWED]
    pks = [pk for pk in map(number_in, asked) if pk]
    if not pks or not may_read(request):
        return {}
    return {str(row.pk): told(row) for row in rows_of(collection).filter(pk__in=pks)}


def told(document: Document) -> dict[str, Any]:
    """Give the state of a document for scripts."""
    row = shown(document)
    return {
        "state": row.state,
        "reason": row.reason,
        "percent": row.percent,
        "is_final": row.is_final,
    }


def number_in(text: str) -> int:
    """Read the number of a row in a URL; 0, which no row has, for what is none."""
    is_number = text.isascii() and text.isdigit() and len(text) <= 18
    return int(text) if is_number else 0
