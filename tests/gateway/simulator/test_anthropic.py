"""The official anthropic SDK takes the simulator for its server."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import anthropic
import pytest

from tests.upstreams.simulators import RunningSimulator, running_simulator

SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}
TOOLS: Any = [
    {"name": "get_weather", "input_schema": SCHEMA},
    {"name": "get_time", "input_schema": SCHEMA},
]


@pytest.fixture(scope="module")
def sim() -> Iterator[RunningSimulator]:
    with running_simulator() as running:
        yield running


@pytest.fixture
def client(sim: RunningSimulator) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(
        base_url=sim.url,
        api_key="any",
        max_retries=0,
        _strict_response_validation=True,
    ) as made:
        yield made


def said(text: str) -> Any:
    return [{"role": "user", "content": text}]


def text_of(message: anthropic.types.Message) -> str:
    return "".join(block.text for block in message.content if block.type == "text")


def test_a_whole_answer_echoes_and_names_itself(client: anthropic.Anthropic) -> None:
    raw = client.messages.with_raw_response.create(
        model="claude", max_tokens=100, messages=said("Say hello")
    )
    message = raw.parse()
    assert "simulated" in text_of(message)
    assert text_of(message).endswith("Say hello")
    assert raw.headers["x-ailb-simulated"] == "true"
    assert raw.headers["request-id"].startswith("req_sim_")
    assert (message.stop_reason, message.stop_sequence) == ("end_turn", None)
    assert message.usage.output_tokens > 0


def test_a_stream_follows_the_event_grammar_and_adds_up(
    client: anthropic.Anthropic,
) -> None:
    whole = client.messages.create(model="m", max_tokens=99, messages=said("Hello"))
    with client.messages.stream(
        model="m", max_tokens=99, messages=said("Hello")
    ) as stream:
        kinds = [event.type for event in stream]
        final = stream.get_final_message()
    raw_kinds = [k for k in kinds if k != "text"]
    assert raw_kinds[:2] == ["message_start", "content_block_start"]
    assert raw_kinds[-3:] == ["content_block_stop", "message_delta", "message_stop"]
    assert set(raw_kinds[2:-3]) == {"content_block_delta"}
    assert text_of(final) == text_of(whole)
    assert final.usage.output_tokens == whole.usage.output_tokens
    assert final.usage.input_tokens == whole.usage.input_tokens


async def test_the_async_client_streams_too(sim: RunningSimulator) -> None:
    async with (
        anthropic.AsyncAnthropic(base_url=sim.url, api_key="any") as client,
        client.messages.stream(
            model="m", max_tokens=99, messages=said("Hello")
        ) as stream,
    ):
        text = "".join([piece async for piece in stream.text_stream])
    assert text.endswith("Hello")


def test_tools_are_called_whole_and_streamed_alike(client: anthropic.Anthropic) -> None:
    whole = client.messages.create(
        model="m", max_tokens=99, messages=said("Use both tools"), tools=TOOLS
    )
    with client.messages.stream(
        model="m", max_tokens=99, messages=said("Use both tools"), tools=TOOLS
    ) as stream:
        streamed = stream.get_final_message()
    for message in (whole, streamed):
        assert message.stop_reason == "tool_use"
        assert [(b.name, b.input) for b in message.content if b.type == "tool_use"] == [
            ("get_weather", {"city": "simulated"}),
            ("get_time", {"city": "simulated"}),
        ]


def test_a_tool_result_is_mentioned_in_the_answer(client: anthropic.Anthropic) -> None:
    first = client.messages.create(
        model="m",
        max_tokens=99,
        messages=said("x"),
        tools=TOOLS,
        tool_choice={"type": "tool", "name": "get_time"},
    )
    (block,) = first.content
    assert block.type == "tool_use"
    result = {"type": "tool_result", "tool_use_id": block.id, "content": "noon"}
    history: Any = [
        *said("x"),
        {"role": "assistant", "content": first.content},
        {"role": "user", "content": [result]},
    ]
    second = client.messages.create(
        model="m", max_tokens=99, tools=TOOLS, messages=history
    )
    assert "noon" in text_of(second)


def test_thinking_comes_first_with_a_signature(client: anthropic.Anthropic) -> None:
    options: Any = {
        "model": "m",
        "max_tokens": 2000,
        "messages": said("Why?"),
        "thinking": {"type": "enabled", "budget_tokens": 1024},
    }
    whole = client.messages.create(**options)
    with client.messages.stream(**options) as stream:
        streamed = stream.get_final_message()
    for message in (whole, streamed):
        assert [block.type for block in message.content] == ["thinking", "text"]
        thinking = message.content[0]
        assert isinstance(thinking, anthropic.types.ThinkingBlock)
        assert "Why?" in thinking.thinking
        assert thinking.signature
        details = message.usage.output_tokens_details
        assert details is not None
        assert 0 < details.thinking_tokens < message.usage.output_tokens


def test_stop_sequence_and_max_tokens_are_told_apart(
    client: anthropic.Anthropic,
) -> None:
    stopped = client.messages.create(
        model="m", max_tokens=99, messages=said("x"), stop_sequences=["answer"]
    )
    cut = client.messages.create(model="m", max_tokens=2, messages=said("x"))
    assert (stopped.stop_reason, stopped.stop_sequence) == ("stop_sequence", "answer")
    assert (cut.stop_reason, cut.usage.output_tokens) == ("max_tokens", 2)


def test_a_schema_is_answered_with_json(client: anthropic.Anthropic) -> None:
    message = client.messages.create(
        model="m",
        max_tokens=99,
        messages=said("x"),
        output_config={"format": {"type": "json_schema", "schema": SCHEMA}},
    )
    assert text_of(message) == '{"city":"simulated"}'


def test_a_marked_prompt_is_written_to_the_cache_and_then_read(
    client: anthropic.Anthropic,
) -> None:
    system: Any = [
        {
            "type": "text",
            "text": "A long and unique instruction for this very test. " * 3,
            "cache_control": {"type": "ephemeral"},
        }
    ]
    first, second = (
        client.messages.create(
            model="m", max_tokens=9, messages=said("x"), system=system
        ).usage
        for _ in range(2)
    )
    written = first.cache_creation_input_tokens
    assert written
    assert first.cache_read_input_tokens == second.cache_creation_input_tokens == 0
    assert second.cache_read_input_tokens == written
    assert first.input_tokens == second.input_tokens > 0


def test_models_are_listed_for_clients_that_send_the_version(
    client: anthropic.Anthropic,
) -> None:
    listed = [model.id for model in client.models.list()]
    assert listed == ["claude-3-opus-20240229", "claude-3-sonnet-20240229"]
    assert client.models.retrieve("claude-x").display_name == "claude-x (simulated)"


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ("status:401", anthropic.AuthenticationError),
        ("status:404", anthropic.NotFoundError),
        ("status:429", anthropic.RateLimitError),
        ("status:529", anthropic.InternalServerError),
    ],
)
def test_scripted_errors_raise_the_sdks_own_classes(
    sim: RunningSimulator,
    client: anthropic.Anthropic,
    fault: str,
    expected: type[Exception],
) -> None:
    sim.plan.replace([fault])
    with pytest.raises(expected):
        client.messages.create(model="m", max_tokens=9, messages=said("x"))


def test_an_error_inside_a_stream_raises(
    sim: RunningSimulator, client: anthropic.Anthropic
) -> None:
    sim.plan.replace(["error_event_after:4"])
    with (
        client.messages.stream(model="m", max_tokens=99, messages=said("x")) as stream,
        pytest.raises(anthropic.APIStatusError, match="Overloaded"),
    ):
        stream.until_done()


@pytest.mark.parametrize("header", ["x-api-key", "authorization"])
def test_a_key_is_taken_from_either_header(header: str) -> None:
    with running_simulator(api_key="right") as strict:
        keys: Any = (
            {"api_key": "right"} if header == "x-api-key" else {"auth_token": "right"}
        )
        with anthropic.Anthropic(base_url=strict.url, max_retries=0, **keys) as client:
            client.messages.create(model="m", max_tokens=9, messages=said("x"))
        with (
            anthropic.Anthropic(
                base_url=strict.url, api_key="wrong", max_retries=0
            ) as client,
            pytest.raises(anthropic.AuthenticationError, match="invalid x-api-key"),
        ):
            client.messages.create(model="m", max_tokens=9, messages=said("x"))
