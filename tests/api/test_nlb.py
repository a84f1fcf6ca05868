"""An NLB, and a `serve` that it sends traffic to: from its registration to its end."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import grpc
import orjson
import pytest

from gateway.simulator import Behaviour
from moduleservice.pb import module_service_pb2 as rpc, types_pb2
from tests.api.gateway_process import wait_until
from tests.api.serve_process import Serve, children_of, command_line, serving
from tests.client import Client
from tests.moduleservice.nlb_emulator import (
    POLL_INTERVAL_S,
    Look,
    NlbEmulator,
    RunningNlb,
    Watch,
    running_nlb,
    watching,
)
from tests.upstreams.simulators import RunningSimulator, running_simulator

MODEL = "split"  # v1 is at one vendor, v2 at the other
INSTANCE = "ailb-of-the-nlb"
TOKEN = "the-token-of-the-nlb"
HEARTBEAT_LIMIT_S = 14.0  # one every 10 s
POLL_S = 0.25  # the NLB's own 10 s are for the soak tests
LATENCY_S = 0.02


@dataclass(frozen=True, eq=False)
class Scene:
    """Everything that plays: the NLB, its client, `serve`, and two upstreams."""

    running: RunningNlb
    watch: Watch
    serve: Serve
    sims: dict[str, RunningSimulator]  # by version

    @property
    def nlb(self) -> NlbEmulator:
        return self.running.emulator

    @property
    def looks(self) -> list[Look]:
        return list(self.watch.client.looks)

    def manage(self, name: str, **fields: Any) -> Any:
        """Call an RPC of ModuleService, which must succeed."""
        answer = self.watch.call(name, getattr(rpc, f"{name}Request")(**fields))
        assert getattr(answer, "success", True), answer
        return answer

    def ask(self, count: int) -> None:
        """Ask so often, one after the other on one connection."""
        client = Client(self.serve.url)
        try:
            for _ in range(count):
                assert client.chat(MODEL).is_whole
        finally:
            client.close()

    def chat(self, count: int) -> dict[str, int]:
        """Ask like `ask`; give how many each version answered."""
        before = {version: len(sim.calls) for version, sim in self.sims.items()}
        self.ask(count)
        return {v: len(sim.calls) - before[v] for v, sim in self.sims.items()}

    @property
    def served(self) -> int:
        """How many requests the upstreams have got, which is how many were asked."""
        return sum(len(sim.calls) for sim in self.sims.values())

    def workers(self) -> int:
        """Give how many workers report."""
        status = self.manage("GetStatus")
        return int(status.instance.metadata["workers"])


@contextmanager
def staged(
    folder: Path, template: Path, *, interval_s: float, **environment: str
) -> Iterator[Scene]:
    """Serve, registered at an NLB that polls, until the block ends."""
    with ExitStack() as stack:
        nlb = stack.enter_context(running_nlb())
        behaviour = Behaviour(answer_text="yes", latency_s=LATENCY_S)
        sims = {
            version: stack.enter_context(running_simulator(behaviour=behaviour))
            for version in ("v1", "v2")
        }
        serve = stack.enter_context(
            serving(
                folder,
                template,
                MODULE_ID=INSTANCE,
                AILB_GRACE_S="1",
                AILB_GRPC_TOKEN=TOKEN,
                NLB_GRPC_ADDRESS=nlb.emulator.address,
                OPENAI_API_KEY="sk-none",
                OPENAI_BASE_URL=sims["v1"].openai_url,
                ANTHROPIC_API_KEY="sk-none",
                ANTHROPIC_BASE_URL=sims["v2"].url,
                **environment,
            )
        )
        wait_until(lambda: bool(nlb.emulator.registered), "it is registered")
        address = nlb.emulator.last("RegisterModule").instance.address
        watch = stack.enter_context(
            watching(address, interval_s=interval_s, token=TOKEN)
        )
        yield Scene(nlb, watch, serve, sims)


def make_split(scene: Scene) -> str:
    """Make the model through the NLB's own door, and have every worker serve it."""
    deployments = [
        {"provider": "openai", "upstream_model": "a", "version": "v1"},
        {"provider": "anthropic", "upstream_model": "b", "version": "v2"},
    ]
    route = types_pb2.Route(
        route_id=MODEL,
        protocol=types_pb2.PROTOCOL_HTTP,
        metadata={"model": MODEL, "deployments": orjson.dumps(deployments).decode()},
    )
    scene.manage("UpdateRoutes", routes=[route])
    scene.manage("Reload")
    return MODEL


@pytest.fixture(scope="module")
def scene(
    tmp_path_factory: pytest.TempPathFactory, database_template: Path
) -> Iterator[Scene]:
    folder = tmp_path_factory.mktemp("serve")
    with staged(folder, database_template, interval_s=POLL_S, AILB_WORKERS="2") as it:
        yield it


@pytest.fixture(scope="module")
def split(scene: Scene) -> str:
    return make_split(scene)


# --- It is there ---------------------------------------------------------------------------


def test_the_process_that_an_nlb_reaches_opens_no_credential(scene: Scene) -> None:
    assert scene.serve.process is not None
    below = {pid: command_line(pid) for pid in children_of(scene.serve.process.pid)}
    (door,) = (pid for pid, words in below.items() if b"runmoduleservice" in words)
    assert all(has_cipher(worker) for worker in scene.serve.worker_pids())
    assert not has_cipher(door)


def has_cipher(pid: int) -> bool:
    """Whether a process has loaded what opens credentials."""
    return "cryptography" in Path(f"/proc/{pid}/maps").read_text()


def test_it_registers_where_it_can_be_reached(scene: Scene) -> None:
    told = scene.nlb.last("RegisterModule")
    assert told.instance.instance_id == INSTANCE
    assert told.instance.module_type == types_pb2.MODULE_TYPE_AILB
    assert told.instance.traffic_weight == 100
    assert told.capabilities["contract"] == "marchproxy.ModuleService"
    check = told.health_config
    assert check.health_check_port == urlsplit(scene.serve.url).port
    assert scene.serve.client.get(check.health_check_path).status == 200
    assert scene.nlb.address in scene.serve.screen
    wait_until(
        lambda: bool(scene.looks) and scene.looks[-1].status is not None,
        "ModuleService answers at the address that was registered",
    )
    assert scene.looks[-1].status.instance.instance_id == INSTANCE  # type: ignore[union-attr]


def test_without_the_token_the_nlb_may_look_and_not_touch(scene: Scene) -> None:
    with watching(scene.watch.client.address, interval_s=POLL_S) as stranger:
        assert stranger.call("GetStatus", rpc.GetStatusRequest()).instance.instance_id
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            stranger.call("SetTrafficWeight", rpc.SetTrafficWeightRequest(version="v1"))
    assert refused.value.code() in {
        grpc.StatusCode.UNAUTHENTICATED,
        grpc.StatusCode.PERMISSION_DENIED,
    }


def test_routes_that_are_made_serve_and_are_told_to_the_nlb(
    scene: Scene, split: str
) -> None:
    assert scene.serve.client.chat(split).is_whole
    wait_until(
        lambda: any(
            route.route_id == split
            for update in scene.nlb.requests("UpdateRouting")
            for route in update.routes
        ),
        "the NLB is told",
    )
    assert scene.nlb.last("UpdateRouting").source_instance_id == INSTANCE


def test_a_weight_that_is_set_divides_requests_exactly(
    scene: Scene, split: str
) -> None:
    assert scene.chat(10) == {"v1": 10, "v2": 0}
    answer = scene.manage("SetTrafficWeight", version="v2", weight=10)
    assert answer.current_config.canary_percent == 10
    scene.manage("Reload")
    assert scene.chat(50) == {"v1": 45, "v2": 5}
    scene.manage("PromoteVersion", version="v2", immediate=True)
    scene.manage("Reload")
    assert scene.chat(10) == {"v1": 0, "v2": 10}
    scene.manage("Rollback")
    scene.manage("Reload")
    assert scene.chat(10) == {"v1": 10, "v2": 0}


# --- It is looked after --------------------------------------------------------------------


def test_a_frozen_nlb_holds_up_no_chat_hears_real_counts_and_is_obeyed_afterwards(
    scene: Scene, split: str
) -> None:
    scene.ask(7)
    served = scene.served
    wait_until(
        lambda: scene.manage("GetStats").stats.total_requests == served,
        "the figures say so",
    )
    before = scene.manage("GetStatus").instance.metadata["config_revision"]
    scene.nlb.order(should_reload=True)  # in the answer, when it comes
    scene.nlb.is_frozen = True
    beats = len(scene.nlb.calls_of("Heartbeat"))
    try:
        wait_until(
            lambda: len(scene.nlb.calls_of("Heartbeat")) > beats,
            "a heartbeat that is not answered",
            limit_s=HEARTBEAT_LIMIT_S,
        )
        begun_s = time.monotonic()
        assert sum(scene.chat(20).values()) == 20
        assert time.monotonic() - begun_s < 3.0
        assert scene.manage("GetStatus").instance.instance_id
    finally:
        scene.nlb.is_frozen = False
    beat = scene.nlb.last("Heartbeat")
    assert beat.instance_id == INSTANCE
    assert beat.registration_id == scene.nlb.registered[INSTANCE]
    assert beat.current_stats.total_requests == served
    assert beat.current_stats.successful_requests == served
    assert beat.current_stats.failed_requests == 0
    assert (
        beat.current_stats.p50_latency_ms >= LATENCY_S * 1000 * 0.98
    )  # as exact as it is
    assert beat.current_stats.memory_usage_mb > 10
    wait_until(
        lambda: (
            int(scene.manage("GetStatus").instance.metadata["config_revision"])
            > int(before)
        ),
        "every worker has reloaded",
    )


def test_a_worker_that_is_killed_is_seen_within_six_seconds(
    scene: Scene, split: str
) -> None:
    lost = min(scene.serve.worker_pids())
    killed_s = time.monotonic()
    os.kill(lost, signal.SIGKILL)

    def seen() -> list[Look]:
        return [
            look
            for look in scene.looks
            if look.at_s > killed_s
            and look.status is not None
            and look.status.status == types_pb2.HEALTH_STATUS_DEGRADED
        ]

    wait_until(lambda: bool(seen()), "the status says it", limit_s=6.0)
    first = seen()[0]
    assert first.status is not None
    assert str(lost) in first.status.message
    assert first.health is not None
    assert scene.serve.chat_once(split).is_whole
    wait_until(lambda: scene.workers() == 2, "another worker is there")


# --- It goes -------------------------------------------------------------------------------


def test_a_stop_tells_the_nlb_first_and_fails_no_request(
    scene: Scene, split: str
) -> None:
    assert scene.watch.client.losses == 0  # for all that was done to it
    assert not [look.failure for look in scene.looks if look.failure]
    nlb, url = scene.nlb, scene.serve.url

    def send_until_told() -> list[int]:
        """Ask as the NLB lets clients ask: not after it was told."""
        client, statuses = Client(url), []
        while not nlb.calls_of("UnregisterModule"):
            statuses.append(client.chat(split).status)
        client.close()
        return statuses

    def look_at_readiness() -> float:
        """Look until it is not ready, and say when."""
        client = Client(url)
        while client.get("/readyz").status == 200:
            pass
        client.close()
        return time.monotonic()

    with ThreadPoolExecutor(5) as threads:
        senders = [threads.submit(send_until_told) for _ in range(4)]
        looking = threads.submit(look_at_readiness)
        served = scene.served
        wait_until(lambda: scene.served > served + 20, "they are sent")
        assert scene.serve.stop() == 0
        sent = [status for sender in senders for status in sender.result(20)]
        not_ready_s = looking.result(20)
    assert len(sent) >= 20
    assert set(sent) == {200}
    (told,) = nlb.calls_of("UnregisterModule")
    assert told.request.graceful
    assert told.at_s <= not_ready_s
    assert nlb.calls[-1] is told  # and nothing afterwards
    assert nlb.registered == {}


# --- For minutes ---------------------------------------------------------------------------


@pytest.mark.soak
def test_two_minutes_of_polls_lose_no_connection(
    tmp_path: Path, database_template: Path
) -> None:
    with (
        staged(tmp_path, database_template, interval_s=POLL_INTERVAL_S) as scene,
        # One that only pings: a default server ends its connection after 30 s.
        watching(scene.watch.client.address, interval_s=3600) as idle,
    ):
        begun_s = time.monotonic()
        wait_until(lambda: time.monotonic() - begun_s > 125, "two minutes", limit_s=130)
        assert scene.watch.client.losses == 0
        assert idle.client.losses == 0
        assert len(scene.looks) >= 12
        assert all(look.status is not None for look in scene.looks)
        times = [call.at_s for call in scene.nlb.calls_of("Heartbeat")]
        assert len(times) >= 12
        assert all(9.5 < later - earlier < 10.5 for earlier, later in pairwise(times))


@pytest.mark.soak
def test_ten_thousand_requests_are_divided_exactly(
    tmp_path: Path, database_template: Path
) -> None:
    with staged(tmp_path, database_template, interval_s=POLL_INTERVAL_S) as scene:
        make_split(scene)
        scene.manage("SetTrafficWeight", version="v2", weight=10)
        scene.manage("Reload")
        before = {version: len(sim.calls) for version, sim in scene.sims.items()}
        with ThreadPoolExecutor(8) as threads:
            for done in [threads.submit(scene.ask, 1250) for _ in range(8)]:
                done.result()
        after = {version: len(sim.calls) for version, sim in scene.sims.items()}
        assert {v: after[v] - before[v] for v in after} == {"v1": 9000, "v2": 1000}
