"""Single usage records, page by page, and tables as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db.models import Q

from gateway.access import NANO_PER_USD
from gateway.errors import InvalidRequest
from gateway.models import UsageRecord

MAX_RECORDS = 10_000
FORMULA = ("=", "+", "-", "@", "\t", "\r")  # what a spreadsheet would calculate
RECORD_COLUMNS = (
    *(
        field.name
        for field in UsageRecord._meta.fields
        if field.name != "cost_nano_usd"
    ),
    "cost_usd",
)


@dataclass(frozen=True, slots=True)
class Filters:
    """Whose and which requests; None for all. `api_key` is a key's public id."""

    tenant: str | None = None
    api_key: str | None = None
    model: str | None = None
    provider: str | None = None

    def condition(self) -> Q:
        """Build the query's condition, the same for records and roll-ups."""
        given = {name: getattr(self, name) for name in self.__slots__}
        return Q(**{name: value for name, value in given.items() if value is not None})


def records(
    *,
    since: datetime,
    until: datetime,
    filters: Filters | None = None,
    after_id: int | None = None,
    limit: int = 1000,
    is_newest_first: bool = False,
) -> list[UsageRecord]:
    """Give single records from `since` to before `until`, in the order of their arrival.

    `after_id` is the last record of the page before; at most MAX_RECORDS come at once.

    Raises:
        InvalidRequest: The record of `after_id` is not there.
        django.db.Error: The database is away.

    """
    found = UsageRecord.objects.filter(
        (filters or Filters()).condition(), at__gte=since, at__lt=until
    )
    if after_id is not None:
        found = found.filter(beyond(after_id, is_newest_first=is_newest_first))
    order = ("-at", "-id") if is_newest_first else ("at", "id")
    return list(found.order_by(*order)[: min(limit, MAX_RECORDS)])


def beyond(after_id: int, *, is_newest_first: bool) -> Q:
    """Build the condition of the page behind a record."""
    at = UsageRecord.objects.filter(id=after_id).values_list("at", flat=True).first()
    if at is None:
        raise InvalidRequest("There is no such record.", param="after_id")
    if is_newest_first:
        return Q(at__lte=at) & (Q(at__lt=at) | Q(id__lt=after_id))
    return Q(at__gte=at) & (Q(at__gt=at) | Q(id__gt=after_id))


def record_dict(record: UsageRecord) -> dict[str, object]:
    """Give what an export shows of a record; its cost in USD, null if it is unknown."""
    columns = {field.name: getattr(record, field.name) for field in record._meta.fields}
    nano = columns.pop("cost_nano_usd")
    cost = None if nano is None else usd(nano)
    return {**columns, "at": record.at.isoformat(), "cost_usd": cost}


def as_csv(
    columns: Sequence[str], rows: Iterable[Mapping[str, object]]
) -> Iterator[str]:
    """Write CSV piece by piece, the header first.

    A text that a spreadsheet would take for a formula gets an apostrophe in front.
    """
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    writer.writerow(columns)
    for row in rows:
        writer.writerow([harmless(row[name]) for name in columns])
        yield buffer.getvalue()
        buffer.seek(0)
        buffer.truncate()
    yield buffer.getvalue()


def harmless(value: object) -> object:
    """Keep a text from being calculated."""
    is_formula = isinstance(value, str) and value.startswith(FORMULA)
    return f"'{value}" if is_formula else value


def usd(nano: int) -> float:
    """Turn billionths of a USD into USD, to the last of 9 decimals."""
    return nano / NANO_PER_USD
