"""Budgets: calendar periods, this process's books, and several processes apart."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from hypothesis import given, strategies as st

from gateway.kinds import Period
from gateway.limits.budgets import (
    BudgetBook,
    BudgetBooks,
    period_end,
    period_start,
    warnings,
)
from tests.gateway.limits.quotas import DAY, budget

DAYS = st.dates(date(1999, 1, 1), date(2050, 1, 1))


@pytest.mark.parametrize(
    ("period", "day", "start", "end"),
    [
        (Period.DAY, DAY, DAY, date(2026, 1, 2)),
        (Period.WEEK, DAY, date(2025, 12, 29), date(2026, 1, 5)),
        (Period.WEEK, date(2026, 1, 5), date(2026, 1, 5), date(2026, 1, 12)),
        (Period.MONTH, date(2025, 12, 31), date(2025, 12, 1), DAY),
        (Period.MONTH, date(2028, 2, 29), date(2028, 2, 1), date(2028, 3, 1)),
        (Period.TOTAL, DAY, date(1970, 1, 1), None),
    ],
)
def test_a_period_begins_and_ends_with_the_calendar(period, day, start, end):
    assert period_start(period, day) == start
    assert period_end(period, start) == end


@given(st.sampled_from([Period.DAY, Period.WEEK, Period.MONTH]), DAYS)
def test_periods_follow_each_other_without_gap(period, day):
    start = period_start(period, day)
    end = period_end(period, start)
    assert end is not None
    assert start <= day < end
    assert period_start(period, end) == end
    assert period_start(period, end - timedelta(days=1)) == start


def book() -> BudgetBook:
    return BudgetBook((1, DAY), Period.DAY)


def test_a_request_is_admitted_while_anything_is_left():
    mine = book()
    mine.told(899)
    assert mine.has_room(1000, share=1)
    mine.reserve(100)
    assert mine.has_room(1000, share=1)
    mine.reserve(500)
    assert not mine.has_room(1000, share=1)


def test_settling_replaces_the_reservation():
    mine = book()
    mine.reserve(500)
    mine.settle(500, 120)
    assert (mine.own_nano_usd, mine.reserved_nano_usd) == (120, 0)


def test_with_a_share_only_a_part_of_what_is_left_may_be_spent():
    mine = book()
    mine.settle(0, 100)
    mine.told(300)  # 600 are left: 200 for each of three
    mine.settle(0, 199)
    assert mine.has_room(1000, share=3)
    mine.settle(0, 1)
    assert not mine.has_room(1000, share=3)
    assert mine.has_room(1000, share=1)


def test_a_budget_of_nothing_has_no_room():
    assert not book().has_room(0, share=1)


SPENDING = st.lists(st.lists(st.integers(0, 400), min_size=4, max_size=4), max_size=12)


@given(SPENDING, st.integers(2, 4))
def test_processes_apart_overshoot_by_less_than_a_budget_if_told_one_refresh_late(
    rounds, share
):
    amount, mine = 1200, [book() for _ in range(share)]
    known = [0] * share
    for wishes in rounds:
        for one, wish in zip(mine, wishes, strict=False):
            for _ in range(wish):
                if one.has_room(amount, share=share):
                    one.settle(0, 1)
        for at, one in enumerate(mine):
            one.told(sum(known) - known[at])
        known = [one.own_nano_usd for one in mine]
    spent = sum(one.own_nano_usd for one in mine)
    assert spent <= amount + amount * (share - 1) // share


def test_a_new_period_starts_a_new_book_and_the_last_one_is_kept():
    books = BudgetBooks()
    first = books.of(budget(), DAY)
    second = books.of(budget(), DAY + timedelta(days=1))
    assert second is not first
    assert books.of(budget(), DAY) is first
    books.of(budget(), DAY + timedelta(days=2))
    assert books.of(budget(), DAY + timedelta(days=1)) is second
    assert len(books._books) == 2


def test_what_others_spent_is_known_to_books_that_are_opened_later():
    books = BudgetBooks()
    books.told({(1, DAY): 300})
    assert books.of(budget(), DAY).others_nano_usd == 300
    books.told({})
    assert books.of(budget(), DAY).others_nano_usd == 0


def test_books_of_deleted_budgets_are_dropped():
    books = BudgetBooks()
    first = books.of(budget(id=1), DAY)
    books.of(budget(id=2), DAY)
    books.retain({1})
    assert books.of(budget(id=1), DAY) is first
    assert len(books._books) == 1


@pytest.mark.parametrize(
    ("amount", "warn_percent", "spent", "percents"),
    [
        (1000, 80, 799, []),
        (1000, 80, 800, [80]),
        (1000, 80, 1555, [155]),
        (1000, None, 1000, []),
        (0, 80, 0, [100]),
    ],
)
def test_a_budget_warns_from_its_percentage_on(amount, warn_percent, spent, percents):
    row = budget(amount, warn_percent=warn_percent)
    assert [found.percent for found in warnings([row], [spent])] == percents
