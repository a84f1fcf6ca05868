"""Live health of deployments and providers: in-flight, breaker, cooldown, latency (pure)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from gateway.errors import UpstreamError
from gateway.routing.availability import (
    HALF_OPEN_TAKEN,
    PROBE,
    READY,
    SATURATED,
    Admission,
    Availability,
    State,
)
from gateway.routing.breaker import BreakerState, CircuitBreaker, Permit, Verdict
from gateway.routing.cooldown import NEVER_S, AccountCooldown, DeploymentCooldown
from gateway.routing.failover import RULES, cooldown_s
from gateway.routing.latency import LatencyEstimate
from gateway.routing.rules import Cooldown
from gateway.snapshot import Deployment, Provider, Snapshot, Strategy

FAILURE_PENALTY_S = 5.0  # or a fast failure would look like the best provider
LONGEST_PENALTY_S = 300.0
ALONE_PROBES = 2  # in flight at a model's only deployment while its breaker is open
PANIC_INTERVAL_S = 1.0  # between two early probes of one provider


@dataclass(slots=True)
class ProviderHealth:
    """What all deployments of one provider share."""

    in_flight: int = 0
    cooldown: AccountCooldown = field(default_factory=AccountCooldown)
    last_panic_s: float = NEVER_S


@dataclass(slots=True)
class DeploymentHealth:
    """Everything known about one deployment."""

    provider: ProviderHealth
    breaker: CircuitBreaker
    latency: LatencyEstimate
    in_flight: int = 0
    cooldown: DeploymentCooldown = field(default_factory=DeploymentCooldown)


@dataclass(slots=True)
class Flight:
    """One attempt under way; it keeps its own health, whatever is edited meanwhile."""

    health: DeploymentHealth = field(repr=False)
    strategy: Strategy = field(repr=False)
    permit: Permit
    started_s: float
    is_retry: bool
    is_over: bool = False


class HealthTable:
    """The live state of one process, changed only between awaits.

    Kept per provider row, fingerprint and upstream model: models that share a deployment
    share its health, and an edited provider starts afresh. `now_s` is a monotonic clock.
    """

    def __init__(self) -> None:
        """Start with nothing known: everything is ready."""
        self._providers: dict[tuple[int, str], ProviderHealth] = {}
        self._deployments: dict[tuple[int, str, str], DeploymentHealth] = {}

    def availability(self, deployment: Deployment, now_s: float) -> Availability:
        """Say whether a request may be sent now, and if not, until when."""
        health = self._of(deployment, now_s)
        cooling = _cooling(health, now_s)
        if cooling is not None:
            return cooling
        breaker = health.breaker
        state = breaker.state_at(now_s)
        if state is BreakerState.OPEN:
            return Availability(State.OPEN, breaker.until_s)
        if _is_saturated(deployment.provider, health.provider):
            return SATURATED
        if state is BreakerState.CLOSED:
            return READY
        return PROBE if breaker.probes == 0 else HALF_OPEN_TAKEN

    def admits(
        self, deployment: Deployment, now_s: float, *, admission: Admission
    ) -> bool:
        """Say whether `begin` would let a request through now."""
        state = self.availability(deployment, now_s).state
        if state in {State.READY, State.PROBE}:
            return True
        health = self._of(deployment, now_s)
        if state is not State.OPEN or _is_saturated(
            deployment.provider, health.provider
        ):
            return False
        if admission is Admission.ALONE:
            return health.breaker.probes < ALONE_PROBES
        if admission is Admission.PANIC and health.breaker.probes == 0:
            return now_s - health.provider.last_panic_s >= PANIC_INTERVAL_S
        return False

    def in_flight(self, deployment: Deployment, now_s: float) -> int:
        """Count the deployment's attempts under way."""
        return self._of(deployment, now_s).in_flight

    def provider_in_flight(self, provider: Provider) -> int:
        """Count the attempts under way at all deployments of a provider."""
        health = self._providers.get((provider.id, provider.fingerprint))
        return 0 if health is None else health.in_flight

    def predicted_s(
        self,
        deployment: Deployment,
        now_s: float,
        *,
        output_tokens: int,
        decay_s: float,
    ) -> float:
        """Predict how long an answer of so many tokens would take."""
        latency = self._of(deployment, now_s).latency
        return latency.predict_s(output_tokens, now_s=now_s, decay_s=decay_s)

    def probe_waiting_s(self, deployment: Deployment, now_s: float) -> float:
        """Say for how long a half-open breaker has had no probe."""
        breaker = self._of(deployment, now_s).breaker
        return now_s - max(breaker.until_s, breaker.last_probe_s)

    def begin(
        self,
        deployment: Deployment,
        now_s: float,
        *,
        strategy: Strategy,
        admission: Admission = Admission.NORMAL,
        is_retry: bool = False,
    ) -> Flight | None:
        """Start an attempt, or give None if it may not start now.

        Asked right before sending, because what was eligible when the order was made may
        not be by now. Every flight ends with `succeeded`, `failed` or `cancelled`; the
        first of them counts and later ones do nothing. `is_retry`: the same request has
        already failed at this deployment.
        """
        if not self.admits(deployment, now_s, admission=admission):
            return None
        health = self._of(deployment, now_s)
        if health.breaker.state_at(now_s) is BreakerState.OPEN:
            health.provider.last_panic_s = now_s
        permit = health.breaker.begin(now_s)
        health.in_flight += 1
        health.provider.in_flight += 1
        return Flight(health, strategy, permit, now_s, is_retry)

    def answering(self, flight: Flight, now_s: float) -> None:
        """Note that the first content has come; an end of the attempt still follows.

        A probe has done its work by then: a breaker that waited for the end of long
        streams would keep a recovered deployment shut for minutes.
        """
        if flight.permit.is_probe and not flight.is_over:
            flight.permit = flight.health.breaker.promote(
                flight.permit, now_s=now_s, policy=flight.strategy.breaker
            )

    def succeeded(
        self,
        flight: Flight,
        *,
        now_s: float,
        ttft_s: float | None,
        duration_s: float,
        output_tokens: int,
        streamed: bool,
    ) -> None:
        """End an attempt with a whole answer; `ttft_s` is for streams, None if unknown."""
        if not self._end(flight, Verdict.SUCCESS, now_s=now_s):
            return
        flight.health.provider.cooldown.clear(started_s=flight.started_s)
        latency, decay_s = flight.health.latency, flight.strategy.latency_decay_s
        if streamed and ttft_s is not None:
            latency.observe_stream(
                ttft_s=ttft_s,
                duration_s=duration_s,
                output_tokens=output_tokens,
                now_s=now_s,
                decay_s=decay_s,
            )
        else:
            latency.observe_whole(
                duration_s=duration_s,
                output_tokens=output_tokens,
                now_s=now_s,
                decay_s=decay_s,
            )

    def failed(
        self,
        flight: Flight,
        error: UpstreamError,
        *,
        now_s: float,
        draw: Callable[[], float],
    ) -> None:
        """End an attempt with an error; what follows stands in `RULES`."""
        verdict = RULES[error.fault].verdict
        if verdict is Verdict.REPEATED_FAILURE and not flight.is_retry:
            verdict = Verdict.IGNORED
            is_penalised = False  # a kept-alive socket went stale: nobody's fault
        else:
            is_penalised = verdict is not Verdict.SUCCESS
        if not self._end(flight, verdict, now_s=now_s, draw=draw()):
            return
        _cool(flight, error, now_s=now_s)
        if is_penalised:
            flight.health.latency.penalise(
                _penalty_s(flight, error, now_s=now_s),
                now_s=now_s,
                decay_s=flight.strategy.latency_decay_s,
            )

    def cancelled(self, flight: Flight, now_s: float) -> None:
        """End an attempt whose client has gone: no sample of anything."""
        self._end(flight, Verdict.IGNORED, now_s=now_s)

    def retain(self, snapshot: Snapshot) -> None:
        """Forget what is no longer configured; flights of old keep their own state."""
        providers = {
            (provider.id, provider.fingerprint)
            for provider in snapshot.providers.values()
        }
        deployments = {
            _key(deployment)
            for model in snapshot.models.values()
            for deployment in model.deployments
        }
        self._deployments = {
            key: health
            for key, health in self._deployments.items()
            if key in deployments
        }
        providers |= {key[:2] for key in self._deployments}
        self._providers = {
            key: health for key, health in self._providers.items() if key in providers
        }

    def _of(self, deployment: Deployment, now_s: float) -> DeploymentHealth:
        key = _key(deployment)
        health = self._deployments.get(key)
        if health is None:
            provider = self._providers.setdefault(key[:2], ProviderHealth())
            health = DeploymentHealth(
                provider=provider,
                breaker=CircuitBreaker(healthy_since_s=now_s),
                latency=LatencyEstimate(now_s),
            )
            self._deployments[key] = health
        return health

    def _end(
        self, flight: Flight, verdict: Verdict, *, now_s: float, draw: float = 0.5
    ) -> bool:
        """Give back what the flight held; False if that was done before."""
        if flight.is_over:
            return False
        flight.is_over = True
        health = flight.health
        health.in_flight -= 1
        health.provider.in_flight -= 1
        health.breaker.finish(
            flight.permit,
            verdict,
            now_s=now_s,
            policy=flight.strategy.breaker,
            draw=draw,
        )
        return True


def _key(deployment: Deployment) -> tuple[int, str, str]:
    provider = deployment.provider
    return provider.id, provider.fingerprint, deployment.upstream_model


def _is_saturated(provider: Provider, health: ProviderHealth) -> bool:
    cap = provider.max_concurrency
    return cap is not None and health.in_flight >= cap


def _cooling(health: DeploymentHealth, now_s: float) -> Availability | None:
    cooldown: DeploymentCooldown | AccountCooldown = health.cooldown
    if health.provider.cooldown.until_s > cooldown.until_s:
        cooldown = health.provider.cooldown
    until_s = cooldown.until_s
    if now_s >= until_s:
        return None
    if health.breaker.state is BreakerState.OPEN:
        until_s = max(until_s, health.breaker.until_s)
    return Availability(State.COOLING, until_s, cooldown.fault)


def _cool(flight: Flight, error: UpstreamError, *, now_s: float) -> None:
    health = flight.health
    if RULES[error.fault].cooldown is Cooldown.PROVIDER:
        health.provider.cooldown.refuse(
            error.fault, started_s=flight.started_s, now_s=now_s
        )
        return
    wait_s = cooldown_s(error)
    if wait_s is not None:
        health.cooldown.extend(now_s + wait_s, error.fault)


def _penalty_s(flight: Flight, error: UpstreamError, *, now_s: float) -> float:
    asked_s = min(error.retry_after_s or 0.0, LONGEST_PENALTY_S)
    return max(now_s - flight.started_s, FAILURE_PENALTY_S, asked_s)
