"""What budgets have spent: calendar periods and this process's books (pure).

Each process knows its own sum exactly and everybody else's as the database last told it.
With a share of 1 a budget admits while others + own + reserved is below its amount, so it
is overshot by at most what concurrent requests cost beyond their reservations, plus the
one request that took what was left.

Processes that do not see each other divide what is left: with a share of N each may
spend 1/N of what was left when it was last told. Others' newest spending is missing in
that figure. If it is at most one refresh late, all together overshoot by no more than
(N-1)/N of what was left at that refresh.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from functools import lru_cache

from gateway.access import Budget
from gateway.kinds import Period
from gateway.limits.charges import BudgetStanding

BEGINNING = date(1970, 1, 1)  # of the one period of a TOTAL budget

BookKey = tuple[int, date]  # budget id, first day of the period


@lru_cache(maxsize=64)  # asked for every request, and the same all day
def period_start(period: Period, day: date) -> date:
    """Give the first day of the period that a day (in UTC) is in."""
    match period:
        case Period.DAY:
            return day
        case Period.WEEK:
            return day - timedelta(days=day.weekday())
        case Period.MONTH:
            return day.replace(day=1)
        case Period.TOTAL:
            return BEGINNING


def period_end(period: Period, start: date) -> date | None:
    """Give the first day of the next period; None if there is none."""
    match period:
        case Period.DAY:
            return start + timedelta(days=1)
        case Period.WEEK:
            return start + timedelta(days=7)
        case Period.MONTH:
            return (start + timedelta(days=31)).replace(day=1)
        case Period.TOTAL:
            return None


@dataclass(slots=True, eq=False)
class BudgetBook:
    """One budget in one period.

    `own_nano_usd` is what this process's requests have cost, `reserved_nano_usd` what
    those under way may cost, `others_nano_usd` what all other processes' have cost, as
    last told.
    """

    key: BookKey
    period: Period
    others_nano_usd: int = 0
    own_nano_usd: int = 0
    reserved_nano_usd: int = 0
    _own_when_told: int = 0

    def told(self, others: int) -> None:
        """Take note of what all other processes' requests have cost by now."""
        self.others_nano_usd = others
        self._own_when_told = self.own_nano_usd

    def has_room(self, amount: int, *, share: int) -> bool:
        """Say whether anything is left of this process's part of the budget."""
        left = max(0, amount - self.others_nano_usd - self._own_when_told)
        return (
            self.own_nano_usd + self.reserved_nano_usd
            < self._own_when_told + left // share
        )

    @property
    def spent_nano_usd(self) -> int:
        """Give what is spent, reservations not counted."""
        return self.others_nano_usd + self.own_nano_usd

    def is_spent(self, amount: int) -> bool:
        """Say whether it is gone, reservations not counted."""
        return self.spent_nano_usd >= amount

    def reserve(self, cost: int) -> None:
        """Set aside what a request may cost."""
        self.reserved_nano_usd += cost

    def settle(self, reserved: int, spent: int) -> None:
        """End a reservation with what the request did cost."""
        self.reserved_nano_usd -= reserved
        self.own_nano_usd += spent


@dataclass(slots=True)
class BudgetBooks:
    """The books of this process, of the current period and the one before."""

    _books: dict[BookKey, BudgetBook] = field(default_factory=dict)
    _others: Mapping[BookKey, int] = field(default_factory=dict)

    def of(self, budget: Budget, day: date) -> BudgetBook:
        """Give the book of the period that a day is in; a new one starts at zero."""
        key = (budget.id, period_start(budget.period, day))
        return self._books.get(key) or self._open(key, budget.period)

    def told(self, others: Mapping[BookKey, int]) -> None:
        """Take note of all other processes' sums; one that is missing is zero."""
        self._others = dict(others)
        for key, book in self._books.items():
            book.told(self._others.get(key, 0))

    def retain(self, budget_ids: Collection[int]) -> None:
        """Drop the books of budgets that are not configured any more."""
        self._books = {
            key: book for key, book in self._books.items() if key[0] in budget_ids
        }

    def _open(self, key: BookKey, period: Period) -> BudgetBook:
        # Requests under way hold their book themselves: one that is dropped here is only
        # never asked again. The last is kept in case the clock is put back a little.
        known = [old for old in self._books if old[0] == key[0]]
        for old in known[:-1]:
            del self._books[old]
        others = self._others.get(key, 0)
        book = self._books[key] = BudgetBook(key, period, others_nano_usd=others)
        return book


def warnings(
    budgets: Sequence[Budget], spends: Sequence[int]
) -> tuple[BudgetStanding, ...]:
    """Give those budgets that stand at or over their `warn_percent`.

    `spends` stand beside `budgets`, in billionths of a USD.
    """
    return tuple(
        [
            BudgetStanding(budget, spent, percent)
            for budget, spent in zip(budgets, spends, strict=True)
            if budget.warn_percent is not None
            and (percent := _percent(spent, budget.amount_nano_usd))
            >= budget.warn_percent
        ]
    )


def _percent(spent: int, amount: int) -> int:
    return spent * 100 // amount if amount else 100
