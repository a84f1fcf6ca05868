"""The conversation and its tool calls, from OpenAI's words to the record."""

from __future__ import annotations

from collections.abc import Mapping

from gateway.dialects.openai.request.content import read_parts
from gateway.dialects.openai.request.fields import (
    read_object,
    read_objects,
    read_optional,
    read_string,
)
from gateway.dialects.record import Message, Role, ToolCall
from gateway.errors import UpstreamError
from gateway.kinds import Fault

_ROLES = {
    "system": Role.SYSTEM,
    "developer": Role.SYSTEM,
    "user": Role.USER,
    "assistant": Role.ASSISTANT,
    "tool": Role.TOOL,
}


def read_messages(messages: list[dict[str, object]]) -> tuple[Message, ...]:
    """Read checked messages in order.

    A legacy `function_call` becomes a tool call with an id made from its place, and the
    `function` message that answers it gets the same id.

    Raises:
        InvalidRequest: Names the field at fault, as in `messages[2].tool_calls[0].id`.
        UpstreamError: UNSUPPORTED_PARAMETER for what only OpenAI's own format can say.

    """
    read: list[Message] = []
    legacy_ids: dict[str, str] = {}
    for index, message in enumerate(messages):
        path = f"messages[{index}]"
        if message.get("role") == "function":
            read.append(_read_function_result(message, path, legacy_ids))
            continue
        legacy = _read_legacy_call(message, path, f"call_legacy_{index}")
        if legacy is not None:
            legacy_ids[legacy.name] = legacy.id
        read.append(_read_message(message, path, legacy))
    return tuple(read)


def _read_message(
    message: Mapping[str, object], path: str, legacy: ToolCall | None
) -> Message:
    role = _ROLES[read_string(message.get("role"), f"{path}.role")]
    parts, refused = read_parts(message.get("content"), f"{path}.content")
    named = read_optional(message, "name", str)
    if role is Role.TOOL:
        call_id = read_string(message.get("tool_call_id"), f"{path}.tool_call_id")
        return Message(role=role, parts=parts, tool_call_id=call_id, name=named)
    if role is not Role.ASSISTANT:
        return Message(role=role, parts=parts, name=named)
    blocks = read_objects(message.get("thinking_blocks"), f"{path}.thinking_blocks")
    return Message(
        role=role,
        parts=parts,
        name=named,
        tool_calls=_read_tool_calls(message, path) or ((legacy,) if legacy else ()),
        reasoning=_read_reasoning(message),
        thinking_blocks=tuple(blocks),
        refusal=_read_refusal(message) or refused,
    )


def _read_reasoning(message: Mapping[str, object]) -> str | None:
    for name in ("reasoning_content", "reasoning"):
        value = message.get(name)
        if isinstance(value, str) and value:
            return value
    return None


def _read_refusal(message: Mapping[str, object]) -> str | None:
    refusal = message.get("refusal")
    return refusal if isinstance(refusal, str) and refusal else None


def _read_tool_calls(message: Mapping[str, object], path: str) -> tuple[ToolCall, ...]:
    calls = read_objects(message.get("tool_calls"), f"{path}.tool_calls")
    return tuple(
        _read_tool_call(call, f"{path}.tool_calls[{index}]")
        for index, call in enumerate(calls)
    )


def _read_tool_call(call: Mapping[str, object], path: str) -> ToolCall:
    if call.get("type", "function") != "function":
        raise UpstreamError(
            Fault.UNSUPPORTED_PARAMETER,
            f"'{path}': this provider knows calls of functions only.",
            param="messages",
        )
    function = read_object(call.get("function"), f"{path}.function")
    arguments = function.get("arguments")
    return ToolCall(
        id=read_string(call.get("id"), f"{path}.id"),
        name=read_string(function.get("name"), f"{path}.function.name"),
        # A call without arguments comes with the field left out from some clients.
        arguments=""
        if arguments is None
        else read_string(arguments, f"{path}.function.arguments"),
    )


def _read_legacy_call(
    message: Mapping[str, object], path: str, call_id: str
) -> ToolCall | None:
    if (
        message.get("role") != "assistant"
        or (given := message.get("function_call")) is None
    ):
        return None
    path = f"{path}.function_call"
    function = read_object(given, path)
    return ToolCall(
        id=call_id,
        name=read_string(function.get("name"), f"{path}.name"),
        arguments=read_string(function.get("arguments"), f"{path}.arguments"),
    )


def _read_function_result(
    message: Mapping[str, object], path: str, legacy_ids: Mapping[str, str]
) -> Message:
    name = read_string(message.get("name"), f"{path}.name")
    parts, _ = read_parts(message.get("content"), f"{path}.content")
    return Message(
        role=Role.TOOL,
        parts=parts,
        tool_call_id=legacy_ids.get(name, f"call_legacy_{name}"),
        name=name,
    )
