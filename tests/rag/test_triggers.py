"""However chunks, versions and stored files go, what is left of them is noted."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from django.core.management import call_command
from pytest_django import DjangoDbBlocker

from gateway.models import Tenant
from rag import triggers
from rag.keyword_index import keyword_scores, optimize
from rag.models import (
    Chunk,
    ChunkErasure,
    ChunkVector,
    Collection,
    Document,
    FileErasure,
    Index,
    StoredFile,
    VectorState,
    Version,
)
from tests.postgresql import migrated_database
from tests.rag.keyword_scenes import (
    make_chunks,
    make_index,
    make_version,
    run_sql,
    sizes_of,
)


@pytest.fixture(scope="module")
def postgresql(
    postgresql_template: str, django_db_blocker: DjangoDbBlocker
) -> Iterator[str]:
    """Make a migrated database of our own, under the alias it gives."""
    with (
        django_db_blocker.unblock(),
        migrated_database(postgresql_template) as alias,
    ):
        yield alias


@pytest.fixture(
    params=[pytest.param("sqlite", marks=pytest.mark.django_db), "postgresql"]
)
def using(
    request: pytest.FixtureRequest, django_db_blocker: DjangoDbBlocker
) -> Iterator[str]:
    """Give the alias of a migrated database; PostgreSQL's is not rolled back."""
    if request.param == "sqlite":
        yield "default"
    else:
        alias = request.getfixturevalue("postgresql")
        with django_db_blocker.unblock():
            yield alias


def mirrored(index: Index) -> Chunk:
    """Write a chunk that the vector store has got as well."""
    (chunk,) = make_chunks(index, ["parental leave"])
    chunk.vector_state = VectorState.INDEXED
    chunk.save()
    using = str(index._state.db)
    ChunkVector.objects.using(using).create(chunk=chunk, data=b"\0\0")
    return chunk


def by_sql(using: str) -> None:
    run_sql(using, "DELETE FROM rag_chunkvector")
    run_sql(using, "DELETE FROM rag_chunk")


def by_index(using: str) -> None:
    Index.objects.using(using).filter(collection__tenant__name="team").delete()


WAYS: list[Callable[[str], object]] = [
    lambda using: Tenant.objects.using(using).get(name="team").delete(),
    lambda using: Collection.objects.using(using).all().delete(),
    lambda using: Document.objects.using(using).all().delete(),
    lambda using: Version.objects.using(using).all().delete(),
    by_sql,
    by_index,
]
NAMES = ["tenant", "collection", "document", "version", "sql", "index"]


@pytest.mark.parametrize("delete", WAYS, ids=NAMES)
def test_however_a_chunk_goes_its_words_and_its_vector_go(
    using: str, delete: Callable[[str], object]
) -> None:
    index = make_index(using)
    chunk = mirrored(index)
    assert keyword_scores([index.pk], "leave", limit=9, using=using)
    delete(using)
    assert not Chunk.objects.using(using).exists()
    assert sizes_of(using) == {}
    assert keyword_scores([index.pk], "leave", limit=9, using=using) == {}
    notes = ChunkErasure.objects.using(using).filter(uid=chunk.uid)
    # Who takes the index along takes its whole space.
    assert [note.index_uid for note in notes] in ([index.uid], [])
    if Index.objects.using(using).filter(pk=index.pk).exists():
        note = notes.get()
        age_s = (note.created_at.now(note.created_at.tzinfo) - note.created_at).seconds
        assert age_s < 60


def test_a_chunk_that_never_had_a_vector_is_not_noted(using: str) -> None:
    (chunk,) = make_chunks(make_index(using), ["leave"])
    chunk.delete()
    assert not ChunkErasure.objects.using(using).filter(uid=chunk.uid).exists()


@pytest.mark.parametrize(
    "state", [VectorState.EMBEDDED, VectorState.INDEXED, VectorState.FAILED]
)
def test_a_chunk_that_may_be_in_the_vector_store_is_noted(
    using: str, state: VectorState
) -> None:
    index = make_index(using)
    (chunk,) = make_chunks(index, ["leave"])
    Chunk.objects.using(using).filter(pk=chunk.pk).update(vector_state=state)
    chunk.delete()
    note = ChunkErasure.objects.using(using).get(uid=chunk.uid)
    assert note.index_uid == index.uid


def test_what_is_noted_already_goes_as_well(using: str) -> None:
    index = make_index(using)
    chunk = mirrored(index)
    folder = f"versions/{chunk.version.uid}"
    ChunkErasure.objects.using(using).create(uid=chunk.uid, index_uid=index.uid)
    FileErasure.objects.using(using).create(folder=folder)
    chunk.version.document.delete()
    assert ChunkErasure.objects.using(using).filter(uid=chunk.uid).count() == 1
    assert FileErasure.objects.using(using).filter(folder=folder).count() == 1


@pytest.mark.parametrize(
    "delete", [*WAYS[:4], lambda using: run_sql(using, "DELETE FROM rag_version")],
    ids=[*NAMES[:4], "sql"],
)  # fmt: skip
def test_however_a_version_goes_its_folder_is_noted(
    using: str, delete: Callable[[str], object]
) -> None:
    version = make_version(make_index(using), is_current=False)
    delete(using)
    folder = f"versions/{version.uid}"
    assert FileErasure.objects.using(using).filter(folder=folder).exists()


@pytest.mark.parametrize(
    "delete", [WAYS[0], lambda using: run_sql(using, "DELETE FROM rag_storedfile")],
    ids=["tenant", "sql"],
)  # fmt: skip
def test_however_a_stored_file_goes_its_folder_is_noted(
    using: str, delete: Callable[[str], object]
) -> None:
    tenant, _ = Tenant.objects.using(using).get_or_create(name="team")
    kept = StoredFile.objects.using(using).create(
        tenant=tenant, filename="a", purpose="assistants", sha256="0" * 64, size=1
    )
    delete(using)
    folder = f"files/{kept.uid}"
    assert FileErasure.objects.using(using).filter(folder=folder).exists()


def test_sizes_follow_what_is_written(using: str) -> None:
    one, two = make_index(using), make_index(using)
    rows = make_chunks(one, ["leave office", "leave", "?"])
    kept = Chunk.objects.using(using)
    assert sizes_of(using)[one.pk] == (2, 3)
    kept.bulk_create([Chunk(**_fields(rows[0]))], ignore_conflicts=True)  # it is there
    assert sizes_of(using)[one.pk] == (2, 3)
    kept.bulk_create([Chunk(**_fields(rows[0], "new"))], ignore_conflicts=True)
    assert sizes_of(using)[one.pk] == (3, 5)
    kept.filter(pk=rows[1].pk).update(index=two, terms="leave soon today")
    kept.filter(pk=rows[0].pk).update(vector_state=VectorState.EMBEDDED)
    assert sizes_of(using)[one.pk] == (2, 4)
    assert sizes_of(using)[two.pk] == (1, 3)
    assert optimize(using=using)
    assert sizes_of(using)[one.pk] == (2, 4)
    one.collection.delete()
    assert one.pk not in sizes_of(using)
    two.collection.delete()


def _fields(chunk: Chunk, uid: str | None = None) -> dict[str, object]:
    names = ["index_id", "version_id", "start", "end", "tokens", "text", "terms"]
    fields = {name: getattr(chunk, name) for name in names}
    seq = chunk.seq if uid is None else chunk.seq + 10
    return fields | {"uid": uid or chunk.uid, "seq": seq}


def test_installing_again_changes_nothing(using: str) -> None:
    triggers.install(using=using)
    triggers.install(using=using)
    index = make_index(using)
    chunk = mirrored(index)
    assert sizes_of(using)[index.pk] == (1, 2)
    chunk.version.document.delete()
    assert ChunkErasure.objects.using(using).filter(uid=chunk.uid).count() == 1


def test_a_migration_puts_a_lost_trigger_back(using: str) -> None:
    table = " ON rag_version" if using == "pg" else ""
    run_sql(using, f"DROP TRIGGER rag_version_delete_folder{table}")
    call_command("migrate", "rag", database=using, verbosity=0)
    version = make_version(make_index(using))
    version.document.delete()
    folder = f"versions/{version.uid}"
    assert FileErasure.objects.using(using).filter(folder=folder).exists()
