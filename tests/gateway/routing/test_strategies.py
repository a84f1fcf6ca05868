"""The six strategies: each orders as it says."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from itertools import chain, cycle

import pytest
from hypothesis import given, strategies as st

from gateway.kinds import Algorithm, Operation
from gateway.routing.availability import Admission
from gateway.routing.eligibility import Selection, select
from gateway.routing.health import HealthTable
from gateway.routing.needs import Needs
from gateway.routing.rotations import Rotations
from gateway.routing.strategies import expected_cost_usd, order
from gateway.snapshot import Deployment
from tests.gateway.routing.rows import (
    CHAT,
    begin,
    deployment,
    model,
    provider,
    scripted,
    seeded,
    strategy,
    succeed,
    trip,
)


def arrange(
    algorithm,
    *deployments,
    needs=CHAT,
    health=None,
    rotations=None,
    draw=None,
    now_s=0.0,
    selection=None,
    has_pick=True,
) -> list[int]:
    """Order the deployments and give their ids."""
    ordered = order(
        strategy(algorithm),
        selection or Selection(tuple(deployments)),
        needs=needs,
        health=health or HealthTable(),
        rotations=rotations or Rotations(),
        draw=draw or seeded(1),
        now_s=now_s,
        has_pick=has_pick,
    )
    return [deployment.id for deployment in ordered]


def busy(health: HealthTable, loads: Iterable[tuple[Deployment, int]]) -> HealthTable:
    for row, count in loads:
        for _ in range(count):
            begin(health, row)
    return health


row_lists = st.lists(
    st.tuples(
        st.integers(1, 4),  # provider
        st.integers(1, 5),  # weight
        st.integers(0, 2),  # priority
        st.none() | st.floats(0, 100),  # input price
        st.integers(0, 4),  # in flight
    ),
    min_size=1,
    max_size=9,
)


def made(rows) -> tuple[list[Deployment], HealthTable]:
    health = HealthTable()
    deployments = [
        deployment(
            number, at=provider(at), weight=weight, priority=priority, price=(price, 0)
        )
        for number, (at, weight, priority, price, _) in enumerate(rows)
    ]
    busy(health, [(d, row[4]) for d, row in zip(deployments, rows, strict=True)])
    return deployments, health


@given(st.sampled_from(Algorithm), row_lists, st.randoms(use_true_random=False))
def test_every_order_is_a_permutation_that_starts_in_the_first_priority(
    algorithm, rows, rng
):
    deployments, health = made(rows)
    ordered = arrange(algorithm, *deployments, health=health, draw=rng.random)
    assert sorted(ordered) == list(range(len(rows)))
    assert rows[ordered[0]][2] == min(row[2] for row in rows)


@given(st.sampled_from(Algorithm), row_lists, st.randoms(use_true_random=False))
def test_every_provider_comes_once_before_any_comes_twice(algorithm, rows, rng):
    deployments, health = made(rows)
    ordered = arrange(algorithm, *deployments, health=health, draw=rng.random)
    providers = [rows[number][0] for number in ordered]
    distinct = len(set(providers))
    assert len(set(providers[:distinct])) == distinct


@given(st.sampled_from(Algorithm), row_lists, st.randoms(use_true_random=False))
def test_among_distinct_providers_lower_priorities_come_first(algorithm, rows, rng):
    rows = [(number, *row[1:]) for number, row in enumerate(rows)]
    deployments, health = made(rows)
    ordered = arrange(algorithm, *deployments, health=health, draw=rng.random)
    priorities = [rows[number][2] for number in ordered]
    assert priorities == sorted(priorities)


def test_in_panic_the_order_of_the_selection_stands():
    rows = (deployment(2), deployment(1, priority=-1))
    selection = Selection(rows, admission=Admission.PANIC)
    assert arrange(Algorithm.FAILOVER, selection=selection) == [2, 1]


@given(st.lists(st.integers(1, 20), min_size=2, max_size=6))
def test_round_robin_picks_exactly_by_weight(weights):
    rows = [deployment(number, weight=w) for number, w in enumerate(weights)]
    rotations = Rotations()
    picks = Counter(
        arrange(Algorithm.ROUND_ROBIN, *rows, rotations=rotations)[0]
        for _ in range(sum(weights))
    )
    assert picks == dict(enumerate(weights))


def test_round_robin_turns_only_the_group_of_its_pick():
    a, b, c, d = (deployment(n, priority=n // 3) for n in range(1, 5))
    rotations = Rotations()
    orders = [
        arrange(Algorithm.ROUND_ROBIN, a, b, c, d, rotations=rotations)
        for _ in range(3)
    ]
    assert orders == [[1, 2, 3, 4], [2, 1, 3, 4], [1, 2, 3, 4]]
    assert arrange(Algorithm.ROUND_ROBIN, c, d, rotations=rotations) == [3, 4]


def test_an_order_without_a_pick_turns_no_rotation():
    rows, rotations = [deployment(1), deployment(2)], Rotations()
    orders = [
        arrange(Algorithm.ROUND_ROBIN, *rows, rotations=rotations, has_pick=has_pick)
        for has_pick in (False, False, True, False)
    ]
    assert orders == [[1, 2], [1, 2], [1, 2], [2, 1]]


def test_load_balanced_takes_the_least_outstanding_work_for_its_weight():
    a, b, c = deployment(1), deployment(2, weight=4), deployment(3)
    health = busy(HealthTable(), [(a, 1), (b, 2), (c, 0)])
    assert arrange(Algorithm.LOAD_BALANCED, a, b, c, health=health) == [2, 3, 1]


def test_load_balanced_breaks_ties_at_random():
    rows = [deployment(number) for number in range(3)]
    draw = seeded(7)
    picks = Counter(
        arrange(Algorithm.LOAD_BALANCED, *rows, draw=draw)[0] for _ in range(3000)
    )
    assert all(abs(count - 1000) < 110 for count in picks.values())  # four sigma


@given(
    st.lists(st.integers(0, 5), min_size=5, max_size=9),
    st.floats(0, 1, exclude_max=True),
    st.floats(0, 1, exclude_max=True),
)
def test_two_choices_never_take_the_worse(loads, first_draw, second_draw):
    rows = [deployment(number) for number in range(len(loads))]
    health = busy(HealthTable(), zip(rows, loads, strict=True))
    draw = scripted(chain([first_draw, second_draw], cycle([0.5])))
    ordered = arrange(Algorithm.LOAD_BALANCED, *rows, health=health, draw=draw)
    first = int(first_draw * len(loads))
    others = [number for number in range(len(loads)) if number != first]
    second = others[int(second_draw * (len(loads) - 1))]
    assert ordered[0] in {first, second}
    assert loads[ordered[0]] == min(loads[first], loads[second])
    rest = [loads[number] for number in ordered[1:]]
    assert rest == sorted(rest)


def test_two_choices_are_uniform_at_equal_load():
    rows = [deployment(number) for number in range(6)]
    draw = seeded(3)
    rounds = 6000
    picks = Counter(
        arrange(Algorithm.LOAD_BALANCED, *rows, draw=draw)[0] for _ in range(rounds)
    )
    expected = rounds / 6
    chi_squared = sum((picks[n] - expected) ** 2 / expected for n in range(6))
    assert chi_squared < 20.5  # p > 0.001 at five degrees of freedom


def test_latency_optimized_takes_the_quicker_of_two():
    slow, quick = deployment(1), deployment(2)
    health = HealthTable()
    succeed(health, slow, takes_s=2.0, ttft_s=2.0, now_s=100.0)
    succeed(health, quick, takes_s=0.2, ttft_s=0.2, now_s=100.0)
    ordered = arrange(
        Algorithm.LATENCY_OPTIMIZED, slow, quick, health=health, now_s=102.0
    )
    assert ordered == [2, 1]


def test_latency_optimized_weighs_the_time_per_token_by_what_is_asked():
    quick_start, quick_tokens = deployment(1), deployment(2)
    health = HealthTable()
    succeed(health, quick_start, takes_s=11.0, ttft_s=1.0, tokens=101)
    succeed(health, quick_tokens, takes_s=5.0, ttft_s=4.0, tokens=101)
    rows = (quick_start, quick_tokens)
    firsts = [
        arrange(
            Algorithm.LATENCY_OPTIMIZED,
            *rows,
            health=health,
            needs=Needs(Operation.CHAT, max_tokens=max_tokens),
            now_s=11.0,
        )[0]
        for max_tokens in (10, None)
    ]
    assert firsts == [1, 2]


def test_latency_optimized_leaves_a_quick_deployment_that_is_busy():
    quick, idle = deployment(1), deployment(2)
    health = HealthTable()
    succeed(health, quick, takes_s=0.9, ttft_s=0.9, now_s=60.0)
    busy(health, [(quick, 3)])
    rows = (quick, idle)
    assert arrange(Algorithm.LATENCY_OPTIMIZED, *rows, health=health) == [2, 1]


def test_a_punished_deployment_is_tried_again_after_a_while():
    punished, steady = deployment(1), deployment(2)
    health = HealthTable()
    trip(health, punished)
    now_s, first = 0.0, 2
    while first == 2 and now_s < 600.0:
        now_s += 10.0
        succeed(health, steady, now_s, takes_s=1.0, ttft_s=1.0)
        first = arrange(
            Algorithm.LATENCY_OPTIMIZED, punished, steady, health=health, now_s=now_s
        )[0]
    assert 60.0 < now_s < 300.0


def test_the_cost_of_a_request_is_its_prompt_and_its_expected_answer():
    row = deployment(price=(3.0, 15.0))
    needs = Needs(Operation.CHAT, prompt_tokens=1000, max_tokens=100)
    assert expected_cost_usd(row, needs) == pytest.approx(0.0045)
    unsaid = Needs(Operation.CHAT, prompt_tokens=1000)
    assert expected_cost_usd(row, unsaid) == pytest.approx(0.003 + 256 * 15e-6)


def test_embeddings_need_no_price_of_output():
    row = deployment(price=(2.0, None))
    needs = Needs(Operation.EMBEDDINGS, prompt_tokens=1000)
    assert expected_cost_usd(row, needs) == pytest.approx(0.002)
    assert expected_cost_usd(row, CHAT) is None


prices = st.tuples(st.none() | st.floats(0, 100), st.none() | st.floats(0, 100))


@given(
    st.lists(prices, min_size=2, max_size=7),
    st.integers(0, 10_000),
    st.none() | st.integers(1, 10_000),
    st.randoms(use_true_random=False),
)
def test_cost_optimized_picks_the_cheapest_and_unknown_prices_last(
    priced, prompt_tokens, max_tokens, rng
):
    rows = [deployment(number, price=price) for number, price in enumerate(priced)]
    needs = Needs(Operation.CHAT, prompt_tokens=prompt_tokens, max_tokens=max_tokens)
    ordered = arrange(Algorithm.COST_OPTIMIZED, *rows, needs=needs, draw=rng.random)
    costs = [expected_cost_usd(rows[number], needs) for number in ordered]
    known = [cost for cost in costs if cost is not None]
    assert costs == sorted(known) + [None] * (len(costs) - len(known))


def test_equal_costs_go_to_the_least_busy():
    a, b, dear = (deployment(n, price=(1.0, n // 3)) for n in range(1, 4))
    health = busy(HealthTable(), [(a, 1)])
    assert arrange(Algorithm.COST_OPTIMIZED, a, b, dear, health=health) == [2, 1, 3]


def test_cost_optimized_holds_a_half_open_deployment_back_for_a_while():
    cheap, dear = deployment(1, price=(1, 1)), deployment(2, price=(2, 2))
    health = HealthTable()
    trip(health, cheap)  # half-open from 5 s on

    def at(now_s: float, *rows):
        selection = select(model(*rows), CHAT, health=health, now_s=now_s)
        return arrange(
            Algorithm.COST_OPTIMIZED, selection=selection, health=health, now_s=now_s
        )

    assert at(5.0, cheap, dear) == [2, 1]
    assert at(5.0, cheap) == [1]
    assert at(10.0, cheap, dear) == [1, 2]
    succeed(health, cheap, 10.0, takes_s=1.0)
    assert at(11.0, cheap, dear) == [2, 1]


def test_failover_among_equals_is_always_the_heaviest_then_the_oldest():
    rows = [deployment(3), deployment(1), deployment(2, weight=5)]
    orders = {tuple(arrange(Algorithm.FAILOVER, *rows)) for _ in range(20)}
    assert orders == {(2, 1, 3)}


def test_the_draw_follows_the_weights():
    rows = [deployment(1, weight=3), deployment(2, weight=1)]
    firsts = [
        arrange(Algorithm.RANDOM, *rows, draw=scripted([point]))[0]
        for point in (0.0, 0.74, 0.75, 0.999)
    ]
    assert firsts == [1, 1, 2, 2]


def test_failover_never_leaves_the_first_priority_while_it_is_there():
    first, second = deployment(1, priority=0), deployment(2, priority=1, weight=1000)
    draw = seeded(5)
    orders = [arrange(Algorithm.FAILOVER, first, second, draw=draw) for _ in range(50)]
    assert orders == [[1, 2]] * 50


def test_failover_gives_a_recovering_primary_one_probe_and_stays_on_the_secondary():
    first, second = deployment(1, priority=0), deployment(2, priority=1)
    both, health = model(first, second, algorithm=Algorithm.FAILOVER), HealthTable()
    trip(health, first)

    def at_five_seconds() -> list[int]:
        selection = select(both, CHAT, health=health, now_s=5.0)
        return arrange(
            Algorithm.FAILOVER, selection=selection, health=health, now_s=5.0
        )

    assert at_five_seconds() == [1, 2]
    begin(health, first, 5.0)  # the probe is under way
    assert at_five_seconds() == [2]
