"""Leases in the database: work that one process at a time does."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db import IntegrityError, transaction
from django.db.models import Q

from gateway.models import Lease


def hold_lease(name: str, holder: str, *, now: datetime, duration_s: float) -> bool:
    """Take or renew a lease; False while somebody else holds it."""
    expires_at = now + timedelta(seconds=duration_s)
    free = Q(holder=holder) | Q(expires_at__lt=now)
    if Lease.objects.filter(free, name=name).update(
        holder=holder, expires_at=expires_at
    ):
        return True
    try:
        with transaction.atomic():
            Lease.objects.create(name=name, holder=holder, expires_at=expires_at)
    except IntegrityError:
        return False  # another process holds it, or has just taken it
    return True


def release_lease(name: str, holder: str) -> None:
    """Give a lease back, so that another process need not wait until it runs out."""
    Lease.objects.filter(name=name, holder=holder).delete()
