"""What clients have asked of one process and got, and what it takes to serve them."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from gateway.kinds import FaultDomain
from gateway.routing.statistics import LatencyHistogram

SUCCEEDED = "none"  # as a domain: nobody's fault
FAILURES = frozenset({FaultDomain.PROVIDER.value, FaultDomain.GATEWAY.value})
STATM = Path("/proc/self/statm")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


@dataclass(slots=True)
class ProviderCounts:
    """The requests that one provider answered or failed last, as clients saw them.

    `domains` counts requests by whose fault they failed; `tokens` by their kind.
    """

    domains: dict[str, int] = field(default_factory=dict)
    tokens: dict[str, int] = field(default_factory=dict)
    cost_nano_usd: int = 0
    unpriced_requests: int = 0

    @property
    def requests(self) -> int:
        """All of them."""
        return sum(self.domains.values())

    def add(self, other: ProviderCounts) -> None:
        """Add everything another one has counted."""
        for mine, theirs in (
            (self.domains, other.domains),
            (self.tokens, other.tokens),
        ):
            for name, count in theirs.items():
                mine[name] = mine.get(name, 0) + count
        self.cost_nano_usd += other.cost_nano_usd
        self.unpriced_requests += other.unpriced_requests

    def as_dict(self) -> dict[str, Any]:
        """Give a form that JSON keeps."""
        return {
            "domains": dict(self.domains),
            "tokens": dict(self.tokens),
            "cost_nano_usd": self.cost_nano_usd,
            "unpriced_requests": self.unpriced_requests,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Read the form of `as_dict`; raises KeyError on another."""
        return cls(
            domains=dict(data["domains"]),
            tokens=dict(data["tokens"]),
            cost_nano_usd=data["cost_nano_usd"],
            unpriced_requests=data["unpriced_requests"],
        )


@dataclass(slots=True)
class Counts:
    """What has been counted since a start; the sum of several is the counts of all.

    Requests are those for an answer of a model. `failed` ones are those that a provider or
    the gateway failed; one that was the caller's fault, or refused by a limit, has
    neither failed nor succeeded. `latency` is of those that succeeded: fast failures would
    flatter. Bytes are of the bodies of everything under /v1.
    """

    requests: int = 0
    succeeded: int = 0
    failed: int = 0
    latency: LatencyHistogram = field(default_factory=LatencyHistogram)
    ttft: LatencyHistogram = field(default_factory=LatencyHistogram)
    bytes_received: int = 0
    bytes_sent: int = 0
    connections_total: int = 0

    def add(self, other: Counts) -> None:
        """Add everything another one has counted."""
        for name in NUMBERS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.latency.add(other.latency)
        self.ttft.add(other.ttft)

    def minus(self, earlier: Counts) -> Counts:
        """Give what was counted since an earlier state.

        Raises ValueError when `earlier` has counted what this one has not.
        """
        since = Counts(
            latency=self.latency.minus(earlier.latency),
            ttft=self.ttft.minus(earlier.ttft),
        )
        for name in NUMBERS:
            count = getattr(self, name) - getattr(earlier, name)
            if count < 0:
                raise ValueError(f"fewer {name} than before")
            setattr(since, name, count)
        return since

    def as_dict(self) -> dict[str, Any]:
        """Give a form that JSON keeps."""
        return {
            **{name: getattr(self, name) for name in NUMBERS},
            "latency": self.latency.as_dict(),
            "ttft": self.ttft.as_dict(),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Read the form of `as_dict`; raises KeyError or ValueError on another."""
        return cls(
            **{name: int(data[name]) for name in NUMBERS},
            latency=LatencyHistogram.from_dict(data["latency"]),
            ttft=LatencyHistogram.from_dict(data["ttft"]),
        )


NUMBERS = (
    "requests",
    "succeeded",
    "failed",
    "bytes_received",
    "bytes_sent",
    "connections_total",
)


class ProcessFigures:
    """The figures of this process; its event loop counts, in plain additions."""

    def __init__(self) -> None:
        """Start with nothing."""
        self.counts = Counts()
        self.providers: dict[str, ProviderCounts] = {}
        self.connections = 0  # requests under /v1 that are being answered now
        self._measured_s, self._cpu_s = time.monotonic(), time.process_time()
        self._rss_bytes = 0
        self._cpu_percent = 0.0

    def arrived(self) -> None:
        """Count a request; `answered` must follow."""
        self.connections += 1
        self.counts.connections_total += 1

    def answered(self) -> None:
        """Count that a request has been answered, or given up."""
        self.connections -= 1

    def settled(
        self,
        provider: str,
        domain: FaultDomain | None,
        *,
        duration_s: float,
        first_content_s: float | None,
    ) -> ProviderCounts:
        """Count a request whose books are closed; give where its usage is counted.

        `domain` says whose fault it was that it failed, None if it did not.
        """
        counts = self.counts
        counts.requests += 1
        if domain is None:
            counts.succeeded += 1
            counts.latency.record(duration_s)
        elif domain.value in FAILURES:
            counts.failed += 1
        if first_content_s is not None:
            counts.ttft.record(first_content_s)
        found = self.providers.get(provider)
        if found is None:
            found = self.providers[provider] = ProviderCounts()
        name = SUCCEEDED if domain is None else domain.value
        found.domains[name] = found.domains.get(name, 0) + 1
        return found

    def measure(self) -> None:
        """Measure what the process takes; the share of the processor is since last time."""
        now_s, cpu_s = time.monotonic(), time.process_time()
        if (passed_s := now_s - self._measured_s) > 0:
            self._cpu_percent = (cpu_s - self._cpu_s) / passed_s * 100
        self._measured_s, self._cpu_s = now_s, cpu_s
        self._rss_bytes = int(STATM.read_bytes().split()[1]) * PAGE_BYTES

    def as_dict(self) -> dict[str, Any]:
        """Give a form that JSON keeps; processor and memory as they were measured last.

        `cpu_percent` is of one core: 150 is one and a half.
        """
        return {
            **self.counts.as_dict(),
            "providers": {
                name: each.as_dict() for name, each in self.providers.items()
            },
            "connections": self.connections,
            "cpu_s": self._cpu_s,
            "cpu_percent": round(self._cpu_percent, 3),
            "rss_bytes": self._rss_bytes,
        }


def counts_in(report: Mapping[str, Any]) -> Counts:
    """Read a worker's counts from its report; nothing from one that has none."""
    traffic = report.get("traffic")
    return Counts() if traffic is None else Counts.from_dict(traffic)


def provider_counts_in(
    reports: Iterable[Mapping[str, Any]],
) -> dict[str, ProviderCounts]:
    """Sum what several workers have counted of each provider."""
    sums: dict[str, ProviderCounts] = {}
    for report in reports:
        for name, part in report.get("traffic", {}).get("providers", {}).items():
            sums.setdefault(name, ProviderCounts()).add(ProviderCounts.from_dict(part))
    return sums
