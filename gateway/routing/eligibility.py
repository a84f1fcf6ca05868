"""Which deployments of a model may serve a request now, and why not the others (pure)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from gateway.kinds import Operation
from gateway.routing.availability import Admission, Availability, State
from gateway.routing.health import HealthTable
from gateway.routing.needs import Needs
from gateway.snapshot import Deployment, Model

# The estimate of prompt tokens may be this much too high for plain text; only a prompt
# that is too long beyond doubt is kept from an upstream that might still take it.
ESTIMATE_MARGIN = 1.25
SHORTEST_ADVICE_S = 1.0
NO_REASONING = "none"  # the one capability whose "no" is not False
NOBODY: frozenset[int] = frozenset()


class Reason(StrEnum):
    """Why a deployment may not serve a request; those in PASSING pass with time."""

    INCAPABLE = "incapable"
    CONTEXT_TOO_SMALL = "context_too_small"
    CREDENTIAL_UNREADABLE = "credential_unreadable"
    PRICE_UNKNOWN = "price_unknown"
    COOLING = "cooling"
    OPEN = "open"
    SATURATED = "saturated"


TROUBLED = frozenset({Reason.COOLING, Reason.OPEN})  # by its own failures
PASSING = TROUBLED | {Reason.SATURATED}


@dataclass(frozen=True, slots=True)
class Selection:
    """Who may serve a request, in the model's order, and who may not.

    `admission` is to be handed to `HealthTable.begin`. With PANIC the candidates stand
    in the order to try them. `half_open` holds the ids of the candidates that may only
    get one probe. `retry_after_s` is the shortest wait until one may serve, at least
    1 s; None while there are candidates, and when waiting will not help. `is_sample`
    says that not all of the model's deployments were looked at.
    """

    candidates: tuple[Deployment, ...]
    excluded: tuple[tuple[Deployment, Reason], ...] = ()
    retry_after_s: float | None = None
    admission: Admission = Admission.NORMAL
    half_open: frozenset[int] = NOBODY
    is_sample: bool = False


def select(
    model: Model,
    needs: Needs,
    *,
    health: HealthTable,
    now_s: float,
    requires_price: bool = False,
    sample: Sequence[Deployment] | None = None,
) -> Selection:
    """Divide a model's deployments; `requires_price` leaves out what has none.

    A `sample` of the deployments is looked at instead of all.

    When nothing is ready, a model's only deployment may still be probed past its open
    breaker, and so may one deployment of each provider a second when all breakers are
    open. A cooldown is never cut short.
    """
    candidates: list[Deployment] = []
    excluded: list[tuple[Deployment, Reason]] = []
    waiting: list[tuple[Deployment, Availability]] = []
    half_open: list[int] = []
    looked_at = model.deployments if sample is None else sample
    for deployment in looked_at:
        reason = _unfit(deployment, needs, requires_price=requires_price)
        if reason is not None:
            excluded.append((deployment, reason))
            continue
        availability = health.availability(deployment, now_s)
        if availability.state is State.READY:
            candidates.append(deployment)
        elif availability.state is State.PROBE:
            candidates.append(deployment)
            half_open.append(deployment.id)
        else:
            waiting.append((deployment, availability))
            excluded.append((deployment, Reason(availability.state.value)))
    is_alone = len(looked_at) == 1
    if candidates or not waiting:
        return Selection(
            tuple(candidates),
            tuple(excluded),
            admission=Admission.ALONE if is_alone else Admission.NORMAL,
            half_open=frozenset(half_open) if half_open else NOBODY,
            is_sample=sample is not None,
        )
    admission = Admission.ALONE if is_alone else Admission.PANIC
    return _last_resort(
        waiting, tuple(excluded), admission=admission, health=health, now_s=now_s
    )


def _unfit(
    deployment: Deployment, needs: Needs, *, requires_price: bool
) -> Reason | None:
    if requires_price and not has_price(deployment, needs.operation):
        return Reason.PRICE_UNKNOWN
    if deployment.provider.is_credential_unreadable:
        return Reason.CREDENTIAL_UNREADABLE
    if not _is_capable(deployment, needs):
        return Reason.INCAPABLE
    window = deployment.context_window
    if window is not None and needs.prompt_tokens > window * ESTIMATE_MARGIN:
        return Reason.CONTEXT_TOO_SMALL
    return None


def has_price(deployment: Deployment, operation: Operation) -> bool:
    """Say whether it is known what a plain request of this kind costs there."""
    prices = deployment.prices
    if prices.input_per_mtok_usd is None:
        return False
    is_chat = operation is Operation.CHAT
    return not is_chat or prices.output_per_mtok_usd is not None


def _is_capable(deployment: Deployment, needs: Needs) -> bool:
    capabilities = deployment.capabilities
    is_chat = needs.operation is Operation.CHAT
    if (capabilities.chat if is_chat else capabilities.embeddings) is False:
        return False
    for name in needs.capabilities:  # a loop: a generator costs more than the check
        capability = getattr(capabilities, name)
        if capability is False or capability == NO_REASONING:
            return False
    return True


def _last_resort(
    waiting: list[tuple[Deployment, Availability]],
    excluded: tuple[tuple[Deployment, Reason], ...],
    *,
    admission: Admission,
    health: HealthTable,
    now_s: float,
) -> Selection:
    probes = _early_probes(waiting, admission=admission, health=health, now_s=now_s)
    if probes:
        ids = frozenset(deployment.id for deployment in probes)
        excluded = tuple(pair for pair in excluded if pair[0].id not in ids)
        return Selection(probes, excluded, admission=admission, half_open=ids)
    waits = [_wait_s(availability, now_s) for _, availability in waiting]
    return Selection((), excluded, retry_after_s=max(min(waits), SHORTEST_ADVICE_S))


def _early_probes(
    waiting: list[tuple[Deployment, Availability]],
    *,
    admission: Admission,
    health: HealthTable,
    now_s: float,
) -> tuple[Deployment, ...]:
    """Give one deployment of each provider, the soonest to recover first."""
    if any(availability.state is State.SATURATED for _, availability in waiting):
        return ()
    soonest = sorted(waiting, key=lambda pair: _wait_s(pair[1], now_s))
    probes: dict[int, Deployment] = {}
    for deployment, _ in soonest:
        if health.admits(deployment, now_s, admission=admission):
            probes.setdefault(deployment.provider.id, deployment)
    return tuple(probes.values())


def _wait_s(availability: Availability, now_s: float) -> float:
    until_s = availability.until_s
    return 0.0 if until_s is None else max(0.0, until_s - now_s)
