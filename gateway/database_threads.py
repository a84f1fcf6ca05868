"""Threads that work in the database, each with a connection that is renewed."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TypeVar

from django.db import close_old_connections, connections

from gateway.snapshot_store import DATABASE_AWAY

T = TypeVar("T")

RECONNECT_S = 10.0  # a connection is made anew after so long


class DatabaseThreads:
    """A few threads for blocking functions of the ORM; idle until the first is run."""

    def __init__(self, size: int, *, name: str) -> None:
        """`name` is the prefix of the threads' names."""
        self._size = size
        self._threads = ThreadPoolExecutor(size, thread_name_prefix=name)
        self._connected = threading.local()
        self.is_used = False

    async def run(self, work: Callable[[], T]) -> T:
        """Run a blocking function in one of the threads; raises what it raises.

        Cancelled before a thread is free, it is never run.
        """
        self.is_used = True
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, self._connect_and_do, work)

    def _connect_and_do(self, work: Callable[[], T]) -> T:
        self._renew_connection()
        try:
            return work()
        except DATABASE_AWAY:
            close_old_connections()
            raise

    def _renew_connection(self) -> None:
        """Connect anew now and then: a file that was put back is another file.

        Not each time: that took more of the processor than all else between requests.
        """
        now_s = time.monotonic()
        if now_s - getattr(self._connected, "since_s", -RECONNECT_S) >= RECONNECT_S:
            close_old_connections()
            self._connected.since_s = now_s

    async def aclose(self, *, limit_s: float) -> None:
        """Close the connections of all threads; one that hangs is left behind."""
        if self.is_used:
            barrier = threading.Barrier(self._size)

            def leave() -> None:
                with suppress(threading.BrokenBarrierError):
                    barrier.wait(limit_s)  # so that each thread takes one of these
                connections.close_all()

            leaving = [
                asyncio.get_running_loop().run_in_executor(self._threads, leave)
                for _ in range(self._size)
            ]
            await asyncio.wait(leaving, timeout=limit_s)
        self._threads.shutdown(wait=False, cancel_futures=True)
