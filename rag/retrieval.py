"""Questions to collections: who may ask, two searches at the same time, one ranking."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace

from django.db.models import prefetch_related_objects

from rag.attributes import Filter
from rag.catalogue import find_readable_all
from rag.choosing import choose
from rag.citing import FRAME_TOKENS
from rag.collection_use import CollectionUses
from rag.dense_search import DenseSearch, Pool
from rag.embedders import Embedders
from rag.fencing import sanitise
from rag.filtering import Meant, OutOfTime, find_meant
from rag.fusion import CANDIDATES, Selection, merge
from rag.models import Collection, Index, IndexState
from rag.passages import Found, read_found
from rag.pool_search import PoolSearch, Question
from rag.questions import Candidates, Rerank, RetrievalRequest
from rag.vectorstore import VectorStore

__all__ = ["Retriever", "choose"]

MAX_QUERY_CHARS = 8_000  # of a question that is a whole document, its head
DENSE_SHARE = 0.8  # of the time, before the search by meaning is given up
# Candidates for each chunk that is wanted: some are too alike, or too long.
OFFERED = 1.5
OUT_OF_TIME = (
    "The documents could not be searched in time: AILB_CONTEXT_DEADLINE_MS gives more."
)


class Retriever:
    """Finds what may answer a question. Blocks; safe from any thread."""

    def __init__(self, embedders: Embedders, store: VectorStore | None) -> None:
        """Without a `store` small collections are searched just as well."""
        self._dense = DenseSearch(embedders, store)
        self._uses = CollectionUses()

    def candidates(self, request: RetrievalRequest, *, until_s: float) -> Candidates:
        """Find the candidates, until a moment on the monotonic clock, or `math.inf`.

        What is away is left out, and `problem` says so.

        Raises:
            CollectionNotFound: There is one that the scope may not read, or that is not
                there.
            django.db.Error: The database is away.

        """
        collections = find_readable_all(request.scope, request.collections)
        asked = _asked(request, collections)
        text = sanitise(request.query).strip()[:MAX_QUERY_CHARS]
        if not (collections and text):
            return asked
        try:
            found = self._search(
                collections, asked, _question(text, asked, until_s), request.filters
            )
        except OutOfTime:
            return replace(asked, is_searched=False, problem=OUT_OF_TIME)
        self._uses.note(collections)
        return found

    def close(self) -> None:
        """End the threads; may be called again."""
        self._dense.close()

    def _search(
        self,
        collections: Sequence[Collection],
        asked: Candidates,
        question: Question,
        filters: Filter | None,
    ) -> Candidates:
        meant = dict[int, Meant]()
        if filters is not None:
            pks = [collection.pk for collection in collections]
            meant = find_meant(pks, filters, until_s=question.until_s)
        pools = pools_of(collections)
        searches = [
            PoolSearch(
                self._dense, pool, question, _meant_of(pool, meant) if meant else None
            )
            for pool in pools
        ]
        for search in searches:
            search.begin()
        for search in searches:
            if time.monotonic() >= question.until_s:
                raise OutOfTime
            search.find_words()
        for search in searches:
            search.finish()
        found = _read(searches)
        return replace(
            asked,
            ranked=merge(*(search.ranking(found) for search in searches)),
            passages={uid: each.passage for uid, each in found.items()},
            problem=" ".join(dict.fromkeys(s.problem for s in searches if s.problem)),
        )


def pools_of(collections: Sequence[Collection]) -> list[Pool]:
    """Give the indexes that serve, those together whose vectors may be compared."""
    by_pk = {collection.pk: collection for collection in collections}
    pools = dict[tuple[str, str, str], list[Index]]()
    serving = Index.objects.filter(collection__in=by_pk, state=IndexState.ACTIVE)
    for index in serving:
        index.collection = by_pk[index.collection_id]
        key = (index.model, index.precision, index.embedding)
        pools.setdefault(key, []).append(index)
    return [Pool(*key, tuple(indexes)) for key, indexes in pools.items()]


def _meant_of(pool: Pool, meant: Mapping[int, Meant]) -> Meant:
    """Put together what is meant of a pool's collections."""
    mine = [meant[index.collection_id] for index in pool.indexes]
    documents = {pk for each in mine for pk in each.documents}
    return Meant(documents, sum(each.chunks for each in mine))


def _read(searches: Sequence[PoolSearch]) -> dict[str, Found]:
    """Read what the searches found and may be seen, asking the store again if need be."""
    names = {
        index.pk: index.collection.name
        for search in searches
        for index in search.pool.indexes
    }
    pks = {pk for search in searches for pk in search.keywords}
    uids = {uid for search in searches for uid in search.similarities or ()}
    found = read_found(names, uids=uids, pks=pks)
    while again := [search for search in searches if search.wants_more(found)]:
        for search in again:
            search.ask_again()
        more = {uid for search in again for uid in search.similarities or ()} - uids
        found |= read_found(names, uids=more, pks=())
        uids |= more
    return found


def _question(text: str, asked: Candidates, until_s: float) -> Question:
    now_s = time.monotonic()
    dense_until_s = until_s
    if not math.isinf(until_s):
        dense_until_s = now_s + DENSE_SHARE * max(0.0, until_s - now_s)
    return Question(
        text=text,
        wanted=max(CANDIDATES, math.ceil(OFFERED * asked.selection.most)),
        dense_until_s=dense_until_s,
        until_s=until_s,
    )


def _asked(request: RetrievalRequest, collections: Sequence[Collection]) -> Candidates:
    """Say how to choose, with nothing found so far."""
    return Candidates(
        ranked=(),
        passages={},
        selection=_selection(request, collections) if collections else Selection(),
        rerank=_rerank(collections),
        is_strict=any(collection.is_strict for collection in collections),
        is_required=any(collection.is_required for collection in collections),
    )


def _selection(
    request: RetrievalRequest, collections: Sequence[Collection]
) -> Selection:
    """Take the most that one of the collections gives, under the strictest of their bounds."""
    caps = [each.per_document for each in collections if each.per_document is not None]
    max_tokens = max(each.max_tokens for each in collections)
    if request.room_tokens is not None:
        max_tokens = min(max_tokens, max(0, request.room_tokens - FRAME_TOKENS))
    return Selection(
        most=request.top_k or max(each.top_k for each in collections),
        per_document=min(caps, default=None),
        max_tokens=max_tokens,
        min_score=max(each.min_score for each in collections),
        relative_cut=max(each.relative_cut for each in collections),
        joins_neighbours=all(each.joins_neighbours for each in collections),
    )


def _rerank(collections: Sequence[Collection]) -> Rerank | None:
    """Give the reranker that all of the collections name; None where they differ."""
    if any(each.rerank_provider_id is None for each in collections) or not collections:
        return None
    prefetch_related_objects(list(collections), "rerank_provider")
    named = {
        Rerank(each.rerank_provider.name, each.rerank_model)
        for each in collections
        if each.rerank_provider is not None
    }
    return named.pop() if len(named) == 1 else None
