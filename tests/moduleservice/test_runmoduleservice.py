"""`manage.py runmoduleservice` as a process: start, stop, faults and the command line."""

from __future__ import annotations

import asyncio
import json
import random
import shutil
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from google.protobuf.message_factory import GetMessageClass
from grpc_health.v1 import (  # type: ignore[import-untyped] # it ships none
    health_pb2,
    health_pb2_grpc,
)
from pytest_django.plugin import DjangoDbBlocker

from gateway.models import VersionWeight
from moduleservice import call
from moduleservice.servicer import SERVICE
from tests.api.gateway_process import database_alias, wait_until
from tests.moduleservice.nlb_emulator import running_nlb
from tests.moduleservice.service_process import Service, begin_service, running_service
from tests.moduleservice.test_fuzz import filled
from tests.moduleservice.tiny_parts import RawCall, code_of

START_S = 60.0
MESSAGES = 500
AT_ONCE = 20
ENDLESS = ("StreamMetrics", "Reload")  # there are no workers that could reload
Status = health_pb2.HealthCheckResponse


@pytest.fixture(scope="module")
def service(
    database_template: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    data_dir = tmp_path_factory.mktemp("service")
    shutil.copyfile(database_template, data_dir / "ailb.sqlite3")
    with running_service(data_dir) as service:
        yield service
        assert service.stop() == 0


def test_it_says_where_it_serves_and_where_the_token_is(service: Service) -> None:
    token_file = service.data_dir / "secrets" / "grpc_token"
    assert service.line == (
        f"ModuleService serves at {service.address}; its token is in {token_file}."
    )
    assert token_file.stat().st_mode & 0o777 == 0o600


def test_a_call_from_the_command_line_is_answered_in_json(service: Service) -> None:
    done = service.call("GetActiveVersion")
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["active_version"] == "v1"


def test_a_call_that_changes_something_finds_the_token_by_itself(
    service: Service, tmp_path: Path
) -> None:
    request = json.dumps({"version": "v1", "weight": 100})
    done = service.call("SetTrafficWeight", request)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["success"] is True
    elsewhere = {"AILB_DATA_DIR": str(tmp_path)}
    done = service.call("SetTrafficWeight", request, **elsewhere)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("UNAUTHENTICATED: SetTrafficWeight changes something")
    assert done.stderr.count("\n") == 1


@pytest.fixture
def at(service: Service) -> tuple[str, str]:
    """Give the options that reach the service from within this process."""
    return ("--address", service.address)


@pytest.fixture
def token(service: Service) -> tuple[str, str]:
    return ("--token-file", str(service.data_dir / "secrets" / "grpc_token"))


def test_a_refusal_is_printed_and_is_a_failure(
    at: tuple[str, str], token: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    request = json.dumps({"version": "nowhere", "weight": 10})
    assert call.main(["SetTrafficWeight", request, *at, *token]) == 1
    told = capsys.readouterr()
    assert json.loads(told.out)["error"]["code"] == "STATUS_CODE_NOT_FOUND"
    assert told.err.startswith("Refused: ")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["GetNothing"], "There is no method 'GetNothing'; there are: GetStatus, "),
        (["GetStatus", "{"], "This is no GetStatusRequest: Failed to load JSON"),
        (["GetStatus", '{"a": 1}'], "This is no GetStatusRequest: Message type"),
        (["GetStatus", "{}", "--token-file", "/nowhere"], "/nowhere cannot be read: "),
        (["GetStatus", "{}", "--ca", "/nowhere"], "/nowhere cannot be read: "),
        (["GetStatus", '{"instance_id": "x"}'], "NOT_FOUND: No instance 'x' is live; "),
    ],
)
def test_what_cannot_be_called_is_said_in_one_line(
    arguments: list[str],
    words: str,
    at: tuple[str, str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert call.main([*arguments, *at]) == 1
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith(words)
    assert told.err.count("\n") == 1


def test_a_server_that_is_not_there_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert call.main(["GetStatus", "--address", "127.0.0.1:1"]) == 1
    assert capsys.readouterr().err.startswith("UNAVAILABLE: ")


def test_it_is_not_serving_while_its_version_drains(
    service: Service, django_db_blocker: DjangoDbBlocker
) -> None:
    database = service.data_dir / "ailb.sqlite3"
    with (
        django_db_blocker.unblock(),
        database_alias("service", database) as alias,
        grpc.insecure_channel(service.address) as channel,
    ):
        request = health_pb2.HealthCheckRequest(service="marchproxy.ModuleService")
        watch = health_pb2_grpc.HealthStub(channel).Watch(request, timeout=30)
        assert next(watch).status == Status.SERVING
        weights = VersionWeight.objects.using(alias)
        weights.update_or_create(
            version="v1", defaults={"weight": 0, "is_draining": True}
        )
        assert next(watch).status == Status.NOT_SERVING
        weights.all().delete()
        assert next(watch).status == Status.SERVING
        watch.cancel()


def test_an_interrupt_ends_it_as_well(tmp_path: Path, database_template: Path) -> None:
    shutil.copyfile(database_template, tmp_path / "ailb.sqlite3")
    environment = {"AILB_GRPC_TOKEN": "a token of the operator's own"}
    with running_service(tmp_path, **environment) as service:
        assert service.line.endswith("its token is that of AILB_GRPC_TOKEN.")
        assert service.stop(signal.SIGINT) == 0


def test_a_database_that_is_away_is_waited_for(
    tmp_path: Path, database_template: Path
) -> None:
    folder = tmp_path / "later"
    url = f"sqlite:///{folder / 'ailb.sqlite3'}"
    with running_service(tmp_path, DATABASE_URL=url) as service:
        done = service.call("GetActiveVersion")
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.startswith("UNAVAILABLE: AILB")
        folder.mkdir()
        shutil.copyfile(database_template, folder / "ailb.sqlite3")
        wait_until(
            lambda: service.call("GetActiveVersion").returncode == 0,
            "it answers when the database is there",
        )
        assert service.stop() == 0


def test_a_taken_port_is_one_line_and_code_78(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        process = begin_service(tmp_path, {"GRPC_PORT": str(port)})
        told, _ = process.communicate(timeout=START_S)
    assert (process.returncode, told) == (78, "")
    assert (tmp_path / "log").read_text() == (
        f"ailb: Port {port} on 127.0.0.1 is already in use: stop the program that has it"
        " or set GRPC_PORT to a free port.\n"
    )


def test_it_registers_with_the_load_balancer_and_leaves_it_first(
    tmp_path: Path, database_template: Path
) -> None:
    shutil.copyfile(database_template, tmp_path / "ailb.sqlite3")
    with running_nlb() as nlb:
        environment = {"NLB_GRPC_ADDRESS": nlb.emulator.address}
        with running_service(tmp_path, **environment) as service:
            wait_until(
                lambda: bool(nlb.emulator.calls_of("RegisterModule")), "it registers"
            )
            [registered] = nlb.emulator.calls_of("RegisterModule")
            assert registered.request.instance.address == service.address
            assert service.stop() == 0
        [left] = nlb.emulator.calls_of("UnregisterModule")
    assert left.request.instance_id == registered.request.instance.instance_id


def test_random_messages_to_the_real_parts_have_answers_in_our_words(
    service: Service,
) -> None:
    draw = random.Random(13)  # noqa: S311 - the same in every run
    token = (service.data_dir / "secrets" / "grpc_token").read_text().strip()
    codes = asyncio.run(
        throw_messages(service.address, [("authorization", f"Bearer {token}")], draw)
    )
    assert codes <= {
        grpc.StatusCode.OK,
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.NOT_FOUND,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
    }
    lines = [json.loads(line) for line in service.log.splitlines()]
    assert [line for line in lines if line["level"] == "error"] == []
    assert service.call("GetStatus").returncode == 0


async def throw_messages(
    address: str, metadata: list[tuple[str, str]], draw: random.Random
) -> set[grpc.StatusCode]:
    """Call every method with random messages of its own; give how the calls ended."""
    codes = set()
    async with grpc.aio.insecure_channel(address) as channel:
        for _ in range(MESSAGES // AT_ONCE):
            async with asyncio.TaskGroup() as tasks:
                found = [
                    tasks.create_task(throw_message(channel, metadata, draw))
                    for _ in range(AT_ONCE)
                ]
            codes |= {task.result() for task in found}
    return codes


async def throw_message(
    channel: grpc.aio.Channel, metadata: list[tuple[str, str]], draw: random.Random
) -> grpc.StatusCode:
    method = draw.choice([m for m in SERVICE.methods if m.name not in ENDLESS])
    made = filled(GetMessageClass(method.input_type)(), draw)
    call: RawCall = channel.unary_unary(f"/{SERVICE.full_name}/{method.name}")
    return await code_of(call(made.SerializeToString(), metadata=metadata))
