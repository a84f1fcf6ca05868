"""A checked chat call as the internal record, for vendors that do not speak OpenAI."""

from __future__ import annotations

from collections.abc import Mapping

from gateway.dialects.openai.request.chat import OWN_FIELDS, ChatCall
from gateway.dialects.openai.request.fields import (
    check_integer,
    check_number,
    read_object,
    read_objects,
    read_optional,
    read_string,
    wrong_type,
)
from gateway.dialects.openai.request.messages import read_messages
from gateway.dialects.openai.request.tools import read_tool_choice, read_tools
from gateway.dialects.record import ChatRequest, JsonFormat
from gateway.errors import UpstreamError
from gateway.kinds import Fault

# Everything the record has a place for, or AILB answers itself; the rest are extras.
_PLACED = OWN_FIELDS | {
    "model",
    "messages",
    "stream",
    "stream_options",
    "tools",
    "tool_choice",
    "functions",
    "function_call",
    "parallel_tool_calls",
    "response_format",
    "max_tokens",
    "max_completion_tokens",
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "frequency_penalty",
    "presence_penalty",
    "seed",
    "stop",
    "n",
    "logprobs",
    "top_logprobs",
    "user",
    "safety_identifier",
    "reasoning_effort",
    "service_tier",
}


def read_record(call: ChatCall) -> ChatRequest:
    """Read the whole call; done once, and only when another dialect needs it.

    `max_completion_tokens` wins over `max_tokens`, `tools` over `functions`,
    `safety_identifier` over `user`. `top_k` and `min_p`, which OpenAI does not have, are
    read where a client sends them.

    Raises:
        InvalidRequest: Names the field, as in `messages[2].content[0].image_url.url`.
        UpstreamError: UNSUPPORTED_PARAMETER for what only OpenAI's own format can say
            (custom tools, unknown kinds of parts); another deployment may take it.

    """
    body = call.body
    tools = read_tools(body)
    tools, tool_choice = read_tool_choice(body, tools)
    return ChatRequest(
        messages=read_messages(read_objects(body.get("messages"), "messages")),
        tools=tools,
        tool_choice=tool_choice,
        parallel_tool_calls=read_optional(body, "parallel_tool_calls", bool),
        json_format=_read_format(body.get("response_format")),
        max_tokens=call.max_tokens,
        temperature=_number(body, "temperature"),
        top_p=_number(body, "top_p"),
        top_k=_top_k(body),
        min_p=_min_p(body),
        frequency_penalty=_number(body, "frequency_penalty"),
        presence_penalty=_number(body, "presence_penalty"),
        seed=read_optional(body, "seed", int),
        stop=_read_stop(body.get("stop")),
        choices=read_optional(body, "n", int) or 1,
        logprobs=body.get("logprobs") is True,
        top_logprobs=read_optional(body, "top_logprobs", int),
        user=read_optional(body, "safety_identifier", str)
        or read_optional(body, "user", str),
        reasoning_effort=read_optional(body, "reasoning_effort", str),
        service_tier=read_optional(body, "service_tier", str),
        stream=call.stream,
        extras={
            name: value
            for name, value in body.items()
            if name not in _PLACED and value is not None
        },
    )


def _number(body: Mapping[str, object], name: str) -> float | None:
    value = body.get(name)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return value


def _top_k(body: Mapping[str, object]) -> int | None:
    if (value := body.get("top_k")) is None:
        return None
    check_integer()("top_k", value)
    top_k = read_optional(body, "top_k", int)
    # Servers that take top_k read 0 and less as "off", which is saying nothing.
    return top_k if top_k is not None and top_k > 0 else None


def _min_p(body: Mapping[str, object]) -> float | None:
    if (value := body.get("min_p")) is not None:
        check_number(0, 1)("min_p", value)
    return _number(body, "min_p")


def _read_stop(stop: object) -> tuple[str, ...]:
    if isinstance(stop, str):
        return (stop,)
    return tuple(stop) if isinstance(stop, list) else ()


def _read_format(given: object) -> JsonFormat | None:
    if given is None:
        return None
    wanted = read_object(given, "response_format")
    match wanted.get("type"):
        case "text":
            return None
        case "json_object":
            return JsonFormat()
        case "json_schema":
            return _read_schema(wanted.get("json_schema"))
        case str():
            raise UpstreamError(
                Fault.UNSUPPORTED_PARAMETER,
                "This provider knows the formats text, json_object and json_schema only.",
                param="response_format",
            )
        case other:
            raise wrong_type("response_format.type", "a string", other)


def _read_schema(given: object) -> JsonFormat:
    path = "response_format.json_schema"
    wanted = read_object(given, path)
    schema = wanted.get("schema")
    return JsonFormat(
        schema=None if schema is None else read_object(schema, f"{path}.schema"),
        name=read_string(wanted.get("name"), f"{path}.name"),
        description=read_optional(wanted, "description", str),
        strict=read_optional(wanted, "strict", bool),
    )
