"""Reports: figures of several workers, summed honestly."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from gateway import reports
from gateway.heartbeat import FRESH_S, Pulse
from gateway.kinds import Algorithm
from gateway.models import Heartbeat
from gateway.routing.health import HealthTable
from gateway.routing.statistics import ProviderStatistics
from gateway.snapshot import Provider, Snapshot, Strategy

PROVIDER = Provider(
    id=1,
    name="a",
    kind="openai",
    base_url="http://a",
    urls={},
    models_url="",
    headers=(),
    fingerprint="",
)
SNAPSHOT = Snapshot(
    revision=9,
    providers={"a": PROVIDER},
    models={},
    aliases={},
    default_strategy=Strategy(name="random", algorithm=Algorithm.RANDOM),
)


def worker(
    *, successes: int, failures: int, in_flight: int, state: str = "ready"
) -> dict[str, Any]:
    figures = ProviderStatistics()
    for _ in range(successes):
        figures.record(is_success=True, at_s=100.0, latency_s=0.2, input_tokens=3)
    for _ in range(failures):
        figures.record(is_success=False, at_s=200.0, latency_s=0.1)
    return {
        "statistics": {"a": figures.as_dict()},
        "in_flight": {"a": in_flight},
        "breakers": {"a": {"m": state}},
    }


def test_a_worker_names_the_providers_whose_credential_it_cannot_read() -> None:
    locked = replace(PROVIDER, name="b", is_credential_unreadable=True)
    report = reports.worker_report(
        replace(SNAPSHOT, providers={"a": PROVIDER, "b": locked}),
        HealthTable(),
        {},
        versions={},
        traffic={},
        problems={},
        now_s=0.0,
    )
    assert report["unreadable"] == ["b"]


def test_figures_are_summed_over_workers() -> None:
    own = worker(successes=3, failures=1, in_flight=1)
    other = worker(successes=4, failures=0, in_flight=2, state="open")
    found = reports.routing_stats(SNAPSHOT, own, [(other, True)])
    stats = found["provider_stats"]["a"]
    assert (found["routing_strategy"], found["workers"]) == ("random", 2)
    assert found["config_version"] == 9
    assert stats["total_requests"] == 8
    assert stats["successful_requests"] == 7
    assert stats["success_rate"] == 7 / 8
    assert stats["avg_latency_ms"] == 200.0
    assert stats["latency_ms"]["p50"] == pytest.approx(200, rel=0.03)
    assert stats["in_flight"] == 3
    assert stats["breakers"] == {"m": "open"}
    assert stats["input_tokens"] == 21
    assert stats["last_failure"] == "1970-01-01T00:03:20+00:00"


def test_a_dead_worker_still_counts_but_has_nothing_in_flight() -> None:
    own = worker(successes=1, failures=0, in_flight=0)
    dead = worker(successes=5, failures=0, in_flight=7, state="open")
    found = reports.routing_stats(SNAPSHOT, own, [(dead, False)])
    stats = found["provider_stats"]["a"]
    assert stats["total_requests"] == 6
    assert stats["in_flight"] == 0
    assert stats["breakers"] == {"m": "ready"}
    assert found["workers"] == 1


def test_unknown_figures_are_null_and_never_invented() -> None:
    stats = reports.routing_stats(SNAPSHOT, {}, [])["provider_stats"]["a"]
    assert stats["total_requests"] == 0
    for name in ("success_rate", "avg_latency_ms", "last_success", "last_failure"):
        assert stats[name] is None
    assert stats["latency_ms"] == {"p50": None, "p95": None, "p99": None}


@pytest.mark.django_db
def test_other_workers_are_read_with_whether_they_live() -> None:
    own, live, late = (Pulse(instance="i", run="r") for _ in range(3))
    for number, pulse in enumerate((own, live, late)):
        pulse.beat({"number": number}, config_revision=1)
    long_ago = timezone.now() - timedelta(seconds=FRESH_S + 1)
    Heartbeat.objects.filter(worker=late.worker).update(beat_at=long_ago)
    found = reports.other_reports(worker=own.worker)
    by_number = {report["number"]: is_live for report, is_live in found}
    assert by_number == {1: True, 2: False}
