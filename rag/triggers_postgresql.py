"""The triggers on PostgreSQL, which keeps the keyword index by itself: it is a GIN index.

They keep the sizes of indexes as differences, a row a statement: nobody waits for another
who writes to the same index. `rag.keyword_index.optimize` adds them up.
"""

from __future__ import annotations

TABLES = frozenset({"rag_indexsize"})
COUNTED = "length({row}terms) - length(replace({row}terms, ' ', '')) + 1"


def statements() -> list[str]:
    """Write what makes each function and trigger anew."""
    return [
        *_of_statements("insert", "NEW", "+"),
        *_of_statements("delete", "OLD", "-"),
        *_after_update(),
        *_trigger(
            "rag_chunk_delete_erasure",
            "AFTER DELETE ON rag_chunk FOR EACH ROW WHEN (OLD.vector_state <> 'pending')",
            "INSERT INTO rag_chunkerasure (index_uid, uid, created_at) "
            "SELECT uid, OLD.uid, now() FROM rag_index WHERE id = OLD.index_id "
            "ON CONFLICT DO NOTHING",
        ),
        *_trigger(
            "rag_chunk_truncate_size",
            "AFTER TRUNCATE ON rag_chunk",
            "DELETE FROM rag_indexsize",
        ),
        *_trigger(
            "rag_index_delete_size",
            "AFTER DELETE ON rag_index FOR EACH ROW",
            "DELETE FROM rag_indexsize WHERE index_id = OLD.id",
        ),
        *_noting_folder("rag_version", "versions"),
        *_noting_folder("rag_storedfile", "files"),
    ]


def _trigger(name: str, when: str, body: str) -> list[str]:
    table = when.partition(" ON ")[2].split()[0]
    return [
        (
            f"CREATE OR REPLACE FUNCTION {name}() RETURNS trigger AS $$ "
            f"BEGIN {body}; RETURN NULL; END $$ LANGUAGE plpgsql"
        ),
        f"DROP TRIGGER IF EXISTS {name} ON {table}",
        f"CREATE TRIGGER {name} {when} EXECUTE FUNCTION {name}()",
    ]


def _of_statements(event: str, rows: str, sign: str) -> list[str]:
    return _trigger(
        f"rag_chunk_{event}_size",
        f"AFTER {event.upper()} ON rag_chunk REFERENCING {rows} TABLE AS changed "
        "FOR EACH STATEMENT",
        "INSERT INTO rag_indexsize (index_id, chunks, terms) "  # noqa: S608 - our tables
        f"SELECT index_id, {sign}count(*), {sign}sum({COUNTED.format(row='')}) "
        "FROM changed WHERE terms <> '' GROUP BY index_id",
    )


def _after_update() -> list[str]:
    """For each row: a trigger for whole statements would see every change of a state."""
    changed = "(OLD.index_id, OLD.terms) IS DISTINCT FROM (NEW.index_id, NEW.terms)"
    differences = " UNION ALL ".join(
        f"SELECT {row}.index_id, {sign}1, {sign}({COUNTED.format(row=f'{row}.')}) "
        f"WHERE {row}.terms <> ''"
        for row, sign in (("OLD", "-"), ("NEW", "+"))
    )
    return _trigger(
        "rag_chunk_update_size",
        f"AFTER UPDATE OF index_id, terms ON rag_chunk FOR EACH ROW WHEN ({changed})",
        f"INSERT INTO rag_indexsize (index_id, chunks, terms) {differences}",
    )


def _noting_folder(table: str, kind: str) -> list[str]:
    return _trigger(
        f"{table}_delete_folder",
        f"AFTER DELETE ON {table} FOR EACH ROW",
        "INSERT INTO rag_fileerasure (folder, created_at) "  # noqa: S608 - our tables
        f"VALUES ('{kind}/' || OLD.uid, now()) ON CONFLICT DO NOTHING",
    )
