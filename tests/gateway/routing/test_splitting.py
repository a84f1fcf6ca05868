"""Versions: exact shares over each cycle, and one version for each conversation."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import islice, product

import pytest
from hypothesis import given, strategies as st

from gateway.routing.splitting import REMEMBERED, Splitting, version_of
from gateway.snapshot import Model
from tests.gateway.routing.rows import model, snapshot

LABELS = ("v1", "v2", "v3", "v4")
SHARES = st.lists(st.integers(1, 100), min_size=2, max_size=4).map(
    lambda weights: tuple(zip(LABELS, weights, strict=False))
)


def split(*shares: tuple[str, int], name: str = "m") -> Model:
    return replace(model(), name=name, split=shares)


def turns(splitting: Splitting, of: Model, count: int) -> list[str | None]:
    return [splitting.choose(of, LABELS, "") for _ in range(count)]


@given(SHARES, st.integers(1, 3))
def test_weights_hold_exactly_over_every_cycle(shares, cycles):
    splitting, of = Splitting(), split(*shares)
    total = sum(weight for _, weight in shares)
    for _ in range(cycles):
        assert Counter(turns(splitting, of, total)) == dict(shares)


def test_a_small_share_is_spread_and_does_not_burst():
    chosen = turns(Splitting(), split(("v1", 90), ("v2", 10)), 100)
    assert all(Counter(chosen[n : n + 10])["v2"] == 1 for n in range(0, 100, 10))


def test_a_change_of_weights_is_exact_from_its_first_request():
    splitting = Splitting()
    turns(splitting, split(("v1", 90), ("v2", 10)), 33)
    assert Counter(turns(splitting, split(("v1", 1), ("v2", 99)), 100)) == {
        "v1": 1,
        "v2": 99,
    }


def test_requests_that_one_version_cannot_serve_do_not_starve_it_of_others():
    splitting, of = Splitting(), split(("v1", 50), ("v2", 50))
    chosen: Counter[str | None] = Counter()
    for _ in range(50):
        assert (
            splitting.choose(of, {"v1"}, "") is None
        )  # a request that v2 cannot serve
        chosen[splitting.choose(of, {"v1", "v2"}, "")] += 1
    assert chosen == {"v1": 25, "v2": 25}


@pytest.mark.parametrize("conversation", ["", "c"])
def test_there_is_nothing_to_choose_among_fewer_than_two(conversation):
    of = split(("v1", 50), ("v2", 50))
    assert Splitting().choose(of, {"v3"}, conversation) is None
    assert Splitting().choose(split(), {"v1"}, conversation) is None


def test_models_turn_apart():
    splitting, shares = Splitting(), (("v1", 1), ("v2", 1))
    one, other = split(*shares, name="one"), split(*shares, name="other")
    chosen = [splitting.choose(each, LABELS, "") for each in (one, other) * 2]
    assert chosen == ["v1", "v1", "v2", "v2"]


def test_turns_of_what_is_no_longer_configured_are_forgotten():
    splitting, of = Splitting(), split(("v1", 1), ("v2", 1))
    turns(splitting, of, 1)
    splitting.retain(snapshot(of))
    assert turns(splitting, of, 1) == ["v2"], "kept while nothing changes"
    splitting.retain(snapshot(split(("v1", 1), ("v2", 2))))
    assert turns(splitting, of, 1) == ["v1"], "other weights"
    splitting.retain(snapshot())
    assert turns(splitting, of, 1) == ["v1"], "no such model"


def test_only_so_many_sets_of_versions_are_remembered():
    splitting, labels = Splitting(), [f"v{number}" for number in range(10)]
    of = split(*((label, 1) for label in labels))
    sets = [set(pair) for pair in product(labels, labels) if pair[0] < pair[1]]
    splitting.choose(of, sets[0], "")
    for others in islice(sets, 1, REMEMBERED):
        splitting.choose(of, others, "")
    assert splitting.choose(of, sets[0], "") == "v1", "still known: the second turn"
    for others in islice(sets, 1, REMEMBERED + 1):
        splitting.choose(of, others, "")
    assert splitting.choose(of, sets[0], "") == "v0", "forgotten: the first turn again"


def test_a_conversation_keeps_its_version_in_every_process():
    of = split(("v1", 50), ("v2", 50))
    names = [f"1:conversation-{number}" for number in range(200)]
    first, second = Splitting(), Splitting()
    turns(second, of, 7)
    chosen = [first.choose(of, LABELS, name) for name in names]
    assert [second.choose(of, LABELS, name) for name in names] == chosen
    assert set(chosen) == {"v1", "v2"}
    # A digest that changes, with the next release, would move every conversation.
    assert "".join(str(version)[1] for version in chosen[:12]) == "112212211112"


def test_a_conversation_whose_version_cannot_serve_gets_another_until_it_can():
    splitting, of = Splitting(), split(("v1", 1), ("v2", 1), ("v3", 1))
    usual = splitting.choose(of, LABELS, "c")
    others = {"v1", "v2", "v3"} - {usual}
    assert splitting.choose(of, others, "c") in others
    assert splitting.choose(of, LABELS, "c") == usual


@pytest.mark.parametrize("weights", [(90, 10), (50, 50), (99, 1), (70, 20, 10)])
def test_conversations_follow_the_weights_within_one_percent(weights):
    shares = tuple(zip(LABELS, weights, strict=False))
    count = 20_000
    chosen = Counter(version_of(f"1:{number}", shares) for number in range(count))
    for version, weight in shares:
        assert abs(chosen[version] / count - weight / 100) < 0.01


@pytest.mark.parametrize(
    ("before", "after"),
    [((90, 10), (80, 20)), ((95, 5), (90, 10)), ((50, 50), (10, 90))],
)
def test_a_changed_weight_moves_only_those_that_must_move(before, after):
    shares = [tuple(zip(LABELS, each, strict=False)) for each in (before, after)]
    count = 5_000
    moved = Counter(
        (was, now)
        for number in range(count)
        if (was := version_of(f"1:{number}", shares[0]))
        != (now := version_of(f"1:{number}", shares[1]))
    )
    grown = (after[1] - before[1]) / 100
    assert set(moved) == {("v1", "v2")}, "none moves against the change"
    assert abs(moved["v1", "v2"] / count - grown) < 0.02


def test_a_third_version_takes_from_the_others_and_moves_none_between_them():
    two, three = (("v1", 60), ("v2", 40)), (("v1", 54), ("v2", 36), ("v3", 10))
    moved = {
        (was, now)
        for number in range(5_000)
        if (was := version_of(f"1:{number}", two))
        != (now := version_of(f"1:{number}", three))
    }
    assert moved == {("v1", "v3"), ("v2", "v3")}


@given(st.text(max_size=40), SHARES)
def test_any_name_of_a_conversation_has_a_version(name, shares):
    assert version_of(name, shares) in dict(shares)
