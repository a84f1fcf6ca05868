"""GetStatus, HealthCheck, GetInstances and Reload, on heartbeats written by hand."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC
from typing import Any

import pytest
from django.db import OperationalError, connection
from django.utils import timezone
from pytest_django import Settings

from gateway import revision
from gateway.database_threads import DatabaseThreads
from gateway.errors import NotReady
from gateway.kinds import Algorithm, WorkerState
from gateway.models import Heartbeat
from gateway.snapshot import Provider, Snapshot, Strategy, Traffic
from moduleservice.base import Host, Refusal, SupervisorAway, Workers
from moduleservice.pb import module_service_pb2 as pb, types_pb2
from moduleservice.status import Status
from tests.gateway.heartbeat_rows import beat, figures

pytestmark = pytest.mark.django_db(transaction=True)

HEALTHY = types_pb2.HEALTH_STATUS_HEALTHY
DEGRADED = types_pb2.HEALTH_STATUS_DEGRADED
UNHEALTHY = types_pb2.HEALTH_STATUS_UNHEALTHY
STARTING = types_pb2.HEALTH_STATUS_STARTING
STOPPING = types_pb2.HEALTH_STATUS_STOPPING
PROVIDER = Provider(1, "a", "openai", "http://a", {}, "", (), "")
SNAPSHOT = Snapshot(
    revision=1,
    providers={"a": PROVIDER},
    models={},
    aliases={},
    default_strategy=Strategy(name="random", algorithm=Algorithm.RANDOM),
    traffic=Traffic("v1", {"v1": 90, "v2": 10}),
)
READY = {"breakers": {"a": {"m": "ready"}}, "traffic": figures()["traffic"]}


@pytest.fixture
async def database() -> AsyncIterator[DatabaseThreads]:
    threads = DatabaseThreads(1, name="test-status")
    yield threads
    await threads.aclose(limit_s=5)


@pytest.fixture
def host(database: DatabaseThreads, settings: Settings) -> Host:
    settings.ENABLE_MEMORY = settings.ENABLE_RAG = False
    return Host("i", "v1", database, lambda: SNAPSHOT)


async def rows(host: Host, *workers: dict[str, Any]) -> list[int]:
    """Write workers; give their pids."""
    return await host.database.run(
        lambda: [beat(**{"report": READY, **each}).pid for each in workers]
    )


async def check(host: Host, *, deep: bool, name: str = "") -> pb.HealthCheckResponse:
    request = pb.HealthCheckRequest(instance_id=name, deep_check=deep)
    return await Status(host).HealthCheck(request)


async def listed(host: Host, **fields: Any) -> dict[str, types_pb2.ModuleInstance]:
    answer = await Status(host).GetInstances(pb.GetInstancesRequest(**fields))
    assert answer.total_instances == len(answer.instances)
    return {each.instance_id: each for each in answer.instances}


async def test_the_status_is_that_of_the_workers_heartbeats(host: Host) -> None:
    report = figures(connections=4)
    await rows(host, {"report": report, "address": "http://a:1"})
    answer = await Status(host).GetStatus(pb.GetStatusRequest())
    instance = answer.instance
    assert (answer.status, instance.health_status) == (HEALTHY, HEALTHY)
    assert (instance.instance_id, instance.version) == ("i", "v1")
    assert (instance.address, instance.current_connections) == ("http://a:1", 4)
    assert (instance.traffic_weight, instance.max_connections) == (90, 0)
    assert instance.module_type == types_pb2.MODULE_TYPE_AILB
    assert answer.details["config_revision"] == "7"
    assert answer.details["workers"] == "1"
    age = timezone.now() - answer.last_updated.ToDatetime(tzinfo=UTC)
    assert 0 <= age.total_seconds() < 10


async def test_an_instance_without_workers_yet_is_starting(host: Host) -> None:
    answer = await Status(host).GetStatus(pb.GetStatusRequest())
    assert (answer.status, answer.instance.instance_id) == (STARTING, "i")
    assert answer.HasField("last_updated")
    assert (await check(host, deep=False)).status == STARTING


async def test_another_replica_is_known_by_its_heartbeats_and_no_other_is(
    host: Host,
) -> None:
    await rows(host, {"instance": "other", "version": "v2", "age_s": 4})
    status = Status(host)
    answer = await status.GetStatus(pb.GetStatusRequest(instance_id="other"))
    assert (answer.status, answer.instance.version) == (UNHEALTHY, "v2")
    with pytest.raises(Refusal) as refused:
        await status.GetStatus(pb.GetStatusRequest(instance_id="never"))
    assert refused.value.code == types_pb2.STATUS_CODE_NOT_FOUND


async def test_a_version_without_traffic_drains_its_instance(host: Host) -> None:
    await rows(host, {"version": "v1"})
    traffic = Traffic("v2", {"v1": 0, "v2": 100}, frozenset({"v1"}))
    host = replace(host, snapshot=lambda: replace(SNAPSHOT, traffic=traffic))
    answer = await Status(host).GetStatus(pb.GetStatusRequest())
    assert (answer.status, answer.instance.traffic_weight) == (STOPPING, 0)
    assert "drains" in answer.message
    assert (await check(host, deep=True)).status == STOPPING


class Scaled:
    """A supervisor that wants three workers, or does not answer."""

    def __init__(self, *, is_away: bool = False) -> None:
        self._is_away = is_away

    async def workers(self) -> Workers:
        if self._is_away:
            raise SupervisorAway
        return Workers(running=1, wanted=3)

    async def scale(self, workers: int) -> Workers:
        raise NotImplementedError

    async def stop(self, *, is_graceful: bool, timeout_s: float | None) -> None:
        raise NotImplementedError


@pytest.mark.parametrize(("is_away", "wanted"), [(False, "3"), (True, "1")])
async def test_the_supervisor_says_how_many_workers_are_wanted(
    host: Host, is_away: bool, wanted: str
) -> None:
    await rows(host, {})
    host = replace(host, supervisor=Scaled(is_away=is_away))
    answer = await Status(host).GetStatus(pb.GetStatusRequest())
    assert answer.details["workers_wanted"] == wanted
    assert (await listed(host))["i"].metadata["workers_wanted"] == wanted


# --- Instances ---------------------------------------------------------------------------


async def test_replicas_and_their_workers_are_listed(host: Host) -> None:
    first, lost = await rows(host, {}, {"age_s": 5, "config_revision": 6})
    await rows(host, {"state": WorkerState.ENDED}, {"instance": "z", "version": "v2"})
    found = await listed(host)
    other = next(name for name in found if name.startswith("z/"))
    assert list(found) == ["i", f"i/{first}", f"i/{lost}", "z", other]
    replica = found["i"]
    assert (replica.health_status, replica.metadata["role"]) == (DEGRADED, "replica")
    assert (replica.metadata["workers"], replica.metadata["config_revision"]) == (
        "1",
        "7",
    )
    assert (found["z"].traffic_weight, found["z"].version) == (10, "v2")
    worker = found[f"i/{lost}"]
    assert worker.health_status == UNHEALTHY
    assert worker.metadata == {
        "role": "worker",
        "replica": "i",
        "pid": str(lost),
        "config_revision": "6",
    }


async def test_instances_are_filtered_by_type_and_status(host: Host) -> None:
    first, lost = await rows(host, {}, {"age_s": 5})
    assert await listed(host, module_type=types_pb2.MODULE_TYPE_ALB) == {}
    assert len(await listed(host, module_type=types_pb2.MODULE_TYPE_AILB)) == 3
    assert list(await listed(host, status_filter=HEALTHY)) == [f"i/{first}"]
    assert list(await listed(host, status_filter=UNHEALTHY)) == [f"i/{lost}"]


# --- Health ------------------------------------------------------------------------------


async def test_a_deep_check_asks_what_the_instance_stands_on(host: Host) -> None:
    await rows(host, {})
    shallow = await check(host, deep=False)
    assert (shallow.status, dict(shallow.checks)) == (HEALTHY, {"workers": "ok"})
    deep = await check(host, deep=True)
    assert (deep.status, deep.message) == (HEALTHY, "All is well.")
    assert dict(deep.checks) == {
        "database": "ok",
        "workers": "ok",
        "providers": "ok",
        "provider:a": "ok",
        "vector_store": "off",
        "embedder": "off",
    }


async def test_an_instance_without_a_provider_to_ask_is_unhealthy(host: Host) -> None:
    await rows(host, {"report": {"breakers": {"a": {"m": "open"}}}}, {})
    answer = await check(host, deep=True)
    assert (answer.status, answer.checks["providers"]) == (UNHEALTHY, "down: a")
    assert (await check(host, deep=False)).status == HEALTHY


async def test_what_workers_report_of_memory_is_told(host: Host) -> None:
    problems = {"memory": "The vector store is away.", "documents": ""}
    await rows(host, {"report": {**READY, "problems": problems}})
    answer = await check(host, deep=True)
    assert answer.status == DEGRADED
    assert answer.checks["memory"] == "degraded: The vector store is away."
    assert "documents" not in answer.checks
    assert "memory: degraded" in answer.message


async def test_an_embedder_that_is_not_there_degrades(
    host: Host, settings: Settings
) -> None:
    settings.ENABLE_RAG, settings.EMBEDDING_MODEL = True, "/nowhere"
    await rows(host, {})
    answer = await check(host, deep=True)
    assert answer.status == DEGRADED
    assert answer.checks["embedder"].startswith("degraded: EMBEDDING_MODEL names")
    assert answer.checks["vector_store"].startswith("degraded: there is none")


async def test_what_another_machine_has_is_not_checked_from_here(host: Host) -> None:
    await rows(host, {"instance": "other"})
    answer = await check(host, deep=True, name="other")
    assert answer.status == HEALTHY
    assert answer.checks["embedder"] == "not checked: ask other itself"


async def test_before_the_first_configuration_a_check_is_degraded(host: Host) -> None:
    def not_yet() -> Snapshot:
        raise NotReady("There is none.")

    await rows(host, {})
    answer = await check(replace(host, snapshot=not_yet), deep=True)
    assert answer.status == DEGRADED
    assert answer.checks["configuration"] == "degraded: There is none."


async def test_without_the_database_a_check_says_what_is_not_known(host: Host) -> None:
    def refuse(*_: Any) -> None:
        raise OperationalError("gone")

    away = await host.database.run(lambda: connection.execute_wrapper(refuse))
    await host.database.run(away.__enter__)
    answer = await check(host, deep=True)
    await host.database.run(lambda: away.__exit__(None, None, None))
    assert answer.status == DEGRADED
    assert answer.checks["database"].startswith("degraded: it cannot be reached")
    assert "not known" in answer.checks["workers"]


# --- Reload ------------------------------------------------------------------------------


async def follow(host: Host, before: int) -> None:
    """Have one of the workers serve what comes after a revision, as soon as it is there."""
    while await host.database.run(revision.current) == before:
        await asyncio.sleep(0.01)
    first = await host.database.run(Heartbeat.objects.first)
    assert first is not None
    mine = Heartbeat.objects.filter(pk=first.pk)
    await host.database.run(lambda: mine.update(config_revision=before + 1))


async def test_a_reload_waits_until_every_worker_serves_the_new_revision(
    host: Host,
) -> None:
    before = await host.database.run(revision.current)
    await rows(host, {"config_revision": before}, {"config_revision": before})
    request = pb.ReloadRequest(timeout_seconds=30)
    async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
        reloading = tasks.create_task(Status(host).Reload(request))
        await follow(host, before)
        assert not reloading.done()
        await host.database.run(
            lambda: Heartbeat.objects.update(config_revision=before + 1)
        )
    answer = reloading.result()
    assert answer.success
    assert answer.message == (
        f"All 2 worker(s) serve revision {before + 1}. No request was cut: a reload "
        "never does."
    )


async def test_a_reload_that_a_worker_does_not_follow_names_it(host: Host) -> None:
    problems = {"configuration": "The configuration is refused: x"}
    ahead = 10_000
    late, _ = await rows(
        host,
        {"config_revision": 0, "report": {"problems": problems}},
        {"config_revision": ahead},
    )
    with pytest.raises(Refusal) as refused:
        await Status(host).Reload(pb.ReloadRequest(timeout_seconds=1, graceful=True))
    assert refused.value.code == types_pb2.STATUS_CODE_UNAVAILABLE
    assert f"1 worker(s) do not serve revision {refused.value.details['revision']}" in (
        refused.value.message
    )
    assert str(late) in refused.value.message
    assert "refused: x" in refused.value.message
    assert refused.value.details[f"worker {late}"] == "revision 0"


async def test_a_reload_without_any_worker_has_no_success(host: Host) -> None:
    with pytest.raises(Refusal, match="No worker is live"):
        await Status(host).Reload(pb.ReloadRequest(timeout_seconds=1))
