"""The processes of `serve` as the load balancer sees them: told, scaled and stopped."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest

from moduleservice.pb import module_service_pb2, module_service_pb2_grpc, types_pb2
from tests.api.gateway_process import wait_until
from tests.api.serve_process import Serve, children_of, command_line, serving, survivors

ANSWER_S = 40.0


@pytest.fixture(scope="module")
def serve(
    tmp_path_factory: pytest.TempPathFactory, database_template: Path
) -> Iterator[Serve]:
    with serving(tmp_path_factory.mktemp("serve"), database_template) as started:
        yield started


@contextmanager
def called(serve: Serve) -> Iterator[module_service_pb2_grpc.ModuleServiceStub]:
    with grpc.insecure_channel(address_of(serve)) as channel:
        grpc.channel_ready_future(channel).result(timeout=ANSWER_S)
        yield module_service_pb2_grpc.ModuleServiceStub(channel)  # type: ignore[no-untyped-call]  # generated


def address_of(serve: Serve) -> str:
    address = serve.shown(r"NLB/gRPC +(\S+)")
    assert address
    return address


def token_of(serve: Serve) -> tuple[tuple[str, str]]:
    path = serve.data_dir / "secrets" / "grpc_token"
    return (("authorization", f"Bearer {path.read_text()}"),)


def service_pid(serve: Serve) -> int:
    assert serve.process is not None
    (pid,) = (
        pid
        for pid in children_of(serve.process.pid)
        if b"runmoduleservice" in command_line(pid)
    )
    return pid


def scale(serve: Serve, count: int) -> module_service_pb2.ScaleResponse:
    request = module_service_pb2.ScaleRequest(
        config=types_pb2.ScalingConfig(min_instances=count, max_instances=count),
        immediate=True,
    )
    with called(serve) as stub:
        answer: module_service_pb2.ScaleResponse = stub.Scale(
            request, metadata=token_of(serve), timeout=ANSWER_S
        )
    return answer


def test_the_screen_tells_where_the_load_balancer_finds_it(serve: Serve) -> None:
    assert re.fullmatch(r"127\.0\.0\.1:\d+", address_of(serve))
    path = serve.data_dir / "secrets" / "grpc_token"
    assert f"{address_of(serve)} (token in {path})" in serve.screen
    assert path.read_text() not in serve.screen + serve.log_text()


def test_workers_come_and_go_and_their_figures_stay(serve: Serve) -> None:
    answer = scale(serve, 2)
    assert (answer.success, answer.current_instances, answer.desired_instances) == (True, 2, 2)  # fmt: skip
    wait_until(lambda: len(serve.worker_pids()) == 2, "the first one is replaced")
    wait_until(
        lambda: serve.client.get("/api/routing/stats").json["workers"] == 2,
        "both report",
    )
    for _ in range(8):
        assert serve.chat_once("gpt-4").status == 200
    assert requests_of(serve) == 8
    answer = scale(serve, 1)
    assert (answer.success, answer.desired_instances) == (True, 1)
    wait_until(lambda: len(serve.worker_pids()) == 1, "one has gone")
    assert serve.chat_once("gpt-4").status == 200
    assert requests_of(serve) == 9


def requests_of(serve: Serve) -> float:
    lines = serve.client.get("/metrics").body.decode().splitlines()
    return sum(
        float(line.rpartition(" ")[2])
        for line in lines
        if line.startswith("ailb_requests_total") and 'model="gpt-4"' in line
    )


def test_a_killed_service_comes_again_at_the_same_address(serve: Serve) -> None:
    killed = service_pid(serve)
    os.kill(killed, signal.SIGKILL)
    assert serve.chat_once("gpt-4").status == 200
    assert scale(serve, 1).success
    assert service_pid(serve) != killed


def test_a_shutdown_is_answered_before_everything_ends(serve: Serve) -> None:
    # The last of this place.
    with called(serve) as stub:
        answer = stub.Shutdown(
            module_service_pb2.ShutdownRequest(graceful=True, timeout_seconds=5),
            metadata=token_of(serve),
            timeout=ANSWER_S,
        )
    assert answer.success, answer.message
    assert serve.process is not None
    assert serve.process.wait(timeout=ANSWER_S) == 0
    assert survivors(serve.data_dir) == []
