"""Clients that leave: the provider is stopped within 100 ms, nothing stays behind."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import orjson
import pytest

from gateway.simulator import Entry, State
from tests.ailb_project.raw_http import Connection
from tests.api.gateway_process import Gateway, wait_until
from tests.api.scenes import Scene, Stage
from tests.client import chat_body

STOPPED_WITHIN_S = 0.1
REPEATS = 3
every_way = pytest.mark.parametrize(
    ("kind", "how"),
    [
        ("openai", "close"),
        ("openai", "reset"),
        ("anthropic", "close"),
        ("ollama", "reset"),
    ],
)


def send_chat(scene: Scene, *, stream: bool) -> Connection:
    """Send a chat to the scene's solo model, over a connection of its own."""
    body = orjson.dumps(chat_body(scene.solo, stream=stream, text="hi"))
    connection = Connection(scene.gateway.address)
    connection.send(
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n"
        b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n"
        % len(body)
        + body
    )
    return connection


def wait_for_call(scene: Scene, number: int) -> None:
    scene.sims["a"].wait_for(
        lambda seen: sum(entry.model == scene.solo for entry in seen) == number
    )


def leave_and_time(scene: Scene, leave: Callable[[], None]) -> float:
    """Leave, and give the seconds until the provider saw its connection closed."""
    left_s = time.monotonic()
    leave()

    def last(seen: tuple[Entry, ...]) -> Entry:
        return [entry for entry in seen if entry.model == scene.solo][-1]

    seen = scene.sims["a"].wait_for(
        lambda seen: last(seen).closed_after_s is not None, timeout_s=5
    )
    entry = last(seen)
    assert entry.state is State.CANCELLED
    assert entry.closed_after_s is not None
    return entry.at_s + entry.closed_after_s - left_s


def check_nothing_stays(gateway: Gateway, scene: Scene) -> None:
    name = scene.provider("a")
    wait_until(lambda: gateway.provider_stats(name)["in_flight"] == 0, "in-flight is 0")
    wait_until(
        lambda: gateway.metric("ailb_active_connections") == 0, "no request is active"
    )
    assert gateway.metric("ailb_upstream_in_flight", provider=name) == 0
    left = gateway.metric("ailb_attempts_total", provider=name, fault="client_left")
    assert left == REPEATS
    assert gateway.provider_stats(name)["failed_requests"] == 0
    lines = [e for e in gateway.log("request") if e["model"] == scene.solo]
    assert [line["status"] for line in lines] == [499] * REPEATS
    assert scene.ask_solo(stream=False).is_whole, "the provider is not blamed"


@every_way
@pytest.mark.parametrize(
    ("fault", "stream"),
    [
        ("hang", False),
        ("hang", True),
        ("hang_after_headers", False),
        ("hang_after_headers", True),
        ("stall_after:0", True),
    ],
)
def test_a_client_that_leaves_while_waiting_stops_the_provider(
    stage: Stage, fault: str, stream: bool, kind: str, how: str
) -> None:
    scene = stage.scene(kind)
    scene.script(a=[fault] * REPEATS)
    times_s = []
    for number in range(1, REPEATS + 1):
        connection = send_chat(scene, stream=stream)
        wait_for_call(scene, number)
        leave = connection.reset if how == "reset" else connection.socket.close
        times_s.append(leave_and_time(scene, leave))
    assert statistics.median(times_s) < STOPPED_WITHIN_S, times_s
    check_nothing_stays(stage.gateway, scene)


@every_way
def test_a_client_that_leaves_in_mid_stream_stops_the_provider(
    stage: Stage, kind: str, how: str
) -> None:
    scene = stage.scene(kind)
    scene.script(a=["stall_after:6"] * REPEATS)
    times_s = []
    for _ in range(REPEATS):
        connection = send_chat(scene, stream=True)
        connection.read_until(b'"content":"')
        connection.read_until(b'"content":"')
        leave = connection.reset if how == "reset" else connection.socket.close
        times_s.append(leave_and_time(scene, leave))
    assert statistics.median(times_s) < STOPPED_WITHIN_S, times_s
    check_nothing_stays(stage.gateway, scene)
    lines = [e for e in stage.gateway.log("request") if e["model"] == scene.solo]
    assert all(line["partial"] for line in lines[:REPEATS])
    assert all(line["output_tokens"] > 0 for line in lines[:REPEATS])


def test_a_client_that_leaves_during_failover_stops_the_attempts(stage: Stage) -> None:
    scene = stage.scene()
    scene.script(a=["status:503"], b=["hang"])
    body = orjson.dumps(chat_body(scene.model, stream=False, text="hi"))
    connection = Connection(stage.gateway.address)
    connection.send(
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n"
        b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n"
        % len(body)
        + body
    )
    wait_until(lambda: scene.attempts == "ab", "b is asked")
    connection.socket.close()
    wait_until(lambda: scene.calls[-1][1].state is State.CANCELLED, "b is stopped")
    wait_until(
        lambda: stage.gateway.metric("ailb_active_connections") == 0, "it is over"
    )
    assert scene.attempts == "ab", "c is never asked"


def test_a_client_that_leaves_before_its_request_is_whole_costs_nothing(
    stage: Stage,
) -> None:
    scene = stage.scene()
    connection = Connection(stage.gateway.address)
    connection.send(
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n"
        b'Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n{"model":'
    )
    connection.reset()
    assert scene.ask(stream=False).is_whole
    assert scene.attempts == "a"
    assert stage.gateway.metric("ailb_active_connections") == 0
