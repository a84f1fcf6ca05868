"""Memory and documents whose every step a test can hold up, in place of the real ones."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any, cast

from gateway.parts import Parts
from memory.config import Policy
from memory.exchange import Exchanged, RecallRequest, RecallStatus, Recollection
from rag.errors import CollectionNotFound
from rag.fusion import Fused, Passage, Selection
from rag.questions import Candidates, Rerank, RetrievalRequest
from rag.scope import Scope


class Lanes:
    """Lanes that need no embedder."""

    problem = ""

    def __init__(self) -> None:
        self.steps: list[str] = []

    def start(self) -> None:
        self.steps.append("start")


@dataclass
class Notebook:
    """Remembers questions in a list, and answers with all that it has.

    `may_recall` and `may_write` are open gates until a test closes them.
    """

    written: list[Exchanged] = field(default_factory=list)
    may_recall: threading.Event = field(default_factory=threading.Event)
    may_write: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.may_recall.set()
        self.may_write.set()

    def recall(self, request: RecallRequest, *, deadline_s: float) -> Recollection:
        assert self.may_recall.wait(10)
        found = [e for e in self.written if e.session_id == request.session_id]
        if not found:
            return Recollection(RecallStatus.MISS)
        said = [dict(message) for e in found for message in e.messages]
        return Recollection(RecallStatus.HIT, [*said, *map(dict, request.messages)])

    def write(self, exchanges: Sequence[Exchanged]) -> int:
        assert self.may_write.wait(10)
        self.written += exchanges
        return len(exchanges)


@dataclass
class Shelf:
    """Has the texts of one collection, `handbook`, and gives all of them for an answer.

    `may_search` is an open gate until a test closes it. `steps` are taken note of.
    """

    texts: Sequence[str] = ("fourteen weeks", "second class")
    is_one_document: bool = False
    rerank: Rerank | None = None
    is_strict: bool = False
    is_required: bool = False
    problem: str = ""
    error: Exception | None = None
    asked: list[RetrievalRequest] = field(default_factory=list)
    steps: list[str] = field(default_factory=list)
    may_search: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.may_search.set()

    def candidates(self, request: RetrievalRequest, *, until_s: float) -> Candidates:
        assert self.may_search.wait(10)
        self.asked.append(request)
        if self.error is not None:
            raise self.error
        if request.collections != ("handbook",):
            raise CollectionNotFound
        numbered = [(str(number), text) for number, text in enumerate(self.texts)]
        starts = accumulate(map(len, self.texts), initial=0)
        return Candidates(
            ranked=[Fused(uid, 1 / (1 + int(uid)), {}) for uid, _ in numbered],
            passages={
                uid: Passage(
                    chunk_id=uid,
                    document_id="d" if self.is_one_document else f"d{uid}",
                    filename="leave.txt",
                    text=text,
                    start=start,
                    end=start + len(text),
                    page=None,
                    tokens=len(text),
                )
                for (uid, text), start in zip(numbered, starts, strict=False)
            },
            selection=Selection(most=request.top_k or 3),
            rerank=self.rerank,
            is_strict=self.is_strict,
            is_required=self.is_required,
            problem=self.problem,
        )

    def close(self) -> None:
        self.steps.append("close")


def parts_of(
    notebook: Notebook | None = None,
    lanes: Lanes | None = None,
    shelf: Shelf | None = None,
) -> Parts:
    """Put them where the real ones go."""
    return Parts(
        memory=cast(Any, notebook or Notebook()),
        library=cast(Any, shelf or Shelf()),
        lanes=cast(Any, lanes or Lanes()),
    )


def exchanged(session_id: str = "s", answer: str = "yes", **fields: Any) -> Exchanged:
    """Make an exchange with one question."""
    given = {
        "scope": Scope(1),
        "session_id": session_id,
        "policy": Policy(),
        "messages": [{"role": "user", "content": f"before {answer}"}],
        "answer": answer,
        "tool_calls": (),
        "model": "m",
        "request_id": "r",
        "is_retry": False,
        "is_partial": False,
        "at_s": 0.0,
    }
    return Exchanged(**{**given, **fields})


def request(session_id: str = "s") -> RecallRequest:
    """Make a request with one question."""
    return RecallRequest(
        scope=Scope(1),
        session_id=session_id,
        messages=[{"role": "user", "content": "now"}],
        policy=Policy(),
        room_tokens=None,
        request_id="r",
        is_retry=False,
        now_s=0.0,
    )
