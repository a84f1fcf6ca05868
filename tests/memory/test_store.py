"""Tenants never meet, and writers at the same time neither lose nor double a turn."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from django.db import transaction
from hypothesis import HealthCheck, given, settings, strategies as st

from memory.errors import SessionNotFound
from memory.models import Session, Turn, TurnVector
from memory.service import Memory
from rag.embedding_lanes import EmbeddingLanes
from rag.scope import Scope
from tests.memory.scenes import (
    NOW_S,
    POLICY,
    assistant,
    exchanged,
    make_memory,
    make_scope,
    recall,
    running_lanes,
    text_of,
    user,
)
from tests.postgresql import empty_database, pass_on_postgresql

ROOT = Path(__file__).resolve().parents[2]
WRITERS, THINGS = 2, 8
NOW = datetime.fromtimestamp(NOW_S, UTC)
TENANTS = ("ours", "theirs")
SESSIONS = ("s", "t")
OPERATIONS = (
    "write", "history", "import", "recall", "search", "turns", "export", "sessions",
    "delete_session", "delete_owner", "delete_all",
)  # fmt: skip


@pytest.fixture(scope="module")
def lanes() -> Iterator[EmbeddingLanes]:
    with running_lanes() as lanes:
        yield lanes


class World:
    """Two tenants with the same session ids and keys, before one memory or two."""

    def __init__(self, lanes: EmbeddingLanes) -> None:
        self._memories = [make_memory(lanes), make_memory(lanes)]
        self._scopes = {name: make_scope(name, owner="key") for name in TENANTS}
        self._said = 0
        self.alive: dict[tuple[str, str], int] = defaultdict(int)

    def do(self, tenant: str, session_id: str, operation: str, process: int) -> str:
        """Do something for a tenant; give everything it got to see."""
        memory, scope = self._memories[process], self._scopes[tenant]
        act = getattr(self, f"_{operation}")
        try:
            return str(act(memory, scope, tenant, session_id))
        except SessionNotFound:
            assert not self.alive[tenant, session_id]
            return ""

    def _words(self, tenant: str) -> str:
        self._said += 1
        return f"the secret of {tenant} has number {self._said}"

    def _write(self, memory: Memory, scope: Scope, tenant: str, session_id: str) -> str:
        self.alive[tenant, session_id] += 1
        asked = user(self._words(tenant))
        memory.write([exchanged(scope, asked, session_id=session_id, answer=tenant)])
        return ""

    def _history(
        self, memory: Memory, scope: Scope, tenant: str, session_id: str
    ) -> str:
        self.alive[tenant, session_id] += 1
        sent = [user(self._words(tenant)), assistant("Fine."), user(tenant)]
        memory.write([exchanged(scope, *sent, session_id=session_id, answer=tenant)])
        return ""

    def _import(
        self, memory: Memory, scope: Scope, tenant: str, session_id: str
    ) -> object:
        self.alive[tenant, session_id] += 1
        turn = {**user(self._words(tenant)), "external_id": "the same"}
        return memory.import_turns(scope, session_id, [turn], policy=POLICY, now=NOW)

    def _recall(
        self, memory: Memory, scope: Scope, tenant: str, session_id: str
    ) -> str:
        found = recall(
            memory, scope, user("what is the secret number"), session_id=session_id
        )
        assert bool(found.messages) == bool(self.alive[tenant, session_id]) or (
            found.messages is None
        )
        return text_of(found)

    def _search(
        self, memory: Memory, scope: Scope, tenant: str, session_id: str
    ) -> object:
        return memory.search(scope, session_id, "the secret of ours and theirs", 50)

    def _turns(
        self, memory: Memory, scope: Scope, tenant: str, session_id: str
    ) -> object:
        return memory.turns(scope, session_id, with_superseded=True, limit=1000)

    def _export(
        self, memory: Memory, scope: Scope, tenant: str, session_id: str
    ) -> str:
        return json.dumps(memory.export(scope, session_id))

    def _sessions(
        self, memory: Memory, scope: Scope, tenant: str, session_id: str
    ) -> str:
        page = memory.sessions(scope)
        mine = {
            name
            for (whose, name), count in self.alive.items()
            if count and whose == tenant
        }
        assert {session.session_id for session in page.sessions} == mine
        return str(page)

    def _delete_session(
        self, memory: Memory, scope: Scope, tenant: str, session_id: str
    ) -> str:
        memory.delete_session(scope, session_id)
        self.alive[tenant, session_id] = 0
        return ""

    def _delete_owner(
        self, memory: Memory, scope: Scope, tenant: str, session_id: str
    ) -> str:
        return self._forget(tenant, memory.delete_owner(scope, "key"))

    def _delete_all(
        self, memory: Memory, scope: Scope, tenant: str, session_id: str
    ) -> str:
        return self._forget(tenant, memory.delete_all(scope))

    def _forget(self, tenant: str, count: int) -> str:
        mine = [name for name in SESSIONS if self.alive[tenant, name]]
        assert count == len(mine)
        for name in mine:
            self.alive[tenant, name] = 0
        return ""


STEPS = st.lists(
    st.tuples(
        st.sampled_from(TENANTS),
        st.sampled_from(SESSIONS),
        # Deletions are rarer than the rest: else there is never much to see.
        st.sampled_from(OPERATIONS[:8] * 3 + OPERATIONS[8:]),
        st.integers(0, 1),
    ),
    max_size=30,
)


@pytest.mark.django_db
@given(steps=STEPS)
@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_no_tenant_ever_sees_another_ones_words(
    lanes: EmbeddingLanes, steps: list[tuple[str, str, str, int]]
) -> None:
    with transaction.atomic():
        world = World(lanes)
        for tenant, session_id, operation, process in steps:
            seen = world.do(tenant, session_id, operation, process)
            (other,) = set(TENANTS) - {tenant}
            assert f"secret of {other}" not in seen
        for tenant in TENANTS:
            kept = Session.objects.filter(tenant__name=tenant).count()
            alive = [name for name in SESSIONS if world.alive[tenant, name]]
            assert kept == len(alive)
        transaction.set_rollback(True)


def write_many(writer: int) -> None:
    """Say that it is ready, wait for a line, and write; in a process of its own.

    A second line has it check what all of them wrote.
    """
    with running_lanes() as lanes:
        memory, scope = make_memory(lanes), make_scope("a")
        print("ready", flush=True)  # noqa: T201 - to the test
        sys.stdin.readline()
        for n in range(THINGS):
            asked = user(f"writer {writer} says thing {n}")
            answer = f"heard {writer} on {n}"
            assert memory.write([exchanged(scope, asked, answer=answer)]) == 2
    if sys.stdin.readline():
        check_written()


def check_written() -> None:
    session = Session.objects.get()
    turns = list(Turn.objects.filter(session=session).order_by("seq"))
    assert [turn.seq for turn in turns] == list(range(1, session.last_seq + 1))
    said: dict[str, list[str]] = defaultdict(list)
    for asked, answer in zip(turns[::2], turns[1::2], strict=True):
        _, writer, _, _, thing = asked.text.split()
        assert answer.text == f"heard {writer} on {thing}"
        said[writer].append(thing)
    things = [str(n) for n in range(THINGS)]
    assert said == {str(writer): things for writer in range(WRITERS)}
    assert TurnVector.objects.count() == len(turns)


def begin_writing(writer: int, *, url: str, data: Path) -> subprocess.Popen[str]:
    script = f"from tests.memory import test_store\ntest_store.write_many({writer})"
    return subprocess.Popen(
        [sys.executable, "manage.py", "shell", "--no-imports", "-c", script],
        cwd=ROOT,
        env={**os.environ, "DATABASE_URL": url, "AILB_DATA_DIR": str(data)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen[str], said: str = "") -> None:
    _, errors = process.communicate(said, timeout=120)
    assert process.returncode == 0, errors


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(
    request: pytest.FixtureRequest, tmp_path: Path, database_template: Path
) -> Iterator[str]:
    """Give a migrated database of our own."""
    if request.param == "sqlite":
        path = tmp_path / "ailb.sqlite3"
        path.write_bytes(database_template.read_bytes())
        yield f"sqlite:///{path}"
        return
    template = request.getfixturevalue("postgresql_template")
    with empty_database(template=template) as url:
        yield url


def test_processes_that_write_one_session_lose_nothing(
    database_url: str, tmp_path: Path
) -> None:
    writers = [
        begin_writing(number, url=database_url, data=tmp_path)
        for number in range(WRITERS)
    ]
    for writer in writers:
        assert writer.stdout is not None
        while (line := writer.stdout.readline()) != "ready\n":
            assert line, writer.communicate()
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.write("go\n")
        writer.stdin.flush()
    for writer in writers[1:]:
        finish(writer)
    finish(writers[0], "check\n")


def test_all_of_memory_holds_on_postgresql(postgresql_template: str) -> None:
    tests = [
        "test_service.py",
        "test_importing.py",
        "test_cache.py",
        "test_erasure.py::test_every_deletion_takes_rows_vectors_and_copies",
    ]
    pass_on_postgresql(
        *(f"tests/memory/{name}" for name in tests), template=postgresql_template
    )


@pytest.mark.django_db
def test_texts_are_kept_whatever_is_in_them(lanes: EmbeddingLanes) -> None:
    memory, scope = make_memory(lanes), make_scope("a")
    odd: list[dict[str, Any]] = [user("nul \0 and \ud800 and \U0001f600 and \u202e")]
    memory.write([exchanged(scope, *odd, answer="\0", request_id="r" * 500)])
    first = memory.turns(scope, "s").turns[0]
    assert "\U0001f600" in first.text
    assert "\0" not in first.text
    assert recall(memory, scope, user("And now?")).messages
