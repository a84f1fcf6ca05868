"""The background process makes what is missing in memory and removes what is over."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from gateway.memory_upkeep import MemoryUpkeep
from memory.models import EmbeddingState, Session, Turn
from memory.writer import Writer
from rag.embedding_lanes import EmbeddingLanes
from rag.vectorstore import VectorStore
from tests.memory.scenes import (
    NOW_S,
    HashedWords,
    exchanged,
    make_scope,
    no_embedder,
    running_lanes,
    user,
)

NOW = datetime.fromtimestamp(NOW_S, UTC)
# SQLite's log cannot be emptied within a transaction.
pytestmark = pytest.mark.django_db(transaction=True)


def write_turns() -> None:
    """Store two turns that nobody has made vectors for."""
    lanes = EmbeddingLanes(no_embedder)
    Writer(lanes).write([exchanged(make_scope("t"), user("hello"))])
    lanes.close()


def states() -> set[str]:
    return set(Turn.objects.values_list("embedding_state", flat=True))


def test_turns_that_were_missed_get_their_vectors() -> None:
    write_turns()
    with running_lanes() as lanes:
        upkeep = MemoryUpkeep(lanes, None)
        upkeep.do_round(NOW + timedelta(seconds=5))
        assert states() == {EmbeddingState.PENDING}, "who wrote them may still do it"
        later = MemoryUpkeep(lanes, None)
        later.do_round(NOW + timedelta(seconds=11))
    assert states() == {EmbeddingState.EMBEDDED}


def test_vectors_of_another_model_are_made_anew() -> None:
    write_turns()
    for name in ("former", "present"):
        with running_lanes(HashedWords(name)) as lanes:
            MemoryUpkeep(lanes, None).do_round(NOW + timedelta(seconds=11))
    embeddings = set(Turn.objects.values_list("vector__embedding", flat=True))
    assert embeddings == {str(HashedWords("present").id)}


def test_sessions_end_when_their_time_has_come() -> None:
    write_turns()
    with running_lanes() as lanes:
        MemoryUpkeep(lanes, None).do_round(NOW + timedelta(days=29))
        assert Session.objects.exists()
        MemoryUpkeep(lanes, None).do_round(NOW + timedelta(days=31))
    assert not Session.objects.exists()


def test_no_embedder_is_loaded_before_there_is_a_session() -> None:
    loads: list[int] = []

    def load() -> HashedWords:
        loads.append(1)
        return HashedWords()

    lanes = EmbeddingLanes(load)
    upkeep = MemoryUpkeep(lanes, None)
    upkeep.do_round(NOW)
    assert not loads
    write_turns()
    MemoryUpkeep(lanes, None).do_round(NOW)
    lanes.embed_batch(["waits until it is there"])
    assert loads == [1]
    lanes.close()


def test_a_vector_store_that_is_away_is_told_of_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    write_turns()
    with running_lanes() as lanes:
        upkeep = MemoryUpkeep(lanes, VectorStore("http://127.0.0.1:1"))
        for _ in range(3):
            for step in upkeep._steps:
                step.due_s = 0.0
            upkeep.do_round(NOW + timedelta(seconds=11))
    told = [each for each in caplog.records if "upkeep waits" in each.message]
    assert len(told) == len({each.__dict__["step"] for each in told}) > 0
    assert states() == {EmbeddingState.EMBEDDED}
