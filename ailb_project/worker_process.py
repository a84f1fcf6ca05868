"""The life of one HTTP worker process, whichever server it runs: start, drain, end."""

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
from contextlib import suppress
from typing import Protocol

from ailb_project.freed_memory import give_back_forever
from ailb_project.listener import ListenError, bind_listener, ignore_beginnings
from ailb_project.server_settings import (
    CUT_SIGNAL,
    DRAIN_SIGNAL,
    YIELD_SIGNAL,
    ServerSettings,
    parse_settings,
)

logger = logging.getLogger(__name__)

Application = Callable[..., Awaitable[None]]

# Draining: a keep-alive client in use sends its next request, and is told to close,
# well within this; one that sends nothing has nothing to lose.
IDLE_GRACE_S = 1.0
# Draining: a request whose head or body is arriving may go on for so long.
ARRIVING_GRACE_S = 3.0
# Between http.disconnect and the cancel, and between the cancel and giving up.
DISCONNECT_GRACE_S = 1.0
CANCEL_GRACE_S = 3.0
DRAIN_POLL_S = 0.02
# Before the port is closed: whoever has begun to connect gets in, over long ways, too.
LAST_CONNECTS_S = 0.3
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


class HttpServer(Protocol):
    """What is different from one server to the next."""

    async def listen(self, listener: socket.socket) -> None:
        """Accept requests from now on; the socket is the server's."""

    async def drain(self) -> int:
        """Keep accepting for the grace, let requests end, cut the rest; count those cut."""


ServerFactory = Callable[[Application, ServerSettings, "StopSignals"], HttpServer]


class StopSignals:
    """What this process has been told about its end.

    SIGTERM, SIGINT and DRAIN_SIGNAL stop it, YIELD_SIGNAL stops it without the grace,
    CUT_SIGNAL ends the drain's patience. By DRAIN_SIGNAL all who accept on the port stop.
    """

    def __init__(self, *, is_alone: bool) -> None:
        """Hear nothing before `install`; `is_alone`: nobody else has the port."""
        self.requested = asyncio.Event()
        self.patience_over = asyncio.Event()
        self._grace_over = asyncio.Event()
        self._yields = False
        self._all_stop = asyncio.Event()
        if is_alone:
            self._all_stop.set()
        self._first_s: float | None = None
        self._parent_pid = os.getppid()

    def install(self, loop: asyncio.AbstractEventLoop) -> None:
        """Listen from now on."""
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._on_stop, number)
        loop.add_signal_handler(DRAIN_SIGNAL, self._on_drain)
        loop.add_signal_handler(YIELD_SIGNAL, self._on_yield)
        loop.add_signal_handler(CUT_SIGNAL, self._on_cut)

    def is_draining(self) -> bool:
        """Tell whether the process has been told to stop."""
        return self.requested.is_set()

    async def pass_grace(self, grace_s: float) -> None:
        """Wait for as long as the port is to be served after the stop."""
        if not self._is_orphan():
            await _happens_within(self._grace_over, grace_s)

    async def pass_last_connects(self, fd: int) -> None:
        """Serve the port for a moment more, in which those who are connecting arrive.

        The last one to close it would reset them. Nobody may begin in that moment, so
        there is an end, unless others go on: then there is no last one.
        """
        if self._yields or self._is_orphan():
            return
        # A signal to the whole process group may come before the supervisor's own.
        if await _happens_within(self._all_stop, LAST_CONNECTS_S):
            with suppress(OSError):  # without the filter fewer arrive, but most do
                ignore_beginnings(fd)
            await _happens_within(self.patience_over, LAST_CONNECTS_S)

    def _is_orphan(self) -> bool:
        """Tell whether a new parent may want the port now."""
        return os.getppid() != self._parent_pid

    async def wait_while(self, is_busy: Callable[[], bool], timeout_s: float) -> None:
        """Wait until it is not, at most so long, and no longer than there is patience."""
        deadline_s = time.monotonic() + timeout_s
        while is_busy() and not self.patience_over.is_set():
            if time.monotonic() >= deadline_s:
                return
            await asyncio.sleep(DRAIN_POLL_S)

    def _on_stop(self, number: int) -> None:
        now_s = time.monotonic()
        if self._first_s is None:
            self._first_s = now_s
            self.requested.set()
        elif now_s - self._first_s > DUPLICATE_SIGNAL_S:
            logger.warning("Second stop signal: ending at once.")
            leave(128 + number)

    def _on_drain(self) -> None:
        self._all_stop.set()
        self.requested.set()

    def _on_yield(self) -> None:
        self._yields = True
        self._end_grace()

    def _on_cut(self) -> None:
        self.patience_over.set()
        self._end_grace()

    def _end_grace(self) -> None:
        self._grace_over.set()
        self.requested.set()


async def _happens_within(event: asyncio.Event, timeout_s: float) -> bool:
    with suppress(TimeoutError):
        async with asyncio.timeout(timeout_s):
            await event.wait()
    return event.is_set()


def run_worker(
    arguments: list[str],
    make_server: ServerFactory,
    loop: asyncio.AbstractEventLoop,
    *,
    leaves_threads: bool = False,
) -> None:
    """Run one worker to its end and exit: 0 after a drain, 1 if it could not start.

    The application may have coroutine methods `startup()`, awaited before the server
    listens, `drain()`, awaited before the drain, and `shutdown()`, awaited after it. Its
    scope has `scope["state"]["is_draining"]`, a callable: true from the stop signal on.
    A request that outlasts the drain gets `http.disconnect` while its connection still
    stands, so an application that asks is_draining() then may send one last event, and a
    second later a cancel.
    `leaves_threads`: the server has threads of its own, which may not be ended by then
    and would trip over the interpreter's clean-up.
    """
    settings = parse_settings(arguments)
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    asyncio.set_event_loop(loop)
    try:
        application = _load_application(settings.application)
    except Exception:  # a process edge: whatever it is, it ends the start
        logger.exception("Cannot import the application %s.", settings.application)
        sys.exit(1)
    stop = StopSignals(is_alone=settings.fd is None)
    server = make_server(application, settings, stop)
    code = loop.run_until_complete(_serve(server, application, settings, stop))
    _end_tasks(code, loop)
    for number in (signal.SIGTERM, signal.SIGINT):
        # The interpreter's end restores the default, which would kill with a late one.
        signal.signal(number, signal.SIG_IGN)
    if leaves_threads:
        leave(code)
    deadline = threading.Timer(EXIT_TIMEOUT_S, leave, [code])
    deadline.daemon = True
    deadline.start()
    sys.exit(code)


async def _serve(
    server: HttpServer,
    application: Application,
    settings: ServerSettings,
    stop: StopSignals,
) -> int:
    """Start, serve until a stop signal, drain. Return the exit code."""
    stop.install(asyncio.get_running_loop())
    try:
        await _call_hook(application, "startup")
        await server.listen(_take_listener(settings))
        _be_ready(settings)
    except ListenError as error:
        logger.error("%s", error)  # noqa: TRY400  # the text says it all
        return 1
    except Exception:  # a process edge: whatever it is, it ends the start
        logger.exception("The application could not start.")
        return 1
    # As long as requests come, which no block of code here spans: no TaskGroup.
    giving_back = asyncio.get_running_loop().create_task(give_back_forever())
    await stop.requested.wait()
    giving_back.cancel()
    await _call_hook(application, "drain")
    started_s = time.monotonic()
    logger.info("Draining.")
    cut = await server.drain()
    logger.info("Drained in %.2f s, %d cut.", time.monotonic() - started_s, cut)
    try:
        async with asyncio.timeout(SHUTDOWN_TIMEOUT_S):
            await _call_hook(application, "shutdown")
    except Exception:  # a process edge: the requests are served, the exit is due
        logger.exception("The application did not shut down cleanly.")
    return 0


async def _call_hook(application: Application, name: str) -> None:
    hook = getattr(application, name, None)
    if hook is not None:
        await hook()


def _load_application(path: str) -> Application:
    """Import `module:attribute`. Raises what the import raises."""
    module, _, attribute = path.partition(":")
    application: Application = getattr(importlib.import_module(module), attribute)
    return application


def _take_listener(settings: ServerSettings) -> socket.socket:
    """Adopt the inherited socket, or bind one. Raises ListenError."""
    if settings.fd is None:
        listener = bind_listener(settings.host, settings.port)
    else:
        listener = socket.socket(fileno=settings.fd)
    listener.setblocking(False)
    # Accepted sockets inherit it: a client that takes nothing is cut by the kernel.
    listener.setsockopt(
        socket.IPPROTO_TCP,
        socket.TCP_USER_TIMEOUT,
        round(settings.stall_timeout_s * 1000),
    )
    return listener


def _be_ready(settings: ServerSettings) -> None:
    """Tune the interpreter and report ready."""
    # What lives by now lives as long as the process: collecting it again and again
    # cost most. The young are collected in small bites: with ten times as many
    # (50,000) at once the 99th percentile was three times as long.
    gc.collect()
    gc.freeze()
    gc.set_threshold(5_000, 50, 100)
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    lighten_log_records()
    if settings.ready_fd is not None:
        with os.fdopen(settings.ready_fd, "wb") as pipe:
            pipe.write(b"ready\n")


def lighten_log_records() -> None:
    """Leave out what no line of ours shows: a record costs half as much.

    As "Optimization" in the library's own documentation says.
    """
    logging.logThreads = logging.logMultiprocessing = logging.logProcesses = False
    logging._srcfile = None  # noqa: SLF001  # documented there


def _end_tasks(code: int, loop: asyncio.AbstractEventLoop) -> None:
    """Cancel what runs; leave at once where something ignores that."""
    tasks = asyncio.all_tasks(loop)
    for task in tasks:
        task.cancel()
    if tasks:
        loop.run_until_complete(asyncio.wait(tasks, timeout=LAST_CANCEL_S))
    if asyncio.all_tasks(loop):
        # CPython 3.11 crashes at times when it collects tasks that wait on a queue.
        logger.warning("Some tasks ignore their cancellation: leaving them behind.")
        leave(code)


def leave(code: int) -> None:
    """End the process without the interpreter's own clean-up."""
    logging.shutdown()
    os._exit(code)
