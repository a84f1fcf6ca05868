"""Exchanges are written in order and in batches, bounded, whatever fails meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from django.db import OperationalError
from hypothesis import given, strategies as st

from gateway.memory_queue import WriteQueue, chars_in, key_of
from memory.exchange import Exchanged
from tests.gateway.memory_parts import exchanged


class Desk:
    """Writes what it is given, when it may; counts what the queue lost."""

    def __init__(self, *, poison: str = "") -> None:
        self.written: list[str] = []
        self.batches: list[int] = []
        self.errors: list[Exception] = []
        self.may_write = asyncio.Event()
        self.may_write.set()
        self.lost: list[str] = []
        self._poison = poison

    async def write(self, exchanges: Sequence[Exchanged]) -> None:
        await self.may_write.wait()
        if self.errors:
            raise self.errors.pop(0)
        answers = [each.answer for each in exchanges]
        if self._poison in answers:
            raise ValueError("poison")
        self.written += answers
        self.batches.append(len(answers))

    def drop(self, reason: str) -> None:
        self.lost.append(reason)


@asynccontextmanager
async def running(desk: Desk, **options: Any) -> AsyncIterator[WriteQueue]:
    queue = WriteQueue(desk.write, dropped=desk.drop, **options)
    loop = asyncio.get_running_loop()
    work = loop.create_task(queue.run())
    try:
        yield queue
    finally:
        work.cancel()
        await asyncio.wait({work})


async def test_what_waits_together_is_written_together_in_its_order() -> None:
    desk = Desk()
    async with running(desk) as queue:
        answers = [f"a{number}" for number in range(100)]
        for answer in answers:
            assert queue.put(exchanged(answer=answer))
        await queue.settled()
    assert desk.written == answers
    assert desk.batches == [64, 36]
    assert len(queue) == 0


async def test_a_reader_waits_for_its_own_session_only() -> None:
    desk = Desk()
    desk.may_write.clear()
    async with running(desk) as queue:
        mine = exchanged("mine")
        queue.put(mine)
        await queue.settled((1, "another"))
        waiting = asyncio.get_running_loop().create_task(queue.settled(key_of(mine)))
        await asyncio.sleep(0)
        assert not waiting.done()
        desk.may_write.set()
        await waiting
        assert desk.written == ["yes"]


async def test_what_the_queue_has_no_room_for_is_dropped_and_counted() -> None:
    desk = Desk()
    queue = WriteQueue(desk.write, dropped=desk.drop, most=2)
    assert [queue.put(exchanged()) for _ in range(3)] == [True, True, False]
    assert desk.lost == ["queue full"]


async def test_the_queue_counts_text_and_frees_it_again() -> None:
    desk = Desk()
    async with running(desk, most_chars=100) as queue:
        assert queue.put(exchanged(answer="x" * 60, messages=[]))
        assert not queue.put(exchanged(answer="x" * 60, messages=[]))
        await queue.settled()
        assert queue.put(exchanged(answer="x" * 60, messages=[]))
    assert desk.lost == ["queue full"]


async def test_while_the_database_is_away_exchanges_wait_and_nobody_for_them() -> None:
    desk = Desk()
    desk.errors = [OperationalError("away"), OperationalError("away")]
    async with running(desk, retry_s=0.01) as queue:
        queue.put(exchanged(answer="one"))
        await queue.settled((1, "s"))
        assert desk.written == []
        assert "database" in queue.problem
        queue.put(exchanged(answer="two"))
        while len(queue):
            await asyncio.sleep(0.001)
        assert desk.written == ["one", "two"]
        assert queue.problem == ""
    assert desk.lost == []


async def test_an_exchange_that_cannot_be_written_is_given_up_alone() -> None:
    desk = Desk(poison="bad")
    async with running(desk) as queue:
        for answer in ("one", "bad", "two"):
            queue.put(exchanged(answer=answer))
        await queue.settled()
    assert desk.written == ["one", "two"]
    assert desk.lost == ["fault"]


async def test_a_flush_writes_what_waits_and_gives_up_what_takes_too_long() -> None:
    desk = Desk()
    async with running(desk) as queue:
        queue.put(exchanged(answer="one"))
        await queue.flush(limit_s=5)
        assert desk.written == ["one"]
        desk.may_write.clear()
        queue.put(exchanged(answer="two"))
        await queue.flush(limit_s=0.01)
    assert desk.lost == ["stop"]


async def test_losses_are_logged_once_a_minute(
    caplog: pytest.LogCaptureFixture,
) -> None:
    queue = WriteQueue(Desk().write, dropped=lambda _: None, most=0)
    for _ in range(3):
        queue.put(exchanged())
    assert [each.message for each in caplog.records] == [
        "conversations were not remembered"
    ]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(JSON)
def test_every_character_of_a_value_is_counted(value: Any) -> None:
    def counted(part: Any) -> int:
        if isinstance(part, str):
            return len(part)
        inner = part.values() if isinstance(part, dict) else part
        return sum(map(counted, inner)) if isinstance(part, (dict, list)) else 0

    assert chars_in(value) == counted(value)
