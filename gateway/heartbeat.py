"""One process's live health and load, written every second for others to report."""

from __future__ import annotations

import ipaddress
import os
import secrets
import socket
from datetime import datetime, timedelta
from typing import Any

from django.utils import timezone

from gateway.kinds import WorkerState
from gateway.models import Heartbeat
from gateway.models.traffic import DEFAULT_VERSION

INTERVAL_S = 1.0
FRESH_S = 6.0  # a worker that has not been heard of for this long is not live
FORGOTTEN_AFTER = timedelta(days=1)


class Pulse:
    """Writes one process's row. Blocks; call it from one thread."""

    def __init__(
        self,
        *,
        instance: str,
        run: str,
        version: str = DEFAULT_VERSION,
        address: str = "",
        workers: int = 1,
    ) -> None:
        """`instance` is MODULE_ID; `run` is one start of `serve`, with all its workers.

        Clients reach them at `address`, empty if unknown; so many `workers` are wanted.
        """
        self.worker = secrets.token_hex(8)
        self._instance = instance
        self._run = run
        self._version = version
        self._address = address
        self._workers = workers
        self._started_at = timezone.now()

    def beat(
        self,
        report: dict[str, Any],
        *,
        config_revision: int,
        state: WorkerState = WorkerState.SERVING,
    ) -> None:
        """Write the row, made with the first beat. After ENDED there is no other.

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
                "state": state,
                "version": self._version,
                "address": self._address,
                "workers": self._workers,
                "report": report,
            },
        )


def is_live(instance: str, now: datetime) -> bool:
    """Say whether a process of an instance has been heard of lately, and has not ended."""
    fresh = Heartbeat.objects.filter(
        instance=instance, beat_at__gte=now - timedelta(seconds=FRESH_S)
    )
    return fresh.exclude(state=WorkerState.ENDED).exists()


def live_workers(now: datetime) -> int:
    """Count the processes of all instances that serve, and have been heard of lately."""
    fresh = Heartbeat.objects.filter(beat_at__gte=now - timedelta(seconds=FRESH_S))
    return fresh.exclude(state=WorkerState.ENDED).count()


def forget_runs(*, instance: str, run: str, now: datetime) -> None:
    """Remove what earlier starts of this instance, and long-gone ones, left behind.

    Rows of a run that goes on stay even when their worker has ended: its counts still
    count.
    """
    Heartbeat.objects.filter(instance=instance).exclude(run=run).delete()
    known = Heartbeat.objects.filter(beat_at__gte=now - FORGOTTEN_AFTER)
    going_on = list(known.values_list("run", flat=True).distinct())
    Heartbeat.objects.exclude(run__in=[run, *going_on]).delete()


def http_address(host: str, port: int) -> str:
    """Write where a server listens as a URL that others may use; empty without a port.

    One that listens on every address is reached by the name of its machine.
    """
    if port == 0:
        return ""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return f"http://{host}:{port}"
    if address.is_unspecified:
        return f"http://{socket.gethostname()}:{port}"
    return (
        f"http://[{host}]:{port}" if address.version == 6 else f"http://{host}:{port}"
    )
