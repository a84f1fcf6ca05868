"""Files on their way into a collection: what is taken, and as which version."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from django.conf import settings
from django.db import transaction
from django.db.models import Max

from rag.attributes import Value
from rag.document_rows import of_uid, read_attributes, same_content
from rag.erasure import erase_versions, lock, lock_documents, stale_versions, withdraw
from rag.errors import CollectionNotFound, DocumentNotFound, DocumentRefused
from rag.files import ORIGINAL, DocumentFiles, clean_filename, version_folder
from rag.formats import ARCHIVE, recognise
from rag.models import (
    Chunk,
    Collection,
    Document,
    DocumentState,
    VectorState,
    Version,
)
from rag.records import Upload

MIB = 2**20


@dataclass(frozen=True, slots=True)
class Content:
    """A file that is taken: whose name is clean, and whose type and size are allowed."""

    filename: str
    data: bytes
    sha256: str
    media_type: str
    attributes: Mapping[str, Value]


def check_size(data: bytes) -> None:
    """Refuse a file that is empty or larger than AILB_MAX_DOCUMENT_MB allows.

    Raises:
        DocumentRefused: `no_text` or `too_large`.

    """
    if not data:
        raise DocumentRefused("no_text", "This file is empty: bring one with text.")
    if len(data) > settings.AILB_MAX_DOCUMENT_BYTES:
        most = settings.AILB_MAX_DOCUMENT_BYTES / MIB
        raise DocumentRefused(
            "too_large",
            f"This file is larger than the {most:,.0f} MB that are allowed: split it.",
        )


def check_upload(upload: Upload) -> Content:
    """Give what an upload holds, once everything is known that its bytes tell at once.

    Raises:
        DocumentRefused: Its size or its type is none that is taken.
        InvalidField: Its attributes are none.

    """
    filename = clean_filename(upload.filename)
    check_size(upload.data)
    media_type = recognise(upload.data, filename)
    return Content(
        filename=filename,
        data=upload.data,
        sha256=hashlib.sha256(upload.data).hexdigest(),
        # What is in an archive is known when it is parsed.
        media_type="" if media_type == ARCHIVE else media_type,
        attributes=read_attributes(dict(upload.attributes)),
    )


@dataclass(frozen=True, slots=True)
class Target:
    """Where a content is to go.

    `uid` is the document's id, None for the one that has this very content; `new` is
    what is made when there is none, None where there must be one.
    """

    collection: Collection
    content: Content
    uid: str | None
    new: Document | None

    def find(self) -> Document | None:
        """Give the document that is there."""
        if self.uid is None:
            return same_content(self.collection, self.content.sha256)
        return of_uid(self.collection, self.uid)

    def is_done_by(self, document: Document | None) -> bool:
        """Tell whether there is nothing to bring."""
        if document is None or document.newest is None:
            return False
        # With an id, what is found may be what is to be replaced again.
        return self.uid is None or document.newest.sha256 == self.content.sha256


class Uploads:
    """Writes files and the versions that they are. Blocking; safe from any thread."""

    def __init__(self, files: DocumentFiles) -> None:
        """`files` is where the files go."""
        self._files = files

    def bring(self, target: Target) -> tuple[Document, bool]:
        """Store a content, once, however many bring it at the same time.

        Gives its document, and whether this brought it.

        Raises:
            CollectionNotFound: The collection was deleted meanwhile.
            DocumentNotFound: The document was, or is not there.
            OSError: The file cannot be written; nothing has changed.

        """
        content, known = target.content, target.find()
        if known is not None and target.is_done_by(known):
            return self._keep(known, content), False
        version = Version(
            sha256=content.sha256,
            size=len(content.data),
            media_type=content.media_type,
        )
        # Before the row, which is never without it.
        self._files.put(version_folder(version.uid), ORIGINAL, content.data)
        try:
            known = insert(version, target)
        except (CollectionNotFound, DocumentNotFound):
            # Not after an error of the database: the row may be there all the same.
            self._files.remove(version_folder(version.uid))
            raise
        if known is not None:
            self._files.remove(version_folder(version.uid))
            return self._keep(known, content), False
        document = version.document
        older = stale_versions().filter(document=document).values_list("pk", flat=True)
        erase_versions(list(older), self._files)
        return document, True

    def _keep(self, document: Document, content: Content) -> Document:
        """Have a content that is known become ready, where it is not or has no file."""
        versions = [document.newest, document.current]
        version = next(
            each for each in versions if each and each.sha256 == content.sha256
        )
        folder = version_folder(version.uid)
        if not self._files.path(folder, ORIGINAL).is_file():
            self._files.put(folder, ORIGINAL, content.data)
        if version.state == DocumentState.FAILED:
            queue_again(version)
        return of_uid(document.collection, document.uid) or document


def insert(version: Version, target: Target) -> Document | None:
    """Store a version, or give the document that has its content by now.

    Raises:
        CollectionNotFound: The collection was deleted meanwhile.
        DocumentNotFound: The document was, or is not there.

    """
    content = target.content
    with transaction.atomic():
        if not lock(Collection.objects.filter(pk=target.collection.pk)):
            raise CollectionNotFound
        known = target.find()
        if known is not None and target.is_done_by(known):
            return known
        document = known or target.new
        if document is None:
            raise DocumentNotFound
        if known is not None:
            version.number = _next_number(known)
        document.filename = content.filename
        document.attributes = dict(content.attributes or document.attributes)
        if known is None:
            document.save(force_insert=True)
        version.document = document
        version.save(force_insert=True)
        document.newest = version
        document.save(update_fields=["filename", "attributes", "newest"])
        if known is not None:
            withdraw(stale_versions().filter(document=known))
        return None


def _next_number(document: Document) -> int:
    """Give the number of a document's next version, and have nobody delete it before."""
    if not lock_documents([document.pk]):  # deleted since it was found
        raise DocumentNotFound
    numbers = Version.objects.filter(document=document).aggregate(last=Max("number"))
    return (numbers["last"] or 0) + 1


def queue_again(version: Version) -> None:
    """Have a version that failed worked on anew; nothing when it has not failed."""
    with transaction.atomic():
        failed = Version.objects.filter(pk=version.pk, state=DocumentState.FAILED)
        queued = failed.update(
            state=DocumentState.QUEUED,
            code="",
            reason="",
            attempts=0,
            finished_at=None,
        )
        if queued:
            chunks = Chunk.objects.filter(version=version)
            chunks.filter(vector_state=VectorState.FAILED).update(
                vector_state=VectorState.PENDING
            )
