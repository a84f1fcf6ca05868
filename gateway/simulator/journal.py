"""What a simulator received and how each request ended; readable from any thread."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from threading import Condition
from typing import Any

_SECRET_WORDS = ("auth", "key", "token", "secret", "cookie")


class State(StrEnum):
    """How far a request is: CANCELLED by the client, FAILED by a scripted fault."""

    OPEN = "open"
    ANSWERED = "answered"
    CANCELLED = "cancelled"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Entry:
    """One request. Of credentials it says only that they were there.

    `n` counts from 1. `at_s` is monotonic; `closed_after_s` counts from then and is
    None while the request is open. `bytes_sent` is of the body. `body` is the parsed
    JSON, None when there was none. `connection` numbers the TCP connections.
    """

    n: int
    method: str
    path: str
    model: str | None
    headers: Mapping[str, str]
    has_authorization: bool
    has_x_api_key: bool
    body: Any
    connection: int
    at_s: float
    fault: str = "ok"
    state: State = State.OPEN
    bytes_sent: int = 0
    closed_after_s: float | None = None


Predicate = Callable[[tuple[Entry, ...]], bool]


class Journal:
    """The last `limit` requests, oldest first."""

    def __init__(self, *, limit: int = 10_000) -> None:
        """Keep at most `limit` entries; older ones are forgotten."""
        self._limit = limit
        self._changed = Condition()
        self._entries: OrderedDict[int, Entry] = OrderedDict()

    @property
    def entries(self) -> tuple[Entry, ...]:
        """All entries kept, as they are now."""
        with self._changed:
            return tuple(self._entries.values())

    def clear(self) -> None:
        """Forget all entries, those of open requests included."""
        with self._changed:
            self._entries.clear()

    def add(self, entry: Entry) -> None:
        """Record a request that has arrived."""
        with self._changed:
            self._entries[entry.n] = entry
            if len(self._entries) > self._limit:
                self._entries.popitem(last=False)
            self._changed.notify_all()

    def close(self, n: int, state: State, *, bytes_sent: int) -> None:
        """Record how a request ended; the last word counts, unknown ones are ignored."""
        with self._changed:
            if (entry := self._entries.get(n)) is None:
                return
            self._entries[n] = replace(
                entry,
                state=state,
                bytes_sent=bytes_sent,
                closed_after_s=time.monotonic() - entry.at_s,
            )
            self._changed.notify_all()

    def wait_for(
        self, predicate: Predicate, *, timeout_s: float = 10.0
    ) -> tuple[Entry, ...]:
        """Block until the predicate holds for the entries; return them.

        Raises TimeoutError that shows the entries. Never call it on an event loop.
        """
        with self._changed:
            held = self._changed.wait_for(
                lambda: predicate(tuple(self._entries.values())), timeout_s
            )
            entries = tuple(self._entries.values())
        if not held:
            shown = "\n".join(map(str, entries[-20:])) or "(no request)"
            raise TimeoutError(f"not seen in {timeout_s} s; the journal:\n{shown}")
        return entries


def shown_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Lower-case the names and leave out every header that may hold a credential."""
    lowered = ((name.lower(), value) for name, value in headers.items())
    return {
        name: value
        for name, value in lowered
        if not any(word in name for word in _SECRET_WORDS)
    }
