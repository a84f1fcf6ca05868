"""The internal record of a chat: what every dialect translates to and from (pure)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from gateway.kinds import FinishReason


class Role(StrEnum):
    """Who said a message; `developer` is folded into SYSTEM."""

    SYSTEM = "system"
    USER = "user"
    ASSISTANT = "assistant"
    TOOL = "tool"


@dataclass(frozen=True, slots=True)
class Text:
    """A piece of text."""

    text: str


@dataclass(frozen=True, slots=True)
class Image:
    """An image: either base64 `data` with its `media_type`, or an http(s) `url`."""

    media_type: str | None = None
    data: str | None = field(default=None, repr=False)
    url: str | None = None


@dataclass(frozen=True, slots=True)
class Audio:
    """Base64 audio; `format` as OpenAI names it (`wav`, `mp3`)."""

    format: str
    data: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class File:
    """A document: base64 `data` with `media_type`, or a vendor's `file_id`."""

    filename: str | None = None
    media_type: str | None = None
    data: str | None = field(default=None, repr=False)
    file_id: str | None = None


Part = Text | Image | Audio | File


@dataclass(frozen=True, slots=True)
class ToolCall:
    """One call of a tool; `arguments` is JSON text exactly as it came."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Message:
    """One message.

    `tool_call_id` is set on TOOL messages. `thinking_blocks` are opaque vendor blocks that
    the client echoes back; they go before tool calls, untouched.
    """

    role: Role
    parts: tuple[Part, ...] = ()
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None
    name: str | None = None
    reasoning: str | None = None
    thinking_blocks: tuple[Mapping[str, object], ...] = ()
    refusal: str | None = None

    @property
    def text(self) -> str:
        """The text parts, joined by newlines."""
        return "\n".join(part.text for part in self.parts if isinstance(part, Text))


@dataclass(frozen=True, slots=True)
class Tool:
    """A function the model may call; `parameters` is a JSON schema."""

    name: str
    description: str | None = None
    parameters: Mapping[str, object] | None = None
    strict: bool | None = None


class ToolMode(StrEnum):
    """How free the model is to call tools."""

    AUTO = "auto"
    NONE = "none"
    REQUIRED = "required"
    NAMED = "named"


@dataclass(frozen=True, slots=True)
class ToolChoice:
    """`name` is set when the mode is NAMED."""

    mode: ToolMode
    name: str | None = None


@dataclass(frozen=True, slots=True)
class JsonFormat:
    """Ask for JSON: any object when `schema` is None, else one that satisfies it."""

    schema: Mapping[str, object] | None = None
    name: str = "answer"
    description: str | None = None
    strict: bool | None = None


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """A chat request in nobody's wire format; None = the client did not say.

    `extras` are fields without a place here, by the inbound dialect's names: a dialect
    that cannot express one reports it as dropped or raises.
    """

    messages: tuple[Message, ...]
    tools: tuple[Tool, ...] = ()
    tool_choice: ToolChoice | None = None
    parallel_tool_calls: bool | None = None
    json_format: JsonFormat | None = None
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    seed: int | None = None
    stop: tuple[str, ...] = ()
    choices: int = 1
    logprobs: bool = False
    top_logprobs: int | None = None
    user: str | None = None
    reasoning_effort: str | None = None  # none, minimal, low, medium, high, xhigh, max
    service_tier: str | None = None
    stream: bool = False
    extras: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens in disjoint buckets: each token is in exactly one.

    `is_estimated` marks figures that no provider reported.
    """

    input_tokens: int = 0  # neither cached nor audio
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0  # kept for the usual few minutes
    cache_write_1h_tokens: int = 0  # kept for an hour
    audio_input_tokens: int = 0
    output_tokens: int = 0  # neither reasoning nor audio
    reasoning_tokens: int = 0
    audio_output_tokens: int = 0
    is_estimated: bool = False

    @property
    def prompt_tokens(self) -> int:
        """Everything that went in: OpenAI's inclusive count."""
        return (
            self.input_tokens
            + self.cache_read_tokens
            + self.cache_write_tokens
            + self.cache_write_1h_tokens
            + self.audio_input_tokens
        )

    @property
    def completion_tokens(self) -> int:
        """Everything that came out: OpenAI's inclusive count."""
        return self.output_tokens + self.reasoning_tokens + self.audio_output_tokens

    @property
    def total_tokens(self) -> int:
        """Everything, in and out."""
        return self.prompt_tokens + self.completion_tokens


@dataclass(frozen=True, slots=True)
class ChatResponse:
    """One whole answer with one choice."""

    text: str | None
    finish_reason: FinishReason
    usage: Usage | None
    tool_calls: tuple[ToolCall, ...] = ()
    reasoning: str | None = None
    thinking_blocks: tuple[Mapping[str, object], ...] = ()
    refusal: str | None = None
    upstream_id: str | None = None
    upstream_model: str | None = None
    logprobs: Mapping[str, object] | None = None  # OpenAI's `choices[].logprobs` object


# What a stream decoder yields, in order of arrival.


@dataclass(frozen=True, slots=True)
class TextDelta:
    """More answer text; never empty."""

    text: str
    logprobs: Mapping[str, object] | None = None


@dataclass(frozen=True, slots=True)
class ReasoningDelta:
    """More reasoning text; never empty."""

    text: str


@dataclass(frozen=True, slots=True)
class ThinkingBlock:
    """One finished vendor block, with its signature, for the client to echo back."""

    block: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class RefusalDelta:
    """More of the text in which the model refuses; never empty."""

    text: str


@dataclass(frozen=True, slots=True)
class ToolCallStart:
    """A tool call begins; `index` counts tool calls from 0."""

    index: int
    id: str
    name: str


@dataclass(frozen=True, slots=True)
class ToolArgumentsDelta:
    """More JSON text of the arguments of call `index`."""

    index: int
    text: str


@dataclass(frozen=True, slots=True)
class UsageUpdate:
    """Usage as known by now; replaces every earlier one."""

    usage: Usage


@dataclass(frozen=True, slots=True)
class Finished:
    """The model stopped; usage may still follow."""

    reason: FinishReason


@dataclass(frozen=True, slots=True)
class Ping:
    """A sign of life without content."""


StreamEvent = (
    TextDelta
    | ReasoningDelta
    | ThinkingBlock
    | RefusalDelta
    | ToolCallStart
    | ToolArgumentsDelta
    | UsageUpdate
    | Finished
    | Ping
)


@dataclass(frozen=True, slots=True)
class EmbeddingsRequest:
    """Texts to embed; token-id inputs stay in `body` and reach only same-dialect."""

    texts: tuple[str, ...]
    dimensions: int | None = None


@dataclass(frozen=True, slots=True)
class EmbeddingsResponse:
    """One vector a text, in order."""

    vectors: tuple[tuple[float, ...], ...]
    usage: Usage | None


@dataclass(frozen=True, slots=True)
class UpstreamModel:
    """A model that a provider says it has; capabilities as far as it says."""

    name: str
    capabilities: Mapping[str, object] = field(default_factory=dict)
    context_window: int | None = None
