"""What goes into memory and what comes out, as values (pure)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from memory.config import Policy
from rag.scope import Scope


@dataclass(frozen=True, slots=True)
class RecallRequest:
    """One request that asks for what its session knows.

    `messages` are the client's and are never changed. `room_tokens` is what the model's
    context has left for additions, None when that is unknown. `now_s` is Unix time.
    """

    scope: Scope
    session_id: str
    messages: Sequence[Mapping[str, Any]]
    policy: Policy
    room_tokens: int | None
    request_id: str
    is_retry: bool
    now_s: float


class RecallStatus(StrEnum):
    """How a recall ended: something was added, nothing was, it failed, not asked for."""

    HIT = "hit"
    MISS = "miss"
    DEGRADED = "degraded"
    OFF = "off"


@dataclass(frozen=True, slots=True)
class Recollection:
    """What to send upstream, and how it came about.

    `messages` is None where the client's own go out unchanged; with `has_block`, the one
    before the question is the block of what was recalled. `recent` and `recalled` count
    the turns that were added, `tokens` is what they cost, estimated. `problem` says why a
    recall is degraded, and is else empty.
    """

    status: RecallStatus
    messages: list[dict[str, Any]] | None = None
    has_block: bool = False
    recent: int = 0
    recalled: int = 0
    tokens: int = 0
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Exchanged:
    """One finished request, to be written.

    `messages` are the client's own, without what memory added. `tool_calls` are pairs of
    name and arguments. `is_partial`: the answer broke off. `at_s` is Unix time.
    """

    scope: Scope
    session_id: str
    policy: Policy
    messages: Sequence[Mapping[str, Any]]
    answer: str
    tool_calls: Sequence[tuple[str, str]]
    model: str
    request_id: str
    is_retry: bool
    is_partial: bool
    at_s: float
