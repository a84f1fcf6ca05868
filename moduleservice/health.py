"""The standard gRPC health service, whose watchers are counted and end with the server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
from grpc_health.v1 import (  # type: ignore[import-untyped] # it ships none
    health_pb2,
    health_pb2_grpc,
)
from typing_extensions import override

Context = grpc.aio.ServicerContext[Any, Any]
Answer = health_pb2.HealthCheckResponse

MAX_WATCHERS = 100  # anybody may watch; the rest of what a server does at once is ours


class Health(health_pb2_grpc.HealthServicer):  # type: ignore[misc] # untyped
    """One status for all of its services; NOT_SERVING until `set_serving`.

    The ready-made one would hold a stop up for as long as somebody watches.
    """

    def __init__(self, services: frozenset[str]) -> None:
        """Answer for these; the empty name is the server as a whole."""
        self._services = services
        self._status = int(Answer.NOT_SERVING)
        self._changed = asyncio.Event()  # a new one for each change
        self._watchers = 0
        self._is_ending = False

    def set_serving(self, *, is_serving: bool) -> None:
        """Say how it stands; without effect once it ends."""
        status = Answer.SERVING if is_serving else Answer.NOT_SERVING
        if not self._is_ending and status != self._status:
            self._set(status)

    def end(self) -> None:
        """Say NOT_SERVING for good, and let the watchers go with that."""
        self._is_ending = True
        self._set(Answer.NOT_SERVING)

    def _set(self, status: int) -> None:
        self._status = status
        self._changed.set()
        self._changed = asyncio.Event()

    def _status_of(self, service: str) -> int:
        if service in self._services:
            return self._status
        return int(Answer.SERVICE_UNKNOWN)

    @override
    async def Check(self, request: Any, context: Context) -> Any:
        if request.service not in self._services:
            await context.abort(grpc.StatusCode.NOT_FOUND, "There is no such service.")
        return Answer(status=self._status)

    @override
    async def List(self, request: Any, context: Context) -> Any:
        statuses = {name: Answer(status=self._status) for name in self._services}
        return health_pb2.HealthListResponse(statuses=statuses)

    @override
    async def Watch(self, request: Any, context: Context) -> AsyncIterator[Any]:
        if self._watchers >= MAX_WATCHERS:
            await context.abort(
                grpc.StatusCode.RESOURCE_EXHAUSTED,
                f"There are {MAX_WATCHERS} watchers already.",
            )
        self._watchers += 1
        try:
            told = None
            while True:
                changed = self._changed  # before the look: no change is missed
                status = self._status_of(request.service)
                if status != told:
                    yield Answer(status=status)
                told = status
                if self._is_ending:
                    return
                await changed.wait()
        finally:
            self._watchers -= 1
