"""OpenAI's requests as the internal record."""

from __future__ import annotations

import base64

import orjson
import pytest

from gateway.dialects.openai.request import parse_chat, read_record
from gateway.dialects.record import (
    Audio,
    ChatRequest,
    File,
    Image,
    JsonFormat,
    Message,
    Part,
    Role,
    Text,
    Tool,
    ToolCall,
    ToolChoice,
    ToolMode,
)
from gateway.errors import InvalidRequest, UpstreamError
from gateway.kinds import Fault

USER = {"role": "user", "content": "hello"}
DATA = base64.b64encode(b"\x89PNG\r\n\x1a\n....").decode()


def record(**fields: object) -> ChatRequest:
    return read_record(
        parse_chat(orjson.dumps({"model": "m", "messages": [USER]} | fields))
    )


def message(given_message: dict[str, object]) -> Message:
    return record(messages=[given_message]).messages[0]


def part(given_part: dict[str, object]) -> Part:
    return message({"role": "user", "content": [given_part]}).parts[0]


def refused_part(given_part: dict[str, object]) -> str | None:
    with pytest.raises(InvalidRequest) as caught:
        part(given_part)
    return caught.value.param


def unsupported(**fields: object) -> str | None:
    with pytest.raises(UpstreamError) as caught:
        record(**fields)
    assert caught.value.fault is Fault.UNSUPPORTED_PARAMETER
    return caught.value.param


def a_tool(name: str) -> dict[str, object]:
    return {"type": "function", "function": {"name": name}}


def a_call(call_id: str, name: str, arguments: str) -> dict[str, object]:
    function = {"name": name, "arguments": arguments}
    return {"id": call_id, "type": "function", "function": function}


def test_what_the_client_left_out_stays_unsaid():
    assert record() == ChatRequest(
        messages=(Message(Role.USER, (Text("hello"),)),), extras={}
    )


def test_every_field_with_a_place_finds_it():
    request = record(
        parallel_tool_calls=False,
        max_tokens=1,
        max_completion_tokens=2,
        temperature=0,
        top_p=0.5,
        top_k=40,
        min_p=0.1,
        frequency_penalty=1,
        presence_penalty=-1,
        seed=-3,
        stop=["a", "b"],
        n=2,
        logprobs=True,
        top_logprobs=3,
        user="u",
        reasoning_effort="low",
        service_tier="flex",
        stream=True,
        stream_options={"include_usage": True},
        session_id="s",
        rag_collection="c",
        rag_top_k=3,
        verbosity="low",
        store=None,
    )
    assert request == ChatRequest(
        messages=(Message(Role.USER, (Text("hello"),)),),
        parallel_tool_calls=False,
        max_tokens=2,
        temperature=0,
        top_p=0.5,
        top_k=40,
        min_p=0.1,
        frequency_penalty=1,
        presence_penalty=-1,
        seed=-3,
        stop=("a", "b"),
        choices=2,
        logprobs=True,
        top_logprobs=3,
        user="u",
        reasoning_effort="low",
        service_tier="flex",
        stream=True,
        extras={"verbosity": "low"},
    )


def test_one_stop_is_a_stop():
    assert record(stop="\n").stop == ("\n",)


def test_the_safety_identifier_is_the_user():
    assert record(user="u", safety_identifier="s").user == "s"


@pytest.mark.parametrize("top_k", [0, -1])
def test_a_top_k_that_means_off_is_not_said(top_k):
    assert record(top_k=top_k).top_k is None


@pytest.mark.parametrize(
    "fields", [{"top_k": "x"}, {"top_k": 1.5}, {"min_p": 2}, {"min_p": True}]
)
def test_wrong_extra_sampling_is_named(fields):
    with pytest.raises(InvalidRequest) as caught:
        record(**fields)
    assert caught.value.param in fields


@pytest.mark.parametrize("role", ["system", "developer"])
def test_developers_speak_for_the_system(role):
    read = message({"role": role, "content": "be kind", "name": "n"})
    assert read == Message(Role.SYSTEM, (Text("be kind"),), name="n")


@pytest.mark.parametrize(
    ("given_part", "expected"),
    [
        ({"type": "text", "text": "x"}, Text("x")),
        (
            {
                "type": "image_url",
                "image_url": {"url": f"data:image/png;base64,{DATA}"},
            },
            Image(media_type="image/png", data=DATA),
        ),
        (
            {"type": "image_url", "image_url": {"url": f"DATA:;base64,{DATA}"}},
            Image(data=DATA),
        ),
        (
            {
                "type": "image_url",
                "image_url": {"url": "data:image/png;x=y;base64,QUJD\nRA=="},
            },
            Image(media_type="image/png", data="QUJDRA=="),
        ),
        (
            {"type": "image_url", "image_url": "https://host/a.png"},
            Image(url="https://host/a.png"),
        ),
        (
            {"type": "input_audio", "input_audio": {"data": "QUJD", "format": "wav"}},
            Audio("wav", "QUJD"),
        ),
        (
            {
                "type": "file",
                "file": {
                    "filename": "a.pdf",
                    "file_data": "data:application/pdf;base64,QUJD",
                },
            },
            File("a.pdf", "application/pdf", "QUJD"),
        ),
        ({"type": "file", "file": {"file_data": "QUJD"}}, File(data="QUJD")),
        ({"type": "file", "file": {"file_id": "f"}}, File(file_id="f")),
    ],
)
def test_parts_are_read(given_part, expected):
    assert part(given_part) == expected


@pytest.mark.parametrize(
    ("given_part", "param"),
    [
        ({"type": "image_url"}, "image_url"),
        ({"type": "image_url", "image_url": {}}, "image_url.url"),
        ({"type": "image_url", "image_url": {"url": 5}}, "image_url.url"),
        ({"type": "image_url", "image_url": {"url": "ftp://x"}}, "image_url.url"),
        ({"type": "image_url", "image_url": {"url": "file:///x"}}, "image_url.url"),
        ({"type": "image_url", "image_url": {"url": "data:x"}}, "image_url.url"),
        ({"type": "image_url", "image_url": {"url": "data:,QUJD"}}, "image_url.url"),
        (
            {"type": "image_url", "image_url": {"url": "data:a/b;base64,"}},
            "image_url.url",
        ),
        (
            {"type": "image_url", "image_url": {"url": "data:a/b;base64,QUJ"}},
            "image_url.url",
        ),
        (
            {"type": "image_url", "image_url": {"url": "data:a/b;base64,QU_D"}},
            "image_url.url",
        ),
        ({"type": "image_url", "image_url": "nonsense"}, "image_url"),
        ({"type": "input_audio"}, "input_audio"),
        (
            {"type": "input_audio", "input_audio": {"data": "QUJD"}},
            "input_audio.format",
        ),
        (
            {"type": "input_audio", "input_audio": {"data": "?", "format": "wav"}},
            "input_audio.data",
        ),
        ({"type": "file", "file": {}}, "file.file_data"),
        ({"type": "file", "file": {"file_data": 5}}, "file.file_data"),
    ],
)
def test_a_wrong_part_is_named_by_its_path(given_part, param):
    assert refused_part(given_part) == f"messages[0].content[0].{param}"


def test_an_unknown_part_is_left_to_who_knows_it():
    content = [{"type": "video_url", "video_url": {}}]
    assert unsupported(messages=[{"role": "user", "content": content}]) == "messages"


def test_an_assistants_turn_keeps_calls_reasoning_and_blocks():
    block = {"type": "thinking", "thinking": "hm", "signature": "s"}
    read = message(
        {
            "role": "assistant",
            "content": [
                {"type": "text", "text": "a"},
                {"type": "refusal", "refusal": "no"},
            ],
            "tool_calls": [a_call("1", "f", '{"a":1}'), a_call("2", "g", "")],
            "reasoning_content": "hm",
            "thinking_blocks": [block],
        }
    )
    assert read == Message(
        Role.ASSISTANT,
        (Text("a"),),
        (ToolCall("1", "f", '{"a":1}'), ToolCall("2", "g", "")),
        reasoning="hm",
        thinking_blocks=(block,),
        refusal="no",
    )


@pytest.mark.parametrize(
    ("call", "param"),
    [
        ({"function": {"name": "f", "arguments": ""}}, "id"),
        ({"id": "1"}, "function"),
        ({"id": "1", "function": {"arguments": ""}}, "function.name"),
        ({"id": "1", "function": {"name": "f", "arguments": {}}}, "function.arguments"),
    ],
)
def test_a_wrong_tool_call_is_named_by_its_path(call, param):
    with pytest.raises(InvalidRequest) as caught:
        message({"role": "assistant", "content": None, "tool_calls": [call]})
    assert caught.value.param == f"messages[0].tool_calls[0].{param}"


def test_legacy_functions_become_tools():
    request = record(
        messages=[
            USER,
            {"role": "assistant", "function_call": {"name": "f", "arguments": "{}"}},
            {"role": "function", "name": "f", "content": "4"},
            {"role": "assistant", "function_call": {"name": "f", "arguments": "{}"}},
            {"role": "function", "name": "f", "content": "5"},
        ],
        functions=[{"name": "f", "parameters": {"type": "object"}}],
        function_call={"name": "f"},
    )
    assert request.tools == (Tool("f", parameters={"type": "object"}),)
    assert request.tool_choice == ToolChoice(ToolMode.NAMED, "f")
    _, first, first_result, second, second_result = request.messages
    assert first.tool_calls[0].id == first_result.tool_call_id
    assert second.tool_calls[0].id == second_result.tool_call_id
    assert first.tool_calls[0].id != second.tool_calls[0].id
    assert first_result.role is Role.TOOL


def test_tools_are_read_in_order():
    full = {
        "name": "f",
        "description": "d",
        "parameters": {"type": "object"},
        "strict": True,
    }
    request = record(tools=[{"type": "function", "function": full}, a_tool("a")])
    assert request.tools == (Tool("f", "d", {"type": "object"}, strict=True), Tool("a"))


ALLOWED = {"mode": "required", "tools": [a_tool("b")]}


@pytest.mark.parametrize(
    ("choice", "expected", "names"),
    [
        ("none", ToolChoice(ToolMode.NONE), "ab"),
        ("auto", ToolChoice(ToolMode.AUTO), "ab"),
        ("required", ToolChoice(ToolMode.REQUIRED), "ab"),
        (a_tool("b"), ToolChoice(ToolMode.NAMED, "b"), "ab"),
        (
            {"type": "allowed_tools", "allowed_tools": ALLOWED},
            ToolChoice(ToolMode.REQUIRED),
            "b",
        ),
    ],
)
def test_the_choice_among_tools_is_read(choice, expected, names):
    request = record(tools=[a_tool("a"), a_tool("b")], tool_choice=choice)
    assert request.tool_choice == expected
    assert "".join(tool.name for tool in request.tools) == names


@pytest.mark.parametrize(
    ("choice", "param"),
    [
        ("named", "tool_choice"),
        ("sometimes", "tool_choice"),
        (a_tool("z"), "tool_choice.function.name"),
        ({"type": "odd"}, "tool_choice.type"),
        ({"type": "function"}, "tool_choice.function"),
        ({"type": "allowed_tools"}, "tool_choice.allowed_tools"),
        (
            {"type": "allowed_tools", "allowed_tools": {"tools": []}},
            "tool_choice.allowed_tools.mode",
        ),
    ],
)
def test_a_wrong_choice_is_named(choice, param):
    with pytest.raises(InvalidRequest) as caught:
        record(tools=[a_tool("a")], tool_choice=choice)
    assert caught.value.param == param


def test_custom_tools_are_left_to_who_knows_them():
    custom = {"type": "custom", "custom": {"name": "c"}}
    call = {"id": "1", "type": "custom", "custom": {"name": "c", "input": "x"}}
    turn = {"role": "assistant", "content": None, "tool_calls": [call]}
    assert unsupported(tools=[custom]) == "tools"
    assert unsupported(tools=[a_tool("a")], tool_choice=custom) == "tool_choice"
    assert unsupported(messages=[turn]) == "messages"


@pytest.mark.parametrize(
    ("given_format", "expected"),
    [
        ({"type": "text"}, None),
        ({"type": "json_object"}, JsonFormat()),
        (
            {
                "type": "json_schema",
                "json_schema": {"name": "n", "schema": {"a": 1}, "strict": True},
            },
            JsonFormat({"a": 1}, "n", strict=True),
        ),
    ],
)
def test_formats_are_read(given_format, expected):
    assert record(response_format=given_format).json_format == expected


def test_wrong_formats_are_named_and_unknown_ones_left_to_who_knows_them():
    with pytest.raises(InvalidRequest) as caught:
        record(response_format={"type": "json_schema", "json_schema": {}})
    assert caught.value.param == "response_format.json_schema.name"
    assert unsupported(response_format={"type": "grammar"}) == "response_format"


def test_reading_changes_nothing():
    body = orjson.dumps(
        {
            "model": "m",
            "messages": [
                {"role": "assistant", "tool_calls": [a_call("1", "f", "{}")]},
                {"role": "tool", "tool_call_id": "1", "content": "x"},
            ],
            "tools": [a_tool("f")],
        }
    )
    call = parse_chat(body)
    assert read_record(call) == read_record(call)
    assert orjson.dumps(call.body) == body
