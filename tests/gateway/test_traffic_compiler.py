"""Weights of versions to what each model serves with."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import pytest
from django.conf import settings

from gateway.config_rows import ConfigRows, read_rows
from gateway.models import (
    Deployment,
    Model,
    Provider,
    TrafficPolicy,
    VersionWeight,
)
from gateway.snapshot import Snapshot, Traffic
from gateway.snapshot_compiler import compile_rows
from gateway.traffic_compiler import compile_traffic

pytestmark = pytest.mark.django_db


def compiled(found: ConfigRows | None = None) -> Snapshot:
    return compile_rows(
        found or read_rows(),
        keys=settings.AILB_ENCRYPTION_KEYS,
        default_strategy="random",
    )


def deploy(model: str, *versions: str, **fields: Any) -> None:
    row, _ = Model.objects.get_or_create(name=model)
    provider, _ = Provider.objects.get_or_create(
        name="p", kind="openai", base_url="http://127.0.0.1:1/v1"
    )
    for version in versions:
        Deployment.objects.create(
            model=row,
            provider=provider,
            upstream_model=model,
            version=version,
            **fields,
        )


def weigh(**weights: int) -> None:
    for version, weight in weights.items():
        VersionWeight.objects.create(version=version, weight=weight)


def versions(snapshot: Snapshot, model: str) -> list[str]:
    return sorted(d.version for d in snapshot.models[model].deployments)


def test_without_rows_the_first_version_is_active_and_has_all() -> None:
    deploy("m", "v1", "v2")
    snapshot = compiled()
    assert snapshot.traffic == Traffic()
    assert [snapshot.traffic.weight(version) for version in ("v1", "v2")] == [100, 0]
    assert versions(snapshot, "m") == ["v1"]
    assert snapshot.models["m"].split == ()


def test_the_active_version_has_all_until_weights_are_set() -> None:
    deploy("m", "v1", "v2")
    TrafficPolicy.objects.create(active_version="v2")
    snapshot = compiled()
    assert snapshot.traffic.active_version == "v2"
    assert versions(snapshot, "m") == ["v2"]


def test_weights_split_every_model_with_several_versions() -> None:
    deploy("both", "v2", "v1", "v2b")
    deploy("new", "v2")
    deploy("old", "v1")
    weigh(v2=10, v1=90, v2b=0)
    snapshot = compiled()
    assert snapshot.models["both"].split == (("v1", 90), ("v2", 10))
    assert versions(snapshot, "both") == ["v1", "v2"]
    assert {name: snapshot.models[name].split for name in ("new", "old")} == {
        "new": (),
        "old": (),
    }


def test_auto_is_split_too_over_all_that_it_spans() -> None:
    deploy("a", "v1")
    deploy("b", "v2", "v3")
    weigh(v1=60, v2=40, v3=0)
    snapshot = compiled()
    assert snapshot.models["auto"].split == (("v1", 60), ("v2", 40))
    assert versions(snapshot, "auto") == ["v1", "v2"]


def test_weights_do_not_apply_to_a_model_whose_versions_have_none() -> None:
    deploy("m", "v3", "v4")
    weigh(v1=100, v3=0)
    snapshot = compiled()
    assert versions(snapshot, "m") == ["v3", "v4"]
    assert snapshot.models["m"].split == ()


def test_only_what_may_serve_counts() -> None:
    deploy("m", "v1")
    deploy("m", "v2", enabled=False)
    weigh(v1=0, v2=100)
    assert versions(compiled(), "m") == ["v1"]


def test_weights_that_do_not_sum_up_are_shares() -> None:
    deploy("m", "v1", "v2")
    weigh(v1=1, v2=2)
    assert compiled().models["m"].split == (("v1", 1), ("v2", 2))


def test_what_drains_is_known() -> None:
    VersionWeight.objects.create(version="v2", weight=0, is_draining=True)
    assert compile_traffic(read_rows()) == Traffic(
        weights={"v2": 0}, draining=frozenset({"v2"})
    )


def test_what_the_file_keeps_splits_the_same_and_an_older_one_not_at_all() -> None:
    deploy("m", "v1", "v2")
    weigh(v1=90, v2=10)
    TrafficPolicy.objects.create(active_version="v1")
    kept = json.loads(json.dumps(asdict(read_rows())))
    assert compiled(ConfigRows(**kept)) == compiled()
    del kept["version_weights"], kept["traffic_policy"]
    assert compiled(ConfigRows(**kept)).traffic == Traffic()
