"""Which documents a filter means: their attributes are read from rows."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from django.db.models import QuerySet, Sum

from rag.attributes import Filter, matches
from rag.models import Document

ROWS = 1_000  # between two looks at the clock


class OutOfTime(Exception):
    """A question could not be answered in time."""


@dataclass(slots=True)
class Meant:
    """The documents of one collection that are meant, by row, and how many chunks they have."""

    documents: set[int] = field(default_factory=set)
    chunks: int = 0


def find_meant(
    collections: Sequence[int], filters: Filter, *, until_s: float
) -> dict[int, Meant]:
    """Find the documents that are meant, by collection; one entry for each collection.

    Raises:
        OutOfTime: There was not enough until this moment on the monotonic clock.

    """
    meant = {pk: Meant() for pk in collections}
    documents = _searchable(collections)
    if not matches(filters, {}):
        documents = documents.exclude(attributes={})
    rows = documents.values_list("collection", "pk", "attributes", "current__chunks")
    for number, row in enumerate(rows.iterator(chunk_size=ROWS)):
        if number % ROWS == 0 and time.monotonic() >= until_s:
            raise OutOfTime
        collection, pk, attributes, chunks = row
        if matches(filters, attributes):
            meant[collection].documents.add(pk)
            meant[collection].chunks += chunks
    return meant


def count_chunks(collections: Sequence[int]) -> int:
    """Count what can be found in these collections, filtered or not."""
    found = _searchable(collections).aggregate(chunks=Sum("current__chunks"))
    return found["chunks"] or 0


def _searchable(collections: Sequence[int]) -> QuerySet[Document]:
    mine = Document.objects.filter(collection__in=collections, current__isnull=False)
    return mine.order_by()
