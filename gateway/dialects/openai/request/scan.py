"""One walk over a chat request: checks, needed capabilities and the length of the prompt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import orjson

from gateway.dialects.openai.request.fields import (
    check_objects,
    missing,
    read_optional,
    wrong_type,
    wrong_value,
)

MAX_MESSAGES = 4_096

_ROLES = frozenset({"system", "developer", "user", "assistant", "tool", "function"})
# An assistant message that has one of these need not say anything.
_INSTEAD_OF_CONTENT = (
    "tool_calls",
    "function_call",
    "refusal",
    "audio",
    "reasoning_content",
    "thinking_blocks",
)
_NEEDED_BY_PART = {"image_url": "images", "input_audio": "audio", "file": "files"}


def scan_messages(messages: object, needed: set[str]) -> int:
    """Check every message, note what it needs and give their characters of text.

    Parts are checked as far as their type and text; what is deeper is read only when
    another dialect needs it.

    Raises:
        InvalidRequest: Names the field at fault.

    """
    if messages is None:
        raise missing("messages")
    if type(messages) is not list:
        raise wrong_type("messages", "an array of objects", messages)
    if not messages:
        raise wrong_value("messages", "must hold at least one message")
    if len(messages) > MAX_MESSAGES:
        raise wrong_value("messages", f"must hold at most {MAX_MESSAGES} messages")
    chars = 0
    for index, message in enumerate(messages):
        if type(message) is not dict:
            raise wrong_type(f"messages[{index}]", "an object", message)
        chars += _scan_message(message, index, needed)
    return chars


def count_characters(messages: Sequence[Mapping[str, object]]) -> int:
    """Give the characters of text of messages that have been checked, however many."""
    needed: set[str] = set()
    return sum(_scan_message(message, 0, needed) for message in messages)


def _scan_message(message: Mapping[str, object], index: int, needed: set[str]) -> int:
    role = message.get("role")
    if role is None:
        raise missing(f"messages[{index}].role")
    if type(role) is not str:
        raise wrong_type(f"messages[{index}].role", "a string", role)
    if role not in _ROLES:
        raise wrong_value(
            f"messages[{index}].role", f"supported are {', '.join(sorted(_ROLES))}"
        )
    if role == "tool" and type(message.get("tool_call_id")) is not str:
        raise missing(f"messages[{index}].tool_call_id")
    content = message.get("content")
    if type(content) is str:
        chars = len(content)
    elif type(content) is list:
        chars = _scan_parts(content, f"messages[{index}].content", needed)
    elif content is None and _may_be_silent(role, message):
        chars = 0
    else:
        expected = "a string or an array of objects"
        raise wrong_type(f"messages[{index}].content", expected, content)
    if role == "assistant":
        chars += _scan_turn(message, index)
    return chars


def _may_be_silent(role: str, message: Mapping[str, object]) -> bool:
    if role == "function":
        return True
    return role == "assistant" and any(
        message.get(name) is not None for name in _INSTEAD_OF_CONTENT
    )


def _scan_parts(parts: list[object], path: str, needed: set[str]) -> int:
    chars = 0
    for index, part in enumerate(parts):
        if type(part) is not dict:
            raise wrong_type(f"{path}[{index}]", "an object", part)
        kind = part.get("type")
        if type(kind) is not str:
            raise wrong_type(f"{path}[{index}].type", "a string", kind)
        if kind == "text":
            text = part.get("text")
            if type(text) is not str:
                raise wrong_type(f"{path}[{index}].text", "a string", text)
            chars += len(text)
        elif (capability := _NEEDED_BY_PART.get(kind)) is not None:
            needed.add(capability)
            if kind == "image_url" and _is_remote(part.get("image_url")):
                needed.add("image_urls")
    return chars


def _is_remote(image: object) -> bool:
    url = image.get("url") if isinstance(image, dict) else image
    return isinstance(url, str) and url[:5].lower() != "data:"


def _scan_turn(message: Mapping[str, object], index: int) -> int:
    """Give the number of characters an assistant's turn has beside its content."""
    chars = 0
    calls = message.get("tool_calls")
    if calls is not None:
        check_objects(f"messages[{index}].tool_calls", calls)
        assert isinstance(calls, list)
        chars += sum(_argument_chars(call.get("function")) for call in calls)
    chars += _argument_chars(message.get("function_call"))
    reasoning = message.get("reasoning_content")
    return chars + (len(reasoning) if isinstance(reasoning, str) else 0)


def _argument_chars(function: object) -> int:
    arguments = function.get("arguments") if isinstance(function, dict) else None
    return len(arguments) if isinstance(arguments, str) else 0


def scan_tools(body: Mapping[str, object], needed: set[str]) -> int:
    """Note what the tools of a checked body need; give their definitions' characters."""
    tools = body.get("tools") or body.get("functions")
    if not tools:
        return 0
    choice = body.get("tool_choice")
    if choice is None:
        choice = body.get("function_call")
    if choice != "none":
        needed.add("tools")
    if choice == "required" or isinstance(choice, dict):
        forced = not isinstance(choice, dict) or not _is_free(choice)
        needed.update({"forced_tool_choice"} if forced else ())
    return len(orjson.dumps(tools))


def _is_free(choice: Mapping[str, object]) -> bool:
    """Say whether the model may still answer without a tool (`allowed_tools`, auto)."""
    allowed = choice.get("allowed_tools")
    return isinstance(allowed, dict) and allowed.get("mode") == "auto"


def scan_switches(body: Mapping[str, object], needed: set[str]) -> None:
    """Note what single fields of a checked body need."""
    if body.get("logprobs") is True:
        needed.add("logprobs")
    if (read_optional(body, "n", int) or 1) > 1:
        needed.add("choices")
    modalities = body.get("modalities")
    if isinstance(modalities, list) and "audio" in modalities:
        needed.add("audio")
