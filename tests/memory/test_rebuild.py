"""`manage.py rebuild_memory_index`, with a real vector store."""

from __future__ import annotations

from collections.abc import Iterator
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from pytest_django import Settings

from memory import upkeep
from memory.models import EmbeddingState, Turn, TurnVector
from rag.configured import make_store
from rag.packaged_model import NAME
from rag.scope import Scope
from rag.vectorstore import VectorStore, space_name
from tests.memory.scenes import (
    HashedWords,
    exchanged,
    make_memory,
    make_scope,
    running_lanes,
    user,
)
from tests.rag.chroma_server import running_chroma

pytestmark = pytest.mark.django_db
ID = HashedWords().id


@pytest.fixture(scope="module")
def chroma_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running_chroma(tmp_path_factory.mktemp("chroma")) as chroma:
        yield chroma.url


@pytest.fixture
def store(chroma_url: str, settings: Settings, db: None) -> Iterator[VectorStore]:
    """Name a store in the settings, and empty it."""
    settings.CHROMA_URL = chroma_url
    store = make_store()
    assert store is not None
    for space in store.spaces():
        store.drop(space)
    yield store
    store.close()


@pytest.fixture
def scope() -> Scope:
    scope = make_scope("a")
    with running_lanes() as lanes:
        make_memory(lanes).write(
            [exchanged(scope, user(f"thing{n}")) for n in range(3)]
        )
    return scope


def rebuild(*options: str) -> str:
    said = StringIO()
    call_command("rebuild_memory_index", *options, stdout=said)
    return said.getvalue()


def ids(store: VectorStore, space: str) -> set[str]:
    return {uid for page in store.ids(space) for uid in page}


def uids() -> set[str]:
    return set(Turn.objects.values_list("uid", flat=True))


def test_without_a_vector_store_it_fails_with_the_reason(
    settings: Settings, scope: Scope
) -> None:
    settings.CHROMA_URL = ""
    with pytest.raises(CommandError, match="There is no vector store: start"):
        rebuild()
    settings.CHROMA_URL = "http://127.0.0.1:9"
    with pytest.raises(CommandError, match=r"127\.0\.0\.1:9"):
        rebuild()


def test_a_store_that_lost_everything_is_filled_again(
    store: VectorStore, scope: Scope
) -> None:
    space = space_name("memory", ID)
    upkeep.mirror(store, ID, 500)
    store.drop(space)
    assert upkeep.mirror(store, ID, 500) == 0
    said = rebuild()
    assert ids(store, space) == uids()
    assert "6 of 6 vectors written" in said
    assert said.endswith("The vector store holds 6 vectors of memory.\n")
    assert set(Turn.objects.values_list("embedding_state", flat=True)) == {"indexed"}


def test_what_does_not_belong_there_is_gone_afterwards(
    store: VectorStore, scope: Scope
) -> None:
    vectors = HashedWords().embed(["a"])
    for space in (space_name("memory", ID), "memory-of-old", "documents-x"):
        store.upsert(space, ["stray"], vectors, [{"tenant": 1}])
    rebuild()
    assert ids(store, space_name("memory", ID)) == uids()
    assert set(store.spaces()) == {space_name("memory", ID), "documents-x"}


def test_reembed_makes_every_vector_with_the_present_model(
    store: VectorStore, scope: Scope, tmp_path: Path
) -> None:
    first, second, *_ = Turn.objects.order_by("seq")
    TurnVector.objects.filter(turn__in=[first, second]).delete()
    for turn, state in ((first, "pending"), (second, "failed")):
        Turn.objects.filter(pk=turn.pk).update(embedding_state=state)
    said = rebuild("--reembed")
    made_by = set(TurnVector.objects.values_list("embedding", flat=True))
    assert made_by == {f"{NAME}/int8/384"}
    states = set(Turn.objects.values_list("embedding_state", flat=True))
    assert states == {EmbeddingState.INDEXED}
    assert ids(store, space_name("memory", f"{NAME}/int8/384")) == uids()
    assert "2 missing vectors made" in said
    assert "4 vectors made anew" in said


def test_reembed_without_an_embedder_fails_with_the_reason(
    store: VectorStore, scope: Scope, settings: Settings
) -> None:
    settings.EMBEDDING_MODEL = "/nowhere"
    upkeep.mirror(store, ID, 500)
    Turn.objects.update(embedding_state=EmbeddingState.PENDING)
    with pytest.raises(CommandError):
        rebuild("--reembed")
    assert ids(store, space_name("memory", ID)) == uids()
