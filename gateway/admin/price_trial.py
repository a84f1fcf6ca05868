"""What other prices would have cost: tried on a deployment's usage, then saved."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect
from django.template.response import TemplateResponse

from gateway.admin import figures
from gateway.admin.prices import BUCKET_NAMES, prices_of
from gateway.admin.theme import NumberInput, Select
from gateway.kinds import PriceOrigin
from gateway.models import Deployment
from gateway.pricing import BUCKETS
from gateway.snapshot import Prices
from gateway.usage_reports import WhatIf, what_if

if TYPE_CHECKING:
    Pages = admin.ModelAdmin[Deployment]
else:  # mixed into the theme's
    Pages = object

MAX_DEPLOYMENTS = 20
TRY, SAVE = "try_prices", "save_prices"  # the two buttons
DAYS = ((1, "today"), (7, "7 days"), (30, "30 days"), (90, "90 days"))


class SpanForm(forms.Form):
    """Of how many days the usage is priced, today included."""

    days = forms.TypedChoiceField(
        label="Usage of", choices=DAYS, coerce=int, initial=30, widget=Select()
    )


class PricesForm(forms.Form):
    """The prices of one deployment in USD per million tokens; empty is unknown."""

    def __init__(self, row: Deployment, data: Any) -> None:
        """Offer what the deployment is billed at now."""
        super().__init__(data, prefix=f"prices-{row.pk}")
        self.row = row
        now = prices_of(row)
        for bucket in BUCKETS:
            self.fields[bucket] = forms.DecimalField(
                label=BUCKET_NAMES[bucket],
                required=False,
                min_value=Decimal(0),
                max_digits=14,
                decimal_places=6,
                initial=as_decimal(getattr(now, bucket)),
                widget=NumberInput(attrs={"step": "any"}),
            )

    @property
    def prices(self) -> Prices:
        """Give what was typed, once it is valid."""
        typed = {
            bucket: None if price is None else float(price)
            for bucket, price in self.cleaned_data.items()
        }
        return Prices(**typed, origin=PriceOrigin.ROW)

    def save(self) -> bool:
        """Write what was changed into the row; what was not stays where it came from.

        Raises:
            ValidationError: The row does not take it.

        """
        if not self.changed_data:
            return False
        columns = []
        for bucket in self.changed_data:
            column = bucket.replace("_per_", "_price_per_")
            setattr(self.row, column, self.cleaned_data[bucket])
            columns.append(column)
        self.row.full_clean()
        self.row.save(update_fields=[*columns, "updated_at"])
        return True


@dataclass(frozen=True, slots=True)
class Trial:
    """What the usage did cost and would have cost, as it is written."""

    requests: str
    unpriced: str
    actual: str
    would_be: str
    difference: str


class PriceTrials(Pages):
    """Adds the action to the deployments' list."""

    @admin.action(
        description="What would other prices have cost?", permissions=["change"]
    )
    def try_prices(
        self, request: HttpRequest, queryset: QuerySet[Deployment]
    ) -> HttpResponse:
        """Ask for prices, show what they would have cost, save them if asked to."""
        rows = list(queryset.select_related("model", "provider")[:MAX_DEPLOYMENTS])
        is_answer = TRY in request.POST or SAVE in request.POST
        data = request.POST if is_answer else None
        span = SpanForm(data)
        price_forms = [PricesForm(row, data) for row in rows]
        is_valid = all([span.is_valid(), *(form.is_valid() for form in price_forms)])
        if is_valid and SAVE in request.POST:
            return self.saved(request, price_forms)
        days = span.cleaned_data["days"] if is_valid else None
        context = {
            **self.admin_site.each_context(request),
            "title": "What would other prices have cost?",
            "opts": self.opts,
            "span": span,
            "tried": [
                {"form": form, "trial": None if days is None else trial(form, days)}
                for form in price_forms
            ],
            "checkbox": ACTION_CHECKBOX_NAME,
            "buttons": {"try": TRY, "save": SAVE},
        }
        return TemplateResponse(request, "gateway/price_trial.html", context)

    def saved(
        self, request: HttpRequest, price_forms: Sequence[PricesForm]
    ) -> HttpResponseRedirect:
        """Save every deployment's prices and tell which were changed."""
        changed = []
        for form in price_forms:
            try:
                if not form.save():
                    continue
            except ValidationError as error:
                text = f"{form.row}: {' '.join(error.messages)}"
                self.message_user(request, text, messages.ERROR)
                continue
            self.log_change(request, form.row, "Changed prices.")
            changed.append(str(form.row))
        said = f"Prices saved: {', '.join(changed)}." if changed else "Nothing changed."
        self.message_user(request, said, messages.SUCCESS)
        return redirect("admin:gateway_deployment_changelist")


def trial(form: PricesForm, days: int) -> Trial:
    """Price the usage of a deployment anew."""
    found = what_if(form.row.pk, form.prices, days=days)
    return Trial(
        requests=figures.count(found.requests),
        unpriced=figures.count(found.unpriced_requests),
        actual=actual_cost(found),
        would_be=figures.usd(found.would_be_nano_usd),
        difference=difference(found),
    )


def actual_cost(found: WhatIf) -> str:
    """Write what the requests did cost, as far as it was known."""
    return figures.cost(
        found.actual_nano_usd,
        requests=found.requests,
        unpriced=found.unpriced_requests,
    )


def difference(found: WhatIf) -> str:
    """Write the difference; there is none as long as a cost is unknown."""
    if found.would_be_nano_usd is None or found.unpriced_requests:
        return "-"
    change = found.would_be_nano_usd - found.actual_nano_usd
    return figures.usd(change) if change < 0 else f"+{figures.usd(change)}"


def as_decimal(price: float | None) -> Decimal | None:
    """Give the number that was typed: 0.15, not the nearest binary fraction."""
    return None if price is None else Decimal(f"{price:.10g}")
