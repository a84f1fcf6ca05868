"""Questions with a real vector store: asked, asked again, dead, hanging, and back."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.conf import settings

from rag.attributes import parse_filter
from rag.exact_search import EXACT_CHUNKS, SMALL_CHUNKS
from rag.mirroring import space_of
from rag.models import Chunk, ChunkVector, Collection, Document, VectorState, Version
from rag.pool_search import NOT_MIRRORED
from rag.questions import RetrievalStatus
from rag.scope import Scope
from rag.vectorstore import VectorStore
from tests.rag.chroma_server import RunningChroma, running_chroma
from tests.rag.library_scenes import make_scope
from tests.rag.passage_scenes import (
    EMBEDDER,
    add_version,
    answer,
    ask,
    index_of,
    make_shelf,
    mirror,
    put,
    running_retriever,
    texts,
    weigh_down,
)

LEAVE = "parental leave is fourteen weeks long"
LUNCH = "lunch costs nine euros at most"
# All nearer to "leave" than NEW is, and apart as real texts are: the store's search goes
# from neighbour to neighbour, and equal ones have no other.
OLD = [f"leave hour{number % 10} day{number % 13}" for number in range(130)]
NEW = "leave hour3 day5 weeks"
NOWHERE = "http://127.0.0.1:1"
ODD = parse_filter({"type": "eq", "key": "half", "value": "odd"})


@pytest.fixture(scope="module")
def chroma(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningChroma]:
    with running_chroma(tmp_path_factory.mktemp("chroma")) as server:
        yield server


@pytest.fixture
def store(chroma: RunningChroma) -> Iterator[VectorStore]:
    store = VectorStore(chroma.url)
    yield store
    store.close()


def make_large_shelf(scope: Scope, name: str = "handbook") -> Collection:
    """Make a collection that the store is asked about."""
    shelf = make_shelf(scope, name)
    weigh_down(shelf, SMALL_CHUNKS + 1)
    return shelf


@pytest.mark.django_db
def test_the_store_is_asked(store: VectorStore) -> None:
    scope = make_scope()
    for name, text in (("a", LEAVE), ("b", LUNCH)):
        shelf = make_large_shelf(scope, name)
        put(shelf, text, "nothing of the kind")
        mirror(store, shelf)
    ChunkVector.objects.all().delete()  # nobody else knows
    with running_retriever(store) as retriever:
        found = answer(retriever, scope, "parental leave lunch", "a", "b")
    assert found.status == RetrievalStatus.HIT
    near = {hit.text for hit in found.hits if hit.parts["dense"] > 0}
    assert near == {LEAVE, LUNCH}


@pytest.mark.django_db
def test_a_small_collection_needs_no_store_whatever_it_says(store: VectorStore) -> None:
    scope = make_scope()
    put(make_shelf(scope), LEAVE, LUNCH)
    Chunk.objects.update(vector_state=VectorState.INDEXED)  # and is in no store
    with running_retriever(store) as retriever:
        found = answer(retriever, scope, "parental leave")
    assert (found.hits[0].text, found.hits[0].parts["dense"]) == (LEAVE, 1.0)
    assert found.status == RetrievalStatus.HIT


@pytest.mark.django_db
def test_the_store_is_asked_again_where_what_it_gives_is_not_found_any_more(
    store: VectorStore,
) -> None:
    scope = make_scope()
    shelf = make_large_shelf(scope)
    document = put(shelf, *OLD)
    newer = add_version(document, NEW, LUNCH)
    mirror(store, shelf)
    ChunkVector.objects.all().delete()
    Document.objects.filter(pk=document.pk).update(current=newer)
    with running_retriever(store) as retriever:
        found = answer(retriever, scope, "leave")
    assert texts(found)[0] == NEW
    assert found.hits[0].parts["dense"] == 1.0


@pytest.mark.django_db
def test_a_filter_on_much_of_a_collection_is_answered_by_the_store(
    store: VectorStore,
) -> None:
    scope = make_scope()
    shelf = make_large_shelf(scope)
    put(shelf, *OLD, attributes={"half": "even"})
    odd = put(shelf, NEW, attributes={"half": "odd"})
    mirror(store, shelf)
    ChunkVector.objects.all().delete()
    # Said to be more than is read from rows.
    Version.objects.filter(document=odd).update(chunks=EXACT_CHUNKS + 1)
    with running_retriever(store) as retriever:
        found = answer(retriever, scope, "leave", filters=ODD)
    assert texts(found) == [NEW]
    assert found.hits[0].parts["dense"] == 1.0


@pytest.mark.django_db
def test_what_the_store_mixes_up_is_not_found(store: VectorStore) -> None:
    ours, theirs = make_scope(), make_scope("theirs")
    mine, other = make_large_shelf(ours), make_shelf(theirs)
    put(mine, LUNCH)
    put(other, LEAVE)
    mirror(store, mine)
    (uid,) = Chunk.objects.filter(text=LEAVE).values_list("uid", flat=True)
    vector = EMBEDDER.embed([LEAVE])
    store.upsert(space_of(index_of(mine).uid), [uid], vector, [{"version": 1}])
    with running_retriever(store) as retriever:
        assert texts(answer(retriever, ours, LEAVE)) == [LUNCH]
        assert texts(answer(retriever, theirs, LEAVE)) == [LEAVE]


@pytest.mark.django_db
def test_what_the_store_has_not_got_yet_is_found_all_the_same(
    store: VectorStore,
) -> None:
    scope = make_scope()
    shelf = make_large_shelf(scope)
    put(shelf, LUNCH)
    mirror(store, shelf)
    put(shelf, LEAVE)
    shown = ChunkVector.objects.filter(chunk__text=LEAVE)
    ChunkVector.objects.exclude(pk__in=shown.values("pk")).delete()
    with running_retriever(store) as retriever:
        found = answer(retriever, scope, "parental leave")
    assert (texts(found)[0], found.status) == (LEAVE, RetrievalStatus.HIT)
    assert found.hits[0].parts["dense"] == 1.0


@pytest.mark.django_db
def test_a_store_that_dies_hangs_or_is_back_costs_a_small_collection_nothing(
    tmp_path: Path,
) -> None:
    scope = make_scope()
    shelf = make_large_shelf(scope)
    put(shelf, LEAVE, LUNCH)
    with running_chroma(tmp_path) as chroma:
        store = VectorStore(chroma.url)
        mirror(store, shelf)
        with running_retriever(store) as retriever:
            whole = answer(retriever, scope, "parental leave")
            assert (whole.status, whole.problem) == (RetrievalStatus.HIT, "")
            chroma.pause()
            until_s = time.monotonic() + 4
            assert answer(retriever, scope, "parental leave", until_s=until_s) == whole
            chroma.kill()
            assert answer(retriever, scope, "parental leave") == whole
        chroma.start()
        with running_retriever(store) as retriever:
            assert answer(retriever, scope, "parental leave") == whole
        store.close()


@pytest.mark.django_db
def test_a_large_collection_without_its_store_is_searched_by_words_and_that_is_told(
    store: VectorStore,
) -> None:
    scope = make_scope()
    shelf = make_large_shelf(scope)
    put(shelf, LEAVE, *(f"word{number}" for number in range(EXACT_CHUNKS)))
    away = VectorStore(NOWHERE)
    with running_retriever(away) as retriever:
        found = answer(retriever, scope, "parental leave")
    away.close()
    assert (texts(found), found.status) == ([LEAVE], RetrievalStatus.DEGRADED)
    assert found.problem.startswith(f"The vector store at {NOWHERE} fails")
    assert found.is_searched
    with running_retriever() as retriever:
        assert "set CHROMA_URL" in answer(retriever, scope, "leave").problem
    with running_retriever(store) as retriever:  # and nothing is in it
        candidates = ask(retriever, scope, "parental leave")
    assert candidates.problem == NOT_MIRRORED
    assert [candidates.passages[each.chunk_id].text for each in candidates.ranked] == [
        LEAVE
    ]
    Chunk.objects.filter(text__startswith="word").update(
        vector_state=VectorState.INDEXED
    )
    with running_retriever(store) as retriever:
        found = answer(retriever, scope, "parental leave")
    assert (texts(found), found.problem) == ([LEAVE], "")


# --- A database that takes no note of a collection's use --------------------------------

LOCKED = f"""
import sqlite3
from pathlib import Path
from django.db import connection
from rag.models import Collection
from rag.vectorstore import VectorStore
from tests.rag.library_scenes import make_scope
from tests.rag.passage_scenes import answer, make_shelf, put, running_retriever, texts

scope = make_scope()
put(make_shelf(scope), {LEAVE!r})

def pragma(what):
    with connection.cursor() as cursor:
        cursor.execute(f"PRAGMA {{what}}")
        return cursor.fetchall()

def ask():
    with running_retriever() as retriever:
        assert texts(answer(retriever, scope, "parental leave")) == [{LEAVE!r}]

pragma("busy_timeout = 600000")
writer = sqlite3.connect(connection.settings_dict["NAME"], isolation_level=None)
writer.execute("BEGIN IMMEDIATE")
ask()
writer.execute("ROLLBACK")
pragma("query_only = ON")
ask()
pragma("query_only = OFF")
assert Collection.objects.get().last_used_at is None
assert pragma("busy_timeout") == [(600000,)]
ask()
assert Collection.objects.get().last_used_at is not None
"""


def test_a_locked_or_read_only_database_does_not_hold_an_answer_up(
    database_template: Path, tmp_path: Path
) -> None:
    path = tmp_path / "ailb.sqlite3"
    path.write_bytes(database_template.read_bytes())
    done = subprocess.run(
        [sys.executable, "manage.py", "shell", "--no-imports", "-c", LOCKED],
        cwd=settings.BASE_DIR,
        env={
            **os.environ,
            "DATABASE_URL": f"sqlite:///{path}",
            "AILB_DATA_DIR": str(tmp_path),
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=60,  # far less than the database would wait for its lock
    )
    assert done.returncode == 0, done.stdout + done.stderr
