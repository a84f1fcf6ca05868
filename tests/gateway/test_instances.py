"""Instances and their figures, as rows of heartbeats show them."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone

from gateway import instances
from gateway.heartbeat import Pulse, forget_runs, http_address, live_workers
from gateway.instances import Health, Instance
from gateway.kinds import WorkerState
from gateway.models import Heartbeat, StatisticsReset
from gateway.process_figures import Counts, counts_in
from gateway.snapshot import Traffic
from tests.gateway.heartbeat_rows import beat, figures

pytestmark = pytest.mark.django_db
EVEN = Traffic()


def now() -> datetime:
    return timezone.now()


def find(name: str = "i", traffic: Traffic = EVEN) -> Instance:
    found = instances.find_instance(name, traffic, now=now())
    assert found is not None
    return found


def test_an_instance_is_the_sum_of_its_workers() -> None:
    beat(started_s=50, report=figures(connections=2), workers=2, address="http://a:1")
    beat(started_s=40, report=figures(connections=3), workers=2, address="http://a:1")
    beat("other")
    found = find()
    assert (found.health, found.message) == (Health.HEALTHY, "")
    assert (len(found.live), found.wanted, found.connections) == (2, 2, 5)
    assert (found.address, found.version, found.traffic_weight) == (
        "http://a:1",
        "v1",
        100,
    )
    assert found.started_at is not None
    assert 49 < (now() - found.started_at).total_seconds() < 60
    names = [each.instance for each in instances.instances(EVEN, now=now())]
    assert names == ["i", "other"]


@pytest.mark.parametrize(
    ("workers", "health"),
    [
        ([(0, "serving"), (0, "serving")], Health.HEALTHY),
        ([(2.5, "serving")], Health.HEALTHY),
        ([(0, "serving"), (4, "serving")], Health.DEGRADED),
        ([(0, "serving"), (40, "serving")], Health.HEALTHY),  # long replaced
        ([(0, "serving"), (4, "ended")], Health.HEALTHY),
        ([(0, "serving"), (0, "draining")], Health.HEALTHY),
        ([(0, "draining"), (5, "ended")], Health.STOPPING),
        ([(4, "serving"), (5, "draining")], Health.UNHEALTHY),
        ([(4, "serving"), (5, "ended")], Health.UNHEALTHY),
        ([(1, "ended"), (5, "ended")], Health.STOPPED),
        ([(1, "ended"), (10, "serving")], Health.STOPPED),
    ],
)
def test_health_follows_from_what_workers_said_and_when(
    workers: list[tuple[float, str]], health: Health
) -> None:
    for age_s, state in workers:
        beat(age_s=age_s, state=WorkerState(state))
    found = find()
    assert found.health is health
    assert (found.message == "") is (health is Health.HEALTHY)


def test_an_instance_whose_version_drains_says_so() -> None:
    beat(version="green")
    weights = {"blue": 100, "green": 0}
    found = find(traffic=Traffic("blue", weights, frozenset({"green"})))
    assert found.health is Health.STOPPING
    assert "version green" in found.message
    assert found.traffic_weight == 0
    assert find(traffic=Traffic("blue", {"blue": 90, "green": 10})).traffic_weight == 10


def test_an_instance_that_refuses_its_configuration_is_degraded() -> None:
    beat(report={"problems": {"configuration": "The configuration is refused: x"}})
    assert find().health is Health.DEGRADED
    assert find().message == "The configuration is refused: x"


def test_instances_not_heard_of_for_long_are_not_listed() -> None:
    beat("killed", age_s=20)
    beat("gone", age_s=31)
    found = instances.instances(EVEN, now=now())
    assert [(each.instance, each.health) for each in found] == [
        ("killed", Health.UNHEALTHY)
    ]
    assert instances.find_instance("never", EVEN, now=now()) is None


def test_only_the_present_start_counts() -> None:
    beat(run="before", started_s=500, report=figures(ok=9))
    beat(run="now", started_s=10, report=figures(ok=1))
    assert len(find().workers) == 1
    assert instances.statistics("i", now=now()).counts.requests == 1


def test_figures_are_of_all_workers_and_the_moment_of_live_ones() -> None:
    moment: dict[str, Any] = {
        "connections": 1,
        "cpu_percent": 12.5,
        "rss_bytes": 50_000_000,
    }
    beat(report=figures(ok=3, failed=1, latency_s=0.1, **moment))
    beat(report=figures(ok=1, refused=2, latency_s=1.0, **moment))
    beat(report=figures(ok=5, **moment), state=WorkerState.ENDED)
    beat(report=figures(failed=5, **moment), age_s=10)
    found = instances.statistics("i", now=now())
    counts = found.counts
    assert (counts.requests, counts.succeeded, counts.failed) == (17, 9, 6)
    assert (found.workers, found.connections) == (2, 2)
    assert (found.cpu_percent, found.memory_mb) == (25.0, 100.0)
    assert counts.latency.percentile(99) == pytest.approx(0.1, rel=0.03)
    assert counts.latency.percentile(100) == pytest.approx(1.0, rel=0.03)
    assert 99 < (now() - found.since).total_seconds() < 110


def test_nothing_is_invented_of_an_instance_that_is_not_known() -> None:
    found = instances.statistics("never", now=now())
    assert found.counts.as_dict() == Counts().as_dict()
    assert (found.connections, found.cpu_percent, found.rss_bytes) == (0, 0, 0)
    instances.reset("never", now=now())
    assert not StatisticsReset.objects.exists()


def test_a_reset_gives_what_there_was_and_begins_anew() -> None:
    row = beat(report=figures(ok=3, latency_s=5.0))
    beat(report=figures(failed=2), state=WorkerState.ENDED)
    before = instances.reset("i", now=now())
    assert before.counts.requests == 5
    found = instances.statistics("i", now=now())
    assert found.counts.requests == 0
    assert found.counts.latency.percentile(50) is None
    assert (now() - found.since).total_seconds() < 5

    later = figures(ok=3, latency_s=5.0)
    more = figures(ok=4, latency_s=0.1)
    total = counts_in(later)
    total.add(counts_in(more))
    row.report = {"traffic": total.as_dict()}
    row.save()
    found = instances.statistics("i", now=now())
    assert (found.counts.requests, found.counts.failed) == (4, 0)
    assert found.counts.latency.percentile(99) == pytest.approx(0.1, rel=0.03)
    again = instances.reset("i", now=now())
    assert again.counts.requests == 4
    assert instances.statistics("i", now=now()).counts.requests == 0


def test_a_reset_does_not_outlive_the_start_that_it_is_about() -> None:
    beat(report=figures(ok=3))
    instances.reset("i", now=now())
    beat(run="next", started_s=1, report=figures(ok=2))
    assert instances.statistics("i", now=now()).counts.requests == 2


def test_workers_behind_a_revision_are_named() -> None:
    late = beat(config_revision=3)
    beat(config_revision=4)
    beat(config_revision=1, state=WorkerState.ENDED)
    beat(config_revision=1, age_s=5)
    workers, live = instances.behind("i", 4, now=now())
    assert ([worker.pid for worker in workers], live) == ([late.pid], 2)
    assert instances.behind("i", 3, now=now()) == ([], 2)


# --- Heartbeats --------------------------------------------------------------------------


def test_a_pulse_says_what_its_instance_is_and_ends() -> None:
    pulse = Pulse(instance="i", run="r", version="v2", address="http://a", workers=3)
    pulse.beat({}, config_revision=1)
    row = Heartbeat.objects.get()
    assert (row.state, row.version, row.address, row.workers) == (
        "serving",
        "v2",
        "http://a",
        3,
    )
    assert live_workers(now()) == 1
    pulse.beat({}, config_revision=1, state=WorkerState.ENDED)
    assert live_workers(now()) == 0


def test_ended_workers_of_a_run_that_goes_on_are_kept_for_their_counts() -> None:
    beat("i", run="mine", age_s=3 * 86_400)
    beat("other", run="theirs", age_s=3 * 86_400)
    beat("other", run="theirs")
    beat("gone", run="gone", age_s=3 * 86_400)
    forget_runs(instance="i", run="mine", now=now() + timedelta(seconds=1))
    left = sorted(Heartbeat.objects.values_list("instance", flat=True))
    assert left == ["i", "other", "other"]


@pytest.mark.parametrize(
    ("host", "port", "expected"),
    [
        ("127.0.0.1", 80, "http://127.0.0.1:80"),
        ("::1", 8080, "http://[::1]:8080"),
        ("ailb.example", 8080, "http://ailb.example:8080"),
        ("127.0.0.1", 0, ""),
    ],
)
def test_an_address_is_written_as_a_url(host: str, port: int, expected: str) -> None:
    assert http_address(host, port) == expected


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_who_listens_everywhere_is_reached_by_the_machines_name(host: str) -> None:
    address = http_address(host, 8080)
    assert address.startswith("http://")
    assert "0.0.0.0" not in address
    assert "::" not in address
