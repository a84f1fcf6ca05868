"""The keyword index: which visible chunks a question's words are in, and how well.

Chunks are ranked by BM25, with the frequencies of their own index. Reading every chunk
that has one of a question's common terms would take too long, so its rarest terms find
candidates, and all of its terms rank those.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from django.db import DEFAULT_DB_ALIAS
from django.db.models import F, QuerySet

from rag.keyword_postings import Postings, Wanted, opened, sizes
from rag.keyword_terms import IndexSize, query_terms, rarities, score, terms_for
from rag.keyword_upkeep import optimize, rebuild
from rag.models import Chunk

__all__ = ["keyword_scores", "optimize", "rebuild", "terms_for"]

MAX_POSTINGS = 3_000  # read of an index for a question's rarest terms together
MAX_JOINED = 700  # read for some of its common terms together
JOINED_TERMS = 3  # common terms of which chunks are looked for that have several
MAX_CHECKED = 4  # common terms that candidates are checked for before they are ranked
# Candidates that are ranked by all that they hold, at a time: more of a large index,
# where more of them are alike.
LEAST_RANKED, MOST_RANKED, CHUNKS_A_RANKED = 100, 250, 500
MAX_ROUNDS = 4  # such times, while too few of them may be found
FEW = 1_000  # chunks that are all ranked, where only some documents are asked for


def keyword_scores(
    index_pks: Sequence[int],
    query: str,
    *,
    limit: int,
    document_pks: Collection[int] | None = None,
    using: str = DEFAULT_DB_ALIAS,
) -> dict[int, float]:
    """Give the best chunks' primary keys with scores > 0, the greatest first.

    Only chunks of the version that is found; with `document_pks` only theirs. Empty when
    no chunk has a term of the query. Whether an index serves is the caller's to know.

    Raises:
        django.db.Error: The database is away.

    """
    terms = query_terms(query)
    if not terms or not index_pks or limit < 1:
        return {}
    if document_pks is not None and not document_pks:
        return {}
    found: dict[int, float] = {}
    wanted_documents = None if document_pks is None else frozenset(document_pks)
    with opened(using) as postings:
        for index, size in sizes(set(index_pks), using=using).items():
            frequencies = postings.frequencies(index, terms)
            search = _Search(
                index, size, frequencies, rarities(frequencies, size), postings, using
            )
            found |= search.scores(limit, wanted_documents)
    best = heapq.nsmallest(limit, found, key=lambda pk: (-found[pk], pk))
    return {pk: found[pk] for pk in best}


@dataclass(frozen=True, slots=True)
class _Search:
    """One question to one index."""

    index: int
    size: IndexSize
    frequencies: Mapping[str, int]
    rarity: Mapping[str, float]
    postings: Postings
    using: str

    def scores(self, limit: int, documents: frozenset[int] | None) -> dict[int, float]:
        """Give the scores of at least `limit` chunks, if so many are to be found."""
        found: dict[int, float] = {}
        if not self.frequencies:
            return found
        if (few := self._few(documents)) is not None:
            return self._ranked(few, documents)
        candidates = self._candidates()
        each_time = max(self._ranked_at_a_time(), 2 * limit)
        for start in range(0, min(len(candidates), MAX_ROUNDS * each_time), each_time):
            found |= self._ranked(candidates[start : start + each_time], documents)
            if len(found) >= limit:
                break
        return found

    def _ranked_at_a_time(self) -> int:
        return min(LEAST_RANKED + self.size.chunks // CHUNKS_A_RANKED, MOST_RANKED)

    def _few(self, documents: frozenset[int] | None) -> list[int] | None:
        """Give every chunk that may be found when they are few, None when not."""
        if documents is None or len(documents) > FEW:
            return None
        chunks = self._visible().filter(version__document__in=documents).order_by()
        pks = list(chunks.values_list("pk", flat=True)[: FEW + 1])
        return pks if len(pks) <= FEW else None

    def _visible(self) -> QuerySet[Chunk]:
        return Chunk.objects.using(self.using).filter(
            index=self.index, version__document__current=F("version")
        )

    def _ranked(
        self, pks: Sequence[int], documents: frozenset[int] | None
    ) -> dict[int, float]:
        chunks = self._visible().filter(pk__in=pks).order_by()
        rows = chunks.values_list("pk", "version__document", "terms")
        scores = {
            pk: score(terms, self.rarity, self.size)
            for pk, document, terms in rows
            if documents is None or document in documents
        }
        return {pk: value for pk, value in scores.items() if value > 0}

    def _candidates(self) -> list[int]:
        """List chunks, first those that have the most and rarest terms."""
        wanted = list(self._wanted())
        bits = {term: 1 << place for place, term in enumerate(self.rarity)}
        masks = [sum(bits[term] for term in each.every) for each in wanted]
        held: dict[int, int] = defaultdict(int)  # which terms a chunk is known to have
        for position, pk in self.postings.chunks(self.index, wanted):
            held[pk] |= masks[position]
        worth = {
            mask: sum(self.rarity[term] for term, bit in bits.items() if mask & bit)
            for mask in set(held.values())
        }
        return sorted(held, key=lambda pk: (-worth[held[pk]], pk))

    def _wanted(self) -> Iterator[Wanted]:
        """Say what to look for: each rare term, and what the common ones meet in."""
        terms = sorted(self.frequencies, key=self.frequencies.__getitem__)
        rare = tuple(self._rare(terms))
        common = terms[len(rare) :]
        yield from (Wanted((term,), MAX_POSTINGS) for term in rare)
        if sum(self.frequencies[term] for term in rare) < MOST_RANKED:
            yield from _joined(common[:JOINED_TERMS])
        if rare:
            for term in common[:MAX_CHECKED]:
                yield Wanted((term,), MAX_POSTINGS, rare)

    def _rare(self, terms: Sequence[str]) -> Iterator[str]:
        left = MAX_POSTINGS
        for term in terms:
            left -= self.frequencies[term]
            if left < 0:
                return
            yield term


def _joined(terms: Sequence[str]) -> Iterator[Wanted]:
    """Look for chunks that have several terms; for any, too, of the rarest one."""
    for count in range(len(terms), 1, -1):
        for some in combinations(terms, count):
            yield Wanted(some, MAX_JOINED)
    if terms:
        yield Wanted((terms[0],), MAX_JOINED)
