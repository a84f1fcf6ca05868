"""Instances and figures as the messages of the contract."""

from __future__ import annotations

from datetime import UTC, datetime

from google.protobuf.timestamp_pb2 import Timestamp

from gateway.instances import Health, Instance, InstanceStatistics, Worker
from gateway.routing.statistics import LatencyHistogram
from moduleservice.pb import types_pb2

MS_PER_S = 1000
HEALTH = {
    Health.HEALTHY: types_pb2.HEALTH_STATUS_HEALTHY,
    Health.DEGRADED: types_pb2.HEALTH_STATUS_DEGRADED,
    Health.UNHEALTHY: types_pb2.HEALTH_STATUS_UNHEALTHY,
    Health.STARTING: types_pb2.HEALTH_STATUS_STARTING,
    Health.STOPPING: types_pb2.HEALTH_STATUS_STOPPING,
    Health.STOPPED: types_pb2.HEALTH_STATUS_STOPPED,
}


def health_status(health: Health) -> types_pb2.HealthStatus:
    """Give the contract's word for how an instance stands."""
    return HEALTH[health]


def timestamp(moment: datetime | None) -> Timestamp | None:
    """Write a moment; None stays None, which leaves a field unset."""
    if moment is None:
        return None
    stamp = Timestamp()
    stamp.FromDatetime(moment.astimezone(UTC))
    return stamp


def module_instance(instance: Instance) -> types_pb2.ModuleInstance:
    """Write a replica. `max_connections` is 0: there is no limit."""
    return types_pb2.ModuleInstance(
        instance_id=instance.instance,
        module_type=types_pb2.MODULE_TYPE_AILB,
        address=instance.address,
        health_status=health_status(instance.health),
        metadata={
            "role": "replica",
            "run": instance.run,
            "workers": str(len(instance.live)),
            "workers_wanted": str(instance.wanted),
            "config_revision": str(instance.config_revision),
            "message": instance.message,
        },
        started_at=timestamp(instance.started_at),
        current_connections=instance.connections,
        version=instance.version,
        traffic_weight=instance.traffic_weight,
    )


def worker_instance(worker: Worker, instance: Instance) -> types_pb2.ModuleInstance:
    """Write one of a replica's workers, which share its address, version and weight."""
    return types_pb2.ModuleInstance(
        instance_id=f"{instance.instance}/{worker.pid}",
        module_type=types_pb2.MODULE_TYPE_AILB,
        address=instance.address,
        health_status=health_status(worker.health),
        metadata={
            "role": "worker",
            "replica": instance.instance,
            "pid": str(worker.pid),
            "config_revision": str(worker.config_revision),
        },
        started_at=timestamp(worker.started_at),
        current_connections=worker.connections,
        version=instance.version,
        traffic_weight=instance.traffic_weight,
    )


def module_stats(statistics: InstanceStatistics) -> types_pb2.ModuleStats:
    """Write figures; what has not happened is zero.

    Latencies are of requests that succeeded. Those neither successful nor failed are in
    `custom_stats`: the caller's fault, or refused by a limit.
    """
    counts = statistics.counts
    refused = counts.requests - counts.succeeded - counts.failed
    return types_pb2.ModuleStats(
        instance_id=statistics.instance,
        total_requests=counts.requests,
        successful_requests=counts.succeeded,
        failed_requests=counts.failed,
        active_connections=statistics.connections,
        total_connections=counts.connections_total,
        avg_latency_ms=(counts.latency.mean_s() or 0.0) * MS_PER_S,
        p50_latency_ms=percentile_ms(counts.latency, 50),
        p95_latency_ms=percentile_ms(counts.latency, 95),
        p99_latency_ms=percentile_ms(counts.latency, 99),
        bytes_received=counts.bytes_received,
        bytes_sent=counts.bytes_sent,
        cpu_usage_percent=statistics.cpu_percent,
        memory_usage_mb=statistics.memory_mb,
        since=timestamp(statistics.since),
        custom_stats={
            "refused_requests": str(refused),
            "workers": str(statistics.workers),
            "streams_with_content": str(counts.ttft.count),
            **{
                f"p{percent}_ttft_ms": f"{percentile_ms(counts.ttft, percent):.3f}"
                for percent in (50, 95, 99)
            },
        },
    )


def percentile_ms(histogram: LatencyHistogram, percent: float) -> float:
    """Give a percentile in milliseconds, within 2 %; 0 without anything recorded."""
    return (histogram.percentile(percent) or 0.0) * MS_PER_S
