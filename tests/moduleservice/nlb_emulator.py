"""A network load balancer for tests: NLBService, and a client that watches a module.

In a test's own event loop:

    async with NlbEmulator() as nlb:
        ...                                  # something registers at nlb.address
        await until(lambda: nlb.calls_of("Heartbeat"), "a heartbeat")
        nlb.order(should_reload=True)        # in the answer to the next heartbeat

`running_nlb()` runs one in a thread of its own, for tests that block; what it has been
asked and its script may be read and written from any thread. `watching(address)` is
the NLB's client of a ModuleService, likewise: `ModuleClient` in an event loop.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Coroutine, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self, TypeVar

import grpc
from google.protobuf.message import Message
from typing_extensions import override

from moduleservice.pb import (
    module_service_pb2,
    module_service_pb2_grpc,
    nlb_pb2,
    nlb_pb2_grpc,
    types_pb2,
)

T = TypeVar("T")

LIMIT_S = 15.0
POLL_S = 0.01
MESSAGE_BYTES = 16 * 1024 * 1024
# The NLB's client, as its code has it.
DIAL_LIMIT_S = 5.0
POLL_INTERVAL_S = 10.0
CLIENT_OPTIONS = [
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 3_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.max_send_message_length", MESSAGE_BYTES),
    ("grpc.max_receive_message_length", MESSAGE_BYTES),
]


async def until(is_true: Callable[[], object], what: str) -> None:
    """Look until it is true; fail with `what` after the limit."""
    deadline_s = time.monotonic() + LIMIT_S
    while not is_true():
        assert time.monotonic() < deadline_s, f"not within {LIMIT_S:g} s: {what}"
        await asyncio.sleep(POLL_S)


@dataclass(frozen=True, slots=True)
class Call:
    """One request that the NLB was sent, and when."""

    rpc: str
    at_s: float  # monotonic
    request: Any


class NlbEmulator(nlb_pb2_grpc.NLBServiceServicer):
    """Keeps registrations and records every call; its attributes are its script."""

    def __init__(self, credentials: grpc.ServerCredentials | None = None) -> None:
        """With credentials it speaks TLS."""
        self.port = 0
        self.calls: list[Call] = []
        self.registered: dict[str, str] = {}  # instance: registration id
        self.refusal = ""  # what registrations are refused with
        self.routing_refusal = ""
        self.is_frozen = False  # takes calls and never answers
        self.lacks_update_routing = False
        self._orders: deque[Mapping[str, Any]] = deque()
        self._credentials = credentials
        self._server: grpc.aio.Server | None = None
        self._count = 0

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.stop()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    async def start(self) -> None:
        """Listen, on the same port as before."""
        server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
        add = nlb_pb2_grpc.add_NLBServiceServicer_to_server
        add(self, server)  # type: ignore[no-untyped-call] # generated
        wanted = f"127.0.0.1:{self.port}"
        if self._credentials is None:
            self.port = server.add_insecure_port(wanted)
        else:
            self.port = server.add_secure_port(wanted, self._credentials)
        await server.start()
        self._server = server

    async def stop(self) -> None:
        """Cut every connection, and forget every registration, as a crash does."""
        if self._server is not None:
            await self._server.stop(None)
            self._server = None
        self.registered.clear()

    # --- Script and record -------------------------------------------------------------

    def order(self, **fields: Any) -> None:
        """Say something in the answer to a heartbeat: fields of HeartbeatResponse."""
        self._orders.append(fields)

    def calls_of(self, rpc: str) -> list[Call]:
        return [call for call in list(self.calls) if call.rpc == rpc]

    def requests(self, rpc: str) -> list[Any]:
        return [call.request for call in self.calls_of(rpc)]

    def last(self, rpc: str) -> Any:
        return self.requests(rpc)[-1]

    async def _record(self, request: Message) -> None:
        rpc = type(request).__name__.removesuffix("Request")
        self.calls.append(Call(rpc, time.monotonic(), request))
        while self.is_frozen:
            await asyncio.sleep(POLL_S)

    # --- NLBService --------------------------------------------------------------------

    @override
    async def RegisterModule(
        self, request: nlb_pb2.RegisterModuleRequest, context: Any
    ) -> nlb_pb2.RegisterModuleResponse:
        await self._record(request)
        if self.refusal:
            return nlb_pb2.RegisterModuleResponse(
                success=False,
                message=self.refusal,
                error=types_pb2.Error(code=types_pb2.STATUS_CODE_PERMISSION_DENIED),
            )
        self._count += 1
        name = f"registration-{self._count}"
        self.registered[request.instance.instance_id] = name
        return nlb_pb2.RegisterModuleResponse(success=True, registration_id=name)

    @override
    async def UnregisterModule(
        self, request: nlb_pb2.UnregisterModuleRequest, context: Any
    ) -> nlb_pb2.UnregisterModuleResponse:
        await self._record(request)
        is_known = self.registered.pop(request.instance_id, None) is not None
        return nlb_pb2.UnregisterModuleResponse(success=is_known)

    @override
    async def Heartbeat(
        self, request: nlb_pb2.HeartbeatRequest, context: Any
    ) -> nlb_pb2.HeartbeatResponse:
        await self._record(request)
        known = self.registered.get(request.instance_id)
        if known is None or known != request.registration_id:
            return nlb_pb2.HeartbeatResponse(message="unknown registration")
        said = self._orders.popleft() if self._orders else {}
        return nlb_pb2.HeartbeatResponse(acknowledged=True, **said)

    @override
    async def UpdateRouting(
        self, request: nlb_pb2.UpdateRoutingRequest, context: Any
    ) -> nlb_pb2.UpdateRoutingResponse:
        await self._record(request)
        if self.lacks_update_routing:
            await context.abort(grpc.StatusCode.UNIMPLEMENTED, "not here")
        if self.routing_refusal:
            return nlb_pb2.UpdateRoutingResponse(
                success=False, validation_errors=[self.routing_refusal]
            )
        return nlb_pb2.UpdateRoutingResponse(
            success=True, routes_updated=len(request.routes)
        )


@dataclass(frozen=True, slots=True)
class Look:
    """What one poll of a module found; `failure` where it found nothing."""

    at_s: float
    health: module_service_pb2.HealthCheckResponse | None = None
    status: module_service_pb2.GetStatusResponse | None = None
    failure: str = ""


@dataclass(eq=False)
class ModuleClient:
    """The NLB's client of one ModuleService: it polls, and counts lost connections.

    Make and use it in one event loop.
    """

    address: str
    interval_s: float = POLL_INTERVAL_S
    token: str = ""
    looks: list[Look] = field(default_factory=list)
    losses: int = 0
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)

    async def __aenter__(self) -> Self:
        """Dial, within the NLB's five seconds, and begin to poll."""
        self.channel = grpc.aio.insecure_channel(self.address, options=CLIENT_OPTIONS)
        stub = module_service_pb2_grpc.ModuleServiceStub
        self.stub: Any = stub(self.channel)  # type: ignore[no-untyped-call] # generated
        try:
            async with asyncio.timeout(DIAL_LIMIT_S):
                await self.channel.channel_ready()
        except BaseException:
            await self.channel.close()
            raise
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self._poll()), loop.create_task(self._watch())]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for task in self._tasks:
            task.cancel()
        for task in self._tasks:
            with suppress(asyncio.CancelledError):
                await task
        await self.channel.close()

    async def call(self, rpc: str, request: Message, *, limit_s: float = 10.0) -> Any:
        """Ask for something, with the token if there is one."""
        metadata = [("authorization", f"Bearer {self.token}")] if self.token else []
        ask = getattr(self.stub, rpc)
        return await ask(request, timeout=limit_s, metadata=metadata)

    async def _poll(self) -> None:
        while True:
            self.looks.append(await self._look())
            await asyncio.sleep(self.interval_s)

    async def _look(self) -> Look:
        at_s = time.monotonic()
        try:
            health = await self.call(
                "HealthCheck", module_service_pb2.HealthCheckRequest()
            )
            status = await self.call("GetStatus", module_service_pb2.GetStatusRequest())
        except grpc.aio.AioRpcError as error:
            return Look(at_s, failure=f"{error.code().name}: {error.details()}")
        return Look(at_s, health, status)

    async def _watch(self) -> None:
        """Count how often the connection stopped being one, by a GOAWAY or otherwise."""
        state = self.channel.get_state(try_to_connect=True)
        while state is not grpc.ChannelConnectivity.SHUTDOWN:
            await self.channel.wait_for_state_change(state)
            if state is grpc.ChannelConnectivity.READY:
                self.losses += 1
            state = self.channel.get_state(try_to_connect=True)


# --- In a thread of their own ------------------------------------------------------------


@contextmanager
def _loop_in_thread(name: str) -> Iterator[Callable[[Coroutine[Any, Any, Any]], Any]]:
    """Run an event loop until the block ends; gives what runs a coroutine in it."""
    ready: Future[asyncio.AbstractEventLoop] = Future()
    stop: Future[asyncio.Event] = Future()

    async def serve() -> None:
        done = asyncio.Event()
        stop.set_result(done)
        ready.set_result(asyncio.get_running_loop())
        await done.wait()

    thread = threading.Thread(target=lambda: asyncio.run(serve()), name=name)
    thread.start()
    loop = ready.result(LIMIT_S)
    try:
        yield lambda work: asyncio.run_coroutine_threadsafe(work, loop).result(LIMIT_S)
    finally:
        loop.call_soon_threadsafe(stop.result().set)
        thread.join(LIMIT_S)


@dataclass(eq=False)
class RunningNlb:
    """An emulator in its own thread; what it is told here may block."""

    emulator: NlbEmulator
    _run: Callable[[Coroutine[Any, Any, Any]], Any]

    def start(self) -> None:
        self._run(self.emulator.start())

    def stop(self) -> None:
        self._run(self.emulator.stop())


@contextmanager
def running_nlb() -> Iterator[RunningNlb]:
    """Run an emulator until the block ends."""
    with _loop_in_thread("nlb") as run:
        running = RunningNlb(NlbEmulator(), run)
        running.start()
        try:
            yield running
        finally:
            running.emulator.is_frozen = False
            running.stop()


@dataclass(eq=False)
class Watch:
    """A ModuleClient in its own thread; `call` blocks."""

    client: ModuleClient
    _run: Callable[[Coroutine[Any, Any, Any]], Any]

    def call(self, rpc: str, request: Message, *, limit_s: float = 10.0) -> Any:
        return self._run(self.client.call(rpc, request, limit_s=limit_s))


@contextmanager
def watching(
    address: str, *, interval_s: float = POLL_INTERVAL_S, token: str = ""
) -> Iterator[Watch]:
    """Poll a module as the NLB does until the block ends."""
    client = ModuleClient(address, interval_s, token)
    with _loop_in_thread("module-client") as run:
        run(client.__aenter__())
        try:
            yield Watch(client, run)
        finally:
            run(client.__aexit__(None, None, None))
