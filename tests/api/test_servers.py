"""The same API on the other servers: a choice; `make test-servers` runs all on each."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import orjson
import pytest

from gateway.simulator import Behaviour, State
from tests.ailb_project.raw_http import Connection
from tests.api.gateway_process import Gateway, fresh, wait_until
from tests.api.scenes import ANSWER, Stage, Upstreams
from tests.api.serve_process import command_line, serving
from tests.client import Client, chat_body
from tests.upstreams.simulators import running_simulator

OTHERS = ["granian", "uvicorn"]
MEBIBYTE = 1024 * 1024
STOPPED_WITHIN_S = 0.1


@pytest.fixture(scope="module", params=OTHERS)
def stage(
    request: pytest.FixtureRequest,
    start_gateway: Callable[..., Gateway],
    upstreams: Upstreams,
) -> Stage:
    """Scenes on a gateway whose worker is another server."""
    gateway = start_gateway(AILB_SERVER=request.param, AILB_MAX_BODY_MB="1")
    return Stage(gateway, upstreams)


@pytest.mark.parametrize("stream", [False, True])
def test_a_chat_is_answered_and_fails_over(stage: Stage, stream: bool) -> None:
    scene = stage.scene()
    reply = scene.ask(stream=stream)
    assert (reply.is_whole, reply.text) == (True, ANSWER)
    scene.script(a=["status:503"], b=["reset_at:1"])
    reply = scene.ask(stream=stream)
    assert (reply.is_whole, reply.text) == (True, ANSWER)
    assert scene.served_by(reply) == "c"
    assert scene.attempts == "aabc"


def test_events_are_sent_as_they_come(stage: Stage) -> None:
    with running_simulator(
        behaviour=Behaviour(answer_text=ANSWER, tokens_per_s=20)
    ) as slow:
        scene = stage.special(a={"kind": "openai", "upstream": slow.openai_url})
        seen: list[float] = []
        with stage.gateway.client.streaming(scene.model) as response:
            assert response.headers["content-type"].startswith("text/event-stream")
            for data in response.iter_raw():
                seen += [time.monotonic()] * data.count(b'"content":"')
    assert len(seen) > 5
    assert seen[-1] - seen[0] > 0.2


@pytest.mark.parametrize("fault", ["hang", "stall_after:6"])
@pytest.mark.parametrize("how", ["close", "reset"])
def test_a_client_that_leaves_stops_the_provider(
    stage: Stage, fault: str, how: str
) -> None:
    scene = stage.scene()
    scene.script(a=[fault])
    body = orjson.dumps(chat_body(scene.solo, stream=True, text="hi"))
    head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n"
    kind = b"Content-Type: application/json\r\n"
    length = b"Content-Length: %d\r\n\r\n" % len(body)
    connection = Connection(stage.gateway.address)
    connection.send(head + kind + length + body)
    if fault == "hang":
        wait_until(lambda: scene.attempts == "a", "the provider is asked")
    else:
        connection.read_until(b'"content":"')
    left_s = time.monotonic()
    connection.reset() if how == "reset" else connection.socket.close()
    ((_, call),) = scene.settled_calls()
    assert call.state is State.CANCELLED
    assert call.closed_after_s is not None
    assert call.at_s + call.closed_after_s - left_s < STOPPED_WITHIN_S
    wait_until(
        lambda: stage.gateway.metric("ailb_active_connections") == 0, "it is over"
    )


@pytest.mark.parametrize("target", ["/v1/chat/completions", "/admin/login/"])
def test_a_body_that_is_too_large_is_a_413(stage: Stage, target: str) -> None:
    reply = stage.gateway.client.post(target, b"x" * 30 * MEBIBYTE)
    assert (reply.status, reply.code) == (413, "request_too_large")


def test_the_admin_is_served_with_its_styles(stage: Stage) -> None:
    client = stage.gateway.client
    assert b"csrfmiddlewaretoken" in client.get("/admin/login/").body
    styles = client.get("/static/gateway/admin.css")
    assert (styles.status, styles.headers["content-type"][:8]) == (200, "text/css")


def test_a_drain_is_not_ready_and_finishes_the_stream(stage: Stage) -> None:
    # The last on this gateway: it is stopped.
    gateway, model = stage.gateway, fresh("m")
    behaviour = Behaviour(answer_text="one two three four five six", tokens_per_s=8)
    with (
        running_simulator(behaviour=behaviour) as slow,
        closing(Client(gateway.url)) as probe,
    ):
        gateway.add_provider(fresh("p"), "openai", slow, models=[model])
        gateway.apply()
        assert probe.get("/readyz").status == 200
        with gateway.client.streaming(model) as response:
            parts = response.iter_text()
            seen = next(parts)
            (process,) = gateway.processes
            process.send_signal(signal.SIGTERM)
            wait_until(lambda: probe.get("/readyz").status == 503, "it is not ready")
            seen += "".join(parts)
        assert seen.rstrip().endswith("data: [DONE]")
        assert process.wait(timeout=15) == 0
        gateway.processes.clear()
        assert not [line for line in gateway.log() if line["level"] == "error"]


def test_serve_runs_it_and_says_so(tmp_path: Path, database_template: Path) -> None:
    with serving(tmp_path, database_template, AILB_SERVER="granian") as serve:
        assert serve.shown(r"Routing +(.+)") == "load_balanced, 1 worker (granian)"
        (pid,) = serve.worker_pids()
        assert b"ailb_project.granian_server" in command_line(pid)
        assert serve.chat_once("gpt-4").status == 200
        assert serve.stop() == 0
