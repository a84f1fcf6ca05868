"""The right turns come first: keywords, embeddings, and their neighbours."""

from __future__ import annotations

import math
import threading
import time
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, strategies as st

from memory.ranking import TurnIndex, fuse, rank, smooth
from rag.terms import terms_of

WORDS = ["zebra", "apple", "river", "stone", "cloud", "tower", "piano"]
TEXTS = st.lists(
    st.lists(st.sampled_from(WORDS), max_size=6).map(" ".join), max_size=12
)
QUERIES = st.lists(st.sampled_from([*WORDS, "absent"]), max_size=5).map(" ".join)


def index_of(*texts: str) -> TurnIndex:
    index = TurnIndex()
    index.extend(texts)
    return index


def bm25(texts: list[str], query: str) -> list[float]:
    """Score as the textbook has it, term by term."""
    documents = [Counter(terms_of(text)) for text in texts]
    sizes = [document.total() for document in documents]
    average = max(sum(sizes) / len(sizes), 1.0) if sizes else 1.0
    scores = [0.0] * len(texts)
    for term in terms_of(query):
        holding = sum(term in document for document in documents)
        idf = math.log(1 + (len(texts) - holding + 0.5) / (holding + 0.5))
        for position, document in enumerate(documents):
            count = document[term]
            norm = 1.5 * (1 - 0.75 + 0.75 * sizes[position] / average)
            scores[position] += idf * count * 2.5 / (count + norm)
    return scores


@given(TEXTS, QUERIES)
def test_keyword_scores_are_bm25(texts, query):
    scores = index_of(*texts).keyword_scores(query)
    np.testing.assert_allclose(scores, bm25(texts, query), atol=1e-12)
    assert (scores >= 0).all()


@given(TEXTS, QUERIES, st.data())
def test_turns_that_are_not_usable_have_no_influence(texts, query, data):
    usable = np.array([data.draw(st.booleans()) for _ in texts], dtype=bool)
    kept = [text for text, use in zip(texts, usable, strict=True) if use]
    dense = np.linspace(0.1, 0.9, len(texts))
    scores = rank(index_of(*texts), query, dense, usable=usable)
    alone = rank(index_of(*kept), query, dense[usable])
    np.testing.assert_allclose(scores.smoothed[usable], alone.smoothed)
    assert not scores.smoothed[~usable].any()
    assert {found.position for found in scores.best(99)} == set(np.flatnonzero(usable))


@given(TEXTS, TEXTS, QUERIES)
def test_later_turns_beyond_the_mask_are_not_there(texts, later, query):
    usable = np.ones(len(texts), dtype=bool)
    whole = rank(index_of(*texts, *later), query, None, usable=usable)
    before = rank(index_of(*texts), query, None)
    np.testing.assert_array_equal(whole.smoothed, before.smoothed)


@given(TEXTS, QUERIES)
def test_an_index_grows_to_what_it_would_be_when_built_at_once(texts, query):
    grown = TurnIndex()
    for text in texts:
        grown.keyword_scores(query)
        grown.append(text)
    assert len(grown) == len(texts)
    np.testing.assert_array_equal(
        grown.keyword_scores(query), index_of(*texts).keyword_scores(query)
    )


def test_the_recipe_is_the_measured_one():
    fused = fuse(np.array([0.0, 1.0, 0.5]), np.array([0.0, 0.0, 1.0]))
    np.testing.assert_allclose(fused, [0.0, 0.5, 0.75])
    np.testing.assert_allclose(smooth(fused), [0.125, 0.6875, 1.0])


def test_a_ranking_tells_what_its_scores_are_made_of():
    index = index_of("the zebra", "nothing", "an apple and a zebra")
    best = rank(index, "zebra apple", np.array([0.2, 0.4, 0.6])).best(1)[0]
    assert best.position == 2
    assert best.parts == pytest.approx(
        {"dense": 1.0, "keyword": 1.0, "fused": 1.0, "smoothed": 1.125}
    )
    assert best.score == best.parts["smoothed"]


@pytest.mark.parametrize(
    ("dense", "spread"),
    [
        ([0.5, 0.5, 0.5], [0, 0, 0]),
        ([0.1, 0.3, 0.2], [0, 1, 0.5]),
        ([math.nan, 0.3, 0.1], [0, 1, 0]),
        ([-0.2, math.nan, 0.2], [0, 0, 1]),
        ([math.nan] * 3, [0, 0, 0]),
        ([math.nan, 0.3, math.nan], [0, 0, 0]),
        (None, [0, 0, 0]),
    ],
)
def test_similarities_are_spread_and_what_is_missing_is_the_least(dense, spread):
    similarities = None if dense is None else np.array(dense, dtype=np.float32)
    scores = rank(index_of("zebra", "apple", "stone"), "absent", similarities)
    np.testing.assert_allclose(scores.dense, spread, atol=1e-6)
    np.testing.assert_array_equal(scores.keyword, [0, 0, 0])


def test_keywords_alone_rank_when_there_are_no_embeddings():
    scores = rank(index_of("zebra", "apple", "stone"), "the stone", None)
    assert scores.best(1)[0].position == 2
    np.testing.assert_allclose(scores.fused, [0, 0, 0.5])


def test_of_equals_the_newer_comes_first():
    index = index_of("zebra", "apple", "zebra", "apple", "stone", "cloud")
    assert [found.position for found in rank(index, "absent", None).best(3)] == [
        5,
        4,
        3,
    ]


def test_only_what_is_asked_for_comes():
    scores = rank(index_of("zebra", "zebra apple", "zebra"), "zebra apple", None)
    among = np.array([True, False, True])
    assert [found.position for found in scores.best(5, among=among)] == [2, 0]
    assert scores.best(0) == []


def test_an_empty_index_ranks_nothing():
    assert rank(TurnIndex(), "zebra", None).best(5) == []
    assert (
        rank(index_of("a"), "zebra", None, usable=np.zeros(1, dtype=bool)).best(5) == []
    )


def test_an_index_says_about_how_large_it_is():
    index = index_of(*(f"word{n} zebra" for n in range(1_000)))
    assert 200_000 < index.nbytes < 500_000
    before = index.nbytes
    index.append("zebra")
    assert before < index.nbytes < before + 50


def test_of_a_document_as_a_query_the_rarest_terms_are_searched_for():
    common = " ".join(f"common{n}" for n in range(300))
    index = index_of(*[common] * 20, "the unique needle")
    assert rank(index, f"{common} needle", None).keyword[20] > 0


def test_a_thousand_turns_are_searched_in_a_few_milliseconds_at_most():
    index = index_of(
        *(f"{WORDS[n % 7]} {WORDS[n % 5]} number{n}" for n in range(1_000))
    )
    dense = np.linspace(0, 1, 1_000)
    durations = []
    for _ in range(20):
        started = time.perf_counter()
        rank(index, " ".join(WORDS), dense).best(10)
        durations.append(time.perf_counter() - started)
    assert min(durations) < 0.005


def test_one_thread_may_append_while_another_asks():
    index, faults = index_of("zebra"), []
    done = threading.Event()

    def ask() -> None:
        while not done.is_set():
            scores = index.keyword_scores("zebra")
            if not (scores > 0).all():
                faults.append(scores)

    asking = threading.Thread(target=ask)
    asking.start()
    index.extend(["zebra"] * 5_000)
    done.set()
    asking.join()
    assert faults == []
