"""When collections were searched last, kept without ever being in the way."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta

import django.db
from django.db import connection, transaction
from django.db.models import Q
from django.utils import timezone

from rag.models import Collection

logger = logging.getLogger(__name__)

PAUSE_S = 60.0  # between two notes about one collection
LOCK_WAIT_MS = 20


class CollectionUses:
    """Notes that collections are used, each at most once a minute. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._noted_s = dict[int, float]()

    def note(self, collections: Sequence[Collection]) -> None:
        """Write when they were used; a database that does not take it changes nothing."""
        if due := self._due([collection.pk for collection in collections]):
            try:
                write_used(due)
            except django.db.Error as error:
                logger.debug("not noted that a collection is used", exc_info=error)

    def _due(self, pks: Sequence[int]) -> list[int]:
        now_s = time.monotonic()
        with self._lock:
            kept = self._noted_s.items()
            self._noted_s = {pk: at for pk, at in kept if now_s - at < PAUSE_S}
            due = [pk for pk in pks if pk not in self._noted_s]
            self._noted_s.update(dict.fromkeys(due, now_s))
        return due


def write_used(pks: Sequence[int]) -> None:
    """Say of collections that they are used now, unless others have just done so.

    Raises:
        django.db.Error: It cannot be written, or not at once.

    """
    now = timezone.now()
    is_due = Q(last_used_at=None) | Q(last_used_at__lt=now - timedelta(seconds=PAUSE_S))
    due = Collection.objects.filter(is_due, pk__in=pks)
    if connection.vendor == "sqlite":
        with _impatient():
            due.update(last_used_at=now)
        return
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute(f"SET LOCAL lock_timeout = '{LOCK_WAIT_MS}ms'")
        due.update(last_used_at=now)


@contextmanager
def _impatient() -> Iterator[None]:
    """Have SQLite raise at once where another one writes."""
    with connection.cursor() as cursor:
        (usual_ms,) = cursor.execute("PRAGMA busy_timeout").fetchone()
        cursor.execute("PRAGMA busy_timeout = 0")
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute(f"PRAGMA busy_timeout = {int(usual_ms)}")
