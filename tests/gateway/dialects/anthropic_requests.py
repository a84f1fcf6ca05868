"""Requests to build in the tests of Anthropic's dialect, and the SDK's types."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

import orjson
import pytest
from anthropic.types.message_create_params import (
    MessageCreateParamsNonStreaming,
    MessageCreateParamsStreaming,
)
from pydantic import TypeAdapter

from gateway.dialects.anthropic import AnthropicDialect
from gateway.dialects.base import Built
from gateway.dialects.record import (
    ChatRequest,
    Message,
    Role,
    Text,
    Tool,
)
from gateway.errors import UpstreamError
from gateway.kinds import Fault
from gateway.snapshot import Capabilities, Deployment, Provider

PROVIDER = Provider(
    id=1,
    name="anthropic",
    kind="anthropic",
    base_url="https://api.anthropic.com",
    urls={},
    models_url="",
    headers=(),
    fingerprint="f",
)
USER = Message(Role.USER, (Text("Hi"),))
THOUGHT = {"type": "thinking", "thinking": "Hm.", "signature": "EqQBCg"}
WEATHER = Tool(
    "get_weather",
    "Look up the weather.",
    {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
    },
)
SCHEMA = {"type": "object", "properties": {"n": {"type": "integer", "minimum": 1}}}
NATIVE = Capabilities(json_schema=True)
# The SDK no longer knows these; the version of the API that we speak does.
UNTYPED = ("temperature", "top_p", "top_k")
PARAMS: dict[bool, TypeAdapter[Any]] = {
    False: TypeAdapter(MessageCreateParamsNonStreaming),
    True: TypeAdapter(MessageCreateParamsStreaming),
}


def deployment(
    capabilities: Capabilities | None = None, options: dict[str, object] | None = None
) -> Deployment:
    return Deployment(
        1,
        "chat",
        "claude-opus-4-6",
        PROVIDER,
        capabilities=capabilities or Capabilities(),
        options=MappingProxyType(options or {}),
    )


def build(
    *messages: Message,
    capabilities: Capabilities | None = None,
    options: dict[str, object] | None = None,
    **fields: Any,
) -> tuple[dict[str, Any], Built]:
    request = ChatRequest(messages or (USER,), **fields)
    built = AnthropicDialect().build_chat(request, deployment(capabilities, options))
    return orjson.loads(built.body), built


def refused(*messages: Message, **fields: Any) -> tuple[Fault, str | None]:
    with pytest.raises(UpstreamError) as caught:
        build(*messages, **fields)
    return caught.value.fault, caught.value.param


def exhausted(value: Any) -> Any:
    """Run pydantic's lazy iterators, which only then validate what they hold."""
    if isinstance(value, dict):
        return {key: exhausted(inner) for key, inner in value.items()}
    if value is None or isinstance(value, str | int | float):
        return value
    return [exhausted(inner) for inner in value]


def assert_typed(body: dict[str, Any]) -> None:
    """Hold a body against the SDK's own types: all is valid, and no key is unknown."""
    known = {key: value for key, value in body.items() if key not in UNTYPED}
    assert exhausted(PARAMS[body["stream"]].validate_python(known)) == known
