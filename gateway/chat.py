"""The use case of a chat: whole or streamed, from a checked call to its closed books."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Coroutine
from contextlib import aclosing
from dataclasses import replace
from typing import Any, Protocol

from gateway.additions import Additions, additions_of
from gateway.context import Context
from gateway.dialects.exchange import Exchange, Whole, open_chat
from gateway.dialects.openai.encoder import error_event
from gateway.dialects.openai.request import ChatCall
from gateway.dispatch import OpenedStream, Task
from gateway.errors import AilbError, UpstreamError
from gateway.ledger import Entry
from gateway.routing.failover import final_error
from gateway.snapshot import Deployment, Model

logger = logging.getLogger(__name__)

KEEP_ALIVE = b": keep-alive\n\n"  # a comment: clients see life, and pass it over
PATIENCE_S = 15.0  # without a first content for so long, the stream's headers are sent


class Spawn(Protocol):
    """Starts work that is kept track of; `Runtime.spawn`."""

    def __call__(
        self, work: Coroutine[Any, Any, OpenedStream], *, name: str
    ) -> asyncio.Task[OpenedStream]:
        """Start it."""
        ...


def task_of(call: ChatCall, context: Context) -> Task:
    """Make the attempt loop's task of a chat; raises like `Context.find_model`."""
    model = context.find_model(call.model)
    envelope = context.envelope(call.model)

    def open_exchange(serving: Model, deployment: Deployment) -> Exchange:
        return open_chat(with_defaults(call, serving), deployment, envelope)

    return context.task(model, call.needs, open_exchange, is_stream=call.stream)


def with_defaults(call: ChatCall, model: Model) -> ChatCall:
    """Set the request fields that the model's row gives and the client did not."""
    if not model.defaults:
        return call
    return replace(call, body={**model.defaults, **call.body})


async def complete(call: ChatCall, context: Context) -> Whole:
    """Answer a chat whole.

    Raises like `task_of`, `Context.admit`, `Additions.gather`, `Dispatcher.whole`.
    """
    with context.books() as entry:
        task = task_of(call, context)
        await context.admit(task)
        if (additions := additions_of(call, context)) is not None:
            task = task_of(await additions.gather(), context)
        whole = await context.dispatcher.whole(task, context.trace)
        entry.usage = whole.usage
        if additions is not None:
            whole = replace(whole, body=await additions.keep(whole.body))
        return whole


class ChatStream:
    """A streamed answer on its way to the client.

    Read `chunks` to its end or close it: the books are closed with it.
    """

    def __init__(
        self,
        context: Context,
        entry: Entry,
        opening: asyncio.Task[OpenedStream],
        model: str,
        additions: Additions | None,
    ) -> None:
        """Take an opening that may still be waiting for the first content."""
        self._additions = additions
        self._context = context
        self._entry = entry
        self._opening = opening
        self._envelope = context.envelope(model)
        self._has_ended = False

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """Yield the events; exactly one of them, the last, says how it ended."""
        try:
            if not self._opening.done():
                yield KEEP_ALIVE
            opened = await self._opening
            async with aclosing(opened.chunks()) as chunks:
                try:
                    async for chunk in chunks:
                        if self._additions is not None:
                            self._additions.hear(chunk)
                        if opened.is_finished:
                            chunk = await self._finish(opened, chunk)
                        yield chunk
                finally:
                    self._entry.usage = opened.usage
        except AilbError as error:
            yield self._fail(error)
        except Exception:  # nothing may escape into the server once bytes were sent
            logger.exception("stream failed")
            yield self._fail(AilbError("An error inside the gateway."))
        except BaseException:
            self._entry.client_left()
            if self._additions is not None:
                self._additions.keep_part()
            raise
        finally:
            await self._end()

    def farewell(self) -> bytes:
        """Give the last event of a stream that the server's stop cuts off."""
        return error_event(
            self._envelope,
            message="This server is shutting down. Send the request again.",
            code="shutting_down",
        )

    async def aclose(self) -> None:
        """End a stream that nobody has read, or no further; nothing if it has ended."""
        if not self._has_ended:
            self._entry.client_left()
            await self._end()

    async def _end(self) -> None:
        self._has_ended = True
        try:
            await stop_opening(self._opening)
        finally:
            self._context.close_books(self._entry)

    async def _finish(self, opened: OpenedStream, last: bytes) -> bytes:
        """Keep what there is to keep before the last event is sent; give what is sent.

        Who has seen it finds its usage in the ledger, even if this process dies now, and
        its words in the session, whichever process is asked.
        """
        self._entry.usage = opened.usage
        self._context.close_books(self._entry)
        if self._additions is None:
            return last
        return await self._additions.keep_heard(last)

    def _fail(self, error: AilbError) -> bytes:
        if isinstance(error, UpstreamError):
            error = final_error([error])  # the client reads our words, never a vendor's
        self._entry.failed(error)
        self._entry.is_partial = True
        self._context.close_books(self._entry)
        return error_event(
            self._envelope, message=error.message, code=error.code or error.type
        )


async def open_stream(
    call: ChatCall, context: Context, spawn: Spawn, *, patience_s: float = PATIENCE_S
) -> ChatStream:
    """Begin a streamed chat.

    Gives the stream once there is content, or after `patience_s` without: failover then
    goes on behind it, and a failure becomes the stream's one error event.

    Raises:
        AilbError: It failed before; the client gets a real status.

    """
    entry = context.open_books(is_stream=True)
    opening: asyncio.Task[OpenedStream] | None = None
    try:
        task = task_of(call, context)
        await context.admit(task)
        if (additions := additions_of(call, context)) is not None:
            task = task_of(await additions.gather(), context)
        work = context.dispatcher.stream(task, context.trace)
        opening = spawn(work, name=f"stream {context.request_id}")
        await asyncio.wait({opening}, timeout=patience_s)
        if opening.done():
            opening.result()
    except BaseException as error:
        if isinstance(error, AilbError):
            entry.failed(error)
        elif isinstance(error, Exception):
            entry.failed(AilbError("An error inside the gateway."))
        else:
            entry.client_left()
        if opening is not None:
            await stop_opening(opening)
        context.close_books(entry)
        raise
    return ChatStream(context, entry, opening, call.model, additions)


async def stop_opening(opening: asyncio.Task[OpenedStream]) -> None:
    """Stop waiting for a first content, or a stream that nobody reads."""
    if not opening.done():
        opening.cancel()
        await asyncio.wait({opening})
    if not opening.cancelled() and opening.exception() is None:
        await opening.result().aclose()
