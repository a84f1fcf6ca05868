"""How many of the turns that answer a question are found, by each way to search."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cache

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer
from typing_extensions import override

from benchmarks.conversations import Conversation, Question
from memory.ranking import TurnIndex, rank
from rag.embedding import Embedder
from rag.packaged_model import model_folder

DEPTHS = (5, 10, 25)
_BATCH = 64

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class Method(StrEnum):
    """A way to search; the last is what AILB does."""

    DENSE = "dense alone"
    KEYWORDS = "keywords alone"
    FUSED = "fused"
    SMOOTHED = "fused, smoothed"


@dataclass(frozen=True, slots=True)
class Quality:
    """One line of the table: means over all questions of a set.

    `recall` is the share of a question's answering turns by depth, `by_kind` that among
    the first 10 by the questions' kind; `tokens` are the word pieces of the first 10.
    """

    data: str
    embedder: str
    method: Method
    recall: dict[int, float]
    by_kind: dict[str, float]
    tokens: float

    @property
    def title(self) -> str:
        """Name the row."""
        return f"{self.data}, {self.embedder}, {self.method}"

    @override
    def __str__(self) -> str:
        """Lay it out under the headings."""
        recalls = "".join(f"{self.recall[depth]:>8.3f}" for depth in DEPTHS)
        kinds = "".join(
            f"{found:>{len(kind) + 2}.3f}" for kind, found in self.by_kind.items()
        )
        return (
            f"{self.embedder:<10}{self.method:<18}{recalls}{self.tokens:>8.0f}{kinds}"
        )


def headings(name: str, conversations: Sequence[Conversation]) -> str:
    """Say what is searched, and name the columns."""
    turns = sum(len(conversation.turns) for conversation in conversations)
    questions = sum(len(conversation.questions) for conversation in conversations)
    depths = "".join(f"{f'R@{depth}':>8}" for depth in DEPTHS)
    kinds = "".join(f"  {kind}" for kind in _kinds(conversations))
    return (
        f"{name}: {questions} questions, {turns} turns of {len(conversations)} "
        f"conversations; on the right R@10 by kind of question\n"
        f"{'embedder':<10}{'method':<18}{depths}{'tokens':>8}{kinds}"
    )


def measure(
    name: str, conversations: Sequence[Conversation], embedder: Embedder
) -> list[Quality]:
    """Ask every question of each conversation in its own turns, by every method."""
    tallies = {method: _Tally() for method in Method}
    for conversation in conversations:
        _ask_all(conversation, embedder, tallies)
    return [
        Quality(
            name,
            embedder.id.precision,
            method,
            recall={depth: tally.mean(depth) for depth in DEPTHS},
            by_kind={kind: tally.mean(10, kind) for kind in _kinds(conversations)},
            tokens=statistics.fmean(tally.tokens),
        )
        for method, tally in tallies.items()
    ]


class _Tally:
    """What one method found, question by question."""

    def __init__(self) -> None:
        self.tokens: list[int] = []
        self._found: list[tuple[str, dict[int, float]]] = []

    def add(self, question: Question, best: Sequence[int], pieces: Ints) -> None:
        """Count the answering turns among the best, and what the first 10 cost."""
        shares = {
            depth: len(question.evidence.intersection(best[:depth]))
            / len(question.evidence)
            for depth in DEPTHS
        }
        self._found.append((question.kind, shares))
        self.tokens.append(int(pieces[list(best[:10])].sum()))

    def mean(self, depth: int, kind: str | None = None) -> float:
        """Give the mean share found, of all questions or of one kind."""
        return statistics.fmean(
            shares[depth] for of, shares in self._found if kind in (None, of)
        )


def _ask_all(
    conversation: Conversation, embedder: Embedder, tallies: Mapping[Method, _Tally]
) -> None:
    units = [turn.unit for turn in conversation.turns]
    pieces = np.array([_word_pieces(unit) for unit in units])
    index = TurnIndex()
    index.extend(units)
    vectors = _embedded(embedder, units)
    asked = _embedded(embedder, [question.text for question in conversation.questions])
    for question, vector in zip(conversation.questions, asked, strict=True):
        scores = rank(index, question.text, vectors @ vector)
        for method, found in (
            (Method.DENSE, scores.dense),
            (Method.KEYWORDS, scores.keyword),
            (Method.FUSED, scores.fused),
            (Method.SMOOTHED, scores.smoothed),
        ):
            tallies[method].add(question, _best(found), pieces)


def _best(scores: Floats) -> list[int]:
    """Give the positions of the highest scores; of equal ones the newer first."""
    positions = np.arange(len(scores))
    best: list[int] = np.lexsort((-positions, -scores))[: max(DEPTHS)].tolist()
    return best


def _embedded(embedder: Embedder, texts: Sequence[str]) -> Floats:
    batches = [
        embedder.embed(texts[begin : begin + _BATCH])
        for begin in range(0, len(texts), _BATCH)
    ]
    return np.concatenate(batches).astype(np.float64)


def _kinds(conversations: Sequence[Conversation]) -> list[str]:
    return sorted({q.kind for each in conversations for q in each.questions})


@cache
def _tokenizer() -> Tokenizer:
    tokenizer = Tokenizer.from_file(str(model_folder() / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def _word_pieces(text: str) -> int:
    return len(_tokenizer().encode(text, add_special_tokens=False).ids)
