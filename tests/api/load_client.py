"""Load on a gateway that counts what it loses: a fixed rate of requests, and open streams.

One rule tells a loss from a refusal. Where `connect` says ECONNREFUSED, nobody has taken
anything. From a connect that succeeded on, and from the first byte that is written on a
kept connection, only the whole right answer will do, and nothing is asked a second time.
A kept connection is looked at in the kernel right before it is written to: one that the
server has closed by then was idle, and another is opened in its place.
"""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from asyncio import StreamReader, StreamWriter
from collections import Counter, deque
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from types import TracebackType

import httpx  # noqa: TID251  # the type of a Reply's headers
import orjson

from tests.client import Reply, chat_body

ANSWER_S = 30.0
STARTS_PER_S = 100  # so many streams begin a second


@dataclass(frozen=True, slots=True)
class Ask:
    """A chat for a model, and what it has to be answered."""

    model: str
    answer: str


@dataclass(slots=True)
class Tally:
    """What became of everything so far; a failure is something accepted and lost."""

    answered: Counter[str] = field(default_factory=Counter)  # own, kept, stream
    refused: int = 0
    closed_while_idle: int = 0
    open_streams: int = 0
    failures: list[str] = field(default_factory=list)


class RefusedError(Exception):
    """Nobody listens on the port."""


class Link:
    """One client connection."""

    def __init__(
        self, sock: socket.socket, reader: StreamReader, writer: StreamWriter
    ) -> None:
        self._socket = sock
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, address: tuple[str, int]) -> Link:
        """Connect; RefusedError if nobody listens, any other failure is a loss."""
        sock = socket.socket()
        sock.setblocking(False)
        try:
            await asyncio.get_running_loop().sock_connect(sock, address)
        except ConnectionRefusedError as error:
            sock.close()
            raise RefusedError from error
        except BaseException:
            sock.close()
            raise
        return cls(sock, *await asyncio.open_connection(sock=sock))

    def is_closed(self) -> bool:
        """Ask the kernel whether the server has closed it."""
        try:
            return self._socket.recv(1, socket.MSG_PEEK) == b""
        except BlockingIOError:
            return False
        except OSError:
            return True

    def close(self) -> None:
        self._writer.close()

    async def ask(self, request: bytes, began: Callable[[], None]) -> Reply:
        """Send, and read the answer to its end, which has to be there."""
        self._writer.write(request)
        lines = (await self._reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        began()
        fields = [line.partition(": ") for line in lines[1:] if line]
        headers = httpx.Headers([(name, value) for name, _, value in fields])
        status = int(lines[0].split(" ", 2)[1])
        return Reply(status, headers, await self._body(headers))

    async def _body(self, headers: httpx.Headers) -> bytes:
        if "content-length" in headers:
            return await self._reader.readexactly(int(headers["content-length"]))
        assert headers["transfer-encoding"] == "chunked"
        parts = []
        while size := int(await self._reader.readuntil(b"\r\n"), 16):
            parts.append(await self._reader.readexactly(size))
            await self._reader.readexactly(2)
        await self._reader.readexactly(2)
        return b"".join(parts)


class Load:
    """Sends `rate` requests a second and keeps `streams` open, until the block ends.

    Every other request has a connection of its own, the others share kept ones. It runs
    in a thread; the end of the block waits for all answers. `tally` may be read at any
    time. Refusals are losses until `may_be_refused` is called.
    """

    def __init__(
        self,
        address: tuple[str, int],
        *,
        request: Ask,
        rate: float,
        stream: Ask,
        streams: int,
    ) -> None:
        self.tally = Tally()
        self._address = address
        self._request, self._rate = request, rate
        self._stream, self._streams = stream, streams
        self._kept: deque[Link] = deque()
        self._may_be_refused = False
        self._has_ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="load", daemon=True)

    def __enter__(self) -> Load:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._has_ended.set()
        self._thread.join(2 * ANSWER_S)
        assert not self._thread.is_alive(), "the load does not end"

    def may_be_refused(self) -> None:
        """Say that the port is about to be closed."""
        self._may_be_refused = True

    def _run(self) -> None:
        asyncio.run(self._send_all())

    async def _send_all(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            for number in range(self._streams):
                tasks.create_task(self._keep_streaming(number / STARTS_PER_S))
            began_s, number = time.monotonic(), 0
            while not self._has_ended.is_set():
                ask = self._ask_alone if number % 2 else self._ask_kept
                tasks.create_task(self._count(["kept", "own"][number % 2], ask()))
                number += 1
                due_s = began_s + number / self._rate
                await asyncio.sleep(due_s - time.monotonic())
        for link in self._kept:
            link.close()

    async def _keep_streaming(self, begins_s: float) -> None:
        await asyncio.sleep(begins_s)
        while not self._has_ended.is_set():
            if not await self._count("stream", self._follow_stream()):
                return

    async def _count(self, kind: str, work: Coroutine[None, None, str | None]) -> bool:
        """Do it and count how it ended; tell whether the port is open."""
        try:
            async with asyncio.timeout(ANSWER_S):
                wrong = await work
        except RefusedError:
            self.tally.refused += 1
            if not self._may_be_refused:
                self.tally.failures.append(f"{kind}: refused")
            return False
        except (OSError, EOFError, TimeoutError, AssertionError) as error:
            wrong = repr(error)
        if wrong is None:
            self.tally.answered[kind] += 1
        else:
            self.tally.failures.append(f"{kind}: {wrong}")
        return True

    async def _ask_alone(self) -> str | None:
        link = await Link.open(self._address)
        try:
            return self._fault_of(await self._ask(link), self._request)
        finally:
            link.close()

    async def _ask_kept(self) -> str | None:
        link = await self._take_kept()
        try:
            reply = await self._ask(link)
        except BaseException:
            link.close()
            raise
        if reply.headers.get("connection") == "close":
            link.close()
        else:
            self._kept.append(link)
        return self._fault_of(reply, self._request)

    async def _take_kept(self) -> Link:
        """Take the connection that has been idle longest, or open one."""
        while self._kept:
            link = self._kept.popleft()
            if not link.is_closed():
                return link
            self.tally.closed_while_idle += 1
            link.close()
        return await Link.open(self._address)

    async def _ask(self, link: Link) -> Reply:
        return await link.ask(self._bytes_of(self._request, stream=False), lambda: None)

    async def _follow_stream(self) -> str | None:
        link = await Link.open(self._address)
        is_open = False

        def began() -> None:
            nonlocal is_open
            is_open = True
            self.tally.open_streams += 1

        try:
            request = self._bytes_of(self._stream, stream=True)
            return self._fault_of(await link.ask(request, began), self._stream)
        finally:
            self.tally.open_streams -= is_open
            link.close()

    def _bytes_of(self, ask: Ask, *, stream: bool) -> bytes:
        body = orjson.dumps(chat_body(ask.model, stream=stream, text="hi"))
        return (
            b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n"
            b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
        ) + body

    def _fault_of(self, reply: Reply, ask: Ask) -> str | None:
        """Say what is wrong with an answer; None if nothing is."""
        if reply.is_whole and reply.text == ask.answer:
            return None
        return f"status {reply.status}, {reply.body[-300:]!r}"
