"""Sessions and turns in the database: every query of memory begins here, with a scope."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import Q, QuerySet

from memory.config import Policy
from memory.erasure import erase_sessions
from memory.errors import InvalidCursor, SessionNotFound
from memory.models import Session, Turn
from memory.records import SessionPage, SessionRecord, TurnRecord
from memory.turns import StoredTurn
from rag.scope import Scope

MAX_TEXT = 100_000  # characters of a turn that are kept
MAX_REQUEST_ID = 128
TAIL_TURNS = 200  # newest turns that a write compares with, and may supersede
INSERTED_ROWS = 500
# What a StoredTurn is made of.
COLUMNS = (
    "seq", "uid", "role", "text", "content_hash", "tokens", "created_at",
    "is_partial", "request_id",
)  # fmt: skip


def sessions_of(scope: Scope) -> QuerySet[Session]:
    """Give the sessions that a scope may see: the one place that says so."""
    return Session.objects.filter(tenant_id=scope.tenant_id)


def living(now: datetime) -> Q:
    """Give the condition of sessions that have not ended."""
    return Q(expires_at__isnull=True) | Q(expires_at__gt=now)


def find_session(scope: Scope, session_id: str, *, now: datetime) -> Session | None:
    """Give a session, None when there is none or it has ended."""
    if "\0" in session_id:  # PostgreSQL would raise
        return None
    found = sessions_of(scope).filter(living(now), session_id=session_id)
    return next(iter(found.order_by()), None)  # it is unique


def get_session(scope: Scope, session_id: str, *, now: datetime) -> Session:
    """Give a session.

    Raises:
        SessionNotFound: There is none, or it has ended.

    """
    session = find_session(scope, session_id, now=now)
    if session is None:
        raise SessionNotFound(session_id)
    return session


def lock_session(scope: Scope, session_id: str, *, now: datetime) -> Session:
    """Give a session, made when there is none, that nobody else writes meanwhile.

    Within a transaction. One that has ended is erased and begun anew.
    """
    mine = sessions_of(scope).select_for_update().filter(session_id=session_id)
    session = mine.first()
    if session is not None and session.expires_at and session.expires_at <= now:
        erase_sessions([session.pk])
        session = None
    if session is not None:
        return session
    try:
        with transaction.atomic():
            return Session.objects.create(
                tenant_id=scope.tenant_id,
                session_id=session_id,
                owner=scope.owner,
                created_at=now,
                last_used_at=now,
            )
    except IntegrityError:
        return mine.get()  # another process has just made it


def add_turns(
    session: Session, turns: Sequence[Turn], *, policy: Policy, now: datetime
) -> None:
    """Store turns at the end of a locked session, and that it was used.

    Sets what a turn cannot know itself: session, seq, uid.
    """
    for seq, turn in enumerate(turns, session.last_seq + 1):
        turn.session, turn.seq, turn.uid = session, seq, uuid.uuid4().hex
    Turn.objects.bulk_create(turns, batch_size=INSERTED_ROWS)
    session.last_seq += len(turns)
    session.version += 1
    session.last_used_at = max(now, session.last_used_at)
    days = policy.ttl_days if session.ttl_days is None else session.ttl_days
    session.expires_at = session.last_used_at + timedelta(days=days) if days else None
    session.save(
        update_fields=["last_seq", "version", "last_used_at", "expires_at"],
    )


def supersede(session: Session, seqs: Collection[int]) -> None:
    """Mark turns as of a branch that was left. `add_turns` follows in the transaction.

    A summary that has one of them goes: it would tell of what was taken back.
    """
    if not seqs:
        return
    Turn.objects.filter(session=session, seq__in=list(seqs)).update(is_superseded=True)
    if min(seqs) <= session.summary_upto:
        Session.objects.filter(pk=session.pk).update(
            summary="", summary_upto=0, summary_tried_at=None
        )


def tail(session: Session, *, limit: int = TAIL_TURNS) -> list[StoredTurn]:
    """Give the newest turns that are not superseded, in order."""
    turns = Turn.objects.filter(session=session, is_superseded=False)
    rows = turns.order_by("-seq").values_list(*COLUMNS)[:limit]
    return [stored_turn(row) for row in reversed(rows)]


def known_hashes(session: Session, hashes: Collection[str]) -> set[str]:
    """Give which of these a turn of the session has that is not superseded."""
    if not hashes:
        return set()
    found = Turn.objects.filter(
        session=session, content_hash__in=list(hashes), is_superseded=False
    )
    return set(found.order_by().values_list("content_hash", flat=True))


def known_external_ids(session: Session, external_ids: Collection[str]) -> set[str]:
    """Give which of these external ids the session has."""
    if not external_ids:
        return set()
    found = Turn.objects.filter(session=session, external_id__in=list(external_ids))
    return set(found.order_by().values_list("external_id", flat=True))


def turns_after(
    session: Session, seq: int, *, limit: int, with_superseded: bool
) -> list[Turn]:
    """Give a page of a session's turns, in order."""
    turns = Turn.objects.filter(session=session, seq__gt=seq)
    if not with_superseded:
        turns = turns.filter(is_superseded=False)
    return list(turns.order_by("seq")[:limit])


def turns_by_uid(session: Session, uids: Sequence[str]) -> dict[str, Turn]:
    """Give turns of a session by their uid."""
    found = Turn.objects.filter(session=session, uid__in=uids)
    return {turn.uid: turn for turn in found}


def all_turns(session: Session) -> Iterator[Turn]:
    """Give every turn of a session in order, superseded ones too."""
    turns = Turn.objects.filter(session=session).order_by("seq")
    return turns.iterator(chunk_size=1000)


def page_of_sessions(
    scope: Scope, *, after: str | None, limit: int, now: datetime
) -> SessionPage:
    """Give a page of the living sessions, the last used first.

    Raises:
        InvalidCursor: `after` is not the `next` of a page.

    """
    sessions = sessions_of(scope).filter(living(now))
    if after is not None:
        moment, pk = _read_cursor(after)
        older = Q(last_used_at=moment, pk__lt=pk)
        sessions = sessions.filter(Q(last_used_at__lt=moment) | older)
    found = list(sessions.order_by("-last_used_at", "-pk")[: limit + 1])
    page = found[:limit]
    following = _cursor(page[-1]) if len(found) > limit else None
    return SessionPage(tuple(session_record(session) for session in page), following)


def _cursor(session: Session) -> str:
    moment = session.last_used_at.astimezone(UTC)
    return f"{moment:%Y%m%dT%H%M%S.%fZ}-{session.pk}"


def _read_cursor(cursor: str) -> tuple[datetime, int]:
    moment, _, pk = cursor.partition("-")
    try:
        read = datetime.fromisoformat(moment), int(pk)
    except ValueError as error:
        raise InvalidCursor("This is not the 'next' of a page.") from error
    if read[0].tzinfo is None or not 0 <= read[1] < 2**63:
        raise InvalidCursor("This is not the 'next' of a page.")
    return read


def pks_of(
    scope: Scope, *, session_id: str | None = None, owner: str | None = None
) -> list[int]:
    """Give the row ids of a scope's sessions, all or those named, ended ones too."""
    sessions = sessions_of(scope)
    if "\0" in (session_id or owner or ""):
        return []
    if session_id is not None:
        sessions = sessions.filter(session_id=session_id)
    if owner is not None:
        sessions = sessions.filter(owner=owner)
    return list(sessions.order_by("pk").values_list("pk", flat=True))


def session_record(session: Session) -> SessionRecord:
    """Give a session as a value."""
    return SessionRecord(
        session_id=session.session_id,
        owner=session.owner,
        turns=session.last_seq,
        created_at=session.created_at,
        last_used_at=session.last_used_at,
        expires_at=session.expires_at,
        summary=session.summary,
    )


def turn_record(turn: Turn) -> TurnRecord:
    """Give a turn as a value."""
    return TurnRecord(
        id=turn.uid,
        external_id=turn.external_id,
        seq=turn.seq,
        role=turn.role,
        text=turn.text,
        created_at=turn.created_at,
        model=turn.model,
        request_id=turn.request_id,
        tokens=turn.tokens,
        is_partial=turn.is_partial,
        is_superseded=turn.is_superseded,
    )


def stored_turn(row: tuple[Any, ...]) -> StoredTurn:
    """Give a row of COLUMNS as a value."""
    seq, uid, role, text, content_hash, tokens, created_at, is_partial, request = row
    return StoredTurn(
        uid=uid,
        seq=seq,
        role=role,
        text=text,
        content_hash=content_hash,
        tokens=tokens,
        created_s=created_at.timestamp(),
        is_partial=is_partial,
        request_id=request,
    )
