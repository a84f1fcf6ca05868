"""What the OpenAI format refuses, and that nothing odd gets past it."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from gateway.simulator import Behaviour, openai
from gateway.simulator.exchange import Call, RefusalError

USER = {"role": "user", "content": "hi"}
TOOL = {"type": "function", "function": {"name": "f", "parameters": {}}}
CALLS = [
    {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}},
    {"id": "c2", "type": "function", "function": {"name": "f", "arguments": "{}"}},
]
GOOD: dict[str, Any] = {"model": "m", "messages": [USER]}


def call(body: Any, models: tuple[str, ...] | None = None) -> Call:
    return Call(
        number=1,
        now=datetime(2026, 1, 1, tzinfo=UTC),
        behaviour=Behaviour(),
        models=models,
        body=body,
        headers={},
    )


@pytest.mark.parametrize(
    ("change", "param", "code"),
    [
        ({"model": None}, None, None),
        ({"messages": None}, "messages", "missing_required_parameter"),
        ({"messages": []}, "messages", "empty_array"),
        ({"messages": "hi"}, "messages", "invalid_type"),
        ({"messages": ["hi"]}, "messages[0]", "invalid_type"),
        ({"messages": [{"role": "bot", "content": "x"}]}, "messages[0].role", None),
        ({"messages": [{"role": ["x"], "content": "x"}]}, "messages[0].role", None),
        ({"messages": [{"role": "user"}]}, "messages[0].content", "invalid_type"),
        ({"messages": [{"role": "user", "content": [{"type": "x"}]}]}, None, None),
        ({"temperature": 2.5}, "temperature", "invalid_value"),
        ({"temperature": "hot"}, "temperature", "invalid_type"),
        ({"max_tokens": -1}, "max_tokens", "invalid_type"),
        ({"n": 0}, "n", "invalid_value"),
        ({"n": 129}, "n", "invalid_value"),
        ({"stop": ["a", "b", "c", "d", "e"]}, "stop", "invalid_value"),
        ({"stream": "yes"}, "stream", "invalid_type"),
        ({"top_logprobs": 2}, "top_logprobs", "invalid_value"),
        ({"tool_choice": "required"}, "tool_choice", "invalid_value"),
        ({"tools": []}, "tools", "invalid_value"),
        ({"tools": [{"type": "function"}]}, "tools[0].function.name", None),
        (
            {
                "tools": [TOOL],
                "tool_choice": {"type": "function", "function": {"name": "g"}},
            },
            "tool_choice",
            "invalid_value",
        ),
        ({"response_format": {"type": "xml"}}, "response_format.type", None),
        ({"response_format": {"type": "json_object"}}, "messages", None),
        (
            {"response_format": {"type": "json_schema"}},
            "response_format.json_schema.name",
            "missing_required_parameter",
        ),
    ],
)
def test_a_bad_chat_request_is_refused_and_named(
    change: dict[str, Any], param: str | None, code: str | None
) -> None:
    with pytest.raises(RefusalError) as refusal:
        openai.chat(call(GOOD | change))
    assert refusal.value.status == 400
    assert param is None or refusal.value.param == param
    assert code is None or refusal.value.code == code


@pytest.mark.parametrize(
    "history",
    [
        [USER, {"role": "tool", "tool_call_id": "c1", "content": "x"}],
        [USER, {"role": "assistant", "tool_calls": CALLS}],
        [
            USER,
            {"role": "assistant", "tool_calls": CALLS},
            {"role": "tool", "tool_call_id": "c1", "content": "x"},
            USER,
        ],
    ],
)
def test_calls_and_results_must_pair_up(history: list[Any]) -> None:
    with pytest.raises(RefusalError, match="tool_calls"):
        openai.chat(call({"model": "m", "messages": history}))


def test_a_complete_tool_history_is_accepted() -> None:
    history = [
        USER,
        {"role": "assistant", "content": None, "tool_calls": CALLS},
        {"role": "tool", "tool_call_id": "c2", "content": "x"},
        {"role": "tool", "tool_call_id": "c1", "content": "y"},
    ]
    body = openai.chat(call({"model": "m", "messages": history})).body
    assert b"The tool said: x; y" in body


def test_a_model_is_unknown_only_when_there_is_a_list() -> None:
    assert openai.chat(call(GOOD)).status == 200
    with pytest.raises(RefusalError) as refusal:
        openai.chat(call(GOOD, models=("other",)))
    assert (refusal.value.status, refusal.value.code) == (404, "model_not_found")


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["type", "role", "content", "text", "function", "name", "id", "url"]
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
        "tool_choice",
        "response_format",
        "stop",
        "stream",
        "stream_options",
        "n",
        "logprobs",
        "max_tokens",
        "input",
        "encoding_format",
        "dimensions",
    ]
)


@settings(max_examples=200)
@given(st.dictionaries(FIELDS, JUNK, max_size=5), st.lists(JUNK, max_size=2))
def test_junk_is_refused_or_answered_but_never_crashes(
    junk: dict[str, Any], messages: list[Any]
) -> None:
    for body in (GOOD | junk, {**GOOD, "messages": [USER, *messages]}):
        for handler in (openai.chat, openai.embeddings):
            with suppress(RefusalError):
                handler(call(body))
