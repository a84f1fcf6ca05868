"""One HTTP connection: what may arrive on it, how fast, and what may wait to leave."""

from __future__ import annotations

import asyncio
import math
import socket
import time
import uuid
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from twisted.web import http
from typing_extensions import override

from ailb_project.refusals import (
    HEADERS_TOO_LARGE,
    MALFORMED,
    MAX_HEADER_BYTES,
    MAX_HEADERS,
    SHUTTING_DOWN,
    TIMED_OUT,
    Refusal,
    body_too_large,
    file_too_large,
)
from gateway.upload_routes import brings_file

if TYPE_CHECKING:
    from ailb_project.http_protocol import BoundedFactory

# How long a refused client may go on sending before the socket is reset: closing with
# unread bytes at once would destroy the answer on its way.
LINGER_S = 2.0
# Twisted declares its transports and channels without `self`: no checker can use them.
HTTPChannel: Any = http.HTTPChannel


class Phase(StrEnum):
    """What a connection is doing; each phase but ANSWERING has a deadline."""

    IDLE = "idle"
    HEADERS = "headers"
    BODY = "body"
    ANSWERING = "answering"
    REFUSED = "refused"


class BoundedChannel(HTTPChannel):  # type: ignore[misc]  # see above
    """A connection whose requests must be small, complete in time and unambiguous.

    Deadlines count from the start of a phase, never again from each byte. They are
    plain numbers that the server compares twice a second: no timer per request.
    `writable` is set while less than the high-water mark waits to be sent.
    """

    maxHeaders = MAX_HEADERS  # noqa: N815  # Twisted's name
    totalHeadersSize = MAX_HEADER_BYTES  # noqa: N815  # Twisted's name
    factory: BoundedFactory

    def __init__(self) -> None:
        super().__init__()
        self.phase = Phase.IDLE
        self.deadline_s = math.inf
        self.expiry_refusal = TIMED_OUT
        self._brings_file = False
        self.writable = asyncio.Event()
        self.writable.set()

    @override
    def connectionMade(self) -> None:
        settings = self.factory.settings
        self.transport.bufferSize = settings.high_water_bytes
        # Asked for by every request; from the socket that is a system call each.
        self._peer, self._host = self.transport.getPeer(), self.transport.getHost()
        self.deadline_s = time.monotonic() + settings.header_timeout_s
        self.factory.channels.add(self)
        super().connectionMade()

    @override
    def getPeer(self) -> Any:
        return self._peer

    @override
    def getHost(self) -> Any:
        return self._host

    @override
    def dataReceived(self, data: bytes) -> None:
        if self.phase is Phase.IDLE:
            self._enter(Phase.HEADERS, self.factory.settings.header_timeout_s)
        try:
            super().dataReceived(data)
        except ValueError:  # int() of a Content-Length with thousands of digits
            self.refuse(MALFORMED)

    @override
    def lineLengthExceeded(self, line: bytes) -> None:
        self.refuse(HEADERS_TOO_LARGE)

    @override
    def allHeadersReceived(self) -> None:
        headers = self.requests[-1].requestHeaders
        self._brings_file = brings_file(self._command, self._path)
        if not self._is_unambiguous(headers):
            self.refuse(MALFORMED)
        elif self.length is None or self.admits(self.length):
            self._enter(Phase.BODY, self.factory.settings.body_timeout_s)
            super().allHeadersReceived()

    def admits(self, size: int) -> bool:
        """Let a body of so many bytes in, or refuse the request that is arriving."""
        settings = self.factory.settings
        is_file = self._brings_file
        limit = settings.max_upload_bytes if is_file else settings.max_body_bytes
        if size > limit:
            self.refuse(file_too_large(limit) if is_file else body_too_large(limit))
        return size <= limit

    def _is_unambiguous(self, headers: Any) -> bool:
        """Refuse what two servers in a row could read in two ways (RFC 9112, 3.2, 6.1).

        Two lengths, or a length and a transfer coding, are refused while being parsed.
        """
        hosts = len(headers.getRawHeaders(b"Host", ()))
        is_http_1_1 = self._version == b"HTTP/1.1"
        if hosts > 1 or (hosts == 0 and is_http_1_1):
            return False
        if headers.hasHeader(b"Transfer-Encoding"):
            return is_http_1_1 and self.length is None
        return True

    @override
    def allContentReceived(self) -> None:
        if self.phase is not Phase.REFUSED:
            self._enter(Phase.ANSWERING, math.inf)
            super().allContentReceived()

    @override
    def requestDone(self, request: http.Request) -> None:
        # Before the call below, which may already find the next request in its buffer.
        self._enter(Phase.IDLE, self.factory.settings.keep_alive_s)
        super().requestDone(request)

    def _enter(self, phase: Phase, allowed_s: float) -> None:
        self.phase = phase
        self.deadline_s = time.monotonic() + allowed_s

    def check_deadline(self, now_s: float) -> None:
        """End a connection whose phase has lasted too long. Called twice a second."""
        if now_s < self.deadline_s:
            return
        match self.phase:
            case Phase.IDLE:
                if not self._has_unread_bytes():
                    self.loseConnection()
            case Phase.HEADERS | Phase.BODY:
                self.refuse(self.expiry_refusal)
            case Phase.REFUSED:
                self.transport.abortConnection()
            case Phase.ANSWERING:  # bounded by the application's own deadlines
                pass

    def _has_unread_bytes(self) -> bool:
        """Tell whether a request is waiting in the kernel: then it will be answered."""
        try:
            return bool(self.transport.socket.recv(1, socket.MSG_PEEK))
        except OSError:
            return False

    def hasten(self, *, idle_s: float, arriving_s: float) -> None:
        """Draining: answer at most one more request, and none that arrives slowly."""
        if self.phase is Phase.ANSWERING:
            self.persistent = 0
        self.expiry_refusal = SHUTTING_DOWN
        allowed_s = idle_s if self.phase is Phase.IDLE else arriving_s
        if self.phase in {Phase.IDLE, Phase.HEADERS, Phase.BODY}:
            self.deadline_s = min(self.deadline_s, time.monotonic() + allowed_s)

    def refuse(self, refusal: Refusal) -> None:
        """Answer in place of the application, read no further and close."""
        self._enter(Phase.REFUSED, LINGER_S)
        parser: Any = self  # replaced on the instance: Twisted's own way to stop
        parser.dataReceived = parser.lineReceived = parser.rawDataReceived = _discard
        body = refusal.body
        self.transport.write(
            f"HTTP/1.1 {refusal.status.value} {refusal.status.phrase}\r\n"
            "Content-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n"
            f"X-Request-Id: {uuid.uuid4().hex}\r\n"
            "Connection: close\r\n\r\n".encode()
            + body
        )
        self.transport.loseWriteConnection()

    @override
    def _respondToBadRequestAndDisconnect(self) -> None:
        is_too_large = (
            self._receivedHeaderCount > MAX_HEADERS
            or self._receivedHeaderSize > MAX_HEADER_BYTES
        )
        self.refuse(HEADERS_TOO_LARGE if is_too_large else MALFORMED)

    def abort(self) -> None:
        """Reset the connection: the client must not take what it has for the whole."""
        self.writable.set()
        self.transport.abortConnection()

    @override
    def pauseProducing(self) -> None:
        self.writable.clear()
        super().pauseProducing()

    @override
    def resumeProducing(self) -> None:
        self.writable.set()
        super().resumeProducing()

    @override
    def loseConnection(self) -> None:
        self.writable.set()  # the transport has no one to resume from here on
        super().loseConnection()

    def detach(self) -> None:
        """Hand the transport over to a WebSocket; only `writable` goes on working."""
        self.factory.channels.discard(self)

    @override
    def connectionLost(self, reason: Any) -> None:
        self.factory.channels.discard(self)
        self.writable.set()
        super().connectionLost(reason)


def _discard(_data: bytes) -> None:
    """Take the place of a refused connection's parser."""
