"""The documents of collections, for whoever may read or change them."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from pathlib import Path

from rag.attributes import Value
from rag.catalogue import find_readable, find_writable
from rag.document_rows import (
    NO_FILE,
    cursor,
    find_document,
    position,
    read_attributes,
    record,
    rows_of,
)
from rag.erasure import erase_documents
from rag.errors import DocumentNotFound, DocumentNotReady, InvalidField
from rag.files import ORIGINAL, TEXT, DocumentFiles, version_folder
from rag.models import Document
from rag.records import Added, DocumentPage, DocumentRecord, Upload
from rag.scope import Scope
from rag.uploads import Target, Uploads, check_upload
from rag.validators import new_uid

_DOCUMENT_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


class Documents:
    """Lists, brings, changes and deletes them. Blocking; safe from any thread."""

    def __init__(self, files: DocumentFiles) -> None:
        """`files` is where their content is kept."""
        self._files = files
        self._uploads = Uploads(files)

    def page(
        self, scope: Scope, name: str, *, after: str | None, limit: int
    ) -> DocumentPage:
        """Do what `rag.library.Library.documents` does."""
        collection = find_readable(scope, name)
        documents = rows_of(collection)
        if after is not None:
            documents = documents.filter(pk__lt=position(collection, after))
        found = list(documents.order_by("-pk")[: limit + 1])
        page = found[:limit]
        following = cursor(page[-1]) if len(found) > limit else None
        return DocumentPage(
            tuple(record(document, scope) for document in page), following
        )

    def one(self, scope: Scope, name: str, document_id: str) -> DocumentRecord:
        """Do what `rag.library.Library.document` does."""
        return record(find_document(find_readable(scope, name), document_id), scope)

    def attributes(
        self, scope: Scope, name: str, document_ids: Collection[str]
    ) -> dict[str, Mapping[str, Value]]:
        """Do what `rag.library.Library.attributes_of` does."""
        mine = Document.objects.filter(collection=find_readable(scope, name))
        found = mine.filter(uid__in=document_ids)
        return dict(found.values_list("uid", "attributes"))

    def add(
        self, scope: Scope, name: str, upload: Upload, *, document_id: str | None
    ) -> Added:
        """Do what `rag.library.Library.add_document` does."""
        collection = find_writable(scope, name)
        if document_id is not None and not _DOCUMENT_ID.fullmatch(document_id):
            raise InvalidField("This is no id that a document can have.", "id")
        content = check_upload(upload)
        new = Document(
            collection=collection, owner=scope.owner, uid=document_id or new_uid()
        )
        target = Target(collection, content, uid=document_id, new=new)
        document, is_new = self._uploads.bring(target)
        return Added(record(document, scope), is_new)

    def replace(
        self, scope: Scope, name: str, document_id: str, upload: Upload
    ) -> Added:
        """Do what `rag.library.Library.replace_document` does."""
        collection = find_writable(scope, name)
        find_document(collection, document_id)  # before the file is looked at
        content = check_upload(upload)
        target = Target(collection, content, uid=document_id, new=None)
        document, is_new = self._uploads.bring(target)
        if not is_new:
            document.filename = content.filename
            document.attributes = dict(content.attributes or document.attributes)
            _update(document)
        return Added(record(document, scope), is_new)

    def change(
        self, scope: Scope, name: str, document_id: str, attributes: object
    ) -> DocumentRecord:
        """Do what `rag.library.Library.change_document` does."""
        document = find_document(find_writable(scope, name), document_id)
        document.attributes = read_attributes(attributes)
        _update(document)
        return record(document, scope)

    def delete(self, scope: Scope, name: str, document_id: str) -> None:
        """Do what `rag.library.Library.delete_document` does."""
        document = find_document(find_writable(scope, name), document_id)
        erase_documents([document.pk], self._files)

    def file(
        self, scope: Scope, name: str, document_id: str
    ) -> tuple[Path, DocumentRecord]:
        """Do what `rag.library.Library.document_file` does."""
        document = find_document(find_readable(scope, name), document_id)
        if document.newest is None:
            raise DocumentNotReady(NO_FILE)
        path = self._files.path(version_folder(document.newest.uid), ORIGINAL)
        if not path.is_file():
            raise DocumentNotReady(NO_FILE)
        return path, record(document, scope)

    def text(self, scope: Scope, name: str, document_id: str) -> str:
        """Do what `rag.library.Library.document_text` does."""
        document = find_document(find_readable(scope, name), document_id)
        if document.current is None:
            raise DocumentNotReady("The document has not been read yet: ask later.")
        try:
            data = self._files.read(version_folder(document.current.uid), TEXT)
        except FileNotFoundError:
            raise DocumentNotReady(NO_FILE) from None
        return data.decode("utf-8", "replace")


def _update(document: Document) -> None:
    """Store what people may set on a document.

    Raises:
        DocumentNotFound: It was deleted meanwhile.

    """
    found = Document.objects.filter(pk=document.pk).update(
        filename=document.filename, attributes=document.attributes
    )
    if not found:
        raise DocumentNotFound
