"""How an answer travels: pacing, and the faults that strike connection and framing."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus

from aiohttp import HttpVersion11, web

from gateway.simulator.exchange import Answer, Event
from gateway.simulator.journal import State
from gateway.simulator.plan import Fault, FaultKind

_RAW = (
    FaultKind.RESET_AT,
    FaultKind.FIN_AT,
    FaultKind.TRUNCATED_CHUNK,
    FaultKind.WRONG_LENGTH,
)
_MISSING_BYTES = 64
# l_onoff, l_linger: closing with a linger time of 0 sends RST (socket(7)).
_LINGER_RST = struct.pack("ii", 1, 0)


@dataclass(slots=True)
class Delivery:
    """Sends one answer over one connection; used once.

    `closed` is called with the state and the body bytes sent just before the client
    can see the end. `stopping` ends the faults that would hold a connection for ever.
    """

    request: web.BaseRequest
    fault: Fault
    tokens_per_s: float
    headers: dict[str, str]
    stopping: asyncio.Event
    closed: Callable[[State, int], None]
    bytes_sent: int = 0

    async def hang(self) -> web.StreamResponse:
        """Send nothing until the client leaves or the server stops."""
        await self.stopping.wait()
        return self.drop()

    def drop(self) -> web.StreamResponse:
        """Close the connection without another byte."""
        self.closed(State.FAILED, self.bytes_sent)
        self._transport.close()
        return web.Response()

    async def send(self, answer: Answer) -> web.StreamResponse:
        """Send the answer as the fault allows it."""
        if self.fault.kind in _RAW:
            return await self._send_raw(answer)
        is_faulty = self.fault.kind is not FaultKind.OK
        if is_faulty or (answer.is_stream and self.tokens_per_s > 0):
            return await self._send_events(answer)
        await self._pace(answer.events)
        return await self._send_at_once(answer)

    @property
    def _transport(self) -> asyncio.Transport:
        transport = self.request.transport
        if transport is None:
            raise ConnectionResetError
        return transport

    async def _send_at_once(self, answer: Answer) -> web.StreamResponse:
        """Send everything in one write: what a benchmark wants."""
        body = answer.body
        response = web.Response(
            body=body, status=answer.status, headers=self._headers_of(answer)
        )
        if answer.is_stream and self.request.version >= HttpVersion11:
            response.enable_chunked_encoding()
        await response.prepare(self.request)
        self.closed(State.ANSWERED, len(body))
        await response.write_eof()
        return response

    async def _send_events(self, answer: Answer) -> web.StreamResponse:
        response = web.StreamResponse(
            status=answer.status, headers=self._headers_of(answer)
        )
        if not answer.is_stream:
            response.content_length = len(answer.body)
        await response.prepare(self.request)
        if self.fault.kind is FaultKind.HANG_AFTER_HEADERS:
            return await self.hang()
        if self.fault.kind is FaultKind.SLOW_BODY:
            await asyncio.sleep(self.fault.amount)
        for place, event in enumerate(answer.events):
            if self._ends_before(place):
                return await self._break()
            await self._pace((event,))
            await self._write(response, event.data)
        if self._ends_before(len(answer.events)) and answer.is_stream:
            return await self._break()
        self.closed(State.ANSWERED, self.bytes_sent)
        await response.write_eof()
        return response

    def _ends_before(self, place: int) -> bool:
        kinds = (FaultKind.STALL_AFTER, FaultKind.DIE_AFTER)
        return self.fault.kind in kinds and place >= self.fault.amount

    async def _break(self) -> web.StreamResponse:
        if self.fault.kind is FaultKind.STALL_AFTER:
            return await self.hang()
        return self.drop()

    async def _pace(self, events: tuple[Event, ...]) -> None:
        if self.tokens_per_s <= 0:
            return
        if tokens := sum(event.tokens for event in events):
            await asyncio.sleep(tokens / self.tokens_per_s)

    async def _write(self, response: web.StreamResponse, data: bytes) -> None:
        size = (
            int(self.fault.amount) if self.fault.kind is FaultKind.DRIP else len(data)
        )
        for start in range(0, len(data), size or 1):
            part = data[start : start + size]
            await response.write(part)
            self.bytes_sent += len(part)
            if size != len(data):
                # One turn of the loop, so that each write is a segment of its own.
                await asyncio.sleep(0)

    async def _send_raw(self, answer: Answer) -> web.StreamResponse:
        head, body = self._framed(answer)
        whole = head + body
        if self.fault.kind in (FaultKind.RESET_AT, FaultKind.FIN_AT):
            whole = whole[: int(self.fault.amount)]
        self.bytes_sent = max(0, len(whole) - len(head))
        transport = self._transport
        # A limit of 0 makes drain() wait until the kernel has every byte.
        transport.set_write_buffer_limits(0)
        transport.write(whole)
        await self.request.writer.drain()
        if self.fault.kind is FaultKind.RESET_AT:
            self.closed(State.FAILED, self.bytes_sent)
            _reset(transport)
            return web.Response()
        return self.drop()

    def _framed(self, answer: Answer) -> tuple[bytes, bytes]:
        """Frame by hand what aiohttp would rightly refuse to send."""
        headers, body = self._headers_of(answer), answer.body
        is_chunked = self.fault.kind is FaultKind.TRUNCATED_CHUNK
        if self.fault.kind is FaultKind.WRONG_LENGTH:
            headers["content-length"] = str(len(body) + _MISSING_BYTES)
        elif is_chunked:
            body = b"%x\r\n%b" % (len(body) + _MISSING_BYTES, body)
        elif answer.is_stream:
            is_chunked = True
            chunks = [b"%x\r\n%b\r\n" % (len(e.data), e.data) for e in answer.events]
            body = b"".join([*chunks, b"0\r\n\r\n"])
        else:
            headers["content-length"] = str(len(body))
        if is_chunked:
            headers["transfer-encoding"] = "chunked"
        phrase = HTTPStatus(answer.status).phrase if answer.status in _KNOWN else ""
        lines = [f"HTTP/1.1 {answer.status} {phrase}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        return "\r\n".join([*lines, "", ""]).encode(), body

    def _headers_of(self, answer: Answer) -> dict[str, str]:
        return {
            "content-type": answer.content_type,
            **self.headers,
            **answer.headers,
        }


_KNOWN = frozenset(HTTPStatus)


def _reset(transport: asyncio.Transport) -> None:
    connection: socket.socket | None = transport.get_extra_info("socket")
    if connection is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_RST)
    transport.abort()
