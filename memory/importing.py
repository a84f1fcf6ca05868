"""Turns from another system: checked, embedded, and stored all together."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import compress
from typing import TYPE_CHECKING, Any

from django.db import transaction

from memory import store
from memory.config import Policy
from memory.errors import InvalidTurns
from memory.metrics import TURNS_WRITTEN
from memory.models import MAX_EXTERNAL_ID, EmbeddingState, Session, Turn
from memory.records import Imported
from memory.settings_field import read_settings
from memory.turns import Said, said_of, unit_of
from memory.vectors import Embedded, embed, vector_rows, write_vectors
from rag.errors import EmbedderUnavailable
from rag.scope import Scope

if TYPE_CHECKING:
    from rag.embedding_lanes import EmbeddingLanes

logger = logging.getLogger(__name__)

MAX_TURNS = 1_000
ROLES = ("user", "assistant", "tool")
FIELDS = frozenset({"role", "content", "created", "external_id"})
END_OF_TIME_S = 253_402_300_800  # the year 10000: what a datetime can hold, and less


@dataclass(frozen=True, slots=True)
class Given:
    """One turn that was sent; `created` None where that was left out."""

    said: Said
    created: datetime | None
    external_id: str


def read_turns(turns: object) -> list[Given]:
    """Check what was sent, a JSON value.

    Raises:
        InvalidTurns: It says which field of which turn is wrong.

    """
    if not isinstance(turns, list) or not turns:
        raise InvalidTurns("turns must be a list of at least one turn.", "turns")
    if len(turns) > MAX_TURNS:
        message = f"turns holds {len(turns)} turns; at most {MAX_TURNS:,} go at once."
        raise InvalidTurns(message, "turns")
    return [_read_turn(turn, f"turns[{at}]") for at, turn in enumerate(turns)]


def _read_turn(turn: object, param: str) -> Given:
    if not isinstance(turn, dict):
        raise InvalidTurns(f"{param} must be an object.", param)
    for name in turn.keys() - FIELDS:
        field = f"{param}.{str(name)[:100]}"
        raise InvalidTurns(f"{field} is not known: a turn has no such field.", field)
    return Given(
        said=_read_said(turn, param),
        created=_read_created(turn.get("created"), f"{param}.created"),
        external_id=_read_external_id(turn.get("external_id"), f"{param}.external_id"),
    )


def _read_said(turn: dict[str, Any], param: str) -> Said:
    role, content = turn.get("role"), turn.get("content")
    if role not in ROLES:
        message = f"{param}.role must be one of {', '.join(ROLES)}."
        raise InvalidTurns(message, f"{param}.role")
    if not isinstance(content, str | list):
        message = f"{param}.content must be a text or a list of content parts."
        raise InvalidTurns(message, f"{param}.content")
    said = said_of({"role": role, "content": content})
    if said is None or not said.text.strip():
        raise InvalidTurns(f"{param}.content is empty.", f"{param}.content")
    return said


def _read_created(value: object, param: str) -> datetime | None:
    if value is None:
        return None
    fault = InvalidTurns(f"{param} must be an ISO 8601 time or Unix seconds.", param)
    try:
        match value:
            case bool():
                raise fault
            case int() | float() if 0 <= value < END_OF_TIME_S and math.isfinite(value):
                return datetime.fromtimestamp(value, UTC)
            case str():
                moment = datetime.fromisoformat(value.strip())
                is_bare = moment.tzinfo is None
                return moment.replace(tzinfo=UTC) if is_bare else moment.astimezone(UTC)
            case _:
                raise fault
    except (ValueError, OverflowError) as error:
        raise fault from error


def _read_external_id(value: object, param: str) -> str:
    if value is None:
        return ""
    is_fit = isinstance(value, str) and 0 < len(value) <= MAX_EXTERNAL_ID
    if not isinstance(value, str) or not is_fit or not value.isprintable():
        message = f"{param} must be a text of 1 to {MAX_EXTERNAL_ID} characters."
        raise InvalidTurns(message, param)
    return value


def in_order(given: Sequence[Given], now: datetime) -> list[tuple[Given, datetime]]:
    """Give turns by time, as sent where times are equal.

    One without a time follows the one that was sent before it; at the head, it stands
    before the first that has one. Without any, all were said `now`.
    """
    latest = next((each.created for each in given if each.created), now)
    timed = list[tuple[Given, datetime]]()
    for each in given:
        latest = each.created or latest
        timed.append((each, latest))
    return sorted(timed, key=lambda pair: pair[1])


class Importer:
    """Imports turns; thread-safe."""

    def __init__(self, lanes: EmbeddingLanes) -> None:
        """`lanes` make the vectors, on the background lane."""
        self._lanes = lanes

    def import_turns(
        self,
        scope: Scope,
        session_id: str,
        turns: object,
        *,
        policy: Policy,
        now: datetime,
    ) -> Imported:
        """Store turns at the end of a session, which is made when there is none.

        All or none are stored, with their vectors: when it returns they can be found. It
        blocks for as long as embedding takes. Turns whose `external_id` is there already,
        or twice in what was sent, change nothing.

        Raises:
            InvalidTurns: See `read_turns`; or memory is off for this session.
            django.db.Error: The database is away; nothing is stored.

        """
        given = read_turns(turns)
        unknown = _unknown(scope, session_id, given, now=now)
        rows = [_turn(each, created) for each, created in in_order(unknown, now)]
        embedded = self._embed(rows)
        with transaction.atomic():
            session = store.lock_session(scope, session_id, now=now)
            if not read_settings(session.settings).over(policy).is_enabled:
                raise InvalidTurns("Memory is off for this session.", "session_id")
            known = _known(session, rows)  # what another process has just imported
            fresh = [turn.external_id not in known for turn in rows]
            new = list(compress(rows, fresh))
            store.add_turns(session, new, policy=policy, now=now)
            if embedded is not None:
                _add_vectors(new, embedded.only(fresh))
        TURNS_WRITTEN.inc(len(new))
        record = store.session_record(session)
        waiting = len(new) if embedded is None else 0
        return Imported(record, len(new), len(given) - len(new), waiting)

    def _embed(self, rows: Sequence[Turn]) -> Embedded | None:
        """Make the vectors and say so in the rows; None when there is no embedder."""
        if not rows:
            return None
        try:
            embedded = embed(self._lanes, [unit_of(row.role, row.text) for row in rows])
        except EmbedderUnavailable as error:
            logger.warning("turns wait for vectors", extra={"reason": str(error)})
            return None
        for row, data in zip(rows, embedded.data, strict=True):
            is_made = data is not None
            row.embedding_state = (
                EmbeddingState.EMBEDDED if is_made else EmbeddingState.FAILED
            )
        return embedded


def _unknown(
    scope: Scope, session_id: str, given: Sequence[Given], *, now: datetime
) -> list[Given]:
    """Leave out what is stored already, and what was sent twice."""
    session = store.find_session(scope, session_id, now=now)
    ids = [each.external_id for each in given if each.external_id]
    known = store.known_external_ids(session, ids) if session else set()
    unknown = list[Given]()
    for each in given:
        if each.external_id in known:
            continue
        unknown.append(each)
        if each.external_id:
            known.add(each.external_id)
    return unknown


def _known(session: Session, rows: Sequence[Turn]) -> set[str]:
    ids = [row.external_id for row in rows if row.external_id]
    return store.known_external_ids(session, ids)


def _add_vectors(turns: Sequence[Turn], embedded: Embedded) -> None:
    rows, _ = vector_rows(turns, embedded)
    write_vectors(rows)


def _turn(given: Given, created: datetime) -> Turn:
    return Turn(
        role=given.said.role,
        text=given.said.text[: store.MAX_TEXT],
        content_hash=given.said.content_hash,
        tokens=given.said.tokens,
        external_id=given.external_id,
        created_at=created,
    )
