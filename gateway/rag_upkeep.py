"""What keeps documents whole in the background; the jobs process that leads does it."""

from __future__ import annotations

import time
from datetime import datetime
from typing import TYPE_CHECKING

from gateway.upkeep import BATCHES_LIMIT_S, Step, Upkeep, batches
from rag import keyword_upkeep, mirroring, reindexing, upkeep

if TYPE_CHECKING:
    from rag.files import DocumentFiles
    from rag.vectorstore import VectorStore

ERASED = 500
FILES = 100
OFTEN_S = 1.0
COUNTING_INTERVAL_S = 5.0
TIDYING_INTERVAL_S = 60.0
SWEEPING_INTERVAL_S = 3600.0


class RagUpkeep(Upkeep):
    """Removes what belongs to nothing any more, and counts what waits. Blocks."""

    def __init__(self, store: VectorStore | None, files: DocumentFiles) -> None:
        """Without a `store`, what is to leave it stays noted."""
        self._store = store
        self._files = files
        steps = [
            Step("count what waits", self._count, COUNTING_INTERVAL_S),
            Step("delete indexes", self._erase_indexes, OFTEN_S),
            Step("erase vectors", self._erase, OFTEN_S),
            Step("drop spaces", self._drop_spaces, TIDYING_INTERVAL_S),
            Step("remove files", self._remove_files, OFTEN_S),
            Step("delete old versions", self._erase_stale, TIDYING_INTERVAL_S),
            Step("tidy the keyword index", self._tidy, TIDYING_INTERVAL_S),
            Step("sweep the files", self._sweep_files, SWEEPING_INTERVAL_S),
            Step("sweep the vector store", self._sweep, SWEEPING_INTERVAL_S),
        ]
        super().__init__("documents' upkeep", steps)

    def _count(self, now: datetime) -> bool:
        upkeep.count_waiting()
        return False

    def _erase_indexes(self, now: datetime) -> bool:
        return batches(reindexing.erase_dropped, reindexing.ERASED_CHUNKS)

    def _erase(self, now: datetime) -> bool:
        store = self._store
        if store is None:
            return False
        return batches(lambda: mirroring.erase(store, ERASED), ERASED)

    def _drop_spaces(self, now: datetime) -> bool:
        if self._store is not None:
            mirroring.drop_spaces(self._store)
        return False

    def _remove_files(self, now: datetime) -> bool:
        return batches(lambda: upkeep.remove_files(self._files, FILES), FILES)

    def _erase_stale(self, now: datetime) -> bool:
        return batches(lambda: upkeep.erase_stale(self._files, FILES), FILES)

    def _tidy(self, now: datetime) -> bool:
        until_s = time.monotonic() + BATCHES_LIMIT_S
        while not keyword_upkeep.optimize():
            if time.monotonic() >= until_s:
                return True
        return False

    def _sweep_files(self, now: datetime) -> bool:
        upkeep.sweep_folders(self._files, now)
        return False

    def _sweep(self, now: datetime) -> bool:
        if self._store is not None:
            mirroring.sweep_orphans(self._store)
        return False
