"""Thinking in requests to Anthropic."""

from __future__ import annotations

import pytest

from gateway.dialects.anthropic.thinking import DEFAULT_MAX_TOKENS
from gateway.dialects.record import (
    JsonFormat,
    Message,
    Role,
    Text,
    ToolCall,
    ToolChoice,
    ToolMode,
)
from gateway.snapshot import Capabilities
from tests.gateway.dialects.anthropic_requests import (
    SCHEMA,
    THOUGHT,
    UNTYPED,
    USER,
    WEATHER,
    assert_typed,
    build,
)


@pytest.mark.parametrize(
    ("reasoning", "effort", "thinking", "sent_effort", "dropped"),
    [
        ("adaptive", "minimal", {"type": "adaptive"}, "low", ()),
        ("adaptive", "max", {"type": "adaptive"}, "max", ()),
        ("adaptive", "none", {"type": "disabled"}, None, ()),
        ("always", "high", {"type": "adaptive"}, "high", ()),
        ("always", "none", None, None, ("reasoning_effort",)),
        ("budget", "low", {"type": "enabled", "budget_tokens": 1024}, None, ()),
        ("budget", "medium", {"type": "enabled", "budget_tokens": 2048}, None, ()),
        ("budget", "high", {"type": "enabled", "budget_tokens": 4096}, None, ()),
        ("budget", "xhigh", {"type": "enabled", "budget_tokens": 8192}, None, ()),
        ("budget", "max", {"type": "enabled", "budget_tokens": 16384}, None, ()),
        ("budget", "none", None, None, ()),
        ("none", "none", None, None, ()),
        ("none", "high", None, None, ("reasoning_effort",)),
        (None, "high", None, None, ("reasoning_effort",)),
        (None, "none", None, None, ("reasoning_effort",)),
        ("budget", "colossal", None, None, ("reasoning_effort",)),
        ("budget", None, None, None, ()),
        ("adaptive", None, None, None, ()),
    ],
)
def test_effort_is_translated_by_what_the_model_can(
    reasoning, effort, thinking, sent_effort, dropped
):
    capabilities = Capabilities(reasoning=reasoning)
    body, built = build(reasoning_effort=effort, capabilities=capabilities)
    assert body.get("thinking") == thinking
    assert body.get("output_config") == (
        {"effort": sent_effort} if sent_effort else None
    )
    assert built.dropped == dropped
    assert_typed(body)


@pytest.mark.parametrize(
    ("asked", "ceiling", "limit", "budget"),
    [
        (None, None, 4096 + 8192, 8192),  # raised by the budget
        (None, 64_000, 64_000, 8192),
        (None, 5000, 5000, 4999),
        (20_000, None, 20_000, 8192),
        (2000, None, 2000, 1999),
        (1025, None, 1025, 1024),
        (1024, None, 1024, None),  # nothing would be left to answer with
        (100, None, 100, None),
    ],
)
def test_the_budget_fits_below_the_limit_or_thinking_is_off(
    asked, ceiling, limit, budget
):
    body, built = build(
        max_tokens=asked,
        reasoning_effort="xhigh",
        capabilities=Capabilities(reasoning="budget", max_output_tokens=ceiling),
    )
    assert body["max_tokens"] == limit
    assert body.get("thinking", {}).get("budget_tokens") == budget
    assert built.dropped == (() if budget else ("reasoning_effort",))


@pytest.mark.parametrize("reasoning", ["budget", "adaptive"])
def test_thinking_frees_the_choice_of_tools_and_drops_sampling(reasoning):
    body, built = build(
        tools=(WEATHER,),
        tool_choice=ToolChoice(ToolMode.REQUIRED),
        parallel_tool_calls=False,
        temperature=0.3,
        top_k=3,
        reasoning_effort="low",
        capabilities=Capabilities(reasoning=reasoning),
    )
    assert body["tool_choice"] == {"type": "auto", "disable_parallel_tool_use": True}
    assert built.dropped == ("tool_choice", "temperature", "top_k")
    assert not set(UNTYPED) & set(body)


@pytest.mark.parametrize(
    ("reasoning", "thinking"), [("budget", None), ("adaptive", {"type": "disabled"})]
)
@pytest.mark.parametrize("why", ["lost thoughts", "prefill", "schema"])
def test_thinking_gives_way_to_what_it_excludes(reasoning, thinking, why):
    calls = (ToolCall("1", "get_weather", "{}"),)
    result = Message(Role.TOOL, (Text("x"),), tool_call_id="1")
    messages = {
        "lost thoughts": (USER, Message(Role.ASSISTANT, tool_calls=calls), result),
        "prefill": (USER, Message(Role.ASSISTANT, (Text("So"),))),
        "schema": (USER,),
    }[why]
    body, built = build(
        *messages,
        reasoning_effort="high",
        tools=() if why == "schema" else (WEATHER,),
        json_format=JsonFormat(SCHEMA) if why == "schema" else None,
        capabilities=Capabilities(reasoning=reasoning),
    )
    assert body.get("thinking") == thinking
    assert "output_config" not in body
    assert built.dropped == ("reasoning_effort",)


def test_thinking_stays_on_when_the_thoughts_before_the_calls_are_there():
    calls = (ToolCall("1", "get_weather", "{}"),)
    body, _ = build(
        USER,
        Message(Role.ASSISTANT, tool_calls=calls, thinking_blocks=(THOUGHT,)),
        Message(Role.TOOL, (Text("x"),), tool_call_id="1"),
        tools=(WEATHER,),
        reasoning_effort="high",
        capabilities=Capabilities(reasoning="budget"),
    )
    assert body["thinking"]["type"] == "enabled"
    assert body["messages"][1]["content"][0] == THOUGHT


def test_the_vendors_own_thinking_is_sent_as_it_is():
    thinking = {"type": "enabled", "budget_tokens": 9000, "display": "omitted"}
    body, built = build(
        extras={"thinking": thinking}, temperature=0.5, reasoning_effort="low"
    )
    assert body["thinking"] == thinking
    assert body["max_tokens"] == DEFAULT_MAX_TOKENS + 9000
    assert built.dropped == ("reasoning_effort", "temperature")
    assert_typed(body)


def test_a_rows_thinking_counts_as_thinking():
    body, built = build(
        options={"thinking": {"type": "adaptive"}},
        temperature=0.5,
        reasoning_effort="max",
        capabilities=Capabilities(reasoning="adaptive"),
    )
    assert (body["thinking"], body["output_config"]) == (
        {"type": "adaptive"},
        {"effort": "max"},
    )
    assert built.dropped == ("temperature",)
