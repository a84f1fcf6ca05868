"""A chat's session: what is recalled before it, and what is kept of it afterwards."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from gateway.context import Context
from gateway.dialects.openai.answers import Answer, AnswerReader
from gateway.dialects.openai.request import ChatCall
from gateway.kinds import Right
from gateway.remembering import MemoryUnavailable, Remembering
from gateway.routing.needs import EXPECTED_OUTPUT_TOKENS, Needs
from gateway.snapshot import Model
from memory.config import CONTEXT_SHARE, Policy
from memory.exchange import Exchanged, RecallRequest, RecallStatus
from rag.scope import Scope

WINDOW_MARGIN = 0.05  # of a context window, because tokens are estimated


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

    async def recall(self) -> ChatCall:
        """Give the call with what its session remembers woven in.

        Raises:
            MemoryUnavailable: It cannot be read now, and the policy requires it.

        """
        recollection = await self.memory.recall(
            RecallRequest(
                scope=self._scope(),
                session_id=self.context.session_id,
                messages=self.call.messages,
                policy=self.policy,
                room_tokens=room_tokens(self.model, self.call.needs),
                request_id=self.context.request_id,
                is_retry=self.context.is_client_retry,
                now_s=unix_now_s(),
            )
        )
        self.context.memory_status = recollection.status
        if recollection.status is RecallStatus.DEGRADED and self.policy.is_required:
            raise MemoryUnavailable(
                "This request needs its session's memory, which cannot be read now. "
                "Send it again."
            )
        if recollection.messages is None:
            return self.call
        return self.call.with_messages(recollection.messages)

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
            scope=self._scope(),
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

    def _scope(self) -> Scope:
        principal = self.context.principal
        if principal.key is None:
            return Scope(principal.tenant.id)
        key = principal.key
        return Scope(principal.tenant.id, key.public_id, key.collections)


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


def room_tokens(model: Model, needs: Needs) -> int | None:
    """Give the tokens that may be added for the smallest context that takes the prompt.

    None where no context window is known.
    """
    windows = [
        deployment.context_window
        for deployment in model.deployments
        if deployment.context_window is not None
        and deployment.capabilities.chat is not False
    ]
    if not windows:
        return None
    output_tokens = needs.max_tokens or EXPECTED_OUTPUT_TOKENS
    taken = needs.prompt_tokens + output_tokens
    left = {window: int(window * (1 - WINDOW_MARGIN)) - taken for window in windows}
    fitting = [window for window in windows if left[window] > 0]
    window = min(fitting or windows)
    return max(min(left[window], int(window * CONTEXT_SHARE)), 0)


def unix_now_s() -> float:
    """Give the time for what is stored."""
    return time.time()  # noqa: TID251 - a timestamp
