"""Whether this instance can handle a route, from its configuration and known health (pure)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from gateway.kinds import Operation
from gateway.route_rows import CHAT_PATH, EMBEDDINGS_PATH, matches
from gateway.routing.availability import State
from gateway.snapshot import Deployment, Model, Snapshot
from moduleservice.pb import types_pb2

PROTOCOLS = (
    types_pb2.PROTOCOL_UNSPECIFIED,
    types_pb2.PROTOCOL_HTTP,
    types_pb2.PROTOCOL_HTTPS,
    types_pb2.PROTOCOL_HTTP2,
)
OPERATIONS: Mapping[str, Operation] = {
    CHAT_PATH: Operation.CHAT,
    EMBEDDINGS_PATH: Operation.EMBEDDINGS,
}
MODELS_ROOT = "/v1/models"
SHOWN_NAMES = 5
DOCUMENT_ROOTS = ("/v1/files", "/v1/vector_stores")

Report = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Known:
    """What an answer is made from.

    `reports` are those of the live workers, None while the database cannot be asked:
    then nothing is known of their health, and the configuration decides.
    """

    snapshot: Snapshot
    version: str
    has_documents: bool
    reports: Sequence[Report] | None


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether it can be handled, and why or why not."""

    can_handle: bool
    reason: str
    priority: int = 0
    metadata: Mapping[str, str] = field(default_factory=dict)


def judge(route: types_pb2.Route, context: Mapping[str, str], known: Known) -> Verdict:
    """Say whether a route can be handled now.

    The model is that of the route's metadata, or the context's; without one it is enough
    that some model is served at the path.
    """
    if route.protocol not in PROTOCOLS:
        return Verdict(
            can_handle=False,
            reason=f"AILB serves HTTP, not {protocol_name(route.protocol)}.",
        )
    pattern = route.path_pattern or CHAT_PATH
    wanted = {
        operation for path, operation in OPERATIONS.items() if matches(pattern, path)
    }
    if not wanted and not is_read(pattern, has_documents=known.has_documents):
        return Verdict(
            can_handle=False, reason=f"AILB serves nothing at {pattern[:200]!r}."
        )
    if known.version in known.snapshot.traffic.draining:
        return Verdict(
            can_handle=False,
            reason=f"This instance drains: its version {known.version!r} has no traffic.",
        )
    if known.reports is not None and not known.reports:
        return Verdict(can_handle=False, reason="No worker is live.")
    name = route.metadata.get("model") or context.get("model", "")
    if name:
        return judge_model(name, pattern, wanted, known)
    return judge_path(pattern, wanted, known)


def protocol_name(protocol: int) -> str:
    """Name a protocol; one that the contract does not have by its number."""
    value = types_pb2.Protocol.DESCRIPTOR.values_by_number.get(protocol)
    return f"protocol {protocol}" if value is None else str(value.name)


def is_read(pattern: str, *, has_documents: bool) -> bool:
    """Say whether something is asked for that needs no provider."""
    roots = (MODELS_ROOT, *(DOCUMENT_ROOTS if has_documents else ()))
    return any(
        matches(pattern, root) or pattern.startswith(f"{root}/") for root in roots
    )


def judge_model(
    name: str, pattern: str, wanted: Iterable[Operation], known: Known
) -> Verdict:
    """Say whether one model is served at a path."""
    model = known.snapshot.model(name)
    if model is None:
        return Verdict(
            can_handle=False, reason=f"There is no model {name[:200]!r} that serves."
        )
    fitting = [
        each
        for each in model.deployments
        if not wanted or any(serves(each, operation) for operation in wanted)
    ]
    metadata = {
        "model": model.name,
        "strategy": model.strategy.name,
        "deployments": orjson.dumps([shown(each, known) for each in fitting]).decode(),
    }
    usable = [each for each in fitting if is_usable(each, known)]
    priority = min((each.priority for each in fitting), default=0)
    if usable or (fitting and not wanted):
        reason = f"Model {model.name!r} is served by {providers_of(usable or fitting)}."
    elif fitting:
        reason = (
            f"Model {model.name!r} cannot be asked now: {providers_of(fitting)} "
            "cannot be called."
        )
    else:
        reason = f"Model {model.name!r} is not served at {pattern[:200]}."
    can_handle = bool(usable or (fitting and not wanted))
    return Verdict(can_handle, reason, priority, metadata)


def judge_path(pattern: str, wanted: Iterable[Operation], known: Known) -> Verdict:
    """Say whether anything is served at a path."""
    wanted = set(wanted)
    if not wanted:
        return Verdict(can_handle=True, reason=f"AILB serves {pattern[:200]}.")
    models = [
        model
        for model in known.snapshot.models.values()
        if any(map(model.serves, wanted))
    ]
    usable = [
        each
        for model in models
        for each in model.deployments
        if any(serves(each, operation) for operation in wanted)
        and is_usable(each, known)
    ]
    named = names_of(models)
    if not usable:
        reason = (
            f"None of its providers can be called now: {named}."
            if models
            else f"No model is served at {pattern[:200]}."
        )
        return Verdict(can_handle=False, reason=reason)
    return Verdict(
        can_handle=True,
        reason=f"{pattern[:200]} is served: {named}.",
        priority=min(each.priority for each in usable),
        metadata={"models": ",".join(sorted(model.name for model in models))},
    )


def serves(deployment: Deployment, operation: Operation) -> bool:
    """Say whether a deployment may serve an operation; what is unknown may."""
    return getattr(deployment.capabilities, operation.value) is not False


def is_usable(deployment: Deployment, known: Known) -> bool:
    """Say whether some worker may send requests to it."""
    if known.reports is None:
        return True
    return any(may_ask(each, deployment) for each in known.reports)


def may_ask(report: Report, deployment: Deployment) -> bool:
    """Say whether a worker may: it can read the credential, and the breaker is shut."""
    if deployment.provider.name in report.get("unreadable", ()):
        return False
    return state_in(report, deployment) != State.OPEN


def state_in(report: Report, deployment: Deployment) -> str | None:
    """Read what a worker says of a deployment; None where it says nothing."""
    breakers = report.get("breakers", {}).get(deployment.provider.name, {})
    state: str | None = breakers.get(deployment.upstream_model)
    return state


def shown(deployment: Deployment, known: Known) -> dict[str, object]:
    """Say what a deployment is, and whether it may be asked."""
    return {
        "provider": deployment.provider.name,
        "upstream_model": deployment.upstream_model,
        "version": deployment.version,
        "weight": deployment.weight,
        "priority": deployment.priority,
        "usable": is_usable(deployment, known),
    }


def providers_of(deployments: Iterable[Deployment]) -> str:
    """Name providers in the order of their names."""
    return ", ".join(sorted({each.provider.name for each in deployments}))


def names_of(models: Sequence[Model]) -> str:
    """Name some models, and say how many more there are."""
    names = sorted(model.name for model in models)
    more = len(names) - SHOWN_NAMES
    named = ", ".join(names[:SHOWN_NAMES])
    return f"{named} and {more} more" if more > 0 else named
