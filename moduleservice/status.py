"""How this instance and its workers stand, by their heartbeats; and reloading."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace

from django.utils import timezone
from google.protobuf.timestamp_pb2 import Timestamp

from gateway import instances, revision
from gateway.deep_checks import (
    DEGRADED,
    DOWN,
    DeepChecks,
    provider_checks,
    providers_check,
)
from gateway.errors import NotReady
from gateway.instances import Health, Instance, Worker
from gateway.snapshot import Traffic
from gateway.snapshot_store import DATABASE_AWAY
from moduleservice.base import Host, Part, Refusal, SupervisorAway
from moduleservice.messages import (
    health_status,
    module_instance,
    timestamp,
    worker_instance,
)
from moduleservice.metric_points import breakers_of
from moduleservice.pb import module_service_pb2, types_pb2

RELOAD_TIMEOUT_S = 10
MAX_RELOAD_TIMEOUT_S = 55  # what a call may take at all leaves time to say how it went
LOOK_S = 0.2
SHOWN_WORKERS = 10
OURS = frozenset({types_pb2.MODULE_TYPE_UNSPECIFIED, types_pb2.MODULE_TYPE_AILB})
UNKNOWN_WORKERS = (
    "The database cannot be reached: how the workers stand is not known. They go on with "
    "their last configuration."
)


def traffic_of(host: Host) -> Traffic:
    """Give how requests are split; all to the default version before it is known."""
    try:
        return host.snapshot().traffic
    except NotReady:
        return Traffic()


class Status(Part):
    """GetStatus, HealthCheck, GetInstances and Reload."""

    def __init__(self, host: Host) -> None:
        """Answer for a host."""
        super().__init__(host)
        self._checks = DeepChecks()

    async def GetStatus(
        self, request: module_service_pb2.GetStatusRequest
    ) -> module_service_pb2.GetStatusResponse:
        """Say how an instance stands, as its workers last reported."""
        found = await self.instance(request.instance_id)
        details = module_instance(found).metadata
        if problem := self.host.problem():
            details["problem"] = problem
        return module_service_pb2.GetStatusResponse(
            instance=module_instance(found),
            status=health_status(found.health),
            message=found.message or "Every worker serves.",
            last_updated=timestamp(found.heard_at) or now_stamp(),
            details=details,
        )

    async def HealthCheck(
        self, request: module_service_pb2.HealthCheckRequest
    ) -> module_service_pb2.HealthCheckResponse:
        """Say how an instance is; a deep check also asks what it stands on."""
        checks: dict[str, str] = {}
        if request.deep_check:
            checks["database"] = await self.host.database.run(self._checks.database)
        try:
            found = await self.instance(request.instance_id)
        except DATABASE_AWAY:
            found = self._unheard(request.instance_id)
        checks["workers"] = workers_check(found)
        if request.deep_check:
            checks |= await self._deep_checks(found)
        health = judged(found.health, checks)
        bad = [f"{name}: {text}" for name, text in checks.items() if is_bad(text)]
        message = found.message or "; ".join(bad) or "All is well."
        return module_service_pb2.HealthCheckResponse(
            status=health_status(health),
            message=message,
            checks=checks,
            checked_at=now_stamp(),
        )

    async def GetInstances(
        self, request: module_service_pb2.GetInstancesRequest
    ) -> module_service_pb2.GetInstancesResponse:
        """List every replica that was heard of lately, each followed by its workers."""
        found: list[types_pb2.ModuleInstance] = []
        if request.module_type in OURS:
            for each in await self._instances():
                workers = (worker_instance(worker, each) for worker in each.workers)
                found += [module_instance(each), *workers]
        if wanted := request.status_filter:
            found = [each for each in found if each.health_status == wanted]
        return module_service_pb2.GetInstancesResponse(
            instances=found, total_instances=len(found)
        )

    async def Reload(
        self, request: module_service_pb2.ReloadRequest
    ) -> module_service_pb2.ReloadResponse:
        """Have every worker compile the configuration anew, and wait until all serve it.

        Requests under way go on with what they have, so it is always graceful.
        """
        name = request.instance_id or self.host.instance
        wanted_s = request.timeout_seconds
        timeout_s = min(wanted_s, MAX_RELOAD_TIMEOUT_S) if wanted_s > 0 else 0
        deadline_s = time.monotonic() + (timeout_s or RELOAD_TIMEOUT_S)
        number = await self.host.database.run(revision.bump)
        while True:
            late, live = await self.host.database.run(
                lambda: instances.behind(name, number, now=timezone.now())
            )
            if live and not late:
                break
            if time.monotonic() >= deadline_s:
                raise not_reloaded(number, late, timeout_s or RELOAD_TIMEOUT_S)
            await asyncio.sleep(LOOK_S)
        manner = "" if request.graceful else " No request was cut: a reload never does."
        return module_service_pb2.ReloadResponse(
            success=True,
            message=f"All {live} worker(s) serve revision {number}.{manner}",
        )

    async def instance(self, instance_id: str) -> Instance:
        """Find an instance, this one for an empty name.

        Raises:
            Refusal: There is no such instance.
            django.db.Error: The database is away.

        """
        name, traffic = instance_id or self.host.instance, traffic_of(self.host)
        found = await self.host.database.run(
            lambda: instances.find_instance(name, traffic, now=timezone.now())
        )
        if self.host.is_own(name):
            return await self._own(found)
        if found is None:
            raise Refusal(
                types_pb2.STATUS_CODE_NOT_FOUND, f"There is no instance {name[:100]!r}."
            )
        return found

    async def _instances(self) -> list[Instance]:
        traffic = traffic_of(self.host)
        found = await self.host.database.run(
            lambda: instances.instances(traffic, now=timezone.now())
        )
        return [
            await self._own(each) if self.host.is_own(each.instance) else each
            for each in found
        ]

    async def _own(self, found: Instance | None) -> Instance:
        """Let the supervisor say how many workers are wanted: that may change."""
        if found is None:
            return self._new()
        if self.host.supervisor is None:
            return found
        try:
            workers = await self.host.supervisor.workers()
        except SupervisorAway:
            return found
        return replace(found, wanted=workers.wanted)

    def _new(self) -> Instance:
        return instances.starting(
            self.host.instance, self.host.version, traffic_of(self.host)
        )

    def _unheard(self, instance_id: str) -> Instance:
        return replace(
            self._new(),
            instance=instance_id or self.host.instance,
            health=Health.DEGRADED,
            message=UNKNOWN_WORKERS,
        )

    async def _deep_checks(self, found: Instance) -> dict[str, str]:
        """Ask what the instance stands on; of another one, what all share."""
        breakers = breakers_of(found.live)
        unreadable = {
            name
            for worker in found.live
            for name in worker.report.get("unreadable", ())
        }
        checks: dict[str, str] = {}
        try:
            by_provider = provider_checks(self.host.snapshot(), breakers, unreadable)
        except NotReady as error:
            checks["configuration"] = f"{DEGRADED}: {error.message}"
        else:
            checks["providers"] = providers_check(by_provider)
            checks |= {f"provider:{name}": text for name, text in by_provider.items()}
        for part in ("memory", "documents"):
            if problem := instances.problem_of(found.live, part):
                checks[part] = f"{DEGRADED}: {problem}"
        if not self.host.is_own(found.instance):
            elsewhere = f"not checked: ask {found.instance} itself"
            return checks | {"vector_store": elsewhere, "embedder": elsewhere}
        async with (
            asyncio.TaskGroup() as tasks
        ):  # threads: they wait for disk and network
            store = tasks.create_task(asyncio.to_thread(self._checks.vector_store))
            embedder = tasks.create_task(asyncio.to_thread(self._checks.embedder))
        return checks | {"vector_store": store.result(), "embedder": embedder.result()}


def workers_check(found: Instance) -> str:
    """Say how the workers are, as a check."""
    match found.health:
        case Health.HEALTHY | Health.STARTING | Health.STOPPING:
            return found.message or "ok"
        case Health.DEGRADED:
            return f"{DEGRADED}: {found.message}"
        case Health.UNHEALTHY | Health.STOPPED:
            return f"{DOWN}: {found.message}"


def is_bad(check: str) -> bool:
    """Say whether a check found something wrong."""
    return check.startswith((DEGRADED, DOWN))


def judged(health: Health, checks: dict[str, str]) -> Health:
    """Give how an instance is, in the light of the checks.

    Only without any provider that may be asked it is unhealthy; whatever else is away,
    chats are answered.
    """
    if health is not Health.HEALTHY and health is not Health.DEGRADED:
        return health
    if checks.get("providers", "").startswith(DOWN):
        return Health.UNHEALTHY
    return Health.DEGRADED if any(map(is_bad, checks.values())) else health


def not_reloaded(number: int, late: list[Worker], timeout_s: float) -> Refusal:
    """Say which workers do not serve a revision yet."""
    pids = ", ".join(str(worker.pid) for worker in late[:SHOWN_WORKERS])
    problem = instances.problem_of(late, "configuration")
    if not late:
        message = f"No worker is live, so none serves revision {number}."
    else:
        message = (
            f"{len(late)} worker(s) do not serve revision {number} yet: pid {pids}."
        )
    return Refusal(
        types_pb2.STATUS_CODE_UNAVAILABLE,
        f"After {timeout_s:g} s: {message} {problem}".rstrip(),
        details={
            "revision": str(number),
            **{
                f"worker {worker.pid}": f"revision {worker.config_revision}"
                for worker in late[:SHOWN_WORKERS]
            },
        },
    )


def now_stamp() -> Timestamp:
    """Write the present moment."""
    stamp = Timestamp()
    stamp.FromDatetime(timezone.now())
    return stamp
