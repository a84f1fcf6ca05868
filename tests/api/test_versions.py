"""Versions end to end: exact shares, conversations that stay, failover, quick shifts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
from django.db import connections

from gateway import traffic
from gateway.models import Heartbeat
from tests.api.gateway_process import Gateway, fresh, wait_until
from tests.upstreams.simulators import RunningSimulator, running_simulator

VERSIONS = ("v1", "v2")

Versions = dict[str, RunningSimulator]


@pytest.fixture(scope="module")
def sims() -> Iterator[Versions]:
    """Give an upstream for each version."""
    with ExitStack() as stack:
        yield {name: stack.enter_context(running_simulator()) for name in VERSIONS}


def add_deployments(
    gateway: Gateway, sims: Versions, model: str, *, prefix: str = ""
) -> None:
    """Give a model one deployment of each version, each at a provider of its own."""
    for version, sim in sims.items():
        sim.plan.replace(())
        gateway.add_provider(
            fresh(version),
            "openai",
            sim,
            models=[model],
            deployment={"version": prefix + version},
        )


@pytest.fixture
def model(gateway: Gateway, sims: Versions) -> str:
    """Give a model with both versions."""
    name = fresh("model")
    add_deployments(gateway, sims, name)
    return name


@contextmanager
def database_of(gateway: Gateway) -> Iterator[None]:
    """Make the gateway's database the one that operations work in."""
    own = connections["default"]
    connections["default"] = connections[gateway.alias]
    try:
        yield
    finally:
        connections["default"] = own


@pytest.fixture
def change(gateway: Gateway) -> Iterator[Callable[..., None]]:
    """Give a function that changes the gateway's traffic, and waits until it serves."""

    def do(work: Callable[..., object], *given: object) -> None:
        with database_of(gateway):
            work(*given)
        gateway.apply()

    yield do
    do(traffic.promote, "v1")


def served_by(gateway: Gateway, model: str, **fields: Any) -> str:
    """Ask once; give the version that the answer names."""
    reply = gateway.client.chat(model, **fields)
    assert reply.is_whole
    return str(reply.headers.get("x-ailb-version", ""))


def calls(sims: Versions, model: str) -> dict[str, int]:
    return {
        version: sum(call.model == model for call in sim.calls)
        for version, sim in sims.items()
    }


def test_a_thousand_requests_are_split_exactly(
    gateway: Gateway, sims: Versions, model: str, change: Callable[..., None]
) -> None:
    change(traffic.set_weight, "v2", 10)
    served = Counter(served_by(gateway, model) for _ in range(1000))
    assert served == {"v1": 900, "v2": 100}
    assert calls(sims, model) == served


def test_streams_and_whole_answers_take_turns_together(
    gateway: Gateway, model: str, change: Callable[..., None]
) -> None:
    change(traffic.set_weight, "v2", 50)
    served = Counter(served_by(gateway, model, stream=n % 3 == 0) for n in range(30))
    assert served == {"v1": 15, "v2": 15}


def test_the_deployments_of_a_version_take_turns_among_themselves(
    gateway: Gateway, sims: Versions, change: Callable[..., None]
) -> None:
    model = fresh("model")
    gateway.add_model(model, "round_robin")
    for _ in range(2):
        add_deployments(gateway, sims, model)
    change(traffic.set_weight, "v2", 50)
    served = Counter(
        gateway.client.chat(model).headers["x-ailb-provider"] for _ in range(20)
    )
    assert list(served.values()) == [5] * 4


def test_conversations_keep_their_version_and_move_only_with_the_weights(
    gateway: Gateway, model: str, change: Callable[..., None]
) -> None:
    def ask_all() -> dict[str, str]:
        return {
            f"c{n}": served_by(gateway, model, session_id=f"c{n}", stream=n % 2 == 0)
            for n in range(60)
        }

    change(traffic.set_weight, "v2", 30)
    first = ask_all()
    assert set(first.values()) == set(VERSIONS)
    assert ask_all() == first
    change(traffic.set_weight, "v2", 60)
    second = ask_all()
    moved = {(first[c], second[c]) for c in first if first[c] != second[c]}
    assert moved == {("v1", "v2")}


def test_a_broken_version_costs_no_request(
    gateway: Gateway, sims: Versions, model: str, change: Callable[..., None]
) -> None:
    change(traffic.set_weight, "v2", 50)
    sims["v2"].plan.replace(["status:500"], repeat=True)
    served = Counter(served_by(gateway, model, stream=n % 2 == 0) for n in range(30))
    assert served == {"v1": 30}
    assert calls(sims, model)["v2"] > 0


def test_a_shift_serves_soon_and_without_a_restart(
    gateway: Gateway, model: str, change: Callable[..., None]
) -> None:
    gateway.apply()
    first = gateway.client.chat(model)
    assert "x-ailb-version" not in first.headers, "there is no choice: one has all"
    with database_of(gateway):
        traffic.promote("v2")
    wait_until(
        lambda: (
            gateway.client.chat(model).headers["x-ailb-provider"]
            != first.headers["x-ailb-provider"]
        ),
        "the promoted version serves",
        limit_s=2,
    )


def test_attempts_are_counted_by_version(
    gateway: Gateway, sims: Versions, change: Callable[..., None]
) -> None:
    model = fresh("model")
    add_deployments(gateway, sims, model, prefix="counted-")
    change(traffic.promote, "counted-v1")
    change(traffic.set_weight, "counted-v2", 50)
    sims["v2"].plan.replace(["status:500"])
    for _ in range(10):
        served_by(gateway, model)
    asked = calls(sims, model)
    assert sum(asked.values()) == 11, "one was tried twice"

    def counted(version: str) -> tuple[int, int]:
        report = gateway.rows(Heartbeat).get().report
        figures = report["versions"].get(f"counted-{version}", {})
        return (
            figures.get("successful_requests", 0),
            figures.get("failed_requests", 0),
        )

    wait_until(
        lambda: (
            counted("v1") == (asked["v1"], 0) and counted("v2") == (asked["v2"] - 1, 1)
        ),
        "the worker's report counts them",
    )
