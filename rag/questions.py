"""What is asked of collections, and what they answer, as values (pure)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from rag.attributes import Filter
from rag.fusion import CANDIDATES, Fused, Hit, Passage, Selection
from rag.scope import Scope


@dataclass(frozen=True, slots=True)
class RetrievalRequest:
    """One question to one or more collections.

    `top_k` is how many chunks are wanted, None for what the collections say. `filters`
    tell which documents are searched, None for all. `room_tokens` is what the model's
    context has left for the whole block, None when that is unknown or does not matter.
    """

    scope: Scope
    collections: tuple[str, ...]
    query: str
    top_k: int | None = None
    filters: Filter | None = None
    room_tokens: int | None = None


class RetrievalStatus(StrEnum):
    """How a question ended: found, not found, not searched as it should be, not asked."""

    HIT = "hit"
    MISS = "miss"
    DEGRADED = "degraded"
    OFF = "off"


@dataclass(frozen=True, slots=True)
class Rerank:
    """Who is to order what was found: a provider by name, and the model it is asked for."""

    provider: str
    model: str


@dataclass(frozen=True, slots=True)
class Candidates:
    """What may answer a question, best first, and how much of it is to be taken.

    Everything in `ranked` is in `passages`, by chunk id. `problem` says why the search
    was not as good as it can be, and is else empty; `is_searched` is false where some
    collection could not be searched at all.
    """

    ranked: Sequence[Fused]
    passages: Mapping[str, Passage]
    selection: Selection
    rerank: Rerank | None = None
    is_strict: bool = False
    is_required: bool = False
    is_searched: bool = True
    problem: str = ""

    def texts(self, most: int = CANDIDATES) -> dict[str, str]:
        """Give the best ones' texts by chunk id, best first: what a reranker is sent."""
        return {
            one.chunk_id: self.passages[one.chunk_id].text for one in self.ranked[:most]
        }


@dataclass(frozen=True, slots=True)
class Retrieved:
    """What a question is answered with, best first.

    `is_strict` and `is_required` are true where they are for one of the collections.
    `is_searched` is false where the documents may hold the answer although there is no
    hit: they could not be searched, or nothing fitted. `problem` is as in `Candidates`.
    """

    status: RetrievalStatus
    hits: tuple[Hit, ...] = ()
    is_strict: bool = False
    is_required: bool = False
    is_searched: bool = True
    problem: str = ""
