"""Whether a request may be sent to a deployment now, in words (pure)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from gateway.kinds import Fault


class State(StrEnum):
    """Whether a request may be sent to a deployment now."""

    READY = "ready"
    PROBE = "probe"  # half-open, and the one place is free
    COOLING = "cooling"
    OPEN = "open"  # or half-open with the place taken
    SATURATED = "saturated"


class Admission(StrEnum):
    """How far a request may go past an open breaker; cooldowns hold for all."""

    NORMAL = "normal"
    ALONE = "alone"  # the model's only deployment is never wholly shut
    PANIC = "panic"  # everything is shut: one early probe a second per provider


@dataclass(frozen=True, slots=True)
class Availability:
    """The state, until when (same clock as `now_s`; None = not known), and the cause."""

    state: State
    until_s: float | None = None
    fault: Fault | None = None


READY = Availability(State.READY)
PROBE = Availability(State.PROBE)
SATURATED = Availability(State.SATURATED)
HALF_OPEN_TAKEN = Availability(State.OPEN)
