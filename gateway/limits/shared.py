"""Limits and budgets counted in Redis, together with all other processes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import date
from itertools import count
from math import inf
from typing import Any, NamedTuple

from gateway.access import Budget, Limit, Standing
from gateway.errors import BudgetExhausted, RateLimited
from gateway.limits.budgets import BudgetBook, BudgetBooks, warnings
from gateway.limits.charges import Estimate, Spent
from gateway.limits.leases import Hold, Keyspace, SharedGrant, shape_of
from gateway.limits.link import RedisLink
from gateway.limits.refusals import budget_exhausted, rate_limited
from gateway.limits.reporter import Reporter, figures_of
from gateway.limits.sharing import RedisAway, RedisTerms, Spawn
from gateway.limits.window import reservation

CLOSE_LIMIT_S = 1.0  # for what still waits to be reported


class Question(NamedTuple):
    """What one request asks of Redis; `needs` stand beside `limits`."""

    lease: str
    limits: Sequence[Limit]
    needs: Sequence[int]
    budgets: Sequence[Budget]
    books: tuple[BudgetBook, ...]
    cost_nano_usd: int


class SharedLimits:
    """Admits in one round trip; what ends is reported behind the request.

    Reservations of money are written into the books before Redis is asked, because
    every call states this worker's own figures, whole: one that overtakes another must
    know of it.
    """

    def __init__(
        self,
        url: str,
        books: BudgetBooks,
        *,
        worker: str,
        terms: RedisTerms,
        clock: Callable[[], float],
    ) -> None:
        """`worker` is unique to this run of the process; the books are the limiter's."""
        self._link = RedisLink(url, worker=worker, terms=terms, clock=clock)
        self._keys = Keyspace()
        self._reporter = Reporter(
            self._link, self._keys, lease_s=terms.lease_s, clock=clock
        )
        self._books = books
        self._worker = worker
        self._numbers = count(1)

    @property
    def is_up(self) -> bool:
        """Say whether Redis answers, as far as is known."""
        return self._link.circuit.is_closed

    async def start(self, spawn: Spawn, *, installation: str) -> None:
        """Try Redis once, and keep in touch with it from now on."""
        self._keys.prefix = installation
        with suppress(RedisAway):
            await self._reporter.renew()
        spawn(self._reporter.run(), name="report to Redis")

    async def aclose(self) -> None:
        """Report what is not yet reported, a second at most, and disconnect."""
        with suppress(RedisAway, TimeoutError):
            async with asyncio.timeout(CLOSE_LIMIT_S):
                if self.is_up:
                    await self._reporter.flush()
        await self._link.aclose()

    async def admit(
        self,
        limits: Sequence[Limit],
        budgets: Sequence[Budget],
        estimate: Estimate,
        *,
        day: date,
    ) -> SharedGrant:
        """Reserve the estimate everywhere, or raise and reserve nothing.

        Raises:
            RateLimited: a limit is reached; concurrency is named first, then the limit
                with the longest wait.
            BudgetExhausted: nothing is left of a hard budget.
            RedisAway: Redis did not answer, so nobody knows; ask elsewhere.

        """
        question = self._question(limits, budgets, estimate, day)
        for book in question.books:
            book.reserve(question.cost_nano_usd)
        try:
            reply = await self._link.admit(self._keys_of(question), _told(question))
        except BaseException:
            # Redis may have admitted it all the same.
            self._reporter.drop(limits, question.lease)
            self._settle(question.books, question.cost_nano_usd, 0)
            raise
        refusal = _refusal(question, reply)
        if refusal is not None:
            self._settle(question.books, question.cost_nano_usd, 0)
            raise refusal
        grant = _granted(question, reply)
        self._reporter.begin(grant)
        return grant

    def settle(self, grant: SharedGrant, spent: Spent) -> None:
        """Replace what is reserved by what was used; a second time changes nothing."""
        if not self._reporter.end(grant):
            return
        for limit, slot, reserved in grant.holds:
            difference = spent.amount(limit.measure) - reserved
            self._reporter.correct(limit, slot, difference)
        self._end(grant, spent.known_cost_nano_usd)

    def release(self, grant: SharedGrant) -> None:
        """Give back everything; a second time changes nothing."""
        if not self._reporter.end(grant):
            return
        for limit, slot, reserved in grant.holds:
            self._reporter.correct(limit, slot, -reserved)
        self._end(grant, 0)

    def _end(self, grant: SharedGrant, cost_nano_usd: int) -> None:
        self._reporter.drop((hold.limit for hold in grant.holds), grant.lease)
        self._settle(grant.books, grant.reserved_nano_usd, cost_nano_usd)

    def _settle(
        self, books: Sequence[BudgetBook], reserved_nano_usd: int, spent_nano_usd: int
    ) -> None:
        for book in books:
            book.settle(reserved_nano_usd, spent_nano_usd)
        self._reporter.touch(books)

    def _question(
        self,
        limits: Sequence[Limit],
        budgets: Sequence[Budget],
        estimate: Estimate,
        day: date,
    ) -> Question:
        return Question(
            lease=f"{self._worker}:{next(self._numbers)}",
            limits=limits,
            needs=[
                reservation(estimate.amount(limit.measure), amount=limit.amount)
                for limit in limits
            ],
            budgets=budgets,
            books=tuple([self._books.of(budget, day) for budget in budgets]),
            cost_nano_usd=estimate.known_cost_nano_usd,
        )

    def _keys_of(self, question: Question) -> list[str]:
        keys = [self._keys.limit(limit) for limit in question.limits]
        for book in question.books:
            keys += self._keys.book(book)
        return [*keys, self._keys.workers]


def _told(question: Question) -> dict[str, Any]:
    return {
        "lease": question.lease,
        "cost": question.cost_nano_usd,
        "limits": [
            {"amount": limit.amount, "needed": needed}
            | ({} if limit.window_s is None else shape_of(limit.window_s))
            for limit, needed in zip(question.limits, question.needs, strict=True)
        ],
        "budgets": [
            figures_of(book)
            | {
                "amount": budget.amount_nano_usd,
                "is_hard": budget.is_hard,
                "others": book.others_nano_usd,
            }
            for budget, book in zip(question.budgets, question.books, strict=True)
        ],
    }


def _refusal(question: Question, reply: Any) -> RateLimited | BudgetExhausted | None:
    limit_number, wait_us, budget_number, _, _ = reply
    if limit_number:
        return rate_limited(
            question.limits[limit_number - 1],
            wait_s=inf if wait_us < 0 else wait_us / 1_000_000,
            standings=_standings(question, reply),
        )
    if budget_number:
        at = budget_number - 1
        # With a budget, the second figure says whether it is spent, or only reserved.
        return budget_exhausted(
            question.budgets[at], question.books[at].key[1], is_spent=bool(wait_us)
        )
    return None


def _granted(question: Question, reply: Any) -> SharedGrant:
    _, _, _, stands, spends = reply
    return SharedGrant(
        standings=_standings(question, reply),
        warnings=warnings(question.budgets, spends),
        budget_periods=tuple([book.key for book in question.books]),
        lease=question.lease,
        holds=tuple(
            [
                Hold(limit, slot, needed)
                for limit, needed, (slot, _, _) in zip(
                    question.limits, question.needs, stands, strict=True
                )
            ]
        ),
        books=question.books,
        reserved_nano_usd=question.cost_nano_usd,
    )


def _standings(question: Question, reply: Any) -> tuple[Standing, ...]:
    stands = reply[3]
    return tuple(
        [
            Standing(limit, max(0, limit.amount - used), reset_us / 1_000_000)
            for limit, (_, used, reset_us) in zip(question.limits, stands, strict=True)
        ]
    )
