"""What the Anthropic format refuses, and that nothing odd gets past it."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from gateway.simulator import Behaviour, anthropic
from gateway.simulator.exchange import Call, RefusalError

USER = {"role": "user", "content": "hi"}
TOOL = {"name": "f", "input_schema": {"type": "object"}}
THINK = {"type": "enabled", "budget_tokens": 1024}
GOOD: dict[str, Any] = {"model": "m", "max_tokens": 2000, "messages": [USER]}


def call(body: Any, headers: dict[str, str] | None = None) -> Call:
    version = {"anthropic-version": "2023-06-01"}
    return Call(
        number=1,
        now=datetime(2026, 1, 1, tzinfo=UTC),
        behaviour=Behaviour(),
        models=None,
        body=body,
        headers=version if headers is None else headers,
    )


def refusal_of(body: Any) -> str:
    with pytest.raises(RefusalError) as refusal:
        anthropic.messages(call(body))
    assert refusal.value.status == 400
    return str(refusal.value.message)


def test_the_version_header_is_required() -> None:
    with pytest.raises(RefusalError, match="anthropic-version: header is required"):
        anthropic.messages(call(GOOD, headers={}))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"max_tokens": None}, "max_tokens: Field required"),
        ({"messages": []}, "at least one message"),
        ({"frequency_penalty": 1}, "frequency_penalty: Extra inputs"),
        ({"system": [{"type": "text", "text": ""}]}, "system: text content blocks"),
        ({"temperature": 1.5}, "temperature: range: 0..1"),
        ({"stop_sequences": [" "]}, "non-whitespace"),
        ({"tools": [{"name": "f"}]}, "input_schema: Field required"),
        ({"tools": [{"name": "f", "input_schema": {}}]}, "Input should be 'object'"),
        ({"tools": [TOOL | {"name": "a.b"}]}, "String should match pattern"),
        ({"tools": [{"type": "function", "function": {}}]}, "tag 'function'"),
        ({"tools": [TOOL, TOOL]}, "must be unique"),
        ({"tool_choice": {"type": "any"}}, "while providing `tools`"),
        (
            {"tools": [TOOL], "tool_choice": {"type": "tool", "name": "g"}},
            "Tool 'g' not found",
        ),
        (
            {"tools": [TOOL], "tool_choice": {"type": "any"}, "thinking": THINK},
            "tool_choice forces tool use",
        ),
        ({"thinking": THINK | {"budget_tokens": 9}}, "greater than or equal to 1024"),
        ({"thinking": THINK, "max_tokens": 1024}, "must be greater than"),
        ({"thinking": THINK, "temperature": 0.5}, "may only be set to 1"),
        (
            {
                "thinking": THINK,
                "messages": [USER, {"role": "assistant", "content": "So"}],
            },
            "when thinking is enabled",
        ),
        ({"metadata": {"user_id": "a@example.com"}}, "email"),
        (
            {
                "output_config": {
                    "format": {"type": "json_schema", "schema": {"type": "object"}}
                }
            },
            "'additionalProperties' must be explicitly set to false",
        ),
        (
            {
                "output_config": {
                    "format": {
                        "type": "json_schema",
                        "schema": {
                            "type": "object",
                            "additionalProperties": False,
                            "properties": {"n": {"type": "integer", "minimum": 1}},
                        },
                    }
                }
            },
            "minimum is not supported",
        ),
    ],
)
def test_a_bad_request_is_refused_and_named(
    change: dict[str, Any], message: str
) -> None:
    assert message in refusal_of(GOOD | change)


def turns(*pairs: tuple[str, Any]) -> dict[str, Any]:
    return GOOD | {"messages": [{"role": r, "content": c} for r, c in pairs]}


def use(name: str) -> dict[str, Any]:
    return {"type": "tool_use", "id": name, "name": "f", "input": {}}


def result(name: str) -> dict[str, Any]:
    return {"type": "tool_result", "tool_use_id": name, "content": "x"}


TEXT = {"type": "text", "text": "so"}


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (turns(("assistant", "hi")), 'must use the "user" role'),
        (turns(("tool", "hi")), "Input should be 'user' or 'assistant'"),
        (turns(("user", "")), "must have non-empty content"),
        (turns(("user", " ")), "non-whitespace"),
        (turns(("user", [{"type": "text", "text": ""}])), "must be non-empty"),
        (turns(("user", "x"), ("assistant", "so ")), "trailing whitespace"),
        (turns(("user", "x"), ("assistant", [use("a")])), "without `tool_result`"),
        (
            turns(("user", "x"), ("assistant", [use("a")]), ("user", "y")),
            "without `tool_result` blocks",
        ),
        (
            turns(
                ("user", "x"),
                ("assistant", [use("a"), use("b")]),
                ("user", [result("a"), TEXT, result("b")]),
            ),
            "immediately after: b",
        ),
        (turns(("user", [result("a")])), "unexpected `tool_use_id`"),
        (turns(("user", "x"), ("assistant", [use("a.b")])), "should match pattern"),
        (
            turns(("user", "x"), ("assistant", [use("a") | {"input": "{}"}])),
            "valid dictionary",
        ),
        (
            turns(("user", "x"), ("system", "s"), ("user", "y")),
            "a system message must follow a user message",
        ),
        (turns(("user", [{"type": "image_url"}])), "Input tag 'image_url'"),
        (
            turns(
                (
                    "user",
                    [
                        {
                            "type": "image",
                            "source": {
                                "type": "base64",
                                "media_type": "image/bmp",
                                "data": "AAAA",
                            },
                        }
                    ],
                )
            ),
            "media_type",
        ),
    ],
)
def test_a_bad_conversation_is_refused(body: dict[str, Any], message: str) -> None:
    assert message in refusal_of(body)


@pytest.mark.parametrize(
    "body",
    [
        turns(("user", "a"), ("user", "b"), ("assistant", "c"), ("user", "d")),
        turns(("user", "x"), ("assistant", "So")),
        turns(("user", "x"), ("system", "s")),
        turns(("user", "x"), ("system", "s"), ("assistant", "c"), ("user", "y")),
        turns(
            ("user", "x"),
            ("assistant", [TEXT, use("a"), use("b")]),
            ("user", [result("b")]),
            ("user", [result("a"), TEXT]),
        ),
    ],
)
def test_a_good_conversation_is_answered(body: dict[str, Any]) -> None:
    assert anthropic.messages(call(body)).status == 200


KEYS = ["type", "role", "content", "text", "id", "name", "input", "source", "schema"]
JUNK = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 3)
    | st.floats()
    | st.sampled_from(["text", "user", "tool_use", "tool_result", "image", "auto", ""]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4)
    ),
    max_leaves=8,
)
FIELDS = st.sampled_from(
    [
        "messages",
        "system",
        "tools",
        "tool_choice",
        "thinking",
        "output_config",
        "metadata",
        "stop_sequences",
        "stream",
        "max_tokens",
        "temperature",
    ]
)


@settings(max_examples=200)
@given(st.dictionaries(FIELDS, JUNK, max_size=4), st.lists(JUNK, max_size=2))
def test_junk_is_refused_or_answered_but_never_crashes(
    junk: dict[str, Any], content: list[Any]
) -> None:
    for body in (GOOD | junk, turns(("user", content), ("assistant", content))):
        with suppress(RefusalError):
            anthropic.messages(call(body))
