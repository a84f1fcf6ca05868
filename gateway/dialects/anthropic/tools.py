"""Tools, their names and choice, and the tool that stands in for a schema (pure)."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable

from gateway.dialects.anthropic.schema import narrowed
from gateway.dialects.faults import unsupported
from gateway.dialects.record import ChatRequest, JsonFormat, Tool, ToolMode
from gateway.snapshot import Capabilities

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_NOT_NAME = re.compile(r"[^A-Za-z0-9_-]")
_HASH_CHARS = 8


def tool_name(name: str) -> str:
    """Give the name to send: the client's own, or a stable alias where it is refused.

    The alias depends on the name alone, so that a prompt cache survives.
    """
    if _NAME.fullmatch(name):
        return name
    digest = hashlib.sha256(name.encode(errors="replace")).hexdigest()[:_HASH_CHARS]
    return f"{_NOT_NAME.sub('_', name)[: 64 - _HASH_CHARS - 1]}_{digest}"


def tool_definitions(
    tools: tuple[Tool, ...], capabilities: Capabilities
) -> tuple[list[dict[str, object]], tuple[str, ...]]:
    """Define the client's tools, in its order; also give what had to be dropped.

    Raises:
        UpstreamError: UNSUPPORTED_PARAMETER when the deployment has no tools.

    """
    if tools and capabilities.tools is False:
        raise unsupported("tools", "This model cannot call tools.")
    is_strict = capabilities.json_schema is True
    definitions = [_definition(tool, is_strict=is_strict) for tool in tools]
    is_loosened = not is_strict and any(tool.strict for tool in tools)
    return definitions, ("tools.strict",) if is_loosened else ()


def _definition(tool: Tool, *, is_strict: bool) -> dict[str, object]:
    definition: dict[str, object] = {"name": tool_name(tool.name)}
    if tool.description:
        definition["description"] = tool.description
    schema: dict[str, object] = {**(tool.parameters or {}), "type": "object"}
    schema.setdefault("properties", {})
    if tool.strict and is_strict:
        definition["strict"] = True
        schema = narrowed(schema, param="tools")
    definition["input_schema"] = schema
    return definition


def bare_definitions(names: Iterable[str]) -> list[dict[str, object]]:
    """Define tools that only the history knows: calls without a definition are refused."""
    schema = {"type": "object", "properties": {}}
    return [{"name": name, "input_schema": schema} for name in dict.fromkeys(names)]


def answer_tool_name(request: ChatRequest, capabilities: Capabilities) -> str | None:
    """Name the tool whose input is to be the JSON answer, None when none is needed.

    It is needed for a schema without native support. A client that demands a call of its
    own tools gets that call instead of a JSON answer.
    """
    json_format, choice = request.json_format, request.tool_choice
    if json_format is None or json_format.schema is None or capabilities.json_schema:
        return None
    if request.tools and choice and choice.mode in (ToolMode.REQUIRED, ToolMode.NAMED):
        return None
    taken = {tool_name(tool.name) for tool in request.tools}
    name = tool_name(json_format.name)
    while name in taken:
        name = tool_name(name + "_json")
    return name


def answer_tool(name: str, json_format: JsonFormat) -> dict[str, object]:
    """Define the tool that stands in for the schema.

    Raises:
        UpstreamError: UNSUPPORTED_PARAMETER when the schema is not of an object, which
            a tool's input always is.

    """
    schema = dict(json_format.schema or {})
    if schema.setdefault("type", "object") != "object":
        raise unsupported(
            "response_format", "This model can only answer with a JSON object."
        )
    schema.setdefault("properties", {})
    description = json_format.description or "Give the final answer with this tool."
    return {"name": name, "description": description, "input_schema": schema}


def tool_choice(
    request: ChatRequest, *, answer_tool: str | None, can_force: bool
) -> dict[str, object] | None:
    """Say how free the model is to call the tools, None for the vendor's default.

    A force that is not possible becomes `auto`.
    """
    choice = _answer_choice(request, answer_tool) if answer_tool else _choice(request)
    if not can_force and choice and choice["type"] in ("any", "tool"):
        choice = {"type": "auto"}
    if request.parallel_tool_calls is False and (request.tools or answer_tool):
        choice = choice or {"type": "auto"}
        if choice["type"] != "none":
            choice["disable_parallel_tool_use"] = True
    return choice


def _answer_choice(request: ChatRequest, name: str) -> dict[str, object]:
    mode = request.tool_choice.mode if request.tool_choice else ToolMode.AUTO
    if request.tools and mode is ToolMode.AUTO:
        return {"type": "any"}  # either one of the client's tools or the answer
    return {"type": "tool", "name": name, "disable_parallel_tool_use": True}


def _choice(request: ChatRequest) -> dict[str, object] | None:
    if not request.tools or request.tool_choice is None:
        return None
    match request.tool_choice.mode:
        case ToolMode.AUTO:
            return {"type": "auto"}
        case ToolMode.NONE:
            return {"type": "none"}
        case ToolMode.REQUIRED:
            return {"type": "any"}
        case ToolMode.NAMED:
            return {"type": "tool", "name": tool_name(request.tool_choice.name or "")}
