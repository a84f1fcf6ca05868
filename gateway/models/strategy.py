"""How deployments are chosen: routing strategies."""

from __future__ import annotations

from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now
from typing_extensions import override

from gateway.kinds import Algorithm
from gateway.models.columns import in_range, seconds
from gateway.models.validators import (
    validate_name,
)


class RoutingStrategy(models.Model):
    """An algorithm with its parameters."""

    name = models.CharField(
        max_length=100,
        unique=True,
        validators=[validate_name],
        help_text="What models and ROUTING_STRATEGY refer to.",
    )
    algorithm = models.CharField(
        max_length=32,
        choices=[(item.value, item.value) for item in Algorithm],
        help_text="How the eligible deployments are ordered.",
    )
    max_attempts = models.PositiveSmallIntegerField(
        default=3,
        validators=[MinValueValidator(1), MaxValueValidator(10)],
        help_text="Attempts in total, on distinct deployments first. 1 to 10.",
    )
    request_deadline_s = seconds(
        "request deadline", 600, "Seconds for all attempts together."
    )
    stream_deadline_s = models.FloatField(
        "stream deadline (s)",
        default=1800,
        validators=[MinValueValidator(1), MaxValueValidator(86_400)],
        help_text="Seconds a stream may last in all.",
    )
    latency_decay_s = models.FloatField(
        "latency decay (s)",
        default=60,
        validators=[MinValueValidator(1), MaxValueValidator(3600)],
        help_text="Time constant of the latency averages, in seconds.",
    )
    breaker_failures = models.PositiveSmallIntegerField(
        default=5,
        validators=[MinValueValidator(1), MaxValueValidator(1000)],
        help_text="Failures in a row that open the breaker.",
    )
    breaker_failure_rate = models.FloatField(
        default=0.5,
        validators=[MinValueValidator(0.01), MaxValueValidator(1)],
        help_text="Share of failures in the window that opens the breaker. 0 to 1.",
    )
    breaker_minimum_requests = models.PositiveSmallIntegerField(
        default=10,
        validators=[MinValueValidator(1)],
        help_text="Requests in the window before the share counts.",
    )
    breaker_window_s = models.FloatField(
        "breaker window (s)",
        default=30,
        validators=[MinValueValidator(1), MaxValueValidator(3600)],
        help_text="Length of the window in seconds.",
    )
    breaker_open_s = models.FloatField(
        "breaker open (s)",
        default=5,
        validators=[MinValueValidator(0.1), MaxValueValidator(3600)],
        help_text="Seconds it stays open the first time; doubles with every trip.",
    )
    breaker_max_open_s = models.FloatField(
        "breaker max open (s)",
        default=60,
        validators=[MinValueValidator(0.1), MaxValueValidator(3600)],
        help_text="Seconds it stays open at the most.",
    )
    # `loaddata` saves rows as they stand: what it leaves out must come from the database.
    created_at = models.DateTimeField(auto_now_add=True, db_default=Now())
    updated_at = models.DateTimeField(auto_now=True, db_default=Now())

    class Meta:
        ordering = ["name"]
        verbose_name_plural = "routing strategies"
        constraints = [
            models.CheckConstraint(condition=~Q(name=""), name="strategy_name_given"),
            models.CheckConstraint(
                condition=Q(algorithm__in=[item.value for item in Algorithm]),
                name="strategy_algorithm_known",
            ),
            models.CheckConstraint(
                condition=in_range("max_attempts", 1, 10),
                name="strategy_attempts_1_to_10",
            ),
            models.CheckConstraint(
                condition=Q(request_deadline_s__gt=0, stream_deadline_s__gt=0),
                name="strategy_deadlines_positive",
            ),
            models.CheckConstraint(
                condition=Q(latency_decay_s__gt=0), name="strategy_decay_positive"
            ),
            models.CheckConstraint(
                condition=Q(
                    breaker_failures__gte=1,
                    breaker_failure_rate__gt=0,
                    breaker_failure_rate__lte=1,
                    breaker_minimum_requests__gte=1,
                    breaker_window_s__gt=0,
                    breaker_open_s__gt=0,
                    breaker_max_open_s__gte=F("breaker_open_s"),
                ),
                name="strategy_breaker_in_range",
            ),
        ]

    @override
    def __str__(self) -> str:
        return self.name

    @override
    def clean(self) -> None:
        """Name the field where the constraint names only itself."""
        super().clean()
        # A form leaves None where a field of its own was at fault.
        shortest: float | None = self.breaker_open_s
        longest: float | None = self.breaker_max_open_s
        if shortest is not None and longest is not None and longest < shortest:
            raise ValidationError(
                {"breaker_max_open_s": "Must be at least as long as the first time."}
            )
