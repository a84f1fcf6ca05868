"""Copies of sessions in memory, the longest unused forgotten first."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable

from memory.metrics import CACHE_BYTES
from memory.session_copy import SessionCopy


class SessionCache:
    """Keeps copies of sessions within `max_bytes`, by their row id. Thread-safe.

    A copy is checked against its session's version by who uses it, and row ids are
    never given twice: nothing here can be wrong, only old.
    """

    def __init__(self, max_bytes: int) -> None:
        """Begin empty. The copy used last is kept even when it alone is larger."""
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._copies = OrderedDict[int, SessionCopy]()
        self._sizes = dict[int, int]()
        self._bytes = 0

    def __len__(self) -> int:
        """Count the copies."""
        return len(self._copies)

    @property
    def nbytes(self) -> int:
        """About what all copies take."""
        return self._bytes

    def copy_of(self, session_pk: int) -> SessionCopy:
        """Give a session's copy, an empty one when there is none yet."""
        with self._lock:
            if (copy := self._copies.get(session_pk)) is None:
                copy = self._copies[session_pk] = SessionCopy(session_pk)
            self._copies.move_to_end(session_pk)
            return copy

    def weigh(self, session_pk: int, copy: SessionCopy) -> None:
        """Take note of a copy's size after its use, and forget what is too much."""
        size = copy.nbytes
        with self._lock:
            if self._copies.get(session_pk) is not copy:
                return  # forgotten meanwhile
            self._bytes += size - self._sizes.get(session_pk, 0)
            self._sizes[session_pk] = size
            while self._bytes > self._max_bytes and len(self._copies) > 1:
                self._forget(next(iter(self._copies)))
            CACHE_BYTES.set(self._bytes)

    def forget(self, session_pks: Iterable[int]) -> None:
        """Drop copies, of deleted sessions for example."""
        with self._lock:
            for session_pk in session_pks:
                self._forget(session_pk)
            CACHE_BYTES.set(self._bytes)

    def _forget(self, session_pk: int) -> None:
        self._copies.pop(session_pk, None)
        self._bytes -= self._sizes.pop(session_pk, 0)
