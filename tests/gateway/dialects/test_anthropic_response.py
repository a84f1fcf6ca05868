"""Anthropic's whole answers and lists of models."""

from __future__ import annotations

import json
from typing import Any

import orjson
import pytest
from anthropic.types import Message as SdkMessage, ModelInfo
from hypothesis import given, strategies as st

from gateway.dialects.anthropic import AnthropicDialect
from gateway.dialects.anthropic.response import REFUSAL
from gateway.dialects.base import Built
from gateway.dialects.record import ChatResponse, ToolCall, UpstreamModel, Usage
from gateway.errors import UpstreamError
from gateway.kinds import FinishReason

DIALECT = AnthropicDialect()
PLAIN = Built(b"")
MESSAGE: dict[str, Any] = {
    "id": "msg_01XFDUDYJgAACzvnptvVoYEL",
    "type": "message",
    "role": "assistant",
    "model": "claude-sonnet-4-5-20250929",
    "content": [{"type": "text", "text": "Hello!"}],
    "stop_reason": "end_turn",
    "stop_sequence": None,
    "usage": {
        "input_tokens": 12,
        "cache_creation_input_tokens": 30,
        "cache_read_input_tokens": 5,
        "cache_creation": {
            "ephemeral_5m_input_tokens": 10,
            "ephemeral_1h_input_tokens": 20,
        },
        "output_tokens": 9,
        "output_tokens_details": {"thinking_tokens": 4},
        "service_tier": "standard",
    },
}
USAGE = Usage(
    input_tokens=12,
    cache_read_tokens=5,
    cache_write_tokens=10,
    cache_write_1h_tokens=20,
    output_tokens=5,
    reasoning_tokens=4,
)
THOUGHT = {"type": "thinking", "thinking": "Let me see.", "signature": "EqQBCgIYAhIM"}
REDACTED = {"type": "redacted_thinking", "data": "EmwKAhgBEgy3va3pzix"}


def tool_use(id_: str, name: str, input_: object) -> dict[str, object]:
    return {"type": "tool_use", "id": id_, "name": name, "input": input_}


def read(built: Built = PLAIN, **changes: object) -> ChatResponse:
    return DIALECT.read_chat(orjson.dumps({**MESSAGE, **changes}), built)


def test_a_plain_answer():
    assert read() == ChatResponse(
        text="Hello!",
        finish_reason=FinishReason.STOP,
        usage=USAGE,
        upstream_id="msg_01XFDUDYJgAACzvnptvVoYEL",
        upstream_model="claude-sonnet-4-5-20250929",
    )
    usage = read().usage
    assert usage is not None
    assert (usage.prompt_tokens, usage.completion_tokens) == (47, 9)
    assert usage.total_tokens == 56


def test_what_the_official_sdk_holds_is_read():
    content = [
        THOUGHT,
        REDACTED,
        *MESSAGE["content"],
        tool_use("toolu_1", "f", {"a": 1}),
    ]
    message = SdkMessage.model_validate({**MESSAGE, "content": content})
    data = message.model_dump_json().encode()
    answer = DIALECT.read_chat(data, PLAIN)
    assert answer == read(content=content)
    assert answer.usage == USAGE
    assert answer.tool_calls == (ToolCall("toolu_1", "f", '{"a":1}'),)


def test_text_blocks_are_joined_and_strange_blocks_are_passed_over():
    content = [
        {"type": "text", "text": "A", "citations": [{"type": "char_location"}]},
        {"type": "server_tool_use", "id": "srv", "name": "web_search", "input": {}},
        {"type": "web_search_tool_result", "tool_use_id": "srv", "content": []},
        {"type": "text", "text": "B"},
        {"type": "not_yet_invented"},
    ]
    answer = read(content=content, unknown={"key": 1})
    assert (answer.text, answer.tool_calls) == ("AB", ())


@pytest.mark.parametrize("content", [[], [{"type": "text", "text": ""}]])
def test_an_empty_answer_has_no_text(content):
    assert read(content=content).text is None


def test_calls_of_tools_are_read_with_the_clients_names_and_exact_arguments():
    built = Built(b"", tool_names={"a_b_1234": "a.b"})
    content = [
        {"type": "text", "text": "I look."},
        tool_use("toolu_1", "a_b_1234", {"z": "é", "a": [1.5, None]}),
        tool_use("toolu_2", "f", {}),
    ]
    data = orjson.dumps({**MESSAGE, "content": content, "stop_reason": "tool_use"})
    data = data.replace(b"[1.5,", b"[123456789012345678901234567890,")
    answer = DIALECT.read_chat(data, built)
    assert answer.text == "I look."
    assert answer.finish_reason is FinishReason.TOOL_CALLS
    assert answer.tool_calls == (
        ToolCall(
            "toolu_1", "a.b", '{"z":"é","a":[123456789012345678901234567890,null]}'
        ),
        ToolCall("toolu_2", "f", "{}"),
    )


def test_thoughts_are_read_as_text_and_kept_for_the_way_back():
    unsigned = {"type": "thinking", "thinking": " And so.", "signature": ""}
    answer = read(content=[THOUGHT, REDACTED, unsigned, *MESSAGE["content"]])
    assert answer.reasoning == "Let me see. And so."
    assert answer.thinking_blocks == (THOUGHT, REDACTED)
    assert answer.text == "Hello!"


@pytest.mark.parametrize(
    ("stop_reason", "calls", "finish"),
    [
        ("end_turn", False, FinishReason.STOP),
        ("stop_sequence", False, FinishReason.STOP),
        ("pause_turn", False, FinishReason.STOP),
        ("not_yet_invented", False, FinishReason.STOP),
        (None, False, FinishReason.STOP),
        ("tool_use", True, FinishReason.TOOL_CALLS),
        ("end_turn", True, FinishReason.TOOL_CALLS),  # what is there counts
        ("tool_use", False, FinishReason.STOP),
        ("max_tokens", False, FinishReason.LENGTH),
        ("max_tokens", True, FinishReason.LENGTH),  # the arguments may be cut
        ("model_context_window_exceeded", False, FinishReason.LENGTH),
        ("compaction", False, FinishReason.LENGTH),
        ("refusal", False, FinishReason.CONTENT_FILTER),
    ],
)
def test_the_finish_reason_is_computed(stop_reason, calls, finish):
    content = [tool_use("1", "f", {})] if calls else MESSAGE["content"]
    assert read(content=content, stop_reason=stop_reason).finish_reason is finish


@pytest.mark.parametrize(
    ("details", "refusal"),
    [
        ({"type": "refusal", "category": "bio", "explanation": "No."}, "No."),
        ({"type": "refusal", "category": None, "explanation": None}, REFUSAL),
        (None, REFUSAL),
    ],
)
def test_a_refusal_is_explained(details, refusal):
    answer = read(content=[], stop_reason="refusal", stop_details=details)
    assert (answer.refusal, answer.text) == (refusal, None)


def test_the_tool_that_stands_for_a_schema_is_read_as_text():
    built = Built(b"", json_tool="answer")
    content = [
        {"type": "text", "text": "Here you are:"},
        tool_use("toolu_1", "answer", {"n": 1, "ü": "x"}),
        tool_use("toolu_2", "answer", {"n": 2}),
    ]
    answer = read(built, content=content, stop_reason="tool_use")
    assert (answer.text, answer.tool_calls) == ('{"n":1,"ü":"x"}', ())
    assert answer.finish_reason is FinishReason.STOP


def test_a_clients_tool_may_be_called_instead_of_the_answers():
    built = Built(b"", json_tool="answer")
    answer = read(built, content=[tool_use("1", "f", {})], stop_reason="tool_use")
    assert (answer.text, answer.finish_reason) == (None, FinishReason.TOOL_CALLS)


@pytest.mark.parametrize(
    ("usage", "read_as"),
    [
        (None, None),
        (
            {"input_tokens": 1, "output_tokens": 2},
            Usage(input_tokens=1, output_tokens=2),
        ),
        (
            {"input_tokens": 1, "output_tokens": 2, "cache_creation": None},
            Usage(input_tokens=1, output_tokens=2),
        ),
        # The breakdown may cover only a part of what was written.
        (
            {
                "cache_creation_input_tokens": 100,
                "cache_creation": {"ephemeral_1h_input_tokens": 20},
            },
            Usage(cache_write_tokens=80, cache_write_1h_tokens=20),
        ),
        (
            {"cache_creation_input_tokens": 100},
            Usage(cache_write_tokens=100),
        ),
        (
            {"cache_creation": {"ephemeral_5m_input_tokens": 7}},
            Usage(cache_write_tokens=7),
        ),
        (
            {"output_tokens": 3, "output_tokens_details": {"thinking_tokens": 9}},
            Usage(reasoning_tokens=3),
        ),
    ],
)
def test_usage_is_read_into_disjoint_buckets(usage, read_as):
    assert read(usage=usage).usage == read_as


@pytest.mark.parametrize(
    "changes",
    [
        {"type": "error"},
        {"type": None},
        {"content": None},
        {"content": "text"},
        {"content": ["text"]},
        {"content": [{"type": "text", "text": 1}]},
        {"content": [{"type": "thinking", "thinking": [], "signature": "x"}]},
        {"content": [{"type": "tool_use", "id": "1", "name": "f", "input": "{}"}]},
        {"content": [{"type": "tool_use", "id": "1", "name": "f"}]},
        {"content": [{"type": "tool_use", "name": "f", "input": {}}]},
        {"content": [{"type": "tool_use", "id": "1", "input": {}}]},
        {"stop_reason": 1},
        {"usage": []},
        {"usage": {"input_tokens": "12"}},
        {"usage": {"input_tokens": -1}},
        {"usage": {"output_tokens": True}},
        {"usage": {"output_tokens_details": 3}},
        {"id": 7},
    ],
)
def test_an_answer_of_the_wrong_types_is_invalid(changes):
    with pytest.raises(UpstreamError, match="not readable") as caught:
        read(**changes)
    assert caught.value.fault == "invalid_response"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"<html>",
        b"[]",
        b"null",
        b'{"type":"message"',
        b'{"type": "error", "error": {"type": "api_error", "message": "x"}}',
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"type":"message","content":[{"type":"tool_use","id":"1","name":"f","input":'
        + b'{"a":' * 1000
        + b"1"
        + b"}" * 1000
        + b"}]}",
    ],
)
def test_garbage_is_invalid(data):
    with pytest.raises(UpstreamError) as caught:
        DIALECT.read_chat(data, PLAIN)
    assert caught.value.fault == "invalid_response"


@given(
    st.dictionaries(
        st.text(st.characters(codec="utf-8")),
        st.integers() | st.floats(allow_nan=False, allow_infinity=False),
    )
)
def test_arguments_mean_what_the_model_said(arguments):
    data = json.dumps({**MESSAGE, "content": [tool_use("1", "f", arguments)]}).encode()
    (call,) = DIALECT.read_chat(data, PLAIN).tool_calls
    assert json.loads(call.arguments) == arguments


def model_info(**changes: object) -> dict[str, object]:
    yes, no = {"supported": True}, {"supported": False}
    return {
        "id": "claude-sonnet-4-5-20250929",
        "type": "model",
        "display_name": "Claude Sonnet 4.5",
        "created_at": "2025-09-29T00:00:00Z",
        "lifecycle": "active",
        "max_input_tokens": 200_000,
        "max_tokens": 64_000,
        "capabilities": {
            "image_input": yes,
            "pdf_input": no,
            "structured_outputs": yes,
            "thinking": {
                "supported": True,
                "types": {"enabled": yes, "adaptive": no, "disabled": yes},
            },
        },
        **changes,
    }


def models(*items: object) -> tuple[UpstreamModel, ...]:
    return DIALECT.read_models(orjson.dumps({"data": items, "has_more": False}))


def test_models_are_listed_with_what_is_said_of_them():
    assert models(model_info()) == (
        UpstreamModel(
            "claude-sonnet-4-5-20250929",
            {
                "chat": True,
                "embeddings": False,
                "images": True,
                "files": False,
                "json_schema": True,
                "reasoning": "budget",
                "max_output_tokens": 64_000,
            },
            200_000,
        ),
    )


def test_a_model_that_the_official_sdk_holds_is_read():
    info = ModelInfo.model_validate(model_info(capabilities=None))
    (model,) = DIALECT.read_models(
        b'{"data": [' + info.model_dump_json().encode() + b"]}"
    )
    assert (model.name, model.context_window) == ("claude-sonnet-4-5-20250929", 200_000)
    assert model.capabilities["max_output_tokens"] == 64_000


def test_a_list_without_details_says_little():
    old = {"type": "model", "id": "claude-3", "display_name": "C", "created_at": "x"}
    expected = UpstreamModel("claude-3", {"chat": True, "embeddings": False}, None)
    assert models(old) == (expected,)


def test_a_retired_model_is_not_listed():
    assert models(
        model_info(lifecycle="retired"), model_info(lifecycle="deprecated")
    ) == (models(model_info()))


@pytest.mark.parametrize(
    ("thinking", "reasoning"),
    [
        ({"supported": False, "types": {}}, "none"),
        ({"supported": True, "types": {"adaptive": {"supported": True}}}, "adaptive"),
        (
            {
                "supported": True,
                "types": {
                    "adaptive": {"supported": True},
                    "disabled": {"supported": False},
                },
            },
            "always",
        ),
        ({"supported": True}, None),
        ("yes", None),
        (None, None),
    ],
)
def test_the_kind_of_thinking_is_read_where_it_is_said(thinking, reasoning):
    (model,) = models(model_info(capabilities={"thinking": thinking}))
    assert model.capabilities.get("reasoning") == reasoning


@pytest.mark.parametrize(
    "data", [b"", b"[]", b"{}", b'{"data": {}}', b'{"data": [1]}', b'{"data": [{}]}']
)
def test_a_list_that_is_none_is_invalid(data):
    with pytest.raises(UpstreamError) as caught:
        DIALECT.read_models(data)
    assert caught.value.fault == "invalid_response"
