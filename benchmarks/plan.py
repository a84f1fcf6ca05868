"""How long, how often and where everything is measured: the full form and the quick one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from benchmarks.calls import Size
from benchmarks.processes import Cores

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Plan:
    """One run: every row is measured in `rounds` rounds after each of `starts` starts."""

    cores: Cores
    starts: int
    rounds: int
    seconds: int  # of one closed loop
    arrival_s: int  # of one run at a fixed rate
    cells: tuple[tuple[Size, int], ...]  # sizes of requests, and connections
    pairs: int  # runs of two AILBs in turn
    requests: int  # that AILB answers before its memory is looked at again
    more_requests: int  # after which it must not have grown further
    aborted_streams: int
    peer_requests: int


def full(cores: Cores) -> Plan:
    """Plan a run of about half an hour."""
    return Plan(
        cores,
        starts=2,
        rounds=2,
        seconds=3,
        arrival_s=8,
        cells=tuple((size, count) for size in Size for count in (16, 64)),
        pairs=6,
        requests=100_000,
        more_requests=25_000,
        aborted_streams=5_000,
        peer_requests=10_000,
    )


def quick(cores: Cores) -> Plan:
    """Plan a run of a few minutes, for a look."""
    return Plan(
        cores,
        starts=1,
        rounds=1,
        seconds=1,
        arrival_s=3,
        cells=(
            (Size.SMALL, 16),
            (Size.SMALL, 64),
            (Size.PROMPT, 16),
            (Size.IMAGE, 16),
        ),
        pairs=2,
        requests=5_000,
        more_requests=2_000,
        aborted_streams=200,
        peer_requests=300,
    )


def in_turn(items: Sequence[T], number: int) -> list[T]:
    """Begin with another one in each round: nobody always has the same neighbour."""
    start = number % len(items)
    return [*items[start:], *items[:start]]
