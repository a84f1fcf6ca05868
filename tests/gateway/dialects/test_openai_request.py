"""What the door accepts of OpenAI's chat requests, and how it refuses the rest."""

from __future__ import annotations

from typing import get_type_hints

import orjson
import pytest

from gateway.dialects.openai.request import OWN_FIELDS, ChatCall, parse_chat
from gateway.errors import InvalidRequest
from gateway.kinds import Operation
from gateway.snapshot import Capabilities
from rag.attributes import parse_filter

USER = {"role": "user", "content": "hello"}
TOOL = {"type": "function", "function": {"name": "weather"}}

# Every parameter of the official client's `create`, as its own generated tests send it.
EVERYTHING = {
    "messages": [{"content": "string", "role": "developer", "name": "name"}],
    "model": "gpt-6-astra",
    "audio": {"format": "wav", "voice": "alloy"},
    "frequency_penalty": -2,
    "function_call": "none",
    "functions": [
        {"name": "name", "description": "description", "parameters": {"foo": "bar"}}
    ],
    "logit_bias": {"foo": 0},
    "logprobs": True,
    "max_completion_tokens": 0,
    "max_tokens": 0,
    "metadata": {"foo": "string"},
    "modalities": ["text"],
    "moderation": {"model": "model", "policy": {"input": {"mode": "score"}}},
    "n": 1,
    "parallel_tool_calls": True,
    "prediction": {"content": "string", "type": "content"},
    "presence_penalty": -2,
    "prompt_cache_key": "prompt-cache-key-1234",
    "prompt_cache_options": {"mode": "implicit", "ttl": "30m"},
    "prompt_cache_retention": "in_memory",
    "reasoning_effort": "none",
    "response_format": {"type": "text"},
    "safety_identifier": "safety-identifier-1234",
    "seed": -9007199254740991,
    "service_tier": "auto",
    "stop": "\n",
    "store": True,
    "stream": False,
    "stream_options": {"include_obfuscation": True, "include_usage": True},
    "temperature": 1,
    "tool_choice": "none",
    "tools": [
        {
            "function": {
                "name": "name",
                "description": "description",
                "parameters": {"foo": "bar"},
                "strict": True,
            },
            "type": "function",
        }
    ],
    "top_logprobs": 0,
    "top_p": 1,
    "user": "user-1234",
    "verbosity": "low",
    "web_search_options": {"search_context_size": "low"},
}


def a_body(**fields: object) -> bytes:
    return orjson.dumps({"model": "m", "messages": [USER]} | fields)


def parsed(**fields: object) -> ChatCall:
    return parse_chat(a_body(**fields))


def refusal(body: bytes) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as caught:
        parse_chat(body)
    return caught.value


def test_a_bare_request_is_read():
    call = parsed()
    assert call.dialect == "openai"
    assert call.model == "m"
    assert call.body == {"model": "m", "messages": [USER]}
    assert (call.stream, call.include_usage) == (False, False)
    assert (call.max_tokens, call.session_id, call.rag_top_k) == (None, None, None)
    assert call.rag_collections == ()
    assert call.needs.operation is Operation.CHAT
    assert call.needs.capabilities == frozenset()


def test_everything_the_official_client_can_say_passes_untouched():
    call = parse_chat(orjson.dumps(EVERYTHING))
    assert call.body == EVERYTHING
    assert call.include_usage is True
    assert call.max_tokens == 0
    assert call.needs.capabilities == {"logprobs"}


def test_every_field_may_be_null():
    nulls = dict.fromkeys([*EVERYTHING, *OWN_FIELDS])
    call = parse_chat(orjson.dumps(nulls | {"model": "m", "messages": [USER]}))
    assert call.max_tokens is None
    assert call.needs.capabilities == frozenset()


def test_unknown_fields_are_kept():
    assert parsed(brand_new={"a": [1]}).body["brand_new"] == {"a": [1]}


def test_prompts_never_show_in_the_repr():
    assert "hello" not in repr(parsed())


def test_the_newer_limit_wins():
    call = parsed(max_tokens=5, max_completion_tokens=7)
    assert call.max_tokens == call.needs.max_tokens == 7
    assert parsed(max_tokens=5).max_tokens == 5


def test_ailbs_own_fields_are_read():
    filters = {"type": "eq", "key": "year", "value": 2026}
    call = parsed(
        session_id="s-1",
        rag_collection=" docs, faq,,docs",
        rag_top_k=4,
        rag_filters=filters,
    )
    assert call.session_id == "s-1"
    assert call.rag_collections == ("docs", "faq")
    assert call.rag_top_k == 4
    assert call.rag_filters == parse_filter(filters)
    assert parsed(rag_collection=["a", "b", "a"]).rag_collections == ("a", "b")
    assert parsed(rag_collection="").rag_collections == ()


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"model": None}, "model"),
        ({"model": ""}, "model"),
        ({"model": 5}, "model"),
        ({"model": "x" * 257}, "model"),
        ({"model": "a\nb"}, "model"),
        ({"model": "a\u202eb"}, "model"),
        ({"messages": None}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": "hello"}, "messages"),
        ({"messages": [USER] * 4097}, "messages"),
        ({"messages": [USER, 5]}, "messages[1]"),
        ({"messages": [{"content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": 5, "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "robot", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user"}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": None}]}, "messages[0].content"),
        ({"messages": [{"role": "assistant", "content": None}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": [5]}]}, "messages[0].content[0]"),
        (
            {"messages": [{"role": "user", "content": [{"text": "x"}]}]},
            "messages[0].content[0].type",
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "text"}]}]},
            "messages[0].content[0].text",
        ),
        (
            {"messages": [{"role": "tool", "content": "x"}]},
            "messages[0].tool_call_id",
        ),
        (
            {"messages": [{"role": "assistant", "tool_calls": "x"}]},
            "messages[0].tool_calls",
        ),
        (
            {"messages": [{"role": "assistant", "tool_calls": [1]}]},
            "messages[0].tool_calls[0]",
        ),
        ({"stream": "yes"}, "stream"),
        ({"stream": 1}, "stream"),
        ({"stream_options": []}, "stream_options"),
        ({"stream_options": {"include_usage": 1}}, "stream_options.include_usage"),
        ({"temperature": 2.1}, "temperature"),
        ({"temperature": -0.1}, "temperature"),
        ({"temperature": "1"}, "temperature"),
        ({"temperature": True}, "temperature"),
        ({"top_p": 1.1}, "top_p"),
        ({"frequency_penalty": 3}, "frequency_penalty"),
        ({"presence_penalty": -3}, "presence_penalty"),
        ({"n": 0}, "n"),
        ({"n": 129}, "n"),
        ({"n": 1.0}, "n"),
        ({"n": True}, "n"),
        ({"max_tokens": -1}, "max_tokens"),
        ({"max_completion_tokens": 1.5}, "max_completion_tokens"),
        ({"logprobs": 1}, "logprobs"),
        ({"top_logprobs": 21}, "top_logprobs"),
        ({"seed": "1"}, "seed"),
        ({"stop": 5}, "stop"),
        ({"stop": ["a"] * 5}, "stop"),
        ({"stop": ["a", 5]}, "stop[1]"),
        ({"tools": {}}, "tools"),
        ({"tools": [TOOL, "x"]}, "tools[1]"),
        ({"tool_choice": 1}, "tool_choice"),
        ({"parallel_tool_calls": "no"}, "parallel_tool_calls"),
        ({"functions": [1]}, "functions[0]"),
        ({"response_format": "json"}, "response_format"),
        ({"user": 1}, "user"),
        ({"reasoning_effort": 1}, "reasoning_effort"),
        ({"session_id": ""}, "session_id"),
        ({"session_id": "x" * 257}, "session_id"),
        ({"session_id": "a\x00"}, "session_id"),
        ({"rag_collection": 1}, "rag_collection"),
        ({"rag_collection": "a,b\x00"}, "rag_collection"),
        ({"rag_collection": ["a", 1]}, "rag_collection[1]"),
        ({"rag_collection": ["a", ""]}, "rag_collection[1]"),
        ({"rag_collection": ["a"] * 65}, "rag_collection"),
        ({"rag_collection": ",".join("a" * 65)}, "rag_collection"),
        ({"rag_top_k": 4}, "rag_collection"),
        ({"rag_collection": " , ", "rag_top_k": 4}, "rag_collection"),
        ({"rag_filters": {"type": "eq", "key": "a", "value": 1}}, "rag_collection"),
        ({"rag_collection": "a", "rag_filters": []}, "rag_filters"),
        ({"rag_collection": "a", "rag_filters": {}}, "rag_filters"),
        ({"rag_collection": "a", "rag_filters": {"type": "is"}}, "rag_filters"),
        ({"rag_top_k": 0}, "rag_top_k"),
        ({"rag_top_k": 21}, "rag_top_k"),
    ],
)
def test_a_wrong_field_is_named(fields, param):
    error = refusal(a_body(**fields))
    assert error.param == param
    assert param in error.message


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("temperature", [0, 2, 0.7]),
        ("top_p", [0, 1]),
        ("n", [1, 128]),
        ("top_logprobs", [0, 20]),
        ("seed", [-(2**63), 2**64 - 1]),
        ("rag_top_k", [1, 20]),
        ("stop", ["", [], ["a"] * 4]),
        ("session_id", ["x" * 256]),
        ("rag_collection", [["a"] * 64]),
        ("messages", [[USER] * 4_096]),
    ],
)
def test_the_bounds_themselves_are_allowed(name, values):
    needed = {"rag_collection": "handbook"} if name == "rag_top_k" else {}
    for value in values:
        assert parsed(**{**needed, name: value}).body[name] == value


@pytest.mark.parametrize("name", ["rag_collection", "rag_top_k", "rag_filters"])
def test_where_documents_are_off_their_fields_are_refused_whatever_they_hold(name):
    values: list[object] = ["handbook", "", [], {}, 0, 3, False]
    for value in values:
        with pytest.raises(InvalidRequest) as caught:
            parse_chat(a_body(**{name: value}), has_documents=False)
        assert (caught.value.param, caught.value.code) == (name, "rag_disabled")
        assert "ENABLE_RAG" in caught.value.message
    assert parse_chat(a_body(**{name: None}), has_documents=False).messages


def test_a_number_beyond_64_bits_is_no_integer():
    assert refusal(a_body()[:-1] + b',"seed":18446744073709551616}').param == "seed"


@pytest.mark.parametrize(
    "message",
    [
        {"role": "assistant", "content": None, "tool_calls": []},
        {"role": "assistant", "tool_calls": [{"id": "a", "function": {"name": "f"}}]},
        {"role": "assistant", "function_call": {"name": "f", "arguments": ""}},
        {"role": "assistant", "content": None, "refusal": "no"},
        {"role": "assistant", "content": None, "audio": {"id": "a"}},
        {"role": "assistant", "content": None, "reasoning_content": "hm"},
        {"role": "function", "name": "f", "content": None},
        {
            "role": "tool",
            "tool_call_id": "a",
            "content": [{"type": "text", "text": ""}],
        },
        {"role": "user", "content": [{"type": "brand_new", "x": 1}]},
        {"role": "user", "content": []},
    ],
)
def test_silent_and_unusual_messages_pass(message):
    assert parsed(messages=[USER, message]).body["messages"] == [USER, message]


DATA_URL = "data:image/png;base64,AAAA"


@pytest.mark.parametrize(
    ("fields", "needed"),
    [
        ({"tools": [TOOL]}, {"tools"}),
        ({"tools": [TOOL], "tool_choice": "auto"}, {"tools"}),
        ({"tools": [TOOL], "tool_choice": "none"}, set()),
        ({"tools": []}, set()),
        (
            {"tools": [TOOL], "tool_choice": "required"},
            {"tools", "forced_tool_choice"},
        ),
        ({"tools": [TOOL], "tool_choice": TOOL}, {"tools", "forced_tool_choice"}),
        (
            {
                "tools": [TOOL],
                "tool_choice": {
                    "type": "allowed_tools",
                    "allowed_tools": {"mode": "auto", "tools": [TOOL]},
                },
            },
            {"tools"},
        ),
        (
            {
                "tools": [TOOL],
                "tool_choice": {
                    "type": "allowed_tools",
                    "allowed_tools": {"mode": "required", "tools": [TOOL]},
                },
            },
            {"tools", "forced_tool_choice"},
        ),
        ({"functions": [{"name": "f"}]}, {"tools"}),
        (
            {"functions": [{"name": "f"}], "function_call": {"name": "f"}},
            {"tools", "forced_tool_choice"},
        ),
        ({"n": 2}, {"choices"}),
        ({"n": 1}, set()),
        ({"logprobs": True}, {"logprobs"}),
        ({"logprobs": False}, set()),
        ({"modalities": ["text", "audio"]}, {"audio"}),
        ({"modalities": ["text"]}, set()),
        ({"response_format": {"type": "json_object"}}, set()),
        ({"reasoning_effort": "high"}, set()),
    ],
)
def test_needs_name_what_nobody_may_drop(fields, needed):
    assert parsed(**fields).needs.capabilities == needed


@pytest.mark.parametrize(
    ("part", "needed"),
    [
        ({"type": "image_url", "image_url": {"url": DATA_URL}}, {"images"}),
        (
            {"type": "image_url", "image_url": {"url": "https://host/a.png"}},
            {"images", "image_urls"},
        ),
        (
            {"type": "image_url", "image_url": "https://host/a.png"},
            {"images", "image_urls"},
        ),
        ({"type": "image_url"}, {"images"}),
        ({"type": "input_audio", "input_audio": {}}, {"audio"}),
        ({"type": "file", "file": {}}, {"files"}),
        ({"type": "text", "text": "x"}, set()),
    ],
)
def test_needs_see_what_messages_hold(part, needed):
    call = parsed(messages=[USER, {"role": "user", "content": [part]}])
    assert call.needs.capabilities == needed


def test_every_need_is_a_capability():
    image = {"type": "image_url", "image_url": {"url": "https://host/a.png"}}
    media = [image, {"type": "input_audio"}, {"type": "file"}]
    call = parsed(
        messages=[{"role": "user", "content": media}],
        tools=[TOOL],
        tool_choice="required",
        n=2,
        logprobs=True,
    )
    assert call.needs.capabilities <= set(get_type_hints(Capabilities))
    assert len(call.needs.capabilities) == 8


def test_the_prompt_is_estimated_from_its_text_without_its_media():
    content = [
        {"type": "text", "text": "x" * 40},
        {"type": "image_url", "image_url": {"url": DATA_URL + "A" * 4_000}},
    ]
    calls = [{"id": "a", "function": {"name": "f", "arguments": "y" * 20}}]
    messages = [
        {"role": "system", "content": "s" * 40},
        {"role": "user", "content": content},
        {"role": "assistant", "content": None, "tool_calls": calls},
    ]
    assert parsed(messages=messages).needs.prompt_tokens == (40 + 40 + 20) // 4
    with_tools = parsed(messages=messages, tools=[TOOL]).needs.prompt_tokens
    assert with_tools == (100 + len(orjson.dumps([TOOL]))) // 4
