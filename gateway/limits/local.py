"""Limits and budgets counted in this process alone (pure)."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date
from typing import NamedTuple

from gateway.access import Budget, Limit, Standing
from gateway.errors import RateLimited
from gateway.limits.budgets import BudgetBook, BudgetBooks, warnings
from gateway.limits.charges import Estimate, Grant, Spent
from gateway.limits.refusals import budget_exhausted, rate_limited
from gateway.limits.window import InFlight, SlidingWindow, reservation

Tally = SlidingWindow | InFlight


class Claim(NamedTuple):
    """What one request asks of one limit; `amount` is this process's part of it."""

    limit: Limit
    tally: Tally
    amount: int
    needed: int


class Hold(NamedTuple):
    """What one request holds of one limit."""

    limit: Limit
    tally: Tally
    needed: int
    slot: int


@dataclass(slots=True, eq=False)
class LocalGrant(Grant):
    """A grant with what it holds in this process."""

    holds: Sequence[Hold] = ()
    books: tuple[BudgetBook, ...] = ()
    reserved_nano_usd: int = 0


class LocalLimits:
    """Admits, settles and gives back, all without waiting for anything.

    Of every limit it enforces a part, `amount // share` but at least 1: so many
    processes count apart. Where an amount is smaller than the share, all together may
    admit up to one each. A limit whose window changes starts anew; one whose amount
    changes keeps its counts.
    """

    def __init__(self, books: BudgetBooks) -> None:
        """Keep the books, which the shared side writes too."""
        self.share = 1
        self._books = books
        self._tallies: dict[int, Tally] = {}
        self._live: set[LocalGrant] = set()

    def admit(
        self,
        limits: Sequence[Limit],
        budgets: Sequence[Budget],
        estimate: Estimate,
        *,
        now_s: float,
        day: date,
    ) -> LocalGrant:
        """Reserve the estimate everywhere, or raise and change nothing.

        Raises:
            RateLimited: a limit is reached; concurrency is named first, then the limit
                with the longest wait.
            BudgetExhausted: nothing is left of a hard budget.

        """
        holds: list[Hold] = []
        standings: list[Standing] = []
        # One pass, which is undone when it fails: most requests are admitted.
        for limit in limits:
            _, tally, amount, needed = self._claim(limit, estimate)
            taken = tally.take(needed, amount=amount, now_s=now_s)
            if taken is None:
                _give_back(holds, now_s)
                raise _refusal([self._claim(one, estimate) for one in limits], now_s)
            holds.append(Hold(limit, tally, needed, taken.slot))
            left = max(0, amount - taken.used)
            standings.append(Standing(limit, left, taken.reset_s))
        books = tuple([self._books.of(budget, day) for budget in budgets])
        for budget, book in zip(budgets, books, strict=True):
            if budget.is_hard and not book.has_room(
                budget.amount_nano_usd, share=self.share
            ):
                _give_back(holds, now_s)
                is_spent = book.is_spent(budget.amount_nano_usd)
                raise budget_exhausted(budget, book.key[1], is_spent=is_spent)
        cost = estimate.known_cost_nano_usd
        for book in books:
            book.reserve(cost)
        grant = LocalGrant(
            standings=tuple(standings),
            warnings=warnings(budgets, [book.spent_nano_usd for book in books]),
            budget_periods=tuple([book.key for book in books]),
            holds=holds,
            books=books,
            reserved_nano_usd=cost,
        )
        self._live.add(grant)
        return grant

    def mirror(
        self, limits: Sequence[Limit], estimate: Estimate, *, now_s: float
    ) -> LocalGrant:
        """Count what was admitted elsewhere, whether it fits here or not.

        So that this process knows its part of the windows when it must decide alone.
        """
        claims = [self._claim(limit, estimate) for limit in limits]
        grant = LocalGrant(
            holds=[
                Hold(limit, tally, needed, tally.add(needed, now_s=now_s))
                for limit, tally, _, needed in claims
            ]
        )
        self._live.add(grant)
        return grant

    def settle(self, grant: LocalGrant, spent: Spent, *, now_s: float) -> None:
        """Replace what is reserved by what was used; a second time changes nothing."""
        if grant not in self._live:
            return
        self._live.remove(grant)
        for limit, tally, needed, slot in grant.holds:
            difference = spent.amount(limit.measure) - needed
            if difference:
                tally.correct(slot, difference, now_s=now_s)
        for book in grant.books:
            book.settle(grant.reserved_nano_usd, spent.known_cost_nano_usd)

    def release(self, grant: LocalGrant, *, now_s: float) -> None:
        """Give back everything; a second time changes nothing."""
        if grant not in self._live:
            return
        self._live.remove(grant)
        _give_back(grant.holds, now_s)
        for book in grant.books:
            book.settle(grant.reserved_nano_usd, 0)

    def retain(self, limit_ids: Collection[int]) -> None:
        """Drop the counts of limits that are not configured any more."""
        self._tallies = {
            limit_id: tally
            for limit_id, tally in self._tallies.items()
            if limit_id in limit_ids
        }

    def _claim(self, limit: Limit, estimate: Estimate) -> Claim:
        tally = self._tallies.get(limit.id)
        if tally is None or tally.window_s != limit.window_s:
            tally = self._begin(limit)
        share = self.share
        amount = limit.amount if share == 1 else max(1, limit.amount // share)
        needed = reservation(estimate.amount(limit.measure), amount=amount)
        return Claim(limit, tally, amount, needed)

    def _begin(self, limit: Limit) -> Tally:
        window_s = limit.window_s
        tally = InFlight() if window_s is None else SlidingWindow(window_s)
        self._tallies[limit.id] = tally
        return tally


def _give_back(holds: Sequence[Hold], now_s: float) -> None:
    for _, tally, needed, slot in holds:
        tally.correct(slot, -needed, now_s=now_s)


def _refusal(claims: Sequence[Claim], now_s: float) -> RateLimited:
    """Name the limit with the longest wait of those that are reached."""
    waits = [
        (tally.wait_s(needed, amount=amount, now_s=now_s), limit)
        for limit, tally, amount, needed in claims
        if not tally.fits(needed, amount=amount, now_s=now_s)
    ]
    wait_s, limit = max(waits, key=lambda wait: wait[0])
    standings = tuple(
        Standing(limit, max(0, amount - tally.used(now_s)), tally.reset_s(now_s))
        for limit, tally, amount, _ in claims
    )
    return rate_limited(limit, wait_s=wait_s, standings=standings)
