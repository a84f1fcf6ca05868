"""Rounds of upkeep: in a thread, while this process leads, and until the stop."""

from __future__ import annotations

import asyncio
import threading

import pytest
from django.db import OperationalError

from gateway import keeper
from gateway.keeper import Keeper

LIMIT_S = 10.0


async def run(keeper: Keeper, until: threading.Event) -> None:
    """Run a keeper until something has happened."""
    stop = asyncio.Event()
    async with asyncio.timeout(LIMIT_S), asyncio.TaskGroup() as tasks:
        tasks.create_task(keeper.run(stop))
        await asyncio.to_thread(until.wait, LIMIT_S)
        stop.set()


async def test_it_works_again_at_once_while_there_is_more() -> None:
    left, done = iter([True, True, False]), threading.Event()
    threads = set[str]()

    def do_round() -> bool:
        threads.add(threading.current_thread().name)
        if has_more := next(left, False):
            return has_more
        done.set()
        return False

    await run(Keeper("some upkeep", do_round, is_leading=lambda: True), done)
    assert threads == {"ailb-some-upkeep_0"}
    assert next(left, None) is None


async def test_who_does_not_lead_does_nothing() -> None:
    rounds, asked = list[int](), threading.Event()

    def is_leading() -> bool:
        asked.set()
        return False

    def do_round() -> bool:
        rounds.append(1)
        return False

    await run(Keeper("some upkeep", do_round, is_leading=is_leading), asked)
    assert not rounds


@pytest.mark.parametrize("error", [OperationalError("away"), ValueError("a fault")])
async def test_a_fault_ends_nothing(
    error: Exception, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(keeper, "PAUSE_S", 0.0)
    rounds, done = list[int](), threading.Event()

    def do_round() -> bool:
        rounds.append(1)
        if len(rounds) < 3:
            raise error
        done.set()
        return False

    await run(Keeper("some upkeep", do_round, is_leading=lambda: True), done)
    told = [each.message for each in caplog.records if "some upkeep" in each.message]
    is_away = isinstance(error, OperationalError)
    assert told == (
        ["some upkeep waits"]
        if is_away
        else ["some upkeep failed; it is tried again"] * 2
    )


async def test_at_the_stop_a_round_is_asked_to_end_and_waited_for() -> None:
    begun, end = threading.Event(), threading.Event()
    ended = list[int]()

    def do_round() -> bool:
        begun.set()
        assert end.wait(LIMIT_S)
        ended.append(1)
        return True

    left = list[int]()
    keeper = Keeper(
        "some upkeep",
        do_round,
        is_leading=lambda: True,
        end_soon=end.set,
        leave=lambda: left.append(1),
    )
    await run(keeper, begun)
    assert ended == [1]
    assert not left


async def test_a_round_that_does_not_end_is_left_behind(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(keeper, "STOP_LIMIT_S", 0.05)
    monkeypatch.setattr(keeper, "CLOSE_LIMIT_S", 0.05)
    begun, end, left = threading.Event(), threading.Event(), list[str]()

    def do_round() -> bool:
        begun.set()
        return end.wait(LIMIT_S)

    def leave() -> None:
        left.append(threading.current_thread().name)

    patient = Keeper("some upkeep", do_round, is_leading=lambda: True, leave=leave)
    await run(patient, begun)
    assert left == ["ailb-leave_0"]
    assert "a round of upkeep is left behind" in caplog.text
    end.set()
