"""The zip that an office document is: what it may hold, and what it says it is."""

from __future__ import annotations

import io
import posixpath
from zipfile import ZIP_DEFLATED, ZIP_STORED, BadZipFile, ZipFile, ZipInfo

from defusedxml import ElementTree

from rag.errors import DocumentRefused
from rag.formats import DOCX, PPTX, XLSX, corrupt, encrypted, unsupported
from rag.parsed import MIB, ParsingLimits

_TYPES = "[Content_Types].xml"
_CORE = "docProps/core.xml"
_TITLE = ".//{http://purl.org/dc/elements/1.1/}title"
# The content type of the main part, with and without macros, which nobody runs here.
_MAIN_PARTS = {
    f"{DOCX}.main+xml": DOCX,
    "application/vnd.ms-word.document.macroEnabled.main+xml": DOCX,
    f"{PPTX}.main+xml": PPTX,
    "application/vnd.ms-powerpoint.presentation.macroEnabled.main+xml": PPTX,
    f"{XLSX}.main+xml": XLSX,
    "application/vnd.ms-excel.sheet.macroEnabled.main+xml": XLSX,
}
# Below this a ratio says nothing: a small empty document shrinks well, too.
_MIN_BOMB_BYTES = 10 * MIB
_ENCRYPTED_FLAG = 0x1


def open_archive(data: bytes, limits: ParsingLimits) -> ZipFile:
    """Open a zip whose files, as it declares them, are within the limits.

    Python's reader gives no more of a file than its declared size.

    Raises:
        DocumentRefused: It is a bomb, encrypted or damaged.

    """
    try:
        archive = ZipFile(io.BytesIO(data))
    except (BadZipFile, ValueError, NotImplementedError) as error:
        raise corrupt() from error
    entries = archive.infolist()
    unpacked = sum(entry.file_size for entry in entries)
    if (
        len(entries) > limits.max_archive_files
        or unpacked > limits.max_unpacked_bytes
        or unpacked > max(_MIN_BOMB_BYTES, limits.max_ratio * len(data))
    ):
        raise DocumentRefused(
            "zip_bomb",
            "This file unpacks to far more than a document holds: save it anew, with "
            "less in it.",
        )
    _check_entries(entries)
    return archive


def main_part(archive: ZipFile) -> tuple[str, str]:
    """Give the media type of an office document and the path of its main part.

    Raises:
        DocumentRefused: It is none, but some other zip.

    """
    if _TYPES not in archive.namelist():
        raise unsupported("it is an archive: unpack it")
    for element in ElementTree.fromstring(archive.read(_TYPES), forbid_dtd=True):
        media_type = _MAIN_PARTS.get(element.get("ContentType", ""))
        if media_type is not None and element.get("PartName"):
            return media_type, element.get("PartName", "").lstrip("/")
    raise unsupported("it is an office document of another kind")


def core_title(archive: ZipFile) -> str:
    """Give the title in an office document's properties, empty without one."""
    if _CORE not in archive.namelist():
        return ""
    core = ElementTree.fromstring(archive.read(_CORE), forbid_dtd=True)
    return core.findtext(_TITLE) or ""


def related_parts(archive: ZipFile, part: str) -> dict[str, str]:
    """Give the paths of the parts that one names, by id; none outside the archive."""
    folder, name = posixpath.split(part)
    path = f"{folder}/_rels/{name}.rels"
    names = set(archive.namelist())
    if path not in names:
        return {}
    targets = {
        link.get("Id", ""): posixpath.normpath(
            posixpath.join("/", folder, link.get("Target", ""))
        ).lstrip("/")
        for link in ElementTree.fromstring(archive.read(path), forbid_dtd=True)
    }
    return {key: target for key, target in targets.items() if target in names}


def _check_entries(entries: list[ZipInfo]) -> None:
    if any(entry.flag_bits & _ENCRYPTED_FLAG for entry in entries):
        raise encrypted()
    if any(entry.compress_type not in {ZIP_STORED, ZIP_DEFLATED} for entry in entries):
        raise corrupt()
