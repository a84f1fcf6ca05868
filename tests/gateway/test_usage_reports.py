"""Reports of usage: right sums for any span, and bounded ones."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone
from hypothesis import given, strategies as st
from pytest_django import Settings

from gateway import usage_reports
from gateway.bookkeeping import record
from gateway.errors import InvalidRequest
from gateway.models import UsageRollup
from gateway.snapshot import Prices
from gateway.usage_exports import Filters
from gateway.usage_line import UsageLine
from gateway.usage_reports import Group, UsageReport, pieces, usage, what_if
from gateway.usage_sums import total
from tests.gateway.usage_lines import usage_line

MIDNIGHT = timezone.now().replace(hour=0, minute=0, second=0, microsecond=0)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


@pytest.fixture
def _ledger(db: None) -> None:
    """Keep a request in every hour of ten days, the last one ending at midnight."""
    keep(
        *(
            usage_line(
                at=(MIDNIGHT - (hour + 0.5) * HOUR).timestamp(),
                tenant="even" if hour % 2 == 0 else "odd",
                model=f"m{hour % 3}",
                cost_nano_usd=1_000_000_001,
            )
            for hour in range(240)
        )
    )


def keep(*lines: UsageLine) -> None:
    unfit: list[UsageLine] = []
    record(lines, unfit)
    assert unfit == []


def requests(report: UsageReport) -> dict[tuple[str, ...], float]:
    return {row.group: row.sums["requests"] for row in report.rows}


@pytest.mark.usefixtures("_ledger")
@pytest.mark.parametrize(
    ("since", "until", "expected"),
    [
        (MIDNIGHT - 10 * DAY, MIDNIGHT, 240),
        (MIDNIGHT - 1 * DAY, MIDNIGHT, 24),
        (MIDNIGHT - 2 * HOUR, MIDNIGHT, 2),
        (MIDNIGHT - 5 * DAY - 3 * HOUR, MIDNIGHT - 5 * HOUR, 5 * 24 + 3 - 5),
        (MIDNIGHT - DAY - HOUR, MIDNIGHT - DAY + HOUR, 2),
        (MIDNIGHT - 20 * HOUR, MIDNIGHT - 19 * HOUR, 1),
        (MIDNIGHT - 90 * HOUR / 60, MIDNIGHT, 2),  # begins within an hour
        (MIDNIGHT - 2 * HOUR, MIDNIGHT - 30 * HOUR / 60, 2),  # ends within one
        (MIDNIGHT, MIDNIGHT + DAY, 0),
    ],
)
def test_a_span_counts_each_request_in_it_once(
    since: datetime, until: datetime, expected: int
) -> None:
    by_nothing = usage(since=since, until=until)
    assert requests(by_nothing) == ({(): expected} if expected else {})
    assert sum(
        requests(usage(since=since, until=until, group_by=[Group.DAY])).values()
    ) == (expected)


@given(st.integers(-100, 100), st.integers(0, 100))
def test_pieces_cover_a_span_without_a_gap(first: int, length: int) -> None:
    since = datetime(2026, 3, 1, tzinfo=UTC) + first * HOUR
    until = since + length * HOUR
    cut = pieces(since, until, is_hourly=False)
    ends = [since, *(piece.until for piece in cut)]
    assert [piece.since for piece in cut] == ends[:-1]
    assert ends[-1] == until
    for piece in cut:
        if piece.grain is UsageRollup.Grain.DAY:
            assert piece.since.hour == piece.until.hour == 0


@pytest.mark.usefixtures("_ledger")
def test_a_report_is_grouped_by_what_is_asked_for() -> None:
    span: dict[str, Any] = {
        "since": MIDNIGHT - 3 * DAY - HOUR,
        "until": MIDNIGHT - HOUR,
    }
    assert requests(usage(**span, group_by=[Group.TENANT])) == {
        ("even",): 36,
        ("odd",): 36,
    }
    by_both = requests(usage(**span, group_by=[Group.MODEL, Group.TENANT]))
    assert len(by_both) == 6
    assert sum(by_both.values()) == 72
    days = requests(usage(**span, group_by=[Group.DAY]))
    assert [group for (group,) in days] == [
        (MIDNIGHT - ago * DAY).date().isoformat() for ago in (4, 3, 2, 1)
    ]
    assert list(days.values()) == [1, 24, 24, 23]
    hours = usage(**span, group_by=[Group.DAY, Group.HOUR, Group.KEY])
    assert len(hours.rows) == 72
    first = MIDNIGHT - 3 * DAY - HOUR
    assert hours.rows[0].group == (first.date().isoformat(), first.isoformat(), "k1")


@pytest.mark.usefixtures("_ledger")
def test_filters_leave_the_others_out() -> None:
    report = usage(
        since=MIDNIGHT - 10 * DAY,
        until=MIDNIGHT,
        group_by=[Group.TENANT],
        filters=Filters(tenant="odd", model="m1", api_key="k1", provider="p"),
    )
    assert requests(report) == {("odd",): 40}


@pytest.mark.django_db
def test_a_report_shows_every_figure() -> None:
    at = (MIDNIGHT - HOUR).timestamp()
    keep(
        usage_line(at=at, duration_ms=100, ttft_ms=None, cost_nano_usd=123_456_789),
        usage_line(
            at=at,
            duration_ms=200,
            ttft_ms=30,
            cost_nano_usd=None,
            fault_domain="provider",
            is_partial=True,
            attempts=3,
            cache_read_tokens=7,
            reasoning_tokens=5,
        ),
    )
    report = usage(since=MIDNIGHT - DAY, until=MIDNIGHT, group_by=[Group.MODEL])
    shown = report.as_dict()
    figures = {
        "requests": 2,
        "failed_requests": 1,
        "partial_requests": 1,
        "unpriced_requests": 1,
        "attempts": 4,
        "input_tokens": 200,
        "cache_read_tokens": 7,
        "cache_write_tokens": 0,
        "cache_write_1h_tokens": 0,
        "audio_input_tokens": 0,
        "output_tokens": 100,
        "reasoning_tokens": 5,
        "audio_output_tokens": 0,
        "prompt_tokens": 207,
        "completion_tokens": 105,
        "total_tokens": 312,
        "cost_usd": 0.123456789,
        "avg_latency_ms": 150,
        "avg_ttft_ms": 30,
    }
    assert shown["data"] == [{"model": "m", **figures}]
    assert shown["total"] == figures
    assert shown["group_by"] == ["model"]
    assert shown["since"] == (MIDNIGHT - DAY).isoformat()
    assert report.columns == ("model", *figures)


@pytest.mark.django_db
def test_an_empty_report_has_a_total_of_nothing() -> None:
    report = usage(since=MIDNIGHT - DAY, until=MIDNIGHT)
    total_row = report.as_dict()["total"]
    assert isinstance(total_row, dict)
    assert (total_row["requests"], total_row["avg_latency_ms"]) == (0, None)


@pytest.mark.django_db
def test_before_the_retention_a_span_is_widened_to_whole_days(
    settings: Settings,
) -> None:
    settings.AILB_USAGE_RETENTION_DAYS = 5
    keep(usage_line(at=(MIDNIGHT - 8 * DAY + HOUR).timestamp()))
    UsageRollup.objects.filter(grain=UsageRollup.Grain.HOUR).delete()
    since = MIDNIGHT - 8 * DAY + 12 * HOUR
    report = usage(since=since, until=since + 3 * HOUR)
    assert (report.since, report.until) == (MIDNIGHT - 8 * DAY, MIDNIGHT - 7 * DAY)
    assert requests(report) == {(): 1}
    with pytest.raises(InvalidRequest, match="Hours are known since"):
        usage(since=since, until=MIDNIGHT, group_by=[Group.HOUR])


@pytest.mark.usefixtures("_ledger")
def test_too_many_groups_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(usage_reports, "MAX_GROUPS", 23)
    span: dict[str, Any] = {"since": MIDNIGHT - DAY, "until": MIDNIGHT}
    with pytest.raises(InvalidRequest, match="more than 23 groups"):
        usage(**span, group_by=[Group.HOUR])
    assert usage(**span, group_by=[Group.DAY]).rows


@pytest.mark.django_db
def test_an_empty_span_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="before"):
        usage(since=MIDNIGHT, until=MIDNIGHT)


def test_sums_of_different_length_are_never_added() -> None:
    with pytest.raises(ValueError, match="zip"):
        total([(1, 2), (1,)])


@pytest.mark.django_db
def test_other_prices_are_tried_on_what_was_used() -> None:
    for days_ago in (0, 6, 7):
        keep(
            usage_line(
                at=(MIDNIGHT - days_ago * DAY).timestamp(),
                input_tokens=1_000_000,
                output_tokens=500_000,
                cost_nano_usd=5 if days_ago else None,
            )
        )
    keep(usage_line(at=MIDNIGHT.timestamp(), deployment_id=8))
    prices = Prices(input_per_mtok_usd=1.0, output_per_mtok_usd=4.0)
    found = what_if(7, prices, days=7)
    assert (found.requests, found.unpriced_requests) == (2, 1)
    assert found.actual_nano_usd == 5
    assert found.would_be_nano_usd == 2 * 3_000_000_000
    assert found.since == MIDNIGHT - 6 * DAY
    assert what_if(7, Prices(), days=7).would_be_nano_usd is None
    assert what_if(99, Prices(), days=7).would_be_nano_usd == 0
