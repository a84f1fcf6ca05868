"""Anthropic's event streams, decoded."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise
from typing import Any

import orjson
import pytest
from anthropic.types import Message as SdkMessage, RawMessageStreamEvent
from hypothesis import given, strategies as st
from pydantic import TypeAdapter

from gateway.dialects.anthropic import AnthropicDialect
from gateway.dialects.anthropic.response import REFUSAL
from gateway.dialects.base import Built
from gateway.dialects.record import (
    Finished,
    Ping,
    ReasoningDelta,
    RefusalDelta,
    StreamEvent,
    TextDelta,
    ThinkingBlock,
    ToolArgumentsDelta,
    ToolCallStart,
    Usage,
    UsageUpdate,
)
from gateway.errors import UpstreamError
from gateway.kinds import Fault, FinishReason

DIALECT = AnthropicDialect()
PLAIN = Built(b"")
SDK_EVENT: TypeAdapter[Any] = TypeAdapter(RawMessageStreamEvent)
START: dict[str, Any] = {
    "type": "message_start",
    "message": {
        "id": "msg_014p7gG3wDgGV9EUtLvnow3U",
        "type": "message",
        "role": "assistant",
        "model": "claude-opus-4-6",
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {
            "input_tokens": 472,
            "cache_read_input_tokens": 100,
            "cache_creation_input_tokens": 30,
            "cache_creation": {
                "ephemeral_5m_input_tokens": 10,
                "ephemeral_1h_input_tokens": 20,
            },
            "output_tokens": 2,
        },
    },
}
STOP = {"type": "message_stop"}
USAGE = Usage(472, 100, 10, 20, output_tokens=2)
STARTED = UsageUpdate(USAGE)


def opened(index: int, **block: object) -> dict[str, object]:
    return {"type": "content_block_start", "index": index, "content_block": block}


def delta(index: int, kind: str, **fields: object) -> dict[str, object]:
    inner = {"type": kind, **fields}
    return {"type": "content_block_delta", "index": index, "delta": inner}


def closed(index: int) -> dict[str, object]:
    return {"type": "content_block_stop", "index": index}


def text(index: int, *parts: str) -> list[dict[str, object]]:
    deltas = [delta(index, "text_delta", text=part) for part in parts]
    return [opened(index, type="text", text=""), *deltas, closed(index)]


def tool(index: int, id_: str, name: str, *parts: str) -> list[dict[str, object]]:
    deltas = [delta(index, "input_json_delta", partial_json=part) for part in parts]
    start = opened(index, type="tool_use", id=id_, name=name, input={})
    return [start, *deltas, closed(index)]


def ended(stop_reason: str | None, **more: object) -> dict[str, object]:
    inner = {"stop_reason": stop_reason, "stop_sequence": None, **more}
    return {"type": "message_delta", "delta": inner, "usage": {"output_tokens": 89}}


def wire(*events: dict[str, Any]) -> bytes:
    """Write events as the vendor does: named, with a ping after the start."""
    ping = b'event: ping\ndata: {"type": "ping"}\n\n'
    written = [
        b"event: %s\ndata: %s\n\n" % (str(e["type"]).encode(), json.dumps(e).encode())
        for e in events
    ]
    return b"".join([*written[:1], ping, *written[1:]])


def decode(stream: bytes, built: Built = PLAIN, size: int = 10**9) -> list[StreamEvent]:
    decoder = DIALECT.chat_decoder(built)
    pieces = [stream[at : at + size] for at in range(0, len(stream), size)]
    found = [event for piece in pieces for event in decoder.feed(piece)]
    assert decoder.is_finished
    return found


def content(found: list[StreamEvent]) -> list[StreamEvent]:
    return [event for event in found if not isinstance(event, UsageUpdate | Ping)]


def failure(stream: bytes) -> tuple[list[StreamEvent], UpstreamError]:
    """Give the events before the error, and the error."""
    decoder = DIALECT.chat_decoder(PLAIN)
    found: list[StreamEvent] = []
    with pytest.raises(UpstreamError) as caught:
        found.extend(decoder.feed(stream))
    assert not decoder.is_finished
    return found, caught.value


WHOLE = [
    START,
    opened(0, type="thinking", thinking="", signature=""),
    delta(0, "thinking_delta", thinking="Let me "),
    delta(0, "thinking_delta", thinking="see: 🙂"),
    delta(0, "signature_delta", signature="EqQBCgIYAhIM1gbcDa9GJwZA2b3h"),
    closed(0),
    opened(1, type="redacted_thinking", data="EmwKAhgBEgy3va3pzix"),
    closed(1),
    *text(2, "Okay, ", "naïve ", "Grüße"),
    *tool(
        3,
        "toolu_01T1x1fJ34qAmk2tNTrN7Up6",
        "get_weather",
        "",
        '{"city":',
        ' "Zü',
        'rich"}',
    ),
    *tool(4, "toolu_02", "get_time"),
    ended("tool_use"),
    STOP,
]


def test_a_whole_stream():
    assert decode(wire(*WHOLE)) == [
        STARTED,
        Ping(),
        ReasoningDelta("Let me "),
        ReasoningDelta("see: 🙂"),
        ThinkingBlock(
            {
                "type": "thinking",
                "thinking": "Let me see: 🙂",
                "signature": "EqQBCgIYAhIM1gbcDa9GJwZA2b3h",
            }
        ),
        ThinkingBlock({"type": "redacted_thinking", "data": "EmwKAhgBEgy3va3pzix"}),
        TextDelta("Okay, "),
        TextDelta("naïve "),
        TextDelta("Grüße"),
        ToolCallStart(0, "toolu_01T1x1fJ34qAmk2tNTrN7Up6", "get_weather"),
        ToolArgumentsDelta(0, '{"city":'),
        ToolArgumentsDelta(0, ' "Zü'),
        ToolArgumentsDelta(0, 'rich"}'),
        ToolCallStart(1, "toolu_02", "get_time"),
        ToolArgumentsDelta(1, "{}"),
        UsageUpdate(replace(USAGE, output_tokens=89)),
        Finished(FinishReason.TOOL_CALLS),
    ]


def test_the_examples_are_what_the_official_sdk_types():
    for event in WHOLE:
        SDK_EVENT.validate_python(event)


@given(
    st.lists(st.integers(0, len(wire(*WHOLE)))), st.sampled_from(["\n", "\r\n", "\r"])
)
def test_any_split_of_the_bytes_yields_the_same_events(cuts, line_end):
    stream = wire(*WHOLE).decode().replace("\n", line_end).encode()
    decoder = DIALECT.chat_decoder(PLAIN)
    edges = [0, *sorted(cuts), len(stream)]
    found = [
        event
        for start, end in pairwise(edges)
        for event in decoder.feed(stream[start:end])
    ]
    assert found == decode(wire(*WHOLE))


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["f", "g_1234"]),
            st.dictionaries(st.text(st.characters(codec="utf-8")), st.integers()),
            st.lists(st.integers(0, 60)),
        ),
        max_size=4,
    ),
    st.integers(1, 50),
)
def test_reassembled_arguments_are_the_upstreams(calls, size):
    events, said = [START], []
    for index, (name, arguments, cuts) in enumerate(calls):
        whole = json.dumps(arguments, ensure_ascii=False)
        edges = [0, *sorted(min(cut, len(whole)) for cut in cuts), len(whole)]
        parts = [whole[a:b] for a, b in pairwise(edges)]
        events += [
            *text(2 * index, "x"),
            *tool(2 * index + 1, f"t{index}", name, *parts),
        ]
        said.append((f"t{index}", {"g_1234": "g.x"}.get(name, name), whole))
    built = Built(b"", tool_names={"g_1234": "g.x"})
    found = decode(wire(*events, ended("tool_use"), STOP), built, size)
    starts = [event for event in found if isinstance(event, ToolCallStart)]
    heard = [
        (
            start.id,
            start.name,
            "".join(
                event.text
                for event in found
                if isinstance(event, ToolArgumentsDelta) and event.index == start.index
            ),
        )
        for start in starts
    ]
    assert heard == said
    assert [start.index for start in starts] == list(range(len(calls)))


def test_a_stream_and_a_whole_answer_say_the_same():
    blocks = [
        {"type": "text", "text": "Okay"},
        {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {"a": 1}},
    ]
    message = {**START["message"], "content": blocks, "stop_reason": "tool_use"}
    message["usage"] = {**message["usage"], "output_tokens": 89}
    whole = DIALECT.read_chat(
        SdkMessage.model_validate(message).model_dump_json().encode(), PLAIN
    )
    events = [START, *text(0, "Okay"), *tool(1, "toolu_1", "f", '{"a":1}')]
    found = decode(wire(*events, ended("tool_use"), STOP))
    assert whole.usage is not None
    assert content(found) == [
        TextDelta("Okay"),
        ToolCallStart(0, "toolu_1", "f"),
        ToolArgumentsDelta(0, whole.tool_calls[0].arguments),
        Finished(whole.finish_reason),
    ]
    assert found[-2] == UsageUpdate(whole.usage)


def test_a_thought_without_a_signature_is_not_given_for_the_way_back():
    start = opened(0, type="thinking", thinking="", signature="")
    thought = delta(0, "thinking_delta", thinking="Hm.")
    found = decode(wire(START, start, thought, closed(0), ended("end_turn"), STOP))
    assert content(found) == [ReasoningDelta("Hm."), Finished(FinishReason.STOP)]


def test_usage_is_merged_field_by_field():
    last = ended("end_turn")
    last["usage"] = {
        "output_tokens": 50,
        "input_tokens": None,
        "cache_read_input_tokens": 0,
        "output_tokens_details": {"thinking_tokens": 7},
        "server_tool_use": {"web_search_requests": 1},
    }
    found = decode(wire(START, *text(0, "x"), last, STOP))
    assert found[-2] == UsageUpdate(
        replace(USAGE, output_tokens=43, reasoning_tokens=7)
    )


def test_cumulative_usage_may_grow():
    last = ended("end_turn")
    last["usage"] = {"input_tokens": 900, "output_tokens": 50}
    assert decode(wire(START, last, STOP))[-2] == UsageUpdate(
        replace(USAGE, input_tokens=900, output_tokens=50)
    )


def test_several_message_deltas_end_the_answer_once():
    found = decode(
        wire(START, ended(None), ended("max_tokens"), ended("end_turn"), STOP)
    )
    assert content(found) == [Finished(FinishReason.LENGTH)]


def test_an_end_without_a_reason_is_an_end():
    assert content(decode(wire(START, *text(0, "x"), STOP))) == [
        TextDelta("x"),
        Finished(FinishReason.STOP),
    ]


def test_a_refusal_in_the_middle_is_told():
    details = {"type": "refusal", "category": "cyber", "explanation": "Not this."}
    found = decode(
        wire(START, *text(0, "Sure, "), ended("refusal", stop_details=details), STOP)
    )
    assert content(found) == [
        TextDelta("Sure, "),
        RefusalDelta("Not this."),
        Finished(FinishReason.CONTENT_FILTER),
    ]
    assert RefusalDelta(REFUSAL) in decode(wire(START, ended("refusal"), STOP))


def test_the_tool_that_stands_for_a_schema_streams_as_text():
    built = Built(b"", json_tool="answer")
    events = [START, *text(0, "Here: "), *tool(1, "t1", "answer", '{"n"', ": 1}")]
    again = tool(2, "t2", "answer", '{"n": 2}')
    found = decode(wire(*events, *again, ended("tool_use"), STOP), built)
    assert content(found) == [
        TextDelta('{"n"'),
        TextDelta(": 1}"),
        Finished(FinishReason.STOP),
    ]


def test_text_is_the_answer_when_that_tool_was_not_called():
    built = Built(b"", json_tool="answer")
    found = decode(
        wire(START, *text(0, '{"n"', ": 1}"), ended("end_turn"), STOP), built
    )
    assert content(found) == [TextDelta('{"n": 1}'), Finished(FinishReason.STOP)]


def test_a_clients_tool_may_be_called_instead_of_the_answers():
    built = Built(b"", json_tool="answer")
    found = decode(wire(START, *tool(0, "t", "f"), ended("tool_use"), STOP), built)
    assert content(found) == [
        ToolCallStart(0, "t", "f"),
        ToolArgumentsDelta(0, "{}"),
        Finished(FinishReason.TOOL_CALLS),
    ]


def test_input_that_is_whole_at_the_start_is_not_lost():
    start = opened(0, type="tool_use", id="t", name="f", input={"a": 1})
    found = decode(wire(START, start, closed(0), ended("tool_use"), STOP))
    assert ToolArgumentsDelta(0, '{"a":1}') in found


def test_what_is_new_or_not_for_a_chat_is_skipped():
    found = decode(
        wire(
            START,
            {"type": "not_yet_invented", "x": 1},
            {"type": "content_block_invented", "index": 9},
            opened(0, type="server_tool_use", id="s", name="web_search", input={}),
            delta(0, "input_json_delta", partial_json='{"query": "x"}'),
            closed(0),
            opened(1, type="text", text=""),
            delta(1, "citations_delta", citation={"type": "char_location"}),
            delta(1, "not_yet_invented", x=1),
            delta(1, "text_delta", text=""),
            delta(1, "text_delta", text="x"),
            closed(1),
            ended("end_turn"),
            STOP,
        )
        .replace(
            b"event: not_yet_invented\ndata: {", b"event: not_yet_invented\ndata: <"
        )
        .replace(b"event: ping\n", b": a comment\nevent: empty\ndata:\n\nevent: ping\n")
    )
    assert content(found) == [TextDelta("x"), Finished(FinishReason.STOP)]


def test_nothing_after_the_end_is_read():
    stream = (
        wire(START, ended("end_turn"), STOP)
        + b"data: [DONE]\n\nevent: error\ndata: x\n\n"
    )
    assert decode(stream)[-1] == Finished(FinishReason.STOP)


def test_a_stream_that_is_cut_off_is_not_finished():
    decoder = DIALECT.chat_decoder(PLAIN)
    assert list(decoder.feed(wire(START, *text(0, "x"), ended("end_turn"))))
    assert not decoder.is_finished


@pytest.mark.parametrize(
    ("kind", "message", "fault"),
    [
        ("overloaded_error", "Overloaded", Fault.UNAVAILABLE),
        ("rate_limit_error", "Slow down", Fault.RATE_LIMITED),
        ("authentication_error", "invalid x-api-key", Fault.CREDENTIAL_REJECTED),
        ("permission_error", "No", Fault.CREDENTIAL_REJECTED),
        ("billing_error", "Pay", Fault.QUOTA_EXHAUSTED),
        ("not_found_error", "model: x", Fault.MODEL_MISSING),
        ("api_error", "Internal server error", Fault.SERVER_ERROR),
        ("timeout_error", "Late", Fault.UNAVAILABLE),
        ("invalid_request_error", "Bad", Fault.REJECTED),
        ("invalid_request_error", "prompt is too long: 9 > 8", Fault.CONTEXT_LENGTH),
        ("not_yet_invented", "?", Fault.SERVER_ERROR),
    ],
)
def test_an_error_event_has_its_fault_and_what_came_before_is_kept(
    kind, message, fault
):
    error = {"type": "error", "error": {"type": kind, "message": message}}
    found, caught = failure(wire(START, opened(0, type="text", text="x"), error))
    assert content(found) == [TextDelta("x")]
    assert (caught.fault, caught.message, caught.provider_code) == (
        fault,
        message,
        kind,
    )


@pytest.mark.parametrize("error", [None, "x", {}, {"type": 1, "message": []}])
def test_an_error_event_of_any_shape_is_an_error(error):
    _, caught = failure(wire(START, {"type": "error", "error": error}))
    assert caught.fault is Fault.SERVER_ERROR
    assert caught.message == "The provider ended its answer with an error."


@pytest.mark.parametrize(
    "events",
    [
        text(0, "x"),
        [ended("end_turn")],
        [STOP],
        [START, START],
        [START, delta(0, "text_delta", text="x")],
        [START, closed(0)],
        [START, *text(0, "x"), delta(0, "text_delta", text="late")],
        [START, *text(0, "x"), closed(0)],
        [START, opened(0, type="text", text=""), opened(0, type="text", text="")],
        [START, {"type": "content_block_start", "content_block": {"type": "text"}}],
        [START, {"type": "content_block_start", "index": 0}],
        [START, opened(0, type="text"), {"type": "content_block_delta", "index": 0}],
        [START, opened(0, type="text"), delta(0, "text_delta", text=1)],
        [START, opened(0, type="text"), delta(0, "thinking_delta", thinking="x")],
        [START, opened(0, type="text"), delta(0, "input_json_delta", partial_json="{")],
        [START, opened(0, type="tool_use", id="", name="f", input={})],
        [START, opened(0, type="tool_use", id="t", input={})],
        [START, opened(0, type="tool_use", id="t", name="f", input="{}"), closed(0)],
        [START, {"type": "message_delta"}],
        [
            START,
            {"type": "message_delta", "delta": {}, "usage": {"output_tokens": "9"}},
        ],
        [{"type": "message_start"}],
    ],
)
def test_a_broken_grammar_is_invalid(events):
    _, caught = failure(wire(*events))
    assert caught.fault is Fault.INVALID_RESPONSE


@pytest.mark.parametrize(
    "stream",
    [
        b"event: message_start\ndata: {\n\n",
        b"data: [1]\n\n",
        b"data: <html>\n\n",
        b"data: " + b"x" * (1 << 21),
    ],
)
def test_garbage_is_invalid(stream):
    assert failure(stream)[1].fault is Fault.INVALID_RESPONSE


def test_events_without_a_name_are_read_by_their_type():
    stream = wire(START, *text(0, "x"), ended("end_turn"), STOP)
    nameless = b"\n".join(
        line for line in stream.split(b"\n") if not line.startswith(b"event:")
    )
    assert decode(nameless) == decode(stream)


@given(st.lists(st.sampled_from([orjson.dumps(event) for event in WHOLE]), max_size=8))
def test_events_in_any_order_either_decode_or_are_invalid(payloads):
    stream = b"".join(b"data: " + payload + b"\n\n" for payload in payloads)
    decoder = DIALECT.chat_decoder(PLAIN)
    faults: set[Fault] = set()
    try:
        list(decoder.feed(stream))
    except UpstreamError as error:
        faults.add(error.fault)
    assert faults <= {Fault.INVALID_RESPONSE}
