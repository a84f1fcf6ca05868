"""Background work: one holder of the lease at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from django.utils import timezone
from pytest_django import Settings

from gateway.heartbeat import Pulse, forget_runs
from gateway.jobs import JobRunner
from gateway.lease import hold_lease, release_lease
from gateway.models import (
    Budget,
    BudgetNotice,
    BudgetSpend,
    Heartbeat,
    Lease,
    Tenant,
    UsageRecord,
)
from gateway.spool import Spool, segments
from gateway.usage_sums import RECORDED
from tests.gateway.usage_lines import usage_line, write_file

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _without_memory(settings: Settings) -> None:
    """Leave out its thread: the test database is in memory, and locks whole tables."""
    settings.ENABLE_MEMORY = False


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


@pytest.fixture
def folder(tmp_path: Path, settings: Settings) -> Path:
    """Give the runner a spool of its own."""
    settings.AILB_SPOOL_DIR = tmp_path / "spool"
    return tmp_path / "spool"


async def until_true(look: Callable[[], Awaitable[bool]]) -> None:
    while not await look():
        await asyncio.sleep(0.01)


@pytest.mark.django_db(transaction=True)
async def test_every_runner_drains_its_spool_and_once_more_at_the_stop(
    folder: Path,
) -> None:
    await Lease.objects.acreate(
        name="jobs", holder="another", expires_at=timezone.now() + timedelta(hours=1)
    )
    write_file(folder, [usage_line()])
    worker = Spool(folder, "w2")
    worker.append(usage_line().as_bytes())
    stop = asyncio.Event()
    async with asyncio.timeout(30), asyncio.TaskGroup() as tasks:
        tasks.create_task(JobRunner(holder="me").run(stop))
        await until_true(UsageRecord.objects.aexists)
        assert await UsageRecord.objects.acount() == 1
        worker.close()
        stop.set()
    assert await UsageRecord.objects.acount() == 2
    assert segments(folder) == []


@pytest.mark.django_db(transaction=True)
async def test_the_leader_tells_of_budgets_and_prunes(
    folder: Path, settings: Settings
) -> None:
    settings.AILB_USAGE_RETENTION_DAYS = 10
    now = timezone.now()
    old, new = now - timedelta(days=12), now - timedelta(days=9)
    for at in (old, new):
        line = usage_line()
        await UsageRecord.objects.acreate(
            at=at, **{name: getattr(line, name) for name in RECORDED}
        )
    tenant = await Tenant.objects.acreate(name="acme")
    budget = await Budget.objects.acreate(tenant=tenant, amount_usd=1, period="total")
    await BudgetSpend.objects.acreate(
        budget=budget, period_start=date(1970, 1, 1), spent_nano_usd=2 * 10**9
    )

    async def is_done() -> bool:
        records = await UsageRecord.objects.acount()
        return records == 1 and await BudgetNotice.objects.acount() == 2

    stop = asyncio.Event()
    async with asyncio.timeout(30), asyncio.TaskGroup() as tasks:
        tasks.create_task(JobRunner(holder="me").run(stop))
        await until_true(is_done)
        stop.set()
    assert (await UsageRecord.objects.aget()).at == new
