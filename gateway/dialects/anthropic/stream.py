"""Anthropic's event stream, decoded into the record's events (pure)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import orjson

from gateway.dialects.anthropic.faults import read_stream_error
from gateway.dialects.anthropic.response import (
    Fields,
    as_fields,
    finish_reason,
    is_signed,
    is_thinking,
    optional_text,
    read_object,
    read_usage,
    refusal_of,
    required_text,
    text_of,
)
from gateway.dialects.base import Built
from gateway.dialects.faults import invalid_response
from gateway.dialects.record import (
    Finished,
    Ping,
    ReasoningDelta,
    RefusalDelta,
    StreamEvent,
    TextDelta,
    ThinkingBlock,
    ToolArgumentsDelta,
    ToolCallStart,
    UsageUpdate,
)
from gateway.dialects.sse import SseParser

# The delta that belongs to each kind of block: in another one it would be garbage.
_BLOCK_OF_DELTA: Mapping[str, str] = {
    "text_delta": "text",
    "thinking_delta": "thinking",
    "signature_delta": "thinking",
    "input_json_delta": "tool_use",
}
# Others, which the vendor may add at any time, are not even parsed.
_EVENTS = frozenset(
    {
        "message_start",
        "content_block_start",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
        "ping",
        "error",
    }
)
_KNOWN_BLOCKS = frozenset(_BLOCK_OF_DELTA.values())


@dataclass(slots=True)
class _Block:
    """A content block that is open; `call` is the index of its tool call.

    `call` is None for blocks that are no calls, and for the tool that stands in for a
    JSON schema, which `is_answer` marks.
    """

    start: Fields
    call: int | None = None
    is_answer: bool = False
    has_input: bool = False
    thinking: list[str] = field(default_factory=list)
    signature: list[str] = field(default_factory=list)

    @property
    def kind(self) -> str:
        return str(self.start.get("type"))


class AnthropicDecoder:
    """Decodes one streamed answer; see `gateway.dialects.base.ChatDecoder`."""

    def __init__(self, built: Built) -> None:
        """`built` is what `build_chat` returned for this request."""
        self.is_finished = False
        self._built = built
        self._parser = SseParser()
        self._is_started = False
        self._blocks: dict[int, _Block] = {}
        self._calls = 0
        self._has_answer = False
        self._held: list[str] = []
        self._usage: dict[str, object] = {}
        self._has_stopped = False

    def feed(self, data: bytes) -> Iterator[StreamEvent]:
        """Yield what became known; raises as the protocol says."""
        for event in self._parser.feed(data):
            if self.is_finished:
                return
            if event.data and (event.event is None or event.event in _EVENTS):
                payload = read_object(event.data)
                yield from self._read(text_of(payload, "type"), payload)

    def _read(self, kind: str, payload: Fields) -> Iterator[StreamEvent]:
        if kind == "ping":
            yield Ping()
        elif kind == "error":
            raise read_stream_error(payload)
        elif kind == "message_start":
            yield from self._start(payload)
        elif kind in ("message_delta", "message_stop") or kind.startswith("content_"):
            if not self._is_started:
                raise invalid_response("it does not begin with message_start")
            yield from self._read_started(kind, payload)

    def _read_started(self, kind: str, payload: Fields) -> Iterator[StreamEvent]:
        match kind:
            case "content_block_start":
                yield from self._open(payload)
            case "content_block_delta":
                yield from self._delta(payload)
            case "content_block_stop":
                yield from self._close(self._blocks.pop(self._index(payload)))
            case "message_delta":
                yield from self._message_delta(payload)
            case "message_stop":
                yield from self._stop(None)
                self.is_finished = True
            case _:
                pass  # newer than this decoder

    def _start(self, payload: Fields) -> Iterator[StreamEvent]:
        if self._is_started:
            raise invalid_response("it begins twice")
        self._is_started = True
        message = as_fields(payload.get("message"), "message")
        yield from self._count(message.get("usage"))

    def _count(self, usage: object) -> Iterator[StreamEvent]:
        """Merge counts field by field: they are cumulative, and any may be left out."""
        if usage is None:
            return
        for key, value in as_fields(usage, "usage").items():
            known = self._usage.get(key)
            if isinstance(known, int) and isinstance(value, int):
                self._usage[key] = max(known, value)
            elif value is not None:
                self._usage[key] = value
        yield UsageUpdate(read_usage(self._usage))

    def _open(self, payload: Fields) -> Iterator[StreamEvent]:
        index = payload.get("index")
        if not isinstance(index, int) or index in self._blocks:
            raise invalid_response("a block has no index of its own")
        start = as_fields(payload.get("content_block"), "content_block")
        block = self._blocks[index] = _Block(start)
        if block.kind == "tool_use":
            yield from self._open_call(block)
        elif block.kind == "text" and (text := text_of(start, "text")):
            yield from self._say(text)
        elif block.kind == "thinking":
            block.signature.append(text_of(start, "signature"))
            yield from self._think(block, text_of(start, "thinking"))

    def _open_call(self, block: _Block) -> Iterator[StreamEvent]:
        name = required_text(block.start, "name")
        if name == self._built.json_tool:
            # A second answer would make the text two JSON documents.
            block.is_answer = not self._has_answer
            self._has_answer = True
            return
        block.call = self._calls
        self._calls += 1
        name = self._built.tool_names.get(name, name)
        yield ToolCallStart(block.call, required_text(block.start, "id"), name)

    def _delta(self, payload: Fields) -> Iterator[StreamEvent]:
        block = self._blocks[self._index(payload)]
        delta = as_fields(payload.get("delta"), "delta")
        kind = text_of(delta, "type")
        if block.kind not in _KNOWN_BLOCKS or kind not in _BLOCK_OF_DELTA:
            return  # of a server tool, citations, or newer than this decoder
        if block.kind != _BLOCK_OF_DELTA[kind]:
            raise invalid_response(f"a {kind} in a block of another kind")
        match kind:
            case "text_delta":
                yield from self._say(text_of(delta, "text"))
            case "thinking_delta":
                yield from self._think(block, text_of(delta, "thinking"))
            case "signature_delta":
                block.signature.append(text_of(delta, "signature"))
            case "input_json_delta":
                yield from self._argue(block, text_of(delta, "partial_json"))
            case _:
                pass

    def _close(self, block: _Block) -> Iterator[StreamEvent]:
        if block.kind == "tool_use" and not block.has_input:
            given = as_fields(block.start.get("input", {}), "a tool's input")
            yield from self._argue(block, orjson.dumps(given).decode())
        elif is_thinking(block.start):
            whole = dict(block.start)
            if block.kind == "thinking":
                whole["thinking"] = "".join(block.thinking)
                whole["signature"] = "".join(block.signature)
            if is_signed(whole):
                yield ThinkingBlock(whole)

    def _say(self, text: str) -> Iterator[StreamEvent]:
        """Pass text on, unless a JSON answer may follow, which it would spoil."""
        if text and self._built.json_tool is not None:
            self._held.append(text)
        elif text:
            yield TextDelta(text)

    def _think(self, block: _Block, text: str) -> Iterator[StreamEvent]:
        block.thinking.append(text)
        if text:
            yield ReasoningDelta(text)

    def _argue(self, block: _Block, text: str) -> Iterator[StreamEvent]:
        if not text:
            return
        block.has_input = True
        if block.is_answer:
            yield TextDelta(text)
        elif block.call is not None:
            yield ToolArgumentsDelta(block.call, text)

    def _message_delta(self, payload: Fields) -> Iterator[StreamEvent]:
        yield from self._count(payload.get("usage"))
        delta = as_fields(payload.get("delta"), "delta")
        if (reason := optional_text(delta, "stop_reason")) is not None:
            if reason == "refusal" and not self._has_stopped:
                yield RefusalDelta(refusal_of(delta))
            yield from self._stop(reason)

    def _stop(self, reason: str | None) -> Iterator[StreamEvent]:
        """Say once why the model stopped; `message_stop` alone is an end as well."""
        if self._has_stopped:
            return
        self._has_stopped = True
        if self._held and not self._has_answer:
            yield TextDelta("".join(self._held))
        yield Finished(finish_reason(reason, has_calls=self._calls > 0))

    def _index(self, payload: Fields) -> int:
        index = payload.get("index")
        if not isinstance(index, int) or index not in self._blocks:
            raise invalid_response("an event belongs to no open block")
        return index
