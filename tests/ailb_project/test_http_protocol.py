"""What a client may send: the request by the letter, limits, deadlines."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from tests.ailb_project.server_process import (
    SETTINGS,
    ServerProcess,
    running_server,
    wait_until,
)

MAX_BODY = 1_000_000
MAX_UPLOAD = 2_000_000
MEBIBYTE = 1024 * 1024
LIMITED = replace(
    SETTINGS,
    max_body_bytes=MAX_BODY,
    max_upload_bytes=MAX_UPLOAD,
    header_timeout_s=1,
    body_timeout_s=1,
    keep_alive_s=1,
    stall_timeout_s=20,
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """One worker for all tests of this file: what one does must not harm the next."""
    with running_server(tmp_path_factory.mktemp("server"), LIMITED) as running:
        yield running
        with running.connect() as client:
            assert client.ask("/echo").status == 200


def head(*lines: str) -> bytes:
    return "\r\n".join([*lines, "", ""]).encode("latin1")


def post(*headers: str) -> bytes:
    return head("POST /echo HTTP/1.1", "Host: localhost", *headers)


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


# --- What the application is given


def test_the_application_gets_the_request_as_it_came(server: ServerProcess) -> None:
    with server.connect() as client:
        client.send(post("Content-Length: 5").replace(b"/echo", b"/ec%68o?a=b%20c"))
        client.send(b"hello")
        answer = client.answer()
    assert answer.status == 200
    assert answer.json["path"] == "/echo"
    assert answer.json["query"] == "a=b%20c"
    assert answer.json["size"] == 5
    assert answer.json["is_draining"] is False
    assert "server" not in answer.headers


def test_a_root_path_from_a_client_is_ignored(server: ServerProcess) -> None:
    with server.connect() as client:
        answer = client.ask("/echo", "Daphne-Root-Path: /admin", "X_Y: z", "X-Y: w")
    assert answer.json["root_path"] == ""
    assert answer.json["path"] == "/echo"
    assert answer.json["headers"] == ["host", "x-y"]


def test_a_form_is_not_parsed_before_the_application(server: ServerProcess) -> None:
    with server.connect() as client:
        client.send(
            post("Content-Type: multipart/form-data; boundary=x", "Content-Length: 9")
        )
        client.send(b"not parts")
        assert client.answer().json["size"] == 9


def test_pipelined_requests_are_answered_in_order(server: ServerProcess) -> None:
    with server.connect() as client:
        for number in range(3):
            client.get(f"/echo?{number}")
        assert [client.answer().json["query"] for _ in range(3)] == ["0", "1", "2"]


def test_a_head_request_gets_no_body(server: ServerProcess) -> None:
    with server.connect() as client:
        client.send(head("HEAD /two-parts HTTP/1.1", "Host: localhost"))
        assert client.answer(has_body=False).status == 200
        assert client.ask("/echo").status == 200


def test_http_1_0_gets_an_unchunked_answer(server: ServerProcess) -> None:
    with server.connect() as client:
        client.send(head("GET /two-parts HTTP/1.0"))
        assert client.answer().body == b"onetwo"


# --- Body limits


def test_a_body_of_exactly_the_limit_passes(server: ServerProcess) -> None:
    with server.connect() as client:
        client.send(post(f"Content-Length: {MAX_BODY}") + b"x" * MAX_BODY)
        assert client.answer().json["size"] == MAX_BODY
        client.send(post("Transfer-Encoding: chunked"))
        client.send(chunk(b"x" * MAX_BODY) + b"0\r\n\r\n")
        assert client.answer().json["size"] == MAX_BODY


def test_a_length_over_the_limit_is_refused_before_the_body(
    server: ServerProcess,
) -> None:
    with server.connect() as client:
        client.send(post(f"Content-Length: {MAX_BODY + 1}", "Expect: 100-continue"))
        answer = client.answer()
        assert answer.status == 413
        assert answer.error["code"] == "request_too_large"
        assert answer.error["type"] == "invalid_request_error"
        assert answer.headers["connection"] == "close"
        assert answer.headers["x-request-id"]
        assert client.is_closed()


def test_a_refused_client_that_sends_on_still_reads_why(server: ServerProcess) -> None:
    with server.connect() as client:
        client.send(post(f"Content-Length: {8 * MEBIBYTE}"))
        client.send(b"x" * 8 * MEBIBYTE)
        assert client.answer().status == 413


def test_chunks_over_the_limit_are_refused_as_they_arrive(
    server: ServerProcess,
) -> None:
    with server.connect() as client:
        client.send(post("Transfer-Encoding: chunked"))
        for _ in range(10):
            client.send(chunk(b"x" * (MAX_BODY // 10)))
        client.send(chunk(b"x"))  # the body is not complete and never will be
        answer = client.answer()
    assert answer.status == 413
    assert answer.error["code"] == "request_too_large"


def test_a_chunked_body_over_the_limit_in_one_write_never_reaches_the_application(
    server: ServerProcess,
) -> None:
    with server.connect() as client:
        client.send(post("Transfer-Encoding: chunked"))
        client.send(chunk(b"x" * (MAX_BODY + 1)) + b"0\r\n\r\n")
        assert client.answer().status == 413
        assert client.is_closed()


UPLOAD = b"/api/collections/a%20b/documents?x=/y"
NEIGHBOURS = (
    (b"PUT", UPLOAD),
    (b"POST", UPLOAD.replace(b"documents", b"search")),
    (b"POST", UPLOAD.replace(b"a%20b", b"a/b")),
    (b"POST", b"/api/collections/documents"),
    (b"POST", b"/v1/files/x"),
    (b"POST", b"/admin/rag/collection/12/change/"),
    (b"POST", b"//v1/files"),
)


def test_a_request_that_brings_a_file_may_be_larger(server: ServerProcess) -> None:
    with server.connect() as client:
        for length in (MAX_BODY + 1, MAX_UPLOAD):
            request = post(f"Content-Length: {length}").replace(b"/echo", UPLOAD)
            client.send(request + b"x" * length)
            assert client.answer().json["size"] == length
        client.send(post("Transfer-Encoding: chunked").replace(b"/echo", UPLOAD))
        client.send(chunk(b"x" * MAX_UPLOAD) + b"0\r\n\r\n")
        assert client.answer().json["size"] == MAX_UPLOAD
        # On the same connection, the next request has its own limit.
        client.send(post(f"Content-Length: {MAX_BODY + 1}"))
        assert client.answer().error["code"] == "request_too_large"


@pytest.mark.parametrize("is_chunked", [False, True])
@pytest.mark.parametrize(
    "route",
    [
        (b"POST", UPLOAD),
        (b"POST", b"/v1/files"),
        (b"POST", b"/admin/rag/collection/12/upload/"),
        (b"POST", b"/admin/rag/document/12/replace/"),
        (b"PUT", b"/api/collections/a%20b/documents/0f.x"),
    ],
)
def test_a_file_over_its_limit_is_refused_before_it_is_whole(
    server: ServerProcess, route: tuple[bytes, bytes], is_chunked: bool
) -> None:
    length = "Transfer-Encoding: chunked" if is_chunked else f"Content-Length: {9**9}"
    with server.connect() as client:
        client.send(post(length).replace(b"POST /echo", b" ".join(route)))
        if is_chunked:
            client.send(chunk(b"x" * (MAX_UPLOAD + 1)))
        answer = client.answer()
    assert (answer.status, answer.error["code"]) == (413, "too_large")
    assert str(MAX_UPLOAD) in answer.error["message"]


@pytest.mark.parametrize("route", NEIGHBOURS)
def test_no_other_request_may_be_larger(
    server: ServerProcess, route: tuple[bytes, bytes]
) -> None:
    request = post(f"Content-Length: {MAX_BODY + 1}")
    with server.connect() as client:
        client.send(request.replace(b"POST /echo", b" ".join(route)))
        answer = client.answer()
    assert (answer.status, answer.error["code"]) == (413, "request_too_large")


def open_files(server: ServerProcess) -> set[str]:
    targets = set()
    for descriptor in Path(f"/proc/{server.process.pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed since it was listed
            targets.add(str(descriptor.readlink()))
    return {target for target in targets if not target.startswith("socket:")}


def test_a_large_body_is_not_spooled_to_disk(server: ServerProcess) -> None:
    before = open_files(server)
    with server.connect() as client:
        client.send(post(f"Content-Length: {MAX_BODY}"))
        client.send(b"x" * (MAX_BODY - 1))
        with server.connect() as other:
            assert other.ask("/echo").status == 200
        during = open_files(server)
        client.send(b"x")
        assert client.answer().json["size"] == MAX_BODY
    assert during <= before  # what the start had open may be closed by now


# --- Malformed and ambiguous requests

GET = "GET /echo HTTP/1.1"
POST = "POST /echo HTTP/1.1"
HOST = "Host: localhost"


@pytest.mark.parametrize(
    "request_bytes",
    [
        pytest.param(head(POST, HOST, *lines) + b"0\r\n\r\n", id=" | ".join(lines)[:60])
        for lines in [
            ["Content-Length: 5", "Content-Length: 5"],
            ["Content-Length: 5", "Content-Length: 6"],
            ["Content-Length: 5, 5"],
            ["Content-Length: 5", "Transfer-Encoding: chunked"],
            ["Transfer-Encoding: chunked", "Content-Length: 5"],
            ["Transfer-Encoding: chunked", "Transfer-Encoding: chunked"],
            ["Transfer-Encoding: identity", "Content-Length: 5"],
            ["Transfer-Encoding: gzip, chunked"],
            ["Transfer-Encoding: xchunked"],
            ["Content-Length: -5"],
            ["Content-Length: +5"],
            ["Content-Length: 0x5"],
            ["Content-Length: " + "9" * 5000],
            ["Content-Length : 5"],
            ["Content-Length: 5", " 6"],
            ["no colon"],
            ["X: a\x00b"],
            ["X: a\x0bb"],
            ["Host: other"],
        ]
    ],
)
def test_an_ambiguous_request_is_refused(
    server: ServerProcess, request_bytes: bytes
) -> None:
    with server.connect() as client:
        client.send(request_bytes)
        answer = client.answer()
        assert answer.status == 400
        assert answer.error["type"] == "invalid_request_error"
        assert client.is_closed()


@pytest.mark.parametrize(
    "request_bytes",
    [
        head(GET),
        head("GET http://localhost/echo HTTP/1.1", HOST),
        head("GET echo HTTP/1.1", HOST),
        head("GET /\xa5 HTTP/1.1", HOST),
        head("GET /echo?\xa5 HTTP/1.1", HOST),
        head("GET /echo HTTP/2.0", HOST),
        head("GET /echo", HOST),
        head("G(T /echo HTTP/1.1", HOST),
        head("POST /echo HTTP/1.0", HOST, "Transfer-Encoding: chunked"),
        post("Transfer-Encoding: chunked") + b"five\r\nhello\r\n0\r\n\r\n",
        post("Transfer-Encoding: chunked") + b"5\r\nhelloworld\r\n0\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    ],
)
def test_a_malformed_request_is_refused(
    server: ServerProcess, request_bytes: bytes
) -> None:
    with server.connect() as client:
        client.send(request_bytes)
        assert client.answer().status == 400
        assert client.is_closed()


@pytest.mark.parametrize(
    "lines",
    [
        [f"X-{number}: y" for number in range(100)],
        ["X: " + "y" * 17_000],
        [f"X-{number}: " + "y" * 6_000 for number in range(3)],
    ],
)
def test_too_many_or_too_large_headers_are_refused(
    server: ServerProcess, lines: list[str]
) -> None:
    with server.connect() as client:
        client.send(head(GET, HOST, *lines))
        answer = client.answer()
        assert answer.status == 431
        assert answer.error["code"] == "request_headers_too_large"
        assert client.is_closed()


def test_a_hundred_headers_of_fifteen_kibibytes_pass(server: ServerProcess) -> None:
    with server.connect() as client:
        lines = [f"X-{number}: " + "y" * 140 for number in range(99)]
        assert client.ask("/echo", *lines).status == 200


# --- Deadlines


def trickle_until_answered(
    server: ServerProcess, opening: bytes, drip: bytes
) -> tuple[int, float]:
    """Send one drip each 20 ms; give the status of the answer and when it came."""
    with server.connect() as client:
        client.send(opening)
        started_s = time.monotonic()
        client.socket.settimeout(0.02)
        while time.monotonic() < started_s + 5:
            client.send(drip)
            try:
                return client.answer().status, time.monotonic() - started_s
            except TimeoutError:
                continue
    return 0, 5


@pytest.mark.parametrize(
    ("opening", "drip"),
    [
        (b"GET /echo HTTP/1.1\r\nX: ", b"y"),
        (post("Content-Length: 900000"), b"x"),
        (post("Transfer-Encoding: chunked"), chunk(b"x")),
    ],
)
def test_a_trickled_request_is_ended_on_time(
    server: ServerProcess, opening: bytes, drip: bytes
) -> None:
    status, elapsed_s = trickle_until_answered(server, opening, drip)
    assert status == 408
    assert 0.9 < elapsed_s < 3


def test_a_silent_connection_is_closed_without_an_answer(
    server: ServerProcess,
) -> None:
    with server.connect() as new, server.connect() as used:
        assert used.ask("/echo").status == 200
        assert new.is_closed()
        assert used.is_closed()


def test_an_answer_may_take_longer_than_the_request_may(server: ServerProcess) -> None:
    with server.connect() as client:
        assert client.ask("/slow?1.8").body == b"slow but done"


def test_a_client_that_takes_nothing_is_cut(tmp_path: Path) -> None:
    settings = replace(LIMITED, stall_timeout_s=1)
    with (
        running_server(tmp_path, settings) as server,
        server.connect(receive_buffer=4096) as client,
    ):
        client.get("/big?64")
        wait_until(
            lambda: not list_sockets(server, client.socket.getsockname()[1]),
            "the stalled connection is gone",
        )
        with server.connect() as other:
            assert other.ask("/echo").status == 200


def list_sockets(server: ServerProcess, client_port: int) -> list[str]:
    """Find the server's end of a connection among the kernel's TCP sockets."""
    local, remote = f":{server.address[1]:04X}", f":{client_port:04X}"
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return [
        row[1] for row in rows if row[1].endswith(local) and row[2].endswith(remote)
    ]
