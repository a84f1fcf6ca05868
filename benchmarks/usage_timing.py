"""Times the admin's pages and the usage reports; needs Django set up and rows made."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from urllib.parse import urlencode

from django.contrib import admin
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from benchmarks.processes import BenchmarkFailed
from benchmarks.usage_rows import make_configuration, make_usage
from gateway.models import UsageRecord
from gateway.usage_exports import Filters, records
from gateway.usage_reports import Group, usage

LIMIT_MS = 300.0
REPEATS = 5

Work = Callable[[], object]


@dataclass(frozen=True, slots=True)
class Timing:
    """One page or report, and the median of its times."""

    name: str
    median_ms: float


def main(rows: int) -> int:
    """Fill the database, print the table; 1 when something took longer than LIMIT_MS.

    Raises:
        BenchmarkFailed: The database has usage already, or a page fails.

    """
    call_command("migrate", verbosity=0, interactive=False)
    if UsageRecord.objects.exists():
        raise BenchmarkFailed("the database is not empty")
    started_s = time.monotonic()
    make_configuration()
    make_usage(rows)
    print(f"{rows} rows made in {time.monotonic() - started_s:.0f} s", flush=True)
    timings = [Timing(name, median_ms(work)) for name, work in (*pages(), *reports())]
    timings.sort(key=lambda timing: -timing.median_ms)
    for timing in timings:
        mark = "  SLOW" if timing.median_ms > LIMIT_MS else ""
        print(f"{timing.median_ms:>9.1f} ms  {timing.name}{mark}")
    return 1 if timings[0].median_ms > LIMIT_MS else 0


def median_ms(work: Work) -> float:
    """Time a few calls."""
    times = []
    for _ in range(REPEATS):
        started_s = time.perf_counter()
        work()
        times.append((time.perf_counter() - started_s) * 1000)
    return statistics.median(times)


def pages() -> Iterator[tuple[str, Work]]:
    """Give every list of the admin, and the usage pages in their variants."""
    client = Client(headers={"host": "localhost"})
    client.force_login(get_user_model().objects.create_superuser("benchmark"))
    for model in admin.site._registry:  # noqa: SLF001 - it has no public name
        label = f"{model._meta.app_label}_{model._meta.model_name}"
        yield page(client, reverse(f"admin:{label}_changelist"))
    middle = UsageRecord.objects.order_by("id")[UsageRecord.objects.count() // 2]
    usage_list = reverse("admin:gateway_usagerecord_changelist")
    yield page(client, reverse("admin:gateway_usagerecord_change", args=[middle.pk]))
    yield page(client, reverse("admin:gateway_usage_summary"))
    for query in (
        {"tenant": "tenant-7"},
        {"api_key": "public-77"},
        {"model": "model-3"},
        {"provider": "provider-2"},
        {"fault_domain": "provider"},
        {"fault_domain": "caller"},
        {"since": "day"},
        {"since": "week"},
        {"since": "week", "tenant": "tenant-7"},
        {"since": "day", "api_key": "public-77"},
        {"q": middle.request_id},
        {"q": "no such request"},
        {"p": "90"},
    ):
        yield page(client, f"{usage_list}?{urlencode(query)}")


def page(client: Client, url: str) -> tuple[str, Work]:
    """Ask for a page, and refuse what is no 200."""

    def ask() -> None:
        status = client.get(url).status_code
        if status != 200:
            raise BenchmarkFailed(f"{url} answered {status}")

    return url, ask


def reports() -> Iterator[tuple[str, Work]]:
    """Give reports of several spans, and pages of an export."""
    now = timezone.now()
    spans = {"1 day": 1, "7 days": 7, "30 days": 30, "89 days": 89}
    groupings: tuple[tuple[Group, ...], ...] = (
        (),
        (Group.DAY,),
        (Group.TENANT,),
        (Group.KEY,),
        (Group.MODEL, Group.PROVIDER),
        (Group.TENANT, Group.DAY),
    )
    for name, days in spans.items():
        for group_by in groupings:
            since = now - timedelta(days=days)
            yield report(f"usage of {name}", since, now, group_by)
    yield report("usage of 2 days", now - timedelta(days=2), now, (Group.HOUR,))
    yield (
        "export, first 1000 of a key",
        lambda: records(
            since=now - timedelta(days=30),
            until=now,
            filters=Filters(api_key="public-77"),
        ),
    )
    yield (
        "export, newest 1000",
        lambda: records(
            since=now - timedelta(days=30), until=now, is_newest_first=True
        ),
    )


def report(
    name: str, since: datetime, until: datetime, group_by: tuple[Group, ...]
) -> tuple[str, Work]:
    """Ask for one report."""
    grouping = ", ".join(group_by) or "nothing"
    return (
        f"{name} by {grouping}",
        lambda: usage(since=since, until=until, group_by=group_by),
    )
