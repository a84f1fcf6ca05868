"""What is given of what was found (pure)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from rag.fusion import Fused, Hit, select
from rag.questions import Candidates, RetrievalStatus, Retrieved

RERANK = "rerank"  # the part of a score that a reranker gave
NO_ROOM = (
    "What was found does not fit into what the model's context and the collection's "
    "'max_tokens' leave for sources."
)


def choose(candidates: Candidates, scores: Mapping[str, float] | None) -> Retrieved:
    """Choose what a request is given, best first.

    `scores` are a reranker's by chunk id, of any scale: the order is then theirs. None,
    or none at all: the order of the search stays.
    """
    ranked = candidates.ranked if not scores else reranked(candidates.ranked, scores)
    hits = select(ranked, candidates.passages, candidates.selection)
    problem, is_searched = candidates.problem, candidates.is_searched
    if not hits and _fits_nothing(ranked, candidates):
        problem, is_searched = problem or NO_ROOM, False
    return Retrieved(
        status=_status(hits, problem),
        hits=hits,
        is_strict=candidates.is_strict,
        is_required=candidates.is_required,
        is_searched=is_searched,
        problem=problem,
    )


def reranked(ranked: Sequence[Fused], scores: Mapping[str, float]) -> list[Fused]:
    """Put candidates into the order of a reranker's scores, equals as they were.

    A score becomes one of 0 to 1: where some are outside, all of them by the logistic
    function, which is what such models are trained with. What has no score comes behind
    all that has one, as it was.
    """
    known = [one for one in ranked if _has_score(one, scores)]
    given = [scores[one.chunk_id] for one in known]
    is_share = all(0 <= score <= 1 for score in given)
    shares = given if is_share else [_logistic(score) for score in given]
    order = sorted(zip(given, shares, known, strict=True), key=lambda each: -each[0])
    first = [
        replace(one, score=share, parts={**one.parts, RERANK: share})
        for _, share, one in order
    ]
    least = min(shares, default=1.0)
    rest = [one for one in ranked if not _has_score(one, scores)]
    return first + [replace(one, score=min(one.score, least)) for one in rest]


def _has_score(one: Fused, scores: Mapping[str, float]) -> bool:
    return math.isfinite(scores.get(one.chunk_id, math.nan))


def _logistic(score: float) -> float:
    return 0.5 * (1 + math.tanh(score / 2))


def _fits_nothing(ranked: Sequence[Fused], candidates: Candidates) -> bool:
    unbounded = replace(candidates.selection, max_tokens=None, most=1)
    return bool(select(ranked, candidates.passages, unbounded))


def _status(hits: Sequence[Hit], problem: str) -> RetrievalStatus:
    if problem:
        return RetrievalStatus.DEGRADED
    return RetrievalStatus.HIT if hits else RetrievalStatus.MISS
