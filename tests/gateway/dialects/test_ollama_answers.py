"""How the Ollama dialect reads whole answers and streams."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from itertools import pairwise

import orjson
import pytest
from hypothesis import given, strategies as st

from gateway.dialects.base import Built
from gateway.dialects.ollama import OllamaDialect
from gateway.dialects.ollama.request import OllamaBuilt
from gateway.dialects.record import (
    Finished,
    ReasoningDelta,
    StreamEvent,
    TextDelta,
    ToolArgumentsDelta,
    ToolCallStart,
    Usage,
    UsageUpdate,
)
from gateway.errors import UpstreamError
from gateway.kinds import Fault, FinishReason

DIALECT = OllamaDialect()
BUILT = OllamaBuilt(b"{}")
SINGLE = OllamaBuilt(b"{}", is_single_tool_call=True)
CREATED = "2026-06-18T14:49:45.754099203Z"


def an_answer(message: Mapping[str, object], **fields: object) -> bytes:
    answer = {
        "model": "llama3:latest",
        "created_at": CREATED,
        "message": {"role": "assistant", **message},
        "done": True,
        "done_reason": "stop",
        "prompt_eval_count": 11,
        "eval_count": 7,
    }
    return orjson.dumps(answer | fields)


def a_line(message: Mapping[str, object], **fields: object) -> bytes:
    line = {"created_at": CREATED, "message": message, "done": False}
    return orjson.dumps(line | fields) + b"\n"


def a_call(name: str, arguments: object, **fields: object) -> dict[str, object]:
    return {"function": {"name": name, "arguments": arguments}} | fields


def decoded(*pieces: bytes, built: Built = BUILT) -> list[StreamEvent]:
    decoder = DIALECT.chat_decoder(built)
    return [event for piece in pieces for event in decoder.feed(piece)]


def fault_of(*pieces: bytes) -> Fault:
    with pytest.raises(UpstreamError) as caught:
        decoded(*pieces)
    return caught.value.fault


def test_a_whole_answer_is_read():
    answer = DIALECT.read_chat(an_answer({"content": "hi", "thinking": "hm"}), BUILT)
    assert (answer.text, answer.reasoning) == ("hi", "hm")
    assert answer.finish_reason is FinishReason.STOP
    assert answer.usage == Usage(input_tokens=11, output_tokens=7)
    assert answer.upstream_model == "llama3:latest"
    assert answer.tool_calls == ()


@pytest.mark.parametrize(
    ("done_reason", "expected"),
    [
        ("stop", FinishReason.STOP),
        ("length", FinishReason.LENGTH),
        ("load", FinishReason.STOP),
        ("unload", FinishReason.STOP),
        ("", FinishReason.STOP),
        (None, FinishReason.STOP),
    ],
)
def test_reasons_are_openais(done_reason, expected):
    data = an_answer({"content": ""}, done_reason=done_reason)
    assert DIALECT.read_chat(data, BUILT).finish_reason is expected
    assert decoded(data + b"\n")[-1] == Finished(expected)


def test_tool_calls_are_why_it_stopped_and_there_is_no_text():
    calls = [a_call("a", {"x": 1}, id="call_1"), a_call("b", None)]
    answer = DIALECT.read_chat(an_answer({"content": "", "tool_calls": calls}), BUILT)
    assert answer.text is None
    assert answer.finish_reason is FinishReason.TOOL_CALLS
    first, second = answer.tool_calls
    assert (first.id, first.name, first.arguments) == ("call_1", "a", '{"x":1}')
    assert (second.name, second.arguments) == ("b", "{}")


def test_a_minted_id_is_stable_and_differs_by_place_and_by_turn():
    twins = {"content": "", "tool_calls": [a_call("a", {}), a_call("a", {})]}
    data = an_answer(twins)
    first = [call.id for call in DIALECT.read_chat(data, BUILT).tool_calls]
    again = [call.id for call in DIALECT.read_chat(data, BUILT).tool_calls]
    later = [
        call.id
        for call in DIALECT.read_chat(
            an_answer(twins, created_at="2026-06-18T14:49:46Z"), BUILT
        ).tool_calls
    ]
    assert first == again
    assert len({*first, *later}) == 4
    assert all(name.startswith(f"call_{i}_") for i, name in enumerate(first))


def test_minted_ids_differ_over_the_lines_of_one_instant():
    events = decoded(*[a_line({"tool_calls": [a_call("a", {})]})] * 3)
    assert len({e.id for e in events if isinstance(e, ToolCallStart)}) == 3


def test_only_the_first_call_is_kept_when_the_client_wants_one_at_a_time():
    calls = {"content": "", "tool_calls": [a_call("a", {}), a_call("b", {})]}
    whole = DIALECT.read_chat(an_answer(calls), SINGLE)
    assert [call.name for call in whole.tool_calls] == ["a"]
    events = decoded(
        a_line(calls), a_line({"tool_calls": [a_call("c", {})]}), built=SINGLE
    )
    assert [e.name for e in events if isinstance(e, ToolCallStart)] == ["a"]


@pytest.mark.parametrize(
    ("counts", "usage"),
    [
        ({}, None),
        ({"eval_count": 3}, None),
        ({"prompt_eval_count": 5}, Usage(input_tokens=5)),
        ({"prompt_eval_count": -1, "eval_count": 3}, None),
        ({"prompt_eval_count": True}, None),
    ],
)
def test_unknown_usage_is_none_and_not_zero(counts, usage):
    data = orjson.dumps({"message": {"content": "x"}, "done": True} | counts)
    assert DIALECT.read_chat(data, BUILT).usage == usage


def test_logprobs_come_in_openais_shape():
    given_logprobs = [
        {"token": "é", "logprob": -0.5, "top_logprobs": [{"token": "e", "logprob": -1}]}
    ]
    answer = DIALECT.read_chat(
        an_answer({"content": "é"}, logprobs=given_logprobs), BUILT
    )
    expected = {
        "content": [
            {
                "token": "é",
                "logprob": -0.5,
                "bytes": [195, 169],
                "top_logprobs": [{"token": "e", "logprob": -1, "bytes": [101]}],
            }
        ],
        "refusal": None,
    }
    assert answer.logprobs == expected
    line = a_line({"content": "é"}, logprobs=given_logprobs)
    assert decoded(line) == [TextDelta("é", expected)]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"<html>",
        b"[]",
        b"{}",
        b'{"message": "hi"}',
        b'{"message": {"content": 5}}',
        b'{"message": {"tool_calls": {}}}',
        b'{"message": {"tool_calls": [{}]}}',
        b'{"message": {"tool_calls": [{"function": {"arguments": {}}}]}}',
        b'{"message": {"tool_calls": [{"function": {"name": "a", "arguments": '
        + b"[" * 300
        + b"]" * 300
        + b"}}]}}",
        b'{"message": {"content": "x"}, "logprobs": [{"token": "x"}]}',
    ],
)
def test_garbage_is_an_invalid_response(data):
    with pytest.raises(UpstreamError) as caught:
        DIALECT.read_chat(data, BUILT)
    assert caught.value.fault is Fault.INVALID_RESPONSE
    assert fault_of((data or b"x") + b"\n") is Fault.INVALID_RESPONSE


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("an error was encountered while running the model", Fault.SERVER_ERROR),
        (
            "server busy, please try again.  maximum pending requests exceeded",
            Fault.UNAVAILABLE,
        ),
        ("the input length exceeds the context length", Fault.CONTEXT_LENGTH),
    ],
)
def test_an_error_in_a_200_is_an_error(text, fault):
    data = orjson.dumps({"error": text})
    with pytest.raises(UpstreamError) as caught:
        DIALECT.read_chat(data, BUILT)
    assert (caught.value.fault, caught.value.upstream_status) == (fault, 200)


def test_a_stream_that_fails_gives_what_came_before():
    decoder = DIALECT.chat_decoder(BUILT)
    events = decoder.feed(a_line({"content": "hi"}) + b'{"error": "boom"}\n')
    assert next(events) == TextDelta("hi")
    with pytest.raises(UpstreamError) as caught:
        next(events)
    assert caught.value.fault is Fault.SERVER_ERROR
    assert not decoder.is_finished


STREAM = b"".join(
    [
        a_line({"role": "assistant", "thinking": "h\u2028m"}),
        b"\n",
        a_line({"content": "Grüße "}),
        a_line({"content": "\U0001f600"}),
        a_line({"content": "", "tool_calls": [a_call("a", {"x": [1, "}\n"]}, id="i")]}),
        a_line({"content": "", "tool_calls": [a_call("b", {}), a_call("b", {})]}),
        an_answer({"content": ""}) + b"\n",
        b"whatever follows the end\n",
    ]
)


def test_a_stream_is_decoded_in_order():
    events = decoded(STREAM)
    assert events[:5] == [
        ReasoningDelta("h\u2028m"),
        TextDelta("Grüße "),
        TextDelta("\U0001f600"),
        ToolCallStart(0, "i", "a"),
        ToolArgumentsDelta(0, '{"x":[1,"}\\n"]}'),
    ]
    starts = [event for event in events if isinstance(event, ToolCallStart)]
    assert [(start.index, start.name) for start in starts] == [
        (0, "a"),
        (1, "b"),
        (2, "b"),
    ]
    assert len({start.id for start in starts}) == 3
    assert events[-2:] == [
        UsageUpdate(Usage(input_tokens=11, output_tokens=7)),
        Finished(FinishReason.TOOL_CALLS),
    ]


@given(st.lists(st.integers(0, len(STREAM)), max_size=30))
def test_decoding_ignores_where_the_bytes_split(cuts):
    edges = [0, *sorted(cuts), len(STREAM)]
    pieces = [STREAM[a:b] for a, b in pairwise(edges)]
    assert decoded(*pieces) == decoded(STREAM)


def test_decoding_byte_by_byte_gives_the_same():
    assert decoded(*(bytes([byte]) for byte in STREAM)) == decoded(STREAM)


def test_the_end_is_known_only_when_it_came():
    decoder = DIALECT.chat_decoder(BUILT)
    end = an_answer({"content": ""}) + b"\n"
    pieces = [a_line({"content": "hi"}), end[:-1], end[-1:]]
    known = []
    for piece in pieces:
        list(decoder.feed(piece))
        known.append(decoder.is_finished)
    assert known == [False, False, True]
    assert list(decoder.feed(b"x" * 2_000_000)) == []


@pytest.mark.parametrize("end", [b"", b"\n"])
def test_a_line_without_end_is_refused(end):
    assert fault_of(*[b"x" * 65_536] * 17, end) is Fault.INVALID_RESPONSE


WORDS = st.text(max_size=6)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | WORDS,
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(WORDS, inner, max_size=2)
    ),
    max_leaves=4,
)


@given(st.lists(st.dictionaries(WORDS, JSON, max_size=2), min_size=1, max_size=3))
def test_tool_arguments_are_put_together_as_they_were(arguments):
    calls = [a_call(f"tool{i}", given_) for i, given_ in enumerate(arguments)]
    events = decoded(*(a_line({"tool_calls": [call]}) for call in calls))
    texts = dict.fromkeys(range(len(arguments)), "")
    for event in events:
        if isinstance(event, ToolArgumentsDelta):
            texts[event.index] += event.text
    assert [orjson.loads(text) for text in texts.values()] == arguments
    whole = DIALECT.read_chat(an_answer({"tool_calls": calls}), BUILT)
    assert [orjson.loads(call.arguments) for call in whole.tool_calls] == arguments


@given(st.binary(max_size=60) | JSON.map(orjson.dumps))
def test_a_stream_of_anything_gives_events_or_one_kind_of_error(data):
    with contextlib.suppress(UpstreamError):
        decoded(data + b"\n")


@given(st.integers(300, 599), st.binary(max_size=60) | JSON.map(orjson.dumps))
def test_an_error_answer_of_anything_is_classified(status, data):
    assert DIALECT.read_error(status, data, None).upstream_status == status


def test_embeddings_are_read():
    data = b'{"embeddings": [[1, 0.5], [0, -1e-3]], "prompt_eval_count": 4}'
    answer = DIALECT.read_embeddings(data)
    assert [list(vector) for vector in answer.vectors] == [[1, 0.5], [0, -0.001]]
    assert answer.usage == Usage(input_tokens=4)
    bare = DIALECT.read_embeddings(b'{"embeddings": [[1.0]]}')
    assert bare.usage is None


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}",
        b'{"embeddings": []}',
        b'{"embeddings": [["a"]]}',
        b'{"embeddings": [1]}',
    ],
)
def test_embeddings_that_are_none_are_an_invalid_response(data):
    with pytest.raises(UpstreamError) as caught:
        DIALECT.read_embeddings(data)
    assert caught.value.fault is Fault.INVALID_RESPONSE
