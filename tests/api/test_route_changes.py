"""Routes that a load balancer changes over gRPC, in a gateway that runs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

from django.db import connections

from gateway.snapshot import Snapshot
from moduleservice.base import Host
from moduleservice.pb import module_service_pb2 as rpc, types_pb2
from moduleservice.routes import Routes
from tests.api.gateway_process import Gateway, fresh, wait_until
from tests.upstreams.simulators import running_simulator

T = TypeVar("T")

SOON_S = 2.0


class DatabaseOf:
    """The gateway's database, for the parts of this process."""

    def __init__(self, gateway: Gateway) -> None:
        self._alias = gateway.alias

    async def run(self, work: Callable[[], T]) -> T:
        return await asyncio.to_thread(self._do, work)

    def _do(self, work: Callable[[], T]) -> T:
        connections["default"] = connections[self._alias]
        try:
            return work()
        finally:
            connections[self._alias].close()


def no_snapshot() -> Snapshot:
    raise AssertionError("routes are rows")


def test_a_route_serves_soon_after_it_is_added_and_no_more_when_it_is_deleted(
    gateway: Gateway,
) -> None:
    routes = Routes(Host("own", "v1", DatabaseOf(gateway), no_snapshot))
    name, provider = fresh("routed"), fresh("provider")
    with running_simulator() as sim:
        gateway.add_provider(provider, "openai", sim)
        gateway.apply()
        assert gateway.client.chat(name).status == 404
        added = types_pb2.Route(
            route_id=name,
            metadata={"deployments": f'[{{"provider": "{provider}"}}]'},
        )
        answer = asyncio.run(
            routes.UpdateRoutes(rpc.UpdateRoutesRequest(routes=[added]))
        )
        assert answer.success
        wait_until(
            lambda: gateway.client.chat(name).status == 200,
            "the new route serves",
            limit_s=SOON_S,
        )
        asyncio.run(routes.DeleteRoute(rpc.DeleteRouteRequest(route_id=name)))
        wait_until(
            lambda: gateway.client.chat(name).status == 404,
            "the deleted route is gone",
            limit_s=SOON_S,
        )
