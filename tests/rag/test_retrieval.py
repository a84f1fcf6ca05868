"""Questions to collections: what is found, in which order, and what is never found."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from django.apps import apps
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from rag.attributes import parse_filter
from rag.choosing import NO_ROOM
from rag.errors import CollectionNotFound
from rag.models import Chunk, ChunkVector, Collection, Document, IndexState, Visibility
from rag.questions import Rerank, RetrievalStatus
from rag.retrieval import OUT_OF_TIME, Retriever
from tests.memory.scenes import HashedWords
from tests.rag.library_scenes import make_scope
from tests.rag.passage_scenes import (
    EMBEDDER,
    add_version,
    answer,
    ask,
    index_of,
    make_index,
    make_shelf,
    put,
    running_retriever,
    texts,
    write_chunks,
)

pytestmark = pytest.mark.django_db

LEAVE = "parental leave is fourteen weeks long"
TRAVEL = "travel by train is paid in first class"
LUNCH = "lunch costs nine euros at most"
NEVER = datetime(2000, 1, 1, tzinfo=UTC)
YEAR = {"type": "gte", "key": "year", "value": 2026}


@pytest.fixture(scope="module")
def retriever() -> Iterator[Retriever]:
    with running_retriever() as running:
        yield running


def test_the_best_comes_first_with_its_place_and_the_parts_of_its_score(
    retriever: Retriever,
) -> None:
    scope = make_scope()
    document = put(make_shelf(scope), LUNCH, LEAVE, TRAVEL, filename="rules.pdf")
    found = answer(retriever, scope, "how long is parental leave")
    assert (found.status, found.problem) == (RetrievalStatus.HIT, "")
    hit = found.hits[0]
    assert (hit.text, hit.document_id, hit.filename) == (
        LEAVE,
        document.uid,
        "rules.pdf",
    )
    assert (hit.start, hit.end, hit.page) == (130, 130 + len(LEAVE), 2)
    assert hit.collection == "handbook"
    assert hit.score == 1.0
    assert hit.parts == {"dense": 1.0, "keyword": 1.0}


def test_words_find_what_the_embedding_does_not_and_the_other_way_round() -> None:
    scope = make_scope()
    shelf = make_shelf(scope)
    put(shelf, "weeks of leave", "the leaves of trees")
    vectors = ChunkVector.objects.filter(chunk__text="the leaves of trees")
    vectors.update(data=bytes(2 * EMBEDDER.id.dimension))  # near to nothing
    with running_retriever() as retriever:
        both = ask(retriever, scope, "leaves")
    parts = {both.passages[one.chunk_id].text: one.parts for one in both.ranked}
    assert parts["the leaves of trees"]["keyword"] > 0
    assert set(parts) == {"weeks of leave", "the leaves of trees"}


@pytest.mark.parametrize("query", ["", " \n", "\u200b\x00"])
def test_an_empty_question_finds_nothing(retriever: Retriever, query: str) -> None:
    scope = make_scope()
    put(make_shelf(scope), LEAVE)
    found = answer(retriever, scope, query)
    assert (found.status, found.hits, found.problem) == (RetrievalStatus.MISS, (), "")


@pytest.mark.parametrize(
    "query", ["leave", "the of and", "\ud800 leave \0", "leave " * 50_000, "\U0001f600"]
)
def test_whatever_is_asked_is_answered(retriever: Retriever, query: str) -> None:
    scope = make_scope()
    put(make_shelf(scope), LEAVE)
    found = answer(retriever, scope, query)
    assert (texts(found), found.problem) == ([LEAVE], "")


def test_an_empty_collection_has_no_answer_and_no_problem(retriever: Retriever) -> None:
    scope = make_scope()
    make_shelf(scope, embedding="")
    found = answer(retriever, scope, "parental leave")
    assert (found.status, found.problem) == (RetrievalStatus.MISS, "")
    assert found.is_searched


# --- What is found, and what is not any more -----------------------------------------


def test_only_the_version_that_is_found_is_searched(retriever: Retriever) -> None:
    scope = make_scope()
    document = put(make_shelf(scope), "leave is ten weeks")
    newer = add_version(document, "leave is twelve weeks")
    assert texts(answer(retriever, scope, "leave")) == ["leave is ten weeks"]
    Document.objects.filter(pk=document.pk).update(current=newer)
    assert texts(answer(retriever, scope, "leave")) == ["leave is twelve weeks"]
    Document.objects.filter(pk=document.pk).update(current=None)
    assert texts(answer(retriever, scope, "leave")) == []


@pytest.mark.parametrize("state", [IndexState.BUILDING, IndexState.PREVIOUS])
def test_only_the_index_that_serves_is_searched(
    retriever: Retriever, state: str
) -> None:
    scope = make_scope()
    shelf = make_shelf(scope)
    version = put(shelf, LEAVE).versions.get()
    write_chunks(make_index(shelf, state), version, ["leave, cut otherwise"])
    assert texts(answer(retriever, scope, "leave")) == [LEAVE]


def test_a_deleted_document_is_not_found(retriever: Retriever) -> None:
    scope = make_scope()
    document = put(make_shelf(scope), LEAVE)
    assert texts(answer(retriever, scope, "leave")) == [LEAVE]
    Document.objects.filter(pk=document.pk).delete()
    assert answer(retriever, scope, "leave").status == RetrievalStatus.MISS


# --- How much is taken ---------------------------------------------------------------


def test_as_many_as_the_request_says_else_as_the_collection_says(
    retriever: Retriever,
) -> None:
    scope = make_scope()
    # Of one length, so that only their number tells them apart.
    put(make_shelf(scope, top_k=2), *(f"leave number{n} word{n}" for n in range(40)))
    assert len(answer(retriever, scope, "leave").hits) == 2
    assert len(answer(retriever, scope, "leave", top_k=5).hits) == 5
    assert len(answer(retriever, scope, "leave", top_k=20).hits) == 20
    assert len(ask(retriever, scope, "leave", top_k=100).ranked) == 40


def test_sources_fit_into_the_room_that_is_left(retriever: Retriever) -> None:
    scope = make_scope()
    put(make_shelf(scope), *(f"leave number{n} {'word ' * 50}" for n in range(3)))
    whole = answer(retriever, scope, "leave")
    assert len(whole.hits) == 3
    cost = whole.hits[0].tokens + 30
    some = answer(retriever, scope, "leave", room_tokens=110 + 2 * cost)
    assert (len(some.hits), some.status) == (2, RetrievalStatus.HIT)
    none = answer(retriever, scope, "leave", room_tokens=60)
    assert (none.hits, none.status, none.problem, none.is_searched) == (
        (),
        RetrievalStatus.DEGRADED,
        NO_ROOM,
        False,
    )


def test_a_collections_settings_bound_what_is_given(retriever: Retriever) -> None:
    scope = make_scope()
    shelf = make_shelf(scope, per_document=1, is_strict=True, is_required=True)
    put(shelf, LEAVE, "leave is granted", gap=0)
    found = answer(retriever, scope, "parental leave")
    assert texts(found) == [LEAVE]
    assert (found.is_strict, found.is_required) == (True, True)
    Collection.objects.update(per_document=None)
    assert texts(answer(retriever, scope, "parental leave")) == [
        f"{LEAVE}leave is granted"
    ]
    Collection.objects.update(joins_neighbours=False)
    assert len(answer(retriever, scope, "parental leave").hits) == 2
    Collection.objects.update(relative_cut=0.9)
    assert len(answer(retriever, scope, "parental leave").hits) == 1
    Collection.objects.update(max_tokens=100, relative_cut=0, min_score=1)
    assert len(answer(retriever, scope, "parental leave").hits) == 1


def test_a_reranker_is_named_where_all_collections_name_the_same(
    retriever: Retriever,
) -> None:
    scope = make_scope()
    providers = apps.get_model("gateway", "Provider").objects
    first, second = (
        providers.create(name=name, kind="openai_compatible", base_url="http://x")
        for name in ("one", "two")
    )
    make_shelf(scope, "a", rerank_provider=first, rerank_model="m")
    make_shelf(scope, "b", rerank_provider=first, rerank_model="m")
    make_shelf(scope, "c", rerank_provider=second, rerank_model="m")
    make_shelf(scope, "d")
    assert ask(retriever, scope, "leave", "a", "b").rerank == Rerank("one", "m")
    assert ask(retriever, scope, "leave", "a", "c").rerank is None
    assert ask(retriever, scope, "leave", "a", "d").rerank is None


# --- Several collections -------------------------------------------------------------


def test_several_collections_are_one_pool_under_the_strictest_bounds(
    retriever: Retriever,
) -> None:
    scope = make_scope()
    put(make_shelf(scope, "a", top_k=1, is_strict=True, per_document=2), LEAVE)
    put(make_shelf(scope, "b", top_k=4, min_score=0.1, per_document=5), TRAVEL, LUNCH)
    candidates = ask(retriever, scope, "parental leave by train", "a", "b", "a")
    selection = candidates.selection
    assert (selection.most, selection.per_document, selection.min_score) == (4, 2, 0.1)
    assert candidates.is_strict
    assert not candidates.is_required
    found = answer(retriever, scope, "parental leave by train", "a", "b")
    assert {(hit.collection, hit.text) for hit in found.hits} == {
        ("a", LEAVE),
        ("b", TRAVEL),
    }


def test_documents_of_one_id_in_two_collections_stay_two(retriever: Retriever) -> None:
    scope = make_scope()
    for name, text in (("a", "leave is ten weeks"), ("b", "leave is eleven weeks")):
        put(make_shelf(scope, name, per_document=1), text, uid="file-1")
    found = answer(retriever, scope, "leave", "a", "b")
    assert sorted(hit.collection for hit in found.hits) == ["a", "b"]
    assert {hit.document_id for hit in found.hits} == {"file-1"}


def test_collections_of_two_embeddings_are_ranked_apart_and_merged() -> None:
    scope = make_scope()
    other = HashedWords("other")
    put(make_shelf(scope, "a"), LEAVE, LUNCH)
    put(make_shelf(scope, "b", embedding=str(other.id)), f"{LEAVE} or more", TRAVEL)
    with running_retriever(embedder=other) as retriever:
        found = answer(retriever, scope, "parental leave", "a", "b")
    assert found.status == RetrievalStatus.DEGRADED
    assert "'a' was embedded by hashed-words/fp32/512" in found.problem
    assert "re-index" in found.problem
    assert [hit.collection for hit in found.hits][:2] in (["a", "b"], ["b", "a"])
    assert [hit.score for hit in found.hits][:2] == [1.0, 1.0]


def test_one_name_that_is_not_there_fails_the_whole_question(
    retriever: Retriever,
) -> None:
    scope = make_scope()
    put(make_shelf(scope), LEAVE)
    with pytest.raises(CollectionNotFound):
        ask(retriever, scope, "leave", "handbook", "nothing")


# --- Filters -------------------------------------------------------------------------


def test_only_documents_that_match_are_searched(retriever: Retriever) -> None:
    scope = make_scope()
    shelf = make_shelf(scope)
    put(shelf, "leave of old", attributes={"year": 2025})
    put(shelf, "leave of today", attributes={"year": 2026})
    put(shelf, "leave of no year")

    def found(value: object) -> set[str]:
        return set(
            texts(answer(retriever, scope, "leave", filters=parse_filter(value)))
        )

    assert found(YEAR) == {"leave of today"}
    assert found({"type": "ne", "key": "year", "value": 2025}) == {
        "leave of today",
        "leave of no year",
    }
    assert found({"type": "eq", "key": "year", "value": True}) == set()


def test_a_filter_that_matches_nothing_is_a_miss(retriever: Retriever) -> None:
    scope = make_scope()
    put(make_shelf(scope), LEAVE, attributes={"year": 1999})
    found = answer(retriever, scope, "leave", filters=parse_filter(YEAR))
    assert (found.status, found.hits, found.problem) == (RetrievalStatus.MISS, (), "")


def test_a_filter_finds_what_is_far_behind_others(retriever: Retriever) -> None:
    scope = make_scope()
    shelf = make_shelf(scope)
    put(shelf, *(f"leave leave word{n}" for n in range(150)))
    put(shelf, "a word on leave", attributes={"year": 2026})
    found = answer(retriever, scope, "leave", filters=parse_filter(YEAR))
    assert texts(found) == ["a word on leave"]


# --- What is away --------------------------------------------------------------------


def test_without_an_embedder_words_are_searched_and_the_problem_is_told() -> None:
    scope = make_scope()
    put(make_shelf(scope), LEAVE, LUNCH)
    with running_retriever(embedder=None) as retriever:
        found = answer(retriever, scope, "parental leave")
    assert (texts(found), found.status) == ([LEAVE], RetrievalStatus.DEGRADED)
    assert found.problem == "There is no embedder in this test."
    assert found.hits[0].score == 1.0
    assert found.is_searched


def test_chunks_without_vectors_are_found_by_words_and_that_is_told(
    retriever: Retriever,
) -> None:
    scope = make_scope()
    shelf = make_shelf(scope, embedding="")
    put(shelf, LEAVE, LUNCH)
    ChunkVector.objects.filter(chunk__index=index_of(shelf)).delete()
    found = answer(retriever, scope, "parental leave")
    assert (texts(found), found.status) == ([LEAVE], RetrievalStatus.DEGRADED)
    assert "being embedded" in found.problem


def test_a_chunk_that_cannot_be_embedded_is_found_by_its_words(
    retriever: Retriever,
) -> None:
    scope = make_scope()
    put(make_shelf(scope), LEAVE, LUNCH)
    ChunkVector.objects.filter(chunk__text=LEAVE).delete()
    found = answer(retriever, scope, "parental leave")
    assert LEAVE in texts(found)
    assert found.status == RetrievalStatus.HIT


def test_without_time_nothing_is_searched_and_that_is_told(
    retriever: Retriever,
) -> None:
    scope = make_scope()
    put(make_shelf(scope, is_required=True), LEAVE)
    now_s = time.monotonic()
    for filters in (None, parse_filter(YEAR)):
        candidates = ask(retriever, scope, "leave", until_s=now_s, filters=filters)
        assert not candidates.is_searched
        assert (candidates.ranked, candidates.problem) == ((), OUT_OF_TIME)
        assert candidates.is_required


# --- What it costs -------------------------------------------------------------------


def test_a_question_costs_few_queries_however_many_collections(
    retriever: Retriever,
) -> None:
    scope = make_scope()
    names = [f"c{number}" for number in range(4)]
    for name in names:
        put(make_shelf(scope, name), LEAVE, LUNCH)
    answer(retriever, scope, "leave", *names)  # notes that they are used
    with CaptureQueriesContext(connection) as one:
        answer(retriever, scope, "leave", names[0])
    with CaptureQueriesContext(connection) as four:
        answer(retriever, scope, "leave", *names)
    # Of each further collection: what the keyword index is asked.
    assert len(four) <= len(one) + 3 * 3
    assert len(one) <= 12


def test_a_collection_says_when_it_was_used_last() -> None:
    scope = make_scope()
    put(make_shelf(scope), LEAVE)
    with running_retriever() as retriever:
        answer(retriever, scope, "leave")
        assert timezone.now() - (last_used() or NEVER) < timedelta(minutes=1)
        Collection.objects.update(last_used_at=None)
        answer(retriever, scope, "leave")  # within the minute
        assert last_used() is None
    for before, is_noted in ((NEVER, True), (timezone.now(), False)):
        Collection.objects.update(last_used_at=before)
        with running_retriever() as another:
            answer(another, scope, "leave")
        assert (last_used() != before) == is_noted


def last_used() -> datetime | None:
    return Collection.objects.get().last_used_at


def test_another_tenants_collection_is_searched_where_it_is_for_everybody(
    retriever: Retriever,
) -> None:
    theirs = make_scope("theirs")
    put(make_shelf(theirs, "shared", visibility=Visibility.EVERYBODY), LEAVE)
    assert texts(answer(retriever, make_scope(), "leave", "shared")) == [LEAVE]


def test_no_more_is_ranked_than_is_there(retriever: Retriever) -> None:
    scope = make_scope()
    put(make_shelf(scope), LEAVE, TRAVEL, LUNCH)
    candidates = ask(retriever, scope, "leave")
    assert {one.chunk_id for one in candidates.ranked} == set(candidates.passages)
    assert list(candidates.texts(2)) == [one.chunk_id for one in candidates.ranked[:2]]
    assert Chunk.objects.count() == len(candidates.ranked)
