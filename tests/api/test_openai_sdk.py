"""The official openai SDK takes AILB for its server, whoever answers behind it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import openai
import pytest
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from gateway.simulator import Behaviour
from tests.api.gateway_process import Gateway
from tests.api.vendors import KINDS, Vendor, Vendors, async_sdk, running_vendors, sdk

SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
    "required": ["city", "days"],
    "additionalProperties": False,
}
ARGUMENTS = {"city": "simulated", "days": 1}
TOOLS: Any = [
    {"type": "function", "function": {"name": "get_weather", "parameters": SCHEMA}},
    {"type": "function", "function": {"name": "get_time", "parameters": SCHEMA}},
]
IMAGE = "data:image/png;base64,iVBORw0KGgo="


@pytest.fixture(scope="module")
def vendors(start_gateway: Callable[..., Gateway]) -> Iterator[Vendors]:
    with running_vendors(start_gateway) as running:
        yield running


@pytest.fixture(scope="module")
def client(vendors: Vendors) -> Iterator[openai.OpenAI]:
    with sdk(vendors.gateway, _strict_response_validation=True) as made:
        yield made


@pytest.fixture(params=KINDS)
def vendor(request: pytest.FixtureRequest, vendors: Vendors) -> Vendor:
    return vendors[request.param]


def said(text: str) -> Any:
    return [{"role": "user", "content": text}]


def streamed_text(chunks: list[ChatCompletionChunk]) -> str:
    return "".join(
        choice.delta.content or "" for chunk in chunks for choice in chunk.choices
    )


def text_of(answer: ChatCompletion) -> str:
    return answer.choices[0].message.content or ""


# --- Answers -------------------------------------------------------------------------------


def test_a_chat_is_answered_whole(client: openai.OpenAI, vendor: Vendor) -> None:
    raw = client.chat.completions.with_raw_response.create(
        model=vendor.model, messages=said("Say hello")
    )
    answer = raw.parse()
    assert text_of(answer).endswith("Say hello")
    assert answer.choices[0].finish_reason == "stop"
    assert (answer.object, answer.model) == ("chat.completion", vendor.model)
    usage = answer.usage
    assert usage is not None
    assert usage.prompt_tokens > 0
    assert usage.completion_tokens > 0
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens
    assert raw.headers["x-ailb-upstream-model"] == vendor.model
    assert raw.headers["x-ailb-attempts"] == "1"
    assert raw.request_id


def test_a_stream_says_the_same_and_counts_the_same(
    client: openai.OpenAI, vendor: Vendor
) -> None:
    whole = client.chat.completions.create(
        model=vendor.model, messages=said("Say hello")
    )
    chunks = list(
        client.chat.completions.create(
            model=vendor.model,
            messages=said("Say hello"),
            stream=True,
            stream_options={"include_usage": True},
        )
    )
    assert streamed_text(chunks) == text_of(whole)
    assert len({chunk.id for chunk in chunks}) == 1
    assert [c for c in chunks if not c.choices] == chunks[-1:]  # one usage chunk, last
    assert chunks[-1].usage == whole.usage
    assert all(chunk.usage is None for chunk in chunks[:-1])
    reasons = [c.finish_reason for chunk in chunks for c in chunk.choices]
    assert [reason for reason in reasons if reason] == ["stop"]
    roles = [c.delta.role for chunk in chunks for c in chunk.choices if c.delta.role]
    assert roles == ["assistant"]


def test_usage_is_streamed_only_when_asked_for(
    client: openai.OpenAI, vendor: Vendor
) -> None:
    chunks = list(
        client.chat.completions.create(
            model=vendor.model, messages=said("x"), stream=True
        )
    )
    assert all(chunk.choices and chunk.usage is None for chunk in chunks)


async def test_the_asynchronous_client_is_answered_whole_and_streamed(
    vendors: Vendors, vendor: Vendor
) -> None:
    async with async_sdk(vendors.gateway) as client:
        whole = await client.chat.completions.create(
            model=vendor.model, messages=said("Say hello")
        )
        stream = await client.chat.completions.create(
            model=vendor.model, messages=said("Say hello"), stream=True
        )
        chunks = [chunk async for chunk in stream]
    assert streamed_text(chunks) == text_of(whole)
    assert text_of(whole).endswith("Say hello")


def test_the_sdks_own_stream_helper_builds_the_same_answer(
    client: openai.OpenAI, vendor: Vendor
) -> None:
    with client.chat.completions.stream(
        model=vendor.model, messages=said("Use get_time"), tools=TOOLS
    ) as stream:
        stream.until_done()
        answer = stream.get_final_completion()
    (call,) = answer.choices[0].message.tool_calls or []
    assert call.function.name == "get_time"
    assert json.loads(call.function.arguments) == ARGUMENTS


def test_reasoning_is_given_beside_the_answer(
    client: openai.OpenAI, vendors: Vendors
) -> None:
    # OpenAI's own API keeps its reasoning to itself.
    for kind in ("anthropic", "ollama"):
        vendor = vendors[kind]
        asked: dict[str, Any] = {
            "model": vendor.thinker,
            "messages": said("Think"),
            "reasoning_effort": "low",
        }
        whole = client.chat.completions.create(**asked)
        chunks = list(client.chat.completions.create(**asked, stream=True))
        reasoning = (whole.choices[0].message.model_extra or {})["reasoning_content"]
        assert "simulated reasoning" in reasoning
        assert reasoning not in text_of(whole)
        streamed = "".join(
            (choice.delta.model_extra or {}).get("reasoning_content") or ""
            for chunk in chunks
            for choice in chunk.choices
        )
        assert streamed == reasoning
        assert streamed_text(chunks) == text_of(whole)


# --- What is asked for ------------------------------------------------------------------------


def test_parallel_tools_make_a_round_trip(
    client: openai.OpenAI, vendor: Vendor
) -> None:
    question = said("Use both tools")
    first = client.chat.completions.create(
        model=vendor.model, messages=question, tools=TOOLS
    )
    message = first.choices[0].message
    assert first.choices[0].finish_reason == "tool_calls"
    calls: Any = message.tool_calls or []
    assert [call.function.name for call in calls] == ["get_weather", "get_time"]
    assert [json.loads(call.function.arguments) for call in calls] == [ARGUMENTS] * 2
    assert len({call.id for call in calls}) == 2
    results = [
        {"role": "tool", "tool_call_id": call.id, "content": f"result of {name}"}
        for call, name in zip(calls, ("weather", "time"), strict=True)
    ]
    history: Any = [*question, message.model_dump(exclude_none=True), *results]
    second = client.chat.completions.create(
        model=vendor.model, messages=history, tools=TOOLS
    )
    assert "result of weather; result of time" in text_of(second)


def test_parallel_tools_are_streamed_by_index(
    client: openai.OpenAI, vendor: Vendor
) -> None:
    stream = client.chat.completions.create(
        model=vendor.model, messages=said("Use both tools"), tools=TOOLS, stream=True
    )
    arguments: dict[int, str] = {}
    names: dict[int, str] = {}
    ids: dict[int, str] = {}
    reasons = []
    for chunk in stream:
        choice = chunk.choices[0]
        reasons.append(choice.finish_reason)
        for part in choice.delta.tool_calls or []:
            assert part.function is not None
            arguments[part.index] = arguments.get(part.index, "") + (
                part.function.arguments or ""
            )
            if part.function.name:
                assert part.index not in names
                names[part.index] = part.function.name
                ids[part.index] = part.id or ""
    assert names == {0: "get_weather", 1: "get_time"}
    assert [json.loads(text) for text in arguments.values()] == [ARGUMENTS] * 2
    assert all(ids.values())
    assert len(set(ids.values())) == 2
    assert [reason for reason in reasons if reason] == ["tool_calls"]


def test_a_named_tool_is_the_one_that_is_called(
    client: openai.OpenAI, vendors: Vendors
) -> None:
    # Ollama has no word for it: the choice is told in x-ailb-dropped-params.
    for kind in ("openai", "anthropic"):
        answer = client.chat.completions.create(
            model=vendors[kind].model,
            messages=said("x"),
            tools=TOOLS,
            tool_choice={"type": "function", "function": {"name": "get_time"}},
        )
        (call,) = answer.choices[0].message.tool_calls or []
        assert call.type == "function"
        assert call.function.name == "get_time"


def test_an_image_reaches_the_model(client: openai.OpenAI, vendor: Vendor) -> None:
    content = [
        {"type": "text", "text": "What is this?"},
        {"type": "image_url", "image_url": {"url": IMAGE}},
    ]
    messages: Any = [{"role": "user", "content": content}]
    answer = client.chat.completions.create(model=vendor.model, messages=messages)
    assert text_of(answer).endswith("What is this?")
    assert "iVBORw0KGgo=" in json.dumps(vendor.last_body)


def test_a_schema_is_satisfied_whole_and_streamed(
    client: openai.OpenAI, vendor: Vendor
) -> None:
    asked: dict[str, Any] = {
        "model": vendor.model,
        "messages": said("x"),
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "trip", "schema": SCHEMA, "strict": True},
        },
    }
    whole = client.chat.completions.create(**asked)
    chunks = list(client.chat.completions.create(**asked, stream=True))
    assert json.loads(text_of(whole)) == ARGUMENTS
    assert json.loads(streamed_text(chunks)) == ARGUMENTS
    assert whole.choices[0].finish_reason == "stop"


@pytest.mark.parametrize("stop", [" said", [" said", "never"]])
def test_stop_sequences_end_the_answer(
    client: openai.OpenAI, vendor: Vendor, stop: Any
) -> None:
    answer = client.chat.completions.create(
        model=vendor.model, messages=said("x"), stop=stop
    )
    assert text_of(answer).endswith("You")
    assert answer.choices[0].finish_reason == "stop"


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
def test_a_token_limit_cuts_the_answer(
    client: openai.OpenAI, vendor: Vendor, name: str
) -> None:
    limit: dict[str, Any] = {name: 3}
    answer = client.chat.completions.create(
        model=vendor.model, messages=said("x"), **limit
    )
    assert answer.choices[0].finish_reason == "length"
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 3


def test_system_and_developer_messages_are_accepted(
    client: openai.OpenAI, vendor: Vendor
) -> None:
    messages: Any = [
        {"role": "system", "content": "Be brief."},
        {"role": "developer", "content": "Be kind."},
        *said("Say hello"),
    ]
    answer = client.chat.completions.create(model=vendor.model, messages=messages)
    assert text_of(answer).endswith("Say hello")
    sent = json.dumps(vendor.last_body)
    assert "Be brief." in sent
    assert "Be kind." in sent


# --- Errors -----------------------------------------------------------------------------------

# Of what the vendor itself says about the request, its own code is passed on.
VENDORS_OWN = "the vendor's own"
ERRORS = [
    ("status:400:code=context_length_exceeded", openai.BadRequestError, 400, "context_length_exceeded"),
    ("status:400:message=odd", openai.BadRequestError, 400, VENDORS_OWN),
    ("status:401", openai.InternalServerError, 502, "upstream_credentials_exhausted"),
    ("status:403", openai.InternalServerError, 502, "upstream_credentials_exhausted"),
    ("status:404:model_not_found", openai.NotFoundError, 404, "model_not_found"),
    ("status:422", openai.UnprocessableEntityError, 422, VENDORS_OWN),
    ("status:429:retry_after=7", openai.RateLimitError, 429, "rate_limit_exceeded"),
    ("status:500", openai.InternalServerError, 502, "upstream_error"),
    ("status:503", openai.InternalServerError, 503, "upstream_unavailable"),
    ("garbage", openai.InternalServerError, 502, "upstream_invalid_response"),
]  # fmt: skip


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize(("fault", "kind", "status", "code"), ERRORS)
def test_an_error_raises_the_sdks_own_class(
    client: openai.OpenAI,
    vendor: Vendor,
    fault: str,
    kind: type[openai.APIStatusError],
    status: int,
    code: str,
    stream: bool,
) -> None:
    model = vendor.take_model()
    vendor.sim.plan.replace([fault], repeat=True)
    with pytest.raises(kind) as raised:
        client.chat.completions.create(model=model, messages=said("x"), stream=stream)
    error = raised.value
    assert error.status_code == status
    assert error.code == code or code == VENDORS_OWN
    assert error.request_id
    assert error.response.headers["x-should-retry"] == "false"
    if "retry_after" in fault:
        assert 1 <= int(error.response.headers["retry-after"]) <= 7


def test_a_vendors_refusal_of_a_parameter_names_it(
    client: openai.OpenAI, vendors: Vendors
) -> None:
    vendor = vendors["openai"]
    vendor.sim.plan.replace(["status:400:code=unsupported_parameter:param=temperature"])
    with pytest.raises(openai.BadRequestError) as raised:
        client.chat.completions.create(
            model=vendor.model, messages=said("x"), temperature=1
        )
    assert raised.value.code == "unsupported_parameter"
    assert raised.value.param == "temperature"


def test_a_bad_field_raises_bad_request_with_its_name(
    client: openai.OpenAI, vendor: Vendor
) -> None:
    asked: Any = {"model": vendor.model, "messages": said("x"), "temperature": 3}
    before = len(vendor.sim.calls)
    with pytest.raises(openai.BadRequestError) as raised:
        client.chat.completions.create(**asked)
    assert (raised.value.param, raised.value.code) == ("temperature", "invalid_value")
    assert len(vendor.sim.calls) == before


def test_an_unknown_model_raises_not_found(client: openai.OpenAI) -> None:
    for call in (
        lambda: client.chat.completions.create(model="nobody", messages=said("x")),
        lambda: client.embeddings.create(model="nobody", input="x"),
        lambda: client.models.retrieve("nobody"),
    ):
        with pytest.raises(openai.NotFoundError) as raised:
            call()
        assert raised.value.code == "model_not_found"
        assert raised.value.param == "model"


def test_a_provider_that_is_gone_is_no_connection_error_of_the_clients(
    client: openai.OpenAI, vendors: Vendors
) -> None:
    vendor = vendors["openai"]
    model = vendor.take_model()
    vendor.sim.stop()
    try:
        with pytest.raises(openai.InternalServerError) as raised:
            client.chat.completions.create(model=model, messages=said("x"))
    finally:
        vendor.sim.start()
    assert (raised.value.status_code, raised.value.code) == (
        502,
        "upstream_unreachable",
    )


@pytest.mark.parametrize(
    "fault", ["error_event_after:5", "die_after:5", "reset_at:900"]
)
def test_an_error_in_the_middle_of_a_stream_raises(
    client: openai.OpenAI, vendor: Vendor, fault: str
) -> None:
    model = vendor.take_model()
    vendor.sim.behaviour = Behaviour(
        tokens_per_s=200
    )  # each event in a write of its own
    vendor.sim.plan.replace([fault])
    stream = client.chat.completions.create(
        model=model, messages=said("word " * 40), stream=True
    )
    received: list[ChatCompletionChunk] = []
    with pytest.raises(openai.APIError) as raised:
        received.extend(stream)
    vendor.sim.behaviour = Behaviour()
    assert not isinstance(raised.value, openai.APIConnectionError)
    assert raised.value.code == "upstream_interrupted"
    assert streamed_text(received).startswith("This")


@pytest.mark.parametrize("fault", ["status:500", "status:429", "status:503", "garbage"])
def test_the_sdk_does_not_multiply_our_attempts(
    vendors: Vendors, vendor: Vendor, fault: str
) -> None:
    counted = []
    for retries in (0, 2):
        model = vendor.take_model()
        vendor.sim.plan.replace([fault], repeat=True)
        before = len(vendor.sim.calls)
        client = sdk(vendors.gateway, max_retries=retries)
        with client, pytest.raises(openai.APIStatusError):
            client.chat.completions.create(model=model, messages=said("x"))
        counted.append(len(vendor.sim.calls) - before)
    assert counted[0] == counted[1] <= 3
