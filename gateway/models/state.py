"""What processes share through the database: revision, heartbeats and leases."""

from __future__ import annotations

from django.db import models
from typing_extensions import override


class ConfigRevision(models.Model):
    """One row that database triggers bump with every change of a configuration row.

    Triggers, because no way of writing a row misses them: the admin, `loaddata`,
    `queryset.update()`, plain SQL.
    """

    id = models.PositiveSmallIntegerField(primary_key=True, default=1)
    revision = models.BigIntegerField(default=0)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=models.Q(id=1), name="config_revision_single_row"
            )
        ]

    @override
    def __str__(self) -> str:
        return f"revision {self.revision}"


class Heartbeat(models.Model):
    """One process's live health and load, as it last reported them."""

    worker = models.CharField(
        max_length=64, primary_key=True, help_text="Random id of the process."
    )
    instance = models.CharField(max_length=100, help_text="MODULE_ID.")
    run = models.CharField(max_length=64, help_text="One start of `serve`.")
    pid = models.PositiveIntegerField()
    started_at = models.DateTimeField()
    beat_at = models.DateTimeField()
    config_revision = models.BigIntegerField()
    report = models.JSONField(default=dict)

    class Meta:
        ordering = ["instance", "worker"]
        indexes = [models.Index(fields=["beat_at"], name="heartbeat_beat_at")]

    @override
    def __str__(self) -> str:
        return f"{self.instance} {self.pid}"


class Lease(models.Model):
    """Who may do a piece of background work now; taken over when it runs out."""

    name = models.CharField(max_length=100, primary_key=True)
    holder = models.CharField(max_length=100)
    expires_at = models.DateTimeField()

    class Meta:
        ordering = ["name"]

    @override
    def __str__(self) -> str:
        return f"{self.name} held by {self.holder}"


class Installation(models.Model):
    """One row, made with the database: what tells this installation from any other.

    Whatever several installations may share, such as a Redis, is kept apart by it.
    """

    id = models.PositiveSmallIntegerField(primary_key=True, default=1)
    uid = models.CharField(max_length=32)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=models.Q(id=1), name="installation_single_row"
            )
        ]

    @override
    def __str__(self) -> str:
        return f"installation {self.uid}"
