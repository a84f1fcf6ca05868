"""What Anthropic's API refuses, in its words. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from gateway.simulator.anthropic_turns import check_text, check_turns
from gateway.simulator.exchange import RefusalError, is_count, is_number

# The body parameters of SDK 2.12 with the sampling ones that older models take.
_KNOWN = frozenset(
    {
        "model", "messages", "max_tokens", "cache_control", "container", "context_management",
        "diagnostics", "inference_geo", "mcp_servers", "metadata", "output_config",
        "service_tier", "speed", "stop_sequences", "stream", "system", "temperature",
        "thinking", "tool_choice", "tools", "top_k", "top_p", "user_profile_id",
        "workspace_id",
    }
)  # fmt: skip
_TOOL_NAME = re.compile(r"[a-zA-Z0-9_-]{1,128}")
_MIN_THINKING_TOKENS = 1024
_CHOICES = ("auto", "any", "tool", "none")
_THINKING = ("enabled", "adaptive", "between_tools", "disabled")
_UNSUPPORTED_KEYWORDS = {
    "string": ("minLength", "maxLength", "pattern"),
    "integer": ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
    "number": ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
    "array": ("maxItems", "uniqueItems"),
    "object": ("patternProperties", "minProperties", "maxProperties", "if"),
}  # fmt: skip


def check_headers(headers: Mapping[str, str]) -> None:
    """Raise RefusalError when the version header is missing."""
    if not headers.get("anthropic-version"):
        raise bad("anthropic-version: header is required")


def check_messages(body: Mapping[str, Any]) -> None:
    """Raise RefusalError for what POST /v1/messages answers with 400."""
    for name in body:
        if name not in _KNOWN:
            raise bad(f"{name}: Extra inputs are not permitted")
    for name in ("model", "messages", "max_tokens"):
        if body.get(name) is None:
            raise bad(f"{name}: Field required")
    if not isinstance(body["model"], str) or not body["model"]:
        raise bad("model: Input should be a valid string")
    if not is_count(body["max_tokens"]):
        raise bad("max_tokens: Input should be greater than or equal to 0")
    _check_system(body.get("system"))
    check_turns(body["messages"])
    _check_sampling(body)
    names = _check_tools(body.get("tools"))
    _check_tool_choice(body, names)
    _check_thinking(body)
    _check_output(body.get("output_config"))
    _check_metadata(body.get("metadata"))


def bad(message: str) -> RefusalError:
    """Make the 400 that Anthropic answers bad requests with."""
    return RefusalError(400, message)


def _check_system(system: object) -> None:
    if system is None or isinstance(system, str):
        return
    if not isinstance(system, list):
        raise bad("system: Input should be a valid string or list")
    for place, block in enumerate(system):
        if not isinstance(block, Mapping) or block.get("type") != "text":
            raise bad(f"system.{place}.type: Input should be 'text'")
        check_text(block, f"system.{place}", label="system")


def _check_sampling(body: Mapping[str, Any]) -> None:
    for name in ("temperature", "top_p"):
        value = body.get(name)
        if value is not None and not (is_number(value) and 0 <= value <= 1):
            raise bad(f"{name}: range: 0..1")
    if body.get("top_k") is not None and not is_count(body["top_k"]):
        raise bad("top_k: Input should be a valid integer")
    if not isinstance(body.get("stream"), bool | None):
        raise bad("stream: Input should be a valid boolean")
    stops = body.get("stop_sequences")
    if stops is None:
        return
    if not isinstance(stops, list) or not all(isinstance(s, str) for s in stops):
        raise bad("stop_sequences: Input should be a valid list")
    if not all(stop.strip() for stop in stops):
        raise bad("stop_sequences: each stop sequence must contain non-whitespace")


def _check_tools(tools: object) -> list[str]:
    if tools is None:
        return []
    if not isinstance(tools, list):
        raise bad("tools: Input should be a valid list")
    names = [_tool_name(tool, place) for place, tool in enumerate(tools)]
    if len(set(names)) != len(names):
        raise bad("tools: Tool names must be unique.")
    return names


def _tool_name(tool: object, place: int) -> str:
    if not isinstance(tool, Mapping):
        raise bad(f"tools.{place}: Input should be an object")
    kind, name = tool.get("type"), tool.get("name")
    if kind == "function":
        raise bad(
            f"tools.{place}: Input tag 'function' does not match the expected tags"
        )
    if not isinstance(name, str):
        raise bad(f"tools.{place}.custom.name: Field required")
    if not _TOOL_NAME.fullmatch(name):
        raise bad(
            f"tools.{place}.custom.name: String should match pattern"
            " '^[a-zA-Z0-9_-]{1,128}$'"
        )
    schema = tool.get("input_schema")
    if kind not in (None, "custom"):
        return name
    if not isinstance(schema, Mapping):
        raise bad(f"tools.{place}.custom.input_schema: Field required")
    if schema.get("type") != "object":
        raise bad(f"tools.{place}.custom.input_schema.type: Input should be 'object'")
    return name


def _check_tool_choice(body: Mapping[str, Any], names: list[str]) -> None:
    choice = body.get("tool_choice")
    if choice is None:
        return
    kind = choice.get("type") if isinstance(choice, Mapping) else None
    if kind not in _CHOICES:
        raise bad("tool_choice: Input should be 'auto', 'any', 'tool' or 'none'")
    if not names and kind != "none":
        raise bad("tool_choice: may only be specified while providing `tools`")
    if kind == "tool" and choice.get("name") not in names:
        raise bad(f"Tool '{choice.get('name')}' not found in provided tools")


def _check_thinking(body: Mapping[str, Any]) -> None:
    thinking = body.get("thinking")
    if thinking is None:
        return
    kind = thinking.get("type") if isinstance(thinking, Mapping) else None
    if kind not in _THINKING:
        raise bad("thinking.type: Input should be one of " + ", ".join(_THINKING))
    if kind in ("disabled", "between_tools"):
        return
    if kind == "enabled":
        _check_budget(thinking.get("budget_tokens"), body["max_tokens"])
    if (body.get("tool_choice") or {}).get("type") in ("any", "tool"):
        raise bad("Thinking may not be enabled when tool_choice forces tool use.")
    if body.get("temperature") not in (None, 1):
        raise bad("`temperature` may only be set to 1 when thinking is enabled.")
    if body.get("top_k") is not None:
        raise bad("`top_k` must be unset when thinking is enabled.")
    if body["messages"][-1]["role"] == "assistant":
        raise bad(
            "messages: final assistant content cannot be set when thinking is enabled"
        )


def _check_budget(budget: object, max_tokens: int) -> None:
    if not isinstance(budget, int) or budget < _MIN_THINKING_TOKENS:
        raise bad(
            "thinking.enabled.budget_tokens: Input should be greater than or equal to"
            f" {_MIN_THINKING_TOKENS}"
        )
    if budget >= max_tokens:
        raise bad("`max_tokens` must be greater than `thinking.budget_tokens`.")


def _check_output(config: object) -> None:
    if config is None:
        return
    if not isinstance(config, Mapping):
        raise bad("output_config: Input should be an object")
    wanted = config.get("format")
    if wanted is None:
        return
    if not isinstance(wanted, Mapping) or wanted.get("type") != "json_schema":
        raise bad("output_config.format.type: Input should be 'json_schema'")
    if not isinstance(wanted.get("schema"), Mapping):
        raise bad("output_config.format.schema: Field required")
    _check_grammar(wanted["schema"])


def _check_grammar(schema: object) -> None:
    """Refuse what the constrained-decoding grammar cannot express."""
    if isinstance(schema, list):
        for item in schema:
            _check_grammar(item)
    if not isinstance(schema, Mapping):
        return
    kind = schema.get("type")
    where = "output_config.format.schema"
    if kind == "object" and schema.get("additionalProperties") is not False:
        raise bad(
            f"{where}: For 'object' type, 'additionalProperties' must be explicitly set"
            " to false"
        )
    refused = _UNSUPPORTED_KEYWORDS.get(kind, ()) if isinstance(kind, str) else ()
    if found := [key for key in refused if key in schema]:
        raise bad(f"{where}: For '{kind}' type, property {found[0]} is not supported")
    if kind == "array" and schema.get("minItems", 0) not in (0, 1):
        raise bad(f"{where}: For 'array' type, 'minItems' values other than 0 or 1")
    for key in ("properties", "$defs"):
        if isinstance(children := schema.get(key), Mapping):
            _check_grammar([*children.values()])
    for key in ("items", "anyOf", "oneOf", "allOf"):
        _check_grammar(schema.get(key))


def _check_metadata(metadata: object) -> None:
    if metadata is None:
        return
    user = metadata.get("user_id") if isinstance(metadata, Mapping) else ""
    if not isinstance(user, str | None) or user == "":
        raise bad("metadata.user_id: Input should be a valid string")
    if user is not None and "@" in user:
        raise bad("metadata.user_id: user_id appears to contain an email address")
