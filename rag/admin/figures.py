"""How pages write sizes, types, times and states."""

from __future__ import annotations

from typing import Any

from django.template.defaultfilters import filesizeformat
from django.utils import timezone
from django.utils.formats import date_format

from rag.formats import (
    ARCHIVE,
    CSV,
    DOCX,
    HTML,
    MARKDOWN,
    PDF,
    PPTX,
    TEXT,
    XLSX,
)
from rag.models import DocumentState

MOMENT = "j M Y H:i"
NONE = "-"
TYPES = {
    PDF: "PDF",
    DOCX: "Word",
    PPTX: "PowerPoint",
    XLSX: "Excel",
    HTML: "HTML",
    MARKDOWN: "Markdown",
    CSV: "CSV",
    TEXT: "text",
    ARCHIVE: "Office",
}
# The theme's badges by state.
COLOURS = {
    DocumentState.QUEUED.value: "info",
    DocumentState.PARSING.value: "info",
    DocumentState.EMBEDDING.value: "info",
    DocumentState.READY.value: "success",
    DocumentState.FAILED.value: "danger",
}
FINAL = (DocumentState.READY, DocumentState.FAILED)


def size(number: int | None) -> str:
    """Write bytes."""
    return NONE if number is None else filesizeformat(number)


def count(number: int | None) -> str:
    """Write how many, with thousands apart."""
    return NONE if number is None else f"{number:,}"


def kind(media_type: str) -> str:
    """Write what type a document has; "-" before that is known."""
    return TYPES.get(media_type, media_type) or NONE


def moment(at: Any) -> str:
    """Write a moment in UTC; "-" for none."""
    return date_format(timezone.localtime(at), MOMENT) if at else NONE


def counted(number: int, noun: str) -> str:
    """Write how many there are of what."""
    return f"{number:,} {noun if number == 1 else f'{noun}s'}"


def percent(done: int, total: int) -> int:
    """Give a share, 0 to 100; less than 100 as long as something is missing."""
    return 100 if done >= total else 100 * done // total
