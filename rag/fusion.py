"""Which chunks answer a question: two kinds of candidates, fused and thinned out (pure).

The recipe is measured on documents: 0.65 of the cosine similarity, spread over 0..1
among the candidates, and 0.35 of the keyword score, as a share of the best one.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from rag.terms import terms_of

Pairs: TypeAlias = frozenset[tuple[str, str]]

CANDIDATES = 30  # to ask each of the two searches for
DENSE_WEIGHT = 0.65
# Two texts that share so much of their pairs of neighbouring terms say the same.
_SAME = 0.9
# What a source costs in a prompt beside its text: its number, name and page.
# `rag.citing` writes them; a test compares.
LABEL_TOKENS = 30


@dataclass(frozen=True, slots=True)
class Fused:
    """A chunk's score, 0 to 1, and what it is made of.

    `parts` has `dense` and `keyword`, each 0 to 1 and before its weight.
    """

    chunk_id: str
    score: float
    parts: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Passage:
    """A chunk as it is stored; `text` is the document's `[start:end]`.

    `document_id` tells documents of one collection apart; several collections may have
    one of the same id. `tokens` is what the text costs in a prompt, by the caller's own
    estimate.
    """

    chunk_id: str
    document_id: str
    filename: str
    text: str
    start: int
    end: int
    page: int | None
    tokens: int
    collection: str = ""


@dataclass(frozen=True, slots=True)
class Hit:
    """A passage that was found, or several neighbours as one; `text` is exact, too.

    `chunk_ids` are in the order of the document. Score and parts are the best one's,
    page is where it starts.
    """

    chunk_ids: tuple[str, ...]
    document_id: str
    filename: str
    text: str
    start: int
    end: int
    page: int | None
    tokens: int
    score: float
    parts: Mapping[str, float]
    collection: str = ""


@dataclass(frozen=True, slots=True)
class Selection:
    """How much is taken of what was found.

    At most `most` chunks, of one document at most `per_document` (None: any number);
    together at most `max_tokens`, labels included (None: any number); none of a score
    below `min_score` or below `relative_cut` times the best one's. With
    `joins_neighbours` those that touch become one hit, which is then fewer than `most`.
    """

    most: int = 3
    per_document: int | None = None
    max_tokens: int | None = 2_000
    min_score: float = 0.0
    relative_cut: float = 0.0
    joins_neighbours: bool = True


def fuse(
    dense: Mapping[str, float] | None, keyword: Mapping[str, float] | None
) -> list[Fused]:
    """Score the candidates of two searches, best first, equals in the order of their ids.

    `dense` are cosine similarities, `keyword` scores of which greater is better and 0 is
    none. None stands for a search that could not be made: the other one then counts for
    all. A candidate that only one search has gets nothing from the other.
    """
    near, words = _spread(dense or {}), _shares(keyword or {})
    weight = 0.0 if dense is None else 1.0 if keyword is None else DENSE_WEIGHT
    fused = []
    for chunk_id in {**near, **words}:
        parts = {
            "dense": near.get(chunk_id, 0.0),
            "keyword": words.get(chunk_id, 0.0),
        }
        score = weight * parts["dense"] + (1 - weight) * parts["keyword"]
        fused.append(Fused(chunk_id, score, parts))
    return _best_first(fused)


def merge(*rankings: Iterable[Fused]) -> list[Fused]:
    """Make one ranking of several whose scores were made apart, and have no chunk in common."""
    return _best_first(itertools.chain.from_iterable(rankings))


def _best_first(fused: Iterable[Fused]) -> list[Fused]:
    return sorted(fused, key=lambda one: (-one.score, one.chunk_id))


def select(
    ranked: Sequence[Fused], passages: Mapping[str, Passage], selection: Selection
) -> tuple[Hit, ...]:
    """Choose from what is ranked, best first; the hits come best first, too.

    What is not in `passages` is passed over: it was deleted, or may not be read. So is
    what says the same as a better one, and what is too long for the tokens left.
    """
    known = [one for one in ranked if one.chunk_id in passages]
    if not known:
        return ()
    floor = max(selection.min_score, selection.relative_cut * known[0].score)
    hits = (_hit(one, passages[one.chunk_id]) for one in known if one.score >= floor)
    capped = _capped(_distinct(hits), selection.per_document)
    chosen = _within_budget(capped, selection)
    found = _joined(chosen) if selection.joins_neighbours else chosen
    return tuple(_trimmed(hit) for hit in found)


def _spread(similarities: Mapping[str, float]) -> dict[str, float]:
    """Bring similarities to 0..1; where all are equal, each is the best."""
    least = min(similarities.values(), default=0.0)
    width = max(similarities.values(), default=0.0) - least
    return {
        chunk_id: (value - least) / width if width > 0 else 1.0
        for chunk_id, value in similarities.items()
    }


def _shares(scores: Mapping[str, float]) -> dict[str, float]:
    peak = max(scores.values(), default=0.0)
    return {
        chunk_id: max(score, 0.0) / peak if peak > 0 else 0.0
        for chunk_id, score in scores.items()
    }


def _hit(fused: Fused, passage: Passage) -> Hit:
    return Hit(
        chunk_ids=(passage.chunk_id,),
        document_id=passage.document_id,
        filename=passage.filename,
        text=passage.text,
        start=passage.start,
        end=passage.end,
        page=passage.page,
        tokens=passage.tokens,
        score=fused.score,
        parts=fused.parts,
        collection=passage.collection,
    )


def _distinct(hits: Iterable[Hit]) -> Iterator[Hit]:
    seen: list[Pairs] = []
    for hit in hits:
        pairs = _pairs(hit.text)
        if not any(_likeness(pairs, other) >= _SAME for other in seen):
            seen.append(pairs)
            yield hit


def _capped(hits: Iterable[Hit], per_document: int | None) -> Iterator[Hit]:
    counts = Counter[tuple[str, str]]()
    for hit in hits:
        counts[_document(hit)] += 1
        if per_document is None or counts[_document(hit)] <= per_document:
            yield hit


def _within_budget(hits: Iterable[Hit], selection: Selection) -> list[Hit]:
    chosen: list[Hit] = []
    left = math.inf if selection.max_tokens is None else selection.max_tokens
    for hit in hits:
        if len(chosen) >= selection.most:
            break
        cost = hit.tokens + LABEL_TOKENS
        if cost <= left:
            chosen.append(hit)
            left -= cost
    return chosen


def _joined(hits: Sequence[Hit]) -> list[Hit]:
    """Make one hit of those that touch or overlap in a document; the order stays."""
    place = {hit.chunk_ids[0]: number for number, hit in enumerate(hits)}
    joined: list[Hit] = []
    for hit in sorted(hits, key=lambda hit: (_document(hit), hit.start, hit.end)):
        before = joined[-1] if joined else None
        if before and _touch(before, hit):
            joined[-1] = _as_one(before, hit)
        else:
            joined.append(hit)
    return sorted(joined, key=lambda hit: min(place[uid] for uid in hit.chunk_ids))


def _touch(first: Hit, second: Hit) -> bool:
    return _document(first) == _document(second) and second.start <= first.end


def _document(hit: Hit) -> tuple[str, str]:
    return hit.collection, hit.document_id


def _as_one(first: Hit, second: Hit) -> Hit:
    best = max(first, second, key=lambda hit: hit.score)
    return replace(
        first,
        chunk_ids=first.chunk_ids + second.chunk_ids,
        text=first.text + second.text[first.end - second.start :],
        end=max(first.end, second.end),
        tokens=first.tokens + second.tokens,
        score=best.score,
        parts=best.parts,
    )


def _trimmed(hit: Hit) -> Hit:
    """Leave out the white space that joins a chunk to the next one."""
    text = hit.text.rstrip()
    return replace(hit, text=text, end=hit.start + len(text))


def _pairs(text: str) -> Pairs:
    """Give a text's pairs of neighbouring terms; a text too short for one is itself."""
    return frozenset(itertools.pairwise(terms_of(text))) or frozenset({(text, "")})


def _likeness(first: Pairs, second: Pairs) -> float:
    """Give what two sets share of all that is in them, 0 to 1."""
    return len(first & second) / len(first | second)
