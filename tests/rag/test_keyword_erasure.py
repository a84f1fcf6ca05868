"""SQLite's file: no word of what was deleted stays in it, and migrations may remake it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from django.conf import settings
from django.core.management import call_command
from django.core.management.sql import (
    emit_post_migrate_signal,
    emit_pre_migrate_signal,
)
from django.db import connections, transaction
from django.db.migrations.loader import MigrationLoader
from pytest_django import DjangoDbBlocker

from rag import keyword_upkeep
from rag.keyword_index import keyword_scores, optimize
from rag.models import (
    Chunk,
    ChunkErasure,
    Collection,
    Document,
    FileErasure,
    Index,
    StoredFile,
    Version,
)
from tests.rag.keyword_scenes import make_chunks, make_index, make_version, run_sql

ALIAS = "copy"
MARKS = [f"unmistakable{n:03}" for n in range(90)]


@pytest.fixture
def database(
    tmp_path: Path,
    database_template: Path,
    db: None,
    django_db_blocker: DjangoDbBlocker,
) -> Iterator[Path]:
    """Give the path of a migrated SQLite file of our own, under ALIAS."""
    path = tmp_path / "ailb.sqlite3"
    path.write_bytes(database_template.read_bytes())
    entry = {**settings.DATABASES["default"], "NAME": path}
    entry["ENGINE"] = "django.db.backends.sqlite3"
    connections.databases[ALIAS] = connections.configure_settings(
        {"default": {}, ALIAS: entry}
    )[ALIAS]
    with django_db_blocker.unblock():
        try:
            yield path
        finally:
            connections[ALIAS].close()
            del connections[ALIAS]
            del connections.databases[ALIAS]


def marks_in(folder: Path) -> set[str]:
    """Give the marks that stand in any of a folder's files."""
    content = b"".join(path.read_bytes() for path in folder.iterdir())
    return {mark for mark in MARKS if mark.encode() in content}


def terms_left() -> set[str]:
    """Give the marks in the vocabulary, as FTS5 reads it."""
    with connections[ALIAS].cursor() as cursor:
        cursor.execute("SELECT term FROM rag_keywordterm WHERE term LIKE '%unmistak%'")
        return {term for (term,) in cursor}


def test_no_byte_of_a_deleted_word_is_left_in_any_file(
    database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keyword_upkeep, "MERGED_PAGES", 1)  # many steps, not one
    index = make_index(ALIAS)
    stays, goes = make_version(index), make_version(index)
    words = " ".join(f"word{n}" for n in range(150))
    for mark in MARKS:  # in turns, so that they share pages and parts of the index
        make_chunks(index, [f"harmless {words}"], version=stays)
        make_chunks(index, [f"{mark} {words} {mark[4:]} {mark[8:]}"], version=goes)
    assert marks_in(database.parent) == set(MARKS)
    with transaction.atomic(ALIAS):  # one that is never seen by anybody
        (row,) = make_chunks(index, [MARKS[0]], version=stays)
        row.delete()
    goes.document.delete()
    assert optimize(using=ALIAS)
    run_sql(ALIAS, "VACUUM")
    run_sql(ALIAS, "PRAGMA wal_checkpoint(TRUNCATE)")
    assert terms_left() == set()
    assert marks_in(database.parent) == set()
    # FTS5 writes of a term only what differs from the one before it.
    for piece in (b"unmistak", b"istakable", b"able0"):
        assert all(piece not in p.read_bytes() for p in database.parent.iterdir())
    scores = keyword_scores([index.pk], "harmless", limit=99, using=ALIAS)
    assert len(scores) == len(MARKS)


def test_nothing_is_merged_while_nothing_was_deleted(database: Path) -> None:
    index = make_index(ALIAS)
    for n in range(3):
        make_chunks(index, [f"word{n}"])
    assert parts() == 3
    assert optimize(using=ALIAS)
    assert parts() == 3
    Chunk.objects.using(ALIAS).filter(text="word1").delete()
    assert optimize(using=ALIAS)
    assert parts() == 1


def parts() -> int:
    """Count the parts that FTS5's table is made of."""
    with connections[ALIAS].cursor() as cursor:
        cursor.execute("SELECT count(DISTINCT segid) FROM rag_keyword_idx")
        return int(cursor.fetchone()[0])


@pytest.mark.parametrize(
    "model",
    [
        Chunk,
        ChunkErasure,
        Collection,
        Document,
        FileErasure,
        Index,
        StoredFile,
        Version,
    ],
)
def test_a_migration_may_remake_any_table(database: Path, model: type) -> None:
    index = make_index(ALIAS)
    (row,) = make_chunks(index, ["leave"])
    plan = [(MigrationLoader(None).disk_migrations["rag", "0002_keyword_index"], False)]
    emit_pre_migrate_signal(0, False, ALIAS, plan=plan)
    with connections[ALIAS].schema_editor() as editor:
        editor._remake_table(model)  # type: ignore[attr-defined]  # SQLite's
    emit_post_migrate_signal(0, False, ALIAS)
    assert list(keyword_scores([index.pk], "leave", limit=9, using=ALIAS)) == [row.pk]
    version = row.version
    version.document.delete()
    assert keyword_scores([index.pk], "leave", limit=9, using=ALIAS) == {}
    folder = f"versions/{version.uid}"
    assert FileErasure.objects.using(ALIAS).filter(folder=folder).exists()


def test_the_index_may_be_migrated_away_and_back(database: Path) -> None:
    index = make_index(ALIAS)
    rows = make_chunks(index, ["leave", "office"])
    call_command("migrate", "rag", "0001", database=ALIAS, verbosity=0)
    rows[1].delete()
    make_chunks(index, ["leave too"], version=rows[0].version)
    call_command("migrate", "rag", database=ALIAS, verbosity=0)
    assert len(keyword_scores([index.pk], "leave", limit=9, using=ALIAS)) == 2
    assert keyword_scores([index.pk], "office", limit=9, using=ALIAS) == {}
    rows[0].version.document.delete()
    assert keyword_scores([index.pk], "leave", limit=9, using=ALIAS) == {}
