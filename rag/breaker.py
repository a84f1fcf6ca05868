"""What has failed is left alone for a moment, so that it costs nobody any waiting."""

from __future__ import annotations

import threading
from collections.abc import Callable

LEFT_ALONE_S = 2.0


class Breaker:
    """Remembers that something failed; safe to use from many threads.

    `clock` gives seconds that only grow.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._problem = ""
        self._next_try_s = 0.0

    def problem(self) -> str:
        """Say what failed within the last two seconds; empty means: go on.

        Of those that ask after that time one is told to go on, and the others have to
        wait until it knows.
        """
        with self._lock:
            if not self._problem:
                return ""
            now_s = self._clock()
            if now_s < self._next_try_s:
                return self._problem
            self._next_try_s = now_s + LEFT_ALONE_S
            return ""

    def open(self, problem: str) -> None:
        """Take note of a failure."""
        with self._lock:
            self._problem = problem
            self._next_try_s = self._clock() + LEFT_ALONE_S

    def close(self) -> None:
        """Take note of a success."""
        with self._lock:
            self._problem = ""
