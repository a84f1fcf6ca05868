"""One question to one pool of collections: by meaning and by words, then fused."""

from __future__ import annotations

import heapq
import math
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rag.dense_search import MOST_HITS, DenseSearch, Nearest, Pool, wait_for
from rag.exact_search import (
    EXACT_CHUNKS,
    cosines,
    exact,
    exact_unmirrored,
    is_small,
)
from rag.filtering import Meant, count_chunks
from rag.fusion import Fused, fuse
from rag.keyword_index import keyword_scores
from rag.passages import Found, visible

if TYPE_CHECKING:
    from rag.embedder import Vectors

# What the store is asked for, for each chunk that is wanted: some of what it knows is of
# versions that are not found any more, or not yet.
ASKED = 2
ASKED_AGAIN = 4  # times as many
NO_VECTORS = "The collection's chunks are being embedded: until then it is searched by words alone."
NOT_MIRRORED = (
    "Not all vectors are in the vector store yet: they are being written, or 'manage.py "
    "runjobs' does not run."
)


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked: `wanted` is how many candidates each search is to give.

    `dense_until_s` leaves time for what has to come after the search by meaning.
    """

    text: str
    wanted: int
    dense_until_s: float
    until_s: float


@dataclass(slots=True)
class PoolSearch:
    """The steps of a search, in the order in which they are called; for one thread.

    `meant` are the documents that are searched, None for all.
    """

    dense: DenseSearch
    pool: Pool
    question: Question
    meant: Meant | None = None
    problem: str = ""
    similarities: dict[str, float] | None = None
    keywords: dict[int, float] = field(default_factory=dict)
    _begun: Future[Nearest] | None = None
    _nearest: Nearest = field(default_factory=Nearest)
    _limit: int = 0

    def begin(self) -> None:
        """Have the question embedded and the store asked, on other threads."""
        if self._is_in_vain:
            return
        if not self.pool.embedding:
            if visible(self.pool.pks).exists():
                self.problem = NO_VECTORS
            return
        self._limit = self._first_limit()
        self._begun = self.dense.begin(
            self.pool,
            self.question.text,
            limit=self._limit,
            until_s=self.question.dense_until_s,
        )

    def find_words(self) -> None:
        """Search by words."""
        if self._is_in_vain:
            return
        self.keywords = keyword_scores(
            self.pool.pks,
            self.question.text,
            limit=self.question.wanted,
            document_pks=None if self.meant is None else self.meant.documents,
        )

    def finish(self) -> None:
        """Wait for what was begun, and fill in from rows what the store does not know."""
        if self._begun is None:
            return
        nearest = wait_for(self._begun, until_s=self.question.dense_until_s)
        if nearest.vector is not None and not self._limit:
            found = self._exact(nearest.vector, self.pool.pks)
            if found is not None:
                self._nearest, self.similarities = nearest, found
                return
            self._limit = ASKED * self.question.wanted
            nearest = self._ask(nearest)
        self._nearest, self.problem = nearest, nearest.problem
        if nearest.vector is not None:
            self._fill_in(nearest)

    def wants_more(self, found: Mapping[str, Found]) -> bool:
        """Tell whether too little of what the store gave can be seen, and it has more."""
        return (
            self._nearest.has_more
            and self.similarities is not None
            and len(self._seen(self.similarities, found)) < self.question.wanted
            and time.monotonic() < self.question.dense_until_s
        )

    def ask_again(self) -> None:
        """Ask the store for more of it."""
        self._limit *= ASKED_AGAIN
        self._nearest = self._ask(self._nearest)
        assert self.similarities is not None  # or nothing was wanted
        self.similarities |= self._nearest.similarities

    def ranking(self, found: Mapping[str, Found]) -> list[Fused]:
        """Rank what may be seen; all of it is in `found`."""
        uids = {each.pk: uid for uid, each in found.items()}
        words = {uids[pk]: s for pk, s in self.keywords.items() if pk in uids}
        words = self._seen(words, found)
        near = None
        if self.similarities is not None:
            near = self._best(self._seen(self.similarities, found))
            near |= self._cosines([found[uid].pk for uid in words if uid not in near])
        return fuse(near, words)

    def _cosines(self, pks: Sequence[int]) -> dict[str, float]:
        """Give the cosines of what was found by its words alone.

        Else its score would be of words alone, as if it were far away, which often it is
        not: measured on documents, this is half of what the fusion gains.
        """
        vector = self._nearest.vector
        return {} if vector is None or not pks else cosines(vector, pks)

    def _best(self, similarities: Mapping[str, float]) -> dict[str, float]:
        """Give as many of the nearest as are wanted."""
        order = heapq.nsmallest(
            self.question.wanted,
            similarities.items(),
            key=lambda item: (-item[1], item[0]),
        )
        return dict(order)

    def _seen(
        self, scores: Mapping[str, float], found: Mapping[str, Found]
    ) -> dict[str, float]:
        mine = set(self.pool.pks)
        return {
            uid: score
            for uid, score in scores.items()
            if (each := found.get(uid))
            and each.index in mine
            and (self.meant is None or each.document in self.meant.documents)
        }

    def _first_limit(self) -> int:
        """Give how many the store is asked for; 0 where rows are searched instead."""
        limit = ASKED * self.question.wanted
        if is_small(self.pool.pks):
            return 0
        if self.meant is None:
            return limit
        if self.meant.chunks <= EXACT_CHUNKS:
            return 0
        among = count_chunks([index.collection_id for index in self.pool.indexes])
        return min(MOST_HITS, math.ceil(limit * among / self.meant.chunks))

    @property
    def _is_in_vain(self) -> bool:
        """Tell whether a filter leaves nothing to be searched."""
        return self.meant is not None and not self.meant.documents

    def _exact(
        self, vector: Vectors, indexes: Sequence[int]
    ) -> dict[str, float] | None:
        """Give the best cosines from rows, None where there are too many to read."""
        documents = None if self.meant is None else sorted(self.meant.documents)
        found = exact(vector, indexes, documents)
        return None if found is None else self._best(found)

    def _ask(self, before: Nearest) -> Nearest:
        assert before.vector is not None
        return self.dense.ask(
            self.pool,
            before.vector,
            limit=self._limit,
            until_s=self.question.dense_until_s,
        )

    def _fill_in(self, nearest: Nearest) -> None:
        """Read the vectors that the store did not tell of."""
        assert nearest.vector is not None
        unheard = [index.pk for index in nearest.unheard]
        heard = [pk for pk in self.pool.pks if pk not in unheard]
        late = exact_unmirrored(nearest.vector, heard) if heard else {}
        if late is None:
            unheard, late = self.pool.pks, {}
            self.problem = nearest.problem or NOT_MIRRORED
        rest = self._exact(nearest.vector, unheard) if unheard else {}
        if rest is not None:
            self.problem = ""
        if heard or rest is not None:
            self.similarities = nearest.similarities | late | (rest or {})
