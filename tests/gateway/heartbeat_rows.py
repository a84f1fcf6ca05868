"""Writes rows as workers do, with figures of our choice and as old as we like."""

from __future__ import annotations

from datetime import timedelta
from itertools import count
from typing import Any

from django.utils import timezone

from gateway.kinds import FaultDomain, WorkerState
from gateway.models import Heartbeat
from gateway.process_figures import ProcessFigures

_numbers = count(1)


def figures(
    *,
    ok: int = 0,
    failed: int = 0,
    refused: int = 0,
    latency_s: float = 0.1,
    provider: str = "p",
    **fields: Any,
) -> dict[str, Any]:
    """Count so many requests, and give a worker's report of them."""
    counted = ProcessFigures()
    for domain, number in (
        (None, ok),
        (FaultDomain.PROVIDER, failed),
        (FaultDomain.CALLER, refused),
    ):
        for _ in range(number):
            counted.settled(
                provider, domain, duration_s=latency_s, first_content_s=None
            )
    return {"traffic": {**counted.as_dict(), **fields}}


def beat(
    instance: str = "i",
    *,
    age_s: float = 0,
    started_s: float = 100,
    report: dict[str, Any] | None = None,
    **fields: Any,
) -> Heartbeat:
    """Write a worker's row, whose last word is `age_s` old; `started_s` ago it started."""
    number = next(_numbers)
    now = timezone.now()
    row: dict[str, Any] = {
        "worker": f"worker-{number}",
        "instance": instance,
        "run": "now",
        "pid": 1000 + number,
        "started_at": now - timedelta(seconds=started_s),
        "beat_at": now - timedelta(seconds=age_s),
        "config_revision": 7,
        "state": WorkerState.SERVING,
        "report": figures() if report is None else report,
        **fields,
    }
    return Heartbeat.objects.create(**row)
