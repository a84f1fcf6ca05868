"""What operators configure: providers, models and deployments."""

from __future__ import annotations

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from typing_extensions import override

from gateway.dialects import registry
from gateway.fields import CollectionField, EncryptedTextField
from gateway.models.columns import (
    MAX_TIMEOUT_S,
    MAX_WEIGHT,
    in_range,
    optional_seconds,
    price,
    seconds,
    source,
)
from gateway.models.strategy import RoutingStrategy
from gateway.models.validators import (
    validate_base_url,
    validate_capabilities,
    validate_headers,
    validate_name,
    validate_names,
    validate_object,
    validate_proxy_url,
)


def kind_choices() -> list[tuple[str, str]]:
    """Offer every kind that has a dialect."""
    return [(kind, kind) for kind in registry.kinds()]


class Row(models.Model):
    """What every configuration row has."""

    enabled = models.BooleanField(default=True, help_text="Whether it may serve.")
    source = source()
    enabled_when_withdrawn = models.BooleanField(
        null=True,
        default=None,
        editable=False,
        help_text="Set while what this row came from is gone: whether it was enabled "
        "before. Empty: not withdrawn.",
    )
    # `loaddata` saves rows as they stand: what it leaves out must come from the database.
    created_at = models.DateTimeField(auto_now_add=True, db_default=Now())
    updated_at = models.DateTimeField(auto_now=True, db_default=Now())

    class Meta:
        abstract = True

    @property
    def is_withdrawn(self) -> bool:
        """Say whether the variable or upstream model behind this row is gone.

        A withdrawn row was disabled for that reason, not by an operator, and comes back
        as it was.
        """
        return self.enabled_when_withdrawn is not None


class Provider(Row):
    """A vendor's endpoint: kind, address and credential."""

    name = models.CharField(
        max_length=100,
        unique=True,
        validators=[validate_name],
        help_text="Shown in headers, metrics and logs.",
    )
    kind = models.CharField(
        max_length=40,
        choices=kind_choices,
        help_text="Which wire format it speaks.",
    )
    base_url = models.CharField(
        "base URL",
        max_length=500,
        validators=[validate_base_url],
        help_text="OpenAI and compatible: with /v1. Anthropic and Ollama: without.",
    )
    credential = EncryptedTextField(
        blank=True,
        default="",
        help_text="The vendor's API key. Stored encrypted, never shown again.",
    )
    extra_headers = CollectionField(
        default=dict,
        blank=True,
        validators=[validate_headers],
        help_text='Sent with every request, as {"name": "value"}. Not for secrets: '
        "they are stored in clear.",
    )
    connect_timeout_s = seconds("connect timeout", 5, "Seconds for DNS, TCP and TLS.")
    first_byte_timeout_s = seconds(
        "first byte timeout", 60, "Seconds until a stream's first content."
    )
    response_timeout_s = seconds(
        "response timeout", 120, "Seconds for one whole answer that is not streamed."
    )
    idle_timeout_s = seconds(
        "idle timeout", 60, "Seconds between two reads of a stream."
    )
    egress_proxy = models.CharField(
        max_length=500,
        blank=True,
        default="",
        validators=[validate_proxy_url],
        help_text="http://host:port through which this provider is reached. Empty: "
        "directly, whatever the environment says.",
    )
    ca_file = models.CharField(
        "CA file",
        max_length=500,
        blank=True,
        default="",
        help_text="PEM file of the authorities to trust instead of the system's.",
    )
    max_concurrency = models.PositiveIntegerField(
        null=True,
        blank=True,
        validators=[MinValueValidator(1)],
        help_text="Requests in flight at once, in each worker. Empty: no cap.",
    )
    priority = models.IntegerField(
        default=0, help_text="Lower is tried first; deployments may override it."
    )
    weight = models.PositiveIntegerField(
        default=1,
        validators=[MinValueValidator(1), MaxValueValidator(MAX_WEIGHT)],
        help_text="1 to 1000; multiplied with the deployment's weight.",
    )

    class Meta:
        ordering = ["name"]
        constraints = [
            models.CheckConstraint(condition=~Q(name=""), name="provider_name_given"),
            models.CheckConstraint(condition=~Q(kind=""), name="provider_kind_given"),
            models.CheckConstraint(
                condition=Q(base_url__startswith="http://")
                | Q(base_url__startswith="https://"),
                name="provider_base_url_is_http",
            ),
            models.CheckConstraint(
                condition=in_range("weight", 1, MAX_WEIGHT),
                name="provider_weight_1_to_1000",
            ),
            models.CheckConstraint(
                condition=Q(max_concurrency__isnull=True) | Q(max_concurrency__gte=1),
                name="provider_max_concurrency_positive",
            ),
            *(
                models.CheckConstraint(
                    condition=Q(**{f"{name}__gt": 0, f"{name}__lte": MAX_TIMEOUT_S}),
                    name=f"provider_{name}_range",
                )
                for name in (
                    "connect_timeout_s",
                    "first_byte_timeout_s",
                    "response_timeout_s",
                    "idle_timeout_s",
                )
            ),
        ]

    @override
    def __str__(self) -> str:
        return self.name


class Model(Row):
    """What clients ask for by name."""

    name = models.CharField(
        max_length=200,
        unique=True,
        validators=[validate_name],
        help_text="The model name that clients send.",
    )
    strategy = models.ForeignKey(
        RoutingStrategy,
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        help_text="How its deployments are chosen. Empty: the default strategy.",
    )
    fallbacks = CollectionField(
        default=list,
        blank=True,
        validators=[validate_names],
        help_text='Models tried in this order when no deployment is left: ["name"].',
    )
    environment_fallbacks = CollectionField(
        default=list,
        blank=True,
        editable=False,
        help_text="What AILB_FALLBACKS last set; different fallbacks are an operator's.",
    )
    defaults = CollectionField(
        default=dict,
        blank=True,
        validators=[validate_object],
        help_text="Request fields to set when the client did not, such as "
        '{"temperature": 0.2}.',
    )

    class Meta:
        ordering = ["name"]
        constraints = [
            models.CheckConstraint(condition=~Q(name=""), name="model_name_given")
        ]

    @override
    def __str__(self) -> str:
        return self.name


class Deployment(Row):
    """One upstream model at one provider."""

    model = models.ForeignKey(
        Model,
        on_delete=models.CASCADE,
        related_name="deployments",
        help_text="The model that clients ask for.",
    )
    provider = models.ForeignKey(
        Provider,
        on_delete=models.CASCADE,
        related_name="deployments",
        help_text="Who serves it.",
    )
    upstream_model = models.CharField(
        max_length=200,
        validators=[validate_name],
        help_text="The model's name at the provider.",
    )
    input_price_per_mtok_usd = price("input", "Input tokens")
    output_price_per_mtok_usd = price("output", "Output tokens")
    cache_read_price_per_mtok_usd = price(
        "cache read", "Tokens read from the vendor's cache"
    )
    cache_write_price_per_mtok_usd = price(
        "cache write", "Tokens written to the vendor's cache"
    )
    cache_write_1h_price_per_mtok_usd = price(
        "1-hour cache write", "Tokens written to the vendor's cache for an hour"
    )
    audio_input_price_per_mtok_usd = price("audio input", "Audio tokens of the prompt")
    audio_output_price_per_mtok_usd = price(
        "audio output", "Audio tokens of the answer"
    )
    context_window = models.PositiveIntegerField(
        null=True,
        blank=True,
        validators=[MinValueValidator(1)],
        help_text="Tokens of prompt and answer together. Empty: unknown.",
    )
    capabilities = CollectionField(
        default=dict,
        blank=True,
        validators=[validate_capabilities],
        help_text='What it can do, such as {"tools": true, "images": false}. What is '
        "not named is unknown and may be tried.",
    )
    options = CollectionField(
        default=dict,
        blank=True,
        validators=[validate_object],
        help_text='Vendor options sent with each request, such as {"num_ctx": 8192} '
        "for Ollama.",
    )
    connect_timeout_s = optional_seconds(
        "connect timeout", "Seconds for DNS, TCP and TLS."
    )
    first_byte_timeout_s = optional_seconds(
        "first byte timeout", "Seconds until a stream's first content."
    )
    response_timeout_s = optional_seconds(
        "response timeout", "Seconds for one whole answer."
    )
    idle_timeout_s = optional_seconds(
        "idle timeout", "Seconds between two reads of a stream."
    )
    weight = models.PositiveIntegerField(
        default=1,
        validators=[MinValueValidator(1), MaxValueValidator(MAX_WEIGHT)],
        help_text="1 to 1000; its share is multiplied with the provider's weight.",
    )
    priority = models.IntegerField(
        null=True,
        blank=True,
        help_text="Lower is tried first. Empty: the provider's.",
    )
    version = models.CharField(
        max_length=64,
        default="v1",
        validators=[validate_name],
        help_text="Label for blue/green and canary releases.",
    )

    class Meta:
        ordering = ["model__name", "provider__name", "upstream_model", "version"]
        constraints = [
            models.UniqueConstraint(
                fields=["model", "provider", "upstream_model", "version"],
                name="deployment_unique",
            ),
            models.CheckConstraint(
                condition=~Q(upstream_model=""), name="deployment_upstream_model_given"
            ),
            models.CheckConstraint(
                condition=~Q(version=""), name="deployment_version_given"
            ),
            models.CheckConstraint(
                condition=in_range("weight", 1, MAX_WEIGHT),
                name="deployment_weight_1_to_1000",
            ),
            models.CheckConstraint(
                condition=Q(context_window__isnull=True) | Q(context_window__gte=1),
                name="deployment_context_window_positive",
            ),
            *(
                models.CheckConstraint(
                    condition=Q(**{f"{name}__isnull": True})
                    | Q(**{f"{name}__gt": 0, f"{name}__lte": MAX_TIMEOUT_S}),
                    name=f"deployment_{name}_range",
                )
                for name in (
                    "connect_timeout_s",
                    "first_byte_timeout_s",
                    "response_timeout_s",
                    "idle_timeout_s",
                )
            ),
            *(
                models.CheckConstraint(
                    condition=Q(**{f"{name}_price_per_mtok_usd__isnull": True})
                    | Q(**{f"{name}_price_per_mtok_usd__gte": 0}),
                    name=f"deployment_{name}_price_not_negative",
                )
                for name in (
                    "input",
                    "output",
                    "cache_read",
                    "cache_write",
                    "cache_write_1h",
                    "audio_input",
                    "audio_output",
                )
            ),
        ]

    @override
    def __str__(self) -> str:
        return f"{self.model} at {self.provider} as {self.upstream_model}"
