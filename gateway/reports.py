"""What is reported of routing and health, over all workers; each with its "as of"."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from django.utils import timezone

from gateway.access import NANO_PER_USD
from gateway.heartbeat import FRESH_S
from gateway.kinds import WorkerState
from gateway.models import Heartbeat
from gateway.routing.health import HealthTable
from gateway.routing.statistics import ProviderStatistics
from gateway.snapshot import Snapshot

Report = Mapping[str, Any]


def worker_report(
    snapshot: Snapshot,
    health: HealthTable,
    statistics: Mapping[str, ProviderStatistics],
    *,
    versions: Mapping[str, ProviderStatistics],
    traffic: Mapping[str, Any],
    problems: Mapping[str, str],
    now_s: float,
) -> dict[str, Any]:
    """Say how this worker stands, in a form that JSON keeps; `now_s` is monotonic.

    `traffic` are the figures of its process; `problems` say what is not whole, by part,
    empty where all is well.
    """
    return {
        "problems": problems,
        "traffic": traffic,
        "statistics": {name: each.as_dict() for name, each in statistics.items()},
        "versions": {label: each.as_dict() for label, each in versions.items()},
        "in_flight": {
            provider.name: health.provider_in_flight(provider)
            for provider in snapshot.providers.values()
        },
        "breakers": breakers(snapshot, health, now_s=now_s),
        "unreadable": [
            provider.name
            for provider in snapshot.providers.values()
            if provider.is_credential_unreadable
        ],
    }


def breakers(
    snapshot: Snapshot, health: HealthTable, *, now_s: float
) -> dict[str, dict[str, str]]:
    """Give each deployment's availability: provider name, upstream model, state."""
    states: dict[str, dict[str, str]] = {}
    for model in snapshot.models.values():
        for deployment in model.deployments:
            found = health.availability(deployment, now_s)
            by_model = states.setdefault(deployment.provider.name, {})
            by_model[deployment.upstream_model] = found.state.value
    return states


def other_reports(*, worker: str) -> list[tuple[Report, bool]]:
    """Read what the other workers say, and whether each is live.

    Raises:
        django.db.Error: The database is away.

    """
    live_since = timezone.now() - timedelta(seconds=FRESH_S)
    rows = Heartbeat.objects.exclude(worker=worker)
    return [
        (report, beat_at >= live_since and state != WorkerState.ENDED)
        for report, beat_at, state in rows.values_list("report", "beat_at", "state")
    ]


def routing_stats(
    snapshot: Snapshot, own: Report, others: Iterable[tuple[Report, bool]]
) -> dict[str, Any]:
    """Sum the figures of all workers; live ones alone say what is in flight."""
    others = list(others)
    everybody = [own, *(report for report, _ in others)]
    live = [own, *(report for report, is_live in others if is_live)]
    return {
        "routing_strategy": snapshot.default_strategy.name,
        "provider_stats": {
            name: provider_stats(name, everybody, live) for name in snapshot.providers
        },
        "workers": len(live),
        "config_version": snapshot.revision,
        "as_of": timezone.now().isoformat(),
    }


def provider_stats(
    name: str, everybody: Iterable[Report], live: Iterable[Report]
) -> dict[str, Any]:
    """Sum one provider's figures; rates are 0 to 1, unknown figures null."""
    parts = [
        r["statistics"][name] for r in everybody if name in r.get("statistics", ())
    ]
    total = ProviderStatistics.merge(parts)
    decided = total.successful_requests + total.failed_requests
    mean_s = total.latency.mean_s()
    return {
        "total_requests": total.total_requests,
        "successful_requests": total.successful_requests,
        "failed_requests": total.failed_requests,
        "success_rate": total.successful_requests / decided if decided else None,
        "avg_latency_ms": milliseconds(mean_s),
        "latency_ms": percentiles(total.latency),
        "time_to_first_token_ms": percentiles(total.ttft),
        "consecutive_failures": total.consecutive_failures,
        "last_success": moment(total.last_success_s),
        "last_failure": moment(total.last_failure_s),
        "in_flight": sum(r.get("in_flight", {}).get(name, 0) for r in live),
        "breakers": worst_states(r.get("breakers", {}).get(name, {}) for r in live),
        "input_tokens": total.input_tokens,
        "output_tokens": total.output_tokens,
        "cost_usd": total.cost_nano_usd / NANO_PER_USD,
        "unpriced_requests": total.unpriced_requests,
    }


SEVERITY = ("ready", "saturated", "probe", "cooling", "open")


def worst_states(parts: Iterable[Mapping[str, str]]) -> dict[str, str]:
    """Merge the workers' views of each deployment: the worst one counts."""
    worst: dict[str, str] = {}
    for part in parts:
        for model, state in part.items():
            worst[model] = max(worst.get(model, state), state, key=SEVERITY.index)
    return worst


def percentiles(histogram: Any) -> dict[str, float | None]:
    """Give p50, p95 and p99 in milliseconds; null without samples."""
    return {
        f"p{percent}": milliseconds(histogram.percentile(percent))
        for percent in (50, 95, 99)
    }


def milliseconds(value_s: float | None) -> float | None:
    """Turn seconds into milliseconds."""
    return None if value_s is None else round(value_s * 1000, 3)


def moment(epoch_s: float | None) -> str | None:
    """Write a moment as ISO 8601."""
    return None if epoch_s is None else datetime.fromtimestamp(epoch_s, UTC).isoformat()
