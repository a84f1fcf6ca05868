"""Limiters on a real Redis, and Redis servers of a test's own to freeze and to kill."""

from __future__ import annotations

import asyncio
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from types import TracebackType
from typing import Any

import pytest
import redis

from gateway.access import Budget, Limit
from gateway.errors import BudgetExhausted, RateLimited
from gateway.limits.charges import Grant
from gateway.limits.limiter import Limiter
from gateway.limits.sharing import RedisTerms
from tests.gateway.limits.quotas import DAY, ESTIMATE

SHARED_URL = "redis://127.0.0.1:6379/0"
PATIENCE_S = 10.0


def skip_without(url: str) -> None:
    try:
        with redis.Redis.from_url(url, socket_timeout=2) as client:
            client.ping()
    except redis.RedisError:
        pytest.skip(f"no Redis answers at {url}")


def remove_keys(url: str, prefix: str) -> None:
    with redis.Redis.from_url(url) as client:
        for key in client.scan_iter(f"{{ailb}}:{prefix}:*"):
            client.delete(key)


@asynccontextmanager
async def running_limiter(
    url: str,
    *,
    worker: str = "one",
    terms: RedisTerms,
    installation: str = "test",
) -> AsyncIterator[Limiter]:
    """Start a limiter as a process of the gateway does, and end it as one does."""
    tasks: list[asyncio.Task[Any]] = []

    def spawn(work: Any, /, *, name: str) -> None:
        tasks.append(asyncio.get_running_loop().create_task(work, name=name))

    limiter = Limiter(worker=worker, redis_url=url, today=lambda: DAY, terms=terms)
    await limiter.start(spawn, installation=installation)
    try:
        yield limiter
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        await limiter.aclose()


async def eventually(is_true: Callable[[], Any]) -> None:
    """Wait until something is so; fail if it is not in time."""
    async with asyncio.timeout(PATIENCE_S):
        while not is_true():
            await asyncio.sleep(0.01)


async def in_the_end(
    limiter: Limiter, limits: Sequence[Limit] = (), budgets: Sequence[Budget] = ()
) -> Grant:
    """Ask until it is admitted; fail if it is not in time."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            with suppress(RateLimited, BudgetExhausted):
                return await limiter.admit(limits, budgets, ESTIMATE)
            await asyncio.sleep(0.01)


class RedisServer:
    """A redis-server process that keeps nothing on disk."""

    def __init__(self) -> None:
        """Choose a port; `start` runs it."""
        if shutil.which("redis-server") is None:
            pytest.skip("redis-server is not installed")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"redis://127.0.0.1:{self.port}/0"

    def __enter__(self) -> RedisServer:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.kill()

    def start(self) -> None:
        command = ["redis-server", "--port", str(self.port), "--save", ""]
        self._process = subprocess.Popen(
            [*command, "--bind", "127.0.0.1"],
            stdout=subprocess.DEVNULL,
            cwd="/",
        )
        deadline_s = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline_s:
            with suppress(redis.RedisError), redis.Redis.from_url(self.url) as client:
                client.ping()
                return
        raise AssertionError("redis-server does not answer")

    def freeze(self) -> None:
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def ask(self, *command: str) -> Any:
        with redis.Redis.from_url(self.url) as client:
            return client.execute_command(*command)
