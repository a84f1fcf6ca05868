"""Writing finished exchanges: rows first, in one transaction a session, then vectors."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from django.db import InterfaceError, OperationalError, transaction

from memory import store
from memory.alignment import WritePlan, plan
from memory.exchange import Exchanged
from memory.metrics import TURNS_WRITTEN, WRITES_DROPPED
from memory.models import Session, Turn
from memory.settings_field import read_settings
from memory.turns import Said, answer_of, said_in, tokens_of, unit_of
from memory.vectors import embed, keep_vectors
from rag.errors import EmbedderUnavailable

if TYPE_CHECKING:
    from rag.embedding_lanes import EmbeddingLanes

logger = logging.getLogger(__name__)

DATABASE_AWAY = (OperationalError, InterfaceError, OSError)
# Newest messages of a request that are looked for in the whole session.
KNOWN_MESSAGES = 300


class Writer:
    """Stores exchanges; thread-safe."""

    def __init__(self, lanes: EmbeddingLanes) -> None:
        """`lanes` make the vectors as soon as the embedder is loaded."""
        self._lanes = lanes

    def write(self, exchanges: Sequence[Exchanged]) -> int:
        """Store what is new in these, in their order; gives how many turns that is.

        Those that cannot be stored are logged, counted and dropped. Given again they
        change nothing.

        Raises:
            OperationalError, InterfaceError, OSError: The database is away; some may be
                stored.

        """
        turns = list[Turn]()
        for group in _by_session(exchanges):
            turns += self._store(group)
        TURNS_WRITTEN.inc(len(turns))
        self._embed(turns)
        return len(turns)

    def _store(self, group: Sequence[Exchanged]) -> list[Turn]:
        try:
            with transaction.atomic():
                return [turn for each in group for turn in _store_exchange(each)]
        except DATABASE_AWAY:
            raise
        except Exception:  # an edge: one exchange's fault must not cost the others
            if len(group) > 1:
                return [turn for each in group for turn in self._store([each])]
            WRITES_DROPPED.labels("fault").inc()
            logger.exception("an exchange is not remembered")
        return []

    def _embed(self, turns: Sequence[Turn]) -> None:
        """Make the vectors now if that can be; upkeep sees to what is left."""
        if not turns:
            return
        if self._lanes.id is None:
            self._lanes.start()
            return
        try:
            units = [unit_of(turn.role, turn.text) for turn in turns]
            keep_vectors(turns, embed(self._lanes, units))
        except (EmbedderUnavailable, *DATABASE_AWAY) as error:
            logger.warning("turns wait for vectors", extra={"reason": str(error)})


def _by_session(exchanges: Sequence[Exchanged]) -> list[list[Exchanged]]:
    groups = dict[tuple[int, str], list[Exchanged]]()
    for each in exchanges:
        if each.policy.is_enabled:
            name = (each.scope.tenant_id, each.session_id)
            groups.setdefault(name, []).append(each)
    return list(groups.values())


def _store_exchange(exchange: Exchanged) -> list[Turn]:
    now = datetime.fromtimestamp(exchange.at_s, UTC)
    session = store.lock_session(exchange.scope, exchange.session_id, now=now)
    policy = read_settings(session.settings).over(exchange.policy)
    if not policy.is_enabled:
        return []
    planned = _plan(session, exchange)
    turns = [_turn(said, exchange, now) for said in planned.new]
    if planned.has_answer:
        turns[-1].model = exchange.model
        turns[-1].is_partial = exchange.is_partial
    store.supersede(session, planned.supersede)
    store.add_turns(session, turns, policy=policy, now=now)
    return turns


def _plan(session: Session, exchange: Exchanged) -> WritePlan:
    stored = store.tail(session)
    incoming = said_in(exchange.messages)
    near = {turn.content_hash for turn in stored}
    far = {said.content_hash for said in incoming[-KNOWN_MESSAGES:]} - near
    is_all_near = len(stored) < store.TAIL_TURNS
    return plan(
        stored,
        incoming,
        answer_of(exchange.answer, exchange.tool_calls),
        request_id=exchange.request_id,
        is_retry=exchange.is_retry,
        is_partial=exchange.is_partial,
        known=frozenset() if is_all_near else store.known_hashes(session, far),
    )


def _turn(said: Said, exchange: Exchanged, now: datetime) -> Turn:
    text = said.text[: store.MAX_TEXT]
    return Turn(
        role=said.role,
        text=text,
        content_hash=said.content_hash,
        tokens=tokens_of(text),
        request_id=exchange.request_id[: store.MAX_REQUEST_ID],
        created_at=now,
    )
