"""The parent process: one listening socket, its HTTP workers and other children."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import time
from asyncio.subprocess import Process
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any

from ailb_project.children import (
    Child,
    ChildKind,
    ChildSpec,
    Launcher,
    SupervisorError,
    end,
    send,
)
from ailb_project.server_settings import DRAIN_SIGNAL
from ailb_project.supervisor_link import SupervisorLink
from ailb_project.worker_set import WorkerSet, WorkerSpecs
from moduleservice.line_channel import RequestRefused

logger = logging.getLogger(__name__)

# What a stopping child needs beside its requests: its cut (6 s) and its shutdown (10 s).
STOP_MARGIN_S = 20.0
# A stop that is not graceful: from a worker's SIGTERM to its SIGKILL.
HURRY_S = 1.0
POLL_S = 0.02
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
# The same stop often comes twice: from the terminal's process group and from a script.
DUPLICATE_SIGNAL_S = 1.0


@dataclass(frozen=True, slots=True)
class StopWish:
    """How to stop; `timeout_s` is how long requests may take, None the usual time."""

    is_graceful: bool = True
    timeout_s: float | None = None


class Supervisor:
    """Keeps workers and services alive until SIGTERM or SIGINT; SIGHUP restarts workers.

    `worker_specs` describes the workers by their number, which `scale` changes.

    At a stop the service with a link takes leave of the NLB; then the workers end, all at
    once: they drain, then SIGKILL after the drain limit and a margin (a second stop signal:
    at once); then the services in the order given. They start in the opposite order.
    Each dies with this process, however it dies.
    `on_ready` is called once, when every worker accepts requests for the first time;
    `on_worker_exit` with the process id of each worker that has ended.
    `drain_timeout_s` is the workers' grace and drain limit together.
    """

    def __init__(
        self,
        services: Sequence[ChildSpec],
        *,
        worker_specs: WorkerSpecs,
        workers: int,
        listener: socket.socket,
        drain_timeout_s: float,
        stop_margin_s: float = STOP_MARGIN_S,
        on_ready: Callable[[], None] | None = None,
        on_worker_exit: Callable[[int], None] | None = None,
    ) -> None:
        self._listener = listener
        self._drain_timeout_s = drain_timeout_s
        self._stop_margin_s = stop_margin_s
        self._stop_timeout_s = drain_timeout_s + stop_margin_s
        self._on_ready = on_ready
        self._on_worker_exit = on_worker_exit
        self._link = SupervisorLink(self)
        self._launcher = Launcher(listener, self._link)
        self._group = asyncio.TaskGroup()
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopping = asyncio.Event()
        self._stop_wish = StopWish()
        self._stop_signalled_s: float | None = None
        self._services = [Child(spec) for spec in services]
        self._workers = WorkerSet(
            worker_specs,
            workers,
            launcher=self._launcher,
            stop_timeout_s=self._stop_timeout_s,
            is_stopping=self._stopping.is_set,
            keep=self._keep,
            spawn=self._spawn,
        )
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
            async with self._group:
                for child in [*reversed(self._services), *self._workers.children]:
                    self._keep(child)
                self._spawn(self._announce_ready())
                self._spawn(self._workers.follow())
                await self._stopping.wait()
                await self._stop_everyone()
                for task in self._tasks:
                    task.cancel()
        except* SupervisorError as errors:
            failure = errors.exceptions[0]
        finally:
            await self._stop_everyone()
        if failure is not None:
            raise failure
        return 0

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._group.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # --- Orders --------------------------------------------------------------------

    def counts(self) -> tuple[int, int]:
        """Give how many workers run and how many are wanted."""
        return self._workers.running(), self._workers.wanted

    def scale(self, workers: int) -> None:
        """Have so many workers soon, without a refused request; the last wish wins.

        Raises:
            RequestRefused: Everything stops.

        """
        if self._stopping.is_set():
            raise RequestRefused("Everything stops.")
        self._workers.scale(workers)

    def stop(self, *, is_graceful: bool, timeout_s: float | None) -> None:
        """Begin to stop. Asked again, not gracefully, it hurries."""
        if not self._stopping.is_set():
            self._stop_wish = StopWish(is_graceful, timeout_s)
            self._stopping.set()
        elif not is_graceful:
            loop = asyncio.get_running_loop()
            loop.call_later(HURRY_S, self._kill, self._worker_processes)

    # --- Signals -------------------------------------------------------------------

    def _install_signals(self) -> None:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._on_stop_signal)
        loop.add_signal_handler(signal.SIGINT, self._on_stop_signal)
        loop.add_signal_handler(signal.SIGHUP, self._on_hangup)
        # Who has made us may have held them back until somebody listens.
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)

    def _on_hangup(self) -> None:
        """Restart the workers; but stop if it means that our terminal has gone."""
        if self._has_terminal and not os.isatty(0):
            self._on_stop_signal()
        else:
            self._workers.restart()

    def _on_stop_signal(self) -> None:
        """Begin to stop; signalled again after a second, kill what still runs."""
        now_s = time.monotonic()
        if self._stop_signalled_s is None:
            self._stop_signalled_s = now_s
            self.stop(is_graceful=True, timeout_s=None)
        elif now_s - self._stop_signalled_s > DUPLICATE_SIGNAL_S:
            logger.warning("Second stop signal: killing what still runs.")
            self._kill(self._all_processes)

    def _kill(self, processes: Callable[[], list[Process]]) -> None:
        for process in processes():
            send(process, signal.SIGKILL)

    def _worker_processes(self) -> list[Process]:
        workers = (child.process for child in self._workers.children)
        return [*filter(None, workers), *self._workers.strays]

    def _all_processes(self) -> list[Process]:
        services = (child.process for child in self._services)
        return [*self._worker_processes(), *filter(None, services)]

    # --- One child -----------------------------------------------------------------

    def _keep(self, child: Child) -> None:
        self._spawn(self._keep_alive(child))

    async def _keep_alive(self, child: Child) -> None:
        """Start a child again each time it ends, ever later while it keeps failing."""
        if child.process is None:
            async with child.lock:
                await self._start(child)
        while True:
            process = child.process
            if process is None:
                return  # told to stop before it could start
            if child.is_retired:  # while it was being started
                self._workers.let_go(process)
            code = await process.wait()
            if child.spec.kind is ChildKind.WORKER and self._on_worker_exit is not None:
                self._on_worker_exit(process.pid)
            if self._stopping.is_set() or child.is_retired:
                return
            if child.process is not process:
                continue  # another has been put in its place
            delay_s = child.account_for_death(code)
            if not await self._stops_within(delay_s):
                async with child.lock:
                    if child.process is process:
                        await self._start(child)

    async def _stops_within(self, delay_s: float) -> bool:
        try:
            async with asyncio.timeout(delay_s):
                await self._stopping.wait()
        except TimeoutError:
            return False
        return True

    async def _start(self, child: Child) -> None:
        """Put a new process in a child's place without waiting until it is ready."""
        if self._stopping.is_set() or child.is_retired:
            return
        child.ready = asyncio.Event()
        child.started_s = time.monotonic()
        child.process = await self._launcher.launch(
            child.spec, child.ready, child.has_been_ready
        )

    # --- All children --------------------------------------------------------------

    async def _announce_ready(self) -> None:
        """Call on_ready once every worker has been ready, restarts included."""
        while not all(c.has_been_ready.is_set() for c in self._workers.children):  # noqa: ASYNC110  # others may take their places
            await asyncio.sleep(POLL_S)
        if self._on_ready is not None:
            self._on_ready()

    async def _stop_everyone(self) -> None:
        """Stop all children in their order. Safe to call again."""
        self._stopping.set()
        await self._link.take_leave()
        self._listener.close()
        await self._workers.settle()
        async with asyncio.TaskGroup() as tasks:
            for process in list(self._workers.strays):
                tasks.create_task(self._end_worker(process))
            for worker in self._workers.children:
                tasks.create_task(self._end_child(worker, self._end_worker))
        for service in self._services:
            await self._end_child(service, self._end_service)
        self._link.close()

    async def _end_child(
        self, child: Child, way: Callable[[Process], Coroutine[Any, Any, None]]
    ) -> None:
        async with child.lock:
            if child.process is not None:
                await way(child.process)

    async def _end_worker(self, process: Process) -> None:
        wish = self._stop_wish
        if not wish.is_graceful:
            await end(process, kill_after_s=HURRY_S)
        elif wish.timeout_s is None:
            await end(process, kill_after_s=self._stop_timeout_s, by=DRAIN_SIGNAL)
        else:
            await end(
                process,
                kill_after_s=self._stop_margin_s,
                cut_after_s=min(wish.timeout_s, self._drain_timeout_s),
                by=DRAIN_SIGNAL,
            )

    async def _end_service(self, process: Process) -> None:
        await end(process, kill_after_s=self._stop_timeout_s)
