"""AILB as shipped beside AILB without keys, limits and ledger: what the books cost."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field

from typing_extensions import override

from benchmarks.figures import Contender
from benchmarks.gateway import background_pids
from benchmarks.load import Run, drive, median
from benchmarks.plan import Plan
from benchmarks.processes import cpu_seconds, pin
from benchmarks.servers import Server
from benchmarks.upstream import Answer

HEADINGS = (
    f"{'as shipped against bare':<24}{'conns':>6}{'shipped':>9}{'bare':>9}{'cost':>8}"
    f"{'CPU s/1000':>16}{'cost':>8}"
)
CONNECTIONS = (16, 64)
_SLICE_S = 2


@dataclass(frozen=True, slots=True)
class BareRow:
    """What access, limits, budgets and the ledger cost: with them, and without."""

    connections: int
    shipped: Run
    bare: Run
    cost: float  # the share of requests per second lost, median of the pairs of runs
    shipped_cpu_s: float  # for 1,000 requests
    bare_cpu_s: float

    @override
    def __str__(self) -> str:
        """Lay it out under its headings: the share of requests lost, of CPU gained."""
        return (
            f"{'whole, requests per s':<24}{self.connections:>6}"
            f"{self.shipped.requests_per_s:>9.0f}{self.bare.requests_per_s:>9.0f}"
            f"{self.cost:>8.1%}{self.shipped_cpu_s:>8.3f}{self.bare_cpu_s:>8.3f}"
            f"{self.shipped_cpu_s / self.bare_cpu_s - 1:>8.1%}"
        )


@dataclass(slots=True)
class Tally:
    """Runs of both at so many connections, in pairs, and what they cost in CPU."""

    connections: int
    pairs: list[tuple[Run, Run]] = field(default_factory=list)
    cpu_s: list[tuple[float, float]] = field(default_factory=list)

    def row(self) -> BareRow:
        """Give the medians over all starts."""
        return BareRow(
            self.connections,
            median([shipped for shipped, _ in self.pairs]),
            median([bare for _, bare in self.pairs]),
            cost=statistics.median(
                1 - shipped.requests_per_s / bare.requests_per_s
                for shipped, bare in self.pairs
            ),
            shipped_cpu_s=statistics.median(shipped for shipped, _ in self.cpu_s),
            bare_cpu_s=statistics.median(bare for _, bare in self.cpu_s),
        )


def compare(
    plan: Plan, shipped: Server, bare: Server, tallies: Sequence[Tally]
) -> None:
    """Drive both in pairs; the background process makes room for the worker meanwhile."""
    background = background_pids(shipped)
    pin(background, core=plan.cores.load)
    for tally in tallies:
        for number in range(plan.pairs):
            order = (shipped, bare) if number % 2 else (bare, shipped)
            _fill(plan, tally, order)
    pin(background, core=plan.cores.gateway)


def _fill(plan: Plan, tally: Tally, order: Sequence[Server]) -> None:
    """Drive shortly: the weather changes within seconds."""
    runs: dict[Contender, Run] = {}
    cpu_s: dict[Contender, float] = {}
    for server in order:
        assert server.pid is not None
        before_s = cpu_seconds(server.pid)
        run = drive(
            server.call(Answer.WHOLE),
            connections=tally.connections,
            seconds=_SLICE_S,
            core=plan.cores.load,
        )
        runs[server.contender] = run
        cpu_s[server.contender] = (
            (cpu_seconds(server.pid) - before_s) / run.requests * 1000
        )
    tally.pairs.append((runs[Contender.AILB], runs[Contender.BARE]))
    tally.cpu_s.append((cpu_s[Contender.AILB], cpu_s[Contender.BARE]))
