"""Anthropic's wire format: messages and models. Pure."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from hashlib import blake2b
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
from gateway.simulator.anthropic_checks import check_headers, check_messages
from gateway.simulator.exchange import Answer, Call, Event, RefusalError, text_of
from gateway.simulator.vendor_errors import anthropic_error

MODELS = ("claude-3-opus-20240229", "claude-3-sonnet-20240229")
_CREATED = "2026-01-01T00:00:00Z"
_STOP_REASONS = {
    Finish.STOP: "end_turn",
    Finish.STOP_SEQUENCE: "stop_sequence",
    Finish.LENGTH: "max_tokens",
    Finish.TOOL_CALLS: "tool_use",
}
_CHOICES = {
    "none": ToolChoice.NONE,
    "auto": ToolChoice.AUTO,
    "any": ToolChoice.REQUIRED,
    "tool": ToolChoice.NAMED,
}


def messages(call: Call) -> Answer:
    """Answer POST /v1/messages; raise RefusalError as the vendor would."""
    check_headers(call.headers)
    check_messages(call.body)
    require_model(call.body["model"], call.models)
    ask = read_messages(call.body)
    reply = compose(ask, call.behaviour)
    usage = _usage(call, ask)
    if not call.body.get("stream"):
        return Answer((Event(_whole(call, reply, usage), reply.output_tokens),))
    failure = _event(anthropic_error(RefusalError(529))).data
    return Answer(
        tuple(_stream(call, reply, usage)),
        content_type="text/event-stream; charset=utf-8",
        is_stream=True,
        failure=failure,
    )


def list_models(call: Call) -> Answer:
    """Answer GET /v1/models for a client that sends anthropic-version."""
    names = MODELS if call.models is None else call.models
    body = {
        "data": [_model(name) for name in names],
        "has_more": False,
        "first_id": names[0] if names else None,
        "last_id": names[-1] if names else None,
    }
    return Answer((Event(orjson.dumps(body)),))


def get_model(call: Call) -> Answer:
    """Answer GET /v1/models/{id} for a client that sends anthropic-version."""
    require_model(call.path_tail, call.models)
    return Answer((Event(orjson.dumps(_model(call.path_tail))),))


def require_model(name: str, known: tuple[str, ...] | None) -> None:
    """Refuse a model that is not on the list, when there is a list."""
    if known is not None and name not in known:
        raise RefusalError(404, f"model: {name}")


def read_messages(body: Mapping[str, Any]) -> Ask:
    """Turn a checked messages request into a question."""
    turns = body["messages"]
    last_user = next(
        (turn["content"] for turn in reversed(turns) if turn["role"] == "user"), ""
    )
    results = _tool_results(turns[-1]["content"])
    choice = body.get("tool_choice") or {"type": "auto"}
    schema = _output_schema(body)
    thinking = (body.get("thinking") or {}).get("type")
    return Ask(
        model=body["model"],
        last_user_text=_plain_text(last_user),
        input_tokens=max(
            1,
            sum(
                count_content(body.get(key)) for key in ("system", "messages", "tools")
            ),
        ),
        tool_results=results,
        tools=tuple(
            Tool(tool["name"], tool.get("input_schema"))
            for tool in body.get("tools") or ()
        ),
        tool_choice=_CHOICES[choice["type"]],
        named_tool=choice.get("name", ""),
        allows_parallel_calls=not choice.get("disable_parallel_tool_use"),
        schema=schema,
        wants_thinking=thinking in {"enabled", "adaptive"},
        max_tokens=body["max_tokens"],
        stop=tuple(body.get("stop_sequences") or ()),
    )


def _plain_text(content: object) -> str:
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    return "\n".join(p["text"] for p in parts if p.get("type") == "text")


def _tool_results(content: object) -> tuple[str, ...]:
    parts = content if isinstance(content, list) else []
    return tuple(
        text_of(part.get("content"))
        for part in parts
        if part.get("type") == "tool_result"
    )


def _output_schema(body: Mapping[str, Any]) -> object:
    wanted = (body.get("output_config") or {}).get("format") or {}
    return wanted.get("schema")


def _content(call: Call, reply: Reply) -> list[dict[str, Any]]:
    blocks: list[dict[str, Any]] = []
    if reply.thinking:
        blocks.append(
            {
                "type": "thinking",
                "thinking": reply.thinking,
                "signature": _signature(reply.thinking),
            }
        )
    if reply.text:
        blocks.append({"type": "text", "text": reply.text, "citations": None})
    blocks += [
        {
            "type": "tool_use",
            "id": f"toolu_sim_{call.number}_{place}",
            "name": tool.name,
            "input": tool.arguments,
        }
        for place, tool in enumerate(reply.calls)
    ]
    return blocks


def _signature(thinking: str) -> str:
    digest = blake2b(thinking.encode(), digest_size=24).digest()
    return base64.b64encode(b"simulated" + digest).decode()


def _message(
    call: Call, content: list[dict[str, Any]], usage: dict[str, Any]
) -> dict[str, Any]:
    return {
        "id": f"msg_sim_{call.number}",
        "type": "message",
        "role": "assistant",
        "model": call.body["model"],
        "content": content,
        "stop_reason": None,
        "stop_sequence": None,
        "usage": usage,
    }


def _whole(call: Call, reply: Reply, usage: dict[str, Any]) -> bytes:
    body = _message(call, _content(call, reply), usage | _output(reply))
    return orjson.dumps(body | _ending(reply))


def _ending(reply: Reply) -> dict[str, Any]:
    return {
        "stop_reason": _STOP_REASONS[reply.finish],
        "stop_sequence": reply.stop_sequence,
    }


def _output(reply: Reply) -> dict[str, Any]:
    details = {"thinking_tokens": reply.thinking_tokens}
    return {"output_tokens": reply.output_tokens, "output_tokens_details": details}


def _stream(call: Call, reply: Reply, usage: dict[str, Any]) -> Iterator[Event]:
    start = _message(call, [], usage | {"output_tokens": 1})
    yield _event({"type": "message_start", "message": start})
    for index, block in enumerate(_content(call, reply)):
        opening, deltas = _open(block, reply)
        yield _event(
            {"type": "content_block_start", "index": index, "content_block": opening}
        )
        if index == 0:
            yield _event({"type": "ping"})
        for delta in deltas:
            # A long piece weighs more; a signature is no token of the model's.
            text = (
                delta.get("text") or delta.get("thinking") or delta.get("partial_json")
            )
            tokens = count_tokens(text or "")
            yield _event(
                {"type": "content_block_delta", "index": index, "delta": delta}, tokens
            )
        yield _event({"type": "content_block_stop", "index": index})
    counts = {key: usage[key] for key in _INPUT_COUNTS} | _output(reply)
    yield _event({"type": "message_delta", "delta": _ending(reply), "usage": counts})
    yield _event({"type": "message_stop"})


_INPUT_COUNTS = (
    "input_tokens",
    "cache_creation_input_tokens",
    "cache_read_input_tokens",
)


def _open(
    block: dict[str, Any], reply: Reply
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Give the block as it opens in a stream, and the deltas that fill it."""
    if block["type"] == "text":
        deltas = [{"type": "text_delta", "text": p} for p in reply.text_pieces]
        return block | {"text": ""}, deltas
    if block["type"] == "thinking":
        deltas = [
            {"type": "thinking_delta", "thinking": p} for p in pieces(block["thinking"])
        ]
        deltas.append({"type": "signature_delta", "signature": block["signature"]})
        return block | {"thinking": "", "signature": ""}, deltas
    parts = ["", *pieces(orjson.dumps(block["input"]).decode())]
    deltas = [{"type": "input_json_delta", "partial_json": p} for p in parts]
    return block | {"input": {}}, deltas


def _event(data: dict[str, Any], tokens: int = 0) -> Event:
    name = data["type"].encode()
    return Event(b"event: " + name + b"\ndata: " + orjson.dumps(data) + b"\n\n", tokens)


def _usage(call: Call, ask: Ask) -> dict[str, Any]:
    """Count input in disjoint buckets: fresh, written to and read from the cache."""
    marked = _marked_prefix(call.body)
    cached = min(count_content(marked), ask.input_tokens)
    was_seen = bool(marked) and call.cached_before(_digest(call.body["model"], marked))
    written = 0 if was_seen else cached
    return {
        "input_tokens": ask.input_tokens - cached,
        "cache_creation_input_tokens": written,
        "cache_read_input_tokens": cached - written,
        "cache_creation": {
            "ephemeral_5m_input_tokens": written,
            "ephemeral_1h_input_tokens": 0,
        },
        "output_tokens": 0,
        "service_tier": "standard",
    }


def _marked_prefix(body: Mapping[str, Any]) -> list[Any]:
    """List tools, system and message blocks up to the last cache_control mark."""
    blocks: list[Any] = [*(body.get("tools") or ())]
    system = body.get("system") or []
    blocks += system if isinstance(system, list) else [system]
    for turn in body["messages"]:
        content = turn["content"]
        blocks += content if isinstance(content, list) else [content]
    marks = [i for i, block in enumerate(blocks) if _is_marked(block)]
    if body.get("cache_control"):
        return blocks
    return blocks[: marks[-1] + 1] if marks else []


def _is_marked(block: object) -> bool:
    return isinstance(block, Mapping) and bool(block.get("cache_control"))


def _digest(model: str, prefix: list[Any]) -> bytes:
    return blake2b(model.encode() + orjson.dumps(prefix), digest_size=16).digest()


def _model(name: str) -> dict[str, Any]:
    return {
        "type": "model",
        "id": name,
        "display_name": f"{name} (simulated)",
        "created_at": _CREATED,
        "lifecycle": "active",
    }
