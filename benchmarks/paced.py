"""A source of streams whose events leave at a steady pace: 200 events, 10 ms apart."""

from __future__ import annotations

import asyncio
import re
import sys
from typing import cast

import uvloop
from typing_extensions import override

from benchmarks.upstream import WORDS, events_of

EVENTS = 200
GAP_S = 0.010
_LENGTH = re.compile(rb"\r\ncontent-length:\s*(\d+)", re.IGNORECASE)
_HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n"
)
_HEALTH = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


def _chunk(*events: str) -> bytes:
    data = "".join(f"data: {event}\n\n" for event in events).encode()
    return b"%x\r\n%b\r\n" % (len(data), data)


_ROLE, *_CONTENT, _STOP, _USAGE, _DONE = events_of(WORDS[:EVENTS])
_PIECES = [_HEAD + _chunk(_ROLE) + _chunk(_CONTENT[0])]
_PIECES += [_chunk(event) for event in _CONTENT[1:]]
_END = _chunk(_STOP, _USAGE, _DONE) + b"0\r\n\r\n"


class Source(asyncio.Protocol):
    """One connection: a whole request is answered with a stream, a GET with 200.

    Events leave on a schedule that starts with the request, however late one was.
    """

    def __init__(self) -> None:
        """Have received nothing."""
        self._received = bytearray()
        self._transport: asyncio.Transport | None = None

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is no subclass

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None

    @override
    def data_received(self, data: bytes) -> None:
        self._received += data
        head, separator, body = self._received.partition(b"\r\n\r\n")
        length = _LENGTH.search(head)
        if not separator or len(body) < int(length[1] if length else 0):
            return
        self._received.clear()
        if head.startswith(b"POST"):
            self._write_from(0, asyncio.get_running_loop().time())
        elif self._transport is not None:
            self._transport.write(_HEALTH)

    def _write_from(self, number: int, started_s: float) -> None:
        if self._transport is None:
            return
        if number == len(_PIECES):
            self._transport.write(_END)
            return
        self._transport.write(_PIECES[number])
        due_s = started_s + (number + 1) * GAP_S
        asyncio.get_running_loop().call_at(
            due_s, self._write_from, number + 1, started_s
        )


async def serve(port: int) -> None:
    """Serve until the process is ended."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Source, "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))
