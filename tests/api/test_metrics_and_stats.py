"""Two workers on one socket: what they report is the sum of both."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from gateway.models import Heartbeat
from gateway.simulator import Behaviour
from tests.api.gateway_process import Gateway, wait_until
from tests.api.scenes import ANSWER, KINDS
from tests.client import Client, Reply
from tests.upstreams.simulators import RunningSimulator, running_simulator

FIELDS = {
    "total_requests",
    "successful_requests",
    "failed_requests",
    "success_rate",
    "avg_latency_ms",
    "consecutive_failures",
    "last_success",
    "last_failure",
}


@pytest.fixture(scope="module")
def sim() -> Any:
    behaviour = Behaviour(answer_text=ANSWER, latency_s=0.05)
    with running_simulator(behaviour=behaviour) as running:
        yield running


@pytest.fixture(scope="module")
def pair(start_gateway: Callable[..., Gateway], sim: RunningSimulator) -> Gateway:
    """Two workers with a provider of each kind and nothing but the default strategy."""
    gateway = start_gateway(workers=2, ROUTING_STRATEGY="failover")
    for number, kind in enumerate(KINDS):
        gateway.add_provider(kind, kind, sim, models=[f"{kind}-m"], priority=number)
    gateway.apply()
    return gateway


def ask_anew(gateway: Gateway, model: str, *, stream: bool = False) -> Reply:
    """Ask over a connection of its own, which either worker may get."""
    client = Client(gateway.url)
    try:
        return client.chat(model, stream=stream)
    finally:
        client.close()


def workers_that_served(gateway: Gateway, provider: str) -> int:
    reports = gateway.rows(Heartbeat).values_list("report", flat=True)
    return sum(provider in report["statistics"] for report in reports)


def ask_until_both_have_served(gateway: Gateway, model: str, provider: str) -> int:
    """Give the number of requests that it took."""
    asked = 0

    def round_of_requests() -> bool:
        nonlocal asked
        with ThreadPoolExecutor(8) as pool:
            replies = pool.map(
                lambda n: ask_anew(gateway, model, stream=n % 2 == 0), range(8)
            )
            assert all(reply.is_whole for reply in replies)
        asked += 8
        return workers_that_served(gateway, provider) == 2

    wait_until(round_of_requests, "both workers serve", poll_s=0.2)
    return asked


def ask_stats(gateway: Gateway) -> Any:
    client = Client(gateway.url)
    try:
        return client.get("/api/routing/stats").json
    finally:
        client.close()


def settled_stats(gateway: Gateway, provider: str, *, total: int) -> Any:
    """Give the stats as soon as all requests are counted.

    The other worker's figures are as old as its last heartbeat.
    """
    found: dict[str, Any] = {}

    def is_complete() -> bool:
        found.update(ask_stats(gateway))
        return bool(found["provider_stats"][provider]["total_requests"] == total)

    wait_until(is_complete, f"{total} requests are counted", poll_s=0.1)
    return found


def test_both_workers_count_and_each_reports_the_sum(pair: Gateway) -> None:
    asked = ask_until_both_have_served(pair, "openai-m", "openai")

    found = settled_stats(pair, "openai", total=asked)
    assert found["workers"] == 2
    assert found["complete"] is True
    openai = found["provider_stats"]["openai"]
    assert openai.keys() >= FIELDS
    assert (openai["successful_requests"], openai["failed_requests"]) == (asked, 0)
    assert openai["success_rate"] == 1
    assert openai["consecutive_failures"] == 0
    assert openai["last_failure"] is None
    assert openai["latency_ms"]["p50"] >= 50 * 0.7
    assert openai["in_flight"] == 0
    assert found["provider_stats"]["ollama"]["total_requests"] == 0
    assert found["provider_stats"]["ollama"]["success_rate"] is None

    labels = {"model": "openai-m", "provider": "openai"}
    for _ in range(6):  # whichever worker answers
        client = Client(pair.url)
        text = client.get("/metrics").body.decode()
        client.close()
        assert f'provider="openai",status="200"}} {asked:.1f}' in text
    assert pair.metric("ailb_requests_total", **labels) == asked
    assert pair.metric("ailb_request_duration_seconds_count", **labels) == asked
    assert pair.metric("ailb_time_to_first_token_seconds_count", **labels) == asked / 2
    output = pair.metric("ailb_tokens_total", kind="output", **labels)
    assert output == openai["output_tokens"] > 0
    assert pair.metric("ailb_active_connections") == 0
    assert pair.metric("ailb_upstream_in_flight") == 0


def test_failures_are_counted_by_whose_fault_they_are(
    pair: Gateway, sim: RunningSimulator
) -> None:
    sim.plan.replace(["status:500", "status:500", "status:400:message=No."])
    model = "anthropic-m"
    assert pair.client.chat(model).code == "upstream_error"
    assert pair.client.chat(model).status == 400
    assert pair.client.chat("nobody").status == 404

    def failures(**labels: str) -> float:
        return pair.metric("ailb_request_failures_total", **labels)

    assert failures(model=model, domain="provider", code="upstream_error") == 1
    assert failures(model=model, domain="caller") == 1
    assert failures(model="unknown", domain="caller", code="model_not_found") == 1
    assert "nobody" not in pair.client.get("/metrics").body.decode()
    # Both failed attempts count, and not what the caller did wrong.
    stats = settled_stats(pair, "anthropic", total=2)
    figures = stats["provider_stats"]["anthropic"]
    assert figures["failed_requests"] == 2
    assert figures["last_failure"] is not None


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_auto_fails_over_between_the_three_vendors(
    pair: Gateway, sim: RunningSimulator, stream: bool
) -> None:
    sim.plan.replace(["status:500", "garbage"])
    before = len(sim.calls)
    reply = pair.client.chat("auto", stream=stream)
    assert reply.is_whole
    assert reply.text == ANSWER
    paths = [call.path for call in sim.calls[before:]]
    assert paths == ["/v1/chat/completions", "/v1/messages", "/api/chat"]
    assert reply.headers["x-ailb-provider"] == "ollama"
    assert reply.headers["x-ailb-strategy"] == "failover", "as ROUTING_STRATEGY says"
    assert ask_stats(pair)["routing_strategy"] == "failover"


def test_what_is_refused_at_the_door_is_counted_and_logged(pair: Gateway) -> None:
    refused = pair.client.post("/v1/chat/completions", {"model": "openai-m"})
    assert refused.status == 400
    stranger = pair.client.post("/v1/chat/completions", {}, via="1.1 proxy")
    assert stranger.status == 401
    labels = {"operation": "chat", "model": "unknown", "provider": "none"}
    assert pair.metric("ailb_requests_total", status="400", **labels) == 1
    assert pair.metric("ailb_requests_total", status="401", **labels) == 1
    failures = {**labels, "domain": "caller", "code": "invalid_api_key"}
    assert pair.metric("ailb_request_failures_total", **failures) == 1
    lines = [line for line in pair.log("request") if line["status"] == 400]
    logged = [line["request_id"] for line in lines]
    assert logged.count(refused.headers["x-request-id"]) == 1


def test_both_workers_end_cleanly(pair: Gateway) -> None:
    assert pair.stop() == {0}
