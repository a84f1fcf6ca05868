"""Our own chunks and answers: what OpenAI's clients rely on."""

from __future__ import annotations

import base64
import struct
from typing import Any

import orjson
import pytest

from gateway.dialects.openai.encoder import (
    ChunkEncoder,
    Envelope,
    encode_chat,
    encode_embeddings,
    error_event,
)
from gateway.dialects.record import (
    ChatResponse,
    EmbeddingsResponse,
    Finished,
    Ping,
    ReasoningDelta,
    StreamEvent,
    TextDelta,
    ToolArgumentsDelta,
    ToolCall,
    ToolCallStart,
    Usage,
)
from gateway.kinds import FinishReason

ENVELOPE = Envelope(answer_id="chatcmpl-1", model="m", created_s=7)
USAGE = Usage(
    input_tokens=10,
    cache_read_tokens=5,
    cache_write_tokens=2,
    cache_write_1h_tokens=3,
    audio_input_tokens=7,
    output_tokens=4,
    reasoning_tokens=6,
    audio_output_tokens=8,
)
COUNTS = {
    "prompt_tokens": 27,
    "completion_tokens": 18,
    "total_tokens": 45,
    "prompt_tokens_details": {
        "cached_tokens": 5,
        "cache_write_tokens": 5,
        "audio_tokens": 7,
    },
    "completion_tokens_details": {"reasoning_tokens": 6, "audio_tokens": 8},
}


def encoded(*events: StreamEvent, include_usage: bool = False) -> list[dict[str, Any]]:
    """Encode a whole stream and parse its chunks; it must end with the mark."""
    encoder = ChunkEncoder(ENVELOPE, include_usage=include_usage)
    stream = b"".join(map(encoder.encode, events)) + encoder.end(USAGE)
    *blocks, mark, empty = stream.split(b"\n\n")
    assert (mark, empty) == (b"data: [DONE]", b"")
    return [orjson.loads(block.removeprefix(b"data: ")) for block in blocks]


def test_a_stream_has_one_role_the_text_and_one_reason() -> None:
    chunks = encoded(TextDelta("He"), TextDelta("y"), Finished(FinishReason.STOP))
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks]
    assert deltas == [
        {"role": "assistant", "content": ""},
        {"content": "He"},
        {"content": "y"},
        {},
    ]
    reasons = [chunk["choices"][0]["finish_reason"] for chunk in chunks]
    assert reasons == [None, None, None, "stop"]
    heads = {(c["id"], c["object"], c["created"], c["model"]) for c in chunks}
    assert heads == {("chatcmpl-1", "chat.completion.chunk", 7, "m")}
    assert all("usage" not in chunk for chunk in chunks)


def test_usage_is_the_last_chunk_and_null_in_the_others() -> None:
    *others, last = encoded(
        TextDelta("x"), Finished(FinishReason.LENGTH), include_usage=True
    )
    assert [chunk["usage"] for chunk in others] == [None] * len(others)
    assert (last["choices"], last["usage"]) == ([], COUNTS)


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (FinishReason.STOP, "tool_calls"),  # some servers say stop after a call
        (FinishReason.TOOL_CALLS, "tool_calls"),
        (FinishReason.LENGTH, "length"),
    ],
)
def test_the_reason_is_computed_from_what_was_sent(
    said: FinishReason, told: str
) -> None:
    chunks = encoded(
        ToolCallStart(index=0, id="call_1", name="f"),
        ToolArgumentsDelta(index=0, text='{"a"'),
        ToolArgumentsDelta(index=0, text=":1}"),
        Finished(said),
    )
    assert chunks[-1]["choices"][0]["finish_reason"] == told
    calls = [
        call
        for chunk in chunks
        for call in chunk["choices"][0]["delta"].get("tool_calls", ())
    ]
    assert calls[0] == {
        "index": 0,
        "id": "call_1",
        "type": "function",
        "function": {"name": "f", "arguments": ""},
    }
    arguments = "".join(call["function"]["arguments"] for call in calls)
    assert orjson.loads(arguments) == {"a": 1}


def test_a_ping_is_a_comment_and_reasoning_a_delta_of_its_own() -> None:
    encoder = ChunkEncoder(ENVELOPE, include_usage=False)
    assert encoder.encode(Ping()).startswith(b":")
    chunk = encoder.encode(ReasoningDelta("hm")).split(b"\n\n")[1]
    delta = orjson.loads(chunk.removeprefix(b"data: "))["choices"][0]["delta"]
    assert delta == {"reasoning_content": "hm"}


def test_the_error_event_is_a_chunk_that_sdks_raise_on() -> None:
    data = error_event(ENVELOPE, message="It broke.", code="upstream_interrupted")
    assert data.endswith(b"\n\n")
    body = orjson.loads(data.removeprefix(b"data: "))
    assert body["error"] == {
        "message": "It broke.",
        "type": "server_error",
        "param": None,
        "code": "upstream_interrupted",
    }
    assert body["choices"] == [{"index": 0, "delta": {}, "finish_reason": "error"}]
    assert body["id"] == "chatcmpl-1"


def test_a_whole_answer_has_every_part() -> None:
    response = ChatResponse(
        text=None,
        usage=None,
        tool_calls=(ToolCall(id="c", name="f", arguments="{}"),),
        reasoning="hm",
        finish_reason=FinishReason.TOOL_CALLS,
    )
    body = orjson.loads(encode_chat(response, ENVELOPE, USAGE))
    assert (body["id"], body["object"], body["created"]) == (
        "chatcmpl-1",
        "chat.completion",
        7,
    )
    assert body["usage"] == COUNTS
    (choice,) = body["choices"]
    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"] == {
        "role": "assistant",
        "content": None,
        "refusal": None,
        "reasoning_content": "hm",
        "tool_calls": [
            {
                "id": "c",
                "type": "function",
                "function": {"name": "f", "arguments": "{}"},
            }
        ],
    }


@pytest.mark.parametrize("as_base64", [False, True])
def test_vectors_are_written_as_asked(as_base64: bool) -> None:
    response = EmbeddingsResponse(vectors=((0.5, -2.0), (1.0, 0.0)), usage=None)
    body = orjson.loads(
        encode_embeddings(
            response, model="m", usage=Usage(input_tokens=3), as_base64=as_base64
        )
    )
    vectors = [entry["embedding"] for entry in body["data"]]
    if as_base64:
        vectors = [list(struct.unpack("<2f", base64.b64decode(v))) for v in vectors]
    assert vectors == [[0.5, -2.0], [1.0, 0.0]]
    assert [entry["index"] for entry in body["data"]] == [0, 1]
    assert body["usage"] == {"prompt_tokens": 3, "total_tokens": 3}
