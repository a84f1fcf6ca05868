"""Virtual keys at the door: who is let in, for what, and how soon a change is felt."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import openai
import pytest
from django.utils import timezone

from gateway.crypto import mint_api_key
from gateway.kinds import Right
from gateway.models import ApiKey, ApiKeyUse, Model, Tenant
from tests.api.gateway_process import Gateway, fresh, wait_until
from tests.api.vendors import sdk
from tests.client import Reply, chat_body
from tests.upstreams.simulators import RunningSimulator, running_simulator

CHAT = "/v1/chat/completions"
FELT_WITHIN_S = 15.0  # a limit for slow machines; the poll is a quarter of a second


@pytest.fixture(scope="module")
def sim() -> Iterator[RunningSimulator]:
    with running_simulator() as running:
        yield running


@pytest.fixture(scope="module")
def guarded(start_gateway: Callable[..., Gateway], sim: RunningSimulator) -> Gateway:
    gateway = start_gateway(AILB_AUTH="required")
    gateway.add_provider("one", "openai", sim, models=["m", "n", "fallback"])
    gateway.apply()
    return gateway


def ask(gateway: Gateway, key: str, model: str = "m", *, stream: bool = False) -> Reply:
    body = chat_body(model, stream=stream, text="hi")
    return gateway.client.post(CHAT, body, authorization=f"Bearer {key}")


def added(gateway: Gateway, **fields: Any) -> str:
    key = gateway.add_key(**fields)
    gateway.apply()
    return key


def test_a_key_is_let_in_and_its_use_is_noted(guarded: Gateway) -> None:
    key = added(guarded, name="used")
    assert ask(guarded, key).status == 200
    uses = guarded.rows(ApiKeyUse).filter(api_key__name="used")
    wait_until(uses.exists, "the use of the key is written")
    assert abs(uses.get().last_used_at - timezone.now()) < timedelta(minutes=1)


def test_wrong_unknown_disabled_expired_and_orphaned_keys_look_alike(
    guarded: Gateway,
) -> None:
    past = timezone.now() - timedelta(seconds=1)
    guarded.rows(Tenant).create(name="disabled-tenant", enabled=False)
    keys = [
        mint_api_key(),
        "sk-of-another-maker-entirely",
        "ailb_" + "0" * 12 + "_" + "0" * 49,  # its checksum is wrong
        guarded.add_key(enabled=False),
        guarded.add_key(expires_at=past),
        guarded.add_key(tenant="disabled-tenant"),
    ]
    guarded.apply()
    replies = [ask(guarded, key) for key in keys]
    assert {reply.status for reply in replies} == {401}
    assert {reply.code for reply in replies} == {"invalid_api_key"}
    assert len({reply.body for reply in replies}) == 1


@pytest.mark.parametrize(
    "revoke",
    [
        lambda row: row.update(enabled=False),
        lambda row: row.delete(),
        lambda row: row.update(expires_at=timezone.now()),
    ],
    ids=["disabled", "deleted", "expired"],
)
def test_a_revoked_key_is_refused_at_once(
    guarded: Gateway, revoke: Callable[[Any], object]
) -> None:
    name = fresh("revoked")
    key = added(guarded, name=name)
    assert ask(guarded, key).status == 200
    revoke(guarded.rows(ApiKey).filter(name=name))
    wait_until(
        lambda: ask(guarded, key).status == 401,
        "the key is refused",
        limit_s=FELT_WITHIN_S,
    )


def test_a_key_ends_by_itself_at_its_end(guarded: Gateway) -> None:
    key = added(guarded, expires_at=timezone.now() + timedelta(seconds=1.5))
    assert ask(guarded, key).status == 200
    wait_until(lambda: ask(guarded, key).status == 401, "the key ends")


def test_a_rotated_key_works_with_both_secrets_until_the_overlap_ends(
    guarded: Gateway,
) -> None:
    name = fresh("rotated")
    old = added(guarded, name=name)
    row = guarded.rows(ApiKey).get(name=name)
    new = guarded.add_key(name="donor-of-a-digest")
    donor = guarded.rows(ApiKey).get(name="donor-of-a-digest")
    donor.delete()
    row.previous_digest, row.digest = row.digest, donor.digest
    row.previous_until = timezone.now() + timedelta(hours=1)
    row.save()
    guarded.apply()
    assert [ask(guarded, key).status for key in (old, new)] == [200, 200]
    row.previous_until = timezone.now()
    row.save()
    guarded.apply()
    assert [ask(guarded, key).status for key in (old, new)] == [401, 200]


def test_a_key_may_ask_only_for_its_models(guarded: Gateway) -> None:
    key = added(guarded, allowed_models=["m"])
    assert ask(guarded, key, "m").status == 200
    for name in ("n", "auto", "never-heard-of"):
        for stream in (False, True):
            refused = ask(guarded, key, name, stream=stream)
            assert (refused.status, refused.code) == (403, "model_not_allowed")
            assert f"'{name}'" in refused.json["error"]["message"]
            assert refused.json["error"]["param"] == "model"
    bearer = {"authorization": f"Bearer {key}"}
    listed = guarded.client.get("/v1/models", **bearer).json["data"]
    assert [model["id"] for model in listed] == ["m"]
    assert guarded.client.get("/v1/models/m", **bearer).status == 200
    assert guarded.client.get("/v1/models/n", **bearer).status == 404


def test_a_fallback_that_the_key_may_not_use_is_passed_over(
    guarded: Gateway, sim: RunningSimulator
) -> None:
    with running_simulator(api_key="never-given") as broken:
        guarded.add_provider("broken", "openai", broken, models=["with-fallback"])
        guarded.rows(Model).filter(name="with-fallback").update(fallbacks=["fallback"])
        restricted = guarded.add_key(allowed_models=["with-fallback"])
        free = added(guarded, allowed_models=["with-fallback", "fallback"])
        assert ask(guarded, free, "with-fallback").status == 200
        assert ask(guarded, restricted, "with-fallback").status == 502


@pytest.mark.parametrize("right", list(Right))
def test_each_right_opens_its_own_routes_and_no_other(
    guarded: Gateway, right: Right
) -> None:
    key = added(guarded, rights=[right.value])
    bearer = {"authorization": f"Bearer {key}"}
    embed = {"model": "m", "input": "hi"}
    statuses = {
        Right.CHAT: ask(guarded, key).status,
        Right.EMBEDDINGS: guarded.client.post("/v1/embeddings", embed, **bearer).status,
    }
    assert statuses == {
        each: 200 if each is right else 403 for each in (Right.CHAT, Right.EMBEDDINGS)
    }
    assert guarded.client.get("/v1/models", **bearer).status == 200
    assert guarded.client.get("/api/routing/stats", **bearer).status == 200


def test_the_sdk_tells_a_wrong_key_from_a_forbidden_model(guarded: Gateway) -> None:
    key = added(guarded, allowed_models=["m"])
    messages: Any = [{"role": "user", "content": "hi"}]
    with sdk(guarded, api_key=key) as client:
        assert client.chat.completions.create(model="m", messages=messages).choices
        with pytest.raises(openai.PermissionDeniedError):
            client.chat.completions.create(model="n", messages=messages)


def test_the_first_key_closes_the_local_door_for_good(
    start_gateway: Callable[..., Gateway], sim: RunningSimulator
) -> None:
    gateway = start_gateway()
    gateway.add_provider("one", "openai", sim, models=["m"])
    gateway.apply()
    assert gateway.client.chat("m").status == 200
    assert ask(gateway, "sk-any").status == 200
    key = gateway.add_key()
    wait_until(lambda: gateway.client.chat("m").status == 401, "the door closes")
    assert ask(gateway, "sk-any").status == 401
    assert ask(gateway, key).status == 200
    gateway.rows(ApiKey).all().delete()
    wait_until(lambda: ask(gateway, key).status == 401, "the key is gone")
    assert gateway.client.chat("m").status == 401
