"""The everyday limits and budgets of a key or tenant, read and set by name."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

from gateway.kinds import Measure, Period, Window
from gateway.models import ApiKey, Budget, Limit, Tenant

NO_WINDOW = ""  # of concurrency
# What each name stands for: a Limit's measure and window, or a Budget's period.
LIMITS: Mapping[str, tuple[Measure, str]] = {
    "requests_per_minute": (Measure.REQUESTS, Window.MINUTE),
    "tokens_per_minute": (Measure.TOKENS, Window.MINUTE),
    "max_concurrency": (Measure.CONCURRENCY, NO_WINDOW),
}
BUDGETS: Mapping[str, Period] = {
    "budget_usd_per_day": Period.DAY,
    "budget_usd_per_month": Period.MONTH,
}
NAMES = (*LIMITS, *BUDGETS)

Owner = ApiKey | Tenant


def allowances(owner: Owner) -> dict[str, int | Decimal | None]:
    """Give what is allowed by name: the lowest of its enabled rows, None without one.

    Limits that a load balancer has set are not among them: they are its own. Reads
    `owner.limits` and `owner.budgets` whole, so that they can be prefetched.
    """
    limits = [
        row for row in owner.limits.all() if row.enabled and not row.rate_limit_id
    ]
    budgets = [row for row in owner.budgets.all() if row.enabled]
    found: dict[str, int | Decimal | None] = {}
    for name, kind in LIMITS.items():
        amounts = [row.amount for row in limits if (row.measure, row.window) == kind]
        found[name] = min(amounts, default=None)
    for name, period in BUDGETS.items():
        sums = [row.amount_usd for row in budgets if row.period == period]
        found[name] = min(sums, default=None)
    return found


def set_allowances(owner: Owner, wanted: Mapping[str, int | Decimal | None]) -> None:
    """Make what is allowed by name so; None removes it, other names stay as they are.

    What was there is changed rather than made anew: a budget keeps what is spent of it.
    The values must be in range. Call it in a transaction.
    """
    for name, value in wanted.items():
        if name in LIMITS:
            set_limit(owner, *LIMITS[name], amount=value)
        else:
            set_budget(owner, BUDGETS[name], amount_usd=value)


def set_limit(
    owner: Owner, measure: Measure, window: str, *, amount: int | Decimal | None
) -> None:
    """Leave one limit of this kind, or none."""
    rows = owner.limits.filter(measure=measure, window=window, rate_limit_id="")
    if amount is None:
        rows.delete()
        return
    row = rows.first() or Limit(**owned_by(owner), measure=measure, window=window)
    row.amount, row.enabled = int(amount), True
    row.save()
    rows.exclude(pk=row.pk).delete()


def set_budget(
    owner: Owner, period: Period, *, amount_usd: int | Decimal | None
) -> None:
    """Leave one budget of this period, or none."""
    rows = owner.budgets.filter(period=period)
    if amount_usd is None:
        rows.delete()
        return
    row = rows.first() or Budget(**owned_by(owner), period=period)
    row.amount_usd, row.enabled = Decimal(amount_usd), True
    row.save()
    rows.exclude(pk=row.pk).delete()


def owned_by(owner: Owner) -> dict[str, Owner]:
    """Give the column of a limit or budget that names its owner."""
    return {"api_key" if isinstance(owner, ApiKey) else "tenant": owner}
