"""GetStats, GetMetrics and StreamMetrics, on heartbeats and usage written by hand."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone
from google.protobuf.timestamp_pb2 import Timestamp

from gateway.bookkeeping import record
from gateway.database_threads import DatabaseThreads
from gateway.kinds import WorkerState
from gateway.models import Heartbeat
from gateway.routing.statistics import ProviderStatistics
from gateway.snapshot import Snapshot, Strategy, Traffic
from moduleservice.base import Host, Refusal
from moduleservice.figures import Figures
from moduleservice.messages import timestamp
from moduleservice.pb import module_service_pb2 as pb, types_pb2
from tests.gateway.heartbeat_rows import beat, figures
from tests.gateway.usage_lines import usage_line

pytestmark = pytest.mark.django_db(transaction=True)

HOUR = timedelta(hours=1)
SNAPSHOT = Snapshot(
    revision=1,
    providers={},
    models={},
    aliases={},
    default_strategy=Strategy(name="random", algorithm="random"),  # type: ignore[arg-type]  # unused
    traffic=Traffic("v1", {"v1": 90, "v2": 10}),
)


@pytest.fixture
async def host() -> AsyncIterator[Host]:
    threads = DatabaseThreads(1, name="test-figures")
    yield Host("i", "v1", threads, lambda: SNAPSHOT)
    await threads.aclose(limit_s=5)


async def rows(host: Host, *workers: dict[str, Any]) -> None:
    await host.database.run(lambda: [beat(**each) for each in workers])


async def stats(
    host: Host, *, reset: bool = False, name: str = ""
) -> types_pb2.ModuleStats:
    request = pb.GetStatsRequest(instance_id=name, reset_counters=reset)
    return (await Figures(host).GetStats(request)).stats


async def metrics(host: Host, *names: str, **span: Timestamp) -> dict[str, float]:
    """Give the values by name and labels: `name{label=value,...}`."""
    request = pb.GetMetricsRequest(metric_names=names, **span)  # type: ignore[arg-type]  # its fields
    answer = await Figures(host).GetMetrics(request)
    assert answer.metrics.module_type == types_pb2.MODULE_TYPE_AILB
    assert answer.collected_at == answer.metrics.collected_at
    return written(answer.metrics.metrics)


def written(points: Iterable[types_pb2.MetricDataPoint]) -> dict[str, float]:
    values = {}
    for point in points:
        labels = ",".join(f"{key}={point.labels[key]}" for key in sorted(point.labels))
        values[f"{point.name}{{{labels}}}" if labels else point.name] = point.value
    assert len(values) == len(list(points)), "two points are told by nothing"
    return values


async def test_statistics_are_real_counts_over_all_workers(host: Host) -> None:
    moment = {"connections": 2, "cpu_percent": 30.0, "rss_bytes": 80_000_000}
    traffic: dict[str, Any] = {**moment, "bytes_received": 10, "bytes_sent": 100}
    await rows(
        host,
        {"report": figures(ok=98, latency_s=0.1, **traffic, connections_total=98)},
        {"report": figures(ok=2, failed=3, refused=4, latency_s=2.0, **traffic)},
        {"report": figures(failed=1, **traffic), "state": WorkerState.ENDED},
    )
    found = await stats(host)
    assert (found.instance_id, found.total_requests) == ("i", 108)
    assert (found.successful_requests, found.failed_requests) == (100, 4)
    assert (found.active_connections, found.total_connections) == (4, 98)
    assert (found.bytes_received, found.bytes_sent) == (30, 300)
    assert (found.cpu_usage_percent, found.memory_usage_mb) == (60.0, 160.0)
    assert found.avg_latency_ms == pytest.approx((98 * 100 + 2 * 2000) / 100)
    assert found.p50_latency_ms == pytest.approx(100, rel=0.03)
    assert found.p95_latency_ms == pytest.approx(100, rel=0.03)
    assert found.p99_latency_ms == pytest.approx(2000, rel=0.03)
    assert found.custom_stats["refused_requests"] == "4"
    age = timezone.now() - found.since.ToDatetime(tzinfo=UTC)
    assert 99 < age.total_seconds() < 120


async def test_everything_is_zero_when_nothing_happened(host: Host) -> None:
    found = await stats(host)
    set_fields = {descriptor.name for descriptor, _ in found.ListFields()}
    assert set_fields == {"instance_id", "since", "custom_stats"}
    values = await metrics(host)
    weights = {name for name in values if "weight" in name}
    assert not any(value for name, value in values.items() if name not in weights)


async def test_reset_counters_gives_the_old_figures_and_begins_anew(host: Host) -> None:
    await rows(host, {"report": figures(ok=5, bytes_sent=50)})
    assert (await stats(host, reset=True)).total_requests == 5
    found = await stats(host)
    assert (found.total_requests, found.bytes_sent, found.p99_latency_ms) == (0, 0, 0)
    age = timezone.now() - found.since.ToDatetime(tzinfo=UTC)
    assert age.total_seconds() < 10
    report = figures(ok=8, bytes_sent=80)
    await host.database.run(lambda: Heartbeat.objects.update(report=report))
    assert (await stats(host)).total_requests == 3
    assert (await metrics(host, "ailb_sent_bytes_total")) == {
        "ailb_sent_bytes_total": 80
    }, "metrics are counters: a reset is of statistics alone"


async def test_another_replicas_figures_are_its_own(host: Host) -> None:
    await rows(
        host,
        {"report": figures(ok=1)},
        {"instance": "other", "report": figures(ok=7)},
    )
    assert (await stats(host, name="other")).total_requests == 7
    assert (await stats(host, name="other", reset=True)).total_requests == 7
    assert (await stats(host)).total_requests == 1


# --- Metrics -----------------------------------------------------------------------------


def attempts(*, successes: int) -> dict[str, Any]:
    counted = ProviderStatistics()
    for _ in range(successes):
        counted.record(is_success=True, at_s=1, latency_s=0.2, ttft_s=0.1)
    return counted.as_dict()


async def test_metrics_are_those_of_the_workers(host: Host) -> None:
    live = {
        **figures(ok=3, failed=1, provider="a"),
        "statistics": {"a": attempts(successes=3)},
        "versions": {"v2": attempts(successes=2)},
        "in_flight": {"a": 2},
        "breakers": {"a": {"m": "open"}},
    }
    ended = {**figures(refused=2, provider="a"), "in_flight": {"a": 9}}
    await rows(
        host,
        {"report": live, "config_revision": 12, "workers": 2},
        {"report": ended, "state": WorkerState.ENDED, "started_s": 200},
    )
    found = await metrics(host)
    expected = {
        "ailb_requests_total{provider=a}": 6,
        "ailb_request_failures_total{domain=provider,provider=a}": 1,
        "ailb_request_failures_total{domain=caller,provider=a}": 2,
        "ailb_requests_succeeded_total": 3,
        "ailb_requests_failed_total": 1,
        "ailb_provider_attempts_total{outcome=succeeded,provider=a}": 3,
        "ailb_version_attempts_total{outcome=succeeded,version=v2}": 2,
        "ailb_upstream_in_flight{provider=a}": 2,
        "ailb_breaker_state{provider=a,state=open,upstream_model=m}": 1,
        "ailb_config_revision": 12,
        "ailb_workers": 1,
        "ailb_workers_wanted": 2,
        "ailb_version_weight_percent{version=v1}": 90,
        "ailb_version_weight_percent{version=v2}": 10,
        "ailb_request_latency_seconds_count": 3,
    }
    assert {name: found[name] for name in expected} == expected
    latency = found["ailb_request_latency_seconds{quantile=0.95}"]
    assert latency == pytest.approx(0.1, rel=0.03)


async def test_tokens_and_cost_are_by_provider(host: Host) -> None:
    report = figures(ok=1, provider="a")
    counted = report["traffic"]["providers"]["a"]
    counted |= {"tokens": {"input": 5, "output": 7}, "cost_nano_usd": 2_000_000_000}
    await rows(host, {"report": report})
    assert await metrics(host, "ailb_tokens_total", "ailb_cost_usd_total") == {
        "ailb_tokens_total{kind=input,provider=a}": 5,
        "ailb_tokens_total{kind=output,provider=a}": 7,
        "ailb_cost_usd_total{provider=a}": 2,
    }


async def test_names_choose_metrics_and_unknown_ones_give_nothing(host: Host) -> None:
    await rows(host, {})
    assert await metrics(host, "ailb_workers", "nothing") == {"ailb_workers": 1}
    assert await metrics(host, "nothing") == {}


async def test_a_span_gives_what_each_of_its_hours_had(host: Host) -> None:
    until = timezone.now().replace(minute=0, second=0, microsecond=0)
    lines = [
        usage_line(at=(until - hours * HOUR + HOUR / 2).timestamp(), provider="a")
        for hours in (1, 2, 2, 30)
    ]
    await host.database.run(lambda: record(lines, []))
    request = pb.GetMetricsRequest(
        start_time=timestamp(until - 3 * HOUR),
        metric_names=["ailb_requests_total", "ailb_tokens_total"],
    )
    answer = await Figures(host).GetMetrics(request)
    requests = {
        point.timestamp.ToDatetime(tzinfo=UTC): (point.value, dict(point.labels))
        for point in answer.metrics.metrics
        if point.name == "ailb_requests_total"
    }
    labels = {"provider": "a", "model": "m", "scope": "installation"}
    assert requests == {
        until - 2 * HOUR: (2, labels),
        until - HOUR: (1, labels),
    }
    tokens = [
        (point.labels["kind"], point.value)
        for point in answer.metrics.metrics
        if point.name == "ailb_tokens_total"
    ]
    assert sorted(tokens) == [
        ("input", 100),
        ("input", 200),
        ("output", 50),
        ("output", 100),
    ]


NOW = datetime(2026, 1, 10, tzinfo=UTC)


@pytest.mark.parametrize(
    ("span", "words"),
    [
        ({"end_time": timestamp(NOW)}, "end_time needs a start_time"),
        ({"start_time": timestamp(NOW), "end_time": timestamp(NOW)}, "must be before"),
        (
            {"start_time": timestamp(NOW), "end_time": timestamp(NOW + 800 * HOUR)},
            "At most 31 days",
        ),
        ({"start_time": Timestamp(seconds=1)}, "between the years"),
        ({"start_time": Timestamp(seconds=2**62)}, "no moment"),
        ({"start_time": Timestamp(seconds=-(2**62), nanos=-5)}, "no moment"),
    ],
)
async def test_a_span_that_is_none_is_refused(
    host: Host, span: dict[str, Timestamp], words: str
) -> None:
    with pytest.raises(Refusal, match=words) as refused:
        await metrics(host, **span)
    assert refused.value.code == types_pb2.STATUS_CODE_INVALID_ARGUMENT


# --- Streams -----------------------------------------------------------------------------


async def test_a_stream_sends_at_once_and_at_each_interval(host: Host) -> None:
    await rows(host, {})
    request = pb.StreamMetricsRequest(
        interval_seconds=-5, metric_names=["ailb_config_revision"]
    )
    async with aclosing(Figures(host).StreamMetrics(request)) as stream:
        first = await anext(stream)
        assert written(first.metrics.metrics) == {"ailb_config_revision": 7}
        await host.database.run(lambda: Heartbeat.objects.update(config_revision=8))
        second = await anext(stream)
    assert written(second.metrics.metrics) == {"ailb_config_revision": 8}
    passed = second.timestamp.ToDatetime() - first.timestamp.ToDatetime()
    assert timedelta(seconds=0.9) < passed < timedelta(seconds=5)
