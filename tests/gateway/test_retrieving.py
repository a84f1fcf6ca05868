"""Documents beside the event loop: within their deadline, bounded, and never in the way."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from django.db import OperationalError
from prometheus_client import REGISTRY

from gateway import retrieving
from gateway.collection_rules import Rules
from gateway.errors import DatabaseAway
from gateway.parts import Parts, SharedParts
from gateway.reranking import Reranker
from gateway.retrieving import DocumentsUnavailable, Retrieving
from gateway.snapshot import Provider
from gateway.upstream import Upstream
from rag.errors import CollectionNotFound
from rag.models import Collection, Visibility
from rag.questions import Rerank, RetrievalRequest, RetrievalStatus, Retrieved
from rag.scope import Scope
from tests.gateway.memory_parts import Lanes, Shelf, parts_of
from tests.gateway.test_reranking import provider_at
from tests.memory.scenes import make_scope
from tests.upstreams.rerankers import running_reranker

pytestmark = pytest.mark.django_db(transaction=True)

ASKED = RetrievalRequest(Scope(1), ("handbook",), "How long?")


@asynccontextmanager
async def open_documents(
    shelf: Shelf,
    *,
    lanes: Lanes | None = None,
    providers: Mapping[str, Provider] | None = None,
    deadline_s: float = 5.0,
) -> AsyncIterator[Retrieving]:
    upstream = Upstream()
    parts = SharedParts(lambda: parts_of(lanes=lanes, shelf=shelf))
    reranker = Reranker(upstream, lambda: providers or {})
    documents = Retrieving(parts, reranker, deadline_s=deadline_s)
    try:
        yield documents
    finally:
        shelf.may_search.set()
        await documents.aclose()
        await parts.aclose()
        await upstream.aclose()


def texts_of(found: Retrieved) -> list[str]:
    return [hit.text for hit in found.hits]


async def test_what_is_found_comes_best_first() -> None:
    async with open_documents(Shelf()) as documents:
        found = await documents.retrieve(ASKED)
    assert found.status is RetrievalStatus.HIT
    assert texts_of(found) == ["fourteen weeks", "second class"]


async def test_a_collection_that_is_not_there_is_raised_and_counts_for_nothing() -> (
    None
):
    async with open_documents(Shelf()) as documents:
        before = [counted(status.value) for status in RetrievalStatus]
        with pytest.raises(CollectionNotFound):
            await documents.retrieve(replace(ASKED, collections=("handbook", "no")))
        assert [counted(status.value) for status in RetrievalStatus] == before
        assert documents.problem == ""


def counted(status: str) -> float | None:
    return REGISTRY.get_sample_value("ailb_rag_retrievals_total", {"status": status})


async def test_a_retrieval_that_takes_too_long_is_given_up() -> None:
    shelf = Shelf()
    shelf.may_search.clear()
    async with open_documents(shelf, deadline_s=0.02) as documents:
        await documents.start()
        started_s = time.monotonic()
        found = await documents.retrieve(ASKED)
        assert time.monotonic() - started_s < 1.0
        assert (found.status, found.hits) == (RetrievalStatus.DEGRADED, ())
        assert not found.is_searched
        assert "in time" in documents.problem
        shelf.may_search.set()
        await documents.search(ASKED.scope, ASKED.collections, ASKED.query, 1)
        assert documents.problem == ""


async def test_what_a_queue_is_too_long_for_is_degraded_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(retrieving, "MOST_WAITING", 3)
    shelf = Shelf()
    shelf.may_search.clear()
    async with open_documents(shelf) as documents:
        waiting = [asyncio.ensure_future(documents.retrieve(ASKED)) for _ in range(3)]
        await asyncio.sleep(0)
        found = await documents.retrieve(ASKED)
        assert found.status is RetrievalStatus.DEGRADED
        shelf.may_search.set()
        ended = [(await each).status for each in waiting]
        assert ended == [RetrievalStatus.HIT] * 3


@pytest.mark.parametrize(
    ("error", "problem"),
    [(OperationalError("away"), "database"), (ZeroDivisionError("oh"), "logged")],
)
async def test_whatever_fails_fails_no_chat(error: Exception, problem: str) -> None:
    async with open_documents(Shelf(error=error)) as documents:
        found = await documents.retrieve(ASKED)
        assert found.status is RetrievalStatus.DEGRADED
        assert problem in found.problem
        assert problem in documents.problem


async def test_documents_that_cannot_be_put_together_fail_no_chat() -> None:
    def fail() -> Parts:
        raise RuntimeError("no documents")

    upstream, parts = Upstream(), SharedParts(fail)
    reranker = Reranker(upstream, dict)
    documents = Retrieving(parts, reranker, deadline_s=1.0)
    assert (await documents.retrieve(ASKED)).status is RetrievalStatus.DEGRADED
    await documents.aclose()
    await parts.aclose()
    await upstream.aclose()


async def test_what_a_collection_asks_for_is_remembered_while_it_is_away() -> None:
    shelf = Shelf(is_required=True, is_strict=True)
    async with open_documents(shelf) as documents:
        await documents.retrieve(ASKED)
        shelf.error = OperationalError("away")
        found = await documents.retrieve(ASKED)
        assert (found.is_required, found.is_strict) == (True, True)
        other = await documents.retrieve(replace(ASKED, collections=("other",)))
        assert (other.is_required, other.is_strict) == (False, False)


async def test_what_collections_ask_for_is_known_before_they_are_searched() -> None:
    scope = await asyncio.to_thread(make_scope, "ours")
    stranger = await asyncio.to_thread(make_scope, "stranger")

    def make(tenant_id: int, name: str, **fields: object) -> None:
        Collection.objects.create(tenant_id=tenant_id, name=name, **fields)

    for tenant, name, fields in (
        (scope.tenant_id, "required", {"is_required": True}),
        (stranger.tenant_id, "theirs", {"is_required": True}),
        (
            stranger.tenant_id,
            "open",
            {"is_strict": True, "visibility": Visibility.EVERYBODY},
        ),
    ):
        await asyncio.to_thread(make, tenant, name, **fields)
    async with open_documents(Shelf(error=OperationalError("away"))) as documents:

        async def rules_of(*names: str) -> Rules:
            asked = RetrievalRequest(scope, names, "How long?")
            found = await documents.retrieve(asked)
            return Rules(found.is_strict, found.is_required)

        assert await rules_of("other", "required") == Rules(is_required=True)
        assert await rules_of("theirs") == Rules()
        assert await rules_of("open") == Rules(is_strict=True)


RERANK = Rerank("ranker", "rank-1")


async def test_a_reranker_orders_what_was_found_and_its_failure_is_told() -> None:
    with running_reranker({"second": 0.9, "fourteen": 0.1}) as server:
        providers = {"ranker": provider_at(server.url)}
        async with open_documents(
            Shelf(rerank=RERANK), providers=providers
        ) as documents:
            found = await documents.retrieve(ASKED)
            assert texts_of(found) == ["second class", "fourteen weeks"]
            assert found.status is RetrievalStatus.HIT
            server.fault = (500, {})
            found = await documents.retrieve(ASKED)
            assert texts_of(found) == ["fourteen weeks", "second class"]
            assert found.status is RetrievalStatus.DEGRADED
            assert "'ranker'" in documents.problem


async def test_a_search_for_itself_has_no_budget_and_keeps_neighbours_apart() -> None:
    texts = [f"{number} {'word ' * 150}" for number in range(5)]
    shelf = Shelf(texts=texts, is_one_document=True)
    async with open_documents(shelf) as documents:
        woven = await documents.retrieve(replace(ASKED, top_k=4))
        assert [len(hit.chunk_ids) for hit in woven.hits] == [2], "2,000 tokens at most"
        found = await documents.search(Scope(1), ("handbook",), "word", 4)
        assert len(found.hits) == 4
        assert shelf.asked[-1].top_k == 4
        with pytest.raises(CollectionNotFound):
            await documents.search(Scope(1), ("no",), "word", 4)


async def test_a_call_says_what_is_away() -> None:
    def fail(error: Exception) -> None:
        raise error

    async with open_documents(Shelf()) as documents:
        with pytest.raises(DatabaseAway):
            await documents.call(lambda _: fail(OperationalError("away")))
        with pytest.raises(DocumentsUnavailable):
            await documents.call(lambda _: fail(PermissionError("full")))
        with pytest.raises(ZeroDivisionError):
            await documents.call(lambda _: 1 / 0)


async def test_too_many_calls_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retrieving, "MOST_CALLS", 0)
    async with open_documents(Shelf()) as documents:
        with pytest.raises(DocumentsUnavailable):
            await documents.call(lambda _: None)


async def test_nothing_starts_before_it_is_used_and_everything_is_closed() -> None:
    lanes, shelf = Lanes(), Shelf()
    lanes.problem = "There is no model."
    async with open_documents(shelf, lanes=lanes) as documents:
        assert (lanes.steps, documents.problem) == ([], "")
        await documents.retrieve(ASKED)
        assert lanes.steps == ["start"]
        assert documents.problem == lanes.problem
    assert shelf.steps == ["close"]
