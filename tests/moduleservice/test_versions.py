"""The RPCs on versions, against the rows that they change."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from django.conf import settings

from gateway import traffic
from gateway.config_rows import read_rows
from gateway.database_threads import DatabaseThreads
from gateway.models import Deployment, Model, Promotion, Provider
from gateway.snapshot import Snapshot
from gateway.snapshot_compiler import compile_rows
from moduleservice.base import Host, Refusal
from moduleservice.pb import module_service_pb2 as rpc, types_pb2
from moduleservice.versions import Versions

pytestmark = pytest.mark.django_db(transaction=True)


def deploy(*versions: str) -> None:
    model, _ = Model.objects.get_or_create(name="m")
    provider, _ = Provider.objects.get_or_create(
        name="p", kind="openai", base_url="http://127.0.0.1:1/v1"
    )
    for version in versions:
        Deployment.objects.create(
            model=model, provider=provider, upstream_model="m", version=version
        )


def snapshot() -> Snapshot:
    return compile_rows(
        read_rows(), keys=settings.AILB_ENCRYPTION_KEYS, default_strategy="random"
    )


@pytest.fixture
async def database() -> AsyncIterator[DatabaseThreads]:
    threads = DatabaseThreads(1, name="test-versions")
    yield threads
    await threads.aclose(limit_s=5)


@pytest.fixture
async def versions(database: DatabaseThreads) -> Versions:
    """Give the part on a database with v1 and v2."""
    await database.run(lambda: deploy("v1", "v2"))
    return Versions(
        Host(instance="a", version="v1", database=database, snapshot=snapshot)
    )


async def set_weight(
    versions: Versions, version: str, weight: int
) -> rpc.SetTrafficWeightResponse:
    return await versions.SetTrafficWeight(
        rpc.SetTrafficWeightRequest(version=version, weight=weight)
    )


async def active(versions: Versions) -> rpc.GetActiveVersionResponse:
    return await versions.GetActiveVersion(rpc.GetActiveVersionRequest())


async def promote(
    versions: Versions, version: str, *, immediate: bool = False, rate: int = 0
) -> rpc.PromoteVersionResponse:
    return await versions.PromoteVersion(
        rpc.PromoteVersionRequest(
            version=version, immediate=immediate, promotion_rate=rate
        )
    )


def shown(config: types_pb2.BlueGreenConfig) -> tuple[str, int, str, int]:
    return (
        config.blue_version,
        config.blue_weight,
        config.green_version,
        config.green_weight,
    )


async def test_before_any_change_the_first_version_is_active(
    versions: Versions,
) -> None:
    answer = await active(versions)
    assert answer.active_version == "v1"
    assert dict(answer.version_weights) == {"v1": 100, "v2": 0}
    assert shown(answer.config) == ("v1", 100, "v2", 0)
    assert not answer.config.canary_enabled
    assert not answer.config.HasField("deployment_started"), "nothing was deployed"


async def test_a_weight_splits_what_the_snapshot_serves(
    versions: Versions, database: DatabaseThreads
) -> None:
    answer = await set_weight(versions, "v2", 10)
    assert answer.success
    assert not answer.HasField("error")
    assert "v1 90 %, v2 10 %" in answer.message
    assert shown(answer.current_config) == ("v1", 90, "v2", 10)
    assert answer.current_config.canary_enabled
    assert answer.current_config.canary_percent == 10
    served = await database.run(snapshot)
    assert served.models["m"].split == (("v1", 90), ("v2", 10))
    (change,) = await database.run(lambda: traffic.history(5))
    started = answer.current_config.deployment_started
    assert started.ToMilliseconds() == int(change.at.timestamp() * 1000)


async def test_green_is_what_was_set_last_where_nothing_has_a_share(
    versions: Versions, database: DatabaseThreads
) -> None:
    await database.run(lambda: deploy("v3"))
    await set_weight(versions, "v3", 5)
    assert (await active(versions)).config.green_version == "v3"
    answer = await set_weight(versions, "v3", 0)
    assert shown(answer.current_config) == ("v1", 100, "v3", 0)
    assert not answer.current_config.canary_enabled
    await set_weight(versions, "v3", 5)
    answer = await set_weight(versions, "v2", 10)
    assert answer.current_config.green_version == "v2", "the larger share"
    await promote(versions, "v3", rate=1)
    config = (await active(versions)).config
    assert shown(config) == ("v1", 84, "v3", 6), "the one that is being promoted"


async def test_what_is_not_possible_is_refused(versions: Versions) -> None:
    invalid, unknown = (
        types_pb2.STATUS_CODE_INVALID_ARGUMENT,
        types_pb2.STATUS_CODE_NOT_FOUND,
    )
    for attempt, code, words in (
        (set_weight(versions, "v9", 10), unknown, "'v9'"),
        (set_weight(versions, "v2", 101), invalid, "0 to 100"),
        (set_weight(versions, "v2", -1), invalid, "0 to 100"),
        (set_weight(versions, "", 10), invalid, "Name the version"),
        (set_weight(versions, "\0", 10), unknown, "x00"),
        (promote(versions, "v9", immediate=True), unknown, "'v9'"),
        (promote(versions, "", immediate=True), invalid, "Name the version"),
        (promote(versions, "v2", rate=0), invalid, "1 to 100"),
        (promote(versions, "v2", rate=101), invalid, "1 to 100"),
        (versions.Rollback(rpc.RollbackRequest()), unknown, "active before"),
        (
            versions.Rollback(rpc.RollbackRequest(target_version="v9")),
            unknown,
            "'v9'",
        ),
    ):
        with pytest.raises(Refusal, match=words) as refused:
            await attempt
        assert refused.value.code == code
    assert dict((await active(versions)).version_weights) == {"v1": 100, "v2": 0}


async def test_a_promotion_at_once_and_back(versions: Versions) -> None:
    answer = await promote(versions, "v2", immediate=True)
    assert answer.success
    assert answer.promoted_version == "v2"
    state = await active(versions)
    assert state.active_version == "v2"
    assert shown(state.config) == ("v2", 100, "v1", 0)
    back = await versions.Rollback(rpc.RollbackRequest())
    assert back.success
    assert (back.previous_version, back.current_version) == ("v2", "v1")
    assert dict((await active(versions)).version_weights) == {"v1": 100, "v2": 0}


async def test_a_promotion_in_steps_is_shown_from_its_beginning(
    versions: Versions, database: DatabaseThreads
) -> None:
    answer = await promote(versions, "v2", rate=25)
    assert answer.success
    assert "v2 has 25 %" in answer.message
    promotion = await database.run(Promotion.objects.get)
    await database.run(lambda: traffic.step_promotion(promotion))
    state = await active(versions)
    assert state.active_version == "v1"
    assert shown(state.config) == ("v1", 50, "v2", 50)
    began = int(promotion.started_at.timestamp() * 1000)
    assert state.config.deployment_started.ToMilliseconds() == began
    back = await versions.Rollback(rpc.RollbackRequest())
    assert (back.previous_version, back.current_version) == ("v2", "v1")
    assert shown((await active(versions)).config) == ("v1", 100, "v2", 0)


async def test_a_promotion_whose_first_step_is_its_last_has_succeeded(
    versions: Versions,
) -> None:
    answer = await promote(versions, "v2", rate=100)
    assert answer.message == "v2 is active and has all traffic."
    assert (await active(versions)).active_version == "v2"


async def test_a_rollback_goes_to_its_target(versions: Versions) -> None:
    answer = await versions.Rollback(rpc.RollbackRequest(target_version="v2"))
    assert (answer.previous_version, answer.current_version) == ("v1", "v2")
    assert (await active(versions)).active_version == "v2"
