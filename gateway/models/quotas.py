"""How much: limits of rates and concurrency, budgets of money, and what is spent."""

from __future__ import annotations

from decimal import Decimal

from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from typing_extensions import override

from gateway.kinds import Measure, Period, Scope, Window
from gateway.models.access import ApiKey, Tenant
from gateway.models.configuration import Model, Provider
from gateway.models.validators import validate_base_url

MAX_AMOUNT = 1_000_000_000_000


def at_most_one(*names: str) -> Q:
    """Build the condition that no two of these foreign keys are set."""
    unset = {name: Q(**{f"{name}__isnull": True}) for name in names}
    condition = Q()
    for kept in names:
        others = Q()
        for name in names:
            if name != kept:
                others &= unset[name]
        condition |= others
    return condition


class Limit(models.Model):
    """At most so much of a measure in a sliding window, or at once."""

    tenant = models.ForeignKey(
        Tenant, null=True, blank=True, on_delete=models.CASCADE, related_name="limits"
    )
    api_key = models.ForeignKey(
        ApiKey,
        verbose_name="API key",
        null=True,
        blank=True,
        on_delete=models.CASCADE,
        related_name="limits",
    )
    model = models.ForeignKey(
        Model, null=True, blank=True, on_delete=models.CASCADE, related_name="limits"
    )
    provider = models.ForeignKey(
        Provider, null=True, blank=True, on_delete=models.CASCADE, related_name="limits"
    )
    address = models.GenericIPAddressField(
        null=True,
        blank=True,
        unpack_ipv4=True,
        help_text="IP address of the caller; behind a proxy see AILB_TRUSTED_PROXIES.",
    )
    measure = models.CharField(
        max_length=16,
        choices=[(item.value, item.value.replace("_", " ")) for item in Measure],
        default=Measure.REQUESTS,
        help_text="What is counted. Concurrency: requests in flight at once.",
    )
    amount = models.PositiveBigIntegerField(
        validators=[MinValueValidator(1), MaxValueValidator(MAX_AMOUNT)],
        help_text="At most so many.",
    )
    window = models.CharField(
        max_length=8,
        choices=[(item.value, item.value) for item in Window],
        default=Window.MINUTE,
        blank=True,
        help_text="In any second, minute, hour or day. Concurrency has none.",
    )
    enabled = models.BooleanField(default=True, help_text="Whether it is enforced.")
    rate_limit_id = models.CharField(
        max_length=200,
        blank=True,
        default="",
        db_default="",
        editable=False,
        db_index=True,
        help_text="What a load balancer calls the rate limit that this is part of.",
    )
    rate_limit = models.JSONField(
        default=dict,
        db_default=models.Value({}, models.JSONField()),
        blank=True,
        editable=False,
        help_text="That rate limit as it was given.",
    )
    # `loaddata` saves rows as they stand: what it leaves out must come from the database.
    created_at = models.DateTimeField(auto_now_add=True, db_default=Now())
    updated_at = models.DateTimeField(auto_now=True, db_default=Now())

    class Meta:
        ordering = ["id"]
        constraints = [
            models.CheckConstraint(
                condition=at_most_one(
                    "tenant", "api_key", "model", "provider", "address"
                ),
                name="limit_one_target",
            ),
            models.CheckConstraint(
                condition=Q(amount__gte=1, amount__lte=MAX_AMOUNT),
                name="limit_amount_in_range",
            ),
            models.CheckConstraint(
                condition=Q(measure=Measure.CONCURRENCY)
                | Q(
                    measure__in=[m.value for m in Measure if m != Measure.CONCURRENCY],
                    window__in=[item.value for item in Window],
                ),
                name="limit_window_given",
            ),
        ]

    @override
    def __str__(self) -> str:
        measure = self.measure.replace("_", " ")
        if self.measure == Measure.CONCURRENCY:
            return f"{self.amount} at once for {self.target}"
        return f"{self.amount} {measure} per {self.window} for {self.target}"

    @property
    def scope(self) -> Scope:
        """Say whose requests it counts."""
        if self.api_key_id is not None:
            return Scope.KEY
        if self.tenant_id is not None:
            return Scope.TENANT
        if self.model_id is not None:
            return Scope.MODEL
        if self.provider_id is not None:
            return Scope.PROVIDER
        return Scope.EVERYBODY if self.address is None else Scope.ADDRESS

    @property
    def target(self) -> str:
        """Name whom or what it limits, for people."""
        row = self.api_key or self.tenant or self.model or self.provider or self.address
        return "everybody" if row is None else f"{self.scope.value} {row}"

    @override
    def clean(self) -> None:
        """Name the fields where the constraints name only themselves."""
        super().clean()
        targets = (
            self.tenant_id,
            self.api_key_id,
            self.model_id,
            self.provider_id,
            self.address,
        )
        if sum(target is not None for target in targets) > 1:
            raise ValidationError(
                "Choose one of tenant, API key, model, provider and address; none for "
                "everybody."
            )
        if self.measure == Measure.CONCURRENCY:
            self.window = ""
        elif not self.window:
            raise ValidationError({"window": "This measure needs a window."})


class Budget(models.Model):
    """Money that a key or a tenant may spend in a period."""

    tenant = models.ForeignKey(
        Tenant, null=True, blank=True, on_delete=models.CASCADE, related_name="budgets"
    )
    api_key = models.ForeignKey(
        ApiKey,
        verbose_name="API key",
        null=True,
        blank=True,
        on_delete=models.CASCADE,
        related_name="budgets",
    )
    period = models.CharField(
        max_length=8,
        choices=[(item.value, item.value) for item in Period],
        default=Period.MONTH,
        help_text="Calendar day, week (from Monday) or month in UTC, or in total.",
    )
    amount_usd = models.DecimalField(
        "amount (USD)",
        max_digits=15,
        decimal_places=6,
        validators=[MinValueValidator(Decimal(0))],
        help_text="What may be spent in each period.",
    )
    warn_percent = models.PositiveSmallIntegerField(
        null=True,
        blank=True,
        default=80,
        validators=[MinValueValidator(1), MaxValueValidator(100)],
        help_text="From this share on it warns: in a response header, a metric, the "
        "admin, and the webhook. Empty: never.",
    )
    is_hard = models.BooleanField(
        "hard stop",
        default=True,
        help_text="Refuse requests when it is spent. Off: only warn.",
    )
    blocks_unknown_price = models.BooleanField(
        "block unknown prices",
        default=False,
        help_text="Keep requests from deployments whose price is unknown. Off: they are "
        "served, and what they cost is missing here; the ledger counts them as unpriced.",
    )
    webhook_url = models.CharField(
        "webhook URL",
        max_length=500,
        blank=True,
        default="",
        validators=[validate_base_url],
        help_text="Gets a POST with JSON once a period at the warning and once when it "
        "is spent.",
    )
    enabled = models.BooleanField(default=True, help_text="Whether it is enforced.")
    # `loaddata` saves rows as they stand: what it leaves out must come from the database.
    created_at = models.DateTimeField(auto_now_add=True, db_default=Now())
    updated_at = models.DateTimeField(auto_now=True, db_default=Now())

    class Meta:
        ordering = ["id"]
        constraints = [
            models.CheckConstraint(
                condition=Q(tenant__isnull=True, api_key__isnull=False)
                | Q(tenant__isnull=False, api_key__isnull=True),
                name="budget_one_owner",
            ),
            models.CheckConstraint(
                condition=Q(amount_usd__gte=0), name="budget_amount_not_negative"
            ),
            models.CheckConstraint(
                condition=Q(period__in=[item.value for item in Period]),
                name="budget_period_known",
            ),
            models.CheckConstraint(
                condition=Q(warn_percent__isnull=True)
                | Q(warn_percent__gte=1, warn_percent__lte=100),
                name="budget_warn_percent_1_to_100",
            ),
        ]

    @override
    def __str__(self) -> str:
        per = "in total" if self.period == Period.TOTAL else f"per {self.period}"
        return f"{self.amount_usd.normalize():f} USD {per} for {self.owner}"

    @property
    def scope(self) -> Scope:
        """Say whose money it is."""
        return Scope.TENANT if self.api_key_id is None else Scope.KEY

    @property
    def owner(self) -> str:
        """Name whose money it is, for people."""
        return f"{self.scope.value} {self.api_key or self.tenant}"

    @override
    def clean(self) -> None:
        """Name the fields where the constraint names only itself."""
        super().clean()
        if (self.tenant_id is None) == (self.api_key_id is None):
            raise ValidationError("Choose a tenant or an API key, one of both.")


class BudgetSpend(models.Model):
    """What one worker's requests have cost in one period of a budget.

    A worker each, because each knows its own sum exactly and the others' from here; the
    sums of workers that are gone are merged under the empty name.
    """

    budget = models.ForeignKey(Budget, on_delete=models.CASCADE, related_name="spends")
    period_start = models.DateField(help_text="First day of the period, in UTC.")
    worker = models.CharField(max_length=64, blank=True, default="")
    spent_nano_usd = models.BigIntegerField(help_text="In billionths of a USD.")

    class Meta:
        ordering = ["budget", "period_start", "worker"]
        constraints = [
            models.UniqueConstraint(
                fields=["budget", "period_start", "worker"], name="budget_spend_unique"
            )
        ]

    @override
    def __str__(self) -> str:
        return f"{self.spent_nano_usd / 1e9:.6f} USD from {self.period_start}"


class BudgetNotice(models.Model):
    """A warning or stop of a budget that was told, once a period."""

    budget = models.ForeignKey(Budget, on_delete=models.CASCADE, related_name="notices")
    period_start = models.DateField()
    is_spent = models.BooleanField(
        help_text="Whether it was spent; else it passed its warning."
    )
    noticed_at = models.DateTimeField(db_default=Now())
    delivery = models.CharField(
        max_length=200,
        blank=True,
        default="",
        help_text="What became of the webhook; empty without one.",
    )

    class Meta:
        ordering = ["-noticed_at"]
        constraints = [
            models.UniqueConstraint(
                fields=["budget", "period_start", "is_spent"],
                name="budget_notice_unique",
            )
        ]

    @override
    def __str__(self) -> str:
        return f"{'spent' if self.is_spent else 'warning'} of {self.budget_id}"
