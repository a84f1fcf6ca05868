"""The official ollama SDK takes the simulator for its server."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import ollama
import orjson
import pytest
from hypothesis import given, settings, strategies as st

from gateway.simulator import Behaviour, ollama as wire
from gateway.simulator.exchange import Call, RefusalError
from tests.upstreams.simulators import RunningSimulator, running_simulator

SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
}
TOOLS = [
    {"type": "function", "function": {"name": "get_weather", "parameters": SCHEMA}},
    {"type": "function", "function": {"name": "get_time", "parameters": SCHEMA}},
]


@pytest.fixture(scope="module")
def sim() -> Iterator[RunningSimulator]:
    with running_simulator(models=["llama3", "all-minilm"]) as running:
        yield running


@pytest.fixture
def client(sim: RunningSimulator) -> Iterator[ollama.Client]:
    with ollama.Client(host=sim.url) as made:
        yield made


def said(text: str) -> Any:
    return [{"role": "user", "content": text}]


def test_a_whole_answer_echoes_and_names_itself(client: ollama.Client) -> None:
    answer = client.chat("llama3", said("Say hello"))
    text = answer.message.content or ""
    assert "simulated" in text
    assert text.endswith("Say hello")
    assert (answer.done, answer.done_reason) == (True, "stop")
    assert answer.eval_count
    assert answer.prompt_eval_count


def test_a_stream_says_the_same_and_counts_the_same(client: ollama.Client) -> None:
    whole = client.chat("llama3", said("Say hello"))
    lines = list(client.chat("llama3", said("Say hello"), stream=True))
    assert "".join(n.message.content or "" for n in lines) == whole.message.content
    assert [line.done for line in lines[:-1]] == [False] * (len(lines) - 1)
    last = lines[-1]
    assert (last.done, last.done_reason) == (True, "stop")
    assert (last.eval_count, last.prompt_eval_count) == (
        whole.eval_count,
        whole.prompt_eval_count,
    )


async def test_the_async_client_streams_too(sim: RunningSimulator) -> None:
    async with ollama.AsyncClient(host=sim.url) as client:
        stream = await client.chat("llama3", said("Say hello"), stream=True)
        text = "".join([line.message.content or "" async for line in stream])
    assert text.endswith("Say hello")


def test_tools_are_called_whole_and_streamed_alike(client: ollama.Client) -> None:
    whole = client.chat("llama3", said("Use both tools"), tools=TOOLS)
    lines = client.chat("llama3", said("Use both tools"), tools=TOOLS, stream=True)
    streamed = [call for line in lines for call in line.message.tool_calls or []]
    for calls in (whole.message.tool_calls or [], streamed):
        assert [(c.function.name, c.function.arguments) for c in calls] == [
            ("get_weather", {"city": "simulated"}),
            ("get_time", {"city": "simulated"}),
        ]


def test_a_tool_result_is_mentioned_in_the_answer(client: ollama.Client) -> None:
    first = client.chat("llama3", said("Use get_time"), tools=TOOLS)
    result = {"role": "tool", "tool_name": "get_time", "content": "noon"}
    history = [*said("Use get_time"), first.message, result]
    second = client.chat("llama3", history, tools=TOOLS)
    assert "noon" in (second.message.content or "")


def test_json_schema_thinking_images_and_limits(client: ollama.Client) -> None:
    shaped = client.chat("llama3", said("x"), format=SCHEMA)
    assert shaped.message.content == '{"city":"simulated"}'
    free = client.chat("llama3", said("x"), format="json")
    assert orjson.loads(free.message.content or "")["echo"] == "x"
    thoughtful = client.chat("llama3", said("Why?"), think=True)
    assert "Why?" in (thoughtful.message.thinking or "")
    image = [{"role": "user", "content": "Look", "images": [b"\x89PNG"]}]
    assert (client.chat("llama3", image).message.content or "").endswith("Look")
    cut = client.chat("llama3", said("x"), options={"num_predict": 2})
    assert (cut.done_reason, cut.eval_count) == ("length", 2)


def test_texts_are_embedded(client: ollama.Client) -> None:
    answer = client.embed("all-minilm", ["one", "two"])
    assert [len(vector) for vector in answer.embeddings] == [384, 384]
    assert answer.embeddings[0] == client.embed("all-minilm", "one").embeddings[0]
    assert answer.prompt_eval_count == 2


def test_the_models_are_listed_shown_and_loaded(client: ollama.Client) -> None:
    names = ["llama3:latest", "all-minilm:latest"]
    assert [m.model for m in client.list().models] == names
    assert [m.model for m in client.ps().models] == names
    assert "tools" in (client.show("llama3").capabilities or [])
    assert client.show("all-minilm").capabilities == ["embedding"]


def test_an_unknown_model_is_404(client: ollama.Client) -> None:
    with pytest.raises(ollama.ResponseError, match="model 'nope' not found") as error:
        client.chat("nope", said("x"))
    assert error.value.status_code == 404


def test_a_line_with_an_error_raises(
    sim: RunningSimulator, client: ollama.Client
) -> None:
    sim.plan.replace(["error_event_after:2"])
    with pytest.raises(ollama.ResponseError, match="Internal Server Error"):
        list(client.chat("llama3", said("x"), stream=True))


def call(body: Any) -> Call:
    return Call(
        number=1,
        now=datetime(2026, 1, 1, tzinfo=UTC),
        behaviour=Behaviour(),
        models=None,
        body=body,
        headers={},
    )


def test_streaming_is_the_default_and_an_empty_chat_loads_the_model() -> None:
    assert wire.chat(call({"model": "m", "messages": said("x")})).is_stream
    loaded = orjson.loads(wire.chat(call({"model": "m"})).body)
    assert (loaded["done"], loaded["done_reason"]) == (True, "load")


@pytest.mark.parametrize(
    "change",
    [
        {"model": None},
        {"messages": "x"},
        {"messages": [{"role": "user", "content": [{"type": "text"}]}]},
        {"messages": [{"role": "user", "content": "x", "images": ["not base64!"]}]},
        {
            "messages": [
                {
                    "role": "assistant",
                    "content": "",
                    "tool_calls": [{"function": {"name": "f", "arguments": "{}"}}],
                }
            ]
        },
        {"format": "xml"},
        {"think": "extreme"},
        {"options": {"num_predict": "many"}},
        {"tools": [{"type": "function"}]},
    ],
)
def test_a_bad_request_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(RefusalError) as refusal:
        wire.chat(call({"model": "m", "messages": said("x")} | change))
    assert refusal.value.status == 400


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from(["user", "json"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "role",
                    "content",
                    "images",
                    "tool_calls",
                    "function",
                    "name",
                    "arguments",
                    "stop",
                    "num_predict",
                    "type",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=8,
)
FIELDS = st.sampled_from(
    [
        "messages",
        "tools",
        "format",
        "options",
        "think",
        "stream",
        "input",
        "logprobs",
        "top_logprobs",
        "dimensions",
    ]
)


@settings(max_examples=200)
@given(st.dictionaries(FIELDS, JUNK, max_size=4), st.lists(JUNK, max_size=2))
def test_junk_is_refused_or_answered_but_never_crashes(
    junk: dict[str, Any], messages: list[Any]
) -> None:
    for body in ({"model": "m"} | junk, {"model": "m", "messages": messages}):
        for handler in (wire.chat, wire.embed_texts, wire.show):
            with suppress(RefusalError):
                handler(call(body))
