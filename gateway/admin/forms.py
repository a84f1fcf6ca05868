"""Forms of the admin: write-only credentials, lists of names."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from django import forms
from django.core.exceptions import ValidationError
from typing_extensions import override

from gateway.admin.theme import PasswordInput, Switch, TextInput
from gateway.crypto import Secret
from gateway.models import Model, Provider
from gateway.models.validators import (
    validate_ca_file,
    validate_credential,
    validate_names,
)
from gateway.operations import check_fallbacks, is_sent_elsewhere

if TYPE_CHECKING:
    RowForm = forms.ModelForm
else:

    class RowForm(forms.ModelForm):
        """Takes the parameter that the type checker wants."""

        def __class_getitem__(cls, _: Any) -> type:
            """Ignore the parameter."""
            return cls


class CredentialField(forms.CharField):
    """A secret that can be entered, but is never rendered."""

    def __init__(self, **kwargs: Any) -> None:
        """Show an input that hides what is typed."""
        widget = PasswordInput(attrs={"autocomplete": "new-password"})
        super().__init__(required=False, max_length=4000, widget=widget, **kwargs)

    @override
    def clean(self, value: object) -> Secret:
        """Take what was typed, as it was typed."""
        text = super().clean(value)
        validate_credential(text)
        return Secret(plain=text)

    @override
    def has_changed(self, initial: object, data: object) -> bool:
        """Nothing typed is no change: the stored secret is kept."""
        return bool(data)


class NamesField(forms.CharField):
    """A list of names, written with commas or as a JSON list."""

    def __init__(self, **kwargs: Any) -> None:
        """Show a line of text."""
        super().__init__(required=False, widget=TextInput(), **kwargs)

    @override
    def prepare_value(self, value: Any) -> Any:
        """Write a list as text; what was typed comes back as it was."""
        return ", ".join(value) if isinstance(value, list) else value

    @override
    def clean(self, value: Any) -> list[str]:
        """Read the list."""
        text = value if isinstance(value, str) else self.prepare_value(value or [])
        names = self.names_in(text.strip())
        validate_names(names)
        return names

    @staticmethod
    def names_in(text: str) -> list[str]:
        """Split at commas, or read the JSON list."""
        if not text.startswith("["):
            return [name.strip() for name in text.split(",") if name.strip()]
        try:
            names: list[str] = json.loads(text)
        except ValueError as error:
            raise ValidationError("Write names separated by commas.") from error
        return names

    @override
    def has_changed(self, initial: Any, data: Any) -> bool:
        """Compare the lists, not their spelling."""
        try:
            return self.clean(data) != (initial or [])
        except ValidationError:
            return True


class ProviderForm(RowForm[Provider]):
    """A provider; its credential goes in and never comes out."""

    credential = CredentialField(
        label="Credential",
        help_text="The vendor's API key. Stored encrypted, never shown again. Empty: "
        "the stored one is kept.",
    )
    remove_credential = forms.BooleanField(
        label="Remove credential",
        required=False,
        widget=Switch(),
        help_text="Delete the stored credential.",
    )

    class Meta:
        model = Provider
        fields = "__all__"  # noqa: DJ007 - the admin chooses by its fieldsets

    def clean_credential(self) -> Secret:
        """Keep the stored credential unless another was typed."""
        given: Secret = self.cleaned_data["credential"]
        return given or self.initial.get("credential") or Secret(plain="")

    def clean_ca_file(self) -> str:
        """Refuse a file that connections could not be checked with."""
        path: str = self.cleaned_data["ca_file"]
        validate_ca_file(path)
        return path

    @override
    def clean(self) -> dict[str, Any]:
        """Remove the credential if asked to; never send a kept one to another host."""
        data = super().clean() or self.cleaned_data
        is_typed = "credential" in self.changed_data
        if data.get("remove_credential"):
            if is_typed:
                self.add_error("credential", "Enter a new one or remove it: not both.")
            data["credential"] = Secret(plain="")
        elif not is_typed and is_sent_elsewhere(
            self.initial.get("credential"),
            before=self.initial.get("base_url"),
            after=data.get("base_url"),
        ):
            self.add_error(
                "credential",
                "Enter the credential again: the address now names another server, "
                "and the stored credential is not sent there unasked.",
            )
        return data


class ModelForm(RowForm[Model]):
    """A model; its fallbacks are written as names with commas."""

    fallbacks = NamesField(
        label="Fallbacks",
        help_text="Models tried in this order when no deployment is left, with commas "
        "between: claude-3-opus-20240229, llama3.",
    )

    class Meta:
        model = Model
        fields = "__all__"  # noqa: DJ007 - the admin chooses by its fieldsets

    @override
    def clean(self) -> dict[str, Any]:
        """Refuse fallbacks to the model itself, and new ones to models unknown."""
        data = super().clean() or self.cleaned_data
        try:
            check_fallbacks(
                data.get("name") or "",
                data.get("fallbacks") or [],
                are_new="fallbacks" in self.changed_data,
            )
        except ValidationError as error:
            self.add_error(None, error)
        return data
