"""A client's message as memory sees it, and a turn as it is stored (pure)."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

USER = "user"
ASSISTANT = "assistant"
TOOL = "tool"
# What clients call a role, and what it is here; others are not part of a conversation.
_ROLES = {USER: USER, ASSISTANT: ASSISTANT, TOOL: TOOL, "function": TOOL}

MAX_TOOL_CHARS = 2_000
CHARS_PER_TOKEN = 3.5
TOKENS_PER_MESSAGE = 4

_PLACEHOLDERS = {
    "image_url": "[image]",
    "input_image": "[image]",
    "image": "[image]",
    "input_audio": "[audio]",
    "audio": "[audio]",
    "file": "[file]",
    "input_file": "[file]",
    "document": "[file]",
    "video_url": "[video]",
    "video": "[video]",
}
_UNKNOWN_PART = "[attachment]"
_THOUGHTS = frozenset({"thinking", "redacted_thinking", "reasoning"})
# Some models think aloud at the head of their answer.
_THINKING_ALOUD = re.compile(r"\A\s*<think>.*?</think>\s*", re.DOTALL)
_SURROGATES = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Said:
    """One message: its role, what of it is kept, and how to know it again.

    `content_hash` is the same for the same role, words, tool names and arguments,
    whatever the spacing. `tokens` is an estimate. `has_text`: there are words in it, not
    only placeholders and tool calls.
    """

    role: str
    text: str
    content_hash: str
    tokens: int
    has_text: bool


@dataclass(frozen=True, slots=True)
class StoredTurn:
    """One turn of a session; `seq` counts from 1, `created_s` is Unix time."""

    uid: str
    seq: int
    role: str
    text: str
    content_hash: str
    tokens: int
    created_s: float
    is_partial: bool = False
    request_id: str = ""


def said_of(message: Mapping[str, Any]) -> Said | None:
    """Read a client's message; never raises.

    Images, sound and files become placeholders such as `[image]`, tool calls lines such
    as `called NAME(ARGS)`, a tool's result its first 2,000 characters. Thoughts are
    passed over. None for system and developer messages, which are instructions, and for
    an assistant's message with nothing in it.
    """
    given = message.get("role")
    role = _ROLES.get(given) if isinstance(given, str) else None
    if role is None:
        return None
    words, placeholders = _content(message.get("content"))
    if role != ASSISTANT:
        return _said(role, words, placeholders)
    _read_beside(message, words, placeholders)
    return _answer(words, placeholders, list(_calls(message)))


def said_in(messages: Iterable[Mapping[str, Any]]) -> tuple[Said, ...]:
    """Read a request's messages, without those that `said_of` has nothing for."""
    return tuple(said for message in messages if (said := said_of(message)))


def answer_of(text: str, tool_calls: Sequence[tuple[str, str]] = ()) -> Said | None:
    """Read an answer; it equals what `said_of` makes of it when the client sends it.

    `tool_calls` are pairs of name and arguments. None when nothing was answered.
    """
    return _answer([text], [], list(tool_calls))


def text_said(role: str, text: str) -> Said:
    """Give plain text of a role as a message; role is user, assistant or tool."""
    return _said(role, [text], [])


def tokens_of(text: str) -> int:
    """Estimate what a message of this text costs: 3.5 characters a token, and a few."""
    return math.ceil(len(text) / CHARS_PER_TOKEN) + TOKENS_PER_MESSAGE


def has_calls(text: str) -> bool:
    """Say whether an assistant's turn ends in tool calls; such a turn is no answer."""
    line = text[text.rfind("\n") + 1 :]
    return line.startswith("called ") and "(" in line and line.endswith(")")


def unit_of(role: str, text: str) -> str:
    """Give what is embedded and indexed of a turn."""
    return f"{role}: {text}"


def _answer(
    words: list[str], placeholders: list[str], calls: list[tuple[str, str]]
) -> Said | None:
    spoken = _THINKING_ALOUD.sub("", _joined(words))
    lines = [f"called {_line(name)}({_arguments(given)})" for name, given in calls]
    if not (spoken.strip() or placeholders or lines):
        return None
    return _said(ASSISTANT, [spoken], placeholders + lines)


def _said(role: str, words: list[str], others: list[str]) -> Said:
    whole = _joined(words + others)
    text = whole[:MAX_TOOL_CHARS] if role == TOOL else whole
    return Said(
        role=role,
        text=text,
        content_hash=_hash(role, whole),
        tokens=tokens_of(text),
        has_text=any(word.strip() for word in words),
    )


def _joined(pieces: Iterable[str]) -> str:
    """Join what is not blank, as text that every database and encoding can hold."""
    whole = "\n".join(piece for piece in pieces if piece.strip())
    return _SURROGATES.sub("\ufffd", whole.replace("\x00", ""))


def _hash(role: str, text: str) -> str:
    normalised = f"{role}\n{' '.join(text.split())}"
    return hashlib.sha256(normalised.encode()).hexdigest()


def _content(content: object) -> tuple[list[str], list[str]]:
    """Divide a message's content into its words and its placeholders."""
    words: list[str] = []
    placeholders: list[str] = []
    for part in content if isinstance(content, list) else [content]:
        if isinstance(part, str):
            words.append(part)
        elif isinstance(part, Mapping):
            _read_part(part, words, placeholders)
    return words, placeholders


def _read_part(
    part: Mapping[str, Any], words: list[str], placeholders: list[str]
) -> None:
    kind = str(part.get("type"))
    if kind in _THOUGHTS:
        return
    spoken = [
        part[key] for key in ("text", "refusal") if isinstance(part.get(key), str)
    ]
    if spoken:
        words.extend(spoken)
    elif kind not in ("text", "refusal"):
        placeholders.append(_PLACEHOLDERS.get(kind, _UNKNOWN_PART))


def _read_beside(
    message: Mapping[str, Any], words: list[str], placeholders: list[str]
) -> None:
    """Read what an assistant said outside its content: a refusal, a spoken answer."""
    refusal, audio = message.get("refusal"), message.get("audio")
    if isinstance(refusal, str):
        words.append(refusal)
    if isinstance(audio, Mapping):
        transcript = audio.get("transcript")
        if isinstance(transcript, str):
            words.append(transcript)
        else:
            placeholders.append("[audio]")


def _calls(message: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    calls = message.get("tool_calls")
    for call in calls if isinstance(calls, list) else []:
        if isinstance(call, Mapping):
            yield _call(call.get("function") or call.get("custom"))
    legacy = message.get("function_call")
    if isinstance(legacy, Mapping):
        yield _call(legacy)


def _call(function: object) -> tuple[str, str]:
    if not isinstance(function, Mapping):
        return "", ""
    given = function.get("arguments", function.get("input"))
    if given is not None and not isinstance(given, str):
        given = json.dumps(given, default=str)
    return str(function.get("name") or ""), given or ""


def _arguments(given: str) -> str:
    """Write arguments on one line, the same for the same values."""
    try:
        read = json.loads(given)
        return json.dumps(read, ensure_ascii=False, sort_keys=True)
    except (ValueError, RecursionError):
        return _line(given)


def _line(text: str) -> str:
    return " ".join(text.split())
