"""SQLite's file is written anew after deletions, whoever's, and only then."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from django.db import connection

from gateway.database_upkeep import DatabaseUpkeep, ever_erased, vacuum
from memory.models import VectorErasure
from rag.models import ChunkErasure, FileErasure

# SQLite can be vacuumed outside a transaction only.
pytestmark = pytest.mark.django_db(transaction=True)


def test_what_was_ever_deleted_of_memory_and_documents_is_counted() -> None:
    before = ever_erased()
    VectorErasure.objects.create(uid="a" * 32)
    ChunkErasure.objects.create(index_uid="i", uid="a" * 32)
    FileErasure.objects.create(folder="versions/a")
    assert ever_erased() == before + 3
    ChunkErasure.objects.all().delete()
    assert ever_erased() == before + 3, "a note that was followed still counts"


def test_the_file_is_written_anew_only_after_deletions() -> None:
    statements = list[str]()

    def note(execute, sql, *given):
        statements.append(sql)
        return execute(sql, *given)

    with connection.execute_wrapper(note):
        erased = vacuum()
        statements.clear()
        assert vacuum(erased=erased) == erased
        assert "VACUUM" not in statements
        ChunkErasure.objects.create(index_uid="i", uid="b" * 32)
        assert vacuum(erased=erased) > erased
        assert "VACUUM" in statements


def test_a_round_does_both() -> None:
    ChunkErasure.objects.create(index_uid="i", uid="c" * 32)
    upkeep = DatabaseUpkeep()
    upkeep.do_round(datetime(2026, 1, 1, tzinfo=UTC))
    assert upkeep._erased == ever_erased()
