"""A chat's session: what is recalled before it, and what is kept of it afterwards."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from gateway.context import Context
from gateway.dialects.openai.answers import Answer, AnswerReader
from gateway.dialects.openai.request import ChatCall
from gateway.kinds import Right
from gateway.remembering import MemoryUnavailable, Remembering
from gateway.snapshot import Model
from memory.config import Policy
from memory.exchange import Exchanged, RecallRequest, RecallStatus, Recollection


@dataclass(slots=True)
class ChatSession:
    """The session of one chat. `call` is the client's own, as it came."""

    call: ChatCall
    context: Context
    memory: Remembering
    policy: Policy
    model: Model
    is_written: bool
    _reader: AnswerReader = field(default_factory=AnswerReader)
    _is_kept: bool = False

    async def recall(self, *, room_tokens: int | None) -> Recollection:
        """Give what its session remembers of the call; never raises: `check` does.

        `room_tokens` is what the model's context has left for it, None when unknown.
        """
        recollection = await self.memory.recall(
            RecallRequest(
                scope=self.context.scope,
                session_id=self.context.session_id,
                messages=self.call.messages,
                policy=self.policy,
                room_tokens=room_tokens,
                request_id=self.context.request_id,
                is_retry=self.context.is_client_retry,
                now_s=unix_now_s(),
            )
        )
        self.context.memory_status = recollection.status
        return recollection

    def check(self, recollection: Recollection) -> None:
        """Let a chat go on with what was recalled.

        Raises:
            MemoryUnavailable: It cannot be read now, and the policy requires it.

        """
        if recollection.status is RecallStatus.DEGRADED and self.policy.is_required:
            raise MemoryUnavailable(
                "This request needs its session's memory, which cannot be read now. "
                "Send it again."
            )

    def hear(self, chunk: bytes) -> None:
        """Take note of what the client gets of a stream."""
        if self.is_written:
            self._reader.feed(chunk)

    async def keep_heard(self) -> None:
        """Keep the exchange of a stream that is whole."""
        await self.keep(self._reader.answer())

    async def keep(self, answer: Answer) -> None:
        """Keep the exchange; where others serve, wait a moment until they see it."""
        if self.is_written and not self._is_kept:
            self._is_kept = True
            await self.memory.write_visibly(self._exchanged(answer, is_partial=False))

    def keep_part(self) -> None:
        """Keep what a client has heard that has left, unless that is nothing."""
        if not self.is_written or self._is_kept:
            return
        self._is_kept = True
        if answer := self._reader.answer():
            self.memory.write(self._exchanged(answer, is_partial=True))

    def _exchanged(self, answer: Answer, *, is_partial: bool) -> Exchanged:
        served = self.context.trace.deployment
        return Exchanged(
            scope=self.context.scope,
            session_id=self.context.session_id,
            policy=self.policy,
            messages=self.call.messages,
            answer=answer.text,
            tool_calls=answer.tool_calls,
            model=self.model.name if served is None else served.model,
            request_id=self.context.request_id,
            is_retry=self.context.is_client_retry,
            is_partial=is_partial,
            at_s=unix_now_s(),
        )


def session_of(call: ChatCall, context: Context) -> ChatSession | None:
    """Open the session of a chat that has a task.

    None where nothing is remembered: no session is named, memory is off, here or by the
    policy, or the key lacks the right. The chat goes on without.
    """
    memory, model = context.memory, context.model
    if not context.session_id or memory is None or model is None:
        return None
    principal = context.principal
    if Right.MEMORY not in principal.rights:
        return None
    key_id = None if principal.key is None else principal.key.row_id
    policy = context.snapshot.memory.of(model=model.name, key_id=key_id)
    if not policy.is_enabled:
        return None
    return ChatSession(
        call=call,
        context=context,
        memory=memory,
        policy=policy,
        model=model,
        is_written=call.body.get("store") is not False,
    )


def unix_now_s() -> float:
    """Give the time for what is stored."""
    return time.time()  # noqa: TID251 - a timestamp
