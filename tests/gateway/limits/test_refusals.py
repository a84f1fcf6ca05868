"""Refusals: whose limit, how long, in OpenAI's fields."""

from __future__ import annotations

from datetime import date
from math import inf

import pytest

from gateway.access import Budget
from gateway.kinds import FaultDomain, Measure, Period, Scope
from gateway.limits.budgets import period_start
from gateway.limits.refusals import budget_exhausted, rate_limited
from tests.gateway.limits.quotas import DAY, limit


@pytest.mark.parametrize(
    ("row", "wait_s", "message", "kind"),
    [
        (
            limit(100),
            11.2,
            (
                "The limit of 100 requests per minute for this key is reached. "
                "Try again in 12 s."
            ),
            "requests",
        ),
        (
            limit(5000, Measure.INPUT_TOKENS, window_s=86_400, scope=Scope.TENANT),
            0.1,
            (
                "The limit of 5000 input tokens per day for this tenant is reached. "
                "Try again in 1 s."
            ),
            "tokens",
        ),
        (
            limit(7, Measure.CONCURRENCY, scope=Scope.EVERYBODY),
            inf,
            (
                "The limit of 7 requests at once for all callers together is reached. "
                "Try again when a request has ended."
            ),
            "requests",
        ),
        (
            limit(1, window_s=1, scope=Scope.ADDRESS),
            0.5,
            (
                "The limit of 1 request per second for this address is reached. "
                "Try again in 1 s."
            ),
            "requests",
        ),
    ],
    ids=["requests", "tokens", "concurrency", "address"],
)
def test_a_refusal_says_which_limit_of_whom_and_how_long(row, wait_s, message, kind):
    error = rate_limited(row, wait_s=wait_s, standings=())
    assert error.message == message
    assert (error.status, error.code, error.type) == (429, "rate_limit_exceeded", kind)
    assert error.domain is FaultDomain.POLICY
    assert error.retry_after_s == (1.0 if wait_s == inf else wait_s)
    assert (error.scope, error.measure) == (row.scope, row.measure)


@pytest.mark.parametrize(
    ("period", "message"),
    [
        (
            Period.DAY,
            (
                "This key's budget for the day is spent. "
                "It resets at 2026-01-02T00:00:00Z."
            ),
        ),
        (
            Period.MONTH,
            (
                "This key's budget for the month is spent. "
                "It resets at 2026-02-01T00:00:00Z."
            ),
        ),
        (Period.TOTAL, "This key's budget is spent. It does not reset."),
    ],
)
def test_a_spent_budget_says_when_it_resets(period: Period, message: str):
    start: date = period_start(period, DAY)
    error = budget_exhausted(
        Budget(1, Scope.KEY, period, 5_000_000_000), start, is_spent=True
    )
    assert error.message == message
    assert (error.status, error.code, error.type) == (
        429,
        "insufficient_quota",
        "insufficient_quota",
    )
    assert error.domain is FaultDomain.POLICY
    assert error.retry_after_s is None


@pytest.mark.parametrize("scope", list(Scope))
def test_every_scope_has_its_words(scope: Scope):
    assert (
        "None" not in rate_limited(limit(scope=scope), wait_s=1, standings=()).message
    )
    assert (
        budget_exhausted(Budget(1, scope, Period.DAY, 1), DAY, is_spent=True).scope
        is scope
    )


def test_what_is_only_reserved_is_worth_another_try():
    monthly = Budget(1, Scope.KEY, Period.MONTH, 1)
    error = budget_exhausted(monthly, DAY, is_spent=False)
    assert error.retry_after_s == 1.0
    assert error.message == (
        "What is left of this key's budget for the month is reserved by requests under "
        "way. Try again when they have ended."
    )
