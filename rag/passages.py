"""Chunks as they are found: only those of what serves, whoever names them."""

from __future__ import annotations

import math
from collections.abc import Collection as Some, Iterable, Mapping
from dataclasses import dataclass

from django.db.models import F, Q, QuerySet

from rag.fusion import Passage
from rag.models import Chunk

CHARS_PER_TOKEN = 3.5  # of prose, as models count; memory's estimate is the same
FIELDS = (
    "pk", "uid", "index", "version__document", "version__document__uid",
    "version__document__filename", "text", "start", "end", "page", "tokens",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Found:
    """A chunk's passage, and the rows that it belongs to."""

    pk: int
    index: int
    document: int
    passage: Passage


def current() -> QuerySet[Chunk]:
    """Give the chunks of the versions that are found, in every index."""
    return Chunk.objects.order_by().filter(version__document__current=F("version"))


def visible(indexes: Iterable[int]) -> QuerySet[Chunk]:
    """Give the chunks of these indexes that are of the versions that are found."""
    return current().filter(index__in=list(indexes))


def read_found(
    names: Mapping[int, str], *, uids: Some[str], pks: Some[int]
) -> dict[str, Found]:
    """Read the visible ones of some chunks in one query, by uid.

    `names` are the collections' by the index that may be read of each; chunks of all
    other indexes are as if they were not there.
    """
    if not (uids or pks):
        return {}
    named = Q(uid__in=list(uids)) | Q(pk__in=list(pks))
    rows = current().filter(named).values_list(*FIELDS)
    # Said to the database, it would read all chunks of the index instead of these few.
    return {row[1]: _found(row, names) for row in rows if row[2] in names}


def _found(
    row: tuple[int, str, int, int, str, str, str, int, int, int | None, int],
    names: Mapping[int, str],
) -> Found:
    pk, uid, index, document, document_uid, filename, text, start, end, page, tokens = (
        row
    )
    passage = Passage(
        chunk_id=uid,
        document_id=document_uid,
        filename=filename,
        text=text,
        start=start,
        end=end,
        page=page,
        # Word pieces are more than a large model's tokens, but not for every script.
        tokens=max(tokens, math.ceil(len(text) / CHARS_PER_TOKEN)),
        collection=names[index],
    )
    return Found(pk, index, document, passage)
