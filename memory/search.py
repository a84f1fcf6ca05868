"""Finding turns of a session: dense where there are vectors, by keywords always."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from memory.cache import SessionCache
from memory.matrix import Flags, Similarities
from memory.models import Session
from memory.ranking import Scores, rank
from memory.session_copy import OutOfTime, SessionCopy
from rag.embedder import EmbeddingId, Vectors
from rag.errors import EmbedderUnavailable, VectorStoreUnavailable
from rag.vectorstore import VectorStore, space_name

if TYPE_CHECKING:
    from rag.embedding_lanes import EmbeddingLanes

logger = logging.getLogger(__name__)

SPACE_KIND = "memory"
EXACT_TURNS = 5_000  # sessions above have the vector store search their vectors
STORE_HITS = 200
STORE_SHARE = 0.5  # of the time that is left, before the search goes on without it
STORE_WAIT_S = 5.0  # and at most
MAX_WAIT_S = 600.0  # longest wait for a lock: for callers without a deadline


@dataclass(frozen=True, slots=True)
class Question:
    """What is searched for; `vector` is None when it could not be embedded: `problem`."""

    text: str
    vector: Vectors | None
    embedding: EmbeddingId | None
    problem: str = ""


class SessionSearch:
    """Searches sessions through the cache. Thread-safe; `until_s` is monotonic."""

    def __init__(
        self, lanes: EmbeddingLanes, store: VectorStore | None, cache: SessionCache
    ) -> None:
        """`store` is asked about large sessions only; None: they are searched here."""
        self._lanes = lanes
        self._store = store
        self._cache = cache

    @contextmanager
    def reading(self, session: Session, *, until_s: float) -> Iterator[SessionCopy]:
        """Hold a session's copy, brought up to date.

        Raises:
            OutOfTime: It could not be read in time.
            SessionGone: It was deleted meanwhile.

        """
        copy = self._cache.copy_of(session.pk)
        left_s = max(0.0, min(until_s - time.monotonic(), MAX_WAIT_S))
        if not copy.lock.acquire(timeout=left_s):
            raise OutOfTime
        try:
            copy.refresh(session, until_s=until_s)
            yield copy
        finally:
            self._cache.weigh(session.pk, copy)
            copy.lock.release()

    def question(self, text: str, *, until_s: float) -> Question:
        """Embed what is asked, if that can be done in time."""
        left_s = max(0.0, min(until_s - time.monotonic(), MAX_WAIT_S))
        try:
            vector = self._lanes.embed_now(text, timeout_s=left_s)
        except EmbedderUnavailable as error:
            return Question(text, None, None, str(error))
        return Question(text, vector, self._lanes.id)

    def near(
        self, session: Session, question: Question, *, until_s: float
    ) -> list[tuple[str, float]]:
        """Ask the vector store about a large session: uids and cosines, best first.

        Nothing where it need not be asked, or cannot say.
        """
        if self._store is None or question.vector is None:
            return []
        if session.last_seq <= EXACT_TURNS:
            return []
        left_s = max(0.0, until_s - time.monotonic())
        try:
            return self._store.query(
                space_name(SPACE_KIND, question.embedding),
                question.vector,
                where={"tenant": session.tenant_id, "session": session.pk},
                limit=STORE_HITS,
                timeout_s=min(left_s * STORE_SHARE, STORE_WAIT_S),
            )
        except VectorStoreUnavailable as error:
            logger.debug("exact search instead", extra={"reason": str(error)})
            return []


def score(
    copy: SessionCopy,
    question: Question,
    near: Sequence[tuple[str, float]],
    *,
    usable: Flags,
    until_s: float,
) -> Scores:
    """Score the turns of a copy that is being held; `near` as the vector store gave it."""
    dense: Similarities | None = None
    if near:
        dense = copy.scattered(near)
    elif question.vector is not None and question.embedding is not None:
        dense = copy.dense(question.vector, question.embedding, until_s=until_s)
    return rank(copy.keywords, question.text, dense, usable=usable)
