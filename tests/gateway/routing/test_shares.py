"""Weights: one is set, the others get what is left."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from gateway.routing.shares import WHOLE, rebalanced, scaled

LABELS = ("v1", "v2", "v3", "v4")


@pytest.mark.parametrize(
    ("weights", "version", "weight", "expected"),
    [
        ({"v1": 100, "v2": 0}, "v2", 10, {"v1": 90, "v2": 10}),
        ({"v1": 90, "v2": 10}, "v2", 0, {"v1": 100, "v2": 0}),
        ({"v1": 90, "v2": 10}, "v1", 60, {"v1": 60, "v2": 40}),
        ({"v1": 100, "v2": 0}, "v1", 0, {"v1": 0, "v2": 100}),
        ({"v1": 80, "v2": 15, "v3": 5}, "v2", 25, {"v1": 70, "v2": 25, "v3": 5}),
        ({"v1": 10, "v2": 60, "v3": 30}, "v3", 70, {"v1": 0, "v2": 30, "v3": 70}),
        ({"v1": 70, "v2": 20, "v3": 10}, "v1", 40, {"v1": 40, "v2": 40, "v3": 20}),
        ({"v1": 100, "v2": 0, "v3": 0}, "v1", 75, {"v1": 75, "v2": 13, "v3": 12}),
        ({"v1": 50, "v2": 20}, "v2", 20, {"v1": 80, "v2": 20}),
    ],
)
def test_the_active_version_gives_and_takes_before_the_others(
    weights, version, weight, expected
):
    assert rebalanced(weights, version, weight, active="v1", heirs=weights) == expected


def test_an_active_version_that_nothing_serves_gets_nothing():
    weights = {"v1": 100, "blue": 0, "green": 0}
    assert rebalanced(weights, "green", 10, active="v1", heirs={"blue"}) == {
        "v1": 0,
        "blue": 90,
        "green": 10,
    }


def test_without_an_heir_nothing_is_given():
    assert rebalanced({"v1": 100}, "v1", 40, active="v1", heirs=()) == {"v1": 40}


@given(
    st.lists(st.integers(0, 100), min_size=2, max_size=4),
    st.integers(0, 100),
    st.sampled_from(LABELS[:2]),
)
def test_whatever_stood_there_the_sum_is_a_hundred(weights, weight, version):
    named = dict(zip(LABELS, weights, strict=False))
    after = rebalanced(named, version, weight, active="v1", heirs=named)
    assert sum(after.values()) == WHOLE
    assert after[version] == weight
    assert all(0 <= value <= WHOLE for value in after.values())


@given(st.lists(st.integers(1, 1000), min_size=1, max_size=6), st.integers(0, 100))
def test_scaling_is_off_by_less_than_one_and_misses_nothing(parts, total):
    named = {str(number): part for number, part in enumerate(parts)}
    shares = scaled(named, total)
    assert sum(shares.values()) == total
    for name, part in named.items():
        assert abs(shares[name] - part * total / sum(parts)) < 1
