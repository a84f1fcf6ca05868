"""Reranking: a provider's `/rerank` orders what was found; whatever fails is told.

Cohere, Jina, vLLM and Text Embeddings Inference answer it in one form.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import orjson

from gateway.errors import UpstreamError
from gateway.snapshot import Provider
from gateway.upstream import Upstream
from rag.breaker import Breaker
from rag.questions import Rerank

LEAST_TIME_S = 0.01  # with less it is not even asked
MAX_QUERY_CHARS = 8_000
MAX_BREAKERS = 256


class RerankFailed(Exception):
    """There is no new order. The text is one sentence that says what to look at."""


class Reranker:
    """Asks rerankers. In one event loop."""

    def __init__(
        self, upstream: Upstream, providers: Callable[[], Mapping[str, Provider]]
    ) -> None:
        """Ask those that `providers` gives by name: of the present configuration."""
        self._upstream = upstream
        self._providers = providers
        self._breakers: dict[str, Breaker] = {}

    async def scores(
        self, rerank: Rerank, query: str, texts: Mapping[str, str], *, until_s: float
    ) -> dict[str, float]:
        """Give the texts' scores by their ids; the greater, the better it answers.

        `until_s` is on the monotonic clock. One that has just failed is left alone for a
        moment, so that it costs nobody any waiting.

        Raises:
            RerankFailed: It gave none.

        """
        provider = self._find(rerank.provider)
        breaker = self._breaker_of(provider)
        if problem := breaker.problem():
            raise RerankFailed(problem)
        try:
            scores = await self._ask(provider, rerank, query, texts, until_s=until_s)
        except RerankFailed as error:
            breaker.open(str(error))
            raise
        breaker.close()
        return scores

    def _find(self, name: str) -> Provider:
        provider = self._providers().get(name)
        if provider is None:
            raise RerankFailed(
                f"The provider '{name}' was not asked to rerank: it is not enabled."
            )
        if provider.is_credential_unreadable:
            raise RerankFailed(
                f"The provider '{name}' was not asked to rerank: its credential cannot "
                "be read. Enter it again."
            )
        return provider

    def _breaker_of(self, provider: Provider) -> Breaker:
        """Give the breaker of an address: an edited provider starts afresh."""
        if len(self._breakers) > MAX_BREAKERS:
            self._breakers.clear()
        fresh = Breaker(time.monotonic)
        return self._breakers.setdefault(provider.fingerprint, fresh)

    async def _ask(
        self,
        provider: Provider,
        rerank: Rerank,
        query: str,
        texts: Mapping[str, str],
        *,
        until_s: float,
    ) -> dict[str, float]:
        timeout_s = until_s - time.monotonic()
        if timeout_s < LEAST_TIME_S:
            raise RerankFailed(
                f"No time was left for the provider '{provider.name}' to rerank: "
                "AILB_CONTEXT_DEADLINE_MS gives more."
            )
        body = orjson.dumps(
            {
                "model": rerank.model,
                "query": query[:MAX_QUERY_CHARS],
                "documents": list(texts.values()),
                "top_n": len(texts),
            }
        )
        url = f"{provider.base_url}/rerank"
        try:
            reply = await self._upstream.post(provider, url, body, timeout_s=timeout_s)
        except UpstreamError as error:
            raise RerankFailed(
                f"The provider '{provider.name}' did not rerank: {error.message}"
            ) from error
        if reply.status != 200:
            raise RerankFailed(
                f"The provider '{provider.name}' did not rerank: it answered "
                f"{reply.status}."
            )
        scores = read_scores(reply.body, list(texts))
        if not scores:
            raise RerankFailed(
                f"The provider '{provider.name}' did not rerank: its answer is not that "
                "of a /rerank."
            )
        return scores


def read_scores(data: bytes, ids: Sequence[str]) -> dict[str, float]:
    """Read `results` of `index` and `relevance_score`; what is not that is left out."""
    try:
        body = orjson.loads(data)
    except ValueError:
        return {}
    results = body.get("results") if isinstance(body, dict) else None
    found: dict[str, float] = {}
    for result in results if isinstance(results, list) else ():
        if (
            isinstance(result, dict)
            and (position := _position(result, ids)) is not None
        ):
            found[ids[position]] = float(result["relevance_score"])
    return found


def _position(result: Mapping[str, Any], ids: Sequence[str]) -> int | None:
    """Give the place of what a result is of, unless it names none or has no score."""
    position, score = result.get("index"), result.get("relevance_score")
    is_scored = type(score) is float or type(score) is int
    is_known = type(position) is int and 0 <= position < len(ids)
    return position if is_known and is_scored else None
