"""Composition root: one process's snapshot store, client and dispatcher, and its tasks."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from datetime import date
from functools import partial
from typing import Any, TypeVar

from django.conf import settings
from django.utils import timezone

from gateway import bookkeeping, keyring, reports, spool
from gateway.auth import UNCHECKABLE, Principal, Visitor, make_door
from gateway.database_threads import DatabaseThreads
from gateway.dispatch import Dispatcher
from gateway.errors import KeyUncheckable
from gateway.heartbeat import INTERVAL_S, Pulse, http_address, live_workers
from gateway.kinds import WorkerState
from gateway.ledger import Ledger
from gateway.limits import Limiter
from gateway.parts import SharedParts, make_parts
from gateway.process_figures import ProcessFigures
from gateway.remembering import Remembering
from gateway.reranking import Reranker
from gateway.retrieving import Retrieving
from gateway.snapshot_store import DATABASE_AWAY, SnapshotStore
from gateway.spool import Spool
from gateway.upstream import Upstream
from memory.models import Session
from rag.models import Document

logger = logging.getLogger(__name__)

T = TypeVar("T")

PATIENCE_S = 2.0  # a start waits so long for a database that may be locked
CLOSE_LIMIT_S = 1.0  # and a stop so long
BOOKS_INTERVAL_S = 1.0
KEY_USES_INTERVAL_S = 5.0
FORGOTTEN_S = 1.5  # usage that no jobs process has written by then, workers write
POLL_S = 0.25  # a change of the configuration serves after at most this long


class Runtime:
    """Everything that lives as long as a process of the data plane.

    `start` is called in the event loop that serves, before the first request; it may be
    called again and then does nothing. `stop` ends every task of ours.
    """

    def __init__(self) -> None:
        """Build what needs no event loop."""
        self.snapshots = SnapshotStore(
            keys=settings.AILB_ENCRYPTION_KEYS,
            default_strategy=settings.ROUTING_STRATEGY,
            last_good=settings.AILB_SNAPSHOT_FILE,
        )
        self.pulse = make_pulse()
        self.figures = ProcessFigures()
        self._is_stopping = False
        self.upstream = Upstream()
        self.limiter = Limiter(
            worker=self.pulse.worker, redis_url=settings.REDIS_URL or None
        )
        self.limiter.set_share(settings.AILB_WORKERS)
        self.dispatcher = Dispatcher(self.upstream, self.limiter)
        self.spool = Spool(settings.AILB_SPOOL_DIR, self.pulse.worker)
        self.ledger = Ledger(self.spool, worker=self.pulse.worker, figures=self.figures)
        self.door = make_door(
            mode=settings.AILB_AUTH,
            host=settings.HOST,
            api_key=settings.AILB_API_KEY,
        )
        self._parts = SharedParts(make_parts)
        self.memory = self._make_memory()
        self.retrieving = self._make_retrieving()
        self._key_uses: dict[int, float] = {}  # row id of a key: unix time
        self._key_uses_written_s = time.monotonic()
        # One thread for the database: SQLite writes queue here instead of on its lock.
        self._database = DatabaseThreads(1, name="ailb-database")
        self._tasks: set[asyncio.Task[Any]] = set()
        self._starting = asyncio.Lock()
        self._is_started = False

    def _make_memory(self) -> Remembering:
        memory = Remembering(
            self._parts,
            spawn=self.spawn,
            deadline_s=settings.AILB_CONTEXT_DEADLINE_MS / 1000,
        )
        memory.has_company = settings.AILB_WORKERS > 1
        return memory

    def _make_retrieving(self) -> Retrieving:
        return Retrieving(
            self._parts,
            Reranker(self.upstream, lambda: self.snapshots.current.providers),
            deadline_s=settings.AILB_CONTEXT_DEADLINE_MS / 1000,
        )

    async def start(self) -> None:
        """Load the configuration and begin to follow it."""
        if self._is_started:
            return
        async with self._starting:
            if not self._is_started:
                await self._load()
                self.spawn(self._follow(), name="follow the configuration")
                self.spawn(self._beat(), name="heartbeat")
                self.spawn(self._keep_books(), name="keep the books")
                self.spawn(self._wake(), name="wake memory and documents")
                self._is_started = True

    async def _load(self) -> None:
        """Load what the database says, or what is kept if that takes too long."""
        loading = self.spawn(self._refresh(), name="load the configuration")
        await asyncio.wait({loading}, timeout=PATIENCE_S)
        if not loading.done():
            self.snapshots.use_kept()

    async def _wake(self) -> None:
        """Load what memory and documents need before they are asked for, where there are any."""
        try:
            if settings.ENABLE_MEMORY and await self.in_database(
                Session.objects.exists
            ):
                await self.memory.start()
            if settings.ENABLE_RAG and await self.in_database(Document.objects.exists):
                await self.retrieving.start()
        except DATABASE_AWAY as error:
            logger.debug("they sleep until they are asked for", exc_info=error)

    def drain(self) -> None:
        """Note that this process has been told to stop; what it has begun it ends."""
        self._is_stopping = True

    @property
    def state(self) -> WorkerState:
        """How this process stands while it serves: DRAINING wants no further requests."""
        is_draining = self._is_stopping or self.draining_version is not None
        return WorkerState.DRAINING if is_draining else WorkerState.SERVING

    @property
    def draining_version(self) -> str | None:
        """The version of this instance, when its requests were taken away; else None."""
        if not self.snapshots.is_loaded:
            return None
        version: str = settings.AILB_VERSION_LABEL
        return version if version in self.snapshots.current.traffic.draining else None

    async def stop(self) -> None:
        """End every task, close every connection."""
        await self.memory.flush()
        for task in list(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        last_beat = (
            self._next_beat(WorkerState.ENDED) if self.snapshots.is_loaded else None
        )
        await self.upstream.aclose()
        await self.limiter.aclose()
        with suppress(TimeoutError, *DATABASE_AWAY):
            async with asyncio.timeout(CLOSE_LIMIT_S):
                await self.in_database(partial(self._write_last, last_beat))
        await self.memory.aclose()
        await self.retrieving.aclose()
        await self._parts.aclose()
        await self._database.aclose(limit_s=CLOSE_LIMIT_S)

    def spawn(self, work: Coroutine[Any, Any, T], *, name: str) -> asyncio.Task[T]:
        """Run work that outlives a request: named, kept, ended by `stop`."""
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("task failed: %s", task.get_name(), exc_info=error)

    async def in_database(self, function: Callable[[], T]) -> T:
        """Run a blocking function of the ORM in the one database thread."""
        return await self._database.run(function)

    def authenticate(self, visitor: Visitor) -> Principal:
        """Find out who a request is from; raises like `Door.authenticate`.

        Raises:
            NotReady: There is no configuration yet.

        """
        snapshots = self.snapshots
        now_s = time.time()  # noqa: TID251 - the ends of keys are timestamps
        principal = self.door.authenticate(
            visitor,
            snapshots.current.access,
            now_s=now_s,
            is_current=not snapshots.is_database_away,
        )
        if principal.key is not None:
            if snapshots.away_for_s() > settings.AILB_STALE_MAX_S:
                raise KeyUncheckable(UNCHECKABLE)  # it may have been revoked since
            self._key_uses[principal.key.row_id] = now_s
        return principal

    async def _refresh(self) -> None:
        if await self.in_database(self.snapshots.refresh):
            snapshot = self.snapshots.current
            await self.limiter.start(self.spawn, installation=snapshot.installation)
            self.dispatcher.retain(snapshot)
            self.limiter.retain(snapshot.access.limit_ids, snapshot.access.budget_ids)

    async def _follow(self) -> None:
        while True:
            await asyncio.sleep(POLL_S)
            try:
                await self._refresh()
            except Exception:  # a process edge: following must never end for good
                logger.exception("following the configuration failed; it goes on")

    async def _beat(self) -> None:
        while True:
            if self.snapshots.is_loaded:
                await self._beat_once()
            await asyncio.sleep(INTERVAL_S)

    async def _beat_once(self) -> None:
        beat = self._next_beat(self.state)
        try:
            await self.in_database(beat)
        except DATABASE_AWAY as error:
            logger.debug("heartbeat not written", exc_info=error)

    def _next_beat(self, state: WorkerState) -> Callable[[], None]:
        """Take the figures, and give what writes them."""
        self.figures.measure()
        return partial(
            self.pulse.beat,
            self.report(),
            config_revision=self.snapshots.current.revision,
            state=state,
        )

    async def _keep_books(self) -> None:
        while True:
            await asyncio.sleep(BOOKS_INTERVAL_S)
            try:
                await self._keep_books_once()
            except DATABASE_AWAY as error:
                logger.debug("the books wait for the database", exc_info=error)
            except Exception:  # a process edge: keeping books must never end for good
                logger.exception("keeping the books failed; it goes on")

    async def _keep_books_once(self) -> None:
        """Close the spool's segment for whoever drains, and learn what others spent."""
        self.spool.rotate()
        uses = self._key_uses_to_write()
        access = self.snapshots.current.access if self.snapshots.is_loaded else None
        has_quotas = access is not None and access.has_quotas

        def turn() -> dict[tuple[int, date], int] | None:
            self.spool.sync()
            return books_turn(self.pulse.worker, uses, has_quotas=has_quotas)

        spends = await self.in_database(turn)
        if has_quotas or self.memory.is_started:
            await self._count_processes()
        if spends is not None:
            self.limiter.refresh_spends(spends)

    async def _count_processes(self) -> None:
        """Learn how many processes serve: they share limits, and what was said."""
        live = await self.in_database(lambda: live_workers(timezone.now()))
        processes = max(live, settings.AILB_WORKERS)
        self.limiter.set_share(processes)
        self.memory.has_company = processes > 1

    def _key_uses_to_write(self) -> dict[int, float]:
        """Take what is to be written of the keys' last uses, now and then."""
        now_s = time.monotonic()
        if now_s - self._key_uses_written_s < KEY_USES_INTERVAL_S:
            return {}
        self._key_uses_written_s = now_s
        uses, self._key_uses = self._key_uses, {}
        return uses

    def _write_last(self, beat: Callable[[], None] | None) -> None:
        self.spool.close()
        if beat is not None:
            beat()
        books_turn(self.pulse.worker, self._key_uses, has_quotas=False)
        bookkeeping.drain(settings.AILB_SPOOL_DIR)

    def report(self) -> dict[str, Any]:
        """Say how this process stands."""
        live = self.dispatcher.live
        return reports.worker_report(
            self.snapshots.current,
            live.health,
            live.statistics,
            versions=live.versions,
            traffic=self.figures.as_dict(),
            problems={
                "configuration": self.snapshots.problem or "",
                "memory": self.memory.problem,
                "documents": self.retrieving.problem,
            },
            now_s=time.monotonic(),
        )


def make_pulse() -> Pulse:
    """Make what tells others of this process, as the settings say."""
    return Pulse(
        instance=settings.AILB_MODULE_ID,
        run=settings.AILB_RUN,
        version=settings.AILB_VERSION_LABEL,
        address=settings.AILB_PUBLIC_URL
        or settings.AILB_HTTP_ADDRESS
        or http_address(settings.HOST, settings.HTTP_PORT),
        workers=settings.AILB_WORKERS,
    )


def books_turn(
    worker: str, uses: Mapping[int, float], *, has_quotas: bool
) -> dict[tuple[int, date], int] | None:
    """Do the books' regular work in the database; blocks.

    Gives, where there are limits or budgets, what others have spent. Raises
    django.db.Error while the database is away.
    """
    spool.measure(settings.AILB_SPOOL_DIR)
    if uses:
        keyring.note_uses(uses)
    bookkeeping.drain_if_forgotten(settings.AILB_SPOOL_DIR, older_than_s=FORGOTTEN_S)
    return bookkeeping.spends_of_others(worker) if has_quotas else None


runtime = Runtime()
