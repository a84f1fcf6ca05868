"""However a configuration row is written, the revision is bumped."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from django.core.management import call_command
from django.db import connections
from pytest_django import DjangoDbBlocker

from gateway import revision
from gateway.kinds import Algorithm
from gateway.models import Deployment, Model, Provider, RoutingStrategy
from tests.postgresql import migrated_database

NEW = {"kind": "openai", "base_url": "http://127.0.0.1:1/v1"}


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


def provider(using: str, name: str = "first") -> Provider:
    row, _ = Provider.objects.using(using).get_or_create(name=name, defaults=NEW)
    return row


def deployment(using: str) -> Deployment:
    model, _ = Model.objects.using(using).get_or_create(name="m")
    row, _ = Deployment.objects.using(using).get_or_create(
        model=model, provider=provider(using), upstream_model="m"
    )
    return row


def create(using: str, folder: Path) -> None:
    Provider.objects.using(using).create(name=secrets.token_hex(4), **NEW)


def save(using: str, folder: Path) -> None:
    row = provider(using)
    row.weight += 1
    row.save(using=using)


def bulk_create(using: str, folder: Path) -> None:
    rows = [Provider(name=secrets.token_hex(4), **NEW) for _ in range(3)]
    Provider.objects.using(using).bulk_create(rows)


def bulk_update(using: str, folder: Path) -> None:
    row = provider(using)
    row.weight += 1
    Provider.objects.using(using).bulk_update([row], ["weight"])


def update_providers(using: str, folder: Path) -> None:
    Provider.objects.using(using).update(weight=9)


def update_models(using: str, folder: Path) -> None:
    Model.objects.using(using).update(enabled=False)


def update_deployments(using: str, folder: Path) -> None:
    Deployment.objects.using(using).update(weight=9)


def update_strategies(using: str, folder: Path) -> None:
    RoutingStrategy.objects.using(using).update(max_attempts=2)


def plain_sql(using: str, folder: Path) -> None:
    with connections[using].cursor() as cursor:
        cursor.execute("UPDATE gateway_provider SET weight = 4")


def delete_one(using: str, folder: Path) -> None:
    deployment(using).delete()


def delete_many(using: str, folder: Path) -> None:
    Provider.objects.using(using).all().delete()


def loaddata(using: str, folder: Path) -> None:
    fields = {**NEW, "name": secrets.token_hex(4), "credential": "plain"}
    fields |= {
        "created_at": "2026-01-01T00:00:00Z",
        "updated_at": "2026-01-01T00:00:00Z",
    }
    fixture = folder / "rows.json"
    fixture.write_text(json.dumps([{"model": "gateway.provider", "fields": fields}]))
    call_command("loaddata", fixture, database=using, verbosity=0)


WRITES = [
    create,
    save,
    bulk_create,
    bulk_update,
    update_providers,
    update_models,
    update_deployments,
    update_strategies,
    plain_sql,
    delete_one,
    delete_many,
    loaddata,
]


@pytest.mark.parametrize("write", WRITES)
def test_every_way_of_writing_bumps_the_revision(
    using: str, tmp_path: Path, write: Callable[[str, Path], None]
) -> None:
    deployment(using)
    before = revision.current(using)
    assert before > 0
    write(using, tmp_path)
    assert revision.current(using) > before


def test_reading_bumps_nothing(using: str) -> None:
    deployment(using)
    before = revision.current(using)
    assert list(Deployment.objects.using(using).select_related("model", "provider"))
    assert revision.current(using) == before


def test_the_triggers_may_be_installed_again(using: str) -> None:
    revision.install(using)
    before = revision.current(using)
    provider(using, name=secrets.token_hex(4))
    assert revision.current(using) == before + 1


@pytest.mark.parametrize("using", ["postgresql"], indirect=True)
def test_migrations_go_back_to_nothing_and_forth(using: str) -> None:
    call_command("migrate", "gateway", "zero", database=using, verbosity=0)
    call_command("migrate", database=using, verbosity=0)
    names = RoutingStrategy.objects.using(using).values_list("name", "algorithm")
    assert dict(names) == {algorithm.value: algorithm.value for algorithm in Algorithm}
    before = revision.current(using)
    provider(using)
    assert revision.current(using) > before


@pytest.mark.parametrize("using", ["postgresql"], indirect=True)
def test_a_truncated_table_counts_as_a_change(using: str) -> None:
    deployment(using)
    before = revision.current(using)
    with connections[using].cursor() as cursor:
        cursor.execute("TRUNCATE gateway_deployment")
    assert revision.current(using) > before
