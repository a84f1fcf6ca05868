"""However a turn is deleted, its vector is noted for erasure."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator

import pytest
from django.core.management import call_command
from django.db import connections
from pytest_django import DjangoDbBlocker

from gateway.models import Tenant
from memory import erasure_trigger
from memory.models import Session, Turn, VectorErasure
from tests.postgresql import migrated_database


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


def turn(using: str) -> Turn:
    tenant, _ = Tenant.objects.using(using).get_or_create(name="team")
    session, _ = Session.objects.using(using).get_or_create(
        tenant=tenant, session_id="s"
    )
    return Turn.objects.using(using).create(
        session=session,
        uid=secrets.token_hex(16),
        seq=session.turns.count() + 1,
        role="user",
        text="hello",
        content_hash="0" * 64,
        tokens=5,
    )


def by_sql(using: str) -> None:
    with connections[using].cursor() as cursor:
        cursor.execute("DELETE FROM memory_turn")


WAYS: list[Callable[[str], object]] = [
    lambda using: Tenant.objects.using(using).get(name="team").delete(),
    lambda using: Session.objects.using(using).all().delete(),
    lambda using: Turn.objects.using(using).get().delete(),
    by_sql,
]


@pytest.mark.parametrize("delete", WAYS, ids=["tenant", "session", "turn", "sql"])
def test_however_a_turn_goes_its_vector_is_noted(
    using: str, delete: Callable[[str], object]
) -> None:
    uid = turn(using).uid
    delete(using)
    assert not Turn.objects.using(using).exists()
    note = VectorErasure.objects.using(using).get(uid=uid)
    age_s = (note.created_at.now(note.created_at.tzinfo) - note.created_at).seconds
    assert age_s < 60


def test_a_turn_that_is_noted_already_goes_as_well(using: str) -> None:
    row = turn(using)
    VectorErasure.objects.using(using).create(uid=row.uid)
    row.delete()
    assert VectorErasure.objects.using(using).filter(uid=row.uid).count() == 1


def test_installing_again_changes_nothing(using: str) -> None:
    erasure_trigger.install(using=using)
    erasure_trigger.install(using=using)
    uid = turn(using).uid
    Session.objects.using(using).all().delete()
    assert VectorErasure.objects.using(using).filter(uid=uid).count() == 1


def test_a_migration_puts_a_lost_trigger_back(using: str) -> None:
    table = f" ON {erasure_trigger.TURNS}" if using == "pg" else ""
    with connections[using].cursor() as cursor:
        cursor.execute(f"DROP TRIGGER {erasure_trigger.NAME}{table}")
    call_command("migrate", "memory", database=using, verbosity=0)
    uid = turn(using).uid
    Session.objects.using(using).all().delete()
    assert VectorErasure.objects.using(using).filter(uid=uid).exists()
