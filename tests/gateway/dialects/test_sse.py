"""The parser of server-sent events."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, strategies as st

from gateway.dialects.sse import MAX_EVENT_BYTES, SseEvent, SseParser
from gateway.errors import UpstreamError
from gateway.kinds import Fault


def parse(*pieces: bytes) -> list[SseEvent]:
    parser = SseParser()
    return [event for piece in pieces for event in parser.feed(piece)]


def cut(stream: bytes, positions: list[int]) -> list[bytes]:
    """Cut a stream at positions taken modulo its length; pieces may be empty."""
    edges = sorted({0, len(stream), *(p % (len(stream) + 1) for p in positions)})
    return [stream[a:b] for a, b in pairwise(edges)]


@pytest.mark.parametrize(
    ("stream", "events"),
    [
        (b"data: a\n\n", [(None, b"a")]),
        (b"data:a\n\n", [(None, b"a")]),
        (b"data:  a\n\n", [(None, b" a")]),
        (b"data: a\r\rdata: b\r\r", [(None, b"a"), (None, b"b")]),
        (b"data: a\r\n\r\n", [(None, b"a")]),
        (b"data: a\r\n\ndata: b\n\r", [(None, b"a"), (None, b"b")]),
        (b"event: ping\ndata: {}\n\n", [("ping", b"{}")]),
        (b"event: x\n\ndata: a\n\n", [(None, b"a")]),  # a name alone is no event
        (b"data: a\ndata: b\ndata\n\n", [(None, b"a\nb\n")]),
        (b"data\n\n", [(None, b"")]),
        (b": comment\n:\ndata: a\n: more\n\n", [(None, b"a")]),
        (b"id: 7\nretry: 10\nunknown: x\ndata: a\n\n", [(None, b"a")]),
        (b"\xef\xbb\xbfdata: a\n\n", [(None, b"a")]),
        (b"\n\n\n", []),
        (b"data: cut off", []),
        (b"data: cut off\n", []),
        (
            b"data: a\x0b\x85\x1c\xe2\x80\xa8b\n\n",
            [(None, b"a\x0b\x85\x1c\xe2\x80\xa8b")],
        ),
        ("event: naïve\ndata: 🙂\n\n".encode(), [("naïve", "🙂".encode())]),
        (b"event: \xff\ndata: \xff\n\n", [("\ufffd", b"\xff")]),
    ],
)
def test_a_stream_is_read_as_the_standard_says(stream, events):
    expected = [SseEvent(name, data) for name, data in events]
    assert parse(stream) == expected
    assert parse(*(bytes([byte]) for byte in stream)) == expected


lines = st.one_of(
    st.sampled_from(
        [b"", b"event: message_start", b": keep-alive", b"data", b"\xef\xbb\xbf"]
    ),
    st.text(max_size=8).map(lambda text: b"data: " + text.encode("utf-8", "replace")),
)
streams = st.lists(st.tuples(lines, st.sampled_from([b"\n", b"\r", b"\r\n"]))).map(
    lambda parts: b"".join(line + end for line, end in parts)
)


@given(streams, st.lists(st.integers(min_value=0)))
def test_any_split_yields_the_same_events(stream, positions):
    assert parse(*cut(stream, positions)) == parse(stream)


@given(
    st.lists(
        st.text(alphabet=st.characters(codec="utf-8", exclude_characters="\r\n")),
        min_size=1,
    )
)
def test_what_was_written_is_read(texts):
    stream = "".join(f"event: e\r\ndata: {text}\r\n\r\n" for text in texts).encode()
    assert parse(stream) == [SseEvent("e", text.encode()) for text in texts]


def test_the_longest_allowed_event_is_read():
    data = b"x" * (MAX_EVENT_BYTES - len(b"data: "))
    assert parse(b"data: " + data + b"\n\n") == [SseEvent(None, data)]


@pytest.mark.parametrize(
    "stream",
    [
        b"data: " + b"x" * MAX_EVENT_BYTES,  # a line that never ends
        b"data: " + b"x" * MAX_EVENT_BYTES + b"\n\n",
        b": " + b"x" * MAX_EVENT_BYTES + b"\n",
        (b"data: " + b"x" * 1023 + b"\n") * 1025 + b"\n",  # many short lines
        b"data\n" * (MAX_EVENT_BYTES + 2),  # many empty ones
    ],
)
@pytest.mark.parametrize("piece_size", [4096, 10**9])
def test_an_overlong_line_or_event_is_refused(stream, piece_size):
    pieces = [stream[at : at + piece_size] for at in range(0, len(stream), piece_size)]
    with pytest.raises(UpstreamError) as caught:
        parse(*pieces)
    assert caught.value.fault is Fault.INVALID_RESPONSE


def test_events_before_an_overlong_one_are_not_lost():
    parser = SseParser()
    stream = b"data: a\n\ndata: " + b"x" * MAX_EVENT_BYTES
    assert parser.feed(stream) == [SseEvent(None, b"a")]
    with pytest.raises(UpstreamError):
        parser.feed(b"\n\ndata: b\n\n")
