"""The admin's theme, chosen in one place, which the apps above build on.

What only one app needs is in a module of its own there; no other imports the theme.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.db import models

# A template of the app above, by name like its rows: banners stand on every page.
BANNERS = "gateway/banners.html"

if TYPE_CHECKING:
    # Plain Django's classes have the types; importing them at run time is the fallback.
    from collections.abc import Callable
    from typing import TypeVar

    from django.contrib.admin import ModelAdmin
    from django.contrib.admin.views.main import ChangeList
    from django.forms import (
        ModelForm as RowForm,
        NumberInput,
        Select,
        Textarea as TextArea,
        TextInput,
    )

    View = TypeVar("View", bound=Callable[..., Any])

    def action(**_: Any) -> Callable[[View], View]:
        """Stand for the theme's own, whose type is unknown."""

    def display(**_: Any) -> Callable[[View], View]:
        """Stand for the theme's own, whose type is unknown."""
else:
    from django.forms import ModelForm
    from unfold.admin import ModelAdmin as Page
    from unfold.decorators import action, display
    from unfold.views import ChangeList
    from unfold.widgets import (
        UnfoldAdminIntegerFieldWidget as NumberInput,
        UnfoldAdminSelectWidget as Select,
        UnfoldAdminTextareaWidget as TextArea,
        UnfoldAdminTextInputWidget as TextInput,
    )

    class ModelAdmin(Page):
        """Takes the parameter that the type checker wants; JSON in small inputs.

        Banners stand above all its pages.
        """

        formfield_overrides = {
            models.JSONField: {"widget": TextArea(attrs={"rows": 3})},
        }
        list_per_page = 50  # rows are dear to draw
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

    class RowForm(ModelForm):
        """Takes the parameter that the type checker wants."""

        def __class_getitem__(cls, _: Any) -> type:
            """Ignore the parameter."""
            return cls


__all__ = [
    "BANNERS",
    "ChangeList",
    "ModelAdmin",
    "NumberInput",
    "RowForm",
    "Select",
    "TextArea",
    "TextInput",
    "action",
    "display",
]
