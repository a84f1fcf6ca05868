"""Forms of API keys: what a key may do, and its rotation."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django import forms
from django.conf import settings
from django.core.exceptions import ValidationError
from django.utils import timezone
from typing_extensions import override

from gateway.admin.forms import NamesField, RowForm
from gateway.admin.theme import Checkboxes, RadioSelect
from gateway.crypto import SecretUnreadable
from gateway.keyring import DEFAULT_OVERLAP
from gateway.kinds import Right
from gateway.models import ApiKey, KeyPepper
from gateway.models.access import ANONYMOUS, default_rights
from gateway.operations import unknown_models

RIGHT_LABELS = {
    Right.CHAT: "chat: ask models for answers",
    Right.EMBEDDINGS: "embeddings: ask models for vectors",
    Right.MEMORY: "memory: read and delete its tenant's conversations",
    Right.DOCUMENTS: "documents: fill and search collections",
    Right.MANAGEMENT_READ: "management_read: read the configuration and all usage",
    Right.MANAGEMENT_WRITE: "management_write: change the configuration, make keys",
}
UNREADABLE = (
    "No key can be made: AILB_ENCRYPTION_KEYS cannot open the secret that keys are stored "
    "under. Give the encryption key that was in use when the first API key was made."
)
OWN_TENANT = (
    "Whose key it is. Empty: a tenant of its own, named like the key. Keys of one tenant "
    "share its sessions, collections, limits and budgets."
)
OVERLAPS_S = (
    (0, "Stop the former key at once"),
    (3600, "Let the former key work for 1 hour more"),
    (86_400, "Let the former key work for 1 day more"),
    (604_800, "Let the former key work for 7 days more"),
)


def is_readable(pepper: KeyPepper | None) -> bool:
    """Say whether keys can be digested: the first one makes the pepper."""
    try:
        if pepper is not None:
            pepper.secret.reveal(settings.AILB_ENCRYPTION_KEYS)
    except SecretUnreadable:
        return False
    return True


class ApiKeyForm(RowForm[ApiKey]):
    """What a key is called and may do; its secret is none of the form's."""

    rights = forms.MultipleChoiceField(
        choices=[(right.value, RIGHT_LABELS[right]) for right in Right],
        widget=Checkboxes(),
        required=False,
        initial=default_rights,
        help_text="What it may do; nothing else.",
    )
    allowed_models = NamesField(
        label="Models",
        help_text="Names of the models it may ask for, with commas between. Empty: all.",
    )
    allowed_collections = NamesField(
        label="Collections",
        help_text="Names of the collections it may use, with commas between. Empty: all "
        "of its tenant.",
    )

    class Meta:
        model = ApiKey
        fields = "__all__"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Offer no tenant that cannot have keys; a new key may leave it out."""
        super().__init__(*args, **kwargs)
        tenant: Any = self.fields.get("tenant")
        if tenant is None:
            return
        tenant.queryset = tenant.queryset.exclude(name=ANONYMOUS)
        if not self.instance.pk:
            tenant.required = False
            tenant.help_text = OWN_TENANT

    def clean_allowed_models(self) -> list[str]:
        """Refuse new names that no model bears."""
        names: list[str] = self.cleaned_data["allowed_models"]
        if "allowed_models" in self.changed_data and (unknown := unknown_models(names)):
            raise ValidationError(f"No model is called {', '.join(unknown)}.")
        return names

    def clean_expires_at(self) -> Any:
        """Refuse a new end that has passed."""
        ends = self.cleaned_data["expires_at"]
        if ends and "expires_at" in self.changed_data and ends <= timezone.now():
            raise ValidationError("This moment has passed.")
        return ends

    @override
    def clean(self) -> dict[str, Any]:
        """Refuse a new key that could not be stored."""
        data = super().clean() or self.cleaned_data
        if not self.instance.pk and not is_readable(KeyPepper.objects.first()):
            raise ValidationError(UNREADABLE)
        return data


class RotationForm(forms.Form):
    """How long the former key goes on working."""

    overlap_s = forms.TypedChoiceField(
        label="The former key",
        choices=OVERLAPS_S,
        coerce=int,
        initial=int(DEFAULT_OVERLAP.total_seconds()),
        widget=RadioSelect(),
    )

    @property
    def overlap(self) -> timedelta:
        """Give what was chosen, once it is valid."""
        return timedelta(seconds=self.cleaned_data["overlap_s"])
