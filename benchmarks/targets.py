"""What AILB is to reach in one run, as ratios to its peers, and whether it does."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from benchmarks import rows
from benchmarks.calls import Size
from benchmarks.figures import PEERS, Contender, Readings, Row
from benchmarks.plan import Plan

MOST_GROWTH_MIB = 30.0
MOST_FURTHER_GROWTH_MIB = 5.0
MOST_SCALING = 1.10
# Requests per second, as so many times a peer's; on another server than these, Daphne's.
_TIMES = {
    "daphne": {Contender.LITELLM: 10.0, Contender.PORTKEY: 1.3},
    "granian": {Contender.LITELLM: 15.0, Contender.PORTKEY: 2.0},
}


class State(StrEnum):
    """Whether a target is reached."""

    REACHED = "PASS"
    BROKEN = "BROKEN"
    UNKNOWN = "not measured"


@dataclass(frozen=True, slots=True)
class Target:
    """A bound on AILB's figure of a row: `factor` times a peer's, or absolute."""

    row: Row
    factor: float
    peer: Contender | None = None
    is_least: bool = False  # else the most

    @property
    def name(self) -> str:
        """Say what it asks for."""
        sign = ">=" if self.is_least else "<="
        if self.peer is None:
            return f"{self.row.title} {sign} {self.factor:g} {self.row.unit}"
        return f"{self.row.title} {sign} {self.factor:.3g} x {self.peer}"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a target; `found` is AILB's figure over the peer's, or alone."""

    name: str
    state: State
    found: float | None


def targets(plan: Plan, server: str) -> Iterator[Target]:
    """List what AILB is to reach on an HTTP server."""
    requests = rows.throughput(Size.SMALL, 16)
    for peer, times in _TIMES.get(server, _TIMES["daphne"]).items():
        yield Target(requests, times, peer, is_least=True)
    yield Target(rows.ADDED_P50, 1.0, Contender.PORTKEY)
    yield Target(rows.ADDED_P50, 1 / 8, Contender.LITELLM)
    for peer in PEERS:
        yield Target(rows.BURST, 1.0, peer, is_least=True)
        yield Target(rows.ADDED_TTFT, 1.0, peer)
    yield Target(rows.IDLE_WORKER, 1 / 3, Contender.LITELLM)
    yield Target(rows.IDLE_TREE_SUM, 2 / 3, Contender.LITELLM)
    yield Target(rows.growth(plan), MOST_GROWTH_MIB)
    yield Target(rows.further_growth(plan), MOST_FURTHER_GROWTH_MIB)


def verdicts(readings: Readings, plan: Plan, server: str) -> list[Verdict]:
    """Judge every target by the medians of one run."""
    measured = readings.rows()
    scaled = (Target(row, MOST_SCALING) for row in rows.SCALING if row in measured)
    return [judge(target, readings) for target in (*targets(plan, server), *scaled)]


def judge(target: Target, readings: Readings) -> Verdict:
    """Compare AILB's median with the bound."""
    ailb = readings.median(target.row, Contender.AILB)
    if target.peer is None:
        found: float | None = ailb
        base: float | None = 1.0
    else:
        found = readings.ratio(target.row, Contender.AILB, target.peer)
        base = readings.median(target.row, target.peer)
    if ailb is None or base is None:
        return Verdict(target.name, State.UNKNOWN, None)
    bound = target.factor * base
    is_reached = ailb >= bound if target.is_least else ailb <= bound
    return Verdict(target.name, State.REACHED if is_reached else State.BROKEN, found)
