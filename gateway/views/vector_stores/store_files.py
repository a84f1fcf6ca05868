"""`/v1/vector_stores/{id}/files`: documents as the files of a vector store."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import orjson
from django.http import HttpResponseBase
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request

from gateway.dialects.openai.request.fields import missing
from gateway.errors import InvalidRequest
from gateway.views.documents.uploads import UPLOAD_DEADLINE_S
from gateway.views.rendering import render, render_bytes
from gateway.views.vector_stores import schema
from gateway.views.vector_stores.adding import add_file, check_chunking
from gateway.views.vector_stores.base import VectorStoresView, store_of
from gateway.views.vector_stores.objects import (
    IN_PROGRESS,
    STATUSES,
    content_page,
    deleted_object,
    file_status,
    store_file_object,
)
from gateway.views.vector_stores.paging import (
    PARAMETERS,
    list_object,
    page_of,
    paging_in,
)
from gateway.views.vector_stores.requests import (
    STORE_FILE_FIELDS,
    attributes_in,
    new_store_file_in,
)
from rag.records import CollectionRecord, DocumentRecord

if TYPE_CHECKING:
    from rag.library import Library
    from rag.scope import Scope

BATCH = 1_000  # documents that one query reads
POLL_AFTER_MS = 500  # what SDKs that wait for a file are told


class StoreFilesView(VectorStoresView):
    """`/v1/vector_stores/{id}/files`."""

    @extend_schema(**schema.LIST_STORE_FILES)
    async def get(self, request: Request, vector_store_id: str) -> HttpResponseBase:
        """List a store's files."""
        query = self.query((*PARAMETERS, "filter"))
        paging, keep = paging_in(query), kept_by(query.get("filter"))

        def read(
            library: Library, scope: Scope
        ) -> tuple[CollectionRecord, list[DocumentRecord], bool]:
            store = store_of(library, scope, vector_store_id)
            found, has_more = page_of(
                lambda after: walk(library, scope, store.name, after, paging.limit),
                paging,
                keep=keep,
            )
            return store, found, has_more

        store, found, has_more = await self.in_library(read)
        files = [store_file_object(document, store) for document in found]
        return render(list_object(files, has_more=has_more))

    @extend_schema(**schema.ADD_STORE_FILE)
    async def post(self, request: Request, vector_store_id: str) -> HttpResponseBase:
        """Add a file that is kept to a store; it is indexed in the background."""
        wanted = new_store_file_in(self.fields(STORE_FILE_FIELDS))

        def add(
            library: Library, scope: Scope
        ) -> tuple[CollectionRecord, DocumentRecord]:
            store = store_of(library, scope, vector_store_id)
            check_chunking(wanted.chunking, store)
            return store, add_file(
                library,
                scope,
                store.name,
                wanted.file_id,
                attributes=wanted.attributes,
            )

        store, document = await self.in_library(add, deadline_s=UPLOAD_DEADLINE_S)
        return render_file(store, document)


class StoreFileView(VectorStoresView):
    """`/v1/vector_stores/{id}/files/{file id}`."""

    @extend_schema(**schema.SHOW_STORE_FILE)
    async def get(
        self, request: Request, vector_store_id: str, file_id: str
    ) -> HttpResponseBase:
        """Show a file of a store, and how far it is."""
        return await self._show(
            vector_store_id,
            lambda library, scope, name: library.document(scope, name, file_id),
        )

    @extend_schema(**schema.CHANGE_STORE_FILE)
    async def post(
        self, request: Request, vector_store_id: str, file_id: str
    ) -> HttpResponseBase:
        """Put other attributes in the place of a file's."""
        body = self.fields(("attributes",))
        if "attributes" not in body:
            raise missing("attributes")
        attributes = attributes_in(body["attributes"])
        return await self._show(
            vector_store_id,
            lambda library, scope, name: library.change_document(
                scope, name, file_id, attributes
            ),
        )

    @extend_schema(**schema.DELETE_STORE_FILE)
    async def delete(
        self, request: Request, vector_store_id: str, file_id: str
    ) -> HttpResponseBase:
        """Take a file out of a store; the file itself stays."""
        await self.in_library(
            lambda library, scope: library.delete_document(
                scope, store_of(library, scope, vector_store_id).name, file_id
            )
        )
        return render(deleted_object(file_id, "vector_store.file.deleted"))

    async def _show(
        self, store_id: str, work: Callable[[Library, Scope, str], DocumentRecord]
    ) -> HttpResponseBase:
        """Do something with a document of a store, and show it."""

        def found(
            library: Library, scope: Scope
        ) -> tuple[CollectionRecord, DocumentRecord]:
            store = store_of(library, scope, store_id)
            return store, work(library, scope, store.name)

        return render_file(*await self.in_library(found))


class StoreFileContentView(VectorStoresView):
    """`/v1/vector_stores/{id}/files/{file id}/content`."""

    @extend_schema(**schema.STORE_FILE_CONTENT)
    async def get(
        self, request: Request, vector_store_id: str, file_id: str
    ) -> HttpResponseBase:
        """Give the text of a file, as it is searched."""

        def read(library: Library, scope: Scope) -> bytes:
            name = store_of(library, scope, vector_store_id).name
            # Written in the thread: a long text takes a while.
            return orjson.dumps(
                content_page(library.document_text(scope, name, file_id))
            )

        return render_bytes(await self.in_library(read))


def render_file(store: CollectionRecord, document: DocumentRecord) -> HttpResponseBase:
    """Show a file of a store; while it is in progress, say when to ask again."""
    shown = store_file_object(document, store)
    is_waiting = shown["status"] == IN_PROGRESS
    headers = {"openai-poll-after-ms": str(POLL_AFTER_MS)} if is_waiting else {}
    return render(shown, headers=headers)


def kept_by(status: str | None) -> Callable[[DocumentRecord], bool]:
    """Give what tells whether a document has the status that is asked for.

    Raises:
        InvalidRequest: Nothing has such a status.

    """
    if status is None:
        return lambda _: True
    if status not in STATUSES:
        raise InvalidRequest(
            f"filter must be one of {', '.join(STATUSES)}.", param="filter"
        )
    return lambda document: file_status(document.state) == status


def walk(
    library: Library, scope: Scope, name: str, after: str | None, limit: int
) -> Iterator[tuple[str, DocumentRecord]]:
    """Give a collection's documents, the newest first, behind the one of an id.

    Reads little at first: mostly a page of `limit` is all that is wanted.
    """
    size = limit + 1
    while True:
        page = library.documents(scope, name, after=after, limit=size)
        for document in page.documents:
            yield document.id, document
        if (after := page.next) is None:
            return
        size = BATCH
