"""`/v1/models` and `/v1/embeddings`, whichever vendor is behind them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import openai
import pytest

from gateway.models import Deployment, Model, Provider
from gateway.simulator import Behaviour
from tests.api.gateway_process import Gateway, fresh
from tests.api.vendors import Vendors, async_sdk, running_vendors, sdk

TEXTS = ["one", "two", "three"]


@pytest.fixture(scope="module")
def vendors(start_gateway: Callable[..., Gateway]) -> Iterator[Vendors]:
    with running_vendors(start_gateway) as running:
        yield running


@pytest.fixture(scope="module")
def client(vendors: Vendors) -> Iterator[openai.OpenAI]:
    with sdk(vendors.gateway) as made:
        yield made


# --- Models --------------------------------------------------------------------------------


def test_every_enabled_model_is_listed_once_and_found(
    client: openai.OpenAI, vendors: Vendors
) -> None:
    rows = vendors.gateway.rows(Model).filter(enabled=True)
    listed = [model.id for model in client.models.list()]
    assert listed == sorted({"auto", *rows.values_list("name", flat=True)})
    for name in listed[:3]:
        model = client.models.retrieve(name)
        assert (model.id, model.object) == (name, "model")


def test_a_models_owner_is_its_provider_or_ailb_for_several(
    client: openai.OpenAI, vendors: Vendors
) -> None:
    gateway, shared, single = vendors.gateway, fresh("shared"), fresh("org/single")
    first, second = fresh("first"), fresh("second")
    sim = vendors["openai"].sim
    gateway.add_provider(first, "openai", sim, models=[shared, single])
    gateway.add_provider(second, "openai", sim, models=[shared])
    gateway.apply()
    assert client.models.retrieve(shared).owned_by == "ailb"
    assert client.models.retrieve(single).owned_by == first
    assert abs(client.models.retrieve(single).created) > 1_700_000_000


def test_a_model_that_nothing_may_serve_says_so(
    client: openai.OpenAI, vendors: Vendors
) -> None:
    gateway, name = vendors.gateway, fresh("switched")
    gateway.add_provider(name, "openai", vendors["openai"].sim, models=[name])
    gateway.apply()
    assert client.chat.completions.create(model=name, messages=said()).choices
    gateway.rows(Model).filter(name=name).update(enabled=False)
    gateway.apply()
    assert name not in [model.id for model in client.models.list()]
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve(name)
    with pytest.raises(openai.NotFoundError) as raised:
        client.chat.completions.create(model=name, messages=said())
    assert raised.value.code == "model_not_found"
    gateway.rows(Model).filter(name=name).update(enabled=True)
    gateway.rows(Provider).filter(name=name).update(enabled=False)
    gateway.apply()
    with pytest.raises(openai.APIStatusError) as gone:
        client.chat.completions.create(model=name, messages=said())
    assert gone.value.status_code in {404, 503}


def said() -> list[openai.types.chat.ChatCompletionMessageParam]:
    return [{"role": "user", "content": "hi"}]


def test_the_model_auto_spans_chat_but_not_embeddings(
    client: openai.OpenAI, vendors: Vendors
) -> None:
    gateway, name = vendors.gateway, fresh("embedder-only")
    gateway.add_provider(
        name,
        "openai",
        vendors["openai"].sim,
        models=[name],
        deployment={"capabilities": {"chat": False, "embeddings": True}},
    )
    gateway.apply()
    assert gateway.rows(Deployment).filter(model__name=name).count() == 1
    for _ in range(20):
        raw = client.chat.completions.with_raw_response.create(
            model="auto", messages=said()
        )
        assert raw.headers["x-ailb-provider"] != name
    with pytest.raises(openai.APIStatusError):
        client.chat.completions.create(model=name, messages=said())
    assert client.embeddings.create(model=name, input="x").data


# --- Embeddings -------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["openai", "ollama"])
def test_one_vector_a_text_in_order_as_floats_and_as_base64(
    client: openai.OpenAI, vendors: Vendors, kind: str
) -> None:
    model = vendors[kind].embedder
    floats = client.embeddings.create(model=model, input=TEXTS, encoding_format="float")
    packed = client.embeddings.create(
        model=model, input=TEXTS
    )  # the SDK asks for base64
    assert [item.index for item in floats.data] == [0, 1, 2]
    assert floats.object == "list"
    assert floats.usage.prompt_tokens == floats.usage.total_tokens > 0
    for one, other in zip(floats.data, packed.data, strict=True):
        assert len(one.embedding) > 8
        assert other.embedding == pytest.approx(one.embedding, abs=1e-6)
    alone = client.embeddings.create(
        model=model, input=TEXTS[1], encoding_format="float"
    )
    assert alone.data[0].embedding == pytest.approx(floats.data[1].embedding, abs=1e-6)


@pytest.mark.parametrize("kind", ["openai", "ollama"])
async def test_the_asynchronous_client_embeds(vendors: Vendors, kind: str) -> None:
    async with async_sdk(vendors.gateway) as client:
        answer = await client.embeddings.create(
            model=vendors[kind].embedder, input="one", dimensions=16
        )
    assert len(answer.data[0].embedding) == 16


def test_token_ids_reach_who_can_read_them_and_are_refused_elsewhere(
    client: openai.OpenAI, vendors: Vendors
) -> None:
    ids = [[1, 2, 3], [4]]
    answer = client.embeddings.create(model=vendors["openai"].embedder, input=ids)
    assert len(answer.data) == 2
    assert vendors["openai"].last_body["input"] == ids
    with pytest.raises(openai.BadRequestError) as raised:
        client.embeddings.create(model=vendors["ollama"].embedder, input=ids)
    assert raised.value.param == "input"


def test_a_vendor_without_embeddings_is_a_clear_refusal(
    client: openai.OpenAI, vendors: Vendors
) -> None:
    vendor = vendors["anthropic"]
    before = len(vendor.sim.calls)
    with pytest.raises(openai.APIStatusError) as raised:
        client.embeddings.create(model=vendor.embedder, input="x")
    assert 400 <= raised.value.status_code < 500
    assert len(vendor.sim.calls) == before


def test_embeddings_fail_over_to_another_deployment(
    client: openai.OpenAI, vendors: Vendors
) -> None:
    gateway, model = vendors.gateway, fresh("embedded")
    gateway.add_model(model, "failover")
    broken, whole = vendors["openai"], vendors["ollama"]
    gateway.add_provider(fresh("a"), "openai", broken.sim, models=[model], priority=0)
    gateway.add_provider(fresh("b"), "ollama", whole.sim, models=[model], priority=1)
    gateway.apply()
    broken.sim.plan.replace(["status:500"])
    raw = client.embeddings.with_raw_response.create(model=model, input=TEXTS)
    assert raw.headers["x-ailb-attempts"] == "2"
    assert len(raw.parse().data) == 3


def test_a_server_that_ignores_base64_is_passed_through(
    client: openai.OpenAI, vendors: Vendors
) -> None:
    vendor = vendors["openai"]
    vendor.sim.behaviour = Behaviour(floats_only=True)
    try:
        answer = client.embeddings.create(model=vendor.embedder, input="x")
    finally:
        vendor.sim.behaviour = Behaviour()
    assert isinstance(answer.data[0].embedding[0], float)
