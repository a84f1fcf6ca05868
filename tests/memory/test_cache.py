"""Copies of sessions: they follow the rows, and stay within their bounds."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from datetime import UTC, datetime

import numpy as np
import pytest
from django.db import transaction
from hypothesis import HealthCheck, given, settings, strategies as st

from memory import session_copy, store
from memory.cache import SessionCache
from memory.config import Policy
from memory.erasure import erase_sessions
from memory.matrix import VectorMatrix
from memory.models import EmbeddingState, Session, Turn
from memory.session_copy import OutOfTime, SessionCopy, SessionGone
from memory.turns import text_said, unit_of
from memory.vectors import Embedded, embed, keep_vectors
from rag.scope import Scope
from tests.memory.scenes import HashedWords, make_scope, running_lanes

pytestmark = pytest.mark.django_db
NOW = datetime(2090, 1, 1, tzinfo=UTC)
REACH = 3  # newest turns that a write may supersede, in these tests


def append(
    scope: Scope, texts: Sequence[str], *, leave: int = 0, is_partial: bool = False
) -> list[Turn]:
    """Do as a write does: leave the newest turns, append others."""
    with transaction.atomic():
        session = store.lock_session(scope, "s", now=NOW)
        left = [turn.seq for turn in store.tail(session)][-leave:] if leave else []
        turns = list[Turn]()
        for text in texts:
            said = text_said("user", text)
            turns.append(
                Turn(
                    role="user",
                    text=text,
                    content_hash=said.content_hash,
                    tokens=said.tokens,
                    is_partial=is_partial,
                )
            )
        store.supersede(session, left)
        store.add_turns(session, turns, policy=Policy(), now=NOW)
    return turns


def session_of(scope: Scope) -> Session:
    return store.get_session(scope, "s", now=NOW)


def refreshed(copy: SessionCopy, scope: Scope) -> list[str]:
    copy.refresh(session_of(scope), until_s=math.inf)
    return [turn.text for turn in copy.live_turns()]


# What a write does: how many it appends, how many it leaves; whether a copy looks then.
WRITES = st.lists(
    st.tuples(st.integers(0, 9), st.integers(0, REACH), st.booleans()), max_size=15
)


@given(writes=WRITES)
@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_a_copy_follows_whatever_is_written(
    monkeypatch: pytest.MonkeyPatch, writes: list[tuple[int, int, bool]]
) -> None:
    monkeypatch.setattr(session_copy, "TAIL_TURNS", REACH)
    monkeypatch.setattr(session_copy, "CHUNK_TURNS", 4)
    with transaction.atomic():
        scope = make_scope("a")
        append(scope, ["first"])
        copy, number = SessionCopy(session_of(scope).pk), 0
        for count, leave, is_looked_at in [*writes, (0, 0, True)]:
            texts = [f"turn{number + n}" for n in range(count)]
            append(scope, texts, leave=leave)
            number += count
            if is_looked_at:
                live = Turn.objects.filter(is_superseded=False).order_by("seq")
                assert refreshed(copy, scope) == [turn.text for turn in live]
                assert list(copy.usable) == [
                    turn in copy.live_turns() for turn in copy.turns
                ]
        transaction.set_rollback(True)


def test_reading_stops_at_the_deadline_and_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(session_copy, "CHUNK_TURNS", 2)
    scope = make_scope("a")
    append(scope, [f"turn{n}" for n in range(5)])
    session = session_of(scope)
    copy = SessionCopy(session.pk)
    for read in (2, 4):
        with pytest.raises(OutOfTime):
            copy.refresh(session, until_s=time.monotonic() - 1)
        assert len(copy.turns) == read
    append(scope, ["new"], leave=5)
    assert refreshed(copy, scope) == ["new"]


def test_a_session_that_is_gone_is_told() -> None:
    scope = make_scope("a")
    append(scope, ["one"])
    session = session_of(scope)
    copy = SessionCopy(session.pk)
    copy.refresh(session, until_s=math.inf)
    erase_sessions([session.pk])
    session.version += 1
    with pytest.raises(SessionGone):
        copy.refresh(session, until_s=math.inf)


def test_vectors_are_read_when_they_come_and_of_one_embedding_only() -> None:
    scope = make_scope("a")
    turns = append(scope, ["apples", "pears", "plums"])
    copy = SessionCopy(session_of(scope).pk)
    first, second = HashedWords("first"), HashedWords("second")
    (question,) = first.embed([unit_of("user", "pears")])

    def dense(embedder: HashedWords) -> list[float]:
        refreshed(copy, scope)
        scores = copy.dense(question, embedder.id, until_s=math.inf)
        return [round(float(each), 2) for each in scores]

    assert np.isnan(dense(first)).all()
    with running_lanes(first) as lanes:
        keep_vectors(
            turns[:2], embed(lanes, [unit_of("user", t.text) for t in turns[:2]])
        )
    found = dense(first)
    assert found[1] == 1.0
    assert 0 <= found[0] < 1
    assert math.isnan(found[2])
    assert np.isnan(dense(second)).all()
    with running_lanes(second) as lanes:
        keep_vectors(turns, embed(lanes, [unit_of("user", t.text) for t in turns]))
    assert dense(second)[1] == 1.0
    append(scope, ["figs"])
    assert math.isnan(dense(second)[3])


def test_a_turn_that_cannot_be_embedded_is_not_asked_for_again() -> None:
    scope = make_scope("a")
    turns = append(scope, ["one", "two"])
    keep_vectors(turns[:1], Embedded("x", (None,)))
    copy = SessionCopy(session_of(scope).pk)
    refreshed(copy, scope)
    embedder = HashedWords()
    copy.dense(embedder.embed(["x"])[0], embedder.id, until_s=math.inf)
    assert copy._matrix is not None
    assert list(copy._matrix.lacking()) == [1]
    states = list(
        Turn.objects.order_by("seq").values_list("embedding_state", flat=True)
    )
    assert states == [EmbeddingState.FAILED, EmbeddingState.PENDING]


def test_a_matrix_grows_and_says_what_it_lacks() -> None:
    matrix = VectorMatrix(2)
    matrix.grow(3)
    matrix.put([1], np.array([[0.6, 0.8]], np.float32))
    matrix.grow(1_000)
    matrix.give_up(0)
    assert len(matrix) == 1_000
    assert list(matrix.lacking()) == list(range(2, 1_000))
    scores = matrix.similarities(np.array([0.6, 0.8], np.float32))
    assert scores[1] == pytest.approx(1.0)
    assert np.isnan(scores[[0, 2, 999]]).all()


def test_the_longest_unused_copies_are_forgotten_first() -> None:
    scope = make_scope("a")
    append(scope, ["x" * 10_000])
    session = session_of(scope)
    cache = SessionCache(max_bytes=25_000)
    copy = cache.copy_of(session.pk)
    for pk in (session.pk, -1, -2):
        copy = cache.copy_of(pk)
        copy._session_pk = session.pk
        copy.refresh(session, until_s=math.inf)
        cache.weigh(pk, copy)
    assert len(cache) == 2
    assert 0 < cache.nbytes <= 25_000
    assert not cache.copy_of(session.pk).turns
    cache.forget([-1, -2, session.pk])
    assert (len(cache), cache.nbytes) == (0, 0)
    cache.weigh(-2, copy)
    assert cache.nbytes == 0


def test_one_copy_is_kept_however_large_it_is() -> None:
    scope = make_scope("a")
    append(scope, ["x" * 10_000])
    session = session_of(scope)
    cache = SessionCache(max_bytes=10)
    copy = cache.copy_of(session.pk)
    copy.refresh(session, until_s=math.inf)
    cache.weigh(session.pk, copy)
    assert cache.copy_of(session.pk) is copy
