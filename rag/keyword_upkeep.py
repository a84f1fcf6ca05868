"""What the keyword index needs from time to time: to forget for good, and to be remade."""

from __future__ import annotations

import time

from django.db import DEFAULT_DB_ALIAS, connections, transaction

from rag.triggers_sqlite import COUNTED, SCOPED

MERGED_PAGES = 250  # of 4 KB, in one step: others who write wait some 50 ms
MAX_STEPS = 1_000
PAUSE_S = 0.02  # between two: SQLite's other writers ask again only now and then
MAX_DIFFERENCES = 100  # of sizes on PostgreSQL, before they are added up
FILL_SIZES = (
    "INSERT INTO rag_indexsize (index_id, chunks, terms) "  # noqa: S608 - our tables
    f"SELECT index_id, count(*), sum({COUNTED.format(row='rag_chunk')}) "
    "FROM rag_chunk WHERE terms <> '' GROUP BY index_id"
)


def optimize(*, using: str = DEFAULT_DB_ALIAS) -> bool:
    """Let no term of a deleted chunk stay in the index; quick when none was deleted since.

    FTS5 only marks terms as deleted; they go when the parts of its table are merged. That
    takes about a second for 100,000 chunks, in steps between which others can write.
    False: so much is written meanwhile that it is not done yet; call it again later.
    SQLite's file still holds scraps until it is vacuumed. PostgreSQL removes what was
    deleted by itself; there this adds up the sizes. Outside a transaction.

    Raises:
        django.db.Error: The database is away, or another writes to it for too long.

    """
    if connections[using].vendor != "sqlite":
        _add_up_sizes(using)
        return True
    with connections[using].cursor() as cursor:
        cursor.execute("SELECT deletions FROM rag_keyworddeletion WHERE deletions > 0")
        if cursor.fetchone() is None:
            return True
    for _ in range(MAX_STEPS):
        if _merge(using):
            return True
        time.sleep(PAUSE_S)
    return False


def _merge(using: str) -> bool:
    """Merge some pages. True: there were none, and so no term of a deleted chunk."""
    with transaction.atomic(using), connections[using].cursor() as cursor:
        cursor.execute("SELECT total_changes()")
        (before,) = cursor.fetchone()
        # Less than zero: first put every part in line to be merged into one.
        cursor.execute(
            "INSERT INTO rag_keyword (rag_keyword, rank) VALUES ('merge', %s)",
            [-MERGED_PAGES],
        )
        cursor.execute("SELECT total_changes()")
        (after,) = cursor.fetchone()
        is_merged = bool(after - before < 2)  # the statement itself counts as one
        if is_merged:
            cursor.execute("UPDATE rag_keyworddeletion SET deletions = 0")
    return is_merged


def _add_up_sizes(using: str) -> None:
    with connections[using].cursor() as cursor:
        cursor.execute(
            "SELECT 1 FROM rag_indexsize GROUP BY index_id HAVING count(*) > %s LIMIT 1",
            [MAX_DIFFERENCES],
        )
        if cursor.fetchone() is None:
            return
        # One statement: whoever reads sees all of the old rows or the new one.
        cursor.execute(
            "WITH old AS (DELETE FROM rag_indexsize RETURNING index_id, chunks, terms) "
            "INSERT INTO rag_indexsize (index_id, chunks, terms) "
            "SELECT index_id, sum(chunks), sum(terms) FROM old GROUP BY index_id "
            "HAVING sum(chunks) <> 0"
        )


def rebuild(*, using: str = DEFAULT_DB_ALIAS) -> None:
    """Make the whole keyword index anew from the chunks. Outside a transaction.

    It may run while requests are served. On SQLite whoever else writes waits meanwhile,
    some 10 s for 100,000 chunks.

    Raises:
        django.db.Error: The database is away, or another writes to it for too long.

    """
    is_sqlite = connections[using].vendor == "sqlite"
    with connections[using].cursor() as cursor:
        if not is_sqlite:
            cursor.execute("REINDEX INDEX CONCURRENTLY rag_chunk_keywords")
        with transaction.atomic(using):
            if is_sqlite:
                _refill(using)
            else:
                cursor.execute("LOCK TABLE rag_chunk IN SHARE MODE")
            cursor.execute("DELETE FROM rag_indexsize")
            cursor.execute(FILL_SIZES)


def _refill(using: str) -> None:
    with connections[using].cursor() as cursor:
        cursor.execute("INSERT INTO rag_keyword (rag_keyword) VALUES ('delete-all')")
        cursor.execute(
            "INSERT INTO rag_keyword (rowid, terms) "  # noqa: S608 - our tables
            f"SELECT id, {SCOPED.format(row='rag_chunk')} FROM rag_chunk WHERE terms <> ''"
        )
        cursor.execute("UPDATE rag_keyworddeletion SET deletions = 0")
