"""Ollama's wire format: chat, embed and the model listings. Pure."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Mapping
from datetime import datetime
from hashlib import sha256
from typing import Any

import orjson

from gateway.simulator.answer import (
    Ask,
    Finish,
    Reply,
    Tool,
    compose,
    count_content,
    count_tokens,
    pieces,
)
from gateway.simulator.embedding import DIMENSIONS, embed
from gateway.simulator.exchange import Answer, Call, Event, RefusalError, is_count
from gateway.simulator.vendor_errors import ollama_error

MODELS = ("llama3:latest", "all-minilm:latest")
VERSION = "0.13.0"
CONTEXT_TOKENS = 8192
_SIZE_BYTES = 4_661_224_676
_ROLES = ("system", "user", "assistant", "tool")
_DETAILS = {
    "parent_model": "",
    "format": "gguf",
    "family": "simulated",
    "families": ["simulated"],
    "parameter_size": "8.0B",
    "quantization_level": "Q4_0",
}


def chat(call: Call) -> Answer:
    """Answer POST /api/chat; raise RefusalError as the vendor would."""
    body = call.body
    _check_model(call)
    _check_chat(body)
    if not body.get("messages"):
        return Answer((Event(_line(_loaded(call))),), content_type=_type(body))
    ask = _read_chat(body)
    reply = compose(ask, call.behaviour)
    if body.get("stream") is False:
        message = _message(reply.text, reply.thinking) | _tool_calls(call, reply)
        final = _final(call, ask, reply, message) | _logprobs(body, reply.text)
        return Answer((Event(orjson.dumps(final), reply.output_tokens),))
    failure = _line({"error": ollama_error(RefusalError(500))})
    return Answer(
        tuple(_stream(call, ask, reply)),
        content_type=_type(body),
        is_stream=True,
        failure=failure,
    )


def embed_texts(call: Call) -> Answer:
    """Answer POST /api/embed; vectors have length 1 and depend on the text only."""
    _check_model(call)
    given = call.body.get("input")
    texts = [given] if isinstance(given, str) else given
    if texts is None:
        texts = []
    if not isinstance(texts, list) or not all(isinstance(t, str) for t in texts):
        raise RefusalError(400, "invalid input type")
    size = call.body.get("dimensions") or DIMENSIONS
    if not is_count(size):
        raise RefusalError(400, "invalid dimensions")
    return _json(
        {
            "model": call.body["model"],
            "embeddings": [embed(text, dimensions=size) for text in texts],
            **_durations(call),
            "prompt_eval_count": sum(count_tokens(text) for text in texts),
        }
    )


def tags(call: Call) -> Answer:
    """Answer GET /api/tags."""
    return _json({"models": [_tag(name, call.now) for name in _known(call)]})


def running(call: Call) -> Answer:
    """Answer GET /api/ps: every model is in memory."""
    loaded = {
        "size_vram": _SIZE_BYTES,
        "context_length": CONTEXT_TOKENS,
        "expires_at": call.now.isoformat(),
    }
    return _json({"models": [_tag(name, call.now) | loaded for name in _known(call)]})


def version(_call: Call) -> Answer:
    """Answer GET /api/version."""
    return _json({"version": VERSION})


def show(call: Call) -> Answer:
    """Answer POST /api/show, with what the model can do."""
    name = _check_model(call)
    can_embed_only = "embed" in name or "minilm" in name
    able = ["completion", "tools", "vision", "thinking"]
    return _json(
        {
            "modelfile": f"# simulated\nFROM {name}\n",
            "parameters": "",
            "template": "{{ .Prompt }}",
            "details": _DETAILS,
            "model_info": {
                "general.architecture": "simulated",
                "simulated.context_length": CONTEXT_TOKENS,
                "simulated.embedding_length": DIMENSIONS,
            },
            "capabilities": ["embedding"] if can_embed_only else able,
            "modified_at": call.now.isoformat(),
        }
    )


def _known(call: Call) -> tuple[str, ...]:
    return MODELS if call.models is None else tuple(map(_tagged, call.models))


def _tagged(name: str) -> str:
    """Give the name its tag: Ollama reads no tag as `latest`."""
    return name if ":" in name else f"{name}:latest"


def _check_model(call: Call) -> str:
    name = call.body.get("model") or call.body.get("name")
    if not isinstance(name, str):
        raise RefusalError(400, "model is required")
    if call.models is not None and _tagged(name) not in _known(call):
        raise RefusalError(404, f"model '{name}' not found")
    return name


def _check_chat(body: Mapping[str, Any]) -> None:
    messages = body.get("messages")
    if not isinstance(messages, list | None):
        raise RefusalError(400, "messages must be an array")
    for message in messages or ():
        _check_message(message)
    for name, kinds in (("options", Mapping), ("tools", list), ("stream", bool)):
        if not isinstance(body.get(name), kinds | None):
            raise RefusalError(400, f"invalid type for {name}")
    for tool in body.get("tools") or ():
        function = tool.get("function") if isinstance(tool, Mapping) else None
        if not isinstance(function, Mapping) or not isinstance(
            function.get("name"), str
        ):
            raise RefusalError(400, "invalid tool: function.name is required")
    wanted = body.get("format")
    if not (wanted is None or wanted in ("", "json") or isinstance(wanted, Mapping)):
        raise RefusalError(
            400, f'invalid format: {wanted!r}; expected "json" or a JSON schema'
        )
    if body.get("think") not in (None, True, False, "low", "medium", "high"):
        raise RefusalError(400, f"invalid think value: {body['think']!r}")
    _check_options(body.get("options") or {})


def _check_options(options: Mapping[str, Any]) -> None:
    limit, stop = options.get("num_predict"), options.get("stop")
    if limit is not None and not isinstance(limit, int):
        raise RefusalError(400, 'option "num_predict" must be of type integer')
    is_list = isinstance(stop, list) and all(isinstance(s, str) for s in stop)
    if stop is not None and not is_list:
        raise RefusalError(400, 'option "stop" must be of type array')


def _check_message(message: object) -> None:
    if not isinstance(message, Mapping) or message.get("role") not in _ROLES:
        raise RefusalError(400, "invalid message: role is required")
    if not isinstance(message.get("content"), str | None):
        raise RefusalError(
            400,
            "json: cannot unmarshal array into Go struct field"
            " ChatRequest.messages.content of type string",
        )
    images = message.get("images") or []
    for place, image in enumerate(images if isinstance(images, list) else [images]):
        try:
            base64.b64decode(str(image), validate=True)
        except (binascii.Error, ValueError):
            raise RefusalError(
                400, f"illegal base64 data at input byte 0 of image {place}"
            ) from None
    for item in message.get("tool_calls") or ():
        function = item.get("function") if isinstance(item, Mapping) else None
        arguments = function.get("arguments") if isinstance(function, Mapping) else None
        if not isinstance(arguments, Mapping):
            raise RefusalError(
                400,
                "json: cannot unmarshal string into Go struct field"
                " .messages.tool_calls.function.arguments of type map",
            )


def _read_chat(body: Mapping[str, Any]) -> Ask:
    messages = body["messages"]
    options = body.get("options") or {}
    limit = options.get("num_predict", -1)
    results: list[str] = []
    for message in reversed(messages):
        if message["role"] != "tool":
            break
        results.insert(0, message.get("content") or "")
    wanted = body.get("format")
    return Ask(
        model=body["model"],
        last_user_text=next(
            (m.get("content") or "" for m in reversed(messages) if m["role"] == "user"),
            "",
        ),
        input_tokens=max(1, count_content(messages) + count_content(body.get("tools"))),
        tool_results=tuple(results),
        tools=tuple(
            Tool(tool["function"]["name"], tool["function"].get("parameters"))
            for tool in body.get("tools") or ()
        ),
        wants_json=wanted == "json",
        schema=wanted if isinstance(wanted, Mapping) else None,
        wants_thinking=bool(body.get("think")),
        # -1 is endless and -2 fills the context: neither cuts a short answer.
        max_tokens=limit if is_count(limit) else None,
        stop=tuple(options.get("stop") or ()),
    )


def _stream(call: Call, ask: Ask, reply: Reply) -> Iterator[Event]:
    head = _head(call)
    for piece in pieces(reply.thinking):
        line = head | {"message": _message("", piece), "done": False}
        yield Event(_line(line), 1)
    for piece in reply.text_pieces:
        line = head | {"message": _message(piece), "done": False}
        yield Event(_line(line | _logprobs(call.body, piece)), count_tokens(piece))
    if reply.calls:
        message = _message("") | _tool_calls(call, reply)
        tokens = reply.output_tokens - reply.thinking_tokens
        yield Event(_line(head | {"message": message, "done": False}), tokens)
    yield Event(_line(_final(call, ask, reply, _message(""))))


def _head(call: Call) -> dict[str, Any]:
    created = call.now.isoformat().replace("+00:00", "Z")
    return {"model": call.body["model"], "created_at": created}


def _message(text: str, thinking: str = "") -> dict[str, Any]:
    message = {"role": "assistant", "content": text}
    return message | {"thinking": thinking} if thinking else message


def _tool_calls(call: Call, reply: Reply) -> dict[str, Any]:
    if not reply.calls:
        return {}
    return {
        "tool_calls": [
            {
                "id": f"call_sim_{call.number}_{place}",
                "function": {
                    "index": place,
                    "name": tool.name,
                    "arguments": tool.arguments,
                },
            }
            for place, tool in enumerate(reply.calls)
        ]
    }


def _final(
    call: Call, ask: Ask, reply: Reply, message: dict[str, Any]
) -> dict[str, Any]:
    return _head(call) | {
        "message": message,
        "done": True,
        "done_reason": "length" if reply.finish is Finish.LENGTH else "stop",
        **_durations(call),
        "prompt_eval_count": ask.input_tokens,
        "prompt_eval_duration": 1_000_000,
        "eval_count": reply.output_tokens,
        "eval_duration": 1_000_000,
    }


def _loaded(call: Call) -> dict[str, Any]:
    ending = {"done": True, "done_reason": "load"}
    return _head(call) | {"message": _message("")} | ending


def _durations(call: Call) -> dict[str, int]:
    """Give nanoseconds; the model is always loaded, so loading takes none."""
    latency_ns = int(call.behaviour.latency_s * 1e9)
    return {"total_duration": latency_ns + 2_000_000, "load_duration": 0}


def _logprobs(body: Mapping[str, Any], text: str) -> dict[str, Any]:
    if not body.get("logprobs"):
        return {}
    top = body.get("top_logprobs")
    wanted = top if isinstance(top, int) else 0
    return {
        "logprobs": [
            {
                "token": token,
                "logprob": -0.01,
                "top_logprobs": [
                    {"token": token if i == 0 else f"alt{i}", "logprob": -0.01 - i}
                    for i in range(wanted)
                ],
            }
            for token in pieces(text)
        ]
    }


def _tag(name: str, now: datetime) -> dict[str, Any]:
    return {
        "name": name,
        "model": name,
        "modified_at": now.isoformat(),
        "size": _SIZE_BYTES,
        "digest": sha256(name.encode()).hexdigest(),
        "details": _DETAILS,
    }


def _type(body: Mapping[str, Any]) -> str:
    is_whole = body.get("stream") is False
    return "application/json; charset=utf-8" if is_whole else "application/x-ndjson"


def _line(data: dict[str, Any]) -> bytes:
    return orjson.dumps(data) + b"\n"


def _json(body: dict[str, Any]) -> Answer:
    return Answer((Event(orjson.dumps(body)),))
