"""What a refused client is told (pure)."""

from __future__ import annotations

from datetime import date
from math import ceil, inf

from gateway.access import Budget, Limit, Standing
from gateway.errors import BudgetExhausted, RateLimited
from gateway.kinds import Scope, Window
from gateway.limits.budgets import period_end

SOON_S = 1.0  # what a client is advised to wait when nobody can tell
_WINDOWS = {window.length_s: window.value for window in Window}
_LIMITED = {
    Scope.KEY: "this key",
    Scope.TENANT: "this tenant",
    Scope.MODEL: "this model",
    Scope.PROVIDER: "this provider",
    Scope.ADDRESS: "this address",
    Scope.EVERYBODY: "all callers together",
}
_PAYERS = {
    Scope.KEY: "This key's budget",
    Scope.TENANT: "This tenant's budget",
    Scope.MODEL: "This model's budget",
    Scope.PROVIDER: "This provider's budget",
    Scope.ADDRESS: "This address's budget",
    Scope.EVERYBODY: "The gateway's budget",
}


def rate_limited(
    limit: Limit, *, wait_s: float, standings: tuple[Standing, ...]
) -> RateLimited:
    """Say which limit is reached; an infinite wait is one that nobody can foretell."""
    is_foreseen = wait_s < inf
    after = (
        f"in {max(1, ceil(wait_s))} s" if is_foreseen else "when a request has ended"
    )
    return RateLimited(
        f"The limit of {limit.amount} {_counted(limit)} for {_LIMITED[limit.scope]} "
        f"is reached. Try again {after}.",
        scope=limit.scope,
        measure=limit.measure,
        retry_after_s=wait_s if is_foreseen else SOON_S,
        standings=standings,
    )


def _counted(limit: Limit) -> str:
    is_one = limit.amount == 1
    if limit.window_s is None:
        return "request at once" if is_one else "requests at once"
    measure = limit.measure.replace("_", " ")
    measure = measure.removesuffix("s") if is_one else measure
    return f"{measure} per {_WINDOWS.get(limit.window_s, f'{limit.window_s} s')}"


def budget_exhausted(budget: Budget, start: date, *, is_spent: bool) -> BudgetExhausted:
    """Say whose budget is used up and when it begins anew, without any amount.

    One that is not spent, but reserved by requests under way, is worth another try.
    """
    whose, end = _PAYERS[budget.scope], period_end(budget.period, start)
    for_period = "" if end is None else f" for the {budget.period}"
    if not is_spent:
        said = (
            f"What is left of {whose[0].lower()}{whose[1:]}{for_period} is reserved by "
            "requests under way. Try again when they have ended."
        )
    elif end is None:
        said = f"{whose} is spent. It does not reset."
    else:
        said = f"{whose}{for_period} is spent. It resets at {end}T00:00:00Z."
    return BudgetExhausted(
        said,
        scope=budget.scope,
        period=budget.period,
        retry_after_s=None if is_spent else SOON_S,
    )
