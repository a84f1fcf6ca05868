"""Documents as the event loop sees them: a few threads, one deadline, and a reranker."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from django.db import DatabaseError, InterfaceError

from gateway.collection_rules import KnownRules, read_rules
from gateway.database_threads import DatabaseThreads
from gateway.errors import AilbError, DatabaseAway
from gateway.parts import Parts, SharedParts
from gateway.reranking import Reranker, RerankFailed
from gateway.snapshot_store import DATABASE_AWAY
from rag.choosing import choose
from rag.errors import CollectionNotFound
from rag.metrics import RERANK_FAILURES, RETRIEVAL_DURATION, RETRIEVALS
from rag.questions import Candidates, RetrievalRequest, RetrievalStatus, Retrieved

if TYPE_CHECKING:  # it brings numpy: not before the first collection is asked for
    from rag.attributes import Filter
    from rag.library import Library
    from rag.scope import Scope

logger = logging.getLogger(__name__)

T = TypeVar("T")

SEARCH_THREADS = 4  # they wait for the embedder and the store more than they work
MOST_WAITING = 64  # retrievals that wait for a thread, or are in one
CALL_THREADS = 4  # for REST: an upload takes long, and retrievals must not wait
MOST_CALLS = 64
START_LIMIT_S = 10.0  # the first question of a process waits so long for the code
RESERVE = 0.1  # of the deadline, to bring back what a thread has found in time
SEARCH_LIMIT_S = 10.0  # a search of its own waits so long, then goes without
CLOSE_LIMIT_S = 1.0


class DocumentsUnavailable(AilbError):
    """What was asked needs documents, which cannot be read now."""

    status = 503
    code = "documents_unavailable"
    retry_after_s: float | None = 1.0


class Retrieving:
    """A process's documents. Everything is called in the event loop; nothing blocks it.

    Nothing is imported, loaded or started before it is first used.
    """

    def __init__(
        self, parts: SharedParts, reranker: Reranker, *, deadline_s: float
    ) -> None:
        """`deadline_s` is what a retrieval may take at most, beside memory's recall."""
        self._parts = parts
        self._reranker = reranker
        self._deadline_s = deadline_s
        self._rules = KnownRules()
        self._has_rules = False
        self._searches = DatabaseThreads(SEARCH_THREADS, name="ailb-retrieve")
        self._calls = DatabaseThreads(CALL_THREADS, name="ailb-documents")
        self._waiting = 0
        self._calling = 0
        self._last_problem = ""
        self._is_used = False

    @property
    def problem(self) -> str:
        """Why documents are not whole, in a sentence, as far as is known; empty: they are."""
        parts = self._parts.made
        if not self._is_used:
            return ""
        if parts is not None and parts.lanes.problem:
            return parts.lanes.problem
        if not self._last_problem:
            return ""
        return f"The last retrieval was not whole: {self._last_problem}"

    async def start(self) -> Parts:
        """Put documents together, and begin to load their embedder; once."""
        self._is_used = True
        parts = await self._parts.get()
        if not self._has_rules:
            self._rules.state(await self._calls.run(read_rules))
            self._has_rules = True
        return parts

    async def retrieve(self, request: RetrievalRequest) -> Retrieved:
        """Find what answers a question, within the deadline.

        DEGRADED when there was no time or no room, or something is away; nothing is
        raised for that.

        Raises:
            CollectionNotFound: There is one that the scope may not read, or that is not
                there.

        """
        began_s = time.monotonic()
        retrieved = await self._retrieve(request)
        RETRIEVAL_DURATION.observe(time.monotonic() - began_s)
        RETRIEVALS.labels(retrieved.status.value).inc()
        return retrieved

    async def _retrieve(self, request: RetrievalRequest) -> Retrieved:
        if self._waiting >= MOST_WAITING:
            return self._missed(request, "Too many requests wait for documents.")
        self._waiting += 1
        try:
            async with asyncio.timeout(START_LIMIT_S):
                parts = await self.start()
            return await self._retrieve_in_time(parts.library, request)
        except CollectionNotFound:
            raise
        except TimeoutError:
            problem = "Documents did not answer in time."
        except DATABASE_AWAY:
            problem = "The database does not answer."
        except Exception:  # a process edge: a chat must not fail for its documents
            logger.exception("retrieving failed")
            problem = "Documents failed; it has been logged."
        finally:
            self._waiting -= 1
        return self._missed(request, problem)

    async def _retrieve_in_time(
        self, library: Library, request: RetrievalRequest
    ) -> Retrieved:
        until_s = time.monotonic() + self._deadline_s * (1 - RESERVE)
        async with asyncio.timeout(self._deadline_s):
            found, chosen = await self._searches.run(
                lambda: searched(library, request, until_s=until_s)
            )
            self._rules.learn(request, found)
            if chosen is None:
                found, scores = await self._rerank(found, request, until_s=until_s)
                chosen = await self._searches.run(lambda: choose(found, scores))
        self._last_problem = found.problem
        return chosen

    async def _rerank(
        self, found: Candidates, request: RetrievalRequest, *, until_s: float
    ) -> tuple[Candidates, dict[str, float] | None]:
        """Give a reranker's scores; or none, and candidates that say why."""
        assert found.rerank is not None
        texts = found.texts()
        try:
            scores = await self._reranker.scores(
                found.rerank, request.query, texts, until_s=until_s
            )
        except RerankFailed as error:
            RERANK_FAILURES.inc()
            return replace(found, problem=found.problem or str(error)), None
        return found, scores

    def _missed(self, request: RetrievalRequest, problem: str) -> Retrieved:
        """Make the outcome of a question that was not answered."""
        self._last_problem = problem
        rules = self._rules.of(request)
        return Retrieved(
            RetrievalStatus.DEGRADED,
            is_strict=rules.is_strict,
            is_required=rules.is_required,
            is_searched=False,
            problem=problem,
        )

    async def search(
        self,
        scope: Scope,
        names: tuple[str, ...],
        query: str,
        k: int,
        filters: Filter | None = None,
    ) -> Retrieved:
        """Find at most `k` chunks for somebody who waits for nothing else, best first.

        Neighbours stay apart, and no budget of tokens counts. What is away is left out,
        and `problem` says so.

        Raises:
            CollectionNotFound: There is one that the scope may not read, or that is not
                there.
            DatabaseAway: The database does not answer.
            DocumentsUnavailable: Too many calls are waiting.

        """
        request = RetrievalRequest(scope, names, query, top_k=k, filters=filters)
        until_s = time.monotonic() + SEARCH_LIMIT_S
        found, chosen = await self.call(
            lambda library: searched(library, request, until_s=until_s, is_alone=True)
        )
        if chosen is None:
            found, scores = await self._rerank(found, request, until_s=until_s)
            chosen = await self.call(lambda _: choose(found, scores))
        self._last_problem = found.problem
        return chosen

    async def call(self, work: Callable[[Library], T]) -> T:
        """Do blocking work with documents in a thread.

        Raises whatever `work` raises.

        Raises:
            DatabaseAway: The database does not answer.
            DocumentsUnavailable: Too many calls are waiting, or files cannot be read or
                written.

        """
        if self._calling >= MOST_CALLS:
            raise DocumentsUnavailable(
                "Too many calls wait for documents. Try again later."
            )
        self._calling += 1
        try:
            parts = await self.start()
            return await self._calls.run(lambda: work(parts.library))
        except (DatabaseError, InterfaceError) as error:
            raise DatabaseAway(
                "The documents' database cannot be reached. Try again later."
            ) from error
        except OSError as error:
            logger.exception("documents' files cannot be reached")
            raise DocumentsUnavailable(
                "The documents' files cannot be read or written now. The operator finds "
                "the reason in the log."
            ) from error
        finally:
            self._calling -= 1

    async def aclose(self) -> None:
        """End the threads; after the last call, and before the parts are closed."""
        async with asyncio.TaskGroup() as closing:
            for threads in (self._searches, self._calls):
                closing.create_task(threads.aclose(limit_s=CLOSE_LIMIT_S))


def searched(
    library: Library,
    request: RetrievalRequest,
    *,
    until_s: float,
    is_alone: bool = False,
) -> tuple[Candidates, Retrieved | None]:
    """Find the candidates, and choose of them where no reranker is to order them; blocks.

    `is_alone`: for nobody's prompt, so that no budget of tokens counts, and neighbours
    stay apart. Raises like `Library.candidates`.
    """
    found = library.candidates(request, until_s=until_s)
    if is_alone:
        found = replace(
            found,
            selection=replace(found.selection, max_tokens=None, joins_neighbours=False),
        )
    is_ordered = found.rerank is None or not found.ranked
    return found, choose(found, None) if is_ordered else None
