"""Answers as HTTP: JSON, OpenAI-shaped errors and event streams."""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, Mapping
from typing import Any

import orjson
from django.http.response import HttpResponseBase, ResponseHeaders

from gateway.chat import ChatStream
from gateway.errors import (
    AilbError,
    AllAttemptsFailed,
    BudgetExhausted,
    MethodNotAllowed,
    RateLimited,
)
from gateway.limits.headers import rate_headers

JSON = "application/json"
MAX_RETRY_AFTER_S = 60  # official SDKs give up when they are told to wait much longer


class JsonResponse(HttpResponseBase):
    """A whole answer, of bytes that are JSON already.

    Leaves out what Django's own does for a browser: no cookies, and headers as a plain
    dict; only the few that are not plain ASCII are encoded as Django does.
    """

    streaming = False

    def __init__(self, body: bytes, *, status: int, headers: Mapping[str, str]) -> None:
        """Header names are ours, so only the values are looked at."""
        self.content = body
        self.status_code = status
        self.headers: dict[str, str] = {"content-type": JSON}  # type: ignore[assignment]  # plainer
        for name, value in headers.items():
            is_plain = value.isascii() and value.isprintable()
            self.headers[name] = value if is_plain else encoded(name, value)


def encoded(name: str, value: str) -> str:
    """Encode a header's value that is not plain ASCII.

    Raises:
        BadHeaderError: It holds a line end.

    """
    return ResponseHeaders({name: value})[name]


def render_bytes(
    body: bytes, *, status: int = 200, headers: Mapping[str, str] | None = None
) -> JsonResponse:
    """Send bytes that are JSON already."""
    return JsonResponse(body, status=status, headers=headers or {})


def render(
    body: Any, *, status: int = 200, headers: Mapping[str, str] | None = None
) -> JsonResponse:
    """Write JSON."""
    return render_bytes(orjson.dumps(body), status=status, headers=headers)


def error_body(error: AilbError) -> dict[str, Any]:
    """Write an error in OpenAI's shape."""
    return {
        "error": {
            "message": error.message,
            "type": error.type,
            "param": error.param,
            "code": error.code,
        }
    }


def render_error(
    error: AilbError, headers: Mapping[str, str] | None = None
) -> JsonResponse:
    """Write an error with the headers that tell a client what to do about it."""
    ours: dict[str, str] = {}
    if (wait_s := error.retry_after_s) is not None:
        ours["retry-after"] = str(min(max(math.ceil(wait_s), 1), MAX_RETRY_AFTER_S))
    if isinstance(error, AllAttemptsFailed):
        # The alternatives are exhausted: an SDK's own retries would only multiply.
        ours["x-should-retry"] = "false"
    if isinstance(error, BudgetExhausted) and error.retry_after_s is None:
        ours["x-should-retry"] = "false"  # SDKs would try a 429 again
    if isinstance(error, RateLimited):
        ours |= rate_headers(error.standings)
    if isinstance(error, MethodNotAllowed):
        ours["allow"] = error.allowed
    return render(
        error_body(error), status=error.status, headers={**(headers or {}), **ours}
    )


class EventStream(HttpResponseBase):
    """A stream of server-sent events; the handler reads `events` and must close it."""

    streaming = True

    def __init__(self, stream: ChatStream, headers: Mapping[str, str]) -> None:
        """No proxy on the way may buffer or cache it."""
        super().__init__(
            content_type="text/event-stream; charset=utf-8",
            headers={
                "cache-control": "no-cache",
                "x-accel-buffering": "no",
                **headers,
            },
        )
        self._stream = stream

    def events(self) -> AsyncGenerator[bytes, None]:
        """Yield whole events."""
        return self._stream.chunks()

    def farewell(self) -> bytes:
        """Give the last event when the server's stop cuts the stream off."""
        return self._stream.farewell()

    async def aclose(self) -> None:
        """Close the books and stop the provider."""
        await self._stream.aclose()
