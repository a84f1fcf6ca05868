"""The official openai SDK takes the simulator for its server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import openai
import pytest

from gateway.simulator import Behaviour
from tests.upstreams.simulators import RunningSimulator, running_simulator

SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
    "required": ["city", "days"],
    "additionalProperties": False,
}
TOOLS: Any = [
    {"type": "function", "function": {"name": "get_weather", "parameters": SCHEMA}},
    {"type": "function", "function": {"name": "get_time", "parameters": SCHEMA}},
]


@pytest.fixture(scope="module")
def sim() -> Iterator[RunningSimulator]:
    with running_simulator() as running:
        yield running


@pytest.fixture
def client(sim: RunningSimulator) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(
        base_url=sim.openai_url,
        api_key="any",
        max_retries=0,
        _strict_response_validation=True,
    ) as made:
        yield made


def said(text: str) -> Any:
    return [{"role": "user", "content": text}]


def test_a_whole_answer_echoes_and_names_itself(client: openai.OpenAI) -> None:
    raw = client.chat.completions.with_raw_response.create(
        model="gpt-4", messages=said("Say hello")
    )
    answer = raw.parse()
    text = answer.choices[0].message.content or ""
    assert "simulated" in text
    assert text.endswith("Say hello")
    assert raw.headers["x-ailb-simulated"] == "true"
    assert answer.choices[0].finish_reason == "stop"
    assert (answer.model, answer.object) == ("gpt-4", "chat.completion")


def test_a_stream_says_the_same_and_counts_the_same(client: openai.OpenAI) -> None:
    whole = client.chat.completions.create(model="m", messages=said("Say hello"))
    chunks = list(
        client.chat.completions.create(
            model="m",
            messages=said("Say hello"),
            stream=True,
            stream_options={"include_usage": True},
        )
    )
    text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert text == whole.choices[0].message.content
    assert chunks[-1].usage == whole.usage
    assert chunks[-1].choices == []
    assert [c.usage for c in chunks[:-1]] == [None] * (len(chunks) - 1)
    assert len({c.id for c in chunks}) == 1
    assert [c.choices[0].finish_reason for c in chunks[:-1]][-1] == "stop"


def test_no_usage_is_streamed_unless_asked_for(client: openai.OpenAI) -> None:
    stream = client.chat.completions.create(model="m", messages=said("x"), stream=True)
    assert all(chunk.usage is None for chunk in stream)


async def test_the_async_client_streams_too(sim: RunningSimulator) -> None:
    async with openai.AsyncOpenAI(base_url=sim.openai_url, api_key="any") as client:
        stream = await client.chat.completions.create(
            model="m", messages=said("Say hello"), stream=True
        )
        text = ""
        async for chunk in stream:
            text += chunk.choices[0].delta.content or ""
    assert text.endswith("Say hello")


def test_a_tool_is_called_with_arguments_that_fit(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(
        model="m", messages=said("Use get_time"), tools=TOOLS
    )
    assert answer.choices[0].finish_reason == "tool_calls"
    (call,) = answer.choices[0].message.tool_calls or []
    assert call.type == "function"
    assert call.function.name == "get_time"
    assert json.loads(call.function.arguments) == {"city": "simulated", "days": 1}
    assert answer.choices[0].message.content is None


def test_parallel_calls_are_streamed_by_index(client: openai.OpenAI) -> None:
    stream = client.chat.completions.create(
        model="m", messages=said("Use both tools"), tools=TOOLS, stream=True
    )
    calls: dict[int, list[str]] = {}
    names: dict[int, str] = {}
    for chunk in stream:
        for part in chunk.choices[0].delta.tool_calls or []:
            assert part.function is not None
            calls.setdefault(part.index, []).append(part.function.arguments or "")
            if part.function.name:
                names[part.index] = part.function.name
    assert names == {0: "get_weather", 1: "get_time"}
    assert [json.loads("".join(parts)) for parts in calls.values()] == [
        {"city": "simulated", "days": 1}
    ] * 2


def test_a_tool_result_is_mentioned_in_the_answer(client: openai.OpenAI) -> None:
    first = client.chat.completions.create(
        model="m", messages=said("x"), tools=TOOLS, tool_choice="required"
    )
    message = first.choices[0].message
    assert message.tool_calls
    history: Any = [
        *said("x"),
        message.model_dump(exclude_none=True),
        {
            "role": "tool",
            "tool_call_id": message.tool_calls[0].id,
            "content": "12 degrees",
        },
    ]
    second = client.chat.completions.create(model="m", messages=history, tools=TOOLS)
    assert "12 degrees" in (second.choices[0].message.content or "")


def test_a_schema_is_answered_with_json_that_satisfies_it(
    client: openai.OpenAI,
) -> None:
    answer = client.chat.completions.create(
        model="m",
        messages=said("x"),
        response_format={
            "type": "json_schema",
            "json_schema": {"name": "trip", "schema": SCHEMA, "strict": True},
        },
    )
    content = json.loads(answer.choices[0].message.content or "")
    assert content == {"city": "simulated", "days": 1}


def test_json_mode_answers_with_an_object(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(
        model="m", messages=said("as json"), response_format={"type": "json_object"}
    )
    assert json.loads(answer.choices[0].message.content or "")["echo"] == "as json"


def test_max_tokens_cuts_with_finish_length(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(
        model="m", messages=said("x"), max_completion_tokens=3
    )
    assert answer.choices[0].finish_reason == "length"
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 3


def test_several_choices_and_logprobs_are_given_when_asked(
    client: openai.OpenAI,
) -> None:
    answer = client.chat.completions.create(
        model="m", messages=said("x"), n=2, logprobs=True, top_logprobs=3
    )
    assert [choice.index for choice in answer.choices] == [0, 1]
    logprobs = answer.choices[1].logprobs
    assert logprobs is not None
    tokens = logprobs.content or []
    assert "".join(t.token for t in tokens) == answer.choices[1].message.content
    assert {len(t.top_logprobs) for t in tokens} == {3}


def test_an_image_is_accepted(client: openai.OpenAI) -> None:
    url = "data:image/png;base64,iVBORw0KGgo="
    content = [
        {"type": "text", "text": "What is this?"},
        {"type": "image_url", "image_url": {"url": url}},
    ]
    messages: Any = [{"role": "user", "content": content}]
    answer = client.chat.completions.create(model="m", messages=messages)
    assert (answer.choices[0].message.content or "").endswith("What is this?")
    assert answer.usage is not None
    assert answer.usage.prompt_tokens > 85


def test_embeddings_agree_as_floats_and_as_base64(sim: RunningSimulator) -> None:
    # The SDK's own validation is off: it cannot take the base64 that it asks for.
    with openai.OpenAI(base_url=sim.openai_url, api_key="any") as client:
        floats = client.embeddings.create(
            model="e", input=["one", "two"], encoding_format="float"
        )
        packed = client.embeddings.create(model="e", input=["one", "two"])
        short = client.embeddings.create(model="e", input="one", dimensions=8)
    for a, b in zip(floats.data, packed.data, strict=True):
        assert b.embedding == pytest.approx(a.embedding, abs=1e-6)
    assert floats.data[0].embedding != floats.data[1].embedding
    assert (len(floats.data[0].embedding), len(short.data[0].embedding)) == (1536, 8)
    assert floats.usage.prompt_tokens == floats.usage.total_tokens == 2


def test_embeddings_stay_floats_where_the_server_knows_no_base64() -> None:
    with (
        running_simulator(behaviour=Behaviour(floats_only=True)) as floats_only,
        openai.OpenAI(
            base_url=floats_only.openai_url,
            api_key="any",
            _strict_response_validation=True,
        ) as client,
    ):
        answer = client.embeddings.create(model="e", input="one")
    assert len(answer.data[0].embedding) == 1536


def test_models_are_listed_and_found(client: openai.OpenAI) -> None:
    assert [m.id for m in client.models.list()] == ["gpt-4", "gpt-3.5-turbo"]
    assert client.models.retrieve("org/any-name").id == "org/any-name"


def test_only_configured_models_and_the_right_key_are_known() -> None:
    with running_simulator(models=["a", "b"], api_key="right") as strict:
        good = openai.OpenAI(base_url=strict.openai_url, api_key="right", max_retries=0)
        bad = openai.OpenAI(base_url=strict.openai_url, api_key="wrong", max_retries=0)
        with good, bad:
            assert [m.id for m in good.models.list()] == ["a", "b"]
            with pytest.raises(openai.NotFoundError) as missing:
                good.chat.completions.create(model="c", messages=said("x"))
            with pytest.raises(openai.AuthenticationError) as refused:
                bad.chat.completions.create(model="a", messages=said("x"))
    assert missing.value.code == "model_not_found"
    assert refused.value.code == "invalid_api_key"
    assert "wrong" not in str(refused.value)


def test_a_scripted_error_raises_the_sdks_own_class(sim: RunningSimulator) -> None:
    sim.plan.replace(["status:429:retry_after=3", "error_event_after:4"])
    with openai.OpenAI(base_url=sim.openai_url, api_key="any", max_retries=0) as client:
        with pytest.raises(openai.RateLimitError) as limited:
            client.chat.completions.create(model="m", messages=said("x"))
        assert limited.value.response.headers["retry-after"] == "3"
        stream = client.chat.completions.create(
            model="m", messages=said("x"), stream=True
        )
        received: list[object] = []
        with pytest.raises(openai.APIError, match="server had an error"):
            received.extend(stream)
