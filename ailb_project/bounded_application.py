"""What Daphne's subclass does around an application, for servers that do it less well.

Limits and deadlines of request bodies, answers in our words, and an end on demand: all of
it in terms of ASGI, so that it is the same whichever server is below.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from asyncio import timeout, timeout_at
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import suppress
from typing import Any
from urllib.parse import quote

from ailb_project.refusals import (
    INTERNAL_ERROR,
    MALFORMED,
    SHUTTING_DOWN,
    TIMED_OUT,
    Refusal,
    body_too_large,
    file_too_large,
)
from ailb_project.server_settings import ServerSettings
from ailb_project.worker_process import (
    ARRIVING_GRACE_S,
    CANCEL_GRACE_S,
    DISCONNECT_GRACE_S,
    Application,
    StopSignals,
)
from gateway.upload_routes import brings_file

logger = logging.getLogger(__name__)

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

# How long a client that is answered early may go on sending, and how long it may pause:
# a connection with unread bytes is closed, which would destroy the answer on its way.
LINGER_S = 2.0
QUIET_S = 0.3
CLOSE = (b"connection", b"close")


class BoundedApplication:
    """An ASGI application that a server may call; it knows which requests run.

    No exception reaches the server: an answer that has not begun becomes an error in our
    words, and one that has begun is left without its end, which the server has to show.
    """

    def __init__(
        self, application: Application, settings: ServerSettings, stop: StopSignals
    ) -> None:
        """Change nothing for the application but what is bounded."""
        self._application = application
        self.is_draining = stop.is_draining
        self.settings = settings
        self.exchanges: set[Exchange] = set()
        self._is_in_haste = False

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Serve one request; a server that asks for another thing is configured wrongly."""
        if scope["type"] != "http":
            raise ValueError(f"No {scope['type']} is served.")
        scope["state"] = {"is_draining": self.is_draining}
        exchange = Exchange(self, scope, receive, send)
        self.exchanges.add(exchange)
        if self._is_in_haste:
            exchange.hasten()
        try:
            await exchange.run(self._application)
        finally:
            self.exchanges.discard(exchange)

    def hasten(self) -> None:
        """Draining: let no request arrive slowly, those to come included."""
        self._is_in_haste = True
        for exchange in self.exchanges:
            exchange.hasten()

    async def cut(self) -> int:
        """Tell the requests that still run to stop, then make them. Count them."""
        count = len(self.exchanges)
        for exchange in list(self.exchanges):
            exchange.disconnect()
        await self._wait_for_end(DISCONNECT_GRACE_S)
        for exchange in list(self.exchanges):
            exchange.cancel()
        await self._wait_for_end(CANCEL_GRACE_S)
        return count

    async def _wait_for_end(self, timeout_s: float) -> None:
        tasks = [exchange.task for exchange in self.exchanges]
        if tasks:
            await asyncio.wait(tasks, timeout=timeout_s)


class Exchange:
    """One request and its answer, between a server and an application."""

    def __init__(
        self, owner: BoundedApplication, scope: Message, receive: Receive, send: Send
    ) -> None:
        """Look at the request; nothing of its body has been read."""
        task = asyncio.current_task()
        assert task is not None
        self.task = task
        self._owner = owner
        self._scope = scope
        self._receive = receive
        self._send = send
        self._brings_file = brings_file(
            scope["method"].encode("latin-1"),
            scope.get("raw_path") or quote(scope["path"]).encode("ascii"),
        )
        self._size = 0
        self._is_arriving = True
        self._expiry_refusal = TIMED_OUT
        self._deadline_s = task.get_loop().time() + owner.settings.body_timeout_s
        self._waiting: asyncio.Timeout | None = None
        self._has_left = False
        self._is_cut = False
        self._is_cancelled = False
        self._start: Message | None = None
        self._is_started = False
        self._is_ended = False

    async def run(self, application: Application) -> None:
        """Refuse the request or have it answered."""
        refusal = self._take_headers()
        if refusal is not None:
            await self._linger()
            await self._refuse(refusal)
            return
        try:
            await application(self._scope, self.receive, self.send)
        except asyncio.CancelledError:
            if not self._is_cancelled:
                raise
            self.task.uncancel()
        except (Exception, SystemExit, KeyboardInterrupt):  # an edge: one request's end
            logger.exception("Exception in the application.")
        else:
            if not (self._is_ended or self._has_left or self._is_cut):
                logger.error("The application returned without a whole answer.")
        if not self._is_ended and not self._has_left:
            await self._refuse(SHUTTING_DOWN if self._is_cut else INTERNAL_ERROR)

    # --- The request -----------------------------------------------------------------

    def _take_headers(self) -> Refusal | None:
        """Name the headers safely; refuse a body whose length is too large already.

        `a_b` could pass for `a-b` in WSGI's spelling.
        """
        kept, length = [], b"0"
        for pair in self._scope["headers"]:
            if b"_" not in pair[0]:
                kept.append(pair)
            if pair[0] == b"content-length":
                length = pair[1]
        self._scope["headers"] = kept
        if not length.isdigit():
            return MALFORMED
        return self._too_large(int(length)) if len(length) < 20 else MALFORMED

    def _too_large(self, size: int) -> Refusal | None:
        settings = self._owner.settings
        if not self._brings_file:
            limit = settings.max_body_bytes
            return body_too_large(limit) if size > limit else None
        limit = settings.max_upload_bytes
        return file_too_large(limit) if size > limit else None

    async def receive(self) -> Message:
        """Give the application a part of the body, or say that the client has left."""
        if self._has_left or self._is_cut:
            return {"type": "http.disconnect"}
        try:
            async with self._waiting_allowed() as self._waiting:
                message = await self._receive()
        except TimeoutError:
            if not self._is_cut:
                await self._refuse(self._expiry_refusal)
            return {"type": "http.disconnect"}
        finally:
            self._waiting = None
        if message["type"] == "http.request":
            return await self._admit(message)
        self._has_left = True
        return message

    def _waiting_allowed(self) -> asyncio.Timeout:
        return timeout_at(self._deadline_s) if self._is_arriving else timeout(None)

    async def _admit(self, message: Message) -> Message:
        self._size += len(message.get("body", b""))
        self._is_arriving = message.get("more_body", False)
        refusal = self._too_large(self._size)
        if refusal is None:
            return message
        await self._linger()
        await self._refuse(refusal)
        return {"type": "http.disconnect"}

    def hasten(self) -> None:
        """Draining: let it arrive soon or not at all."""
        if self._is_arriving:
            self._expiry_refusal = SHUTTING_DOWN
            soon_s = self.task.get_loop().time() + ARRIVING_GRACE_S
            self._deadline_s = min(self._deadline_s, soon_s)
            self._wait_until(self._deadline_s)

    def disconnect(self) -> None:
        """Say that the client has left, although it stands."""
        self._is_cut = True
        self._wait_until(self.task.get_loop().time())

    def _wait_until(self, deadline_s: float) -> None:
        if self._waiting is not None and not self._waiting.expired():
            self._waiting.reschedule(deadline_s)

    def cancel(self) -> None:
        """Stop the application."""
        self._is_cancelled = True
        self.task.cancel()

    # --- The answer ------------------------------------------------------------------

    async def send(self, message: Message) -> None:
        """Pass a message on; the head waits for the body, what comes after it is lost."""
        if self._is_ended:
            return
        if message["type"] == "http.response.start":
            self._start = message
            return
        if message["type"] != "http.response.body":
            raise ValueError(f"HTTP has no message of type {message['type']}.")
        if self._start is not None:
            await self._begin(self._start)
        elif not self._is_started:
            raise ValueError("A response body was sent before its start.")
        self._is_ended = not message.get("more_body", False)
        await self._send(message)

    async def _begin(self, start: Message) -> None:
        self._start, self._is_started = None, True
        if self._waiting is None:  # else the application still reads
            await self._linger()
        if self._is_arriving or self._owner.is_draining():
            start["headers"] = [*start.get("headers", ()), CLOSE]
        await self._send(start)

    async def _refuse(self, refusal: Refusal) -> None:
        """Answer in place of the application, if nothing was sent, and close.

        An answer that was begun is left without its end: the server closes the
        connection, and the client can tell.
        """
        if self._is_started:
            self._is_ended = True
            return
        self._is_started = self._is_ended = True
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(refusal.body)).encode()),
            (b"x-request-id", uuid.uuid4().hex.encode()),
            CLOSE,
        ]
        start = {"type": "http.response.start", "status": refusal.status.value}
        await self._send({**start, "headers": headers})
        await self._send({"type": "http.response.body", "body": refusal.body})

    def _has_to_be_asked(self) -> bool:
        """Tell whether the client waits for a sign before it sends its body."""
        return self._size == 0 and any(
            n == b"expect" for n, _ in self._scope["headers"]
        )

    async def _linger(self) -> None:
        """Read what the client goes on sending, while it does, for a moment."""
        if not self._is_arriving or self._has_to_be_asked():
            return
        with suppress(TimeoutError):
            async with timeout(LINGER_S):
                while True:
                    async with timeout(QUIET_S):
                        message = await self._receive()
                    if not message.get("more_body", False):
                        self._is_arriving = message["type"] != "http.request"
                        return
