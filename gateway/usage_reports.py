"""What was used and what it cost: sums from roll-ups.

Whole days (in UTC) of a span come from the daily roll-ups, the hours at its ends from the
hourly ones; sums never scan single records. Before the retention there are whole days
only: a span that begins or ends there is widened to them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

from django.conf import settings
from django.db.models import Q, QuerySet, Sum
from django.utils import timezone

from gateway.dialects.record import Usage
from gateway.errors import InvalidRequest
from gateway.models import UsageRollup
from gateway.models.usage import TOKEN_COLUMNS
from gateway.pricing import cost_nano_usd
from gateway.snapshot import Prices
from gateway.usage_exports import Filters, usd
from gateway.usage_sums import SUMS, Sums, total

MAX_GROUPS = 10_000
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
NOTHING = (0,) * len(SUMS)


class Group(StrEnum):
    """What sums may be grouped by."""

    KEY = "key"
    TENANT = "tenant"
    MODEL = "model"
    PROVIDER = "provider"
    DAY = "day"
    HOUR = "hour"

    @property
    def column(self) -> str:
        """The column of a roll-up."""
        return {"key": "api_key", "day": "start", "hour": "start"}.get(self, self.value)


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a span that one grain of roll-ups covers."""

    grain: UsageRollup.Grain
    since: datetime
    until: datetime


@dataclass(frozen=True, slots=True)
class UsageRow:
    """Sums of one group; `group` gives its values in the order that was asked for."""

    group: tuple[str, ...]
    sums: Mapping[str, float]

    @property
    def usage(self) -> Usage:
        """The tokens of all its requests together."""
        tokens: dict[str, Any] = {name: int(self.sums[name]) for name in TOKEN_COLUMNS}
        return Usage(**tokens)

    def as_dict(self, group_by: Sequence[Group] = ()) -> dict[str, object]:
        """Give what is shown; costs in USD, times in milliseconds, null if there are none."""
        sums, usage = self.sums, self.usage
        return {
            **dict(zip(group_by, self.group, strict=True)),
            "requests": sums["requests"],
            "failed_requests": sums["failed_requests"],
            "partial_requests": sums["partial_requests"],
            "unpriced_requests": sums["unpriced_requests"],
            "attempts": sums["attempts"],
            **{name: sums[name] for name in TOKEN_COLUMNS},
            "prompt_tokens": usage.prompt_tokens,
            "completion_tokens": usage.completion_tokens,
            "total_tokens": usage.total_tokens,
            "cost_usd": usd(int(sums["cost_nano_usd"])),
            "avg_latency_ms": average(sums["duration_ms_sum"], sums["requests"]),
            "avg_ttft_ms": average(sums["ttft_ms_sum"], sums["ttft_count"]),
        }


@dataclass(frozen=True, slots=True)
class UsageReport:
    """Sums by group, and of everything, over the span that was covered."""

    since: datetime
    until: datetime
    group_by: tuple[Group, ...]
    rows: tuple[UsageRow, ...]
    as_of: datetime

    def as_dict(self) -> dict[str, object]:
        """Give what is shown."""
        return {
            "since": self.since.isoformat(),
            "until": self.until.isoformat(),
            "group_by": [group.value for group in self.group_by],
            "data": self.as_dicts(),
            "total": row_of((), total([NOTHING, *map(sums_in, self.rows)])).as_dict(),
            "as_of": self.as_of.isoformat(),
        }

    def as_dicts(self) -> list[dict[str, object]]:
        """Give the rows alone."""
        return [row.as_dict(self.group_by) for row in self.rows]

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the values in each of `as_dicts`."""
        return (*self.group_by, *row_of((), NOTHING).as_dict())


@dataclass(frozen=True, slots=True)
class WhatIf:
    """What a deployment's requests did cost, and would have cost at other prices.

    In billionths of a USD. `would_be` is None when a price that was needed is unknown.
    The actual cost leaves out the `unpriced_requests`; the other does not.
    """

    since: datetime
    requests: int
    unpriced_requests: int
    actual_nano_usd: int
    would_be_nano_usd: int | None


def usage(
    *,
    since: datetime,
    until: datetime,
    group_by: Sequence[Group] = (),
    filters: Filters | None = None,
) -> UsageReport:
    """Sum what was used from `since` to before `until`, by full hours.

    Raises:
        InvalidRequest: The span is empty, there are too many groups, or hours are asked
            for that are no longer known.
        django.db.Error: The database is away.

    """
    if since >= until:
        raise InvalidRequest("'since' must be before 'until'.", param="since")
    wanted = tuple(dict.fromkeys(group_by))
    since, until = covered(since, until, is_hourly=Group.HOUR in wanted)
    condition = (filters or Filters()).condition()
    groups: dict[tuple[str, ...], Sums] = {}
    for piece in pieces(since, until, is_hourly=Group.HOUR in wanted):
        for group, sums in read(piece, wanted, condition):
            known = groups.get(group)
            groups[group] = sums if known is None else total((known, sums))
            if len(groups) > MAX_GROUPS:
                raise InvalidRequest(
                    f"These are more than {MAX_GROUPS} groups: ask for a shorter span, "
                    "fewer groupings, or one tenant, key, model or provider.",
                    param="group_by",
                )
    rows = tuple(row_of(group, groups[group]) for group in sorted(groups))
    return UsageReport(since, until, wanted, rows, timezone.now())


def covered(
    since: datetime, until: datetime, *, is_hourly: bool
) -> tuple[datetime, datetime]:
    """Widen a span to full hours; to full days where hours are no longer known."""
    hours_since = beginning_of_day(timezone.now()) - timedelta(
        days=settings.AILB_USAGE_RETENTION_DAYS
    )
    since = since.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    until = -(-(until - since) // HOUR) * HOUR + since
    if since < hours_since:
        if is_hourly:
            raise InvalidRequest(
                f"Hours are known since {hours_since:%Y-%m-%d}: group by day, or begin "
                "later.",
                param="group_by",
            )
        since = beginning_of_day(since)
    if until < hours_since:
        until = end_of_day(until)
    return since, until


def pieces(since: datetime, until: datetime, *, is_hourly: bool) -> list[Piece]:
    """Cut a span of full hours into its whole days and the hours around them."""
    hour, day = UsageRollup.Grain.HOUR, UsageRollup.Grain.DAY
    first, last = end_of_day(since), beginning_of_day(until)
    if is_hourly or first >= last:
        return [Piece(hour, since, until)]
    cut = [Piece(hour, since, first), Piece(day, first, last), Piece(hour, last, until)]
    return [piece for piece in cut if piece.since < piece.until]


def read(
    piece: Piece, group_by: Sequence[Group], condition: Q
) -> Iterator[tuple[tuple[str, ...], Sums]]:
    """Sum one piece; a group may come several times."""
    # Grouped by nothing at all, nothing would sum up to one row of nulls.
    columns = list(dict.fromkeys(group.column for group in group_by)) or ["grain"]
    rows = (
        UsageRollup.objects.filter(
            condition,
            grain=piece.grain,
            start__gte=piece.since,
            start__lt=piece.until,
        )
        .order_by()
        .values_list(*columns)
        .annotate(**{f"sum_{name}": Sum(name) for name in SUMS})
    )
    places = [columns.index(group.column) for group in group_by]
    for row in rows.iterator():
        values = [row[place] for place in places]
        yield tuple(map(label, group_by, values)), row[len(columns) :]


def label(group: Group, value: str | datetime) -> str:
    """Write a group's value: days as 2026-01-31, hours with their time."""
    if isinstance(value, str):
        return value
    return value.isoformat() if group is Group.HOUR else value.date().isoformat()


def what_if(deployment_id: int, prices: Prices, *, days: int) -> WhatIf:
    """Price a deployment's usage of today and the days before, `days` in all, anew.

    Raises:
        django.db.Error: The database is away.

    """
    since = beginning_of_day(timezone.now()) - (days - 1) * DAY
    rollups: QuerySet[UsageRollup] = UsageRollup.objects.filter(
        grain=UsageRollup.Grain.DAY, start__gte=since, deployment_id=deployment_id
    )
    sums = rollups.aggregate(**{f"sum_{name}": Sum(name, default=0) for name in SUMS})
    row = row_of((), [sums[f"sum_{name}"] for name in SUMS])
    return WhatIf(
        since=since,
        requests=int(row.sums["requests"]),
        unpriced_requests=int(row.sums["unpriced_requests"]),
        actual_nano_usd=int(row.sums["cost_nano_usd"]),
        would_be_nano_usd=cost_nano_usd(row.usage, prices),
    )


def row_of(group: tuple[str, ...], sums: Sums) -> UsageRow:
    """Name the sums."""
    return UsageRow(group, dict(zip(SUMS, sums, strict=True)))


def sums_in(row: UsageRow) -> Sums:
    """Give a row's sums in the order of SUMS."""
    return tuple(row.sums.values())


def average(amount: float, count: float) -> float | None:
    """Divide; None if there is nothing."""
    return round(amount / count, 3) if count else None


def beginning_of_day(moment: datetime) -> datetime:
    """Give the last midnight in UTC, the moment itself if it is one."""
    return moment.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


def end_of_day(moment: datetime) -> datetime:
    """Give the next midnight in UTC, the moment itself if it is one."""
    midnight = beginning_of_day(moment)
    return midnight if midnight == moment else midnight + DAY
