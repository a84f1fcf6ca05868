"""What is no request at all, and what is too much of one."""

from __future__ import annotations

import contextlib

import orjson
import pytest
from hypothesis import given, strategies as st

from gateway.dialects.openai.request import parse_chat, read_record
from gateway.errors import InvalidRequest, UpstreamError

USER = {"role": "user", "content": "hello"}


def a_body(**fields: object) -> bytes:
    return orjson.dumps({"model": "m", "messages": [USER]} | fields)


def refusal(body: bytes) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as caught:
        parse_chat(body)
    return caught.value


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b'"x"',
        b"5",
        b"{}",
        b'{"model": NaN}',
        b'{"model": 1e999}',
        b'{"model": "\\ud800", "messages": []}',
        b'{"model": "\xff"}',
        b'\xef\xbb\xbf{"model": "m"}',
        b'{"model": "m", "messages": [{"role": "user", "content": "\xed\xa0\x80"}]}',
        b"[" * 100_000,
        b'{"a":' * 65 + b"1" + b"}" * 65,
        b"[" * 2_000 + b"]" * 2_000,
        b"[" + b"9" * 5_000 + b"]",
        b"[" + b"[]," * 200_000 + b"[]]",
        b"[" + b'"",' * 3_000_000 + b'""]',
        b'{"messages": "' + b"\\" * 200_001 + b"," * 200_000,
    ],
)
def test_a_body_that_is_no_request_is_a_clear_400(body):
    error = refusal(body)
    assert error.status == 400
    assert error.message


def nested(levels: int) -> bytes:
    return a_body()[:-1] + b',"deep":' + b"[" * levels + b"]" * levels + b"}"


def test_sixty_four_levels_are_read_and_one_more_is_not():
    # The body itself is a level.
    assert parse_chat(nested(63)).model == "m"
    assert "levels deep" in refusal(nested(64)).message


@pytest.mark.parametrize("text", ["[{,", '"[{,', '\\"[{,', "\\[{,\\", '"[{,\\\\"'])
def test_brackets_and_commas_in_text_are_no_values(text):
    body = a_body(before=text, long=text * 100_000, after=text)
    assert parse_chat(body).body["long"] == text * 100_000


def test_a_hundred_thousand_values_are_read_and_more_are_not():
    # Beside the numbers there are seven: the body, its three fields, the message and
    # its two.
    for comma in ("", ","):
        user = USER | {"content": comma}
        call = parse_chat(a_body(messages=[user], many=[1] * 99_993))
        assert call.body["many"] == [1] * 99_993
        error = refusal(a_body(messages=[user], many=[1] * 99_994))
        assert "100,000 JSON values" in error.message


def test_of_a_key_that_stands_twice_the_last_wins():
    assert parse_chat(a_body()[:-1] + b',"model":"z"}').model == "z"


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=12,
)
ROLES = st.sampled_from(["system", "user", "assistant", "tool", "function", "x"])
PART_TYPES = st.sampled_from(["text", "image_url", "input_audio", "file", "refusal"])
PARTS = st.fixed_dictionaries(
    {},
    optional={
        "type": PART_TYPES | JSON,
        "text": JSON,
        "image_url": JSON | st.fixed_dictionaries({"url": JSON}),
        "input_audio": JSON | st.fixed_dictionaries({"data": JSON, "format": JSON}),
        "file": JSON | st.fixed_dictionaries({"file_data": JSON}),
    },
)
CALLS = st.fixed_dictionaries(
    {}, optional={"id": JSON, "type": JSON, "function": JSON, "name": JSON}
)
MESSAGES = st.fixed_dictionaries(
    {},
    optional={
        "role": ROLES | JSON,
        "content": JSON | st.lists(PARTS | JSON, max_size=3),
        "tool_calls": JSON | st.lists(CALLS | JSON, max_size=2),
        "function_call": JSON | CALLS,
        "tool_call_id": JSON,
        "name": JSON,
        "thinking_blocks": JSON,
        "refusal": JSON,
    },
)
FIELDS = {
    "temperature": 1,
    "max_tokens": 5,
    "n": 1,
    "seed": -1,
    "top_k": 5,
    "min_p": 0.1,
    "stop": ["x"],
    "stream": True,
    "stream_options": {"include_usage": True},
    "tools": [{"type": "function", "function": {"name": "f", "parameters": {}}}],
    "tool_choice": {"type": "function", "function": {"name": "f"}},
    "functions": [{"name": "f"}],
    "function_call": {"name": "f"},
    "response_format": {"type": "json_schema", "json_schema": {"name": "n"}},
    "modalities": ["audio"],
    "logprobs": True,
    "user": "u",
    "session_id": "s",
    "rag_collection": "a,b",
    "rag_top_k": 3,
    "rag_filters": {"type": "in", "key": "k", "value": ["a", 1, True]},
}
BODIES = st.fixed_dictionaries(
    {"model": st.just("m") | JSON, "messages": st.lists(MESSAGES, max_size=3) | JSON},
    optional={name: st.just(value) | JSON for name, value in FIELDS.items()},
)


@given(JSON | BODIES)
def test_any_json_is_a_call_or_an_invalid_request(value):
    try:
        call = parse_chat(orjson.dumps(value))
    except InvalidRequest:
        return
    assert call.body == value
    with contextlib.suppress(InvalidRequest, UpstreamError):
        read_record(call)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_call_or_an_invalid_request(body):
    with contextlib.suppress(InvalidRequest):
        parse_chat(body)
