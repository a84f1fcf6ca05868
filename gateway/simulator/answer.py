"""What a simulated model says, whichever vendor's format it is asked in. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import orjson

from gateway.simulator.plan import Behaviour
from gateway.simulator.schema import example_of

CHARS_PER_TOKEN = 4
_ECHO_CHARS = 200
_IMAGE_TOKENS = 85
_FILLER = "simulated "
_BOTH = re.compile(r"\bboth\b", re.IGNORECASE)
_TOOL = re.compile(r"\btools?\b", re.IGNORECASE)


class Finish(StrEnum):
    """Why the answer ends, in OpenAI's words where it has one."""

    STOP = "stop"
    STOP_SEQUENCE = "stop_sequence"
    LENGTH = "length"
    TOOL_CALLS = "tool_calls"


class ToolChoice(StrEnum):
    """What the request says about tools; NAMED goes with `Ask.named_tool`."""

    NONE = "none"
    AUTO = "auto"
    REQUIRED = "required"
    NAMED = "named"


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool on offer; `schema` is the JSON schema of its arguments."""

    name: str
    schema: object


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call of a tool with arguments that satisfy its schema."""

    name: str
    arguments: dict[str, Any]

    @property
    def arguments_json(self) -> str:
        """Give the arguments as JSON text."""
        return orjson.dumps(self.arguments).decode()


@dataclass(frozen=True, slots=True)
class Ask:
    """A chat request without its wire format.

    `tool_results` are those that end the conversation, in order, and empty when
    something else was said last. `schema` (or `wants_json`) asks for JSON text.
    `max_tokens` None is unlimited.
    """

    model: str
    last_user_text: str
    input_tokens: int
    tool_results: tuple[str, ...] = ()
    tools: tuple[Tool, ...] = ()
    tool_choice: ToolChoice = ToolChoice.AUTO
    named_tool: str = ""
    allows_parallel_calls: bool = True
    wants_json: bool = False
    schema: object = None
    wants_thinking: bool = False
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole answer; either text or calls, thinking before either.

    `stop_sequence` is the one that ended the text, when one did.
    """

    text: str
    calls: tuple[ToolCall, ...]
    thinking: str
    finish: Finish
    stop_sequence: str | None = None
    in_one_piece: bool = False

    @property
    def text_pieces(self) -> list[str]:
        """The text as a stream carries it, one piece an event."""
        return [self.text] if self.in_one_piece else pieces(self.text)

    @property
    def thinking_tokens(self) -> int:
        """Tokens of the reasoning, a part of `output_tokens`."""
        return count_tokens(self.thinking)

    @property
    def output_tokens(self) -> int:
        """Tokens of everything the model wrote."""
        calls = sum(count_tokens(c.name + c.arguments_json) for c in self.calls)
        return count_tokens(self.text) + calls + self.thinking_tokens


def count_tokens(text: str) -> int:
    """Count one token per four characters, a started one as a whole."""
    return -(-len(text) // CHARS_PER_TOKEN)


def pieces(text: str) -> list[str]:
    """Cut the text into its tokens; together they are the text."""
    return [
        text[start : start + CHARS_PER_TOKEN]
        for start in range(0, len(text), CHARS_PER_TOKEN)
    ]


def count_content(content: object) -> int:
    """Count the tokens of any message content: text, parts, an image at 85."""
    if isinstance(content, str):
        return count_tokens(content)
    if isinstance(content, list):
        return sum(count_content(part) for part in content)
    if not isinstance(content, Mapping):
        return 0
    if content.get("type") in ("image_url", "image"):  # a schema's type may be a list
        return _IMAGE_TOKENS
    return sum(count_content(v) for k, v in content.items() if k != "type")


def compose(ask: Ask, behaviour: Behaviour) -> Reply:
    """Answer a request, always the same for the same request and behaviour."""
    thinking = _thinking(ask) if ask.wants_thinking else ""
    if calls := choose_calls(ask):
        return Reply("", calls, thinking, Finish.TOOL_CALLS)
    text, stopped_by = _cut_at_stop(_text(ask, behaviour), ask.stop)
    finish = Finish.STOP if stopped_by is None else Finish.STOP_SEQUENCE
    if ask.max_tokens is not None:
        thinking = thinking[: ask.max_tokens * CHARS_PER_TOKEN]
        left = ask.max_tokens - count_tokens(thinking)
        if count_tokens(text) > left:
            text, finish, stopped_by = (
                text[: left * CHARS_PER_TOKEN],
                Finish.LENGTH,
                None,
            )
    return Reply(text, (), thinking, finish, stopped_by, behaviour.in_one_piece)


def choose_calls(ask: Ask) -> tuple[ToolCall, ...]:
    """Pick the tools to call; none means that the answer is text.

    Forced: the named tool, or what the last message asks for, or the first one.
    Unforced: tools named in the last user message, or the first one when the message
    says "tool"; with the word "both" two calls. Never right after tool results.
    """
    if not ask.tools or ask.tool_choice is ToolChoice.NONE:
        return ()
    if ask.tool_choice is ToolChoice.NAMED:
        tools = [tool for tool in ask.tools if tool.name == ask.named_tool]
    elif ask.tool_choice is ToolChoice.REQUIRED:
        tools = _asked_for(ask) or [ask.tools[0]]
    else:
        tools = [] if ask.tool_results else _asked_for(ask)
    if not ask.allows_parallel_calls:
        tools = tools[:1]
    return tuple(ToolCall(tool.name, _arguments(tool)) for tool in tools)


def _asked_for(ask: Ask) -> list[Tool]:
    text = ask.last_user_text
    named = [tool for tool in ask.tools if tool.name and tool.name in text]
    if not named and not _TOOL.search(text):
        return []
    if len(named) > 1 or not _BOTH.search(text):
        return named or [ask.tools[0]]
    return named * 2 or [*ask.tools[:2]]


def _arguments(tool: Tool) -> dict[str, Any]:
    value = example_of(tool.schema)
    return value if isinstance(value, dict) else {}


def _thinking(ask: Ask) -> str:
    return f"This is simulated reasoning about: {ask.last_user_text[:_ECHO_CHARS]}"


def _text(ask: Ask, behaviour: Behaviour) -> str:
    if behaviour.answer_text is not None:
        return behaviour.answer_text
    if behaviour.answer_tokens is not None:
        length = behaviour.answer_tokens * CHARS_PER_TOKEN
        return (_FILLER * (length // len(_FILLER) + 1))[:length]
    if ask.schema is not None:
        return orjson.dumps(example_of(ask.schema)).decode()
    echo = ask.last_user_text[:_ECHO_CHARS]
    if ask.wants_json:
        return orjson.dumps({"answer": "simulated", "echo": echo}).decode()
    if ask.tool_results:
        results = "; ".join(result[:_ECHO_CHARS] for result in ask.tool_results)
        return f"This is a simulated answer. The tool said: {results}"
    return f"This is a simulated answer from {ask.model}. You said: {echo}"


def _cut_at_stop(text: str, stop: tuple[str, ...]) -> tuple[str, str | None]:
    found = [(text.find(word), word) for word in stop if word and word in text]
    if not found:
        return text, None
    position, word = min(found, key=lambda match: match[0])
    return text[:position], word
