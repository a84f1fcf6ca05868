"""What a provider has done so far in one process, and the sum over processes (pure)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import ceil, exp, isnan, log
from typing import Any, Self

RELATIVE_ACCURACY = 0.02
SMALLEST_S = 1e-6  # shorter counts as zero
LARGEST_S = 86_400.0  # longer counts as a day

_GAMMA = (1 + RELATIVE_ACCURACY) / (1 - RELATIVE_ACCURACY)
_LOG_GAMMA = log(_GAMMA)


class LatencyHistogram:
    """Durations in logarithmic buckets; percentiles are within 2 %.

    DDSketch (Masson, Rim, Lee: "DDSketch: a fast and fully-mergeable quantile sketch with
    relative-error guarantees", VLDB 2019). Bounded by its range to about 630 buckets,
    and the sum of two is the histogram of both.
    """

    __slots__ = ("_buckets", "_zeros", "count", "sum_s")

    def __init__(self) -> None:
        """Start empty."""
        self._buckets: dict[int, int] = {}
        self._zeros = 0
        self.count = 0
        self.sum_s = 0.0

    def record(self, duration_s: float) -> None:
        """Count one duration; NaN is ignored, a negative one counts as zero."""
        if isnan(duration_s):
            return
        duration_s = min(max(duration_s, 0.0), LARGEST_S)
        self.count += 1
        self.sum_s += duration_s
        if duration_s < SMALLEST_S:
            self._zeros += 1
            return
        index = ceil(log(duration_s) / _LOG_GAMMA)
        self._buckets[index] = self._buckets.get(index, 0) + 1

    def percentile(self, percent: float) -> float | None:
        """Give the duration in seconds that `percent` (0 to 100) do not exceed.

        None when nothing was recorded.
        """
        if self.count == 0:
            return None
        rank = min(max(percent, 0.0), 100.0) / 100.0 * (self.count - 1)
        below = self._zeros
        if below > rank:
            return 0.0
        index = 0
        for index in sorted(self._buckets):
            below += self._buckets[index]
            if below > rank:
                break
        return 2.0 * exp(index * _LOG_GAMMA) / (_GAMMA + 1.0)

    def mean_s(self) -> float | None:
        """Give the exact mean in seconds, None when nothing was recorded."""
        return self.sum_s / self.count if self.count else None

    def add(self, other: LatencyHistogram) -> None:
        """Add everything another histogram has counted."""
        for index, count in other._buckets.items():
            self._buckets[index] = self._buckets.get(index, 0) + count
        self._zeros += other._zeros
        self.count += other.count
        self.sum_s += other.sum_s

    def minus(self, earlier: LatencyHistogram) -> LatencyHistogram:
        """Give what was counted since an earlier state of this histogram.

        Raises ValueError when `earlier` has counted what this one has not.
        """
        since = LatencyHistogram()
        since._zeros = self._zeros - earlier._zeros
        counts = {
            index: self._buckets.get(index, 0) - earlier._buckets.get(index, 0)
            for index in self._buckets.keys() | earlier._buckets.keys()
        }
        if since._zeros < 0 or any(count < 0 for count in counts.values()):
            raise ValueError("a histogram that has counted less than before")
        since._buckets = {index: count for index, count in counts.items() if count}
        since.count = self.count - earlier.count
        since.sum_s = max(self.sum_s - earlier.sum_s, 0.0)
        return since

    def as_dict(self) -> dict[str, Any]:
        """Give a form that JSON keeps."""
        buckets = {str(index): count for index, count in self._buckets.items()}
        return {"buckets": buckets, "zeros": self._zeros, "sum_s": self.sum_s}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Read the form of `as_dict`; raises KeyError or ValueError on another."""
        histogram = cls()
        histogram._buckets = {
            int(index): int(count) for index, count in data["buckets"].items()
        }
        histogram._zeros = int(data["zeros"])
        histogram.count = histogram._zeros + sum(histogram._buckets.values())
        histogram.sum_s = float(data["sum_s"])
        return histogram


@dataclass(slots=True)
class ProviderStatistics:
    """Counters of one provider since the process started, one count per attempt.

    Times are wall-clock epoch seconds. Latencies are of successful attempts only: fast
    failures would flatter the provider.

    Versions are counted likewise. `missed_requests` are those whose turn a version had
    while its breakers and cooldowns let none through: no attempts, and not in the rest.
    """

    total_requests: int = 0
    successful_requests: int = 0
    failed_requests: int = 0
    consecutive_failures: int = 0
    last_success_s: float | None = None
    last_failure_s: float | None = None
    input_tokens: int = 0
    output_tokens: int = 0
    cost_nano_usd: int = 0
    unpriced_requests: int = 0
    missed_requests: int = 0
    latency: LatencyHistogram = field(default_factory=LatencyHistogram)
    ttft: LatencyHistogram = field(default_factory=LatencyHistogram)

    def record(
        self,
        *,
        is_success: bool,
        at_s: float,
        latency_s: float,
        ttft_s: float | None = None,
        input_tokens: int = 0,
        output_tokens: int = 0,
        cost_nano_usd: int | None = 0,
    ) -> None:
        """Count one finished attempt; an attempt whose client left is not recorded.

        `cost_nano_usd` is None when its price is unknown.
        """
        self.total_requests += 1
        self.input_tokens += input_tokens
        self.output_tokens += output_tokens
        self.cost_nano_usd += cost_nano_usd or 0
        self.unpriced_requests += cost_nano_usd is None
        if not is_success:
            self.failed_requests += 1
            self.consecutive_failures += 1
            self.last_failure_s = at_s
            return
        self.successful_requests += 1
        self.consecutive_failures = 0
        self.last_success_s = at_s
        self.latency.record(latency_s)
        if ttft_s is not None:
            self.ttft.record(ttft_s)

    def as_dict(self) -> dict[str, Any]:
        """Give a form that JSON keeps and `merge` reads."""
        return {
            "total_requests": self.total_requests,
            "successful_requests": self.successful_requests,
            "failed_requests": self.failed_requests,
            "consecutive_failures": self.consecutive_failures,
            "last_success_s": self.last_success_s,
            "last_failure_s": self.last_failure_s,
            "input_tokens": self.input_tokens,
            "output_tokens": self.output_tokens,
            "cost_nano_usd": self.cost_nano_usd,
            "unpriced_requests": self.unpriced_requests,
            "missed_requests": self.missed_requests,
            "latency": self.latency.as_dict(),
            "ttft": self.ttft.as_dict(),
        }

    @classmethod
    def merge(cls, parts: Iterable[Mapping[str, Any]]) -> Self:
        """Sum what several processes say of one provider, each in the form of `as_dict`.

        `consecutive_failures` is the longest run that one process is in, 0 where another
        succeeded after the run's last failure: a whole order of events over processes is
        not kept. Raises KeyError or ValueError on another form.
        """
        kept = list(parts)
        merged = cls()
        for part in kept:
            merged._add(part)
        for part in kept:
            if _is_still_failing(part, merged.last_success_s):
                merged.consecutive_failures = max(
                    merged.consecutive_failures, part["consecutive_failures"]
                )
        return merged

    def _add(self, part: Mapping[str, Any]) -> None:
        self.total_requests += part["total_requests"]
        self.successful_requests += part["successful_requests"]
        self.failed_requests += part["failed_requests"]
        self.input_tokens += part["input_tokens"]
        self.output_tokens += part["output_tokens"]
        # Workers of 0.1.0, which may still run beside this one, do not say these three.
        self.cost_nano_usd += part.get("cost_nano_usd", 0)
        self.unpriced_requests += part.get("unpriced_requests", 0)
        self.missed_requests += part.get("missed_requests", 0)
        self.last_success_s = _latest(self.last_success_s, part["last_success_s"])
        self.last_failure_s = _latest(self.last_failure_s, part["last_failure_s"])
        self.latency.add(LatencyHistogram.from_dict(part["latency"]))
        self.ttft.add(LatencyHistogram.from_dict(part["ttft"]))


def _is_still_failing(part: Mapping[str, Any], last_success_s: float | None) -> bool:
    last_failure_s = part["last_failure_s"]
    if last_failure_s is None:
        return False
    return last_success_s is None or last_failure_s >= last_success_s


def _latest(first: float | None, second: float | None) -> float | None:
    if first is None or second is None:
        return second if first is None else first
    return max(first, second)
