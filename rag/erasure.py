"""Deleting for real: rows, chunks and files, a bounded part at a time."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import TypeVar

from django.db import transaction
from django.db.models import F, Model, QuerySet

from rag.files import DocumentFiles, version_folder
from rag.models import (
    Chunk,
    ChunkVector,
    Collection,
    Cut,
    Document,
    DocumentState,
    FileErasure,
    Version,
)

# Of one transaction: SQLite's other writers wait no longer for it.
ERASED_CHUNKS = 2_000
ERASED_DOCUMENTS = 100
PAUSE_S = 0.01  # between two of them, in which others may write
Row = TypeVar("Row", bound=Model)
ERASED = "erased"  # the code of a version whose erasure has begun
_REASON = "It was being deleted when that was stopped: delete it again."


def stale_versions() -> QuerySet[Version]:
    """Give the versions that are neither found nor the newest of their document.

    A newer one was brought before they were ready, or in their place.
    """
    replaced = Version.objects.exclude(document__current=F("pk"))
    return replaced.exclude(document__newest=F("pk"))


def erase_collection(collection: Collection, files: DocumentFiles) -> None:
    """Delete a collection with all that hangs on it; may be called again.

    None of its documents is found from the first moment on. What is added meanwhile
    goes, too.
    """
    documents = Document.objects.filter(collection=collection).order_by("pk")
    last = 0
    while pks := list(
        documents.filter(pk__gt=last).values_list("pk", flat=True)[:ERASED_CHUNKS]
    ):
        with transaction.atomic():
            Document.objects.filter(pk__in=lock_documents(pks)).update(current=None)
        last = pks[-1]
    while pks := list(documents.values_list("pk", flat=True)[:ERASED_DOCUMENTS]):
        erase_documents(pks, files)
    with transaction.atomic():
        mine = Collection.objects.filter(pk=collection.pk)
        if lock(mine):  # nothing is added any more
            mine.delete()


def erase_documents(document_pks: Sequence[int], files: DocumentFiles) -> None:
    """Delete documents by row id with all their versions; may be called again.

    None is found from the first moment on. At most some hundred at a time.
    """
    with transaction.atomic():
        there = lock_documents(document_pks)
        Document.objects.filter(pk__in=there).update(current=None)
        withdraw(Version.objects.filter(document__in=there))
    _erase_chunks(Chunk.objects.filter(version__document__in=document_pks))
    with transaction.atomic():
        there = lock_documents(document_pks)
        versions = Version.objects.filter(document__in=there)
        uids = list(versions.values_list("uid", flat=True))
        Document.objects.filter(pk__in=there).delete()
    remove_folders([version_folder(uid) for uid in uids], files)


def erase_versions(version_pks: Sequence[int], files: DocumentFiles) -> None:
    """Delete versions that are not found; may be called again.

    Of those that are found or the newest of their document, nothing is deleted.
    """
    stale = stale_versions().filter(pk__in=version_pks)
    pks = list(stale.values_list("pk", flat=True))
    _erase_chunks(Chunk.objects.filter(version__in=pks))
    versions = Version.objects.filter(pk__in=pks)
    uids = list(versions.values_list("uid", flat=True))
    with transaction.atomic():
        versions.delete()
    remove_folders([version_folder(uid) for uid in uids], files)


def lock_documents(document_pks: Sequence[int]) -> list[int]:
    """Have nobody else change documents before the transaction ends; gives who is left.

    To be done before any of their versions is changed, and their collections first, as
    everywhere: else two of us wait for each other.
    """
    documents = Document.objects.filter(pk__in=document_pks)
    collections = Collection.objects.filter(pk__in=documents.values("collection"))
    lock(collections)
    return lock(documents)


def lock(rows: QuerySet[Row]) -> list[int]:
    """Have nobody else change rows before the transaction ends; gives who they are."""
    locked = rows.select_for_update(no_key=True).order_by("pk")
    return list(locked.values_list("pk", flat=True))


def withdraw(versions: QuerySet[Version]) -> None:
    """Have nobody work on versions any more; within a transaction.

    Without their cuts they would be begun anew, should they be queued again.
    """
    Cut.objects.filter(version__in=versions.values("pk")).delete()
    versions.update(state=DocumentState.FAILED, code=ERASED, reason=_REASON)


def remove_folders(folders: Iterable[str], files: DocumentFiles) -> None:
    """Remove folders whose rows are gone. What fails is left to upkeep."""
    removed = [folder for folder in folders if files.remove(folder)]
    for first in range(0, len(removed), ERASED_DOCUMENTS):
        some = removed[first : first + ERASED_DOCUMENTS]
        FileErasure.objects.filter(folder__in=some).delete()


def _erase_chunks(chunks: QuerySet[Chunk]) -> None:
    """Delete chunks and their vectors, some at a time."""
    while erase_some(chunks, ERASED_CHUNKS):
        time.sleep(PAUSE_S)


def erase_some(chunks: QuerySet[Chunk], limit: int) -> int:
    """Delete some chunks with their vectors in one transaction; gives how many."""
    with transaction.atomic():
        pks = list(chunks.order_by("pk").values_list("pk", flat=True)[:limit])
        ChunkVector.objects.filter(chunk__in=pks).delete()
        Chunk.objects.filter(pk__in=pks).delete()
    return len(pks)
