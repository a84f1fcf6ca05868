"""Counting in one process: all or nothing, and nothing is left over."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given, strategies as st

from gateway.access import Budget, Limit
from gateway.errors import AilbError, BudgetExhausted, RateLimited
from gateway.kinds import Measure, Scope
from gateway.limits.budgets import BudgetBooks
from gateway.limits.charges import Estimate, Spent
from gateway.limits.local import LocalGrant, LocalLimits
from tests.gateway.limits.quotas import DAY, ESTIMATE, SPENT, budget, limit


class Desk:
    """One process's limits, and a clock to move."""

    def __init__(self) -> None:
        self.books = BudgetBooks()
        self.local = LocalLimits(self.books)
        self.now_s = 1000.0

    def admit(self, *rows: Limit | Budget, estimate: Estimate = ESTIMATE) -> LocalGrant:
        return self.local.admit(
            [row for row in rows if isinstance(row, Limit)],
            [row for row in rows if isinstance(row, Budget)],
            estimate,
            now_s=self.now_s,
            day=DAY,
        )

    def settle(self, grant: LocalGrant, spent: Spent = SPENT) -> None:
        self.local.settle(grant, spent, now_s=self.now_s)

    def release(self, grant: LocalGrant) -> None:
        self.local.release(grant, now_s=self.now_s)

    def used(self, row: Limit) -> int:
        tally = self.local._tallies.get(row.id)
        return 0 if tally is None else tally.used(self.now_s)

    def state(self, *rows: Limit | Budget) -> list[tuple[int, ...]]:
        return [
            (self.used(row),)
            if isinstance(row, Limit)
            else (
                self.books.of(row, DAY).own_nano_usd,
                self.books.of(row, DAY).reserved_nano_usd,
            )
            for row in rows
        ]


REQUESTS = limit(6, id=1)
TOKENS = limit(150, Measure.TOKENS, id=2, scope=Scope.TENANT)
OUTPUT = limit(90, Measure.OUTPUT_TOKENS, id=3, window_s=1)
FLIGHT = limit(3, Measure.CONCURRENCY, id=4)
DAILY = budget(500, id=1)
SOFT = budget(200, id=2, is_hard=False, warn_percent=50)
ALL = (REQUESTS, TOKENS, OUTPUT, FLIGHT, DAILY, SOFT)
ACTIONS = st.lists(
    st.tuples(
        st.sampled_from(["admit", "settle", "release"]),
        st.sampled_from([0.0, 0.04, 0.9, 20.0, 61.0, 90_000.0]),
        st.builds(
            Estimate,
            st.integers(0, 90),
            st.integers(0, 90),
            st.none() | st.integers(0, 250),
        ),
        st.integers(0, 90),  # per cent of the estimate that is used
    ),
    max_size=40,
)


def used_of(estimate: Estimate, percent: int) -> Spent:
    cost = estimate.cost_nano_usd
    return Spent(
        estimate.input_tokens * percent // 100,
        estimate.output_tokens * percent // 100,
        None if cost is None else cost * percent // 100,
    )


@given(ACTIONS)
def test_whatever_comes_refusals_change_nothing_and_the_end_leaves_nothing(actions):
    desk = Desk()
    live: list[tuple[LocalGrant, Estimate]] = []
    for action, step_s, estimate, percent in actions:
        desk.now_s += step_s
        before = desk.state(*ALL)
        if action == "admit":
            try:
                live.append((desk.admit(*ALL, estimate=estimate), estimate))
            except AilbError:
                assert desk.state(*ALL) == before
        elif live and action == "settle":
            grant, reserved = live.pop(0)
            desk.settle(grant, used_of(reserved, percent))
        elif live:
            desk.release(live.pop(0)[0])
        spent, reserved_nano_usd = desk.state(DAILY)[0]
        largest = max((e.known_cost_nano_usd for _, e in live), default=0)
        assert spent + reserved_nano_usd < DAILY.amount_nano_usd + max(largest, 1)
        assert desk.used(FLIGHT) == len(live) <= FLIGHT.amount
        for row in (REQUESTS, TOKENS, OUTPUT):
            assert 0 <= desk.used(row) <= row.amount
    for grant, _ in live:
        desk.release(grant)
    desk.now_s += 70.0
    assert desk.state(*ALL[:4]) == [(0,)] * 4
    assert all(reserved == 0 for _, reserved in desk.state(DAILY, SOFT))


def test_a_released_request_gives_everything_back():
    desk = Desk()
    desk.release(desk.admit(*ALL))
    assert desk.state(*ALL) == [(0,), (0,), (0,), (0,), (0, 0), (0, 0)]


def test_a_settled_request_counts_what_it_used():
    desk = Desk()
    grant = desk.admit(*ALL)
    assert desk.state(*ALL) == [(1,), (30,), (20,), (1,), (0, 100), (0, 100)]
    desk.settle(grant)
    assert desk.state(*ALL) == [(1,), (13,), (5,), (0,), (60, 0), (60, 0)]


@pytest.mark.parametrize("second", ["settle", "release"])
def test_a_second_end_changes_nothing(second: str):
    desk = Desk()
    grant = desk.admit(*ALL)
    desk.settle(grant)
    before = desk.state(*ALL)
    getattr(desk, second)(grant)
    assert desk.state(*ALL) == before


def test_an_answer_longer_than_its_estimate_is_counted_whole():
    desk = Desk()
    desk.settle(desk.admit(TOKENS), Spent(100, 400))
    assert desk.used(TOKENS) == 500
    with pytest.raises(RateLimited):
        desk.admit(TOKENS)


def test_concurrency_is_named_before_any_window():
    desk, one = Desk(), limit(1, Measure.CONCURRENCY, id=9)
    desk.admit(limit(1), one)
    with pytest.raises(RateLimited) as refusal:
        desk.admit(limit(1), one)
    assert refusal.value.measure is Measure.CONCURRENCY
    assert refusal.value.retry_after_s == 1.0


def test_of_several_windows_the_longest_wait_is_named():
    desk = Desk()
    minute, hour = limit(1, id=1), limit(1, id=2, window_s=3600, scope=Scope.TENANT)
    desk.admit(minute, hour)
    with pytest.raises(RateLimited) as refusal:
        desk.admit(minute, hour)
    assert refusal.value.scope is Scope.TENANT
    assert "per hour" in refusal.value.message
    assert refusal.value.retry_after_s is not None
    desk.now_s += refusal.value.retry_after_s
    desk.admit(minute, hour)


def test_a_refusal_carries_how_all_limits_stand():
    desk = Desk()
    desk.admit(limit(1), TOKENS)
    with pytest.raises(RateLimited) as refusal:
        desk.admit(limit(1), TOKENS)
    assert [s.remaining for s in refusal.value.standings] == [0, 120]


def test_a_grant_tells_what_is_left_after_it():
    desk = Desk()
    (requests, tokens) = desk.admit(REQUESTS, TOKENS).standings
    assert (requests.limit, requests.remaining) == (REQUESTS, 5)
    assert (tokens.remaining, tokens.reset_s) == (120, 61.0)


def test_an_unknown_price_reserves_nothing_and_counts_nothing():
    desk = Desk()
    grant = desk.admit(DAILY, estimate=Estimate(10, 20, None))
    assert desk.state(DAILY) == [(0, 0)]
    desk.settle(grant, Spent(10, 20, None))
    assert desk.state(DAILY) == [(0, 0)]


def test_a_hard_budget_stops_when_it_is_spent_and_a_soft_one_only_warns():
    desk = Desk()
    desk.settle(desk.admit(SOFT), Spent(1, 1, 99))
    assert desk.admit(SOFT).warnings == ()
    desk.settle(desk.admit(DAILY, SOFT), Spent(1, 1, 500))
    assert [found.spent_nano_usd for found in desk.admit(SOFT).warnings] == [599]
    with pytest.raises(BudgetExhausted):
        desk.admit(DAILY)


def test_what_other_workers_spent_counts():
    desk = Desk()
    desk.books.told({(DAILY.id, DAY): 499})
    grant = desk.admit(DAILY)
    with pytest.raises(BudgetExhausted):
        desk.admit(DAILY)
    desk.release(grant)
    desk.admit(DAILY)


@pytest.mark.parametrize(("share", "admitted"), [(1, 6), (2, 3), (4, 1), (50, 1)])
def test_a_process_of_several_enforces_its_part_but_at_least_one(share, admitted):
    desk = Desk()
    desk.local.share = share
    count = 0
    with suppress(RateLimited):
        while count < 10:
            desk.admit(REQUESTS)
            count += 1
    assert count == admitted


def test_a_limit_that_is_lowered_or_raised_keeps_its_counts():
    desk = Desk()
    for _ in range(3):
        desk.admit(limit(3))
    with pytest.raises(RateLimited):
        desk.admit(limit(2))
    assert desk.admit(limit(10)).standings[0].remaining == 6


def test_another_window_starts_anew_and_old_requests_end_where_they_began():
    desk = Desk()
    grant = desk.admit(limit(1))
    desk.admit(limit(1, window_s=3600))
    desk.release(grant)
    with pytest.raises(RateLimited):
        desk.admit(limit(1, window_s=3600))


def test_counts_of_deleted_limits_are_forgotten():
    desk = Desk()
    desk.admit(REQUESTS, TOKENS)
    desk.local.retain({TOKENS.id})
    assert desk.state(REQUESTS, TOKENS) == [(0,), (30,)]
