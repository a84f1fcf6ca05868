"""OpenAI in, OpenAI out: bytes pass, and are looked at only where they may matter (pure)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import orjson

from gateway.dialects.faults import invalid_response
from gateway.dialects.openai.errors import read_stream_error
from gateway.dialects.record import Usage
from gateway.errors import UpstreamError
from gateway.kinds import Fault

MAX_EVENT_BYTES = 1024 * 1024
MAX_STREAM_BYTES = 64 * 1024 * 1024
DONE = b"[DONE]"

# Inside JSON text a quote is escaped, so these match keys only, never an answer's words.
_NOTABLE = re.compile(
    rb'"usage"\s*:\s*\{|"error"\s*:|\[DONE\]|"finish_reason"\s*:\s*"|"choices"\s*:\s*\[\s*\]'
)
_BOUNDARY = re.compile(rb"\r?\n\r?\n")
# What a delta holds before the model has said anything.
_SILENT = frozenset({"role"})


def read_usage(usage: object) -> Usage | None:
    """Read OpenAI's inclusive counts into disjoint buckets; None if there are none.

    The buckets sum to the reported totals: details that claim more are cut.
    """
    if not isinstance(usage, dict):
        return None
    plain, (cached, written, audio_in) = _split(
        _count(usage, "prompt_tokens"),
        usage.get("prompt_tokens_details"),
        ("cached_tokens", "cache_write_tokens", "audio_tokens"),
    )
    spoken, (reasoning, audio_out) = _split(
        _count(usage, "completion_tokens"),
        usage.get("completion_tokens_details"),
        ("reasoning_tokens", "audio_tokens"),
    )
    return Usage(
        input_tokens=plain,
        cache_read_tokens=cached,
        cache_write_tokens=written,
        audio_input_tokens=audio_in,
        output_tokens=spoken,
        reasoning_tokens=reasoning,
        audio_output_tokens=audio_out,
    )


def _split(
    total: int, details: object, names: tuple[str, ...]
) -> tuple[int, tuple[int, ...]]:
    """Take the named parts out of a total, as far as it lasts; the rest goes first."""
    parts = []
    for name in names:
        part = min(_count(details, name), total) if isinstance(details, dict) else 0
        total -= part
        parts.append(part)
    return total, tuple(parts)


def _count(holder: Mapping[str, Any], name: str) -> int:
    value = holder.get(name)
    return value if isinstance(value, int) and value > 0 else 0


def finish_reason_of(body: Mapping[str, Any]) -> str | None:
    """Read the first choice's finish reason."""
    choices = body.get("choices")
    if isinstance(choices, list) and choices and isinstance(choices[0], dict):
        reason = choices[0].get("finish_reason")
        return reason if isinstance(reason, str) else None
    return None


def has_said_something(body: Mapping[str, Any]) -> bool:
    """Say whether a chunk carries content: anything a choice holds but its role."""
    choices = body.get("choices")
    if not isinstance(choices, list):
        return False
    for choice in choices:
        if not isinstance(choice, dict):
            continue
        delta = choice.get("delta")
        if choice.get("finish_reason") or choice.get("text"):
            return True
        if isinstance(delta, dict) and any(
            value for name, value in delta.items() if name not in _SILENT
        ):
            return True
    return False


class RelayedStream:
    """One stream on its way through: whole events only, without parsing each.

    The client gets the provider's bytes, but for the usage chunk when it did not ask for
    one. Indifferent to where the bytes split.
    """

    def __init__(self, *, include_usage: bool) -> None:
        """`include_usage` says whether the client asked for the usage chunk."""
        self._include_usage = include_usage
        self._tail = b""
        self._size = 0
        self._events = 0
        self.has_content = False
        self.is_finished = False
        self.error: UpstreamError | None = None
        self.usage: Usage | None = None
        self.finish_reason: str | None = None

    @property
    def output_estimate(self) -> int:
        """Tokens of output if nobody reports them: about one an event."""
        return self._events

    def feed(self, data: bytes) -> bytes:
        """Take what arrived; give what the client gets now.

        An error of the provider's stops the stream: `error` is set, and what stood
        before it is still given.
        """
        self._size += len(data)
        if self._size > MAX_STREAM_BYTES:
            self.error = invalid_response("the stream is longer than 64 MiB")
            return b""
        data = self._tail + data
        cut = max(data.rfind(b"\n\n") + 2, data.rfind(b"\n\r\n") + 3)
        if cut < 3:  # no event is complete
            self._tail = data
            if len(data) > MAX_EVENT_BYTES:
                self.error = invalid_response("an event is longer than 1 MiB")
            return b""
        complete, self._tail = data[:cut], data[cut:]
        self._events += complete.count(b"\ndata:") + complete.startswith(b"data:")
        if self.has_content and not _NOTABLE.search(complete):
            return complete
        return self._look_at(complete)

    def close(self) -> bytes:
        """Take the provider's end; set `error` unless the answer was whole."""
        if self.is_finished or self.error is not None:
            return b""
        if self._tail.strip() == b"data: " + DONE or (
            self.finish_reason is not None and not self._tail.strip()
        ):
            # Compatible servers forget the mark, or the blank line after it.
            self.is_finished = True
            return b"data: [DONE]\n\n"
        self.error = UpstreamError(
            Fault.INTERRUPTED, "The provider ended its answer before it was whole."
        )
        return b""

    def _look_at(self, complete: bytes) -> bytes:
        kept = []
        start = 0
        for boundary in _BOUNDARY.finditer(complete):
            event = complete[start : boundary.end()]
            start = boundary.end()
            if self._takes(event):
                kept.append(event)
            if self.error is not None or self.is_finished:
                break
        return b"".join(kept)

    def _takes(self, event: bytes) -> bool:
        """Take note of one event; give whether the client gets it."""
        lines = [
            line[5:].strip() for line in event.splitlines() if line.startswith(b"data:")
        ]
        if not lines:
            return True  # a comment: a sign of life
        text = b"\n".join(lines)
        if text == DONE:
            self.is_finished = self.has_content = True
            return True
        try:
            body = orjson.loads(text)
        except ValueError:
            body = None
        if not isinstance(body, dict):
            self.error = invalid_response("an event is not a JSON object")
            return False
        return self._notes(body)

    def _notes(self, body: dict[str, Any]) -> bool:
        if body.get("error") is not None:
            self.error = read_stream_error(body)
            return False
        self.usage = read_usage(body.get("usage")) or self.usage
        self.finish_reason = finish_reason_of(body) or self.finish_reason
        self.has_content = self.has_content or has_said_something(body)
        is_usage_chunk = body.get("choices") == [] and body.get("usage") is not None
        return self._include_usage or not is_usage_chunk
