"""Whole answers of `/api/chat` and `/api/embed`, and what streams share with them."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256

import orjson

from gateway.dialects.base import Built
from gateway.dialects.faults import invalid_response
from gateway.dialects.ollama.faults import read_late_error
from gateway.dialects.ollama.request import OllamaBuilt
from gateway.dialects.record import (
    ChatResponse,
    EmbeddingsResponse,
    ToolCall,
    Usage,
)
from gateway.kinds import FinishReason

_ID_DIGITS = 16


def read_chat(data: bytes, built: Built) -> ChatResponse:
    """Read a whole 200 answer.

    Raises:
        UpstreamError: By the text of an `error` in it; INVALID_RESPONSE when it is not
            what Ollama documents.

    """
    answer = read_line(data)
    message = answer.get("message")
    if not isinstance(message, dict):
        raise invalid_response("'message' is not an object")
    calls = read_tool_calls(message, seed=answer.get("created_at"), first_index=0)
    if is_single_tool_call(built):
        calls = calls[:1]
    text = read_text(message, "content")
    model = answer.get("model")
    return ChatResponse(
        text=text if text or not calls else None,
        finish_reason=finish_reason(answer, has_tool_calls=bool(calls)),
        usage=read_usage(answer),
        tool_calls=calls,
        reasoning=read_text(message, "thinking") or None,
        upstream_model=model if isinstance(model, str) else None,
        logprobs=read_logprobs(answer.get("logprobs")),
    )


def read_embeddings(data: bytes) -> EmbeddingsResponse:
    """Read a whole 200 answer; raises like `read_chat`."""
    answer = read_line(data)
    vectors = answer.get("embeddings")
    if not isinstance(vectors, list) or not vectors:
        raise invalid_response("'embeddings' is not a list of vectors")
    read = tuple(_read_vector(vector) for vector in vectors)
    count = _read_count(answer, "prompt_eval_count")
    return EmbeddingsResponse(
        vectors=read, usage=None if count is None else Usage(input_tokens=count)
    )


def read_line(line: bytes) -> dict[str, object]:
    """Parse a whole answer or one line of a stream; raises like `read_chat`."""
    try:
        answer = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise invalid_response("it is not JSON") from error
    if not isinstance(answer, dict):
        raise invalid_response("it is not an object")
    if (reported := answer.get("error")) is not None:
        raise read_late_error(reported)
    return answer


def is_single_tool_call(built: Built) -> bool:
    """Say whether the client forbade parallel tool calls."""
    return isinstance(built, OllamaBuilt) and built.is_single_tool_call


def read_text(message: Mapping[str, object], name: str) -> str:
    """Give a text of the message, empty when it is absent or null."""
    text = message.get(name)
    if text is None:
        return ""
    if not isinstance(text, str):
        raise invalid_response(f"'message.{name}' is not a string")
    return text


def read_tool_calls(
    message: Mapping[str, object], *, seed: object, first_index: int
) -> tuple[ToolCall, ...]:
    """Read the calls; the first one is number `first_index` of the answer.

    Older servers give no ids. One is made of the call itself and of `seed` (the time of
    the answer): reading twice gives the same id, and the same call in a later turn
    another, as ids must be unique within a conversation.
    """
    given = message.get("tool_calls")
    if given is None:
        return ()
    if not isinstance(given, list):
        raise invalid_response("'message.tool_calls' is not a list")
    return tuple(
        _read_tool_call(call, seed=seed, index=index)
        for index, call in enumerate(given, first_index)
    )


def _read_tool_call(call: object, *, seed: object, index: int) -> ToolCall:
    function = call.get("function") if isinstance(call, dict) else None
    if not isinstance(call, dict) or not isinstance(function, dict):
        raise invalid_response("a tool call has no 'function'")
    name = function.get("name")
    arguments = function.get("arguments")
    if not isinstance(name, str) or not name:
        raise invalid_response("a tool call has no name")
    text = _arguments_text({} if arguments is None else arguments)
    given = call.get("id")
    if not isinstance(given, str) or not given:
        digest = sha256(f"{seed}\n{index}\n{name}\n{text}".encode()).hexdigest()
        given = f"call_{index}_{digest[:_ID_DIGITS]}"
    return ToolCall(id=given, name=name, arguments=text)


def _arguments_text(arguments: object) -> str:
    # Models served through a shim of somebody else's send the text at times.
    if isinstance(arguments, str):
        return arguments
    try:
        return orjson.dumps(arguments).decode()
    except orjson.JSONEncodeError as error:
        raise invalid_response("a tool call is nested too deep") from error


def finish_reason(
    answer: Mapping[str, object], *, has_tool_calls: bool
) -> FinishReason:
    """Say why it stopped; Ollama says `stop` of an answer that calls tools."""
    if has_tool_calls:
        return FinishReason.TOOL_CALLS
    # The rest are stop, and load or unload for an empty prompt: nothing was said.
    is_cut = answer.get("done_reason") == "length"
    return FinishReason.LENGTH if is_cut else FinishReason.STOP


def read_usage(answer: Mapping[str, object]) -> Usage | None:
    """Read the counts; None when the prompt's is absent, as it is when it was cached.

    An absent `eval_count` beside it is a zero that Ollama left out.
    """
    prompt = _read_count(answer, "prompt_eval_count")
    if prompt is None:
        return None
    return Usage(
        input_tokens=prompt, output_tokens=_read_count(answer, "eval_count") or 0
    )


def _read_count(answer: Mapping[str, object], name: str) -> int | None:
    count = answer.get(name)
    if isinstance(count, bool) or not isinstance(count, int) or count < 0:
        return None
    return count


def read_logprobs(given: object) -> dict[str, object] | None:
    """Give Ollama's list as OpenAI's `logprobs` object; None when there is none."""
    if not isinstance(given, list) or not given:
        return None
    return {"content": [_read_logprob(entry) for entry in given], "refusal": None}


def _read_logprob(entry: object) -> dict[str, object]:
    read = _read_token(entry)
    top = entry.get("top_logprobs") if isinstance(entry, dict) else None
    read["top_logprobs"] = (
        [_read_token(e) for e in top] if isinstance(top, list) else []
    )
    return read


def _read_token(entry: object) -> dict[str, object]:
    token = entry.get("token") if isinstance(entry, dict) else None
    logprob = entry.get("logprob") if isinstance(entry, dict) else None
    if not isinstance(token, str) or not isinstance(logprob, (int, float)):
        raise invalid_response("an entry of 'logprobs' has no token or no logprob")
    return {"token": token, "logprob": logprob, "bytes": list(token.encode())}


def _read_vector(vector: object) -> tuple[float, ...]:
    if not isinstance(vector, list) or not set(map(type, vector)) <= {float, int}:
        raise invalid_response("a vector is not a list of numbers")
    return tuple(vector)
