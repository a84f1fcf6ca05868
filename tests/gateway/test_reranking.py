"""A reranker gives an order in time, or a reason why it did not."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import AsyncIterator

import orjson
import pytest
from hypothesis import given, strategies as st

from gateway.dialects.openai import OpenAIDialect
from gateway.reranking import Reranker, RerankFailed, read_scores
from gateway.snapshot import Provider
from gateway.upstream import Upstream
from rag.questions import Rerank
from tests.upstreams.fixed_answers import Answer
from tests.upstreams.rerankers import RunningReranker, running_reranker

TEXTS = {"a": "trains run", "b": "fourteen weeks", "c": "trains and weeks"}
RERANK = Rerank("ranker", "rank-1")


def provider_at(url: str, *, is_unreadable: bool = False) -> Provider:
    """Make a provider of the name `ranker`."""
    dialect = OpenAIDialect()
    return Provider(
        id=1,
        name="ranker",
        kind="openai_compatible",
        base_url=url,
        urls=dialect.urls(url),
        models_url=url,
        headers=tuple(dialect.headers("sk-rank").items()),
        fingerprint=url,
        is_credential_unreadable=is_unreadable,
    )


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    upstream = Upstream()
    yield upstream
    await upstream.aclose()


def soon(seconds: float = 10.0) -> float:
    return time.monotonic() + seconds


async def test_the_texts_are_scored_by_their_ids(upstream: Upstream) -> None:
    with running_reranker({"trains": -3, "fourteen": 2.5}) as server:
        reranker = Reranker(upstream, lambda: {"ranker": provider_at(server.url)})
        scores = await reranker.scores(RERANK, "How long?", TEXTS, until_s=soon())
        assert scores == {"a": -3, "b": 2.5, "c": -3}
        assert server.asked == [
            {
                "model": "rank-1",
                "query": "How long?",
                "documents": list(TEXTS.values()),
                "top_n": 3,
            }
        ]
        assert server.credentials == ["Bearer sk-rank"]


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ((500, {"error": "secret words"}), "500"),
        ((401, {}), "401"),
        ((200, b"<html>"), "not that of a /rerank"),
        ((200, []), "not that of a /rerank"),
        ((200, {"results": []}), "not that of a /rerank"),
        (
            (200, {"results": [{"index": 9, "relevance_score": 1}]}),
            "not that of a /rerank",
        ),
    ],
)
async def test_a_failure_is_told_in_our_words(
    upstream: Upstream, fault: Answer, said: str
) -> None:
    with running_reranker({"": 0}) as server:
        server.fault = fault
        reranker = Reranker(upstream, lambda: {"ranker": provider_at(server.url)})
        with pytest.raises(RerankFailed, match="'ranker'") as caught:
            await reranker.scores(RERANK, "?", TEXTS, until_s=soon())
        assert said in str(caught.value)
        assert "secret" not in str(caught.value)


async def test_one_that_failed_is_left_alone_for_a_moment(upstream: Upstream) -> None:
    with running_reranker({"": 0}) as server:
        server.fault = (500, {})
        reranker = Reranker(upstream, lambda: {"ranker": provider_at(server.url)})
        for _ in range(3):
            with pytest.raises(RerankFailed, match="500"):
                await reranker.scores(RERANK, "?", TEXTS, until_s=soon())
        assert len(server.asked) == 1
        elsewhere = {"ranker": provider_at(f"{server.url}/")}
        edited = Reranker(upstream, lambda: elsewhere)
        with pytest.raises(RerankFailed):
            await edited.scores(RERANK, "?", TEXTS, until_s=soon())


async def test_it_is_not_waited_for_longer_than_there_is_time(
    upstream: Upstream,
) -> None:
    may_answer = threading.Event()
    with running_reranker({"": 0}) as server:
        server.fault = lambda: (may_answer.wait(10), (200, {}))[1]
        reranker = Reranker(upstream, lambda: {"ranker": provider_at(server.url)})
        try:
            with pytest.raises(RerankFailed, match="did not answer within"):
                await reranker.scores(RERANK, "?", TEXTS, until_s=soon(0.05))
        finally:
            may_answer.set()
        late = Reranker(upstream, lambda: {"ranker": provider_at(server.url)})
        with pytest.raises(RerankFailed, match="AILB_CONTEXT_DEADLINE_MS"):
            await late.scores(RERANK, "?", TEXTS, until_s=soon(0))


@pytest.mark.parametrize("is_there", [True, False])
async def test_who_is_not_there_or_has_no_credential_is_not_asked(
    upstream: Upstream, *, is_there: bool
) -> None:
    with running_reranker({"": 0}) as server:
        unreadable = {"ranker": provider_at(server.url, is_unreadable=True)}
        reranker = Reranker(upstream, lambda: unreadable if is_there else {})
        said = "cannot be read" if is_there else "not enabled"
        with pytest.raises(RerankFailed, match=said):
            await reranker.scores(RERANK, "?", TEXTS, until_s=soon())
        assert server.asked == []


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.floats() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["results", "index", "relevance_score", "x"]), inner
        )
    ),
)


@given(JSON | st.lists(JSON).map(lambda results: {"results": results}))
def test_whatever_comes_only_numbers_of_what_was_sent_are_read(answer: object) -> None:
    scores = read_scores(orjson.dumps(answer), ["a", "b"])
    assert set(scores) <= {"a", "b"}
    assert all(math.isfinite(score) for score in scores.values())


def test_what_it_leaves_out_is_left_out() -> None:
    results = [
        {"index": 1, "relevance_score": 1},
        {"index": True, "relevance_score": 1},
        {"index": 0, "relevance_score": "1"},
        {"index": -1, "relevance_score": 1},
        {"relevance_score": 1},
        "x",
    ]
    assert read_scores(orjson.dumps({"results": results}), ["a", "b"]) == {"b": 1.0}


def test_a_reranker_of_tests_speaks_for_itself() -> None:
    reranker = RunningReranker({"b": 2, "": 0})
    status, answer = reranker.answer(
        orjson.dumps({"model": "m", "documents": ["a", "b"], "top_n": 1})
    )
    assert (status, answer) == (
        200,
        {"model": "m", "results": [{"index": 1, "relevance_score": 2}]},
    )
