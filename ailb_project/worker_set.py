"""The HTTP workers: how many there are, and how they change without a refused request."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from asyncio.subprocess import Process
from collections.abc import Callable, Coroutine
from typing import Any

from ailb_project.children import Child, ChildSpec, Launcher, end
from ailb_project.server_settings import YIELD_SIGNAL

logger = logging.getLogger("ailb_project.supervisor")

START_TIMEOUT_S = 60.0
POLL_S = 0.02

WorkerSpecs = Callable[[int], list[ChildSpec]]


class WorkerSet:
    """Has as many workers as are wanted, each as `specs(number of workers)` has it.

    A worker that is to be different is replaced by one that is ready first, one after
    another; a surplus one stops accepting and ends with its last request. What is asked
    while that goes on holds at its next step: the last wish wins.
    `keep` is given each child that is to be kept alive, `spawn` runs a coroutine beside.
    """

    def __init__(
        self,
        specs: WorkerSpecs,
        count: int,
        *,
        launcher: Launcher,
        stop_timeout_s: float,
        is_stopping: Callable[[], bool],
        keep: Callable[[Child], None],
        spawn: Callable[[Coroutine[Any, Any, None]], None],
    ) -> None:
        self.wanted = count
        self.children = [Child(spec) for spec in specs(count)]
        # Processes that are no child's: not ready yet, or with their last requests.
        self.strays: set[Process] = set()
        self._specs = specs
        self._launcher = launcher
        self._stop_timeout_s = stop_timeout_s
        self._is_stopping = is_stopping
        self._keep = keep
        self._spawn = spawn
        self._changing = asyncio.Lock()
        self._is_asked = asyncio.Event()
        self._is_restart_asked = False

    def running(self) -> int:
        """Count those that accept requests."""
        return sum(child.is_running() for child in self.children)

    def scale(self, count: int) -> None:
        """Have so many workers soon."""
        logger.info("%d workers are wanted, %d run.", count, self.running())
        self.wanted = count
        self._is_asked.set()

    def restart(self) -> None:
        """Replace each worker soon."""
        self._is_restart_asked = True
        self._is_asked.set()

    async def follow(self) -> None:
        """Do what is asked, for ever."""
        while True:
            await self._is_asked.wait()
            self._is_asked.clear()
            is_restart, self._is_restart_asked = self._is_restart_asked, False
            try:
                async with self._changing:
                    is_whole = await self._change(is_restart=is_restart)
            except OSError as error:  # no room on the disk, or for a process
                logger.error("The workers cannot be changed: %s", error)  # noqa: TRY400  # the text says it all
                self._be_content()
                continue
            if is_restart and not is_whole and self._is_asked.is_set():
                self._is_restart_asked = True  # another wish came in between

    async def settle(self) -> None:
        """Wait, when stopping, until a change that is under way has been given up."""
        async with self._changing:
            pass

    async def _change(self, *, is_restart: bool) -> bool:
        """Go from the present workers to the wanted; false if it had to end before."""
        specs = self._specs(self.wanted)
        if is_restart:
            logger.info("Restarting %d workers, one after another.", self.wanted)
        while len(self.children) > len(specs):
            self._retire(self.children.pop())
        if not await self._add(specs[len(self.children) :]):
            return False
        replaced: Process | None = None
        for child, spec in zip(self.children, specs, strict=True):
            if not (is_restart or child.spec != spec):
                continue
            await self._wait_for_end(replaced)
            if self._has_to_end():
                return False
            replaced = child.process
            if not await self._replace(child, spec):
                return False
        return True

    def _has_to_end(self) -> bool:
        return self._is_asked.is_set() or self._is_stopping()

    def _be_content(self) -> None:
        """Want no more than there are, unless something else is asked by now."""
        if self.wanted != len(self.children) and not self._has_to_end():
            self.wanted = len(self.children)
            self._is_asked.set()

    # --- One change ------------------------------------------------------------------

    async def _add(self, specs: list[ChildSpec]) -> bool:
        """Start more workers, as many at once as there are processors."""
        at_once = os.cpu_count() or 1
        for first in range(0, len(specs), at_once):
            if self._has_to_end():
                return False
            if not await self._add_at_once(specs[first : first + at_once]):
                self._be_content()
                return False
        return True

    async def _add_at_once(self, specs: list[ChildSpec]) -> bool:
        """Start some workers; they count when all of them are ready."""
        added = [Child(spec) for spec in specs]
        try:
            for child in added:
                child.started_s = time.monotonic()
                child.process = await self._launch(child.spec, child.ready)
            are_ready = [await self._becomes_ready(c.process, c.ready) for c in added]
        except OSError as error:
            logger.error("Cannot start another worker: %s", error)  # noqa: TRY400  # the text says it all
            are_ready = [False]
        for child in added:
            if all(are_ready):
                self._place(child)
            else:
                self._retire(child)
            self._keep(child)
        if not all(are_ready):
            logger.error("More workers did not get ready: their number stays.")
        return all(are_ready)

    def _place(self, child: Child) -> None:
        child.has_been_ready.set()
        self.children.append(child)
        if child.process is not None:
            self.strays.discard(child.process)

    async def _replace(self, child: Child, spec: ChildSpec) -> bool:
        async with child.lock:
            old, ready, started_s = child.process, asyncio.Event(), time.monotonic()
            new = await self._launch(spec, ready)
            if not await self._becomes_ready(new, ready):
                logger.error(
                    "%s: its new process did not get ready, the old one stays.",
                    spec.name,
                )
                self.let_go(new)
                return False
            self.strays.discard(new)
            child.spec, child.process, child.ready = spec, new, ready
            child.started_s = started_s
            child.has_been_ready.set()
        self.let_go(old)
        return True

    async def _launch(self, spec: ChildSpec, ready: asyncio.Event) -> Process:
        process = await self._launcher.launch(spec, ready)
        self.strays.add(process)
        return process

    async def _becomes_ready(
        self, process: Process | None, ready: asyncio.Event
    ) -> bool:
        """Wait until a new worker accepts; false if it ends, takes too long, or we stop."""
        deadline_s = time.monotonic() + START_TIMEOUT_S
        while not ready.is_set():
            has_ended = process is None or process.returncode is not None
            is_late = time.monotonic() > deadline_s
            if has_ended or is_late or self._is_stopping():
                return False
            await asyncio.sleep(POLL_S)
        return True

    # --- Those that go ---------------------------------------------------------------

    def _retire(self, child: Child) -> None:
        """Start a child no more, and let its process end with its last request."""
        child.is_retired = True
        self.let_go(child.process)

    def let_go(self, process: Process | None) -> None:
        """Let a process that is no child's any more end with its last request."""
        if process is not None and process.returncode is None:
            self.strays.add(process)
            self._spawn(self._leave(process))

    async def _leave(self, process: Process) -> None:
        await end(process, kill_after_s=self._stop_timeout_s, by=YIELD_SIGNAL)
        self.strays.discard(process)

    async def _wait_for_end(self, process: Process | None) -> None:
        """One goes at a time: there is memory for one more, not for twice as many."""
        while process is not None and process.returncode is None:
            if self._has_to_end():
                return
            await asyncio.sleep(POLL_S)
