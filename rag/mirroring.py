"""What the vector store is told of chunks: their vectors, and which of them are gone."""

from __future__ import annotations

from collections.abc import Iterable

from django.db.models import QuerySet

from rag.chunk_vectors import unfinished
from rag.cutting import KEPT_INDEXES
from rag.models import Chunk, ChunkErasure, Index, IndexState, VectorState
from rag.packed_vectors import unpack
from rag.vectorstore import VectorStore

PREFIX = "rag-"
# Those that are being deleted are in none of these.
MIRRORED_INDEXES = (*KEPT_INDEXES, IndexState.PREVIOUS)
ROWS = (
    "pk", "uid", "index", "index__uid", "version",
    "version__document", "version__document__collection__tenant", "vector__data",
)  # fmt: skip


def space_of(index_uid: str) -> str:
    """Name the space of an index: an index goes as a whole, and so does its space."""
    return f"{PREFIX}{index_uid}"


def waiting_indexes() -> list[Index]:
    """Give the indexes with vectors that the vector store has not got."""
    indexes = Index.objects.filter(state__in=MIRRORED_INDEXES)
    waiting = unfinished(VectorState.EMBEDDED).order_by().values("index")
    return list(indexes.filter(pk__in=waiting).order_by("pk"))


def mirror(store: VectorStore, index: Index, limit: int) -> int:
    """Write vectors of an index that the vector store has not got into it.

    Raises:
        VectorStoreUnavailable: It is away; what was written is written again later.

    """
    rows = list(_waiting(index).values_list(*ROWS)[:limit])
    if not rows:
        return 0
    uids = [row[1] for row in rows]
    store.upsert(
        space_of(index.uid),
        uids,
        unpack([row[-1] for row in rows]),
        [
            {"tenant": tenant, "document": document, "version": version}
            for *_, version, document, tenant, _ in rows
        ],
    )
    there = Chunk.objects.filter(pk__in=[row[0] for row in rows])
    there.filter(vector_state=VectorState.EMBEDDED).update(
        vector_state=VectorState.INDEXED
    )
    # Deleted while they were on their way: their erasure may have come before them.
    left = set(there.values_list("uid", flat=True))
    note_erasures(index.uid, [uid for uid in uids if uid not in left])
    return len(rows)


def _waiting(index: Index) -> QuerySet[Chunk]:
    return unfinished(VectorState.EMBEDDED).filter(index=index)


def note_erasures(index_uid: str, uids: Iterable[str]) -> None:
    """Have upkeep remove these ids from an index's space; safe to call again."""
    ChunkErasure.objects.bulk_create(
        [ChunkErasure(index_uid=index_uid, uid=uid) for uid in uids],
        ignore_conflicts=True,
    )


def erase(store: VectorStore, limit: int) -> int:
    """Remove from the vector store what was deleted here; gives how many.

    Raises:
        VectorStoreUnavailable: It is away; nothing is forgotten.

    """
    noted = list(ChunkErasure.objects.values_list("pk", "index_uid", "uid")[:limit])
    by_index = dict[str, list[str]]()
    for _, index_uid, uid in noted:
        by_index.setdefault(index_uid, []).append(uid)
    for index_uid, uids in by_index.items():
        store.delete(space_of(index_uid), uids)
    ChunkErasure.objects.filter(pk__in=[pk for pk, _, _ in noted]).delete()
    return len(noted)


def drop_spaces(store: VectorStore) -> int:
    """Remove the spaces of indexes that are gone; gives how many.

    Raises:
        VectorStoreUnavailable: It is away.

    """
    # In this order: an index's row is there before its space.
    there = spaces(store)
    kept = {space_of(uid) for uid in Index.objects.values_list("uid", flat=True)}
    old = [space for space in there if space not in kept]
    for space in old:
        store.drop(space)
    return len(old)


def sweep_orphans(store: VectorStore) -> int:
    """Remove vectors from the store that have no chunk here; gives how many.

    Reads every id that is there, page by page.

    Raises:
        VectorStoreUnavailable: It is away.

    """
    removed = 0
    for space in spaces(store):
        mine = Chunk.objects.filter(index__uid=space.removeprefix(PREFIX))
        for page in store.ids(space):
            known = mine.filter(uid__in=page).values_list("uid", flat=True)
            if orphans := set(page) - set(known):
                store.delete(space, list(orphans))
                removed += len(orphans)
    return removed


def spaces(store: VectorStore) -> list[str]:
    """List the spaces of the store that are documents'."""
    return [each for each in store.spaces() if each.startswith(PREFIX)]
