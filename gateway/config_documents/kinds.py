"""The types of documents: which rows and fields each holds, and what is particular."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.core.exceptions import ValidationError
from typing_extensions import override

from gateway.config_documents.provider_kind import ProviderKind
from gateway.config_documents.row_kind import Kind, NumberedKind
from gateway.kinds import Measure
from gateway.models import (
    ApiKey,
    Budget,
    Deployment,
    Limit,
    Model,
    RoutingStrategy,
    Tenant,
    TrafficPolicy,
    VersionWeight,
)
from gateway.models.traffic import DEFAULT_VERSION
from gateway.operations import check_fallbacks

OWNERSHIP = ("source", "is_withdrawn")
TARGETS = {"tenant": "name", "key": "public_id", "model": "name", "provider": "name"}


class ModelKind(Kind):
    """What clients ask for by name."""

    model = Model
    columns = ("name", "enabled", "strategy", "fallbacks", "defaults")
    shown = OWNERSHIP
    references = {"strategy": "name"}

    @override
    def check_all(self, row: Any, values: Mapping[str, Any]) -> None:
        """Refuse fallbacks that are new and unknown, or the model itself."""
        if "fallbacks" in values:
            check_fallbacks(row.name, row.fallbacks, are_new=True)


class DeploymentKind(Kind):
    """One upstream model at one provider."""

    model = Deployment
    key = ("model", "provider", "upstream_model", "version")
    key_defaults = {"version": DEFAULT_VERSION}
    columns = (
        *key,
        "enabled",
        "weight",
        "priority",
        "input_price_per_mtok_usd",
        "output_price_per_mtok_usd",
        "cache_read_price_per_mtok_usd",
        "cache_write_price_per_mtok_usd",
        "cache_write_1h_price_per_mtok_usd",
        "audio_input_price_per_mtok_usd",
        "audio_output_price_per_mtok_usd",
        "context_window",
        "capabilities",
        "options",
        "connect_timeout_s",
        "first_byte_timeout_s",
        "response_timeout_s",
        "idle_timeout_s",
    )
    shown = OWNERSHIP
    references = {"model": "name", "provider": "name"}


class StrategyKind(Kind):
    """An algorithm with its parameters."""

    model = RoutingStrategy
    columns = (
        "name",
        "algorithm",
        "max_attempts",
        "request_deadline_s",
        "stream_deadline_s",
        "latency_decay_s",
        "breaker_failures",
        "breaker_failure_rate",
        "breaker_minimum_requests",
        "breaker_window_s",
        "breaker_open_s",
        "breaker_max_open_s",
    )


class TenantKind(Kind):
    """A customer, team or application."""

    model = Tenant
    columns = ("name", "enabled")


class LimitKind(NumberedKind):
    """How much of a measure somebody may use in a window."""

    model = Limit
    columns = (*TARGETS, "address", "measure", "amount", "window", "enabled")
    shown = ("id", "rate_limit_id")
    references = TARGETS
    sources = {"key": "api_key"}
    key = (*TARGETS, "address", "measure", "window")

    @override
    def identity(self, given: Mapping[str, Any]) -> tuple[Any, ...]:
        """Take the defaults of a row for what is not given."""
        measure = given.get("measure", Measure.REQUESTS.value)
        window = given.get("window", self.field("window").get_default())
        if measure == Measure.CONCURRENCY:
            window = ""
        targets = (given.get(name) for name in (*TARGETS, "address"))
        return (*targets, measure, window)

    @override
    def check(
        self, row: Any, given: Mapping[str, Any], values: Mapping[str, Any]
    ) -> None:
        """Leave the parts of a load balancer's rate limit to the RPCs that set it."""
        if row.rate_limit_id and values:
            raise ValidationError(
                f"It is part of the rate limit {row.rate_limit_id!r}, which SetRateLimit "
                "and RemoveRateLimit change."
            )


class BudgetKind(NumberedKind):
    """Money that a key or a tenant may spend in a period."""

    model = Budget
    columns = (
        "tenant",
        "key",
        "period",
        "amount_usd",
        "warn_percent",
        "is_hard",
        "blocks_unknown_price",
        "webhook_url",
        "enabled",
    )
    shown = ("id",)
    references = {"tenant": "name", "key": "public_id"}
    sources = {"key": "api_key"}
    key = ("tenant", "key", "period")

    @override
    def identity(self, given: Mapping[str, Any]) -> tuple[Any, ...]:
        """Take the default of a row where no period is given."""
        period = given.get("period", self.field("period").get_default())
        return (given.get("tenant"), given.get("key"), period)


class KeyKind(Kind):
    """A virtual key, without any part of its secret."""

    model = ApiKey
    key = ("id",)
    columns = ()
    shown = (
        "id",
        "name",
        "tenant",
        "enabled",
        "rights",
        "models",
        "collections",
        "expires_at",
        "previous_until",
        *OWNERSHIP,
    )
    references = {"tenant": "name"}
    sources = {
        "id": "public_id",
        "models": "allowed_models",
        "collections": "allowed_collections",
    }
    elsewhere = "Keys are made and changed in the admin and at /api/keys."


class WeightKind(Kind):
    """What share of the requests a version gets."""

    model = VersionWeight
    key = ("version",)
    columns = ()
    shown = ("version", "weight", "is_draining")
    elsewhere = "Weights are set by SetTrafficWeight, PromoteVersion and Rollback."


class PolicyKind(Kind):
    """Which version is active, and when a bad one is taken back by itself: one row."""

    model = TrafficPolicy
    key = ()
    columns = (
        "is_automatic",
        "error_margin_percent",
        "ttft_margin_percent",
        "minimum_requests",
    )
    shown = ("active_version", "previous_version")
    elsewhere = "Versions become active by PromoteVersion and Rollback."

    @override
    def rows(self, *, is_locked: bool = False) -> list[Any]:
        """Read the one row, or what holds without it."""
        rows = TrafficPolicy.objects.filter(id=1)
        found = (rows.select_for_update() if is_locked else rows).first()
        return [found or TrafficPolicy()]


# What each document is made of: lists of rows, by their names in it.
TYPES: Mapping[str, Mapping[str, Kind]] = {
    "providers": {"providers": ProviderKind()},
    "models": {"models": ModelKind()},
    "deployments": {"deployments": DeploymentKind()},
    "strategies": {"strategies": StrategyKind()},
    "tenants": {"tenants": TenantKind()},
    "limits": {"limits": LimitKind()},
    "budgets": {"budgets": BudgetKind()},
    "versions": {"policy": PolicyKind(), "weights": WeightKind()},
    "api_keys": {"api_keys": KeyKind()},
}
READ_ONLY = frozenset(
    name
    for name, kinds in TYPES.items()
    if not any(kind.columns for kind in kinds.values())
)
