"""Rows to snapshot: how requests are split over versions, in all and for each model."""

from __future__ import annotations

from dataclasses import replace

from gateway.config_rows import ConfigRows
from gateway.models.traffic import DEFAULT_VERSION
from gateway.snapshot import Model, Traffic


def compile_traffic(found: ConfigRows) -> Traffic:
    """Compile the weights and the policy; without its row nothing was promoted yet."""
    actives = (row["active_version"] for row in found.traffic_policy)
    return Traffic(
        active_version=next(actives, DEFAULT_VERSION),
        weights={row["version"]: row["weight"] for row in found.version_weights},
        draining=frozenset(
            row["version"] for row in found.version_weights if row["is_draining"]
        ),
    )


def split_model(model: Model, traffic: Traffic) -> Model:
    """Leave a model the deployments whose versions have a share of its requests.

    Shares are relative to each other, whatever their sum. When none of its versions has
    any, weights do not apply to this model, and it keeps all its deployments.
    """
    versions = sorted({deployment.version for deployment in model.deployments})
    weights = {version: traffic.weight(version) for version in versions}
    shares = tuple((version, weight) for version, weight in weights.items() if weight)
    if not shares:
        return model
    return replace(
        model,
        deployments=tuple(d for d in model.deployments if weights[d.version]),
        split=shares if len(shares) > 1 else (),
    )
