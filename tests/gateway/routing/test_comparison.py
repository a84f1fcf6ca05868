"""One version against another: counts since a change, margins, enough requests."""

from __future__ import annotations

import pytest

from gateway.routing.comparison import (
    Margins,
    Reading,
    Tally,
    VersionFigures,
    worse_by,
)
from gateway.routing.statistics import LatencyHistogram, ProviderStatistics

MARGINS = Margins(error_percent=5, ttft_percent=50, minimum_requests=100)


def figures(requests: int, failed: int = 0, ttft_s: float = 0.2) -> VersionFigures:
    ttft = LatencyHistogram()
    for _ in range(requests - failed):
        ttft.record(ttft_s)
    return VersionFigures(requests, failed, ttft)


def reading(requests: int, worker: str = "w", *, is_new: bool = False) -> Reading:
    return Reading(worker, is_new, {"v1": figures(requests)})


def judged(active: VersionFigures, other: VersionFigures) -> str | None:
    pair = {"v1": active, "v2": other}
    return worse_by(pair, active="v1", other="v2", margins=MARGINS)


def requests_in(total: dict[str, VersionFigures]) -> int:
    return total["v1"].requests if "v1" in total else 0


def test_what_a_worker_counted_before_the_change_is_taken_off() -> None:
    tally = Tally()
    assert requests_in(tally.since("a", [reading(70)])) == 0
    assert requests_in(tally.since("a", [reading(75)])) == 5
    assert requests_in(tally.since("b", [reading(80)])) == 0
    assert requests_in(tally.since("b", [reading(90)])) == 10


def test_a_worker_that_started_after_the_change_counts_from_its_start() -> None:
    tally = Tally()
    tally.since("a", [reading(70)])
    total = tally.since("a", [reading(72), reading(30, "new", is_new=True)])
    assert requests_in(total) == 32


def test_a_version_that_a_worker_first_serves_later_counts_wholly() -> None:
    tally = Tally()
    tally.since("a", [Reading("w", is_new=False, versions={})])
    assert requests_in(tally.since("a", [reading(12)])) == 12


@pytest.mark.parametrize(
    "back",
    [{"v1": figures(3)}, {"v1": figures(80, failed=80)}, {}],
)
def test_a_worker_whose_counters_went_back_begins_anew(
    back: dict[str, VersionFigures],
) -> None:
    tally = Tally()
    tally.since("a", [reading(70), reading(10, "other")])
    now = [Reading("w", is_new=False, versions=back), reading(15, "other")]
    assert requests_in(tally.since("a", now)) == 5
    assert requests_in(tally.since("a", now)) == 5
    grown = {"v1": figures(84, failed=80)}
    more = [Reading("w", is_new=False, versions=grown), reading(15, "other")]
    assert requests_in(tally.since("a", more)) > 5


def test_figures_are_read_from_what_workers_report() -> None:
    said = ProviderStatistics()
    said.record(is_success=True, at_s=1, latency_s=2, ttft_s=0.5)
    said.record(is_success=True, at_s=1, latency_s=2)
    said.record(is_success=False, at_s=1, latency_s=1)
    read = VersionFigures.from_dict(said.as_dict())
    assert (read.requests, read.failed, read.ttft.count) == (3, 1, 1)


def test_what_breakers_kept_from_a_version_was_asked_in_vain() -> None:
    said = ProviderStatistics()
    said.record(is_success=False, at_s=1, latency_s=1)
    said.missed_requests += 4
    merged = ProviderStatistics.merge([said.as_dict(), said.as_dict()])
    read = VersionFigures.from_dict(merged.as_dict())
    assert (read.requests, read.failed) == (10, 10)


def test_more_failures_than_the_margin_are_told_with_their_figures() -> None:
    assert judged(figures(1000, 10), figures(100, 6)) is None
    assert judged(figures(1000, 10), figures(100, 7)) == (
        "v2 failed 7.0 % of 100 requests, v1 1.0 % of 1000; 5 percentage points more "
        "are allowed."
    )


def test_a_longer_wait_than_the_margin_is_told_with_its_figures() -> None:
    assert judged(figures(100), figures(100, ttft_s=0.28)) is None
    said = judged(figures(100), figures(100, ttft_s=0.4))
    assert said is not None
    assert "ms to the first token (p95 of 100 streams), v1" in said
    assert said.endswith("50 % more are allowed.")


def test_nothing_is_said_before_both_have_served_enough() -> None:
    bad = figures(1000, 900)
    assert judged(figures(99), bad) is None
    assert judged(figures(1000), figures(99, 99)) is None
    assert judged(figures(100), bad) is not None
    assert worse_by({}, active="v1", other="v2", margins=MARGINS) is None


def test_times_are_compared_only_over_enough_streams() -> None:
    whole = VersionFigures(500, 0, LatencyHistogram())
    slow = figures(99, ttft_s=9.0)
    slow.requests = 500
    assert judged(figures(500), slow) is None
    assert judged(whole, figures(500, ttft_s=9.0)) is None


def test_a_version_that_does_better_keeps_its_share() -> None:
    assert judged(figures(100, 50, ttft_s=3.0), figures(100)) is None
