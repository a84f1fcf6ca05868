"""What PostgreSQL alone does: its GIN index is used, its sizes are added up."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.db import connections, transaction
from pytest_django import DjangoDbBlocker

from rag import keyword_postings, keyword_upkeep
from rag.keyword_index import keyword_scores, optimize
from rag.keyword_postings import KEYS, PostgreSQLPostings
from rag.models import Chunk
from tests.postgresql import ALIAS, migrated_database
from tests.rag.keyword_scenes import make_chunks, make_index, run_sql, sizes_of

pytestmark = pytest.mark.django_db(databases=["default", ALIAS])


@pytest.fixture(scope="module")
def migrated(
    postgresql_template: str, django_db_blocker: DjangoDbBlocker
) -> Iterator[str]:
    """Make a migrated database of our own, under the alias it gives."""
    with (
        django_db_blocker.unblock(),
        migrated_database(postgresql_template) as alias,
    ):
        yield alias


@pytest.fixture
def using(migrated: str, db: None) -> str:
    """Give the database's alias; what a test does there is rolled back."""
    return migrated


def rows_of_sizes(using: str) -> int:
    with connections[using].cursor() as cursor:
        cursor.execute("SELECT count(*) FROM rag_indexsize")
        return int(cursor.fetchone()[0])


def test_words_are_looked_up_in_the_index(using: str) -> None:
    with transaction.atomic(using), connections[using].cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
        cursor.execute(
            f"EXPLAIN SELECT id FROM rag_chunk WHERE {KEYS} @> %s::text[]",  # noqa: S608 - ours
            [["1xleav"]],
        )
        plan = "\n".join(line for (line,) in cursor)
    assert "Bitmap Index Scan on rag_chunk_keywords" in plan


def test_how_common_a_common_word_is_comes_from_statistics(
    using: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = make_index(using)
    make_chunks(index, [f"leave word{n}" for n in range(60)])
    monkeypatch.setattr(keyword_postings, "MAX_COUNTED", 7)
    postings = PostgreSQLPostings(using)
    assert postings.frequencies(index.pk, ["leav", "word3", "none"]) == {
        "leav": 7,
        "word3": 1,
    }
    run_sql(using, "ANALYZE rag_chunk")
    assert postings.frequencies(index.pk, ["leav", "word3"])["leav"] > 50


def test_sizes_are_added_up(using: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keyword_upkeep, "MAX_DIFFERENCES", 5)
    index, gone = make_index(using), make_index(using)
    for text in ["leave", "office hours", "leave again"]:
        make_chunks(index, [text])
    optimize(using=using)
    few = rows_of_sizes(using)
    for _ in range(4):
        make_chunks(index, ["leave once more"])
        make_chunks(gone, ["leave"])
    Chunk.objects.using(using).filter(index=gone).delete()
    before = sizes_of(using)
    assert before[index.pk] == (7, 5 + 4 * 3)
    assert rows_of_sizes(using) > few
    optimize(using=using)
    assert sizes_of(using) == before
    assert rows_of_sizes(using) == len(before)
    assert keyword_scores([index.pk], "leave", limit=9, using=using)


def test_an_emptied_table_has_no_sizes(using: str) -> None:
    make_chunks(make_index(using), ["leave"])
    run_sql(using, "SET CONSTRAINTS ALL IMMEDIATE")
    run_sql(using, "TRUNCATE rag_chunk CASCADE")
    assert sizes_of(using) == {}
