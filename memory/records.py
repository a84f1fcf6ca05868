"""Sessions and turns as values that leave memory, ready for JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime


def iso(moment: datetime | None) -> str | None:
    """Give a time as ISO 8601, None for none."""
    return moment.isoformat() if moment else None


@dataclass(frozen=True, slots=True)
class SessionRecord:
    """A session without its turns.

    `turns` counts all that were ever stored, those of left branches included. `owner` is
    the public id of the key that began it, empty for none; `expires_at` None is never.
    """

    session_id: str
    owner: str
    turns: int
    created_at: datetime
    last_used_at: datetime
    expires_at: datetime | None
    summary: str

    def as_dict(self) -> dict[str, object]:
        """Give what a listing shows."""
        return {
            "session_id": self.session_id,
            "owner": self.owner,
            "turns": self.turns,
            "created": iso(self.created_at),
            "last_used": iso(self.last_used_at),
            "expires": iso(self.expires_at),
        }


@dataclass(frozen=True, slots=True)
class SessionPage:
    """Sessions, the last used first; `next` begins the page after, None for none."""

    sessions: tuple[SessionRecord, ...]
    next: str | None


@dataclass(frozen=True, slots=True)
class TurnRecord:
    """A stored turn; `id` is unique and stays, `seq` counts within the session."""

    id: str
    external_id: str
    seq: int
    role: str
    text: str
    created_at: datetime
    model: str
    request_id: str
    tokens: int
    is_partial: bool
    is_superseded: bool

    def as_dict(self) -> dict[str, object]:
        """Give what a listing or an export shows."""
        return {
            "id": self.id,
            "external_id": self.external_id or None,
            "seq": self.seq,
            "role": self.role,
            "content": self.text,
            "created": iso(self.created_at),
            "model": self.model or None,
            "request_id": self.request_id or None,
            "tokens": self.tokens,
            "partial": self.is_partial,
            "superseded": self.is_superseded,
        }


@dataclass(frozen=True, slots=True)
class TurnPage:
    """A session and some of its turns in order; `next_seq` is the next `after_seq`."""

    session: SessionRecord
    turns: tuple[TurnRecord, ...]
    next_seq: int | None


@dataclass(frozen=True, slots=True)
class Hit:
    """A turn that a search found; higher scores are better.

    `parts` are what it is made of, see `memory.ranking.Scores`: `dense` and `keyword`
    from 0 to 1 within the session, 0 without a vector.
    """

    turn: TurnRecord
    score: float
    parts: Mapping[str, float]

    def as_dict(self) -> dict[str, object]:
        """Give what a search answers."""
        return {
            "id": self.turn.id,
            "external_id": self.turn.external_id or None,
            "role": self.turn.role,
            "content": self.turn.text,
            "created": iso(self.turn.created_at),
            "score": self.score,
            "score_parts": dict(self.parts),
        }


@dataclass(frozen=True, slots=True)
class Imported:
    """What an import did: turns that are new, those known by their external id.

    `waiting` are new ones without a vector (no embedder): keywords find them already.
    """

    session: SessionRecord
    added: int
    known: int
    waiting: int
