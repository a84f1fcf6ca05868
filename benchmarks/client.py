"""A small client for what wrk cannot do: arrivals at a fixed rate, and timed streams."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TypeVar

import aiohttp
import uvloop

from benchmarks.calls import Call
from benchmarks.processes import BenchmarkFailed

T = TypeVar("T")
TIMEOUT_S = 120.0
WARM_UP_S = 1.0
_CONTENT = re.compile(rb'"content":\s*"[^"]')
_END = b"data: [DONE]"
_AT_ONCE = 20


@dataclass(slots=True)
class StreamTimes:
    """What streams looked like to their clients, in milliseconds."""

    first_ms: list[float] = field(default_factory=list)  # to the first token
    gaps_ms: list[float] = field(default_factory=list)  # between tokens


def arrive(call: Call, *, rate: float, seconds: float) -> list[float]:
    """Send requests at a fixed rate, whatever becomes of them; give the milliseconds.

    Each is timed from when it was due, so a queue in front of the server counts. The
    first second is left out: connections are opened in it.

    Raises:
        BenchmarkFailed: An answer was not a 200, or did not come.

    """
    return _run(_arrive(call, rate=rate, seconds=seconds))


def follow_streams(
    call: Call, *, streams: int, starts_s: float, events: int
) -> StreamTimes:
    """Follow streams that begin evenly within `starts_s`; raises like `arrive`.

    Each must bring so many tokens and its end.
    """
    return _run(_follow(call, streams=streams, starts_s=starts_s, events=events))


def abort_streams(call: Call, count: int) -> None:
    """Begin streams and leave each at its first byte; raises like `arrive`."""
    _run(_abort(call, count))


def _run(work: Coroutine[None, None, T]) -> T:
    try:
        return uvloop.run(work)
    except* (aiohttp.ClientError, TimeoutError, BenchmarkFailed) as failures:
        first: BaseException = failures
        while isinstance(first, BaseExceptionGroup):
            first = first.exceptions[0]
        raise BenchmarkFailed(f"{type(first).__name__}: {first}") from failures


@asynccontextmanager
async def _session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0),
        timeout=aiohttp.ClientTimeout(total=TIMEOUT_S),
    ) as session:
        yield session


async def _arrive(call: Call, *, rate: float, seconds: float) -> list[float]:
    took_ms: list[float] = []

    async def ask(due_s: float, *, counts: bool) -> None:
        async with session.post(
            call.url, data=call.body, headers=call.headers
        ) as answer:
            await answer.read()
            _refuse(answer.status)
        if counts:
            took_ms.append((time.perf_counter() - due_s) * 1000)

    async with _session() as session, asyncio.TaskGroup() as group:
        began_s = time.perf_counter()
        for number in range(round(rate * (seconds + WARM_UP_S))):
            due_s = began_s + number / rate
            await asyncio.sleep(due_s - time.perf_counter())
            group.create_task(ask(due_s, counts=due_s - began_s >= WARM_UP_S))
    return took_ms


async def _follow(
    call: Call, *, streams: int, starts_s: float, events: int
) -> StreamTimes:
    times = StreamTimes()
    async with _session() as session, asyncio.TaskGroup() as group:
        for _ in range(streams):
            group.create_task(_follow_one(session, call, times, events=events))
            await asyncio.sleep(starts_s / streams)
    return times


async def _follow_one(
    session: aiohttp.ClientSession, call: Call, times: StreamTimes, *, events: int
) -> None:
    asked_s = time.perf_counter()
    arrived_s: list[float] = []
    rest, has_ended = b"", False
    async with session.post(call.url, data=call.body, headers=call.headers) as answer:
        _refuse(answer.status)
        async for data in answer.content.iter_any():
            now_s = time.perf_counter()
            *whole, rest = (rest + data).split(b"\n\n")
            arrived_s += [now_s for event in whole if _CONTENT.search(event)]
            has_ended = has_ended or any(event.startswith(_END) for event in whole)
    if len(arrived_s) != events or not has_ended:
        raise BenchmarkFailed(f"a stream had {len(arrived_s)} tokens of {events}")
    times.first_ms.append((arrived_s[0] - asked_s) * 1000)
    times.gaps_ms += [
        (after_s - before_s) * 1000 for before_s, after_s in pairwise(arrived_s)
    ]


async def _abort(call: Call, count: int) -> None:
    numbers = iter(range(count))

    async def abort_in_turn() -> None:
        for _ in numbers:
            async with session.post(
                call.url, data=call.body, headers=call.headers
            ) as answer:
                _refuse(answer.status)
                await answer.content.readany()
                answer.close()

    async with _session() as session, asyncio.TaskGroup() as group:
        for _ in range(_AT_ONCE):
            group.create_task(abort_in_turn())


def _refuse(status: int) -> None:
    if status != 200:
        raise BenchmarkFailed(f"a request was answered {status}")
