"""Cosines from rows: whole and exact, for as many chunks as can be read for a question."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

from django.db.models import QuerySet

from rag.chunk_vectors import unfinished
from rag.embedder import Vectors
from rag.models import Chunk, VectorState
from rag.packed_vectors import unpack
from rag.passages import current, visible

EXACT_CHUNKS = 4_000
# As quick as the store, which is then not asked: it passes over what lies behind many
# equal chunks.
SMALL_CHUNKS = 1_000
# Vectors that the store has not got yet, of all collections: more are not looked at.
UNMIRRORED = 1_000
PKS = 500  # of one query: what every database takes


def is_small(indexes: Sequence[int]) -> bool:
    """Tell whether indexes hold so little, found or not, that rows are searched."""
    chunks = Chunk.objects.order_by().filter(index__in=indexes)
    return not chunks[SMALL_CHUNKS : SMALL_CHUNKS + 1].exists()


def exact(
    vector: Vectors, indexes: Sequence[int], documents: Iterable[int] | None = None
) -> dict[str, float] | None:
    """Give every visible chunk's cosine by uid; None where there are too many.

    `documents` are the rows that are searched, None for all. Chunks without a vector are
    left out. All indexes are of the vector's embedding.
    """
    chunks = visible(indexes)
    if documents is None:
        return _cosines(vector, [chunks])
    return _cosines(
        vector,
        (chunks.filter(version__document__in=part) for part in _parts(documents)),
    )


def exact_unmirrored(
    vector: Vectors, indexes: Sequence[int]
) -> dict[str, float] | None:
    """Give the cosines of the visible chunks that the vector store has not got.

    None where there are too many to tell.
    """
    waiting = unfinished(VectorState.EMBEDDED).values_list("pk", "index")
    rows = list(waiting[: UNMIRRORED + 1])
    if len(rows) <= UNMIRRORED:
        mine = set(indexes)
        pks = [pk for pk, index in rows if index in mine]
        return _cosines(vector, (current().filter(pk__in=part) for part in _parts(pks)))
    ours = visible(indexes).filter(vector_state=VectorState.EMBEDDED)
    return None if ours.exclude(vector_state=VectorState.INDEXED).exists() else {}


def cosines(vector: Vectors, pks: Iterable[int]) -> dict[str, float]:
    """Give the cosines of some visible chunks by uid."""
    parts = (current().filter(pk__in=part) for part in _parts(pks))
    return _cosines(vector, parts) or {}


def _cosines(
    vector: Vectors, parts: Iterable[QuerySet[Chunk]]
) -> dict[str, float] | None:
    uids, data = list[str](), list[bytes | memoryview]()
    for chunks in parts:
        kept = chunks.filter(vector__isnull=False).values_list("uid", "vector__data")
        for uid, row in kept[: EXACT_CHUNKS + 1 - len(uids)]:
            uids.append(uid)
            data.append(row)
        if len(uids) > EXACT_CHUNKS:
            return None
    if not uids:
        return {}
    return dict(zip(uids, (unpack(data) @ vector).tolist(), strict=True))


def _parts(pks: Iterable[int]) -> Iterator[list[int]]:
    rest = iter(pks)
    while part := list(islice(rest, PKS)):
        yield part
