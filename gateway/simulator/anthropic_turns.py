"""Anthropic's rules for the turns of a conversation. Pure."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from typing import Any

from gateway.simulator.exchange import RefusalError

_ID = re.compile(r"[a-zA-Z0-9_-]+")
_IMAGE_TYPES = ("image/jpeg", "image/png", "image/gif", "image/webp")
_USER_BLOCKS = ("text", "image", "document", "tool_result", "search_result")
_ASSISTANT_BLOCKS = ("text", "thinking", "redacted_thinking", "tool_use")
_BLOCKS = {
    "user": _USER_BLOCKS,
    "assistant": _ASSISTANT_BLOCKS,
    "system": ("text",),
}


def check_turns(turns: object) -> None:
    """Raise RefusalError where the order or the content of turns is refused."""
    if not isinstance(turns, list):
        raise _bad("messages: Input should be a valid list")
    if not turns:
        raise _bad("messages: at least one message is required")
    for place, turn in enumerate(turns):
        _check_turn(turn, place, is_last=place == len(turns) - 1)
    if turns[0]["role"] != "user":
        raise _bad('messages: first message must use the "user" role')
    _check_system_places([turn["role"] for turn in turns])
    _check_trailing_text(turns[-1])
    _check_tool_pairs(turns)


def check_text(
    block: Mapping[str, Any], where: str, *, label: str = "messages"
) -> None:
    """Raise RefusalError for a text block without text."""
    text = block.get("text")
    if not isinstance(text, str):
        raise _bad(f"{where}.text: Field required")
    if not text:
        raise _bad(f"{label}: text content blocks must be non-empty")
    if not text.strip():
        raise _bad(f"{label}: text content blocks must contain non-whitespace text")


def _bad(message: str) -> RefusalError:
    return RefusalError(400, message)


def _check_turn(turn: object, place: int, *, is_last: bool) -> None:
    if not isinstance(turn, Mapping):
        raise _bad(f"messages.{place}: Input should be an object")
    role, content = turn.get("role"), turn.get("content")
    if not isinstance(role, str) or role not in _BLOCKS:
        raise _bad(f"messages.{place}.role: Input should be 'user' or 'assistant'")
    if not isinstance(content, str | list):
        raise _bad(f"messages.{place}.content: Field required")
    if not content and not (is_last and role == "assistant"):
        raise _bad(
            f"messages.{place}: all messages must have non-empty content except for the"
            " optional final assistant message"
        )
    if isinstance(content, str):
        if content and not content.strip():
            raise _bad("messages: text content blocks must contain non-whitespace text")
        return
    for index, block in enumerate(content):
        _check_block(block, role, f"messages.{place}.content.{index}")


def _check_block(block: object, role: str, where: str) -> None:
    kind = block.get("type") if isinstance(block, Mapping) else None
    if not isinstance(block, Mapping) or kind not in _BLOCKS[role]:
        raise _bad(
            f"{where}: Input tag '{kind}' does not match any of the expected tags:"
            f" {', '.join(repr(b) for b in _BLOCKS[role])}"
        )
    match kind:
        case "text":
            check_text(block, where)
        case "image":
            _check_image(block.get("source"), where)
        case "tool_use":
            _check_id(block.get("id"), f"{where}.tool_use.id")
            if not isinstance(block.get("name"), str):
                raise _bad(f"{where}.tool_use.name: Field required")
            if not isinstance(block.get("input"), Mapping):
                raise _bad(
                    f"{where}.tool_use.input: Input should be a valid dictionary"
                )
        case "tool_result":
            _check_id(block.get("tool_use_id"), f"{where}.tool_result.tool_use_id")
        case "thinking":
            if not isinstance(block.get("signature"), str) or not block["signature"]:
                raise _bad(f"{where}.thinking.signature: Field required")
        case _:
            pass


def _check_id(value: object, where: str) -> None:
    if not isinstance(value, str):
        raise _bad(f"{where}: Field required")
    if not _ID.fullmatch(value):
        raise _bad(f"{where}: String should match pattern '^[a-zA-Z0-9_-]+$'")


def _check_image(source: object, where: str) -> None:
    kind = source.get("type") if isinstance(source, Mapping) else None
    if not isinstance(source, Mapping) or kind not in ("base64", "url", "file"):
        raise _bad(f"{where}.image.source: Field required")
    if kind == "url" and not str(source.get("url", "")).startswith("https://"):
        raise _bad(f"{where}.image.source.url.url: Only HTTPS URLs are supported.")
    if kind != "base64":
        return
    if source.get("media_type") not in _IMAGE_TYPES:
        raise _bad(
            f"{where}.image.source.base64.media_type: Input should be"
            f" {', '.join(repr(t) for t in _IMAGE_TYPES)}"
        )
    try:
        base64.b64decode(str(source.get("data", "")), validate=True)
    except (binascii.Error, ValueError):
        raise _bad(f"{where}.image.source.base64: invalid base64 data") from None


def _check_system_places(roles: list[str]) -> None:
    """Allow a system turn right after a user turn, last or before an assistant turn."""
    for place, role in enumerate(roles):
        if role != "system":
            continue
        after = roles[place + 1] if place + 1 < len(roles) else "assistant"
        if roles[place - 1] != "user" or after != "assistant":
            raise _bad(
                f"messages.{place}: a system message must follow a user message and be"
                " the last one or precede an assistant message"
            )


def _check_trailing_text(turn: Mapping[str, Any]) -> None:
    if turn["role"] != "assistant":
        return
    content = turn["content"]
    if isinstance(content, list):
        last = content[-1] if content else {}
        content = last["text"] if last.get("type") == "text" else ""
    if content != content.rstrip():
        raise _bad(
            "messages: final assistant content cannot end with trailing whitespace"
        )


def _check_tool_pairs(turns: list[Mapping[str, Any]]) -> None:
    asked: list[str] = []
    merged = _merge(turns)
    for place, (role, blocks) in enumerate(merged):
        answers = _leading_results(blocks) if role == "user" else []
        for block in blocks:
            if block["type"] == "tool_result" and block["tool_use_id"] not in asked:
                raise _bad(
                    f"messages.{place}.content: unexpected `tool_use_id` found in"
                    f" `tool_result` blocks: {block['tool_use_id']}. Each `tool_result`"
                    " block must have a corresponding `tool_use` block in the previous"
                    " message."
                )
        if missing := [name for name in asked if name not in answers]:
            raise _unanswered(place - 1, missing)
        asked = [b["id"] for b in blocks if b["type"] == "tool_use"]
    if asked:
        raise _unanswered(len(merged) - 1, asked)


def _unanswered(place: int, missing: list[str]) -> RefusalError:
    return _bad(
        f"messages.{place}: `tool_use` ids were found without `tool_result` blocks"
        f" immediately after: {', '.join(missing)}. Each `tool_use` block must have a"
        " corresponding `tool_result` block in the next message."
    )


def _leading_results(blocks: list[Mapping[str, Any]]) -> list[str]:
    """List the answered ids: results count only before anything else is said."""
    found: list[str] = []
    for block in blocks:
        if block["type"] != "tool_result":
            break
        found.append(block["tool_use_id"])
    return found


def _merge(
    turns: list[Mapping[str, Any]],
) -> list[tuple[str, list[Mapping[str, Any]]]]:
    """Join adjacent turns of one role, as the API does before it looks at them."""
    merged: list[tuple[str, list[Mapping[str, Any]]]] = []
    for turn in turns:
        content = turn["content"]
        blocks = content if isinstance(content, list) else [{"type": "text"}]
        if merged and merged[-1][0] == turn["role"]:
            merged[-1][1].extend(blocks)
        else:
            merged.append((turn["role"], [*blocks]))
    return merged
