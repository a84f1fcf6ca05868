"""Documents in the database: how they are found, and what they are as values."""

from __future__ import annotations

import json
import re

from django.db.models import F, Q, QuerySet

from rag.attributes import Value, check_attributes
from rag.errors import DocumentNotFound, InvalidField
from rag.models import Collection, Document, DocumentState, Version
from rag.records import DocumentRecord
from rag.scope import Scope

NO_FILE = "The document's file is missing where AILB keeps them: bring it again."
# A page's `next`: a row's number. No document's id begins like this.
_CURSOR = re.compile(r"~([0-9]{1,18})")


def rows_of(collection: Collection) -> QuerySet[Document]:
    """Give a collection's documents, with their versions at hand."""
    mine = Document.objects.filter(collection=collection)
    return mine.select_related("newest", "current", "collection")


def of_uid(collection: Collection, uid: str) -> Document | None:
    """Give a document by its id, None when there is none."""
    if not uid.isprintable():  # PostgreSQL would raise for some
        return None
    return rows_of(collection).filter(uid=uid).first()


def find_document(collection: Collection, uid: str) -> Document:
    """Give a document by its id.

    Raises:
        DocumentNotFound: There is none.

    """
    document = of_uid(collection, uid)
    if document is None:
        raise DocumentNotFound
    return document


def same_content(collection: Collection, sha256: str) -> Document | None:
    """Give the document that is found by a content, or is to be."""
    versions = Version.objects.filter(
        Q(document__newest=F("pk")) | Q(document__current=F("pk")),
        sha256=sha256,
        document__collection=collection,
    )
    pk = versions.order_by("document").values_list("document", flat=True).first()
    return None if pk is None else rows_of(collection).filter(pk=pk).first()


def position(collection: Collection, after: str) -> int:
    """Give the row number that a page goes on behind.

    Raises:
        InvalidField: `after` is neither the `next` of a page nor a document's id.

    """
    if match := _CURSOR.fullmatch(after):
        return int(match[1])
    document = of_uid(collection, after)
    if document is None:
        raise InvalidField("'after' is neither a page's 'next' nor an id.", "after")
    return document.pk


def cursor(document: Document) -> str:
    """Give what `position` reads: it stays good when the document goes."""
    return f"~{document.pk}"


def read_attributes(attributes: object) -> dict[str, Value]:
    """Give attributes as they came.

    Raises:
        InvalidField: They are none.

    """
    try:
        checked = check_attributes(attributes)
        # PostgreSQL takes no half of a pair of surrogates.
        json.dumps(checked, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise InvalidField(
            "The attributes are no valid Unicode.", "attributes"
        ) from error
    except ValueError as error:
        raise InvalidField(str(error), "attributes") from error
    return checked


_NO_VERSION = Version(
    number=0,
    size=0,
    state=DocumentState.FAILED,
    code="missing",
    reason=NO_FILE,
)


def record(document: Document, scope: Scope) -> DocumentRecord:
    """Give a document, with its newest version at hand, as a value."""
    version = document.newest or _NO_VERSION
    # Of another tenant's, keys are not told.
    is_own = document.collection.tenant_id == scope.tenant_id
    return DocumentRecord(
        id=document.uid,
        collection=document.collection.name,
        filename=document.filename,
        attributes=document.attributes,
        owner=document.owner if is_own else "",
        state=version.state,
        code=version.code,
        reason=version.reason,
        media_type=version.media_type,
        size=version.size,
        sha256=version.sha256,
        pages=version.pages,
        chars=version.chars,
        version=version.number,
        chunks=version.chunks,
        chunks_done=version.chunks_done,
        is_searchable=document.current_id is not None,
        created_at=document.created_at,
        finished_at=version.finished_at,
    )
