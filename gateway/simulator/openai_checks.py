"""What OpenAI's API refuses, in its words. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway.simulator.exchange import RefusalError, is_count, is_number, text_of

_ROLES = ("system", "developer", "user", "assistant", "tool", "function")
_PARTS = ("text", "image_url", "input_audio", "file", "refusal")
_MAX_CHOICES = 128
_MAX_STOPS = 4
_MAX_TOP_LOGPROBS = 20
_RANGES = {
    "temperature": (0, 2),
    "top_p": (0, 1),
    "frequency_penalty": (-2, 2),
    "presence_penalty": (-2, 2),
}
_MAX_INPUTS = 2048


def check_chat(body: Mapping[str, Any]) -> None:
    """Raise RefusalError for what POST /v1/chat/completions answers with 400."""
    _check_model(body)
    _check_messages(body.get("messages"))
    _check_numbers(body)
    _check_tools(body)
    _check_response_format(body)
    if body.get("top_logprobs") is not None and not body.get("logprobs"):
        raise _invalid("top_logprobs", "'top_logprobs' needs 'logprobs' to be true.")
    for name in ("stream", "logprobs", "parallel_tool_calls"):
        if not isinstance(body.get(name), bool | None):
            raise _wrong_type(name, "a boolean")
    if not isinstance(body.get("stream_options"), Mapping | None):
        raise _wrong_type("stream_options", "an object")


def check_embeddings(body: Mapping[str, Any]) -> list[str]:
    """Raise RefusalError for a bad request; return the inputs as texts."""
    _check_model(body)
    given = body.get("input")
    inputs = _as_texts(given)
    if given is None:
        raise _missing("input")
    if not inputs or not all(inputs) or len(inputs) > _MAX_INPUTS:
        raise _invalid("input", "'$.input' is invalid.")
    if body.get("encoding_format") not in (None, "float", "base64"):
        raise _invalid("encoding_format", "Use 'float' or 'base64'.")
    size = body.get("dimensions")
    if size is not None and (not is_count(size) or size == 0):
        raise _invalid("dimensions", "'dimensions' must be a positive integer.")
    return inputs


def _as_texts(given: object) -> list[str]:
    """Read a text, texts, a list of token numbers, or a list of such lists."""
    if isinstance(given, str):
        return [given]
    if not isinstance(given, list):
        return []
    if all(is_count(item) for item in given):
        return [str(given)] if given else []
    return [item if isinstance(item, str) else _token_text(item) for item in given]


def _token_text(item: object) -> str:
    is_tokens = isinstance(item, list) and all(is_count(token) for token in item)
    return str(item) if is_tokens and item else ""


def _check_model(body: Mapping[str, Any]) -> None:
    if not isinstance(body.get("model"), str) or not body["model"]:
        raise RefusalError(400, "you must provide a model parameter")


def _check_messages(messages: object) -> None:
    if messages is None:
        raise _missing("messages")
    if not isinstance(messages, list):
        raise _wrong_type("messages", "an array of objects")
    if not messages:
        raise RefusalError(
            400,
            "Invalid 'messages': empty array. Expected an array with minimum length 1,"
            " but got an empty array instead.",
            param="messages",
            code="empty_array",
        )
    for place, message in enumerate(messages):
        _check_message(message, f"messages[{place}]")
    _check_tool_history(messages)


def _check_message(message: object, where: str) -> None:
    if not isinstance(message, Mapping):
        raise _wrong_type(where, "an object")
    role, content = message.get("role"), message.get("content")
    if role is None:
        raise _missing(f"{where}.role")
    if role not in _ROLES:
        raise RefusalError(
            400,
            f"Invalid value: '{role}'. Supported values are:"
            f" {', '.join(repr(r) for r in _ROLES)}.",
            param=f"{where}.role",
            code="invalid_value",
        )
    if content is None and role in ("assistant", "function"):
        return
    if not isinstance(content, str | list):
        raise _wrong_type(f"{where}.content", "a string or an array of objects")
    if isinstance(content, list):
        _check_parts(content, where)


def _check_parts(content: list[object], where: str) -> None:
    for place, part in enumerate(content):
        spot = f"{where}.content[{place}]"
        if not isinstance(part, Mapping):
            raise _wrong_type(spot, "an object")
        kind = part.get("type")
        if kind not in _PARTS:
            raise RefusalError(
                400,
                f"Invalid value: '{kind}'. Supported values are:"
                f" {', '.join(repr(p) for p in _PARTS)}.",
                param=f"{spot}.type",
                code="invalid_value",
            )
        if kind == "text" and not isinstance(part.get("text"), str):
            raise _missing(f"{spot}.text")
        if kind == "image_url":
            _check_image(part.get("image_url"), spot)


def _check_image(image: object, spot: str) -> None:
    url = image.get("url") if isinstance(image, Mapping) else None
    if not isinstance(url, str):
        raise _missing(f"{spot}.image_url.url")
    if not url.startswith(("https://", "http://", "data:image/")):
        raise RefusalError(
            400,
            "Invalid image URL. Expected a valid URL or a base64 data URL.",
            param=f"{spot}.image_url.url",
            code="invalid_value",
        )


def _check_tool_history(messages: list[Mapping[str, Any]]) -> None:
    open_calls: set[str] = set()
    for place, message in enumerate(messages):
        if message["role"] == "tool":
            answered = str(message.get("tool_call_id"))
            if answered not in open_calls:
                raise RefusalError(
                    400,
                    "Invalid parameter: messages with role 'tool' must be a response to"
                    " a preceding message with 'tool_calls'.",
                    param=f"messages.[{place}].role",
                )
            open_calls.discard(answered)
            continue
        _refuse_unanswered(open_calls, place)
        open_calls = _called_ids(message.get("tool_calls"), f"messages[{place}]")
    _refuse_unanswered(open_calls, len(messages))


def _called_ids(calls: object, where: str) -> set[str]:
    if calls is None:
        return set()
    if not isinstance(calls, list) or not calls:
        raise _invalid(f"{where}.tool_calls", "Expected a non-empty array.")
    for place, call in enumerate(calls):
        spot = f"{where}.tool_calls[{place}]"
        if not isinstance(call, Mapping) or not isinstance(call.get("id"), str):
            raise _missing(f"{spot}.id")
        function = call.get("function") or call.get("custom")
        if not isinstance(function, Mapping) or not function.get("name"):
            raise _missing(f"{spot}.function.name")
        arguments = function.get("arguments", "")
        if call.get("type") == "function" and not isinstance(arguments, str):
            raise _wrong_type(f"{spot}.function.arguments", "a string")
    return {call["id"] for call in calls}


def _refuse_unanswered(open_calls: set[str], place: int) -> None:
    if open_calls:
        raise RefusalError(
            400,
            "An assistant message with 'tool_calls' must be followed by tool messages"
            " responding to each 'tool_call_id'. The following tool_call_ids did not"
            f" have response messages: {', '.join(sorted(open_calls))}",
            param=f"messages.[{place}].role",
        )


def _check_numbers(body: Mapping[str, Any]) -> None:
    for name, (low, high) in _RANGES.items():
        value = body.get(name)
        if value is None:
            continue
        if not is_number(value):
            raise _wrong_type(name, "a decimal")
        if not low <= value <= high:
            raise _invalid(name, f"Invalid '{name}': expected {low} to {high}.")
    for name in ("max_tokens", "max_completion_tokens"):
        if body.get(name) is not None and not is_count(body[name]):
            raise _wrong_type(name, "an integer of 0 or more")
    count = body.get("n")
    if count is not None and not (is_count(count) and 1 <= count <= _MAX_CHOICES):
        raise _invalid("n", f"Invalid 'n': expected 1 to {_MAX_CHOICES}.")
    top = body.get("top_logprobs")
    if top is not None and not (is_count(top) and top <= _MAX_TOP_LOGPROBS):
        raise _invalid("top_logprobs", f"Expected 0 to {_MAX_TOP_LOGPROBS}.")
    _check_stop(body.get("stop"))


def _check_stop(stop: object) -> None:
    if stop is None or isinstance(stop, str):
        return
    if not isinstance(stop, list) or not all(isinstance(s, str) for s in stop):
        raise _wrong_type("stop", "a string or an array of strings")
    if len(stop) > _MAX_STOPS:
        raise _invalid("stop", f"Invalid 'stop': at most {_MAX_STOPS} sequences.")


def _check_tools(body: Mapping[str, Any]) -> None:
    tools = body.get("tools")
    if tools is None:
        for name in ("tool_choice", "parallel_tool_calls"):
            if body.get(name) not in (None, "none"):
                message = f"'{name}' is only allowed when 'tools' are specified."
                raise _invalid(name, message)
        return
    if not isinstance(tools, list) or not tools:
        raise _invalid("tools", "Invalid 'tools': expected a non-empty array.")
    names = [_tool_name(tool, f"tools[{i}]") for i, tool in enumerate(tools)]
    _check_tool_choice(body.get("tool_choice"), names)


def _tool_name(tool: object, where: str) -> str:
    kind = tool.get("type") if isinstance(tool, Mapping) else None
    if kind not in ("function", "custom"):
        raise RefusalError(
            400,
            f"Invalid value: '{kind}'. Supported values are: 'function' and 'custom'.",
            param=f"{where}.type",
            code="invalid_value",
        )
    details = tool.get(kind) if isinstance(tool, Mapping) else None
    name = details.get("name") if isinstance(details, Mapping) else None
    if not isinstance(name, str) or not name:
        raise _missing(f"{where}.{kind}.name")
    return name


def _check_tool_choice(choice: object, names: list[str]) -> None:
    if isinstance(choice, Mapping):
        function = choice.get("function")
        name = function.get("name") if isinstance(function, Mapping) else None
        if choice.get("type") == "function" and name not in names:
            raise _invalid("tool_choice", f"Tool choice '{name}' not found in 'tools'.")
    elif choice not in (None, "none", "auto", "required"):
        raise _invalid("tool_choice", f"Invalid value: '{choice}'.")


def _check_response_format(body: Mapping[str, Any]) -> None:
    wanted = body.get("response_format")
    if wanted is None:
        return
    kind = wanted.get("type") if isinstance(wanted, Mapping) else None
    if kind not in ("text", "json_object", "json_schema"):
        raise _invalid(
            "response_format.type",
            "Supported values are: 'json_object', 'json_schema' and 'text'.",
        )
    if kind == "json_schema":
        schema = wanted.get("json_schema") if isinstance(wanted, Mapping) else None
        if not isinstance(schema, Mapping) or not isinstance(schema.get("name"), str):
            raise _missing("response_format.json_schema.name")
    if kind == "json_object" and "json" not in _all_text(body["messages"]).lower():
        raise RefusalError(
            400,
            "'messages' must contain the word 'json' in some form, to use"
            " 'response_format' of type 'json_object'.",
            param="messages",
        )


def _all_text(messages: list[Mapping[str, Any]]) -> str:
    return " ".join(text_of(message.get("content")) for message in messages)


def _missing(name: str) -> RefusalError:
    return RefusalError(
        400,
        f"Missing required parameter: '{name}'.",
        param=name,
        code="missing_required_parameter",
    )


def _wrong_type(name: str, expected: str) -> RefusalError:
    return RefusalError(
        400,
        f"Invalid type for '{name}': expected {expected}.",
        param=name,
        code="invalid_type",
    )


def _invalid(name: str, message: str) -> RefusalError:
    return RefusalError(400, message, param=name, code="invalid_value")
