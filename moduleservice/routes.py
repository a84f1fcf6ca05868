"""The RPCs on routes: read, changed and deleted as rows, and which can be handled."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TypeVar

from django.conf import settings

from gateway import reports, route_rows
from gateway.errors import ClientError, ConfigurationError, Conflict, NotFound, NotReady
from gateway.route_rows import RouteChange
from gateway.snapshot_store import DATABASE_AWAY
from moduleservice.base import Part, Refusal
from moduleservice.handling import Known, Report, judge
from moduleservice.pb import module_service_pb2, types_pb2
from moduleservice.route_messages import ignored, int32, route_change, route_message
from moduleservice.route_queries import select

T = TypeVar("T")

MAX_ROUTES = 500  # of one change
HEALTH_LIMIT_S = 1.0  # how long an answer waits for what workers have reported


class Routes(Part):
    """GetRoutes, UpdateRoutes, DeleteRoute, CanHandle.

    Routes belong to all replicas: whichever is asked, all follow.
    """

    async def GetRoutes(
        self, request: module_service_pb2.GetRoutesRequest
    ) -> module_service_pb2.GetRoutesResponse:
        """List routes, filtered, sorted and a page at a time."""
        rows = await self.host.database.run(route_rows.routes)
        page = select(rows, request.query)
        return module_service_pb2.GetRoutesResponse(
            routes=map(route_message, page.routes),
            total_routes=page.pagination.total_items,
            pagination=page.pagination,
        )

    async def UpdateRoutes(
        self, request: module_service_pb2.UpdateRoutesRequest
    ) -> module_service_pb2.UpdateRoutesResponse:
        """Make or change routes, all of them or none; they serve within about a second."""
        if len(request.routes) > MAX_ROUTES:
            raise Refusal(
                types_pb2.STATUS_CODE_INVALID_ARGUMENT,
                f"At most {MAX_ROUTES} routes can be changed at a time.",
            )
        changes = list(map(route_change, request.routes))
        count = await self._change(
            lambda: route_rows.update_routes(changes, replace_all=request.replace_all)
        )
        return module_service_pb2.UpdateRoutesResponse(
            success=True,
            message=told(changes, count, ignored(request.routes)),
            routes_updated=count,
        )

    async def DeleteRoute(
        self, request: module_service_pb2.DeleteRouteRequest
    ) -> module_service_pb2.DeleteRouteResponse:
        """Delete a model with its deployments and limits."""
        name = request.route_id
        await self._change(lambda: route_rows.delete_route(name))
        return module_service_pb2.DeleteRouteResponse(
            success=True, message=f"Route {name!r} is deleted."
        )

    async def CanHandle(
        self, request: module_service_pb2.CanHandleRequest
    ) -> module_service_pb2.CanHandleResponse:
        """Say whether a route can be handled now, with the reason."""
        try:
            snapshot = self.host.snapshot()
        except NotReady as error:
            return module_service_pb2.CanHandleResponse(reason=error.message)
        known = Known(
            snapshot=snapshot,
            version=self.host.version,
            has_documents=settings.ENABLE_RAG,
            reports=await self._live_reports(),
        )
        verdict = judge(request.route, request.context, known)
        return module_service_pb2.CanHandleResponse(
            can_handle=verdict.can_handle,
            priority=int32(verdict.priority),
            reason=verdict.reason,
            metadata=verdict.metadata,
        )

    async def _live_reports(self) -> list[Report] | None:
        """Read what live workers say; None while the database does not answer."""
        try:
            async with asyncio.timeout(HEALTH_LIMIT_S):
                found = await self.host.database.run(
                    lambda: reports.other_reports(worker="")
                )
        except (TimeoutError, *DATABASE_AWAY):
            return None
        return [report for report, is_live in found if is_live]

    async def _change(self, work: Callable[[], T]) -> T:
        """Run a change of rows; what it refuses is told in words."""
        try:
            return await self.host.database.run(work)
        except NotFound as error:
            code = types_pb2.STATUS_CODE_NOT_FOUND
            raise Refusal(code, error.message) from error
        except Conflict as error:
            code = types_pb2.STATUS_CODE_PERMISSION_DENIED
            raise Refusal(code, error.message) from error
        except (ClientError, ConfigurationError) as error:
            code = types_pb2.STATUS_CODE_INVALID_ARGUMENT
            raise Refusal(code, error.message) from error


def told(changes: Sequence[RouteChange], count: int, not_kept: Sequence[str]) -> str:
    """Say what an update did, and what it did not keep."""
    words = f"{len(changes)} routes were given, {count} were changed or deleted."
    if not_kept:
        words += f" AILB does not look at: {', '.join(not_kept)}."
    return words
