"""Files into a collection, by their names: what is there is replaced or left as it is."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from django.conf import settings

from rag.attributes import Value
from rag.document_rows import rows_of, same_content
from rag.errors import DocumentRefused
from rag.files import clean_filename
from rag.library import Library
from rag.models import Collection
from rag.records import DocumentRecord, Upload
from rag.scope import Scope


@dataclass(frozen=True, slots=True)
class Brought:
    """What became of a file: its document, or why there is none."""

    path: Path
    document: DocumentRecord | None = None
    is_new: bool = False
    problem: str = ""


class Bringer:
    """Brings files to a collection as whoever runs the installation."""

    def __init__(
        self,
        library: Library,
        scope: Scope,
        collection: Collection,
        attributes: Mapping[str, Value],
    ) -> None:
        """`attributes` are given to each document, where there are any."""
        self._library = library
        self.scope = scope
        self.collection = collection
        self._attributes = attributes
        self._claimed = set[str]()

    def claim(self, files: Iterable[Path]) -> None:
        """Find the documents that files have already: none of those is replaced."""
        for file in files:
            digest = _digest(file)
            known = same_content(self.collection, digest) if digest else None
            if known is not None:
                self._claimed.add(known.uid)

    def bring(self, file: Path) -> Brought:
        """Add a file, or put it in the place of the document of its name."""
        try:
            document, is_new = self._bring(file)
        except DocumentRefused as refused:
            return Brought(file, problem=str(refused))
        except OSError as error:
            reason = error.strerror or type(error).__name__
            return Brought(file, problem=f"It cannot be read or kept: {reason}.")
        self._claimed.add(document.id)
        return Brought(file, document, is_new)

    def _bring(self, file: Path) -> tuple[DocumentRecord, bool]:
        upload = Upload(file.name, _content(file), self._attributes)
        digest = hashlib.sha256(upload.data).hexdigest()
        known = same_content(self.collection, digest)
        place = None if known is not None else self._place(clean_filename(file.name))
        scope, name = self.scope, self.collection.name
        if place is not None:
            added = self._library.replace_document(scope, name, place, upload)
        else:
            added = self._library.add_document(scope, name, upload)
        if not added.is_new and self._attributes:
            uid, given = added.document.id, dict(self._attributes)
            changed = self._library.change_document(scope, name, uid, given)
            return changed, False
        return added.document, added.is_new

    def _place(self, filename: str) -> str | None:
        """Give the oldest document of a name that is no file's of this run."""
        named = rows_of(self.collection).filter(filename=filename).order_by("pk")
        return next((each.uid for each in named if each.uid not in self._claimed), None)


def _content(file: Path) -> bytes:
    """Read a file, of one that is too large only so much that it is seen to be."""
    with file.open("rb") as opened:
        return opened.read(settings.AILB_MAX_DOCUMENT_BYTES + 1)


def _digest(file: Path) -> str:
    """Give a file's SHA-256, empty when it cannot be read: that is told later."""
    try:
        with file.open("rb") as opened:
            return hashlib.file_digest(opened, "sha256").hexdigest()
    except OSError:
        return ""
