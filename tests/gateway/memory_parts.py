"""A memory whose every step a test can hold up, in place of the real one behind it."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from gateway.remembering import Parts
from memory.config import Policy
from memory.exchange import Exchanged, RecallRequest, RecallStatus, Recollection
from rag.scope import Scope


class Lanes:
    """Lanes that need no embedder."""

    problem = ""

    def __init__(self) -> None:
        self.steps: list[str] = []

    def start(self) -> None:
        self.steps.append("start")

    def close(self) -> None:
        self.steps.append("close")


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


def parts_of(notebook: Notebook, lanes: Lanes | None = None) -> Parts:
    """Put it where the real memory goes."""
    return Parts(cast(Any, notebook), cast(Any, lanes or Lanes()))


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
