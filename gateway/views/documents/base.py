"""What every route of `/api/collections` does: the right, the scope, documents' errors."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from django.conf import settings
from django.core.handlers.asgi import ASGIRequest
from django.http import HttpResponseBase
from typing_extensions import override

from gateway.auth import Principal
from gateway.errors import (
    ClientError,
    Conflict,
    DatabaseAway,
    InvalidRequest,
    NotFound,
)
from gateway.kinds import Right
from gateway.runtime import runtime
from gateway.views.inference import UnknownView
from gateway.views.management.base import ManagementView
from gateway.views.management.refusals import refusals as row_refusals
from rag.errors import (
    CollectionNotFound,
    DocumentNotFound,
    DocumentNotReady,
    DocumentRefused,
    InvalidField,
    NameTaken,
)
from rag.scope import Scope

if TYPE_CHECKING:  # it brings numpy: not before the first collection is asked for
    from rag.library import Library

DEADLINE_S = 30.0
# Of what the file is to blame for; all else is 422.
REFUSED_STATUS = {"too_large": 413, "unsupported_type": 415}

T = TypeVar("T")


class RagDisabled(ClientError):
    """The operator has not switched documents on; waiting does not help."""

    code = "rag_disabled"


class NameConflict(Conflict):
    """A collection of this name is there already."""

    code = "name_taken"


class NotReadyYet(Conflict):
    """The document has to be indexed first."""

    code = "document_not_ready"


class FileRefused(ClientError):
    """A file is not taken, and never will be as it is."""

    def __init__(self, message: str, code: str) -> None:
        """`code` is one of `DocumentRefused`."""
        super().__init__(message)
        self.status = REFUSED_STATUS.get(code, 422)
        self.code = code
        self.param = "file"


class DocumentsView(ManagementView):
    """A view for keys with the right to documents; it sees what they may read."""

    @override
    async def dispatch(  # type: ignore[override]  # as the base has it
        self, request: ASGIRequest, *args: Any, **kwargs: Any
    ) -> HttpResponseBase:
        """Know no URL with an encoded slash: no name holds one.

        Django's routes see the decoded path, in which `a%2Fdocuments` is another route.
        """
        if b"%2f" in request.scope["raw_path"].lower():
            unknown = UnknownView()
            unknown.setup(request)
            return await unknown.dispatch(request)
        return await super().dispatch(request, *args, **kwargs)

    @override
    def required_right(self, request: ASGIRequest) -> Right | None:
        """Ask for the same right whatever the method.

        Raises:
            RagDisabled: Documents are switched off, whatever is asked.

        """
        check_enabled()
        return Right.DOCUMENTS

    async def in_library(
        self, work: Callable[[Library, Scope], T], *, deadline_s: float = DEADLINE_S
    ) -> T:
        """Run blocking work with documents in their threads, for the caller's scope.

        Raises:
            ClientError: What is asked for is not there, or is refused.
            DatabaseAway: It does not answer; a write may still be done.
            DocumentsUnavailable: Too many others wait.

        """
        scope = scope_of(self.principal)

        def refusing(library: Library) -> T:
            with row_refusals(), refusals():
                return work(library, scope)

        try:
            async with asyncio.timeout(deadline_s):
                return await runtime.retrieving.call(refusing)
        except TimeoutError as error:
            raise DatabaseAway(
                "This took too long. If it was a change, read it back: it may still have "
                "been made."
            ) from error

    def fields(self, allowed: Collection[str]) -> Mapping[str, object]:
        """Read the body: an object of known fields.

        Raises:
            InvalidRequest: It is none, or has another field.

        """
        body = self.json_object()
        for name in body:
            if name not in allowed:
                known = ", ".join(allowed)
                raise InvalidRequest(
                    f"There is no field '{name[:100]}' here; known are: {known}.",
                    param=name[:100],
                )
        return body


def check_enabled() -> None:
    """Let pass where there are documents.

    Raises:
        RagDisabled: There are none.

    """
    if not settings.ENABLE_RAG:
        raise RagDisabled(
            "Documents are switched off here. The operator switches them on with "
            "ENABLE_RAG=true."
        )


def scope_of(principal: Principal) -> Scope:
    """Give which collections a request may see: those of its tenant that its key may."""
    key = principal.key
    if key is None:
        return Scope(principal.tenant.id)
    return Scope(principal.tenant.id, owner=key.public_id, collections=key.collections)


@contextmanager
def refusals() -> Iterator[None]:
    """Turn the errors of documents inside into those that clients see."""
    try:
        yield
    except CollectionNotFound as error:
        # The same words whether it is another's, may not be read, or is not there.
        raise NotFound(
            "There is no such collection.", param="name", code="collection_not_found"
        ) from error
    except DocumentNotFound as error:
        raise NotFound(
            "There is no such document.",
            param="document_id",
            code="document_not_found",
        ) from error
    except DocumentNotReady as error:
        raise NotReadyYet(str(error), param="document_id") from error
    except NameTaken as error:
        raise NameConflict(str(error), param="name") from error
    except InvalidField as error:
        raise InvalidRequest(error.message, param=error.param) from error
    except DocumentRefused as error:
        raise FileRefused(str(error), error.code) from error
