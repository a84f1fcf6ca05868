"""One process's live health and load, written every second for others to report."""

from __future__ import annotations

import os
import secrets
from datetime import datetime, timedelta
from typing import Any

from django.utils import timezone

from gateway.models import Heartbeat

INTERVAL_S = 1.0
FRESH_S = 6.0  # a worker that has not been heard of for this long is not live
FORGOTTEN_AFTER = timedelta(days=1)


class Pulse:
    """Writes one process's row. Blocks; call it from one thread."""

    def __init__(self, *, instance: str, run: str) -> None:
        """`instance` is MODULE_ID; `run` is one start of `serve`, with all its workers."""
        self.worker = secrets.token_hex(8)
        self._instance = instance
        self._run = run
        self._started_at = timezone.now()

    def beat(self, report: dict[str, Any], *, config_revision: int) -> None:
        """Write the row, made with the first beat.

        Raises:
            django.db.Error: The database is away.

        """
        Heartbeat.objects.update_or_create(
            worker=self.worker,
            defaults={
                "instance": self._instance,
                "run": self._run,
                "pid": os.getpid(),
                "started_at": self._started_at,
                "beat_at": timezone.now(),
                "config_revision": config_revision,
                "report": report,
            },
        )


def live_workers(now: datetime) -> int:
    """Count the processes of all instances that have been heard of lately."""
    return Heartbeat.objects.filter(
        beat_at__gte=now - timedelta(seconds=FRESH_S)
    ).count()


def forget_runs(*, instance: str, run: str, now: datetime) -> None:
    """Remove what earlier starts of this instance, and long-gone ones, left behind.

    Rows of this run stay even when their worker has died: its counts still count.
    """
    Heartbeat.objects.filter(instance=instance).exclude(run=run).delete()
    Heartbeat.objects.filter(beat_at__lt=now - FORGOTTEN_AFTER).delete()
