"""One attempt at one deployment: its clock, its place in the figures, one outcome."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from django.utils import timezone

from gateway import metrics
from gateway.dialects.record import Usage
from gateway.dispatch.task import Task
from gateway.errors import UpstreamError
from gateway.kinds import FaultDomain
from gateway.limits import Spent
from gateway.pricing import cost_nano_usd
from gateway.routing.health import Flight, HealthTable
from gateway.routing.rules import RULES
from gateway.routing.statistics import ProviderStatistics
from gateway.snapshot import Deployment

NO_USAGE = Usage()
SILENCE_S = 300.0  # comments alone keep a stream alive for this long


@dataclass(frozen=True, slots=True)
class Live:
    """What attempts read and change: clock, health, figures by provider and version."""

    clock: Callable[[], float]
    draw: Callable[[], float]
    health: HealthTable
    statistics: dict[str, ProviderStatistics] = field(default_factory=dict)
    versions: dict[str, ProviderStatistics] = field(default_factory=dict)


class Attempt:
    """One attempt at one deployment: its flight, clock and one outcome."""

    def __init__(
        self,
        live: Live,
        task: Task,
        deployment: Deployment,
        flight: Flight,
        *,
        stream_deadline_s: float,
        settle: Callable[[Spent], None],
    ) -> None:
        """Take a flight that has begun; `settle` is called once with what was used."""
        self.deployment = deployment
        self._live = live
        self.needs = task.needs
        self._settle = settle
        self._flight = flight
        self._started_s = live.clock()
        self._ends_s = task.started_s + stream_deadline_s
        self._heard_s = self._started_s
        self._is_over = False
        self.first_content_s: float | None = None  # after the attempt's start
        metrics.labelled(metrics.UPSTREAM_IN_FLIGHT, deployment.provider.name).inc()

    def heard(self, data: bytes) -> None:
        """Note that data came, comments not counted."""
        if not data.startswith(b":"):
            self._heard_s = self._live.clock()

    def idle_s(self) -> float:
        """Seconds that the next read of the stream may take."""
        now_s = self._live.clock()
        return min(
            self.deployment.timeouts.idle_s,
            self._ends_s - now_s,
            self._heard_s + SILENCE_S - now_s,
        )

    def has_content(self) -> None:
        """Note that the first content has arrived."""
        now_s = self._live.clock()
        self.first_content_s = now_s - self._started_s
        self._live.health.answering(self._flight, now_s)

    def succeeded(self, usage: Usage, *, streamed: bool) -> None:
        """End with a whole answer."""
        if self._is_over:
            return
        now_s = self._live.clock()
        duration_s = now_s - self._started_s
        self._live.health.succeeded(
            self._flight,
            now_s=now_s,
            ttft_s=self.first_content_s,
            duration_s=duration_s,
            output_tokens=usage.completion_tokens,
            streamed=streamed,
        )
        at_s = timezone.now().timestamp()
        cost = cost_nano_usd(usage, self.deployment.prices)
        for statistics in self._statistics():
            statistics.record(
                is_success=True,
                at_s=at_s,
                latency_s=duration_s,
                ttft_s=self.first_content_s,
                input_tokens=usage.prompt_tokens,
                output_tokens=usage.completion_tokens,
                cost_nano_usd=cost,
            )
        self._end("none", usage)

    def failed(self, error: UpstreamError) -> None:
        """End with an error; one that is the caller's does not count against anyone."""
        if self._is_over:
            return
        now_s = self._live.clock()
        self._live.health.failed(self._flight, error, now_s=now_s, draw=self._live.draw)
        if RULES[error.fault].domain is not FaultDomain.CALLER:
            at_s, latency_s = timezone.now().timestamp(), now_s - self._started_s
            for statistics in self._statistics():
                statistics.record(is_success=False, at_s=at_s, latency_s=latency_s)
        self._end(error.fault)

    def cancelled(self, usage: Usage | None = None) -> None:
        """End because the client left; nothing if it has ended already.

        `usage` is that of what came before; without it the prompt is taken for used.
        """
        if not self._is_over:
            self._live.health.cancelled(self._flight, self._live.clock())
            used = usage or Usage(input_tokens=self.needs.prompt_tokens)
            self._end("client_left", used)

    def _statistics(self) -> tuple[ProviderStatistics, ProviderStatistics]:
        live, deployment = self._live, self.deployment
        return (
            figures_of(live.statistics, deployment.provider.name),
            figures_of(live.versions, deployment.version),
        )

    def _end(self, outcome: str, usage: Usage = NO_USAGE) -> None:
        self._is_over = True
        self._settle(Spent(usage.prompt_tokens, usage.completion_tokens))
        provider = self.deployment.provider.name
        metrics.labelled(metrics.UPSTREAM_IN_FLIGHT, provider).dec()
        metrics.labelled(
            metrics.ATTEMPTS, provider, self.deployment.upstream_model, outcome
        ).inc()


def figures_of(
    statistics: dict[str, ProviderStatistics], name: str
) -> ProviderStatistics:
    """Find the figures of a name, made with its first use."""
    found = statistics.get(name)
    if found is None:
        found = statistics[name] = ProviderStatistics()
    return found
