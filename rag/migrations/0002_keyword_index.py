"""The keyword index: a table of FTS5 on SQLite, a GIN index on PostgreSQL.

`rag.apps` creates the triggers that keep it, after every migration.
"""

from __future__ import annotations

from django.apps.registry import Apps
from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

FILL_SIZES = (
    "INSERT INTO rag_indexsize (index_id, chunks, terms) SELECT index_id, count(*), "
    "sum(length(terms) - length(replace(terms, ' ', '')) + 1) "
    "FROM rag_chunk WHERE terms <> '' GROUP BY index_id"
)
SQLITE = (
    # The terms are cut already: nothing here may fold or divide them. Which chunks have
    # a term is all that is asked, and the terms themselves stand in the chunks.
    (
        "CREATE VIRTUAL TABLE rag_keyword USING fts5(terms, content='', columnsize=0, "
        "detail=none, tokenize=\"ascii tokenchars ''''\")"
    ),
    "CREATE VIRTUAL TABLE rag_keywordterm USING fts5vocab(rag_keyword, 'row')",
    (
        "CREATE TABLE rag_indexsize (index_id integer NOT NULL PRIMARY KEY, "
        "chunks integer NOT NULL, terms integer NOT NULL)"
    ),
    "CREATE TABLE rag_keyworddeletion (deletions integer NOT NULL)",
    "INSERT INTO rag_keyworddeletion VALUES (0)",
    (
        "INSERT INTO rag_keyword (rowid, terms) SELECT id, index_id || 'x' || "
        "replace(terms, ' ', ' ' || index_id || 'x') FROM rag_chunk WHERE terms <> ''"
    ),
    FILL_SIZES,
)
SQLITE_BACK = (
    "DROP TABLE rag_keywordterm",
    "DROP TABLE rag_keyword",
    "DROP TABLE rag_indexsize",
    "DROP TABLE rag_keyworddeletion",
)
SQLITE_TRIGGERS = (
    "SELECT 'DROP TRIGGER ' || name FROM sqlite_master "
    "WHERE type = 'trigger' AND tbl_name LIKE 'rag\\_%' ESCAPE '\\'"
)
POSTGRESQL = (
    (
        "CREATE INDEX rag_chunk_keywords ON rag_chunk USING gin (string_to_array("
        "index_id::text || 'x' || replace(terms, ' ', ' ' || index_id::text || 'x'), ' '))"
    ),
    (
        "CREATE TABLE rag_indexsize (index_id bigint NOT NULL, chunks bigint NOT NULL, "
        "terms bigint NOT NULL)"
    ),
    "CREATE INDEX rag_indexsize_index ON rag_indexsize (index_id)",
    FILL_SIZES,
)
POSTGRESQL_BACK = ("DROP TABLE rag_indexsize", "DROP INDEX rag_chunk_keywords")
# Its function is of the same name, and takes the trigger along.
POSTGRESQL_TRIGGERS = (
    "SELECT format('DROP FUNCTION %I() CASCADE', tgname) FROM pg_trigger "
    "WHERE NOT tgisinternal AND tgrelid::regclass::text LIKE 'rag\\_%'"
)


def create(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Make the index, and fill it from the chunks that are there."""
    is_sqlite = schema_editor.connection.vendor == "sqlite"
    with schema_editor.connection.cursor() as cursor:
        for statement in SQLITE if is_sqlite else POSTGRESQL:
            cursor.execute(statement)


def remove(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Remove the triggers first: they would write to what is gone."""
    is_sqlite = schema_editor.connection.vendor == "sqlite"
    with schema_editor.connection.cursor() as cursor:
        cursor.execute(SQLITE_TRIGGERS if is_sqlite else POSTGRESQL_TRIGGERS)
        drops = [drop for (drop,) in cursor.fetchall()]
        for statement in (*drops, *(SQLITE_BACK if is_sqlite else POSTGRESQL_BACK)):
            cursor.execute(statement)


class Migration(migrations.Migration):
    dependencies = [("rag", "0001_collections_and_documents")]

    operations = [migrations.RunPython(create, remove)]
