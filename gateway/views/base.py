"""The async DRF view that every route of the data plane is."""

from __future__ import annotations

import inspect
import logging
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from django.conf import settings
from django.core.handlers.asgi import ASGIRequest
from django.http import Http404, HttpResponseBase
from rest_framework.exceptions import APIException
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.views import APIView
from typing_extensions import override

from gateway.auth import Principal
from gateway.caller_address import Network, caller_address
from gateway.context import Context, new_request_id
from gateway.errors import (
    AilbError,
    MethodNotAllowed,
    NotFound,
    UnsupportedMediaType,
    forget_frames,
)
from gateway.kinds import Operation, Right
from gateway.ledger import Entry, observe
from gateway.runtime import runtime
from gateway.views.rendering import render_error

logger = logging.getLogger(__name__)

REQUEST_ID = re.compile(r"[A-Za-z0-9_.:-]{1,128}")


class AlwaysJson(BaseContentNegotiation):
    """Answers JSON whatever Accept says: SDKs ask for event streams, too."""

    @override
    def select_parser(self, request: Request, parsers: Any) -> Any:
        """Never used: views parse the body themselves."""
        return None

    @override
    def select_renderer(
        self, request: Request, renderers: Any, format_suffix: str | None = None
    ) -> Any:
        """Take the only renderer."""
        return renderers[0], renderers[0].media_type


class Visitor:
    """What authentication and limits see of a request."""

    __slots__ = ("_lines", "headers", "peer")

    def __init__(self, scope: Mapping[str, Any]) -> None:
        """Read the ASGI scope; of a repeated header the first counts."""
        self._lines: Iterable[tuple[bytes, bytes]] = scope["headers"]
        self.headers: dict[str, str] = {}
        for name, value in self._lines:
            self.headers.setdefault(name.decode("latin-1"), value.decode("latin-1"))
        client = scope.get("client")
        self.peer: str | None = client[0] if client else None

    def address(self, trusted: Sequence[Network]) -> str:
        """Give the caller's address, believing these proxies; empty if unknown.

        A header that is there several times is one list: each proxy may add a line.
        """
        forwarded_for = ",".join(
            [
                value.decode("latin-1")
                for name, value in self._lines
                if name == b"x-forwarded-for"
            ]
        )
        return caller_address(self.peer, forwarded_for, trusted)


class GatewayView(APIView):
    """A DRF view whose dispatch is a coroutine: no thread, no negotiation, our errors.

    Handlers are coroutines that take the request and give a response, or raise an
    `AilbError`. `principal` and `visitor` are set before they run.
    """

    authentication_classes = ()
    permission_classes = ()
    throttle_classes = ()
    renderer_classes = (JSONRenderer,)
    content_negotiation_class = AlwaysJson
    view_is_async = True  # also where a view has no handler of its own
    needs_key = True
    right: Right | None = None  # what a key needs for this view; None: any key will do
    operation: Operation | None = None  # of views whose requests are accounted for

    asgi_request: ASGIRequest
    principal: Principal
    visitor: Visitor
    request_id: str

    @override
    async def dispatch(  # type: ignore[override]  # DRF's is not a coroutine
        self, request: ASGIRequest, *args: Any, **kwargs: Any
    ) -> HttpResponseBase:
        """Authenticate, run the handler, and render what it raises."""
        self.asgi_request = request
        self.visitor = Visitor(request.scope)
        self.request_id = request_id_of(self.visitor.headers)
        self.context: Context | None = None
        self._started_s = time.monotonic()
        try:
            response = await self._handle(request, *args, **kwargs)
        except Exception as error:  # noqa: BLE001 - the one hook that renders errors
            response = self._render(error)
        finally:
            vars(self).pop("head", None)  # Django's alias of `get`: a circle, too
        response.headers["x-request-id"] = self.request_id
        return response

    def _render(self, error: Exception) -> HttpResponseBase:
        """Tell the client, and let go of what the error holds."""
        known = as_ailb_error(error)
        forget_frames(error)
        self._account_for(known)
        return render_error(known, self._context_headers())

    async def _handle(
        self, request: ASGIRequest, *args: Any, **kwargs: Any
    ) -> HttpResponseBase:
        await runtime.start()
        self.request = self.initialize_request(request, *args, **kwargs)
        # It refers to the request itself: a circle that would keep each request, and a
        # body of megabytes with it, until the collector comes by. Nobody parses with it.
        self.request.parser_context.clear()
        if self.needs_key:
            self.principal = runtime.authenticate(self.visitor)
            if (right := self.required_right(request)) is not None:
                self.principal.require(right)
        handler = getattr(self, (request.method or "").lower(), None)
        if handler is None or not inspect.iscoroutinefunction(handler):
            allowed = ", ".join(self._routed_methods())
            raise MethodNotAllowed(
                f"{request.method} is not allowed here; allowed: {allowed}.",
                allowed=allowed,
            )
        response: HttpResponseBase = await handler(self.request, *args, **kwargs)
        return response

    def required_right(self, request: ASGIRequest) -> Right | None:
        """Say which right a key needs for this request; None: any key will do."""
        return self.right

    def _account_for(self, error: AilbError) -> None:
        """Count and log a request that was refused at the door: it opened no books."""
        has_books = self.context is not None and self.context.has_books
        if self.operation is None or has_books:
            return
        entry = Entry(
            request_id=self.request_id,
            operation=self.operation,
            at_s=time.time(),  # noqa: TID251 - a timestamp
        )
        entry.failed(error)
        entry.duration_s = time.monotonic() - self._started_s
        observe(entry, runtime.figures)

    def _routed_methods(self) -> list[str]:
        """List the methods that this view has: DRF's own answer to OPTIONS is no route."""
        return [
            name.upper()
            for name in self.http_method_names
            if inspect.iscoroutinefunction(getattr(self, name, None))
        ]

    def open_context(self) -> Context:
        """Take the snapshot that this request is served by, once."""
        assert self.operation is not None
        snapshot = runtime.snapshots.current
        caller = ""
        if snapshot.access.by_address:
            caller = self.visitor.address(settings.AILB_TRUSTED_PROXIES)
        self.context = Context(
            request_id=self.request_id,
            operation=self.operation,
            principal=self.principal,
            snapshot=snapshot,
            dispatcher=runtime.dispatcher,
            limiter=runtime.limiter,
            ledger=runtime.ledger,
            caller=caller,
        )
        return self.context

    def _context_headers(self) -> dict[str, str]:
        return {} if self.context is None else self.context.headers()

    def json_body(self) -> bytes:
        """Take the body of a JSON request; from then on the request has none.

        Raises:
            UnsupportedMediaType: It is declared as something else, as a web page's
                form would have to be.

        """
        media_type = self.visitor.headers.get("content-type", "").partition(";")[0]
        if media_type.strip().lower() != "application/json":
            raise UnsupportedMediaType(
                "Send the body as Content-Type: application/json."
            )
        request = self.asgi_request
        body: bytes = request.body
        request.close()
        request._body = b""  # noqa: SLF001  # what is parsed need not be kept twice
        return body


def request_id_of(headers: Mapping[str, str]) -> str:
    """Keep the client's own request id if it is harmless, else make one."""
    given = headers.get("x-request-id", "")
    return given if REQUEST_ID.fullmatch(given) else new_request_id()


def as_ailb_error(error: Exception) -> AilbError:
    """Turn whatever was raised into an error that a client may see."""
    match error:
        case AilbError():
            return error
        case Http404():
            return unknown_url()
        case APIException() if error.status_code < 500:
            known = AilbError(str(error.detail))
            known.status, known.type = error.status_code, "invalid_request_error"
            known.code = None
            return known
        case _:
            logger.error("view failed", exc_info=error)
            return AilbError("An error inside the gateway. It has been logged.")


def unknown_url() -> NotFound:
    """Make the error of a route that does not exist."""
    return NotFound("This URL does not exist here. See /docs.", code="unknown_url")
