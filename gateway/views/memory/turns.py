"""What is done with a session's turns: import, search, export."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

import orjson
from django.http import HttpResponseBase
from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request

from gateway.auth import Principal
from gateway.dialects.openai.request.fields import (
    check_integer,
    check_string,
    wrong_value,
)
from gateway.errors import AilbError, PermissionDenied
from gateway.remembering import MemoryUnavailable
from gateway.runtime import runtime
from gateway.views.memory import schema
from gateway.views.memory.base import check_session_id
from gateway.views.memory.sessions import SessionActionView
from gateway.views.rendering import render, render_bytes
from memory.config import Policy

if TYPE_CHECKING:
    from memory.service import Memory
    from rag.scope import Scope

MAX_QUERY_CHARS = 10_000
MAX_RESULTS = 100
DEFAULT_RESULTS = 10
IMPORT_WAIT_S = 120.0
IMPORT_DEADLINE_S = 600.0

T = TypeVar("T")


class ImportView(SessionActionView):
    """`/api/memory/sessions/{id}/turns`."""

    action = "turns"
    # An import takes long; of memory's threads it leaves the others to everybody else.
    one_at_a_time = asyncio.Semaphore(1)

    @extend_schema(**schema.IMPORT)
    async def post(self, request: Request, session_id: str) -> HttpResponseBase:
        """Add turns from elsewhere; answers when they can be found."""
        check_session_id(session_id)
        turns = self.fields(("turns",), required="turns")["turns"]
        policy = policy_of(self.principal)
        done = await self.in_turn(
            lambda memory, scope: memory.import_turns(
                scope, session_id, turns, policy=policy, now=timezone.now()
            )
        )
        counts = {"added": done.added, "known": done.known, "waiting": done.waiting}
        return render({**done.session.as_dict(), **counts})

    async def in_turn(self, work: Callable[[Memory, Scope], T]) -> T:
        """Do like `in_memory`, after the imports before this one.

        Goes on when the client leaves: its thread could not be stopped, and the next
        import must not begin beside it. Raises like `in_memory`.
        """
        try:
            async with asyncio.timeout(IMPORT_WAIT_S):
                await self.one_at_a_time.acquire()
        except TimeoutError as error:
            raise MemoryUnavailable(
                "Other imports are still under way. Try again later."
            ) from error
        importing = runtime.spawn(
            outcome_of(self.in_memory(work, deadline_s=IMPORT_DEADLINE_S)),
            name="import turns",
        )
        importing.add_done_callback(lambda _: self.one_at_a_time.release())
        outcome = await asyncio.shield(importing)
        if isinstance(outcome, AilbError):
            raise outcome
        return outcome


class SearchView(SessionActionView):
    """`/api/memory/sessions/{id}/search`."""

    action = "search"

    @extend_schema(**schema.SEARCH)
    async def post(self, request: Request, session_id: str) -> HttpResponseBase:
        """Find the turns that have most to do with a text, best first."""
        check_session_id(session_id)
        body = self.fields(("query", "k"), required="query")
        query, k = query_in(body["query"]), count_in(body.get("k"))
        hits = await self.in_memory(
            lambda memory, scope: memory.search(scope, session_id, query, k)
        )
        return render({"results": [hit.as_dict() for hit in hits]})


class ExportView(SessionActionView):
    """`/api/memory/sessions/{id}/export`."""

    action = "export"

    @extend_schema(**schema.EXPORT)
    async def get(self, request: Request, session_id: str) -> HttpResponseBase:
        """Give everything that is kept of a session, left branches included."""
        check_session_id(session_id)
        # Written in the thread: a long session takes a while.
        body = await self.in_memory(
            lambda memory, scope: orjson.dumps(memory.export(scope, session_id))
        )
        return render_bytes(body)


async def outcome_of(work: Awaitable[T]) -> T | AilbError:
    """Give an error of ours as a value: it is the client's, no failure of the task."""
    try:
        return await work
    except AilbError as error:
        return error


def policy_of(principal: Principal) -> Policy:
    """Find how what is imported is kept: no model is asked, so none has a say.

    Raises:
        PermissionDenied: It is not: the policy of the key, or of everybody, says so.

    """
    key_id = None if principal.key is None else principal.key.row_id
    policy = runtime.snapshots.current.memory.of(model="", key_id=key_id)
    if not policy.is_enabled:
        raise PermissionDenied(
            "By the policy of this key, sessions are not kept.", code="memory_off"
        )
    return policy


def query_in(value: object) -> str:
    """Read what is searched for."""
    check_string("query", value)
    text = str(value)
    if not text.strip():
        raise wrong_value("query", "must not be empty")
    if len(text) > MAX_QUERY_CHARS:
        raise wrong_value("query", f"must be at most {MAX_QUERY_CHARS} characters long")
    return text


def count_in(value: object) -> int:
    """Read how many results are wanted."""
    if value is None:
        return DEFAULT_RESULTS
    check_integer(1, MAX_RESULTS)("k", value)
    assert isinstance(value, int)
    return value
