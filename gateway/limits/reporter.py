"""Tells Redis, behind the requests, what ended, what is spent and what is still held."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from gateway.access import Limit
from gateway.kinds import Period
from gateway.limits.budgets import BudgetBook
from gateway.limits.leases import Keyspace, SharedGrant, shape_of
from gateway.limits.link import RedisLink
from gateway.limits.sharing import RedisAway

logger = logging.getLogger(__name__)

RENEWALS_PER_LEASE = 3
MOST_UNREPORTED = 10_000  # ended holds; beyond, the oldest leave with their window
REPORT_SIZE = 500  # of these in one call, so that Redis is not held up
_DAY_MS = 86_400_000
# How long Redis keeps a period's sums after they were last written: longer than the
# period. The database knows the sum of a TOTAL budget that was idle for so long.
_KEPT_MS = {
    Period.DAY: 2 * _DAY_MS,
    Period.WEEK: 8 * _DAY_MS,
    Period.MONTH: 32 * _DAY_MS,
    Period.TOTAL: 32 * _DAY_MS,
}

Ended = tuple[str, dict[str, Any]]  # a limit's key, and what the script needs


def figures_of(book: BudgetBook) -> dict[str, int]:
    """Say what this worker knows of a book, in absolute figures."""
    return {
        "settled": book.own_nano_usd,
        "reserved": book.reserved_nano_usd,
        "ttl_ms": _KEPT_MS[book.period],
    }


class Reporter:
    """Reports at once what ended, and renews what is held three times per lease.

    The books are reported in absolute figures, so a report that is lost or repeated does
    no harm. Corrections of windows are not repeated: what they miss leaves with the
    window. While Redis is away the renewal is what tries it again.
    """

    def __init__(
        self,
        link: RedisLink,
        keys: Keyspace,
        *,
        lease_s: float,
        clock: Callable[[], float],
    ) -> None:
        """Start with nothing to report."""
        self._link = link
        self._keys = keys
        self._clock = clock
        self._interval_s = lease_s / RENEWALS_PER_LEASE
        self._renew_s = float("-inf")
        self._live: set[SharedGrant] = set()
        self._ended: deque[Ended] = deque(maxlen=MOST_UNREPORTED)
        self._touched: set[BudgetBook] = set()
        self._news = asyncio.Event()

    def begin(self, grant: SharedGrant) -> None:
        """Keep a grant's leases alive from now on."""
        self._live.add(grant)

    def end(self, grant: SharedGrant) -> bool:
        """Stop renewing; False if it had ended before."""
        if grant not in self._live:
            return False
        self._live.remove(grant)
        return True

    def correct(self, limit: Limit, slot: int, difference: int) -> None:
        """Change what a window counts in a slot."""
        if difference and limit.window_s is not None:
            shape = {"slot": slot, "difference": difference, **shape_of(limit.window_s)}
            self._ended.append((self._keys.limit(limit), shape))
            self._news.set()

    def drop(self, limits: Iterable[Limit], lease: str) -> None:
        """Give back a lease wherever it counts as in flight."""
        for limit in limits:
            if limit.window_s is None:
                self._ended.append((self._keys.limit(limit), {"lease": lease}))
                self._news.set()

    def touch(self, books: Sequence[BudgetBook]) -> None:
        """Report these books anew."""
        if books:
            self._touched.update(books)
            self._news.set()

    async def run(self) -> None:
        """Report until cancelled."""
        while True:
            await self._rest()
            try:
                await self._report_what_is_due()
            except RedisAway as error:
                logger.debug("report not delivered", exc_info=error)
            except Exception:  # a process edge: reporting must never end for good
                logger.exception("reporting to Redis failed; it goes on")

    async def renew(self) -> None:
        """Write all that is held by requests under way; raises `RedisAway`."""
        self._renew_s = self._clock() + self._interval_s
        held: dict[str, list[str]] = {}
        for grant in self._live:
            for limit, _, _ in grant.holds:
                if limit.window_s is None:
                    held.setdefault(self._keys.limit(limit), []).append(grant.lease)
            self._touched.update(grant.books)
        await self._report((), held)

    async def flush(self) -> None:
        """Write what waits to be reported; raises `RedisAway`."""
        while self._ended or self._touched:
            size = min(len(self._ended), REPORT_SIZE)
            await self._report([self._ended.popleft() for _ in range(size)], {})

    async def _rest(self) -> None:
        circuit = self._link.circuit
        due_s = self._renew_s if circuit.is_closed else circuit.try_at_s
        with suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, due_s - self._clock())):
                await self._news.wait()
        self._news.clear()

    async def _report_what_is_due(self) -> None:
        circuit, now_s = self._link.circuit, self._clock()
        if circuit.is_closed:
            if now_s >= self._renew_s:
                await self.renew()
            await self.flush()
        elif now_s >= circuit.try_at_s:
            await self.renew()

    async def _report(
        self, ended: Sequence[Ended], held: Mapping[str, Sequence[str]]
    ) -> None:
        books, self._touched = self._touched, set()
        keys = [key for key, _ in ended]
        for book in books:
            keys += self._keys.book(book)
        keys += [*held, self._keys.workers]
        ask = {
            "ended": [what for _, what in ended],
            "books": [figures_of(book) for book in books],
            "held": list(held.values()),
        }
        try:
            await self._link.report(keys, ask)
        except RedisAway:
            self._touched |= books
            raise
