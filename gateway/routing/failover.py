"""What follows from a failed attempt: another, the same again, or the end (pure)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import isnan
from typing import assert_never

from gateway.errors import AllAttemptsFailed, UpstreamError
from gateway.kinds import Fault, FaultDomain
from gateway.routing.rules import RULES, Cooldown, Other, Same
from gateway.snapshot import Deployment

__all__ = [
    "RULES",
    "AttemptRecord",
    "Step",
    "StepKind",
    "cooldown_s",
    "final_error",
    "may_follow",
    "next_step",
]

MINIMUM_ATTEMPT_S = 1.0  # an attempt with less time left is not started
LONGEST_SAME_WAIT_S = 2.0  # also the cap of the jitter
JITTER_BASE_S = 0.25
SHORTEST_COOLDOWN_S = 1.0
LONGEST_COOLDOWN_S = 300.0
RATE_LIMIT_COOLDOWN_S = 5.0  # a 429 without Retry-After
MODEL_MISSING_COOLDOWN_S = 60.0
LONGEST_ADVICE_S = 60.0  # SDKs give up on a longer Retry-After instead of waiting


@dataclass(frozen=True, slots=True)
class AttemptRecord:
    """One attempt that failed."""

    deployment: Deployment
    error: UpstreamError


class StepKind(StrEnum):
    """What to do after a failed attempt."""

    NEXT = "next"
    SAME = "same"
    STOP = "stop"


@dataclass(frozen=True, slots=True)
class Step:
    """What to do after a failed attempt, and how long to wait before it."""

    kind: StepKind
    delay_s: float = 0.0


STOP = Step(StepKind.STOP)
NEXT = Step(StepKind.NEXT)


def next_step(
    error: UpstreamError,
    *,
    attempts: Sequence[AttemptRecord],
    remaining: int,
    elapsed_s: float,
    deadline_s: float,
    max_attempts: int,
    draw: Callable[[], float],
) -> Step:
    """Decide what follows from the last of `attempts`, which failed with `error`.

    `remaining` counts the other deployments that `may_follow` and were not tried yet.
    A retry of the same deployment is an attempt like any other. A fault after the first
    forwarded byte is INTERRUPTED, which always stops.
    """
    left_s = deadline_s - elapsed_s - MINIMUM_ATTEMPT_S
    if len(attempts) >= max_attempts or left_s < 0.0:
        return STOP
    rule = RULES[error.fault]
    was_retried = _tries_of_last(attempts) > 1
    if rule.same is Same.AT_ONCE and not was_retried:
        return Step(StepKind.SAME)
    if rule.other is not Other.NEVER and remaining > 0:
        return NEXT
    delay_s = None if was_retried else _same_delay_s(error, draw=draw)
    if delay_s is None or delay_s > left_s:
        return STOP
    return Step(StepKind.SAME, delay_s)


def _tries_of_last(attempts: Sequence[AttemptRecord]) -> int:
    last_id = attempts[-1].deployment.id
    return sum(attempt.deployment.id == last_id for attempt in attempts)


def _same_delay_s(error: UpstreamError, *, draw: Callable[[], float]) -> float | None:
    """Give the wait before one retry of the same deployment, None for no retry."""
    same = RULES[error.fault].same
    match same:
        case Same.NEVER | Same.AT_ONCE:
            return None
        case Same.IF_ALONE:
            jitter_s = draw() * JITTER_BASE_S
            delay_s = max(jitter_s, cooldown_s(error) or 0.0)
            return delay_s if delay_s <= LONGEST_SAME_WAIT_S else None
        case _:
            assert_never(same)


def cooldown_s(error: UpstreamError) -> float | None:
    """Say how long the deployment is to be left alone, None for not at all.

    What the provider asked for is cut to 1 to 300 s. The cooldown of a whole provider
    depends on its past: see `gateway.routing.health`.
    """
    cooldown = RULES[error.fault].cooldown
    match cooldown:
        case Cooldown.NONE | Cooldown.PROVIDER:
            return None
        case Cooldown.MODEL_MISSING:
            return MODEL_MISSING_COOLDOWN_S
        case Cooldown.RETRY_AFTER_IF_SENT:
            return _asked_s(error)
        case Cooldown.RETRY_AFTER_OR_DEFAULT:
            return _asked_s(error) or RATE_LIMIT_COOLDOWN_S
        case _:
            assert_never(cooldown)


def _asked_s(error: UpstreamError) -> float | None:
    asked_s = error.retry_after_s
    if asked_s is None or isnan(asked_s):
        return None
    return min(max(asked_s, SHORTEST_COOLDOWN_S), LONGEST_COOLDOWN_S)


def may_follow(error: UpstreamError, failed: Deployment, candidate: Deployment) -> bool:
    """Say whether `candidate` is worth a try after `failed` failed with `error`.

    A context window must be known on both sides to be larger.
    """
    other = RULES[error.fault].other
    match other:
        case Other.NEVER:
            return False
        case Other.ANY:
            return True
        case Other.OTHER_PROVIDER:
            return candidate.provider.id != failed.provider.id
        case Other.LARGER_WINDOW:
            return (
                failed.context_window is not None
                and candidate.context_window is not None
                and candidate.context_window > failed.context_window
            )
        case _:
            assert_never(other)


def final_error(errors: Sequence[UpstreamError]) -> AllAttemptsFailed:
    """Make what the client sees when every attempt failed; `errors` is not empty.

    A fault of the caller or of a content policy wins over a provider's, because the
    client can act on it; otherwise the last fault speaks, a missing model last of all
    because it would tell the client to give up on the others. Retry-After is the smallest
    that any attempt gave, at most 60 s, and never sent for a request that will not
    succeed later.
    """
    shown = _most_telling(errors)
    rule = RULES[shown.fault]
    status = shown.upstream_status
    blames_caller = _is_final_for_caller(shown)
    return AllAttemptsFailed(
        (rule.passes_message and shown.message) or rule.message,
        fault=shown.fault,
        status=status if status in rule.keeps_statuses and status else rule.status,
        code=(rule.passes_message and shown.provider_code) or rule.code,
        type=rule.type,
        param=shown.param if blames_caller else None,
        retry_after_s=None if blames_caller else _advice_s(errors),
    )


def _most_telling(errors: Sequence[UpstreamError]) -> UpstreamError:
    for error in reversed(errors):
        if _is_final_for_caller(error):
            return error
    for error in reversed(errors):
        if error.fault is not Fault.MODEL_MISSING:
            return error
    return errors[-1]


def _is_final_for_caller(error: UpstreamError) -> bool:
    domain = RULES[error.fault].domain
    return domain in {FaultDomain.CALLER, FaultDomain.POLICY}


def _advice_s(errors: Sequence[UpstreamError]) -> float | None:
    waits = [
        wait_s
        for error in errors
        if error.fault is not Fault.MODEL_MISSING
        and (wait_s := cooldown_s(error)) is not None
    ]
    return min(min(waits), LONGEST_ADVICE_S) if waits else None
