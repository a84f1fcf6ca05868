"""The pages of sessions: who talked, what was said, and how it is erased."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.contrib import admin
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.html import format_html
from typing_extensions import override

from memory.admin import erasing
from memory.admin.conversation import conversation, may_read
from memory.admin.erasing import counted
from memory.admin.session_list import SessionList, key_names, search
from memory.admin.theme import ChangeList, ModelAdmin, RowForm, action
from memory.config import Policy
from memory.erasure import erase_sessions
from memory.models import Session
from memory.stored_policies import read_policies

MOMENT = "j M Y H:i"
NEVER = "never"
CONFIRMED = ("post", "yes")


class SessionForm(RowForm[Session]):
    """What an operator may change of a session."""

    class Meta:
        model = Session
        fields = ("ttl_days", "settings")
        help_texts = {
            "ttl_days": "Days from its last use to its end. Empty: as the policy says. "
            "0: it never ends."
        }
        labels = {"ttl_days": "Days kept"}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Write what the policy says into the empty field."""
        super().__init__(*args, **kwargs)
        if "ttl_days" in self.fields:
            days = policy_of(self.instance).ttl_days
            self.fields["ttl_days"].widget.attrs["placeholder"] = str(days)


@admin.register(Session)
class SessionPages(ModelAdmin[Session]):
    """Conversations; their texts for those with the right to read turns."""

    form = SessionForm
    list_display = (
        "session_id",
        "tenant",
        "key",
        "turns",
        "created",
        "last_used",
        "ends",
    )
    list_filter = ("tenant",)
    list_select_related = ("tenant",)
    search_fields = ("session_id",)  # what `search` looks at
    ordering = ("-last_used_at", "-id")
    show_full_result_count = False
    actions = ("erase",)
    actions_detail = ("erase_owner",)
    delete_confirmation_template = erasing.TEMPLATE
    change_form_outer_after_template = "memory/conversation.html"
    readonly_fields = (
        "session_id",
        "tenant",
        "key",
        "turns_below",
        "created",
        "last_used",
        "ends",
        "summary_text",
    )
    fieldsets = (
        (None, {"fields": ("session_id", "tenant", "key", "turns_below")}),
        ("Life", {"fields": ("created", "last_used", "ends", "ttl_days")}),
        ("Settings", {"fields": ("settings",)}),
    )
    summary_fieldset = ("Summary", {"fields": ("summary_text",)})

    class Media:
        css = {"all": ("memory/conversation.css",)}

    @override
    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        """Read the keys' names with the list."""
        return SessionList

    @override
    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Session], search_term: str
    ) -> tuple[QuerySet[Session], bool]:
        """Look for a session id, or for what was said."""
        term = search_term.strip()
        return (search(request, queryset, term) if term else queryset), False

    @override
    def get_fieldsets(self, request: HttpRequest, obj: Session | None = None) -> Any:
        """Show the summary to those who may read turns."""
        is_shown = obj is not None and obj.summary and may_read(request)
        return (*self.fieldsets, self.summary_fieldset) if is_shown else self.fieldsets

    @override
    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        """Offer one way to delete, the one that says what goes."""
        every: dict[str, Any] = super().get_actions(request)
        every.pop("delete_selected", None)
        return every

    @override
    def has_add_permission(self, request: HttpRequest) -> bool:
        """Say no: conversations make these rows."""
        return False

    @override
    def get_deleted_objects(
        self, objs: Any, request: HttpRequest
    ) -> tuple[list[Any], dict[str, int], set[str], list[Any]]:
        """Give nothing to list: a session may have a hundred thousand turns."""
        return [], {}, set(), []

    @override
    def delete_view(
        self, request: HttpRequest, object_id: str, extra_context: Any = None
    ) -> HttpResponse:
        """Say what goes with the session."""
        rows = Session.objects.filter(pk=key_of(object_id))
        context = erasing.erase_context(rows, [CONFIRMED])
        return super().delete_view(
            request,
            object_id,
            {**context, "title": "Erase session", **(extra_context or {})},
        )

    @override
    def delete_model(self, request: HttpRequest, obj: Session) -> None:
        """Erase it with its turns and vectors."""
        erase_sessions([obj.pk])

    @override
    def save_model(
        self, request: HttpRequest, obj: Session, form: Any, change: bool
    ) -> None:
        """Save what was changed and no more: the conversation may be going on."""
        fields = [
            name for name in ("ttl_days", "settings") if name in form.changed_data
        ]
        if "ttl_days" in fields:
            obj.expires_at = end_of(obj)
            fields.append("expires_at")
        if fields:
            obj.save(update_fields=fields)

    @override
    def render_change_form(
        self,
        request: HttpRequest,
        context: Any,
        add: bool = False,
        change: bool = False,
        form_url: str = "",
        obj: Any = None,
    ) -> HttpResponse:
        """Read what was said, for those who may."""
        context["may_read"] = may_read(request)
        if obj is not None and context["may_read"]:
            context["conversation"] = conversation(request, obj)
        return super().render_change_form(request, context, add, change, form_url, obj)

    @admin.action(description="Erase", permissions=["delete"])
    def erase(
        self, request: HttpRequest, queryset: QuerySet[Session]
    ) -> HttpResponse | None:
        """Erase the selected sessions."""
        if request.POST.get(CONFIRMED[0]) == CONFIRMED[1]:
            erasing.erase(self, request, queryset)
            return None
        hidden = [("action", "erase"), CONFIRMED, *selected(request)]
        return erasing.erase_page(
            self, request, queryset, title="Erase sessions", hidden=hidden
        )

    @action(
        description="Erase all of this owner",
        icon="delete_sweep",
        permissions=["delete"],
    )
    def erase_owner(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Erase everything that the owner of a session has said in its tenant."""
        row = self.get_object(request, object_id)
        if row is None or not self.has_delete_permission(request, row):
            raise PermissionDenied
        rows = Session.objects.filter(tenant=row.tenant_id, owner=row.owner)
        if request.POST.get(CONFIRMED[0]) == CONFIRMED[1]:
            erasing.erase(self, request, rows)
            return redirect("admin:memory_session_changelist")
        whose = self.key(row) if row.owner else "nobody with a key"
        title = f"Erase all sessions of {whose} in {row.tenant}"
        return erasing.erase_page(self, request, rows, title=title, hidden=[CONFIRMED])

    @admin.display(description="Owner", ordering="owner")
    def key(self, row: Any) -> str:
        """Name the key that began it."""
        if not row.owner:
            return "no key"
        if hasattr(row, "key_name"):  # from the list
            return str(row.key_name)
        name = key_names([row.owner]).get(row.owner)
        return f"{name} ({row.owner})" if name else str(row.owner)

    @admin.display(description="Turns", ordering="last_seq")
    def turns(self, row: Session) -> str:
        """Count what was ever said, left branches included."""
        return f"{row.last_seq:,}"

    @admin.display(description="Turns")
    def turns_below(self, row: Session) -> str:
        """Lead down to them."""
        return format_html(
            '<a href="#turns" class="text-link">{}</a>', counted(row.last_seq, "turn")
        )

    @admin.display(description="Created (UTC)", ordering="created_at")
    def created(self, row: Session) -> str:
        """Say when it began."""
        return moment(row.created_at)

    @admin.display(description="Last used (UTC)", ordering="last_used_at")
    def last_used(self, row: Session) -> str:
        """Say when it was last used."""
        return moment(row.last_used_at)

    @admin.display(description="Ends (UTC)", ordering="expires_at")
    def ends(self, row: Session) -> str:
        """Say when it is erased."""
        if row.expires_at is None:
            return NEVER
        has_ended = row.expires_at <= timezone.now()
        return f"{moment(row.expires_at)}{', has ended' if has_ended else ''}"

    @admin.display(description="Of the turns before the newest")
    def summary_text(self, row: Session) -> str:
        """Show the rolling summary."""
        return row.summary


def policy_of(session: Session) -> Policy:
    """Give what holds for a session by the model that answered last."""
    answers = session.turns.exclude(model="").order_by("-seq")
    model = answers.values_list("model", flat=True).first() or ""
    return read_policies().of_session(session, model=model)


def end_of(session: Session) -> Any:
    """Give when a session ends if it is not used again; None for never."""
    days = session.ttl_days
    if days is None:
        days = policy_of(session).ttl_days
    return session.last_used_at + timedelta(days=days) if days else None


def selected(request: HttpRequest) -> list[tuple[str, str]]:
    """Repeat which rows were selected: those on the page, or all that were found."""
    pks = request.POST.getlist(ACTION_CHECKBOX_NAME)
    is_all = request.POST.get("select_across") == "1"
    if is_all:
        return [("select_across", "1"), (ACTION_CHECKBOX_NAME, pks[0])]
    return [(ACTION_CHECKBOX_NAME, pk) for pk in pks]


def key_of(object_id: str) -> int:
    """Read the row id in a URL; 0, which no row has, for what is none."""
    return int(object_id) if object_id.isascii() and object_id.isdigit() else 0


def moment(at: Any) -> str:
    """Write a moment in UTC."""
    return date_format(timezone.localtime(at), MOMENT)
