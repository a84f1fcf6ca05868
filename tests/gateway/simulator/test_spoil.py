"""Faults that change what is sent."""

from __future__ import annotations

import zlib

import orjson
import pytest

from gateway.simulator import Fault, FaultKind
from gateway.simulator.exchange import Answer, Event
from gateway.simulator.spoil import spoil

WHOLE = Answer((Event(b'{"role":"assistant","n":1}'),))
STREAM = Answer(
    (Event(b'event: a\ndata: {"role":"x"}\n\n'), Event(b"data: {}\n\n"), Event(b"END")),
    content_type="text/event-stream",
    is_stream=True,
    failure=b"data: failed\n\n",
)


def spoiled(answer: Answer, spec: str) -> Answer:
    return spoil(answer, Fault.parse(spec))


@pytest.mark.parametrize("answer", [WHOLE, STREAM])
def test_bad_json_cannot_be_parsed_but_is_framed_as_before(answer: Answer) -> None:
    first = spoiled(answer, "bad_json").events[0].data
    assert first.endswith(b"\n\n") == answer.is_stream
    with pytest.raises(orjson.JSONDecodeError):
        orjson.loads(first.partition(b"data: ")[2] or first)


@pytest.mark.parametrize("answer", [WHOLE, STREAM])
def test_bad_utf8_is_json_but_for_its_encoding(answer: Answer) -> None:
    data = spoiled(answer, "bad_utf8").events[0].data
    with pytest.raises(UnicodeDecodeError):
        data.decode()
    text = data.decode(errors="ignore")
    orjson.loads(text.partition("data: ")[2] or text)


def test_a_wrong_type_is_an_array_in_the_same_framing() -> None:
    assert spoiled(WHOLE, "wrong_type").body == b"[1, 2, 3]"
    assert spoiled(STREAM, "wrong_type").events[0].data == (
        b"event: a\ndata: [1, 2, 3]\n\n"
    )


def test_an_error_event_follows_the_events_before_it_and_ends_the_stream() -> None:
    events = [e.data for e in spoiled(STREAM, "error_event_after:1").events]
    assert events == [STREAM.events[0].data, b"data: failed\n\n"]
    assert spoiled(WHOLE, "error_event_after:1") == WHOLE


def test_gzip_keeps_every_event_readable_as_it_arrives() -> None:
    answer = spoiled(STREAM, "gzip")
    unpacker = zlib.decompressobj(wbits=31)
    read = [unpacker.decompress(event.data) for event in answer.events]
    assert read == [*[event.data for event in STREAM.events], b""]
    assert answer.headers["content-encoding"] == "gzip"


def test_garbage_is_a_page_with_status_200() -> None:
    answer = spoiled(STREAM, "garbage")
    assert (answer.status, answer.is_stream) == (200, False)
    assert answer.content_type.startswith("text/html")


def test_a_redirect_names_a_path_on_the_same_server() -> None:
    answer = spoiled(WHOLE, "redirect")
    assert (answer.status, answer.headers["location"]) == (307, "/simulated-redirect")


@pytest.mark.parametrize("kind", [FaultKind.OK, FaultKind.DRIP, FaultKind.HANG])
def test_other_faults_leave_the_answer_alone(kind: FaultKind) -> None:
    assert spoil(STREAM, Fault(kind, 1)) is STREAM
