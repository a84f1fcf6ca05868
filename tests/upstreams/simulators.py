"""Simulators in a thread of their own, for tests that run outside their event loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any

from gateway.simulator import Behaviour, Entry, Journal, Plan, Simulator
from gateway.simulator.journal import Predicate

_START_S = 10.0


class RunningSimulator:
    """A simulator on a loop in a background thread; everything here may block.

    `plan`, `listings_plan` and `journal` are the simulator's own.
    """

    def __init__(self, simulator: Simulator, loop: asyncio.AbstractEventLoop) -> None:
        self._simulator = simulator
        self._loop = loop

    @property
    def port(self) -> int:
        return self._simulator.port

    @property
    def url(self) -> str:
        """The base URL for Anthropic and Ollama clients."""
        return self._simulator.url

    @property
    def openai_url(self) -> str:
        """The base URL for OpenAI clients."""
        return self._simulator.openai_url

    @property
    def plan(self) -> Plan:
        return self._simulator.plan

    @property
    def listings_plan(self) -> Plan:
        return self._simulator.listings_plan

    @property
    def journal(self) -> Journal:
        return self._simulator.journal

    @property
    def behaviour(self) -> Behaviour:
        return self._simulator.behaviour

    @behaviour.setter
    def behaviour(self, value: Behaviour) -> None:
        self._simulator.behaviour = value

    @property
    def calls(self) -> tuple[Entry, ...]:
        """The POST requests received: chats and embeddings, not listings."""
        return tuple(e for e in self.journal.entries if e.method == "POST")

    def wait_for(
        self, predicate: Predicate, *, timeout_s: float = 10.0
    ) -> tuple[Entry, ...]:
        """Block until the predicate holds for the journal; TimeoutError shows it."""
        return self.journal.wait_for(predicate, timeout_s=timeout_s)

    def stop(self) -> None:
        """Refuse connections from now on; `start` listens on the same port again."""
        self._run(self._simulator.stop())

    def start(self) -> None:
        self._run(self._simulator.start())

    def _run(self, work: Any) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(_START_S)


@contextmanager
def running_simulator(**options: Any) -> Iterator[RunningSimulator]:
    """Run `Simulator(**options)` until the block ends.

    Its thread ends with it, whatever hangs on it.
    """
    ready: Future[RunningSimulator] = Future()
    ended = threading.Event()
    stop: Future[asyncio.Event] = Future()

    async def serve() -> None:
        done = asyncio.Event()
        simulator = Simulator(**options)
        try:
            await simulator.start()
        except OSError as error:
            ready.set_exception(error)
            return
        stop.set_result(done)
        ready.set_result(RunningSimulator(simulator, asyncio.get_running_loop()))
        try:
            await done.wait()
        finally:
            await simulator.stop()

    def run() -> None:
        try:
            asyncio.run(serve())
        except BaseException as error:
            if not ready.done():
                ready.set_exception(error)
            raise
        finally:
            ended.set()

    thread = threading.Thread(target=run, name="simulator", daemon=True)
    thread.start()
    running = ready.result(_START_S)
    try:
        yield running
    finally:
        running._loop.call_soon_threadsafe(stop.result().set)
        thread.join(_START_S)
        assert ended.is_set(), "the simulator did not stop"
