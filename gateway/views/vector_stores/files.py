"""`/v1/files`: files that a tenant keeps here, to add them to vector stores."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING

from django.http import HttpResponse, HttpResponseBase
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request

from gateway.dialects.openai.request.fields import missing, wrong_value
from gateway.views.documents.collections import DELETE_DEADLINE_S
from gateway.views.documents.downloads import UNKNOWN_TYPE, download_headers
from gateway.views.documents.uploads import Form, UploadView
from gateway.views.rendering import render
from gateway.views.vector_stores import schema
from gateway.views.vector_stores.base import VectorStoresView, file_uid
from gateway.views.vector_stores.objects import (
    FILE_PREFIX,
    deleted_object,
    file_object,
)
from gateway.views.vector_stores.paging import (
    DEFAULT_FILES_PAGE,
    MAX_FILES_PAGE,
    list_object,
    page_of,
    paging_in,
)
from gateway.views.vector_stores.requests import PURPOSES
from rag.errors import CollectionNotFound, DocumentNotFound, FileNotKept, InvalidField
from rag.records import FileRecord, Upload

if TYPE_CHECKING:
    from rag.library import Library
    from rag.scope import Scope

BATCH = 1_000  # files that one query reads


class FilesView(VectorStoresView, UploadView):
    """`/v1/files`."""

    @extend_schema(**schema.LIST_FILES)
    async def get(self, request: Request) -> HttpResponseBase:
        """List the tenant's files."""
        query = self.query(("purpose", "after", "limit", "order"))
        paging = paging_in(query, most=MAX_FILES_PAGE, default=DEFAULT_FILES_PAGE)
        purpose = query.get("purpose")
        found, has_more = await self.in_library(
            lambda library, scope: page_of(
                lambda after: walk(library, scope, purpose, after, paging.limit),
                paging,
            )
        )
        files = [file_object(file) for file in found]
        return render(list_object(files, has_more=has_more))

    @extend_schema(**schema.KEEP_FILE)
    async def post(self, request: Request) -> HttpResponseBase:
        """Keep a file."""
        kept = await self.take_in(keep, fields=("purpose",))
        return render(file_object(kept))


class FileView(VectorStoresView):
    """`/v1/files/{id}`."""

    @extend_schema(**schema.SHOW_FILE)
    async def get(self, request: Request, file_id: str) -> HttpResponseBase:
        """Show a file."""
        kept = await self.in_library(
            lambda library, scope: library.kept_file(scope, file_uid(file_id))
        )
        return render(file_object(kept))

    @extend_schema(**schema.DELETE_FILE)
    async def delete(self, request: Request, file_id: str) -> HttpResponseBase:
        """Delete a file, in the vector stores too."""
        await self.in_library(
            lambda library, scope: delete_everywhere(library, scope, file_id),
            deadline_s=DELETE_DEADLINE_S,
        )
        return render(deleted_object(file_id, "file"))


class FileContentView(VectorStoresView):
    """`/v1/files/{id}/content`."""

    @extend_schema(**schema.FILE_CONTENT)
    async def get(self, request: Request, file_id: str) -> HttpResponseBase:
        """Give a file's bytes, to be saved."""

        def read(library: Library, scope: Scope) -> tuple[FileRecord, bytes]:
            uid = file_uid(file_id)
            return library.kept_file(scope, uid), library.kept_file_data(scope, uid)

        kept, data = await self.in_library(read)
        headers = download_headers(kept.filename, UNKNOWN_TYPE)
        return HttpResponse(data, headers=headers)


def keep(library: Library, scope: Scope, form: Form) -> FileRecord:
    """Keep the file of a form."""
    purpose = form.fields.get("purpose")
    if not purpose:
        raise missing("purpose")
    if purpose not in PURPOSES:
        known = " or ".join(PURPOSES)
        raise wrong_value("purpose", f"must be {known}: nothing else is done here")
    return library.keep_file(scope, Upload(form.filename, form.data, {}), purpose)


def walk(
    library: Library,
    scope: Scope,
    purpose: str | None,
    after: str | None,
    limit: int,
) -> Iterator[tuple[str, FileRecord]]:
    """Give the files, the newest first, behind the one of an id.

    Reads little at first: mostly a page of `limit` is all that is wanted.
    """
    try:
        place = None if after is None else file_uid(after)
    except FileNotKept as error:
        raise InvalidField("There is no such file.", "after") from error
    size, has_more = limit + 1, True
    while has_more:
        files, has_more = library.kept_files(
            scope, purpose=purpose, after=place, limit=size
        )
        for file in files:
            yield FILE_PREFIX + file.id, file
        size, place = BATCH, files[-1].id if files else None


def delete_everywhere(library: Library, scope: Scope, file_id: str) -> None:
    """Delete a file, after it in each collection that the scope may change.

    Interrupted, it can be asked for again: the file itself goes last.
    """
    uid = file_uid(file_id)
    library.kept_file(scope, uid)
    for collection in library.collections(scope):
        if collection.is_own:
            with suppress(CollectionNotFound, DocumentNotFound):  # or gone meanwhile
                library.delete_document(scope, collection.name, file_id)
    library.delete_file(scope, uid)
