"""How requests are split over versions: weights, what is active, and what was done."""

from __future__ import annotations

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from typing_extensions import override

from gateway.kinds import PromotionState, TrafficAction
from gateway.models.columns import in_range
from gateway.models.validators import validate_name

DEFAULT_VERSION = "v1"
MAX_PERCENT = 100


def version_field(
    help_text: str, *, is_unique: bool = False
) -> models.CharField[str, str]:
    """Make a field for a version label."""
    return models.CharField(
        max_length=64,
        unique=is_unique,
        validators=[validate_name],
        help_text=help_text,
    )


class VersionWeight(models.Model):
    """What share of the requests the deployments of one version label get."""

    version = version_field("The label that deployments bear.", is_unique=True)
    weight = models.PositiveSmallIntegerField(
        validators=[MaxValueValidator(MAX_PERCENT)],
        help_text="Percent of the requests to each model that has deployments of this "
        "version. 0: none.",
    )
    is_draining = models.BooleanField(
        "draining",
        default=False,
        help_text="Whether instances of this version (AILB_VERSION_LABEL) say that they "
        "are not ready, so that a load balancer sends its requests elsewhere.",
    )
    # `loaddata` saves rows as they stand: what it leaves out must come from the database.
    updated_at = models.DateTimeField(auto_now=True, db_default=Now())

    class Meta:
        ordering = ["version"]
        constraints = [
            models.CheckConstraint(
                condition=in_range("weight", 0, MAX_PERCENT),
                name="version_weight_in_percent",
            ),
            models.CheckConstraint(
                condition=~Q(version=""), name="version_weight_version_given"
            ),
        ]

    @override
    def __str__(self) -> str:
        return f"{self.version}: {self.weight} %"


class TrafficPolicy(models.Model):
    """One row: which version is active, and when a bad one is taken back by itself."""

    id = models.PositiveSmallIntegerField(primary_key=True, default=1)
    active_version = models.CharField(
        max_length=64,
        default=DEFAULT_VERSION,
        editable=False,
        help_text="What was promoted last; it has all traffic where no weights are set.",
    )
    previous_version = models.CharField(
        max_length=64,
        blank=True,
        default="",
        editable=False,
        help_text="What was active before; a rollback without a target goes there.",
    )
    is_automatic = models.BooleanField(
        "automatic rollback",
        default=False,
        help_text="Give the active version all traffic again when another one that has "
        "a share of it does worse by one of these margins.",
    )
    error_margin_percent = models.FloatField(
        "error margin (%)",
        default=5,
        validators=[MinValueValidator(0), MaxValueValidator(MAX_PERCENT)],
        help_text="Its failed requests, in percent, may be higher by at most so much.",
    )
    ttft_margin_percent = models.FloatField(
        "time to first token margin (%)",
        default=50,
        validators=[MinValueValidator(0), MaxValueValidator(10_000)],
        help_text="Its 95th percentile of the time to first token may be longer by at "
        "most so much.",
    )
    minimum_requests = models.PositiveIntegerField(
        default=100,
        validators=[MinValueValidator(1)],
        help_text="Requests that both versions must have served before they are compared.",
    )
    updated_at = models.DateTimeField(auto_now=True, db_default=Now())

    class Meta:
        verbose_name_plural = "traffic policy"
        constraints = [
            models.CheckConstraint(condition=Q(id=1), name="traffic_policy_single_row"),
            models.CheckConstraint(
                condition=~Q(active_version=""), name="traffic_policy_active_given"
            ),
            models.CheckConstraint(
                condition=in_range("error_margin_percent", 0, MAX_PERCENT),
                name="traffic_policy_error_margin",
            ),
            models.CheckConstraint(
                condition=in_range("ttft_margin_percent", 0, 10_000),
                name="traffic_policy_ttft_margin",
            ),
            models.CheckConstraint(
                condition=Q(minimum_requests__gte=1),
                name="traffic_policy_minimum_requests",
            ),
        ]

    @override
    def __str__(self) -> str:
        return f"active: {self.active_version}"


class TrafficChange(models.Model):
    """What was done to the split of traffic, and how it stood afterwards."""

    at = models.DateTimeField(db_default=Now(), db_index=True)
    action = models.CharField(
        max_length=24, choices=[(item.value, item.value) for item in TrafficAction]
    )
    version = models.CharField(max_length=64, help_text="The version it was about.")
    active_version = models.CharField(max_length=64, help_text="Active afterwards.")
    previous_version = models.CharField(
        max_length=64, blank=True, default="", help_text="Active before."
    )
    weights = models.JSONField(
        default=dict, help_text="Percent by version, afterwards."
    )
    reason = models.CharField(max_length=500, blank=True, default="")

    class Meta:
        ordering = ["-id"]

    @override
    def __str__(self) -> str:
        return f"{self.action} {self.version} at {self.at:%Y-%m-%d %H:%M:%S}"


class Promotion(models.Model):
    """A version that is given more and more of the traffic; worked by `runjobs`."""

    version = models.CharField(max_length=64)
    step_percent = models.PositiveSmallIntegerField(
        validators=[MinValueValidator(1), MaxValueValidator(MAX_PERCENT)],
        help_text="Percentage points that each step adds.",
    )
    state = models.CharField(
        max_length=16,
        choices=[(item.value, item.value) for item in PromotionState],
        default=PromotionState.RUNNING,
    )
    reason = models.CharField(
        max_length=500, blank=True, default="", help_text="Why it was stopped."
    )
    started_at = models.DateTimeField(db_default=Now())
    next_step_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(
                condition=in_range("step_percent", 1, MAX_PERCENT),
                name="promotion_step_in_percent",
            ),
            models.UniqueConstraint(
                fields=["state"],
                condition=Q(state=PromotionState.RUNNING),
                name="promotion_one_running",
            ),
        ]

    @override
    def __str__(self) -> str:
        return f"{self.version}: {self.state}"
