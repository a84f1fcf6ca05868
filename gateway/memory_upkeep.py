"""What keeps memory whole in the background; the jobs process that leads does it."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from gateway.upkeep import Step, Upkeep, batches
from memory import upkeep
from memory.models import Session

if TYPE_CHECKING:
    from rag.embedding_lanes import EmbeddingLanes
    from rag.vectorstore import VectorStore

OWN_VECTORS = timedelta(
    seconds=10
)  # who writes turns makes their vectors: wait so long
EMBEDDED = 32  # turns at a time
MIRRORED = 500
ERASED = 500
EXPIRED = 100
OFTEN_S = 1.0
REEMBEDDING_INTERVAL_S = 60.0
SWEEPING_INTERVAL_S = 3600.0


class MemoryUpkeep(Upkeep):
    """Makes missing vectors, mirrors and erases them, ends what is over. Blocks."""

    def __init__(self, lanes: EmbeddingLanes, store: VectorStore | None) -> None:
        """Without a `store`, vectors stay where they are: with their turns."""
        self._lanes = lanes
        self._store = store
        steps = [
            Step("end sessions", self._expire, OFTEN_S),
            Step("make vectors", self._embed, OFTEN_S),
            Step("make vectors anew", self._reembed, REEMBEDDING_INTERVAL_S),
            Step("erase vectors", self._erase, OFTEN_S),
            Step("mirror vectors", self._mirror, OFTEN_S),
            Step("sweep the vector store", self._sweep, SWEEPING_INTERVAL_S),
        ]
        super().__init__("memory's upkeep", steps)

    def _expire(self, now: datetime) -> bool:
        return batches(lambda: upkeep.expire(now, EXPIRED), EXPIRED)

    def _embed(self, now: datetime) -> bool:
        """Make vectors once the embedder is there: nothing here waits for it."""
        upkeep.count_waiting()
        lanes, before = self._lanes, now - OWN_VECTORS
        if lanes.id is None:
            if Session.objects.exists():
                lanes.start()
            return False
        return batches(
            lambda: upkeep.embed_waiting(lanes, EMBEDDED, before=before), EMBEDDED
        )

    def _reembed(self, now: datetime) -> bool:
        lanes = self._lanes
        if lanes.id is None:
            return Session.objects.exists()  # soon
        return batches(lambda: upkeep.reembed(lanes, EMBEDDED), EMBEDDED)

    def _erase(self, now: datetime) -> bool:
        store = self._store
        if store is None:
            return False
        return batches(lambda: upkeep.erase(store, ERASED), ERASED)

    def _mirror(self, now: datetime) -> bool:
        store, embedding = self._store, self._lanes.id
        if store is None or embedding is None:
            return False
        return batches(lambda: upkeep.mirror(store, embedding, MIRRORED), MIRRORED)

    def _sweep(self, now: datetime) -> bool:
        store, embedding = self._store, self._lanes.id
        if store is not None and embedding is not None:
            upkeep.sweep_orphans(store)
            upkeep.drop_old_spaces(store, embedding)
        return False
