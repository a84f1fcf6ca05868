"""Which turns of a session answer a question: keywords and embeddings, fused (pure).

The recipe is measured on long conversations of several sessions: half the cosine
similarity and half the BM25 score, each brought to 0..1, then half of the score of the
turn before and a quarter of that after.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from rag.terms import terms_of

FloatArray: TypeAlias = NDArray[np.float64]
Mask: TypeAlias = NDArray[np.bool_]

K1 = 1.5
B = 0.75
DENSE_WEIGHT = 0.5
PREDECESSOR_WEIGHT = 0.5
SUCCESSOR_WEIGHT = 0.25

# A question that is a whole document is searched for by its head and its rarest terms.
MAX_QUERY_CHARS = 8_000
MAX_QUERY_TERMS = 128
# What a term costs beside its postings: two objects and its place in the table.
_TERM_BYTES = 250
_POSTING_BYTES = 2 * array("I").itemsize


class TurnIndex:
    """A session's texts as an inverted index; a text's position is its number from 0.

    Grows at its end only. One thread may append while others ask: they see the texts
    that were whole when they began.
    """

    __slots__ = ("_lengths", "_nbytes", "_postings")

    def __init__(self) -> None:
        """Start empty."""
        self._postings: dict[
            str, array[int]
        ] = {}  # position, count, position, count...
        self._lengths: array[int] = array("I")
        self._nbytes = 0

    def __len__(self) -> int:
        """Count the texts."""
        return len(self._lengths)

    @property
    def nbytes(self) -> int:
        """Estimate the memory it takes, in bytes."""
        return self._nbytes

    def append(self, text: str) -> None:
        """Add a text at the next position."""
        position, counts = len(self._lengths), Counter(terms_of(text))
        for term, count in counts.items():
            posting = self._postings.get(term)
            if posting is None:
                posting = self._postings[term] = array("I")
                self._nbytes += _TERM_BYTES
            posting.extend((position, count))
        self._lengths.append(counts.total())
        self._nbytes += len(counts) * _POSTING_BYTES + self._lengths.itemsize

    def extend(self, texts: Iterable[str]) -> None:
        """Add texts in order."""
        for text in texts:
            self.append(text)

    def keyword_scores(self, query: str, usable: Mask | None = None) -> FloatArray:
        """Give the BM25 score of every position, 0 where no term of the query is.

        Where `usable` is false the score is 0, and the text does not count for the
        rarity of terms or the average length either. `usable` may be shorter than the
        index: later texts are then not there.
        """
        size = len(self._lengths) if usable is None else len(usable)
        lengths = _read(self._lengths)[:size]
        counted = lengths if usable is None else lengths[usable]
        scores = np.zeros(size)
        if not counted.size:
            return scores
        norms = K1 * (1 - B + B * lengths / max(counted.mean(), 1.0))
        for positions, counts, weight in self._matches(query, size, usable):
            rarity = (counted.size - len(positions) + 0.5) / (len(positions) + 0.5)
            gain = weight * np.log1p(rarity) * (K1 + 1)
            scores[positions] += gain * counts / (counts + norms[positions])
        return scores

    def _matches(
        self, query: str, size: int, usable: Mask | None
    ) -> list[tuple[NDArray[Any], NDArray[Any], int]]:
        """Find each query term's positions, its counts there, and its weight."""
        found = []
        for term, weight in Counter(terms_of(query[:MAX_QUERY_CHARS])).items():
            posting = self._postings.get(term)
            if posting is None:
                continue
            positions, counts = _read(posting).reshape(-1, 2).T
            keep = positions < size
            if usable is not None:
                keep[keep] = usable[positions[keep]]
            if keep.any():
                found.append((positions[keep], counts[keep], weight))
        if len(found) > MAX_QUERY_TERMS:
            found.sort(key=lambda match: len(match[0]))
        return found[:MAX_QUERY_TERMS]


@dataclass(frozen=True, slots=True)
class Ranked:
    """One turn's place in a ranking: its position, its score, and what that is made of."""

    position: int
    score: float
    parts: Mapping[str, float]


@dataclass(frozen=True, slots=True, eq=False)
class Scores:
    """The scores of all positions; 0 where `usable` is false.

    `dense` and `keyword` are 0..1, `fused` is their mean, and `smoothed`, with the
    neighbours' share (0..1.75), is the final score.
    """

    dense: FloatArray
    keyword: FloatArray
    fused: FloatArray
    smoothed: FloatArray
    usable: Mask

    def best(self, most: int, *, among: Mask | None = None) -> list[Ranked]:
        """Give the best usable positions, best first, and of equals the newer first."""
        allowed = self.usable if among is None else self.usable & among
        newest_first = np.flatnonzero(allowed)[::-1]
        order = np.argsort(-self.smoothed[newest_first], kind="stable")
        return [self._at(int(at)) for at in newest_first[order[: max(most, 0)]]]

    def _at(self, position: int) -> Ranked:
        parts = {
            name: float(getattr(self, name)[position])
            for name in ("dense", "keyword", "fused", "smoothed")
        }
        return Ranked(position, parts["smoothed"], parts)


def rank(
    index: TurnIndex,
    query: str,
    dense: NDArray[np.floating[Any]] | None,
    *,
    usable: Mask | None = None,
) -> Scores:
    """Score every turn of an index for a query.

    `dense` holds the cosine similarities, NaN where a turn has no vector; None when there
    are none at all. `usable` says which turns count, None for all; turns that do not are
    no neighbours either. Both may be shorter than the index, and then equally long.
    """
    if usable is None:
        usable = np.ones(len(index) if dense is None else len(dense), dtype=np.bool_)
    keyword = index.keyword_scores(query, usable)[usable]
    near = np.zeros(len(keyword)) if dense is None else _spread(dense[usable])
    peak = keyword.max(initial=0.0)
    words = keyword / peak if peak > 0 else keyword
    fused = fuse(near, words)
    return Scores(
        dense=_scattered(near, usable),
        keyword=_scattered(words, usable),
        fused=_scattered(fused, usable),
        smoothed=_scattered(smooth(fused), usable),
        usable=usable,
    )


def fuse(dense: FloatArray, keyword: FloatArray) -> FloatArray:
    """Join the two kinds of score, both 0..1."""
    return DENSE_WEIGHT * dense + (1 - DENSE_WEIGHT) * keyword


def smooth(scores: FloatArray) -> FloatArray:
    """Give every turn a share of its neighbours' scores, in the order of the turns."""
    smoothed = scores.copy()
    smoothed[1:] += PREDECESSOR_WEIGHT * scores[:-1]
    smoothed[:-1] += SUCCESSOR_WEIGHT * scores[1:]
    return smoothed


def _spread(similarities: NDArray[np.floating[Any]]) -> FloatArray:
    """Bring similarities to 0..1; what is missing counts as the least."""
    values = similarities.astype(np.float64)
    present = values[~np.isnan(values)]
    if not present.size or present.max() == present.min():
        return np.zeros(len(values))
    least = present.min()
    filled = np.where(np.isnan(values), least, values)
    spread: FloatArray = (filled - least) / (present.max() - least)
    return spread


def _scattered(values: FloatArray, usable: Mask) -> FloatArray:
    whole = np.zeros(len(usable))
    whole[usable] = values
    return whole


def _read(numbers: array[int]) -> NDArray[np.uintc]:
    """Copy, in one step that no other thread's append comes between."""
    return np.frombuffer(numbers.tobytes(), dtype=np.uintc)
