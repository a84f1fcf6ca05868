"""The six strategies: in which order the eligible deployments are tried (pure).

In every strategy deployments of a lower `priority` number come before the others; the
algorithm decides among equals. Only the first of the order is the algorithm's pick; the
rest is the order of failover, in which every provider comes once before any comes twice,
whatever the priorities, because a provider that has just failed is the least likely to
serve the same request.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import assert_never

from gateway.kinds import Algorithm, Operation
from gateway.routing.availability import Admission
from gateway.routing.eligibility import Selection
from gateway.routing.health import HealthTable
from gateway.routing.needs import EXPECTED_OUTPUT_TOKENS, Needs
from gateway.routing.rotations import Rotations
from gateway.snapshot import Deployment, Strategy

LARGEST_FULL_SCAN = 4
TOKENS_PER_PRICE = 1_000_000


@dataclass(slots=True)  # not frozen: made for every request, and never leaves here
class Situation:
    """What an algorithm may look at."""

    strategy: Strategy
    needs: Needs
    health: HealthTable
    rotations: Rotations
    draw: Callable[[], float]
    now_s: float
    half_open: frozenset[int]


def order(
    strategy: Strategy,
    selection: Selection,
    *,
    needs: Needs,
    health: HealthTable,
    rotations: Rotations,
    draw: Callable[[], float],
    now_s: float,
    has_pick: bool = True,
) -> tuple[Deployment, ...]:
    """Order the candidates: the pick, then the failover order; always all of them.

    `draw` gives numbers in [0, 1). Changes nothing but the rotation of the pick; without
    `has_pick` all of it is failover order, and no rotation turns.
    """
    candidates = selection.candidates
    if len(candidates) < 2 or selection.admission is Admission.PANIC:
        return candidates
    situation = Situation(
        strategy, needs, health, rotations, draw, now_s, selection.half_open
    )
    groups = _by_priority(candidates)
    ordered: list[Deployment] = []
    for position, group in enumerate(groups):
        is_alone = len(group) == 1
        ordered += (
            group
            if is_alone
            else _arrange(group, situation, is_pick=has_pick and position == 0)
        )
    return _providers_in_turn(ordered)


def expected_cost_usd(deployment: Deployment, needs: Needs) -> float | None:
    """Estimate what this request costs there; None when a price it needs is unknown."""
    prices = deployment.prices
    if prices.input_per_mtok_usd is None:
        return None
    cost = needs.prompt_tokens * prices.input_per_mtok_usd
    if needs.operation is Operation.CHAT:
        if prices.output_per_mtok_usd is None:
            return None
        cost += needs.output_tokens * prices.output_per_mtok_usd
    return cost / TOKENS_PER_PRICE


def _by_priority(candidates: Sequence[Deployment]) -> list[list[Deployment]]:
    groups: dict[int, list[Deployment]] = {}
    for candidate in candidates:
        groups.setdefault(candidate.priority, []).append(candidate)
    if len(groups) == 1:
        return list(groups.values())
    return [groups[priority] for priority in sorted(groups)]


def _arrange(
    group: list[Deployment], situation: Situation, *, is_pick: bool
) -> list[Deployment]:
    algorithm = situation.strategy.algorithm
    match algorithm:
        case Algorithm.ROUND_ROBIN:
            rotations = situation.rotations
            turn = rotations.pick if is_pick else rotations.peek
            return turn(group)
        case Algorithm.LOAD_BALANCED:
            return _load_balanced(group, situation)
        case Algorithm.LATENCY_OPTIMIZED:
            return _latency_optimized(group, situation)
        case Algorithm.COST_OPTIMIZED:
            return _cost_optimized(group, situation)
        case Algorithm.FAILOVER:
            return _strict(group)
        case Algorithm.RANDOM:
            return _weighted_random(group, situation.draw)
        case _:
            assert_never(algorithm)


def _providers_in_turn(ordered: list[Deployment]) -> tuple[Deployment, ...]:
    """Move each provider's second deployment behind every provider's first, and so on."""
    seen: dict[int, int] = {}
    turns: list[int] = []
    for deployment in ordered:
        turn = seen.get(deployment.provider.id, 0)
        seen[deployment.provider.id] = turn + 1
        turns.append(turn)
    if len(seen) == len(ordered):
        return tuple(ordered)
    ranked = sorted(range(len(ordered)), key=turns.__getitem__)
    return tuple(ordered[index] for index in ranked)


def _load_balanced(group: list[Deployment], situation: Situation) -> list[Deployment]:
    """Order by least outstanding work; beyond a few, by the power of two choices."""
    costs = [_load(deployment, situation) for deployment in group]
    if len(group) <= LARGEST_FULL_SCAN:
        return _cheapest_first(group, costs, situation.draw)
    return _power_of_two(group, costs, situation.draw)


def _latency_optimized(
    group: list[Deployment], situation: Situation
) -> list[Deployment]:
    """Order by predicted time times outstanding work (peak EWMA)."""
    needs = situation.needs
    output_tokens = 0
    if needs.operation is Operation.CHAT:
        wanted = needs.max_tokens or EXPECTED_OUTPUT_TOKENS
        output_tokens = min(wanted, EXPECTED_OUTPUT_TOKENS)
    costs = [
        situation.health.predicted_s(
            deployment,
            situation.now_s,
            output_tokens=output_tokens,
            decay_s=situation.strategy.latency_decay_s,
        )
        * _load(deployment, situation)
        for deployment in group
    ]
    return _power_of_two(group, costs, situation.draw)


def _cost_optimized(group: list[Deployment], situation: Situation) -> list[Deployment]:
    """Order by expected cost, unknown last; equal costs by least outstanding work.

    A half-open deployment waits behind the others for its failover, but no longer than
    a first trip lasts: then it gets its probe, or the cheapest would never come back.
    """
    ranks = {deployment.id: _cost_rank(deployment, situation) for deployment in group}

    def rank(deployment: Deployment) -> tuple[bool, bool, float]:
        return ranks[deployment.id]

    ordered: list[Deployment] = []
    for _, equals in groupby(sorted(group, key=rank), key=rank):
        tied = list(equals)
        ordered += tied if len(tied) == 1 else _load_balanced(tied, situation)
    return ordered


def _cost_rank(
    deployment: Deployment, situation: Situation
) -> tuple[bool, bool, float]:
    cost = expected_cost_usd(deployment, situation.needs)
    return _is_held_back(deployment, situation), cost is None, cost or 0.0


def _is_held_back(deployment: Deployment, situation: Situation) -> bool:
    if deployment.id not in situation.half_open:
        return False
    waiting_s = situation.health.probe_waiting_s(deployment, situation.now_s)
    return waiting_s < situation.strategy.breaker.open_s


def _strict(group: list[Deployment]) -> list[Deployment]:
    """Order equals by weight, heaviest first, then oldest first: always the same."""
    return sorted(group, key=lambda deployment: (-deployment.weight, deployment.id))


def _weighted_random(
    group: list[Deployment], draw: Callable[[], float]
) -> list[Deployment]:
    """Draw one after the other without putting back, each by its weight."""
    left = list(group)
    ordered: list[Deployment] = []
    while len(left) > 1:
        point = draw() * sum(deployment.weight for deployment in left)
        index = 0
        while index < len(left) - 1 and point >= left[index].weight:
            point -= left[index].weight
            index += 1
        ordered.append(left.pop(index))
    return ordered + left


def _load(deployment: Deployment, situation: Situation) -> float:
    in_flight = situation.health.in_flight(deployment, situation.now_s)
    return (in_flight + 1) / deployment.weight


def _cheapest_first(
    group: list[Deployment], costs: list[float], draw: Callable[[], float]
) -> list[Deployment]:
    """Sort by cost; equals in random order."""
    keyed = [(cost, draw(), index) for index, cost in enumerate(costs)]
    keyed.sort()
    return [group[index] for _, _, index in keyed]


def _power_of_two(
    group: list[Deployment], costs: list[float], draw: Callable[[], float]
) -> list[Deployment]:
    """Put the cheaper of two drawn deployments first, then the others by cost.

    Of two, both are compared.
    """
    count = len(group)
    first = min(int(draw() * count), count - 1)
    second = min(int(draw() * (count - 1)), count - 2)
    second += second >= first
    pick = second if costs[second] < costs[first] else first
    rest = _cheapest_first(group, costs, draw)
    rest.remove(group[pick])
    return [group[pick], *rest]
