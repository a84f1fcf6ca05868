"""The limiter in one process: the door, its metrics, and many tasks at once."""

from __future__ import annotations

import asyncio
from datetime import date, timedelta

import pytest

from gateway import metrics
from gateway.errors import BudgetExhausted, RateLimited
from gateway.kinds import Measure, Period, Scope
from gateway.limits.charges import NOTHING, Spent
from gateway.limits.limiter import Limiter
from tests.gateway.limits.quotas import DAY, ESTIMATE, SPENT, at_once, budget, limit


class Calendar:
    """A day that a test moves on."""

    def __init__(self) -> None:
        self.day = DAY

    def __call__(self) -> date:
        return self.day


@pytest.fixture
def calendar() -> Calendar:
    return Calendar()


@pytest.fixture
def limiter(calendar: Calendar) -> Limiter:
    return Limiter(worker="one", redis_url=None, clock=lambda: 1000.0, today=calendar)


def count_of(counter, *labels: str):
    return counter.labels(*labels)._value.get()


async def test_64_tasks_at_once_get_exactly_the_limit(limiter: Limiter):
    row, admitted = limit(100), 0

    async def client() -> None:
        nonlocal admitted
        for _ in range(10):
            try:
                grant = await limiter.admit([row], [], ESTIMATE)
            except RateLimited:
                await asyncio.sleep(0)
                continue
            admitted += 1
            await asyncio.sleep(0)
            limiter.settle(grant, SPENT)

    async with asyncio.TaskGroup() as group:
        for _ in range(64):
            group.create_task(client())
    assert admitted == 100


async def test_no_more_than_the_limit_are_ever_under_way(limiter: Limiter):
    row, under_way, most = limit(5, Measure.CONCURRENCY), 0, 0

    async def client() -> None:
        nonlocal under_way, most
        for _ in range(20):
            try:
                grant = await limiter.admit([row], [], ESTIMATE)
            except RateLimited:
                await asyncio.sleep(0)
                continue
            under_way += 1
            most = max(most, under_way)
            await asyncio.sleep(0)
            under_way -= 1
            limiter.settle(grant, SPENT)

    async with asyncio.TaskGroup() as group:
        for _ in range(64):
            group.create_task(client())
    assert most == 5
    assert at_once(limiter.admit([row], [], ESTIMATE)).standings[0].remaining == 4


def test_a_request_without_limits_is_granted_nothing_to_end(limiter: Limiter):
    grant = at_once(limiter.admit([], [], ESTIMATE))
    assert grant is NOTHING
    limiter.settle(grant, SPENT)
    limiter.release(grant)


def test_the_cost_goes_to_the_period_in_which_the_request_began(
    limiter: Limiter, calendar: Calendar
):
    daily = budget(100)
    grant = at_once(limiter.admit([], [daily], ESTIMATE))
    assert grant.budget_periods == ((1, DAY),)
    calendar.day += timedelta(days=1)
    limiter.settle(grant, Spent(1, 1, 100))
    at_once(limiter.admit([], [daily], ESTIMATE))
    calendar.day = DAY
    with pytest.raises(BudgetExhausted):
        at_once(limiter.admit([], [daily], ESTIMATE))


def test_spends_of_others_reach_the_budgets(limiter: Limiter):
    limiter.refresh_spends({(1, DAY): 1000})
    with pytest.raises(BudgetExhausted):
        at_once(limiter.admit([], [budget(1000)], ESTIMATE))


def test_a_share_below_one_is_one(limiter: Limiter):
    limiter.set_share(0)
    assert at_once(limiter.admit([limit(9)], [], ESTIMATE)).standings[0].remaining == 8


def test_what_is_not_configured_any_more_is_forgotten(limiter: Limiter):
    grant = at_once(limiter.admit([limit(1)], [budget(100)], ESTIMATE))
    limiter.settle(grant, Spent(1, 1, 100))
    limiter.retain([], [])
    at_once(limiter.admit([limit(1)], [budget(100)], ESTIMATE))


def test_refusals_and_warnings_are_counted_once(limiter: Limiter):
    before = [
        count_of(metrics.LIMIT_REFUSALS, Scope.KEY, Measure.REQUESTS),
        count_of(metrics.BUDGET_REFUSALS, Scope.KEY, Period.DAY),
        count_of(metrics.BUDGET_WARNINGS, Scope.KEY, Period.DAY),
    ]
    limiter.refresh_spends({(1, DAY): 900, (2, DAY): 1000})
    row = limit(1)
    at_once(limiter.admit([row], [budget(1000, warn_percent=90)], ESTIMATE))
    with pytest.raises(RateLimited):
        at_once(limiter.admit([row], [], ESTIMATE))
    with pytest.raises(BudgetExhausted):
        at_once(limiter.admit([], [budget(1000, id=2)], ESTIMATE))
    after = [
        count_of(metrics.LIMIT_REFUSALS, Scope.KEY, Measure.REQUESTS),
        count_of(metrics.BUDGET_REFUSALS, Scope.KEY, Period.DAY),
        count_of(metrics.BUDGET_WARNINGS, Scope.KEY, Period.DAY),
    ]
    assert [new - old for new, old in zip(after, before, strict=True)] == [1, 1, 1]


async def test_without_redis_there_is_nothing_to_start_or_close(limiter: Limiter):
    def spawn(work, *, name):
        raise AssertionError(name)

    await limiter.start(spawn, installation="test")
    await limiter.aclose()
    assert not limiter.is_shared
