"""The lean ASGI handler of the data plane.

Django's own handler hops to a thread several times a request; this one reads a bounded
body, calls the view in the event loop, watches for the client leaving, and sends.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import aclosing
from functools import lru_cache
from http import HTTPStatus
from io import BytesIO
from typing import Any
from urllib.parse import quote

from django.conf import settings
from django.core.handlers.asgi import ASGIHandler, ASGIRequest
from django.core.handlers.exception import response_for_exception
from django.http import HttpRequest, HttpResponseBase
from django.http.request import split_domain_port, validate_host
from django.urls import Resolver404, ResolverMatch, get_resolver, set_script_prefix
from typing_extensions import override

from gateway.chat import KEEP_ALIVE
from gateway.errors import AilbError, BodyTooLarge, InvalidRequest
from gateway.process_figures import Counts, ProcessFigures
from gateway.runtime import runtime
from gateway.upload_routes import FORM_BYTES, brings_file
from gateway.views.base import Visitor, request_id_of
from gateway.views.documents.downloads import FileStream
from gateway.views.rendering import EventStream, render_error

logger = logging.getLogger(__name__)

Message = Mapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

KEEP_ALIVE_S = 15.0  # a stream that is silent for so long gets a comment
MEBIBYTE = 1024 * 1024
TRAFFIC = "/v1"  # what is counted as traffic: not probes, metrics and management


class ClientLeft(Exception):
    """The client closed its connection before its request had arrived."""


class FileTooLarge(BodyTooLarge):
    """The same of a request that brings a file, with the code that files have."""

    code = "too_large"


class LeanHandler(ASGIHandler):
    """Django's handler without middleware, signals and threads.

    What it leaves out: `request_started` and `request_finished` (database connections
    are closed by who opens them), and `response.close()` in a thread.
    """

    def __init__(self) -> None:
        """Count what is not traffic where nobody looks: no request asks twice."""
        super().__init__()
        self._aside = ProcessFigures()

    @override
    def load_middleware(self, is_async: bool = False) -> None:
        """Load none: the middleware of settings is the admin's."""

    @override
    async def __call__(
        self, scope: dict[str, Any], receive: Receive, send: Send
    ) -> None:
        """Answer one request."""
        set_script_prefix("/")
        is_traffic = scope["path"].startswith(TRAFFIC)
        figures = runtime.figures if is_traffic else self._aside
        figures.arrived()
        try:
            await self._receive(scope, receive, send, figures.counts)
        finally:
            figures.answered()

    async def _receive(
        self,
        scope: dict[str, Any],
        receive: Receive,
        send: Send,
        counts: Counts,
    ) -> None:
        """Read the request, and answer it or say what is wrong with it."""
        try:
            request = await read_request(scope, receive, counts)
            check_host(request)
        except ClientLeft:
            return
        except AilbError as error:
            response = render_error(error)
            response.headers["x-request-id"] = request_id_of(Visitor(scope).headers)
            await send_response(response, send, counts)
            return
        await self._answer(request, receive, send, counts)

    @override
    async def get_response_async(self, request: HttpRequest) -> HttpResponseBase:
        """Find the view and run it.

        Views are coroutines that render what they raise; Django's own way asks for that
        every time, looks for transactions, and would log each 4xx through a thread.
        """
        try:
            found = resolved(request.path_info)
        except Resolver404 as error:
            return response_for_exception(request, error)
        request.resolver_match = found
        response: HttpResponseBase = await found.func(
            request, *found.args, **found.kwargs
        )
        return response

    async def _answer(
        self, request: ASGIRequest, receive: Receive, send: Send, counts: Counts
    ) -> None:
        """Run the view while watching for the client; stop it when the client leaves."""
        work = asyncio.current_task()
        assert work is not None
        watcher = Watcher(work)
        # Not a TaskGroup: the watcher must end with the answer, not be waited for.
        watching = asyncio.get_running_loop().create_task(watcher.watch(receive))
        response: HttpResponseBase | None = None
        try:
            response = await self.get_response_async(request)
            await send_response(response, send, counts)
        except asyncio.CancelledError:
            if not watcher.has_left:
                raise
            work.uncancel()
            await say_goodbye(request, response, send, counts)
        finally:
            watching.cancel()
            if isinstance(response, EventStream | FileStream):
                await response.aclose()


@lru_cache(maxsize=256)
def resolved(path: str) -> ResolverMatch:
    """Find the view of a path; raises Resolver404. The few that are asked for are kept."""
    return get_resolver().resolve(path)


class Watcher:
    """Cancels a request's work when its client leaves."""

    def __init__(self, work: asyncio.Task[Any]) -> None:
        """`work` is the task that answers."""
        self._work = work
        self.has_left = False

    async def watch(self, receive: Receive) -> None:
        """Wait for the client to leave, however long it takes."""
        while (await receive())["type"] != "http.disconnect":
            pass
        self.has_left = True
        self._work.cancel()


async def read_request(
    scope: dict[str, Any], receive: Receive, counts: Counts
) -> ASGIRequest:
    """Read a request whole, and hold its body nowhere else.

    Raises what `read_within_limit` raises.
    """
    body = await read_within_limit(scope, receive)
    counts.bytes_received += len(body)
    request = ASGIRequest(scope, BytesIO(body))
    request._body = body  # noqa: SLF001  # read and measured
    return request


async def read_within_limit(scope: Mapping[str, Any], receive: Receive) -> bytes:
    """Read a request's body, which may be larger where it brings a file.

    Raises like `read_body`.
    """
    path = scope.get("raw_path") or quote(scope["path"]).encode("ascii")
    if not brings_file(scope["method"].encode("ascii"), path):
        return await read_body(receive, settings.AILB_MAX_BODY_BYTES)
    limit_bytes = settings.AILB_MAX_DOCUMENT_BYTES
    try:
        return await read_body(receive, limit_bytes + FORM_BYTES)
    except BodyTooLarge as error:
        raise FileTooLarge(
            f"The file is larger than the {limit_bytes // MEBIBYTE} MiB allowed: split it."
        ) from error


async def read_body(receive: Receive, limit_bytes: int) -> bytes:
    """Read a request's body.

    Raises:
        ClientLeft: It left before its request was whole.
        BodyTooLarge: The body passes the limit.

    """
    parts, size = [], 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientLeft
        part = message.get("body", b"")
        size += len(part)
        if size > limit_bytes:
            raise BodyTooLarge(
                f"The body is larger than {limit_bytes // MEBIBYTE} MiB."
            )
        parts.append(part)
        if not message.get("more_body", False):
            return parts[0] if len(parts) == 1 else b"".join(parts)


def check_host(request: ASGIRequest) -> None:
    """Refuse names that are not ours: a page elsewhere may have rebound one to us.

    Raises:
        InvalidRequest: The Host header is not among AILB_ALLOWED_HOSTS.

    """
    if request.path in PROBES:
        return  # orchestrators ask by address
    name = request.META.get("HTTP_HOST", request.META["SERVER_NAME"])
    if not is_ours(name, tuple(settings.ALLOWED_HOSTS)):
        raise InvalidRequest(
            "This Host is not served. The operator allows names with AILB_ALLOWED_HOSTS.",
            code="host_not_allowed",
        )


@lru_cache(maxsize=256)
def is_ours(name: str, allowed: tuple[str, ...]) -> bool:
    """Say whether a Host header, of which few exist, names one of the allowed hosts."""
    host, _port = split_domain_port(name)
    return bool(host) and validate_host(host, allowed)


PROBES = frozenset({"/livez", "/readyz", "/healthz"})


async def send_response(response: HttpResponseBase, send: Send, counts: Counts) -> None:
    """Send a whole answer, or a stream as it comes; count the bytes of its body."""
    headers = [
        (encoded_name(name), value.encode("latin-1"))
        for name, value in response.items()
    ]
    start: Message = {
        "type": "http.response.start",
        "status": response.status_code,
        "headers": headers,
    }
    if isinstance(response, EventStream):
        await send(start)
        await send_events(response, send, counts)
        return
    if isinstance(response, FileStream):
        headers.append((b"content-length", str(response.size).encode("ascii")))
        await send(start)
        await send_file(response, send, counts)
        return
    body = response.content  # type: ignore[attr-defined]  # views give nothing else
    if response.status_code != HTTPStatus.NO_CONTENT:  # RFC 9110, 8.6
        headers.append((b"content-length", str(len(body)).encode("ascii")))
    await send(start)
    await send({"type": "http.response.body", "body": body})
    counts.bytes_sent += len(body)


@lru_cache(maxsize=256)  # few names, in every answer
def encoded_name(name: str) -> bytes:
    """Write a header's name as ASGI wants it."""
    return name.lower().encode("ascii")


async def send_events(response: EventStream, send: Send, counts: Counts) -> None:
    """Send events as they come, one write each, and a comment when none comes."""
    pacer = Pacer(send, counts)
    try:
        async with aclosing(response.events()) as events:
            async for chunk in events:
                await pacer.send(chunk)
    finally:
        await pacer.stop()
    await send({"type": "http.response.body", "body": b""})


async def send_file(response: FileStream, send: Send, counts: Counts) -> None:
    """Send a file's content, no faster than the client takes it."""
    async for block in response.blocks():
        await send({"type": "http.response.body", "body": block, "more_body": True})
        counts.bytes_sent += len(block)
    await send({"type": "http.response.body", "body": b""})


class Pacer:
    """Sends a stream's chunks, and a keep-alive comment after each silence.

    Chunks are whole events, so a comment between two of them never breaks one.
    """

    def __init__(
        self, send: Send, counts: Counts, *, keep_alive_s: float = KEEP_ALIVE_S
    ) -> None:
        """Start the clock; `keep_alive_s` is the longest silence."""
        self._send = send
        self._counts = counts
        self._keep_alive_s = keep_alive_s
        self._loop = asyncio.get_running_loop()
        self._sent_s = self._loop.time()
        self._is_sending = False
        self._timer = self._loop.call_later(keep_alive_s, self._tick)
        self._comment: asyncio.Task[None] | None = None

    async def send(self, chunk: bytes) -> None:
        """Send one chunk, after a comment that is on its way."""
        if self._comment is not None:
            await self._comment
        self._is_sending = True
        await self._send(
            {"type": "http.response.body", "body": chunk, "more_body": True}
        )
        self._counts.bytes_sent += len(chunk)
        self._is_sending = False
        self._sent_s = self._loop.time()

    async def stop(self) -> None:
        """Stop the clock."""
        self._timer.cancel()
        if self._comment is not None:
            await self._comment

    def _tick(self) -> None:
        silent_s = self._loop.time() - self._sent_s
        is_free = not self._is_sending and self._comment is None
        if silent_s >= self._keep_alive_s and is_free:
            self._comment = self._loop.create_task(self._send_comment())
            silent_s = 0.0
        wait_s = max(self._keep_alive_s - silent_s, 0.0) or self._keep_alive_s
        self._timer = self._loop.call_later(wait_s, self._tick)

    async def _send_comment(self) -> None:
        await self._send(
            {"type": "http.response.body", "body": KEEP_ALIVE, "more_body": True}
        )
        self._counts.bytes_sent += len(KEEP_ALIVE)
        self._sent_s = self._loop.time()
        self._comment = None


async def say_goodbye(
    request: ASGIRequest, response: HttpResponseBase | None, send: Send, counts: Counts
) -> None:
    """End a stream that the server's stop cuts off with its one error event."""
    is_draining = request.scope.get("state", {}).get("is_draining")
    if (
        is_draining is None
        or not is_draining()
        or not isinstance(response, EventStream)
    ):
        return
    farewell = response.farewell()
    await send({"type": "http.response.body", "body": farewell, "more_body": True})
    counts.bytes_sent += len(farewell)
    await send({"type": "http.response.body", "body": b""})
