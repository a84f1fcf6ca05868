"""aiohttp's low-level server, knowing its connections by number and use."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from itertools import count

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http_parser import RawRequestMessage
from aiohttp.streams import StreamReader

MAX_BODY_BYTES = 64 * 1024 * 1024
_PRUNE_AT = 256

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class Connections:
    """The connections of one simulator, numbered from 1 in order of first use."""

    def __init__(self) -> None:
        """Start with none."""
        self._numbers = count(1)
        self._uses: dict[web.RequestHandler, tuple[int, int]] = {}
        self._prune_at = _PRUNE_AT

    def use(self, request: web.BaseRequest) -> tuple[int, int]:
        """Give the connection's number and how many requests it has brought."""
        protocol = request.protocol
        if protocol not in self._uses:
            self._prune()
            self._uses[protocol] = next(self._numbers), 0
        number, uses = self._uses[protocol]
        self._uses[protocol] = number, uses + 1
        return number, uses + 1

    def _prune(self) -> None:
        """Forget closed connections, seldom enough to cost nothing per request."""
        if len(self._uses) < self._prune_at:
            return
        open_ones = ((p, use) for p, use in self._uses.items() if p.transport)
        self._uses = dict(open_ones)
        self._prune_at = 2 * len(self._uses) + _PRUNE_AT


def make_server(handler: Handler) -> web.Server:
    """Make a server that cancels a handler when its client leaves; needs a loop."""
    return web.Server(
        handler,
        request_factory=_make_request,
        handler_cancellation=True,
        access_log=None,
    )


def _make_request(
    message: RawRequestMessage,
    payload: StreamReader,
    protocol: web.RequestHandler,
    writer: AbstractStreamWriter,
    task: asyncio.Task[None],
) -> web.BaseRequest:
    """Make a request that may carry images, which the default limit refuses."""
    return web.BaseRequest(
        message,
        payload,
        protocol,
        writer,
        task,
        asyncio.get_running_loop(),
        client_max_size=MAX_BODY_BYTES,
    )
