"""`/v1/vector_stores`: collections, listed, made, changed and deleted."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from django.http import HttpResponseBase
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request

from gateway.dialects.openai.request.fields import read_string
from gateway.errors import InvalidRequest
from gateway.views.documents.collections import DELETE_DEADLINE_S
from gateway.views.documents.uploads import UPLOAD_DEADLINE_S
from gateway.views.rendering import render
from gateway.views.vector_stores import schema
from gateway.views.vector_stores.adding import add_file
from gateway.views.vector_stores.base import (
    VectorStoresView,
    file_uid,
    no_file,
    store_of,
)
from gateway.views.vector_stores.objects import (
    STORE_PREFIX,
    deleted_object,
    store_object,
)
from gateway.views.vector_stores.paging import (
    PARAMETERS,
    list_object,
    page_of,
    paging_in,
)
from gateway.views.vector_stores.requests import (
    MAX_TOKENS_PATH,
    OVERLAP_PATH,
    STORE_FIELDS,
    UPDATE_FIELDS,
    NewStore,
    new_store_in,
    refuse_what_is_not_kept,
)
from rag.errors import CollectionNotFound, FileNotKept, InvalidField

if TYPE_CHECKING:
    from rag.library import Library
    from rag.records import CollectionRecord
    from rag.scope import Scope

NAME_CHARS = 12  # of its id, for a store that is made without a name
CHUNK_PATHS = {"chunk_tokens": MAX_TOKENS_PATH, "chunk_overlap": OVERLAP_PATH}


class StoresView(VectorStoresView):
    """`/v1/vector_stores`."""

    @extend_schema(**schema.LIST_STORES)
    async def get(self, request: Request) -> HttpResponseBase:
        """List the collections that the key may read."""
        paging = paging_in(self.query(PARAMETERS))
        readable = await self.in_library(
            lambda library, scope: library.collections(scope)
        )
        stores = newest_first(readable)
        found, has_more = page_of(lambda after: behind(stores, after), paging)
        shown = [store_object(store) for store in found]
        return render(list_object(shown, has_more=has_more))

    @extend_schema(**schema.MAKE_STORE)
    async def post(self, request: Request) -> HttpResponseBase:
        """Make a collection, and add files to it."""
        wanted = new_store_in(self.fields(STORE_FIELDS))
        made = await self.in_library(
            lambda library, scope: make(library, scope, wanted),
            deadline_s=UPLOAD_DEADLINE_S,
        )
        return render(store_object(made))


class StoreView(VectorStoresView):
    """`/v1/vector_stores/{id}`."""

    @extend_schema(**schema.SHOW_STORE)
    async def get(self, request: Request, vector_store_id: str) -> HttpResponseBase:
        """Show a store."""
        found = await self.in_library(
            lambda library, scope: store_of(library, scope, vector_store_id)
        )
        return render(store_object(found))

    @extend_schema(**schema.CHANGE_STORE)
    async def post(self, request: Request, vector_store_id: str) -> HttpResponseBase:
        """Give a store another name."""
        body = self.fields(UPDATE_FIELDS)
        refuse_what_is_not_kept(body)
        name = body.get("name")
        fields = {} if name is None else {"name": read_string(name, "name")}
        changed = await self.in_library(
            lambda library, scope: library.change_collection(
                scope, store_of(library, scope, vector_store_id).name, fields
            )
        )
        return render(store_object(changed))

    @extend_schema(**schema.DELETE_STORE)
    async def delete(self, request: Request, vector_store_id: str) -> HttpResponseBase:
        """Delete a store with its documents; files stay."""
        await self.in_library(
            lambda library, scope: library.delete_collection(
                scope, store_of(library, scope, vector_store_id).name
            ),
            deadline_s=DELETE_DEADLINE_S,
        )
        return render(deleted_object(vector_store_id, "vector_store.deleted"))


def newest_first(
    collections: Sequence[CollectionRecord],
) -> list[tuple[str, CollectionRecord]]:
    """Order collections by when they were made, each with its id as a store."""
    ordered = sorted(
        collections, key=lambda each: (each.created_at, each.uid), reverse=True
    )
    return [(STORE_PREFIX + each.uid, each) for each in ordered]


def behind(
    stores: Sequence[tuple[str, CollectionRecord]], after: str | None
) -> Sequence[tuple[str, CollectionRecord]]:
    """Give what follows the store of an id; None: all.

    Raises:
        InvalidField: There is no such store.

    """
    if after is None:
        return stores
    ids = [store_id for store_id, _ in stores]
    if after not in ids:
        raise InvalidField("There is no such vector store.", "after")
    return stores[ids.index(after) + 1 :]


def make(library: Library, scope: Scope, wanted: NewStore) -> CollectionRecord:
    """Make a store with its files; all of it or nothing.

    Raises:
        ClientError: A file is not there or is not taken, or a field is not valid.

    """
    for number, file_id in enumerate(wanted.file_ids):
        try:
            library.kept_file(scope, file_uid(file_id))
        except FileNotKept as error:
            raise no_file(f"file_ids[{number}]") from error
    made = make_empty(library, scope, wanted)
    try:
        for number, file_id in enumerate(wanted.file_ids):
            add_file(library, scope, made.name, file_id, param=f"file_ids[{number}]")
    except Exception:
        with suppress(CollectionNotFound):
            library.delete_collection(scope, made.name)
        raise
    return library.collection(scope, made.name)


def make_empty(library: Library, scope: Scope, wanted: NewStore) -> CollectionRecord:
    """Make a store; one without a name is called after its id."""
    fields: dict[str, object] = {
        "name": wanted.name or f"vs-{secrets.token_hex(NAME_CHARS // 2)}",
        "description": wanted.description,
    }
    if wanted.chunking is not None:
        fields["chunk_tokens"] = wanted.chunking.tokens
        fields["chunk_overlap"] = wanted.chunking.overlap
    try:
        made = library.create_collection(scope, fields)
    except InvalidField as error:
        path = CHUNK_PATHS.get(error.param, error.param)
        message = error.message.replace(f"'{error.param}'", f"'{path}'")
        raise InvalidRequest(message, param=path) from error
    if wanted.name is None:
        name = f"vs-{made.uid[:NAME_CHARS]}"
        made = library.change_collection(scope, made.name, {"name": name})
    return made
