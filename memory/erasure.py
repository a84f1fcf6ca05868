"""Deleting for real: rows, vectors, and a note of what the vector store still holds."""

from __future__ import annotations

from collections.abc import Sequence

from django.db import connection, transaction

from memory.models import Session, VectorErasure

CHUNK_SESSIONS = 100  # of one transaction: SQLite's other writers wait no longer for it

# In this order, for the foreign keys. Not through the ORM: it would first load each turn.
# A trigger (`memory.erasure_trigger`) notes each turn's vector as one to be erased.
STATEMENTS = (
    (
        "DELETE FROM memory_turnvector WHERE turn_id IN "
        "(SELECT id FROM memory_turn WHERE session_id = %s)"
    ),
    "DELETE FROM memory_turn WHERE session_id = %s",
    "DELETE FROM memory_session WHERE id = %s",
)


def erase_sessions(session_pks: Sequence[int]) -> int:
    """Delete sessions by row id with all that hangs on them; gives how many there were.

    Their vectors leave the vector store when upkeep next erases. Each session goes in
    one transaction, whole or not at all.
    """
    erased = 0
    for first in range(0, len(session_pks), CHUNK_SESSIONS):
        erased += _erase(session_pks[first : first + CHUNK_SESSIONS])
    return erased


def _erase(session_pks: Sequence[int]) -> int:
    with transaction.atomic():
        locked = Session.objects.select_for_update().filter(pk__in=session_pks)
        there = list(locked.order_by("pk").values_list("pk", flat=True))
        with connection.cursor() as cursor:
            for pk in there:
                for statement in STATEMENTS:
                    cursor.execute(statement, [pk])
    return len(there)


def note_erasures(uids: Sequence[str]) -> None:
    """Have upkeep remove these ids from the vector store; safe to call again."""
    VectorErasure.objects.bulk_create(
        [VectorErasure(uid=uid) for uid in uids], ignore_conflicts=True
    )
