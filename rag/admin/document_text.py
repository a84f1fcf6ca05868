"""A document's text as its page shows it: a part at a time, with places in it."""

from __future__ import annotations

from dataclasses import dataclass

from django.http import QueryDict

from rag.admin.service import Refused, library, refusals, scope_of
from rag.admin.shelf import number_in
from rag.models import Document

PAGE_CHARS = 6_000
FROM, TO, PAGE = "from", "to", "part"  # in the URL
CONTEXT_CHARS = 600  # before what is marked


@dataclass(frozen=True, slots=True)
class ShownText:
    """Characters `start` to `end` of `total`, in three parts; the middle one is marked.

    `problem` says why there is none. `previous` and `next` are where the other pages
    begin, None for none.
    """

    before: str = ""
    marked: str = ""
    after: str = ""
    start: int = 0
    end: int = 0
    total: int = 0
    previous: int | None = None
    next: int | None = None
    pdf_pages: str = ""
    problem: str = ""


def text_of(document: Document, asked: QueryDict) -> ShownText:
    """Give the part of the text that the URL asks for, the beginning by default."""
    collection = document.collection
    try:
        with refusals():
            text = library().document_text(
                scope_of(collection), collection.name, document.uid
            )
    except Refused as refused:
        return ShownText(problem=str(refused))
    low = number_in(asked.get(FROM, ""))
    high = number_in(asked.get(TO, ""))
    if low < high <= len(text):
        start = max(0, low - CONTEXT_CHARS)
        return part_of(document, text, start, mark=(low, high))
    return part_of(document, text, number_in(asked.get(PAGE, "")), mark=(0, 0))


def part_of(
    document: Document, text: str, start: int, *, mark: tuple[int, int]
) -> ShownText:
    """Cut a part out of the text; what is marked is whole, however long."""
    start = start if start < len(text) else 0
    low, high = mark if mark[1] else (start, start)
    end = min(len(text), max(start + PAGE_CHARS, high))
    return ShownText(
        before=text[start:low],
        marked=text[low:high],
        after=text[high:end],
        start=start,
        end=end,
        total=len(text),
        previous=max(0, start - PAGE_CHARS) if start else None,
        next=end if end < len(text) else None,
        pdf_pages=pages_between(document, start, end),
    )


def pages_between(document: Document, start: int, end: int) -> str:
    """Say which pages of the document a part is from; empty without pages."""
    spans = document.current.page_spans if document.current else []
    numbers = [number for number, low, high in spans if low < end and high > start]
    if not numbers:
        return ""
    first, last = min(numbers), max(numbers)
    return f"page {first}" if first == last else f"pages {first} to {last}"
