"""The files of `/v1/files`, which a tenant keeps here to add them to collections."""

from __future__ import annotations

import hashlib

from django.db.models import QuerySet

from rag.erasure import remove_folders
from rag.errors import FileNotKept, InvalidField
from rag.files import ORIGINAL, DocumentFiles, clean_filename, stored_folder
from rag.models import StoredFile
from rag.records import FileRecord, Upload
from rag.scope import Scope
from rag.uploads import check_size

MAX_PURPOSE_CHARS = 32


class StoredFiles:
    """Keeps, lists, reads and deletes them. Blocking; safe from any thread."""

    def __init__(self, files: DocumentFiles) -> None:
        """`files` is where their content is kept."""
        self._files = files

    def keep(self, scope: Scope, upload: Upload, purpose: str) -> FileRecord:
        """Do what `rag.library.Library.keep_file` does."""
        if not (0 < len(purpose) <= MAX_PURPOSE_CHARS and purpose.isprintable()):
            raise InvalidField(
                f"'purpose' has 1 to {MAX_PURPOSE_CHARS} characters.", "purpose"
            )
        check_size(upload.data)
        stored = StoredFile(
            tenant_id=scope.tenant_id,
            filename=clean_filename(upload.filename),
            purpose=purpose,
            owner=scope.owner,
            sha256=hashlib.sha256(upload.data).hexdigest(),
            size=len(upload.data),
        )
        # Before the row, which is never without it.
        self._files.put(stored_folder(stored.uid), ORIGINAL, upload.data)
        stored.save(force_insert=True)
        return file_record(stored)

    def page(
        self, scope: Scope, *, purpose: str | None, after: str | None, limit: int
    ) -> tuple[list[FileRecord], bool]:
        """Do what `rag.library.Library.kept_files` does."""
        mine = _of(scope)
        if after is not None:
            try:
                mine = mine.filter(pk__lt=_find(scope, after).pk)
            except FileNotKept as error:
                raise InvalidField("'after' is no file's id.", "after") from error
        if purpose is not None:
            mine = (
                mine.filter(purpose=purpose) if purpose.isprintable() else mine.none()
            )
        found = list(mine.order_by("-pk")[: limit + 1])
        return [file_record(stored) for stored in found[:limit]], len(found) > limit

    def one(self, scope: Scope, file_id: str) -> FileRecord:
        """Do what `rag.library.Library.kept_file` does."""
        return file_record(_find(scope, file_id))

    def data(self, scope: Scope, file_id: str) -> bytes:
        """Do what `rag.library.Library.kept_file_data` does."""
        try:
            return self._files.read(stored_folder(_find(scope, file_id).uid), ORIGINAL)
        except FileNotFoundError as error:
            raise FileNotKept from error

    def delete(self, scope: Scope, file_id: str) -> None:
        """Do what `rag.library.Library.delete_file` does."""
        stored = _find(scope, file_id)
        folder = stored_folder(stored.uid)
        stored.delete()
        remove_folders([folder], self._files)


def _of(scope: Scope) -> QuerySet[StoredFile]:
    """Give the files that a scope may see: the one place that says so."""
    return StoredFile.objects.filter(tenant_id=scope.tenant_id)


def _find(scope: Scope, file_id: str) -> StoredFile:
    found = _of(scope).filter(uid=file_id).first() if file_id.isprintable() else None
    if found is None:
        raise FileNotKept
    return found


def file_record(stored: StoredFile) -> FileRecord:
    """Give a stored file as a value."""
    return FileRecord(
        id=stored.uid,
        filename=stored.filename,
        purpose=stored.purpose,
        size=stored.size,
        created_at=stored.created_at,
    )
