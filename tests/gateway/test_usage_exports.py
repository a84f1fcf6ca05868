"""Exports: pages of records without a gap, and CSV that calculates nothing."""

from __future__ import annotations

import csv
from datetime import timedelta
from typing import Any

import pytest

from gateway.bookkeeping import record
from gateway.errors import InvalidRequest
from gateway.models import UsageRecord
from gateway.usage_exports import (
    RECORD_COLUMNS,
    Filters,
    as_csv,
    record_dict,
    records,
)
from tests.gateway.usage_lines import NOON, usage_line

SPAN: dict[str, Any] = {"since": NOON - timedelta(days=1), "until": NOON}


@pytest.fixture
def _ledger(db: None) -> None:
    """Keep 20 requests that came in pairs, and one at the end of the span."""
    lines = [
        usage_line(
            uid=f"{number:02}",
            at=(NOON - timedelta(minutes=1 + number // 2)).timestamp(),
            tenant="even" if number % 2 == 0 else "odd",
        )
        for number in range(20)
    ]
    record([*lines, usage_line(at=NOON.timestamp())], [])


@pytest.mark.usefixtures("_ledger")
@pytest.mark.parametrize("is_newest_first", [True, False])
def test_pages_give_every_record_once_in_order(is_newest_first: bool) -> None:
    found: list[UsageRecord] = []
    while page := records(
        **SPAN,
        after_id=found[-1].pk if found else None,
        limit=3,
        is_newest_first=is_newest_first,
    ):
        found += page
    assert len(found) == len({row.uid for row in found}) == 20
    times = [row.at for row in found]
    assert times == sorted(times, reverse=is_newest_first)


@pytest.mark.usefixtures("_ledger")
def test_filters_leave_the_others_out() -> None:
    assert len(records(**SPAN, filters=Filters(tenant="odd"))) == 10
    assert records(**SPAN, filters=Filters(tenant="odd", api_key="none")) == []


@pytest.mark.django_db
def test_a_page_behind_a_record_that_is_gone_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="no such record"):
        records(**SPAN, after_id=1)


@pytest.mark.django_db
def test_a_record_is_shown_with_its_cost_in_usd() -> None:
    record(
        [usage_line(uid="a", cost_nano_usd=1), usage_line(uid="b", cost_nano_usd=None)],
        [],
    )
    known, unknown = map(record_dict, UsageRecord.objects.order_by("uid"))
    assert tuple(known) == RECORD_COLUMNS
    assert (known["cost_usd"], unknown["cost_usd"]) == (1e-9, None)
    assert known["at"] == "2026-03-10T12:30:00+00:00"


@pytest.mark.parametrize(
    "text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", '=HYPERLINK("http://x")']
)
def test_a_text_that_a_spreadsheet_would_calculate_is_disarmed(text: str) -> None:
    rows = [{"model": text, "cost": -1.5}]
    _, row = csv.reader(
        "".join(as_csv(["model", "cost"], rows)).splitlines(keepends=True)
    )
    assert row == [f"'{text}", "-1.5"]


def test_other_texts_stay_as_they_are() -> None:
    rows: list[dict[str, object]] = [
        {"a": 'say "hi", all', "b": None},
        {"a": "1=1", "b": True},
    ]
    assert "".join(as_csv(["a", "b"], rows)) == (
        'a,b\r\n"say ""hi"", all",\r\n1=1,True\r\n'
    )


def test_a_table_without_rows_has_its_header() -> None:
    assert "".join(as_csv(["a", "b"], [])) == "a,b\r\n"
