"""Requests and WebSockets as the ASGI application gets them; their factories."""

from __future__ import annotations

import asyncio
from functools import lru_cache
from http import HTTPStatus
from io import BytesIO
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from daphne.http_protocol import (  # type: ignore[import-untyped]  # it ships no types
    HTTPFactory,
    WebRequest,
)
from daphne.ws_protocol import (  # type: ignore[import-untyped]  # it ships no types
    WebSocketFactory,
    WebSocketProtocol,
)
from twisted.web import http
from typing_extensions import override

from ailb_project.http_channel import BoundedChannel, Phase
from ailb_project.refusals import (
    MALFORMED,
    SHUTTING_DOWN,
    Refusal,
)

if TYPE_CHECKING:
    from ailb_project.server_settings import ServerSettings

ROOT_PATH_HEADER = b"Daphne-Root-Path"
# str.splitlines() breaks at these; a value with one could forge a line in a log.
LINE_BREAKING_BYTES = b"\x0b\x0c\x1c\x1d\x1e\x85"
# Twisted knows none of the newer ones, such as 429.
REASONS = {status.value: status.phrase.encode("ascii") for status in HTTPStatus}


@lru_cache(maxsize=256)  # few are ever sent
def status_line(version: bytes, status: int) -> bytes:
    """Write the first line of a response."""
    return b"%b %d %b\r\n" % (version, status, REASONS.get(status, b"Unknown Status"))


class BoundedRequest(WebRequest):  # type: ignore[misc]  # daphne ships no types
    """A request kept in memory within the limit, then given to the application whole.

    Twisted's parsing of forms, cookies and query strings is left out: nothing reads it.
    """

    startedWriting: bool  # noqa: N815  # Twisted's name

    def __init__(self, channel: BoundedChannel, queued: object = 0) -> None:
        super().__init__(channel, queued, parsePOSTFormSubmission=False)
        self.writable = channel.writable
        self.query_string = b""
        self._response_started = False
        self._head = b""

    @override
    def parseCookies(self) -> None:
        """Leave the Cookie header to the application."""

    @override
    def gotLength(self, length: int | None) -> None:
        self.content = BytesIO()  # Twisted's own would be a file from 100 kB on

    @override
    def handleContentChunk(self, data: bytes) -> None:
        if self.channel.phase is Phase.REFUSED:
            return
        if self.channel.admits(self.content.tell() + len(data)):
            self.content.write(data)

    @override
    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:
        self.method, self.uri, self.clientproto = command, path, version
        self.path, _, self.query_string = path.partition(b"?")
        if not self._is_valid():
            self.channel.refuse(MALFORMED)
        elif self._asks_for_websocket():
            self._become_websocket()
        else:
            self.process()

    def _is_valid(self) -> bool:
        if not self.uri.isascii() or not (self.uri[:1] == b"/" or self.uri == b"*"):
            return False
        headers = self.requestHeaders.getAllRawHeaders()
        text = b"".join([value for _, values in headers for value in values])
        return len(text.translate(None, LINE_BREAKING_BYTES)) == len(text)

    def _asks_for_websocket(self) -> bool:
        upgrade = self.requestHeaders.getRawHeaders(b"Upgrade")
        return upgrade is not None and upgrade[0].lower() == b"websocket"

    def _become_websocket(self) -> None:
        channel, transport = self.channel, self.channel.transport
        if self.server.is_draining():
            channel.refuse(SHUTTING_DOWN)
            return
        self.requestHeaders.removeHeader(ROOT_PATH_HEADER)
        super().process()
        if transport.protocol is not channel:
            transport.protocol.writable = channel.writable
            channel.detach()

    @override
    def process(self) -> None:
        client, server = self.client, self.host
        self.client_addr = [client.host, client.port]
        queue = self.server.create_application(
            self,
            {
                "type": "http",
                "http_version": self.clientproto[5:].decode("ascii"),
                "method": self.method.decode("ascii"),
                "path": unquote(self.path.decode("ascii")),
                "raw_path": self.path,
                "root_path": "",
                "scheme": "http",
                "query_string": self.query_string,
                "headers": self._scope_headers(),
                "client": self.client_addr,
                "server": [server.host, server.port],
            },
        )
        body = self.content.getvalue()
        self.content.close()  # one copy of the body is enough
        self.application_queue = queue
        queue.put_nowait({"type": "http.request", "body": body, "more_body": False})

    def _scope_headers(self) -> list[tuple[bytes, bytes]]:
        """Name the headers as ASGI does; `a_b` could pass for `a-b` in WSGI's spelling."""
        return [
            (name.lower(), value)
            for name, values in self.requestHeaders.getAllRawHeaders()
            if b"_" not in name and name != ROOT_PATH_HEADER
            for value in values
        ]

    @override
    def handle_reply(self, message: dict[str, Any]) -> None:
        if self.finished or self.channel is None:
            return
        match message["type"]:
            case "http.response.start":
                self._start_response(message)
            case "http.response.body":
                self._send_body(message)
            case other:
                raise ValueError(f"HTTP has no message of type {other}.")

    def _start_response(self, message: dict[str, Any]) -> None:
        if self._response_started:
            raise ValueError("The response has already been started.")
        if self.server.is_draining():
            self.channel.persistent = 0
        self.code = message["status"]
        self.chunked = self._may_have_body() and self.clientproto == b"HTTP/1.1"
        lines = [status_line(self.clientproto, self.code)]
        for name, value in message.get("headers", ()):
            lines.append(b"%b: %b\r\n" % (name, value))
            if name.lower() == b"content-length":
                self.chunked = False
        if self.chunked:
            lines.append(b"Transfer-Encoding: chunked\r\n")
        if not self.channel.persistent:
            lines.append(b"Connection: close\r\n")
        head = b"".join(lines)
        if not head.count(b"\r") == head.count(b"\n") == len(lines):
            raise ValueError("A response header holds a line break.")
        self._head = head + b"\r\n"
        self._response_started = True

    def _may_have_body(self) -> bool:
        return self.method != b"HEAD" and self.code not in http.NO_BODY_CODES

    def _send_body(self, message: dict[str, Any]) -> None:
        if not self._response_started:
            raise ValueError("A response body was sent before its start.")
        body = message.get("body", b"")
        if not self.startedWriting:
            # Twisted would check and copy each header on its way; these are ours.
            self.startedWriting = True
            self.channel.write(self._head)
        if body and self._may_have_body():
            self.write(body)
        if not message.get("more_body", False):
            self.finish()

    def fail(self, refusal: Refusal) -> None:
        """End a response that the application will not end. Safe to call at any time."""
        if self.finished or self.channel is None:
            return
        if self.startedWriting:
            self.channel.abort()
        elif self.channel.phase is not Phase.REFUSED:
            self.channel.refuse(refusal)


class BoundedFactory(HTTPFactory):  # type: ignore[misc]  # daphne ships no types
    """Makes connections and knows those that are open."""

    protocol = BoundedChannel  # not Twisted's wrapper for HTTP/2, which needs TLS

    def __init__(self, server: Any, settings: ServerSettings) -> None:
        super().__init__(server)
        self.settings = settings
        self.timeOut = None  # Twisted's idle timer restarts with each byte
        self.channels: set[BoundedChannel] = set()

    @override
    def buildProtocol(self, addr: Any) -> Any:
        channel = super().buildProtocol(addr)
        channel.requestFactory = BoundedRequest
        return channel

    @override
    def startFactory(self) -> None:
        """Start no access log and no clock for it."""

    @override
    def stopFactory(self) -> None:
        """Have nothing to close."""

    @override
    def log(self, request: http.Request) -> None:
        """Leave the one line a request to the application, which knows more."""


class BoundedWebSocket(WebSocketProtocol):  # type: ignore[misc]  # daphne ships no types
    """A WebSocket whose failed handshake or application ends it and nothing else."""

    server: Any = None
    writable: asyncio.Event

    @override
    def onClose(self, wasClean: bool, code: int | None, reason: str | None) -> None:
        if self.server is not None:  # else the handshake never became a request
            super().onClose(wasClean, code, reason)

    def fail(self, _refusal: Refusal) -> None:
        """End a WebSocket that the application will not end."""
        if self.state != self.STATE_CLOSED:
            self.handle_exception(None)

    def close_for_restart(self) -> None:
        """Tell the client that it may connect again (RFC 6455 registry: 1012)."""
        if self.state == self.STATE_OPEN:
            self.sendCloseFrame(code=1012)
        else:
            self.dropConnection(abort=True)


class BoundedWebSocketFactory(WebSocketFactory):  # type: ignore[misc]  # daphne ships no types
    """Makes the WebSockets above."""

    protocol = BoundedWebSocket
