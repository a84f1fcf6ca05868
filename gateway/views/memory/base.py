"""What every route of `/api/memory` does: the right, the scope, memory's own errors."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from django.conf import settings
from django.core.handlers.asgi import ASGIRequest
from typing_extensions import override

from gateway.auth import Principal
from gateway.dialects.openai.request.fields import check_name, missing
from gateway.errors import AilbError, DatabaseAway, InvalidRequest, NotFound
from gateway.kinds import Right
from gateway.runtime import runtime
from gateway.views.management.base import ManagementView
from memory.errors import InvalidCursor, InvalidTurns, SessionNotFound
from rag.scope import Scope

if TYPE_CHECKING:  # it brings numpy: not before the first session is asked for
    from memory.service import Memory

DEADLINE_S = 30.0  # a long session is written out, or many are erased

T = TypeVar("T")


class MemoryDisabled(AilbError):
    """The operator has switched memory off; waiting does not help."""

    status = 503
    code = "memory_disabled"


class MemoryView(ManagementView):
    """A view for keys with the right to memory; it sees their own tenant's sessions."""

    @override
    def required_right(self, request: ASGIRequest) -> Right | None:
        """Ask for the same right whatever the method."""
        return Right.MEMORY

    async def in_memory(
        self, work: Callable[[Memory, Scope], T], *, deadline_s: float = DEADLINE_S
    ) -> T:
        """Run blocking work of memory in its threads, for the caller's tenant.

        Raises:
            ClientError: There is no such session, or memory refuses what was sent.
            MemoryDisabled: See the class.
            DatabaseAway: It does not answer; a write may still be done.
            MemoryUnavailable: Too many others wait.

        """
        if not settings.ENABLE_MEMORY:
            raise MemoryDisabled(
                "Memory is switched off here. The operator does so with ENABLE_MEMORY."
            )
        scope = scope_of(self.principal)

        def refusing(memory: Memory) -> T:
            with refusals():
                return work(memory, scope)

        try:
            async with asyncio.timeout(deadline_s):
                return await runtime.memory.call(refusing)
        except TimeoutError as error:
            raise DatabaseAway(
                "This took too long. If it was a change, read it back: it may still have "
                "been made."
            ) from error

    def fields(
        self, allowed: Collection[str], *, required: str
    ) -> Mapping[str, object]:
        """Read the body: an object of known fields.

        Raises:
            InvalidRequest: It is none, has another field, or lacks the required one.

        """
        body = self.json_object()
        for name in body:
            if name not in allowed:
                known = ", ".join(allowed)
                raise InvalidRequest(
                    f"There is no field '{name[:100]}' here; known are: {known}.",
                    param=name[:100],
                )
        if body.get(required) is None:
            raise missing(required)
        return body


def scope_of(principal: Principal) -> Scope:
    """Give whose memory a request may see: its tenant's."""
    key = principal.key
    return Scope(principal.tenant.id, owner="" if key is None else key.public_id)


def check_session_id(session_id: str) -> None:
    """Accept what a chat accepts as its session.

    Raises:
        InvalidRequest: It is too long or holds control characters.

    """
    check_name("session_id", session_id)


@contextmanager
def refusals() -> Iterator[None]:
    """Turn memory's errors inside into those that clients see."""
    try:
        yield
    except SessionNotFound as error:
        # The same words whether another tenant has it or nobody.
        raise NotFound(
            "There is no such session.", param="session_id", code="session_not_found"
        ) from error
    except InvalidTurns as error:
        raise InvalidRequest(error.message, param=error.param) from error
    except InvalidCursor as error:
        raise InvalidRequest(
            "after must be what `next` of the last page said.", param="after"
        ) from error
