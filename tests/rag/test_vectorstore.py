"""The vector store on a real Chroma server: what it finds and refuses."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from hypothesis import given, strategies as st

from rag.errors import VectorStoreUnavailable
from rag.vectorstore import BATCH, PAGE, VectorStore, space_name
from tests.rag.chroma_server import RunningChroma, running_chroma
from tests.rag.vectors import DIMENSION, fill, fresh_space, listed, names, vectors

NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9._-]{1,510}[a-zA-Z0-9]")


@pytest.fixture(scope="module")
def chroma(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningChroma]:
    with running_chroma(tmp_path_factory.mktemp("chroma")) as server:
        yield server


@pytest.fixture(scope="module")
def store(chroma: RunningChroma) -> Iterator[VectorStore]:
    made = VectorStore(chroma.url, timeout_s=30)
    yield made
    made.close()


# --- Names ---------------------------------------------------------------------------------


@given(st.text(max_size=300), st.sampled_from(["memory", "documents", ""]))
def test_any_embedding_id_gives_a_name_that_chroma_allows(text: str, kind: str) -> None:
    assert NAME.fullmatch(space_name(kind, text))


@given(
    st.tuples(st.text(max_size=5), st.text(max_size=5)),
    st.tuples(st.text(max_size=5), st.text(max_size=5)),
)
def test_no_two_kinds_and_ids_share_a_name(
    one: tuple[str, str], other: tuple[str, str]
) -> None:
    assert (space_name(*one) == space_name(*other)) == (one == other)


def test_a_name_can_be_read_and_holds_for_long_and_broken_ids() -> None:
    assert space_name("memory", "all-MiniLM-L6-v2/int8/384").startswith(
        "memory-all-MiniLM-L6-v2-int8-384-"
    )
    long = "m" * 500
    assert space_name("memory", long + "a") != space_name("memory", long + "b")
    assert NAME.fullmatch(space_name("memory", "\udcff"))


# --- What it finds -------------------------------------------------------------------------


def test_the_nearest_come_first_with_their_cosine(store: VectorStore) -> None:
    space = fresh_space()
    made = fill(store, space, 40)
    question = vectors(1, seed=2)[0]
    cosines = made @ question
    best = np.argsort(-cosines)[:5]
    found = store.query(space, question, where={}, limit=5)
    assert [each for each, _ in found] == [f"id-{number}" for number in best]
    assert [cosine for _, cosine in found] == pytest.approx(cosines[best], abs=1e-5)


@pytest.mark.parametrize("where", [{"session": 3}, {"session": 3, "tenant": "t"}])
def test_only_what_has_all_of_the_scope_is_found(
    store: VectorStore, where: dict[str, str | int]
) -> None:
    space = fresh_space()
    made = fill(store, space, 40)
    found = store.query(space, made[0], where=where, limit=100)
    assert {each for each, _ in found} == {"id-3", "id-13", "id-23", "id-33"}
    elsewhere = {**where, "tenant": "another"}
    assert store.query(space, made[3], where=elsewhere, limit=100) == []


def test_no_place_asked_for_finds_nothing(store: VectorStore) -> None:
    space = fresh_space()
    made = fill(store, space, 2)
    assert store.query(space, made[0], where={}, limit=0) == []


def test_a_second_upsert_replaces_vector_and_scope(store: VectorStore) -> None:
    space = fresh_space()
    one, other = vectors(2)
    store.upsert(space, ["a"], one[None, :], [{"session": 1}])
    store.upsert(space, ["a"], other[None, :], [{"session": 2}])
    assert store.query(space, other, where={"session": 1}, limit=5) == []
    ((name, cosine),) = store.query(space, other, where={"session": 2}, limit=5)
    assert name == "a"
    assert cosine == pytest.approx(1.0, abs=1e-5)


def test_more_than_one_batch_and_more_than_one_page(store: VectorStore) -> None:
    space = fresh_space()
    number = max(2 * BATCH, 2 * PAGE) + 7
    fill(store, space, number)
    pages = list(store.ids(space))
    assert max(map(len, pages)) <= PAGE
    assert sorted(each for page in pages for each in page) == sorted(names(number))
    store.delete(space, names(number))
    assert listed(store, space) == []


def test_what_is_listed_may_be_deleted_meanwhile(store: VectorStore) -> None:
    space = fresh_space()
    fill(store, space, 2 * PAGE + 7)
    seen = []
    for page in store.ids(space):
        seen += page
        store.delete(space, page)
    assert sorted(seen) == sorted(names(2 * PAGE + 7))
    assert listed(store, space) == []


def test_deleted_vectors_are_gone_and_unknown_ones_are_fine(store: VectorStore) -> None:
    space = fresh_space()
    made = fill(store, space, 20)
    store.delete(space, ["id-1", "never-there"])
    store.delete(space, [])
    store.delete(fresh_space(), ["id-1"])
    assert sorted(listed(store, space)) == sorted(set(names(20)) - {"id-1"})
    found = store.query(space, made[1], where={}, limit=20)
    assert "id-1" not in {each for each, _ in found}


def test_delete_everywhere_reaches_every_space(store: VectorStore) -> None:
    spaces = [fresh_space(), fresh_space()]
    for space in spaces:
        fill(store, space, 3)
    store.delete_everywhere([])
    store.delete_everywhere(["id-0", "id-2"])
    assert [listed(store, space) for space in spaces] == [["id-1"], ["id-1"]]


def test_a_space_that_is_not_there_is_empty(store: VectorStore) -> None:
    space = fresh_space()
    assert store.query(space, vectors(1)[0], where={}, limit=3) == []
    assert listed(store, space) == []
    store.drop(space)
    store.upsert(space, [], np.empty((0, DIMENSION)), [])
    assert space not in store.spaces()


def test_a_dropped_space_is_gone_and_can_be_made_again(store: VectorStore) -> None:
    space = fresh_space()
    made = fill(store, space, 5)
    assert space in store.spaces()
    store.drop(space)
    assert space not in store.spaces()
    assert store.query(space, made[0], where={}, limit=3) == []
    fill(store, space, 5)
    assert len(listed(store, space)) == 5


def test_a_space_that_another_process_made_anew_is_found(
    store: VectorStore, chroma: RunningChroma
) -> None:
    space = fresh_space()
    made = fill(store, space, 5)
    assert store.query(space, made[0], where={}, limit=1)
    other = VectorStore(chroma.url, timeout_s=30)
    other.drop(space)
    assert store.query(space, made[0], where={}, limit=1) == []
    fill(other, space, 3)
    assert len(store.query(space, made[0], where={}, limit=9)) == 3
    other.drop(space)
    fill(other, space, 2)
    assert len(store.query(space, made[0], where={}, limit=9)) == 2  # at once
    other.drop(space)
    fill(store, space, 4)
    assert sorted(listed(other, space)) == names(4)
    other.close()


def test_nothing_outside_its_database_is_seen(
    store: VectorStore, chroma: RunningChroma
) -> None:
    space = fresh_space()
    fill(store, space, 3)
    neighbour = VectorStore(chroma.url, database="ailb-neighbour", timeout_s=30)
    assert neighbour.spaces() == []
    neighbour.upsert(space, ["id-0"], vectors(1), [{"session": 1}])
    neighbour.delete_everywhere(["id-0", "id-1"])
    neighbour.drop(space)
    neighbour.close()
    assert sorted(listed(store, space)) == names(3)


def test_no_text_can_be_stored(store: VectorStore, chroma: RunningChroma) -> None:
    space = fresh_space()
    fill(store, space, 3)
    with raw_client(chroma) as client:
        collection = client.get_collection(space, embedding_function=None)
        stored = collection.get(include=["documents", "embeddings"])
    assert stored["documents"] == [None] * 3
    assert len(stored["embeddings"]) == 3


def test_check_searches(store: VectorStore) -> None:
    fill(store, fresh_space(), 3)
    store.check()


def test_many_threads_write_and_ask_at_once(store: VectorStore) -> None:
    space = fresh_space()
    made = vectors(80)
    failures: list[Exception] = []

    def work(number: int) -> None:
        try:
            own = slice(number * 10, number * 10 + 10)
            store.upsert(space, names(80)[own], made[own], [{"session": 1}] * 10)
            ((name, _),) = store.query(space, made[own][0], where={}, limit=1)
            assert name == f"id-{number * 10}"
        except Exception as error:  # noqa: BLE001  # told in the test's own thread
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(listed(store, space)) == 80


# --- What it refuses -----------------------------------------------------------------------


def test_another_dimension_is_refused_and_both_are_named(store: VectorStore) -> None:
    space = fresh_space()
    made = fill(store, space, 3)
    with pytest.raises(VectorStoreUnavailable, match=r"have 16 dimensions, not 8"):
        store.upsert(space, ["x"], vectors(1, 8), [{"session": 1}])
    with pytest.raises(VectorStoreUnavailable, match=r"have 16 dimensions, not 8"):
        store.query(space, vectors(1, 8)[0], where={}, limit=3)
    assert len(store.query(space, made[0], where={}, limit=9)) == 3  # at once


def test_a_collection_of_other_distances_is_refused(
    store: VectorStore, chroma: RunningChroma
) -> None:
    fill(store, fresh_space(), 1)
    space = fresh_space()
    with raw_client(chroma) as client:
        client.create_collection(space, embedding_function=None)
    with pytest.raises(VectorStoreUnavailable, match="measures l2 instead of cosine"):
        store.upsert(space, ["x"], vectors(1), [{"session": 1}])
    store.drop(space)


def test_what_chroma_refuses_does_not_count_as_a_failure(store: VectorStore) -> None:
    space = fresh_space()
    made = fill(store, space, 3)
    broken = np.full((1, DIMENSION), np.nan, dtype=np.float32)
    with pytest.raises(VectorStoreUnavailable, match="refuses what it was asked"):
        store.upsert(space, ["x"], broken, [{"session": 1}])
    assert len(store.query(space, made[0], where={}, limit=9)) == 3


def test_lists_of_different_length_are_a_mistake_of_the_caller(
    store: VectorStore,
) -> None:
    with pytest.raises(ValueError, match="differ in length"):
        store.upsert(fresh_space(), ["a", "b"], vectors(1), [{"session": 1}])


def test_chromadb_is_not_imported_before_the_first_call() -> None:
    source = (
        "import sys\n"
        "from rag.vectorstore import VectorStore\n"
        "VectorStore('http://127.0.0.1:9').close()\n"
        "assert not {'chromadb', 'httpx'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", source], check=True)


# --- Chroma itself, for what the store does not show -------------------------------------------


@contextmanager
def raw_client(chroma: RunningChroma) -> Iterator[Any]:
    import chromadb  # noqa: PLC0415  # heavy

    client: Any = chromadb.HttpClient("127.0.0.1", chroma.port, database="ailb")
    try:
        yield client
    finally:
        for each in (client, client._admin_client):
            each._server._session.close()
