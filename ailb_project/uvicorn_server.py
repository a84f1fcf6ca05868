"""One HTTP worker process, `python -m ailb_project.uvicorn_server`: uvicorn that drains."""

from __future__ import annotations

import asyncio
import logging
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, cast

import uvicorn
import uvloop

from ailb_project.bounded_application import BoundedApplication
from ailb_project.uvicorn_protocol import BoundedConfig, BoundedProtocol
from ailb_project.worker_process import (
    ARRIVING_GRACE_S,
    IDLE_GRACE_S,
    Application,
    StopSignals,
    run_worker,
)

if TYPE_CHECKING:
    import socket

    from ailb_project.server_settings import ServerSettings

TICK_S = 1.0


class UvicornServer:
    """Serves one ASGI application as `worker_process` asks for it."""

    _listener: socket.socket
    _ticking: asyncio.Task[None]

    def __init__(
        self, application: Application, settings: ServerSettings, stop: StopSignals
    ) -> None:
        """Make the server; it neither listens nor hears signals yet."""
        self._settings = settings
        self._stop = stop
        self._bounded = BoundedApplication(application, settings, stop)
        self._config = BoundedConfig(self._bounded, settings)
        self._server = uvicorn.Server(self._config)

    async def listen(self, listener: socket.socket) -> None:
        """Accept requests from now on."""
        self._listener = listener
        self._config.load()
        self._server.lifespan = self._config.lifespan_class(self._config)
        await self._server.startup(sockets=[listener])
        self._ticking = asyncio.get_running_loop().create_task(self._tick_forever())

    async def _tick_forever(self) -> None:
        """Keep the Date header right; the rest of uvicorn's main loop is about signals."""
        while True:
            await self._server.on_tick(0)
            await asyncio.sleep(TICK_S)

    async def drain(self) -> int:
        """Let requests end: grace while listening, then the limit, then cut."""
        await self._stop.pass_grace(self._settings.grace_s)
        await self._stop.pass_last_connects(self._listener.fileno())
        await self._accept_those_who_connected()
        for server in self._server.servers:
            server.close()
        self._bounded.hasten()
        for connection in self._connections():
            connection.answer_no_more()
        loop = asyncio.get_running_loop()
        loop.call_later(IDLE_GRACE_S, self._close_idle)
        loop.call_later(ARRIVING_GRACE_S, self._refuse_arriving)
        await self._stop.wait_while(self._is_busy, self._settings.drain_timeout_s)
        cut = await self._bounded.cut()
        for connection in self._connections():
            connection.transport.abort()
        self._ticking.cancel()
        return cut

    async def _accept_those_who_connected(self) -> None:
        """Take what the kernel still holds for us: closing would reset it."""
        loop = asyncio.get_running_loop()
        with suppress(BlockingIOError):
            while True:
                client, _ = self._listener.accept()
                client.setblocking(False)
                await loop.connect_accepted_socket(self._make_protocol, client)

    def _make_protocol(self) -> BoundedProtocol:
        return BoundedProtocol(
            config=self._config, server_state=self._server.server_state, app_state={}
        )

    def _connections(self) -> list[BoundedProtocol]:
        return cast(
            "list[BoundedProtocol]", list(self._server.server_state.connections)
        )

    def _is_busy(self) -> bool:
        """Tell whether an answer has still to leave."""
        return bool(self._server.server_state.connections)

    def _close_idle(self) -> None:
        for connection in self._connections():
            connection.close_if_idle()

    def _refuse_arriving(self) -> None:
        for connection in self._connections():
            connection.refuse_if_arriving()


if __name__ == "__main__":
    # What an application does wrong is logged already, what a client does is not.
    logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
    run_worker(sys.argv[1:], UvicornServer, uvloop.new_event_loop())
