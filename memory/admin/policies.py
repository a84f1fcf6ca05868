"""The pages of memory policies: one form, for everybody, a model or a key."""

from __future__ import annotations

from typing import Any

from django.apps import apps
from django.contrib import admin
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.http import HttpRequest
from typing_extensions import override

from memory.admin.theme import ModelAdmin, RowForm, Select, display
from memory.config import Policy
from memory.models import MemoryPolicy
from memory.stored_policies import stored_policies

NUMBERS = ("max_tokens", "recent_turns", "recall_turns", "ttl_days")
SWITCHES = ("is_enabled", "is_required")
EVERYBODY = "everybody"
COLOURS = {EVERYBODY: "info", "model": "success", "API key": "warning"}
ONE_TARGET = "A model or an API key, not both."
THERE_ALREADY = (
    "Everybody has a policy already: change that one, or name a model or key."
)
NO_MODEL = "AILB has no model of this name."
DEFAULT = "default"
HELP = {
    **dict.fromkeys(("model", "api_key"), "A model or an API key; neither: everybody."),
    "max_tokens": "Most tokens that are added to a request.",
    "recent_turns": "Newest turns that are given back verbatim.",
    "recall_turns": "Older turns that are recalled for a question.",
    "ttl_days": "Days from a session's last use to its end.",
}


def inherited_by(row: MemoryPolicy) -> Policy:
    """Give what holds where a policy says nothing: everybody's word, or AILB's own.

    A key's policy stands over that of whatever model is asked for, which no page knows.
    """
    others = MemoryPolicy.objects.exclude(pk=row.pk).filter(model=None, api_key=None)
    return stored_policies(others).policies.everybody.over(Policy())


def written(value: bool | int | str) -> str:
    """Write what a policy says."""
    if isinstance(value, bool):
        return "on" if value else "off"
    return f"{value:,}" if isinstance(value, int) else value or "none"


def switch(*, default: bool) -> Select:
    """Make a choice of on, off and nothing said; `default` is what holds then."""
    unsaid = f"{DEFAULT}: {written(default)}"
    return Select(choices=[("", unsaid), ("True", "on"), ("False", "off")])


class PolicyForm(RowForm[MemoryPolicy]):
    """A policy; empty fields show what holds then."""

    class Meta:
        model = MemoryPolicy
        fields = "__all__"
        help_texts = HELP  # without the defaults: the empty fields show them
        labels = {"ttl_days": "Days kept"}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Write what holds by default into the empty fields."""
        super().__init__(*args, **kwargs)
        inherited = inherited_by(self.instance)
        for name in SWITCHES:
            if name in self.fields:
                self.fields[name].widget = switch(default=getattr(inherited, name))
        for name in (*NUMBERS, "summary_model"):
            if name in self.fields:
                said = written(getattr(inherited, name))
                self.fields[name].widget.attrs["placeholder"] = said

    def clean_summary_model(self) -> str:
        """Refuse a model that is not there."""
        name: str = self.cleaned_data["summary_model"]
        is_new = "summary_model" in self.changed_data and name
        models: Any = apps.get_model("gateway.Model")
        if is_new and not models.objects.filter(name=name).exists():
            raise ValidationError(NO_MODEL)
        return name

    @override
    def clean(self) -> dict[str, Any]:
        """Refuse two targets, and a second policy for everybody."""
        data = super().clean() or self.cleaned_data
        targets = [data.get(name) for name in ("model", "api_key")]
        if all(targets):
            self.add_error("api_key", ONE_TARGET)
        elif not any(targets) and not {"model", "api_key"} & set(self.errors):
            others = MemoryPolicy.objects.filter(model=None, api_key=None)
            if others.exclude(pk=self.instance.pk).exists():
                self.add_error(None, THERE_ALREADY)
        return data


@admin.register(MemoryPolicy)
class PolicyPages(ModelAdmin[MemoryPolicy]):
    """How sessions are remembered: a key's word over a model's over everybody's."""

    form = PolicyForm
    list_display = (
        "whom",
        "kind",
        "remember",
        "required",
        "tokens",
        "recent",
        "recalled",
        "ttl",
        "summaries",
    )
    search_fields = ("model__name", "api_key__name", "api_key__public_id")
    autocomplete_fields = ("model", "api_key")
    fieldsets = (
        ("For whom", {"fields": ("model", "api_key")}),
        ("Remembering", {"fields": ("is_enabled", "is_required", "ttl_days")}),
        (
            "What is added to a request",
            {"fields": ("max_tokens", "recent_turns", "recall_turns")},
        ),
        ("Summary", {"fields": ("summary_model",)}),
    )

    @override
    def get_queryset(self, request: HttpRequest) -> QuerySet[MemoryPolicy]:
        """Read the targets with the rows, on every page: they are in the title."""
        return super().get_queryset(request).select_related("model", "api_key")

    @admin.display(description="For")
    def whom(self, row: MemoryPolicy) -> str:
        """Name whom it is for."""
        return str(row)

    @display(description="Kind", label=COLOURS)
    def kind(self, row: MemoryPolicy) -> str:
        """Say what it is for, in a word of `COLOURS`."""
        if row.model is not None:
            return "model"
        return EVERYBODY if row.api_key is None else "API key"

    @admin.display(description="Remember")
    def remember(self, row: MemoryPolicy) -> str:
        """Say whether sessions are kept."""
        return said(row.is_enabled)

    @admin.display(description="Required")
    def required(self, row: MemoryPolicy) -> str:
        """Say whether a request fails without its memory."""
        return said(row.is_required)

    @admin.display(description="Tokens")
    def tokens(self, row: MemoryPolicy) -> str:
        """Write how much is added at most."""
        return said(row.max_tokens)

    @admin.display(description="Recent")
    def recent(self, row: MemoryPolicy) -> str:
        """Write how many turns come back verbatim."""
        return said(row.recent_turns)

    @admin.display(description="Recalled")
    def recalled(self, row: MemoryPolicy) -> str:
        """Write how many older turns are recalled."""
        return said(row.recall_turns)

    @admin.display(description="Days")
    def ttl(self, row: MemoryPolicy) -> str:
        """Write how long a session is kept after its last use."""
        return said(row.ttl_days)

    @admin.display(description="Summaries by")
    def summaries(self, row: MemoryPolicy) -> str:
        """Name the model for summaries."""
        return said(row.summary_model or None)


def said(value: bool | int | str | None) -> str:
    """Write what a policy says, or that it says nothing."""
    return DEFAULT if value is None else written(value)
