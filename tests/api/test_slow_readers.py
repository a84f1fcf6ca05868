"""A client that does not read: it holds its own upstream, costs little and loses nothing."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx  # noqa: TID251  # the type of a Reply's headers
import orjson
from typing_extensions import override

from tests.ailb_project.raw_http import Connection
from tests.api.gateway_process import Gateway, fresh, wait_until
from tests.api.process_figures import forget_peak, peak_bytes
from tests.client import Reply, chat_body
from tests.upstreams.simulators import running_simulator

MEBIBYTE = 1024 * 1024
PIECE = 65_536
PIECES = 960  # 60 MiB; a stream of more than 64 is broken off
# What may be on its way: the gate of the server, and the kernel's buffers, which are 32 MiB
# and 4 MiB at most for each connection on a large machine.
HELD_BYTES = 40 * MEBIBYTE
GROWN_BYTES = 12 * MEBIBYTE
REQUESTS_BESIDE = 10


@dataclass
class Flood:
    """An upstream that sends its stream as fast as it is taken."""

    url: str = ""
    sent: int = 0  # bytes that its kernel has taken
    ended: threading.Event = field(default_factory=threading.Event)


def piece(number: int) -> str:
    return f"{number:08d}" * (PIECE // 8)


def event(number: int) -> bytes:
    delta = {"index": 0, "delta": {"content": piece(number)}, "finish_reason": None}
    return b"data: %b\n\n" % orjson.dumps(
        {
            "id": "chatcmpl-1",
            "object": "chat.completion.chunk",
            "created": 1,
            "model": "m",
            "choices": [delta],
        }
    )


LAST = (
    b'data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"m",'
    b'"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
)


@contextmanager
def flooding() -> Iterator[Flood]:
    """Run such an upstream until the block ends."""
    flood = Flood()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            self.send_response(200)
            self.send_header("content-type", "text/event-stream")
            self.send_header("transfer-encoding", "chunked")
            self.end_headers()
            for number in range(PIECES):
                self._send(event(number))
            self._send(LAST)
            self.wfile.write(b"0\r\n\r\n")
            flood.ended.set()

        def _send(self, data: bytes) -> None:
            self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))
            flood.sent += len(data)

        @override
        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        flood.url = f"http://127.0.0.1:{server.server_port}/v1"
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield flood
        finally:
            server.shutdown()
            thread.join()


def test_a_client_that_reads_nothing_stops_the_upstream_and_then_gets_every_byte(
    start_gateway: Callable[..., Gateway],
) -> None:
    gateway, flooded, quick = start_gateway(), fresh("m"), fresh("m")
    (process,) = gateway.processes
    with flooding() as flood, running_simulator() as sim:
        gateway.add_provider(fresh("p"), "openai", flood.url, models=[flooded])
        gateway.add_provider(fresh("p"), "openai", sim, models=[quick])
        gateway.apply()
        assert gateway.client.chat(quick).status == 200

        def stands_still() -> bool:
            before = flood.sent
            for _ in range(REQUESTS_BESIDE):
                assert gateway.client.chat(quick).status == 200
            return 0 < before == flood.sent

        resident = forget_peak(process.pid)
        with Connection(gateway.address, receive_buffer=PIECE) as client:
            client.send(stream_request(flooded))
            wait_until(stands_still, "the upstream is not read any more")
            assert flood.sent < HELD_BYTES
            assert not flood.ended.is_set()
            assert peak_bytes(process.pid) - resident < GROWN_BYTES
            answer = client.answer()
        assert flood.ended.is_set()
        assert peak_bytes(process.pid) - resident < GROWN_BYTES
    reply = Reply(answer.status, httpx.Headers(answer.headers), answer.body)
    assert reply.is_whole
    assert reply.text == "".join(map(piece, range(PIECES)))


def stream_request(model: str) -> bytes:
    body = orjson.dumps(chat_body(model, stream=True, text="hi"))
    return (
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n"
        b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
        % (len(body), body)
    )
