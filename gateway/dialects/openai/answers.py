"""What the model said, read from the bytes that a client gets (pure)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from gateway.dialects.sse import SseParser
from gateway.errors import UpstreamError

MAX_TEXT_CHARS = 1024 * 1024  # of one answer, and of all its tool calls together
MAX_TOOL_CALLS = 128


@dataclass(frozen=True, slots=True)
class Answer:
    """The first choice of an answer: its text and its tool calls, (name, arguments).

    A refusal is text; reasoning is left out.
    """

    text: str = field(default="", repr=False)
    tool_calls: tuple[tuple[str, str], ...] = ()

    def __bool__(self) -> bool:
        """Say whether anything was said at all."""
        return bool(self.text or self.tool_calls)


def read_answer(data: bytes) -> Answer:
    """Read a whole answer, `chat.completion`; what is not one has said nothing."""
    draft = Draft()
    draft.add(first_choice(parsed(data)).get("message"))
    return draft.answer()


class AnswerReader:
    """Reads a stream of `chat.completion.chunk` as it passes.

    Indifferent to where the bytes split; never raises. From something that is no event
    stream it reads nothing.
    """

    def __init__(self) -> None:
        """Start before the first byte."""
        self._parser = SseParser()
        self._draft = Draft()

    def feed(self, data: bytes) -> None:
        """Take what the client gets."""
        try:
            events = self._parser.feed(data)
        except UpstreamError:  # an event of more than 1 MiB
            return
        for event in events:
            self._draft.add(first_choice(parsed(event.data)).get("delta"))

    def answer(self) -> Answer:
        """Give what was said so far."""
        return self._draft.answer()


class Draft:
    """An answer that grows, up to its limits."""

    def __init__(self) -> None:
        """Begin empty."""
        self._text: list[str] = []
        self._room = MAX_TEXT_CHARS
        self._calls: dict[int, tuple[str, list[str]]] = {}
        self._calls_room = MAX_TEXT_CHARS

    def add(self, said: object) -> None:
        """Add a message, or a delta of one."""
        if not isinstance(said, dict):
            return
        self._add_text(said.get("content"))
        self._add_text(said.get("refusal"))
        calls = said.get("tool_calls")
        for position, call in enumerate(calls if isinstance(calls, list) else ()):
            if isinstance(call, dict):
                index = call.get("index", position)
                self._add_call(index, call.get("function") or call.get("custom"))
        self._add_call(-1, said.get("function_call"))

    def _add_text(self, text: object) -> None:
        if isinstance(text, str) and text and self._room:
            self._text.append(text[: self._room])
            self._room -= len(self._text[-1])

    def _add_call(self, index: object, function: object) -> None:
        if not isinstance(function, dict) or type(index) is not int:
            return
        if index not in self._calls and len(self._calls) >= MAX_TOOL_CALLS:
            return
        name, pieces = self._calls.get(index, ("", []))
        given, arguments = function.get("name"), function.get("arguments")
        if arguments is None:
            arguments = function.get("input")  # of a custom tool
        if isinstance(given, str):
            name += given
        if isinstance(arguments, str):
            pieces.append(arguments[: self._calls_room])
            self._calls_room -= len(pieces[-1])
        self._calls[index] = name, pieces

    def answer(self) -> Answer:
        """Give what there is; a call without a name is none."""
        calls = [self._calls[index] for index in sorted(self._calls)]
        return Answer(
            "".join(self._text),
            tuple((name, "".join(pieces)) for name, pieces in calls if name),
        )


def parsed(data: bytes) -> Mapping[str, Any]:
    """Parse a JSON object; anything else is an empty one."""
    try:
        body = orjson.loads(data)
    except ValueError:  # `[DONE]`, for one
        return {}
    return body if isinstance(body, dict) else {}


def first_choice(body: Mapping[str, Any]) -> Mapping[str, Any]:
    """Find the choice with index 0; empty if there is none."""
    choices = body.get("choices")
    for choice in choices if isinstance(choices, list) else ():
        if isinstance(choice, dict) and not choice.get("index"):
            return choice
    return {}
