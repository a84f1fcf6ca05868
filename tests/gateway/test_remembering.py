"""Memory beside the event loop: within its deadline, bounded, and never in the way."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest
from django.db import OperationalError

from gateway import remembering
from gateway.errors import DatabaseAway
from gateway.parts import Parts, SharedParts
from gateway.remembering import MemoryUnavailable, Remembering
from memory.exchange import RecallStatus
from tests.gateway.memory_parts import (
    Lanes,
    Notebook,
    Shelf,
    exchanged,
    parts_of,
    request,
)


@asynccontextmanager
async def open_memory(
    notebook: Notebook,
    *,
    lanes: Lanes | None = None,
    shelf: Shelf | None = None,
    deadline_s: float = 5.0,
) -> AsyncIterator[Remembering]:
    tasks = []

    def spawn(work: Coroutine[Any, Any, None], *, name: str) -> asyncio.Task[None]:
        tasks.append(asyncio.get_running_loop().create_task(work, name=name))
        return tasks[-1]

    parts = SharedParts(lambda: parts_of(notebook, lanes, shelf))
    memory = Remembering(parts, spawn=spawn, deadline_s=deadline_s)
    try:
        yield memory
    finally:
        notebook.may_recall.set()
        notebook.may_write.set()
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        await memory.aclose()
        await parts.aclose()


async def test_what_was_said_is_recalled_and_other_sessions_are_not() -> None:
    async with open_memory(Notebook()) as memory:
        assert (await memory.recall(request())).status is RecallStatus.MISS
        memory.write(exchanged())
        found = await memory.recall(request())
        assert found.status is RecallStatus.HIT
        assert (await memory.recall(request("t"))).status is RecallStatus.MISS


async def test_a_recall_waits_for_the_write_of_its_session_under_way() -> None:
    notebook = Notebook()
    notebook.may_write.clear()
    async with open_memory(notebook) as memory:
        await memory.start()
        memory.write(exchanged())
        recalling = asyncio.ensure_future(memory.recall(request()))
        other = await memory.recall(request("t"))
        assert other.status is RecallStatus.MISS
        assert not recalling.done()
        notebook.may_write.set()
        assert (await recalling).status is RecallStatus.HIT


async def test_a_recall_that_takes_too_long_is_given_up() -> None:
    notebook = Notebook()
    notebook.may_recall.clear()
    async with open_memory(notebook, deadline_s=0.02) as memory:
        started_s = time.monotonic()
        found = await memory.recall(request())
        assert found.status is RecallStatus.DEGRADED
        assert found.messages is None
        assert time.monotonic() - started_s < 1.0
        assert "in time" in memory.problem
        notebook.may_recall.set()
        assert (await memory.recall(request())).status is RecallStatus.MISS
        assert memory.problem == ""


async def test_what_a_queue_is_too_long_for_is_degraded_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(remembering, "MOST_WAITING", 3)
    notebook = Notebook()
    notebook.may_recall.clear()
    async with open_memory(notebook) as memory:
        waiting = [asyncio.ensure_future(memory.recall(request())) for _ in range(3)]
        await asyncio.sleep(0)
        found = await memory.recall(request())
        assert found.status is RecallStatus.DEGRADED
        notebook.may_recall.set()
        ended = [(await each).status for each in waiting]
        assert ended == [RecallStatus.MISS] * 3


async def test_memory_that_cannot_be_put_together_fails_no_chat() -> None:
    def fail() -> Parts:
        raise RuntimeError("no memory")

    parts = SharedParts(fail)
    memory = Remembering(parts, spawn=asyncio.create_task, deadline_s=1.0)  # type: ignore[arg-type]  # never called  # noqa: TID251
    found = await memory.recall(request())
    assert found.status is RecallStatus.DEGRADED
    assert not memory.is_started
    await memory.aclose()
    await parts.aclose()


@pytest.mark.parametrize(("has_company", "is_seen"), [(True, True), (False, False)])
async def test_where_others_serve_an_answer_waits_until_it_is_written(
    *, has_company: bool, is_seen: bool
) -> None:
    notebook = Notebook()
    async with open_memory(notebook) as memory:
        await memory.start()
        memory.has_company = has_company
        await memory.write_visibly(exchanged())
        assert bool(notebook.written) is is_seen
        await memory.flush()
        assert notebook.written


async def test_an_answer_does_not_wait_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(remembering, "SEEN_LIMIT_S", 0.01)
    notebook = Notebook()
    notebook.may_write.clear()
    async with open_memory(notebook) as memory:
        await memory.start()
        memory.has_company = True
        await memory.write_visibly(exchanged())
        assert not notebook.written


async def test_a_call_sees_what_was_said_before_it() -> None:
    async with open_memory(Notebook()) as memory:
        await memory.start()
        memory.write(exchanged())
        assert await memory.call(lambda m: len(m.written)) == 1  # type: ignore[attr-defined]  # a notebook


async def test_a_call_that_finds_the_database_away_says_so() -> None:
    def fail(_: object) -> None:
        raise OperationalError("away")

    async with open_memory(Notebook()) as memory:
        with pytest.raises(DatabaseAway):
            await memory.call(fail)
        with pytest.raises(ZeroDivisionError):
            await memory.call(lambda _: 1 / 0)


async def test_too_many_calls_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remembering, "MOST_CALLS", 0)
    async with open_memory(Notebook()) as memory:
        with pytest.raises(MemoryUnavailable):
            await memory.call(lambda _: None)


async def test_nothing_starts_before_it_is_used_and_everything_is_closed() -> None:
    lanes, shelf = Lanes(), Shelf()
    async with open_memory(Notebook(), lanes=lanes, shelf=shelf) as memory:
        assert lanes.steps == []
        await memory.recall(request())
        assert memory.is_started
        lanes.problem = "There is no model."
        assert memory.problem == lanes.problem
    assert (lanes.steps, shelf.steps) == (["start"], ["close"])


def test_serving_imports_nothing_that_only_memory_and_documents_need() -> None:
    check = (
        "import django, sys; django.setup(); import ailb_project.asgi; "
        "heavy = {'memory.service', 'rag.library', 'rag.retrieval', 'numpy', 'chromadb', "
        "'onnxruntime', 'tokenizers', 'torch'}; "
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", check], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
