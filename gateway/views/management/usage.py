"""What was used and what it cost, as JSON or CSV: sums, and single records."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from django.http import HttpResponse, HttpResponseBase
from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request

from gateway.errors import InvalidRequest
from gateway.usage_exports import (
    RECORD_COLUMNS,
    Filters,
    as_csv,
    record_dict,
    records,
)
from gateway.usage_reports import Group, beginning_of_day, usage
from gateway.views.management import schema
from gateway.views.management.base import ManagementView, page_size, row_number
from gateway.views.rendering import render

FORMATS = ("json", "csv")
WHOSE = ("tenant", "key", "model", "provider")
SPAN = ("from", "to")
DAYS_BEFORE_TODAY = 6
YEARS = range(1970, 9999)  # beyond, a calendar overflows when a span is widened
TIME_FORM = "a date or time in UTC such as 2026-01-31 or 2026-01-31T12:00:00Z"


@dataclass(frozen=True, slots=True)
class Span:
    """What is asked about: from `since` to before `until`, and whose requests."""

    since: datetime
    until: datetime
    filters: Filters


class UsageView(ManagementView):
    """`GET /api/usage`."""

    @extend_schema(**schema.USAGE)
    async def get(self, request: Request) -> HttpResponseBase:
        """Sum requests, tokens and costs."""
        query = self.query((*SPAN, "group_by", *WHOSE, "format"))
        span, groups = span_in(query), groups_in(query.get("group_by", Group.DAY))
        is_csv = is_csv_wanted(query)
        report = await self.in_database(
            lambda: usage(
                since=span.since,
                until=span.until,
                group_by=groups,
                filters=span.filters,
            )
        )
        if is_csv:
            return csv_file("usage", report.columns, report.as_dicts())
        shown = report.as_dict()
        # The groups' names are of an enum, which orjson does not take for keys.
        results = [{str(k): v for k, v in row.items()} for row in report.as_dicts()]
        return render(
            {
                "results": results,
                "totals": shown["total"],
                "from": shown["since"],
                "to": shown["until"],
                "group_by": shown["group_by"],
                "as_of": shown["as_of"],
            }
        )


class UsageRecordsView(ManagementView):
    """`GET /api/usage/records`."""

    @extend_schema(**schema.USAGE_RECORDS)
    async def get(self, request: Request) -> HttpResponseBase:
        """List single requests, the newest first."""
        query = self.query((*SPAN, *WHOSE, "format", "limit", "after"))
        span, after = span_in(query), row_number(query.get("after"), "after")
        limit = page_size(query.get("limit"))
        is_csv = is_csv_wanted(query)
        found = await self.in_database(lambda: records_in(span, after, limit))
        last = found[limit - 1]["id"] if len(found) > limit else None
        next_after = None if last is None else str(last)
        if is_csv:
            file = csv_file("usage-records", RECORD_COLUMNS, found[:limit])
            if next_after is not None:
                file.headers["x-ailb-next"] = next_after
            return file
        return render({"results": found[:limit], "next": next_after})


def records_in(span: Span, after: str | None, limit: int) -> list[dict[str, object]]:
    """Read a page of records and, if there is one, the first of the next page."""
    try:
        page = records(
            since=span.since,
            until=span.until,
            filters=span.filters,
            after_id=None if after is None else int(after),
            limit=limit + 1,
            is_newest_first=True,
        )
    except InvalidRequest as error:
        raise InvalidRequest(error.message, param="after") from error
    return [record_dict(record) for record in page]


def span_in(query: Mapping[str, str]) -> Span:
    """Read what is asked about; without times, today and the six days before."""
    until = moment(query["to"], "to") if "to" in query else timezone.now()
    since = (
        moment(query["from"], "from")
        if "from" in query
        else beginning_of_day(until) - timedelta(days=DAYS_BEFORE_TODAY)
    )
    if since >= until:
        raise InvalidRequest("'from' must be before 'to'.", param="from")
    whose = {name: query.get(name) for name in WHOSE}
    return Span(since, until, Filters(api_key=whose.pop("key"), **whose))


def moment(text: str, param: str) -> datetime:
    """Read a date, which is its midnight, or a time; in UTC unless it says else."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise InvalidRequest(f"{param} must be {TIME_FORM}.", param=param) from error
    if found.year not in YEARS:
        raise InvalidRequest(f"{param} must be {TIME_FORM}.", param=param)
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)


def groups_in(text: str) -> list[Group]:
    """Read what sums are grouped by, with commas; empty for one sum of all."""
    try:
        return [Group(name.strip()) for name in text.split(",") if name.strip()]
    except ValueError as error:
        known = ", ".join(Group)
        raise InvalidRequest(
            f"group_by is a list, with commas, of {known}.", param="group_by"
        ) from error


def is_csv_wanted(query: Mapping[str, str]) -> bool:
    """Read the format."""
    wanted = query.get("format", "json")
    if wanted not in FORMATS:
        raise InvalidRequest("format must be json or csv.", param="format")
    return wanted == "csv"


def csv_file(
    name: str, columns: Sequence[str], rows: Iterable[Mapping[str, object]]
) -> HttpResponse:
    """Answer with a file to save."""
    return HttpResponse(
        "".join(as_csv(columns, rows)),
        content_type="text/csv; charset=utf-8",
        headers={"content-disposition": f'attachment; filename="ailb-{name}.csv"'},
    )
