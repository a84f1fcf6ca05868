"""A real worker: failing applications, slow clients, start, drain, WebSockets."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from ailb_project.server_settings import CUT_SIGNAL, YIELD_SIGNAL
from tests.ailb_project.raw_http import Connection
from tests.ailb_project.server_process import (
    ROOT,
    SETTINGS,
    ServerProcess,
    running_server,
    spawn,
    wait_until,
)

MEBIBYTE = 1024 * 1024
SMALL_BUFFERS = replace(SETTINGS, high_water_bytes=256 * 1024)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    with running_server(tmp_path) as running:
        yield running


# --- Failing applications


@pytest.mark.parametrize(
    "path", ["/broken", "/broken-after-start", "/exiting", "/silent"]
)
def test_a_failure_before_the_first_byte_is_a_500_that_tells_nothing(
    server: ServerProcess, path: str
) -> None:
    with server.connect() as client:
        answer = client.ask(path)
    assert answer.status == 500
    assert answer.error["type"] == "server_error"
    assert answer.error["code"] == "internal_error"
    assert b"secret" not in answer.body
    assert answer.headers["content-type"] == "application/json"
    with server.connect() as client:
        assert client.ask("/echo").status == 200


def test_a_failure_in_a_stream_resets_that_connection_only(tmp_path: Path) -> None:
    with (
        running_server(tmp_path) as server,
        server.connect() as bystander,
        server.connect() as client,
    ):
        bystander.get("/stream?1")
        server.wait_for("stream started")
        client.get("/broken-stream")
        with pytest.raises(ConnectionResetError):
            client.read_to_end()
        assert bystander.answer().body.endswith(b"[DONE]\n")
        for _ in range(3):
            with server.connect() as later:
                assert later.ask("/echo").status == 200
        assert server.log.count("RuntimeError: secret of the application") == 1


# --- Clients that leave or read slowly


@pytest.mark.parametrize("leave", ["close", "reset"])
def test_a_client_that_leaves_is_noticed_at_once(tmp_path: Path, leave: str) -> None:
    with running_server(tmp_path) as server, server.connect() as client:
        client.get("/watched")
        server.wait_for("watched started")
        left_s = time.monotonic()
        client.reset() if leave == "reset" else client.socket.close()
        server.wait_for("http.disconnect")
        assert time.monotonic() - left_s < 0.5


def test_a_slow_reader_holds_the_application_and_gets_every_byte(
    tmp_path: Path,
) -> None:
    with (
        running_server(tmp_path, SMALL_BUFFERS) as server,
        server.connect(receive_buffer=65_536) as client,
    ):
        before = server.resident_bytes()
        client.get("/big?100")
        server.wait_for("sent 0 MiB")
        with server.connect() as other:  # a second in which it could send it all
            assert other.ask("/slow?1").status == 200
        assert "sent 20 MiB" not in server.journal
        assert server.resident_bytes() - before < 20 * MEBIBYTE
        assert len(client.answer().body) == 100 * MEBIBYTE
        server.wait_for("big done")
        assert server.resident_bytes() - before < 20 * MEBIBYTE


# --- Start and settings


def test_a_failed_startup_ends_the_process_and_is_never_ready(tmp_path: Path) -> None:
    server, said = spawn(SETTINGS, tmp_path, FAIL_STARTUP="1")
    server.listener.close()
    assert said == b""
    assert server.exit_code() == 1
    assert "startup refused" in server.log


def test_an_application_that_cannot_be_imported_ends_the_process(
    tmp_path: Path,
) -> None:
    server, said = spawn(replace(SETTINGS, application="no.such:thing"), tmp_path)
    server.listener.close()
    assert said == b""
    assert server.exit_code() == 1
    assert "Cannot import the application no.such:thing" in server.log


def test_a_taken_port_is_one_clear_line(tmp_path: Path) -> None:
    with running_server(tmp_path) as other:
        settings = replace(SETTINGS, port=other.address[1])
        ended = subprocess.run(
            [sys.executable, "-m", "ailb_project.server", *settings.to_argv()],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
    assert ended.returncode == 1
    assert f"Port {settings.port} on 127.0.0.1 is already in use" in ended.stderr
    assert "Traceback" not in ended.stderr


# --- Drain


def test_what_is_in_flight_at_the_stop_is_answered(server: ServerProcess) -> None:
    with server.connect() as slow, server.connect() as stream:
        slow.get("/slow?1")
        stream.get("/stream?1")
        server.wait_for("slow started")
        server.wait_for("stream started")
        server.stop()
        wait_until(server.is_refusing, "new connections are refused")
        assert slow.answer().body == b"slow but done"
        assert stream.answer().body.endswith(b"chunk 9\n[DONE]\n")
        assert server.exit_code() == 0
    assert server.journal[-1] == "shutdown"
    assert "0 cut" in server.log


def test_the_connections_of_the_backlog_are_still_answered(
    server: ServerProcess,
) -> None:
    server.process.send_signal(signal.SIGSTOP)
    with ExitStack() as stack:
        clients = [stack.enter_context(server.connect()) for _ in range(400)]
        for client in clients:
            client.get("/echo")
        server.stop()
        server.process.send_signal(signal.SIGCONT)
        for client in clients:
            answer = client.answer()
            assert answer.status == 200
            assert answer.headers["connection"] == "close"
        assert server.exit_code() == 0


def test_a_keep_alive_client_is_told_to_close_and_loses_nothing(
    tmp_path: Path,
) -> None:
    with (
        running_server(tmp_path, replace(SETTINGS, grace_s=1)) as server,
        server.connect() as client,
    ):
        assert "connection" not in client.ask("/echo").headers
        server.stop()
        while not (answer := client.ask("/echo")).json["is_draining"]:
            assert "connection" not in answer.headers
        assert answer.headers["connection"] == "close"
        assert client.is_closed()
        assert not server.is_refusing()  # closed by the answer, not by the drain's end
        assert server.exit_code() == 0


def test_the_grace_accepts_connections_and_says_that_it_drains(tmp_path: Path) -> None:
    with running_server(tmp_path, replace(SETTINGS, grace_s=1)) as server:
        server.stop()
        stopped_s = time.monotonic()
        wait_until(lambda: is_draining(server), "the application can see the drain")
        with server.connect() as late:
            assert late.ask("/echo").headers["connection"] == "close"
        assert server.exit_code() == 0
        assert time.monotonic() - stopped_s > 1


def test_who_yields_to_others_on_the_port_skips_the_grace(tmp_path: Path) -> None:
    with (
        running_server(tmp_path, replace(SETTINGS, grace_s=60)) as server,
        server.connect() as client,
    ):
        client.get("/slow?0.3")
        server.wait_for("slow started")
        server.stop(YIELD_SIGNAL)
        assert client.answer().body == b"slow but done"
        server.process.terminate()  # a stop beside it is no second one
        assert server.exit_code() == 0


def test_when_the_time_is_over_a_drain_cuts_what_runs(tmp_path: Path) -> None:
    with (
        running_server(tmp_path, replace(SETTINGS, grace_s=60)) as server,
        server.connect() as client,
    ):
        client.get("/last-words")
        server.wait_for("last words started")
        server.stop()
        wait_until(lambda: is_draining(server), "it is in its grace")
        server.process.send_signal(CUT_SIGNAL)
        assert client.answer().body == b"first\nlast\n"
        assert server.exit_code() == 0


def is_draining(server: ServerProcess) -> bool:
    with server.connect() as client:
        return bool(client.ask("/echo").json["is_draining"])


def test_idle_connections_do_not_hold_the_drain(server: ServerProcess) -> None:
    with server.connect() as new, server.connect() as used:
        assert used.ask("/echo").status == 200
        server.stop()
        stopped_s = time.monotonic()
        assert new.is_closed()
        assert used.is_closed()
        assert server.exit_code() == 0
        assert time.monotonic() - stopped_s < 4


@pytest.mark.parametrize(
    "part",
    [
        b"POST /echo HTTP/1.1\r\nHost: loc",
        b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nhalf",
    ],
)
def test_a_request_that_stops_half_way_does_not_hold_the_drain(
    server: ServerProcess, part: bytes
) -> None:
    with server.connect() as half, server.connect() as slow:
        half.send(part)
        slow.get("/slow?1")
        server.wait_for("slow started")
        server.stop()
        assert slow.answer().body == b"slow but done"
        answer = half.answer()
        assert answer.status == 503
        assert answer.error["code"] == "shutting_down"
        half.socket.close()
        assert server.exit_code() == 0
    assert "Traceback" not in server.log


def test_an_upload_that_goes_on_is_answered(server: ServerProcess) -> None:
    with server.connect() as client:
        client.send(b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nhalf")
        server.stop()
        wait_until(server.is_refusing, "new connections are refused")
        client.send(b" rest")
        assert client.answer().json["size"] == 9
        assert server.exit_code() == 0


def test_a_stuck_stream_is_cut_at_the_limit(tmp_path: Path) -> None:
    with (
        running_server(tmp_path, replace(SETTINGS, drain_timeout_s=0.3)) as server,
        server.connect() as client,
    ):
        client.get("/stuck")
        server.wait_for("stuck started")
        server.stop()
        with pytest.raises(ConnectionResetError):
            client.read_to_end()
        assert server.exit_code() == 0
    assert server.journal[-3:] == ["http.disconnect", "stuck cancelled", "shutdown"]
    assert "1 cut" in server.log


def test_a_stream_at_the_limit_may_send_its_last_words(tmp_path: Path) -> None:
    with (
        running_server(tmp_path, replace(SETTINGS, drain_timeout_s=0.3)) as server,
        server.connect() as client,
    ):
        client.get("/last-words")
        server.wait_for("last words started")
        server.stop()
        assert client.answer().body == b"first\nlast\n"
        assert server.exit_code() == 0


def test_a_request_without_an_answer_at_the_limit_gets_a_503(tmp_path: Path) -> None:
    with (
        running_server(tmp_path, replace(SETTINGS, drain_timeout_s=0.3)) as server,
        server.connect() as client,
    ):
        client.get("/slow?60")
        server.wait_for("slow started")
        server.stop()
        answer = client.answer()
        assert answer.status == 503
        assert answer.error["code"] == "shutting_down"
        assert server.exit_code() == 0


def test_an_application_that_ignores_its_cancel_cannot_hold_the_exit(
    tmp_path: Path,
) -> None:
    with (
        running_server(tmp_path, replace(SETTINGS, drain_timeout_s=0)) as server,
        server.connect() as client,
    ):
        client.get("/stubborn")
        server.wait_for("stubborn started")
        server.stop()
        assert server.exit_code() == 0
    assert "stubborn cancelled" in server.journal
    assert server.journal[-2] == "shutdown"


def test_the_drain_waits_for_bytes_that_the_application_has_left_behind(
    tmp_path: Path,
) -> None:
    with (
        running_server(tmp_path, replace(SETTINGS, high_water_bytes=1 << 30)) as server,
        server.connect(receive_buffer=65_536) as client,
    ):
        client.get("/big?20")
        server.wait_for("big done")
        server.stop()
        wait_until(server.is_refusing, "new connections are refused")
        assert len(client.answer().body) == 20 * MEBIBYTE
        assert server.exit_code() == 0


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
def test_the_same_stop_twice_at_once_is_one_stop(
    server: ServerProcess, second: signal.Signals
) -> None:
    with server.connect() as client:
        client.get("/slow?0.5")
        server.wait_for("slow started")
        server.stop()
        wait_until(server.is_refusing, "new connections are refused")
        server.process.send_signal(second)
        assert client.answer().body == b"slow but done"
        assert server.exit_code() == 0


def test_a_second_stop_later_ends_at_once(server: ServerProcess) -> None:
    with server.connect() as client, server.connect() as clock:
        client.get("/stuck")
        clock.get("/slow?1.1")
        server.wait_for("stuck started")
        server.wait_for("slow started")
        server.stop()
        assert clock.answer().body == b"slow but done"
        server.process.send_signal(signal.SIGINT)
        assert server.exit_code() == 128 + signal.SIGINT


# --- WebSockets


def open_websocket(client: Connection, *headers: str) -> None:
    client.get(
        "/websocket",
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
        *headers,
    )
    answer = client.answer(has_body=False)
    assert answer.status == 101
    assert "server" not in answer.headers


def test_a_websocket_is_told_to_connect_again(server: ServerProcess) -> None:
    with server.connect() as client:
        open_websocket(client)
        client.send(b"\x81\x82\0\0\0\0hi")  # a masked text frame
        assert client.read(4) == b"\x81\x02hi"
        server.stop()
        assert client.read(4) == b"\x88\x02" + (1012).to_bytes(2, "big")
        client.send(b"\x88\x82\0\0\0\0" + (1012).to_bytes(2, "big"))
        assert client.is_closed()
        assert server.exit_code() == 0
    assert server.journal[-2:] == ["websocket closed 1012", "shutdown"]


def test_a_websocket_without_a_key_harms_nobody(server: ServerProcess) -> None:
    with server.connect() as client:
        client.get("/websocket", "Connection: Upgrade", "Upgrade: websocket")
        assert client.answer().status == 400
    with server.connect() as client:
        assert client.ask("/echo").status == 200
    assert "Traceback" not in server.log


def test_a_websocket_that_leaves_is_noticed(server: ServerProcess) -> None:
    with server.connect() as client:
        open_websocket(client, "Daphne-Root-Path: /admin")
        client.socket.close()
        server.wait_for("websocket closed 1006")
