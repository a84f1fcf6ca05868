"""What budgets have spent in their current period, read with the rows."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import Decimal
from enum import StrEnum
from typing import Any

from django.db.models import (
    BigIntegerField,
    Case,
    DateField,
    ExpressionWrapper,
    F,
    FloatField,
    OuterRef,
    QuerySet,
    Subquery,
    Sum,
    Value,
    When,
)
from django.db.models.functions import Cast, Coalesce
from django.utils import timezone
from django.utils.timezone import make_aware

from gateway.access import NANO_PER_USD
from gateway.kinds import Period
from gateway.limits.budgets import period_end, period_start
from gateway.models import Budget, BudgetSpend, UsageRollup

WHOLE_PERCENT = 100


class Standing(StrEnum):
    """How a budget stands in its current period."""

    OK = "ok"
    WARNING = "warning"
    SPENT = "spent"
    DISABLED = "disabled"


@dataclass(frozen=True, slots=True)
class PeriodSpan:
    """The current period of a budget; `ends` is None for one that never ends."""

    starts: datetime
    ends: datetime | None


def with_spending(rows: QuerySet[Budget]) -> QuerySet[Budget]:
    """Annotate `spent_nano_usd`: the sum of all workers in each row's current period."""
    today = timezone.now().date()
    begins = Case(
        *(When(period=each, then=Value(period_start(each, today))) for each in Period),
        output_field=DateField(),
    )
    spends = BudgetSpend.objects.filter(
        budget=OuterRef("pk"), period_start=OuterRef("period_begins")
    )
    total = spends.order_by().values("budget").annotate(total=Sum("spent_nano_usd"))
    return rows.annotate(period_begins=begins).annotate(
        spent_nano_usd=Coalesce(
            Subquery(total.values("total")), 0, output_field=BigIntegerField()
        )
    )


def standing_at(rows: QuerySet[Any], standing: Standing) -> QuerySet[Any]:
    """Keep the rows of `with_spending` that stand so."""
    if standing is Standing.DISABLED:
        return rows.filter(enabled=False)
    amount = Cast(F("amount_usd"), FloatField()) * float(NANO_PER_USD)
    rows = rows.filter(enabled=True).annotate(
        amount_nano_usd=ExpressionWrapper(amount, output_field=FloatField()),
        warns_at_nano_usd=ExpressionWrapper(
            amount * F("warn_percent") / float(WHOLE_PERCENT),
            output_field=FloatField(),
        ),
    )
    spent = rows.filter(spent_nano_usd__gte=F("amount_nano_usd"))
    if standing is Standing.SPENT:
        return spent
    rest = rows.filter(spent_nano_usd__lt=F("amount_nano_usd"))
    warned = rest.filter(spent_nano_usd__gte=F("warns_at_nano_usd"))
    if standing is Standing.WARNING:
        return warned
    return rest.exclude(
        warn_percent__isnull=False, spent_nano_usd__gte=F("warns_at_nano_usd")
    )


def percent_of(row: Any) -> int:
    """Give the share of a row of `with_spending` that is spent; it may pass 100."""
    if not row.amount_usd:
        return WHOLE_PERCENT
    spent_usd = Decimal(row.spent_nano_usd) / NANO_PER_USD
    return int(spent_usd * WHOLE_PERCENT / row.amount_usd)


def standing_of(row: Any) -> Standing:
    """Say how a row of `with_spending` stands."""
    if not row.enabled:
        return Standing.DISABLED
    percent = percent_of(row)
    if percent >= WHOLE_PERCENT:
        return Standing.SPENT
    is_warned = row.warn_percent is not None and percent >= row.warn_percent
    return Standing.WARNING if is_warned else Standing.OK


def current_period(period: Period) -> PeriodSpan:
    """Give the period that this moment is in."""
    start = period_start(period, timezone.now().date())
    end = period_end(period, start)
    return PeriodSpan(midnight(start), None if end is None else midnight(end))


def midnight(day: date) -> datetime:
    """Give the first moment of a day in UTC."""
    return make_aware(datetime.combine(day, time.min))


def unpriced_requests(row: Budget) -> int:
    """Count the requests of the current period whose cost nobody knows."""
    rollups = UsageRollup.objects.filter(
        grain=UsageRollup.Grain.DAY,
        start__gte=current_period(Period(row.period)).starts,
        unpriced_requests__gt=0,
    )
    if row.api_key is not None:
        rollups = rollups.filter(api_key=row.api_key.public_id)
    elif row.tenant is not None:
        rollups = rollups.filter(tenant=row.tenant.name)
    total: int | None = rollups.aggregate(total=Sum("unpriced_requests"))["total"]
    return total or 0
