"""Search by meaning: the question embedded, and the vector store asked, off the thread."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from rag.embedders import Embedders
from rag.errors import EmbedderUnavailable, VectorStoreUnavailable
from rag.mirroring import space_of
from rag.models import Index
from rag.vectorstore import NO_STORE, TIMEOUT_S, VectorStore

if TYPE_CHECKING:
    from rag.embedder import Vectors

THREADS = 8
# Of the time that is left, before the search goes on without the store: exact cosines
# from rows take their time, too.
STORE_SHARE = 0.6
LONGEST_WAIT_S = 600.0  # for callers without a deadline
MOST_HITS = 2_000  # of one question to the store
LATE = (
    "The documents could not be searched by meaning in time: AILB_CONTEXT_DEADLINE_MS "
    "gives more."
)


Answer: TypeAlias = Sequence[tuple[str, float]]


@dataclass(frozen=True, slots=True)
class Pool:
    """The indexes whose vectors may be compared: those of one embedding.

    `embedding` is empty where no vector has been made yet. The indexes have their
    collection at hand.
    """

    model: str
    precision: str
    embedding: str
    indexes: tuple[Index, ...]

    @property
    def pks(self) -> list[int]:
        """Give the indexes' rows."""
        return [index.pk for index in self.indexes]


@dataclass(slots=True)
class Nearest:
    """What the vector store said, and what it was asked with.

    `vector` is None when the question could not be embedded as the index is. `unheard`
    are the indexes that the store said nothing about; `has_more` says that it would give
    more if it were asked for more. `problem` says why something is missing.
    """

    vector: Vectors | None = None
    similarities: dict[str, float] = field(default_factory=dict)
    unheard: list[Index] = field(default_factory=list)
    has_more: bool = False
    problem: str = ""


class DenseSearch:
    """Embeds questions and asks the vector store. Safe from any thread; reads no rows."""

    def __init__(self, embedders: Embedders, store: VectorStore | None) -> None:
        """Without a `store` there are only vectors of questions."""
        self._embedders = embedders
        self._store = store
        # Two, so that what waits for others is never what they wait for.
        self._questions = ThreadPoolExecutor(THREADS, thread_name_prefix="question")
        self._queries = ThreadPoolExecutor(THREADS, thread_name_prefix="query")

    def begin(
        self, pool: Pool, text: str, *, limit: int, until_s: float
    ) -> Future[Nearest]:
        """Search a pool for its nearest chunks, `limit` of each index.

        With a limit of 0 the question is embedded, and nothing is searched.
        """
        return self._questions.submit(self._search, pool, text, limit, until_s)

    def ask(
        self, pool: Pool, vector: Vectors, *, limit: int, until_s: float
    ) -> Nearest:
        """Ask the store about every index of a pool, all at the same time."""
        nearest = Nearest(vector)
        if self._store is None:
            return Nearest(vector, unheard=list(pool.indexes), problem=NO_STORE)
        limit = min(limit, MOST_HITS)
        first, *rest = pool.indexes
        others = [
            (index, self._queries.submit(self._query, index, vector, limit, until_s))
            for index in rest
        ]
        self._hear(nearest, first, limit, self._query(first, vector, limit, until_s))
        for index, answer in others:
            self._hear(nearest, index, limit, answer.result())
        return nearest

    def close(self) -> None:
        """End the threads; what waits is given up."""
        for threads in (self._questions, self._queries):
            threads.shutdown(wait=False, cancel_futures=True)

    def _search(self, pool: Pool, text: str, limit: int, until_s: float) -> Nearest:
        lanes = self._embedders.of(pool.model, pool.precision)
        try:
            vector = lanes.embed_now(text, timeout_s=_left_s(until_s))
        except EmbedderUnavailable as error:
            return Nearest(problem=str(error))
        if str(lanes.id) != pool.embedding:
            return Nearest(problem=_other_embedding(pool, str(lanes.id)))
        if not limit:
            return Nearest(vector)
        return self.ask(pool, vector, limit=limit, until_s=until_s)

    def _query(
        self, index: Index, vector: Vectors, limit: int, until_s: float
    ) -> Answer | str:
        """Ask about one index; a text says why there is no answer."""
        assert self._store is not None
        timeout_s = min(STORE_SHARE * _left_s(until_s), TIMEOUT_S)
        try:
            return self._store.query(
                space_of(index.uid), vector, where={}, limit=limit, timeout_s=timeout_s
            )
        except VectorStoreUnavailable as error:
            return str(error)

    @staticmethod
    def _hear(nearest: Nearest, index: Index, limit: int, answer: Answer | str) -> None:
        if isinstance(answer, str):
            nearest.problem = answer
            nearest.unheard.append(index)
        else:
            nearest.similarities.update(answer)
            nearest.has_more |= len(answer) >= limit and limit < MOST_HITS


def wait_for(begun: Future[Nearest], *, until_s: float) -> Nearest:
    """Give what a search has found, or what is wrong with it, until a moment."""
    try:
        return begun.result(_left_s(until_s))
    except TimeoutError:
        begun.cancel()
        return Nearest(problem=LATE)


def _left_s(until_s: float) -> float:
    if math.isinf(until_s):
        return LONGEST_WAIT_S
    return max(0.0, min(until_s - time.monotonic(), LONGEST_WAIT_S))


def _other_embedding(pool: Pool, loaded: str) -> str:
    names = ", ".join(f"'{index.collection}'" for index in pool.indexes)
    return (
        f"The collection {names} was embedded by {pool.embedding}, and {loaded} is "
        "loaded: re-index it, or bring that model back. Until then it is searched by "
        "words alone."
    )
