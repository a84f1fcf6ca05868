"""One child process: what it is, how it starts, and how it ends."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import sys
import time
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from ailb_project import child_entry
from ailb_project.server_settings import CUT_SIGNAL
from ailb_project.supervisor_link import SupervisorLink
from moduleservice.supervisor_orders import FD_VARIABLE

logger = logging.getLogger("ailb_project.supervisor")

FIRST_BACKOFF_S = 0.2
LONGEST_BACKOFF_S = 5.0
HEALTHY_AFTER_S = 10.0
MAX_FAILED_STARTS = 5
KILL_TIMEOUT_S = 5.0
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
    behind its `argv`. `has_link`: a service that may give orders to the supervisor.
    `exit_words` say what an exit code of this program means.
    """

    name: str
    argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    pass_fds: tuple[int, ...] = ()
    kind: ChildKind = ChildKind.SERVICE
    has_link: bool = False
    exit_words: Mapping[int, str] = field(default_factory=dict)


@dataclass(slots=True)
class Child:
    """A ChildSpec and the process that is it at present; none once it is retired."""

    spec: ChildSpec
    process: Process | None = None
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    has_been_ready: asyncio.Event = field(default_factory=asyncio.Event)
    started_s: float = 0.0
    failed_starts: int = 0
    backoff_s: float = FIRST_BACKOFF_S
    is_retired: bool = False
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    def is_running(self) -> bool:
        """Tell whether its process is alive and has said that it is ready."""
        process = self.process
        return (
            process is not None and process.returncode is None and self.ready.is_set()
        )

    def account_for_death(self, code: int) -> float:
        """Log a death and return the seconds to wait. Raises at the fifth bad start."""
        alive_s = time.monotonic() - self.started_s
        is_worker = self.spec.kind is ChildKind.WORKER
        if is_worker and not self.ready.is_set():
            self.failed_starts += 1
        else:
            self.failed_starts = 0
        if alive_s >= HEALTHY_AFTER_S:
            self.backoff_s = FIRST_BACKOFF_S
        if self.failed_starts >= MAX_FAILED_STARTS:
            raise SupervisorError(
                f"{self.spec.name} ended {self.failed_starts} times before it was"
                f" ready ({describe_exit(code)}): giving up. Its own messages above say"
                " why."
            )
        delay_s = self.backoff_s
        self.backoff_s = min(delay_s * 2, LONGEST_BACKOFF_S)
        if code in self.spec.exit_words:
            logger.error("%s: %s", self.spec.name, self.spec.exit_words[code])
        logger.warning(
            "%s (pid %s) ended after %.1f s (%s): starting it again in %.1f s.",
            self.spec.name,
            self.process.pid if self.process else None,
            alive_s,
            describe_exit(code),
            delay_s,
        )
        return delay_s


class Launcher:
    """Starts programs as children that cannot outlive this process."""

    def __init__(self, listener: socket.socket, link: SupervisorLink) -> None:
        """Workers get the listener; who has a link gets a new end of it each start."""
        self._listener = listener
        self._link = link

    async def launch(self, spec: ChildSpec, *ready: asyncio.Event) -> Process:
        """Start a program without waiting; the events are set when it says ready.

        Raises:
            OSError: The machine has no room for another process.

        """
        if spec.kind is ChildKind.WORKER:
            async with _ready_pipe(*ready) as ready_fd:
                socket_fd = self._listener.fileno()
                return await _execute(
                    spec,
                    (*spec.argv, f"--fd={socket_fd}", f"--ready-fd={ready_fd}"),
                    (*spec.pass_fds, socket_fd, ready_fd),
                )
        if not spec.has_link:
            return await _execute(spec, spec.argv, spec.pass_fds)
        with self._link.open() as end:
            fd = end.fileno()
            return await _execute(
                spec, spec.argv, (*spec.pass_fds, fd), {FD_VARIABLE: str(fd)}
            )


async def end(
    process: Process,
    *,
    kill_after_s: float,
    cut_after_s: float | None = None,
    by: signal.Signals = signal.SIGTERM,
) -> None:
    """Ask it to stop, and SIGKILL it when the time is over. Safe on an ended process.

    `cut_after_s`: a worker that still has requests then is told to cut them.
    """
    send(process, by)
    if cut_after_s is not None and not await _ends_within(process, cut_after_s):
        send(process, CUT_SIGNAL)
    if not await _ends_within(process, kill_after_s):
        logger.warning("Process %d does not stop: killing it.", process.pid)
        send(process, signal.SIGKILL)
        if not await _ends_within(process, KILL_TIMEOUT_S):
            logger.error("Process %d cannot be killed: leaving it.", process.pid)


def send(process: Process | None, number: signal.Signals) -> None:
    """Signal a process that may have ended, or never begun."""
    if process is not None and process.returncode is None:
        with suppress(ProcessLookupError):
            process.send_signal(number)


def describe_exit(code: int) -> str:
    """Say how a process ended."""
    return f"killed by signal {-code}" if code < 0 else f"exit code {code}"


async def _ends_within(process: Process, timeout_s: float) -> bool:
    try:
        async with asyncio.timeout(timeout_s):
            await process.wait()
    except TimeoutError:
        return process.returncode is not None
    return True


async def _execute(
    spec: ChildSpec,
    argv: Sequence[str],
    pass_fds: Sequence[int],
    env: Mapping[str, str] | None = None,
) -> Process:
    return await asyncio.create_subprocess_exec(
        *SHIM,
        str(os.getpid()),
        *argv,
        env={**os.environ, **spec.env, **(env or {})},
        pass_fds=pass_fds,
        stdin=asyncio.subprocess.DEVNULL,
        start_new_session=spec.kind is ChildKind.SERVICE,
    )


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
