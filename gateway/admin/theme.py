"""The admin's theme, chosen in one place; no other module imports it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from django.db import models

BANNERS = "gateway/banners.html"
View = TypeVar("View", bound=Callable[..., Any])

if TYPE_CHECKING:
    # Plain Django's classes have the types; importing them at run time is the fallback.
    from django.contrib.admin import ModelAdmin, TabularInline
    from django.contrib.admin.views.main import ChangeList
    from django.contrib.auth.forms import (
        AdminPasswordChangeForm,
        AdminUserCreationForm as UserCreationForm,
        UserChangeForm,
    )
    from django.forms import (
        CheckboxInput as Switch,
        CheckboxSelectMultiple as Checkboxes,
        NumberInput,
        PasswordInput,
        RadioSelect,
        Select,
        TextInput,
    )

    def action(view: View, **_: Any) -> View:
        """Stand for the theme's own."""
        return view
else:
    from unfold.admin import ModelAdmin as Page, TabularInline as Table
    from unfold.decorators import action
    from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm
    from unfold.views import ChangeList
    from unfold.widgets import (
        UnfoldAdminCheckboxSelectMultipleWidget as Checkboxes,
        UnfoldAdminDecimalFieldWidget as NumberInput,
        UnfoldAdminPasswordWidget as PasswordInput,
        UnfoldAdminRadioSelectWidget as RadioSelect,
        UnfoldAdminSelectWidget as Select,
        UnfoldAdminTextareaWidget as TextArea,
        UnfoldAdminTextInputWidget as TextInput,
        UnfoldBooleanSwitchWidget as Switch,
    )

    class ModelAdmin(Page):
        """Takes the parameter that the type checker wants; JSON in small inputs.

        Banners stand above all its pages.
        """

        formfield_overrides = {
            models.JSONField: {"widget": TextArea(attrs={"rows": 3})},
        }
        list_before_template = BANNERS
        change_form_outer_before_template = BANNERS
        delete_confirmation_template = "gateway/delete_confirmation.html"
        delete_selected_confirmation_template = (
            "gateway/delete_selected_confirmation.html"
        )
        object_history_template = "gateway/object_history.html"

        def __class_getitem__(cls, _: Any) -> type:
            """Ignore the parameter."""
            return cls

    class TabularInline(Table):
        """Takes the parameters that the type checker wants."""

        def __class_getitem__(cls, _: Any) -> type:
            """Ignore the parameters."""
            return cls


__all__ = [
    "BANNERS",
    "AdminPasswordChangeForm",
    "ChangeList",
    "Checkboxes",
    "ModelAdmin",
    "NumberInput",
    "PasswordInput",
    "RadioSelect",
    "Select",
    "Switch",
    "TabularInline",
    "TextInput",
    "UserChangeForm",
    "UserCreationForm",
    "badge",
    "page_button",
]

Column = TypeVar("Column", bound=Callable[..., Any])


def badge(description: str, colours: dict[str, str]) -> Callable[[Column], Column]:
    """Show a list column as a coloured badge; a theme without badges shows its text."""

    def decorate(column: Column) -> Column:
        column.short_description = description  # type: ignore[attr-defined]  # Django's way
        column.label = colours  # type: ignore[attr-defined]  # the theme's way
        return column

    return decorate


def page_button(
    description: str, *, icon: str, permission: str
) -> Callable[[View], View]:
    """Make a view of one row, to be named in `actions_detail`: a button on its page.

    Its URL is the row's with the view's name behind. `permission` is the middle of the
    method that says who may use it: has_..._permission.
    """

    def decorate(view: View) -> View:
        return action(
            view, description=description, icon=icon, permissions=[permission]
        )

    return decorate
