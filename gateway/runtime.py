"""Composition root: one process's snapshot store, client and dispatcher, and its tasks."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, TypeVar

from django.conf import settings
from django.db import close_old_connections, connections

from gateway import reports
from gateway.auth import Door, make_door
from gateway.dispatch import Dispatcher
from gateway.heartbeat import INTERVAL_S, Pulse
from gateway.snapshot_store import DATABASE_AWAY, SnapshotStore
from gateway.upstream import Upstream

logger = logging.getLogger(__name__)

T = TypeVar("T")

PATIENCE_S = 2.0  # a start waits so long for a database that may be locked
RECONNECT_S = 10.0  # the database's connection is made anew after so long
CLOSE_LIMIT_S = 1.0  # and a stop so long
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
        self.upstream = Upstream()
        self.dispatcher = Dispatcher(self.upstream)
        self.door: Door = self._make_door()
        self.pulse = Pulse(instance=settings.AILB_MODULE_ID, run=settings.AILB_RUN)
        # One thread for the database: SQLite writes queue here instead of on its lock.
        self._database = ThreadPoolExecutor(1, thread_name_prefix="ailb-database")
        self._connected_s = 0.0
        self._tasks: set[asyncio.Task[Any]] = set()
        self._starting = asyncio.Lock()
        self._is_started = False

    def _make_door(self) -> Door:
        return make_door(
            mode=settings.AILB_AUTH,
            host=settings.HOST,
            pepper=settings.AILB_KEY_PEPPER,
            api_key=settings.AILB_API_KEY,
            key_file=settings.AILB_KEY_FILE,
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
                self._is_started = True

    async def _load(self) -> None:
        """Load what the database says, or what is kept if that takes too long."""
        loading = self.spawn(self._refresh(), name="load the configuration")
        await asyncio.wait({loading}, timeout=PATIENCE_S)
        if not loading.done():
            self.snapshots.use_kept()

    async def stop(self) -> None:
        """End every task, close every connection."""
        for task in list(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        await self.upstream.aclose()
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_LIMIT_S):
                await self.in_database(connections.close_all)
        self._database.shutdown(wait=False, cancel_futures=True)

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

        def work() -> T:
            self._renew_connection()
            try:
                return function()
            except DATABASE_AWAY:
                close_old_connections()
                raise

        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._database, work)

    def _renew_connection(self) -> None:
        """Connect anew now and then: a file that was put back is another file.

        Not each time: that took more of the processor than all else between requests.
        """
        now_s = time.monotonic()
        if now_s - self._connected_s > RECONNECT_S:
            close_old_connections()
            self._connected_s = now_s

    async def _refresh(self) -> None:
        if await self.in_database(self.snapshots.refresh):
            self.dispatcher.retain(self.snapshots.current)

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
        report, revision = self.report(), self.snapshots.current.revision
        try:
            await self.in_database(
                lambda: self.pulse.beat(report, config_revision=revision)
            )
        except DATABASE_AWAY as error:
            logger.debug("heartbeat not written", exc_info=error)

    def report(self) -> dict[str, Any]:
        """Say how this process stands."""
        live = self.dispatcher.live
        return reports.worker_report(
            self.snapshots.current,
            live.health,
            live.statistics,
            now_s=time.monotonic(),
        )


runtime = Runtime()
