"""What the parts of ModuleService are built on: the host they answer for, and refusals."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from gateway.snapshot import Snapshot
from moduleservice.pb import types_pb2

T = TypeVar("T")


class Refusal(Exception):
    """What an RPC cannot do, in words for whoever called it.

    Where the answer has an `error` of its own it is told there, else as a gRPC status.
    """

    def __init__(
        self,
        code: types_pb2.StatusCode,
        message: str,
        *,
        details: Mapping[str, str] | None = None,
    ) -> None:
        """`details` say more, by name."""
        super().__init__(message)
        self.code = code
        self.message = message
        self.details = dict(details or {})


@dataclass(frozen=True, slots=True)
class Workers:
    """How many HTTP workers run and are meant to run."""

    running: int
    wanted: int


class Supervisor(Protocol):
    """The process that `serve` is: it runs the HTTP workers of this instance."""

    async def workers(self) -> Workers:
        """Say how many there are; raises SupervisorAway."""
        ...

    async def scale(self, workers: int) -> Workers:
        """Have so many, without a refused request; returns once it is decided."""
        ...

    async def stop(self, *, is_graceful: bool, timeout_s: float | None) -> None:
        """Begin to stop everything; not graceful: without waiting for requests."""
        ...


class SupervisorAway(Exception):
    """There is no supervisor, or it does not answer."""


class Database(Protocol):
    """Runs blocking functions of the ORM beside the event loop."""

    async def run(self, work: Callable[[], T]) -> T:
        """Run one; raises what it raises."""
        ...


@dataclass(frozen=True, slots=True)
class Host:
    """What the parts answer for: this instance, its database and its supervisor.

    `snapshot` gives the configuration that serves (raises NotReady before the first).
    `supervisor` is None where the parts of an installation are run alone.
    """

    instance: str
    version: str
    database: Database
    snapshot: Callable[[], Snapshot]
    supervisor: Supervisor | None = None
    problem: Callable[[], str | None] = field(default=lambda: None)

    def is_own(self, instance_id: str) -> bool:
        """Say whether a request is about this instance; an empty name is."""
        return not instance_id or instance_id == self.instance


class Part:
    """Some of the RPCs: a coroutine method each, of the RPC's own name.

    A method takes the request and gives the answer; it raises Refusal for what it cannot
    do. Whoever called is known, the instance exists, and a deadline stands by then.
    """

    def __init__(self, host: Host) -> None:
        """Answer for a host."""
        self.host = host
