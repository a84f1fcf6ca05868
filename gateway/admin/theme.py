"""The admin's theme for these pages: that of all pages, and what only these need."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from rag.admin.theme import ChangeList, ModelAdmin, Select, TextInput

View = TypeVar("View", bound=Callable[..., Any])

if TYPE_CHECKING:
    # Plain Django's classes have the types; importing them at run time is the fallback.
    from django.contrib.admin import TabularInline
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
    )

    def action(view: View, **_: Any) -> View:
        """Stand for the theme's own."""
        return view
else:
    from unfold.admin import TabularInline as Table
    from unfold.decorators import action
    from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm
    from unfold.widgets import (
        UnfoldAdminCheckboxSelectMultipleWidget as Checkboxes,
        UnfoldAdminDecimalFieldWidget as NumberInput,
        UnfoldAdminPasswordWidget as PasswordInput,
        UnfoldAdminRadioSelectWidget as RadioSelect,
        UnfoldBooleanSwitchWidget as Switch,
    )

    class TabularInline(Table):
        """Takes the parameters that the type checker wants."""

        def __class_getitem__(cls, _: Any) -> type:
            """Ignore the parameters."""
            return cls


__all__ = [
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
    """Make a view a button: of one row in `actions_detail`, of the list in `actions_list`.

    Its URL is that of the page with the view's name behind. `permission` is the middle of the
    method that says who may use it: has_..._permission.
    """

    def decorate(view: View) -> View:
        return action(
            view, description=description, icon=icon, permissions=[permission]
        )

    return decorate
