"""What the background process does for documents: every function one bounded batch."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import chain

from django.utils import timezone

from rag.chunk_vectors import unfinished as chunks_in
from rag.cutting import batched
from rag.erasure import erase_versions, stale_versions
from rag.files import DocumentFiles, stored_folder, version_folder
from rag.metrics import note_waiting
from rag.models import (
    DocumentState,
    FileErasure,
    StoredFile,
    VectorState,
    Version,
)
from rag.version_texts import unfinished

ORPHANED_AFTER = timedelta(hours=1)  # files are written before their row
LOOKED_UP = 500  # rows by their uid in one query


def count_waiting() -> tuple[int, int]:
    """Count the documents on their way and the chunks without a vector.

    For the metrics, too.
    """
    states = [DocumentState.QUEUED, DocumentState.PARSING, DocumentState.EMBEDDING]
    documents = unfinished(states).count()
    chunks = chunks_in(VectorState.PENDING).count()
    note_waiting(documents, chunks)
    return documents, chunks


def erase_stale(files: DocumentFiles, limit: int) -> int:
    """Delete versions that were replaced, where that was stopped; gives how many."""
    pks = list(stale_versions().order_by("pk").values_list("pk", flat=True)[:limit])
    if pks:
        erase_versions(pks, files)
    return len(pks)


def remove_files(files: DocumentFiles, limit: int) -> int:
    """Remove folders whose rows are gone; gives how many could be.

    One that cannot be removed now is tried again after all others.
    """
    noted = FileErasure.objects.order_by("created_at", "pk")
    folders = list(noted.values_list("folder", flat=True)[:limit])
    removed = [folder for folder in folders if files.remove(folder)]
    FileErasure.objects.filter(folder__in=removed).delete()
    left = set(folders) - set(removed)
    if left:
        FileErasure.objects.filter(folder__in=left).update(created_at=timezone.now())
    return len(removed)


def sweep_folders(files: DocumentFiles, now: datetime) -> int:
    """Remove folders that have no row, an hour after they were last written to.

    Gives how many. Reads the names of all folders.
    """
    removed = 0
    before_s = (now - ORPHANED_AFTER).timestamp()
    for folders in batched(files.folders(before_s=before_s), LOOKED_UP):
        uids = [folder.rpartition("/")[2] for folder in folders]
        versions = Version.objects.filter(uid__in=uids).values_list("uid", flat=True)
        stored = StoredFile.objects.filter(uid__in=uids).values_list("uid", flat=True)
        known = set(chain(map(version_folder, versions), map(stored_folder, stored)))
        removed += sum(files.remove(each) for each in folders if each not in known)
    return removed
