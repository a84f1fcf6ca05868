"""One request in OpenAI's words, and what reaches each vendor's wire."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.api.gateway_process import Gateway, fresh
from tests.api.vendors import KINDS, Vendor, Vendors, running_vendors
from tests.client import Reply

PATHS = {
    "openai": "/v1/chat/completions",
    "anthropic": "/v1/messages",
    "ollama": "/api/chat",
}
IMAGE_DATA = "iVBORw0KGgo="
PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}}
TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather of a city.",
        "parameters": PARAMETERS,
    },
}
OWN = {"session_id": "s-1"}  # documents: tests/api/test_documents_chat.py


@pytest.fixture(scope="module")
def vendors(start_gateway: Callable[..., Gateway]) -> Iterator[Vendors]:
    with running_vendors(start_gateway) as running:
        yield running


@pytest.fixture(params=KINDS)
def vendor(request: pytest.FixtureRequest, vendors: Vendors) -> Vendor:
    return vendors[request.param]


def ask(vendors: Vendors, vendor: Vendor, **fields: Any) -> tuple[Reply, Any]:
    """Ask; give the answer and the body that reached the vendor."""
    reply = vendors.gateway.client.chat(vendor.model, **fields)
    assert reply.is_whole, reply.body
    call = vendor.sim.calls[-1]
    assert call.path == PATHS[vendor.kind]
    return reply, call.body


def history() -> list[dict[str, Any]]:
    call = {"name": "get_weather", "arguments": '{"city": "Bonn"}'}
    return [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "How is the weather?"},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {"id": f"call_{n}", "type": "function", "function": call}
                for n in (1, 2)
            ],
        },
        {"role": "tool", "tool_call_id": "call_1", "content": "12 degrees"},
        {"role": "tool", "tool_call_id": "call_2", "content": "rain"},
    ]


def test_a_tool_history_becomes_the_vendors_own(vendors: Vendors) -> None:
    bodies = {
        kind: ask(vendors, vendors[kind], messages=history(), tools=[TOOL])[1]
        for kind in KINDS
    }
    assert bodies["openai"]["messages"] == history()
    anthropic = bodies["anthropic"]
    assert "Be brief." in json.dumps(anthropic["system"])
    assert [m["role"] for m in anthropic["messages"]] == ["user", "assistant", "user"]
    uses = anthropic["messages"][1]["content"]
    assert [(p["type"], p["id"], p["input"]) for p in uses] == [
        ("tool_use", f"call_{n}", {"city": "Bonn"}) for n in (1, 2)
    ]
    results = anthropic["messages"][2]["content"]
    assert [(p["type"], p["tool_use_id"]) for p in results] == [
        ("tool_result", "call_1"),
        ("tool_result", "call_2"),
    ]
    ollama = bodies["ollama"]["messages"]
    roles = ["system", "user", "assistant", "tool", "tool"]
    assert [m["role"] for m in ollama] == roles
    assert ollama[2]["tool_calls"][0]["function"]["arguments"] == {"city": "Bonn"}
    assert [m["content"] for m in ollama[3:]] == ["12 degrees", "rain"]


def test_a_tool_becomes_the_vendors_own(vendors: Vendors) -> None:
    bodies = {
        kind: ask(vendors, vendors[kind], tools=[TOOL], tool_choice="auto")[1]
        for kind in KINDS
    }
    (given,) = bodies["anthropic"]["tools"]
    assert (given["name"], given["input_schema"]) == ("get_weather", PARAMETERS)
    assert bodies["anthropic"]["tool_choice"]["type"] == "auto"
    assert bodies["ollama"]["tools"][0]["function"]["parameters"] == PARAMETERS
    assert bodies["openai"]["tools"] == [TOOL]


def test_limits_and_sampling_become_the_vendors_own(vendors: Vendors) -> None:
    asked = {"max_completion_tokens": 50, "temperature": 0.5, "stop": ["END"]}
    bodies = {kind: ask(vendors, vendors[kind], **asked)[1] for kind in KINDS}
    for name, value in asked.items():
        assert bodies["openai"][name] == value
    anthropic = bodies["anthropic"]
    assert (anthropic["max_tokens"], anthropic["stop_sequences"]) == (50, ["END"])
    assert anthropic["temperature"] == 0.5
    options = bodies["ollama"]["options"]
    assert (options["num_predict"], options["stop"]) == (50, ["END"])
    assert options["temperature"] == 0.5


def test_an_image_becomes_the_vendors_own(vendors: Vendors) -> None:
    url = f"data:image/png;base64,{IMAGE_DATA}"
    parts = [
        {"type": "text", "text": "What is this?"},
        {"type": "image_url", "image_url": {"url": url}},
    ]
    message = {"role": "user", "content": parts}
    bodies = {k: ask(vendors, vendors[k], messages=[message])[1] for k in KINDS}
    assert bodies["openai"]["messages"] == [message]
    image = bodies["anthropic"]["messages"][0]["content"][1]
    assert image["source"] == {
        "type": "base64",
        "media_type": "image/png",
        "data": IMAGE_DATA,
    }
    assert bodies["ollama"]["messages"][0]["images"] == [IMAGE_DATA]


def test_unknown_fields_reach_a_vendor_of_the_same_dialect_untouched(
    vendors: Vendors,
) -> None:
    unknown = {"x_new": {"deep": [1, None, "ü"]}, "metadata": {"a": "b"}, "seed": 7}
    _, body = ask(vendors, vendors["openai"], **unknown)
    assert {name: body[name] for name in unknown} == unknown


def test_what_a_vendor_has_no_word_for_is_told(vendors: Vendors) -> None:
    for kind in ("anthropic", "ollama"):
        reply, body = ask(vendors, vendors[kind], logit_bias={"50256": -100})
        assert "logit_bias" not in json.dumps(body)
        assert "logit_bias" in reply.headers["x-ailb-dropped-params"]
    reply, body = ask(vendors, vendors["openai"], logit_bias={"50256": -100})
    assert body["logit_bias"] == {"50256": -100}
    assert "x-ailb-dropped-params" not in reply.headers


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_our_own_fields_reach_no_vendor(
    vendors: Vendors, vendor: Vendor, stream: bool
) -> None:
    _, body = ask(vendors, vendor, stream=stream, **OWN)
    assert not set(OWN) & set(body)
    assert "handbook" not in json.dumps(body)


def test_the_vendor_is_asked_for_its_own_name_of_the_model(
    vendors: Vendors,
) -> None:
    gateway, prefix = vendors.gateway, fresh("alias")
    for kind in KINDS:
        name = f"{prefix}-{kind}"
        sim = vendors[kind].sim
        gateway.add_provider(name, kind, sim, models={name: "the-vendors-own"})
    gateway.apply()
    for kind in KINDS:
        name = f"{prefix}-{kind}"
        for stream in (False, True):
            reply = gateway.client.chat(name, stream=stream)
            assert vendors[kind].sim.calls[-1].body["model"] == "the-vendors-own"
            assert reply.headers["x-ailb-upstream-model"] == "the-vendors-own"
            answers = reply.chunks if stream else [reply.json]
            # Bytes of the same dialect pass through; a translated answer names what
            # the client asked for.
            shown = "the-vendors-own" if kind == "openai" else name
            assert {answer["model"] for answer in answers} == {shown}


def test_one_conversation_goes_on_at_another_vendor(vendors: Vendors) -> None:
    gateway, model = vendors.gateway, fresh("wandering")
    gateway.add_model(model, "failover")
    for priority, kind in enumerate(KINDS):
        provider = fresh(f"wandering-{kind}")
        sim = vendors[kind].sim
        gateway.add_provider(provider, kind, sim, models=[model], priority=priority)
    gateway.apply()
    vendors["openai"].sim.plan.replace(["status:500"])
    vendors["anthropic"].sim.plan.replace(["status:529"])
    before = {kind: len(vendors.by_kind[kind].sim.calls) for kind in KINDS}
    reply = gateway.client.chat(model, messages=history(), tools=[TOOL])
    assert reply.status == 200
    assert "12 degrees; rain" in reply.text
    assert reply.headers["x-ailb-attempts"] == "3"
    for kind in KINDS:
        sim = vendors.by_kind[kind].sim
        assert len(sim.calls) == before[kind] + 1
        assert "12 degrees" in json.dumps(sim.calls[-1].body)


def test_answers_have_the_same_shape_whoever_gave_them(vendors: Vendors) -> None:
    for stream in (False, True):
        shapes = []
        for kind in ("anthropic", "ollama"):
            reply, _ = ask(vendors, vendors[kind], stream=stream)
            answers = reply.chunks if stream else [reply.json]
            shapes.append([shape(answer) for answer in (answers[0], answers[-1])])
        assert shapes[0] == shapes[1]


def shape(value: Any) -> Any:
    """Reduce a value to its names and types."""
    if isinstance(value, dict):
        return {name: shape(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [shape(inner) for inner in value[:1]]
    return type(value).__name__
