"""One HTTP worker process, `python -m ailb_project.server`: Daphne that drains."""

from __future__ import annotations

import asyncio
import logging
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import uvloop
from typing_extensions import override

from ailb_project.lean_imports import as_if_missing

# Daphne makes its event loop while it is being imported, so the policy comes first.
asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())

# No TLS, which a proxy in front has, and WebSockets are only refused: 8 MiB.
with as_if_missing("OpenSSL", "cbor2", "click", "jinja2"):
    from daphne.server import (  # type: ignore[import-untyped]  # see above
        Server,
        reactor,
        twisted_loop,
    )
from twisted.logger import STDLibLogObserver, globalLogBeginner  # noqa: E402

from ailb_project.http_protocol import (  # noqa: E402  # it imports Daphne
    BoundedFactory,
    BoundedRequest,
    BoundedWebSocket,
    BoundedWebSocketFactory,
)
from ailb_project.listener import BACKLOG  # noqa: E402
from ailb_project.prompt_connection import PromptConnection  # noqa: E402
from ailb_project.refusals import INTERNAL_ERROR, SHUTTING_DOWN  # noqa: E402
from ailb_project.worker_process import (  # noqa: E402
    ARRIVING_GRACE_S,
    CANCEL_GRACE_S,
    DISCONNECT_GRACE_S,
    IDLE_GRACE_S,
    Application,
    StopSignals,
    run_worker,
)

if TYPE_CHECKING:
    import socket

    from ailb_project.server_settings import ServerSettings

logger = logging.getLogger("ailb_project.server")  # this module is __main__

Connection = BoundedRequest | BoundedWebSocket

CHECK_INTERVAL_S = 0.5


class DaphneServer(Server):  # type: ignore[misc]  # daphne ships no types
    """Serves one ASGI application as `worker_process` asks for it."""

    def __init__(
        self, application: Application, settings: ServerSettings, stop: StopSignals
    ) -> None:
        super().__init__(
            application=self._call_application,
            endpoints=["adopted in listen"],  # Daphne refuses to be made with none
            verbosity=0,
            server_name="",
        )
        self.settings = settings
        self.is_draining = stop.is_draining
        self._stop = stop
        self._served = application
        self.connections: dict[Connection, dict[str, Any]] = {}
        self.http_factory = BoundedFactory(self, settings)
        self.ws_factory = BoundedWebSocketFactory(self, server="")
        self.ws_factory.setProtocolOptions(
            autoPingTimeout=self.ping_timeout,
            allowNullOrigin=True,
            openHandshakeTimeout=self.websocket_handshake_timeout,
            maxMessagePayloadSize=self.websocket_max_message_size,
            maxFramePayloadSize=self.websocket_max_frame_size,
        )
        self._port: Any = None
        self._checking: asyncio.Task[None] | None = None

    async def listen(self, listener: socket.socket) -> None:
        """Accept requests from now on."""
        with listener:  # the reactor has a copy
            self._port = reactor.adoptStreamPort(
                listener.fileno(), listener.family, self.http_factory
            )
        self._port.transport = PromptConnection
        # It ends with the drain, a way below: no TaskGroup spans the two.
        self._checking = asyncio.get_running_loop().create_task(self._check_forever())

    # --- One request -------------------------------------------------------------

    async def _call_application(self, scope: Any, receive: Any, send: Any) -> None:
        """Call the application inside the task, so that it cannot fail outside of it."""
        try:
            await self._served(scope, receive, send)
        except (SystemExit, KeyboardInterrupt) as error:  # would end the event loop
            raise RuntimeError("The application tried to end the process.") from error

    @override
    def create_application(self, protocol: Connection, scope: dict[str, Any]) -> Any:
        scope["state"] = {"is_draining": self.is_draining}
        queue = super().create_application(protocol, scope)
        task = self.connections[protocol]["application_instance"]
        task.add_done_callback(partial(self._reap, protocol))
        return queue

    @override
    async def handle_reply(self, protocol: Connection, message: dict[str, Any]) -> None:
        """Pass one message on, as soon as the client has taken enough of the earlier."""
        if not protocol.writable.is_set():
            await protocol.writable.wait()
        details = self.connections.get(protocol)
        if details is not None and "disconnected" not in details:
            protocol.handle_reply(message)

    @override
    def protocol_disconnected(self, protocol: Connection) -> None:
        details = self.connections.get(protocol)
        if details is None:
            return
        if "application_instance" in details:
            details.setdefault("disconnected", time.monotonic())
        else:
            del self.connections[protocol]

    def _reap(self, protocol: Connection, task: asyncio.Task[None]) -> None:
        """Forget a finished application at once; end what it has left open."""
        error = None if task.cancelled() else task.exception()
        if error is not None:
            logger.error("Exception in the application.", exc_info=error)
        details = self.connections.get(protocol)
        if details is None:
            return
        del details["application_instance"]
        if "disconnected" in details:
            del self.connections[protocol]
            return
        try:
            protocol.fail(SHUTTING_DOWN if task.cancelled() else INTERNAL_ERROR)
        except Exception:  # an edge: one connection must not stop the callbacks of all
            logger.exception("Could not end %r.", protocol)

    # --- Twice a second ----------------------------------------------------------

    async def _check_forever(self) -> None:
        while True:
            await asyncio.sleep(CHECK_INTERVAL_S)
            self.application_checker()

    @override
    def application_checker(self) -> None:
        """Enforce deadlines. One faulty connection never keeps it from the others."""
        now_s = time.monotonic()
        checks: list[Callable[[], None]] = [
            *(partial(c.check_deadline, now_s) for c in self.http_factory.channels),
            *(partial(self._check_connection, p, now_s) for p in self.connections),
        ]
        for check in checks:
            try:
                check()
            except Exception:  # an edge: the next connection has its own deadline
                logger.exception("A connection could not be checked.")

    def _check_connection(self, protocol: Connection, now_s: float) -> None:
        protocol.check_timeouts()
        details = self.connections.get(protocol, {})
        gone_s = details.get("disconnected")
        if gone_s is None or now_s - gone_s < self.application_close_timeout:
            return
        details["disconnected"] = now_s
        logger.warning(
            "The application still runs %.0f s after its client left: cancelling it.",
            self.application_close_timeout,
        )
        details["application_instance"].cancel()

    # --- Drain ---------------------------------------------------------------------

    async def drain(self) -> int:
        """Let requests end: grace while listening, then the limit, then cut."""
        await self._stop.pass_grace(self.settings.grace_s)
        await self._stop.pass_last_connects(self._port.fileno())
        self._port.numberAccepts = BACKLOG  # those that already connected are served
        self._port.doRead()
        self._port.stopListening()
        for channel in list(self.http_factory.channels):
            channel.hasten(idle_s=IDLE_GRACE_S, arriving_s=ARRIVING_GRACE_S)
        for protocol in list(self.connections):
            if isinstance(protocol, BoundedWebSocket):
                protocol.close_for_restart()
        await self._stop.wait_while(self._is_busy, self.settings.drain_timeout_s)
        cut = await self._cut_applications()
        for channel in list(self.http_factory.channels):
            channel.abort()
        if self._checking is not None:
            self._checking.cancel()
        return cut

    def _is_busy(self) -> bool:
        """Tell whether an answer has still to leave, after a look at the deadlines."""
        self.application_checker()
        return bool(self.connections or self.http_factory.channels)

    async def _cut_applications(self) -> int:
        """Tell the applications that still run to stop, then make them. Count them."""
        running = self._running_applications()
        if not running:
            return 0
        for protocol in list(self.connections):
            if isinstance(protocol, BoundedRequest) and protocol.application_queue:
                protocol.application_queue.put_nowait({"type": "http.disconnect"})
        await asyncio.wait(running, timeout=DISCONNECT_GRACE_S)
        for task in (remaining := self._running_applications()):
            task.cancel()
        if remaining:
            await asyncio.wait(remaining, timeout=CANCEL_GRACE_S)
        return len(running)

    def _running_applications(self) -> list[asyncio.Task[None]]:
        return [
            details["application_instance"]
            for details in self.connections.values()
            if "application_instance" in details
        ]


def make_server(
    application: Application, settings: ServerSettings, stop: StopSignals
) -> DaphneServer:
    """Start the reactor inside the loop; make the server."""
    logging.getLogger("twisted").setLevel(logging.WARNING)
    twisted_log: Any = STDLibLogObserver("twisted")
    globalLogBeginner.beginLoggingTo([twisted_log], redirectStandardIO=False)
    reactor.startRunning(installSignalHandlers=False)
    return DaphneServer(application, settings, stop)


if __name__ == "__main__":
    run_worker(sys.argv[1:], make_server, twisted_loop)
