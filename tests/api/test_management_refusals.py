"""What the management API refuses: bad fields, conflicts, others' rows, strangers."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.kinds import Right, Source
from gateway.models import Deployment, Provider
from tests.api.gateway_process import Gateway
from tests.api.management import (
    CREDENTIAL,
    KINDS,
    UPSTREAM,
    Manager,
    manager_of,
    path_of,
)


@pytest.fixture(scope="module")
def manager(gateway: Gateway) -> Manager:
    return manager_of(gateway)


BAD: list[tuple[str, dict[str, Any], str]] = [
    ("tenants", {"name": "a;b"}, "name"),
    ("tenants", {"name": ""}, "name"),
    ("tenants", {"name": 5}, "name"),
    ("tenants", {"created_at": "2020-01-01T00:00:00Z"}, "created_at"),
    ("keys", {"tenant": "nobody"}, "tenant"),
    ("keys", {"tenant": "anonymous"}, "tenant"),
    ("keys", {"rights": ["root"]}, "rights.0"),
    ("keys", {"rights": ["chat", "chat"]}, "rights"),
    ("keys", {"models": "m"}, "models"),
    ("keys", {"models": ["m", "m"]}, "models"),
    ("keys", {"expires_at": "tomorrow"}, "expires_at"),
    ("keys", {"digest": "0" * 64}, "digest"),
    ("keys", {"key": "ailb_mine"}, "key"),
    ("limits", {"amount": 0}, "amount"),
    ("limits", {"amount": "7"}, "amount"),
    ("limits", {"measure": "bananas"}, "measure"),
    ("limits", {"window": ""}, "window"),
    ("limits", {"key": "nobody"}, "key"),
    ("limits", {"address": "10.0.0.0/8"}, "address"),
    ("limits", {"address": ""}, "address"),
    ("limits", {"address": 7}, "address"),
    ("limits", {"rate_limit_id": "mine"}, "rate_limit_id"),
    ("budgets", {"amount_usd": -1}, "amount_usd"),
    ("budgets", {"amount_usd": 0.12345678}, "amount_usd"),
    ("budgets", {"is_hard": "yes"}, "is_hard"),
    ("budgets", {"webhook_url": "http://169.254.169.254/"}, "webhook_url"),
    ("providers", {"base_url": "http://169.254.169.254/v1"}, "base_url"),
    ("providers", {"kind": "telepathy"}, "kind"),
    ("providers", {"credential": "with blank"}, "credential"),
    ("providers", {"ca_file": "/nowhere.pem"}, "ca_file"),
    ("providers", {"extra_headers": {"authorization": "x"}}, "extra_headers"),
    ("providers", {"weight": 1001}, "weight"),
    ("providers", {"source": "environment"}, "source"),
    ("models", {"fallbacks": ["nobody-knows"]}, "fallbacks"),
    ("models", {"strategy": "nobody"}, "strategy"),
    ("models", {"defaults": []}, "defaults"),
    ("deployments", {"capabilities": {"telepathy": True}}, "capabilities"),
    ("deployments", {"output_price_per_mtok_usd": -1}, "output_price_per_mtok_usd"),
    ("strategies", {"max_attempts": 11}, "max_attempts"),
    ("strategies", {"breaker_max_open_s": 1}, "breaker_max_open_s"),
    ("strategies", {"algorithm": None}, "algorithm"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "fields", "param"), BAD)
def test_a_bad_field_is_refused_by_name_and_changes_nothing(
    manager: Manager, kind: str, fields: dict[str, Any], param: str
) -> None:
    row = {**manager.fields_of(kind, fields), **fields}
    reply = manager.send("POST", kind, row)
    assert (reply.status, reply.json["error"]["param"]) == (400, param), reply.body
    made = manager.make(kind)
    path = path_of(kind, made)
    reply = manager.send("PATCH", path, fields)
    assert reply.status == 400, reply.body
    assert reply.json["error"]["param"] == param or param == "key", reply.body
    made.pop("key", None) if kind == "keys" else None
    assert manager.get(path) == made


def test_a_limit_of_two_owners_and_a_budget_of_none_are_refused(
    manager: Manager,
) -> None:
    key, tenant = manager.make("keys")["id"], manager.make("tenants")["name"]
    body = {"amount": 1, "key": key, "tenant": tenant}
    assert manager.send("POST", "limits", body).status == 400
    body = {"amount": 1, "key": key, "address": "::1"}
    assert manager.send("POST", "limits", body).status == 400
    assert manager.send("POST", "budgets", {"amount_usd": 1}).status == 400


def test_a_body_that_is_no_object_is_refused(manager: Manager) -> None:
    client, given = manager.gateway.client, f"Bearer {manager.key}"
    for body in (b"", b"[]", b'{"name": NaN}', b"[" * 100, b'"text"'):
        assert client.post("/api/tenants", body, authorization=given).status == 400
    plain = {"authorization": given, "content-type": "text/plain"}
    reply = client.post("/api/tenants", b'{"name": "x"}', **plain)
    assert reply.status == 415


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("limit=ten", "limit"),
        ("limit=100000000000000000000", "limit"),
        ("tennant=x", "tennant"),
        ("after=x", "after"),
        ("address=here", "address"),
    ],
)
def test_a_bad_query_is_refused_by_name(
    manager: Manager, query: str, param: str
) -> None:
    reply = manager.send("GET", f"limits?{query}")
    assert (reply.status, reply.json["error"]["param"]) == (400, param)


@pytest.mark.parametrize(
    "kind", ["tenants", "providers", "models", "strategies", "deployments"]
)
def test_a_second_row_of_the_same_name_is_a_conflict(
    manager: Manager, kind: str
) -> None:
    made = manager.make(kind)
    names = ("name",) if "name" in made else ("model", "provider", "upstream_model")
    same = {name: made[name] for name in names}
    body = {**manager.fields_of(kind, same), **same}
    reply = manager.send("POST", kind, body)
    assert (reply.status, reply.code) == (409, "conflict")
    other = manager.make(kind)
    assert manager.send("PATCH", path_of(kind, other), same).status == 409


def test_what_is_in_use_is_not_deleted_and_the_answer_says_by_what(
    manager: Manager,
) -> None:
    tenant = manager.make("tenants")["name"]
    key = manager.make("keys", tenant=tenant)
    reply = manager.send("DELETE", f"tenants/{tenant}")
    assert (reply.status, reply.code) == (409, "conflict")
    assert key["id"] in reply.json["error"]["message"]
    manager.delete(f"keys/{key['id']}")
    manager.delete(f"tenants/{tenant}")
    strategy = manager.make("strategies")["name"]
    model = manager.make("models", strategy=strategy)["name"]
    reply = manager.send("DELETE", f"strategies/{strategy}")
    assert (reply.status, model in reply.json["error"]["message"]) == (409, True)


def test_the_anonymous_tenant_keeps_its_name_and_stays(manager: Manager) -> None:
    assert manager.send("DELETE", "tenants/anonymous").status == 409
    reply = manager.send("PATCH", "tenants/anonymous", {"name": "somebody"})
    assert (reply.status, reply.json["error"]["param"]) == (409, "name")


@pytest.mark.parametrize(
    "source", [Source.ENVIRONMENT, Source.DISCOVERY, Source.SIMULATOR]
)
def test_what_an_owner_says_is_changed_there(manager: Manager, source: Source) -> None:
    deployment = manager.make("deployments")
    provider = deployment["provider"]
    rows = manager.gateway.rows
    rows(Provider).filter(name=provider).update(source=source)
    rows(Deployment).filter(id=deployment["id"]).update(source=source)
    for path, body, param in [
        (f"providers/{provider}", {"name": "other"}, "name"),
        (f"providers/{provider}", {"base_url": "http://127.0.0.1:8/v1"}, "base_url"),
        (f"providers/{provider}", {"credential": "sk-other"}, "credential"),
        (f"deployments/{deployment['id']}", {"upstream_model": "n"}, "upstream_model"),
    ]:
        reply = manager.send("PATCH", path, body)
        assert (reply.status, reply.json["error"]["param"]) == (409, param)
    manager.change(f"providers/{provider}", base_url=UPSTREAM, weight=2)
    for path in (
        f"providers/{provider}",
        f"deployments/{deployment['id']}",
        f"models/{deployment['model']}",
    ):
        assert manager.send("DELETE", path).status == 409
    rows(Deployment).filter(id=deployment["id"]).update(enabled_when_withdrawn=True)
    manager.delete(f"deployments/{deployment['id']}")


# --- Credentials ---------------------------------------------------------------------------


def test_a_credential_goes_in_and_only_its_end_comes_out(manager: Manager) -> None:
    made = manager.make("providers", credential=CREDENTIAL)
    path = f"providers/{made['name']}"
    assert "credential" not in made
    assert (made["credential_set"], made["credential_hint"]) == (True, "…wxyz")
    assert manager.change(path, weight=3)["credential_set"] is True
    removed = manager.change(path, credential="")
    assert (removed["credential_set"], removed["credential_hint"]) == (False, "none")


def test_a_kept_credential_is_not_sent_to_another_server(manager: Manager) -> None:
    made = manager.make("providers", credential=CREDENTIAL)
    path, elsewhere = f"providers/{made['name']}", "http://127.0.0.1:10/v1"
    reply = manager.send("PATCH", path, {"base_url": elsewhere})
    assert (reply.status, reply.json["error"]["param"]) == (400, "credential")
    assert manager.get(path)["base_url"] == UPSTREAM
    manager.change(path, base_url=UPSTREAM + "/other")
    again = manager.change(path, base_url=elsewhere, credential=CREDENTIAL)
    assert again["base_url"] == elsewhere


# --- Rights --------------------------------------------------------------------------------

ROUTES = [
    *((method, kind) for kind in KINDS for method in ("GET", "POST")),
    *(
        (method, f"{kind}/{1 if kind in {'limits', 'budgets', 'deployments'} else 'x'}")
        for kind in KINDS
        for method in ("GET", "PATCH", "DELETE")
    ),
    ("POST", "keys/x/rotate"),
    ("GET", "usage"),
    ("GET", "usage/records"),
]  # fmt: skip


@pytest.fixture(scope="module")
def by_right(gateway: Gateway) -> dict[str, Manager]:
    """Give a key of a stranger's tenant for each right alone, and one without any."""
    keys = {
        right: gateway.add_key(tenant="strangers", rights=[right] if right else [])
        for right in ("", *(right.value for right in Right))
    }
    gateway.apply()
    return {right: Manager(gateway, key) for right, key in keys.items()}


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_each_route_takes_its_own_right_and_no_other(
    by_right: dict[str, Manager], method: str, path: str
) -> None:
    needed = "management_read" if method == "GET" else "management_write"
    body = {"there is": "no such field"} if method in {"POST", "PATCH"} else None
    for right, manager in by_right.items():
        reply = manager.send(method, path, body)
        if right == needed:
            assert reply.status in {200, 400, 404}, reply.body
        else:
            assert (reply.status, reply.code) == (403, "permission_denied")


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_nobody_manages_without_a_key(
    gateway: Gateway, by_right: dict[str, Manager], method: str, path: str
) -> None:
    reply = gateway.client.send(method, f"/api/{path}", None)
    assert reply.status == 401


def test_methods_that_a_route_does_not_have_are_named(manager: Manager) -> None:
    reply = manager.send("PUT", "tenants/default", {"name": "default"})
    assert (reply.status, reply.headers["allow"]) == (405, "GET, PATCH, DELETE, HEAD")


@pytest.mark.parametrize("path", ["/api/tenants/a%0Ab", "/api/%0A", "/v1/models/a%0Ab"])
def test_a_path_with_a_line_end_is_unknown_like_any_other(
    manager: Manager, path: str
) -> None:
    reply = manager.gateway.client.get(path, authorization=f"Bearer {manager.key}")
    assert (reply.status, reply.code) == (404, "unknown_url")
