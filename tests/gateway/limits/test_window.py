"""The sliding window: strict in every interval, exact in what it tells to wait."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, strategies as st

from gateway.limits.window import InFlight, SlidingWindow, reservation

DAYS_MS = 5 * 86_400_000
STEPS = st.lists(
    st.tuples(
        st.one_of(st.integers(0, 2_500), st.sampled_from([0, 1, 999, 1000, DAYS_MS])),
        st.integers(1, 5),  # asked
        st.integers(0, 5),  # given back at once or later
        st.integers(0, 3),  # by which of the last admissions
    ),
    max_size=60,
)


def admit(window: SlidingWindow, count: int, *, amount: int, now_s: float) -> bool:
    fits = window.fits(count, amount=amount, now_s=now_s)
    if fits:
        window.add(count, now_s=now_s)
    return fits


@given(STEPS, st.sampled_from([1, 7, 60]), st.integers(1, 12))
def test_no_interval_of_the_window_holds_more_than_the_amount(steps, window_s, amount):
    window, now_ms = SlidingWindow(window_s), 17
    admitted: list[list[int]] = []  # [ms, slot, count that is left]
    for step_ms, asked, refund, which in steps:
        now_ms += step_ms
        now_s = now_ms / 1000
        needed = reservation(asked, amount=amount)
        if window.fits(needed, amount=amount, now_s=now_s):
            admitted.append([now_ms, window.add(needed, now_s=now_s), needed])
        if len(admitted) > which:
            entry = admitted[-1 - which]
            back = min(refund, entry[2])
            window.correct(entry[1], -back, now_s=now_s)
            entry[2] -= back
    for start_ms, _, _ in admitted:
        end_ms = start_ms + window_s * 1000
        held = sum(left for ms, _, left in admitted if start_ms <= ms < end_ms)
        assert held <= amount


@given(STEPS, st.integers(1, 12), st.integers(1, 12))
def test_the_wait_is_exactly_until_it_fits(steps, amount, asked):
    window, now_ms = SlidingWindow(60), 0
    for step_ms, count, _, _ in steps:
        now_ms += step_ms
        admit(window, min(count, amount), amount=amount, now_s=now_ms / 1000)
    now_s, needed = now_ms / 1000, reservation(asked, amount=amount)
    wait_s = window.wait_s(needed, amount=amount, now_s=now_s)
    if wait_s:
        before_s = now_s + wait_s - 0.0005
        assert not window.fits(needed, amount=amount, now_s=before_s)
    assert window.fits(needed, amount=amount, now_s=now_s + wait_s + 1e-6)


@given(STEPS)
def test_what_is_counted_is_the_sum_of_its_slots_and_they_are_few(steps):
    window, now_ms = SlidingWindow(1), 0
    for step_ms, count, difference, which in steps:
        now_ms += step_ms
        slot = window.add(count, now_s=now_ms / 1000)
        window.correct(slot - which, difference - 2, now_s=now_ms / 1000)
        assert window._total == sum(window._counts.values())
        assert len(window._counts) <= 21


def test_a_count_leaves_only_when_its_whole_slot_has():
    window = SlidingWindow(60)
    window.add(1, now_s=0.999)
    assert window.used(60.999) == 1
    assert window.used(61.0) == 0


def test_a_refund_goes_to_its_own_slot_and_is_nothing_once_that_has_left():
    window = SlidingWindow(60)
    slot = window.add(10, now_s=0.0)
    window.add(3, now_s=30.0)
    window.correct(slot, -4, now_s=40.0)
    assert window.used(40.0) == 9
    assert window.used(61.0) == 3
    window.correct(slot, -6, now_s=62.0)
    assert window.used(62.0) == 3


def test_a_surcharge_of_a_slot_that_has_left_counts_now():
    window = SlidingWindow(60)
    slot = window.add(10, now_s=0.0)
    window.correct(slot, 5, now_s=70.0)
    assert window.used(130.9) == 5
    assert window.used(131.0) == 0


def test_a_request_larger_than_the_limit_waits_for_an_empty_window():
    window, needed = SlidingWindow(60), reservation(500, amount=100)
    window.add(1, now_s=0.0)
    assert not window.fits(needed, amount=100, now_s=1.0)
    assert window.wait_s(needed, amount=100, now_s=1.0) == 60.0
    assert window.fits(needed, amount=100, now_s=61.0)


def test_what_needs_nothing_fits_even_over_the_limit():
    window = SlidingWindow(60)
    window.add(200, now_s=0.0)
    assert window.fits(0, amount=100, now_s=0.0)
    assert window.wait_s(0, amount=100, now_s=0.0) == 0.0


@pytest.mark.parametrize("now_s", [100.0, 99.0, 0.0], ids=["same", "back", "zero"])
def test_a_clock_that_does_not_advance_loses_and_frees_nothing(now_s):
    window = SlidingWindow(60)
    window.add(100, now_s=100.0)
    assert not window.fits(1, amount=100, now_s=now_s)


def test_all_is_free_again_when_the_newest_slot_leaves():
    window = SlidingWindow(60)
    assert window.reset_s(5.0) == 0.0
    window.add(1, now_s=5.0)
    window.add(1, now_s=20.5)
    assert window.reset_s(30.0) == 51.0


def test_nobody_can_tell_when_a_request_under_way_ends():
    flight = InFlight()
    slot = flight.add(1, now_s=0.0)
    assert not flight.fits(1, amount=1, now_s=1e9)
    assert flight.wait_s(1, amount=1, now_s=0.0) == math.inf
    flight.correct(slot, -1, now_s=0.0)
    assert flight.used(0.0) == 0
    assert flight.wait_s(1, amount=1, now_s=0.0) == 0.0
