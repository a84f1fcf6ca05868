"""Who may be tried for a request: models in order, deployments left, or why none."""

from __future__ import annotations

from collections.abc import Callable, Sequence, Set

from gateway.dispatch.task import Task, Trace
from gateway.errors import (
    AilbError,
    InvalidRequest,
    NoEligibleDeployment,
    PermissionDenied,
)
from gateway.kinds import Algorithm, Fault
from gateway.routing.eligibility import PASSING, Reason, Selection
from gateway.routing.failover import RULES, may_follow
from gateway.snapshot import Deployment, Model

DRAWN = frozenset({Algorithm.LOAD_BALANCED, Algorithm.LATENCY_OPTIMIZED})
SAMPLE = 3  # one may be out: the choice is between the others
SOON_S = 1.0  # when what was eligible has just been taken by others


def chain(task: Task) -> list[Model]:
    """List the model and its fallbacks, each once.

    Unknown names are passed over, and those that the caller's key may not use.
    """
    models = {task.model.name: task.model}
    allowed = task.allowed_models
    for name in task.model.fallbacks:
        model = task.snapshot.model(name)
        if model is not None and (allowed is None or {name, model.name} & allowed):
            models.setdefault(model.name, model)
    return list(models.values())


def sample(model: Model, draw: Callable[[], float]) -> list[Deployment] | None:
    """Draw a few deployments of a model that has many; None where all are looked at.

    For algorithms alone that compare a few drawn ones themselves: least load takes the
    best of those drawn here, latency that of two of them. `draw` gives numbers in [0, 1).
    """
    lead = model.lead
    if len(lead) <= SAMPLE or model.split or model.strategy.algorithm not in DRAWN:
        return None
    moved: dict[int, int] = {}  # a shuffle that stops after a few steps
    drawn = []
    for step in range(SAMPLE):
        place = step + min(int(draw() * (len(lead) - step)), len(lead) - step - 1)
        drawn.append(lead[moved.get(place, place)])
        moved[place] = moved.get(step, step)
    return drawn


def untried(deployments: Sequence[Deployment], trace: Trace) -> list[Deployment]:
    """Leave out what has failed in this request, and what may not follow that failure."""
    left = [
        deployment
        for deployment in deployments
        if all(failure.deployment.id != deployment.id for failure in trace.failures)
    ]
    if not trace.failures:
        return left
    last = trace.failures[-1]
    return [d for d in left if may_follow(last.error, last.deployment, d)]


def nothing_eligible(
    task: Task, selections: Sequence[Selection], faults: Set[Fault | None]
) -> AilbError:
    """Say why no attempt could be made: the request's fault, or a matter of time.

    `faults` are what the deployments that might serve are waiting after. When that is one
    and the same, the client sees what it saw when it happened.
    """
    name = task.model.name
    reasons = {reason for s in selections for _, reason in s.excluded}
    if reasons == {Reason.INCAPABLE}:
        wanted = ", ".join(sorted(task.needs.capabilities)) or task.operation.value
        return InvalidRequest(
            f"No deployment of model '{name}' can serve this request (needs: {wanted}).",
            param="model",
            code="unsupported_by_model",
        )
    if Reason.PRICE_UNKNOWN in reasons and not reasons & PASSING:
        return PermissionDenied(
            f"No price is known for model '{name}', and a budget of this key or tenant "
            "allows only what has one. The operator can enter it.",
            param="model",
            code="price_unknown",
        )
    if reasons and reasons <= {Reason.INCAPABLE, Reason.CONTEXT_TOO_SMALL}:
        return InvalidRequest(
            f"The prompt is longer than the context of every deployment of '{name}'.",
            param="messages",
            code="context_length_exceeded",
        )
    waits = [s.retry_after_s for s in selections if s.retry_after_s is not None]
    retry_after_s = min(waits, default=None if reasons else SOON_S)
    cause = next(iter(faults)) if len(faults) == 1 else None
    if reasons == {Reason.CREDENTIAL_UNREADABLE}:
        cause = Fault.CREDENTIAL_REJECTED
    if cause is None:
        return NoEligibleDeployment(
            f"No deployment of model '{name}' can be tried now. Try again later.",
            retry_after_s=retry_after_s,
        )
    rule = RULES[cause]
    return NoEligibleDeployment(
        rule.message,
        status=rule.status,
        code=rule.code,
        type=rule.type,
        retry_after_s=retry_after_s,
    )
