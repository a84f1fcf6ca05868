"""Redis with a deadline for every call, and a circuit that spares us a dead one."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import orjson
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError, RedisError

from gateway import metrics
from gateway.limits import scripts
from gateway.limits.circuit import Circuit
from gateway.limits.sharing import RedisAway, RedisTerms

logger = logging.getLogger(__name__)

T = TypeVar("T")

CONNECTIONS = 4  # one for requests, one for reports, and what is being replaced
LATE_S = 0.005  # a timer that fires so late tells of a process that is busy itself
MOST_EXTENSIONS = (
    5  # of a deadline, by as much as the process was late, for that reason
)


class Asked(NamedTuple):
    """What one request asks of Redis, and where it waits for the answer."""

    keys: Sequence[str]
    ask: bytes
    answer: asyncio.Future[Any]


class RedisLink:
    """Runs the two scripts; changes of its state are logged and measured once.

    What requests ask while one call is under way goes along with the next: however many
    come at once, they cost one round trip.
    """

    def __init__(
        self, url: str, *, worker: str, terms: RedisTerms, clock: Callable[[], float]
    ) -> None:
        """Connect with the first call."""
        self._worker = worker
        self._sequence = 0
        self.circuit = Circuit(terms.first_wait_s, terms.longest_wait_s)
        self._terms = terms
        self._clock = clock
        self._redis = Redis.from_pool(
            BlockingConnectionPool.from_url(
                url,
                max_connections=CONNECTIONS,
                # The deadline of a call covers these waits. In Python 3.11 the client's
                # own timeouts can swallow a cancellation, and a stop would never end.
                timeout=None,
                socket_timeout=None,
                socket_connect_timeout=None,
                retry=Retry(NoBackoff(), 0),
                protocol=2,  # one round trip less to connect
            )
        )
        self._admit = self._redis.register_script(scripts.ADMIT)
        self._report = self._redis.register_script(scripts.REPORT)
        self._asked: list[Asked] = []
        self._sending: asyncio.Task[None] | None = None
        self._told: bool | None = None

    async def admit(self, keys: Sequence[str], ask: Mapping[str, Any]) -> Any:
        """Run `scripts.ADMIT` while a request waits; raises `RedisAway`."""
        loop = asyncio.get_running_loop()
        asked = Asked(keys, self._signed(ask), loop.create_future())
        self._asked.append(asked)
        if self._sending is None:
            # Not a TaskGroup: it serves many requests and belongs to none of them.
            self._sending = loop.create_task(self._send_all(), name="ask Redis")
        return await asked.answer

    async def report(self, keys: Sequence[str], ask: Mapping[str, Any]) -> None:
        """Run `scripts.REPORT` in the background; raises `RedisAway`."""
        call = self._report(keys=keys, args=[self._signed(ask)])
        await self._call(call, self._terms.background_deadline_s)
        self._succeeded()

    async def aclose(self) -> None:
        """Close every connection."""
        if self._sending is not None:
            self._sending.cancel()
        await self._redis.aclose()

    async def _send_all(self) -> None:
        try:
            while self._asked:
                asked, self._asked = self._asked, []
                try:
                    replies = await self._send(asked)
                except RedisAway as away:
                    # Who came meanwhile has waited for the same dead Redis.
                    asked, self._asked = asked + self._asked, []
                    replies = [away] * len(asked)
                for one, reply in zip(asked, replies, strict=True):
                    self._settle(one.answer, reply)
        finally:
            self._sending = None

    def _settle(self, answer: asyncio.Future[Any], reply: Any) -> None:
        if answer.done():  # its request was cancelled
            return
        if isinstance(reply, Exception):
            away = RedisAway()
            away.__cause__ = reply
            answer.set_exception(away)
        else:
            answer.set_result(reply)

    async def _send(self, asked: Sequence[Asked]) -> list[Any]:
        """Ask all at once; a reply may be the error that Redis answered to one."""
        replies = await self._call(self._run(asked), self._terms.deadline_s)
        errors = [reply for reply in replies if isinstance(reply, Exception)]
        if errors:
            self._failed(errors[0])
        else:
            self._succeeded()
        return replies

    async def _run(self, asked: Sequence[Asked]) -> list[Any]:
        replies = await self._pipeline(asked)
        if any(isinstance(reply, NoScriptError) for reply in replies):
            await self._redis.script_load(scripts.ADMIT)
            return await self._pipeline(asked)
        return replies

    async def _pipeline(self, asked: Sequence[Asked]) -> list[Any]:
        pipe = self._redis.pipeline(transaction=False)
        for keys, ask, _ in asked:
            pipe.evalsha(self._admit.sha, len(keys), *keys, ask)
        replies: list[Any] = await pipe.execute(raise_on_error=False)
        return replies

    async def _call(self, call: Coroutine[Any, Any, T], deadline_s: float) -> T:
        """Wait for a call until its deadline; raises `RedisAway`."""
        loop = asyncio.get_running_loop()
        task = loop.create_task(call, name="call Redis")
        ends_s = loop.time() + deadline_s
        try:
            for _ in range(MOST_EXTENSIONS):
                await asyncio.wait({task}, timeout=ends_s - loop.time())
                late_s = loop.time() - ends_s
                if task.done() or late_s < LATE_S:
                    break
                # This process was busy itself: the answer may wait to be read.
                ends_s = loop.time() + min(late_s, deadline_s)
            if not task.done():
                raise TimeoutError
            return task.result()
        except (RedisError, OSError) as error:
            self._failed(error)
            raise RedisAway from error
        finally:
            task.cancel()

    def _succeeded(self) -> None:
        self.circuit.succeeded()
        self._tell(None)

    def _failed(self, error: Exception) -> None:
        self.circuit.failed(self._clock())
        self._tell(error)

    def _signed(self, ask: Mapping[str, Any]) -> bytes:
        """Say who asks, and number it: what is said later is newer."""
        self._sequence += 1
        lease_us = int(self._terms.lease_s * 1_000_000)
        signature = {"worker": self._worker, "sequence": self._sequence}
        return orjson.dumps({**signature, "lease_us": lease_us, **ask})

    def _tell(self, error: Exception | None) -> None:
        is_up = self.circuit.is_closed
        if is_up == self._told:
            return
        self._told = is_up
        metrics.LIMITS_SHARED.set(is_up)
        if is_up:
            logger.info("limits are counted in Redis")
        else:
            logger.warning(
                "limits are counted in this process alone: Redis failed: %s",
                str(error) or "no answer in time",
            )
