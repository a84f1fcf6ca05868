"""From the spool into the database: every line once, whatever happens meanwhile."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import fields
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import OperationalError, connection
from django.utils import timezone
from hypothesis import HealthCheck, given, settings, strategies as st

from gateway import bookkeeping
from gateway.bookkeeping import (
    drain,
    drain_if_forgotten,
    merge_spends,
    prune,
    spends_of_others,
)
from gateway.heartbeat import Pulse
from gateway.models import Budget, BudgetSpend, Tenant, UsageRecord, UsageRollup
from gateway.spool import SKIPPED_FILE, Spool, segments
from gateway.usage_line import UsageLine
from gateway.usage_sums import SPEND_KEY
from tests.gateway.usage_lines import NOON, age, usage_line, write_file

pytestmark = pytest.mark.django_db

MARCH = date(2026, 3, 1)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "spool"


def make_budget(**given: Any) -> Budget:
    tenant, _ = Tenant.objects.get_or_create(name="acme")
    return Budget.objects.create(tenant=tenant, amount_usd=10, **given)


def uids() -> list[str]:
    return list(UsageRecord.objects.order_by("uid").values_list("uid", flat=True))


def requests_in_rollups() -> set[int]:
    """Sum the requests of each grain: all sums must be the same."""
    return {
        sum(UsageRollup.objects.filter(grain=grain).values_list("requests", flat=True))
        for grain in UsageRollup.Grain
    }


def test_a_line_becomes_a_record_with_all_it_says(folder: Path) -> None:
    line = usage_line(code="timeout", ttft_ms=None, cost_nano_usd=None)
    write_file(folder, [line])
    assert drain(folder) == 1
    row = UsageRecord.objects.get()
    for field in fields(UsageLine):
        if field.name not in {"at", "worker", "budgets"}:
            assert getattr(row, field.name) == getattr(line, field.name)
    assert row.at == NOON
    assert segments(folder) == []


def test_lines_add_up_in_their_hour_and_their_day(folder: Path) -> None:
    late = NOON.replace(hour=23, minute=59)
    write_file(
        folder,
        [
            usage_line(duration_ms=100, ttft_ms=10, input_tokens=1, attempts=2),
            usage_line(duration_ms=300, ttft_ms=None, fault_domain="provider"),
            usage_line(at=late.timestamp(), cost_nano_usd=None, is_partial=True),
            usage_line(at=NOON.timestamp(), model="another"),
        ],
    )
    drain(folder)
    rollups = UsageRollup.objects.filter(model="m").order_by("grain", "start")
    day, noon, night = rollups
    assert [day.start, noon.start, night.start] == [
        NOON.replace(hour=0, minute=0),
        NOON.replace(minute=0),
        late.replace(minute=0),
    ]
    assert (noon.requests, noon.failed_requests, noon.attempts) == (2, 1, 3)
    assert (noon.duration_ms_sum, noon.ttft_ms_sum, noon.ttft_count) == (400, 10, 1)
    assert (noon.input_tokens, noon.output_tokens, noon.cost_nano_usd) == (
        101,
        100,
        5_000,
    )
    assert (night.unpriced_requests, night.partial_requests) == (1, 1)
    assert (day.requests, day.unpriced_requests, day.cost_nano_usd) == (3, 1, 5_000)


def test_a_later_file_adds_to_the_same_sums(folder: Path) -> None:
    for _ in range(3):
        write_file(folder, [usage_line(), usage_line()])
        drain(folder)
    assert UsageRollup.objects.count() == 2
    assert requests_in_rollups() == {6}


def test_a_file_left_behind_after_its_commit_counts_once(folder: Path) -> None:
    budget = make_budget()
    lines = [usage_line(budgets=((budget.pk, "2026-03-01"),)) for _ in range(3)]
    write_file(folder, lines)
    drain(folder)
    write_file(folder, [*lines, lines[0]])
    assert drain(folder) == 0
    assert UsageRecord.objects.count() == 3
    assert requests_in_rollups() == {3}
    assert BudgetSpend.objects.get().spent_nano_usd == 7_500
    assert list(folder.iterdir()) == [], "nor is it put aside"


@given(data=st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_a_file_torn_anywhere_gives_its_whole_lines_and_the_rest_later(
    folder: Path, data: st.DataObject
) -> None:
    UsageRecord.objects.all().delete()
    UsageRollup.objects.all().delete()
    lines = [usage_line(uid=f"{number}") for number in range(3)]
    whole = b"".join(line.as_bytes() for line in lines)
    cut = data.draw(st.integers(0, len(whole)))
    write_file(folder, lines).write_bytes(whole[:cut])
    drain(folder)
    ends = [len(b"".join(line.as_bytes() for line in lines[: n + 1])) for n in range(3)]
    # A line that lacks only its newline is whole.
    assert uids() == [str(n) for n, end in enumerate(ends) if end - 1 <= cut]
    write_file(folder, lines)
    drain(folder)
    assert uids() == ["0", "1", "2"]
    assert requests_in_rollups() == {3}


def test_what_is_no_usage_line_is_put_aside_and_told_once(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = write_file(folder, [usage_line()])
    with path.open("ab") as file:
        file.write(b'garbage\n{"uid": "torn')
    assert drain(folder) == 1
    assert (folder / SKIPPED_FILE).read_text() == 'garbage\n{"uid": "torn\n'
    (said,) = [each for each in caplog.records if "skipped" in each.message]
    assert said.__dict__["lines"] == 2
    assert segments(folder) == []


def test_a_row_that_the_database_refuses_does_not_keep_the_others_out(
    folder: Path,
) -> None:
    bad = usage_line(deployment_id=2**63)
    write_file(folder, [usage_line() for _ in range(5)] + [bad, usage_line()])
    assert drain(folder) == 6
    assert requests_in_rollups() == {6}
    assert (folder / SKIPPED_FILE).read_bytes() == bad.as_bytes()


def test_a_file_that_is_being_written_is_left_alone(folder: Path) -> None:
    spool = Spool(folder, "w1")
    spool.append(usage_line().as_bytes())
    assert drain(folder) == 0
    spool.rotate()
    assert drain(folder) == 1
    spool.close()


def test_many_small_files_are_drained_together_and_a_caller_can_stop(
    folder: Path,
) -> None:
    for number in range(bookkeeping.MAX_OPEN + 5):
        write_file(folder, [usage_line()], f"w1.{number}")
    assert drain(folder, limit_rows=1) == bookkeeping.MAX_OPEN
    assert len(segments(folder)) == 5
    assert drain(folder) == 5


def test_only_files_that_nobody_drains_are_taken_by_a_worker(folder: Path) -> None:
    path = write_file(folder, [usage_line()])
    assert drain_if_forgotten(folder, older_than_s=3) == 0
    age(path, seconds=10)
    assert drain_if_forgotten(folder, older_than_s=3) == 1
    assert drain_if_forgotten(folder, older_than_s=3) == 0


def test_costs_count_to_the_budgets_that_are_still_there(folder: Path) -> None:
    first, second = make_budget(), make_budget()
    both = ((first.pk, "2026-03-01"), (second.pk, "1970-01-01"))
    gone = ((first.pk, "2026-03-01"), (999_999, "2026-03-01"))
    write_file(
        folder,
        [
            usage_line(budgets=both, cost_nano_usd=5),
            usage_line(budgets=both, cost_nano_usd=7, worker="w2"),
            usage_line(budgets=gone, cost_nano_usd=11),
            usage_line(budgets=both, cost_nano_usd=None),
        ],
    )
    drain(folder)
    spends = BudgetSpend.objects.values_list(*SPEND_KEY, "spent_nano_usd")
    assert set(spends) == {
        (first.pk, MARCH, "w1", 16),
        (first.pk, MARCH, "w2", 7),
        (second.pk, date(1970, 1, 1), "w1", 5),
        (second.pk, date(1970, 1, 1), "w2", 7),
    }


def test_a_worker_is_told_what_others_spent_in_the_present_periods() -> None:
    today = timezone.now().date()
    daily, total = make_budget(period="day"), make_budget(period="total")
    disabled = make_budget(period="day", enabled=False)
    for budget, start, worker, spent in (
        (daily, today, "me", 1),
        (daily, today, "a", 2),
        (daily, today, "b", 3),
        (daily, today - timedelta(days=1), "a", 100),
        (total, date(1970, 1, 1), "", 50),
        (disabled, today, "a", 9),
    ):
        BudgetSpend.objects.create(
            budget=budget, period_start=start, worker=worker, spent_nano_usd=spent
        )
    assert spends_of_others("me") == {
        (daily.pk, today): 5,
        (total.pk, date(1970, 1, 1)): 50,
    }


def spend(budget: Budget, worker: str, amount: int) -> None:
    BudgetSpend.objects.create(
        budget=budget, period_start=MARCH, worker=worker, spent_nano_usd=amount
    )


def test_what_gone_workers_spent_is_merged_at_the_second_look(folder: Path) -> None:
    budget = make_budget()
    pulse = Pulse(instance="i", run="r")
    pulse.beat({}, config_revision=1)
    write_file(folder, [usage_line()], "waiting.1")
    for worker, amount in ((pulse.worker, 1), ("waiting", 2), ("a", 4), ("b", 8)):
        spend(budget, worker, amount)
    spend(budget, "", 16)
    suspects = merge_spends(folder, suspects=())
    assert suspects == {"a", "b"}
    assert BudgetSpend.objects.count() == 5
    assert merge_spends(folder, suspects=suspects) == frozenset()
    left = dict(BudgetSpend.objects.values_list("worker", "spent_nano_usd"))
    assert left == {pulse.worker: 1, "waiting": 2, "": 28}


def test_a_worker_whose_heartbeat_was_missing_for_a_moment_keeps_its_row(
    folder: Path,
) -> None:
    pulse = Pulse(instance="i", run="r")
    spend(make_budget(), pulse.worker, 1)
    suspects = merge_spends(folder, suspects=())
    assert suspects == {pulse.worker}
    pulse.beat({}, config_revision=1)
    assert merge_spends(folder, suspects=suspects) == frozenset()
    assert BudgetSpend.objects.get().worker == pulse.worker


def test_old_records_and_hourly_sums_go_in_batches_and_daily_sums_stay(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bookkeeping, "PRUNED_ROWS", 2)
    old = [
        usage_line(at=(NOON - timedelta(hours=n)).timestamp()) for n in range(24, 29)
    ]
    write_file(folder, [*old, usage_line()])
    drain(folder)
    before = NOON.replace(hour=0)
    assert prune(before=before) == 4
    removed = []
    while found := prune(before=before):
        removed.append(found)
    assert removed == [4, 2]
    assert UsageRecord.objects.get().at == NOON
    hourly = UsageRollup.objects.filter(grain=UsageRollup.Grain.HOUR)
    assert hourly.get().start == NOON.replace(minute=0)
    assert UsageRollup.objects.filter(grain=UsageRollup.Grain.DAY).count() == 2


@pytest.mark.django_db(transaction=True)
def test_a_locked_database_loses_nothing(folder: Path) -> None:
    write_file(folder, [usage_line(), usage_line()])
    name = str(connection.settings_dict["NAME"])
    with closing(sqlite3.connect(name, uri=True, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(OperationalError):
            drain(folder)
        other.execute("ROLLBACK")
    assert len(segments(folder)) == 1
    assert drain(folder) == 2
    assert requests_in_rollups() == {2}


def test_the_day_of_a_line_is_the_day_in_utc(folder: Path) -> None:
    midnight = datetime(2026, 3, 11, tzinfo=UTC)
    just_before = midnight - timedelta(milliseconds=1)
    write_file(
        folder,
        [usage_line(at=moment.timestamp()) for moment in (just_before, midnight)],
    )
    drain(folder)
    days = UsageRollup.objects.filter(grain=UsageRollup.Grain.DAY).order_by("start")
    assert [row.start.date() for row in days] == [date(2026, 3, 10), date(2026, 3, 11)]
