"""Other people's sessions: many turns, with vectors that mean nothing."""

from __future__ import annotations

import uuid

import numpy as np
from django.db import transaction

from gateway.models import Tenant
from memory.models import EmbeddingState, Session, Turn, TurnVector
from memory.turns import text_said
from rag.embedding import EmbeddingId
from rag.packed_vectors import pack

TURNS_OF_A_SESSION = 1_000
_VECTORS = 256  # made once and used again and again


def make_turns(tenant: Tenant, count: int, embedding: EmbeddingId) -> None:
    """Store so many turns in new sessions of a tenant."""
    vectors = _vectors(embedding.dimension)
    for begin in range(0, count, TURNS_OF_A_SESSION):
        size = min(TURNS_OF_A_SESSION, count - begin)
        _make_session(tenant, size, vectors, str(embedding))


@transaction.atomic
def _make_session(
    tenant: Tenant, size: int, vectors: list[bytes], embedding: str
) -> None:
    session = Session.objects.create(
        tenant=tenant, session_id=uuid.uuid4().hex, last_seq=size, version=1
    )
    turns = Turn.objects.bulk_create(_turn(session, seq) for seq in range(1, size + 1))
    TurnVector.objects.bulk_create(
        TurnVector(turn=turn, embedding=embedding, data=vectors[turn.seq % _VECTORS])
        for turn in turns
    )


def _turn(session: Session, seq: int) -> Turn:
    role = ("assistant", "user")[seq % 2]
    said = text_said(role, f"In session {session.pk} this is what was said as {seq}.")
    return Turn(
        session=session,
        uid=uuid.uuid4().hex,
        seq=seq,
        role=role,
        text=said.text,
        content_hash=said.content_hash,
        tokens=said.tokens,
        embedding_state=EmbeddingState.EMBEDDED,
    )


def _vectors(dimension: int) -> list[bytes]:
    drawn = np.random.default_rng(1).normal(size=(_VECTORS, dimension))
    drawn /= np.linalg.norm(drawn, axis=1, keepdims=True)
    return [pack(row) for row in drawn.astype(np.float32)]
