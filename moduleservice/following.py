"""Follows the configuration: a snapshot of the newest, looked for twice a second."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from gateway.database_threads import DatabaseThreads
from gateway.snapshot_store import SnapshotStore

logger = logging.getLogger(__name__)

POLL_S = 0.5
PATIENCE_S = 2.0  # a start waits so long for a database that may be locked
CLOSE_LIMIT_S = 1.0


class Follower:
    """Keeps a store fresh, in a thread of its own: no call can hold it up.

    `on_look` is called in the event loop after each look, whether it found a change or
    not.
    """

    def __init__(self, store: SnapshotStore, *, on_look: Callable[[], None]) -> None:
        self._store = store
        self._on_look = on_look
        self._thread = DatabaseThreads(1, name="ailb-snapshot")

    async def load(self) -> None:
        """Look for the first time; take what is kept if the database makes it wait."""
        try:
            async with asyncio.timeout(PATIENCE_S):
                await self._look()
        except TimeoutError:
            self._store.use_kept()
            self._on_look()

    async def run(self) -> None:
        """Follow until cancelled."""
        while True:
            await asyncio.sleep(POLL_S)
            await self._look()

    async def aclose(self) -> None:
        """Close the connection; a look that hangs is left behind."""
        await self._thread.aclose(limit_s=CLOSE_LIMIT_S)

    async def _look(self) -> None:
        try:
            await self._thread.run(self._store.refresh)
            self._on_look()
        except Exception:  # a process edge: following must never end for good
            logger.exception("following the configuration failed; it goes on")
