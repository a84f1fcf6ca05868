"""The one door to limits and budgets, in this process or in Redis."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from datetime import date, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING

from gateway import metrics
from gateway.access import Budget, Limit
from gateway.errors import BudgetExhausted, RateLimited
from gateway.limits.budgets import BudgetBooks
from gateway.limits.charges import NOTHING, Estimate, Grant, Spent
from gateway.limits.leases import SharedGrant
from gateway.limits.local import LocalGrant, LocalLimits
from gateway.limits.sharing import RedisAway, RedisTerms, Spawn

if TYPE_CHECKING:
    from gateway.limits.shared import SharedLimits

DAY_S = 86_400
EPOCH = date(1970, 1, 1)


def utc_day() -> date:
    """Give the day in UTC."""
    return _day(int(time.time()) // DAY_S)  # noqa: TID251 - a date


@lru_cache(maxsize=4)
def _day(number: int) -> date:
    return EPOCH + timedelta(days=number)


class Limiter:
    """Admits requests against several limits and budgets at once, all or nothing.

    Each grant is ended once, by `settle` or `release`, on the side that gave it; a
    second time does nothing. Limits and budgets of one request are distinct.

    Without Redis, and while it is away, this process counts for itself: with N
    processes each enforces its share, see `set_share`.
    """

    def __init__(
        self,
        *,
        worker: str,
        redis_url: str | None,
        clock: Callable[[], float] = time.monotonic,
        today: Callable[[], date] = utc_day,
        terms: RedisTerms | None = None,
    ) -> None:
        """`worker` is unique to this run of the process; `today` is a day in UTC."""
        self._clock = clock
        self._today = today
        self._books = BudgetBooks()
        self._local = LocalLimits(self._books)
        self._is_started = False
        self._mirrors: dict[Grant, LocalGrant] = {}  # of what was counted in Redis
        self._shared: SharedLimits | None = None
        if redis_url is not None:
            from gateway.limits.shared import SharedLimits  # noqa: PLC0415  # heavy

            self._shared = SharedLimits(
                redis_url,
                self._books,
                worker=worker,
                terms=terms or RedisTerms(),
                clock=clock,
            )

    @property
    def is_shared(self) -> bool:
        """Say whether limits are counted in Redis now."""
        return self._shared is not None and self._shared.is_up

    async def start(self, spawn: Spawn, *, installation: str) -> None:
        """Try Redis once and keep in touch with it; without it, do nothing.

        `installation` tells ours from others that use the same Redis. Called again it
        does nothing. Waits a second at most; a Redis that is away does not keep a process
        from serving.
        """
        if self._shared is not None and not self._is_started:
            self._is_started = True
            await self._shared.start(spawn, installation=installation)

    async def aclose(self) -> None:
        """Report what is not yet reported, a second at most, and disconnect."""
        if self._shared is not None:
            await self._shared.aclose()

    async def admit(
        self, limits: Sequence[Limit], budgets: Sequence[Budget], estimate: Estimate
    ) -> Grant:
        """Reserve the estimate in every limit and budget, or in none.

        Raises:
            RateLimited: a limit is reached.
            BudgetExhausted: a hard budget is spent.

        """
        if not limits and not budgets:
            return NOTHING
        try:
            if self.is_shared:
                grant = await self._admit_everywhere(limits, budgets, estimate)
            else:
                grant = self._admit_here(limits, budgets, estimate)
        except RateLimited as refusal:
            metrics.LIMIT_REFUSALS.labels(refusal.scope, refusal.measure).inc()
            raise
        except BudgetExhausted as refusal:
            metrics.BUDGET_REFUSALS.labels(refusal.scope, refusal.period).inc()
            raise
        for warning in grant.warnings:
            budget = warning.budget
            metrics.BUDGET_WARNINGS.labels(budget.scope, budget.period).inc()
        return grant

    async def _admit_everywhere(
        self, limits: Sequence[Limit], budgets: Sequence[Budget], estimate: Estimate
    ) -> Grant:
        assert self._shared is not None
        with suppress(RedisAway):
            grant = await self._shared.admit(
                limits, budgets, estimate, day=self._today()
            )
            self._mirrors[grant] = self._local.mirror(
                limits, estimate, now_s=self._clock()
            )
            return grant
        return self._admit_here(limits, budgets, estimate)

    def _admit_here(
        self, limits: Sequence[Limit], budgets: Sequence[Budget], estimate: Estimate
    ) -> LocalGrant:
        return self._local.admit(
            limits, budgets, estimate, now_s=self._clock(), day=self._today()
        )

    def settle(self, grant: Grant, spent: Spent) -> None:
        """Replace what the grant reserved by what was used; never raises."""
        if isinstance(grant, LocalGrant):
            self._local.settle(grant, spent, now_s=self._clock())
        elif isinstance(grant, SharedGrant) and self._shared is not None:
            self._shared.settle(grant, spent)
            if (mirror := self._mirrors.pop(grant, None)) is not None:
                self._local.settle(mirror, spent, now_s=self._clock())

    def release(self, grant: Grant) -> None:
        """Give everything back, because nothing reached a provider; never raises."""
        if isinstance(grant, LocalGrant):
            self._local.release(grant, now_s=self._clock())
        elif isinstance(grant, SharedGrant) and self._shared is not None:
            self._shared.release(grant)
            if (mirror := self._mirrors.pop(grant, None)) is not None:
                self._local.release(mirror, now_s=self._clock())

    def set_share(self, processes: int) -> None:
        """Divide limits by so many processes (at least 1) while each counts alone."""
        self._local.share = max(1, processes)

    def refresh_spends(self, others: Mapping[tuple[int, date], int]) -> None:
        """Take note of what all other workers' requests have cost, in nano-USD.

        By budget id and first day of the period; what is missing is zero.
        """
        self._books.told(others)

    def retain(self, limit_ids: Collection[int], budget_ids: Collection[int]) -> None:
        """Forget limits and budgets that are not configured any more."""
        self._local.retain(limit_ids)
        self._books.retain(budget_ids)
