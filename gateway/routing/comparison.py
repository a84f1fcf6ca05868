"""Whether one version does worse than another since a trial of it began (pure)."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from gateway.routing.statistics import LatencyHistogram

COMPARED_PERCENTILE = 95


@dataclass(frozen=True, slots=True)
class Margins:
    """How much worse a version may do, and over how many requests that is judged.

    `error_percent` are percentage points of failed requests; `ttft_percent` is how much
    longer the 95th percentile of the time to first token may be.
    """

    error_percent: float
    ttft_percent: float
    minimum_requests: int


@dataclass(slots=True)
class VersionFigures:
    """What was asked of a version: in all, in vain, and the times to first token.

    A request that its breakers kept from it was asked in vain too: one that never works
    would else be tried too seldom to be judged.
    """

    requests: int = 0
    failed: int = 0
    ttft: LatencyHistogram = field(default_factory=LatencyHistogram)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Read the form of `ProviderStatistics.as_dict`; KeyError or ValueError else."""
        missed = int(data["missed_requests"])
        return cls(
            requests=int(data["total_requests"]) + missed,
            failed=int(data["failed_requests"]) + missed,
            ttft=LatencyHistogram.from_dict(data["ttft"]),
        )

    def add(self, other: VersionFigures) -> None:
        """Add what another process has counted."""
        self.requests += other.requests
        self.failed += other.failed
        self.ttft.add(other.ttft)

    def minus(self, earlier: VersionFigures) -> VersionFigures:
        """Give what was counted since; raises ValueError when a counter went back."""
        since = VersionFigures(
            requests=self.requests - earlier.requests,
            failed=self.failed - earlier.failed,
            ttft=self.ttft.minus(earlier.ttft),
        )
        if since.requests < 0 or since.failed < 0:
            raise ValueError("a counter that stands lower than before")
        return since

    @property
    def failed_percent(self) -> float:
        """Give the failed share in percent; 0 without requests."""
        return 100.0 * self.failed / self.requests if self.requests else 0.0


ByVersion = Mapping[str, VersionFigures]


@dataclass(frozen=True, slots=True)
class Reading:
    """What a worker has counted since its start; `is_new`: it started after the trial."""

    worker: str
    is_new: bool
    versions: ByVersion


class Tally:
    """Counts by version, summed over workers, from the beginning of a trial on.

    Workers count since their start: what they said at the trial's first reading is taken
    off. A worker whose counters went back begins anew.
    """

    def __init__(self) -> None:
        """Know of no trial yet."""
        self._trial: Hashable = None
        self._before: dict[str, ByVersion] = {}

    def since(
        self, trial: Hashable, readings: Iterable[Reading]
    ) -> dict[str, VersionFigures]:
        """Sum what was counted since a trial began; another than before starts anew."""
        if trial != self._trial:
            self._trial, self._before = trial, {}
        total: dict[str, VersionFigures] = {}
        for reading in readings:
            for version, gained in self._gained(reading).items():
                total.setdefault(version, VersionFigures()).add(gained)
        return total

    def _gained(self, reading: Reading) -> ByVersion:
        start: ByVersion = {} if reading.is_new else reading.versions
        before = self._before.setdefault(reading.worker, start)
        try:
            return {
                version: reading.versions.get(version, VersionFigures()).minus(
                    before.get(version, VersionFigures())
                )
                for version in reading.versions.keys() | before.keys()
            }
        except ValueError:
            self._before[reading.worker] = reading.versions
            return {}


def worse_by(
    figures: ByVersion, *, active: str, other: str, margins: Margins
) -> str | None:
    """Say in a sentence which margin `other` breaks against `active`, with the figures.

    None while it keeps both, or one of them has served too little. Only streams have a
    time to first token: times are compared once both have so many of them.
    """
    ours = figures.get(active, VersionFigures())
    theirs = figures.get(other, VersionFigures())
    least = margins.minimum_requests
    if min(ours.requests, theirs.requests) < least:
        return None
    if theirs.failed_percent - ours.failed_percent > margins.error_percent:
        return (
            f"{other} failed {theirs.failed_percent:.1f} % of {theirs.requests} "
            f"requests, {active} {ours.failed_percent:.1f} % of {ours.requests}; "
            f"{margins.error_percent:g} percentage points more are allowed."
        )
    if min(ours.ttft.count, theirs.ttft.count) < least:
        return None
    our_s = ours.ttft.percentile(COMPARED_PERCENTILE) or 0.0
    their_s = theirs.ttft.percentile(COMPARED_PERCENTILE) or 0.0
    if their_s > our_s * (1 + margins.ttft_percent / 100.0):
        return (
            f"{other} took {1000 * their_s:.0f} ms to the first token (p95 of "
            f"{theirs.ttft.count} streams), {active} {1000 * our_s:.0f} ms (of "
            f"{ours.ttft.count}); {margins.ttft_percent:g} % more are allowed."
        )
    return None
