"""What workers report and the ledger has summed up, as points with names and labels.

A name that `/metrics` has means the same here; it has fewer labels where workers do not
report by them, and `ailb_active_connections` are all requests under /v1.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from gateway.access import NANO_PER_USD
from gateway.instances import Reported, Worker
from gateway.models.usage import TOKEN_COLUMNS
from gateway.process_figures import SUCCEEDED, ProviderCounts, provider_counts_in
from gateway.reports import worst_states
from gateway.routing.statistics import LatencyHistogram, ProviderStatistics
from gateway.snapshot import Traffic
from gateway.usage_reports import Group, UsageReport

QUANTILES = (50, 95, 99)  # percent
GROUPS = (Group.HOUR, Group.PROVIDER, Group.MODEL)

Points = Iterator["Point"]


@dataclass(frozen=True, slots=True)
class Point:
    """One value; `at` is None for now."""

    name: str
    value: float
    labels: Mapping[str, str] = field(default_factory=dict)
    at: datetime | None = None


# --- Now ---------------------------------------------------------------------------------


def points_now(found: Reported, traffic: Traffic) -> Points:
    """Give the metrics of an instance: counters since its start, and how it stands."""
    yield from of_traffic(found)
    for provider, counts in provider_counts_in(found.reports).items():
        yield from of_provider(provider, counts)
    yield from of_attempts("provider", merged(found.reports, "statistics"))
    yield from of_attempts("version", merged(found.reports, "versions"))
    yield from of_workers(found)
    yield from of_breakers(found.live)
    for version in {*traffic.weights, traffic.active_version}:
        weight = traffic.weight(version)
        yield Point("ailb_version_weight_percent", weight, {"version": version})


def of_traffic(found: Reported) -> Points:
    """Give what clients asked of the instance, and what it takes."""
    statistics, counts = found.statistics, found.statistics.counts
    yield Point("ailb_requests_succeeded_total", counts.succeeded)
    yield Point("ailb_requests_failed_total", counts.failed)
    yield from quantiles("ailb_request_latency_seconds", counts.latency, {})
    yield from quantiles("ailb_time_to_first_token_seconds", counts.ttft, {})
    yield Point("ailb_active_connections", statistics.connections)
    yield Point("ailb_connections_total", counts.connections_total)
    yield Point("ailb_received_bytes_total", counts.bytes_received)
    yield Point("ailb_sent_bytes_total", counts.bytes_sent)
    yield Point("ailb_cpu_percent", statistics.cpu_percent)
    yield Point("ailb_memory_bytes", statistics.rss_bytes)


def of_provider(provider: str, counts: ProviderCounts) -> Points:
    """Give the requests that one provider answered or failed last, as `/metrics` has them."""
    labels = {"provider": provider}
    yield Point("ailb_requests_total", counts.requests, labels)
    for domain, number in counts.domains.items():
        if domain != SUCCEEDED:
            yield Point(
                "ailb_request_failures_total", number, {**labels, "domain": domain}
            )
    for kind, number in counts.tokens.items():
        yield Point("ailb_tokens_total", number, {**labels, "kind": kind})
    yield Point("ailb_cost_usd_total", counts.cost_nano_usd / NANO_PER_USD, labels)
    yield Point("ailb_unpriced_requests_total", counts.unpriced_requests, labels)


def merged(
    reports: Iterable[Mapping[str, Any]], part: str
) -> dict[str, ProviderStatistics]:
    """Sum what all workers report of attempts: by provider or by version."""
    parts: dict[str, list[Mapping[str, Any]]] = {}
    for report in reports:
        for name, each in report.get(part, {}).items():
            parts.setdefault(name, []).append(each)
    return {name: ProviderStatistics.merge(each) for name, each in parts.items()}


def of_attempts(label: str, sums: Mapping[str, ProviderStatistics]) -> Points:
    """Give the attempts that ended, by whom they were made at."""
    for name, each in sums.items():
        labels = {label: name}
        prefix = f"ailb_{label}"
        for outcome, number in (
            ("succeeded", each.successful_requests),
            ("failed", each.failed_requests),
        ):
            yield Point(
                f"{prefix}_attempts_total", number, {**labels, "outcome": outcome}
            )
        yield from quantiles(f"{prefix}_latency_seconds", each.latency, labels)
        yield from quantiles(f"{prefix}_time_to_first_token_seconds", each.ttft, labels)


def of_workers(found: Reported) -> Points:
    """Give the workers, and what they have in flight."""
    yield Point("ailb_workers", len(found.live))
    yield Point("ailb_workers_wanted", found.wanted)
    if found.live:
        revision = min(worker.config_revision for worker in found.live)
        yield Point("ailb_config_revision", revision)
    in_flight: dict[str, int] = {}
    for worker in found.live:
        for provider, number in worker.report.get("in_flight", {}).items():
            in_flight[provider] = in_flight.get(provider, 0) + number
    for provider, number in in_flight.items():
        yield Point("ailb_upstream_in_flight", number, {"provider": provider})


def of_breakers(live: Iterable[Worker]) -> Points:
    """Give each deployment's state, the worst that a worker sees: 1 with the state's name."""
    for provider, states in breakers_of(live).items():
        for model, state in states.items():
            labels = {"provider": provider, "upstream_model": model, "state": state}
            yield Point("ailb_breaker_state", 1, labels)


def breakers_of(live: Iterable[Worker]) -> dict[str, dict[str, str]]:
    """Merge what workers say of each provider's deployments: the worst counts."""
    parts = [worker.report.get("breakers", {}) for worker in live]
    names = dict.fromkeys(name for part in parts for name in part)
    return {name: worst_states(part.get(name, {}) for part in parts) for name in names}


def quantiles(
    name: str, histogram: LatencyHistogram, labels: Mapping[str, str]
) -> Points:
    """Give what Prometheus calls a summary; no quantiles without anything recorded."""
    for percent in QUANTILES:
        value = histogram.percentile(percent)
        if value is not None:
            yield Point(name, value, {**labels, "quantile": f"{percent / 100:g}"})
    yield Point(f"{name}_count", histogram.count, labels)
    yield Point(f"{name}_sum", histogram.sum_s, labels)


# --- Past hours --------------------------------------------------------------------------


def points_past(report: UsageReport) -> Points:
    """Give what each hour had, of requests that reached a provider, over all instances.

    The ledger does not know which instance served.
    """
    for row in report.rows:
        hour, provider, model = row.group
        labels = {"provider": provider, "model": model, "scope": "installation"}
        at = datetime.fromisoformat(hour)
        sums = row.sums
        yield Point("ailb_requests_total", sums["requests"], labels, at)
        yield Point("ailb_request_failures_total", sums["failed_requests"], labels, at)
        yield Point("ailb_attempts_total", sums["attempts"], labels, at)
        yield Point(
            "ailb_unpriced_requests_total", sums["unpriced_requests"], labels, at
        )
        cost_usd = sums["cost_nano_usd"] / NANO_PER_USD
        yield Point("ailb_cost_usd_total", cost_usd, labels, at)
        for column in TOKEN_COLUMNS:
            if sums[column]:
                kind = column.removesuffix("_tokens")
                value = sums[column]
                yield Point("ailb_tokens_total", value, {**labels, "kind": kind}, at)
