"""Anthropic's whole answers and lists, read into the record (pure)."""

from __future__ import annotations

import json
from collections.abc import Mapping

import orjson

from gateway.dialects.base import Built
from gateway.dialects.faults import invalid_response
from gateway.dialects.record import ChatResponse, ToolCall, UpstreamModel, Usage
from gateway.kinds import FinishReason

REFUSAL = "The model declined to answer."
"""Stands in when Anthropic gives no explanation with a refusal."""

_CUT_SHORT = ("max_tokens", "model_context_window_exceeded", "compaction")

Fields = Mapping[str, object]


def read_chat(data: bytes, built: Built) -> ChatResponse:
    """Read a whole answer; see `gateway.dialects.base.Dialect.read_chat`."""
    message = read_object(data)
    if message.get("type") != "message":
        raise invalid_response("it is no message")
    blocks = [as_fields(block, "content") for block in as_list(message, "content")]
    calls, answer = _calls(blocks, data, built)
    texts = [text_of(block, "text") for block in blocks if block.get("type") == "text"]
    thoughts = [block for block in blocks if is_thinking(block)]
    reasoning = "".join(
        text_of(block, "thinking") for block in thoughts if block["type"] == "thinking"
    )
    usage = message.get("usage")
    stop_reason = optional_text(message, "stop_reason")
    return ChatResponse(
        text=answer if answer is not None else ("".join(texts) or None),
        finish_reason=finish_reason(stop_reason, has_calls=bool(calls)),
        usage=None if usage is None else read_usage(as_fields(usage, "usage")),
        tool_calls=calls,
        reasoning=reasoning or None,
        thinking_blocks=tuple(block for block in thoughts if is_signed(block)),
        refusal=refusal_of(message) if stop_reason == "refusal" else None,
        upstream_id=optional_text(message, "id"),
        upstream_model=optional_text(message, "model"),
    )


def read_models(data: bytes) -> tuple[UpstreamModel, ...]:
    """Read the list of models; a retired one can no longer be asked."""
    models = [as_fields(item, "data") for item in as_list(read_object(data), "data")]
    return tuple(_model(item) for item in models if item.get("lifecycle") != "retired")


def finish_reason(stop_reason: str | None, *, has_calls: bool) -> FinishReason:
    """Compute why the model stopped.

    A cut or a refusal wins over tool calls: the last call's arguments may be incomplete.
    """
    if stop_reason == "refusal":
        return FinishReason.CONTENT_FILTER
    if stop_reason in _CUT_SHORT:
        return FinishReason.LENGTH
    return FinishReason.TOOL_CALLS if has_calls else FinishReason.STOP


def refusal_of(fields: Fields) -> str:
    """Give the explanation in `stop_details`, or our own words when there is none."""
    details = fields.get("stop_details")
    explanation = details.get("explanation") if isinstance(details, dict) else None
    return explanation if isinstance(explanation, str) and explanation else REFUSAL


def is_thinking(block: Fields) -> bool:
    """Say whether the block is one of the model's thoughts."""
    return block.get("type") in ("thinking", "redacted_thinking")


def is_signed(block: Fields) -> bool:
    """Say whether the vendor will take the thought back."""
    key = "signature" if block.get("type") == "thinking" else "data"
    return bool(text_of(block, key))


def read_usage(usage: Fields) -> Usage:
    """Read token counts: Anthropic's `input_tokens` exclude the cache, as ours do.

    What was written without a stated lifetime has the shorter one, the vendor's default.
    """
    by_lifetime = _part(usage, "cache_creation")
    long_lived = _count(by_lifetime, "ephemeral_1h_input_tokens")
    short_lived = max(
        _count(usage, "cache_creation_input_tokens") - long_lived,
        _count(by_lifetime, "ephemeral_5m_input_tokens"),
    )
    output = _count(usage, "output_tokens")
    thinking = _count(_part(usage, "output_tokens_details"), "thinking_tokens")
    reasoning = min(thinking, output)
    return Usage(
        input_tokens=_count(usage, "input_tokens"),
        cache_read_tokens=_count(usage, "cache_read_input_tokens"),
        cache_write_tokens=short_lived,
        cache_write_1h_tokens=long_lived,
        output_tokens=output - reasoning,
        reasoning_tokens=reasoning,
    )


def read_object(data: bytes) -> Fields:
    """Parse a JSON object; raises UpstreamError(INVALID_RESPONSE), as do all below."""
    try:
        return as_fields(orjson.loads(data), "the body")
    except ValueError as error:
        raise invalid_response("it is not JSON") from error


def as_fields(value: object, where: str) -> Fields:
    """Demand an object."""
    if not isinstance(value, dict):
        raise invalid_response(f"{where} is no object")
    return value


def as_list(fields: Fields, key: str) -> list[object]:
    """Demand a list."""
    value = fields.get(key)
    if not isinstance(value, list):
        raise invalid_response(f"{key} is no list")
    return value


def text_of(fields: Fields, key: str) -> str:
    """Demand text; absent and null are empty."""
    return optional_text(fields, key) or ""


def optional_text(fields: Fields, key: str) -> str | None:
    """Demand text; absent and null are None."""
    value = fields.get(key)
    if value is not None and not isinstance(value, str):
        raise invalid_response(f"{key} is no text")
    return value


def required_text(fields: Fields, key: str) -> str:
    """Demand text that is there and not empty."""
    if not (value := text_of(fields, key)):
        raise invalid_response(f"{key} is missing")
    return value


def _calls(
    blocks: list[Fields], data: bytes, built: Built
) -> tuple[tuple[ToolCall, ...], str | None]:
    """Give the calls of the client's tools, and the answer given through our own."""
    if not any(block.get("type") == "tool_use" for block in blocks):
        return (), None
    inputs = _exact_inputs(data)
    calls: list[ToolCall] = []
    answer: str | None = None
    for block, exact in zip(blocks, inputs, strict=True):
        if block.get("type") != "tool_use":
            continue
        as_fields(block.get("input"), "a tool's input")
        name = required_text(block, "name")
        if name == built.json_tool:
            answer = exact if answer is None else answer
        else:
            name = built.tool_names.get(name, name)
            calls.append(ToolCall(required_text(block, "id"), name, exact))
    return tuple(calls), answer


def _exact_inputs(data: bytes) -> list[str]:
    """Give the inputs as JSON text; unlike orjson, json keeps long integers exact."""
    try:
        return [
            json.dumps(block.get("input"), ensure_ascii=False, separators=(",", ":"))
            for block in json.loads(data)["content"]
        ]
    except (ValueError, RecursionError) as error:
        raise invalid_response("a tool's input is too deep or too long") from error


def _part(fields: Fields, key: str) -> Fields:
    value = fields.get(key)
    return {} if value is None else as_fields(value, key)


def _count(fields: Fields, key: str) -> int:
    value = fields.get(key)
    if value is None:
        return 0
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise invalid_response(f"{key} is no count")
    return value


def _model(item: Fields) -> UpstreamModel:
    capabilities: dict[str, object] = {"chat": True, "embeddings": False}
    said = item.get("capabilities")
    if isinstance(said, dict):
        for key, field in _SAID.items():
            if (is_supported := _is_supported(said.get(key))) is not None:
                capabilities[field] = is_supported
        if (reasoning := _reasoning(said.get("thinking"))) is not None:
            capabilities["reasoning"] = reasoning
    if (most := _positive(item.get("max_tokens"))) is not None:
        capabilities["max_output_tokens"] = most
    return UpstreamModel(
        required_text(item, "id"), capabilities, _positive(item.get("max_input_tokens"))
    )


_SAID: Mapping[str, str] = {
    "image_input": "images",
    "pdf_input": "files",
    "structured_outputs": "json_schema",
}


def _is_supported(value: object) -> bool | None:
    supported = value.get("supported") if isinstance(value, dict) else None
    return supported if isinstance(supported, bool) else None


def _reasoning(thinking: object) -> str | None:
    """Give the kind of thinking, None when the list does not say."""
    if not isinstance(thinking, dict) or _is_supported(thinking) is None:
        return None
    types = thinking.get("types")
    kinds = types if isinstance(types, dict) else {}
    if _is_supported(thinking) is False:
        return "none"
    if _is_supported(kinds.get("adaptive")):
        return "always" if _is_supported(kinds.get("disabled")) is False else "adaptive"
    return "budget" if _is_supported(kinds.get("enabled")) else None


def _positive(value: object) -> int | None:
    is_count = isinstance(value, int) and not isinstance(value, bool) and value > 0
    return value if is_count and isinstance(value, int) else None
