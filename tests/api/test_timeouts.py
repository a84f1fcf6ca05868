"""Providers that take too long: each timer ends its attempt, the deadline ends them all."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from gateway.simulator import State
from tests.api.scenes import ANSWER, KINDS, Stage

both_modes = pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
every_kind = pytest.mark.parametrize("kind", KINDS)
SHORT_S = 0.3
IMPATIENT = {"first_byte_timeout_s": SHORT_S, "response_timeout_s": SHORT_S}


@pytest.fixture
def full_backlog() -> Iterator[str]:
    """Fill an address's queue of connections: a further SYN is never answered."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):
            client = stack.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex(listener.getsockname())
        yield "http://{}:{}/v1".format(*listener.getsockname())


@pytest.fixture
def silent_tls() -> Iterator[str]:
    """Open an address that takes the connection and never says its TLS hello."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield "https://{}:{}/v1".format(*listener.getsockname())


@both_modes
@pytest.mark.parametrize("address", ["full_backlog", "silent_tls"])
def test_a_connection_that_does_not_come_about_moves_on(
    stage: Stage, address: str, stream: bool, request: pytest.FixtureRequest
) -> None:
    scene = stage.special(
        a={"upstream": request.getfixturevalue(address), "connect_timeout_s": SHORT_S}
    )
    started_s = time.monotonic()
    reply = scene.ask(stream=stream)
    assert time.monotonic() - started_s >= SHORT_S
    assert scene.attempts == "b"
    assert reply.is_whole
    assert reply.headers["x-ailb-attempts"] == "2"
    alone = scene.ask_solo(stream=stream)
    assert (alone.status, alone.code) == (502, "upstream_unreachable")


@every_kind
@pytest.mark.parametrize(
    ("fault", "stream"),
    [
        ("hang", False),
        ("hang_after_headers", False),
        ("hang_after_headers", True),
        ("stall_after:0", True),
    ],
)
def test_a_provider_that_hangs_before_its_first_content_is_left(
    stage: Stage, fault: str, kind: str, stream: bool
) -> None:
    scene = stage.special(a={"kind": kind, **IMPATIENT})
    scene.script(a=[fault])
    reply = scene.ask(stream=stream)
    assert scene.attempts == "ab"
    assert reply.text == ANSWER
    assert reply.is_whole
    (_, left), _ = scene.settled_calls()
    assert left.state is State.CANCELLED, "the connection is closed, nothing is paid"


@both_modes
def test_when_everybody_hangs_the_client_gets_a_504(stage: Stage, stream: bool) -> None:
    scene = stage.special(a=IMPATIENT, b=IMPATIENT, c=IMPATIENT)
    scene.script(a=["hang"], b=["hang_after_headers"], c=["hang"])
    reply = scene.ask(stream=stream)
    assert scene.attempts == "abc"
    assert (reply.status, reply.code) == (504, "upstream_timeout")
    assert reply.headers["x-should-retry"] == "false"
    assert "retry-after" not in reply.headers


@both_modes
def test_slow_is_not_too_slow(stage: Stage, stream: bool) -> None:
    scene = stage.scene()
    scene.script(a=["slow_headers:0.4"])
    assert scene.ask(stream=stream).text == ANSWER
    scene.script(a=["slow_body:0.4"])
    assert scene.ask(stream=stream).text == ANSWER
    assert scene.attempts == "aa"


@both_modes
def test_a_deployments_timeout_wins_over_its_providers(
    stage: Stage, stream: bool
) -> None:
    scene = stage.special(a={"deployment": IMPATIENT})
    scene.script(a=["hang"])
    started_s = time.monotonic()
    assert scene.ask(stream=stream).is_whole
    assert scene.attempts == "ab"
    assert time.monotonic() - started_s < 10, "the provider's own would be 60 or 120 s"


@every_kind
def test_a_stream_that_falls_silent_ends_with_one_error(
    stage: Stage, kind: str
) -> None:
    scene = stage.special(a={"kind": kind, "idle_timeout_s": SHORT_S})
    scene.script(a=["stall_after:6"])
    reply = scene.ask(stream=True)
    assert scene.attempts == "a"
    assert reply.code == "upstream_interrupted"
    assert reply.text
    assert ANSWER.startswith(reply.text)
    ((_, call),) = scene.settled_calls()
    assert call.state is State.CANCELLED


def test_the_idle_timer_does_not_count_the_wait_for_the_first_content(
    stage: Stage,
) -> None:
    scene = stage.special(a={"idle_timeout_s": SHORT_S})
    scene.script(a=["slow_headers:0.8"])
    assert scene.ask(stream=True).is_whole
    assert scene.attempts == "a"


@both_modes
@pytest.mark.parametrize(
    ("deadline_s", "attempts"),
    [(1.5, "a"), (2.6, "ab")],  # no attempt begins with less than 1 s left
)
def test_the_deadline_bounds_all_attempts_together(
    stage: Stage, deadline_s: float, attempts: str, stream: bool
) -> None:
    slow = {"first_byte_timeout_s": 0.8, "response_timeout_s": 0.8}
    scene = stage.special(
        strategy={"request_deadline_s": deadline_s}, a=slow, b=slow, c=slow
    )
    scene.script(a=["hang"], b=["hang"], c=["hang"])
    started_s = time.monotonic()
    reply = scene.ask(stream=stream)
    assert scene.attempts == attempts
    assert (reply.status, reply.code) == (504, "upstream_timeout")
    assert time.monotonic() - started_s < deadline_s + 1


@both_modes
def test_the_last_attempt_is_cut_to_what_is_left_of_the_deadline(
    stage: Stage, stream: bool
) -> None:
    scene = stage.special(strategy={"request_deadline_s": 1.2})
    scene.script(a=["hang"])
    started_s = time.monotonic()
    reply = scene.ask(stream=stream)
    assert reply.status == 504
    assert 1.1 < time.monotonic() - started_s < 3
    assert scene.attempts == "a"
