"""Latency averages: peaks up at once, down slowly, never wild."""

from __future__ import annotations

from math import exp, isfinite

import pytest
from hypothesis import given, strategies as st

from gateway.routing.latency import LatencyEstimate

DECAY_S = 60.0
samples = st.floats(0.0, 1e9) | st.just(float("nan")) | st.just(float("inf"))
clocks = st.floats(-1e6, 1e6)


def predict(estimate: LatencyEstimate, now_s: float = 0.0, tokens: int = 0) -> float:
    return estimate.predict_s(tokens, now_s=now_s, decay_s=DECAY_S)


def observe(
    estimate: LatencyEstimate,
    ttft_s: float,
    now_s: float = 0.0,
    *,
    duration_s: float | None = None,
    tokens: int = 0,
) -> None:
    estimate.observe_stream(
        ttft_s=ttft_s,
        duration_s=ttft_s if duration_s is None else duration_s,
        output_tokens=tokens,
        now_s=now_s,
        decay_s=DECAY_S,
    )


def test_it_starts_at_one_second():
    assert predict(LatencyEstimate(0.0)) == 1.0


def test_it_fades_without_traffic():
    assert predict(LatencyEstimate(0.0), 60.0) == pytest.approx(exp(-1))


def test_a_slow_sample_counts_in_full_at_once():
    estimate = LatencyEstimate(0.0)
    observe(estimate, 9.0)
    assert predict(estimate) == 9.0


def test_a_fast_sample_counts_by_the_time_that_has_passed():
    estimate = LatencyEstimate(0.0)
    observe(estimate, 9.0)
    observe(estimate, 1.0, 60.0)
    assert predict(estimate, 60.0) == pytest.approx(9 * exp(-1) + 1 * (1 - exp(-1)))


def test_a_stream_teaches_the_time_per_token_after_the_first():
    estimate = LatencyEstimate(0.0)
    observe(estimate, 1.0, duration_s=3.0, tokens=101)
    assert predict(estimate, tokens=100) == pytest.approx(1.0 + 100 * 0.02)


def test_a_long_whole_answer_does_not_make_a_deployment_slow_to_start():
    estimate = LatencyEstimate(0.0)
    estimate.observe_whole(
        duration_s=21.0, output_tokens=1000, now_s=0.0, decay_s=DECAY_S
    )
    assert predict(estimate) == pytest.approx(1.0)
    assert predict(estimate, tokens=1000) == pytest.approx(21.0)


def test_a_whole_answer_without_tokens_is_all_start():
    estimate = LatencyEstimate(0.0)
    estimate.observe_whole(duration_s=2.0, output_tokens=0, now_s=0.0, decay_s=DECAY_S)
    assert predict(estimate) == 2.0


def test_a_clock_that_goes_back_counts_as_standing():
    estimate = LatencyEstimate(100.0)
    observe(estimate, 9.0, 50.0)
    assert predict(estimate, 10.0) == 9.0
    assert predict(estimate, 100.0) == 9.0


@given(st.lists(st.tuples(clocks, samples, samples, st.integers(0, 10**9))))
def test_the_estimate_is_finite_and_never_above_its_largest_sample(events):
    estimate = LatencyEstimate(0.0)
    largest_s = 1.0
    for index, (now_s, ttft_s, duration_s, tokens) in enumerate(events):
        if index % 2:
            observe(estimate, ttft_s, now_s, duration_s=duration_s, tokens=tokens)
            largest_s = max(largest_s, ttft_s) if isfinite(ttft_s) else largest_s
        else:
            estimate.observe_whole(
                duration_s=duration_s, output_tokens=tokens, now_s=now_s, decay_s=60.0
            )
            if isfinite(duration_s):
                largest_s = max(largest_s, duration_s)
        assert 0.0 <= predict(estimate, now_s) <= largest_s * (1 + 1e-9)
        assert isfinite(predict(estimate, now_s, 256))


@given(st.lists(st.tuples(st.floats(0, 1e4), samples)), st.floats(0, 1e3), clocks)
def test_a_failure_never_lowers_the_estimate(events, penalty_s, now_s):
    estimate = LatencyEstimate(0.0)
    for at_s, ttft_s in events:
        observe(estimate, ttft_s, at_s)
    before_s = predict(estimate, now_s)
    estimate.penalise(penalty_s, now_s=now_s, decay_s=DECAY_S)
    assert predict(estimate, now_s) >= before_s * (1 - 1e-12)
