"""What tests of memory's service stand on: a fast embedder, scopes, exchanges."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any
from zlib import crc32

import numpy as np
from django.apps import apps

from memory.config import Policy
from memory.exchange import Exchanged, RecallRequest, Recollection
from memory.service import Memory
from rag.embedder import EmbeddingId, Vectors
from rag.embedding_lanes import EmbeddingLanes
from rag.errors import EmbedderUnavailable
from rag.packaged_model import model_folder
from rag.scope import Scope
from rag.vectorstore import VectorStore

DIMENSION = 512
NOW_S = 4_000_000_000.0  # long after any clock that runs the tests
UNFIT = "cannot-be-embedded"
POLICY = Policy()


class HashedWords:
    """Embeds a text as the sum of its words, each at a place that its hash says."""

    max_tokens = 10_000

    def __init__(self, name: str = "hashed-words") -> None:
        self.id = EmbeddingId(name, "fp32", DIMENSION)
        self.texts = list[str]()

    @property
    def tokenizer_json(self) -> str:
        return (model_folder() / "tokenizer.json").read_text(encoding="utf-8")

    def embed(self, texts: Sequence[str]) -> Vectors:
        if any(UNFIT in text for text in texts):
            raise ValueError(UNFIT)
        self.texts += texts
        rows = np.zeros((len(texts), DIMENSION), np.float32)
        for row, text in zip(rows, texts, strict=True):
            for word in text.lower().split():
                row[crc32(word.encode()) % DIMENSION] += 1
            row /= max(float(np.linalg.norm(row)), 1e-6)
        return rows


def no_embedder() -> HashedWords:
    raise EmbedderUnavailable("There is no embedder in this test.")


@contextmanager
def running_lanes(embedder: HashedWords | None = None) -> Iterator[EmbeddingLanes]:
    """Give lanes whose embedder is loaded."""
    chosen = embedder or HashedWords()
    lanes = EmbeddingLanes(lambda: chosen)
    try:
        lanes.embed_batch(["loads it"])
        yield lanes
    finally:
        lanes.close()


def make_memory(lanes: EmbeddingLanes, store: VectorStore | None = None) -> Memory:
    return Memory(lanes, store, secret="of this test")


def make_scope(name: str, *, owner: str = "") -> Scope:
    """Give the scope of a tenant, which is made when there is none of that name."""
    tenants = apps.get_model("gateway", "Tenant").objects
    tenant, _ = tenants.get_or_create(name=name)
    return Scope(tenant_id=tenant.pk, owner=owner)


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


def assistant(text: str) -> dict[str, Any]:
    return {"role": "assistant", "content": text}


def exchanged(
    scope: Scope,
    *messages: Mapping[str, Any],
    session_id: str = "s",
    answer: str = "Fine.",
    policy: Policy = POLICY,
    at_s: float = NOW_S,
    **changes: Any,
) -> Exchanged:
    """Give a finished request."""
    given: dict[str, Any] = {
        "tool_calls": (), "model": "m", "request_id": "", "is_retry": False,
        "is_partial": False, **changes,
    }  # fmt: skip
    return Exchanged(
        scope=scope, session_id=session_id, policy=policy, messages=messages,
        answer=answer, at_s=at_s, **given,
    )  # fmt: skip


def recall(
    memory: Memory,
    scope: Scope,
    *messages: Mapping[str, Any],
    session_id: str = "s",
    policy: Policy = POLICY,
    now_s: float = NOW_S,
    deadline_s: float | None = None,
    request_id: str = "",
) -> Recollection:
    """Recall with five seconds to go, or until a deadline."""
    request = RecallRequest(
        scope=scope, session_id=session_id, messages=messages, policy=policy,
        room_tokens=None, request_id=request_id, is_retry=False, now_s=now_s,
    )  # fmt: skip
    limit_s = time.monotonic() + 5 if deadline_s is None else deadline_s
    return memory.recall(request, deadline_s=limit_s)


def text_of(recollection: Recollection) -> str:
    """Give everything that goes upstream, as one text."""
    return "\n".join(str(each["content"]) for each in recollection.messages or [])
