"""The internal record as OpenAI writes it: whole answers and stream chunks (pure)."""

from __future__ import annotations

import base64
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from gateway.dialects.record import (
    ChatResponse,
    EmbeddingsResponse,
    Finished,
    Ping,
    ReasoningDelta,
    RefusalDelta,
    StreamEvent,
    TextDelta,
    ThinkingBlock,
    ToolArgumentsDelta,
    ToolCallStart,
    Usage,
    UsageUpdate,
)
from gateway.kinds import FinishReason


def usage_object(usage: Usage) -> dict[str, Any]:
    """Write usage with OpenAI's inclusive counts."""
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.total_tokens,
        "prompt_tokens_details": {
            "cached_tokens": usage.cache_read_tokens,
            "cache_write_tokens": usage.cache_write_tokens
            + usage.cache_write_1h_tokens,
            "audio_tokens": usage.audio_input_tokens,
        },
        "completion_tokens_details": {
            "reasoning_tokens": usage.reasoning_tokens,
            "audio_tokens": usage.audio_output_tokens,
        },
    }


@dataclass(frozen=True, slots=True)
class Envelope:
    """What an answer of ours carries, whoever gave it; `model` is what was asked for."""

    answer_id: str
    model: str
    created_s: int  # unix seconds


def encode_chat(response: ChatResponse, envelope: Envelope, usage: Usage) -> bytes:
    """Write a whole answer."""
    message: dict[str, Any] = {
        "role": "assistant",
        "content": response.text,
        "refusal": response.refusal,
    }
    if response.tool_calls:
        message["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments},
            }
            for call in response.tool_calls
        ]
    if response.reasoning:
        message["reasoning_content"] = response.reasoning
    if response.thinking_blocks:
        message["thinking_blocks"] = [dict(block) for block in response.thinking_blocks]
    return orjson.dumps(
        {
            "id": envelope.answer_id,
            "object": "chat.completion",
            "created": envelope.created_s,
            "model": envelope.model,
            "choices": [
                {
                    "index": 0,
                    "message": message,
                    "logprobs": response.logprobs,
                    "finish_reason": response.finish_reason,
                }
            ],
            "usage": usage_object(usage),
        }
    )


def encode_embeddings(
    response: EmbeddingsResponse, *, model: str, usage: Usage, as_base64: bool
) -> bytes:
    """Write vectors as lists of numbers, or as base64 of little-endian floats."""
    data = [
        {
            "object": "embedding",
            "index": index,
            "embedding": packed(vector) if as_base64 else list(vector),
        }
        for index, vector in enumerate(response.vectors)
    ]
    tokens = usage.prompt_tokens
    return orjson.dumps(
        {
            "object": "list",
            "data": data,
            "model": model,
            "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
        }
    )


def packed(vector: tuple[float, ...]) -> str:
    """Pack a vector as OpenAI's base64 encoding format has it."""
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()


def error_event(envelope: Envelope, *, message: str, code: str) -> bytes:
    """Write the one event that ends a broken stream; no `[DONE]` follows it.

    A chunk with an `error` key: OpenAI's SDK raises on it, where a stream that simply
    ends would be taken for a whole answer. OpenRouter's shape.
    """
    body = {
        "id": envelope.answer_id,
        "object": "chat.completion.chunk",
        "created": envelope.created_s,
        "model": envelope.model,
        "error": {
            "message": message,
            "type": "server_error",
            "param": None,
            "code": code,
        },
        "choices": [{"index": 0, "delta": {}, "finish_reason": "error"}],
    }
    return b"data: " + orjson.dumps(body) + b"\n\n"


def tool_delta(event: ToolCallStart | ToolArgumentsDelta) -> dict[str, Any]:
    """Write the beginning of a tool call, or more of its arguments."""
    if isinstance(event, ToolArgumentsDelta):
        return {"index": event.index, "function": {"arguments": event.text}}
    return {
        "index": event.index,
        "id": event.id,
        "type": "function",
        "function": {"name": event.name, "arguments": ""},
    }


def side_delta(event: ReasoningDelta | RefusalDelta | ThinkingBlock) -> dict[str, Any]:
    """Write what a model says beside its answer."""
    match event:
        case ReasoningDelta():
            return {"reasoning_content": event.text}
        case RefusalDelta():
            return {"refusal": event.text}
        case ThinkingBlock():
            return {"thinking_blocks": [dict(event.block)]}


class ChunkEncoder:
    """Writes the events of one streamed answer as OpenAI's chunks.

    All chunks share id, time and model. With `include_usage` every chunk but the last
    says `"usage": null`.
    """

    def __init__(self, envelope: Envelope, *, include_usage: bool) -> None:
        """Write the part that all chunks share, once."""
        head = {
            "id": envelope.answer_id,
            "object": "chat.completion.chunk",
            "created": envelope.created_s,
            "model": envelope.model,
        }
        self._head = orjson.dumps(head)[:-1]
        self._include_usage = include_usage
        self._tail = b',"usage":null}\n\n' if include_usage else b"}\n\n"
        self._has_started = False
        self._has_tools = False
        self._reason: FinishReason | None = None

    @property
    def finish_reason(self) -> FinishReason | None:
        """Why the model stopped, computed from what was emitted."""
        if self._reason is FinishReason.STOP and self._has_tools:
            return FinishReason.TOOL_CALLS
        return self._reason

    def encode(self, event: StreamEvent) -> bytes:
        """Write one event; empty for what OpenAI has no chunk for."""
        match event:
            case TextDelta():
                return self._chunk({"content": event.text}, logprobs=event.logprobs)
            case Ping():
                return b": ping\n\n"
            case UsageUpdate():
                return b""
            case Finished():
                self._reason = event.reason
                return b""
            case ToolCallStart() | ToolArgumentsDelta():
                self._has_tools = True
                return self._chunk({"tool_calls": [tool_delta(event)]})
            case ReasoningDelta() | RefusalDelta() | ThinkingBlock():
                return self._chunk(side_delta(event))

    def end(self, usage: Usage) -> bytes:
        """Write the finish chunk, the usage chunk if asked for, and the mark."""
        parts = [self._chunk({}, finish_reason=self.finish_reason or FinishReason.STOP)]
        if self._include_usage:
            counts = orjson.dumps(usage_object(usage))
            parts.append(
                b"data: " + self._head + b',"choices":[],"usage":' + counts + b"}\n\n"
            )
        parts.append(b"data: [DONE]\n\n")
        return b"".join(parts)

    def _chunk(
        self,
        delta: Mapping[str, Any],
        *,
        finish_reason: FinishReason | None = None,
        logprobs: Mapping[str, Any] | None = None,
    ) -> bytes:
        opening = b""
        if not self._has_started:
            self._has_started = True
            opening = self._chunk({"role": "assistant", "content": ""})
        choice = {
            "index": 0,
            "delta": delta,
            "logprobs": logprobs,
            "finish_reason": finish_reason,
        }
        body = orjson.dumps([choice])
        return opening + b"data: " + self._head + b',"choices":' + body + self._tail
