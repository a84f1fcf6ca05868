"""Prometheus metrics of the data plane; docs/metrics.md lists them."""

from __future__ import annotations

from functools import lru_cache
from typing import TypeVar

from prometheus_client import Counter, Gauge, Histogram
from prometheus_client.metrics import MetricWrapperBase

M = TypeVar("M", bound=MetricWrapperBase)

LATENCY_BUCKETS = (
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60, 120, 300, 600,
)  # fmt: skip


@lru_cache(maxsize=8192)
def labelled(metric: M, *labels: str | int) -> M:
    """Find the metric of these labels: the library's own way takes a lock and ten steps."""
    return metric.labels(*labels)


REQUESTS = Counter(
    "ailb_requests_total",
    "Requests answered, by the HTTP status the client saw (499: it left).",
    ["operation", "model", "provider", "status"],
)
REQUEST_FAILURES = Counter(
    "ailb_request_failures_total",
    "Requests that failed, by whose fault it was and our error code.",
    ["operation", "model", "provider", "domain", "code"],
)
REQUEST_DURATION = Histogram(
    "ailb_request_duration_seconds",
    "Time from the request's arrival to the last byte of its answer.",
    ["operation", "model", "provider"],
    buckets=LATENCY_BUCKETS,
)
TIME_TO_FIRST_TOKEN = Histogram(
    "ailb_time_to_first_token_seconds",
    "Streams: time from the request's arrival to the first content.",
    ["model", "provider"],
    buckets=LATENCY_BUCKETS,
)
ATTEMPTS = Counter(
    "ailb_attempts_total",
    "Attempts at deployments, by what went wrong (none: nothing).",
    ["provider", "upstream_model", "fault"],
)
TOKENS = Counter(
    "ailb_tokens_total",
    "Tokens used, each in exactly one kind.",
    ["model", "provider", "kind"],
)
COST = Counter(
    "ailb_cost_usd_total",
    "What requests cost at the prices valid then, in USD; unpriced ones not included.",
    ["model", "provider"],
)
UNPRICED_REQUESTS = Counter(
    "ailb_unpriced_requests_total",
    "Requests that reached a provider and whose price is unknown.",
    ["model", "provider"],
)
USAGE_RECORDED = Counter(
    "ailb_usage_recorded_total",
    "Requests whose usage was written to the spool, on its way to the ledger.",
)
USAGE_LOST = Counter(
    "ailb_usage_lost_total",
    "Requests whose usage is lost: the disk refused it and memory was full.",
)
USAGE_SPOOLED_BYTES = Gauge(
    "ailb_usage_spooled_bytes",
    "Usage in the spool that is not yet in the database.",
    multiprocess_mode="livemax",
)
USAGE_SKIPPED_BYTES = Gauge(
    "ailb_usage_skipped_bytes",
    "Lines of the spool that could not be read and were put aside.",
    multiprocess_mode="livemax",
)
ACTIVE_CONNECTIONS = Gauge(
    "ailb_active_connections",
    "Requests to the data plane that are being answered now.",
    multiprocess_mode="livesum",
)
UPSTREAM_IN_FLIGHT = Gauge(
    "ailb_upstream_in_flight",
    "Attempts in flight, by provider.",
    ["provider"],
    multiprocess_mode="livesum",
)
CONFIG_REVISION = Gauge(
    "ailb_config_revision",
    "Revision of the configuration that serves; the lowest of all workers.",
    multiprocess_mode="livemin",
)
CONFIG_REFUSED = Gauge(
    "ailb_config_refused",
    "1 while a newer configuration is refused and the previous one serves.",
    multiprocess_mode="livemax",
)
LIMITS_SHARED = Gauge(
    "ailb_limits_shared",
    "1 while limits are counted in Redis, 0 while each process counts for itself.",
    multiprocess_mode="livemin",
)
LIMIT_REFUSALS = Counter(
    "ailb_limit_refusals_total",
    "Requests refused because a limit was reached.",
    ["scope", "measure"],
)
BUDGET_REFUSALS = Counter(
    "ailb_budget_refusals_total",
    "Requests refused because a hard budget was spent.",
    ["scope", "period"],
)
BUDGET_WARNINGS = Counter(
    "ailb_budget_warnings_total",
    "Requests admitted while a budget stood at or over its warning.",
    ["scope", "period"],
)
