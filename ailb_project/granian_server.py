"""One HTTP worker process, `python -m ailb_project.granian_server`: Granian that drains."""

from __future__ import annotations

import asyncio
import os
import re
import select
import socket
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import uvloop
from granian import _futures, _granian  # what its own servers are made of
from granian.http import HTTP1Settings

from ailb_project.bounded_application import BoundedApplication
from ailb_project.listener import BACKLOG
from ailb_project.refusals import MAX_HEADER_BYTES
from ailb_project.worker_process import (
    IDLE_GRACE_S,
    Application,
    StopSignals,
    run_worker,
)

if TYPE_CHECKING:
    from ailb_project.server_settings import ServerSettings

# As many as there are descriptors: a connection that waits costs little.
MAX_CONNECTIONS = 1 << 20
# From the last cut request to the last byte of its answer.
FLUSH_S = 0.5
# Neither is typed well: the stub of the first is older than it is.
core: Any = _granian
make_scheduler: Any = _futures._new_cbscheduler  # noqa: SLF001  # see the import


class GranianServer:
    """Serves one ASGI application as `worker_process` asks for it.

    It drives Granian's worker itself: Granian's own server binds its own socket, starts
    processes and sets up the logs.
    """

    def __init__(
        self, application: Application, settings: ServerSettings, stop: StopSignals
    ) -> None:
        """Make the server; it does not listen yet."""
        self._settings = settings
        self._stop = stop
        self._bounded = BoundedApplication(application, settings, stop)
        self._signal = core.WorkerSignal()
        self._has_ended = asyncio.Event()

    async def listen(self, listener: socket.socket) -> None:
        """Accept requests from now on."""
        loop = asyncio.get_running_loop()
        # Accepted sockets inherit it; where Granian binds, it asks for it, too.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._fd = listener.detach()
        self._worker = core.ASGIWorker(
            1,
            (None, core.SocketHolder(self._fd, False, BACKLOG)),
            None,
            backpressure=MAX_CONNECTIONS,
            http1_opts=self._limits(),
        )
        self._signal.add_cb(lambda: loop.call_soon_threadsafe(self._has_ended.set))
        scheduler = make_scheduler(loop, self._answer, impl_asyncio=True)
        self._worker.serve_async(scheduler, loop, self._signal)

    def _limits(self) -> HTTP1Settings:
        """Give Granian the limits it has. One clock: of a head and of the idle time."""
        allowed_s = max(self._settings.header_timeout_s, self._settings.keep_alive_s)
        return HTTP1Settings(
            header_read_timeout=round(allowed_s * 1000),
            max_buffer_size=MAX_HEADER_BYTES,
        )

    async def _answer(self, watcher: Any) -> None:
        """Answer one request; a task of its own, that Granian makes."""
        scope, proto = watcher.scope, watcher.proto
        scope["root_path"] = ""
        for end in ("client", "server"):  # ports are numbers in ASGI, texts in Granian
            host, port = scope[end]
            scope[end] = (host, int(port))
        try:
            await self._bounded(scope, proto.receive, proto.send)
        finally:
            watcher.done()

    async def drain(self) -> int:
        """Let requests end: grace while listening, then the limit, then cut.

        Told to stop, Granian closes at once whatever connection has no request under
        way, even one that it has just accepted: they have a moment before, in which each
        answer asks for the connection to be closed.
        """
        await self._stop.pass_grace(self._settings.grace_s)
        await self._stop.pass_last_connects(self._fd)
        await self._stop.wait_while(lambda: is_readable(self._fd), IDLE_GRACE_S)
        stop_accepting(self._fd)
        self._bounded.hasten()
        await self._stop.wait_while(lambda: True, IDLE_GRACE_S)
        self._signal.set()
        await self._stop.wait_while(self._is_busy, self._settings.drain_timeout_s)
        cut = await self._bounded.cut()
        if cut:
            await self._flush()
        return cut

    async def _flush(self) -> None:
        """Let the last words of those that were cut reach their clients."""
        with suppress(TimeoutError):
            async with asyncio.timeout(FLUSH_S):
                await self._has_ended.wait()

    def _is_busy(self) -> bool:
        return not self._has_ended.is_set()


def is_readable(fd: int) -> bool:
    """Tell whether a listening socket holds connections that nobody has accepted."""
    poller = select.poll()
    poller.register(fd, select.POLLIN)
    return bool(poller.poll(0))


def stop_accepting(fd: int) -> None:
    """Leave what connects from now on to others, or have it refused if there are none.

    Granian has no word for it. Its epoll forgets the socket, and another one, where
    nobody connects, takes its place until Granian closes it.
    """
    watched = re.compile(rf"^tfd:\s+{fd}\s", re.MULTILINE)
    for entry in Path("/proc/self/fdinfo").iterdir():
        with suppress(OSError):  # closed since it was listed
            if watched.search(entry.read_text()):
                with select.epoll.fromfd(os.dup(int(entry.name))) as poller:
                    poller.unregister(fd)
    with socket.socket(socket.AF_UNIX) as nowhere:
        nowhere.bind("")
        nowhere.listen()
        nowhere.setblocking(False)
        os.dup2(nowhere.fileno(), fd, inheritable=False)


if __name__ == "__main__":
    run_worker(
        sys.argv[1:], GranianServer, uvloop.new_event_loop(), leaves_threads=True
    )
