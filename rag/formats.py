"""Which documents are accepted, and how their content tells them apart (pure)."""

from __future__ import annotations

import re
from pathlib import PurePath

from rag.errors import DocumentRefused

PDF = "application/pdf"
_OFFICE = "application/vnd.openxmlformats-officedocument"
DOCX = f"{_OFFICE}.wordprocessingml.document"
PPTX = f"{_OFFICE}.presentationml.presentation"
XLSX = f"{_OFFICE}.spreadsheetml.sheet"
HTML = "text/html"
MARKDOWN = "text/markdown"
CSV = "text/csv"
TEXT = "text/plain"
ACCEPTED = (PDF, DOCX, PPTX, XLSX, HTML, MARKDOWN, TEXT, CSV)
# Any zip; what is in it says whether it is one of the three office formats.
ARCHIVE = "application/zip"

HEAD_BYTES = 4096
PDF_WITHIN_BYTES = 1024  # readers look that far for the header
_ENCRYPTED_OFFICE = "EncryptedPackage".encode("utf-16-le")
_OLD_OFFICE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_WIDE_BOMS = (
    b"\xff\xfe",
    b"\xfe\xff",
)  # UTF-32's little-endian mark begins like UTF-16's
_UTF32_BE_BOM = b"\x00\x00\xfe\xff"
# Formats that are text on the surface only.
_DISGUISED = (b"{\\rtf", b"%!PS", b"<?xml", b"<svg", b"-----BEGIN", b"MIME-Version:")
_HTML = re.compile(
    rb"(?:\s|<!--.*?-->|<\?xml[^>]*>)*<(?:!doctype\s+html|html|head|body)\b",
    re.IGNORECASE | re.DOTALL,
)
_TAG = re.compile(rb"<[a-z][a-z0-9]*[\s/>]", re.IGNORECASE)
_BY_EXTENSION = {".md": MARKDOWN, ".markdown": MARKDOWN, ".csv": CSV}
_HTML_EXTENSIONS = frozenset({".html", ".htm", ".xhtml"})


def recognise(data: bytes, name: str) -> str:
    """Give the media type that the content has, `ARCHIVE` for every zip.

    `name`, the file's own, decides only between kinds of text, which content cannot tell
    apart.

    Raises:
        DocumentRefused: It is of no accepted type, or an encrypted office document.

    """
    head = data[:HEAD_BYTES]
    if b"%PDF-" in head[:PDF_WITHIN_BYTES]:
        return PDF
    if head.startswith(b"PK\x03\x04"):
        return ARCHIVE
    if head.startswith(_OLD_OFFICE):
        raise _old_office(data)
    wide = (*_WIDE_BOMS, _UTF32_BE_BOM)
    if b"\0" in head and not head.startswith(wide):
        raise unsupported("it is binary")
    return _kind_of_text(head.replace(b"\0", b""), PurePath(name).suffix.lower())


def unsupported(what: str) -> DocumentRefused:
    """Make the refusal of a document that is none of the accepted ones."""
    return DocumentRefused(
        "unsupported_type",
        f"This file cannot be read ({what}): bring a PDF, DOCX, PPTX, XLSX, HTML, "
        "Markdown, text or CSV file.",
    )


def _kind_of_text(head: bytes, extension: str) -> str:
    start = head.lstrip(b"\xef\xbb\xbf\xff\xfe \t\r\n")
    if _HTML.match(start):
        return HTML
    if start.startswith(_DISGUISED):
        raise unsupported("its format is another one")
    if extension in _HTML_EXTENSIONS and _TAG.search(start):
        return HTML
    return _BY_EXTENSION.get(extension, TEXT)


def _old_office(data: bytes) -> DocumentRefused:
    if _ENCRYPTED_OFFICE in data:
        return encrypted()
    return unsupported("it is of an Office before 2007")


def encrypted() -> DocumentRefused:
    """Make the refusal of a document that only a password opens."""
    return DocumentRefused(
        "encrypted", "This file is protected by a password: bring it without one."
    )


def corrupt() -> DocumentRefused:
    """Make the refusal of a document that is not what it begins as."""
    return DocumentRefused(
        "corrupt", "This file is damaged or not what it claims to be: save it anew."
    )
