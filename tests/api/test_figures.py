"""What a worker reports of its traffic is what its clients sent and got."""

from __future__ import annotations

import signal
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

import orjson
from django.utils import timezone

from gateway import instances
from gateway.models import Heartbeat, TrafficPolicy, VersionWeight
from gateway.process_figures import Counts
from gateway.simulator import Plan
from tests.ailb_project.raw_http import Connection
from tests.api.gateway_process import Gateway, wait_until
from tests.api.scenes import Scene, Stage
from tests.client import Reply, chat_body
from tests.upstreams.simulators import running_simulator


def report(gateway: Gateway) -> dict[str, Any]:
    """Give what the worker says of its traffic; nothing before its first heartbeat."""
    row = gateway.rows(Heartbeat).first()
    found: dict[str, Any] = {} if row is None else row.report["traffic"]
    return found


def settled(gateway: Gateway, *, requests: int) -> dict[str, Any]:
    """Wait until the worker has reported so many requests, and answers none."""
    found: dict[str, Any] = {}

    def is_settled() -> bool:
        found.update(report(gateway))
        return found.get("requests") == requests and found["connections"] == 0

    wait_until(is_settled, f"{requests} requests are reported", poll_s=0.05)
    return found


def body(scene: Scene, *, stream: bool) -> bytes:
    return orjson.dumps(chat_body(scene.solo, stream=stream, text="hi"))


def ask(scene: Scene, content: bytes) -> Reply:
    return scene.gateway.client.post("/v1/chat/completions", content)


def leave_in_mid_stream(scene: Scene) -> int:
    """Give the bytes of the request's body."""
    content = body(scene, stream=True)
    connection = Connection(scene.gateway.address)
    connection.send(
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n"
        b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n"
        % len(content)
        + content
    )
    connection.read_until(b'"content":"')
    connection.reset()
    return len(content)


def counts(found: Mapping[str, Any]) -> tuple[int, int, int]:
    return found["requests"], found["succeeded"], found["failed"]


def test_figures_are_what_clients_sent_and_got(stage: Stage) -> None:
    scene = stage.scene()
    gateway, provider = stage.gateway, scene.provider("a")
    before = settled(gateway, requests=0)
    assert before["bytes_sent"] == 0, "probes and metrics are no traffic"
    assert before["connections_total"] == 0

    whole, stream = body(scene, stream=False), body(scene, stream=True)
    sent = [whole, whole, stream]
    replies = [ask(scene, content) for content in sent]
    assert all(reply.is_whole for reply in replies)
    scene.script(a=["status:500"] * 5)
    sent.append(whole)
    replies.append(ask(scene, whole))
    assert replies[-1].status >= 500
    nobodys = orjson.dumps(chat_body("nobodys", stream=False, text="hi"))
    sent += [nobodys, b"{"]
    replies += [ask(scene, nobodys), ask(scene, b"{")]
    assert [reply.status for reply in replies[-2:]] == [404, 400]

    found = settled(gateway, requests=6)
    assert counts(found) == (6, 3, 1)
    assert found["bytes_received"] == sum(map(len, sent))
    assert found["bytes_sent"] == sum(len(reply.body) for reply in replies)
    assert found["connections_total"] == 6
    by_provider = found["providers"]
    assert by_provider[provider]["domains"] == {"none": 3, "provider": 1}
    assert by_provider["none"]["domains"] == {"caller": 2}
    tokens = sum(by_provider[provider]["tokens"].values())
    assert tokens == gateway.metric("ailb_tokens_total", provider=provider)
    read = Counts.from_dict(found)
    assert (read.latency.count, read.ttft.count) == (3, 1)
    assert 10_000_000 < found["rss_bytes"] < 10_000_000_000
    assert found["cpu_s"] > 0

    scene = stage.scene()
    scene.script(a=["stall_after:6"])
    size_bytes = leave_in_mid_stream(scene)
    left = settled(gateway, requests=7)
    assert counts(left) == (7, 3, 1), "a client that leaves is nobody's failure"
    assert left["bytes_received"] == found["bytes_received"] + size_bytes
    assert left["bytes_sent"] > found["bytes_sent"]
    assert left["providers"][scene.provider("a")]["domains"] == {"caller": 1}


def now() -> datetime:
    return timezone.now()


def test_requests_that_are_being_answered_are_connections(stage: Stage) -> None:
    scene = stage.scene()
    scene.script(a=["stall_after:6"])
    with stage.gateway.client.streaming(scene.solo):
        wait_until(
            lambda: report(stage.gateway)["connections"] == 1, "a stream is open"
        )
        before = report(stage.gateway)["requests"]
    settled(stage.gateway, requests=before + 1)


def test_weight_0_of_its_version_makes_a_worker_unready_and_it_still_serves(
    stage: Stage,
) -> None:
    scene, gateway = stage.scene(), stage.gateway
    gateway.rows(TrafficPolicy).update_or_create(
        id=1, defaults={"active_version": "v1"}
    )
    row = gateway.rows(VersionWeight).create(version="v1", weight=0, is_draining=True)
    gateway.apply()
    ready, health = gateway.client.get("/readyz"), gateway.client.get("/healthz")
    assert (ready.status, ready.json["draining"]) == (503, True)
    assert "version v1" in ready.json["problem"]
    assert (health.status, health.json["draining"]) == (200, True)
    assert (health.json["status"], health.json["problem"]) == (
        "degraded",
        ready.json["problem"],
    )
    assert scene.ask_solo(stream=False).is_whole
    wait_until(
        lambda: gateway.rows(Heartbeat).get().state == "draining", "the state follows"
    )
    row.delete(using=gateway.alias)
    gateway.apply()
    ready = gateway.client.get("/readyz")
    assert (ready.status, ready.json["draining"]) == (200, False)
    wait_until(
        lambda: gateway.rows(Heartbeat).get().state == "serving", "the state follows"
    )


def test_a_worker_says_where_and_what_it_is_and_ends_with_its_last_figures(
    start_gateway: Callable[..., Gateway],
) -> None:
    gateway = start_gateway(
        AILB_VERSION_LABEL="green",
        AILB_WORKERS="3",
        AILB_HTTP_ADDRESS="http://10.0.0.9:80",
    )
    heartbeats = gateway.rows(Heartbeat)
    wait_until(heartbeats.all().exists, "it has said something")
    row = heartbeats.get()
    assert (row.state, row.version) == ("serving", "green")
    assert (row.workers, row.address) == (3, "http://10.0.0.9:80")
    stall = Plan(["stall_after:6"])
    with running_simulator(plan=stall) as sim:
        gateway.add_provider("p", "openai", sim, models=["m"])
        gateway.apply()
        with gateway.client.streaming("m"):
            gateway.processes[0].send_signal(signal.SIGTERM)
            wait_until(lambda: heartbeats.get().state == "draining", "it drains")
        # Else the upstream's own end might be what ends the request.
        sim.wait_for(lambda calls: all(call.state != "open" for call in calls))
    assert gateway.stop() == {0}
    row = heartbeats.get()
    assert row.state == "ended"
    assert (row.report["traffic"]["requests"], row.report["traffic"]["failed"]) == (
        1,
        0,
    )
    assert instances.worker_of(row, now=now()).health is instances.Health.STOPPED
