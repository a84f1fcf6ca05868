"""What stands for an instance in the tests of its registration with the NLB."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from moduleservice.account import Account
from moduleservice.instructions import Effects
from moduleservice.nlb import NlbAddress, read_address
from moduleservice.pb import types_pb2
from moduleservice.registration import Pace, Registration

FAST = Pace(
    heartbeat_s=0.05,
    look_s=0.01,
    call_limit_s=0.3,
    unregister_limit_s=0.3,
    leave_limit_s=0.6,
)
SELDOM = replace(FAST, heartbeat_s=60)


@dataclass(eq=False)
class Module:
    """What stands for an instance here: its facts, and what was done to it."""

    revision: int = 1
    instance: types_pb2.ModuleInstance = field(
        default_factory=lambda: types_pb2.ModuleInstance(
            instance_id="ailb-7",
            module_type=types_pb2.MODULE_TYPE_AILB,
            address="10.0.0.7:50051",
            health_status=types_pb2.HEALTH_STATUS_HEALTHY,
            version="v1",
            traffic_weight=100,
        )
    )
    requests: int = 0
    models: list[str] = field(default_factory=lambda: ["gpt-4"])
    versions: str = "v1"
    done: list[str] = field(default_factory=list)
    fault: Exception | None = None  # of the reports
    effect_fault: Exception | None = None
    waits: list[float] = field(default_factory=list)
    hold: asyncio.Event | None = None  # what effects wait for

    async def describe(self) -> types_pb2.ModuleInstance:
        self._fail()
        return self.instance

    async def count(self) -> types_pb2.ModuleStats:
        self._fail()
        return types_pb2.ModuleStats(
            instance_id="ailb-7", total_requests=self.requests, p95_latency_ms=12.5
        )

    async def routes(self) -> list[types_pb2.Route]:
        self._fail()
        return [types_pb2.Route(route_id=model) for model in self.models]

    def _fail(self) -> None:
        if self.fault is not None:
            raise self.fault

    def effect(self, name: str) -> Callable[..., Any]:
        async def do(*arguments: object) -> None:
            self.done.append(" ".join([name, *map(str, arguments)]))
            if self.hold is not None:
                await self.hold.wait()
            if self.effect_fault is not None:
                raise self.effect_fault

        return do

    async def sleep(self, wait_s: float) -> None:
        self.waits.append(wait_s)
        await asyncio.sleep(0)

    @asynccontextmanager
    async def registering(
        self, address: str | NlbAddress, pace: Pace = FAST, **options: Any
    ) -> AsyncIterator[Registration]:
        """Run until the block ends, and take its task down then."""
        registration = Registration(
            read_address(address) if isinstance(address, str) else address,
            Account(
                known=types_pb2.ModuleInstance(instance_id="ailb-7", version="v1"),
                health_check=types_pb2.HealthCheckConfig(health_check_path="/readyz"),
                instance=self.describe,
                stats=self.count,
                routes=self.routes,
                capabilities=lambda: {"versions": self.versions},
                revision=lambda: self.revision,
            ),
            Effects(
                reload=self.effect("reload"),
                drain=self.effect("drain"),
                undrain=self.effect("undrain"),
                stop=self.effect("stop"),
                scale=self.effect("scale"),
            ),
            drain_timeout_s=44.2,
            pace=pace,
            **options,
        )
        running = asyncio.get_running_loop().create_task(registration.run())
        try:
            yield registration
            assert not running.done() or running.exception() is None
        finally:
            running.cancel()
            await asyncio.wait({running})


def lines_of(caplog: pytest.LogCaptureFixture, text: str) -> list[str]:
    return [line for line in caplog.messages if text in line]
