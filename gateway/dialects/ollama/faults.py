"""What an Ollama error means: by status, and by its few documented texts."""

from __future__ import annotations

import re

import orjson

from gateway.dialects.faults import MAX_MESSAGE_CHARS, fault_of_status
from gateway.errors import UpstreamError
from gateway.kinds import Fault

# Ollama has no error codes: these are the texts of its server and of llama.cpp beneath
# it. Overflow is a 400 or, from older servers, a 500.
_CONTEXT_TEXTS = (
    "exceed_context_size_error",
    "exceeds the available context size",
    "exceeds the context length",
    "exceeds maximum context length",
    "prompt is longer than the context length",
)
_BUSY_TEXT = "maximum pending requests exceeded"
_UNSUPPORTED = re.compile(r"does not support (\w+)")
_UNSUPPORTED_THINK = re.compile(r"think value .+ is not supported")
_PARAM_OF_CAPABILITY = {
    "tools": "tools",
    "thinking": "reasoning_effort",
    "vision": "messages",
    "audio": "messages",
    "chat": "model",
    "completion": "model",
    "embedding": "model",
    "embeddings": "model",
}
# A failed runner is reported with its address, which is nobody's business.
_ADDRESS = re.compile(r"\w+://[^\s\"']+")


def read_error(status: int, data: bytes, retry_after_s: float | None) -> UpstreamError:
    """Classify a non-200 answer, whatever it holds; never raises."""
    message, code = _read_message(data)
    fault, param = _classify(status, message, code)
    return UpstreamError(
        fault,
        message or f"The provider answered with status {status}.",
        upstream_status=status,
        retry_after_s=retry_after_s,
        provider_code=code,
        param=param,
    )


def read_late_error(error: object) -> UpstreamError:
    """Classify the `error` of an answer that began as a 200."""
    message, code = _unwrap(error)
    fault, param = _by_text(message, code)
    if fault is None:
        fault = Fault.UNAVAILABLE if _BUSY_TEXT in message else Fault.SERVER_ERROR
    return UpstreamError(
        fault,
        message or "The provider reported an error without a text.",
        upstream_status=200,
        provider_code=code,
        param=param,
    )


def _classify(status: int, message: str, code: str | None) -> tuple[Fault, str | None]:
    by_status = fault_of_status(status)
    if by_status not in {Fault.REJECTED, Fault.SERVER_ERROR}:
        return by_status, None
    fault, param = _by_text(message, code)
    if fault is Fault.CONTEXT_LENGTH or (fault is not None and status < 500):
        return fault, param
    return by_status, None


def _by_text(message: str, code: str | None) -> tuple[Fault | None, str | None]:
    """Recognise the documented texts; (None, None) for every other."""
    known = f"{code} {message}"
    if any(text in known for text in _CONTEXT_TEXTS):
        return Fault.CONTEXT_LENGTH, "messages"
    if _UNSUPPORTED_THINK.search(message):
        return Fault.UNSUPPORTED_PARAMETER, "reasoning_effort"
    found = _UNSUPPORTED.search(message)
    param = _PARAM_OF_CAPABILITY.get(found.group(1)) if found else None
    return (Fault.UNSUPPORTED_PARAMETER if param else None), param


def _read_message(data: bytes) -> tuple[str, str | None]:
    try:
        parsed = orjson.loads(data)
    except orjson.JSONDecodeError:
        return "", None
    return _unwrap(parsed.get("error") if isinstance(parsed, dict) else None)


def _unwrap(error: object) -> tuple[str, str | None]:
    """Give text and code of an error.

    Ollama passes llama.cpp's errors on as JSON text inside its own: the innermost
    `{"message", "type"}` is the one that says something. An error of its cloud may be an
    object at once.
    """
    code = None
    for _ in range(3):
        if isinstance(error, str) and error.startswith("{"):
            try:
                error = orjson.loads(error)
            except orjson.JSONDecodeError:
                break
        if not isinstance(error, dict):
            break
        if isinstance(error.get("type"), str):
            code = error["type"]
        error = error.get("error", error.get("message"))
    text = error if isinstance(error, str) else ""
    return _ADDRESS.sub("<address>", text)[:MAX_MESSAGE_CHARS], code
