"""What one request asks of the attempt loop, and what became of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from gateway.dialects.exchange import Exchange
from gateway.errors import RateLimited
from gateway.kinds import Operation
from gateway.routing.failover import AttemptRecord
from gateway.routing.needs import Needs
from gateway.snapshot import Deployment, Model, Snapshot


@dataclass(frozen=True, slots=True)
class Task:
    """What one request asks of the loop.

    `open_exchange` translates for a deployment; it is pure, and may raise UpstreamError
    for what a deployment cannot be asked. `started_s` is on the monotonic clock.
    `allowed_models` are the names that the caller's key may use, None for all; with
    `requires_price` only deployments whose price is known may serve. `conversation`
    names what this request is part of, in all tenants; empty if of nothing.
    """

    snapshot: Snapshot
    model: Model
    operation: Operation
    needs: Needs
    is_stream: bool
    open_exchange: Callable[[Model, Deployment], Exchange]
    started_s: float
    allowed_models: frozenset[str] | None = None
    requires_price: bool = False
    conversation: str = ""


@dataclass(slots=True)
class Trace:
    """What became of a request so far; filled by the loop, read in any outcome."""

    failures: list[AttemptRecord] = field(default_factory=list)
    refusals: list[RateLimited] = field(
        default_factory=list
    )  # of providers' own limits
    attempts: int = 0
    model: Model | None = None
    deployment: Deployment | None = None
    dropped: tuple[str, ...] = ()
    first_content_s: float | None = None  # after the request's start
