"""One HTTP worker process, `python -m ailb_project.server`: Daphne that drains."""

from __future__ import annotations

import asyncio
import gc
import importlib
import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import uvloop
from typing_extensions import override

# Daphne makes its event loop while it is being imported, so the policy comes first.
asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())

from daphne.server import (  # type: ignore[import-untyped]  # noqa: E402  # see above
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
from ailb_project.listener import BACKLOG, ListenError, bind_listener  # noqa: E402
from ailb_project.refusals import INTERNAL_ERROR, SHUTTING_DOWN  # noqa: E402
from ailb_project.server_settings import (  # noqa: E402
    ServerSettings,
    parse_settings,
)

logger = logging.getLogger("ailb_project.server")  # this module is __main__

Connection = BoundedRequest | BoundedWebSocket
Application = Callable[..., Awaitable[None]]

CHECK_INTERVAL_S = 0.5
DRAIN_POLL_S = 0.02
# Draining: a keep-alive client in use sends its next request, and is told to close,
# well within this; one that sends nothing has nothing to lose.
IDLE_GRACE_S = 1.0
# Draining: a request whose head or body is arriving may go on for so long.
ARRIVING_GRACE_S = 3.0
# Between http.disconnect and the cancel, and between the cancel and giving up.
DISCONNECT_GRACE_S = 1.0
CANCEL_GRACE_S = 3.0
LAST_CANCEL_S = 0.5
SHUTDOWN_TIMEOUT_S = 10.0
# A thread that works beside the loop (the database's) holds the interpreter for so long
# at a time; the usual 5 ms, again after each system call of the loop, make its 99th
# percentile twenty times the median.
SWITCH_INTERVAL_S = 0.0005
# The same stop often comes twice: from the terminal's process group and from the parent.
DUPLICATE_SIGNAL_S = 1.0
# Threads that never end would hold the interpreter for ever.
EXIT_TIMEOUT_S = 5.0


class HttpServer(Server):  # type: ignore[misc]  # daphne ships no types
    """Serves one ASGI application until SIGTERM or SIGINT, then drains.

    The application may have coroutine methods `startup()`, awaited before the server
    listens, and `shutdown()`, awaited after the drain. Its scope has
    `scope["state"]["is_draining"]`, a callable: true from the stop signal on. A request
    that outlasts the drain gets `http.disconnect` while its connection still stands, so
    an application that asks is_draining() then may send one last event, and a second
    later a cancel.
    """

    def __init__(self, application: Application, settings: ServerSettings) -> None:
        super().__init__(
            application=self._call_application,
            endpoints=["adopted in _listen"],  # Daphne refuses to be made with none
            verbosity=0,
            server_name="",
        )
        self.settings = settings
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
        self._stop_requested = asyncio.Event()
        self._stop_requested_s = 0.0
        self._parent_pid = os.getppid()

    def is_draining(self) -> bool:
        """Tell whether the process has been told to stop."""
        return self._stop_requested.is_set()

    async def serve(self) -> int:
        """Start, serve until a stop signal, drain. Return the exit code."""
        for number in (signal.SIGTERM, signal.SIGINT):
            twisted_loop.add_signal_handler(number, self._on_stop_signal, number)
        try:
            await self._call_hook("startup")
            port = self._listen()
        except ListenError as error:
            logger.error("%s", error)  # noqa: TRY400  # the text says it all
            return 1
        except Exception:  # a process edge: whatever it is, it ends the start
            logger.exception("The application could not start.")
            return 1
        async with asyncio.TaskGroup() as tasks:
            checker = tasks.create_task(self._check_forever())
            await self._stop_requested.wait()
            await self._drain(port)
            checker.cancel()
        try:
            async with asyncio.timeout(SHUTDOWN_TIMEOUT_S):
                await self._call_hook("shutdown")
        except Exception:  # a process edge: the requests are served, the exit is due
            logger.exception("The application did not shut down cleanly.")
        return 0

    def _on_stop_signal(self, number: int) -> None:
        now_s = time.monotonic()
        if not self.is_draining():
            self._stop_requested_s = now_s
            self._stop_requested.set()
        elif now_s - self._stop_requested_s > DUPLICATE_SIGNAL_S:
            logger.warning("Second stop signal: ending at once.")
            _leave(128 + number)

    async def _call_hook(self, name: str) -> None:
        hook = getattr(self._served, name, None)
        if hook is not None:
            await hook()

    def _listen(self) -> Any:
        """Take the listening socket, report ready and tune the collector."""
        settings = self.settings
        if settings.fd is None:
            listener = bind_listener(settings.host, settings.port)
        else:
            listener = socket.socket(fileno=settings.fd)
        with listener:
            listener.setblocking(False)
            # Accepted sockets inherit it: a client that takes nothing is cut by the kernel.
            listener.setsockopt(
                socket.IPPROTO_TCP,
                socket.TCP_USER_TIMEOUT,
                round(settings.stall_timeout_s * 1000),
            )
            port = reactor.adoptStreamPort(
                listener.fileno(), listener.family, self.http_factory
            )
        # What lives by now lives as long as the process: collecting it again and again
        # cost most. The young are collected in small bites: with ten times as many
        # (50,000) at once the 99th percentile was three times as long.
        gc.collect()
        gc.freeze()
        gc.set_threshold(5_000, 50, 100)
        sys.setswitchinterval(SWITCH_INTERVAL_S)
        if settings.ready_fd is not None:
            with os.fdopen(settings.ready_fd, "wb") as pipe:
                pipe.write(b"ready\n")
        return port

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

    async def _drain(self, port: Any) -> None:
        """Let requests end: grace while listening, then the limit, then cut."""
        started_s = time.monotonic()
        logger.info("Draining %d connections.", len(self.http_factory.channels))
        if os.getppid() == self._parent_pid:  # else a new parent may want the port now
            await asyncio.sleep(self.settings.grace_s)
        port.numberAccepts = BACKLOG  # those that already hold a connection are served
        port.doRead()
        port.stopListening()
        for channel in list(self.http_factory.channels):
            channel.hasten(idle_s=IDLE_GRACE_S, arriving_s=ARRIVING_GRACE_S)
        for protocol in list(self.connections):
            if isinstance(protocol, BoundedWebSocket):
                protocol.close_for_restart()
        await self._wait_until_idle(self.settings.drain_timeout_s)
        cut = await self._cut_applications()
        for channel in list(self.http_factory.channels):
            channel.abort()
        logger.info("Drained in %.2f s, %d cut.", time.monotonic() - started_s, cut)

    async def _wait_until_idle(self, timeout_s: float) -> None:
        """Return when every answer has left the process, or after the limit."""
        deadline_s = time.monotonic() + timeout_s
        while self.connections or self.http_factory.channels:
            if time.monotonic() >= deadline_s:
                return
            self.application_checker()
            await asyncio.sleep(DRAIN_POLL_S)

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


def load_application(path: str) -> Application:
    """Import `module:attribute`. Raises what the import raises."""
    module, _, attribute = path.partition(":")
    application: Application = getattr(importlib.import_module(module), attribute)
    return application


def main(arguments: list[str]) -> None:
    """Run one worker to its end and exit: 0 after a drain, 1 if it could not start."""
    settings = parse_settings(arguments)
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    logging.getLogger("twisted").setLevel(logging.WARNING)
    twisted_log: Any = STDLibLogObserver("twisted")
    globalLogBeginner.beginLoggingTo([twisted_log], redirectStandardIO=False)
    asyncio.set_event_loop(twisted_loop)
    try:
        application = load_application(settings.application)
    except Exception:  # a process edge: whatever it is, it ends the start
        logger.exception("Cannot import the application %s.", settings.application)
        sys.exit(1)
    reactor.startRunning(installSignalHandlers=False)
    code = twisted_loop.run_until_complete(HttpServer(application, settings).serve())
    _exit(code)


def _exit(code: int) -> None:
    """Leave the process; a task or thread that ignores its end cannot hold it."""
    tasks = asyncio.all_tasks(twisted_loop)
    for task in tasks:
        task.cancel()
    if tasks:
        twisted_loop.run_until_complete(asyncio.wait(tasks, timeout=LAST_CANCEL_S))
    if asyncio.all_tasks(twisted_loop):
        # CPython 3.11 crashes at times when it collects tasks that wait on a queue.
        logger.warning("Some tasks ignore their cancellation: leaving them behind.")
        _leave(code)
    deadline = threading.Timer(EXIT_TIMEOUT_S, _leave, [code])
    deadline.daemon = True
    deadline.start()
    sys.exit(code)


def _leave(code: int) -> None:
    """End the process without the interpreter's own clean-up."""
    logging.shutdown()
    os._exit(code)


if __name__ == "__main__":
    main(sys.argv[1:])
