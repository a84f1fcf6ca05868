"""Tools and the choice among them, from OpenAI's words to the record."""

from __future__ import annotations

from collections.abc import Mapping

from gateway.dialects.openai.request.fields import (
    read_object,
    read_objects,
    read_optional,
    read_string,
    wrong_value,
)
from gateway.dialects.record import Tool, ToolChoice, ToolMode
from gateway.errors import UpstreamError
from gateway.kinds import Fault


def read_tools(body: Mapping[str, object]) -> tuple[Tool, ...]:
    """Read `tools`, or the legacy `functions` when there are none.

    Raises:
        InvalidRequest: Names the field, as in `tools[0].function.name`.
        UpstreamError: UNSUPPORTED_PARAMETER for tools that are not functions.

    """
    if given := read_objects(body.get("tools"), "tools"):
        return tuple(_read_tool(tool, f"tools[{i}]") for i, tool in enumerate(given))
    functions = read_objects(body.get("functions"), "functions")
    return tuple(
        _read_function(function, f"functions[{index}]")
        for index, function in enumerate(functions)
    )


def _read_tool(tool: Mapping[str, object], path: str) -> Tool:
    if tool.get("type", "function") != "function":
        raise UpstreamError(
            Fault.UNSUPPORTED_PARAMETER,
            f"'{path}': this provider knows tools of type function only.",
            param="tools",
        )
    path = f"{path}.function"
    return _read_function(read_object(tool.get("function"), path), path)


def _read_function(function: Mapping[str, object], path: str) -> Tool:
    parameters = function.get("parameters")
    return Tool(
        name=read_string(function.get("name"), f"{path}.name"),
        description=read_optional(function, "description", str),
        parameters=None
        if parameters is None
        else read_object(parameters, f"{path}.parameters"),
        strict=read_optional(function, "strict", bool),
    )


def read_tool_choice(
    body: Mapping[str, object], tools: tuple[Tool, ...]
) -> tuple[tuple[Tool, ...], ToolChoice | None]:
    """Give the tools that remain and the choice among them; raises like `read_tools`."""
    choice, path = body.get("tool_choice"), "tool_choice"
    if choice is None:
        choice, path = body.get("function_call"), "function_call"
    if choice is None:
        return tools, None
    if isinstance(choice, str):
        return tools, ToolChoice(_read_mode(choice, path))
    given = read_object(choice, path)
    if path == "function_call":
        return tools, _named(given.get("name"), f"{path}.name", tools)
    match given.get("type"):
        case "function":
            function = read_object(given.get("function"), f"{path}.function")
            name = function.get("name")
            return tools, _named(name, f"{path}.function.name", tools)
        case "allowed_tools":
            return _allow(given.get("allowed_tools"), f"{path}.allowed_tools", tools)
        case "custom":
            raise UpstreamError(
                Fault.UNSUPPORTED_PARAMETER,
                "This provider knows tools of type function only.",
                param="tool_choice",
            )
        case _:
            raise wrong_value(
                f"{path}.type", "supported are function, allowed_tools, custom"
            )


def _read_mode(choice: str, path: str) -> ToolMode:
    if choice not in {ToolMode.AUTO, ToolMode.NONE, ToolMode.REQUIRED}:
        raise wrong_value(path, "supported are none, auto, required or an object")
    return ToolMode(choice)


def _named(name: object, path: str, tools: tuple[Tool, ...]) -> ToolChoice:
    wanted = read_string(name, path)
    if all(tool.name != wanted for tool in tools):
        raise wrong_value(path, "no tool of this name is given in the request")
    return ToolChoice(ToolMode.NAMED, wanted)


def _allow(
    allowed: object, path: str, tools: tuple[Tool, ...]
) -> tuple[tuple[Tool, ...], ToolChoice]:
    given = read_object(allowed, path)
    names = set()
    for index, tool in enumerate(read_objects(given.get("tools"), f"{path}.tools")):
        at = f"{path}.tools[{index}].function"
        function = read_object(tool.get("function"), at)
        names.add(read_string(function.get("name"), f"{at}.name"))
    mode = given.get("mode")
    if mode not in {"auto", "required"}:
        raise wrong_value(f"{path}.mode", "supported are auto, required")
    remaining = tuple(tool for tool in tools if tool.name in names)
    return remaining, ToolChoice(ToolMode(str(mode)))
