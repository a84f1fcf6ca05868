"""What counting in Redis is asked for by, without what it takes: 10 MB of a client."""

from __future__ import annotations

from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class RedisTerms:
    """How Redis is used; times in seconds."""

    deadline_s: float = 0.05  # of a call that a request waits for
    background_deadline_s: float = 1.0  # of any other
    lease_s: float = 30.0  # what a process that died still holds is free after this
    first_wait_s: float = 5.0  # of the circuit
    longest_wait_s: float = 30.0


class RedisAway(Exception):
    """Redis did not answer in time, or answered with an error."""


class Spawn(Protocol):
    """Starts work that outlives a request and ends it when the process stops."""

    def __call__(self, work: Coroutine[Any, Any, None], /, *, name: str) -> object:
        """Keep the work under its name."""
