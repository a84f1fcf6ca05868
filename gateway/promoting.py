"""Background work on the split of traffic: promotion in steps, automatic rollback."""

from __future__ import annotations

import logging
from collections.abc import Hashable, Iterator
from datetime import datetime, timedelta

from gateway import traffic
from gateway.heartbeat import FRESH_S
from gateway.kinds import PromotionState, TrafficAction
from gateway.models import Heartbeat, Promotion, TrafficPolicy
from gateway.operations import exclusive
from gateway.routing.comparison import (
    Margins,
    Reading,
    Tally,
    VersionFigures,
    worse_by,
)

logger = logging.getLogger(__name__)


class Promoter:
    """Looks after promotions and weights. Blocks; for one thread.

    What is to be done stands in rows, so another process goes on where this one stopped;
    only the counts that versions are compared by begin anew with it.
    """

    def __init__(self) -> None:
        """Know of no counts yet."""
        self._tally = Tally()

    def do_round(self, now: datetime) -> bool:
        """Take back a version that does worse, else make the step that is due.

        Any number of processes may do this at once: each step is made by one of them.
        False: there is never more to do at once.

        Raises:
            django.db.Error: The database is away.

        """
        if not self._take_back_worse():
            step_if_due(now)
        return False

    def _take_back_worse(self) -> bool:
        """Compare every version that has a share with the active one; say if one went."""
        policy = TrafficPolicy.objects.filter(is_automatic=True).first()
        if policy is None:
            return False
        standing = traffic.standing()
        active = standing.active_version
        shared = {version for version, weight in standing.weights.items() if weight}
        if shared <= {active}:
            return False
        figures = self._tally.since(trial_of(standing), readings(standing))
        for other in sorted(shared - {active}):
            reason = worse_by(
                figures, active=active, other=other, margins=margins_of(policy)
            )
            if reason is not None:
                return take_back(other, standing, reason)
        return False


def margins_of(policy: TrafficPolicy) -> Margins:
    """Give what the policy allows."""
    return Margins(
        error_percent=policy.error_margin_percent,
        ttft_percent=policy.ttft_margin_percent,
        minimum_requests=policy.minimum_requests,
    )


def trial_of(standing: traffic.Standing) -> Hashable:
    """Name what versions are compared over: a promotion with all its steps, or a split.

    A step alone may be too short for requests enough. Weights written past the history
    are another split.
    """
    if standing.promotion is not None:
        return "promotion", standing.promotion.pk
    change = standing.last_change
    weights = tuple(sorted(standing.weights.items()))
    return change.pk if change else None, standing.active_version, weights


def beginning_of(standing: traffic.Standing) -> datetime | None:
    """Give when the present trial began, if that is known."""
    if standing.promotion is not None:
        return standing.promotion.started_at
    return standing.last_change.at if standing.last_change else None


def readings(standing: traffic.Standing) -> Iterator[Reading]:
    """Read what every worker has counted that was live when the trial began, or later."""
    rows = Heartbeat.objects.order_by()
    began_at = beginning_of(standing)
    if began_at is not None:
        rows = rows.filter(beat_at__gte=began_at - timedelta(seconds=FRESH_S))
    for row in rows:
        yield Reading(
            worker=row.worker,
            is_new=began_at is not None and row.started_at >= began_at,
            versions={
                version: VersionFigures.from_dict(said)
                for version, said in row.report.get("versions", {}).items()
            },
        )


def take_back(other: str, judged: traffic.Standing, reason: str) -> bool:
    """Give the active version all traffic; False if another trial has begun."""
    with exclusive():
        if trial_of(traffic.standing()) != trial_of(judged):
            return False
        traffic.roll_back(
            judged.active_version,
            reason=reason,
            action=TrafficAction.AUTOMATIC_ROLLBACK,
        )
    logger.warning(
        "a version was taken back",
        extra={"version": other, "active": judged.active_version, "reason": reason},
    )
    return True


def step_if_due(now: datetime) -> None:
    """Make the running promotion's next step, if it is time and nobody else has."""
    due = Promotion.objects.filter(
        state=PromotionState.RUNNING, next_step_at__lte=now
    ).first()
    if due is not None:
        traffic.step_promotion(due)
