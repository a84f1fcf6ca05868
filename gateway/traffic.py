"""The split of traffic over versions: how it stands, and what may be done to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from django.conf import settings
from django.db.models import QuerySet
from django.utils import timezone

from gateway.heartbeat import FRESH_S
from gateway.kinds import PromotionState, TrafficAction, WorkerState
from gateway.models import (
    Deployment,
    Heartbeat,
    Promotion,
    TrafficChange,
    TrafficPolicy,
    VersionWeight,
)
from gateway.operations import exclusive
from gateway.routing.shares import WHOLE, rebalanced

MAX_REASON = 500


class TrafficRefused(Exception):
    """What cannot be done, in words for whoever asked."""

    def __init__(self, message: str) -> None:
        """Take the words."""
        super().__init__(message)
        self.message = message


class VersionUnknown(TrafficRefused):
    """There is no such version, or nothing of it that could serve."""


@dataclass(frozen=True, slots=True)
class Standing:
    """How traffic is split. `weights` are in percent, of every version that is known.

    `previous_version` is empty where none was active before. `promotion` is the one that
    runs; `last_change` the newest row of the history.
    """

    active_version: str
    previous_version: str
    weights: Mapping[str, int]
    draining: frozenset[str]
    promotion: Promotion | None = None
    last_change: TrafficChange | None = None


@dataclass(frozen=True, slots=True)
class _Change:
    action: TrafficAction
    version: str
    weights: Mapping[str, int]
    active: str
    reason: str = ""


def standing() -> Standing:
    """Read how traffic is split.

    Raises:
        django.db.Error: The database is away.

    """
    policy = TrafficPolicy.objects.filter(id=1).first() or TrafficPolicy()
    rows = list(VersionWeight.objects.all())
    active = policy.active_version
    known = dict.fromkeys(sorted(_deployed() | {active}), 0)
    weights = {row.version: row.weight for row in rows} if rows else {active: WHOLE}
    return Standing(
        active_version=active,
        previous_version=policy.previous_version,
        weights=known | weights,
        draining=frozenset(row.version for row in rows if row.is_draining),
        promotion=Promotion.objects.filter(state=PromotionState.RUNNING).first(),
        last_change=TrafficChange.objects.first(),
    )


def history(limit: int) -> list[TrafficChange]:
    """Read what was done, newest first."""
    return list(TrafficChange.objects.all()[:limit])


def set_weight(version: str, weight: int, *, reason: str = "") -> Standing:
    """Give a version a share of the requests, in percent; the others get the rest.

    With 0 its instances drain. A promotion that runs is cancelled.

    Raises:
        TrafficRefused: The weight is not within 0 to 100.
        VersionUnknown: No deployment, no weight and no live instance is of it.

    """
    if not 0 <= weight <= WHOLE:
        raise TrafficRefused(f"A weight is a percentage from 0 to 100, not {weight}.")
    with exclusive():
        before = standing()
        _check_known(version, before)
        _end_promotion(before, PromotionState.CANCELLED, "A weight was set.")
        change = _Change(
            TrafficAction.SET_WEIGHT,
            version,
            _rebalanced(before, version, weight),
            before.active_version,
            reason,
        )
        return _apply(before, change)


def set_draining(version: str, *, is_draining: bool) -> None:
    """Have the instances of a version say that they are not ready, or no longer say so.

    The weights stay; the next change of them decides anew. Nothing to do is no change.

    Raises:
        VersionUnknown: No deployment, no weight and no live instance is of it.

    """
    with exclusive():
        before = standing()
        _check_known(version, before)
        if (version in before.draining) is is_draining:
            return
        for name, weight in {version: 0, **before.weights}.items():
            row, _ = VersionWeight.objects.get_or_create(
                version=name, defaults={"weight": weight}
            )
            if name == version:
                row.is_draining = is_draining
                row.save()


def promote(
    version: str, *, reason: str = "", action: TrafficAction = TrafficAction.PROMOTE
) -> Standing:
    """Make a version the active one, with all traffic, at once.

    A promotion that runs is cancelled.

    Raises:
        VersionUnknown: No enabled deployment and no live instance is of it.

    """
    with exclusive():
        before = standing()
        _check_borne(version)
        _end_promotion(before, PromotionState.CANCELLED, f"{version} was promoted.")
        return _apply(before, _all_to(version, before, action, reason))


def begin_promotion(version: str, step_percent: int) -> Standing:
    """Promote in steps: the first at once, the others by `step_promotion`.

    A promotion that runs is cancelled.

    Raises:
        TrafficRefused: The step is not within 1 to 100 percentage points.
        VersionUnknown: No enabled deployment and no live instance is of it.

    """
    if not 1 <= step_percent <= WHOLE:
        raise TrafficRefused(
            "The rate of a promotion is the percentage points that each step adds, "
            f"from 1 to 100, not {step_percent}."
        )
    with exclusive():
        before = standing()
        _check_borne(version)
        _end_promotion(
            before, PromotionState.CANCELLED, f"A promotion of {version} was begun."
        )
        now = timezone.now()
        promotion = Promotion.objects.create(
            version=version, step_percent=step_percent, started_at=now, next_step_at=now
        )
        return _step(before, promotion)


def step_promotion(promotion: Promotion) -> Standing:
    """Take the next step of a promotion, which makes its version active at 100 percent.

    Does nothing if it has ended, or has gone on, since `promotion` was read. It is
    cancelled when nothing that could serve bears the version any more.
    """
    with exclusive():
        before = standing()
        running = before.promotion
        is_same = (
            running is not None
            and running.pk == promotion.pk
            and running.next_step_at == promotion.next_step_at
        )
        if not (running and is_same):
            return before
        try:
            _check_borne(running.version)
        except VersionUnknown as error:
            _end_promotion(before, PromotionState.CANCELLED, error.message)
            return standing()
        return _step(before, running)


def cancel_promotion(*, reason: str) -> Standing:
    """End a promotion that runs and leave the weights as it has set them."""
    with exclusive():
        _end_promotion(standing(), PromotionState.CANCELLED, reason)
        return standing()


def roll_back(
    target: str | None,
    *,
    reason: str = "",
    action: TrafficAction = TrafficAction.ROLLBACK,
) -> Standing:
    """Give a version all traffic again and make it active; ends a promotion that runs.

    Without a target: the active version, if it shares its traffic or is being replaced,
    else the one that was active before.

    Raises:
        VersionUnknown: There is none to go back to, or no enabled deployment and no live
            instance is of it.

    """
    with exclusive():
        before = standing()
        version = target or _return_point(before)
        _check_borne(version)
        _end_promotion(
            before, PromotionState.ROLLED_BACK, reason or f"Rolled back to {version}."
        )
        return _apply(before, _all_to(version, before, action, reason))


def _return_point(before: Standing) -> str:
    active = before.active_version
    others = [weight for name, weight in before.weights.items() if name != active]
    if before.promotion or any(others) or not before.weights[active]:
        return active
    if not before.previous_version:
        raise VersionUnknown(
            f"{active} has all traffic, and no version was active before it."
        )
    return before.previous_version


def _all_to(
    version: str, before: Standing, action: TrafficAction, reason: str
) -> _Change:
    weights = {**dict.fromkeys(before.weights, 0), version: WHOLE}
    return _Change(action, version, weights, version, reason)


def _step(before: Standing, promotion: Promotion) -> Standing:
    version, now = promotion.version, timezone.now()
    weight = min(before.weights.get(version, 0) + promotion.step_percent, WHOLE)
    active = before.active_version
    if weight == WHOLE:
        promotion.state, promotion.ended_at = PromotionState.FINISHED, now
        active = version
    else:
        step = timedelta(seconds=settings.AILB_PROMOTION_STEP_S)
        promotion.next_step_at = now + step
    promotion.save()
    weights = _rebalanced(before, version, weight)
    action = TrafficAction.PROMOTION_STEP
    return _apply(before, _Change(action, version, weights, active))


def _rebalanced(before: Standing, version: str, weight: int) -> dict[str, int]:
    """Set one weight; what it leaves goes to versions of the same sort.

    Of deployments if it is one that deployments bear, else of any that serve.
    """
    deployed, live = _deployed(), set(_live())
    peers = deployed if version in deployed else deployed | live
    heirs = peers - {version} or live
    return rebalanced(
        before.weights, version, weight, active=before.active_version, heirs=heirs
    )


def _end_promotion(before: Standing, state: PromotionState, reason: str) -> None:
    promotion = before.promotion
    if promotion is not None:
        promotion.state, promotion.ended_at = state, timezone.now()
        promotion.reason = reason[:MAX_REASON]
        promotion.save()


def _apply(before: Standing, change: _Change) -> Standing:
    """Write what differs, and a row of the history unless nothing was to do."""
    has_changed = _write_weights(before, change)
    if change.active != before.active_version:
        TrafficPolicy.objects.update_or_create(
            id=1,
            defaults={
                "active_version": change.active,
                "previous_version": before.active_version,
            },
        )
    is_repeated = change.action is TrafficAction.SET_WEIGHT and not before.promotion
    if has_changed or not is_repeated:
        TrafficChange.objects.create(
            action=change.action,
            version=change.version,
            active_version=change.active,
            previous_version=before.active_version,
            weights=dict(change.weights),
            reason=change.reason[:MAX_REASON],
        )
    return standing()


def _write_weights(before: Standing, change: _Change) -> bool:
    rows = {row.version: row for row in VersionWeight.objects.all()}
    live = _live()
    has_changed = False
    for version, weight in change.weights.items():
        row = rows.get(version) or VersionWeight(version=version)
        stood = row.weight, row.is_draining
        row.weight = weight
        row.is_draining = _drains(version, row, before, change, live)
        if version not in rows or stood != (row.weight, row.is_draining):
            row.save()
            has_changed = True
    return has_changed


def _drains(
    version: str,
    row: VersionWeight,
    before: Standing,
    change: _Change,
    live: Mapping[str, set[str]],
) -> bool:
    """Say whether a version's instances are to drain.

    By order, when its weight is set to 0; and when another version takes all it had,
    but only if instances other than its own serve that one: an installation that serves
    both goes on.
    """
    if row.weight:
        return False
    if version == change.version:
        return True
    if not before.weights.get(version):
        return row.is_draining
    own = live.get(version, set())
    return bool(live.get(change.version, set()) - own)


def _check_known(version: str, before: Standing) -> None:
    is_known = (
        version in before.weights
        or version in _live()
        or version in _labels(Deployment.objects.all())
    )
    if not is_known:
        raise VersionUnknown(
            f"No deployment and no live instance has the version label {version!r}."
        )


def _check_borne(version: str) -> None:
    if version not in _deployed() and version not in _live():
        raise VersionUnknown(
            f"No enabled deployment and no live instance has the version label "
            f"{version!r}."
        )


def _deployed() -> set[str]:
    """Give the labels that deployments bear which may serve."""
    return _labels(
        Deployment.objects.filter(
            enabled=True, provider__enabled=True, model__enabled=True
        )
    )


def _labels(rows: QuerySet[Deployment]) -> set[str]:
    return set(rows.order_by().values_list("version", flat=True).distinct())


def _live() -> dict[str, set[str]]:
    """Give the instances that were heard of lately, by their version label."""
    since = timezone.now() - timedelta(seconds=FRESH_S)
    rows = Heartbeat.objects.filter(beat_at__gte=since).exclude(state=WorkerState.ENDED)
    found: dict[str, set[str]] = {}
    for version, instance in rows.values_list("version", "instance"):
        found.setdefault(version, set()).add(instance)
    return found
