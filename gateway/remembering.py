"""Memory as the event loop sees it: a few threads, a queue and one deadline."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from gateway.database_threads import DatabaseThreads
from gateway.errors import AilbError, DatabaseAway
from gateway.memory_queue import WriteQueue, key_of
from gateway.parts import Parts, SharedParts
from gateway.snapshot_store import DATABASE_AWAY
from memory.exchange import Exchanged, RecallRequest, RecallStatus, Recollection
from memory.metrics import RECALLS, WRITES_DROPPED

if TYPE_CHECKING:  # they bring numpy: not before the first session is asked for
    from memory.service import Memory

logger = logging.getLogger(__name__)

T = TypeVar("T")

RECALL_THREADS = 2
MOST_WAITING = 64  # recalls that wait for a thread, or are in one
CALL_THREADS = 2  # for /api/memory: an import takes long, and recalls must not wait
MOST_CALLS = 64
START_LIMIT_S = 10.0  # the first session of a process waits so long for memory's code
RESERVE = 0.1  # of the deadline, to bring back what a thread has found in time
SEEN_LIMIT_S = 0.25  # the end of an answer waits so long until other processes see it
SETTLE_LIMIT_S = 2.0  # a call waits so long for what was said before
FLUSH_LIMIT_S = 3.0
CLOSE_LIMIT_S = 1.0


class MemoryUnavailable(AilbError):
    """What was asked needs memory, which cannot be read now."""

    status = 503
    code = "memory_unavailable"
    retry_after_s: float | None = 1.0


class Spawn(Protocol):
    """Starts work that is kept track of; `Runtime.spawn`."""

    def __call__(
        self, work: Coroutine[Any, Any, None], *, name: str
    ) -> asyncio.Task[None]:
        """Start it."""
        ...


class Remembering:
    """A process's memory. Everything is called in the event loop, and nothing blocks it.

    Nothing is imported, loaded or started before it is first used. `has_company` says
    that other processes serve, too, which must see at once what is written here.
    """

    def __init__(self, parts: SharedParts, *, spawn: Spawn, deadline_s: float) -> None:
        """`deadline_s` is what a recall may take at most, beside documents."""
        self._shared = parts
        self._spawn = spawn
        self._deadline_s = deadline_s
        self._parts: Parts | None = None
        self._recalls = DatabaseThreads(RECALL_THREADS, name="ailb-recall")
        self._writes = DatabaseThreads(1, name="ailb-remember")
        self._calls = DatabaseThreads(CALL_THREADS, name="ailb-memory")
        self._queue = WriteQueue(self._write_batch, dropped=count_dropped)
        self._waiting = 0
        self._calling = 0
        self._recall_problem = ""
        self.has_company = False

    @property
    def is_started(self) -> bool:
        """Say whether anybody has used memory in this process."""
        return self._parts is not None

    @property
    def problem(self) -> str:
        """Why memory is not whole, in a sentence, as far as is known; empty: it is."""
        if self._queue.problem or self._parts is None:
            return self._queue.problem
        if self._parts.lanes.problem or not self._recall_problem:
            return self._parts.lanes.problem
        return f"The last recall was not whole: {self._recall_problem}"

    async def start(self) -> Parts:
        """Put memory together, and begin to load its embedder; once."""
        if self._parts is None:
            parts = await self._shared.get()
            if self._parts is None:  # nobody else was as quick
                self._spawn(self._queue.run(), name="write to memory")
                self._parts = parts
        return self._parts

    async def recall(self, request: RecallRequest) -> Recollection:
        """Find what helps to answer, within the deadline; never raises.

        Sees everything that was said in the session before, if it was said to this
        process. DEGRADED when there was no time or no room, or something is away.
        """
        recollection = await self._recollect(request)
        RECALLS.labels(recollection.status.value).inc()
        return recollection

    async def _recollect(self, request: RecallRequest) -> Recollection:
        if self._waiting >= MOST_WAITING:
            return degraded("Too many requests wait for memory.")
        self._waiting += 1
        try:
            async with asyncio.timeout(START_LIMIT_S):
                parts = await self.start()
            recollection = await self._recall_in_time(parts.memory, request)
        except TimeoutError:
            recollection = degraded("Memory did not answer in time.")
        except DATABASE_AWAY:
            recollection = degraded("The database does not answer.")
        except Exception:  # a process edge: a chat must not fail for its memory
            logger.exception("recalling failed")
            recollection = degraded("Memory failed; it has been logged.")
        finally:
            self._waiting -= 1
        self._recall_problem = recollection.problem
        return recollection

    async def _recall_in_time(
        self, memory: Memory, request: RecallRequest
    ) -> Recollection:
        deadline_s = time.monotonic() + self._deadline_s * (1 - RESERVE)
        async with asyncio.timeout(self._deadline_s):
            await self._queue.settled((request.scope.tenant_id, request.session_id))
            return await self._recalls.run(
                lambda: memory.recall(request, deadline_s=deadline_s)
            )

    def write(self, exchanged: Exchanged) -> None:
        """Remember a finished exchange soon; without room for it, it is lost."""
        self._queue.put(exchanged)

    async def write_visibly(self, exchanged: Exchanged) -> None:
        """Remember a finished exchange, and wait a moment until every process sees it."""
        self.write(exchanged)
        if self.has_company:
            with suppress(TimeoutError):
                async with asyncio.timeout(SEEN_LIMIT_S):
                    await self._queue.settled(key_of(exchanged))

    async def _write_batch(self, exchanges: Sequence[Exchanged]) -> None:
        parts = await self.start()
        await self._writes.run(lambda: parts.memory.write(exchanges))

    async def call(self, work: Callable[[Memory], T]) -> T:
        """Do blocking work with memory in a thread, after what was said before is kept.

        Raises whatever `work` raises.

        Raises:
            DatabaseAway: The database does not answer.
            MemoryUnavailable: Too many calls are waiting.

        """
        if self._calling >= MOST_CALLS:
            raise MemoryUnavailable("Too many calls wait for memory. Try again later.")
        self._calling += 1
        try:
            parts = await self.start()
            with suppress(TimeoutError):
                async with asyncio.timeout(SETTLE_LIMIT_S):
                    await self._queue.settled()
            return await self._calls.run(lambda: work(parts.memory))
        except DATABASE_AWAY as error:
            raise DatabaseAway(
                "Memory's database cannot be reached. Try again later."
            ) from error
        finally:
            self._calling -= 1

    async def flush(self) -> None:
        """Write what waits, as far as a stop has the time."""
        await self._queue.flush(limit_s=FLUSH_LIMIT_S if self.is_started else 0.0)

    async def aclose(self) -> None:
        """End the threads; after `flush` and the last call, before the parts are closed."""
        async with asyncio.TaskGroup() as closing:
            for threads in (self._recalls, self._writes, self._calls):
                closing.create_task(threads.aclose(limit_s=CLOSE_LIMIT_S))


def degraded(problem: str) -> Recollection:
    """Make the outcome of a recall that was not answered."""
    return Recollection(RecallStatus.DEGRADED, problem=problem)


def count_dropped(reason: str) -> None:
    """Count an exchange that is not remembered."""
    WRITES_DROPPED.labels(reason).inc()
