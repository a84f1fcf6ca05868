"""Configuration as documents: a round trip changes nothing, a fault changes nothing."""

from __future__ import annotations

import hashlib
from decimal import Decimal
from typing import Any

import orjson
import pytest
from django.conf import settings

from gateway import revision
from gateway.config_documents import TYPES, apply, document, documents
from gateway.config_documents.applying import MAX_BYTES, MAX_CHANGES
from gateway.keyring import create_key
from gateway.kinds import Source
from gateway.models import (
    ApiKey,
    Budget,
    Deployment,
    Limit,
    Model,
    Provider,
    RoutingStrategy,
    Tenant,
    TrafficPolicy,
    VersionWeight,
)

pytestmark = pytest.mark.django_db

CANARY = "sk-credential-canary-0123456789wxyz"
HEADER_CANARY = "header-canary-0123456789"


@pytest.fixture(autouse=True)
def rows() -> None:
    provider = Provider.objects.create(
        name="a",
        kind="openai",
        base_url="http://a/v1",
        credential=CANARY,
        extra_headers={"api-key": HEADER_CANARY, "x-team": "red"},
    )
    strategy = RoutingStrategy.objects.get(name="random")
    model = Model.objects.create(name="m", strategy=strategy, fallbacks=["auto"])
    Deployment.objects.create(
        model=model,
        provider=provider,
        upstream_model="up",
        input_price_per_mtok_usd=Decimal("0.25"),
        capabilities={"tools": True},
        options={"n": 1},
    )
    key, _ = create_key(name="k")
    Limit.objects.create(api_key=key, amount=5)
    Limit.objects.create(address="10.0.0.1", measure="concurrency", window="", amount=2)
    Budget.objects.create(tenant=key.tenant, amount_usd=Decimal("12.5"))
    VersionWeight.objects.create(version="v1", weight=100)


def content_of(name: str) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = orjson.loads(document(name).data)
    return found


def listed(name: str) -> list[dict[str, Any]]:
    return content_of(name)[name]


def give(name: str, *given: Any, **options: Any) -> Any:
    return apply(name, orjson.dumps({name: given}), **options)


def faults(name: str, *given: Any, **options: Any) -> str:
    applied = give(name, *given, **options)
    assert applied.changed == 0
    return "\n".join(applied.faults)


def made(document_type: str, **fields: Any) -> dict[str, Any]:
    """Give the least that a new row of a type needs."""
    least: dict[str, dict[str, Any]] = {
        "providers": {"name": "new", "kind": "openai", "base_url": "http://b/v1"},
        "models": {"name": "new"},
        "deployments": {"model": "m", "provider": "a", "upstream_model": "new"},
        "strategies": {"name": "new", "algorithm": "random"},
        "tenants": {"name": "new"},
        "limits": {"model": "m", "amount": 3},
        "budgets": {"tenant": "anonymous", "amount_usd": 3},
    }
    return {**least[document_type], **fields}


@pytest.mark.parametrize("name", TYPES)
def test_a_document_that_comes_back_changes_nothing(name: str) -> None:
    given, number = document(name), revision.current()
    applied = apply(name, given.data, checksum=given.checksum)
    assert (applied.faults, applied.changed) == ((), 0)
    assert (document(name), revision.current()) == (given, number)


def test_documents_are_canonical_and_say_of_which_state_they_are() -> None:
    found = documents()
    assert [each.type for each in found] == list(TYPES)
    for each in found:
        content = orjson.loads(each.data)
        assert each.data == orjson.dumps(content, option=orjson.OPT_SORT_KEYS)
        assert each.checksum == hashlib.sha256(each.data).hexdigest()
        assert each.revision == revision.current()
    Provider.objects.update(weight=2)
    assert document("providers").checksum != found[0].checksum


def test_no_document_holds_a_secret() -> None:
    key, token = create_key(name="other")
    everything = b"\n".join(each.data for each in documents())
    pepper = settings.AILB_ENCRYPTION_KEYS[0]
    for secret in (CANARY, HEADER_CANARY, token, key.digest, pepper, "ailb:"):
        assert secret.encode() not in everything, secret
    assert b"gAAAA" not in everything  # how ciphertexts begin
    (row,) = listed("providers")
    assert (row["credential_set"], row["credential_hint"]) == (True, "…wxyz")
    assert row["extra_headers"] == {"api-key": None, "x-team": "red"}


@pytest.mark.parametrize("name", sorted(TYPES.keys() - {"versions", "api_keys"}))
def test_a_row_is_made_and_then_changed_by_what_names_it(name: str) -> None:
    before = {row["id"] if "id" in row else str(row) for row in listed(name)}
    assert give(name, made(name)).changed == 1
    assert len(listed(name)) == len(before) + 1
    assert give(name, made(name)).changed == 0
    field, value = {
        "strategies": ("max_attempts", 7),
        "limits": ("amount", 9),
        "budgets": ("amount_usd", 9),
    }.get(name, ("enabled", False))
    assert give(name, made(name, **{field: value})).changed == 1
    assert len(listed(name)) == len(before) + 1
    assert value in [row[field] for row in listed(name)]


def test_fields_and_rows_that_are_not_given_stay() -> None:
    give("providers", {"name": "a", "weight": 3})
    row = Provider.objects.get()
    assert (row.weight, row.extra_headers["x-team"]) == (3, "red")
    assert row.credential.reveal(settings.AILB_ENCRYPTION_KEYS) == CANARY
    assert row.extra_headers["api-key"] == HEADER_CANARY


def test_a_credential_goes_in_and_never_comes_out() -> None:
    assert give("providers", {"name": "a", "credential": "sk-other-0123456789"}).changed
    row = Provider.objects.get()
    assert row.credential.reveal(settings.AILB_ENCRYPTION_KEYS) == "sk-other-0123456789"
    assert listed("providers")[0]["credential_hint"] == "…6789"
    give("providers", {"name": "a", "credential": ""})
    assert listed("providers")[0]["credential_set"] is False


def test_what_is_stored_is_not_sent_to_another_server() -> None:
    moved = {"name": "a", "base_url": "http://elsewhere/v1"}
    assert "credential: Give it again" in faults("providers", moved)
    moved["credential"] = CANARY
    assert "extra_headers: api-key: Give it again" in faults("providers", moved)
    headers = {"extra_headers": {"api-key": "another", "x-team": "red"}}
    assert give("providers", {**moved, **headers}).changed == 1
    assert Provider.objects.get().extra_headers["api-key"] == "another"


def test_headers_that_were_not_shown_are_kept_by_null() -> None:
    headers = {"api-key": None, "x-team": "blue"}
    assert give("providers", {"name": "a", "extra_headers": headers}).changed == 1
    assert Provider.objects.get().extra_headers == {
        "api-key": HEADER_CANARY,
        "x-team": "blue",
    }
    assert "x-token: There is none to keep" in faults(
        "providers", {"name": "a", "extra_headers": {"x-token": None}}
    )


BAD: list[tuple[str, Any, str]] = [
    ("providers", {"weight": 1001}, r"providers[1] (new): weight: "),
    ("providers", {"weight": "7"}, "weight: It must be a whole number"),
    ("providers", {"weight": True}, "weight: It must be a whole number"),
    ("providers", {"weight": None}, "weight: It may not be null"),
    ("providers", {"enabled": 1}, "enabled: It must be true or false"),
    ("providers", {"base_url": "http://169.254.169.254/v1"}, "base_url: "),
    ("providers", {"kind": "telepathy"}, "kind: "),
    ("providers", {"credential": "with blank"}, "credential: "),
    ("providers", {"credential": 5}, "credential: It must be a text"),
    ("providers", {"ca_file": "/nowhere.pem"}, "ca_file: "),
    ("providers", {"extra_headers": {"authorization": "x"}}, "extra_headers: "),
    ("providers", {"extra_headers": []}, "extra_headers: "),
    ("providers", {"name": ["x"]}, "providers[1]: name: It must be given, as a text"),
    ("providers", {"source": "environment"}, "source: It cannot be set here"),
    ("providers", {"credential_hint": "…1234"}, "credential_hint: It cannot be set"),
    ("providers", {"telepathy": 1}, "telepathy: There is no such field here"),
    ("models", {"fallbacks": ["nobody"]}, "fallbacks: No model is called nobody"),
    ("models", {"fallbacks": ["new"]}, "fallbacks: A model may not fall back to"),
    ("models", {"strategy": "nobody"}, "strategy: There is no routing strategy 'nob"),
    ("models", {"defaults": []}, "defaults: "),
    ("deployments", {"provider": "b"}, "provider: There is no provider 'b'"),
    ("deployments", {"capabilities": {"telepathy": True}}, "capabilities: "),
    ("deployments", {"output_price_per_mtok_usd": -1}, "output_price_per_mtok_usd: "),
    ("strategies", {"breaker_max_open_s": 1}, "breaker_max_open_s: "),
    ("tenants", {"name": "a;b"}, "tenants[1] (a;b): name: "),
    ("limits", {"tenant": "anonymous"}, "limits[1] (anonymous m): Choose one of"),
    ("limits", {"id": 999}, "limits[1] (999 m): id: There is no row with the id 999"),
    ("limits", {"model": ["m"]}, "model: There is no model ['m']"),
    ("limits", {"rate_limit_id": "r"}, "rate_limit_id: It cannot be set here"),
    ("budgets", {"amount_usd": 0.12345678}, "amount_usd: "),
    ("budgets", {"webhook_url": "http://169.254.169.254/"}, "webhook_url: "),
]  # fmt: skip


@pytest.mark.parametrize(("name", "fields", "words"), BAD)
def test_a_bad_row_is_named_with_its_field_and_no_other_is_written(
    name: str, fields: dict[str, Any], words: str
) -> None:
    good = {"name": "good"} if name in {"models", "tenants"} else {}
    first = made(name, **good) if good else listed(name)[0]
    before, number = documents(), revision.current()
    assert words in faults(name, first, made(name, **fields))
    assert (documents(), revision.current()) == (before, number)


def test_every_fault_of_a_document_is_told() -> None:
    told = faults("models", {"name": "x", "enabled": 1}, 5, {"name": "m", "no": 1})
    assert told.splitlines() == [
        "models[0] (x): enabled: It must be true or false.",
        "models[1]: Allowed is a JSON object.",
        "models[2] (m): no: There is no such field here.",
    ]


def test_a_document_that_would_change_too_many_rows_changes_none() -> None:
    rows = [{"name": f"t{number}"} for number in range(MAX_CHANGES + 1)]
    assert f"More than {MAX_CHANGES} rows would change" in faults("tenants", *rows)
    assert not Tenant.objects.filter(name="t0").exists()


def test_models_may_fall_back_to_each_other_in_one_document() -> None:
    pair = [
        {"name": "x", "fallbacks": ["y"]},
        {"name": "y", "fallbacks": ["x"]},
    ]
    assert give("models", *pair).changed == 2
    assert "models[1] (x): This row is listed twice" in faults("models", *pair[:1] * 2)


def test_validating_only_says_what_would_change_and_changes_nothing() -> None:
    before, number = documents(), revision.current()
    given = ({"name": "x"}, {"name": "m", "enabled": False})
    applied = give("models", *given, validate_only=True)
    assert (applied.faults, applied.changed) == ((), 2)
    assert (documents(), revision.current()) == (before, number)
    assert give("models", *given).changed == 2


def test_what_the_environment_owns_is_refused_by_name() -> None:
    Provider.objects.update(source=Source.ENVIRONMENT)
    moved = {"name": "a", "base_url": "http://a/v2"}
    assert faults("providers", moved) == (
        "providers[0] (a): base_url: this row comes from environment variables; it is "
        "changed there."
    )
    assert "credential: this row comes" in faults(
        "providers", {"name": "a", "credential": "sk-mine"}
    )
    assert give("providers", {"name": "a", "enabled": False, "weight": 4}).changed == 1


def test_a_set_that_would_not_serve_is_refused_as_a_whole() -> None:
    Deployment.objects.update(capabilities={"telepathy": True})
    told = faults("models", {"name": "x"})
    assert "The document: Deployment" in told
    assert "telepathy" in told
    assert not Model.objects.filter(name="x").exists()


def test_parts_of_a_load_balancers_rate_limit_are_left_to_it() -> None:
    row = Limit.objects.create(amount=7, rate_limit_id="lb")
    told = faults("limits", {"id": row.pk, "amount": 8})
    assert "part of the rate limit 'lb'" in told
    assert give("limits", {"id": row.pk, "amount": 7}).changed == 0


def test_of_several_rows_alike_the_number_says_which() -> None:
    twin = Limit.objects.create(model=Model.objects.get(), amount=1)
    other = Limit.objects.create(model=Model.objects.get(), amount=2)
    assert "id: There are several such rows" in faults("limits", made("limits"))
    assert give("limits", made("limits", id=twin.pk)).changed == 1
    twin.refresh_from_db()
    other.refresh_from_db()
    assert (twin.amount, other.amount) == (3, 2)


def test_keys_and_weights_are_only_shown() -> None:
    key = ApiKey.objects.get()
    assert "Keys are made and changed in the admin" in faults(
        "api_keys", {"id": key.public_id, "enabled": False}
    )
    assert "There is no such row" in faults("api_keys", {"id": "nobody"})
    weights = orjson.dumps({"weights": [{"version": "v1", "weight": 50}]})
    assert "SetTrafficWeight" in apply("versions", weights).faults[0]


def test_the_margins_of_the_traffic_policy_are_set() -> None:
    content = content_of("versions")
    assert content["policy"][0]["active_version"] == "v1"
    given = {"policy": [{"is_automatic": True, "minimum_requests": 9}]}
    assert apply("versions", orjson.dumps(given)).changed == 1
    row = TrafficPolicy.objects.get()
    assert (row.is_automatic, row.minimum_requests) == (True, 9)
    promoted = {"policy": [{"active_version": "v2"}]}
    assert "PromoteVersion" in apply("versions", orjson.dumps(promoted)).faults[0]


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("telepathy", b"{}", "There is no type 'telepathy'; known are providers, "),
        ("models", b"", "The document is not JSON"),
        ("models", b"[]", 'Allowed is a JSON object {"models": [...]}'),
        ("models", b'{"providers": []}', "Allowed is a JSON object"),
        ("models", b'{"models": {}}', "Allowed is a JSON object"),
        ("models", b"[" * 5000, "The document is not JSON"),
        ("models", b"\xff" * 9, "The document is not JSON"),
        ("models", b'{"models":' + b"[" * 900 + b"]" * 900 + b"}", "cannot be kept"),
        ("models", b" " * (MAX_BYTES + 1), "has more than 4194304 bytes"),
    ],
)
def test_what_is_no_document_is_refused(name: str, data: bytes, words: str) -> None:
    (fault,) = apply(name, data).faults
    assert words in fault


def test_a_checksum_of_something_else_is_refused() -> None:
    data = orjson.dumps({"tenants": [{"name": "x"}]})
    sums = [hashlib.sha256(data).hexdigest(), "0" * 64, "café"]
    changed = [apply("tenants", data, checksum=each).changed for each in sums[::-1]]
    assert changed == [0, 0, 1]
    assert Tenant.objects.filter(name="x").exists()
