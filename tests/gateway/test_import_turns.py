"""Imports into memory: one after the other, and on when their client leaves."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

import pytest
from typing_extensions import override

from gateway.errors import InvalidRequest
from gateway.views.memory.turns import ImportView

T = TypeVar("T")


class HeldImports(ImportView):
    """Imports that end when the test says so; each tells what `begun` has counted."""

    def __init__(self) -> None:
        super().__init__()
        self.one_at_a_time = asyncio.Semaphore(1)  # of this test's event loop
        self.begun = 0
        self.may_end = asyncio.Event()

    @override
    async def in_memory(self, work: Callable[..., T], **_: Any) -> T:
        self.begun += 1
        await self.may_end.wait()
        return work(self.begun, None)

    async def numbered(self) -> int:
        """Import; give the number that it had."""

        def number(begun: Any, _: Any) -> int:
            return int(begun)

        return await self.in_turn(number)


async def turn_of_the_loop() -> None:
    """Let everything run that can."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_an_import_waits_for_the_one_before_it() -> None:
    imports = HeldImports()
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(imports.numbered()) for _ in range(3)]
        await turn_of_the_loop()
        assert imports.begun == 1
        imports.may_end.set()
    assert [task.result() for task in tasks] == [1, 2, 3]


async def test_an_import_goes_on_without_its_client_and_the_next_one_waits() -> None:
    imports = HeldImports()
    async with asyncio.TaskGroup() as group:
        left = group.create_task(imports.numbered())
        await turn_of_the_loop()
        left.cancel()
        second = group.create_task(imports.numbered())
        await turn_of_the_loop()
        assert left.cancelled()
        assert imports.begun == 1
        imports.may_end.set()
    assert second.result() == 2


async def test_a_client_that_leaves_the_queue_takes_nobodys_turn() -> None:
    imports = HeldImports()
    async with asyncio.TaskGroup() as group:
        first = group.create_task(imports.numbered())
        await turn_of_the_loop()
        left = group.create_task(imports.numbered())
        await turn_of_the_loop()
        left.cancel()
        imports.may_end.set()
    assert (first.result(), left.cancelled(), imports.begun) == (1, True, 1)
    assert not imports.one_at_a_time.locked()


async def test_what_the_client_did_wrong_is_no_failure_of_a_task(caplog: Any) -> None:
    imports = HeldImports()
    imports.may_end.set()

    def refuse(*_: Any) -> None:
        raise InvalidRequest("turns must be a list.", param="turns")

    with pytest.raises(InvalidRequest, match="must be a list"):
        await imports.in_turn(refuse)
    await turn_of_the_loop()
    assert not caplog.records
    assert not imports.one_at_a_time.locked()
