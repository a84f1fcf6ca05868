"""Chat requests as bodies of Anthropic's Messages API."""

from __future__ import annotations

import hashlib
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given, strategies as st

from gateway.dialects.anthropic.request import JSON_OBJECT_INSTRUCTION
from gateway.dialects.anthropic.thinking import DEFAULT_MAX_TOKENS
from gateway.dialects.record import (
    File,
    Image,
    JsonFormat,
    Message,
    Role,
    Text,
    Tool,
    ToolCall,
    ToolChoice,
    ToolMode,
)
from gateway.kinds import Fault
from gateway.snapshot import Capabilities
from tests.gateway.dialects.anthropic_requests import (
    NATIVE,
    SCHEMA,
    THOUGHT,
    UNTYPED,
    USER,
    WEATHER,
    assert_typed,
    build,
    refused,
)


def test_the_least_request():
    body, built = build()
    assert body == {
        "model": "claude-opus-4-6",
        "max_tokens": DEFAULT_MAX_TOKENS,
        "messages": [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}],
        "stream": False,
    }
    assert (built.dropped, built.tool_names, built.json_tool) == ((), {}, None)
    assert_typed(body)


def test_the_whole_of_a_request_is_what_the_sdk_types():
    png = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAAB"
    body, built = build(
        Message(Role.SYSTEM, (Text("Be brief."),)),
        Message(
            Role.USER,
            (
                Text("Look"),
                Image("image/png", png),
                Image(url="https://a.test/a.png"),
                File("a.pdf", "application/pdf", "JVBERi0xLjcKJcOkw7zDtsOf"),
            ),
        ),
        Message(
            Role.ASSISTANT,
            (Text("I look."),),
            tool_calls=(ToolCall("c.1", "get_weather", '{"city": "Paris"}'),),
            thinking_blocks=(THOUGHT, {"type": "redacted_thinking", "data": "Emw"}),
        ),
        Message(
            Role.TOOL, (Text("22 °C"), Image("image/png", png)), tool_call_id="c.1"
        ),
        Message(Role.SYSTEM, (Text("Now rhyme."),)),
        capabilities=Capabilities(
            json_schema=True, reasoning="adaptive", mid_conversation_system=True
        ),
        tools=(WEATHER, Tool("a.b", strict=True)),
        tool_choice=ToolChoice(ToolMode.AUTO),
        parallel_tool_calls=False,
        json_format=JsonFormat(SCHEMA),
        reasoning_effort="high",
        max_tokens=2000,
        stop=("END", " "),
        user="ada@example.org",
        service_tier="auto",
        stream=True,
    )
    assert_typed(body)
    assert built.dropped == ()
    assert [turn["role"] for turn in body["messages"]] == [
        "user",
        "assistant",
        "user",
        "system",
    ]
    assert (body["stop_sequences"], body["stream"]) == (["END"], True)
    digest = hashlib.sha256(b"ada@example.org").hexdigest()
    assert body["metadata"] == {"user_id": digest[:32]}


@pytest.mark.parametrize(
    ("asked", "ceiling", "option", "sent"),
    [
        (None, None, None, 4096),
        (None, 8192, None, 8192),
        (None, None, 1000, 1000),
        (None, 500, 1000, 500),
        (100, None, 1000, 100),
        (100_000, 8192, None, 8192),
        (100_000, None, None, 100_000),
    ],
)
def test_the_limit_is_the_clients_up_to_what_the_model_can_write(
    asked, ceiling, option, sent
):
    body, _ = build(
        max_tokens=asked,
        capabilities=Capabilities(max_output_tokens=ceiling),
        options={"max_tokens": option} if option else None,
    )
    assert body["max_tokens"] == sent


@pytest.mark.parametrize(
    ("fields", "sent", "dropped"),
    [
        ({}, {}, ()),
        ({"temperature": 0.0}, {"temperature": 0.0}, ()),
        ({"temperature": 1.7}, {"temperature": 1.0}, ()),
        ({"top_p": 0.9, "top_k": 5}, {"top_p": 0.9, "top_k": 5}, ()),
        ({"temperature": 0.5, "top_p": 0.9}, {"temperature": 0.5}, ("top_p",)),
    ],
)
def test_sampling_is_clamped_and_never_both_ways_at_once(fields, sent, dropped):
    body, built = build(**fields)
    assert {key: body[key] for key in UNTYPED if key in body} == sent
    assert built.dropped == dropped


def test_a_model_without_sampling_gets_none_and_the_client_is_told():
    body, built = build(
        temperature=0.5, top_p=0.9, top_k=5, capabilities=Capabilities(sampling=False)
    )
    assert not set(UNTYPED) & set(body)
    assert built.dropped == ("temperature", "top_p", "top_k")


@pytest.mark.parametrize(
    ("fields", "dropped"),
    [
        ({"min_p": 0.1}, ("min_p",)),
        ({"frequency_penalty": 1.0}, ("frequency_penalty",)),
        ({"presence_penalty": -1.0}, ("presence_penalty",)),
        ({"presence_penalty": 0.0, "frequency_penalty": 0.0}, ()),
        ({"seed": 0}, ("seed",)),
        ({"service_tier": "flex"}, ("service_tier",)),
        (
            {"extras": {"logit_bias": {"1": 2}, "verbosity": "low", "store": True}},
            ("logit_bias", "verbosity", "store"),
        ),
        (
            {
                "extras": {
                    "cache_control": {"type": "ephemeral"},
                    "anthropic_beta": ["x"],
                }
            },
            ("cache_control", "anthropic_beta"),
        ),
        ({"extras": {"thinking": "yes"}}, ("thinking",)),
    ],
)
def test_what_has_no_twin_is_left_out_and_named(fields, dropped):
    body, built = build(**fields)
    assert built.dropped == dropped
    assert body == build()[0]


def test_a_speakers_name_is_left_out_and_named():
    _, built = build(Message(Role.USER, (Text("Hi"),), name="ada"))
    assert built.dropped == ("messages.name",)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"choices": 2}, "n"),
        ({"logprobs": True}, "logprobs"),
        ({"top_logprobs": 3}, "logprobs"),
        ({"extras": {"modalities": ["text", "audio"]}}, "modalities"),
        ({"tools": (WEATHER,), "capabilities": Capabilities(tools=False)}, "tools"),
        (
            {
                "tools": (WEATHER,),
                "tool_choice": ToolChoice(ToolMode.REQUIRED),
                "capabilities": Capabilities(forced_tool_choice=False),
            },
            "tool_choice",
        ),
        ({"json_format": JsonFormat({"type": "array"})}, "response_format"),
    ],
)
def test_what_the_answer_would_lack_is_refused(fields, param):
    assert refused(**fields) == (Fault.UNSUPPORTED_PARAMETER, param)


def test_the_end_user_is_told_apart_but_not_named():
    users = [
        build(user="ada@example.org")[0]["metadata"],
        build(user="ada@example.org")[0]["metadata"],
        build(user="bob@example.org")[0]["metadata"],
    ]
    assert users[0] == users[1] != users[2]
    assert set(users[0]["user_id"]) <= set("0123456789abcdef")


def test_the_rows_options_are_defaults_that_the_request_overrides():
    body, _ = build(
        capabilities=NATIVE,
        json_format=JsonFormat(SCHEMA),
        temperature=0.1,
        options={
            "service_tier": "standard_only",
            "temperature": 0.9,
            "stream": True,
            "model": "other",
            "output_config": {"effort": "low"},
            "metadata": MappingProxyType({"user_id": "row"}),
        },
    )
    assert (body["service_tier"], body["temperature"]) == ("standard_only", 0.1)
    assert (body["stream"], body["model"]) == (False, "claude-opus-4-6")
    assert body["output_config"]["effort"] == "low"
    assert body["output_config"]["format"]["type"] == "json_schema"
    assert body["metadata"] == {"user_id": "row"}


def test_any_json_object_is_asked_for_in_words():
    system = Message(Role.SYSTEM, (Text("Be brief."),))
    body, _ = build(system, USER, json_format=JsonFormat())
    assert body["system"] == f"Be brief.\n\n{JSON_OBJECT_INSTRUCTION}"


@pytest.mark.parametrize(
    "messages",
    [
        (Message(Role.USER, (Text("half a pair: \ud83d"),)),),
        (USER, Message(Role.ASSISTANT, tool_calls=(ToolCall("1", "f", "\ud83d"),))),
    ],
)
def test_text_that_is_not_unicode_is_refused_as_the_callers(messages):
    assert refused(*messages)[0] is Fault.REJECTED


def test_building_twice_gives_the_same_and_changes_nothing():
    fields: dict[str, Any] = {
        "tools": (WEATHER,),
        "json_format": JsonFormat(SCHEMA),
        "extras": {"thinking": {"type": "disabled"}},
    }
    assert build(**fields)[1] == build(**fields)[1]
    assert WEATHER.parameters is not None
    assert "additionalProperties" not in WEATHER.parameters


@given(
    st.builds(
        dict,
        tools=st.sampled_from([(), (WEATHER,), (WEATHER, Tool("a.b", strict=True))]),
        tool_choice=st.sampled_from(
            [None, *(ToolChoice(m) for m in list(ToolMode)[:3])]
        ),
        parallel_tool_calls=st.sampled_from([None, True, False]),
        json_format=st.sampled_from([None, JsonFormat(), JsonFormat(SCHEMA)]),
        max_tokens=st.sampled_from([None, 1, 1500, 50_000]),
        reasoning_effort=st.sampled_from([None, "none", "low", "high", "max"]),
        temperature=st.sampled_from([None, 0.0, 2.0]),
        capabilities=st.builds(
            Capabilities,
            json_schema=st.sampled_from([None, True]),
            sampling=st.sampled_from([None, False]),
            reasoning=st.sampled_from([None, "none", "budget", "adaptive", "always"]),
            max_output_tokens=st.sampled_from([None, 2000, 64_000]),
        ),
    )
)
def test_any_request_obeys_the_vendors_rules(fields):
    body, _ = build(**fields)
    assert_typed(body)
    thinking = body.get("thinking", {})
    if thinking.get("type") == "enabled":
        assert 1024 <= thinking["budget_tokens"] < body["max_tokens"]
    if thinking.get("type") in ("enabled", "adaptive"):
        assert body.get("tool_choice", {"type": "auto"})["type"] in ("auto", "none")
        assert not set(UNTYPED) & set(body)
    assert "tools" in body or "tool_choice" not in body
    assert body["max_tokens"] <= (fields["capabilities"].max_output_tokens or 10**9)
