"""RPCs are guarded: who may call, deadlines, instances, and how faults are told."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import grpc
import pytest
from django.db import OperationalError
from django.utils import timezone
from google.protobuf.message import Message
from grpc_health.v1 import (  # type: ignore[import-untyped] # it ships none
    health_pb2,
    health_pb2_grpc,
)

from gateway.errors import NotReady
from gateway.kinds import WorkerState
from gateway.models import Heartbeat
from moduleservice import guard
from moduleservice.base import Refusal
from moduleservice.callers import READ_ONLY, is_near
from moduleservice.guard import MAX_CALLS, MAX_STREAMS, deadline_of
from moduleservice.pb import module_service_pb2 as pb, types_pb2
from moduleservice.servicer import SERVICE
from tests.moduleservice.tiny_parts import (
    BEARER,
    INSTANCE,
    LIMIT_S,
    TOKEN,
    RawCall,
    code_of,
    fault_of,
    own_address,
    staged,
)

OK = grpc.StatusCode.OK
UNAUTHENTICATED = grpc.StatusCode.UNAUTHENTICATED
WRONG = (("authorization", "Bearer something else"),)
BARE = (("authorization", TOKEN),)
LOWER = (("authorization", f"bearer {TOKEN}"),)
LOOK = ("GetStatus", pb.GetStatusRequest())
LOOK_AT_STATS = ("GetStats", pb.GetStatsRequest())
RESET_STATS = ("GetStats", pb.GetStatsRequest(reset_counters=True))
CHANGE = ("SetTrafficWeight", pb.SetTrafficWeightRequest(version="v2", weight=10))

remote = pytest.mark.skipif(own_address() is None, reason="there is only loopback here")


def raising(error: Exception) -> Callable[[Any], Awaitable[Message]]:
    async def answer(request: object) -> Message:
        raise error

    return answer


async def for_ever(request: object) -> Message:
    await asyncio.Event().wait()
    raise AssertionError


# --- Who may call --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "metadata", "code"),
    [
        (LOOK, (), OK),
        (LOOK, BEARER, OK),
        (LOOK_AT_STATS, (), OK),
        (RESET_STATS, (), UNAUTHENTICATED),
        (RESET_STATS, BEARER, OK),
        (CHANGE, (), UNAUTHENTICATED),
        (CHANGE, WRONG, UNAUTHENTICATED),
        (CHANGE, BARE, UNAUTHENTICATED),
        (CHANGE, BEARER, OK),
        (CHANGE, LOWER, OK),
    ],
)
async def test_on_loopback_whoever_changes_something_needs_the_token(
    call: tuple[str, Message], metadata: Any, code: grpc.StatusCode
) -> None:
    name, request = call
    async with staged() as stage, stage.calling() as stub:
        assert await code_of(getattr(stub, name)(request, metadata=metadata)) is code
        assert stage.part.asked == ([name] if code is OK else [])


@remote
@pytest.mark.parametrize(
    ("call", "metadata", "code"),
    [
        (LOOK, (), UNAUTHENTICATED),
        (LOOK, WRONG, UNAUTHENTICATED),
        (LOOK, BEARER, OK),
        (CHANGE, (), UNAUTHENTICATED),
        (CHANGE, BEARER, OK),
    ],
)
async def test_from_elsewhere_everybody_needs_the_token(
    call: tuple[str, Message], metadata: Any, code: grpc.StatusCode
) -> None:
    name, request = call
    async with staged(host=own_address()) as stage, stage.calling() as stub:
        assert await code_of(getattr(stub, name)(request, metadata=metadata)) is code


@remote
@pytest.mark.parametrize("call", [LOOK, CHANGE])
async def test_the_operator_may_open_everything(call: tuple[str, Message]) -> None:
    name, request = call
    terms = {"host": own_address(), "is_insecure": True}
    async with staged(**terms) as stage, stage.calling() as stub:
        assert await code_of(getattr(stub, name)(request)) is OK


async def test_who_is_refused_is_told_how_to_be_let_in() -> None:
    async with staged() as stage, stage.calling() as stub:
        error = await fault_of(stub.SetTrafficWeight(pb.SetTrafficWeightRequest()))
    assert error.details() == (
        "SetTrafficWeight changes something and needs a credential. Send"
        " AILB_GRPC_TOKEN as the metadata `authorization: Bearer TOKEN`, or show a client"
        " certificate where AILB_GRPC_TLS_CLIENT_CA is set."
    )


async def test_no_token_is_never_the_right_one() -> None:
    empty = (("authorization", "Bearer "),)
    async with staged(token="") as stage, stage.calling() as stub:
        call = stub.DeleteRoute(pb.DeleteRouteRequest(), metadata=empty)
        assert await code_of(call) is UNAUTHENTICATED


@pytest.mark.parametrize(
    ("peer", "near"),
    [
        ("ipv4:127.0.0.1:4000", True),
        ("ipv4:127.8.9.1:4000", True),
        ("ipv6:[::1]:4000", True),
        ("ipv6:%5B::1%5D:4000", True),
        ("ipv6:[::ffff:127.0.0.1]:4000", True),
        ("unix:", True),
        ("unix:/run/some.sock", True),
        ("ipv4:192.0.2.2:4000", False),
        ("ipv4:0.0.0.0:4000", False),
        ("ipv6:[fd00::2]:4000", False),
        ("ipv6:[fe80::1%25lo]:4000", False),
        ("ipv4:localhost:4000", False),
        ("unknown", False),
        ("", False),
    ],
)
def test_a_peer_is_near_on_loopback_only(peer: str, near: bool) -> None:
    assert is_near(peer) is near


def test_what_is_called_read_only_is_in_the_contract() -> None:
    assert set(SERVICE.methods_by_name) >= READ_ONLY


# --- How failures are told -----------------------------------------------------------


async def test_a_refusal_is_told_in_the_answer_that_has_a_place_for_it() -> None:
    refusal = Refusal(
        types_pb2.STATUS_CODE_NOT_FOUND, "There is no v9.", details={"version": "v9"}
    )
    async with staged() as stage, stage.calling() as stub:
        stage.part.answers["Rollback"] = raising(refusal)
        answer = await stub.Rollback(pb.RollbackRequest(), metadata=BEARER)
    assert (answer.success, answer.message) == (False, "There is no v9.")
    assert answer.error.code == types_pb2.STATUS_CODE_NOT_FOUND
    assert answer.error.message == "There is no v9."
    assert answer.error.details == {"version": "v9"}
    told_at = answer.error.occurred_at.ToDatetime(timezone.now().tzinfo)
    assert abs(timezone.now() - told_at) < timedelta(seconds=LIMIT_S)


async def test_a_refused_configuration_has_no_invented_validation_errors() -> None:
    refusal = Refusal(types_pb2.STATUS_CODE_INVALID_ARGUMENT, "No.")
    async with staged() as stage, stage.calling() as stub:
        stage.part.answers["UpdateConfig"] = raising(refusal)
        answer = await stub.UpdateConfig(pb.UpdateConfigRequest(), metadata=BEARER)
    assert (answer.validation_passed, list(answer.validation_errors)) == (False, [])


@pytest.mark.parametrize(
    ("code", "status"),
    [
        (types_pb2.STATUS_CODE_NOT_FOUND, grpc.StatusCode.NOT_FOUND),
        (types_pb2.STATUS_CODE_INVALID_ARGUMENT, grpc.StatusCode.INVALID_ARGUMENT),
        (types_pb2.STATUS_CODE_UNAVAILABLE, grpc.StatusCode.UNAVAILABLE),
        (types_pb2.STATUS_CODE_PERMISSION_DENIED, grpc.StatusCode.PERMISSION_DENIED),
        (types_pb2.STATUS_CODE_ALREADY_EXISTS, grpc.StatusCode.ALREADY_EXISTS),
        (types_pb2.STATUS_CODE_RESOURCE_EXHAUSTED, grpc.StatusCode.RESOURCE_EXHAUSTED),
        (types_pb2.STATUS_CODE_ERROR, grpc.StatusCode.FAILED_PRECONDITION),
    ],
)
async def test_elsewhere_a_refusal_is_a_status(
    code: types_pb2.StatusCode, status: grpc.StatusCode
) -> None:
    refusal = Refusal(code, "Not so.", details={"field": "query"})
    async with staged() as stage, stage.calling() as stub:
        stage.part.answers["GetRoutes"] = raising(refusal)
        error = await fault_of(stub.GetRoutes(pb.GetRoutesRequest()))
    assert (error.code(), error.details()) == (status, "Not so. (field: query)")


@pytest.mark.parametrize(
    ("trouble", "status", "words"),
    [
        (
            OperationalError("connection to 10.0.0.1 failed"),
            grpc.StatusCode.UNAVAILABLE,
            "database does not answer",
        ),
        (
            NotReady("AILB has no configuration yet."),
            grpc.StatusCode.UNAVAILABLE,
            "AILB has no configuration yet.",
        ),
        (
            ZeroDivisionError("secret detail"),
            grpc.StatusCode.INTERNAL,
            "An error inside AILB.",
        ),
    ],
)
async def test_trouble_is_a_status_in_our_words(
    trouble: Exception,
    status: grpc.StatusCode,
    words: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with staged() as stage, stage.calling() as stub:
        stage.part.answers["Rollback"] = raising(trouble)
        call = stub.Rollback(pb.RollbackRequest(), metadata=BEARER)
        error = await fault_of(call)
    assert error.code() is status
    assert words in (error.details() or "")
    assert "10.0.0.1" not in (error.details() or "")
    failed = [r for r in caplog.records if r.levelno >= logging.ERROR]
    assert len(failed) == (status is grpc.StatusCode.INTERNAL)


async def test_an_answer_of_the_wrong_kind_is_an_error_of_ours() -> None:
    async def answer(request: object) -> Message:
        return pb.GetRoutesResponse()

    async with staged() as stage, stage.calling() as stub:
        stage.part.answers["GetStatus"] = answer
        assert await code_of(stub.GetStatus(pb.GetStatusRequest())) is (
            grpc.StatusCode.INTERNAL
        )


async def test_bytes_that_are_no_message_are_refused() -> None:
    async with staged() as stage, stage.channel() as channel:
        call: RawCall = channel.unary_unary("/marchproxy.ModuleService/GetStatus")
        error = await fault_of(call(b"\xff\xff\xff"))
        assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert error.details() == "The message is not a marchproxy.GetStatusRequest."
        assert await call(b"") == b""


async def test_a_stranger_learns_nothing_about_the_message() -> None:
    async with staged() as stage, stage.channel() as channel:
        call: RawCall = channel.unary_unary("/marchproxy.ModuleService/Scale")
        assert await code_of(call(b"\x0a\x01")) is grpc.StatusCode.INVALID_ARGUMENT
        assert await code_of(call(b"")) is UNAUTHENTICATED


# --- For how long --------------------------------------------------------------------


async def test_a_call_that_takes_too_long_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "DEADLINE_S", 0.2)
    async with staged() as stage, stage.calling() as stub:
        stage.part.answers["GetStatus"] = for_ever
        error = await fault_of(stub.GetStatus(pb.GetStatusRequest()))
        assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        assert (error.details() or "").startswith("It took too long.")


@pytest.mark.parametrize(
    ("name", "request_", "limit_s"),
    [
        ("GetStatus", pb.GetStatusRequest(), 5),
        ("Reload", pb.ReloadRequest(), 60),
        ("Reload", pb.ReloadRequest(timeout_seconds=10), 15),
        ("Reload", pb.ReloadRequest(timeout_seconds=600), 60),
        ("Reload", pb.ReloadRequest(timeout_seconds=-1), 60),
        ("Shutdown", pb.ShutdownRequest(timeout_seconds=2), 7),
        ("Scale", pb.ScaleRequest(), 60),
    ],
)
def test_a_call_may_take_as_long_as_it_says(
    name: str, request_: Message, limit_s: float
) -> None:
    assert deadline_of(name, request_) == limit_s


async def test_a_call_ends_when_nobody_waits_for_it_any_more() -> None:
    ended = asyncio.Event()

    async def answer(request: object) -> Message:
        try:
            return await for_ever(request)
        finally:
            ended.set()

    async with staged() as stage, stage.calling() as stub:
        stage.part.answers["GetStatus"] = answer
        error = await fault_of(stub.GetStatus(pb.GetStatusRequest(), timeout=0.2))
        assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        async with asyncio.timeout(LIMIT_S):
            await ended.wait()


async def test_calls_beyond_the_most_wait_for_their_turn() -> None:
    running = 0
    go = asyncio.Event()

    async def answer(request: object) -> Message:
        nonlocal running
        running += 1
        await go.wait()
        return pb.GetStatusResponse()

    async with staged() as stage, stage.channel() as channel, stage.calling() as stub:
        stage.part.answers["GetStatus"] = answer
        calls = [stub.GetStatus(pb.GetStatusRequest()) for _ in range(2 * MAX_CALLS)]
        health = health_pb2_grpc.HealthStub(channel)
        while running < MAX_CALLS:
            await health.Check(health_pb2.HealthCheckRequest())
        for _ in range(20):  # the server has time to begin with more
            await health.Check(health_pb2.HealthCheckRequest())
        assert running == MAX_CALLS
        go.set()
        assert [await code_of(call) for call in calls] == [OK] * 2 * MAX_CALLS


# --- Streams -------------------------------------------------------------------------


async def test_a_stream_goes_on_until_its_reader_leaves() -> None:
    async with staged() as stage, stage.calling() as stub:
        stream = stub.StreamMetrics(pb.StreamMetricsRequest())
        for _ in range(3):
            assert await stream.read() == pb.StreamMetricsResponse()
        stream.cancel()
        assert await code_of(stub.GetStatus(pb.GetStatusRequest())) is OK


async def test_a_stream_tells_of_a_refusal_by_its_status() -> None:
    refusal = Refusal(types_pb2.STATUS_CODE_INVALID_ARGUMENT, "No such metric.")
    async with staged() as stage, stage.calling() as stub:
        stage.part.answers["StreamMetrics"] = raising(refusal)
        error = await fault_of(stub.StreamMetrics(pb.StreamMetricsRequest()).read())
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert error.details() == "No such metric."


async def test_a_stream_that_has_nothing_to_say_any_more_ends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(guard, "STALL_S", 0.2)
    async with staged() as stage, stage.calling() as stub:
        stage.part.answers["StreamMetrics"] = for_ever
        error = await fault_of(stub.StreamMetrics(pb.StreamMetricsRequest()).read())
    assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED


async def test_there_are_so_many_streams_at_once() -> None:
    told: set[int] = set()

    async def message(request: pb.StreamMetricsRequest) -> Message:
        if request.interval_seconds in told:
            await asyncio.Event().wait()
        told.add(request.interval_seconds)
        return pb.StreamMetricsResponse()

    async with staged() as stage, stage.calling() as stub:
        stage.part.answers["StreamMetrics"] = message
        requests = [pb.StreamMetricsRequest(interval_seconds=n) for n in range(99)]
        streams = [stub.StreamMetrics(requests[n]) for n in range(MAX_STREAMS)]
        for stream in streams:
            await stream.read()
        another = stub.StreamMetrics(requests[MAX_STREAMS], timeout=LIMIT_S)
        assert await code_of(another.read()) is grpc.StatusCode.RESOURCE_EXHAUSTED
        streams[0].cancel()
        again = stub.StreamMetrics(requests[MAX_STREAMS], timeout=LIMIT_S)
        while await code_of(again.read()) is not OK:
            again = stub.StreamMetrics(requests[MAX_STREAMS], timeout=LIMIT_S)


# --- About which instance ------------------------------------------------------------


def beat(worker: str, instance: str, **fields: Any) -> None:
    now = timezone.now()
    given = {
        "pid": 1,
        "started_at": now,
        "beat_at": now,
        "config_revision": 1,
        **fields,
    }
    Heartbeat.objects.create(worker=worker, instance=instance, run="r", **given)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("", OK),
        (INSTANCE, OK),
        ("replica", OK),
        ("gone", grpc.StatusCode.NOT_FOUND),
        ("ended", grpc.StatusCode.NOT_FOUND),
        ("nobody", grpc.StatusCode.NOT_FOUND),
        ("nul\0", grpc.StatusCode.NOT_FOUND),
        ("x" * 100_000, grpc.StatusCode.NOT_FOUND),
    ],
)
async def test_a_call_is_about_this_instance_or_one_that_lives(
    name: str, code: grpc.StatusCode
) -> None:
    def write() -> None:
        beat("1", "replica")
        beat("2", "gone", beat_at=timezone.now() - timedelta(seconds=60))
        beat("3", "ended", state=WorkerState.ENDED)

    async with staged() as stage, stage.calling() as stub:
        await stage.part.host.database.run(write)
        status = stub.GetStatus(pb.GetStatusRequest(instance_id=name))
        assert await code_of(status) is code
        stream = stub.StreamMetrics(pb.StreamMetricsRequest(instance_id=name))
        assert await code_of(stream.read()) is code
