"""Anthropic's errors, and ours about it, as faults (pure)."""

from __future__ import annotations

import re
from collections.abc import Mapping

import orjson

from gateway.dialects.faults import MAX_MESSAGE_CHARS, fault_of_status
from gateway.errors import UpstreamError
from gateway.kinds import Fault

# Types that say more than the status they come with.
_BY_TYPE: Mapping[str, Fault] = {
    "authentication_error": Fault.CREDENTIAL_REJECTED,
    "permission_error": Fault.CREDENTIAL_REJECTED,
    "billing_error": Fault.QUOTA_EXHAUSTED,
    "not_found_error": Fault.MODEL_MISSING,
    "rate_limit_error": Fault.RATE_LIMITED,
    "overloaded_error": Fault.UNAVAILABLE,
}

# `error.details.error_code`: waiting does not help against these.
_BY_DETAIL: Mapping[str, Fault] = {
    "enforced_spend_limit_reached": Fault.QUOTA_EXHAUSTED,
    "contract_spend_limit_reached": Fault.QUOTA_EXHAUSTED,
    "linked_organization_spend_limit_reached": Fault.QUOTA_EXHAUSTED,
    "linked_organization_billing_unavailable": Fault.QUOTA_EXHAUSTED,
    "organization_on_hold": Fault.CREDENTIAL_REJECTED,
}

# In a stream the status was 200 and only the type speaks.
_IN_STREAM: Mapping[str, Fault] = {
    **_BY_TYPE,
    "api_error": Fault.SERVER_ERROR,
    "timeout_error": Fault.UNAVAILABLE,
    "invalid_request_error": Fault.REJECTED,
    "request_too_large": Fault.REJECTED,
}

# The documented texts, from the start of the message: a prompt echoed further on in
# some other error must not be taken for them.
_CONTEXT_LENGTH = re.compile(
    r"prompt is too long|input is too long"
    r"|input length and `max_tokens` exceed context limit",
    re.IGNORECASE,
)


def read_error(status: int, data: bytes, retry_after_s: float | None) -> UpstreamError:
    """Classify an answer that is not a 200; `data` may be anything."""
    error = _error_object(data)
    kind, message = _text(error.get("type")), _text(error.get("message"))
    return UpstreamError(
        _fault(status, kind, message or "", _detail(error)),
        _shortened(message)
        or f"The provider answered with status {status} and no readable error.",
        upstream_status=status,
        retry_after_s=retry_after_s,
        provider_code=kind,
    )


def read_stream_error(payload: Mapping[str, object]) -> UpstreamError:
    """Classify an `error` event; a kind that is not known is the server's failure."""
    found = payload.get("error")
    error = found if isinstance(found, dict) else {}
    kind, message = _text(error.get("type")), _text(error.get("message"))
    fault = _BY_DETAIL.get(_detail(error)) or _IN_STREAM.get(
        kind or "", Fault.SERVER_ERROR
    )
    if fault is Fault.REJECTED and _CONTEXT_LENGTH.match(message or ""):
        fault = Fault.CONTEXT_LENGTH
    return UpstreamError(
        fault,
        _shortened(message) or "The provider ended its answer with an error.",
        upstream_status=200,
        provider_code=kind,
    )


def _fault(status: int, kind: str | None, message: str, detail: str) -> Fault:
    if status < 400:  # a redirect, which is never followed
        return Fault.INVALID_RESPONSE
    if (named := _BY_DETAIL.get(detail) or _BY_TYPE.get(kind or "")) is not None:
        return named
    fault = fault_of_status(status)
    if fault is Fault.REJECTED and _CONTEXT_LENGTH.match(message):
        return Fault.CONTEXT_LENGTH
    return fault


def _error_object(data: bytes) -> dict[str, object]:
    try:
        body = orjson.loads(data)
    except ValueError:
        return {}
    error = body.get("error") if isinstance(body, dict) else None
    return error if isinstance(error, dict) else {}


def _detail(error: Mapping[str, object]) -> str:
    details = error.get("details")
    code = details.get("error_code") if isinstance(details, dict) else None
    return code if isinstance(code, str) else ""


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _shortened(message: str | None) -> str | None:
    return message[:MAX_MESSAGE_CHARS] if message else None
