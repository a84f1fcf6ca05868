"""ModuleService: how many HTTP workers this instance has, and its end."""

from __future__ import annotations

import asyncio
import time

from moduleservice.base import Part, Refusal, Supervisor, SupervisorAway, Workers
from moduleservice.pb import module_service_pb2, types_pb2
from moduleservice.supervisor_orders import MOST_WORKERS

WAIT_S = 30.0
POLL_S = 0.1


class Processes(Part):
    """Scale and Shutdown, by the supervisor of this instance."""

    async def Scale(
        self, request: module_service_pb2.ScaleRequest
    ) -> module_service_pb2.ScaleResponse:
        """Bring the number of workers within the bounds; with immediate, await them."""
        supervisor = self._supervisor(request.instance_id, "Scale")
        config = request.config
        if config.auto_scaling_enabled:
            raise Refusal(
                types_pb2.STATUS_CODE_INVALID_ARGUMENT,
                "AILB does not scale by itself: leave auto_scaling_enabled out and give "
                "min_instances or max_instances, the number of HTTP workers.",
            )
        low, high = bounds(config.min_instances, config.max_instances)
        try:
            workers = await supervisor.workers()
            desired = min(max(workers.wanted, low), high)
            if desired != workers.wanted:
                workers = await supervisor.scale(desired)
            if request.immediate:
                workers = await await_workers(supervisor, desired)
        except SupervisorAway as error:
            raise unavailable(error) from error
        return scaled(workers, desired)

    async def Shutdown(
        self, request: module_service_pb2.ShutdownRequest
    ) -> module_service_pb2.ShutdownResponse:
        """Begin to stop this instance; the answer leaves before the process ends."""
        supervisor = self._supervisor(request.instance_id, "Shutdown")
        timeout_s = request.timeout_seconds
        if timeout_s < 0:
            raise Refusal(
                types_pb2.STATUS_CODE_INVALID_ARGUMENT,
                "timeout_seconds must be 0 (as configured) or more.",
            )
        try:
            await supervisor.stop(
                is_graceful=request.graceful, timeout_s=timeout_s or None
            )
        except SupervisorAway as error:
            raise unavailable(error) from error
        how = "requests under way may end" if request.graceful else "at once"
        return module_service_pb2.ShutdownResponse(
            success=True, message=f"{self.host.instance} stops, {how}."
        )

    def _supervisor(self, instance_id: str, rpc: str) -> Supervisor:
        """Find who can do it; nobody here can for another instance."""
        if not self.host.is_own(instance_id):
            raise Refusal(
                types_pb2.STATUS_CODE_INVALID_ARGUMENT,
                f"This is {self.host.instance}, which cannot do {rpc} for {instance_id}: "
                f"ask the ModuleService of {instance_id} itself.",
                details={"instance_id": instance_id},
            )
        if self.host.supervisor is None:
            raise Refusal(
                types_pb2.STATUS_CODE_UNAVAILABLE,
                "Nothing here runs the HTTP workers: this gRPC process was started by "
                "itself. `manage.py serve` runs both.",
            )
        return self.host.supervisor


def bounds(low: int, high: int) -> tuple[int, int]:
    """Read the least and the most workers, where 0 is not given.

    Raises:
        Refusal: INVALID_ARGUMENT, they are no bounds.

    """
    if low < 0 or high < 0 or max(low, high) > MOST_WORKERS:
        problem = f"must be from 1 to {MOST_WORKERS}, or 0 for no bound"
    elif high and low > high:
        problem = f"contradict each other: {low} is more than {high}"
    else:
        return low or 1, high or MOST_WORKERS
    raise Refusal(
        types_pb2.STATUS_CODE_INVALID_ARGUMENT,
        f"min_instances and max_instances {problem}.",
    )


async def await_workers(supervisor: Supervisor, desired: int) -> Workers:
    """Wait, half a minute at most, until as many run as are wanted.

    Raises:
        SupervisorAway: It has gone meanwhile.

    """
    deadline_s = time.monotonic() + WAIT_S
    while True:
        workers = await supervisor.workers()
        is_settled = workers.wanted != desired or workers.running == desired
        if is_settled or time.monotonic() > deadline_s:
            return workers
        await asyncio.sleep(POLL_S)


def scaled(workers: Workers, desired: int) -> module_service_pb2.ScaleResponse:
    """Say how many there are and will be; no success if it was not to be."""
    answer = module_service_pb2.ScaleResponse(
        success=workers.wanted == desired,
        message=f"{workers.running} of {workers.wanted} workers run.",
        current_instances=workers.running,
        desired_instances=workers.wanted,
    )
    if not answer.success:
        answer.message = (
            f"{workers.wanted} workers are wanted now and not {desired}: the new ones "
            "did not get ready, or another call came in between."
        )
        answer.error.code = types_pb2.STATUS_CODE_ERROR
        answer.error.message = answer.message
        answer.error.occurred_at.GetCurrentTime()
    return answer


def unavailable(error: SupervisorAway) -> Refusal:
    """Say that the supervisor cannot be reached."""
    return Refusal(
        types_pb2.STATUS_CODE_UNAVAILABLE, str(error) or "The supervisor has gone."
    )
