"""Conversation memory, for whoever has a thread to spare: recall, write, read, erase."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from django.utils import timezone

from memory import store
from memory.cache import SessionCache
from memory.config import Policy
from memory.erasure import erase_sessions
from memory.errors import SessionNotFound
from memory.exchange import Exchanged, RecallRequest, RecallStatus, Recollection
from memory.importing import Importer
from memory.metrics import RECALL_DURATION
from memory.recall import Recall
from memory.records import Hit, Imported, SessionPage, TurnPage
from memory.search import SessionSearch, score
from memory.session_copy import SessionGone
from memory.writer import DATABASE_AWAY, Writer
from rag.scope import Scope
from rag.vectorstore import VectorStore

if TYPE_CHECKING:
    from rag.embedding_lanes import EmbeddingLanes

logger = logging.getLogger(__name__)

CACHE_BYTES = 128 * 2**20
SEARCH_EMBEDDING_S = 10.0  # a search waits so long for the embedder, then goes without


class Memory:
    """Everything memory does for requests. Blocks; safe from any thread.

    Nothing of another tenant than the scope's is ever read or changed. Errors of the
    database (`django.db.Error`) come through from all but `recall` and `write`.
    """

    def __init__(
        self,
        lanes: EmbeddingLanes,
        vectors: VectorStore | None,
        *,
        secret: str,
        cache_bytes: int = CACHE_BYTES,
    ) -> None:
        """`vectors` is asked about sessions of more than 5,000 turns only.

        `secret` must be the same in every process: fences are made from it.
        """
        self._cache = SessionCache(cache_bytes)
        self._search = SessionSearch(lanes, vectors, self._cache)
        self._recall = Recall(self._search, secret)
        self._writer = Writer(lanes)
        self._importer = Importer(lanes)

    def recall(self, request: RecallRequest, *, deadline_s: float) -> Recollection:
        """Add what the session knows to a request; never raises.

        `deadline_s` is on the monotonic clock. What cannot be done by then is left out,
        and the status says so.
        """
        began_s = time.monotonic()
        recollection = self._recollect(request, deadline_s)
        RECALL_DURATION.observe(time.monotonic() - began_s)
        return recollection

    def _recollect(self, request: RecallRequest, deadline_s: float) -> Recollection:
        try:
            return self._recall.recollect(request, until_s=deadline_s)
        except DATABASE_AWAY as error:
            logger.warning("no memory: database away", extra={"reason": str(error)})
            problem = "the database does not answer"
        except (
            Exception
        ) as error:  # an edge: no fault of ours may cost a chat its answer
            logger.exception("a recall failed")
            problem = f"a fault ({type(error).__name__}): see the log"
        return Recollection(RecallStatus.DEGRADED, problem=problem)

    def write(self, exchanges: Sequence[Exchanged]) -> int:
        """Store what is new in finished requests; gives how many turns that is.

        Rows come first, then vectors, where the embedder is loaded; upkeep makes those
        that are missed. Raises like `memory.writer.Writer.write`.
        """
        return self._writer.write(exchanges)

    def import_turns(
        self,
        scope: Scope,
        session_id: str,
        turns: object,
        *,
        policy: Policy,
        now: datetime,
    ) -> Imported:
        """Store turns from another system; see `memory.importing.Importer`."""
        return self._importer.import_turns(
            scope, session_id, turns, policy=policy, now=now
        )

    def search(
        self, scope: Scope, session_id: str, query: str, k: int = 10
    ) -> list[Hit]:
        """Find at most `k` turns of a session, best first, by meaning and keywords.

        Turns of left branches and those that broke off are not found.

        Raises:
            SessionNotFound: The tenant has no such session.

        """
        session = store.get_session(scope, session_id, now=timezone.now())
        question = self._search.question(
            query, until_s=time.monotonic() + SEARCH_EMBEDDING_S
        )
        near = self._search.near(session, question, until_s=math.inf)
        try:
            with self._search.reading(session, until_s=math.inf) as copy:
                scores = score(
                    copy, question, near, usable=copy.usable, until_s=math.inf
                )
                best = scores.best(k)
                uids = [copy.turns[found.position].uid for found in best]
        except SessionGone as error:
            raise SessionNotFound(session_id) from error
        turns = store.turns_by_uid(session, uids)
        return [
            Hit(store.turn_record(turns[uid]), found.score, found.parts)
            for uid, found in zip(uids, best, strict=True)
            if uid in turns
        ]

    def sessions(
        self, scope: Scope, *, after: str | None = None, limit: int = 100
    ) -> SessionPage:
        """Give a page of the tenant's sessions, the last used first.

        Raises:
            InvalidCursor: `after` is not the `next` of a page.

        """
        return store.page_of_sessions(
            scope, after=after, limit=limit, now=timezone.now()
        )

    def turns(
        self,
        scope: Scope,
        session_id: str,
        *,
        after_seq: int = 0,
        limit: int = 100,
        with_superseded: bool = False,
    ) -> TurnPage:
        """Give a session and a page of its turns.

        Raises:
            SessionNotFound: The tenant has no such session.

        """
        session = store.get_session(scope, session_id, now=timezone.now())
        found = store.turns_after(
            session, after_seq, limit=limit + 1, with_superseded=with_superseded
        )
        page = tuple(store.turn_record(turn) for turn in found[:limit])
        next_seq = page[-1].seq if len(found) > limit else None
        return TurnPage(store.session_record(session), page, next_seq)

    def export(self, scope: Scope, session_id: str) -> dict[str, object]:
        """Give everything that is stored of a session, left branches too, as JSON.

        Raises:
            SessionNotFound: The tenant has no such session.

        """
        session = store.get_session(scope, session_id, now=timezone.now())
        turns = [store.turn_record(turn).as_dict() for turn in store.all_turns(session)]
        return {
            **store.session_record(session).as_dict(),
            "settings": session.settings,
            "ttl_days": session.ttl_days,
            "summary": session.summary,
            "summary_upto": session.summary_upto,
            "turns": turns,
        }

    def delete_session(self, scope: Scope, session_id: str) -> None:
        """Erase a session.

        Raises:
            SessionNotFound: The tenant has no such session.

        """
        if not self._erase(store.pks_of(scope, session_id=session_id)):
            raise SessionNotFound(session_id)

    def delete_owner(self, scope: Scope, owner: str) -> int:
        """Erase the tenant's sessions that a key began, by its public id; counts them."""
        return self._erase(store.pks_of(scope, owner=owner))

    def delete_all(self, scope: Scope) -> int:
        """Erase every session of the tenant; counts them."""
        return self._erase(store.pks_of(scope))

    def _erase(self, session_pks: Sequence[int]) -> int:
        erased = erase_sessions(session_pks)
        self._cache.forget(session_pks)
        return erased
