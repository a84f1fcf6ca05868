"""The admin's theme, chosen in one place; nothing else imports it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from django.db import models

if TYPE_CHECKING:
    # Plain Django's classes have the types; importing them at run time is the fallback.
    from django.contrib.admin import ModelAdmin, TabularInline
    from django.contrib.auth.forms import (
        AdminPasswordChangeForm,
        AdminUserCreationForm as UserCreationForm,
        UserChangeForm,
    )
    from django.forms import (
        CheckboxInput as Switch,
        PasswordInput,
        TextInput,
    )
else:
    from unfold.admin import ModelAdmin as Page, TabularInline as Table
    from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm
    from unfold.widgets import (
        UnfoldAdminPasswordWidget as PasswordInput,
        UnfoldAdminTextareaWidget as TextArea,
        UnfoldAdminTextInputWidget as TextInput,
        UnfoldBooleanSwitchWidget as Switch,
    )

    class ModelAdmin(Page):
        """Takes the parameter that the type checker wants; JSON in small inputs."""

        formfield_overrides = {
            models.JSONField: {"widget": TextArea(attrs={"rows": 3})},
        }

        def __class_getitem__(cls, _: Any) -> type:
            """Ignore the parameter."""
            return cls

    class TabularInline(Table):
        """Takes the parameters that the type checker wants."""

        def __class_getitem__(cls, _: Any) -> type:
            """Ignore the parameters."""
            return cls


__all__ = [
    "AdminPasswordChangeForm",
    "ModelAdmin",
    "PasswordInput",
    "Switch",
    "TabularInline",
    "TextInput",
    "UserChangeForm",
    "UserCreationForm",
    "badge",
]

Column = TypeVar("Column", bound=Callable[..., Any])


def badge(description: str, colours: dict[str, str]) -> Callable[[Column], Column]:
    """Show a list column as a coloured badge; a theme without badges shows its text."""

    def decorate(column: Column) -> Column:
        column.short_description = description  # type: ignore[attr-defined]  # Django's way
        column.label = colours  # type: ignore[attr-defined]  # the theme's way
        return column

    return decorate
