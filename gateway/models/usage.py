"""The ledger: one row for every request that reached a provider, and its roll-ups."""

from __future__ import annotations

from django.db import models
from typing_extensions import override

TOKEN_COLUMNS = (
    "input_tokens",
    "cache_read_tokens",
    "cache_write_tokens",
    "cache_write_1h_tokens",
    "audio_input_tokens",
    "output_tokens",
    "reasoning_tokens",
    "audio_output_tokens",
)


class TokenCounts(models.Model):
    """Tokens in disjoint buckets: their sum is what the vendor counted in all."""

    input_tokens = models.BigIntegerField(default=0)
    cache_read_tokens = models.BigIntegerField(default=0)
    cache_write_tokens = models.BigIntegerField(default=0)
    cache_write_1h_tokens = models.BigIntegerField(default=0)
    audio_input_tokens = models.BigIntegerField(default=0)
    output_tokens = models.BigIntegerField(default=0)
    reasoning_tokens = models.BigIntegerField(default=0)
    audio_output_tokens = models.BigIntegerField(default=0)

    class Meta:
        abstract = True


class UsageRecord(TokenCounts):
    """One request that reached a provider.

    Names rather than foreign keys: what happened stays when a row is renamed or deleted.
    """

    uid = models.CharField(max_length=32, unique=True, help_text="Made by AILB.")
    request_id = models.CharField(max_length=128, db_index=True)
    at = models.DateTimeField(db_index=True, help_text="When the request arrived.")
    tenant = models.CharField(max_length=100)
    api_key = models.CharField(
        max_length=32, blank=True, help_text="Public id of the key; empty without one."
    )
    operation = models.CharField(max_length=16)
    model = models.CharField(max_length=200, help_text="The model that served.")
    provider = models.CharField(max_length=100)
    upstream_model = models.CharField(max_length=200)
    deployment_id = models.BigIntegerField()
    strategy = models.CharField(max_length=100)
    attempts = models.PositiveSmallIntegerField()
    status = models.PositiveSmallIntegerField(
        help_text="HTTP status that the client saw; 499: it left."
    )
    code = models.CharField(max_length=64, blank=True)
    fault_domain = models.CharField(
        max_length=16, blank=True, help_text="Whose fault; empty when it succeeded."
    )
    is_stream = models.BooleanField()
    is_partial = models.BooleanField(help_text="Whether the answer broke off.")
    is_estimated = models.BooleanField(
        help_text="Whether the tokens are estimated: the provider reported none."
    )
    cost_nano_usd = models.BigIntegerField(
        null=True, help_text="In billionths of a USD. Empty: the price is unknown."
    )
    price_origin = models.CharField(max_length=16)
    duration_ms = models.FloatField()
    ttft_ms = models.FloatField(
        null=True, help_text="Streams: until the first content."
    )
    tokens_per_s = models.FloatField(
        null=True, help_text="Output tokens per second of generation."
    )

    class Meta:
        ordering = ["-id"]
        indexes = [
            # Newest first within each of what the admin filters by.
            models.Index(fields=[name, "-id"], name=f"usage_{name}_newest")
            for name in ("tenant", "api_key", "model", "provider", "fault_domain")
        ]

    @override
    def __str__(self) -> str:
        return self.request_id


class UsageRollup(TokenCounts):
    """Sums over an hour or a day, by who asked and what served."""

    class Grain(models.TextChoices):
        """How long each row is."""

        HOUR = "hour"
        DAY = "day"

    grain = models.CharField(max_length=4, choices=Grain)
    start = models.DateTimeField(help_text="Beginning of the hour or day, in UTC.")
    tenant = models.CharField(max_length=100)
    api_key = models.CharField(max_length=32, blank=True)
    operation = models.CharField(max_length=16)
    model = models.CharField(max_length=200)
    provider = models.CharField(max_length=100)
    upstream_model = models.CharField(max_length=200)
    deployment_id = models.BigIntegerField()
    requests = models.BigIntegerField(default=0)
    failed_requests = models.BigIntegerField(default=0)
    partial_requests = models.BigIntegerField(default=0)
    unpriced_requests = models.BigIntegerField(
        default=0, help_text="Those whose price is unknown: their cost is not included."
    )
    attempts = models.BigIntegerField(default=0)
    cost_nano_usd = models.BigIntegerField(default=0)
    duration_ms_sum = models.FloatField(default=0)
    ttft_ms_sum = models.FloatField(default=0)
    ttft_count = models.BigIntegerField(default=0)

    class Meta:
        ordering = ["-start", "id"]
        constraints = [
            models.UniqueConstraint(
                fields=[
                    "grain",
                    "start",
                    "tenant",
                    "api_key",
                    "operation",
                    "model",
                    "provider",
                    "upstream_model",
                    "deployment_id",
                ],
                name="usage_rollup_unique",
            )
        ]

    @override
    def __str__(self) -> str:
        return f"{self.grain} {self.start:%Y-%m-%d %H:%M} {self.model}"
