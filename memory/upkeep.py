"""What the background process does for memory: every function one bounded batch."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from django.db.models import Q, QuerySet

from memory.erasure import erase_sessions, note_erasures
from memory.metrics import WAITING_TURNS
from memory.models import EmbeddingState, Session, Turn, TurnVector, VectorErasure
from memory.search import SPACE_KIND
from memory.turns import unit_of
from memory.vectors import embed, keep_vectors
from rag.embedder import EmbeddingId
from rag.packed_vectors import unpack
from rag.vectorstore import VectorStore, space_name

if TYPE_CHECKING:
    from rag.embedding_lanes import EmbeddingLanes

MIRRORED = (
    "pk", "uid", "seq", "session_id", "session__tenant_id", "vector__data",
)  # fmt: skip


def unfinished(state: EmbeddingState) -> QuerySet[Turn]:
    """Give the turns in a state, the oldest first.

    Says twice what it wants: SQLite takes the index of unfinished turns only so.
    """
    turns = Turn.objects.filter(embedding_state=state)
    return turns.exclude(embedding_state=EmbeddingState.INDEXED).order_by("pk")


def count_waiting() -> int:
    """Count the turns that wait for their vector, for the metric, too."""
    count = unfinished(EmbeddingState.PENDING).count()
    WAITING_TURNS.set(count)
    return count


def embed_waiting(
    lanes: EmbeddingLanes, limit: int, *, before: datetime | None = None
) -> int:
    """Make the vectors of turns that wait; of those made before a time only, if given.

    A turn that cannot be embedded counts as done: it is not tried again.

    Raises:
        EmbedderUnavailable: There is no embedder; loading is waited for.

    """
    count_waiting()
    waiting = unfinished(EmbeddingState.PENDING)
    if before is not None:
        waiting = waiting.filter(created_at__lt=before)
    return _embed(lanes, list(waiting[:limit]))


def reembed(lanes: EmbeddingLanes, limit: int) -> int:
    """Make vectors anew that another embedder made than the one that is loaded."""
    if lanes.id is None:
        lanes.start()
        return 0
    current = str(lanes.id)
    # Two ranges, which an index can find; "not equal" reads every row.
    others = Q(vector__embedding__lt=current) | Q(vector__embedding__gt=current)
    return _embed(lanes, list(Turn.objects.filter(others).order_by("pk")[:limit]))


def _embed(lanes: EmbeddingLanes, turns: list[Turn]) -> int:
    if turns:
        units = [unit_of(turn.role, turn.text) for turn in turns]
        keep_vectors(turns, embed(lanes, units))
    return len(turns)


def mirror(store: VectorStore, embedding: EmbeddingId | str, limit: int) -> int:
    """Write vectors of one embedding that the vector store has not got into it.

    Raises:
        VectorStoreUnavailable: It is away; what was written is written again later.

    """
    turns = unfinished(EmbeddingState.EMBEDDED).filter(vector__embedding=str(embedding))
    rows = list(turns.values_list(*MIRRORED)[:limit])
    if not rows:
        return 0
    uids = [row[1] for row in rows]
    store.upsert(
        space_name(SPACE_KIND, embedding),
        uids,
        unpack([row[5] for row in rows]),
        [
            {"tenant": tenant, "session": session, "seq": seq}
            for _, _, seq, session, tenant, _ in rows
        ],
    )
    there = Turn.objects.filter(pk__in=[row[0] for row in rows])
    there.filter(embedding_state=EmbeddingState.EMBEDDED).update(
        embedding_state=EmbeddingState.INDEXED
    )
    # Deleted while they were on their way: their erasure may have come before them.
    left = set(there.values_list("uid", flat=True))
    note_erasures([uid for uid in uids if uid not in left])
    return len(rows)


def erase(store: VectorStore, limit: int) -> int:
    """Remove from the vector store what was deleted here.

    Raises:
        VectorStoreUnavailable: It is away; nothing is forgotten.

    """
    noted = dict(VectorErasure.objects.values_list("pk", "uid")[:limit])
    if noted:
        store.delete_everywhere(list(noted.values()))
        VectorErasure.objects.filter(pk__in=list(noted)).delete()
    return len(noted)


def expire(now: datetime, limit: int) -> int:
    """Erase sessions whose end has come; gives how many."""
    ended = Session.objects.filter(expires_at__lte=now).order_by("expires_at")
    return erase_sessions(list(ended.values_list("pk", flat=True)[:limit]))


def drop_old_spaces(store: VectorStore, embedding: EmbeddingId | str) -> int:
    """Remove the spaces of embeddings of which no vector is left; gives how many.

    That of `embedding` stays.

    Raises:
        VectorStoreUnavailable: It is away.

    """
    needed = {str(embedding)}
    needed |= set(TurnVector.objects.values_list("embedding", flat=True).distinct())
    kept = {space_name(SPACE_KIND, each) for each in needed}
    old = [space for space in spaces(store) if space not in kept]
    for space in old:
        store.drop(space)
    return len(old)


def sweep_orphans(store: VectorStore) -> int:
    """Remove vectors from the store that have no turn here; gives how many.

    Reads every id that is there, page by page.

    Raises:
        VectorStoreUnavailable: It is away.

    """
    removed = 0
    for space in spaces(store):
        for page in store.ids(space):
            known = Turn.objects.filter(uid__in=page).values_list("uid", flat=True)
            if orphans := set(page) - set(known):
                store.delete(space, list(orphans))
                removed += len(orphans)
    return removed


def spaces(store: VectorStore) -> list[str]:
    """List the spaces of the store that are memory's."""
    return [each for each in store.spaces() if each.startswith(f"{SPACE_KIND}-")]
