"""What keeps memory whole in the background; the jobs process that leads does it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from memory import upkeep
from memory.models import Session
from rag.errors import EmbedderUnavailable, VectorStoreUnavailable

if TYPE_CHECKING:
    from rag.embedding_lanes import EmbeddingLanes
    from rag.vectorstore import VectorStore

logger = logging.getLogger(__name__)

OWN_VECTORS = timedelta(
    seconds=10
)  # who writes turns makes their vectors: wait so long
EMBEDDED = 32  # turns at a time
MIRRORED = 500
ERASED = 500
EXPIRED = 100
BATCHES_LIMIT_S = 2.0  # for each kind of work, before the next one has its turn
OFTEN_S = 1.0
REEMBEDDING_INTERVAL_S = 60.0
SHRINKING_INTERVAL_S = 30.0
SWEEPING_INTERVAL_S = 3600.0
VACUUM_INTERVAL_S = 3600.0


@dataclass(slots=True)
class Step:
    """Work that is done again and again; `due_s` is on the monotonic clock.

    `work` says whether there is more to do: then the interval is not waited for.
    `problem` is why it could not be done last time; it is logged once.
    """

    name: str
    work: Callable[[datetime], bool]
    interval_s: float
    due_s: float = 0.0
    problem: str = ""


class MemoryUpkeep:
    """Makes missing vectors, mirrors and erases them, ends what is over. Blocks."""

    def __init__(self, lanes: EmbeddingLanes, store: VectorStore | None) -> None:
        """Without a `store`, vectors stay where they are: with their turns."""
        self._lanes = lanes
        self._store = store
        self._erased = 0  # turns, when the database was last vacuumed
        self._steps = [
            Step("end sessions", self._expire, OFTEN_S),
            Step("make vectors", self._embed, OFTEN_S),
            Step("make vectors anew", self._reembed, REEMBEDDING_INTERVAL_S),
            Step("erase vectors", self._erase, OFTEN_S),
            Step("mirror vectors", self._mirror, OFTEN_S),
            Step("empty the log", self._shrink, SHRINKING_INTERVAL_S),
            Step("write the file anew", self._vacuum, VACUUM_INTERVAL_S),
            Step("sweep the vector store", self._sweep, SWEEPING_INTERVAL_S),
        ]

    def do_round(self, now: datetime) -> None:
        """Do a bounded part of everything that is due.

        Raises:
            django.db.Error: The database is away.

        """
        for step in self._steps:
            if step.due_s <= time.monotonic():
                step.due_s = time.monotonic() + step.interval_s
                if self._do(step, now):
                    step.due_s = 0.0

    def close(self) -> None:
        """Close the embedder and the store."""
        self._lanes.close()
        if self._store is not None:
            self._store.close()

    def _do(self, step: Step, now: datetime) -> bool:
        problem, has_more = "", False
        try:
            has_more = step.work(now)
        except (EmbedderUnavailable, VectorStoreUnavailable) as error:
            problem = str(error)
        if problem and not step.problem:
            logger.warning(
                "memory's upkeep waits", extra={"step": step.name, "reason": problem}
            )
        step.problem = problem
        return has_more

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

    def _vacuum(self, now: datetime) -> bool:
        self._erased = upkeep.vacuum(erased=self._erased)
        return self._shrink(now)

    def _shrink(self, now: datetime) -> bool:
        return not upkeep.shrink()

    def _sweep(self, now: datetime) -> bool:
        store, embedding = self._store, self._lanes.id
        if store is not None and embedding is not None:
            upkeep.sweep_orphans(store)
            upkeep.drop_old_spaces(store, embedding)
        return False


def batches(work: Callable[[], int], size: int) -> bool:
    """Do batch after batch until one is not full, or others have waited long enough.

    Gives whether there may be more.
    """
    until_s = time.monotonic() + BATCHES_LIMIT_S
    while work() == size:
        if time.monotonic() >= until_s:
            return True
    return False
