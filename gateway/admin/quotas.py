"""The pages of limits and budgets, and their tables on the pages of what they bind."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.formats import date_format
from django.utils.html import format_html
from typing_extensions import override

from gateway.access import NANO_PER_USD
from gateway.admin import figures
from gateway.admin.forms import RowForm
from gateway.admin.theme import ModelAdmin, TabularInline, TextInput, badge
from gateway.caller_address import normal_address
from gateway.kinds import Measure, Period
from gateway.models import ApiKey, Budget, Limit, Model, Provider, Tenant
from gateway.spending import (
    Standing,
    current_period,
    percent_of,
    standing_at,
    standing_of,
    unpriced_requests,
    with_spending,
)

COLOURS = {
    Standing.OK: "success",
    Standing.WARNING: "warning",
    Standing.SPENT: "danger",
    Standing.DISABLED: "warning",
}
ENABLED_COLOURS = {"enabled": "success", "disabled": "warning"}
DAY = "j M Y"
MOMENT = "j M Y H:i"


class LimitTable(TabularInline[Limit, Tenant | ApiKey | Model | Provider]):
    """The limits of a tenant, a key, a model or a provider."""

    model = Limit
    extra = 0
    hide_title = True  # the theme's: the row says it all
    fields = ("measure", "amount", "window", "enabled")


class BudgetTable(TabularInline[Budget, Tenant | ApiKey]):
    """The budgets of a tenant or a key, with what they have spent."""

    model = Budget
    extra = 0
    hide_title = True
    fields = (
        "amount_usd",
        "period",
        "warn_percent",
        "is_hard",
        "enabled",
        "spent",
    )
    readonly_fields = ("spent",)

    @override
    def get_queryset(self, request: HttpRequest) -> QuerySet[Budget]:
        """Read what is spent with the rows."""
        return with_spending(super().get_queryset(request))

    @admin.display(description="Spent in this period")
    def spent(self, row: Budget) -> str:
        """Draw what is spent."""
        return spent_bar(row) if row.pk else "-"


class LimitForm(RowForm[Limit]):
    """A limit; what its measure has no use for is left out."""

    class Meta:
        model = Limit
        fields = "__all__"
        widgets = {"address": TextInput()}
        help_texts = dict.fromkeys(
            ("tenant", "api_key", "model", "provider"),
            "One of tenant, API key, model, provider and address; none: everybody.",
        )

    def clean_address(self) -> str | None:
        """Write an address in its one normal form; an empty one is none."""
        address: str = self.cleaned_data["address"]
        return normal_address(address) if address else None


@admin.register(Limit)
class LimitPages(ModelAdmin[Limit]):
    """How many requests or tokens in a window, and how many requests at once."""

    form = LimitForm
    list_display = ("whom", "measure", "at_most", "per", "state", "set_by")
    list_filter = ("measure", "window", "enabled")
    search_fields = (
        "tenant__name",
        "api_key__name",
        "api_key__public_id",
        "model__name",
        "provider__name",
        "address",
        "rate_limit_id",
    )
    autocomplete_fields = ("tenant", "api_key", "model", "provider")
    readonly_fields = ("set_by",)
    fieldsets = (
        (None, {"fields": ("measure", "amount", "window", "enabled", "set_by")}),
        (
            "Whom it limits",
            {"fields": ("tenant", "api_key", "model", "provider", "address")},
        ),
    )

    @override
    def get_queryset(self, request: HttpRequest) -> QuerySet[Limit]:
        """Read the targets with the rows, on every page: they are in the title."""
        return (
            super()
            .get_queryset(request)
            .select_related("tenant", "api_key", "model", "provider")
        )

    @admin.display(description="Whom or what")
    def whom(self, row: Limit) -> str:
        """Name whom or what it limits."""
        return row.target

    @admin.display(description="At most", ordering="amount")
    def at_most(self, row: Limit) -> str:
        """Write the amount."""
        return figures.count(row.amount)

    @admin.display(description="Per", ordering="window")
    def per(self, row: Limit) -> str:
        """Write the window."""
        return "at once" if row.measure == Measure.CONCURRENCY else row.window

    @admin.display(description="Set by", ordering="rate_limit_id")
    def set_by(self, row: Limit) -> str:
        """Say who set it: a load balancer, which may set it anew, or an operator."""
        if not row.rate_limit_id:
            return "an operator"
        return f"a load balancer, as {row.rate_limit_id}"

    @badge("State", ENABLED_COLOURS)
    def state(self, row: Limit) -> str:
        """Say whether it is enforced."""
        return "enabled" if row.enabled else "disabled"


class StandingFilter(admin.SimpleListFilter):
    """Budgets by how they stand."""

    title = "state"
    parameter_name = "standing"

    @override
    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[Any]:
        """Offer every standing."""
        return [(each.value, each.value) for each in Standing]

    @override
    def queryset(
        self, request: HttpRequest, queryset: QuerySet[Budget]
    ) -> QuerySet[Budget]:
        """Keep those that stand as chosen; an unknown choice keeps all."""
        value = self.value()
        known = {each.value for each in Standing}
        return standing_at(queryset, Standing(value)) if value in known else queryset


@admin.register(Budget)
class BudgetPages(ModelAdmin[Budget]):
    """What keys and tenants may spend, and what they have spent."""

    list_display = ("whom", "amount", "period", "spent", "resets", "state", "stop")
    list_filter = (StandingFilter, "period", "is_hard", "enabled")
    search_fields = ("tenant__name", "api_key__name", "api_key__public_id")
    autocomplete_fields = ("tenant", "api_key")
    readonly_fields = ("spent", "state", "resets", "unpriced")
    fieldsets = (
        (None, {"fields": ("amount_usd", "period", "enabled")}),
        ("Whose money", {"fields": ("tenant", "api_key")}),
        ("This period", {"fields": ("spent", "state", "resets", "unpriced")}),
        (
            "What happens",
            {
                "fields": (
                    "is_hard",
                    "warn_percent",
                    "webhook_url",
                    "blocks_unknown_price",
                )
            },
        ),
    )

    @override
    def get_queryset(self, request: HttpRequest) -> QuerySet[Budget]:
        """Read the owners and what is spent with the rows."""
        rows = super().get_queryset(request).select_related("tenant", "api_key")
        return with_spending(rows)

    @override
    def get_fieldsets(self, request: HttpRequest, obj: Budget | None = None) -> Any:
        """Leave out the period where there is none yet."""
        every = super().get_fieldsets(request, obj)
        return [each for each in every if obj is not None or each[0] != "This period"]

    @admin.display(description="Whose")
    def whom(self, row: Budget) -> str:
        """Name whose money it is."""
        return row.owner

    @admin.display(description="Amount", ordering="amount_usd")
    def amount(self, row: Budget) -> str:
        """Write the amount."""
        return figures.usd(int(row.amount_usd * NANO_PER_USD))

    @admin.display(description="Spent in this period")
    def spent(self, row: Budget) -> str:
        """Draw what is spent."""
        return spent_bar(row)

    @admin.display(description="Resets (0:00 UTC)")
    def resets(self, row: Budget) -> str:
        """Say on which day the next period begins."""
        ends = current_period(Period(row.period)).ends
        return "never" if ends is None else date_format(ends, DAY)

    @badge("State", {key.value: colour for key, colour in COLOURS.items()})
    def state(self, row: Budget) -> str:
        """Say how it stands."""
        return standing_of(row).value

    @admin.display(description="When spent", ordering="is_hard")
    def stop(self, row: Budget) -> str:
        """Say what happens when it is spent."""
        return "refuses" if row.is_hard else "only warns"

    @admin.display(description="Unknown prices")
    def unpriced(self, row: Budget) -> str:
        """Say how many requests the sum does not know the price of."""
        missing = unpriced_requests(row)
        if not missing:
            return "Every request of this period has a known price."
        subject = "1 request has" if missing == 1 else f"{missing:,} requests have"
        them = "it is" if missing == 1 else "they are"
        return f"{subject} no known price: {them} not in this sum."


def spent_bar(row: Any) -> str:
    """Draw what a row of `with_spending` has spent: a bar, the sum, the percentage."""
    percent = percent_of(row)
    return format_html(
        '<span class="ailb-spent"><span class="ailb-bar" role="img" '
        'aria-label="{percent}% spent"><span class="ailb-bar-{standing}" '
        'style="width: {width}%"></span></span>'
        "<span>{spent}, {percent}%</span></span>",
        percent=f"{percent:,}",
        standing=standing_of(row).value,
        width=min(percent, 100),
        spent=figures.usd(row.spent_nano_usd),
    )
