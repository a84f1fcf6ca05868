"""The replicas of this installation, as their workers' heartbeats show them.

A worker says every second how it stands. Who has not said so for three seconds is lost;
who was told to stop says that it has ended.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from gateway.kinds import WorkerState
from gateway.models import Heartbeat, StatisticsReset
from gateway.process_figures import Counts, counts_in
from gateway.snapshot import Traffic

LOST_AFTER = timedelta(seconds=3)
REMEMBERED_FOR = timedelta(seconds=30)  # a loss, and an instance that is gone
BYTES_PER_MB = 1_000_000
ALL_TRAFFIC = 100


class Health(StrEnum):
    """How an instance or a worker stands."""

    HEALTHY = "healthy"
    DEGRADED = "degraded"  # it serves, and something is wrong
    UNHEALTHY = "unhealthy"  # nothing is heard of it
    STARTING = "starting"
    STOPPING = "stopping"  # it serves what comes, and wants nothing more
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class Worker:
    """One process that serves HTTP, as it last reported itself."""

    id: str
    pid: int
    health: Health
    started_at: datetime
    heard_at: datetime
    config_revision: int
    connections: int
    report: Mapping[str, Any] = field(repr=False)

    @property
    def is_live(self) -> bool:
        """Say whether it serves."""
        return self.health in {Health.HEALTHY, Health.STOPPING}


@dataclass(frozen=True, slots=True)
class Instance:
    """One start of `serve`, by its MODULE_ID.

    `workers` are those that serve and those that were lost a moment ago; so many are
    `wanted`. `connections` are the requests being answered now, `traffic_weight` is that
    of its version, in percent. `config_revision` is the lowest of all who serve, 0 without
    any. `message` says why it is not healthy.
    """

    instance: str
    version: str
    health: Health
    message: str
    run: str = ""
    address: str = ""
    started_at: datetime | None = None
    heard_at: datetime | None = None
    workers: tuple[Worker, ...] = ()
    wanted: int = 0
    connections: int = 0
    traffic_weight: int = 0
    config_revision: int = 0

    @property
    def live(self) -> tuple[Worker, ...]:
        """The workers that serve."""
        return tuple(worker for worker in self.workers if worker.is_live)


@dataclass(frozen=True, slots=True)
class InstanceStatistics:
    """The figures of an instance over all its workers, ended ones too.

    Counts are since its start or their last reset, which was at `since`; `run` is empty
    when nothing is known of it. What is of this
    moment is of the workers that serve; `cpu_percent` is of one core.
    """

    instance: str
    run: str
    since: datetime
    counts: Counts
    connections: int = 0
    cpu_percent: float = 0.0
    rss_bytes: int = 0
    workers: int = 0

    @property
    def memory_mb(self) -> float:
        """Memory of its processes in millions of bytes."""
        return self.rss_bytes / BYTES_PER_MB


@dataclass(frozen=True, slots=True)
class Reported:
    """What all workers of an instance's present start say, ended ones too.

    `statistics` are since the start, whatever was reset.
    """

    statistics: InstanceStatistics
    reports: tuple[Mapping[str, Any], ...]
    live: tuple[Worker, ...]
    wanted: int


# --- Instances ---------------------------------------------------------------------------


def instances(traffic: Traffic, *, now: datetime) -> list[Instance]:
    """Give every instance that has been heard of within half a minute, by name.

    Raises:
        django.db.Error: The database is away.

    """
    by_name: dict[str, list[Heartbeat]] = {}
    for row in Heartbeat.objects.order_by("instance", "started_at", "worker"):
        by_name.setdefault(row.instance, []).append(row)
    return [
        instance_of(current_run(rows), traffic, now=now)
        for rows in by_name.values()
        if max(row.beat_at for row in rows) >= now - REMEMBERED_FOR
    ]


def find_instance(name: str, traffic: Traffic, *, now: datetime) -> Instance | None:
    """Give one instance, None if nothing was heard of it. Raises like `instances`."""
    rows = current_run(rows_of(name))
    return instance_of(rows, traffic, now=now) if rows else None


def starting(name: str, version: str, traffic: Traffic) -> Instance:
    """Make an instance whose workers have said nothing yet."""
    return Instance(
        instance=name,
        version=version,
        health=Health.STARTING,
        message="No worker has reported yet.",
        traffic_weight=weight_of(version, traffic),
    )


def rows_of(name: str) -> list[Heartbeat]:
    """Read what the workers of an instance last said, those that started last at the end."""
    return list(
        Heartbeat.objects.filter(instance=name).order_by("started_at", "worker")
    )


def current_run(rows: Sequence[Heartbeat]) -> list[Heartbeat]:
    """Leave out what earlier starts have left behind."""
    return [row for row in rows if row.run == rows[-1].run]


def instance_of(
    rows: Sequence[Heartbeat], traffic: Traffic, *, now: datetime
) -> Instance:
    """Sum up one start from its workers' rows, of which there is at least one."""
    known = [worker_of(row, now=now) for row in rows]
    shown = tuple(
        worker
        for worker in known
        if worker.health is not Health.STOPPED
        and worker.heard_at >= now - REMEMBERED_FOR
    )
    newest = rows[-1]
    live = [worker for worker in shown if worker.is_live]
    health, message = stand(known, shown, newest.version, traffic)
    return Instance(
        instance=newest.instance,
        version=newest.version,
        health=health,
        message=message,
        run=newest.run,
        address=newest.address,
        started_at=min(row.started_at for row in rows),
        heard_at=max(row.beat_at for row in rows),
        workers=shown,
        wanted=newest.workers,
        connections=sum(worker.connections for worker in live),
        traffic_weight=weight_of(newest.version, traffic),
        config_revision=min((worker.config_revision for worker in live), default=0),
    )


def worker_of(row: Heartbeat, *, now: datetime) -> Worker:
    """Say how one worker stands."""
    return Worker(
        id=row.worker,
        pid=row.pid,
        health=worker_health(row, now=now),
        started_at=row.started_at,
        heard_at=row.beat_at,
        config_revision=row.config_revision,
        connections=row.report.get("traffic", {}).get("connections", 0),
        report=row.report,
    )


def worker_health(row: Heartbeat, *, now: datetime) -> Health:
    """Judge one worker by its own word, and by whether there is one."""
    if row.state == WorkerState.ENDED:
        return Health.STOPPED
    if row.beat_at < now - LOST_AFTER:
        return Health.UNHEALTHY
    return Health.STOPPING if row.state == WorkerState.DRAINING else Health.HEALTHY


def stand(
    known: Sequence[Worker], shown: Sequence[Worker], version: str, traffic: Traffic
) -> tuple[Health, str]:
    """Say how an instance stands, and why."""
    live = [worker for worker in shown if worker.is_live]
    if not live:
        last = max(known, key=lambda worker: worker.heard_at)
        if last.health is Health.STOPPED:  # others may have been lost before
            return Health.STOPPED, "Every worker has ended."
        return Health.UNHEALTHY, "No worker has been heard of for 3 seconds."
    if why := why_draining(live, version, traffic):
        return Health.STOPPING, why
    if lost := [str(worker.pid) for worker in shown if not worker.is_live]:
        problem = f"Nothing is heard of {len(lost)} worker(s): pid {', '.join(lost)}."
    else:
        problem = problem_of(live, "configuration")
    return (Health.DEGRADED, problem) if problem else (Health.HEALTHY, "")


def why_draining(live: Sequence[Worker], version: str, traffic: Traffic) -> str:
    """Say why an instance wants no further requests; empty when it does."""
    if version in traffic.draining:
        return f"It drains: instances of the version {version} are to get no requests."
    if all(worker.health is Health.STOPPING for worker in live):
        return "It drains: every worker has been told to stop."
    return ""


def problem_of(workers: Iterable[Worker], part: str) -> str:
    """Give the first problem that a worker reports of a part; empty if all is well."""
    reported = (worker.report.get("problems", {}).get(part, "") for worker in workers)
    return next((problem for problem in reported if problem), "")


def weight_of(version: str, traffic: Traffic) -> int:
    """Give the weight of an instance by its version's share, in percent.

    0 means that it drains, and nothing else: an instance whose deployments of its own
    version have no share serves those of others.
    """
    if version in traffic.draining:
        return 0
    return traffic.weight(version) or ALL_TRAFFIC


def behind(name: str, revision: int, *, now: datetime) -> tuple[list[Worker], int]:
    """Give the workers that serve an older configuration, and how many serve at all.

    Raises like `instances`.
    """
    rows = current_run(rows_of(name))
    live = [w for row in rows if (w := worker_of(row, now=now)).is_live]
    return [worker for worker in live if worker.config_revision < revision], len(live)


# --- Figures -----------------------------------------------------------------------------


def statistics(name: str, *, now: datetime) -> InstanceStatistics:
    """Sum the figures of an instance's present start, without what a reset left behind.

    Nothing but zeros of an instance that is not known. Raises like `instances`.
    """
    return since_reset(total_of(name, current_run(rows_of(name)), now=now))


def reported(name: str, *, now: datetime) -> Reported:
    """Read everything that an instance's workers report. Raises like `instances`."""
    rows = current_run(rows_of(name))
    workers = [worker_of(row, now=now) for row in rows]
    return Reported(
        statistics=total_of(name, rows, now=now),
        reports=tuple(row.report for row in rows),
        live=tuple(worker for worker in workers if worker.is_live),
        wanted=rows[-1].workers if rows else 0,
    )


def reset(name: str, *, now: datetime) -> InstanceStatistics:
    """Have the figures begin anew; give those that there were. Raises like `instances`.

    What happened after the workers' last heartbeats, at most a second ago, counts as
    having happened after the reset.
    """
    total = total_of(name, current_run(rows_of(name)), now=now)
    before = since_reset(total)
    if total.run:
        StatisticsReset.objects.update_or_create(
            instance=name,
            defaults={"run": total.run, "at": now, "totals": total.counts.as_dict()},
        )
    return before


def since_reset(total: InstanceStatistics) -> InstanceStatistics:
    """Leave out what was counted before the last reset of this start's figures."""
    kept = StatisticsReset.objects.filter(
        instance=total.instance, run=total.run
    ).first()
    if kept is None:
        return total
    try:
        counts = total.counts.minus(Counts.from_dict(kept.totals))
    except ValueError:  # of workers whose rows somebody has deleted
        return total
    return replace(total, counts=counts, since=kept.at)


def total_of(
    name: str, rows: Sequence[Heartbeat], *, now: datetime
) -> InstanceStatistics:
    """Sum the figures of one start's workers."""
    counts = Counts()
    for row in rows:
        counts.add(counts_in(row.report))
    workers = [worker_of(row, now=now) for row in rows]
    live = [worker.report.get("traffic", {}) for worker in workers if worker.is_live]
    return InstanceStatistics(
        instance=name,
        run=rows[-1].run if rows else "",
        since=min((row.started_at for row in rows), default=now),
        counts=counts,
        connections=sum(each.get("connections", 0) for each in live),
        cpu_percent=sum(each.get("cpu_percent", 0.0) for each in live),
        rss_bytes=sum(each.get("rss_bytes", 0) for each in live),
        workers=len(live),
    )
