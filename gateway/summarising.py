"""Rolling summaries of sessions, asked for through AILB itself by one process at a time."""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import Future
from functools import partial

import orjson
from django.utils import timezone

from gateway import chat
from gateway.auth import Principal
from gateway.context import Context, new_request_id
from gateway.database_threads import DatabaseThreads
from gateway.dialects.openai.answers import read_answer
from gateway.dialects.openai.request import parse_chat
from gateway.errors import NotFound
from gateway.kinds import Operation, Right
from gateway.lease import hold_lease, release_lease
from gateway.runtime import Runtime
from gateway.snapshot_store import DATABASE_AWAY
from memory.summary import Summaries

logger = logging.getLogger(__name__)

LEASE = "summaries"
LEASE_S = 300.0  # longer than a round, in which a few answers are waited for
INTERVAL_S = 5.0
ANSWER_LIMIT_S = 60.0
CLOSE_LIMIT_S = 1.0


class Summarising:
    """Keeps the summaries that policies ask for, while this process has the lease.

    A summary is a chat like any other, of the session's tenant: routed, limited, paid
    from its budgets and kept in the ledger, but never remembered.
    """

    def __init__(self, runtime: Runtime) -> None:
        """Touch nothing yet; `runtime` serves the chats."""
        self._runtime = runtime
        self._summaries = Summaries(self._summarise)
        self._thread = DatabaseThreads(1, name="ailb-summaries")
        self._loop: asyncio.AbstractEventLoop | None = None
        self._asked: Future[str] | None = None

    async def run(self) -> None:
        """Go round until cancelled."""
        self._loop = asyncio.get_running_loop()
        try:
            while True:
                await asyncio.sleep(INTERVAL_S)
                await self._do_round()
        finally:
            if self._asked is not None:
                self._asked.cancel()  # its thread waits for it
            await self._give_back()
            await self._thread.aclose(limit_s=CLOSE_LIMIT_S)

    async def _do_round(self) -> None:
        snapshots = self._runtime.snapshots
        if not snapshots.is_loaded or not snapshots.current.memory.wants_summaries:
            return
        try:
            await self._thread.run(self._advance)
        except DATABASE_AWAY as error:
            logger.debug("summaries wait for the database", exc_info=error)
        except Exception:  # a process edge: the next round may go well
            logger.exception("making summaries failed; it is tried again")

    def _advance(self) -> None:
        now, holder = timezone.now(), self._runtime.pulse.worker
        if hold_lease(LEASE, holder, now=now, duration_s=LEASE_S):
            self._summaries.advance(now)

    async def _give_back(self) -> None:
        if not self._thread.is_used:
            return
        try:
            async with asyncio.timeout(CLOSE_LIMIT_S):
                await self._thread.run(
                    partial(release_lease, LEASE, self._runtime.pulse.worker)
                )
        except (TimeoutError, *DATABASE_AWAY):
            return  # it runs out by itself

    def _summarise(
        self,
        model: str,
        prompt_messages: list[dict[str, str]],
        *,
        max_tokens: int,
        tenant_id: int,
    ) -> str:
        """Ask, from the thread, in the event loop; raises whatever the chat raises."""
        assert self._loop is not None
        body = {"model": model, "messages": prompt_messages, "max_tokens": max_tokens}
        self._asked = asyncio.run_coroutine_threadsafe(
            self._answer(orjson.dumps(body), tenant_id), self._loop
        )
        return self._asked.result()

    async def _answer(self, body: bytes, tenant_id: int) -> str:
        runtime = self._runtime
        context = Context(
            request_id=new_request_id(),
            operation=Operation.CHAT,
            principal=self._principal(tenant_id),
            snapshot=runtime.snapshots.current,
            dispatcher=runtime.dispatcher,
            limiter=runtime.limiter,
            ledger=runtime.ledger,
        )
        async with asyncio.timeout(ANSWER_LIMIT_S):
            whole = await chat.complete(parse_chat(body), context)
        return read_answer(whole.body).text

    def _principal(self, tenant_id: int) -> Principal:
        tenants = self._runtime.snapshots.current.access.tenants.values()
        for tenant in tenants:
            if tenant.id == tenant_id:
                return Principal(tenant=tenant, rights=frozenset({Right.CHAT}))
        raise NotFound("The session's tenant is disabled or gone.")
