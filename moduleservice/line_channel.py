"""Requests and answers between two processes of ours: lines of JSON over one socket."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable
from itertools import count
from typing import Any

import orjson

logger = logging.getLogger(__name__)

LONGEST_LINE_BYTES = 64 * 1024
# Requests of the other side that have no answer yet; one that asks on has gone wrong.
MOST_UNANSWERED = 32

Message = dict[str, Any]
Handler = Callable[[Message], Awaitable[Message]]


class ChannelClosed(Exception):
    """The other side has gone, or does not read."""


class RequestRefused(Exception):
    """A request cannot be granted; the text says why, for whoever asked."""


class LineChannel:
    """One end of a socket pair on which both sides ask and answer.

    A request is `{"id", "do", ...}`, its answer `{"id", ...}` with `error` where it was
    refused. `handle` answers what the other side asks, or raises RequestRefused. A line
    that is no message is answered with an error; one that is far too long, or a side
    that does not read, ends the channel. It works from its making on, in the running
    loop, until `close`.
    """

    def __init__(self, end: socket.socket, handle: Handler) -> None:
        self._socket = end
        self._handle = handle
        self._loop = asyncio.get_running_loop()
        self._numbers = count(1)
        self._waiting: dict[int, asyncio.Future[Message]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._buffer = b""
        self.is_open = True
        end.setblocking(False)
        self._loop.add_reader(end, self._on_readable)

    async def ask(self, do: str, *, deadline_s: float, **fields: Any) -> Message:
        """Ask the other side.

        Raises:
            ChannelClosed: It has gone.
            RequestRefused: In its words.
            TimeoutError: It did not answer in time.

        """
        if not self.is_open:
            raise ChannelClosed
        number = next(self._numbers)
        answer: asyncio.Future[Message] = self._loop.create_future()
        self._waiting[number] = answer
        try:
            self._send({"id": number, "do": do, **fields})
            async with asyncio.timeout(deadline_s):
                message = await answer
        finally:
            self._waiting.pop(number, None)
        if "error" in message:
            raise RequestRefused(str(message["error"]))
        return message

    def close(self) -> None:
        """End it: whoever waits for an answer gets ChannelClosed. Safe to call twice."""
        if not self.is_open:
            return
        self.is_open = False
        self._loop.remove_reader(self._socket)
        self._socket.close()
        for answer in self._waiting.values():
            if not answer.done():
                answer.set_exception(ChannelClosed())
        for task in self._tasks:
            task.cancel()

    # --- What comes in ---------------------------------------------------------------

    def _on_readable(self) -> None:
        try:
            data = self._socket.recv(LONGEST_LINE_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        for line in lines:
            self._on_line(line)
        if len(self._buffer) > LONGEST_LINE_BYTES:
            logger.warning("A line without an end came from the other side: closing.")
            data = b""
        if not data:
            self.close()

    def _on_line(self, line: bytes) -> None:
        try:
            message = orjson.loads(line)
        except orjson.JSONDecodeError:
            message = None
        if not isinstance(message, dict):
            self._send({"id": None, "error": "This line is no JSON object."})
        elif "do" in message:
            self._begin_answer(message)
        else:
            self._take_answer(message)

    def _take_answer(self, message: Message) -> None:
        """Give an answer to whoever waits for it; one that comes too late is dropped."""
        number = message.get("id")
        answer = self._waiting.get(number) if isinstance(number, int) else None
        if answer is not None and not answer.done():
            answer.set_result(message)

    def _begin_answer(self, message: Message) -> None:
        if len(self._tasks) >= MOST_UNANSWERED:
            self._send({"id": message.get("id"), "error": "Too many requests at once."})
            return
        task = self._loop.create_task(self._answer(message), name="answer a line")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, message: Message) -> None:
        number = message.get("id")
        try:
            answer = await self._handle(message)
        except RequestRefused as error:
            answer = {"error": str(error)}
        except Exception:  # a process edge: one request must not end what it asks
            logger.exception("A request of the other side failed.")
            answer = {
                "error": "It failed; the log of the process that was asked says why."
            }
        self._send({"id": number, **answer})

    # --- What goes out ---------------------------------------------------------------

    def _send(self, message: Message) -> None:
        """Write one line; a pair whose other side reads has room for thousands."""
        if not self.is_open:
            return
        line = orjson.dumps(message) + b"\n"
        try:
            sent = self._socket.send(line)
        except BlockingIOError:
            sent = 0
        except OSError:
            self.close()  # it has gone
            return
        if sent < len(line):
            logger.warning("The other side does not read: closing.")
            self.close()
