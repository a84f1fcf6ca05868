"""The parent process: one listening socket, its HTTP workers and other children."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import sys
import time
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from ailb_project import child_entry

logger = logging.getLogger(__name__)

FIRST_BACKOFF_S = 0.2
LONGEST_BACKOFF_S = 5.0
HEALTHY_AFTER_S = 10.0
MAX_FAILED_STARTS = 5
START_TIMEOUT_S = 60.0
# What a stopping child needs beside its requests: its cut (6 s) and its shutdown (10 s).
STOP_MARGIN_S = 20.0
KILL_TIMEOUT_S = 5.0
POLL_S = 0.02
# The same stop often comes twice: from the terminal's process group and from a script.
DUPLICATE_SIGNAL_S = 1.0
SHIM = (sys.executable, "-I", "-S", str(Path(child_entry.__file__)))


class SupervisorError(Exception):
    """The children cannot be kept running; the text says which and why."""


class ChildKind(StrEnum):
    """WORKER gets the socket and reports ready; SERVICE is any other program.

    A service has a session of its own: a stop signal to the whole process group would
    otherwise reach it before its turn.
    """

    WORKER = "worker"
    SERVICE = "service"


@dataclass(frozen=True, slots=True)
class ChildSpec:
    """One program to keep alive.

    `env` is added to this process's own. A worker is started with `--fd=N` (the
    listening socket) and `--ready-fd=N` (a pipe that gets a line once it accepts)
    behind its `argv`.
    """

    name: str
    argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    pass_fds: tuple[int, ...] = ()
    kind: ChildKind = ChildKind.SERVICE


@dataclass(slots=True)
class Child:
    """A ChildSpec and the process that is it at present."""

    spec: ChildSpec
    process: Process | None = None
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    has_been_ready: asyncio.Event = field(default_factory=asyncio.Event)
    started_s: float = 0.0
    failed_starts: int = 0
    backoff_s: float = FIRST_BACKOFF_S
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class Supervisor:
    """Keeps `children` alive until SIGTERM or SIGINT; SIGHUP restarts the workers.

    Children stop in the order given, workers first and all at once: SIGTERM, then
    SIGKILL after the drain limit and a margin (a second stop signal: at once). They
    start in the opposite order. Each dies with this process, however it dies.
    `on_ready` is called once, when every worker accepts requests for the first time;
    `on_worker_exit` with the process id of each worker that has ended.
    `drain_timeout_s` is the workers' grace and drain limit together.
    """

    def __init__(
        self,
        children: Sequence[ChildSpec],
        *,
        listener: socket.socket,
        drain_timeout_s: float,
        stop_margin_s: float = STOP_MARGIN_S,
        on_ready: Callable[[], None] | None = None,
        on_worker_exit: Callable[[int], None] | None = None,
    ) -> None:
        self._listener = listener
        self._stop_timeout_s = drain_timeout_s + stop_margin_s
        self._on_ready = on_ready
        self._on_worker_exit = on_worker_exit
        everyone = [Child(spec) for spec in children]
        self._workers = [c for c in everyone if c.spec.kind is ChildKind.WORKER]
        self._services = [c for c in everyone if c.spec.kind is ChildKind.SERVICE]
        self._stopping = asyncio.Event()
        self._stop_requested_s = 0.0
        self._restart_requested = asyncio.Event()
        self._has_terminal = os.isatty(0)

    def run(self) -> int:
        """Block until stopped. Return 0 after a stop signal, 1 when a start failed."""
        try:
            return asyncio.run(self.supervise())
        except SupervisorError as error:
            logger.error("%s", error)  # noqa: TRY400  # the text says it all
            return 1

    async def supervise(self) -> int:
        """Do what run() does, inside a running loop. Raises SupervisorError."""
        self._install_signals()
        failure: BaseException | None = None
        try:
            async with asyncio.TaskGroup() as tasks:
                keepers = [
                    tasks.create_task(self._keep_alive(child), name=child.spec.name)
                    for child in [*reversed(self._services), *self._workers]
                ]
                keepers.append(tasks.create_task(self._announce_ready()))
                keepers.append(tasks.create_task(self._restart_on_request()))
                await self._stopping.wait()
                await self._stop_everyone()
                for keeper in keepers:
                    keeper.cancel()
        except* SupervisorError as errors:
            failure = errors.exceptions[0]
        finally:
            await self._stop_everyone()
        if failure is not None:
            raise failure
        return 0

    # --- Signals -------------------------------------------------------------------

    def _install_signals(self) -> None:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self.request_stop)
        loop.add_signal_handler(signal.SIGINT, self.request_stop)
        loop.add_signal_handler(signal.SIGHUP, self._on_hangup)

    def _on_hangup(self) -> None:
        """Restart the workers; but stop if it means that our terminal has gone."""
        if self._has_terminal and not os.isatty(0):
            self.request_stop()
        else:
            self._restart_requested.set()

    def request_stop(self) -> None:
        """Begin to stop; asked again after a second, kill what still runs."""
        now_s = time.monotonic()
        if not self._stopping.is_set():
            self._stop_requested_s = now_s
            self._stopping.set()
        elif now_s - self._stop_requested_s > DUPLICATE_SIGNAL_S:
            logger.warning("Second stop signal: killing what still runs.")
            for child in [*self._workers, *self._services]:
                _signal(child.process, signal.SIGKILL)

    # --- One child -----------------------------------------------------------------

    async def _keep_alive(self, child: Child) -> None:
        """Start a child again each time it ends, ever later while it keeps failing."""
        async with child.lock:
            await self._start(child)
        while True:
            process = child.process
            if process is None:
                return  # told to stop before it could start
            code = await process.wait()
            if child.spec.kind is ChildKind.WORKER and self._on_worker_exit is not None:
                self._on_worker_exit(process.pid)
            if self._stopping.is_set():
                return
            if child.process is not process:
                continue  # a rolling restart has put another in its place
            delay_s = self._account_for_death(child, code)
            await asyncio.sleep(delay_s)
            async with child.lock:
                if child.process is process:
                    await self._start(child)

    def _account_for_death(self, child: Child, code: int) -> float:
        """Log a death and return the seconds to wait. Raises at the fifth bad start."""
        alive_s = time.monotonic() - child.started_s
        is_worker = child.spec.kind is ChildKind.WORKER
        if is_worker and not child.ready.is_set():
            child.failed_starts += 1
        else:
            child.failed_starts = 0
        if alive_s >= HEALTHY_AFTER_S:
            child.backoff_s = FIRST_BACKOFF_S
        if child.failed_starts >= MAX_FAILED_STARTS:
            raise SupervisorError(
                f"{child.spec.name} ended {child.failed_starts} times before it was"
                f" ready ({_describe(code)}): giving up. Its own messages above say why."
            )
        delay_s = child.backoff_s
        child.backoff_s = min(delay_s * 2, LONGEST_BACKOFF_S)
        logger.warning(
            "%s (pid %s) ended after %.1f s (%s): starting it again in %.1f s.",
            child.spec.name,
            child.process.pid if child.process else None,
            alive_s,
            _describe(code),
            delay_s,
        )
        return delay_s

    async def _start(self, child: Child) -> None:
        """Put a new process in a child's place without waiting until it is ready."""
        if not self._stopping.is_set():
            child.ready = asyncio.Event()
            child.started_s = time.monotonic()
            child.process = await self._spawn(child, child.ready)

    async def _spawn(self, child: Child, ready: asyncio.Event) -> Process:
        spec = child.spec
        if spec.kind is ChildKind.SERVICE:
            return await self._execute(spec, spec.argv, spec.pass_fds)
        async with _ready_pipe(ready, child.has_been_ready) as ready_fd:
            socket_fd = self._listener.fileno()
            return await self._execute(
                spec,
                (*spec.argv, f"--fd={socket_fd}", f"--ready-fd={ready_fd}"),
                (*spec.pass_fds, socket_fd, ready_fd),
            )

    async def _execute(
        self, spec: ChildSpec, argv: Sequence[str], pass_fds: Sequence[int]
    ) -> Process:
        return await asyncio.create_subprocess_exec(
            *SHIM,
            str(os.getpid()),
            *argv,
            env={**os.environ, **spec.env},
            pass_fds=pass_fds,
            stdin=asyncio.subprocess.DEVNULL,
            start_new_session=spec.kind is ChildKind.SERVICE,
        )

    # --- All children --------------------------------------------------------------

    async def _announce_ready(self) -> None:
        """Call on_ready once every worker has been ready, restarts included."""
        for worker in self._workers:
            await worker.has_been_ready.wait()
        if self._on_ready is not None:
            self._on_ready()

    async def _restart_on_request(self) -> None:
        while True:
            await self._restart_requested.wait()
            self._restart_requested.clear()
            await self.restart_workers()

    async def restart_workers(self) -> None:
        """Replace each worker by a new one that is ready first: no request is refused.

        The first new worker that does not get ready ends the round; the old ones stay.
        """
        logger.info("Restarting %d workers, one after another.", len(self._workers))
        for worker in self._workers:
            if self._stopping.is_set() or not await self._replace(worker):
                return

    async def _replace(self, child: Child) -> bool:
        async with child.lock:
            old, ready, started_s = child.process, asyncio.Event(), time.monotonic()
            new = await self._spawn(child, ready)
            if not await self._becomes_ready(new, ready):
                logger.error(
                    "%s: its new process did not get ready, the old one stays.",
                    child.spec.name,
                )
                await self._end(new)
                return False
            child.process, child.ready, child.started_s = new, ready, started_s
            if old is not None:
                await self._end(old)
        return True

    async def _becomes_ready(self, process: Process, ready: asyncio.Event) -> bool:
        """Wait until a new worker accepts; false if it ends, takes too long, or we stop."""
        deadline_s = time.monotonic() + START_TIMEOUT_S
        while not ready.is_set():
            is_hopeless = process.returncode is not None or self._stopping.is_set()
            if is_hopeless or time.monotonic() > deadline_s:
                return False
            await asyncio.sleep(POLL_S)
        return True

    async def _stop_everyone(self) -> None:
        """Stop all children in their order. The port is refused as soon as it can be."""
        self._stopping.set()
        self._listener.close()
        async with asyncio.TaskGroup() as tasks:
            for worker in self._workers:
                tasks.create_task(self._end_child(worker))
        for service in self._services:
            await self._end_child(service)

    async def _end_child(self, child: Child) -> None:
        async with child.lock:
            if child.process is not None:
                await self._end(child.process)

    async def _end(self, process: Process) -> None:
        """SIGTERM, and SIGKILL when the time is over. Safe on an ended process."""
        _signal(process, signal.SIGTERM)
        try:
            async with asyncio.timeout(self._stop_timeout_s):
                await process.wait()
        except TimeoutError:
            logger.warning("Process %d does not stop: killing it.", process.pid)
            _signal(process, signal.SIGKILL)
            async with asyncio.timeout(KILL_TIMEOUT_S):
                await process.wait()


@asynccontextmanager
async def _ready_pipe(*ready: asyncio.Event) -> AsyncIterator[int]:
    """Give the write end of a pipe to a child; its first byte sets the events."""
    loop = asyncio.get_running_loop()
    read_fd, write_fd = os.pipe()

    def on_readable() -> None:
        if os.read(read_fd, 64):
            for event in ready:
                event.set()
        loop.remove_reader(read_fd)
        os.close(read_fd)

    loop.add_reader(read_fd, on_readable)
    try:
        yield write_fd
    finally:
        os.close(write_fd)


def _signal(process: Process | None, number: signal.Signals) -> None:
    if process is not None and process.returncode is None:
        with suppress(ProcessLookupError):
            process.send_signal(number)


def _describe(code: int) -> str:
    return f"killed by signal {-code}" if code < 0 else f"exit code {code}"
