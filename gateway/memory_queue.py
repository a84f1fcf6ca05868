"""Finished exchanges on their way into memory: bounded, in order, written in batches."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from itertools import islice

from django.db import InterfaceError, OperationalError

from memory.exchange import Exchanged

logger = logging.getLogger(__name__)

MOST_EXCHANGES = 1_000
MOST_CHARS = 64 * 1024 * 1024
BATCH = 64
RETRY_S = 2.0  # while the database is away
COMPLAINT_INTERVAL_S = 60.0
# The database cannot be written now; any other error is the exchange's own.
AWAY = (OperationalError, InterfaceError, OSError)

SessionKey = tuple[int, str]  # tenant id, session id
Write = Callable[[Sequence[Exchanged]], Awaitable[None]]


@dataclass(slots=True, eq=False)
class Waiting:
    """An exchange in the queue; `is_tried` is done after the first try to write it."""

    exchanged: Exchanged
    chars: int
    is_tried: asyncio.Future[None]


class WriteQueue:
    """Writes exchanges one batch after the other; everything in the event loop.

    While the database is away they wait, as many as there is room for.
    """

    def __init__(
        self,
        write: Write,
        *,
        dropped: Callable[[str], None],
        retry_s: float = RETRY_S,
        most: int = MOST_EXCHANGES,
        most_chars: int = MOST_CHARS,
    ) -> None:
        """`write` stores a batch; `dropped` is told why, for each that is lost."""
        self._write = write
        self._dropped = dropped
        self._retry_s = retry_s
        self._most = most
        self._most_chars = most_chars
        self._waiting: deque[Waiting] = deque()
        self._chars = 0
        self._newest: dict[SessionKey, Waiting] = {}
        self._has_work = asyncio.Event()
        self._complained_s = -COMPLAINT_INTERVAL_S
        self._lost = 0
        self.problem = ""  # why exchanges wait, in a sentence

    def __len__(self) -> int:
        """Count what waits or is being written."""
        return len(self._waiting)

    def put(self, exchanged: Exchanged) -> bool:
        """Take an exchange; False if there is no room for it."""
        chars = chars_in([exchanged.answer, exchanged.tool_calls, exchanged.messages])
        is_full = len(self._waiting) >= self._most
        if is_full or self._chars + chars > self._most_chars:
            self._lose("queue full", 1)
            return False
        is_tried = asyncio.get_running_loop().create_future()
        waiting = Waiting(exchanged, chars, is_tried)
        self._waiting.append(waiting)
        self._chars += chars
        self._newest[key_of(exchanged)] = waiting
        self._has_work.set()
        return True

    async def settled(self, key: SessionKey | None = None) -> None:
        """Wait until all that was put so far for a session was tried; None: for all."""
        if key is not None:
            newest = self._newest.get(key)
        else:
            newest = self._waiting[-1] if self._waiting else None
        if newest is not None:
            await asyncio.wait({newest.is_tried})

    async def run(self) -> None:
        """Write what comes, for ever."""
        while True:
            await self._has_work.wait()
            await self._write_some()

    async def _write_some(self) -> None:
        batch = list(islice(self._waiting, BATCH))
        try:
            await self._write([each.exchanged for each in batch])
        except AWAY as error:
            await self._wait_for_database(error)
        except Exception:  # a process edge: one bad exchange must not stop all others
            logger.exception("writing to memory failed")
            await self._write_singly(batch)
        else:
            self._done(batch)

    async def _write_singly(self, batch: Sequence[Waiting]) -> None:
        for each in batch:
            try:
                await self._write([each.exchanged])
            except AWAY as error:
                await self._wait_for_database(error)
                return
            except Exception as error:  # a process edge, as above: this one is given up
                logger.debug("an exchange is given up", exc_info=error)
                self._lose("fault", 1)
            self._done([each])

    async def _wait_for_database(self, error: Exception) -> None:
        """Keep everything for another try, and let go who waits for the first one."""
        if not self.problem:
            logger.warning(
                "conversations wait for the database",
                extra={"reason": type(error).__name__},
            )
        self.problem = "Conversations wait for the database."
        for each in self._waiting:
            settle(each)
        await asyncio.sleep(self._retry_s)

    def _done(self, written: Sequence[Waiting]) -> None:
        self.problem = ""
        for each in written:
            self._waiting.popleft()
            self._chars -= each.chars
            key = key_of(each.exchanged)
            if self._newest.get(key) is each:
                del self._newest[key]
            settle(each)
        if not self._waiting:
            self._has_work.clear()

    async def flush(self, *, limit_s: float) -> None:
        """Wait until all was tried, at most so long; what is left is lost."""
        try:
            async with asyncio.timeout(limit_s):
                await self.settled()
        except TimeoutError:
            logger.debug("flushing memory's queue took too long")
        if left := len(self._waiting):
            self._complained_s = -COMPLAINT_INTERVAL_S
            self._lose("stop", left)

    def _lose(self, reason: str, count: int) -> None:
        for _ in range(count):
            self._dropped(reason)
        self._lost += count
        now_s = time.monotonic()
        if now_s - self._complained_s >= COMPLAINT_INTERVAL_S:
            logger.error(
                "conversations were not remembered",
                extra={"reason": reason, "exchanges": self._lost},
            )
            self._complained_s, self._lost = now_s, 0


def key_of(exchanged: Exchanged) -> SessionKey:
    """Name the session that an exchange belongs to."""
    return exchanged.scope.tenant_id, exchanged.session_id


def settle(waiting: Waiting) -> None:
    """Let go who waits for this exchange."""
    if not waiting.is_tried.done():
        waiting.is_tried.set_result(None)


def chars_in(value: object) -> int:
    """Count the characters of all texts in a JSON value: what it holds in memory."""
    chars = 0
    values = [value]
    while values:
        match values.pop():
            case str() as text:
                chars += len(text)
            case dict() as holder:
                values.extend(holder.values())
            case list() | tuple() as several:
                values.extend(several)
            case _:
                pass
    return chars
