"""Who may ask: tenants, their virtual keys, and the pepper that keys are stored under."""

from __future__ import annotations

from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from typing_extensions import override

from gateway.fields import CollectionField, EncryptedTextField
from gateway.kinds import Right
from gateway.models.configuration import Row
from gateway.models.validators import validate_name, validate_names, validate_rights

ANONYMOUS = "anonymous"  # whoever is served without a key
DEFAULT_TENANT = "default"
DEFAULT_RIGHTS = (Right.CHAT, Right.EMBEDDINGS, Right.MEMORY)


def default_rights() -> list[str]:
    """Give the rights of a new key: no management, no documents."""
    return [right.value for right in DEFAULT_RIGHTS]


class Tenant(models.Model):
    """A customer, team or application: what keys, sessions and collections belong to."""

    name = models.CharField(
        max_length=100,
        unique=True,
        validators=[validate_name],
        help_text="Shown in the ledger, reports and logs.",
    )
    enabled = models.BooleanField(
        default=True, help_text="Off: none of its keys opens the door."
    )
    # `loaddata` saves rows as they stand: what it leaves out must come from the database.
    created_at = models.DateTimeField(auto_now_add=True, db_default=Now())
    updated_at = models.DateTimeField(auto_now=True, db_default=Now())

    class Meta:
        ordering = ["name"]
        constraints = [
            models.CheckConstraint(condition=~Q(name=""), name="tenant_name_given")
        ]

    @override
    def __str__(self) -> str:
        return self.name

    @property
    def is_anonymous(self) -> bool:
        """Say whether this is the tenant of those who need no key."""
        return self.name == ANONYMOUS


class KeyPepper(models.Model):
    """One row: the secret under which keys are digested, encrypted like a credential.

    In the database, so that all replicas know it; encrypted, so that a copy of the
    database alone is of no use for guessing keys.
    """

    id = models.PositiveSmallIntegerField(primary_key=True, default=1)
    secret = EncryptedTextField()

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(id=1), name="key_pepper_single_row")
        ]

    @override
    def __str__(self) -> str:
        return "pepper of the virtual keys"


class ApiKey(Row):
    """A virtual key; its secret is shown once and only a digest of it is kept."""

    public_id = models.CharField(
        max_length=32,
        unique=True,
        editable=False,
        help_text="The part of the key that may be shown: in the ledger, logs and "
        "reports.",
    )
    name = models.CharField(
        max_length=100,
        validators=[validate_name],
        help_text="What the key is for.",
    )
    tenant = models.ForeignKey(
        Tenant,
        on_delete=models.PROTECT,
        related_name="api_keys",
        help_text="Whose key it is.",
    )
    digest = models.CharField(max_length=64, unique=True, editable=False)
    previous_digest = models.CharField(
        max_length=64, blank=True, default="", editable=False
    )
    previous_until = models.DateTimeField(
        null=True,
        blank=True,
        editable=False,
        help_text="Until when the secret before the last rotation still works.",
    )
    rights = CollectionField(
        default=default_rights,
        blank=True,
        validators=[validate_rights],
        help_text="What it may do: a list of chat, embeddings, memory, documents, "
        "management_read, management_write.",
    )
    allowed_models = CollectionField(
        default=list,
        blank=True,
        validators=[validate_names],
        help_text='Names of the models it may ask for: ["name"]. Empty: all.',
    )
    allowed_collections = CollectionField(
        default=list,
        blank=True,
        validators=[validate_names],
        help_text='Names of the collections it may use: ["name"]. Empty: all of its '
        "tenant.",
    )
    expires_at = models.DateTimeField(
        null=True, blank=True, help_text="When it stops working. Empty: never."
    )

    class Meta:
        verbose_name = "API key"
        ordering = ["tenant__name", "name", "id"]
        constraints = [
            models.CheckConstraint(condition=~Q(name=""), name="api_key_name_given"),
            models.CheckConstraint(
                condition=~Q(digest="") & ~Q(public_id=""), name="api_key_digest_given"
            ),
            models.CheckConstraint(
                condition=Q(previous_digest="") | Q(previous_until__isnull=False),
                name="api_key_previous_ends",
            ),
        ]

    @override
    def __str__(self) -> str:
        return f"{self.name} ({self.public_id})"

    @override
    def clean(self) -> None:
        """Keep the anonymous tenant for those who have no key."""
        super().clean()
        # A form leaves None where a field of its own was at fault.
        owner: int | None = self.tenant_id
        if owner is not None and self.tenant.is_anonymous:
            raise ValidationError(
                {"tenant": "The anonymous tenant is for requests without a key."}
            )


class ApiKeyUse(models.Model):
    """When a key was last used; apart, because every change of a key is followed."""

    api_key = models.OneToOneField(
        ApiKey, on_delete=models.CASCADE, primary_key=True, related_name="use"
    )
    last_used_at = models.DateTimeField()

    class Meta:
        ordering = ["-last_used_at"]

    @override
    def __str__(self) -> str:
        return f"{self.api_key_id} last used {self.last_used_at:%Y-%m-%d %H:%M}"
