"""What the pages say of each version: its share, and what bears its label."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import timedelta

from django.db.models import (
    Case,
    Count,
    Exists,
    IntegerField,
    OuterRef,
    QuerySet,
    Subquery,
    Value,
    When,
)
from django.db.models.functions import Coalesce
from django.utils import timezone

from gateway import traffic
from gateway.heartbeat import FRESH_S
from gateway.kinds import WorkerState
from gateway.models import Deployment, Heartbeat, TrafficPolicy, VersionWeight
from gateway.models.traffic import DEFAULT_VERSION, MAX_PERCENT

ACTIVE = "active"
PREVIOUS = "previous"
NEITHER = "-"


@dataclass(frozen=True, slots=True)
class VersionFacts:
    """One version as it stands; `weight` is in percent, `row` None where it has none."""

    version: str
    weight: int
    role: str
    is_draining: bool
    deployments: int
    instances: tuple[str, ...]
    row: VersionWeight | None


def versions() -> dict[str, VersionFacts]:
    """Give every version that has a row, or whose label something bears, by label."""
    standing = traffic.standing()
    rows = {row.version: row for row in VersionWeight.objects.all()}
    deployments = deployments_by_label()
    instances = instances_by_label()
    return {
        version: VersionFacts(
            version=version,
            weight=standing.weights.get(version, 0),
            role=role_of(version, standing),
            is_draining=version in standing.draining,
            deployments=deployments.get(version, 0),
            instances=tuple(instances.get(version, ())),
            row=rows.get(version),
        )
        for version in sorted({*standing.weights, *rows, *deployments, *instances})
    }


def role_of(version: str, standing: traffic.Standing) -> str:
    """Say what a version is: active, active before, or neither."""
    if version == standing.active_version:
        return ACTIVE
    return PREVIOUS if version == standing.previous_version else NEITHER


def deployments_by_label() -> dict[str, int]:
    """Count the deployments that bear each label, disabled ones included."""
    labels = Deployment.objects.order_by().values_list("version")
    return dict(labels.annotate(number=Count("pk")))


def instances_by_label() -> dict[str, list[str]]:
    """Name the instances that were heard of lately, by their version's label."""
    since = timezone.now() - timedelta(seconds=FRESH_S)
    live = Heartbeat.objects.filter(beat_at__gte=since).exclude(state=WorkerState.ENDED)
    pairs = live.order_by("version", "instance").values_list("version", "instance")
    found: dict[str, list[str]] = defaultdict(list)
    for version, instance in pairs.distinct():
        found[version].append(instance)
    return found


def with_version_weight(rows: QuerySet[Deployment]) -> QuerySet[Deployment]:
    """Read the weight of each deployment's version with it, as `version_weight`.

    In the same query; without any weights, the active version has all.
    """
    weights = VersionWeight.objects.order_by()
    own = weights.filter(version=OuterRef("version")).values("weight")
    active = TrafficPolicy.objects.values("active_version")[:1]
    return rows.annotate(
        version_weight=Case(
            When(Exists(weights), then=Coalesce(Subquery(own), 0)),
            When(
                version=Coalesce(Subquery(active), Value(DEFAULT_VERSION)),
                then=MAX_PERCENT,
            ),
            default=0,
            output_field=IntegerField(),
        )
    )
