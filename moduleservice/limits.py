"""Rate limits over gRPC: the rows that the data plane enforces, within about a second."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from gateway.rate_limits import (
    RateLimit,
    RateLimitRefused,
    RateLimitUnknown,
    rate_limits,
    remove_rate_limit,
    set_rate_limit,
)
from moduleservice.base import Part, Refusal
from moduleservice.pb import module_service_pb2, types_pb2

T = TypeVar("T")


class Limits(Part):
    """GetRateLimits, SetRateLimit, ApplyRateLimit, RemoveRateLimit."""

    async def GetRateLimits(
        self, request: module_service_pb2.GetRateLimitsRequest
    ) -> module_service_pb2.GetRateLimitsResponse:
        """List all, or those of one target, those of operators among them."""
        found = await self._in_database(lambda: rate_limits(request.target))
        return module_service_pb2.GetRateLimitsResponse(
            limits=map(message_of, found), total_limits=len(found)
        )

    async def SetRateLimit(
        self, request: module_service_pb2.SetRateLimitRequest
    ) -> module_service_pb2.SetRateLimitResponse:
        """Make one so, instead of what has its id."""
        if not request.HasField("limit"):
            raise Refusal(
                types_pb2.STATUS_CODE_INVALID_ARGUMENT, "The request has no limit."
            )
        wanted = limit_in(request.limit)
        limit = await self._in_database(lambda: set_rate_limit(wanted))
        state = "holds within about a second"
        if not limit.enabled:
            state = "is kept, but not enforced: it is not enabled"
        return module_service_pb2.SetRateLimitResponse(
            success=True, message=f"Rate limit {limit.id} of {limit.target} {state}."
        )

    async def ApplyRateLimit(
        self, request: module_service_pb2.SetRateLimitRequest
    ) -> module_service_pb2.SetRateLimitResponse:
        """Do what SetRateLimit does."""
        return await self.SetRateLimit(request)

    async def RemoveRateLimit(
        self, request: module_service_pb2.RemoveRateLimitRequest
    ) -> module_service_pb2.RemoveRateLimitResponse:
        """Remove one, whoever made it."""
        await self._in_database(lambda: remove_rate_limit(request.limit_id))
        return module_service_pb2.RemoveRateLimitResponse(
            success=True, message=f"Rate limit {request.limit_id} is removed."
        )

    async def _in_database(self, work: Callable[[], T]) -> T:
        try:
            return await self.host.database.run(work)
        except RateLimitUnknown as error:
            raise Refusal(types_pb2.STATUS_CODE_NOT_FOUND, error.message) from error
        except RateLimitRefused as error:
            raise Refusal(
                types_pb2.STATUS_CODE_INVALID_ARGUMENT, error.message
            ) from error


def message_of(limit: RateLimit) -> types_pb2.RateLimit:
    """Write a rate limit as a message."""
    return types_pb2.RateLimit(
        limit_id=limit.id,
        target=limit.target,
        requests_per_second=limit.requests_per_second,
        requests_per_minute=limit.requests_per_minute,
        requests_per_hour=limit.requests_per_hour,
        burst_size=limit.burst_size,
        enabled=limit.enabled,
        metadata=limit.metadata,
    )


def limit_in(message: types_pb2.RateLimit) -> RateLimit:
    """Read a rate limit off a message."""
    return RateLimit(
        id=message.limit_id,
        target=message.target,
        requests_per_second=message.requests_per_second,
        requests_per_minute=message.requests_per_minute,
        requests_per_hour=message.requests_per_hour,
        burst_size=message.burst_size,
        enabled=message.enabled,
        metadata=dict(message.metadata),
    )
