"""Routes as values, and how they are read off the rows."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from django.db.models import Prefetch

from gateway.models import Deployment, Model
from gateway.snapshot_compiler import AUTO

CHAT_PATH = "/v1/chat/completions"
EMBEDDINGS_PATH = "/v1/embeddings"


@dataclass(frozen=True, slots=True)
class RouteDeployment:
    """One deployment of a route; `priority` None is its provider's."""

    provider: str
    upstream_model: str
    weight: int
    priority: int | None
    version: str
    enabled: bool
    source: str


@dataclass(frozen=True, slots=True)
class RouteRow:
    """One Model row as a route.

    `priority` is the lowest that counts for an enabled deployment, 0 without one;
    `strategy` is empty for the default one.
    """

    name: str
    path: str
    priority: int
    enabled: bool
    strategy: str
    fallbacks: tuple[str, ...]
    deployments: tuple[RouteDeployment, ...]
    source: str


@dataclass(frozen=True, slots=True)
class DeploymentChange:
    """A deployment as it is to be; `values` are weight, priority and enabled, if stated.

    An empty `version` or `source` is not stated.
    """

    provider: str
    upstream_model: str
    version: str = ""
    source: str = ""
    values: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RouteChange:
    """A route as it is to be; what is not stated stays, or has its default.

    `values` are enabled, strategy (a name, empty for the default one) and fallbacks.
    `deployments` None leaves them as they are, otherwise an operator's own ones that it
    does not list are deleted. A `priority` other than 0 that differs from the route's is
    set on each deployment that does not state its own. `path` may end with `*`.
    """

    name: str
    priority: int = 0
    path: str = ""
    source: str = ""
    values: Mapping[str, Any] = field(default_factory=dict)
    deployments: tuple[DeploymentChange, ...] | None = None


def matches(pattern: str, path: str) -> bool:
    """Say whether a path is the pattern, or begins with what stands before its `*`."""
    if pattern.endswith("*"):
        return path.startswith(pattern[:-1])
    return path == pattern


def routes() -> list[RouteRow]:
    """Read every route, by name; `auto` is none: it spans them all."""
    deployments = Deployment.objects.select_related("provider")
    rows = Model.objects.exclude(name=AUTO).select_related("strategy")
    return [
        route_of(row)
        for row in rows.prefetch_related(Prefetch("deployments", deployments))
    ]


def route_of(row: Model) -> RouteRow:
    """Read a route off its rows."""
    deployments = list(row.deployments.all())
    return RouteRow(
        name=row.name,
        path=path_of(deployments),
        priority=priority_of(deployments),
        enabled=row.enabled,
        strategy="" if row.strategy is None else row.strategy.name,
        fallbacks=tuple(row.fallbacks),
        deployments=tuple(map(deployment_of, deployments)),
        source=row.source,
    )


def deployment_of(row: Deployment) -> RouteDeployment:
    """Read a deployment of a route."""
    return RouteDeployment(
        provider=row.provider.name,
        upstream_model=row.upstream_model,
        weight=row.weight,
        priority=row.priority,
        version=row.version,
        enabled=row.enabled,
        source=row.source,
    )


def path_of(deployments: Collection[Deployment]) -> str:
    """Give the path that a model is asked at: for embeddings if none of it may chat."""
    chats = [each.capabilities.get("chat") is not False for each in deployments]
    return CHAT_PATH if any(chats) or not chats else EMBEDDINGS_PATH


def priority_of(deployments: Iterable[Deployment]) -> int:
    """Give the lowest priority that counts for an enabled deployment; 0 without one."""
    priorities = [
        each.provider.priority if each.priority is None else each.priority
        for each in deployments
        if each.enabled and each.provider.enabled
    ]
    return min(priorities, default=0)
