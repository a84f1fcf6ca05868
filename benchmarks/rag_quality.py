"""Whether search finds the documents that answer: normalised discounted cumulative gain."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import PurePath

from typing_extensions import override

from benchmarks.beir import DocumentSet
from rag.fusion import Fused
from rag.library import Library
from rag.questions import Candidates, RetrievalRequest
from rag.scope import Scope

DEPTH = 10
LEAST_NDCG = 0.70
HEADINGS = f"{'search':<20}{f'nDCG@{DEPTH}':>10}{f'recall@{DEPTH}':>12}"


class Method(StrEnum):
    """What a candidate is ranked by."""

    DENSE = "cosine alone"
    KEYWORD = "keywords alone"
    FUSED = "both, fused"

    def score(self, found: Fused) -> float:
        """Give the score of a candidate."""
        parts = {Method.DENSE: "dense", Method.KEYWORD: "keyword"}
        return found.parts[parts[self]] if self in parts else found.score


@dataclass(frozen=True, slots=True)
class Quality:
    """One line of the table: means over all questions."""

    method: Method
    ndcg: float
    recall: float

    @override
    def __str__(self) -> str:
        """Lay it out under the headings."""
        return f"{self.method:<20}{self.ndcg:>10.4f}{self.recall:>12.4f}"


def measure(
    library: Library, scope: Scope, name: str, judged: DocumentSet
) -> list[Quality]:
    """Ask every question; a document's score is its best chunk's."""
    gains: dict[Method, list[float]] = {method: [] for method in Method}
    recalls: dict[Method, list[float]] = {method: [] for method in Method}
    for question in judged.questions:
        request = RetrievalRequest(scope, (name,), question.text, None, None, None)
        candidates = library.candidates(request, until_s=math.inf)
        for method in Method:
            order = documents_by(method, candidates)[:DEPTH]
            gains[method].append(ndcg(order, question.relevant))
            recalls[method].append(recall(order, question.relevant))
    return [
        Quality(
            method, statistics.fmean(gains[method]), statistics.fmean(recalls[method])
        )
        for method in Method
    ]


def documents_by(method: Method, candidates: Candidates) -> list[str]:
    """Order the documents of what was found, the best first, each once."""
    best = sorted(candidates.ranked, key=method.score, reverse=True)
    passages = candidates.passages
    names = [
        PurePath(passages[found.chunk_id].filename).stem
        for found in best
        if found.chunk_id in passages and method.score(found) > 0
    ]
    return list(dict.fromkeys(names))


def ndcg(order: Sequence[str], relevant: Mapping[str, int]) -> float:
    """Give the gain of an order against that of the best one, 0 to 1."""
    gain = discounted([relevant.get(document, 0) for document in order])
    return gain / discounted(sorted(relevant.values(), reverse=True)[:DEPTH])


def discounted(grades: Sequence[int]) -> float:
    """Sum the grades, each divided by the logarithm of its place."""
    return sum(grade / math.log2(place) for place, grade in enumerate(grades, start=2))


def recall(order: Sequence[str], relevant: Mapping[str, int]) -> float:
    """Give the share of what is relevant that was found."""
    return len(set(order) & set(relevant)) / len(relevant)


def broken_bounds(rows: Sequence[Quality]) -> Iterator[str]:
    """Name what the rows fail to reach."""
    by_method = {row.method: row for row in rows}
    fused = by_method[Method.FUSED]
    if fused.ndcg < LEAST_NDCG:
        yield f"nDCG@{DEPTH} is below {LEAST_NDCG:.2f}"
    for single in (Method.DENSE, Method.KEYWORD):
        if fused.ndcg <= by_method[single].ndcg:
            yield f"nDCG@{DEPTH} is not above that of {single}"
