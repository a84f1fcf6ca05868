"""What tests of documents stand on: a library in a folder of its own, scopes, uploads."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from rag.attributes import Value
from rag.embedders import Embedders
from rag.embedding_lanes import EmbeddingLanes
from rag.files import DocumentFiles
from rag.library import Library
from rag.records import CollectionRecord, DocumentRecord, Upload
from rag.scope import Scope
from rag.vectorstore import VectorStore
from tests.memory.scenes import HashedWords, make_scope as make_tenants_scope

TEXT = "The parental leave is fourteen weeks long.\n"


@dataclass(frozen=True, slots=True)
class Parts:
    """A library, and what it is made of: `rag.ingest.Ingest` takes the last three."""

    library: Library
    embedders: Embedders
    store: VectorStore | None
    files: DocumentFiles


@contextmanager
def running_parts(
    folder: Path,
    *,
    embedder: HashedWords | None = None,
    store: VectorStore | None = None,
) -> Iterator[Parts]:
    """Give a library whose files are in `folder`; every model is the same embedder.

    Nothing is loaded before it is asked for. The store is the caller's to close.
    """
    chosen = embedder or HashedWords()
    embedders = Embedders(
        lambda _model, _precision: EmbeddingLanes(lambda: chosen),
        model="",
        precision="fp32",
    )
    files = DocumentFiles(folder)
    library = Library(embedders, store, files=files, model="", precision="fp32")
    try:
        yield Parts(library, embedders, store, files)
    finally:
        embedders.close()


def make_scope(
    tenant: str = "ours", *, owner: str = "", collections: Collection[str] | None = None
) -> Scope:
    """Give the scope of a tenant, which is made when there is none of that name."""
    scope = make_tenants_scope(tenant, owner=owner)
    return replace(
        scope, collections=None if collections is None else frozenset(collections)
    )


def make_collection(
    parts: Parts, scope: Scope, name: str = "handbook", **fields: object
) -> CollectionRecord:
    """Make an empty collection."""
    return parts.library.create_collection(scope, {"name": name, **fields})


def make_upload(
    content: str | bytes = TEXT, filename: str = "leave.txt", **attributes: Value
) -> Upload:
    """Give a file to bring."""
    data = content.encode() if isinstance(content, str) else content
    return Upload(filename=filename, data=data, attributes=attributes)


def add_document(
    parts: Parts,
    scope: Scope,
    content: str | bytes = TEXT,
    filename: str = "leave.txt",
    *,
    collection: str = "handbook",
    **attributes: Value,
) -> DocumentRecord:
    """Add a document, which is queued: nothing indexes it by itself."""
    upload = make_upload(content, filename, **attributes)
    return parts.library.add_document(scope, collection, upload).document
