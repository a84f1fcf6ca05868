"""The documents of a collection: brought, listed, shown, replaced, given back, deleted."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, BinaryIO

from django.http import HttpResponseBase
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request

from gateway.dialects.openai.request.fields import missing
from gateway.views.documents import schema
from gateway.views.documents.base import DocumentsView
from gateway.views.documents.downloads import CAUTION, FileStream, download_headers
from gateway.views.documents.uploads import ATTRIBUTES, UploadView
from gateway.views.management.base import page_size
from gateway.views.rendering import render, render_bytes

if TYPE_CHECKING:
    from rag.library import Library
    from rag.records import Added, DocumentRecord
    from rag.scope import Scope

FIELDS = (ATTRIBUTES,)  # what may come with a file
TEXT = "text/plain; charset=utf-8"


class DocumentsOfCollectionView(UploadView):
    """`/api/collections/{name}/documents`."""

    @extend_schema(**schema.LIST_DOCUMENTS)
    async def get(self, request: Request, name: str) -> HttpResponseBase:
        """List the documents, the newest first."""
        query = self.query(("limit", "after"))
        limit, after = page_size(query.get("limit")), query.get("after")
        page = await self.in_library(
            lambda library, scope: library.documents(
                scope, name, after=after, limit=limit
            )
        )
        results = [document.as_dict() for document in page.documents]
        return render({"results": results, "next": page.next})

    @extend_schema(**schema.ADD_DOCUMENT)
    async def post(self, request: Request, name: str) -> HttpResponseBase:
        """Bring a document, which is then indexed in the background."""
        added = await self.take_in(
            lambda library, scope, form: library.add_document(
                scope, name, form.upload()
            ),
            fields=FIELDS,
        )
        return render_added(added)


class DocumentView(UploadView):
    """`/api/collections/{name}/documents/{id}`."""

    @extend_schema(**schema.SHOW_DOCUMENT)
    async def get(
        self, request: Request, name: str, document_id: str
    ) -> HttpResponseBase:
        """Show a document and how far it is."""
        found = await self.in_library(
            lambda library, scope: library.document(scope, name, document_id)
        )
        return render(found.as_dict())

    @extend_schema(**schema.REPLACE_DOCUMENT)
    async def put(
        self, request: Request, name: str, document_id: str
    ) -> HttpResponseBase:
        """Bring a document anew; what it was is found until the new one is ready."""
        added = await self.take_in(
            lambda library, scope, form: library.replace_document(
                scope, name, document_id, form.upload()
            ),
            fields=FIELDS,
        )
        return render_added(added)

    @extend_schema(**schema.CHANGE_DOCUMENT)
    async def patch(
        self, request: Request, name: str, document_id: str
    ) -> HttpResponseBase:
        """Put other attributes in the place of a document's."""
        attributes = self.fields(FIELDS).get(ATTRIBUTES)
        if attributes is None:
            raise missing(ATTRIBUTES)
        changed = await self.in_library(
            lambda library, scope: library.change_document(
                scope, name, document_id, attributes
            )
        )
        return render(changed.as_dict())

    @extend_schema(**schema.DELETE_DOCUMENT)
    async def delete(
        self, request: Request, name: str, document_id: str
    ) -> HttpResponseBase:
        """Delete a document with all its versions."""
        await self.in_library(
            lambda library, scope: library.delete_document(scope, name, document_id)
        )
        return render_bytes(b"", status=204)


class DocumentFileView(DocumentsView):
    """`/api/collections/{name}/documents/{id}/file`."""

    @extend_schema(**schema.DOCUMENT_FILE)
    async def get(
        self, request: Request, name: str, document_id: str
    ) -> HttpResponseBase:
        """Give the file that was brought last, to be saved."""

        def opened(library: Library, scope: Scope) -> tuple[BinaryIO, DocumentRecord]:
            path, document = library.document_file(scope, name, document_id)
            return path.open("rb"), document

        file, document = await self.in_library(opened)
        size = os.fstat(file.fileno()).st_size
        headers = download_headers(document.filename, document.media_type)
        return FileStream(file, size, headers)


class DocumentTextView(DocumentsView):
    """`/api/collections/{name}/documents/{id}/text`."""

    @extend_schema(**schema.DOCUMENT_TEXT)
    async def get(
        self, request: Request, name: str, document_id: str
    ) -> HttpResponseBase:
        """Give the text of the version that is found; offsets are places in it."""
        # Encoded in the thread: a long text takes a while.
        body = await self.in_library(
            lambda library, scope: library.document_text(
                scope, name, document_id
            ).encode()
        )
        return render_bytes(body, headers={"content-type": TEXT, **CAUTION})


def render_added(added: Added) -> HttpResponseBase:
    """Show what became of a file: 202 when it is to be indexed, 200 when it was there."""
    return render(added.document.as_dict(), status=202 if added.is_new else 200)
