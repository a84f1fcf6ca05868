"""The figures of one run: readings, their medians and ratios."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum


class Contender(StrEnum):
    """Who is measured, in the order of the columns."""

    DIRECT = "direct"
    NGINX = "nginx"
    AILB = "AILB"
    BARE = "AILB bare"
    LITELLM = "LiteLLM"
    PORTKEY = "Portkey"


PEERS = (Contender.LITELLM, Contender.PORTKEY)


@dataclass(frozen=True, slots=True)
class Row:
    """What is measured, and in which unit."""

    title: str
    unit: str


@dataclass(frozen=True, slots=True)
class Reading:
    """One figure of one round; `cpu_s` is for 1,000 requests, None where nothing ran."""

    row: Row
    contender: Contender
    value: float
    cpu_s: float | None = None


@dataclass(slots=True)
class Readings:
    """All readings of one run, in the order they were taken."""

    taken: list[Reading] = field(default_factory=list)

    def add(self, readings: Iterable[Reading]) -> None:
        """Keep what a round found."""
        self.taken += readings

    def rows(self) -> list[Row]:
        """List what was measured, each row once."""
        return list(dict.fromkeys(reading.row for reading in self.taken))

    def values(self, row: Row, contender: Contender) -> list[float]:
        """List the figures of every round."""
        return [reading.value for reading in self._of(row, contender)]

    def median(self, row: Row, contender: Contender) -> float | None:
        """Give the median of the rounds; None where it was not measured."""
        values = self.values(row, contender)
        return statistics.median(values) if values else None

    def cpu_s(self, row: Row, contender: Contender) -> float | None:
        """Give the median of the processor time of 1,000 requests, likewise."""
        spent = [each.cpu_s for each in self._of(row, contender)]
        known = [cpu_s for cpu_s in spent if cpu_s is not None]
        return statistics.median(known) if known else None

    def ratio(self, row: Row, one: Contender, other: Contender) -> float | None:
        """Divide the medians; None where one is missing or not positive."""
        above, below = self.median(row, one), self.median(row, other)
        if above is None or below is None or min(above, below) <= 0:
            return None
        return above / below

    def _of(self, row: Row, contender: Contender) -> Iterator[Reading]:
        return (
            reading
            for reading in self.taken
            if reading.row == row and reading.contender == contender
        )


def percentile(values: Sequence[float], share: float) -> float:
    """Give the value that `share` of all do not exceed (nearest rank); one at least."""
    ordered = sorted(values)
    return ordered[max(math.ceil(share * len(ordered)), 1) - 1]
