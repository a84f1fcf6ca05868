"""OpenAI's errors as faults (pure)."""

from __future__ import annotations

import re
from collections.abc import Mapping

import orjson

from gateway.dialects.faults import MAX_MESSAGE_CHARS, fault_of_status, text_of
from gateway.errors import UpstreamError
from gateway.kinds import Fault

# Codes that say more than the status they come with.
_BY_CODE: Mapping[str, Fault] = {
    "insufficient_quota": Fault.QUOTA_EXHAUSTED,
    "context_length_exceeded": Fault.CONTEXT_LENGTH,
    "unsupported_parameter": Fault.UNSUPPORTED_PARAMETER,
    "unsupported_value": Fault.UNSUPPORTED_PARAMETER,
    "content_policy_violation": Fault.CONTENT_POLICY,
    "content_filter": Fault.CONTENT_POLICY,
    "model_not_found": Fault.MODEL_MISSING,
}
# Error types and codes of an error event inside a stream, where the status was 200.
_IN_STREAM: Mapping[str, Fault] = {
    **_BY_CODE,
    "rate_limit_exceeded": Fault.RATE_LIMITED,
    "invalid_request_error": Fault.REJECTED,
}
# Documented texts of compatible servers that send no code, from the message's start:
# a prompt echoed further on must not be taken for them.
_CONTEXT_LENGTH = re.compile(
    r"(this model's |the )?maximum context length is"
    r"|prompt is too long|input is too long"
    r"|the request exceeds the available context size"
    r"|the input token count .{0,40}exceeds the maximum number of tokens allowed"
    r"|the (decoder )?prompt .{0,40}is longer than the (maximum )?model('s context)? length",
    re.IGNORECASE,
)


def read_error(status: int, data: bytes, retry_after_s: float | None) -> UpstreamError:
    """Classify an answer that is not a 200; `data` may be anything."""
    error = error_object(data)
    message, code = text_of(error, "message"), text_of(error, "code")
    return UpstreamError(
        _fault(status, code or text_of(error, "type"), message),
        message[:MAX_MESSAGE_CHARS]
        or f"The provider answered with status {status} and no readable error.",
        upstream_status=status,
        retry_after_s=retry_after_s,
        provider_code=code or None,
        param=text_of(error, "param") or None,
    )


def read_stream_error(event: Mapping[str, object]) -> UpstreamError:
    """Classify an error inside a 200; what is not known is the server's failure."""
    found = event.get("error")
    error = found if isinstance(found, dict) else {"message": found}
    message, code = text_of(error, "message"), text_of(error, "code")
    fault = _IN_STREAM.get(code) or _IN_STREAM.get(
        text_of(error, "type"), Fault.SERVER_ERROR
    )
    return UpstreamError(
        fault,
        message[:MAX_MESSAGE_CHARS] or "The provider ended its answer with an error.",
        upstream_status=200,
        provider_code=code or None,
    )


def error_object(data: bytes) -> Mapping[str, object]:
    """Find the error in a body: an object or a text, under `error` or at the top."""
    try:
        body = orjson.loads(data)
    except ValueError:
        return {}
    if not isinstance(body, dict):
        return {}
    match body.get("error", body):
        case dict() as error:
            return error
        case str() as text:
            return {"message": text}
        case _:
            return {}


def _fault(status: int, code: str, message: str) -> Fault:
    if 400 <= status < 500 and (named := _BY_CODE.get(code)) is not None:
        return named
    fault = fault_of_status(status)
    if fault is Fault.REJECTED and _CONTEXT_LENGTH.match(message):
        return Fault.CONTEXT_LENGTH
    return fault
