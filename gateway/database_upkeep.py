"""What keeps SQLite's file small and free of what was deleted; nothing elsewhere."""

from __future__ import annotations

import logging
from datetime import datetime

from django.db import connection

from gateway.upkeep import Step, Upkeep
from memory.models import VectorErasure
from rag import keyword_upkeep
from rag.models import ChunkErasure, FileErasure

logger = logging.getLogger(__name__)

SHRINKING_INTERVAL_S = 30.0
VACUUM_INTERVAL_S = 3600.0
CHECKPOINT_WAIT_MS = 200  # for readers: whoever writes waits as long
VACUUMED_BYTES = 256 * 2**20
TOO_LARGE = (
    "the database is too large to be vacuumed while it serves: do it when you can"
)
# Whatever is deleted leaves a note in one of these, which never count backwards.
NOTES = tuple(
    each._meta.db_table for each in (VectorErasure, ChunkErasure, FileErasure)
)


class DatabaseUpkeep(Upkeep):
    """Empties the write-ahead log, and writes the file anew after deletions. Blocks."""

    def __init__(self) -> None:
        """Have both done at the first round."""
        self._erased = 0  # when the database was last vacuumed
        steps = [
            Step("empty the log", self._shrink, SHRINKING_INTERVAL_S),
            Step("write the file anew", self._vacuum, VACUUM_INTERVAL_S),
        ]
        super().__init__("the database's upkeep", steps)

    def _vacuum(self, now: datetime) -> bool:
        self._erased = vacuum(erased=self._erased)
        return self._shrink(now)

    def _shrink(self, now: datetime) -> bool:
        return not shrink()


def shrink() -> bool:
    """Empty SQLite's write-ahead log, which still holds what was overwritten.

    Quick when there is nothing in it. False when a reader was in the way: try again.
    """
    if connection.vendor != "sqlite":
        return True
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA busy_timeout")
        (usual_ms,) = cursor.fetchone()
        cursor.execute(f"PRAGMA busy_timeout = {CHECKPOINT_WAIT_MS}")
        try:
            cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            (is_busy, _, _) = cursor.fetchone()
        finally:
            cursor.execute(f"PRAGMA busy_timeout = {usual_ms}")
    return not is_busy


def vacuum(*, erased: int = 0) -> int:
    """Write SQLite's file anew; then no page of it holds a scrap of what was deleted.

    `secure_delete` clears what is deleted where it lies, but not the scraps that stay
    behind when SQLite moves rows between pages. Gives how much was ever deleted; give it
    back next time: without new deletions nothing is done. Not often: others cannot write
    meanwhile, and for a file of more than VACUUMED_BYTES they would wait too long, so it
    is left as it is. Outside a transaction; `shrink` belongs after it.
    """
    if connection.vendor != "sqlite":
        return erased
    with connection.cursor() as cursor:
        ever = ever_erased()
        if ever <= erased:
            return ever
        if not keyword_upkeep.optimize():  # deleted words would stay in the new file
            return erased
        cursor.execute(
            "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size"
        )
        (size,) = cursor.fetchone()
        if size <= VACUUMED_BYTES:
            cursor.execute("VACUUM")
        else:
            logger.warning(TOO_LARGE, extra={"bytes": size})
    return ever


def ever_erased() -> int:
    """Count the turns, chunks and files that were ever deleted from SQLite's file."""
    with connection.cursor() as cursor:
        places = ", ".join(["%s"] * len(NOTES))
        cursor.execute(
            f"SELECT sum(seq) FROM sqlite_sequence WHERE name IN ({places})",  # noqa: S608 - only places
            NOTES,
        )
        return int(cursor.fetchone()[0] or 0)
