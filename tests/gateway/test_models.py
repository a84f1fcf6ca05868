"""Rows refuse what cannot be served, in forms by field and in the database by constraint."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.core.exceptions import FieldError, ValidationError
from django.core.management import call_command
from django.db import IntegrityError, connection, models, transaction

from gateway.crypto import MARK, Secret
from gateway.kinds import Algorithm
from gateway.models import Deployment, Model, Provider, RoutingStrategy

pytestmark = pytest.mark.django_db

CANARY = "sk-canary-77aa"
PROVIDER: dict[str, Any] = {
    "name": "one",
    "kind": "openai",
    "base_url": "https://api.openai.com/v1",
}


def made(**fields: Any) -> Deployment:
    return Deployment.objects.create(
        model=Model.objects.create(name="m"),
        provider=Provider.objects.create(**PROVIDER),
        upstream_model="m",
        **fields,
    )


def fields_at_fault(row: models.Model) -> set[str]:
    with pytest.raises(ValidationError) as caught:
        row.full_clean()
    return set(caught.value.message_dict)


def test_names_kinds_and_addresses_are_all_a_row_needs() -> None:
    deployment = made()
    deployment.provider.full_clean()
    deployment.model.full_clean()
    deployment.full_clean()
    assert deployment.version == "v1"
    assert (deployment.weight, deployment.priority) == (1, None)
    assert deployment.enabled
    RoutingStrategy(name="mine", algorithm="random").full_clean()


def test_every_algorithm_has_its_strategy_from_the_start() -> None:
    names = RoutingStrategy.objects.values_list("name", "algorithm")
    assert dict(names) == {algorithm.value: algorithm.value for algorithm in Algorithm}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", ""),
        ("name", " padded"),
        ("name", "a,b"),
        ("name", "bell\x07"),
        ("name", "right\u202eleft"),
        ("kind", "smtp"),
        ("kind", ""),
        ("base_url", "ftp://files"),
        ("base_url", "http://169.254.169.254/v1"),
        ("extra_headers", {"Authorization": "Bearer x"}),
        ("extra_headers", {"x-one": "line\nbreak"}),
        ("extra_headers", ["x-one"]),
        ("connect_timeout_s", 0),
        ("response_timeout_s", 10_000),
        ("egress_proxy", "socks5://127.0.0.1:1080"),
        ("max_concurrency", 0),
        ("weight", 0),
        ("weight", 1001),
    ],
)
def test_a_bad_provider_field_is_named(field: str, value: object) -> None:
    assert field in fields_at_fault(Provider(**PROVIDER | {field: value}))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("upstream_model", ""),
        ("weight", 0),
        ("version", ""),
        ("context_window", 0),
        ("input_price_per_mtok_usd", -1),
        ("capabilities", {"telepathy": True}),
        ("capabilities", {"tools": "yes"}),
        ("capabilities", {"reasoning": "deep"}),
        ("capabilities", {"max_output_tokens": 0}),
        ("options", []),
        ("first_byte_timeout_s", -1),
    ],
)
def test_a_bad_deployment_field_is_named(field: str, value: object) -> None:
    row = made()
    setattr(row, field, value)
    assert field in fields_at_fault(row)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("algorithm", "fastest"),
        ("max_attempts", 0),
        ("max_attempts", 11),
        ("request_deadline_s", 0),
        ("breaker_failure_rate", 1.5),
        ("breaker_max_open_s", 1),
    ],
)
def test_a_bad_strategy_field_is_named(field: str, value: object) -> None:
    row = RoutingStrategy(name="mine", algorithm="random")
    setattr(row, field, value)
    assert field in fields_at_fault(row)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("fallbacks", "a"),
        ("fallbacks", ["a", "a"]),
        ("fallbacks", [1]),
        ("defaults", []),
    ],
)
def test_a_bad_model_field_is_named(field: str, value: object) -> None:
    row = Model(name="m")
    setattr(row, field, value)
    assert field in fields_at_fault(row)


@pytest.mark.parametrize(
    "values",
    [
        {"name": ""},
        {"kind": ""},
        {"base_url": "ftp://files"},
        {"weight": 0},
        {"weight": 1001},
        {"max_concurrency": 0},
        {"connect_timeout_s": 0},
        {"idle_timeout_s": 3601},
    ],
)
def test_the_database_refuses_a_bad_provider(values: dict[str, Any]) -> None:
    made()
    with pytest.raises(IntegrityError), transaction.atomic():
        Provider.objects.update(**values)


@pytest.mark.parametrize(
    "values",
    [
        {"upstream_model": ""},
        {"version": ""},
        {"weight": 0},
        {"context_window": 0},
        {"idle_timeout_s": 0},
        {"cache_read_price_per_mtok_usd": -1},
    ],
)
def test_the_database_refuses_a_bad_deployment(values: dict[str, Any]) -> None:
    made()
    with pytest.raises(IntegrityError), transaction.atomic():
        Deployment.objects.update(**values)


def test_the_database_refuses_the_same_deployment_twice() -> None:
    row = made()
    row.pk = None
    with pytest.raises(IntegrityError), transaction.atomic():
        row.save()
    row.version = "v2"
    row.save()


def test_a_strategy_in_use_is_not_deleted() -> None:
    strategy = RoutingStrategy.objects.get(name="random")
    Model.objects.create(name="m", strategy=strategy)
    with pytest.raises(models.ProtectedError):
        strategy.delete()


def test_a_credential_is_ciphertext_in_the_database_and_a_secret_in_python() -> None:
    row = Provider.objects.create(**PROVIDER, credential=CANARY)
    with connection.cursor() as cursor:
        cursor.execute("SELECT credential FROM gateway_provider")
        (stored,) = cursor.fetchone()
    assert stored.startswith(MARK)
    assert CANARY not in stored
    for read in (row, Provider.objects.get()):
        assert isinstance(read.credential, Secret)
        assert read.credential.reveal(settings.AILB_ENCRYPTION_KEYS) == CANARY
        assert CANARY not in f"{read!r}{vars(read)}"


def test_a_query_set_update_encrypts_too() -> None:
    Provider.objects.create(**PROVIDER)
    Provider.objects.update(credential=CANARY)
    with connection.cursor() as cursor:
        cursor.execute("SELECT credential FROM gateway_provider")
        assert CANARY not in cursor.fetchone()[0]
    stored = Provider.objects.get().credential
    assert stored.reveal(settings.AILB_ENCRYPTION_KEYS) == CANARY


def test_exports_hold_ciphertext_that_can_be_loaded_again(tmp_path: Path) -> None:
    Provider.objects.create(**PROVIDER, credential=CANARY)
    exported = StringIO()
    call_command("dumpdata", "gateway.provider", stdout=exported)
    assert CANARY not in exported.getvalue()
    Provider.objects.all().delete()
    fixture = tmp_path / "rows.json"
    fixture.write_text(exported.getvalue())
    call_command("loaddata", fixture, verbosity=0)
    stored = Provider.objects.get().credential
    assert stored.reveal(settings.AILB_ENCRYPTION_KEYS) == CANARY


def test_a_fixture_may_hold_a_plain_credential_which_is_stored_encrypted(
    tmp_path: Path,
) -> None:
    now = "2026-01-01T00:00:00Z"
    fields = PROVIDER | {"credential": CANARY, "created_at": now, "updated_at": now}
    fixture = tmp_path / "rows.json"
    fixture.write_text(json.dumps([{"model": "gateway.provider", "fields": fields}]))
    call_command("loaddata", fixture, verbosity=0)
    with connection.cursor() as cursor:
        cursor.execute("SELECT credential FROM gateway_provider")
        assert cursor.fetchone()[0].startswith(MARK)


@pytest.mark.parametrize("lookup", ["contains", "startswith", "regex", "gt"])
def test_credentials_cannot_be_searched(lookup: str) -> None:
    with pytest.raises(FieldError):
        Provider.objects.filter(**{f"credential__{lookup}": "sk"}).exists()
