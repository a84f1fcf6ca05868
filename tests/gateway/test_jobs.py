"""Background work: one holder of the lease at a time."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from django.utils import timezone

from gateway.heartbeat import Pulse, forget_runs
from gateway.jobs import JobRunner, hold_lease, release_lease
from gateway.models import Heartbeat, Lease

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def hold(holder: str, after_s: float = 0.0) -> bool:
    now = NOW + timedelta(seconds=after_s)
    return hold_lease("work", holder, now=now, duration_s=15)


@pytest.mark.django_db
def test_one_process_holds_a_lease_until_it_runs_out() -> None:
    assert hold("a")
    assert not hold("b", 10)
    assert hold("a", 10)
    assert not hold("b", 20)
    assert hold("b", 26)
    assert not hold("a", 27)


@pytest.mark.django_db
def test_a_lease_given_back_is_free_at_once() -> None:
    assert hold("a")
    release_lease("work", "b")
    assert not hold("b")
    release_lease("work", "a")
    assert hold("b")


@pytest.mark.django_db(transaction=True)
async def test_the_runner_takes_the_lease_and_gives_it_back() -> None:
    stop = asyncio.Event()
    async with asyncio.timeout(30), asyncio.TaskGroup() as tasks:
        running = tasks.create_task(JobRunner(holder="me").run(stop))
        while not await Lease.objects.filter(holder="me").aexists():
            await asyncio.sleep(0.01)
        stop.set()
        await running
    assert not await Lease.objects.aexists()


@pytest.mark.django_db
def test_rows_of_earlier_starts_go_and_those_of_this_one_stay() -> None:
    for instance, run in (("i", "old"), ("i", "now"), ("other", "theirs")):
        Pulse(instance=instance, run=run).beat({}, config_revision=1)
    Pulse(instance="gone", run="x").beat({}, config_revision=1)
    Heartbeat.objects.filter(instance="gone").update(
        beat_at=timezone.now() - timedelta(days=2)
    )
    forget_runs(instance="i", run="now", now=timezone.now())
    left = set(Heartbeat.objects.values_list("instance", "run"))
    assert left == {("i", "now"), ("other", "theirs")}


@pytest.mark.django_db
def test_a_process_has_one_row_however_often_it_beats() -> None:
    pulse = Pulse(instance="i", run="r")
    pulse.beat({"in_flight": {}}, config_revision=1)
    pulse.beat({"in_flight": {"a": 2}}, config_revision=5)
    row = Heartbeat.objects.get()
    assert (row.config_revision, row.report) == (5, {"in_flight": {"a": 2}})
