"""A kind of upkeep in a thread of its own, while this process leads."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from django.db import close_old_connections

from gateway.database_threads import DatabaseThreads
from gateway.snapshot_store import DATABASE_AWAY

logger = logging.getLogger(__name__)

PAUSE_S = 1.0  # when there is nothing to do
STOP_LIMIT_S = 8.0  # for a round to end
CLOSE_LIMIT_S = 5.0


async def pause(stop: asyncio.Event, duration_s: float) -> None:
    """Wait so long, or until `stop` is set."""
    try:
        async with asyncio.timeout(duration_s):
            await stop.wait()
    except TimeoutError:
        return


class Keeper:
    """Does rounds of something blocking until it is told to stop."""

    def __init__(
        self,
        name: str,
        do_round: Callable[[], bool],
        *,
        is_leading: Callable[[], bool],
        end_soon: Callable[[], None] = lambda: None,
        leave: Callable[[], None] = lambda: None,
    ) -> None:
        """`do_round` says whether there is more to do at once.

        When it is time to stop, `end_soon` is called in the event loop, to have a round
        end; and `leave`, in another thread, when it does not end within STOP_LIMIT_S.
        `name` is what the log calls it.
        """
        self._name = name
        self._do_round = do_round
        self._is_leading = is_leading
        self._end_soon = end_soon
        self._leave = leave
        self._is_waiting = False

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set. A database that is away is waited for."""
        async with asyncio.TaskGroup() as tasks:
            working = tasks.create_task(self._work(stop), name=self._name)
            await stop.wait()
            self._end_soon()
            await asyncio.wait({working}, timeout=STOP_LIMIT_S)
            if not working.done():
                await self._leave_behind()
                working.cancel()

    async def _work(self, stop: asyncio.Event) -> None:
        thread = DatabaseThreads(1, name=f"ailb-{self._name.replace(' ', '-')}")
        try:
            while not stop.is_set():
                has_more = self._is_leading() and await thread.run(self._try)
                if not has_more:
                    await pause(stop, PAUSE_S)
        finally:
            await thread.aclose(limit_s=CLOSE_LIMIT_S)

    async def _leave_behind(self) -> None:
        logger.warning("a round of upkeep is left behind", extra={"upkeep": self._name})
        thread = DatabaseThreads(1, name="ailb-leave")
        try:
            await thread.run(self._leave)
        except DATABASE_AWAY as error:
            logger.warning("nothing could be put back", extra={"reason": str(error)})
        finally:
            await thread.aclose(limit_s=CLOSE_LIMIT_S)

    def _try(self) -> bool:
        """Do a round; False when it cannot be done now."""
        try:
            has_more = self._do_round()
        except DATABASE_AWAY as error:
            if not self._is_waiting:
                logger.warning("%s waits", self._name, extra={"reason": str(error)})
            self._is_waiting = True
            close_old_connections()
            return False
        except Exception:  # a process edge: upkeep must go on after any one fault
            logger.exception("%s failed; it is tried again", self._name)
            return False
        self._is_waiting = False
        return has_more
