"""Streams end to end: one terminal event, whatever the provider does and whenever."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise

import pytest

from gateway.simulator import Behaviour
from tests.api.scenes import ANSWER, KINDS, Scene, Stage, Upstreams
from tests.client import Reply
from tests.upstreams.simulators import running_simulator

every_kind = pytest.mark.parametrize("kind", KINDS)
# A breaker that never opens, so that one scene takes many failures.
PATIENT = {"breaker_failures": 1000, "breaker_minimum_requests": 1000}
INTERRUPTED = "upstream_interrupted"


def check_broken_or_whole(scene: Scene, reply: Reply, attempts: str) -> None:
    """Whole from elsewhere, or a beginning of the answer and exactly one error."""
    assert reply.status == 200
    if reply.error is None:
        assert reply.is_done
        assert reply.text == ANSWER
        return
    assert attempts == "a", "nobody else was asked after the first content"
    assert reply.code == INTERRUPTED
    assert reply.text
    assert ANSWER.startswith(reply.text)
    assert not reply.is_done


def roles(reply: Reply) -> int:
    return sum(
        "role" in choice["delta"]
        for chunk in reply.chunks
        for choice in chunk["choices"]
    )


@pytest.fixture
def paced(upstreams: Upstreams) -> Iterator[None]:
    """Let a take its time, so that its events arrive one by one."""
    before = upstreams["a"].behaviour
    upstreams["a"].behaviour = replace(before, tokens_per_s=300)
    yield
    upstreams["a"].behaviour = before


@every_kind
@pytest.mark.parametrize("fault", ["die_after", "error_event_after"])
def test_a_stream_that_breaks_after_any_event_ends_once_and_clearly(
    stage: Stage, paced: None, fault: str, kind: str
) -> None:
    scene = stage.special(strategy=PATIENT, a={"kind": kind})
    outcomes = ""
    for events in range(30):
        before = len(scene.attempts)
        scene.script(a=[f"{fault}:{events}"])
        reply = scene.ask(stream=True)
        attempts = scene.attempts[before:]
        check_broken_or_whole(scene, reply, attempts)
        assert roles(reply) == 1
        outcomes += "w" if reply.is_whole else "x"
        if events == 0:
            assert attempts == "ab", "nothing was said yet: another provider answers"
            assert scene.served_by(reply) == "b"
        if reply.is_whole and attempts == "a":
            break
    assert outcomes.count("x") >= 3, outcomes
    assert outcomes.endswith("w"), outcomes


@every_kind
@pytest.mark.parametrize("fault", ["fin_at", "reset_at"])
def test_a_stream_cut_at_any_byte_ends_once_and_clearly(
    stage: Stage, fault: str, kind: str
) -> None:
    scene = stage.special(strategy=PATIENT, a={"kind": kind})
    interrupted = 0
    # An odd step, so that the cuts fall inside of headers, lines, chunks and letters.
    for size in range(1, 4000, 61):
        before = len(scene.attempts)
        scene.script(a=[f"{fault}:{size}"])
        reply = scene.ask(stream=True)
        attempts = scene.attempts[before:]
        check_broken_or_whole(scene, reply, attempts)
        interrupted += reply.error is not None
        if attempts == "a" and reply.is_whole:
            break
    assert interrupted or fault == "reset_at"  # a reset may overtake what was sent


@every_kind
@pytest.mark.parametrize(
    "fault", ["drip:1", "drip:7", "gzip", "truncated_chunk", "wrong_length"]
)
def test_however_the_bytes_come_the_answer_is_whole(
    stage: Stage, fault: str, kind: str
) -> None:
    scene = stage.scene(kind)
    scene.script(a=[fault])
    reply = scene.ask(stream=True)
    assert scene.attempts == "a"
    assert reply.is_whole
    assert reply.text == ANSWER


@every_kind
@pytest.mark.parametrize("fault", ["drip:1", "drip:7", "gzip"])
def test_however_the_bytes_of_a_whole_answer_come_it_is_read(
    stage: Stage, fault: str, kind: str
) -> None:
    scene = stage.scene(kind)
    scene.script(a=[fault])
    reply = scene.ask(stream=False)
    assert scene.attempts == "a"
    assert reply.text == ANSWER


@every_kind
@pytest.mark.parametrize("fault", ["truncated_chunk", "wrong_length", "bad_utf8"])
def test_a_broken_whole_answer_comes_from_somebody_else(
    stage: Stage, fault: str, kind: str
) -> None:
    scene = stage.scene(kind)
    scene.script(a=[fault])
    reply = scene.ask(stream=False)
    assert scene.attempts == "ab"
    assert reply.text == ANSWER


@every_kind
def test_a_stream_whose_first_event_is_no_utf_8_comes_from_somebody_else(
    stage: Stage, kind: str
) -> None:
    scene = stage.scene(kind)
    scene.script(a=["bad_utf8"])
    reply = scene.ask(stream=True)
    assert reply.is_whole
    assert reply.text == ANSWER
    assert b"\xff" not in reply.body


@every_kind
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_a_long_line_passes_and_one_that_is_an_attack_does_not(
    stage: Stage, kind: str, stream: bool
) -> None:
    scene = stage.scene(kind)
    scene.script(a=["huge_line:500000"])
    reply = scene.ask(stream=stream, max_tokens=1_000_000)
    assert scene.attempts == "a"
    assert reply.text == "x" * 500_000
    if not stream:
        return  # whole answers have another limit
    scene.script(a=["huge_line:3000000"])
    reply = scene.ask(stream=True, max_tokens=1_000_000)
    assert scene.attempts == "aab"
    assert reply.text == ANSWER


@pytest.mark.parametrize("kind", KINDS)
def test_events_are_sent_as_they_come(stage: Stage, kind: str) -> None:
    """A client sees the first word long before the last is made."""
    with running_simulator(
        behaviour=Behaviour(answer_text=ANSWER, tokens_per_s=20)
    ) as slow:
        url = slow.openai_url if kind == "openai" else slow.url
        scene = stage.special(a={"kind": kind, "upstream": url})
        seen: list[float] = []
        with stage.gateway.client.streaming(scene.model) as response:
            assert response.headers["cache-control"] == "no-cache"
            assert response.headers["x-accel-buffering"] == "no"
            assert "content-encoding" not in response.headers
            for data in response.iter_raw():
                seen += [time.monotonic()] * data.count(b'"content":"')
        assert len(seen) > 5
        gaps = [after - before for before, after in pairwise(seen)]
        assert sum(gap > 0.02 for gap in gaps) > len(gaps) / 2, gaps
        (entry,) = slow.calls
        assert entry.headers["accept-encoding"] == "identity"


@every_kind
@pytest.mark.parametrize("asked", [False, True])
def test_usage_comes_only_when_it_is_asked_for(
    stage: Stage, kind: str, asked: bool
) -> None:
    scene = stage.scene(kind)
    fields = {"stream_options": {"include_usage": True}} if asked else {}
    reply = scene.ask(stream=True, **fields)
    counted = [chunk for chunk in reply.chunks if chunk.get("usage")]
    assert len(counted) == asked
    if asked:
        assert counted == [reply.chunks[-1]]
        assert counted[0]["choices"] == []
        assert counted[0]["usage"]["completion_tokens"] > 0


def test_a_broken_stream_is_settled_with_what_was_received(
    stage: Stage, paced: None
) -> None:
    scene = stage.scene()
    scene.script(a=["die_after:4"])
    reply = stage.gateway.client.chat(scene.model, stream=True)
    (line,) = [
        each for each in stage.gateway.log("request") if each["model"] == scene.model
    ]
    assert reply.code == INTERRUPTED
    assert line["partial"] is True
    assert line["code"] == INTERRUPTED
    assert line["usage_estimated"] is True
    assert line["output_tokens"] > 0
