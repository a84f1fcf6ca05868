"""What the background process does for memory, with a real vector store."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from prometheus_client import REGISTRY
from typing_extensions import override

from memory import search, upkeep
from memory.exchange import RecallStatus
from memory.models import EmbeddingState, Session, Turn, TurnVector, VectorErasure
from memory.service import Memory
from rag.embedder import Vectors
from rag.embedding_lanes import EmbeddingLanes
from rag.errors import EmbedderUnavailable, VectorStoreUnavailable
from rag.scope import Scope
from rag.vectorstore import VectorStore, space_name
from tests.memory.scenes import (
    NOW_S,
    POLICY,
    UNFIT,
    HashedWords,
    exchanged,
    make_memory,
    make_scope,
    no_embedder,
    recall,
    running_lanes,
    text_of,
    user,
)
from tests.rag.chroma_server import RunningChroma, running_chroma

pytestmark = pytest.mark.django_db
ID = HashedWords().id
SPACE = space_name("memory", ID)


@pytest.fixture(scope="module")
def lanes() -> Iterator[EmbeddingLanes]:
    with running_lanes() as lanes:
        yield lanes


@pytest.fixture
def memory(lanes: EmbeddingLanes) -> Memory:
    return make_memory(lanes)


@pytest.fixture
def unembedded() -> Iterator[Memory]:
    """Make a memory that has no embedder."""
    lanes = EmbeddingLanes(no_embedder)
    yield make_memory(lanes)
    lanes.close()


@pytest.fixture
def scope() -> Scope:
    return make_scope("a")


@pytest.fixture(scope="module")
def chroma(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningChroma]:
    with running_chroma(tmp_path_factory.mktemp("chroma")) as chroma:
        yield chroma


@pytest.fixture
def store(chroma: RunningChroma) -> Iterator[VectorStore]:
    """Empty the store."""
    store = VectorStore(chroma.url)
    for space in store.spaces():
        store.drop(space)
    yield store
    store.close()


def states() -> list[str]:
    turns = Turn.objects.order_by("pk")
    return list(turns.values_list("embedding_state", flat=True))


def uids() -> set[str]:
    return set(Turn.objects.values_list("uid", flat=True))


def stored(store: VectorStore, space: str = SPACE) -> set[str]:
    return {uid for page in store.ids(space) for uid in page}


def test_what_waits_is_embedded_some_at_a_time(
    unembedded: Memory, lanes: EmbeddingLanes, scope: Scope
) -> None:
    unembedded.write([exchanged(scope, user(f"thing{n}")) for n in range(3)])
    version = Session.objects.get().version
    assert upkeep.count_waiting() == 6
    done = [upkeep.embed_waiting(lanes, 4) for _ in range(3)]
    assert done == [4, 2, 0]
    assert states() == [EmbeddingState.EMBEDDED] * 6
    assert set(TurnVector.objects.values_list("embedding", flat=True)) == {str(ID)}
    assert Session.objects.get().version > version
    assert REGISTRY.get_sample_value("ailb_memory_waiting_turns") == 0


def test_what_is_younger_is_left_to_who_wrote_it(
    unembedded: Memory, lanes: EmbeddingLanes, scope: Scope
) -> None:
    unembedded.write([exchanged(scope, user("One"))])
    before = datetime.fromtimestamp(NOW_S, UTC)
    assert upkeep.embed_waiting(lanes, 9, before=before) == 0
    assert REGISTRY.get_sample_value("ailb_memory_waiting_turns") == 2
    later = before + timedelta(seconds=1)
    assert upkeep.embed_waiting(lanes, 9, before=later) == 2


def test_a_turn_that_cannot_be_embedded_is_tried_once(
    unembedded: Memory, lanes: EmbeddingLanes, scope: Scope
) -> None:
    unembedded.write([exchanged(scope, user(UNFIT))])
    assert upkeep.embed_waiting(lanes, 9) == 2
    assert states() == [EmbeddingState.FAILED, EmbeddingState.EMBEDDED]
    assert upkeep.embed_waiting(lanes, 9) == 0


def test_an_embedder_that_fails_at_everything_fails_no_turn(
    unembedded: Memory, scope: Scope
) -> None:
    class Broken(HashedWords):
        @override
        def embed(self, texts: Sequence[str]) -> Vectors:
            raise MemoryError

    unembedded.write([exchanged(scope, user("One"))])
    lanes = EmbeddingLanes(Broken)
    with pytest.raises(EmbedderUnavailable):
        upkeep.embed_waiting(lanes, 9)
    assert states() == [EmbeddingState.PENDING] * 2
    lanes.close()


def test_vectors_of_another_model_are_made_anew(
    memory: Memory, lanes: EmbeddingLanes, scope: Scope
) -> None:
    memory.write([exchanged(scope, user(f"thing{n}")) for n in range(2)])
    assert upkeep.reembed(lanes, 9) == 0
    for name in ("another", "yet another"):
        with running_lanes(HashedWords(name)) as others:
            done = [upkeep.reembed(others, 3) for _ in range(3)]
            assert done == [3, 1, 0]
            made_by = set(TurnVector.objects.values_list("embedding", flat=True))
            assert made_by == {str(others.id)}


def test_a_model_that_is_not_loaded_makes_nothing_anew(
    memory: Memory, scope: Scope
) -> None:
    memory.write([exchanged(scope, user("One"))])
    lanes = EmbeddingLanes(no_embedder)
    assert upkeep.reembed(lanes, 9) == 0
    lanes.close()


def test_vectors_are_mirrored_with_their_scope_and_no_text(
    memory: Memory, store: VectorStore, scope: Scope
) -> None:
    memory.write([exchanged(scope, user(f"thing{n}")) for n in range(3)])
    assert [upkeep.mirror(store, ID, 4) for _ in range(3)] == [4, 2, 0]
    assert states() == [EmbeddingState.INDEXED] * 6
    assert stored(store) == uids()
    (question,) = HashedWords().embed(["user: thing1"])
    session = Session.objects.get()
    where: dict[str, str | int] = {"tenant": scope.tenant_id, "session": session.pk}
    (best, similarity) = store.query(SPACE, question, where=where, limit=1)[0]
    assert Turn.objects.get(uid=best).text == "thing1"
    assert similarity == pytest.approx(1.0, abs=1e-3)
    for other in ({"tenant": -1}, {"session": -1}):
        assert store.query(SPACE, question, where=where | other, limit=1) == []


def test_what_is_deleted_leaves_the_vector_store(
    memory: Memory, store: VectorStore, scope: Scope
) -> None:
    memory.write([exchanged(scope, user("One"), session_id=s) for s in "ab"])
    upkeep.mirror(store, ID, 9)
    memory.delete_session(scope, "a")
    assert VectorErasure.objects.count() == 2
    assert [upkeep.erase(store, 1) for _ in range(3)] == [1, 1, 0]
    assert stored(store) == uids()
    assert len(uids()) == 2


def test_what_is_deleted_while_it_is_mirrored_leaves_again(
    memory: Memory, store: VectorStore, scope: Scope
) -> None:
    class DeletesMeanwhile(VectorStore):
        @override
        def upsert(self, *args: Any, **options: Any) -> None:
            memory.delete_all(scope)
            upkeep.erase(store, 9)
            super().upsert(*args, **options)

    memory.write([exchanged(scope, user("One"))])
    slow = DeletesMeanwhile(store._url)
    upkeep.mirror(slow, ID, 9)
    slow.close()
    assert len(stored(store)) == 2
    assert upkeep.erase(store, 9) == 2
    assert stored(store) == set()


def test_a_vector_store_that_is_away_loses_nothing(
    memory: Memory, scope: Scope
) -> None:
    memory.write([exchanged(scope, user("One"), session_id=s) for s in "ab"])
    memory.delete_session(scope, "a")
    away = VectorStore(None)
    with pytest.raises(VectorStoreUnavailable):
        upkeep.mirror(away, ID, 9)
    with pytest.raises(VectorStoreUnavailable):
        upkeep.erase(away, 9)
    assert states() == [EmbeddingState.EMBEDDED] * 2
    assert VectorErasure.objects.count() == 2


def test_sessions_end_and_leave(memory: Memory, scope: Scope) -> None:
    for n in range(4):
        at_s = NOW_S + n
        memory.write([exchanged(scope, user("x"), session_id=f"s{n}", at_s=at_s)])
    now = datetime.fromtimestamp(NOW_S + 2, UTC) + timedelta(days=30)
    assert [upkeep.expire(now, 2) for _ in range(3)] == [2, 1, 0]
    assert [session.session_id for session in Session.objects.all()] == ["s3"]
    assert VectorErasure.objects.count() == 6


def test_orphans_are_swept_and_nothing_else(
    memory: Memory, store: VectorStore, scope: Scope
) -> None:
    memory.write([exchanged(scope, user("One"))])
    upkeep.mirror(store, ID, 9)
    vectors = HashedWords().embed(["a", "b"])
    stray: list[dict[str, str | int]] = [{"tenant": 1}, {"tenant": 1}]
    store.upsert(SPACE, ["stray1", "stray2"], vectors, stray)
    store.upsert("documents-x", ["chunk1", "chunk2"], vectors, stray)
    assert upkeep.sweep_orphans(store) == 2
    assert stored(store) == uids()
    assert len(stored(store, "documents-x")) == 2


def test_the_space_of_a_former_model_is_dropped_when_nothing_needs_it(
    memory: Memory, store: VectorStore, scope: Scope
) -> None:
    memory.write([exchanged(scope, user("One"))])
    upkeep.mirror(store, ID, 9)
    newer = HashedWords("newer")
    assert upkeep.drop_old_spaces(store, newer.id) == 0
    with running_lanes(newer) as lanes:
        upkeep.reembed(lanes, 9)
        assert upkeep.mirror(store, newer.id, 9) == 2
    assert upkeep.drop_old_spaces(store, newer.id) == 1
    assert store.spaces() == [space_name("memory", newer.id)]


def test_a_large_session_is_searched_by_the_vector_store(
    lanes: EmbeddingLanes,
    store: VectorStore,
    scope: Scope,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(search, "EXACT_TURNS", 5)
    memory = make_memory(lanes, store)
    # So few that the store's approximate search cannot miss one.
    turns = [{"role": "user", "content": f"topic{n} in brief"} for n in range(12)]
    now = datetime.fromtimestamp(NOW_S, UTC)
    memory.import_turns(scope, "s", turns, policy=POLICY, now=now)
    while upkeep.mirror(store, ID, 500):
        continue
    TurnVector.objects.all().delete()
    asked = user("What was it about topic7 again please")
    found = recall(memory, scope, asked)
    assert found.status is RecallStatus.HIT
    assert "topic7 in brief" in text_of(found)
    best = memory.search(scope, "s", "topic7 in brief", 1)[0]
    assert (best.turn.text, best.parts["dense"]) == ("topic7 in brief", 1)


def test_a_large_session_is_searched_here_when_the_store_is_away(
    lanes: EmbeddingLanes, scope: Scope, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "EXACT_TURNS", 50)
    memory = make_memory(lanes, VectorStore(None))
    turns = [{"role": "user", "content": f"topic{n} in brief"} for n in range(100)]
    now = datetime.fromtimestamp(NOW_S, UTC)
    memory.import_turns(scope, "s", turns, policy=POLICY, now=now)
    best = memory.search(scope, "s", "topic7 in brief", 1)[0]
    assert (best.turn.text, best.parts["dense"]) == ("topic7 in brief", 1)


def test_batches_are_found_by_the_index_of_unfinished_turns() -> None:
    plan = upkeep.unfinished(EmbeddingState.PENDING)[:10].explain()
    assert "turn_unfinished" in plan or "Seq Scan" in plan
