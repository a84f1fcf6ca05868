"""What the NLB is told of an instance, and what instructions do, on real rows."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace

import pytest
from pytest_django import Settings

from gateway import traffic
from gateway.config_rows import read_rows
from gateway.database_threads import DatabaseThreads
from gateway.errors import ConfigurationError, NotReady
from gateway.heartbeat import Pulse
from gateway.models import Deployment, Model, Provider, VersionWeight
from gateway.process_figures import ProcessFigures
from gateway.snapshot import Snapshot
from gateway.snapshot_compiler import compile_rows
from moduleservice.account import account_of, reachable_host
from moduleservice.base import Host, Refusal, SupervisorAway, Workers
from moduleservice.instructions import Effects, effects_of
from moduleservice.nlb import read_address
from moduleservice.pb import types_pb2
from moduleservice.registration import registration_of
from tests.moduleservice.nlb_emulator import NlbEmulator, until

pytestmark = pytest.mark.django_db(transaction=True)

ADDRESS = "10.0.0.7:50051"


@dataclass(eq=False)
class Serving:
    """What stands for the supervisor: it keeps what it was told."""

    told: list[str] = field(default_factory=list)

    async def workers(self) -> Workers:
        return Workers(running=1, wanted=2)

    async def scale(self, workers: int) -> Workers:
        self.told.append(f"scale {workers}")
        return Workers(running=1, wanted=workers)

    async def stop(self, *, is_graceful: bool, timeout_s: float | None) -> None:
        self.told.append(f"stop {is_graceful} {timeout_s}")


async def do_nothing() -> None:
    return


def write_rows() -> None:
    provider = Provider.objects.create(
        name="p", kind="openai", base_url="http://127.0.0.1:1/v1"
    )
    for name, version, enabled in (
        ("chats", "v1", True),
        ("others", "v2", True),
        ("hidden", "v1", False),
    ):
        model = Model.objects.create(name=name, enabled=enabled)
        Deployment.objects.create(
            model=model, provider=provider, upstream_model=name, version=version
        )


def beat() -> None:
    """Report a worker that has answered one request."""
    figures = ProcessFigures()
    figures.settled("p", None, duration_s=0.2, first_content_s=None)
    figures.measure()
    pulse = Pulse(instance="ailb-7", run="r", address="http://10.0.0.7:8080")
    pulse.beat({"traffic": figures.as_dict()}, config_revision=3)


def compiled(settings: Settings) -> Snapshot:
    return compile_rows(
        read_rows(), keys=settings.AILB_ENCRYPTION_KEYS, default_strategy="random"
    )


@pytest.fixture
async def database() -> AsyncIterator[DatabaseThreads]:
    threads = DatabaseThreads(1, name="test-account")
    yield threads
    await threads.aclose(limit_s=5)


@pytest.fixture
async def host(database: DatabaseThreads, settings: Settings) -> Host:
    await database.run(write_rows)
    snapshot = await database.run(lambda: compiled(settings))
    return Host(
        instance="ailb-7",
        version="v1",
        database=database,
        snapshot=lambda: snapshot,
        supervisor=Serving(),
    )


@pytest.fixture
async def effects(host: Host) -> Effects:
    return effects_of(host, do_nothing)


# --- The account ---------------------------------------------------------------------------


async def test_it_tells_how_the_instance_stands_and_where_it_is_managed(
    host: Host,
) -> None:
    account = account_of(host, ADDRESS)
    starting = await account.instance()
    assert starting.health_status == types_pb2.HEALTH_STATUS_STARTING
    await host.database.run(beat)
    told = await account.instance()
    assert told.instance_id == "ailb-7"
    assert told.module_type == types_pb2.MODULE_TYPE_AILB
    assert told.health_status == types_pb2.HEALTH_STATUS_HEALTHY
    assert told.address == ADDRESS
    assert told.metadata["http_address"] == "http://10.0.0.7:8080"
    assert told.metadata["workers_wanted"] == "2"
    assert told.traffic_weight == 100
    assert told.version == "v1"
    assert told.started_at.seconds > 0
    assert told.max_connections == 0


async def test_it_tells_what_was_counted(host: Host) -> None:
    account = account_of(host, ADDRESS)
    assert (await account.stats()).total_requests == 0
    await host.database.run(beat)
    stats = await account.stats()
    assert (stats.total_requests, stats.successful_requests) == (1, 1)
    assert stats.p95_latency_ms == pytest.approx(200, rel=0.03)
    assert stats.memory_usage_mb > 0


async def test_it_tells_the_routes_that_serve(host: Host) -> None:
    routes = await account_of(host, ADDRESS).routes()
    assert {route.route_id for route in routes} == {"chats", "others"}
    assert all(route.metadata["model"] == route.route_id for route in routes)


async def test_it_tells_what_can_be_asked(host: Host, settings: Settings) -> None:
    settings.ENABLE_MEMORY, settings.ENABLE_RAG = True, False
    told = account_of(host, ADDRESS).capabilities()
    assert told["contract"] == "marchproxy.ModuleService"
    assert {"chats", "others"} <= set(told["models"].split(","))
    assert told["versions"] == "v1,v2"
    assert (told["memory"], told["rag"]) == ("true", "false")
    assert (told["streaming"], told["embeddings"]) == ("true", "true")
    assert "round_robin" in told["strategies"].split(",")


async def test_it_tells_where_readiness_is_said(host: Host, settings: Settings) -> None:
    settings.AILB_HTTP_ADDRESS = "http://127.0.0.1:18080"
    check = account_of(host, ADDRESS).health_check
    assert (check.health_check_path, check.health_check_port) == ("/readyz", 18080)
    assert check.health_check_protocol == types_pb2.PROTOCOL_HTTP
    assert (check.interval_seconds, check.timeout_seconds) == (10, 5)
    assert (check.unhealthy_threshold, check.healthy_threshold) == (3, 2)


async def test_before_there_is_a_configuration_it_tells_what_is_known(
    host: Host,
) -> None:
    def snapshot() -> Snapshot:
        raise NotReady("none yet")

    account = account_of(replace(host, snapshot=snapshot), ADDRESS)
    assert account.revision() == 0
    assert account.capabilities()["models"] == ""
    assert account.capabilities()["versions"] == "v1"
    assert account.known.traffic_weight == 100


# --- How it is reached ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("listening", "nlb", "told"),
    [
        ("192.0.2.9", "nlb.example:1", "192.0.2.9"),
        ("ailb.example", "nlb.example:1", "ailb.example"),
        ("127.0.0.1", "127.0.0.1:1", "127.0.0.1"),
        ("0.0.0.0", "127.0.0.1:1", "127.0.0.1"),
        ("::", "[::1]:1", "::1"),
        ("0.0.0.0", "no-such-name.invalid:1", socket.gethostname()),
    ],
)
def test_the_nlb_is_told_an_address_that_it_can_reach(
    settings: Settings, listening: str, nlb: str, told: str
) -> None:
    settings.HOST = listening
    assert reachable_host(read_address(nlb)) == told


def test_an_instance_that_the_nlb_cannot_reach_says_so(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    settings.HOST = "127.0.0.1"
    reachable_host(read_address("192.0.2.1:1"))
    assert "cannot reach this instance" in caplog.text


# --- What instructions do ------------------------------------------------------------------


def rows() -> dict[str, tuple[int, bool]]:
    return {row.version: (row.weight, row.is_draining) for row in VersionWeight.objects.all()}  # fmt: skip


async def test_draining_by_order_leaves_the_weights_and_ends_by_order(
    host: Host, effects: Effects, settings: Settings
) -> None:
    await effects.undrain()
    assert await host.database.run(rows) == {}  # nothing to do is no change
    await effects.drain()
    await effects.drain()
    assert await host.database.run(rows) == {"v1": (100, True), "v2": (0, False)}
    drained = await host.database.run(lambda: compiled(settings))
    assert drained.traffic.draining == {"v1"}
    assert [d.version for d in drained.models["chats"].deployments] == ["v1"]
    await effects.undrain()
    assert await host.database.run(rows) == {"v1": (100, False), "v2": (0, False)}


async def test_a_version_that_only_its_instance_bears_is_drained(host: Host) -> None:
    await host.database.run(
        lambda: Pulse(instance="x", run="r", version="v9").beat({}, config_revision=1)
    )
    await effects_of(replace(host, version="v9"), do_nothing).drain()
    assert (await host.database.run(rows))["v9"] == (0, True)
    standing = await host.database.run(traffic.standing)
    assert sum(standing.weights.values()) == 100


async def test_an_unknown_version_cannot_be_drained(host: Host) -> None:
    with pytest.raises(Refusal):
        await effects_of(replace(host, version="v9"), do_nothing).drain()


async def test_the_supervisor_is_told_to_scale_and_to_stop(
    host: Host, effects: Effects
) -> None:
    await effects.scale(3)
    await effects.stop()
    assert isinstance(host.supervisor, Serving)
    assert host.supervisor.told == ["scale 3", "stop True None"]


async def test_without_a_supervisor_nothing_can_be_scaled_or_stopped(
    host: Host,
) -> None:
    alone = effects_of(replace(host, supervisor=None), do_nothing)
    with pytest.raises(SupervisorAway):
        alone.scale(3)
    with pytest.raises(SupervisorAway):
        alone.stop()


# --- All of it -----------------------------------------------------------------------------


async def test_without_an_nlb_there_is_no_registration(
    host: Host, settings: Settings
) -> None:
    settings.NLB_GRPC_ADDRESS = ""
    assert registration_of(host, port=1) is None


async def test_an_nlb_address_that_is_none_is_said(
    host: Host, settings: Settings
) -> None:
    settings.NLB_GRPC_ADDRESS = "nlb"
    with pytest.raises(ConfigurationError):
        registration_of(host, port=1)


async def test_an_instance_registers_as_it_is_configured_and_leaves(
    host: Host, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    await host.database.run(beat)
    settings.AILB_GRACE_S, settings.AILB_DRAIN_TIMEOUT_S = 1.5, 20
    async with NlbEmulator() as nlb:
        settings.NLB_GRPC_ADDRESS = nlb.address
        registration = registration_of(host, port=50999)
        assert registration is not None
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(registration.run())
            await until(lambda: nlb.registered, "it is registered")
            await registration.leave()
        told = nlb.last("RegisterModule")
        assert told.instance.address == "127.0.0.1:50999"
        assert told.instance.health_status == types_pb2.HEALTH_STATUS_HEALTHY
        assert len(told.initial_routes) == 2
        assert nlb.last("UnregisterModule").drain_timeout_seconds == 22
    assert "unregistered from the NLB" in caplog.text
