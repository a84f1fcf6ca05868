"""The stream of `/api/chat`: newline-delimited JSON, decoded as it arrives."""

from __future__ import annotations

from collections.abc import Iterator

from gateway.dialects.base import Built
from gateway.dialects.faults import invalid_response
from gateway.dialects.ollama.answer import (
    finish_reason,
    is_single_tool_call,
    read_line,
    read_logprobs,
    read_text,
    read_tool_calls,
    read_usage,
)
from gateway.dialects.record import (
    Finished,
    ReasoningDelta,
    StreamEvent,
    TextDelta,
    ToolArgumentsDelta,
    ToolCallStart,
    UsageUpdate,
)

MAX_LINE_BYTES = 1024 * 1024


class OllamaChatDecoder:
    """Decodes one answer; implements `gateway.dialects.base.ChatDecoder`."""

    def __init__(self, built: Built) -> None:
        """Start before the first byte of the answer to `built`."""
        self.is_finished = False
        self._is_single_tool_call = is_single_tool_call(built)
        self._tail = bytearray()
        self._tool_calls = 0

    def feed(self, data: bytes) -> Iterator[StreamEvent]:
        """Yield what became known; what follows the last line of an answer is ignored.

        Raises:
            UpstreamError: By the text of an `error` line; INVALID_RESPONSE for anything
                that is not Ollama's format, a line over 1 MiB included.

        """
        for line in self._lines(data):
            if line.strip():
                yield from self._decode(line)

    def _lines(self, data: bytes) -> Iterator[bytes]:
        """Cut off the whole lines; only new bytes are searched for their end."""
        if self.is_finished:
            return
        searched = len(self._tail)
        self._tail += data
        while (end := self._tail.find(b"\n", searched)) >= 0:
            line = bytes(self._tail[:end])
            del self._tail[: end + 1]
            searched = 0
            if len(line) > MAX_LINE_BYTES:
                raise invalid_response("a line is longer than 1 MiB")
            yield line
        if len(self._tail) > MAX_LINE_BYTES:
            raise invalid_response("a line is longer than 1 MiB")

    def _decode(self, line: bytes) -> Iterator[StreamEvent]:
        if self.is_finished:
            return
        answer = read_line(line)
        is_done = answer.get("done") is True
        message = answer.get("message")
        if isinstance(message, dict):
            if thinking := read_text(message, "thinking"):
                yield ReasoningDelta(thinking)
            if text := read_text(message, "content"):
                yield TextDelta(text, read_logprobs(answer.get("logprobs")))
            yield from self._decode_tool_calls(message, answer.get("created_at"))
        elif not is_done:
            raise invalid_response("'message' is not an object")
        if is_done:
            self.is_finished = True
            if (usage := read_usage(answer)) is not None:
                yield UsageUpdate(usage)
            yield Finished(finish_reason(answer, has_tool_calls=self._tool_calls > 0))

    def _decode_tool_calls(
        self, message: dict[str, object], seed: object
    ) -> Iterator[StreamEvent]:
        calls = read_tool_calls(message, seed=seed, first_index=self._tool_calls)
        for call in calls:
            if self._is_single_tool_call and self._tool_calls > 0:
                return
            index = self._tool_calls
            self._tool_calls += 1
            yield ToolCallStart(index, call.id, call.name)
            yield ToolArgumentsDelta(index, call.arguments)
