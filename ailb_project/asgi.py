"""The ASGI application: the data plane goes to the lean handler, the rest to Django."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from django.conf import settings
from django.core.asgi import get_asgi_application
from django.urls import get_resolver

from ailb_project.lean_imports import as_if_missing

# What libraries of ours load where they find it: the command line of httpx (click, with
# rich and pygments), clients and markup of DRF, fields of the theme for PostgreSQL.
UNUSED = ("click", "coreapi", "jinja2", "markdown", "pygments", "requests")
PSYCOPG = ("psycopg", "psycopg2")

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "ailb_project.settings")
has_postgresql = settings.DATABASES["default"]["ENGINE"].endswith("postgresql")
with as_if_missing(*UNUSED, *(() if has_postgresql else PSYCOPG)):
    django_application = get_asgi_application()

    # The data plane imports models, which exist only after Django's setup above.
    from gateway.handler import LeanHandler
    from gateway.runtime import runtime
    from gateway.summarising import Summarising

    get_resolver().url_patterns  # noqa: B018  # loads every view

Message = Mapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

DATA_PLANE = ("/v1", "/api", "/livez", "/readyz", "/healthz", "/metrics")


class Application:
    """Any ASGI server can run it; `startup` and `shutdown` are also its lifespan."""

    def __init__(self) -> None:
        """Take the handler of the data plane."""
        self._lean = LeanHandler()

    async def __call__(
        self, scope: dict[str, Any], receive: Receive, send: Send
    ) -> None:
        """Serve one connection's request, or the server's lifespan."""
        match scope["type"]:
            case "http" if scope["path"].startswith(DATA_PLANE):
                await self._lean(scope, receive, send)
            case "http":
                await django_application(scope, receive, send)
            case "lifespan":
                await self._live(receive, send)
            case _:  # no WebSocket is served
                await send({"type": "websocket.close", "code": 1000})

    async def startup(self) -> None:
        """Load the configuration before the first request, and begin what goes on."""
        await runtime.start()
        if settings.ENABLE_MEMORY:
            runtime.spawn(Summarising(runtime).run(), name="summaries")

    async def drain(self) -> None:
        """Say that no further requests are wanted; those that come are answered."""
        runtime.drain()

    async def shutdown(self) -> None:
        """End every task and connection of ours."""
        await runtime.stop()

    async def _live(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                await self.startup()
                await send({"type": "lifespan.startup.complete"})
            else:
                await self.shutdown()
                await send({"type": "lifespan.shutdown.complete"})
                return


application = Application()
