"""The RPCs on versions: how traffic is split over them, promotion and rollback."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from gateway import traffic
from gateway.traffic import Standing, TrafficRefused, VersionUnknown
from moduleservice.base import Part, Refusal
from moduleservice.messages import timestamp
from moduleservice.pb import module_service_pb2, types_pb2

T = TypeVar("T")


class Versions(Part):
    """SetTrafficWeight, GetActiveVersion, PromoteVersion, Rollback.

    Weights belong to all replicas: whichever is asked, all follow.
    """

    async def SetTrafficWeight(
        self, request: module_service_pb2.SetTrafficWeightRequest
    ) -> module_service_pb2.SetTrafficWeightResponse:
        """Give a version so many percent of the requests; 0 also lets it drain."""
        version, weight = named(request.version), request.weight
        standing = await self._change(lambda: traffic.set_weight(version, weight))
        return module_service_pb2.SetTrafficWeightResponse(
            success=True,
            message=f"Traffic: {told(standing)}.",
            current_config=blue_green(standing),
        )

    async def GetActiveVersion(
        self, request: module_service_pb2.GetActiveVersionRequest
    ) -> module_service_pb2.GetActiveVersionResponse:
        """Say which version is active, and what share each one has."""
        standing = await self.host.database.run(traffic.standing)
        return module_service_pb2.GetActiveVersionResponse(
            active_version=standing.active_version,
            config=blue_green(standing),
            version_weights=standing.weights,
        )

    async def PromoteVersion(
        self, request: module_service_pb2.PromoteVersionRequest
    ) -> module_service_pb2.PromoteVersionResponse:
        """Make a version the active one, at once or in steps of `promotion_rate`."""
        version, rate = named(request.version), request.promotion_rate
        if request.immediate:
            await self._change(lambda: traffic.promote(version))
            message = f"{version} is active and has all traffic."
        else:
            standing = await self._change(
                lambda: traffic.begin_promotion(version, rate)
            )
            message = progress_of(version, standing, rate)
        return module_service_pb2.PromoteVersionResponse(
            success=True, message=message, promoted_version=version
        )

    async def Rollback(
        self, request: module_service_pb2.RollbackRequest
    ) -> module_service_pb2.RollbackResponse:
        """Give a version all traffic again.

        The answer's previous version is the one that it was taken from: active until
        then or, where the active one stays, the other one of blue and green.
        """
        target = request.target_version or None

        def roll_back() -> tuple[Standing, Standing]:
            return traffic.standing(), traffic.roll_back(target)

        before, after = await self._change(roll_back)
        previous = before.active_version
        if previous == after.active_version:
            previous = green_of(before)
        return module_service_pb2.RollbackResponse(
            success=True,
            message=f"{after.active_version} is active and has all traffic.",
            previous_version=previous,
            current_version=after.active_version,
        )

    async def _change(self, work: Callable[[], T]) -> T:
        try:
            return await self.host.database.run(work)
        except VersionUnknown as error:
            raise Refusal(types_pb2.STATUS_CODE_NOT_FOUND, error.message) from error
        except TrafficRefused as error:
            raise Refusal(
                types_pb2.STATUS_CODE_INVALID_ARGUMENT, error.message
            ) from error


def named(version: str) -> str:
    """Give the version of a request; raises Refusal when there is none."""
    if not version:
        raise Refusal(
            types_pb2.STATUS_CODE_INVALID_ARGUMENT, "Name the version it is about."
        )
    return version


def told(standing: Standing) -> str:
    """Write who has what share: `v1 90 %, v2 10 %`."""
    return ", ".join(
        f"{version} {weight} %" for version, weight in sorted(standing.weights.items())
    )


def progress_of(version: str, standing: Standing, rate: int) -> str:
    """Say how far a promotion in steps has come."""
    promotion = standing.promotion
    if promotion is None:
        return f"{version} is active and has all traffic."
    return (
        f"{version} has {standing.weights[version]} % of the traffic, and gets {rate} "
        f"more with each step, the next at {promotion.next_step_at.isoformat()}."
    )


def blue_green(standing: Standing) -> types_pb2.BlueGreenConfig:
    """Write how traffic is split as blue, the active version, and green beside it."""
    green = green_of(standing)
    green_weight = standing.weights.get(green, 0)
    promotion, change = standing.promotion, standing.last_change
    changed_at = None if change is None else change.at
    started_at = changed_at if promotion is None else promotion.started_at
    return types_pb2.BlueGreenConfig(
        blue_version=standing.active_version,
        green_version=green,
        blue_weight=standing.weights[standing.active_version],
        green_weight=green_weight,
        active_version=standing.active_version,
        canary_enabled=green_weight > 0,
        canary_percent=green_weight,
        deployment_started=timestamp(started_at),
    )


def green_of(standing: Standing) -> str:
    """Choose the version beside the active one; empty where there is no other.

    The one that is being promoted, else the one with the largest share, else the one
    that was changed last or was active before.
    """
    promoted = standing.promotion and standing.promotion.version
    changed = standing.last_change and standing.last_change.version

    def rank(version: str) -> tuple[bool, int, bool, bool]:
        return (
            version == promoted,
            standing.weights[version],
            version == changed,
            version == standing.previous_version,
        )

    others = sorted(standing.weights.keys() - {standing.active_version})
    return max(others, key=rank, default="")
