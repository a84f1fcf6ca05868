"""What parsing a document gives, and what it may cost (pure)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class PageSpan:
    """Where a page's text is: `text[start:end]`; `number` counts from 1."""

    number: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Parsed:
    """A document's text: NFC, newlines between lines, no control character but tabs.

    It is Markdown where the document has headings and tables. `pages` are a PDF's pages
    or a presentation's slides, empty for all others. `title` may be empty.
    """

    text: str
    media_type: str
    pages: tuple[PageSpan, ...] = ()
    title: str = ""


@dataclass(frozen=True, slots=True)
class ParsingLimits:
    """How much one document may hold, and how much its parsing may take.

    The three about archives are for what a DOCX, PPTX or XLSX holds unpacked.
    """

    max_bytes: int = 25 * MIB
    max_pages: int = 500
    max_chars: int = 5_000_000
    max_archive_files: int = 5_000
    max_unpacked_bytes: int = 256 * MIB
    max_ratio: int = 100
    wall_s: float = 60.0
    cpu_s: int = 30
    memory_bytes: int = 512 * MIB


@dataclass(frozen=True, slots=True)
class Content:
    """What a reader finds: pages if `is_paged`, else lines or blocks of lines.

    `pieces` are read once, and only as far as the limits let them.
    """

    pieces: Iterable[str]
    title: str = ""
    is_paged: bool = False
