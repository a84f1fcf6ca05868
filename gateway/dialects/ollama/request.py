"""The record as bodies of Ollama's `/api/chat` and `/api/embed`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import orjson

from gateway.dialects.base import Built
from gateway.dialects.faults import unsupported
from gateway.dialects.record import (
    ChatRequest,
    EmbeddingsRequest,
    Image,
    Message,
    Part,
    Role,
    Text,
    Tool,
    ToolCall,
    ToolMode,
)
from gateway.snapshot import Capabilities, Deployment

# Beside Ollama's model options, a deployment's options may hold this one.
_TOP_LEVEL_OPTIONS = ("keep_alive",)
_SAMPLING = ("temperature", "top_p", "top_k", "min_p")
_OPTIONS = (*_SAMPLING, "frequency_penalty", "presence_penalty", "seed")
_LEVELS = {
    "minimal": "low",
    "low": "low",
    "medium": "medium",
    "high": "high",
    "xhigh": "high",
    "max": "high",
}


@dataclass(frozen=True, slots=True)
class OllamaBuilt(Built):
    """A chat body; `is_single_tool_call` keeps only the first call of the answer."""

    is_single_tool_call: bool = False


def build_chat(request: ChatRequest, deployment: Deployment) -> OllamaBuilt:
    """Write the body of `/api/chat`.

    Raises:
        UpstreamError: UNSUPPORTED_PARAMETER for image URLs, audio and files (param
            `messages`), a forced tool choice (`tool_choice`), tools that the model is
            known not to have (`tools`), more than one choice (`n`) and audio answers
            (`modalities`).

    """
    _refuse_inexpressible(request, deployment.capabilities)
    names = {call.id: call.name for m in request.messages for call in m.tool_calls}
    dropped: list[str] = []
    body: dict[str, object] = {
        "model": deployment.upstream_model,
        "messages": [_message(message, names) for message in request.messages],
        # Ollama streams unless told not to.
        "stream": request.stream,
        # Left out, an overlong prompt would lose its beginning without a word.
        "truncate": False,
    }
    if tools := _tools(request):
        body["tools"] = tools
    if request.json_format is not None:
        schema = request.json_format.schema
        body["format"] = "json" if schema is None else schema
    think = _think(request.reasoning_effort, deployment.capabilities, dropped)
    if think is not None:
        body["think"] = think
    if request.logprobs:
        body["logprobs"] = True
        if request.top_logprobs is not None:
            body["top_logprobs"] = request.top_logprobs
    _add_options(body, deployment.options, _options(request, deployment, dropped))
    dropped += _unplaced(request)
    return OllamaBuilt(
        body=orjson.dumps(body),
        dropped=tuple(dropped),
        is_single_tool_call=request.parallel_tool_calls is False,
    )


def build_embeddings(request: EmbeddingsRequest, deployment: Deployment) -> Built:
    """Write the body of `/api/embed`; an overlong text is an error, not cut."""
    body: dict[str, object] = {
        "model": deployment.upstream_model,
        "input": request.texts,
        "truncate": False,
    }
    if request.dimensions is not None:
        body["dimensions"] = request.dimensions
    _add_options(body, deployment.options, {})
    return Built(body=orjson.dumps(body))


def _refuse_inexpressible(request: ChatRequest, capabilities: Capabilities) -> None:
    if request.choices > 1:
        raise unsupported("n", "Ollama gives one choice only; send n = 1.")
    mode = request.tool_choice.mode if request.tool_choice else ToolMode.AUTO
    if mode in {ToolMode.REQUIRED, ToolMode.NAMED}:
        raise unsupported(
            "tool_choice",
            "Ollama cannot be made to call a tool; send tool_choice auto or none.",
        )
    if request.tools and mode is not ToolMode.NONE and capabilities.tools is False:
        raise unsupported("tools", "This Ollama model has no tools.")
    modalities = request.extras.get("modalities")
    if isinstance(modalities, list) and "audio" in modalities:
        raise unsupported("modalities", "Ollama answers in text only.")


def _message(message: Message, names: Mapping[str, str]) -> dict[str, object]:
    """Write one message; `names` gives the tool of each call's id."""
    text = message.text
    if not text and message.refusal:
        text = message.refusal
    # One string for all text parts: several messages would change the template.
    written: dict[str, object] = {"role": message.role.value, "content": text}
    if images := _images(message.parts):
        written["images"] = images
    if message.reasoning:
        written["thinking"] = message.reasoning
    if message.tool_calls:
        written["tool_calls"] = [
            _tool_call(call, index) for index, call in enumerate(message.tool_calls)
        ]
    if message.role is Role.TOOL:
        call_id = message.tool_call_id or ""
        if (name := names.get(call_id, message.name)) is not None:
            written["tool_name"] = name
        written["tool_call_id"] = call_id
    return written


def _images(parts: Iterable[Part]) -> list[str]:
    images = []
    for part in parts:
        match part:
            case Text():
                pass
            case Image(data=str(data)):
                images.append(data)
            case Image():
                raise unsupported(
                    "messages",
                    "Ollama takes images as data only; send a data: URL instead of a link.",
                )
            case _:
                raise unsupported(
                    "messages", "Ollama takes text and images only, no audio or files."
                )
    return images


def _tool_call(call: ToolCall, index: int) -> dict[str, object]:
    function = {
        "index": index,
        "name": call.name,
        "arguments": _arguments(call.arguments),
    }
    return {"id": call.id, "type": "function", "function": function}


def _arguments(text: str) -> object:
    """Give the arguments as the object that Ollama needs, as the model wrote it.

    Models write broken JSON at times, and the client only echoes it: it is kept as text
    under `_raw` rather than ending the conversation.
    """
    if not text.strip():
        return {}
    try:
        is_object = isinstance(orjson.loads(text), dict)
    except orjson.JSONDecodeError:
        is_object = False
    return orjson.Fragment(text) if is_object else {"_raw": text}


def _tools(request: ChatRequest) -> list[dict[str, object]]:
    if request.tool_choice and request.tool_choice.mode is ToolMode.NONE:
        return []
    return [{"type": "function", "function": _function(tool)} for tool in request.tools]


def _function(tool: Tool) -> dict[str, object]:
    function: dict[str, object] = {
        "name": tool.name,
        # Templates count on an object even where there is nothing to pass.
        "parameters": tool.parameters or {"type": "object", "properties": {}},
    }
    if tool.description is not None:
        function["description"] = tool.description
    return function


def _think(
    effort: str | None, capabilities: Capabilities, dropped: list[str]
) -> bool | str | None:
    """Give `think`: a level, or a switch where the model has no levels; None = unsaid."""
    if effort is None:
        return None
    kind = capabilities.reasoning
    if effort == "none" and kind != "always":
        return False
    level = _LEVELS.get(effort)
    if kind == "none" or level is None:
        dropped.append("reasoning_effort")
        return None
    return True if kind == "budget" else level


def _options(
    request: ChatRequest, deployment: Deployment, dropped: list[str]
) -> dict[str, object]:
    options: dict[str, object] = {}
    if request.max_tokens is not None:
        # 0 would mean without end there; one token is the least it can be told.
        options["num_predict"] = max(1, request.max_tokens)
    for name in _OPTIONS:
        value = getattr(request, name)
        if value is None:
            continue
        if name in _SAMPLING and deployment.capabilities.sampling is False:
            dropped.append(name)
        else:
            options[name] = value
    if request.stop:
        options["stop"] = list(request.stop)
    return options


def _add_options(
    body: dict[str, object], own: Mapping[str, object], asked: Mapping[str, object]
) -> None:
    """Add the deployment's own options; what the client asked for wins."""
    options = {k: v for k, v in own.items() if k not in _TOP_LEVEL_OPTIONS}
    options.update(asked)
    if options:
        body["options"] = options
    body.update({k: own[k] for k in _TOP_LEVEL_OPTIONS if k in own})


def _unplaced(request: ChatRequest) -> list[str]:
    """Name what the client said and Ollama has no word for."""
    said = [name for name in ("user", "service_tier") if getattr(request, name)]
    return said + list(request.extras)
