"""Deletion is complete: no row, no vector, and no byte of it in any file."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from memory.exchange import RecallStatus
from memory.models import Session, Turn, TurnVector, VectorErasure
from memory.service import Memory
from rag.embedding_lanes import EmbeddingLanes
from rag.errors import VectorStoreUnavailable
from tests.memory.scenes import (
    exchanged,
    make_memory,
    make_scope,
    recall,
    running_lanes,
    text_of,
    user,
)
from tests.rag.chroma_server import running_chroma

ROOT = Path(__file__).resolve().parents[2]
MARKS = [f"unmistakable{n:03}" for n in range(24)]
HOLDER = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1])
connection.execute("PRAGMA journal_mode=WAL")
connection.execute("SELECT count(*) FROM memory_turn").fetchone()
print("open", flush=True)
sys.stdin.read()
"""
WRITE = """
from tests.memory.test_erasure import write_marked
write_marked()
"""
ERASE = """
from tests.memory.test_erasure import erase_marked
erase_marked()
"""


def until_done(turn: Callable[[], object], *, limit_s: float = 60.0) -> None:
    """Take turns until one has nothing to do; a store that is slow is asked again."""
    deadline_s = time.monotonic() + limit_s
    while True:
        try:
            if not turn():
                return
        except VectorStoreUnavailable:
            if time.monotonic() > deadline_s:
                raise


def write_marked() -> None:
    """Write and mirror sessions of both kinds, in turns, so that they share pages."""
    from django.conf import settings  # noqa: PLC0415 - in a process of its own

    from memory import upkeep  # noqa: PLC0415
    from rag.configured import make_store  # noqa: PLC0415

    assert settings.CHROMA_URL
    scope, store = make_scope("a", owner="leaves"), make_store()
    assert store is not None
    with running_lanes() as lanes:
        memory = make_memory(lanes)
        for mark in MARKS:
            for session_id in (f"session-{mark}", "stays"):
                said = mark if session_id != "stays" else "harmless"
                asked = user(f"{said} {'and more of it ' * 40} {said}")
                memory.write(
                    [
                        exchanged(
                            scope,
                            asked,
                            session_id=session_id,
                            answer=f"so it is with {said}",
                            tool_calls=[("look_up", f'{{"what": "{said}"}}')],
                        )
                        for _ in range(2)
                    ]
                )
        Session.objects.exclude(session_id="stays").update(summary=f"On {MARKS[0]}.")
        embedding = lanes.id
        assert embedding is not None
        until_done(lambda: upkeep.mirror(store, embedding, 500))
    store.close()


def erase_marked() -> None:
    """Delete what is marked, in the ways there are, and do what upkeep does then."""
    from gateway import database_upkeep  # noqa: PLC0415 - in a process of its own
    from memory import upkeep  # noqa: PLC0415
    from rag.configured import make_store  # noqa: PLC0415

    store = make_store()
    assert store is not None
    with running_lanes() as lanes:
        memory, scope = make_memory(lanes), make_scope("a")
        for mark in MARKS[::2]:
            memory.delete_session(scope, f"session-{mark}")
        Session.objects.filter(session_id="stays").update(owner="stays")
        assert memory.delete_owner(scope, "leaves") == len(MARKS) // 2
        assert memory.turns(scope, "stays").turns
    until_done(lambda: upkeep.erase(store, 500))
    assert upkeep.sweep_orphans(store) == 0
    erased = database_upkeep.vacuum()
    assert erased > len(MARKS)
    assert database_upkeep.vacuum(erased=erased) == erased
    assert database_upkeep.shrink()
    store.close()


def files_with(folder: Path, mark: str) -> list[str]:
    """List the files under a folder in which a text stands, in any common encoding."""
    needles = [mark.encode(), mark.encode("utf-16-le")]
    return [
        path.name
        for path in folder.rglob("*")
        if path.is_file() and any(each in path.read_bytes() for each in needles)
    ]


def test_no_byte_of_what_was_deleted_is_left_in_any_file(
    tmp_path: Path, database_template: Path
) -> None:
    database = tmp_path / "ailb.sqlite3"
    database.write_bytes(database_template.read_bytes())
    with running_chroma(tmp_path) as chroma, ExitStack() as stack:

        def run(script: str) -> None:
            subprocess.run(
                [sys.executable, "manage.py", "shell", "--no-imports", "-c", script],
                cwd=ROOT,
                env={
                    **os.environ,
                    "AILB_DATA_DIR": str(tmp_path),
                    "CHROMA_URL": chroma.url,
                    "DATABASE_URL": "",
                },
                check=True,
                timeout=120,
            )

        # As a worker does: the last connection that closes would empty the log itself.
        # In a process of its own: who reads a file's bytes drops his locks on it.
        holder = stack.enter_context(
            subprocess.Popen(
                [sys.executable, "-c", HOLDER, str(database)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        )
        assert holder.stdin is not None
        assert holder.stdout is not None
        assert holder.stdout.readline() == "open\n"
        run(WRITE)
        assert {"ailb.sqlite3-wal"} <= set(files_with(tmp_path, MARKS[-1]))
        assert files_with(tmp_path, "harmless")
        run(ERASE)
        assert (tmp_path / "ailb.sqlite3-wal").stat().st_size == 0
        assert files_with(tmp_path, "harmless")
        found = {mark: files for mark in MARKS if (files := files_with(tmp_path, mark))}
        assert found == {}
        holder.stdin.close()


@pytest.fixture(scope="module")
def lanes() -> Iterator[EmbeddingLanes]:
    with running_lanes() as lanes:
        yield lanes


@pytest.mark.django_db
@pytest.mark.parametrize(
    "delete",
    [
        lambda memory, scope: memory.delete_session(scope, "s"),
        lambda memory, scope: memory.delete_owner(scope, "key"),
        lambda memory, scope: memory.delete_all(scope),
    ],
    ids=["session", "owner", "all"],
)
def test_every_deletion_takes_rows_vectors_and_copies(
    lanes: EmbeddingLanes, delete: Callable[..., object]
) -> None:
    memory, other_process = make_memory(lanes), make_memory(lanes)
    mine, theirs = make_scope("a", owner="key"), make_scope("b", owner="key")
    for scope in (mine, theirs):
        memory.write([exchanged(scope, user("My name is Alice"))])
    asked = user("What is my name?")
    for each in (memory, other_process):
        assert "Alice" in text_of(recall(each, mine, asked))
    delete(memory, mine)
    assert Session.objects.get().tenant_id == theirs.tenant_id
    assert (Turn.objects.count(), TurnVector.objects.count()) == (2, 2)
    assert VectorErasure.objects.count() == 2
    assert len(memory._cache) == 0
    for each in (memory, other_process):
        assert recall(each, mine, asked).status is RecallStatus.MISS
        assert "Alice" in text_of(recall(each, theirs, asked))
    memory.write([exchanged(mine, user("My name is Bob"))])
    for each in (memory, other_process):
        assert "Alice" not in text_of(recall(each, mine, asked))


@pytest.mark.django_db
def test_deleting_nothing_is_counted_as_nothing(lanes: EmbeddingLanes) -> None:
    memory: Memory = make_memory(lanes)
    scope = make_scope("a", owner="key")
    memory.write([exchanged(scope, user("My name is Alice"))])
    assert memory.delete_owner(scope, "another") == 0
    assert memory.delete_owner(scope, "nul\0") == 0
    assert memory.delete_all(make_scope("b")) == 0
    assert Session.objects.count() == 1
