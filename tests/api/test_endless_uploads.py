"""Bodies of ten gigabytes, announced or not: refused early, kept neither in memory nor on disk."""

from __future__ import annotations

import select
import socket
from collections.abc import Callable, Iterator

import pytest

from ailb_project.server_settings import ServerSettings
from tests.ailb_project.raw_http import Connection
from tests.api.gateway_process import Gateway
from tests.api.process_figures import forget_peak, peak_bytes, written_bytes

MEBIBYTE = 1024 * 1024
LIMIT = ServerSettings().max_body_bytes
ENDLESS = 10 * 1024 * MEBIBYTE
PIECE = b" " * 65_536
BUFFER = 128 * 1024  # of sender and receiver, else the kernel takes tens of mebibytes
ON_ITS_WAY = 4 * MEBIBYTE  # with what the server reads at a time
GROWN_BYTES = LIMIT + 12 * MEBIBYTE
# Logs, and what the threads of a server use to wake each other.
WRITTEN_BYTES = 2 * MEBIBYTE


@pytest.fixture(scope="module")
def limited(start_gateway: Callable[..., Gateway]) -> Gateway:
    gateway = start_gateway()
    # The connections that are accepted inherit it.
    gateway.listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
    return gateway


def chunks() -> Iterator[bytes]:
    """Give a body of ten gigabytes in chunks."""
    for _ in range(ENDLESS // len(PIECE)):
        yield b"%x\r\n%b\r\n" % (len(PIECE), PIECE)
    yield b"0\r\n\r\n"


def plain() -> Iterator[bytes]:
    """Give the same body as it is."""
    for _ in range(ENDLESS // len(PIECE)):
        yield PIECE


def send_until_answered(client: Connection, body: Iterator[bytes]) -> int:
    """Send for as long as no answer is there; give the bytes that the kernel took."""
    sent = 0
    client.socket.setblocking(False)
    rest = memoryview(b"")
    while True:
        readable, _, _ = select.select([client.socket], [client.socket], [], 15)
        if readable:
            break
        rest = rest or memoryview(next(body))
        size = client.socket.send(rest)
        rest, sent = rest[size:], sent + size
    client.socket.setblocking(True)
    return sent


@pytest.mark.parametrize("target", ["/v1/chat/completions", "/v1/embeddings"])
@pytest.mark.parametrize(
    ("framing", "body", "limit"),
    [
        ("transfer-encoding: chunked", chunks, LIMIT),
        (f"content-length: {ENDLESS}", plain, 0),
    ],
)
def test_an_endless_body_is_refused_at_the_limit_and_kept_nowhere(
    limited: Gateway,
    framing: str,
    body: Callable[[], Iterator[bytes]],
    limit: int,
    target: str,
) -> None:
    (process,) = limited.processes
    resident, written = forget_peak(process.pid), written_bytes(process.pid)
    files = set(limited.data_dir.rglob("*"))
    with Connection(limited.address) as client:
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER)
        client.send(
            f"POST {target} HTTP/1.1\r\nHost: localhost\r\n{framing}\r\n"
            "Content-Type: application/json\r\n\r\n".encode()
        )
        sent = send_until_answered(client, body())
        answer = client.answer()
    assert (answer.status, answer.error["code"]) == (413, "request_too_large")
    if limited.server == "daphne":  # the others read for two seconds before they answer
        assert sent < limit + ON_ITS_WAY
    assert peak_bytes(process.pid) - resident < GROWN_BYTES
    assert written_bytes(process.pid) - written < WRITTEN_BYTES
    assert set(limited.data_dir.rglob("*")) <= files
