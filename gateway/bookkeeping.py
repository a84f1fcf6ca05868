"""From the spool into the database: every line once. Blocks; for a thread of its own."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from typing import Any, BinaryIO

from django.db import DataError, IntegrityError, connection, models, transaction
from django.db.models import Q, Sum
from django.utils import timezone

from gateway.kinds import Period
from gateway.limits.budgets import BookKey, period_start
from gateway.models import Budget, BudgetSpend, Heartbeat, UsageRecord, UsageRollup
from gateway.spool import SKIPPED_FILE, lock, segments, worker_of
from gateway.usage_line import UsageLine
from gateway.usage_sums import (
    SPEND_KEY,
    SpendKey,
    add_records,
    add_to_rollups,
    add_to_spends,
)

logger = logging.getLogger(__name__)

CHUNK_LINES = 1000  # of one transaction: SQLite's other writers wait no longer for it
DRAIN_ROWS = 20_000
MAX_OPEN = 100  # files of few lines that share a transaction
PRUNED_ROWS = 2000
# A row that the database refuses whatever happens; everything else is worth a new try.
UNFIT = (DataError, IntegrityError, OverflowError, ValueError)


@dataclass(slots=True)
class Segment:
    """One file of the spool that this process has locked, and what it says."""

    path: Path
    file: BinaryIO
    lines: list[UsageLine] = field(default_factory=list)
    skipped: list[bytes] = field(default_factory=list)

    def read(self) -> None:
        """Read every line; torn and foreign ones are put aside."""
        for line in self.file:
            try:
                self.lines.append(UsageLine.from_bytes(line))
            except ValueError:
                self.skipped.append(line)

    def remove(self) -> None:
        """Delete it, once its lines are in the database."""
        if self.skipped:
            logger.warning(
                "usage lines skipped",
                extra={"file": self.path.name, "lines": len(self.skipped)},
            )
            aside = self.path.with_name(SKIPPED_FILE)
            with suppress(OSError), aside.open("ab") as file:
                file.writelines(line.rstrip(b"\n") + b"\n" for line in self.skipped)
        self.path.unlink(missing_ok=True)


def drain(folder: Path, *, limit_rows: int = DRAIN_ROWS) -> int:
    """Write what closed files say into the database and delete them, oldest first.

    Stops after about `limit_rows`, so that a caller can be stopped; gives how many rows
    were new. Safe to be killed at any time and to run in several processes at once.

    Raises:
        django.db.Error: The database is away; nothing is lost.
        OSError: The folder cannot be read or changed.

    """
    recorded, taken, lines = 0, list[Segment](), 0
    try:
        for path in segments(folder):
            if (segment := _take(path)) is None:
                continue
            taken.append(segment)
            segment.read()
            lines += len(segment.lines)
            if lines >= CHUNK_LINES or len(taken) >= MAX_OPEN:
                recorded += _settle(taken)
                lines = 0
            if recorded >= limit_rows:
                break
        return recorded + _settle(taken)
    finally:
        _close(taken)


def drain_if_forgotten(folder: Path, *, older_than_s: float) -> int:
    """Drain when the oldest file is older than that: nobody else does; raises likewise."""
    now_s = timezone.now().timestamp()
    for path in segments(folder)[:1]:
        with suppress(FileNotFoundError):
            if now_s - path.stat().st_mtime > older_than_s:
                return drain(folder)
    return 0


def _take(path: Path) -> Segment | None:
    """Lock a file; None while its writer or another reader has it, or it is gone."""
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return None
    if lock(file.fileno()):
        return Segment(path, file)
    file.close()
    return None


def _close(taken: list[Segment]) -> None:
    for segment in taken:
        segment.file.close()
    taken.clear()


def _settle(taken: list[Segment]) -> int:
    """Record what these files say, delete and close them; gives how many were new."""
    lines = [line for segment in taken for line in segment.lines]
    unfit = list[UsageLine]()
    recorded = 0
    for first in range(0, len(lines), CHUNK_LINES):
        with flushed_commits():
            recorded += record(lines[first : first + CHUNK_LINES], unfit)
    if unfit:
        taken[0].skipped += [line.as_bytes() for line in unfit]
    for segment in taken:
        segment.remove()
    _close(taken)
    return recorded


@contextmanager
def flushed_commits() -> Iterator[None]:
    """Have SQLite flush every commit: the file that is deleted next is the only copy."""
    if connection.vendor != "sqlite" or connection.in_atomic_block:
        yield
        return
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA synchronous=FULL")
        yield
        cursor.execute("PRAGMA synchronous=NORMAL")


def record(lines: Sequence[UsageLine], unfit: list[UsageLine]) -> int:
    """Write lines that are not there yet, each whole or not at all; gives how many.

    Those that the database refuses are added to `unfit`.
    """
    try:
        return _record_all(lines)
    except UNFIT as error:
        if len(lines) > 1:
            half = len(lines) // 2
            return record(lines[:half], unfit) + record(lines[half:], unfit)
        logger.warning("usage refused", extra={"reason": type(error).__name__})
        unfit.extend(lines)
        return 0


def _record_all(lines: Sequence[UsageLine]) -> int:
    by_uid = {line.uid: line for line in lines}
    with transaction.atomic():
        known = UsageRecord.objects.filter(uid__in=list(by_uid))
        for uid in known.values_list("uid", flat=True):
            del by_uid[uid]
        new = list(by_uid.values())
        add_records(new)
        add_to_rollups(new)
        add_to_spends(costs_of(new))
    return len(new)


def costs_of(lines: Iterable[UsageLine]) -> dict[SpendKey, int]:
    """Sum what lines cost by the budgets they count to; deleted budgets are left out."""
    costs: dict[SpendKey, int] = {}
    for line in lines:
        for budget_id, start in line.budgets if line.cost_nano_usd else ():
            key = (budget_id, date.fromisoformat(start), line.worker)
            costs[key] = costs.get(key, 0) + (line.cost_nano_usd or 0)
    ids = {budget_id for budget_id, _, _ in costs}
    there = set(Budget.objects.filter(id__in=ids).values_list("id", flat=True))
    return {key: cost for key, cost in costs.items() if key[0] in there}


def spends_of_others(worker: str) -> dict[BookKey, int]:
    """Sum what all other workers have spent of enabled budgets in the periods of today."""
    today = timezone.now().date()
    current = Q()
    for period in Period:
        start = period_start(period, today)
        current |= Q(budget__period=period.value, period_start=start)
    rows = (
        BudgetSpend.objects.filter(current, budget__enabled=True)
        .exclude(worker=worker)
        .order_by()
        .values_list("budget_id", "period_start")
        .annotate(spent=Sum("spent_nano_usd"))
    )
    return {(budget_id, start): spent for budget_id, start, spent in rows}


def merge_spends(folder: Path, *, suspects: Collection[str]) -> frozenset[str]:
    """Merge what workers that are gone have spent under the empty name.

    Gone is a worker without a heartbeat row and without a file in the spool, now and
    already before, when it was among `suspects`. Gives the suspects of the next time.
    Twice, because a worker that lives would count its own spending a second time, and
    its row can be missing for a moment.
    """
    workers = BudgetSpend.objects.exclude(worker="").order_by().values_list("worker")
    gone = {worker for (worker,) in workers.distinct()}
    gone -= set(Heartbeat.objects.values_list("worker", flat=True))
    gone -= {worker_of(path) for path in segments(folder)}
    if merged := gone.intersection(suspects):
        _merge(merged)
    return frozenset(gone - merged)


def _merge(workers: set[str]) -> None:
    with transaction.atomic():
        rows = list(
            BudgetSpend.objects.select_for_update()
            .filter(worker__in=workers)
            .order_by(*SPEND_KEY)
        )
        costs: dict[SpendKey, int] = {}
        for row in rows:
            key = (row.budget_id, row.period_start, "")
            costs[key] = costs.get(key, 0) + row.spent_nano_usd
        add_to_spends(costs)
        BudgetSpend.objects.filter(id__in=[row.pk for row in rows]).delete()


def prune(*, before: datetime) -> int:
    """Remove some usage records and hourly sums from before a moment; gives how many.

    At most PRUNED_ROWS of each, so that nobody waits long; call it until it gives 0.
    Daily sums stay.
    """
    old = UsageRecord.objects.filter(at__lt=before).order_by("at")
    records = UsageRecord.objects.filter(id__in=_first_ids(old)).delete()
    hour = UsageRollup.Grain.HOUR
    past = UsageRollup.objects.filter(grain=hour, start__lt=before).order_by("start")
    rollups = UsageRollup.objects.filter(id__in=_first_ids(past)).delete()
    return records[0] + rollups[0]


def _first_ids(rows: models.QuerySet[Any]) -> list[int]:
    return list(rows.values_list("id", flat=True)[:PRUNED_ROWS])
