"""The files of documents: one folder each, named by a row's uid, written whole."""

from __future__ import annotations

import logging
import os
import re
import secrets
import shutil
import unicodedata
from collections.abc import Iterator
from pathlib import Path, PurePath

from rag.fencing import sanitise

logger = logging.getLogger(__name__)

ORIGINAL = "original"
TEXT = "text"  # extracted, in UTF-8; of versions only
MAX_FILENAME_CHARS = 255
NO_NAME = "document"
_VERSIONS = "versions"
_STORED = "files"
_FOLDER = re.compile(rf"(?:{_VERSIONS}|{_STORED})/[0-9a-f]{{32}}")
_MAX_SUFFIX_CHARS = 16  # a longer one says nothing of a type


def version_folder(uid: str) -> str:
    """Give the folder of a version's files, as `FileErasure` names it."""
    return f"{_VERSIONS}/{uid}"


def stored_folder(uid: str) -> str:
    """Give the folder of a stored file, as `FileErasure` names it."""
    return f"{_STORED}/{uid}"


def clean_filename(filename: str) -> str:
    """Give what a document is called: nothing of a path, one visible line, not empty.

    At most 255 characters; a longer name keeps its extension.
    """
    base = re.split(r"[/\\]", filename)[-1]
    name = unicodedata.normalize("NFC", " ".join(sanitise(base).split()))
    if not name.strip(". "):
        return NO_NAME
    if len(name) <= MAX_FILENAME_CHARS:
        return name
    suffix = PurePath(name).suffix
    kept = suffix if len(suffix) <= _MAX_SUFFIX_CHARS else ""
    return name[: MAX_FILENAME_CHARS - len(kept)].rstrip() + kept


class DocumentFiles:
    """The folder of all documents' files. Blocking; safe from any thread and process.

    What is read was written whole. Names of clients are never part of a path.
    """

    def __init__(self, root: Path) -> None:
        """`root` is made with the first file."""
        self.root = root

    def put(self, folder: str, name: str, data: bytes) -> Path:
        """Write a file, which replaces one of its name, and give its place.

        It is on the disk when this returns. `folder` is of `version_folder` or
        `stored_folder`, `name` ORIGINAL or TEXT.

        Raises:
            OSError: It cannot be written; nothing is left of it.

        """
        place = self._place(folder)
        for needed in (self.root, place.parent, place):
            needed.mkdir(mode=0o700, parents=True, exist_ok=True)
        target, draft = place / name, place / f".{name}.{secrets.token_hex(8)}"
        try:
            _write(draft, data)
            draft.replace(target)
        except BaseException:
            draft.unlink(missing_ok=True)
            raise
        for changed in (place, place.parent, self.root):
            _flush_folder(changed)
        return target

    def path(self, folder: str, name: str) -> Path:
        """Give a file's place, whether or not it is there."""
        return self._place(folder) / name

    def read(self, folder: str, name: str) -> bytes:
        """Give a file's content.

        Raises:
            FileNotFoundError: It is not there.

        """
        return self.path(folder, name).read_bytes()

    def remove(self, folder: str) -> bool:
        """Remove a folder with all that is in it; may be called again.

        False, and a line in the log, when it cannot be removed now.
        """
        place = self._place(folder)
        try:
            shutil.rmtree(place)
        except FileNotFoundError:
            return True
        except OSError as error:
            logger.warning(
                "files could not be removed; it is tried again",
                extra={"folder": folder, "reason": str(error)},
            )
            return False
        return True

    def folders(self, *, before_s: float) -> Iterator[str]:
        """Give the folders that were last changed before a time, in seconds since 1970."""
        for kind in (_VERSIONS, _STORED):
            try:
                entries = list(os.scandir(self.root / kind))
            except FileNotFoundError:
                continue
            for entry in entries:
                folder = f"{kind}/{entry.name}"
                if _FOLDER.fullmatch(folder) and _changed_s(entry) < before_s:
                    yield folder

    def _place(self, folder: str) -> Path:
        """Give a folder's path; what is read from a row must not lead anywhere else."""
        if not _FOLDER.fullmatch(folder):
            raise ValueError(f"{folder!r} is no folder of documents' files.")
        return self.root / folder


def _write(path: Path, data: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _flush_folder(folder: Path) -> None:
    """Have a folder's names on the disk, too."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _changed_s(entry: os.DirEntry[str]) -> float:
    try:
        return entry.stat(follow_symlinks=False).st_mtime
    except FileNotFoundError:  # removed meanwhile
        return float("inf")
