"""Requests as a file: CSV or JSON."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import orjson
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse

from gateway.admin.usage_list import MAX_COUNTED
from gateway.models import UsageRecord
from gateway.usage_exports import RECORD_COLUMNS, as_csv, record_dict

if TYPE_CHECKING:
    Pages = admin.ModelAdmin[UsageRecord]
else:  # mixed into the theme's
    Pages = object


class UsageExports(Pages):
    """Adds the actions; a file has at most MAX_COUNTED rows, the newest."""

    actions = ("export_csv", "export_json")

    @admin.action(description="Export as CSV", permissions=["view"])
    def export_csv(
        self, request: HttpRequest, queryset: QuerySet[UsageRecord]
    ) -> StreamingHttpResponse:
        """Give the rows as a table."""
        rows = (record_dict(record) for record in newest(queryset))
        return StreamingHttpResponse(
            as_csv(RECORD_COLUMNS, rows),
            content_type="text/csv; charset=utf-8",
            headers={"Content-Disposition": 'attachment; filename="usage.csv"'},
        )

    @admin.action(description="Export as JSON", permissions=["view"])
    def export_json(
        self, request: HttpRequest, queryset: QuerySet[UsageRecord]
    ) -> HttpResponse:
        """Give the rows as a list of objects."""
        rows = [record_dict(record) for record in newest(queryset)]
        return HttpResponse(
            orjson.dumps(rows),
            content_type="application/json",
            headers={"Content-Disposition": 'attachment; filename="usage.json"'},
        )


def newest(queryset: QuerySet[UsageRecord]) -> Iterable[UsageRecord]:
    """Read as many rows as a file may have."""
    return queryset.order_by("-id")[:MAX_COUNTED]
