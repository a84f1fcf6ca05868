"""The database's own triggers: what follows when chunks, versions and files come or go.

However a row goes (the service, a page of the admin, a tenant with all that is its own,
a shell), the keyword index forgets it, and its vector and its files are noted.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.db import connections
from django.db.migrations import Migration

from rag import triggers_postgresql, triggers_sqlite
from rag.models import Chunk, ChunkErasure, FileErasure, Index, StoredFile, Version

TABLES = {
    model._meta.db_table
    for model in (Chunk, ChunkErasure, FileErasure, Index, StoredFile, Version)
}


def remove(*, using: str, plan: Sequence[tuple[Migration, bool]], **_: Any) -> None:
    """Remove the triggers before migrations of ours; `install` makes them anew.

    SQLite renames no table while a trigger names it as what it was: a migration that
    remakes it would fail. Nothing may write meanwhile, as with any such migration.
    """
    if connections[using].vendor != "sqlite":
        return
    if any(migration.app_label == "rag" for migration, _ in plan):
        with connections[using].cursor() as cursor:
            for name in triggers_sqlite.bodies():
                cursor.execute(f"DROP TRIGGER IF EXISTS {name}")


def install(*, using: str, **_: Any) -> None:
    """Create the triggers anew. Safe to repeat, and before the tables are there.

    It belongs after every migration: SQLite drops them whenever it remakes a table.
    """
    connection = connections[using]
    is_sqlite = connection.vendor == "sqlite"
    written = triggers_sqlite if is_sqlite else triggers_postgresql
    there = set(connection.introspection.table_names())
    if not there >= TABLES | written.TABLES:
        return
    with connection.cursor() as cursor:
        for statement in written.statements():
            cursor.execute(statement)
