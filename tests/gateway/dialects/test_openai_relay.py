"""The relay: bytes pass, whole events only, wherever they are split."""

from __future__ import annotations

from dataclasses import astuple

import orjson
import pytest
from hypothesis import given, strategies as st

from gateway.dialects.openai.relay import MAX_EVENT_BYTES, RelayedStream, read_usage
from gateway.dialects.record import Usage
from gateway.kinds import Fault

DONE = b"data: [DONE]\n\n"


def chunk(**choice: object) -> bytes:
    body = {"id": "c", "choices": [{"index": 0, "delta": {}, **choice}]}
    return b"data: " + orjson.dumps(body) + b"\n\n"


def event(**body: object) -> bytes:
    return b"data: " + orjson.dumps(body) + b"\n\n"


ROLE = chunk(delta={"role": "assistant", "content": ""})
# Words that look like the keys that matter, and line ends inside of the text.
WORDS = [
    chunk(delta={"content": text})
    for text in ("Hello ☃", '"error": {"usage": {', "[DONE]", "a\n\nb\u2028c")
]
STOP = chunk(finish_reason="stop")
USAGE = event(id="c", choices=[], usage={"prompt_tokens": 7, "completion_tokens": 5})
WHOLE = [ROLE, *WORDS, STOP, USAGE, DONE]


def relay(
    stream: bytes, cuts: list[int], *, include_usage: bool = False
) -> tuple[RelayedStream, bytes]:
    """Feed a stream in pieces; give the relay and what the client got."""
    relayed, given, start = RelayedStream(include_usage=include_usage), b"", 0
    for cut in [*sorted(cuts), len(stream)]:
        if not relayed.is_finished and relayed.error is None:
            given += relayed.feed(stream[start:cut])
            start = cut
    return relayed, given + relayed.close()


def cuts_of(stream: bytes) -> st.SearchStrategy[list[int]]:
    return st.lists(st.integers(0, len(stream)), max_size=12)


@given(cuts=cuts_of(b"".join(WHOLE)), asked=st.booleans())
def test_bytes_pass_unchanged_wherever_they_are_split(
    cuts: list[int], asked: bool
) -> None:
    relayed, given_bytes = relay(b"".join(WHOLE), cuts, include_usage=asked)
    expected = [block for block in WHOLE if asked or block is not USAGE]
    assert given_bytes == b"".join(expected)
    assert relayed.is_finished
    assert relayed.error is None
    assert relayed.usage == Usage(input_tokens=7, output_tokens=5)
    assert relayed.finish_reason == "stop"


@given(cuts=cuts_of(b"".join(WHOLE)))
def test_line_ends_may_be_crlf(cuts: list[int]) -> None:
    stream = b"".join(block[:-2] + b"\r\n\r\n" for block in WHOLE)
    relayed, given_bytes = relay(stream, cuts, include_usage=True)
    assert given_bytes == stream
    assert relayed.is_finished


@given(cuts=cuts_of(b"".join(WHOLE)), data=st.data())
def test_what_the_client_gets_is_always_whole_events(
    cuts: list[int], data: st.DataObject
) -> None:
    stream = b"".join(WHOLE)
    stream = stream[: data.draw(st.integers(0, len(stream)))]
    relayed, given_bytes = relay(stream, cuts)
    assert not given_bytes or given_bytes.endswith(b"\n\n")
    assert relayed.is_finished is (relayed.error is None)
    if relayed.error is not None:
        assert relayed.error.fault is Fault.INTERRUPTED
        assert b"[DONE]\n" not in given_bytes


def test_an_error_event_stops_the_stream_and_is_not_passed_on() -> None:
    broken = event(error={"message": "secret words", "code": "server_error"})
    relayed, given_bytes = relay(ROLE + WORDS[0] + broken + WORDS[1], [])
    assert given_bytes == ROLE + WORDS[0]
    assert relayed.error is not None
    assert relayed.error.fault is Fault.SERVER_ERROR


@pytest.mark.parametrize(
    "block", [b"data: {\n\n", b"data: [1]\n\n", b"data: <html>\n\n"]
)
def test_a_first_event_that_is_no_object_is_invalid(block: bytes) -> None:
    relayed, given_bytes = relay(block, [])
    assert given_bytes == b""
    assert relayed.error is not None
    assert relayed.error.fault is Fault.INVALID_RESPONSE


@pytest.mark.parametrize(
    ("block", "says_something"),
    [
        (ROLE, False),
        (b": ping\n\n", False),
        (chunk(delta={"tool_calls": []}), False),
        (event(choices=[], prompt_filter_results=[]), False),
        (WORDS[0], True),
        (chunk(delta={"tool_calls": [{"index": 0}]}), True),
        (chunk(delta={"reasoning_content": "hm"}), True),
        (STOP, True),
        (DONE, True),
    ],
)
def test_content_is_what_the_model_says(block: bytes, says_something: bool) -> None:
    relayed = RelayedStream(include_usage=False)
    relayed.feed(block)
    assert relayed.has_content is says_something


def test_a_server_that_forgets_the_mark_is_helped() -> None:
    relayed, given_bytes = relay(ROLE + WORDS[0] + STOP, [])
    assert given_bytes == ROLE + WORDS[0] + STOP + DONE
    assert relayed.is_finished


def test_an_event_without_an_end_is_not_buffered_for_ever() -> None:
    relayed = RelayedStream(include_usage=False)
    for _ in range(MAX_EVENT_BYTES // 2**16 + 1):
        if relayed.error is None:
            relayed.feed(b"x" * 2**16)
    assert relayed.error is not None
    assert relayed.error.fault is Fault.INVALID_RESPONSE


def test_usage_is_read_into_disjoint_buckets() -> None:
    usage = read_usage(
        {
            "prompt_tokens": 100,
            "completion_tokens": 20,
            "prompt_tokens_details": {
                "cached_tokens": 60,
                "cache_write_tokens": 10,
                "audio_tokens": 8,
            },
            "completion_tokens_details": {"reasoning_tokens": 5, "audio_tokens": 3},
        }
    )
    assert usage == Usage(
        input_tokens=22,
        cache_read_tokens=60,
        cache_write_tokens=10,
        audio_input_tokens=8,
        output_tokens=12,
        reasoning_tokens=5,
        audio_output_tokens=3,
    )
    assert (usage.prompt_tokens, usage.completion_tokens) == (100, 20)
    assert read_usage(None) is None
    assert read_usage({"prompt_tokens": "7", "prompt_tokens_details": 3}) == Usage()


COUNTS = st.integers(-5, 200) | st.none() | st.just("7")
DETAILS = ("cached_tokens", "cache_write_tokens", "audio_tokens", "reasoning_tokens")


@given(COUNTS, COUNTS, st.fixed_dictionaries(dict.fromkeys(DETAILS, COUNTS)))
def test_the_buckets_sum_to_what_was_reported_whatever_the_details_claim(
    prompt: object, completion: object, details: dict[str, object]
) -> None:
    usage = read_usage(
        {
            "prompt_tokens": prompt,
            "completion_tokens": completion,
            "prompt_tokens_details": details,
            "completion_tokens_details": details,
        }
    )
    assert usage is not None
    assert usage.prompt_tokens == (max(prompt, 0) if isinstance(prompt, int) else 0)
    assert usage.completion_tokens == (
        max(completion, 0) if isinstance(completion, int) else 0
    )
    assert all(count >= 0 for count in astuple(usage))
