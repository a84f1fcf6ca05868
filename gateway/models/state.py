"""What processes share through the database: revision, heartbeats and leases."""

from __future__ import annotations

from django.db import models
from typing_extensions import override

from gateway.kinds import WorkerState


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
    state = models.CharField(
        max_length=16,
        choices=[(item.value, item.value) for item in WorkerState],
        default=WorkerState.SERVING,
        db_default=WorkerState.SERVING,
        help_text="By its own word; a process that was killed still says serving.",
    )
    version = models.CharField(
        max_length=64,
        default="v1",
        db_default="v1",
        help_text="AILB_VERSION_LABEL of its instance.",
    )
    address = models.CharField(
        max_length=300,
        blank=True,
        default="",
        db_default="",
        help_text="Where its instance is reached, as a URL.",
    )
    workers = models.PositiveSmallIntegerField(
        default=1,
        db_default=1,
        help_text="How many such processes its instance means to have.",
    )
    report = models.JSONField(default=dict)

    class Meta:
        ordering = ["instance", "worker"]
        indexes = [models.Index(fields=["beat_at"], name="heartbeat_beat_at")]

    @override
    def __str__(self) -> str:
        return f"{self.instance} {self.pid}"


class StatisticsReset(models.Model):
    """Up to where the figures of one instance were reset: later ones count from there."""

    instance = models.CharField(max_length=100, primary_key=True)
    run = models.CharField(max_length=64, help_text="The start that it is about.")
    at = models.DateTimeField()
    totals = models.JSONField(help_text="The figures that were there.")

    class Meta:
        ordering = ["instance"]

    @override
    def __str__(self) -> str:
        return f"{self.instance} since {self.at:%Y-%m-%d %H:%M:%S}"


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
