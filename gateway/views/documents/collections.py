"""Collections: listed, made, changed, deleted, searched, and indexed anew."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from django.http import HttpResponseBase
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request

from gateway.dialects.openai.request.fields import (
    check_integer,
    check_string,
    missing,
    wrong_value,
)
from gateway.errors import InvalidRequest
from gateway.runtime import runtime
from gateway.views.documents import schema
from gateway.views.documents.base import DocumentsView, refusals, scope_of
from gateway.views.rendering import render, render_bytes
from rag.attributes import Filter, parse_filter

if TYPE_CHECKING:
    from rag.fusion import Hit
    from rag.library import Library
    from rag.records import CollectionRecord
    from rag.scope import Scope

MAX_QUERY_CHARS = 10_000
MAX_RESULTS = 100
DEFAULT_RESULTS = 10
DELETE_DEADLINE_S = 600.0  # of a hundred thousand chunks


class CollectionsView(DocumentsView):
    """`/api/collections`."""

    @extend_schema(**schema.LIST_COLLECTIONS)
    async def get(self, request: Request) -> HttpResponseBase:
        """List the collections that the key may read, by name."""
        self.query(())
        found = await self.in_library(lambda library, scope: library.collections(scope))
        return render({"results": [each.as_dict() for each in found]})

    @extend_schema(**schema.MAKE_COLLECTION)
    async def post(self, request: Request) -> HttpResponseBase:
        """Make an empty collection."""
        fields = self.json_object()
        made = await self.in_library(
            lambda library, scope: library.create_collection(scope, fields)
        )
        return render(made.as_dict(), status=201)


class CollectionView(DocumentsView):
    """`/api/collections/{name}`."""

    @extend_schema(**schema.SHOW_COLLECTION)
    async def get(self, request: Request, name: str) -> HttpResponseBase:
        """Show a collection."""
        found = await self.in_library(
            lambda library, scope: library.collection(scope, name)
        )
        return render(found.as_dict())

    @extend_schema(**schema.CHANGE_COLLECTION)
    async def patch(self, request: Request, name: str) -> HttpResponseBase:
        """Change the fields that are sent."""
        fields = self.json_object()
        changed = await self.in_library(
            lambda library, scope: library.change_collection(scope, name, fields)
        )
        return render(changed.as_dict())

    @extend_schema(**schema.DELETE_COLLECTION)
    async def delete(self, request: Request, name: str) -> HttpResponseBase:
        """Delete a collection with its documents."""
        await self.in_library(
            lambda library, scope: library.delete_collection(scope, name),
            deadline_s=DELETE_DEADLINE_S,
        )
        return render_bytes(b"", status=204)


class SearchView(DocumentsView):
    """`/api/collections/{name}/search`."""

    @extend_schema(**schema.SEARCH)
    async def post(self, request: Request, name: str) -> HttpResponseBase:
        """Find the chunks that answer a question, best first."""
        body = self.fields(("query", "k", "filters"))
        query, k = query_in(body.get("query")), count_in(body.get("k"))
        filters = filter_in(body.get("filters"))
        with refusals():
            found = await runtime.retrieving.search(
                scope_of(self.principal), (name,), query, k, filters
            )
        answer: dict[str, Any] = {
            "results": [shown(hit) for hit in found.hits],
            "status": found.status.value,
        }
        if found.problem:
            answer["problem"] = found.problem
        return render(answer)


class IndexView(DocumentsView):
    """A view that changes which index a collection has."""

    async def change(
        self, work: Callable[[Library, Scope], CollectionRecord]
    ) -> HttpResponseBase:
        """Do it, and show the collection: the work itself goes on in the background."""
        collection = await self.in_library(work)
        return render(collection.as_dict(), status=202)


class ReindexView(IndexView):
    """`/api/collections/{name}/reindex`."""

    @extend_schema(**schema.REINDEX)
    async def post(self, request: Request, name: str) -> HttpResponseBase:
        """Begin to build another index, which then takes the place of this one."""
        fields = self.json_object() if self.asgi_request.body else {}
        return await self.change(
            lambda library, scope: library.reindex(scope, name, fields)
        )

    @extend_schema(**schema.CANCEL_REINDEX)
    async def delete(self, request: Request, name: str) -> HttpResponseBase:
        """Give up the index that is being built."""
        await self.in_library(
            lambda library, scope: library.cancel_reindex(scope, name),
            deadline_s=DELETE_DEADLINE_S,
        )
        return render_bytes(b"", status=204)


class RollbackView(IndexView):
    """`/api/collections/{name}/rollback`."""

    @extend_schema(**schema.ROLLBACK)
    async def post(self, request: Request, name: str) -> HttpResponseBase:
        """Go back to the index that served before, once it has caught up."""
        if self.asgi_request.body and self.json_object():
            raise InvalidRequest("A rollback has no fields.")
        return await self.change(lambda library, scope: library.rollback(scope, name))


def query_in(value: object) -> str:
    """Read what is searched for."""
    if value is None:
        raise missing("query")
    check_string("query", value)
    text = str(value)
    if not text.strip():
        raise wrong_value("query", "must not be empty")
    if len(text) > MAX_QUERY_CHARS:
        raise wrong_value("query", f"must be at most {MAX_QUERY_CHARS} characters long")
    return text


def count_in(value: object) -> int:
    """Read how many results are wanted."""
    if value is None:
        return DEFAULT_RESULTS
    check_integer(1, MAX_RESULTS)("k", value)
    assert isinstance(value, int)
    return value


def filter_in(value: object) -> Filter | None:
    """Read which documents are searched; None is all of them."""
    if value is None:
        return None
    try:
        return parse_filter(value)
    except ValueError as error:
        raise InvalidRequest(str(error), param="filters") from error


def shown(hit: Hit) -> dict[str, Any]:
    """Write what was found."""
    return {
        "document_id": hit.document_id,
        "filename": hit.filename,
        "text": hit.text,
        "page": hit.page,
        "start": hit.start,
        "end": hit.end,
        "score": hit.score,
        "score_parts": dict(hit.parts),
    }
