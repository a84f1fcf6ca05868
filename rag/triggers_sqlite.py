"""The triggers on SQLite, where one also keeps the keyword index, a table of FTS5."""

from __future__ import annotations

TABLES = frozenset({"rag_keyword", "rag_indexsize", "rag_keyworddeletion"})
NOW = "strftime('%Y-%m-%d %H:%M:%f', 'now')"  # as Django writes it there

# Every term bears its index, so that one index's terms, and how many chunks have
# each, are looked up without a glance at another's.
SCOPED = (
    "{row}.index_id || 'x' || replace({row}.terms, ' ', ' ' || {row}.index_id || 'x')"
)
COUNTED = "length({row}.terms) - length(replace({row}.terms, ' ', '')) + 1"


def statements() -> list[str]:
    """Write what removes each trigger and makes it anew."""
    return [
        statement
        for name, body in bodies().items()
        for statement in (
            f"DROP TRIGGER IF EXISTS {name}",
            f"CREATE TRIGGER {name} {body}",
        )
    ]


def bodies() -> dict[str, str]:
    """Give each trigger's name, and when it does what."""
    return {
        "rag_chunk_insert_keyword": (
            f"AFTER INSERT ON rag_chunk BEGIN {adding('NEW')} END"
        ),
        "rag_chunk_delete_keyword": (
            f"AFTER DELETE ON rag_chunk BEGIN {removing('OLD')} END"
        ),
        # In this order: FTS5 would else forget the terms that stay.
        "rag_chunk_update_keyword": (
            "AFTER UPDATE OF id, index_id, terms ON rag_chunk "
            "WHEN (OLD.id, OLD.index_id, OLD.terms) <> (NEW.id, NEW.index_id, NEW.terms) "
            f"BEGIN {removing('OLD')} {adding('NEW')} END"
        ),
        "rag_chunk_delete_erasure": (
            "AFTER DELETE ON rag_chunk WHEN OLD.vector_state <> 'pending' BEGIN "  # noqa: S608 - our tables
            "INSERT OR IGNORE INTO rag_chunkerasure (index_uid, uid, created_at) "
            f"SELECT uid, OLD.uid, {NOW} FROM rag_index WHERE id = OLD.index_id; END"
        ),
        "rag_index_delete_size": (
            "AFTER DELETE ON rag_index BEGIN "
            "DELETE FROM rag_indexsize WHERE index_id = OLD.id; END"
        ),
        "rag_version_delete_folder": _noting_folder("rag_version", "versions"),
        "rag_storedfile_delete_folder": _noting_folder("rag_storedfile", "files"),
    }


def adding(row: str) -> str:
    """Write the statements that index a row of `rag_chunk`.

    Not as one "upsert": `INSERT OR IGNORE` of the chunk would be its policy, too.
    """
    return (
        "INSERT INTO rag_keyword (rowid, terms) "  # noqa: S608 - our tables
        f"SELECT {row}.id, {SCOPED.format(row=row)} WHERE {row}.terms <> ''; "
        "INSERT OR IGNORE INTO rag_indexsize (index_id, chunks, terms) "
        f"VALUES ({row}.index_id, 0, 0); {_sized(row, '+')}"
    )


def removing(row: str) -> str:
    """Write the statements that take a row of `rag_chunk` out of the keyword index."""
    return (
        "INSERT INTO rag_keyword (rag_keyword, rowid, terms) "  # noqa: S608 - our tables
        f"SELECT 'delete', {row}.id, {SCOPED.format(row=row)} WHERE {row}.terms <> ''; "
        f"{_sized(row, '-')} "
        "UPDATE rag_keyworddeletion SET deletions = deletions + 1;"
    )


def _sized(row: str, sign: str) -> str:
    return (
        f"UPDATE rag_indexsize SET chunks = chunks {sign} 1, "  # noqa: S608 - our tables
        f"terms = terms {sign} ({COUNTED.format(row=row)}) "
        f"WHERE index_id = {row}.index_id AND {row}.terms <> '';"
    )


def _noting_folder(table: str, kind: str) -> str:
    return (
        f"AFTER DELETE ON {table} BEGIN "  # noqa: S608 - our tables
        "INSERT OR IGNORE INTO rag_fileerasure (folder, created_at) "
        f"VALUES ('{kind}/' || OLD.uid, {NOW}); END"
    )
