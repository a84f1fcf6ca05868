"""What is given of what was found: in the search's order, or in a reranker's."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, strategies as st

from rag.choosing import NO_ROOM, RERANK, choose
from rag.fusion import Fused, Passage, Selection
from rag.questions import Candidates, RetrievalStatus

IDS = "abcdef"
SCORES = st.dictionaries(
    st.sampled_from(IDS), st.floats(allow_nan=True, allow_infinity=True)
)


def found(ids: str = "abc", **given) -> Candidates:
    """Give candidates whose names are their texts, each scored less than the one before."""
    passages = {
        chunk_id: Passage(chunk_id, chunk_id, "f.txt", chunk_id, 0, 1, None, 10)
        for chunk_id in ids
    }
    ranked = [
        Fused(chunk_id, 1 - place / 10, {"dense": 1.0, "keyword": 0.5})
        for place, chunk_id in enumerate(ids)
    ]
    return Candidates(ranked, passages, given.pop("selection", Selection()), **given)


def names(candidates: Candidates, scores: dict[str, float] | None) -> str:
    return "".join(hit.text for hit in choose(candidates, scores).hits)


def test_without_a_reranker_the_order_of_the_search_stays():
    assert names(found(), None) == "abc"
    assert names(found(), {}) == "abc"
    assert names(found(selection=Selection(most=2)), None) == "ab"


def test_the_order_is_the_rerankers_and_its_score_is_told():
    result = choose(found(), {"c": 0.9, "a": 0.2, "b": 0.4})
    assert [hit.text for hit in result.hits] == ["c", "b", "a"]
    best = result.hits[0]
    assert best.score == 0.9
    assert best.parts == {"dense": 1.0, "keyword": 0.5, RERANK: 0.9}


def test_what_a_reranker_does_not_score_comes_behind():
    assert names(found("abcd"), {"b": 0.1, "x": 0.9, "c": math.nan}) == "bac"
    hits = choose(found(), {"b": 0.1}).hits
    assert [hit.score for hit in hits] == [0.1, 0.1, 0.1]
    assert [RERANK in hit.parts for hit in hits] == [True, False, False]


@pytest.mark.parametrize(
    "scores", [{"a": -8.0, "b": 3.0, "c": 0.0}, {"a": -1e9, "b": 1e9, "c": 1}]
)
def test_scores_of_any_scale_become_0_to_1(scores):
    hits = choose(found(), scores).hits
    assert [hit.text for hit in hits] == ["b", "c", "a"]
    assert all(0 <= hit.score <= 1 for hit in hits)


def test_bounds_on_scores_are_bounds_on_the_rerankers():
    candidates = found(selection=Selection(min_score=0.5))
    assert names(candidates, {"a": 0.4, "b": 0.6, "c": 0.5}) == "bc"


@given(SCORES)
def test_hits_come_best_first_whatever_the_scores(scores):
    result = choose(found(IDS, selection=Selection(most=20)), scores)
    given = [hit.score for hit in result.hits]
    assert given == sorted(given, reverse=True)
    assert all(0 <= score <= 1 for score in given)
    assert {hit.text for hit in result.hits} == set(IDS)
    told = [hit for hit in result.hits if RERANK in hit.parts]
    assert list(result.hits[: len(told)]) == told
    assert {hit.text for hit in told} == {
        key for key, score in scores.items() if math.isfinite(score)
    }


def test_the_status_says_how_it_went():
    assert choose(found(), None).status == RetrievalStatus.HIT
    assert choose(found(""), None).status == RetrievalStatus.MISS
    away = choose(found(problem="away", is_searched=False), None)
    assert (away.status, away.problem) == (RetrievalStatus.DEGRADED, "away")
    assert len(away.hits) == 3
    assert not away.is_searched
    strict = choose(found("", is_strict=True, is_required=True), None)
    assert (strict.is_strict, strict.is_required, strict.is_searched) == (True,) * 3


def test_what_does_not_fit_is_not_said_to_be_nothing():
    result = choose(found(selection=Selection(max_tokens=5)), None)
    assert (result.hits, result.problem) == ((), NO_ROOM)
    assert result.status == RetrievalStatus.DEGRADED
    assert not result.is_searched
    below = choose(found("b", selection=Selection(max_tokens=5, min_score=1.1)), None)
    assert (below.status, below.problem) == (RetrievalStatus.MISS, "")
