"""The other servers keep the promises that Daphne's subclass keeps."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from ailb_project.server_settings import CUT_SIGNAL, SERVER_MODULES, YIELD_SIGNAL
from tests.ailb_project.server_process import (
    SETTINGS,
    ServerProcess,
    running_server,
    wait_until,
)
from tests.ailb_project.supervising import Load, supervised

MEBIBYTE = 1024 * 1024
MAX_BODY = 1_000_000
MAX_UPLOAD = 2_000_000
LIMITED = replace(
    SETTINGS,
    max_body_bytes=MAX_BODY,
    max_upload_bytes=MAX_UPLOAD,
    header_timeout_s=1,
    body_timeout_s=1,
    keep_alive_s=1,
)
OTHERS = ["granian", "uvicorn"]


@pytest.fixture(scope="module", params=OTHERS)
def name(request: pytest.FixtureRequest) -> str:
    server: str = request.param
    return server


@pytest.fixture(scope="module")
def server(
    name: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServerProcess]:
    """One worker for all tests that do not stop it: what one does harms no other."""
    directory = tmp_path_factory.mktemp(name)
    with running_server(directory, LIMITED, server=name) as running:
        yield running
        with running.connect() as client:
            assert client.ask("/echo").status == 200
        running.stop()
        assert running.exit_code() == 0


def post(*headers: str, target: str = "/echo") -> bytes:
    lines = [f"POST {target} HTTP/1.1", "Host: localhost", *headers, "", ""]
    return "\r\n".join(lines).encode("latin1")


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


# --- Requests and their limits


def test_the_application_gets_what_daphne_would_give_it(server: ServerProcess) -> None:
    with server.connect() as client:
        client.send(
            post("Content-Length: 5", "X_Y: z", "X-Y: w", target="/ec%68o?a=b%20c")
        )
        client.send(b"hello")
        seen = client.answer().json
        assert client.ask("/echo").status == 200, "the connection is kept"
    assert (seen["path"], seen["query"], seen["size"]) == ("/echo", "a=b%20c", 5)
    assert (seen["root_path"], seen["is_draining"]) == ("", False)
    assert "x_y" not in seen["headers"]
    assert "x-y" in seen["headers"]


@pytest.mark.parametrize("is_chunked", [False, True])
@pytest.mark.parametrize(
    ("target", "limit", "code"),
    [
        ("/echo", MAX_BODY, "request_too_large"),
        ("/api/collections/a%20b/documents", MAX_UPLOAD, "too_large"),
    ],
)
def test_a_body_over_the_limit_is_refused_and_the_client_reads_why(
    server: ServerProcess, target: str, limit: int, code: str, is_chunked: bool
) -> None:
    coding = "Transfer-Encoding: chunked"
    with server.connect() as client:
        if is_chunked:
            client.send(post(coding, target=target) + chunk(b"x" * limit) + chunk(b""))
        else:
            client.send(post(f"Content-Length: {limit}", target=target) + b"x" * limit)
        assert client.answer().json["size"] == limit
    with server.connect() as client:
        if is_chunked:
            client.send(post(coding, target=target) + chunk(b"x" * limit) + chunk(b"x"))
        else:  # sent on and on, whatever is said
            client.send(post(f"Content-Length: {8 * MEBIBYTE}", target=target))
            client.send(b"x" * 8 * MEBIBYTE)
        answer = client.answer()
        assert (answer.status, answer.error["code"]) == (413, code)
        assert answer.headers["connection"] == "close"
        assert answer.headers["x-request-id"]


def test_a_trickled_body_is_ended_on_time(server: ServerProcess) -> None:
    with server.connect() as client:
        client.send(post("Content-Length: 900000"))
        started_s = time.monotonic()
        client.socket.settimeout(0.02)
        status = 0
        while not status and time.monotonic() < started_s + 5:
            client.send(b"x")
            try:
                status = client.answer().status
            except TimeoutError:
                continue
        assert status == 408
        assert 0.9 < time.monotonic() - started_s < 3


def test_a_connection_that_brings_no_whole_head_is_closed(
    server: ServerProcess,
) -> None:
    with server.connect() as new, server.connect() as used, server.connect() as half:
        assert used.ask("/echo").status == 200
        half.send(b"GET /echo HTTP/1.1\r\nX: ")
        half.socket.settimeout(0.02)
        deadline_s, is_open = time.monotonic() + 6, True
        while is_open and time.monotonic() < deadline_s:
            try:
                half.send(b"y")
                is_open = bool(half.socket.recv(4096))
            except TimeoutError:
                continue
            except ConnectionError:
                is_open = False
        assert not is_open
        assert new.is_closed()
        assert used.is_closed()


@pytest.mark.parametrize(
    "lines",
    [
        [f"X-{number}: y" for number in range(101)],
        ["X: " + "y" * 17_000],
    ],
)
def test_too_many_or_too_large_headers_are_refused(
    server: ServerProcess, lines: list[str]
) -> None:
    with server.connect() as client:
        client.send(post(*lines, "Content-Length: 0"))
        assert client.answer().status == 431
        assert client.is_closed()


def test_a_header_without_an_end_is_refused_as_it_arrives(
    server: ServerProcess,
) -> None:
    with server.connect() as client:
        client.send(b"GET /echo HTTP/1.1\r\nHost: localhost\r\nX: ")
        client.socket.settimeout(0.02)
        status = 0
        for _ in range(100):
            client.send(b"y" * 4096)
            try:
                status = client.answer().status
            except TimeoutError:
                continue
            break
        assert status == 431


def test_a_hundred_headers_in_many_small_segments_pass(server: ServerProcess) -> None:
    request = post(*(f"X-{number}: " + "y" * 120 for number in range(97)))
    with server.connect() as client:
        client.socket.setsockopt(6, 1, True)  # TCP_NODELAY
        for start in range(0, len(request), 500):
            client.send(request[start : start + 500])
        assert client.answer().status == 200


@pytest.mark.parametrize(
    "line", ["no colon", "X: a\x00b", "Content-Length: x", "Content-Length: -5"]
)
def test_a_malformed_request_is_refused(server: ServerProcess, line: str) -> None:
    with server.connect() as client:
        client.send(post(line))
        assert client.answer().status == 400
        assert client.is_closed()


# --- Answers


def test_an_answer_before_the_body_was_read_leaves_the_connection_in_order(
    server: ServerProcess,
) -> None:
    request = post("Content-Length: 900000", target="/slow?0") + b"x" * 900_000
    with server.connect() as client:
        for _ in range(3):
            client.send(request)
            answer = client.answer()
            assert answer.body == b"slow but done"
            assert "connection" not in answer.headers
    with server.connect() as client:
        client.send(request[:1000])
        assert client.answer().headers["connection"] == "close"
        assert client.is_closed()


@pytest.mark.parametrize(
    "path", ["/broken", "/broken-after-start", "/exiting", "/silent", "/websocket"]
)
def test_a_failure_before_the_first_byte_is_a_500_that_tells_nothing(
    server: ServerProcess, path: str
) -> None:
    with server.connect() as client:
        answer = client.ask(path)
    assert (answer.status, answer.error["code"]) == (500, "internal_error")
    assert b"secret" not in answer.body


def test_a_failure_in_a_stream_ends_it_without_its_end(server: ServerProcess) -> None:
    with server.connect() as client:
        client.get("/broken-stream")
        try:
            seen = client.read_to_end()
        except ConnectionResetError:
            seen = b""
        assert not seen.endswith(b"0\r\n\r\n")


@pytest.mark.parametrize("leave", ["close", "reset"])
@pytest.mark.parametrize("path", ["/watched", "/stuck"])
def test_a_client_that_leaves_is_noticed_at_once(
    server: ServerProcess, path: str, leave: str
) -> None:
    before = server.journal.count("http.disconnect")
    begun = server.journal.count(f"{path[1:]} started")
    with server.connect() as client:
        client.get(path)
        wait_until(
            lambda: server.journal.count(f"{path[1:]} started") > begun, "it starts"
        )
        left_s = time.monotonic()
        client.reset() if leave == "reset" else client.socket.close()
        wait_until(
            lambda: server.journal.count("http.disconnect") > before, "it is told"
        )
        assert time.monotonic() - left_s < 0.5


def test_a_slow_reader_holds_the_application_and_gets_every_byte(
    server: ServerProcess,
) -> None:
    with server.connect(receive_buffer=65_536) as client:
        before = server.resident_bytes()
        client.get("/big?60")
        server.wait_for("sent 0 MiB")
        with server.connect() as other:  # half a second in which it could send it all
            assert other.ask("/slow?0.5").status == 200
        assert "sent 20 MiB" not in server.journal
        assert server.resident_bytes() - before < 20 * MEBIBYTE
        assert len(client.answer().body) == 60 * MEBIBYTE


# --- Drain


def test_a_stop_answers_all_who_came_and_closes_those_who_ask_nothing(
    name: str, tmp_path: Path
) -> None:
    with running_server(tmp_path, server=name) as server, ExitStack() as stack:
        slow, stream, half, new, used = (
            stack.enter_context(server.connect()) for _ in range(5)
        )
        slow.get("/slow?1.5")
        stream.get("/stream?1.5")
        half.send(post("Content-Length: 9") + b"half")
        assert used.ask("/echo").status == 200
        server.wait_for("slow started")
        server.wait_for("stream started")
        server.process.send_signal(signal.SIGSTOP)
        backlog = [stack.enter_context(server.connect()) for _ in range(100)]
        for client in backlog:
            client.get("/echo")
        server.stop()
        stopped_s = time.monotonic()
        server.process.send_signal(signal.SIGCONT)
        for client in backlog:
            answer = client.answer()
            assert answer.status == 200
            assert answer.headers["connection"] == "close"
        half.send(b" rest")
        assert half.answer().json["size"] == 9
        wait_until(server.is_refusing, "new connections are refused")
        assert new.is_closed()
        assert used.is_closed()
        assert slow.answer().body == b"slow but done"
        assert stream.answer().body.endswith(b"chunk 9\n[DONE]\n")
        assert server.exit_code() == 0
        assert time.monotonic() - stopped_s < 4
        assert server.journal[-1] == "shutdown"
        assert "0 cut" in server.log


def test_the_grace_accepts_and_says_that_it_drains_until_the_time_is_over(
    name: str, tmp_path: Path
) -> None:
    settings = replace(SETTINGS, grace_s=60)
    with (
        running_server(tmp_path, settings, server=name) as server,
        server.connect() as kept,
        server.connect() as stream,
        server.connect() as silent,
    ):
        assert "connection" not in kept.ask("/echo").headers
        stream.get("/last-words")
        silent.get("/slow?60")
        server.wait_for("last words started")
        server.wait_for("slow started")
        server.stop()
        wait_until(lambda: is_draining(server), "the application can see the drain")
        assert kept.ask("/echo").headers["connection"] == "close"
        assert kept.is_closed()
        server.process.send_signal(CUT_SIGNAL)
        assert stream.answer().body == b"first\nlast\n"
        answer = silent.answer()
        assert (answer.status, answer.error["code"]) == (503, "shutting_down")
        assert server.exit_code() == 0
        assert "2 cut" in server.log


def test_who_yields_skips_the_grace_and_cuts_what_is_stuck_at_the_limit(
    name: str, tmp_path: Path
) -> None:
    settings = replace(SETTINGS, grace_s=60, drain_timeout_s=0.3)
    with (
        running_server(tmp_path, settings, server=name) as server,
        server.connect() as client,
    ):
        client.get("/stuck")
        server.wait_for("stuck started")
        server.stop(YIELD_SIGNAL)
        server.process.terminate()  # a stop beside it is no second one
        try:
            seen = client.read_to_end()
        except ConnectionResetError:
            seen = b""
        assert not seen.endswith(b"0\r\n\r\n")
        assert server.exit_code() == 0
    assert "stuck cancelled" in server.journal


def is_draining(server: ServerProcess) -> bool:
    with server.connect() as client:
        return bool(client.ask("/echo").json["is_draining"])


def test_a_rolling_restart_under_load_loses_no_request(
    name: str, tmp_path: Path
) -> None:
    argv = [sys.executable, "-m", SERVER_MODULES[name], *SETTINGS.to_argv()]
    with supervised(tmp_path, worker_argv=argv) as running:
        assert running.said() == "ready"
        old = set(running.children())
        with Load(running.address, clients=4) as load:
            wait_until(lambda: set(load.answers) == old, "both workers answer")
            running.process.send_signal(signal.SIGHUP)
            wait_until(lambda: not old & set(running.children()), "the old have gone")
            count = len(load.answers)
            wait_until(lambda: len(load.answers) > count + 20, "the new answer")
        assert load.failures == []
        assert "ended after" not in running.log
        running.process.terminate()
        assert running.exit_code() == 0
