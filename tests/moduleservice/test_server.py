"""A real gRPC server: its door, limits, TLS, health and stop."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import (  # type: ignore[import-untyped] # it ships none
    health_pb2,
    health_pb2_grpc,
)
from grpc_reflection.v1alpha import (  # type: ignore[import-untyped] # likewise
    reflection_pb2,
    reflection_pb2_grpc,
)

from gateway.database_threads import DatabaseThreads
from moduleservice.base import Host, Part
from moduleservice.guard import Guard
from moduleservice.health import MAX_WATCHERS
from moduleservice.pb import module_service_pb2 as pb
from moduleservice.server import CannotServe
from moduleservice.servicer import ContractBroken, compose
from moduleservice.terms import Terms
from tests.moduleservice.certificates import Identity, make_identity
from tests.moduleservice.tiny_parts import (
    BEARER,
    LIMIT_S,
    TOKEN,
    RawCall,
    Stage,
    TinyPart,
    code_of,
    fault_of,
    staged,
    tiny_host,
)

OK = grpc.StatusCode.OK
Status = health_pb2.HealthCheckResponse
NAMES = ["", "marchproxy.ModuleService"]


# --- The contract --------------------------------------------------------------------


class HalfPart(Part):
    """Answers one RPC, and another one in the wrong way."""

    async def GetStatus(  # noqa: N802 - the contract's name
        self, request: object
    ) -> pb.GetStatusResponse:
        return pb.GetStatusResponse()

    async def StreamMetrics(  # noqa: N802 - likewise
        self, request: object
    ) -> pb.StreamMetricsResponse:
        return pb.StreamMetricsResponse()


@pytest.fixture
async def host() -> AsyncIterator[Host]:
    database = DatabaseThreads(1, name="tests")
    yield tiny_host(database)
    await database.aclose(limit_s=1)


def guard_of(host: Host) -> Guard:
    return Guard(host, Terms("127.0.0.1", 0, TOKEN))


async def test_an_rpc_that_no_part_answers_stops_the_start(host: Host) -> None:
    with pytest.raises(ContractBroken) as caught:
        compose([HalfPart(host)], guard_of(host))
    assert "Reload (0)" in str(caught.value)
    assert "StreamMetrics (0)" in str(caught.value)
    assert "GetStatus" not in str(caught.value)


async def test_so_does_one_that_two_parts_answer(host: Host) -> None:
    with pytest.raises(ContractBroken, match=r"Found for GetStatus \(2\)\."):
        compose([TinyPart(host), HalfPart(host)], guard_of(host))


async def test_what_is_not_in_the_contract_is_not_implemented() -> None:
    async with staged() as stage, stage.channel() as channel:
        call: RawCall = channel.unary_unary("/marchproxy.ModuleService/Obey")
        assert await code_of(call(b"")) is grpc.StatusCode.UNIMPLEMENTED


# --- The port ------------------------------------------------------------------------


async def test_a_taken_port_is_said_at_once() -> None:
    async with staged() as stage:
        taken = stage.server.port
        with pytest.raises(CannotServe) as caught:
            async with staged(port=taken):
                raise AssertionError("two servers on one port")
    assert str(caught.value) == (
        f"Port {taken} on 127.0.0.1 is already in use: stop the program that has it or"
        " set GRPC_PORT to a free port."
    )


async def test_an_address_that_is_not_ours_is_said() -> None:
    with pytest.raises(CannotServe, match=r"HOST=198\.51\.100\.1 is not an address"):
        async with staged(host="198.51.100.1"):
            raise AssertionError


async def test_it_serves_on_ipv6_too() -> None:
    async with staged(host="::1") as stage, stage.calling() as stub:
        assert stage.address.startswith("[::1]:")
        assert await code_of(stub.GetStatus(pb.GetStatusRequest())) is OK


# --- TLS -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Identity:
    return make_identity(tmp_path_factory.mktemp("tls"), "authority", signer=None)


@pytest.fixture(scope="module")
def served(authority: Identity) -> Identity:
    folder = authority.key_file.parent
    return make_identity(folder, "served", signer=authority)


def trusting(
    authority: Identity, own: Identity | None = None
) -> grpc.ChannelCredentials:
    return grpc.ssl_channel_credentials(
        authority.certificate_file.read_bytes(),
        own.key_file.read_bytes() if own else None,
        own.certificate_file.read_bytes() if own else None,
    )


async def test_with_tls_the_token_is_needed_as_before(
    authority: Identity, served: Identity
) -> None:
    files = {"certificate": served.certificate_file, "key": served.key_file}
    request = pb.DeleteRouteRequest(route_id="m")
    async with staged(**files) as stage:
        async with stage.calling(credentials=trusting(authority)) as stub:
            call = stub.DeleteRoute(request)
            assert await code_of(call) is grpc.StatusCode.UNAUTHENTICATED
            assert await code_of(stub.DeleteRoute(request, metadata=BEARER)) is OK
        # A certificate that nobody verifies opens nothing.
        async with stage.calling(credentials=trusting(authority, served)) as stub:
            call = stub.DeleteRoute(request)
            assert await code_of(call) is grpc.StatusCode.UNAUTHENTICATED
        async with stage.calling() as stub:
            call = stub.GetStatus(pb.GetStatusRequest(), timeout=LIMIT_S)
            assert await code_of(call) is grpc.StatusCode.UNAVAILABLE


async def test_a_verified_certificate_is_as_good_as_the_token(
    authority: Identity, served: Identity, tmp_path: Path
) -> None:
    stranger = make_identity(
        tmp_path, "stranger", signer=make_identity(tmp_path, "other", signer=None)
    )
    files = {
        "certificate": served.certificate_file,
        "key": served.key_file,
        "client_ca": authority.certificate_file,
    }
    request = pb.DeleteRouteRequest(route_id="m")
    nlb = make_identity(tmp_path, "nlb", signer=authority)
    async with staged(**files) as stage:
        async with stage.calling(credentials=trusting(authority, nlb)) as stub:
            assert await code_of(stub.DeleteRoute(request)) is OK
        for own in (None, stranger):
            async with stage.calling(credentials=trusting(authority, own)) as stub:
                call = stub.DeleteRoute(request, metadata=BEARER, timeout=LIMIT_S)
                assert await code_of(call) is grpc.StatusCode.UNAVAILABLE


async def test_files_that_do_not_belong_together_are_said_at_the_start(
    authority: Identity, served: Identity
) -> None:
    files = {"certificate": served.certificate_file, "key": authority.key_file}
    with pytest.raises(CannotServe, match=r"AILB_GRPC_TLS_CERT=.*cannot be used"):
        async with staged(**files):
            raise AssertionError


# --- Health and reflection -----------------------------------------------------------


async def test_health_is_told_and_watched() -> None:
    async with staged() as stage, stage.channel() as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        watches = [stub.Watch(health_pb2.HealthCheckRequest(service=n)) for n in NAMES]
        for is_serving, status in ((True, Status.SERVING), (False, Status.NOT_SERVING)):
            stage.server.health.set_serving(is_serving=is_serving)
            for name, watch in zip(NAMES, watches, strict=True):
                assert (await watch.read()).status == status
                request = health_pb2.HealthCheckRequest(service=name)
                assert (await stub.Check(request)).status == status
        everything = await stub.List(health_pb2.HealthListRequest())
        assert sorted(everything.statuses) == NAMES


async def test_the_health_of_another_service_is_not_known() -> None:
    async with staged() as stage, stage.channel() as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        request = health_pb2.HealthCheckRequest(service="marchproxy.Other")
        assert await code_of(stub.Check(request)) is grpc.StatusCode.NOT_FOUND
        assert (await stub.Watch(request).read()).status == Status.SERVICE_UNKNOWN


async def test_watchers_keep_nobody_out() -> None:
    async with staged() as stage, stage.channel() as one, stage.channel() as other:
        request = health_pb2.HealthCheckRequest()
        channels = [one, other]
        watches = [
            health_pb2_grpc.HealthStub(channels[n % 2]).Watch(request)
            for n in range(MAX_WATCHERS)
        ]
        for watch in watches:
            await watch.read()
        late = health_pb2_grpc.HealthStub(one).Watch(request)
        assert await code_of(late.read()) is grpc.StatusCode.RESOURCE_EXHAUSTED
        async with stage.calling() as stub:
            assert await code_of(stub.GetStatus(pb.GetStatusRequest())) is OK
        for watch in watches:
            watch.cancel()


@pytest.mark.parametrize("is_on", [True, False])
async def test_reflection_is_there_when_it_is_asked_for(is_on: bool) -> None:
    async def asked() -> AsyncIterator[reflection_pb2.ServerReflectionRequest]:
        yield reflection_pb2.ServerReflectionRequest(list_services="")

    async with staged(has_reflection=is_on) as stage, stage.channel() as channel:
        stub = reflection_pb2_grpc.ServerReflectionStub(channel)
        read = stub.ServerReflectionInfo(asked()).read()
        if not is_on:
            assert await code_of(read) is grpc.StatusCode.UNIMPLEMENTED
            return
        names = {s.name for s in (await read).list_services_response.service}
    assert {"marchproxy.ModuleService", "grpc.health.v1.Health"} <= names


# --- Stopping ------------------------------------------------------------------------


async def test_a_stop_lets_calls_end_and_sends_everybody_else_away() -> None:
    has_begun, go = asyncio.Event(), asyncio.Event()

    async def answer(request: object) -> pb.GetStatusResponse:
        has_begun.set()
        await go.wait()
        return pb.GetStatusResponse(message="done")

    async with staged() as stage, stage.channel() as channel, stage.calling() as stub:
        stage.part.answers["GetStatus"] = answer
        watch = health_pb2_grpc.HealthStub(channel).Watch(
            health_pb2.HealthCheckRequest()
        )
        assert (await watch.read()).status == Status.SERVING
        stream = stub.StreamMetrics(pb.StreamMetricsRequest())
        await stream.read()
        async with asyncio.TaskGroup() as tasks:
            running = stub.GetStatus(pb.GetStatusRequest())
            await has_begun.wait()
            began_s = time.monotonic()
            stopping = tasks.create_task(stage.server.stop(grace_s=LIMIT_S))
            assert (await watch.read()).status == Status.NOT_SERVING
            assert await watch.read() == grpc.aio.EOF
            error = await fault_of(read_on(stream))
            assert (error.code(), error.details()) == (
                grpc.StatusCode.UNAVAILABLE,
                "AILB stops.",
            )
            async with stage.calling() as late:
                call = late.GetStatus(pb.GetStatusRequest(), timeout=LIMIT_S)
                assert await code_of(call) is grpc.StatusCode.UNAVAILABLE
            assert not stopping.done()
            go.set()
            assert (await running).message == "done"
    assert time.monotonic() - began_s < LIMIT_S


async def read_on(stream: grpc.aio.UnaryStreamCall[object, object]) -> None:
    while await stream.read() != grpc.aio.EOF:
        pass


async def test_what_does_not_end_within_the_grace_is_cut() -> None:
    async def for_ever(request: object) -> pb.GetStatusResponse:
        has_begun.set()
        await asyncio.Event().wait()
        raise AssertionError

    has_begun = asyncio.Event()
    async with staged() as stage, stage.calling() as stub:
        stage.part.answers["GetStatus"] = for_ever
        async with asyncio.TaskGroup() as tasks:
            call = tasks.create_task(code_of(stub.GetStatus(pb.GetStatusRequest())))
            await has_begun.wait()
            await stage.server.stop(grace_s=0.1)
        assert call.result() is not OK


# --- The load balancer's pings -------------------------------------------------------


async def goaway_codes(stage: Stage, *, every_s: float, for_s: float) -> list[int]:
    """Ping with no call open, as its client does; give what GOAWAYs said.

    On a plain socket: a client of gRPC's own would slow down instead of telling.
    """
    reader, writer = await asyncio.open_connection("127.0.0.1", stage.server.port)
    writer.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, b""))
    codes, answered, sent = [], 0, 0
    ends_s, next_ping_s = time.monotonic() + for_s, time.monotonic() + every_s
    while (now_s := time.monotonic()) < ends_s:
        if now_s >= next_ping_s:
            writer.write(frame(6, b"AILBPING"))
            sent, next_ping_s = sent + 1, next_ping_s + every_s
        try:
            async with asyncio.timeout(min(next_ping_s, ends_s) - time.monotonic()):
                kind, flags, body = await read_frame(reader)
        except TimeoutError:
            continue
        except asyncio.IncompleteReadError:
            break
        if kind in {4, 6} and not flags:  # settings and pings want to be acknowledged
            writer.write(frame(kind, body if kind == 6 else b"", flags=1))
        answered += kind == 6 and flags == 1 and body == b"AILBPING"
        if kind == 7:
            codes.append(int.from_bytes(body[4:8], "big"))
    writer.close()
    # gRPC by itself ends the connection with the fourth.
    assert codes or (sent >= 4 and answered == sent and not reader.at_eof())
    return codes


def frame(kind: int, body: bytes, *, flags: int = 0) -> bytes:
    return len(body).to_bytes(3, "big") + bytes([kind, flags, 0, 0, 0, 0]) + body


async def read_frame(reader: asyncio.StreamReader) -> tuple[int, int, bytes]:
    head = await reader.readexactly(9)
    body = await reader.readexactly(int.from_bytes(head[:3], "big"))
    return head[3], head[4], body


@pytest.mark.parametrize(
    ("every_s", "for_s"),
    [(1, 6), pytest.param(10, 125, marks=pytest.mark.soak)],
    ids=["often", "as the load balancer's"],
)
async def test_pings_without_a_call_are_welcome(every_s: float, for_s: float) -> None:
    async with staged() as stage, stage.channel() as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        assert (await stub.Check(health_pb2.HealthCheckRequest())).status == 1
        assert await goaway_codes(stage, every_s=every_s, for_s=for_s) == []
        state = channel.get_state()
        assert state is grpc.ChannelConnectivity.READY
        assert (await stub.Check(health_pb2.HealthCheckRequest())).status == 1


async def test_a_message_of_sixteen_mebibytes_is_too_long_and_one_less_is_not() -> None:
    async def answer(request: pb.GetStatusRequest) -> pb.GetStatusResponse:
        return pb.GetStatusResponse(message="x" * 15_000_000)

    async with staged() as stage, stage.calling() as stub:
        stage.part.answers["GetStatus"] = answer
        request = pb.UpdateConfigRequest()
        request.config.config_data = b"x" * 15_000_000
        assert await code_of(stub.UpdateConfig(request, metadata=BEARER)) is OK
        assert len((await stub.GetStatus(pb.GetStatusRequest())).message) == 15_000_000
        request.config.config_data = b"x" * 16 * 1024 * 1024
        call = stub.UpdateConfig(request, metadata=BEARER)
        assert await code_of(call) is grpc.StatusCode.RESOURCE_EXHAUSTED


def test_nothing_is_left_of_a_probe() -> None:
    """A port that was asked for is free again for gRPC, and for whoever comes after."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]

    async def serve_twice() -> None:
        for _ in range(2):
            async with staged(port=port) as stage, stage.calling() as stub:
                assert await code_of(stub.GetStatus(pb.GetStatusRequest())) is OK

    asyncio.run(serve_twice())
