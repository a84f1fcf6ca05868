"""A server whose one part answers whatever a test says, on a free port of loopback."""

from __future__ import annotations

import socket
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from gateway.database_threads import DatabaseThreads
from gateway.snapshot import Snapshot
from moduleservice.base import Host, Part
from moduleservice.pb import module_service_pb2 as pb, module_service_pb2_grpc
from moduleservice.server import Server
from moduleservice.servicer import SERVICE
from moduleservice.terms import Terms

TOKEN = "the token of these tests"
BEARER = (("authorization", f"Bearer {TOKEN}"),)
INSTANCE = "ailb-tests"
LIMIT_S = 10.0
# What the load balancer's client does: it pings though no call is open.
NLB_OPTIONS = (
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 3_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.use_local_subchannel_pool", 1),  # a connection for each channel
    ("grpc.max_receive_message_length", 16 * 1024 * 1024),
    ("grpc.max_send_message_length", 16 * 1024 * 1024),
)

Answer = Callable[[Any], Awaitable[Message]]
RawCall = grpc.aio.UnaryUnaryMultiCallable[bytes, bytes]


class TinyPart(Part):
    """Answers every RPC with an empty message, or by `answers[its name]`."""

    def __init__(self, host: Host) -> None:
        super().__init__(host)
        self.answers: dict[str, Answer] = {}
        self.asked: list[str] = []

    async def StreamMetrics(  # noqa: N802 - the contract's name
        self, request: pb.StreamMetricsRequest
    ) -> AsyncGenerator[Message, None]:
        self.asked.append("StreamMetrics")
        while True:
            answer = self.answers.get("StreamMetrics")
            yield await answer(request) if answer else pb.StreamMetricsResponse()


def _method(method: MethodDescriptor) -> Callable[[TinyPart, Any], Awaitable[Message]]:
    async def answer(self: TinyPart, request: Message) -> Message:
        self.asked.append(method.name)
        if method.name in self.answers:
            return await self.answers[method.name](request)
        return GetMessageClass(method.output_type)()

    return answer


for _rpc in SERVICE.methods:
    if not _rpc.server_streaming:
        setattr(TinyPart, _rpc.name, _method(_rpc))


class Stage:
    """A running server, its part, and stubs to call it with."""

    def __init__(self, server: Server, part: TinyPart) -> None:
        self.server = server
        self.part = part

    @property
    def address(self) -> str:
        return self.server.address

    @asynccontextmanager
    async def calling(
        self,
        address: str | None = None,
        credentials: grpc.ChannelCredentials | None = None,
    ) -> AsyncIterator[module_service_pb2_grpc.ModuleServiceStub]:
        async with self.channel(address, credentials) as channel:
            stub = module_service_pb2_grpc.ModuleServiceStub
            yield stub(channel)  # type: ignore[no-untyped-call] # generated

    def channel(
        self,
        address: str | None = None,
        credentials: grpc.ChannelCredentials | None = None,
    ) -> grpc.aio.Channel:
        target = address or self.address
        if credentials is None:
            return grpc.aio.insecure_channel(target, options=NLB_OPTIONS)
        return grpc.aio.secure_channel(target, credentials, options=NLB_OPTIONS)


def no_snapshot() -> Snapshot:
    raise AssertionError("these parts look at no configuration")


def tiny_host(database: DatabaseThreads) -> Host:
    return Host(
        instance=INSTANCE, version="v1", database=database, snapshot=no_snapshot
    )


@asynccontextmanager
async def staged(**terms: Any) -> AsyncIterator[Stage]:
    """Serve tiny parts until the block ends."""
    database = DatabaseThreads(1, name="tests")
    host = tiny_host(database)
    part = TinyPart(host)
    given = {"host": "127.0.0.1", "port": 0, "token": TOKEN, **terms}
    server = Server(host, [part], Terms(**given))
    try:
        server.bind()
        await server.start()
        server.health.set_serving(is_serving=True)
        yield Stage(server, part)
    finally:
        await server.stop(grace_s=0)
        await database.aclose(limit_s=1)


def own_address() -> str | None:
    """Find an address of this machine that is not loopback; nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("198.51.100.1", 9))
        except OSError:
            return None
        found: str = probe.getsockname()[0]
        return None if found.startswith("127.") else found


async def code_of(call: Awaitable[Any]) -> grpc.StatusCode:
    """Give the status that a call ends with."""
    try:
        await call
    except grpc.aio.AioRpcError as error:
        return error.code()
    return grpc.StatusCode.OK


async def fault_of(call: Awaitable[Any]) -> grpc.aio.AioRpcError:
    """Give the error that a call must end with."""
    try:
        await call
    except grpc.aio.AioRpcError as error:
        return error
    raise AssertionError("it succeeded")
