"""Rows that many processes write at once: usage records, roll-ups, what budgets have spent.

The ORM can overwrite a row that is already there, but not add to it, and takes five times
as long as the database itself for a usage record. Hence SQL: of our own names, with every
value as a parameter.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, date, datetime
from operator import attrgetter
from typing import Any

from django.db import connection, models

from gateway.models import BudgetSpend, UsageRecord, UsageRollup
from gateway.models.usage import TOKEN_COLUMNS
from gateway.usage_line import KINDS, UsageLine

HOUR_S = 3600
RECORDED = tuple(name for name in KINDS if name not in {"at", "worker", "budgets"})
WHO_AND_WHAT = (
    "tenant",
    "api_key",
    "operation",
    "model",
    "provider",
    "upstream_model",
    "deployment_id",
)
SUMS = (
    "requests",
    "failed_requests",
    "partial_requests",
    "unpriced_requests",
    "attempts",
    "cost_nano_usd",
    "duration_ms_sum",
    "ttft_ms_sum",
    "ttft_count",
    *TOKEN_COLUMNS,
)
SPEND_KEY = ("budget_id", "period_start", "worker")

Sums = Sequence[float]
SpendKey = tuple[int, date, str]  # as SPEND_KEY

_recorded = attrgetter(*RECORDED)
_who_and_what = attrgetter(*WHO_AND_WHAT)
_tokens = attrgetter(*TOKEN_COLUMNS)


def add_records(lines: Iterable[UsageLine]) -> None:
    """Write the record of each line, in the caller's transaction."""
    adapt = connection.ops.adapt_datetimefield_value
    rows = [
        (adapt(datetime.fromtimestamp(line.at, UTC)), *_recorded(line))
        for line in lines
    ]
    _insert(UsageRecord, ("at", *RECORDED), rows)


def add_to_rollups(lines: Iterable[UsageLine]) -> None:
    """Add lines to the hour and the day they are in, in the caller's transaction."""
    by_hour: dict[tuple[Any, ...], list[Sums]] = {}
    for line in lines:
        key = (int(line.at) // HOUR_S, *_who_and_what(line))
        by_hour.setdefault(key, []).append(sums_of(line))
    adapt = connection.ops.adapt_datetimefield_value
    rollups: dict[tuple[Any, ...], list[Sums]] = {}
    for (hour, *rest), parts in by_hour.items():
        moment = datetime.fromtimestamp(hour * HOUR_S, UTC)
        midnight = moment.replace(hour=0)
        of_hour = total(parts)
        rollups[UsageRollup.Grain.HOUR.value, adapt(moment), *rest] = [of_hour]
        day = (UsageRollup.Grain.DAY.value, adapt(midnight), *rest)
        rollups.setdefault(day, []).append(of_hour)
    added = {key: total(parts) for key, parts in rollups.items()}
    _add(UsageRollup, ("grain", "start", *WHO_AND_WHAT), SUMS, added)


def sums_of(line: UsageLine) -> Sums:
    """Give what one request adds to each of SUMS."""
    return (
        1,
        bool(line.fault_domain),
        line.is_partial,
        line.cost_nano_usd is None,
        line.attempts,
        line.cost_nano_usd or 0,
        line.duration_ms,
        line.ttft_ms or 0,
        line.ttft_ms is not None,
        *_tokens(line),
    )


def total(parts: Collection[Sums]) -> Sums:
    """Add up, place by place."""
    return [sum(place) for place in zip(*parts, strict=True)]


def add_to_spends(costs: Mapping[SpendKey, int]) -> None:
    """Add costs in billionths of a USD, in the caller's transaction."""
    adapt = connection.ops.adapt_datefield_value
    added = {
        (budget_id, adapt(start), worker): (cost,)
        for (budget_id, start, worker), cost in costs.items()
    }
    _add(BudgetSpend, SPEND_KEY, ("spent_nano_usd",), added)


def _add(
    model: type[models.Model],
    key: Sequence[str],
    sums: Sequence[str],
    added: Mapping[tuple[Any, ...], Sums],
) -> None:
    """Add to rows, and make those that are missing.

    In the order of their keys, so that two processes never wait for each other.
    """
    quote = connection.ops.quote_name
    table = quote(model._meta.db_table)
    additions = ", ".join(
        f"{name} = {table}.{name} + excluded.{name}" for name in map(quote, sums)
    )
    conflict = f" ON CONFLICT ({', '.join(map(quote, key))}) DO UPDATE SET {additions}"
    rows = [(*place, *added[place]) for place in sorted(added)]
    _insert(model, (*key, *sums), rows, conflict)


def _insert(
    model: type[models.Model],
    names: Sequence[str],
    rows: Sequence[tuple[Any, ...]],
    conflict: str = "",
) -> None:
    if not rows:
        return
    quote = connection.ops.quote_name
    columns = ", ".join(map(quote, names))
    places = ", ".join("%s" for _ in names)
    table = quote(model._meta.db_table)
    statement = f"INSERT INTO {table} ({columns}) VALUES ({places}){conflict}"  # noqa: S608
    with connection.cursor() as cursor:
        cursor.executemany(statement, rows)
