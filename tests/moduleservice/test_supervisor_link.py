"""Both ends of the link between the gRPC process and the supervisor, over a real pair."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from ailb_project import supervisor_link as supervisors_end
from moduleservice.base import SupervisorAway, Workers
from moduleservice.line_channel import RequestRefused
from moduleservice.supervisor_link import SupervisorLink
from moduleservice.supervisor_orders import FD_VARIABLE


@dataclass
class Orders:
    """Who writes down what is ordered."""

    count: int = 1
    stops: list[tuple[bool, float | None]] = field(default_factory=list)

    def counts(self) -> tuple[int, int]:
        return 1, self.count

    def scale(self, workers: int) -> None:
        if self.stops:
            raise RequestRefused("Everything stops.")
        self.count = workers

    def stop(self, *, is_graceful: bool, timeout_s: float | None) -> None:
        self.stops.append((is_graceful, timeout_s))


@asynccontextmanager
async def linked(
    orders: Orders,
) -> AsyncIterator[tuple[SupervisorLink, supervisors_end.SupervisorLink]]:
    theirs = supervisors_end.SupervisorLink(orders)
    ours = SupervisorLink(theirs.open())
    try:
        yield ours, theirs
    finally:
        ours.close()
        theirs.close()


async def test_orders_arrive_and_are_answered() -> None:
    orders = Orders()
    async with linked(orders) as (link, _):
        assert await link.workers() == Workers(running=1, wanted=1)
        assert await link.scale(3) == Workers(running=1, wanted=3)
        async with asyncio.TaskGroup() as tasks:  # more than one at a time
            asked = [tasks.create_task(link.workers()) for _ in range(20)]
        assert {task.result().wanted for task in asked} == {3}
        await link.stop(is_graceful=False, timeout_s=2.5)
        await link.stop(is_graceful=True, timeout_s=None)
        assert orders.stops == [(False, 2.5), (True, None)]
        with pytest.raises(SupervisorAway, match=r"refuses: Everything stops\."):
            await link.scale(2)


async def test_leave_is_taken_when_it_has_been_done() -> None:
    done = asyncio.Event()
    async with linked(Orders()) as (link, theirs):
        await theirs.take_leave()  # nothing is to be done: answered at once

        async def leave() -> None:
            await asyncio.sleep(0)
            done.set()

        link.on_leave = leave
        await theirs.take_leave()
        assert done.is_set()


async def test_a_leave_that_fails_is_answered_and_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with linked(Orders()) as (link, theirs):

        async def leave() -> None:
            raise RuntimeError("the load balancer said no")

        link.on_leave = leave
        await theirs.take_leave()
    assert "could not take leave" in caplog.text


async def test_who_has_gone_or_does_not_answer_is_away() -> None:
    silent, end = socket.socketpair()
    with silent:
        link = SupervisorLink(end, deadline_s=0.02)
        with pytest.raises(SupervisorAway, match="does not answer"):
            await link.workers()
        silent.sendall(b'{"id": 1}\n{"id": 2}\n')  # the first too late, the next empty
        with pytest.raises(SupervisorAway, match="says nothing"):
            await link.workers()
        with pytest.raises(SupervisorAway, match="does not answer"):
            await link.stop(is_graceful=True, timeout_s=None)
    with pytest.raises(SupervisorAway, match="has gone"):
        await link.workers()
    link.close()


async def test_an_end_wakes_whoever_waits() -> None:
    other, end = socket.socketpair()
    link = SupervisorLink(end)
    async with asyncio.TaskGroup() as tasks:
        asked = tasks.create_task(_is_away(link))
        assert await asyncio.get_running_loop().run_in_executor(None, other.recv, 4096)
        other.close()
    assert asked.result()


async def _is_away(link: SupervisorLink) -> bool:
    try:
        await link.workers()
    except SupervisorAway as error:
        return "has gone" in str(error)
    return False


async def test_who_does_not_read_is_hung_up_on() -> None:
    other, end = socket.socketpair()
    with other:
        link = SupervisorLink(end, deadline_s=0.0)
        reasons = set()
        for _ in range(20_000):
            with pytest.raises(SupervisorAway) as caught:
                await link.workers()
            reasons.add(str(caught.value))
            if "The supervisor has gone." in reasons:
                break
        assert reasons == {
            "The supervisor does not answer.",
            "The supervisor has gone.",
        }


async def test_it_is_found_in_the_environment(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv(FD_VARIABLE, raising=False)
    assert SupervisorLink.from_environment() is None
    for nonsense in ("nine", "-1", "99999"):
        monkeypatch.setenv(FD_VARIABLE, nonsense)
        assert SupervisorLink.from_environment() is None
        assert f"{FD_VARIABLE}={nonsense} is no socket" in caplog.text
    theirs = supervisors_end.SupervisorLink(Orders(count=2))
    with theirs.open() as end:
        fd = os.dup(end.fileno())
    os.set_inheritable(fd, True)
    monkeypatch.setenv(FD_VARIABLE, str(fd))
    link = SupervisorLink.from_environment()
    assert link is not None
    assert not os.get_inheritable(fd)
    assert (await link.workers()).wanted == 2
    link.close()
    theirs.close()
