"""A chat request as the body of `POST /v1/messages` (pure)."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from gateway.dialects.anthropic.conversation import Conversation, read_conversation
from gateway.dialects.anthropic.encoding import encode
from gateway.dialects.anthropic.schema import narrowed
from gateway.dialects.anthropic.thinking import Thinking, plan_thinking
from gateway.dialects.anthropic.tools import (
    answer_tool,
    answer_tool_name,
    bare_definitions,
    tool_choice,
    tool_definitions,
    tool_name,
)
from gateway.dialects.base import Built
from gateway.dialects.faults import unsupported
from gateway.dialects.record import ChatRequest, Role, ToolMode
from gateway.snapshot import Capabilities, Deployment

JSON_OBJECT_INSTRUCTION = (
    "Answer with one valid JSON object and nothing else: no Markdown fence, no comment."
)
"""Stands for `response_format: json_object`, which Anthropic does not have."""

_MAX_TEMPERATURE = 1.0
_USER_ID_CHARS = 32  # of a SHA-256 in hex: 128 bits tell users apart

Fields = dict[str, object]
Dropped = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Tooling:
    fields: Fields
    dropped: Dropped
    instruction: str | None


def build_chat(request: ChatRequest, deployment: Deployment) -> Built:
    """Write the body; see `gateway.dialects.base.Dialect.build_chat`."""
    _refuse_inexpressible(request)
    capabilities = deployment.capabilities
    conversation = read_conversation(request.messages, capabilities)
    answer_name = answer_tool_name(request, capabilities)
    # A forced tool and thinking exclude each other: the schema is the harder demand.
    forces_answer = (
        answer_name is not None and capabilities.forced_tool_choice is not False
    )
    can_think = not (
        forces_answer or conversation.is_prefilled or conversation.lost_thinking
    )
    thinking = plan_thinking(request, deployment, can_think=can_think)
    tooling = _tooling(request, conversation, thinking, capabilities, answer_name)
    sampling, unsampled = _sampling(request, thinking, capabilities)
    own: Fields = {
        "model": deployment.upstream_model,
        "max_tokens": thinking.max_tokens,
        **_system(request, conversation, tooling.instruction),
        "messages": [
            {"role": turn.role, "content": turn.blocks} for turn in conversation.turns
        ],
        **tooling.fields,
        **sampling,
        **_output(request, thinking, deployment),
        **_account(request),
        "stream": request.stream,
    }
    return Built(
        body=encode({**deployment.options, **own}),
        dropped=(*_unheard(request, thinking), *tooling.dropped, *unsampled),
        tool_names={
            sent: tool.name
            for tool in request.tools
            if (sent := tool_name(tool.name)) != tool.name
        },
        json_tool=answer_name,
    )


def _refuse_inexpressible(request: ChatRequest) -> None:
    """Refuse what the answer would lack if it were left out."""
    if request.choices > 1:
        raise unsupported("n", "This model gives one choice a request.")
    if request.logprobs or request.top_logprobs:
        raise unsupported("logprobs", "This model gives no log probabilities.")
    modalities = request.extras.get("modalities")
    if isinstance(modalities, list | tuple) and "audio" in modalities:
        raise unsupported("modalities", "This model does not speak.")


def _system(
    request: ChatRequest, conversation: Conversation, instruction: str | None
) -> Fields:
    texts = [conversation.system, instruction]
    if request.json_format is not None and request.json_format.schema is None:
        texts.append(JSON_OBJECT_INSTRUCTION)
    text = "\n\n".join(text for text in texts if text)
    return {"system": text} if text else {}


def _tooling(
    request: ChatRequest,
    conversation: Conversation,
    thinking: Thinking,
    capabilities: Capabilities,
    answer_name: str | None,
) -> _Tooling:
    definitions, dropped = tool_definitions(request.tools, capabilities)
    is_history_only = not definitions
    if is_history_only:
        definitions = bare_definitions(conversation.called_tools)
    mode = request.tool_choice.mode if request.tools and request.tool_choice else None
    is_demanded = mode in (ToolMode.REQUIRED, ToolMode.NAMED)
    if is_demanded and capabilities.forced_tool_choice is False:
        raise unsupported("tool_choice", "This model cannot be made to call a tool.")
    can_force = not thinking.is_on and capabilities.forced_tool_choice is not False
    choice = tool_choice(request, answer_tool=answer_name, can_force=can_force)
    instruction = None
    if answer_name is not None and request.json_format is not None:
        definitions.append(answer_tool(answer_name, request.json_format))
        if not can_force:
            instruction = f"Give your final answer by calling the tool {answer_name}."
    elif is_history_only and definitions:
        choice = {"type": "none"}  # the client offers no tool now
    fields: Fields = {"tools": definitions} if definitions else {}
    if choice is not None:
        fields["tool_choice"] = choice
    if is_demanded and not can_force:
        dropped = (*dropped, "tool_choice")
    return _Tooling(fields, dropped, instruction)


def _sampling(
    request: ChatRequest, thinking: Thinking, capabilities: Capabilities
) -> tuple[Fields, Dropped]:
    wanted: Fields = {
        "temperature": request.temperature,
        "top_p": request.top_p,
        "top_k": request.top_k,
    }
    wanted = {name: value for name, value in wanted.items() if value is not None}
    if thinking.is_on or capabilities.sampling is False:
        return {}, tuple(wanted)
    if request.temperature is not None:
        wanted["temperature"] = min(request.temperature, _MAX_TEMPERATURE)
        if wanted.pop("top_p", None) is not None:  # Claude 4 refuses the two together
            return wanted, ("top_p",)
    return wanted, ()


def _output(request: ChatRequest, thinking: Thinking, deployment: Deployment) -> Fields:
    """Give `thinking`, `output_config` and the stop sequences."""
    config: Fields = {}
    if thinking.effort is not None:
        config["effort"] = thinking.effort
    json_format = request.json_format
    if (
        json_format is not None
        and json_format.schema is not None
        and deployment.capabilities.json_schema
    ):
        schema = narrowed(json_format.schema, param="response_format")
        config["format"] = {"type": "json_schema", "schema": schema}
    fields: Fields = {}
    if thinking.config is not None:
        fields["thinking"] = thinking.config
    if config:
        defaults = deployment.options.get("output_config")
        fields["output_config"] = (
            {**defaults, **config} if isinstance(defaults, Mapping) else config
        )
    if stop := [text for text in request.stop if text.strip()]:
        fields["stop_sequences"] = stop
    return fields


def _account(request: ChatRequest) -> Fields:
    """Give the end user, hashed: the vendor refuses names and addresses; and the tier."""
    fields: Fields = {}
    if request.user:
        digest = hashlib.sha256(request.user.encode(errors="replace")).hexdigest()
        fields["metadata"] = {"user_id": digest[:_USER_ID_CHARS]}
    if request.service_tier == "auto":
        fields["service_tier"] = "auto"
    return fields


def _unheard(request: ChatRequest, thinking: Thinking) -> Dropped:
    """Name what the client asked for and Anthropic has no word for."""
    is_left_out = {
        "min_p": request.min_p is not None,
        "frequency_penalty": bool(request.frequency_penalty),  # 0 asks for nothing
        "presence_penalty": bool(request.presence_penalty),
        "seed": request.seed is not None,
        "service_tier": request.service_tier not in (None, "auto"),
        "reasoning_effort": thinking.is_dropped,
        "messages.name": any(
            message.name
            for message in request.messages
            if message.role is not Role.TOOL
        ),
    }
    extras = (
        name
        for name, value in request.extras.items()
        if name != "thinking" or not isinstance(value, Mapping)  # sent as it is
    )
    return (*(name for name, left_out in is_left_out.items() if left_out), *extras)
