"""Figures: counters and percentiles that merge honestly."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, strategies as st

from gateway.routing.statistics import LatencyHistogram, ProviderStatistics

durations = st.floats(1e-5, 80_000.0)


def histogram(values) -> LatencyHistogram:
    made = LatencyHistogram()
    for value in values:
        made.record(value)
    return made


def test_an_empty_histogram_has_no_percentile():
    assert LatencyHistogram().percentile(50) is None
    assert LatencyHistogram().mean_s() is None


@given(st.lists(durations, min_size=1, max_size=200), st.floats(0, 100))
def test_percentiles_are_within_two_percent(values, percent):
    exact = sorted(values)[int(percent / 100 * (len(values) - 1))]
    found = histogram(values).percentile(percent)
    assert found == pytest.approx(exact, rel=0.02 + 1e-9)


def test_the_ends_are_the_shortest_and_the_longest():
    ends = histogram([1.0, 100.0])
    assert ends.percentile(0) == pytest.approx(1.0, rel=0.021)
    assert ends.percentile(100) == pytest.approx(100.0, rel=0.021)


def test_zeros_are_added_too():
    added = histogram([5.0])
    added.add(histogram([0.0, 0.0]))
    assert added.percentile(50) == 0.0
    assert added.as_dict()["zeros"] == 2


@given(st.lists(durations), st.lists(durations))
def test_adding_two_is_the_histogram_of_both(first, second):
    added = histogram(first)
    added.add(histogram(second))
    both = histogram(first + second)
    assert added.as_dict()["buckets"] == both.as_dict()["buckets"]
    assert (added.count, added.percentile(99)) == (both.count, both.percentile(99))
    assert added.sum_s == pytest.approx(both.sum_s)


@given(st.lists(durations), st.lists(durations))
def test_what_was_counted_since_is_the_histogram_of_that_alone(before, after):
    since = histogram(before + after).minus(histogram(before))
    alone = histogram(after)
    assert since.as_dict()["buckets"] == alone.as_dict()["buckets"]
    assert (since.count, since.percentile(95)) == (alone.count, alone.percentile(95))
    assert since.sum_s == pytest.approx(alone.sum_s, abs=1e-6 * (1 + sum(before)))


@pytest.mark.parametrize("earlier", [[2.0], [0.0], [1.0, 1.0]])
def test_a_histogram_that_counted_more_before_has_gone_back(earlier):
    with pytest.raises(ValueError, match="less than before"):
        histogram([1.0]).minus(histogram(earlier))


@given(st.lists(st.floats(), max_size=50))
def test_json_keeps_a_histogram_of_any_durations(values):
    before = histogram(values)
    after = LatencyHistogram.from_dict(json.loads(json.dumps(before.as_dict())))
    assert after.as_dict() == before.as_dict()
    assert (after.count, after.percentile(95)) == (before.count, before.percentile(95))
    assert len(before.as_dict()["buckets"]) <= 640


def test_durations_too_short_to_tell_count_as_zero():
    assert histogram([0.0, -1.0, 1e-9, 5.0]).percentile(50) == 0.0


def test_a_duration_without_end_counts_as_a_day():
    longest = histogram([float("inf")])
    assert longest.percentile(50) == pytest.approx(86_400.0, rel=0.021)


@pytest.mark.parametrize("data", [{}, {"buckets": {"x": 1}, "zeros": 0, "sum_s": 0}])
def test_another_form_is_refused(data):
    with pytest.raises((KeyError, ValueError)):
        LatencyHistogram.from_dict(data)


def record(statistics: ProviderStatistics, outcomes: str, at_s: float = 0.0) -> None:
    """Record a success for each `+`, a failure for each `-`, a second apart."""
    for offset, outcome in enumerate(outcomes):
        statistics.record(
            is_success=outcome == "+",
            at_s=at_s + offset,
            latency_s=2.0,
            ttft_s=0.5,
            input_tokens=10,
            output_tokens=20 if outcome == "+" else 0,
        )


def test_successes_and_failures_are_counted():
    statistics = ProviderStatistics()
    record(statistics, "+-+--", at_s=100.0)
    assert statistics.total_requests == 5
    assert statistics.successful_requests == 2
    assert statistics.failed_requests == 3
    assert statistics.consecutive_failures == 2
    assert (statistics.last_success_s, statistics.last_failure_s) == (102.0, 104.0)
    assert (statistics.input_tokens, statistics.output_tokens) == (50, 40)


def test_a_fast_failure_does_not_flatter_the_latency():
    statistics = ProviderStatistics()
    record(statistics, "+---")
    assert (statistics.latency.count, statistics.latency.mean_s()) == (1, 2.0)
    assert statistics.ttft.mean_s() == 0.5


def test_a_success_ends_the_run_of_failures():
    statistics = ProviderStatistics()
    record(statistics, "--+")
    assert statistics.consecutive_failures == 0


def merged(*workers: tuple[str, float]) -> ProviderStatistics:
    parts = []
    for outcomes, at_s in workers:
        statistics = ProviderStatistics()
        record(statistics, outcomes, at_s)
        parts.append(json.loads(json.dumps(statistics.as_dict())))
    return ProviderStatistics.merge(parts)


def test_nothing_merges_to_nothing():
    assert merged().as_dict() == ProviderStatistics().as_dict()


def test_workers_are_summed():
    both = merged(("++-", 0.0), ("+", 50.0))
    assert (both.total_requests, both.successful_requests) == (4, 3)
    assert (both.last_success_s, both.last_failure_s) == (50.0, 2.0)
    assert (both.latency.count, both.input_tokens) == (3, 40)


def test_a_run_of_failures_is_the_longest_of_one_worker():
    assert merged(("---", 10.0), ("--", 10.0)).consecutive_failures == 3


def test_a_success_of_another_worker_ends_a_run_of_failures():
    assert merged(("---", 0.0), ("+", 50.0)).consecutive_failures == 0
    assert merged(("---", 100.0), ("+", 50.0)).consecutive_failures == 3
