"""A deployment's circuit breaker: closed, open, half-open (pure)."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from enum import StrEnum
from typing import assert_never

from gateway.snapshot import Breaker

HALF_OPEN_SUCCESSES = 2
HEALTHY_S = 60.0  # closed for so long, the next trip opens for half as long


class BreakerState(StrEnum):
    """Whether requests pass: all, none, or one at a time to see."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class Verdict(StrEnum):
    """What the breaker makes of one finished attempt."""

    SUCCESS = "success"
    FAILURE = "failure"
    REPEATED_FAILURE = "repeated_failure"  # a failure only when it was a retry
    SOFT_FAILURE = "soft_failure"  # counts in the rate, not in the run of failures
    IGNORED = "ignored"


@dataclass(frozen=True, slots=True)
class Permit:
    """One request that was let through; handed back when it ends.

    An outcome counts only in the epoch that let it through: what was sent before a trip
    says nothing about the deployment after it.
    """

    epoch: int
    is_probe: bool


class OutcomeWindow:
    """Finished and failed attempts of the last seconds, counted per second."""

    __slots__ = ("_seconds",)

    def __init__(self) -> None:
        """Start empty."""
        self._seconds: deque[list[int]] = deque()  # [second, finished, failed]

    def add(self, *, is_failure: bool, now_s: float, window_s: float) -> None:
        """Count one attempt and forget those older than the window."""
        second = int(now_s)
        if not self._seconds or self._seconds[-1][0] < second:
            self._seconds.append([second, 0, 0])
        self._seconds[-1][1] += 1
        self._seconds[-1][2] += is_failure
        while self._seconds[0][0] <= self._seconds[-1][0] - window_s:
            self._seconds.popleft()

    def is_failing(self, policy: Breaker) -> bool:
        """Say whether enough attempts finished and too many of them failed."""
        finished = sum(second[1] for second in self._seconds)
        failed = sum(second[2] for second in self._seconds)
        return (
            finished >= policy.minimum_requests
            and failed >= policy.failure_rate * finished
        )

    def clear(self) -> None:
        """Forget everything."""
        self._seconds.clear()


@dataclass(slots=True)
class CircuitBreaker:
    """Trips on a run or a rate of failures, waits, probes, closes on two successes.

    Every `begin` is matched by exactly one `finish` (of what `promote` gave, if it was
    called). Whether a request may begin is the
    caller's decision, by `state_at` and `probes`; an early probe (`begin` before
    `until_s`) that fails leaves the wait as it was.
    """

    healthy_since_s: float
    state: BreakerState = BreakerState.CLOSED
    until_s: float = 0.0  # when an open breaker may be probed
    probes: int = 0  # in flight
    last_probe_s: float = 0.0  # when the last one began or ended
    _epoch: int = 0
    _trips: int = 0  # the exponent of the next wait
    _run: int = 0  # failures since the last success
    _successes: int = 0  # of probes, since the last failure
    _window: OutcomeWindow = field(default_factory=OutcomeWindow)

    def state_at(self, now_s: float) -> BreakerState:
        """Give the state; an open breaker whose wait is over is half-open."""
        if self.state is BreakerState.OPEN and now_s >= self.until_s:
            return BreakerState.HALF_OPEN
        return self.state

    def begin(self, now_s: float) -> Permit:
        """Let one request through; unless closed, it is a probe."""
        if self.state is BreakerState.CLOSED:
            return Permit(self._epoch, is_probe=False)
        self.state = BreakerState.HALF_OPEN
        self.probes += 1
        self.last_probe_s = now_s
        return Permit(self._epoch, is_probe=True)

    def promote(self, permit: Permit, *, now_s: float, policy: Breaker) -> Permit:
        """Count a probe as a success while its answer still flows.

        Give the permit that takes its place: the end of the answer can still be a
        failure, but not a second success.
        """
        epoch = permit.epoch
        self.finish(permit, Verdict.SUCCESS, now_s=now_s, policy=policy, draw=0.5)
        return Permit(epoch, is_probe=False)

    def finish(
        self,
        permit: Permit,
        verdict: Verdict,
        *,
        now_s: float,
        policy: Breaker,
        draw: float,
    ) -> None:
        """Take back a permit; `draw` in [0, 1) spreads the wait if this trips."""
        if permit.is_probe:
            self.probes -= 1
            self.last_probe_s = now_s
        if permit.epoch != self._epoch:
            return
        match verdict:
            case Verdict.SUCCESS:
                self._succeed(permit, now_s=now_s, policy=policy)
            case Verdict.FAILURE | Verdict.REPEATED_FAILURE:
                self._fail(now_s=now_s, policy=policy, draw=draw)
            case Verdict.SOFT_FAILURE:
                self._soften(now_s=now_s, policy=policy, draw=draw)
            case Verdict.IGNORED:
                self._resume(now_s)
            case _:
                assert_never(verdict)

    def _succeed(self, permit: Permit, *, now_s: float, policy: Breaker) -> None:
        self._run = 0
        if self.state is BreakerState.CLOSED:
            self._window.add(is_failure=False, now_s=now_s, window_s=policy.window_s)
            return
        if not permit.is_probe:
            return
        self._successes += 1
        self.until_s = min(self.until_s, now_s)
        if self._successes >= HALF_OPEN_SUCCESSES:
            self.state = BreakerState.CLOSED
            self.healthy_since_s = now_s
            self._window.clear()

    def _fail(self, *, now_s: float, policy: Breaker, draw: float) -> None:
        if self.state is BreakerState.HALF_OPEN:
            if now_s < self.until_s:
                self._reopen()
            else:
                self._open(now_s=now_s, policy=policy, draw=draw)
            return
        self._run += 1
        self._count_failure(now_s=now_s, policy=policy, draw=draw)

    def _soften(self, *, now_s: float, policy: Breaker, draw: float) -> None:
        if self.state is BreakerState.HALF_OPEN:
            self._resume(now_s)
        else:
            self._count_failure(now_s=now_s, policy=policy, draw=draw)

    def _count_failure(self, *, now_s: float, policy: Breaker, draw: float) -> None:
        self._window.add(is_failure=True, now_s=now_s, window_s=policy.window_s)
        if self._run >= policy.consecutive_failures or self._window.is_failing(policy):
            healthy_s = max(0.0, now_s - self.healthy_since_s)
            self._trips = max(0, self._trips - int(healthy_s / HEALTHY_S))
            self._open(now_s=now_s, policy=policy, draw=draw)

    def _open(self, *, now_s: float, policy: Breaker, draw: float) -> None:
        wait_s = policy.open_s * 2**self._trips
        self.until_s = now_s + min(policy.max_open_s, wait_s * (0.5 + draw))
        if wait_s < policy.max_open_s:  # a longer outage must not cost more to forget
            self._trips += 1
        self._reopen()

    def _reopen(self) -> None:
        self.state = BreakerState.OPEN
        self._epoch += 1
        self._run = 0
        self._successes = 0

    def _resume(self, now_s: float) -> None:
        """Go back to waiting if an early probe ended without a verdict."""
        is_early = self.state is BreakerState.HALF_OPEN and now_s < self.until_s
        if is_early and self.probes == 0:
            self.state = BreakerState.OPEN
