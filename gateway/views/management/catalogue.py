"""Providers, models, deployments and strategies as JSON."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers
from typing_extensions import override

from gateway.config_documents.kinds import DeploymentKind, StrategyKind
from gateway.crypto import Secret
from gateway.models import Deployment, Model, Provider, RoutingStrategy
from gateway.models.validators import validate_ca_file, validate_credential
from gateway.operations import check_fallbacks, credential_hint, is_sent_elsewhere
from gateway.views.management.fields import NameOfField, TextField, names_field
from gateway.views.management.rows import RowSerializer

MAX_CREDENTIAL_LENGTH = 4000
OWNERSHIP = ("source", "is_withdrawn", "created_at", "updated_at")
TIMEOUTS = (
    "connect_timeout_s",
    "first_byte_timeout_s",
    "response_timeout_s",
    "idle_timeout_s",
)
ENTER_AGAIN = (
    "Send the credential again: the address now names another server, and the stored "
    "credential is not sent there unasked."
)


class ProviderSerializer(RowSerializer[Provider]):
    """A provider; its credential goes in and never comes out."""

    credential = TextField(
        write_only=True,
        required=False,
        allow_blank=True,
        max_length=MAX_CREDENTIAL_LENGTH,
        help_text="The vendor's API key; empty removes it. Never read out.",
    )
    credential_set = serializers.SerializerMethodField()
    credential_hint = serializers.SerializerMethodField()
    extra_headers = serializers.DictField(child=TextField(), required=False)

    class Meta:
        model = Provider
        fields = (
            "name",
            "kind",
            "base_url",
            "enabled",
            "credential",
            "credential_set",
            "credential_hint",
            "extra_headers",
            *TIMEOUTS,
            "egress_proxy",
            "ca_file",
            "max_concurrency",
            "priority",
            "weight",
            *OWNERSHIP,
        )
        read_only_fields = OWNERSHIP

    def get_credential_set(self, row: Provider) -> bool:
        """Say whether there is a credential."""
        return bool(row.credential)

    def get_credential_hint(self, row: Provider) -> str:
        """Show its last four characters, as the admin does."""
        return credential_hint(row)

    def validate_credential(self, value: str) -> Secret:
        """Take what was sent, as it was sent."""
        validate_credential(value)
        return Secret(plain=value)

    def validate_ca_file(self, value: str) -> str:
        """Refuse a file that connections could not be checked with."""
        validate_ca_file(value)
        return value

    @override
    def update(self, instance: Provider, validated_data: Any) -> Provider:
        """Never send a kept credential to another server."""
        if "credential" not in validated_data and is_sent_elsewhere(
            instance.credential,
            before=instance.base_url,
            after=validated_data.get("base_url"),
        ):
            raise serializers.ValidationError({"credential": [ENTER_AGAIN]})
        return super().update(instance, validated_data)


class ModelSerializer(RowSerializer[Model]):
    """What clients ask for by name."""

    strategy = NameOfField(
        slug_field="name",
        queryset=RoutingStrategy.objects.all(),
        required=False,
        allow_null=True,
    )
    fallbacks = names_field(required=False)
    defaults = serializers.DictField(required=False)

    class Meta:
        model = Model
        fields = (
            "name",
            "enabled",
            "strategy",
            "fallbacks",
            "defaults",
            *OWNERSHIP,
        )
        read_only_fields = OWNERSHIP

    @override
    def validate(self, attrs: Any) -> Any:
        """Refuse fallbacks to the model itself, and new ones to models unknown."""
        row = self.instance
        stored = row.fallbacks if isinstance(row, Model) else []
        fallbacks = attrs.get("fallbacks", stored)
        name = attrs.get("name") or (row.name if isinstance(row, Model) else "")
        check_fallbacks(name, fallbacks, are_new=fallbacks != stored)
        return attrs


class DeploymentSerializer(RowSerializer[Deployment]):
    """One upstream model at one provider."""

    model = NameOfField(slug_field="name", queryset=Model.objects.all())
    provider = NameOfField(slug_field="name", queryset=Provider.objects.all())
    capabilities = serializers.DictField(required=False)
    options = serializers.DictField(required=False)

    class Meta:
        model = Deployment
        fields = (
            "id",
            *DeploymentKind.columns,
            *OWNERSHIP,
        )
        read_only_fields = ("id", *OWNERSHIP)
        validators: list[object] = []  # the row itself says what is unique


class StrategySerializer(RowSerializer[RoutingStrategy]):
    """An algorithm with its parameters."""

    class Meta:
        model = RoutingStrategy
        fields = (*StrategyKind.columns, "created_at", "updated_at")
        read_only_fields = ("created_at", "updated_at")
