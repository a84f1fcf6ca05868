"""How far documents are that a command has brought."""

from __future__ import annotations

from collections.abc import Iterable

from rag.document_rows import record, rows_of
from rag.models import Collection, DocumentState
from rag.records import DocumentRecord
from rag.scope import Scope

UNFINISHED = (DocumentState.QUEUED, DocumentState.PARSING, DocumentState.EMBEDDING)
ROWS = 500  # of one query


class Watch:
    """Looks at some documents of a collection until each is ready or has failed."""

    def __init__(
        self, scope: Scope, collection: Collection, document_ids: Iterable[str]
    ) -> None:
        """Look at nothing yet."""
        self._scope = scope
        self._collection = collection
        self._waiting = dict.fromkeys(document_ids)
        self._total = len(self._waiting)
        self._begun = 0.0  # documents' worth of chunks that have their vector
        self.chunks = 0
        self.reason = ""

    @property
    def waiting(self) -> int:
        """How many are neither ready nor failed, as of the last look."""
        return len(self._waiting)

    @property
    def share(self) -> float:
        """How much is done, from 0 to 1; a document in work counts by its chunks."""
        if not self._total:
            return 1.0
        return (self._total - len(self._waiting) + self._begun) / self._total

    def look(self) -> list[DocumentRecord]:
        """Give those that have become ready or failed since the last look.

        Sets `chunks`, those of the unfinished with a vector, and `reason`, what the first
        of them waits for. One that was deleted meanwhile is waited for no more.
        """
        mine = rows_of(self._collection)
        rows = mine.filter(newest__state__in=UNFINISHED).order_by("newest")
        still = dict[str, None]()
        self._begun, self.chunks, self.reason = 0.0, 0, ""
        for uid, reason, chunks, done in rows.values_list(
            "uid", "newest__reason", "newest__chunks", "newest__chunks_done"
        ):
            if uid in self._waiting:
                still[uid] = None
                self.reason = self.reason or reason
                self.chunks += done
                self._begun += min(done / chunks, 1.0) if chunks else 0.0
        finished = [uid for uid in self._waiting if uid not in still]
        self._waiting = still
        return self._records(finished)

    def _records(self, uids: list[str]) -> list[DocumentRecord]:
        found = dict[str, DocumentRecord]()
        for first in range(0, len(uids), ROWS):
            some = rows_of(self._collection).filter(uid__in=uids[first : first + ROWS])
            found |= {each.uid: record(each, self._scope) for each in some}
        return [found[uid] for uid in uids if uid in found]
