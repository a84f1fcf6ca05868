"""OpenAI's wire format: chat completions, embeddings and models. Pure."""

from __future__ import annotations

import base64
import struct
from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from gateway.simulator.answer import (
    Ask,
    Finish,
    Reply,
    Tool,
    ToolChoice,
    compose,
    count_content,
    count_tokens,
    pieces,
)
from gateway.simulator.embedding import embed
from gateway.simulator.exchange import Answer, Call, Event, RefusalError, text_of
from gateway.simulator.openai_checks import check_chat, check_embeddings
from gateway.simulator.vendor_errors import openai_error

MODELS = ("gpt-4", "gpt-3.5-turbo")
# The vendor's size for text-embedding-3-small, and what `dimensions` cuts down.
DIMENSIONS = 1536
_CREATED_S = 1_767_225_600
_FINGERPRINT = "fp_simulated"
_LOGPROB = -0.01


def chat(call: Call) -> Answer:
    """Answer POST /v1/chat/completions; raise RefusalError as the vendor would."""
    check_chat(call.body)
    require_model(call.body["model"], call.models)
    ask = read_chat(call.body)
    reply = compose(ask, call.behaviour)
    count = call.body.get("n") or 1
    if not call.body.get("stream"):
        return _json(_completion(call, ask, [reply] * count))
    events = tuple(_stream(call, ask, [reply] * count))
    failure = _sse({"error": openai_error(RefusalError(500))}).data
    return Answer(
        events, content_type="text/event-stream", is_stream=True, failure=failure
    )


def embeddings(call: Call) -> Answer:
    """Answer POST /v1/embeddings; vectors have length 1 and depend on the text only."""
    body = call.body
    inputs = check_embeddings(body)
    require_model(body["model"], call.models)
    size = body.get("dimensions") or DIMENSIONS
    wants_base64 = body.get("encoding_format") == "base64"
    as_base64 = wants_base64 and not call.behaviour.floats_only
    data = [
        {"object": "embedding", "index": i, "embedding": _vector(text, size, as_base64)}
        for i, text in enumerate(inputs)
    ]
    tokens = sum(max(1, count_tokens(text)) for text in inputs)
    return _json(
        {
            "object": "list",
            "data": data,
            "model": body["model"],
            "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
        }
    )


def list_models(call: Call) -> Answer:
    """Answer GET /v1/models."""
    names = MODELS if call.models is None else call.models
    return _json({"object": "list", "data": [_model(name) for name in names]})


def get_model(call: Call) -> Answer:
    """Answer GET /v1/models/{id}."""
    require_model(call.path_tail, call.models)
    return _json(_model(call.path_tail))


def require_model(name: str, known: tuple[str, ...] | None) -> None:
    """Refuse a model that is not on the list, when there is a list."""
    if known is None or name in known:
        return
    raise RefusalError(
        404,
        f"The model `{name}` does not exist or you do not have access to it.",
        code="model_not_found",
    )


def read_chat(body: Mapping[str, Any]) -> Ask:
    """Turn a checked chat request into a question."""
    messages = body["messages"]
    formatted = body.get("response_format") or {}
    schema = None
    if formatted.get("type") == "json_schema":
        schema = formatted["json_schema"].get("schema") or {}
    choice, named = _tool_choice(body.get("tool_choice"))
    limit = body.get("max_completion_tokens")
    stop = body.get("stop") or ()
    return Ask(
        model=body["model"],
        last_user_text=next(
            (text_of(m.get("content")) for m in reversed(messages) if _is_user(m)), ""
        ),
        input_tokens=max(1, count_content(messages) + count_content(body.get("tools"))),
        tool_results=_last_tool_results(messages),
        tools=tuple(
            Tool(tool["function"]["name"], tool["function"].get("parameters"))
            for tool in body.get("tools") or ()
            if tool["type"] == "function"
        ),
        tool_choice=choice,
        named_tool=named,
        allows_parallel_calls=body.get("parallel_tool_calls") is not False,
        wants_json=formatted.get("type") == "json_object",
        schema=schema,
        max_tokens=body.get("max_tokens") if limit is None else limit,
        stop=(stop,) if isinstance(stop, str) else tuple(stop),
    )


def _is_user(message: Mapping[str, Any]) -> bool:
    return bool(message["role"] == "user")


def _last_tool_results(messages: list[dict[str, Any]]) -> tuple[str, ...]:
    results: list[str] = []
    for message in reversed(messages):
        if message["role"] != "tool":
            break
        results.insert(0, text_of(message.get("content")))
    return tuple(results)


def _tool_choice(choice: object) -> tuple[ToolChoice, str]:
    if isinstance(choice, Mapping):
        if isinstance(function := choice.get("function"), Mapping):
            return ToolChoice.NAMED, str(function.get("name"))
        allowed = choice.get("allowed_tools")
        mode = allowed.get("mode") if isinstance(allowed, Mapping) else "auto"
        return ToolChoice("required" if mode == "required" else "auto"), ""
    return ToolChoice(str(choice or "auto")), ""


def _completion(call: Call, ask: Ask, replies: list[Reply]) -> dict[str, Any]:
    choices = [
        {
            "index": index,
            "message": _message(call, reply, index),
            "logprobs": _logprobs(call.body, reply.text),
            "finish_reason": _finish(reply),
        }
        for index, reply in enumerate(replies)
    ]
    return {
        **_head(call, "chat.completion"),
        "choices": choices,
        "usage": _usage(ask, replies),
    }


def _message(call: Call, reply: Reply, index: int) -> dict[str, Any]:
    message: dict[str, Any] = {
        "role": "assistant",
        "content": None if reply.calls else reply.text,
        "refusal": None,
        "annotations": [],
    }
    if reply.calls:
        message["tool_calls"] = [
            {
                "id": _call_id(call, index, place),
                "type": "function",
                "function": {"name": tool.name, "arguments": tool.arguments_json},
            }
            for place, tool in enumerate(reply.calls)
        ]
    return message


def _stream(call: Call, ask: Ask, replies: list[Reply]) -> Iterator[Event]:
    options = call.body.get("stream_options") or {}
    head = _head(call, "chat.completion.chunk")
    if options.get("include_usage"):
        head["usage"] = None
    for index, reply in enumerate(replies):
        yield _chunk(head, index, {"role": "assistant", "content": "", "refusal": None})
        for piece in reply.text_pieces:
            logprobs = _logprobs(call.body, piece)
            delta, tokens = {"content": piece}, count_tokens(piece)
            yield _chunk(head, index, delta, tokens=tokens, logprobs=logprobs)
        yield from _tool_chunks(call, head, index, reply)
        yield _chunk(head, index, {}, finish=_finish(reply))
    if options.get("include_usage"):
        yield _sse(head | {"choices": [], "usage": _usage(ask, replies)})
    yield Event(b"data: [DONE]\n\n")


def _tool_chunks(
    call: Call, head: dict[str, Any], index: int, reply: Reply
) -> Iterator[Event]:
    for place, tool in enumerate(reply.calls):
        opening = {
            "index": place,
            "id": _call_id(call, index, place),
            "type": "function",
            "function": {"name": tool.name, "arguments": ""},
        }
        yield _chunk(head, index, {"tool_calls": [opening]})
        for piece in pieces(tool.arguments_json):
            part = {"index": place, "function": {"arguments": piece}}
            yield _chunk(head, index, {"tool_calls": [part]}, tokens=1)


def _chunk(
    head: dict[str, Any],
    index: int,
    delta: dict[str, Any],
    *,
    tokens: int = 0,
    finish: str | None = None,
    logprobs: dict[str, Any] | None = None,
) -> Event:
    choice = {
        "index": index,
        "delta": delta,
        "logprobs": logprobs,
        "finish_reason": finish,
    }
    return _sse({**head, "choices": [choice]}, tokens=tokens)


def _sse(data: dict[str, Any], *, tokens: int = 0) -> Event:
    return Event(b"data: " + orjson.dumps(data) + b"\n\n", tokens)


def _head(call: Call, kind: str) -> dict[str, Any]:
    return {
        "id": f"chatcmpl-sim-{call.number}",
        "object": kind,
        "created": int(call.now.timestamp()),
        "model": call.body["model"],
        "service_tier": "default",
        "system_fingerprint": _FINGERPRINT,
    }


def _call_id(call: Call, index: int, place: int) -> str:
    return f"call_sim_{call.number}_{index}_{place}"


def _finish(reply: Reply) -> str:
    # OpenAI has no word for a matched stop sequence.
    return Finish.STOP if reply.finish is Finish.STOP_SEQUENCE else reply.finish


def _usage(ask: Ask, replies: list[Reply]) -> dict[str, Any]:
    output = sum(reply.output_tokens for reply in replies)
    return {
        "prompt_tokens": ask.input_tokens,
        "completion_tokens": output,
        "total_tokens": ask.input_tokens + output,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": 0,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def _logprobs(body: Mapping[str, Any], text: str) -> dict[str, Any] | None:
    if not body.get("logprobs"):
        return None
    wanted = body.get("top_logprobs") or 0
    content = []
    for token in pieces(text):
        top = [_token(token if i == 0 else f"alt{i}", i) for i in range(wanted)]
        content.append(_token(token, 0) | {"top_logprobs": top})
    return {"content": content, "refusal": None}


def _token(text: str, rank: int) -> dict[str, Any]:
    logprob = _LOGPROB - rank
    return {"token": text, "logprob": logprob, "bytes": list(text.encode())}


def _vector(text: str, size: int, as_base64: bool) -> list[float] | str:
    vector = embed(text, dimensions=size)
    if not as_base64:
        return vector
    return base64.b64encode(struct.pack(f"<{size}f", *vector)).decode()


def _model(name: str) -> dict[str, Any]:
    return {
        "id": name,
        "object": "model",
        "created": _CREATED_S,
        "owned_by": "ailb-simulator",
    }


def _json(body: dict[str, Any]) -> Answer:
    return Answer((Event(orjson.dumps(body), _tokens_of(body)),))


def _tokens_of(body: dict[str, Any]) -> int:
    return int(body.get("usage", {}).get("completion_tokens", 0))
