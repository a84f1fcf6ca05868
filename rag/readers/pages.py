"""How many pages or slides a document may have."""

from __future__ import annotations

from rag.errors import DocumentRefused
from rag.parsed import ParsingLimits


def check_pages(count: int, limits: ParsingLimits) -> None:
    """Pass a document of so many pages.

    Raises:
        DocumentRefused: It has too many.

    """
    if count > limits.max_pages:
        raise DocumentRefused(
            "too_many_pages",
            f"This file has {count:,} pages, and {limits.max_pages:,} are allowed: "
            "split it.",
        )
