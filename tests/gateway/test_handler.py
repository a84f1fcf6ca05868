"""The lean handler's parts: the body it reads, and the pace of a stream."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from gateway.chat import KEEP_ALIVE
from gateway.errors import BodyTooLarge
from gateway.handler import ClientLeft, Pacer, read_body
from gateway.process_figures import Counts

SILENCE_S = 0.02
LIMIT_S = 5.0


class Wire:
    """Takes what is sent; while `gate` is closed nothing gets through."""

    def __init__(self) -> None:
        self.begun: list[bytes] = []
        self.sent: asyncio.Queue[bytes] = asyncio.Queue()
        self.gate = asyncio.Event()
        self.gate.set()

    async def send(self, message: Mapping[str, Any]) -> None:
        self.begun.append(message["body"])
        await self.gate.wait()
        self.sent.put_nowait(message["body"])

    async def next(self) -> bytes:
        async with asyncio.timeout(LIMIT_S):
            return await self.sent.get()

    def open_after(self, delay_s: float) -> None:
        self.gate.clear()
        asyncio.get_running_loop().call_later(delay_s, self.gate.set)


async def test_each_silence_gets_one_comment() -> None:
    wire = Wire()
    pacer = Pacer(wire.send, Counts(), keep_alive_s=SILENCE_S)
    loop = asyncio.get_running_loop()
    started_s = loop.time()
    assert [await wire.next() for _ in range(3)] == [KEEP_ALIVE] * 3
    assert loop.time() - started_s >= 3 * SILENCE_S
    await pacer.stop()


async def test_a_comment_never_falls_into_an_event_that_is_being_sent() -> None:
    wire = Wire()
    pacer = Pacer(wire.send, Counts(), keep_alive_s=SILENCE_S)
    wire.open_after(10 * SILENCE_S)
    await pacer.send(b"data: 1\n\n")
    assert wire.begun == [b"data: 1\n\n"]
    assert await wire.next() == b"data: 1\n\n"
    assert await wire.next() == KEEP_ALIVE
    await pacer.stop()


async def test_an_event_waits_for_the_comment_before_it() -> None:
    wire = Wire()
    pacer = Pacer(wire.send, Counts(), keep_alive_s=SILENCE_S)
    wire.open_after(10 * SILENCE_S)
    async with asyncio.timeout(LIMIT_S):
        while not wire.begun:
            await asyncio.sleep(0)
    await pacer.send(b"data: 1\n\n")
    assert [await wire.next(), await wire.next()] == [KEEP_ALIVE, b"data: 1\n\n"]
    await pacer.stop()


async def test_comments_do_not_pile_up_for_a_client_that_does_not_read() -> None:
    wire = Wire()
    pacer = Pacer(wire.send, Counts(), keep_alive_s=SILENCE_S)
    wire.open_after(10 * SILENCE_S)
    await wire.gate.wait()
    assert wire.begun == [KEEP_ALIVE]
    await pacer.stop()


async def test_nothing_is_sent_after_the_stop() -> None:
    wire = Wire()
    pacer = Pacer(wire.send, Counts(), keep_alive_s=SILENCE_S)
    await pacer.stop()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(2 * SILENCE_S):
            await wire.sent.get()


def received(*messages: Mapping[str, Any]) -> Any:
    queue = list(messages)

    async def receive() -> Mapping[str, Any]:
        return queue.pop(0)

    return receive


def part(body: bytes, *, more: bool) -> Mapping[str, Any]:
    return {"type": "http.request", "body": body, "more_body": more}


async def test_a_body_is_joined_of_its_parts() -> None:
    receive = received(part(b"ab", more=True), part(b"c", more=False))
    assert await read_body(receive, 3) == b"abc"


async def test_a_body_is_bounded_however_it_comes() -> None:
    receive = received(part(b"ab", more=True), part(b"cd", more=True))
    with pytest.raises(BodyTooLarge):
        await read_body(receive, 3)


async def test_a_client_may_leave_while_it_sends() -> None:
    receive = received(part(b"ab", more=True), {"type": "http.disconnect"})
    with pytest.raises(ClientLeft):
        await read_body(receive, 3)
