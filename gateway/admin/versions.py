"""The pages of versions: their weights, promotion and rollback."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from django.contrib import admin, messages
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from typing_extensions import override

from gateway import traffic
from gateway.admin.tenants import link
from gateway.admin.theme import ChangeList, ModelAdmin, badge, page_button
from gateway.admin.traffic_forms import (
    PromotionForm,
    RollbackForm,
    TrafficForm,
    WeightForm,
    by_whom,
    posted,
    shown_weights,
    traffic_page,
)
from gateway.admin.version_facts import ACTIVE, VersionFacts, versions
from gateway.models import VersionWeight
from gateway.models.traffic import MAX_PERCENT

LIST = "admin:gateway_versionweight_changelist"
ROLE_COLOURS = {"active": "success", "previous": "info"}
STATE_COLOURS = {"draining": "warning", "ready": "success"}
NAMES_IN_LIST = 3


class VersionList(ChangeList):
    """Shows every known version, those that have no row yet as new ones."""

    @override
    def get_results(self, request: HttpRequest) -> None:
        """Read them with all that the columns say, in a fixed number of queries."""
        super().get_results(request)
        rows: list[Any] = []
        for facts in versions().values():
            row: Any = facts.row or VersionWeight(version=facts.version)
            row.facts = facts
            rows.append(row)
        self.result_list = rows
        self.result_count = self.full_result_count = len(rows)

    @override
    def url_for_result(self, result: Any) -> str:
        """Lead to a row's page, or to the one where it gets its first weight."""
        if result.pk is not None:
            return super().url_for_result(result)
        query = urlencode({"version": result.version})
        return f"{reverse('admin:gateway_versionweight_add')}?{query}"


@admin.register(VersionWeight)
class VersionPages(ModelAdmin[VersionWeight]):
    """What share of the requests each version gets, and what bears its label."""

    form = WeightForm
    actions = None
    sortable_by = ()
    actions_list = ("roll_back",)
    list_display = (
        "version",
        "share",
        "role",
        "state",
        "deployments",
        "instances",
        "promotion",
    )
    readonly_fields = ("role", "deployments", "instances")
    fieldsets = (
        (None, {"fields": ("version", "weight", "is_draining")}),
        ("As it stands", {"fields": ("role", "deployments", "instances")}),
    )
    add_fieldsets = ((None, {"fields": ("version", "weight")}),)

    @override
    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        """Show those without a row too."""
        return VersionList

    @override
    def get_list_display(self, request: HttpRequest) -> Any:
        """Offer promotion to those who may."""
        may_change = self.has_change_permission(request)
        return self.list_display if may_change else self.list_display[:-1]

    @override
    def get_fieldsets(
        self, request: HttpRequest, obj: VersionWeight | None = None
    ) -> Any:
        """Leave out what a new row does not have yet."""
        return self.add_fieldsets if obj is None else self.fieldsets

    @override
    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """Keep the label."""
        return (*self.readonly_fields, "version") if obj else self.readonly_fields

    @override
    def get_urls(self) -> list[URLPattern]:
        """Add the page that promotes a version; its label may hold slashes."""
        own = path(
            "promote/<path:version>/",
            self.admin_site.admin_view(self.promote),
            name="gateway_versionweight_promote",
        )
        return [own, *super().get_urls()]

    @override
    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Say yes for what nothing bears any more and no request goes to."""
        if not super().has_delete_permission(request, obj) or obj is None:
            return False
        facts = facts_of(obj)
        is_idle = not (facts.weight or facts.deployments or facts.instances)
        return is_idle and facts.role != ACTIVE

    @override
    def save_model(
        self, request: HttpRequest, obj: VersionWeight, form: Any, change: bool
    ) -> None:
        """Set the weight, by the rule that all of them are 100 together, or the draining.

        Not the same weight again: 0 is an order to drain.
        """
        version = obj.version
        if "weight" in form.changed_data:
            reason = by_whom(request)
            standing = traffic.set_weight(version, obj.weight, reason=reason)
            self.message_user(request, shown_weights(standing), messages.INFO)
        if "is_draining" in form.changed_data:
            traffic.set_draining(version, is_draining=obj.is_draining)
        obj.pk = VersionWeight.objects.get(version=version).pk

    # --- Promotion and rollback ----------------------------------------------------------

    def promote(self, request: HttpRequest, version: str) -> HttpResponse:
        """Give a version all traffic, at once or in steps, once that is confirmed."""
        return self._ask(request, PromotionForm(version, posted(request)))

    @page_button("Roll back", icon="undo", permission="change")
    def roll_back(self, request: HttpRequest) -> HttpResponse:
        """Give a version all traffic again, once that is confirmed."""
        return self._ask(request, RollbackForm(posted(request)))

    def _ask(self, request: HttpRequest, form: TrafficForm) -> HttpResponse:
        return traffic_page(
            self,
            request,
            form,
            permission="gateway.change_versionweight",
            back_to=reverse(LIST),
        )

    # --- Columns -------------------------------------------------------------------------

    @admin.display(description="Weight")
    def share(self, row: VersionWeight) -> str:
        """Draw the share of the requests."""
        return weight_bar(facts_of(row).weight)

    @badge("Role", ROLE_COLOURS)
    def role(self, row: VersionWeight) -> str:
        """Say whether it is the active version, or was before."""
        return facts_of(row).role

    @badge("Instances are", STATE_COLOURS)
    def state(self, row: VersionWeight) -> str:
        """Say whether instances of this label say that they are ready."""
        return "draining" if facts_of(row).is_draining else "ready"

    @admin.display(description="Deployments")
    def deployments(self, row: VersionWeight) -> str:
        """Lead to the deployments that bear the label."""
        facts = facts_of(row)
        if not facts.deployments:
            return "none"
        url = reverse("admin:gateway_deployment_changelist")
        query = urlencode({"version": facts.version})
        noun = "deployment" if facts.deployments == 1 else "deployments"
        return link(f"{url}?{query}", f"{facts.deployments:,} {noun}")

    @admin.display(description="Live instances")
    def instances(self, row: VersionWeight) -> str:
        """Name the instances whose label it is."""
        names = facts_of(row).instances
        more = ", …" if len(names) > NAMES_IN_LIST else ""
        return ", ".join(names[:NAMES_IN_LIST]) + more if names else "none"

    @admin.display(description="")
    def promotion(self, row: VersionWeight) -> str:
        """Lead to the page that promotes it, unless it has all traffic already."""
        facts = facts_of(row)
        is_borne = facts.deployments or facts.instances
        if not is_borne or (facts.role == ACTIVE and facts.weight == MAX_PERCENT):
            return ""
        url = reverse("admin:gateway_versionweight_promote", args=[facts.version])
        return link(url, "Promote")


def facts_of(row: Any) -> VersionFacts:
    """Give what the pages say of a row's version, read once."""
    if not hasattr(row, "facts"):
        row.facts = versions()[row.version]
    facts: VersionFacts = row.facts
    return facts


def weight_bar(weight: int) -> str:
    """Draw a percentage."""
    return format_html(
        '<span class="ailb-spent"><span class="ailb-bar"><span style="width: {weight}%">'
        "</span></span><span>{weight} %</span></span>",
        weight=weight,
    )
