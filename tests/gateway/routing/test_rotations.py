"""Smooth weighted round robin: exact over each cycle, fair to newcomers."""

from __future__ import annotations

from collections import Counter
from itertools import cycle

from hypothesis import given, strategies as st

from gateway.routing.rotations import REMEMBERED, Rotations
from tests.gateway.routing.rows import deployment, model, snapshot


def group(*weights: int):
    return [
        deployment(number, weight=weight) for number, weight in enumerate(weights, 1)
    ]


def picks(rotations: Rotations, members, count: int) -> list[int]:
    return [rotations.pick(members)[0].id for _ in range(count)]


def test_five_one_one_spreads_instead_of_bursting():
    assert picks(Rotations(), group(5, 1, 1), 7) == [1, 1, 2, 1, 3, 1, 1]


@given(st.lists(st.integers(1, 50), min_size=1, max_size=10), st.integers(1, 3))
def test_weights_hold_exactly_over_every_cycle(weights, cycles):
    rotations, members = Rotations(), group(*weights)
    for _ in range(cycles):
        counted = Counter(picks(rotations, members, sum(weights)))
        assert counted == dict(enumerate(weights, 1))


@given(
    st.lists(st.integers(1, 20), min_size=2, max_size=5),
    st.lists(st.sets(st.integers(1, 5), min_size=1), max_size=60),
)
def test_weights_hold_exactly_whatever_other_memberships_turn_between(weights, others):
    rotations, members = Rotations(), group(*weights)
    subsets = [[member for member in members if member.id in ids] for ids in others]
    interruptions = cycle([subset for subset in subsets if subset != members] or [[]])
    counted: Counter[int] = Counter()
    for _ in range(sum(weights)):
        counted[rotations.pick(members)[0].id] += 1
        if other := next(interruptions):
            rotations.pick(other)
    assert counted == dict(enumerate(weights, 1))


def test_a_member_that_comes_and_goes_does_not_starve():
    rotations, (a, b) = Rotations(), group(1, 1)
    counted: Counter[int] = Counter()
    for _ in range(50):
        rotations.pick([a])  # a request that only a can serve
        counted[rotations.pick([a, b])[0].id] += 1
    assert counted == {1: 25, 2: 25}


@given(
    st.lists(st.integers(1, 20), min_size=2, max_size=6),
    st.lists(st.sets(st.integers(2, 6)), min_size=1, max_size=5),
)
def test_a_member_that_stays_is_never_starved_by_changes(weights, changes):
    rotations, members = Rotations(), group(*weights)
    rounds = cycle(changes)
    waited = longest = 0
    for _ in range(600):
        present = next(rounds) | {1}
        now = [member for member in members if member.id in present]
        waited = 0 if rotations.pick(now)[0].id == 1 else waited + 1
        longest = max(longest, waited)
    assert longest <= 2 * len(changes) * sum(weights)


def test_a_new_member_starts_at_the_smallest_value_and_gets_no_burst():
    rotations, members = Rotations(), group(1, 1, 1)
    picks(rotations, members[:2], 1)  # a stands behind b
    assert picks(rotations, members, 4) == [2, 1, 3, 2]


def test_equals_take_turns():
    assert picks(Rotations(), group(1, 1, 1), 6) == [1, 2, 3, 1, 2, 3]


def test_peeking_does_not_turn():
    rotations, members = Rotations(), group(1, 1)
    assert [rotations.peek(members)[0].id for _ in range(3)] == [1, 1, 1]


def test_memberships_are_forgotten_beyond_a_bound():
    rotations = Rotations()
    for number in range(REMEMBERED * 3):
        rotations.pick([deployment(number)])
    assert len(rotations._rotations["m", 0]) == REMEMBERED


def test_removed_models_are_forgotten():
    rotations = Rotations()
    rotations.pick(group(1, 1))
    rotations.retain(snapshot(model(deployment())))
    assert rotations._rotations
    rotations.retain(snapshot())
    assert not rotations._rotations
