"""Vectors of chunks: made in batches, kept as rows of 16-bit floats."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Collection, Sequence

from django.db import transaction
from django.db.models import F, QuerySet

from rag.cutting import Tools, check_embedding, lock_index
from rag.embedding_lanes import EmbeddingLanes
from rag.errors import EmbedderUnavailable
from rag.models import Chunk, ChunkVector, Index, IndexState, VectorState, Version
from rag.packed_vectors import pack

logger = logging.getLogger(__name__)

BATCH = 32
SOUND_TEXT = "A sentence."  # an embedder that refuses this is itself at fault


def unfinished(state: VectorState) -> QuerySet[Chunk]:
    """Give the chunks in a state, the oldest first.

    Says twice what it wants: SQLite takes the index of unfinished chunks only so.
    """
    chunks = Chunk.objects.filter(vector_state=state)
    return chunks.exclude(vector_state=VectorState.INDEXED).order_by("pk")


def embed(chunks: Sequence[Chunk], index: Index, tools: Tools) -> int:
    """Make and keep the vectors of one index's chunks; gives how many are no more pending.

    Each chunk has its `version` at hand. One that cannot be embedded counts as done: it
    is not tried again, and found by its words alone.

    Raises:
        EmbedderUnavailable: There is no embedder now; nothing is wrong with the chunks.
        IndexStuck: Another embedder has made the index's first vectors meanwhile.

    """
    texts = [
        tools.chunker.embedding_text(
            chunk.text, title=chunk.version.title, heading_path=chunk.heading_path
        )
        for chunk in chunks
    ]
    packed = _embed(tools.lanes, texts)
    made = {chunk.pk: data for chunk, data in zip(chunks, packed, strict=True)}
    with transaction.atomic():
        return _keep(made, index, tools)


def _embed(lanes: EmbeddingLanes, texts: Sequence[str]) -> list[bytes | None]:
    """Give a packed vector each, None where the text cannot be embedded."""
    try:
        return [pack(row) for row in lanes.embed_batch(texts)]
    except EmbedderUnavailable as error:
        if error.__cause__ is None:  # no run has failed: there is no embedder
            raise
        lanes.embed_batch([SOUND_TEXT])  # raises when the texts are not to blame
        return [_embed_alone(lanes, text) for text in texts]


def _embed_alone(lanes: EmbeddingLanes, text: str) -> bytes | None:
    try:
        return pack(lanes.embed_batch([text])[0])
    except EmbedderUnavailable as error:
        if error.__cause__ is None:
            raise
        logger.warning("a chunk cannot be embedded", extra={"reason": str(error)})
        return None


def _keep(made: dict[int, bytes | None], index: Index, tools: Tools) -> int:
    """Store vectors; chunks that are gone, or have theirs by now, are passed over."""
    state = lock_index(index)
    if not state:
        return 0
    check_embedding(index, tools.embedding)
    if not index.embedding:
        index.embedding = str(tools.embedding)
        index.dimension = tools.embedding.dimension
        index.save(update_fields=["embedding", "dimension"])
    locked = Chunk.objects.select_for_update(no_key=True).filter(
        pk__in=made, vector_state=VectorState.PENDING
    )
    pending = dict(locked.order_by("pk").values_list("pk", "version"))
    done = {pk: data for pk in pending if (data := made[pk]) is not None}
    ChunkVector.objects.bulk_create(
        [ChunkVector(chunk_id=pk, data=data) for pk, data in done.items()],
        ignore_conflicts=True,
    )
    _mark(done, VectorState.EMBEDDED)
    _mark(pending.keys() - done.keys(), VectorState.FAILED)
    if state == IndexState.ACTIVE:
        for version, count in sorted(Counter(pending[pk] for pk in done).items()):
            mine = Version.objects.filter(pk=version)
            mine.update(chunks_done=F("chunks_done") + count)
    return len(pending)


def _mark(pks: Collection[int], state: VectorState) -> None:
    if pks:
        Chunk.objects.filter(pk__in=pks).update(vector_state=state)
