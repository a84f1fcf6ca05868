"""The six strategies end to end: who gets the requests."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import pytest

from gateway.models import Deployment, Model
from tests.api.gateway_process import Gateway, fresh
from tests.api.scenes import LETTERS, Upstreams

PRICES = ("input_price_per_mtok_usd", "output_price_per_mtok_usd")


class Group:
    """A model with a deployment at each of the three simulators."""

    def __init__(
        self,
        gateway: Gateway,
        sims: Upstreams,
        strategy: str,
        **fields: Mapping[str, Any],
    ) -> None:
        """`fields` are those of the deployments, by letter."""
        self.gateway = gateway
        self.model = fresh(strategy)
        self.sims = sims
        gateway.add_model(self.model, strategy)
        for letter, sim in sims.items():
            sim.plan.replace(())
            gateway.add_provider(
                f"{self.model}-{letter}",
                "openai",
                sim,
                models=[self.model],
                deployment=fields.get(letter),
            )
        gateway.apply()

    def ask(self, *, stream: bool = False, **fields: Any) -> str:
        """Ask once; give the letter of who answered."""
        reply = self.gateway.client.chat(self.model, stream=stream, **fields)
        assert reply.is_whole
        return reply.headers["x-ailb-provider"][-1]

    def ask_often(self, number: int, **fields: Any) -> Counter[str]:
        """Ask in turn for streams and whole answers; count who answered."""
        return Counter(self.ask(stream=n % 2 == 0, **fields) for n in range(number))


@pytest.fixture
def slow_b_and_c(upstreams: Upstreams) -> Iterator[None]:
    usual = {letter: upstreams[letter].behaviour for letter in "bc"}
    for letter, behaviour in usual.items():
        upstreams[letter].behaviour = replace(behaviour, latency_s=0.05)
    yield
    for letter, behaviour in usual.items():
        upstreams[letter].behaviour = behaviour


def test_round_robin_gives_each_its_exact_share_without_bursts(
    gateway: Gateway, upstreams: Upstreams
) -> None:
    group = Group(gateway, upstreams, "round_robin", a={"weight": 2})
    served = "".join(group.ask() for _ in range(24))
    assert Counter(served) == {"a": 12, "b": 6, "c": 6}
    cycles = {served[start : start + 4] for start in range(0, 24, 4)}
    assert all(Counter(cycle) == {"a": 2, "b": 1, "c": 1} for cycle in cycles)
    assert "aaa" not in served


def test_random_follows_the_weights(gateway: Gateway, upstreams: Upstreams) -> None:
    group = Group(gateway, upstreams, "random", a={"weight": 8})
    counts = group.ask_often(100)
    assert set(counts) == set(LETTERS)
    assert counts["a"] > counts["b"] + counts["c"]


def test_load_balanced_fills_the_least_busy(
    gateway: Gateway, upstreams: Upstreams
) -> None:
    group = Group(gateway, upstreams, "load_balanced", a={"weight": 2})
    for sim in upstreams.values():
        sim.plan.replace(["stall_after:3"] * 20)
    busy: Counter[str] = Counter()
    with ExitStack() as held:
        for _ in range(8):
            response = held.enter_context(gateway.client.streaming(group.model))
            busy[response.headers["x-ailb-provider"][-1]] += 1
    assert busy == {"a": 4, "b": 2, "c": 2}


def test_latency_optimized_prefers_the_fastest(
    gateway: Gateway, upstreams: Upstreams, slow_b_and_c: None
) -> None:
    group = Group(gateway, upstreams, "latency_optimized")
    # Of one token: else the jitter between two, times all that an answer may have, is
    # more than what b and c are slower to begin.
    group.ask_often(20, max_tokens=1)  # until each has shown how fast it is
    counts = group.ask_often(120, max_tokens=1)
    # It wins each pair that it is drawn into, two of three: 80 of 120. Half of them is
    # four standard deviations off.
    assert counts["a"] > 60, counts


def test_cost_optimized_takes_the_cheapest_and_fails_over_to_the_next(
    gateway: Gateway, upstreams: Upstreams
) -> None:
    group = Group(
        gateway,
        upstreams,
        "cost_optimized",
        b=dict.fromkeys(PRICES, 1),
        c=dict.fromkeys(PRICES, 5),
    )
    assert group.ask_often(10) == {"b": 10}
    upstreams["b"].plan.replace(["status:503"])
    assert group.ask() == "c", "an unknown price comes last"
    upstreams["b"].plan.replace(["status:503"])
    upstreams["c"].plan.replace(["status:503"])
    assert group.ask(stream=True) == "a"
    assert group.ask() == "b"


def test_failover_keeps_to_the_first_that_works(
    gateway: Gateway, upstreams: Upstreams
) -> None:
    group = Group(
        gateway,
        upstreams,
        "failover",
        **{letter: {"priority": n} for n, letter in enumerate("cab")},
    )
    assert group.ask_often(10) == {"c": 10}
    upstreams["c"].plan.replace(["status:429:retry_after=100"])
    assert group.ask() == "a"
    assert group.ask_often(10) == {"a": 10}


def test_of_many_deployments_a_few_are_looked_at_and_all_of_them_fail_over(
    gateway: Gateway, upstreams: Upstreams
) -> None:
    group = Group(gateway, upstreams, "load_balanced")
    model = gateway.rows(Model).get(name=group.model)
    for row in list(gateway.rows(Deployment).filter(model=model)):
        gateway.rows(Deployment).bulk_create(
            Deployment(
                model=model, provider=row.provider, upstream_model=f"copy-{number}"
            )
            for number in range(20)
        )
    gateway.apply()
    assert min(group.ask_often(90).values()) > 12  # a third of them each, by chance
    for letter in "ab":
        upstreams[letter].plan.replace(["status:500"], repeat=True)
    assert group.ask_often(30) == {"c": 30}
