"""Model fields of ours: text that is encrypted at rest, JSON that is never null."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import models
from django.db.models.query_utils import DeferredAttribute
from typing_extensions import override

from gateway.crypto import MARK, Secret

if TYPE_CHECKING:
    JSONField = models.JSONField[Any, Any]
    TextField = models.TextField[Any, Any]
else:  # Django's own classes take no parameters
    JSONField = models.JSONField
    TextField = models.TextField


def as_secret(value: object) -> Secret:
    """Wrap what was assigned: plain text, stored ciphertext, or a secret already."""
    if isinstance(value, Secret):
        return value
    text = "" if value is None else str(value)
    if text.startswith(MARK):
        return Secret(ciphertext=text)
    return Secret(plain=text)


class CollectionField(JSONField):
    """A JSON object or list that is never null: an empty form field is the default."""

    # Django skips the validators of empty values: `[]` would pass for an object.
    empty_values = ()

    @override
    def save_form_data(self, instance: models.Model, data: Any) -> None:
        """Take what a form gives."""
        given = self.get_default() if data is None else data
        super().save_form_data(instance, given)


class SecretAttribute(DeferredAttribute):
    """Wraps what is assigned at once, so that no instance carries bare plain text."""

    def __set__(self, instance: models.Model, value: object) -> None:
        """Assign plain text, ciphertext or a secret."""
        instance.__dict__[self.field.attname] = as_secret(value)


class EncryptedTextField(TextField):
    """A text stored as Fernet ciphertext; in Python it is a `Secret`.

    Assign plain text. Reading needs `secret.reveal(keys)`, which fails closed. Exports
    (`dumpdata`) hold ciphertext, which `loaddata` takes back as it is.
    """

    descriptor_class = SecretAttribute
    if TYPE_CHECKING:
        _pyi_private_set_type: Secret | str  # type: ignore[assignment]  # wider
        _pyi_private_get_type: Secret  # type: ignore[assignment]  # not a text

    def from_db_value(self, value: str | None, *_: object) -> Secret:
        """Wrap the stored ciphertext without opening it."""
        return Secret(ciphertext=value or "")

    @override
    def to_python(self, value: object) -> Secret:
        """Wrap what a form or a fixture gives."""
        return as_secret(value)

    @override
    def get_prep_value(self, value: object) -> str:
        """Encrypt on the way to the database."""
        return as_secret(value).stored(settings.AILB_ENCRYPTION_KEYS)

    @override
    def value_to_string(self, obj: models.Model) -> str:
        """Export ciphertext, never the secret."""
        return self.get_prep_value(self.value_from_object(obj))

    @override
    def get_lookup(self, lookup_name: str) -> Any:
        """Refuse to filter by content: equal secrets have different ciphertexts."""
        if lookup_name in {"isnull", "exact", "in"}:
            return super().get_lookup(lookup_name)
        return None

    @override
    def validate(self, value: Any, model_instance: models.Model | None) -> None:
        """Check blankness on the secret itself."""
        if not value and not self.blank:
            raise ValidationError(self.error_messages["blank"], code="blank")

    @override
    def run_validators(self, value: Any) -> None:
        """Run none: they would see the secret."""
