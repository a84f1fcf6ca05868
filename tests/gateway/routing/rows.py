"""Plain functions that make the snapshot's values for routing tests."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from dataclasses import replace

from gateway.errors import UpstreamError
from gateway.kinds import Algorithm, Fault, Operation
from gateway.routing.health import Flight, HealthTable
from gateway.routing.needs import Needs
from gateway.snapshot import (
    Capabilities,
    Deployment,
    Model,
    Prices,
    Provider,
    Snapshot,
    Strategy,
)

CHAT = Needs(Operation.CHAT)


def provider(provider_id: int = 1, **fields) -> Provider:
    made = Provider(
        id=provider_id,
        name=f"provider-{provider_id}",
        kind="openai",
        base_url="http://127.0.0.1:1",
        urls={},
        models_url="",
        headers=(),
        fingerprint=f"fingerprint-{provider_id}",
    )
    return replace(made, **fields)


def deployment(
    deployment_id: int = 1,
    *,
    at: Provider | None = None,
    capabilities: Capabilities | None = None,
    price: tuple[float | None, float | None] = (None, None),
    **fields,
) -> Deployment:
    """Make a deployment; by default each has a provider of its own."""
    made = Deployment(
        id=deployment_id,
        model="m",
        upstream_model=f"upstream-{deployment_id}",
        provider=at or provider(deployment_id),
        capabilities=capabilities or Capabilities(),
        prices=Prices(*price),
    )
    return replace(made, **fields)


def strategy(algorithm: Algorithm = Algorithm.RANDOM, **fields) -> Strategy:
    return Strategy("s", algorithm, **fields)


def model(*deployments: Deployment, algorithm: Algorithm = Algorithm.RANDOM) -> Model:
    return Model("m", strategy(algorithm), deployments)


def snapshot(*models: Model) -> Snapshot:
    return Snapshot(
        revision=1,
        providers={
            deployment.provider.name: deployment.provider
            for model in models
            for deployment in model.deployments
        },
        models={model.name: model for model in models},
        aliases={},
        default_strategy=strategy(),
    )


def error(fault: Fault, **fields) -> UpstreamError:
    return UpstreamError(fault, "words of the vendor", **fields)


def middle() -> float:
    """Draw 0.5: a breaker's wait is then exactly its nominal one."""
    return 0.5


def scripted(draws: Iterable[float]) -> Callable[[], float]:
    """Draw from a list."""
    return iter(draws).__next__


def seeded(seed: int) -> Callable[[], float]:
    """Draw at random, the same every time."""
    return random.Random(seed).random  # noqa: S311 - not for secrets


def begin(health: HealthTable, to: Deployment, now_s: float = 0.0, **fields) -> Flight:
    """Begin an attempt that must be let through."""
    fields.setdefault("strategy", strategy())
    flight = health.begin(to, now_s, **fields)
    assert flight is not None, "the attempt was not let through"
    return flight


def succeed(
    health: HealthTable,
    to: Deployment,
    now_s: float = 0.0,
    *,
    takes_s: float = 0.5,
    tokens: int = 0,
    ttft_s: float | None = None,
    **fields,
) -> None:
    flight = begin(health, to, now_s, **fields)
    health.succeeded(
        flight,
        now_s=now_s + takes_s,
        ttft_s=ttft_s,
        duration_s=takes_s,
        output_tokens=tokens,
        streamed=ttft_s is not None,
    )


def fail(
    health: HealthTable,
    to: Deployment,
    fault: Fault = Fault.SERVER_ERROR,
    now_s: float = 0.0,
    *,
    retry_after_s: float | None = None,
    **fields,
) -> None:
    flight = begin(health, to, now_s, **fields)
    failure = error(fault, retry_after_s=retry_after_s)
    health.failed(flight, failure, now_s=now_s, draw=middle)


def trip(health: HealthTable, to: Deployment, now_s: float = 0.0) -> None:
    """Open a closed breaker for five seconds."""
    for _ in range(5):
        fail(health, to, now_s=now_s)
