"""The database's own note of every turn that goes, so that its vector goes, too.

However a turn is deleted (the service, a page of the admin, a tenant with all that is
its own, a shell), the vector store is told.
"""

from __future__ import annotations

from typing import Any

from django.db import connections

from memory.models import Turn, VectorErasure

NAME = "memory_turn_delete_notes_vector"
TURNS = Turn._meta.db_table
ERASURES = VectorErasure._meta.db_table


def install(*, using: str, **_: Any) -> None:
    """Create the trigger anew. Safe to repeat, and before the tables are there.

    It belongs after every migration: SQLite drops it whenever it remakes the table.
    """
    connection = connections[using]
    if not {TURNS, ERASURES} <= set(connection.introspection.table_names()):
        return
    is_sqlite = connection.vendor == "sqlite"
    statements = sqlite_statements() if is_sqlite else postgresql_statements()
    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


def note_statement(now: str) -> str:
    """Write the statement that notes one turn; `now` is the database's clock."""
    return (
        f"INSERT INTO {ERASURES} (uid, created_at) "  # noqa: S608 - our table
        f"VALUES (OLD.uid, {now}) ON CONFLICT (uid) DO NOTHING"
    )


def sqlite_statements() -> list[str]:
    """Write times as Django does there."""
    note = note_statement("strftime('%Y-%m-%d %H:%M:%f', 'now')")
    return [
        f"DROP TRIGGER IF EXISTS {NAME}",
        f"CREATE TRIGGER {NAME} AFTER DELETE ON {TURNS} BEGIN {note}; END",
    ]


def postgresql_statements() -> list[str]:
    """Write a row trigger; TRUNCATE, which it does not see, takes the notes as well."""
    return [
        (
            "CREATE OR REPLACE FUNCTION memory_note_vector() RETURNS trigger AS $$ "
            f"BEGIN {note_statement('now()')}; RETURN NULL; END $$ LANGUAGE plpgsql"
        ),
        f"DROP TRIGGER IF EXISTS {NAME} ON {TURNS}",
        (
            f"CREATE TRIGGER {NAME} AFTER DELETE ON {TURNS} "
            "FOR EACH ROW EXECUTE FUNCTION memory_note_vector()"
        ),
    ]
