"""Vectors of turns: made in batches, kept as rows of 16-bit floats."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import compress
from typing import TYPE_CHECKING

from django.db import transaction
from django.db.models import F

from memory.metrics import EMBEDDING_FAILURES
from memory.models import EmbeddingState, Session, Turn, TurnVector
from rag.errors import EmbedderUnavailable
from rag.packed_vectors import pack

if TYPE_CHECKING:
    from rag.embedding_lanes import EmbeddingLanes

logger = logging.getLogger(__name__)

SOUND_UNIT = "user: Hello."  # an embedder that refuses this is itself at fault


@dataclass(frozen=True, slots=True)
class Embedded:
    """What became of texts: a packed vector each, None where the text cannot be embedded."""

    embedding: str
    data: tuple[bytes | None, ...]

    def only(self, wanted: Iterable[bool]) -> Embedded:
        """Give the part that is wanted."""
        return Embedded(self.embedding, tuple(compress(self.data, wanted)))


def embed(lanes: EmbeddingLanes, units: Sequence[str]) -> Embedded:
    """Embed on the background lane; blocks until the embedder is loaded and done.

    Raises:
        EmbedderUnavailable: There is no embedder now; nothing is wrong with the texts.

    """
    try:
        data: list[bytes | None] = [pack(row) for row in lanes.embed_batch(units)]
    except EmbedderUnavailable as error:
        if error.__cause__ is None:  # no run has failed: there is no embedder
            raise
        lanes.embed_batch([SOUND_UNIT])  # raises when the texts are not to blame
        data = [_embed_alone(lanes, unit) for unit in units]
    return Embedded(str(lanes.id), tuple(data))


def _embed_alone(lanes: EmbeddingLanes, unit: str) -> bytes | None:
    try:
        return pack(lanes.embed_batch([unit])[0])
    except EmbedderUnavailable as error:
        if error.__cause__ is None:
            raise
        EMBEDDING_FAILURES.inc()
        logger.warning("a turn cannot be embedded", extra={"reason": str(error)})
        return None


def vector_rows(
    turns: Iterable[Turn], embedded: Embedded
) -> tuple[list[TurnVector], list[Turn]]:
    """Give the rows of what was embedded, and the turns that cannot be."""
    rows, failed = list[TurnVector](), list[Turn]()
    for turn, data in zip(turns, embedded.data, strict=True):
        if data is None:
            failed.append(turn)
        else:
            rows.append(TurnVector(turn=turn, embedding=embedded.embedding, data=data))
    return rows, failed


def keep_vectors(turns: Sequence[Turn], embedded: Embedded) -> None:
    """Store the vectors of stored turns, in place of older ones; gone turns are skipped."""
    sessions = {turn.session_id for turn in turns}
    with transaction.atomic():
        # The session first, as everybody who changes its turns does: no deadlocks.
        locked = Session.objects.select_for_update().filter(pk__in=sessions)
        there = set(locked.order_by("pk").values_list("pk", flat=True))
        rows, failed = vector_rows(turns, embedded)
        rows = [row for row in rows if row.turn.session_id in there]
        write_vectors(rows)
        _mark([row.turn_id for row in rows], EmbeddingState.EMBEDDED)
        _mark([turn.pk for turn in failed], EmbeddingState.FAILED)
        Session.objects.filter(pk__in=there).update(version=F("version") + 1)


def write_vectors(rows: Sequence[TurnVector]) -> None:
    """Insert vectors or put them in the place of those that are there."""
    TurnVector.objects.bulk_create(
        rows,
        batch_size=300,
        update_conflicts=True,
        unique_fields=["turn"],
        update_fields=["embedding", "data"],
    )


def _mark(turn_pks: Sequence[int], state: EmbeddingState) -> None:
    for first in range(0, len(turn_pks), 500):
        some = Turn.objects.filter(pk__in=turn_pks[first : first + 500])
        some.update(embedding_state=state)
