"""The management API: its rows take effect, its errors name what is wrong."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from gateway.kinds import Source
from gateway.models import (
    ApiKey,
    Budget,
    BudgetSpend,
    Limit,
    Promotion,
    Tenant,
    TrafficChange,
    VersionWeight,
)
from tests.api.gateway_process import Gateway, fresh, wait_until
from tests.api.management import CREDENTIAL, KINDS, Manager, manager_of, path_of
from tests.upstreams.simulators import RunningSimulator, running_simulator

SOON_S = 3.0
CHANGES: dict[str, dict[str, Any]] = {
    "tenants": {"enabled": False},
    "keys": {"enabled": False, "models": ["one"], "expires_at": "2040-01-01T00:00:00Z"},
    "limits": {"amount": 8, "measure": "tokens", "window": "hour"},
    "budgets": {"amount_usd": 0.25, "period": "day", "warn_percent": None},
    "providers": {"weight": 7, "extra_headers": {"x-team": "a"}, "enabled": False},
    "models": {"defaults": {"temperature": 0.5}, "enabled": False},
    "deployments": {"input_price_per_mtok_usd": 2.5, "options": {"a": 1}, "version": "v2"},
    "strategies": {"algorithm": "random", "max_attempts": 5},
}  # fmt: skip


@pytest.fixture(scope="module")
def manager(gateway: Gateway) -> Manager:
    return manager_of(gateway)


@pytest.fixture(scope="module")
def sim() -> Iterator[RunningSimulator]:
    with running_simulator() as running:
        yield running


def chat_status(manager: Manager, model: str, key: str) -> int:
    body = {"model": model, "messages": [{"role": "user", "content": "hi"}]}
    client = manager.gateway.client
    path = "/v1/chat/completions"
    return client.post(path, body, authorization=f"Bearer {key}").status


def wait_for_status(manager: Manager, model: str, key: str, status: int) -> None:
    wait_until(
        lambda: chat_status(manager, model, key) == status,
        f"a chat is answered with {status}",
        limit_s=SOON_S,
        poll_s=0.05,
    )


def serve_model(manager: Manager, sim: RunningSimulator) -> str:
    """Make a model that answers; give its name."""
    name = fresh("served")
    manager.make("providers", name=name, base_url=sim.openai_url)
    manager.make("models", name=name)
    manager.make("deployments", model=name, provider=name)
    return name


# --- Rows ----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_a_row_is_made_listed_shown_changed_and_deleted(
    manager: Manager, kind: str
) -> None:
    made = manager.make(kind)
    path = path_of(kind, made)
    made.pop("key", None) if kind == "keys" else None
    assert manager.get(path) == made
    assert made in manager.get(f"{kind}?limit=1000")["results"]
    changed = manager.change(path, **CHANGES[kind])
    assert {name: changed[name] for name in CHANGES[kind]} == CHANGES[kind]
    assert manager.get(path) == changed
    manager.delete(path)
    assert manager.send("GET", path).status == 404
    assert manager.send("DELETE", path).code == "not_found"
    assert manager.send("PATCH", path, {}).status == 404


def test_what_is_made_through_the_api_serves(
    manager: Manager, sim: RunningSimulator
) -> None:
    name = serve_model(manager, sim)
    key = manager.make("keys")["key"]
    wait_for_status(manager, name, key, 200)
    manager.change(f"providers/{name}", enabled=False)
    wait_until(
        lambda: chat_status(manager, name, key) != 200,
        "the disabled provider serves no more",
        limit_s=SOON_S,
    )


def test_a_strategy_set_through_the_api_serves(
    manager: Manager, sim: RunningSimulator
) -> None:
    name = serve_model(manager, sim)
    strategy = manager.make("strategies")["name"]
    manager.change(f"models/{name}", strategy=strategy)
    manager.gateway.apply()
    key = manager.make("keys")["key"]
    wait_for_status(manager, name, key, 200)
    body = {"model": name, "messages": [{"role": "user", "content": "hi"}]}
    reply = manager.gateway.client.post(
        "/v1/chat/completions", body, authorization=f"Bearer {key}"
    )
    assert reply.headers["x-ailb-strategy"] == strategy


def test_names_may_hold_slashes(manager: Manager) -> None:
    name = fresh("org/model") + ":7b"
    manager.make("models", name=name)
    assert manager.get(f"models/{name}")["name"] == name
    manager.delete(f"models/{name}")


@pytest.mark.parametrize("kind", ["models", "limits"])
def test_a_list_comes_in_pages_of_all_rows_once(manager: Manager, kind: str) -> None:
    made = [manager.make(kind) for _ in range(5)]
    seen, path = [], f"{kind}?limit=2"
    while True:
        page = manager.get(path)
        assert 1 <= len(page["results"]) <= 2
        seen += page["results"]
        if page["next"] is None:
            break
        path = f"{kind}?limit=2&after={page['next']}"
    assert len(seen) == len(manager.get(f"{kind}?limit=1000")["results"])
    assert all(row in seen for row in made)
    assert len({path_of(kind, row) for row in seen}) == len(seen)


def test_lists_are_filtered_by_what_rows_belong_to(manager: Manager) -> None:
    tenant = manager.make("tenants")["name"]
    key = manager.make("keys", tenant=tenant)["id"]
    limit = manager.make("limits", key=key)["id"]
    deployment = manager.make("deployments")
    for path, found in [
        (f"keys?tenant={tenant}", [key]),
        (f"limits?key={key}", [limit]),
        (f"limits?tenant={tenant}", []),
        (f"deployments?model={deployment['model']}", [deployment["id"]]),
        (f"deployments?provider={deployment['provider']}", [deployment["id"]]),
        ("keys?tenant=nobody", []),
    ]:
        assert [row["id"] for row in manager.get(path)["results"]] == found


def test_a_limit_of_an_address_is_found_by_every_spelling_of_it(
    manager: Manager,
) -> None:
    made = manager.make("limits", tenant=None, address="2001:DB8:0::7")
    assert (made["address"], made["tenant"]) == ("2001:db8::7", None)
    assert made["rate_limit_id"] == ""
    for spelling in ("2001:db8::7", "2001:DB8:0:0::7"):
        assert manager.get(f"limits?address={spelling}")["results"] == [made]
    assert manager.get("limits?address=::1")["results"] == []
    changed = manager.change(f"limits/{made['id']}", address="::ffff:9.9.9.9")
    assert changed["address"] == "9.9.9.9"
    assert manager.change(f"limits/{made['id']}", address=None)["address"] is None
    manager.delete(f"limits/{made['id']}")  # it would hold for everybody


# --- Keys ----------------------------------------------------------------------------------


def test_a_key_works_soon_after_it_is_made_and_not_after_it_is_deleted(
    manager: Manager, sim: RunningSimulator
) -> None:
    model = serve_model(manager, sim)
    made = manager.make("keys", models=[model])
    wait_for_status(manager, model, made["key"], 200)
    assert chat_status(manager, "another", made["key"]) == 403
    manager.delete(f"keys/{made['id']}")
    wait_for_status(manager, model, made["key"], 401)


def test_a_key_made_without_a_tenant_has_one_of_its_own(manager: Manager) -> None:
    name = fresh("alone")
    first, second = (manager.make("keys", name=name) for _ in range(2))
    assert first["tenant"] == name
    assert second["tenant"] == f"{name}-{second['id'][:4]}"
    assert manager.make("keys", tenant=name)["tenant"] == name
    refused = manager.send("POST", "keys", {"name": fresh("alone"), "tenant": None})
    assert (refused.status, refused.json["error"]["param"]) == (400, "tenant")


def test_a_disabled_tenant_closes_the_door_for_its_keys(
    manager: Manager, sim: RunningSimulator
) -> None:
    model, tenant = serve_model(manager, sim), manager.make("tenants")["name"]
    key = manager.make("keys", tenant=tenant)["key"]
    wait_for_status(manager, model, key, 200)
    manager.change(f"tenants/{tenant}", enabled=False)
    wait_for_status(manager, model, key, 401)


def test_a_rotated_keys_former_secret_works_as_long_as_was_asked(
    manager: Manager, sim: RunningSimulator
) -> None:
    model, made = serve_model(manager, sim), manager.make("keys")
    first = made["key"]
    path = f"keys/{made['id']}/rotate"
    second = manager.send("POST", path, {"overlap_s": 3600}).json
    assert second["id"] == made["id"]
    assert second["previous_until"] is not None
    wait_for_status(manager, model, second["key"], 200)
    assert chat_status(manager, model, first) == 200
    third = manager.send("POST", path, {"overlap_s": 0}).json
    wait_for_status(manager, model, third["key"], 200)
    wait_for_status(manager, model, second["key"], 401)
    assert chat_status(manager, model, first) == 401
    assert third["previous_until"] is None


def test_a_rotation_needs_no_body(manager: Manager) -> None:
    made = manager.make("keys")
    reply = manager.send("POST", f"keys/{made['id']}/rotate")
    assert reply.status == 200
    assert reply.json["previous_until"] is not None
    bad = manager.send("POST", f"keys/{made['id']}/rotate", {"overlap_s": -1})
    assert (bad.status, bad.json["error"]["param"]) == (400, "overlap_s")


def test_no_answer_shows_a_secret_but_the_one_that_made_it(manager: Manager) -> None:
    made = manager.make("keys")
    manager.make("providers", credential=CREDENTIAL)
    said = b""
    for kind in KINDS:
        said += manager.send("GET", f"{kind}?limit=1000").body
    row = manager.gateway.rows(ApiKey).get(public_id=made["id"])
    for secret in (made["key"], row.digest, CREDENTIAL, "digest", "ciphertext", "enc:"):
        assert secret.encode() not in said
    assert made["id"].encode() in said
    assert CREDENTIAL not in manager.gateway.log_text()
    assert made["key"] not in manager.gateway.log_text()


def test_a_key_neither_deletes_nor_disables_nor_demotes_itself(
    gateway: Gateway,
) -> None:
    own = manager_of(gateway)
    public_id = own.key.split("_")[1]
    for method, body in [
        ("DELETE", None),
        ("PATCH", {"enabled": False}),
        ("PATCH", {"rights": ["management_read"]}),
    ]:
        assert own.send(method, f"keys/{public_id}", body).status == 409
    assert own.send("PATCH", "tenants/default", {"enabled": False}).status == 409
    assert own.change(f"keys/{public_id}", name="mine")["name"] == "mine"


def test_the_environments_key_is_rotated_and_deleted_there(manager: Manager) -> None:
    made = manager.make("keys")
    rows = manager.gateway.rows(ApiKey).filter(public_id=made["id"])
    rows.update(source=Source.ENVIRONMENT)
    path = f"keys/{made['id']}"
    assert manager.send("POST", f"{path}/rotate").status == 409
    assert manager.send("DELETE", path).status == 409
    assert manager.change(path, rights=["chat"])["rights"] == ["chat"]


# --- Limits and budgets --------------------------------------------------------------------


def test_a_limit_made_with_a_key_is_enforced(
    manager: Manager, sim: RunningSimulator
) -> None:
    model = serve_model(manager, sim)
    made = manager.make("keys", requests_per_minute=2)
    wait_until(
        lambda: chat_status(manager, model, made["key"]) == 429,
        "the third request is refused",
        limit_s=SOON_S,
    )
    manager.change(f"keys/{made['id']}", requests_per_minute=None)
    wait_for_status(manager, model, made["key"], 200)


@pytest.mark.parametrize("kind", ["keys", "tenants"])
def test_everyday_limits_and_budgets_are_set_changed_shown_and_removed_by_name(
    manager: Manager, kind: str
) -> None:
    wanted = {
        "requests_per_minute": 10,
        "tokens_per_minute": 20_000,
        "max_concurrency": 3,
        "budget_usd_per_day": 1.5,
        "budget_usd_per_month": 30.0,
    }
    made = manager.make(kind, **wanted)
    path = path_of(kind, made)
    assert {name: made[name] for name in wanted} == wanted
    measures = {
        (row["measure"], row["window"], row["amount"]) for row in made["limits"]
    }
    assert measures == {
        ("requests", "minute", 10),
        ("tokens", "minute", 20_000),
        ("concurrency", "", 3),
    }
    assert {(row["period"], row["amount_usd"]) for row in made["budgets"]} == {
        ("day", 1.5),
        ("month", 30.0),
    }
    changed = manager.change(path, requests_per_minute=11, budget_usd_per_day=2)
    assert [row["id"] for row in changed["limits"]] == [r["id"] for r in made["limits"]]
    assert [row["id"] for row in changed["budgets"]] == [
        r["id"] for r in made["budgets"]
    ]
    assert (changed["requests_per_minute"], changed["budget_usd_per_day"]) == (11, 2.0)
    assert changed["tokens_per_minute"] == 20_000
    removed = manager.change(path, **dict.fromkeys(wanted))
    assert (removed["limits"], removed["budgets"]) == ([], [])
    assert {removed[name] for name in wanted} == {None}


def test_a_key_is_made_with_its_own_limits_and_budgets(manager: Manager) -> None:
    made = manager.make(
        "keys",
        limits=[{"measure": "output_tokens", "amount": 5, "window": "hour"}],
        budgets=[{"amount_usd": 3, "period": "week", "is_hard": False}],
    )
    (limit,), (budget,) = made["limits"], made["budgets"]
    assert manager.get(f"limits/{limit['id']}")["key"] == made["id"]
    assert manager.get(f"budgets/{budget['id']}")["is_hard"] is False
    reply = manager.send("PATCH", f"keys/{made['id']}", {"limits": []})
    assert (reply.status, reply.json["error"]["param"]) == (400, "limits")


def test_a_key_that_is_refused_leaves_nothing_behind(manager: Manager) -> None:
    rows = (ApiKey, Limit, Tenant)
    before = [manager.gateway.rows(row).count() for row in rows]
    refused: list[tuple[dict[str, Any], str]] = [
        ({"limits": [{"amount": 1}, {"amount": 0}]}, "limits.1.amount"),
        ({"limits": [{"amount": 1, "window": ""}]}, "limits.0.window"),
        ({"budgets": [{"period": "day"}]}, "budgets.0.amount_usd"),
        ({"requests_per_minute": 0}, "requests_per_minute"),
    ]
    for fields, param in refused:
        reply = manager.send("POST", "keys", {"name": "refused", **fields})
        assert (reply.status, reply.json["error"]["param"]) == (400, param), reply.body
    assert [manager.gateway.rows(row).count() for row in rows] == before


def test_a_budget_shows_what_its_current_period_has_spent(manager: Manager) -> None:
    made = manager.make("budgets", amount_usd=2, period="total")
    assert (made["spent_usd"], made["spent_percent"]) == (0, 0)
    assert (made["period_start"], made["resets_at"]) == ("1970-01-01", None)
    row = manager.gateway.rows(Budget).get(id=made["id"])
    spends = manager.gateway.rows(BudgetSpend)
    for worker, day in [("a", "1970-01-01"), ("b", "1970-01-01"), ("a", "2020-01-01")]:
        spends.create(
            budget=row, worker=worker, period_start=day, spent_nano_usd=250_000_000
        )
    shown = manager.get(f"budgets/{made['id']}")
    assert (shown["spent_usd"], shown["spent_percent"]) == (0.5, 25)
    monthly = manager.make("budgets", period="month")
    assert monthly["period_start"].endswith("-01")
    assert monthly["resets_at"].endswith("-01T00:00:00+00:00")


def test_traffic_is_shown_as_it_stands_with_what_was_done(manager: Manager) -> None:
    rows = manager.gateway.rows
    for version, weight in (("v1", 70), ("v2", 30)):
        rows(VersionWeight).create(version=version, weight=weight)
    rows(Promotion).create(
        version="v2", step_percent=30, next_step_at="2040-01-01T00:00:00Z"
    )
    for weight in (10, 30):
        rows(TrafficChange).create(
            action="set_weight",
            version="v2",
            active_version="v1",
            weights={"v2": weight},
        )
    try:
        shown = manager.get("traffic?limit=1")
        assert shown["versions"] == [
            {"version": "v1", "weight": 70, "draining": False},
            {"version": "v2", "weight": 30, "draining": False},
        ]
        assert (shown["active_version"], shown["previous_version"]) == ("v1", None)
        assert shown["promotion"]["next_step_at"] == "2040-01-01T00:00:00+00:00"
        assert [each["weights"] for each in shown["history"]] == [{"v2": 30}]
        assert manager.send("GET", "traffic?limit=0").status == 400
        assert manager.send("POST", "traffic", {}).status == 405
    finally:
        for row in (VersionWeight, Promotion, TrafficChange):
            rows(row).all().delete()
