"""The pages of API keys."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import ObjectDoesNotExist
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.formats import date_format
from typing_extensions import override

from gateway.admin.key_forms import ApiKeyForm
from gateway.admin.key_pages import new_key_page, rotation_page
from gateway.admin.ownership import OWNERS, WITHDRAWN
from gateway.admin.quotas import MOMENT, BudgetTable, LimitTable
from gateway.admin.theme import ModelAdmin, badge, page_button
from gateway.keyring import create_key
from gateway.kinds import Source
from gateway.models import ApiKey

COLOURS = {
    "active": "success",
    "rotating": "info",
    "expired": "danger",
    "disabled": "warning",
    "tenant disabled": "warning",
    "withdrawn": "warning",
}
NAMES_IN_LIST = 3
ENVIRONMENT_OWNS_IT = (
    "It is what AILB_API_KEY says: it cannot be rotated or deleted here. Change the "
    "variable and start AILB anew; without the variable the key is withdrawn."
)
SHOWN_ONCE = (
    "Shown once, when it was made; AILB keeps only a digest of it. If it is lost or has "
    "leaked, rotate it."
)


@admin.register(ApiKey)
class ApiKeyPages(ModelAdmin[ApiKey]):
    """Keys, what they may do, and when they were last used; never their secrets."""

    form = ApiKeyForm
    list_display = (
        "name",
        "public_id",
        "tenant",
        "right_names",
        "model_names",
        "state",
        "expires",
        "last_used",
    )
    list_display_links = ("name", "public_id")
    list_filter = ("tenant", "enabled", "source")
    search_fields = ("name", "public_id")
    autocomplete_fields = ("tenant",)
    readonly_fields = (
        "public_id",
        "secret",
        "state",
        "origin",
        "created_at",
        "last_used",
        "former_secret",
    )
    actions = ("rotate_selected",)
    actions_detail = ("rotate",)
    fieldsets = (
        (None, {"fields": ("name", "tenant", "enabled", "state", "origin")}),
        ("Secret", {"fields": ("public_id", "secret", "former_secret")}),
        (
            "Rights",
            {"fields": ("rights", "allowed_models", "allowed_collections")},
        ),
        ("Life", {"fields": ("expires_at", "created_at", "last_used")}),
    )
    add_fieldsets = (
        (None, {"fields": ("name", "tenant", "expires_at")}),
        (
            "Rights",
            {"fields": ("rights", "allowed_models", "allowed_collections")},
        ),
    )

    @override
    def get_fieldsets(self, request: HttpRequest, obj: ApiKey | None = None) -> Any:
        """Leave out what a new key does not have yet."""
        return self.add_fieldsets if obj is None else self.fieldsets

    @override
    def get_inlines(self, request: HttpRequest, obj: ApiKey | None) -> Any:
        """Give limits and budgets to keys that are there already."""
        if obj is None:
            return ()
        return (LimitTable, BudgetTable)

    @override
    def get_queryset(self, request: HttpRequest) -> QuerySet[ApiKey]:
        """Read tenant and last use with the rows, on every page."""
        return super().get_queryset(request).select_related("tenant", "use")

    @override
    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        """Offer one button: whichever it was, the page with the key comes next."""
        hidden = {"show_save_and_add_another": False, "show_save_and_continue": False}
        return super().add_view(request, form_url, {**(extra_context or {}), **hidden})

    @override
    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Say no for the environment's key, until its variable is gone."""
        is_kept = isinstance(obj, ApiKey) and is_environments(obj)
        return not is_kept and super().has_delete_permission(request, obj)

    def has_rotate_permission(self, request: HttpRequest, row_id: Any = None) -> bool:
        """Say whether a key, or any key, may get a new secret here."""
        if not self.has_change_permission(request):
            return False
        others = ApiKey.objects.filter(pk=row_id, source=Source.ENVIRONMENT)
        return row_id is None or not others.exists()

    @override
    def save_model(
        self, request: HttpRequest, obj: ApiKey, form: Any, change: bool
    ) -> None:
        """Make a new key; its secret waits on the row for `response_add` alone."""
        if change:
            super().save_model(request, obj, form, change)
            return
        row, key = create_key(
            name=obj.name,
            tenant=obj.tenant if obj.tenant_id else None,
            rights=obj.rights,
            allowed_models=obj.allowed_models,
            allowed_collections=obj.allowed_collections,
            expires_at=obj.expires_at,
        )
        obj.pk = row.pk
        obj.refresh_from_db()
        obj.new_key = key  # type: ignore[attr-defined]  # never stored

    @override
    def response_add(
        self, request: HttpRequest, obj: Any, post_url_continue: str | None = None
    ) -> HttpResponse:
        """Show the new key in this very answer: nothing else will ever hold it."""
        return new_key_page(self, request, [(obj, obj.new_key)])

    @page_button("Rotate", icon="autorenew", permission="rotate")
    def rotate(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Give one key a new secret."""
        rows = self.get_queryset(request).filter(pk=object_id)
        return rotation_page(self, request, list(rows))

    @admin.action(description="Rotate", permissions=["rotate"])
    def rotate_selected(
        self, request: HttpRequest, queryset: QuerySet[ApiKey]
    ) -> HttpResponse | None:
        """Give the selected keys new secrets."""
        rows = [row for row in queryset if row.source != Source.ENVIRONMENT]
        if len(rows) < len(queryset):
            self.message_user(request, ENVIRONMENT_OWNS_IT, messages.WARNING)
        return rotation_page(self, request, rows) if rows else None

    @admin.display(description="Rights")
    def right_names(self, row: ApiKey) -> str:
        """Write what it may do."""
        return ", ".join(row.rights) or "none"

    @admin.display(description="Models")
    def model_names(self, row: ApiKey) -> str:
        """Write the first of the models it may ask for."""
        names = row.allowed_models
        more = ", …" if len(names) > NAMES_IN_LIST else ""
        return ", ".join(names[:NAMES_IN_LIST]) + more if names else "all"

    @badge("State", COLOURS)
    def state(self, row: ApiKey) -> str:
        """Say in a word of `COLOURS` whether it opens the door."""
        return key_state(row)

    @admin.display(description="Expires", ordering="expires_at")
    def expires(self, row: ApiKey) -> str:
        """Say when it stops working."""
        return moment(row.expires_at) if row.expires_at else "never"

    @admin.display(description="Last used", ordering="use__last_used_at")
    def last_used(self, row: ApiKey) -> str:
        """Say when it last opened the door."""
        try:
            return moment(row.use.last_used_at)
        except ObjectDoesNotExist:
            return "never"

    @admin.display(description="Origin")
    def origin(self, row: ApiKey) -> str:
        """Say who owns it."""
        said = OWNERS[Source(row.source)]
        return said + WITHDRAWN if row.is_withdrawn else said

    @admin.display(description="Secret")
    def secret(self, row: ApiKey) -> str:
        """Say where the secret is; it is nowhere to be seen."""
        is_theirs = row.source == Source.ENVIRONMENT
        return ENVIRONMENT_OWNS_IT if is_theirs else SHOWN_ONCE

    @admin.display(description="Former secret")
    def former_secret(self, row: ApiKey) -> str:
        """Say how long the secret before the last rotation works."""
        return (
            f"works until {moment(row.previous_until)}" if is_rotating(row) else "none"
        )


def is_environments(row: ApiKey) -> bool:
    """Say whether the environment names this key now."""
    return row.source == Source.ENVIRONMENT and not row.is_withdrawn


def is_rotating(row: ApiKey) -> bool:
    """Say whether its former secret still works."""
    return row.previous_until is not None and row.previous_until > timezone.now()


def key_state(row: ApiKey) -> str:
    """Name the state of a key in a word of `COLOURS`."""
    if not row.enabled:
        return "withdrawn" if row.is_withdrawn else "disabled"
    if not row.tenant.enabled:
        return "tenant disabled"
    if row.expires_at is not None and row.expires_at <= timezone.now():
        return "expired"
    return "rotating" if is_rotating(row) else "active"


def moment(at: Any) -> str:
    """Write a moment in UTC."""
    return f"{date_format(timezone.localtime(at), MOMENT)} UTC"
