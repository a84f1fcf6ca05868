"""Background work: one process at a time does it, by a lease in the database.

But for the spool of usage: it lies on this machine, so every process drains its own.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta

from asgiref.sync import (
    sync_to_async,  # noqa: TID251 - background work, not the request path
)
from django.conf import settings
from django.db import close_old_connections, connections
from django.utils import timezone

from gateway import notices
from gateway.bookkeeping import drain, merge_spends, prune
from gateway.discovery import refresh_ollama
from gateway.heartbeat import forget_runs
from gateway.keeper import Keeper, pause
from gateway.late_upstream import LateUpstream
from gateway.lease import hold_lease, release_lease
from gateway.promoting import Promoter
from gateway.snapshot_store import DATABASE_AWAY

logger = logging.getLogger(__name__)

LEASE = "jobs"
LEASE_S = 15.0  # a leader that is not heard of for this long is replaced
TURN_S = 5.0  # between two looks at the lease and the clock
DISCOVERY_INTERVAL_S = 60.0
CLEANING_INTERVAL_S = 600.0
NOTICES_INTERVAL_S = 5.0
MERGING_INTERVAL_S = 60.0
PRUNING_INTERVAL_S = 60.0
PRUNING_BATCHES = 50  # at each interval: the lease must not run out meanwhile
PRUNING_PAUSE_S = 0.05  # between two batches, in which others may write
DRAIN_INTERVAL_S = 1.0  # each commit is flushed, and holds up who appends meanwhile


@dataclass(slots=True)
class Job:
    """Work that is done again and again; `due_s` is on the monotonic clock."""

    name: str
    work: Callable[[], Awaitable[None]]
    interval_s: float
    due_s: float = 0.0


class JobRunner:
    """Does the background work while it holds the lease."""

    def __init__(self, *, holder: str) -> None:
        """`holder` names this process in the lease."""
        self._holder = holder
        self._upstream = LateUpstream()
        self._is_leading = False
        self._are_books_waiting = False
        self._promoter = Promoter()
        self._gone_workers: frozenset[str] = frozenset()
        self._jobs = [
            Job("tell of budgets", self._tell, NOTICES_INTERVAL_S),
            Job("discover models", self._discover, DISCOVERY_INTERVAL_S),
            Job("merge spends", self._merge, MERGING_INTERVAL_S),
            Job("prune usage", self._prune, PRUNING_INTERVAL_S),
            Job("forget old heartbeats", self._clean, CLEANING_INTERVAL_S),
        ]

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set. A database that is away is waited for."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._lead(stop), name="lead")
            tasks.create_task(self._keep_books(stop), name="keep the books")
            tasks.create_task(self._promote(stop), name="promote")
            if settings.ENABLE_MEMORY or settings.ENABLE_RAG:
                tasks.create_task(self._keep(stop), name="keep")

    async def _lead(self, stop: asyncio.Event) -> None:
        try:
            while not stop.is_set():
                await self._turn()
                await pause(stop, TURN_S)
        finally:
            await self._upstream.aclose()
            await self._give_back()

    async def _keep_books(self, stop: asyncio.Event) -> None:
        """Drain the spool until `stop` is set, and then what the workers left behind.

        In a thread of its own: the books must not wait for a job.
        """
        loop = asyncio.get_running_loop()
        with ThreadPoolExecutor(1, thread_name_prefix="ailb-books") as thread:
            while not stop.is_set():
                await loop.run_in_executor(thread, self._drain)
                await pause(stop, DRAIN_INTERVAL_S)
            while await loop.run_in_executor(thread, self._drain):
                continue
            await loop.run_in_executor(thread, connections.close_all)

    def _drain(self) -> int:
        """Drain once; 0 when nothing is left, or it cannot be done now."""
        try:
            close_old_connections()
            recorded = drain(settings.AILB_SPOOL_DIR)
        except DATABASE_AWAY as error:
            if not self._are_books_waiting:
                logger.warning("usage waits in the spool", extra={"reason": str(error)})
            self._are_books_waiting = True
            return 0
        except Exception:  # a process edge: the books must go on after any one fault
            logger.exception("draining the spool of usage failed; it is tried again")
            return 0
        self._are_books_waiting = False
        return recorded

    async def _promote(self, stop: asyncio.Event) -> None:
        """Look after promotions, each second while this process leads.

        In a thread of its own: a step may be due every second, and a version that fails
        is taken back at once, however long a turn of the jobs takes.
        """
        keeper = Keeper(
            "the split of traffic",
            lambda: self._promoter.do_round(timezone.now()),
            is_leading=lambda: self._is_leading,
        )
        await keeper.run(stop)

    async def _keep(self, stop: asyncio.Event) -> None:
        """Look after the database, and what is switched on of memory and documents.

        Each in a thread of its own: none waits for another's long round.
        """
        # Numpy comes with it, which only memory and documents need.
        from gateway.rounds import Rounds  # noqa: PLC0415

        rounds, is_leading = Rounds(), lambda: self._is_leading
        keepers = [
            Keeper("the database's upkeep", rounds.keep_database, is_leading=is_leading)
        ]
        if settings.ENABLE_MEMORY:
            keepers.append(
                Keeper("memory's upkeep", rounds.keep_memory, is_leading=is_leading)
            )
        if settings.ENABLE_RAG:
            keepers.append(
                Keeper(
                    "documents' upkeep",
                    rounds.keep_documents,
                    is_leading=is_leading,
                    end_soon=rounds.end_documents,
                    leave=rounds.leave_documents,
                )
            )
        try:
            async with asyncio.TaskGroup() as tasks:
                for keeper in keepers:
                    tasks.create_task(keeper.run(stop))
        finally:
            await asyncio.get_running_loop().run_in_executor(None, rounds.close)

    async def _turn(self) -> None:
        try:
            self._is_leading = await sync_to_async(self._is_leader)()
            if not self._is_leading:
                return
            for job in self._jobs:
                if job.due_s <= time.monotonic():
                    await self._do(job)
        except DATABASE_AWAY as error:
            logger.warning("jobs wait: database away", extra={"reason": str(error)})

    async def _do(self, job: Job) -> None:
        job.due_s = time.monotonic() + job.interval_s
        try:
            await job.work()
        except DATABASE_AWAY:
            raise
        except Exception:  # a process edge: one job's fault must not stop the others
            logger.exception("job failed", extra={"job": job.name})

    def _is_leader(self) -> bool:
        close_old_connections()
        return hold_lease(LEASE, self._holder, now=timezone.now(), duration_s=LEASE_S)

    async def _discover(self) -> None:
        for refreshed in await refresh_ollama(self._upstream):
            logger.debug("discovery", extra={"result": str(refreshed)})

    async def _tell(self) -> None:
        await notices.tell(self._upstream, today=timezone.now().date())

    async def _merge(self) -> None:
        self._gone_workers = await sync_to_async(merge_spends)(
            settings.AILB_SPOOL_DIR, suspects=self._gone_workers
        )

    async def _prune(self) -> None:
        midnight = timezone.now().replace(hour=0, minute=0, second=0, microsecond=0)
        before = midnight - timedelta(days=settings.AILB_USAGE_RETENTION_DAYS)
        for _ in range(PRUNING_BATCHES):
            if not await sync_to_async(prune)(before=before):
                return
            await asyncio.sleep(PRUNING_PAUSE_S)

    async def _clean(self) -> None:
        await sync_to_async(forget_runs)(
            instance=settings.AILB_MODULE_ID, run=settings.AILB_RUN, now=timezone.now()
        )

    async def _give_back(self) -> None:
        try:
            await sync_to_async(release_lease)(LEASE, self._holder)
        except DATABASE_AWAY:
            return  # it runs out by itself
