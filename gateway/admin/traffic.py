"""The pages of the traffic's policy, of promotions, and of what was done so far."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils import timezone
from django.utils.formats import date_format
from typing_extensions import override

from gateway.admin.read_only import ReadOnlyPages
from gateway.admin.theme import ModelAdmin, badge, page_button
from gateway.admin.traffic_forms import CancelForm, posted, traffic_page
from gateway.kinds import PromotionState, TrafficAction
from gateway.models import Promotion, TrafficChange, TrafficPolicy

ACTION_COLOURS = {
    TrafficAction.SET_WEIGHT: "info",
    TrafficAction.PROMOTE: "success",
    TrafficAction.PROMOTION_STEP: "success",
    TrafficAction.ROLLBACK: "warning",
    TrafficAction.AUTOMATIC_ROLLBACK: "danger",
}
STATE_COLOURS = {
    PromotionState.RUNNING: "info",
    PromotionState.FINISHED: "success",
    PromotionState.CANCELLED: "warning",
    PromotionState.ROLLED_BACK: "danger",
}
MOMENT = "j M Y H:i:s"


@admin.register(TrafficPolicy)
class PolicyPages(ModelAdmin[TrafficPolicy]):
    """The one row: what is active, and when a bad version is taken back by itself."""

    readonly_fields = ("active_version", "before_it")
    fieldsets = (
        ("Versions", {"fields": ("active_version", "before_it")}),
        (
            "Automatic rollback",
            {
                "fields": (
                    "is_automatic",
                    "error_margin_percent",
                    "ttft_margin_percent",
                    "minimum_requests",
                ),
                "description": "Every second, each version that has a share is compared "
                "with the active one, over what both have served since the weights last "
                "changed or a promotion began. A request that its breakers kept from a "
                "version counts as failed. Only streams have a time to first token; "
                "times are compared once both have so many of them.",
            },
        ),
    )

    @override
    def changelist_view(
        self, request: HttpRequest, extra_context: Any = None
    ) -> HttpResponse:
        """Go to the row."""
        return redirect("admin:gateway_trafficpolicy_change", TrafficPolicy().pk)

    @override
    def get_object(
        self, request: HttpRequest, object_id: str, from_field: str | None = None
    ) -> TrafficPolicy | None:
        """Give the row, or the defaults that hold while there is none."""
        only = TrafficPolicy()
        if object_id != str(only.pk):
            return None
        return super().get_object(request, object_id, from_field) or only

    @override
    def save_model(
        self, request: HttpRequest, obj: TrafficPolicy, form: Any, change: bool
    ) -> None:
        """Write what was changed, and not what a promotion may be writing just now."""
        changed = {name: form.cleaned_data[name] for name in form.changed_data}
        TrafficPolicy.objects.update_or_create(id=obj.pk, defaults=changed)

    @override
    def has_add_permission(self, request: HttpRequest) -> bool:
        """Say no: there is one."""
        return False

    @override
    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Say no: which version is active stands in it."""
        return False

    @admin.display(description="Previous version")
    def before_it(self, row: TrafficPolicy) -> str:
        """Name what was active before."""
        return row.previous_version or "none"


@admin.register(TrafficChange)
class ChangePages(ReadOnlyPages):
    """What was done to the split of traffic, the newest first."""

    list_display = ("at", "what", "version", "active_version", "split", "reason")
    list_filter = ("action",)
    search_fields = ("version", "reason")
    fields = (
        "at",
        "what",
        "version",
        "active_version",
        "previous_version",
        "split",
        "reason",
    )
    readonly_fields = ("what", "split")

    @badge("Action", {key.value: colour for key, colour in ACTION_COLOURS.items()})
    def what(self, row: TrafficChange) -> str:
        """Name the action."""
        return row.action

    @admin.display(description="Weights afterwards")
    def split(self, row: TrafficChange) -> str:
        """Write the weights as they were then; those without a share are left out."""
        shares = [
            f"{name} {weight} %" for name, weight in row.weights.items() if weight
        ]
        return ", ".join(shares) or "none"


@admin.register(Promotion)
class PromotionPages(ReadOnlyPages):
    """Promotions in steps; the one that runs can be cancelled."""

    list_display = (
        "version",
        "step_percent",
        "progress",
        "started_at",
        "next_step",
        "ended_at",
        "reason",
    )
    list_filter = ("state",)
    search_fields = ("version", "reason")
    fields = list_display
    readonly_fields = ("progress", "next_step")
    actions_detail = ("cancel",)

    def has_cancel_permission(self, request: HttpRequest, row_id: Any = None) -> bool:
        """Say whether a promotion, or any promotion, may be cancelled here."""
        if not request.user.has_perm("gateway.change_promotion"):
            return False
        return row_id is None or running().filter(pk=row_id).exists()

    @page_button("Cancel", icon="cancel", permission="cancel")
    def cancel(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Stop it where it is, once that is confirmed."""
        page = reverse("admin:gateway_promotion_change", args=[object_id])
        if not running().filter(pk=object_id).exists():
            return redirect(page)
        return traffic_page(
            self,
            request,
            CancelForm(posted(request)),
            permission="gateway.change_promotion",
            back_to=page,
        )

    @badge("State", {key.value: colour for key, colour in STATE_COLOURS.items()})
    def progress(self, row: Promotion) -> str:
        """Say how far it is."""
        return row.state

    @admin.display(description="Next step at", empty_value="-")
    def next_step(self, row: Promotion) -> str | None:
        """Say when it goes on, while it runs."""
        if row.state != PromotionState.RUNNING:
            return None
        return f"{date_format(timezone.localtime(row.next_step_at), MOMENT)} UTC"


def running() -> QuerySet[Promotion]:
    """Give the promotion that runs, if one does."""
    return Promotion.objects.filter(state=PromotionState.RUNNING)
