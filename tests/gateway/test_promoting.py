"""Promotion in steps and automatic rollback, as the background job does them."""

from __future__ import annotations

import asyncio
import logging
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import OperationalError, connections
from django.utils import timezone
from pytest_django import DjangoDbBlocker, Settings

from gateway import traffic
from gateway.jobs import JobRunner
from gateway.kinds import PromotionState, TrafficAction, WorkerState
from gateway.models import (
    Deployment,
    Heartbeat,
    Promotion,
    TrafficChange,
    TrafficPolicy,
)
from gateway.promoting import Promoter
from gateway.routing.statistics import ProviderStatistics
from tests.gateway.admin.pages import deployment, provider

LEAST = 20  # requests of each version before the two are compared


def make_versions() -> None:
    at = provider()
    deployment("m", at, upstream_model="blue")
    deployment("m", at, upstream_model="green", version="v2")


@pytest.fixture
def _versions(db: None) -> None:
    make_versions()


@pytest.fixture
def policy(_versions: None) -> TrafficPolicy:
    """Take back what fails 5 points more often, or takes half as long again."""
    return TrafficPolicy.objects.create(
        is_automatic=True,
        error_margin_percent=5,
        ttft_margin_percent=50,
        minimum_requests=LEAST,
    )


def share() -> int:
    return traffic.standing().weights["v2"]


def go_on(promoter: Promoter) -> None:
    """Let the time of the next step come."""
    promoter.do_round(Promotion.objects.get().next_step_at)


class Worker:
    """A process that serves and says what it has counted so far."""

    def __init__(self, name: str = "w", *, started_s: float = -3600) -> None:
        self.name = name
        self.started_at = timezone.now() + timedelta(seconds=started_s)
        self.counts: dict[str, ProviderStatistics] = {}
        self.beat()

    def serves(
        self, version: str, number: int, *, failed: int = 0, ttft_s: float = 0.2
    ) -> None:
        counts = self.counts.setdefault(version, ProviderStatistics())
        for each in range(number):
            counts.record(is_success=each >= failed, at_s=1, latency_s=1, ttft_s=ttft_s)
        self.beat()

    def restarts(self) -> None:
        self.counts = {}
        self.beat()

    def beat(self, state: WorkerState = WorkerState.SERVING) -> None:
        said = {name: each.as_dict() for name, each in self.counts.items()}
        Heartbeat.objects.update_or_create(
            worker=self.name,
            defaults={
                "instance": "i",
                "run": "r",
                "pid": 1,
                "started_at": self.started_at,
                "beat_at": timezone.now(),
                "config_revision": 1,
                "state": state,
                "report": {"versions": said},
            },
        )


class Watch(Promoter):
    """A promoter that looks whenever it is asked to."""

    def looks(self) -> None:
        self.do_round(timezone.now())


@pytest.fixture
def watch(policy: TrafficPolicy) -> Watch:
    """Begin a canary of 10 percent."""
    traffic.set_weight("v2", 10)
    return Watch()


def is_taken_back() -> bool:
    return share() == 0


@pytest.mark.usefixtures("_versions")
def test_a_promotion_goes_a_step_at_a_time_until_the_version_is_active(
    settings: Settings,
) -> None:
    settings.AILB_PROMOTION_STEP_S = 60
    promoter = Promoter()
    traffic.begin_promotion("v2", 40)
    assert share() == 40
    due = Promotion.objects.get().next_step_at
    promoter.do_round(due - timedelta(seconds=1))
    assert share() == 40
    promoter.do_round(due)
    promoter.do_round(due)
    assert share() == 80
    go_on(promoter)
    promotion = Promotion.objects.get()
    assert (promotion.state, share()) == (PromotionState.FINISHED, 100)
    assert promotion.ended_at is not None
    standing = traffic.standing()
    assert (standing.active_version, standing.previous_version) == ("v2", "v1")
    go_on(promoter)
    steps = TrafficChange.objects.filter(action=TrafficAction.PROMOTION_STEP)
    assert steps.count() == 3


@pytest.mark.usefixtures("_versions")
def test_another_promoter_goes_on_where_one_stopped() -> None:
    traffic.begin_promotion("v2", 30)
    go_on(Promoter())
    go_on(Promoter())
    assert share() == 90
    go_on(Promoter())
    assert traffic.standing().active_version == "v2"


@pytest.mark.usefixtures("_versions")
def test_a_cancelled_promotion_stays_where_it_is() -> None:
    traffic.begin_promotion("v2", 30)
    traffic.cancel_promotion(reason="enough")
    go_on(Promoter())
    assert share() == 30
    assert Promotion.objects.get().reason == "enough"


@pytest.mark.usefixtures("_versions")
def test_a_promotion_of_what_has_gone_is_cancelled() -> None:
    traffic.begin_promotion("v2", 30)
    Deployment.objects.filter(version="v2").delete()
    go_on(Promoter())
    promotion = Promotion.objects.get()
    assert promotion.state == PromotionState.CANCELLED
    assert "'v2'" in promotion.reason
    assert traffic.standing().active_version == "v1"


def test_a_version_that_fails_more_is_taken_back_and_the_figures_are_kept(
    watch: Watch, caplog: pytest.LogCaptureFixture
) -> None:
    worker = Worker()
    watch.looks()
    worker.serves("v1", 100, failed=1)
    worker.serves("v2", LEAST, failed=2)
    with caplog.at_level(logging.WARNING, logger="gateway.promoting"):
        watch.looks()
    assert is_taken_back()
    change = TrafficChange.objects.all()[0]
    assert change.action == TrafficAction.AUTOMATIC_ROLLBACK
    assert change.reason == (
        "v2 failed 10.0 % of 20 requests, v1 1.0 % of 100; 5 percentage points more "
        "are allowed."
    )
    (said,) = caplog.records
    assert (said.message, said.levelname) == ("a version was taken back", "WARNING")
    watch.looks()
    assert TrafficChange.objects.all()[0] == change


def test_a_version_that_is_slower_is_taken_back(watch: Watch) -> None:
    worker = Worker()
    watch.looks()
    worker.serves("v1", LEAST)
    worker.serves("v2", LEAST, ttft_s=0.4)
    watch.looks()
    assert is_taken_back()
    assert "ms to the first token" in TrafficChange.objects.all()[0].reason


def test_a_promotion_that_goes_badly_ends_and_makes_no_step_more(
    policy: TrafficPolicy,
) -> None:
    promoter, worker = Promoter(), Worker()
    traffic.begin_promotion("v2", 20)
    promoter.do_round(timezone.now())
    worker.serves("v1", LEAST)
    worker.serves("v2", LEAST, failed=LEAST)
    go_on(promoter)
    promotion = Promotion.objects.get()
    assert (promotion.state, share()) == (PromotionState.ROLLED_BACK, 0)
    assert promotion.reason == TrafficChange.objects.all()[0].reason
    assert promotion.reason.startswith("v2 failed 100.0 % of 20 requests")
    go_on(promoter)
    assert is_taken_back()


def test_the_steps_of_a_promotion_are_judged_together(policy: TrafficPolicy) -> None:
    promoter, worker = Promoter(), Worker()
    traffic.begin_promotion("v2", 20)
    promoter.do_round(timezone.now())
    for _ in range(2):
        worker.serves("v1", LEAST)
        worker.serves("v2", LEAST // 2 - 1, failed=LEAST // 2 - 1)
        go_on(promoter)
    assert share() == 60
    worker.serves("v2", 2, failed=2)
    promoter.do_round(timezone.now())
    assert is_taken_back()
    assert TrafficChange.objects.all()[0].reason.startswith(
        f"v2 failed 100.0 % of {LEAST} requests, v1 0.0 % of {2 * LEAST}"
    )


@pytest.mark.parametrize(
    ("active", "other"),
    [
        ({"number": LEAST}, {"number": LEAST - 1, "failed": LEAST - 1}),
        ({"number": LEAST - 1}, {"number": 100, "failed": 100}),
        ({"number": 100, "failed": 5}, {"number": 100, "failed": 10}),
        ({"number": 100}, {"number": 100, "ttft_s": 0.28}),
        ({"number": 100, "failed": 50, "ttft_s": 9.0}, {"number": 100}),
    ],
)
def test_too_few_requests_or_figures_within_the_margins_change_nothing(
    watch: Watch, active: dict[str, Any], other: dict[str, Any]
) -> None:
    worker = Worker()
    watch.looks()
    worker.serves("v1", **active)
    worker.serves("v2", **other)
    watch.looks()
    assert share() == 10


def test_nothing_is_taken_back_unless_the_policy_says_so(
    policy: TrafficPolicy, watch: Watch
) -> None:
    policy.is_automatic = False
    policy.save()
    worker = Worker()
    watch.looks()
    worker.serves("v1", LEAST)
    worker.serves("v2", LEAST, failed=LEAST)
    watch.looks()
    assert share() == 10


def test_the_active_version_is_never_taken_back(policy: TrafficPolicy) -> None:
    watch, worker = Watch(), Worker()
    watch.looks()
    worker.serves("v1", 100, failed=100)
    watch.looks()
    assert not TrafficChange.objects.exists()


def test_what_was_counted_before_the_weights_changed_does_not_count(
    watch: Watch,
) -> None:
    worker = Worker()
    worker.serves("v1", 100)
    worker.serves("v2", 100, failed=100)
    watch.looks()
    watch.looks()
    assert share() == 10
    worker.serves("v1", LEAST)
    worker.serves("v2", LEAST - 1, failed=LEAST - 1)
    watch.looks()
    traffic.set_weight("v2", 20)
    watch.looks()
    worker.serves("v2", 1, failed=1)
    watch.looks()
    assert share() == 20


def test_workers_that_start_end_or_begin_anew_are_counted_as_far_as_they_say(
    watch: Watch,
) -> None:
    first, second = Worker("first"), Worker("second")
    second.serves("v2", 50, failed=50)
    watch.looks()
    first.serves("v1", LEAST)
    first.serves("v2", 5, failed=5)
    watch.looks()
    first.beat(WorkerState.ENDED)
    second.restarts()
    watch.looks()
    second.serves("v2", 5, failed=5)
    watch.looks()
    assert share() == 10
    Worker("third", started_s=1).serves("v2", 10, failed=10)
    watch.looks()
    assert is_taken_back()


@pytest.mark.django_db(transaction=True)
async def test_the_leader_of_the_background_work_makes_the_steps(
    settings: Settings, tmp_path: Path
) -> None:
    settings.ENABLE_MEMORY = settings.ENABLE_RAG = False
    settings.AILB_SPOOL_DIR = tmp_path
    settings.AILB_PROMOTION_STEP_S = 0.01
    await asyncio.to_thread(make_versions)
    await asyncio.to_thread(traffic.begin_promotion, "v2", 50)

    async def is_finished() -> bool:
        try:
            return await Promotion.objects.filter(
                state=PromotionState.FINISHED
            ).aexists()
        except OperationalError:  # a database in memory locks whole tables
            return False

    stop = asyncio.Event()
    async with asyncio.timeout(30), asyncio.TaskGroup() as tasks:
        tasks.create_task(JobRunner(holder="me").run(stop))
        while not await is_finished():
            await asyncio.sleep(0.05)
        stop.set()


ROUNDS = 12


@pytest.fixture
def _file(
    database_template: Path, tmp_path: Path, django_db_blocker: DjangoDbBlocker
) -> Iterator[None]:
    """Have every thread use a connection of its own to a file, as processes do."""
    path = tmp_path / "ailb.sqlite3"
    shutil.copy(database_template, path)
    own, entry = connections["default"], dict(connections.databases["default"])
    entry["NAME"] = str(path)
    connections.databases["file"] = connections.configure_settings(
        {"default": entry, "file": entry}
    )["file"]
    with django_db_blocker.unblock():
        connections["default"] = connections["file"]
        try:
            yield
        finally:
            connections["file"].close()
            connections["default"] = own
            del connections["file"]
            del connections.databases["file"]


def race(promoter: Promoter, now: datetime) -> None:
    connections["default"] = connections["file"]
    try:
        promoter.do_round(now)
    finally:
        connections["file"].close()


@pytest.mark.usefixtures("_file")
def test_two_promoters_that_see_the_same_step_due_make_it_once() -> None:
    make_versions()
    traffic.begin_promotion("v2", 5)
    promoters = Promoter(), Promoter()
    with ThreadPoolExecutor(2) as threads:
        for _ in range(ROUNDS):
            due = Promotion.objects.get().next_step_at
            list(threads.map(race, promoters, (due, due)))
    assert TrafficChange.objects.count() == 1 + ROUNDS
    assert share() == 5 * (1 + ROUNDS)
