"""Each vendor's real error bodies and error headers. Pure."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, assert_never

import orjson

from gateway.simulator.exchange import Answer, Event, RefusalError, Vendor

# status -> (type, code, message), as OpenAI's API reference and SDK describe them
_OPENAI: dict[int, tuple[str, str | None, str]] = {
    400: ("invalid_request_error", None, "The request is invalid."),
    401: (
        "invalid_request_error",
        "invalid_api_key",
        (
            "Incorrect API key provided. You can find your API key at"
            " https://platform.openai.com/account/api-keys."
        ),
    ),
    402: ("insufficient_quota", "insufficient_quota", "Your account has no credit."),
    403: (
        "permission_error",
        None,
        "You are not allowed to sample from this model.",
    ),
    404: (
        "invalid_request_error",
        "model_not_found",
        "The model does not exist or you do not have access to it.",
    ),
    408: ("timeout", "timeout", "Request timed out."),
    409: ("conflict_error", "conflict", "The resource was changed by another request."),
    413: ("invalid_request_error", None, "The request body is too large."),
    422: ("invalid_request_error", None, "The request could not be processed."),
    429: (
        "requests",
        "rate_limit_exceeded",
        "Rate limit reached for requests. Please try again later.",
    ),
    500: (
        "server_error",
        None,
        "The server had an error while processing your request. Sorry about that!",
    ),
    502: ("server_error", None, "Bad gateway."),
    503: (
        "server_error",
        None,
        "The engine is currently overloaded, please try again later.",
    ),
    504: ("timeout", "timeout", "The server did not answer in time."),
    529: ("server_error", None, "The engine is currently overloaded."),
}

# code -> (type, param, message): what OpenAI says when the code is special
_OPENAI_CODES: dict[str, tuple[str, str | None, str]] = {
    "context_length_exceeded": (
        "invalid_request_error",
        "messages",
        (
            "This model's maximum context length is 8192 tokens. However, your messages"
            " resulted in 9001 tokens. Please reduce the length of the messages."
        ),
    ),
    "insufficient_quota": (
        "insufficient_quota",
        None,
        "You exceeded your current quota, please check your plan and billing details.",
    ),
    "content_policy_violation": (
        "invalid_request_error",
        None,
        "Your request was rejected as a result of our safety system.",
    ),
    "content_filter": (
        "invalid_request_error",
        "prompt",
        (
            "The response was filtered due to the prompt triggering content management"
            " policy."
        ),
    ),
}

_ANTHROPIC: dict[int, tuple[str, str]] = {
    400: ("invalid_request_error", "The request is invalid."),
    401: ("authentication_error", "invalid x-api-key"),
    402: ("billing_error", "Your credit balance is too low to access the API."),
    403: ("permission_error", "Your API key may not use this resource."),
    404: ("not_found_error", "The requested resource was not found."),
    408: ("timeout_error", "Request timed out."),
    413: ("request_too_large", "Request exceeds the maximum size"),
    429: (
        "rate_limit_error",
        "This request would exceed your organization's rate limit.",
    ),
    500: ("api_error", "Internal server error"),
    503: ("overloaded_error", "Overloaded"),
    504: ("timeout_error", "Request timed out."),
    529: ("overloaded_error", "Overloaded"),
}

_ANTHROPIC_CODES: dict[str, str] = {
    "context_length_exceeded": "prompt is too long: 210000 tokens > 200000 maximum",
    "insufficient_quota": (
        "Your credit balance is too low to access the Anthropic API. Please go to"
        " Plans & Billing to upgrade or purchase credits."
    ),
}

_OLLAMA: dict[int, str] = {
    401: "unauthorized",
    404: "model not found",
    429: "too many requests",
    503: "server busy, please try again.  maximum pending requests exceeded",
}

_OLLAMA_CODES: dict[str, str] = {
    "context_length_exceeded": "the input length exceeds the context length",
    "model_not_found": "model not found",
}


def render(vendor: Vendor, refusal: RefusalError, *, number: int) -> Answer:
    """Build the vendor's error response; `number` makes its request id."""
    headers: dict[str, str] = {}
    if refusal.retry_after is not None:
        headers["retry-after"] = refusal.retry_after
    match vendor:
        case Vendor.OPENAI:
            if refusal.status == HTTPStatus.TOO_MANY_REQUESTS:
                headers |= _openai_limits()
            body: dict[str, Any] = {"error": openai_error(refusal)}
        case Vendor.ANTHROPIC:
            if refusal.status == HTTPStatus.TOO_MANY_REQUESTS:
                headers |= _anthropic_limits()
            body = anthropic_error(refusal)
            body["request_id"] = f"req_sim_{number}"
        case Vendor.OLLAMA:
            body = {"error": ollama_error(refusal)}
        case _:
            assert_never(vendor)
    return Answer((Event(orjson.dumps(body)),), refusal.status, headers=headers)


def openai_error(refusal: RefusalError) -> dict[str, Any]:
    """Give the object under `error` in OpenAI's error body."""
    kind, code, message = _OPENAI.get(
        refusal.status, ("server_error", None, f"status {refusal.status}")
    )
    param = refusal.param
    if refusal.code in _OPENAI_CODES:
        kind, special_param, message = _OPENAI_CODES[refusal.code]
        param = param or special_param
    elif refusal.code == "unsupported_parameter":
        message = f"Unsupported parameter: '{param}' is not supported with this model."
    if refusal.message is not None and refusal.status == HTTPStatus.NOT_FOUND:
        code = None
    return {
        "message": refusal.message or message,
        "type": kind,
        "param": param,
        "code": refusal.code or code,
    }


def anthropic_error(refusal: RefusalError) -> dict[str, Any]:
    """Give Anthropic's error body, without the request id."""
    kind, message = _ANTHROPIC.get(
        refusal.status,
        ("api_error", "Internal server error")
        if refusal.status >= HTTPStatus.INTERNAL_SERVER_ERROR
        else ("invalid_request_error", f"status {refusal.status}"),
    )
    if refusal.code == "unsupported_parameter":
        message = f"`{refusal.param}` is not supported by this model."
    elif refusal.code is not None:
        message = _ANTHROPIC_CODES.get(refusal.code, message)
    return {
        "type": "error",
        "error": {"type": kind, "message": refusal.message or message},
    }


def ollama_error(refusal: RefusalError) -> str:
    """Give the text under `error` in Ollama's error body."""
    message = _OLLAMA.get(refusal.status, HTTPStatus.INTERNAL_SERVER_ERROR.phrase)
    if refusal.code == "unsupported_parameter":
        message = f'invalid option "{refusal.param}"'
    elif refusal.code is not None:
        message = _OLLAMA_CODES.get(refusal.code, message)
    return refusal.message or message


def _openai_limits() -> dict[str, str]:
    return {
        "x-ratelimit-limit-requests": "60",
        "x-ratelimit-remaining-requests": "0",
        "x-ratelimit-reset-requests": "1s",
        "x-ratelimit-limit-tokens": "150000",
        "x-ratelimit-remaining-tokens": "149984",
        "x-ratelimit-reset-tokens": "6ms",
    }


def _anthropic_limits() -> dict[str, str]:
    return {
        "anthropic-ratelimit-requests-limit": "50",
        "anthropic-ratelimit-requests-remaining": "0",
        "anthropic-ratelimit-requests-reset": "2026-01-01T00:00:01Z",
    }
