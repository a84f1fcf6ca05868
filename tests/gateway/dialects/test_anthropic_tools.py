"""Tools, their choice, and schemas in requests to Anthropic."""

from __future__ import annotations

import pytest

from gateway.dialects.record import (
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
    USER,
    WEATHER,
    assert_typed,
    build,
    refused,
)


@pytest.mark.parametrize(
    ("tool", "sent"),
    [
        (Tool("f"), {"type": "object", "properties": {}}),
        (Tool("f", parameters={}), {"type": "object", "properties": {}}),
        (
            Tool("f", parameters={"type": ["object", "null"], "x": 1}),
            {"type": "object", "x": 1, "properties": {}},
        ),
        (WEATHER, WEATHER.parameters),
    ],
)
def test_a_tools_schema_is_always_of_an_object(tool, sent):
    assert build(tools=(tool,))[0]["tools"][0]["input_schema"] == sent


def test_the_order_of_tools_and_keys_is_kept_for_the_prompt_cache():
    tools = (Tool("z", parameters={"b": 1, "type": "object", "a": 2}), Tool("a"))
    body, _ = build(tools=tools)
    assert [tool["name"] for tool in body["tools"]] == ["z", "a"]
    assert list(body["tools"][0]["input_schema"]) == ["b", "type", "a", "properties"]


def test_a_strict_tool_is_strict_where_the_model_can_be():
    tool = Tool("f", parameters=SCHEMA, strict=True)
    native, _ = build(tools=(tool,), capabilities=NATIVE)
    assert native["tools"][0]["strict"] is True
    assert native["tools"][0]["input_schema"]["additionalProperties"] is False
    body, built = build(tools=(tool,))
    assert "strict" not in body["tools"][0]
    assert built.dropped == ("tools.strict",)


@pytest.mark.parametrize(
    ("choice", "parallel", "sent"),
    [
        (None, None, None),
        (ToolChoice(ToolMode.AUTO), None, {"type": "auto"}),
        (ToolChoice(ToolMode.NONE), None, {"type": "none"}),
        (ToolChoice(ToolMode.REQUIRED), None, {"type": "any"}),
        (
            ToolChoice(ToolMode.NAMED, "get_weather"),
            None,
            {"type": "tool", "name": "get_weather"},
        ),
        (None, True, None),
        (None, False, {"type": "auto", "disable_parallel_tool_use": True}),
        (
            ToolChoice(ToolMode.REQUIRED),
            False,
            {"type": "any", "disable_parallel_tool_use": True},
        ),
        (ToolChoice(ToolMode.NONE), False, {"type": "none"}),
    ],
)
def test_the_choice_of_tools_is_translated(choice, parallel, sent):
    body, _ = build(tools=(WEATHER,), tool_choice=choice, parallel_tool_calls=parallel)
    assert body.get("tool_choice") == sent
    assert_typed(body)


def test_without_tools_there_is_no_choice_of_tools():
    choice = ToolChoice(ToolMode.AUTO)
    assert build(tool_choice=choice, parallel_tool_calls=False)[0] == build()[0]


@pytest.mark.parametrize("name", ["mcp.files.read", "a" * 65, "wéather", "a b", ""])
def test_a_name_that_is_refused_gets_an_alias_everywhere(name):
    body, built = build(
        USER,
        Message(Role.ASSISTANT, tool_calls=(ToolCall("1", name, ""),)),
        Message(Role.TOOL, (Text("x"),), tool_call_id="1"),
        tools=(Tool(name), WEATHER),
        tool_choice=ToolChoice(ToolMode.NAMED, name),
    )
    alias = body["tools"][0]["name"]
    assert alias != name
    assert len(alias) <= 64
    assert alias.replace("_", "").replace("-", "").isalnum()
    assert alias.isascii()
    assert body["tool_choice"]["name"] == alias
    assert body["messages"][1]["content"][0]["name"] == alias
    assert built.tool_names == {alias: name}


def test_names_that_look_alike_after_cleaning_are_told_apart():
    _, built = build(tools=(Tool("a.b"), Tool("a/b"), Tool("a_b")))
    assert sorted(built.tool_names.values()) == ["a.b", "a/b"]


def test_calls_in_the_history_are_defined_but_not_offered_when_no_tools_are():
    body, _ = build(
        USER,
        Message(
            Role.ASSISTANT, tool_calls=(ToolCall("1", "f", ""), ToolCall("2", "f", ""))
        ),
        Message(Role.USER, (Text("Go on"),)),
    )
    assert [tool["name"] for tool in body["tools"]] == ["f"]
    assert body["tool_choice"] == {"type": "none"}
    assert_typed(body)


def test_a_schema_is_sent_natively_where_the_model_can():
    body, built = build(json_format=JsonFormat(SCHEMA), capabilities=NATIVE)
    assert body["output_config"]["format"] == {
        "type": "json_schema",
        "schema": {
            "type": "object",
            "properties": {
                "n": {"type": "integer", "description": 'It must satisfy {"minimum":1}'}
            },
            "additionalProperties": False,
        },
    }
    assert (built.json_tool, "tools" in body) == (None, False)
    assert_typed(body)


@pytest.mark.parametrize("native", [None, False])
def test_a_schema_becomes_a_forced_tool_elsewhere(native):
    capabilities = Capabilities(json_schema=native)
    json_format = JsonFormat(SCHEMA, name="point", description="A point.")
    body, built = build(json_format=json_format, capabilities=capabilities)
    assert body["tools"] == [
        {"name": "point", "description": "A point.", "input_schema": SCHEMA}
    ]
    assert body["tool_choice"] == {
        "type": "tool",
        "name": "point",
        "disable_parallel_tool_use": True,
    }
    assert built.json_tool == "point"
    assert_typed(body)


@pytest.mark.parametrize(
    ("choice", "sent", "has_answer"),
    [
        (None, {"type": "any"}, True),
        (ToolChoice(ToolMode.AUTO), {"type": "any"}, True),
        (
            ToolChoice(ToolMode.NONE),
            {"type": "tool", "name": "answer", "disable_parallel_tool_use": True},
            True,
        ),
        # A client that demands a call of its tools gets one, not an answer.
        (ToolChoice(ToolMode.REQUIRED), {"type": "any"}, False),
        (
            ToolChoice(ToolMode.NAMED, "get_weather"),
            {"type": "tool", "name": "get_weather"},
            False,
        ),
    ],
)
def test_the_answers_tool_stands_beside_the_clients_own(choice, sent, has_answer):
    body, built = build(
        json_format=JsonFormat(SCHEMA), tools=(WEATHER,), tool_choice=choice
    )
    assert body["tool_choice"] == sent
    assert [tool["name"] for tool in body["tools"]][1:] == ["answer"] * has_answer
    assert built.json_tool == ("answer" if has_answer else None)


def test_the_answers_tool_never_takes_the_name_of_a_clients():
    tools = (Tool("answer"), Tool("answer_json"))
    body, built = build(json_format=JsonFormat(SCHEMA), tools=tools)
    assert built.json_tool == "answer_json_json"
    assert len({tool["name"] for tool in body["tools"]}) == 3


def test_where_nothing_can_be_forced_the_model_is_asked_for_the_tool():
    capabilities = Capabilities(forced_tool_choice=False)
    body, built = build(json_format=JsonFormat(SCHEMA), capabilities=capabilities)
    assert body["tool_choice"]["type"] == "auto"
    assert "calling the tool answer" in body["system"]
    assert built.json_tool == "answer"


def test_a_schema_that_nests_too_deep_is_refused_as_the_callers():
    deep: dict[str, object] = {}
    for _ in range(500):
        deep = {"properties": {"a": deep}}
    assert refused(tools=(Tool("f", parameters=deep),))[0] is Fault.REJECTED
    json_format = JsonFormat(deep)
    fault = refused(json_format=json_format, capabilities=NATIVE)
    assert fault == (Fault.REJECTED, "response_format")
