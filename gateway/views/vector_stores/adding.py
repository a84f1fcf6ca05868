"""Kept files on their way into a vector store; blocks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from gateway.dialects.openai.request.fields import wrong_value
from gateway.views.documents.base import FileRefused
from gateway.views.vector_stores.base import file_uid, no_file
from gateway.views.vector_stores.requests import Chunking
from rag.attributes import Value
from rag.errors import DocumentRefused, FileNotKept
from rag.records import CollectionRecord, DocumentRecord, Upload

if TYPE_CHECKING:
    from rag.library import Library
    from rag.scope import Scope


def add_file(
    library: Library,
    scope: Scope,
    name: str,
    file_id: str,
    *,
    param: str = "file_id",
    attributes: Mapping[str, Value] | None = None,
) -> DocumentRecord:
    """Make a document of a kept file, whose id it gets; `param` names it in refusals.

    Raises:
        ClientError: There is no such file, or it is of no type that is read.
        CollectionNotFound: There is no collection of this name to change.

    """
    try:
        uid = file_uid(file_id)
        file, data = library.kept_file(scope, uid), library.kept_file_data(scope, uid)
    except FileNotKept as error:
        raise no_file(param) from error
    upload = Upload(file.filename, data, attributes or {})
    try:
        added = library.add_document(scope, name, upload, document_id=file_id)
    except DocumentRefused as error:
        refusal = FileRefused(str(error), error.code)
        refusal.param = param
        raise refusal from error
    document = added.document
    if not added.is_new and attributes and attributes != document.attributes:
        # It was there with others: what is asked for now counts.
        document = library.change_document(scope, name, file_id, attributes)
    return document


def check_chunking(chunking: Chunking | None, store: CollectionRecord) -> None:
    """Let files be cut as the store cuts them, and in no other way.

    Raises:
        InvalidRequest: Another way is asked for.

    """
    if chunking is None or (index := store.index) is None:
        return
    if chunking != Chunking(index.chunk_tokens, index.chunk_overlap):
        raise wrong_value(
            "chunking_strategy",
            f"this vector store cuts all its files into chunks of {index.chunk_tokens} "
            f"tokens with an overlap of {index.chunk_overlap}; leave it out",
        )
