"""Limits and budgets with numbers that fit a test, and a way to ask without waiting."""

from __future__ import annotations

from collections.abc import Coroutine
from datetime import date
from typing import Any, TypeVar

from gateway.access import Budget, Limit
from gateway.kinds import Measure, Period, Scope
from gateway.limits.charges import Estimate, Spent

T = TypeVar("T")

DAY = date(2026, 1, 1)  # a Thursday
ESTIMATE = Estimate(10, 20, 100)
SPENT = Spent(8, 5, 60)


def limit(
    amount: int = 100,
    measure: Measure = Measure.REQUESTS,
    *,
    id: int = 1,  # noqa: A002 - as the row calls it
    window_s: int | None = 60,
    scope: Scope = Scope.KEY,
) -> Limit:
    if measure is Measure.CONCURRENCY:
        window_s = None
    return Limit(id, scope, measure, amount, window_s)


def budget(
    amount_nano_usd: int = 1000,
    *,
    id: int = 1,  # noqa: A002 - as the row calls it
    period: Period = Period.DAY,
    is_hard: bool = True,
    warn_percent: int | None = None,
) -> Budget:
    return Budget(
        id,
        Scope.KEY,
        period,
        amount_nano_usd,
        warn_percent=warn_percent,
        is_hard=is_hard,
    )


def at_once(work: Coroutine[Any, Any, T]) -> T:
    """Run what must not wait for anything; fail if it does."""
    try:
        work.send(None)
    except StopIteration as end:
        value: T = end.value
        return value
    work.close()
    raise AssertionError("it waits")
