"""Collections and documents, for whoever has a thread to spare."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

from rag import reindexing
from rag.attributes import Value
from rag.catalogue import (
    Catalogue,
    find_readable,
    find_readable_by_uid,
    record,
)
from rag.documents import Documents
from rag.embedders import Embedders
from rag.files import DocumentFiles
from rag.questions import Candidates, RetrievalRequest
from rag.records import (
    Added,
    CollectionRecord,
    DocumentPage,
    DocumentRecord,
    FileRecord,
    Upload,
)
from rag.retrieval import Retriever
from rag.scope import Scope
from rag.stored_files import StoredFiles
from rag.vectorstore import VectorStore


class Library:
    """Everything documents do for requests. Blocks; safe from any thread.

    What a scope may not read is, in every way, as what is not there. What it may read of
    other tenants it cannot change. Errors of the database (`django.db.Error`) come
    through.
    """

    def __init__(
        self,
        embedders: Embedders,
        store: VectorStore | None,
        *,
        files: DocumentFiles,
        model: str,
        precision: str,
    ) -> None:
        """Have new collections embedded by `model` at `precision`."""
        self._embedders = embedders
        self._store = store
        self._catalogue = Catalogue(files, model=model, precision=precision)
        self._documents = Documents(files)
        self._stored = StoredFiles(files)
        self._retriever = Retriever(embedders, store)

    # --- Collections -------------------------------------------------------------------

    def collections(self, scope: Scope) -> tuple[CollectionRecord, ...]:
        """Give the collections that a scope may read, by name.

        Of two with one name, the tenant's own; else the one that was made first.
        """
        return self._catalogue.all(scope)

    def collection(self, scope: Scope, name: str) -> CollectionRecord:
        """Give one collection.

        Raises:
            CollectionNotFound: There is none for this scope.

        """
        return record(find_readable(scope, name), scope)

    def collection_of_uid(self, scope: Scope, uid: str) -> CollectionRecord:
        """Give one collection by its id. Raises like `collection`."""
        return record(find_readable_by_uid(scope, uid), scope)

    def create_collection(
        self, scope: Scope, fields: Mapping[str, object]
    ) -> CollectionRecord:
        """Make an empty collection of the scope's tenant.

        `fields` are `name` and, as one likes, `description`, `chunk_tokens`,
        `chunk_overlap`, `is_strict`, `is_required`, `top_k`, `max_tokens`,
        `per_document`, `min_score`, `relative_cut` and `joins_neighbours`.

        Raises:
            InvalidField: A field is unknown, of another type, or out of its range.
            NameTaken: There is one of this name.
            CollectionNotFound: The scope is narrowed to other names: it could not read
                what it makes.

        """
        return self._catalogue.create(scope, fields)

    def change_collection(
        self, scope: Scope, name: str, fields: Mapping[str, object]
    ) -> CollectionRecord:
        """Change what `create_collection` takes, but for how chunks are made.

        Raises:
            CollectionNotFound: There is none to change, or the scope is narrowed to
                other names than the new one.
            InvalidField: As `create_collection`, and for `chunk_tokens` and
                `chunk_overlap`, which `reindex` changes.
            NameTaken: There is one of the new name.

        """
        return self._catalogue.change(scope, name, fields)

    def delete_collection(self, scope: Scope, name: str) -> None:
        """Delete a collection with its documents; they are found no more at once.

        May take seconds for each ten thousand chunks, in which others can write. If it is
        stopped, it is to be asked for again.

        Raises:
            CollectionNotFound: There is none to change.

        """
        self._catalogue.delete(scope, name)

    def reindex(
        self, scope: Scope, name: str, fields: Mapping[str, object]
    ) -> CollectionRecord:
        """Begin to build another index, which serves once it holds every document.

        `fields` are `chunk_tokens`, `chunk_overlap`, `model` and `precision`; what is not
        given is as it was. It takes the place of one that is being built.

        Raises:
            CollectionNotFound: There is none to change.
            InvalidField: A field is unknown, of another type, or out of its range.

        """
        return reindexing.reindex(scope, name, fields)

    def rollback(self, scope: Scope, name: str) -> CollectionRecord:
        """Have the index that served before serve again, once it has caught up.

        Raises:
            CollectionNotFound: There is none to change.
            InvalidField: There is no previous index.

        """
        return reindexing.rollback(scope, name)

    def cancel_reindex(self, scope: Scope, name: str) -> CollectionRecord:
        """Give up the index that is being built; nothing when there is none.

        Raises:
            CollectionNotFound: There is none to change.

        """
        return reindexing.cancel_reindex(scope, name)

    def discard_previous(self, scope: Scope, name: str) -> CollectionRecord:
        """Give up the index that served before; nothing when there is none.

        Raises:
            CollectionNotFound: There is none to change.

        """
        return reindexing.discard_previous(scope, name)

    # --- Questions ---------------------------------------------------------------------

    def candidates(self, request: RetrievalRequest, *, until_s: float) -> Candidates:
        """Find what may answer a question; `rag.retrieval.choose` takes from it.

        `until_s` is on the monotonic clock, `math.inf` for no limit. What is away or too
        late is left out, and `problem` says so.

        Raises:
            CollectionNotFound: One of the collections is not there for this scope.

        """
        return self._retriever.candidates(request, until_s=until_s)

    # --- Documents ---------------------------------------------------------------------

    def documents(
        self, scope: Scope, name: str, *, after: str | None = None, limit: int = 100
    ) -> DocumentPage:
        """Give a page of a collection's documents, the newest first.

        `after` is the `next` of a page, or the id of its last document.

        Raises:
            CollectionNotFound: There is none for this scope.
            InvalidField: `after` is neither.

        """
        return self._documents.page(scope, name, after=after, limit=limit)

    def document(self, scope: Scope, name: str, document_id: str) -> DocumentRecord:
        """Give one document.

        Raises:
            CollectionNotFound: There is none for this scope.
            DocumentNotFound: It has no such document.

        """
        return self._documents.one(scope, name, document_id)

    def attributes_of(
        self, scope: Scope, name: str, document_ids: Collection[str]
    ) -> dict[str, Mapping[str, Value]]:
        """Give the attributes of documents by id; those that are not there are left out.

        Raises:
            CollectionNotFound: There is none for this scope.

        """
        return self._documents.attributes(scope, name, document_ids)

    def add_document(
        self,
        scope: Scope,
        name: str,
        upload: Upload,
        *,
        document_id: str | None = None,
    ) -> Added:
        """Bring a document, which is then indexed in the background.

        A content that the collection has already is not new, whatever its file's name:
        nothing changes, but that one which failed is tried again. With `document_id`, the
        id to give it (1 to 64 letters, digits and . _ -), the id alone tells whether it
        is there; another content then replaces it.

        Raises:
            CollectionNotFound: There is none to change.
            DocumentRefused: Its size or its type is none that is taken.
            InvalidField: Its attributes are none, or the id.
            OSError: The file cannot be written.

        """
        return self._documents.add(scope, name, upload, document_id=document_id)

    def replace_document(
        self, scope: Scope, name: str, document_id: str, upload: Upload
    ) -> Added:
        """Bring a document anew; what it was is found until the new one is ready.

        Its file's name is that of the upload, and so are its attributes where the upload
        has any. The content that was brought last is not new.

        Raises:
            DocumentNotFound: The collection has no such document.
            And what `add_document` raises.

        """
        return self._documents.replace(scope, name, document_id, upload)

    def change_document(
        self, scope: Scope, name: str, document_id: str, attributes: object
    ) -> DocumentRecord:
        """Put other attributes in the place of a document's.

        Raises:
            CollectionNotFound: There is none to change.
            DocumentNotFound: It has no such document.
            InvalidField: These are no attributes.

        """
        return self._documents.change(scope, name, document_id, attributes)

    def delete_document(self, scope: Scope, name: str, document_id: str) -> None:
        """Delete a document with all its versions; it is found no more at once.

        Raises:
            CollectionNotFound: There is none to change.
            DocumentNotFound: It has no such document.

        """
        self._documents.delete(scope, name, document_id)

    def document_file(
        self, scope: Scope, name: str, document_id: str
    ) -> tuple[Path, DocumentRecord]:
        """Give the file that was brought last.

        Raises:
            CollectionNotFound: There is none for this scope.
            DocumentNotFound: It has no such document.
            DocumentNotReady: The file is not where it should be.

        """
        return self._documents.file(scope, name, document_id)

    def document_text(self, scope: Scope, name: str, document_id: str) -> str:
        """Give the text of the version that is found; offsets of chunks are places in it.

        Raises:
            CollectionNotFound: There is none for this scope.
            DocumentNotFound: It has no such document.
            DocumentNotReady: No version of it is found yet.

        """
        return self._documents.text(scope, name, document_id)

    # --- Files of a tenant -------------------------------------------------------------

    def keep_file(self, scope: Scope, upload: Upload, purpose: str) -> FileRecord:
        """Keep a file for the tenant, of whatever type; its attributes are not kept.

        Raises:
            DocumentRefused: It is empty or too large.
            InvalidField: The purpose is empty or longer than 32 characters.
            OSError: The file cannot be written.

        """
        return self._stored.keep(scope, upload, purpose)

    def kept_files(
        self,
        scope: Scope,
        *,
        purpose: str | None = None,
        after: str | None = None,
        limit: int = 100,
    ) -> tuple[list[FileRecord], bool]:
        """Give the tenant's files, the newest first, and whether there are more.

        `after` is the id of the last file before.

        Raises:
            InvalidField: `after` is no file's id.

        """
        return self._stored.page(scope, purpose=purpose, after=after, limit=limit)

    def kept_file(self, scope: Scope, file_id: str) -> FileRecord:
        """Give one file.

        Raises:
            FileNotKept: The tenant has none of this id.

        """
        return self._stored.one(scope, file_id)

    def kept_file_data(self, scope: Scope, file_id: str) -> bytes:
        """Give a file's content. Raises like `kept_file`."""
        return self._stored.data(scope, file_id)

    def delete_file(self, scope: Scope, file_id: str) -> None:
        """Delete a file; documents that were made of it stay. Raises like `kept_file`."""
        self._stored.delete(scope, file_id)

    def close(self) -> None:
        """End all threads and the store's connection; may be called again.

        The embedders and the store with them, whoever else has these.
        """
        self._retriever.close()
        self._embedders.close()
        if self._store is not None:
            self._store.close()
