"""The summary of usage: the last day by hours, the last month by days, and who it was."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone

from gateway.admin import figures
from gateway.admin.charts import Chart
from gateway.admin.unknown_prices import UNKNOWN, unpriced_deployments
from gateway.admin.usage_charts import (
    Sums,
    added,
    charts,
    cost_remark,
    tokens_remark,
)
from gateway.admin.usage_list import key_names
from gateway.errors import InvalidRequest
from gateway.models import UsageRecord
from gateway.usage_reports import Group, usage

if TYPE_CHECKING:
    from django.contrib.admin import ModelAdmin

    Pages = ModelAdmin[UsageRecord]

HOURS, DAYS = 24, 30
ROWS_IN_TABLE = 20
TABLES = {
    Group.TENANT: "tenant",
    Group.KEY: "API key",
    Group.MODEL: "model",
    Group.PROVIDER: "provider",
}


@dataclass(frozen=True, slots=True)
class Figure:
    """One number of the first page; `url` is where to go about it, if anywhere."""

    title: str
    value: str
    remark: str = ""
    url: str = ""


@dataclass(frozen=True, slots=True)
class TableRow:
    """One of whom a table tells, as it is written; `url` leads to the requests."""

    name: str
    url: str
    requests: str
    failures: str
    tokens_in: str
    tokens_out: str
    cost: str


@dataclass(frozen=True, slots=True)
class Table:
    """The greatest of a grouping; `remark` says what is left out."""

    rows: tuple[TableRow, ...]
    remark: str = ""


def summary_page(pages: Pages, request: HttpRequest) -> HttpResponse:
    """Show both spans and a table; every figure comes from roll-ups.

    One table at a time: each is a sum over all of the month's roll-ups.
    """
    now = timezone.now()
    day, month = last_day(now), last_month(now)
    chosen = chosen_group(request.GET.get("by", ""))
    context = {
        **pages.admin_site.each_context(request),
        "title": "Usage",
        "spans": [
            {"title": "Last 24 hours", "remark": "by hour, UTC", "charts": day},
            {"title": "Last 30 days", "remark": "by day, UTC", "charts": month},
        ],
        "groups": [
            {"title": title, "by": group.value, "is_chosen": group is chosen}
            for group, title in TABLES.items()
        ],
        "table": table(chosen, now),
    }
    return TemplateResponse(request, "gateway/usage_summary.html", context)


def dashboard(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """Add the figures of the last day to the first page, for those who may see usage."""
    if not request.user.has_perm("gateway.view_usagerecord"):
        return context
    until = end_of_hour(timezone.now())
    since = until - timedelta(hours=HOURS)
    report = usage(since=since, until=until, group_by=[Group.HOUR])
    return {**context, "last_day": list(last_day_figures(added(report.rows)))}


def last_day_figures(sums: Sums) -> Iterator[Figure]:
    """Give the figures of the first page."""
    yield Figure("Requests", figures.count(sums.requests), f"{sums.failures} failed")
    tokens = sums.tokens_in + sums.tokens_out
    yield Figure("Tokens", figures.count(tokens), tokens_remark(sums))
    yield Figure("Cost", figures.usd(sums.cost_nano_usd), cost_remark(sums))
    unpriced = unpriced_deployments()
    yield Figure(
        "Unknown prices",
        figures.count(len(unpriced)),
        "deployments that served",
        f"{reverse('admin:gateway_deployment_changelist')}?price={UNKNOWN}"
        if unpriced
        else "",
    )


def last_day(now: datetime) -> list[Chart]:
    """Draw the last hours, the present one included."""
    until = end_of_hour(now)
    hours = [until - timedelta(hours=back) for back in range(HOURS, 0, -1)]
    report = usage(since=hours[0], until=until, group_by=[Group.HOUR])
    keys = {hour.isoformat(): f"{hour:%H:%M}" for hour in hours}
    return charts(report, keys)


def last_month(now: datetime) -> list[Chart]:
    """Draw the last days, today included."""
    since, until = month_of(now)
    days = [since + timedelta(days=ahead) for ahead in range(DAYS)]
    report = usage(since=since, until=until, group_by=[Group.DAY])
    return charts(report, {day.date().isoformat(): f"{day:%-d %b}" for day in days})


def chosen_group(name: str) -> Group:
    """Give the grouping that was asked for; anything else is the first."""
    return next((group for group in TABLES if group.value == name), Group.TENANT)


def table(group: Group, now: datetime) -> Table:
    """List the greatest of a grouping over the month."""
    since, until = month_of(now)
    try:
        report = usage(since=since, until=until, group_by=[group])
    except InvalidRequest as error:  # too many of them
        return Table((), error.message)
    sums = {row.group[0]: added([row]) for row in report.rows}
    greatest = sorted(
        sums, key=lambda name: (-sums[name].cost_nano_usd, -sums[name].requests, name)
    )[:ROWS_IN_TABLE]
    names = key_names(greatest) if group is Group.KEY else {}
    left_out = len(sums) - len(greatest)
    return Table(
        tuple(
            table_row(names.get(name, name), requests_url(group, name), sums[name])
            for name in greatest
        ),
        f"{left_out:,} more" if left_out else "",
    )


def table_row(name: str, url: str, sums: Sums) -> TableRow:
    """Write the figures of one row."""
    return TableRow(
        name=name or "none",
        url=url,
        requests=figures.count(sums.requests),
        failures=sums.failures,
        tokens_in=figures.count(sums.tokens_in),
        tokens_out=figures.count(sums.tokens_out),
        cost=sums.cost,
    )


def requests_url(group: Group, name: str) -> str:
    """Lead to the requests of a group; nowhere for those without a name."""
    if not name:
        return ""
    listing = reverse("admin:gateway_usagerecord_changelist")
    return f"{listing}?{urlencode({group.column: name})}"


def end_of_hour(now: datetime) -> datetime:
    """Give the next full hour."""
    beginning = now.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    return beginning + timedelta(hours=1)


def month_of(now: datetime) -> tuple[datetime, datetime]:
    """Give the span of whole days, in UTC, that ends with today."""
    today = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    until = today + timedelta(days=1)
    return until - timedelta(days=DAYS), until
