"""What may be done to the split of traffic over versions, and how it stands then."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.db import connections
from django.utils import timezone
from pytest_django import DjangoDbBlocker, Settings

from gateway import revision, traffic
from gateway.heartbeat import FRESH_S
from gateway.kinds import PromotionState, TrafficAction, WorkerState
from gateway.models import (
    Deployment,
    Heartbeat,
    Model,
    Promotion,
    Provider,
    TrafficChange,
    VersionWeight,
)
from gateway.traffic import Standing, TrafficRefused, VersionUnknown
from tests.postgresql import migrated_database


def deploy(*versions: str, **fields: object) -> None:
    model, _ = Model.objects.get_or_create(name="m")
    provider, _ = Provider.objects.get_or_create(
        name="p", kind="openai", base_url="http://127.0.0.1:1/v1"
    )
    for version in versions:
        Deployment.objects.create(
            model=model,
            provider=provider,
            upstream_model="m",
            version=version,
            **fields,
        )


def beat(
    instance: str,
    version: str,
    *,
    ago_s: float = 0,
    state: WorkerState = WorkerState.SERVING,
) -> None:
    now = timezone.now()
    Heartbeat.objects.create(
        worker=f"{instance}-{version}",
        instance=instance,
        run="r",
        pid=1,
        started_at=now,
        beat_at=now - timedelta(seconds=ago_s),
        config_revision=1,
        state=state,
        version=version,
    )


def actions() -> list[tuple[str, str]]:
    return [(row.action, row.version) for row in reversed(traffic.history(100))]


def given_weights(**weights: int) -> None:
    for version, weight in weights.items():
        VersionWeight.objects.create(version=version, weight=weight)


@pytest.fixture
def two(db: None) -> None:
    deploy("v1", "v2")


@pytest.mark.django_db
def test_where_nothing_was_set_the_first_version_is_active_and_has_all() -> None:
    deploy("v1", "v2")
    standing = traffic.standing()
    assert standing == Standing("v1", "", {"v1": 100, "v2": 0}, frozenset())


@pytest.mark.django_db
def test_an_installation_without_deployments_has_an_active_version() -> None:
    assert traffic.standing().weights == {"v1": 100}


@pytest.mark.usefixtures("two")
def test_a_weight_is_set_and_the_active_version_keeps_the_rest() -> None:
    before = revision.current()
    standing = traffic.set_weight("v2", 10, reason="a canary")
    assert standing.weights == {"v1": 90, "v2": 10}
    assert standing.active_version == "v1"
    assert revision.current() > before, "it serves soon"
    (change,) = traffic.history(10)
    assert (change.action, change.version) == (TrafficAction.SET_WEIGHT, "v2")
    assert change.weights == {"v1": 90, "v2": 10}
    assert change.reason == "a canary"


@pytest.mark.usefixtures("two")
def test_the_same_weight_once_more_changes_nothing() -> None:
    traffic.set_weight("v2", 10)
    before = revision.current()
    assert traffic.set_weight("v2", 10).weights == {"v1": 90, "v2": 10}
    assert revision.current() == before
    assert len(traffic.history(10)) == 1


@pytest.mark.usefixtures("two")
@pytest.mark.parametrize("weight", [-1, 101])
def test_a_weight_beyond_a_percentage_is_refused(weight: int) -> None:
    with pytest.raises(TrafficRefused, match="from 0 to 100"):
        traffic.set_weight("v2", weight)
    assert not VersionWeight.objects.exists()


@pytest.mark.usefixtures("two")
@pytest.mark.parametrize(
    "change",
    [
        lambda: traffic.set_weight("v9", 10),
        lambda: traffic.promote("v9"),
        lambda: traffic.begin_promotion("v9", 10),
        lambda: traffic.roll_back("v9"),
    ],
)
def test_a_version_that_nothing_bears_is_unknown(change: Callable[[], object]) -> None:
    traffic.begin_promotion("v2", 10)
    with pytest.raises(VersionUnknown, match="'v9'"):
        change()
    standing = traffic.standing()
    assert standing.promotion is not None, "what was refused has changed nothing"
    assert standing.weights == {"v1": 90, "v2": 10}


@pytest.mark.usefixtures("two")
def test_what_is_switched_off_may_be_weighted_but_not_promoted() -> None:
    deploy("v3", enabled=False)
    assert traffic.set_weight("v3", 5).weights == {"v1": 95, "v2": 0, "v3": 5}
    with pytest.raises(VersionUnknown, match="No enabled deployment"):
        traffic.promote("v3")


@pytest.mark.usefixtures("two")
def test_a_version_of_a_live_instance_is_known_and_of_one_that_ended_is_not() -> None:
    beat("east", "v3")
    beat("west", "v4", ago_s=FRESH_S + 1)
    beat("north", "v5", state=WorkerState.ENDED)
    assert traffic.set_weight("v3", 20).weights["v3"] == 20
    for version in ("v4", "v5"):
        with pytest.raises(VersionUnknown):
            traffic.set_weight(version, 20)


@pytest.mark.django_db
def test_where_only_one_version_is_deployed_live_instances_get_the_rest() -> None:
    deploy("v1")
    beat("east", "v1")
    beat("west", "v2")
    assert traffic.set_weight("v1", 40).weights == {"v1": 40, "v2": 60}
    traffic.promote("v2")
    assert traffic.set_weight("v1", 10).weights == {"v1": 10, "v2": 90}


@pytest.mark.django_db
def test_an_active_version_without_deployments_gets_nothing_that_they_could_have() -> (
    None
):
    deploy("blue", "green")
    beat("here", "v1")
    assert traffic.set_weight("green", 10).weights == {
        "v1": 0,
        "blue": 90,
        "green": 10,
    }


@pytest.mark.usefixtures("two")
def test_weights_written_by_hand_stand_as_they_are_until_one_is_set() -> None:
    given_weights(v1=30, v2=30)
    assert traffic.standing().weights == {"v1": 30, "v2": 30}
    assert traffic.set_weight("v2", 20).weights == {"v1": 80, "v2": 20}


@pytest.mark.usefixtures("two")
def test_a_promotion_at_once_gives_all_and_remembers_what_was_active() -> None:
    deploy("v3")
    traffic.set_weight("v3", 30)
    standing = traffic.promote("v2", reason="it is good")
    assert standing.weights == {"v1": 0, "v2": 100, "v3": 0}
    assert (standing.active_version, standing.previous_version) == ("v2", "v1")
    change = standing.last_change
    assert change is not None
    assert (change.active_version, change.previous_version) == ("v2", "v1")
    again = traffic.promote("v2")
    assert again.previous_version == "v1", "it is not its own predecessor"


@pytest.mark.usefixtures("two")
def test_a_promotion_in_steps_begins_at_once_and_ends_with_an_active_version(
    settings: Settings,
) -> None:
    settings.AILB_PROMOTION_STEP_S = 300
    standing = traffic.begin_promotion("v2", 40)
    assert standing.weights == {"v1": 60, "v2": 40}
    assert standing.active_version == "v1"
    promotion = standing.promotion
    assert promotion is not None
    waits_s = (promotion.next_step_at - promotion.started_at).total_seconds()
    assert waits_s == pytest.approx(300, abs=5)
    standing = traffic.step_promotion(promotion)
    assert standing.weights == {"v1": 20, "v2": 80}
    assert standing.promotion is not None
    standing = traffic.step_promotion(standing.promotion)
    assert standing.weights == {"v1": 0, "v2": 100}
    assert (standing.active_version, standing.previous_version) == ("v2", "v1")
    assert standing.promotion is None
    ended = Promotion.objects.get()
    assert ended.state == PromotionState.FINISHED
    assert ended.ended_at is not None
    assert actions() == [(TrafficAction.PROMOTION_STEP, "v2")] * 3


@pytest.mark.usefixtures("two")
def test_a_step_that_another_process_has_made_is_not_made_twice() -> None:
    seen = traffic.begin_promotion("v2", 10).promotion
    assert seen is not None
    traffic.step_promotion(seen)
    assert traffic.step_promotion(seen).weights == {"v1": 80, "v2": 20}
    traffic.set_weight("v2", 5)
    assert traffic.step_promotion(seen).weights == {"v1": 95, "v2": 5}


@pytest.mark.usefixtures("two")
@pytest.mark.parametrize("step", [0, -5, 101])
def test_a_step_beyond_a_percentage_is_refused(step: int) -> None:
    with pytest.raises(TrafficRefused, match="from 1 to 100"):
        traffic.begin_promotion("v2", step)
    assert not Promotion.objects.exists()


@pytest.mark.usefixtures("two")
@pytest.mark.parametrize(
    ("change", "state"),
    [
        (lambda: traffic.set_weight("v2", 10), PromotionState.CANCELLED),
        (lambda: traffic.promote("v2"), PromotionState.CANCELLED),
        (lambda: traffic.begin_promotion("v2", 50), PromotionState.CANCELLED),
        (lambda: traffic.roll_back(None), PromotionState.ROLLED_BACK),
    ],
)
def test_every_other_change_ends_a_promotion(
    change: Callable[[], Standing], state: PromotionState
) -> None:
    begun = traffic.begin_promotion("v2", 10).promotion
    assert begun is not None
    change()
    begun.refresh_from_db()
    assert begun.state == state
    assert begun.reason
    assert begun.ended_at is not None
    assert len(actions()) == 2, "also if no weight is another than before"


@pytest.mark.usefixtures("two")
def test_a_rollback_takes_back_a_canary() -> None:
    traffic.set_weight("v2", 10)
    standing = traffic.roll_back(
        None, reason="worse", action=TrafficAction.AUTOMATIC_ROLLBACK
    )
    assert standing.weights == {"v1": 100, "v2": 0}
    assert (standing.active_version, standing.previous_version) == ("v1", "")
    assert standing.last_change is not None
    assert standing.last_change.action == TrafficAction.AUTOMATIC_ROLLBACK
    assert standing.last_change.reason == "worse"


@pytest.mark.usefixtures("two")
def test_a_rollback_of_what_has_all_goes_to_the_version_before() -> None:
    traffic.promote("v2")
    standing = traffic.roll_back(None)
    assert standing.weights == {"v1": 100, "v2": 0}
    assert (standing.active_version, standing.previous_version) == ("v1", "v2")


@pytest.mark.usefixtures("two")
def test_a_rollback_without_anything_before_is_refused() -> None:
    with pytest.raises(VersionUnknown, match="no version was active before"):
        traffic.roll_back(None)


@pytest.mark.usefixtures("two")
def test_a_rollback_goes_where_it_is_told() -> None:
    deploy("v3")
    traffic.promote("v2")
    standing = traffic.roll_back("v3")
    assert standing.weights == {"v1": 0, "v2": 0, "v3": 100}
    assert (standing.active_version, standing.previous_version) == ("v3", "v2")


@pytest.mark.usefixtures("two")
def test_a_rollback_to_a_version_that_nothing_serves_any_more_is_refused() -> None:
    traffic.promote("v2")
    Deployment.objects.filter(version="v1").delete()
    with pytest.raises(VersionUnknown, match="'v1'"):
        traffic.roll_back(None)


@pytest.mark.usefixtures("two")
def test_a_version_drains_by_order_until_it_has_a_weight_again() -> None:
    assert traffic.set_weight("v2", 0).draining == {"v2"}
    assert traffic.promote("v1").draining == {"v2"}
    assert traffic.set_weight("v2", 1).draining == frozenset()
    assert traffic.promote("v2").draining == frozenset()


@pytest.mark.usefixtures("two")
def test_one_instance_that_serves_both_does_not_drain_when_one_is_promoted() -> None:
    beat("here", "v1")
    assert traffic.promote("v2").draining == frozenset()


@pytest.mark.usefixtures("two")
def test_the_instances_of_the_old_version_drain_where_others_bear_the_new_one() -> None:
    beat("here", "v1")
    beat("there", "v2")
    assert traffic.promote("v2").draining == {"v1"}
    assert traffic.roll_back(None).draining == {"v2"}
    begun = traffic.begin_promotion("v2", 50)
    assert begun.draining == frozenset()
    assert begun.promotion is not None
    assert traffic.step_promotion(begun.promotion).draining == {"v1"}


@pytest.mark.usefixtures("two")
def test_the_history_is_newest_first_and_no_longer_than_asked_for() -> None:
    for weight in (10, 20, 30):
        traffic.set_weight("v2", weight)
    assert [row.weights["v2"] for row in traffic.history(2)] == [30, 20]
    assert TrafficChange.objects.count() == 3


@pytest.fixture
def postgresql(
    postgresql_template: str, django_db_blocker: DjangoDbBlocker
) -> Iterator[str]:
    with (
        django_db_blocker.unblock(),
        migrated_database(postgresql_template) as alias,
    ):
        yield alias


def test_processes_that_step_at_once_on_postgresql_make_one_step(
    postgresql: str,
) -> None:
    """Each thread has a connection, as each process would."""
    own = connections["default"]

    def at_once(work: Callable[[], Standing]) -> Standing:
        connections["default"] = connections[postgresql]
        try:
            return work()
        finally:
            connections[postgresql].close()

    try:
        connections["default"] = connections[postgresql]
        deploy("v1", "v2")
        seen = traffic.begin_promotion("v2", 10).promotion
        assert seen is not None
        with ThreadPoolExecutor(4) as threads:
            steps = threads.map(at_once, [lambda: traffic.step_promotion(seen)] * 4)
        assert {step.weights["v2"] for step in steps} == {20}
        assert traffic.standing().weights == {"v1": 80, "v2": 20}
        assert len(actions()) == 2
    finally:
        connections["default"] = own
