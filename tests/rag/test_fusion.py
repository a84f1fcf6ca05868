"""Fusion: the better chunk first, each thing once, as much as is wanted."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, strategies as st

from rag.fusion import LABEL_TOKENS, Fused, Passage, Selection, fuse, merge, select

IDS = st.sampled_from("abcdefgh")
DENSE = st.dictionaries(IDS, st.floats(-1, 1))
KEYWORD = st.dictionaries(IDS, st.integers(0, 1_000).map(float))
WORDS = ["zebra", "apple", "river", "stone", "cloud", "tower", "piano", "glass"]


def passage(chunk_id: str, text: str = "", **given: Any) -> Passage:
    """Make a passage; without a text it says what no other one says."""
    text = text or f"{chunk_id} {chunk_id}x {chunk_id}y"
    made = Passage(
        chunk_id=chunk_id,
        document_id=chunk_id,
        filename="f.pdf",
        text=text,
        start=0,
        end=len(text),
        page=None,
        tokens=10,
    )
    start = given.get("start", 0)
    return replace(made, **{"end": start + len(text), **given})


def ranking(*passages: Passage, scores=None) -> list[Fused]:
    """Rank passages in the order given."""
    scores = scores or [1 - place / 100 for place in range(len(passages))]
    pairs = zip(passages, scores, strict=True)
    return [Fused(one.chunk_id, score, {"dense": score}) for one, score in pairs]


def found(*passages: Passage, scores=None, **given) -> list[tuple[str, ...]]:
    """Select among passages, best first."""
    ranked = ranking(*passages, scores=scores)
    table = {one.chunk_id: one for one in passages}
    return [hit.chunk_ids for hit in select(ranked, table, Selection(**given))]


def test_a_score_is_65_and_35_parts_of_two_shares():
    ranked = fuse({"a": 0.8, "b": 0.6, "c": 0.4}, {"b": 12.0, "d": 3.0})
    assert {one.chunk_id: one.parts for one in ranked} == {
        "a": {"dense": 1.0, "keyword": 0.0},
        "b": {"dense": pytest.approx(0.5), "keyword": 1.0},
        "c": {"dense": 0.0, "keyword": 0.0},
        "d": {"dense": 0.0, "keyword": 0.25},
    }
    assert [one.chunk_id for one in ranked] == ["b", "a", "d", "c"]
    assert [one.score for one in ranked] == pytest.approx([0.675, 0.65, 0.0875, 0.0])


def test_a_search_that_could_not_be_made_leaves_all_to_the_other():
    assert [one.score for one in fuse(None, {"a": 2.0, "b": 1.0})] == [1.0, 0.5]
    assert [one.score for one in fuse({"a": 0.9, "b": 0.1}, None)] == [1.0, 0.0]
    assert [one.score for one in fuse({"a": 0.9, "b": 0.1}, {})] == [0.65, 0.0]
    assert fuse(None, None) == []


def test_a_candidate_alone_is_the_best_one():
    assert fuse({"a": 0.2}, {"a": 0.1})[0].score == 1.0


@given(DENSE, KEYWORD)
def test_every_candidate_has_one_place_and_a_score_of_0_to_1(dense, keyword):
    ranked = fuse(dense, keyword)
    assert sorted(one.chunk_id for one in ranked) == sorted({*dense, *keyword})
    scores = [one.score for one in ranked]
    assert scores == sorted(scores, reverse=True)
    assert all(0 <= score <= 1 for score in scores)


@given(DENSE, KEYWORD, st.sampled_from([0.125, 0.5, 4.0, 1024.0]))
def test_the_scale_of_the_keyword_scores_changes_nothing(dense, keyword, scale):
    scaled = {chunk_id: score * scale for chunk_id, score in keyword.items()}
    assert fuse(dense, scaled) == fuse(dense, keyword)


@given(DENSE, KEYWORD, st.randoms(use_true_random=False))
def test_the_order_of_the_candidates_changes_nothing(dense, keyword, draw):
    shuffled = [list(dense.items()), list(keyword.items())]
    for items in shuffled:
        draw.shuffle(items)
    assert fuse(*map(dict, shuffled)) == fuse(dense, keyword)


@given(DENSE, KEYWORD, IDS)
def test_a_better_keyword_score_never_makes_it_worse(dense, keyword, chunk_id):
    def place(scores: dict[str, float]) -> int:
        ranked = fuse(dense, scores)
        return [one.chunk_id for one in ranked].index(chunk_id)

    keyword = {**keyword, chunk_id: keyword.get(chunk_id, 0.0)}
    better = {**keyword, chunk_id: keyword[chunk_id] + 500}
    assert place(better) <= place(keyword)


def test_the_best_are_taken_and_what_is_not_there_is_passed_over():
    a, b, c = passage("a"), passage("b"), passage("c")
    assert found(a, b, c, most=2) == [("a",), ("b",)]
    hits = select(ranking(a, b, c), {"b": b, "c": c}, Selection(most=2))
    assert [hit.chunk_ids for hit in hits] == [("b",), ("c",)]
    assert select(ranking(a), {}, Selection()) == ()


def test_a_hit_says_what_it_is_made_of():
    (hit,) = select(
        ranking(passage("a", page=4)), {"a": passage("a", page=4)}, Selection()
    )
    assert (hit.score, hit.parts, hit.page) == (1.0, {"dense": 1.0}, 4)


@pytest.mark.parametrize(
    ("given", "ids"),
    [
        ({}, ["a", "b", "c"]),
        ({"min_score": 0.5}, ["a", "b"]),
        ({"min_score": 0.9}, []),
        ({"relative_cut": 0.7}, ["a"]),
        ({"relative_cut": 0.6}, ["a", "b"]),
    ],
)
def test_what_scores_too_little_is_cut(given, ids):
    passages = [passage(chunk_id) for chunk_id in "abc"]
    hits = found(*passages, scores=[0.8, 0.5, 0.1], **given)
    assert hits == [(chunk_id,) for chunk_id in ids]


def test_the_same_text_comes_once():
    text = " ".join(f"{first} {second}" for first in WORDS for second in WORDS)
    nearly = f"{text} once more"
    other = " ".join(sorted(text.split()))
    passages = [passage("a", text), passage("b", nearly), passage("c", other)]
    assert found(*passages) == [("a",), ("c",)]
    assert found(passage("a", "Who?"), passage("b", "Who?"), passage("c", "You.")) == [
        ("a",),
        ("c",),
    ]


def test_a_document_has_no_more_than_its_share():
    passages = [
        passage(chunk_id, document_id=document_id, start=place * 1_000)
        for place, (chunk_id, document_id) in enumerate(
            zip("abcd", "xxxy", strict=True)
        )
    ]
    assert found(*passages, per_document=2) == [("a",), ("b",), ("d",)]
    assert found(*passages) == [("a",), ("b",), ("c",)]


def test_the_budget_is_kept_and_what_is_too_long_is_passed_over():
    passages = [passage("a"), passage("b", tokens=500), passage("c"), passage("d")]
    room = 2 * (10 + LABEL_TOKENS)
    assert found(*passages, max_tokens=room) == [("a",), ("c",)]
    assert found(*passages, max_tokens=room - 1) == [("a",)]
    assert found(*passages, max_tokens=0) == []
    assert found(*passages, max_tokens=None) == [("a",), ("b",), ("c",)]


DOCUMENT = "".join(f"{word} {number}.\n\n" for number, word in enumerate(WORDS * 5))
CUTS = st.lists(
    st.tuples(st.integers(0, len(DOCUMENT) - 1), st.integers(1, 60), st.floats(0, 1)),
    min_size=1,
    max_size=8,
)


def test_neighbours_become_one_hit_and_others_do_not():
    spans = {"a": (0, 20), "b": (20, 45), "c": (40, 60), "d": (70, 90)}
    passages = [
        passage(chunk_id, DOCUMENT[start:end], document_id="x", start=start, page=start)
        for chunk_id, (start, end) in spans.items()
    ]
    other = passage("e", start=60)
    c, a, b, d = (passages[place] for place in (2, 0, 1, 3))
    assert found(c, a, b, d, other, most=5) == [("a", "b", "c"), ("d",), ("e",)]
    ranked = ranking(c, a, b)
    table = {one.chunk_id: one for one in passages}
    (hit,) = select(ranked, table, Selection())
    assert hit.text == DOCUMENT[:60].rstrip()
    assert (hit.start, hit.end, hit.page) == (0, len(hit.text), 0)
    assert (hit.score, hit.tokens) == (1.0, 30)
    apart = select(ranked, table, Selection(joins_neighbours=False))
    assert [hit.chunk_ids for hit in apart] == [("c",), ("a",), ("b",)]


@given(CUTS, st.booleans())
def test_a_hit_is_exactly_its_place_in_the_document(cuts, joins):
    passages = [
        passage(
            str(place), DOCUMENT[start : start + size], document_id="x", start=start
        )
        for place, (start, size, _) in enumerate(cuts)
        if DOCUMENT[start : start + size].strip()
    ]
    scores = sorted((score for *_, score in cuts[: len(passages)]), reverse=True)
    hits = select(
        ranking(*passages, scores=scores),
        {one.chunk_id: one for one in passages},
        Selection(most=20, joins_neighbours=joins),
    )
    assert all(hit.text == DOCUMENT[hit.start : hit.end] for hit in hits)
    assert [hit.score for hit in hits] == sorted(
        (hit.score for hit in hits), reverse=True
    )
    if joins:
        spans = sorted((hit.start, hit.end) for hit in hits)
        assert all(a[1] < b[0] for a, b in itertools.pairwise(spans))


@given(DENSE, KEYWORD)
def test_rankings_that_were_made_apart_become_one(dense, keyword):
    def renamed(scores: dict[str, float]) -> dict[str, float]:
        return {f"{chunk_id}2": score for chunk_id, score in scores.items()}

    one, other = fuse(dense, keyword), fuse(renamed(dense), None)
    merged = merge(one, other)
    assert sorted(merged, key=id) == sorted([*one, *other], key=id)
    scores = [each.score for each in merged]
    assert scores == sorted(scores, reverse=True)
    assert merge(other, one) == merged
    assert merge() == []


def test_documents_of_one_id_in_two_collections_are_two():
    first = passage("a", DOCUMENT[:20], document_id="x", start=0, collection="one")
    second = passage("b", DOCUMENT[20:40], document_id="x", start=20, collection="two")
    assert found(first, second) == [("a",), ("b",)]
    assert found(first, second, per_document=1) == [("a",), ("b",)]
    same = replace(second, collection="one")
    assert found(first, same) == [("a", "b")]
    assert found(first, same, per_document=1) == [("a",)]
    ranked = ranking(first, second)
    hits = select(ranked, {"a": first, "b": second}, Selection())
    assert [hit.collection for hit in hits] == ["one", "two"]


def test_equal_scores_stay_in_their_order_whether_joined_or_not():
    b, a, c = (passage(chunk_id) for chunk_id in "bac")
    for joins in (True, False):
        hits = found(b, a, c, scores=[0.5, 0.5, 0.5], joins_neighbours=joins)
        assert hits == [("b",), ("a",), ("c",)]
