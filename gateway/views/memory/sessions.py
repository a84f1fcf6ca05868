"""Lists of sessions, single sessions with their turns, and their deletion."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from django.core.handlers.asgi import ASGIRequest
from django.http import HttpResponseBase
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from typing_extensions import override

from gateway.dialects.openai.request.fields import check_name
from gateway.errors import InvalidRequest
from gateway.views.management.base import page_size, row_number
from gateway.views.memory import schema
from gateway.views.memory.base import MemoryView, check_session_id
from gateway.views.rendering import render

if TYPE_CHECKING:
    from memory.service import Memory
    from rag.scope import Scope

TRUTHS = {"true": True, "false": False}


class SessionsView(MemoryView):
    """`/api/memory/sessions`."""

    @extend_schema(**schema.LIST)
    async def get(self, request: Request) -> HttpResponseBase:
        """List the tenant's sessions, the last used first."""
        query = self.query(("limit", "after"))
        limit, after = page_size(query.get("limit")), query.get("after")
        page = await self.in_memory(
            lambda memory, scope: memory.sessions(scope, after=after, limit=limit)
        )
        results = [session.as_dict() for session in page.sessions]
        return render({"results": results, "next": page.next})

    @extend_schema(**schema.DELETE_MANY)
    async def delete(self, request: Request) -> HttpResponseBase:
        """Delete the sessions that one key began, or all of the tenant."""
        query = self.query(("owner", "all"))
        if len(query) != 1:
            raise InvalidRequest(
                "Say what to delete: either owner, or all=true.", param="owner"
            )
        if (owner := query.get("owner")) is not None:
            check_name("owner", owner)
            return await self._delete(lambda m, scope: m.delete_owner(scope, owner))
        if query["all"] != "true":
            raise InvalidRequest("all can only be true.", param="all")
        return await self._delete(lambda m, scope: m.delete_all(scope))

    async def _delete(self, work: Callable[[Memory, Scope], int]) -> HttpResponseBase:
        return render({"deleted": await self.in_memory(work)})


class SessionView(MemoryView):
    """`/api/memory/sessions/{id}`; an id may hold slashes."""

    @extend_schema(**schema.SHOW)
    async def get(self, request: Request, session_id: str) -> HttpResponseBase:
        """Show a session with a page of its turns, in their order."""
        check_session_id(session_id)
        query = self.query(("after_seq", "limit", "superseded"))
        after_seq = int(row_number(query.get("after_seq"), "after_seq") or 0)
        limit = page_size(query.get("limit"))
        with_superseded = truth(query.get("superseded", "false"), "superseded")
        page = await self.in_memory(
            lambda memory, scope: memory.turns(
                scope,
                session_id,
                after_seq=after_seq,
                limit=limit,
                with_superseded=with_superseded,
            )
        )
        turns = [turn.as_dict() for turn in page.turns]
        shown = {**page.session.as_dict(), "turns": turns, "next": page.next_seq}
        return render(shown)

    @extend_schema(**schema.DELETE)
    async def delete(self, request: Request, session_id: str) -> HttpResponseBase:
        """Delete a session: its turns, vectors and summary."""
        check_session_id(session_id)
        await self.in_memory(lambda m, scope: m.delete_session(scope, session_id))
        return render({"session_id": session_id, "deleted": True})


class SessionActionView(MemoryView):
    """A view of `/api/memory/sessions/{id}/<action>`."""

    action: str

    @override
    async def dispatch(  # type: ignore[override]  # as the base has it
        self, request: ASGIRequest, *args: Any, **kwargs: Any
    ) -> HttpResponseBase:
        """Leave `a%2Fexport` to the session that is called so.

        Django's routes see the decoded path, in which that slash is like any other.
        """
        ending = f"/{self.action}"
        if not request.scope["raw_path"].endswith(ending.encode()):
            view, named = SessionView(), {"session_id": kwargs["session_id"] + ending}
            view.setup(request, **named)
            return await view.dispatch(request, **named)
        return await super().dispatch(request, *args, **kwargs)


def truth(given: str, param: str) -> bool:
    """Read `true` or `false`."""
    if given not in TRUTHS:
        raise InvalidRequest(f"{param} must be true or false.", param=param)
    return TRUTHS[given]
