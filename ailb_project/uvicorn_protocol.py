"""One HTTP connection under uvicorn: how large and how slow a request's head may be."""

from __future__ import annotations

import uuid
from asyncio import TimerHandle, Transport
from enum import StrEnum
from typing import Any, cast

import uvicorn
from typing_extensions import override
from uvicorn.protocols.http.httptools_impl import (
    HttpToolsProtocol,
    RequestResponseCycle,
)

from ailb_project.bounded_application import LINGER_S, BoundedApplication
from ailb_project.refusals import (
    HEADERS_TOO_LARGE,
    MALFORMED,
    MAX_HEADER_BYTES,
    MAX_HEADERS,
    SHUTTING_DOWN,
    TIMED_OUT,
    Refusal,
)
from ailb_project.server_settings import ServerSettings

HEADER_PUNCTUATION = len(b": \r\n")


class Phase(StrEnum):
    """What arrives on a connection."""

    IDLE = "idle"
    HEAD = "head"
    BODY = "body"
    REFUSED = "refused"


class BoundedConfig(uvicorn.Config):
    """uvicorn's configuration: no more of it than an ASGI server, and our limits."""

    def __init__(
        self, application: BoundedApplication, settings: ServerSettings
    ) -> None:
        """Leave out what is done elsewhere: logs, lifespan, X-Forwarded-For."""
        super().__init__(
            application,
            http=BoundedProtocol,
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=max(1, round(settings.keep_alive_s)),
        )
        self.settings = settings


class BoundedProtocol(HttpToolsProtocol):
    """A connection whose request heads are small and complete in time.

    With this parser uvicorn has no such limits; and it answers in plain text.
    """

    config: BoundedConfig

    @override
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._settings = self.config.settings
        self._phase = Phase.IDLE
        self._head_bytes = 0
        self._unread_bytes = 0
        self._refusal = MALFORMED
        self._deadline: TimerHandle | None = None

    def _is_in(self, phase: Phase) -> bool:
        return self._phase is phase

    def is_idle(self) -> bool:
        """Tell whether nothing arrives and nothing is being answered."""
        return self._phase is Phase.IDLE and not self.is_answering()

    def is_answering(self) -> bool:
        """Tell whether a request has arrived that has not been answered."""
        cycle = cast("RequestResponseCycle | None", self.cycle)
        return cycle is not None and not cycle.response_complete

    # --- What arrives ----------------------------------------------------------------

    @override
    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]  # as in uvicorn
        super().connection_made(transport)
        transport.set_write_buffer_limits(high=self._settings.high_water_bytes)
        self._allow(self._settings.header_timeout_s)

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self._allow(None)
        super().connection_lost(exc)

    @override
    def data_received(self, data: bytes) -> None:
        if self._phase is Phase.REFUSED:
            return
        was_in_head = self._is_in(Phase.HEAD)
        super().data_received(data)
        if was_in_head and self._is_in(Phase.HEAD):
            # The parser shows a header when it is whole: without this, of any size.
            self._unread_bytes += len(data)
            if self._unread_bytes > MAX_HEADER_BYTES:
                self.refuse(HEADERS_TOO_LARGE)
        elif self.is_idle() and self._deadline is None:
            self._allow(self._settings.keep_alive_s)  # an empty line ended uvicorn's

    @override
    def on_message_begin(self) -> None:
        self._phase = Phase.HEAD
        self._head_bytes = self._unread_bytes = 0
        self._allow(self._settings.header_timeout_s)
        super().on_message_begin()

    @override
    def on_url(self, url: bytes) -> None:
        super().on_url(url)
        self._count_head(len(url))

    @override
    def on_header(self, name: bytes, value: bytes) -> None:
        super().on_header(name, value)
        self._count_head(len(name) + len(value) + HEADER_PUNCTUATION)

    @override
    def on_headers_complete(self) -> None:
        self._phase = Phase.BODY
        self._allow(None)
        super().on_headers_complete()

    @override
    def on_message_complete(self) -> None:
        self._phase = Phase.IDLE
        super().on_message_complete()

    def _count_head(self, size: int) -> None:
        """Raise, which makes the parser fail, when a head is too large."""
        self._head_bytes += size
        if self._head_bytes > MAX_HEADER_BYTES or len(self.headers) > MAX_HEADERS:
            self._refusal = HEADERS_TOO_LARGE
            raise ValueError("The request's head is too large.")

    # --- Deadlines and refusals ----------------------------------------------------------

    def _allow(self, allowed_s: float | None) -> None:
        """Start the clock of what arrives now, or stop it."""
        if self._deadline is not None:
            self._deadline.cancel()
        self._deadline = (
            None if allowed_s is None else self.loop.call_later(allowed_s, self._expire)
        )

    def _expire(self) -> None:
        self._deadline = None
        if self._phase is Phase.HEAD:
            self.refuse(TIMED_OUT)
        elif not self.is_answering():
            self.transport.close()

    def answer_no_more(self) -> None:
        """Draining: let the answer that is on its way be the last."""
        if self.is_answering():
            self.cycle.keep_alive = False

    def close_if_idle(self) -> None:
        """Draining: close it if it has had its time for one more request."""
        if self.is_idle():
            self.transport.close()

    def refuse_if_arriving(self) -> None:
        """Draining: wait no longer for the rest of a request's head."""
        if self._phase is Phase.HEAD:
            self.refuse(SHUTTING_DOWN)

    @override
    def send_400_response(self, msg: str) -> None:
        self.refuse(self._refusal)

    def refuse(self, refusal: Refusal) -> None:
        """Answer in place of the application, read no further and close.

        While an earlier request is being answered, close after its answer instead.
        """
        self._phase = Phase.REFUSED
        self._allow(None)
        if self.is_answering():
            self.answer_no_more()
            return
        body = refusal.body
        self.transport.write(
            f"HTTP/1.1 {refusal.status.value} {refusal.status.phrase}\r\n"
            "Content-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n"
            f"X-Request-Id: {uuid.uuid4().hex}\r\n"
            "Connection: close\r\n\r\n".encode()
            + body
        )
        self.transport.write_eof()
        self._allow(LINGER_S)
